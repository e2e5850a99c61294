//! The json format: one document per record, fields by name, with the answers of Flink's streaming JSON parser.
//!
//! | option | default | |
//! |---|---|---|
//! | json.fail-on-missing-field | false | a declared field that is not there is an error instead of NULL |
//! | json.ignore-parse-errors | false | a field that does not fit is NULL, a record that is no JSON is skipped |
//! | json.timestamp-format.standard | SQL | SQL, ISO-8601 |
//! | json.map-null-key.mode, json.map-null-key.literal | FAIL, null | FAIL, DROP, LITERAL: what becomes of a NULL key of a map that is written |
//! | json.encode.decimal-as-plain-number | false | DECIMAL is written without an exponent |
//! | json.encode.ignore-null-fields | false | a NULL field is left out |
//! | json.decode.json-parser.enabled | true | taken without effect: there is one parser |
//!
//! | file | idea |
//! |---|---|
//! | `options` | the `json.*` keys |
//! | `scan` | tokens of a document, checked, never copied |
//! | `object` | objects of declared fields; the order of the fields is predicted |
//! | `column` | how each SQL type is read, straight into Arrow buffers |
//! | `decode` | records to a batch, and what is said about bad ones |
//! | `encode` | a batch to documents |
//! | `number`, `time`, `compact` | text forms that both directions share |
//!
//! What differs from Flink: columns that the query does not read are checked for JSON syntax only, and a value of the wrong kind that is
//! ignored (`json.ignore-parse-errors`) is left out as a whole, nested fields included.

pub(super) mod column;
mod compact;
mod decode;
pub(super) mod encode;
pub(super) mod number;
pub(super) mod object;
mod options;
mod scan;
#[cfg(test)]
mod tests;
pub(super) mod time;

use wiesel_core::options::Options;
use wiesel_core::types::{DataType, TypeKind};
use wiesel_core::{Error, Result};

use super::{Decoder, DecoderFactory, Encoder, EncoderFactory, FormatContext};
pub use decode::JsonDecoder;
pub use encode::JsonEncoder;
pub use options::{JsonOptions, MapNullKey, TimestampFormat};

/// Makes JSON decoders.
#[derive(Debug)]
pub struct JsonDecoderFactory {
    options: JsonOptions,
    context: FormatContext,
}

impl JsonDecoderFactory {
    /// Reads the options under `prefix` and checks that JSON can carry the columns.
    pub fn new(options: &mut Options<'_>, prefix: &str, context: FormatContext) -> Result<Self> {
        let options = JsonOptions::read(options, prefix, &context.table)?;
        check_types(&context)?;
        Ok(JsonDecoderFactory { options, context })
    }
}

impl DecoderFactory for JsonDecoderFactory {
    fn create(&self) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(JsonDecoder::new(self.context.clone(), self.options.clone())))
    }
}

/// Makes JSON encoders.
#[derive(Debug)]
pub struct JsonEncoderFactory {
    options: JsonOptions,
    context: FormatContext,
}

impl JsonEncoderFactory {
    /// Reads the options under `prefix` and checks that JSON can carry the columns.
    pub fn new(options: &mut Options<'_>, prefix: &str, context: FormatContext) -> Result<Self> {
        let options = JsonOptions::read(options, prefix, &context.table)?;
        check_types(&context)?;
        Ok(JsonEncoderFactory { options, context })
    }
}

impl EncoderFactory for JsonEncoderFactory {
    fn create(&self) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(JsonEncoder::new(self.context.clone(), self.options.clone())))
    }
}

/// Appends a string as it stands in a document, in quotes.
pub(crate) fn write_quoted(text: &str, out: &mut Vec<u8>) {
    compact::write_string(text.as_bytes(), out);
}

/// Appends a date as `yyyy-MM-dd`.
pub(crate) fn write_iso_date(days: i32, out: &mut String) {
    let mut text = Vec::with_capacity(10);
    time::write_date(days.into(), &mut text);
    out.push_str(&String::from_utf8_lossy(&text));
}

/// Reads a date of the form `yyyy-MM-dd`.
pub(crate) fn read_iso_date(text: &str) -> Option<i32> {
    time::parse_date(text.as_bytes())
}

/// Refuses the types that JSON has no form for: maps whose key is no text.
pub(crate) fn check_types(context: &FormatContext) -> Result<()> {
    for field in context.schema.fields() {
        check_type(&field.data_type)
            .map_err(|e| e.at(format!("column `{}` of table `{}`", field.name, context.table)))?;
    }
    Ok(())
}

fn check_type(data_type: &DataType) -> Result<()> {
    match &data_type.kind {
        TypeKind::Map(key, _) | TypeKind::Multiset(key) if !key.kind.is_string() => Err(Error::config(format!(
            "json cannot hold {data_type}: the key of a MAP must be a character string, found {key}"
        ))),
        TypeKind::Map(_, value) => check_type(value),
        TypeKind::Array(element) => check_type(element),
        TypeKind::Row(fields) => fields.iter().try_for_each(|f| check_type(&f.data_type)),
        _ => Ok(()),
    }
}
