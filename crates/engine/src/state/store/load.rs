//! An operator's view of the store: reading what its tables do not hold.

use std::sync::Arc;

use wiesel_core::{Error, Result};

use super::{HEAD_BYTES, Store, failed, head, runs};
use crate::state::codec::KeyBuffer;

/// The entries of one operator.
#[derive(Debug, Clone)]
pub struct StateStore {
    store: Arc<Store>,
    operator: u16,
}

/// Entries read from the store, as a restore gives them. Used again for every step.
#[derive(Debug, Default)]
pub struct Loaded {
    places: Vec<(u8, u8)>,
    keys: KeyBuffer,
    values: KeyBuffer,
    // Buffers of the read.
    wanted: KeyBuffer,
}

impl Loaded {
    /// Forgets the entries.
    pub fn clear(&mut self) {
        self.places.clear();
        self.keys.clear();
        self.values.clear();
    }

    /// Table, vnode, key and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (u8, u8, &[u8], &[u8])> {
        let entries = self.places.iter().zip(self.keys.iter()).zip(self.values.iter());
        entries.map(|(((table, vnode), key), value)| (*table, *vnode, key, value))
    }

    /// Bytes held, by capacity.
    pub fn bytes(&self) -> usize {
        let buffers = [&self.keys, &self.values, &self.wanted];
        self.places.capacity() * 2 + buffers.iter().map(|buffer| buffer.capacity_bytes()).sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn push(&mut self, table: u8, vnode: u8, key: &[u8], value: &[u8]) {
        self.places.push((table, vnode));
        self.keys.push(key);
        self.values.push(value);
    }
}

struct ReadError(Error);

impl From<runs::StoreError> for ReadError {
    fn from(error: runs::StoreError) -> Self {
        ReadError(failed(error))
    }
}

impl StateStore {
    pub(crate) fn new(store: Arc<Store>, operator: u16) -> Self {
        StateStore { store, operator }
    }

    /// Appends the entries of these keys of a table, as far as they are there. `prefix` stands in front of every key.
    pub fn load<'k>(
        &self,
        table: u8,
        prefix: &[u8],
        keys: impl Iterator<Item = (u8, &'k [u8])>,
        out: &mut Loaded,
    ) -> Result<()> {
        let mut wanted = std::mem::take(&mut out.wanted);
        wanted.clear();
        for (vnode, key) in keys {
            wanted.bytes.extend(head(self.operator, table, vnode));
            wanted.bytes.extend_from_slice(prefix);
            wanted.bytes.extend_from_slice(key);
            let start = wanted.offsets.last().copied().unwrap_or(0);
            if self.store.may_hold(&wanted.bytes[start..]) {
                wanted.offsets.push(wanted.bytes.len());
            } else {
                wanted.bytes.truncate(start);
            }
        }
        let mut sorted: Vec<&[u8]> = wanted.iter().collect();
        sorted.sort_unstable();
        let read = self.store.runs().get_many::<ReadError>(&sorted, |place, value| {
            let key = sorted[place];
            out.push(table, key[HEAD_BYTES - 1], &key[HEAD_BYTES..], value);
            Ok(())
        });
        drop(sorted);
        out.wanted = wanted;
        read.map_err(|ReadError(error)| error)
    }

    /// Appends the entries of a table whose keys begin with one of these prefixes.
    pub fn load_prefixes<'k>(
        &self,
        table: u8,
        prefixes: impl Iterator<Item = (u8, &'k [u8])>,
        out: &mut Loaded,
    ) -> Result<()> {
        let mut cursor = None;
        let mut begin = Vec::new();
        for (vnode, prefix) in prefixes {
            let cursor = cursor.get_or_insert_with(|| self.store.runs().cursor());
            begin.clear();
            begin.extend(head(self.operator, table, vnode));
            begin.extend_from_slice(prefix);
            cursor.seek(&begin);
            while let Some((key, value)) = cursor.entry().map_err(failed)?.filter(|(key, _)| key.starts_with(&begin)) {
                out.push(table, vnode, &key[HEAD_BYTES..], value);
                cursor.next();
            }
        }
        Ok(())
    }
}
