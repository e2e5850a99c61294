//! ORDER BY with a time attribute in front: rows in the order of time, and within one time in the order of the other keys.
//!
//! - **Input**: inserts. **Output**: the same rows, +I.
//! - **State**: rows by time, the other keys and arrival. **Emits** rows when the watermark has passed them; by processing time the rows
//!   of a step at its end. **Drops state** with what it emits.
//! - **Late rows**, at or before the last time that was emitted, are dropped and counted. A row behind the watermark whose time was not
//!   passed by any row yet is kept, as in Flink.
//! - **Cost per row**: one encoding and an ordered insert and removal. All rows are on one worker.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::{ChangeBatch, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::SortNode;

use super::ROWS_PER_BATCH;
use super::keyed_rows::Restored;
use super::sorted_rows::SortedRows;
use crate::operator::{Operator, Output, StateWriter};
use crate::state::codec::{number_i64, order_i64};

/// See the module's head.
pub struct Sort {
    time: Option<usize>,
    schema: Schema,
    sorted: SortedRows,
    last_emitted: Option<i64>,
    late_rows: u64,
    slots: Vec<u32>,
}

impl Sort {
    /// Builds the operator of a node.
    pub fn new(node: &SortNode, input: &Schema) -> Result<Self> {
        if let Some(time) = node.time {
            let is_ms = input
                .fields()
                .get(time)
                .is_some_and(|f| f.data_type.to_arrow() == ArrowType::Timestamp(TimeUnit::Millisecond, None));
            if !is_ms {
                return Err(Error::internal("a sort orders by a column that is no rowtime attribute"));
            }
        }
        if node.order.iter().any(|key| key.column >= input.len()) {
            return Err(Error::internal("a sort orders by a column that its input does not have"));
        }
        Ok(Sort {
            time: node.time,
            schema: input.clone(),
            sorted: SortedRows::new(&[], &node.order, input)?,
            last_emitted: None,
            late_rows: 0,
            slots: Vec::new(),
        })
    }

    fn emit(&mut self, slot: u32, up_to: i64, output: &mut Output) -> Result<()> {
        loop {
            let due: Vec<Vec<u8>> = self
                .sorted
                .rows
                .range(slot, &[])
                .take_while(|(suffix, _)| time_of(suffix) <= up_to)
                .take(ROWS_PER_BATCH)
                .map(|(suffix, _)| suffix.to_vec())
                .collect();
            let Some(last) = due.last() else { return Ok(()) };
            self.last_emitted = Some(time_of(last));
            let mut rows = Vec::with_capacity(due.len());
            for suffix in &due {
                rows.extend(self.sorted.rows.remove(slot, &[suffix]));
            }
            let columns = self.sorted.decode(rows.iter().map(|row| &**row))?;
            output.emit(ChangeBatch::inserts(RecordBatch::try_new(self.schema.arrow().clone(), columns)?));
        }
    }
}

fn time_of(suffix: &[u8]) -> i64 {
    suffix.first_chunk::<8>().map_or(i64::MIN, |bytes| number_i64(*bytes))
}

impl Operator for Sort {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, _: &mut Output) -> Result<()> {
        if batch.kinds.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != RowKind::Insert)) {
            return Err(Error::internal("a sort by time gets changes other than +I"));
        }
        self.sorted.rows.slots(&batch.rows, &mut self.slots)?;
        let Some(slot) = self.slots.first().copied() else { return Ok(()) };
        self.sorted.load(&batch.rows)?;
        let times = self.time.map(|column| batch.rows.column(column).as_primitive::<TimestampMillisecondType>());
        for row in 0..batch.len() {
            let time = match times {
                None => context.now_ms,
                Some(times) if times.is_null(row) => {
                    return Err(Error::data("the time attribute of an ORDER BY is NULL")
                        .hint("filter rows without a time before, or give them one"));
                }
                Some(times) => times.value(row),
            };
            if self.time.is_some() && self.last_emitted.is_some_and(|last| time <= last) {
                self.late_rows += 1;
                continue;
            }
            self.sorted.put(slot, &order_i64(time), &batch.rows, row)?;
        }
        self.sorted.rows.keys.mark(slot, context.now_ms);
        Ok(())
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        if let Some(slot) = self.sorted.only_slot() {
            let before = self.last_emitted;
            self.emit(slot, if self.time.is_some() { watermark } else { i64::MAX }, output)?;
            if self.last_emitted != before {
                self.sorted.rows.keys.mark(slot, context.now_ms);
            }
        }
        Ok(watermark)
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        let last = self.last_emitted;
        self.sorted.rows.snapshot(full, writer, |_, out| {
            out.push(u8::from(last.is_some()));
            out.extend(last.unwrap_or(0).to_le_bytes());
        })
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        if let Restored::Key(_, mut reader) = self.sorted.restore(table, key, value)? {
            let has_emitted = reader.byte()? != 0;
            let last = reader.i64()?;
            self.last_emitted = has_emitted.then_some(last);
        }
        Ok(())
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.sorted.bytes()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{Event, change, run, schema, show};
    use wiesel_core::TypeKind;
    use wiesel_plan::SortColumn;

    fn drive(node: &SortNode, events: &[Event]) -> Vec<String> {
        let input = schema(&[TypeKind::Timestamp(3), TypeKind::BigInt]);
        let new = || -> Box<dyn Operator> { Box::new(Sort::new(node, &input).unwrap()) };
        show(&run(&new, &input, &input, 0, events))
    }

    fn rows(texts: &[&str]) -> Event {
        Event::Rows(texts.iter().map(|text| change(&format!("+I {text}"))).collect())
    }

    fn descending() -> Vec<SortColumn> {
        vec![SortColumn { column: 1, descending: true, nulls_first: false }]
    }

    #[test]
    fn rows_come_out_by_time_and_then_by_the_other_keys() {
        let node = SortNode { time: Some(0), order: descending() };
        let events = [
            rows(&["@3 1", "@1 5", "@3 7", "@1 NULL"]),
            Event::Advance(1, 0),
            Event::Restart(false),
            rows(&["@1 9", "@2 4", "@3 7"]),
            Event::Advance(i64::MAX, 0),
        ];
        assert_eq!(drive(&node, &events), ["+I @1 5", "+I @1 NULL", "+I @2 4", "+I @3 7", "+I @3 7", "+I @3 1"]);
    }

    #[test]
    fn a_row_behind_the_watermark_is_kept_until_its_time_was_emitted() {
        let node = SortNode { time: Some(0), order: vec![] };
        let events = [
            rows(&["@3 1"]),
            Event::Advance(9, 0),
            rows(&["@5 2", "@3 3"]),
            Event::Restart(true),
            Event::Advance(9, 0),
        ];
        assert_eq!(drive(&node, &events), ["+I @3 1", "+I @5 2"]);
    }

    #[test]
    fn processing_time_sorts_the_rows_of_a_step() {
        let node = SortNode { time: None, order: descending() };
        let events = [
            rows(&["@0 1", "@0 2"]),
            Event::Advance(0, 1),
            rows(&["@0 9"]),
            Event::Restart(false),
            Event::Advance(0, 2),
        ];
        assert_eq!(drive(&node, &events), ["+I @0 2", "+I @0 1", "+I @0 9"]);
    }
}
