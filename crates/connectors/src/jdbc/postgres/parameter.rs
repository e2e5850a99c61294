//! A column as one parameter: PostgreSQL's binary form of an array, written straight from Arrow.
//!
//! ```text
//! i32 dimensions = 1 | i32 has nulls | i32 element type | i32 length | i32 lower bound = 1 | { i32 size or -1, bytes }*
//! ```

use std::error::Error as StdError;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, types as at};
use bytes::{BufMut, BytesMut};
use postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};
use wiesel_core::types::timestamp_unit;
use wiesel_core::{DataType, TypeKind};

use crate::java_text;

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's first day.
pub(super) const EPOCH_DAYS: i64 = 10_957;
/// The same in microseconds.
pub(super) const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;

/// The element type of a column's parameter: its name in SQL and its array's type. `None`: PostgreSQL has no such type.
pub(super) fn parameter_type(kind: &TypeKind) -> Option<(&'static str, Type)> {
    Some(match kind {
        TypeKind::Boolean => ("bool", Type::BOOL_ARRAY),
        TypeKind::TinyInt | TypeKind::SmallInt => ("int2", Type::INT2_ARRAY),
        TypeKind::Int => ("int4", Type::INT4_ARRAY),
        TypeKind::BigInt => ("int8", Type::INT8_ARRAY),
        TypeKind::Float => ("float4", Type::FLOAT4_ARRAY),
        TypeKind::Double => ("float8", Type::FLOAT8_ARRAY),
        TypeKind::Decimal { .. } => ("numeric", Type::NUMERIC_ARRAY),
        TypeKind::Null | TypeKind::Char(_) | TypeKind::VarChar(_) => ("text", Type::TEXT_ARRAY),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => ("bytea", Type::BYTEA_ARRAY),
        TypeKind::Date => ("date", Type::DATE_ARRAY),
        TypeKind::Time(_) => ("time", Type::TIME_ARRAY),
        TypeKind::Timestamp(_) => ("timestamp", Type::TIMESTAMP_ARRAY),
        TypeKind::TimestampLtz(_) => ("timestamptz", Type::TIMESTAMPTZ_ARRAY),
        // As text, `{1,2}`: unnest would take a two-dimensional array apart to its last element.
        TypeKind::Array(element) if is_scalar(&element.kind) => ("text", Type::TEXT_ARRAY),
        _ => return None,
    })
}

/// What an ARRAY's text has to be cast to.
pub(super) fn array_cast(kind: &TypeKind) -> Option<String> {
    match kind {
        TypeKind::Array(element) => parameter_type(&element.kind).map(|(name, _)| format!("{name}[]")),
        _ => None,
    }
}

fn is_scalar(kind: &TypeKind) -> bool {
    !matches!(kind, TypeKind::Array(_)) && parameter_type(kind).is_some()
}

/// A column to be sent.
#[derive(Debug)]
pub(super) struct ColumnParameter<'a> {
    /// Its type.
    pub(super) data_type: &'a DataType,
    /// Its values.
    pub(super) array: &'a ArrayRef,
}

impl ToSql for ColumnParameter<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Kind::Array(element) = ty.kind() else { return Err(format!("{ty} is no array").into()) };
        let length = i32::try_from(self.array.len())?;
        out.put_i32(1);
        out.put_i32(i32::from(self.array.null_count() > 0 || self.data_type.kind == TypeKind::Null));
        out.put_u32(element.oid());
        out.put_i32(length);
        out.put_i32(1);
        for row in 0..self.array.len() {
            if self.array.is_null(row) || self.data_type.kind == TypeKind::Null {
                out.put_i32(-1);
                continue;
            }
            let size_at = out.len();
            out.put_i32(0);
            put_value(out, self.array, &self.data_type.kind, row)?;
            let size = i32::try_from(out.len() - size_at - 4)?;
            if let Some(place) = out.get_mut(size_at..size_at + 4) {
                place.copy_from_slice(&size.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}

fn put_value(
    out: &mut BytesMut,
    array: &ArrayRef,
    kind: &TypeKind,
    row: usize,
) -> Result<(), Box<dyn StdError + Sync + Send>> {
    match kind {
        TypeKind::Boolean => out.put_u8(u8::from(array.as_boolean().value(row))),
        TypeKind::TinyInt => out.put_i16(array.as_primitive::<at::Int8Type>().value(row).into()),
        TypeKind::SmallInt => out.put_i16(array.as_primitive::<at::Int16Type>().value(row)),
        TypeKind::Int => out.put_i32(array.as_primitive::<at::Int32Type>().value(row)),
        TypeKind::BigInt => out.put_i64(array.as_primitive::<at::Int64Type>().value(row)),
        TypeKind::Float => out.put_f32(array.as_primitive::<at::Float32Type>().value(row)),
        TypeKind::Double => out.put_f64(array.as_primitive::<at::Float64Type>().value(row)),
        TypeKind::Decimal { scale, .. } => {
            put_numeric(out, array.as_primitive::<at::Decimal128Type>().value(row), *scale);
        }
        TypeKind::Char(_) | TypeKind::VarChar(_) => out.put_slice(array.as_string::<i32>().value(row).as_bytes()),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => out.put_slice(array.as_binary::<i32>().value(row)),
        TypeKind::Date => {
            let days = i64::from(array.as_primitive::<at::Date32Type>().value(row)) - EPOCH_DAYS;
            out.put_i32(i32::try_from(days)?);
        }
        TypeKind::Time(_) => {
            out.put_i64(i64::from(array.as_primitive::<at::Time32MillisecondType>().value(row)) * 1000);
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let micros = timestamp_micros(array, *p, row).and_then(|us| us.checked_sub(EPOCH_MICROS));
            out.put_i64(micros.ok_or("a timestamp lies outside PostgreSQL's range")?);
        }
        TypeKind::Array(element) => {
            let mut text = String::new();
            append_array_text(&mut text, &array.as_list::<i32>().value(row), &element.kind);
            out.put_slice(text.as_bytes());
        }
        other => return Err(format!("{other} has no form in PostgreSQL").into()),
    }
    Ok(())
}

/// PostgreSQL keeps microseconds; what is finer is cut off.
fn timestamp_micros(array: &ArrayRef, precision: u8, row: usize) -> Option<i64> {
    use arrow_schema::TimeUnit;
    match timestamp_unit(precision) {
        TimeUnit::Microsecond => Some(array.as_primitive::<at::TimestampMicrosecondType>().value(row)),
        TimeUnit::Nanosecond => Some(array.as_primitive::<at::TimestampNanosecondType>().value(row).div_euclid(1000)),
        _ => array.as_primitive::<at::TimestampMillisecondType>().value(row).checked_mul(1000),
    }
}

/// NUMERIC in binary: digits to the base of 10000, aligned at the decimal point.
///
/// `i16 digits | i16 weight of the first | u16 sign | u16 scale | i16 digit*`
fn put_numeric(out: &mut BytesMut, unscaled: i128, scale: u8) {
    let mut rest = unscaled.unsigned_abs();
    let fraction_digits = u16::from(scale).div_ceil(4);
    // Fill the last group after the point up to four decimal places.
    let missing = u32::from(fraction_digits) * 4 - u32::from(scale);
    let mut groups: Vec<u16> = Vec::with_capacity(12);
    if missing > 0 {
        let shift = 10_u128.pow(4 - missing);
        let low = u16::try_from(rest % shift).unwrap_or(0);
        groups.push(low * 10_u16.pow(missing));
        rest /= shift;
    }
    while rest > 0 {
        groups.push(u16::try_from(rest % 10_000).unwrap_or(0));
        rest /= 10_000;
    }
    let weight = i32::try_from(groups.len()).unwrap_or(0) - i32::from(fraction_digits) - 1;
    groups.reverse();
    let leading = groups.iter().take_while(|g| **g == 0).count();
    let mut digits = groups.get(leading..).unwrap_or_default();
    let weight = weight - i32::try_from(leading).unwrap_or(0);
    while let [head @ .., 0] = digits {
        digits = head;
    }
    out.put_i16(i16::try_from(digits.len()).unwrap_or(0));
    out.put_i16(if digits.is_empty() { 0 } else { i16::try_from(weight).unwrap_or(0) });
    out.put_u16(if unscaled < 0 { 0x4000 } else { 0 });
    out.put_u16(scale.into());
    for digit in digits {
        out.put_u16(*digit);
    }
}

/// `{"a","b \"c\"",NULL}`.
fn append_array_text(out: &mut String, items: &ArrayRef, kind: &TypeKind) {
    out.push('{');
    let mut item = String::new();
    for row in 0..items.len() {
        if row > 0 {
            out.push(',');
        }
        if items.is_null(row) {
            out.push_str("NULL");
            continue;
        }
        item.clear();
        match kind {
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
                item.push_str("\\x");
                for byte in items.as_binary::<i32>().value(row) {
                    for nibble in [byte >> 4, byte & 15] {
                        item.extend(char::from_digit(nibble.into(), 16));
                    }
                }
            }
            kind => java_text::append_value(&mut item, items, kind, row),
        }
        out.push('"');
        for c in item.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use wiesel_core::Value;
    use wiesel_core::value::column;

    use super::*;

    fn numeric(unscaled: i128, scale: u8) -> Vec<i16> {
        let mut out = BytesMut::new();
        put_numeric(&mut out, unscaled, scale);
        out.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn numerics_are_groups_of_four_digits_around_the_point() {
        // digits, weight, sign, scale, groups
        let cases: &[(i128, u8, &[i16])] = &[
            (0, 2, &[0, 0, 0, 2]),
            (1, 0, &[1, 0, 0, 0, 1]),
            (12345, 2, &[2, 0, 0, 2, 123, 4500]),
            (-5, 2, &[1, -1, 0x4000, 2, 500]),
            (10_000, 0, &[1, 1, 0, 0, 1]),
            (123_456_789, 4, &[3, 1, 0, 4, 1, 2345, 6789]),
            (1, 9, &[1, -3, 0, 9, 1000]),
            (100, 2, &[1, 0, 0, 2, 1]),
        ];
        for (unscaled, scale, expected) in cases {
            assert_eq!(numeric(*unscaled, *scale), *expected, "{unscaled} scale {scale}");
        }
    }

    #[test]
    fn a_column_is_one_array() {
        let data_type = DataType::int();
        let array = column(&data_type.kind, &[Value::Int(7), Value::Null]);
        let mut out = BytesMut::new();
        ColumnParameter { data_type: &data_type, array: &array }.to_sql(&Type::INT4_ARRAY, &mut out).unwrap();
        let words: Vec<i32> = out.chunks(4).map(|w| i32::from_be_bytes(w.try_into().unwrap())).collect();
        assert_eq!(words, [1, 1, 23, 2, 1, 4, 7, -1]);
    }

    #[test]
    fn times_count_from_the_year_2000() {
        let cases = [
            (TypeKind::Timestamp(3), Value::Timestamp(946_684_800_001), Type::TIMESTAMP_ARRAY, 1000_i64),
            (TypeKind::TimestampLtz(6), Value::Timestamp(946_684_799_999_999), Type::TIMESTAMPTZ_ARRAY, -1),
            (TypeKind::Timestamp(9), Value::Timestamp(946_684_800_000_001_999), Type::TIMESTAMP_ARRAY, 1),
            (TypeKind::Time(3), Value::Time(5), Type::TIME_ARRAY, 5000),
        ];
        for (kind, value, ty, expected) in cases {
            let data_type = DataType::new(kind);
            let array = column(&data_type.kind, &[value]);
            let mut out = BytesMut::new();
            ColumnParameter { data_type: &data_type, array: &array }.to_sql(&ty, &mut out).unwrap();
            assert_eq!(out[24..], expected.to_be_bytes());
        }
    }

    #[test]
    fn arrays_are_quoted_text() {
        let items = column(
            &TypeKind::VarChar(9),
            &[Value::String("a\"b".into()), Value::Null, Value::String("\\".into()), Value::String("{,}".into())],
        );
        let mut text = String::new();
        append_array_text(&mut text, &items, &TypeKind::VarChar(9));
        assert_eq!(text, r#"{"a\"b",NULL,"\\","{,}"}"#);
        let mut bytes = String::new();
        let items = column(&TypeKind::VarBinary(9), &[Value::Bytes(vec![0, 255])]);
        append_array_text(&mut bytes, &items, &TypeKind::VarBinary(9));
        assert_eq!(bytes, r#"{"\\x00ff"}"#);
    }
}
