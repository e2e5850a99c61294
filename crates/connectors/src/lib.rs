//! Connectors and formats, one folder each, all of the same shape: `mod.rs` (what it guarantees, its option table), `options.rs` (typed
//! WITH keys), `source.rs` / `sink.rs`. They know tables and batches; they never see SQL text or operators.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails"))]

pub mod blackhole;
pub mod datagen;
pub mod elasticsearch;
mod epoch;
pub mod filesystem;
pub mod formats;
mod handover;
mod java_text;
pub mod jdbc;
#[cfg(feature = "kafka")]
pub mod kafka;
mod key_index;
mod lookup_cache;
pub mod nexmark;
pub mod print;
mod refused;
pub mod registry;
mod stage;
mod stager;

pub use refused::DELETION_REFUSED;
