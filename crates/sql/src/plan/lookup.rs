//! Lowers a join with FOR SYSTEM_TIME AS OF a processing-time attribute to a lookup in an external table.
//!
//! The table is asked by its columns that must equal a value of the left row or a constant; every other condition is checked on the answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use wiesel_core::Value;
use wiesel_core::diagnostic::Diagnostic;
use wiesel_expr::ScalarExpr;
use wiesel_plan::join::{LookupJoinNode, LookupKey, LookupKeySource};
use wiesel_plan::{Node, NodeId, NodeKind};

use super::join::{JoinRel, all_of, equal_pair, moved_right, with_columns};
use super::lower::{Lowering, rowtime_of};
use super::rel::{Rel, RelColumn, RelKind, schema_of};
use crate::catalog::{ColumnSource, Table};
use crate::config::Config;

impl Lowering {
    /// The node of a lookup join, under a projection when keys had to be computed.
    pub(super) fn lower_lookup(
        &mut self,
        inputs: (&Rel, &Rel),
        join: &JoinRel,
        columns: &[RelColumn],
        config: &Config,
    ) -> Result<NodeId, Diagnostic> {
        let RelKind::Scan { table } = &inputs.1.kind else {
            return Err(Diagnostic::error(
                "W0401",
                "FOR SYSTEM_TIME AS OF a processing-time attribute on a view or query is not supported yet",
            )
            .at(join.span)
            .hint("name the table itself and put conditions into ON"));
        };
        if !table.info.is_lookup {
            return Err(Diagnostic::error(
                "W0506",
                format!("table `{}` cannot be asked for single keys by its connector", table.descriptor.name),
            )
            .at(join.span)
            .hint("lookup joins read tables of connector 'jdbc'"));
        }
        let positions = connector_columns(table, join)?;
        let old_width = inputs.0.columns.len();
        let (mut asked, mut exprs, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for part in &join.condition {
            match key_of(part, old_width, &inputs.1.columns) {
                Some((column, source)) if asked.iter().all(|(known, _)| *known != column) => {
                    if let Source::Expr(expr) = &source {
                        exprs.push(expr.clone());
                    }
                    asked.push((column, source));
                }
                _ => rest.push(part.clone()),
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
        let keys = asked
            .into_iter()
            .map(|(column, source)| LookupKey {
                column: positions.get(column).copied().unwrap_or(column),
                source: match source {
                    Source::Expr(_) => LookupKeySource::Column(places.next().unwrap_or_default()),
                    Source::Constant(value) => LookupKeySource::Constant(value),
                },
            })
            .collect();
        let left_width = left.columns.len();
        let added = left_width - old_width;
        let shift = |expr: ScalarExpr| moved_right(expr, old_width, added);
        let node = LookupJoinNode {
            kind: join.kind,
            left_width,
            table: Arc::new(table.descriptor.clone()),
            columns: positions,
            keys,
            condition: all_of(rest.into_iter().map(shift).collect()),
        };
        let joined: Vec<RelColumn> = left.columns.iter().chain(columns.iter().skip(old_width)).cloned().collect();
        let label = table.descriptor.path.clone();
        let input = self.lower(&left, config)?;
        let id = self.share(NodeKind::LookupJoin(node), vec![input], schema_of(&joined), rowtime_of(&joined), label);
        Ok(self.asked_columns(id, &joined, columns, |i| i < old_width || i >= left_width))
    }
}

enum Source {
    Expr(ScalarExpr),
    Constant(Value),
}

/// The place of each column of the scan in what the connector has.
fn connector_columns(table: &Table, join: &JoinRel) -> Result<Vec<usize>, Diagnostic> {
    let place = |c: &ColumnSource| match c {
        ColumnSource::Connector(index) => Some(*index),
        ColumnSource::Computed(..) => None,
    };
    table.columns.iter().map(|c| place(&c.source)).collect::<Option<Vec<usize>>>().ok_or_else(|| {
        Diagnostic::error("W0401", "a lookup in a table with computed columns is not supported yet").at(join.span)
    })
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
