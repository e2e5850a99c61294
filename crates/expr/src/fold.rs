//! Constant folding: what depends on nothing but literals and the session is computed when the plan is made.
//!
//! An expression whose evaluation fails stays as it is, so that its error comes when, and only if, a row reaches it.

use wiesel_core::Value;

use crate::eval::evaluate_constant;
use crate::{EvalContext, ScalarExpr, Session};

/// Replaces every part of the expression that is deterministic and made of literals by its value.
#[must_use]
pub fn fold(expr: ScalarExpr, session: &Session) -> ScalarExpr {
    let context = EvalContext { now_ms: 0, seed: 0, watermark_ms: i64::MIN, session: session.clone() };
    expr.transform(&mut |node| fold_node(node, &context))
}

fn fold_node(node: ScalarExpr, context: &EvalContext) -> ScalarExpr {
    let is_deterministic = match &node {
        ScalarExpr::Column { .. } | ScalarExpr::Literal { .. } => return node,
        ScalarExpr::Call { function, .. } => function.is_foldable(),
        _ => true,
    };
    if let ScalarExpr::And(args) | ScalarExpr::Or(args) = &node {
        let decided = matches!(node, ScalarExpr::Or(_));
        let is_decided =
            |a: &ScalarExpr| matches!(a, ScalarExpr::Literal { value: Value::Boolean(b), .. } if *b == decided);
        if args.first().is_some_and(is_decided) {
            return ScalarExpr::Literal { value: Value::Boolean(decided), data_type: node.data_type() };
        }
    }
    if !is_deterministic || !node.children().iter().all(|c| matches!(c, ScalarExpr::Literal { .. })) {
        return node;
    }
    match evaluate_constant(&node, context) {
        Ok(value) => ScalarExpr::Literal { value, data_type: node.data_type() },
        Err(_) => node,
    }
}
