//! Expressions of a row pattern: their slots filled from the rows of matches, then evaluated as over any batch.
//!
//! A condition that reads the row at hand alone is evaluated once over a whole batch of rows. Only the rest of a condition, what looks at
//! rows taken before, is evaluated per partial match. Measures are evaluated for many matches at once.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema as ArrowSchema};
use wiesel_core::value::column;
use wiesel_core::{DataType, Error, Field as CoreField, Result, Schema, TypeKind, Value};
use wiesel_expr::{AggregateCall, EvalContext, Evaluator, ScalarExpr};
use wiesel_plan::{PatternExpr, PatternSlot, SlotSource};

use super::nfa::Row;
use crate::operators::aggregate::{AggregateSpec, Groups, Plan, PlannedRows, Prepared};
use crate::state::codec::KeyBuffer;
use crate::state::vnode::hash_key;

/// The rows of a match, or of a partial one with the row at hand behind them, each with its variable; and the time of MATCH_ROWTIME().
pub(super) struct View<'a> {
    pub(super) rows: &'a [(u32, &'a Row)],
    pub(super) time_ms: i64,
}

impl View<'_> {
    fn of(&self, variable: Option<usize>) -> impl DoubleEndedIterator<Item = &Row> {
        let is_of = move |found: u32| variable.is_none_or(|wanted| wanted == found as usize);
        self.rows.iter().filter(move |(found, _)| is_of(*found)).map(|(_, row)| *row)
    }
}

/// A condition of DEFINE, parted.
#[derive(Debug)]
pub(super) struct Condition {
    /// What reads the row at hand alone.
    local: Option<SlotExpr>,
    /// What reads other rows too.
    remote: Option<SlotExpr>,
}

/// What is known of the local part of a condition over a batch.
pub(super) enum Local {
    /// Nothing is asked.
    True,
    Known(BooleanArray),
    /// The evaluation failed for some row. It counts only if that row is ever asked for, so each is evaluated when it is.
    PerRow,
}

impl Condition {
    pub(super) fn new(condition: &PatternExpr, input: &Schema) -> Result<Condition> {
        let parts = match &condition.expr {
            ScalarExpr::And(parts) => parts.clone(),
            other => vec![other.clone()],
        };
        let is_local = |part: &ScalarExpr| {
            let mut read = Vec::new();
            part.columns_read(&mut read);
            let source = |slot: &usize| condition.slots.get(*slot).map(|slot| &slot.source);
            read.iter().all(|slot| matches!(source(slot), Some(SlotSource::Current { .. })))
        };
        let (local, remote): (Vec<ScalarExpr>, Vec<ScalarExpr>) = parts.into_iter().partition(is_local);
        let part = |mut parts: Vec<ScalarExpr>| -> Result<Option<SlotExpr>> {
            let expr = match parts.len() {
                0 => return Ok(None),
                1 => parts.remove(0),
                _ => ScalarExpr::And(parts),
            };
            SlotExpr::new(&condition.slots, expr, input).map(Some)
        };
        Ok(Condition { local: part(local)?, remote: part(remote)? })
    }

    /// Evaluates the local part over a batch.
    pub(super) fn evaluate_local(&mut self, batch: &RecordBatch, context: &EvalContext) -> Local {
        match &mut self.local {
            None => Local::True,
            Some(expr) => expr.evaluate_current(batch, context).map_or(Local::PerRow, Local::Known),
        }
    }

    /// Whether a row of the batch fits, as far as the row alone can tell.
    pub(super) fn fits_alone(
        &mut self,
        known: &Local,
        batch: &RecordBatch,
        row: usize,
        context: &EvalContext,
    ) -> Result<bool> {
        match (known, &mut self.local) {
            (Local::Known(rows), _) => Ok(rows.value(row)),
            (Local::PerRow, Some(expr)) => Ok(expr.evaluate_current(&batch.slice(row, 1), context)?.value(0)),
            _ => Ok(true),
        }
    }

    /// Whether rows taken before are read.
    pub(super) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Whether the last row of the view fits, by what else is asked.
    pub(super) fn fits_behind(&mut self, view: View<'_>, context: &EvalContext) -> Result<bool> {
        let Some(expr) = &mut self.remote else { return Ok(true) };
        let result = expr.evaluate(&[view], context)?;
        Ok(is_true(&result)?.value(0))
    }
}

fn is_true(column: &ArrayRef) -> Result<BooleanArray> {
    let booleans =
        column.as_boolean_opt().ok_or_else(|| Error::internal("a condition of a row pattern is no BOOLEAN"))?;
    Ok(match booleans.nulls() {
        None => booleans.clone(),
        Some(nulls) => BooleanArray::new(booleans.values() & nulls.inner(), None),
    })
}

/// An expression over slots.
#[derive(Debug)]
pub(super) struct SlotExpr {
    slots: Vec<Slot>,
    schema: Arc<ArrowSchema>,
    evaluator: Evaluator,
}

#[derive(Debug)]
struct Slot {
    kind: TypeKind,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A slot of another part of the expression.
    Unread,
    Current(usize),
    Row {
        variable: Option<usize>,
        from_first: bool,
        offset: usize,
        column: usize,
    },
    Aggregate(Box<RowsAggregate>),
    MatchTime,
}

impl SlotExpr {
    pub(super) fn of(measure: &PatternExpr, input: &Schema) -> Result<SlotExpr> {
        SlotExpr::new(&measure.slots, measure.expr.clone(), input)
    }

    fn new(slots: &[PatternSlot], expr: ScalarExpr, input: &Schema) -> Result<SlotExpr> {
        let mut read = Vec::new();
        expr.columns_read(&mut read);
        let mut own = Vec::with_capacity(slots.len());
        for (index, slot) in slots.iter().enumerate() {
            let source = match &slot.source {
                _ if !read.contains(&index) => Source::Unread,
                SlotSource::Current { column } => Source::Current(*column),
                SlotSource::Row { variable, from_first, offset, column } => {
                    Source::Row { variable: *variable, from_first: *from_first, offset: *offset, column: *column }
                }
                SlotSource::Aggregate { variable, function, args } => {
                    let call = AggregateCall {
                        function: *function,
                        args: (0..args.len()).collect(),
                        distinct: false,
                        filter: None,
                        data_type: slot.data_type.clone(),
                    };
                    Source::Aggregate(Box::new(RowsAggregate::new(*variable, call, args, input)?))
                }
                SlotSource::MatchTime => Source::MatchTime,
            };
            own.push(Slot { kind: slot.data_type.kind.clone(), source });
        }
        let field = |(index, slot): (usize, &Slot)| {
            let data_type = match slot.source {
                Source::Unread => arrow_schema::DataType::Null,
                _ => DataType::new(slot.kind.clone()).to_arrow(),
            };
            Field::new(index.to_string(), data_type, true)
        };
        let fields: Vec<Field> = own.iter().enumerate().map(field).collect();
        Ok(SlotExpr { slots: own, schema: Arc::new(ArrowSchema::new(fields)), evaluator: Evaluator::new(expr) })
    }

    /// Over rows at hand: every slot that is read is a column of the batch.
    fn evaluate_current(&mut self, batch: &RecordBatch, context: &EvalContext) -> Result<BooleanArray> {
        let rows = batch.num_rows();
        let columns = self
            .slots
            .iter()
            .map(|slot| match slot.source {
                Source::Current(column) => batch.column(column).clone(),
                _ => arrow_array::new_null_array(&arrow_schema::DataType::Null, rows),
            })
            .collect();
        is_true(&self.evaluate_columns(columns, rows, context)?)
    }

    /// One result per view.
    pub(super) fn evaluate(&mut self, views: &[View<'_>], context: &EvalContext) -> Result<ArrayRef> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.slots.len());
        for slot in &mut self.slots {
            let value_of = |row: Option<&Row>, column: usize| {
                row.and_then(|row| row.values.get(column)).cloned().unwrap_or(Value::Null)
            };
            columns.push(match &mut slot.source {
                Source::Unread => arrow_array::new_null_array(&arrow_schema::DataType::Null, views.len()),
                Source::Current(index) => {
                    let values: Vec<Value> =
                        views.iter().map(|view| value_of(view.rows.last().map(|(_, row)| *row), *index)).collect();
                    column(&slot.kind, &values)
                }
                Source::Row { variable, from_first, offset, column: index } => {
                    let row = |view: &View<'_>| {
                        let mut rows = view.of(*variable);
                        let row = if *from_first { rows.nth(*offset) } else { rows.nth_back(*offset) };
                        value_of(row, *index)
                    };
                    column(&slot.kind, &views.iter().map(row).collect::<Vec<_>>())
                }
                Source::Aggregate(aggregate) => aggregate.evaluate(views, context)?,
                Source::MatchTime => {
                    let times: Vec<Value> = views.iter().map(|view| Value::Timestamp(view.time_ms)).collect();
                    column(&slot.kind, &times)
                }
            });
        }
        self.evaluate_columns(columns, views.len(), context)
    }

    fn evaluate_columns(&mut self, columns: Vec<ArrayRef>, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        self.evaluator.evaluate(&batch, context)
    }
}

/// An aggregate over rows of matches. It is computed anew each time: a partial match that goes on in two ways would need two of them.
struct RowsAggregate {
    variable: Option<usize>,
    spec: AggregateSpec,
    /// The columns that the arguments read, and their types.
    columns: Vec<(usize, DataType)>,
    input: Arc<ArrowSchema>,
    args: Vec<Evaluator>,
    args_schema: Schema,
}

impl std::fmt::Debug for RowsAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowsAggregate").field("variable", &self.variable).finish_non_exhaustive()
    }
}

impl RowsAggregate {
    fn new(variable: Option<usize>, call: AggregateCall, args: &[ScalarExpr], input: &Schema) -> Result<Self> {
        let mut read = Vec::new();
        args.iter().for_each(|arg| arg.columns_read(&mut read));
        read.sort_unstable();
        read.dedup();
        let columns: Vec<(usize, DataType)> = read
            .iter()
            .filter_map(|index| input.fields().get(*index).map(|f| (*index, f.data_type.with_nullable(true))))
            .collect();
        if columns.len() < read.len() {
            return Err(Error::internal("an aggregate of a row pattern reads a column that is not there"));
        }
        let moved = |arg: &ScalarExpr| {
            arg.clone().transform(&mut |e| match e {
                ScalarExpr::Column { index, data_type } => {
                    ScalarExpr::Column { index: read.binary_search(&index).unwrap_or(0), data_type }
                }
                other => other,
            })
        };
        let fields = columns.iter().map(|(index, t)| Field::new(index.to_string(), t.to_arrow(), true));
        let arg_fields = args.iter().enumerate();
        let args_schema = Schema::new(
            arg_fields.map(|(i, arg)| CoreField::new(format!("a{i}"), arg.data_type().with_nullable(true))).collect(),
        );
        Ok(RowsAggregate {
            variable,
            spec: AggregateSpec::new(&[], &[call], &args_schema, false)?,
            input: Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>())),
            columns,
            args: args.iter().map(|arg| Evaluator::new(moved(arg))).collect(),
            args_schema,
        })
    }

    fn evaluate(&mut self, views: &[View<'_>], context: &EvalContext) -> Result<ArrayRef> {
        let too_many = || Error::internal("too many rows in the matches of one batch");
        let (mut rows, mut view_of) = (Vec::new(), Vec::new());
        let mut keys = KeyBuffer::default();
        let mut hashes = Vec::with_capacity(views.len());
        for (number, view) in views.iter().enumerate() {
            let number = u32::try_from(number).map_err(|_| too_many())?;
            keys.push(&number.to_be_bytes());
            hashes.push(hash_key(&number.to_be_bytes()));
            for row in view.of(self.variable) {
                rows.push(row);
                view_of.push(number);
            }
        }
        let batch = self.arguments(&rows, context)?;
        let mut groups = Groups::new(&self.spec, 0)?;
        let all_views: Vec<u32> = (0..).take(views.len()).collect();
        let mut slot_of_view = Vec::with_capacity(views.len());
        groups.assign(&keys, &hashes, &all_views, &mut slot_of_view);
        let slots: Vec<u32> = view_of.iter().map(|view| slot_of_view[*view as usize]).collect();
        let all_rows: Vec<u32> = (0..u32::try_from(rows.len()).map_err(|_| too_many())?).collect();
        let planned = PlannedRows {
            rows: &all_rows,
            slots: &slots,
            kinds: None,
            now_ms: 0,
            has_ttl: false,
            keeps_steps: groups.has_columns(),
        };
        let mut plan = Plan::default();
        groups.plan(planned, &mut plan);
        let mut prepared: Vec<Prepared> = Vec::new();
        self.spec.prepare(&batch, &mut prepared)?;
        groups.apply(&plan, &prepared, 0, None);
        let mut values = self.spec.values();
        groups.collect(&slot_of_view, &mut values);
        let values = values.first().ok_or_else(|| Error::internal("an aggregate gives no column"))?;
        values.to_array(self.spec.data_type(0))
    }

    /// The arguments for rows, one column each.
    fn arguments(&mut self, rows: &[&Row], context: &EvalContext) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let values = |index: usize| -> Vec<Value> {
            rows.iter().map(|row| row.values.get(index).cloned().unwrap_or(Value::Null)).collect()
        };
        let columns = self.columns.iter().map(|(index, t)| column(&t.kind, &values(*index))).collect();
        let input = RecordBatch::try_new_with_options(self.input.clone(), columns, &options)?;
        let args = self.args.iter_mut().map(|arg| arg.evaluate(&input, context)).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new_with_options(self.args_schema.arrow().clone(), args, &options)?)
    }
}
