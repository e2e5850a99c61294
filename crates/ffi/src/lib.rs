//! The only crate with unsafe code: safe wrappers of C libraries that the other crates use.
//!
//! - [`allocator`]: the options of mimalloc, which the `mimalloc` crate does not offer.
//! - `rocksdb`: RocksDB, as sorted runs that are ingested in bulk.
//! - `kafka`: librdkafka, through its batch consumption call, which the `rdkafka` crate does not offer.
//!
//! Rules here: every `unsafe` block says why it is sound, no type that leaves the crate lets safe code break it, and nothing in it knows
//! tables, options or errors of wiesel. C functions and structs are declared by hand in a `sys` module next to their use: the few that
//! are needed, with plain integers in place of C enums, because a broker may answer with an error code that a generated Rust enum
//! does not list, and such a value in an enum is undefined behaviour.

pub mod allocator;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
