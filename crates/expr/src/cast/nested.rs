//! Casts of ARRAY, MAP, MULTISET and ROW: their parts are cast as whole columns, so nesting costs nothing per row.
//!
//! Where a part fails under TRY_CAST, the whole value is NULL, not the part. So the cast is first done as CAST does it, and only when that
//! fails, row by row.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, new_null_array};
use arrow_schema::DataType as ArrowType;
use arrow_select::concat::concat;
use wiesel_core::{Error, Result, TypeKind};

use crate::cast::{CastContext, OnFailure, cast_column};

/// Casts between two nested types of the same shape.
pub fn cast_nested(array: &ArrayRef, from: &TypeKind, to: &TypeKind, context: &CastContext) -> Result<ArrayRef> {
    if context.on_failure == OnFailure::Fail {
        return cast_parts(array, from, to, context);
    }
    let strict = CastContext { on_failure: OnFailure::Fail, zone: context.zone.clone() };
    if let Ok(all) = cast_parts(array, from, to, &strict) {
        return Ok(all);
    }
    let null = new_null_array(&to.to_arrow(), 1);
    let rows: Vec<ArrayRef> = (0..array.len())
        .map(|row| cast_parts(&array.slice(row, 1), from, to, &strict).unwrap_or_else(|_| Arc::clone(&null)))
        .collect();
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    Ok(concat(&rows)?)
}

fn cast_parts(array: &ArrayRef, from: &TypeKind, to: &TypeKind, context: &CastContext) -> Result<ArrayRef> {
    match (from, to) {
        (TypeKind::Array(f), TypeKind::Array(t)) => {
            let list = array.as_list::<i32>();
            let items = cast_column(list.values(), &f.kind, &t.kind, context)?;
            let ArrowType::List(field) = to.to_arrow() else {
                return Err(Error::internal("an ARRAY is not a list"));
            };
            Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), items, list.nulls().cloned())?))
        }
        (TypeKind::Map(fk, fv), TypeKind::Map(tk, tv)) => {
            cast_map(array, to, (&fk.kind, &tk.kind), (&fv.kind, &tv.kind), context)
        }
        (TypeKind::Multiset(f), TypeKind::Multiset(t)) => {
            cast_map(array, to, (&f.kind, &t.kind), (&TypeKind::Int, &TypeKind::Int), context)
        }
        (TypeKind::Row(f), TypeKind::Row(t)) => {
            let rows = array.as_struct();
            let ArrowType::Struct(fields) = to.to_arrow() else {
                return Err(Error::internal("a ROW is not a struct"));
            };
            if fields.is_empty() {
                return Ok(Arc::new(StructArray::new_empty_fields(rows.len(), rows.nulls().cloned())));
            }
            let columns = rows
                .columns()
                .iter()
                .zip(f.iter().zip(t))
                .map(|(column, (f, t))| cast_column(column, &f.data_type.kind, &t.data_type.kind, context))
                .collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new(fields, columns, rows.nulls().cloned())?))
        }
        _ => Err(Error::config(format!("there is no cast from {from} to {to}"))),
    }
}

fn cast_map(
    array: &ArrayRef,
    to: &TypeKind,
    keys: (&TypeKind, &TypeKind),
    values: (&TypeKind, &TypeKind),
    context: &CastContext,
) -> Result<ArrayRef> {
    let map = array.as_map();
    let ArrowType::Map(entry_field, sorted) = to.to_arrow() else {
        return Err(Error::internal("a MAP is not a map"));
    };
    let ArrowType::Struct(fields) = entry_field.data_type().clone() else {
        return Err(Error::internal("a MAP's entries are not a struct"));
    };
    let keys = cast_column(map.keys(), keys.0, keys.1, context)?;
    if keys.null_count() > 0 {
        return Err(Error::data(format!("a key of a MAP became NULL when it was cast to {to}")));
    }
    let values = cast_column(map.values(), values.0, values.1, context)?;
    let entries = StructArray::try_new(fields, vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(entry_field, map.offsets().clone(), entries, map.nulls().cloned(), sorted)?))
}
