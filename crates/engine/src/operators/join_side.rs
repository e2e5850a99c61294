//! The rows of one side of a join, found by join key.
//!
//! ```text
//! join key -> group -> first entry -> next -> next         one entry per row (equal rows are counted), or per unique key
//! join key ++ (unique key | row) -> entry                  how a row is found again to be taken back or replaced
//! ```
//! Entries lie in a [`GroupTable`], which knows what a checkpoint has to write and what has expired; the lists and the groups are rebuilt
//! from the entries. A row is encoded once: where rows are counted the entry's own key holds it. Rows of a key are found in the order in
//! which they came (those that come back from the store in the order of their bytes). A side whose unique key is part of its join key has one entry per join key.

use arrow_array::{Array, ArrayRef, RecordBatch};
use wiesel_core::{DataType, Error, Result, Schema};
use wiesel_plan::join::keys_on;
use wiesel_plan::{JoinKey, JoinSide as SideSpec};

use super::aggregate::{Cells, FieldCells};
use super::sliced::Sliced;
use crate::operator::StateWriter;
use crate::state::codec::{KeyBuffer, Reader, decode_rows, encode_keys, encode_row, put_varint, split_key};
use crate::state::group_table::GroupTable;
use crate::state::store::{Loaded, StateStore};
use crate::state::vnode::{KeyHasher, hash_key, vnode_of_hash, vnode_of_key};

/// No entry.
const NONE: u32 = u32::MAX;

/// See the module's head.
pub(crate) struct JoinSide {
    types: Vec<DataType>,
    key_types: Vec<DataType>,
    hasher: KeyHasher,
    /// Key columns in which NULL matches nothing.
    strict: Vec<usize>,
    /// The columns behind the join key that make a unique key; `None` where rows are counted.
    unique: Option<Vec<usize>>,
    has_ttl: bool,
    entries: GroupTable,
    /// By entry.
    rows: FieldCells,
    counts: Vec<u32>,
    associations: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    group_of: Vec<u32>,
    groups: GroupTable,
    /// By group.
    first: Vec<u32>,
    last: Vec<u32>,
    // The batch prepared last, and buffers.
    is_null: Vec<bool>,
    suffixes: KeyBuffer,
    payloads: KeyBuffer,
    key: Vec<u8>,
    sweep: Vec<u32>,
    loaded: Loaded,
    /// The number of its table in a checkpoint.
    number: u8,
    value: Vec<u8>,
}

impl Sliced for JoinSide {
    fn table(&mut self) -> &mut GroupTable {
        &mut self.entries
    }

    fn write_slot(&mut self, entry: u32, writer: &mut dyn StateWriter) {
        let mut value = std::mem::take(&mut self.value);
        let slot = entry as usize;
        self.entries.put_head(entry, &mut value);
        put_varint(u64::from(self.counts[slot]), &mut value);
        put_varint(u64::from(self.associations[slot]), &mut value);
        if self.unique.is_some() {
            value.extend_from_slice(self.rows.get(slot).unwrap_or_default());
        }
        writer.put(self.number, self.groups.vnode(self.group_of[slot]), self.entries.key(entry), &value);
        self.value = value;
    }

    fn write_gone(&mut self, writer: &mut dyn StateWriter) -> Result<bool> {
        let Some(key) = self.entries.next_gone() else { return Ok(false) };
        let (join_key, _) = split_key(&self.key_types, &key)?;
        writer.delete(self.number, vnode_of_key(join_key), &key);
        Ok(true)
    }
}

impl JoinSide {
    pub(crate) fn new(spec: &SideSpec, keys: &[JoinKey], port: usize, input: &Schema) -> Result<Self> {
        let columns = keys_on(keys, port);
        let type_of = |column: &usize| {
            let field = input.fields().get(*column);
            field.map(|f| f.data_type.clone()).ok_or_else(|| Error::internal("a join key column is missing"))
        };
        let key_types = columns.iter().map(type_of).collect::<Result<_>>()?;
        let strict = columns.iter().zip(keys).filter(|(_, key)| !key.null_safe).map(|(c, _)| *c).collect();
        let unique = spec.unique_key.as_ref().map(|unique| {
            let behind = unique.iter().copied().filter(|c| !columns.contains(c));
            behind.collect()
        });
        Ok(JoinSide {
            types: input.fields().iter().map(|f| f.data_type.clone()).collect(),
            key_types,
            hasher: KeyHasher::new(columns),
            strict,
            unique,
            has_ttl: spec.state_ttl_ms > 0,
            entries: GroupTable::new(spec.state_ttl_ms),
            rows: FieldCells::default(),
            counts: Vec::new(),
            associations: Vec::new(),
            next: Vec::new(),
            previous: Vec::new(),
            group_of: Vec::new(),
            groups: GroupTable::new(0),
            first: Vec::new(),
            last: Vec::new(),
            is_null: Vec::new(),
            suffixes: KeyBuffer::default(),
            payloads: KeyBuffer::default(),
            key: Vec::new(),
            sweep: Vec::new(),
            loaded: Loaded::default(),
            number: u8::try_from(port).unwrap_or(u8::MAX),
            value: Vec::new(),
        })
    }

    /// Forgets everything: it lies in `store`, and is loaded by [`JoinSide::load`].
    pub(crate) fn begin_anew(&mut self, store: &StateStore) {
        self.entries = self.entries.begin_anew(store);
        self.groups = GroupTable::new(0);
        self.rows = FieldCells::default();
        for numbers in [&mut self.counts, &mut self.associations, &mut self.next, &mut self.previous] {
            *numbers = Vec::new();
        }
        for numbers in [&mut self.group_of, &mut self.first, &mut self.last] {
            *numbers = Vec::new();
        }
    }

    /// Adds the join keys of the prepared batch; nothing when there is no store to load from.
    pub(crate) fn keys_to_load(&self, keys: &mut Vec<(u64, Vec<u8>)>) {
        keys.clear();
        if self.entries.store().is_some() {
            let rows = (0..self.is_null.len()).filter_map(|row| self.key_of(row));
            keys.extend(rows.map(|(key, hash)| (hash, key.to_vec())));
            keys.sort_unstable();
            keys.dedup();
        }
    }

    /// Takes in what the store holds of these join keys, unless it is here already.
    pub(crate) fn load(&mut self, keys: &[(u64, Vec<u8>)]) -> Result<()> {
        let Some(store) = self.entries.store().cloned() else { return Ok(()) };
        let mut loaded = std::mem::take(&mut self.loaded);
        loaded.clear();
        let missing = keys.iter().filter(|(hash, key)| self.groups.find(key, *hash).is_none());
        store.load_prefixes(
            self.number,
            missing.map(|(hash, key)| (vnode_of_hash(*hash), key.as_slice())),
            &mut loaded,
        )?;
        for (_, _, key, value) in loaded.iter() {
            if !self.entries.is_removed_key(key, hash_key(key)) {
                self.restore(key, value)?;
            }
        }
        self.entries.forget_created();
        self.loaded = loaded;
        Ok(())
    }

    /// The types of a row's columns.
    pub(crate) fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Encodes the keys and rows of a batch, to be joined and then added or taken back row by row.
    pub(crate) fn prepare(&mut self, batch: &RecordBatch) -> Result<()> {
        self.hasher.hash(batch)?;
        self.is_null.clear();
        self.is_null.resize(batch.num_rows(), false);
        for column in self.strict.iter().map(|c| batch.column(*c)) {
            if column.null_count() > 0 {
                self.is_null.iter_mut().enumerate().for_each(|(row, null)| *null |= column.is_null(row));
            }
        }
        self.payloads.clear();
        for row in 0..batch.num_rows() {
            encode_row(batch.columns(), row, &mut self.payloads.bytes)?;
            self.payloads.offsets.push(self.payloads.bytes.len());
        }
        self.suffixes.clear();
        if let Some(unique) = &self.unique {
            let columns: Vec<ArrayRef> = unique.iter().map(|c| batch.column(*c).clone()).collect();
            encode_keys(&columns, batch.num_rows(), &mut self.suffixes)?;
        }
        Ok(())
    }

    /// The join key of a prepared row and its hash; `None` where a NULL matches nothing.
    pub(crate) fn key_of(&self, row: usize) -> Option<(&[u8], u64)> {
        let (keys, hashes) = self.hasher.keys_and_hashes();
        (!self.is_null[row]).then(|| (keys.key(row), hashes[row]))
    }

    /// Appends the entries of a join key, each as often as its row stands.
    pub(crate) fn find(&self, key: &[u8], hash: u64, now_ms: i64, out: &mut Vec<u32>) {
        let Some(group) = self.groups.find(key, hash) else { return };
        let mut entry = self.first[group as usize];
        while entry != NONE {
            if !self.entries.is_expired(entry, now_ms) {
                out.extend(std::iter::repeat_n(entry, self.counts[entry as usize] as usize));
            }
            entry = self.next[entry as usize];
        }
    }

    /// How many rows of the other side match an entry.
    pub(crate) fn associations(&self, entry: u32) -> u32 {
        self.associations[entry as usize]
    }

    /// Sets how many rows of the other side match an entry.
    pub(crate) fn associate(&mut self, entry: u32, count: u32, now_ms: i64) {
        self.copy_aside(&[entry]);
        self.associations[entry as usize] = count;
        self.entries.mark(entry, now_ms);
    }

    /// Adds a prepared row; says whether it replaced another.
    pub(crate) fn add(&mut self, row: usize, associations: u32, now_ms: i64) -> bool {
        let hash = self.entry_key(row);
        let entry = self.entries.slot(&self.key, hash);
        self.grow();
        self.copy_aside(&[entry]);
        let slot = entry as usize;
        let is_new = self.group_of[slot] == NONE;
        let stands = !is_new && !self.entries.is_expired(entry, now_ms);
        if is_new {
            let (keys, hashes) = self.hasher.keys_and_hashes();
            let group = self.groups.slot(keys.key(row), hashes[row]);
            self.link(entry, group);
        }
        let is_counted = self.unique.is_none();
        self.counts[slot] = if stands && is_counted { self.counts[slot].saturating_add(1) } else { 1 };
        self.associations[slot] = associations;
        if !is_counted {
            self.rows.set(slot, self.payloads.key(row));
        }
        self.entries.mark(entry, now_ms);
        stands && !is_counted
    }

    /// Takes a prepared row back; says whether it stood.
    pub(crate) fn retract(&mut self, row: usize, now_ms: i64) -> bool {
        let hash = self.entry_key(row);
        let Some(entry) = self.entries.find(&self.key, hash) else { return false };
        let stands = !self.entries.is_expired(entry, now_ms);
        if stands && self.counts[entry as usize] > 1 {
            self.copy_aside(&[entry]);
            self.counts[entry as usize] -= 1;
            self.entries.mark(entry, now_ms);
        } else {
            self.remove(entry);
        }
        stands
    }

    /// The columns of the rows of some entries.
    pub(crate) fn decode(&self, entries: &[u32]) -> Result<Vec<ArrayRef>> {
        if self.unique.is_some() {
            let row = |entry: &u32| self.rows.get(*entry as usize).unwrap_or_default();
            return decode_rows(&self.types, entries.iter().map(row));
        }
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            rows.push(split_key(&self.key_types, self.entries.key(*entry))?.1);
        }
        decode_rows(&self.types, rows.into_iter())
    }

    /// One above the highest entry.
    pub(crate) fn entry_count(&self) -> usize {
        self.entries.slot_count()
    }

    /// Drops some of the expired entries.
    pub(crate) fn sweep(&mut self, now_ms: i64) {
        if !self.has_ttl {
            return;
        }
        let mut expired = std::mem::take(&mut self.sweep);
        expired.clear();
        self.entries.sweep_step(now_ms, &mut expired);
        for entry in &expired {
            self.remove(*entry);
        }
        self.sweep = expired;
    }

    pub(crate) fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.freeze(full);
        self.write_part(usize::MAX, writer).map(drop)
    }

    /// Draws the line of a snapshot that is written by and by.
    pub(crate) fn freeze(&mut self, full: bool) {
        self.entries.freeze(full);
    }

    pub(crate) fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let entry = self.entries.slot(key, hash_key(key));
        self.grow();
        let (join_key, _) = split_key(&self.key_types, key)?;
        let group = self.groups.slot(join_key, hash_key(join_key));
        self.link(entry, group);
        let mut reader = Reader::new(value);
        self.entries.restore_head(entry, &mut reader)?;
        let mut number = || -> Result<u32> {
            u32::try_from(reader.varint()?).map_err(|_| Error::internal("a checkpoint counts a row too often"))
        };
        self.counts[entry as usize] = number()?;
        self.associations[entry as usize] = number()?;
        if self.unique.is_some() {
            self.rows.set(entry as usize, reader.rest());
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        let numbers = [&self.counts, &self.associations, &self.next, &self.previous, &self.group_of];
        let by_group = [&self.first, &self.last];
        self.entries.bytes()
            + self.groups.bytes()
            + self.rows.bytes()
            + numbers.iter().chain(&by_group).map(|v| v.capacity() * size_of::<u32>()).sum::<usize>()
            + self.hasher.bytes()
            + self.suffixes.capacity_bytes()
            + self.payloads.capacity_bytes()
            + self.loaded.bytes()
    }

    /// Puts the entry's key of a prepared row into `self.key`.
    fn entry_key(&mut self, row: usize) -> u64 {
        self.key.clear();
        self.key.extend_from_slice(self.hasher.keys().key(row));
        let suffix = if self.unique.is_some() { self.suffixes.key(row) } else { self.payloads.key(row) };
        self.key.extend_from_slice(suffix);
        hash_key(&self.key)
    }

    fn grow(&mut self) {
        let entries = self.entries.slot_count();
        if self.counts.len() < entries {
            for numbers in [&mut self.counts, &mut self.associations] {
                numbers.resize(entries, 0);
            }
            for links in [&mut self.next, &mut self.previous, &mut self.group_of] {
                links.resize(entries, NONE);
            }
            if self.unique.is_some() {
                self.rows.grow(entries);
            }
        }
    }

    /// Puts an entry at the end of its group's list.
    fn link(&mut self, entry: u32, group: u32) {
        let groups = self.groups.slot_count();
        self.first.resize(groups.max(self.first.len()), NONE);
        self.last.resize(groups.max(self.last.len()), NONE);
        let (slot, at) = (entry as usize, group as usize);
        self.group_of[slot] = group;
        self.next[slot] = NONE;
        self.previous[slot] = self.last[at];
        match self.last[at] {
            NONE => self.first[at] = entry,
            last => self.next[last as usize] = entry,
        }
        self.last[at] = entry;
    }

    fn remove(&mut self, entry: u32) {
        self.copy_aside(&[entry]);
        let slot = entry as usize;
        let (group, previous, next) = (self.group_of[slot], self.previous[slot], self.next[slot]);
        match previous {
            NONE => self.first[group as usize] = next,
            previous => self.next[previous as usize] = next,
        }
        match next {
            NONE => self.last[group as usize] = previous,
            next => self.previous[next as usize] = previous,
        }
        if self.first[group as usize] == NONE {
            self.groups.remove(group);
        }
        self.group_of[slot] = NONE;
        self.counts[slot] = 0;
        self.associations[slot] = 0;
        if self.unique.is_some() {
            self.rows.clear(slot);
        }
        self.entries.remove(entry);
    }
}
