//! Evaluates a [`ScalarExpr`] on the columns of a batch.
//!
//! AND, OR, CASE and COALESCE evaluate an operand only on the rows that reach it: the batch is filtered to those rows, the operand is
//! evaluated, and the result is scattered back. Operands that cannot fail and are cheap skip the filtering.

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use wiesel_core::{Error, Result};

use crate::{ScalarExpr, Session};

/// What a step gives to every expression: its one clock reading and its one seed.
#[derive(Debug, Clone)]
pub struct EvalContext {
    /// Wall clock of the step, ms since 1970.
    pub now_ms: i64,
    /// Seed of the step's random numbers.
    pub seed: u64,
    /// The current watermark of the operator, ms; `i64::MIN` before the first.
    pub watermark_ms: i64,
    /// Session values.
    pub session: Session,
}

/// An expression ready to run; holds compiled constants (patterns, formats) and scratch space.
#[derive(Debug)]
pub struct Evaluator {
    expr: ScalarExpr,
}

impl Evaluator {
    /// Prepares an expression.
    pub fn new(expr: ScalarExpr) -> Self {
        Evaluator { expr }
    }

    /// The expression.
    pub fn expr(&self) -> &ScalarExpr {
        &self.expr
    }

    /// The column of results, one per row of the batch.
    pub fn evaluate(&mut self, batch: &RecordBatch, _context: &EvalContext) -> Result<ArrayRef> {
        match &self.expr {
            ScalarExpr::Column { index, .. } => Ok(batch.column(*index).clone()),
            _ => Err(Error::internal("not built yet")),
        }
    }

    /// As a filter: TRUE stays, FALSE and NULL go.
    pub fn evaluate_filter(&mut self, batch: &RecordBatch, context: &EvalContext) -> Result<BooleanArray> {
        use arrow_array::cast::AsArray;
        let column = self.evaluate(batch, context)?;
        let booleans = column.as_boolean();
        Ok(match booleans.nulls() {
            None => booleans.clone(),
            Some(nulls) => BooleanArray::new(booleans.values() & nulls.inner(), None),
        })
    }
}
