//! ELEMENT, ARRAY_DISTINCT, ARRAY_POSITION, ARRAY_REVERSE, ARRAY_JOIN: functions of one array.
//!
//! A result that is an array is a gather: the positions of its elements are collected over all rows, and taken once.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::Int32Builder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow_buffer::OffsetBuffer;
use arrow_ord::ord::make_comparator;
use arrow_schema::{DataType as ArrowType, SortOptions};
use arrow_select::take::take;
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::cast::is_implicit;
use crate::function::binding::{Param, accept, nullable, strict, takes, types_of};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::TextBuilder;

/// Reads arrays row by row.
struct Lists<'a> {
    list: &'a ListArray,
    step: usize,
}

impl<'a> Lists<'a> {
    fn new(operand: &'a Operand) -> Lists<'a> {
        Lists { list: operand.array().as_list::<i32>(), step: operand.step() }
    }

    /// Where the elements of a row stand; `None` for NULL.
    fn get(&self, row: usize) -> Option<Range<usize>> {
        let index = row * self.step;
        let offsets = self.list.value_offsets();
        let place = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
        self.list.is_valid(index).then(|| place(index)..place(index + 1))
    }
}

/// The element type of a call of one array.
fn element_of(args: &[Argument<'_>], usage: &str) -> std::result::Result<DataType, FunctionError> {
    match args {
        [array] => match &array.data_type.kind {
            TypeKind::Array(element) => Ok((**element).clone()),
            _ => Err(takes(usage)),
        },
        _ => Err(takes(usage)),
    }
}

fn bind_same(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    let element = element_of(args, usage)?;
    Ok(strict(types_of(args), TypeKind::Array(Box::new(element))))
}

/// Arrays of the same elements, each row chosen by `choose` out of the places of its elements.
fn regather(
    operand: &Operand,
    call: &Signature,
    rows: usize,
    mut choose: impl FnMut(Range<usize>, &mut Vec<u32>),
) -> Result<ArrayRef> {
    let ArrowType::List(field) = call.returns.to_arrow() else {
        return Err(Error::internal("an ARRAY is not a list"));
    };
    let lists = Lists::new(operand);
    let mut picks = Vec::new();
    let mut lengths = Vec::with_capacity(rows);
    for row in 0..rows {
        let before = picks.len();
        if let Some(places) = lists.get(row) {
            choose(places, &mut picks);
        }
        lengths.push(picks.len() - before);
    }
    if i32::try_from(picks.len()).is_err() {
        return Err(Error::data("the arrays that a function makes for one batch exceed 2 147 483 647 elements"));
    }
    let values = take(lists.list.values(), &UInt32Array::from(picks), None)?;
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, operand.nulls(rows))?))
}

/// A place as arrow's gather takes it; a list has fewer than 2^31 elements.
fn pick(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

pub(crate) static ELEMENT: Plain = Plain::new(
    "ELEMENT",
    "ELEMENT(array): the only element of an array; NULL for an empty array, an error when there are more",
    |args| {
        let element = element_of(args, "ELEMENT takes (ARRAY)")?;
        Ok(nullable(types_of(args), element.kind))
    },
    |args, _, rows, _| {
        let lists = Lists::new(&args[0]);
        let mut picks = Vec::with_capacity(rows);
        for row in 0..rows {
            let places = lists.get(row).unwrap_or(0..0);
            if places.len() > 1 {
                return Err(Error::data(format!(
                    "ELEMENT expects arrays of one element, and this row has {}",
                    places.len()
                )));
            }
            picks.push(places.map(pick).next());
        }
        Ok(take(lists.list.values(), &UInt32Array::from(picks), None)?)
    },
);

pub(crate) static ARRAY_DISTINCT: Plain = Plain::new(
    "ARRAY_DISTINCT",
    "ARRAY_DISTINCT(array): the array without its later equal elements; NULLs are equal",
    |args| bind_same(args, "ARRAY_DISTINCT takes (ARRAY)"),
    |args, call, rows, _| {
        let values = args[0].array().as_list::<i32>().values();
        let comparator = make_comparator(values, values, SortOptions::default())?;
        let mut order: Vec<usize> = Vec::new();
        regather(&args[0], call, rows, |places, picks| {
            // Sorting keeps long arrays cheap; the first of each run of equals is the first in the array, for sorting is stable.
            order.clear();
            order.extend(places);
            order.sort_by(|a, b| comparator(*a, *b));
            order.dedup_by(|later, first| comparator(*later, *first) == Ordering::Equal);
            order.sort_unstable();
            picks.extend(order.iter().map(|place| pick(*place)));
        })
    },
)
.total();

pub(crate) static ARRAY_REVERSE: Plain = Plain::new(
    "ARRAY_REVERSE",
    "ARRAY_REVERSE(array): the elements in reverse order",
    |args| bind_same(args, "ARRAY_REVERSE takes (ARRAY)"),
    |args, call, rows, _| regather(&args[0], call, rows, |places, picks| picks.extend(places.rev().map(pick))),
)
.total();

pub(crate) static ARRAY_POSITION: Plain = Plain::new(
    "ARRAY_POSITION",
    "ARRAY_POSITION(array, element): the position of the first equal element, counted from 1; 0 when there is none",
    |args| {
        let usage = "ARRAY_POSITION takes (ARRAY, element)";
        let [array, element] = args else { return Err(takes(usage)) };
        let TypeKind::Array(inner) = &array.data_type.kind else { return Err(takes(usage)) };
        if !is_implicit(element.data_type, inner) {
            return Err(takes(&format!("{usage}, and the elements of this array are {}", inner.kind)));
        }
        let nullable = element.data_type.nullable || element.data_type.kind == TypeKind::Null;
        let wanted = DataType { kind: inner.kind.clone(), nullable };
        Ok(strict(vec![array.data_type.clone(), wanted], TypeKind::Int))
    },
    |args, _, rows, _| {
        let lists = Lists::new(&args[0]);
        let comparator = make_comparator(lists.list.values(), args[1].array(), SortOptions::default())?;
        let mut out = Int32Builder::with_capacity(rows);
        for row in 0..rows {
            let Some(mut places) = lists.get(row).filter(|_| !args[1].is_null(row)) else {
                out.append_null();
                continue;
            };
            let wanted = row * args[1].step();
            let position = places.position(|place| comparator(place, wanted) == Ordering::Equal);
            out.append_value(position.and_then(|p| i32::try_from(p + 1).ok()).unwrap_or(0));
        }
        Ok(Arc::new(out.finish()))
    },
)
.total();

pub(crate) static ARRAY_JOIN: Plain = Plain::new(
    "ARRAY_JOIN",
    "ARRAY_JOIN(array, delimiter [, replacement of NULL]): the texts in one, NULLs left out or replaced",
    |args| {
        let usage = "ARRAY_JOIN takes (ARRAY<STRING>, STRING [, STRING])";
        let [array, texts @ ..] = args else { return Err(takes(usage)) };
        match &array.data_type.kind {
            TypeKind::Array(element) if element.kind.is_string() => {}
            _ => return Err(takes(usage)),
        }
        let mut types = vec![array.data_type.clone()];
        types.extend(accept(texts, &[Param::Text; 2], 1, usage)?);
        Ok(strict(types, DataType::string().kind))
    },
    |args, _, rows, _| {
        let lists = Lists::new(&args[0]);
        let texts = lists.list.values().as_string::<i32>();
        let delimiters = args[1].strings();
        let replacements = args.get(2).map(Operand::strings);
        let mut out = TextBuilder::new(rows, texts.value_data().len());
        for row in 0..rows {
            let replacement = match replacements.map(|r| r.get(row)) {
                None => Some(None),
                Some(None) => None,
                Some(text) => Some(text),
            };
            let (Some(places), Some(delimiter), Some(replacement)) = (lists.get(row), delimiters.get(row), replacement)
            else {
                out.null();
                continue;
            };
            let mut separator = "";
            for place in places {
                let text = if texts.is_null(place) { replacement } else { Some(texts.value(place)) };
                if let Some(text) = text {
                    out.push_str(separator);
                    out.push_str(text);
                    separator = delimiter;
                }
            }
            out.end();
        }
        out.finish()
    },
)
.total();

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, ints, null, null_s, s, strings};
    use wiesel_core::TypeKind;

    #[test]
    fn arrays_are_taken_apart_and_put_together() {
        let none = null(ints(&[]).0);
        check(&[
            ("ELEMENT", vec![ints(&[Some(7)])], "7"),
            ("ELEMENT", vec![ints(&[])], "NULL"),
            ("ELEMENT", vec![none.clone()], "NULL"),
            (
                "ELEMENT",
                vec![ints(&[Some(1), None])],
                "error: ELEMENT expects arrays of one element, and this row has 2",
            ),
            ("ELEMENT", vec![i(1)], "bind: ELEMENT takes (ARRAY)"),
            ("ARRAY_DISTINCT", vec![ints(&[Some(2), Some(1), Some(2), None, None])], "[2, 1, NULL]"),
            ("ARRAY_DISTINCT", vec![strings(&[])], "[]"),
            ("ARRAY_DISTINCT", vec![none.clone()], "NULL"),
            ("ARRAY_REVERSE", vec![strings(&[Some("a"), Some("b"), None])], "[NULL, b, a]"),
            ("ARRAY_REVERSE", vec![none.clone()], "NULL"),
            ("ARRAY_POSITION", vec![ints(&[Some(1), Some(2), None]), i(2)], "2"),
            ("ARRAY_POSITION", vec![ints(&[Some(1)]), i(5)], "0"),
            ("ARRAY_POSITION", vec![ints(&[Some(1), None]), null(TypeKind::Int)], "NULL"),
            ("ARRAY_POSITION", vec![none, i(5)], "NULL"),
            ("ARRAY_JOIN", vec![strings(&[Some("a"), Some("b"), None]), s(",")], "a,b"),
            ("ARRAY_JOIN", vec![strings(&[None, Some("a"), Some("b"), None]), s(","), s("*")], "*,a,b,*"),
            ("ARRAY_JOIN", vec![strings(&[]), s(",")], ""),
            ("ARRAY_JOIN", vec![strings(&[Some("a")]), null_s()], "NULL"),
            ("ARRAY_JOIN", vec![strings(&[Some("a")]), s(","), null_s()], "NULL"),
            ("ARRAY_JOIN", vec![ints(&[Some(1)]), s(",")], "bind: ARRAY_JOIN takes (ARRAY<STRING>, STRING [, STRING])"),
        ]);
    }
}
