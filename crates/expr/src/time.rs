//! Civil time: days, clock fields, Java time patterns and session zones, shared by casts, functions and formats' tests.
//!
//! [`civil`] does the calendar with integer arithmetic alone, [`text`] reads and writes SQL's own forms, [`pattern`] reads and writes
//! Java's pattern letters, and [`zone`] moves between instants and wall clocks.

pub mod civil;
pub mod column;
pub mod pattern;
pub mod text;
pub mod zone;
