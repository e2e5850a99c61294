//! The kafka connector.
