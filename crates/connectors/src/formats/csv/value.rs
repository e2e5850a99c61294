//! How each SQL type is read from a field's text, straight into Arrow builders where it is not nested.
//!
//! Numbers are trimmed, all else is taken as it stands; a BOOLEAN is true for `true` in any case and false for everything else; an empty
//! field is an empty STRING, and no number. A DECIMAL with too many digits is NULL.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder, Int8Builder,
    Int16Builder, Int32Builder, Int64Builder, StringBuilder, Time32MillisecondBuilder, TimestampMicrosecondBuilder,
    TimestampMillisecondBuilder, TimestampNanosecondBuilder,
};
use arrow_array::{Array, ArrayRef, NullArray};
use arrow_schema::TimeUnit;
use wiesel_core::types::{DataType, TypeKind, timestamp_unit};
use wiesel_core::{Result, Value, value};

use super::options::CsvOptions;
use crate::formats::json::TimestampFormat;
use crate::formats::json::column::decode_base64;
use crate::formats::json::number::{Decimal, parse_decimal, parse_double, parse_float, parse_long, trim};
use crate::formats::json::time::{WallTime, parse_iso_time, parse_sql_date, parse_timestamp, parse_timestamp_ltz};

/// A column under construction.
pub(super) enum CsvColumn {
    Null(usize),
    Boolean(BooleanBuilder),
    TinyInt(Int8Builder),
    SmallInt(Int16Builder),
    Int(Int32Builder),
    BigInt(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal { values: Decimal128Builder, precision: u8, scale: u8 },
    String(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Time { values: Time32MillisecondBuilder, precision: u8 },
    Millis { values: TimestampMillisecondBuilder, is_zoned: bool },
    Micros { values: TimestampMicrosecondBuilder, is_zoned: bool },
    Nanos { values: TimestampNanosecondBuilder, is_zoned: bool },
    Nested { values: Vec<Value>, data_type: DataType },
}

/// The text does not fit the type.
#[derive(Debug)]
pub(super) struct Misfit;

impl CsvColumn {
    pub(super) fn new(data_type: &DataType) -> Result<CsvColumn> {
        Ok(match &data_type.kind {
            TypeKind::Null => CsvColumn::Null(0),
            TypeKind::Boolean => CsvColumn::Boolean(BooleanBuilder::new()),
            TypeKind::TinyInt => CsvColumn::TinyInt(Int8Builder::new()),
            TypeKind::SmallInt => CsvColumn::SmallInt(Int16Builder::new()),
            TypeKind::Int | TypeKind::IntervalYearMonth => CsvColumn::Int(Int32Builder::new()),
            TypeKind::BigInt | TypeKind::IntervalDayTime => CsvColumn::BigInt(Int64Builder::new()),
            TypeKind::Float => CsvColumn::Float(Float32Builder::new()),
            TypeKind::Double => CsvColumn::Double(Float64Builder::new()),
            TypeKind::Decimal { precision, scale } => {
                let values = Decimal128Builder::new()
                    .with_precision_and_scale(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))?;
                CsvColumn::Decimal { values, precision: *precision, scale: *scale }
            }
            TypeKind::Char(_) | TypeKind::VarChar(_) => CsvColumn::String(StringBuilder::new()),
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => CsvColumn::Binary(BinaryBuilder::new()),
            TypeKind::Date => CsvColumn::Date(Date32Builder::new()),
            TypeKind::Time(p) => CsvColumn::Time { values: Time32MillisecondBuilder::new(), precision: *p },
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
                let is_zoned = matches!(data_type.kind, TypeKind::TimestampLtz(_));
                match timestamp_unit(*p) {
                    TimeUnit::Microsecond => CsvColumn::Micros { values: TimestampMicrosecondBuilder::new(), is_zoned },
                    TimeUnit::Nanosecond => CsvColumn::Nanos { values: TimestampNanosecondBuilder::new(), is_zoned },
                    _ => CsvColumn::Millis { values: TimestampMillisecondBuilder::new(), is_zoned },
                }
            }
            TypeKind::Array(_) | TypeKind::Row(_) | TypeKind::Map(..) | TypeKind::Multiset(_) => {
                CsvColumn::Nested { values: Vec::new(), data_type: data_type.clone() }
            }
        })
    }

    pub(super) fn push_null(&mut self) {
        match self {
            CsvColumn::Null(rows) => *rows += 1,
            CsvColumn::Boolean(values) => values.append_null(),
            CsvColumn::TinyInt(values) => values.append_null(),
            CsvColumn::SmallInt(values) => values.append_null(),
            CsvColumn::Int(values) => values.append_null(),
            CsvColumn::BigInt(values) => values.append_null(),
            CsvColumn::Float(values) => values.append_null(),
            CsvColumn::Double(values) => values.append_null(),
            CsvColumn::Decimal { values, .. } => values.append_null(),
            CsvColumn::String(values) => values.append_null(),
            CsvColumn::Binary(values) => values.append_null(),
            CsvColumn::Date(values) => values.append_null(),
            CsvColumn::Time { values, .. } => values.append_null(),
            CsvColumn::Millis { values, .. } => values.append_null(),
            CsvColumn::Micros { values, .. } => values.append_null(),
            CsvColumn::Nanos { values, .. } => values.append_null(),
            CsvColumn::Nested { values, .. } => values.push(Value::Null),
        }
    }

    /// Adds the value of a field's text; nothing is added when it does not fit.
    pub(super) fn push(&mut self, text: &[u8], options: &CsvOptions) -> Result<(), Misfit> {
        // Jackson hands arrays over before it looks for the null literal, which then holds for their elements.
        if !matches!(self, CsvColumn::Nested { .. }) && is_null_literal(text, options) {
            self.push_null();
            return Ok(());
        }
        match self {
            CsvColumn::Null(rows) => *rows += 1,
            CsvColumn::Boolean(values) => values.append_value(is_true(text)),
            CsvColumn::TinyInt(values) => values.append_value(integer(text)?),
            CsvColumn::SmallInt(values) => values.append_value(integer(text)?),
            CsvColumn::Int(values) => values.append_value(integer(text)?),
            CsvColumn::BigInt(values) => values.append_value(integer(text)?),
            CsvColumn::Float(values) => values.append_value(parse_float(trim(text)).ok_or(Misfit)?),
            CsvColumn::Double(values) => values.append_value(parse_double(trim(text)).ok_or(Misfit)?),
            CsvColumn::Decimal { values, precision, scale } => match parse_decimal(text, *precision, *scale) {
                Decimal::Fits(value) => values.append_value(value),
                Decimal::TooLarge => values.append_null(),
                Decimal::NotANumber => return Err(Misfit),
            },
            CsvColumn::String(values) => values.append_value(std::str::from_utf8(text).map_err(|_| Misfit)?),
            CsvColumn::Binary(values) => values.append_value(decode_base64(text).ok_or(Misfit)?),
            CsvColumn::Date(values) => values.append_value(parse_sql_date(text).ok_or(Misfit)?),
            CsvColumn::Time { values, precision } => values.append_value(time(text, *precision)?),
            CsvColumn::Millis { values, is_zoned } => values.append_value(timestamp(text, *is_zoned, 1_000)?),
            CsvColumn::Micros { values, is_zoned } => values.append_value(timestamp(text, *is_zoned, 1_000_000)?),
            CsvColumn::Nanos { values, is_zoned } => values.append_value(timestamp(text, *is_zoned, 1_000_000_000)?),
            CsvColumn::Nested { values, data_type } => {
                let value = nested(text, data_type, options)?;
                values.push(value);
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            CsvColumn::Null(rows) => Arc::new(NullArray::new(std::mem::take(rows))),
            CsvColumn::Boolean(values) => Arc::new(values.finish()),
            CsvColumn::TinyInt(values) => Arc::new(values.finish()),
            CsvColumn::SmallInt(values) => Arc::new(values.finish()),
            CsvColumn::Int(values) => Arc::new(values.finish()),
            CsvColumn::BigInt(values) => Arc::new(values.finish()),
            CsvColumn::Float(values) => Arc::new(values.finish()),
            CsvColumn::Double(values) => Arc::new(values.finish()),
            CsvColumn::Decimal { values, .. } => Arc::new(values.finish()),
            CsvColumn::String(values) => Arc::new(values.finish()),
            CsvColumn::Binary(values) => Arc::new(values.finish()),
            CsvColumn::Date(values) => Arc::new(values.finish()),
            CsvColumn::Time { values, .. } => Arc::new(values.finish()),
            CsvColumn::Millis { values, .. } => Arc::new(values.finish()),
            CsvColumn::Micros { values, .. } => Arc::new(values.finish()),
            CsvColumn::Nanos { values, .. } => Arc::new(values.finish()),
            CsvColumn::Nested { values, data_type } => value::column(&data_type.kind, &std::mem::take(values)),
        }
    }
}

fn is_null_literal(text: &[u8], options: &CsvOptions) -> bool {
    options.null_literal.as_ref().is_some_and(|literal| literal.as_bytes() == text)
}

fn is_true(text: &[u8]) -> bool {
    trim(text).eq_ignore_ascii_case(b"true")
}

fn integer<T: TryFrom<i64>>(text: &[u8]) -> Result<T, Misfit> {
    parse_long(trim(text)).and_then(|v| T::try_from(v).ok()).ok_or(Misfit)
}

/// Milliseconds of the day, cut to the precision.
fn time(text: &[u8], precision: u8) -> Result<i32, Misfit> {
    let ms = parse_iso_time(text).ok_or(Misfit)?;
    let unit = [1000, 100, 10].get(usize::from(precision)).copied().unwrap_or(1);
    Ok(ms / unit * unit)
}

fn timestamp(text: &[u8], is_zoned: bool, per_second: i64) -> Result<i64, Misfit> {
    let read = if is_zoned { parse_timestamp_ltz } else { parse_timestamp };
    let WallTime { seconds, nanos } = read(text, TimestampFormat::Sql).ok_or(Misfit)?;
    let fraction = i64::from(nanos) / (1_000_000_000 / per_second);
    seconds.checked_mul(per_second).and_then(|s| s.checked_add(fraction)).ok_or(Misfit)
}

/// An ARRAY or ROW: simple values with a delimiter between them, that cannot be quoted.
fn nested(text: &[u8], data_type: &DataType, options: &CsvOptions) -> Result<Value, Misfit> {
    let text = std::str::from_utf8(text).map_err(|_| Misfit)?;
    let delimiter = options.array_delimiter.as_str();
    let parts: Vec<&str> = if text.trim().is_empty() && (delimiter.is_empty() || !text.contains(delimiter)) {
        Vec::new()
    } else if delimiter.is_empty() {
        vec![text]
    } else {
        text.split(delimiter).collect()
    };
    let one = |part: Option<&&str>, data_type: &DataType| match part {
        None => Ok(Value::Null),
        Some(part) => match simple(part.as_bytes(), data_type, options) {
            Err(Misfit) if options.ignore_parse_errors => Ok(Value::Null),
            result => result,
        },
    };
    match &data_type.kind {
        TypeKind::Array(element) => {
            parts.iter().map(|part| one(Some(part), element)).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        // An empty text is a ROW without fields, which is no row.
        TypeKind::Row(_) if parts.is_empty() => Ok(Value::Null),
        TypeKind::Row(fields) => {
            if parts.len() != fields.len() && !options.ignore_parse_errors {
                return Err(Misfit);
            }
            let field = |(index, field): (usize, &wiesel_core::Field)| one(parts.get(index), &field.data_type);
            fields.iter().enumerate().map(field).collect::<Result<Vec<_>, _>>().map(Value::Row)
        }
        _ => Err(Misfit),
    }
}

/// One value of a simple type.
fn simple(text: &[u8], data_type: &DataType, options: &CsvOptions) -> Result<Value, Misfit> {
    let mut column = CsvColumn::new(data_type).map_err(|_| Misfit)?;
    column.push(text, options)?;
    let array = column.finish();
    Ok(if array.is_null(0) { Value::Null } else { Value::from_array(&array, data_type, 0) })
}

/// What a value of a type looks like, for the message about one that does not.
pub(super) fn form(kind: &TypeKind) -> &'static str {
    match kind {
        TypeKind::Timestamp(_) => " in the form `2024-01-31 12:00:00.5`",
        TypeKind::TimestampLtz(_) => " in the form `2024-01-31 12:00:00.5Z`",
        TypeKind::Date => " in the form `2024-01-31`",
        TypeKind::Time(_) => " in the form `12:00:00`",
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => " as base64 text",
        _ => "",
    }
}
