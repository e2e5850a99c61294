//! Keys to the numbers 0, 1, 2, ... in the order in which they first came: what sinks fold changes by.
//!
//! All keys lie in one arena, so a key costs no allocation of its own.

use std::ops::Range;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// The keys seen since the last [`KeyIndex::clear`].
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
    numbers: HashTable<usize>,
}

impl KeyIndex {
    /// The number of a key, and whether it is new.
    pub(crate) fn number(&mut self, key: &[u8]) -> (usize, bool) {
        let hash = xxh3_64(key);
        let (bytes, ranges) = (&self.bytes, &self.ranges);
        let key_of = |number: usize| ranges.get(number).and_then(|r| bytes.get(r.clone())).unwrap_or_default();
        if let Some(number) = self.numbers.find(hash, |number| key_of(*number) == key) {
            return (*number, false);
        }
        let number = self.ranges.len();
        self.numbers.insert_unique(hash, number, |number| xxh3_64(key_of(*number)));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.ranges.push(start..self.bytes.len());
        (number, true)
    }

    /// The key of a number.
    pub(crate) fn key(&self, number: usize) -> &[u8] {
        self.ranges.get(number).and_then(|r| self.bytes.get(r.clone())).unwrap_or_default()
    }

    /// Bytes of all keys.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all keys, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_in_order_and_found_again() {
        let mut index = KeyIndex::default();
        for round in 0..2 {
            for number in 0..5000_usize {
                assert_eq!(index.number(&number.to_le_bytes()), (number, round == 0));
            }
        }
        assert_eq!(index.key(7), 7_usize.to_le_bytes());
        assert_eq!(index.number(b""), (5000, true));
        index.clear();
        assert_eq!(index.number(b"x"), (0, true));
    }
}
