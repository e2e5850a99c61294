//! Batch mode: all rows at the end of the input, in order; and with it, only the rows that still stand.
//!
//! - **Input**: any changelog. **Output**: +I of the rows that stand at the end, in the order of the keys, then of arrival.
//! - **State**: every row, by sort key and arrival. **Emits** when the input has ended. **Drops state** with what it emits.
//! - **Late rows** do not exist here. **Cost per row**: one encoding, an ordered insert and removal. All rows are on one worker.

use arrow_array::RecordBatch;
use wiesel_core::{ChangeBatch, Error, Result, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::SortColumn;

use super::ROWS_PER_BATCH;
use super::sorted_rows::SortedRows;
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MAX};

/// See the module's head.
pub struct BatchSort {
    schema: Schema,
    sorted: SortedRows,
}

impl BatchSort {
    /// Builds the operator of a node.
    pub fn new(order: &[SortColumn], input: &Schema) -> Result<Self> {
        if order.iter().any(|key| key.column >= input.len()) {
            return Err(Error::internal("a sort orders by a column that its input does not have"));
        }
        Ok(BatchSort { schema: input.clone(), sorted: SortedRows::new(&[], order, input)? })
    }
}

impl Operator for BatchSort {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, _: &mut Output) -> Result<()> {
        self.sorted.apply(&batch, context.now_ms)
    }

    fn advance(&mut self, watermark: i64, _: &EvalContext, output: &mut Output) -> Result<i64> {
        let Some(slot) = self.sorted.only_slot().filter(|_| watermark == WATERMARK_MAX) else {
            return Ok(watermark);
        };
        let rows: Vec<&[u8]> = self.sorted.rows.range(slot, &[]).map(|(_, row)| row).collect();
        for chunk in rows.chunks(ROWS_PER_BATCH) {
            let columns = self.sorted.decode(chunk.iter().copied())?;
            output.emit(ChangeBatch::inserts(RecordBatch::try_new(self.schema.arrow().clone(), columns)?));
        }
        self.sorted.rows.release(slot);
        Ok(watermark)
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.sorted.rows.snapshot(full, writer, |_, _| {})
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        self.sorted.restore(table, key, value)?;
        Ok(())
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.sorted.bytes()
    }

    fn ignored_retractions(&self) -> u64 {
        self.sorted.ignored_retractions()
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
