//! Times and intervals: a time plus or minus an interval, sums and differences of intervals, an interval times a number.
//!
//! A DATE moves by whole days, a TIME wraps at midnight, months keep the day where the new month has it (else its last day). An instant
//! (TIMESTAMP_LTZ) moves on the time line of UTC.

use std::sync::Arc;

use arrow_array::types::{Date32Type, Int32Type, Int64Type, Time32MillisecondType};
use arrow_array::{ArrayRef, Int64Array, PrimitiveArray};
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::arithmetic::{Operation, pair_nulls};
use crate::function::datetime::Walls;
use crate::function::{Operand, Signature};
use crate::operand::zip_numbers;
use crate::time::civil::{DAY_MS, DAY_S, add_months};
use crate::time::column::{TimestampBuilder, Timestamps, timestamp_array, units_per_second};

fn is_interval(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime)
}

fn is_time(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Date | TypeKind::Time(_) | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_))
}

/// Whether one time can be taken from the other: both on the wall clock, both instants, or both times of day.
fn are_comparable_times(left: &TypeKind, right: &TypeKind) -> bool {
    use TypeKind as T;
    matches!(
        (left, right),
        (T::Date | T::Timestamp(_), T::Date | T::Timestamp(_))
            | (T::TimestampLtz(_), T::TimestampLtz(_))
            | (T::Time(_), T::Time(_))
    )
}

/// Whether a call works on times or intervals.
pub(crate) fn is_temporal(call: &Signature) -> bool {
    call.args.iter().any(|t| is_interval(&t.kind) || is_time(&t.kind))
}

/// The signature, when the operator has a meaning for these types.
pub(crate) fn bind(operation: Operation, left: &DataType, right: &DataType) -> Option<Signature> {
    use Operation as O;
    let (l, r) = (&left.kind, &right.kind);
    let months_on_time = |time: &TypeKind, interval: &TypeKind| {
        matches!((time, interval), (TypeKind::Time(_), TypeKind::IntervalYearMonth))
    };
    let returns = match operation {
        O::Plus | O::Minus if is_time(l) && is_interval(r) && !months_on_time(l, r) => l.clone(),
        O::Plus if is_interval(l) && is_time(r) && !months_on_time(r, l) => r.clone(),
        O::Plus | O::Minus if is_interval(l) && l == r => l.clone(),
        O::Minus if are_comparable_times(l, r) => TypeKind::IntervalDayTime,
        O::Multiply if is_interval(l) && r.is_integer() => l.clone(),
        O::Multiply if l.is_integer() && is_interval(r) => r.clone(),
        _ => return None,
    };
    let factor = |t: &DataType| {
        if t.kind.is_integer() { DataType { kind: TypeKind::BigInt, nullable: t.nullable } } else { t.clone() }
    };
    let nullable = left.nullable || right.nullable;
    Some(Signature { args: vec![factor(left), factor(right)], returns: DataType { kind: returns, nullable } })
}

/// Evaluates what [`bind`] bound.
pub(crate) fn eval(
    operation: Operation,
    left: &Operand,
    right: &Operand,
    call: &Signature,
    rows: usize,
    context: &EvalContext,
) -> Result<ArrayRef> {
    let (l, r) = (&call.args[0].kind, &call.args[1].kind);
    if is_time(l) && is_time(r) {
        return subtract_times((left, l), (right, r), rows, context);
    }
    if is_time(l) || is_time(r) {
        let (time, interval, time_kind, interval_kind) =
            if is_time(l) { (left, right, l, r) } else { (right, left, r, l) };
        let sign = if operation == Operation::Minus { -1 } else { 1 };
        return match interval_kind {
            TypeKind::IntervalYearMonth => move_months(time, time_kind, interval, sign, rows),
            _ => move_millis(time, time_kind, interval, sign, rows),
        };
    }
    match (operation, l, r) {
        (Operation::Multiply, TypeKind::BigInt, _) => multiply(right, left, r, rows),
        (Operation::Multiply, ..) => multiply(left, right, l, rows),
        (Operation::Minus, TypeKind::IntervalYearMonth, _) => {
            Ok(Arc::new(zip_numbers::<Int32Type, Int32Type, Int32Type>(left, right, rows, i32::wrapping_sub)))
        }
        (_, TypeKind::IntervalYearMonth, _) => {
            Ok(Arc::new(zip_numbers::<Int32Type, Int32Type, Int32Type>(left, right, rows, i32::wrapping_add)))
        }
        (Operation::Minus, ..) => {
            Ok(Arc::new(zip_numbers::<Int64Type, Int64Type, Int64Type>(left, right, rows, i64::wrapping_sub)))
        }
        _ => Ok(Arc::new(zip_numbers::<Int64Type, Int64Type, Int64Type>(left, right, rows, i64::wrapping_add))),
    }
}

/// The milliseconds between two times.
fn subtract_times(
    left: (&Operand, &TypeKind),
    right: (&Operand, &TypeKind),
    rows: usize,
    context: &EvalContext,
) -> Result<ArrayRef> {
    // Instants are apart what they are apart in UTC.
    let utc = |kind: &TypeKind| match kind {
        TypeKind::TimestampLtz(p) => TypeKind::Timestamp(*p),
        kind => kind.clone(),
    };
    let (left, right) = (Walls::new(left.0, &utc(left.1), context)?, Walls::new(right.0, &utc(right.1), context)?);
    let millis = |(seconds, nano): (i64, u32)| seconds * 1000 + i64::from(nano / 1_000_000);
    let between = |row: usize| Some(millis(left.get(row)?) - millis(right.get(row)?));
    Ok(Arc::new((0..rows).map(between).collect::<Int64Array>()))
}

fn multiply(interval: &Operand, factor: &Operand, kind: &TypeKind, rows: usize) -> Result<ArrayRef> {
    Ok(match kind {
        TypeKind::IntervalYearMonth => {
            Arc::new(zip_numbers::<Int32Type, Int64Type, Int32Type>(interval, factor, rows, |i, f| {
                i.wrapping_mul(f as i32)
            }))
        }
        _ => Arc::new(zip_numbers::<Int64Type, Int64Type, Int64Type>(interval, factor, rows, i64::wrapping_mul)),
    })
}

fn move_months(time: &Operand, kind: &TypeKind, interval: &Operand, sign: i64, rows: usize) -> Result<ArrayRef> {
    match kind {
        TypeKind::Date => {
            let moved: PrimitiveArray<Date32Type> =
                zip_numbers::<Date32Type, Int32Type, Date32Type>(time, interval, rows, |days, months| {
                    add_months(days.into(), sign * i64::from(months)) as i32
                });
            Ok(Arc::new(moved))
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let (times, months) = (Timestamps::of(time), interval.numbers::<Int32Type>());
            let mut builder = TimestampBuilder::new(*p, rows);
            for row in 0..rows {
                builder.push_option(match (times.get(row), months.get(row)) {
                    (Some((seconds, nano)), Some(months)) => {
                        let days = add_months(seconds.div_euclid(DAY_S), sign * i64::from(months));
                        Some((days * DAY_S + seconds.rem_euclid(DAY_S), nano))
                    }
                    _ => None,
                })?;
            }
            Ok(builder.finish())
        }
        other => Err(Error::internal(format!("{other} does not move by months"))),
    }
}

fn move_millis(time: &Operand, kind: &TypeKind, interval: &Operand, sign: i64, rows: usize) -> Result<ArrayRef> {
    match kind {
        TypeKind::Date => {
            let moved: PrimitiveArray<Date32Type> =
                zip_numbers::<Date32Type, Int64Type, Date32Type>(time, interval, rows, |days, ms| {
                    days.wrapping_add((sign * (ms / DAY_MS)) as i32)
                });
            Ok(Arc::new(moved))
        }
        TypeKind::Time(_) => {
            let moved: PrimitiveArray<Time32MillisecondType> = zip_numbers::<
                Time32MillisecondType,
                Int64Type,
                Time32MillisecondType,
            >(time, interval, rows, |time, ms| {
                (i64::from(time) + sign * (ms % DAY_MS)).rem_euclid(DAY_MS) as i32
            });
            Ok(Arc::new(moved))
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => move_timestamps(time, *p, interval, sign, rows),
        other => Err(Error::internal(format!("{other} does not move by an interval"))),
    }
}

/// Adds in the column's own unit, and fails where that leaves its range.
fn move_timestamps(time: &Operand, precision: u8, interval: &Operand, sign: i64, rows: usize) -> Result<ArrayRef> {
    let per_ms = units_per_second(precision) / 1000 * sign;
    let millis = interval.numbers::<Int64Type>();
    let nulls = pair_nulls(time, interval, rows);
    let array = time.array().to_data();
    let stored = &array.buffer::<i64>(0)[array.offset()..array.offset() + array.len()];
    let step = time.step();
    let mut values = Vec::with_capacity(rows);
    for row in 0..rows {
        let moved = millis.raw(row).checked_mul(per_ms).and_then(|delta| stored[row * step].checked_add(delta));
        values.push(match moved {
            Some(moved) => moved,
            None if nulls.as_ref().is_some_and(|n| n.is_null(row)) => 0,
            None => {
                return Err(Error::data(format!(
                    "a TIMESTAMP({precision}) moved by {} ms leaves the range of its type",
                    millis.raw(row)
                )));
            }
        });
    }
    Ok(timestamp_array(values, nulls, precision))
}
