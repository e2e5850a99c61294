//! From Flink SQL text to StreamPlan.
//!
//! ```text
//! text --parser--> Statement (tree with spans) --binder--> typed query (plan::rel) --plan--> StreamPlan
//! ```
//! [`session::Session`] reads a file statement by statement; everything here is pure: no I/O, no threads, and no panic on any text.

pub mod binder;
pub mod catalog;
pub mod config;
pub mod parser;
pub mod plan;
pub mod session;
