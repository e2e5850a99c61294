//! Rows to documents: each row's own document, written by the json encoder, between the words of the format.

use wiesel_core::{ChangeBatch, Result};

use super::Dialect;
use crate::formats::json::{JsonEncoder, JsonOptions};
use crate::formats::{Encoder, FormatContext};

/// What stands before and behind a row's document.
type Around = (&'static str, &'static str);

/// Encodes changes.
pub(super) struct ChangeEncoder {
    rows: JsonEncoder,
    /// Around a row that is there now.
    added: Around,
    /// Around a row that is not there any more.
    removed: Around,
    documents: Vec<u8>,
    ends: Vec<usize>,
}

impl ChangeEncoder {
    pub(super) fn new(dialect: &Dialect, options: &JsonOptions, context: FormatContext) -> Self {
        let (added, removed) = match dialect {
            Dialect::Debezium { .. } if options.ignore_null_fields => {
                (("{\"after\":", ",\"op\":\"c\"}"), ("{\"before\":", ",\"op\":\"d\"}"))
            }
            Dialect::Debezium { .. } => {
                (("{\"before\":null,\"after\":", ",\"op\":\"c\"}"), ("{\"before\":", ",\"after\":null,\"op\":\"d\"}"))
            }
            Dialect::Canal { .. } => {
                (("{\"data\":[", "],\"type\":\"INSERT\"}"), ("{\"data\":[", "],\"type\":\"DELETE\"}"))
            }
            Dialect::Maxwell => (("{\"data\":", ",\"type\":\"insert\"}"), ("{\"data\":", ",\"type\":\"delete\"}")),
        };
        let rows = JsonEncoder::new(context, options.clone());
        ChangeEncoder { rows, added, removed, documents: Vec::new(), ends: Vec::new() }
    }
}

impl Encoder for ChangeEncoder {
    fn encode(&mut self, batch: &ChangeBatch, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        self.documents.clear();
        self.ends.clear();
        self.rows.encode(batch, &mut self.documents, &mut self.ends)?;
        let mut start = 0;
        for (row, end) in self.ends.iter().enumerate() {
            let (before, behind) = if batch.kind(row).is_add() { self.added } else { self.removed };
            bytes.extend_from_slice(before.as_bytes());
            bytes.extend_from_slice(self.documents.get(start..*end).unwrap_or_default());
            bytes.extend_from_slice(behind.as_bytes());
            ends.push(bytes.len());
            start = *end;
        }
        Ok(())
    }
}
