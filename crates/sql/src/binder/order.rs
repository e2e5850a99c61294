//! ORDER BY, LIMIT, OFFSET and FETCH at the end of a query.
//!
//! | written | becomes |
//! |---|---|
//! | ORDER BY time attribute [ASC] [, more], no LIMIT | a sort by time |
//! | ORDER BY anything LIMIT n [OFFSET m] | a Top-N without partitions |
//! | LIMIT n [OFFSET m] | the same by arrival |
//! | ORDER BY in batch mode | a sort at the end, and LIMIT the first rows of it |
//! | ORDER BY without LIMIT inside another query | nothing, as in Flink: no outer query sees an order |
//!
//! A key may be the number of an output column, an output column's name, an expression over output columns or over FROM; in the last case
//! the select list gets a hidden column, which a projection drops again.

use wiesel_core::Value;
use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_expr::ScalarExpr;
use wiesel_plan::{RankEnd, SortColumn};

use super::expr::{Bound, ExprBinder, refused};
use super::query::QueryBinder;
use super::rank::{Columns, sort_key};
use super::scope::Scope;
use crate::parser::ast::{Expr, ExprKind, Ident, Literal, OrderItem, Query, Select, SelectItem, SetExpr, SetExprKind};
use crate::plan::rel::{Rel, RelKind, TimeAttribute, identity};

/// Binds a query's body with what stands behind it.
pub(super) fn bind(binder: &mut QueryBinder<'_>, query: &Query, is_nested: bool) -> Bound<Rel> {
    let is_limited = query.limit.is_some() || query.offset.is_some();
    if !is_limited && (query.order_by.is_empty() || is_nested) {
        return binder.bind_set(&query.body);
    }
    let (rel, order, width) = ordered(binder, &query.body, &query.order_by)?;
    let is_batch = binder.config.is_batch() && !order.is_empty();
    let (rel, order) = if is_batch { (batch_sort(rel, order), Vec::new()) } else { (rel, order) };
    let rel = match (is_limited, is_batch) {
        (true, _) => limit(binder, rel, order, query)?,
        (false, true) => rel,
        (false, false) => sort(rel, &order, &query.order_by)?,
    };
    if rel.columns.len() == width {
        return Ok(rel);
    }
    let items = identity(&rel.columns).into_iter().zip(&rel.columns).take(width);
    let items = items.map(|(expr, column)| (column.name.clone(), expr)).collect();
    Ok(rel.project(items))
}

/// The body with the sort keys as columns, and how many columns are its own.
fn ordered(binder: &mut QueryBinder<'_>, body: &SetExpr, items: &[OrderItem]) -> Bound<(Rel, Vec<SortColumn>, usize)> {
    let mut hidden: Vec<&Expr> = Vec::new();
    if let SetExprKind::Select(select) = &body.kind
        && !select.distinct
    {
        let is_own = |expr: &Expr| ordinal(expr).is_some() || is_output(select, expr);
        hidden.extend(items.iter().map(|item| &item.expr).filter(|expr| !is_own(expr)));
    }
    let rel = match &body.kind {
        SetExprKind::Select(select) if !hidden.is_empty() => {
            let mut select = select.clone();
            select.items.extend(hidden.iter().map(|expr| SelectItem::Expr { expr: (*expr).clone(), alias: None }));
            binder.bind_select(&select)?
        }
        _ => binder.bind_set(body)?,
    };
    let width = rel.columns.len() - hidden.len();
    let functions = binder.functions();
    let scope = Scope::new(None, rel.columns.iter().take(width).cloned().collect()).with_functions(functions.clone());
    let whole = Scope::new(None, rel.columns.clone()).with_functions(functions);
    let mut columns = Columns::new(&whole);
    let mut next_hidden = width;
    let mut order = Vec::with_capacity(items.len());
    for item in items {
        let place = match ordinal(&item.expr) {
            Some(number) => match usize::try_from(number).ok().filter(|n| (1..=width).contains(n)) {
                Some(number) => number - 1,
                None => {
                    return Err(vec![
                        Diagnostic::error("W0305", "ORDER BY names an output column by a number that does not exist")
                            .at(item.expr.span)
                            .label(format!("expected a number from 1 to {width}")),
                    ]);
                }
            },
            None if hidden.iter().any(|expr| std::ptr::eq(*expr, &raw const item.expr)) => {
                next_hidden += 1;
                next_hidden - 1
            }
            None => columns.place_of(ExprBinder::plain(&scope).bind(&item.expr)?),
        };
        order.push(sort_key(place, item));
    }
    Ok((columns.over(rel), order, width))
}

fn ordinal(expr: &Expr) -> Option<i64> {
    match &expr.kind {
        ExprKind::Literal(Literal::Number(text)) => text.parse().ok(),
        _ => None,
    }
}

/// Whether an expression is the name of a column that the select list gives by that name.
fn is_output(select: &Select, expr: &Expr) -> bool {
    let ExprKind::Name(parts) = &expr.kind else { return false };
    let [name] = parts.as_slice() else { return false };
    let gives = |ident: &Ident| ident.value == name.value;
    select.items.iter().any(|item| match item {
        SelectItem::Expr { alias: Some(alias), .. } => gives(alias),
        SelectItem::Expr { expr, alias: None } => match &expr.kind {
            ExprKind::Name(parts) => parts.last().is_some_and(gives),
            ExprKind::Field { field, .. } => gives(field),
            _ => false,
        },
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard { .. } => false,
    })
}

fn limit(binder: &QueryBinder<'_>, rel: Rel, order: Vec<SortColumn>, query: &Query) -> Bound<Rel> {
    let offset = query.offset.as_ref().map(|expr| row_count(binder, expr)).transpose()?.unwrap_or(0);
    let end = match &query.limit {
        Some(expr) => RankEnd::Constant(offset.saturating_add(row_count(binder, expr)?)),
        None if order.is_empty() => RankEnd::Constant(u64::MAX),
        None => {
            let span = query.offset.as_ref().map_or(query.span, |expr| expr.span);
            return Err(vec![refused("ORDER BY with OFFSET and without LIMIT", span)]);
        }
    };
    let columns = rel.columns.clone();
    let kind = RelKind::Rank {
        input: Box::new(rel),
        partition: Vec::new(),
        order,
        start: offset.saturating_add(1),
        end,
        is_limit: true,
    };
    Ok(Rel { kind, columns })
}

fn row_count(binder: &QueryBinder<'_>, expr: &Expr) -> Bound<u64> {
    let scope = Scope::default();
    let bound = wiesel_expr::fold(ExprBinder::plain(&scope).bind(expr)?, &binder.config.session());
    match bound {
        ScalarExpr::Literal { value: Value::Int(count), .. } if count >= 0 => Ok(count.unsigned_abs()),
        _ => Err(vec![
            Diagnostic::error("W0305", "LIMIT and OFFSET take a number of rows")
                .at(expr.span)
                .label("expected a whole number that is not negative"),
        ]),
    }
}

/// Batch mode sorts by anything; a limit then takes the first rows that come.
fn batch_sort(rel: Rel, order: Vec<SortColumn>) -> Rel {
    let columns = rel.columns.clone();
    Rel { kind: RelKind::BatchSort { input: Box::new(rel), order }, columns }
}

/// A sort without a limit must begin with time.
fn sort(rel: Rel, order: &[SortColumn], items: &[OrderItem]) -> Bound<Rel> {
    let span = items.first().map_or_else(Span::default, |item| item.expr.span);
    let time = order.first().filter(|key| !key.descending).and_then(|key| {
        let attribute = rel.columns.get(key.column)?.time?;
        Some((attribute == TimeAttribute::Rowtime).then_some(key.column))
    });
    let Some(time) = time else {
        return Err(vec![
            refused("ORDER BY of a streaming query that does not begin with an ascending time attribute", span)
                .hint("add LIMIT n, or order by the time attribute first"),
        ]);
    };
    let order = order.iter().skip(1).copied().collect();
    let columns = rel.columns.clone();
    Ok(Rel { kind: RelKind::Sort { input: Box::new(rel), time, order }, columns })
}
