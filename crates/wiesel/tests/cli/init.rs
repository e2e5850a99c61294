//! `wiesel init` and `wiesel doctor`.

use super::program::Place;

#[test]
fn every_system_is_written_checked_and_tested_without_a_server() {
    let place = Place::new();
    let list = place.wiesel(&["init"]);
    assert_eq!((list.code, list.stdout.lines().count()), (Some(0), 5), "{list:?}");
    for system in list.stdout.lines() {
        let run = place.wiesel(&["init", system]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let check = place.wiesel(&["check", "--offline", &format!("{system}/job.sql")]);
        assert_eq!(check.code, Some(0), "{check:?}");
        let test = place.wiesel(&["test", &format!("{system}/test.slt")]);
        assert_eq!(test.code, Some(0), "{test:?}");
        // What is there is never replaced.
        let again = place.wiesel(&["init", system]);
        assert_eq!(again.code, Some(2), "{again:?}");
        assert!(again.stderr.contains("is there already"), "{again:?}");
    }
    let wrong = place.wiesel(&["init", "payments"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let place = Place::new();
    let path = std::env::var("PATH").unwrap();
    let doors = place.path("doors").display().to_string();
    let environment = [("PATH", path.as_str()), ("WIESEL_RUNTIME_DIR", doors.as_str())];
    let run = place.wiesel_with(&["doctor"], &environment);
    assert_eq!(run.code, Some(0), "{run:?}");
    for subject in ["program", "cores", "memory", "disk", "state folder", "clock", "certificates", "running jobs"] {
        assert!(run.stdout.contains(&format!(" {subject} ")), "{subject} in {}", run.stdout);
    }
    // A file where the state folder should be.
    place.write("taken", "");
    let run = place.wiesel_with(&["doctor", "--state", "taken"], &environment);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("error: state folder: make it writable, or give `--state DIR`"), "{run:?}");
}
