//! Nodes of batch mode: they hold everything until the bounded input has ended, and give final rows.

use wiesel_core::DataType;
use wiesel_expr::AggregateCall;

use crate::SortColumn;

/// A function over the ordered rows of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BatchOverCall {
    /// An aggregate over a frame.
    Aggregate {
        /// The aggregate.
        call: AggregateCall,
        /// The rows it sees.
        frame: BatchFrame,
    },
    /// ROW_NUMBER().
    RowNumber,
    /// RANK().
    Rank,
    /// DENSE_RANK().
    DenseRank,
    /// PERCENT_RANK().
    PercentRank,
    /// CUME_DIST().
    CumeDist,
    /// NTILE(n).
    Ntile(u64),
    /// LAG and LEAD.
    Offset {
        /// The value's column.
        column: usize,
        /// How many rows further; negative for LAG.
        rows: i64,
        /// The column that stands in where there is no such row.
        default: Option<usize>,
        /// The result type.
        data_type: DataType,
    },
}

/// The rows around the current one that an aggregate sees. One that ends before it begins sees none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchFrame {
    /// In what the bounds count.
    pub unit: FrameUnit,
    /// From the current row to the first one; `None` = from the partition's first.
    pub start: Option<i128>,
    /// From the current row to the last one; `None` = to the partition's last.
    pub end: Option<i128>,
}

/// In what the bounds of a frame count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameUnit {
    /// ROWS.
    Rows,
    /// RANGE up to the current row, whose peers come with it.
    Peers,
    /// RANGE with a distance of the first sort key: a decimal number of this scale; days of a DATE, milliseconds of the other times.
    Distance {
        /// Digits after the point.
        scale: u8,
    },
}

/// Functions over the ordered rows of a partition. Output columns: the input's, then one per call.
#[derive(Debug, Clone)]
pub struct BatchOverNode {
    /// PARTITION BY.
    pub partition: Vec<usize>,
    /// ORDER BY.
    pub order: Vec<SortColumn>,
    /// The functions.
    pub calls: Vec<BatchOverCall>,
}
