//! Subqueries in WHERE and as values: EXISTS and IN become semi joins, their negations anti joins, an aggregate of another table a left join.
//!
//! ```text
//! WHERE EXISTS (SELECT .. FROM s WHERE s.k = o.k AND s.v > 5)    ->   o SEMI JOIN (s WHERE v > 5) ON s.k = o.k
//! WHERE x NOT IN (SELECT y FROM s)                               ->   o ANTI JOIN s ON (x = y) IS NOT FALSE     a NULL on either side counts
//! (SELECT COUNT(*) FROM s WHERE s.k = o.k)                       ->   o LEFT JOIN (SELECT k, COUNT(*) FROM s GROUP BY k), and 0 for none
//! ```
//! A name that the subquery's own tables do not have is looked for in the query around it; such a column gets a number from [`OUTER_BASE`] on,
//! and the conditions that hold one are those of the join. They may stand in the WHERE of the subquery itself and nowhere deeper; other
//! places are refused by name.

use wiesel_core::Value;
use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_expr::{AggregateFunction, ScalarExpr};
use wiesel_plan::JoinKind;

use super::expr::{Bound, ExprBinder, Grouping, ast_children, boolean, call, coalesce, contains_aggregate, refused};
use super::query::QueryBinder;
use super::scope::{OUTER_BASE, Scope};
use super::{grouping, rank};
use crate::parser::ast::{BinaryOp, Expr, ExprKind, Query, Select, SelectItem, SetExprKind, UnaryOp};
use crate::plan::join::{JoinForm, JoinRel, conjuncts, holds_join, join as join_rels, settle};
use crate::plan::rel::{Rel, RelKind, identity};

/// A subquery's rows, its select list over them, and the conditions that tie them to the row outside.
struct Subquery {
    rel: Rel,
    items: Vec<ScalarExpr>,
    correlated: Vec<ScalarExpr>,
}

/// A condition that is a join: what is compared, with which query, and whether it is negated.
struct Membership<'a> {
    operands: Vec<&'a Expr>,
    query: &'a Query,
    negated: bool,
    span: Span,
}

impl QueryBinder<'_> {
    /// Applies a WHERE. What it gives besides are the conditions that read the query around.
    pub(super) fn bind_where(
        &mut self,
        mut rel: Rel,
        mut scope: Scope,
        selection: &Expr,
    ) -> Bound<(Rel, Scope, Vec<ScalarExpr>)> {
        let mut parts = Vec::new();
        ast_conjuncts(selection, &mut parts);
        let (mut plain, mut correlated, mut memberships) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            match membership(part) {
                Some(found) => memberships.push(found),
                None => {
                    (rel, scope) = self.bind_scalars(rel, scope, part)?;
                    let predicate = boolean(ExprBinder::plain(&scope).bind(part)?, part.span)?;
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
            rel = self.semi_join(rel, &scope, &found)?;
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

    /// Joins the scalar subqueries of an expression to the rows, each as one more column that the scope knows by its place in the text.
    pub(super) fn bind_scalars(&mut self, mut rel: Rel, mut scope: Scope, expr: &Expr) -> Bound<(Rel, Scope)> {
        let mut found = Vec::new();
        scalar_subqueries(expr, &mut found);
        for (query, span) in found {
            if scope.subquery(span).is_none() {
                rel = self.join_scalar(rel, &scope, query, span)?;
                let column = rel.columns.len() - 1;
                scope = scope.over(rel.columns.clone());
                scope.add_subquery(span, column);
            }
        }
        Ok((rel, scope))
    }

    fn semi_join(&mut self, left: Rel, scope: &Scope, found: &Membership<'_>) -> Bound<Rel> {
        let subquery = self.bind_subquery(found.query, scope)?;
        let width = left.columns.len();
        let mut condition: Vec<ScalarExpr> = subquery.correlated.iter().map(|c| beside(c, width)).collect();
        let mut equal = Vec::new();
        if !found.operands.is_empty() {
            if found.operands.len() != subquery.items.len() {
                return Err(vec![
                    Diagnostic::error("W0309", "the subquery of IN has another number of columns")
                        .at(found.query.span)
                        .label(format!("expected {}, found {}", found.operands.len(), subquery.items.len())),
                ]);
            }
            for (operand, item) in found.operands.iter().zip(&subquery.items) {
                let operand = ExprBinder::plain(scope).bind(operand)?;
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
        let kind = if found.negated { JoinKind::Anti } else { JoinKind::Semi };
        let join = regular(kind, condition, found.span);
        Ok(settle(join_rels(left, subquery.rel, join)))
    }

    /// A query inside an expression, for IN and EXISTS.
    fn bind_subquery(&mut self, query: &Query, outer: &Scope) -> Bound<Subquery> {
        let Some(select) = simple_select(query) else {
            let rel = self.bind_nested(query)?;
            let items = identity(&rel.columns);
            return Ok(Subquery { rel, items, correlated: Vec::new() });
        };
        let (rel, scope, correlated) = self.bind_rows(select, outer)?;
        let mut items = Vec::new();
        for item in &select.items {
            match item {
                SelectItem::Expr { expr, .. } => items.push(ExprBinder::plain(&scope).bind(expr)?),
                _ => items.extend(scope.star().into_iter().map(|c| scope.column(c))),
            }
        }
        Ok(Subquery { rel, items, correlated })
    }

    /// FROM and WHERE of a subquery.
    fn bind_rows(&mut self, select: &Select, outer: &Scope) -> Bound<(Rel, Scope, Vec<ScalarExpr>)> {
        let Some(from) = &select.from else {
            return Err(vec![refused("a subquery without FROM", select.span)]);
        };
        let (rel, mut scope) = self.bind_from(from)?;
        scope.set_outer(outer);
        match &select.selection {
            Some(selection) => self.bind_where(rel, scope, selection),
            None => {
                let rel = settle(rel);
                let scope = scope.over(rel.columns.clone());
                Ok((rel, scope, Vec::new()))
            }
        }
    }

    /// The rows with the value of a scalar subquery as one more column.
    fn join_scalar(&mut self, left: Rel, scope: &Scope, query: &Query, span: Span) -> Bound<Rel> {
        let width = left.columns.len();
        let kept = |rel: &Rel| -> Vec<(String, ScalarExpr)> {
            let columns = identity(&rel.columns).into_iter().zip(&rel.columns);
            columns.map(|(e, c)| (c.name.clone(), e)).take(width).collect()
        };
        let Some((select, item)) = aggregate_select(query) else {
            return Err(vec![
                refused("a scalar subquery that is not one aggregate without GROUP BY", span)
                    .hint("only such a query gives exactly one row: write MAX(...), or join the table"),
            ]);
        };
        let (rel, inner, correlated) = self.bind_rows(select, scope)?;
        let (mut keys, mut condition) = (Vec::new(), Vec::new());
        for part in correlated {
            let Some((own, outer)) = correlation(&part) else {
                return Err(vec![
                    refused("a correlated aggregate whose condition is not own = outer", span)
                        .hint("compare a column of the subquery with one of the query around by ="),
                ]);
            };
            keys.push(own);
            condition.push(outer);
        }
        let mut grouping = Grouping {
            input: &inner,
            keys,
            sets: Vec::new(),
            aggregates: Vec::new(),
            window: None,
            properties: Vec::new(),
        };
        let value = ExprBinder { scope: &inner, grouping: Some(&mut grouping), pattern: None }.bind(item)?;
        let value = grouping.settle(value);
        let key_count = grouping.keys.len();
        let mut on = Vec::new();
        for (position, (own, outer)) in grouping.keys.iter().zip(condition).enumerate() {
            let key = ScalarExpr::Column { index: width + position, data_type: own.data_type() };
            on.push(call("=", vec![outer, key], span)?);
        }
        let is_count: Vec<bool> = grouping
            .aggregates
            .iter()
            .map(|a| matches!(a.function, AggregateFunction::Count | AggregateFunction::CountStar))
            .collect();
        let aggregated = grouping::aggregate(rel, &grouping, None, &self.config.time_zone(), span)?;
        let mut value = beside(&value, width);
        if key_count > 0 {
            // A count of nothing is 0, and nothing is what an outer row without a group has.
            value = value.transform(&mut |e| match e {
                ScalarExpr::Column { index, data_type }
                    if index >= width + key_count && is_count.get(index - width - key_count) == Some(&true) =>
                {
                    let zero = ScalarExpr::Literal { value: Value::Int(0), data_type: data_type.clone() };
                    let column = ScalarExpr::Column { index, data_type: data_type.with_nullable(true) };
                    coalesce(vec![column.clone(), zero], span).unwrap_or(column)
                }
                other => other,
            });
        }
        let value = nullable_columns(value, width);
        let joined = join_rels(left, aggregated, regular(JoinKind::Left, on, span));
        let mut items = kept(&joined);
        items.push((String::new(), value));
        // The join is settled with the WHERE or the select list that reads its value.
        Ok(joined.project(items))
    }
}

/// Columns of the padded side may be NULL.
fn nullable_columns(expr: ScalarExpr, width: usize) -> ScalarExpr {
    expr.transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } if index >= width => {
            ScalarExpr::Column { index, data_type: data_type.with_nullable(true) }
        }
        other => other,
    })
}

fn is_identity(project: &[ScalarExpr], input: &Rel) -> bool {
    project.len() == input.columns.len()
        && project.iter().enumerate().all(|(i, e)| matches!(e, ScalarExpr::Column { index, .. } if *index == i))
}

fn regular(kind: JoinKind, condition: Vec<ScalarExpr>, span: Span) -> JoinRel {
    JoinRel {
        kind,
        condition: condition.into_iter().flat_map(conjuncts).collect(),
        form: Some(JoinForm::Regular),
        state_ttl_ms: [None, None],
        span,
    }
}

/// An expression of the subquery over the columns of a join: the outer row's `width` columns first, the subquery's behind them.
fn beside(expr: &ScalarExpr, width: usize) -> ScalarExpr {
    expr.clone().transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } if index >= OUTER_BASE => {
            ScalarExpr::Column { index: index - OUTER_BASE, data_type }
        }
        ScalarExpr::Column { index, data_type } => ScalarExpr::Column { index: index + width, data_type },
        other => other,
    })
}

fn reads_outer(expr: &ScalarExpr) -> bool {
    let mut read = Vec::new();
    expr.columns_read(&mut read);
    read.iter().any(|c| *c >= OUTER_BASE)
}

/// `own = outer`: the expression over the subquery's rows, and the one over the outer row.
fn correlation(part: &ScalarExpr) -> Option<(ScalarExpr, ScalarExpr)> {
    let ScalarExpr::Call { function, args, .. } = part else { return None };
    let [a, b] = args.as_slice() else { return None };
    if function.name() != "=" {
        return None;
    }
    let is_outer = |e: &ScalarExpr| {
        let mut read = Vec::new();
        e.columns_read(&mut read);
        !read.is_empty() && read.iter().all(|c| *c >= OUTER_BASE)
    };
    match (is_outer(a), is_outer(b), reads_outer(a), reads_outer(b)) {
        (false, true, false, _) => Some((a.clone(), beside(b, 0))),
        (true, false, _, false) => Some((b.clone(), beside(a, 0))),
        _ => None,
    }
}

fn ast_conjuncts<'a>(expr: &'a Expr, out: &mut Vec<&'a Expr>) {
    match &expr.kind {
        ExprKind::Binary { op: BinaryOp::And, left, right, .. } => {
            ast_conjuncts(left, out);
            ast_conjuncts(right, out);
        }
        _ => out.push(expr),
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

fn fields(operand: &Expr) -> Vec<&Expr> {
    match &operand.kind {
        ExprKind::Row { fields, .. } => fields.iter().collect(),
        _ => vec![operand],
    }
}

fn scalar_subqueries<'a>(expr: &'a Expr, out: &mut Vec<(&'a Query, Span)>) {
    if let ExprKind::Subquery(query) = &expr.kind {
        out.push((query, expr.span));
        return;
    }
    let mut children: Vec<&'a Expr> = Vec::new();
    ast_children(expr, &mut |child| children.push(child));
    for child in children {
        scalar_subqueries(child, out);
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

/// The SELECT of a query that gives one row, and its one item.
fn aggregate_select(query: &Query) -> Option<(&Select, &Expr)> {
    let select = bare_select(query)?;
    match select.items.as_slice() {
        [SelectItem::Expr { expr, .. }]
            if select.group_by.is_none()
                && select.having.is_none()
                && contains_aggregate(expr)
                && !holds_over(expr) =>
        {
            Some((select, expr))
        }
        _ => None,
    }
}

fn bare_select(query: &Query) -> Option<&Select> {
    let is_bare = query.with.is_none() && query.order_by.is_empty() && query.limit.is_none() && query.offset.is_none();
    match &query.body.kind {
        SetExprKind::Select(select)
            if is_bare && select.from.is_some() && select.qualify.is_none() && select.hints.is_empty() =>
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
