//! Rows by order: key bytes (a prefix that names the group, then a sort suffix) to a value, with scans by prefix from either end.
//!
//! It holds the history that an accumulator needs to take a row back: every value of a MIN or MAX under retraction, the multiset of a
//! DISTINCT, and later the rows of joins and Top-N. The table remembers which keys differ from the last snapshot, and nothing about
//! entries that came and went between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::codec::{Reader, put_bytes, put_varint};
use wiesel_core::{Error, Result};

/// What an ordered table can hold.
pub trait StateValue: Clone + std::fmt::Debug + Send {
    /// Appends the bytes for a checkpoint.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what `encode` wrote.
    fn decode(reader: &mut Reader<'_>) -> Result<Self>;
    /// Bytes held on the heap.
    fn heap_bytes(&self) -> usize;
}

/// How often a value stands in a multiset.
impl StateValue for i64 {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.cast_unsigned(), out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(reader.varint()?.cast_signed())
    }
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// An encoded row or field.
impl StateValue for Box<[u8]> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(self, out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(reader.bytes()?.into())
    }
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

/// A key alone.
impl StateValue for () {
    fn encode(&self, _out: &mut Vec<u8>) {}
    fn decode(_reader: &mut Reader<'_>) -> Result<Self> {
        Ok(())
    }
    fn heap_bytes(&self) -> usize {
        0
    }
}

#[derive(Debug, Clone)]
struct Entry<V> {
    value: V,
    is_stored: bool,
}

/// An ordered map of byte keys.
#[derive(Debug, Clone)]
pub struct OrderedTable<V> {
    entries: BTreeMap<Box<[u8]>, Entry<V>>,
    /// Whether there was a snapshot. Before the first one every entry is a change, and nothing is remembered.
    tracks: bool,
    /// Keys whose entry differs from the last snapshot; one that is not in `entries` was in that snapshot and is gone.
    changed: BTreeSet<Box<[u8]>>,
    /// What of it a snapshot that is written by and by has still to write; every entry stands for itself when `is_frozen_full`.
    frozen: BTreeSet<Box<[u8]>>,
    is_frozen_full: bool,
    bytes: usize,
}

impl<V> Default for OrderedTable<V> {
    fn default() -> Self {
        OrderedTable {
            entries: BTreeMap::new(),
            tracks: false,
            changed: BTreeSet::new(),
            frozen: BTreeSet::new(),
            is_frozen_full: false,
            bytes: 0,
        }
    }
}

/// What an entry costs beside its key and value: the box, the value, and its share of a tree node.
const ENTRY_BYTES: usize = 48;

/// The smallest key above all keys that begin with `prefix`; `None` when there is none.
pub(super) fn above(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

impl<V> OrderedTable<V> {
    /// An empty table of which a snapshot, or the store, may hold entries that are about to be loaded.
    pub fn tracking() -> Self {
        OrderedTable { tracks: true, ..OrderedTable::default() }
    }
}

impl<V: StateValue> OrderedTable<V> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Sets the value of a key.
    pub fn put(&mut self, key: &[u8], value: V) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.bytes = self.bytes + value.heap_bytes() - entry.value.heap_bytes();
            entry.value = value;
        } else {
            self.bytes += ENTRY_BYTES + key.len() + value.heap_bytes();
            // A key that changed and is not here was deleted since the last snapshot, which holds it still.
            let is_stored = self.tracks && self.changed.contains(key);
            self.entries.insert(key.into(), Entry { value, is_stored });
        }
        if self.tracks && !self.changed.contains(key) {
            self.changed.insert(key.into());
        }
    }

    /// Removes a key and gives its value back.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.bytes -= ENTRY_BYTES + key.len() + entry.value.heap_bytes();
        if entry.is_stored {
            self.changed.insert(key.into());
        } else if self.tracks {
            self.changed.remove(key);
        }
        Some(entry.value)
    }

    /// The entries whose key begins with `prefix`, in order.
    pub fn scan<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a V)> {
        self.entries
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| (&**key, &entry.value))
    }

    /// The same, from both ends.
    pub fn range<'a>(&'a self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a V)> + use<'a, V> {
        let end = above(prefix);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.entries.range::<[u8], _>((Bound::Included(prefix), upper));
        range.map(|(key, entry)| (&**key, &entry.value))
    }

    /// The entries whose key lies between two keys, both included.
    pub fn between(&self, low: &[u8], high: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], &V)> {
        // A range that ends before it begins is empty, and no mistake of the caller.
        let low = if low > high { high } else { low };
        let range = self.entries.range::<[u8], _>((Bound::Included(low), Bound::Included(high)));
        range.map(|(key, entry)| (&**key, &entry.value))
    }

    /// Whether anything differs from the last snapshot.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The first entry whose key begins with `prefix`.
    pub fn first(&self, prefix: &[u8]) -> Option<(&[u8], &V)> {
        let (key, entry) = self.entries.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded)).next()?;
        key.starts_with(prefix).then_some((&**key, &entry.value))
    }

    /// The last entry whose key begins with `prefix`.
    pub fn last<'a>(&'a self, prefix: &[u8]) -> Option<(&'a [u8], &'a V)> {
        let end = above(prefix);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (key, entry) = self.entries.range::<[u8], _>((Bound::Included(prefix), upper)).next_back()?;
        key.starts_with(prefix).then_some((&**key, &entry.value))
    }

    /// Removes every entry whose key begins with `prefix`.
    pub fn remove_prefix(&mut self, prefix: &[u8]) {
        let keys: Vec<Box<[u8]>> = self.scan(prefix).map(|(key, _)| key.into()).collect();
        for key in keys {
            self.remove(&key);
        }
    }

    /// Removes every entry of a prefix whose meaning ends, and tells which keys the last snapshot holds.
    pub fn release_prefix(&mut self, prefix: &[u8], mut stored: impl FnMut(&[u8])) {
        self.remove_prefix(prefix);
        let gone: Vec<Box<[u8]>> = self
            .changed
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|key| key.starts_with(prefix))
            .cloned()
            .collect();
        for key in gone {
            stored(&key);
            self.changed.remove(&key);
        }
    }

    /// Draws the line of a snapshot that is written by and by. What [`OrderedTable::write_frozen`] has not told yet must not change.
    pub fn freeze(&mut self, full: bool) {
        self.is_frozen_full = full || !self.tracks;
        self.tracks = true;
        self.frozen = std::mem::take(&mut self.changed);
    }

    /// Tells every change before the line whose key begins with `prefix`, as [`OrderedTable::take_changes`] does, and no second time.
    pub fn write_frozen(&mut self, prefix: &[u8], mut change: impl FnMut(&[u8], Option<&V>)) {
        let end = above(prefix);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let keys: Vec<Box<[u8]>> = self.frozen.range::<[u8], _>((Bound::Included(prefix), upper)).cloned().collect();
        for key in keys {
            self.frozen.remove(&key);
            if self.is_frozen_full {
                continue;
            }
            let entry = self.entries.get_mut(&key).map(|entry| {
                entry.is_stored = true;
                &entry.value
            });
            change(&key, entry);
        }
        if self.is_frozen_full {
            for (key, entry) in self.entries.range_mut::<[u8], _>((Bound::Included(prefix), upper)) {
                entry.is_stored = true;
                change(key, Some(&entry.value));
            }
        }
    }

    /// Tells every change since the last snapshot (every entry when `full`): the value, or `None` for a key that is gone.
    pub fn take_changes(&mut self, full: bool, mut change: impl FnMut(&[u8], Option<&V>)) {
        let full = full || !self.tracks;
        self.tracks = true;
        for key in std::mem::take(&mut self.changed) {
            match self.entries.get_mut(&key) {
                // A full snapshot begins with nothing, so there is nothing to delete.
                None if full => {}
                None => change(&key, None),
                Some(entry) => {
                    entry.is_stored = true;
                    if !full {
                        change(&key, Some(&entry.value));
                    }
                }
            }
        }
        if full {
            for (key, entry) in &mut self.entries {
                entry.is_stored = true;
                change(key, Some(&entry.value));
            }
        }
    }

    /// Takes back an entry of a checkpoint.
    pub fn restore(&mut self, key: &[u8], mut value: Reader<'_>) -> Result<()> {
        self.restore_value(key, V::decode(&mut value)?)
    }

    /// Takes back an entry whose value is decoded already.
    pub fn restore_value(&mut self, key: &[u8], value: V) -> Result<()> {
        self.tracks = true;
        self.bytes += ENTRY_BYTES + key.len() + value.heap_bytes();
        if self.entries.insert(key.into(), Entry { value, is_stored: true }).is_some() {
            return Err(Error::internal("a checkpoint gives an entry twice"));
        }
        Ok(())
    }

    /// Bytes held: those of the entries, and of the keys that changed.
    pub fn bytes(&self) -> usize {
        self.bytes + (self.changed.len() + self.frozen.len()) * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scans_stay_within_their_prefix() {
        let mut table = OrderedTable::default();
        for (key, count) in [(&b"a1"[..], 1_i64), (b"a2", 2), (b"b1", 3), (b"\xff\xff", 4)] {
            table.put(key, count);
        }
        let found = |prefix: &[u8]| table.scan(prefix).map(|(_, v)| *v).collect::<Vec<_>>();
        assert_eq!((found(b"a"), found(b"b"), found(b"c"), found(b"\xff")), (vec![1, 2], vec![3], vec![], vec![4]));
        let ends = |prefix: &[u8]| (table.first(prefix).map(|e| *e.1), table.last(prefix).map(|e| *e.1));
        assert_eq!(ends(b"a"), (Some(1), Some(2)));
        assert_eq!(ends(b"\xff"), (Some(4), Some(4)));
        assert_eq!(ends(b"0"), (None, None));
    }

    proptest! {
        #[test]
        fn changes_rebuild_the_table(steps in prop::collection::vec((0_u8..5, "[ab]{1,2}", 0_i64..4), 0..200)) {
            let mut table = OrderedTable::default();
            let mut stored: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
            for (action, key, value) in steps {
                match action {
                    0 | 1 => table.put(key.as_bytes(), value),
                    2 => { table.remove(key.as_bytes()); }
                    3 => {
                        table.release_prefix(key.as_bytes(), |gone| { stored.remove(gone); });
                    }
                    _ => {
                        let mut redundant = false;
                        table.take_changes(false, |key, value| match value {
                            Some(value) => { stored.insert(key.to_vec(), *value); }
                            None => redundant |= stored.remove(key).is_none(),
                        });
                        prop_assert!(!redundant, "a delete of what no snapshot held");
                        let now: BTreeMap<Vec<u8>, i64> = table.scan(b"").map(|(k, v)| (k.to_vec(), *v)).collect();
                        prop_assert_eq!(&now, &stored);
                    }
                }
            }
            let bytes: usize = table.scan(b"").map(|(k, _)| k.len() + ENTRY_BYTES).sum();
            prop_assert_eq!(table.bytes - bytes, 0);
        }
    }
}
