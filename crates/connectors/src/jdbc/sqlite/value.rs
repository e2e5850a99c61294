//! Values to and from SQLite, which knows five kinds of them and lets any of them stand in any column.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, types as at};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row, Statement};
use wiesel_core::{DataType, Error, Schema, TypeKind, Value};

use super::failure;
use crate::java_text;
use crate::jdbc::dialect::Failure;
use crate::jdbc::rows::Rows;
use crate::jdbc::target::Target;
use crate::jdbc::text;

/// Binds the value at a row as parameter `place`; `scratch` holds its text, where it has one of its own.
pub(super) fn bind(
    target: &Target,
    statement: &mut Statement<'_>,
    place: usize,
    (kind, array, row): (&TypeKind, &ArrayRef, usize),
    scratch: &mut String,
) -> Result<(), Failure> {
    scratch.clear();
    let value = if array.is_null(row) { Some(ValueRef::Null) } else { to_sqlite(kind, array, row, scratch) };
    let Some(value) = value else {
        let error = Error::data(format!("table `{}` of {} refuses a row: it has no NaN", target.name, target.server));
        return Err(Failure::Row(error));
    };
    statement.raw_bind_parameter(place, ToSqlOutput::Borrowed(value)).map_err(|e| failure(target, &e))
}

fn to_sqlite<'a>(kind: &TypeKind, array: &'a ArrayRef, row: usize, scratch: &'a mut String) -> Option<ValueRef<'a>> {
    let real = |value: f64| (!value.is_nan()).then_some(ValueRef::Real(value));
    match kind {
        TypeKind::Boolean => return Some(ValueRef::Integer(array.as_boolean().value(row).into())),
        TypeKind::TinyInt => return Some(ValueRef::Integer(array.as_primitive::<at::Int8Type>().value(row).into())),
        TypeKind::SmallInt => return Some(ValueRef::Integer(array.as_primitive::<at::Int16Type>().value(row).into())),
        TypeKind::Int => return Some(ValueRef::Integer(array.as_primitive::<at::Int32Type>().value(row).into())),
        TypeKind::BigInt => return Some(ValueRef::Integer(array.as_primitive::<at::Int64Type>().value(row))),
        TypeKind::Float => return real(array.as_primitive::<at::Float32Type>().value(row).into()),
        TypeKind::Double => return real(array.as_primitive::<at::Float64Type>().value(row)),
        TypeKind::Char(_) | TypeKind::VarChar(_) => {
            return Some(ValueRef::Text(array.as_string::<i32>().value(row).as_bytes()));
        }
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
            return Some(ValueRef::Blob(array.as_binary::<i32>().value(row)));
        }
        TypeKind::Decimal { scale, .. } => {
            java_text::append_plain_decimal(scratch, array.as_primitive::<at::Decimal128Type>().value(row), *scale);
        }
        TypeKind::Date => java_text::append_date(scratch, array.as_primitive::<at::Date32Type>().value(row).into()),
        TypeKind::Time(_) => text::append_time(scratch, array.as_primitive::<at::Time32MillisecondType>().value(row)),
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let (seconds, nanos) = java_text::timestamp_parts(array, *p, row);
            text::append_timestamp(scratch, seconds, nanos, *p);
            if matches!(kind, TypeKind::TimestampLtz(_)) {
                scratch.push('Z');
            }
        }
        _ => return Some(ValueRef::Null),
    }
    Some(ValueRef::Text(scratch.as_bytes()))
}

/// Takes the columns of `schema` out of a row whose first column is another.
pub(super) fn push_row(rows: &mut Rows, row: &Row<'_>, schema: &Schema, target: &Target) -> Result<(), Failure> {
    for (index, field) in schema.fields().iter().enumerate() {
        let found = row.get_ref(index + 1).map_err(|e| failure(target, &e))?;
        let bytes = match found {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
            _ => size_of::<i64>(),
        };
        let value = from_sqlite(&field.data_type, found).ok_or_else(|| {
            Error::data(format!(
                "column `{}` of table `{}` of {} holds {}, which {} cannot hold",
                field.name,
                target.name,
                target.server,
                found.data_type(),
                field.data_type
            ))
            .hint("declare the column as what it holds, or filter such rows in a view of the database")
        })?;
        rows.push(index, value, bytes);
    }
    rows.end_row();
    Ok(())
}

/// One value; `None` when it does not fit.
fn from_sqlite(data_type: &DataType, found: ValueRef<'_>) -> Option<Value> {
    let as_text = match found {
        ValueRef::Null => return Some(Value::Null),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    let integer = |min: i64, max: i64| match found {
        ValueRef::Integer(n) => (min..=max).contains(&n).then_some(Value::Int(n)),
        _ => None,
    };
    let real = match found {
        ValueRef::Real(n) => Some(n),
        ValueRef::Integer(n) => Some(n as f64),
        _ => None,
    };
    match &data_type.kind {
        TypeKind::Boolean => match (found, as_text) {
            (ValueRef::Integer(n), _) => Some(Value::Boolean(n != 0)),
            (_, Some(text)) => text.to_ascii_lowercase().parse().ok().map(Value::Boolean),
            _ => None,
        },
        TypeKind::TinyInt => integer(i8::MIN.into(), i8::MAX.into()),
        TypeKind::SmallInt => integer(i16::MIN.into(), i16::MAX.into()),
        TypeKind::Int => integer(i32::MIN.into(), i32::MAX.into()),
        TypeKind::BigInt => integer(i64::MIN, i64::MAX),
        TypeKind::Float => real.map(|n| Value::Float(n as f32)),
        TypeKind::Double => real.map(Value::Double),
        TypeKind::Decimal { precision, scale } => match (found, as_text) {
            (ValueRef::Integer(n), _) => text::decimal(&n.to_string(), *precision, *scale),
            (ValueRef::Real(n), _) if n.is_finite() => text::decimal(&n.to_string(), *precision, *scale),
            (_, Some(text)) => text::decimal(text, *precision, *scale),
            _ => None,
        },
        TypeKind::Char(_) | TypeKind::VarChar(_) => as_text.map(|text| Value::String(text.to_owned())),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => match found {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(Value::Bytes(bytes.to_vec())),
            _ => None,
        },
        TypeKind::Date => text::date(as_text?),
        TypeKind::Time(_) => text::time(as_text?),
        TypeKind::Timestamp(p) => text::timestamp(as_text?, *p),
        TypeKind::TimestampLtz(p) => text::instant(as_text?, *p),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_only_as_what_they_are() {
        let decimal = TypeKind::Decimal { precision: 5, scale: 2 };
        let cases = [
            (TypeKind::Int, ValueRef::Integer(7), Some(Value::Int(7))),
            (TypeKind::TinyInt, ValueRef::Integer(300), None),
            (TypeKind::Int, ValueRef::Text(b"7"), None),
            (TypeKind::Int, ValueRef::Null, Some(Value::Null)),
            (TypeKind::Boolean, ValueRef::Integer(2), Some(Value::Boolean(true))),
            (TypeKind::Boolean, ValueRef::Text(b"FALSE"), Some(Value::Boolean(false))),
            (TypeKind::Double, ValueRef::Integer(2), Some(Value::Double(2.0))),
            (decimal.clone(), ValueRef::Real(1.25), Some(Value::Decimal(125))),
            (decimal.clone(), ValueRef::Text(b"1.255"), Some(Value::Decimal(126))),
            (decimal, ValueRef::Integer(1000), Some(Value::Null)),
            (TypeKind::Date, ValueRef::Text(b"1970-01-02"), Some(Value::Date(1))),
            (TypeKind::Date, ValueRef::Integer(1), None),
            (TypeKind::TimestampLtz(3), ValueRef::Text(b"1970-01-01 00:00:00.005Z"), Some(Value::Timestamp(5))),
            (TypeKind::VarBinary(9), ValueRef::Blob(&[1]), Some(Value::Bytes(vec![1]))),
        ];
        for (kind, found, expected) in cases {
            let shown = format!("{kind} {found:?}");
            assert_eq!(from_sqlite(&DataType::new(kind), found), expected, "{shown}");
        }
    }
}
