//! A file whose sinks were changed goes on with the state that lies under its old name, and says what is left behind before it starts.

use super::jobs::wait_for;
use super::program::{Output, Place};

const SOURCE: &str = "CREATE TABLE src (id INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', 'fields.id.kind' = 'sequence', \
                      'fields.id.start' = '1', 'fields.id.end' = '1000000');\n";

fn job(place: &Place, sinks: &[&str], inserts: &str) {
    let mut sql = format!("SET 'execution.checkpointing.interval' = '100 ms';\n{SOURCE}");
    for sink in sinks {
        let path = place.path(sink);
        sql.push_str(&format!(
            "CREATE TABLE {sink} (id INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');\n",
            path.display()
        ));
    }
    place.write("job.sql", &format!("{sql}{inserts}"));
}

/// Runs until a checkpoint has made new rows visible, and stops.
fn run_a_while(place: &Place, more: &[&str]) -> Output {
    let before = rows(place, "a").len();
    let started = place.at(&[&["run", "job.sql", "-d", "--log-file", "log"], more].concat());
    assert_eq!(started.code, Some(0), "{started:?}");
    let pid = started.stdout.trim().to_owned();
    wait_for("new rows", || rows(place, "a").len() > before);
    let stopped = place.at(&["stop", &pid]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    Output { stderr: std::fs::read_to_string(place.path("log")).unwrap(), ..stopped }
}

/// The rows of a folder's visible files, sorted.
fn rows(place: &Place, folder: &str) -> Vec<i64> {
    let mut rows = Vec::new();
    for (path, bytes) in place.files() {
        if path.starts_with(place.path(folder)) && !path.file_name().unwrap().to_str().unwrap().starts_with('.') {
            rows.extend(String::from_utf8(bytes).unwrap().lines().map(|line| line.parse::<i64>().unwrap()));
        }
    }
    rows.sort_unstable();
    rows
}

fn set(inserts: &[&str]) -> String {
    format!("EXECUTE STATEMENT SET BEGIN\n{}\nEND;\n", inserts.join("\n"))
}

#[test]
fn a_sink_that_is_added_or_removed_leaves_the_position_where_it_was() {
    let place = Place::new();
    let (a, b) = ("INSERT INTO a SELECT id FROM src;", "INSERT INTO b SELECT id FROM src;");
    job(&place, &["a"], a);
    run_a_while(&place, &[]);
    job(&place, &["a", "b"], &set(&[a, b]));
    let added = run_a_while(&place, &[]);
    assert!(added.stderr.contains("the job `a+b` goes on in `a`"), "{added:?}");
    assert!(added.stderr.contains("keep     "), "{added:?}");

    job(&place, &["a"], a);
    let removed = place.at(&["run", "job.sql"]);
    assert_eq!(removed.code, Some(2), "what the sink knows of its files would be lost: {removed:?}");
    for part in ["state would be lost", "drop     ", "keep     ", "--allow-non-restored-state"] {
        assert!(removed.stderr.contains(part), "{part}: {removed:?}");
    }
    run_a_while(&place, &["--allow-non-restored-state"]);

    let written = rows(&place, "a");
    assert!(!written.is_empty());
    assert_eq!(
        written,
        (1..=i64::try_from(written.len()).unwrap()).collect::<Vec<_>>(),
        "no row is missing, none is there twice"
    );
}

#[test]
fn a_job_that_was_cut_in_two_does_not_start_without_its_state() {
    let place = Place::new();
    let (a, b) = ("INSERT INTO a SELECT id FROM src;", "INSERT INTO b SELECT id FROM src;");
    job(&place, &["a", "b"], &set(&[a, b]));
    run_a_while(&place, &[]);
    job(&place, &["a", "b"], &format!("{a}\n{b}\n"));
    let refused = place.at(&["run", "job.sql"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for part in ["state of this pipeline would be left behind", "job that wrote a, b", "drop     ", "--fresh"] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    let allowed = run_a_while(&place, &["--allow-non-restored-state"]);
    assert!(allowed.stderr.contains("started fresh"), "{allowed:?}");
}
