//! ARRAY_APPEND, ARRAY_PREPEND, ARRAY_CONCAT, ARRAY_REMOVE, ARRAY_SLICE, ARRAY_SORT, ARRAY_UNION, ARRAY_INTERSECT, ARRAY_EXCEPT, and
//! ARRAY_MAX, ARRAY_MIN: arrays and elements put together, compared and chosen from.
//!
//! All of them are one gather: the elements of all arguments stand in one column, every row says which of them its result has and in
//! which order, and they are taken once. Elements compare as ORDER BY does; two NULLs are equal.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ord::ord::{DynComparator, make_comparator};
use arrow_schema::{DataType as ArrowType, SortOptions};
use arrow_select::concat::concat;
use arrow_select::take::take;
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::cast::{common_type, is_implicit};
use crate::function::binding::{Param, nullable, takes};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};

type Bound = std::result::Result<Signature, FunctionError>;

/// The elements of all arguments, one behind the other.
struct Pool<'a> {
    args: &'a [Operand],
    /// Where the elements of each argument begin.
    starts: Vec<usize>,
    elements: ArrayRef,
}

impl<'a> Pool<'a> {
    fn new(args: &'a [Operand]) -> Result<Pool<'a>> {
        let columns: Vec<ArrayRef> = args
            .iter()
            .map(|arg| match arg.array().as_list_opt::<i32>() {
                Some(list) => Arc::clone(list.values()),
                None => Arc::clone(arg.array()),
            })
            .collect();
        let mut starts = Vec::with_capacity(columns.len());
        let mut start = 0;
        for column in &columns {
            starts.push(start);
            start += column.len();
        }
        if i32::try_from(start).is_err() {
            return Err(Error::data("the arrays of one batch hold more than 2 147 483 647 elements"));
        }
        let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
        Ok(Pool { args, starts, elements: concat(&columns)? })
    }

    /// The elements of an argument's array in a row; `None` for NULL.
    fn array(&self, argument: usize, row: usize) -> Option<Range<usize>> {
        let index = row * self.args[argument].step();
        let list = self.args[argument].array().as_list::<i32>();
        let place = |at: i32| self.starts[argument] + usize::try_from(at).unwrap_or(0);
        let offsets = list.value_offsets();
        list.is_valid(index).then(|| place(offsets[index])..place(offsets[index + 1]))
    }

    /// The place of an argument that is an element itself.
    fn element(&self, argument: usize, row: usize) -> usize {
        self.starts[argument] + row * self.args[argument].step()
    }

    fn comparator(&self, options: SortOptions) -> Result<DynComparator> {
        Ok(make_comparator(&self.elements, &self.elements, options)?)
    }
}

/// A place as arrow's gather takes it; a pool has fewer than 2^31 elements.
fn pick(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Arrays of the picked elements; NULL where `choose` returns `None`.
fn gather(
    pool: &Pool<'_>,
    call: &Signature,
    rows: usize,
    mut choose: impl FnMut(usize, &mut Vec<usize>) -> Option<()>,
) -> Result<ArrayRef> {
    let ArrowType::List(field) = call.returns.to_arrow() else {
        return Err(Error::internal("an ARRAY is not a list"));
    };
    let (mut picks, mut places) = (Vec::new(), Vec::new());
    let (mut lengths, mut is_valid) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for row in 0..rows {
        places.clear();
        let is_there = choose(row, &mut places).is_some();
        if !is_there {
            places.clear();
        }
        lengths.push(places.len());
        is_valid.push(is_there);
        picks.extend(places.iter().map(|place| pick(*place)));
    }
    let values = take(&pool.elements, &UInt32Array::from(picks), None)?;
    let nulls = NullBuffer::from(is_valid);
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, Some(nulls))?))
}

fn element_of(argument: &Argument<'_>) -> Option<DataType> {
    match &argument.data_type.kind {
        TypeKind::Array(element) => Some((**element).clone()),
        _ => None,
    }
}

fn array_of(element: DataType, nullable: bool) -> DataType {
    DataType { kind: TypeKind::Array(Box::new(element)), nullable }
}

/// (ARRAY, ARRAY, ...): all cast to arrays of the common element type.
fn bind_arrays(args: &[Argument<'_>], usage: &str) -> Bound {
    let elements = args.iter().map(element_of).collect::<Option<Vec<_>>>().ok_or_else(|| takes(usage))?;
    let mut common = common_type(&elements).ok_or_else(|| takes(usage))?;
    common.nullable = elements.iter().any(|e| e.nullable);
    let nullable = args.iter().any(|a| a.data_type.nullable);
    let types = args.iter().map(|a| array_of(common.clone(), a.data_type.nullable)).collect();
    Ok(Signature { args: types, returns: array_of(common, nullable) })
}

/// (ARRAY, element): the element cast to the array's; the result's elements may be NULL when `adds` and the element may.
fn bind_element(args: &[Argument<'_>], adds: bool, usage: &str) -> Bound {
    let [array, element] = args else { return Err(takes(usage)) };
    let inner = element_of(array).ok_or_else(|| takes(usage))?;
    if !is_implicit(element.data_type, &inner) {
        return Err(takes(&format!("{usage}, and the elements of this array are {}", inner.kind)));
    }
    let nullable = element.data_type.nullable || element.data_type.kind == TypeKind::Null;
    let wanted = DataType { kind: inner.kind.clone(), nullable };
    let result = DataType { nullable: inner.nullable || adds && nullable, ..inner.clone() };
    let returns = array_of(result.clone(), array.data_type.nullable);
    Ok(Signature { args: vec![array_of(result, array.data_type.nullable), wanted], returns })
}

pub(crate) static ARRAY_APPEND: Plain = Plain::new(
    "ARRAY_APPEND",
    "ARRAY_APPEND(array, element): the array with the element behind it; NULL for a NULL array",
    |args| bind_element(args, true, "ARRAY_APPEND takes (ARRAY, element)"),
    |args, call, rows, _| {
        let pool = Pool::new(args)?;
        gather(&pool, call, rows, |row, places| {
            places.extend(pool.array(0, row)?);
            places.push(pool.element(1, row));
            Some(())
        })
    },
)
.total();

pub(crate) static ARRAY_PREPEND: Plain = Plain::new(
    "ARRAY_PREPEND",
    "ARRAY_PREPEND(array, element): the array with the element in front; NULL for a NULL array",
    |args| bind_element(args, true, "ARRAY_PREPEND takes (ARRAY, element)"),
    |args, call, rows, _| {
        let pool = Pool::new(args)?;
        gather(&pool, call, rows, |row, places| {
            places.push(pool.element(1, row));
            places.extend(pool.array(0, row)?);
            Some(())
        })
    },
)
.total();

pub(crate) static ARRAY_REMOVE: Plain = Plain::new(
    "ARRAY_REMOVE",
    "ARRAY_REMOVE(array, element): the array without the elements that equal this one; NULL equals NULL",
    |args| bind_element(args, false, "ARRAY_REMOVE takes (ARRAY, element)"),
    |args, call, rows, _| {
        let pool = Pool::new(args)?;
        let compare = pool.comparator(SortOptions::default())?;
        gather(&pool, call, rows, |row, places| {
            let removed = pool.element(1, row);
            places.extend(pool.array(0, row)?.filter(|place| compare(*place, removed) != Ordering::Equal));
            Some(())
        })
    },
)
.total();

pub(crate) static ARRAY_CONCAT: Plain = Plain::new(
    "ARRAY_CONCAT",
    "ARRAY_CONCAT(array, ...): the arrays one behind the other; NULL when one is NULL",
    |args| bind_arrays(args, "ARRAY_CONCAT takes one or more ARRAYs of a common type"),
    |args, call, rows, _| {
        let pool = Pool::new(args)?;
        gather(&pool, call, rows, |row, places| {
            for argument in 0..pool.args.len() {
                places.extend(pool.array(argument, row)?);
            }
            Some(())
        })
    },
)
.total();

/// Two arrays, and which elements of the first and the second belong to the result; each once, in the order of its first occurrence.
fn set_operation(
    args: &[Operand],
    call: &Signature,
    rows: usize,
    takes_second: bool,
    belongs: fn(bool) -> bool,
) -> Result<ArrayRef> {
    let pool = Pool::new(args)?;
    let compare = pool.comparator(SortOptions::default())?;
    let mut sorted: Vec<usize> = Vec::new();
    gather(&pool, call, rows, |row, places| {
        let (first, second) = (pool.array(0, row)?, pool.array(1, row)?);
        sorted.clear();
        sorted.extend(second.clone());
        sorted.sort_by(|a, b| compare(*a, *b));
        let in_second = |place: usize| sorted.binary_search_by(|other| compare(*other, place)).is_ok();
        if takes_second {
            places.extend(first.chain(second));
        } else {
            places.extend(first.filter(|place| belongs(in_second(*place))));
        }
        // Sorting keeps long arrays cheap; it is stable, so the first of equals stays the first.
        places.sort_by(|a, b| compare(*a, *b));
        places.dedup_by(|later, first| compare(*later, *first) == Ordering::Equal);
        places.sort_unstable();
        Some(())
    })
}

fn bind_two(args: &[Argument<'_>], usage: &str) -> Bound {
    if args.len() == 2 { bind_arrays(args, usage) } else { Err(takes(usage)) }
}

pub(crate) static ARRAY_UNION: Plain = Plain::new(
    "ARRAY_UNION",
    "ARRAY_UNION(array1, array2): the elements of both, each once",
    |args| bind_two(args, "ARRAY_UNION takes two ARRAYs of a common type"),
    |args, call, rows, _| set_operation(args, call, rows, true, |_| true),
)
.total();

pub(crate) static ARRAY_INTERSECT: Plain = Plain::new(
    "ARRAY_INTERSECT",
    "ARRAY_INTERSECT(array1, array2): the elements of the first that are in the second, each once",
    |args| bind_two(args, "ARRAY_INTERSECT takes two ARRAYs of a common type"),
    |args, call, rows, _| set_operation(args, call, rows, false, |in_second| in_second),
)
.total();

pub(crate) static ARRAY_EXCEPT: Plain = Plain::new(
    "ARRAY_EXCEPT",
    "ARRAY_EXCEPT(array1, array2): the elements of the first that are not in the second, each once",
    |args| bind_two(args, "ARRAY_EXCEPT takes two ARRAYs of a common type"),
    |args, call, rows, _| set_operation(args, call, rows, false, |in_second| !in_second),
)
.total();

/// (ARRAY, option, ...): the array as it is, the options of one kind.
fn bind_options(args: &[Argument<'_>], option: Param, required: usize, usage: &str) -> Bound {
    let Some((array, options)) = args.split_first() else { return Err(takes(usage)) };
    if element_of(array).is_none() || options.len() < required || options.len() > 2 {
        return Err(takes(usage));
    }
    let mut types = vec![array.data_type.clone()];
    for argument in options {
        types.push(option.accept(argument.data_type).ok_or_else(|| takes(usage))?);
    }
    let nullable = types.iter().any(|t| t.nullable);
    Ok(Signature { returns: DataType { kind: array.data_type.kind.clone(), nullable }, args: types })
}

pub(crate) static ARRAY_SLICE: Plain = Plain::new(
    "ARRAY_SLICE",
    "ARRAY_SLICE(array, start [, end]): the elements from start to end, counted from 1; a negative position counts from the end",
    |args| bind_options(args, Param::Int, 1, "ARRAY_SLICE takes (ARRAY, INT [, INT])"),
    |args, call, rows, _| {
        let (pool, bounds) = (Pool::new(&args[..1])?, &args[1..]);
        gather(&pool, call, rows, |row, places| {
            let elements = pool.array(0, row)?;
            let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
            let position = |operand: Option<&Operand>, absent: i64| -> Option<i64> {
                let Some(operand) = operand else { return Some(absent) };
                let position = i64::from(operand.numbers::<Int32Type>().get(row)?);
                Some(match position {
                    0 => 1,
                    1.. => position,
                    _ => length + position + 1,
                })
            };
            let start = position(bounds.first(), 1)?.max(1);
            let end = position(bounds.get(1), length)?.min(length);
            let at = |position: i64| elements.start + usize::try_from(position).unwrap_or(0);
            if start <= end {
                places.extend(at(start - 1)..at(end));
            }
            Some(())
        })
    },
)
.total();

pub(crate) static ARRAY_SORT: Plain = Plain::new(
    "ARRAY_SORT",
    "ARRAY_SORT(array [, ascending [, nulls_first]]): the elements in order; NULLs are first in ascending and last in descending order by default",
    |args| bind_options(args, Param::Boolean, 0, "ARRAY_SORT takes (ARRAY [, BOOLEAN [, BOOLEAN]])"),
    |args, call, rows, _| {
        let (pool, options) = (Pool::new(&args[..1])?, &args[1..]);
        let compare = pool.comparator(SortOptions::default())?;
        gather(&pool, call, rows, |row, places| {
            let option = |at: usize, default: bool| match options.get(at) {
                None => Some(default),
                Some(operand) => operand.booleans().get(row),
            };
            let elements = pool.array(0, row)?;
            let ascending = option(0, true)?;
            let nulls_first = option(1, ascending)?;
            places.extend(elements);
            places.sort_by(|a, b| match (pool.elements.is_null(*a), pool.elements.is_null(*b)) {
                (false, false) if ascending => compare(*a, *b),
                (false, false) => compare(*b, *a),
                (a, b) if nulls_first => b.cmp(&a),
                (a, b) => a.cmp(&b),
            });
            Some(())
        })
    },
)
.total();

fn bind_extreme(args: &[Argument<'_>], usage: &str) -> Bound {
    let [array] = args else { return Err(takes(usage)) };
    let element = element_of(array).ok_or_else(|| takes(usage))?;
    Ok(nullable(vec![array.data_type.clone()], element.kind))
}

fn extreme(args: &[Operand], rows: usize, wanted: Ordering) -> Result<ArrayRef> {
    let pool = Pool::new(args)?;
    let compare = pool.comparator(SortOptions::default())?;
    let picks: UInt32Array = (0..rows)
        .map(|row| {
            let elements = pool.array(0, row)?.filter(|place| pool.elements.is_valid(*place));
            elements.reduce(|best, place| if compare(place, best) == wanted { place } else { best }).map(pick)
        })
        .collect();
    Ok(take(&pool.elements, &picks, None)?)
}

pub(crate) static ARRAY_MAX: Plain = Plain::new(
    "ARRAY_MAX",
    "ARRAY_MAX(array): the largest element that is not NULL; NULL when there is none",
    |args| bind_extreme(args, "ARRAY_MAX takes (ARRAY)"),
    |args, _, rows, _| extreme(args, rows, Ordering::Greater),
)
.total();

pub(crate) static ARRAY_MIN: Plain = Plain::new(
    "ARRAY_MIN",
    "ARRAY_MIN(array): the smallest element that is not NULL; NULL when there is none",
    |args| bind_extreme(args, "ARRAY_MIN takes (ARRAY)"),
    |args, _, rows, _| extreme(args, rows, Ordering::Less),
)
.total();

#[cfg(test)]
mod tests {
    use crate::function::testing::{b, check, i, ints, null, s, strings};
    use wiesel_core::TypeKind;

    #[test]
    fn arrays_grow_and_shrink() {
        let array = ints(&[Some(1), None, Some(3)]);
        check(&[
            ("ARRAY_APPEND", vec![array.clone(), i(4)], "[1, NULL, 3, 4]"),
            ("ARRAY_APPEND", vec![array.clone(), null(TypeKind::Int)], "[1, NULL, 3, NULL]"),
            ("ARRAY_APPEND", vec![null(array.0.clone()), i(4)], "NULL"),
            ("ARRAY_PREPEND", vec![array.clone(), i(0)], "[0, 1, NULL, 3]"),
            ("ARRAY_REMOVE", vec![array.clone(), i(3)], "[1, NULL]"),
            ("ARRAY_REMOVE", vec![array.clone(), null(TypeKind::Int)], "[1, 3]"),
            ("ARRAY_CONCAT", vec![array.clone(), ints(&[Some(3), Some(4)])], "[1, NULL, 3, 3, 4]"),
            ("ARRAY_CONCAT", vec![array.clone(), null(array.0.clone())], "NULL"),
            (
                "ARRAY_APPEND",
                vec![array, s("x")],
                "bind: ARRAY_APPEND takes (ARRAY, element), and the elements of this array are INT",
            ),
        ]);
    }

    #[test]
    fn arrays_are_cut_and_sorted() {
        let array = ints(&[Some(1), None, Some(3)]);
        let unsorted = ints(&[Some(3), Some(1), None, Some(2)]);
        check(&[
            ("ARRAY_SLICE", vec![array.clone(), i(2), i(3)], "[NULL, 3]"),
            ("ARRAY_SLICE", vec![array.clone(), i(2)], "[NULL, 3]"),
            ("ARRAY_SLICE", vec![array.clone(), i(-2), i(-1)], "[NULL, 3]"),
            ("ARRAY_SLICE", vec![array.clone(), i(0), i(1)], "[1]"),
            ("ARRAY_SLICE", vec![array.clone(), i(-9), i(2)], "[1, NULL]"),
            ("ARRAY_SLICE", vec![array.clone(), i(5), i(6)], "[]"),
            ("ARRAY_SLICE", vec![array, i(3), i(2)], "[]"),
            ("ARRAY_SORT", vec![unsorted.clone()], "[NULL, 1, 2, 3]"),
            ("ARRAY_SORT", vec![unsorted.clone(), b(false)], "[3, 2, 1, NULL]"),
            ("ARRAY_SORT", vec![unsorted.clone(), b(true), b(false)], "[1, 2, 3, NULL]"),
            ("ARRAY_SORT", vec![unsorted.clone(), b(false), b(true)], "[NULL, 3, 2, 1]"),
            ("ARRAY_MAX", vec![unsorted.clone()], "3"),
            ("ARRAY_MIN", vec![unsorted], "1"),
            ("ARRAY_MIN", vec![strings(&[None])], "NULL"),
        ]);
    }

    #[test]
    fn arrays_are_sets() {
        let array = ints(&[Some(1), Some(2), Some(2), Some(3)]);
        check(&[
            ("ARRAY_UNION", vec![ints(&[Some(1), None, Some(3)]), ints(&[Some(3), Some(4), None])], "[1, NULL, 3, 4]"),
            ("ARRAY_INTERSECT", vec![array.clone(), ints(&[Some(2), Some(3), Some(4)])], "[2, 3]"),
            ("ARRAY_EXCEPT", vec![array.clone(), ints(&[Some(2)])], "[1, 3]"),
            ("ARRAY_EXCEPT", vec![array, null(ints(&[]).0)], "NULL"),
        ]);
    }
}
