//! A set of slots, one bit each: which of them changed, and which a checkpoint has still to write.
//!
//! A table of ten million slots has a set of little more than a megabyte, so a checkpoint may take the whole set away, or fill one, in the
//! moment in which the loop stands.

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct SlotSet {
    words: Vec<u64>,
}

fn place(slot: u32) -> (usize, u64) {
    ((slot / u64::BITS) as usize, 1 << (slot % u64::BITS))
}

impl SlotSet {
    /// An empty set with room for the slots below `count`.
    pub(crate) fn with_room(count: usize) -> Self {
        SlotSet { words: vec![0; count.div_ceil(u64::BITS as usize)] }
    }

    /// All slots below `count`, and up to 63 more, which do not matter to a table that knows how many it has.
    pub(crate) fn filled(count: usize) -> Self {
        SlotSet { words: vec![u64::MAX; count.div_ceil(u64::BITS as usize)] }
    }

    /// Adds a slot.
    pub(crate) fn insert(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    /// Takes a slot out.
    pub(crate) fn remove(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Whether a slot is in the set.
    pub(crate) fn contains(&self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The first slot of the set that is not below `slot`.
    pub(crate) fn first_from(&self, slot: u32) -> Option<u32> {
        let (first, bit) = place(slot);
        let masked = self.words.get(first)? & !(bit - 1);
        let rest = (first + 1..self.words.len()).map(|word| (word, self.words[word]));
        let (word, bits) = std::iter::once((first, masked)).chain(rest).find(|(_, bits)| *bits != 0)?;
        u32::try_from(word).ok().map(|word| word * u64::BITS + bits.trailing_zeros())
    }

    /// Bytes held, by capacity.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in_and_not_taken_out(steps in prop::collection::vec((any::<bool>(), 0_u32..300), 0..100)) {
            let (mut set, mut expected) = (SlotSet::with_room(100), BTreeSet::new());
            for (is_new, slot) in steps {
                if is_new {
                    set.insert(slot);
                    expected.insert(slot);
                } else {
                    set.remove(slot);
                    expected.remove(&slot);
                }
                prop_assert_eq!(set.contains(slot), expected.contains(&slot));
            }
            let (mut found, mut next) = (BTreeSet::new(), 0);
            while let Some(slot) = set.first_from(next) {
                found.insert(slot);
                next = slot + 1;
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_filled_set_holds_every_slot_below_the_count() {
        let set = SlotSet::filled(70);
        assert!((0..70).all(|slot| set.contains(slot)));
        assert!(!set.contains(128));
    }
}
