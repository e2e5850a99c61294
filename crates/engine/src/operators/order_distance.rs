//! How far two rows of a partition are apart in the order: what a RANGE frame with a distance asks.
//!
//! ```text
//! RANGE BETWEEN 1.5 PRECEDING AND 2 FOLLOWING     keys 1 4 5 8, a row at 5:  8 - 5 > 2 ends the frame, 4 - 5 >= -1.5 begins it
//! ```
//! Keys are exact numbers, days of a DATE, milliseconds of the other times; FLOAT and DOUBLE stay what they are. A distance has a scale of
//! its own, so both sides are brought to the larger one.

use std::cmp::Ordering;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::{Error, Result};

/// See the module's head.
pub(super) struct OrderDistance {
    keys: Keys,
    is_descending: bool,
    /// The rows whose key is not NULL: they stand together.
    valid: Range<usize>,
}

enum Keys {
    /// Keys times 10 to the power of what their scale lacks; a bound is multiplied by `factor`.
    Exact { keys: Vec<i128>, factor: i128 },
    /// Keys as they are; a bound is divided by `divisor`.
    Double { keys: Vec<f64>, divisor: f64 },
}

impl OrderDistance {
    /// Over the first sort column of ordered rows, for bounds of this scale.
    pub(super) fn new(column: &ArrayRef, is_descending: bool, scale: u8) -> Result<Self> {
        let (exact, own_scale): (Vec<i128>, u8) = match column.data_type() {
            ArrowType::Int8 => (column.as_primitive::<Int8Type>().values().iter().map(|v| (*v).into()).collect(), 0),
            ArrowType::Int16 => (column.as_primitive::<Int16Type>().values().iter().map(|v| (*v).into()).collect(), 0),
            ArrowType::Int32 => (column.as_primitive::<Int32Type>().values().iter().map(|v| (*v).into()).collect(), 0),
            ArrowType::Int64 => (column.as_primitive::<Int64Type>().values().iter().map(|v| (*v).into()).collect(), 0),
            ArrowType::Date32 => {
                (column.as_primitive::<Date32Type>().values().iter().map(|v| (*v).into()).collect(), 0)
            }
            ArrowType::Decimal128(_, own) => {
                (column.as_primitive::<Decimal128Type>().values().to_vec(), u8::try_from(*own).unwrap_or(0))
            }
            ArrowType::Time32(TimeUnit::Millisecond) => {
                (column.as_primitive::<Time32MillisecondType>().values().iter().map(|v| (*v).into()).collect(), 0)
            }
            ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
                (column.as_primitive::<TimestampMillisecondType>().values().iter().map(|v| (*v).into()).collect(), 0)
            }
            ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
                (column.as_primitive::<TimestampMicrosecondType>().values().iter().map(|v| (*v).into()).collect(), 3)
            }
            ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
                (column.as_primitive::<TimestampNanosecondType>().values().iter().map(|v| (*v).into()).collect(), 6)
            }
            ArrowType::Float32 => {
                let keys = column.as_primitive::<Float32Type>().values().iter().map(|v| f64::from(*v)).collect();
                return Ok(Self::over(
                    column,
                    is_descending,
                    Keys::Double { keys, divisor: 10_f64.powi(scale.into()) },
                ));
            }
            ArrowType::Float64 => {
                let keys = column.as_primitive::<Float64Type>().values().to_vec();
                return Ok(Self::over(
                    column,
                    is_descending,
                    Keys::Double { keys, divisor: 10_f64.powi(scale.into()) },
                ));
            }
            other => return Err(Error::internal(format!("a RANGE with a distance over a key of type {other}"))),
        };
        let power = |digits: u8| 10_i128.saturating_pow(digits.into());
        let own_factor = power(scale.saturating_sub(own_scale));
        let keys = exact.into_iter().map(|key| key.saturating_mul(own_factor)).collect();
        let factor = power(own_scale.saturating_sub(scale));
        Ok(Self::over(column, is_descending, Keys::Exact { keys, factor }))
    }

    fn over(column: &ArrayRef, is_descending: bool, keys: Keys) -> Self {
        let start = (0..column.len()).find(|row| column.is_valid(*row)).unwrap_or(column.len());
        let valid = start..start + (column.len() - column.null_count());
        OrderDistance { keys, is_descending, valid }
    }

    /// The rows whose key is not NULL.
    pub(super) fn keys(&self) -> Range<usize> {
        self.valid.clone()
    }

    /// The way from `row` to `other`, in the direction of the order, beside `bound`.
    pub(super) fn compare(&self, other: usize, row: usize, bound: i128) -> Ordering {
        let (from, to) = if self.is_descending { (other, row) } else { (row, other) };
        match &self.keys {
            Keys::Exact { keys, factor } => keys[to].saturating_sub(keys[from]).cmp(&bound.saturating_mul(*factor)),
            Keys::Double { keys, divisor } => (keys[to] - keys[from]).total_cmp(&(bound as f64 / divisor)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Decimal128Array, Float64Array, Int32Array};
    use std::sync::Arc;

    #[test]
    fn a_distance_is_measured_in_the_direction_of_the_order() {
        let integers: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(1), Some(4)]));
        let decimals: ArrayRef =
            Arc::new(Decimal128Array::from(vec![None, Some(100), Some(400)]).with_precision_and_scale(10, 2).unwrap());
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(1.0), Some(4.0)]));
        for (column, scale, three) in [(integers, 1, 30), (decimals, 0, 3), (doubles, 1, 30)] {
            let ascending = OrderDistance::new(&column, false, scale).unwrap();
            assert_eq!(ascending.keys(), 1..3);
            assert_eq!(ascending.compare(2, 1, three), Ordering::Equal);
            assert_eq!(ascending.compare(1, 2, -three), Ordering::Equal);
            assert_eq!(ascending.compare(2, 1, three - 1), Ordering::Greater);
            let descending = OrderDistance::new(&column, true, scale).unwrap();
            assert_eq!(descending.compare(2, 1, -three), Ordering::Equal);
        }
    }
}
