//! The commands of `cargo xtask`, one file each.

pub(crate) mod bench;
pub(crate) mod ci;
pub(crate) mod dist;
pub(crate) mod docs;
pub(crate) mod faults;
pub(crate) mod fuzz;
pub(crate) mod nexmark;
pub(crate) mod peers;
pub(crate) mod services;
pub(crate) mod systems;
pub(crate) mod test;
pub(crate) mod tidy;
