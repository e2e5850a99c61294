//! `FROM o, LATERAL (SELECT ..)`: a subquery in FROM that reads the tables to its left.
//!
//! ```text
//! o, LATERAL (SELECT v FROM s WHERE s.k = o.k)                      ->   o JOIN s ON o.k = s.k
//! o LEFT JOIN LATERAL (SELECT MAX(v) FROM s WHERE s.k = o.k) ON ..  ->   o LEFT JOIN (SELECT k, MAX(v) FROM s GROUP BY k) ON ..
//! (SELECT DISTINCT k FROM s) d, LATERAL (SELECT .. FROM s WHERE s.k = d.k ORDER BY x DESC LIMIT 3)   ->   the Top-N of s per k
//! ```
//! As in Flink an aggregate gives no row for an outer row without partners, also a COUNT; a LEFT JOIN keeps the outer row with NULL.

use wiesel_core::diagnostic::Span;
use wiesel_expr::ScalarExpr;
use wiesel_plan::JoinKind;

use super::decorrelate::{column, decorrelate, grafted, is_correlated, name_of};
use super::expr::{Bound, ExprBinder, boolean, refused};
use super::query::{QueryBinder, aliased};
use super::scope::Scope;
use crate::parser::ast::{self, Join, JoinCondition, Query, TableAlias, TableRef, TableRefKind};
use crate::plan::join::{JoinRel, conjuncts, join as join_rels, settle};
use crate::plan::rel::{OUTER_BASE, Rel, RelKind, is_outer};

/// The query of a LATERAL subquery and its alias.
pub(super) fn lateral_ref(from: &TableRef) -> Option<(&Query, Option<&TableAlias>)> {
    match &from.kind {
        TableRefKind::Derived { lateral: true, query, alias } => Some((query, alias.as_ref())),
        TableRefKind::Parenthesised(inner) => lateral_ref(inner),
        _ => None,
    }
}

impl QueryBinder<'_> {
    /// `left JOIN LATERAL (query)`.
    pub(super) fn bind_lateral(
        &mut self,
        join: &Join,
        query: &Query,
        alias: Option<&TableAlias>,
    ) -> Bound<(Rel, Scope)> {
        let kind = match join.kind {
            ast::JoinKind::Inner | ast::JoinKind::Cross | ast::JoinKind::Comma => JoinKind::Inner,
            ast::JoinKind::Left => JoinKind::Left,
            ast::JoinKind::Right | ast::JoinKind::Full => {
                return Err(vec![refused("a RIGHT or FULL join with LATERAL", join.span)]);
            }
        };
        if join.natural || matches!(join.condition, JoinCondition::Using(_)) {
            return Err(vec![refused("USING or NATURAL with LATERAL", join.span)]);
        }
        let (left, left_scope) = self.bind_from(&join.left)?;
        let right = self.bind_correlated(query, &left_scope)?;
        let (right, right_scope) = aliased(right, alias, None)?;
        let left = if is_correlated(&right) { settle(left) } else { left };
        let scope = left_scope.beside(&right_scope);
        let condition = match &join.condition {
            JoinCondition::On(on) => conjuncts(boolean(ExprBinder::plain(&scope).bind(on)?, on.span)?),
            _ => Vec::new(),
        };
        let rel = lateral(left, right, kind, condition, join.span)?;
        let scope = scope.over(rel.columns.clone());
        Ok((rel, scope))
    }
}

fn lateral(left: Rel, right: Rel, kind: JoinKind, mut condition: Vec<ScalarExpr>, span: Span) -> Bound<Rel> {
    let is_correlated = is_correlated(&right);
    if is_correlated && condition.is_empty() {
        if kind == JoinKind::Inner
            && let Some(rel) = top_n_per_key(&left, &right)
        {
            return Ok(rel);
        }
        if let Some(rel) = grafted(&right, &left, kind) {
            return Ok(rel);
        }
    }
    let (left_width, right_width) = (left.columns.len(), right.columns.len());
    let right = decorrelate(right, &left, span)?;
    condition.extend(right.ties(&left.columns, left_width, span)?);
    let form = is_correlated.then_some(crate::plan::join::JoinForm::Regular);
    let joined = join_rels(left, right.rel, JoinRel { kind, condition, form, state_ttl_ms: [None, None], span });
    if right.outers.is_empty() {
        return Ok(joined);
    }
    let items = (0..left_width + right_width).map(|i| (name_of(&joined.columns, i), column(&joined.columns, i)));
    let items = items.collect();
    Ok(joined.project(items))
}

/// The keys of a table beside the first rows of the same table per key: a Top-N over that table. Rows whose key is NULL are a group of
/// their own there, as in Flink.
fn top_n_per_key(left: &Rel, right: &Rel) -> Option<Rel> {
    let (keys, grouped) = plain_columns(left, None)?;
    let RelKind::Aggregate { input, keys: group, aggregates, .. } = &grouped.kind else { return None };
    if !aggregates.is_empty() || group.len() != keys.len() {
        return None;
    }
    let keys: Vec<usize> = keys.into_iter().map(|k| group.get(k).copied()).collect::<Option<_>>()?;
    let (keys, table) = plain_columns(input, Some(keys))?;
    let RelKind::Rank { input, partition, order, start, end, is_limit: true } = &right.kind else { return None };
    if !partition.is_empty() || order.is_empty() {
        return None;
    }
    // The rows of the Top-N: columns of the table, filtered by the keys alone.
    let RelKind::Calc { input: below, filter: None, project } = &input.kind else { return None };
    let RelKind::Calc { input: source, filter: Some(filter), .. } = &below.kind else { return None };
    if format!("{source:?}") != format!("{table:?}") {
        return None;
    }
    let conditions = conjuncts(filter.clone());
    let tied: Vec<(usize, usize)> = conditions.iter().map(tied_columns).collect::<Option<_>>()?;
    let is_same = tied.len() == keys.len() && keys.iter().enumerate().all(|(i, key)| tied.contains(&(i, *key)));
    if !is_same || project.iter().any(crate::plan::rel::reads_outer) {
        return None;
    }
    let width = keys.len();
    let of_keys = keys.iter().enumerate().map(|(i, key)| (name_of(&left.columns, i), column(&table.columns, *key)));
    let own = project.iter().enumerate().map(|(i, e)| (name_of(&right.columns, i), e.clone()));
    let input = table.clone().project(of_keys.chain(own).collect());
    let columns = input.columns.clone();
    let order = order.iter().map(|key| wiesel_plan::SortColumn { column: key.column + width, ..*key }).collect();
    let kind = RelKind::Rank {
        input: Box::new(input),
        partition: (0..width).collect(),
        order,
        start: *start,
        end: *end,
        is_limit: true,
    };
    Some(Rel { kind, columns })
}

/// Where columns come from, through projections that compute nothing: their places in the node below these, and that node.
fn plain_columns(rel: &Rel, wanted: Option<Vec<usize>>) -> Option<(Vec<usize>, &Rel)> {
    let wanted = wanted.unwrap_or_else(|| (0..rel.columns.len()).collect());
    match &rel.kind {
        RelKind::Calc { input, filter: None, project } => {
            let below = wanted.iter().map(|i| match project.get(*i) {
                Some(ScalarExpr::Column { index, .. }) if !is_outer(*index) => Some(*index),
                _ => None,
            });
            plain_columns(input, Some(below.collect::<Option<_>>()?))
        }
        _ => Some((wanted, rel)),
    }
}

/// `own = outer` of two columns: the outer one and the own one.
fn tied_columns(condition: &ScalarExpr) -> Option<(usize, usize)> {
    let ScalarExpr::Call { function, args, .. } = condition else { return None };
    match (function.name(), args.as_slice()) {
        ("=", [ScalarExpr::Column { index: a, .. }, ScalarExpr::Column { index: b, .. }]) => {
            match (is_outer(*a), is_outer(*b)) {
                (true, false) => Some((a - OUTER_BASE, *b)),
                (false, true) => Some((b - OUTER_BASE, *a)),
                _ => None,
            }
        }
        _ => None,
    }
}
