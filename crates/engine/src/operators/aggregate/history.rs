//! The accumulators that must remember more than one value per group, so that rows can be taken back: MIN and MAX, FIRST_VALUE and
//! LAST_VALUE over input that retracts, and the values that a DISTINCT has seen.
//!
//! Each value is an entry of an ordered table, never one growing blob, so a change costs what it changes, in memory and in a checkpoint.
//!
//! ```text
//! in memory:        slot (4 bytes, big-endian) | suffix            -> value
//! in a checkpoint:  [window end |] group key   | suffix            -> version, value
//! multiset:         suffix = field                                 -> how often it stands there
//! arrival order:    suffix = 0, sequence       -> field      and   suffix = 1, field, sequence -> nothing
//! ```

use wiesel_core::{Error, Result};

use super::fold::{Fold, Order};
use super::values::{Input, Values};
use crate::operator::StateWriter;
use crate::state::codec::{KeyBuffer, Reader, STATE_VERSION, check_version};
use crate::state::group_table::GroupTable;
use crate::state::ordered_table::{OrderedTable, StateValue};

/// State of an accumulator that stands in a table of its own.
pub(crate) trait History {
    /// The history is empty because its entries lie in the store: from now on it must tell what differs from that.
    fn begin_anew(&mut self);
    /// The slot's group is gone.
    fn release(&mut self, slot: u32, group: &[u8], vnode: u8);
    /// Writes changes (everything when `full`) with `prefix` in front of the group's key.
    fn snapshot(&mut self, full: bool, place: HistoryPlace<'_>, writer: &mut dyn StateWriter);
    /// Draws the line of a snapshot that is written by and by.
    fn freeze(&mut self, full: bool);
    /// Deletes the next entry of a group that is gone; returns whether there was one.
    fn write_gone(&mut self, place: HistoryPlace<'_>, writer: &mut dyn StateWriter) -> bool;
    /// Writes what changed before the line in a slot.
    fn write_slot(&mut self, slot: u32, place: HistoryPlace<'_>, writer: &mut dyn StateWriter);
    /// Takes an entry back and returns the highest sequence number in it.
    fn restore(&mut self, slot: u32, suffix: &[u8], value: &[u8]) -> Result<u64>;
}

/// Where a history goes in a checkpoint.
#[derive(Clone, Copy)]
pub(crate) struct HistoryPlace<'a> {
    pub(crate) table: u8,
    pub(crate) prefix: &'a [u8],
    pub(crate) groups: &'a GroupTable,
}

impl HistoryPlace<'_> {
    /// Writes a change of the entry that stands under the slot and a suffix.
    fn write<V: StateValue>(
        self,
        entry: &[u8],
        content: Option<&V>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
        writer: &mut dyn StateWriter,
    ) {
        let Some((slot, suffix)) = entry.split_first_chunk::<4>() else { return };
        let slot = u32::from_be_bytes(*slot);
        key.clear();
        key.extend_from_slice(self.prefix);
        key.extend_from_slice(self.groups.key(slot));
        key.extend_from_slice(suffix);
        match content {
            None => writer.delete(self.table, self.groups.vnode(slot), key),
            Some(content) => {
                value.clear();
                value.push(STATE_VERSION);
                content.encode(value);
                writer.put(self.table, self.groups.vnode(slot), key, value);
            }
        }
    }
}

/// Entries of groups, by slot.
#[derive(Debug)]
pub(crate) struct Entries<V> {
    table: OrderedTable<V>,
    /// Full keys of groups that are gone, as far as a checkpoint holds them.
    removed: KeyBuffer,
    removed_vnodes: Vec<u8>,
    /// Those of the snapshot that is being written, and how many of them are.
    gone: KeyBuffer,
    gone_vnodes: Vec<u8>,
    gone_next: usize,
    scratch: Vec<u8>,
    value: Vec<u8>,
}

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Entries {
            table: OrderedTable::default(),
            removed: KeyBuffer::default(),
            removed_vnodes: Vec::new(),
            gone: KeyBuffer::default(),
            gone_vnodes: Vec::new(),
            gone_next: 0,
            scratch: Vec::new(),
            value: Vec::new(),
        }
    }
}

fn prefix(slot: usize) -> [u8; 4] {
    u32::try_from(slot).unwrap_or(u32::MAX).to_be_bytes()
}

impl<V: StateValue> Entries<V> {
    // The key of an entry, in a buffer that is used again.
    fn key(&mut self, slot: usize, suffix: &[&[u8]]) -> Vec<u8> {
        let mut key = std::mem::take(&mut self.scratch);
        key.clear();
        key.extend(prefix(slot));
        for part in suffix {
            key.extend_from_slice(part);
        }
        key
    }

    fn reset(&mut self, slot: usize) {
        if !self.table.is_empty() {
            self.table.remove_prefix(&prefix(slot));
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes() + self.removed.capacity_bytes() + self.gone.capacity_bytes()
    }
}

impl Entries<i64> {
    /// Adds to how often a field stands there, and returns the number before and after. Never zero in the table.
    pub(crate) fn count(&mut self, slot: usize, field: &[u8], change: i64) -> (i64, i64) {
        let key = self.key(slot, &[field]);
        let before = self.table.get(&key).copied().unwrap_or(0);
        let after = before + change;
        if after == 0 {
            self.table.remove(&key);
        } else {
            self.table.put(&key, after);
        }
        self.scratch = key;
        (before, after)
    }

    /// The fields of a slot and how often each stands there.
    pub(crate) fn fields(&self, slot: usize) -> Vec<(&[u8], i64)> {
        let prefix = prefix(slot);
        self.table.range(&prefix).map(|(key, count)| (&key[prefix.len()..], *count)).collect()
    }

    pub(crate) fn clear_slot(&mut self, slot: usize) {
        self.reset(slot);
    }
}

impl<V: StateValue> History for Entries<V> {
    fn freeze(&mut self, full: bool) {
        self.table.freeze(full);
        self.gone = std::mem::take(&mut self.removed);
        self.gone_vnodes = std::mem::take(&mut self.removed_vnodes);
        // A full snapshot begins with nothing, so there is nothing to delete.
        self.gone_next = if full { self.gone.len() } else { 0 };
    }

    fn write_gone(&mut self, place: HistoryPlace<'_>, writer: &mut dyn StateWriter) -> bool {
        let Some(vnode) = self.gone_vnodes.get(self.gone_next) else { return false };
        writer.delete(place.table, *vnode, &[place.prefix, self.gone.key(self.gone_next)].concat());
        self.gone_next += 1;
        true
    }

    fn write_slot(&mut self, slot: u32, place: HistoryPlace<'_>, writer: &mut dyn StateWriter) {
        let (mut key, mut value) = (std::mem::take(&mut self.scratch), std::mem::take(&mut self.value));
        self.table.write_frozen(&slot.to_be_bytes(), |entry, content| {
            place.write(entry, content, &mut key, &mut value, writer);
        });
        (self.scratch, self.value) = (key, value);
    }

    fn begin_anew(&mut self) {
        *self = Entries { table: OrderedTable::tracking(), ..Entries::default() };
    }

    fn release(&mut self, slot: u32, group: &[u8], vnode: u8) {
        if self.table.is_empty() && !self.table.has_changes() {
            return;
        }
        let (removed, vnodes) = (&mut self.removed, &mut self.removed_vnodes);
        let mut full_key = std::mem::take(&mut self.scratch);
        self.table.release_prefix(&slot.to_be_bytes(), |key| {
            full_key.clear();
            full_key.extend_from_slice(group);
            full_key.extend_from_slice(&key[4..]);
            removed.push(&full_key);
            vnodes.push(vnode);
        });
        self.scratch = full_key;
    }

    fn snapshot(&mut self, full: bool, place: HistoryPlace<'_>, writer: &mut dyn StateWriter) {
        let removed = std::mem::take(&mut self.removed);
        let vnodes = std::mem::take(&mut self.removed_vnodes);
        for (key, vnode) in removed.iter().zip(vnodes).filter(|_| !full) {
            writer.delete(place.table, vnode, &[place.prefix, key].concat());
        }
        let (mut key, mut value) = (Vec::new(), Vec::new());
        self.table.take_changes(full, |entry, content| {
            place.write(entry, content, &mut key, &mut value, writer);
        });
    }

    fn restore(&mut self, slot: u32, suffix: &[u8], value: &[u8]) -> Result<u64> {
        let mut reader = Reader::new(value);
        check_version(reader.byte()?)?;
        let key = self.key(slot as usize, &[suffix]);
        self.table.restore(&key, reader)?;
        self.scratch = key;
        Ok(0)
    }
}

/// MIN and MAX over rows that may be taken back: a multiset of all values.
#[derive(Debug)]
pub(crate) struct ExtremeHistory {
    entries: Entries<i64>,
    order: Order,
}

impl ExtremeHistory {
    pub(crate) fn new(order: Order) -> Self {
        ExtremeHistory { entries: Entries::default(), order }
    }
}

impl Fold for ExtremeHistory {
    type In = [u8];
    fn value(input: &Input, row: usize) -> &[u8] {
        input.bytes.key(row)
    }
    fn grow(&mut self, _: usize) {}
    fn reset(&mut self, slot: usize) {
        self.entries.reset(slot);
    }
    fn add(&mut self, slot: usize, value: &[u8], _: u64) {
        self.entries.count(slot, value, 1);
    }
    fn retract(&mut self, slot: usize, value: &[u8]) {
        self.entries.count(slot, value, -1);
    }
    fn push(&self, slot: usize, out: &mut Values) {
        let prefix = prefix(slot);
        // A value that was taken back more often than it came counts below zero and waits for its row.
        let mut standing = self.entries.table.range(&prefix).filter(|(_, count)| **count > 0);
        let found = match self.order {
            Order::First => standing.next(),
            Order::Last => standing.next_back(),
        };
        match found {
            None => out.push_null(),
            Some((key, _)) => out.push_bytes(&key[prefix.len()..]),
        }
    }
    fn merge(&mut self, slot: usize, other: &Self, other_slot: usize) {
        for (field, count) in other.entries.fields(other_slot) {
            self.entries.count(slot, field, count);
        }
    }
    fn encode(&self, _: usize, _: &mut Vec<u8>) {}
    fn decode(&mut self, _: usize, _: &mut Reader<'_>) -> Result<u64> {
        Ok(0)
    }
    fn bytes(&self) -> usize {
        self.entries.bytes()
    }
    fn history(&mut self) -> Option<&mut dyn History> {
        Some(&mut self.entries)
    }
}

/// FIRST_VALUE and LAST_VALUE over rows that may be taken back: all values in the order they came. A retraction takes the earliest
/// occurrence of its value, as Flink does.
#[derive(Debug)]
pub(crate) struct ArrivalHistory {
    entries: Entries<Box<[u8]>>,
    order: Order,
    taken: Taken,
}

/// Which of several equal values a retraction takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Earliest,
    Latest,
}

const BY_ARRIVAL: u8 = 0;
const BY_VALUE: u8 = 1;

impl ArrivalHistory {
    pub(crate) fn new(order: Order) -> Self {
        Self::taking(order, Taken::Earliest)
    }

    pub(crate) fn taking(order: Order, taken: Taken) -> Self {
        ArrivalHistory { entries: Entries::default(), order, taken }
    }

    /// The values of a slot in the order they came.
    pub(crate) fn values(&self, slot: usize) -> Vec<&[u8]> {
        self.entries.table.range(&Self::by_arrival(slot)).map(|(_, value)| &**value).collect()
    }

    fn by_arrival(slot: usize) -> [u8; 5] {
        let [a, b, c, d] = prefix(slot);
        [a, b, c, d, BY_ARRIVAL]
    }
}

impl Fold for ArrivalHistory {
    type In = [u8];
    fn value(input: &Input, row: usize) -> &[u8] {
        input.bytes.key(row)
    }
    fn grow(&mut self, _: usize) {}
    fn reset(&mut self, slot: usize) {
        self.entries.reset(slot);
    }
    fn add(&mut self, slot: usize, value: &[u8], sequence: u64) {
        let sequence = sequence.to_be_bytes();
        let key = self.entries.key(slot, &[&[BY_ARRIVAL], &sequence]);
        self.entries.table.put(&key, value.into());
        self.entries.scratch = key;
        let key = self.entries.key(slot, &[&[BY_VALUE], value, &sequence]);
        self.entries.table.put(&key, Box::default());
        self.entries.scratch = key;
    }
    fn retract(&mut self, slot: usize, value: &[u8]) {
        let key = self.entries.key(slot, &[&[BY_VALUE], value]);
        let found = match self.taken {
            Taken::Earliest => self.entries.table.first(&key),
            Taken::Latest => self.entries.table.last(&key),
        };
        let by_value = found.map(|(key, _)| key.to_vec());
        self.entries.scratch = key;
        let Some(by_value) = by_value else { return };
        self.entries.table.remove(&by_value);
        let sequence = &by_value[by_value.len() - 8..];
        let key = self.entries.key(slot, &[&[BY_ARRIVAL], sequence]);
        self.entries.table.remove(&key);
        self.entries.scratch = key;
    }
    fn push(&self, slot: usize, out: &mut Values) {
        let prefix = Self::by_arrival(slot);
        let found = match self.order {
            Order::First => self.entries.table.first(&prefix),
            Order::Last => self.entries.table.last(&prefix),
        };
        match found {
            None => out.push_null(),
            Some((_, value)) => out.push_bytes(value),
        }
    }
    fn merge(&mut self, slot: usize, other: &Self, other_slot: usize) {
        let prefix = Self::by_arrival(other_slot);
        for (key, value) in other.entries.table.range(&prefix) {
            let mut sequence = [0; 8];
            sequence.copy_from_slice(&key[prefix.len()..]);
            self.add(slot, value, u64::from_be_bytes(sequence));
        }
    }
    fn encode(&self, _: usize, _: &mut Vec<u8>) {}
    fn decode(&mut self, _: usize, _: &mut Reader<'_>) -> Result<u64> {
        Ok(0)
    }
    fn bytes(&self) -> usize {
        self.entries.bytes()
    }
    fn history(&mut self) -> Option<&mut dyn History> {
        Some(&mut *self)
    }
}

impl History for ArrivalHistory {
    fn begin_anew(&mut self) {
        self.entries.begin_anew();
    }
    fn release(&mut self, slot: u32, group: &[u8], vnode: u8) {
        self.entries.release(slot, group, vnode);
    }
    fn snapshot(&mut self, full: bool, place: HistoryPlace<'_>, writer: &mut dyn StateWriter) {
        self.entries.snapshot(full, place, writer);
    }
    fn freeze(&mut self, full: bool) {
        self.entries.freeze(full);
    }
    fn write_gone(&mut self, place: HistoryPlace<'_>, writer: &mut dyn StateWriter) -> bool {
        self.entries.write_gone(place, writer)
    }
    fn write_slot(&mut self, slot: u32, place: HistoryPlace<'_>, writer: &mut dyn StateWriter) {
        self.entries.write_slot(slot, place, writer);
    }
    fn restore(&mut self, slot: u32, suffix: &[u8], value: &[u8]) -> Result<u64> {
        let sequence = suffix
            .last_chunk::<8>()
            .filter(|_| suffix.len() > 8)
            .ok_or_else(|| Error::internal("a state entry of FIRST_VALUE or LAST_VALUE has no sequence number"))?;
        self.entries.restore(slot, suffix, value)?;
        Ok(u64::from_be_bytes(*sequence))
    }
}
