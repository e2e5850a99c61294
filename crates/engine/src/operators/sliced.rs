//! State that a checkpoint takes in slices: the line is drawn in one moment, the entries are written while rows go on.
//!
//! ```text
//! freeze      the table's set of changed slots becomes the set of pending ones; keys that are gone are set aside     (a moment)
//! a slice     the next pending slots are written and leave the set                                               (between steps)
//! a change    a pending slot that is about to change is copied aside first, as it stood at the line                (in a step)
//! ```
//! So the checkpoint holds the state exactly as it was at the line, and no step waits for more than a slice of it. What is copied aside is
//! at most what a step changes, and goes out with the next slice.

use wiesel_core::Result;

use crate::operator::StateWriter;
use crate::state::group_table::GroupTable;

/// One table of groups with what an operator keeps by slot.
pub(crate) trait Sliced {
    /// The table that knows which slots a checkpoint has to write.
    fn table(&mut self) -> &mut GroupTable;
    /// Writes all that stands by a slot.
    fn write_slot(&mut self, slot: u32, writer: &mut dyn StateWriter);
    /// Deletes the next key that an earlier checkpoint holds and that is gone; returns whether there was one.
    fn write_gone(&mut self, writer: &mut dyn StateWriter) -> Result<bool>;

    /// Copies slots aside that are about to change and that a checkpoint still has to write.
    fn copy_aside(&mut self, slots: &[u32]) {
        if !self.table().is_frozen() {
            return;
        }
        for &slot in slots {
            if self.table().is_pending(slot) {
                self.table().settle(slot);
                let mut aside = std::mem::take(self.table().aside());
                self.write_slot(slot, &mut aside);
                *self.table().aside() = aside;
            }
        }
    }

    /// Writes what was copied aside and so many entries more; returns whether that was all.
    fn write_part(&mut self, entries: usize, writer: &mut dyn StateWriter) -> Result<bool> {
        std::mem::take(self.table().aside()).replay(writer)?;
        for _ in 0..entries {
            if self.write_gone(writer)? {
                continue;
            }
            let Some(slot) = self.table().next_pending() else { return Ok(true) };
            self.write_slot(slot, writer);
        }
        Ok(false)
    }
}
