//! ABS, SIGN, SQRT, LN and the like: numbers to numbers, row by row.
//!
//! What is computed in DOUBLE takes any number and gives Java's answers: LN(0) is -Infinity, SQRT(-1) is NaN.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{ArrayRef, Float64Array};
use wiesel_core::{Error, Result, TypeKind};

use crate::cast::decimal::power;
use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, strict};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::{map_numbers, zip_numbers};

macro_rules! of_double {
    ($static:ident, $name:literal, $doc:literal, $op:expr) => {
        pub(crate) static $static: Plain = Plain::new(
            $name,
            concat!($name, "(number): ", $doc),
            |args| double_to_double(args, concat!($name, " takes (number)")),
            |args, _, rows, _| Ok(Arc::new(map_numbers::<Float64Type, Float64Type>(&args[0], rows, $op))),
        )
        .total();
    };
}

of_double!(SQRT, "SQRT", "the square root", f64::sqrt);
of_double!(SINH, "SINH", "the hyperbolic sine", f64::sinh);
of_double!(COSH, "COSH", "the hyperbolic cosine", f64::cosh);
of_double!(TANH, "TANH", "the hyperbolic tangent", f64::tanh);
of_double!(COT, "COT", "the cotangent", |x: f64| 1.0 / x.tan());
of_double!(LN, "LN", "the natural logarithm", f64::ln);
of_double!(LOG10, "LOG10", "the logarithm to base 10", f64::log10);
of_double!(LOG2, "LOG2", "the logarithm to base 2", f64::log2);
of_double!(EXP, "EXP", "e to that power", f64::exp);
of_double!(SIN, "SIN", "the sine of an angle in radians", f64::sin);
of_double!(COS, "COS", "the cosine of an angle in radians", f64::cos);
of_double!(TAN, "TAN", "the tangent of an angle in radians", f64::tan);
of_double!(ASIN, "ASIN", "the angle of that sine", f64::asin);
of_double!(ACOS, "ACOS", "the angle of that cosine", f64::acos);
of_double!(ATAN, "ATAN", "the angle of that tangent", f64::atan);
of_double!(DEGREES, "DEGREES", "an angle of radians in degrees", f64::to_degrees);
of_double!(RADIANS, "RADIANS", "an angle of degrees in radians", f64::to_radians);

fn double_to_double(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    Ok(strict(accept(args, &[Param::Double], 1, usage)?, TypeKind::Double))
}

pub(crate) static POWER: Plain = Plain::new(
    "POWER",
    "POWER(number1, number2): the first number to the power of the second",
    |args| Ok(strict(accept(args, &[Param::Double; 2], 2, "POWER takes (number, number)")?, TypeKind::Double)),
    |args, _, rows, _| Ok(doubles(&args[0], &args[1], rows, f64::powf)),
)
.total();

pub(crate) static ATAN2: Plain = Plain::new(
    "ATAN2",
    "ATAN2(number1, number2): the angle of the point (number2, number1)",
    |args| Ok(strict(accept(args, &[Param::Double; 2], 2, "ATAN2 takes (number, number)")?, TypeKind::Double)),
    |args, _, rows, _| Ok(doubles(&args[0], &args[1], rows, f64::atan2)),
)
.total();

pub(crate) static LOG: Plain = Plain::new(
    "LOG",
    "LOG([base,] number): the logarithm to a base, or the natural one",
    |args| Ok(strict(accept(args, &[Param::Double; 2], 1, "LOG takes ([base,] number)")?, TypeKind::Double)),
    |args, _, rows, _| match args {
        [base, number] => Ok(doubles(base, number, rows, |base, number| number.ln() / base.ln())),
        _ => Ok(Arc::new(map_numbers::<Float64Type, Float64Type>(&args[0], rows, f64::ln))),
    },
)
.total();

fn doubles(a: &Operand, b: &Operand, rows: usize, op: impl Fn(f64, f64) -> f64) -> ArrayRef {
    Arc::new(zip_numbers::<Float64Type, Float64Type, Float64Type>(a, b, rows, op))
}

pub(crate) static PI: Plain = Plain::new(
    "PI",
    "PI(): 3.141592653589793",
    |args| Ok(strict(accept(args, &[], 0, "PI takes no argument")?, TypeKind::Double)),
    |_, _, rows, _| Ok(Arc::new(Float64Array::from(vec![std::f64::consts::PI; rows]))),
)
.total();

pub(crate) static E: Plain = Plain::new(
    "E",
    "E(): 2.718281828459045",
    |args| Ok(strict(accept(args, &[], 0, "E takes no argument")?, TypeKind::Double)),
    |_, _, rows, _| Ok(Arc::new(Float64Array::from(vec![std::f64::consts::E; rows]))),
)
.total();

fn same_number(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    let types = accept(args, &[Param::Number], 1, usage)?;
    let returns = types[0].kind.clone();
    Ok(strict(types, returns))
}

pub(crate) static ABS: Plain =
    Plain::new("ABS", "ABS(number): the number without its sign", |args| same_number(args, "ABS takes (number)"), abs)
        .total();

pub(crate) static SIGN: Plain = Plain::new(
    "SIGN",
    "SIGN(number): -1, 0 or 1, in the number's type",
    |args| same_number(args, "SIGN takes (number)"),
    sign,
)
.total();

fn same<T: ArrowPrimitiveType>(args: &[Operand], rows: usize, op: impl Fn(T::Native) -> T::Native) -> ArrayRef {
    Arc::new(map_numbers::<T, T>(&args[0], rows, op))
}

fn abs(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    Ok(match &call.returns.kind {
        TypeKind::TinyInt => same::<Int8Type>(args, rows, i8::wrapping_abs),
        TypeKind::SmallInt => same::<Int16Type>(args, rows, i16::wrapping_abs),
        TypeKind::Int => same::<Int32Type>(args, rows, i32::wrapping_abs),
        TypeKind::BigInt => same::<Int64Type>(args, rows, i64::wrapping_abs),
        TypeKind::Float => same::<Float32Type>(args, rows, f32::abs),
        TypeKind::Double => same::<Float64Type>(args, rows, f64::abs),
        kind @ TypeKind::Decimal { .. } => {
            let values = map_numbers::<Decimal128Type, Decimal128Type>(&args[0], rows, i128::wrapping_abs);
            Arc::new(values.with_data_type(kind.to_arrow()))
        }
        other => return Err(Error::internal(format!("ABS was bound to {other}"))),
    })
}

fn sign(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    Ok(match &call.returns.kind {
        TypeKind::TinyInt => same::<Int8Type>(args, rows, i8::signum),
        TypeKind::SmallInt => same::<Int16Type>(args, rows, i16::signum),
        TypeKind::Int => same::<Int32Type>(args, rows, i32::signum),
        TypeKind::BigInt => same::<Int64Type>(args, rows, i64::signum),
        TypeKind::Float => same::<Float32Type>(args, rows, |v| if v == 0.0 || v.is_nan() { v } else { v.signum() }),
        TypeKind::Double => same::<Float64Type>(args, rows, |v| if v == 0.0 || v.is_nan() { v } else { v.signum() }),
        kind @ TypeKind::Decimal { scale, .. } => {
            let one = power(*scale);
            let values =
                map_numbers::<Decimal128Type, Decimal128Type>(&args[0], rows, |v| v.signum().wrapping_mul(one));
            Arc::new(values.with_data_type(kind.to_arrow()))
        }
        other => return Err(Error::internal(format!("SIGN was bound to {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, d, dec, i, l, null, s};
    use wiesel_core::TypeKind;

    #[test]
    fn numbers_give_javas_answers() {
        check(&[
            ("ABS", vec![i(-5)], "5"),
            ("ABS", vec![i(i32::MIN)], "-2147483648"),
            ("ABS", vec![d(-1.5)], "1.5"),
            ("ABS", vec![dec(-150, 3, 2)], "1.50"),
            ("ABS", vec![null(TypeKind::Int)], "NULL"),
            ("ABS", vec![s("1")], "bind: ABS takes (number)"),
            ("SIGN", vec![l(-7)], "-1"),
            ("SIGN", vec![d(0.0)], "0.0"),
            ("SIGN", vec![dec(-150, 3, 2)], "-1.00"),
            ("SQRT", vec![i(9)], "3.0"),
            ("SQRT", vec![i(-1)], "NaN"),
            ("LN", vec![i(0)], "-Infinity"),
            ("LOG10", vec![i(1000)], "3.0"),
            ("LOG2", vec![i(8)], "3.0"),
            ("LOG", vec![i(2), i(8)], "3.0"),
            ("LOG", vec![i(1)], "0.0"),
            ("EXP", vec![i(0)], "1.0"),
            ("POWER", vec![i(2), dec(30, 2, 1)], "8.0"),
            ("POWER", vec![i(2), null(TypeKind::Int)], "NULL"),
            ("COS", vec![i(0)], "1.0"),
            ("PI", vec![], "3.141592653589793"),
        ]);
    }
}
