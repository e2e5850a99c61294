//! Timestamp columns whatever their unit: read as seconds and nanoseconds, written with the range of the unit checked.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, types as at,
};
use arrow_buffer::{NullBuffer, NullBufferBuilder};
use arrow_schema::{DataType, TimeUnit};
use wiesel_core::types::timestamp_unit;
use wiesel_core::{Error, Result};

use crate::function::Operand;

/// Reads TIMESTAMP and TIMESTAMP_LTZ of any precision.
#[derive(Clone, Copy)]
pub struct Timestamps<'a> {
    values: &'a [i64],
    nulls: Option<&'a NullBuffer>,
    step: usize,
    per_second: i64,
}

impl<'a> Timestamps<'a> {
    /// Reads a column.
    pub fn new(array: &'a ArrayRef) -> Timestamps<'a> {
        Timestamps::with_step(array, 1)
    }

    /// Reads an argument.
    pub fn of(operand: &'a Operand) -> Timestamps<'a> {
        Timestamps::with_step(operand.array(), operand.step())
    }

    fn with_step(array: &'a ArrayRef, step: usize) -> Timestamps<'a> {
        let (values, per_second) = match array.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                (array.as_primitive::<at::TimestampMicrosecondType>().values(), 1_000_000)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                (array.as_primitive::<at::TimestampNanosecondType>().values(), 1_000_000_000)
            }
            _ => (array.as_primitive::<at::TimestampMillisecondType>().values(), 1_000),
        };
        Timestamps { values, nulls: array.nulls(), step, per_second }
    }

    /// Seconds since 1970 and nanoseconds of the second; `None` for NULL.
    #[inline]
    pub fn get(&self, row: usize) -> Option<(i64, u32)> {
        let index = row * self.step;
        if self.nulls.is_some_and(|n| n.is_null(index)) {
            return None;
        }
        Some(self.raw(row))
    }

    /// The same, whatever it is under a NULL.
    #[inline]
    pub fn raw(&self, row: usize) -> (i64, u32) {
        let value = self.values[row * self.step];
        let fraction = value.rem_euclid(self.per_second) * (1_000_000_000 / self.per_second);
        (value.div_euclid(self.per_second), fraction as u32)
    }

    /// Milliseconds since 1970, cut toward the past; `None` for NULL.
    #[inline]
    pub fn millis(&self, row: usize) -> Option<i64> {
        self.get(row).map(|(seconds, nano)| seconds * 1000 + i64::from(nano / 1_000_000))
    }
}

/// Builds a TIMESTAMP or TIMESTAMP_LTZ column.
#[derive(Debug)]
pub struct TimestampBuilder {
    values: Vec<i64>,
    nulls: NullBufferBuilder,
    precision: u8,
}

impl TimestampBuilder {
    /// For `rows` values of a precision.
    pub fn new(precision: u8, rows: usize) -> TimestampBuilder {
        TimestampBuilder { values: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows), precision }
    }

    /// Adds an instant; digits behind the precision are cut. Fails when the column's unit cannot hold it.
    pub fn push(&mut self, seconds: i64, nano: u32) -> Result<()> {
        let value = in_unit(seconds, nano, self.precision).ok_or_else(|| {
            Error::data(format!(
                "a TIMESTAMP({}) holds times between 1677-09-21 and 2262-04-11, and this one lies {seconds} s from 1970",
                self.precision
            ))
            .hint("a precision of 6 or less holds all years from 0 to 9999")
        })?;
        self.values.push(value);
        self.nulls.append_non_null();
        Ok(())
    }

    /// Adds an instant, or NULL.
    pub fn push_option(&mut self, at: Option<(i64, u32)>) -> Result<()> {
        match at {
            Some((seconds, nano)) => self.push(seconds, nano),
            None => {
                self.push_null();
                Ok(())
            }
        }
    }

    /// Adds NULL.
    pub fn push_null(&mut self) {
        self.values.push(0);
        self.nulls.append_null();
    }

    /// The column.
    pub fn finish(mut self) -> ArrayRef {
        timestamp_array(self.values, self.nulls.finish(), self.precision)
    }
}

/// A timestamp column out of values in the unit of the precision.
pub fn timestamp_array(values: Vec<i64>, nulls: Option<NullBuffer>, precision: u8) -> ArrayRef {
    match timestamp_unit(precision) {
        TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::new(values.into(), nulls)),
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::new(values.into(), nulls)),
        _ => Arc::new(TimestampMillisecondArray::new(values.into(), nulls)),
    }
}

/// How many units of a precision's column make a second.
pub fn units_per_second(precision: u8) -> i64 {
    match timestamp_unit(precision) {
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
        _ => 1_000,
    }
}

fn in_unit(seconds: i64, nano: u32, precision: u8) -> Option<i64> {
    let grain = 10_u32.pow(9 - u32::from(precision.min(9)));
    let nano = nano - nano % grain;
    let per_second = units_per_second(precision);
    seconds.checked_mul(per_second)?.checked_add(i64::from(nano) / (1_000_000_000 / per_second))
}
