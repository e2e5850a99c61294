//! Formats: bytes to rows and back. A format knows a schema and bytes, never a connector.

pub mod json;

use std::ops::Range;

use wiesel_core::source::RawBatch;
use wiesel_core::{ChangeBatch, Result, Schema};

/// Decodes the values of records into the physical columns of a table.
pub trait Decoder: Send {
    /// Decodes `records[range]` of the batch. Row `i` of the result comes from record `taken[i]`.
    fn decode(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Decoded>;
}

/// What a decoder made of some records.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, with the decoder's schema.
    pub rows: arrow_array::RecordBatch,
    /// Kinds, for changelog formats.
    pub kinds: Option<wiesel_core::RowKinds>,
    /// The index in `records` that each row comes from; `None` when it is simply the range, one row per record.
    pub taken: Option<Vec<u32>>,
    /// Records dropped by the format's own rules.
    pub skipped: u64,
}

/// Encodes rows into bytes, one document per row.
pub trait Encoder: Send {
    /// Appends every row's document to `bytes` and, for each, the end of it to `ends`.
    fn encode(&mut self, batch: &ChangeBatch, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()>;
}

/// What both directions need to know.
#[derive(Debug, Clone)]
pub struct FormatContext {
    /// The table's name, for messages.
    pub table: String,
    /// The columns to decode or encode, in order.
    pub schema: Schema,
    /// The session's time zone.
    pub time_zone: String,
}
