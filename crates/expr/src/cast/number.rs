//! Casts between numbers: integers wrap, DOUBLE and FLOAT to integers truncate and saturate, DECIMAL rounds HALF_UP and gives NULL
//! where the digits do not suffice. Loops have no branch per row where the target is a plain number.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Decimal128Array, PrimitiveArray};
use arrow_buffer::BooleanBuffer;
use wiesel_core::{Error, Result, TypeKind};

use crate::cast::decimal;

/// The integer type that stores an interval.
pub fn stored_as(interval: &TypeKind) -> TypeKind {
    match interval {
        TypeKind::IntervalYearMonth => TypeKind::Int,
        TypeKind::IntervalDayTime => TypeKind::BigInt,
        other => other.clone(),
    }
}

fn map<A, B>(array: &ArrayRef, op: impl Fn(A::Native) -> B::Native) -> ArrayRef
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
{
    let array = array.as_primitive::<A>();
    let values = array.values().iter().map(|v| op(*v)).collect();
    Arc::new(PrimitiveArray::<B>::new(values, array.nulls().cloned()))
}

fn to_decimals<A: ArrowPrimitiveType>(
    array: &ArrayRef,
    to: &TypeKind,
    op: impl Fn(A::Native) -> Option<i128>,
) -> ArrayRef {
    let array = array.as_primitive::<A>();
    let decimals: Decimal128Array = array.iter().map(|v| v.and_then(&op)).collect();
    Arc::new(decimals.with_data_type(to.to_arrow()))
}

macro_rules! from_integer {
    ($from:ty, $array:expr, $to:expr) => {
        match $to {
            TypeKind::TinyInt => map::<$from, Int8Type>($array, |v| v as i8),
            TypeKind::SmallInt => map::<$from, Int16Type>($array, |v| v as i16),
            TypeKind::Int | TypeKind::IntervalYearMonth => map::<$from, Int32Type>($array, |v| v as i32),
            TypeKind::BigInt | TypeKind::IntervalDayTime => map::<$from, Int64Type>($array, |v| v as i64),
            TypeKind::Float => map::<$from, Float32Type>($array, |v| v as f32),
            TypeKind::Double => map::<$from, Float64Type>($array, |v| v as f64),
            TypeKind::Decimal { precision, scale } => {
                to_decimals::<$from>($array, $to, |v| decimal::rescale(v.into(), 0, *scale, *precision))
            }
            _ => return Err(Error::internal(format!("{} is not a number", $to))),
        }
    };
}

macro_rules! from_float {
    ($from:ty, $array:expr, $to:expr) => {
        match $to {
            // The narrow integers go through INT, as in Java: saturate there, then wrap.
            TypeKind::TinyInt => map::<$from, Int8Type>($array, |v| v as i32 as i8),
            TypeKind::SmallInt => map::<$from, Int16Type>($array, |v| v as i32 as i16),
            TypeKind::Int => map::<$from, Int32Type>($array, |v| v as i32),
            TypeKind::BigInt => map::<$from, Int64Type>($array, |v| v as i64),
            TypeKind::Float => map::<$from, Float32Type>($array, |v| v as f32),
            TypeKind::Double => map::<$from, Float64Type>($array, |v| v as f64),
            TypeKind::Decimal { precision, scale } => {
                to_decimals::<$from>($array, $to, |v| double_to_decimal(v as f64, *precision, *scale))
            }
            _ => return Err(Error::internal(format!("{} is not a number", $to))),
        }
    };
}

/// The DECIMAL of a double's shortest text; NULL for NaN, infinities and what is too large.
pub fn double_to_decimal(value: f64, precision: u8, scale: u8) -> Option<i128> {
    if !value.is_finite() {
        return None;
    }
    let mut buffer = ryu::Buffer::new();
    match decimal::parse(buffer.format_finite(value), precision, scale) {
        decimal::Parsed::Value(value) => Some(value),
        _ => None,
    }
}

/// Casts between two numeric types.
pub fn cast_numbers(array: &ArrayRef, from: &TypeKind, to: &TypeKind) -> Result<ArrayRef> {
    Ok(match from {
        TypeKind::TinyInt => from_integer!(Int8Type, array, to),
        TypeKind::SmallInt => from_integer!(Int16Type, array, to),
        TypeKind::Int => from_integer!(Int32Type, array, to),
        TypeKind::BigInt => from_integer!(Int64Type, array, to),
        TypeKind::Float => from_float!(Float32Type, array, to),
        TypeKind::Double => from_float!(Float64Type, array, to),
        TypeKind::Decimal { scale, .. } => from_decimals(array, *scale, to)?,
        _ => return Err(Error::internal(format!("{from} is not a number"))),
    })
}

fn from_decimals(array: &ArrayRef, from_scale: u8, to: &TypeKind) -> Result<ArrayRef> {
    let divisor = decimal::power(from_scale);
    Ok(match to {
        TypeKind::TinyInt => map::<Decimal128Type, Int8Type>(array, |v| (v / divisor) as i8),
        TypeKind::SmallInt => map::<Decimal128Type, Int16Type>(array, |v| (v / divisor) as i16),
        TypeKind::Int => map::<Decimal128Type, Int32Type>(array, |v| (v / divisor) as i32),
        TypeKind::BigInt => map::<Decimal128Type, Int64Type>(array, |v| (v / divisor) as i64),
        TypeKind::Float => map::<Decimal128Type, Float32Type>(array, |v| decimal::to_double(v, from_scale) as f32),
        TypeKind::Double => map::<Decimal128Type, Float64Type>(array, |v| decimal::to_double(v, from_scale)),
        TypeKind::Decimal { precision, scale } => {
            to_decimals::<Decimal128Type>(array, to, |v| decimal::rescale(v, from_scale, *scale, *precision))
        }
        _ => return Err(Error::internal(format!("{to} is not a number"))),
    })
}

/// BOOLEAN to a number: 1 and 0.
pub fn from_booleans(array: &ArrayRef, to: &TypeKind) -> Result<ArrayRef> {
    let booleans = array.as_boolean();
    let integers: ArrayRef = Arc::new(PrimitiveArray::<Int32Type>::new(
        booleans.values().iter().map(i32::from).collect(),
        booleans.nulls().cloned(),
    ));
    cast_numbers(&integers, &TypeKind::Int, to)
}

/// A number to BOOLEAN: whether it is not 0.
pub fn to_booleans(array: &ArrayRef, from: &TypeKind) -> Result<ArrayRef> {
    if let TypeKind::Decimal { .. } = from {
        let digits = array.as_primitive::<Decimal128Type>();
        let values = BooleanBuffer::collect_bool(digits.len(), |i| digits.values()[i] != 0);
        return Ok(Arc::new(BooleanArray::new(values, digits.nulls().cloned())));
    }
    // Every integer keeps its being 0 or not in a DOUBLE.
    let wide = cast_numbers(array, from, &TypeKind::Double)?;
    let wide = wide.as_primitive::<Float64Type>();
    let values = BooleanBuffer::collect_bool(wide.len(), |i| wide.values()[i] != 0.0);
    Ok(Arc::new(BooleanArray::new(values, wide.nulls().cloned())))
}
