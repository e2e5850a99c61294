//! Aggregation per window and key: TUMBLE, HOP and CUMULATE, as table functions and as the legacy GROUP BY, and again over the windows of
//! a windowed input (`window_end` is then the slice). SESSION is in `session_aggregate.rs`.
//!
//! - **Input**: any changelog; rows go into the slice of their time attribute, or of the step's clock for processing time.
//! - **Output**: the keys, the aggregates, the window's properties; one +I per key and window, never taken back.
//! - **State**: one table of groups per slice (a whole window for TUMBLE), dropped as a whole behind its last window, and written into a
//!   checkpoint by and by; one that is dropped before it is written leaves when it is. The key of an
//!   entry in a checkpoint is the slice's end, then the group's key. A slice may lie in the store, with the groups that rows asked for
//!   since in memory; what rows have not asked for is read when the window fires, one virtual node after the other.
//! - **Emits** in the order of window ends, when the watermark reaches the last millisecond of a window, or the clock its end. A HOP
//!   window merges its slices then; each row was added to one slice only. Windows without rows, or with as many
//!   taken back as came, give nothing. A window of which a slice lies in the store fires in several calls of `advance`, so that its rows
//!   need not be in memory at once; no row comes in between. At the end of bounded input event-time windows fire (the watermark is at its maximum), processing-time windows do not.
//! - **Late rows** (the last window that holds them has fired, by the watermark at the start of the step) are dropped and counted. A row
//!   that is late for some of its windows counts in the others. The legacy form does the same: its panes are these slices.
//! - **Cost per row**: key encoding, one hash probe, a few nanoseconds per aggregate; rows are sorted by slice when a batch mixes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, TimestampMillisecondArray};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::{ChangeBatch, Error, Result, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::{WindowAggregateNode, WindowProperty};

use super::ROWS_PER_BATCH;
use super::aggregate::{AggregateSpec, FoldBuffers, FoldedRows, Groups, Prepared, Values, check_version};
use super::sliced::Sliced;
use super::window::Windows;
use super::window_parts::WindowParts;
use crate::operator::{Operator, OperatorContext, Output, StateWriter, WATERMARK_MIN};
use crate::state::codec::{Reader, STATE_VERSION, decode_keys, number_i64, order_i64};
use crate::state::store::StateStore;
use crate::state::vnode::KeyHasher;

/// The state table that holds how far processing-time windows have fired, once per vnode.
const PROGRESS_TABLE: u8 = u8::MAX;

/// See the module's head.
pub struct WindowAggregate {
    spec: AggregateSpec,
    schema: Schema,
    properties: Vec<WindowProperty>,
    windows: Windows,
    time: WindowTime,
    hasher: KeyHasher,
    /// The tables of a checkpoint that hold groups.
    tables: Vec<u8>,
    /// By the end of the slice. Each belongs to at least one window that has not fired.
    slices: BTreeMap<i64, Slice>,
    /// Slices that a checkpoint holds and that are gone.
    dropped: Vec<i64>,
    /// Slices of which a checkpoint has still to write something, and those of them that are gone.
    unwritten: Vec<i64>,
    leaving: Vec<Groups>,
    /// How far a window is told that lies in the store, and its groups in memory: by virtual node, then by slice, their slots.
    parts: WindowParts,
    in_memory: Vec<(u8, i64, u32)>,
    /// Windows whose last instant is not behind this one have fired: the watermark, or the clock minus 1 ms.
    progress: i64,
    /// No window that ends before this one is left to fire.
    next_end: i64,
    /// Windows that end here or before have fired, and those that end at `open_from` or later have not; between them nobody looked yet.
    fired_until: i64,
    open_from: i64,
    late_rows: u64,
    sequence: u64,
    // Buffers that are used again for every batch.
    slice_ends: Vec<i64>,
    rows: Vec<u32>,
    prepared: Vec<Prepared>,
    buffers: FoldBuffers,
}

struct Slice {
    groups: Groups,
    is_stored: bool,
}

/// Where a row's time comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowTime {
    pub(super) column: usize,
    pub(super) is_event_time: bool,
    /// The legacy windows drop rows without a time, the table functions fail.
    pub(super) drops_null: bool,
}

impl WindowTime {
    /// Checks that the time attribute, when it is read, is in milliseconds.
    pub(super) fn check(self, input: &Schema) -> Result<()> {
        let field = input.fields().get(self.column);
        let is_ms = field.is_some_and(|f| f.data_type.to_arrow() == ArrowType::Timestamp(TimeUnit::Millisecond, None));
        if !self.is_event_time || is_ms {
            return Ok(());
        }
        let found = field.map_or_else(|| "no column".to_owned(), |f| format!("`{}` {}", f.name, f.data_type));
        Err(Error::internal(format!(
            "a window needs a time attribute TIMESTAMP(3) or TIMESTAMP_LTZ(3) at column {}, found {found}",
            self.column
        )))
    }

    /// The times of a batch's rows, as far as they come from a column.
    pub(super) fn column(self, batch: &RecordBatch) -> Result<&TimestampMillisecondArray> {
        let times = batch.column(self.column).as_primitive::<TimestampMillisecondType>();
        if !self.drops_null && times.null_count() > 0 {
            return Err(Error::data(format!(
                "the time attribute `{}` of a window is NULL",
                batch.schema_ref().field(self.column).name()
            ))
            .hint("filter rows without a time before the window, or give them one"));
        }
        Ok(times)
    }
}

impl WindowAggregate {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &WindowAggregateNode, input: &Schema, schema: &Schema, context: &OperatorContext) -> Result<Self> {
        let spec = AggregateSpec::new(&node.keys, &node.aggregates, input, node.input_retracts)?;
        let time = WindowTime {
            column: node.window.time_column,
            is_event_time: node.window.is_event_time,
            drops_null: node.is_legacy,
        };
        time.check(input)?;
        let tables = Groups::new(&spec, 0)?.tables();
        if schema.len() != node.keys.len() + spec.len() + node.properties.len() {
            return Err(Error::internal(format!(
                "a window aggregate of {} keys, {} aggregates and {} properties has {} output columns",
                node.keys.len(),
                spec.len(),
                node.properties.len(),
                schema.len()
            )));
        }
        Ok(WindowAggregate {
            spec,
            schema: schema.clone(),
            properties: node.properties.clone(),
            windows: Windows::new(&node.window)?,
            time,
            tables,
            hasher: KeyHasher::new(node.keys.clone()),
            slices: BTreeMap::new(),
            dropped: Vec::new(),
            unwritten: Vec::new(),
            leaving: Vec::new(),
            parts: WindowParts::new(context, !node.keys.is_empty()),
            in_memory: Vec::new(),
            progress: WATERMARK_MIN,
            next_end: i64::MIN,
            fired_until: i64::MIN,
            open_from: i64::MAX,
            late_rows: 0,
            sequence: 0,
            slice_ends: Vec::new(),
            rows: Vec::new(),
            prepared: Vec::new(),
            buffers: FoldBuffers::default(),
        })
    }

    /// Finds the slice of every row; what remains in `rows` is not late, and in the order of slices.
    fn assign_slices(&mut self, batch: &RecordBatch, row_count: u32, now_ms: i64) -> Result<()> {
        self.slice_ends.clear();
        self.rows.clear();
        if !self.time.is_event_time && !self.windows.is_attached() {
            // A clock that was set back must not reopen windows.
            let slice_end = self.windows.slice_end(now_ms.max(self.progress.saturating_add(1)));
            if self.is_open(slice_end) {
                self.slice_ends.resize(row_count as usize, slice_end);
                self.rows.extend(0..row_count);
            }
            return Ok(());
        }
        let times = self.time.column(batch)?;
        let (mut last, mut last_is_open) = (i64::MIN, false);
        let mut is_sorted = true;
        for (row, time) in (0..row_count).zip(times.values()) {
            if times.is_null(row as usize) {
                self.late_rows += 1;
                self.slice_ends.push(i64::MIN);
                continue;
            }
            let slice_end = self.windows.slice_end(*time);
            if slice_end != last {
                is_sorted &= slice_end > last;
                last = slice_end;
                last_is_open = self.is_open(slice_end);
            }
            self.slice_ends.push(slice_end);
            if last_is_open {
                self.rows.push(row);
            } else if self.windows.last_window_end(slice_end) >= self.windows.first_window_end(slice_end) {
                self.late_rows += 1;
            }
        }
        if !is_sorted {
            let slice_ends = &self.slice_ends;
            self.rows.sort_by_key(|row| slice_ends[*row as usize]);
        }
        Ok(())
    }

    /// Whether a window that holds the slice is still to fire. What is known of other ends spares the look into the zone.
    fn is_open(&mut self, slice_end: i64) -> bool {
        let last = self.windows.last_window_end(slice_end);
        if last < self.windows.first_window_end(slice_end) || last <= self.fired_until {
            return false;
        }
        if last >= self.open_from {
            return true;
        }
        let is_open = self.windows.last_instant(last) > self.progress;
        if is_open {
            self.open_from = last;
        } else {
            self.fired_until = last;
        }
        is_open
    }

    /// The end of the next window to fire that holds rows.
    fn next_window_end(&self) -> Option<i64> {
        let (slice_end, _) = self.slices.first_key_value()?;
        self.windows
            .window_ends(*slice_end)
            .find(|end| *end >= self.next_end && self.windows.last_instant(*end) > self.progress)
    }

    /// Tells a window; returns whether that was all of it.
    fn fire(&mut self, window_end: i64, output: &mut Output) -> Result<bool> {
        let first = self.windows.window_start(window_end).saturating_add(1);
        let slices: Vec<&Slice> = self.slices.range(first..=window_end).map(|(_, slice)| slice).collect();
        match slices.as_slice() {
            slices if slices.iter().any(|slice| slice.groups.table.store().is_some()) => {
                if !self.fire_stored(window_end, output)? {
                    return Ok(false);
                }
            }
            [] => {}
            [slice] => _ = self.emit(&slice.groups, window_end, output)?,
            slices => {
                let mut merged = Groups::new(&self.spec, 0)?;
                for slice in slices {
                    merged.merge(&slice.groups)?;
                }
                self.emit(&merged, window_end, output)?;
            }
        }
        self.drop_slices(window_end);
        Ok(true)
    }

    /// Tells some virtual nodes of a window; returns whether those were the last.
    fn fire_stored(&mut self, window_end: i64, output: &mut Output) -> Result<bool> {
        let first = self.windows.window_start(window_end).saturating_add(1);
        let slices = || self.slices.range(first..=window_end);
        if !self.parts.is_open() {
            self.in_memory.clear();
            for (slice_end, slice) in slices() {
                let table = &slice.groups.table;
                self.in_memory.extend(table.used().map(|slot| (table.vnode(slot), *slice_end, slot)));
            }
            self.in_memory.sort_unstable();
        }
        let mut parts = std::mem::take(&mut self.parts);
        let is_told = parts.tell(|vnode| {
            let mut merged = Groups::new(&self.spec, 0)?;
            for (slice_end, slice) in slices() {
                let begin = self.in_memory.partition_point(|(v, end, _)| (*v, *end) < (vnode, *slice_end));
                let here = self.in_memory[begin..].iter().take_while(|(v, end, _)| (*v, *end) == (vnode, *slice_end));
                merged.merge_slots(&slice.groups, here.map(|(_, _, slot)| *slot))?;
                merged.merge_stored(&self.spec, &slice.groups, vnode)?;
            }
            self.emit(&merged, window_end, output)
        })?;
        self.parts = parts;
        if is_told {
            self.in_memory = Vec::new();
        }
        Ok(is_told)
    }

    /// Lets go of slices whose last window has fired.
    fn drop_slices(&mut self, window_end: i64) {
        while let Some(entry) = self.slices.first_entry() {
            if self.windows.last_window_end(*entry.key()) > window_end {
                break;
            }
            if entry.get().is_stored {
                self.dropped.push(*entry.key());
            }
            let groups = entry.remove().groups;
            if groups.table.is_frozen() {
                self.leaving.push(groups);
            }
        }
    }

    /// Emits a row per group, and returns how many those are.
    fn emit(&self, groups: &Groups, window_end: i64, output: &mut Output) -> Result<usize> {
        let slots: Vec<u32> = groups.table.used().filter(|slot| groups.row_count(*slot) != 0).collect();
        let mut results = self.spec.values();
        for slots in slots.chunks(ROWS_PER_BATCH) {
            results.iter_mut().for_each(Values::clear);
            groups.collect(slots, &mut results);
            let keys = slots.iter().map(|slot| groups.table.key(*slot));
            let mut columns = decode_keys(self.spec.key_types(), keys)?;
            for (aggregate, values) in results.iter().enumerate() {
                columns.push(values.to_array(self.spec.data_type(aggregate))?);
            }
            for property in &self.properties {
                columns.push(property_column(&self.windows, *property, window_end, slots.len()));
            }
            let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
            let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
            output.emit(ChangeBatch::inserts(rows));
        }
        Ok(slots.len())
    }

    /// Writes what is small of a checkpoint: which slices are gone, and how far processing-time windows have fired.
    fn write_head(&mut self, full: bool, writer: &mut dyn StateWriter) {
        // A full snapshot begins with nothing, so there is nothing to delete.
        for slice_end in self.dropped.drain(..).filter(|_| !full) {
            for table in &self.tables {
                writer.delete_prefix(*table, &order_i64(slice_end));
            }
        }
        if !self.time.is_event_time && self.windows.is_sliced() {
            let mut value = vec![STATE_VERSION];
            value.extend(self.progress.to_le_bytes());
            for vnode in self.parts.vnodes() {
                writer.put(PROGRESS_TABLE, *vnode, &[], &value);
            }
        }
    }

    fn aggregate_slice(&mut self, slice_end: i64, rows: &[u32], batch: &ChangeBatch, now_ms: i64) -> Result<()> {
        let slice = match self.slices.entry(slice_end) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Slice { groups: Groups::numbered(&self.spec, slice_end)?, is_stored: false })
            }
        };
        let folded = FoldedRows {
            rows,
            hasher: &self.hasher,
            kinds: batch.kinds.as_ref(),
            prepared: &self.prepared,
            sequence: self.sequence,
            now_ms,
        };
        slice.groups.fold(&self.spec, folded, &mut self.buffers)
    }
}

/// A window property as a column.
pub(super) fn property_column(windows: &Windows, property: WindowProperty, window_end: i64, rows: usize) -> ArrayRef {
    let value = match property {
        WindowProperty::Start => windows.window_start(window_end),
        WindowProperty::End => window_end,
        WindowProperty::Time => windows.window_time(window_end),
    };
    Arc::new(TimestampMillisecondArray::from(vec![value; rows]))
}

impl Operator for WindowAggregate {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, _: &mut Output) -> Result<()> {
        let row_count = u32::try_from(batch.len())
            .map_err(|_| Error::internal(format!("a batch of {} rows reaches a window", batch.len())))?;
        self.assign_slices(&batch.rows, row_count, context.now_ms)?;
        if !self.rows.is_empty() {
            self.hasher.hash(&batch.rows)?;
            self.spec.prepare(&batch.rows, &mut self.prepared)?;
            let rows = std::mem::take(&mut self.rows);
            let slice_ends = std::mem::take(&mut self.slice_ends);
            for run in rows.chunk_by(|a, b| slice_ends[*a as usize] == slice_ends[*b as usize]) {
                self.aggregate_slice(slice_ends[run[0] as usize], run, &batch, context.now_ms)?;
            }
            (self.rows, self.slice_ends) = (rows, slice_ends);
        }
        self.sequence += u64::from(row_count);
        Ok(())
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        let progress = if self.time.is_event_time { watermark } else { context.now_ms.saturating_sub(1) };
        while let Some(window_end) = self.next_window_end() {
            if self.windows.last_instant(window_end) > progress {
                break;
            }
            if !self.fire(window_end, output)? {
                return Ok(self.windows.held_back(window_end, self.time.is_event_time, watermark));
            }
            self.next_end = window_end.saturating_add(1);
        }
        if progress > self.progress {
            self.progress = progress;
            self.open_from = i64::MAX;
        }
        Ok(watermark)
    }

    fn is_firing(&self) -> bool {
        self.parts.is_open()
    }

    fn next_timer_ms(&self) -> Option<i64> {
        if self.time.is_event_time {
            return None;
        }
        Some(self.windows.last_instant(self.next_window_end()?).saturating_add(1))
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.write_head(full, writer);
        for slice in self.slices.values_mut() {
            slice.groups.snapshot(full, writer);
            slice.is_stored = true;
        }
        Ok(())
    }

    fn freeze(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<bool> {
        self.write_head(full, writer);
        for (slice_end, slice) in &mut self.slices {
            slice.groups.freeze(full);
            slice.is_stored = true;
            self.unwritten.push(*slice_end);
        }
        Ok(self.unwritten.is_empty())
    }

    fn snapshot_part(&mut self, entries: usize, writer: &mut dyn StateWriter) -> Result<bool> {
        if let Some(groups) = self.leaving.last_mut() {
            if groups.write_part(entries, writer)? {
                self.leaving.pop();
            }
        } else if let Some(slice_end) = self.unwritten.last() {
            let is_written = match self.slices.get_mut(slice_end) {
                Some(slice) => slice.groups.write_part(entries, writer)?,
                None => true,
            };
            if is_written {
                self.unwritten.pop();
            }
        }
        Ok(self.leaving.is_empty() && self.unwritten.is_empty())
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        if table == PROGRESS_TABLE {
            let mut reader = Reader::new(value);
            check_version(reader.byte()?)?;
            self.progress = self.progress.max(reader.i64()?);
            return Ok(());
        }
        let (slice_end, key) = key
            .split_first_chunk::<8>()
            .ok_or_else(|| Error::internal("a state entry of a window has no window end"))?;
        let slice_end = number_i64(*slice_end);
        let slice = match self.slices.entry(slice_end) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Slice { groups: Groups::numbered(&self.spec, slice_end)?, is_stored: true })
            }
        };
        let sequence = slice.groups.restore(&self.spec, table, key, value)?;
        self.sequence = self.sequence.max(sequence + 1);
        Ok(())
    }

    fn restored(&mut self, watermark: i64) -> Result<()> {
        if self.time.is_event_time {
            self.progress = watermark;
        }
        Ok(())
    }

    fn spills(&self) -> bool {
        true
    }

    fn evict(&mut self, store: &StateStore) -> Result<()> {
        for slice in self.slices.values_mut() {
            slice.groups.begin_anew(&self.spec, store)?;
            slice.is_stored = true;
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.slices.values().map(|slice| &slice.groups).chain(&self.leaving).map(Groups::bytes).sum::<usize>()
            + self.in_memory.capacity() * size_of::<(u8, i64, u32)>()
            + self.hasher.bytes()
            + self.slice_ends.capacity() * size_of::<i64>()
            + self.rows.capacity() * size_of::<u32>()
            + self.buffers.bytes()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::WATERMARK_MAX;
    use crate::operators::testing::{Change, Event, change, one_worker, run, schema, show, string};
    use proptest::prelude::*;
    use wiesel_core::{DataType, RowKind, TypeKind, Value};
    use wiesel_expr::{AggregateCall, AggregateFunction as F};
    use wiesel_plan::{WindowKind, WindowNode};

    const TUMBLE: WindowKind = WindowKind::Tumble { size_ms: 10, offset_ms: 0 };
    const HOP: WindowKind = WindowKind::Hop { slide_ms: 4, size_ms: 10, offset_ms: 0 };

    fn call(function: F, args: &[usize], kind: TypeKind) -> AggregateCall {
        AggregateCall { function, args: args.to_vec(), distinct: false, filter: None, data_type: DataType::new(kind) }
    }

    fn node(kind: WindowKind) -> WindowAggregateNode {
        WindowAggregateNode {
            window: WindowNode { kind, time_column: 1, is_event_time: true, time_zone: None },
            is_legacy: false,
            keys: vec![0],
            aggregates: vec![call(F::CountStar, &[], TypeKind::BigInt), call(F::Sum, &[2], TypeKind::BigInt)],
            properties: vec![WindowProperty::Start, WindowProperty::End, WindowProperty::Time],
            input_retracts: false,
        }
    }

    // Input: k STRING, ts TIMESTAMP(3), n BIGINT, s STRING.
    fn input() -> Schema {
        schema(&[string(), TypeKind::Timestamp(3), TypeKind::BigInt, string()])
    }

    fn output(node: &WindowAggregateNode) -> Schema {
        let mut types = vec![string(); node.keys.len()];
        types.extend(node.aggregates.iter().map(|a| a.data_type.kind.clone()));
        types.extend(vec![TypeKind::Timestamp(3); node.properties.len()]);
        schema(&types)
    }

    fn drive(node: &WindowAggregateNode, events: &[Event]) -> Vec<Change> {
        let new = || -> Box<dyn Operator> {
            Box::new(WindowAggregate::new(node, &input(), &output(node), &one_worker()).unwrap())
        };
        run(&new, &input(), &output(node), 0, events)
    }

    fn rows(texts: &[&str]) -> Event {
        Event::Rows(texts.iter().map(|text| change(text)).collect())
    }

    fn at(watermark: i64) -> Event {
        Event::Advance(watermark, 0)
    }

    #[test]
    fn a_window_is_told_once_when_the_watermark_reaches_its_last_millisecond() {
        let first = rows(&["+I a @1 5", "+I b @9 1", "+I a @12 7", "+I a @3 2"]);
        let cases: [(&[Event], &[&str]); 4] = [
            (&[first.clone(), at(8)], &[]),
            (&[first.clone(), at(9)], &["+I a 2 7 @0 @10 @9", "+I b 1 1 @0 @10 @9"]),
            (&[first.clone(), at(8), rows(&["+I b @9 1"]), at(9)], &["+I a 2 7 @0 @10 @9", "+I b 2 2 @0 @10 @9"]),
            (
                &[first.clone(), at(WATERMARK_MAX)],
                &["+I a 2 7 @0 @10 @9", "+I b 1 1 @0 @10 @9", "+I a 1 7 @10 @20 @19"],
            ),
        ];
        for (events, expected) in cases {
            let events: Vec<Event> = events.iter().map(padded).collect();
            assert_eq!(show(&drive(&node(TUMBLE), &events)), expected, "{events:?}");
            let with_restart: Vec<Event> = events.into_iter().flat_map(|e| [e, Event::Restart(false)]).collect();
            // Within one window keys come in no fixed order.
            let mut told = show(&drive(&node(TUMBLE), &with_restart));
            told.sort_by_key(|row| row[row.len() - 3..].to_owned() + row);
            assert_eq!(told, expected, "{with_restart:?}");
        }
    }

    // The column `s` is not written in most cases.
    fn padded(event: &Event) -> Event {
        let mut event = event.clone();
        if let Event::Rows(rows) = &mut event {
            rows.iter_mut().for_each(|(_, row)| row.resize(4, Value::Null));
        }
        event
    }

    #[test]
    fn rows_behind_a_fired_window_are_late_and_counted() {
        let node = node(TUMBLE);
        let mut operator = WindowAggregate::new(&node, &input(), &output(&node), &one_worker()).unwrap();
        let context = crate::operators::testing::context(0);
        let mut emitted = Output::default();
        let mut process = |operator: &mut WindowAggregate, text: &str| {
            let Event::Rows(rows) = padded(&rows(&[text])) else { return };
            let batch = crate::operators::testing::batch(&input(), &rows);
            operator.process(0, batch, &context, &mut emitted).unwrap();
        };
        operator.advance(9, &context, &mut Output::default()).unwrap();
        process(&mut operator, "+I a @9 1");
        assert_eq!(operator.late_rows(), 1);
        operator.advance(15, &context, &mut Output::default()).unwrap();
        // Behind the watermark, but its window is open.
        process(&mut operator, "+I a @11 1");
        assert_eq!(operator.late_rows(), 1);
        assert_eq!(operator.slices.len(), 1);
    }

    #[test]
    fn a_row_that_is_late_for_some_windows_of_a_hop_counts_in_the_others() {
        // Windows end at 10, 14, 18, 22 ...; a row at 5 belongs to those that end at 10 and 14.
        let events =
            [rows(&["+I a @1 1", "+I a @9 1"]), at(9), rows(&["+I a @5 1"]), at(17), rows(&["+I a @7 1"]), at(21)];
        let events: Vec<Event> = events.iter().map(padded).collect();
        let expected = [
            "+I a 1 1 @-8 @2 @1",
            "+I a 1 1 @-4 @6 @5",
            "+I a 2 2 @0 @10 @9",
            "+I a 2 2 @4 @14 @13",
            "+I a 1 1 @8 @18 @17",
        ];
        assert_eq!(show(&drive(&node(HOP), &events)), expected);
    }

    #[test]
    fn retracted_rows_leave_their_window_and_an_empty_window_is_not_told() {
        let node = WindowAggregateNode {
            input_retracts: true,
            aggregates: vec![call(F::Max, &[2], TypeKind::BigInt), call(F::LastValue, &[3], string())],
            ..node(HOP)
        };
        let events = [
            rows(&["+I a @1 5 x", "+I a @1 3 y", "+I b @1 1 z"]),
            at(0),
            Event::Restart(false),
            rows(&["-U a @1 5 x", "-D b @1 1 z"]),
            at(WATERMARK_MAX),
        ];
        let expected = ["+I a 3 y @-8 @2 @1", "+I a 3 y @-4 @6 @5", "+I a 3 y @0 @10 @9"];
        assert_eq!(show(&drive(&node, &events)), expected);
    }

    #[test]
    fn processing_time_windows_follow_the_clock_and_vanish_at_the_end() {
        for kind in [TUMBLE, WindowKind::Hop { slide_ms: 5, size_ms: 10, offset_ms: 0 }] {
            let mut node = node(kind);
            node.window.is_event_time = false;
            let clock = |now_ms: i64| Event::Advance(0, now_ms);
            let events = [
                clock(11),
                rows(&["+I a @0 1"]),
                clock(14),
                rows(&["+I a @0 1"]),
                clock(15),
                Event::Restart(false),
                rows(&["+I a @0 1"]),
                clock(20),
                rows(&["+I a @0 5"]),
                Event::Advance(WATERMARK_MAX, 21),
            ];
            let events: Vec<Event> = events.iter().map(padded).collect();
            let expected: &[&str] = if kind == TUMBLE {
                &["+I a 3 3 @10 @20 @19"]
            } else {
                &["+I a 2 2 @5 @15 @14", "+I a 3 3 @10 @20 @19"]
            };
            assert_eq!(show(&drive(&node, &events)), expected);
        }
    }

    #[test]
    fn a_processing_time_window_asks_for_a_call_at_its_end() {
        let mut node = node(TUMBLE);
        node.window.is_event_time = false;
        let mut operator = WindowAggregate::new(&node, &input(), &output(&node), &one_worker()).unwrap();
        assert_eq!(operator.next_timer_ms(), None);
        let Event::Rows(rows) = padded(&rows(&["+I a @0 1"])) else { return };
        let batch = crate::operators::testing::batch(&input(), &rows);
        operator.process(0, batch, &crate::operators::testing::context(13), &mut Output::default()).unwrap();
        assert_eq!(operator.next_timer_ms(), Some(20));
    }

    #[test]
    fn windows_of_an_instant_lie_on_the_zones_clock() {
        let hour = 3_600_000;
        let mut node = node(WindowKind::Tumble { size_ms: 24 * hour, offset_ms: 0 });
        node.window.time_zone = Some("Asia/Shanghai".into());
        let input = schema(&[string(), TypeKind::TimestampLtz(3), TypeKind::BigInt, string()]);
        let new = || -> Box<dyn Operator> {
            Box::new(WindowAggregate::new(&node, &input, &output(&node), &one_worker()).unwrap())
        };
        let day = |n: i64| n * 24 * hour;
        let events = [
            rows(&[&format!("+I a @{} 1 x", day(1) + 15 * hour), &format!("+I a @{} 1 x", day(1) + 16 * hour)]),
            at(day(1) + 16 * hour - 1),
        ];
        let expected = format!("+I a 1 1 @{} @{} @{}", day(1), day(2), day(1) + 16 * hour - 1);
        assert_eq!(show(&run(&new, &input, &output(&node), 0, &events)), [expected]);
    }

    #[test]
    fn a_null_time_fails_a_table_function_and_is_dropped_by_a_legacy_window() {
        for is_legacy in [false, true] {
            let node = WindowAggregateNode { is_legacy, ..node(TUMBLE) };
            let mut operator = WindowAggregate::new(&node, &input(), &output(&node), &one_worker()).unwrap();
            let Event::Rows(rows) = padded(&rows(&["+I a NULL 1"])) else { return };
            let batch = crate::operators::testing::batch(&input(), &rows);
            let context = crate::operators::testing::context(0);
            let result = operator.process(0, batch, &context, &mut Output::default());
            match is_legacy {
                true => assert_eq!((result.is_ok(), operator.late_rows()), (true, 1)),
                false => assert_eq!(result.unwrap_err().message(), "the time attribute `c1` of a window is NULL"),
            }
        }
    }

    // The reference: every window holds the list of its rows; a row goes into those that have not fired.
    fn reference(node: &WindowAggregateNode, events: &[Event]) -> Vec<String> {
        let windows_of = |time: i64| -> Vec<(i64, i64)> {
            let (size, starts, lengths): (i64, i64, Vec<i64>) = match node.window.kind {
                WindowKind::Tumble { size_ms, .. } => (size_ms, size_ms, vec![size_ms]),
                WindowKind::Hop { slide_ms, size_ms, .. } => (size_ms, slide_ms, vec![size_ms]),
                WindowKind::Cumulate { step_ms, size_ms, .. } => {
                    (size_ms, size_ms, (1..=size_ms / step_ms).map(|n| n * step_ms).collect())
                }
                WindowKind::Session { .. } | WindowKind::Attached => return Vec::new(),
            };
            let last = time.div_euclid(starts);
            let all = (last - size / starts - 1..=last)
                .flat_map(|n| lengths.iter().map(move |length| (n * starts, n * starts + length)));
            all.filter(|(start, end)| (*start..*end).contains(&time)).collect()
        };
        let mut open: BTreeMap<(i64, i64, String), Vec<Vec<Value>>> = BTreeMap::new();
        let (mut watermark, mut out) = (WATERMARK_MIN, Vec::new());
        for event in events {
            match event {
                Event::Rows(rows) => {
                    for (kind, row) in rows {
                        let Value::Timestamp(time) = row[1] else { continue };
                        for (start, end) in windows_of(time) {
                            if end - 1 <= watermark {
                                continue;
                            }
                            let members = open.entry((end, start, format!("{:?}", row[0]))).or_default();
                            if kind.is_add() {
                                members.push(row.clone());
                            } else if let Some(place) = members.iter().position(|m| m == row) {
                                members.remove(place);
                            }
                        }
                    }
                }
                Event::Advance(to, _) => {
                    watermark = *to;
                    while let Some(entry) = open.first_entry() {
                        let (end, start) = (entry.key().0, entry.key().1);
                        if end - 1 > watermark {
                            break;
                        }
                        let members = entry.remove();
                        if !members.is_empty() {
                            out.push(reference_row(&members, start, end));
                        }
                    }
                }
                Event::Flush | Event::Restart(_) => {}
            }
        }
        out
    }

    fn reference_row(members: &[Vec<Value>], start: i64, end: i64) -> String {
        let numbers: Vec<i64> =
            members.iter().filter_map(|m| if let Value::Int(n) = m[2] { Some(n) } else { None }).collect();
        let texts: std::collections::BTreeSet<&String> =
            members.iter().filter_map(|m| if let Value::String(s) = &m[3] { Some(s) } else { None }).collect();
        let or_null = |v: Option<String>| v.unwrap_or_else(|| "NULL".into());
        let sum = (!numbers.is_empty()).then(|| numbers.iter().sum::<i64>().to_string());
        let least = numbers.iter().min().map(i64::to_string);
        let key = show(&[(RowKind::Insert, vec![members[0][0].clone()])]).remove(0);
        format!(
            "{key} {} {} {} {} {} @{} @{} @{}",
            members.len(),
            or_null(sum),
            or_null(least),
            or_null(texts.last().map(ToString::to_string)),
            texts.len(),
            start,
            end,
            end - 1
        )
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_gives_the_reference_windows(
            steps in prop::collection::vec(
                (prop::collection::vec((0..3, 0_i64..40, 0_i64..4, 0_usize..4, any::<prop::sample::Index>(), 0..4), 0..8), 0_i64..7, 0..4),
                0..10,
            ),
            shape in 0_usize..6,
            input_retracts: bool,
        ) {
            let hop = |slide_ms, size_ms| WindowKind::Hop { slide_ms, size_ms, offset_ms: 0 };
            let cumulate = |step_ms, size_ms| WindowKind::Cumulate { step_ms, size_ms, offset_ms: 0 };
            let kind = [TUMBLE, HOP, hop(3, 9), hop(7, 5), cumulate(3, 9), cumulate(5, 10)][shape];
            let distinct = AggregateCall { distinct: true, ..call(F::Count, &[3], TypeKind::BigInt) };
            let node = WindowAggregateNode {
                input_retracts,
                aggregates: vec![
                    call(F::CountStar, &[], TypeKind::BigInt),
                    call(F::Sum, &[2], TypeKind::BigInt),
                    call(F::Min, &[2], TypeKind::BigInt),
                    call(F::Max, &[3], string()),
                    distinct,
                ],
                ..node(kind)
            };
            let (mut events, mut watermark) = (Vec::new(), 0);
            let mut step_rows: Vec<Change>;
            for (rows, moves, restart) in steps {
                step_rows = Vec::new();
                for (key, time, number, text, which, action) in rows {
                    let texts = ["NULL", "p", "q", "r"];
                    if action == 0 && input_retracts && !step_rows.is_empty() {
                        // Takes back a row of the same step, so that both are late or neither.
                        let standing: Vec<usize> = (0..step_rows.len()).filter(|i| step_rows[*i].0 == RowKind::Insert).collect();
                        let row = step_rows[*which.get(&standing)].1.clone();
                        let adds = step_rows.iter().filter(|c| c.1 == row && c.0 == RowKind::Insert).count();
                        let takes = step_rows.iter().filter(|c| c.1 == row && c.0 == RowKind::Delete).count();
                        if adds > takes {
                            step_rows.push((RowKind::Delete, row));
                        }
                    } else {
                                                let number = if number == 0 { "NULL".to_owned() } else { (number - 2).to_string() };
                        step_rows.push(change(&format!("+I k{key} @{time} {number} {}", texts[text])));
                    }
                }
                for half in step_rows.chunks(3) {
                    events.push(Event::Rows(half.to_vec()));
                }
                watermark += moves;
                events.push(at(watermark));
                if restart > 1 {
                    events.push(Event::Restart(restart == 2));
                }
            }
            events.push(at(WATERMARK_MAX));
            let mut told = show(&drive(&node, &events));
            let mut expected = reference(&node, &events);
            // Within one window keys come in no fixed order.
            told.sort();
            expected.sort();
            prop_assert_eq!(told, expected);
        }
    }
}
