//! `wiesel init` and `wiesel doctor`.

use super::program::{Place, interpreter};

#[test]
fn every_system_is_written_checked_and_tested_without_a_server() {
    let place = Place::new();
    let (path, python) = (std::env::var("PATH").unwrap(), interpreter());
    let environment = [("PATH", path.as_str()), ("PYFLINK_EXECUTABLE", python.as_str())];
    let list = place.wiesel(&["init"]);
    assert_eq!((list.code, list.stdout.lines().count()), (Some(0), 5), "{list:?}");
    for system in list.stdout.lines() {
        let run = place.wiesel(&["init", system]);
        assert_eq!(run.code, Some(0), "{run:?}");
        let check = place.wiesel_with(&["check", "--offline", &format!("{system}/job.sql")], &environment);
        assert_eq!(check.code, Some(0), "{check:?}");
        let test = place.wiesel_with(&["test", system], &environment);
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
    for (python, found) in [("nowhere/python", "no `nowhere/python`"), ("false", "`false` without pyarrow")] {
        let run = place.wiesel_with(&["doctor"], &[environment[0], environment[1], ("PYFLINK_EXECUTABLE", python)]);
        assert!(run.code == Some(0) && run.stdout.contains(found), "{run:?}");
        assert!(run.stderr.contains("name another interpreter: SET 'python.executable'"), "{run:?}");
    }
    // A file where the state folder should be.
    place.write("taken", "");
    let run = place.wiesel_with(&["doctor", "--state", "taken"], &environment);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("error: state folder: make it writable, or give `--state DIR`"), "{run:?}");
}
