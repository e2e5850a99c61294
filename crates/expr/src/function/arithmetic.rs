//! `+`, `-`, `*`, `/`, `%` and MOD: numbers here and in [`decimal`], times and intervals in [`temporal`].
//!
//! Integers keep the wider type and wrap; their division truncates and fails on 0; FLOAT and DOUBLE follow IEEE (division by 0 gives an
//! infinity); DECIMAL follows Flink's rules for precision and scale. `-` with one argument negates, `+` with one argument does nothing.

mod decimal;
mod temporal;

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{ArrayRef, PrimitiveArray};
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::cast::common_type;
use crate::cast::number::cast_numbers;
use crate::eval::EvalContext;
use crate::function::binding::{any_nullable, strict, takes, types_of};
use crate::function::{Argument, FunctionError, Operand, ScalarFunction, Signature};
use crate::operand::{any_null, map_numbers, zip_numbers};

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Plus,
    Minus,
    Multiply,
    Divide,
    Remainder,
}

/// An arithmetic operator.
#[derive(Debug)]
pub(crate) struct Arithmetic {
    operation: Operation,
    name: &'static str,
    doc: &'static str,
}

pub(crate) static PLUS: Arithmetic = Arithmetic {
    operation: Operation::Plus,
    name: "+",
    doc: "value1 + value2: the sum of two numbers, two intervals, or a time and an interval",
};
pub(crate) static MINUS: Arithmetic = Arithmetic {
    operation: Operation::Minus,
    name: "-",
    doc: "value1 - value2, -value: the difference of two numbers, two intervals, or a time and an interval; with one value, its negation",
};
pub(crate) static MULTIPLY: Arithmetic = Arithmetic {
    operation: Operation::Multiply,
    name: "*",
    doc: "value1 * value2: the product of two numbers, or of an interval and a number",
};
pub(crate) static DIVIDE: Arithmetic = Arithmetic {
    operation: Operation::Divide,
    name: "/",
    doc: "number1 / number2: the quotient; truncated for integers, which fail on division by 0",
};
pub(crate) static REMAINDER: Arithmetic = Arithmetic {
    operation: Operation::Remainder,
    name: "%",
    doc: "number1 % number2: the remainder, with the sign of the first; of the second's type for integers",
};
pub(crate) static MOD: Arithmetic = Arithmetic {
    operation: Operation::Remainder,
    name: "MOD",
    doc: "MOD(number1, number2): the remainder, with the sign of the first; of the second's type for integers",
};

impl ScalarFunction for Arithmetic {
    fn name(&self) -> &'static str {
        self.name
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        let types = types_of(args);
        let refused = || {
            let given: Vec<String> = types.iter().map(|t| t.kind.to_string()).collect();
            takes(&format!("`{}` takes numbers (or times and intervals), not ({})", self.name, given.join(", ")))
        };
        match types.as_slice() {
            [one] if matches!(self.operation, Operation::Plus | Operation::Minus) => {
                let is_interval = matches!(one.kind, TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime);
                let returns = if one.kind == TypeKind::Null { TypeKind::Int } else { one.kind.clone() };
                if !is_interval && !returns.is_numeric() {
                    return Err(refused());
                }
                let args = vec![DataType { kind: returns.clone(), nullable: one.nullable }];
                Ok(strict(args, returns))
            }
            [left, right] => {
                if let Some(signature) = temporal::bind(self.operation, left, right) {
                    return Ok(signature);
                }
                bind_numbers(self.operation, left, right).ok_or_else(refused)
            }
            _ => Err(takes(&format!("`{}` takes two values", self.name))),
        }
    }
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        match args {
            [one] if self.operation == Operation::Minus => negate(one, &call.returns.kind, rows),
            [one] => one.clone().into_column(rows),
            [left, right] => {
                if temporal::is_temporal(call) {
                    return temporal::eval(self.operation, left, right, call, rows, context);
                }
                eval_numbers(self, left, right, call, rows)
            }
            _ => Err(Error::internal(format!("`{}` was bound to {} arguments", self.name, args.len()))),
        }
    }
    fn is_total(&self, args: &[DataType]) -> bool {
        // Times are checked for their range, and a division for its divisor.
        let divides = matches!(self.operation, Operation::Divide | Operation::Remainder);
        let are_inexact = args.iter().all(|t| matches!(t.kind, TypeKind::Float | TypeKind::Double));
        are_inexact || !divides && args.iter().all(|t| t.kind.is_numeric())
    }
}

fn bind_numbers(operation: Operation, left: &DataType, right: &DataType) -> Option<Signature> {
    let is_number = |t: &DataType| t.kind.is_numeric() || t.kind == TypeKind::Null;
    if !is_number(left) || !is_number(right) {
        return None;
    }
    let common = common_type(&[left.clone(), right.clone()])?;
    let kind = match (&left.kind, common.kind) {
        (_, TypeKind::Null) => TypeKind::Int,
        // FLOAT and DOUBLE have one rank in Flink's arithmetic, and the left one wins.
        (TypeKind::Float, TypeKind::Double) if right.kind == TypeKind::Double => TypeKind::Float,
        (_, kind) => kind,
    };
    let nullable = any_nullable(&[left.clone(), right.clone()]) || left.kind == TypeKind::Null;
    let as_kind = |t: &DataType, kind: &TypeKind| DataType { kind: kind.clone(), nullable: t.nullable };
    if matches!(kind, TypeKind::Decimal { .. }) {
        let exact = |t: &DataType| {
            let (precision, scale) = crate::cast::decimal::digits(&t.kind);
            as_kind(t, &TypeKind::Decimal { precision, scale })
        };
        let args = vec![exact(left), exact(right)];
        let returns = decimal::result_type(operation, &args[0].kind, &args[1].kind);
        return Some(Signature { args, returns: DataType { kind: returns, nullable } });
    }
    let returns = match operation {
        Operation::Remainder if kind.is_integer() && right.kind.is_integer() => right.kind.clone(),
        _ => kind.clone(),
    };
    let args = vec![as_kind(left, &kind), as_kind(right, &kind)];
    Some(Signature { args, returns: DataType { kind: returns, nullable } })
}

fn eval_numbers(
    function: &Arithmetic,
    left: &Operand,
    right: &Operand,
    call: &Signature,
    rows: usize,
) -> Result<ArrayRef> {
    let operation = function.operation;
    let computed = match &call.args[0].kind {
        TypeKind::TinyInt => integers::<Int8Type>(function, left, right, rows)?,
        TypeKind::SmallInt => integers::<Int16Type>(function, left, right, rows)?,
        TypeKind::Int => integers::<Int32Type>(function, left, right, rows)?,
        TypeKind::BigInt => integers::<Int64Type>(function, left, right, rows)?,
        TypeKind::Float => floats::<Float32Type>(operation, left, right, rows),
        TypeKind::Double => floats::<Float64Type>(operation, left, right, rows),
        TypeKind::Decimal { .. } => return decimal::eval(function, left, right, call, rows),
        other => return Err(Error::internal(format!("`{}` was bound to {other}", function.name))),
    };
    // The remainder of integers has the type of the divisor, and its values fit there.
    cast_numbers(&computed, &call.args[0].kind, &call.returns.kind)
}

/// Integer operations with Java's overflow.
trait Wrapping: Copy + PartialEq + std::fmt::Display {
    const ZERO: Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn divided_by(self, other: Self) -> Self;
    fn remainder(self, other: Self) -> Self;
}

macro_rules! wrapping {
    ($($native:ty),*) => {$(
        impl Wrapping for $native {
            const ZERO: Self = 0;
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn divided_by(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_div(other) } }
            fn remainder(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_rem(other) } }
        }
    )*};
}
wrapping!(i8, i16, i32, i64);

fn integers<T>(function: &Arithmetic, left: &Operand, right: &Operand, rows: usize) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Wrapping,
{
    let result: PrimitiveArray<T> = match function.operation {
        Operation::Plus => zip_numbers::<T, T, T>(left, right, rows, Wrapping::plus),
        Operation::Minus => zip_numbers::<T, T, T>(left, right, rows, Wrapping::minus),
        Operation::Multiply => zip_numbers::<T, T, T>(left, right, rows, Wrapping::times),
        Operation::Divide => {
            check_divisor::<T>(function.name, left, right, rows)?;
            zip_numbers::<T, T, T>(left, right, rows, Wrapping::divided_by)
        }
        Operation::Remainder => {
            check_divisor::<T>(function.name, left, right, rows)?;
            zip_numbers::<T, T, T>(left, right, rows, Wrapping::remainder)
        }
    };
    Ok(Arc::new(result))
}

/// Fails when a row divides by 0; rows where either side is NULL do not divide.
fn check_divisor<T>(name: &str, left: &Operand, right: &Operand, rows: usize) -> Result<()>
where
    T: ArrowPrimitiveType,
    T::Native: Wrapping,
{
    let (a, b) = (left.numbers::<T>(), right.numbers::<T>());
    let looked_at = if left.step() + right.step() == 0 { rows.min(1) } else { rows };
    for row in 0..looked_at {
        if b.raw(row) == T::Native::ZERO
            && b.get(row).is_some()
            && let Some(dividend) = a.get(row)
        {
            return Err(division_by_zero(name, &dividend.to_string()));
        }
    }
    Ok(())
}

pub(crate) fn division_by_zero(name: &str, dividend: &str) -> Error {
    Error::data(format!("division by zero in `{dividend} {name} 0`"))
        .hint("guard it: CASE WHEN divisor <> 0 THEN ... END, or divide by NULLIF(divisor, 0)")
}

fn floats<T>(operation: Operation, left: &Operand, right: &Operand, rows: usize) -> ArrayRef
where
    T: ArrowPrimitiveType,
    T::Native: std::ops::Add<Output = T::Native>
        + std::ops::Sub<Output = T::Native>
        + std::ops::Mul<Output = T::Native>
        + std::ops::Div<Output = T::Native>
        + std::ops::Rem<Output = T::Native>,
{
    Arc::new(match operation {
        Operation::Plus => zip_numbers::<T, T, T>(left, right, rows, |a, b| a + b),
        Operation::Minus => zip_numbers::<T, T, T>(left, right, rows, |a, b| a - b),
        Operation::Multiply => zip_numbers::<T, T, T>(left, right, rows, |a, b| a * b),
        Operation::Divide => zip_numbers::<T, T, T>(left, right, rows, |a, b| a / b),
        Operation::Remainder => zip_numbers::<T, T, T>(left, right, rows, |a, b| a % b),
    })
}

fn negate(operand: &Operand, kind: &TypeKind, rows: usize) -> Result<ArrayRef> {
    macro_rules! negated {
        ($type:ty, $op:expr) => {
            Arc::new(map_numbers::<$type, $type>(operand, rows, $op))
        };
    }
    Ok(match kind {
        TypeKind::TinyInt => negated!(Int8Type, i8::wrapping_neg),
        TypeKind::SmallInt => negated!(Int16Type, i16::wrapping_neg),
        TypeKind::Int | TypeKind::IntervalYearMonth => negated!(Int32Type, i32::wrapping_neg),
        TypeKind::BigInt | TypeKind::IntervalDayTime => negated!(Int64Type, i64::wrapping_neg),
        TypeKind::Float => negated!(Float32Type, |v: f32| -v),
        TypeKind::Double => negated!(Float64Type, |v: f64| -v),
        TypeKind::Decimal { .. } => {
            let values = map_numbers::<Decimal128Type, Decimal128Type>(operand, rows, i128::wrapping_neg);
            Arc::new(values.with_data_type(kind.to_arrow()))
        }
        other => return Err(Error::internal(format!("`-` was bound to {other}"))),
    })
}

/// The NULL rows of two operands.
pub(crate) fn pair_nulls(left: &Operand, right: &Operand, rows: usize) -> Option<arrow_buffer::NullBuffer> {
    any_null(&[left.clone(), right.clone()], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::testing::{b, check, d, date, dec, i, l, null, of, run, s, ts};

    #[test]
    fn numbers_follow_flink() {
        let n = || null(TypeKind::Int);
        check(&[
            ("+", vec![i(1), i(2)], "3"),
            ("+", vec![i(i32::MAX), i(1)], "-2147483648"),
            ("+", vec![i(i32::MAX), l(1)], "2147483648"),
            ("+", vec![i(1), n()], "NULL"),
            ("-", vec![i(5)], "-5"),
            ("+", vec![i(5)], "5"),
            ("-", vec![dec(150, 5, 2)], "-1.50"),
            ("/", vec![i(5), i(2)], "2"),
            ("/", vec![i(-5), i(2)], "-2"),
            ("/", vec![i(5), i(0)], "error: division by zero in `5 / 0`"),
            ("/", vec![n(), i(0)], "NULL"),
            ("/", vec![i(i32::MIN), i(-1)], "-2147483648"),
            ("/", vec![d(5.0), i(0)], "Infinity"),
            ("%", vec![i(-5), i(3)], "-2"),
            ("MOD", vec![l(10_000_000_000), i(7)], "4"),
            ("MOD", vec![i(5), i(0)], "error: division by zero in `5 MOD 0`"),
            ("*", vec![dec(908, 3, 3), l(10)], "9.080"),
            ("+", vec![dec(150, 3, 2), dec(5, 1, 0)], "6.50"),
            ("-", vec![dec(150, 3, 2), i(2)], "-0.50"),
            ("/", vec![dec(100, 3, 2), dec(3, 1, 0)], "0.333333"),
            ("/", vec![dec(100, 3, 2), dec(0, 1, 0)], "error: division by zero in `1.00 / 0`"),
            ("%", vec![dec(550, 3, 2), dec(2, 1, 0)], "1.50"),
            ("*", vec![d(2.0), dec(150, 3, 2)], "3.0"),
            ("+", vec![s("1"), i(1)], "bind: `+` takes numbers (or times and intervals), not (STRING, INT)"),
            ("+", vec![b(true), i(1)], "bind: `+` takes numbers (or times and intervals), not (BOOLEAN, INT)"),
        ]);
        let widest = crate::cast::decimal::power(38) - 1;
        assert_eq!(run("+", &[dec(widest, 38, 0), dec(1, 38, 0)]), "NULL");
    }

    #[test]
    fn times_move_by_intervals() {
        use crate::function::testing::Arg;
        use wiesel_core::Value;
        let months = |n| Arg(TypeKind::IntervalYearMonth, Value::Months(n));
        let millis = |n| Arg(TypeKind::IntervalDayTime, Value::Millis(n));
        check(&[
            ("-", vec![ts("2024-01-01 00:00:00"), millis(5000)], "2023-12-31 23:59:55.000"),
            ("+", vec![millis(1), ts("2024-01-01 00:00:00")], "2024-01-01 00:00:00.001"),
            ("+", vec![ts("2024-01-31 10:00:00"), months(1)], "2024-02-29 10:00:00.000"),
            ("-", vec![date("2024-03-31"), months(1)], "2024-02-29"),
            ("+", vec![date("2024-03-31"), millis(86_400_000)], "2024-04-01"),
            ("+", vec![of(TypeKind::Time(0), "23:59:59"), millis(1000)], "00:00:00"),
            (
                "+",
                vec![of(TypeKind::Timestamp(9), "2024-01-01 00:00:00.123456789"), millis(1)],
                "2024-01-01 00:00:00.124456789",
            ),
            ("+", vec![ts("2024-01-01"), null(TypeKind::IntervalDayTime)], "NULL"),
            ("+", vec![months(13), months(1)], "+1-02"),
            ("-", vec![millis(1), millis(2)], "-0 00:00:00.001"),
            ("*", vec![millis(1000), i(60)], "+0 00:01:00.000"),
            ("*", vec![i(2), months(7)], "+1-02"),
        ]);
    }
}
