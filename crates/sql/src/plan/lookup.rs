//! Lowers a join with FOR SYSTEM_TIME AS OF a processing-time attribute to a lookup in an external table.
//!
//! The table is asked by its columns that must equal a value of the left row or a constant; every other condition is checked on the answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use wiesel_core::diagnostic::Diagnostic;
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::ScalarExpr;
use wiesel_plan::join::{LookupJoinNode, LookupKey, LookupKeySource, LookupRetry};
use wiesel_plan::{CalcNode, Node, NodeId, NodeKind};

use super::join::{JoinRel, all_of, conjuncts, equal_pair, is_deterministic, moved_right, with_columns};
use super::lower::{Lowering, rowtime_of};
use super::rel::{Rel, RelColumn, RelKind, identity, schema_of};
use crate::catalog::{ColumnSource, Table};
use crate::config::Config;

impl Lowering {
    /// The node of a lookup join, under a projection when keys had to be computed.
    pub(super) fn lower_lookup(
        &mut self,
        inputs: (&Rel, &Rel),
        (join, retry): (&JoinRel, Option<LookupRetry>),
        columns: &[RelColumn],
        config: &Config,
    ) -> Result<NodeId, Diagnostic> {
        let Some(LookedUp { table, project: given, filters }) = looked_up(inputs.1) else {
            return Err(Diagnostic::error(
                "W0401",
                "FOR SYSTEM_TIME AS OF a processing-time attribute on more than projections and filters of a table is not supported yet",
            )
            .at(join.span)
            .hint("name the table itself, or a view that selects from it alone"));
        };
        if !table.info.is_lookup {
            return Err(Diagnostic::error(
                "W0506",
                format!("table `{}` cannot be asked for single keys by its connector", table.descriptor.name),
            )
            .at(join.span)
            .hint("lookup joins read tables of connector 'jdbc'"));
        }
        let old_width = inputs.0.columns.len();
        let own: Vec<RelColumn> = table
            .descriptor
            .columns
            .iter()
            .map(|c| {
                let nullable = c.data_type.nullable || join.kind.pads_right();
                RelColumn::new(c.name.clone(), c.data_type.with_nullable(nullable))
            })
            .collect();
        let over_table = |part: &ScalarExpr| over_projection(part, old_width, &given);
        let parts: Vec<ScalarExpr> = join
            .condition
            .iter()
            .map(over_table)
            .chain(filters.iter().map(|f| moved_right(f.clone(), 0, old_width)))
            .collect();
        let (mut asked, mut exprs, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            match key_of(&part, old_width, &own) {
                Some((column, source)) if asked.iter().all(|(known, _)| *known != column) => {
                    if let Source::Expr(expr) = &source {
                        exprs.push(expr.clone());
                    }
                    asked.push((column, source));
                }
                _ => rest.push(part),
            }
        }
        if asked.is_empty() {
            return Err(Diagnostic::error(
                "W0308",
                format!("a lookup join needs an equality on a column of `{}`", table.descriptor.name),
            )
            .at(join.span)
            .hint("both sides of the = must have one type: CAST the side of the stream"));
        }
        let (left, places) = with_columns(inputs.0.clone(), &exprs);
        let mut places = places.into_iter();
        let first_key = asked.first().map_or(0, |(column, _)| *column);
        let keys = asked
            .into_iter()
            .map(|(column, source)| LookupKey {
                column,
                source: match source {
                    Source::Expr(_) => LookupKeySource::Column(places.next().unwrap_or_default()),
                    Source::Constant(value) => LookupKeySource::Constant(value),
                },
            })
            .collect();
        let left_width = left.columns.len();
        let added = left_width - old_width;
        let node = LookupJoinNode {
            kind: join.kind,
            left_width,
            table: Arc::new(table.descriptor.clone()),
            columns: (0..own.len()).collect(),
            keys,
            condition: all_of(rest.into_iter().map(|part| moved_right(part, old_width, added)).collect()),
            retry,
        };
        let joined: Vec<RelColumn> = left.columns.iter().chain(&own).cloned().collect();
        let label = table.descriptor.path.clone();
        let input = self.lower(&left, config)?;
        let id = self.share(NodeKind::LookupJoin(node), vec![input], schema_of(&joined), rowtime_of(&joined), label);
        let is_given_whole = given.len() == own.len()
            && given.iter().enumerate().all(|(i, e)| matches!(e, ScalarExpr::Column { index, .. } if *index == i));
        if added == 0 && is_given_whole {
            return Ok(id);
        }
        // A key is never NULL in an answer, so it tells whether there is one.
        let is_found = match own.get(first_key) {
            Some(key) if join.kind.pads_right() => {
                is_not_null(ScalarExpr::Column { index: left_width + first_key, data_type: key.data_type.clone() })
            }
            _ => None,
        };
        let right = given.iter().map(|expr| {
            let expr = moved_right(expr.clone(), 0, left_width);
            match (&is_found, &expr) {
                (None, _) => expr,
                (_, ScalarExpr::Column { index, data_type }) => {
                    ScalarExpr::Column { index: *index, data_type: data_type.with_nullable(true) }
                }
                (Some(is_found), _) => {
                    let data_type = expr.data_type().with_nullable(true);
                    ScalarExpr::Case { branches: vec![(is_found.clone(), expr)], otherwise: None, data_type }
                }
            }
        });
        let project = identity(&joined).into_iter().take(old_width).chain(right).collect();
        let calc = NodeKind::Calc(CalcNode { filter: None, project });
        Ok(self.share(calc, vec![id], schema_of(columns), rowtime_of(columns), String::new()))
    }
}

/// A table under projections and filters, both over the columns of its connector.
struct LookedUp<'a> {
    table: &'a Table,
    project: Vec<ScalarExpr>,
    filters: Vec<ScalarExpr>,
}

/// What a lookup would ask: a table, a table with computed columns, or a view that selects from one table alone.
fn looked_up(rel: &Rel) -> Option<LookedUp<'_>> {
    match &rel.kind {
        RelKind::Scan { table } => {
            let column = |column: &crate::catalog::Column| match &column.source {
                ColumnSource::Connector(index) => {
                    ScalarExpr::Column { index: *index, data_type: column.data_type.clone() }
                }
                ColumnSource::Computed(expr, _) => expr.clone(),
            };
            Some(LookedUp { table, project: table.columns.iter().map(column).collect(), filters: Vec::new() })
        }
        RelKind::Calc { input, filter, project } => {
            let LookedUp { table, project: below, mut filters } = looked_up(input)?;
            filters.extend(filter.iter().flat_map(|f| conjuncts(over_projection(f, 0, &below))));
            let project = project.iter().map(|e| over_projection(e, 0, &below)).collect();
            // What is computed anew at each look must not be copied into a condition.
            filters.iter().all(is_deterministic).then_some(LookedUp { table, project, filters })
        }
        _ => None,
    }
}

/// An expression over columns from `first` on that are a projection, over what is projected; columns before it stay.
fn over_projection(expr: &ScalarExpr, first: usize, project: &[ScalarExpr]) -> ScalarExpr {
    expr.clone().transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } if index >= first => match project.get(index - first) {
            Some(inner) => moved_right(inner.clone(), 0, first),
            None => ScalarExpr::Column { index, data_type },
        },
        other => other,
    })
}

fn is_not_null(column: ScalarExpr) -> Option<ScalarExpr> {
    let function = wiesel_expr::function::lookup("IS NOT NULL")?;
    Some(ScalarExpr::Call { function, args: vec![column], data_type: DataType::not_null(TypeKind::Boolean) })
}

enum Source {
    Expr(ScalarExpr),
    Constant(Value),
}

/// Which column of the table a condition asks by, and with what.
fn key_of(part: &ScalarExpr, left_width: usize, right: &[RelColumn]) -> Option<(usize, Source)> {
    if let Some((own, ScalarExpr::Column { index, .. }, false)) = equal_pair(part, left_width) {
        return Some((index, Source::Expr(own)));
    }
    let ScalarExpr::Call { function, args, .. } = part else { return None };
    match (function.name(), args.as_slice()) {
        (
            "=",
            [ScalarExpr::Column { index, .. }, ScalarExpr::Literal { value, data_type }]
            | [ScalarExpr::Literal { value, data_type }, ScalarExpr::Column { index, .. }],
        ) => {
            let column = index.checked_sub(left_width)?;
            let is_same = right.get(column)?.data_type.to_arrow() == data_type.to_arrow();
            (is_same && *value != Value::Null).then(|| (column, Source::Constant(value.clone())))
        }
        _ => None,
    }
}

// ---------------------------------------------------------------- column pruning

/// The columns of the input that a lookup join reads, when `own` of its output are asked for.
pub fn columns_needed(join: &LookupJoinNode, own: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut wanted: Vec<usize> = own.iter().copied().collect();
    join.condition.iter().for_each(|c| c.columns_read(&mut wanted));
    wanted.retain(|c| *c < join.left_width);
    wanted.extend(join.keys.iter().filter_map(|key| match key.source {
        LookupKeySource::Column(index) => Some(index),
        LookupKeySource::Constant(_) => None,
    }));
    wanted.into_iter().collect()
}

/// Rewrites a lookup join for a pruned input, of whose output `own` are asked for; returns which of its old columns it now gives.
pub fn prune(node: &mut Node, own: &BTreeSet<usize>, below: &[usize]) -> Vec<usize> {
    let NodeKind::LookupJoin(join) = &mut node.kind else { return Vec::new() };
    let mut read: Vec<usize> = own.iter().copied().collect();
    join.condition.iter().for_each(|c| c.columns_read(&mut read));
    let fetched: Vec<usize> = (0..join.columns.len()).filter(|c| read.contains(&(join.left_width + c))).collect();
    // A table is asked for one column at least: whether the row is there.
    let fetched = if fetched.is_empty() { vec![0] } else { fetched };
    let left = |old: usize| below.iter().position(|c| *c == old).unwrap_or(0);
    let old_width = join.left_width;
    for key in &mut join.keys {
        if let LookupKeySource::Column(index) = &mut key.source {
            *index = left(*index);
        }
    }
    join.condition = join.condition.take().map(|condition| {
        condition.transform(&mut |e| match e {
            ScalarExpr::Column { index, data_type } => {
                let index = match index.checked_sub(old_width) {
                    None => left(index),
                    Some(index) => below.len() + fetched.iter().position(|c| *c == index).unwrap_or(0),
                };
                ScalarExpr::Column { index, data_type }
            }
            other => other,
        })
    });
    join.columns = fetched.iter().filter_map(|c| join.columns.get(*c).copied()).collect();
    join.left_width = below.len();
    below.iter().copied().chain(fetched.into_iter().map(|c| old_width + c)).collect()
}

/// The columns by which a lookup join's rows are known: the input's, when a row gets one answer at most.
pub fn upsert_keys(join: &LookupJoinNode, below: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let asks =
        |name: &String| join.keys.iter().any(|key| join.table.columns.get(key.column).is_some_and(|c| c.name == *name));
    let is_unique = !join.table.primary_key.is_empty() && join.table.primary_key.iter().all(asks);
    if is_unique { below.to_vec() } else { Vec::new() }
}
