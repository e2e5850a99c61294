//! Rows that come one by one, as columns: for databases whose rows travel as rows.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use wiesel_core::{Result, Schema, Value, value};

/// See the module's head.
pub(super) struct Rows {
    values: Vec<Vec<Value>>,
    count: usize,
    bytes: usize,
}

impl Rows {
    /// No rows.
    pub(super) fn new(schema: &Schema) -> Rows {
        Rows { values: schema.fields().iter().map(|_| Vec::new()).collect(), count: 0, bytes: 0 }
    }

    /// Adds the value of a column, which came as so many bytes.
    pub(super) fn push(&mut self, column: usize, value: Value, bytes: usize) {
        if let Some(values) = self.values.get_mut(column) {
            values.push(value);
        }
        self.bytes += bytes;
    }

    /// All columns of a row are in.
    pub(super) fn end_row(&mut self) {
        self.count += 1;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The rows, and how many bytes their values have.
    pub(super) fn finish(self, schema: &Schema) -> Result<(RecordBatch, usize)> {
        let fields = schema.fields().iter();
        let columns = fields.zip(&self.values).map(|(f, values)| value::column(&f.data_type.kind, values)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        Ok((RecordBatch::try_new_with_options(Arc::clone(schema.arrow()), columns, &options)?, self.bytes))
    }
}
