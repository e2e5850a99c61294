//! Recognises the bounds of an interval join in a condition: two time attributes, one of each side, compared after adding constants.
//!
//! ```text
//! a.ts BETWEEN b.ts - INTERVAL '1' HOUR AND b.ts     ->     -3600000 <= a.ts - b.ts <= 0
//! ```
//! Needed are one lower and one upper bound, or one equality; with fewer or more the join is a regular one, as in Flink.

use wiesel_core::{TypeKind, Value};
use wiesel_expr::ScalarExpr;
use wiesel_plan::join::IntervalBounds;

use super::join::JoinRel;
use super::rel::{RelColumn, TimeAttribute};

/// One comparison of times: `left - right` at least, at most.
struct TimeBound {
    left: usize,
    right: usize,
    time: TimeAttribute,
    lower_ms: Option<i64>,
    upper_ms: Option<i64>,
}

/// Takes the bounds out of a join's condition, when they make it an interval join.
pub fn take_bounds(join: &mut JoinRel, left: &[RelColumn], right: &[RelColumn]) -> Option<IntervalBounds> {
    if join.kind.is_semi_or_anti() {
        return None;
    }
    let found: Vec<Option<TimeBound>> = join.condition.iter().map(|part| time_bound(part, left, right)).collect();
    let bounds: Vec<&TimeBound> = found.iter().flatten().collect();
    let (lower_ms, upper_ms, first) = match bounds.as_slice() {
        [one] => (one.lower_ms?, one.upper_ms?, one),
        [a, b] if (a.left, a.right) == (b.left, b.right) => match (a.lower_ms, a.upper_ms, b.lower_ms, b.upper_ms) {
            (Some(lower), None, None, Some(upper)) | (None, Some(upper), Some(lower), None) => (lower, upper, a),
            _ => return None,
        },
        _ => return None,
    };
    let bounds = IntervalBounds {
        left_time: first.left,
        right_time: first.right - left.len(),
        is_event_time: first.time == TimeAttribute::Rowtime,
        lower_ms,
        upper_ms,
    };
    let mut is_bound = found.iter().map(Option::is_some);
    join.condition.retain(|_| is_bound.next() != Some(true));
    Some(bounds)
}

fn time_bound(part: &ScalarExpr, left: &[RelColumn], right: &[RelColumn]) -> Option<TimeBound> {
    let ScalarExpr::Call { function, args, .. } = part else { return None };
    let [a, b] = args.as_slice() else { return None };
    let ((a_column, a_ms), (b_column, b_ms)) = (shifted_column(a)?, shifted_column(b)?);
    let time_of = |index: usize| match index.checked_sub(left.len()) {
        None => left.get(index)?.time,
        Some(index) => right.get(index)?.time,
    };
    let time = time_of(a_column)?;
    if time_of(b_column)? != time {
        return None;
    }
    let is_flipped = a_column >= left.len();
    if is_flipped == (b_column >= left.len()) {
        return None;
    }
    let (left_column, right_column) = if is_flipped { (b_column, a_column) } else { (a_column, b_column) };
    // left + l <op> right + r  means  left - right <op> r - l.
    let difference_ms = if is_flipped { a_ms.checked_sub(b_ms)? } else { b_ms.checked_sub(a_ms)? };
    let operator = match (function.name(), is_flipped) {
        ("<", true) => ">",
        ("<=", true) => ">=",
        (">", true) => "<",
        (">=", true) => "<=",
        (name, _) => name,
    };
    let (lower_ms, upper_ms) = match operator {
        "=" => (Some(difference_ms), Some(difference_ms)),
        "<" => (None, Some(difference_ms.checked_sub(1)?)),
        "<=" => (None, Some(difference_ms)),
        ">" => (Some(difference_ms.checked_add(1)?), None),
        ">=" => (Some(difference_ms), None),
        _ => return None,
    };
    Some(TimeBound { left: left_column, right: right_column, time, lower_ms, upper_ms })
}

/// A column plus so many ms.
fn shifted_column(expr: &ScalarExpr) -> Option<(usize, i64)> {
    match expr {
        ScalarExpr::Column { index, .. } => Some((*index, 0)),
        ScalarExpr::Cast { input, data_type, is_try: false } => {
            let is_same_clock = matches!(
                (&input.data_type().kind, &data_type.kind),
                (TypeKind::Timestamp(_), TypeKind::Timestamp(_))
                    | (TypeKind::TimestampLtz(_), TypeKind::TimestampLtz(_))
            );
            if is_same_clock { shifted_column(input) } else { None }
        }
        ScalarExpr::Call { function, args, .. } => {
            let [a, b] = args.as_slice() else { return None };
            match (function.name(), constant_ms(a), constant_ms(b)) {
                ("+", None, Some(ms)) => shifted_column(a).and_then(|(c, own)| Some((c, own.checked_add(ms)?))),
                ("+", Some(ms), None) => shifted_column(b).and_then(|(c, own)| Some((c, own.checked_add(ms)?))),
                ("-", None, Some(ms)) => shifted_column(a).and_then(|(c, own)| Some((c, own.checked_sub(ms)?))),
                _ => None,
            }
        }
        _ => None,
    }
}

fn constant_ms(expr: &ScalarExpr) -> Option<i64> {
    match expr {
        ScalarExpr::Literal { value: Value::Millis(ms), .. } => Some(*ms),
        _ => None,
    }
}
