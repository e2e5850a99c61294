//! The typed query: what the binder makes of a query and the optimizer lowers to a StreamPlan.
//!
//! A tree, views expanded in place. Expressions are typed and refer to the columns of the node's input by position. Besides name and type a
//! column remembers what SQL lets it do: be a time attribute, be a bound of a window, be the row number of a Top-N.

use std::sync::Arc;

use wiesel_core::diagnostic::Span;
use wiesel_core::{DataType, Schema, Value};
use wiesel_expr::{AggregateCall, ScalarExpr};
use wiesel_plan::{
    BatchOverNode, OverCall, OverFrame, RankEnd, SortColumn, WindowNode, WindowProperty, WindowRankNode,
};

use super::join::JoinRel;
use crate::catalog::Table;

/// Columns of the query around a subquery are numbered from here, until the subquery is joined to it.
pub const OUTER_BASE: usize = 1 << 26;

/// Whether a column's number is one of the query around a subquery.
pub fn is_outer(column: usize) -> bool {
    (OUTER_BASE..2 * OUTER_BASE).contains(&column)
}

/// Whether an expression reads the query around.
pub fn reads_outer(expr: &ScalarExpr) -> bool {
    let mut read = Vec::new();
    expr.columns_read(&mut read);
    read.into_iter().any(is_outer)
}

/// A node of the typed query.
#[derive(Debug, Clone)]
pub struct Rel {
    /// What it computes.
    pub kind: RelKind,
    /// Its output columns.
    pub columns: Vec<RelColumn>,
}

/// An output column.
#[derive(Debug, Clone, PartialEq)]
pub struct RelColumn {
    /// Its name; `EXPR$0` and so on where the text gives none.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it is a time attribute.
    pub time: Option<TimeAttribute>,
    /// Whether it is a bound of a window table function.
    pub window: Option<WindowProperty>,
    /// Whether it is the row number of a ROW_NUMBER() that a filter above may turn into a deduplication.
    pub is_row_number: bool,
}

/// The two kinds of time attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeAttribute {
    /// Event time.
    Rowtime,
    /// Processing time.
    Proctime,
}

/// What a node computes.
#[derive(Debug, Clone)]
pub enum RelKind {
    /// All columns of a table, computed ones included, watermark applied.
    Scan {
        /// The table, its options already merged with hints.
        table: Arc<Table>,
    },
    /// Constant rows.
    Values(Vec<Vec<Value>>),
    /// Filter, then projection.
    Calc {
        /// The input.
        input: Box<Rel>,
        /// Rows for which this is TRUE stay.
        filter: Option<ScalarExpr>,
        /// The output columns.
        project: Vec<ScalarExpr>,
    },
    /// A window table function: the input's columns and three more.
    Window {
        /// The input.
        input: Box<Rel>,
        /// The windows.
        window: WindowNode,
        /// PARTITION BY of SESSION.
        partition: Vec<usize>,
    },
    /// ROW_NUMBER() within bounds, per window: the input's columns, and the number when asked for.
    WindowRank {
        /// The input.
        input: Box<Rel>,
        /// What is ranked.
        rank: WindowRankNode,
    },
    /// MATCH_RECOGNIZE: the partition columns and the measures.
    MatchRecognize {
        /// The input.
        input: Box<Rel>,
        /// The pattern.
        pattern: Box<wiesel_plan::MatchRecognizeNode>,
    },
    /// GROUPING SETS: the input's columns, its first ones being the keys, and the number of the set.
    Expand {
        /// The input.
        input: Box<Rel>,
        /// Which keys each set keeps.
        sets: Vec<Vec<bool>>,
    },
    /// UNNEST: the input's columns and those of the elements.
    Unnest {
        /// The input.
        input: Box<Rel>,
        /// The collection's column.
        column: usize,
        /// LEFT JOIN.
        is_left: bool,
        /// The last column is the number of the element.
        with_ordinality: bool,
    },
    /// GROUP BY.
    Aggregate {
        /// The input.
        input: Box<Rel>,
        /// Key columns.
        keys: Vec<usize>,
        /// Aggregates.
        aggregates: Vec<AggregateCall>,
        /// A STATE_TTL hint.
        state_ttl_ms: Option<u64>,
    },
    /// GROUP BY with a window.
    WindowAggregate {
        /// The input, without window columns.
        input: Box<Rel>,
        /// The windows.
        window: WindowNode,
        /// Written as GROUP BY TUMBLE(...).
        is_legacy: bool,
        /// Key columns.
        keys: Vec<usize>,
        /// Aggregates.
        aggregates: Vec<AggregateCall>,
        /// Window columns behind the aggregates.
        properties: Vec<WindowProperty>,
    },
    /// ROW_NUMBER() OVER (...) as one more column; only a filter on it makes it runnable.
    RowNumber {
        /// The input.
        input: Box<Rel>,
        /// PARTITION BY.
        partition: Vec<usize>,
        /// ORDER BY.
        order: Vec<SortColumn>,
        /// Where it stands.
        span: Span,
    },
    /// ROW_NUMBER() ... = 1 over a time attribute.
    Deduplicate {
        /// The input.
        input: Box<Rel>,
        /// PARTITION BY.
        keys: Vec<usize>,
        /// The rowtime column, or `None` for processing time.
        order: Option<usize>,
        /// DESC.
        keep_last: bool,
    },
    /// ROW_NUMBER() within bounds; or LIMIT, whose rows have no number.
    Rank {
        /// The input.
        input: Box<Rel>,
        /// PARTITION BY.
        partition: Vec<usize>,
        /// ORDER BY.
        order: Vec<SortColumn>,
        /// The first rank.
        start: u64,
        /// The last rank.
        end: RankEnd,
        /// Written as LIMIT.
        is_limit: bool,
    },
    /// A join.
    Join {
        /// Port 0.
        left: Box<Rel>,
        /// Port 1.
        right: Box<Rel>,
        /// Which.
        join: Box<JoinRel>,
    },
    /// Aggregates OVER the rows before: the input's columns and one per call.
    Over {
        /// The input.
        input: Box<Rel>,
        /// PARTITION BY.
        partition: Vec<usize>,
        /// The rowtime column, or `None` for processing time.
        order: Option<usize>,
        /// The frame.
        frame: OverFrame,
        /// The functions.
        calls: Vec<OverCall>,
    },
    /// ORDER BY with a time attribute in front.
    Sort {
        /// The input.
        input: Box<Rel>,
        /// The rowtime column, or `None` for processing time.
        time: Option<usize>,
        /// The keys behind it.
        order: Vec<SortColumn>,
    },
    /// Batch mode: the rows that stand at the end, ordered.
    BatchSort {
        /// The input.
        input: Box<Rel>,
        /// ORDER BY.
        order: Vec<SortColumn>,
    },
    /// Batch mode: functions over the ordered rows of a partition.
    BatchOver {
        /// The input.
        input: Box<Rel>,
        /// The window and the functions.
        over: BatchOverNode,
    },
    /// Every row as often as its last column says, without that column.
    Replicate(Box<Rel>),
    /// UNION ALL.
    UnionAll(Vec<Rel>),
}

impl RelColumn {
    /// A column that is nothing special.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        RelColumn { name: name.into(), data_type, time: None, window: None, is_row_number: false }
    }
}

impl Rel {
    /// The schema of the output.
    pub fn schema(&self) -> Schema {
        schema_of(&self.columns)
    }

    /// The nodes that it reads.
    pub fn inputs(&self) -> Vec<&Rel> {
        match &self.kind {
            RelKind::Scan { .. } | RelKind::Values(_) => Vec::new(),
            RelKind::Calc { input, .. }
            | RelKind::Window { input, .. }
            | RelKind::Aggregate { input, .. }
            | RelKind::WindowAggregate { input, .. }
            | RelKind::RowNumber { input, .. }
            | RelKind::Deduplicate { input, .. }
            | RelKind::Rank { input, .. }
            | RelKind::Over { input, .. }
            | RelKind::Sort { input, .. }
            | RelKind::BatchSort { input, .. }
            | RelKind::BatchOver { input, .. }
            | RelKind::Replicate(input)
            | RelKind::WindowRank { input, .. }
            | RelKind::MatchRecognize { input, .. }
            | RelKind::Expand { input, .. }
            | RelKind::Unnest { input, .. } => vec![input],
            RelKind::Join { left, right, .. } => vec![left, right],
            RelKind::UnionAll(inputs) => inputs.iter().collect(),
        }
    }

    /// A projection of this node; a column taken as it is keeps what it is.
    pub fn project(self, items: Vec<(String, ScalarExpr)>) -> Rel {
        let columns = items
            .iter()
            .map(|(name, expr)| match expr {
                ScalarExpr::Column { index, .. } => match self.columns.get(*index) {
                    Some(column) => RelColumn { name: name.clone(), ..column.clone() },
                    None => RelColumn::new(name.clone(), expr.data_type()),
                },
                _ => RelColumn { time: time_attribute_of(expr), ..RelColumn::new(name.clone(), expr.data_type()) },
            })
            .collect();
        let project = items.into_iter().map(|(_, expr)| expr).collect();
        Rel { kind: RelKind::Calc { input: Box::new(self), filter: None, project }, columns }
    }

    /// A filter on this node.
    pub fn filter(self, predicate: ScalarExpr) -> Rel {
        let columns = self.columns.clone();
        let project = identity(&columns);
        Rel { kind: RelKind::Calc { input: Box::new(self), filter: Some(predicate), project }, columns }
    }
}

/// The time attribute that alone and ascending makes an order: its column for row time, `Some(None)` for processing time.
pub fn ascending_time(columns: &[RelColumn], order: &[SortColumn]) -> Option<Option<usize>> {
    match order {
        [key] if !key.descending => {
            let time = columns.get(key.column)?.time?;
            Some((time == TimeAttribute::Rowtime).then_some(key.column))
        }
        _ => None,
    }
}

/// The columns as they are.
pub fn identity(columns: &[RelColumn]) -> Vec<ScalarExpr> {
    columns.iter().enumerate().map(|(index, c)| ScalarExpr::Column { index, data_type: c.data_type.clone() }).collect()
}

/// The schema of some columns.
pub fn schema_of(columns: &[RelColumn]) -> Schema {
    Schema::new(columns.iter().map(|c| wiesel_core::Field::new(c.name.clone(), c.data_type.clone())).collect())
}

/// PROCTIME() is the one expression that makes a time attribute.
pub fn time_attribute_of(expr: &ScalarExpr) -> Option<TimeAttribute> {
    match expr {
        ScalarExpr::Call { function, .. } if function.name() == "PROCTIME" => Some(TimeAttribute::Proctime),
        _ => None,
    }
}
