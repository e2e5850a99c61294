//! Columns to documents, byte for byte as Flink's serializer writes them: columns in DDL order, no blanks, Java's numbers.
//!
//! Per batch the columns are turned into a tree of typed references, so that the loop over the rows knows its types and allocates nothing.

use arrow_array::cast::AsArray;
use arrow_array::types as at;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, PrimitiveArray, StringArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema as arrow;
use base64::Engine as _;
use wiesel_core::types::{DataType, Field, TypeKind, timestamp_unit};
use wiesel_core::{ChangeBatch, Error, Result};

use super::compact::write_string;
use super::number::{write_decimal, write_double, write_float};
use super::time::{WallTime, write_date, write_time, write_timestamp};
use super::{JsonOptions, MapNullKey};
use crate::formats::{Encoder, FormatContext};

/// Encodes rows as JSON objects.
#[derive(Debug)]
pub struct JsonEncoder {
    context: FormatContext,
    options: JsonOptions,
    names: Vec<Vec<u8>>,
}

impl JsonEncoder {
    /// An encoder for the context's columns.
    pub fn new(context: FormatContext, options: JsonOptions) -> Self {
        let names = quoted_names(context.schema.fields());
        JsonEncoder { context, options, names }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, batch: &ChangeBatch, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let columns = typed_columns(&self.context, batch)?;
        ends.reserve(batch.len());
        for row in 0..batch.len() {
            write_object(&self.names, &columns, row, &self.options, bytes)
                .map_err(|e| e.at(format!("sink table `{}`", self.context.table)))?;
            ends.push(bytes.len());
        }
        Ok(())
    }
}

/// `"name":` of every field.
fn quoted_names(fields: &[Field]) -> Vec<Vec<u8>> {
    let quoted = |field: &Field| {
        let mut name = Vec::new();
        write_string(field.name.as_bytes(), &mut name);
        name.push(b':');
        name
    };
    fields.iter().map(quoted).collect()
}

/// A column with its type known, and which rows of it are NULL.
pub(in crate::formats) struct Typed<'a> {
    nulls: Option<&'a NullBuffer>,
    pub(in crate::formats) values: Values<'a>,
}

impl Typed<'_> {
    #[inline(always)]
    pub(in crate::formats) fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }
}

/// The values of a column.
pub(in crate::formats) enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    TinyInt(&'a Int8Array),
    SmallInt(&'a Int16Array),
    Int(&'a Int32Array),
    BigInt(&'a Int64Array),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array, u8),
    String(&'a StringArray),
    Binary(&'a BinaryArray),
    Date(&'a PrimitiveArray<at::Date32Type>),
    Time(&'a PrimitiveArray<at::Time32MillisecondType>),
    Timestamp { values: &'a [i64], per_second: i64, is_zoned: bool },
    Array { offsets: &'a OffsetBuffer<i32>, items: Box<Typed<'a>> },
    Map { offsets: &'a OffsetBuffer<i32>, keys: &'a StringArray, values: Box<Typed<'a>> },
    Row { names: Vec<Vec<u8>>, columns: Vec<Typed<'a>> },
}

/// The columns of a batch as the table declares them.
pub(in crate::formats) fn typed_columns<'a>(context: &FormatContext, batch: &'a ChangeBatch) -> Result<Vec<Typed<'a>>> {
    let fields = context.schema.fields();
    if batch.rows.num_columns() != fields.len() {
        return Err(Error::internal(format!(
            "table `{}` encodes {} columns, got {}",
            context.table,
            fields.len(),
            batch.rows.num_columns()
        )));
    }
    fields.iter().zip(batch.rows.columns()).map(|(field, array)| typed(array, &field.data_type)).collect()
}

/// The typed view of a column; the batch must have the Arrow types that the SQL types stand for.
pub(in crate::formats) fn typed<'a>(array: &'a ArrayRef, data_type: &DataType) -> Result<Typed<'a>> {
    try_typed(array, data_type)
        .ok_or_else(|| Error::internal(format!("a column of type {data_type} came as {}", array.data_type())))
}

fn try_typed<'a>(array: &'a ArrayRef, data_type: &DataType) -> Option<Typed<'a>> {
    let values = match &data_type.kind {
        TypeKind::Null => Values::Null,
        TypeKind::Boolean => Values::Boolean(array.as_boolean_opt()?),
        TypeKind::TinyInt => Values::TinyInt(array.as_primitive_opt::<at::Int8Type>()?),
        TypeKind::SmallInt => Values::SmallInt(array.as_primitive_opt::<at::Int16Type>()?),
        TypeKind::Int | TypeKind::IntervalYearMonth => Values::Int(array.as_primitive_opt::<at::Int32Type>()?),
        TypeKind::BigInt | TypeKind::IntervalDayTime => Values::BigInt(array.as_primitive_opt::<at::Int64Type>()?),
        TypeKind::Float => Values::Float(array.as_primitive_opt::<at::Float32Type>()?),
        TypeKind::Double => Values::Double(array.as_primitive_opt::<at::Float64Type>()?),
        TypeKind::Decimal { scale, .. } => Values::Decimal(array.as_primitive_opt::<at::Decimal128Type>()?, *scale),
        TypeKind::Char(_) | TypeKind::VarChar(_) => Values::String(array.as_string_opt::<i32>()?),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => Values::Binary(array.as_binary_opt::<i32>()?),
        TypeKind::Date => Values::Date(array.as_primitive_opt::<at::Date32Type>()?),
        TypeKind::Time(_) => Values::Time(array.as_primitive_opt::<at::Time32MillisecondType>()?),
        TypeKind::Timestamp(p) => typed_timestamp(array, *p, false)?,
        TypeKind::TimestampLtz(p) => typed_timestamp(array, *p, true)?,
        TypeKind::Array(element) => {
            let list = array.as_list_opt::<i32>()?;
            let items = Box::new(try_typed(list.values(), element)?);
            Values::Array { offsets: list.offsets(), items }
        }
        TypeKind::Map(_, value) => typed_map(array, value)?,
        TypeKind::Multiset(_) => typed_map(array, &DataType::int())?,
        TypeKind::Row(fields) => {
            let row = array.as_struct_opt()?;
            if row.num_columns() != fields.len() {
                return None;
            }
            let columns = fields.iter().zip(row.columns()).map(|(f, c)| try_typed(c, &f.data_type));
            Values::Row { names: quoted_names(fields), columns: columns.collect::<Option<_>>()? }
        }
    };
    Some(Typed { nulls: array.nulls(), values })
}

fn typed_timestamp(array: &ArrayRef, precision: u8, is_zoned: bool) -> Option<Values<'_>> {
    let (values, per_second) = match timestamp_unit(precision) {
        arrow::TimeUnit::Microsecond => (array.as_primitive_opt::<at::TimestampMicrosecondType>()?.values(), 1_000_000),
        arrow::TimeUnit::Nanosecond => {
            (array.as_primitive_opt::<at::TimestampNanosecondType>()?.values(), 1_000_000_000)
        }
        _ => (array.as_primitive_opt::<at::TimestampMillisecondType>()?.values(), 1_000),
    };
    Some(Values::Timestamp { values, per_second, is_zoned })
}

fn typed_map<'a>(array: &'a ArrayRef, value: &DataType) -> Option<Values<'a>> {
    let map = array.as_map_opt()?;
    let keys = map.keys().as_string_opt::<i32>()?;
    Some(Values::Map { offsets: map.offsets(), keys, values: Box::new(try_typed(map.values(), value)?) })
}

fn write_object(
    names: &[Vec<u8>],
    columns: &[Typed<'_>],
    row: usize,
    options: &JsonOptions,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.push(b'{');
    let mut is_first = true;
    for (name, column) in names.iter().zip(columns) {
        let is_null = column.is_null(row) || matches!(column.values, Values::Null);
        if is_null && options.ignore_null_fields {
            continue;
        }
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        out.extend_from_slice(name);
        if is_null {
            out.extend_from_slice(b"null");
        } else {
            write_value(column, row, options, out)?;
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_or_null(column: &Typed<'_>, row: usize, options: &JsonOptions, out: &mut Vec<u8>) -> Result<()> {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    write_value(column, row, options, out)
}

/// Writes a value that is not NULL.
fn write_value(column: &Typed<'_>, row: usize, options: &JsonOptions, out: &mut Vec<u8>) -> Result<()> {
    match &column.values {
        Values::Null => out.extend_from_slice(b"null"),
        Values::Boolean(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
        Values::TinyInt(array) => write_integer(array.value(row).into(), out),
        Values::SmallInt(array) => write_integer(array.value(row).into(), out),
        Values::Int(array) => write_integer(array.value(row).into(), out),
        Values::BigInt(array) => write_integer(array.value(row), out),
        Values::Float(array) => write_float(array.value(row), out),
        Values::Double(array) => write_double(array.value(row), out),
        Values::Decimal(array, scale) => write_decimal(array.value(row), *scale, options.decimal_as_plain_number, out),
        Values::String(array) => write_string(array.value(row).as_bytes(), out),
        Values::Binary(array) => write_base64(array.value(row), out),
        Values::Date(array) => {
            out.push(b'"');
            write_date(array.value(row).into(), out);
            out.push(b'"');
        }
        Values::Time(array) => {
            out.push(b'"');
            write_time(array.value(row), out);
            out.push(b'"');
        }
        Values::Timestamp { values, per_second, is_zoned, .. } => {
            let value = values.get(row).copied().unwrap_or_default();
            let nanos = value.rem_euclid(*per_second) * (1_000_000_000 / per_second);
            let seconds = value.div_euclid(*per_second);
            out.push(b'"');
            let time = WallTime { seconds, nanos: u32::try_from(nanos).unwrap_or_default() };
            write_timestamp(time, options.timestamp_format, out);
            out.extend_from_slice(if *is_zoned { b"Z\"" } else { b"\"" });
        }
        Values::Array { offsets, items, .. } => {
            let (start, end) = bounds(offsets, row);
            out.push(b'[');
            for index in start..end {
                if index > start {
                    out.push(b',');
                }
                write_or_null(items, index, options, out)?;
            }
            out.push(b']');
        }
        Values::Map { offsets, keys, values, .. } => {
            let (start, end) = bounds(offsets, row);
            write_map(keys, values, start, end, options, out)?;
        }
        Values::Row { names, columns, .. } => write_object(names, columns, row, options, out)?,
    }
    Ok(())
}

fn write_map(
    keys: &StringArray,
    values: &Typed<'_>,
    start: usize,
    end: usize,
    options: &JsonOptions,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.push(b'{');
    let mut is_first = true;
    for index in start..end {
        let key = if keys.is_valid(index) {
            keys.value(index)
        } else {
            match &options.map_null_key {
                MapNullKey::Literal(literal) => literal,
                MapNullKey::Drop => continue,
                MapNullKey::Fail => {
                    return Err(Error::data("JSON cannot hold a map entry whose key is NULL")
                        .hint("set 'json.map-null-key.mode' to 'DROP' or 'LITERAL'"));
                }
            }
        };
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        write_string(key.as_bytes(), out);
        out.push(b':');
        write_or_null(values, index, options, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn bounds(offsets: &OffsetBuffer<i32>, row: usize) -> (usize, usize) {
    let at = |i: usize| offsets.get(i).and_then(|o| usize::try_from(*o).ok()).unwrap_or_default();
    (at(row), at(row + 1))
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_base64(data: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + data.len().div_ceil(3) * 4, b'=');
    if let Some(target) = out.get_mut(start..) {
        base64::engine::general_purpose::STANDARD
            .encode_slice(data, target)
            .expect("the target has room for four bytes per three");
    }
    out.push(b'"');
}
