//! Java's time patterns.
