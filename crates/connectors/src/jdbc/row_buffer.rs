//! The changes that wait for the next transaction, as pieces of the batches they came in: by key the last one, or, without a key, all.
//!
//! Nothing is copied until the flush gathers the surviving rows (`interleave`); when dead rows prevail, the living ones are gathered
//! early and the rest is let go.

use std::ops::Range;

use arrow_array::{Array, RecordBatch};
use arrow_select::interleave::interleave_record_batch;
use wiesel_core::{ChangeBatch, Error, Result, RowKind, Schema, TypeKind};

use crate::java_text;
use crate::key_index::KeyIndex;

/// Fewer dead rows than this are not worth the copy.
const DEAD_ROWS_MIN: usize = 16 * 1024;

/// One waiting change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    batch: usize,
    row: usize,
    is_delete: bool,
}

/// The changes that wait.
#[derive(Debug, Default)]
pub(super) struct RowBuffer {
    batches: Vec<RecordBatch>,
    /// Keys are numbered as the changes are.
    keys: KeyIndex,
    waiting: Vec<Waiting>,
    rows_held: usize,
    bytes_held: usize,
}

impl RowBuffer {
    /// The number of changes.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes of the rows held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes_held + self.keys.bytes()
    }

    /// Takes a batch. With a key (positions and types in `key`) it returns how many changes replaced earlier ones.
    pub(super) fn write(&mut self, batch: &ChangeBatch, key: &[(usize, TypeKind)]) -> Result<Written> {
        let mut written = Written::default();
        if batch.is_empty() {
            return Ok(written);
        }
        let place = self.batches.len();
        let mut text = String::new();
        for row in 0..batch.len() {
            let kind = batch.kind(row);
            written.received += 1;
            // As in Flink -U deletes: a filter may have held back the +U that belongs to it. One that comes replaces it here.
            let change = Waiting { batch: place, row, is_delete: !kind.is_add() };
            if key.is_empty() {
                if kind != RowKind::Insert {
                    return Err(Error::internal("an updating result reached a jdbc table without a primary key"));
                }
                self.waiting.push(change);
                continue;
            }
            text.clear();
            for (position, kind) in key {
                let start = text.len();
                java_text::append_value(&mut text, batch.rows.column(*position), kind, row);
                // The length behind each part keeps ("a", "bc") and ("ab", "c") apart.
                let length = text.len() - start;
                java_text::append_integer(&mut text, i64::try_from(length).unwrap_or(i64::MAX));
                text.push('\0');
            }
            let (number, is_new) = self.keys.number(text.as_bytes());
            if is_new {
                self.waiting.push(change);
            } else if let Some(earlier) = self.waiting.get_mut(number) {
                *earlier = change;
                written.folded += 1;
            }
        }
        self.rows_held += batch.len();
        self.bytes_held += batch.rows.columns().iter().map(slice_bytes).sum::<usize>();
        self.batches.push(batch.rows.clone());
        if self.rows_held > 2 * self.waiting.len() + DEAD_ROWS_MIN {
            self.drop_dead_rows()?;
        }
        Ok(written)
    }

    /// The rows of the changes in `range`: those to be deleted, those to be written.
    pub(super) fn rows(&self, range: Range<usize>) -> Result<(Option<RecordBatch>, Option<RecordBatch>)> {
        let changes = self.waiting.get(range).unwrap_or_default();
        let places = |is_delete: bool| -> Vec<(usize, usize)> {
            changes.iter().filter(|c| c.is_delete == is_delete).map(|c| (c.batch, c.row)).collect()
        };
        Ok((self.gather(&places(true))?, self.gather(&places(false))?))
    }

    fn gather(&self, places: &[(usize, usize)]) -> Result<Option<RecordBatch>> {
        if places.is_empty() {
            return Ok(None);
        }
        if let [batch] = self.batches.as_slice()
            && batch.num_rows() == places.len()
            && places.iter().enumerate().all(|(i, (_, row))| i == *row)
        {
            return Ok(Some(batch.clone()));
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        Ok(Some(interleave_record_batch(&batches, places)?))
    }

    fn drop_dead_rows(&mut self) -> Result<()> {
        let places: Vec<(usize, usize)> = self.waiting.iter().map(|c| (c.batch, c.row)).collect();
        let Some(living) = self.gather(&places)? else { return Ok(()) };
        for (row, change) in self.waiting.iter_mut().enumerate() {
            (change.batch, change.row) = (0, row);
        }
        self.rows_held = living.num_rows();
        self.bytes_held = living.columns().iter().map(slice_bytes).sum();
        self.batches = vec![living];
        Ok(())
    }

    /// Empties the buffer.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
        self.keys.clear();
        self.waiting.clear();
        self.rows_held = 0;
        self.bytes_held = 0;
    }
}

/// What became of a batch's changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Changes taken.
    pub(super) received: u64,
    /// Of them, those that replaced an earlier one.
    pub(super) folded: u64,
}

fn slice_bytes(column: &arrow_array::ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
}

/// The positions and types of the primary key's columns.
pub(super) fn key_columns(schema: &Schema, primary_key: &[String]) -> Result<Vec<(usize, TypeKind)>> {
    let mut key = Vec::with_capacity(primary_key.len());
    for name in primary_key {
        let Some(position) = schema.index_of(name) else {
            return Err(Error::config(format!("the inserted columns lack `{name}`, a column of the primary key"))
                .hint("rows are written by primary key: insert all its columns"));
        };
        key.push((position, schema.fields()[position].data_type.kind.clone()));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use wiesel_core::value::column;
    use wiesel_core::{DataType, Field, Value};

    use super::*;

    const KEY: &[(usize, TypeKind)] = &[(0, TypeKind::VarChar(9))];

    fn batch(changes: &[(RowKind, &str, i64)]) -> ChangeBatch {
        let schema = Schema::new(vec![Field::new("k", DataType::string()), Field::new("n", DataType::int())]);
        let keys: Vec<Value> = changes.iter().map(|(_, k, _)| Value::String((*k).to_owned())).collect();
        let numbers: Vec<Value> = changes.iter().map(|(_, _, n)| Value::Int(*n)).collect();
        let columns = vec![column(&TypeKind::VarChar(9), &keys), column(&TypeKind::Int, &numbers)];
        let rows = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
        ChangeBatch::new(rows, changes.iter().map(|(kind, ..)| *kind).collect())
    }

    fn content(rows: Option<RecordBatch>) -> Vec<(String, i32)> {
        let Some(rows) = rows else { return Vec::new() };
        let (keys, numbers) = (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Int32Type>());
        (0..rows.num_rows()).map(|i| (keys.value(i).to_owned(), numbers.value(i))).collect()
    }

    #[test]
    fn the_last_change_of_a_key_waits() {
        use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
        let mut buffer = RowBuffer::default();
        let first = [(Insert, "a", 1), (Insert, "b", 1), (UpdateBefore, "a", 1), (UpdateAfter, "a", 2)];
        let written = buffer.write(&batch(&first), KEY).unwrap();
        assert_eq!(written, Written { received: 4, folded: 2 });
        buffer.write(&batch(&[(Delete, "b", 1), (Insert, "c", 3), (UpdateBefore, "d", 4)]), KEY).unwrap();
        let (deleted, written) = buffer.rows(0..buffer.len()).unwrap();
        assert_eq!(content(deleted), [("b".to_owned(), 1), ("d".to_owned(), 4)]);
        assert_eq!(content(written), [("a".to_owned(), 2), ("c".to_owned(), 3)]);
    }

    #[test]
    fn without_a_key_every_row_waits_in_order() {
        let mut buffer = RowBuffer::default();
        for n in 0..3 {
            buffer.write(&batch(&[(RowKind::Insert, "a", n), (RowKind::Insert, "a", n)]), &[]).unwrap();
        }
        let (_, rows) = buffer.rows(1..5).unwrap();
        assert_eq!(content(rows).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 1, 1, 2]);
        assert!(buffer.write(&batch(&[(RowKind::Delete, "a", 1)]), &[]).is_err());
    }

    #[test]
    fn dead_rows_are_let_go() {
        let mut buffer = RowBuffer::default();
        let many: Vec<(RowKind, &str, i64)> = (0..1000).map(|n| (RowKind::UpdateAfter, "a", n)).collect();
        for _ in 0..100 {
            buffer.write(&batch(&many), KEY).unwrap();
        }
        assert!(buffer.rows_held <= DEAD_ROWS_MIN + 1000);
        let (_, rows) = buffer.rows(0..1).unwrap();
        assert_eq!(content(rows), [("a".to_owned(), 999)]);
    }
}
