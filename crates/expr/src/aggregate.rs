//! Aggregate functions as the planner sees them: names, types, and what they need to be taken back. Their accumulators live in the engine.

use wiesel_core::{DataType, TypeKind};

use crate::FunctionError;
use crate::cast::decimal::PRECISION_MAX;

/// The aggregate functions of GROUP BY.
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
    /// The value of the one row that a scalar subquery may give; a second row is an error. No function of SQL text.
    SingleValue,
    /// LISTAGG(text [, separator]): the texts in the order they came, joined by the separator, a comma if none is given.
    ListAgg,
    /// ARRAY_AGG(x [RESPECT | IGNORE NULLS]): the values in the order they came.
    ArrayAgg {
        /// IGNORE NULLS.
        ignore_nulls: bool,
    },
    /// COLLECT(x): a MULTISET of the values that are not NULL.
    Collect,
    /// STDDEV_POP(x): the population standard deviation, in the type of AVG(x).
    StddevPop,
    /// STDDEV_SAMP(x), STDDEV(x): the sample standard deviation; NULL for one value.
    StddevSamp,
    /// VAR_POP(x): the population variance.
    VarPop,
    /// VAR_SAMP(x), VARIANCE(x): the sample variance; NULL for one value.
    VarSamp,
    /// JSON_ARRAYAGG(x): a JSON array; the argument is JSON text already.
    JsonArrayAgg {
        /// ABSENT ON NULL, the default: NULLs are left out.
        absent_on_null: bool,
    },
    /// JSON_OBJECTAGG(KEY k VALUE x): a JSON object; both arguments are JSON text already.
    JsonObjectAgg {
        /// ABSENT ON NULL: members whose value is NULL are left out. NULL ON NULL is the default.
        absent_on_null: bool,
    },
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
            "LISTAGG" => AggregateFunction::ListAgg,
            "ARRAY_AGG" => AggregateFunction::ArrayAgg { ignore_nulls: false },
            "COLLECT" => AggregateFunction::Collect,
            "STDDEV_POP" => AggregateFunction::StddevPop,
            "STDDEV_SAMP" | "STDDEV" => AggregateFunction::StddevSamp,
            "VAR_POP" => AggregateFunction::VarPop,
            "VAR_SAMP" | "VARIANCE" => AggregateFunction::VarSamp,
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
            AggregateFunction::SingleValue => "SINGLE_VALUE",
            AggregateFunction::ListAgg => "LISTAGG",
            AggregateFunction::ArrayAgg { .. } => "ARRAY_AGG",
            AggregateFunction::Collect => "COLLECT",
            AggregateFunction::StddevPop => "STDDEV_POP",
            AggregateFunction::StddevSamp => "STDDEV_SAMP",
            AggregateFunction::VarPop => "VAR_POP",
            AggregateFunction::VarSamp => "VAR_SAMP",
            AggregateFunction::JsonArrayAgg { .. } => "JSON_ARRAYAGG",
            AggregateFunction::JsonObjectAgg { .. } => "JSON_OBJECTAGG",
        }
    }

    /// Whether the result is put together out of all values of a group.
    pub fn is_list(self) -> bool {
        matches!(
            self,
            AggregateFunction::ListAgg
                | AggregateFunction::ArrayAgg { .. }
                | AggregateFunction::Collect
                | AggregateFunction::JsonArrayAgg { .. }
                | AggregateFunction::JsonObjectAgg { .. }
        )
    }

    /// Whether it is a variance or a standard deviation.
    pub fn is_variance(self) -> bool {
        matches!(
            self,
            AggregateFunction::StddevPop
                | AggregateFunction::StddevSamp
                | AggregateFunction::VarPop
                | AggregateFunction::VarSamp
        )
    }

    /// How many of `count` arguments, from the first, must not be NULL for a row to count.
    pub fn needed_args(self, count: usize) -> usize {
        match self {
            AggregateFunction::ArrayAgg { ignore_nulls: false }
            | AggregateFunction::JsonArrayAgg { absent_on_null: false } => 0,
            AggregateFunction::ListAgg | AggregateFunction::JsonObjectAgg { .. } => count.min(1),
            _ => count,
        }
    }

    /// The type of the result over arguments of these types. COUNT is BIGINT NOT NULL, COLLECT a MULTISET NOT NULL, the JSON aggregates
    /// STRING NOT NULL; every other result may be NULL, because there may be no value to aggregate.
    pub fn result_type(self, args: &[DataType]) -> Result<DataType, FunctionError> {
        let refused = |usage: &str| FunctionError { expected: format!("{} takes {usage}", self.name()) };
        let kind = match (self, args) {
            (AggregateFunction::CountStar, _) => return Ok(DataType::not_null(TypeKind::BigInt)),
            (AggregateFunction::Count, [_, ..]) => return Ok(DataType::not_null(TypeKind::BigInt)),
            (AggregateFunction::Count, []) => return Err(refused("one or more values, or *")),
            (AggregateFunction::Sum, [arg]) => match &arg.kind {
                TypeKind::Decimal { scale, .. } => TypeKind::Decimal { precision: PRECISION_MAX, scale: *scale },
                kind if kind.is_numeric() => kind.clone(),
                _ => return Err(refused("(number)")),
            },
            (AggregateFunction::ListAgg, [text] | [text, _]) if text.kind.is_string() => DataType::string().kind,
            (AggregateFunction::ListAgg, _) => return Err(refused("(STRING [, separator])")),
            (AggregateFunction::ArrayAgg { .. }, [arg]) => {
                TypeKind::Array(Box::new(arg.with_nullable(arg.nullable || arg.kind == TypeKind::Null)))
            }
            (AggregateFunction::Collect, [arg]) => {
                return Ok(DataType::not_null(TypeKind::Multiset(Box::new(arg.clone()))));
            }
            (AggregateFunction::JsonArrayAgg { .. } | AggregateFunction::JsonObjectAgg { .. }, _) => {
                return Ok(DataType::not_null(DataType::string().kind));
            }
            (function, [arg]) if function == AggregateFunction::Avg || function.is_variance() => match &arg.kind {
                TypeKind::Decimal { scale, .. } => {
                    TypeKind::Decimal { precision: PRECISION_MAX, scale: (*scale).max(6) }
                }
                kind if kind.is_numeric() => kind.clone(),
                _ => return Err(refused("(number)")),
            },
            (AggregateFunction::Min | AggregateFunction::Max, [arg]) => match &arg.kind {
                TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_) | TypeKind::Null => {
                    return Err(refused("(value) of a type with an order"));
                }
                kind => kind.clone(),
            },
            (AggregateFunction::FirstValue | AggregateFunction::LastValue | AggregateFunction::SingleValue, [arg]) => {
                arg.kind.clone()
            }
            _ => return Err(refused("one value")),
        };
        Ok(DataType::new(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_types_follow_flink() {
        let dec = |precision, scale| TypeKind::Decimal { precision, scale };
        let cases = [
            ("SUM", TypeKind::Int, Some(TypeKind::Int)),
            ("SUM", dec(10, 2), Some(dec(38, 2))),
            ("SUM", TypeKind::Double, Some(TypeKind::Double)),
            ("SUM", TypeKind::Date, None),
            ("AVG", TypeKind::BigInt, Some(TypeKind::BigInt)),
            ("AVG", dec(10, 2), Some(dec(38, 6))),
            ("AVG", dec(20, 8), Some(dec(38, 8))),
            ("MIN", TypeKind::VarChar(5), Some(TypeKind::VarChar(5))),
            ("MAX", TypeKind::Array(Box::new(DataType::int())), None),
            (
                "FIRST_VALUE",
                TypeKind::Array(Box::new(DataType::int())),
                Some(TypeKind::Array(Box::new(DataType::int()))),
            ),
        ];
        for (name, input, expected) in cases {
            let function = AggregateFunction::lookup(name).expect("an aggregate");
            let result = function.result_type(&[DataType::not_null(input.clone())]).ok();
            assert_eq!(result, expected.map(DataType::new), "{name} of {input}");
        }
        let count = AggregateFunction::Count.result_type(&[DataType::int(), DataType::string()]);
        assert_eq!(count, Ok(DataType::not_null(TypeKind::BigInt)));
        assert!(AggregateFunction::Sum.result_type(&[]).is_err());
    }
}
