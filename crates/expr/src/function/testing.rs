//! One door for the tests of all functions: bind a call, evaluate it with constants, with columns, and with a mix, and compare the text
//! of the result. So every row of every table also checks that constants and columns agree and that NULL rows around do no harm.

use arrow_array::{RecordBatch, RecordBatchOptions};
use wiesel_core::{DataType, Field, Schema, TypeKind, Value};

use crate::cast::print::write_value;
use crate::function::{Argument, lookup};
use crate::time::zone::Zone;
use crate::{EvalContext, Evaluator, ScalarExpr, Session};

/// An argument of a test call.
#[derive(Debug, Clone)]
pub(crate) struct Arg(pub(crate) TypeKind, pub(crate) Value);

pub(crate) fn s(text: &str) -> Arg {
    Arg(DataType::string().kind, Value::String(text.to_owned()))
}
pub(crate) fn i(value: i32) -> Arg {
    Arg(TypeKind::Int, Value::Int(value.into()))
}
pub(crate) fn l(value: i64) -> Arg {
    Arg(TypeKind::BigInt, Value::Int(value))
}
pub(crate) fn d(value: f64) -> Arg {
    Arg(TypeKind::Double, Value::Double(value))
}
pub(crate) fn b(value: bool) -> Arg {
    Arg(TypeKind::Boolean, Value::Boolean(value))
}
/// A DECIMAL of digits without point.
pub(crate) fn dec(value: i128, precision: u8, scale: u8) -> Arg {
    Arg(TypeKind::Decimal { precision, scale }, Value::Decimal(value))
}
pub(crate) fn null(kind: TypeKind) -> Arg {
    Arg(kind, Value::Null)
}
pub(crate) fn null_s() -> Arg {
    null(DataType::string().kind)
}
/// Anything that text casts to.
pub(crate) fn of(kind: TypeKind, text: &str) -> Arg {
    let literal = ScalarExpr::Literal { value: Value::String(text.to_owned()), data_type: DataType::string() };
    let cast = ScalarExpr::Cast { input: Box::new(literal), data_type: DataType::new(kind.clone()), is_try: false };
    match crate::fold(cast, &context().session) {
        ScalarExpr::Literal { value, .. } => Arg(kind, value),
        _ => panic!("{text:?} is not a {kind}"),
    }
}
pub(crate) fn ts(text: &str) -> Arg {
    of(TypeKind::Timestamp(3), text)
}
pub(crate) fn date(text: &str) -> Arg {
    of(TypeKind::Date, text)
}
pub(crate) fn strings(items: &[Option<&str>]) -> Arg {
    let items = items.iter().map(|t| t.map_or(Value::Null, |t| Value::String(t.to_owned())));
    Arg(TypeKind::Array(Box::new(DataType::string())), Value::Array(items.collect()))
}
pub(crate) fn ints(items: &[Option<i64>]) -> Arg {
    let items = items.iter().map(|t| t.map_or(Value::Null, Value::Int));
    Arg(TypeKind::Array(Box::new(DataType::int())), Value::Array(items.collect()))
}
pub(crate) fn map(entries: &[(&str, Option<&str>)]) -> Arg {
    let entries = entries
        .iter()
        .map(|(k, v)| (Value::String((*k).to_owned()), v.map_or(Value::Null, |v| Value::String(v.to_owned()))));
    let key = DataType::string().with_nullable(false);
    Arg(TypeKind::Map(Box::new(key), Box::new(DataType::string())), Value::Map(entries.collect()))
}

/// A context in UTC at 2024-03-01 12:00:00.123.
pub(crate) fn context() -> EvalContext {
    EvalContext {
        now_ms: 1_709_294_400_123,
        seed: 7,
        watermark_ms: i64::MIN,
        session: Session { time_zone: "UTC".into(), legacy_cast: false },
    }
}

/// Builds the call as the binder would; an error says what the function takes.
pub(crate) fn build(name: &str, args: &[Arg], as_column: &dyn Fn(usize) -> bool) -> Result<ScalarExpr, String> {
    let function = lookup(name).unwrap_or_else(|| panic!("no function `{name}`"));
    let types: Vec<DataType> = args.iter().map(|a| DataType::new(a.0.clone())).collect();
    let arguments: Vec<Argument<'_>> =
        types.iter().zip(args).map(|(t, a)| Argument { data_type: t, literal: Some(&a.1) }).collect();
    let signature = function.bind(&arguments).map_err(|e| format!("bind: {}", e.expected))?;
    assert_eq!(signature.args.len(), args.len(), "{name} must type every argument");
    let exprs = args.iter().enumerate().zip(&signature.args).map(|((index, arg), wanted)| {
        let data_type = DataType::new(arg.0.clone());
        let leaf = if as_column(index) {
            ScalarExpr::Column { index, data_type: data_type.clone() }
        } else {
            ScalarExpr::Literal { value: arg.1.clone(), data_type: data_type.clone() }
        };
        if data_type.kind == wanted.kind {
            return leaf;
        }
        ScalarExpr::Cast { input: Box::new(leaf), data_type: wanted.clone(), is_try: false }
    });
    Ok(ScalarExpr::Call { function, args: exprs.collect(), data_type: signature.returns.clone() })
}

/// The text of the result; `NULL`, or `error: ...`, or `bind: ...`.
pub(crate) fn run(name: &str, args: &[Arg]) -> String {
    let mut results = Vec::new();
    // Bit i says whether argument i is a column.
    let masks = [0_usize, usize::MAX, 0b0101_0101, 0b1010_1010];
    for mask in masks {
        let expr = match build(name, args, &|index| mask >> index & 1 == 1) {
            Ok(expr) => expr,
            Err(refused) => return refused,
        };
        results.push(evaluate(&expr, args));
    }
    results.dedup();
    assert_eq!(results.len(), 1, "{name} of {args:?}: constants and columns disagree: {results:?}");
    results.remove(0)
}

/// Rows 0 and 2 hold the arguments, row 1 holds NULLs.
fn evaluate(expr: &ScalarExpr, args: &[Arg]) -> String {
    let fields: Vec<Field> =
        args.iter().enumerate().map(|(n, a)| Field::new(format!("c{n}"), DataType::new(a.0.clone()))).collect();
    let schema = Schema::new(fields);
    let columns =
        args.iter().map(|a| wiesel_core::value::column(&a.0, &[a.1.clone(), Value::Null, a.1.clone()])).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let batch = RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options)
        .expect("the columns have the schema's types");
    let mut evaluator = Evaluator::new(expr.clone());
    let empty = evaluator.evaluate(&batch.slice(0, 0), &context()).map(|a| a.len());
    assert!(matches!(empty, Ok(0)), "an empty batch gives no row: {empty:?}");
    match evaluator.evaluate(&batch, &context()) {
        Err(e) => format!("error: {}", e.message()),
        Ok(array) => {
            let text = |row| {
                let mut out = String::new();
                write_value(&mut out, &array, &expr.data_type().kind, row, &Zone::utc()).expect("text");
                out
            };
            assert_eq!(array.len(), 3);
            assert_eq!(text(0), text(2));
            text(0)
        }
    }
}

/// Checks a table of calls and the text of their results.
pub(crate) fn check(cases: &[(&str, Vec<Arg>, &str)]) {
    let mut wrong = Vec::new();
    for (name, args, expected) in cases {
        let found = run(name, args);
        if found != *expected {
            wrong.push(format!("{name}{args:?}\n   expected {expected}\n      found {found}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
