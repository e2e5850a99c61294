//! OVER aggregates: each row with the aggregates of the rows before it, in the order of time.
//!
//! ```text
//! rows in --late?--> pending (by key and time) --watermark--> add to the accumulators, take back what left the frame --> row, results
//!                                                               '--> history (bounded frames only), until it is taken back
//! ```
//! - **Input**: inserts. **Output**: +I, the input's columns and then the results.
//! - **Event time** emits a key's rows in order of time when the watermark has passed them; rows of one time in the order they came. RANGE
//!   adds all rows of one time and then gives each the same result, ROWS goes row by row. **Processing time** emits at once; a RANGE of
//!   an interval at the step's end, when all rows of that millisecond are there.
//! - **State**: pending rows, the accumulators of each key, for bounded frames the rows of the frame, for LAG the last values.
//! - **Late rows** are dropped and counted, by Flink's rules: behind the watermark when the frame is unbounded, else at or before the
//!   last time for which a timer of the key fired. In Flink a bounded RANGE clears a key's state half a frame after the frame has passed,
//!   and the timers for that count as fired too; this operator keeps the same timers.
//! - **Drops state** of a key by those timers, or when a TTL is set and the key was silent and has no pending row.
//! - **Cost per row**: one encoding, an ordered insert and removal (two with a history), and the accumulators for the row and its removal.

use std::collections::{BTreeSet, VecDeque};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, DataType, Error, Result, RowKind, Schema};
use wiesel_expr::{AggregateCall, EvalContext};
use wiesel_plan::{OverCall, OverFrame, OverNode};

use super::ROWS_PER_BATCH;
use super::aggregate::{AggregateSpec, Groups, Plan, PlannedRows, Prepared, Trace};
use super::keyed_rows::{KeyedRows, Restored, arrival_of};
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MIN};
use crate::state::codec::{
    KeyBuffer, Reader, decode_column, decode_rows, encode_keys, encode_row, number_i64, order_i64, put_bytes,
    put_varint,
};

/// Behind the tables of the aggregates.
const ROWS_TABLES: u8 = 252;

// The first byte of a suffix; the time follows, and for rows the arrival number.
const PENDING: &[u8] = &[0];
const HISTORY: &[u8] = &[1];
const TIMER: &[u8] = &[2];

/// See the module's head.
pub struct Over {
    order: Option<usize>,
    frame: OverFrame,
    has_ttl: bool,
    input: Schema,
    schema: Schema,
    types: Vec<DataType>,
    spec: AggregateSpec,
    /// By call: which aggregate or which LAG.
    places: Vec<Place>,
    lags: Vec<Lag>,
    rows: KeyedRows,
    groups: Groups,
    /// By slot of `rows`.
    keys: Vec<Key>,
    /// Event time: when which slot must be looked at.
    timers: BTreeSet<(i64, u32)>,
    /// Processing time RANGE of an interval: slots with rows of this step.
    touched: Vec<u32>,
    watermark: i64,
    sequence: u64,
    aggregate_sequence: u64,
    late_rows: u64,
    work: Work,
    // Buffers that are used again for every batch.
    slots: Vec<u32>,
    row: Vec<u8>,
    prepared: Vec<Prepared>,
    plan: Plan,
    traces: Vec<Trace>,
}

#[derive(Clone, Copy)]
enum Place {
    Aggregate(usize),
    Lag(usize),
}

struct Lag {
    column: usize,
    offset: usize,
    default: Option<usize>,
    data_type: DataType,
    /// By slot of `rows`: the last values, the current one included.
    values: Vec<VecDeque<Box<[u8]>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Key {
    /// The last time for which a timer fired; Flink begins at 0, so rows of 1970 and before are late.
    last_fired: i64,
    /// When a bounded RANGE is cleared; 0 = not set.
    cleanup: i64,
    /// Rows in the history.
    history: u64,
}

/// Rows on their way through the accumulators.
#[derive(Default)]
struct Work {
    rows: KeyBuffer,
    slots: Vec<u32>,
    kinds: Vec<RowKind>,
    /// Rows to emit, and the step whose result they get.
    emitted: Vec<u32>,
    results: Vec<u32>,
}

impl Work {
    fn push(&mut self, slot: u32, kind: RowKind, row: &[u8]) -> u32 {
        self.rows.push(row);
        self.slots.push(slot);
        self.kinds.push(kind);
        u32::try_from(self.kinds.len() - 1).unwrap_or(u32::MAX)
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.slots.clear();
        self.kinds.clear();
        self.emitted.clear();
        self.results.clear();
    }
}

impl Over {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &OverNode, input: &Schema, schema: &Schema) -> Result<Self> {
        if let Some(order) = node.order {
            let is_ms = input
                .fields()
                .get(order)
                .is_some_and(|f| f.data_type.to_arrow() == ArrowType::Timestamp(TimeUnit::Millisecond, None));
            if !is_ms {
                return Err(Error::internal("an OVER window orders by a column that is no rowtime attribute"));
            }
        }
        if schema.len() != input.len() + node.calls.len() {
            return Err(Error::internal("an OVER window does not have one output column per call"));
        }
        let (mut calls, mut lags, mut places): (Vec<AggregateCall>, Vec<Lag>, Vec<Place>) = Default::default();
        for call in &node.calls {
            match call {
                OverCall::Aggregate(call) => {
                    places.push(Place::Aggregate(calls.len()));
                    calls.push(call.clone());
                }
                OverCall::Lag { column, offset, default, data_type } => {
                    if *column >= input.len() || default.is_some_and(|d| d >= input.len()) {
                        return Err(Error::internal("LAG reads a column that its input does not have"));
                    }
                    places.push(Place::Lag(lags.len()));
                    let offset = usize::try_from(*offset).unwrap_or(usize::MAX - 1);
                    let (column, default, data_type) = (*column, *default, data_type.clone());
                    lags.push(Lag { column, offset, default, data_type, values: Vec::new() });
                }
            }
        }
        let is_bounded = matches!(node.frame, OverFrame::Rows(Some(_)) | OverFrame::Range(Some(_)));
        if is_bounded && !lags.is_empty() {
            return Err(Error::internal("LAG has no frame"));
        }
        // A bounded RANGE over event time is cleared by timers of its own.
        let ttl_ms = if is_bounded && matches!(node.frame, OverFrame::Range(_)) { 0 } else { node.state_ttl_ms };
        let spec = AggregateSpec::new(&node.partition, &calls, input, is_bounded)?;
        Ok(Over {
            order: node.order,
            frame: node.frame,
            has_ttl: ttl_ms > 0,
            input: input.clone(),
            schema: schema.clone(),
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            groups: Groups::new(&spec, 0)?,
            traces: spec.traces(),
            spec,
            places,
            lags,
            rows: KeyedRows::new(&node.partition, input, ttl_ms, ROWS_TABLES)?,
            keys: Vec::new(),
            timers: BTreeSet::new(),
            touched: Vec::new(),
            watermark: WATERMARK_MIN,
            sequence: 0,
            aggregate_sequence: 0,
            late_rows: 0,
            work: Work::default(),
            slots: Vec::new(),
            row: Vec::new(),
            prepared: Vec::new(),
            plan: Plan::default(),
        })
    }

    fn grow(&mut self) {
        let slots = self.rows.keys.slot_count();
        self.keys.resize(slots, Key::default());
        for lag in &mut self.lags {
            lag.values.resize(slots, VecDeque::new());
        }
    }

    fn is_late(&self, slot: u32, time: i64) -> bool {
        match self.frame {
            OverFrame::Rows(None) | OverFrame::Range(None) => time <= self.watermark,
            _ => time <= self.keys[slot as usize].last_fired,
        }
    }

    // Keeps a row until its time has come.
    fn keep(&mut self, slot: u32, time: i64, now_ms: i64) {
        self.rows.put(slot, &[PENDING, &order_i64(time), &self.sequence.to_be_bytes()], &self.row);
        self.sequence += 1;
        if self.order.is_some() {
            self.timers.insert((time, slot));
            self.set_cleanup(slot, time);
        }
        self.rows.keys.mark(slot, now_ms);
    }

    // Flink's timers for clearing a bounded RANGE; they are kept as they matter for what is late.
    fn set_cleanup(&mut self, slot: u32, time: i64) {
        let OverFrame::Range(Some(preceding)) = self.frame else { return };
        let key = &mut self.keys[slot as usize];
        if key.cleanup == 0 || key.cleanup < time.saturating_add(preceding).saturating_add(1) {
            let cleanup = time.saturating_add(preceding.saturating_add(preceding / 2)).saturating_add(1);
            key.cleanup = cleanup;
            self.rows.put(slot, &[TIMER, &order_i64(cleanup)], &[]);
            self.timers.insert((cleanup, slot));
        }
    }

    /// A timer of a slot fires: what is pending for that time goes through.
    fn fire(&mut self, slot: u32, time: i64, now_ms: i64, output: &mut Output) -> Result<()> {
        let at = order_i64(time);
        if self.keys[slot as usize].cleanup != 0 {
            self.rows.remove(slot, &[TIMER, &at]);
            if self.keys[slot as usize].cleanup <= time {
                // Rows on their way belong to the key as it was.
                self.flush(now_ms, output)?;
                self.forget(slot);
                self.rows.release(slot);
                return Ok(());
            }
        }
        let prefix = [PENDING, &at].concat();
        let pending: Vec<(Vec<u8>, Box<[u8]>)> =
            self.rows.range(slot, &prefix).map(|(suffix, row)| (suffix.to_vec(), row.into())).collect();
        self.keys[slot as usize].last_fired = time;
        self.rows.keys.mark(slot, now_ms);
        if pending.is_empty() {
            return Ok(());
        }
        for (suffix, _) in &pending {
            self.rows.remove(slot, &[suffix]);
        }
        self.take_in(slot, time, &pending);
        if self.work.kinds.len() >= ROWS_PER_BATCH {
            self.flush(now_ms, output)?;
        }
        Ok(())
    }

    /// Rows of one time go through the accumulators.
    fn take_in(&mut self, slot: u32, time: i64, rows: &[(Vec<u8>, Box<[u8]>)]) {
        match self.frame {
            OverFrame::Rows(preceding) => {
                for (suffix, row) in rows {
                    if let Some(preceding) = preceding {
                        if self.keys[slot as usize].history > preceding {
                            self.take_back_first(slot);
                        }
                        self.remember(slot, &suffix[1..], row);
                    }
                    let step = self.work.push(slot, RowKind::Insert, row);
                    self.work.emitted.push(step);
                    self.work.results.push(step);
                }
            }
            OverFrame::Range(preceding) => {
                if let Some(preceding) = preceding {
                    while let Some((suffix, _)) = self.rows.first(slot, HISTORY) {
                        if time_of(suffix) >= time.saturating_sub(preceding) {
                            break;
                        }
                        self.take_back_first(slot);
                    }
                }
                let mut last = 0;
                for (suffix, row) in rows {
                    if preceding.is_some() {
                        self.remember(slot, &suffix[1..], row);
                    }
                    last = self.work.push(slot, RowKind::Insert, row);
                    self.work.emitted.push(last);
                }
                self.work.results.resize(self.work.emitted.len(), last);
            }
        }
    }

    fn remember(&mut self, slot: u32, place: &[u8], row: &[u8]) {
        self.rows.put(slot, &[HISTORY, place], row);
        self.keys[slot as usize].history += 1;
    }

    fn take_back_first(&mut self, slot: u32) {
        let Some((suffix, row)) = self.rows.first(slot, HISTORY) else { return };
        self.work.push(slot, RowKind::Delete, row);
        let suffix = suffix.to_vec();
        self.rows.remove(slot, &[&suffix]);
        self.keys[slot as usize].history -= 1;
    }

    /// Forgets what stands beside the rows of a slot.
    fn forget(&mut self, slot: u32) {
        self.keys[slot as usize] = Key::default();
        for lag in &mut self.lags {
            lag.values[slot as usize].clear();
        }
        if let Some(group) = self.groups.table.find(self.rows.keys.key(slot), self.rows.keys.hash(slot)) {
            self.groups.release(group);
        }
    }

    /// Runs the work through the accumulators and emits its rows.
    fn flush(&mut self, now_ms: i64, output: &mut Output) -> Result<()> {
        if self.work.kinds.is_empty() {
            return Ok(());
        }
        let count = self.work.kinds.len();
        let columns = decode_rows(&self.types, self.work.rows.iter())?;
        let batch = RecordBatch::try_new(self.input.arrow().clone(), columns)?;
        let groups: Vec<u32> = {
            let keys = &self.rows.keys;
            let (table, slots) = (&mut self.groups, &self.work.slots);
            slots.iter().map(|slot| table.restore_slot(keys.key(*slot))).collect()
        };
        self.spec.prepare(&batch, &mut self.prepared)?;
        self.plan.clear();
        let every: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
        let kinds = self.work.kinds.clone().into();
        let rows = PlannedRows {
            rows: &every,
            slots: &groups,
            kinds: Some(&kinds),
            now_ms,
            has_ttl: false,
            keeps_steps: true,
        };
        self.groups.plan(rows, &mut self.plan);
        for trace in &mut self.traces {
            trace.before.clear();
            trace.after.clear();
        }
        self.groups.apply(&self.plan, &self.prepared, self.aggregate_sequence, Some(&mut self.traces));
        self.aggregate_sequence += count as u64;
        // A row that is taken back and was never there makes no step, so rows and steps are matched by number.
        let mut step_of = vec![0; count];
        for (index, step) in (0_u32..).zip(&self.plan.steps) {
            step_of[step.row as usize] = index;
        }
        let results: Vec<u32> = self.work.results.iter().map(|row| step_of[*row as usize]).collect();
        let (emitted, results) = (UInt32Array::from(self.work.emitted.clone()), UInt32Array::from(results));
        let mut out: Vec<ArrayRef> =
            batch.columns().iter().map(|column| take(column, &emitted, None)).collect::<Result<_, _>>()?;
        let mut lagged = self.lag(&batch)?;
        for place in &self.places {
            out.push(match place {
                Place::Aggregate(index) => {
                    let after = self.traces[*index].after.to_array(self.spec.data_type(*index))?;
                    take(&after, &results, None)?
                }
                Place::Lag(index) => std::mem::replace(&mut lagged[*index], new_null()),
            });
        }
        self.groups.release_empty(&mut self.plan.emptied);
        let rows = RecordBatch::try_new(self.schema.arrow().clone(), out)?;
        for start in (0..rows.num_rows()).step_by(ROWS_PER_BATCH) {
            output.emit(ChangeBatch::inserts(rows.slice(start, ROWS_PER_BATCH.min(rows.num_rows() - start))));
        }
        self.work.clear();
        Ok(())
    }

    /// The results of every LAG for the emitted rows.
    fn lag(&mut self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.lags.len());
        for lag in &mut self.lags {
            let (mut values, mut defaults) = (KeyBuffer::default(), KeyBuffer::default());
            encode_keys(std::slice::from_ref(batch.column(lag.column)), batch.num_rows(), &mut values)?;
            if let Some(default) = lag.default {
                encode_keys(std::slice::from_ref(batch.column(default)), batch.num_rows(), &mut defaults)?;
            }
            // The frame is unbounded, so every row comes in and none is taken back.
            let mut after = KeyBuffer::default();
            for (row, slot) in self.work.slots.iter().enumerate() {
                let kept = &mut lag.values[*slot as usize];
                kept.push_back(values.key(row).into());
                if kept.len() > lag.offset + 1 {
                    kept.pop_front();
                }
                match kept.front() {
                    Some(value) if kept.len() > lag.offset => after.push(value),
                    _ if lag.default.is_some() => after.push(defaults.key(row)),
                    _ => after.push(&[0]),
                }
            }
            let mut readers: Vec<Reader<'_>> =
                self.work.results.iter().map(|row| Reader::new(after.key(*row as usize))).collect();
            columns.push(decode_column(&lag.data_type, &mut readers)?);
        }
        Ok(columns)
    }

    fn has_pending(&self, slot: u32) -> bool {
        self.rows.first(slot, PENDING).is_some()
    }
}

fn new_null() -> ArrayRef {
    std::sync::Arc::new(arrow_array::NullArray::new(0))
}

/// The time in a suffix.
fn time_of(suffix: &[u8]) -> i64 {
    suffix.get(1..9).and_then(|bytes| bytes.first_chunk::<8>()).map_or(i64::MIN, |bytes| number_i64(*bytes))
}

impl Operator for Over {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        if batch.kinds.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != RowKind::Insert)) {
            return Err(Error::internal("an OVER window gets changes other than +I"));
        }
        let times = match self.order {
            None => None,
            Some(column) => {
                let times = batch.rows.column(column).as_primitive::<TimestampMillisecondType>();
                if times.null_count() > 0 {
                    let name = batch.rows.schema_ref().field(column).name().clone();
                    return Err(Error::data(format!("the time attribute `{name}` of an OVER window is NULL"))
                        .hint("filter rows without a time before, or give them one"));
                }
                Some(times.clone())
            }
        };
        let now_ms = context.now_ms;
        let mut slots = std::mem::take(&mut self.slots);
        self.rows.slots(&batch.rows, &mut slots)?;
        self.grow();
        let is_at_once = self.order.is_none() && !matches!(self.frame, OverFrame::Range(Some(_)));
        for (row, &slot) in slots.iter().enumerate() {
            if self.has_ttl && self.rows.keys.is_expired(slot, now_ms) && !self.has_pending(slot) {
                self.flush(now_ms, output)?;
                self.rows.clear(slot);
                self.forget(slot);
            }
            let time = times.as_ref().map_or(now_ms, |times| times.value(row));
            if self.order.is_some() && self.is_late(slot, time) {
                self.late_rows += 1;
                continue;
            }
            self.row.clear();
            encode_row(batch.rows.columns(), row, &mut self.row)?;
            if is_at_once {
                let suffix = [PENDING, &order_i64(time), &self.sequence.to_be_bytes()].concat();
                self.sequence += 1;
                let bytes: Box<[u8]> = self.row.as_slice().into();
                self.take_in(slot, time, &[(suffix, bytes)]);
                self.rows.keys.mark(slot, now_ms);
                if self.work.kinds.len() >= ROWS_PER_BATCH {
                    self.flush(now_ms, output)?;
                }
            } else {
                self.keep(slot, time, now_ms);
                if self.order.is_none() {
                    self.touched.push(slot);
                }
            }
        }
        self.slots = slots;
        self.flush(now_ms, output)
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        let now_ms = context.now_ms;
        while let Some(&(time, slot)) = self.timers.first().filter(|(time, _)| *time <= watermark) {
            self.timers.pop_first();
            self.fire(slot, time, now_ms, output)?;
        }
        let mut touched = std::mem::take(&mut self.touched);
        let mut seen = BTreeSet::new();
        for slot in touched.drain(..).filter(|slot| seen.insert(*slot)) {
            // All rows of this step, whatever their arrival numbers; a restart may have left some of an earlier time.
            while let Some((suffix, _)) = self.rows.first(slot, PENDING) {
                let time = time_of(suffix);
                self.fire(slot, time, now_ms, output)?;
            }
        }
        self.touched = touched;
        self.flush(now_ms, output)?;
        self.watermark = watermark;
        if self.has_ttl {
            for slot in self.rows.expired(now_ms) {
                if !self.has_pending(slot) {
                    self.forget(slot);
                    self.rows.release(slot);
                }
            }
        }
        Ok(watermark)
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.groups.snapshot(full, writer);
        let (keys, lags) = (&self.keys, &self.lags);
        self.rows.snapshot(full, writer, |slot, out| {
            let key = keys[slot as usize];
            out.extend(key.last_fired.to_le_bytes());
            out.extend(key.cleanup.to_le_bytes());
            for lag in lags {
                let values = &lag.values[slot as usize];
                put_varint(values.len() as u64, out);
                values.iter().for_each(|value| put_bytes(value, out));
            }
        })
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        if table < ROWS_TABLES {
            let sequence = self.groups.restore(&self.spec, table, key, value)?;
            self.aggregate_sequence = self.aggregate_sequence.max(sequence + 1);
            return Ok(());
        }
        match self.rows.restore(table, key, value)? {
            Restored::Key(slot, mut reader) => {
                self.grow();
                self.keys[slot as usize].last_fired = reader.i64()?;
                self.keys[slot as usize].cleanup = reader.i64()?;
                for lag in &mut self.lags {
                    let values = &mut lag.values[slot as usize];
                    for _ in 0..reader.varint()? {
                        values.push_back(reader.bytes()?.into());
                    }
                }
            }
            Restored::Row(suffix) => {
                self.grow();
                if !suffix.starts_with(TIMER) {
                    self.sequence = self.sequence.max(arrival_of(suffix)? + 1);
                }
            }
        }
        Ok(())
    }

    fn restored(&mut self, watermark: i64) -> Result<()> {
        self.watermark = watermark;
        for slot in self.rows.keys.used() {
            let (mut history, mut has_pending) = (0, false);
            for (suffix, _) in self.rows.range(slot, &[]) {
                if suffix.starts_with(HISTORY) {
                    history += 1;
                } else if self.order.is_some() {
                    self.timers.insert((time_of(suffix), slot));
                } else {
                    has_pending = true;
                }
            }
            self.keys[slot as usize].history = history;
            if has_pending {
                self.touched.push(slot);
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let lags = self.lags.iter().flat_map(|lag| &lag.values);
        self.rows.bytes()
            + self.groups.bytes()
            + self.keys.capacity() * size_of::<Key>()
            + self.timers.len() * 2 * size_of::<(i64, u32)>()
            + lags.map(|v| v.iter().map(|value| value.len()).sum::<usize>() + v.capacity() * 16).sum::<usize>()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{Change, Event, change, run, schema, show, string};
    use proptest::prelude::*;
    use wiesel_core::{Field, TypeKind, Value};
    use wiesel_expr::AggregateFunction;

    // Columns: key, time, value.
    fn input() -> Schema {
        schema(&[string(), TypeKind::Timestamp(3), TypeKind::BigInt])
    }

    fn aggregate(function: AggregateFunction, args: &[usize]) -> OverCall {
        let kind = DataType::new(TypeKind::BigInt);
        OverCall::Aggregate(AggregateCall {
            function,
            args: args.to_vec(),
            distinct: false,
            filter: None,
            data_type: kind,
        })
    }

    fn lag(offset: u64, default: Option<usize>) -> OverCall {
        OverCall::Lag { column: 2, offset, default, data_type: DataType::new(TypeKind::BigInt) }
    }

    fn node(order: Option<usize>, frame: OverFrame, calls: Vec<OverCall>) -> OverNode {
        OverNode { partition: vec![0], order, frame, calls, state_ttl_ms: 0 }
    }

    fn drive(node: &OverNode, events: &[Event]) -> Vec<Change> {
        let mut fields = input().fields().to_vec();
        fields.extend(node.calls.iter().map(|_| Field::new("w", DataType::new(TypeKind::BigInt))));
        let output = Schema::new(fields);
        let new = || -> Box<dyn Operator> { Box::new(Over::new(node, &input(), &output).unwrap()) };
        run(&new, &input(), &output, 0, events)
    }

    fn rows(texts: &[&str]) -> Event {
        Event::Rows(texts.iter().map(|text| change(&format!("+I {text}"))).collect())
    }

    fn sum_and_count() -> Vec<OverCall> {
        vec![aggregate(AggregateFunction::Sum, &[2]), aggregate(AggregateFunction::CountStar, &[])]
    }

    #[test]
    fn rows_of_a_key_come_out_in_order_of_time_when_the_watermark_has_passed() {
        let node = node(Some(1), OverFrame::Rows(None), sum_and_count());
        let events = [
            rows(&["a @3 1", "b @2 10", "a @1 2"]),
            Event::Advance(2, 0),
            Event::Restart(false),
            rows(&["a @2 99", "a @3 NULL", "b @9 20"]),
            Event::Advance(9, 0),
        ];
        let expected = ["+I a @1 2 2 1", "+I b @2 10 10 1", "+I a @3 1 3 2", "+I a @3 NULL 3 3", "+I b @9 20 30 2"];
        assert_eq!(show(&drive(&node, &events)), expected);
    }

    #[test]
    fn range_gives_rows_of_one_time_one_result() {
        let node = node(Some(1), OverFrame::Range(Some(2)), sum_and_count());
        let events = [rows(&["a @1 1", "a @3 2", "a @3 4", "a @4 8", "a @7 16"]), Event::Advance(9, 0)];
        let expected = ["+I a @1 1 1 1", "+I a @3 2 7 3", "+I a @3 4 7 3", "+I a @4 8 14 3", "+I a @7 16 16 1"];
        assert_eq!(show(&drive(&node, &events)), expected);
    }

    #[test]
    fn a_bounded_frame_drops_what_is_not_behind_the_last_fired_time_of_its_key() {
        let node = node(Some(1), OverFrame::Rows(Some(1)), sum_and_count());
        let events = [
            rows(&["a @3 1"]),
            Event::Advance(8, 0),
            // Behind the watermark, but a fired only up to 3, and b not at all.
            rows(&["a @3 2", "a @4 4", "b @1 8", "b @0 16"]),
            Event::Restart(true),
            Event::Advance(8, 0),
        ];
        assert_eq!(show(&drive(&node, &events)), ["+I a @3 1 1 1", "+I b @1 8 8 1", "+I a @4 4 5 2"]);
    }

    #[test]
    fn a_bounded_range_is_cleared_half_a_frame_after_it_has_passed() {
        let node = node(Some(1), OverFrame::Range(Some(20)), sum_and_count());
        let events = [
            rows(&["a @10 1"]),
            // The timer for clearing stands at 10 + 20 + 10 + 1.
            Event::Advance(40, 0),
            rows(&["a @25 2"]),
            Event::Restart(false),
            Event::Advance(41, 0),
            rows(&["a @26 4", "a @5 8"]),
            Event::Advance(50, 0),
        ];
        // The row at 25 moved the timer, but the first one counts as fired: 26 is not behind it.
        assert_eq!(show(&drive(&node, &events)), ["+I a @10 1 1 1", "+I a @25 2 3 2"]);
    }

    #[test]
    fn processing_time_gives_results_at_once_and_lag_looks_back() {
        let calls = vec![aggregate(AggregateFunction::Sum, &[2]), lag(1, None), lag(2, Some(2))];
        let node = node(None, OverFrame::Range(None), calls);
        let events = [rows(&["a @0 1", "b @0 2"]), Event::Restart(false), rows(&["a @0 4", "a @0 8"])];
        let expected = ["+I a @0 1 1 NULL 1", "+I b @0 2 2 NULL 2", "+I a @0 4 5 1 4", "+I a @0 8 13 4 1"];
        assert_eq!(show(&drive(&node, &events)), expected);
    }

    #[test]
    fn a_range_of_processing_time_ends_with_the_step() {
        let node = node(None, OverFrame::Range(Some(5)), sum_and_count());
        let events = [
            rows(&["a @0 1", "a @0 2"]),
            Event::Advance(0, 4),
            rows(&["a @0 4"]),
            Event::Advance(0, 7),
            rows(&["a @0 8"]),
            Event::Restart(false),
            Event::Advance(0, 8),
        ];
        let expected = ["+I a @0 1 3 2", "+I a @0 2 3 2", "+I a @0 4 7 3", "+I a @0 8 12 2"];
        assert_eq!(show(&drive(&node, &events)), expected);
    }

    #[test]
    fn a_key_that_was_silent_for_its_time_to_live_begins_anew() {
        let node = OverNode { state_ttl_ms: 10, ..node(None, OverFrame::Rows(None), sum_and_count()) };
        let events =
            [rows(&["a @0 1"]), Event::Advance(0, 9), rows(&["a @0 2"]), Event::Advance(0, 19), rows(&["a @0 4"])];
        assert_eq!(show(&drive(&node, &events)), ["+I a @0 1 1 1", "+I a @0 2 3 2", "+I a @0 4 4 1"]);
    }

    /// The results of ordered rows, each computed from the rows before it.
    fn reference(rows: &[(i64, Option<i64>)], frame: OverFrame) -> Vec<(Value, i64, Value)> {
        let frame_of = |row: usize| -> Vec<Option<i64>> {
            let in_frame = |other: usize| match frame {
                OverFrame::Rows(preceding) => other <= row && preceding.is_none_or(|n| (row - other) as u64 <= n),
                OverFrame::Range(preceding) => {
                    rows[other].0 <= rows[row].0 && preceding.is_none_or(|ms| rows[row].0 - rows[other].0 <= ms)
                }
            };
            (0..rows.len()).filter(|other| in_frame(*other)).map(|other| rows[other].1).collect()
        };
        (0..rows.len())
            .map(|row| {
                let values = frame_of(row);
                let some: Vec<i64> = values.iter().flatten().copied().collect();
                let or_null = |value: Option<i64>| value.map_or(Value::Null, Value::Int);
                let sum = (!some.is_empty()).then(|| some.iter().sum());
                (or_null(sum), i64::try_from(values.len()).unwrap(), or_null(some.iter().max().copied()))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_gives_what_the_rows_before_say(
            steps in prop::collection::vec((1_i64..4, prop::option::of(-9_i64..9), 0_usize..2, 0_u8..4), 1..40),
            frame in prop::sample::select(vec![
                OverFrame::Rows(None), OverFrame::Rows(Some(0)), OverFrame::Rows(Some(2)),
                OverFrame::Range(None), OverFrame::Range(Some(0)), OverFrame::Range(Some(1000)),
            ]),
        ) {
            let calls = vec![
                aggregate(AggregateFunction::Sum, &[2]),
                aggregate(AggregateFunction::CountStar, &[]),
                aggregate(AggregateFunction::Max, &[2]),
            ];
            let node = node(Some(1), frame, calls);
            let mut by_key: [Vec<(i64, Option<i64>)>; 2] = Default::default();
            let (mut events, mut time) = (Vec::new(), 1);
            for (gap, value, key, what) in steps {
                // Two rows of one time in a row happen too.
                time += gap / 2;
                let text = value.map_or("NULL".to_owned(), |v| v.to_string());
                by_key[key].push((time, value));
                events.push(rows(&[&format!("k{key} @{time} {text}")]));
                if what > 1 {
                    time += 1;
                    events.push(Event::Advance(time - 1, 0));
                }
                if what > 2 {
                    events.push(Event::Restart(time % 2 == 0));
                }
            }
            events.push(Event::Advance(i64::MAX, 0));
            let out = drive(&node, &events);
            for (key, rows) in by_key.iter().enumerate() {
                let own = Value::String(format!("k{key}"));
                let found: Vec<_> = out.iter().filter(|(_, row)| row[0] == own).map(|(_, row)| row[1..].to_vec()).collect();
                let expected: Vec<_> = rows
                    .iter()
                    .zip(reference(rows, frame))
                    .map(|((time, value), (sum, count, max))| {
                        vec![Value::Timestamp(*time), value.map_or(Value::Null, Value::Int), sum, Value::Int(count), max]
                    })
                    .collect();
                prop_assert_eq!(found, expected, "{:?}", frame);
            }
        }
    }
}
