//! The cases, one file per subject. The list of them stands in `e2e/mod.rs`.

pub(crate) mod avro;
pub(crate) mod bad_input;
pub(crate) mod compose;
pub(crate) mod counters;
pub(crate) mod delivery;
pub(crate) mod demo;
pub(crate) mod elasticsearch;
pub(crate) mod examples;
pub(crate) mod filesystem;
pub(crate) mod filesystem_source;
pub(crate) mod harness;
pub(crate) mod jdbc;
pub(crate) mod jdbc_source;
pub(crate) mod kafka_keys;
pub(crate) mod kafka_sink;
pub(crate) mod kafka_source;
pub(crate) mod lookup_join;
pub(crate) mod objects;
pub(crate) mod options;
pub(crate) mod outage;
pub(crate) mod peek;
pub(crate) mod pipelines;
pub(crate) mod redrive;
pub(crate) mod state;
pub(crate) mod stop;
pub(crate) mod workload;
