//! ROW_NUMBER() per window: the first rows of every window and key, and deduplication within a window.
//!
//! - **Input**: inserts that carry their window (`window_end`). **Output**: the input's columns and, when asked for, the row number; +I only.
//! - **State**: per window and key the first N rows in order; a row that falls behind the N-th is forgotten at once. The key of an entry is
//!   window end, partition key, sort key, arrival number. A window that lies in the store keeps up to N rows more per key for every trip
//!   there, and is told in several calls of `advance`, one virtual node after the other.
//! - **Emits** in the order of window ends and, within a key, in the order of row numbers, when the watermark reaches a window's last
//!   millisecond or the clock its end; the window's state is dropped then.
//! - **Late rows** (their window has been emitted) are dropped and counted.
//! - **Cost per row**: key, sort key and row encoding, one hash probe, one ordered insert.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use wiesel_core::{ChangeBatch, DataType, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::WindowRankNode;

use super::ROWS_PER_BATCH;
use super::sort_key::SortKeys;
use super::window::Windows;
use super::window_parts::WindowParts;
use super::window_rows::{PlacedRow, WindowRows};
use crate::operator::{Operator, OperatorContext, Output, StateWriter, WATERMARK_MIN};
use crate::state::codec::{decode_rows, encode_row, number_i64, order_i64};
use crate::state::group_table::GroupTable;
use crate::state::store::StateStore;
use crate::state::vnode::{KeyHasher, hash_key};

const ROWS_TABLE: u8 = 0;

/// See the module's head.
pub struct WindowRank {
    node: WindowRankNode,
    schema: Schema,
    types: Vec<DataType>,
    windows: Windows,
    hasher: KeyHasher,
    sort: SortKeys,
    rows: WindowRows,
    parts: WindowParts,
    /// How many rows each window and key has in memory.
    groups: GroupTable,
    counts: Vec<u64>,
    progress: i64,
    sequence: i64,
    late_rows: u64,
    // Buffers that are used again for every batch.
    place: Vec<u8>,
    value: Vec<u8>,
}

impl WindowRank {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &WindowRankNode, input: &Schema, schema: &Schema, context: &OperatorContext) -> Result<Self> {
        let type_of = |column: &usize| {
            input.fields().get(*column).map(|f| f.data_type.clone()).ok_or_else(|| {
                Error::internal(format!("a window rank reads column {column} of an input with {}", input.len()))
            })
        };
        if schema.len() != input.len() + usize::from(node.with_number) {
            return Err(Error::internal("a window rank gives neither its input nor one column more"));
        }
        Ok(WindowRank {
            node: node.clone(),
            schema: schema.clone(),
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            windows: Windows::new(&node.window)?,
            hasher: KeyHasher::new(node.keys.clone()),
            sort: SortKeys::new(node.order.clone()),
            rows: WindowRows::new(ROWS_TABLE, node.keys.iter().map(type_of).collect::<Result<_>>()?),
            parts: WindowParts::new(context, !node.keys.is_empty()),
            groups: GroupTable::new(0),
            counts: Vec::new(),
            progress: WATERMARK_MIN,
            sequence: 0,
            late_rows: 0,
            place: Vec::new(),
            value: Vec::new(),
        })
    }

    fn add(&mut self, batch: &RecordBatch, row: usize, window_end: i64) -> Result<()> {
        self.place.clear();
        self.place.extend(order_i64(window_end));
        self.place.extend_from_slice(self.hasher.keys().key(row));
        let group_length = self.place.len();
        self.sort.append(row, &mut self.place);
        let arrival = if self.node.last_wins { -self.sequence } else { self.sequence };
        self.place.extend(order_i64(arrival));
        self.sequence += 1;
        let group = &self.place[..group_length];
        let slot = self.groups.slot(group, hash_key(group)) as usize;
        self.counts.resize(self.groups.slot_count().max(self.counts.len()), 0);
        let is_full = self.counts[slot] >= self.node.last;
        if is_full {
            let Some(behind) = self.rows.last_place(group) else { return Ok(()) };
            if *behind < *self.place {
                return Ok(());
            }
            self.rows.remove(&behind);
        } else {
            self.counts[slot] += 1;
        }
        self.value.clear();
        encode_row(batch.columns(), row, &mut self.value)?;
        self.rows.put(&self.place, &self.value);
        Ok(())
    }

    /// Tells a window; returns whether that was all of it.
    fn fire(&mut self, window_end: i64, output: &mut Output) -> Result<bool> {
        if !self.rows.is_stored(window_end) {
            let rows = self.rows.take(window_end);
            self.tell(rows, output)?;
            return Ok(true);
        }
        let mut parts = std::mem::take(&mut self.parts);
        let is_told = parts.tell(|vnode| {
            let taken = self.rows.take_vnode(window_end, vnode)?;
            self.tell(taken, output)
        })?;
        self.parts = parts;
        if is_told {
            self.rows.done(window_end);
        }
        Ok(is_told)
    }

    /// Emits the first rows of every key, all rows of a key being among `placed`; returns how many those are.
    fn tell(&mut self, placed: Vec<PlacedRow>, output: &mut Output) -> Result<usize> {
        let mut numbers: Vec<i64> = Vec::new();
        let mut rows: Vec<Box<[u8]>> = Vec::new();
        let (mut group, mut number): (Vec<u8>, u64) = (Vec::new(), 0);
        for (place, row) in placed {
            let (key, rest) = self.rows.split(&place)?;
            let of_group = &place[..place.len() - rest.len()];
            debug_assert!(of_group.ends_with(key), "the key stands in front of the rest");
            if of_group != group.as_slice() {
                group = of_group.to_vec();
                number = 0;
                if let Some(slot) = self.groups.find(&group, hash_key(&group)) {
                    self.groups.remove(slot);
                    self.counts[slot as usize] = 0;
                }
            }
            number += 1;
            if (self.node.first..=self.node.last).contains(&number) {
                numbers.push(number.cast_signed());
                rows.push(row);
            }
        }
        // The counts are no state of a checkpoint.
        self.groups.take_removed();
        for (rows, numbers) in rows.chunks(ROWS_PER_BATCH).zip(numbers.chunks(ROWS_PER_BATCH)) {
            let mut columns: Vec<ArrayRef> = decode_rows(&self.types, rows.iter().map(|row| &**row))?;
            if self.node.with_number {
                columns.push(Arc::new(Int64Array::from(numbers.to_vec())));
            }
            output.emit(ChangeBatch::inserts(RecordBatch::try_new(self.schema.arrow().clone(), columns)?));
        }
        Ok(rows.len())
    }
}

impl Operator for WindowRank {
    fn process(&mut self, _: usize, batch: ChangeBatch, _: &EvalContext, _: &mut Output) -> Result<()> {
        if batch.kinds.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != RowKind::Insert)) {
            return Err(Error::internal("a window rank gets changes other than +I"));
        }
        self.hasher.hash(&batch.rows)?;
        self.sort.load(&batch.rows)?;
        let ends = batch.rows.column(self.node.window.time_column).as_primitive_opt::<TimestampMillisecondType>();
        let ends = ends.ok_or_else(|| Error::internal("the window end of a window rank is no TIMESTAMP(3)"))?.clone();
        for row in 0..batch.len() {
            if ends.is_null(row) || self.windows.last_instant(ends.value(row)) <= self.progress {
                self.late_rows += 1;
                continue;
            }
            self.add(&batch.rows, row, ends.value(row))?;
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        let progress = if self.node.window.is_event_time { watermark } else { context.now_ms.saturating_sub(1) };
        while let Some(window_end) = self.rows.next_window_end() {
            if self.windows.last_instant(window_end) > progress {
                break;
            }
            if !self.fire(window_end, output)? {
                return Ok(self.windows.held_back(window_end, self.node.window.is_event_time, watermark));
            }
        }
        self.progress = self.progress.max(progress);
        Ok(watermark)
    }

    fn is_firing(&self) -> bool {
        self.parts.is_open()
    }

    fn next_timer_ms(&self) -> Option<i64> {
        if self.node.window.is_event_time {
            return None;
        }
        Some(self.windows.last_instant(self.rows.next_window_end()?).saturating_add(1))
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.rows.snapshot(full, writer);
        Ok(())
    }

    fn restore(&mut self, _: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        let (_, rest) = self.rows.split(key)?;
        let group = &key[..key.len() - rest.len()];
        let slot = self.groups.slot(group, hash_key(group)) as usize;
        self.counts.resize(self.groups.slot_count().max(self.counts.len()), 0);
        self.counts[slot] += 1;
        if let Some(arrival) = key.last_chunk::<8>() {
            self.sequence = self.sequence.max(number_i64(*arrival).saturating_abs() + 1);
        }
        self.rows.restore(key, value)
    }

    fn restored(&mut self, watermark: i64) -> Result<()> {
        if self.node.window.is_event_time {
            self.progress = watermark;
        }
        Ok(())
    }

    fn spills(&self) -> bool {
        true
    }

    fn evict(&mut self, store: &StateStore) -> Result<()> {
        self.rows.evict(store);
        self.groups = GroupTable::new(0);
        self.counts.clear();
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes() + self.groups.bytes() + self.counts.capacity() * size_of::<u64>() + self.hasher.bytes()
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
    use std::collections::BTreeMap;
    use wiesel_core::{TypeKind, Value};
    use wiesel_plan::{SortColumn, WindowKind, WindowNode};

    fn node(last: u64, descending: bool, last_wins: bool) -> WindowRankNode {
        let kind = WindowKind::Attached;
        WindowRankNode {
            window: WindowNode { kind, time_column: 1, is_event_time: true, time_zone: None },
            keys: vec![0],
            order: vec![SortColumn { column: 2, descending, nulls_first: !descending }],
            first: 1,
            last,
            last_wins,
            with_number: true,
        }
    }

    fn drive(node: &WindowRankNode, events: &[Event]) -> Vec<Change> {
        let input = schema(&[string(), TypeKind::Timestamp(3), TypeKind::BigInt, TypeKind::BigInt]);
        let number = TypeKind::BigInt;
        let output = schema(&[string(), TypeKind::Timestamp(3), TypeKind::BigInt, TypeKind::BigInt, number]);
        let new = || -> Box<dyn Operator> { Box::new(WindowRank::new(node, &input, &output, &one_worker()).unwrap()) };
        run(&new, &input, &output, 0, events)
    }

    #[test]
    fn the_first_rows_of_each_window_and_key_come_at_its_end() {
        let rows = |texts: &[&str]| Event::Rows(texts.iter().map(|t| change(&format!("+I {t}"))).collect());
        let first = rows(&["a @10 5 1", "a @10 3 2", "b @10 9 3", "a @20 1 4", "a @10 5 5", "a @10 NULL 6"]);
        let events = [first, Event::Advance(9, 0), rows(&["a @10 9 7"]), Event::Advance(WATERMARK_MAX, 0)];
        let cases: [(u64, bool, bool, &[&str]); 3] = [
            (2, true, false, &["+I a @10 5 1 1", "+I a @10 5 5 2", "+I b @10 9 3 1", "+I a @20 1 4 1"]),
            (2, false, false, &["+I a @10 NULL 6 1", "+I a @10 3 2 2", "+I b @10 9 3 1", "+I a @20 1 4 1"]),
            (1, true, true, &["+I a @10 5 5 1", "+I b @10 9 3 1", "+I a @20 1 4 1"]),
        ];
        for (last, descending, last_wins, expected) in cases {
            let node = node(last, descending, last_wins);
            assert_eq!(show(&drive(&node, &events)), expected);
            let restarted: Vec<Event> = events.iter().flat_map(|e| [e.clone(), Event::Restart(false)]).collect();
            assert_eq!(show(&drive(&node, &restarted)), expected);
        }
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_gives_the_reference_rows(
            rows in prop::collection::vec((0..3, 0_i64..4, 0_i64..5), 0..40),
            cuts in prop::collection::vec((0_usize..9, 0_u8..3), 0..12),
            last in 1_u64..4,
            descending: bool,
            last_wins: bool,
        ) {
            let node = node(last, descending, last_wins);
            let changes: Vec<Change> = rows.iter().enumerate()
                .map(|(i, (k, w, n))| change(&format!("+I k{k} @{} {n} {i}", w * 10)))
                .collect();
            let (mut events, mut rest) = (Vec::new(), &changes[..]);
            for (length, what) in cuts {
                let (head, tail) = rest.split_at(length.min(rest.len()));
                events.push(Event::Rows(head.to_vec()));
                rest = tail;
                if what > 0 {
                    events.push(Event::Restart(what == 2));
                }
            }
            events.push(Event::Rows(rest.to_vec()));
            events.push(Event::Advance(WATERMARK_MAX, 0));
            // By window and key: order, arrival, row.
            type Member = (i64, i64, Vec<Value>);
            let mut windows: BTreeMap<(i64, i32), Vec<Member>> = BTreeMap::new();
            for (place, ((key, window, number), (_, row))) in (0_i64..).zip(rows.iter().zip(&changes)) {
                let by = if descending { -number } else { *number };
                let arrival = if last_wins { -place } else { place };
                windows.entry((*window, *key)).or_default().push((by, arrival, row.clone()));
            }
            let mut expected = Vec::new();
            for members in windows.values_mut() {
                members.sort_by_key(|m| (m.0, m.1));
                for (number, (_, _, row)) in (1..).zip(members.iter()).take(usize::try_from(last).unwrap()) {
                    let mut row = row.clone();
                    row.push(Value::Int(number));
                    expected.push((RowKind::Insert, row));
                }
            }
            prop_assert_eq!(drive(&node, &events), expected);
        }
    }
}
