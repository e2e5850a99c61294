//! Columns on their way into and out of accumulators, in three shapes instead of twenty types.
//!
//! | shape | SQL types |
//! |---|---|
//! | i64 | integers, BOOLEAN, dates, times, intervals, and FLOAT and DOUBLE as numbers that sort as they do |
//! | i128 | DECIMAL |
//! | bytes | everything else, as key fields of [`codec`](crate::state::codec): they sort, and NULL stands inside |

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as at;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::types::timestamp_unit;
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::state::codec::{KeyBuffer, Nulls, Reader, decode_column, encode_keys, put_bytes};

/// The shape that carries a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    I64,
    I128,
    Bytes,
}

impl Shape {
    pub(crate) fn of(kind: &TypeKind) -> Shape {
        match kind {
            TypeKind::Decimal { .. } => Shape::I128,
            TypeKind::Null
            | TypeKind::Char(_)
            | TypeKind::VarChar(_)
            | TypeKind::Binary(_)
            | TypeKind::VarBinary(_)
            | TypeKind::Array(_)
            | TypeKind::Map(_, _)
            | TypeKind::Multiset(_)
            | TypeKind::Row(_) => Shape::Bytes,
            _ => Shape::I64,
        }
    }
}

/// A DOUBLE as a number of the same order, -0 below 0 and NaN above all.
pub(crate) fn sortable(value: f64) -> i64 {
    let bits = if value.is_nan() { f64::NAN.to_bits().cast_signed() & i64::MAX } else { value.to_bits().cast_signed() };
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// The DOUBLE of a number of [`sortable`].
pub(crate) fn from_sortable(value: i64) -> f64 {
    f64::from_bits((if value < 0 { value ^ i64::MAX } else { value }).cast_unsigned())
}

/// One argument column of an aggregate, read once per batch.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) numbers: Vec<i64>,
    pub(crate) decimals: Vec<i128>,
    pub(crate) bytes: KeyBuffer,
}

impl Input {
    /// Reads a column in a shape. Rows that are NULL hold anything.
    pub(crate) fn load(&mut self, array: &ArrayRef, shape: Shape) -> Result<()> {
        match shape {
            Shape::Bytes => {
                self.bytes.clear();
                encode_keys(std::slice::from_ref(array), array.len(), &mut self.bytes)
            }
            Shape::I128 => {
                self.decimals.clear();
                self.decimals.extend_from_slice(array.as_primitive::<at::Decimal128Type>().values());
                Ok(())
            }
            Shape::I64 => self.load_numbers(array),
        }
    }

    fn load_numbers(&mut self, array: &ArrayRef) -> Result<()> {
        let out = &mut self.numbers;
        out.clear();
        match array.data_type() {
            ArrowType::Boolean => out.extend(array.as_boolean().values().iter().map(i64::from)),
            ArrowType::Int8 => out.extend(array.as_primitive::<at::Int8Type>().values().iter().map(|v| i64::from(*v))),
            ArrowType::Int16 => {
                out.extend(array.as_primitive::<at::Int16Type>().values().iter().map(|v| i64::from(*v)));
            }
            ArrowType::Int32 => {
                out.extend(array.as_primitive::<at::Int32Type>().values().iter().map(|v| i64::from(*v)));
            }
            ArrowType::Date32 => {
                out.extend(array.as_primitive::<at::Date32Type>().values().iter().map(|v| i64::from(*v)));
            }
            ArrowType::Time32(TimeUnit::Millisecond) => {
                out.extend(array.as_primitive::<at::Time32MillisecondType>().values().iter().map(|v| i64::from(*v)));
            }
            ArrowType::Int64 => out.extend_from_slice(array.as_primitive::<at::Int64Type>().values()),
            ArrowType::Timestamp(TimeUnit::Millisecond, None) => {
                out.extend_from_slice(array.as_primitive::<at::TimestampMillisecondType>().values());
            }
            ArrowType::Timestamp(TimeUnit::Microsecond, None) => {
                out.extend_from_slice(array.as_primitive::<at::TimestampMicrosecondType>().values());
            }
            ArrowType::Timestamp(TimeUnit::Nanosecond, None) => {
                out.extend_from_slice(array.as_primitive::<at::TimestampNanosecondType>().values());
            }
            ArrowType::Float32 => {
                out.extend(array.as_primitive::<at::Float32Type>().values().iter().map(|v| sortable(f64::from(*v))));
            }
            ArrowType::Float64 => {
                out.extend(array.as_primitive::<at::Float64Type>().values().iter().map(|v| sortable(*v)));
            }
            other => return Err(Error::internal(format!("an aggregate reads a column of Arrow type {other}"))),
        }
        Ok(())
    }
}

/// Results of an accumulator, one after the other.
#[derive(Debug)]
pub(crate) struct Values {
    shape: Shape,
    numbers: Vec<i64>,
    decimals: Vec<i128>,
    bytes: KeyBuffer,
    nulls: Vec<u32>,
}

impl Values {
    pub(crate) fn new(shape: Shape) -> Self {
        Values { shape, numbers: Vec::new(), decimals: Vec::new(), bytes: KeyBuffer::default(), nulls: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.numbers.clear();
        self.decimals.clear();
        self.bytes.clear();
        self.nulls.clear();
    }

    pub(crate) fn len(&self) -> usize {
        match self.shape {
            Shape::I64 => self.numbers.len(),
            Shape::I128 => self.decimals.len(),
            Shape::Bytes => self.bytes.len(),
        }
    }

    pub(crate) fn push_null(&mut self) {
        match self.shape {
            Shape::I64 => {
                self.nulls.push(u32::try_from(self.numbers.len()).unwrap_or(u32::MAX));
                self.numbers.push(0);
            }
            Shape::I128 => {
                self.nulls.push(u32::try_from(self.decimals.len()).unwrap_or(u32::MAX));
                self.decimals.push(0);
            }
            // A key field of NULL.
            Shape::Bytes => self.bytes.push(&[0]),
        }
    }

    pub(crate) fn push_number(&mut self, value: i64) {
        debug_assert_eq!(self.shape, Shape::I64);
        self.numbers.push(value);
    }

    pub(crate) fn push_decimal(&mut self, value: i128) {
        debug_assert_eq!(self.shape, Shape::I128);
        self.decimals.push(value);
    }

    pub(crate) fn push_bytes(&mut self, field: &[u8]) {
        debug_assert_eq!(self.shape, Shape::Bytes);
        self.bytes.push(field);
    }

    /// Appends what stands at a place, for a checkpoint.
    pub(crate) fn encode(&self, index: usize, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_null(index)));
        match self.shape {
            Shape::I64 => out.extend(self.numbers[index].to_le_bytes()),
            Shape::I128 => out.extend(self.decimals[index].to_le_bytes()),
            Shape::Bytes => put_bytes(self.bytes.key(index), out),
        }
    }

    /// Appends what `encode` wrote.
    pub(crate) fn decode(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let place = u32::try_from(self.len()).unwrap_or(u32::MAX);
        if reader.byte()? != 0 {
            self.nulls.push(place);
        }
        match self.shape {
            Shape::I64 => self.numbers.push(reader.i64()?),
            Shape::I128 => self.decimals.push(reader.i128()?),
            Shape::Bytes => self.bytes.push(reader.bytes()?),
        }
        Ok(())
    }

    fn is_null(&self, index: usize) -> bool {
        !self.nulls.is_empty() && u32::try_from(index).is_ok_and(|index| self.nulls.binary_search(&index).is_ok())
    }

    /// Whether place `index` holds the same in both.
    pub(crate) fn is_same(&self, other: &Values, index: usize) -> bool {
        match self.shape {
            Shape::I64 => self.numbers[index] == other.numbers[index] && self.is_null(index) == other.is_null(index),
            Shape::I128 => self.decimals[index] == other.decimals[index] && self.is_null(index) == other.is_null(index),
            Shape::Bytes => self.bytes.key(index) == other.bytes.key(index),
        }
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.numbers.capacity() * size_of::<i64>()
            + self.decimals.capacity() * size_of::<i128>()
            + self.bytes.capacity_bytes()
            + self.nulls.capacity() * size_of::<u32>()
    }

    /// The column of a SQL type. Integers wrap to the type's width, as Flink's sums do.
    #[allow(clippy::cast_possible_truncation, reason = "SUM of an integer type wraps at that type's width")]
    pub(crate) fn to_array(&self, data_type: &DataType) -> Result<ArrayRef> {
        macro_rules! numbers {
            ($array:ident, |$v:ident| $value:expr) => {
                Arc::new($array::new(self.numbers.iter().map(|$v| $value).collect(), self.null_buffer()))
            };
        }
        Ok(match (&data_type.kind, self.shape) {
            (_, Shape::Bytes) => {
                let mut readers: Vec<Reader<'_>> = self.bytes.iter().map(Reader::new).collect();
                decode_column(data_type, &mut readers)?
            }
            (TypeKind::Decimal { .. }, Shape::I128) => Arc::new(
                Decimal128Array::new(self.decimals.clone().into(), self.null_buffer())
                    .with_data_type(data_type.to_arrow()),
            ),
            (TypeKind::Boolean, Shape::I64) => Arc::new(BooleanArray::new(
                BooleanBuffer::from_iter(self.numbers.iter().map(|v| *v != 0)),
                self.null_buffer(),
            )),
            (TypeKind::TinyInt, Shape::I64) => numbers!(Int8Array, |v| *v as i8),
            (TypeKind::SmallInt, Shape::I64) => numbers!(Int16Array, |v| *v as i16),
            (TypeKind::Int | TypeKind::IntervalYearMonth, Shape::I64) => numbers!(Int32Array, |v| *v as i32),
            (TypeKind::BigInt | TypeKind::IntervalDayTime, Shape::I64) => numbers!(Int64Array, |v| *v),
            (TypeKind::Float, Shape::I64) => numbers!(Float32Array, |v| from_sortable(*v) as f32),
            (TypeKind::Double, Shape::I64) => numbers!(Float64Array, |v| from_sortable(*v)),
            (TypeKind::Date, Shape::I64) => numbers!(Date32Array, |v| *v as i32),
            (TypeKind::Time(_), Shape::I64) => numbers!(Time32MillisecondArray, |v| *v as i32),
            (TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p), Shape::I64) => match timestamp_unit(*p) {
                TimeUnit::Microsecond => numbers!(TimestampMicrosecondArray, |v| *v),
                TimeUnit::Nanosecond => numbers!(TimestampNanosecondArray, |v| *v),
                _ => numbers!(TimestampMillisecondArray, |v| *v),
            },
            (kind, shape) => {
                return Err(Error::internal(format!("an aggregate of type {kind} in the shape {shape:?}")));
            }
        })
    }

    fn null_buffer(&self) -> Option<NullBuffer> {
        let mut nulls = Nulls::new(self.len());
        for &index in &self.nulls {
            nulls.set_null(index as usize);
        }
        nulls.finish()
    }
}
