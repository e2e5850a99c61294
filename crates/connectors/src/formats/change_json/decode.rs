//! Documents to rows.
//!
//! ```text
//! records -> json decoder: [before ROW, after ROW, op]      one row per document
//!         -> picks: (side, row) of each row that comes out, its kind, its record
//!         -> per column: interleave(before.column, after.column)
//! ```
//! A document that is no change of its format (an unknown word, an update without the old row) is an error that names its record, or is
//! skipped and counted where parse errors are ignored.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray, UInt32Array};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use regex::Regex;
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::types::{DataType, Field, MAX_LENGTH, Schema, TypeKind};
use wiesel_core::{Error, Result, RowKind};

use super::metadata::Metadata;
use super::{Dialect, row_type};
use crate::formats::json::{JsonDecoder, JsonOptions};
use crate::formats::{Decoded, Decoder, FormatContext};

/// How much of a document that is no change a message shows, in characters.
const SAMPLE_CHARS_MAX: usize = 200;

/// The one field of debezium's metadata that stands beside the payload.
const SCHEMA: &str = "schema";

/// The old row, or the fields of it that changed.
const OLD: usize = 0;
/// The new row, or the one that the document is about.
const NEW: usize = 1;

/// Decodes documents of one dialect.
pub(super) struct ChangeDecoder {
    dialect: Dialect,
    ignore_parse_errors: bool,
    context: FormatContext,
    metadata: Arc<Metadata>,
    /// The columns, and behind them the metadata.
    output: Schema,
    documents: JsonDecoder,
    /// Reads `old` as text, for the names in it.
    old_texts: Option<JsonDecoder>,
    /// Reads `database` and `table`, when they are asked for.
    places: Option<JsonDecoder>,
    /// The columns' names as they stand in a document.
    quoted: Vec<Vec<u8>>,
}

fn string() -> DataType {
    DataType::new(TypeKind::VarChar(MAX_LENGTH))
}

fn decoder(context: &FormatContext, options: &JsonOptions, fields: Vec<Field>) -> JsonDecoder {
    JsonDecoder::new(FormatContext::whole(&context.table, Schema::new(fields), &context.time_zone), options.clone())
}

impl ChangeDecoder {
    pub(super) fn new(
        dialect: Dialect,
        options: &JsonOptions,
        context: &FormatContext,
        metadata: Arc<Metadata>,
    ) -> Self {
        let row = row_type(context);
        let array = || DataType::new(TypeKind::Array(Box::new(row.clone())));
        let fields = match &dialect {
            Dialect::Debezium { has_schema } => {
                let mut change = vec![
                    Field::new("before", row.clone()),
                    Field::new("after", row.clone()),
                    Field::new("op", string()),
                ];
                let is_outside = |field: &&Field| *has_schema && field.name == SCHEMA;
                change.extend(metadata.fields.iter().filter(|field| !is_outside(field)).cloned());
                match has_schema {
                    false => change,
                    true => {
                        let payload = Field::new("payload", DataType::new(TypeKind::Row(change)));
                        std::iter::once(payload).chain(metadata.fields.iter().filter(is_outside).cloned()).collect()
                    }
                }
            }
            Dialect::Canal { .. } => {
                let change =
                    vec![Field::new("old", array()), Field::new("data", array()), Field::new("type", string())];
                change.into_iter().chain(metadata.fields.iter().cloned()).collect()
            }
            Dialect::Maxwell => {
                let change =
                    vec![Field::new("old", row.clone()), Field::new("data", row.clone()), Field::new("type", string())];
                change.into_iter().chain(metadata.fields.iter().cloned()).collect()
            }
        };
        let is_partial = !matches!(dialect, Dialect::Debezium { .. });
        let is_filtered =
            matches!(&dialect, Dialect::Canal { database, table } if database.is_some() || table.is_some());
        let place = || vec![Field::new("database", string()), Field::new("table", string())];
        ChangeDecoder {
            ignore_parse_errors: options.ignore_parse_errors,
            documents: decoder(context, options, fields),
            old_texts: is_partial.then(|| decoder(context, options, vec![Field::new("old", string())])),
            places: is_filtered.then(|| decoder(context, options, place())),
            quoted: context.schema.fields().iter().map(|f| quoted(&f.name)).collect(),
            output: Schema::new(context.schema.fields().iter().chain(&context.metadata).cloned().collect()),
            context: context.clone(),
            metadata,
            dialect,
        }
    }

    fn message(&self, error: Error) -> Error {
        match error.hint_text().map(|hint| hint.replace("'json.", &format!("'{}.", self.dialect.name()))) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn no_change(&self, batch: &RawBatch, record: usize, reason: &str) -> Error {
        let record = batch.records.get(record);
        let document = record
            .and_then(|r| batch.arena.get(r.value_start as usize..r.value_end as usize))
            .map(|bytes| String::from_utf8_lossy(bytes).chars().take(SAMPLE_CHARS_MAX).collect::<String>())
            .unwrap_or_default();
        let name = self.dialect.name();
        Error::data(format!("table `{}` cannot read a {name} document: {reason}", self.context.table))
            .at(format!("record at offset {}: {document}", record.map_or(-1, |r| r.offset)))
            .hint(match &self.dialect {
                Dialect::Debezium { .. } if reason.contains("`before`") => {
                    "PostgreSQL sends old rows after ALTER TABLE ... REPLICA IDENTITY FULL".to_owned()
                }
                _ => format!("set '{name}.ignore-parse-errors' = 'true' to skip and count such records"),
            })
    }

    /// The records of tables that are asked for; `None` when all are.
    fn selected(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Option<Selection>> {
        let Some(places) = &mut self.places else { return Ok(None) };
        let decoded = places.decode(batch, range.clone()).map_err(|e| self.message(e))?;
        let Dialect::Canal { database, table } = &self.dialect else { return Ok(None) };
        let matches = |column: usize, pattern: &Option<Regex>, row: usize| {
            let Some(pattern) = pattern else { return Some(true) };
            let names = decoded.rows.column(column).as_string_opt::<i32>()?;
            names.is_valid(row).then(|| pattern.is_match(names.value(row)))
        };
        let mut selection = Selection { records: Vec::new(), origin: Vec::new(), skipped: decoded.skipped };
        for row in 0..decoded.rows.num_rows() {
            let record = record_of(&decoded.taken, range.start, row);
            match (matches(0, database, row), matches(1, table, row)) {
                (Some(true), Some(true)) => {
                    if let Some(raw) = batch.records.get(record) {
                        selection.records.push(*raw);
                        selection.origin.push(record);
                    }
                }
                (Some(_), Some(_)) => selection.skipped += 1,
                _ if self.ignore_parse_errors => selection.skipped += 1,
                _ => return Err(self.no_change(batch, record, "it names no `database` or no `table`")),
            }
        }
        Ok(Some(selection))
    }
}

/// Records that a filter let through.
struct Selection {
    records: Vec<RawRecord>,
    /// Where each stood in the batch.
    origin: Vec<usize>,
    skipped: u64,
}

fn record_of(taken: &Option<Vec<u32>>, first: usize, row: usize) -> usize {
    match taken {
        Some(taken) => taken.get(row).map_or(0, |record| *record as usize),
        None => first + row,
    }
}

/// Rows that come out: where each is, what kind it is, and which record it came from.
#[derive(Default)]
struct Changes {
    picks: Vec<(usize, usize)>,
    kinds: Vec<RowKind>,
    records: Vec<u32>,
    /// The row of the document.
    documents: Vec<u32>,
    /// Old rows whose unnamed fields are those of the new row: the place in `picks`, the row of the document, the new row.
    partial: Vec<(usize, usize, usize)>,
}

impl Changes {
    fn push(&mut self, side: usize, row: usize, kind: RowKind) {
        self.picks.push((side, row));
        self.kinds.push(kind);
    }

    fn push_update(&mut self, document: usize, old: usize, new: usize) {
        self.partial.push((self.picks.len(), document, new));
        self.push(OLD, old, RowKind::UpdateBefore);
        self.push(NEW, new, RowKind::UpdateAfter);
    }
}

/// The two sides of the documents, and the word that says what happened.
struct Sides<'a> {
    old: StructArray,
    new: StructArray,
    word: &'a StringArray,
    /// canal: where each document's rows lie on both sides, when they are there.
    spans: Option<[&'a ListArray; 2]>,
}

impl Sides<'_> {
    fn side(&self, side: usize) -> &StructArray {
        if side == OLD { &self.old } else { &self.new }
    }

    fn word(&self, row: usize) -> Option<&str> {
        self.word.is_valid(row).then(|| self.word.value(row))
    }

    /// The rows of a side; `None` when the document has none.
    fn rows(&self, side: usize, row: usize) -> Option<Range<usize>> {
        match self.spans.and_then(|spans| spans.get(side).copied()) {
            None => self.side(side).is_valid(row).then(|| row..row + 1),
            Some(list) => {
                let place = |index: usize| {
                    list.value_offsets().get(index).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0)
                };
                list.is_valid(row).then(|| place(row)..place(row + 1))
            }
        }
    }

    fn is_row(&self, side: usize, index: usize) -> bool {
        let rows = self.side(side);
        index < rows.len() && rows.is_valid(index)
    }

    /// Adds the rows of a document; the reason when it is no change.
    fn read(&self, dialect: &Dialect, row: usize, out: &mut Changes) -> Result<(), String> {
        let word = self.word(row).ok_or_else(|| format!("it has no `{}`", word_name(dialect)))?;
        let side = |side: usize, name: &str| self.rows(side, row).ok_or_else(|| format!("`{word}` has no `{name}`"));
        let all = |out: &mut Changes, side: usize, rows: Range<usize>, kind: RowKind, name: &str| {
            for index in rows {
                if !self.is_row(side, index) {
                    return Err(format!("a row of `{name}` is null"));
                }
                out.push(side, index, kind);
            }
            Ok(())
        };
        match (dialect, word) {
            (Dialect::Debezium { .. }, "c" | "r") => all(out, NEW, side(NEW, "after")?, RowKind::Insert, "after"),
            (Dialect::Debezium { .. }, "u") => {
                let (old, new) = (side(OLD, "before")?, side(NEW, "after")?);
                out.push(OLD, old.start, RowKind::UpdateBefore);
                out.push(NEW, new.start, RowKind::UpdateAfter);
                Ok(())
            }
            (Dialect::Debezium { .. }, "d") => all(out, OLD, side(OLD, "before")?, RowKind::Delete, "before"),
            (Dialect::Canal { .. }, "INSERT") | (Dialect::Maxwell, "insert") => {
                all(out, NEW, side(NEW, "data")?, RowKind::Insert, "data")
            }
            (Dialect::Canal { .. }, "UPDATE") | (Dialect::Maxwell, "update") => {
                let (old, new) = (side(OLD, "old")?, side(NEW, "data")?);
                for (place, index) in new.enumerate() {
                    let before = old.start + place;
                    if before >= old.end || !self.is_row(OLD, before) || !self.is_row(NEW, index) {
                        return Err("`old` does not hold a row for each of `data`".to_owned());
                    }
                    out.push_update(row, before, index);
                }
                Ok(())
            }
            (Dialect::Canal { .. }, "DELETE") | (Dialect::Maxwell, "delete") => {
                all(out, NEW, side(NEW, "data")?, RowKind::Delete, "data")
            }
            (Dialect::Canal { .. }, "CREATE") => Ok(()),
            (_, other) => Err(format!("`{}` is `{other}`, which it does not know", word_name(dialect))),
        }
    }
}

fn word_name(dialect: &Dialect) -> &'static str {
    if matches!(dialect, Dialect::Debezium { .. }) { "op" } else { "type" }
}

impl Decoder for ChangeDecoder {
    fn decode(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Decoded> {
        match self.selected(batch, range.clone())? {
            None => self.decode_all(batch, range),
            Some(selection) => {
                let count = selection.records.len();
                let part = RawBatch { arena: batch.arena.clone(), records: selection.records, ..*batch };
                let mut decoded = self.decode_all(&part, 0..count)?;
                let place = |record: u32| selection.origin.get(record as usize).map_or(0, |origin| *origin as u32);
                let taken = decoded.taken.unwrap_or_else(|| (0..count as u32).collect());
                decoded.taken = Some(taken.into_iter().map(place).collect());
                decoded.skipped += selection.skipped;
                Ok(decoded)
            }
        }
    }
}

impl ChangeDecoder {
    fn decode_all(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Decoded> {
        let decoded = self.documents.decode(batch, range.clone()).map_err(|e| self.message(e))?;
        let internal = || Error::internal("a change document came with other columns");
        let whole = match &self.dialect {
            Dialect::Debezium { has_schema: true } => {
                let payload = decoded.rows.columns().first().and_then(|payload| payload.as_struct_opt());
                payload.ok_or_else(internal)?.columns().to_vec()
            }
            _ => decoded.rows.columns().to_vec(),
        };
        let part = |index: usize| whole.get(index).ok_or_else(internal);
        let (old, new) = (part(0)?, part(1)?);
        let word = part(2)?.as_string_opt::<i32>().ok_or_else(internal)?;
        let row = |side: &ArrayRef| side.as_struct_opt().cloned().ok_or_else(internal);
        let sides = match (&self.dialect, old.as_list_opt::<i32>(), new.as_list_opt::<i32>()) {
            (Dialect::Canal { .. }, Some(olds), Some(news)) => {
                Sides { old: row(olds.values())?, new: row(news.values())?, word, spans: Some([olds, news]) }
            }
            _ => Sides { old: row(old)?, new: row(new)?, word, spans: None },
        };

        let mut changes = Changes::default();
        let mut skipped = decoded.skipped;
        for row in 0..decoded.rows.num_rows() {
            let record = record_of(&decoded.taken, range.start, row);
            let before = changes.picks.len();
            if let Err(reason) = sides.read(&self.dialect, row, &mut changes)
                && !self.ignore_parse_errors
            {
                return Err(self.no_change(batch, record, &reason));
            }
            let count = changes.picks.len() - before;
            if count == 0 {
                skipped += 1;
            }
            let record = u32::try_from(record).map_err(|_| Error::internal("a batch of 2^32 records"))?;
            changes.records.extend(std::iter::repeat_n(record, count));
            changes.documents.extend(std::iter::repeat_n(u32::try_from(row).unwrap_or(u32::MAX), count));
        }
        let mut columns = self.columns(batch, range, &decoded, &sides, &changes)?;
        let has_schema = matches!(self.dialect, Dialect::Debezium { has_schema: true });
        let mut inside = whole.iter().skip(3);
        let mut fields = Vec::with_capacity(self.metadata.fields.len());
        for field in &self.metadata.fields {
            let column = if has_schema && field.name == SCHEMA { decoded.rows.columns().get(1) } else { inside.next() };
            fields.push(column.cloned().ok_or_else(internal)?);
        }
        let documents = UInt32Array::from(changes.documents);
        for column in self.metadata.columns(&fields)? {
            columns.push(take(&column, &documents, None)?);
        }
        let count = changes.picks.len();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(self.output.arrow().clone(), columns, &options)?;
        let is_changing = changes.kinds.iter().any(|kind| *kind != RowKind::Insert);
        Ok(Decoded { rows, kinds: is_changing.then(|| changes.kinds.into()), taken: Some(changes.records), skipped })
    }

    fn columns(
        &mut self,
        batch: &RawBatch,
        range: Range<usize>,
        decoded: &Decoded,
        sides: &Sides<'_>,
        changes: &Changes,
    ) -> Result<Vec<ArrayRef>> {
        let named = match (&mut self.old_texts, changes.partial.is_empty()) {
            (Some(old_texts), false) => {
                let texts = old_texts.decode(batch, range.clone())?;
                Some(Named::of(&texts, range.start, &self.quoted))
            }
            _ => None,
        };
        let mut columns = Vec::with_capacity(self.context.schema.fields().len());
        for (index, (old, new)) in sides.old.columns().iter().zip(sides.new.columns()).enumerate() {
            let column = match &named {
                None => interleave(&[old.as_ref(), new.as_ref()], &changes.picks)?,
                Some(named) => {
                    let mut picks = changes.picks.clone();
                    for (place, document, after) in &changes.partial {
                        let Some(pick) = picks.get_mut(*place) else { continue };
                        let record = record_of(&decoded.taken, range.start, *document);
                        if old.is_null(pick.1) && !named.has(record, index) {
                            *pick = (NEW, *after);
                        }
                    }
                    interleave(&[old.as_ref(), new.as_ref()], &picks)?
                }
            };
            columns.push(column);
        }
        Ok(columns)
    }
}

/// Which columns the `old` of each record names.
struct Named {
    /// The record of the first entry.
    first: usize,
    columns: usize,
    /// One entry per record and column.
    is_named: Vec<bool>,
}

impl Named {
    fn of(texts: &Decoded, first: usize, names: &[Vec<u8>]) -> Named {
        let mut named = Named { first, columns: names.len(), is_named: Vec::new() };
        let old = texts.rows.columns().first().and_then(|column| column.as_string_opt::<i32>());
        for row in 0..texts.rows.num_rows() {
            let record = record_of(&texts.taken, first, row);
            let start = (record - first) * named.columns;
            named.is_named.resize(named.is_named.len().max(start + named.columns), false);
            let Some(text) = old.filter(|old| old.is_valid(row)).map(|old| old.value(row)) else { continue };
            for_each_name(text.as_bytes(), |name| {
                let found = names.iter().position(|known| known == name);
                if let Some(flag) = found.and_then(|column| named.is_named.get_mut(start + column)) {
                    *flag = true;
                }
            });
        }
        named
    }

    fn has(&self, record: usize, column: usize) -> bool {
        let place = (record - self.first) * self.columns + column;
        self.is_named.get(place).copied().unwrap_or(false)
    }
}

/// Tells every name of a field, at any depth, with its quotes. The text is JSON without blanks, as the json decoder writes it.
fn for_each_name(text: &[u8], mut tell: impl FnMut(&[u8])) {
    let mut at = 0;
    while let Some(start) = memchr::memchr(b'"', text.get(at..).unwrap_or_default()).map(|found| at + found) {
        let mut end = start + 1;
        while let Some(byte) = text.get(end).filter(|byte| **byte != b'"') {
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        at = end + 1;
        if text.get(at) == Some(&b':') {
            tell(text.get(start..at).unwrap_or_default());
        }
    }
}

/// A name as it stands in such a text.
fn quoted(name: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len() + 2);
    crate::formats::json::write_quoted(name, &mut text);
    text
}
