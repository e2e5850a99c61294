//! Records to columns.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::types::Field;
use wiesel_core::{Error, Result};

use super::options::CsvOptions;
use super::split::{FieldText, SplitFault};
use super::value::{CsvColumn, Misfit, form};
use crate::formats::{Decoded, Decoder, FormatContext};

/// How much of a bad record a message shows, in characters.
const SAMPLE_CHARS_MAX: usize = 200;

/// Decodes CSV records into the columns of a schema.
pub(super) struct CsvDecoder {
    context: FormatContext,
    options: CsvOptions,
    /// The columns, each with its place in the record.
    columns: Vec<(usize, CsvColumn)>,
    fields: Vec<FieldText>,
    scratch: Vec<u8>,
}

/// What is wrong with a record.
enum Fault {
    Split(SplitFault),
    Utf8,
    FieldCount,
    /// This column's text does not fit.
    Value(usize),
}

impl CsvDecoder {
    pub(super) fn new(context: FormatContext, options: CsvOptions) -> Result<Self> {
        let columns = new_columns(&context)?;
        Ok(CsvDecoder { context, options, columns, fields: Vec::new(), scratch: Vec::new() })
    }

    /// Reads one record as the next row, or adds nothing to any column.
    fn read(&mut self, record: &[u8]) -> Result<(), Fault> {
        if simdutf8::basic::from_utf8(record).is_err() {
            return Err(Fault::Utf8);
        }
        self.options.dialect.fields(record, &mut self.fields, &mut self.scratch).map_err(Fault::Split)?;
        let wanted = self.context.record.len();
        if self.fields.len() > wanted || (self.fields.len() < wanted && !self.options.ignore_parse_errors) {
            return Err(Fault::FieldCount);
        }
        for (index, (place, column)) in self.columns.iter_mut().enumerate() {
            let Some(field) = self.fields.get(*place) else {
                column.push_null();
                continue;
            };
            let source = if field.is_in_scratch { self.scratch.as_slice() } else { record };
            let text = source.get(field.start..field.end).unwrap_or_default();
            match column.push(text, &self.options) {
                Ok(()) => {}
                Err(Misfit) if self.options.ignore_parse_errors => column.push_null(),
                // The columns before this one have the row already; the caller gives the whole batch up.
                Err(Misfit) => return Err(Fault::Value(index)),
            }
        }
        Ok(())
    }

    #[cold]
    fn failure(&self, record: &RawRecord, text: &[u8], fault: &Fault) -> Error {
        let table = &self.context.table;
        let message = match fault {
            Fault::Utf8 => format!("table `{table}` cannot read a CSV record: it is not UTF-8"),
            Fault::Split(SplitFault::OpenQuote) => {
                format!("table `{table}` cannot read a CSV record: a quoted field has no closing quote")
            }
            Fault::Split(SplitFault::BehindQuote(at)) => format!(
                "table `{table}` cannot read a CSV record: expected the delimiter `{}` behind a closing quote at byte {at}",
                char::from(self.options.dialect.delimiter)
            ),
            Fault::FieldCount => format!(
                "table `{table}` cannot read a CSV record: expected {} fields, found {}",
                self.context.record.len(),
                self.fields.len()
            ),
            Fault::Value(index) => {
                let field = self.context.schema.fields().get(*index);
                let (name, data_type) = field.map_or(("", None), |f| (f.name.as_str(), Some(&f.data_type)));
                let place = self.columns.get(*index).and_then(|(place, _)| self.fields.get(*place));
                let found = place.map_or(&[] as &[u8], |f| {
                    let source = if f.is_in_scratch { self.scratch.as_slice() } else { text };
                    source.get(f.start..f.end).unwrap_or_default()
                });
                format!(
                    "field `{name}` of table `{table}`: expected {}{}, found `{}`",
                    data_type.map(ToString::to_string).unwrap_or_default(),
                    data_type.map_or("", |t| form(&t.kind)),
                    clipped(found, 80)
                )
            }
        };
        let hint = match fault {
            Fault::Value(_) => "set 'csv.ignore-parse-errors' = 'true' to read NULL where a value does not fit",
            _ => "set 'csv.ignore-parse-errors' = 'true' to skip and count such records",
        };
        Error::data(message)
            .at(format!("record at offset {} of table `{table}`: {}", record.offset, clipped(text, SAMPLE_CHARS_MAX)))
            .hint(hint)
    }
}

fn new_columns(context: &FormatContext) -> Result<Vec<(usize, CsvColumn)>> {
    let column = |field: &Field| {
        let place = context.record.index_of(&field.name);
        let place = place.ok_or_else(|| Error::internal(format!("column `{}` is not in the record", field.name)))?;
        Ok((place, CsvColumn::new(&field.data_type)?))
    };
    context.schema.fields().iter().map(column).collect()
}

fn clipped(text: &[u8], chars_max: usize) -> String {
    let head = text.get(..chars_max * 4).unwrap_or(text);
    let text = String::from_utf8_lossy(head);
    let shown: String = text.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < text.len() { format!("{shown}...") } else { shown }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Decoded> {
        let records = batch.records.get(range.clone()).unwrap_or_default();
        let mut taken: Vec<u32> = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let (start, end) = (record.value_start as usize, record.value_end as usize);
            let text = batch.arena.get(start..end).ok_or_else(|| Error::internal("a record lies outside its arena"))?;
            // A message without anything is no row; an empty line of a file is one, which comes with an offset of its own.
            if !record.has_value || (text.is_empty() && record.timestamp_ms >= 0) {
                continue;
            }
            match self.read(text) {
                Ok(()) => {
                    let position = u32::try_from(range.start + index);
                    taken.push(position.map_err(|_| Error::internal("a batch of 2^32 records"))?);
                }
                Err(_) if self.options.ignore_parse_errors => {}
                Err(fault) => {
                    let error = self.failure(record, text, &fault);
                    self.columns = new_columns(&self.context)?;
                    return Err(error);
                }
            }
        }
        let rows = taken.len();
        let columns = self.columns.iter_mut().map(|(_, column)| column.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(self.context.schema.arrow()), columns, &options)?;
        let skipped = (records.len() - rows) as u64;
        let taken = (skipped > 0).then_some(taken);
        Ok(Decoded { rows: batch, kinds: None, taken, skipped })
    }
}
