//! The connector on real directories: layout, checkpoints, crashes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use tempfile::TempDir;
use wiesel_core::change::ChangelogMode;
use wiesel_core::env::{Waker, wall_clock_ms};
use wiesel_core::sink::{CheckpointKind, Prepared, Sink, SinkContext, SinkFactory, SinkParallelism, SinkStatus};
use wiesel_core::table::{ColumnKind, SinkRequest, TableColumn, TableDescriptor};
use wiesel_core::types::{DataType, Schema, TypeKind};
use wiesel_core::{ChangeBatch, Error, Field, Value, value};

use super::ledger::names;
use crate::registry::ConnectorContext;

const HOUR_MS: i64 = 3_600_000;

/// A table `(id BIGINT, name STRING, dt STRING)` in a directory.
struct Table {
    directory: TempDir,
    descriptor: TableDescriptor,
    interval_is_set: bool,
    overwrite: bool,
}

impl Table {
    fn new(format: &str, partition_keys: &[&str], options: &[(&str, &str)]) -> Self {
        let fields = [("id", DataType::bigint()), ("name", DataType::string()), ("dt", DataType::string())];
        Table::with_fields(format, partition_keys, options, &fields)
    }

    fn with_fields(
        format: &str,
        partition_keys: &[&str],
        options: &[(&str, &str)],
        fields: &[(&str, DataType)],
    ) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("out").to_str().unwrap().to_owned();
        let given = [("connector", "filesystem"), ("path", path.as_str()), ("format", format)];
        let all = given.iter().chain(options).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let column = |(name, data_type): &(&str, DataType)| TableColumn {
            name: (*name).to_owned(),
            data_type: data_type.clone(),
            kind: ColumnKind::Physical,
        };
        let descriptor = TableDescriptor {
            name: "files".to_owned(),
            path: "default_catalog.default_database.files".to_owned(),
            columns: fields.iter().map(column).collect(),
            primary_key: Vec::new(),
            partition_keys: partition_keys.iter().map(|k| (*k).to_owned()).collect(),
            options: all,
            sink_settings: Default::default(),
        };
        Table { directory, descriptor, interval_is_set: false, overwrite: false }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn factory(&self) -> Box<dyn SinkFactory> {
        self.factory_of("/state/job/files")
    }

    /// The sink of this table in the loop whose state lies there.
    fn factory_of(&self, loop_folder: &str) -> Box<dyn SinkFactory> {
        let request = SinkRequest {
            columns: (0..self.descriptor.columns.len()).collect(),
            changelog_mode: ChangelogMode::Insert,
            time_zone: "UTC".to_owned(),
            workers: 2,
            job_name: "job".to_owned(),
            loop_folder: loop_folder.to_owned(),
            checkpoint_interval_is_set: self.interval_is_set,
            run_key: String::new(),
            ordinal: 0,
            hands_over_refused: false,
            overwrite: self.overwrite,
        };
        super::sink(&self.descriptor, &request, &ConnectorContext::default()).unwrap()
    }

    fn rows(&self, ids: impl IntoIterator<Item = i64>) -> ChangeBatch {
        let rows: Vec<[Value; 3]> = ids.into_iter().map(row).collect();
        let columns = (0..3).map(|c| {
            let values: Vec<Value> = rows.iter().map(|r| r[c].clone()).collect();
            value::column(&self.descriptor.columns[c].data_type.kind, &values)
        });
        let fields = self.descriptor.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone())).collect();
        let schema = Schema::new(fields);
        ChangeBatch::inserts(RecordBatch::try_new(Arc::clone(schema.arrow()), columns.collect()).unwrap())
    }

    /// Paths below the table's directory, sorted, and which of them readers see.
    fn files(&self) -> (Vec<String>, Vec<String>) {
        let mut all = Vec::new();
        list(&self.root(), "", &mut all);
        all.sort();
        all.into_iter().partition(|f| !f.rsplit('/').next().unwrap().starts_with('.'))
    }

    /// The ids in all visible files, sorted.
    fn visible_ids(&self) -> Vec<i64> {
        self.visible_ids_but("")
    }

    /// The same without a file that holds no rows.
    fn visible_ids_but(&self, empty: &str) -> Vec<i64> {
        let mut ids = Vec::new();
        for file in self.files().0.into_iter().filter(|file| file != empty) {
            let path = self.root().join(file);
            match self.descriptor.options["format"].as_str() {
                "json" => {
                    let text = fs::read_to_string(path).unwrap();
                    assert!(text.ends_with('\n'));
                    let document = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
                    ids.extend(text.lines().map(|l| document(l)["id"].as_i64().unwrap()));
                }
                _ => {
                    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
                    for batch in reader.build().unwrap() {
                        let batch = batch.unwrap();
                        let id = |row| Value::from_array(batch.column(0), &DataType::bigint(), row);
                        ids.extend((0..batch.num_rows()).map(|r| match id(r) {
                            Value::Int(id) => id,
                            other => panic!("{other:?}"),
                        }));
                    }
                }
            }
        }
        ids.sort_unstable();
        ids
    }
}

fn row(id: i64) -> [Value; 3] {
    let text = |s: String| Value::String(s);
    [Value::Int(id), text(format!("name {id}")), text(format!("2024-01-0{}", 1 + id % 2))]
}

fn list(root: &Path, directory: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(directory)) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            list(root, &path, found);
        } else {
            found.push(path);
        }
    }
}

/// A run of the job: the factory and its instances.
struct Run {
    factory: Box<dyn SinkFactory>,
    sinks: Vec<Box<dyn Sink>>,
    waker: Waker,
}

impl Run {
    fn start(table: &Table, instances: usize, restored: &[Vec<u8>]) -> Self {
        let factory = table.factory();
        factory.recover(restored).unwrap();
        let waker = Waker::default();
        let open = |instance| {
            factory.open(SinkContext { instance, instances, restored: restored.to_vec(), waker: waker.clone() })
        };
        let sinks = (0..instances).map(|i| open(i).unwrap()).collect();
        Run { factory, sinks, waker }
    }

    /// Prepares all instances and waits until their work is durable.
    fn prepare(&mut self, kind: CheckpointKind) -> Vec<Prepared> {
        let mut all = Vec::new();
        for sink in &mut self.sinks {
            sink.prepare(1, kind).unwrap();
            all.push(loop {
                match sink.poll_prepared().unwrap() {
                    Some(prepared) => break prepared,
                    None => _ = self.waker.wait(Duration::from_millis(50)),
                }
            });
        }
        all
    }

    fn commit(&self, prepared: &[Prepared]) {
        let pending: Vec<Vec<u8>> = prepared.iter().map(|p| p.pending.clone()).collect();
        self.factory.commit(1, &pending).unwrap();
    }

    fn checkpoint(&mut self, kind: CheckpointKind) -> Vec<Vec<u8>> {
        let prepared = self.prepare(kind);
        self.commit(&prepared);
        states(&prepared)
    }
}

fn states(prepared: &[Prepared]) -> Vec<Vec<u8>> {
    prepared.iter().map(|p| p.state.clone()).collect()
}

#[test]
fn files_lie_in_hive_directories_and_appear_with_the_commit() {
    let table = Table::new("json", &["dt"], &[]);
    let mut run = Run::start(&table, 1, &[]);
    run.sinks[0].write(&table.rows(0..3)).unwrap();
    let prepared = run.prepare(CheckpointKind::Stop);
    assert_eq!((table.files().0.len(), table.files().1.len()), (0, 2));
    run.commit(&prepared);
    run.commit(&prepared);
    let (visible, hidden) = table.files();
    assert_eq!((visible.len(), hidden.len()), (2, 0));
    assert!(visible[0].starts_with("dt=2024-01-01/part-") && visible[0].ends_with("-0-0"), "{visible:?}");
    let text = fs::read_to_string(table.root().join(&visible[0])).unwrap();
    assert_eq!(text, "{\"id\":0,\"name\":\"name 0\"}\n{\"id\":2,\"name\":\"name 2\"}\n");
    let counters = run.sinks[0].counters();
    assert_eq!((counters.received, counters.delivered), (3, 3));
}

#[test]
fn overwriting_replaces_the_files_of_the_table_or_of_its_written_partitions_at_the_end() {
    for (keys, rows, expected) in [
        (&[] as &[&str], vec![6], vec![6]),
        (&[], vec![], vec![]),
        // Row 6 is of the partition of the even ids.
        (&["dt"], vec![6], vec![1, 3, 6]),
        (&["dt"], vec![], vec![0, 1, 2, 3]),
    ] {
        let mut table = Table::new("json", keys, &[]);
        let mut before = Run::start(&table, 1, &[]);
        before.sinks[0].write(&table.rows(0..4)).unwrap();
        before.checkpoint(CheckpointKind::Final);
        fs::write(table.root().join("_SUCCESS"), "").unwrap();
        table.overwrite = true;
        let mut run = Run::start(&table, 2, &[]);
        run.sinks[1].write(&table.rows(rows.clone())).unwrap();
        let states = run.checkpoint(CheckpointKind::Periodic);
        assert_eq!(table.visible_ids_but("_SUCCESS"), [0, 1, 2, 3], "nothing changes before the end");
        let mut resumed = Run::start(&table, 2, &states);
        assert_eq!(table.visible_ids_but("_SUCCESS"), [0, 1, 2, 3], "nor by a restart");
        let last = resumed.prepare(CheckpointKind::Final);
        resumed.commit(&last);
        resumed.commit(&last);
        assert_eq!(table.visible_ids_but("_SUCCESS"), expected, "{keys:?} {rows:?}");
        assert!(table.root().join("_SUCCESS").exists(), "readers do not see it, so it is no row of the table");
    }
}

#[test]
fn no_rows_make_no_files() {
    for format in ["json", "parquet"] {
        let table = Table::new(format, &[], &[]);
        let mut run = Run::start(&table, 2, &[]);
        run.sinks[0].write(&table.rows([])).unwrap();
        for kind in [CheckpointKind::Periodic, CheckpointKind::Final] {
            assert!(run.prepare(kind).iter().all(|p| p.pending.is_empty()));
        }
        assert_eq!(table.files(), (vec![], vec![]));
    }
}

#[test]
fn the_rolling_policy_closes_files_by_size_age_and_inactivity() {
    let cases: &[(&str, &str, i64, bool)] = &[
        ("sink.rolling-policy.file-size", "1KB", 0, true),
        ("sink.rolling-policy.file-size", "1MB", 0, false),
        ("sink.rolling-policy.rollover-interval", "1 h", HOUR_MS + 1, true),
        ("sink.rolling-policy.rollover-interval", "3 h", HOUR_MS + 1, false),
        ("sink.rolling-policy.inactivity-interval", "1 h", HOUR_MS + 1, true),
    ];
    for format in ["json", "parquet"] {
        for (key, text, later_ms, closes) in cases {
            let mut options = vec![
                ("sink.rolling-policy.rollover-interval", "1 d"),
                ("sink.rolling-policy.inactivity-interval", "1 d"),
            ];
            options.retain(|(k, _)| k != key);
            options.push((key, text));
            let table = Table::new(format, &[], &options);
            let mut run = Run::start(&table, 1, &[]);
            run.sinks[0].write(&table.rows(0..100)).unwrap();
            run.sinks[0].step_end(wall_clock_ms() + later_ms).unwrap();
            run.checkpoint(CheckpointKind::Periodic);
            let expected: Vec<i64> = if *closes { (0..100).collect() } else { vec![] };
            assert_eq!(table.visible_ids(), expected, "{format} {key} {text}");
        }
    }
}

#[test]
fn parquet_rolls_at_each_checkpoint_when_the_file_sets_the_interval() {
    for (format, interval_is_set, rolls) in
        [("parquet", true, true), ("parquet", false, false), ("json", true, false), ("json", false, false)]
    {
        let mut table = Table::new(format, &[], &[]);
        table.interval_is_set = interval_is_set;
        let mut run = Run::start(&table, 1, &[]);
        run.sinks[0].write(&table.rows(0..10)).unwrap();
        run.checkpoint(CheckpointKind::Periodic);
        assert_eq!(table.files().0.len(), usize::from(rolls), "{format} {interval_is_set}");
        run.sinks[0].write(&table.rows(10..20)).unwrap();
        run.checkpoint(CheckpointKind::Final);
        assert_eq!(table.visible_ids(), (0..20).collect::<Vec<_>>());
        assert_eq!(table.files().0.len(), 1 + usize::from(rolls));
    }
}

/// Where a run dies, after rows 20..30 were written behind the checkpoint of 0..20.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    Writing,
    Committing,
    Confirming,
}

#[test]
fn after_any_crash_every_row_is_visible_exactly_once() {
    for format in ["json", "parquet"] {
        for keys in [&[][..], &["dt"]] {
            for crash in [Crash::Writing, Crash::Committing, Crash::Confirming] {
                for (before, after) in [(1, 1), (2, 1), (1, 3)] {
                    for rolls in [false, true] {
                        crash_and_recover(format, keys, crash, before, after, rolls);
                    }
                }
            }
        }
    }
}

fn crash_and_recover(format: &str, keys: &[&str], crash: Crash, before: usize, after: usize, rolls: bool) {
    let size = if rolls { "1" } else { "128MB" };
    let table = Table::new(format, keys, &[("sink.rolling-policy.file-size", size)]);
    let case = format!("{format} {keys:?} {crash:?} {before}->{after} rolls {rolls}");
    let mut run = Run::start(&table, before, &[]);
    for (ids, sink) in [(0..5), (5..20)].into_iter().zip([0, before - 1]) {
        run.sinks[sink].write(&table.rows(ids)).unwrap();
    }
    let mut restored = run.checkpoint(CheckpointKind::Periodic);
    let mut resume_at = 20;

    run.sinks[0].write(&table.rows(20..30)).unwrap();
    run.sinks[0].step_end(wall_clock_ms()).unwrap();
    let mut pending = Vec::new();
    if crash != Crash::Writing {
        // The manifest of this checkpoint is durable in these cases; only its commit may be missing.
        let prepared = run.prepare(CheckpointKind::Periodic);
        restored = states(&prepared);
        resume_at = 30;
        pending = prepared.iter().map(|p| p.pending.clone()).collect();
        if crash == Crash::Confirming {
            run.commit(&prepared);
        }
    }
    drop(run);

    // The first recovery dies half-way, too.
    table.factory().recover(&restored).unwrap();
    let mut run = Run::start(&table, after, &restored);
    run.factory.commit(2, &pending).unwrap();
    assert_eq!(table.visible_ids(), (0..resume_at).collect::<Vec<_>>(), "{case}");
    assert!(table.files().1.is_empty(), "{case}: {:?}", table.files().1);

    run.sinks[after - 1].write(&table.rows(resume_at..40)).unwrap();
    run.sinks[0].write(&table.rows(40..45)).unwrap();
    run.checkpoint(CheckpointKind::Periodic);
    run.checkpoint(CheckpointKind::Stop);
    assert_eq!(table.visible_ids(), (0..45).collect::<Vec<_>>(), "{case}");
    assert!(table.files().1.is_empty(), "{case}");
}

#[test]
fn rows_that_come_while_a_checkpoint_is_prepared_belong_to_the_next_one() {
    for format in ["json", "parquet"] {
        for keys in [&[][..], &["dt"]] {
            for size in ["1", "128MB"] {
                for interval_is_set in [false, true] {
                    let mut table = Table::new(format, keys, &[("sink.rolling-policy.file-size", size)]);
                    table.interval_is_set = interval_is_set;
                    let case = format!("{format} {keys:?} {size} interval {interval_is_set}");
                    let mut run = Run::start(&table, 1, &[]);
                    let sink = &mut run.sinks[0];
                    sink.write(&table.rows(0..5)).unwrap();
                    sink.prepare(1, CheckpointKind::Periodic).unwrap();
                    // Steps go on: more rows, more files, and a look at the sink in between.
                    sink.write(&table.rows(5..8)).unwrap();
                    sink.step_end(wall_clock_ms()).unwrap();
                    let prepared = loop {
                        match sink.poll_prepared().unwrap() {
                            Some(prepared) => break prepared,
                            None => _ = run.waker.wait(Duration::from_millis(50)),
                        }
                        sink.write(&table.rows(8..10)).unwrap();
                    };
                    drop(run);
                    let restored = vec![prepared.state.clone()];
                    let mut run = Run::start(&table, 1, &restored);
                    run.factory.commit(1, &[prepared.pending]).unwrap();
                    assert_eq!(table.visible_ids(), (0..5).collect::<Vec<_>>(), "{case}");
                    assert!(table.files().1.is_empty(), "{case}: {:?}", table.files().1);
                    run.sinks[0].write(&table.rows(5..20)).unwrap();
                    run.checkpoint(CheckpointKind::Stop);
                    assert_eq!(table.visible_ids(), (0..20).collect::<Vec<_>>(), "{case}");
                }
            }
        }
    }
}

#[test]
fn recovery_removes_only_its_own_leftovers() {
    let table = Table::new("json", &["dt"], &[]);
    let mut run = Run::start(&table, 1, &[]);
    run.sinks[0].write(&table.rows(0..4)).unwrap();
    let restored = run.checkpoint(CheckpointKind::Stop);
    drop(run);
    let uid = {
        let visible = table.files().0.remove(0);
        visible.rsplit('/').next().unwrap()["part-".len()..].rsplitn(3, '-').last().unwrap().to_owned()
    };
    let directory = table.root().join("dt=2024-01-01");
    let leftover = format!(".part-{uid}-0-17.ab.1.inprogress");
    let strangers = [".part-0123-0-0.ab.1.inprogress", ".part-x.inprogress", ".hidden"];
    for name in strangers.iter().chain([&leftover.as_str()]) {
        fs::write(directory.join(name), b"x").unwrap();
    }
    table.factory().recover(&restored).unwrap();
    let hidden: Vec<String> = table.files().1;
    assert_eq!(hidden.len(), 3, "{hidden:?}");
    assert!(!directory.join(leftover).exists());
    assert_eq!(table.visible_ids(), vec![0, 1, 2, 3]);

    // A fresh start has no uid: it knows the leftovers of a dead process by job and table.
    let fresh = Table::new("json", &[], &[]);
    let mut run = Run::start(&fresh, 1, &[]);
    run.sinks[0].write(&fresh.rows(0..200_000)).unwrap();
    let alive = fresh.files().1.remove(0);
    let dead = alive.replace(&format!(".{}.inprogress", std::process::id()), ".999999999.inprogress");
    fs::copy(fresh.root().join(&alive), fresh.root().join(&dead)).unwrap();
    fresh.factory().recover(&[]).unwrap();
    assert_eq!(fresh.files().1, vec![alive]);
}

#[test]
fn a_loop_that_starts_afresh_leaves_the_files_of_another_loop_of_the_same_job_alone() {
    // Two INSERTs of one file write to one table. The process is killed after the first one's checkpoint and before the second one's: the
    // first resumes and needs its hidden files, the second starts afresh.
    let table = Table::new("json", &[], &[]);
    let mut run = Run::start(&table, 1, &[]);
    run.sinks[0].write(&table.rows(0..4)).unwrap();
    let restored = run.checkpoint(CheckpointKind::Periodic);
    let alive = table.files().1.remove(0);
    drop(run);
    let dead = |text: &str| text.replace(&format!(".{}.inprogress", std::process::id()), ".999999999.inprogress");
    fs::rename(table.root().join(&alive), table.root().join(dead(&alive))).unwrap();
    let mut state = super::ledger::InstanceState::decode(&restored[0]).unwrap();
    for file in &mut state.open {
        file.names.hidden = dead(&file.names.hidden);
    }
    assert_eq!(state.open.len(), 1);

    table.factory_of("/state/job/files-2").recover(&[]).unwrap();
    table.factory().recover(&[state.encode()]).unwrap();
    assert_eq!(table.visible_ids(), vec![0, 1, 2, 3]);
}

#[test]
fn files_of_a_checkpoint_that_never_became_durable_come_with_the_next_one() {
    let table = Table::new("json", &[], &[("sink.rolling-policy.file-size", "1")]);
    let mut run = Run::start(&table, 1, &[]);
    run.sinks[0].write(&table.rows(0..4)).unwrap();
    run.prepare(CheckpointKind::Periodic);
    run.sinks[0].write(&table.rows(4..6)).unwrap();
    run.sinks[0].prepare(2, CheckpointKind::Periodic).unwrap();
    run.sinks[0].poll_prepared().unwrap();
    run.checkpoint(CheckpointKind::Stop);
    assert_eq!(table.visible_ids(), (0..6).collect::<Vec<_>>());
    assert!(table.files().1.is_empty());
}

#[test]
fn a_lost_file_is_an_error_and_no_silence() {
    let table = Table::new("json", &[], &[]);
    let mut run = Run::start(&table, 1, &[]);
    run.sinks[0].write(&table.rows(0..4)).unwrap();
    let prepared = run.prepare(CheckpointKind::Stop);
    fs::remove_file(table.root().join(&table.files().1[0])).unwrap();
    let error = run.factory.commit(1, &[prepared[0].pending.clone()]).unwrap_err();
    assert!(error.message().contains("is gone"), "{error}");
}

#[test]
fn a_full_disk_is_waited_for() {
    let table = Table::new("json", &[], &[]);
    let state = super::ledger::InstanceState { uid: "u".to_owned(), ..Default::default() };
    let mut run = Run::start(&table, 1, &[state.encode()]);
    // The device that is always full stands where the first file will be.
    fs::create_dir_all(table.root()).unwrap();
    let owner = super::sink::owner("/state/job/files", "default_catalog.default_database.files");
    let hidden = table.root().join(names("", "u", 0, 0, &owner).hidden);
    std::os::unix::fs::symlink("/dev/full", &hidden).unwrap();

    run.sinks[0].write(&table.rows(0..10)).unwrap();
    run.sinks[0].prepare(1, CheckpointKind::Periodic).unwrap();
    assert_eq!(run.sinks[0].poll_prepared().unwrap(), None);
    assert!(run.sinks[0].waiting_for().unwrap().contains("space for"), "{:?}", run.sinks[0].waiting_for());
    assert_eq!(run.sinks[0].step_end(wall_clock_ms()).unwrap(), SinkStatus::Full);

    fs::remove_file(&hidden).unwrap();
    assert!(matches!(run.sinks[0].step_end(wall_clock_ms()).unwrap(), SinkStatus::Ready(Some(_))));
    assert_eq!(run.sinks[0].waiting_for(), None);
    run.checkpoint(CheckpointKind::Stop);
    assert_eq!(table.visible_ids(), (0..10).collect::<Vec<_>>());
}

#[test]
fn many_partitions_keep_a_bounded_number_of_files_open() {
    let fields = [("id", DataType::bigint()), ("name", DataType::string()), ("dt", DataType::bigint())];
    let table = Table::with_fields("json", &["dt"], &[], &fields);
    let mut run = Run::start(&table, 1, &[]);
    let ids: Vec<Value> = (0..150).map(Value::Int).collect();
    let names: Vec<Value> = vec![Value::Null; 150];
    let columns = [&ids, &names, &ids].iter().zip(&fields).map(|(v, (_, t))| value::column(&t.kind, v)).collect();
    let schema = Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone())).collect());
    let rows = RecordBatch::try_new(Arc::clone(schema.arrow()), columns).unwrap();
    run.sinks[0].write(&ChangeBatch::inserts(rows)).unwrap();
    let prepared = run.prepare(CheckpointKind::Periodic);
    let state = super::ledger::InstanceState::decode(&prepared[0].state).unwrap();
    assert_eq!((state.open.len(), state.pending.len()), (64, 86));
    run.commit(&prepared);
    run.checkpoint(CheckpointKind::Final);
    assert_eq!(table.visible_ids(), (0..150).collect::<Vec<_>>());
}

fn all_types() -> Vec<(&'static str, DataType, Value)> {
    let t = DataType::new;
    let text = |s: &str| Value::String(s.to_owned());
    vec![
        ("b", DataType::boolean(), Value::Boolean(true)),
        ("i8", t(TypeKind::TinyInt), Value::Int(-8)),
        ("i16", t(TypeKind::SmallInt), Value::Int(-16)),
        ("i32", DataType::int(), Value::Int(32)),
        ("i64", DataType::not_null(TypeKind::BigInt), Value::Int(64)),
        ("f", t(TypeKind::Float), Value::Float(1.5)),
        ("d", DataType::double(), Value::Double(2.5)),
        ("dec5", t(TypeKind::Decimal { precision: 5, scale: 2 }), Value::Decimal(-12345)),
        ("dec38", t(TypeKind::Decimal { precision: 38, scale: 10 }), Value::Decimal(10_i128.pow(37))),
        ("s", DataType::string(), text("héllo")),
        ("by", t(TypeKind::VarBinary(10)), Value::Bytes(vec![0, 255])),
        ("day", t(TypeKind::Date), Value::Date(19_000)),
        ("time", t(TypeKind::Time(3)), Value::Time(3_600_000)),
        ("ts3", t(TypeKind::Timestamp(3)), Value::Timestamp(1_704_067_200_123)),
        ("ts9", t(TypeKind::Timestamp(9)), Value::Timestamp(-1_000_000_001)),
        ("ltz", t(TypeKind::TimestampLtz(6)), Value::Timestamp(1_704_067_200_123_456)),
        ("arr", t(TypeKind::Array(Box::new(DataType::int()))), Value::Array(vec![Value::Int(1), Value::Null])),
        (
            "map",
            t(TypeKind::Map(Box::new(DataType::string()), Box::new(DataType::string()))),
            Value::Map(vec![(text("k"), text("v")), (text("n"), Value::Null)]),
        ),
        (
            "row",
            t(TypeKind::Row(vec![Field::new("x", DataType::int()), Field::new("at", t(TypeKind::Timestamp(3)))])),
            Value::Row(vec![Value::Int(7), Value::Timestamp(5)]),
        ),
    ]
}

/// Two rows, the second all NULL but for the column that is not nullable, as a Parquet table and its files' metadata.
fn written_types(options: &[(&str, &str)]) -> (Table, Vec<RecordBatch>, String) {
    let types = all_types();
    let fields: Vec<(&str, DataType)> = types.iter().map(|(n, t, _)| (*n, t.clone())).collect();
    let table = Table::with_fields("parquet", &[], options, &fields);
    let mut run = Run::start(&table, 1, &[]);
    let columns = types.iter().map(|(_, t, v)| {
        let second = if t.nullable { Value::Null } else { v.clone() };
        value::column(&t.kind, &[v.clone(), second])
    });
    let schema = Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone())).collect());
    let rows = RecordBatch::try_new(Arc::clone(schema.arrow()), columns.collect()).unwrap();
    run.sinks[0].write(&ChangeBatch::inserts(rows)).unwrap();
    run.checkpoint(CheckpointKind::Final);
    let path = table.root().join(&table.files().0[0]);
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let mut printed = Vec::new();
    parquet::schema::printer::print_schema(&mut printed, reader.metadata().file_metadata().schema());
    let batches = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap();
    (table, batches.map(Result::unwrap).collect(), String::from_utf8(printed).unwrap())
}

#[test]
fn parquet_files_have_the_types_that_flink_writes() {
    let (_table, batches, schema) = written_types(&[]);
    let expected = "\
message flink_schema {
  OPTIONAL BOOLEAN b;
  OPTIONAL INT32 i8 (INTEGER(8,true));
  OPTIONAL INT32 i16 (INTEGER(16,true));
  OPTIONAL INT32 i32;
  REQUIRED INT64 i64;
  OPTIONAL FLOAT f;
  OPTIONAL DOUBLE d;
  OPTIONAL FIXED_LEN_BYTE_ARRAY (3) dec5 (DECIMAL(5,2));
  OPTIONAL FIXED_LEN_BYTE_ARRAY (16) dec38 (DECIMAL(38,10));
  OPTIONAL BYTE_ARRAY s (STRING);
  OPTIONAL BYTE_ARRAY by;
  OPTIONAL INT32 day (DATE);
  OPTIONAL INT32 time (TIME(MILLIS,true));
  OPTIONAL INT96 ts3;
  OPTIONAL INT96 ts9;
  OPTIONAL INT96 ltz;
  OPTIONAL group arr (LIST) {
    REPEATED group list {
      OPTIONAL INT32 element;
    }
  }
  OPTIONAL group map (MAP) {
    REPEATED group key_value {
      REQUIRED BYTE_ARRAY key (STRING);
      OPTIONAL BYTE_ARRAY value (STRING);
    }
  }
  OPTIONAL group row {
    OPTIONAL INT32 x;
    OPTIONAL INT64 at (TIMESTAMP(MILLIS,false));
  }
}
";
    assert_eq!(schema, expected);
    let batch = &batches[0];
    assert_eq!(batch.num_rows(), 2);
    for (column, (name, data_type, value)) in batch.columns().iter().zip(all_types()) {
        // Readers see INT96 as nanoseconds.
        let (read_type, value) = match (&data_type.kind, value) {
            (TypeKind::Timestamp(3), Value::Timestamp(ms)) => {
                (DataType::new(TypeKind::Timestamp(9)), Value::Timestamp(ms * 1_000_000))
            }
            (TypeKind::TimestampLtz(6), Value::Timestamp(us)) => {
                (DataType::new(TypeKind::Timestamp(9)), Value::Timestamp(us * 1000))
            }
            (_, value) => (data_type.clone(), value),
        };
        assert_eq!(Value::from_array(column, &read_type, 0), value, "{name}");
        assert_eq!(column.is_null(1), data_type.nullable, "{name}");
    }
}

#[test]
fn timestamps_are_int64_on_request_in_any_unit() {
    let cases = [
        (&[("parquet.write.int64.timestamp", "true")][..], "TIMESTAMP(MICROS,false)", 6, 1_704_067_200_123_000),
        (
            &[("parquet.write.int64.timestamp", "true"), ("parquet.timestamp.time.unit", "millis")],
            "TIMESTAMP(MILLIS,false)",
            3,
            1_704_067_200_123,
        ),
    ];
    for (options, form, precision, expected) in cases {
        let (_table, batches, schema) = written_types(options);
        assert!(schema.contains(&format!("OPTIONAL INT64 ts3 ({form})")), "{schema}");
        let read_type = DataType::new(TypeKind::Timestamp(precision));
        let column = batches[0].column_by_name("ts3").unwrap();
        assert_eq!(Value::from_array(column, &read_type, 0), Value::Timestamp(expected));
    }
}

#[test]
fn timestamps_go_through_the_session_zone_unless_utc_is_asked_for() {
    for (utc, hours) in [("false", 1), ("true", 0)] {
        let fields = [("ts", DataType::new(TypeKind::Timestamp(3)))];
        let table = Table::with_fields("parquet", &[], &[("parquet.utc-timezone", utc)], &fields);
        let request = SinkRequest {
            columns: vec![0],
            changelog_mode: ChangelogMode::Insert,
            time_zone: "Europe/Berlin".to_owned(),
            workers: 1,
            job_name: "job".to_owned(),
            loop_folder: "/state/job/files".to_owned(),
            checkpoint_interval_is_set: false,
            run_key: String::new(),
            ordinal: 0,
            hands_over_refused: false,
            overwrite: false,
        };
        let mut run = Run::start(&table, 1, &[]);
        run.factory = super::sink(&table.descriptor, &request, &ConnectorContext::default()).unwrap();
        let context = SinkContext { instance: 0, instances: 1, restored: vec![], waker: run.waker.clone() };
        run.sinks = vec![run.factory.open(context).unwrap()];
        let schema = Schema::new(vec![Field::new("ts", fields[0].1.clone())]);
        let column = value::column(&fields[0].1.kind, &[Value::Timestamp(1_704_067_200_000)]);
        let rows = RecordBatch::try_new(Arc::clone(schema.arrow()), vec![column]).unwrap();
        run.sinks[0].write(&ChangeBatch::inserts(rows)).unwrap();
        run.checkpoint(CheckpointKind::Final);
        let path = table.root().join(&table.files().0[0]);
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
        let batch = reader.next().unwrap().unwrap();
        let found = Value::from_array(batch.column(0), &DataType::new(TypeKind::Timestamp(9)), 0);
        assert_eq!(found, Value::Timestamp((1_704_067_200_000 - hours * HOUR_MS) * 1_000_000), "utc {utc}");
    }
}

#[test]
fn not_null_columns_refuse_null() {
    let fields = [("id", DataType::not_null(TypeKind::BigInt))];
    let table = Table::with_fields("parquet", &[], &[], &fields);
    let mut run = Run::start(&table, 1, &[]);
    let schema = Schema::new(vec![Field::new("id", DataType::bigint())]);
    let column = value::column(&TypeKind::BigInt, &[Value::Null]);
    let rows = RecordBatch::try_new(Arc::clone(schema.arrow()), vec![column]).unwrap();
    let error = run.sinks[0].write(&ChangeBatch::inserts(rows)).unwrap_err();
    assert_eq!(error.message(), "column `id` is declared NOT NULL and got NULL");
}

#[test]
fn every_compression_can_be_read_back() {
    for codec in ["UNCOMPRESSED", "snappy", "GZIP", "LZ4", "LZ4_RAW", "ZSTD"] {
        let options = [("parquet.compression", codec), ("parquet.block.size", "4096"), ("parquet.page.size", "512")];
        let table = Table::new("parquet", &[], &options);
        let mut run = Run::start(&table, 1, &[]);
        for start in (0..5000).step_by(500) {
            run.sinks[0].write(&table.rows(start..start + 500)).unwrap();
        }
        run.checkpoint(CheckpointKind::Final);
        assert_eq!(table.visible_ids(), (0..5000).collect::<Vec<_>>(), "{codec}");
        let reader = SerializedFileReader::new(File::open(table.root().join(&table.files().0[0])).unwrap()).unwrap();
        assert!(reader.num_row_groups() > 3, "{codec}");
    }
}

#[test]
fn options_are_checked_when_the_table_is_declared() {
    let info = |format: &str, keys: &[&str], options: &[(&str, &str)]| {
        super::info(&Table::new(format, keys, options).descriptor, &ConnectorContext::default())
    };
    let taken = [
        ("auto-compaction", "true"),
        ("compaction.file-size", "256MB"),
        ("sink.partition-commit.delay", "1min"),
        ("sink.partition-commit.policy.kind", "success-file"),
        ("sink.rolling-policy.rollover-interval", "5min"),
        ("partition.time-extractor.timestamp-pattern", "$dt 00:00:00"),
        ("parquet.compression", "SNAPPY"),
        ("parquet.block.size", "134217728"),
        ("sink.parallelism", "4"),
    ];
    let found = info("parquet", &["dt"], &taken).unwrap();
    assert!(found.is_sink && found.is_source && found.is_bounded && found.delivery == "exactly-once");
    assert_eq!(found.notes.len(), 1, "only the parallelism is without effect: {:?}", found.notes);

    let error =
        |format: &str, keys: &[&str], options: &[(&str, &str)]| -> Error { info(format, keys, options).unwrap_err() };
    assert_eq!(error("orc", &[], &[]).code(), "W0503");
    assert_eq!(error("parket", &[], &[]).hint_text(), Some("did you mean 'parquet'?"));
    assert!(!info("json", &[], &[("source.monitor-interval", "1 s")]).unwrap().is_bounded);
    assert_eq!(error("json", &[], &[("source.monitor-interval", "0 s")]).code(), "W0501");
    assert_eq!(error("json", &[], &[("source.path.regex-pattern", "(")]).code(), "W0501");
    assert_eq!(error("parquet", &[], &[("parquet.compression", "LZO")]).code(), "W0503");
    assert_eq!(error("json", &[], &[("parquet.compression", "ZSTD")]).code(), "W0502");
    assert!(info("json", &[], &[("path", "s3://bucket/x")]).is_ok());
    assert_eq!(error("json", &[], &[("path", "gs://bucket/x")]).code(), "W0503");
    assert!(error("json", &["nope"], &[]).message().contains("partition column `nope`"));
    assert!(error("json", &["id", "name", "dt"], &[]).message().contains("no column beside"));

    let table = Table::new("json", &[], &[]);
    super::probe(&table.descriptor, true, &ConnectorContext::default()).unwrap();
    assert_eq!(table.files(), (vec![], vec![]));
}

#[test]
fn a_partition_that_is_done_is_marked_behind_its_files() {
    const FIRST_DAY_MS: i64 = 1_704_067_200_000;
    let options = [
        ("sink.partition-commit.policy.kind", "success-file"),
        ("sink.partition-commit.trigger", "partition-time"),
        ("sink.partition-commit.delay", "1 h"),
    ];
    let marks = |table: &Table| -> Vec<String> {
        table.files().0.into_iter().filter(|file| file.ends_with("_SUCCESS")).collect()
    };
    for format in ["json", "parquet"] {
        let table = Table::new(format, &["dt"], &options);
        let mut run = Run::start(&table, 2, &[]);
        for (sink, watermark) in run.sinks.iter_mut().zip([FIRST_DAY_MS + HOUR_MS; 2]) {
            sink.write(&table.rows(0..4)).unwrap();
            sink.watermark(watermark);
        }
        let states = run.checkpoint(CheckpointKind::Periodic);
        assert_eq!(marks(&table), Vec::<String>::new(), "the watermark must be past the delay");
        // Killed and started again: what is open at the checkpoint is shown, and the partitions are still to be marked.
        let mut run = Run::start(&table, 2, &states);
        run.sinks.iter_mut().for_each(|sink| sink.watermark(FIRST_DAY_MS + HOUR_MS + 1));
        let prepared = run.prepare(CheckpointKind::Periodic);
        assert_eq!(marks(&table), Vec::<String>::new(), "nothing is marked before the commit");
        run.commit(&prepared);
        run.commit(&prepared);
        assert_eq!(marks(&table), ["dt=2024-01-01/_SUCCESS"], "{format}");
        // Rows that come late are visible when their partition is marked anew; the end of the input ends every partition.
        run.sinks[0].write(&table.rows([4])).unwrap();
        run.checkpoint(CheckpointKind::Final);
        assert_eq!(marks(&table), ["dt=2024-01-01/_SUCCESS", "dt=2024-01-02/_SUCCESS"], "{format}");
        assert_eq!(table.files().1, Vec::<String>::new());
    }
}

#[test]
fn compaction_leaves_one_file_per_partition_and_checkpoint() {
    let options =
        [("auto-compaction", "true"), ("compaction.file-size", "1MB"), ("sink.rolling-policy.file-size", "1KB")];
    let table = Table::new("json", &[], &options);
    assert_eq!(table.factory().parallelism(), SinkParallelism::One);
    let mut run = Run::start(&table, 1, &[]);
    for checkpoint in 1..=2 {
        run.sinks[0].write(&table.rows(0..100)).unwrap();
        run.sinks[0].step_end(wall_clock_ms() + 10 * HOUR_MS).unwrap();
        run.sinks[0].write(&table.rows(0..100)).unwrap();
        run.checkpoint(CheckpointKind::Periodic);
        assert_eq!(table.files().0.len(), checkpoint);
    }
}

#[test]
fn commit_policies_of_java_are_refused_by_name() {
    for (key, value) in [
        ("sink.partition-commit.policy.kind", "metastore,success-file"),
        ("sink.partition-commit.policy.kind", "custom"),
        ("partition.time-extractor.kind", "custom"),
    ] {
        let table = Table::new("json", &["dt"], &[(key, value)]);
        let error = super::info(&table.descriptor, &ConnectorContext::default()).unwrap_err();
        assert!(error.message().contains(key), "{error}");
    }
}
