//! The blackhole connector.
