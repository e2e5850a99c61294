//! Puts the upsert materializer in front of sinks that need it.
//!
//! A sink that folds by its primary key can follow changes by another key only when no two rows of the query share that primary key at
//! any time. Flink's rule: it is needed when the input updates and its primary key does not hold a whole upsert key of the input.

use wiesel_core::ChangelogMode;
use wiesel_plan::{MaterializeNode, Node, NodeId, NodeKind, SinkNode};

/// `table.exec.sink.upsert-materialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Materialization {
    /// Where it is needed.
    Auto,
    /// Never.
    Off,
    /// In front of every sink that folds by a primary key.
    Force,
}

impl Materialization {
    /// The value of the setting; AUTO where it is not set.
    pub fn of(value: Option<&str>) -> Self {
        match value {
            Some(v) if v.eq_ignore_ascii_case("NONE") => Materialization::Off,
            Some(v) if v.eq_ignore_ascii_case("FORCE") => Materialization::Force,
            _ => Materialization::Auto,
        }
    }
}

/// Inserts the nodes. Exchanges come later.
pub fn insert(
    mut nodes: Vec<Node>,
    sinks: Vec<NodeId>,
    mode: Materialization,
    ttl_ms: u64,
) -> (Vec<Node>, Vec<NodeId>) {
    if mode == Materialization::Off {
        return (nodes, sinks);
    }
    super::traits::infer_upsert_keys(&mut nodes);
    let updates = super::traits::updating(&nodes);
    let mut places: Vec<NodeId> = Vec::with_capacity(nodes.len());
    let mut with: Vec<Node> = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        let old_input = node.inputs.first().copied();
        node.inputs.iter_mut().for_each(|input| *input = places.get(*input).copied().unwrap_or(*input));
        if let (NodeKind::Sink(sink), Some(old_input), Some(input)) =
            (&node.kind, old_input, node.inputs.first().copied())
            && let Some(below) = with.get(input)
        {
            let keys = &below.upsert_keys;
            if is_needed(sink, keys, updates.get(old_input) == Some(&true), mode) {
                let upsert_key = keys.iter().min_by_key(|key| key.len()).cloned().unwrap_or_default();
                let kind = NodeKind::Materialize(MaterializeNode {
                    primary_key: sink.primary_key.clone(),
                    upsert_key,
                    state_ttl_ms: ttl_ms,
                });
                let materialize = Node { kind, inputs: vec![input], label: String::new(), ..below.clone() };
                with.push(materialize);
                node.inputs = vec![with.len() - 1];
            }
        }
        with.push(node);
        places.push(with.len() - 1);
    }
    let sinks = sinks.into_iter().map(|sink| places.get(sink).copied().unwrap_or(sink)).collect();
    (with, sinks)
}

fn is_needed(sink: &SinkNode, keys: &[Vec<usize>], updates: bool, mode: Materialization) -> bool {
    if sink.info.sink_mode != Some(ChangelogMode::Upsert) || sink.primary_key.is_empty() {
        return false;
    }
    let holds_a_key = keys.iter().any(|key| key.iter().all(|column| sink.primary_key.contains(column)));
    mode == Materialization::Force || (updates && !holds_a_key)
}
