//! MAP_ENTRIES, MAP_FROM_ARRAYS and MAP_UNION: maps taken apart into rows, and put together.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::UInt32Builder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ord::ord::{DynComparator, make_comparator};
use arrow_schema::{DataType as ArrowType, SortOptions};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use wiesel_core::{DataType, Error, Field, Result, TypeKind};

use crate::cast::common_type;
use crate::eval::EvalContext;
use crate::function::binding::{strict, takes, types_of};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};

pub(crate) static MAP_ENTRIES: Plain = Plain::new(
    "MAP_ENTRIES",
    "MAP_ENTRIES(map): the entries as an array of rows of key and value",
    |args| match args {
        [map] => match &map.data_type.kind {
            TypeKind::Map(key, value) => {
                let fields = vec![Field::new("key", (**key).clone()), Field::new("value", (**value).clone())];
                let row = DataType::not_null(TypeKind::Row(fields));
                Ok(strict(types_of(args), TypeKind::Array(Box::new(row))))
            }
            _ => Err(takes("MAP_ENTRIES takes (MAP)")),
        },
        _ => Err(takes("MAP_ENTRIES takes (MAP)")),
    },
    |args, call, rows, _| {
        let ArrowType::List(field) = call.returns.to_arrow() else {
            return Err(Error::internal("an ARRAY is not a list"));
        };
        let ArrowType::Struct(fields) = field.data_type().clone() else {
            return Err(Error::internal("a ROW is not a struct"));
        };
        let column = args[0].clone().into_column(rows)?;
        let map = column.as_map();
        let entries = StructArray::try_new(fields, vec![Arc::clone(map.keys()), Arc::clone(map.values())], None)?;
        Ok(Arc::new(ListArray::try_new(field, map.offsets().clone(), Arc::new(entries), map.nulls().cloned())?))
    },
)
.total();

pub(crate) static MAP_FROM_ARRAYS: Plain = Plain::new(
    "MAP_FROM_ARRAYS",
    "MAP_FROM_ARRAYS(keys, values): a map of two arrays of one length",
    |args| {
        let usage = "MAP_FROM_ARRAYS takes (ARRAY, ARRAY)";
        let [keys, values] = args else { return Err(takes(usage)) };
        match (&keys.data_type.kind, &values.data_type.kind) {
            (TypeKind::Array(key), TypeKind::Array(value)) => {
                Ok(strict(types_of(args), TypeKind::Map(key.clone(), value.clone())))
            }
            _ => Err(takes(usage)),
        }
    },
    from_arrays,
);

fn from_arrays(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let (keys, values) = (args[0].clone().into_column(rows)?, args[1].clone().into_column(rows)?);
    let (keys, values) = (keys.as_list::<i32>(), values.as_list::<i32>());
    let (mut key_places, mut value_places) = (UInt32Builder::new(), UInt32Builder::new());
    let mut lengths = Vec::with_capacity(rows);
    let mut valid = Vec::with_capacity(rows);
    let places = |list: &ListArray, row: usize, count: usize, out: &mut UInt32Builder| {
        let start = u32::try_from(list.value_offsets()[row]).unwrap_or(0);
        (0..count).for_each(|place| out.append_value(start.saturating_add(u32::try_from(place).unwrap_or(0))));
    };
    for row in 0..rows {
        let is_valid = keys.is_valid(row) && values.is_valid(row);
        valid.push(is_valid);
        let count = if is_valid { keys.value(row).len() } else { 0 };
        lengths.push(count);
        if is_valid && values.value(row).len() != count {
            let found = values.value(row).len();
            return Err(Error::data(format!(
                "MAP_FROM_ARRAYS expects as many values as keys: {count} keys, {found} values"
            )));
        }
        places(keys, row, count, &mut key_places);
        places(values, row, count, &mut value_places);
    }
    let keys = take(keys.values(), &key_places.finish(), None)?;
    let values = take(values.values(), &value_places.finish(), None)?;
    map_of(call, keys, values, lengths, valid)
}

/// A MAP column of keys and values and the length of each row.
fn map_of(
    call: &Signature,
    keys: ArrayRef,
    values: ArrayRef,
    lengths: Vec<usize>,
    valid: Vec<bool>,
) -> Result<ArrayRef> {
    let ArrowType::Map(entry_field, sorted) = call.returns.to_arrow() else {
        return Err(Error::internal("a MAP is not a map"));
    };
    let ArrowType::Struct(fields) = entry_field.data_type().clone() else {
        return Err(Error::internal("a MAP's entries are not a struct"));
    };
    if keys.null_count() > 0 {
        return Err(Error::data("a key of a MAP is NULL").hint("leave such entries out before"));
    }
    let entries = StructArray::try_new(fields, vec![keys, values], None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(MapArray::try_new(entry_field, offsets, entries, Some(NullBuffer::from(valid)), sorted)?))
}

pub(crate) static MAP_UNION: Plain = Plain::new(
    "MAP_UNION",
    "MAP_UNION(map1, ...): one map of the entries of all; of one key the last map's value counts; NULL when one map is NULL",
    bind_union,
    union,
);

fn bind_union(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    let error = || takes("MAP_UNION takes (MAP [, MAP]*), with keys and values of one common type each");
    let mut keys = Vec::new();
    let mut values = Vec::new();
    for arg in args {
        let TypeKind::Map(key, value) = &arg.data_type.kind else { return Err(error()) };
        keys.push((**key).clone());
        values.push((**value).clone());
    }
    let key = common_type(&keys).ok_or_else(error)?;
    let value = common_type(&values).ok_or_else(error)?;
    let kind = TypeKind::Map(Box::new(key), Box::new(value));
    let types = args.iter().map(|arg| DataType { kind: kind.clone(), nullable: arg.data_type.nullable }).collect();
    Ok(strict(types, kind))
}

fn union(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let columns = args.iter().map(|a| a.clone().into_column(rows)).collect::<Result<Vec<_>>>()?;
    let maps: Vec<&MapArray> = columns.iter().map(|column| column.as_map()).collect();
    let mut comparators: Vec<Vec<DynComparator>> = Vec::with_capacity(maps.len());
    for later in 0..maps.len() {
        let to_earlier = (0..later)
            .map(|earlier| make_comparator(maps[later].keys(), maps[earlier].keys(), SortOptions::default()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        comparators.push(to_earlier);
    }
    // Entries as (map, place among its keys).
    let mut picks: Vec<(usize, usize)> = Vec::new();
    let mut lengths = Vec::with_capacity(rows);
    let mut valid = Vec::with_capacity(rows);
    for row in 0..rows {
        let is_valid = maps.iter().all(|map| map.is_valid(row));
        valid.push(is_valid);
        let start = picks.len();
        // The last map's entries come first, as Flink puts them.
        for (index, map) in maps.iter().enumerate().rev().filter(|_| is_valid) {
            let offsets = map.value_offsets();
            let place = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
            let known = start..picks.len();
            for entry in place(row)..place(row + 1) {
                let is_known = picks[known.clone()]
                    .iter()
                    .any(|(later, other)| comparators[*later][index](*other, entry) == Ordering::Equal);
                if !is_known {
                    picks.push((index, entry));
                }
            }
        }
        lengths.push(picks.len() - start);
    }
    let key_arrays: Vec<&dyn Array> = maps.iter().map(|map| map.keys().as_ref()).collect();
    let value_arrays: Vec<&dyn Array> = maps.iter().map(|map| map.values().as_ref()).collect();
    map_of(call, interleave(&key_arrays, &picks)?, interleave(&value_arrays, &picks)?, lengths, valid)
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, ints, map, null, s, strings};

    #[test]
    fn maps_are_put_together_and_taken_apart() {
        let one = map(&[("a", Some("1")), ("b", Some("2"))]);
        let two = map(&[("b", Some("3")), ("c", None)]);
        check(&[
            ("MAP_ENTRIES", vec![one.clone()], "[(a, 1), (b, 2)]"),
            ("MAP_ENTRIES", vec![map(&[])], "[]"),
            ("MAP_ENTRIES", vec![null(one.0.clone())], "NULL"),
            ("MAP_ENTRIES", vec![s("a")], "bind: MAP_ENTRIES takes (MAP)"),
            ("MAP_FROM_ARRAYS", vec![strings(&[Some("a"), Some("b")]), ints(&[Some(1), None])], "{a=1, b=NULL}"),
            ("MAP_FROM_ARRAYS", vec![strings(&[]), ints(&[])], "{}"),
            ("MAP_FROM_ARRAYS", vec![null(strings(&[]).0), ints(&[])], "NULL"),
            (
                "MAP_FROM_ARRAYS",
                vec![strings(&[Some("a")]), ints(&[])],
                "error: MAP_FROM_ARRAYS expects as many values as keys: 1 keys, 0 values",
            ),
            ("MAP_UNION", vec![one.clone(), two.clone()], "{b=3, c=NULL, a=1}"),
            ("MAP_UNION", vec![two.clone(), map(&[]), one.clone()], "{a=1, b=2, c=NULL}"),
            ("MAP_UNION", vec![one.clone()], "{a=1, b=2}"),
            ("MAP_UNION", vec![one.clone(), null(one.0)], "NULL"),
        ]);
    }
}
