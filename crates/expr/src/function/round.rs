//! ROUND, TRUNCATE, FLOOR, CEIL: fewer digits.
//!
//! ROUND is HALF_UP on the decimal text of a DOUBLE, so ROUND(1.005, 2) is 1.01 as in Flink, whatever the binary digits say. With a
//! literal number of digits a DECIMAL's type shrinks to them: DECIMAL(10, 5) rounded to 2 digits is DECIMAL(8, 2).

use std::sync::Arc;

use arrow_array::builder::{Decimal128Builder, Float64Builder};
use arrow_array::types::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{ArrayRef, PrimitiveArray};
use wiesel_core::{DataType, Error, Result, TypeKind, Value};

use crate::cast::decimal::{self, divide_rounding, fit, power, rescale};
use crate::cast::number::double_to_decimal;
use crate::function::binding::{Param, accept, any_nullable, strict};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::map_numbers;

pub(crate) static ROUND: Plain = Plain::new(
    "ROUND",
    "ROUND(number [, digits]): rounded half up to so many digits behind the point, 0 when not given",
    |args| bind_digits(args, "ROUND takes (number [, INT])"),
    |args, call, rows, _| to_digits(args, call, rows, Mode::HalfUp),
)
.total();

pub(crate) static TRUNCATE: Plain = Plain::new(
    "TRUNCATE",
    "TRUNCATE(number [, digits]): cut to so many digits behind the point, 0 when not given",
    |args| bind_digits(args, "TRUNCATE takes (number [, INT])"),
    |args, call, rows, _| to_digits(args, call, rows, Mode::Down),
)
.total();

pub(crate) static FLOOR: Plain = Plain::new(
    "FLOOR",
    "FLOOR(number): the largest whole number that is not greater",
    |args| bind_whole(args, "FLOOR takes (number), or (time TO unit)"),
    |args, call, rows, _| to_whole(args, call, rows, f32::floor, f64::floor, i128::div_euclid),
)
.total();

pub(crate) static CEIL: Plain = Plain::new(
    "CEIL",
    "CEIL(number): the smallest whole number that is not less",
    |args| bind_whole(args, "CEIL takes (number), or (time TO unit)"),
    |args, call, rows, _| to_whole(args, call, rows, f32::ceil, f64::ceil, ceil_div),
)
.total();

pub(crate) static CEILING: Plain = Plain::new(
    "CEILING",
    "CEILING(number): the smallest whole number that is not less",
    |args| bind_whole(args, "CEILING takes (number), or (time TO unit)"),
    |args, call, rows, _| to_whole(args, call, rows, f32::ceil, f64::ceil, ceil_div),
)
.total();

fn ceil_div(value: i128, divisor: i128) -> i128 {
    -((-value).div_euclid(divisor))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    HalfUp,
    Down,
}

fn bind_digits(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    let types = accept(args, &[Param::Number, Param::Int], 1, usage)?;
    let digits = match args.get(1) {
        None => Some(0),
        Some(arg) => match arg.literal {
            Some(Value::Int(digits)) => Some(*digits),
            _ => None,
        },
    };
    let kind = match (&types[0].kind, digits) {
        (TypeKind::Decimal { precision, scale }, Some(digits)) if digits < i64::from(*scale) => {
            let kept = u8::try_from(digits).unwrap_or(0);
            TypeKind::Decimal { precision: (1 + precision - scale + kept).min(decimal::PRECISION_MAX), scale: kept }
        }
        (kind, _) => kind.clone(),
    };
    let nullable = any_nullable(&types);
    Ok(Signature { args: types, returns: DataType { kind, nullable } })
}

/// Leaves `digits` digits behind the point of a number with `scale` of them; the scale stays.
fn keep_digits(value: i128, scale: i32, digits: i32, mode: Mode) -> i128 {
    let dropped = scale.saturating_sub(digits);
    if dropped <= 0 {
        return value;
    }
    let Ok(dropped) = u8::try_from(dropped) else {
        return 0;
    };
    if dropped > decimal::PRECISION_MAX {
        return 0;
    }
    let divisor = power(dropped);
    let kept = if mode == Mode::HalfUp { divide_rounding(value, divisor) } else { value / divisor };
    kept.checked_mul(divisor).unwrap_or(value)
}

fn to_digits(args: &[Operand], call: &Signature, rows: usize, mode: Mode) -> Result<ArrayRef> {
    let digits = args.get(1).map(Operand::numbers::<Int32Type>);
    let digits = |row: usize| digits.map_or(Some(0), |d| d.get(row));
    macro_rules! integers {
        ($type:ty) => {{
            let values = args[0].numbers::<$type>();
            let rounded: PrimitiveArray<$type> =
                (0..rows).map(|row| Some(keep_digits(values.get(row)?.into(), 0, digits(row)?, mode) as _)).collect();
            Arc::new(rounded)
        }};
    }
    Ok(match &call.args[0].kind {
        TypeKind::TinyInt => integers!(Int8Type),
        TypeKind::SmallInt => integers!(Int16Type),
        TypeKind::Int => integers!(Int32Type),
        TypeKind::BigInt => integers!(Int64Type),
        TypeKind::Float => {
            let values = args[0].numbers::<Float32Type>();
            let rounded: PrimitiveArray<Float32Type> = (0..rows)
                .map(|row| {
                    // The text of the FLOAT, not of its DOUBLE, holds the digits that the reader sees.
                    let value = values.get(row)?;
                    let mut buffer = ryu::Buffer::new();
                    let exact: f64 = if value.is_finite() {
                        buffer.format_finite(value).parse().unwrap_or(value.into())
                    } else {
                        value.into()
                    };
                    Some(round_double(exact, digits(row)?, mode) as f32)
                })
                .collect();
            Arc::new(rounded)
        }
        TypeKind::Double => {
            let values = args[0].numbers::<Float64Type>();
            let mut out = Float64Builder::with_capacity(rows);
            for row in 0..rows {
                out.append_option(values.get(row).zip(digits(row)).map(|(v, d)| round_double(v, d, mode)));
            }
            Arc::new(out.finish())
        }
        TypeKind::Decimal { scale: from, .. } => {
            let TypeKind::Decimal { precision, scale } = call.returns.kind else {
                return Err(Error::internal(format!("a DECIMAL rounds to {}", call.returns)));
            };
            let values = args[0].numbers::<Decimal128Type>();
            let mut out = Decimal128Builder::with_capacity(rows).with_data_type(call.returns.to_arrow());
            for row in 0..rows {
                out.append_option(values.get(row).zip(digits(row)).and_then(|(value, digits)| {
                    rescale(keep_digits(value, (*from).into(), digits, mode), *from, scale, precision)
                }));
            }
            Arc::new(out.finish())
        }
        other => return Err(Error::internal(format!("{other} does not round"))),
    })
}

/// Digits behind the point at which the decimal text of a double is taken.
const DOUBLE_SCALE: u8 = 18;

fn round_double(value: f64, digits: i32, mode: Mode) -> f64 {
    if !value.is_finite() || digits >= DOUBLE_SCALE.into() {
        return value;
    }
    if let Some(exact) = double_to_decimal(value, decimal::PRECISION_MAX, DOUBLE_SCALE) {
        let rounded = keep_digits(exact, DOUBLE_SCALE.into(), digits, mode);
        return decimal::to_double(rounded, DOUBLE_SCALE);
    }
    // More than 20 digits before the point: there is nothing behind it.
    match double_to_decimal(value, decimal::PRECISION_MAX, 0) {
        Some(exact) if digits < 0 => decimal::to_double(keep_digits(exact, 0, digits, mode), 0),
        _ => value,
    }
}

fn bind_whole(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    let types = accept(args, &[Param::Number], 1, usage)?;
    let returns = match &types[0].kind {
        TypeKind::Decimal { precision, .. } => TypeKind::Decimal { precision: *precision, scale: 0 },
        kind => kind.clone(),
    };
    Ok(strict(types, returns))
}

fn to_whole(
    args: &[Operand],
    call: &Signature,
    rows: usize,
    float: fn(f32) -> f32,
    double: fn(f64) -> f64,
    divide: fn(i128, i128) -> i128,
) -> Result<ArrayRef> {
    Ok(match &call.args[0].kind {
        TypeKind::Float => Arc::new(map_numbers::<Float32Type, Float32Type>(&args[0], rows, float)),
        TypeKind::Double => Arc::new(map_numbers::<Float64Type, Float64Type>(&args[0], rows, double)),
        TypeKind::Decimal { precision, scale } => {
            let (divisor, values) = (power(*scale), args[0].numbers::<Decimal128Type>());
            let mut out = Decimal128Builder::with_capacity(rows).with_data_type(call.returns.to_arrow());
            for row in 0..rows {
                out.append_option(values.get(row).and_then(|v| fit(divide(v, divisor), *precision)));
            }
            Arc::new(out.finish())
        }
        // Integers are whole.
        _ => return args[0].clone().into_column(rows),
    })
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, d, dec, i, l, null};
    use wiesel_core::TypeKind;

    #[test]
    fn digits_are_rounded_half_up_and_cut() {
        check(&[
            ("ROUND", vec![d(1.005), i(2)], "1.01"),
            ("ROUND", vec![d(-2.5)], "-3.0"),
            ("ROUND", vec![d(1234.567), i(-2)], "1200.0"),
            ("ROUND", vec![d(1e300), i(2)], "1.0E300"),
            ("ROUND", vec![d(f64::NAN), i(2)], "NaN"),
            ("ROUND", vec![i(155), i(-1)], "160"),
            ("ROUND", vec![l(155), i(3)], "155"),
            ("ROUND", vec![dec(12345, 5, 3), i(2)], "12.35"),
            ("ROUND", vec![dec(12345, 5, 3)], "12"),
            ("ROUND", vec![dec(12345, 5, 3), i(-1)], "10"),
            ("ROUND", vec![dec(99999, 5, 3), i(1)], "100.0"),
            ("ROUND", vec![d(1.5), null(TypeKind::Int)], "NULL"),
            ("TRUNCATE", vec![d(42.345), i(2)], "42.34"),
            ("TRUNCATE", vec![d(-42.9)], "-42.0"),
            ("TRUNCATE", vec![dec(-12399, 5, 3), i(1)], "-12.3"),
            ("FLOOR", vec![d(-1.5)], "-2.0"),
            ("FLOOR", vec![dec(-150, 3, 2)], "-2"),
            ("FLOOR", vec![i(3)], "3"),
            ("CEIL", vec![dec(150, 3, 2)], "2"),
            ("CEIL", vec![dec(-150, 3, 2)], "-1"),
            ("CEILING", vec![d(1.2)], "2.0"),
            ("CEIL", vec![null(TypeKind::Double)], "NULL"),
        ]);
    }
}
