//! The elasticsearch connector.
