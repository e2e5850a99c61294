//! The loop that LIKE and SIMILAR TO share: a text, a pattern, and perhaps an escape character.
//!
//! The two differ in what a pattern means and how it is compiled; that NULL in any argument gives NULL, and that a pattern is compiled
//! once while it and its escape stay the same, is said here for both.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::BooleanBuilder;
use wiesel_core::Result;

use crate::eval::EvalContext;
use crate::function::{Operand, PreparedCall, Signature};
use crate::operand::PerText;

/// A compiled pattern that a whole text is of the form of, or not.
pub(super) trait TextPattern: Sized + Send + std::fmt::Debug {
    /// Compiles a pattern; `escape` is there when ESCAPE was written.
    fn compile(pattern: &str, escape: Option<&str>) -> Result<Self>;

    /// Whether the whole text is of the pattern's form.
    fn is_match(&self, text: &str) -> bool;
}

/// A call `text <operator> pattern [ESCAPE escape]`.
#[derive(Debug)]
pub(super) struct PatternTest<P> {
    pattern: PerText<P>,
    /// The escape that the pattern was compiled with.
    escape: String,
}

impl<P> Default for PatternTest<P> {
    fn default() -> Self {
        PatternTest { pattern: PerText::default(), escape: String::new() }
    }
}

impl<P: TextPattern> PreparedCall for PatternTest<P> {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, patterns) = (args[0].strings(), args[1].strings());
        let escapes = args.get(2).map(Operand::strings);
        let has_escape = escapes.is_some();
        let mut out = BooleanBuilder::with_capacity(rows);
        for row in 0..rows {
            let escape = escapes.map_or(Some(""), |e| e.get(row));
            let (Some(text), Some(pattern), Some(escape)) = (texts.get(row), patterns.get(row), escape) else {
                out.append_null();
                continue;
            };
            if escape != self.escape {
                self.pattern = PerText::default();
                escape.clone_into(&mut self.escape);
            }
            let pattern = self.pattern.get(pattern, |p| P::compile(p, has_escape.then_some(escape)))?;
            out.append_value(pattern.is_match(text));
        }
        Ok(Arc::new(out.finish()))
    }
}
