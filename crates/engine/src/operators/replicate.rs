//! INTERSECT ALL and EXCEPT ALL: every row as often as its last column says.
//!
//! - **Input**: any changelog; a count in the last column. **Output**: the other columns, each change that many times.
//! - **State**: none. **Late rows** do not exist here. **Cost per row**: one copy per output row.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, Error, Result, Schema};
use wiesel_expr::EvalContext;

use super::ROWS_PER_BATCH;
use crate::operator::{Output, Stateless};

/// See the module's head.
pub struct Replicate {
    schema: Schema,
}

impl Replicate {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(input: &Schema, schema: &Schema) -> Result<Self> {
        let is_count = input.fields().last().is_some_and(|f| f.data_type.kind == wiesel_core::TypeKind::BigInt);
        if input.len() != schema.len() + 1 || !is_count {
            return Err(Error::internal("rows are repeated by a last column of BIGINT"));
        }
        Ok(Replicate { schema: schema.clone() })
    }

    fn emit(&self, batch: &ChangeBatch, picks: &mut Vec<u32>, output: &mut Output) -> Result<()> {
        let kinds = picks.iter().map(|row| batch.kind(*row as usize)).collect();
        let picks = UInt32Array::from(std::mem::take(picks));
        let columns = batch.rows.columns().iter().take(self.schema.len());
        let columns = columns.map(|column| take(column, &picks, None)).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
        output.emit(ChangeBatch::new(rows, kinds));
        Ok(())
    }
}

impl Stateless for Replicate {
    const NO_STATE: &'static str = "an operator without state gets an entry of a checkpoint";

    fn take(&mut self, batch: ChangeBatch, _: &EvalContext, output: &mut Output) -> Result<()> {
        let counts = batch.rows.column(self.schema.len()).as_primitive::<Int64Type>().clone();
        let mut picks = Vec::new();
        for row in 0..batch.len() {
            let count = if counts.is_null(row) { 0 } else { counts.value(row).max(0) };
            for _ in 0..count {
                picks.push(u32::try_from(row).unwrap_or(u32::MAX));
                if picks.len() >= ROWS_PER_BATCH {
                    self.emit(&batch, &mut picks, output)?;
                }
            }
        }
        self.emit(&batch, &mut picks, output)
    }
}
