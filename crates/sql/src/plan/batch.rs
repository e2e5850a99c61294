//! Batch mode: the same plan over bounded input, and final rows only in front of the sinks.
//!
//! Operators run as in streaming. Where what reaches a sink would be updates, a sort over all columns stands in front of it: it keeps the
//! rows that stand and gives them at the end. Sorts by anything and functions over any order hold their rows until then, too.

use wiesel_plan::{BatchOverCall, Node, NodeId, NodeKind, SortColumn};

/// Puts a sort in front of every sink that would get updates.
pub fn make_final(nodes: Vec<Node>, sinks: Vec<NodeId>) -> (Vec<Node>, Vec<NodeId>) {
    let updates = super::traits::updating(&nodes);
    let mut places: Vec<NodeId> = Vec::with_capacity(nodes.len());
    let mut with: Vec<Node> = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        let updates_reach_it = node.inputs.iter().any(|input| updates.get(*input) == Some(&true));
        node.inputs.iter_mut().for_each(|input| *input = places.get(*input).copied().unwrap_or(*input));
        let is_end = matches!(node.kind, NodeKind::Sink(_) | NodeKind::Collect);
        if let (true, true, Some(input)) = (is_end, updates_reach_it, node.inputs.first().copied())
            && let Some(below) = with.get(input).cloned()
        {
            let every =
                (0..below.schema.len()).map(|column| SortColumn { column, descending: false, nulls_first: true });
            let kind = NodeKind::BatchSort(every.collect());
            with.push(Node { kind, inputs: vec![input], label: String::new(), ..below });
            node.inputs = vec![with.len() - 1];
        }
        with.push(node);
        places.push(with.len() - 1);
    }
    let sinks = sinks.into_iter().map(|sink| places.get(sink).copied().unwrap_or(sink)).collect();
    (with, sinks)
}

/// The columns that a call reads.
pub fn columns_of(call: &BatchOverCall) -> Vec<usize> {
    match call {
        BatchOverCall::Aggregate { call, .. } => call.args.iter().chain(&call.filter).copied().collect(),
        BatchOverCall::Offset { column, default, .. } => [*column].into_iter().chain(*default).collect(),
        _ => Vec::new(),
    }
}

/// Moves the columns that a call reads.
pub fn replace_columns(call: &mut BatchOverCall, place: &impl Fn(usize) -> usize) {
    match call {
        BatchOverCall::Aggregate { call, .. } => {
            call.args.iter_mut().for_each(|arg| *arg = place(*arg));
            call.filter = call.filter.map(place);
        }
        BatchOverCall::Offset { column, default, .. } => {
            *column = place(*column);
            *default = default.map(place);
        }
        _ => {}
    }
}
