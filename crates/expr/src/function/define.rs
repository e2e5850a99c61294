//! Two ready-made shapes of [`ScalarFunction`], so that a function is its doc line, its types and its loop, and nothing else.

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Result};

use crate::eval::EvalContext;
use crate::function::{Argument, FunctionError, Operand, PreparedCall, ScalarFunction, Signature};

/// Decides the types of a call.
pub(crate) type Bind = fn(&[Argument<'_>]) -> std::result::Result<Signature, FunctionError>;
/// Evaluates a call.
pub(crate) type Eval = fn(&[Operand], &Signature, usize, &EvalContext) -> Result<ArrayRef>;

/// A function without working state.
#[derive(Debug)]
pub(crate) struct Plain {
    name: &'static str,
    doc: &'static str,
    bind: Bind,
    eval: Eval,
    is_total: bool,
    is_deterministic: bool,
}

impl Plain {
    /// A deterministic function that may fail on a row.
    pub(crate) const fn new(name: &'static str, doc: &'static str, bind: Bind, eval: Eval) -> Plain {
        Plain { name, doc, bind, eval, is_total: false, is_deterministic: true }
    }

    /// The same, and no row can make it fail.
    pub(crate) const fn total(mut self) -> Plain {
        self.is_total = true;
        self
    }

    /// The same, and it gives other results at other times.
    pub(crate) const fn volatile(mut self) -> Plain {
        self.is_deterministic = false;
        self
    }
}

impl ScalarFunction for Plain {
    fn name(&self) -> &'static str {
        self.name
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        (self.bind)(args)
    }
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        (self.eval)(args, call, rows, context)
    }
    fn is_deterministic(&self) -> bool {
        self.is_deterministic
    }
    fn is_total(&self, _: &[DataType]) -> bool {
        self.is_total
    }
}

/// A function that compiles some of its arguments and keeps the result.
#[derive(Debug)]
pub(crate) struct Compiling {
    name: &'static str,
    doc: &'static str,
    bind: Bind,
    prepare: fn() -> Box<dyn PreparedCall>,
}

impl Compiling {
    /// A function whose every call gets its own state from `prepare`.
    pub(crate) const fn new(
        name: &'static str,
        doc: &'static str,
        bind: Bind,
        prepare: fn() -> Box<dyn PreparedCall>,
    ) -> Compiling {
        Compiling { name, doc, bind, prepare }
    }
}

impl ScalarFunction for Compiling {
    fn name(&self) -> &'static str {
        self.name
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        (self.bind)(args)
    }
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        (self.prepare)().eval(args, call, rows, context)
    }
    fn prepare(&self) -> Option<Box<dyn PreparedCall>> {
        Some((self.prepare)())
    }
}
