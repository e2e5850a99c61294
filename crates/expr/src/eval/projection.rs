//! Several expressions over one batch, with the calls that another process answers made in one trip.
//!
//! ```text
//! f(a), g(b) + 1, f(g(c))   ->   ROW(f(a), g(b), f(g(c)))   one trip, as a column behind those of the batch
//!                                field 0, field 1 + 1, field 2
//! ```
//! Which calls go together their functions say ([`ScalarFunction::membership`]). Operands of AND, OR, CASE and COALESCE stay where they
//! are, because only some rows reach them; so does a call of literals, which is made once per batch.

use std::collections::BTreeMap;

use arrow_array::{ArrayRef, RecordBatch};
use wiesel_core::{DataType, Field, Result, TypeKind};

use super::{EvalContext, Evaluator, Frame};
use crate::ScalarExpr;
use crate::function::{JoinedArgument, JoinedCall, Membership, ScalarFunction};

/// See the module's head.
#[derive(Debug)]
pub struct Projection {
    joined: Vec<Evaluator>,
    expressions: Vec<Evaluator>,
    /// Columns of the batch that the expressions may read; those of `joined` stand behind them.
    columns: usize,
}

impl Projection {
    /// Prepares expressions over one input.
    pub fn new(expressions: &[ScalarExpr]) -> Projection {
        let mut read = Vec::new();
        expressions.iter().for_each(|expression| expression.columns_read(&mut read));
        let columns = read.into_iter().max().map_or(0, |last| last + 1);
        let (joined, expressions) = join(expressions, columns).unwrap_or_else(|| (Vec::new(), expressions.to_vec()));
        let evaluators = |all: Vec<ScalarExpr>| all.into_iter().map(Evaluator::new).collect();
        Projection { joined: evaluators(joined), expressions: evaluators(expressions), columns }
    }

    /// Whether a function in it may refuse rows ([`crate::refusal`]).
    pub fn refuses_rows(&self) -> bool {
        self.joined.iter().chain(&self.expressions).any(Evaluator::refuses_rows)
    }

    /// The columns of results, one per expression.
    pub fn evaluate(&mut self, batch: &RecordBatch, context: &EvalContext) -> Result<Vec<ArrayRef>> {
        if self.joined.is_empty() {
            return self.expressions.iter_mut().map(|expression| expression.evaluate(batch, context)).collect();
        }
        let mut columns: Vec<ArrayRef> = batch.columns().iter().take(self.columns).cloned().collect();
        for joined in &mut self.joined {
            columns.push(joined.evaluate(batch, context)?);
        }
        let frame = Frame { columns: &columns, rows: batch.num_rows() };
        let evaluate = |expression: &mut Evaluator| expression.root.evaluate(frame, context)?.into_column(frame.rows);
        self.expressions.iter_mut().map(evaluate).collect()
    }
}

/// Calls of one family on their way into one trip.
#[derive(Debug, Default)]
struct Trip {
    function: Option<&'static dyn ScalarFunction>,
    calls: Vec<JoinedCall>,
    results: Vec<DataType>,
    inputs: Vec<ScalarExpr>,
}

/// The trips and the expressions that read their results; `None` when no two calls go together.
fn join(expressions: &[ScalarExpr], columns: usize) -> Option<(Vec<ScalarExpr>, Vec<ScalarExpr>)> {
    let mut trips = BTreeMap::new();
    expressions.iter().for_each(|expression| _ = rewritten(expression, &mut trips, &|_| Some(0)));
    let families: Vec<usize> =
        trips.iter().filter(|(_, trip)| trip.calls.len() > 1).map(|(family, _)| *family).collect();
    if families.is_empty() {
        return None;
    }
    let mut trips = BTreeMap::new();
    let place = |family| families.iter().position(|f| *f == family).map(|place| columns + place);
    let rest = expressions.iter().map(|expression| rewritten(expression, &mut trips, &place)).collect();
    let joined = trips.into_values().map(|trip| {
        let inputs = trip.inputs.iter().map(ScalarExpr::data_type).collect();
        let function = trip.function?.join(trip.calls, inputs)?;
        Some(ScalarExpr::Call { function, args: trip.inputs, data_type: row(trip.results) })
    });
    Some((joined.collect::<Option<Vec<_>>>()?, rest))
}

fn row(results: Vec<DataType>) -> DataType {
    let fields = results.into_iter().enumerate().map(|(i, result)| Field::new(format!("f{i}"), result));
    DataType::not_null(TypeKind::Row(fields.collect()))
}

/// The expression with its calls replaced by fields of the trips' results. `place` says which column a family's trip is, if it is one.
fn rewritten(
    expression: &ScalarExpr,
    trips: &mut BTreeMap<usize, Trip>,
    place: &impl Fn(usize) -> Option<usize>,
) -> ScalarExpr {
    if let Some((function, membership, args, data_type)) = member(expression)
        && let Some(index) = place(membership.family)
    {
        let trip = trips.entry(membership.family).or_default();
        let call = trip.add(function, membership, args, data_type);
        let input = ScalarExpr::Column { index, data_type: row(Vec::new()) };
        return ScalarExpr::Field { input: Box::new(input), index: call, data_type: data_type.clone() };
    }
    match expression {
        ScalarExpr::Call { function, args, data_type } => ScalarExpr::Call {
            function: *function,
            args: args.iter().map(|arg| rewritten(arg, trips, place)).collect(),
            data_type: data_type.clone(),
        },
        ScalarExpr::Cast { input, data_type, is_try } => ScalarExpr::Cast {
            input: Box::new(rewritten(input, trips, place)),
            data_type: data_type.clone(),
            is_try: *is_try,
        },
        ScalarExpr::Field { input, index, data_type } => ScalarExpr::Field {
            input: Box::new(rewritten(input, trips, place)),
            index: *index,
            data_type: data_type.clone(),
        },
        other => other.clone(),
    }
}

type Member<'a> = (&'static dyn ScalarFunction, Membership, &'a [ScalarExpr], &'a DataType);

/// The call, when it may go with others.
fn member(expression: &ScalarExpr) -> Option<Member<'_>> {
    let ScalarExpr::Call { function, args, data_type } = expression else { return None };
    let is_constant = args.iter().all(|arg| matches!(arg, ScalarExpr::Literal { .. }));
    if is_constant { None } else { Some((*function, function.membership()?, args, data_type)) }
}

impl Trip {
    /// Adds a call with those nested in its arguments; gives its place in the trip.
    fn add(
        &mut self,
        function: &'static dyn ScalarFunction,
        membership: Membership,
        args: &[ScalarExpr],
        data_type: &DataType,
    ) -> usize {
        let arguments = args.iter().map(|arg| match member(arg) {
            Some((function, nested, args, data_type)) if nested.family == membership.family => {
                JoinedArgument::Call(self.add(function, nested, args, data_type))
            }
            _ => JoinedArgument::Input(self.input(arg)),
        });
        let call = JoinedCall { number: membership.number, arguments: arguments.collect() };
        if function.is_deterministic()
            && let Some(same) = self.calls.iter().position(|other| *other == call)
        {
            return same;
        }
        self.function = Some(function);
        self.calls.push(call);
        self.results.push(data_type.clone());
        self.calls.len() - 1
    }

    /// The place of an input; a column that several calls read travels once.
    fn input(&mut self, expression: &ScalarExpr) -> usize {
        let column = |expression: &ScalarExpr| match expression {
            ScalarExpr::Column { index, .. } => Some(*index),
            _ => None,
        };
        let same = self.inputs.iter().position(|other| column(other).is_some() && column(other) == column(expression));
        same.unwrap_or_else(|| {
            self.inputs.push(expression.clone());
            self.inputs.len() - 1
        })
    }
}
