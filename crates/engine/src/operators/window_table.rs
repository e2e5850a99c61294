//! A window table function without aggregation: every row with the windows it belongs to.
//!
//! - **Input**: any changelog. **Output**: the input's columns, then window_start, window_end, window_time; a row of a HOP comes once per
//!   window, the latest window first, as in Flink. Kinds stay as they are.
//! - **State**: none. Every row is emitted at once, and a row behind the watermark too: whoever aggregates below decides on lateness.
//! - **Cost per row**: three columns; TUMBLE copies nothing else.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::WindowNode;

use super::ROWS_PER_BATCH;
use super::window::Windows;
use super::window_aggregate::WindowTime;
use crate::operator::{Output, Stateless};

/// See the module's head.
pub struct WindowTable {
    windows: Windows,
    time: WindowTime,
    schema: Schema,
    rows: Vec<u32>,
    ends: Vec<i64>,
}

impl WindowTable {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &WindowNode, input: &Schema, schema: &Schema) -> Result<Self> {
        let time = WindowTime { column: node.time_column, is_event_time: node.is_event_time, drops_null: false };
        time.check(input)?;
        if schema.len() != input.len() + 3 {
            return Err(Error::internal(format!(
                "a window table function over {} columns has {} output columns",
                input.len(),
                schema.len()
            )));
        }
        Ok(WindowTable {
            windows: Windows::new(node)?,
            time,
            schema: schema.clone(),
            rows: Vec::new(),
            ends: Vec::new(),
        })
    }

    fn assign(&mut self, row: u32, time_ms: i64) {
        let slice_end = self.windows.slice_end(time_ms);
        let first = self.ends.len();
        self.ends.extend(self.windows.window_ends(slice_end));
        self.ends[first..].reverse();
        self.rows.resize(self.ends.len(), row);
    }

    fn emit(&self, batch: &ChangeBatch, start: usize, length: usize, output: &mut Output) -> Result<()> {
        let (rows, ends) = (&self.rows[start..start + length], &self.ends[start..start + length]);
        let is_whole = length == batch.len() && rows.iter().zip(0..).all(|(row, place)| *row == place);
        let mut columns: Vec<ArrayRef> = if is_whole {
            batch.rows.columns().to_vec()
        } else {
            let rows = UInt32Array::from(rows.to_vec());
            batch.rows.columns().iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?
        };
        let times = |value: &dyn Fn(i64) -> i64| -> ArrayRef {
            Arc::new(TimestampMillisecondArray::from_iter_values(ends.iter().map(|end| value(*end))))
        };
        columns.push(times(&|end| self.windows.window_start(end)));
        columns.push(times(&|end| end));
        columns.push(times(&|end| self.windows.window_time(end)));
        let kinds: Option<Vec<RowKind>> =
            batch.kinds.as_ref().map(|kinds| rows.iter().map(|row| kinds[*row as usize]).collect());
        let rows = RecordBatch::try_new(self.schema.arrow().clone(), columns)?;
        output.emit(ChangeBatch { rows, kinds: kinds.map(Into::into) });
        Ok(())
    }
}

impl Stateless for WindowTable {
    const NO_STATE: &'static str = "a checkpoint holds state of a window table function, which has none";

    fn take(&mut self, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let row_count = u32::try_from(batch.len())
            .map_err(|_| Error::internal(format!("a batch of {} rows reaches a window", batch.len())))?;
        self.rows.clear();
        self.ends.clear();
        if self.time.is_event_time {
            let times = self.time.column(&batch.rows)?.clone();
            for (row, time_ms) in (0..row_count).zip(times.values()) {
                self.assign(row, *time_ms);
            }
        } else {
            (0..row_count).for_each(|row| self.assign(row, context.now_ms));
        }
        for start in (0..self.rows.len()).step_by(ROWS_PER_BATCH) {
            self.emit(&batch, start, ROWS_PER_BATCH.min(self.rows.len() - start), output)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Operator;
    use crate::operators::testing::{Event, change, run, schema, show, string};
    use wiesel_core::TypeKind;
    use wiesel_plan::WindowKind;

    #[test]
    fn every_row_comes_with_each_of_its_windows_and_keeps_its_kind() {
        let input = schema(&[string(), TypeKind::Timestamp(3)]);
        let window = TypeKind::Timestamp(3);
        let output = schema(&[string(), window.clone(), window.clone(), window.clone(), window]);
        let rows = || Event::Rows(vec![change("+I a @3"), change("-D b @12")]);
        let cases: [(WindowKind, &[&str]); 3] = [
            (WindowKind::Tumble { size_ms: 10, offset_ms: 0 }, &["+I a @3 @0 @10 @9", "-D b @12 @10 @20 @19"]),
            (
                WindowKind::Hop { slide_ms: 5, size_ms: 10, offset_ms: 0 },
                &["+I a @3 @0 @10 @9", "+I a @3 @-5 @5 @4", "-D b @12 @10 @20 @19", "-D b @12 @5 @15 @14"],
            ),
            // A slide above the size leaves times without a window.
            (WindowKind::Hop { slide_ms: 10, size_ms: 3, offset_ms: 0 }, &["-D b @12 @10 @13 @12"]),
        ];
        for (kind, expected) in cases {
            let node = WindowNode { kind, time_column: 1, is_event_time: true, time_zone: None };
            let new = || -> Box<dyn Operator> { Box::new(WindowTable::new(&node, &input, &output).unwrap()) };
            assert_eq!(show(&run(&new, &input, &output, 0, &[rows()])), expected);
        }
        let node = WindowNode {
            kind: WindowKind::Tumble { size_ms: 10, offset_ms: 0 },
            time_column: 1,
            is_event_time: false,
            time_zone: None,
        };
        let new = || -> Box<dyn Operator> { Box::new(WindowTable::new(&node, &input, &output).unwrap()) };
        let told = show(&run(&new, &input, &output, 25, &[rows()]));
        assert_eq!(told, ["+I a @3 @20 @30 @29", "-D b @12 @20 @30 @29"]);
    }
}
