//! Jobs over several runs: in the background, saved, changed, failing and starting again.

use std::path::Path;
use std::time::Duration;

use wiesel_core::env::{Waker, monotonic};

use super::program::{Output, Place};

/// How long a test waits for what it expects before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let (began, waker) = (monotonic(), Waker::default());
    while !condition() {
        assert!(monotonic().duration_since(began) < PATIENCE, "waited in vain for {what}");
        waker.wait(Duration::from_millis(20));
    }
}

/// `id` in whole files of a csv sink, sorted.
fn ids(place: &Place, folder: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    for (path, bytes) in place.files() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.starts_with(place.path(folder)) && !name.starts_with('.') && !name.starts_with('_') {
            ids.extend(String::from_utf8(bytes).unwrap().lines().map(|line| line.parse::<i64>().unwrap()));
        }
    }
    ids.sort_unstable();
    ids
}

impl Place {
    /// A command that sees only the doors of this place.
    pub(crate) fn at(&self, arguments: &[&str]) -> Output {
        let folder = self.path("doors");
        self.wiesel_with(arguments, &[("WIESEL_RUNTIME_DIR", folder.to_str().unwrap())])
    }
}

fn endless(sink_path: &str) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '100 ms';\n\
         SET 'execution.checkpointing.savepoint-dir' = 'saved';\n\
         CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '500',\n\
           'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '1000000');\n\
         CREATE TABLE rows_out (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '{sink_path}', 'format' = 'csv');\n\
         INSERT INTO rows_out SELECT id FROM numbers;\n"
    )
}

#[test]
fn a_job_in_the_background_is_listed_saved_stopped_and_resumed() {
    let place = Place::new();
    place.write("job.sql", &endless("out"));
    let run = place.at(&["run", "-d", "job.sql"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let pid = run.stdout.trim().to_owned();
    wait_for("committed files", || !ids(&place, "out").is_empty());

    let list = place.at(&["list"]);
    assert!(list.stdout.contains(&pid) && list.stdout.contains("job.sql"), "{list:?}");
    for (path, mode) in [("doors", 0o700), (&format!("doors/{pid}.json"), 0o600)] {
        let found = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(place.path(path)).unwrap());
        assert_eq!(found & 0o777, mode, "{path}");
    }
    let saved = place.at(&["savepoint", "job"]);
    assert_eq!(saved.code, Some(0), "{saved:?}");
    let savepoint = saved.stdout.trim().to_owned();
    assert!(Path::new(&savepoint).join("rows_out").is_dir(), "{savepoint}");

    let stop = place.at(&["stop", &pid, "--savepoint", "last"]);
    assert_eq!(stop.code, Some(0), "{stop:?}");
    let last = stop.stdout.trim().to_owned();
    let found = ids(&place, "out");
    assert_eq!(found, (1..=i64::try_from(found.len()).unwrap()).collect::<Vec<_>>(), "each number once, without a gap");
    assert_eq!(place.at(&["stop", "job"]).code, Some(2), "nothing runs any more");
    assert!(!place.path(&format!("doors/{pid}.json")).exists(), "the door is gone");

    // The same command resumes; the savepoint it was stopped with is where it goes on.
    let again = place.at(&["run", "-d", "job.sql"]);
    wait_for("more rows", || ids(&place, "out").len() > found.len());
    assert_eq!(place.at(&["stop", "job.sql"]).code, Some(0), "{again:?}");
    let log = String::from_utf8(std::fs::read(place.path(".wiesel/job/log")).unwrap()).unwrap();
    assert!(log.contains("resumed from checkpoint"), "{log}");
    let resumed = ids(&place, "out");
    assert_eq!(resumed, (1..=i64::try_from(resumed.len()).unwrap()).collect::<Vec<_>>());

    // Another job with a state folder of its own begins with the last savepoint: its first row is the next one.
    place.write("other.sql", &endless("other"));
    let other = place.at(&["run", "-d", "other.sql", "--from-savepoint", &last]);
    assert_eq!(other.code, Some(0), "{other:?}");
    wait_for("rows behind the savepoint", || !ids(&place, "other").is_empty());
    assert_eq!(place.at(&["stop", "other"]).code, Some(0));
    let log = String::from_utf8(std::fs::read(place.path(".wiesel/other/log")).unwrap()).unwrap();
    assert!(log.contains("started from savepoint"), "{log}");
    assert_eq!(ids(&place, "other").first(), Some(&(i64::try_from(found.len()).unwrap() + 1)), "{log}");

    // Begun from it once, the same command resumes from its own checkpoints.
    let rows = ids(&place, "other").len();
    place.at(&["run", "-d", "other.sql", "--from-savepoint", &last]);
    wait_for("more rows of the other job", || ids(&place, "other").len() > rows);
    assert_eq!(place.at(&["stop", "other"]).code, Some(0));
    let mut twice = ids(&place, "other");
    twice.dedup();
    assert_eq!(twice, ids(&place, "other"), "no row twice");
}

#[test]
fn a_changed_file_is_refused_when_state_would_be_lost_and_says_what_happens_to_each_part() {
    let job = |aggregate: &str, sink: &str| {
        format!(
            "CREATE TABLE lines (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv',\n\
               'source.monitor-interval' = '50 ms');\n\
             CREATE TABLE rows_out (k STRING, n BIGINT) WITH ('connector' = 'print');\n\
             INSERT INTO rows_out SELECT k, {aggregate} FROM lines GROUP BY k{sink};\n"
        )
    };
    let place = Place::new();
    place.write("in/a.csv", "x,1\nx,2\ny,3\n");
    place.write("job.sql", &job("COUNT(*)", ""));
    let run_until = |what: &str, arguments: &[&str]| {
        let run = place.at(&[&["run", "-d", "job.sql"], arguments].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        let log = || String::from_utf8(std::fs::read(place.path(".wiesel/job/log")).unwrap()).unwrap();
        wait_for(what, || log().contains(what));
        assert_eq!(place.at(&["stop", "job"]).code, Some(0));
        let text = log();
        std::fs::remove_file(place.path(".wiesel/job/log")).unwrap();
        text
    };
    run_until("+I[y, 1]", &[]);

    // Another aggregate: its state would be lost.
    place.write("job.sql", &job("CAST(SUM(v) AS BIGINT)", ""));
    let refused = place.at(&["run", "job.sql"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for part in [
        "state would be lost",
        "keep     ",
        "positions of",
        "drop     ",
        "GroupAggregate(",
        "2 state entries",
        "rebuild  ",
        "--allow-non-restored-state",
    ] {
        assert!(refused.stderr.contains(part), "{part} in: {}", refused.stderr);
    }
    // On request it begins empty where the source stands: only the new file counts.
    place.write("in/b.csv", "x,10\n");
    let log = run_until("+I[x, 10]", &["--allow-non-restored-state"]);
    assert!(log.contains("drop     ") && log.contains("resumed from checkpoint"), "{log}");

    // A filter above the aggregate loses nothing, and is taken without a word of permission.
    place.write("job.sql", &job("CAST(SUM(v) AS BIGINT)", " HAVING SUM(v) > 0"));
    place.write("in/c.csv", "x,100\n");
    let log = run_until("+U[x, 110]", &[]);
    assert!(log.contains("keep     ") && !log.contains("drop     "), "{log}");
}

#[test]
fn a_restart_strategy_starts_a_failed_job_again() {
    let place = Place::new();
    place.write("in/a.csv", "1\nnonsense\n");
    let job = |strategy: &str| {
        format!(
            "{strategy}\
             CREATE TABLE lines (v INT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv');\n\
             CREATE TABLE rows_out (v INT) WITH ('connector' = 'blackhole');\n\
             INSERT INTO rows_out SELECT v FROM lines;\n"
        )
    };
    let cases = [
        ("", 0),
        ("SET 'restart-strategy.type' = 'none';\n", 0),
        (
            "SET 'restart-strategy' = 'fixed-delay';\nSET 'restart-strategy.fixed-delay.attempts' = '2';\nSET 'restart-strategy.fixed-delay.delay' = '10 ms';\n",
            2,
        ),
        (
            "SET 'restart-strategy.type' = 'failure-rate';\nSET 'restart-strategy.failure-rate.max-failures-per-interval' = '3';\nSET 'restart-strategy.failure-rate.delay' = '1 ms';\n",
            3,
        ),
        (
            "SET 'restart-strategy.type' = 'exponential-delay';\nSET 'restart-strategy.exponential-delay.initial-backoff' = '1 ms';\nSET 'restart-strategy.exponential-delay.attempts-before-reset-backoff' = '4';\n",
            4,
        ),
    ];
    for (strategy, restarts) in cases {
        place.write("job.sql", &job(strategy));
        let run = place.at(&["run", "job.sql", "--fresh"]);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert_eq!(run.stderr.matches("starts again in").count(), restarts, "{strategy}: {}", run.stderr);
    }
    place.write("job.sql", &job("SET 'restart-strategy.type' = 'fixed-dely';\n"));
    let check = place.at(&["check", "--offline", "job.sql"]);
    assert_eq!(check.code, Some(2));
    assert!(check.stderr.contains("expected none, fixed-delay, exponential-delay or failure-rate"), "{}", check.stderr);
}

/// Sends a signal as a terminal or a service manager does.
fn signal(name: &str, pid: u32) {
    assert!(std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_signal_stops_in_the_middle_of_a_checkpoint_and_when_idle_and_a_second_one_at_once() {
    let place = Place::new();
    // Checkpoints without a pause: a stop always meets one.
    place.write("job.sql", &endless("out").replace("'100 ms'", "'1 ms'"));
    let start = |rows: usize| {
        let doors = place.path("doors");
        let environment = [("WIESEL_RUNTIME_DIR", doors.to_str().unwrap())];
        let mut command = place.command(&["run", "job.sql"], &environment);
        let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        wait_for("rows", || ids(&place, "out").len() > rows);
        child
    };
    let child = start(0);
    let began = monotonic();
    signal("-TERM", child.id());
    let ended = super::program::output(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(monotonic().duration_since(began) < Duration::from_secs(11), "a stop has 10 s");
    assert!(ended.stderr.contains("stopped with checkpoint"), "{ended:?}");

    let child = start(ids(&place, "out").len());
    signal("-INT", child.id());
    signal("-INT", child.id());
    let ended = super::program::output(child.wait_with_output().unwrap());
    // The first signal may have done its work before the second one came.
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");

    let child = start(ids(&place, "out").len());
    signal("-TERM", child.id());
    let ended = super::program::output(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found = ids(&place, "out");
    assert_eq!(found, (1..=i64::try_from(found.len()).unwrap()).collect::<Vec<_>>(), "each number once, without a gap");
    let hidden = place.files().into_iter().filter(|(path, _)| path.to_string_lossy().ends_with(".tmp")).count();
    assert_eq!(
        hidden,
        0,
        "nothing half-written is left: {:?}",
        place.files().iter().map(|(p, _)| p).collect::<Vec<_>>()
    );
}

#[test]
fn folders_in_other_stores_than_s3_are_refused_by_name() {
    let place = Place::new();
    for key in ["execution.checkpointing.dir", "state.savepoints.dir", "execution.savepoint.path"] {
        place.write("job.sql", &format!("SET '{key}' = 'gs://bucket/x';\n"));
        let check = place.at(&["check", "--offline", "job.sql"]);
        assert_eq!(check.code, Some(2), "{check:?}");
        assert!(check.stderr.contains("the file system `gs` is not supported yet"), "{}", check.stderr);
    }
}
