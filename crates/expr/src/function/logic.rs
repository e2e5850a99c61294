//! NOT, and IS [NOT] TRUE, FALSE, UNKNOWN. AND and OR are not functions: they decide which rows reach their operands.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use wiesel_core::{DataType, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, strict};
use crate::function::{Argument, FunctionError, Operand, ScalarFunction, Signature};

/// NOT.
#[derive(Debug)]
pub(crate) struct Not;

impl ScalarFunction for Not {
    fn name(&self) -> &'static str {
        "NOT"
    }
    fn doc(&self) -> &'static str {
        "NOT boolean: TRUE for FALSE, FALSE for TRUE, UNKNOWN for UNKNOWN"
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        Ok(strict(accept(args, &[Param::Boolean], 1, "NOT takes one BOOLEAN")?, TypeKind::Boolean))
    }
    fn eval(&self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let column = args[0].clone().into_column(rows)?;
        let booleans = arrow_array::cast::AsArray::as_boolean(&column);
        Ok(Arc::new(BooleanArray::new(!booleans.values(), booleans.nulls().cloned())))
    }
    fn is_total(&self, _: &[DataType]) -> bool {
        true
    }
}

/// IS [NOT] TRUE, FALSE, UNKNOWN.
#[derive(Debug)]
pub(crate) struct TruthTest {
    name: &'static str,
    doc: &'static str,
    wanted: Option<bool>,
    negated: bool,
}

pub(crate) static IS_TRUE: TruthTest =
    TruthTest { name: "IS TRUE", doc: "boolean IS TRUE: FALSE for UNKNOWN", wanted: Some(true), negated: false };
pub(crate) static IS_NOT_TRUE: TruthTest =
    TruthTest { name: "IS NOT TRUE", doc: "boolean IS NOT TRUE: TRUE for UNKNOWN", wanted: Some(true), negated: true };
pub(crate) static IS_FALSE: TruthTest =
    TruthTest { name: "IS FALSE", doc: "boolean IS FALSE: FALSE for UNKNOWN", wanted: Some(false), negated: false };
pub(crate) static IS_NOT_FALSE: TruthTest = TruthTest {
    name: "IS NOT FALSE",
    doc: "boolean IS NOT FALSE: TRUE for UNKNOWN",
    wanted: Some(false),
    negated: true,
};
pub(crate) static IS_UNKNOWN: TruthTest =
    TruthTest { name: "IS UNKNOWN", doc: "boolean IS UNKNOWN: whether it is NULL", wanted: None, negated: false };
pub(crate) static IS_NOT_UNKNOWN: TruthTest = TruthTest {
    name: "IS NOT UNKNOWN",
    doc: "boolean IS NOT UNKNOWN: whether it is TRUE or FALSE",
    wanted: None,
    negated: true,
};

impl ScalarFunction for TruthTest {
    fn name(&self) -> &'static str {
        self.name
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        let args = accept(args, &[Param::Boolean], 1, &format!("{} takes one BOOLEAN", self.name))?;
        Ok(Signature { args, returns: DataType::not_null(TypeKind::Boolean) })
    }
    fn eval(&self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let booleans = args[0].booleans();
        let values = BooleanBuffer::collect_bool(rows, |row| (booleans.get(row) == self.wanted) != self.negated);
        Ok(Arc::new(BooleanArray::new(values, None)))
    }
    fn is_total(&self, _: &[DataType]) -> bool {
        true
    }
}
