//! Lookup tables of a data file: the rows that its `input` records have given them so far, asked by key at each step.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_select::take::take;
use wiesel_connectors::formats::DecoderFactory;
use wiesel_core::lookup::{Lookup, LookupFactory, LookupRows};
use wiesel_core::{DataType, Error, Result, Schema, Value};

use crate::connector::raw_batch;
use crate::stage::Stage;

/// Makes the lookups of one table.
pub(crate) struct ScriptedLookupFactory {
    pub(crate) stage: Arc<Stage>,
    pub(crate) path: String,
    /// Of all columns of the table.
    pub(crate) decoders: Arc<dyn DecoderFactory>,
    pub(crate) schema: Schema,
    /// What is delivered, and what is asked by.
    pub(crate) columns: Vec<usize>,
    pub(crate) keys: Vec<usize>,
}

impl LookupFactory for ScriptedLookupFactory {
    fn open(&self) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(ScriptedLookup {
            stage: Arc::clone(&self.stage),
            path: self.path.clone(),
            decoders: Arc::clone(&self.decoders),
            schema: self.schema.clone(),
            columns: self.columns.clone(),
            keys: self.keys.clone(),
        }))
    }
}

struct ScriptedLookup {
    stage: Arc<Stage>,
    path: String,
    decoders: Arc<dyn DecoderFactory>,
    schema: Schema,
    columns: Vec<usize>,
    keys: Vec<usize>,
}

impl Lookup for ScriptedLookup {
    fn lookup(&mut self, keys: &RecordBatch, _now_ms: i64) -> Result<LookupRows> {
        let rows = self.stage.lock().tables.get(&self.path).map(|table| table.rows.clone()).unwrap_or_default();
        let batch = raw_batch(0, &rows)?;
        let decoded = self.decoders.create()?.decode(&batch, 0..rows.len())?.rows;
        let types: Vec<&DataType> = self.schema.fields().iter().map(|field| &field.data_type).collect();
        let value = |batch: &RecordBatch, column: usize, key: usize, row: usize| {
            types.get(key).map(|data_type| Value::from_array(batch.column(column), data_type, row))
        };
        let (mut picks, mut key_index) = (Vec::new(), Vec::new());
        for key in 0..keys.num_rows() {
            let asked: Vec<_> = self.keys.iter().enumerate().map(|(i, k)| value(keys, i, *k, key)).collect();
            for row in 0..decoded.num_rows() {
                let held: Vec<_> = self.keys.iter().map(|k| value(&decoded, *k, *k, row)).collect();
                if held == asked {
                    let number = |n| u32::try_from(n).map_err(|_| Error::data("a scripted table of 2^32 rows"));
                    picks.push(number(row)?);
                    key_index.push(number(key)?);
                }
            }
        }
        let picks = UInt32Array::from(picks);
        let columns = self.columns.iter().map(|column| take(decoded.column(*column), &picks, None));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let fields = self.columns.iter().filter_map(|column| self.schema.fields().get(*column)).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        let rows = RecordBatch::try_new_with_options(Schema::new(fields).arrow().clone(), columns, &options)?;
        Ok(LookupRows { rows, key_index })
    }
}
