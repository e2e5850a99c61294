//! `=`, `<>`, `<`, `<=`, `>`, `>=` and IS [NOT] DISTINCT FROM.
//!
//! Both sides are cast to their common type; text meets a time type by being cast to it, and never meets a number. Text compares byte by
//! byte. FLOAT and DOUBLE compare as in Java: NaN differs from everything, itself included, and -0.0 equals 0.0, which is why arrow's
//! kernels (total order) serve all types but these two. ARRAY, MAP and ROW know only equality.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Datum, Scalar};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_ord::cmp;
use arrow_ord::ord::make_comparator;
use arrow_schema::SortOptions;
use wiesel_core::{DataType, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{comparable_type, nullable, strict, takes, types_of, unified};
use crate::function::{Argument, FunctionError, Operand, ScalarFunction, Signature};
use crate::operand::any_null;

/// One of the six operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// A comparison operator.
#[derive(Debug)]
pub(crate) struct Compare {
    comparison: Comparison,
    name: &'static str,
    doc: &'static str,
}

pub(crate) static EQUAL: Compare =
    Compare { comparison: Comparison::Equal, name: "=", doc: "value1 = value2: whether both are equal" };
pub(crate) static NOT_EQUAL: Compare =
    Compare { comparison: Comparison::NotEqual, name: "<>", doc: "value1 <> value2: whether both differ" };
pub(crate) static LESS: Compare =
    Compare { comparison: Comparison::Less, name: "<", doc: "value1 < value2: whether the first is less" };
pub(crate) static LESS_EQUAL: Compare = Compare {
    comparison: Comparison::LessEqual,
    name: "<=",
    doc: "value1 <= value2: whether the first is less than or equal to the second",
};
pub(crate) static GREATER: Compare =
    Compare { comparison: Comparison::Greater, name: ">", doc: "value1 > value2: whether the first is greater" };
pub(crate) static GREATER_EQUAL: Compare = Compare {
    comparison: Comparison::GreaterEqual,
    name: ">=",
    doc: "value1 >= value2: whether the first is greater than or equal to the second",
};

impl ScalarFunction for Compare {
    fn name(&self) -> &'static str {
        self.name
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        let is_equality = matches!(self.comparison, Comparison::Equal | Comparison::NotEqual);
        Ok(strict(bind_pair(self.name, args, is_equality)?, TypeKind::Boolean))
    }
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let [left, right] = args else { return Ok(Arc::new(BooleanArray::new_null(rows))) };
        Ok(Arc::new(compare(self.comparison, left, right, &call.args[0].kind, rows)?))
    }
    fn is_total(&self, _: &[DataType]) -> bool {
        true
    }
}

/// The types of both sides after casts to what they compare in.
pub(crate) fn bind_pair(
    name: &str,
    args: &[Argument<'_>],
    is_equality: bool,
) -> std::result::Result<Vec<DataType>, FunctionError> {
    let types = types_of(args);
    let [left, right] = types.as_slice() else {
        return Err(takes(&format!("`{name}` takes two values")));
    };
    let common = comparable_type(&types).ok_or_else(|| {
        takes(&format!("`{name}` takes values of comparable types, and {left} does not compare with {right}; CAST one"))
    })?;
    if !is_equality && is_nested(&common.kind) {
        return Err(takes(&format!("`{name}` does not order {}; only `=` and `<>` do compare it", common.kind)));
    }
    Ok(unified(&types, &common.kind))
}

fn is_nested(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_))
}

fn compare(
    comparison: Comparison,
    left: &Operand,
    right: &Operand,
    kind: &TypeKind,
    rows: usize,
) -> Result<BooleanArray> {
    if left.step() + right.step() == 0 && rows != 1 {
        let one = compare(comparison, left, right, kind, 1)?;
        let values = if one.value(0) { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
        return Ok(BooleanArray::new(values, one.is_null(0).then(|| NullBuffer::new_null(rows))));
    }
    match kind {
        TypeKind::Null => Ok(BooleanArray::new_null(rows)),
        TypeKind::Float => Ok(compare_floats::<Float32Type>(comparison, left, right, rows)),
        TypeKind::Double => Ok(compare_floats::<Float64Type>(comparison, left, right, rows)),
        kind if is_nested(kind) => {
            let equal = nested_equal(left, right, rows)?;
            let values = if comparison == Comparison::NotEqual { !&equal } else { equal };
            Ok(BooleanArray::new(values, any_null(&[left.clone(), right.clone()], rows)))
        }
        _ => {
            let kernel = match comparison {
                Comparison::Equal => cmp::eq,
                Comparison::NotEqual => cmp::neq,
                Comparison::Less => cmp::lt,
                Comparison::LessEqual => cmp::lt_eq,
                Comparison::Greater => cmp::gt,
                Comparison::GreaterEqual => cmp::gt_eq,
            };
            Ok(kernel(datum(left).as_ref(), datum(right).as_ref())?)
        }
    }
}

/// The operand as arrow's kernels take it: a constant stays one.
fn datum(operand: &Operand) -> Box<dyn Datum> {
    match operand {
        Operand::Column(array) => Box::new(Arc::clone(array)),
        Operand::Constant(array, _) => Box::new(Scalar::new(Arc::clone(array))),
    }
}

fn compare_floats<T>(comparison: Comparison, left: &Operand, right: &Operand, rows: usize) -> BooleanArray
where
    T: ArrowPrimitiveType,
    T::Native: PartialOrd,
{
    let (a, b) = (left.numbers::<T>(), right.numbers::<T>());
    let values = match comparison {
        Comparison::Equal => BooleanBuffer::collect_bool(rows, |i| a.raw(i) == b.raw(i)),
        Comparison::NotEqual => BooleanBuffer::collect_bool(rows, |i| a.raw(i) != b.raw(i)),
        Comparison::Less => BooleanBuffer::collect_bool(rows, |i| a.raw(i) < b.raw(i)),
        Comparison::LessEqual => BooleanBuffer::collect_bool(rows, |i| a.raw(i) <= b.raw(i)),
        Comparison::Greater => BooleanBuffer::collect_bool(rows, |i| a.raw(i) > b.raw(i)),
        Comparison::GreaterEqual => BooleanBuffer::collect_bool(rows, |i| a.raw(i) >= b.raw(i)),
    };
    BooleanArray::new(values, NullBuffer::union(left.nulls(rows).as_ref(), right.nulls(rows).as_ref()))
}

/// Deep equality, two NULLs inside being equal.
fn nested_equal(left: &Operand, right: &Operand, rows: usize) -> Result<BooleanBuffer> {
    let comparator = make_comparator(left.array(), right.array(), SortOptions::default())?;
    let (a, b) = (left.step(), right.step());
    Ok(BooleanBuffer::collect_bool(rows, |row| comparator(row * a, row * b) == Ordering::Equal))
}

/// IS [NOT] DISTINCT FROM.
#[derive(Debug)]
pub(crate) struct Distinct {
    is_distinct: bool,
}

pub(crate) static IS_DISTINCT_FROM: Distinct = Distinct { is_distinct: true };
pub(crate) static IS_NOT_DISTINCT_FROM: Distinct = Distinct { is_distinct: false };

impl ScalarFunction for Distinct {
    fn name(&self) -> &'static str {
        if self.is_distinct { "IS DISTINCT FROM" } else { "IS NOT DISTINCT FROM" }
    }
    fn doc(&self) -> &'static str {
        if self.is_distinct {
            "value1 IS DISTINCT FROM value2: whether both differ, two NULLs being equal"
        } else {
            "value1 IS NOT DISTINCT FROM value2: whether both are equal, two NULLs being equal"
        }
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        let args = bind_pair(self.name(), args, true)?;
        Ok(Signature { args, returns: DataType::not_null(TypeKind::Boolean) })
    }
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let [left, right] = args else { return Ok(Arc::new(BooleanArray::new_null(rows))) };
        let equal = compare(Comparison::Equal, left, right, &call.args[0].kind, rows)?;
        let both_null = BooleanBuffer::collect_bool(rows, |row| {
            left.array().is_null(row * left.step()) && right.array().is_null(row * right.step())
        });
        let both_null = if call.args[0].kind == TypeKind::Null { BooleanBuffer::new_set(rows) } else { both_null };
        let equal = match equal.nulls() {
            None => equal.values().clone(),
            Some(nulls) => &(equal.values() & nulls.inner()) | &both_null,
        };
        Ok(Arc::new(BooleanArray::new(if self.is_distinct { !&equal } else { equal }, None)))
    }
    fn is_total(&self, _: &[DataType]) -> bool {
        true
    }
}

/// `a` equals `b` per row with the meaning of `=`; for IN, NULLIF's kin and searches in arrays.
pub(crate) fn equals(left: &Operand, right: &Operand, kind: &TypeKind, rows: usize) -> Result<BooleanArray> {
    compare(Comparison::Equal, left, right, kind, rows)
}

/// A signature for functions that compare all their arguments with each other and may give NULL.
pub(crate) fn bind_all(
    name: &str,
    args: &[Argument<'_>],
) -> std::result::Result<(Vec<DataType>, DataType), FunctionError> {
    let types = types_of(args);
    let common = comparable_type(&types)
        .filter(|_| !types.is_empty())
        .ok_or_else(|| takes(&format!("{name} takes one or more values of comparable types")))?;
    let args = unified(&types, &common.kind);
    Ok((nullable(args, TypeKind::Boolean).args, common))
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{b, check, d, date, dec, i, ints, l, map, null, null_s, s, strings, ts};
    use wiesel_core::TypeKind;

    #[test]
    fn values_compare_in_their_common_type() {
        check(&[
            ("=", vec![i(1), l(1)], "TRUE"),
            ("=", vec![i(1), dec(100, 3, 2)], "TRUE"),
            ("<", vec![dec(99, 3, 2), i(1)], "TRUE"),
            ("=", vec![i(1), null(TypeKind::Int)], "NULL"),
            ("=", vec![i(1), null(TypeKind::Null)], "NULL"),
            ("=", vec![null(TypeKind::Null), null(TypeKind::Null)], "NULL"),
            ("<>", vec![s("a"), s("b")], "TRUE"),
            ("<", vec![s("Z"), s("a")], "TRUE"),
            ("=", vec![s("a "), s("a")], "FALSE"),
            ("=", vec![b(true), b(true)], "TRUE"),
            (">=", vec![ts("2024-01-01 00:00:00"), s("2024-01-01")], "TRUE"),
            ("<", vec![date("2024-01-01"), ts("2024-01-01 00:00:01")], "TRUE"),
            ("=", vec![d(f64::NAN), d(f64::NAN)], "FALSE"),
            ("<>", vec![d(f64::NAN), d(f64::NAN)], "TRUE"),
            ("=", vec![d(0.0), d(-0.0)], "TRUE"),
            ("<=", vec![i(3), d(3.5)], "TRUE"),
            ("=", vec![strings(&[Some("a"), None]), strings(&[Some("a"), None])], "TRUE"),
            ("<>", vec![ints(&[Some(1)]), ints(&[Some(2)])], "TRUE"),
            ("=", vec![map(&[("a", Some("b"))]), map(&[("a", Some("b"))])], "TRUE"),
        ]);
        let refused = crate::function::testing::run("=", &[s("1"), i(1)]);
        assert!(refused.starts_with("bind: `=` takes values of comparable types"), "{refused}");
        let refused = crate::function::testing::run("<", &[ints(&[]), ints(&[])]);
        assert!(refused.starts_with("bind: `<` does not order"), "{refused}");
    }

    #[test]
    fn distinct_from_knows_null() {
        check(&[
            ("IS DISTINCT FROM", vec![i(1), i(2)], "TRUE"),
            ("IS DISTINCT FROM", vec![i(1), null(TypeKind::Int)], "TRUE"),
            ("IS DISTINCT FROM", vec![null_s(), null_s()], "FALSE"),
            ("IS NOT DISTINCT FROM", vec![s("a"), s("a")], "TRUE"),
            ("IS NOT DISTINCT FROM", vec![null(TypeKind::Null), null(TypeKind::Null)], "TRUE"),
            ("IS NULL", vec![i(1)], "FALSE"),
            ("IS NULL", vec![null_s()], "TRUE"),
            ("IS NOT NULL", vec![s("")], "TRUE"),
            ("NOT", vec![b(true)], "FALSE"),
            ("NOT", vec![null(TypeKind::Boolean)], "NULL"),
            ("IS TRUE", vec![null(TypeKind::Boolean)], "FALSE"),
            ("IS NOT TRUE", vec![null(TypeKind::Boolean)], "TRUE"),
            ("IS FALSE", vec![b(false)], "TRUE"),
            ("IS UNKNOWN", vec![null(TypeKind::Boolean)], "TRUE"),
            ("IS NOT UNKNOWN", vec![b(false)], "TRUE"),
        ]);
    }
}
