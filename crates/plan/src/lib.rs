//! StreamPlan: the plan of a job as a small graph of streaming nodes, each carrying its traits.
//!
//! It stands between SQL text and operators and can be built without any text (a table API would build it directly). Nodes live in one
//! list in topological order, inputs before users; a node used twice (STATEMENT SET: one source, several sinks) is shared. Types are
//! decided, expressions are over the columns of the node's input, and nothing here knows how an operator works.
//!
//! ```text
//! Source -> WatermarkAssigner -> Calc -> Exchange -> GroupAggregate -> Calc -> Sink
//! ```

mod batch;
pub mod explain;
pub mod join;
mod match_recognize;
mod over;
mod rank;
pub mod restart;
pub mod state_size;

use std::sync::Arc;

use wiesel_core::table::{ConnectorInfo, TableDescriptor};
use wiesel_core::{ChangelogMode, Schema, Value};
use wiesel_expr::{AggregateCall, ScalarExpr};

pub use self::batch::{BatchFrame, BatchOverCall, BatchOverNode, FrameUnit};
pub use self::join::{JoinForm, JoinKey, JoinKind, JoinNode, JoinSide, LookupJoinNode};
pub use self::match_recognize::{
    AfterMatchSkip, MatchRecognizeNode, PatternExpr, PatternSlot, PatternVariable, SlotSource,
};
pub use self::over::{ChangelogNormalizeNode, MaterializeNode, OverCall, OverFrame, OverNode, SortNode};
pub use self::rank::{RankEnd, RankNode, RankStrategy};

/// A node's place in [`StreamPlan::nodes`].
pub type NodeId = usize;

/// The plan of one job (one loop): one connected component of a STATEMENT SET, or one INSERT, or one SELECT.
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// `pipeline.name`, else Flink's default name for the statement.
    pub job_name: String,
    /// All nodes, inputs before users.
    pub nodes: Vec<Node>,
    /// The sinks, in statement order.
    pub sinks: Vec<NodeId>,
    /// Where dead letters enter: a source without rows, under the sink that takes them. `None`: a refused row ends the job.
    pub dead_letters: Option<NodeId>,
}

impl StreamPlan {
    /// Whether a source of it has no end.
    pub fn is_endless(&self) -> bool {
        self.nodes.iter().any(|node| matches!(&node.kind, NodeKind::Source(source) if !source.info.is_bounded))
    }

    /// Whether a node is the source or the sink of dead letters.
    pub fn is_of_dead_letters(&self, id: NodeId) -> bool {
        let inputs = self.nodes.get(id).map_or(&[][..], |node| &node.inputs);
        self.dead_letters.is_some_and(|source| id == source || inputs.contains(&source))
    }
}

/// One node with its traits.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it computes.
    pub kind: NodeKind,
    /// Where its rows come from, by port.
    pub inputs: Vec<NodeId>,
    /// The columns it gives.
    pub schema: Schema,
    /// The kinds of change it gives; inferred from the sinks backwards, so nobody makes a -U that nobody reads.
    pub changelog_mode: ChangelogMode,
    /// Column sets that identify a row of an updating stream; empty when none is known.
    pub upsert_keys: Vec<Vec<usize>>,
    /// The column that is the event-time attribute, when one is.
    pub rowtime: Option<usize>,
    /// Where in the SQL text it comes from, for errors and EXPLAIN: a short fragment.
    pub label: String,
}

/// What a node computes.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Rows of a table. Gives exactly the requested columns; watermarks and computed columns come in nodes above.
    Source(SourceNode),
    /// Constant rows, then the end.
    Values(Vec<Vec<Value>>),
    /// Makes watermarks from a column (design: Time). Directly above a source, computed columns first when the watermark needs them.
    Watermark(WatermarkNode),
    /// Filter, then projection.
    Calc(CalcNode),
    /// Brings rows of equal keys to one worker, or all rows to one worker.
    Exchange(Distribution),
    /// GROUP BY without windows.
    GroupAggregate(GroupAggregateNode),
    /// Aggregation per window and key, emitted when the watermark (or the clock) passes the window's end.
    WindowAggregate(WindowAggregateNode),
    /// A window table function without aggregation: adds window_start, window_end, window_time.
    WindowTable(WindowNode),
    /// SESSION as a table function without aggregation: rows are held until their session ends.
    SessionTable(SessionTableNode),
    /// ROW_NUMBER() per window: the first rows of each window and key, when the window ends.
    WindowRank(WindowRankNode),
    /// MATCH_RECOGNIZE: one row per match of a row pattern.
    MatchRecognize(MatchRecognizeNode),
    /// GROUPING SETS: every row once per set, the keys outside of the set NULL.
    Expand(ExpandNode),
    /// UNNEST: a row per element of a collection.
    Unnest(UnnestNode),
    /// ROW_NUMBER() ... = 1 over a time attribute.
    Deduplicate(DeduplicateNode),
    /// ROW_NUMBER() within bounds, ORDER BY with LIMIT, LIMIT.
    Rank(RankNode),
    /// A join of two inputs.
    Join(JoinNode),
    /// Aggregates OVER the rows before, in the order of time.
    Over(OverNode),
    /// ORDER BY with a time attribute in front.
    Sort(SortNode),
    /// Batch mode: the rows that stand at the end, ordered.
    BatchSort(Vec<SortColumn>),
    /// Batch mode: functions over the ordered rows of a partition.
    BatchOver(BatchOverNode),
    /// Every row as often as its last column says; output columns: the others.
    Replicate,
    /// The upsert materializer in front of a sink whose primary key is not the key of the changes.
    Materialize(MaterializeNode),
    /// The last row of each primary key of a source that gives upserts or repeats its changes.
    ChangelogNormalize(ChangelogNormalizeNode),
    /// A lookup in an external table.
    LookupJoin(LookupJoinNode),
    /// UNION ALL.
    UnionAll,
    /// Writes to a table.
    Sink(SinkNode),
    /// Shows rows to whoever runs the query (a bare SELECT).
    Collect,
}

/// A table read.
#[derive(Debug, Clone)]
pub struct SourceNode {
    /// The table.
    pub table: Arc<TableDescriptor>,
    /// Indices into the table's columns, in the order of the node's schema.
    pub columns: Vec<usize>,
    /// What its connector can do.
    pub info: ConnectorInfo,
}

/// Watermark generation.
#[derive(Debug, Clone)]
pub struct WatermarkNode {
    /// The rowtime column.
    pub rowtime: usize,
    /// The watermark of a row, over the node's input; NULL makes no progress. Its type is TIMESTAMP or TIMESTAMP_LTZ(0..=3).
    pub expr: ScalarExpr,
    /// One generator per split inside the source (kafka), or one per table with the step cut at disorder (all others).
    pub push_down: bool,
    /// A split that is caught up and silent for this long stops holding the watermark; 0 = never.
    pub idle_timeout_ms: u64,
    /// `pipeline.auto-watermark-interval`.
    pub interval_ms: u64,
}

/// Filter and projection.
#[derive(Debug, Clone)]
pub struct CalcNode {
    /// Rows for which this is TRUE stay.
    pub filter: Option<ScalarExpr>,
    /// The output columns.
    pub project: Vec<ScalarExpr>,
}

/// Where rows of equal keys must meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Rows with equal values in these columns on one worker.
    Hash(Vec<usize>),
    /// All rows on one worker.
    Single,
}

/// GROUP BY without windows. Output columns: the keys, then the aggregates.
#[derive(Debug, Clone)]
pub struct GroupAggregateNode {
    /// Key columns of the input; empty for a global aggregate.
    pub keys: Vec<usize>,
    /// The aggregates; empty for SELECT DISTINCT.
    pub aggregates: Vec<AggregateCall>,
    /// Whether the input holds -U or -D.
    pub input_retracts: bool,
    /// One change per key and step instead of one per input row, because every sink below folds by the same key anyway.
    pub fold_per_step: bool,
    /// Mini-batch bounds when `table.exec.mini-batch.enabled`.
    pub mini_batch: Option<MiniBatch>,
    /// Idle keys are dropped after this; 0 = never.
    pub state_ttl_ms: u64,
}

/// `table.exec.mini-batch.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MiniBatch {
    /// allow-latency.
    pub latency_ms: u64,
    /// size, in rows.
    pub rows: u64,
}

/// Which windows a row belongs to. All numbers in ms; `[start, start + size)`, starts aligned at `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowKind {
    /// TUMBLE.
    Tumble {
        /// Length.
        size_ms: i64,
        /// Shift of the alignment.
        offset_ms: i64,
    },
    /// HOP.
    Hop {
        /// Distance of starts.
        slide_ms: i64,
        /// Length; a multiple of the slide.
        size_ms: i64,
        /// Shift of the alignment.
        offset_ms: i64,
    },
    /// CUMULATE: windows of one start that grow by a step until they have the full length.
    Cumulate {
        /// Distance of ends.
        step_ms: i64,
        /// Full length; a multiple of the step.
        size_ms: i64,
        /// Shift of the alignment.
        offset_ms: i64,
    },
    /// SESSION: a window per key that ends when no row came for the gap.
    Session {
        /// The gap.
        gap_ms: i64,
    },
    /// The rows carry their window already: the time column is `window_end` of a windowed input. The start is no property of such a
    /// window; whoever needs it has it as a key.
    Attached,
}

/// A window over a time attribute.
#[derive(Debug, Clone)]
pub struct WindowNode {
    /// The windows.
    pub kind: WindowKind,
    /// The time attribute's column of the input.
    pub time_column: usize,
    /// Event time, or processing time.
    pub is_event_time: bool,
    /// The time attribute is TIMESTAMP_LTZ: boundaries lie on the wall clock of this zone.
    pub time_zone: Option<Arc<str>>,
}

/// SESSION without aggregation. Output columns: the input's, then window_start, window_end, window_time.
#[derive(Debug, Clone)]
pub struct SessionTableNode {
    /// The window.
    pub window: WindowNode,
    /// PARTITION BY.
    pub keys: Vec<usize>,
}

/// The first rows per window. Output columns: the input's, then the row number when asked for.
#[derive(Debug, Clone)]
pub struct WindowRankNode {
    /// The window the rows carry: [`WindowKind::Attached`].
    pub window: WindowNode,
    /// PARTITION BY, without the window's bounds.
    pub keys: Vec<usize>,
    /// ORDER BY, the first column first.
    pub order: Vec<SortColumn>,
    /// The first row number that is given, from 1.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// Of rows that are equal in order the one that came last is the first: keep-last deduplication on row time.
    pub last_wins: bool,
    /// Whether the row number is an output column.
    pub with_number: bool,
}

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortColumn {
    /// The column.
    pub column: usize,
    /// DESC.
    pub descending: bool,
    /// Where NULL stands.
    pub nulls_first: bool,
}

/// GROUPING SETS. Output columns: the input's, the keys nullable, then the set's number (BIGINT).
#[derive(Debug, Clone)]
pub struct ExpandNode {
    /// For each set which of the first input columns stay; all others of them are NULL.
    pub sets: Vec<Vec<bool>>,
}

/// UNNEST. Output columns: the input's, then those of the elements, then the element's number when asked for.
#[derive(Debug, Clone)]
pub struct UnnestNode {
    /// The collection's column of the input.
    pub column: usize,
    /// LEFT JOIN: a row without elements comes once, with NULLs.
    pub is_left: bool,
    /// WITH ORDINALITY: the elements of a collection are numbered from 1, as INT.
    pub with_ordinality: bool,
    /// How many of the output columns are the input's.
    pub input_width: usize,
}

/// A window property as an output column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowProperty {
    /// window_start, TUMBLE_START: TIMESTAMP(3).
    Start,
    /// window_end, TUMBLE_END: TIMESTAMP(3).
    End,
    /// window_time, TUMBLE_ROWTIME: end - 1 ms, the time attribute of the output.
    Time,
}

/// Aggregation per window. Output columns: the keys, the aggregates, the properties.
#[derive(Debug, Clone)]
pub struct WindowAggregateNode {
    /// The window.
    pub window: WindowNode,
    /// Legacy GROUP BY TUMBLE(...) drops late rows per row; the table functions share slices (differs for late rows of HOP).
    pub is_legacy: bool,
    /// Key columns of the input.
    pub keys: Vec<usize>,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// Window columns behind the aggregates, in this order.
    pub properties: Vec<WindowProperty>,
    /// Whether the input holds -U or -D.
    pub input_retracts: bool,
}

/// Deduplication on a time attribute. Output columns: the input's.
#[derive(Debug, Clone)]
pub struct DeduplicateNode {
    /// PARTITION BY.
    pub keys: Vec<usize>,
    /// ORDER BY column (rowtime), or `None` for processing time.
    pub order: Option<usize>,
    /// DESC = keep the last row, ASC = keep the first.
    pub keep_last: bool,
    /// Idle keys are dropped after this; 0 = never.
    pub state_ttl_ms: u64,
}

/// A table written.
#[derive(Debug, Clone)]
pub struct SinkNode {
    /// The table.
    pub table: Arc<TableDescriptor>,
    /// Indices into the table's columns of the input's columns, in order.
    pub columns: Vec<usize>,
    /// What its connector can do.
    pub info: ConnectorInfo,
    /// Positions (in the input) of the primary key's columns; rows of one key must come from one place in order.
    pub primary_key: Vec<usize>,
    /// NOT NULL columns of the input that must be checked: position.
    pub not_null: Vec<usize>,
    /// `table.exec.sink.not-null-enforcer` = DROP instead of ERROR.
    pub drop_null_rows: bool,
    /// INSERT OVERWRITE.
    pub overwrite: bool,
}

/// Settings of a job that the engine needs; read from SET by the front end.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// `parallelism.default` when the file sets it.
    pub parallelism: Option<usize>,
    /// `execution.checkpointing.interval`; `None` = not set (10 s), 0 = off.
    pub checkpoint_interval_ms: Option<u64>,
    /// `execution.checkpointing.min-pause`.
    pub checkpoint_min_pause_ms: u64,
    /// `execution.checkpointing.timeout`.
    pub checkpoint_timeout_ms: u64,
    /// `execution.checkpointing.dir` / `state.checkpoints.dir`, when set.
    pub checkpoint_dir: Option<String>,
    /// `table.local-time-zone`.
    pub time_zone: Arc<str>,
    /// `table.exec.legacy-cast-behaviour` = ENABLED.
    pub legacy_cast: bool,
    /// `execution.runtime-mode` = batch.
    pub is_batch: bool,
    /// `table.dml-sync`.
    pub dml_sync: bool,
    /// `restart-strategy.*`.
    pub restart: restart::RestartStrategy,
    /// `execution.checkpointing.savepoint-dir` / `state.savepoints.dir`, when set.
    pub savepoint_dir: Option<String>,
    /// `wiesel.savepoint.interval`: a savepoint is taken this often.
    pub savepoint_interval_ms: Option<u64>,
    /// `execution.state-recovery.path` / `execution.savepoint.path`: the savepoint to begin with.
    pub savepoint_path: Option<String>,
    /// `execution.state-recovery.ignore-unclaimed-state` and its older names.
    pub ignore_unclaimed_state: bool,
}
