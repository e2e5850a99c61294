//! The csv format: one record per row, fields by place, with the answers of Flink's csv, which are those of Jackson's CSV parser.
//!
//! | option | default | |
//! |---|---|---|
//! | csv.field-delimiter | `,` | one character; Java escapes such as `\t` and `\u0001` are resolved |
//! | csv.quote-character | `"` | a doubled one inside quotes stands for itself |
//! | csv.disable-quote-character | false | quotes are ordinary characters |
//! | csv.allow-comments | false | lines that begin with `#` are skipped, and so are blank lines and blanks at the beginning of a line |
//! | csv.ignore-parse-errors | false | a bad field is NULL, a bad record is skipped, missing fields are NULL |
//! | csv.array-element-delimiter | `;` | between the elements of ARRAY and the fields of ROW |
//! | csv.escape-character | none | takes the next character as it is |
//! | csv.null-literal | none | read as NULL, and written for it (without one: nothing is written) |
//! | csv.write-bigdecimal-in-scientific-notation | true | DECIMAL 100000 is written 1E+5 |
//!
//! | file | idea |
//! |---|---|
//! | `options` | the `csv.*` keys |
//! | `split` | a file into records, a record into fields |
//! | `value` | the text of a field into a column, and back |
//! | `decode`, `encode` | records to a batch, a batch to records |
//!
//! What differs from Flink: fields that the query does not read are not looked at, beyond where they end.

mod decode;
mod encode;
mod options;
mod split;
#[cfg(test)]
mod tests;
mod value;

use wiesel_core::options::Options;
use wiesel_core::types::{DataType, TypeKind};
use wiesel_core::{Error, Result};

use super::{Decoder, DecoderFactory, Encoder, EncoderFactory, FormatContext};
use crate::registry::unsupported;
pub use options::{CsvOptions, Dialect};

/// Makes CSV decoders.
#[derive(Debug)]
pub struct CsvDecoderFactory {
    options: CsvOptions,
    context: FormatContext,
}

impl CsvDecoderFactory {
    /// Reads the options under `prefix` and checks that CSV can carry the columns.
    pub fn new(options: &mut Options<'_>, prefix: &str, context: FormatContext) -> Result<Self> {
        let options = CsvOptions::read(options, prefix, &context.table)?;
        check_types(&context)?;
        Ok(CsvDecoderFactory { options, context })
    }
}

impl DecoderFactory for CsvDecoderFactory {
    fn create(&self) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(decode::CsvDecoder::new(self.context.clone(), self.options.clone())?))
    }
}

/// Makes CSV encoders.
#[derive(Debug)]
pub struct CsvEncoderFactory {
    options: CsvOptions,
    context: FormatContext,
}

impl CsvEncoderFactory {
    /// Reads the options under `prefix` and checks that CSV can carry the columns.
    pub fn new(options: &mut Options<'_>, prefix: &str, context: FormatContext) -> Result<Self> {
        let options = CsvOptions::read(options, prefix, &context.table)?;
        check_types(&context)?;
        Ok(CsvEncoderFactory { options, context })
    }
}

impl EncoderFactory for CsvEncoderFactory {
    fn create(&self) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(encode::CsvEncoder::new(self.context.clone(), self.options.clone())))
    }
}

/// Refuses the types that Flink's csv refuses: MAP, MULTISET, and what is nested twice.
fn check_types(context: &FormatContext) -> Result<()> {
    for field in context.record.fields() {
        let place = || format!("column `{}` of table `{}`", field.name, context.table);
        let nested: Vec<&DataType> = match &field.data_type.kind {
            TypeKind::Array(element) => vec![element],
            TypeKind::Row(fields) => fields.iter().map(|f| &f.data_type).collect(),
            _ => {
                check_simple(&field.data_type).map_err(|e| e.at(place()))?;
                continue;
            }
        };
        for data_type in nested {
            check_simple(data_type).map_err(|e| e.at(place()).hint("csv nests one level deep; use 'json'"))?;
        }
    }
    Ok(())
}

fn check_simple(data_type: &DataType) -> Result<()> {
    match &data_type.kind {
        TypeKind::Time(4..) => Err(unsupported(format!("csv holds TIME with up to 3 digits, found {data_type}"))),
        TypeKind::Array(_)
        | TypeKind::Row(_)
        | TypeKind::Map(..)
        | TypeKind::Multiset(_)
        | TypeKind::IntervalYearMonth
        | TypeKind::IntervalDayTime => Err(Error::config(format!("csv cannot hold {data_type}"))),
        _ => Ok(()),
    }
}
