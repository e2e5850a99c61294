//! IN over a list of values. TRUE when one equals, else NULL when the value or one of the list is NULL, else FALSE.
//!
//! A list of constants over text or integers becomes a hash set on first use; other lists are compared value by value.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use wiesel_core::{DataType, Result, TypeKind, Value};

use crate::eval::EvalContext;
use crate::function::binding::takes;
use crate::function::comparison::{bind_all, equals};
use crate::function::define::Compiling;
use crate::function::{Operand, PreparedCall, Signature};

pub(crate) static IN: Compiling = Compiling::new(
    "IN",
    "value1 IN (value2, ...): whether the value equals one of the list",
    |args| {
        if args.len() < 2 {
            return Err(takes("IN takes a value and a list of values"));
        }
        let (types, common) = bind_all("IN", args)?;
        Ok(Signature { args: types, returns: DataType { kind: TypeKind::Boolean, nullable: common.nullable } })
    },
    || Box::<In>::default(),
);

#[derive(Debug, Default)]
struct In {
    set: Option<Set>,
}

#[derive(Debug)]
enum Set {
    Texts(HashSet<String>),
    Integers(HashSet<i64>),
    None,
}

impl PreparedCall for In {
    fn eval(&mut self, args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (value, list) = (&args[0], &args[1..]);
        let kind = &call.args[0].kind;
        let set = self.set.get_or_insert_with(|| Set::new(list, kind));
        let found = match set {
            Set::Texts(set) => {
                let texts = value.strings();
                BooleanBuffer::collect_bool(rows, |row| texts.get(row).is_some_and(|t| set.contains(t)))
            }
            Set::Integers(set) => {
                let get = integers(value, kind);
                BooleanBuffer::collect_bool(rows, |row| get(row).is_some_and(|i| set.contains(&i)))
            }
            Set::None => {
                let mut found = BooleanBuffer::new_unset(rows);
                for item in list {
                    let equal = equals(value, item, kind, rows)?;
                    let equal = match equal.nulls() {
                        None => equal.values().clone(),
                        Some(nulls) => equal.values() & nulls.inner(),
                    };
                    found = &found | &equal;
                }
                found
            }
        };
        // Where nothing was found, a NULL on either side leaves it unknown.
        let known = list
            .iter()
            .chain([value])
            .filter_map(|o| o.nulls(rows))
            .reduce(|a, b| NullBuffer::new(a.inner() & b.inner()));
        let nulls = known.map(|known| NullBuffer::new(known.inner() | &found)).filter(|n| n.null_count() > 0);
        Ok(Arc::new(BooleanArray::new(found, nulls)))
    }
}

impl Set {
    fn new(list: &[Operand], kind: &TypeKind) -> Set {
        let Some(values) = list.iter().map(Operand::constant).collect::<Option<Vec<&Value>>>() else {
            return Set::None;
        };
        let values = values.into_iter();
        if kind.is_string() {
            return Set::Texts(
                values.filter_map(|v| if let Value::String(s) = v { Some(s.clone()) } else { None }).collect(),
            );
        }
        if kind.is_integer() {
            return Set::Integers(values.filter_map(|v| if let Value::Int(i) = v { Some(*i) } else { None }).collect());
        }
        Set::None
    }
}

fn integers<'a>(value: &'a Operand, kind: &TypeKind) -> Box<dyn Fn(usize) -> Option<i64> + 'a> {
    match kind {
        TypeKind::TinyInt => {
            let numbers = value.numbers::<Int8Type>();
            Box::new(move |row| numbers.get(row).map(i64::from))
        }
        TypeKind::SmallInt => {
            let numbers = value.numbers::<Int16Type>();
            Box::new(move |row| numbers.get(row).map(i64::from))
        }
        TypeKind::Int => {
            let numbers = value.numbers::<Int32Type>();
            Box::new(move |row| numbers.get(row).map(i64::from))
        }
        _ => {
            let numbers = value.numbers::<Int64Type>();
            Box::new(move |row| numbers.get(row))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, d, date, i, l, null, null_s, s};
    use wiesel_core::TypeKind;

    #[test]
    fn lists_follow_three_valued_logic() {
        check(&[
            ("IN", vec![i(2), i(1), i(2)], "TRUE"),
            ("IN", vec![i(3), i(1), l(2)], "FALSE"),
            ("IN", vec![i(3), i(1), null(TypeKind::Int)], "NULL"),
            ("IN", vec![i(1), i(1), null(TypeKind::Int)], "TRUE"),
            ("IN", vec![null(TypeKind::Int), i(1)], "NULL"),
            ("IN", vec![s("b"), s("a"), s("b")], "TRUE"),
            ("IN", vec![s("c"), s("a"), null_s()], "NULL"),
            ("IN", vec![d(1.5), i(1), d(1.5)], "TRUE"),
            ("IN", vec![date("2024-01-01"), s("2024-01-01")], "TRUE"),
        ]);
    }
}
