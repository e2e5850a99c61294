//! Flink SQL text to StreamPlan: parser, catalog, binder, optimizer
pub mod parser;
