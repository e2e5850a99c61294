//! Subqueries as values: what each form joins to the row, and the expression over it that is its value.
//!
//! The rows get one more column, the value. All of it is ordinary joins and aggregates, so a value follows the changes of its tables:
//!
//! | form | joined | value |
//! |---|---|---|
//! | `(SELECT v ..)` | SINGLE_VALUE(v), or the aggregate that the subquery is | the value; 0 for a COUNT of nothing |
//! | `EXISTS (..)` | DISTINCT TRUE AS i | i IS NOT NULL |
//! | `x IN (SELECT y ..)` | COUNT(*) AS c, COUNT(y) AS ck; DISTINCT y, TRUE AS i | FALSE when c = 0, NULL when x is, TRUE with i, NULL when ck < c, else FALSE |
//! | `x > SOME (SELECT y ..)` | MIN(y) AS m, COUNT(*) AS c, COUNT(y) AS d | FALSE when c = 0, TRUE when x > m, NULL when c > d, else x > m |
//! | `x <> SOME (SELECT y ..)` | the same over DISTINCT y | two different values differ from any x |
//!
//! ALL is the negation of SOME with the opposite comparison. In a streaming query an aggregate over no row at all gives no row, so rows wait
//! for the first row of an IN or SOME that reads nothing of them, as in Flink.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::{AggregateCall, AggregateFunction, ScalarExpr};
use wiesel_plan::JoinKind;

use super::decorrelate::{Decorrelated, column, decorrelate, is_correlated, name_of, regular, shifted};
use super::expr::{Bound, ast_children, call, coalesce};
use super::set_operation::distinct;
use super::subquery::{same_width, truth};
use crate::config::Config;
use crate::parser::ast::{BinaryOp, Expr, ExprKind, Query};
use crate::plan::join::join as join_rels;
use crate::plan::rel::{Rel, RelColumn, RelKind, identity};

/// A subquery inside an expression.
pub(super) struct ValueSubquery<'a> {
    pub(super) query: &'a Query,
    /// Where the whole expression stands whose value it is.
    pub(super) span: Span,
    /// What is compared with it.
    pub(super) operands: Vec<&'a Expr>,
    form: Form,
}

/// What of the subquery is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Scalar,
    Exists,
    In { negated: bool },
    Some { op: BinaryOp, negated: bool },
}

/// The subqueries inside an expression, inner ones first.
pub(super) fn value_subqueries(expr: &Expr) -> Vec<ValueSubquery<'_>> {
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

/// Whether an expression holds a subquery.
pub(super) fn holds_subquery(expr: &Expr) -> bool {
    !value_subqueries(expr).is_empty()
}

fn collect<'a>(expr: &'a Expr, out: &mut Vec<ValueSubquery<'a>>) {
    let span = expr.span;
    let found = match &expr.kind {
        ExprKind::Subquery(query) => Some(ValueSubquery { query, span, operands: Vec::new(), form: Form::Scalar }),
        ExprKind::Exists(query) => Some(ValueSubquery { query, span, operands: Vec::new(), form: Form::Exists }),
        ExprKind::InSubquery { expr: operand, query, negated } => {
            Some(ValueSubquery { query, span, operands: fields(operand), form: Form::In { negated: *negated } })
        }
        ExprKind::Quantified { left, op, all, right } => match &right.kind {
            ExprKind::Subquery(query) => {
                Some(ValueSubquery { query, span, operands: fields(left), form: quantified(*op, *all) })
            }
            _ => None,
        },
        _ => None,
    };
    match found {
        Some(found) => {
            found.operands.iter().for_each(|operand| collect(operand, out));
            out.push(found);
        }
        None => ast_children(expr, &mut |child| collect(child, out)),
    }
}

pub(super) fn fields(operand: &Expr) -> Vec<&Expr> {
    match &operand.kind {
        ExprKind::Row { fields, .. } => fields.iter().collect(),
        _ => vec![operand],
    }
}

fn quantified(op: BinaryOp, all: bool) -> Form {
    let opposite = match op {
        BinaryOp::Eq => BinaryOp::NotEq,
        BinaryOp::NotEq => BinaryOp::Eq,
        BinaryOp::Lt => BinaryOp::GtEq,
        BinaryOp::LtEq => BinaryOp::Gt,
        BinaryOp::Gt => BinaryOp::LtEq,
        _ => BinaryOp::Lt,
    };
    match (if all { opposite } else { op }, all) {
        (BinaryOp::Eq, negated) => Form::In { negated },
        (op, negated) => Form::Some { op, negated },
    }
}

impl ValueSubquery<'_> {
    /// The type of the value of a subquery with these rows.
    pub(super) fn data_type(&self, rel: &Rel) -> DataType {
        match self.form {
            Form::Scalar => column(&rel.columns, 0).data_type().with_nullable(true),
            _ => DataType::boolean(),
        }
    }

    /// The rows of `left` with the value as one more column; `operands` are over them, and `rel` may read them.
    pub(super) fn join(&self, left: Rel, rel: Rel, operands: Vec<ScalarExpr>, config: &Config) -> Bound<Rel> {
        // In batch mode an aggregate of nothing is known at the end, so no row waits for it.
        let wait = if config.is_batch() { JoinKind::Left } else { JoinKind::Inner };
        let kept = left.columns.clone();
        let (joined, value) = match self.form {
            Form::Scalar => {
                same_width(1, rel.columns.len(), self.query.span)?;
                self.scalar(left, rel)?
            }
            Form::Exists => self.exists(left, rel)?,
            Form::In { negated } => {
                same_width(operands.len(), rel.columns.len(), self.query.span)?;
                let (joined, value) = self.contained(left, rel, &operands, wait)?;
                (joined, self.negated(value, negated)?)
            }
            Form::Some { op, negated } => {
                same_width(1, rel.columns.len(), self.query.span)?;
                let [operand] = operands.as_slice() else {
                    return Err(vec![
                        Diagnostic::error("W0305", "a comparison with ANY, SOME or ALL takes one value").at(self.span),
                    ]);
                };
                let (joined, value) = self.some(left, rel, operand, op, wait)?;
                (joined, self.negated(value, negated)?)
            }
        };
        let items = (0..kept.len()).map(|i| (name_of(&kept, i), column(&joined.columns, i)));
        let items = items.chain([(String::new(), value)]).collect();
        // The join is settled with the WHERE or the select list that reads its value.
        Ok(joined.project(items))
    }

    fn negated(&self, value: ScalarExpr, negated: bool) -> Bound<ScalarExpr> {
        if negated { call("NOT", vec![value], self.span) } else { Ok(value) }
    }

    fn scalar(&self, left: Rel, rel: Rel) -> Bound<(Rel, ScalarExpr)> {
        let width = left.columns.len();
        if !is_correlated(&rel) {
            let rel =
                if gives_one_value(&rel) { rel } else { single_value(Decorrelated { rel, outers: Vec::new() }).rel };
            let joined = join_rels(left, rel, regular(JoinKind::Left, Vec::new(), self.span));
            let value = column(&joined.columns, width);
            return Ok((joined, value));
        }
        // An aggregate without GROUP BY becomes one per outer value; what is computed of it is computed above the join.
        let (rel, project) = match rel {
            Rel { kind: RelKind::Calc { input, filter: None, project }, .. } if is_keyless(&input) => (*input, project),
            rel => {
                let first = column(&rel.columns, 0);
                (rel, vec![first])
            }
        };
        let counts = counts_of(&rel);
        let is_aggregate = is_keyless(&rel);
        let mut found = decorrelate(rel, &left, self.span)?;
        if !is_aggregate {
            found = single_value(found);
        }
        let condition = found.ties(&left.columns, width, self.span)?;
        let joined = join_rels(left, found.rel, regular(JoinKind::Left, condition, self.span));
        let Some(value) = project.first() else { return Ok((joined, truth(false))) };
        let value = shifted(value, width).transform(&mut |e| match e {
            ScalarExpr::Column { index, .. } if index >= width && !crate::plan::rel::is_outer(index) => {
                let own = column(&joined.columns, index);
                if counts.get(index - width) == Some(&true) {
                    // A count of nothing is 0, and nothing is what an outer row without a group has.
                    coalesce(vec![own.clone(), number(0)], self.span).unwrap_or(own)
                } else {
                    own
                }
            }
            other => other,
        });
        Ok((joined, value))
    }

    fn exists(&self, left: Rel, rel: Rel) -> Bound<(Rel, ScalarExpr)> {
        let width = left.columns.len();
        if is_keyless_calc(&rel) {
            return Ok((left, truth(true)));
        }
        let found = decorrelate(rel, &left, self.span)?;
        let own = found.rel.columns.len() - found.outers.len();
        let (condition, marked) = if found.outers.is_empty() {
            (Vec::new(), distinct(found.rel.project(vec![("i".to_owned(), truth(true))])))
        } else {
            let items =
                (own..found.rel.columns.len()).map(|i| (name_of(&found.rel.columns, i), column(&found.rel.columns, i)));
            let keys = Decorrelated { rel: distinct(found.rel.clone().project(items.collect())), outers: found.outers };
            (keys.ties(&left.columns, width, self.span)?, marked(keys.rel))
        };
        let joined = join_rels(left, marked, regular(JoinKind::Left, condition, self.span));
        let marker = column(&joined.columns, joined.columns.len() - 1);
        let value = call("IS NOT NULL", vec![marker], self.span)?;
        Ok((joined, value))
    }

    fn contained(&self, left: Rel, rel: Rel, operands: &[ScalarExpr], wait: JoinKind) -> Bound<(Rel, ScalarExpr)> {
        let width = left.columns.len();
        let own = rel.columns.len();
        let found = decorrelate(rel, &left, self.span)?;
        let outer_columns = left.columns.clone();
        let may_be_unknown = operands.iter().any(|o| o.data_type().nullable)
            || found.rel.columns.iter().take(own).any(|c| c.data_type.nullable);
        let (mut rel, mut counts) = (left, None);
        if may_be_unknown {
            let counted = counted(&found, vec![count_rows(), count((0..own).collect())]);
            let condition = counted.ties(&outer_columns, width, self.span)?;
            let kind = if counted.outers.is_empty() { wait } else { JoinKind::Left };
            rel = join_rels(rel, counted.rel, regular(kind, condition, self.span));
            counts = Some((column(&rel.columns, width), column(&rel.columns, width + 1)));
        }
        let wide = rel.columns.len();
        let is_correlated = !found.outers.is_empty();
        let Decorrelated { rel: values, outers } = found;
        let values = Decorrelated { rel: distinct(values), outers };
        let mut condition = Vec::new();
        for (at, operand) in operands.iter().enumerate() {
            condition.push(call(
                "=",
                vec![operand.clone(), shifted(&column(&values.rel.columns, at), wide)],
                self.span,
            )?);
        }
        condition.extend(values.ties(&outer_columns, wide, self.span)?);
        let joined = join_rels(rel, marked(values.rel), regular(JoinKind::Left, condition, self.span));
        let marker = column(&joined.columns, joined.columns.len() - 1);
        let mut branches = Vec::new();
        if let Some((c, _)) = &counts {
            // An outer row without a group has a NULL count: NULL IN nothing is NULL then, as in Flink, and not FALSE.
            let none =
                if is_correlated { call("=", vec![c.clone(), number(0)], self.span)? } else { self.is_empty(c)? };
            branches.push((none, truth(false)));
        }
        for operand in operands.iter().filter(|o| o.data_type().nullable) {
            branches.push((call("IS NULL", vec![operand.clone()], self.span)?, unknown()));
        }
        branches.push((call("IS NOT NULL", vec![marker], self.span)?, truth(true)));
        if let Some((c, ck)) = counts {
            branches.push((call("<", vec![ck, c], self.span)?, unknown()));
        }
        Ok((joined, case(branches, truth(false))))
    }

    /// `operand op SOME (rel)`.
    fn some(
        &self,
        left: Rel,
        rel: Rel,
        operand: &ScalarExpr,
        op: BinaryOp,
        wait: JoinKind,
    ) -> Bound<(Rel, ScalarExpr)> {
        let width = left.columns.len();
        let outer_columns = left.columns.clone();
        let mut found = decorrelate(rel, &left, self.span)?;
        let differs = op == BinaryOp::NotEq;
        if differs {
            found.rel = distinct(found.rel);
        }
        let function =
            if matches!(op, BinaryOp::Gt | BinaryOp::GtEq) { AggregateFunction::Min } else { AggregateFunction::Max };
        let extreme = AggregateCall {
            function,
            args: vec![0],
            distinct: false,
            filter: None,
            data_type: one_type(function, &column(&found.rel.columns, 0).data_type(), self.span)?,
        };
        let counted = counted(&found, vec![extreme, count_rows(), count(vec![0])]);
        let condition = counted.ties(&outer_columns, width, self.span)?;
        let kind = if counted.outers.is_empty() { wait } else { JoinKind::Left };
        let joined = join_rels(left, counted.rel, regular(kind, condition, self.span));
        let (m, c, d) =
            (column(&joined.columns, width), column(&joined.columns, width + 1), column(&joined.columns, width + 2));
        let name = match op {
            BinaryOp::Lt => "<",
            BinaryOp::LtEq => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::GtEq => ">=",
            _ => "<>",
        };
        let holds = call(name, vec![operand.clone(), m], self.span)?;
        let mut branches = vec![(self.is_empty(&c)?, truth(false))];
        if differs {
            branches.push((call("IS NULL", vec![operand.clone()], self.span)?, unknown()));
            // No more than one value beside NULL: unknown unless that one differs.
            let few = call("<=", vec![d.clone(), number(1)], self.span)?;
            let with_null = call("<>", vec![d.clone(), c], self.span)?;
            branches
                .push((ScalarExpr::And(vec![with_null, few.clone()]), ScalarExpr::Or(vec![holds.clone(), unknown()])));
            branches.push((few, holds));
            return Ok((joined, case(branches, truth(true))));
        }
        branches.push((call("IS TRUE", vec![holds.clone()], self.span)?, truth(true)));
        branches.push((call(">", vec![c, d], self.span)?, unknown()));
        Ok((joined, case(branches, holds)))
    }

    /// Nothing was counted.
    fn is_empty(&self, count: &ScalarExpr) -> Bound<ScalarExpr> {
        let none = call("=", vec![count.clone(), number(0)], self.span)?;
        if !count.data_type().nullable {
            return Ok(none);
        }
        Ok(ScalarExpr::Or(vec![call("IS NULL", vec![count.clone()], self.span)?, none]))
    }
}

/// Whether a query is an aggregate without GROUP BY.
fn is_keyless(rel: &Rel) -> bool {
    matches!(&rel.kind, RelKind::Aggregate { keys, .. } if keys.is_empty())
}

/// Whether a query is an aggregate without GROUP BY, or computes with one.
pub(super) fn is_keyless_calc(rel: &Rel) -> bool {
    match &rel.kind {
        RelKind::Calc { input, filter: None, .. } => is_keyless_calc(input),
        _ => is_keyless(rel),
    }
}

/// Whether the planner knows that there is one row: a bare aggregate or constant. Flink checks everything else with SINGLE_VALUE.
fn gives_one_value(rel: &Rel) -> bool {
    match &rel.kind {
        RelKind::Calc { input, filter: None, project } => {
            project.iter().all(|e| matches!(e, ScalarExpr::Column { .. })) && is_keyless(input)
        }
        RelKind::Values(rows) => rows.len() == 1,
        _ => is_keyless(rel),
    }
}

/// Which columns of an aggregate without GROUP BY count.
fn counts_of(rel: &Rel) -> Vec<bool> {
    match &rel.kind {
        RelKind::Aggregate { aggregates, .. } => aggregates
            .iter()
            .map(|a| matches!(a.function, AggregateFunction::Count | AggregateFunction::CountStar))
            .collect(),
        _ => Vec::new(),
    }
}

/// The one value of column 0 per outer value.
fn single_value(found: Decorrelated) -> Decorrelated {
    let data_type = column(&found.rel.columns, 0).data_type().with_nullable(true);
    let call = AggregateCall {
        function: AggregateFunction::SingleValue,
        args: vec![0],
        distinct: false,
        filter: None,
        data_type,
    };
    counted(&found, vec![call])
}

/// Aggregates per outer value: they come first, then the columns that stand for outer ones.
fn counted(found: &Decorrelated, aggregates: Vec<AggregateCall>) -> Decorrelated {
    let input = &found.rel;
    let width = input.columns.len();
    let keys: Vec<usize> = (width - found.outers.len()..width).collect();
    let mut columns: Vec<RelColumn> = keys
        .iter()
        .filter_map(|k| input.columns.get(*k))
        .map(|c| RelColumn { time: None, window: None, ..c.clone() })
        .collect();
    columns.extend(aggregates.iter().enumerate().map(|(i, a)| RelColumn::new(format!("$f{i}"), a.data_type.clone())));
    let kind = RelKind::Aggregate { input: Box::new(input.clone()), keys, aggregates, state_ttl_ms: None };
    let rel = Rel { kind, columns };
    let first = found.outers.len();
    if first == 0 {
        return Decorrelated { rel, outers: Vec::new() };
    }
    let order = (first..rel.columns.len()).chain(0..first);
    let items = order.map(|i| (name_of(&rel.columns, i), column(&rel.columns, i))).collect();
    Decorrelated { rel: rel.project(items), outers: found.outers.clone() }
}

/// The rows with TRUE behind them.
fn marked(rel: Rel) -> Rel {
    let names = rel.columns.iter().map(|c| c.name.clone()).chain(["i".to_owned()]);
    let items = names.zip(identity(&rel.columns).into_iter().chain([truth(true)])).collect();
    rel.project(items)
}

fn count_rows() -> AggregateCall {
    let data_type = DataType::not_null(TypeKind::BigInt);
    AggregateCall { function: AggregateFunction::CountStar, args: Vec::new(), distinct: false, filter: None, data_type }
}

fn count(args: Vec<usize>) -> AggregateCall {
    let data_type = DataType::not_null(TypeKind::BigInt);
    AggregateCall { function: AggregateFunction::Count, args, distinct: false, filter: None, data_type }
}

fn one_type(function: AggregateFunction, of: &DataType, span: Span) -> Bound<DataType> {
    function.result_type(std::slice::from_ref(of)).map_err(|e| {
        vec![Diagnostic::error("W0304", format!("the values of the subquery have no order: {}", e.expected)).at(span)]
    })
}

fn case(branches: Vec<(ScalarExpr, ScalarExpr)>, otherwise: ScalarExpr) -> ScalarExpr {
    let nullable = branches.iter().any(|(_, value)| value.data_type().nullable) || otherwise.data_type().nullable;
    let data_type = DataType::boolean().with_nullable(nullable);
    ScalarExpr::Case { branches, otherwise: Some(Box::new(otherwise)), data_type }
}

fn unknown() -> ScalarExpr {
    ScalarExpr::Literal { value: Value::Null, data_type: DataType::boolean() }
}

fn number(value: i64) -> ScalarExpr {
    ScalarExpr::Literal { value: Value::Int(value), data_type: DataType::not_null(TypeKind::BigInt) }
}
