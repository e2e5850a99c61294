//! The nouns every other crate uses: SQL types and values, change batches, errors, the environment (clock and random numbers),
//! and the traits behind which sources, formats and sinks live. No I/O happens here, and nothing here knows SQL text or operators.
//!
//! Reading order: [`types`] (what a column is), [`change`] (what flows), [`source`] and [`sink`] (where it comes from and goes to),
//! [`lookup`] (how single keys are asked for), [`table`] (how a declared table reaches a connector), [`error`] (how anything fails).

pub mod change;
pub mod diagnostic;
pub mod env;
pub mod error;
pub mod lookup;
pub mod options;
pub mod secret;
pub mod sink;
pub mod source;
pub mod table;
pub mod types;
pub mod value;
pub mod variable;

pub use change::{ChangeBatch, ChangelogMode, RowKind, RowKinds};
pub use error::{Error, ErrorKind, Result};
pub use types::{DataType, Field, Schema, TypeKind};
pub use value::Value;
