//! Rows by key and order: the state that Top-N, OVER, sort and the upsert materializer share.
//!
//! A group table says which keys there are, an ordered table holds their rows:
//!
//! ```text
//! in memory:        slot (4 bytes, big-endian) | suffix -> value
//! in a checkpoint:  key | suffix                        -> version, value      table n + 1
//!                   key                                 -> version, last write, what the operator adds      table n
//! ```
//! The suffix sorts: an operator puts the encoded ORDER BY there, or a time, and behind it the arrival number. What the operator keeps
//! per key beside its rows (a counter, a last time) it keeps in columns by slot, and writes it with the key. Where memory has no room all
//! of it lies in the store, and a key is loaded with all of its rows.

use wiesel_core::{DataType, Error, Result, Schema};

use super::aggregate::check_version;
use crate::operator::{Operator, StateWriter};
use crate::state::codec::{KeyBuffer, Reader, STATE_VERSION, split_key};
use crate::state::group_table::GroupTable;
use crate::state::ordered_table::OrderedTable;
use crate::state::store::{Loaded, StateStore};
use crate::state::vnode::{KeyHasher, hash_key, vnode_of_key};

/// See the module's head.
pub(crate) struct KeyedRows {
    pub(crate) keys: GroupTable,
    /// The number of the keys' table in a checkpoint; that of the rows is the next.
    table: u8,
    rows: OrderedTable<Box<[u8]>>,
    key_types: Vec<DataType>,
    hasher: KeyHasher,
    /// Full keys of rows that are gone with their key, as far as a checkpoint holds them.
    removed: KeyBuffer,
    /// Those of the snapshot that is being written, and how many of them are.
    gone: KeyBuffer,
    gone_next: usize,
    loaded: [Loaded; 2],
    scratch: Vec<u8>,
    value: Vec<u8>,
    batch_rows: Vec<u32>,
}

/// What an entry of a checkpoint was.
pub(crate) enum Restored<'a> {
    /// A key, with what the operator wrote beside it.
    Key(u32, Reader<'a>),
    /// A row, with its suffix.
    Row(&'a [u8]),
}

impl KeyedRows {
    /// An empty table over these key columns of an input.
    pub(crate) fn new(keys: &[usize], input: &Schema, ttl_ms: u64, table: u8) -> Result<Self> {
        let key_types = keys
            .iter()
            .map(|key| {
                let field = input.fields().get(*key);
                field
                    .map(|f| f.data_type.clone())
                    .ok_or_else(|| Error::internal(format!("key column {key} of an input with {}", input.len())))
            })
            .collect::<Result<_>>()?;
        Ok(KeyedRows {
            keys: GroupTable::new(ttl_ms),
            table,
            rows: OrderedTable::default(),
            key_types,
            hasher: KeyHasher::new(keys.to_vec()),
            removed: KeyBuffer::default(),
            gone: KeyBuffer::default(),
            gone_next: 0,
            loaded: Default::default(),
            scratch: Vec::new(),
            value: Vec::new(),
            batch_rows: Vec::new(),
        })
    }

    /// The slot of every row of a batch; new keys get one.
    pub(crate) fn slots(&mut self, batch: &arrow_array::RecordBatch, slots: &mut Vec<u32>) -> Result<()> {
        let count = u32::try_from(batch.num_rows())
            .map_err(|_| Error::internal(format!("a batch of {} rows reaches an operator", batch.num_rows())))?;
        self.hasher.hash(batch)?;
        self.batch_rows.clear();
        self.batch_rows.extend(0..count);
        slots.clear();
        let (keys, hashes) = self.hasher.keys_and_hashes();
        self.keys.slots(keys, hashes, &self.batch_rows, slots);
        Ok(())
    }

    /// Forgets everything: it lies in `store`, and is loaded by [`load`].
    pub(crate) fn begin_anew(&mut self, store: &StateStore) {
        self.keys = self.keys.begin_anew(store);
        self.rows = OrderedTable::tracking();
        self.removed = KeyBuffer::default();
    }

    /// The entries of the keys that got slots since the last call, as far as the store holds them.
    fn load_created(&mut self) -> Result<[Loaded; 2]> {
        let [mut keys, mut rows] = std::mem::take(&mut self.loaded);
        keys.clear();
        rows.clear();
        if let Some(store) = self.keys.store().cloned() {
            self.keys.load_created(self.table, &[], &mut keys)?;
            store.load_prefixes(self.table + 1, keys.iter().map(|(_, vnode, key, _)| (vnode, key)), &mut rows)?;
        }
        Ok([keys, rows])
    }

    fn full<R>(
        &mut self,
        slot: u32,
        suffix: &[&[u8]],
        action: impl FnOnce(&mut OrderedTable<Box<[u8]>>, &[u8]) -> R,
    ) -> R {
        let mut key = std::mem::take(&mut self.scratch);
        key.clear();
        key.extend(slot.to_be_bytes());
        suffix.iter().for_each(|part| key.extend_from_slice(part));
        let result = action(&mut self.rows, &key);
        self.scratch = key;
        result
    }

    /// Sets a row; the suffix comes in parts.
    pub(crate) fn put(&mut self, slot: u32, suffix: &[&[u8]], row: &[u8]) {
        self.full(slot, suffix, |rows, key| rows.put(key, row.into()));
    }

    /// Removes a row.
    pub(crate) fn remove(&mut self, slot: u32, suffix: &[&[u8]]) -> Option<Box<[u8]>> {
        self.full(slot, suffix, |rows, key| rows.remove(key))
    }

    /// A row.
    pub(crate) fn get(&self, slot: u32, suffix: &[u8]) -> Option<&[u8]> {
        self.rows.get(&[&slot.to_be_bytes(), suffix].concat()).map(|row| &**row)
    }

    /// The rows of a slot whose suffix begins with `prefix`, in order: the whole suffix and the row.
    pub(crate) fn range<'a>(
        &'a self,
        slot: u32,
        prefix: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let prefix = [&slot.to_be_bytes(), prefix].concat();
        self.rows.range(&prefix).map(|(key, row)| (&key[4..], &**row))
    }

    /// The first row of a slot whose suffix begins with `prefix`.
    pub(crate) fn first<'a>(&'a self, slot: u32, prefix: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
        self.range(slot, prefix).next()
    }

    /// The last row of a slot whose suffix begins with `prefix`.
    pub(crate) fn last<'a>(&'a self, slot: u32, prefix: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
        let prefix = [&slot.to_be_bytes(), prefix].concat();
        self.rows.last(&prefix).map(|(key, row)| (&key[4..], &**row))
    }

    /// Forgets the rows of a slot whose key stays.
    pub(crate) fn clear(&mut self, slot: u32) {
        self.rows.remove_prefix(&slot.to_be_bytes());
    }

    /// Forgets a key with its rows and frees its slot.
    pub(crate) fn release(&mut self, slot: u32) {
        let (keys, removed, scratch) = (&self.keys, &mut self.removed, &mut self.scratch);
        self.rows.release_prefix(&slot.to_be_bytes(), |key| {
            scratch.clear();
            scratch.extend_from_slice(keys.key(slot));
            scratch.extend_from_slice(&key[4..]);
            removed.push(scratch);
        });
        self.keys.remove(slot);
    }

    /// The next keys that outlived their time to live.
    pub(crate) fn expired(&mut self, now_ms: i64) -> Vec<u32> {
        let mut expired = Vec::new();
        self.keys.sweep_step(now_ms, &mut expired);
        expired
    }

    /// Writes changes, or everything; `beside` appends what the operator keeps beside a key.
    pub(crate) fn snapshot(
        &mut self,
        full: bool,
        writer: &mut dyn StateWriter,
        beside: impl Fn(u32, &mut Vec<u8>),
    ) -> Result<()> {
        // A full snapshot begins with nothing, so there is nothing to delete.
        let (keys_table, rows_table) = (self.table, self.table + 1);
        let removed = std::mem::take(&mut self.removed);
        for key in removed.iter().filter(|_| !full) {
            let (group, _) = split_key(&self.key_types, key)?;
            writer.delete(rows_table, vnode_of_key(group), key);
        }
        self.keys.write_removed(keys_table, full, writer);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let keys = &self.keys;
        self.rows.take_changes(full, |entry, row| {
            write_row(keys, rows_table, (entry, row.map(AsRef::as_ref)), [&mut key, &mut value], writer);
        });
        for slot in self.keys.take_dirty(full) {
            self.keys.put_head(slot, &mut value);
            beside(slot, &mut value);
            writer.put(keys_table, self.keys.vnode(slot), self.keys.key(slot), &value);
        }
        Ok(())
    }

    /// Draws the line of a snapshot that is written by and by. It is written by slot, so a row that changes marks its key.
    pub(crate) fn freeze(&mut self, full: bool) {
        self.keys.freeze(full);
        self.rows.freeze(full);
        self.gone = std::mem::take(&mut self.removed);
        // A full snapshot begins with nothing, so there is nothing to delete.
        self.gone_next = if full { self.gone.len() } else { 0 };
    }

    /// Writes a pending slot; `beside` appends what the operator keeps beside its key.
    pub(crate) fn write_slot(&mut self, slot: u32, writer: &mut dyn StateWriter, beside: impl Fn(&mut Vec<u8>)) {
        let (mut key, mut value) = (std::mem::take(&mut self.scratch), std::mem::take(&mut self.value));
        let (keys, table) = (&self.keys, self.table);
        self.rows.write_frozen(&slot.to_be_bytes(), |entry, row| {
            write_row(keys, table + 1, (entry, row.map(AsRef::as_ref)), [&mut key, &mut value], writer);
        });
        keys.put_head(slot, &mut value);
        beside(&mut value);
        writer.put(table, keys.vnode(slot), keys.key(slot), &value);
        (self.scratch, self.value) = (key, value);
    }

    /// Deletes the next row or key that is gone; returns whether there was one.
    pub(crate) fn write_gone(&mut self, writer: &mut dyn StateWriter) -> Result<bool> {
        if self.gone_next < self.gone.len() {
            let key = self.gone.key(self.gone_next);
            let (group, _) = split_key(&self.key_types, key)?;
            writer.delete(self.table + 1, vnode_of_key(group), key);
            self.gone_next += 1;
            return Ok(true);
        }
        Ok(self.keys.write_gone(self.table, writer))
    }

    /// Takes an entry of a checkpoint back.
    pub(crate) fn restore<'a>(&mut self, table: u8, key: &'a [u8], value: &'a [u8]) -> Result<Restored<'a>> {
        let (group, suffix) = split_key(&self.key_types, key)?;
        let slot = self.keys.slot(group, hash_key(group));
        let mut reader = Reader::new(value);
        match table.checked_sub(self.table) {
            Some(0) => {
                self.keys.restore_head(slot, &mut reader)?;
                Ok(Restored::Key(slot, reader))
            }
            Some(1) => {
                check_version(reader.byte()?)?;
                self.full(slot, &[suffix], |rows, key| rows.restore_value(key, reader.rest().into()))?;
                Ok(Restored::Row(suffix))
            }
            _ => Err(Error::internal(format!("a checkpoint holds a state table {table} of rows by key"))),
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.bytes()
            + self.rows.bytes()
            + self.hasher.bytes()
            + self.removed.capacity_bytes()
            + self.gone.capacity_bytes()
            + self.loaded.iter().map(Loaded::bytes).sum::<usize>()
    }
}

/// Takes in what the store holds of the keys that are new in an operator's rows.
pub(crate) fn load<O: Operator>(operator: &mut O, rows: fn(&mut O) -> &mut KeyedRows) -> Result<()> {
    let loaded = rows(operator).load_created()?;
    for (table, vnode, key, value) in loaded.iter().flat_map(Loaded::iter) {
        operator.restore(table, vnode, key, value)?;
    }
    rows(operator).loaded = loaded;
    Ok(())
}

/// Writes a change of a row, which stands under its slot and suffix; the two buffers are used again.
fn write_row(
    keys: &GroupTable,
    table: u8,
    (entry, row): (&[u8], Option<&[u8]>),
    [key, value]: [&mut Vec<u8>; 2],
    writer: &mut dyn StateWriter,
) {
    let Some((slot, suffix)) = entry.split_first_chunk::<4>() else { return };
    let slot = u32::from_be_bytes(*slot);
    key.clear();
    key.extend_from_slice(keys.key(slot));
    key.extend_from_slice(suffix);
    match row {
        None => writer.delete(table, keys.vnode(slot), key),
        Some(row) => {
            value.clear();
            value.push(STATE_VERSION);
            value.extend_from_slice(row);
            writer.put(table, keys.vnode(slot), key, value);
        }
    }
}

/// The arrival number at the end of a suffix.
pub(crate) fn arrival_of(suffix: &[u8]) -> Result<u64> {
    let number = suffix.last_chunk::<8>();
    number
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| Error::internal("a state entry of a row has no arrival number"))
}
