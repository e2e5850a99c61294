//! A scripted outside for whole jobs: sources that bring what a list says, sinks that record what became visible, a clock that stands
//! still until a test moves it. Tests wait for what they expect, never for time.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use wiesel_core::env;
use wiesel_core::sink::{
    CheckpointKind, Prepared, Sink, SinkContext, SinkCounters, SinkFactory, SinkParallelism, SinkStatus,
};
use wiesel_core::source::{
    RawBatch, RawRecord, ReadRows, RowReader, Source, SourceContext, SourceEvent, SourceFactory, Split, SplitIndex,
};
use wiesel_core::table::{
    ColumnKind, ConnectorInfo, ConnectorRegistry, SinkRequest, SourceRequest, TableColumn, TableDescriptor,
};
use wiesel_core::types::TypeKind;
use wiesel_core::{ChangeBatch, ChangelogMode, DataType, Error, Field, Result, Schema, Value};
use wiesel_engine::{Clock, Control, Job, JobEnd, JobSpec, Metrics};
use wiesel_expr::{AggregateCall, AggregateFunction, ScalarExpr};
use wiesel_plan::{
    CalcNode, GroupAggregateNode, JobConfig, Node, NodeId, NodeKind, SinkNode, SourceNode, StreamPlan, WatermarkNode,
    WindowAggregateNode, WindowKind, WindowNode, WindowProperty,
};

/// A row of the scripted tables: id, v, ts.
pub(crate) type Row = (i64, i64, i64);

/// How long a test waits for what it expects before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A value that tests wait on.
#[derive(Default)]
pub(crate) struct Watched<T>(Mutex<T>, Condvar);

impl<T> Watched<T> {
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let result = f(&mut self.0.lock().unwrap());
        self.1.notify_all();
        result
    }

    /// Waits until the condition holds. It is looked at again from time to time, because it may also look at counters of the job.
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&T) -> bool) {
        let began = env::monotonic();
        let mut guard = self.0.lock().unwrap();
        while !condition(&guard) {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
            guard = self.1.wait_timeout(guard, Duration::from_millis(5)).unwrap().0;
        }
    }
}

/// What a scripted source brings next.
#[derive(Clone)]
pub(crate) enum Event {
    Rows(SplitIndex, Vec<Row>),
    CaughtUp(SplitIndex),
    Finished(SplitIndex),
    /// Waits until the gate is that far open.
    Gate(usize),
    /// Waits until this source was told of one more checkpoint.
    Checkpoint,
    /// The system is away for one poll.
    Away,
    Fail(&'static str),
}

#[derive(Default)]
pub(crate) struct SourceScript {
    pub(crate) splits: Vec<&'static str>,
    pub(crate) events: Vec<Event>,
    pub(crate) is_bounded: bool,
    pub(crate) push_down: bool,
    pub(crate) gate: Watched<usize>,
    /// Opens that fail before one succeeds.
    pub(crate) refusals: AtomicUsize,
    /// Where a bounded read ends, as the first start finds out.
    pub(crate) end: Option<i64>,
    /// The ends that each open was given.
    pub(crate) restored_ends: Watched<Vec<Vec<(String, i64)>>>,
    /// Positions told after checkpoints.
    pub(crate) completed: Watched<Vec<Vec<(SplitIndex, i64)>>>,
}

#[derive(Default)]
pub(crate) struct SinkScript {
    pub(crate) per_worker: bool,
    pub(crate) delivery: &'static str,
    /// Rows written so far in this and earlier runs.
    pub(crate) written: Watched<Vec<String>>,
    /// Rows that a commit made visible.
    pub(crate) visible: Watched<Vec<String>>,
    pub(crate) commits: Watched<BTreeSet<u64>>,
    /// Commits that fail as if the system was away.
    pub(crate) refusals: AtomicUsize,
    pub(crate) refused: Watched<usize>,
    /// Writes that panic.
    pub(crate) panics: bool,
    /// While it is set, checkpoints wait for this sink.
    pub(crate) withholds: Watched<bool>,
    /// Calls that asked for a withheld answer.
    pub(crate) asked: Watched<usize>,
}

impl SinkScript {
    pub(crate) fn wait_for_refusal(&self) {
        self.refused.wait("a refused commit", |n| *n > 0);
    }
}

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) sources: BTreeMap<&'static str, Arc<SourceScript>>,
    pub(crate) sinks: BTreeMap<&'static str, Arc<SinkScript>>,
}

impl ConnectorRegistry for Script {
    fn info(&self, _table: &TableDescriptor) -> Result<ConnectorInfo> {
        Err(Error::internal("not asked by the engine"))
    }

    fn source(&self, table: &TableDescriptor, _request: &SourceRequest) -> Result<Box<dyn SourceFactory>> {
        Ok(Box::new(ScriptedFactory(Arc::clone(&self.sources[table.name.as_str()]))))
    }

    fn sink(&self, table: &TableDescriptor, _request: &SinkRequest) -> Result<Box<dyn SinkFactory>> {
        Ok(Box::new(RecordingFactory(Arc::clone(&self.sinks[table.name.as_str()]))))
    }

    fn probe(&self, _table: &TableDescriptor, _as_sink: bool) -> Result<()> {
        Ok(())
    }
}

struct ScriptedFactory(Arc<SourceScript>);

impl SourceFactory for ScriptedFactory {
    fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let refuse = self.0.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if refuse.is_ok() {
            return Err(Error::unavailable("the broker is away"));
        }
        self.0.restored_ends.change(|ends| ends.push(context.restored_ends.clone()));
        let start = |name: &str| context.restored.iter().find(|s| s.name == name).map_or(0, |s| s.start);
        let splits: Vec<Split> =
            self.0.splits.iter().map(|name| Split { name: (*name).to_owned(), start: start(name) }).collect();
        let seen = vec![0; splits.len()];
        Ok(Box::new(ScriptedSource {
            script: Arc::clone(&self.0),
            splits,
            next: 0,
            seen,
            checkpoints: 0,
            checkpoints_awaited: 0,
        }))
    }

    fn reader(&self) -> Result<Option<Box<dyn RowReader>>> {
        Ok(Some(Box::new(LineReader)))
    }
}

struct ScriptedSource {
    script: Arc<SourceScript>,
    splits: Vec<Split>,
    next: usize,
    seen: Vec<i64>,
    checkpoints: usize,
    checkpoints_awaited: usize,
}

impl Source for ScriptedSource {
    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn end(&self, _split: SplitIndex) -> Option<i64> {
        self.script.end
    }

    fn poll(&mut self, _bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        match self.script.events.get(self.next).cloned() {
            None => {
                // Nothing more to say; the gate is only something to wait on.
                let gate = self.script.gate.0.lock().unwrap();
                drop(self.script.gate.1.wait_timeout(gate, wait).unwrap());
                return Ok(());
            }
            Some(Event::Gate(level)) => {
                let gate = self.script.gate.0.lock().unwrap();
                let (gate, _) = self.script.gate.1.wait_timeout_while(gate, wait, |g| *g < level).unwrap();
                if *gate < level {
                    return Ok(());
                }
            }
            Some(Event::Checkpoint) => {
                self.checkpoints_awaited = self.checkpoints_awaited.max(1);
                if self.checkpoints < self.checkpoints_awaited {
                    let gate = self.script.gate.0.lock().unwrap();
                    drop(self.script.gate.1.wait_timeout(gate, Duration::from_millis(2)).unwrap());
                    return Ok(());
                }
                self.checkpoints_awaited = self.checkpoints + 1;
            }
            Some(Event::Away) => {
                self.next += 1;
                return Err(Error::unavailable("the broker is away"));
            }
            Some(Event::Fail(text)) => return Err(Error::data(text)),
            Some(Event::CaughtUp(split)) => events.push(SourceEvent::CaughtUp(split)),
            Some(Event::Finished(split)) => events.push(SourceEvent::Finished(split)),
            Some(Event::Rows(split, rows)) => {
                let first = self.seen[split];
                self.seen[split] += i64::try_from(rows.len()).unwrap();
                let records: Vec<(i64, Row)> =
                    (first..).zip(rows).filter(|(offset, _)| *offset >= self.splits[split].start).collect();
                if !records.is_empty() {
                    events.push(SourceEvent::Raw(raw(split, &records)));
                }
            }
        }
        self.next += 1;
        Ok(())
    }

    fn checkpoint_complete(&mut self, positions: &[(SplitIndex, i64)]) -> Result<()> {
        self.checkpoints += 1;
        self.script.completed.change(|c| c.push(positions.to_vec()));
        Ok(())
    }
}

fn raw(split: SplitIndex, rows: &[(i64, Row)]) -> RawBatch {
    let mut arena = Vec::new();
    let mut records = Vec::new();
    for (offset, (id, v, ts)) in rows {
        let value_start = u32::try_from(arena.len()).unwrap();
        arena.extend_from_slice(format!("{id} {v} {ts}").as_bytes());
        records.push(RawRecord {
            key_start: 0,
            key_end: 0,
            value_start,
            value_end: u32::try_from(arena.len()).unwrap(),
            offset: *offset,
            timestamp_ms: -1,
            has_key: false,
            has_value: true,
            tag: 0,
        });
    }
    RawBatch { split, arena: arena.into(), records, next: rows.last().unwrap().0 + 1 }
}

/// Reads `id v ts`; a negative ts is NULL.
struct LineReader;

impl RowReader for LineReader {
    fn read(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<ReadRows> {
        let mut columns: [Vec<i64>; 3] = Default::default();
        for record in &batch.records[range] {
            let text = &batch.arena[record.value_start as usize..record.value_end as usize];
            let text = std::str::from_utf8(text).unwrap();
            for (column, number) in columns.iter_mut().zip(text.split(' ')) {
                column.push(number.parse().unwrap());
            }
        }
        let [ids, vs, times] = columns;
        let times: TimestampMillisecondArray = times.into_iter().map(|t| (t >= 0).then_some(t)).collect();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(ids)), Arc::new(Int64Array::from(vs)), Arc::new(times)];
        Ok(ReadRows { rows: RecordBatch::try_new(schema().arrow().clone(), columns)?, kinds: None, skipped: 0 })
    }
}

struct RecordingFactory(Arc<SinkScript>);

impl SinkFactory for RecordingFactory {
    fn parallelism(&self) -> SinkParallelism {
        if self.0.per_worker { SinkParallelism::PerWorker } else { SinkParallelism::One }
    }

    fn open(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(RecordingSink { script: Arc::clone(&self.0), epoch: Vec::new(), prepared: None, received: 0 }))
    }

    fn commit(&self, checkpoint: u64, pending: &[Vec<u8>]) -> Result<()> {
        let refuse = self.0.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if refuse.is_ok() {
            self.0.refused.change(|n| *n += 1);
            return Err(Error::unavailable("the database is away"));
        }
        if self.0.commits.change(|c| c.insert(checkpoint)) {
            let text: String = pending.iter().map(|p| String::from_utf8(p.clone()).unwrap()).collect();
            self.0.visible.change(|v| v.extend(text.lines().map(str::to_owned)));
        }
        Ok(())
    }

    fn recover(&self, _restored: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
}

struct RecordingSink {
    script: Arc<SinkScript>,
    epoch: Vec<String>,
    prepared: Option<Prepared>,
    received: u64,
}

impl Sink for RecordingSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        assert!(!self.script.panics, "the sink panics as scripted");
        let rows = texts(batch);
        self.received += rows.len() as u64;
        self.epoch.extend(rows.iter().cloned());
        self.script.written.change(|w| w.extend(rows));
        Ok(())
    }

    fn step_end(&mut self, _now_ms: i64) -> Result<SinkStatus> {
        Ok(SinkStatus::Ready(None))
    }

    fn prepare(&mut self, _checkpoint: u64, _kind: CheckpointKind) -> Result<()> {
        let pending: String = self.epoch.drain(..).map(|row| row + "\n").collect();
        self.prepared = Some(Prepared { pending: pending.into_bytes(), state: b"state".to_vec() });
        Ok(())
    }

    fn poll_prepared(&mut self) -> Result<Option<Prepared>> {
        if self.script.withholds.change(|withholds| *withholds) {
            self.script.asked.change(|asked| *asked += 1);
            return Ok(None);
        }
        Ok(self.prepared.take())
    }

    fn waiting_for(&self) -> Option<String> {
        None
    }

    fn counters(&self) -> SinkCounters {
        SinkCounters { received: self.received, delivered: self.received, ..SinkCounters::default() }
    }
}

/// `+I 1 2 3`, one text per row.
pub(crate) fn texts(batch: &ChangeBatch) -> Vec<String> {
    let text = |row: usize| {
        let mut text = batch.kind(row).symbol().to_owned();
        for column in batch.rows.columns() {
            text.push(' ');
            text.push_str(&cell(column, row));
        }
        text
    };
    (0..batch.len()).map(text).collect()
}

fn cell(column: &ArrayRef, row: usize) -> String {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int64Type, TimestampMillisecondType};
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    match column.data_type() {
        arrow_schema::DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        _ => column.as_primitive::<TimestampMillisecondType>().value(row).to_string(),
    }
}

/// A clock that a test moves.
pub(crate) struct TestClock(pub(crate) AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The columns of the scripted tables.
pub(crate) fn schema() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::bigint()),
        Field::new("v", DataType::bigint()),
        Field::new("ts", DataType::new(TypeKind::Timestamp(3))),
    ])
}

/// Builds plans, node by node.
pub(crate) struct PlanBuilder {
    pub(crate) plan: StreamPlan,
}

impl PlanBuilder {
    pub(crate) fn new() -> Self {
        PlanBuilder {
            plan: StreamPlan { job_name: "test".to_owned(), nodes: Vec::new(), sinks: Vec::new(), dead_letters: None },
        }
    }

    pub(crate) fn node(&mut self, kind: NodeKind, inputs: &[NodeId], schema: Schema) -> NodeId {
        let label = format!("node {}", self.plan.nodes.len());
        self.plan.nodes.push(Node {
            kind,
            inputs: inputs.to_vec(),
            schema,
            changelog_mode: ChangelogMode::Full,
            upsert_keys: Vec::new(),
            rowtime: None,
            label,
        });
        self.plan.nodes.len() - 1
    }

    pub(crate) fn source(&mut self, script: &Script, name: &str) -> NodeId {
        let source = &script.sources[name];
        let mut info = info();
        info.is_bounded = source.is_bounded;
        info.watermark_push_down = source.push_down;
        let node = SourceNode { table: table(name), columns: vec![0, 1, 2], info };
        self.node(NodeKind::Source(node), &[], schema())
    }

    /// `WATERMARK FOR ts AS ts`.
    pub(crate) fn watermark(
        &mut self,
        input: NodeId,
        push_down: bool,
        interval_ms: u64,
        idle_timeout_ms: u64,
    ) -> NodeId {
        let data_type = DataType::new(TypeKind::Timestamp(3));
        let node = WatermarkNode {
            rowtime: 2,
            expr: ScalarExpr::Column { index: 2, data_type },
            push_down,
            idle_timeout_ms,
            interval_ms,
        };
        self.node(NodeKind::Watermark(node), &[input], schema())
    }

    /// SELECT of some columns.
    pub(crate) fn project(&mut self, input: NodeId, columns: &[usize]) -> NodeId {
        let fields = self.plan.nodes[input].schema.fields().to_vec();
        let project = columns
            .iter()
            .map(|&index| ScalarExpr::Column { index, data_type: fields[index].data_type.clone() })
            .collect();
        let schema = Schema::new(columns.iter().map(|&c| fields[c].clone()).collect());
        self.node(NodeKind::Calc(CalcNode { filter: None, project }), &[input], schema)
    }

    /// COUNT(*) and SUM(v) by id, as it changes.
    pub(crate) fn count_by(&mut self, input: NodeId, key: usize) -> NodeId {
        let call = |function, args: &[usize]| AggregateCall {
            function,
            args: args.to_vec(),
            distinct: false,
            filter: None,
            data_type: DataType::bigint(),
        };
        let node = GroupAggregateNode {
            keys: vec![key],
            aggregates: vec![call(AggregateFunction::CountStar, &[]), call(AggregateFunction::Sum, &[0])],
            input_retracts: false,
            fold_per_step: false,
            mini_batch: None,
            state_ttl_ms: 0,
        };
        let fields = ["key", "count", "sum"].map(|name| Field::new(name, DataType::bigint()));
        self.node(NodeKind::GroupAggregate(node), &[input], Schema::new(fields.to_vec()))
    }

    /// COUNT(*) per tumbling window and key.
    pub(crate) fn window_count(&mut self, input: NodeId, key: usize, size_ms: i64) -> NodeId {
        let window = WindowNode {
            kind: WindowKind::Tumble { size_ms, offset_ms: 0 },
            time_column: 2,
            is_event_time: true,
            time_zone: None,
        };
        let count = AggregateCall {
            function: AggregateFunction::CountStar,
            args: Vec::new(),
            distinct: false,
            filter: None,
            data_type: DataType::bigint(),
        };
        let node = WindowAggregateNode {
            window,
            is_legacy: false,
            keys: vec![key],
            aggregates: vec![count],
            properties: vec![WindowProperty::End],
            input_retracts: false,
        };
        let end = Field::new("window_end", DataType::new(TypeKind::Timestamp(3)));
        let fields = vec![Field::new("key", DataType::bigint()), Field::new("count", DataType::bigint()), end];
        self.node(NodeKind::WindowAggregate(node), &[input], Schema::new(fields))
    }

    pub(crate) fn sink(&mut self, script: &Script, name: &str, input: NodeId, primary_key: &[usize]) -> NodeId {
        let schema = self.plan.nodes[input].schema.clone();
        let mut info = info();
        info.delivery = script.sinks[name].delivery;
        let node = SinkNode {
            table: table(name),
            columns: (0..schema.len()).collect(),
            info,
            primary_key: primary_key.to_vec(),
            not_null: Vec::new(),
            drop_null_rows: false,
            overwrite: false,
        };
        let id = self.node(NodeKind::Sink(node), &[input], schema);
        self.plan.sinks.push(id);
        id
    }

    pub(crate) fn values(&mut self, rows: &[Row]) -> NodeId {
        let row = |&(id, v, ts): &Row| vec![Value::Int(id), Value::Int(v), Value::Timestamp(ts)];
        self.node(NodeKind::Values(rows.iter().map(row).collect()), &[], schema())
    }
}

fn info() -> ConnectorInfo {
    ConnectorInfo {
        is_source: true,
        is_lookup: false,
        is_bounded: false,
        watermark_push_down: false,
        source_mode: ChangelogMode::Insert,
        is_sink: true,
        sink_mode: None,
        sink_folds_by_key: false,
        delivery: "at-least-once",
        metadata: Vec::new(),
        notes: Vec::new(),
    }
}

fn table(name: &str) -> Arc<TableDescriptor> {
    let column =
        |f: &Field| TableColumn { name: f.name.clone(), data_type: f.data_type.clone(), kind: ColumnKind::Physical };
    Arc::new(TableDescriptor {
        name: name.to_owned(),
        path: format!("default_catalog.default_database.{name}"),
        columns: schema().fields().iter().map(column).collect(),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
        options: BTreeMap::new(),
        sink_settings: Default::default(),
    })
}

pub(crate) fn config() -> JobConfig {
    JobConfig {
        parallelism: None,
        checkpoint_interval_ms: Some(1_000),
        checkpoint_min_pause_ms: 0,
        checkpoint_timeout_ms: 600_000,
        checkpoint_dir: None,
        time_zone: "UTC".into(),
        legacy_cast: false,
        is_batch: false,
        dml_sync: false,
        restart: wiesel_plan::restart::RestartStrategy::None,
        savepoint_dir: None,
        savepoint_interval_ms: None,
        savepoint_path: None,
        ignore_unclaimed_state: false,
    }
}

/// A job in a thread of its own.
pub(crate) struct Started {
    pub(crate) control: Control,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<TestClock>,
    thread: JoinHandle<Result<JobEnd>>,
}

impl Started {
    pub(crate) fn end(self) -> Result<JobEnd> {
        self.thread.join().expect("a job never panics")
    }

    /// Moves the job's clock.
    pub(crate) fn set_time(&self, now_ms: i64) {
        self.clock.0.store(now_ms, Ordering::SeqCst);
        self.control.wake();
    }
}

pub(crate) fn spec(plan: &StreamPlan, script: &Arc<Script>, dir: &std::path::Path, workers: usize) -> JobSpec {
    let registry: Arc<dyn ConnectorRegistry> = Arc::clone(script) as _;
    JobSpec::new(plan.clone(), config(), registry, dir.to_owned(), 256 << 20, workers)
}

pub(crate) fn start(mut spec: JobSpec) -> Started {
    let clock = Arc::new(TestClock(AtomicI64::new(1_000_000)));
    spec.clock = Arc::clone(&clock) as _;
    let control = Control::new();
    let metrics = Arc::new(Metrics::new(&spec.plan));
    let (job_control, job_metrics) = (control.clone(), Arc::clone(&metrics));
    let run = move || Job::open(spec, &job_control, &job_metrics)?.run();
    let thread = std::thread::Builder::new().name("job".to_owned()).spawn(run).unwrap();
    Started { control, metrics, clock, thread }
}

/// A source of one split, in polls of the given rows; bounded.
pub(crate) fn bounded(polls: Vec<Vec<Row>>) -> SourceScript {
    let mut events: Vec<Event> = polls.into_iter().map(|rows| Event::Rows(0, rows)).collect();
    events.push(Event::Finished(0));
    SourceScript { splits: vec!["t-0"], events, is_bounded: true, ..SourceScript::default() }
}

pub(crate) fn exactly_once() -> SinkScript {
    SinkScript { delivery: "at-least-once", ..SinkScript::default() }
}

pub(crate) fn script(source: SourceScript, sink: SinkScript) -> Arc<Script> {
    Arc::new(Script { sources: [("t", Arc::new(source))].into(), sinks: [("out", Arc::new(sink))].into() })
}
