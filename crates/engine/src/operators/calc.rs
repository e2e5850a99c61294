//! Filter, then projection.
//!
//! - **Input**: any changelog. **Output**: the projected columns of the rows for which the filter is TRUE, with the kinds they had.
//! - **State**: none, and no watermark is held back: every row is emitted at once, late or not.
//! - A row that a function refuses is left out and becomes a dead letter, where the file asks for them.
//! - **Cost per row**: that of its expressions; a column that is passed on costs nothing, nor does a filter that keeps every row.

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_select::filter::filter_record_batch;
use wiesel_core::{ChangeBatch, Error, Result, RowKind, Schema};
use wiesel_expr::refusal::{self, Refusal};
use wiesel_expr::{EvalContext, Evaluator, Projection};
use wiesel_plan::CalcNode;

use crate::operator::{Output, Stateless};

/// See the module's head.
pub struct Calc {
    filter: Option<Evaluator>,
    project: Projection,
    /// A function of it may refuse rows, which then are left out.
    refuses_rows: bool,
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
        let filter = node.filter.clone().map(Evaluator::new);
        let project = Projection::new(&node.project);
        let refuses_rows = filter.as_ref().is_some_and(Evaluator::refuses_rows) || project.refuses_rows();
        Ok(Calc { filter, project, refuses_rows, schema: schema.clone() })
    }

    fn filter(&mut self, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<ChangeBatch> {
        let Some(filter) = &mut self.filter else { return Ok(batch) };
        if !self.refuses_rows {
            let keeps = filter.evaluate_filter(&batch.rows, context)?;
            return kept(batch, &keeps);
        }
        let (keeps, refused) = refusal::collect(|| filter.evaluate_filter(&batch.rows, context));
        let keeps = BooleanArray::new(keeps?.values() & without(&refused, batch.len()).values(), None);
        output.refused.extend(refused);
        kept(batch, &keeps)
    }
}

/// The rows for which the filter is TRUE.
fn kept(batch: ChangeBatch, keeps: &BooleanArray) -> Result<ChangeBatch> {
    if keeps.true_count() == batch.len() {
        return Ok(batch);
    }
    let rows = filter_record_batch(&batch.rows, keeps)?;
    let Some(kinds) = &batch.kinds else { return Ok(ChangeBatch::inserts(rows)) };
    let kinds: Vec<RowKind> = keeps.values().set_indices().map(|row| kinds[row]).collect();
    Ok(ChangeBatch::new(rows, kinds))
}

/// All rows but the refused ones.
fn without(refused: &[Refusal], rows: usize) -> BooleanArray {
    let mut keeps = vec![true; rows];
    for refusal in refused {
        if let Some(keep) = keeps.get_mut(refusal.row) {
            *keep = false;
        }
    }
    BooleanArray::from(keeps)
}

impl Stateless for Calc {
    const NO_STATE: &'static str = "a checkpoint holds state of a projection, which has none";

    fn take(&mut self, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let ChangeBatch { rows, kinds } = self.filter(batch, context, output)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut project = || self.project.evaluate(&rows, context);
        let (columns, refused) =
            if self.refuses_rows { refusal::collect(&mut project) } else { (project(), Vec::new()) };
        let columns = columns?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
        let batch = ChangeBatch { rows, kinds };
        if refused.is_empty() {
            output.emit(batch);
            return Ok(());
        }
        let keeps = without(&refused, batch.len());
        output.emit(kept(batch, &keeps)?);
        // A row may be refused by several columns: it is one letter.
        let mut refused = refused;
        refused.dedup_by_key(|refusal| refusal.row);
        output.refused.extend(refused);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Operator;
    use crate::operators::testing::{Event, change, run, schema, show, string};
    use wiesel_core::TypeKind;
    use wiesel_expr::ScalarExpr;

    #[test]
    fn only_rows_for_which_the_filter_is_true_pass_and_keep_their_kind() {
        let input = schema(&[string(), TypeKind::Boolean, TypeKind::BigInt]);
        let output = schema(&[TypeKind::BigInt, string()]);
        let column = |index: usize| ScalarExpr::Column { index, data_type: input.fields()[index].data_type.clone() };
        let rows = ["+I a TRUE 1", "-U b FALSE 2", "+U c NULL 3", "-D d TRUE 4"];
        let rows = Event::Rows(rows.iter().map(|row| change(row)).collect());
        let cases: [(Option<ScalarExpr>, &[&str]); 2] =
            [(Some(column(1)), &["+I 1 a", "-D 4 d"]), (None, &["+I 1 a", "-U 2 b", "+U 3 c", "-D 4 d"])];
        for (filter, expected) in cases {
            let node = CalcNode { filter, project: vec![column(2), column(0)] };
            let new = || -> Box<dyn Operator> { Box::new(Calc::new(&node, &output).unwrap()) };
            assert_eq!(show(&run(&new, &input, &output, 0, std::slice::from_ref(&rows))), expected);
        }
    }

    #[test]
    fn a_projection_of_nothing_keeps_the_number_of_rows() {
        let (input, output) = (schema(&[string()]), schema(&[]));
        let node = CalcNode { filter: None, project: vec![] };
        let new = || -> Box<dyn Operator> { Box::new(Calc::new(&node, &output).unwrap()) };
        let rows = Event::Rows(vec![change("+I a"), change("-D a")]);
        assert_eq!(show(&run(&new, &input, &output, 0, &[rows])), ["+I", "-D"]);
    }
}
