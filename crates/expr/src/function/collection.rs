//! ITEM (`array[i]`, `map[k]`), CARDINALITY, ARRAY_CONTAINS, and the constructors ROW, ARRAY and MAP.
//!
//! Array positions count from 1; what is out of range or absent is NULL. Access takes whole columns: the positions of all rows first,
//! then one gather.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Int32Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, UInt32Array};
use arrow_buffer::OffsetBuffer;
use arrow_ord::ord::make_comparator;
use arrow_schema::{DataType as ArrowType, SortOptions};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use wiesel_core::{DataType, Error, Field, Result, TypeKind, Value};

use crate::cast::{common_type, is_implicit};
use crate::eval::EvalContext;
use crate::function::binding::{nullable, strict, takes, types_of, unified};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};

pub(crate) static ITEM: Plain = Plain::new(
    "ITEM",
    "array[index], map[key]: an element, counted from 1, or the value of a key; NULL when there is none",
    bind_item,
    item,
)
.total();

fn bind_item(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    let usage = "an access takes array[INT] or map[key]";
    let [container, key] = args else { return Err(takes(usage)) };
    let null_or = |wanted: &DataType| DataType {
        kind: wanted.kind.clone(),
        nullable: key.data_type.nullable || key.data_type.kind == TypeKind::Null,
    };
    match &container.data_type.kind {
        TypeKind::Array(element) if key.data_type.kind.is_integer() || key.data_type.kind == TypeKind::Null => {
            if let Some(Value::Int(index)) = key.literal
                && *index < 1
            {
                return Err(takes(&format!("array positions count from 1, and this one is {index}")));
            }
            let types = vec![container.data_type.clone(), null_or(&DataType::int())];
            Ok(nullable(types, element.kind.clone()))
        }
        TypeKind::Map(key_type, value) if key_type.kind.is_string() && key.data_type.kind.is_string() => {
            Ok(nullable(vec![container.data_type.clone(), key.data_type.clone()], value.kind.clone()))
        }
        TypeKind::Map(key_type, value) if is_implicit(key.data_type, key_type) => {
            Ok(nullable(vec![container.data_type.clone(), null_or(key_type)], value.kind.clone()))
        }
        TypeKind::Map(key_type, _) => Err(takes(&format!("keys of this map are {}", key_type.kind))),
        _ => Err(takes(usage)),
    }
}

fn item(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    match &call.args[0].kind {
        TypeKind::Map(key, _) => map_item(args, &key.kind, rows),
        _ => {
            let list = args[0].array().as_list::<i32>();
            let indices = args[1].numbers::<Int32Type>();
            let offsets = list.value_offsets();
            let taken: UInt32Array = (0..rows)
                .map(|row| {
                    let container = row * args[0].step();
                    let index = indices.get(row).filter(|i| *i >= 1)?;
                    let at = offsets[container].checked_add(index - 1)?;
                    let exists = list.is_valid(container) && at < offsets[container + 1];
                    exists.then(|| u32::try_from(at).unwrap_or(0))
                })
                .collect();
            Ok(take(list.values(), &taken, None)?)
        }
    }
}

fn map_item(args: &[Operand], key: &TypeKind, rows: usize) -> Result<ArrayRef> {
    let map = args[0].array().as_map();
    let offsets = map.value_offsets();
    let find = |row: usize, is_key: &mut dyn FnMut(usize) -> bool| -> Option<u32> {
        let container = row * args[0].step();
        if map.is_null(container) {
            return None;
        }
        let entries = offsets[container] as usize..offsets[container + 1] as usize;
        // The last entry of a key counts, should there be several.
        entries.rev().find(|entry| is_key(*entry)).and_then(|entry| u32::try_from(entry).ok())
    };
    let taken: UInt32Array = if key.is_string() {
        let (keys, wanted) = (map.keys().as_string::<i32>(), args[1].strings());
        (0..rows)
            .map(|row| {
                let wanted = wanted.get(row)?;
                find(row, &mut |entry| keys.value(entry) == wanted)
            })
            .collect()
    } else {
        let comparator = make_comparator(map.keys(), args[1].array(), SortOptions::default())?;
        (0..rows)
            .map(|row| {
                if args[1].is_null(row) {
                    return None;
                }
                find(row, &mut |entry| comparator(entry, row * args[1].step()) == Ordering::Equal)
            })
            .collect()
    };
    Ok(take(map.values(), &taken, None)?)
}

pub(crate) static CARDINALITY: Plain = Plain::new(
    "CARDINALITY",
    "CARDINALITY(array | map): the number of elements or entries",
    |args| match args {
        [arg] if matches!(arg.data_type.kind, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_)) => {
            Ok(strict(types_of(args), TypeKind::Int))
        }
        _ => Err(takes("CARDINALITY takes (ARRAY) or (MAP)")),
    },
    |args, call, rows, _| {
        let array = args[0].array();
        let offsets = match call.args[0].kind {
            TypeKind::Array(_) => array.as_list::<i32>().value_offsets(),
            _ => array.as_map().value_offsets(),
        };
        let mut out = Int32Builder::with_capacity(rows);
        for row in 0..rows {
            let index = row * args[0].step();
            out.append_option(array.is_valid(index).then(|| offsets[index + 1] - offsets[index]));
        }
        Ok(Arc::new(out.finish()))
    },
)
.total();

pub(crate) static ARRAY_CONTAINS: Plain = Plain::new(
    "ARRAY_CONTAINS",
    "ARRAY_CONTAINS(array, element): whether the element is in the array; a NULL element is found among NULLs",
    |args| {
        let usage = "ARRAY_CONTAINS takes (ARRAY, element)";
        let [array, element] = args else { return Err(takes(usage)) };
        let TypeKind::Array(inner) = &array.data_type.kind else { return Err(takes(usage)) };
        if !is_implicit(element.data_type, inner) {
            return Err(takes(&format!("the elements of this array are {}", inner.kind)));
        }
        let wanted = DataType { kind: inner.kind.clone(), nullable: element.data_type.nullable };
        let nullable = array.data_type.nullable;
        Ok(Signature {
            args: vec![array.data_type.clone(), wanted],
            returns: DataType { kind: TypeKind::Boolean, nullable },
        })
    },
    |args, _, rows, _| {
        let list = args[0].array().as_list::<i32>();
        let comparator = make_comparator(list.values(), args[1].array(), SortOptions::default())?;
        let offsets = list.value_offsets();
        let mut out = BooleanBuilder::with_capacity(rows);
        for row in 0..rows {
            let container = row * args[0].step();
            if list.is_null(container) {
                out.append_null();
                continue;
            }
            let mut items = offsets[container] as usize..offsets[container + 1] as usize;
            out.append_value(items.any(|i| comparator(i, row * args[1].step()) == Ordering::Equal));
        }
        Ok(Arc::new(out.finish()))
    },
)
.total();

pub(crate) static ROW: Plain = Plain::new(
    "ROW",
    "ROW(value1, ...): a row of the values; its fields are named EXPR$0, EXPR$1 and so on",
    |args| {
        let types = types_of(args);
        let fields = types.iter().enumerate().map(|(i, t)| Field::new(format!("EXPR${i}"), t.clone())).collect();
        Ok(Signature { args: types, returns: DataType::not_null(TypeKind::Row(fields)) })
    },
    |args, call, rows, _| {
        let ArrowType::Struct(fields) = call.returns.to_arrow() else {
            return Err(Error::internal("a ROW is not a struct"));
        };
        if fields.is_empty() {
            return Ok(Arc::new(StructArray::new_empty_fields(rows, None)));
        }
        let columns = args.iter().map(|a| a.clone().into_column(rows)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new(fields, columns, None)?))
    },
)
.total();

pub(crate) static ARRAY: Plain = Plain::new(
    "ARRAY",
    "ARRAY[value1, ...]: an array of the values, cast to their common type",
    |args| {
        let types = types_of(args);
        let common = common_type(&types).ok_or_else(|| takes("ARRAY takes one or more values of one common type"))?;
        let args = unified(&types, &common.kind);
        Ok(Signature { args, returns: DataType::not_null(TypeKind::Array(Box::new(common))) })
    },
    |args, call, rows, _| {
        let ArrowType::List(field) = call.returns.to_arrow() else {
            return Err(Error::internal("an ARRAY is not a list"));
        };
        let values = row_by_row(args, rows)?;
        let offsets = OffsetBuffer::from_repeated_length(args.len(), rows);
        Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
    },
)
.total();

pub(crate) static MAP: Plain = Plain::new(
    "MAP",
    "MAP[key1, value1, ...]: a map of the pairs, cast to the common types of the keys and of the values",
    |args| {
        let usage = "MAP takes one or more pairs of key and value, each side of one common type";
        if args.is_empty() || args.len() % 2 != 0 {
            return Err(takes(usage));
        }
        let types = types_of(args);
        let keys: Vec<DataType> = types.iter().step_by(2).cloned().collect();
        let values: Vec<DataType> = types.iter().skip(1).step_by(2).cloned().collect();
        let (Some(key), Some(value)) = (common_type(&keys), common_type(&values)) else {
            return Err(takes(usage));
        };
        let pairs = unified(&keys, &key.kind).into_iter().zip(unified(&values, &value.kind));
        let args = pairs.flat_map(|(k, v)| [k, v]).collect();
        Ok(Signature { args, returns: DataType::not_null(TypeKind::Map(Box::new(key), Box::new(value))) })
    },
    make_map,
);

fn make_map(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let ArrowType::Map(entry_field, sorted) = call.returns.to_arrow() else {
        return Err(Error::internal("a MAP is not a map"));
    };
    let ArrowType::Struct(fields) = entry_field.data_type().clone() else {
        return Err(Error::internal("a MAP's entries are not a struct"));
    };
    let keys: Vec<Operand> = args.iter().step_by(2).cloned().collect();
    let values: Vec<Operand> = args.iter().skip(1).step_by(2).cloned().collect();
    let (keys, values) = (row_by_row(&keys, rows)?, row_by_row(&values, rows)?);
    if keys.null_count() > 0 {
        return Err(Error::data("a key of MAP[...] is NULL, and a map has no such key"));
    }
    let (keys, values, offsets) = last_of_each_key(keys, values, args.len() / 2)?;
    let entries = StructArray::try_new(fields, vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(entry_field, offsets, entries, None, sorted)?))
}

/// Entries and offsets of maps made of `width` entries each; of several entries of one key the last one counts.
fn last_of_each_key(keys: ArrayRef, values: ArrayRef, width: usize) -> Result<(ArrayRef, ArrayRef, OffsetBuffer<i32>)> {
    let rows = keys.len() / width;
    let comparator = make_comparator(&keys, &keys, SortOptions::default())?;
    let has_later = |entry: usize, end: usize| (entry + 1..end).any(|e| comparator(entry, e) == Ordering::Equal);
    let mut kept = Vec::with_capacity(keys.len());
    let mut lengths = Vec::with_capacity(rows);
    for row in 0..rows {
        let before = kept.len();
        let end = (row + 1) * width;
        kept.extend((row * width..end).filter(|e| !has_later(*e, end)).map(|e| u32::try_from(e).unwrap_or(u32::MAX)));
        lengths.push(kept.len() - before);
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    if kept.len() == keys.len() {
        return Ok((keys, values, offsets));
    }
    let kept = UInt32Array::from(kept);
    Ok((take(&keys, &kept, None)?, take(&values, &kept, None)?, offsets))
}

/// The values of all operands of row 0, then of row 1, and so on.
fn row_by_row(args: &[Operand], rows: usize) -> Result<ArrayRef> {
    let sources: Vec<&dyn Array> = args.iter().map(|a| a.array().as_ref()).collect();
    let mut picks = Vec::with_capacity(rows * args.len());
    for row in 0..rows {
        picks.extend(args.iter().enumerate().map(|(source, a)| (source, row * a.step())));
    }
    Ok(interleave(&sources, &picks)?)
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{Arg, check, i, ints, l, map, null, null_s, s, strings};
    use wiesel_core::{DataType, TypeKind, Value};

    #[test]
    fn elements_and_values_are_found() {
        let by_int = Arg(
            TypeKind::Map(Box::new(DataType::int()), Box::new(DataType::string())),
            Value::Map(vec![(Value::Int(7), Value::String("x".into()))]),
        );
        check(&[
            ("ITEM", vec![ints(&[Some(5), Some(6)]), i(2)], "6"),
            ("ITEM", vec![ints(&[Some(5), Some(6)]), i(3)], "NULL"),
            ("ITEM", vec![ints(&[Some(5)]), null(TypeKind::Int)], "NULL"),
            ("ITEM", vec![ints(&[Some(5)]), i(0)], "bind: array positions count from 1, and this one is 0"),
            ("ITEM", vec![map(&[("a", Some("x")), ("b", None)]), s("a")], "x"),
            ("ITEM", vec![map(&[("a", Some("x")), ("b", None)]), s("b")], "NULL"),
            ("ITEM", vec![map(&[("a", Some("x"))]), s("z")], "NULL"),
            ("ITEM", vec![map(&[("a", Some("x"))]), null_s()], "NULL"),
            ("ITEM", vec![map(&[("a", Some("x"))]), i(1)], "bind: keys of this map are STRING"),
            ("ITEM", vec![by_int, i(7)], "x"),
            ("ITEM", vec![i(1), i(1)], "bind: an access takes array[INT] or map[key]"),
            ("CARDINALITY", vec![ints(&[Some(5), None])], "2"),
            ("CARDINALITY", vec![map(&[])], "0"),
            ("CARDINALITY", vec![null(ints(&[]).0)], "NULL"),
            ("ARRAY_CONTAINS", vec![strings(&[Some("a"), None]), s("a")], "TRUE"),
            ("ARRAY_CONTAINS", vec![strings(&[Some("a"), None]), null_s()], "TRUE"),
            ("ARRAY_CONTAINS", vec![strings(&[Some("a")]), s("b")], "FALSE"),
        ]);
    }

    #[test]
    fn values_are_put_together() {
        check(&[
            ("ROW", vec![i(1), s("x"), null_s()], "(1, x, NULL)"),
            ("ARRAY", vec![i(1), l(2)], "[1, 2]"),
            ("ARRAY", vec![s("a"), null_s()], "[a, NULL]"),
            ("ARRAY", vec![i(1), s("a")], "bind: ARRAY takes one or more values of one common type"),
        ]);
        // A MAP of columns is not in the table, because its test rows hold NULL keys, which fail by name.
        let pairs = [s("a"), i(1), s("b"), i(2)];
        let literal = crate::function::testing::build("MAP", &pairs, &|_| false).expect("binds");
        let folded = crate::fold(literal, &crate::function::testing::context().session);
        let entry = |k: &str, v| (Value::String(k.into()), Value::Int(v));
        assert!(
            matches!(folded, crate::ScalarExpr::Literal { value: Value::Map(ref entries), .. }
            if *entries == vec![entry("a", 1), entry("b", 2)]),
            "{folded:?}"
        );
    }
}
