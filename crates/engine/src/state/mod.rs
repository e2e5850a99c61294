//! The tables operators keep their state in: groups by hash, rows by order, windows by slice.
//!
//! All of them key their entries by the bytes of [`codec`], so one encoding decides which worker owns an entry ([`vnode`]), where a hash
//! table finds it, how it sorts, and what a checkpoint file holds. What has no room in memory lies in the [`store`].

pub mod codec;
pub mod group_table;
pub mod ordered_table;
pub(crate) mod slot_set;
pub mod store;
pub mod vnode;
