//! Aggregate functions as the planner sees them: names, types, and what they need to be taken back. Their accumulators live in the engine.

use wiesel_core::DataType;

/// The aggregate functions of the first slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    /// COUNT(*): counts rows.
    CountStar,
    /// COUNT(x): counts values that are not NULL.
    Count,
    /// SUM(x): type of the input (integers wrap), DECIMAL(38, s) for decimals.
    Sum,
    /// AVG(x): type of the input (integers truncate), DECIMAL(38, max(s, 6)) for decimals.
    Avg,
    /// MIN(x).
    Min,
    /// MAX(x).
    Max,
    /// FIRST_VALUE(x): the first value that is not NULL, in arrival order.
    FirstValue,
    /// LAST_VALUE(x): the last value that is not NULL, in arrival order.
    LastValue,
}

/// One aggregate of a GROUP BY: its input columns are columns of the operator's input (the planner projects expressions before).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AggregateCall {
    /// The function.
    pub function: AggregateFunction,
    /// Input columns, in order; empty for COUNT(*), several for COUNT(DISTINCT a, b).
    pub args: Vec<usize>,
    /// DISTINCT.
    pub distinct: bool,
    /// FILTER (WHERE ...): a BOOLEAN input column.
    pub filter: Option<usize>,
    /// The result type.
    pub data_type: DataType,
}

impl AggregateFunction {
    /// The aggregate of that SQL name, in any case (COUNT without star).
    pub fn lookup(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "COUNT" => AggregateFunction::Count,
            "SUM" => AggregateFunction::Sum,
            "AVG" => AggregateFunction::Avg,
            "MIN" => AggregateFunction::Min,
            "MAX" => AggregateFunction::Max,
            "FIRST_VALUE" => AggregateFunction::FirstValue,
            "LAST_VALUE" => AggregateFunction::LastValue,
            _ => return None,
        })
    }

    /// The SQL name.
    pub fn name(self) -> &'static str {
        match self {
            AggregateFunction::CountStar | AggregateFunction::Count => "COUNT",
            AggregateFunction::Sum => "SUM",
            AggregateFunction::Avg => "AVG",
            AggregateFunction::Min => "MIN",
            AggregateFunction::Max => "MAX",
            AggregateFunction::FirstValue => "FIRST_VALUE",
            AggregateFunction::LastValue => "LAST_VALUE",
        }
    }
}
