//! The datagen connector.
