//! UNION ALL: the rows of all inputs, as they come, with their kinds.
//!
//! No state; the watermark is the minimum over the inputs, which the step loop takes before it calls `advance`. Columns are shared and
//! not copied; only their names become those of the output.

use arrow_array::{RecordBatch, RecordBatchOptions};
use wiesel_core::{ChangeBatch, Error, Result, Schema};
use wiesel_expr::EvalContext;

use crate::operator::{Output, Stateless};

/// See the module's head.
pub struct UnionAll {
    schema: Schema,
}

impl UnionAll {
    /// Builds the operator of a node that gives `schema`; every input must have columns of the same Arrow types.
    pub fn new(inputs: &[&Schema], schema: &Schema) -> Result<Self> {
        for input in inputs {
            let types = |schema: &Schema| {
                schema.arrow().fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>()
            };
            if types(input) != types(schema) {
                return Err(Error::internal("an input of UNION ALL has other column types than its output"));
            }
        }
        Ok(UnionAll { schema: schema.clone() })
    }
}

impl Stateless for UnionAll {
    const NO_STATE: &'static str = "a checkpoint holds state of a UNION ALL, which has none";

    fn take(&mut self, batch: ChangeBatch, _: &EvalContext, output: &mut Output) -> Result<()> {
        let ChangeBatch { rows, kinds } = batch;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), rows.columns().to_vec(), &options)?;
        output.emit(ChangeBatch { rows, kinds });
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
    fn rows_pass_with_their_kinds_and_other_types_are_refused() {
        let input = schema(&[string(), TypeKind::BigInt]);
        let new = || -> Box<dyn Operator> { Box::new(UnionAll::new(&[&input, &input], &input).unwrap()) };
        let events = [Event::Rows(vec![change("+I a 1"), change("-D a 1")]), Event::Restart(false)];
        assert_eq!(show(&run(&new, &input, &input, 0, &events)), ["+I a 1", "-D a 1"]);
        assert!(UnionAll::new(&[&input, &schema(&[string(), TypeKind::Int])], &input).is_err());
    }
}
