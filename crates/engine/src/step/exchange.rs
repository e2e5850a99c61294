//! Brings rows of equal keys to one worker: in-memory hand-overs, one per consumer.
//!
//! Order is fixed: batches carry a tag (the decode task's index, behind those the producing worker), and a consumer sorts by it, so it
//! sees the same order whichever worker decoded what. A buffer needs no bound of its own: the step's bound on rows and bytes is its bound,
//! so no worker ever waits on a full hand-over.

use std::sync::Mutex;

use arrow_array::UInt32Array;
use arrow_select::take::take_record_batch;
use wiesel_core::{ChangeBatch, Result};
use wiesel_plan::Distribution;

use super::metrics::lock;
use crate::state::vnode::{KeyHasher, worker_of_hash};
use crate::time::EdgeTime;

/// Where a batch stands in the step's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(u64);

impl Tag {
    const BEHIND_TASKS: u64 = 1 << 40;

    /// Output of a decode task.
    pub(crate) fn task(index: usize) -> Tag {
        Tag(index as u64)
    }

    /// Output of a worker after all tasks.
    pub(crate) fn worker(worker: usize) -> Tag {
        Tag(Tag::BEHIND_TASKS + worker as u64)
    }
}

/// A batch with its place in the step's order.
pub(crate) type Tagged = (Tag, ChangeBatch);

/// The hand-overs of one exchange.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    /// By consumer. The mutex is held for one push or one take.
    boxes: Vec<Mutex<Vec<Tagged>>>,
    /// By producer.
    times: Vec<Mutex<EdgeTime>>,
}

impl Mailboxes {
    pub(crate) fn new(workers: usize) -> Self {
        Mailboxes {
            boxes: (0..workers).map(|_| Mutex::default()).collect(),
            times: (0..workers).map(|_| Mutex::new(EdgeTime::START)).collect(),
        }
    }

    pub(crate) fn send(&self, consumer: usize, tag: Tag, batch: ChangeBatch) {
        lock(&self.boxes[consumer]).push((tag, batch));
    }

    /// Everything for a consumer, in order.
    pub(crate) fn receive(&self, consumer: usize) -> Vec<Tagged> {
        let mut batches = std::mem::take(&mut *lock(&self.boxes[consumer]));
        // Stable: what one worker sent under one tag stays in its order.
        batches.sort_by_key(|(tag, _)| *tag);
        batches
    }

    pub(crate) fn set_time(&self, producer: usize, time: EdgeTime) {
        *lock(&self.times[producer]) = time;
    }

    /// The minimum over active producers.
    pub(crate) fn time(&self, last: i64) -> EdgeTime {
        EdgeTime::combine(last, self.times.iter().map(|t| *lock(t)))
    }
}

/// Decides the worker of each row.
pub(crate) struct Splitter {
    workers: usize,
    hasher: Option<KeyHasher>,
    rows_of: Vec<Vec<u32>>,
}

impl Splitter {
    pub(crate) fn new(distribution: &Distribution, workers: usize) -> Self {
        let hasher = match distribution {
            Distribution::Single => None,
            Distribution::Hash(keys) => Some(KeyHasher::new(keys.clone())),
        };
        Splitter { workers, hasher, rows_of: vec![Vec::new(); workers] }
    }

    /// Cuts a batch by consumer; `send` gets each part that holds rows.
    pub(crate) fn split(&mut self, batch: ChangeBatch, mut send: impl FnMut(usize, ChangeBatch)) -> Result<()> {
        let Some(hasher) = &mut self.hasher else {
            send(0, batch);
            return Ok(());
        };
        self.rows_of.iter_mut().for_each(Vec::clear);
        for (row, hash) in (0_u32..).zip(hasher.hash(&batch.rows)?) {
            self.rows_of[worker_of_hash(*hash, self.workers)].push(row);
        }
        for (worker, rows) in self.rows_of.iter().enumerate() {
            if rows.len() == batch.len() {
                send(worker, batch);
                return Ok(());
            }
            if !rows.is_empty() {
                send(worker, take_changes(&batch, rows)?);
            }
        }
        Ok(())
    }
}

/// The given rows of a batch; columns are copied once.
pub(crate) fn take_changes(batch: &ChangeBatch, rows: &[u32]) -> Result<ChangeBatch> {
    let taken = take_record_batch(&batch.rows, &UInt32Array::from(rows.to_vec()))?;
    let kinds = batch.kinds.as_ref().map(|kinds| rows.iter().map(|&row| kinds[row as usize]).collect());
    Ok(ChangeBatch { rows: taken, kinds })
}
