//! Casts into text: Flink's text form of every type, also used inside ARRAY, MAP and ROW.
//!
//! | type | form |
//! |---|---|
//! | BOOLEAN | TRUE |
//! | FLOAT, DOUBLE | Java's shortest: 123.456, 1.0E10 |
//! | DECIMAL(p, s) | always s digits behind the point |
//! | TIMESTAMP(p) | 2021-09-24 12:34:56 and exactly p digits |
//! | intervals | +10-03, +1 10:17:36.789 |
//! | ARRAY, MAP, ROW | `[NULL, 456]`, `{a=1}`, `(NULL, abc)` |

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, types as at};
use wiesel_core::types::MAX_LENGTH;
use wiesel_core::{Error, Result, TypeKind};

use crate::cast::{CastContext, decimal};
use crate::operand::TextBuilder;
use crate::time::civil::DateTime;
use crate::time::column::Timestamps;
use crate::time::text::{write_date, write_time, write_timestamp};
use crate::time::zone::Zone;

/// Casts any column to CHAR(n) or VARCHAR(n).
pub fn to_strings(array: &ArrayRef, from: &TypeKind, to: &TypeKind, context: &CastContext) -> Result<ArrayRef> {
    let mut builder = TextBuilder::new(array.len(), array.len() * 8);
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.null();
            continue;
        }
        text.clear();
        write_value(&mut text, array, from, row, &context.zone)
            .map_err(|_| Error::internal("text of a value could not be written"))?;
        append_fitted(&mut builder, &text, to);
    }
    builder.finish()
}

/// CHAR and VARCHAR to another length: CHAR pads with blanks, both cut.
pub fn fit_strings(array: &ArrayRef, from: &TypeKind, to: &TypeKind) -> Result<ArrayRef> {
    let keeps = match (from, to) {
        (TypeKind::Char(n) | TypeKind::VarChar(n), TypeKind::VarChar(m)) => n <= m,
        _ => false,
    };
    if keeps || *to == TypeKind::VarChar(MAX_LENGTH) {
        return Ok(Arc::clone(array));
    }
    let strings = array.as_string::<i32>();
    let mut builder = TextBuilder::new(array.len(), strings.value_data().len());
    for text in strings {
        match text {
            None => builder.null(),
            Some(text) => append_fitted(&mut builder, text, to),
        }
    }
    builder.finish()
}

fn append_fitted(builder: &mut TextBuilder, text: &str, to: &TypeKind) {
    let (length_max, pads) = match to {
        TypeKind::Char(n) => (*n, true),
        TypeKind::VarChar(n) => (*n, false),
        _ => (MAX_LENGTH, false),
    };
    if length_max == MAX_LENGTH {
        builder.value(text);
        return;
    }
    let length_max = length_max as usize;
    let cut = match text.char_indices().nth(length_max) {
        Some((end, _)) => &text[..end],
        None => text,
    };
    builder.push_str(cut);
    if pads {
        for _ in cut.chars().count()..length_max {
            builder.push(' ');
        }
    }
    builder.end();
}

/// BINARY and VARBINARY to another length: BINARY pads with zero bytes, both cut.
pub fn fit_bytes(bytes: &BinaryArray, to: &TypeKind) -> Result<ArrayRef> {
    let (length_max, pads) = match to {
        TypeKind::Binary(n) => (*n, true),
        TypeKind::VarBinary(MAX_LENGTH) => return Ok(Arc::new(bytes.clone())),
        TypeKind::VarBinary(n) => (*n, false),
        _ => return Err(Error::internal(format!("{to} does not hold bytes"))),
    };
    let length_max = length_max as usize;
    let mut builder = BinaryBuilder::with_capacity(bytes.len(), bytes.value_data().len());
    let mut padded = Vec::new();
    for value in bytes {
        match value {
            None => builder.append_null(),
            Some(value) if value.len() >= length_max => builder.append_value(&value[..length_max]),
            Some(value) if pads => {
                padded.clear();
                padded.extend_from_slice(value);
                padded.resize(length_max, 0);
                builder.append_value(&padded);
            }
            Some(value) => builder.append_value(value),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Writes the text form of one value; NULL (inside ARRAY, MAP, ROW) is `NULL`.
pub fn write_value(out: &mut String, array: &ArrayRef, kind: &TypeKind, row: usize, zone: &Zone) -> std::fmt::Result {
    use TypeKind as T;
    if array.is_null(row) || matches!(kind, T::Null) {
        out.push_str("NULL");
        return Ok(());
    }
    let mut integers = itoa::Buffer::new();
    match kind {
        T::Null => out.push_str("NULL"),
        T::Boolean => out.push_str(if array.as_boolean().value(row) { "TRUE" } else { "FALSE" }),
        T::TinyInt => out.push_str(integers.format(array.as_primitive::<at::Int8Type>().value(row))),
        T::SmallInt => out.push_str(integers.format(array.as_primitive::<at::Int16Type>().value(row))),
        T::Int => out.push_str(integers.format(array.as_primitive::<at::Int32Type>().value(row))),
        T::BigInt => out.push_str(integers.format(array.as_primitive::<at::Int64Type>().value(row))),
        T::Float => write_float(out, array.as_primitive::<at::Float32Type>().value(row)),
        T::Double => write_double(out, array.as_primitive::<at::Float64Type>().value(row)),
        T::Decimal { scale, .. } => {
            decimal::write(out, array.as_primitive::<at::Decimal128Type>().value(row), *scale)?;
        }
        T::Char(_) | T::VarChar(_) => out.push_str(array.as_string::<i32>().value(row)),
        T::Binary(_) | T::VarBinary(_) => {
            out.push_str(&String::from_utf8_lossy(array.as_binary::<i32>().value(row)));
        }
        T::Date => write_date(out, array.as_primitive::<at::Date32Type>().value(row))?,
        T::Time(p) => write_time(out, array.as_primitive::<at::Time32MillisecondType>().value(row), *p)?,
        T::Timestamp(p) => {
            let (seconds, nano) = Timestamps::new(array).raw(row);
            write_timestamp(out, DateTime::from_seconds(seconds, nano), *p)?;
        }
        T::TimestampLtz(p) => {
            let (seconds, nano) = Timestamps::new(array).raw(row);
            write_timestamp(out, DateTime::from_seconds(seconds + zone.offset_at(seconds), nano), *p)?;
        }
        T::IntervalYearMonth => write_months(out, array.as_primitive::<at::Int32Type>().value(row))?,
        T::IntervalDayTime => write_millis(out, array.as_primitive::<at::Int64Type>().value(row))?,
        T::Array(element) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for index in 0..items.len() {
                separate(out, index);
                write_value(out, &items, &element.kind, index, zone)?;
            }
            out.push(']');
        }
        T::Map(key, value) => write_map(out, array, &key.kind, &value.kind, row, zone)?,
        T::Multiset(element) => write_map(out, array, &element.kind, &T::Int, row, zone)?,
        T::Row(fields) => {
            out.push('(');
            for (index, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                separate(out, index);
                write_value(out, column, &field.data_type.kind, row, zone)?;
            }
            out.push(')');
        }
    }
    Ok(())
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push_str(", ");
    }
}

fn write_map(
    out: &mut String,
    array: &ArrayRef,
    key: &TypeKind,
    value: &TypeKind,
    row: usize,
    zone: &Zone,
) -> std::fmt::Result {
    let entries = array.as_map().value(row);
    out.push('{');
    for index in 0..entries.len() {
        separate(out, index);
        write_value(out, entries.column(0), key, index, zone)?;
        out.push('=');
        write_value(out, entries.column(1), value, index, zone)?;
    }
    out.push('}');
    Ok(())
}

fn write_months(out: &mut String, months: i32) -> std::fmt::Result {
    let sign = if months < 0 { '-' } else { '+' };
    let months = months.unsigned_abs();
    write!(out, "{sign}{}-{:02}", months / 12, months % 12)
}

fn write_millis(out: &mut String, ms: i64) -> std::fmt::Result {
    let sign = if ms < 0 { '-' } else { '+' };
    let ms = ms.unsigned_abs();
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    write!(
        out,
        "{sign}{days} {:02}:{:02}:{:02}.{:03}",
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60,
        rest % 1000
    )
}

/// Writes a DOUBLE as Java does: plain between 0.001 and 10 000 000, scientific elsewhere, always with a digit behind the point.
pub fn write_double(out: &mut String, value: f64) {
    if !value.is_finite() {
        out.push_str(not_finite(value));
        return;
    }
    let mut buffer = ryu::Buffer::new();
    write_java(out, buffer.format_finite(value));
}

/// Writes a FLOAT as Java does.
pub fn write_float(out: &mut String, value: f32) {
    if !value.is_finite() {
        out.push_str(not_finite(value.into()));
        return;
    }
    let mut buffer = ryu::Buffer::new();
    write_java(out, buffer.format_finite(value));
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// Sets shortest digits (`123.456`, `1e16`, `1.5e-7`) in Java's form. The digits are at most 17, so everything fits on the stack.
fn write_java(out: &mut String, shortest: &str) {
    let unsigned = shortest.strip_prefix('-').unwrap_or(shortest);
    if unsigned.len() < shortest.len() {
        out.push('-');
    }
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = [0_u8; 64];
    let mut count = 0;
    for digit in integer.bytes().chain(fraction.bytes()).take(digits.len()) {
        digits[count] = digit;
        count += 1;
    }
    // The value is 0.d1d2d3... * 10^point.
    let mut point = integer.len() as i32 + exponent;
    let mut first = 0;
    while first < count && digits[first] == b'0' {
        first += 1;
        point -= 1;
    }
    while count > first && digits[count - 1] == b'0' {
        count -= 1;
    }
    let digits = &digits[first..count];
    let digit = |index: usize| char::from(digits.get(index).copied().unwrap_or(b'0'));
    if digits.is_empty() {
        out.push_str("0.0");
        return;
    }
    if (-2..=7).contains(&point) {
        let whole = usize::try_from(point).unwrap_or(0);
        if whole == 0 {
            out.push('0');
        }
        for index in 0..whole {
            out.push(digit(index));
        }
        out.push('.');
        for _ in point..0 {
            out.push('0');
        }
        for index in whole..digits.len().max(whole + 1) {
            out.push(digit(index));
        }
        return;
    }
    out.push(digit(0));
    out.push('.');
    for index in 1..digits.len().max(2) {
        out.push(digit(index));
    }
    out.push('E');
    out.push_str(itoa::Buffer::new().format(point - 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_in_java() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (123.456, "123.456"),
            (1e10, "1.0E10"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (1_234_567.8, "1234567.8"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (0.00123, "0.00123"),
            (1.5e-7, "1.5E-7"),
            (1e16, "1.0E16"),
            (123_456_789.125, "1.23456789125E8"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
        ];
        for (value, expected) in cases {
            let mut out = String::new();
            write_double(&mut out, value);
            assert_eq!(out, expected);
        }
        let mut out = String::new();
        write_float(&mut out, 1.1);
        assert_eq!(out, "1.1");
    }

    #[test]
    fn intervals_print_with_sign() {
        let mut out = String::new();
        write_months(&mut out, 123).expect("a String takes all text");
        assert_eq!(out, "+10-03");
        out.clear();
        write_millis(&mut out, 86_400_000 + 37_056_789).expect("a String takes all text");
        assert_eq!(out, "+1 10:17:36.789");
    }
}
