//! Columns to Avro's bytes: the schema and the columns become a plan once, and a row is one walk along it.
//!
//! Arrays and maps are written as one block, as Java's encoder does, so that bytes are the same as Flink's for the same row.

use wiesel_core::types::{DataType, Field, TypeKind};
use wiesel_core::{Error, Result};

use super::schema::{Logical, Named, Schema, Type};
use crate::formats::json::encode::{Typed, Values};

/// How a value is written.
#[derive(Debug)]
enum Write {
    Null,
    Boolean,
    Integer,
    /// A time of so many nanoseconds a unit.
    Time {
        nanos_per_unit: i64,
    },
    /// A time of day; columns have milliseconds.
    TimeOfDay {
        per_ms: i64,
    },
    Float,
    Double,
    Bytes,
    Fixed(usize),
    Decimal {
        size: Option<usize>,
    },
    Enum(Vec<String>),
    Array(Box<Write>),
    Map(Box<Write>),
    Record(Vec<Write>),
    /// A union of null and another type: the places of both.
    Nullable {
        null: i64,
        value: i64,
        write: Box<Write>,
    },
}

/// The plan for rows of a table.
#[derive(Debug)]
pub(super) struct Plan {
    fields: Vec<(String, Write)>,
}

impl Plan {
    /// The plan that writes columns of `fields` by `schema`; an error says what does not fit.
    pub(super) fn new(schema: &Schema, fields: &[Field]) -> std::result::Result<Plan, String> {
        let Type::Named(index) = &schema.root else {
            return Err(format!("expected a record, found {}", schema.describe(&schema.root)));
        };
        let writes = record(schema, *index, fields)?;
        Ok(Plan { fields: fields.iter().map(|f| f.name.clone()).zip(writes).collect() })
    }

    /// Writes a row of the columns.
    pub(super) fn write(&self, columns: &[Typed<'_>], row: usize, out: &mut Vec<u8>) -> Result<()> {
        for ((name, write), column) in self.fields.iter().zip(columns) {
            value(write, column, row, out).map_err(|e| e.at(format!("column `{name}`")))?;
        }
        Ok(())
    }
}

/// Fields of a schema and columns of a table stand in the same order under the same names, as Flink demands.
fn record(schema: &Schema, index: usize, fields: &[Field]) -> std::result::Result<Vec<Write>, String> {
    let Some(Named::Record { fields: declared, .. }) = schema.names.get(index) else {
        return Err("expected a record".to_owned());
    };
    let names = |names: Vec<&str>| names.join(", ");
    if !declared.iter().map(|f| f.name.as_str()).eq(fields.iter().map(|f| f.name.as_str())) {
        return Err(format!(
            "the fields of the schema ({}) are not the columns ({})",
            names(declared.iter().map(|f| f.name.as_str()).collect()),
            names(fields.iter().map(|f| f.name.as_str()).collect())
        ));
    }
    let pairs = declared.iter().zip(fields);
    pairs
        .map(|(d, f)| plan(schema, &d.data_type, &f.data_type).map_err(|e| format!("field `{}`: {e}", f.name)))
        .collect()
}

fn plan(schema: &Schema, declared: &Type, source: &DataType) -> std::result::Result<Write, String> {
    let kind = &source.kind;
    if let Type::Union(branches) = declared {
        let null = branches.iter().position(|b| *b == Type::Null);
        let value = branches.iter().position(|b| *b != Type::Null);
        return match (branches.len(), null, value) {
            (2, Some(null), Some(value)) => {
                let place = |at: usize| i64::try_from(at).unwrap_or(0);
                let inner = branches.get(value).map_or(Err(String::new()), |b| plan(schema, b, source))?;
                Ok(Write::Nullable { null: place(null), value: place(value), write: Box::new(inner) })
            }
            _ => Err("only unions of null and one other type are written".to_owned()),
        };
    }
    let is_int = matches!(kind, TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int);
    let is_text = kind.is_string();
    let is_binary = matches!(kind, TypeKind::Binary(_) | TypeKind::VarBinary(_));
    Ok(match (declared, kind) {
        (Type::Null, TypeKind::Null) => Write::Null,
        (Type::Boolean, TypeKind::Boolean) => Write::Boolean,
        (Type::Int(Some(Logical::Date)), TypeKind::Date) => Write::Integer,
        (Type::Int(Some(Logical::Time(1_000_000))), TypeKind::Time(_)) => Write::TimeOfDay { per_ms: 1 },
        (Type::Long(Some(Logical::Time(1_000))), TypeKind::Time(_)) => Write::TimeOfDay { per_ms: 1_000 },
        (Type::Long(Some(Logical::Timestamp(nanos))), TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)) => {
            Write::Time { nanos_per_unit: *nanos }
        }
        (Type::Int(_), _) if is_int => Write::Integer,
        (Type::Long(_), TypeKind::BigInt) => Write::Integer,
        (Type::Long(_), _) if is_int => Write::Integer,
        (Type::Float, TypeKind::Float) => Write::Float,
        (Type::Double, TypeKind::Double) => Write::Double,
        (Type::Bytes(Some(Logical::Decimal { scale })), TypeKind::Decimal { scale: own, .. }) if scale == own => {
            Write::Decimal { size: None }
        }
        (Type::String, _) if is_text => Write::Bytes,
        (Type::Bytes(None), _) if is_binary => Write::Bytes,
        (Type::Array(items), TypeKind::Array(element)) => Write::Array(Box::new(plan(schema, items, element)?)),
        (Type::Map(values), TypeKind::Map(_, value)) => Write::Map(Box::new(plan(schema, values, value)?)),
        (Type::Map(values), TypeKind::Multiset(_)) => {
            Write::Map(Box::new(plan(schema, values, &DataType::not_null(TypeKind::Int))?))
        }
        (Type::Named(index), _) => match (schema.names.get(*index), kind) {
            (Some(Named::Record { .. }), TypeKind::Row(fields)) => Write::Record(record(schema, *index, fields)?),
            (Some(Named::Enum { symbols }), _) if is_text => Write::Enum(symbols.clone()),
            (Some(Named::Fixed { size, logical: None }), _) if is_binary => Write::Fixed(*size),
            (
                Some(Named::Fixed { size, logical: Some(Logical::Decimal { scale }) }),
                TypeKind::Decimal { scale: own, .. },
            ) if scale == own => Write::Decimal { size: Some(*size) },
            _ => return Err(format!("{kind} is not written as {}", schema.describe(declared))),
        },
        _ => return Err(format!("{kind} is not written as {}", schema.describe(declared))),
    })
}

#[inline]
fn value(write: &Write, column: &Typed<'_>, row: usize, out: &mut Vec<u8>) -> Result<()> {
    if let Write::Nullable { null, value: place, write } = write {
        if column.is_null(row) || matches!(column.values, Values::Null) {
            long(*null, out);
            return Ok(());
        }
        long(*place, out);
        return value(write, column, row, out);
    }
    if column.is_null(row) && !matches!(write, Write::Null) {
        return Err(Error::data("NULL where the Avro schema has no null"));
    }
    match (write, &column.values) {
        (Write::Null, _) => {}
        (Write::Boolean, Values::Boolean(array)) => out.push(u8::from(array.value(row))),
        (Write::Integer, Values::Int(array)) => long(array.value(row).into(), out),
        (Write::Integer, Values::BigInt(array)) => long(array.value(row), out),
        (Write::Integer, Values::SmallInt(array)) => long(array.value(row).into(), out),
        (Write::Integer, Values::TinyInt(array)) => long(array.value(row).into(), out),
        (Write::Integer, Values::Date(array)) => long(array.value(row).into(), out),
        (Write::TimeOfDay { per_ms }, Values::Time(array)) => long(i64::from(array.value(row)) * per_ms, out),
        (Write::Time { nanos_per_unit }, Values::Timestamp { values, per_second, .. }) => {
            let time = values.get(row).copied().unwrap_or_default();
            let own = 1_000_000_000 / per_second;
            let time = if own >= *nanos_per_unit {
                time.checked_mul(own / nanos_per_unit).ok_or_else(|| Error::data("a time beyond Avro's long"))?
            } else {
                time.div_euclid(nanos_per_unit / own)
            };
            long(time, out);
        }
        (Write::Float, Values::Float(array)) => out.extend_from_slice(&array.value(row).to_le_bytes()),
        (Write::Double, Values::Double(array)) => out.extend_from_slice(&array.value(row).to_le_bytes()),
        (Write::Bytes, Values::String(array)) => sized(array.value(row).as_bytes(), out),
        (Write::Bytes, Values::Binary(array)) => sized(array.value(row), out),
        (write, _) => return rare(write, column, row, out),
    }
    Ok(())
}

#[inline(never)]
fn rare(write: &Write, column: &Typed<'_>, row: usize, out: &mut Vec<u8>) -> Result<()> {
    match (write, &column.values) {
        (Write::Fixed(size), Values::Binary(array)) => {
            let bytes = array.value(row);
            if bytes.len() != *size {
                return Err(Error::data(format!("{} bytes, and the Avro schema wants {size}", bytes.len())));
            }
            out.extend_from_slice(bytes);
        }
        (Write::Decimal { size }, Values::Decimal(array, _)) => {
            let digits = array.value(row).to_be_bytes();
            match size {
                None => sized(shortest(&digits), out),
                Some(size) => {
                    let bytes = shortest(&digits);
                    let fill = if array.value(row) < 0 { 0xff } else { 0 };
                    let missing = size.checked_sub(bytes.len());
                    let missing =
                        missing.ok_or_else(|| Error::data("a decimal larger than the Avro schema's fixed"))?;
                    out.extend(std::iter::repeat_n(fill, missing));
                    out.extend_from_slice(bytes);
                }
            }
        }
        (Write::Enum(symbols), Values::String(array)) => {
            let text = array.value(row);
            let place = symbols.iter().position(|s| s == text);
            let place = place.ok_or_else(|| Error::data(format!("`{text}` is no symbol of the Avro schema's enum")))?;
            long(i64::try_from(place).unwrap_or(i64::MAX), out);
        }
        (Write::Array(items), Values::Array { offsets, items: column }) => {
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            block(range.len(), out);
            for item in range {
                value(items, column, item, out)?;
            }
            // An empty array has its end only.
            if offsets[row] != offsets[row + 1] {
                out.push(0);
            }
        }
        (Write::Map(values), Values::Map { offsets, keys, values: column }) => {
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            block(range.len(), out);
            for entry in range {
                sized(keys.value(entry).as_bytes(), out);
                value(values, column, entry, out)?;
            }
            if offsets[row] != offsets[row + 1] {
                out.push(0);
            }
        }
        (Write::Record(writes), Values::Row { columns, .. }) => {
            for (write, column) in writes.iter().zip(columns) {
                value(write, column, row, out)?;
            }
        }
        _ => return Err(Error::internal("a column is not of the type that its Avro plan was made for")),
    }
    Ok(())
}

fn block(count: usize, out: &mut Vec<u8>) {
    long(i64::try_from(count).unwrap_or(i64::MAX), out);
}

#[inline]
fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    long(i64::try_from(bytes.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(bytes);
}

/// A number in zig-zag form, seven bits a byte.
#[inline]
fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Two's complement without the bytes in front that say nothing.
fn shortest(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first, tail @ ..] = rest
        && let Some(next) = tail.first()
        && (*first == 0 && *next < 0x80 || *first == 0xff && *next >= 0x80)
    {
        rest = tail;
    }
    rest
}
