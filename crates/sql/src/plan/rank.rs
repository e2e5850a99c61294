//! How a Top-N keeps its ranks, decided by what its input can do to a row's place.
//!
//! Flink's rule: over inserts rows beyond the last rank are forgotten. Over updates too, when every update moves a row forward or leaves
//! it in its place, which is so when the rows are ordered by a key of the GROUP BY below, by a COUNT or MAX descending, or by a MIN
//! ascending, over inserts. In any other case every row is kept.

use wiesel_core::ChangelogMode;
use wiesel_expr::{AggregateFunction, ScalarExpr};
use wiesel_plan::{Node, NodeKind, RankNode, RankStrategy, SortColumn};

/// How a column changes from one version of a row to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Monotonicity {
    Constant,
    Increasing,
    Decreasing,
    None,
}

/// Sets the strategy of every Top-N. Needs upsert keys, and which nodes give updates.
pub fn choose_strategies(nodes: &mut [Node], updates: &[bool]) {
    let mut columns: Vec<Vec<Monotonicity>> = Vec::with_capacity(nodes.len());
    for id in 0..nodes.len() {
        let own = monotonicity(&nodes[id], updates, &columns);
        columns.push(own);
        let Some(input) = nodes[id].inputs.first().copied() else { continue };
        let keys = nodes.get(input).map(|n| n.upsert_keys.clone()).unwrap_or_default();
        let is_proctime = |key: &SortColumn| is_processing_time(nodes, input, key.column);
        let strategy = match &nodes[id].kind {
            NodeKind::Rank(rank) if updates.get(input) != Some(&true) => Some(match rank.order.as_slice() {
                [key] if !key.descending && is_proctime(key) => RankStrategy::First,
                _ => RankStrategy::Append,
            }),
            NodeKind::Rank(rank) => Some(over_updates(rank, &keys, columns.get(input))),
            _ => None,
        };
        if let (Some(strategy), NodeKind::Rank(rank)) = (strategy, &mut nodes[id].kind) {
            rank.strategy = strategy;
        }
    }
}

fn over_updates(rank: &RankNode, keys: &[Vec<usize>], columns: Option<&Vec<Monotonicity>>) -> RankStrategy {
    let key = keys.iter().find(|key| rank.partition.iter().all(|p| key.contains(p)));
    let moves_forward = |key: &SortColumn| match columns.and_then(|c| c.get(key.column)) {
        Some(Monotonicity::Constant) => true,
        Some(Monotonicity::Increasing) => key.descending,
        Some(Monotonicity::Decreasing) => !key.descending,
        _ => false,
    };
    match key {
        Some(key) if !rank.order.is_empty() && rank.order.iter().all(moves_forward) => {
            RankStrategy::Update(key.clone())
        }
        _ => RankStrategy::Retract,
    }
}

fn monotonicity(node: &Node, updates: &[bool], below: &[Vec<Monotonicity>]) -> Vec<Monotonicity> {
    let width = node.schema.len();
    let input = node.inputs.first().copied();
    let is_updating = |id: usize| updates.get(id) == Some(&true);
    match &node.kind {
        NodeKind::Source(source) if source.info.source_mode != ChangelogMode::Insert => vec![Monotonicity::None; width],
        _ if node.inputs.iter().all(|input| !is_updating(*input)) => match &node.kind {
            NodeKind::GroupAggregate(group) => {
                let result = |function| match function {
                    AggregateFunction::CountStar | AggregateFunction::Count | AggregateFunction::Max => {
                        Monotonicity::Increasing
                    }
                    AggregateFunction::Min => Monotonicity::Decreasing,
                    _ => Monotonicity::None,
                };
                let mut columns = vec![Monotonicity::Constant; group.keys.len()];
                columns.extend(group.aggregates.iter().map(|call| result(call.function)));
                columns
            }
            NodeKind::Rank(_) | NodeKind::Deduplicate(_) => vec![Monotonicity::None; width],
            _ => vec![Monotonicity::Constant; width],
        },
        NodeKind::Calc(calc) => {
            let Some(below) = input.and_then(|input| below.get(input)) else { return vec![Monotonicity::None; width] };
            let of = |index: &usize| below.get(*index).copied().unwrap_or(Monotonicity::None);
            let mut read = Vec::new();
            calc.filter.iter().for_each(|filter| filter.columns_read(&mut read));
            if read.iter().any(|index| of(index) != Monotonicity::Constant) {
                // A row may leave the filter, which is a deletion.
                return vec![Monotonicity::None; width];
            }
            calc.project
                .iter()
                .map(|expr| match expr {
                    ScalarExpr::Column { index, .. } => of(index),
                    _ => Monotonicity::None,
                })
                .collect()
        }
        NodeKind::Exchange(_) | NodeKind::Watermark(_) => {
            input.and_then(|input| below.get(input)).cloned().unwrap_or_else(|| vec![Monotonicity::None; width])
        }
        _ => vec![Monotonicity::None; width],
    }
}

/// Whether a column is PROCTIME() computed below.
fn is_processing_time(nodes: &[Node], id: usize, column: usize) -> bool {
    let Some(node) = nodes.get(id) else { return false };
    match (&node.kind, node.inputs.first()) {
        (NodeKind::Calc(calc), input) => match (calc.project.get(column), input) {
            (Some(ScalarExpr::Column { index, .. }), Some(input)) => is_processing_time(nodes, *input, *index),
            (Some(expr), _) => super::rel::time_attribute_of(expr).is_some(),
            _ => false,
        },
        (NodeKind::Exchange(_) | NodeKind::Watermark(_) | NodeKind::WindowTable(_), Some(input)) => {
            is_processing_time(nodes, *input, column)
        }
        _ => false,
    }
}

/// What identifies a row behind a Top-N.
pub fn upsert_keys(rank: &RankNode, input_keys: &[Vec<usize>], number: Option<usize>) -> Vec<Vec<usize>> {
    let mut keys = Vec::new();
    if rank.is_top_1() {
        keys.push(rank.partition.clone());
    }
    if let Some(number) = number {
        keys.push(rank.partition.iter().copied().chain([number]).collect());
    }
    // One row of the input stands at most once behind it, but only rows of one partition come from one place.
    keys.extend(input_keys.iter().filter(|key| rank.partition.iter().all(|p| key.contains(p))).cloned());
    keys
}
