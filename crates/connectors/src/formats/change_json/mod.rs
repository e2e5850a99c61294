//! debezium-json, canal-json and maxwell-json: documents that say what became of a row, as the change capture of a database writes them.
//!
//! | format | a document | its rows |
//! |---|---|---|
//! | debezium-json | `{"before": ROW, "after": ROW, "op": "c"}` | `c`, `r`: +I after; `u`: -U before, +U after; `d`: -D before |
//! | canal-json | `{"data": [ROW], "old": [ROW], "type": "INSERT"}` | `INSERT`: +I; `UPDATE`: -U, +U for each element; `DELETE`: -D; `CREATE`: none |
//! | maxwell-json | `{"data": ROW, "old": ROW, "type": "insert"}` | `insert`: +I; `update`: -U, +U; `delete`: -D |
//!
//! canal and maxwell list in `old` the fields that changed, with their old values; the others are those of `data`. Whether a field is
//! listed is asked as Flink asks it: by its name anywhere inside `old`, so an element of canal's `old` counts for its neighbours, too.
//!
//! Written, a row is a document of its own: +I and +U say that it is there now (`c`, `INSERT`, `insert`), -U and -D that it is not
//! (`d`, `DELETE`, `delete`).
//!
//! Metadata (kafka: `value.<key>`), read only:
//!
//! | format | keys |
//! |---|---|
//! | debezium-json | schema, ingestion-timestamp, source.timestamp, source.database, source.schema, source.table, source.properties |
//! | canal-json | database, table, sql-type, pk-names, ingestion-timestamp, event-timestamp |
//! | maxwell-json | database, table, primary-key-columns, ingestion-timestamp |
//!
//! The document is read by the json decoder as a row of such rows, and the rows of both sides are then put behind one another by one
//! kernel per column; so a field is read as the json format reads it.
//!
//! | option, under the format's name | default | |
//! |---|---|---|
//! | ignore-parse-errors | false | a field that does not fit becomes NULL, a document that is no change is skipped |
//! | timestamp-format.standard | SQL | SQL, ISO-8601 |
//! | map-null-key.mode, map-null-key.literal | FAIL, null | as json |
//! | encode.decimal-as-plain-number, encode.ignore-null-fields | false | as json |
//! | schema-include (debezium-json) | false | the change stands in `payload` beside a `schema`; such a table is not written |
//! | database.include, table.include (canal-json) | | only changes whose `database` and `table` match these regular expressions |

mod decode;
mod encode;
mod metadata;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use regex::Regex;
use wiesel_core::options::Options;
use wiesel_core::types::{DataType, Field, TypeKind};
use wiesel_core::{Error, Result};

use self::decode::ChangeDecoder;
use self::encode::ChangeEncoder;
use self::metadata::Metadata;
use super::json::{JsonOptions, check_types};
use super::{Decoder, DecoderFactory, Encoder, EncoderFactory, FormatContext};

/// The names of these formats.
pub(crate) const NAMES: [&str; 3] = ["canal-json", "debezium-json", "maxwell-json"];

/// Which documents.
#[derive(Debug, Clone)]
enum Dialect {
    Debezium {
        /// The change stands in `payload`.
        has_schema: bool,
    },
    Canal {
        /// What `database` must match.
        database: Option<Regex>,
        /// What `table` must match.
        table: Option<Regex>,
    },
    Maxwell,
}

impl Dialect {
    fn name(&self) -> &'static str {
        match self {
            Dialect::Debezium { .. } => "debezium-json",
            Dialect::Canal { .. } => "canal-json",
            Dialect::Maxwell => "maxwell-json",
        }
    }
}

/// Makes decoders and encoders of one of the formats.
#[derive(Debug)]
pub struct ChangeJsonFactory {
    dialect: Dialect,
    options: JsonOptions,
    context: FormatContext,
    metadata: Arc<Metadata>,
}

impl ChangeJsonFactory {
    /// Reads the options under `prefix` (`debezium-json.`, `value.canal-json.`) and checks that JSON can carry the columns.
    pub fn new(name: &str, options: &mut Options<'_>, prefix: &str, context: FormatContext) -> Result<Self> {
        let dialect = match name {
            "debezium-json" => {
                Dialect::Debezium { has_schema: options.boolean(&format!("{prefix}schema-include"), false)? }
            }
            "canal-json" => Dialect::Canal {
                database: pattern(options, &format!("{prefix}database.include"))?,
                table: pattern(options, &format!("{prefix}table.include"))?,
            },
            _ => Dialect::Maxwell,
        };
        let json = JsonOptions::read_for_changes(options, prefix)?;
        check_types(&context)?;
        let metadata = Arc::new(Metadata::of(&dialect, &context.table, &context.metadata, &context.time_zone)?);
        Ok(ChangeJsonFactory { dialect, options: json, context, metadata })
    }
}

/// The metadata of the named format, by its own keys.
#[cfg(feature = "kafka")]
pub(crate) fn metadata_of(name: &str) -> Vec<(&'static str, DataType)> {
    match name {
        "debezium-json" => metadata::all(&Dialect::Debezium { has_schema: false }),
        "canal-json" => metadata::all(&Dialect::Canal { database: None, table: None }),
        "maxwell-json" => metadata::all(&Dialect::Maxwell),
        _ => Vec::new(),
    }
}

/// A regular expression that must match the whole of a name.
fn pattern(options: &mut Options<'_>, key: &str) -> Result<Option<Regex>> {
    let Some(text) = options.get(key) else { return Ok(None) };
    match Regex::new(&format!("^(?:{text})$")) {
        Ok(pattern) => Ok(Some(pattern)),
        Err(_) => Err(options.invalid(key, text, "a regular expression")),
    }
}

impl DecoderFactory for ChangeJsonFactory {
    fn create(&self) -> Result<Box<dyn Decoder>> {
        let metadata = Arc::clone(&self.metadata);
        Ok(Box::new(ChangeDecoder::new(self.dialect.clone(), &self.options, &self.context, metadata)))
    }
}

impl EncoderFactory for ChangeJsonFactory {
    fn create(&self) -> Result<Box<dyn Encoder>> {
        if let Dialect::Debezium { has_schema: true } = self.dialect {
            return Err(Error::config(format!(
                "table `{}`: debezium-json with 'debezium-json.schema-include' = 'true' cannot be written",
                self.context.table
            ))
            .hint("leave the option away: documents are written without their schema"));
        }
        Ok(Box::new(ChangeEncoder::new(&self.dialect, &self.options, self.context.clone())))
    }
}

/// The row of a table inside a document.
fn row_type(context: &FormatContext) -> DataType {
    let nullable = |f: &Field| Field::new(&f.name, f.data_type.with_nullable(true));
    DataType::new(TypeKind::Row(context.schema.fields().iter().map(nullable).collect()))
}
