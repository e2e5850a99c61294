//! Damage to any file of a job's folder is found: the job goes on from what is whole, says so, and its answer is right. It never panics
//! and never reads half a checkpoint.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::*;
use wiesel_engine::{Control, Job, JobSpec, Metrics, Resume};
use wiesel_plan::StreamPlan;

const FLIPS_PER_FILE: u64 = 20;

fn rows(range: std::ops::Range<i64>) -> Vec<Row> {
    range.map(|n| (n, n % 5, n)).collect()
}

/// Ten rows, a gate, ten rows, a gate, ...: four times.
fn counts(delivery: &'static str) -> (Arc<Script>, StreamPlan) {
    let mut source = bounded((0..4).map(|n| rows(n * 10..(n + 1) * 10)).collect());
    for (gate, place) in [1, 3, 5].into_iter().enumerate() {
        source.events.insert(place, Event::Gate(gate + 1));
    }
    let script = script(source, SinkScript { delivery, ..SinkScript::default() });
    let mut builder = PlanBuilder::new();
    let source = builder.source(&script, "t");
    let group = builder.count_by(source, 1);
    builder.sink(&script, "out", group, &[0]);
    (script, builder.plan)
}

/// A folder with three checkpoints, each taken at a stop.
fn three_checkpoints(delivery: &'static str) -> tempfile::TempDir {
    let (script, plan) = counts(delivery);
    let folder = tempfile::tempdir().unwrap();
    for run in 1..=3_usize {
        let before = script.sinks["out"].written.change(|written| written.len());
        let job = start(spec(&plan, &script, folder.path(), 2));
        // The rows of a poll are one step, whatever number of changes they make.
        script.sinks["out"].written.wait("the rows", |written| written.len() > before);
        job.control.stop();
        job.end().unwrap();
        script.sources["t"].gate.change(|gate| *gate = run);
    }
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name != "lock"));
    files.sort();
    files
}

fn copy(folder: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in files(folder) {
        fs::copy(&file, to.path().join(file.file_name().unwrap())).unwrap();
    }
    to
}

/// The last count of each key after the job ran to its end; every key has rows behind the last checkpoint.
fn last_counts(script: &Script) -> BTreeMap<String, String> {
    let mut last = BTreeMap::new();
    script.sinks["out"].written.change(|written| {
        for row in written.iter().filter(|row| row.starts_with('+')) {
            let (key, rest) = row[3..].split_once(' ').unwrap();
            last.insert(key.to_owned(), rest.to_owned());
        }
    });
    last
}

fn expected() -> BTreeMap<String, String> {
    let mut sums = BTreeMap::new();
    for (id, v, _) in rows(0..40) {
        let group: &mut (i64, i64) = sums.entry(v).or_default();
        *group = (group.0 + 1, group.1 + id);
    }
    sums.into_iter().map(|(v, (count, sum))| (v.to_string(), format!("{count} {sum}"))).collect()
}

/// Runs the job on the damaged folder to its end; the checkpoint it went on from, and what it noted.
fn run_on(folder: &Path, what: &str) -> (u64, Vec<String>) {
    let (script, plan) = counts("at-least-once");
    script.sources["t"].gate.change(|gate| *gate = 3);
    let (control, metrics) = (Control::new(), Arc::new(Metrics::new(&plan)));
    let job = Job::open(spec(&plan, &script, folder, 3), &control, &metrics).unwrap_or_else(|e| panic!("{what}: {e}"));
    let Resume::Resumed { checkpoint, .. } = *job.resume() else { panic!("{what}: {}", job.resume()) };
    let notes = metrics.take_notes();
    job.run().unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(last_counts(&script), expected(), "{what}, gone on from {checkpoint}");
    (checkpoint, notes)
}

#[test]
fn damage_to_any_single_file_is_found_and_gone_around() {
    let whole = three_checkpoints("at-least-once");
    let names: Vec<String> =
        files(whole.path()).iter().map(|f| f.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(names.contains(&"manifest-3".to_owned()) && names.contains(&"state-3.run".to_owned()), "{names:?}");
    let mut random = 42_u64;
    for name in &names {
        let bytes = fs::read(whole.path().join(name)).unwrap();
        let mut damages: Vec<(String, Option<Vec<u8>>)> = vec![("missing".to_owned(), None)];
        if !bytes.is_empty() {
            for eighth in 0..8 {
                damages.push((format!("cut at {eighth}/8"), Some(bytes[..bytes.len() * eighth / 8].to_vec())));
            }
            for _ in 0..FLIPS_PER_FILE {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let bit = usize::try_from(random >> 33).unwrap() % (bytes.len() * 8);
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                damages.push((format!("bit {bit} flipped"), Some(flipped)));
            }
        }
        for (damage, left) in damages {
            let folder = copy(whole.path());
            match &left {
                Some(bytes) => fs::write(folder.path().join(name), bytes).unwrap(),
                None => fs::remove_file(folder.path().join(name)).unwrap(),
            }
            let what = format!("{name}: {damage}");
            if name == "state-1.run" {
                // All three checkpoints build on the first state file: there is nothing to go back to, and that is said.
                let error = opened(folder.path(), "at-least-once", |_| {}).unwrap_err().to_string();
                for part in ["no checkpoint in", "checkpoint 1 is damaged", "state-1.run", "--fresh"] {
                    assert!(error.contains(part), "{what}: {part} in: {error}");
                }
                continue;
            }
            let (checkpoint, notes) = run_on(folder.path(), &what);
            // State files before the newest full one are needed by the checkpoint that lists them, and by no other.
            if name == "state-3.run" {
                assert!(
                    checkpoint < 3 && notes.iter().any(|n| n.contains("checkpoint 3 is damaged")),
                    "{what}: {notes:?}"
                );
            }
            if name.starts_with("manifest") {
                assert_eq!(checkpoint, 3, "{what}: the other manifest is whole");
            }
        }
    }
}

#[test]
fn manifests_that_are_both_gone_are_missed_by_their_mark() {
    let whole = three_checkpoints("at-least-once");
    for name in ["manifest-3", "manifest-3.copy"] {
        fs::remove_file(whole.path().join(name)).unwrap();
    }
    let (checkpoint, notes) = run_on(copy(whole.path()).path(), "both manifests gone");
    assert_eq!(checkpoint, 2);
    assert!(notes.iter().any(|n| n.contains("checkpoint 3") && n.contains("its manifest is gone")), "{notes:?}");
}

fn opened(folder: &Path, delivery: &'static str, allow: impl Fn(&mut JobSpec)) -> wiesel_core::Result<Resume> {
    let (script, plan) = counts(delivery);
    let (control, metrics) = (Control::new(), Arc::new(Metrics::new(&plan)));
    let mut spec = spec(&plan, &script, folder, 1);
    allow(&mut spec);
    Job::open(spec, &control, &metrics).map(|job| job.resume().clone())
}

#[test]
fn going_back_behind_an_exactly_once_sink_is_refused_naming_what_would_be_doubled() {
    let whole = three_checkpoints("exactly-once");
    fs::write(whole.path().join("state-3.run"), b"").unwrap();
    let error = opened(whole.path(), "exactly-once", |_| {}).unwrap_err().to_string();
    for part in ["checkpoint 3", "`out`", "going back to checkpoint 2", "t-0 at 20", "--allow-duplicates"] {
        assert!(error.contains(part), "{part} in: {error}");
    }
    let resume = opened(whole.path(), "exactly-once", |spec| spec.allow_duplicates = true).unwrap();
    assert!(matches!(resume, Resume::Resumed { checkpoint: 2, .. }), "{resume}");
}

#[test]
fn a_checkpoint_of_another_format_is_refused_and_not_gone_behind() {
    let whole = three_checkpoints("at-least-once");
    for (from, to) in [("\"format\":1", "\"format\":9"), ("\"format\":1", "\"format\":0")] {
        let folder = copy(whole.path());
        for name in ["manifest-3", "manifest-3.copy"] {
            let path = folder.path().join(name);
            let text = fs::read_to_string(&path).unwrap().replace(from, to);
            let json = text.split("\ncrc32:").next().unwrap();
            fs::write(&path, format!("{json}\ncrc32:{:08x}\n", crc32fast::hash(json.as_bytes()))).unwrap();
        }
        let error = opened(folder.path(), "exactly-once", |_| {}).unwrap_err().to_string();
        let format = &to[to.len() - 1..];
        assert!(
            error.contains(&format!("in format {format} by wiesel ")) && error.contains("reads format 1"),
            "{error}"
        );
        assert!(error.contains("checkpoint 3"), "{error}");
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_fails_while_the_job_goes_on() {
    let (script, plan) = counts("at-least-once");
    let folder = tempfile::tempdir().unwrap();
    // A folder stands where the second state file should: writing it fails as on a full disk, before anything real is touched.
    fs::create_dir(folder.path().join("state-2.run")).unwrap();
    let mut first = spec(&plan, &script, folder.path(), 2);
    first.config.checkpoint_interval_ms = Some(1_000);
    let job = start(first);
    let sink = &script.sinks["out"];
    sink.written.wait("the first rows", |written| !written.is_empty());
    job.set_time(1_001_000);
    script.sources["t"].completed.wait("checkpoint 1", |told| told.len() == 1);
    let before = sink.written.change(|written| written.len());
    script.sources["t"].gate.change(|gate| *gate = 1);
    sink.written.wait("the second rows", |written| written.len() > before);
    job.set_time(1_002_000);
    let failed = &job.metrics.checkpoints_failed;
    sink.written.wait("the failed checkpoint", |_| failed.load(std::sync::atomic::Ordering::Relaxed) == 1);
    let notes = job.metrics.take_notes();
    assert!(notes.iter().any(|n| n.contains("checkpoint 2 failed, checkpoint 1 stands, the job goes on")), "{notes:?}");
    fs::remove_dir(folder.path().join("state-2.run")).unwrap();
    job.set_time(1_003_000);
    script.sources["t"].completed.wait("checkpoint 3", |told| told.len() == 2);
    job.control.abort();
    job.end().unwrap();
    let (checkpoint, notes) = run_on(folder.path(), "after the space came back");
    assert_eq!((checkpoint, notes), (3, vec![]));
}
