//! A job that runs: the loop of steps, with its parking, its checkpoints and its ends.
//!
//! The loop thread is worker 0; with one worker there are no other threads but those of the sources. A step has one clock reading and one
//! seed. Between steps nothing is in flight inside the dataflow, so that is where checkpoints, stops and ends happen.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wiesel_core::env;
use wiesel_core::sink::{CheckpointKind, Prepared, SinkCounters, SinkFactory, SinkParallelism};
use wiesel_core::{Error, Result};
use wiesel_expr::Session;
use wiesel_plan::{NodeKind, WatermarkNode};

use super::assemble::{WorkerBuilder, is_by_row, prepare_sinks, restore, start_keeper, start_sources};
use super::barrier::Barrier;
use super::control::Control;
use super::cycle::{Keeper, Moment, View, source_entries};
use super::exchange::Mailboxes;
use super::fetch::Fetch;
use super::flow::{Flow, StepSize};
use super::graph::GraphNode;
use super::intake::Intake;
use super::job::{Job, JobEnd, JobSpec};
use super::letters::{self, Letter};
use super::metrics::lock;
use super::now::Now;
use super::room::Room;
use super::worker::{Command, Shared, StepInput, Task, Worker, earliest};
use crate::checkpoint::manifest::{InputEntry, Manifest};
use crate::checkpoint::run::RunBuffer;
use crate::checkpoint::writer::Stored;
use crate::state::store::Frozen;
use crate::time::{EdgeTime, Generator};

/// The longest time a parked loop sleeps; only a bound against lost time, everything it waits for has a deadline or wakes it.
const PARK_MAX: Duration = Duration::from_secs(60);
/// A stop that takes longer is given up; the last checkpoint stands.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A checkpoint between its line and the moment in which all workers have written what they froze.
struct Slicing {
    base: Option<Frozen>,
    stored: Option<Stored>,
    /// The longest time that rows stood still for it.
    pause: Duration,
}

/// A job with dead letters takes two checkpoints before its last one: the first makes the sinks send, and commit, all they have; with the
/// second they say what was refused then.
const LETTER_FLUSHES: u8 = 2;

/// A job that runs.
pub(super) struct Running {
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
    /// Operators have more to emit of what is due: steps go on without rows until it is out.
    is_firing: bool,
    /// A sink takes no more before the next checkpoint.
    needs_checkpoint: bool,
    /// Dead letters of sinks that wait for the next step, and those that the checkpoint in flight has to keep.
    letters: Vec<Letter>,
    letters_kept: Vec<Letter>,
    /// Of [`LETTER_FLUSHES`], those that were begun.
    flushes: u8,
    next_timer_ms: Option<i64>,
    sink_deadline_ms: Option<i64>,
    prepared: Vec<(usize, usize, Prepared)>,
    keeper: Option<Keeper>,
    ids: Vec<String>,
    /// Set when the job ends with a checkpoint of this kind.
    ending: Option<CheckpointKind>,
    /// The note about it was given.
    is_over_budget: bool,
    room: Room,
    /// The checkpoint whose line is drawn and whose state is being written.
    slicing: Option<Slicing>,
    stop_deadline: Option<Instant>,
}

impl Running {
    pub(super) fn start(job: Job) -> Result<Running> {
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
            letters: spec
                .plan
                .dead_letters
                .and_then(|id| graph.sources.iter().copied().find(|place| graph.nodes[*place].plan_node == id)),
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
        let store = restore(&spec, &shared.graph, &ids, &mut built, &recovered)?;
        let room = Room::new(&spec, folder.is_some(), store);
        let now = Now::of(&*spec.clock);
        let mut keeper = match folder {
            Some(folder) => {
                Some(start_keeper(&spec, &control, &shared, &sinks, &ids, folder, &recovered, now.steady_ms)?)
            }
            None => None,
        };
        keeper.iter_mut().for_each(|keeper| keeper.has_store = room.store().is_some());
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
            seed: xxhash_rust::xxh3::xxh3_64(&now.wall_ms.to_le_bytes()) ^ u64::from(std::process::id()),
            spec,
            control,
            sinks,
            shared,
            worker,
            threads: Vec::new(),
            step: 0,
            is_full: false,
            is_firing: false,
            needs_checkpoint: false,
            letters: recovered.manifest.as_ref().map_or_else(Vec::new, |m| m.letters.clone()),
            letters_kept: Vec::new(),
            flushes: 0,
            next_timer_ms: None,
            sink_deadline_ms: None,
            prepared: Vec::new(),
            keeper,
            ids,
            ending: None,
            is_over_budget: false,
            room,
            slicing: None,
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

    pub(super) fn run_to_end(&mut self) -> Result<JobEnd> {
        let mut is_woken = true;
        loop {
            if self.control.is_aborted() {
                return Ok(self.aborted());
            }
            let question = self.control.question();
            let now = Now::of(&*self.spec.clock);
            is_woken |= self.flow.drain(now.steady_ms, &self.shared.metrics)?;
            self.progress(now)?;
            if let Some(end) = self.end(now)? {
                return Ok(end);
            }
            self.begin_if_due(now)?;
            is_woken |= self.slice()?;
            if self.is_held_up() || (self.ending.is_some() && !self.must_go_on()) {
                self.command(Command::Sinks { now })?;
                let is_waiting = self.ending.is_some() && !self.is_gathered();
                if (self.is_held_up() || is_waiting) && self.slicing.is_none() {
                    // Timers wait as the rows do: what they would emit has no place to go.
                    let expires_ms = self.keeper.as_ref().and_then(Keeper::expires_ms);
                    let due_ms = self.keeper.as_ref().and_then(Keeper::due_ms).filter(|due| *due > now.steady_ms);
                    is_woken |=
                        self.park(now.left_ms(None, earliest(earliest(self.sink_deadline_ms, due_ms), expires_ms)));
                }
                continue;
            }
            if self.room.is_full() && self.ending.is_none() && !self.must_go_on() {
                if self.slicing.is_some() {
                    // Its slices are all that is done until it is written.
                } else if self.keeper.as_ref().is_some_and(Keeper::is_writing) {
                    // What was written out last is still in memory, so the sources wait.
                    let expires_ms = self.keeper.as_ref().and_then(Keeper::expires_ms);
                    is_woken |= self.park(now.left_ms(None, expires_ms));
                } else {
                    self.make_room(now)?;
                }
                continue;
            }
            if !is_woken && !self.is_due(now) {
                self.control.is_quiet(question);
                is_woken = self.park(self.left_ms(now));
                continue;
            }
            is_woken = false;
            self.run_step(now)?;
        }
    }

    /// Whether steps are in the middle of something: rows behind a cut, or what operators have still to emit of what is due. No checkpoint
    /// is taken there.
    fn must_go_on(&self) -> bool {
        self.is_firing || self.flow.has_carry()
    }

    /// Whether the sinks take nothing now. Rows behind a cut have to pass before a checkpoint may be taken, so for that one they do.
    fn is_held_up(&self) -> bool {
        self.is_full || (self.needs_checkpoint && !self.must_go_on())
    }

    /// Whether the job is over, and the way there: a last checkpoint once the input ended or a stop was asked for.
    fn end(&mut self, now: Now) -> Result<Option<JobEnd>> {
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
        if let Some(ended) = keeper.ended {
            // What the commit delivered is counted too.
            self.command(Command::Sinks { now })?;
            return Ok(Some(stopped(Some(ended))));
        }
        if !self.flow.is_open() {
            // Positions of a source that never opened are unknown; what stands stays.
            return Ok(Some(stopped(self.standing())));
        }
        if keeper.may_begin() && !self.must_go_on() {
            if kind == CheckpointKind::Final && self.shared.letters.is_some() && self.flushes < LETTER_FLUSHES {
                // What a commit refuses is known once it is made.
                if keeper.is_settled() && self.begin(CheckpointKind::Periodic, now)? {
                    self.flushes += 1;
                }
            } else {
                self.begin(kind, now)?;
            }
        }
        Ok(None)
    }

    fn aborted(&self) -> JobEnd {
        JobEnd::Aborted { standing: self.keeper.as_ref().and_then(Keeper::standing_at_abort) }
    }

    fn standing(&self) -> Option<u64> {
        self.keeper.as_ref().and_then(|k| k.standing)
    }

    fn begin_if_due(&mut self, now: Now) -> Result<()> {
        let must_go_on = self.must_go_on();
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let is_wanted = self.control.wants_savepoint() && keeper.may_begin();
        let is_due = keeper.due_ms().is_some_and(|due| due <= now.steady_ms);
        let is_needed = self.needs_checkpoint && keeper.may_begin();
        if self.ending.is_some() || !(is_due || is_needed || is_wanted) || must_go_on {
            return Ok(());
        }
        if !self.flow.is_open() {
            keeper.schedule(now.steady_ms);
            if let Some(request) = self.control.take_savepoint() {
                request.answer(Err("the sources are not open yet".to_owned()));
            }
            return Ok(());
        }
        // The sinks close what is open, as at a stop: a savepoint is to stand for itself.
        self.begin(if is_wanted { CheckpointKind::Stop } else { CheckpointKind::Periodic }, now)?;
        Ok(())
    }

    /// Takes the moment between two steps: positions, watermarks, operators' entries; the sinks draw their line. Returns whether there was
    /// such a moment: not when operators are in the middle of what became due.
    fn begin(&mut self, kind: CheckpointKind, now: Now) -> Result<bool> {
        let began = env::monotonic();
        if self.keeper.is_some() {
            self.spec.fail_points.reach("ckpt.begin");
            if !self.flush(now)? {
                return Ok(false);
            }
        }
        let savepoint = if kind == CheckpointKind::Stop { self.control.take_savepoint() } else { None };
        if let (Some(_), Some(keeper)) = (&savepoint, &mut self.keeper) {
            keeper.must_be_full();
        }
        let Some((id, full)) = self.keeper.as_ref().map(Keeper::next) else { return Ok(false) };
        self.prepared.clear();
        let store = self.room.store();
        self.command(Command::Snapshot { id, kind, full, has_store: store.is_some() })?;
        self.letters_kept.clone_from(&self.letters);
        let operators = self.worker.spilling(&self.shared.graph);
        // Nothing resumes from the last checkpoint of a bounded job, so what the store holds need not be in it.
        let base = store.as_ref().filter(|_| full && kind != CheckpointKind::Final);
        let base = base.map(|store| store.freeze(operators.clone()));
        let stored = store.map(|store| Stored { store, operators });
        let mut inputs: Vec<InputEntry> = Vec::new();
        for report in &self.shared.reports {
            let mut report = lock(report);
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
            at: now,
            pause: Duration::ZERO,
            sources: source_entries(&self.flow.intakes, &source_ids),
            watermarks: self.flow.watermark_entries(&self.shared.graph, &self.ids),
            inputs,
            positions: self.flow.intakes.iter().map(Intake::positions).collect(),
            is_last: self.ending == Some(kind),
            savepoint,
        };
        if let Some(keeper) = &mut self.keeper {
            keeper.begin(moment);
        }
        self.slicing = Some(Slicing { base, stored, pause: env::monotonic().saturating_duration_since(began) });
        self.hand_over()?;
        Ok(true)
    }

    /// A step without rows, in which everything that is held back only to send less goes out; returns whether all that is due did.
    fn flush(&mut self, now: Now) -> Result<bool> {
        let input = StepInput { is_before_checkpoint: true, ..self.step_input(Vec::new(), now) };
        self.command(Command::Step(input))?;
        Ok(!self.is_firing)
    }

    /// Writes a slice of the checkpoint that was begun; returns whether there was one to write.
    fn slice(&mut self) -> Result<bool> {
        if self.slicing.is_none() {
            return Ok(false);
        }
        let began = env::monotonic();
        self.command(Command::Slice)?;
        if let Some(slicing) = &mut self.slicing {
            slicing.pause = slicing.pause.max(env::monotonic().saturating_duration_since(began));
        }
        self.hand_over()?;
        Ok(true)
    }

    /// Hands what the workers froze to the checkpoint once all of it is written.
    fn hand_over(&mut self) -> Result<()> {
        if self.shared.reports.iter().any(|report| lock(report).snapshot.is_none()) {
            return Ok(());
        }
        let buffers = self.shared.reports.iter().flat_map(|report| lock(report).snapshot.take().unwrap_or_default());
        let buffers: Vec<RunBuffer> = buffers.collect();
        match (&mut self.keeper, self.slicing.take()) {
            (Some(keeper), Some(Slicing { base, stored, pause })) => keeper.hand_over(pause, base, buffers, stored),
            _ => Ok(()),
        }
    }

    fn progress(&mut self, now: Now) -> Result<()> {
        let instances = self.sink_instances();
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let view = View {
            plan: &self.spec.plan,
            metrics: &self.shared.metrics,
            intakes: &self.flow.intakes,
            fail_points: &self.spec.fail_points,
            instances,
            letters: &self.letters_kept,
        };
        keeper.progress(now.steady_ms, &mut self.prepared, &view)
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
    fn is_due(&self, now: Now) -> bool {
        self.is_firing
            || self.flow.has_rows()
            || !self.letters.is_empty()
            || self.left_ms(now).is_some_and(|left| left <= 0)
    }

    /// The time until the next timer or deadline.
    fn left_ms(&self, now: Now) -> Option<i64> {
        let due = self.keeper.as_ref().and_then(Keeper::due_ms);
        let due = earliest(due, self.keeper.as_ref().and_then(Keeper::expires_ms));
        let due = earliest(due, self.flow.next_timer_ms(now.steady_ms));
        now.left_ms(self.next_timer_ms, earliest(due, self.sink_deadline_ms))
    }

    /// Sleeps until something wakes the loop or so much time is over.
    fn park(&self, left_ms: Option<i64>) -> bool {
        let left = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        self.control.waker().wait(left_ms.map_or(PARK_MAX, left).min(PARK_MAX))
    }

    fn run_step(&mut self, now: Now) -> Result<()> {
        let began = env::monotonic();
        let mut tasks = Vec::new();
        let budget = self.size.budget;
        // A job that ends takes nothing new; only what a cut held back still has to pass.
        let takes_rows = self.ending.is_none() && !self.is_firing;
        let is_full_step = takes_rows && self.flow.take(budget, self.spec.workers, &mut tasks);
        if !tasks.is_empty() {
            self.room.take_rows();
        }
        let input = self.step_input(tasks, now);
        self.command(Command::Step(input))?;
        self.size.adapt(env::monotonic().saturating_duration_since(began), is_full_step);
        Ok(())
    }

    /// The tables are full: what changed is written, into the store and as part of the next checkpoint, and they begin anew.
    fn make_room(&mut self, now: Now) -> Result<()> {
        // As before a checkpoint, so that nothing keeps operators from giving all back.
        if !self.flush(now)? {
            return Ok(());
        }
        let (store, is_new) = self.room.open()?;
        self.command(Command::Spill { store, full: is_new })?;
        let buffers: Vec<RunBuffer> =
            self.shared.reports.iter().flat_map(|report| lock(report).snapshot.take().unwrap_or_default()).collect();
        self.room.made();
        match &mut self.keeper {
            Some(keeper) => keeper.write_early(buffers, is_new),
            None => Ok(()),
        }
    }

    fn step_input(&mut self, tasks: Vec<Task>, now: Now) -> StepInput {
        let letters = std::mem::take(&mut self.letters);
        let split_names = match self.shared.letters {
            Some(_) => self.flow.intakes.iter().map(Intake::split_names).collect(),
            None => Vec::new(),
        };
        self.step += 1;
        self.shared.metrics.steps.store(self.step, Relaxed);
        let mut seed = self.seed.to_le_bytes().to_vec();
        seed.extend_from_slice(&self.step.to_le_bytes());
        StepInput {
            tasks,
            now,
            seed: xxhash_rust::xxh3::xxh3_64(&seed),
            is_before_checkpoint: false,
            is_firing: self.is_firing,
            letters,
            split_names,
        }
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
        if self.letters.len() > letters::WAITING_MAX {
            let text = format!("more than {} rows were refused since the last step", letters::WAITING_MAX);
            return Err(Error::data(text).hint("look at the reasons in the table of dead letters"));
        }
        Ok(())
    }

    fn read_reports(&mut self) {
        self.next_timer_ms = None;
        self.sink_deadline_ms = None;
        self.is_full = false;
        self.is_firing = false;
        self.needs_checkpoint = false;
        let metrics = &self.shared.metrics;
        let mut sums = vec![(SinkCounters::default(), None); metrics.sinks.len()];
        let mut state: Vec<(u64, u64, u64)> = vec![(0, 0, 0); metrics.nodes.len()];
        let (mut spillable_bytes, mut snapshot_bytes) = (0, 0);
        for report in &self.shared.reports {
            let mut report = lock(report);
            self.next_timer_ms = earliest(self.next_timer_ms, report.next_timer_ms);
            self.sink_deadline_ms = earliest(self.sink_deadline_ms, report.sink_deadline_ms);
            self.is_full |= report.is_full;
            self.is_firing |= report.is_firing;
            self.needs_checkpoint |= report.needs_checkpoint;
            self.letters_kept.extend_from_slice(&report.letters);
            self.letters.append(&mut report.letters);
            self.prepared.append(&mut report.prepared);
            snapshot_bytes += report.snapshot_bytes as u64;
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
                spillable_bytes += if operator.spills { operator.state_bytes as u64 } else { 0 };
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
        self.room.note(state_bytes + snapshot_bytes, spillable_bytes);
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
    pub(super) fn shut_down(&mut self) {
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
