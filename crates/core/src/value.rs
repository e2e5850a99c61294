//! Single values: literals of a query, defaults, test data. Never in a hot loop; there, values live in Arrow columns.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Decimal128Builder, Float32Builder, Float64Builder, Int8Builder, Int16Builder,
    Int32Builder, Int64Builder, StringBuilder,
};
use arrow_array::{
    Array, ArrayRef, Date32Array, ListArray, MapArray, NullArray, StructArray, Time32MillisecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, new_null_array,
};
use arrow_array::{cast::AsArray, types as at};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema as arrow;

use crate::types::{DataType, TypeKind, timestamp_unit};

/// A SQL value; its type stands beside it, never inside.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL of any type.
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// TINYINT to BIGINT.
    Int(i64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL: the digits without the point; the scale is the type's.
    Decimal(i128),
    /// CHAR, VARCHAR.
    String(String),
    /// BINARY, VARBINARY.
    Bytes(Vec<u8>),
    /// DATE: days since 1970-01-01.
    Date(i32),
    /// TIME: ms of the day.
    Time(i32),
    /// TIMESTAMP and TIMESTAMP_LTZ in the unit of the type's precision (ms, us, ns).
    Timestamp(i64),
    /// INTERVAL YEAR TO MONTH in months.
    Months(i32),
    /// INTERVAL DAY TO SECOND in ms.
    Millis(i64),
    /// ARRAY.
    Array(Vec<Value>),
    /// MAP, and MULTISET with counts as values.
    Map(Vec<(Value, Value)>),
    /// ROW.
    Row(Vec<Value>),
}

impl Value {
    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// A column of `rows` times this value.
    pub fn to_array(&self, data_type: &DataType, rows: usize) -> ArrayRef {
        let one = column(&data_type.kind, std::slice::from_ref(self));
        if rows == 1 {
            return one;
        }
        let indices = arrow_array::UInt32Array::from(vec![0_u32; rows]);
        arrow_select::take::take(&one, &indices, None).expect("index 0 of a one-row column exists")
    }

    /// The value of a column at a row.
    pub fn from_array(array: &dyn Array, data_type: &DataType, row: usize) -> Value {
        if array.is_null(row) || matches!(data_type.kind, TypeKind::Null) {
            return Value::Null;
        }
        match &data_type.kind {
            TypeKind::Null => Value::Null,
            TypeKind::Boolean => Value::Boolean(array.as_boolean().value(row)),
            TypeKind::TinyInt => Value::Int(array.as_primitive::<at::Int8Type>().value(row).into()),
            TypeKind::SmallInt => Value::Int(array.as_primitive::<at::Int16Type>().value(row).into()),
            TypeKind::Int => Value::Int(array.as_primitive::<at::Int32Type>().value(row).into()),
            TypeKind::BigInt => Value::Int(array.as_primitive::<at::Int64Type>().value(row)),
            TypeKind::Float => Value::Float(array.as_primitive::<at::Float32Type>().value(row)),
            TypeKind::Double => Value::Double(array.as_primitive::<at::Float64Type>().value(row)),
            TypeKind::Decimal { .. } => Value::Decimal(array.as_primitive::<at::Decimal128Type>().value(row)),
            TypeKind::Char(_) | TypeKind::VarChar(_) => Value::String(array.as_string::<i32>().value(row).to_owned()),
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
                Value::Bytes(array.as_binary::<i32>().value(row).to_owned())
            }
            TypeKind::Date => Value::Date(array.as_primitive::<at::Date32Type>().value(row)),
            TypeKind::Time(_) => Value::Time(array.as_primitive::<at::Time32MillisecondType>().value(row)),
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => Value::Timestamp(match timestamp_unit(*p) {
                arrow::TimeUnit::Microsecond => array.as_primitive::<at::TimestampMicrosecondType>().value(row),
                arrow::TimeUnit::Nanosecond => array.as_primitive::<at::TimestampNanosecondType>().value(row),
                _ => array.as_primitive::<at::TimestampMillisecondType>().value(row),
            }),
            TypeKind::IntervalYearMonth => Value::Months(array.as_primitive::<at::Int32Type>().value(row)),
            TypeKind::IntervalDayTime => Value::Millis(array.as_primitive::<at::Int64Type>().value(row)),
            TypeKind::Array(element) => {
                let items = array.as_list::<i32>().value(row);
                Value::Array((0..items.len()).map(|i| Value::from_array(&items, element, i)).collect())
            }
            TypeKind::Map(key, value) => map_value(array, key, value, row),
            TypeKind::Multiset(element) => map_value(array, element, &DataType::not_null(TypeKind::Int), row),
            TypeKind::Row(fields) => {
                let columns = array.as_struct().columns();
                Value::Row(fields.iter().zip(columns).map(|(f, c)| Value::from_array(c, &f.data_type, row)).collect())
            }
        }
    }
}

fn map_value(array: &dyn Array, key: &DataType, value: &DataType, row: usize) -> Value {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    Value::Map(
        (0..entries.len()).map(|i| (Value::from_array(keys, key, i), Value::from_array(values, value, i))).collect(),
    )
}

/// A column of the given values. A value of another type than the column's counts as NULL (the binder has typed them before).
pub fn column(kind: &TypeKind, values: &[Value]) -> ArrayRef {
    macro_rules! build {
        ($builder:expr, $value:ident => $matched:pat => $out:expr) => {{
            let mut builder = $builder;
            for $value in values {
                match $value {
                    $matched => builder.append_value($out),
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }};
    }
    macro_rules! wrap {
        ($array:ty, $matched:pat => $out:expr) => {{
            Arc::new(<$array>::from(
                values
                    .iter()
                    .map(|v| match v {
                        $matched => Some($out),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ))
        }};
    }
    match kind {
        TypeKind::Null => Arc::new(NullArray::new(values.len())),
        TypeKind::Boolean => build!(BooleanBuilder::new(), v => Value::Boolean(b) => *b),
        TypeKind::TinyInt => build!(Int8Builder::new(), v => Value::Int(i) => i8::try_from(*i).unwrap_or_default()),
        TypeKind::SmallInt => build!(Int16Builder::new(), v => Value::Int(i) => i16::try_from(*i).unwrap_or_default()),
        TypeKind::Int => build!(Int32Builder::new(), v => Value::Int(i) => i32::try_from(*i).unwrap_or_default()),
        TypeKind::BigInt => build!(Int64Builder::new(), v => Value::Int(i) => *i),
        TypeKind::Float => build!(Float32Builder::new(), v => Value::Float(x) => *x),
        TypeKind::Double => build!(Float64Builder::new(), v => Value::Double(x) => *x),
        TypeKind::Decimal { .. } => {
            build!(Decimal128Builder::new().with_data_type(kind.to_arrow()), v => Value::Decimal(d) => *d)
        }
        TypeKind::Char(_) | TypeKind::VarChar(_) => build!(StringBuilder::new(), v => Value::String(s) => s),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => build!(BinaryBuilder::new(), v => Value::Bytes(b) => b),
        TypeKind::Date => wrap!(Date32Array, Value::Date(d) => *d),
        TypeKind::Time(_) => wrap!(Time32MillisecondArray, Value::Time(t) => *t),
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => match timestamp_unit(*p) {
            arrow::TimeUnit::Microsecond => wrap!(TimestampMicrosecondArray, Value::Timestamp(t) => *t),
            arrow::TimeUnit::Nanosecond => wrap!(TimestampNanosecondArray, Value::Timestamp(t) => *t),
            _ => wrap!(TimestampMillisecondArray, Value::Timestamp(t) => *t),
        },
        TypeKind::IntervalYearMonth => build!(Int32Builder::new(), v => Value::Months(m) => *m),
        TypeKind::IntervalDayTime => build!(Int64Builder::new(), v => Value::Millis(m) => *m),
        TypeKind::Array(element) => {
            let (offsets, nulls) = offsets(values, |v| match v {
                Value::Array(items) => Some(items.len()),
                _ => None,
            });
            let items: Vec<Value> = values
                .iter()
                .filter_map(|v| if let Value::Array(items) = v { Some(items.clone()) } else { None })
                .flatten()
                .collect();
            let field = Arc::new(arrow::Field::new("item", element.to_arrow(), true));
            Arc::new(ListArray::new(field, offsets, column(&element.kind, &items), nulls))
        }
        TypeKind::Map(key, value) => map_column(kind, &key.kind, &value.kind, values),
        TypeKind::Multiset(element) => map_column(kind, &element.kind, &TypeKind::Int, values),
        TypeKind::Row(fields) => {
            let nulls: NullBuffer = values.iter().map(|v| matches!(v, Value::Row(_))).collect();
            let arrow::DataType::Struct(arrow_fields) = kind.to_arrow() else {
                return new_null_array(&kind.to_arrow(), values.len());
            };
            if fields.is_empty() {
                return Arc::new(StructArray::new_empty_fields(values.len(), Some(nulls)));
            }
            let columns: Vec<ArrayRef> = fields
                .iter()
                .enumerate()
                .map(|(i, f)| {
                    let items: Vec<Value> = values
                        .iter()
                        .map(|v| match v {
                            Value::Row(items) => items.get(i).cloned().unwrap_or(Value::Null),
                            _ => Value::Null,
                        })
                        .collect();
                    column(&f.data_type.kind, &items)
                })
                .collect();
            Arc::new(StructArray::new(arrow_fields, columns, Some(nulls)))
        }
    }
}

fn map_column(kind: &TypeKind, key: &TypeKind, value: &TypeKind, values: &[Value]) -> ArrayRef {
    let (offsets, nulls) = offsets(values, |v| match v {
        Value::Map(entries) => Some(entries.len()),
        _ => None,
    });
    let entries: Vec<(Value, Value)> = values
        .iter()
        .filter_map(|v| if let Value::Map(entries) = v { Some(entries.clone()) } else { None })
        .flatten()
        .collect();
    let keys: Vec<Value> = entries.iter().map(|(k, _)| k.clone()).collect();
    let items: Vec<Value> = entries.into_iter().map(|(_, v)| v).collect();
    let arrow::DataType::Map(entry_field, sorted) = kind.to_arrow() else {
        return new_null_array(&kind.to_arrow(), values.len());
    };
    let arrow::DataType::Struct(fields) = entry_field.data_type().clone() else {
        return new_null_array(&kind.to_arrow(), values.len());
    };
    let entries = StructArray::new(fields, vec![column(key, &keys), column(value, &items)], None);
    Arc::new(MapArray::new(entry_field, offsets, entries, nulls, sorted))
}

fn offsets(values: &[Value], length: impl Fn(&Value) -> Option<usize>) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
    let lengths: Vec<Option<usize>> = values.iter().map(length).collect();
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|l| l.unwrap_or(0)));
    (offsets, Some(lengths.iter().map(Option::is_some).collect()))
}
