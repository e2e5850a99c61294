//! Changes on their way out of an operator that passes rows on: each is a row of the batch at hand, or a row that the operator kept.
//!
//! A change is noted as a kind and a *pick*, a place in the batch or, behind the batch's rows, among the kept rows. Nothing is copied until
//! all rows of the batch are decided on: then the kept rows are decoded once, set behind the batch, and every output batch is one `take`.

use std::ops::Range;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_select::concat::concat;
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, DataType, Result, RowKind, Schema};

use super::ROWS_PER_BATCH;
use crate::operator::Output;
use crate::state::codec::{KeyBuffer, decode_rows};

/// See the module's head. Used again for every batch.
#[derive(Debug, Default)]
pub(super) struct Picked {
    batch_rows: usize,
    kinds: Vec<RowKind>,
    picks: Vec<u32>,
    kept: KeyBuffer,
}

impl Picked {
    /// Forgets the last batch; the next one has so many rows.
    pub(super) fn begin(&mut self, batch_rows: usize) {
        self.batch_rows = batch_rows;
        self.kinds.clear();
        self.picks.clear();
        self.kept.clear();
    }

    /// The pick of a row that the operator kept, encoded.
    pub(super) fn keep(&mut self, row: &[u8]) -> usize {
        self.kept.push(row);
        self.batch_rows + self.kept.len() - 1
    }

    /// Notes a change.
    pub(super) fn push(&mut self, kind: RowKind, pick: usize) {
        self.kinds.push(kind);
        self.picks.push(u32::try_from(pick).unwrap_or(u32::MAX));
    }

    /// Emits the changes; the kept rows are of `types`, the batch's.
    pub(super) fn emit(
        &self,
        batch: &RecordBatch,
        types: &[DataType],
        schema: &Schema,
        output: &mut Output,
    ) -> Result<()> {
        self.emit_with(batch, types, schema, output, |_| None)
    }

    /// The same, with one more column for a range of the changes where `beside` gives one.
    pub(super) fn emit_with(
        &self,
        batch: &RecordBatch,
        types: &[DataType],
        schema: &Schema,
        output: &mut Output,
        beside: impl Fn(Range<usize>) -> Option<ArrayRef>,
    ) -> Result<()> {
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        if !self.kept.is_empty() {
            let kept = decode_rows(types, self.kept.iter())?;
            for (column, kept) in columns.iter_mut().zip(&kept) {
                *column = concat(&[column.as_ref(), kept.as_ref()])?;
            }
        }
        for start in (0..self.kinds.len()).step_by(ROWS_PER_BATCH) {
            let range = start..self.kinds.len().min(start + ROWS_PER_BATCH);
            let picks = UInt32Array::from(self.picks[range.clone()].to_vec());
            let mut columns = columns.iter().map(|c| take(c, &picks, None)).collect::<Result<Vec<_>, _>>()?;
            columns.extend(beside(range.clone()));
            let rows = RecordBatch::try_new(schema.arrow().clone(), columns)?;
            output.emit(ChangeBatch::new(rows, self.kinds[range].to_vec()));
        }
        Ok(())
    }

    /// Bytes held, by capacity.
    pub(super) fn bytes(&self) -> usize {
        self.kinds.capacity() * size_of::<RowKind>()
            + self.picks.capacity() * size_of::<u32>()
            + self.kept.capacity_bytes()
    }
}
