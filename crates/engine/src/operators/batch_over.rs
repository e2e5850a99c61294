//! Batch mode: functions over the ordered rows of a partition, any order and any frame.
//!
//! - **Input**: any changelog. **Output**: +I of the rows that stand at the end, partition by partition in order, then the results.
//! - **State**: every row, by partition, sort key and arrival. **Emits** when the input has ended. **Drops state** with what it emits.
//! - **Late rows** do not exist here.
//! - **Cost per row**: one encoding, an ordered insert and removal, and per aggregate one addition and at most one removal: both ends of a
//!   frame only move forward.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, UInt32Array};
use arrow_select::concat::concat;
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, Error, Result, RowKind, Schema};
use wiesel_expr::{AggregateCall, EvalContext};
use wiesel_plan::{BatchFrame, BatchOverCall, BatchOverNode, FrameUnit, SortColumn};

use super::ROWS_PER_BATCH;
use super::aggregate::{AggregateSpec, Groups, Plan, PlannedRows};
use super::order_distance::OrderDistance;
use super::sorted_rows::{SortedRows, order_of};
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MAX};

/// See the module's head.
pub struct BatchOver {
    calls: Vec<BatchOverCall>,
    order: Vec<SortColumn>,
    input: Schema,
    schema: Schema,
    sorted: SortedRows,
}

/// A partition in order: where each row's peers, rows equal in the sort key, begin and end, and the number of their group.
struct Partition {
    batch: RecordBatch,
    first: Vec<usize>,
    end: Vec<usize>,
    group: Vec<i64>,
}

impl BatchOver {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &BatchOverNode, input: &Schema, schema: &Schema) -> Result<Self> {
        if schema.len() != input.len() + node.calls.len() || node.order.iter().any(|key| key.column >= input.len()) {
            return Err(Error::internal("an OVER window of batch mode does not fit its input"));
        }
        Ok(BatchOver {
            calls: node.calls.clone(),
            order: node.order.clone(),
            input: input.clone(),
            schema: schema.clone(),
            sorted: SortedRows::new(&node.partition, &node.order, input)?,
        })
    }

    fn emit(&self, slot: u32, output: &mut Output) -> Result<()> {
        let (mut first, mut end, mut group): (Vec<usize>, Vec<usize>, Vec<i64>) = Default::default();
        let mut rows: Vec<&[u8]> = Vec::new();
        let mut before: Option<&[u8]> = None;
        for (suffix, row) in self.sorted.rows.range(slot, &[]) {
            let key = order_of(suffix);
            if before != Some(key) {
                let begin = rows.len();
                end.resize(begin, begin);
                first.push(begin);
                group.push(group.last().map_or(0, |last| last + 1));
                before = Some(key);
            } else {
                first.push(first.last().copied().unwrap_or(0));
                group.push(group.last().copied().unwrap_or(0));
            }
            rows.push(row);
        }
        end.resize(rows.len(), rows.len());
        let columns = self.sorted.decode(rows.iter().copied())?;
        let batch = RecordBatch::try_new(self.input.arrow().clone(), columns)?;
        let partition = Partition { batch, first, end, group };
        let mut columns = partition.batch.columns().to_vec();
        for call in &self.calls {
            columns.push(partition.results(call, &self.order, &self.input)?);
        }
        let rows = RecordBatch::try_new(self.schema.arrow().clone(), columns)?;
        for start in (0..rows.num_rows()).step_by(ROWS_PER_BATCH) {
            output.emit(ChangeBatch::inserts(rows.slice(start, ROWS_PER_BATCH.min(rows.num_rows() - start))));
        }
        Ok(())
    }
}

impl Partition {
    fn results(&self, call: &BatchOverCall, order: &[SortColumn], input: &Schema) -> Result<ArrayRef> {
        let count = self.batch.num_rows();
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let numbers =
            |f: &dyn Fn(usize) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..count).map(f))) };
        let shares =
            |f: &dyn Fn(usize) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values((0..count).map(f))) };
        Ok(match call {
            BatchOverCall::RowNumber => numbers(&|row| number(row + 1)),
            BatchOverCall::Rank => numbers(&|row| number(self.first[row] + 1)),
            BatchOverCall::DenseRank => numbers(&|row| self.group[row] + 1),
            BatchOverCall::PercentRank => {
                shares(&|row| if count < 2 { 0.0 } else { self.first[row] as f64 / (count - 1) as f64 })
            }
            // Flink counts the rows up to this one, and not its peers behind it.
            BatchOverCall::CumeDist => shares(&|row| (row + 1) as f64 / count as f64),
            BatchOverCall::Ntile(buckets) => {
                let buckets = usize::try_from(*buckets).unwrap_or(usize::MAX);
                if buckets == 0 {
                    return Err(Error::data("NTILE(0) has no bucket for a row").hint("give it a positive number"));
                }
                // The first buckets get one row more when the rows do not divide evenly.
                let (size, larger) = (count / buckets, count % buckets);
                let bucket = |row: usize| {
                    let in_larger = larger * (size + 1);
                    if row < in_larger { row / (size + 1) } else { larger + (row - in_larger) / size.max(1) }
                };
                Arc::new(Int32Array::from_iter_values(
                    (0..count).map(|row| i32::try_from(bucket(row) + 1).unwrap_or(i32::MAX)),
                ))
            }
            BatchOverCall::Offset { column, rows, default, .. } => self.offset(*column, *rows, *default)?,
            BatchOverCall::Aggregate { call, frame } => self.aggregate(call, &self.frames(*frame, order)?, input)?,
        })
    }

    fn offset(&self, column: usize, rows: i64, default: Option<usize>) -> Result<ArrayRef> {
        let count = self.batch.num_rows();
        let values = self.batch.column(column);
        let both = match default {
            None => values.clone(),
            Some(default) => concat(&[values.as_ref(), self.batch.column(default).as_ref()])?,
        };
        let pick = |row: usize| {
            let place = i64::try_from(row).unwrap_or(i64::MAX).saturating_add(rows);
            match usize::try_from(place).ok().filter(|place| *place < count) {
                Some(place) => u32::try_from(place).ok(),
                None => default.and_then(|_| u32::try_from(count + row).ok()),
            }
        };
        let picks: UInt32Array = (0..count).map(pick).collect();
        Ok(take(&both, &picks, None)?)
    }

    /// Where each row's frame begins and ends; an empty one begins where it ends.
    fn frames(&self, frame: BatchFrame, order: &[SortColumn]) -> Result<Vec<(usize, usize)>> {
        let count = self.batch.num_rows();
        let mut starts = vec![0; count];
        let mut ends = vec![count; count];
        match frame.unit {
            FrameUnit::Rows => {
                let place = |row: usize, rows: i128| -> usize {
                    let place = i128::try_from(row).unwrap_or(i128::MAX).saturating_add(rows).max(0);
                    usize::try_from(place).unwrap_or(usize::MAX).min(count)
                };
                for row in 0..count {
                    starts[row] = frame.start.map_or(0, |rows| place(row, rows));
                    ends[row] = frame.end.map_or(count, |rows| place(row, rows.saturating_add(1)));
                }
            }
            FrameUnit::Peers => {
                for row in 0..count {
                    starts[row] = frame.start.map_or(0, |_| self.first[row]);
                    ends[row] = frame.end.map_or(count, |_| self.end[row]);
                }
            }
            FrameUnit::Distance { scale } => {
                let Some(key) = order.first() else {
                    return Err(Error::internal("a RANGE with a distance has no order"));
                };
                let distance = OrderDistance::new(self.batch.column(key.column), key.descending, scale)?;
                if let Some(start) = frame.start {
                    self.starts(&distance, start, frame.end.is_none(), &mut starts);
                }
                if let Some(end) = frame.end {
                    self.ends(&distance, end, &mut ends);
                }
            }
        }
        Ok(starts.into_iter().zip(ends).map(|(start, end)| (start.min(end), end)).collect())
    }

    // The rows whose key is NULL are as far from each other as peers, and endlessly far from all others. Flink walks through the rows
    // once, and where those without a key come first it gets no further in two cases: a frame that ends before the current row stays
    // empty for the whole partition, and so does one that begins behind it and has no end.
    fn starts(&self, distance: &OrderDistance, bound: i128, is_endless: bool, starts: &mut [usize]) {
        let keys = distance.keys();
        if is_endless && bound > 0 && keys.start > 0 {
            let count = starts.len();
            starts.fill(count);
            return;
        }
        let (mut place, starts_end) = (keys.start, starts.len());
        for (row, start) in starts.iter_mut().enumerate() {
            if !keys.contains(&row) {
                *start = if bound <= 0 { self.first[row] } else { self.end[row] };
                continue;
            }
            while place < keys.end && distance.compare(place, row, bound).is_lt() {
                place += 1;
            }
            // Nothing is far enough: what has no key behind the others is not either.
            *start = if place == keys.end { starts_end } else { place };
        }
    }

    fn ends(&self, distance: &OrderDistance, bound: i128, ends: &mut [usize]) {
        let keys = distance.keys();
        if bound < 0 && keys.start > 0 {
            ends.fill(0);
            return;
        }
        let mut place = keys.start;
        for (row, end) in ends.iter_mut().enumerate() {
            if !keys.contains(&row) {
                *end = if bound >= 0 { self.end[row] } else { place.min(self.first[row]) };
                continue;
            }
            while place < keys.end && distance.compare(place, row, bound).is_le() {
                place += 1;
            }
            *end = place;
        }
    }

    fn aggregate(&self, call: &AggregateCall, frames: &[(usize, usize)], input: &Schema) -> Result<ArrayRef> {
        let spec = AggregateSpec::new(&[], std::slice::from_ref(call), input, true)?;
        let mut groups = Groups::new(&spec, 0)?;
        let slot = groups.restore_slot(&[]);
        // The rows in the order in which they come into the frame and leave it; the first one goes through once, for the result of none.
        let (mut rows, mut kinds): (Vec<u32>, Vec<RowKind>) = (vec![0, 0], vec![RowKind::Insert, RowKind::Delete]);
        let mut results = Vec::with_capacity(self.batch.num_rows());
        let (mut low, mut high) = (0, 0);
        for &(start, end) in frames {
            while high < end {
                rows.push(u32::try_from(high).unwrap_or(u32::MAX));
                kinds.push(RowKind::Insert);
                high += 1;
            }
            while low < start.min(high) {
                rows.push(u32::try_from(low).unwrap_or(u32::MAX));
                kinds.push(RowKind::Delete);
                low += 1;
            }
            results.push(u32::try_from(rows.len() - 1).unwrap_or(u32::MAX));
        }
        let picked = UInt32Array::from(rows);
        let columns = self.batch.columns().iter().map(|c| take(c, &picked, None)).collect::<Result<_, _>>()?;
        let batch = RecordBatch::try_new(self.batch.schema(), columns)?;
        let mut prepared = Vec::new();
        spec.prepare(&batch, &mut prepared)?;
        let every: Vec<u32> = (0..u32::try_from(picked.len()).unwrap_or(u32::MAX)).collect();
        let slots = vec![slot; picked.len()];
        let kinds = kinds.into();
        let mut plan = Plan::default();
        let planned = PlannedRows {
            rows: &every,
            slots: &slots,
            kinds: Some(&kinds),
            now_ms: 0,
            has_ttl: false,
            keeps_steps: true,
        };
        groups.plan(planned, &mut plan);
        let mut traces = spec.traces();
        groups.apply(&plan, &prepared, 0, Some(&mut traces));
        let after = match traces.first() {
            Some(trace) => trace.after.to_array(spec.data_type(0))?,
            None => return Err(Error::internal("an aggregate of an OVER window has no result")),
        };
        Ok(take(&after, &UInt32Array::from(results), None)?)
    }
}

impl Operator for BatchOver {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, _: &mut Output) -> Result<()> {
        self.sorted.apply(&batch, context.now_ms)
    }

    fn advance(&mut self, watermark: i64, _: &EvalContext, output: &mut Output) -> Result<i64> {
        if watermark == WATERMARK_MAX {
            // By key, so that the order does not depend on where the input was cut.
            let mut slots: Vec<u32> = self.sorted.rows.keys.used().collect();
            slots.sort_by(|a, b| self.sorted.rows.keys.key(*a).cmp(self.sorted.rows.keys.key(*b)));
            for slot in slots {
                self.emit(slot, output)?;
                self.sorted.rows.release(slot);
            }
        }
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
    use crate::operators::testing::{Event, change, run, schema, show, string};
    use wiesel_core::{DataType, Field, TypeKind};
    use wiesel_expr::AggregateFunction;
    use wiesel_plan::SortColumn;

    fn drive(calls: Vec<BatchOverCall>, kinds: &[TypeKind], events: &[Event]) -> Vec<String> {
        let input = schema(&[string(), TypeKind::BigInt]);
        let mut fields = input.fields().to_vec();
        fields.extend(kinds.iter().map(|kind| Field::new("w", DataType::new(kind.clone()))));
        let output = Schema::new(fields);
        let order = vec![SortColumn { column: 1, descending: false, nulls_first: true }];
        let node = BatchOverNode { partition: vec![0], order, calls };
        let new = || -> Box<dyn Operator> { Box::new(BatchOver::new(&node, &input, &output).unwrap()) };
        show(&run(&new, &input, &output, 0, events))
    }

    fn rows(texts: &[&str]) -> Event {
        Event::Rows(texts.iter().map(|text| change(text)).collect())
    }

    #[test]
    fn ranks_count_peers_and_retracted_rows_are_gone() {
        let calls =
            vec![BatchOverCall::RowNumber, BatchOverCall::Rank, BatchOverCall::DenseRank, BatchOverCall::Ntile(2)];
        let kinds = [TypeKind::BigInt, TypeKind::BigInt, TypeKind::BigInt, TypeKind::Int];
        let events = [
            rows(&["+I a 5", "+I a 3", "+I b 1", "+I a 9", "+I a 3"]),
            Event::Restart(false),
            rows(&["-D a 9", "+I a 7"]),
            Event::Advance(i64::MAX, 0),
        ];
        let expected = ["+I a 3 1 1 1 1", "+I a 3 2 1 1 1", "+I a 5 3 3 2 2", "+I a 7 4 4 3 2", "+I b 1 1 1 1 1"];
        assert_eq!(drive(calls, &kinds, &events), expected);
    }

    #[test]
    fn frames_look_back_and_ahead() {
        let aggregate = |function, args: &[usize], frame| BatchOverCall::Aggregate {
            call: AggregateCall {
                function,
                args: args.to_vec(),
                distinct: false,
                filter: None,
                data_type: DataType::new(TypeKind::BigInt),
            },
            frame,
        };
        let around = BatchFrame { unit: FrameUnit::Rows, start: Some(-1), end: Some(1) };
        let ahead = BatchFrame { unit: FrameUnit::Rows, start: Some(1), end: None };
        let peers = BatchFrame { unit: FrameUnit::Peers, start: None, end: Some(0) };
        let calls = vec![
            aggregate(AggregateFunction::Sum, &[1], around),
            aggregate(AggregateFunction::Max, &[1], ahead),
            aggregate(AggregateFunction::CountStar, &[], peers),
            BatchOverCall::Offset { column: 1, rows: 1, default: None, data_type: DataType::new(TypeKind::BigInt) },
            BatchOverCall::Offset { column: 1, rows: -2, default: Some(1), data_type: DataType::new(TypeKind::BigInt) },
        ];
        let kinds = vec![TypeKind::BigInt; 5];
        let events = [rows(&["+I a 1", "+I a 2", "+I a 2", "+I a 8", "+I b NULL"]), Event::Advance(i64::MAX, 0)];
        let expected = [
            "+I a 1 3 8 1 2 1",
            "+I a 2 5 8 3 2 2",
            "+I a 2 12 8 3 8 1",
            "+I a 8 10 NULL 4 NULL 2",
            "+I b NULL NULL NULL 1 NULL NULL",
        ];
        assert_eq!(drive(calls, &kinds, &events), expected);
    }
}
