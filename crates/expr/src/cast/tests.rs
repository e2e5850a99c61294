//! A table of casts: value, target, text of the result.

use wiesel_core::types::MAX_LENGTH;
use wiesel_core::{DataType, Field, TypeKind, Value};

use crate::function::testing::{Arg, b, context, d, dec, i, ints, l, map, null_s, of, s, ts};
use crate::{Evaluator, ScalarExpr};

use super::*;

const STRING: TypeKind = TypeKind::VarChar(MAX_LENGTH);

fn cast_in(zone: &str, arg: &Arg, to: &TypeKind, is_try: bool) -> String {
    let data_type = DataType::new(arg.0.clone());
    let literal = ScalarExpr::Literal { value: arg.1.clone(), data_type };
    let cast = ScalarExpr::Cast { input: Box::new(literal), data_type: DataType::new(to.clone()), is_try };
    assert!(is_castable(&DataType::new(arg.0.clone()), &DataType::new(to.clone())), "{} to {to}", arg.0);
    let mut context = context();
    context.session.time_zone = zone.into();
    let schema = wiesel_core::Schema::new(Vec::new());
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(1));
    let batch =
        arrow_array::RecordBatch::try_new_with_options(schema.arrow().clone(), vec![], &options).expect("one row");
    match Evaluator::new(cast).evaluate(&batch, &context) {
        Err(e) => format!("error: {}", e.message()),
        Ok(array) => {
            let mut out = String::new();
            print::write_value(&mut out, &array, to, 0, &Zone::new(zone).expect("a zone")).expect("text");
            out
        }
    }
}

fn check(cases: &[(Arg, TypeKind, &str)]) {
    for (arg, to, expected) in cases {
        assert_eq!(cast_in("UTC", arg, to, false), *expected, "{arg:?} to {to}");
    }
}

#[test]
fn numbers_and_text_cast_as_in_flink() {
    let decimal = |precision, scale| TypeKind::Decimal { precision, scale };
    check(&[
        (s("1.234"), TypeKind::Int, "1"),
        (s("abc"), TypeKind::Int, "error: cannot cast `abc` from STRING to INT"),
        (s("300"), TypeKind::TinyInt, "error: cannot cast `300` from STRING to TINYINT"),
        (s("12"), TypeKind::BigInt, "12"),
        (s("1e3"), TypeKind::Double, "1000.0"),
        (s("Yes"), TypeKind::Boolean, "TRUE"),
        (s(""), TypeKind::Boolean, "error: cannot cast `` from STRING to BOOLEAN"),
        (s("9.87"), decimal(5, 3), "9.870"),
        (s("1234"), decimal(3, 0), "error: cannot cast `1234` from STRING to DECIMAL(3, 0)"),
        (l(4_294_967_297), TypeKind::Int, "1"),
        (d(1e20), TypeKind::BigInt, "9223372036854775807"),
        (d(-3.9), TypeKind::Int, "-3"),
        (d(1.005), decimal(5, 2), "1.01"),
        (dec(195, 3, 2), TypeKind::Int, "1"),
        (dec(195, 3, 2), decimal(3, 1), "2.0"),
        (dec(195, 3, 2), TypeKind::Double, "1.95"),
        (i(5), decimal(3, 2), "5.00"),
        (i(50), decimal(3, 2), "NULL"),
        (i(2), TypeKind::Boolean, "TRUE"),
        (b(true), TypeKind::Int, "1"),
        (b(true), STRING, "TRUE"),
        (d(1e10), STRING, "1.0E10"),
        (dec(9870, 5, 3), STRING, "9.870"),
        (s("abc"), TypeKind::Char(5), "abc  "),
        (s("abcdef"), TypeKind::VarChar(3), "abc"),
        (s("äöü"), TypeKind::VarChar(2), "äö"),
        (null_s(), TypeKind::Int, "NULL"),
    ]);
}

#[test]
fn times_cast_as_in_flink() {
    check(&[
        (s("2021-09-24 12:34:56.1"), TypeKind::Timestamp(3), "2021-09-24 12:34:56.100"),
        (s("2021-09-24"), TypeKind::Timestamp(0), "2021-09-24 00:00:00"),
        (s("x"), TypeKind::Date, "error: cannot cast `x` from STRING to DATE"),
        (s("12:34:56.789"), TypeKind::Time(3), "12:34:56.789"),
        (ts("2021-09-24 12:34:56.789"), TypeKind::Timestamp(0), "2021-09-24 12:34:56"),
        (ts("2021-09-24 12:34:56.789"), TypeKind::Timestamp(9), "2021-09-24 12:34:56.789000000"),
        (ts("2021-09-24 12:34:56.789"), TypeKind::Date, "2021-09-24"),
        (ts("1969-12-31 23:59:59.999"), TypeKind::Date, "1970-01-01"),
        (ts("2021-09-24 12:34:56.789"), TypeKind::Time(0), "12:34:56"),
        (of(TypeKind::Date, "2021-09-24"), TypeKind::Timestamp(3), "2021-09-24 00:00:00.000"),
        (ts("2021-09-24 12:34:56.789"), STRING, "2021-09-24 12:34:56.789"),
    ]);
    let wall = ts("2024-07-01 12:00:00");
    let text = |zone| cast_in(zone, &wall, &TypeKind::TimestampLtz(3), false);
    assert_eq!(text("Europe/Paris"), "2024-07-01 12:00:00.000");
    let instant = Arg(TypeKind::TimestampLtz(3), Value::Timestamp(1_719_835_200_000));
    assert_eq!(cast_in("Europe/Paris", &instant, &TypeKind::Timestamp(3), false), "2024-07-01 14:00:00.000");
    assert_eq!(cast_in("+08:00", &instant, &STRING, false), "2024-07-01 20:00:00.000");
    assert_eq!(cast_in("UTC", &s("9999-01-01"), &TypeKind::Timestamp(9), false).get(..6), Some("error:"));
}

#[test]
fn nested_values_cast_part_by_part_and_print() {
    let row = TypeKind::Row(vec![Field::new("a", DataType::int()), Field::new("b", DataType::string())]);
    let other = TypeKind::Row(vec![Field::new("x", DataType::string()), Field::new("y", DataType::string())]);
    let value = Arg(row, Value::Row(vec![Value::Null, Value::String("abc".into())]));
    let array = |kind| TypeKind::Array(Box::new(DataType::new(kind)));
    check(&[
        (ints(&[None, Some(456)]), STRING, "[NULL, 456]"),
        (ints(&[None, Some(456)]), array(STRING), "[NULL, 456]"),
        (map(&[("a", Some("1")), ("b", None)]), STRING, "{a=1, b=NULL}"),
        (value.clone(), STRING, "(NULL, abc)"),
        (value, other, "(NULL, abc)"),
    ]);
}

#[test]
fn failures_become_null_where_asked() {
    assert_eq!(cast_in("UTC", &s("abc"), &TypeKind::Int, true), "NULL");
    let session = Session { time_zone: "UTC".into(), legacy_cast: true };
    let array: ArrayRef = Arc::new(arrow_array::StringArray::from(vec!["x", "1"]));
    let caster = Caster::new(DataType::string(), DataType::int(), false);
    let cast = caster.cast(&array, &session).expect("legacy casts do not fail");
    assert_eq!((cast.is_null(0), cast.is_null(1)), (true, false));
}

#[test]
fn implicit_casts_are_those_of_flink() {
    let decimal = TypeKind::Decimal { precision: 10, scale: 2 };
    let cases = [
        (TypeKind::Int, TypeKind::BigInt, true),
        (TypeKind::BigInt, TypeKind::Int, false),
        (TypeKind::BigInt, TypeKind::Double, true),
        (TypeKind::Double, decimal.clone(), true),
        (TypeKind::Double, TypeKind::Float, false),
        (TypeKind::Char(3), STRING, true),
        (STRING, TypeKind::Char(3), false),
        (STRING, TypeKind::Int, false),
        (TypeKind::Int, STRING, false),
        (TypeKind::Timestamp(3), TypeKind::TimestampLtz(3), true),
        (TypeKind::Timestamp(3), TypeKind::Date, true),
        (TypeKind::Date, TypeKind::Timestamp(3), false),
        (TypeKind::Null, TypeKind::Date, true),
    ];
    for (from, to, expected) in cases {
        assert_eq!(is_implicit(&DataType::new(from.clone()), &DataType::new(to.clone())), expected, "{from} to {to}");
    }
    assert!(!is_castable(&DataType::int(), &DataType::new(TypeKind::Timestamp(3))));
    assert!(!is_castable(&DataType::new(TypeKind::TimestampLtz(3)), &DataType::bigint()));
}
