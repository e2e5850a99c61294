//! Rows of PostgreSQL's binary protocol to columns. The statements cast every column to the type that carries the declared one, so the form
//! of each value is known here.

use std::error::Error as StdError;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use postgres::Row;
use postgres::types::{FromSql, Type};
use wiesel_core::types::{DataType, Schema, TypeKind, timestamp_unit};
use wiesel_core::{Error, Result, Value, value};

use super::parameter::{EPOCH_DAYS, EPOCH_MICROS};

/// A value's bytes as they came; `None` is NULL.
struct Bytes<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Bytes(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Bytes(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The columns of `schema` out of rows whose first columns are `skipped` others. Also says how many bytes the values had.
pub(super) fn decode(rows: &[Row], skipped: usize, schema: &Schema, table: &str) -> Result<(RecordBatch, usize)> {
    let mut bytes = 0;
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.len());
    for (index, field) in schema.fields().iter().enumerate() {
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            let raw: Bytes<'_> = row
                .try_get(skipped + index)
                .map_err(|e| Error::internal(format!("column `{}` of table `{table}`: {e}", field.name)))?;
            bytes += raw.0.map_or(0, <[u8]>::len);
            values.push(match raw.0 {
                None => Value::Null,
                Some(raw) => read(&field.data_type, raw).ok_or_else(|| {
                    Error::data(format!(
                        "column `{}` of table `{table}` holds a value that {} cannot hold",
                        field.name, field.data_type
                    ))
                    .hint("infinite times and NaN have no place in SQL types: filter them in a view of the database")
                })?,
            });
        }
        columns.push(value::column(&field.data_type.kind, &values));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok((RecordBatch::try_new_with_options(Arc::clone(schema.arrow()), columns, &options)?, bytes))
}

/// One value; `None` when it does not fit.
fn read(data_type: &DataType, raw: &[u8]) -> Option<Value> {
    Some(match &data_type.kind {
        TypeKind::Boolean => Value::Boolean(*raw.first()? != 0),
        TypeKind::TinyInt => Value::Int(i8::try_from(i16::from_be_bytes(raw.try_into().ok()?)).ok()?.into()),
        TypeKind::SmallInt => Value::Int(i16::from_be_bytes(raw.try_into().ok()?).into()),
        TypeKind::Int => Value::Int(i32::from_be_bytes(raw.try_into().ok()?).into()),
        TypeKind::BigInt => Value::Int(i64::from_be_bytes(raw.try_into().ok()?)),
        TypeKind::Float => Value::Float(f32::from_be_bytes(raw.try_into().ok()?)),
        TypeKind::Double => Value::Double(f64::from_be_bytes(raw.try_into().ok()?)),
        TypeKind::Decimal { precision, scale } => return numeric(raw, *precision, *scale),
        TypeKind::Null | TypeKind::Char(_) | TypeKind::VarChar(_) => {
            Value::String(String::from_utf8(raw.to_vec()).ok()?)
        }
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => Value::Bytes(raw.to_vec()),
        TypeKind::Date => {
            let days = i32::from_be_bytes(raw.try_into().ok()?);
            let is_finite = days != i32::MAX && days != i32::MIN;
            Value::Date(is_finite.then_some(days)?.checked_add(i32::try_from(EPOCH_DAYS).ok()?)?)
        }
        TypeKind::Time(_) => {
            let micros = i64::from_be_bytes(raw.get(..8)?.try_into().ok()?);
            Value::Time(i32::try_from(micros / 1000 % 86_400_000).ok()?)
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let micros = i64::from_be_bytes(raw.try_into().ok()?);
            let is_finite = micros != i64::MAX && micros != i64::MIN;
            let micros = is_finite.then_some(micros)?.checked_add(EPOCH_MICROS)?;
            Value::Timestamp(match timestamp_unit(*p) {
                arrow_schema::TimeUnit::Microsecond => micros,
                arrow_schema::TimeUnit::Nanosecond => micros.checked_mul(1000)?,
                _ => micros.div_euclid(1000),
            })
        }
        TypeKind::Array(element) => return array(element, raw),
        _ => return None,
    })
}

/// `i32 dimensions | i32 has nulls | i32 element type | { i32 length | i32 lower bound } | { i32 size or -1, bytes }*`
fn array(element: &DataType, raw: &[u8]) -> Option<Value> {
    let word = |at: usize| Some(i32::from_be_bytes(raw.get(at..at + 4)?.try_into().ok()?));
    match word(0)? {
        0 => return Some(Value::Array(Vec::new())),
        1 => {}
        _ => return None,
    }
    let count = usize::try_from(word(12)?).ok()?;
    let mut position = 20;
    let mut items = Vec::with_capacity(count.min(raw.len()));
    for _ in 0..count {
        let size = word(position)?;
        position += 4;
        match usize::try_from(size) {
            Err(_) => items.push(Value::Null),
            Ok(size) => {
                items.push(read(element, raw.get(position..position + size)?)?);
                position += size;
            }
        }
    }
    Some(Value::Array(items))
}

/// NUMERIC out of its groups of four digits, rounded half up to the scale; too many digits make NULL, as in Flink.
fn numeric(raw: &[u8], precision: u8, scale: u8) -> Option<Value> {
    let word = |at: usize| Some(i16::from_be_bytes(raw.get(at..at + 2)?.try_into().ok()?));
    let (count, weight, sign) = (word(0)?, word(2)?, word(4)?);
    // 0x4000 is negative; the larger ones are NaN and the infinities.
    if sign != 0 && sign != 0x4000 {
        return None;
    }
    let scale = i32::from(scale);
    let mut magnitude: i128 = 0;
    let mut exponent = 0;
    let too_large = Some(Value::Null);
    for index in 0..count {
        let at = i32::from(weight) - i32::from(index);
        // What lies so far behind the last wanted digit cannot round it up.
        if at * 4 < -scale - 8 {
            break;
        }
        let group = i128::from(word(8 + 2 * usize::try_from(index).ok()?)?);
        let Some(next) = magnitude.checked_mul(10_000).and_then(|m| m.checked_add(group)) else { return too_large };
        magnitude = next;
        exponent = at * 4;
    }
    let shift = exponent + scale;
    let unscaled = match u32::try_from(shift) {
        Ok(_) if magnitude == 0 => 0,
        Ok(up) => match 10_i128.checked_pow(up).and_then(|p| magnitude.checked_mul(p)) {
            Some(unscaled) => unscaled,
            None => return too_large,
        },
        Err(_) => match 10_i128.checked_pow(shift.unsigned_abs()) {
            Some(power) => magnitude / power + i128::from(magnitude % power * 2 >= power),
            None => 0,
        },
    };
    match 10_i128.checked_pow(precision.into()) {
        Some(limit) if unscaled >= limit => too_large,
        _ => Some(Value::Decimal(if sign == 0 { unscaled } else { -unscaled })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[i16]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    #[test]
    fn numerics_are_rounded_half_up_and_too_large_ones_are_null() {
        // digits, weight, sign, scale, groups
        let cases: &[(&[i16], u8, u8, Option<Value>)] = &[
            (&[0, 0, 0, 2], 10, 2, Some(Value::Decimal(0))),
            (&[1, 0, 0, 0, 1], 10, 2, Some(Value::Decimal(100))),
            (&[2, 0, 0, 2, 123, 4500], 10, 2, Some(Value::Decimal(12_345))),
            (&[1, -1, 0x4000, 2, 500], 10, 2, Some(Value::Decimal(-5))),
            (&[1, -1, 0, 3, 50], 10, 2, Some(Value::Decimal(1))),
            (&[1, -1, 0, 3, 49], 10, 2, Some(Value::Decimal(0))),
            (&[1, 1, 0, 0, 1], 10, 0, Some(Value::Decimal(10_000))),
            (&[1, 1, 0, 0, 1], 4, 0, Some(Value::Null)),
            (&[1, -9, 0, 36, 1], 38, 10, Some(Value::Decimal(0))),
            (&[1, 20, 0, 0, 1], 38, 0, Some(Value::Null)),
            (&[0, 0, -16384, 0], 10, 2, None),
        ];
        for (groups, precision, scale, expected) in cases {
            assert_eq!(numeric(&words(groups), *precision, *scale), *expected, "{groups:?}");
        }
    }

    #[test]
    fn infinite_and_damaged_values_are_no_values() {
        let timestamp = DataType::new(TypeKind::Timestamp(3));
        assert_eq!(read(&timestamp, &1_999_i64.to_be_bytes()), Some(Value::Timestamp(946_684_800_001)));
        assert_eq!(read(&timestamp, &i64::MAX.to_be_bytes()), None);
        assert_eq!(read(&DataType::new(TypeKind::Date), &i32::MIN.to_be_bytes()), None);
        assert_eq!(read(&DataType::int(), &[1]), None);
        assert_eq!(read(&DataType::new(TypeKind::TinyInt), &300_i16.to_be_bytes()), None);
        let ints = DataType::new(TypeKind::Array(Box::new(DataType::int())));
        let raw: Vec<u8> = [1, 1, 23, 2, 1, 4, 7, -1].iter().flat_map(|w: &i32| w.to_be_bytes()).collect();
        assert_eq!(read(&ints, &raw), Some(Value::Array(vec![Value::Int(7), Value::Null])));
        assert_eq!(read(&ints, &raw[..26]), None);
    }
}
