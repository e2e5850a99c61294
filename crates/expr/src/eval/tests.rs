//! What reaches an operand, and the law that any split of a batch gives the same as the whole.

use arrow_array::RecordBatchOptions;
use proptest::prelude::*;
use wiesel_core::{Field, Schema};

use super::*;
use crate::function::testing::context;
use crate::function::{Argument, lookup};

fn column(index: usize, data_type: DataType) -> ScalarExpr {
    ScalarExpr::Column { index, data_type }
}

fn int(value: i64) -> ScalarExpr {
    ScalarExpr::Literal { value: Value::Int(value), data_type: DataType::not_null(TypeKind::Int) }
}

fn text(value: &str) -> ScalarExpr {
    ScalarExpr::Literal { value: Value::String(value.into()), data_type: DataType::string() }
}

fn call(name: &str, args: Vec<ScalarExpr>) -> ScalarExpr {
    let function = lookup(name).expect("a function");
    let types: Vec<DataType> = args.iter().map(ScalarExpr::data_type).collect();
    let arguments: Vec<Argument<'_>> = types.iter().map(|data_type| Argument { data_type, literal: None }).collect();
    let signature = function.bind(&arguments).expect("the call binds");
    let args = args
        .into_iter()
        .zip(&signature.args)
        .map(|(arg, wanted)| {
            if arg.data_type().kind == wanted.kind {
                return arg;
            }
            ScalarExpr::Cast { input: Box::new(arg), data_type: wanted.clone(), is_try: false }
        })
        .collect();
    ScalarExpr::Call { function, args, data_type: signature.returns }
}

/// Columns `a INT`, `b INT`, `s STRING`.
fn batch(rows: &[(Option<i64>, Option<i64>, Option<&str>)]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("a", DataType::int()),
        Field::new("b", DataType::int()),
        Field::new("s", DataType::string()),
    ]);
    let or_null = |v: Option<i64>| v.map_or(Value::Null, Value::Int);
    let a: Vec<Value> = rows.iter().map(|r| or_null(r.0)).collect();
    let b: Vec<Value> = rows.iter().map(|r| or_null(r.1)).collect();
    let s: Vec<Value> = rows.iter().map(|r| r.2.map_or(Value::Null, |s| Value::String(s.into()))).collect();
    let columns = vec![
        wiesel_core::value::column(&TypeKind::Int, &a),
        wiesel_core::value::column(&TypeKind::Int, &b),
        wiesel_core::value::column(&DataType::string().kind, &s),
    ];
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options).expect("the columns fit")
}

fn values(expr: &ScalarExpr, batch: &RecordBatch) -> Result<Vec<Value>> {
    let column = Evaluator::new(expr.clone()).evaluate(batch, &context())?;
    assert_eq!(column.len(), batch.num_rows());
    Ok((0..column.len()).map(|row| Value::from_array(&column, &expr.data_type(), row)).collect())
}

fn a() -> ScalarExpr {
    column(0, DataType::int())
}

fn b() -> ScalarExpr {
    column(1, DataType::int())
}

/// `10 / b`, which fails where b is 0.
fn quotient() -> ScalarExpr {
    call("/", vec![int(10), b()])
}

#[test]
fn and_or_case_and_coalesce_evaluate_only_what_is_reached() {
    let rows =
        batch(&[(Some(1), Some(0), None), (Some(2), Some(5), None), (None, Some(2), None), (Some(2), None, None)]);
    let is_nonzero = || call("<>", vec![b(), int(0)]);
    let is_two = || call("=", vec![quotient(), int(2)]);
    let t = Value::Boolean(true);
    let f = Value::Boolean(false);
    let and = ScalarExpr::And(vec![is_nonzero(), is_two()]);
    assert_eq!(values(&and, &rows).expect("guarded"), [f.clone(), t.clone(), f.clone(), Value::Null]);
    let or = ScalarExpr::Or(vec![call("=", vec![b(), int(0)]), is_two()]);
    assert_eq!(values(&or, &rows).expect("guarded"), [t.clone(), t, f, Value::Null]);
    let case = ScalarExpr::Case {
        branches: vec![(is_nonzero(), quotient()), (call("IS NULL", vec![b()]), int(-1))],
        otherwise: None,
        data_type: DataType::int(),
    };
    let expected = [Value::Null, Value::Int(2), Value::Int(5), Value::Int(-1)];
    assert_eq!(values(&case, &rows).expect("guarded"), expected);
    let coalesce = ScalarExpr::Coalesce { args: vec![a(), quotient()], data_type: DataType::int() };
    let expected = [Value::Int(1), Value::Int(2), Value::Int(5), Value::Int(2)];
    assert_eq!(values(&coalesce, &rows).expect("guarded"), expected);
    let unguarded = values(&is_two(), &rows).expect_err("a row divides by 0");
    assert_eq!(unguarded.message(), "division by zero in `10 / 0`");
}

#[test]
fn three_valued_logic_holds_for_all_pairs() {
    let literal = |v: Option<bool>| ScalarExpr::Literal {
        value: v.map_or(Value::Null, Value::Boolean),
        data_type: DataType::boolean(),
    };
    let all = [Some(true), Some(false), None];
    let rows = batch(&[(None, None, None)]);
    for left in all {
        for right in all {
            let and = match (left, right) {
                (Some(false), _) | (_, Some(false)) => Value::Boolean(false),
                (Some(true), Some(true)) => Value::Boolean(true),
                _ => Value::Null,
            };
            let or = match (left, right) {
                (Some(true), _) | (_, Some(true)) => Value::Boolean(true),
                (Some(false), Some(false)) => Value::Boolean(false),
                _ => Value::Null,
            };
            let operands = || vec![literal(left), literal(right)];
            assert_eq!(values(&ScalarExpr::And(operands()), &rows).expect("total"), [and]);
            assert_eq!(values(&ScalarExpr::Or(operands()), &rows).expect("total"), [or]);
        }
    }
}

#[test]
fn a_filter_keeps_only_true() {
    let rows = batch(&[(Some(1), None, None), (None, None, None), (Some(0), None, None)]);
    let mut filter = Evaluator::new(call("=", vec![a(), int(1)]));
    let kept = filter.evaluate_filter(&rows, &context()).expect("a BOOLEAN");
    assert_eq!((0..3).map(|i| kept.is_valid(i) && kept.value(i)).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(kept.null_count(), 0);
    let mut not_boolean = Evaluator::new(a());
    assert!(not_boolean.evaluate_filter(&rows, &context()).is_err());
}

#[test]
fn a_field_is_null_where_its_row_is() {
    let fields = vec![Field::new("x", DataType::int())];
    let row = TypeKind::Row(fields.clone());
    let column_of_rows = wiesel_core::value::column(&row, &[Value::Row(vec![Value::Int(1)]), Value::Null]);
    let schema = Schema::new(vec![Field::new("r", DataType::new(row.clone()))]);
    let rows = RecordBatch::try_new(schema.arrow().clone(), vec![column_of_rows]).expect("one column");
    let field =
        ScalarExpr::Field { input: Box::new(column(0, DataType::new(row))), index: 0, data_type: DataType::int() };
    assert_eq!(values(&field, &rows).expect("total"), [Value::Int(1), Value::Null]);
}

#[test]
fn constants_fold_and_failures_stay() {
    let session = context().session;
    let folded = crate::fold(call("+", vec![int(1), call("*", vec![int(2), int(3)])]), &session);
    assert!(matches!(folded, ScalarExpr::Literal { value: Value::Int(7), .. }), "{folded:?}");
    let failing = crate::fold(call("/", vec![int(1), int(0)]), &session);
    assert!(matches!(failing, ScalarExpr::Call { .. }), "{failing:?}");
    let volatile = crate::fold(call("NOW", vec![]), &session);
    assert!(matches!(volatile, ScalarExpr::Call { .. }), "{volatile:?}");
    let partly = crate::fold(call("+", vec![a(), call("+", vec![int(1), int(1)])]), &session);
    let ScalarExpr::Call { args, .. } = &partly else { panic!("{partly:?}") };
    assert!(matches!(args[1], ScalarExpr::Literal { value: Value::Int(2), .. }), "{partly:?}");
}

/// Expressions that go through filtering, scattering, constants, patterns and casts.
fn expressions() -> Vec<ScalarExpr> {
    let s = || column(2, DataType::string());
    let is_nonzero = || call("<>", vec![b(), int(0)]);
    vec![
        ScalarExpr::And(vec![is_nonzero(), call(">", vec![quotient(), a()])]),
        ScalarExpr::Or(vec![
            call("=", vec![b(), int(0)]),
            call("<", vec![quotient(), a()]),
            call("IS NULL", vec![s()]),
        ]),
        ScalarExpr::Case {
            branches: vec![(is_nonzero(), quotient()), (call("LIKE", vec![s(), text("%1_")]), a())],
            otherwise: Some(Box::new(int(-7))),
            data_type: DataType::int(),
        },
        ScalarExpr::Coalesce { args: vec![a(), b(), int(9)], data_type: DataType::int() },
        call("REGEXP_EXTRACT", vec![s(), text("([0-9]+)"), int(1)]),
        call("CONCAT_WS", vec![text("-"), s(), text("x"), s()]),
        call("IN", vec![a(), int(1), int(2), int(3)]),
        call("GREATEST", vec![a(), b()]),
        call("ARRAY", vec![a(), int(5), b()]),
        ScalarExpr::Cast { input: Box::new(s()), data_type: DataType::int(), is_try: true },
        call("SUBSTRING", vec![s(), int(2), int(3)]),
    ]
}

proptest! {
    #[test]
    fn any_split_of_a_batch_gives_the_same_as_the_whole(
        rows in prop::collection::vec(
            (prop::option::of(-3_i64..4), prop::option::of(-3_i64..4), prop::option::of("[0-9a-b ]{0,4}")),
            0..40,
        ),
        cuts in prop::collection::vec(0_usize..40, 0..4),
    ) {
        let rows: Vec<_> = rows.iter().map(|(a, b, s)| (*a, *b, s.as_deref())).collect();
        let whole = batch(&rows);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(rows.len())).collect();
        cuts.extend([0, rows.len()]);
        cuts.sort_unstable();
        for expr in expressions() {
            let expected = values(&expr, &whole).expect("the expression is guarded");
            let mut evaluator = Evaluator::new(expr.clone());
            let mut found = Vec::new();
            for cut in cuts.windows(2) {
                let part = whole.slice(cut[0], cut[1] - cut[0]);
                let column = evaluator.evaluate(&part, &context()).expect("the expression is guarded");
                found.extend((0..column.len()).map(|row| Value::from_array(&column, &expr.data_type(), row)));
            }
            prop_assert_eq!(&found, &expected, "{:?}", expr);
        }
    }
}
