//! Aggregation per window and key: TUMBLE and HOP, as table functions and as the legacy GROUP BY.
//!
//! - **Input**: any changelog; rows go into the slice of their time attribute, or of the step's clock for processing time.
//! - **Output**: the keys, the aggregates, the window's properties; one +I per key and window, never taken back.
//! - **State**: one table of groups per slice (a whole window for TUMBLE), dropped as a whole behind its last window. The key of an
//!   entry in a checkpoint is the slice's end, then the group's key.
//! - **Emits** in the order of window ends, when the watermark reaches the last millisecond of a window, or the clock its end. A HOP
//!   window merges its slices then; each row was added to one slice only. Windows without rows, or whose rows were all taken back, give
//!   nothing. At the end of bounded input event-time windows fire (the watermark is at its maximum), processing-time windows do not.
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
use super::aggregate::{AggregateSpec, Groups, Plan, PlannedRows, Prepared, Values, check_version};
use super::window::Windows;
use crate::operator::{Operator, OperatorContext, Output, StateWriter, WATERMARK_MIN};
use crate::state::codec::{Reader, STATE_VERSION, decode_keys, number_i64, order_i64};
use crate::state::vnode::{KeyHasher, worker_of_vnode};

/// The state table that holds how far processing-time windows have fired, once per vnode.
const PROGRESS_TABLE: u8 = u8::MAX;

/// See the module's head.
pub struct WindowAggregate {
    spec: AggregateSpec,
    schema: Schema,
    properties: Vec<WindowProperty>,
    windows: Windows,
    time: WindowTime,
    context: OperatorContext,
    hasher: KeyHasher,
    /// By the end of the slice. Each belongs to at least one window that has not fired.
    slices: BTreeMap<i64, Slice>,
    /// Slices that a checkpoint holds and that are gone.
    dropped: Vec<i64>,
    /// Windows whose last instant is not behind this one have fired: the watermark, or the clock minus 1 ms.
    progress: i64,
    /// No window that ends before this one is left to fire.
    next_end: i64,
    late_rows: u64,
    ignored_retractions: u64,
    sequence: u64,
    // Buffers that are used again for every batch.
    slice_ends: Vec<i64>,
    rows: Vec<u32>,
    slots: Vec<u32>,
    prepared: Vec<Prepared>,
    plan: Plan,
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
            context: context.clone(),
            hasher: KeyHasher::new(node.keys.clone()),
            slices: BTreeMap::new(),
            dropped: Vec::new(),
            progress: WATERMARK_MIN,
            next_end: i64::MIN,
            late_rows: 0,
            ignored_retractions: 0,
            sequence: 0,
            slice_ends: Vec::new(),
            rows: Vec::new(),
            slots: Vec::new(),
            prepared: Vec::new(),
            plan: Plan::default(),
        })
    }

    /// Finds the slice of every row; what remains in `rows` is not late, and in the order of slices.
    fn assign_slices(&mut self, batch: &RecordBatch, row_count: u32, now_ms: i64) -> Result<()> {
        self.slice_ends.clear();
        self.rows.clear();
        if !self.time.is_event_time {
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

    /// Whether a window that holds the slice is still to fire.
    fn is_open(&self, slice_end: i64) -> bool {
        let last = self.windows.last_window_end(slice_end);
        last >= self.windows.first_window_end(slice_end) && self.windows.last_instant(last) > self.progress
    }

    /// The end of the next window to fire that holds rows.
    fn next_window_end(&self) -> Option<i64> {
        let (slice_end, _) = self.slices.first_key_value()?;
        self.windows
            .window_ends(*slice_end)
            .find(|end| *end >= self.next_end && self.windows.last_instant(*end) > self.progress)
    }

    fn fire(&mut self, window_end: i64, output: &mut Output) -> Result<()> {
        let first = window_end.saturating_sub(self.windows.size_ms).saturating_add(1);
        let slices: Vec<&Slice> = self.slices.range(first..=window_end).map(|(_, slice)| slice).collect();
        match slices.as_slice() {
            [] => {}
            [slice] => self.emit(&slice.groups, window_end, output)?,
            slices => {
                let mut merged = Groups::new(&self.spec, 0)?;
                for slice in slices {
                    merged.merge(&slice.groups)?;
                }
                self.emit(&merged, window_end, output)?;
            }
        }
        while let Some(entry) = self.slices.first_entry() {
            if self.windows.last_window_end(*entry.key()) > window_end {
                break;
            }
            if entry.get().is_stored {
                self.dropped.push(*entry.key());
            }
            entry.remove();
        }
        Ok(())
    }

    fn emit(&self, groups: &Groups, window_end: i64, output: &mut Output) -> Result<()> {
        let slots: Vec<u32> = groups.table.used().filter(|slot| groups.row_count(*slot) > 0).collect();
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
        Ok(())
    }

    fn aggregate_slice(&mut self, slice_end: i64, rows: &[u32], batch: &ChangeBatch, now_ms: i64) -> Result<()> {
        let slice = match self.slices.entry(slice_end) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Slice { groups: Groups::new(&self.spec, 0)?, is_stored: false })
            }
        };
        let groups = &mut slice.groups;
        let (keys, hashes) = self.hasher.keys_and_hashes();
        self.slots.clear();
        groups.assign(keys, hashes, rows, &mut self.slots);
        self.plan.clear();
        let rows = PlannedRows {
            rows,
            slots: &self.slots,
            kinds: batch.kinds.as_ref(),
            now_ms,
            has_ttl: false,
            keeps_steps: groups.has_columns(),
        };
        self.ignored_retractions += groups.plan(rows, &mut self.plan);
        groups.apply(&self.plan, &self.prepared, self.sequence, None);
        groups.release_empty(&mut self.plan.emptied);
        Ok(())
    }
}

/// A window property as a column.
pub(super) fn property_column(windows: &Windows, property: WindowProperty, window_end: i64, rows: usize) -> ArrayRef {
    let value = match property {
        WindowProperty::Start => window_end.saturating_sub(windows.size_ms),
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
            self.fire(window_end, output)?;
            self.next_end = window_end.saturating_add(1);
        }
        self.progress = self.progress.max(progress);
        Ok(watermark)
    }

    fn next_timer_ms(&self) -> Option<i64> {
        if self.time.is_event_time {
            return None;
        }
        Some(self.windows.last_instant(self.next_window_end()?).saturating_add(1))
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        for slice_end in self.dropped.drain(..) {
            for table in (0_u8..).take(self.spec.len() + 1) {
                writer.delete_prefix(table, &order_i64(slice_end));
            }
        }
        for (slice_end, slice) in &mut self.slices {
            slice.groups.snapshot(full, &order_i64(*slice_end), writer);
            slice.is_stored = true;
        }
        if !self.time.is_event_time && self.windows.is_sliced() {
            let mut value = vec![STATE_VERSION];
            value.extend(self.progress.to_le_bytes());
            for vnode in 0..=u8::MAX {
                if worker_of_vnode(vnode, self.context.workers) == self.context.worker {
                    writer.put(PROGRESS_TABLE, vnode, &[], &value);
                }
            }
        }
        Ok(())
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
                entry.insert(Slice { groups: Groups::new(&self.spec, 0)?, is_stored: true })
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

    fn state_bytes(&self) -> usize {
        self.slices.values().map(|slice| slice.groups.bytes()).sum::<usize>()
            + self.hasher.bytes()
            + self.slice_ends.capacity() * size_of::<i64>()
            + (self.rows.capacity() + self.slots.capacity()) * size_of::<u32>()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }

    fn ignored_retractions(&self) -> u64 {
        self.ignored_retractions
    }
}
