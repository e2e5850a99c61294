//! The nodes that bring two streams together.
//!
//! Every join has two inputs, port 0 the left one and port 1 the right one, and gives the left input's columns, then (but for semi and anti
//! joins) the right one's. A condition is split by the planner: pairs of columns that must be equal, by which rows are distributed and
//! state is found, and the rest, an expression over the columns of both sides.

use std::sync::Arc;

use wiesel_core::Value;
use wiesel_core::table::TableDescriptor;
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

/// A join of two inputs.
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
    /// How it runs.
    pub form: JoinForm,
}

/// How a join runs.
#[derive(Debug, Clone)]
pub enum JoinForm {
    /// Two changing tables: both are kept, in this way each.
    Regular([JoinSide; 2]),
    /// Inserts on both sides, whose times lie within bounds of each other.
    Interval(IntervalBounds),
    /// A right table of versions, each left row meeting the version of its time.
    Temporal(VersionTimes),
    /// Inserts on both sides that carry the same windows: rows meet when their window ends. The bounds are among the keys.
    Window(WindowEnds),
}

/// Where the rows of a window join carry their windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowEnds {
    /// `window_end` in the left input.
    pub left: usize,
    /// `window_end` in the right input.
    pub right: usize,
    /// Event time, or processing time.
    pub is_event_time: bool,
    /// The zone on whose clock the windows lie, when the time attribute is TIMESTAMP_LTZ.
    pub time_zone: Option<Arc<str>>,
}

/// A lookup in an external table, at processing time. Output columns: the input's, then those of the table.
#[derive(Debug, Clone)]
pub struct LookupJoinNode {
    /// Inner or left.
    pub kind: JoinKind,
    /// The number of columns of the input.
    pub left_width: usize,
    /// The table.
    pub table: Arc<TableDescriptor>,
    /// Indices into the table's columns of what is fetched.
    pub columns: Vec<usize>,
    /// What it is asked by; never empty.
    pub keys: Vec<LookupKey>,
    /// What else must hold, over the input's columns and then the fetched ones.
    pub condition: Option<ScalarExpr>,
    /// Whether keys that found nothing are asked again.
    pub retry: Option<LookupRetry>,
}

/// How often, and after which pause, a key is asked again that found nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupRetry {
    /// `fixed-delay`.
    pub delay_ms: u64,
    /// `max-attempts`: questions after the first.
    pub attempts: u32,
}

/// One column that a table is asked by.
#[derive(Debug, Clone)]
pub struct LookupKey {
    /// Index into the table's columns.
    pub column: usize,
    /// What it must be equal to.
    pub source: LookupKeySource,
}

/// What a column of a lookup must be equal to; of the column's type.
#[derive(Debug, Clone)]
pub enum LookupKeySource {
    /// A column of the input.
    Column(usize),
    /// A constant.
    Constant(Value),
}

/// `left time BETWEEN right time + lower AND right time + upper`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntervalBounds {
    /// The time attribute in the left input.
    pub left_time: usize,
    /// The time attribute in the right input.
    pub right_time: usize,
    /// Event time, or processing time.
    pub is_event_time: bool,
    /// The least of left time - right time.
    pub lower_ms: i64,
    /// The most of it.
    pub upper_ms: i64,
}

impl IntervalBounds {
    /// The time attribute in one input.
    pub fn time_on(&self, port: usize) -> usize {
        if port == 0 { self.left_time } else { self.right_time }
    }
}

/// The rowtime attributes of a temporal join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionTimes {
    /// In the left input: at which time a row looks.
    pub left: usize,
    /// In the right input: from when on a row is valid.
    pub right: usize,
    /// A key that is silent for so long is dropped; 0 = never.
    pub state_ttl_ms: u64,
}

impl JoinForm {
    /// The time attribute that the join reads in one input.
    pub fn time_on(&self, port: usize) -> Option<usize> {
        match self {
            JoinForm::Regular(_) => None,
            JoinForm::Interval(bounds) => Some(bounds.time_on(port)),
            JoinForm::Temporal(times) => Some(if port == 0 { times.left } else { times.right }),
            JoinForm::Window(ends) => Some(if port == 0 { ends.left } else { ends.right }),
        }
    }

    /// Tells the join where the time attributes of its inputs stand now.
    pub fn set_times(&mut self, left: usize, right: usize) {
        match self {
            JoinForm::Regular(_) => {}
            JoinForm::Interval(bounds) => (bounds.left_time, bounds.right_time) = (left, right),
            JoinForm::Temporal(times) => (times.left, times.right) = (left, right),
            JoinForm::Window(ends) => (ends.left, ends.right) = (left, right),
        }
    }
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
