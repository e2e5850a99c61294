//! Functions in real processes: what goes wrong in one is an error of its row, and the rows around it have their results.
//!
//! The interpreter is `PYFLINK_EXECUTABLE`, which `cargo xtask test` sets to an environment with pyarrow, else the one in its cache, else
//! `python3` of the PATH.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use wiesel_core::{DataType, Result};
use wiesel_expr::foreign::{Foreign, ForeignCall, ForeignKind, ForeignSettings, OnRefused};
use wiesel_expr::{EvalContext, Evaluator, Projection, ScalarExpr, Session};
use wiesel_python::Python;

const MODULE: &str = r#"
import itertools, os, time
from pyflink.table import DataTypes, ScalarFunction, TableFunction, AggregateFunction
from pyflink.table.udf import udf, udtf, udaf, udtaf

@udf(input_types=[DataTypes.INT()], result_type=DataTypes.INT())
def twice(n):
    return n * 2

@udf(result_type=DataTypes.INT())
def same(n):
    return n

@udf(result_type=DataTypes.INT())
def below_hundred(n):
    if n >= 100:
        raise ValueError("too large")
    return n

@udf(result_type=DataTypes.INT())
def trouble(n):
    if n == 1:
        raise ValueError("one")
    if n == 2:
        os.kill(os.getpid(), 11)
    if n == 3:
        while True:
            pass
    if n == 4:
        return "four"
    if n == 5:
        return len(bytearray(10 << 30))
    if n == 6:
        os._exit(7)
    if n == 7:
        raise SystemExit(7)
    return n * 10

class Numbered(ScalarFunction):
    def open(self, context):
        self.start = int(context.get_job_parameter("start", "0"))
    def is_deterministic(self):
        return False
    def eval(self, n):
        self.start += 1
        return self.start

TICKETS = itertools.count(1)

@udf(result_type=DataTypes.INT(), deterministic=False)
def ticket(n):
    return next(TICKETS)

numbered = udf(Numbered(), result_type="INT")

@udf(result_type=DataTypes.STRING())
def without():
    return "x"

@udtaf(result_type=DataTypes.INT(), accumulator_type=DataTypes.INT())
def top(n):
    return n

@udf(result_type=DataTypes.STRING())
def uses_a_table(n):
    from pyflink.table import TableEnvironment
    return TableEnvironment.create(None)
"#;

struct World {
    _folder: tempfile::TempDir,
    python: Python,
    settings: BTreeMap<String, String>,
    on_refused: OnRefused,
}

impl World {
    fn new() -> World {
        let cache = std::env::var_os("WIESEL_CACHE").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/wiesel")));
        if let Some(python) = cache.map(|cache| cache.join("python-parquet/bin/python")).filter(|p| p.exists()) {
            wiesel_python::set_default_interpreter(&python);
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.py"), MODULE).unwrap();
        let python = Python::within(folder.path());
        World { _folder: folder, python, settings: BTreeMap::new(), on_refused: OnRefused::Fail }
    }

    fn with(mut self, key: &str, value: &str) -> World {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    fn on_refused(mut self, on_refused: OnRefused) -> World {
        self.on_refused = on_refused;
        self
    }

    fn settings(&self) -> ForeignSettings {
        ForeignSettings { values: self.settings.clone(), time_zone: "UTC".into(), on_refused: self.on_refused }
    }

    fn call(&self, class: &str, rows: &[Option<i32>]) -> Result<ArrayRef> {
        let (batch, context) = numbers(rows);
        Evaluator::new(self.expression(class, None)?).evaluate(&batch, &context)
    }

    /// Several expressions over one column, each a function of it or of another function of it.
    fn project(&self, calls: &[(&str, Option<&str>)], rows: &[i32]) -> Result<Vec<Vec<Option<i32>>>> {
        let expressions = calls.iter().map(|(class, inner)| {
            let inner = inner.map(|inner| self.expression(inner, None)).transpose()?;
            self.expression(class, inner)
        });
        let expressions = expressions.collect::<Result<Vec<_>>>()?;
        let rows: Vec<Option<i32>> = rows.iter().map(|n| Some(*n)).collect();
        let (batch, context) = numbers(&rows);
        let columns = Projection::new(&expressions).evaluate(&batch, &context)?;
        Ok(columns.iter().map(|c| c.as_any().downcast_ref::<Int32Array>().unwrap().iter().collect()).collect())
    }

    fn expression(&self, class: &str, argument: Option<ScalarExpr>) -> Result<ScalarExpr> {
        let described = self.python.describe(class, &self.settings())?;
        assert_eq!(described.kind, ForeignKind::Scalar);
        let args = if described.arguments_max == Some(0) { vec![] } else { vec![DataType::int()] };
        let result = if described.result == ["STRING"] { DataType::string() } else { DataType::int() };
        let call = ForeignCall {
            class: class.to_owned(),
            name: "f".to_owned(),
            arguments: args.clone(),
            result: result.clone(),
            is_deterministic: described.is_deterministic,
            is_columnar: described.is_columnar,
            settings: Arc::new(self.settings()),
        };
        let function = self.python.scalar(call)?;
        let argument = argument.unwrap_or(ScalarExpr::Column { index: 0, data_type: DataType::int() });
        Ok(ScalarExpr::Call { function, args: args.iter().map(|_| argument.clone()).collect(), data_type: result })
    }

    fn numbers(&self, class: &str, rows: &[i32]) -> Result<Vec<Option<i32>>> {
        let rows: Vec<Option<i32>> = rows.iter().map(|n| Some(*n)).collect();
        let column = self.call(class, &rows)?;
        Ok(column.as_any().downcast_ref::<Int32Array>().unwrap().iter().collect())
    }
}

fn numbers(rows: &[Option<i32>]) -> (RecordBatch, EvalContext) {
    let column: ArrayRef = Arc::new(Int32Array::from(rows.to_vec()));
    let schema = Arc::new(Schema::new(vec![Field::new("n", arrow_schema::DataType::Int32, true)]));
    let session = Session { time_zone: "UTC".into(), legacy_cast: false };
    (RecordBatch::try_new(schema, vec![column]).unwrap(), EvalContext { now_ms: 0, seed: 0, watermark_ms: 0, session })
}

#[test]
fn functions_of_one_projection_run_in_one_trip_per_bundle() {
    let world = World::new().with("python.fn-execution.bundle.size", "2");
    let found = world.project(&[("m.ticket", None), ("m.ticket", Some("m.ticket"))], &[0, 0, 0]).unwrap();
    // Three calls on the first two rows, then three on the third.
    assert_eq!(found, [[1, 2, 7].map(Some), [5, 6, 9].map(Some)]);
}

#[test]
fn a_function_over_anothers_result_is_given_what_the_other_gave() {
    let found = World::new().project(&[("m.twice", Some("m.twice")), ("m.twice", None)], &[1, 2]).unwrap();
    assert_eq!(found, [[4, 8].map(Some), [2, 4].map(Some)]);
}

#[test]
fn a_bad_row_of_one_function_leaves_the_others_their_results() {
    for bad in 1..=7 {
        let world = World::new().with("wiesel.python.timeout", "2 s").with("wiesel.python.memory", "2gb");
        let world = world.on_refused(OnRefused::Null);
        let found = world.project(&[("m.trouble", None), ("m.twice", None)], &[8, bad, 10]).unwrap();
        assert_eq!(found, [vec![Some(80), None, Some(100)], vec![Some(16), Some(2 * bad), Some(20)]], "row {bad}");
    }
}

#[test]
fn a_nested_function_that_fails_is_named_with_the_arguments_it_was_given() {
    let world = World::new();
    let error = world.project(&[("m.trouble", Some("m.trouble")), ("m.twice", None)], &[8, 1]).unwrap_err();
    assert!(error.message().starts_with("Python function `f`(1) failed: ValueError: one"), "{error}");
    let calls = [("m.below_hundred", Some("m.twice")), ("m.twice", None)];
    let error = World::new().project(&calls, &[8, 70]).unwrap_err();
    assert!(error.message().starts_with("Python function `f`(140) failed: ValueError: too large"), "{error}");
}

#[test]
fn a_function_gives_a_result_per_row() {
    assert_eq!(World::new().numbers("m.twice", &[1, 2, 3]).unwrap(), [Some(2), Some(4), Some(6)]);
}

#[test]
fn a_function_without_arguments_is_called_per_row() {
    let column = World::new().call("m.without", &[Some(1), None]).unwrap();
    // Equal arguments give equal results, so a constant may stand for all rows.
    assert_eq!(column.as_any().downcast_ref::<StringArray>().unwrap().value(1), "x");
}

#[test]
fn a_batch_larger_than_a_bundle_goes_in_parts() {
    let world = World::new().with("python.fn-execution.bundle.size", "2");
    assert_eq!(world.numbers("m.twice", &[1, 2, 3, 4, 5]).unwrap(), [2, 4, 6, 8, 10].map(Some));
}

#[test]
fn a_class_is_opened_with_the_jobs_parameters_and_keeps_its_state() {
    let world = World::new().with("pipeline.global-job-parameters", "start:5,other:x");
    assert_eq!(world.numbers("m.numbered", &[0, 0]).unwrap(), [Some(6), Some(7)]);
}

#[test]
fn a_row_that_raises_hangs_crashes_exits_takes_too_much_or_is_of_a_wrong_type_is_null_and_its_neighbours_have_results()
{
    for bad in 1..=7 {
        let world = World::new().with("wiesel.python.timeout", "2 s").with("wiesel.python.memory", "2gb");
        let world = world.on_refused(OnRefused::Null);
        let found = world.numbers("m.trouble", &[8, 9, bad, 10, 11]).unwrap();
        assert_eq!(found, [Some(80), Some(90), None, Some(100), Some(110)], "row {bad}");
    }
}

#[test]
fn a_row_that_fails_ends_the_job_with_its_arguments_and_the_tracebacks_last_line() {
    let cases = [
        (1, "failed: ValueError: one (m.py, line"),
        (2, "failed: the Python process was killed by SIGSEGV"),
        (3, "failed: no result within 2 s"),
        (4, "failed: WrongType: the result must be INT, and is str 'four'"),
        (5, "failed: MemoryError"),
        (6, "failed: the Python process ended with exit code 7"),
        (7, "failed: SystemExit: 7"),
    ];
    for (bad, expected) in cases {
        let world = World::new().with("wiesel.python.timeout", "2 s").with("wiesel.python.memory", "2gb");
        let error = world.numbers("m.trouble", &[8, bad, 10]).unwrap_err();
        assert!(error.message().starts_with(&format!("Python function `f`({bad}) ")), "{error}");
        assert!(error.message().contains(expected), "{error}");
    }
}

#[test]
fn a_bad_row_far_into_a_batch_is_found() {
    for bad in [1, 3, 4, 6] {
        let world = World::new().with("wiesel.python.timeout", "2 s").on_refused(OnRefused::Null);
        let mut rows = vec![8; 10_000];
        rows[7_000] = bad;
        let mut expected = vec![Some(80); 10_000];
        expected[7_000] = None;
        assert_eq!(world.numbers("m.trouble", &rows).unwrap(), expected, "row {bad}");
    }
}

#[test]
fn nulls_keep_their_places_in_a_long_batch() {
    let rows: Vec<Option<i32>> = (0..10_000).map(|n| if n % 4_095 == 0 { None } else { Some(n) }).collect();
    let column = World::new().call("m.same", &rows).unwrap();
    assert_eq!(column.as_any().downcast_ref::<Int32Array>().unwrap().iter().collect::<Vec<_>>(), rows);
}

#[test]
fn what_cannot_be_used_is_said_by_name() {
    let cases = [
        ("m.twic", "the Python module `m` has no `twic`", "did you mean `m.twice`?"),
        ("nope.f", "no Python module `nope`", "SET 'python.files'"),
        ("m.os", "`m.os` is a module and no function of PyFlink's decorators", "declare it with @udf"),
        ("twice", "`twice` names no module", "'module.name'"),
    ];
    for (class, message, hint) in cases {
        let world = World::new();
        let error = world.python.describe(class, &world.settings()).unwrap_err();
        assert_eq!(error.message(), message);
        assert!(error.hint_text().unwrap_or_default().contains(hint), "{error}");
    }
}

#[test]
fn an_interpreter_that_is_not_there_or_no_interpreter_is_said_by_name() {
    for (path, expected) in [("/nowhere/python", "cannot start the Python interpreter"), ("/bin/true", "did not start")]
    {
        let world = World::new().with("python.executable", path);
        let error = world.python.describe("m.twice", &world.settings()).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
        assert!(error.hint_text().unwrap_or_default().contains("python.executable"), "{error}");
    }
}

#[test]
fn a_table_aggregate_function_is_told_from_the_others() {
    let world = World::new();
    assert_eq!(world.python.describe("m.top", &world.settings()).unwrap().kind, ForeignKind::TableAggregate);
}

#[test]
fn using_a_part_of_pyflink_that_is_not_there_names_it() {
    let error = World::new().call("m.uses_a_table", &[Some(1)]).unwrap_err();
    assert!(error.message().contains("pyflink.table.TableEnvironment"), "{error}");
}
