//! The raw format: the record's bytes are the one column's value.
//!
//! | option | default | |
//! |---|---|---|
//! | raw.charset | UTF-8 | of text columns: UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE, UTF-16LE |
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
    charset: Charset,
    is_little_endian: bool,
}

/// The characters of text columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charset {
    Utf8,
    Ascii,
    Latin1,
    /// Written with a mark of its byte order, which is the big one; read by its mark.
    Utf16,
    Utf16Be,
    Utf16Le,
}

impl Charset {
    /// By Java's names and their aliases.
    fn of(name: &str) -> Option<Charset> {
        Some(match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" => Charset::Utf8,
            "US-ASCII" | "ASCII" => Charset::Ascii,
            "ISO-8859-1" | "ISO8859_1" | "LATIN1" => Charset::Latin1,
            "UTF-16" => Charset::Utf16,
            "UTF-16BE" => Charset::Utf16Be,
            "UTF-16LE" => Charset::Utf16Le,
            _ => return None,
        })
    }

    /// The text; what is none becomes U+FFFD, as in Java.
    fn decode(self, bytes: &[u8]) -> String {
        let (is_little, bytes) = match (self, bytes) {
            (Charset::Utf16, [0xff, 0xfe, rest @ ..]) => (true, rest),
            (Charset::Utf16, [0xfe, 0xff, rest @ ..]) => (false, rest),
            _ => (self == Charset::Utf16Le, bytes),
        };
        match self {
            Charset::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Charset::Ascii => {
                bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { char::REPLACEMENT_CHARACTER }).collect()
            }
            Charset::Latin1 => bytes.iter().map(|b| char::from(*b)).collect(),
            Charset::Utf16 | Charset::Utf16Be | Charset::Utf16Le => {
                let units = bytes.chunks(2).map(|unit| match unit {
                    [a, b] if is_little => u16::from_le_bytes([*a, *b]),
                    [a, b] => u16::from_be_bytes([*a, *b]),
                    _ => 0xfffd,
                });
                char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
        }
    }

    /// Appends the bytes of a text; what the characters do not have becomes `?`, as in Java.
    fn encode(self, text: &str, out: &mut Vec<u8>) {
        let limit = match self {
            Charset::Utf8 => return out.extend_from_slice(text.as_bytes()),
            Charset::Ascii => 0x7f,
            Charset::Latin1 => 0xff,
            Charset::Utf16 | Charset::Utf16Be | Charset::Utf16Le => {
                if self == Charset::Utf16 && !text.is_empty() {
                    out.extend_from_slice(&[0xfe, 0xff]);
                }
                for unit in text.encode_utf16() {
                    let bytes = if self == Charset::Utf16Le { unit.to_le_bytes() } else { unit.to_be_bytes() };
                    out.extend_from_slice(&bytes);
                }
                return;
            }
        };
        out.extend(text.chars().map(|c| u8::try_from(u32::from(c)).ok().filter(|b| *b <= limit).unwrap_or(b'?')));
    }
}

impl RawFactory {
    /// Reads the options under `prefix` and checks that there is one column of a type that has bytes.
    pub fn new(options: &mut Options<'_>, prefix: &str, context: FormatContext) -> Result<Self> {
        let key = format!("{prefix}charset");
        let charset = match options.get(&key) {
            None => Charset::Utf8,
            Some(name) => Charset::of(name).ok_or_else(|| {
                options.unsupported(&key, &format!("'{name}' is not; UTF-8, US-ASCII, ISO-8859-1 and UTF-16 are"))
            })?,
        };
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
            charset,
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
            TypeKind::Char(_) | TypeKind::VarChar(_) => Value::String(self.charset.decode(bytes)),
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
                self.charset.encode(array.as_string::<i32>().value(row), out);
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
        assert!(factory(DataType::string().kind, &[("raw.charset", "KOI8-R")]).is_err());
    }

    #[test]
    fn texts_have_the_bytes_of_their_charset() {
        let cases: &[(&str, &str, &[u8], &str)] = &[
            ("utf-8", "é€", &[0xc3, 0xa9, 0xe2, 0x82, 0xac], "é€"),
            ("US-ASCII", "aé", b"a?", "a?"),
            ("ISO-8859-1", "é€", &[0xe9, b'?'], "é?"),
            ("UTF-16BE", "a𝄞", &[0, b'a', 0xd8, 0x34, 0xdd, 0x1e], "a𝄞"),
            ("UTF-16LE", "a", &[b'a', 0], "a"),
            ("UTF-16", "a", &[0xfe, 0xff, 0, b'a'], "a"),
            ("UTF-16", "", &[], ""),
        ];
        for (name, text, bytes, back) in cases {
            let charset = Charset::of(name).unwrap();
            let mut out = Vec::new();
            charset.encode(text, &mut out);
            assert_eq!(out, *bytes, "{name}");
            assert_eq!(charset.decode(bytes), *back, "{name}");
        }
        assert_eq!(Charset::Utf16.decode(&[0xff, 0xfe, b'a', 0]), "a");
        assert_eq!(Charset::Ascii.decode(&[0x80]), "\u{fffd}");
        assert_eq!(Charset::Utf16Be.decode(&[0xd8, 0x34]), "\u{fffd}");
        assert!(Charset::of("KOI8-R").is_none());
    }
}
