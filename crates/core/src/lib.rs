//! Values, types, change batches, errors, the clock, and the traits of sources, formats and sinks
pub mod diagnostic;
