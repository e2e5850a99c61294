//! Values to and from MySQL's binary protocol.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, types as at};
use jiff::civil;
use wiesel_core::{DataType, Error, Schema, TypeKind, Value};

use super::client::Sent;
use crate::java_text;
use crate::jdbc::dialect::Failure;
use crate::jdbc::rows::Rows;
use crate::jdbc::target::Target;
use crate::jdbc::text;

/// The value at a row, to be bound.
pub(super) fn to_send(target: &Target, kind: &TypeKind, array: &ArrayRef, row: usize) -> Result<Sent, Failure> {
    if array.is_null(row) {
        return Ok(Sent::Null);
    }
    to_mysql(kind, array, row).ok_or_else(|| {
        let mut shown = String::new();
        java_text::append_value(&mut shown, array, kind, row);
        let (table, server) = (&target.name, &target.server);
        Failure::Row(Error::data(format!("table `{table}` of {server} refuses a row: MySQL has no {kind} {shown}")))
    })
}

fn to_mysql(kind: &TypeKind, array: &ArrayRef, row: usize) -> Option<Sent> {
    Some(match kind {
        TypeKind::Boolean => Sent::Int(array.as_boolean().value(row).into()),
        TypeKind::TinyInt => Sent::Int(array.as_primitive::<at::Int8Type>().value(row).into()),
        TypeKind::SmallInt => Sent::Int(array.as_primitive::<at::Int16Type>().value(row).into()),
        TypeKind::Int => Sent::Int(array.as_primitive::<at::Int32Type>().value(row).into()),
        TypeKind::BigInt => Sent::Int(array.as_primitive::<at::Int64Type>().value(row)),
        TypeKind::Float => {
            let value = array.as_primitive::<at::Float32Type>().value(row);
            Sent::Float(value.is_finite().then_some(value)?)
        }
        TypeKind::Double => {
            let value = array.as_primitive::<at::Float64Type>().value(row);
            Sent::Double(value.is_finite().then_some(value)?)
        }
        TypeKind::Decimal { scale, .. } => {
            let mut text = String::new();
            java_text::append_plain_decimal(&mut text, array.as_primitive::<at::Decimal128Type>().value(row), *scale);
            Sent::Bytes(text.into_bytes())
        }
        TypeKind::Char(_) | TypeKind::VarChar(_) => Sent::Bytes(array.as_string::<i32>().value(row).into()),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => Sent::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        TypeKind::Date => date(array.as_primitive::<at::Date32Type>().value(row).into(), 0, 0)?,
        TypeKind::Time(_) => {
            let ms = array.as_primitive::<at::Time32MillisecondType>().value(row);
            let (hour, minute, second) = clock((ms / 1000).into())?;
            Sent::Time(false, 0, hour, minute, second, u32::try_from(ms % 1000 * 1000).ok()?)
        }
        // MySQL keeps microseconds; what is finer is cut off.
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let (seconds, nanos) = java_text::timestamp_parts(array, *p, row);
            date(seconds.div_euclid(86_400), seconds.rem_euclid(86_400), nanos / 1000)?
        }
        _ => Sent::Null,
    })
}

fn date(days: i64, second_of_day: i64, micros: u32) -> Option<Sent> {
    let date = civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
    let (hour, minute, second) = clock(second_of_day)?;
    let year = u16::try_from(date.year()).ok()?;
    let (month, day) = (u8::try_from(date.month()).ok()?, u8::try_from(date.day()).ok()?);
    Some(Sent::Date(year, month, day, hour, minute, second, micros))
}

fn clock(second_of_day: i64) -> Option<(u8, u8, u8)> {
    let part = |n: i64| u8::try_from(n).ok();
    Some((part(second_of_day / 3600)?, part(second_of_day / 60 % 60)?, part(second_of_day % 60)?))
}

/// Takes the columns of `schema` out of a row whose first column is a number, which is returned.
pub(super) fn push_row(rows: &mut Rows, row: Vec<Sent>, schema: &Schema, target: &Target) -> Result<i64, Failure> {
    let mut sent = row.into_iter();
    let number = match sent.next() {
        Some(Sent::Int(number)) => number,
        _ => 0,
    };
    for (index, (field, sent)) in schema.fields().iter().zip(sent).enumerate() {
        let bytes = match &sent {
            Sent::Bytes(bytes) => bytes.len(),
            _ => size_of::<i64>(),
        };
        let value = from_mysql(&field.data_type, sent).ok_or_else(|| {
            Error::data(format!(
                "column `{}` of table `{}` holds a value that {} cannot hold",
                field.name, target.name, field.data_type
            ))
            .hint("zero dates and times of more than a day have no place in SQL types: filter them in a view of the database")
        })?;
        rows.push(index, value, bytes);
    }
    rows.end_row();
    Ok(number)
}

/// One value; `None` when it does not fit.
fn from_mysql(data_type: &DataType, sent: Sent) -> Option<Value> {
    let integer = |min: i64, max: i64| {
        let number: i64 = match &sent {
            Sent::Int(n) => *n,
            Sent::UInt(n) => i64::try_from(*n).ok()?,
            Sent::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok()?,
            _ => return None,
        };
        (min..=max).contains(&number).then_some(Value::Int(number))
    };
    let real = || match &sent {
        Sent::Float(n) => Some(f64::from(*n)),
        Sent::Double(n) => Some(*n),
        Sent::Int(n) => Some(*n as f64),
        Sent::UInt(n) => Some(*n as f64),
        Sent::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    };
    let in_text = || match &sent {
        Sent::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    if matches!(sent, Sent::Null) {
        return Some(Value::Null);
    }
    match &data_type.kind {
        TypeKind::Boolean => match integer(i64::MIN, i64::MAX) {
            Some(Value::Int(n)) => Some(Value::Boolean(n != 0)),
            _ => in_text()?.to_ascii_lowercase().parse().ok().map(Value::Boolean),
        },
        TypeKind::TinyInt => integer(i8::MIN.into(), i8::MAX.into()),
        TypeKind::SmallInt => integer(i16::MIN.into(), i16::MAX.into()),
        TypeKind::Int => integer(i32::MIN.into(), i32::MAX.into()),
        TypeKind::BigInt => integer(i64::MIN, i64::MAX),
        // The shortest text of a FLOAT is the FLOAT itself; through a DOUBLE it stays exact.
        TypeKind::Float => real().map(|n| Value::Float(n as f32)),
        TypeKind::Double => real().map(Value::Double),
        TypeKind::Decimal { precision, scale } => {
            let text = match &sent {
                Sent::Int(n) => n.to_string(),
                Sent::UInt(n) => n.to_string(),
                Sent::Float(n) => n.to_string(),
                Sent::Double(n) => n.to_string(),
                _ => in_text()?.to_owned(),
            };
            text::decimal(&text, *precision, *scale)
        }
        TypeKind::Char(_) | TypeKind::VarChar(_) => in_text().map(|text| Value::String(text.to_owned())),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => match sent {
            Sent::Bytes(bytes) => Some(Value::Bytes(bytes)),
            _ => None,
        },
        TypeKind::Date => match sent {
            Sent::Date(year, month, day, ..) => {
                day_of(year, month, day).and_then(|d| i32::try_from(d).ok()).map(Value::Date)
            }
            _ => text::date(in_text()?),
        },
        TypeKind::Time(_) => match sent {
            Sent::Time(false, 0, hour, minute, second, micros) => {
                let seconds = i32::from(hour) * 3600 + i32::from(minute) * 60 + i32::from(second);
                Some(Value::Time(seconds * 1000 + i32::try_from(micros / 1000).ok()?))
            }
            _ => text::time(in_text()?),
        },
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => match sent {
            Sent::Date(year, month, day, hour, minute, second, micros) => {
                let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
                text::in_unit(day_of(year, month, day)? * 86_400 + of_day, i64::from(micros) * 1000, *p)
            }
            _ if matches!(data_type.kind, TypeKind::TimestampLtz(_)) => text::instant(in_text()?, *p),
            _ => text::timestamp(in_text()?, *p),
        },
        _ => None,
    }
}

fn day_of(year: u16, month: u8, day: u8) -> Option<i64> {
    let (year, month, day) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    let date = civil::Date::new(year, month, day).ok()?;
    civil::date(1970, 1, 1).until(date).ok().map(|span| span.get_days().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_only_as_what_they_are() {
        let bytes = |text: &str| Sent::Bytes(text.as_bytes().to_vec());
        let unsigned = TypeKind::Decimal { precision: 20, scale: 0 };
        let cases = [
            (TypeKind::Boolean, Sent::Int(1), Some(Value::Boolean(true))),
            (TypeKind::TinyInt, Sent::Int(200), None),
            (TypeKind::SmallInt, Sent::Int(200), Some(Value::Int(200))),
            (TypeKind::BigInt, Sent::UInt(u64::MAX), None),
            (unsigned, Sent::UInt(u64::MAX), Some(Value::Decimal(u64::MAX.into()))),
            (TypeKind::Decimal { precision: 9, scale: 1 }, bytes("-1.25"), Some(Value::Decimal(-13))),
            (TypeKind::Date, Sent::Date(0, 0, 0, 0, 0, 0, 0), None),
            (TypeKind::Date, Sent::Date(1970, 1, 3, 0, 0, 0, 0), Some(Value::Date(2))),
            (TypeKind::Time(3), Sent::Time(false, 0, 0, 0, 1, 500_000), Some(Value::Time(1500))),
            (TypeKind::Time(3), Sent::Time(true, 0, 1, 0, 0, 0), None),
            (TypeKind::Timestamp(3), Sent::Date(1970, 1, 1, 0, 0, 1, 234_567), Some(Value::Timestamp(1234))),
            (TypeKind::VarChar(9), bytes("a"), Some(Value::String("a".to_owned()))),
            (TypeKind::Int, Sent::Null, Some(Value::Null)),
        ];
        for (kind, sent, expected) in cases {
            let shown = format!("{kind} {sent:?}");
            assert_eq!(from_mysql(&DataType::new(kind), sent), expected, "{shown}");
        }
    }
}
