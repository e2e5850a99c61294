//! UNION, INTERSECT and EXCEPT.
//!
//! ```text
//! a UNION ALL b      both
//! a UNION b          DISTINCT over both
//! a INTERSECT b      DISTINCT over the rows of a that have an equal row in b: a semi join
//! a EXCEPT b         DISTINCT over those that have none: an anti join
//! a INTERSECT ALL b  count the sides of equal rows: l and r; each row min(l, r) times where both are above 0
//! a EXCEPT ALL b     count l - r of equal rows; each row that many times where it is above 0
//! ```
//! Rows are equal when all their columns are, and NULL equals NULL. The counts are an ordinary GROUP BY over all columns, so the kinds of
//! change are those of an aggregation with a filter above it, each as often as the row, as in Flink.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::{AggregateCall, AggregateFunction, ScalarExpr};
use wiesel_plan::JoinKind;

use super::expr::{Bound, call, cast_to, common_type};
use crate::parser::ast::SetOperator;
use crate::plan::join::{JoinRel, join, settle};
use crate::plan::rel::{Rel, RelColumn, RelKind, identity};

/// Combines two queries.
pub(super) fn combine(op: SetOperator, all: bool, left: Rel, right: Rel, span: Span) -> Bound<Rel> {
    let name = match op {
        SetOperator::Union => "UNION",
        SetOperator::Intersect => "INTERSECT",
        SetOperator::Except => "EXCEPT",
    };
    let (columns, left, right) = same_columns(name, left, right, span)?;
    match (op, all) {
        (SetOperator::Union, true) => Ok(union_all(columns, vec![left, right])),
        (SetOperator::Union, false) => Ok(distinct(union_all(columns, vec![left, right]))),
        (SetOperator::Intersect, true) => counted(columns, left, right, span, &intersection),
        (SetOperator::Except, true) => counted(columns, left, right, span, &difference),
        (SetOperator::Intersect, false) => matched(JoinKind::Semi, left, right, span),
        (SetOperator::Except, false) => matched(JoinKind::Anti, left, right, span),
    }
}

/// SELECT DISTINCT.
pub(super) fn distinct(rel: Rel) -> Rel {
    let keys: Vec<usize> = (0..rel.columns.len()).collect();
    let columns = rel.columns.iter().map(|c| RelColumn { time: None, ..c.clone() }).collect();
    Rel { kind: RelKind::Aggregate { input: Box::new(rel), keys, aggregates: Vec::new(), state_ttl_ms: None }, columns }
}

/// The output columns, and both sides with their types.
fn same_columns(name: &str, left: Rel, right: Rel, span: Span) -> Bound<(Vec<RelColumn>, Rel, Rel)> {
    if left.columns.len() != right.columns.len() {
        return Err(vec![
            Diagnostic::error("W0309", format!("the sides of {name} differ in their number of columns"))
                .at(span)
                .label(format!("found {} and {}", left.columns.len(), right.columns.len())),
        ]);
    }
    let mut columns = Vec::new();
    for (l, r) in left.columns.iter().zip(&right.columns) {
        let common = common_type(&[l.data_type.clone(), r.data_type.clone()], span)?;
        let time = if l.time == r.time { l.time } else { None };
        columns.push(RelColumn { time, ..RelColumn::new(l.name.clone(), common) });
    }
    let side = |rel: Rel| {
        let same = rel.columns.iter().zip(&columns).all(|(c, wanted)| c.data_type.kind == wanted.data_type.kind);
        if same {
            return rel;
        }
        let items = identity(&rel.columns)
            .into_iter()
            .zip(&columns)
            .map(|(e, wanted)| (wanted.name.clone(), cast_to(e, &wanted.data_type)))
            .collect();
        rel.project(items)
    };
    let (left, right) = (side(left), side(right));
    Ok((columns, left, right))
}

fn union_all(columns: Vec<RelColumn>, sides: Vec<Rel>) -> Rel {
    let mut inputs = Vec::new();
    for rel in sides {
        match rel.kind {
            RelKind::UnionAll(more) => inputs.extend(more),
            _ => inputs.push(rel),
        }
    }
    Rel { kind: RelKind::UnionAll(inputs), columns }
}

/// The different rows of the left side that have an equal row on the right, or none.
fn matched(kind: JoinKind, left: Rel, right: Rel, span: Span) -> Bound<Rel> {
    let width = left.columns.len();
    let over_right =
        |(i, column): (usize, &RelColumn)| ScalarExpr::Column { index: width + i, data_type: column.data_type.clone() };
    let pairs = identity(&left.columns).into_iter().zip(right.columns.iter().enumerate().map(over_right));
    let condition =
        pairs.map(|(l, r)| call("IS NOT DISTINCT FROM", vec![l, r], span)).collect::<Bound<Vec<ScalarExpr>>>()?;
    let joined = join(left, right, JoinRel { kind, condition, form: None, state_ttl_ms: [None, None], span });
    Ok(distinct(settle(joined)))
}

type Count<'a> = dyn Fn(ScalarExpr, ScalarExpr, Span) -> Bound<(ScalarExpr, ScalarExpr)> + 'a;

/// Counts the rows of both sides and repeats each as `count` says: its filter and its number of times.
fn counted(columns: Vec<RelColumn>, left: Rel, right: Rel, span: Span, count: &Count<'_>) -> Bound<Rel> {
    let width = columns.len();
    let marked = |rel: Rel, is_left: bool| {
        let mut items: Vec<(String, ScalarExpr)> =
            identity(&rel.columns).into_iter().zip(&columns).map(|(e, c)| (c.name.clone(), e)).collect();
        items.push(("l".to_owned(), number(i64::from(is_left))));
        items.push(("r".to_owned(), number(i64::from(!is_left))));
        rel.project(items)
    };
    let (left, right) = (marked(left, true), marked(right, false));
    let mut both: Vec<RelColumn> = columns.iter().map(|c| RelColumn { time: None, ..c.clone() }).collect();
    both.extend(["l", "r"].map(|name| RelColumn::new(name, DataType::not_null(TypeKind::BigInt))));
    let sum = |column: usize| AggregateCall {
        function: AggregateFunction::Sum,
        args: vec![column],
        distinct: false,
        filter: None,
        data_type: DataType::new(TypeKind::BigInt),
    };
    let kind = RelKind::Aggregate {
        input: Box::new(Rel { kind: RelKind::UnionAll(vec![left, right]), columns: both.clone() }),
        keys: (0..width).collect(),
        aggregates: vec![sum(width), sum(width + 1)],
        state_ttl_ms: None,
    };
    let sums = both.iter().enumerate().map(|(i, c)| {
        if i < width { c.clone() } else { RelColumn::new(c.name.clone(), DataType::new(TypeKind::BigInt)) }
    });
    let grouped = Rel { kind, columns: sums.collect() };
    let side = |index: usize| ScalarExpr::Column { index, data_type: DataType::new(TypeKind::BigInt) };
    let (filter, times) = count(side(width), side(width + 1), span)?;
    let filtered = grouped.filter(filter);
    let mut items: Vec<(String, ScalarExpr)> =
        identity(&filtered.columns).into_iter().zip(&columns).map(|(e, c)| (c.name.clone(), e)).collect();
    items.push(("times".to_owned(), times));
    let repeated = filtered.project(items);
    let columns = repeated.columns.iter().take(width).cloned().collect();
    Ok(Rel { kind: RelKind::Replicate(Box::new(repeated)), columns })
}

fn intersection(l: ScalarExpr, r: ScalarExpr, span: Span) -> Bound<(ScalarExpr, ScalarExpr)> {
    let both = ScalarExpr::And(vec![
        call(">", vec![l.clone(), number(0)], span)?,
        call(">", vec![r.clone(), number(0)], span)?,
    ]);
    let fewer = ScalarExpr::Case {
        branches: vec![(call(">", vec![l.clone(), r.clone()], span)?, r)],
        otherwise: Some(Box::new(l)),
        data_type: DataType::new(TypeKind::BigInt),
    };
    Ok((both, fewer))
}

fn difference(l: ScalarExpr, r: ScalarExpr, span: Span) -> Bound<(ScalarExpr, ScalarExpr)> {
    let rest = call("-", vec![l, r], span)?;
    Ok((call(">", vec![rest.clone(), number(0)], span)?, rest))
}

fn number(value: i64) -> ScalarExpr {
    ScalarExpr::Literal { value: Value::Int(value), data_type: DataType::not_null(TypeKind::BigInt) }
}
