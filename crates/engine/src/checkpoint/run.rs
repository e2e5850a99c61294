//! State run files: what operators wrote out for one checkpoint, in order.
//!
//! ```text
//! "WSLRUN" version:u16 | block | block | ...          block = length:u32 crc32:u32 payload
//! first payload: the operator ids as JSON             all others: entries
//! entry = kind:u8 operator:u16 table:u8 vnode:u8 key_length:u32 key [value_length:u32 value]
//! ```
//! Numbers are little-endian. An entry names its operator by its place in the file's own list of ids, so a file can be read without any
//! plan. Entries are in the order in which they were written: a later one of the same key wins.

use crate::operator::StateWriter;

const PUT: u8 = 0;
const DELETE: u8 = 1;
const DELETE_PREFIX: u8 = 2;

/// A block is closed once it holds this much; one entry may make it larger.
const BLOCK_BYTES: usize = 256 << 10;

/// Entries on their way into a run file, written by one worker.
#[derive(Debug, Default)]
pub(crate) struct RunBuffer {
    operator: u16,
    bytes: Vec<u8>,
    block_ends: Vec<usize>,
}

impl RunBuffer {
    /// Entries that follow belong to this node of the plan.
    pub(crate) fn set_operator(&mut self, plan_node: usize) {
        self.operator = u16::try_from(plan_node).expect("a plan has fewer than 65536 nodes");
    }

    fn entry(&mut self, kind: u8, table: u8, vnode: u8, key: &[u8], value: Option<&[u8]>) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&self.operator.to_le_bytes());
        self.bytes.extend_from_slice(&[table, vnode]);
        for part in [Some(key), value].into_iter().flatten() {
            let length = u32::try_from(part.len()).expect("a state entry is smaller than 4 GiB");
            self.bytes.extend_from_slice(&length.to_le_bytes());
            self.bytes.extend_from_slice(part);
        }
        let begin = self.block_ends.last().copied().unwrap_or(0);
        if self.bytes.len() - begin >= BLOCK_BYTES {
            self.block_ends.push(self.bytes.len());
        }
    }
}

impl StateWriter for RunBuffer {
    fn put(&mut self, table: u8, vnode: u8, key: &[u8], value: &[u8]) {
        self.entry(PUT, table, vnode, key, Some(value));
    }

    fn delete(&mut self, table: u8, vnode: u8, key: &[u8]) {
        self.entry(DELETE, table, vnode, key, None);
    }

    fn delete_prefix(&mut self, table: u8, prefix: &[u8]) {
        self.entry(DELETE_PREFIX, table, 0, prefix, None);
    }
}
