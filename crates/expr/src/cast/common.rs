//! The least restrictive type that several types cast to without loss: CASE, COALESCE, VALUES, set operations, comparisons.

use wiesel_core::{DataType, Field, TypeKind};

use crate::cast::decimal::{self, PRECISION_MAX};
use crate::cast::integer_rank;

/// The least restrictive common type (CASE, COALESCE, VALUES, set operations); `None` when there is none.
///
/// CHAR of different lengths meet in VARCHAR, DECIMALs keep all digits before and behind the point, DECIMAL and FLOAT meet in DOUBLE,
/// TIMESTAMP and TIMESTAMP_LTZ in TIMESTAMP_LTZ. NULL adds nothing but nullability.
pub fn common_type(types: &[DataType]) -> Option<DataType> {
    let mut common: Option<TypeKind> = None;
    let mut nullable = false;
    for data_type in types {
        nullable |= data_type.nullable || data_type.kind == TypeKind::Null;
        common = Some(match common {
            None => data_type.kind.clone(),
            Some(before) => merge(&before, &data_type.kind)?,
        });
    }
    common.map(|kind| DataType { kind, nullable })
}

fn merge(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    use TypeKind as T;
    if a == b {
        return Some(a.clone());
    }
    Some(match (a, b) {
        (T::Null, other) | (other, T::Null) => other.clone(),
        (T::Char(m) | T::VarChar(m), T::Char(n) | T::VarChar(n)) => T::VarChar(*m.max(n)),
        (T::Binary(m) | T::VarBinary(m), T::Binary(n) | T::VarBinary(n)) => T::VarBinary(*m.max(n)),
        (a, b) if a.is_numeric() && b.is_numeric() => merge_numbers(a, b),
        (T::Time(p), T::Time(q)) => T::Time(*p.max(q)),
        (T::Timestamp(p), T::Timestamp(q)) => T::Timestamp(*p.max(q)),
        (T::TimestampLtz(p) | T::Timestamp(p), T::TimestampLtz(q) | T::Timestamp(q)) => T::TimestampLtz(*p.max(q)),
        (T::Date, T::Timestamp(p)) | (T::Timestamp(p), T::Date) => T::Timestamp(*p),
        (T::Date, T::TimestampLtz(p)) | (T::TimestampLtz(p), T::Date) => T::TimestampLtz(*p),
        (T::Array(a), T::Array(b)) => T::Array(Box::new(merge_types(a, b)?)),
        (T::Multiset(a), T::Multiset(b)) => T::Multiset(Box::new(merge_types(a, b)?)),
        (T::Map(ak, av), T::Map(bk, bv)) => T::Map(Box::new(merge_types(ak, bk)?), Box::new(merge_types(av, bv)?)),
        (T::Row(a), T::Row(b)) if a.len() == b.len() => {
            let fields = a
                .iter()
                .zip(b)
                .map(|(a, b)| Some(Field::new(a.name.clone(), merge_types(&a.data_type, &b.data_type)?)));
            T::Row(fields.collect::<Option<Vec<_>>>()?)
        }
        _ => return None,
    })
}

fn merge_types(a: &DataType, b: &DataType) -> Option<DataType> {
    common_type(&[a.clone(), b.clone()])
}

fn merge_numbers(a: &TypeKind, b: &TypeKind) -> TypeKind {
    use TypeKind as T;
    match (a, b) {
        (T::Double, _) | (_, T::Double) => T::Double,
        (T::Float, T::Decimal { .. }) | (T::Decimal { .. }, T::Float) => T::Double,
        (T::Float, _) | (_, T::Float) => T::Float,
        (T::Decimal { .. }, _) | (_, T::Decimal { .. }) => {
            let (p1, s1) = decimal::digits(a);
            let (p2, s2) = decimal::digits(b);
            let scale = s1.max(s2);
            let precision = ((p1 - s1).max(p2 - s2) + scale).min(PRECISION_MAX);
            T::Decimal { precision, scale }
        }
        _ if integer_rank(a) >= integer_rank(b) => a.clone(),
        _ => b.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_types_are_least_restrictive() {
        use TypeKind as T;
        let dec = |precision, scale| T::Decimal { precision, scale };
        let cases = [
            (T::Char(3), T::Char(3), Some(T::Char(3))),
            (T::Char(3), T::Char(5), Some(T::VarChar(5))),
            (T::Char(3), T::VarChar(2), Some(T::VarChar(3))),
            (T::Null, T::Int, Some(T::Int)),
            (T::TinyInt, T::BigInt, Some(T::BigInt)),
            (T::Int, dec(5, 2), Some(dec(12, 2))),
            (dec(5, 2), dec(4, 3), Some(dec(6, 3))),
            (T::BigInt, T::Float, Some(T::Float)),
            (dec(5, 2), T::Float, Some(T::Double)),
            (T::Date, T::Timestamp(3), Some(T::Timestamp(3))),
            (T::Timestamp(3), T::TimestampLtz(6), Some(T::TimestampLtz(6))),
            (T::Int, T::VarChar(3), None),
            (T::Boolean, T::Int, None),
        ];
        for (a, b, expected) in cases {
            let common = common_type(&[DataType::not_null(a.clone()), DataType::new(b.clone())]);
            assert_eq!(common.map(|c| c.kind), expected, "{a} and {b}");
        }
        assert_eq!(common_type(&[]), None);
    }
}
