//! The texts of whole rows, as `CAST(... AS STRING)` gives them: what the tableau of a bare SELECT and the data-file tests show.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use wiesel_core::{ChangeBatch, DataType, Result, RowKind, Schema};

use crate::{EvalContext, Evaluator, ScalarExpr, Session};

/// Kind and texts of a row; `None` is NULL.
pub type TextRow = (RowKind, Vec<Option<String>>);

/// Casts every column of a batch to text.
pub struct RowTexts {
    columns: Vec<Evaluator>,
    context: EvalContext,
}

impl RowTexts {
    /// For rows of the given columns.
    pub fn new(schema: &Schema, session: Session) -> Self {
        let columns = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| {
                Evaluator::new(ScalarExpr::Cast {
                    input: Box::new(ScalarExpr::Column { index, data_type: field.data_type.clone() }),
                    data_type: DataType::string(),
                    is_try: true,
                })
            })
            .collect();
        RowTexts { columns, context: EvalContext { now_ms: 0, seed: 0, watermark_ms: i64::MIN, session } }
    }

    /// The rows of a batch.
    pub fn rows(&mut self, batch: &ChangeBatch) -> Result<Vec<TextRow>> {
        let columns = self
            .columns
            .iter_mut()
            .map(|text| text.evaluate(&batch.rows, &self.context))
            .collect::<Result<Vec<_>>>()?;
        let text = |row: usize| {
            columns.iter().map(move |c| (!c.is_null(row)).then(|| c.as_string::<i32>().value(row).to_owned()))
        };
        Ok((0..batch.len()).map(|row| (batch.kind(row), text(row).collect())).collect())
    }
}
