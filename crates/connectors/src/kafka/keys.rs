//! Records with keys: a row comes from both sides of its record, and a value that is not there may take a row back.
//!
//! ```text
//! keys   -> format of keys   -> columns in the order of 'key.fields'   \  matched record by record: each row of the value with each
//! values -> format of values -> the other columns, or all of them       /  row of the key
//! ```
//! As in Flink a record whose key gives no row (it has none, or its format drops it) gives none at all, and where a column stands on both
//! sides ('value.fields-include' = 'ALL') the value's counts. A table of upserts reads a record without a value as the deletion of its key:
//! its key columns come from the key, the others are NULL.

use std::ops::Range;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::{Error, Result, RowKind};

use crate::formats::{Decoded, Decoder};

/// Decodes the keys of records.
pub(super) struct KeyReader {
    decoder: Box<dyn Decoder>,
    is_upsert: bool,
}

/// Which rows of both sides make the rows that come out.
pub(super) struct Matched {
    keys: RecordBatch,
    /// The row of the key.
    key: Vec<u32>,
    /// The row of the value; `None` for a deletion.
    value: Vec<Option<u32>>,
    /// The record.
    pub(super) records: Vec<u32>,
    /// Kinds, unless all are +I.
    pub(super) kinds: Option<Vec<RowKind>>,
    /// Records that give no row.
    pub(super) skipped: u64,
}

impl KeyReader {
    pub(super) fn new(decoder: Box<dyn Decoder>, is_upsert: bool) -> Self {
        KeyReader { decoder, is_upsert }
    }

    /// Decodes the keys of `records[range]` and matches them with what the values gave.
    pub(super) fn read(&mut self, batch: &RawBatch, range: Range<usize>, values: &Decoded) -> Result<Matched> {
        // The format decodes values, so the keys stand in for them.
        let as_value = |record: &RawRecord| RawRecord {
            value_start: record.key_start,
            value_end: record.key_end,
            has_value: record.has_key,
            ..*record
        };
        let records = batch.records.get(range.clone()).unwrap_or_default();
        let keys = RawBatch { arena: batch.arena.clone(), records: records.iter().map(as_value).collect(), ..*batch };
        let keys = self.decoder.decode(&keys, 0..records.len()).map_err(|error| error.at("its key"))?;
        let rows = keys.rows.num_rows() + values.rows.num_rows();
        let mut matched = Matched {
            keys: keys.rows.clone(),
            key: Vec::with_capacity(rows),
            value: Vec::with_capacity(rows),
            records: Vec::with_capacity(rows),
            kinds: None,
            skipped: 0,
        };
        let mut kinds = Vec::new();
        let mut key_rows = Places::of(&keys, 0);
        let mut value_rows = Places::of(values, range.start);
        for (place, record) in records.iter().enumerate() {
            let keys_of_record = key_rows.of_record(place);
            let values_of_record = value_rows.of_record(range.start + place);
            let number = u32::try_from(range.start + place).map_err(|_| Error::internal("a batch of 2^32 records"))?;
            let before = matched.records.len();
            let is_deletion = self.is_upsert && !record.has_value;
            for key in keys_of_record {
                let mut push = |value: Option<u32>, kind| {
                    matched.key.push(key);
                    matched.value.push(value);
                    matched.records.push(number);
                    kinds.push(kind);
                };
                if is_deletion {
                    push(None, RowKind::Delete);
                }
                for value in values_of_record.clone() {
                    let kind = values.kinds.as_ref().and_then(|kinds| kinds.get(value as usize).copied());
                    push(Some(value), kind.unwrap_or(RowKind::Insert));
                }
            }
            if matched.records.len() == before {
                matched.skipped += 1;
            }
        }
        if kinds.iter().any(|kind| *kind != RowKind::Insert) {
            matched.kinds = Some(kinds);
        }
        Ok(matched)
    }
}

/// Rows of a decoder by the record they came from; asked for in the order of the records.
struct Places<'a> {
    taken: Option<&'a [u32]>,
    first: usize,
    rows: usize,
    next: usize,
}

impl<'a> Places<'a> {
    fn of(decoded: &'a Decoded, first: usize) -> Self {
        Places { taken: decoded.taken.as_deref(), first, rows: decoded.rows.num_rows(), next: 0 }
    }

    fn of_record(&mut self, record: usize) -> Range<u32> {
        let start = self.next;
        let is_of = |row: usize| match self.taken {
            Some(taken) => taken.get(row).is_some_and(|of| *of as usize == record),
            None => self.first + row == record,
        };
        while self.next < self.rows && is_of(self.next) {
            self.next += 1;
        }
        let place = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
        place(start)..place(self.next)
    }
}

impl Matched {
    /// A column of the values; NULL where there is none.
    pub(super) fn value_column(&self, column: &ArrayRef) -> Result<ArrayRef> {
        Ok(take(column, &UInt32Array::from(self.value.clone()), None)?)
    }

    /// A column of the keys.
    pub(super) fn key_column(&self, key: usize) -> Result<ArrayRef> {
        Ok(take(self.key_part(key)?, &UInt32Array::from(self.key.clone()), None)?)
    }

    /// A column of the values; of the keys where there is none.
    pub(super) fn either_column(&self, column: &ArrayRef, key: usize) -> Result<ArrayRef> {
        let pick = |(value, key): (&Option<u32>, &u32)| match value {
            Some(value) => (0, *value as usize),
            None => (1, *key as usize),
        };
        let picks: Vec<(usize, usize)> = self.value.iter().zip(&self.key).map(pick).collect();
        Ok(interleave(&[column.as_ref(), self.key_part(key)?.as_ref()], &picks)?)
    }

    fn key_part(&self, key: usize) -> Result<&ArrayRef> {
        self.keys.columns().get(key).ok_or_else(|| Error::internal(format!("the keys have no column {key}")))
    }
}
