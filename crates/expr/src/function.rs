//! The registry of scalar functions, a plain sorted list, and the trait each of them implements.

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Result, Value};

use crate::eval::EvalContext;

/// Why a call does not bind; the binder adds place and caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// What was expected, e.g. `SUBSTRING takes (STRING, INT [, INT])`.
    pub expected: String,
}

/// What a call binds to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The types the arguments must be cast to before evaluation.
    pub args: Vec<DataType>,
    /// The result type, with nullability.
    pub returns: DataType,
}

/// An argument as the binder knows it.
#[derive(Debug, Clone)]
pub struct Argument<'a> {
    /// Its type.
    pub data_type: &'a DataType,
    /// Its value, when it is a literal.
    pub literal: Option<&'a Value>,
}

/// One argument column of an evaluation.
#[derive(Debug, Clone)]
pub enum Operand {
    /// A column of as many rows as the batch.
    Column(ArrayRef),
    /// A constant: a column of one row, and its value.
    Constant(ArrayRef, Value),
}

/// A scalar function.
///
/// Contract:
/// - `bind` and `eval` agree: `eval` is called with columns of exactly the types `bind` returned (trusted);
/// - `eval` returns a column of `rows` rows and of the Arrow type of `returns` (asserted);
/// - `eval` depends on its arguments and the context only (trusted).
pub trait ScalarFunction: Send + Sync + std::fmt::Debug {
    /// The SQL name in upper case; names resolve without regard to case. Operators use their symbol (`+`, `=`).
    fn name(&self) -> &'static str;
    /// One line for the reference page: signature, then what it does.
    fn doc(&self) -> &'static str;
    /// Decides argument and result types.
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError>;
    /// Evaluates on columns.
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef>;
    /// Whether equal arguments give equal results (RAND, NOW, UUID do not): only then may the planner fold constants.
    fn is_deterministic(&self) -> bool {
        true
    }
}

/// The function of that name, in any case.
pub fn lookup(name: &str) -> Option<&'static dyn ScalarFunction> {
    let name = name.to_ascii_uppercase();
    all().iter().find(|f| f.name() == name).copied()
}

/// Every scalar function and operator, sorted by name.
pub fn all() -> &'static [&'static dyn ScalarFunction] {
    &[]
}
