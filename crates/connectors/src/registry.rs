//! The registry: from a table descriptor to its connector.
