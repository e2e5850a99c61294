//! Makes a whole changelog out of upserts, or out of changes that may come twice: the last row of each primary key stands.
//!
//! A source of upserts tells neither what a row was before nor whether it is new, and after an outage a change capture may tell again what
//! it has told. Behind this operator every change is what it says: +I once, -U and -D with the row that stood.
//!
//! | change | the key has | gives |
//! |---|---|---|
//! | +I, +U | no row | +I |
//! | +I, +U | an equal row | nothing; under a TTL -U, +U, so that readers keep theirs alive too |
//! | +I, +U | another row | -U of the row that stood, +U |
//! | -U | any | nothing: its +U follows |
//! | -D | a row | -D of the row that stood, whatever the change holds besides its key |
//! | -D | no row | nothing |
//!
//! - **Input**: any changelog by the key; -U may be missing. **Output**: a whole changelog, without -U towards a reader that keeps rows
//!   by key.
//! - **State**: the last row of every key; in the store, where memory has no room. **Emits** per input row. **Drops state** with a -D and by TTL: the next row of the key is then
//!   its first again.
//! - **Late rows** are rows like others: the order of arrival counts, not that of time.
//! - **Cost per row**: key encoding, one hash probe, the encoding of the row; a row that is replaced is decoded again.

use arrow_array::RecordBatch;
use wiesel_core::{ChangeBatch, ChangelogMode, DataType, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::ChangelogNormalizeNode;

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
pub struct ChangelogNormalize {
    has_ttl: bool,
    mode: ChangelogMode,
    schema: Schema,
    types: Vec<DataType>,
    hasher: KeyHasher,
    table: GroupTable,
    /// By slot: whether the key has a row, and the row.
    is_kept: Vec<bool>,
    kept: FieldCells,
    // Buffers that are used again for every batch.
    rows: Vec<u32>,
    slots: Vec<u32>,
    row: Vec<u8>,
    changes: Picked,
    gone: Vec<u32>,
    loaded: Loaded,
    value: Vec<u8>,
}

impl ChangelogNormalize {
    /// Builds the operator of a node that gives the input's columns in `mode`.
    pub fn new(node: &ChangelogNormalizeNode, input: &Schema, mode: ChangelogMode) -> Result<Self> {
        if node.primary_key.is_empty() || node.primary_key.iter().any(|column| *column >= input.len()) {
            return Err(Error::internal("a changelog is normalized by a key that its input does not have"));
        }
        Ok(ChangelogNormalize {
            has_ttl: node.state_ttl_ms > 0,
            mode,
            schema: input.clone(),
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            hasher: KeyHasher::new(node.primary_key.clone()),
            table: GroupTable::new(node.state_ttl_ms),
            is_kept: Vec::new(),
            kept: FieldCells::default(),
            rows: Vec::new(),
            slots: Vec::new(),
            row: Vec::new(),
            changes: Picked::default(),
            gone: Vec::new(),
            loaded: Loaded::default(),
            value: Vec::new(),
        })
    }

    fn grow(&mut self) {
        let slots = self.table.slot_count();
        self.is_kept.resize(slots, false);
        self.kept.grow(slots);
    }

    /// Tells of the row that stood.
    fn tell_before(&mut self, kind: RowKind, slot: usize) {
        let before = self.changes.keep(self.kept.get(slot).unwrap_or_default());
        self.changes.push(kind, before);
    }

    fn add(&mut self, batch: &RecordBatch, row: usize, slot_number: u32, now_ms: i64) -> Result<()> {
        let slot = slot_number as usize;
        self.row.clear();
        encode_row(batch.columns(), row, &mut self.row)?;
        if !self.is_kept[slot] {
            self.changes.push(RowKind::Insert, row);
        } else if !self.has_ttl && self.kept.get(slot) == Some(&self.row) {
            return Ok(());
        } else {
            if self.mode == ChangelogMode::Full {
                self.tell_before(RowKind::UpdateBefore, slot);
            }
            self.changes.push(RowKind::UpdateAfter, row);
        }
        self.is_kept[slot] = true;
        self.kept.set(slot, &self.row);
        self.table.mark(slot_number, now_ms);
        Ok(())
    }
}

impl Sliced for ChangelogNormalize {
    fn table(&mut self) -> &mut GroupTable {
        &mut self.table
    }

    fn write_slot(&mut self, slot: u32, writer: &mut dyn StateWriter) {
        let mut value = std::mem::take(&mut self.value);
        self.table.put_head(slot, &mut value);
        value.extend_from_slice(self.kept.get(slot as usize).unwrap_or_default());
        writer.put(ROWS_TABLE, self.table.vnode(slot), self.table.key(slot), &value);
        self.value = value;
    }

    fn write_gone(&mut self, writer: &mut dyn StateWriter) -> Result<bool> {
        Ok(self.table.write_gone(ROWS_TABLE, writer))
    }
}

impl Operator for ChangelogNormalize {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let row_count = u32::try_from(batch.len())
            .map_err(|_| Error::internal(format!("a batch of {} rows reaches a normalization", batch.len())))?;
        self.hasher.hash(&batch.rows)?;
        self.rows.clear();
        self.rows.extend(0..row_count);
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        let (keys, hashes) = self.hasher.keys_and_hashes();
        self.table.slots(keys, hashes, &self.rows, &mut slots);
        self.grow();
        super::load_groups(self, ROWS_TABLE, |operator| (&mut operator.table, &mut operator.loaded))?;
        self.copy_aside(&slots);
        self.changes.begin(batch.len());
        self.gone.clear();
        for (row, &slot_number) in slots.iter().enumerate() {
            let slot = slot_number as usize;
            if self.is_kept[slot] && self.table.is_expired(slot_number, context.now_ms) {
                self.is_kept[slot] = false;
            }
            match batch.kind(row) {
                RowKind::Insert | RowKind::UpdateAfter => self.add(&batch.rows, row, slot_number, context.now_ms)?,
                RowKind::UpdateBefore => {}
                RowKind::Delete if self.is_kept[slot] => {
                    self.tell_before(RowKind::Delete, slot);
                    self.is_kept[slot] = false;
                }
                RowKind::Delete => {}
            }
        }
        // A later row of the batch may have brought its key back, so keys go when all rows are done.
        self.gone.extend(slots.iter().filter(|slot| !self.is_kept[**slot as usize]));
        self.gone.sort_unstable();
        self.gone.dedup();
        for slot in self.gone.drain(..) {
            self.table.remove(slot);
        }
        self.slots = slots;
        self.changes.emit(&batch.rows, &self.types, &self.schema, output)
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, _: &mut Output) -> Result<i64> {
        if self.has_ttl {
            self.gone.clear();
            self.table.sweep_step(context.now_ms, &mut self.gone);
            let mut expired = std::mem::take(&mut self.gone);
            self.copy_aside(&expired);
            for slot in expired.drain(..) {
                self.table.remove(slot);
                self.is_kept[slot as usize] = false;
            }
            self.gone = expired;
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
            return Err(Error::internal(format!("a checkpoint holds a state table {table} of a normalization")));
        }
        let slot = self.table.slot(key, hash_key(key));
        self.grow();
        let mut reader = Reader::new(value);
        self.table.restore_head(slot, &mut reader)?;
        self.is_kept[slot as usize] = true;
        self.kept.set(slot as usize, reader.rest());
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
        (self.is_kept, self.kept) = (Vec::new(), FieldCells::default());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.table.bytes() + self.hasher.bytes() + self.is_kept.capacity() + self.kept.bytes() + self.changes.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{Change, Event, change, fold, run, schema, show, string};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use wiesel_core::{TypeKind, Value};

    fn drive(ttl_ms: u64, mode: ChangelogMode, events: &[Event]) -> Vec<Change> {
        let input = schema(&[string(), TypeKind::BigInt]);
        let node = ChangelogNormalizeNode { primary_key: vec![0], state_ttl_ms: ttl_ms };
        let new = || -> Box<dyn Operator> { Box::new(ChangelogNormalize::new(&node, &input, mode).unwrap()) };
        run(&new, &input, &input, 0, events)
    }

    #[test]
    fn upserts_and_repeated_changes_become_a_whole_changelog() {
        let rows = [
            "+U a 1", "+I a 1", "+U a 2", "-U a 2", "+U a 3", "-D b 9", "+I b 1", "-D a 0", "-D a 0", "+U a 3",
            "-U b 1",
        ];
        let full = ["+I a 1", "-U a 1", "+U a 2", "-U a 2", "+U a 3", "+I b 1", "-D a 3", "+I a 3"];
        let upsert: Vec<&str> = full.iter().copied().filter(|row| !row.starts_with("-U")).collect();
        let one = [Event::Rows(rows.iter().map(|row| change(row)).collect())];
        let each: Vec<Event> =
            rows.iter().flat_map(|row| [Event::Rows(vec![change(row)]), Event::Restart(false)]).collect();
        for events in [&one[..], &each] {
            assert_eq!(show(&drive(0, ChangelogMode::Full, events)), full);
            assert_eq!(show(&drive(0, ChangelogMode::Upsert, events)), upsert);
        }
    }

    #[test]
    fn under_a_time_to_live_equal_rows_are_told_again_and_silent_keys_begin_anew() {
        let row = |text: &str| Event::Rows(vec![change(text)]);
        let at = |now_ms| Event::Advance(0, now_ms);
        let events =
            [row("+I a 1"), at(9), row("+I a 1"), at(18), row("+U a 1"), at(40), row("+U a 1"), at(80), row("-D a 1")];
        let expected = ["+I a 1", "-U a 1", "+U a 1", "-U a 1", "+U a 1", "+I a 1"];
        assert_eq!(show(&drive(10, ChangelogMode::Full, &events)), expected);
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_keeps_the_last_row_of_each_key(
            steps in prop::collection::vec((0..4, 0_i64..3, 0_usize..4, 0_u8..5), 0..60),
        ) {
            let mut expected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            let (mut cut, mut whole, mut batch) = (Vec::new(), Vec::new(), Vec::new());
            for (key, value, kind, what) in steps {
                let row = change(&format!("{} k{key} {value}", ["+I", "+U", "-U", "-D"][kind]));
                let place = format!("{:?}", &row.1[..1]);
                match kind {
                    0 | 1 => _ = expected.insert(place, row.1.clone()),
                    3 => _ = expected.remove(&place),
                    _ => {}
                }
                whole.push(row.clone());
                batch.push(row);
                if what > 1 {
                    cut.push(Event::Rows(std::mem::take(&mut batch)));
                }
                if what > 2 {
                    cut.push(Event::Restart(what == 4));
                }
            }
            cut.push(Event::Rows(batch));
            let full = drive(0, ChangelogMode::Full, &cut);
            prop_assert_eq!(fold(&full, 1), expected);
            prop_assert_eq!(&full, &drive(0, ChangelogMode::Full, &[Event::Rows(whole)]));
            let without: Vec<Change> = full.into_iter().filter(|c| c.0 != RowKind::UpdateBefore).collect();
            prop_assert_eq!(drive(0, ChangelogMode::Upsert, &cut), without);
        }
    }
}
