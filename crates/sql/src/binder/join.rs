//! FROM with several tables: the kinds of join, ON, USING and NATURAL, and what names mean above them.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_expr::ScalarExpr;
use wiesel_plan::JoinKind;
use wiesel_plan::join::LookupRetry;
use wiesel_plan::join::VersionTimes;

use super::expr::{Bound, ExprBinder, boolean, both, call, refused};
use super::query::{QueryBinder, aliased};
use super::scope::Scope;
use crate::parser::ast::{self, Ident, Join, JoinCondition, TableRefKind};
use crate::plan::join::{JoinForm, JoinRel, conjuncts, join as join_rels, over_right, settle};
use crate::plan::rel::{Rel, TimeAttribute, identity};

impl QueryBinder<'_> {
    /// Binds a join; its form is decided when the WHERE is known.
    pub(super) fn bind_join(&mut self, join: &Join) -> Bound<(Rel, Scope)> {
        if let Some(unnest) = super::unnest::unnest_ref(&join.right, self.functions().as_deref()) {
            return self.bind_unnest_join(join, unnest);
        }
        if let Some((query, alias)) = super::lateral::lateral_ref(&join.right) {
            return self.bind_lateral(join, query, alias);
        }
        let kind = match join.kind {
            ast::JoinKind::Inner | ast::JoinKind::Cross | ast::JoinKind::Comma => JoinKind::Inner,
            ast::JoinKind::Left => JoinKind::Left,
            ast::JoinKind::Right => JoinKind::Right,
            ast::JoinKind::Full => JoinKind::Full,
        };
        let left = self.bind_from(&join.left);
        if let TableRefKind::Table { name, hints, as_of: Some(as_of), alias } = &join.right.kind {
            let ((left, left_scope), (right, table)) = both(left, self.bind_table(name, hints))?;
            let (right, right_scope) = aliased(right, alias.as_ref(), Some(table))?;
            let form = match temporal_form(&left, &left_scope, &right, as_of, kind)? {
                JoinForm::Lookup(_) => JoinForm::Lookup(self.lookup_retry(&right_scope)),
                form => form,
            };
            return self.join_bound((left, left_scope), (right, right_scope), (kind, Some(form)), join);
        }
        let (left, right) = both(left, self.bind_from(&join.right))?;
        self.join_bound(left, right, (kind, None), join)
    }

    fn join_bound(
        &mut self,
        left: (Rel, Scope),
        right: (Rel, Scope),
        (kind, form): (JoinKind, Option<JoinForm>),
        join: &Join,
    ) -> Bound<(Rel, Scope)> {
        let ((left, left_scope), (right, right_scope)) = (left, right);
        let span = join.span;
        let mut node = JoinRel {
            kind,
            condition: Vec::new(),
            form,
            state_ttl_ms: [self.state_ttl_hint(&left_scope), self.state_ttl_hint(&right_scope)],
            span,
        };
        let (left_width, own_width) = (left.columns.len(), left.columns.len() + right.columns.len());
        let mut right = right;
        let shared = match &join.condition {
            JoinCondition::Using(names) => names.clone(),
            _ if join.natural => common_names(&left_scope, &right_scope, span),
            JoinCondition::On(condition) => {
                let mut scope = left_scope.beside(&right_scope);
                if let Some(outer) = &self.outer {
                    scope.set_outer(outer);
                }
                right = self.bind_on_subqueries(condition, &mut scope, left_width, right)?;
                let bound = boolean(ExprBinder::plain(&scope).bind(condition)?, condition.span)?;
                node.condition = conjuncts(bound);
                Vec::new()
            }
            JoinCondition::None => Vec::new(),
        };
        let scope = left_scope.beside(&right_scope);
        let mut pairs = Vec::new();
        for name in &shared {
            let (l, r) = (left_scope.position(name)?, right_scope.position(name)? + left_width);
            node.condition.push(call("=", vec![scope.column(l), scope.column(r)], name.span)?);
            pairs.push((name.value.clone(), l, r));
        }
        let mut rel = join_rels(left, right, node);
        if rel.columns.len() > own_width {
            // The subqueries of ON are behind the columns of the tables.
            let own = identity(&rel.columns).into_iter().zip(&rel.columns).take(own_width);
            let own = own.map(|(e, c)| (c.name.clone(), e)).collect();
            rel = rel.project(own);
        }
        let mut scope = scope.over(rel.columns.clone());
        if kind == JoinKind::Full && !pairs.is_empty() {
            // The shared column has a value when either side has: one more column.
            let mut items: Vec<(String, ScalarExpr)> =
                identity(&rel.columns).into_iter().zip(&rel.columns).map(|(e, c)| (c.name.clone(), e)).collect();
            let base = items.len();
            for (name, l, r) in &pairs {
                items.push((name.clone(), super::expr::coalesce(vec![scope.column(*l), scope.column(*r)], span)?));
            }
            rel = rel.project(items);
            scope = scope.over(rel.columns.clone());
            scope.share(pairs.into_iter().enumerate().map(|(i, (name, l, r))| (name, base + i, vec![l, r])).collect());
        } else if kind == JoinKind::Right {
            scope.share(pairs.into_iter().map(|(name, l, r)| (name, r, vec![l])).collect());
        } else {
            scope.share(pairs.into_iter().map(|(name, l, r)| (name, l, vec![r])).collect());
        }
        Ok((rel, scope))
    }

    /// Joins the subqueries of ON to the right side, as Flink does. They may read nothing of the tables around them, and what they are
    /// compared with may read the right side only: Flink has no plan for others.
    fn bind_on_subqueries(
        &mut self,
        condition: &ast::Expr,
        scope: &mut Scope,
        left_width: usize,
        mut right: Rel,
    ) -> Bound<Rel> {
        for found in super::subquery_value::value_subqueries(condition) {
            let subquery = self.bind_uncorrelated(found.query, scope, "in ON")?;
            let mut operands = Vec::new();
            for operand in &found.operands {
                let bound = ExprBinder::plain(scope).bind(operand)?;
                let mut read = Vec::new();
                bound.columns_read(&mut read);
                if read.iter().any(|c| *c < left_width) {
                    return Err(vec![
                        refused("a subquery in ON that is compared with the left side of the join", operand.span)
                            .hint("put the condition into WHERE, or into a subquery of the left side"),
                    ]);
                }
                operands.push(over_right(&bound, left_width));
            }
            right = settle(found.join(right, subquery, operands, self.config)?);
            let value = super::decorrelate::column(&right.columns, right.columns.len() - 1);
            scope.add_subquery(found.span, super::decorrelate::shifted(&value, left_width));
        }
        Ok(right)
    }

    /// What a LOOKUP hint of the SELECT says about a table.
    fn lookup_retry(&self, scope: &Scope) -> Option<LookupRetry> {
        self.lookup_hints.iter().find(|(name, _)| scope.relation(name).is_some()).and_then(|(_, retry)| *retry)
    }

    /// What a STATE_TTL hint of the SELECT says about a table.
    fn state_ttl_hint(&self, scope: &Scope) -> Option<u64> {
        self.state_ttl_hints.iter().find(|(name, _)| scope.relation(name).is_some()).map(|(_, ttl_ms)| *ttl_ms)
    }
}

/// How a join with FOR SYSTEM_TIME AS OF runs.
fn temporal_form(left: &Rel, scope: &Scope, right: &Rel, as_of: &ast::Expr, kind: JoinKind) -> Bound<JoinForm> {
    if !matches!(kind, JoinKind::Inner | JoinKind::Left) {
        return Err(vec![refused("FOR SYSTEM_TIME AS OF in a RIGHT or FULL join", as_of.span)]);
    }
    let column = match ExprBinder::plain(scope).bind(as_of)? {
        ScalarExpr::Column { index, .. } => Some(index),
        _ => None,
    };
    let time = column.and_then(|c| left.columns.get(c).and_then(|left| Some((c, left.time?))));
    match time {
        Some((left_time, TimeAttribute::Rowtime)) => {
            match right.columns.iter().position(|c| c.time == Some(TimeAttribute::Rowtime)) {
                Some(right_time) => {
                    Ok(JoinForm::Temporal(VersionTimes { left: left_time, right: right_time, state_ttl_ms: 0 }))
                }
                None => Err(vec![
                    Diagnostic::error(
                        "W0308",
                        "the table of FOR SYSTEM_TIME AS OF has no versions: it has no rowtime attribute",
                    )
                    .at(as_of.span)
                    .hint("declare WATERMARK FOR and PRIMARY KEY on it, or join it AS OF a processing-time attribute"),
                ]),
            }
        }
        Some((_, TimeAttribute::Proctime)) => Ok(JoinForm::Lookup(None)),
        None => Err(vec![
            Diagnostic::error("W0308", "FOR SYSTEM_TIME AS OF needs a time attribute of the left table")
                .at(as_of.span)
                .label("expected a column with a watermark, or PROCTIME()"),
        ]),
    }
}

/// The names that both sides have, in the order of the left side.
fn common_names(left: &Scope, right: &Scope, span: Span) -> Vec<Ident> {
    let visible = |scope: &Scope| -> Vec<String> {
        scope.star().into_iter().filter_map(|i| scope.columns().get(i)).map(|c| c.name.clone()).collect()
    };
    let right = visible(right);
    let both = visible(left).into_iter().filter(|name| right.contains(name));
    both.map(|value| Ident { value, quoted: false, span }).collect()
}

/// The STATE_TTL hints of a SELECT: table or alias, and milliseconds.
pub(super) fn state_ttl_hints(hint: &ast::Hint) -> Bound<Vec<(String, u64)>> {
    let mut hints = Vec::new();
    for arg in &hint.args {
        let ast::HintArg::Pair(pair) = arg else {
            return Err(vec![
                Diagnostic::error("W0305", "a STATE_TTL hint takes 'table' = 'duration' pairs").at(hint.span),
            ]);
        };
        let Some(ttl) = wiesel_core::options::parse_duration(&pair.value.value) else {
            return Err(vec![
                Diagnostic::error("W0305", format!("`{}` is no duration", pair.value.value))
                    .at(pair.value.span)
                    .label("expected a number and a unit, for instance '1 d' or '30 min'"),
            ]);
        };
        hints.push((pair.key.value.clone(), u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)));
    }
    Ok(hints)
}
