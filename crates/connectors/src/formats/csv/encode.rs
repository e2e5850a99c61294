//! Columns to records, byte for byte as Flink writes them.
//!
//! Jackson puts quotes around more than it has to: around every text with a character up to the larger of delimiter and quote (with `,` a
//! blank or `+` is enough), with the escape character in it, or longer than [`PLAIN_CHARS_MAX`]. Integers, FLOAT, DOUBLE and BOOLEAN are never
//! quoted, DECIMAL is a text.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types as at;
use base64::Engine as _;
use wiesel_core::types::{DataType, TypeKind, timestamp_unit};
use wiesel_core::{ChangeBatch, Error, Result};

use super::options::CsvOptions;
use crate::formats::json::TimestampFormat;
use crate::formats::json::number::{write_decimal, write_double, write_float};
use crate::formats::json::time::{WallTime, write_date, write_iso_time, write_timestamp};
use crate::formats::{Encoder, FormatContext};

/// Longer texts are quoted without a look at them.
const PLAIN_CHARS_MAX: usize = 24;

/// Encodes rows as CSV records, without line ends.
pub(super) struct CsvEncoder {
    context: FormatContext,
    options: CsvOptions,
    /// The first character that is safe without quotes.
    safe_from: u8,
    scratch: Vec<u8>,
}

impl CsvEncoder {
    pub(super) fn new(context: FormatContext, options: CsvOptions) -> Self {
        let safe_from = options.dialect.delimiter.max(options.dialect.quote.unwrap_or(0)) + 1;
        CsvEncoder { context, options, safe_from, scratch: Vec::new() }
    }

    fn write_field(&mut self, array: &dyn Array, data_type: &DataType, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if array.is_null(row) {
            out.extend_from_slice(self.options.null_literal.as_deref().unwrap_or_default().as_bytes());
            return Ok(());
        }
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let outcome = match &data_type.kind {
            TypeKind::Array(element) => {
                let items = array.as_list::<i32>().value(row);
                let items = (0..items.len()).map(|i| (items.as_ref() as &dyn Array, &**element, i));
                self.write_nested(items, &mut text)
            }
            TypeKind::Row(fields) => {
                let columns = array.as_struct().columns();
                let cells = fields.iter().zip(columns).map(|(f, c)| (c.as_ref(), &f.data_type, row));
                self.write_nested(cells, &mut text)
            }
            kind => self.write_simple(array, kind, row, &mut text),
        };
        if outcome.is_ok() {
            if is_never_quoted(&data_type.kind) || !self.needs_quotes(&text) {
                out.extend_from_slice(&text);
            } else {
                self.write_quoted(&text, out);
            }
        }
        self.scratch = text;
        outcome
    }

    /// Elements with the array delimiter between them.
    fn write_nested<'a>(
        &self,
        cells: impl Iterator<Item = (&'a dyn Array, &'a DataType, usize)>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        for (index, (array, data_type, row)) in cells.enumerate() {
            if index > 0 {
                out.extend_from_slice(self.options.array_delimiter.as_bytes());
            }
            if array.is_null(row) {
                out.extend_from_slice(self.options.null_literal.as_deref().unwrap_or_default().as_bytes());
            } else {
                self.write_simple(array, &data_type.kind, row, out)?;
            }
        }
        Ok(())
    }

    fn write_simple(&self, array: &dyn Array, kind: &TypeKind, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut integer = itoa::Buffer::new();
        match kind {
            TypeKind::Null => {}
            TypeKind::Boolean => out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" }),
            TypeKind::TinyInt => {
                out.extend_from_slice(integer.format(array.as_primitive::<at::Int8Type>().value(row)).as_bytes());
            }
            TypeKind::SmallInt => {
                out.extend_from_slice(integer.format(array.as_primitive::<at::Int16Type>().value(row)).as_bytes());
            }
            TypeKind::Int => {
                out.extend_from_slice(integer.format(array.as_primitive::<at::Int32Type>().value(row)).as_bytes());
            }
            TypeKind::BigInt => {
                out.extend_from_slice(integer.format(array.as_primitive::<at::Int64Type>().value(row)).as_bytes());
            }
            TypeKind::Float => write_float(array.as_primitive::<at::Float32Type>().value(row), out),
            TypeKind::Double => write_double(array.as_primitive::<at::Float64Type>().value(row), out),
            TypeKind::Decimal { scale, .. } => {
                let unscaled = array.as_primitive::<at::Decimal128Type>().value(row);
                write_decimal(unscaled, *scale, !self.options.decimal_in_scientific_notation, out);
            }
            TypeKind::Char(_) | TypeKind::VarChar(_) => {
                out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
            }
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
                let bytes = array.as_binary::<i32>().value(row);
                out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes());
            }
            TypeKind::Date => write_date(array.as_primitive::<at::Date32Type>().value(row).into(), out),
            TypeKind::Time(_) => {
                write_iso_time(array.as_primitive::<at::Time32MillisecondType>().value(row), out);
            }
            TypeKind::Timestamp(p) => write_timestamp(wall_time(array, *p, row), TimestampFormat::Sql, out),
            TypeKind::TimestampLtz(p) => {
                write_timestamp(wall_time(array, *p, row), TimestampFormat::Sql, out);
                out.push(b'Z');
            }
            other => return Err(Error::internal(format!("csv cannot write {other}"))),
        }
        Ok(())
    }

    fn needs_quotes(&self, text: &[u8]) -> bool {
        if self.options.dialect.quote.is_none() {
            return false;
        }
        let is_unsafe = |byte: &u8| *byte < self.safe_from || Some(*byte) == self.options.dialect.escape;
        text.iter().any(is_unsafe) || (text.len() > PLAIN_CHARS_MAX && utf16_length(text) > PLAIN_CHARS_MAX)
    }

    fn write_quoted(&self, text: &[u8], out: &mut Vec<u8>) {
        let Some(quote) = self.options.dialect.quote else { return };
        out.push(quote);
        for byte in text {
            if *byte == quote {
                out.push(quote);
            } else if Some(*byte) == self.options.dialect.escape {
                out.push(*byte);
            }
            out.push(*byte);
        }
        out.push(quote);
    }
}

/// Characters as Java counts them.
fn utf16_length(text: &[u8]) -> usize {
    String::from_utf8_lossy(text).encode_utf16().count()
}

fn is_never_quoted(kind: &TypeKind) -> bool {
    kind.is_integer() || matches!(kind, TypeKind::Float | TypeKind::Double | TypeKind::Boolean)
}

fn wall_time(array: &dyn Array, precision: u8, row: usize) -> WallTime {
    let (value, per_second) = match timestamp_unit(precision) {
        arrow_schema::TimeUnit::Microsecond => {
            (array.as_primitive::<at::TimestampMicrosecondType>().value(row), 1_000_000)
        }
        arrow_schema::TimeUnit::Nanosecond => {
            (array.as_primitive::<at::TimestampNanosecondType>().value(row), 1_000_000_000)
        }
        _ => (array.as_primitive::<at::TimestampMillisecondType>().value(row), 1_000),
    };
    let fraction = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    WallTime { seconds: value.div_euclid(per_second), nanos: u32::try_from(fraction).unwrap_or(0) }
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, batch: &ChangeBatch, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let fields = self.context.schema.fields().to_vec();
        if batch.rows.num_columns() != fields.len() {
            return Err(Error::internal(format!("table `{}` encodes {} columns", self.context.table, fields.len())));
        }
        for row in 0..batch.len() {
            for (index, (field, array)) in fields.iter().zip(batch.rows.columns()).enumerate() {
                if index > 0 {
                    bytes.push(self.options.dialect.delimiter);
                }
                self.write_field(array, &field.data_type, row, bytes)?;
            }
            ends.push(bytes.len());
        }
        Ok(())
    }
}
