//! The loop's side of a source: its splits, what was fetched and not yet processed, and how a step's tasks are cut from it.
//!
//! A position moves when its rows are taken into a step; a checkpoint is taken only between steps, so what was fetched ahead counts as
//! not read. When splits differ much in event time, a step takes from those that are behind, so that a catching-up job does not keep
//! hours of one partition in its windows while it waits for another.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wiesel_core::source::{RawBatch, RowsBatch, SourceEvent, Split, SplitIndex};
use wiesel_core::{Error, Result};

use super::fetch::{Fetch, event_bytes, raw_bytes, rows_bytes};
use super::metrics::SourceMetrics;
use super::worker::{Task, TaskInput};
use crate::time::SplitTime;

/// A decode task's size: large enough for vectors, small enough that several workers share a fetch.
const TASK_BYTES_MAX: usize = 1 << 20;
/// Smaller tasks cost more than they gain.
const TASK_BYTES_MIN: usize = 64 << 10;
/// Splits further ahead in event time than this wait for those behind.
const SKEW_MS_MAX: i64 = 60_000;

/// The loop's side of one source.
pub(crate) struct Intake {
    /// Index into the graph's list of sources.
    pub(crate) index: usize,
    /// The source's node in the plan.
    pub(crate) node: usize,
    pub(crate) table: String,
    pub(crate) is_bounded: bool,
    /// One split after the other: without a watermark per split, splits that are read side by side make each other's rows late.
    is_sequential: bool,
    /// `None` for constant rows.
    pub(crate) fetch: Option<Fetch>,
    pub(crate) is_open: bool,
    pub(crate) splits: Vec<SplitState>,
}

/// One split as the loop knows it.
pub(crate) struct SplitState {
    pub(crate) name: String,
    /// The position of the first row that no step has taken.
    pub(crate) position: i64,
    /// Where a bounded read ends, kept for a restart.
    pub(crate) end: Option<i64>,
    pending: VecDeque<Pending>,
    is_caught_up: bool,
    is_finished: bool,
    /// When it last brought something.
    heard_at_ms: i64,
    lag: u64,
}

enum Pending {
    Raw { batch: Arc<RawBatch>, from: usize },
    Rows(RowsBatch),
}

/// How much a step may still take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

impl Intake {
    pub(crate) fn new(index: usize, node: usize, table: String, is_bounded: bool, is_sequential: bool) -> Self {
        Intake { index, node, table, is_bounded, is_sequential, fetch: None, is_open: false, splits: Vec::new() }
    }

    /// Constant rows: a source that is open and at its end from the start.
    pub(crate) fn constant(index: usize, node: usize, batch: Option<RowsBatch>, position: i64) -> Self {
        let mut intake = Intake::new(index, node, String::new(), true, true);
        intake.is_open = true;
        let mut split = SplitState::new("values".to_owned(), position, 0);
        split.is_finished = true;
        split.pending.extend(batch.map(Pending::Rows));
        intake.splits.push(split);
        intake
    }

    /// Takes over what the source thread brought; says whether there was anything.
    pub(crate) fn drain(&mut self, now_ms: i64, metrics: Option<&SourceMetrics>) -> Result<bool> {
        let Some(fetch) = &self.fetch else { return Ok(false) };
        let delivery = fetch.take();
        let is_news = delivery.opened.is_some() || !delivery.events.is_empty();
        if let Some(splits) = delivery.opened {
            self.is_open = true;
            let state = |(split, end): (Split, Option<i64>)| SplitState {
                end,
                ..SplitState::new(split.name, split.start, now_ms)
            };
            self.splits = splits.into_iter().map(state).collect();
        }
        for event in delivery.events {
            self.apply(event, now_ms, metrics)?;
        }
        match delivery.error {
            Some(error) => Err(error.at(format!("table `{}`", self.table))),
            None => Ok(is_news),
        }
    }

    fn apply(&mut self, event: SourceEvent, now_ms: i64, metrics: Option<&SourceMetrics>) -> Result<()> {
        if let Some(metrics) = metrics {
            metrics.bytes.fetch_add(event_bytes(&event) as u64, Relaxed);
        }
        match event {
            SourceEvent::Raw(batch) => {
                let split = self.split(batch.split)?;
                split.heard(now_ms);
                if batch.records.is_empty() {
                    // Nothing but progress: aborted transactions, control records.
                    split.position_ahead(batch.next);
                } else {
                    split.pending.push_back(Pending::Raw { batch: Arc::new(batch), from: 0 });
                }
            }
            SourceEvent::Rows(batch) => {
                let split = self.split(batch.split)?;
                split.heard(now_ms);
                split.pending.push_back(Pending::Rows(batch));
            }
            SourceEvent::CaughtUp(index) => {
                let split = self.split(index)?;
                if !split.is_caught_up {
                    split.is_caught_up = true;
                    split.heard_at_ms = now_ms;
                }
            }
            SourceEvent::NewSplit(Split { name, start }) => self.splits.push(SplitState::new(name, start, now_ms)),
            SourceEvent::Finished(index) => self.split(index)?.is_finished = true,
            SourceEvent::Lag(index, rows) => {
                self.split(index)?.lag = rows;
                if let Some(metrics) = metrics {
                    metrics.lag.store(self.splits.iter().map(|s| s.lag).sum(), Relaxed);
                }
            }
            SourceEvent::Waiting(text) => {
                if let Some(metrics) = metrics {
                    metrics.set_waiting(text.map(|t| format!("table `{}`: {t}", self.table)));
                }
            }
        }
        Ok(())
    }

    fn split(&mut self, index: SplitIndex) -> Result<&mut SplitState> {
        let (table, count) = (&self.table, self.splits.len());
        let missing = || Error::internal(format!("source `{table}` spoke of split {index}, but has {count} splits"));
        self.splits.get_mut(index).ok_or_else(missing)
    }

    /// Whether rows wait to be taken.
    pub(crate) fn has_pending(&self) -> bool {
        self.splits.iter().any(|s| !s.pending.is_empty())
    }

    /// Whether everything that will ever come was taken.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_open && self.is_bounded && self.splits.iter().all(|s| s.is_finished && s.pending.is_empty())
    }

    /// The names of the splits.
    pub(crate) fn split_names(&self) -> Vec<String> {
        self.splits.iter().map(|split| split.name.clone()).collect()
    }

    /// The position of every split.
    pub(crate) fn positions(&self) -> Vec<(SplitIndex, i64)> {
        self.splits.iter().map(|s| s.position).enumerate().collect()
    }

    /// The splits as the watermark generators see them.
    pub(crate) fn split_times(&self) -> Vec<SplitTime> {
        self.splits
            .iter()
            .map(|s| SplitTime {
                is_finished: s.is_finished && s.pending.is_empty(),
                silent_since_ms: (s.is_caught_up && s.pending.is_empty()).then_some(s.heard_at_ms),
            })
            .collect()
    }

    /// Cuts tasks within the budget, split by split (side by side, unless the source is sequential), and returns the rows and bytes taken. `event_time` says how far each split is.
    pub(crate) fn take(
        &mut self,
        budget: Budget,
        workers: usize,
        event_time: impl Fn(SplitIndex) -> Option<i64>,
        tasks: &mut Vec<Task>,
    ) -> Budget {
        let times: Vec<Option<i64>> = (0..self.splits.len()).map(event_time).collect();
        let ready: Vec<SplitIndex> = (0..self.splits.len()).filter(|&s| !self.splits[s].pending.is_empty()).collect();
        let slowest = ready.iter().filter_map(|&s| times[s]).min();
        let is_near = |split: &SplitIndex| match (slowest, times[*split]) {
            (Some(slowest), Some(time)) => time.saturating_sub(slowest) <= SKEW_MS_MAX,
            _ => true,
        };
        let chosen: Vec<SplitIndex> = ready.into_iter().filter(is_near).collect();
        let mut taken = Budget { rows: 0, bytes: 0 };
        let shares = if self.is_sequential { 1 } else { chosen.len().max(1) };
        let share = Budget { rows: budget.rows.div_ceil(shares), bytes: budget.bytes / shares };
        let task_bytes = (budget.bytes / workers).clamp(TASK_BYTES_MIN, TASK_BYTES_MAX);
        let mut done_bytes = 0;
        for split in chosen {
            let state = &mut self.splits[split];
            let mut left = share;
            if self.is_sequential {
                left.rows = budget.rows.saturating_sub(taken.rows);
                left.bytes = budget.bytes.saturating_sub(taken.bytes);
            }
            while left.rows > 0 && left.bytes > 0 {
                let Some((task, rows, bytes, done)) = state.next_task(left, task_bytes) else { break };
                left.rows = left.rows.saturating_sub(rows);
                left.bytes = left.bytes.saturating_sub(bytes);
                taken.rows += rows;
                taken.bytes += bytes;
                done_bytes += done;
                tasks.push(Task { source: self.index, split, input: task });
            }
        }
        if let Some(fetch) = &self.fetch {
            fetch.release(done_bytes);
        }
        taken
    }
}

impl SplitState {
    fn new(name: String, position: i64, now_ms: i64) -> Self {
        SplitState {
            name,
            position,
            end: None,
            pending: VecDeque::new(),
            is_caught_up: false,
            is_finished: false,
            heard_at_ms: now_ms,
            lag: 0,
        }
    }

    fn heard(&mut self, now_ms: i64) {
        self.is_caught_up = false;
        self.heard_at_ms = now_ms;
    }

    fn position_ahead(&mut self, next: i64) {
        if self.pending.is_empty() {
            self.position = self.position.max(next);
        }
    }

    /// The next task, its rows and bytes, and the bytes whose memory it was the last to need.
    fn next_task(&mut self, left: Budget, task_bytes: usize) -> Option<(TaskInput, usize, usize, usize)> {
        match self.pending.pop_front()? {
            Pending::Rows(batch) => {
                self.position = batch.next;
                let (rows, bytes) = (batch.rows.num_rows(), rows_bytes(&batch));
                Some((TaskInput::Rows(batch.rows), rows, bytes, bytes))
            }
            Pending::Raw { batch, from } => {
                let size = raw_bytes(&batch);
                let record_bytes = (size / batch.records.len().max(1)).max(1);
                let most = (task_bytes.min(left.bytes) / record_bytes).clamp(1, left.rows.max(1));
                let to = from.saturating_add(most).min(batch.records.len());
                let (rows, bytes) = (to - from, (to - from) * record_bytes);
                let is_last = to == batch.records.len();
                self.position = if is_last { batch.next } else { batch.records[to].offset };
                if !is_last {
                    self.pending.push_front(Pending::Raw { batch: Arc::clone(&batch), from: to });
                }
                Some((TaskInput::Raw(batch, from..to), rows, bytes, if is_last { size } else { 0 }))
            }
        }
    }
}
