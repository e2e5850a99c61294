//! The raw format: the record's bytes are the one column's value.
//!
//! | option | default | |
//! |---|---|---|
//! | raw.charset | UTF-8 | of text columns; UTF-8 is the only one |
//! | raw.endianness | big-endian | little-endian; of numeric columns |
//!
//! CHAR and VARCHAR are text, BINARY and VARBINARY bytes, BOOLEAN one byte, and numbers their 1, 2, 4 or 8 bytes. A record without a value
//! (a tombstone) is a NULL; a NULL cannot be written.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as at;
use arrow_array::{Array, RecordBatch};
use wiesel_core::options::Options;
use wiesel_core::source::RawBatch;
use wiesel_core::types::{Field, TypeKind};
use wiesel_core::{ChangeBatch, Error, Result, Value, value};

use super::{Decoded, Decoder, DecoderFactory, Encoder, EncoderFactory, FormatContext};

/// Makes decoders and encoders.
#[derive(Debug, Clone)]
pub struct RawFactory {
    table: String,
    /// `None`: the query does not read the column.
    field: Option<Field>,
    is_little_endian: bool,
}

impl RawFactory {
    /// Reads the options under `prefix` and checks that there is one column of a type that has bytes.
    pub fn new(options: &mut Options<'_>, prefix: &str, context: FormatContext) -> Result<Self> {
        let charset = format!("{prefix}charset");
        if let Some(name) = options.get(&charset).filter(|n| !n.eq_ignore_ascii_case("utf-8")) {
            return Err(options.unsupported(&charset, &format!("texts are UTF-8, not {name}")));
        }
        let endianness = options.one_of(&format!("{prefix}endianness"), &["big-endian", "little-endian"])?;
        let [field] = context.record.fields() else {
            return Err(Error::config(format!(
                "format 'raw' of table `{}` takes exactly one physical column, found {}",
                context.table,
                context.record.len()
            )));
        };
        let kind = &field.data_type.kind;
        let has_bytes = kind.is_string()
            || kind.is_integer()
            || matches!(
                kind,
                TypeKind::Binary(_) | TypeKind::VarBinary(_) | TypeKind::Boolean | TypeKind::Float | TypeKind::Double
            );
        if !has_bytes {
            return Err(Error::config(format!(
                "format 'raw' of table `{}` cannot hold column `{}` of type {}",
                context.table, field.name, field.data_type
            ))
            .hint("raw takes text, bytes, BOOLEAN, integers, FLOAT and DOUBLE"));
        }
        Ok(RawFactory {
            table: context.table,
            field: context.schema.fields().first().cloned(),
            is_little_endian: endianness == Some("little-endian"),
        })
    }

    fn value(&self, kind: &TypeKind, bytes: &[u8]) -> Option<Value> {
        macro_rules! number {
            ($type:ty) => {{
                let bytes = bytes.try_into().ok()?;
                if self.is_little_endian { <$type>::from_le_bytes(bytes) } else { <$type>::from_be_bytes(bytes) }
            }};
        }
        Some(match kind {
            TypeKind::Char(_) | TypeKind::VarChar(_) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => Value::Bytes(bytes.to_vec()),
            TypeKind::Boolean => Value::Boolean(number!(i8) != 0),
            TypeKind::TinyInt => Value::Int(number!(i8).into()),
            TypeKind::SmallInt => Value::Int(number!(i16).into()),
            TypeKind::Int => Value::Int(number!(i32).into()),
            TypeKind::BigInt => Value::Int(number!(i64)),
            TypeKind::Float => Value::Float(number!(f32)),
            TypeKind::Double => Value::Double(number!(f64)),
            _ => return None,
        })
    }

    fn write(&self, array: &dyn Array, kind: &TypeKind, row: usize, out: &mut Vec<u8>) {
        macro_rules! number {
            ($value:expr) => {{
                let number = $value;
                out.extend_from_slice(&if self.is_little_endian { number.to_le_bytes() } else { number.to_be_bytes() });
            }};
        }
        match kind {
            TypeKind::Char(_) | TypeKind::VarChar(_) => {
                out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
            }
            TypeKind::Boolean => out.push(u8::from(array.as_boolean().value(row))),
            TypeKind::TinyInt => number!(array.as_primitive::<at::Int8Type>().value(row)),
            TypeKind::SmallInt => number!(array.as_primitive::<at::Int16Type>().value(row)),
            TypeKind::Int => number!(array.as_primitive::<at::Int32Type>().value(row)),
            TypeKind::BigInt => number!(array.as_primitive::<at::Int64Type>().value(row)),
            TypeKind::Float => number!(array.as_primitive::<at::Float32Type>().value(row)),
            TypeKind::Double => number!(array.as_primitive::<at::Float64Type>().value(row)),
            _ => out.extend_from_slice(array.as_binary::<i32>().value(row)),
        }
    }
}

impl DecoderFactory for RawFactory {
    fn create(&self) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(self.clone()))
    }
}

impl EncoderFactory for RawFactory {
    fn create(&self) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(self.clone()))
    }
}

impl Decoder for RawFactory {
    fn decode(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Decoded> {
        let records = batch.records.get(range).unwrap_or_default();
        let Some(field) = &self.field else {
            let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(records.len()));
            let schema = Arc::new(arrow_schema::Schema::empty());
            let rows = RecordBatch::try_new_with_options(schema, Vec::new(), &options)?;
            return Ok(Decoded { rows, kinds: None, taken: None, skipped: 0 });
        };
        let mut values = Vec::with_capacity(records.len());
        for record in records {
            if !record.has_value {
                values.push(Value::Null);
                continue;
            }
            let bytes = batch.arena.get(record.value_start as usize..record.value_end as usize).unwrap_or_default();
            values.push(self.value(&field.data_type.kind, bytes).ok_or_else(|| {
                Error::data(format!(
                    "table `{}`: {} bytes are no {} of column `{}`",
                    self.table,
                    bytes.len(),
                    field.data_type,
                    field.name
                ))
                .at(format!("record at offset {} of table `{}`", record.offset, self.table))
            })?);
        }
        let schema = wiesel_core::Schema::new(vec![field.clone()]);
        let rows =
            RecordBatch::try_new(Arc::clone(schema.arrow()), vec![value::column(&field.data_type.kind, &values)])?;
        Ok(Decoded { rows, kinds: None, taken: None, skipped: 0 })
    }
}

impl Encoder for RawFactory {
    fn encode(&mut self, batch: &ChangeBatch, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let (Some(field), Some(array)) = (&self.field, batch.rows.columns().first()) else {
            return Err(Error::internal("format 'raw' writes one column"));
        };
        for row in 0..batch.len() {
            if array.is_null(row) {
                return Err(Error::data(format!(
                    "column `{}` of table `{}` is NULL, which format 'raw' cannot write",
                    field.name, self.table
                ))
                .hint("filter such rows"));
            }
            self.write(array, &field.data_type.kind, row, bytes);
            ends.push(bytes.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use wiesel_core::DataType;
    use wiesel_core::source::RawRecord;
    use wiesel_core::types::Schema;

    use super::*;

    fn factory(kind: TypeKind, options: &[(&str, &str)]) -> Result<RawFactory> {
        let values: BTreeMap<String, String> =
            options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let context = FormatContext::whole("t", Schema::new(vec![Field::new("v", DataType::new(kind))]), "UTC");
        RawFactory::new(&mut Options::new("t", &values), "raw.", context)
    }

    #[test]
    fn a_value_survives_the_way_there_and_back() {
        type Case = (TypeKind, &'static [(&'static str, &'static str)], Value, &'static [u8]);
        const LITTLE: &[(&str, &str)] = &[("raw.endianness", "little-endian")];
        let cases: &[Case] = &[
            (DataType::string().kind, &[], Value::String("ü".to_owned()), "ü".as_bytes()),
            (TypeKind::VarBinary(9), &[], Value::Bytes(vec![0, 255]), &[0, 255]),
            (TypeKind::Boolean, &[], Value::Boolean(true), &[1]),
            (TypeKind::Int, &[], Value::Int(258), &[0, 0, 1, 2]),
            (TypeKind::Int, LITTLE, Value::Int(258), &[2, 1, 0, 0]),
            (TypeKind::Double, &[], Value::Double(1.0), &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
        ];
        for (kind, options, value, bytes) in cases {
            let mut raw = factory(kind.clone(), options).unwrap();
            let column = value::column(kind, std::slice::from_ref(value));
            let schema = Schema::new(vec![Field::new("v", DataType::new(kind.clone()))]);
            let rows = RecordBatch::try_new(schema.arrow().clone(), vec![column]).unwrap();
            let (mut out, mut ends) = (Vec::new(), Vec::new());
            raw.encode(&ChangeBatch::inserts(rows.clone()), &mut out, &mut ends).unwrap();
            assert_eq!(out, *bytes);
            let record = RawRecord {
                key_start: 0,
                key_end: 0,
                value_start: 0,
                value_end: u32::try_from(out.len()).unwrap(),
                offset: 0,
                timestamp_ms: -1,
                has_key: false,
                has_value: true,
                tag: 0,
            };
            let batch = RawBatch { split: 0, arena: Bytes::from(out), records: vec![record], next: 1 };
            assert_eq!(raw.decode(&batch, 0..1).unwrap().rows, rows);
        }
        assert!(factory(TypeKind::Date, &[]).is_err());
        assert!(factory(DataType::string().kind, &[("raw.charset", "latin1")]).is_err());
    }
}
