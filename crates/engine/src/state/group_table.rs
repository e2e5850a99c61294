//! Groups by hash: from the bytes of a key to a small number, the slot, by which operators keep typed columns beside the table.
//!
//! ```text
//! key bytes + hash -> index (open addressing, of slots) -> slot -> { hash, place of the key in the arena }
//!                                                          slot -> the operator's own columns: counts[slot], sums[slot], ...
//! ```
//! All keys lie in one arena, so a new group costs no allocation of its own, and looking up a batch of keys costs none at all. Slots of
//! removed groups are used again; the arena is compacted when more than half of it is garbage.
//!
//! A table whose groups may lie in the [`store`](super::store) says which slots it gave to keys it did not hold: the operator loads them
//! before it looks at them. Such a table gives its memory back as a whole, by beginning anew.
//!
//! The table knows which slots changed since the last snapshot, and with a TTL when each was last written. It does not know what stands
//! in the operator's columns: whoever removes a group resets them. A snapshot draws its line with `freeze`: what had changed
//! by then is *pending* until it is written, and whoever changes a pending slot copies it aside first.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use wiesel_core::Result;

use super::codec::{KeyBuffer, Reader, STATE_VERSION, check_version, put_varint};
use super::slot_set::SlotSet;
use super::store::{Loaded, StateStore};
use super::vnode::{hash_key, vnode_of_hash, vnode_of_key};
use crate::checkpoint::run::RunBuffer;
use crate::operator::StateWriter;

/// Garbage below this is not worth a compaction.
const COMPACT_BYTES_MIN: usize = 64 * 1024;
/// Slots looked at for expired keys at every step end.
const SWEEP_SLOTS_PER_STEP: usize = 1024;

/// A hash table of groups.
#[derive(Debug, Default)]
pub struct GroupTable {
    index: HashTable<Place>,
    slots: Vec<Slot>,
    arena: Vec<u8>,
    garbage_bytes: usize,
    free: Vec<u32>,
    /// What changed since the line of the last snapshot.
    dirty: SlotSet,
    /// What a snapshot has still to write, and where to look for it next; no slots of keys that are new since the line.
    pending: SlotSet,
    pending_next: u32,
    is_frozen: bool,
    /// Slots that changed before a snapshot wrote them, as they stood at the line.
    aside: RunBuffer,
    /// Keys that were written into a checkpoint and are gone since.
    removed: KeyBuffer,
    /// With a store: finds a key in `removed`, because the store holds it still.
    removed_index: HashTable<u32>,
    /// The same of the last snapshot, which may be on its way into the store: how many of them are written, and where to find one.
    gone: KeyBuffer,
    gone_next: usize,
    gone_index: HashTable<u32>,
    store: Option<StateStore>,
    /// Slots given to new keys since they were looked for in the store.
    created: Vec<u32>,
    ttl_ms: i64,
    last_write_ms: Vec<i64>,
    sweep_next: usize,
}

// Half of the hash stands in the index, so that a probe that misses touches no slot.
#[derive(Debug, Clone, Copy)]
struct Place {
    tag: u32,
    slot: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u64,
    start: usize,
    length: u32,
    is_used: bool,
    is_stored: bool,
}

// The vnode takes the lowest byte of a hash and a worker holds few vnodes, so that byte says little inside one table.
fn spread(hash: u64) -> u64 {
    hash.rotate_left(32)
}

fn tag(hash: u64) -> u32 {
    (hash >> 8) as u32
}

impl GroupTable {
    /// An empty table whose groups live for `ttl_ms` after their last write; 0 = for ever.
    pub fn new(ttl_ms: u64) -> Self {
        GroupTable { ttl_ms: i64::try_from(ttl_ms).unwrap_or(i64::MAX), ..GroupTable::default() }
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Makes room for as many groups more as another table has.
    pub fn reserve_for(&mut self, other: &GroupTable) {
        let slots = &self.slots;
        self.index.reserve(other.len(), |place| spread(slots[place.slot as usize].hash));
        self.slots.reserve(other.len());
        self.arena.reserve(other.arena.len());
    }

    /// One above the highest slot ever given out: the length that columns by slot must have.
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Appends the slot of each of `rows` to `out`; a key that is not there yet gets a new slot.
    ///
    /// Two passes, because most of the time goes into waiting for memory: the first asks the index alone, the second compares keys.
    /// Within a pass no row depends on the one before, so the processor waits for many of them at once.
    pub fn slots(&mut self, keys: &KeyBuffer, hashes: &[u64], rows: &[u32], out: &mut Vec<u32>) {
        let first = out.len();
        out.extend(rows.iter().map(|&row| {
            let hash = hashes[row as usize];
            let wanted = tag(hash);
            self.index.find(spread(hash), |place| place.tag == wanted).map_or(u32::MAX, |place| place.slot)
        }));
        for (slot, &row) in out[first..].iter_mut().zip(rows) {
            let (key, hash) = (keys.key(row as usize), hashes[row as usize]);
            let is_found = self.slots.get(*slot as usize).is_some_and(|found| {
                found.hash == hash && self.arena[found.start..found.start + found.length as usize] == *key
            });
            if !is_found {
                *slot = self.slot(key, hash);
            }
        }
    }

    /// The slot of one key, a new one if it is not there yet.
    pub fn slot(&mut self, key: &[u8], hash: u64) -> u32 {
        let (slots, arena) = (&mut self.slots, &mut self.arena);
        let wanted = tag(hash);
        let entry = self.index.entry(
            spread(hash),
            |place| {
                place.tag == wanted && {
                    let slot = &slots[place.slot as usize];
                    arena.get(slot.start..slot.start + slot.length as usize) == Some(key)
                }
            },
            |place| spread(slots[place.slot as usize].hash),
        );
        match entry {
            Entry::Occupied(entry) => entry.get().slot,
            Entry::Vacant(entry) => {
                let new = Slot {
                    hash,
                    start: arena.len(),
                    length: u32::try_from(key.len()).unwrap_or(u32::MAX),
                    is_used: true,
                    is_stored: false,
                };
                let slot = self.free.pop().unwrap_or(u32::try_from(slots.len()).unwrap_or(u32::MAX));
                entry.insert(Place { tag: wanted, slot });
                arena.extend_from_slice(key);
                self.pending.remove(slot);
                match slots.get_mut(slot as usize) {
                    Some(place) => *place = new,
                    None => slots.push(new),
                }
                if self.store.is_some() {
                    self.created.push(slot);
                }
                if self.ttl_ms > 0 {
                    self.last_write_ms.resize(slots.len(), i64::MAX);
                    self.last_write_ms[slot as usize] = i64::MAX;
                }
                slot
            }
        }
    }

    /// An empty table in place of this one, whose groups are looked for in `store`.
    pub fn begin_anew(&self, store: &StateStore) -> GroupTable {
        GroupTable { store: Some(store.clone()), ttl_ms: self.ttl_ms, ..GroupTable::default() }
    }

    /// The store that holds what the table does not.
    pub fn store(&self) -> Option<&StateStore> {
        self.store.as_ref()
    }

    /// Forgets which slots were given to new keys, because the operator loads what it misses in another way.
    pub fn forget_created(&mut self) {
        self.created.clear();
    }

    /// Appends what `table` of the store holds for the keys that got new slots since the last call, and gives those slots. In the store
    /// `prefix` stands in front of every key.
    pub fn load_created(&mut self, table: u8, prefix: &[u8], loaded: &mut Loaded) -> Result<Vec<u32>> {
        let created = std::mem::take(&mut self.created);
        if let (Some(store), false) = (&self.store, created.is_empty()) {
            // A slot that was freed and given out again in between stands here twice, and is read twice.
            let keys = created.iter().filter(|slot| self.slots[**slot as usize].is_used && !self.is_removed(**slot));
            store.load(table, prefix, keys.map(|slot| (self.vnode(*slot), self.key(*slot))), loaded)?;
        }
        Ok(created)
    }

    fn is_removed(&self, slot: u32) -> bool {
        self.is_removed_key(self.key(slot), self.hash(slot))
    }

    /// Whether a key was removed since the last snapshot or shortly before, so that the store may hold it still.
    pub fn is_removed_key(&self, key: &[u8], hash: u64) -> bool {
        let is_in = |index: &HashTable<u32>, keys: &KeyBuffer| {
            index.find(spread(hash), |at| keys.key(*at as usize) == key).is_some()
        };
        is_in(&self.removed_index, &self.removed) || is_in(&self.gone_index, &self.gone)
    }

    /// The slot of one key, if it is there.
    pub fn find(&self, key: &[u8], hash: u64) -> Option<u32> {
        let wanted = tag(hash);
        let place = self.index.find(spread(hash), |place| place.tag == wanted && self.key(place.slot) == key)?;
        Some(place.slot)
    }

    /// The key of a used slot.
    pub fn key(&self, slot: u32) -> &[u8] {
        let slot = &self.slots[slot as usize];
        &self.arena[slot.start..slot.start + slot.length as usize]
    }

    /// The virtual node of a used slot's key.
    pub fn vnode(&self, slot: u32) -> u8 {
        vnode_of_hash(self.slots[slot as usize].hash)
    }

    /// The hash of a used slot's key.
    pub fn hash(&self, slot: u32) -> u64 {
        self.slots[slot as usize].hash
    }

    /// All used slots, in the order of their numbers.
    pub fn used(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().zip(0_u32..).filter(|(slot, _)| slot.is_used).map(|(_, number)| number)
    }

    /// Notes a change at `now_ms`.
    pub fn mark(&mut self, slot: u32, now_ms: i64) {
        debug_assert!(!self.is_pending(slot), "a slot changes that a snapshot has still to write");
        self.dirty.insert(slot);
        if self.ttl_ms > 0 {
            self.last_write_ms[slot as usize] = now_ms;
        }
    }

    /// When a slot was last written; 0 without TTL. A checkpoint keeps it.
    pub fn last_write_ms(&self, slot: u32) -> i64 {
        self.last_write_ms.get(slot as usize).copied().unwrap_or(0)
    }

    /// Takes back what a checkpoint held about a slot.
    pub fn set_restored(&mut self, slot: u32, last_write_ms: i64) {
        self.slots[slot as usize].is_stored = true;
        if self.ttl_ms > 0 {
            self.last_write_ms[slot as usize] = last_write_ms;
        }
    }

    /// Whether a slot outlived its TTL. An expired group is never shown again, swept or not.
    pub fn is_expired(&self, slot: u32, now_ms: i64) -> bool {
        // A slot that was never written has a time that no addition brings back into the past.
        self.ttl_ms > 0 && self.last_write_ms[slot as usize].saturating_add(self.ttl_ms) <= now_ms
    }

    /// Looks at the next slots, round and round, and appends the expired ones; an operator does so at every step end.
    pub fn sweep_step(&mut self, now_ms: i64, expired: &mut Vec<u32>) {
        self.sweep(SWEEP_SLOTS_PER_STEP, now_ms, expired);
    }

    fn sweep(&mut self, count: usize, now_ms: i64, expired: &mut Vec<u32>) {
        if self.ttl_ms == 0 {
            return;
        }
        for _ in 0..count.min(self.slots.len()) {
            if self.sweep_next >= self.slots.len() {
                self.sweep_next = 0;
            }
            let slot = self.sweep_next;
            self.sweep_next += 1;
            let number = u32::try_from(slot).unwrap_or(u32::MAX);
            if self.slots[slot].is_used && self.is_expired(number, now_ms) {
                expired.push(number);
            }
        }
    }

    /// Forgets a group and frees its slot.
    pub fn remove(&mut self, slot: u32) {
        let Slot { hash, start, length, is_used, is_stored, .. } = self.slots[slot as usize];
        if !is_used {
            return;
        }
        if let Ok(entry) = self.index.find_entry(spread(hash), |place| place.slot == slot) {
            entry.remove();
        }
        if is_stored {
            self.removed.push(&self.arena[start..start + length as usize]);
            if self.store.is_some() {
                let removed = &self.removed;
                let hash_of = |at: &u32| spread(hash_key(removed.key(*at as usize)));
                let last = u32::try_from(removed.len() - 1).unwrap_or(u32::MAX);
                self.removed_index.insert_unique(spread(hash), last, hash_of);
            }
        }
        debug_assert!(!self.is_pending(slot), "a slot goes that a snapshot has still to write");
        self.dirty.remove(slot);
        let entry = &mut self.slots[slot as usize];
        entry.is_used = false;
        entry.is_stored = false;
        self.free.push(slot);
        self.garbage_bytes += length as usize;
        if self.garbage_bytes > COMPACT_BYTES_MIN && self.garbage_bytes * 2 > self.arena.len() {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.garbage_bytes);
        for slot in self.slots.iter_mut().filter(|slot| slot.is_used) {
            let start = arena.len();
            arena.extend_from_slice(&self.arena[slot.start..slot.start + slot.length as usize]);
            slot.start = start;
        }
        self.arena = arena;
        self.garbage_bytes = 0;
    }

    /// Draws the line of a snapshot: what changed by now is pending, or every slot when `full`.
    pub(crate) fn freeze(&mut self, full: bool) {
        self.freeze_slots(full);
        self.set_gone();
        // A full snapshot begins with nothing, so there is nothing to delete.
        self.gone_next = if full { self.gone.len() } else { 0 };
    }

    fn freeze_slots(&mut self, full: bool) {
        debug_assert!(!self.is_frozen, "a snapshot begins while another is written");
        let count = self.slots.len();
        let dirty = std::mem::replace(&mut self.dirty, SlotSet::with_room(count));
        self.pending = if full { SlotSet::filled(count) } else { dirty };
        self.pending_next = 0;
        self.is_frozen = true;
    }

    fn set_gone(&mut self) {
        self.gone = std::mem::take(&mut self.removed);
        self.gone_index = std::mem::take(&mut self.removed_index);
    }

    /// Where slots are copied to that change before a snapshot has written them.
    pub(crate) fn aside(&mut self) -> &mut RunBuffer {
        &mut self.aside
    }

    /// Whether a snapshot has something left to write.
    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    /// Whether a snapshot has still to write a slot.
    pub(crate) fn is_pending(&self, slot: u32) -> bool {
        self.is_frozen && self.pending.contains(slot) && self.slots[slot as usize].is_used
    }

    /// A pending slot is being written.
    pub(crate) fn settle(&mut self, slot: u32) {
        self.pending.remove(slot);
        self.slots[slot as usize].is_stored = true;
    }

    /// The next slot to write, which is pending no more. Behind the last one the snapshot is written.
    pub(crate) fn next_pending(&mut self) -> Option<u32> {
        while self.is_frozen
            && let Some(slot) = self.pending.first_from(self.pending_next)
            && (slot as usize) < self.slots.len()
        {
            self.pending_next = slot + 1;
            if self.slots[slot as usize].is_used {
                self.settle(slot);
                return Some(slot);
            }
        }
        self.is_frozen = false;
        self.pending = SlotSet::default();
        None
    }

    /// The next key that an earlier checkpoint holds and that is gone, to be deleted before anything is put.
    pub(crate) fn next_gone(&mut self) -> Option<Vec<u8>> {
        let key = (self.gone_next < self.gone.len()).then(|| self.gone.key(self.gone_next).to_vec())?;
        self.gone_next += 1;
        Some(key)
    }

    /// Deletes the next key that is gone from a table of the checkpoint; returns whether there was one.
    pub(crate) fn write_gone(&mut self, table: u8, writer: &mut dyn StateWriter) -> bool {
        let key = self.next_gone();
        key.iter().for_each(|key| writer.delete(table, vnode_of_key(key), key));
        key.is_some()
    }

    /// The slots to write into a checkpoint, changed ones or all, in order; their marks are taken off.
    pub fn take_dirty(&mut self, full: bool) -> Vec<u32> {
        self.freeze_slots(full);
        std::iter::from_fn(|| self.next_pending()).collect()
    }

    /// Begins the value of a slot in a checkpoint: the version, and when it was last written.
    pub(crate) fn put_head(&self, slot: u32, value: &mut Vec<u8>) {
        value.clear();
        value.push(STATE_VERSION);
        put_varint(self.last_write_ms(slot).cast_unsigned(), value);
    }

    /// Takes back what [`GroupTable::put_head`] wrote.
    pub(crate) fn restore_head(&mut self, slot: u32, value: &mut Reader<'_>) -> Result<()> {
        check_version(value.byte()?)?;
        let last_write_ms = value.varint()?.cast_signed();
        // Written without a TTL: the time to live begins with the next write.
        self.set_restored(slot, if last_write_ms == 0 { i64::MAX } else { last_write_ms });
        Ok(())
    }

    /// Deletes the keys that an earlier checkpoint holds and that are gone from a table of the next one, before anything is put.
    pub(crate) fn write_removed(&mut self, table: u8, full: bool, writer: &mut dyn StateWriter) {
        // A full snapshot begins with nothing, so there is nothing to delete.
        for key in self.take_removed().iter().filter(|_| !full) {
            writer.delete(table, vnode_of_key(key), key);
        }
    }

    /// The keys that an earlier checkpoint holds and that are gone, to be deleted before anything is put.
    pub fn take_removed(&mut self) -> &KeyBuffer {
        self.set_gone();
        self.gone_next = self.gone.len();
        &self.gone
    }

    /// Bytes held, by capacity.
    pub fn bytes(&self) -> usize {
        self.index.capacity() * (size_of::<Place>() + 1)
            + self.slots.capacity() * size_of::<Slot>()
            + self.arena.capacity()
            + (self.free.capacity() + self.created.capacity()) * size_of::<u32>()
            + self.dirty.bytes()
            + self.pending.bytes()
            + self.aside.capacity_bytes()
            + self.removed.capacity_bytes()
            + self.gone.capacity_bytes()
            + (self.removed_index.capacity() + self.gone_index.capacity()) * (size_of::<u32>() + 1)
            + self.last_write_ms.capacity() * size_of::<i64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_key_keeps_its_slot_and_a_removed_slot_is_used_again() {
        let mut table = GroupTable::new(0);
        let slot = |table: &mut GroupTable, key: &str| table.slot(key.as_bytes(), hash_key(key.as_bytes()));
        let (a, b) = (slot(&mut table, "a"), slot(&mut table, "b"));
        assert_eq!((slot(&mut table, "a"), slot(&mut table, "b"), table.len()), (a, b, 2));
        table.remove(a);
        assert_eq!(table.find(b"a", hash_key(b"a")), None);
        assert_eq!((slot(&mut table, "c"), table.slot_count()), (a, 2));
        assert_eq!((table.key(a), table.key(b)), (&b"c"[..], &b"b"[..]));
    }

    #[test]
    fn a_group_expires_when_its_time_to_live_has_passed_since_the_last_write() {
        let mut table = GroupTable::new(10);
        let slot = table.slot(b"a", hash_key(b"a"));
        assert!(!table.is_expired(slot, i64::MAX - 1), "a group that was never written cannot expire");
        table.mark(slot, 100);
        assert_eq!((table.is_expired(slot, 109), table.is_expired(slot, 110)), (false, true));
        let mut expired = Vec::new();
        table.sweep(5, 109, &mut expired);
        assert!(expired.is_empty());
        table.sweep(5, 110, &mut expired);
        assert_eq!(expired, [slot]);
    }

    proptest! {
        #[test]
        fn changed_and_removed_keys_rebuild_the_table(
            steps in prop::collection::vec((0_u8..4, "[a-d]{1,2}"), 0..200),
        ) {
            let mut table = GroupTable::new(0);
            let mut now: BTreeSet<String> = BTreeSet::new();
            let mut stored: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
            for (action, key) in steps {
                let hash = hash_key(key.as_bytes());
                match action {
                    0 | 1 => {
                        let slot = table.slot(key.as_bytes(), hash);
                        table.mark(slot, 0);
                        now.insert(key);
                    }
                    2 => {
                        if let Some(slot) = table.find(key.as_bytes(), hash) {
                            table.remove(slot);
                            now.remove(&key);
                        }
                    }
                    _ => {
                        for key in table.take_removed().iter() {
                            stored.remove(key);
                        }
                        for slot in table.take_dirty(false) {
                            stored.insert(table.key(slot).to_vec(), slot);
                        }
                        let keys: Vec<&[u8]> = stored.keys().map(Vec::as_slice).collect();
                        let expected: Vec<&[u8]> = now.iter().map(|k| k.as_bytes()).collect();
                        prop_assert_eq!(keys, expected);
                    }
                }
                prop_assert_eq!(table.len(), now.len());
            }
        }
    }
}
