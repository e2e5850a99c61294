//! Windows that rows carry: where the window columns of a query come from, and when a join of two windowed inputs is one per window.

use wiesel_expr::ScalarExpr;
use wiesel_plan::join::WindowEnds;
use wiesel_plan::{WindowKind, WindowNode, WindowProperty};

use super::join::{JoinForm, JoinRel, equalities};
use super::rel::{Rel, RelKind};

/// The window that the rows of `rel` carry; its time column is their `window_end`.
pub fn attached(rel: &Rel) -> Option<WindowNode> {
    let time_column = rel.columns.iter().position(|c| c.window == Some(WindowProperty::End))?;
    Some(WindowNode { kind: WindowKind::Attached, time_column, ..window_below(rel)? })
}

/// The window table function that window columns of `rel` come from.
pub fn window_below(rel: &Rel) -> Option<WindowNode> {
    match &rel.kind {
        RelKind::Window { window, .. } => Some(window.clone()),
        RelKind::WindowAggregate { input, window, .. } if window.kind == WindowKind::Attached => window_below(input),
        RelKind::WindowAggregate { window, .. } => Some(window.clone()),
        RelKind::Join { left, join, .. } if matches!(join.form, Some(JoinForm::Window(_))) => window_below(left),
        RelKind::Calc { input, .. }
        | RelKind::WindowRank { input, .. }
        | RelKind::Expand { input, .. }
        | RelKind::Unnest { input, .. } => window_below(input),
        RelKind::UnionAll(inputs) => inputs.iter().find_map(window_below),
        _ => None,
    }
}

/// The ends by which two windowed inputs meet, when the condition says that both bounds of their windows are equal.
pub fn join_ends(left: &Rel, right: &Rel, join: &JoinRel) -> Option<WindowEnds> {
    let pairs = equalities(&join.condition, left.columns.len()).pairs;
    let property = |rel: &Rel, expr: &ScalarExpr| match expr {
        ScalarExpr::Column { index, .. } => rel.columns.get(*index).and_then(|c| Some((c.window?, *index))),
        _ => None,
    };
    let both = |wanted: WindowProperty| {
        pairs.iter().find_map(|(l, r, _)| match (property(left, l), property(right, r)) {
            (Some((l, at_left)), Some((r, at_right))) if l == wanted && r == wanted => Some((at_left, at_right)),
            _ => None,
        })
    };
    both(WindowProperty::Start)?;
    let (left_end, right_end) = both(WindowProperty::End)?;
    let (of_left, of_right) = (window_below(left)?, window_below(right)?);
    let is_same = of_left.kind == of_right.kind
        && of_left.is_event_time == of_right.is_event_time
        && of_left.time_zone == of_right.time_zone;
    is_same.then_some(WindowEnds {
        left: left_end,
        right: right_end,
        is_event_time: of_left.is_event_time,
        time_zone: of_left.time_zone,
    })
}
