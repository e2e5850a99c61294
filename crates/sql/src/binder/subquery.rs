//! Subqueries in conditions and as values. A condition of WHERE, HAVING or ON that is one becomes a semi or anti join; everywhere else a
//! subquery becomes columns beside the row, and an expression over them is its value. The plans are those of Flink's planner.
//!
//! ```text
//! WHERE EXISTS (SELECT .. FROM s WHERE s.k = o.k AND s.v > 5)    ->   o SEMI JOIN (s WHERE v > 5) ON s.k = o.k
//! WHERE x NOT IN (SELECT y FROM s)                               ->   o ANTI JOIN s ON (x = y) IS NOT FALSE     a NULL on either side counts
//! (SELECT COUNT(*) FROM s WHERE s.k = o.k)                       ->   o LEFT JOIN (SELECT k, COUNT(*) FROM s GROUP BY k), and 0 for none
//! (SELECT v FROM s)                                              ->   o LEFT JOIN (SELECT SINGLE_VALUE(v) FROM s): a second row is an error
//! x IN (SELECT y FROM s), as a value                             ->   o, (SELECT COUNT(*) AS c, COUNT(y) AS ck FROM s)
//!                                                                       LEFT JOIN (SELECT DISTINCT y, TRUE AS i FROM s) ON x = y
//! EXISTS (..), as a value                                        ->   o LEFT JOIN (SELECT DISTINCT TRUE AS i FROM ..), i IS NOT NULL
//! x > ALL (SELECT y FROM s)                                      ->   o, (SELECT MAX(y) AS m, COUNT(*) AS c, COUNT(y) AS d FROM s)
//! ```
//! A name that the subquery's own tables do not have is looked for in the query around it; such a column gets a number from
//! [`OUTER_BASE`](crate::plan::rel::OUTER_BASE) on until [`decorrelate`](super::decorrelate) takes it out. Only the query right around
//! counts, as in Flink. Above a GROUP BY and in ON a subquery may read nothing of the query around.

use wiesel_core::Value;
use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind};
use wiesel_expr::ScalarExpr;
use wiesel_plan::JoinKind;

use super::decorrelate::{decorrelate, is_correlated, regular, shifted};
use super::expr::{Bound, ExprBinder, ast_children, boolean, call, contains_aggregate, refused};
use super::query::QueryBinder;
use super::rank;
use super::scope::Scope;
use super::subquery_value::{fields, holds_subquery, is_keyless_calc, value_subqueries};
use crate::parser::ast::{BinaryOp, Expr, ExprKind, Query, Select, SelectItem, SetExprKind, UnaryOp};
use crate::plan::join::{conjuncts, holds_join, join as join_rels, settle};
use crate::plan::rel::{OUTER_BASE, Rel, RelKind, identity, is_outer, reads_outer};

/// A subquery's rows, its select list over them, and the conditions that tie them to the row outside.
struct Subquery {
    rel: Rel,
    items: Vec<ScalarExpr>,
    correlated: Vec<ScalarExpr>,
}

impl Subquery {
    /// A query whose columns are what is compared, and that no condition of its own ties to the row outside.
    fn alone(rel: Rel) -> Subquery {
        let items = identity(&rel.columns);
        Subquery { rel, items, correlated: Vec::new() }
    }
}

/// A condition that is a join: what is compared, with which query, and whether it is negated.
pub(super) struct Membership<'a> {
    pub(super) operands: Vec<&'a Expr>,
    query: &'a Query,
    negated: bool,
    span: Span,
}

/// One of the conditions that must all hold.
pub(super) enum Conjunct<'a> {
    /// A semi or anti join.
    Membership(Membership<'a>),
    /// Anything else, and whether its negation is meant.
    Plain(&'a Expr, bool),
}

impl QueryBinder<'_> {
    /// Applies a WHERE. What it gives besides are the conditions that read the query around.
    pub(super) fn bind_where(
        &mut self,
        mut rel: Rel,
        mut scope: Scope,
        selection: &Expr,
    ) -> Bound<(Rel, Scope, Vec<ScalarExpr>)> {
        let (mut plain, mut correlated, mut memberships) = (Vec::new(), Vec::new(), Vec::new());
        for part in ast_conjuncts(selection) {
            match part {
                Conjunct::Membership(found) => memberships.push(found),
                Conjunct::Plain(part, negated) => {
                    (rel, scope) = self.bind_scalars(rel, scope, part)?;
                    let mut predicate = boolean(ExprBinder::plain(&scope).bind(part)?, part.span)?;
                    if negated {
                        predicate = call("NOT", vec![predicate], part.span)?;
                    }
                    for condition in conjuncts(predicate) {
                        if reads_outer(&condition) { correlated.push(condition) } else { plain.push(condition) }
                    }
                }
            }
        }
        if !plain.is_empty() {
            let predicate = if plain.len() == 1 { plain.remove(0) } else { ScalarExpr::And(plain) };
            rel = if holds_join(&rel) {
                rel.filter(predicate)
            } else {
                rank::filter(rel, predicate, &self.config.session(), selection.span)?
            };
        }
        rel = self.settle_ranks(settle(rel), selection.span)?;
        scope = scope.over(rel.columns.clone());
        for found in memberships {
            for operand in &found.operands {
                (rel, scope) = self.bind_scalars(rel, scope, operand)?;
            }
            let operands = found.operands.iter().map(|o| ExprBinder::plain(&scope).bind(o)).collect::<Bound<_>>()?;
            rel = self.semi_join(rel, &scope, &found, operands)?;
            scope = scope.over(rel.columns.clone());
        }
        Ok((rel, scope, correlated))
    }

    /// Conditions on a row number that moved below a join become the bounds of their Top-N.
    pub(super) fn settle_ranks(&self, rel: Rel, span: Span) -> Bound<Rel> {
        let Rel { kind, columns } = rel;
        let kind = match kind {
            RelKind::Join { left, right, join } => RelKind::Join {
                left: Box::new(self.settle_ranks(*left, span)?),
                right: Box::new(self.settle_ranks(*right, span)?),
                join,
            },
            RelKind::Calc { input, filter: None, project } if holds_join(&input) => {
                RelKind::Calc { input: Box::new(self.settle_ranks(*input, span)?), filter: None, project }
            }
            RelKind::Calc { input, filter: Some(filter), project } if is_identity(&project, &input) => {
                let is_join = holds_join(&input);
                let input = self.settle_ranks(*input, span)?;
                if !is_join && input.columns.iter().any(|c| c.is_row_number) {
                    return rank::filter(input, filter, &self.config.session(), span);
                }
                RelKind::Calc { input: Box::new(input), filter: Some(filter), project }
            }
            other => other,
        };
        Ok(Rel { kind, columns })
    }

    /// Joins the subqueries of an expression to the rows, each as one more column that the scope knows by its place in the text.
    pub(super) fn bind_scalars(&mut self, mut rel: Rel, mut scope: Scope, expr: &Expr) -> Bound<(Rel, Scope)> {
        for found in value_subqueries(expr) {
            if scope.subquery(found.span).is_none() {
                let subquery = self.bind_correlated(found.query, &scope)?;
                let operands =
                    found.operands.iter().map(|o| ExprBinder::plain(&scope).bind(o)).collect::<Bound<_>>()?;
                rel = found.join(rel, subquery, operands, self.config)?;
                let value = super::decorrelate::column(&rel.columns, rel.columns.len() - 1);
                scope = scope.over(rel.columns.clone());
                scope.add_subquery(found.span, value);
            }
        }
        Ok((rel, scope))
    }

    /// The rows for which a membership holds; the operands are over them.
    pub(super) fn semi_join(
        &mut self,
        left: Rel,
        scope: &Scope,
        found: &Membership<'_>,
        operands: Vec<ScalarExpr>,
    ) -> Bound<Rel> {
        let subquery = self.bind_membership(found, scope)?;
        join_subquery(left, subquery, found, operands)
    }

    /// The groups for which a membership of HAVING holds; the operands are over them, `scope` is that of the rows below.
    pub(super) fn semi_join_above(
        &mut self,
        left: Rel,
        scope: &Scope,
        found: &Membership<'_>,
        operands: Vec<ScalarExpr>,
    ) -> Bound<Rel> {
        let rel = self.bind_uncorrelated(found.query, scope, "in HAVING")?;
        join_subquery(left, Subquery::alone(rel), found, operands)
    }

    /// The query of an IN or EXISTS that is a condition; what ties it to the row outside is the join's.
    fn bind_membership(&mut self, found: &Membership<'_>, outer: &Scope) -> Bound<Subquery> {
        let Some(select) = simple_select(found.query) else {
            return Ok(Subquery::alone(self.bind_correlated(found.query, outer)?));
        };
        let around = self.outer.replace(outer.clone());
        let bound = self.bind_simple(select, outer);
        self.outer = around;
        bound
    }

    /// FROM, WHERE and a select list without anything that depends on all rows.
    fn bind_simple(&mut self, select: &Select, outer: &Scope) -> Bound<Subquery> {
        let Some(from) = &select.from else {
            return Err(vec![refused("a subquery without FROM", select.span)]);
        };
        let (mut rel, mut scope) = self.bind_from(from)?;
        scope.set_outer(outer);
        let mut correlated = Vec::new();
        match &select.selection {
            Some(selection) => (rel, scope, correlated) = self.bind_where(rel, scope, selection)?,
            None => {
                rel = settle(rel);
                scope = scope.over(rel.columns.clone());
            }
        }
        let mut items = Vec::new();
        for item in &select.items {
            match item {
                SelectItem::Expr { expr, .. } => {
                    (rel, scope) = self.bind_scalars(rel, scope, expr)?;
                    items.push(ExprBinder::plain(&scope).bind(expr)?);
                }
                _ => items.extend(scope.star().into_iter().map(|c| scope.column(c))),
            }
        }
        Ok(Subquery { rel: settle(rel), items, correlated })
    }

    /// A query inside an expression; names that it does not know itself are those of `outer`.
    pub(super) fn bind_correlated(&mut self, query: &Query, outer: &Scope) -> Bound<Rel> {
        let around = self.outer.replace(outer.clone());
        let bound = self.bind_nested(query);
        self.outer = around;
        bound
    }

    /// A query inside an expression that may not read the query around it.
    pub(super) fn bind_uncorrelated(&mut self, query: &Query, outer: &Scope, place: &str) -> Bound<Rel> {
        let rel = self.bind_correlated(query, outer)?;
        if is_correlated(&rel) {
            return Err(vec![
                refused(&format!("a subquery {place} that reads the query around it"), query.span)
                    .hint("join the tables in FROM, or put the query around into a subquery of its own"),
            ]);
        }
        Ok(rel)
    }
}

fn join_subquery(left: Rel, subquery: Subquery, found: &Membership<'_>, operands: Vec<ScalarExpr>) -> Bound<Rel> {
    if operands.is_empty() && is_keyless_calc(&subquery.rel) && subquery.correlated.is_empty() {
        return Ok(if found.negated { left.filter(truth(false)) } else { left });
    }
    let width = left.columns.len();
    let decorrelated = decorrelate(subquery.rel, &left, found.span)?;
    let mut condition: Vec<ScalarExpr> = subquery.correlated.iter().map(|c| beside(c, width)).collect();
    let mut equal = Vec::new();
    if !operands.is_empty() {
        same_width(operands.len(), subquery.items.len(), found.query.span)?;
        for (operand, item) in operands.into_iter().zip(&subquery.items) {
            equal.push(call("=", vec![operand, beside(item, width)], found.span)?);
        }
    }
    let may_be_unknown = equal.iter().any(|e| e.data_type().nullable);
    if found.negated && may_be_unknown {
        let all = if equal.len() == 1 { equal.remove(0) } else { ScalarExpr::And(equal) };
        condition.push(call("IS NOT FALSE", vec![all], found.span)?);
    } else {
        condition.extend(equal);
    }
    condition.extend(decorrelated.ties(&left.columns, width, found.span)?);
    let kind = if found.negated { JoinKind::Anti } else { JoinKind::Semi };
    let join = regular(kind, condition, found.span);
    Ok(settle(join_rels(left, decorrelated.rel, join)))
}

fn is_identity(project: &[ScalarExpr], input: &Rel) -> bool {
    project.len() == input.columns.len()
        && project.iter().enumerate().all(|(i, e)| matches!(e, ScalarExpr::Column { index, .. } if *index == i))
}

pub(super) fn truth(value: bool) -> ScalarExpr {
    ScalarExpr::Literal { value: Value::Boolean(value), data_type: DataType::not_null(TypeKind::Boolean) }
}

pub(super) fn same_width(expected: usize, found: usize, span: Span) -> Bound<()> {
    if expected == found {
        return Ok(());
    }
    Err(vec![
        Diagnostic::error("W0309", "the subquery has another number of columns")
            .at(span)
            .label(format!("expected {expected}, found {found}")),
    ])
}

/// An expression of the subquery over the columns of a join: the outer row's `width` columns first, the subquery's behind them.
fn beside(expr: &ScalarExpr, width: usize) -> ScalarExpr {
    shifted(expr, width).transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } if is_outer(index) => {
            ScalarExpr::Column { index: index - OUTER_BASE, data_type }
        }
        other => other,
    })
}

/// The conditions of a WHERE, HAVING or ON; NOT over subqueries is moved inwards, so that those which can be joins are.
pub(super) fn ast_conjuncts(expr: &Expr) -> Vec<Conjunct<'_>> {
    let mut out = Vec::new();
    collect_conjuncts(expr, false, &mut out);
    out
}

fn collect_conjuncts<'a>(expr: &'a Expr, negated: bool, out: &mut Vec<Conjunct<'a>>) {
    if let Some(found) = membership(expr) {
        let negated = negated != found.negated;
        out.push(Conjunct::Membership(Membership { negated, ..found }));
        return;
    }
    match &expr.kind {
        ExprKind::Binary { op, left, right, .. }
            if (*op == BinaryOp::And && !negated) || (*op == BinaryOp::Or && negated && holds_subquery(expr)) =>
        {
            collect_conjuncts(left, negated, out);
            collect_conjuncts(right, negated, out);
        }
        ExprKind::Unary { op: UnaryOp::Not, expr: inner } if holds_subquery(inner) => {
            collect_conjuncts(inner, !negated, out);
        }
        _ => out.push(Conjunct::Plain(expr, negated)),
    }
}

/// EXISTS, IN, = ANY, <> ALL, and their negations.
fn membership(expr: &Expr) -> Option<Membership<'_>> {
    let span = expr.span;
    match &expr.kind {
        ExprKind::Exists(query) => Some(Membership { operands: Vec::new(), query, negated: false, span }),
        ExprKind::InSubquery { expr: operand, query, negated } => {
            Some(Membership { operands: fields(operand), query, negated: *negated, span })
        }
        ExprKind::Quantified { left, op, all, right } => match (&right.kind, op, all) {
            (ExprKind::Subquery(query), BinaryOp::Eq, false) => {
                Some(Membership { operands: fields(left), query, negated: false, span })
            }
            (ExprKind::Subquery(query), BinaryOp::NotEq, true) => {
                Some(Membership { operands: fields(left), query, negated: true, span })
            }
            _ => None,
        },
        ExprKind::Unary { op: UnaryOp::Not, expr: inner } => {
            membership(inner).map(|found| Membership { negated: !found.negated, ..found })
        }
        _ => None,
    }
}

/// The SELECT of a query that is nothing but FROM, WHERE and a select list.
fn simple_select(query: &Query) -> Option<&Select> {
    let select = bare_select(query)?;
    let is_plain = |item: &SelectItem| match item {
        SelectItem::Expr { expr, .. } => !contains_aggregate(expr) && !holds_over(expr),
        SelectItem::Wildcard(_) => true,
        SelectItem::QualifiedWildcard { .. } => false,
    };
    (select.group_by.is_none() && select.having.is_none() && select.items.iter().all(is_plain)).then_some(select)
}

fn bare_select(query: &Query) -> Option<&Select> {
    let is_bare = query.with.is_none() && query.order_by.is_empty() && query.limit.is_none() && query.offset.is_none();
    match &query.body.kind {
        SetExprKind::Select(select)
            if is_bare
                && select.from.is_some()
                && !select.distinct
                && select.qualify.is_none()
                && select.hints.is_empty() =>
        {
            Some(select)
        }
        _ => None,
    }
}

fn holds_over(expr: &Expr) -> bool {
    let mut found = matches!(&expr.kind, ExprKind::Function(call) if call.tail.over.is_some());
    ast_children(expr, &mut |child| found |= holds_over(child));
    found
}
