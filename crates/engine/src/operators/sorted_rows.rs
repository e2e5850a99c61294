//! Rows by key, sort key and arrival: what the sorts and the functions of batch mode keep until they may give it away.
//!
//! ```text
//! suffix:  lead (a time, or nothing) | the encoded ORDER BY | the arrival number, 8 bytes
//! ```
//! A retraction takes the first row that is equal as a whole; one that finds none is counted and has no effect.
//! **Cost per row**: one encoding, an ordered insert or removal.

use arrow_array::{ArrayRef, RecordBatch};
use wiesel_core::{ChangeBatch, DataType, Result, Schema};
use wiesel_plan::SortColumn;

use super::keyed_rows::{KeyedRows, Restored, arrival_of};
use super::sort_key::SortKeys;
use crate::state::codec::{decode_rows, encode_row};

/// See the module's head.
pub(super) struct SortedRows {
    pub(super) rows: KeyedRows,
    types: Vec<DataType>,
    sort_keys: SortKeys,
    sequence: u64,
    ignored_retractions: u64,
    // Buffers that are used again for every row.
    slots: Vec<u32>,
    row: Vec<u8>,
    suffix: Vec<u8>,
}

impl SortedRows {
    /// An empty state of an input's rows by these key columns and this order.
    pub(super) fn new(keys: &[usize], order: &[SortColumn], input: &Schema) -> Result<Self> {
        Ok(SortedRows {
            rows: KeyedRows::new(keys, input, 0, 0)?,
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            sort_keys: SortKeys::new(order.to_vec()),
            sequence: 0,
            ignored_retractions: 0,
            slots: Vec::new(),
            row: Vec::new(),
            suffix: Vec::new(),
        })
    }

    /// Takes a batch of changes of any kind.
    pub(super) fn apply(&mut self, batch: &ChangeBatch, now_ms: i64) -> Result<()> {
        let mut slots = std::mem::take(&mut self.slots);
        self.rows.slots(&batch.rows, &mut slots)?;
        self.load(&batch.rows)?;
        for (row, &slot) in slots.iter().enumerate() {
            if batch.kind(row).is_add() {
                self.put(slot, &[], &batch.rows, row)?;
            } else {
                self.take_back(slot, &batch.rows, row)?;
            }
            self.rows.keys.mark(slot, now_ms);
        }
        self.slots = slots;
        Ok(())
    }

    /// Reads the sort columns of the batch whose rows `put` takes next.
    pub(super) fn load(&mut self, batch: &RecordBatch) -> Result<()> {
        self.sort_keys.load(batch)
    }

    /// Adds a row of the batch loaded last; `lead` goes before its sort key.
    pub(super) fn put(&mut self, slot: u32, lead: &[u8], batch: &RecordBatch, row: usize) -> Result<()> {
        self.encode(lead, batch, row)?;
        self.suffix.extend(self.sequence.to_be_bytes());
        self.sequence += 1;
        self.rows.put(slot, &[&self.suffix], &self.row);
        Ok(())
    }

    fn take_back(&mut self, slot: u32, batch: &RecordBatch, row: usize) -> Result<()> {
        self.encode(&[], batch, row)?;
        let standing = self.rows.range(slot, &self.suffix).find(|(_, kept)| *kept == self.row);
        match standing.map(|(suffix, _)| suffix.to_vec()) {
            Some(suffix) => {
                self.rows.remove(slot, &[&suffix]);
            }
            None => self.ignored_retractions += 1,
        }
        Ok(())
    }

    fn encode(&mut self, lead: &[u8], batch: &RecordBatch, row: usize) -> Result<()> {
        self.row.clear();
        encode_row(batch.columns(), row, &mut self.row)?;
        self.suffix.clear();
        self.suffix.extend(lead);
        self.sort_keys.append(row, &mut self.suffix);
        Ok(())
    }

    /// The slot of the one key where there are no key columns; `None` before the first row.
    pub(super) fn only_slot(&self) -> Option<u32> {
        self.rows.keys.used().next()
    }

    /// Kept rows as columns.
    pub(super) fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        decode_rows(&self.types, rows)
    }

    /// Takes an entry of a checkpoint back.
    pub(super) fn restore<'a>(&mut self, table: u8, key: &'a [u8], value: &'a [u8]) -> Result<Restored<'a>> {
        let restored = self.rows.restore(table, key, value)?;
        if let Restored::Row(suffix) = &restored {
            self.sequence = self.sequence.max(arrival_of(suffix)? + 1);
        }
        Ok(restored)
    }

    /// Retractions of rows that were not there.
    pub(super) fn ignored_retractions(&self) -> u64 {
        self.ignored_retractions
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.rows.bytes() + self.sort_keys.bytes()
    }
}

/// A suffix without its arrival number.
pub(super) fn order_of(suffix: &[u8]) -> &[u8] {
    suffix.get(..suffix.len().saturating_sub(8)).unwrap_or_default()
}
