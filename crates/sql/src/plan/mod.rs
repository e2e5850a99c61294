//! From the typed query to StreamPlan: lowering, a few rewrites, the traits of each node.

pub mod batch;
pub mod interval;
pub mod join;
pub mod lookup;
pub mod lower;
pub mod materialize;
mod normalize;
pub mod optimize;
pub mod rank;
pub mod rel;
pub mod traits;
pub mod window;
