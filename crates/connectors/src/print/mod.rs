//! The print connector.
