//! Aggregate functions as the planner sees them: names, types, and what they need to be taken back. Their accumulators live in the engine.

use wiesel_core::{DataType, TypeKind};

use crate::function::FunctionError;

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

    /// The type of the result for arguments of the given types. Everything but COUNT may be NULL: a group may hold no value.
    pub fn result_type(self, args: &[DataType]) -> Result<DataType, FunctionError> {
        let expected = |what: &str| FunctionError { expected: format!("{}({what})", self.name()) };
        if matches!(self, AggregateFunction::CountStar | AggregateFunction::Count) {
            return Ok(DataType::not_null(TypeKind::BigInt));
        }
        let [arg] = args else { return Err(expected("one value")) };
        let kind = match (self, &arg.kind) {
            (AggregateFunction::Sum, TypeKind::Decimal { scale, .. }) => {
                TypeKind::Decimal { precision: 38, scale: *scale }
            }
            (AggregateFunction::Avg, TypeKind::Decimal { scale, .. }) => {
                TypeKind::Decimal { precision: 38, scale: (*scale).max(6) }
            }
            (AggregateFunction::Sum | AggregateFunction::Avg, kind) if !kind.is_numeric() => {
                return Err(expected("a number"));
            }
            (
                AggregateFunction::Min | AggregateFunction::Max,
                TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_),
            ) => return Err(expected("a value that has an order")),
            (_, kind) => kind.clone(),
        };
        Ok(DataType::new(kind))
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
