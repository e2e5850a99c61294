//! GROUPING SETS: every row once per set, in the order of the sets; keys outside of a set become NULL, and the set's number is added.
//!
//! - **Input**: any changelog, the keys in front. **Output**: the input's columns and the number of the set; kinds stay as they are.
//! - **State**: none, nothing is held back, and no row is late here.
//! - **Cost per row**: a copy per set.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::ExpandNode;

use super::ROWS_PER_BATCH;
use crate::operator::{Output, Stateless};

/// See the module's head.
pub struct Expand {
    sets: Vec<Vec<bool>>,
    schema: Schema,
}

impl Expand {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &ExpandNode, input: &Schema, schema: &Schema) -> Result<Self> {
        let keys = node.sets.first().map_or(0, Vec::len);
        if schema.len() != input.len() + 1 || node.sets.iter().any(|set| set.len() != keys) || keys > input.len() {
            return Err(Error::internal("the grouping sets do not fit their input"));
        }
        Ok(Expand { sets: node.sets.clone(), schema: schema.clone() })
    }

    fn emit(&self, batch: &ChangeBatch, from: usize, to: usize, output: &mut Output) -> Result<()> {
        let rows = || (from..to).map(|row| u32::try_from(row).unwrap_or(u32::MAX));
        let repeated: Vec<u32> = rows().flat_map(|row| std::iter::repeat_n(row, self.sets.len())).collect();
        let keys = self.sets.first().map_or(0, Vec::len);
        let all = UInt32Array::from(repeated.clone());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.len());
        for (index, column) in batch.rows.columns().iter().enumerate() {
            columns.push(if index < keys {
                let picks: UInt32Array = rows()
                    .flat_map(|row| {
                        self.sets.iter().map(move |set| set.get(index).copied().unwrap_or(false).then_some(row))
                    })
                    .collect();
                take(column, &picks, None)?
            } else {
                take(column, &all, None)?
            });
        }
        let numbers = (from..to).flat_map(|_| (0_i64..).take(self.sets.len()));
        columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
        let kinds: Option<Vec<RowKind>> =
            batch.kinds.as_ref().map(|kinds| repeated.iter().map(|row| kinds[*row as usize]).collect());
        let rows = RecordBatch::try_new(self.schema.arrow().clone(), columns)?;
        output.emit(ChangeBatch { rows, kinds: kinds.map(Into::into) });
        Ok(())
    }
}

impl Stateless for Expand {
    const NO_STATE: &'static str = "a checkpoint holds state of GROUPING SETS, which have none";

    fn take(&mut self, batch: ChangeBatch, _: &EvalContext, output: &mut Output) -> Result<()> {
        let step = (ROWS_PER_BATCH / self.sets.len().max(1)).max(1);
        for from in (0..batch.len()).step_by(step) {
            self.emit(&batch, from, (from + step).min(batch.len()), output)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Operator;
    use crate::operators::testing::{Event, change, run, schema, show, string};
    use wiesel_core::TypeKind;

    #[test]
    fn a_row_comes_once_per_set_with_the_other_keys_null() {
        let input = schema(&[string(), string(), TypeKind::BigInt]);
        let output = schema(&[string(), string(), TypeKind::BigInt, TypeKind::BigInt]);
        let node = ExpandNode { sets: vec![vec![true, true], vec![false, true], vec![false, false]] };
        let new = || -> Box<dyn Operator> { Box::new(Expand::new(&node, &input, &output).unwrap()) };
        let rows = Event::Rows(vec![change("+I a x 1"), change("-D NULL y 2")]);
        let expected =
            ["+I a x 1 0", "+I NULL x 1 1", "+I NULL NULL 1 2", "-D NULL y 2 0", "-D NULL y 2 1", "-D NULL NULL 2 2"];
        assert_eq!(show(&run(&new, &input, &output, 0, &[rows])), expected);
    }
}
