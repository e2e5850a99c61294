//! Subqueries in a query with GROUP BY. Inside an aggregate's argument and among the keys they belong to the rows that are grouped;
//! elsewhere in the select list and in HAVING they are joined to the groups.
//!
//! ```text
//! SELECT k, SUM((SELECT ..)), (SELECT MAX(v) FROM s) FROM o GROUP BY k HAVING k IN (SELECT ..)
//!            '- below                '- above: one more column behind keys and aggregates      '- above: a semi join
//! ```
//! Above a GROUP BY a subquery reads nothing of the query around it; Flink fails on those that do.

use wiesel_expr::ScalarExpr;

use super::expr::{Bound, ExprBinder, Grouping, SUBQUERY_BASE, ast_children, boolean, call, is_aggregate_name};
use super::query::QueryBinder;
use super::scope::Scope;
use super::subquery::{Conjunct, Membership, ast_conjuncts};
use super::subquery_value::{ValueSubquery, value_subqueries};
use crate::parser::ast::{Expr, ExprKind, GroupItem, Select, SelectItem};
use crate::plan::rel::Rel;

/// The expressions of a grouped SELECT whose subqueries belong to the rows that are grouped.
pub(super) fn below_group_by(select: &Select) -> Vec<&Expr> {
    let mut out = Vec::new();
    for item in select.group_by.iter().flat_map(|g| &g.items) {
        keys(item, &mut out);
    }
    for item in &select.items {
        if let SelectItem::Expr { expr, .. } = item {
            aggregates(expr, &mut out);
        }
    }
    select.having.iter().for_each(|having| aggregates(having, &mut out));
    out
}

/// The expressions of a GROUP BY item.
pub(super) fn keys<'a>(item: &'a GroupItem, out: &mut Vec<&'a Expr>) {
    match item {
        GroupItem::Expr(expr) => out.push(expr),
        GroupItem::Empty(_) => {}
        GroupItem::Composite(exprs, _) => out.extend(exprs),
        GroupItem::GroupingSets(items, _) | GroupItem::Rollup(items, _) | GroupItem::Cube(items, _) => {
            items.iter().for_each(|item| keys(item, out));
        }
    }
}

fn aggregates<'a>(expr: &'a Expr, out: &mut Vec<&'a Expr>) {
    match &expr.kind {
        ExprKind::Function(call) if is_aggregate_name(&call.name.last().value) => out.push(expr),
        _ => ast_children(expr, &mut |child| aggregates(child, out)),
    }
}

/// What is joined to the groups.
pub(super) struct AboveGroupBy<'a> {
    scope: Scope,
    values: Vec<(ValueSubquery<'a>, Rel)>,
    operands: Vec<Vec<ScalarExpr>>,
    having: Vec<(&'a Expr, bool)>,
    memberships: Vec<Membership<'a>>,
    conditions: Vec<ScalarExpr>,
    compared: Vec<Vec<ScalarExpr>>,
}

impl<'a> AboveGroupBy<'a> {
    /// The scope that knows the subqueries' values.
    pub(super) fn take_scope(&mut self) -> Scope {
        std::mem::take(&mut self.scope)
    }

    /// Binds HAVING and what subqueries are compared with, over keys and aggregates.
    pub(super) fn bind<'s>(&mut self, scope: &'s Scope, grouping: &mut Grouping<'s>) -> Bound<()> {
        let mut errors = Vec::new();
        let mut bind = |expr: &Expr| ExprBinder { scope, grouping: Some(grouping), pattern: None }.bind(expr);
        for (found, _) in &self.values {
            match found.operands.iter().map(|o| bind(o)).collect() {
                Ok(operands) => self.operands.push(operands),
                Err(mut e) => errors.append(&mut e),
            }
        }
        for found in &self.memberships {
            match found.operands.iter().map(|o| bind(o)).collect() {
                Ok(operands) => self.compared.push(operands),
                Err(mut e) => errors.append(&mut e),
            }
        }
        for (having, negated) in &self.having {
            let bound = bind(having).and_then(|e| boolean(e, having.span));
            match bound.and_then(|e| if *negated { call("NOT", vec![e], having.span) } else { Ok(e) }) {
                Ok(condition) => self.conditions.push(condition),
                Err(mut e) => errors.append(&mut e),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl QueryBinder<'_> {
    /// The subqueries of the select list and of HAVING that are joined to the groups.
    pub(super) fn above_group_by<'a>(
        &mut self,
        items: Vec<&'a Expr>,
        having: Option<&'a Expr>,
        scope: &Scope,
    ) -> Bound<AboveGroupBy<'a>> {
        let mut above = AboveGroupBy {
            scope: scope.clone(),
            values: Vec::new(),
            operands: Vec::new(),
            having: Vec::new(),
            memberships: Vec::new(),
            conditions: Vec::new(),
            compared: Vec::new(),
        };
        for part in having.map_or_else(Vec::new, ast_conjuncts) {
            match part {
                Conjunct::Membership(found) => above.memberships.push(found),
                Conjunct::Plain(expr, negated) => above.having.push((expr, negated)),
            }
        }
        let of_memberships: Vec<&Expr> = above.memberships.iter().flat_map(|m| m.operands.iter().copied()).collect();
        let of_having: Vec<&Expr> = above.having.iter().map(|(expr, _)| *expr).collect();
        for found in items.into_iter().chain(of_memberships).chain(of_having).flat_map(value_subqueries) {
            if above.scope.subquery(found.span).is_some() {
                continue;
            }
            let rel = self.bind_uncorrelated(found.query, scope, "above GROUP BY")?;
            let value =
                ScalarExpr::Column { index: SUBQUERY_BASE + above.values.len(), data_type: found.data_type(&rel) };
            above.scope.add_subquery(found.span, value);
            above.values.push((found, rel));
        }
        Ok(above)
    }

    /// The groups with the values behind them, for which HAVING holds.
    pub(super) fn join_above(
        &mut self,
        mut rel: Rel,
        above: AboveGroupBy<'_>,
        scope: &Scope,
        grouping: &Grouping<'_>,
    ) -> Bound<Rel> {
        let settled = |exprs: Vec<ScalarExpr>| exprs.into_iter().map(|e| grouping.settle(e)).collect::<Vec<_>>();
        for ((found, subquery), operands) in above.values.into_iter().zip(above.operands) {
            rel = found.join(rel, subquery, settled(operands), self.config)?;
        }
        let mut conditions = settled(above.conditions);
        rel = match conditions.len() {
            0 => rel,
            1 => rel.filter(conditions.remove(0)),
            _ => rel.filter(ScalarExpr::And(conditions)),
        };
        rel = crate::plan::join::settle(rel);
        for (found, operands) in above.memberships.iter().zip(above.compared) {
            rel = self.semi_join_above(rel, scope, found, settled(operands))?;
        }
        Ok(rel)
    }
}
