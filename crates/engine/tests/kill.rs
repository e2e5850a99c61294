//! Kills a job at every commit step and runs it again until it ends: nothing is lost, nothing is shown twice.
//!
//! The job runs in a child process, which is this test binary asked for its one hidden test by an environment variable: a fail point
//! aborts the process, as close to kill -9 as it gets. The outside (what the sink made visible) lies in files and so outlives the child.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use support::*;
use wiesel_core::sink::{
    CheckpointKind, Prepared, Sink, SinkContext, SinkCounters, SinkFactory, SinkParallelism, SinkStatus,
};
use wiesel_core::source::SourceFactory;
use wiesel_core::table::{ConnectorInfo, ConnectorRegistry, SinkRequest, SourceRequest, TableDescriptor};
use wiesel_core::{ChangeBatch, Result};
use wiesel_engine::{Control, FailPoints, Job, JobEnd, JobSpec, Metrics};

const FOLDER: &str = "WIESEL_KILL_TEST_FOLDER";
const POINT: &str = "WIESEL_KILL_TEST_POINT";

const POINTS: [&str; 15] = [
    "ckpt.begin",
    "op.snapshot",
    "state.write",
    "state.fsync",
    "state.ingest",
    "sink.prepare",
    "manifest.write",
    "manifest.fsync",
    "dir.fsync",
    "sink.commit",
    "commit.recorded",
    "src.offset_commit",
    "ckpt.gc",
    "restore.read",
    "restore.recommit",
];

fn rows(range: std::ops::Range<i64>) -> Vec<Row> {
    range.map(|n| (n, n % 5, n)).collect()
}

/// Files as the outside: a commit makes one file per checkpoint visible by a rename.
struct FileRegistry {
    source: Script,
    folder: PathBuf,
}

impl ConnectorRegistry for FileRegistry {
    fn info(&self, table: &TableDescriptor) -> Result<ConnectorInfo> {
        self.source.info(table)
    }
    fn source(&self, table: &TableDescriptor, request: &SourceRequest) -> Result<Box<dyn SourceFactory>> {
        self.source.source(table, request)
    }
    fn sink(&self, _table: &TableDescriptor, _request: &SinkRequest) -> Result<Box<dyn SinkFactory>> {
        Ok(Box::new(FileFactory(self.folder.clone())))
    }
    fn probe(&self, _table: &TableDescriptor, _as_sink: bool) -> Result<()> {
        Ok(())
    }
}

struct FileFactory(PathBuf);

impl SinkFactory for FileFactory {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerWorker
    }
    fn open(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(FileSink::default()))
    }
    fn commit(&self, checkpoint: u64, pending: &[Vec<u8>]) -> Result<()> {
        let hidden = self.0.join(format!("hidden-{checkpoint}"));
        fs::write(&hidden, pending.concat()).unwrap();
        fs::rename(hidden, self.0.join(format!("rows-{checkpoint}"))).unwrap();
        Ok(())
    }
    fn recover(&self, _restored: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct FileSink {
    epoch: String,
    prepared: Option<Prepared>,
}

impl Sink for FileSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        texts(batch).iter().for_each(|row| self.epoch.push_str(&format!("{row}\n")));
        Ok(())
    }
    fn step_end(&mut self, _now_ms: i64) -> Result<SinkStatus> {
        Ok(SinkStatus::Ready(None))
    }
    fn prepare(&mut self, _checkpoint: u64, _kind: CheckpointKind) -> Result<()> {
        self.prepared = Some(Prepared { pending: std::mem::take(&mut self.epoch).into_bytes(), state: Vec::new() });
        Ok(())
    }
    fn poll_prepared(&mut self) -> Result<Option<Prepared>> {
        Ok(self.prepared.take())
    }
    fn waiting_for(&self) -> Option<String> {
        None
    }
    fn counters(&self) -> SinkCounters {
        SinkCounters::default()
    }
}

/// SELECT v, COUNT(*), SUM(id) FROM t GROUP BY v, with at least three checkpoints before the last one.
fn run_job(folder: &Path, point: &str) {
    let mut source = bounded((0..60).map(|n| rows(n * 50..(n + 1) * 50)).collect());
    for place in [45, 30, 15] {
        source.events.insert(place, Event::Checkpoint);
    }
    let script =
        Script { sources: [("t", Arc::new(source))].into(), sinks: [("out", Arc::new(exactly_once()))].into() };
    let mut builder = PlanBuilder::new();
    let source = builder.source(&script, "t");
    let group = builder.count_by(source, 1);
    builder.sink(&script, "out", group, &[0]);
    let registry = FileRegistry { source: script, folder: folder.join("out") };
    let mut spec = JobSpec::new(builder.plan, config(), Arc::new(registry), folder.join("state"), 64 << 20, 2);
    spec.config.checkpoint_interval_ms = Some(20);
    spec.fail_points = FailPoints::parse(point);
    let metrics = Arc::new(Metrics::new(&spec.plan));
    let end = Job::open(spec, &Control::new(), &metrics).unwrap().run().unwrap();
    assert_eq!(end, JobEnd::Finished);
}

/// Only does something in a child process of the test below.
#[test]
fn child() {
    if let (Ok(folder), Ok(point)) = (std::env::var(FOLDER), std::env::var(POINT)) {
        run_job(Path::new(&folder), &point);
    }
}

fn visible(folder: &Path) -> BTreeMap<String, i64> {
    let mut names: Vec<(u64, PathBuf)> = fs::read_dir(folder.join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let id = path.file_name()?.to_str()?.strip_prefix("rows-")?.parse().ok()?;
            Some((id, path))
        })
        .collect();
    names.sort();
    let mut table = BTreeMap::new();
    for (_, path) in names {
        for line in fs::read_to_string(path).unwrap().lines() {
            let (kind, row) = line.split_at(3);
            let sign = if kind.starts_with('+') { 1 } else { -1 };
            *table.entry(row.to_owned()).or_insert(0) += sign;
        }
    }
    table.retain(|_, count| *count != 0);
    table
}

#[test]
fn a_kill_at_any_commit_step_loses_nothing_and_shows_nothing_twice() {
    let expected: BTreeMap<String, i64> = {
        let mut groups = BTreeMap::new();
        for (id, v, _) in rows(0..3_000) {
            let group = groups.entry(v).or_insert((0, 0));
            *group = (group.0 + 1, group.1 + id);
        }
        groups.into_iter().map(|(v, (count, sum))| (format!("{v} {count} {sum}"), 1)).collect()
    };
    for point in POINTS {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        // What happens at a start needs a checkpoint to start from, and one whose commit was cut off.
        // A checkpoint without changes writes no state, so the second kill at those steps waits for the first that does.
        let kills = match point {
            "state.write" | "state.fsync" | "state.ingest" => vec![format!("{point}:1"), format!("{point}:1")],
            "restore.read" | "restore.recommit" => {
                vec!["sink.commit:2".to_owned(), format!("{point}:1"), format!("{point}:1")]
            }
            _ => vec![format!("{point}:1"), format!("{point}:2")],
        };
        for (run, kill) in kills.iter().enumerate() {
            let succeeded = child_run(folder.path(), kill);
            assert!(!succeeded, "run {run} of {point} was to die at {kill}");
        }
        assert!(child_run(folder.path(), ""), "the run after the kills at {point}");
        assert_eq!(visible(folder.path()), expected, "after kills at {point}");
        let left: Vec<_> = fs::read_dir(folder.path().join("state"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".tmp"))
            .collect();
        assert_eq!(left, Vec::<String>::new(), "leftovers after kills at {point}");
    }
}

fn child_run(folder: &Path, point: &str) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--quiet"])
        .env(FOLDER, folder)
        .env(POINT, point)
        .output()
        .unwrap();
    output.status.success()
}
