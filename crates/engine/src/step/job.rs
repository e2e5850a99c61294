//! A job: opened (lock, recovery, connectors), then run as a loop of steps until its input ends, it is told to stop, or it fails.
//!
//! The loop thread is worker 0; with one worker there are no other threads but those of the sources. A step has one clock reading and one
//! seed. Between steps nothing is in flight inside the dataflow, so that is where checkpoints, stops and ends happen.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch};
use wiesel_core::env;
use wiesel_core::sink::{CheckpointKind, Prepared, SinkContext, SinkCounters, SinkFactory, SinkParallelism};
use wiesel_core::source::{RowsBatch, SourceContext, SourceFactory};
use wiesel_core::table::{ConnectorRegistry, SinkRequest, SourceRequest};
use wiesel_core::{Error, ErrorKind, Result, Schema, Value};
use wiesel_expr::{Evaluator, Session};
use wiesel_plan::{JobConfig, NodeKind, StreamPlan, WatermarkNode};

use super::barrier::Barrier;
use super::control::{Clock, Control, FailPoints, SystemClock};
use super::exchange::{Mailboxes, Splitter, Tag};
use super::fetch::{Fetch, RETRY_MAX};
use super::graph::{Graph, GraphNode, Role};
use super::intake::{Budget, Intake};
use super::metrics::{Metrics, lock};
use super::worker::{
    Collector, Command, Held, NodeState, Part, Released, Shared, SinkPart, StepInput, WatermarkPart, Worker,
    earliest,
};
use crate::operator::OperatorContext;
use crate::operators;
use crate::time::{EdgeTime, Generator};

/// A step that took longer makes the next ones smaller.
const STEP_LONG: Duration = Duration::from_millis(50);
/// A full step that was faster makes the next ones larger.
const STEP_SHORT: Duration = Duration::from_millis(10);
const STEP_ROWS_MIN: usize = 256;
const STEP_ROWS_START: usize = 8_192;
const STEP_ROWS_MAX: usize = 262_144;
const STEP_BYTES_MIN: usize = 256 << 10;
const STEP_BYTES_START: usize = 4 << 20;
const STEP_BYTES_MAX: usize = 64 << 20;
/// The share of the memory budget that one step may take from the sources, and that all hand-overs, and all clients, may hold.
const MEMORY_SHARE: u64 = 8;
const HAND_OVER_BYTES_MIN: u64 = 1 << 20;
const HAND_OVER_BYTES_MAX: u64 = 64 << 20;
/// The longest time a parked loop sleeps; only a bound against lost time, everything it waits for has a deadline or wakes it.
const PARK_MAX: Duration = Duration::from_secs(60);
/// Pauses between attempts to open or commit what is away.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Everything a job needs to run.
pub struct JobSpec {
    /// What to compute.
    pub plan: StreamPlan,
    /// The settings of the file.
    pub config: JobConfig,
    /// Makes sources and sinks.
    pub registry: Arc<dyn ConnectorRegistry>,
    /// Where manifests and state lie; this job's own folder.
    pub state_dir: PathBuf,
    /// Start anew although there is a checkpoint.
    pub fresh: bool,
    /// The memory budget of this job.
    pub memory_bytes: u64,
    /// Worker threads; at least 1.
    pub workers: usize,
    /// Receives the rows of a bare SELECT.
    pub collector: Option<Collector>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Where to die, for tests.
    pub fail_points: FailPoints,
}

impl JobSpec {
    /// A specification with the machine's clock, a fresh or resumed start as the folder says, and no collector.
    pub fn new(
        plan: StreamPlan,
        config: JobConfig,
        registry: Arc<dyn ConnectorRegistry>,
        state_dir: PathBuf,
        memory_bytes: u64,
        workers: usize,
    ) -> Self {
        JobSpec {
            plan,
            config,
            registry,
            state_dir,
            fresh: false,
            memory_bytes,
            workers,
            collector: None,
            clock: Arc::new(SystemClock),
            fail_points: FailPoints::default(),
        }
    }
}

/// How a job ended without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// The input ended, everything was emitted, flushed and committed.
    Finished,
    /// Stopped on request with a checkpoint; `None` when there was nothing to checkpoint yet.
    Stopped {
        /// The checkpoint that a restart resumes from.
        checkpoint: Option<u64>,
    },
    /// Ended at once: asked twice, or the stop took too long. Nothing is lost; a restart resumes from the checkpoint that stands.
    Aborted {
        /// The last durable checkpoint.
        standing: Option<u64>,
    },
}

/// Opens and runs a job in one call.
pub fn run(spec: JobSpec, control: &Control, metrics: &Arc<Metrics>) -> Result<JobEnd> {
    Job::open(spec, control, metrics)?.run()
}

/// A job that is ready to run.
pub struct Job {
    spec: JobSpec,
    control: Control,
    metrics: Arc<Metrics>,
    sinks: Vec<Option<Arc<dyn SinkFactory>>>,
    sources: Vec<Option<Arc<dyn SourceFactory>>>,
    graph: Graph,
}

impl Job {
    /// Makes the connectors (their options are checked, nothing is connected yet) and compiles the plan.
    pub fn open(mut spec: JobSpec, control: &Control, metrics: &Arc<Metrics>) -> Result<Job> {
        spec.workers = spec.workers.max(1);
        let sinks = sink_factories(&spec)?;
        let parallelism: Vec<SinkParallelism> =
            sinks.iter().map(|s| s.as_ref().map_or(SinkParallelism::One, |s| s.parallelism())).collect();
        let graph = Graph::compile(&spec.plan, spec.workers, &parallelism);
        let sources = source_factories(&spec, &graph)?;
        Ok(Job { spec, control: control.clone(), metrics: Arc::clone(metrics), sinks, sources, graph })
    }

    /// Runs until the end.
    pub fn run(self) -> Result<JobEnd> {
        let mut running = Running::start(self)?;
        let end = running.run_to_end();
        running.shut_down();
        end
    }
}

fn sink_factories(spec: &JobSpec) -> Result<Vec<Option<Arc<dyn SinkFactory>>>> {
    let factory = |&id: &usize| {
        let node = &spec.plan.nodes[id];
        let NodeKind::Sink(sink) = &node.kind else { return Ok(None) };
        let request = SinkRequest {
            columns: sink.columns.clone(),
            changelog_mode: spec.plan.nodes[node.inputs[0]].changelog_mode,
            time_zone: spec.config.time_zone.to_string(),
            workers: spec.workers,
            job_name: spec.plan.job_name.clone(),
            checkpoint_interval_is_set: spec.config.checkpoint_interval_ms.is_some(),
        };
        Ok(Some(Arc::from(spec.registry.sink(&sink.table, &request)?)))
    };
    spec.plan.sinks.iter().map(factory).collect()
}

fn source_factories(spec: &JobSpec, graph: &Graph) -> Result<Vec<Option<Arc<dyn SourceFactory>>>> {
    let factory = |&place: &usize| {
        let NodeKind::Source(source) = &spec.plan.nodes[graph.nodes[place].plan_node].kind else { return Ok(None) };
        let request = SourceRequest {
            columns: source.columns.clone(),
            time_zone: spec.config.time_zone.to_string(),
            workers: spec.workers,
            job_name: spec.plan.job_name.clone(),
        };
        Ok(Some(Arc::from(spec.registry.source(&source.table, &request)?)))
    };
    graph.sources.iter().map(factory).collect()
}

/// A job that runs.
struct Running {
    spec: JobSpec,
    control: Control,
    sinks: Vec<Option<Arc<dyn SinkFactory>>>,
    shared: Arc<Shared>,
    /// The loop thread's own part.
    worker: Worker,
    threads: Vec<JoinHandle<()>>,
    flow: Flow,
    size: StepSize,
    step: u64,
    seed: u64,
    is_full: bool,
    next_timer_ms: Option<i64>,
    sink_deadline_ms: Option<i64>,
    prepared: Vec<(usize, usize, Prepared)>,
}

/// Sources and event time: what the loop thread decides with between the phases of a step.
struct Flow {
    intakes: Vec<Intake>,
    generators: Vec<Generator>,
    /// By watermark node: its source, and the rows behind a cut.
    generator_source: Vec<usize>,
    carry: Vec<Vec<Held>>,
    is_finished: bool,
}

impl Running {
    fn start(job: Job) -> Result<Running> {
        let Job { spec, control, metrics, sinks, sources, graph } = job;
        let workers = spec.workers;
        let session = Session { time_zone: Arc::clone(&spec.config.time_zone), legacy_cast: spec.config.legacy_cast };
        let mut watermarks: Vec<&WatermarkNode> = Vec::new();
        let mut generator_source = Vec::new();
        for &place in &graph.watermarks {
            let GraphNode { plan_node, source, .. } = &graph.nodes[place];
            let (NodeKind::Watermark(node), Some(source)) = (&spec.plan.nodes[*plan_node].kind, source) else {
                return Err(Error::internal("a watermark is not directly above a source"));
            };
            watermarks.push(node);
            generator_source.push(*source);
        }
        let is_batch = spec.config.is_batch;
        let generators: Vec<Generator> = watermarks.iter().map(|node| Generator::new(node, is_batch)).collect();
        let shared = Arc::new(Shared {
            has_by_row: watermarks.iter().any(|node| is_by_row(node, is_batch)),
            mailboxes: graph.exchanges.iter().map(|_| Mailboxes::new(workers)).collect(),
            gathered: watermarks.iter().map(|_| Mutex::default()).collect(),
            watermarks: watermarks.iter().map(|_| Mutex::new(EdgeTime::START)).collect(),
            source_times: graph.sources.iter().map(|_| Mutex::new(EdgeTime::START)).collect(),
            reports: (0..workers).map(|_| Mutex::default()).collect(),
            barrier: Barrier::new(workers),
            command: Mutex::new(Arc::new(Command::Exit)),
            task_cursor: AtomicUsize::new(0),
            released: Mutex::default(),
            released_cursor: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            graph,
            metrics,
            workers,
            session,
        });
        let mut builder = WorkerBuilder { spec, control: &control, shared: &shared, sinks: &sinks, sources: &sources };
        let mut built = Vec::new();
        for index in 0..workers {
            built.push(builder.worker(index)?);
        }
        let spec = builder.spec;
        let now_ms = spec.clock.now_ms();
        let intakes = start_sources(&spec, &control, &shared, &sources)?;
        let mut built = built.into_iter();
        let worker = built.next().ok_or_else(|| Error::internal("a job without workers"))?;
        let mut running = Running {
            flow: Flow {
                carry: generators.iter().map(|_| Vec::new()).collect(),
                intakes,
                generators,
                generator_source,
                is_finished: false,
            },
            size: StepSize::new(spec.memory_bytes),
            seed: xxhash_rust::xxh3::xxh3_64(&now_ms.to_le_bytes()) ^ u64::from(std::process::id()),
            spec,
            control,
            sinks,
            shared,
            worker,
            threads: Vec::new(),
            step: 0,
            is_full: false,
            next_timer_ms: None,
            sink_deadline_ms: None,
            prepared: Vec::new(),
        };
        for other in built {
            running.spawn(other)?;
        }
        Ok(running)
    }

    fn spawn(&mut self, worker: Worker) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{}", worker.index))
            .spawn(move || worker.run(&shared))
            .map_err(|e| Error::unavailable(format!("the system refused a worker thread: {e}")))?;
        self.threads.push(thread);
        Ok(())
    }

    fn run_to_end(&mut self) -> Result<JobEnd> {
        let mut is_woken = true;
        loop {
            if self.control.is_aborted() {
                return Ok(JobEnd::Aborted { standing: None });
            }
            if self.control.is_stopping() {
                return self.stop();
            }
            let now_ms = self.spec.clock.now_ms();
            for intake in &mut self.flow.intakes {
                is_woken |= intake.drain(now_ms, self.shared.metrics.sources.get(intake.index))?;
            }
            if self.is_full {
                self.command(Command::Sinks { now_ms })?;
                if self.is_full {
                    // Timers wait as the rows do: what they would emit has no place to go.
                    is_woken |= self.park(now_ms, self.sink_deadline_ms);
                }
                continue;
            }
            if !is_woken && !self.is_due(now_ms) {
                is_woken = self.park(now_ms, self.next_deadline_ms(now_ms));
                continue;
            }
            is_woken = false;
            self.run_step(now_ms)?;
            if self.flow.is_finished {
                return self.finish();
            }
        }
    }

    /// Whether a step is due although nothing arrived.
    fn is_due(&self, now_ms: i64) -> bool {
        self.flow.has_rows() || self.next_deadline_ms(now_ms).is_some_and(|at| at <= now_ms)
    }

    fn next_deadline_ms(&self, now_ms: i64) -> Option<i64> {
        let own = earliest(self.next_timer_ms, self.sink_deadline_ms);
        earliest(own, self.flow.next_timer_ms(now_ms))
    }

    /// Sleeps until something wakes the loop or a deadline comes.
    fn park(&self, now_ms: i64, deadline_ms: Option<i64>) -> bool {
        let left = |at: i64| Duration::from_millis(u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0));
        self.control.waker().wait(deadline_ms.map_or(PARK_MAX, left).min(PARK_MAX))
    }

    fn run_step(&mut self, now_ms: i64) -> Result<()> {
        let began = env::monotonic();
        let mut tasks = Vec::new();
        let budget = self.size.budget;
        let is_full_step = self.flow.take(budget, self.spec.workers, &mut tasks);
        self.step += 1;
        let mut seed = self.seed.to_le_bytes().to_vec();
        seed.extend_from_slice(&self.step.to_le_bytes());
        let input = StepInput { tasks, now_ms, seed: xxhash_rust::xxh3::xxh3_64(&seed) };
        self.command(Command::Step(input))?;
        self.shared.metrics.steps.fetch_add(1, Relaxed);
        self.size.adapt(env::monotonic().saturating_duration_since(began), is_full_step);
        Ok(())
    }

    /// Lets all workers do a command, this thread among them, and reads their reports.
    fn command(&mut self, command: Command) -> Result<()> {
        let command = Arc::new(command);
        self.shared.task_cursor.store(0, Ordering::Release);
        self.shared.released_cursor.store(0, Ordering::Release);
        *lock(&self.shared.command) = Arc::clone(&command);
        self.shared.barrier.meet();
        let (flow, shared) = (&mut self.flow, &self.shared);
        let mut decide = || match &*command {
            Command::Step(input) => flow.decide(shared, input),
            _ => Ok(()),
        };
        self.worker.perform(shared, &command, &mut decide);
        if self.shared.failed.load(Ordering::Acquire) {
            let error = lock(&self.shared.failure).take();
            return Err(error.unwrap_or_else(|| Error::internal("a worker failed without an error")));
        }
        self.read_reports();
        Ok(())
    }

    fn read_reports(&mut self) {
        self.next_timer_ms = None;
        self.sink_deadline_ms = None;
        self.is_full = false;
        let metrics = &self.shared.metrics;
        let mut sums = vec![(SinkCounters::default(), None); metrics.sinks.len()];
        let mut state: Vec<(usize, u64)> = vec![(0, 0); metrics.nodes.len()];
        for report in &self.shared.reports {
            let mut report = lock(report);
            self.next_timer_ms = earliest(self.next_timer_ms, report.next_timer_ms);
            self.sink_deadline_ms = earliest(self.sink_deadline_ms, report.sink_deadline_ms);
            self.is_full |= report.is_full;
            self.prepared.append(&mut report.prepared);
            for (sink, counters, waiting) in &report.sinks {
                let Some((sum, text)) = sums.get_mut(*sink) else { continue };
                sum.received += counters.received;
                sum.delivered += counters.delivered;
                sum.folded += counters.folded;
                sum.refused += counters.refused;
                sum.retried += counters.retried;
                *text = text.take().or_else(|| waiting.clone());
            }
            for &(place, bytes, late) in &report.operators {
                let Some(node) = state.get_mut(self.shared.graph.nodes[place].plan_node) else { continue };
                node.0 += bytes;
                node.1 += late;
            }
        }
        for (sink, (sum, text)) in metrics.sinks.iter().zip(sums) {
            sink.set(&sum);
            sink.set_waiting(text.map(|t| format!("sink `{}`: {t}", sink.table)));
        }
        for (node, (bytes, late)) in metrics.nodes.iter().zip(&state) {
            node.state_bytes.store(*bytes as u64, Relaxed);
            node.late_rows.store(*late, Relaxed);
        }
        metrics.state_bytes.store(state.iter().map(|(bytes, _)| *bytes as u64).sum(), Relaxed);
        metrics.late_rows.store(state.iter().map(|(_, late)| *late).sum(), Relaxed);
    }

    fn stop(&mut self) -> Result<JobEnd> {
        self.settle(CheckpointKind::Stop)?;
        Ok(JobEnd::Stopped { checkpoint: None })
    }

    fn finish(&mut self) -> Result<JobEnd> {
        self.settle(CheckpointKind::Final)?;
        Ok(JobEnd::Finished)
    }

    /// Makes the sinks' work safe and visible.
    fn settle(&mut self, kind: CheckpointKind) -> Result<()> {
        let id = 1;
        self.prepared.clear();
        self.command(Command::Snapshot { id, kind, full: true })?;
        let expected = self.sink_instances();
        while self.prepared.len() < expected {
            let now_ms = self.spec.clock.now_ms();
            self.command(Command::Sinks { now_ms })?;
            if self.prepared.len() < expected {
                self.park(now_ms, self.sink_deadline_ms);
            }
        }
        for (index, factory) in self.sinks.iter().enumerate() {
            let Some(factory) = factory else { continue };
            let of_sink = self.prepared.iter().filter(|p| p.0 == index && !p.2.pending.is_empty());
            let pending: Vec<Vec<u8>> = of_sink.map(|p| p.2.pending.clone()).collect();
            if !pending.is_empty() {
                factory.commit(id, &pending)?;
            }
        }
        Ok(())
    }

    fn sink_instances(&self) -> usize {
        let instances = |s: &Arc<dyn SinkFactory>| match s.parallelism() {
            SinkParallelism::One => 1,
            SinkParallelism::PerWorker => self.spec.workers,
        };
        self.sinks.iter().flatten().map(instances).sum()
    }

    /// Ends all threads. Sources are asked first and waited for last.
    fn shut_down(&mut self) {
        for intake in &self.flow.intakes {
            intake.fetch.iter().for_each(Fetch::stop);
        }
        *lock(&self.shared.command) = Arc::new(Command::Exit);
        self.shared.barrier.meet();
        for thread in self.threads.drain(..) {
            // A worker catches its own panics; nothing is lost with the result.
            drop(thread.join());
        }
        for intake in &mut self.flow.intakes {
            intake.fetch.iter_mut().for_each(Fetch::join);
        }
    }
}

impl Flow {
    fn has_rows(&self) -> bool {
        self.carry.iter().any(|c| !c.is_empty()) || self.intakes.iter().any(Intake::has_pending)
    }

    fn next_timer_ms(&self, now_ms: i64) -> Option<i64> {
        let timers = self.generators.iter().zip(&self.generator_source);
        timers.filter_map(|(g, &source)| g.next_timer_ms(now_ms, &self.intakes[source].split_times())).min()
    }

    /// Cuts a step's tasks; says whether the budget was what ended it.
    fn take(&mut self, budget: Budget, workers: usize, tasks: &mut Vec<super::worker::Task>) -> bool {
        let waits = |source: usize, carry: &[Vec<Held>], of: &[usize]| {
            of.iter().zip(carry).any(|(&s, held)| s == source && !held.is_empty())
        };
        let ready: Vec<usize> = (0..self.intakes.len())
            .filter(|&s| self.intakes[s].has_pending() && !waits(s, &self.carry, &self.generator_source))
            .collect();
        let parts = ready.len().max(1);
        let share = Budget { rows: budget.rows.div_ceil(parts), bytes: budget.bytes / parts };
        let mut is_full = false;
        for source in ready {
            let generator = self.generator_source.iter().position(|&s| s == source).map(|g| &self.generators[g]);
            let event_time = |split| generator.map(|g| g.split_maximum(split)).filter(|&t| t != i64::MIN);
            let taken = self.intakes[source].take(share, workers, event_time, tasks);
            is_full |= taken.rows >= share.rows || taken.bytes >= share.bytes;
        }
        is_full
    }

    /// Folds what the tasks found, cuts by-row sources where they must be cut, and moves the watermarks.
    fn decide(&mut self, shared: &Shared, input: &StepInput) -> Result<()> {
        let mut released = Vec::new();
        for (index, generator) in self.generators.iter_mut().enumerate() {
            let mut gathered = lock(&shared.gathered[index]);
            for (split, maximum) in gathered.maxima.drain(..) {
                generator.fold(split, maximum);
            }
            gathered.held.sort_by_key(|held| held.tag);
            let carry = &mut self.carry[index];
            carry.append(&mut gathered.held);
            drop(gathered);
            let place = shared.graph.watermarks[index];
            release(generator, carry, |batch| {
                let tag = Tag::task(input.tasks.len() + released.len());
                released.push(Released { place, tag, batch });
            });
            let source = &self.intakes[self.generator_source[index]];
            let is_finished = source.is_finished() && carry.is_empty();
            let time = generator.step_end(input.now_ms, &source.split_times(), is_finished);
            *lock(&shared.watermarks[index]) = time;
        }
        *lock(&shared.released) = Arc::new(released);
        for (intake, time) in self.intakes.iter().zip(&shared.source_times) {
            if intake.is_finished() {
                *lock(time) = EdgeTime { watermark: i64::MAX, is_idle: false };
            }
        }
        self.is_finished = self.intakes.iter().all(Intake::is_finished) && self.carry.iter().all(Vec::is_empty);
        let active = self.generators.iter().map(Generator::emitted).filter(|e| !e.is_idle);
        if let Some(lowest) = active.map(|e| e.watermark).min() {
            shared.metrics.watermark_ms.store(lowest, Relaxed);
        }
        Ok(())
    }
}

/// Lets rows go up to the first that must see a newer watermark; the others stay.
fn release(generator: &mut Generator, held: &mut Vec<Held>, mut let_go: impl FnMut(wiesel_core::ChangeBatch)) {
    let mut rest = Vec::new();
    for rows in held.drain(..) {
        if !rest.is_empty() {
            rest.push(rows);
            continue;
        }
        let count = generator.walk(&rows.times, &rows.watermarks);
        let all = rows.times.len();
        if count == all {
            let_go(rows.batch);
            continue;
        }
        if count > 0 {
            let_go(rows.batch.slice(0, count));
        }
        rest.push(Held {
            tag: rows.tag,
            batch: rows.batch.slice(count, all - count),
            times: rows.times[count..].to_vec(),
            watermarks: rows.watermarks[count..].to_vec(),
        });
    }
    *held = rest;
}

/// The size of the next step.
struct StepSize {
    budget: Budget,
    bytes_max: usize,
}

impl StepSize {
    fn new(memory_bytes: u64) -> Self {
        let share = usize::try_from(memory_bytes / MEMORY_SHARE).unwrap_or(STEP_BYTES_MAX);
        let bytes_max = share.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        StepSize { budget: Budget { rows: STEP_ROWS_START, bytes: STEP_BYTES_START.min(bytes_max) }, bytes_max }
    }

    fn adapt(&mut self, took: Duration, was_full: bool) {
        let Budget { rows, bytes } = self.budget;
        if took > STEP_LONG {
            self.budget = Budget { rows: (rows / 2).max(STEP_ROWS_MIN), bytes: (bytes / 2).max(STEP_BYTES_MIN) };
        } else if took < STEP_SHORT && was_full {
            self.budget = Budget { rows: (rows * 2).min(STEP_ROWS_MAX), bytes: (bytes * 2).min(self.bytes_max) };
        }
    }
}

fn is_by_row(node: &WatermarkNode, is_batch: bool) -> bool {
    !node.push_down && !is_batch
}

fn start_sources(
    spec: &JobSpec,
    control: &Control,
    shared: &Shared,
    sources: &[Option<Arc<dyn SourceFactory>>],
) -> Result<Vec<Intake>> {
    let share = spec.memory_bytes / MEMORY_SHARE / sources.len().max(1) as u64;
    let bytes_max = usize::try_from(share.clamp(HAND_OVER_BYTES_MIN, HAND_OVER_BYTES_MAX)).unwrap_or(1 << 20);
    let mut intakes = Vec::new();
    for (index, factory) in sources.iter().enumerate() {
        let node = &spec.plan.nodes[shared.graph.nodes[shared.graph.sources[index]].plan_node];
        intakes.push(match (&node.kind, factory) {
            (NodeKind::Values(rows), _) => Intake::constant(index, values_batch(rows, &node.schema)?, 0),
            (NodeKind::Source(source), Some(factory)) => {
                let context = SourceContext {
                    restored: Vec::new(),
                    is_restored: false,
                    buffer_bytes_max: bytes_max,
                    waker: control.waker().clone(),
                };
                let mut intake = Intake::new(index, source.table.name.clone(), source.info.is_bounded);
                let bounded = source.info.is_bounded;
                intake.fetch = Some(Fetch::start(&source.table.name, Arc::clone(factory), context, bounded, bytes_max)?);
                intake
            }
            _ => return Err(Error::internal("a source without a factory")),
        });
    }
    Ok(intakes)
}

fn values_batch(rows: &[Vec<Value>], schema: &Schema) -> Result<Option<RowsBatch>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let column = |index: usize| -> Result<ArrayRef> {
        let field = &schema.fields()[index];
        let cells: Vec<ArrayRef> = rows.iter().map(|row| row[index].to_array(&field.data_type, 1)).collect();
        let cells: Vec<&dyn arrow_array::Array> = cells.iter().map(AsRef::as_ref).collect();
        Ok(arrow_select::concat::concat(&cells)?)
    };
    let columns = (0..schema.len()).map(column).collect::<Result<Vec<_>>>()?;
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options)?;
    Ok(Some(RowsBatch { split: 0, rows: batch, next: i64::try_from(rows.len()).unwrap_or(i64::MAX) }))
}

/// Builds the workers' parts on the loop thread, before any other thread runs.
struct WorkerBuilder<'a> {
    spec: JobSpec,
    control: &'a Control,
    shared: &'a Shared,
    sinks: &'a [Option<Arc<dyn SinkFactory>>],
    sources: &'a [Option<Arc<dyn SourceFactory>>],
}

impl WorkerBuilder<'_> {
    fn worker(&mut self, index: usize) -> Result<Worker> {
        let mut nodes = Vec::new();
        for place in 0..self.shared.graph.nodes.len() {
            let part = self.part(place, index)?;
            nodes.push(NodeState::new(part, self.shared.graph.nodes[place].inputs.len()));
        }
        Ok(Worker::new(index, nodes, self.shared.session.clone()))
    }

    fn part(&mut self, place: usize, worker: usize) -> Result<Part> {
        let graph_node = &self.shared.graph.nodes[place];
        match &graph_node.role {
            Role::Source(source) => {
                let reader = match &self.sources[*source] {
                    Some(factory) => factory.reader()?,
                    None => None,
                };
                Ok(Part::Source(reader))
            }
            Role::Watermark(_) => self.watermark(place),
            Role::Exchange(_, distribution) => {
                Ok(Part::Exchange(Splitter::new(distribution, &graph_node.schema, self.shared.workers)))
            }
            Role::Operator => {
                let node = &self.spec.plan.nodes[graph_node.plan_node];
                let inputs: Vec<&Schema> = node.inputs.iter().map(|&i| &self.spec.plan.nodes[i].schema).collect();
                let context = OperatorContext {
                    worker,
                    workers: self.shared.workers,
                    is_batch: self.spec.config.is_batch,
                };
                Ok(Part::Operator(operators::build(node, &inputs, &context)?))
            }
            Role::Sink(index) => self.sink(place, *index, worker),
            Role::Collect(_) => Ok(if worker == 0 { Part::Collect(self.spec.collector.take()) } else { Part::Elsewhere }),
        }
    }

    fn watermark(&self, place: usize) -> Result<Part> {
        let graph_node = &self.shared.graph.nodes[place];
        let NodeKind::Watermark(node) = &self.spec.plan.nodes[graph_node.plan_node].kind else {
            return Err(Error::internal("a watermark without its node"));
        };
        let source = graph_node.source.and_then(|s| self.shared.graph.sources.get(s));
        let table = match source.map(|&s| &self.spec.plan.nodes[self.shared.graph.nodes[s].plan_node].kind) {
            Some(NodeKind::Source(source)) => source.table.name.clone(),
            _ => String::new(),
        };
        Ok(Part::Watermark(WatermarkPart {
            rowtime: node.rowtime,
            evaluator: Evaluator::new(node.expr.clone()),
            by_row: is_by_row(node, self.spec.config.is_batch),
            column: graph_node.schema.fields().get(node.rowtime).map_or_else(String::new, |f| f.name.clone()),
            table,
        }))
    }

    fn sink(&self, place: usize, index: usize, worker: usize) -> Result<Part> {
        let NodeKind::Sink(node) = &self.spec.plan.nodes[self.shared.graph.nodes[place].plan_node].kind else {
            return Err(Error::internal("a sink without its node"));
        };
        let Some(factory) = &self.sinks[index] else { return Err(Error::internal("a sink without a factory")) };
        let instances = match factory.parallelism() {
            SinkParallelism::One => 1,
            SinkParallelism::PerWorker => self.shared.workers,
        };
        if worker >= instances {
            return Ok(Part::Elsewhere);
        }
        let context =
            SinkContext { instance: worker, instances, restored: Vec::new(), waker: self.control.waker().clone() };
        let what = format!("sink `{}`", node.table.name);
        let sink = retried(self.control, &self.shared.metrics, &what, || factory.open(context.clone()))?;
        Ok(Part::Sink(Box::new(SinkPart {
            sink,
            index,
            instance: worker,
            table: node.table.name.clone(),
            not_null: node.not_null.clone(),
            drop_null_rows: node.drop_null_rows,
            is_preparing: false,
        })))
    }
}

/// Repeats a call to a system that is away, with growing pauses, until it answers or the job is told to stop.
pub(crate) fn retried<T>(
    control: &Control,
    metrics: &Metrics,
    what: &str,
    mut call: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut pause = RETRY_FIRST;
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Unavailable && !control.is_stopping() => {
                metrics.set_waiting(Some(format!("{what}: {}", error.message())));
                control.waker().wait(pause);
                pause = (pause * 2).min(RETRY_MAX);
            }
            other => {
                metrics.set_waiting(None);
                return other.map_err(|e| e.at(what.to_owned()));
            }
        }
    }
}
