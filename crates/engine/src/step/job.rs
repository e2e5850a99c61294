//! A job: opened (lock, recovery, connectors), then run as a loop of steps until its input ends, it is told to stop, or it fails.
//!
//! The loop thread is worker 0; with one worker there are no other threads but those of the sources. A step has one clock reading and one
//! seed. Between steps nothing is in flight inside the dataflow, so that is where checkpoints, stops and ends happen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch};
use wiesel_core::env;
use wiesel_core::lookup::{Lookup, LookupRequest};
use wiesel_core::sink::{CheckpointKind, Prepared, SinkContext, SinkCounters, SinkFactory, SinkParallelism};
use wiesel_core::source::{RowsBatch, SourceContext, SourceFactory, Split};
use wiesel_core::table::{ConnectorRegistry, SinkRequest, SourceRequest};
use wiesel_core::{Error, ErrorKind, Result, Schema, Value};
use wiesel_expr::{Evaluator, Session};
use wiesel_plan::{JobConfig, LookupJoinNode, NodeKind, StreamPlan, WatermarkNode};

use super::barrier::Barrier;
use super::control::{Clock, Control, FailPoints, SystemClock};
use super::cycle::{Keeper, Moment, View, source_entries};
use super::exchange::{Mailboxes, Splitter, Tag};
use super::fetch::{Fetch, RETRY_MAX};
use super::graph::{Graph, GraphNode, Role};
use super::intake::{Budget, Intake};
use super::metrics::{Metrics, lock};
use super::worker::{
    Collector, Command, Held, NodeState, Part, Released, Shared, SinkPart, StepInput, Task, WatermarkPart, Worker,
    earliest, panic_text,
};
use crate::checkpoint::Resume;
use crate::checkpoint::folder::Folder;
use crate::checkpoint::identity;
use crate::checkpoint::manifest::{InputEntry, Manifest, WatermarkEntry};
use crate::checkpoint::recovery::{self, Expectation, Recovered};
use crate::checkpoint::writer::Writer;
use crate::operator::OperatorContext;
use crate::operators;
use crate::state::vnode::worker_of_vnode;
use crate::time::{EdgeTime, Generator};

/// A step that took longer makes the next ones smaller.
const STEP_LONG: Duration = Duration::from_millis(50);
/// A full step that was faster makes the next ones larger.
const STEP_SHORT: Duration = Duration::from_millis(10);
const STEP_ROWS_MIN: usize = 256;
const STEP_ROWS_START: usize = 8_192;
const STEP_ROWS_MAX: usize = 262_144;
const STEP_BYTES_MIN: usize = 256 << 10;
const STEP_BYTES_START: usize = 2 << 20;
const STEP_BYTES_MAX: usize = 8 << 20;
/// The share of the memory budget that one step may take from the sources, and that all hand-overs, and all clients, may hold.
const MEMORY_SHARE: u64 = 8;
const HAND_OVER_BYTES_MIN: u64 = 1 << 20;
const HAND_OVER_BYTES_MAX: u64 = 16 << 20;
/// The longest time a parked loop sleeps; only a bound against lost time, everything it waits for has a deadline or wakes it.
const PARK_MAX: Duration = Duration::from_secs(60);
/// `execution.checkpointing.interval` when the file does not set it.
const CHECKPOINT_INTERVAL_MS: u64 = 10_000;
/// A stop that takes longer is given up; the last checkpoint stands.
const STOP_MAX: Duration = Duration::from_secs(10);
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
    /// Keep checkpoints of a bare SELECT too, although what it showed cannot be taken back.
    pub keeps_query: bool,
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
            keeps_query: false,
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
    ids: Vec<String>,
    /// `None` for a query that is shown: nothing is kept for it.
    folder: Option<Folder>,
    recovered: Recovered,
}

impl Job {
    /// Makes the connectors (their options are checked, nothing is connected yet), compiles the plan, takes the lock of the state folder
    /// and decides what the run begins with.
    pub fn open(mut spec: JobSpec, control: &Control, metrics: &Arc<Metrics>) -> Result<Job> {
        spec.workers = spec.workers.max(1);
        let sinks = sink_factories(&spec)?;
        let parallelism: Vec<SinkParallelism> =
            sinks.iter().map(|s| s.as_ref().map_or(SinkParallelism::One, |s| s.parallelism())).collect();
        let graph = Graph::compile(&spec.plan, spec.workers, &parallelism);
        let sources = source_factories(&spec, &graph)?;
        let ids = identity::operator_ids(&spec.plan);
        let is_shown = !spec.keeps_query && spec.plan.nodes.iter().any(|n| matches!(n.kind, NodeKind::Collect));
        let (folder, recovered) = if is_shown {
            (None, Recovered::nothing(Resume::NotKept))
        } else {
            let folder = Folder::open(&spec.state_dir, spec.fail_points.clone())?;
            let recovered = recover(&spec, &folder, &ids)?;
            (Some(folder), recovered)
        };
        recovered.notes.iter().for_each(|note| metrics.note(note.clone()));
        let (control, metrics) = (control.clone(), Arc::clone(metrics));
        Ok(Job { spec, control, metrics, sinks, sources, graph, ids, folder, recovered })
    }

    /// What the run begins with.
    pub fn resume(&self) -> &Resume {
        &self.recovered.resume
    }

    /// Runs until the end.
    pub fn run(self) -> Result<JobEnd> {
        let control = self.control.clone();
        let standing = self.recovered.manifest.as_ref().map(|m| m.id);
        if let Resume::Completes { .. } = self.recovered.resume {
            let Job { spec, metrics, sinks, ids, folder, recovered, .. } = &self;
            return match prepare_sinks(spec, &control, metrics, sinks, ids, folder.as_ref(), recovered) {
                Err(error) if error.kind() == ErrorKind::Unavailable && control.is_stopping() => {
                    Ok(JobEnd::Stopped { checkpoint: standing })
                }
                end => end.map(|()| JobEnd::Finished),
            };
        }
        let _over = Over(control.clone());
        let mut running = match Running::start(self) {
            Ok(running) => running,
            // Told to stop while a system was away: nothing has begun.
            Err(error) if error.kind() == ErrorKind::Unavailable && control.is_stopping() => {
                return Ok(JobEnd::Stopped { checkpoint: standing });
            }
            Err(error) => return Err(error),
        };
        // A panic between two steps leaves all workers at their meeting point, so the job can still end as with any other error.
        let end = catch_unwind(AssertUnwindSafe(|| running.run_to_end()));
        running.shut_down();
        end.unwrap_or_else(|panic| Err(Error::internal(format!("the loop panicked: {}", panic_text(panic.as_ref())))))
    }
}

/// Tells whoever waits for the job that it is over, however it ends.
struct Over(Control);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.is_over();
    }
}

fn recover(spec: &JobSpec, folder: &Folder, ids: &[String]) -> Result<Recovered> {
    let exactly_once: Vec<String> = spec
        .plan
        .nodes
        .iter()
        .filter_map(|node| match &node.kind {
            NodeKind::Sink(sink) if sink.info.delivery == "exactly-once" => Some(sink.table.name.clone()),
            _ => None,
        })
        .collect();
    let expected = Expectation {
        operators: &identity::operators(&spec.plan, ids),
        exactly_once: &exactly_once,
        fresh: spec.fresh,
        now_ms: spec.clock.now_ms(),
    };
    recovery::recover(folder, &expected)
}

fn sink_factories(spec: &JobSpec) -> Result<Vec<Option<Arc<dyn SinkFactory>>>> {
    // The same text from whichever directory the program is started.
    let loop_folder = std::path::absolute(&spec.state_dir).unwrap_or_else(|_| spec.state_dir.clone());
    let loop_folder = loop_folder.display().to_string();
    let factory = |&id: &usize| {
        let node = &spec.plan.nodes[id];
        let NodeKind::Sink(sink) = &node.kind else { return Ok(None) };
        let request = SinkRequest {
            columns: sink.columns.clone(),
            changelog_mode: spec.plan.nodes[node.inputs[0]].changelog_mode,
            time_zone: spec.config.time_zone.to_string(),
            workers: spec.workers,
            job_name: spec.plan.job_name.clone(),
            loop_folder: loop_folder.clone(),
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
    keeper: Option<Keeper>,
    ids: Vec<String>,
    /// Set when the job ends with a checkpoint of this kind.
    ending: Option<CheckpointKind>,
    /// The note about it was given.
    is_over_budget: bool,
    stop_deadline: Option<Instant>,
}

/// Sources and event time: what the loop thread decides with between the phases of a step.
struct Flow {
    intakes: Vec<Intake>,
    generators: Vec<Generator>,
    /// By watermark node: its source, and the rows behind a cut.
    generator_source: Vec<usize>,
    carry: Vec<Vec<Held>>,
    /// By watermark node: what a manifest says of its splits, and how many of the source's splits were told.
    restored: Vec<(Vec<(String, i64)>, usize)>,
    is_finished: bool,
}

impl Running {
    fn start(job: Job) -> Result<Running> {
        let Job { spec, control, metrics, sinks, sources, graph, ids, folder, recovered } = job;
        let workers = spec.workers;
        prepare_sinks(&spec, &control, &metrics, &sinks, &ids, folder.as_ref(), &recovered)?;
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
            fail_points: spec.fail_points.clone(),
            graph,
            metrics,
            workers,
            session,
        });
        let mut builder = WorkerBuilder {
            spec,
            control: &control,
            shared: &shared,
            sinks: &sinks,
            sources: &sources,
            ids: &ids,
            manifest: recovered.manifest.as_ref(),
        };
        let mut built = Vec::new();
        for index in 0..workers {
            built.push(builder.worker(index)?);
        }
        let spec = builder.spec;
        restore(&shared.graph, &ids, &mut built, &recovered)?;
        let now_ms = spec.clock.now_ms();
        let keeper = match folder {
            Some(folder) => Some(start_keeper(&spec, &control, &shared, &sinks, &ids, folder, &recovered, now_ms)?),
            None => None,
        };
        let intakes = start_sources(&spec, &control, &shared, &sources, &ids, recovered.manifest.as_ref())?;
        let mut built = built.into_iter();
        let worker = built.next().ok_or_else(|| Error::internal("a job without workers"))?;
        let mut running = Running {
            flow: Flow {
                carry: generators.iter().map(|_| Vec::new()).collect(),
                intakes,
                restored: generators.iter().map(|_| (Vec::new(), 0)).collect(),
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
            keeper,
            ids,
            ending: None,
            is_over_budget: false,
            stop_deadline: None,
        };
        if let Some(manifest) = &recovered.manifest {
            running.restore_watermarks(manifest);
        }
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
                return Ok(self.aborted());
            }
            let question = self.control.question();
            let now_ms = self.spec.clock.now_ms();
            is_woken |= self.flow.drain(now_ms, &self.shared.metrics)?;
            self.progress(now_ms)?;
            if let Some(end) = self.end(now_ms)? {
                return Ok(end);
            }
            self.begin_if_due(now_ms)?;
            if self.is_full || (self.ending.is_some() && !self.flow.has_carry()) {
                self.command(Command::Sinks { now_ms })?;
                let is_waiting = self.ending.is_some() && !self.is_gathered();
                if self.is_full || is_waiting {
                    // Timers wait as the rows do: what they would emit has no place to go.
                    let expires_ms = self.keeper.as_ref().and_then(Keeper::expires_ms);
                    is_woken |= self.park(now_ms, earliest(self.sink_deadline_ms, expires_ms));
                }
                continue;
            }
            if !is_woken && !self.is_due(now_ms) {
                self.control.is_quiet(question);
                is_woken = self.park(now_ms, self.next_deadline_ms(now_ms));
                continue;
            }
            is_woken = false;
            self.run_step(now_ms)?;
        }
    }

    /// Whether the job is over, and the way there: a last checkpoint once the input ended or a stop was asked for.
    fn end(&mut self, now_ms: i64) -> Result<Option<JobEnd>> {
        if self.ending.is_none() {
            self.ending = match (self.flow.is_finished, self.control.is_stopping()) {
                (true, _) => Some(CheckpointKind::Final),
                (_, true) => Some(CheckpointKind::Stop),
                _ => None,
            };
        }
        if self.control.is_stopping() {
            let deadline = *self.stop_deadline.get_or_insert_with(|| env::monotonic() + STOP_MAX);
            if env::monotonic() >= deadline {
                return Ok(Some(self.aborted()));
            }
        }
        let Some(kind) = self.ending else { return Ok(None) };
        let stopped = |checkpoint| match kind {
            CheckpointKind::Final => JobEnd::Finished,
            _ => JobEnd::Stopped { checkpoint },
        };
        let Some(keeper) = &self.keeper else { return Ok(Some(stopped(None))) };
        if keeper.ended.is_some() {
            return Ok(Some(stopped(keeper.ended)));
        }
        if !self.flow.is_open() {
            // Positions of a source that never opened are unknown; what stands stays.
            return Ok(Some(stopped(self.standing())));
        }
        if !keeper.is_in_flight() && !self.flow.has_carry() {
            self.begin(kind, now_ms)?;
        }
        Ok(None)
    }

    fn aborted(&self) -> JobEnd {
        JobEnd::Aborted { standing: self.keeper.as_ref().and_then(Keeper::standing_at_abort) }
    }

    fn standing(&self) -> Option<u64> {
        self.keeper.as_ref().and_then(|k| k.standing)
    }

    fn begin_if_due(&mut self, now_ms: i64) -> Result<()> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        if self.ending.is_some() || keeper.due_ms().is_none_or(|due| due > now_ms) || self.flow.has_carry() {
            return Ok(());
        }
        if !self.flow.is_open() {
            keeper.schedule(now_ms);
            return Ok(());
        }
        self.begin(CheckpointKind::Periodic, now_ms)
    }

    /// Takes the moment between two steps: positions, watermarks, operators' entries; the sinks draw their line.
    fn begin(&mut self, kind: CheckpointKind, now_ms: i64) -> Result<()> {
        let Some((id, full)) = self.keeper.as_ref().map(Keeper::next) else { return Ok(()) };
        self.spec.fail_points.reach("ckpt.begin");
        // A step without rows, in which everything that is held back only to send less goes out.
        let input = StepInput { is_before_checkpoint: true, ..self.step_input(Vec::new(), now_ms) };
        self.command(Command::Step(input))?;
        self.prepared.clear();
        self.command(Command::Snapshot { id, kind, full })?;
        let mut buffers = Vec::new();
        let mut inputs: Vec<InputEntry> = Vec::new();
        for report in &self.shared.reports {
            let mut report = lock(report);
            buffers.extend(report.snapshot.take());
            for (place, watermark) in report.input_watermarks.drain(..) {
                let operator = &self.ids[self.shared.graph.nodes[place].plan_node];
                match inputs.iter_mut().find(|i| i.operator == *operator) {
                    Some(input) => input.watermark = input.watermark.min(watermark),
                    None => inputs.push(InputEntry { operator: operator.clone(), watermark }),
                }
            }
        }
        let place_id = |place: &usize| self.ids[self.shared.graph.nodes[*place].plan_node].clone();
        let source_ids: Vec<String> = self.shared.graph.sources.iter().map(place_id).collect();
        let moment = Moment {
            kind,
            time_ms: now_ms,
            sources: source_entries(&self.flow.intakes, &source_ids),
            watermarks: self.flow.watermark_entries(&self.shared.graph, &self.ids),
            inputs,
            positions: self.flow.intakes.iter().map(Intake::positions).collect(),
        };
        match &mut self.keeper {
            Some(keeper) => keeper.begin(moment, buffers),
            None => Ok(()),
        }
    }

    fn progress(&mut self, now_ms: i64) -> Result<()> {
        let instances = self.sink_instances();
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let view = View {
            plan: &self.spec.plan,
            metrics: &self.shared.metrics,
            intakes: &self.flow.intakes,
            fail_points: &self.spec.fail_points,
            instances,
        };
        keeper.progress(now_ms, &mut self.prepared, &view)
    }

    /// Whether the checkpoint in flight has everything and can go on at once.
    fn is_gathered(&self) -> bool {
        self.keeper.as_ref().is_some_and(|k| k.is_gathered(self.prepared.len(), self.sink_instances()))
    }

    fn restore_watermarks(&mut self, manifest: &Manifest) {
        for (index, place) in self.shared.graph.watermarks.iter().enumerate() {
            let id = &self.ids[self.shared.graph.nodes[*place].plan_node];
            if let Some(entry) = manifest.watermarks.iter().find(|w| w.operator == *id) {
                self.flow.generators[index].restore_emitted(entry.emitted);
                if let Some((_, watermark)) = entry.splits.iter().find(|(name, _)| name.is_empty()) {
                    self.flow.generators[index].fold(0, *watermark);
                }
                self.flow.restored[index].0.clone_from(&entry.splits);
            }
        }
    }

    /// Whether a step is due although nothing arrived.
    fn is_due(&self, now_ms: i64) -> bool {
        self.flow.has_rows() || self.next_deadline_ms(now_ms).is_some_and(|at| at <= now_ms)
    }

    fn next_deadline_ms(&self, now_ms: i64) -> Option<i64> {
        let own = earliest(self.next_timer_ms, self.sink_deadline_ms);
        let due = self.keeper.as_ref().and_then(Keeper::due_ms);
        let due = earliest(due, self.keeper.as_ref().and_then(Keeper::expires_ms));
        earliest(earliest(own, due), self.flow.next_timer_ms(now_ms))
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
        // A job that ends takes nothing new; only what a cut held back still has to pass.
        let is_full_step = self.ending.is_none() && self.flow.take(budget, self.spec.workers, &mut tasks);
        let input = self.step_input(tasks, now_ms);
        self.command(Command::Step(input))?;
        self.size.adapt(env::monotonic().saturating_duration_since(began), is_full_step);
        Ok(())
    }

    fn step_input(&mut self, tasks: Vec<Task>, now_ms: i64) -> StepInput {
        self.step += 1;
        self.shared.metrics.steps.store(self.step, Relaxed);
        let mut seed = self.seed.to_le_bytes().to_vec();
        seed.extend_from_slice(&self.step.to_le_bytes());
        StepInput { tasks, now_ms, seed: xxhash_rust::xxh3::xxh3_64(&seed), is_before_checkpoint: false }
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
        let mut state: Vec<(u64, u64, u64)> = vec![(0, 0, 0); metrics.nodes.len()];
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
            for operator in &report.operators {
                let Some(node) = state.get_mut(self.shared.graph.nodes[operator.place].plan_node) else { continue };
                node.0 += operator.state_bytes as u64;
                node.1 += operator.late_rows;
                node.2 += operator.ignored_retractions;
            }
        }
        for (sink, (sum, text)) in metrics.sinks.iter().zip(sums) {
            sink.set(&sum);
            sink.set_waiting(text.map(|t| format!("sink `{}`: {t}", sink.table)));
        }
        for (node, (bytes, late, ignored)) in metrics.nodes.iter().zip(&state) {
            node.state_bytes.store(*bytes, Relaxed);
            node.late_rows.store(*late, Relaxed);
            node.ignored_retractions.store(*ignored, Relaxed);
        }
        let state_bytes = state.iter().map(|s| s.0).sum();
        if state_bytes > self.spec.memory_bytes && !std::mem::replace(&mut self.is_over_budget, true) {
            let (held, budget) = (state_bytes >> 20, self.spec.memory_bytes >> 20);
            metrics.note(format!("the job's state takes {held} MiB, more than its memory budget of {budget} MiB"));
        }
        metrics.state_bytes.store(state_bytes, Relaxed);
        metrics.late_rows.store(state.iter().map(|s| s.1).sum(), Relaxed);
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
        if let Some(keeper) = &mut self.keeper {
            keeper.writer.join();
        }
    }
}

impl Flow {
    fn has_carry(&self) -> bool {
        self.carry.iter().any(|c| !c.is_empty())
    }

    fn has_rows(&self) -> bool {
        self.has_carry() || self.intakes.iter().any(Intake::has_pending)
    }

    fn is_open(&self) -> bool {
        self.intakes.iter().all(|i| i.is_open)
    }

    /// Takes over what the sources brought; says whether there was anything.
    fn drain(&mut self, now_ms: i64, metrics: &Metrics) -> Result<bool> {
        let mut is_news = false;
        for intake in &mut self.intakes {
            is_news |= intake.drain(now_ms, metrics.source_of(intake.node))?;
        }
        // Splits that a manifest knows go on with their watermarks as soon as the source has named them.
        for (index, (restored, told)) in self.restored.iter_mut().enumerate() {
            let splits = &self.intakes[self.generator_source[index]].splits;
            for (split, state) in splits.iter().enumerate().skip(*told) {
                if let Some((_, watermark)) = restored.iter().find(|(name, _)| *name == state.name) {
                    self.generators[index].fold(split, *watermark);
                }
            }
            *told = splits.len();
        }
        Ok(is_news)
    }

    fn watermark_entries(&self, graph: &Graph, ids: &[String]) -> Vec<WatermarkEntry> {
        let entry = |(index, generator): (usize, &Generator)| {
            let splits = &self.intakes[self.generator_source[index]].splits;
            let per_split =
                splits.iter().enumerate().map(|(s, state)| (state.name.clone(), generator.split_maximum(s)));
            WatermarkEntry {
                operator: ids[graph.nodes[graph.watermarks[index]].plan_node].clone(),
                emitted: generator.emitted().watermark,
                splits: if generator.is_by_table() {
                    vec![(String::new(), generator.split_maximum(0))]
                } else {
                    per_split.collect()
                },
            }
        };
        self.generators.iter().enumerate().map(entry).collect()
    }

    fn next_timer_ms(&self, now_ms: i64) -> Option<i64> {
        let timers = self.generators.iter().zip(&self.generator_source);
        timers.filter_map(|(g, &source)| g.next_timer_ms(now_ms, &self.intakes[source].split_times())).min()
    }

    /// Cuts a step's tasks; says whether the budget was what ended it.
    fn take(&mut self, budget: Budget, workers: usize, tasks: &mut Vec<Task>) -> bool {
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

/// Before any sink opens: work of a durable checkpoint that the sinks did not confirm is committed, then leftovers are removed.
fn prepare_sinks(
    spec: &JobSpec,
    control: &Control,
    metrics: &Metrics,
    sinks: &[Option<Arc<dyn SinkFactory>>],
    ids: &[String],
    folder: Option<&Folder>,
    recovered: &Recovered,
) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    let of_plan = |operator: &str| spec.plan.sinks.iter().position(|&node| ids[node] == operator);
    if let Some(manifest) = &recovered.unconfirmed {
        for entry in &manifest.sinks {
            let Some(Some(factory)) = of_plan(&entry.operator).map(|index| &sinks[index]) else {
                if !entry.pending.is_empty() {
                    metrics.note(format!(
                        "checkpoint {} holds rows for sink `{}` that were not confirmed, and the plan has no such sink any more",
                        manifest.id, entry.table
                    ));
                }
                continue;
            };
            for pending in &entry.pending {
                folder.fail_points().reach("restore.recommit");
                let what = format!("commit of checkpoint {} to sink `{}`", pending.checkpoint, entry.table);
                retried(control, metrics, &what, || factory.commit(pending.checkpoint, &pending.work))?;
            }
        }
        folder.mark_committed(manifest.id)?;
    }
    for (index, factory) in sinks.iter().enumerate() {
        let Some(factory) = factory else { continue };
        let id = &ids[spec.plan.sinks[index]];
        let entry = recovered.manifest.as_ref().and_then(|m| m.sinks.iter().find(|s| s.operator == *id));
        let states: &[Vec<u8>] = entry.map_or(&[], |e| &e.states);
        retried(control, metrics, "recovery of a sink", || factory.recover(states))?;
    }
    Ok(())
}

/// Gives every entry to the operator and worker that own it.
fn restore(graph: &Graph, ids: &[String], workers: &mut [Worker], recovered: &Recovered) -> Result<()> {
    let Some(manifest) = &recovered.manifest else { return Ok(()) };
    let count = workers.len();
    for (place, node) in graph.nodes.iter().enumerate().filter(|(_, n)| n.role == Role::Operator) {
        let id = &ids[node.plan_node];
        let of_node = recovered.state.tables.range((id.clone(), 0)..=(id.clone(), u8::MAX));
        for ((_, table), entries) in of_node {
            for ((key, vnode), value) in entries {
                let owner = if node.is_single { 0 } else { worker_of_vnode(*vnode, count) };
                if let Part::Operator(operator) = &mut workers[owner].nodes[place].part {
                    operator.restore(*table, *vnode, key, value)?;
                }
            }
        }
        let input = manifest.inputs.iter().find(|i| i.operator == *id).map_or(i64::MIN, |i| i.watermark);
        for worker in workers.iter_mut() {
            let state = &mut worker.nodes[place];
            state.input_watermark = input;
            if let Part::Operator(operator) = &mut state.part {
                operator.restored(input)?;
            }
        }
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "called once, with the parts of a job that is being put together")]
fn start_keeper(
    spec: &JobSpec,
    control: &Control,
    shared: &Shared,
    sinks: &[Option<Arc<dyn SinkFactory>>],
    ids: &[String],
    folder: Folder,
    recovered: &Recovered,
    now_ms: i64,
) -> Result<Keeper> {
    let writer =
        Writer::start(folder, ids.to_vec(), sinks.to_vec(), Arc::clone(&shared.metrics), control.waker().clone())?;
    let mut keeper = Keeper::new(writer, ids.to_vec(), identity::operators(&spec.plan, ids), &spec.plan);
    keeper.next_id = recovered.next_id;
    let ms = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
    keeper.interval_ms = match spec.config.checkpoint_interval_ms {
        None => Some(ms(CHECKPOINT_INTERVAL_MS)),
        Some(0) => None,
        Some(interval) => Some(ms(interval)),
    };
    keeper.timeout_ms = ms(spec.config.checkpoint_timeout_ms);
    keeper.min_pause_ms = ms(spec.config.checkpoint_min_pause_ms);
    if let Some(manifest) = &recovered.manifest {
        keeper.resume(manifest);
    }
    keeper.schedule(now_ms);
    Ok(keeper)
}

fn is_by_row(node: &WatermarkNode, is_batch: bool) -> bool {
    !node.push_down && !is_batch
}

fn start_sources(
    spec: &JobSpec,
    control: &Control,
    shared: &Shared,
    sources: &[Option<Arc<dyn SourceFactory>>],
    ids: &[String],
    manifest: Option<&Manifest>,
) -> Result<Vec<Intake>> {
    let share = spec.memory_bytes / MEMORY_SHARE / sources.len().max(1) as u64;
    let bytes_max = usize::try_from(share.clamp(HAND_OVER_BYTES_MIN, HAND_OVER_BYTES_MAX)).unwrap_or(1 << 20);
    let mut intakes = Vec::new();
    for (index, factory) in sources.iter().enumerate() {
        let plan_node = shared.graph.nodes[shared.graph.sources[index]].plan_node;
        let node = &spec.plan.nodes[plan_node];
        let entry = manifest.and_then(|m| m.sources.iter().find(|s| s.operator == ids[plan_node]));
        let restored: Vec<Split> = entry.map_or_else(Vec::new, |entry| {
            entry.splits.iter().map(|s| Split { name: s.name.clone(), start: s.position }).collect()
        });
        intakes.push(match (&node.kind, factory) {
            (NodeKind::Values(rows), _) => {
                let position = restored.first().map_or(0, |s| s.start);
                let batch = if position == 0 { values_batch(rows, &node.schema)? } else { None };
                Intake::constant(index, plan_node, batch, position)
            }
            (NodeKind::Source(source), Some(factory)) => {
                let context = SourceContext {
                    restored,
                    restored_ends: entry.map_or_else(Vec::new, |entry| {
                        entry.splits.iter().filter_map(|s| Some((s.name.clone(), s.end?))).collect()
                    }),
                    is_restored: entry.is_some(),
                    buffer_bytes_max: bytes_max,
                    waker: control.waker().clone(),
                };
                let bounded = source.info.is_bounded;
                let is_sequential = !source.info.watermark_push_down;
                let mut intake = Intake::new(index, plan_node, source.table.name.clone(), bounded, is_sequential);
                intake.fetch =
                    Some(Fetch::start(&source.table.name, Arc::clone(factory), context, bounded, bytes_max)?);
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
    ids: &'a [String],
    manifest: Option<&'a Manifest>,
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
            Role::Exchange(_, distribution) => Ok(Part::Exchange(Splitter::new(distribution, self.shared.workers))),
            Role::Operator => {
                let node = &self.spec.plan.nodes[graph_node.plan_node];
                if matches!(node.kind, NodeKind::UnionAll) {
                    return Ok(Part::Union);
                }
                let inputs: Vec<&Schema> = node.inputs.iter().map(|&i| &self.spec.plan.nodes[i].schema).collect();
                if let (NodeKind::LookupJoin(join), Some(input)) = (&node.kind, inputs.first()) {
                    let lookup = self.lookup(join)?;
                    return Ok(Part::Operator(Box::new(operators::LookupJoin::new(
                        join,
                        lookup,
                        input,
                        &node.schema,
                    )?)));
                }
                let context =
                    OperatorContext { worker, workers: self.shared.workers, is_batch: self.spec.config.is_batch };
                Ok(Part::Operator(operators::build(node, &inputs, &context)?))
            }
            Role::Sink(index) => self.sink(place, *index, worker),
            Role::Collect(_) => {
                Ok(if worker == 0 { Part::Collect(self.spec.collector.take()) } else { Part::Elsewhere })
            }
        }
    }

    /// A worker's own door to the table of a lookup join.
    fn lookup(&self, join: &LookupJoinNode) -> Result<Box<dyn Lookup>> {
        let request = LookupRequest {
            columns: join.columns.clone(),
            keys: join.keys.iter().map(|key| key.column).collect(),
            time_zone: self.spec.config.time_zone.to_string(),
            job_name: self.spec.plan.job_name.clone(),
        };
        let at = |e: Error| e.at(format!("table `{}`", join.table.name));
        self.spec.registry.lookup(&join.table, &request).and_then(|factory| factory.open()).map_err(at)
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
        let id = &self.ids[self.shared.graph.nodes[place].plan_node];
        let entry = self.manifest.and_then(|m| m.sinks.iter().find(|s| s.operator == *id));
        let context = SinkContext {
            instance: worker,
            instances,
            restored: entry.map_or_else(Vec::new, |e| e.states.clone()),
            waker: self.control.waker().clone(),
        };
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
