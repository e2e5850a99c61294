//! Nodes over rows in the order of time: OVER aggregates and the temporal sort.

use wiesel_core::DataType;
use wiesel_expr::AggregateCall;

use crate::SortColumn;

/// Which rows an OVER aggregate sees: from a bound before the current row up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverFrame {
    /// ROWS: that many rows before the current one, or all of them.
    Rows(Option<u64>),
    /// RANGE: rows up to that many ms before the current one, or all of them; rows of one time see each other.
    Range(Option<i64>),
}

/// A function of an OVER window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OverCall {
    /// An aggregate over the frame. ROW_NUMBER() is COUNT(*) over ROWS.
    Aggregate(AggregateCall),
    /// LAG(column, offset, default).
    Lag {
        /// The value's column.
        column: usize,
        /// How many rows back.
        offset: u64,
        /// The column that stands in where there is no such row; NULL without.
        default: Option<usize>,
        /// The result type.
        data_type: DataType,
    },
}

/// OVER aggregates that share a window. Output columns: the input's, then one per call.
#[derive(Debug, Clone)]
pub struct OverNode {
    /// PARTITION BY.
    pub partition: Vec<usize>,
    /// ORDER BY column (rowtime), or `None` for processing time.
    pub order: Option<usize>,
    /// The frame.
    pub frame: OverFrame,
    /// The functions.
    pub calls: Vec<OverCall>,
    /// Idle partitions are dropped after this; 0 = never.
    pub state_ttl_ms: u64,
}

/// Makes one row per primary key out of changes by another key. Output columns: the input's.
#[derive(Debug, Clone)]
pub struct MaterializeNode {
    /// The sink's primary key.
    pub primary_key: Vec<usize>,
    /// The key of the input's changes; empty when none is known, then rows are compared whole.
    pub upsert_key: Vec<usize>,
    /// Idle keys are dropped after this; 0 = never.
    pub state_ttl_ms: u64,
}

/// Makes a whole changelog out of upserts, or of changes that may come twice. Output columns: the input's.
#[derive(Debug, Clone)]
pub struct ChangelogNormalizeNode {
    /// The source's primary key; not empty.
    pub primary_key: Vec<usize>,
    /// Idle keys are dropped after this; 0 = never.
    pub state_ttl_ms: u64,
}

/// ORDER BY with a time attribute in front. Output columns: the input's.
#[derive(Debug, Clone)]
pub struct SortNode {
    /// The rowtime column, or `None` for processing time.
    pub time: Option<usize>,
    /// The keys behind the time attribute.
    pub order: Vec<SortColumn>,
}
