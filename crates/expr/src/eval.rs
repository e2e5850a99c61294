//! Evaluates a [`ScalarExpr`] on the columns of a batch.
//!
//! AND, OR, CASE and COALESCE evaluate an operand only on the rows that reach it: the batch is filtered to those rows (only the columns
//! that the operand reads), the operand is evaluated, and the result is scattered back. Operands that cannot fail skip the filtering,
//! and so do operands that every row reaches. Constants stay one row long until a full column is asked for.

mod projection;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, make_array, new_null_array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_select::filter::FilterBuilder;
use arrow_select::interleave::interleave;
use wiesel_core::{DataType, Error, Result, TypeKind, Value};

pub use self::projection::Projection;
use crate::cast::Caster;
use crate::function::{Operand, PreparedCall, ScalarFunction, Signature};
use crate::operand::repeat;
use crate::refusal;
use crate::{ScalarExpr, Session};

/// What a step gives to every expression: its one clock reading and its one seed.
#[derive(Debug, Clone)]
pub struct EvalContext {
    /// Wall clock of the step, ms since 1970.
    pub now_ms: i64,
    /// Seed of the step's random numbers.
    pub seed: u64,
    /// The current watermark of the operator, ms; `i64::MIN` before the first.
    pub watermark_ms: i64,
    /// Session values.
    pub session: Session,
}

/// An expression ready to run; holds compiled constants (patterns, formats) and scratch space.
#[derive(Debug)]
pub struct Evaluator {
    expr: ScalarExpr,
    root: Node,
}

impl Evaluator {
    /// Prepares an expression.
    pub fn new(expr: ScalarExpr) -> Self {
        let root = Node::new(&expr);
        Evaluator { expr, root }
    }

    /// Whether a function in it may refuse rows ([`refusal`]).
    pub fn refuses_rows(&self) -> bool {
        refuses_rows(&self.expr)
    }

    /// The expression.
    pub fn expr(&self) -> &ScalarExpr {
        &self.expr
    }

    /// The column of results, one per row of the batch.
    pub fn evaluate(&mut self, batch: &RecordBatch, context: &EvalContext) -> Result<ArrayRef> {
        self.evaluate_operand(batch, context)?.into_column(batch.num_rows())
    }

    /// The results, left as a constant when every row has the same one.
    pub fn evaluate_operand(&mut self, batch: &RecordBatch, context: &EvalContext) -> Result<Operand> {
        self.root.evaluate(Frame { columns: batch.columns(), rows: batch.num_rows() }, context)
    }

    /// As a filter: TRUE stays, FALSE and NULL go.
    pub fn evaluate_filter(&mut self, batch: &RecordBatch, context: &EvalContext) -> Result<BooleanArray> {
        let column = self.evaluate(batch, context)?;
        let booleans = column.as_boolean_opt().ok_or_else(|| {
            Error::internal(format!("a filter must be BOOLEAN, and this one is {}", self.expr.data_type()))
        })?;
        Ok(match booleans.nulls() {
            None => booleans.clone(),
            Some(nulls) => BooleanArray::new(booleans.values() & nulls.inner(), None),
        })
    }
}

/// The rows an expression is evaluated on: columns of a batch, or of the part of it that reaches an operand.
#[derive(Clone, Copy)]
struct Frame<'a> {
    columns: &'a [ArrayRef],
    rows: usize,
}

#[derive(Debug)]
enum Node {
    Column(usize),
    Constant(ArrayRef, Value),
    Call {
        function: &'static dyn ScalarFunction,
        prepared: Option<Box<dyn PreparedCall>>,
        signature: Signature,
        args: Vec<Node>,
    },
    Cast {
        input: Box<Node>,
        caster: Caster,
    },
    And(Vec<Reached>),
    Or(Vec<Reached>),
    Case {
        branches: Vec<(Reached, Reached)>,
        otherwise: Option<Box<Reached>>,
        data_type: DataType,
    },
    Coalesce {
        args: Vec<Reached>,
        data_type: DataType,
    },
    Field {
        input: Box<Node>,
        index: usize,
        data_type: DataType,
    },
}

impl Node {
    fn new(expr: &ScalarExpr) -> Node {
        match expr {
            ScalarExpr::Column { index, .. } => Node::Column(*index),
            ScalarExpr::Literal { value, data_type } => Node::Constant(value.to_array(data_type, 1), value.clone()),
            ScalarExpr::Call { function, args, data_type } => Node::Call {
                function: *function,
                prepared: function.prepare(),
                signature: Signature {
                    args: args.iter().map(ScalarExpr::data_type).collect(),
                    returns: data_type.clone(),
                },
                args: args.iter().map(Node::new).collect(),
            },
            ScalarExpr::Cast { input, data_type, is_try } => Node::Cast {
                caster: Caster::new(input.data_type(), data_type.clone(), *is_try),
                input: Box::new(Node::new(input)),
            },
            ScalarExpr::And(args) => Node::And(args.iter().map(Reached::new).collect()),
            ScalarExpr::Or(args) => Node::Or(args.iter().map(Reached::new).collect()),
            ScalarExpr::Case { branches, otherwise, data_type } => Node::Case {
                branches: branches.iter().map(|(c, r)| (Reached::new(c), Reached::new(r))).collect(),
                otherwise: otherwise.as_deref().map(|e| Box::new(Reached::new(e))),
                data_type: data_type.clone(),
            },
            ScalarExpr::Coalesce { args, data_type } => {
                Node::Coalesce { args: args.iter().map(Reached::new).collect(), data_type: data_type.clone() }
            }
            ScalarExpr::Field { input, index, data_type } => {
                Node::Field { input: Box::new(Node::new(input)), index: *index, data_type: data_type.clone() }
            }
        }
    }

    fn evaluate(&mut self, frame: Frame<'_>, context: &EvalContext) -> Result<Operand> {
        match self {
            Node::Column(index) => {
                let column = frame.columns.get(*index).ok_or_else(|| {
                    Error::internal(format!("the expression reads column {index} of {}", frame.columns.len()))
                })?;
                Ok(Operand::Column(Arc::clone(column)))
            }
            Node::Constant(array, value) => Ok(Operand::Constant(Arc::clone(array), value.clone())),
            Node::Call { function, prepared, signature, args } => {
                let args = args.iter_mut().map(|a| a.evaluate(frame, context)).collect::<Result<Vec<_>>>()?;
                call(*function, prepared.as_deref_mut(), signature, &args, frame.rows, context)
            }
            Node::Cast { input, caster } => match input.evaluate(frame, context)? {
                Operand::Column(array) => Ok(Operand::Column(caster.cast(&array, &context.session)?)),
                Operand::Constant(..) if frame.rows == 0 => {
                    Ok(Operand::Column(arrow_array::new_empty_array(&caster.to().to_arrow())))
                }
                Operand::Constant(array, _) => {
                    let array = caster.cast(&array, &context.session)?;
                    let value = Value::from_array(&array, caster.to(), 0);
                    Ok(Operand::Constant(array, value))
                }
            },
            Node::And(args) => connective(args, false, frame, context),
            Node::Or(args) => connective(args, true, frame, context),
            Node::Case { branches, otherwise, data_type } => {
                case(branches, otherwise.as_deref_mut(), data_type, frame, context)
            }
            Node::Coalesce { args, data_type } => coalesce(args, data_type, frame, context),
            Node::Field { input, index, data_type } => match input.evaluate(frame, context)? {
                Operand::Column(array) => Ok(Operand::Column(field(&array, *index, data_type)?)),
                Operand::Constant(array, _) => {
                    let array = field(&array, *index, data_type)?;
                    let value = Value::from_array(&array, data_type, 0);
                    Ok(Operand::Constant(array, value))
                }
            },
        }
    }
}

fn call(
    function: &'static dyn ScalarFunction,
    prepared: Option<&mut (dyn PreparedCall + 'static)>,
    signature: &Signature,
    args: &[Operand],
    rows: usize,
    context: &EvalContext,
) -> Result<Operand> {
    if rows == 0 {
        return Ok(Operand::Column(arrow_array::new_empty_array(&signature.returns.to_arrow())));
    }
    // Equal arguments give equal results, so one row is enough when all of them are constants.
    // A row that is refused is one row, whatever its arguments are.
    let is_constant =
        function.is_deterministic() && !function.refuses_rows() && args.iter().all(|a| a.constant().is_some());
    let rows = if is_constant { 1 } else { rows };
    let column = match prepared {
        Some(prepared) => prepared.eval(args, signature, rows, context)?,
        None => function.eval(args, signature, rows, context)?,
    };
    if column.len() != rows || *column.data_type() != signature.returns.to_arrow() {
        return Err(Error::internal(format!(
            "function `{}` must give {rows} rows of {} and gave {} rows of Arrow type {}",
            function.name(),
            signature.returns,
            column.len(),
            column.data_type()
        )));
    }
    if is_constant {
        let value = Value::from_array(&column, &signature.returns, 0);
        return Ok(Operand::Constant(column, value));
    }
    Ok(Operand::Column(column))
}

/// An operand that only some rows may reach.
#[derive(Debug)]
struct Reached {
    node: Node,
    /// The columns it reads, the only ones worth filtering.
    columns: Vec<usize>,
    /// It cannot fail, and evaluating it where it is not needed costs less than filtering.
    is_total: bool,
}

/// The results of an operand: of all rows, or, in their order, of the rows that reached it.
enum Picked {
    All(Operand),
    Only(Operand),
}

impl Picked {
    fn operand(&self) -> &Operand {
        match self {
            Picked::All(operand) | Picked::Only(operand) => operand,
        }
    }

    /// The index in the result of `row`, which is the `nth` of the rows that reached the operand.
    fn index(&self, row: usize, nth: usize) -> usize {
        match self {
            Picked::All(operand) => row * operand.step(),
            Picked::Only(operand) => nth * operand.step(),
        }
    }
}

impl Reached {
    fn new(expr: &ScalarExpr) -> Reached {
        let mut columns = Vec::new();
        expr.columns_read(&mut columns);
        columns.sort_unstable();
        columns.dedup();
        Reached { node: Node::new(expr), columns, is_total: is_total(expr) }
    }

    fn evaluate(&mut self, frame: Frame<'_>, reached: &BooleanBuffer, context: &EvalContext) -> Result<Picked> {
        let count = reached.count_set_bits();
        if self.is_total || count == frame.rows {
            return Ok(Picked::All(self.node.evaluate(frame, context)?));
        }
        let mut builder = FilterBuilder::new(&BooleanArray::new(reached.clone(), None));
        if self.columns.len() > 1 {
            builder = builder.optimize();
        }
        let predicate = builder.build();
        let mut columns = frame.columns.to_vec();
        for index in &self.columns {
            if let Some(column) = columns.get_mut(*index) {
                *column = predicate.filter(&*column)?;
            }
        }
        let frame = Frame { columns: &columns, rows: count };
        let node = &mut self.node;
        let result = refusal::among(|| reached.set_indices().collect(), || node.evaluate(frame, context));
        Ok(Picked::Only(result?))
    }
}

/// Whether no row can make the expression fail.
fn is_total(expr: &ScalarExpr) -> bool {
    let own = match expr {
        ScalarExpr::Column { .. } | ScalarExpr::Literal { .. } | ScalarExpr::Field { .. } => true,
        ScalarExpr::Call { function, args, .. } => {
            let types: Vec<DataType> = args.iter().map(ScalarExpr::data_type).collect();
            function.is_total(&types)
        }
        ScalarExpr::Cast { input, data_type, .. } => crate::cast::is_total(&input.data_type(), data_type),
        ScalarExpr::And(_) | ScalarExpr::Or(_) | ScalarExpr::Case { .. } | ScalarExpr::Coalesce { .. } => false,
    };
    own && expr.children().into_iter().all(is_total)
}

/// AND (`decided` is FALSE) and OR (`decided` is TRUE): a row is out of the race once an operand gives it the deciding value.
fn connective(args: &mut [Reached], decided: bool, frame: Frame<'_>, context: &EvalContext) -> Result<Operand> {
    let mut open = BooleanBuffer::new_set(frame.rows);
    let mut unknown: Option<BooleanBuffer> = None;
    for arg in args {
        if !open.has_true() {
            break;
        }
        let picked = arg.evaluate(frame, &open, context)?;
        let (values, nulls) = scatter(&picked, &open, decided)?;
        // Here `values` is TRUE where the operand has the deciding value, and FALSE under NULL.
        if let Some(nulls) = nulls {
            unknown = Some(match unknown {
                None => nulls,
                Some(before) => &before | &nulls,
            });
        }
        open = &open & &!&values;
    }
    let nulls = unknown.map(|unknown| NullBuffer::new(!&(&unknown & &open))).filter(|n| n.null_count() > 0);
    let values = if decided { !&open } else { open };
    Ok(Operand::Column(Arc::new(BooleanArray::new(values, nulls))))
}

/// Over all rows: where the operand is `wanted` (FALSE under NULL), and where it is NULL.
fn scatter(picked: &Picked, reached: &BooleanBuffer, wanted: bool) -> Result<(BooleanBuffer, Option<BooleanBuffer>)> {
    let rows = reached.len();
    let operand = picked.operand();
    if let Some(value) = operand.constant() {
        return Ok(match value {
            Value::Boolean(b) if *b == wanted => (BooleanBuffer::new_set(rows), None),
            Value::Boolean(_) => (BooleanBuffer::new_unset(rows), None),
            _ => (BooleanBuffer::new_unset(rows), Some(BooleanBuffer::new_set(rows))),
        });
    }
    let array = operand.array().as_boolean_opt().ok_or_else(|| {
        Error::internal(format!("AND and OR take BOOLEAN, not Arrow's {}", operand.array().data_type()))
    })?;
    let mut values = if wanted { array.values().clone() } else { !array.values() };
    let mut nulls = None;
    if let Some(valid) = array.nulls() {
        values = &values & valid.inner();
        nulls = Some(!valid.inner());
    }
    if matches!(picked, Picked::All(_)) {
        return Ok((values, nulls));
    }
    let spread = |compact: &BooleanBuffer| {
        let mut nth = 0;
        BooleanBuffer::collect_bool(rows, |row| {
            if !reached.value(row) {
                return false;
            }
            nth += 1;
            compact.value(nth - 1)
        })
    };
    let values = spread(&values);
    Ok((values, nulls.as_ref().map(spread)))
}

/// Collects, for every row, from which of several columns and which index its result comes.
struct Picks {
    sources: Vec<ArrayRef>,
    picks: Vec<(usize, usize)>,
}

impl Picks {
    /// Every row is NULL at first.
    fn new(data_type: &DataType, rows: usize) -> Picks {
        Picks { sources: vec![new_null_array(&data_type.to_arrow(), 1)], picks: vec![(0, 0); rows] }
    }

    fn source(&mut self, picked: &Picked) -> usize {
        self.sources.push(Arc::clone(picked.operand().array()));
        self.sources.len() - 1
    }

    fn finish(self) -> Result<Operand> {
        // All rows from one full column, in order: no copy.
        if let [_, only] = self.sources.as_slice()
            && only.len() == self.picks.len()
            && self.picks.iter().enumerate().all(|(row, pick)| *pick == (1, row))
        {
            return Ok(Operand::Column(Arc::clone(only)));
        }
        let sources: Vec<&dyn Array> = self.sources.iter().map(AsRef::as_ref).collect();
        Ok(Operand::Column(interleave(&sources, &self.picks)?))
    }
}

fn case(
    branches: &mut [(Reached, Reached)],
    otherwise: Option<&mut Reached>,
    data_type: &DataType,
    frame: Frame<'_>,
    context: &EvalContext,
) -> Result<Operand> {
    let mut open = BooleanBuffer::new_set(frame.rows);
    let mut picks = Picks::new(data_type, frame.rows);
    for (condition, result) in branches {
        if !open.has_true() {
            break;
        }
        let picked = condition.evaluate(frame, &open, context)?;
        let (hit, _) = scatter(&picked, &open, true)?;
        let hit = &hit & &open;
        if hit.has_true() {
            pick_all(result, &hit, &mut picks, frame, context)?;
            open = &open & &!&hit;
        }
    }
    if let Some(otherwise) = otherwise
        && open.has_true()
    {
        pick_all(otherwise, &open, &mut picks, frame, context)?;
    }
    picks.finish()
}

fn pick_all(
    result: &mut Reached,
    hit: &BooleanBuffer,
    picks: &mut Picks,
    frame: Frame<'_>,
    context: &EvalContext,
) -> Result<()> {
    let picked = result.evaluate(frame, hit, context)?;
    let source = picks.source(&picked);
    for (nth, row) in hit.set_indices().enumerate() {
        picks.picks[row] = (source, picked.index(row, nth));
    }
    Ok(())
}

fn coalesce(args: &mut [Reached], data_type: &DataType, frame: Frame<'_>, context: &EvalContext) -> Result<Operand> {
    let mut open = BooleanBuffer::new_set(frame.rows);
    let mut picks = Picks::new(data_type, frame.rows);
    for (nth_arg, arg) in args.iter_mut().enumerate() {
        if !open.has_true() {
            break;
        }
        let picked = arg.evaluate(frame, &open, context)?;
        let array = Arc::clone(picked.operand().array());
        let nulls = array.logical_nulls();
        if nth_arg == 0 && nulls.as_ref().is_none_or(|n| n.null_count() == 0) {
            return Ok(picked.operand().clone());
        }
        let source = picks.source(&picked);
        let mut still_open = arrow_array::builder::BooleanBufferBuilder::new(frame.rows);
        still_open.append_n(frame.rows, false);
        for (nth, row) in open.set_indices().enumerate() {
            let index = picked.index(row, nth);
            if nulls.as_ref().is_some_and(|n| n.is_null(index)) {
                still_open.set_bit(row, true);
            } else {
                picks.picks[row] = (source, index);
            }
        }
        open = still_open.finish();
    }
    picks.finish()
}

/// A field of a ROW; NULL where the row is NULL.
fn field(array: &ArrayRef, index: usize, data_type: &DataType) -> Result<ArrayRef> {
    let rows =
        array.as_struct_opt().ok_or_else(|| Error::internal("a field is read from something that is not a ROW"))?;
    let column = rows
        .columns()
        .get(index)
        .ok_or_else(|| Error::internal(format!("field {index} of a ROW with {} fields", rows.num_columns())))?;
    match rows.nulls() {
        Some(nulls) if !matches!(data_type.kind, TypeKind::Null) => {
            let nulls = NullBuffer::union(Some(nulls), column.nulls());
            let data = column.to_data().into_builder().nulls(nulls).build()?;
            Ok(make_array(data))
        }
        _ => Ok(Arc::clone(column)),
    }
}

fn refuses_rows(expr: &ScalarExpr) -> bool {
    let own = matches!(expr, ScalarExpr::Call { function, .. } if function.refuses_rows());
    own || expr.children().into_iter().any(refuses_rows)
}

/// Evaluates an expression without columns once; what constant folding is made of.
pub fn evaluate_constant(expr: &ScalarExpr, context: &EvalContext) -> Result<Value> {
    let mut node = Node::new(expr);
    let column = node.evaluate(Frame { columns: &[], rows: 1 }, context)?;
    let column = repeat(column.array(), 1)?;
    Ok(Value::from_array(&column, &expr.data_type(), 0))
}

#[cfg(test)]
mod tests;
