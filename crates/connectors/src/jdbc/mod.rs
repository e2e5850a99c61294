//! The jdbc connector.
