//! GREATEST and LEAST: the largest and the smallest of several values; NULL when one of them is NULL.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_ord::ord::make_comparator;
use arrow_schema::SortOptions;
use arrow_select::interleave::interleave;
use wiesel_core::{Result, TypeKind};

use crate::cast::common_type;
use crate::function::binding::{strict, takes, types_of, unified};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};

pub(crate) static GREATEST: Plain = Plain::new(
    "GREATEST",
    "GREATEST(value1, value2, ...): the largest value; NULL when one is NULL",
    |args| bind(args, "GREATEST takes one or more values of one comparable type"),
    |args, call, rows, _| pick(args, call, rows, Ordering::Greater),
)
.total();

pub(crate) static LEAST: Plain = Plain::new(
    "LEAST",
    "LEAST(value1, value2, ...): the smallest value; NULL when one is NULL",
    |args| bind(args, "LEAST takes one or more values of one comparable type"),
    |args, call, rows, _| pick(args, call, rows, Ordering::Less),
)
.total();

fn bind(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    let types = types_of(args);
    let common = common_type(&types).ok_or_else(|| takes(usage))?;
    if matches!(common.kind, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_)) {
        return Err(takes(usage));
    }
    let args = unified(&types, &common.kind);
    Ok(strict(args, common.kind))
}

fn pick(args: &[Operand], call: &Signature, rows: usize, wanted: Ordering) -> Result<ArrayRef> {
    let null = new_null_array(&call.returns.to_arrow(), 1);
    let mut sources: Vec<&dyn Array> = vec![&null];
    sources.extend(args.iter().map(|a| a.array().as_ref()));
    let mut picks: Vec<(usize, usize)> = vec![(1, 0); rows];
    for (row, pick) in picks.iter_mut().enumerate() {
        pick.1 = row * args[0].step();
        if args[0].is_null(row) {
            *pick = (0, 0);
        }
    }
    for candidate in 1..args.len() {
        // One comparator per pair of columns; a row uses the one of its best value so far.
        let comparators = (0..candidate)
            .map(|best| make_comparator(args[candidate].array(), args[best].array(), SortOptions::default()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        for (row, pick) in picks.iter_mut().enumerate() {
            if pick.0 == 0 {
                continue;
            }
            let index = row * args[candidate].step();
            if args[candidate].is_null(row) {
                *pick = (0, 0);
            } else if comparators[pick.0 - 1](index, pick.1) == wanted {
                *pick = (candidate + 1, index);
            }
        }
    }
    let picked = interleave(&sources, &picks)?;
    debug_assert_eq!(picked.len(), rows);
    Ok(Arc::clone(&picked))
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, d, date, i, ints, null, s};
    use wiesel_core::TypeKind;

    #[test]
    fn the_extremes_of_a_row_are_picked() {
        check(&[
            ("GREATEST", vec![i(1), i(3), i(2)], "3"),
            ("GREATEST", vec![i(1), d(1.5)], "1.5"),
            ("GREATEST", vec![i(1), null(TypeKind::Int)], "NULL"),
            ("GREATEST", vec![s("a"), s("b")], "b"),
            ("LEAST", vec![s("b"), s("ab"), s("c")], "ab"),
            ("LEAST", vec![date("2024-01-02"), date("2024-01-01")], "2024-01-01"),
            ("LEAST", vec![i(7)], "7"),
            ("LEAST", vec![ints(&[]), ints(&[])], "bind: LEAST takes one or more values of one comparable type"),
        ]);
    }
}
