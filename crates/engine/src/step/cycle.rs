//! The life of a checkpoint as the loop sees it: due, prepared and snapshot between two steps, gathered while steps go on, published,
//! committed, told to the sources.
//!
//! Everything here runs on the loop thread and never waits; what takes time happens in the helper thread, whose answers are read between
//! steps. Work of a checkpoint that could not be written stays with the next one: it is listed there under its own number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wiesel_core::env;
use wiesel_core::sink::{CheckpointKind, Prepared};
use wiesel_core::source::SplitIndex;
use wiesel_core::{Error, Result};
use wiesel_plan::{NodeKind, StreamPlan};

use super::control::SavepointRequest;
use super::intake::Intake;
use super::letters::Letter;
use super::metrics::{CheckpointSummary, Metrics};
use super::now::Now;
use crate::checkpoint::committer::{Commit, OPEN_EPOCHS_MAX};
use crate::checkpoint::folder::StoreError;
use crate::checkpoint::manifest::{
    FORMAT, InputEntry, Kind, Manifest, OperatorEntry, PROGRAM, PendingEntry, RunEntry, SinkEntry, SourceEntry,
    SplitEntry, WatermarkEntry,
};
use crate::checkpoint::run::RunBuffer;
use crate::checkpoint::writer::{Done, Stored, Work, Writer};
use crate::state::store::Frozen;

/// More state files than this are replaced by one full one.
const RUNS_MAX: usize = 8;
/// The same, when state is larger than memory: the full one is then written from the store, all of it.
const STORE_RUNS_MAX: usize = 64;
/// So are files with more outdated bytes than live ones, beyond this many.
const DEAD_BYTES_ALLOWED: u64 = 4 << 20;
/// Checkpoints in a row that failed and left their work to the next one; more of them end the job, because their work grows without bound.
const FAILED_EPOCHS_MAX: usize = 4;

/// Keeps a job's checkpoints.
pub(crate) struct Keeper {
    pub(crate) writer: Writer,
    /// Operator ids by node of the plan.
    pub(crate) ids: Vec<String>,
    pub(crate) operators: Vec<OperatorEntry>,
    pub(crate) job: String,
    pub(crate) next_id: u64,
    /// The last durable checkpoint.
    pub(crate) standing: Option<u64>,
    pub(crate) interval_ms: Option<i64>,
    pub(crate) min_pause_ms: i64,
    /// A checkpoint that has not got all its parts after so long is given up.
    pub(crate) timeout_ms: i64,
    due_ms: Option<i64>,
    runs: Vec<RunEntry>,
    full_bytes: u64,
    needs_full: bool,
    /// Files written since the last checkpoint began, and whether the first of them holds everything.
    early: EarlyRuns,
    /// Early files asked for and not answered.
    early_asked: u64,
    early_number: u64,
    /// Whether state lies in the store.
    pub(crate) has_store: bool,
    open: Vec<OpenEpoch>,
    in_flight: Option<InFlight>,
    /// Durable checkpoints that the sinks have not confirmed, oldest first.
    unconfirmed: VecDeque<InFlight>,
    /// What the ending checkpoint was, once it is committed.
    pub(crate) ended: Option<u64>,
    /// The savepoint that this line of checkpoints began with.
    restored_from: Option<String>,
    /// The savepoint that is being copied, and whether the job ends with it.
    exporting: Option<(SavepointRequest, Option<u64>)>,
}

/// Files that were written before their checkpoint began, because memory was full.
#[derive(Default)]
struct EarlyRuns {
    runs: Vec<RunEntry>,
    /// The first one holds the state of all operators, so what was written before it no longer counts.
    is_full: bool,
    /// The next one does.
    asked_full: bool,
}

/// Work of a checkpoint that the sinks have not confirmed: every manifest lists it.
struct OpenEpoch {
    checkpoint: u64,
    work: Vec<(usize, Vec<u8>)>,
    /// The durable checkpoint with which its commit was asked for.
    asked_with: Option<u64>,
}

/// What the loop saw between two steps.
pub(crate) struct Moment {
    pub(crate) kind: CheckpointKind,
    pub(crate) at: Now,
    /// How long no row was processed because of the checkpoint, at a time.
    pub(crate) pause: Duration,
    pub(crate) sources: Vec<SourceEntry>,
    pub(crate) watermarks: Vec<WatermarkEntry>,
    pub(crate) inputs: Vec<InputEntry>,
    /// By source.
    pub(crate) positions: Vec<Vec<(SplitIndex, i64)>>,
    /// Whether the job ends with it.
    pub(crate) is_last: bool,
    /// Who wants a copy of it.
    pub(crate) savepoint: Option<SavepointRequest>,
}

struct InFlight {
    id: u64,
    moment: Moment,
    began: Instant,
    is_full: bool,
    /// Files that were written before this checkpoint began.
    early: EarlyRuns,
    run: Option<Option<RunEntry>>,
    failure: Option<Error>,
    is_publishing: bool,
    /// Its timeout is over.
    is_given_up: bool,
    written_bytes: u64,
    /// Kept for the copy of a savepoint.
    manifest: Option<Box<Manifest>>,
}

impl Keeper {
    pub(crate) fn new(writer: Writer, ids: Vec<String>, operators: Vec<OperatorEntry>, plan: &StreamPlan) -> Self {
        Keeper {
            writer,
            ids,
            operators,
            job: plan.job_name.clone(),
            next_id: 1,
            standing: None,
            interval_ms: None,
            min_pause_ms: 0,
            timeout_ms: i64::MAX,
            due_ms: None,
            runs: Vec::new(),
            full_bytes: 0,
            needs_full: true,
            early: EarlyRuns::default(),
            early_asked: 0,
            early_number: 0,
            has_store: false,
            open: Vec::new(),
            in_flight: None,
            unconfirmed: VecDeque::new(),
            ended: None,
            restored_from: None,
            exporting: None,
        }
    }

    /// Goes on from a manifest: its state files stay the base of the next ones.
    pub(crate) fn resume(&mut self, manifest: &Manifest, needs_full: bool) {
        self.standing = Some(manifest.id);
        self.full_bytes = manifest.runs.first().map_or(0, |r| r.bytes);
        self.needs_full = needs_full || manifest.runs.is_empty();
        self.runs.clone_from(&manifest.runs);
        self.restored_from.clone_from(&manifest.restored_from);
    }

    /// The next checkpoint holds all state: a savepoint is to be whole in itself.
    pub(crate) fn must_be_full(&mut self) {
        self.needs_full = true;
    }

    pub(crate) fn schedule(&mut self, now_ms: i64) {
        self.due_ms = self.interval_ms.map(|interval| now_ms.saturating_add(interval));
    }

    /// When a checkpoint is due; none while no other may begin.
    pub(crate) fn due_ms(&self) -> Option<i64> {
        if self.may_begin() { self.due_ms } else { None }
    }

    /// When the checkpoint in flight is given up. Once its manifest is on its way it is not: that may be durable already.
    pub(crate) fn expires_ms(&self) -> Option<i64> {
        let waiting = self.in_flight.as_ref().filter(|f| !f.is_publishing && !f.is_given_up);
        waiting.map(|f| f.moment.at.steady_ms.saturating_add(self.timeout_ms))
    }

    /// Whether a checkpoint may begin: none is being gathered, the sinks are not too far behind, and nothing waits for one of those to be
    /// confirmed.
    pub(crate) fn may_begin(&self) -> bool {
        let holds_up = |open: &InFlight| open.moment.is_last || open.moment.savepoint.is_some();
        self.in_flight.is_none()
            && self.exporting.is_none()
            && self.unconfirmed.len() < OPEN_EPOCHS_MAX
            && !self.unconfirmed.iter().any(holds_up)
    }

    /// Whether the sinks have confirmed every checkpoint, and none is on its way.
    pub(crate) fn is_settled(&self) -> bool {
        self.may_begin() && self.unconfirmed.is_empty()
    }

    /// The last durable checkpoint, the helper's unread answers included: what a job that ends at once leaves behind.
    pub(crate) fn standing_at_abort(&self) -> Option<u64> {
        let is_published = |done: Done| matches!(done, Done::Published(Ok(())));
        let in_flight = self.in_flight.as_ref().map(|f| f.id);
        if self.writer.done.try_iter().any(is_published) { in_flight } else { self.standing }
    }

    /// The number and fullness of the checkpoint that begins now.
    pub(crate) fn next(&self) -> (u64, bool) {
        let live = self.full_bytes.max(DEAD_BYTES_ALLOWED);
        let base: &[RunEntry] = if self.early.is_full { &[] } else { &self.runs };
        let count = base.len() + self.early.runs.len();
        let all: u64 = base.iter().chain(&self.early.runs).map(|r| r.bytes).sum();
        let runs_max = if self.has_store { STORE_RUNS_MAX } else { RUNS_MAX };
        (self.next_id, self.needs_full || count >= runs_max || all > live.saturating_mul(2))
    }

    /// Whether a state file is still being written: its buffers are in memory, and may be on their way into the store.
    pub(crate) fn is_writing(&self) -> bool {
        self.early_asked > 0 || self.in_flight.as_ref().is_some_and(|in_flight| in_flight.run.is_none())
    }

    /// Memory is full: what was written to make room becomes part of the next checkpoint.
    pub(crate) fn write_early(&mut self, buffers: Vec<RunBuffer>, full: bool) -> Result<()> {
        self.has_store = true;
        self.early_asked += 1;
        self.early_number += 1;
        if full {
            self.early = EarlyRuns { asked_full: true, ..EarlyRuns::default() };
        }
        self.writer.ask(Work::Early { id: self.next_id, number: self.early_number, buffers })
    }

    /// An early file was written, or not.
    fn take_early(&mut self, done: Result<Option<RunEntry>, StoreError>) -> Result<()> {
        self.early_asked = self.early_asked.saturating_sub(1);
        // Answers come in the order of the questions: before that of the checkpoint in flight it belongs to that one.
        let in_flight = self.in_flight.as_mut().filter(|f| f.run.is_none());
        match done {
            Ok(run) => {
                let (early, is_of_flight) = match in_flight {
                    Some(in_flight) => (&mut in_flight.early, true),
                    None => (&mut self.early, false),
                };
                if std::mem::take(&mut early.asked_full) {
                    early.is_full = true;
                    self.full_bytes = run.as_ref().map_or(0, |r| r.bytes);
                    self.needs_full &= is_of_flight;
                }
                early.runs.extend(run);
            }
            Err(StoreError::Write(error)) => match in_flight {
                Some(in_flight) => in_flight.failure = Some(error),
                None => self.needs_full = true,
            },
            Err(StoreError::Fatal(error)) => return Err(error.at("an early state file")),
        }
        Ok(())
    }

    /// The line of a checkpoint was drawn.
    pub(crate) fn begin(&mut self, moment: Moment) {
        let (id, is_full) = self.next();
        self.next_id += 1;
        self.needs_full = false;
        self.due_ms = None;
        self.in_flight = Some(InFlight {
            id,
            moment,
            began: env::monotonic(),
            is_full,
            early: std::mem::take(&mut self.early),
            run: None,
            failure: None,
            is_publishing: false,
            is_given_up: false,
            written_bytes: 0,
            manifest: None,
        });
    }

    /// The workers have written what they froze; the helper makes a file of it. `pause` is the longest time that rows stood still for it.
    pub(crate) fn hand_over(
        &mut self,
        pause: Duration,
        base: Option<Frozen>,
        buffers: Vec<RunBuffer>,
        stored: Option<Stored>,
    ) -> Result<()> {
        let Some(in_flight) = &mut self.in_flight else {
            return Err(Error::internal("a checkpoint ended before its state was written"));
        };
        in_flight.moment.pause = pause;
        self.writer.ask(Work::Run { id: in_flight.id, base, buffers, stored })
    }

    /// Reads the helper's answers and moves the checkpoint on. `prepared` is emptied once all instances have handed over.
    pub(crate) fn progress(
        &mut self,
        now_ms: i64,
        prepared: &mut Vec<(usize, usize, Prepared)>,
        view: &View<'_>,
    ) -> Result<()> {
        while let Ok(done) = self.writer.done.try_recv() {
            self.take(done, now_ms, view)?;
        }
        if self.is_gathered(prepared.len(), view.instances) {
            let prepared = std::mem::take(prepared);
            return match &self.in_flight {
                Some(in_flight) if in_flight.is_given_up => self.abandon(prepared, now_ms),
                _ => self.publish(prepared, now_ms, view),
            };
        }
        if self.expires_ms().is_some_and(|at| at <= now_ms) {
            self.expire(view.metrics);
        }
        Ok(())
    }

    /// `execution.checkpointing.timeout` is over: the checkpoint has failed. Its parts are still waited for, because a sink answers for
    /// one checkpoint at a time, and the next one would need the same answers; it is taken as soon as they are there.
    fn expire(&mut self, metrics: &Metrics) {
        let (timeout_ms, standing) = (self.timeout_ms, self.standing);
        let Some(in_flight) = &mut self.in_flight else { return };
        in_flight.is_given_up = true;
        let what =
            if in_flight.run.is_none() { "its state is not written" } else { "a sink has not confirmed its rows" };
        let stands = standing.map_or_else(|| "none stands yet".to_owned(), |id| format!("checkpoint {id} stands"));
        metrics.checkpoints_failed.fetch_add(1, Relaxed);
        metrics.note(format!(
            "checkpoint {} is given up after {timeout_ms} ms, the timeout, because {what}; {stands}, the job goes on",
            in_flight.id
        ));
    }

    /// The parts of a checkpoint that was given up have come: the sinks' work waits for the next manifest, the next checkpoint is due.
    fn abandon(&mut self, prepared: Vec<(usize, usize, Prepared)>, now_ms: i64) -> Result<()> {
        let Some(in_flight) = self.in_flight.take() else { return Ok(()) };
        if let Some(request) = &in_flight.moment.savepoint {
            request.answer(Err("the checkpoint took longer than 'execution.checkpointing.timeout'".to_owned()));
        }
        let has_work = |(_, _, prepared): &(usize, usize, Prepared)| !prepared.pending.is_empty();
        let work: Vec<(usize, Vec<u8>)> =
            prepared.into_iter().filter(has_work).map(|(sink, _, prepared)| (sink, prepared.pending)).collect();
        if !work.is_empty() {
            self.open.push(OpenEpoch { checkpoint: in_flight.id, work, asked_with: None });
        }
        if self.failed_epochs() >= FAILED_EPOCHS_MAX {
            let text = format!("{FAILED_EPOCHS_MAX} checkpoints in a row took longer than their timeout");
            return Err(Error::unavailable(text).hint("raise 'execution.checkpointing.timeout'"));
        }
        self.needs_full = true;
        self.due_ms = self.interval_ms.map(|_| now_ms.saturating_add(self.min_pause_ms));
        Ok(())
    }

    /// Whether the checkpoint in flight has everything it waits for before it is published.
    pub(crate) fn is_gathered(&self, prepared: usize, instances: usize) -> bool {
        let has_all = |f: &InFlight| !f.is_publishing && f.run.is_some() && prepared >= instances;
        self.in_flight.as_ref().is_some_and(has_all)
    }

    fn take(&mut self, done: Done, now_ms: i64, view: &View<'_>) -> Result<()> {
        if let Done::Exported(outcome) = done {
            if let Some((request, ended)) = self.exporting.take() {
                request.answer(outcome.map_err(|e| e.to_string()));
                self.ended = ended;
            }
            return Ok(());
        }
        let done = match done {
            Done::Early(early) => return self.take_early(early),
            done => done,
        };
        if let Done::Committed(outcome) = done {
            let id = self.unconfirmed.front().map_or(0, |open| open.id);
            outcome.map_err(|e| e.at(format!("commit of checkpoint {id}")))?;
            return self.complete(view);
        }
        let Some(in_flight) = &mut self.in_flight else { return Ok(()) };
        match done {
            Done::Run(Ok(run)) => {
                in_flight.written_bytes = run.as_ref().map_or(0, |r| r.bytes);
                in_flight.run = Some(run);
            }
            Done::Run(Err(StoreError::Write(error))) => {
                in_flight.run = Some(None);
                in_flight.failure = Some(error);
            }
            Done::Published(Err(StoreError::Write(error))) => self.give_up(error, now_ms, view)?,
            Done::Run(Err(StoreError::Fatal(error))) | Done::Published(Err(StoreError::Fatal(error))) => {
                return Err(error.at(format!("checkpoint {}", in_flight.id)));
            }
            Done::Published(Ok(())) => self.published(now_ms, view)?,
            // Taken above, whether or not a checkpoint is in flight.
            Done::Early(_) | Done::Exported(_) | Done::Committed(_) => {}
        }
        Ok(())
    }

    /// All parts are there: the manifest decides.
    fn publish(&mut self, prepared: Vec<(usize, usize, Prepared)>, now_ms: i64, view: &View<'_>) -> Result<()> {
        let Some(in_flight) = &mut self.in_flight else { return Ok(()) };
        let mut states: Vec<Vec<(usize, Vec<u8>)>> = vec![Vec::new(); view.plan.sinks.len()];
        let mut work = Vec::new();
        for (sink, instance, prepared) in prepared {
            states[sink].push((instance, prepared.state));
            if !prepared.pending.is_empty() {
                work.push((sink, prepared.pending));
            }
        }
        if !work.is_empty() {
            self.open.push(OpenEpoch { checkpoint: in_flight.id, work, asked_with: None });
        }
        if let Some(error) = in_flight.failure.take() {
            return self.give_up(error, now_ms, view);
        }
        let early = std::mem::take(&mut in_flight.early);
        let mut runs = if in_flight.is_full || early.is_full { Vec::new() } else { self.runs.clone() };
        if !in_flight.is_full {
            runs.extend(early.runs);
        }
        runs.extend(in_flight.run.take().flatten());
        in_flight.is_publishing = true;
        let manifest = Manifest {
            format: FORMAT,
            program: PROGRAM.to_owned(),
            id: in_flight.id,
            time_ms: in_flight.moment.at.wall_ms,
            duration_ms: elapsed_ms(in_flight.began),
            kind: match (&in_flight.moment.savepoint, in_flight.moment.is_last) {
                (Some(_), false) => Kind::Savepoint,
                _ => in_flight.moment.kind.into(),
            },
            job: self.job.clone(),
            written_bytes: in_flight.written_bytes,
            operators: self.operators.clone(),
            sources: in_flight.moment.sources.clone(),
            watermarks: in_flight.moment.watermarks.clone(),
            inputs: in_flight.moment.inputs.clone(),
            sinks: sink_entries(view.plan, &self.ids, states, &self.open),
            runs: runs.clone(),
            letters: view.letters.to_vec(),
            restored_from: self.restored_from.clone(),
        };
        if in_flight.moment.savepoint.is_some() {
            in_flight.manifest = Some(Box::new(manifest.clone()));
        }
        self.runs = runs;
        if in_flight.is_full {
            self.full_bytes = self.runs.iter().map(|r| r.bytes).sum();
        }
        self.writer.ask(Work::Publish { manifest: Box::new(manifest) })
    }

    /// The checkpoint is durable: its work, and that of the failed ones before it, becomes visible; the next one need not wait for that.
    fn published(&mut self, now_ms: i64, view: &View<'_>) -> Result<()> {
        let Some(in_flight) = self.in_flight.take() else { return Ok(()) };
        self.standing = Some(in_flight.id);
        let mut commits = Vec::new();
        for epoch in self.open.iter_mut().filter(|epoch| epoch.asked_with.is_none()) {
            epoch.asked_with = Some(in_flight.id);
            for sink in 0..view.plan.sinks.len() {
                let of_sink = epoch.work.iter().filter(|(s, _)| *s == sink);
                let work: Vec<Vec<u8>> = of_sink.map(|(_, w)| w.clone()).collect();
                if !work.is_empty() {
                    commits.push(Commit { sink, checkpoint: epoch.checkpoint, work });
                }
            }
        }
        self.writer.commit(in_flight.id, commits)?;
        let earliest = now_ms.saturating_add(self.min_pause_ms);
        let next = self.interval_ms.map(|interval| in_flight.moment.at.steady_ms.saturating_add(interval));
        self.due_ms = next.map(|next| next.max(earliest));
        self.unconfirmed.push_back(in_flight);
        Ok(())
    }

    /// Checkpoints whose work no durable manifest lists.
    fn failed_epochs(&self) -> usize {
        self.open.iter().filter(|epoch| epoch.asked_with.is_none()).count()
    }

    /// Nothing of this checkpoint became real. Its sinks' work waits for the next one; state must be written in full again.
    fn give_up(&mut self, error: Error, now_ms: i64, view: &View<'_>) -> Result<()> {
        let Some(in_flight) = self.in_flight.take() else { return Ok(()) };
        self.needs_full = true;
        let stands = self.standing.map_or_else(|| "none stands yet".to_owned(), |id| format!("checkpoint {id} stands"));
        if let Some(request) = &in_flight.moment.savepoint {
            request.answer(Err(error.to_string()));
        }
        if in_flight.moment.is_last || self.failed_epochs() >= FAILED_EPOCHS_MAX {
            return Err(error.at(format!("checkpoint {}; {stands}", in_flight.id)));
        }
        view.metrics.checkpoints_failed.fetch_add(1, Relaxed);
        view.metrics.note(format!("checkpoint {} failed, {stands}, the job goes on: {error}", in_flight.id));
        self.schedule(now_ms);
        Ok(())
    }

    /// The sinks confirmed the oldest durable checkpoint.
    fn complete(&mut self, view: &View<'_>) -> Result<()> {
        let Some(in_flight) = self.unconfirmed.pop_front() else { return Ok(()) };
        self.open.retain(|epoch| epoch.asked_with != Some(in_flight.id));
        view.metrics.set_checkpoint(CheckpointSummary {
            id: in_flight.id,
            time_ms: in_flight.moment.at.wall_ms,
            duration_ms: elapsed_ms(in_flight.began),
            pause_us: u64::try_from(in_flight.moment.pause.as_micros()).unwrap_or(u64::MAX),
            bytes: in_flight.written_bytes,
        });
        if !in_flight.moment.is_last {
            view.metrics.checkpoints_taken.fetch_add(1, Relaxed);
            let pause_us = u64::try_from(in_flight.moment.pause.as_micros()).unwrap_or(u64::MAX);
            view.metrics.longest_pause_us.fetch_max(pause_us, Relaxed);
        }
        view.fail_points.reach("src.offset_commit");
        for (intake, positions) in view.intakes.iter().zip(in_flight.moment.positions) {
            if let Some(fetch) = &intake.fetch {
                fetch.checkpoint_complete(positions);
            }
        }
        let ended = in_flight.moment.is_last.then_some(in_flight.id);
        match (in_flight.moment.savepoint, in_flight.manifest) {
            (Some(request), Some(manifest)) => {
                let to = request.folder().to_owned();
                self.exporting = Some((request, ended));
                self.writer.ask(Work::Export { manifest, to })?;
            }
            _ => self.ended = ended,
        }
        self.writer.ask(Work::Sweep)
    }
}

/// What a keeper looks at while it moves a checkpoint on.
pub(crate) struct View<'a> {
    /// Dead letters of sinks that the checkpoint in flight has to keep.
    pub(crate) letters: &'a [Letter],
    pub(crate) plan: &'a StreamPlan,
    pub(crate) metrics: &'a Arc<Metrics>,
    pub(crate) intakes: &'a [Intake],
    pub(crate) fail_points: &'a super::control::FailPoints,
    /// Sink instances that hand over for every checkpoint.
    pub(crate) instances: usize,
}

/// The positions of all sources between two steps.
pub(crate) fn source_entries(intakes: &[Intake], operators: &[String]) -> Vec<SourceEntry> {
    let entry = |(intake, operator): (&Intake, &String)| SourceEntry {
        operator: operator.clone(),
        table: intake.table.clone(),
        splits: intake
            .splits
            .iter()
            .map(|s| SplitEntry { name: s.name.clone(), position: s.position, end: s.end })
            .collect(),
    };
    intakes.iter().zip(operators).map(entry).collect()
}

fn sink_entries(
    plan: &StreamPlan,
    ids: &[String],
    states: Vec<Vec<(usize, Vec<u8>)>>,
    open: &[OpenEpoch],
) -> Vec<SinkEntry> {
    let mut entries = Vec::new();
    for ((index, &node), mut states) in plan.sinks.iter().enumerate().zip(states) {
        let NodeKind::Sink(sink) = &plan.nodes[node].kind else { continue };
        states.sort_by_key(|(instance, _)| *instance);
        let pending = |epoch: &OpenEpoch| {
            let work: Vec<Vec<u8>> =
                epoch.work.iter().filter(|(s, _)| *s == index).map(|(_, work)| work.clone()).collect();
            (!work.is_empty()).then_some(PendingEntry { checkpoint: epoch.checkpoint, work })
        };
        entries.push(SinkEntry {
            operator: ids[node].clone(),
            table: sink.table.name.clone(),
            delivery: sink.info.delivery.to_owned(),
            states: states.into_iter().map(|(_, state)| state).collect(),
            pending: open.iter().filter_map(pending).collect(),
        });
    }
    entries
}

fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(env::monotonic().saturating_duration_since(began).as_millis()).unwrap_or(u64::MAX)
}
