//! ORDER BY as bytes: a row's sort columns become one string whose byte order is the order asked for.
//!
//! ```text
//! per column:  place of NULL | the column's key encoding, all bits turned over for DESC
//! ```
//! The key encoding is order-preserving and self-delimiting, so columns stand one behind the other without separators.

use arrow_array::{ArrayRef, RecordBatch};
use wiesel_core::Result;
use wiesel_plan::SortColumn;

use crate::state::codec::{KeyBuffer, encode_keys};

/// Encodes the sort columns of batches; owns its buffers.
#[derive(Debug)]
pub(super) struct SortKeys {
    columns: Vec<SortColumn>,
    encoded: Vec<KeyBuffer>,
    arrays: Vec<ArrayRef>,
}

impl SortKeys {
    pub(super) fn new(columns: Vec<SortColumn>) -> Self {
        let encoded = columns.iter().map(|_| KeyBuffer::default()).collect();
        SortKeys { columns, encoded, arrays: Vec::new() }
    }

    /// Reads the sort columns of a batch.
    pub(super) fn load(&mut self, batch: &RecordBatch) -> Result<()> {
        self.arrays.clear();
        for (sort, encoded) in self.columns.iter().zip(&mut self.encoded) {
            let array = batch.column(sort.column).clone();
            encoded.clear();
            encode_keys(std::slice::from_ref(&array), batch.num_rows(), encoded)?;
            self.arrays.push(array);
        }
        Ok(())
    }

    /// Appends the sort key of a row of the batch loaded last.
    pub(super) fn append(&self, row: usize, out: &mut Vec<u8>) {
        for ((sort, encoded), array) in self.columns.iter().zip(&self.encoded).zip(&self.arrays) {
            let is_null = arrow_array::Array::is_null(array.as_ref(), row);
            out.push(match (is_null, sort.nulls_first) {
                (false, _) => 1,
                (true, true) => 0,
                (true, false) => 2,
            });
            let flip = if sort.descending { 0xff } else { 0 };
            out.extend(encoded.key(row).iter().map(|byte| byte ^ flip));
        }
    }
}

impl SortKeys {
    /// Bytes held, by capacity.
    pub(super) fn bytes(&self) -> usize {
        self.encoded.iter().map(KeyBuffer::capacity_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn byte_order_is_the_order_asked_for() {
        let numbers: ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![Some(2), None, Some(-1), Some(2)]));
        let texts: ArrayRef = Arc::new(arrow_array::StringArray::from(vec!["b", "a", "ab", "a"]));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("s", texts)]).unwrap();
        for (descending, nulls_first, expected) in [
            (false, true, [1, 2, 3, 0]),
            (false, false, [2, 3, 0, 1]),
            (true, false, [3, 0, 2, 1]),
            (true, true, [1, 3, 0, 2]),
        ] {
            let by = |column, descending, nulls_first| SortColumn { column, descending, nulls_first };
            let mut keys = SortKeys::new(vec![by(0, descending, nulls_first), by(1, false, true)]);
            keys.load(&batch).unwrap();
            let mut rows: Vec<usize> = (0..4).collect();
            rows.sort_by_key(|row| {
                let mut key = Vec::new();
                keys.append(*row, &mut key);
                key
            });
            assert_eq!(rows, expected, "{descending} {nulls_first}");
        }
    }
}
