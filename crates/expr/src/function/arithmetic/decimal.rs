//! DECIMAL arithmetic: the result types of Flink, HALF_UP rounding, NULL where the result has too many digits.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::Decimal128Builder;
use arrow_array::types::Decimal128Type;
use wiesel_core::{Error, Result, TypeKind};

use crate::cast::decimal::{self as digits, adjusted, divide, multiply};
use crate::function::arithmetic::{Arithmetic, Operation, division_by_zero};
use crate::function::{Operand, Signature};

/// The type of `a op b`.
pub(crate) fn result_type(operation: Operation, a: &TypeKind, b: &TypeKind) -> TypeKind {
    let (p1, s1) = digits::digits(a);
    let (p2, s2) = digits::digits(b);
    let (p1, s1, p2, s2) = (u32::from(p1), u32::from(s1), u32::from(p2), u32::from(s2));
    match operation {
        Operation::Plus | Operation::Minus => {
            let scale = s1.max(s2);
            adjusted((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
        Operation::Multiply => adjusted(p1 + p2 + 1, s1 + s2),
        Operation::Divide => {
            let scale = (s1 + p2 + 1).max(6);
            adjusted(p1 - s1 + s2 + scale, scale)
        }
        Operation::Remainder => {
            let scale = s1.max(s2);
            adjusted((p1 - s1).min(p2 - s2) + scale, scale)
        }
    }
}

/// Evaluates on two DECIMAL operands.
pub(crate) fn eval(
    function: &Arithmetic,
    left: &Operand,
    right: &Operand,
    call: &Signature,
    rows: usize,
) -> Result<ArrayRef> {
    let (_, s1) = digits::digits(&call.args[0].kind);
    let (_, s2) = digits::digits(&call.args[1].kind);
    let TypeKind::Decimal { precision, scale } = call.returns.kind else {
        return Err(Error::internal(format!("DECIMAL arithmetic was bound to {}", call.returns)));
    };
    let (a, b) = (left.numbers::<Decimal128Type>(), right.numbers::<Decimal128Type>());
    let mut builder = Decimal128Builder::with_capacity(rows).with_data_type(call.returns.to_arrow());
    for row in 0..rows {
        let (Some(x), Some(y)) = (a.get(row), b.get(row)) else {
            builder.append_null();
            continue;
        };
        if y == 0 && matches!(function.operation, Operation::Divide | Operation::Remainder) {
            let mut dividend = String::new();
            digits::write(&mut dividend, x, s1).expect("a String takes all text");
            return Err(division_by_zero(function.name, &dividend));
        }
        builder.append_option(match function.operation {
            Operation::Plus => digits::add((x, s1), (y, s2), scale, precision),
            Operation::Minus => digits::add((x, s1), (-y, s2), scale, precision),
            Operation::Multiply => multiply(x, y, s1 + s2 - scale.min(s1 + s2), precision),
            Operation::Divide => divide(x, y, i32::from(scale) + i32::from(s2) - i32::from(s1), precision),
            Operation::Remainder => digits::remainder((x, s1), (y, s2), scale, precision),
        });
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_types_follow_flink() {
        let dec = |precision, scale| TypeKind::Decimal { precision, scale };
        let cases = [
            (Operation::Multiply, dec(3, 3), TypeKind::BigInt, dec(23, 3)),
            (Operation::Plus, dec(10, 2), dec(5, 3), dec(12, 3)),
            (Operation::Minus, dec(10, 2), TypeKind::Int, dec(13, 2)),
            (Operation::Divide, dec(10, 2), dec(5, 3), dec(19, 8)),
            (Operation::Divide, dec(38, 10), dec(38, 10), dec(38, 6)),
            (Operation::Multiply, dec(38, 10), dec(38, 10), dec(38, 6)),
            (Operation::Remainder, dec(10, 2), dec(5, 3), dec(5, 3)),
        ];
        for (operation, a, b, expected) in cases {
            assert_eq!(result_type(operation, &a, &b), expected, "{operation:?} of {a} and {b}");
        }
    }
}
