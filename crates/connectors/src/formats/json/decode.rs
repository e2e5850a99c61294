//! Records to columns.
//!
//! The whole range is checked for UTF-8 at once, since that is several times faster than record by record; only when a foreign key or a
//! broken record spoils the range are the records checked one by one.

use std::ops::Range;

use arrow_array::{RecordBatch, RecordBatchOptions};
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::{Error, Result};

use super::column::ReadContext;
use super::object::ObjectColumn;
use super::scan::{Expected, Fault, byte_at, skip_blank};
use super::{JsonOptions, options};
use crate::formats::{Decoded, Decoder, FormatContext};

/// How much of a bad document a message shows, in characters.
const SAMPLE_CHARS_MAX: usize = 200;

/// Decodes JSON documents into the columns of a schema.
pub struct JsonDecoder {
    context: FormatContext,
    options: JsonOptions,
    read: ReadContext,
    root: ObjectColumn,
}

impl JsonDecoder {
    /// A decoder for the context's columns.
    pub fn new(context: FormatContext, options: JsonOptions) -> Self {
        let root = ObjectColumn::new(context.schema.fields());
        let read = ReadContext::new(&options);
        JsonDecoder { context, options, read, root }
    }

    /// Reads one document as the next row. Text behind the object is not looked at, as in Flink.
    #[inline]
    fn read_document(&mut self, document: &[u8]) -> Result<(), Fault> {
        let mut pos = 0;
        if byte_at(document, 0) != b'{' {
            if document.starts_with(b"\xEF\xBB\xBF") {
                pos = 3;
            }
            pos = skip_blank(document, pos);
            if byte_at(document, pos) != b'{' {
                return Err(Fault::new(pos, Expected::Object));
            }
        }
        self.root.read(document, pos, &mut self.read, 0).map(|_| ())
    }

    #[cold]
    fn failure(&mut self, record: &RawRecord, document: &[u8], fault: Fault) -> Error {
        let path: Vec<String> = std::mem::take(&mut self.read.failed_path).into_iter().rev().collect();
        let data_type = self.read.failed_type.take();
        let at = fault.at().min(document.len());
        let field = path.join(".");
        let message = match (fault.expected(), data_type) {
            (Expected::Field, Some(data_type)) => {
                format!(
                    "field `{field}` ({data_type}) of table `{}` is missing in the JSON document",
                    self.context.table
                )
            }
            (Expected::Type, Some(data_type)) => {
                let form = options::form(&data_type.kind, self.options.timestamp_format);
                format!(
                    "field `{field}` of table `{}`: expected {data_type}{form}, found {}",
                    self.context.table,
                    value_sample(document, at)
                )
            }
            (expected, _) => {
                let within = if path.is_empty() { String::new() } else { format!(" in field `{field}`") };
                format!(
                    "table `{}` cannot read a JSON document{within}: expected {} at byte {at}, found {}",
                    self.context.table,
                    expected.text(),
                    found(document, at)
                )
            }
        };
        let error = Error::data(message).at(format!(
            "record at offset {} of table `{}`: {}",
            record.offset,
            self.context.table,
            clipped(document)
        ));
        match fault.expected() {
            Expected::Field => error.hint("leave out 'json.fail-on-missing-field' to read NULL instead"),
            Expected::Capacity => error,
            expected if expected.is_value() => {
                error.hint("set 'json.ignore-parse-errors' = 'true' to read NULL where a value does not fit")
            }
            _ => error.hint("set 'json.ignore-parse-errors' = 'true' to skip and count such records"),
        }
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Decoded> {
        let records = batch.records.get(range.clone()).unwrap_or_default();
        let arena: &[u8] = &batch.arena;
        let (first, text) = checked_text(arena, records);
        self.root.truncate(0);
        self.root.reserve(records.len());
        let mut taken: Option<Vec<u32>> = None;
        let mut skipped = 0;
        for (index, record) in records.iter().enumerate() {
            let (start, end) = (record.value_start as usize, record.value_end as usize);
            let is_row = if !record.has_value || start >= end {
                false
            } else {
                let document =
                    arena.get(start..end).ok_or_else(|| Error::internal("a record lies outside its arena"))?;
                let is_text = text.is_some_and(|t| t.get(start - first..end - first).is_some())
                    || simdutf8::basic::from_utf8(document).is_ok();
                let rows = self.root.rows();
                let result = if is_text { self.read_document(document) } else { Err(bad_utf8(document)) };
                match result {
                    Ok(()) => true,
                    Err(fault) if self.options.ignore_parse_errors && fault.expected() != Expected::Capacity => {
                        self.root.truncate(rows);
                        false
                    }
                    Err(fault) => {
                        let error = self.failure(record, document, fault);
                        self.root.truncate(0);
                        return Err(error);
                    }
                }
            };
            let position =
                u32::try_from(range.start + index).map_err(|_| Error::internal("a batch of 2^32 records"))?;
            match (&mut taken, is_row) {
                (None, true) => {}
                (None, false) => {
                    skipped += 1;
                    let begin = u32::try_from(range.start).unwrap_or(u32::MAX);
                    taken = Some((begin..position).collect());
                }
                (Some(taken), true) => taken.push(position),
                (Some(_), false) => skipped += 1,
            }
        }
        let rows = self.root.rows();
        let columns = self.root.finish_columns()?;
        let row_count = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(self.context.schema.arrow().clone(), columns, &row_count)?;
        Ok(Decoded { rows, kinds: None, taken, skipped })
    }
}

/// The values' range of the arena as text, when all of it is text; and where the range begins.
fn checked_text<'a>(arena: &'a [u8], records: &[RawRecord]) -> (usize, Option<&'a str>) {
    let values = || records.iter().filter(|r| r.has_value && r.value_start < r.value_end);
    let first = values().map(|r| r.value_start as usize).min().unwrap_or(0);
    let end = values().map(|r| r.value_end as usize).max().unwrap_or(0);
    (first, arena.get(first..end).and_then(|bytes| simdutf8::basic::from_utf8(bytes).ok()))
}

#[cold]
fn bad_utf8(document: &[u8]) -> Fault {
    let at = std::str::from_utf8(document).err().map_or(0, |e| e.valid_up_to());
    Fault::new(at, Expected::Utf8)
}

/// What stands at a position, for a message.
fn found(document: &[u8], at: usize) -> String {
    match document.get(at..) {
        None | Some([]) => "the end of the document".to_owned(),
        Some(rest) => format!("`{}`", clip(&String::from_utf8_lossy(rest.get(..64).unwrap_or(rest)), 20)),
    }
}

/// The value at a position, clipped.
fn value_sample(document: &[u8], at: usize) -> String {
    let end = super::scan::skip_value(document, at, 0).unwrap_or(document.len());
    let value = document.get(at..end).unwrap_or_default();
    format!("`{}`", clip(&String::from_utf8_lossy(value.get(..400).unwrap_or(value)), 80))
}

fn clipped(document: &[u8]) -> String {
    let head = document.get(..SAMPLE_CHARS_MAX * 4).unwrap_or(document);
    let text = clip(&String::from_utf8_lossy(head), SAMPLE_CHARS_MAX);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn clip(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl std::fmt::Debug for JsonDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonDecoder").field("table", &self.context.table).finish_non_exhaustive()
    }
}
