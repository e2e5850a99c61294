//! `wiesel dag`: steps in their order, a failed or killed step, a second run beside the first, and what a run again does.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use super::jobs::wait_for;
use super::pipeline::lines;
use super::program::{Output, Place};

const SEQUENCE: &str = "\
CREATE TABLE numbers (n BIGINT) WITH (
  'connector' = 'datagen', 'rows-per-second' = '${pace}', 'fields.n.kind' = 'sequence',
  'fields.n.start' = '1', 'fields.n.end' = '${last}');
CREATE TABLE copied (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '${folder}', 'format' = 'csv');
SET 'execution.checkpointing.interval' = '50ms';
INSERT INTO copied SELECT n FROM numbers;
";
const SEQUENCE_DECLARATION: &str = "\
doc: Writes the first numbers.
parameters:
  - {name: last, doc: The last one., type: integer, default: 3}
  - {name: pace, doc: Numbers a second., type: integer, default: 1000}
  - {name: folder, doc: Where they go.}
";
const DOUBLE: &str = "\
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '${input}', 'format' = 'csv');
CREATE TABLE doubled (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '${folder}', 'format' = 'csv');
SET 'execution.checkpointing.interval' = '50ms';
INSERT INTO doubled SELECT n * 2 FROM numbers;
";
const DOUBLE_DECLARATION: &str = "\
doc: Doubles numbers.
parameters:
  - {name: input, doc: Where they are.}
  - {name: folder, doc: Where they go.}
  - {name: watch, doc: Goes on with new files., type: duration, optional: true, options: [numbers.source.monitor-interval]}
";

fn place(workflow: &str) -> Place {
    let place = Place::new();
    place.write("pipelines/sequence/pipeline.yaml", SEQUENCE_DECLARATION);
    place.write("pipelines/sequence/job.sql", SEQUENCE);
    place.write("pipelines/double/pipeline.yaml", DOUBLE_DECLARATION);
    place.write("pipelines/double/job.sql", DOUBLE);
    place.write("w.yaml", workflow);
    place
}

/// What was said, without process ids and durations.
fn said(output: &Output) -> Vec<String> {
    let plain = |line: &str| {
        let line = line.split(" as process").next().unwrap_or_default();
        line.split(" after ").next().unwrap_or_default().to_owned()
    };
    output.stderr.lines().map(plain).collect()
}

fn runtime_dir(place: &Place) -> String {
    place.path("doors").display().to_string()
}

fn wiesel(place: &Place, arguments: &[&str]) -> Output {
    place.wiesel_with(arguments, &[("WIESEL_RUNTIME_DIR", &runtime_dir(place))])
}

#[test]
fn a_failed_step_stops_its_dependants_and_a_run_again_does_what_is_left() {
    let place = place(
        "max_workers: 1
steps:
  - {name: last, pipeline: double, params: {input: two, folder: four}, depends_on: [second]}
  - {name: second, pipeline: double, params: {input: one, folder: two}, depends_on: [first]}
  - {name: first, pipeline: sequence, params: {folder: one, last: 2}}
  - {name: alone, pipeline: sequence, params: {folder: other, last: 1}}
",
    );
    // The second step finds a row that is no number.
    place.write("one/part-broken", "x\n");
    let run = wiesel(&place, &["dag", "w.yaml"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let told = said(&run);
    for line in [
        "step `first`: done",
        "error: step `second`: failed",
        "step `last`: not started, because of `second`",
        "step `alone`: done",
        "4 steps: 2 done, 1 failed, 1 stopped or not started; the same command does what is left",
    ] {
        assert!(told.iter().any(|l| l == line), "{line} in {told:#?}");
    }
    let log = std::fs::read_to_string(place.path(".wiesel/w.dag/second.log")).unwrap();
    assert!(run.stderr.contains("second.log") && log.contains("part-broken"), "{log}");

    std::fs::remove_file(place.path("one/part-broken")).unwrap();
    let run = wiesel(&place, &["dag", "w.yaml"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let told = said(&run);
    for line in ["step `first`: done before", "step `alone`: done before", "step `second`: done", "step `last`: done"] {
        assert!(told.iter().any(|l| l == line), "{line} in {told:#?}");
    }
    assert_eq!(lines(&place, "one"), ["1", "2"]);
    assert_eq!(lines(&place, "four"), ["4", "8"]);
    // The whole was done: the next run is a new one.
    assert!(!place.path(".wiesel/w.dag/steps.json").exists());
}

#[test]
fn wrong_workflows_are_told_before_anything_starts() {
    let place = place(
        "steps:
  - {name: a, pipeline: sequence, params: {last: x, folder: one}, depends_on: [b]}
  - {name: b, pipeline: dubble, depends_on: [a]}
",
    );
    let run = wiesel(&place, &["dag", "w.yaml"]);
    let expected = "\
error: `w.yaml`, step `a`: parameter `last`: expected a whole number, found `x`, from the command line
`w.yaml`, step `b`: there is no pipeline `dubble`
hint: did you mean `double`?
`w.yaml`, steps wait for each other: a -> b -> a
";
    assert_eq!((run.code, run.stderr.as_str()), (Some(2), expected));
    place.write("w.yaml", "steps:\n  - name: a\n    pipline: sequence\n");
    let run = wiesel(&place, &["dag", "w.yaml"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("pipline") && run.stderr.contains("line 3"), "{}", run.stderr);
}

/// A workflow at work, and the lines it says.
struct AtWork {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
    seen: Vec<String>,
}

impl AtWork {
    fn start(place: &Place) -> AtWork {
        let mut command = place.command(&["dag", "w.yaml"], &[("WIESEL_RUNTIME_DIR", &runtime_dir(place))]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        AtWork { child, lines, seen: Vec::new() }
    }

    /// Reads on until a line has this text, and gives the line.
    fn until(&mut self, text: &str) -> String {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("`{text}` is not said: {:#?}", self.seen);
    }

    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let rest: Vec<String> = self.lines.by_ref().map(Result::unwrap).collect();
        self.seen.extend(rest);
        (self.child.wait().unwrap().code(), self.seen)
    }
}

fn kill(pid: &str, signal: &str) {
    assert!(std::process::Command::new("kill").args([signal, pid]).status().unwrap().success());
}

#[test]
fn endless_steps_run_side_by_side_and_a_killed_one_stops_those_behind_it() {
    let place = place(
        "max_workers: 1
steps:
  - {name: watch, pipeline: double, params: {input: in, folder: two, watch: 10ms}}
  - {name: again, pipeline: double, params: {input: two, folder: four, watch: 10ms}, depends_on: [watch]}
",
    );
    place.write("in/part-0", "1\n2\n");
    let mut work = AtWork::start(&place);
    let started = work.until("step `watch`: started as process ");
    work.until("step `watch`: runs, first checkpoint complete");
    work.until("step `again`: runs, first checkpoint complete");

    let second = wiesel(&place, &["dag", "w.yaml"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains(&format!("process {} runs this workflow already", work.child.id())), "{second:?}");

    kill(started.rsplit(' ').next().unwrap(), "-KILL");
    work.until("step `watch`: failed");
    let (code, seen) = work.end();
    assert_eq!(code, Some(1), "{seen:#?}");
    assert!(seen.iter().any(|line| line.contains("step `again`: stops, because of `watch`")), "{seen:#?}");

    // Run again, both go on from their checkpoints; a signal stops the whole.
    place.write("in/part-1", "3\n");
    let mut work = AtWork::start(&place);
    work.until("step `again`: runs, first checkpoint complete");
    wait_for("the new row, committed", || lines(&place, "four").len() == 3);
    kill(&work.child.id().to_string(), "-TERM");
    let (code, seen) = work.end();
    assert_eq!(code, Some(0), "{seen:#?}");
    assert!(seen.iter().any(|line| line.contains("step `watch`: stopped with a checkpoint")), "{seen:#?}");
    assert_eq!(lines(&place, "four"), ["12", "4", "8"]);
}
