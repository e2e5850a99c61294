//! The filesystem connector.
