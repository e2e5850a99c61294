//! IS NULL and IS NOT NULL.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use wiesel_core::{DataType, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{takes, types_of};
use crate::function::{Argument, FunctionError, Operand, ScalarFunction, Signature};

/// IS NULL, IS NOT NULL.
#[derive(Debug)]
pub(crate) struct NullTest {
    wants_null: bool,
}

pub(crate) static IS_NULL: NullTest = NullTest { wants_null: true };
pub(crate) static IS_NOT_NULL: NullTest = NullTest { wants_null: false };

impl ScalarFunction for NullTest {
    fn name(&self) -> &'static str {
        if self.wants_null { "IS NULL" } else { "IS NOT NULL" }
    }
    fn doc(&self) -> &'static str {
        if self.wants_null {
            "value IS NULL: whether the value is NULL"
        } else {
            "value IS NOT NULL: whether it is not NULL"
        }
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        if args.len() != 1 {
            return Err(takes(&format!("{} takes one value", self.name())));
        }
        Ok(Signature { args: types_of(args), returns: DataType::not_null(TypeKind::Boolean) })
    }
    fn eval(&self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let values = match args.first().and_then(|a| a.nulls(rows)) {
            None if self.wants_null => BooleanBuffer::new_unset(rows),
            None => BooleanBuffer::new_set(rows),
            Some(nulls) if self.wants_null => !nulls.inner(),
            Some(nulls) => nulls.into_inner(),
        };
        Ok(Arc::new(BooleanArray::new(values, None)))
    }
    fn is_total(&self, _: &[DataType]) -> bool {
        true
    }
}
