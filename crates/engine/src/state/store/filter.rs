//! Which keys the store may hold: asked before every read, because most keys that a step brings anew were never there.
//!
//! ```text
//! key of the store -> xxh3-64 -> upper half: one block of 32 bytes
//!                                lower half: one bit in each of the block's eight words
//! ```
//! A Bloom filter cut into blocks, so that a question costs one miss of the processor's cache. RocksDB has filters of its own, one per file,
//! and asking those of some dozen overlapping files cost 5 us per key that none of them held (`bench/PROFILE.md`). Its size is fixed by
//! the memory budget. With 10 bits per key about 1 of 100 keys is looked for in vain; a store with more keys than that fills it up, and
//! then every key is looked for, which is slow and not wrong. Deleted keys stay in it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The share of the memory budget that the filter takes.
const FILTER_SHARE: u64 = 10;
const WORDS: usize = 8;
const BLOCK_BYTES: u64 = 32;
/// Odd multipliers that draw a bit for each word from the same half of a hash: the upper halves of splitmix64(0) to splitmix64(7), made odd.
const MULTIPLIERS: [u32; WORDS] =
    [0xE220_A839, 0x910A_2DED, 0x9758_35DF, 0x1D0B_14E5, 0x6E73_E373, 0x6303_3B0D, 0xBD64_A5D9, 0x63CB_E1E5];

/// A set of hashes that may say yes wrongly and never says no wrongly.
#[derive(Debug)]
pub(super) struct Filter {
    blocks: Vec<[AtomicU32; WORDS]>,
}

impl Filter {
    /// An empty filter of its share of the budget.
    pub(super) fn new(memory_bytes: u64) -> Filter {
        let blocks = usize::try_from((memory_bytes / FILTER_SHARE / BLOCK_BYTES).max(1)).unwrap_or(usize::MAX);
        Filter { blocks: std::iter::repeat_with(Default::default).take(blocks).collect() }
    }

    fn block(&self, hash: u64) -> &[AtomicU32; WORDS] {
        // The upper half times the number of blocks, without a division.
        let place = (u128::from(hash) * self.blocks.len() as u128) >> 64;
        &self.blocks[usize::try_from(place).expect("it is below the number of blocks")]
    }

    fn bits(hash: u64) -> [u32; WORDS] {
        let low = u32::try_from(hash & u64::from(u32::MAX)).expect("the lower half");
        MULTIPLIERS.map(|multiplier| 1 << (low.wrapping_mul(multiplier) >> 27))
    }

    /// Takes a hash in.
    pub(super) fn insert(&self, hash: u64) {
        for (word, bit) in self.block(hash).iter().zip(Self::bits(hash)) {
            word.fetch_or(bit, Relaxed);
        }
    }

    /// Whether the hash may have been taken in.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        self.block(hash).iter().zip(Self::bits(hash)).all(|(word, bit)| word.load(Relaxed) & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    fn hash(number: u64) -> u64 {
        xxh3_64(&number.to_be_bytes())
    }

    #[test]
    fn what_was_taken_in_is_held() {
        let filter = Filter::new(FILTER_SHARE * 1024);
        (0..5_000).for_each(|number| filter.insert(hash(number)));
        assert!((0..5_000).all(|number| filter.may_hold(hash(number))));
    }

    #[test]
    fn with_ten_bits_per_key_few_others_are_held() {
        let keys = 100_000_u64;
        let filter = Filter::new(keys * 10 / 8 * FILTER_SHARE);
        (0..keys).for_each(|number| filter.insert(hash(number)));
        let wrong = (keys..2 * keys).filter(|number| filter.may_hold(hash(*number))).count();
        assert!(wrong < 2_000, "{wrong} of {keys}");
    }

    #[test]
    fn an_empty_one_holds_nothing_whatever_its_size() {
        assert!((0..1_000).all(|number| !Filter::new(0).may_hold(hash(number))));
    }
}
