//! One worker: it runs the whole dataflow on its share of a step, phase by phase, together with the others.
//!
//! ```text
//! tasks      decode and run what hangs on the source row by row; any worker takes the next task
//! decide     the loop thread alone: fold watermarks, cut the step where a row needs a newer one
//! released   what a by-row watermark held back goes on
//! stage 0..n everything else in topological order: all rows of a node, then its `advance`, then the next node
//! finish     sinks send, answers are read, the report is written
//! ```
//! Between two phases all workers meet. A worker owns its operators and sinks; what workers share lies in [`Shared`], each part behind a
//! mutex that only one of them wants at a time. A panic is caught and becomes an error of the job; the process lives on.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::{Array, RecordBatch};
use wiesel_core::env;
use wiesel_core::sink::{CheckpointKind, Prepared, Sink, SinkCounters, SinkStatus};
use wiesel_core::source::{RawBatch, RowReader, SplitIndex};
use wiesel_core::{ChangeBatch, Error, ErrorKind, Result, Schema};
use wiesel_expr::{EvalContext, Evaluator, Session};

use super::barrier::Barrier;
use super::control::FailPoints;
use super::exchange::{Mailboxes, Splitter, Tag, Tagged, take_changes};
use super::graph::{Graph, Place, Role};
use super::letters::{self, Letter, Origin};
use super::metrics::{Metrics, lock};
use super::now::Now;
use crate::checkpoint::run::{RunBuffer, RunParts};
use crate::operator::{Operator, Output, WATERMARK_MIN};
use crate::state::store::{StateStore, Store};
use crate::time::{self, EdgeTime};

/// A worker writes so much of a checkpoint between two steps: a few milliseconds.
const SLICE_BYTES: usize = 256 << 10;
/// Entries asked for before the bytes are looked at.
const PART_ENTRIES: usize = 256;

/// Receives the rows of a bare SELECT.
pub type Collector = Box<dyn FnMut(&Schema, ChangeBatch) -> Result<()> + Send>;

/// What the workers share.
pub(crate) struct Shared {
    pub(crate) graph: Graph,
    /// Where dead letters enter.
    pub(crate) letters: Option<Place>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) workers: usize,
    pub(crate) session: Session,
    pub(crate) barrier: Barrier,
    pub(crate) command: Mutex<Arc<Command>>,
    pub(crate) task_cursor: AtomicUsize,
    pub(crate) released: Mutex<Arc<Vec<Released>>>,
    pub(crate) released_cursor: AtomicUsize,
    pub(crate) mailboxes: Vec<Mailboxes>,
    /// What the tasks found, by watermark node.
    pub(crate) gathered: Vec<Mutex<Gathered>>,
    /// What the loop decided, by watermark node.
    pub(crate) watermarks: Vec<Mutex<EdgeTime>>,
    /// The time of sources themselves, for those without a watermark node: the start, or the end.
    pub(crate) source_times: Vec<Mutex<EdgeTime>>,
    /// Whether some watermark node holds its rows back until the loop has walked over them.
    pub(crate) has_by_row: bool,
    pub(crate) reports: Vec<Mutex<Report>>,
    pub(crate) failed: AtomicBool,
    pub(crate) failure: Mutex<Option<Error>>,
    pub(crate) fail_points: FailPoints,
}

/// What the loop asks of all workers.
pub(crate) enum Command {
    /// A step with rows, timers and watermarks.
    Step(StepInput),
    /// Only look after the sinks (one of them is full).
    Sinks { now: Now },
    /// Draw the line of checkpoint `id`: operators freeze their state, the sinks prepare. With a store, the operators that keep state there
    /// write what changed, `full` or not: the store holds the rest.
    Snapshot { id: u64, kind: CheckpointKind, full: bool, has_store: bool },
    /// Write a slice of what was frozen.
    Slice,
    /// Memory is full: operators that can write what changed into the store and forget the rest. `full` is the first time: all state is
    /// written, that of the others too.
    Spill { store: Arc<Store>, full: bool },
    /// The job is over.
    Exit,
}

/// A step's input.
pub(crate) struct StepInput {
    pub(crate) tasks: Vec<Task>,
    pub(crate) now: Now,
    pub(crate) seed: u64,
    /// A checkpoint follows: what operators hold back only to send less goes out.
    pub(crate) is_before_checkpoint: bool,
    /// Operators emit what is due; no row comes in, and what a cut held back stays.
    pub(crate) is_firing: bool,
    /// Dead letters of sinks that wait for their table.
    pub(crate) letters: Vec<Letter>,
    /// By source, the names of its splits; empty unless the job has a table of dead letters.
    pub(crate) split_names: Vec<Vec<String>>,
}

/// Some records of one split.
pub(crate) struct Task {
    /// Index into [`Graph::sources`].
    pub(crate) source: usize,
    pub(crate) split: SplitIndex,
    pub(crate) input: TaskInput,
}

/// What a task starts from.
pub(crate) enum TaskInput {
    Raw(Arc<RawBatch>, Range<usize>),
    Rows(RecordBatch),
}

/// Rows that a by-row watermark let go.
pub(crate) struct Released {
    pub(crate) place: Place,
    pub(crate) tag: Tag,
    pub(crate) batch: ChangeBatch,
}

/// What the tasks of a step found for one watermark node.
#[derive(Default)]
pub(crate) struct Gathered {
    /// Push-down: the highest watermark of each task, with its split.
    pub(crate) maxima: Vec<(SplitIndex, i64)>,
    /// By row: the rows themselves.
    pub(crate) held: Vec<Held>,
}

/// Rows that wait for the loop to walk over them.
pub(crate) struct Held {
    pub(crate) tag: Tag,
    pub(crate) batch: ChangeBatch,
    pub(crate) times: Vec<i64>,
    pub(crate) watermarks: Vec<Option<i64>>,
}

/// What a worker tells the loop after a command.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) next_timer_ms: Option<i64>,
    pub(crate) sink_deadline_ms: Option<i64>,
    pub(crate) is_full: bool,
    /// An operator has more to emit of what is due.
    pub(crate) is_firing: bool,
    /// A sink takes no more before the next checkpoint.
    pub(crate) needs_checkpoint: bool,
    /// Rows that the sinks' systems refused.
    pub(crate) letters: Vec<Letter>,
    /// By sink, for the instances that live here.
    pub(crate) sinks: Vec<(usize, SinkCounters, Option<String>)>,
    /// Sink instances that finished preparing.
    pub(crate) prepared: Vec<(usize, usize, Prepared)>,
    pub(crate) operators: Vec<OperatorReport>,
    /// By node of the graph: the watermark its input stands at.
    pub(crate) input_watermarks: Vec<(Place, i64)>,
    /// All that a checkpoint gets from this worker, once it is written.
    pub(crate) snapshot: Option<Vec<RunBuffer>>,
    /// Bytes written so far of the checkpoint whose state is being written.
    pub(crate) snapshot_bytes: usize,
}

/// What an operator of one worker tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorReport {
    pub(crate) place: Place,
    pub(crate) state_bytes: usize,
    pub(crate) late_rows: u64,
    pub(crate) ignored_retractions: u64,
    /// Whether it can give its memory back to the store.
    pub(crate) spills: bool,
}

impl Shared {
    pub(crate) fn fail(&self, error: Error) {
        let mut failure = lock(&self.failure);
        if failure.is_none() {
            *failure = Some(error);
        }
        self.failed.store(true, Ordering::Release);
    }
}

/// One worker's part of the dataflow.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) nodes: Vec<NodeState>,
    context: EvalContext,
    output: Output,
    split: SplitIndex,
    is_before_checkpoint: bool,
    /// What functions refused in this step.
    letters: Vec<Letter>,
    /// What is written of the checkpoint whose line was drawn last, and the operators that have more to write.
    parts: RunParts,
    unwritten: Vec<Place>,
}

/// One worker's part of one node.
pub(crate) struct NodeState {
    pub(crate) part: Part,
    pub(crate) inbox: Vec<Vec<Tagged>>,
    pub(crate) input_watermark: i64,
    pub(crate) out: EdgeTime,
}

/// What a node consists of on a worker.
pub(crate) enum Part {
    Source(Option<Box<dyn RowReader>>),
    Watermark(WatermarkPart),
    Exchange(Splitter),
    Operator(Box<dyn Operator>),
    /// UNION ALL: rows pass in the order of the ports.
    Union,
    Sink(Box<SinkPart>),
    Collect(Option<Collector>),
    /// A sink that has its one instance on another worker.
    Elsewhere,
}

/// The watermark expression on a worker.
pub(crate) struct WatermarkPart {
    pub(crate) rowtime: usize,
    pub(crate) evaluator: Evaluator,
    pub(crate) by_row: bool,
    pub(crate) column: String,
    pub(crate) table: String,
}

/// A sink instance.
pub(crate) struct SinkPart {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) index: usize,
    pub(crate) instance: usize,
    pub(crate) table: String,
    pub(crate) not_null: Vec<usize>,
    pub(crate) drop_null_rows: bool,
    pub(crate) is_preparing: bool,
}

impl NodeState {
    pub(crate) fn new(part: Part, ports: usize) -> Self {
        NodeState { part, inbox: vec![Vec::new(); ports], input_watermark: WATERMARK_MIN, out: EdgeTime::START }
    }
}

impl Worker {
    pub(crate) fn new(index: usize, nodes: Vec<NodeState>, session: Session) -> Self {
        let context = EvalContext { now_ms: 0, seed: 0, watermark_ms: WATERMARK_MIN, session };
        Worker {
            index,
            nodes,
            context,
            output: Output::default(),
            split: 0,
            is_before_checkpoint: false,
            parts: RunParts::default(),
            unwritten: Vec::new(),
            letters: Vec::new(),
        }
    }

    /// The life of a worker thread.
    pub(crate) fn run(mut self, shared: &Shared) {
        loop {
            shared.barrier.meet();
            let command = Arc::clone(&*lock(&shared.command));
            if matches!(*command, Command::Exit) {
                return;
            }
            self.perform(shared, &command, &mut || Ok(()));
        }
    }

    /// Does a command together with the others; `decide` runs between the tasks and the rest while the others wait.
    pub(crate) fn perform(&mut self, shared: &Shared, command: &Command, decide: &mut dyn FnMut() -> Result<()>) {
        match command {
            Command::Step(input) => {
                self.guard(shared, |w| w.tasks(shared, input));
                shared.barrier.meet();
                self.guard(shared, |_| decide());
                shared.barrier.meet();
                if shared.has_by_row {
                    self.guard(shared, |w| w.released(shared));
                    shared.barrier.meet();
                }
                for stage in 0..shared.graph.stages {
                    self.guard(shared, |w| w.stage(shared, stage));
                    if stage + 1 < shared.graph.stages {
                        shared.barrier.meet();
                    }
                }
                self.guard(shared, |w| w.finish(shared, input.now));
            }
            Command::Sinks { now } => self.guard(shared, |w| w.finish(shared, *now)),
            Command::Snapshot { id, kind, full, has_store } => {
                self.guard(shared, |w| w.snapshot(shared, *id, *kind, *full, *has_store));
            }
            Command::Slice => self.guard(shared, |w| w.slice(shared)),
            Command::Spill { store, full } => self.guard(shared, |w| w.spill(shared, store, *full)),
            Command::Exit => {}
        }
        shared.barrier.meet();
    }

    fn guard(&mut self, shared: &Shared, work: impl FnOnce(&mut Self) -> Result<()>) {
        if shared.failed.load(Ordering::Acquire) {
            return;
        }
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => shared.fail(error),
            Err(panic) => shared.fail(Error::internal(format!("a worker panicked: {}", panic_text(panic.as_ref())))),
        }
    }

    fn tasks(&mut self, shared: &Shared, input: &StepInput) -> Result<()> {
        self.context.now_ms = input.now.wall_ms;
        self.context.seed = input.seed;
        self.is_before_checkpoint = input.is_before_checkpoint;
        if self.index == 0 {
            self.deliver_letters(shared, Tag::task(0), &input.letters)?;
        }
        while !shared.failed.load(Relaxed) {
            let index = shared.task_cursor.fetch_add(1, Ordering::AcqRel);
            let Some(task) = input.tasks.get(index) else { break };
            self.split = task.split;
            let place = shared.graph.sources[task.source];
            let batch = self.read(shared, place, task, input, Tag::task(index))?;
            if !batch.is_empty() {
                self.deliver(shared, place, Tag::task(index), batch)?;
            }
        }
        Ok(())
    }

    /// Lets dead letters go to their table.
    fn deliver_letters(&mut self, shared: &Shared, tag: Tag, waiting: &[Letter]) -> Result<()> {
        let Some(place) = shared.letters.filter(|_| !waiting.is_empty()) else { return Ok(()) };
        match letters::rows(waiting, &shared.graph.nodes[place].schema)? {
            Some(batch) => self.passed(shared, place, tag, batch),
            None => Ok(()),
        }
    }

    fn read(&mut self, shared: &Shared, place: Place, task: &Task, input: &StepInput, tag: Tag) -> Result<ChangeBatch> {
        let began = env::monotonic();
        let metrics = shared.metrics.source_of(shared.graph.nodes[place].plan_node);
        let batch = match &task.input {
            TaskInput::Rows(rows) => {
                if let Some(metrics) = metrics {
                    metrics.fetched.fetch_add(rows.num_rows() as u64, Relaxed);
                }
                ChangeBatch::inserts(rows.clone())
            }
            TaskInput::Raw(raw, range) => {
                let Part::Source(Some(reader)) = &mut self.nodes[place].part else {
                    return Err(Error::internal("a source without a reader sent undecoded records"));
                };
                let records = range.len() as u64;
                let mut refused = Vec::new();
                let read = match reader.read(raw, range.clone()) {
                    Err(e) if e.kind() == ErrorKind::Data && shared.letters.is_some() => {
                        let splits = input.split_names.get(task.source);
                        let origin = Origin {
                            table: metrics.map_or("", |m| &m.table),
                            split: splits.and_then(|s| s.get(task.split)).map_or("", String::as_str),
                            now_ms: input.now.wall_ms,
                        };
                        let mut pieces = Vec::new();
                        letters::read_around(reader.as_mut(), raw, range.clone(), &origin, &mut pieces, &mut refused)
                            .and_then(|()| letters::join(pieces, &shared.graph.nodes[place].schema))
                    }
                    read => read,
                };
                if let Some(metrics) = metrics {
                    metrics.fetched.fetch_add(records, Relaxed);
                    metrics.refused.fetch_add(refused.len() as u64, Relaxed);
                    match &read {
                        Ok(read) => metrics.skipped.fetch_add(read.skipped, Relaxed),
                        Err(_) => metrics.refused.fetch_add(records, Relaxed),
                    };
                }
                let read = read.map_err(|e| e.at(format!("table `{}`", metrics.map_or("", |m| &m.table))))?;
                self.deliver_letters(shared, tag, &refused)?;
                ChangeBatch { rows: read.rows, kinds: read.kinds }
            }
        };
        if let Some(metrics) = metrics {
            metrics.rows.fetch_add(batch.len() as u64, Relaxed);
        }
        let node = &shared.metrics.nodes[shared.graph.nodes[place].plan_node];
        node.rows_out.fetch_add(batch.len() as u64, Relaxed);
        add_busy(&node.busy_ns, began);
        Ok(batch)
    }

    /// Hands a node's output to everyone who takes it; columns are shared, not copied.
    fn deliver(&mut self, shared: &Shared, place: Place, tag: Tag, batch: ChangeBatch) -> Result<()> {
        let Some((&last, others)) = shared.graph.nodes[place].consumers.split_last() else { return Ok(()) };
        for &(consumer, port) in others {
            self.accept(shared, consumer, port, tag, batch.clone())?;
        }
        self.accept(shared, last.0, last.1, tag, batch)
    }

    fn accept(&mut self, shared: &Shared, place: Place, port: usize, tag: Tag, batch: ChangeBatch) -> Result<()> {
        if shared.graph.nodes[place].is_task {
            return self.process(shared, place, port, tag, batch);
        }
        self.nodes[place].inbox[port].push((tag, batch));
        Ok(())
    }

    /// Runs one batch through one node and delivers what comes out.
    fn process(&mut self, shared: &Shared, place: Place, port: usize, tag: Tag, batch: ChangeBatch) -> Result<()> {
        let began = env::monotonic();
        let metrics = &shared.metrics.nodes[shared.graph.nodes[place].plan_node];
        let node = &mut self.nodes[place];
        match &mut node.part {
            Part::Operator(operator) => {
                metrics.rows_in.fetch_add(batch.len() as u64, Relaxed);
                self.context.watermark_ms = node.input_watermark;
                operator
                    .process(port, batch, &self.context, &mut self.output)
                    .map_err(|e| e.at(format!("operator `{}`", metrics.label)))?;
                add_busy(&metrics.busy_ns, began);
                self.flush(shared, place, tag)
            }
            Part::Watermark(part) => {
                let gathered = match &shared.graph.nodes[place].role {
                    Role::Watermark(index) => &shared.gathered[*index],
                    _ => return Err(Error::internal("a watermark part at another node")),
                };
                self.context.watermark_ms = WATERMARK_MIN;
                let held = part.look(&batch, tag, self.split, &self.context, gathered)?;
                add_busy(&metrics.busy_ns, began);
                if held { Ok(()) } else { self.passed(shared, place, tag, batch) }
            }
            Part::Exchange(splitter) => {
                let Role::Exchange(index, _) = &shared.graph.nodes[place].role else {
                    return Err(Error::internal("an exchange part at another node"));
                };
                splitter.split(batch, |worker, part| shared.mailboxes[*index].send(worker, tag, part))
            }
            Part::Sink(part) => {
                metrics.rows_in.fetch_add(batch.len() as u64, Relaxed);
                let written = part.write(shared, &batch, &shared.graph.nodes[place].schema);
                add_busy(&metrics.busy_ns, began);
                written.map_err(|e| e.at(format!("sink `{}`", part.table)))
            }
            Part::Collect(collector) => {
                metrics.rows_in.fetch_add(batch.len() as u64, Relaxed);
                match collector {
                    Some(collector) => collector(&shared.graph.nodes[place].schema, batch),
                    None => Ok(()),
                }
            }
            Part::Union => self.passed(shared, place, tag, batch),
            Part::Source(_) | Part::Elsewhere => Err(Error::internal("rows came to a node that takes none")),
        }
    }

    fn flush(&mut self, shared: &Shared, place: Place, tag: Tag) -> Result<()> {
        let now_ms = self.context.now_ms;
        self.letters.extend(self.output.refused.drain(..).map(|refusal| Letter::of_function(refusal, now_ms)));
        if self.output.batches.is_empty() {
            return Ok(());
        }
        // Taken out because a node below, run inside this call, fills the same buffer.
        let mut batches = std::mem::take(&mut self.output.batches);
        let metrics = &shared.metrics.nodes[shared.graph.nodes[place].plan_node];
        for batch in batches.drain(..) {
            metrics.rows_out.fetch_add(batch.len() as u64, Relaxed);
            self.deliver(shared, place, tag, batch)?;
        }
        self.output.batches = batches;
        Ok(())
    }

    /// Delivers what goes through a node as it is.
    fn passed(&mut self, shared: &Shared, place: Place, tag: Tag, batch: ChangeBatch) -> Result<()> {
        let metrics = &shared.metrics.nodes[shared.graph.nodes[place].plan_node];
        metrics.rows_in.fetch_add(batch.len() as u64, Relaxed);
        metrics.rows_out.fetch_add(batch.len() as u64, Relaxed);
        self.deliver(shared, place, tag, batch)
    }

    fn released(&mut self, shared: &Shared) -> Result<()> {
        let released = Arc::clone(&*lock(&shared.released));
        while !shared.failed.load(Relaxed) {
            let index = shared.released_cursor.fetch_add(1, Ordering::AcqRel);
            let Some(rows) = released.get(index) else { break };
            self.passed(shared, rows.place, rows.tag, rows.batch.clone())?;
        }
        Ok(())
    }

    fn stage(&mut self, shared: &Shared, stage: usize) -> Result<()> {
        for place in shared.graph.exchanges_into(stage) {
            self.receive(shared, place)?;
        }
        for place in 0..shared.graph.nodes.len() {
            if shared.graph.nodes[place].stage == stage {
                self.run_node(shared, place)?;
            }
        }
        Ok(())
    }

    /// Takes over what the producers of an exchange left for this worker.
    fn receive(&mut self, shared: &Shared, place: Place) -> Result<()> {
        let Role::Exchange(index, _) = &shared.graph.nodes[place].role else { return Ok(()) };
        let mailboxes = &shared.mailboxes[*index];
        self.nodes[place].out = mailboxes.time(self.nodes[place].out.watermark);
        for (tag, batch) in mailboxes.receive(self.index) {
            self.deliver(shared, place, tag, batch)?;
        }
        Ok(())
    }

    /// All rows of a node, in order of port and tag, then its time.
    fn run_node(&mut self, shared: &Shared, place: Place) -> Result<()> {
        for port in 0..self.nodes[place].inbox.len() {
            if self.nodes[place].inbox[port].is_empty() {
                continue;
            }
            let mut batches = std::mem::take(&mut self.nodes[place].inbox[port]);
            batches.sort_by_key(|(tag, _)| *tag);
            for (_, batch) in batches.drain(..) {
                self.process(shared, place, port, Tag::worker(self.index), batch)?;
            }
            self.nodes[place].inbox[port] = batches;
        }
        self.advance(shared, place)
    }

    fn advance(&mut self, shared: &Shared, place: Place) -> Result<()> {
        let graph_node = &shared.graph.nodes[place];
        let last = self.nodes[place].input_watermark;
        let input = EdgeTime::combine(last, graph_node.inputs.iter().map(|&i| self.nodes[i].out));
        let node = &mut self.nodes[place];
        match (&graph_node.role, &mut node.part) {
            (Role::Source(index), _) => node.out = *lock(&shared.source_times[*index]),
            (Role::Watermark(index), _) => node.out = *lock(&shared.watermarks[*index]),
            (Role::Exchange(index, _), _) => shared.mailboxes[*index].set_time(self.index, input),
            (_, Part::Operator(operator)) => {
                let metrics = &shared.metrics.nodes[graph_node.plan_node];
                let began = env::monotonic();
                node.input_watermark = input.watermark;
                self.context.watermark_ms = input.watermark;
                let at = |e: Error| e.at(format!("operator `{}`", metrics.label));
                let out = operator.advance(input.watermark, &self.context, &mut self.output).map_err(at)?;
                if self.is_before_checkpoint {
                    operator.flush(&self.context, &mut self.output).map_err(at)?;
                }
                debug_assert!(out >= node.out.watermark, "a watermark never goes back: `{}`", metrics.label);
                node.out = EdgeTime { watermark: out.max(node.out.watermark), is_idle: input.is_idle };
                add_busy(&metrics.busy_ns, began);
                return self.flush(shared, place, Tag::worker(self.index));
            }
            _ => {
                node.input_watermark = input.watermark;
                node.out = input;
            }
        }
        Ok(())
    }

    /// Looks after the sinks and writes the report.
    fn finish(&mut self, shared: &Shared, now: Now) -> Result<()> {
        let mut report = lock(&shared.reports[self.index]);
        let report = &mut *report;
        report.next_timer_ms = None;
        report.sink_deadline_ms = None;
        report.is_full = false;
        report.is_firing = false;
        report.needs_checkpoint = false;
        report.letters.clear();
        report.letters.append(&mut self.letters);
        report.sinks.clear();
        report.operators.clear();
        report.snapshot_bytes = self.parts.bytes();
        for (place, node) in self.nodes.iter_mut().enumerate() {
            match &mut node.part {
                Part::Operator(operator) => {
                    report.next_timer_ms = earliest(report.next_timer_ms, operator.next_timer_ms());
                    report.is_firing |= operator.is_firing();
                    report.operators.push(OperatorReport {
                        place,
                        state_bytes: operator.state_bytes(),
                        late_rows: operator.late_rows(),
                        ignored_retractions: operator.ignored_retractions(),
                        spills: operator.spills(),
                    });
                }
                Part::Sink(part) => part.finish(report, now).map_err(|e| e.at(format!("sink `{}`", part.table)))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The plan nodes of the operators that may keep state in the store.
    pub(crate) fn spilling(&self, graph: &Graph) -> Vec<u16> {
        let spills = |part: &Part| matches!(part, Part::Operator(operator) if operator.spills());
        let places = self.nodes.iter().enumerate().filter(|(_, node)| spills(&node.part));
        places.map(|(place, _)| u16::try_from(graph.nodes[place].plan_node).unwrap_or(u16::MAX)).collect()
    }

    /// Writes what operators hold into the store, and empties them.
    fn spill(&mut self, shared: &Shared, store: &Arc<Store>, full: bool) -> Result<()> {
        let mut parts = RunParts::default();
        let spilled = self.write_out(shared, full, full, &mut parts)?;
        let buffers = parts.into_buffers();
        store.ingest(&buffers, |operator| spilled.iter().any(|(_, o)| *o == operator))?;
        for (place, operator_number) in spilled {
            if let Part::Operator(operator) = &mut self.nodes[place].part {
                operator.evict(&StateStore::new(Arc::clone(store), operator_number))?;
            }
        }
        lock(&shared.reports[self.index]).snapshot = Some(buffers);
        Ok(())
    }

    /// Lets the operators write their state, those that may keep it in the store apart from the others, whose is written when
    /// `others` says so; returns which may.
    fn write_out(
        &mut self,
        shared: &Shared,
        full: bool,
        others: bool,
        parts: &mut RunParts,
    ) -> Result<Vec<(Place, u16)>> {
        let mut spilled = Vec::new();
        for (place, node) in self.nodes.iter_mut().enumerate() {
            let Part::Operator(operator) = &mut node.part else { continue };
            let number = shared.graph.nodes[place].plan_node;
            parts.set_operator(number);
            if operator.spills() {
                spilled.push((place, u16::try_from(number).unwrap_or(u16::MAX)));
                operator.snapshot(full, parts)?;
            } else if others {
                operator.snapshot(full, parts)?;
            }
        }
        Ok(spilled)
    }

    fn snapshot(&mut self, shared: &Shared, id: u64, kind: CheckpointKind, full: bool, has_store: bool) -> Result<()> {
        self.parts = RunParts::default();
        self.unwritten.clear();
        let mut input_watermarks = Vec::new();
        for (place, node) in self.nodes.iter_mut().enumerate() {
            match &mut node.part {
                Part::Operator(operator) => {
                    self.parts.set_operator(shared.graph.nodes[place].plan_node);
                    let is_stored = has_store && operator.spills();
                    if !operator.freeze(full && !is_stored, &mut self.parts)? {
                        self.unwritten.push(place);
                    }
                    shared.fail_points.reach("op.snapshot");
                    input_watermarks.push((place, node.input_watermark));
                }
                Part::Sink(part) => {
                    part.sink.watermark(node.input_watermark);
                    part.sink.prepare(id, kind).map_err(|e| e.at(format!("sink `{}`", part.table)))?;
                    part.is_preparing = true;
                    shared.fail_points.reach("sink.prepare");
                }
                _ => {}
            }
        }
        lock(&shared.reports[self.index]).input_watermarks = input_watermarks;
        self.hand_over_written(shared);
        Ok(())
    }

    /// Writes some of what was frozen.
    fn slice(&mut self, shared: &Shared) -> Result<()> {
        let enough = self.parts.bytes() + SLICE_BYTES;
        while let Some(&place) = self.unwritten.last() {
            let Part::Operator(operator) = &mut self.nodes[place].part else { break };
            self.parts.set_operator(shared.graph.nodes[place].plan_node);
            if operator.snapshot_part(PART_ENTRIES, &mut self.parts)? {
                self.unwritten.pop();
            }
            if self.parts.bytes() >= enough {
                break;
            }
        }
        self.hand_over_written(shared);
        Ok(())
    }

    /// Hands the parts over once all of them are written.
    fn hand_over_written(&mut self, shared: &Shared) {
        let mut report = lock(&shared.reports[self.index]);
        if self.unwritten.is_empty() && report.snapshot.is_none() {
            report.snapshot = Some(std::mem::take(&mut self.parts).into_buffers());
        }
    }
}

impl WatermarkPart {
    /// Finds the watermarks of a batch; says whether its rows are held until the loop has seen them.
    fn look(
        &mut self,
        batch: &ChangeBatch,
        tag: Tag,
        split: SplitIndex,
        context: &EvalContext,
        gathered: &Mutex<Gathered>,
    ) -> Result<bool> {
        let rowtime = batch.rows.column(self.rowtime);
        time::check_rowtime(rowtime, &self.column, &self.table)?;
        let column = self
            .evaluator
            .evaluate(&batch.rows, context)
            .map_err(|e| e.at(format!("the watermark expression of table `{}`", self.table)))?;
        if self.by_row {
            let held = Held {
                tag,
                batch: batch.clone(),
                times: time::millis(rowtime)?,
                watermarks: time::watermarks_ms(&column)?,
            };
            lock(gathered).held.push(held);
            return Ok(true);
        }
        if let Some(maximum) = time::maximum_ms(&column)? {
            lock(gathered).maxima.push((split, maximum));
        }
        Ok(false)
    }
}

impl SinkPart {
    fn write(&mut self, shared: &Shared, batch: &ChangeBatch, schema: &Schema) -> Result<()> {
        let has_null = |c: &&usize| batch.rows.column(**c).null_count() > 0;
        let Some(&column) = self.not_null.iter().find(has_null) else {
            return self.sink.write(batch);
        };
        if !self.drop_null_rows {
            let name = schema.fields().get(column).map_or("?", |f| f.name.as_str());
            return Err(Error::data(format!(
                "column `{name}` of sink table `{}` is NOT NULL, but a NULL is being written into it",
                self.table
            ))
            .hint("SET 'table.exec.sink.not-null-enforcer' = 'DROP' drops such rows"));
        }
        let is_whole = |row: &u32| self.not_null.iter().all(|&c| batch.rows.column(c).is_valid(*row as usize));
        let rows: Vec<u32> = (0_u32..).take(batch.len()).filter(is_whole).collect();
        if let Some(metrics) = shared.metrics.sinks.get(self.index) {
            metrics.null_rows_dropped.fetch_add((batch.len() - rows.len()) as u64, Relaxed);
        }
        if rows.is_empty() { Ok(()) } else { self.sink.write(&take_changes(batch, &rows)?) }
    }

    fn finish(&mut self, report: &mut Report, now: Now) -> Result<()> {
        match self.sink.step_end(now.steady_ms)? {
            SinkStatus::Ready(deadline) => report.sink_deadline_ms = earliest(report.sink_deadline_ms, deadline),
            SinkStatus::Full => report.is_full = true,
            SinkStatus::NeedsCheckpoint => report.needs_checkpoint = true,
        }
        if self.is_preparing
            && let Some(prepared) = self.sink.poll_prepared()?
        {
            self.is_preparing = false;
            report.prepared.push((self.index, self.instance, prepared));
        }
        let refused = self.sink.take_refused().into_iter();
        report.letters.extend(refused.map(|row| Letter::of_sink(&self.table, row, now.wall_ms)));
        report.sinks.push((self.index, self.sink.counters(), self.sink.waiting_for()));
        Ok(())
    }
}

/// The earlier of two times, either of which may be missing.
pub(crate) fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

fn add_busy(counter: &std::sync::atomic::AtomicU64, began: std::time::Instant) {
    let ns = env::monotonic().saturating_duration_since(began).as_nanos();
    counter.fetch_add(u64::try_from(ns).unwrap_or(u64::MAX), Relaxed);
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
