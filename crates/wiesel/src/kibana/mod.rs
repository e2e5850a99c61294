//! Kibana beside the example systems: the saved objects that show what a system writes, and the call that loads them.
//!
//! The objects are described once (`board.rs`) and written in two forms (`objects.rs`): that of Kibana 7.8, the seeds' version, which every
//! later 7 takes, and that of 8.0, which every later 8 takes. `examples/SYSTEM/kibana-*.ndjson` hold what `wiesel kibana export` prints.

mod board;
mod load;
mod objects;

pub(crate) use board::{BOARDS, Board};
pub(crate) use load::{Access, load};
pub(crate) use objects::{Line, lines};
