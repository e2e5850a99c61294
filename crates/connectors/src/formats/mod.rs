//! Formats: bytes to rows and back. A format knows a schema and bytes, never a connector.
//!
//! A connector asks [`decoder_factory`] or [`encoder_factory`] with the key under which the format is named (`format`, `value.format`,
//! `key.format`). The format's own options stand under the same prefix: `json.ignore-parse-errors` beside `format`,
//! `value.json.ignore-parse-errors` beside `value.format`. The factory is shared by all workers; each worker makes a decoder or encoder of
//! its own, which may keep scratch memory between calls.
//!
//! Parquet is no format in this sense, since a file is more than its rows one after the other; it lives with the filesystem connector.

pub mod avro;
pub mod change_json;
pub mod csv;
pub mod json;
pub mod raw;

use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "kafka")]
use wiesel_core::DataType;
use wiesel_core::diagnostic::nearest;
use wiesel_core::options::Options;
use wiesel_core::source::RawBatch;
use wiesel_core::{ChangeBatch, ChangelogMode, Error, ErrorKind, Field, Result, Schema};

/// Decodes the values of records into the physical columns of a table.
pub trait Decoder: Send {
    /// Decodes `records[range]` of the batch. Row `i` of the result comes from record `taken[i]`.
    fn decode(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Decoded>;
}

/// What a decoder made of some records.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, with the decoder's schema.
    pub rows: arrow_array::RecordBatch,
    /// Kinds, for changelog formats.
    pub kinds: Option<wiesel_core::RowKinds>,
    /// The index in `records` that each row comes from; `None` when it is simply the range, one row per record.
    pub taken: Option<Vec<u32>>,
    /// Records dropped by the format's own rules.
    pub skipped: u64,
}

/// Encodes rows into bytes, one document per row.
pub trait Encoder: Send {
    /// Appends every row's document to `bytes` and, for each, the end of it to `ends`.
    fn encode(&mut self, batch: &ChangeBatch, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()>;
}

/// Makes a decoder for each worker.
pub trait DecoderFactory: Send + Sync {
    /// A decoder of its own for one worker.
    fn create(&self) -> Result<Box<dyn Decoder>>;
    /// The registry whose schemas the records name: the source fetches them before it hands the records on.
    fn registry(&self) -> Option<Arc<avro::SchemaRegistry>> {
        None
    }
}

/// Makes an encoder for each worker.
pub trait EncoderFactory: Send + Sync {
    /// An encoder of its own for one worker.
    fn create(&self) -> Result<Box<dyn Encoder>>;
}

/// What both directions need to know.
#[derive(Debug, Clone)]
pub struct FormatContext {
    /// The table's name, for messages.
    pub table: String,
    /// The columns to decode or encode, in order.
    pub schema: Schema,
    /// All fields that a record has, in order: formats without names in their records find the columns by place.
    pub record: Schema,
    /// What is asked for beside the columns, by the format's own keys; decoders put it behind them.
    pub metadata: Vec<Field>,
    /// The session's time zone.
    pub time_zone: String,
    /// `wiesel run --map FROM=TO`: where another system that the format asks really listens.
    pub addresses: Vec<(String, String)>,
}

impl FormatContext {
    /// The context of a table whose records hold just these columns.
    pub fn whole(table: &str, schema: Schema, time_zone: &str) -> Self {
        FormatContext {
            table: table.to_owned(),
            record: schema.clone(),
            schema,
            metadata: Vec::new(),
            time_zone: time_zone.to_owned(),
            addresses: Vec::new(),
        }
    }
}

/// How a file is cut into records.
#[derive(Debug, Clone)]
pub(crate) enum Framing {
    /// A record per line.
    Lines,
    /// A line feed inside quotes does not end a record.
    Csv(csv::Dialect),
}

/// What [`Framing::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Where the record begins and ends; `None` for what holds none (comments).
    pub(crate) record: Option<(usize, usize)>,
    /// Where the next one begins.
    pub(crate) next: usize,
}

impl Framing {
    /// The record that begins at `from`; `None` when its end is not in `bytes`, and, at the end of the file, when there is none.
    pub(crate) fn next(&self, bytes: &[u8], from: usize, is_at_end: bool) -> Option<Cut> {
        match self {
            Framing::Csv(dialect) => dialect.next(bytes, from, is_at_end),
            Framing::Lines => {
                let rest = bytes.get(from..).filter(|rest| !rest.is_empty())?;
                let (line, next) = match memchr::memchr(b'\n', rest) {
                    Some(end) => (rest.get(..end)?, from + end + 1),
                    None if is_at_end => (rest, bytes.len()),
                    None => return None,
                };
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                Some(Cut { record: Some((from, from + line.len())), next })
            }
        }
    }
}

/// Formats that records of a stream can have.
const RECORD_FORMATS: &[&str] =
    &["avro", "avro-confluent", "canal-json", "csv", "debezium-json", "json", "maxwell-json", "raw"];

/// Formats that Flink has and that are refused by name.
const LATER_FORMATS: &[&str] = &["debezium-avro-confluent", "ogg-json", "orc", "protobuf"];

/// The decoder that the option `format_key` names, with its own options read.
pub fn decoder_factory(
    options: &mut Options<'_>,
    format_key: &str,
    context: FormatContext,
) -> Result<Arc<dyn DecoderFactory>> {
    let (name, prefix) = check_record_format(options, format_key, &context.table)?;
    if let Some(first) = context.metadata.first().filter(|_| !is_changelog(name)) {
        return Err(Error::config(format!(
            "table `{}`: format '{name}' has no metadata, and 'value.{}' is asked for",
            context.table, first.name
        )));
    }
    Ok(match name {
        name if avro::NAMES.contains(&name) => {
            Arc::new(avro::AvroDecoderFactory::new(name, options, &prefix, context)?)
        }
        "csv" => Arc::new(csv::CsvDecoderFactory::new(options, &prefix, context)?),
        "raw" => Arc::new(raw::RawFactory::new(options, &prefix, context)?),
        name if is_changelog(name) => Arc::new(change_json::ChangeJsonFactory::new(name, options, &prefix, context)?),
        _ => Arc::new(json::JsonDecoderFactory::new(options, &prefix, context)?),
    })
}

/// The encoder that the option `format_key` names, with its own options read.
pub fn encoder_factory(
    options: &mut Options<'_>,
    format_key: &str,
    context: FormatContext,
) -> Result<Arc<dyn EncoderFactory>> {
    let (name, prefix) = check_record_format(options, format_key, &context.table)?;
    Ok(match name {
        name if avro::NAMES.contains(&name) => {
            Arc::new(avro::AvroEncoderFactory::new(name, options, &prefix, format_key, context)?)
        }
        "csv" => Arc::new(csv::CsvEncoderFactory::new(options, &prefix, context)?),
        "raw" => Arc::new(raw::RawFactory::new(options, &prefix, context)?),
        name if is_changelog(name) => Arc::new(change_json::ChangeJsonFactory::new(name, options, &prefix, context)?),
        _ => Arc::new(json::JsonEncoderFactory::new(options, &prefix, context)?),
    })
}

/// Whether the records of the named format say what kind of change they are.
fn is_changelog(name: &str) -> bool {
    change_json::NAMES.contains(&name)
}

/// The kinds of change that records of a format hold, read and written.
pub(crate) fn changelog_mode(options: &mut Options<'_>, format_key: &str) -> ChangelogMode {
    match options.get(format_key) {
        Some(name) if is_changelog(name) => ChangelogMode::Full,
        _ => ChangelogMode::Insert,
    }
}

/// The metadata of a format, by its own keys.
#[cfg(feature = "kafka")]
pub(crate) fn metadata(options: &mut Options<'_>, format_key: &str) -> Vec<(&'static str, DataType)> {
    options.get(format_key).map(change_json::metadata_of).unwrap_or_default()
}

/// How files of the named format are cut into records.
pub(crate) fn framing(options: &mut Options<'_>, format_key: &str, table: &str) -> Result<Framing> {
    let (name, prefix) = check_record_format(options, format_key, table)?;
    Ok(match name {
        "csv" => Framing::Csv(csv::CsvOptions::read(options, &prefix, table)?.dialect),
        _ => Framing::Lines,
    })
}

/// Checks that the named format is one for records, and returns its name and the prefix of its options.
fn check_record_format<'a>(options: &mut Options<'a>, format_key: &str, table: &str) -> Result<(&'a str, String)> {
    let name = options.required(format_key)?;
    let prefix = format_key.strip_suffix("format").unwrap_or_default();
    if RECORD_FORMATS.contains(&name) {
        return Ok((name, format!("{prefix}{name}.")));
    }
    if name == "parquet" {
        return Err(Error::config(format!(
            "format 'parquet' of table `{table}` holds whole files, not single records"
        ))
        .hint("parquet goes with 'connector' = 'filesystem'; use 'json' here"));
    }
    Err(refused_format(name, table, RECORD_FORMATS))
}

/// The error for a format that is not one of `known`.
pub(crate) fn refused_format(name: &str, table: &str, known: &[&'static str]) -> Error {
    // Those of records that are not among the known ones are formats of Kafka's records, which files do not have.
    if LATER_FORMATS.contains(&name) || RECORD_FORMATS.contains(&name) {
        return Error::new(
            ErrorKind::Config,
            "W0503",
            format!("format '{name}' of table `{table}` is not supported yet"),
        )
        .hint(format!("supported here: {}", known.join(", ")));
    }
    let error = Error::config(format!("table `{table}` names an unknown format '{name}'"));
    match nearest(name, known.iter().copied()) {
        Some(word) => error.hint(format!("did you mean '{word}'?")),
        None => error.hint(format!("supported here: {}", known.join(", "))),
    }
}
