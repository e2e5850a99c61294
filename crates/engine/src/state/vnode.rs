//! Which worker owns a key: 256 virtual nodes per job, dealt out to the workers in contiguous ranges.
//!
//! ```text
//! key columns -> key bytes (codec) -> xxh3-64 -> vnode = hash mod 256 -> worker = vnode * workers / 256
//! ```
//! The exchange and the state tables use the same functions, so a row meets its state wherever it was decoded. The hash and the vnode are
//! written into checkpoints: they must never change, and the golden tests below hold them still. The worker is not: a checkpoint taken
//! with two workers restores into four.

use arrow_array::{ArrayRef, RecordBatch};
use wiesel_core::{Error, Result};
use xxhash_rust::xxh3::xxh3_64;

use super::codec::{KeyBuffer, encode_keys};

/// Virtual nodes per job, fixed for ever.
pub const VNODES: usize = 256;

/// The hash of a key's bytes. The empty key hashes to 0, so that state without keys belongs to worker 0, which is also the one that gets
/// all rows of an exchange without keys.
pub fn hash_key(key: &[u8]) -> u64 {
    if key.is_empty() { 0 } else { xxh3_64(key) }
}

/// The virtual node of a key with that hash.
pub fn vnode_of_hash(hash: u64) -> u8 {
    // The remainder by 256 is the lowest byte.
    hash.to_le_bytes()[0]
}

/// The virtual node of a key.
pub fn vnode_of_key(key: &[u8]) -> u8 {
    vnode_of_hash(hash_key(key))
}

/// The worker that owns a virtual node. Each worker has a contiguous range; the ranges differ by at most one node in length.
pub fn worker_of_vnode(vnode: u8, workers: usize) -> usize {
    usize::from(vnode) * workers.max(1) / VNODES
}

/// The worker that owns the key with that hash.
pub fn worker_of_hash(hash: u64, workers: usize) -> usize {
    worker_of_vnode(vnode_of_hash(hash), workers)
}

/// Appends the hash of every key of a buffer.
pub fn hashes(keys: &KeyBuffer, out: &mut Vec<u64>) {
    out.extend(keys.iter().map(hash_key));
}

/// Hashes key columns of batches; owns its buffers, so a batch costs no allocation once they have grown.
#[derive(Debug, Default)]
pub struct KeyHasher {
    columns: Vec<usize>,
    arrays: Vec<ArrayRef>,
    keys: KeyBuffer,
    hashes: Vec<u64>,
}

impl KeyHasher {
    /// A hasher over the columns at these positions.
    pub fn new(columns: Vec<usize>) -> Self {
        KeyHasher { columns, ..KeyHasher::default() }
    }

    /// The positions of the key columns.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// One hash per row of the batch. Without key columns all rows have the same hash.
    pub fn hash(&mut self, batch: &RecordBatch) -> Result<&[u64]> {
        self.arrays.clear();
        for &column in &self.columns {
            let array = batch.columns().get(column).ok_or_else(|| {
                Error::internal(format!("key column {column} of a batch with {} columns", batch.num_columns()))
            })?;
            self.arrays.push(array.clone());
        }
        self.keys.clear();
        encode_keys(&self.arrays, batch.num_rows(), &mut self.keys)?;
        self.arrays.clear();
        self.hashes.clear();
        hashes(&self.keys, &mut self.hashes);
        Ok(&self.hashes)
    }

    /// The keys of the batch hashed last.
    pub fn keys(&self) -> &KeyBuffer {
        &self.keys
    }

    /// The keys and hashes of the batch hashed last.
    pub fn keys_and_hashes(&self) -> (&KeyBuffer, &[u64]) {
        (&self.keys, &self.hashes)
    }

    /// Bytes held, by capacity.
    pub fn bytes(&self) -> usize {
        self.keys.capacity_bytes() + self.hashes.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn hashes_and_vnodes_of_known_keys_never_change() {
        let cases: [(&[u8], u64); 4] = [
            (b"", 0),
            (b"\x01a\x00\x00", 0x8961_e9b7_0595_97d7),
            (b"\x00", 0xc44b_dff4_074e_ecdb),
            (b"\x01\x80\x00\x00\x00\x00\x00\x00\x2a", 0x5bf7_6a38_8e4a_df0a),
        ];
        for (key, hash) in cases {
            assert_eq!(hash_key(key), hash, "{key:?}");
            assert_eq!(u64::from(vnode_of_key(key)), hash % 256);
        }
    }

    #[test]
    fn vnodes_are_dealt_out_in_ranges_that_differ_by_at_most_one() {
        for workers in 1..=17 {
            let mut owned = vec![0_usize; workers];
            let mut last = 0;
            for vnode in 0..=255_u8 {
                let worker = worker_of_vnode(vnode, workers);
                assert!(worker >= last && worker < workers);
                last = worker;
                owned[worker] += 1;
            }
            let (least, most) = (owned.iter().min().unwrap(), owned.iter().max().unwrap());
            assert!(most - least <= 1, "{workers} workers own {owned:?}");
        }
    }

    #[test]
    fn a_hasher_gives_the_hash_of_the_key_bytes() {
        let column: ArrayRef = Arc::new(arrow_array::StringArray::from(vec![Some("a"), None]));
        let batch = RecordBatch::try_from_iter([("k", column)]).unwrap();
        let mut hasher = KeyHasher::new(vec![0]);
        assert_eq!(hasher.hash(&batch).unwrap(), [hash_key(b"\x01a\x00\x00"), hash_key(b"\x00")]);
        let mut empty = KeyHasher::new(vec![]);
        assert_eq!(empty.hash(&batch).unwrap(), [hash_key(b""), hash_key(b"")]);
        assert!(KeyHasher::new(vec![9]).hash(&batch).is_err());
    }
}
