//! Filter, then projection.
//!
//! - **Input**: any changelog. **Output**: the projected columns of the rows for which the filter is TRUE, with the kinds they had.
//! - **State**: none, and no watermark is held back: every row is emitted at once, late or not.
//! - **Cost per row**: that of its expressions; a column that is passed on costs nothing, nor does a filter that keeps every row.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_select::filter::filter_record_batch;
use wiesel_core::{ChangeBatch, Error, Result, RowKind, Schema};
use wiesel_expr::{EvalContext, Evaluator};
use wiesel_plan::CalcNode;

use crate::operator::{Operator, Output, StateWriter};

/// See the module's head.
pub struct Calc {
    filter: Option<Evaluator>,
    project: Vec<Evaluator>,
    schema: Schema,
}

impl Calc {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &CalcNode, schema: &Schema) -> Result<Self> {
        if node.project.len() != schema.len() {
            return Err(Error::internal(format!(
                "a projection of {} columns has {} output columns",
                node.project.len(),
                schema.len()
            )));
        }
        Ok(Calc {
            filter: node.filter.clone().map(Evaluator::new),
            project: node.project.iter().cloned().map(Evaluator::new).collect(),
            schema: schema.clone(),
        })
    }

    fn filter(&mut self, batch: ChangeBatch, context: &EvalContext) -> Result<ChangeBatch> {
        let Some(filter) = &mut self.filter else { return Ok(batch) };
        let keeps = filter.evaluate_filter(&batch.rows, context)?;
        if keeps.true_count() == batch.len() {
            return Ok(batch);
        }
        let rows = filter_record_batch(&batch.rows, &keeps)?;
        let Some(kinds) = &batch.kinds else { return Ok(ChangeBatch::inserts(rows)) };
        let kinds: Vec<RowKind> = keeps.values().set_indices().map(|row| kinds[row]).collect();
        Ok(ChangeBatch::new(rows, kinds))
    }
}

impl Operator for Calc {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let ChangeBatch { rows, kinds } = self.filter(batch, context)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let columns = self.project.iter_mut().map(|e| e.evaluate(&rows, context)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
        output.emit(ChangeBatch { rows, kinds });
        Ok(())
    }

    fn advance(&mut self, watermark: i64, _: &EvalContext, _: &mut Output) -> Result<i64> {
        Ok(watermark)
    }

    fn snapshot(&mut self, _: bool, _: &mut dyn StateWriter) -> Result<()> {
        Ok(())
    }

    fn restore(&mut self, _: u8, _: u8, _: &[u8], _: &[u8]) -> Result<()> {
        Err(Error::internal("a checkpoint holds state of a projection, which has none"))
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }
}
