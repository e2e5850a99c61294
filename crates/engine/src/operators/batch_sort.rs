//! Batch mode: all rows at the end of the input, in order; and with it, only the rows that still stand.
//!
//! - **Input**: any changelog. **Output**: +I of the rows that stand at the end, in the order of the keys, then of arrival.
//! - **State**: every row, by sort key and arrival. **Emits** when the input has ended. **Drops state** with what it emits.
//! - **Late rows** do not exist here. **Cost per row**: one encoding, an ordered insert and removal. All rows are on one worker.

use arrow_array::RecordBatch;
use wiesel_core::{ChangeBatch, DataType, Error, Result, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::SortColumn;

use super::ROWS_PER_BATCH;
use super::keyed_rows::{KeyedRows, Restored, arrival_of};
use super::sort_key::SortKeys;
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MAX};
use crate::state::codec::{decode_rows, encode_row};

/// See the module's head.
pub struct BatchSort {
    schema: Schema,
    types: Vec<DataType>,
    sort_keys: SortKeys,
    rows: KeyedRows,
    /// The slot of the one key; `None` before the first row.
    slot: Option<u32>,
    sequence: u64,
    ignored_retractions: u64,
    slots: Vec<u32>,
    row: Vec<u8>,
    suffix: Vec<u8>,
}

impl BatchSort {
    /// Builds the operator of a node.
    pub fn new(order: &[SortColumn], input: &Schema) -> Result<Self> {
        if order.iter().any(|key| key.column >= input.len()) {
            return Err(Error::internal("a sort orders by a column that its input does not have"));
        }
        Ok(BatchSort {
            schema: input.clone(),
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            sort_keys: SortKeys::new(order.to_vec()),
            rows: KeyedRows::new(&[], input, 0, 0)?,
            slot: None,
            sequence: 0,
            ignored_retractions: 0,
            slots: Vec::new(),
            row: Vec::new(),
            suffix: Vec::new(),
        })
    }
}

impl Operator for BatchSort {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, _: &mut Output) -> Result<()> {
        self.rows.slots(&batch.rows, &mut self.slots)?;
        let Some(slot) = self.slots.first().copied() else { return Ok(()) };
        self.slot = Some(slot);
        self.sort_keys.load(&batch.rows)?;
        for row in 0..batch.len() {
            self.row.clear();
            encode_row(batch.rows.columns(), row, &mut self.row)?;
            self.suffix.clear();
            self.sort_keys.append(row, &mut self.suffix);
            if batch.kind(row).is_add() {
                self.suffix.extend(self.sequence.to_be_bytes());
                self.sequence += 1;
                self.rows.put(slot, &[&self.suffix], &self.row);
                continue;
            }
            let standing = self.rows.range(slot, &self.suffix).find(|(_, kept)| *kept == self.row);
            match standing.map(|(suffix, _)| suffix.to_vec()) {
                Some(suffix) => {
                    self.rows.remove(slot, &[&suffix]);
                }
                None => self.ignored_retractions += 1,
            }
        }
        self.rows.keys.mark(slot, context.now_ms);
        Ok(())
    }

    fn advance(&mut self, watermark: i64, _: &EvalContext, output: &mut Output) -> Result<i64> {
        let Some(slot) = self.slot.filter(|_| watermark == WATERMARK_MAX) else { return Ok(watermark) };
        let rows: Vec<&[u8]> = self.rows.range(slot, &[]).map(|(_, row)| row).collect();
        for chunk in rows.chunks(ROWS_PER_BATCH) {
            let columns = decode_rows(&self.types, chunk.iter().copied())?;
            output.emit(ChangeBatch::inserts(RecordBatch::try_new(self.schema.arrow().clone(), columns)?));
        }
        self.rows.release(slot);
        self.slot = None;
        Ok(watermark)
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.rows.snapshot(full, writer, |_, _| {})
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        match self.rows.restore(table, key, value)? {
            Restored::Key(slot, _) => self.slot = Some(slot),
            Restored::Row(suffix) => self.sequence = self.sequence.max(arrival_of(suffix)? + 1),
        }
        Ok(())
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes() + self.sort_keys.bytes()
    }

    fn ignored_retractions(&self) -> u64 {
        self.ignored_retractions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{Event, change, run, schema, show};
    use wiesel_core::TypeKind;

    #[test]
    fn what_stands_at_the_end_comes_out_in_order() {
        let input = schema(&[TypeKind::BigInt, TypeKind::BigInt]);
        let order = [SortColumn { column: 1, descending: true, nulls_first: false }];
        let new = || -> Box<dyn Operator> { Box::new(BatchSort::new(&order, &input).unwrap()) };
        let rows = |texts: &[&str]| Event::Rows(texts.iter().map(|text| change(text)).collect());
        let events = [
            rows(&["+I 1 5", "+I 2 NULL", "+I 3 7"]),
            Event::Advance(9, 0),
            Event::Restart(false),
            rows(&["-U 1 5", "+U 1 6", "+I 4 7", "-D 3 7", "+I 5 6"]),
            Event::Advance(i64::MAX, 0),
        ];
        assert_eq!(show(&run(&new, &input, &input, 0, &events)), ["+I 4 7", "+I 1 6", "+I 5 6", "+I 2 NULL"]);
    }
}
