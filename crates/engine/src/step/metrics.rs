//! The counters of a running job, shared with whoever shows them. Writing one is an atomic add; a text (what is waited for) sits behind a
//! mutex that is taken only when the text changes.
//!
//! The counters add up: per source `fetched = rows + skipped + refused` (where one record is one row), per edge what a node gives is what
//! the next one takes, per sink `received = delivered + folded + refused` once everything is acknowledged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use wiesel_core::sink::SinkCounters;
use wiesel_plan::{NodeId, NodeKind, StreamPlan};

use crate::checkpoint::identity::label;

/// Notes kept for whoever prints them; older ones are dropped when nobody does.
const NOTES_MAX: usize = 64;

/// The counters of one job.
#[derive(Debug, Default)]
pub struct Metrics {
    /// One per source, in plan order.
    pub sources: Vec<SourceMetrics>,
    /// One per sink, in statement order.
    pub sinks: Vec<SinkMetrics>,
    /// One per plan node, by [`wiesel_plan::NodeId`].
    pub nodes: Vec<NodeMetrics>,
    /// Steps run.
    pub steps: AtomicU64,
    /// The lowest watermark of all sources that make one; `i64::MIN` before the first, `i64::MAX` at the end.
    pub watermark_ms: AtomicI64,
    /// Bytes of operator state.
    pub state_bytes: AtomicU64,
    /// Rows dropped because they came behind the watermark.
    pub late_rows: AtomicU64,
    /// Checkpoints that could not be written, or took longer than their timeout.
    pub checkpoints_failed: AtomicU64,
    /// Checkpoints that were taken while the job went on.
    pub checkpoints_taken: AtomicU64,
    /// The longest time in microseconds that no row was processed because of one of them, at a time.
    pub longest_pause_us: AtomicU64,
    checkpoint: Mutex<Option<CheckpointSummary>>,
    waiting: Mutex<Option<String>>,
    notes: Mutex<VecDeque<String>>,
}

/// The counters of one source.
#[derive(Debug, Default)]
pub struct SourceMetrics {
    /// The source's node in the plan.
    pub node: usize,
    /// The table.
    pub table: String,
    /// Records brought by the connector into finished steps.
    pub fetched: AtomicU64,
    /// Rows decoded.
    pub rows: AtomicU64,
    /// Records dropped by the format's own rules.
    pub skipped: AtomicU64,
    /// Records that ended the job.
    pub refused: AtomicU64,
    /// Bytes brought.
    pub bytes: AtomicU64,
    /// Rows still to come, as far as the source knows.
    pub lag: AtomicU64,
    waiting: Mutex<Option<String>>,
}

/// The counters of one sink, summed over its instances.
#[derive(Debug, Default)]
pub struct SinkMetrics {
    /// The table; empty for a query that is shown.
    pub table: String,
    /// The delivery word.
    pub delivery: &'static str,
    /// Changes taken.
    pub received: AtomicU64,
    /// Changes acknowledged.
    pub delivered: AtomicU64,
    /// Changes replaced by a later one of the same key before sending.
    pub folded: AtomicU64,
    /// Changes the system refused.
    pub refused: AtomicU64,
    /// Requests sent again.
    pub retried: AtomicU64,
    /// Rows dropped by `table.exec.sink.not-null-enforcer` = DROP, before the sink.
    pub null_rows_dropped: AtomicU64,
    waiting: Mutex<Option<String>>,
}

/// The counters of one plan node.
#[derive(Debug, Default)]
pub struct NodeMetrics {
    /// The node's label in the plan.
    pub label: String,
    /// The nodes whose rows it takes, exchanges left out.
    pub inputs: Vec<usize>,
    /// Rows taken.
    pub rows_in: AtomicU64,
    /// Rows given.
    pub rows_out: AtomicU64,
    /// Time spent, summed over workers; the largest is the slowest part.
    pub busy_ns: AtomicU64,
    /// Rows dropped because they came behind the watermark.
    pub late_rows: AtomicU64,
    /// Retractions that found nothing to take back.
    pub ignored_retractions: AtomicU64,
    /// Bytes of state.
    pub state_bytes: AtomicU64,
}

/// The last finished checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointSummary {
    /// Its id.
    pub id: u64,
    /// When it began, wall-clock ms.
    pub time_ms: i64,
    /// From its begin until its work was committed.
    pub duration_ms: u64,
    /// The longest time that no row was processed because of it, at a time, in microseconds.
    pub pause_us: u64,
    /// Bytes written for it.
    pub bytes: u64,
}

impl Metrics {
    /// Counters at zero for the parts of a plan.
    pub fn new(plan: &StreamPlan) -> Self {
        let mut metrics = Metrics { watermark_ms: AtomicI64::new(i64::MIN), ..Metrics::default() };
        for (id, node) in plan.nodes.iter().enumerate() {
            let inputs = node.inputs.iter().map(|&input| behind_exchanges(plan, input)).collect();
            metrics.nodes.push(NodeMetrics { label: label(plan, node), inputs, ..NodeMetrics::default() });
            if let NodeKind::Source(source) = &node.kind {
                let table = source.table.name.clone();
                metrics.sources.push(SourceMetrics { node: id, table, ..SourceMetrics::default() });
            }
        }
        for &sink in &plan.sinks {
            metrics.sinks.push(match plan.nodes.get(sink).map(|n| &n.kind) {
                Some(NodeKind::Sink(sink)) => SinkMetrics {
                    table: sink.table.name.clone(),
                    delivery: sink.info.delivery,
                    ..SinkMetrics::default()
                },
                _ => SinkMetrics::default(),
            });
        }
        metrics
    }

    /// The last finished checkpoint of this run.
    pub fn checkpoint(&self) -> Option<CheckpointSummary> {
        *lock(&self.checkpoint)
    }

    /// Everything that is waited for right now, one text each.
    pub fn waiting(&self) -> Vec<String> {
        self.waiting_by_part().into_iter().flatten().collect()
    }

    /// What each part waits for, in an order that stays: the sources, the sinks, the job itself. A part that goes from `None` to a text
    /// has begun to wait, however often the text changes after that.
    pub fn waiting_by_part(&self) -> Vec<Option<String>> {
        let sources = self.sources.iter().map(|s| &s.waiting);
        let sinks = self.sinks.iter().map(|s| &s.waiting);
        sources.chain(sinks).chain([&self.waiting]).map(|text| lock(text).clone()).collect()
    }

    /// Takes the notes that came since the last call: things a user should read that do not end the job.
    pub fn take_notes(&self) -> Vec<String> {
        lock(&self.notes).drain(..).collect()
    }

    /// The node that was busy longest, with its time in ns.
    pub fn slowest(&self) -> Option<(&NodeMetrics, u64)> {
        self.nodes.iter().map(|n| (n, n.busy_ns.load(Relaxed))).max_by_key(|(_, ns)| *ns)
    }

    /// The counters of the source at a node of the plan; constant rows have none.
    pub(crate) fn source_of(&self, node: usize) -> Option<&SourceMetrics> {
        self.sources.iter().find(|s| s.node == node)
    }

    pub(crate) fn note(&self, text: impl Into<String>) {
        let mut notes = lock(&self.notes);
        if notes.len() == NOTES_MAX {
            notes.pop_front();
        }
        notes.push_back(text.into());
    }

    pub(crate) fn set_checkpoint(&self, summary: CheckpointSummary) {
        *lock(&self.checkpoint) = Some(summary);
    }

    pub(crate) fn set_waiting(&self, text: Option<String>) {
        *lock(&self.waiting) = text;
    }
}

impl SourceMetrics {
    /// What the source waits for, when its system is away.
    pub fn waiting(&self) -> Option<String> {
        lock(&self.waiting).clone()
    }

    pub(crate) fn set_waiting(&self, text: Option<String>) {
        *lock(&self.waiting) = text;
    }
}

impl SinkMetrics {
    /// What the sink waits for, when its system is away.
    pub fn waiting(&self) -> Option<String> {
        lock(&self.waiting).clone()
    }

    pub(crate) fn set_waiting(&self, text: Option<String>) {
        *lock(&self.waiting) = text;
    }

    /// Shows the sums over all instances.
    pub(crate) fn set(&self, sums: &SinkCounters) {
        self.received.store(sums.received, Relaxed);
        self.delivered.store(sums.delivered, Relaxed);
        self.folded.store(sums.folded, Relaxed);
        self.refused.store(sums.refused, Relaxed);
        self.retried.store(sums.retried, Relaxed);
    }
}

/// An exchange has no counters: what goes in comes out.
fn behind_exchanges(plan: &StreamPlan, mut id: NodeId) -> NodeId {
    while let Some(node) = plan.nodes.get(id)
        && let (NodeKind::Exchange(_), Some(&input)) = (&node.kind, node.inputs.first())
    {
        id = input;
    }
    id
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
