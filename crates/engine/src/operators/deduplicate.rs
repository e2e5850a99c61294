//! ROW_NUMBER() OVER (PARTITION BY keys ORDER BY a time attribute) = 1: one row per key.
//!
//! | keeps | by | a row replaces the kept one when | gives |
//! |---|---|---|---|
//! | first | processing time | never | +I |
//! | first | rowtime | its time is smaller | +I, then -U +U |
//! | last | processing time | always (an equal row only under a TTL) | +I, then -U +U |
//! | last | rowtime | its time is not smaller | +I, then -U +U |
//!
//! - **Input**: inserts. **Output**: the input's columns; no -U towards a reader that keeps rows by key.
//! - **State**: per key the time, and the row itself where the operator must show or compare it again; in the store, where memory has
//!   no room.
//! - **Emits** per input row. **Drops state** by TTL: the next row of the key is then its first again.
//! - **Late rows** are rows like others, as in Flink.
//! - **Cost per row**: key encoding and one hash probe; the encoding of the row where rows are kept.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::{ChangeBatch, ChangelogMode, DataType, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::DeduplicateNode;

use super::aggregate::{Cells, FieldCells};
use super::picked::Picked;
use super::sliced::Sliced;
use crate::operator::{Operator, Output, StateWriter};
use crate::state::codec::{Reader, encode_row};
use crate::state::group_table::GroupTable;
use crate::state::store::{Loaded, StateStore};
use crate::state::vnode::{KeyHasher, hash_key};

const ROWS_TABLE: u8 = 0;

/// See the module's head.
pub struct Deduplicate {
    order: Option<usize>,
    keep_last: bool,
    has_ttl: bool,
    mode: ChangelogMode,
    schema: Schema,
    types: Vec<DataType>,
    hasher: KeyHasher,
    table: GroupTable,
    /// By slot: whether a row is kept, its time, and the row.
    is_kept: Vec<bool>,
    times: Vec<i64>,
    kept: FieldCells,
    // Buffers that are used again for every batch.
    rows: Vec<u32>,
    slots: Vec<u32>,
    row: Vec<u8>,
    changes: Picked,
    sweep: Vec<u32>,
    loaded: Loaded,
    value: Vec<u8>,
}

impl Deduplicate {
    /// Builds the operator of a node that gives the input's columns in `mode`.
    pub fn new(node: &DeduplicateNode, input: &Schema, mode: ChangelogMode) -> Result<Self> {
        if let Some(order) = node.order {
            let field = input.fields().get(order);
            let is_ms =
                field.is_some_and(|f| f.data_type.to_arrow() == ArrowType::Timestamp(TimeUnit::Millisecond, None));
            if !is_ms {
                return Err(Error::internal("deduplication orders by a column that is no rowtime attribute"));
            }
        }
        Ok(Deduplicate {
            order: node.order,
            keep_last: node.keep_last,
            has_ttl: node.state_ttl_ms > 0,
            mode,
            schema: input.clone(),
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            hasher: KeyHasher::new(node.keys.clone()),
            table: GroupTable::new(node.state_ttl_ms),
            is_kept: Vec::new(),
            times: Vec::new(),
            kept: FieldCells::default(),
            rows: Vec::new(),
            slots: Vec::new(),
            row: Vec::new(),
            changes: Picked::default(),
            sweep: Vec::new(),
            loaded: Loaded::default(),
            value: Vec::new(),
        })
    }

    /// Rows are kept to be taken back, or to be compared.
    fn keeps_rows(&self) -> bool {
        match (self.keep_last, self.order) {
            (false, None) => false,
            (true, None) => true,
            _ => self.mode == ChangelogMode::Full,
        }
    }

    fn grow(&mut self) {
        let slots = self.table.slot_count();
        self.is_kept.resize(slots, false);
        self.times.resize(slots, 0);
        if self.keeps_rows() {
            self.kept.grow(slots);
        }
    }

    /// Whether a row replaces the one that is kept.
    fn replaces(&self, slot: usize, time_ms: i64) -> bool {
        match (self.keep_last, self.order) {
            (false, None) => false,
            (true, None) => self.has_ttl || self.kept.get(slot) != Some(&self.row),
            (false, Some(_)) => time_ms < self.times[slot],
            (true, Some(_)) => time_ms >= self.times[slot],
        }
    }

    /// Decides on every row.
    fn decide(&mut self, batch: &RecordBatch, now_ms: i64) -> Result<()> {
        let order = match self.order {
            None => None,
            Some(column) => {
                let times = batch.column(column).as_primitive::<TimestampMillisecondType>();
                if times.null_count() > 0 {
                    let name = batch.schema_ref().field(column).name();
                    return Err(Error::data(format!("the time attribute `{name}` of a deduplication is NULL"))
                        .hint("filter rows without a time before, or give them one"));
                }
                Some(times)
            }
        };
        let keeps_rows = self.keeps_rows();
        for row in 0..batch.num_rows() {
            let slot_number = self.slots[row];
            let slot = slot_number as usize;
            let time_ms = order.map_or(0, |times| times.value(row));
            if keeps_rows {
                self.row.clear();
                encode_row(batch.columns(), row, &mut self.row)?;
            }
            let is_first = !self.is_kept[slot] || self.table.is_expired(slot_number, now_ms);
            if !is_first && !self.replaces(slot, time_ms) {
                continue;
            }
            if is_first {
                self.changes.push(RowKind::Insert, row);
            } else {
                if self.mode == ChangelogMode::Full {
                    let replaced = self.changes.keep(self.kept.get(slot).unwrap_or_default());
                    self.changes.push(RowKind::UpdateBefore, replaced);
                }
                self.changes.push(RowKind::UpdateAfter, row);
            }
            self.is_kept[slot] = true;
            self.times[slot] = time_ms;
            if keeps_rows {
                self.kept.set(slot, &self.row);
            }
            self.table.mark(slot_number, now_ms);
        }
        Ok(())
    }
}

impl Sliced for Deduplicate {
    fn table(&mut self) -> &mut GroupTable {
        &mut self.table
    }

    fn write_slot(&mut self, slot: u32, writer: &mut dyn StateWriter) {
        let mut value = std::mem::take(&mut self.value);
        self.table.put_head(slot, &mut value);
        value.extend(self.times[slot as usize].to_le_bytes());
        if self.keeps_rows() {
            value.extend_from_slice(self.kept.get(slot as usize).unwrap_or_default());
        }
        writer.put(ROWS_TABLE, self.table.vnode(slot), self.table.key(slot), &value);
        self.value = value;
    }

    fn write_gone(&mut self, writer: &mut dyn StateWriter) -> Result<bool> {
        Ok(self.table.write_gone(ROWS_TABLE, writer))
    }
}

impl Operator for Deduplicate {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        if batch.kinds.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != RowKind::Insert)) {
            return Err(Error::internal("a deduplication gets changes other than +I"));
        }
        let row_count = u32::try_from(batch.len())
            .map_err(|_| Error::internal(format!("a batch of {} rows reaches a deduplication", batch.len())))?;
        self.hasher.hash(&batch.rows)?;
        self.rows.clear();
        self.rows.extend(0..row_count);
        self.slots.clear();
        let (keys, hashes) = self.hasher.keys_and_hashes();
        self.table.slots(keys, hashes, &self.rows, &mut self.slots);
        self.grow();
        super::load_groups(self, ROWS_TABLE, |operator| (&mut operator.table, &mut operator.loaded))?;
        let slots = std::mem::take(&mut self.slots);
        self.copy_aside(&slots);
        self.slots = slots;
        self.changes.begin(batch.len());
        self.decide(&batch.rows, context.now_ms)?;
        self.changes.emit(&batch.rows, &self.types, &self.schema, output)
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, _: &mut Output) -> Result<i64> {
        if self.has_ttl {
            self.sweep.clear();
            self.table.sweep_step(context.now_ms, &mut self.sweep);
            let mut expired = std::mem::take(&mut self.sweep);
            self.copy_aside(&expired);
            for slot in expired.drain(..) {
                self.table.remove(slot);
                self.is_kept[slot as usize] = false;
            }
            self.sweep = expired;
        }
        Ok(watermark)
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.table.freeze(full);
        self.write_part(usize::MAX, writer).map(drop)
    }

    fn freeze(&mut self, full: bool, _: &mut dyn StateWriter) -> Result<bool> {
        self.table.freeze(full);
        Ok(false)
    }

    fn snapshot_part(&mut self, entries: usize, writer: &mut dyn StateWriter) -> Result<bool> {
        self.write_part(entries, writer)
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        if table != ROWS_TABLE {
            return Err(Error::internal(format!("a checkpoint holds a state table {table} of a deduplication")));
        }
        let slot = self.table.slot(key, hash_key(key));
        self.grow();
        let mut reader = Reader::new(value);
        self.table.restore_head(slot, &mut reader)?;
        self.times[slot as usize] = reader.i64()?;
        self.is_kept[slot as usize] = true;
        if self.keeps_rows() {
            self.kept.set(slot as usize, reader.rest());
        }
        Ok(())
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn spills(&self) -> bool {
        true
    }

    fn evict(&mut self, store: &StateStore) -> Result<()> {
        self.table = self.table.begin_anew(store);
        (self.is_kept, self.times, self.kept) = (Vec::new(), Vec::new(), FieldCells::default());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.table.bytes()
            + self.hasher.bytes()
            + self.is_kept.capacity()
            + self.times.capacity() * size_of::<i64>()
            + self.kept.bytes()
            + self.changes.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{Change, Event, change, fold, run, schema, show, string};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use wiesel_core::{TypeKind, Value};

    fn node(order: Option<usize>, keep: &str) -> DeduplicateNode {
        DeduplicateNode { keys: vec![0], order, keep_last: keep == "last", state_ttl_ms: 0 }
    }

    fn input() -> Schema {
        schema(&[string(), TypeKind::Timestamp(3), TypeKind::BigInt])
    }

    fn drive(node: &DeduplicateNode, mode: ChangelogMode, events: &[Event]) -> Vec<Change> {
        let new = || -> Box<dyn Operator> { Box::new(Deduplicate::new(node, &input(), mode).unwrap()) };
        run(&new, &input(), &input(), 0, events)
    }

    #[test]
    fn each_kind_of_deduplication_gives_flinks_changes() {
        let rows = ["a @5 1", "b @1 1", "a @5 2", "a @3 3", "a @3 3", "a @9 4"];
        let rows: Vec<Change> = rows.iter().map(|row| change(&format!("+I {row}"))).collect();
        let cases: [(Option<usize>, &str, ChangelogMode, &[&str]); 6] = [
            (None, "first", ChangelogMode::Insert, &["+I a @5 1", "+I b @1 1"]),
            (Some(1), "first", ChangelogMode::Upsert, &["+I a @5 1", "+I b @1 1", "+U a @3 3"]),
            (Some(1), "first", ChangelogMode::Full, &["+I a @5 1", "+I b @1 1", "-U a @5 1", "+U a @3 3"]),
            (None, "last", ChangelogMode::Upsert, &["+I a @5 1", "+I b @1 1", "+U a @5 2", "+U a @3 3", "+U a @9 4"]),
            (Some(1), "last", ChangelogMode::Upsert, &["+I a @5 1", "+I b @1 1", "+U a @5 2", "+U a @9 4"]),
            (
                Some(1),
                "last",
                ChangelogMode::Full,
                &["+I a @5 1", "+I b @1 1", "-U a @5 1", "+U a @5 2", "-U a @5 2", "+U a @9 4"],
            ),
        ];
        for (order, keep, mode, expected) in cases {
            let whole = drive(&node(order, keep), mode, &[Event::Rows(rows.clone())]);
            assert_eq!(show(&whole), expected, "{order:?} {keep} {mode:?}");
            let events: Vec<Event> =
                rows.iter().flat_map(|row| [Event::Rows(vec![row.clone()]), Event::Restart(false)]).collect();
            assert_eq!(show(&drive(&node(order, keep), mode, &events)), expected, "{order:?} {keep} {mode:?}");
        }
    }

    #[test]
    fn a_key_that_was_silent_for_its_time_to_live_begins_anew() {
        let node = DeduplicateNode { state_ttl_ms: 10, ..node(None, "last") };
        let row = || Event::Rows(vec![change("+I a @1 1")]);
        let at = |now_ms| Event::Advance(0, now_ms);
        let events = [row(), at(9), row(), at(18), Event::Restart(false), row(), at(28), row(), at(50), row()];
        let expected = ["+I a @1 1", "+U a @1 1", "+U a @1 1", "+I a @1 1", "+I a @1 1"];
        assert_eq!(show(&drive(&node, ChangelogMode::Upsert, &events)), expected);
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_keeps_the_same_rows(
            rows in prop::collection::vec((0..3, 0_i64..6, 0_i64..9), 0..40),
            cuts in prop::collection::vec((0_usize..9, 0_u8..3), 0..12),
            keep_last: bool,
            by_rowtime: bool,
        ) {
            let node = DeduplicateNode {
                keys: vec![0],
                order: by_rowtime.then_some(1),
                keep_last,
                state_ttl_ms: 0,
            };
            let rows: Vec<Change> = rows.iter().map(|(k, t, v)| change(&format!("+I k{k} @{t} {v}"))).collect();
            let (mut events, mut rest) = (Vec::new(), &rows[..]);
            for (length, what) in cuts {
                let (head, tail) = rest.split_at(length.min(rest.len()));
                events.push(Event::Rows(head.to_vec()));
                rest = tail;
                if what > 0 {
                    events.push(Event::Restart(what == 2));
                }
            }
            events.push(Event::Rows(rest.to_vec()));
            let full = drive(&node, ChangelogMode::Full, &events);
            let mut expected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for (_, row) in &rows {
                let time = |row: &[Value]| if let Value::Timestamp(t) = row[1] { t } else { 0 };
                let kept = expected.entry(format!("{:?}", &row[..1])).or_insert_with(|| row.clone());
                let replaces = match (by_rowtime, keep_last) {
                    (false, _) => keep_last,
                    (true, true) => time(row) >= time(kept),
                    (true, false) => time(row) < time(kept),
                };
                if replaces {
                    kept.clone_from(row);
                }
            }
            prop_assert_eq!(fold(&full, 1), expected);
            prop_assert_eq!(&full, &drive(&node, ChangelogMode::Full, &[Event::Rows(rows.clone())]));
            let upsert = drive(&node, ChangelogMode::Upsert, &events);
            let without: Vec<Change> = full.into_iter().filter(|c| c.0 != RowKind::UpdateBefore).collect();
            prop_assert_eq!(upsert, without);
        }
    }
}
