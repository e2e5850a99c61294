//! The nodes that bring two streams together.
//!
//! Every join has two inputs, port 0 the left one and port 1 the right one, and gives the left input's columns, then (but for semi and anti
//! joins) the right one's. A condition is split by the planner: pairs of columns that must be equal, by which rows are distributed and
//! state is found, and the rest, an expression over the columns of both sides.

use wiesel_expr::ScalarExpr;

/// Which rows without a partner a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// None.
    Inner,
    /// Those of the left side, padded with NULLs.
    Left,
    /// Those of the right side, padded with NULLs.
    Right,
    /// Those of both sides.
    Full,
    /// None, and of the others only the left side's columns, once: IN, EXISTS.
    Semi,
    /// Only the left rows without a partner: NOT IN, NOT EXISTS.
    Anti,
}

impl JoinKind {
    /// Whether left rows without a partner are given, padded.
    pub fn pads_right(self) -> bool {
        matches!(self, JoinKind::Left | JoinKind::Full)
    }

    /// Whether right rows without a partner are given, padded.
    pub fn pads_left(self) -> bool {
        matches!(self, JoinKind::Right | JoinKind::Full)
    }

    /// Whether only the left side's columns are given.
    pub fn is_semi_or_anti(self) -> bool {
        matches!(self, JoinKind::Semi | JoinKind::Anti)
    }

    /// Flink's name in EXPLAIN.
    pub fn name(self) -> &'static str {
        match self {
            JoinKind::Inner => "InnerJoin",
            JoinKind::Left => "LeftOuterJoin",
            JoinKind::Right => "RightOuterJoin",
            JoinKind::Full => "FullOuterJoin",
            JoinKind::Semi => "LeftSemiJoin",
            JoinKind::Anti => "LeftAntiJoin",
        }
    }
}

/// The columns that must be equal: position in the left input, position in the right input, and whether two NULLs are equal
/// (IS NOT DISTINCT FROM). Both columns of a pair have one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JoinKey {
    /// Position in the left input.
    pub left: usize,
    /// Position in the right input.
    pub right: usize,
    /// NULL matches NULL.
    pub null_safe: bool,
}

/// A join of two changing tables: both are kept.
#[derive(Debug, Clone)]
pub struct JoinNode {
    /// Which rows it gives.
    pub kind: JoinKind,
    /// The number of columns of the left input.
    pub left_width: usize,
    /// The equal columns; empty for a cross join, which runs on one worker.
    pub keys: Vec<JoinKey>,
    /// What else must hold, over the left columns and then the right ones.
    pub condition: Option<ScalarExpr>,
    /// How the left side is kept.
    pub left: JoinSide,
    /// How the right side is kept.
    pub right: JoinSide,
}

/// How one side of a join is kept.
#[derive(Debug, Clone, Default)]
pub struct JoinSide {
    /// The columns of the input by which a row replaces another; `None` when there are none, and rows are counted.
    pub unique_key: Option<Vec<usize>>,
    /// Idle rows are dropped after this; 0 = never.
    pub state_ttl_ms: u64,
}

impl JoinNode {
    /// The positions of the keys in one input.
    pub fn keys_on(&self, port: usize) -> Vec<usize> {
        keys_on(&self.keys, port)
    }
}

/// The positions of the keys in one input.
pub fn keys_on(keys: &[JoinKey], port: usize) -> Vec<usize> {
    keys.iter().map(|k| if port == 0 { k.left } else { k.right }).collect()
}
