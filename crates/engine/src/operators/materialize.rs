//! The upsert materializer: makes one row per primary key out of changes whose own key is another.
//!
//! Two rows with one primary key may stand at once, and come from different places: the sink must not delete the one because the other
//! went. So all rows of a key are kept in the order they came, and the sink is shown the last of them.
//!
//! | change | the list of the key | gives |
//! |---|---|---|
//! | +I, +U | was empty | +I |
//! | +I, +U | was not | +U |
//! | -U, -D of the only row | becomes empty | -D |
//! | -U, -D of the last row | gets shorter | +U of the one before |
//! | -U, -D of another row | gets shorter | nothing |
//! | -U, -D of no row | stays | nothing, and it is counted |
//!
//! - **Input**: a changelog with -U. **Output**: an upsert changelog by the primary key.
//! - **State**: the rows of every key, by arrival. With an upsert key of the input a row takes the place of the one with the same key; else
//!   rows are compared whole. **Drops state** with a key's last row and by TTL.
//! - **Late rows** do not exist here. **Cost per row**: one encoding, one probe and a walk over the rows of its key.

use arrow_array::{ArrayRef, RecordBatch};
use wiesel_core::{ChangeBatch, DataType, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::MaterializeNode;

use super::keyed_rows::{self, KeyedRows, Restored, arrival_of};
use super::picked::Picked;
use super::sliced::Sliced;
use crate::operator::{Operator, Output, StateWriter};
use crate::state::codec::{KeyBuffer, Reader, encode_keys, encode_row, put_bytes};
use crate::state::group_table::GroupTable;
use crate::state::store::StateStore;

/// See the module's head.
pub struct Materialize {
    upsert_key: Vec<usize>,
    schema: Schema,
    types: Vec<DataType>,
    rows: KeyedRows,
    sequence: u64,
    ignored_retractions: u64,
    // Buffers that are used again for every batch.
    slots: Vec<u32>,
    row: Vec<u8>,
    row_keys: KeyBuffer,
    changes: Picked,
}

impl Materialize {
    /// Builds the operator of a node.
    pub fn new(node: &MaterializeNode, input: &Schema) -> Result<Self> {
        if node.upsert_key.iter().any(|column| *column >= input.len()) {
            return Err(Error::internal("an upsert materializer keys by a column that its input does not have"));
        }
        Ok(Materialize {
            upsert_key: node.upsert_key.clone(),
            schema: input.clone(),
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            rows: KeyedRows::new(&node.primary_key, input, node.state_ttl_ms, 0)?,
            sequence: 0,
            ignored_retractions: 0,
            slots: Vec::new(),
            row: Vec::new(),
            row_keys: KeyBuffer::default(),
            changes: Picked::default(),
        })
    }

    // What is kept: the key by which rows are compared, and the row.
    fn encode(&mut self, batch: &RecordBatch, row: usize) -> Result<()> {
        self.row.clear();
        put_bytes(if self.upsert_key.is_empty() { &[] } else { self.row_keys.key(row) }, &mut self.row);
        encode_row(batch.columns(), row, &mut self.row)
    }

    /// The place of the first row that is the same.
    fn find(&self, slot: u32) -> Result<Option<Vec<u8>>> {
        let compared = |kept: &[u8]| -> Result<Vec<u8>> {
            let mut reader = Reader::new(kept);
            let key = reader.bytes()?;
            Ok(if self.upsert_key.is_empty() { reader.rest() } else { key }.to_vec())
        };
        let wanted = compared(&self.row)?;
        for (suffix, kept) in self.rows.range(slot, &[]) {
            if compared(kept)? == wanted {
                return Ok(Some(suffix.to_vec()));
            }
        }
        Ok(None)
    }

    fn add(&mut self, slot: u32, row: usize) -> Result<()> {
        let is_first = self.rows.range(slot, &[]).next().is_none();
        let place = if self.upsert_key.is_empty() { None } else { self.find(slot)? };
        match place {
            Some(suffix) => self.rows.put(slot, &[&suffix], &self.row),
            None => {
                self.rows.put(slot, &[&self.sequence.to_be_bytes()], &self.row);
                self.sequence += 1;
            }
        }
        self.changes.push(if is_first { RowKind::Insert } else { RowKind::UpdateAfter }, row);
        Ok(())
    }

    fn retract(&mut self, slot: u32, row: usize) -> Result<()> {
        let Some(suffix) = self.find(slot)? else {
            self.ignored_retractions += 1;
            return Ok(());
        };
        let was_last = self.rows.last(slot, &[]).is_some_and(|(last, _)| last == suffix);
        self.rows.remove(slot, &[&suffix]);
        let last = self.rows.last(slot, &[]);
        match last {
            None => self.changes.push(RowKind::Delete, row),
            Some((_, kept)) if was_last => {
                let mut reader = Reader::new(kept);
                reader.bytes()?;
                let before = self.changes.keep(reader.rest());
                self.changes.push(RowKind::UpdateAfter, before);
            }
            Some(_) => {}
        }
        Ok(())
    }
}

impl Sliced for Materialize {
    fn table(&mut self) -> &mut GroupTable {
        &mut self.rows.keys
    }

    fn write_slot(&mut self, slot: u32, writer: &mut dyn StateWriter) {
        self.rows.write_slot(slot, writer, |_| {});
    }

    fn write_gone(&mut self, writer: &mut dyn StateWriter) -> Result<bool> {
        self.rows.write_gone(writer)
    }
}

impl Operator for Materialize {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let now_ms = context.now_ms;
        let mut slots = std::mem::take(&mut self.slots);
        self.rows.slots(&batch.rows, &mut slots)?;
        keyed_rows::load(self, |operator| &mut operator.rows)?;
        self.copy_aside(&slots);
        self.row_keys.clear();
        if !self.upsert_key.is_empty() {
            let columns: Vec<ArrayRef> = self.upsert_key.iter().map(|c| batch.rows.column(*c).clone()).collect();
            encode_keys(&columns, batch.len(), &mut self.row_keys)?;
        }
        self.changes.begin(batch.len());
        for (row, &slot) in slots.iter().enumerate() {
            if self.rows.keys.is_expired(slot, now_ms) {
                self.rows.clear(slot);
            }
            self.encode(&batch.rows, row)?;
            if batch.kind(row).is_add() {
                self.add(slot, row)?;
            } else {
                self.retract(slot, row)?;
            }
            self.rows.keys.mark(slot, now_ms);
        }
        slots.sort_unstable();
        slots.dedup();
        slots.retain(|slot| self.rows.range(*slot, &[]).next().is_none());
        slots.drain(..).for_each(|slot| self.rows.release(slot));
        self.slots = slots;
        self.changes.emit(&batch.rows, &self.types, &self.schema, output)
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, _: &mut Output) -> Result<i64> {
        let expired = self.rows.expired(context.now_ms);
        self.copy_aside(&expired);
        expired.into_iter().for_each(|slot| self.rows.release(slot));
        Ok(watermark)
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.rows.snapshot(full, writer, |_, _| {})
    }

    fn freeze(&mut self, full: bool, _: &mut dyn StateWriter) -> Result<bool> {
        self.rows.freeze(full);
        Ok(false)
    }

    fn snapshot_part(&mut self, entries: usize, writer: &mut dyn StateWriter) -> Result<bool> {
        self.write_part(entries, writer)
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        if let Restored::Row(suffix) = self.rows.restore(table, key, value)? {
            self.sequence = self.sequence.max(arrival_of(suffix)? + 1);
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
        self.rows.begin_anew(store);
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes() + self.row_keys.capacity_bytes() + self.changes.bytes()
    }

    fn ignored_retractions(&self) -> u64 {
        self.ignored_retractions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{Change, Event, change, fold, run, schema, show, string};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use wiesel_core::{TypeKind, Value};

    // Columns: primary key, upsert key, value.
    fn drive(upsert_key: &[usize], ttl_ms: u64, events: &[Event]) -> Vec<Change> {
        let input = schema(&[string(), TypeKind::Int, TypeKind::BigInt]);
        let node = MaterializeNode { primary_key: vec![0], upsert_key: upsert_key.to_vec(), state_ttl_ms: ttl_ms };
        let new = || -> Box<dyn Operator> { Box::new(Materialize::new(&node, &input).unwrap()) };
        run(&new, &input, &input, 0, events)
    }

    #[test]
    fn the_last_row_of_a_key_stands() {
        let rows = [
            "+I a 1 5", "+I a 2 6", "-U a 1 5", "+U a 1 7", "-D a 1 7", "-D a 9 9", "-D a 2 6", "+I b 3 1", "-U b 3 1",
            "+U c 3 1",
        ];
        let by_row = ["+I a 1 5", "+U a 2 6", "+U a 1 7", "+U a 2 6", "-D a 2 6", "+I b 3 1", "-D b 3 1", "+I c 3 1"];
        for key in [vec![], vec![1]] {
            let one = [Event::Rows(rows.iter().map(|row| change(row)).collect())];
            assert_eq!(show(&drive(&key, 0, &one)), by_row, "{key:?}");
            let each: Vec<Event> =
                rows.iter().flat_map(|row| [Event::Rows(vec![change(row)]), Event::Restart(false)]).collect();
            assert_eq!(show(&drive(&key, 0, &each)), by_row, "{key:?}");
        }
    }

    #[test]
    fn with_an_upsert_key_a_row_takes_the_place_of_its_older_self() {
        let rows = ["+I a 1 5", "+I a 2 6", "+U a 1 7", "-D a 2 0", "-D a 1 0"];
        let one = [Event::Rows(rows.iter().map(|row| change(row)).collect())];
        assert_eq!(show(&drive(&[1], 0, &one)), ["+I a 1 5", "+U a 2 6", "+U a 1 7", "+U a 1 7", "-D a 1 0"]);
    }

    #[test]
    fn a_key_that_was_silent_for_its_time_to_live_begins_anew() {
        let row = |text: &str| Event::Rows(vec![change(text)]);
        let events = [
            Event::Advance(0, 1),
            row("+I a 1 5"),
            Event::Advance(0, 11),
            row("+I a 2 6"),
            Event::Advance(0, 16),
            row("-D a 1 5"),
            row("-D a 2 6"),
        ];
        assert_eq!(show(&drive(&[], 10, &events)), ["+I a 1 5", "+I a 2 6", "-D a 2 6"]);
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_leaves_the_last_standing_row(
            steps in prop::collection::vec((0..3, 0_i64..4, any::<prop::sample::Index>(), 0..3, 0_u8..4), 0..50),
        ) {
            let mut standing: Vec<Vec<Value>> = Vec::new();
            let (mut events, mut number) = (Vec::new(), 0);
            for (key, value, which, action, what) in steps {
                let row = if action == 0 && !standing.is_empty() {
                    (RowKind::Delete, standing.remove(which.index(standing.len())))
                } else {
                    number += 1;
                    let row = change(&format!("+I k{key} {number} {value}"));
                    standing.push(row.1.clone());
                    row
                };
                events.push(Event::Rows(vec![row]));
                if what > 1 {
                    events.push(Event::Restart(what == 3));
                }
            }
            let mut expected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for row in &standing {
                expected.insert(format!("{:?}", &row[..1]), row.clone());
            }
            prop_assert_eq!(fold(&drive(&[], 0, &events), 1), expected.clone());
            prop_assert_eq!(fold(&drive(&[1], 0, &events), 1), expected);
        }
    }
}
