//! Stand-in until the state tables are there.
use arrow_array::RecordBatch;
use wiesel_core::{Schema, Value};

/// Stand-in.
pub struct KeyHasher {
    columns: Vec<usize>,
    schema: Schema,
    hashes: Vec<u64>,
}

impl KeyHasher {
    /// Stand-in.
    pub fn new(schema: &Schema, columns: &[usize]) -> Self {
        KeyHasher { columns: columns.to_vec(), schema: schema.clone(), hashes: Vec::new() }
    }
    /// Stand-in.
    pub fn hash(&mut self, batch: &RecordBatch) -> &[u64] {
        self.hashes.clear();
        for row in 0..batch.num_rows() {
            let key: Vec<Value> = self
                .columns
                .iter()
                .map(|&c| Value::from_array(batch.column(c), &self.schema.fields()[c].data_type, row))
                .collect();
            self.hashes.push(xxhash_rust::xxh3::xxh3_64(format!("{key:?}").as_bytes()));
        }
        &self.hashes
    }
}

/// Stand-in.
pub mod vnode {
    /// Stand-in.
    pub fn of_hash(hash: u64) -> u8 {
        (hash >> 56) as u8
    }
    /// Stand-in.
    pub fn worker(vnode: u8, workers: usize) -> usize {
        usize::from(vnode) * workers / 256
    }
}
