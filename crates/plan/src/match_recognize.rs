//! MATCH_RECOGNIZE as a node: a row pattern over the rows of a key, in the order of a time attribute.
//!
//! Conditions and measures read more than one row, so they are expressions over *slots*: each slot says where its value comes from (the
//! row at hand, a row of the match by variable and position, an aggregate over the rows of a variable). What a slot means is decided by
//! the planner; the operator fills the slots and evaluates the expression as it would over the columns of a batch.
//!
//! ```text
//! DEFINE B AS B.price < LAST(A.price, 1)      slots: [current price, row of A, 1 before the last: price]      expr: #0 < #1
//! ```

use wiesel_core::DataType;
use wiesel_expr::{AggregateFunction, ScalarExpr};

use crate::SortColumn;

/// A row pattern. Output columns: the partition columns, then the measures; one row per match.
#[derive(Debug, Clone)]
pub struct MatchRecognizeNode {
    /// PARTITION BY.
    pub partition: Vec<usize>,
    /// ORDER BY: the row-time column, or `None` for processing time.
    pub time_column: Option<usize>,
    /// ORDER BY behind the time.
    pub order: Vec<SortColumn>,
    /// PATTERN and DEFINE: the variables in the order of the pattern, each directly behind the one before.
    pub variables: Vec<PatternVariable>,
    /// MEASURES.
    pub measures: Vec<PatternExpr>,
    /// AFTER MATCH SKIP.
    pub skip: AfterMatchSkip,
    /// WITHIN: a match ends less than this after its first row; `None` is no bound.
    pub within_ms: Option<i64>,
}

/// A variable of a pattern with its quantifier.
#[derive(Debug, Clone)]
pub struct PatternVariable {
    /// Its name.
    pub name: String,
    /// The least number of rows.
    pub min: u32,
    /// The greatest number of rows; `None` is no bound.
    pub max: Option<u32>,
    /// Takes as many rows as it can; matters where the number of rows is not fixed.
    pub is_greedy: bool,
    /// DEFINE; every row fits without it.
    pub condition: Option<PatternExpr>,
}

/// An expression over slots.
#[derive(Debug, Clone)]
pub struct PatternExpr {
    /// Where the values come from.
    pub slots: Vec<PatternSlot>,
    /// The expression; its columns are slots.
    pub expr: ScalarExpr,
}

/// A value that a pattern's expression reads.
#[derive(Debug, Clone)]
pub struct PatternSlot {
    /// Where it comes from.
    pub source: SlotSource,
    /// Its type.
    pub data_type: DataType,
}

/// Where a slot's value comes from. Rows "of a variable" are those matched to it so far, the row at hand included while its own variable
/// is being decided; without a variable they are all rows of the match.
#[derive(Debug, Clone)]
pub enum SlotSource {
    /// A column of the row at hand (DEFINE only).
    Current {
        /// The column.
        column: usize,
    },
    /// A column of a row by position; NULL when there is no such row.
    Row {
        /// The variable, by its place in the pattern.
        variable: Option<usize>,
        /// FIRST: counted from the first row, else from the last.
        from_first: bool,
        /// How many rows further.
        offset: usize,
        /// The column.
        column: usize,
    },
    /// An aggregate over rows.
    Aggregate {
        /// The variable, by its place in the pattern.
        variable: Option<usize>,
        /// The function.
        function: AggregateFunction,
        /// Its arguments over the columns of the input.
        args: Vec<ScalarExpr>,
    },
    /// MATCH_ROWTIME(): when the match was found, in event time.
    MatchTime,
}

/// Where the search goes on after a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AfterMatchSkip {
    /// Behind its last row.
    PastLastRow,
    /// At the row behind its first row.
    ToNextRow,
    /// At the first row of a variable.
    ToFirst(usize),
    /// At the last row of a variable.
    ToLast(usize),
}

impl PatternExpr {
    /// Calls `f` with every column of the input that is read.
    pub fn columns_read(&self, columns: &mut Vec<usize>) {
        for slot in &self.slots {
            match &slot.source {
                SlotSource::Current { column } | SlotSource::Row { column, .. } => columns.push(*column),
                SlotSource::Aggregate { args, .. } => args.iter().for_each(|arg| arg.columns_read(columns)),
                SlotSource::MatchTime => {}
            }
        }
    }

    /// Moves the columns of the input.
    pub fn move_columns(&mut self, place: &impl Fn(usize) -> usize) {
        for slot in &mut self.slots {
            match &mut slot.source {
                SlotSource::Current { column } | SlotSource::Row { column, .. } => *column = place(*column),
                SlotSource::Aggregate { args, .. } => {
                    for arg in args {
                        *arg = arg.clone().transform(&mut |e| match e {
                            ScalarExpr::Column { index, data_type } => {
                                ScalarExpr::Column { index: place(index), data_type }
                            }
                            other => other,
                        });
                    }
                }
                SlotSource::MatchTime => {}
            }
        }
    }
}

impl MatchRecognizeNode {
    /// The input's columns that are read for the measures that `is_wanted` names.
    pub fn columns_read(&self, is_wanted: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut columns = self.partition.clone();
        columns.extend(self.time_column);
        columns.extend(self.order.iter().map(|o| o.column));
        for condition in self.variables.iter().filter_map(|v| v.condition.as_ref()) {
            condition.columns_read(&mut columns);
        }
        for (_, measure) in self.measures.iter().enumerate().filter(|(index, _)| is_wanted(*index)) {
            measure.columns_read(&mut columns);
        }
        columns
    }

    /// Moves the columns of the input.
    pub fn move_columns(&mut self, place: &impl Fn(usize) -> usize) {
        self.partition.iter_mut().for_each(|c| *c = place(*c));
        self.time_column = self.time_column.map(place);
        self.order.iter_mut().for_each(|o| o.column = place(o.column));
        self.expressions_mut().for_each(|e| e.move_columns(place));
    }

    /// Every expression over slots.
    pub fn expressions_mut(&mut self) -> impl Iterator<Item = &mut PatternExpr> {
        self.variables.iter_mut().filter_map(|v| v.condition.as_mut()).chain(&mut self.measures)
    }

    /// The pattern as SQL writes it.
    pub fn pattern_text(&self) -> String {
        let variable = |v: &PatternVariable| {
            let quantifier = match (v.min, v.max) {
                (1, Some(1)) => return v.name.clone(),
                (0, None) => "*".to_owned(),
                (1, None) => "+".to_owned(),
                (0, Some(1)) => "?".to_owned(),
                (min, None) => format!("{{{min},}}"),
                (min, Some(max)) if min == max => format!("{{{min}}}"),
                (min, Some(max)) => format!("{{{min},{max}}}"),
            };
            format!("{}{quantifier}{}", v.name, if v.is_greedy { "" } else { "?" })
        };
        self.variables.iter().map(variable).collect::<Vec<_>>().join(" ")
    }

    /// AFTER MATCH SKIP as SQL writes it.
    pub fn skip_text(&self) -> String {
        let name = |variable: usize| self.variables.get(variable).map_or("", |v| v.name.as_str());
        match self.skip {
            AfterMatchSkip::PastLastRow => "SKIP PAST LAST ROW".to_owned(),
            AfterMatchSkip::ToNextRow => "SKIP TO NEXT ROW".to_owned(),
            AfterMatchSkip::ToFirst(variable) => format!("SKIP TO FIRST {}", name(variable)),
            AfterMatchSkip::ToLast(variable) => format!("SKIP TO LAST {}", name(variable)),
        }
    }
}
