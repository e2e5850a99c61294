//! Where changes go. A sink takes a step's changes on a worker thread and sends them in the background.
//!
//! A checkpoint passes through a sink in three parts: [`Sink::prepare`] (between two steps: everything up to here belongs to checkpoint
//! n), [`Sink::poll_prepared`] until the work is safe, then, after the manifest is durable, [`SinkFactory::commit`] makes it visible.
//! Sinks that only need "everything up to here was acknowledged" return empty pending work and have nothing to commit.

use crate::change::ChangeBatch;
use crate::env::Waker;
use crate::error::Result;

/// How many instances of a sink a job opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkParallelism {
    /// One, fed by all workers in order (print).
    One,
    /// One per worker; changes of one primary key always reach the same one.
    PerWorker,
}

/// What a sink needs from its job.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// Which instance this is.
    pub instance: usize,
    /// How many there are.
    pub instances: usize,
    /// What [`Prepared::state`] of the restored checkpoint said, of every instance that existed then; empty for a fresh start.
    pub restored: Vec<Vec<u8>>,
    /// Called when an answer arrived, so that a parked loop looks again.
    pub waker: Waker,
}

/// What a sink instance hands over for a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Work that [`SinkFactory::commit`] makes visible; empty: nothing to do.
    pub pending: Vec<u8>,
    /// What the instance must know after a restart (open file names, counters).
    pub state: Vec<u8>,
}

/// Why a checkpoint is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKind {
    /// The interval is over.
    Periodic,
    /// The job stops and will resume (SIGTERM): files of this epoch are closed and commit.
    Stop,
    /// The input ended: everything commits, nothing resumes.
    Final,
}

/// Whether a sink can take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkStatus {
    /// Ready; the number is the wall-clock ms at which it wants to be called again at the latest (flush interval, rolling check).
    Ready(Option<i64>),
    /// Its bounded buffer is full: the loop waits for the waker and asks again.
    Full,
    /// What it keeps until the next checkpoint has reached its bound: the loop takes one now and feeds nothing until then.
    NeedsCheckpoint,
}

/// With what a run begins, as a sink that keeps its own record of epochs must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStart {
    /// No checkpoint was there.
    Fresh,
    /// Anew by request, or a fall-back that was allowed to write rows twice.
    OnRequest,
    /// From this checkpoint, or from the end of the last run, which this checkpoint is.
    After(u64),
}

/// A run takes a sink over.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// With what it begins.
    pub start: RunStart,
    /// What [`Prepared::state`] of that checkpoint said, of every instance that existed then.
    pub restored: &'a [Vec<u8>],
    /// The positions of the sources in that checkpoint, for messages: `orders-0 at 1500`.
    pub positions: &'a str,
}

/// Counters of a sink instance; `received = delivered + folded + refused` once everything is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkCounters {
    /// Changes taken.
    pub received: u64,
    /// Changes acknowledged by the system (or written to a file).
    pub delivered: u64,
    /// Changes that a later one of the same key replaced before sending.
    pub folded: u64,
    /// Changes the system refused.
    pub refused: u64,
    /// Requests that were sent again.
    pub retried: u64,
}

/// A row that the system refused, handed over instead of ending the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// The row, as JSON.
    pub row: Vec<u8>,
    /// The system's words.
    pub reason: String,
}

/// Makes the instances of one sink and commits their work.
pub trait SinkFactory: Send + Sync {
    /// How many instances to open.
    fn parallelism(&self) -> SinkParallelism;
    /// Claims the sink for this run in the system itself, before anything is committed or opened: from then on a run that claimed it
    /// earlier is refused there. Sinks without a record of their own have nothing to claim. `Unavailable` errors are retried.
    fn claim(&self, _claim: &Claim<'_>) -> Result<()> {
        Ok(())
    }
    /// Whether [`SinkFactory::claim`] knows what the system has committed, so that it can tell whether a run would write rows twice.
    fn keeps_record(&self) -> bool {
        false
    }
    /// Opens one instance. Errors of kind `Unavailable` are retried by the engine.
    fn open(&self, context: SinkContext) -> Result<Box<dyn Sink>>;
    /// Makes prepared work visible. Idempotent: repeated after a crash with the same bytes. `Unavailable` errors are retried.
    fn commit(&self, checkpoint: u64, pending: &[Vec<u8>]) -> Result<()>;
    /// Removes what a crashed run left behind and no checkpoint knows; called once before the first `open`, with the restored states.
    fn recover(&self, restored: &[Vec<u8>]) -> Result<()>;
}

/// One instance of a sink. Lives on one worker thread.
///
/// Contract:
/// - `write` never waits for the outside: it appends to a bounded buffer and returns (trusted); the loop stops feeding after `Full`;
/// - changes of one key are applied in the order written (trusted);
/// - an outage that may heal is retried inside with back-off; `waiting_for` says what is waited for;
/// - an error from any call ends the job; nothing committed before is touched.
pub trait Sink: Send {
    /// Takes changes.
    fn write(&mut self, batch: &ChangeBatch) -> Result<()>;
    /// Called at the end of every step and at the asked-for time: sends what is due, reads answers.
    fn step_end(&mut self, now_ms: i64) -> Result<SinkStatus>;
    /// The watermark up to which the rows written so far are complete; told before each [`Sink::prepare`].
    fn watermark(&mut self, _watermark_ms: i64) {}
    /// Begins checkpoint `checkpoint`: everything written so far belongs to it.
    fn prepare(&mut self, checkpoint: u64, kind: CheckpointKind) -> Result<()>;
    /// The result of the last `prepare` once it is safe; `None` while answers are outstanding.
    fn poll_prepared(&mut self) -> Result<Option<Prepared>>;
    /// Rows that the system refused since the last call, with [`crate::table::SinkRequest::hands_over_refused`]; else a refused row is an
    /// error. Called after [`Sink::step_end`] and [`Sink::poll_prepared`].
    fn take_refused(&mut self) -> Vec<RefusedRow> {
        Vec::new()
    }
    /// What the sink waits for, when the system is away.
    fn waiting_for(&self) -> Option<String>;
    /// The counters.
    fn counters(&self) -> SinkCounters;
}
