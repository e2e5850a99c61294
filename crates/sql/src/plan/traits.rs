//! Which changes flow where: every node's changelog mode, inferred from the sinks backwards, so that nobody computes a -U that nobody reads.
//!
//! The rules are Flink's: a filter above an update needs the old row too, an aggregation over updates needs it to take values back, and an
//! upsert sink is content with the new row by key. A query whose changes its sink cannot take is refused here.

use wiesel_core::diagnostic::Diagnostic;
use wiesel_core::{ChangelogMode, TypeKind};
use wiesel_expr::ScalarExpr;
use wiesel_plan::{JoinForm, Node, NodeId, NodeKind, RankStrategy, SinkNode, SourceNode};

use super::join;

/// Fills in changelog modes, upsert keys, retraction flags and per-step folding.
pub fn infer(nodes: &mut [Node], materialize_is_off: bool) -> Result<(), Diagnostic> {
    infer_upsert_keys(nodes);
    for node in nodes.iter() {
        if let (NodeKind::Join(join), Some(right)) = (&node.kind, node.inputs.get(1).and_then(|i| nodes.get(*i))) {
            join::check_versions(join, &right.upsert_keys)?;
            if let JoinForm::Window(ends) = &join.form
                && !ends.is_event_time
            {
                return Err(refused("a window join over processing time"));
            }
        }
    }
    let updates = updating(nodes);
    super::rank::choose_strategies(nodes, &updates);
    let mut wanted: Vec<ChangelogMode> = vec![ChangelogMode::Insert; nodes.len()];
    for id in (0..nodes.len()).rev() {
        let node = &nodes[id];
        let mut own = if updates[id] { wanted[id].max(ChangelogMode::Upsert) } else { ChangelogMode::Insert };
        if let NodeKind::Join(join) = &node.kind {
            let updating = |port: usize| node.inputs.get(port).is_some_and(|i| updates[*i]);
            own = join::settled_mode(join, own, [updating(0), updating(1)]);
        }
        for input in node.inputs.clone() {
            if updates[input] {
                let mode = wanted_of_input(nodes, node, own, input, materialize_is_off)?;
                wanted[input] = wanted[input].max(mode);
            }
        }
        nodes[id].changelog_mode = own;
    }
    pass_on_full_changelogs(nodes);
    for id in 0..nodes.len() {
        let retracts = nodes[id].inputs.iter().any(|i| nodes[*i].changelog_mode != ChangelogMode::Insert);
        // A sink's own mode is what reaches it.
        if matches!(nodes[id].kind, NodeKind::Sink(_) | NodeKind::Collect)
            && let Some(input) = nodes[id].inputs.first().copied()
        {
            nodes[id].changelog_mode = nodes[input].changelog_mode;
        }
        match &mut nodes[id].kind {
            NodeKind::GroupAggregate(group) => group.input_retracts = retracts,
            NodeKind::WindowAggregate(window) => window.input_retracts = retracts,
            _ => {}
        }
    }
    mark_folding(nodes);
    cascade_mini_batches(nodes);
    Ok(())
}

/// An aggregation that reads nothing but the ends of mini-batches tells what they change at once: one latency passes from source to sink,
/// however many aggregations stand one above the other. Flink's operators end their batches by one marker that flows through all of them.
fn cascade_mini_batches(nodes: &mut [Node]) {
    let mut comes_in_batches: Vec<bool> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let inputs = &node.inputs;
        let below = !inputs.is_empty() && inputs.iter().all(|input| comes_in_batches.get(*input) == Some(&true));
        comes_in_batches.push(match &mut node.kind {
            NodeKind::GroupAggregate(group) if group.mini_batch.is_some() => {
                if below {
                    group.mini_batch = None;
                    group.fold_per_step = true;
                }
                true
            }
            NodeKind::Join(join) => below && matches!(join.form, JoinForm::Regular(_)),
            NodeKind::Calc(_)
            | NodeKind::Exchange(_)
            | NodeKind::UnionAll
            | NodeKind::Expand(_)
            | NodeKind::Unnest(_)
            | NodeKind::Rank(_)
            | NodeKind::Deduplicate(_)
            | NodeKind::Materialize(_) => below,
            _ => false,
        });
    }
}

/// A node that must give every -U gives them also to readers that asked for less, through whatever passes rows on as they are.
fn pass_on_full_changelogs(nodes: &mut [Node]) {
    for id in 0..nodes.len() {
        let is_full = |i: &NodeId| nodes.get(*i).is_some_and(|n| n.changelog_mode == ChangelogMode::Full);
        let passes = matches!(
            nodes[id].kind,
            NodeKind::Calc(_)
                | NodeKind::UnionAll
                | NodeKind::Exchange(_)
                | NodeKind::LookupJoin(_)
                | NodeKind::WindowTable(_)
                | NodeKind::SessionTable(_)
        );
        if passes && nodes[id].changelog_mode != ChangelogMode::Insert && nodes[id].inputs.iter().any(is_full) {
            nodes[id].changelog_mode = ChangelogMode::Full;
        }
    }
}

/// Whether each node gives anything but +I.
pub(super) fn updating(nodes: &[Node]) -> Vec<bool> {
    let mut updates: Vec<bool> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let below = node.inputs.iter().any(|i| updates.get(*i) == Some(&true));
        updates.push(match &node.kind {
            NodeKind::Source(source) => source.info.source_mode != ChangelogMode::Insert,
            NodeKind::GroupAggregate(group) => below || !group.aggregates.is_empty(),
            NodeKind::WindowAggregate(_) | NodeKind::WindowRank(_) | NodeKind::MatchRecognize(_) => false,
            // The first row by row time may be replaced by an earlier one that comes later.
            NodeKind::Deduplicate(deduplicate) => deduplicate.keep_last || deduplicate.order.is_some(),
            NodeKind::BatchSort(_) | NodeKind::BatchOver(_) => false,
            // A limit by arrival takes nothing back.
            NodeKind::Rank(rank) => below || !(rank.is_limit && rank.order.is_empty()),
            NodeKind::Join(join) => {
                let passes = |(port, input): (usize, &NodeId)| {
                    join::passes_updates(join, port) && updates.get(*input) == Some(&true)
                };
                join::updates_by_itself(join) || node.inputs.iter().enumerate().any(passes)
            }
            _ => below,
        });
    }
    updates
}

fn wanted_of_input(
    nodes: &[Node],
    node: &Node,
    own: ChangelogMode,
    input: NodeId,
    materialize_is_off: bool,
) -> Result<ChangelogMode, Diagnostic> {
    Ok(match &node.kind {
        NodeKind::Sink(sink) => sink_mode(nodes, sink, input, materialize_is_off)?,
        NodeKind::Calc(calc) if calc.filter.is_none() => own,
        NodeKind::Join(join) => {
            let port = node.inputs.iter().position(|i| *i == input).unwrap_or(0);
            join::wanted_of_input(join, port, own)?
        }
        NodeKind::LookupJoin(_) => own,
        NodeKind::UnionAll | NodeKind::Watermark(_) | NodeKind::Exchange(_) => own,
        // With one key on both sides an update replaces its row without the old one.
        NodeKind::Materialize(node) if same_columns(&node.primary_key, &node.upsert_key) => ChangelogMode::Upsert,
        // It knows itself what stood before.
        NodeKind::ChangelogNormalize(_) => ChangelogMode::Upsert,
        NodeKind::Over(_) => return Err(refused("an OVER window over an updating input")),
        NodeKind::Sort(_) => return Err(refused("a sort by time of an updating input")),
        NodeKind::Rank(rank) if matches!(rank.strategy, RankStrategy::Update(_)) => ChangelogMode::Upsert,
        NodeKind::Deduplicate(_) => {
            return Err(refused("deduplication of an updating input"));
        }
        NodeKind::WindowTable(_) | NodeKind::SessionTable(_) => own,
        NodeKind::WindowRank(_) => {
            return Err(Diagnostic::error(
                "W0310",
                format!(
                    "a Top-N per window does not take update and delete changes, which are produced by {}",
                    updating_operator(nodes, input)
                ),
            )
            .hint("aggregate per window first, so that each result is final"));
        }
        NodeKind::MatchRecognize(_) => {
            return Err(Diagnostic::error(
                "W0310",
                format!(
                    "MATCH_RECOGNIZE doesn't support consuming update changes, which are produced by {}",
                    updating_operator(nodes, input)
                ),
            )
            .hint(
                "search the rows before they are aggregated, or aggregate in a window so that each result is final",
            ));
        }
        _ => ChangelogMode::Full,
    })
}

fn same_columns(a: &[usize], b: &[usize]) -> bool {
    a.len() == b.len() && a.iter().all(|column| b.contains(column))
}

fn refused(what: &str) -> Diagnostic {
    Diagnostic::error("W0401", format!("{what} is not supported yet"))
}

fn sink_mode(
    nodes: &[Node],
    sink: &SinkNode,
    input: NodeId,
    materialize_is_off: bool,
) -> Result<ChangelogMode, Diagnostic> {
    let Some(mode) = sink.info.sink_mode else { return Ok(ChangelogMode::Full) };
    if mode == ChangelogMode::Insert {
        return Err(Diagnostic::error(
            "W0310",
            format!(
                "table sink `{}` doesn't support consuming update changes, which are produced by {}",
                sink.table.path,
                updating_operator(nodes, input)
            ),
        )
        .hint(if sink.table.primary_key.is_empty() {
            "declare a PRIMARY KEY if the connector takes upserts, or use a window so that each result is final"
        } else {
            "this connector takes only new rows: use a window so that each result is final"
        }));
    }
    if mode == ChangelogMode::Upsert && !sink.primary_key.is_empty() {
        let mut key = sink.primary_key.clone();
        key.sort_unstable();
        let known = nodes.get(input).map(|n| n.upsert_keys.clone()).unwrap_or_default();
        let is_upsert_key = known.iter().any(|k| {
            let mut k = k.clone();
            k.sort_unstable();
            k == key
        });
        // Each upsert key has one row at a time per primary key, but an update may move it to another: the old row must go.
        let holds_a_key = known.iter().any(|k| k.iter().all(|column| key.contains(column)));
        if !is_upsert_key && !holds_a_key && !materialize_is_off {
            return Err(Diagnostic::error(
                "W0311",
                format!(
                    "the primary key of `{}` is not the key of the query's changes, which needs upsert materialization: not supported yet",
                    sink.table.path
                ),
            )
            .hint("make the PRIMARY KEY the columns the query groups by, or SET 'table.exec.sink.upsert-materialize' = 'NONE' when their order does not matter"));
        }
        if !is_upsert_key {
            return Ok(ChangelogMode::Full);
        }
    }
    Ok(mode)
}

/// The operator that makes the updates, for the message.
fn updating_operator(nodes: &[Node], from: NodeId) -> &'static str {
    let mut id = from;
    while let Some(node) = nodes.get(id) {
        match &node.kind {
            NodeKind::GroupAggregate(_) => return "GROUP BY",
            NodeKind::Deduplicate(_) => return "the deduplication",
            NodeKind::Rank(rank) if rank.is_limit => return "LIMIT",
            NodeKind::Rank(_) => return "the Top-N",
            NodeKind::Join(join) if join::updates_by_itself(join) => return "the join",
            NodeKind::Source(_) => return "the source",
            _ => {}
        }
        match node.inputs.first() {
            Some(input) => id = *input,
            None => break,
        }
    }
    "the query"
}

pub(super) fn infer_upsert_keys(nodes: &mut [Node]) {
    for id in 0..nodes.len() {
        let below = nodes[id].inputs.first().and_then(|i| nodes.get(*i)).map(|n| n.upsert_keys.clone());
        let below = below.unwrap_or_default();
        let right = nodes[id].inputs.get(1).and_then(|i| nodes.get(*i)).map(|n| n.upsert_keys.clone());
        let last_column = nodes[id].schema.len().saturating_sub(1);
        nodes[id].upsert_keys = match &mut nodes[id].kind {
            NodeKind::GroupAggregate(group) => vec![(0..group.keys.len()).collect()],
            NodeKind::Deduplicate(deduplicate) => vec![deduplicate.keys.clone()],
            NodeKind::ChangelogNormalize(node) => vec![node.primary_key.clone()],
            NodeKind::Materialize(node) => vec![node.primary_key.clone()],
            NodeKind::Rank(rank) => super::rank::upsert_keys(rank, &below, rank.outputs_number.then_some(last_column)),
            NodeKind::Join(join) => {
                let right = right.unwrap_or_default();
                join::upsert_keys(join, &below, &right)
            }
            NodeKind::LookupJoin(join) => super::lookup::upsert_keys(join, &below),
            NodeKind::Source(source) => key_of_table(source),
            NodeKind::Calc(calc) => below
                .iter()
                .filter_map(|key| {
                    key.iter()
                        .map(|k| calc.project.iter().position(|e| is_column_itself(e, *k)))
                        .collect::<Option<Vec<usize>>>()
                })
                .collect(),
            NodeKind::Watermark(_) | NodeKind::Exchange(_) | NodeKind::Sink(_) | NodeKind::Collect => below,
            _ => Vec::new(),
        };
    }
}

/// Whether an expression gives a column, perhaps in a wider type: different values stay different.
fn is_column_itself(expr: &ScalarExpr, column: usize) -> bool {
    match expr {
        ScalarExpr::Column { index, .. } => *index == column,
        ScalarExpr::Cast { input, data_type, .. } => {
            is_column_itself(input, column) && is_lossless(&input.data_type().kind, &data_type.kind)
        }
        _ => false,
    }
}

fn is_lossless(from: &TypeKind, to: &TypeKind) -> bool {
    let integer = |kind: &TypeKind| match kind {
        TypeKind::TinyInt => Some(1),
        TypeKind::SmallInt => Some(2),
        TypeKind::Int => Some(3),
        TypeKind::BigInt => Some(4),
        _ => None,
    };
    match (from, to) {
        (TypeKind::Char(a) | TypeKind::VarChar(a), TypeKind::VarChar(b)) => a <= b,
        _ if from == to => true,
        _ => integer(from).zip(integer(to)).is_some_and(|(a, b)| a <= b),
    }
}

/// The primary key of a table, when all its columns are read.
fn key_of_table(source: &SourceNode) -> Vec<Vec<usize>> {
    let name_of = |column: &usize| source.table.columns.get(*column).map(|c| c.name.as_str());
    let place = |name: &String| source.columns.iter().position(|c| name_of(c) == Some(name.as_str()));
    let key: Option<Vec<usize>> = source.table.primary_key.iter().map(place).collect();
    key.into_iter().filter(|k| !k.is_empty()).collect()
}

/// One change per key and step is enough where every sink below folds by the very key of the aggregation.
fn mark_folding(nodes: &mut [Node]) {
    // For each node: the column set by which everything below it folds, once all users agree.
    let mut folds_by: Vec<Option<Option<Vec<usize>>>> = vec![None; nodes.len()];
    for id in (0..nodes.len()).rev() {
        let node = &nodes[id];
        let own = folds_by[id].clone().flatten();
        let below = match &node.kind {
            NodeKind::Sink(sink) if sink.info.sink_folds_by_key && !sink.primary_key.is_empty() => {
                Some(sink.primary_key.clone())
            }
            NodeKind::Calc(calc) if calc.filter.is_none() => own.as_ref().and_then(|columns| {
                columns
                    .iter()
                    .map(|c| match calc.project.get(*c) {
                        Some(ScalarExpr::Column { index, .. }) => Some(*index),
                        _ => None,
                    })
                    .collect()
            }),
            _ => None,
        };
        let below = below.map(|mut columns: Vec<usize>| {
            columns.sort_unstable();
            columns
        });
        let inputs = node.inputs.clone();
        if let (NodeKind::GroupAggregate(group), Some(columns)) = (&mut nodes[id].kind, &own) {
            let keys: Vec<usize> = (0..group.keys.len()).collect();
            group.fold_per_step = !keys.is_empty() && *columns == keys;
        }
        for input in inputs {
            folds_by[input] = Some(match folds_by[input].take() {
                None => below.clone(),
                Some(others) if others == below => others,
                Some(_) => None,
            });
        }
    }
    for node in nodes.iter_mut() {
        if node.changelog_mode != ChangelogMode::Upsert
            && let NodeKind::GroupAggregate(group) = &mut node.kind
        {
            group.fold_per_step = false;
        }
    }
}
