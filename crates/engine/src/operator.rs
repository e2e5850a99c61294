//! The contract between the step loop and operators: two calls per step, and three for checkpoints.
//!
//! Within a step an operator gets everything of the step in `process` (what its upstream fired in this step included), then one
//! `advance`, then the next operator down runs. Across an exchange the consumer starts when all producers are done.

use wiesel_core::{ChangeBatch, Error, Result};
use wiesel_expr::EvalContext;
use wiesel_expr::refusal::Refusal;

use crate::state::store::StateStore;
use crate::state::vnode::{vnode_of_key, worker_of_vnode};

/// The watermark before any row, and the one after the last row of a bounded input.
pub const WATERMARK_MIN: i64 = i64::MIN;
/// See [`WATERMARK_MIN`].
pub const WATERMARK_MAX: i64 = i64::MAX;

/// Where an operator puts its output, in order. Bounded by the step's own row and byte bound times the operator's fan-out.
#[derive(Debug, Default)]
pub struct Output {
    /// The batches emitted so far; none is empty.
    pub batches: Vec<ChangeBatch>,
    /// Rows that functions refused: they become dead letters.
    pub refused: Vec<Refusal>,
}

impl Output {
    /// Emits a batch; empty ones vanish.
    pub fn emit(&mut self, batch: ChangeBatch) {
        if !batch.is_empty() {
            self.batches.push(batch);
        }
    }
}

/// Receives the state an operator writes out for a checkpoint.
pub trait StateWriter {
    /// A new or changed entry of a table.
    fn put(&mut self, table: u8, vnode: u8, key: &[u8], value: &[u8]);
    /// An entry that is gone.
    fn delete(&mut self, table: u8, vnode: u8, key: &[u8]);
    /// All entries whose key begins with `prefix` are gone, in all vnodes (a closed window).
    fn delete_prefix(&mut self, table: u8, prefix: &[u8]);
}

/// A streaming operator of one worker. It owns the keys whose vnode maps to the worker (any key when it keeps no state by key).
///
/// Contract:
/// - it reads no clock, no random numbers, no environment: `context` carries the step's one reading (checked by a lint on the crate);
/// - output depends on the order of rows per key only, not on how they are cut into batches or steps (tested as a property);
/// - `snapshot` writes what changed since the last one (all of it when `full`), and `restore` of those entries into a fresh operator
///   gives an operator that answers the same;
/// - a watermark never goes back (asserted).
pub trait Operator: Send {
    /// Takes rows on an input port.
    fn process(&mut self, port: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()>;
    /// The step's rows are all in; event time stands at `watermark` (minimum over the ports), wall clock at `context.now_ms`.
    /// Fires what is due and returns the watermark of the output, which an operator that keeps rows holds back.
    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64>;
    /// A checkpoint follows this step's `advance`: emits what the operator holds back only to send less (mini-batch), so that the
    /// checkpoint need not hold it. Operators downstream process it, and flush in turn, before anyone takes a snapshot.
    fn flush(&mut self, _context: &EvalContext, _output: &mut Output) -> Result<()> {
        Ok(())
    }
    /// Whether `advance` stopped before everything that is due was emitted, because it would not fit into memory at once. It is then called
    /// again, at the same watermark or a later one, before any row, checkpoint or eviction; until it is done it holds its watermark back.
    fn is_firing(&self) -> bool {
        false
    }
    /// The wall-clock time (ms) at which `advance` must be called even if nothing arrives; `None` without timers.
    fn next_timer_ms(&self) -> Option<i64> {
        None
    }
    /// Writes state entries: changed ones, or all when `full`. Deletes come before puts, and the writer must keep the order of calls:
    /// a key that is deleted and then put again is there.
    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()>;
    /// Draws the line of a checkpoint: what the operator holds now is what the checkpoint gets, however it goes on. Returns whether all of
    /// it is written; if not, `snapshot_part` is called between later steps until it says so, and before the next line. An operator whose
    /// state may be large writes here only what is small, and copies aside what changes before it is written.
    fn freeze(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<bool> {
        self.snapshot(full, writer)?;
        Ok(true)
    }
    /// Writes some more entries of the checkpoint whose line was drawn last, about so many; returns whether those were all. Of one key that
    /// is deleted and put in the parts of one checkpoint, the put counts.
    fn snapshot_part(&mut self, _entries: usize, _writer: &mut dyn StateWriter) -> Result<bool> {
        Ok(true)
    }
    /// Takes back one entry. Called before the first `process`, for every entry whose vnode this worker owns, in no fixed order.
    fn restore(&mut self, table: u8, vnode: u8, key: &[u8], value: &[u8]) -> Result<()>;
    /// Called once after the last `restore` with the watermark the operator's input stood at.
    fn restored(&mut self, watermark: i64) -> Result<()>;
    /// Whether the operator can go on when all of its state lies in the store: it then loads what a batch asks for.
    fn spills(&self) -> bool {
        false
    }
    /// Forgets all state in memory and loads it from `store` as it is asked for, from now on. Called between two steps, right after a
    /// `snapshot` whose entries went into the store, so the store holds everything; and before the first `process` when a restored job
    /// begins with a store. An operator that holds something back which is not in its tables stays as it is.
    fn evict(&mut self, _store: &StateStore) -> Result<()> {
        Ok(())
    }
    /// Bytes of memory that the operator's state holds, counted by capacity.
    fn state_bytes(&self) -> usize;
    /// Rows dropped because they came behind the watermark.
    fn late_rows(&self) -> u64 {
        0
    }
    /// Retractions that found nothing to take back (the key was never there, or its time to live had passed) and were dropped.
    fn ignored_retractions(&self) -> u64 {
        0
    }
}

/// An operator that keeps nothing from one step to the next: what it is given is all it answers from.
pub(crate) trait Stateless: Send {
    /// What to say when a checkpoint holds state for it after all.
    const NO_STATE: &'static str;
    /// Takes rows on an input port.
    fn take(&mut self, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()>;
    /// The step's rows are all in.
    fn end_step(&mut self, _context: &EvalContext, _output: &mut Output) -> Result<()> {
        Ok(())
    }
    /// Bytes of the buffers that it uses again.
    fn buffer_bytes(&self) -> usize {
        0
    }
}

impl<T: Stateless> Operator for T {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        self.take(batch, context, output)
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        self.end_step(context, output)?;
        Ok(watermark)
    }

    fn snapshot(&mut self, _: bool, _: &mut dyn StateWriter) -> Result<()> {
        Ok(())
    }

    fn restore(&mut self, _: u8, _: u8, _: &[u8], _: &[u8]) -> Result<()> {
        Err(Error::internal(T::NO_STATE))
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.buffer_bytes()
    }
}

/// What an operator needs to be built besides its node.
#[derive(Debug, Clone)]
pub struct OperatorContext {
    /// Which worker it runs on.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
    /// Whether the job runs in batch mode.
    pub is_batch: bool,
}

impl OperatorContext {
    /// The virtual nodes whose keys the operator owns. Without keys there is one group, which lives on one worker, whichever that is.
    pub(crate) fn vnodes(&self, has_keys: bool) -> Vec<u8> {
        if !has_keys {
            return vec![vnode_of_key(&[])];
        }
        (0..=u8::MAX).filter(|vnode| worker_of_vnode(*vnode, self.workers) == self.worker).collect()
    }
}
