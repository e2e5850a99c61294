//! The rewrites, in order: merge neighbouring projections, drop columns nobody reads, and put exchanges where keys must meet.
//!
//! No rewrite moves a filter below a watermark: rows that a filter drops still move event time. No join is reordered.

use std::collections::{BTreeMap, BTreeSet};

use super::materialize::Materialization;
use wiesel_core::{Field, Schema};
use wiesel_expr::{ScalarExpr, Session};
use wiesel_plan::{CalcNode, Distribution, Node, NodeId, NodeKind, OverCall, RankEnd};

use super::{join, lookup};

/// What stands in front of the sinks.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// Batch mode: only final rows reach them.
    Batch,
    /// Streaming: changes, materialized where the keys ask for it.
    Streaming {
        /// When.
        materialization: Materialization,
        /// How long an idle key is kept; 0 = for ever.
        state_ttl_ms: u64,
    },
}

/// Applies every rewrite. Returns the new nodes and sinks.
pub fn optimize(nodes: Vec<Node>, sinks: Vec<NodeId>, session: &Session, ends: Ends) -> (Vec<Node>, Vec<NodeId>) {
    let (nodes, sinks) = fold_constants(nodes, sinks, session);
    let (nodes, sinks) = merge_calcs(nodes, sinks);
    let (nodes, sinks) = prune_columns(nodes, sinks);
    let (nodes, sinks) = merge_calcs(nodes, sinks);
    let (nodes, sinks) = match ends {
        Ends::Batch => super::batch::make_final(nodes, sinks),
        Ends::Streaming { materialization, state_ttl_ms } => {
            super::materialize::insert(nodes, sinks, materialization, state_ttl_ms)
        }
    };
    place_exchanges(nodes, sinks)
}

fn fold_constants(mut nodes: Vec<Node>, sinks: Vec<NodeId>, session: &Session) -> (Vec<Node>, Vec<NodeId>) {
    let fold = |expr: &mut ScalarExpr| {
        let null = ScalarExpr::Literal {
            value: wiesel_core::Value::Null,
            data_type: wiesel_core::DataType::new(wiesel_core::TypeKind::Null),
        };
        let whole = std::mem::replace(expr, null);
        *expr = wiesel_expr::fold(whole, session);
    };
    for node in &mut nodes {
        match &mut node.kind {
            NodeKind::Calc(calc) => {
                calc.project.iter_mut().for_each(fold);
                calc.filter.iter_mut().for_each(fold);
            }
            NodeKind::Watermark(watermark) => fold(&mut watermark.expr),
            NodeKind::MatchRecognize(pattern) => pattern.expressions_mut().for_each(|e| fold(&mut e.expr)),
            NodeKind::Join(join) => join.condition.iter_mut().for_each(fold),
            NodeKind::LookupJoin(join) => join.condition.iter_mut().for_each(fold),
            _ => {}
        }
    }
    (nodes, sinks)
}

fn use_counts(nodes: &[Node]) -> Vec<usize> {
    let mut counts = vec![0; nodes.len()];
    for input in nodes.iter().flat_map(|n| &n.inputs) {
        if let Some(count) = counts.get_mut(*input) {
            *count += 1;
        }
    }
    counts
}

fn merge_calcs(nodes: Vec<Node>, sinks: Vec<NodeId>) -> (Vec<Node>, Vec<NodeId>) {
    let uses = use_counts(&nodes);
    let mut merged: Vec<Node> = Vec::with_capacity(nodes.len());
    // Where each old node's output is now, and whether the new node there is used by this old one alone.
    let mut places: Vec<NodeId> = Vec::with_capacity(nodes.len());
    let mut new_uses: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (old, mut node) in nodes.into_iter().enumerate() {
        for input in &mut node.inputs {
            *input = places.get(*input).copied().unwrap_or(*input);
        }
        let below = node.inputs.first().and_then(|i| merged.get(*i).map(|n| (*i, n)));
        let place = match (&mut node.kind, below) {
            (NodeKind::Calc(upper), Some((below_id, below))) => {
                if is_identity(upper, below.schema.len()) {
                    Some(below_id)
                } else {
                    if let NodeKind::Calc(lower) = &below.kind {
                        let is_private = new_uses.get(&below_id).copied().unwrap_or(0) <= 1;
                        if is_private && may_merge(upper, lower) {
                            *upper = merge(upper, lower);
                            node.inputs.clone_from(&below.inputs);
                        }
                    }
                    None
                }
            }
            _ => None,
        };
        let place = place.unwrap_or_else(|| {
            merged.push(node);
            merged.len() - 1
        });
        places.push(place);
        *new_uses.entry(place).or_default() += uses.get(old).copied().unwrap_or(0);
    }
    let sinks = sinks.into_iter().map(|s| places.get(s).copied().unwrap_or(s)).collect();
    drop_unused(merged, sinks)
}

fn is_identity(calc: &CalcNode, width: usize) -> bool {
    calc.filter.is_none()
        && calc.project.len() == width
        && calc.project.iter().enumerate().all(|(i, e)| matches!(e, ScalarExpr::Column { index, .. } if *index == i))
}

/// An expression that gives another value each time it is computed must not be copied.
fn may_merge(upper: &CalcNode, lower: &CalcNode) -> bool {
    let mut read = Vec::new();
    upper.filter.iter().chain(&upper.project).for_each(|e| e.columns_read(&mut read));
    lower
        .project
        .iter()
        .enumerate()
        .all(|(index, expr)| is_deterministic(expr) || read.iter().filter(|r| **r == index).count() <= 1)
}

fn is_deterministic(expr: &ScalarExpr) -> bool {
    let own = match expr {
        ScalarExpr::Call { function, .. } => function.is_deterministic(),
        _ => true,
    };
    own && expr.children().into_iter().all(is_deterministic)
}

fn merge(upper: &CalcNode, lower: &CalcNode) -> CalcNode {
    let over_input = |expr: &ScalarExpr| {
        expr.clone().transform(&mut |e| match e {
            ScalarExpr::Column { index, data_type } => match lower.project.get(index) {
                Some(inner) => inner.clone(),
                None => ScalarExpr::Column { index, data_type },
            },
            other => other,
        })
    };
    let filter = match (&lower.filter, upper.filter.as_ref().map(over_input)) {
        (None, upper) => upper,
        (Some(lower), None) => Some(lower.clone()),
        (Some(lower), Some(upper)) => {
            let mut parts = Vec::new();
            for side in [lower.clone(), upper] {
                match side {
                    ScalarExpr::And(inner) => parts.extend(inner),
                    other => parts.push(other),
                }
            }
            Some(ScalarExpr::And(parts))
        }
    };
    CalcNode { filter, project: upper.project.iter().map(over_input).collect() }
}

fn drop_unused(nodes: Vec<Node>, sinks: Vec<NodeId>) -> (Vec<Node>, Vec<NodeId>) {
    let mut is_used = vec![false; nodes.len()];
    for sink in &sinks {
        if let Some(used) = is_used.get_mut(*sink) {
            *used = true;
        }
    }
    for id in (0..nodes.len()).rev() {
        if is_used.get(id) == Some(&true) {
            for input in nodes.get(id).map(|n| n.inputs.clone()).unwrap_or_default() {
                if let Some(used) = is_used.get_mut(input) {
                    *used = true;
                }
            }
        }
    }
    let mut places = BTreeMap::new();
    let mut kept: Vec<Node> = Vec::new();
    for (id, mut node) in nodes.into_iter().enumerate() {
        if is_used.get(id) == Some(&true) {
            for input in &mut node.inputs {
                *input = places.get(input).copied().unwrap_or(*input);
            }
            places.insert(id, kept.len());
            kept.push(node);
        }
    }
    let sinks = sinks.into_iter().map(|s| places.get(&s).copied().unwrap_or(s)).collect();
    (kept, sinks)
}

// ---------------------------------------------------------------- column pruning

fn prune_columns(nodes: Vec<Node>, sinks: Vec<NodeId>) -> (Vec<Node>, Vec<NodeId>) {
    let mut needed: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); nodes.len()];
    for id in (0..nodes.len()).rev() {
        let (Some(node), Some(own)) = (nodes.get(id), needed.get_mut(id)) else { continue };
        if own.is_empty() && !node.schema.is_empty() {
            own.insert(cheapest_column(&node.schema));
        }
        let own = own.clone();
        for (port, input) in node.inputs.iter().enumerate() {
            let wanted = match &node.kind {
                NodeKind::Join(join) => join::columns_needed(join, &own, port).into_iter().collect(),
                NodeKind::LookupJoin(join) => lookup::columns_needed(join, &own).into_iter().collect(),
                _ => needed_of_input(node, &own, nodes.get(*input).map_or(0, |n| n.schema.len())),
            };
            if let Some(set) = needed.get_mut(*input) {
                set.extend(wanted);
            }
        }
    }
    let mut pruned: Vec<Node> = Vec::with_capacity(nodes.len());
    // For each old node: the new node, and which old column each of its columns is.
    let mut kept: Vec<(NodeId, Vec<usize>)> = Vec::with_capacity(nodes.len());
    for (id, mut node) in nodes.into_iter().enumerate() {
        let own: Vec<usize> = needed.get(id).map(|s| s.iter().copied().collect()).unwrap_or_default();
        let inputs: Vec<(NodeId, Vec<usize>)> =
            node.inputs.iter().map(|i| kept.get(*i).cloned().unwrap_or((*i, Vec::new()))).collect();
        node.inputs = inputs.iter().map(|(place, _)| *place).collect();
        let columns = rebuild(&mut node, &own, &inputs, &mut pruned);
        pruned.push(node);
        kept.push((pruned.len() - 1, columns));
    }
    let sinks = sinks.into_iter().map(|s| kept.get(s).map_or(s, |(place, _)| *place)).collect();
    (pruned, sinks)
}

/// A row count needs some column: one that costs little to decode.
fn cheapest_column(schema: &Schema) -> usize {
    use wiesel_core::TypeKind as T;
    let cost = |f: &Field| match f.data_type.kind {
        T::Boolean | T::TinyInt | T::SmallInt | T::Int | T::BigInt => 0,
        T::Float | T::Double | T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_) => 1,
        T::Array(_) | T::Map(..) | T::Multiset(_) | T::Row(_) => 3,
        _ => 2,
    };
    schema.fields().iter().enumerate().min_by_key(|(_, f)| cost(f)).map_or(0, |(i, _)| i)
}

fn needed_of_input(node: &Node, own: &BTreeSet<usize>, input_width: usize) -> Vec<usize> {
    let mut wanted = Vec::new();
    match &node.kind {
        NodeKind::Calc(calc) => {
            calc.filter.iter().for_each(|e| e.columns_read(&mut wanted));
            for (index, expr) in calc.project.iter().enumerate() {
                if own.contains(&index) {
                    expr.columns_read(&mut wanted);
                }
            }
        }
        NodeKind::Watermark(watermark) => {
            wanted.extend(own);
            wanted.push(watermark.rowtime);
            watermark.expr.columns_read(&mut wanted);
        }
        NodeKind::GroupAggregate(group) => {
            wanted.extend(&group.keys);
            for (index, call) in group.aggregates.iter().enumerate() {
                if own.contains(&(group.keys.len() + index)) {
                    wanted.extend(call.args.iter().chain(&call.filter));
                }
            }
        }
        NodeKind::WindowAggregate(window) => {
            wanted.extend(&window.keys);
            wanted.push(window.window.time_column);
            for (index, call) in window.aggregates.iter().enumerate() {
                if own.contains(&(window.keys.len() + index)) {
                    wanted.extend(call.args.iter().chain(&call.filter));
                }
            }
        }
        NodeKind::WindowTable(window) => {
            wanted.extend(own.iter().filter(|c| **c < input_width));
            wanted.push(window.time_column);
        }
        NodeKind::Deduplicate(deduplicate) => {
            wanted.extend(own);
            wanted.extend(&deduplicate.keys);
            wanted.extend(&deduplicate.order);
        }
        NodeKind::ChangelogNormalize(normalize) => {
            wanted.extend(own);
            wanted.extend(&normalize.primary_key);
        }
        NodeKind::SessionTable(session) => {
            wanted.extend(own.iter().filter(|c| **c < input_width));
            wanted.extend(&session.keys);
            wanted.push(session.window.time_column);
        }
        NodeKind::WindowRank(rank) => {
            wanted.extend(own.iter().filter(|c| **c < input_width));
            wanted.extend(&rank.keys);
            wanted.extend(rank.order.iter().map(|o| o.column));
            wanted.push(rank.window.time_column);
        }
        NodeKind::MatchRecognize(pattern) => {
            let keys = pattern.partition.len();
            wanted.extend(pattern.columns_read(|measure| own.contains(&(keys + measure))));
        }
        NodeKind::Expand(expand) => {
            // The keys stand in front and keep their places.
            wanted.extend(0..expand.sets.first().map_or(0, Vec::len));
            wanted.extend(own.iter().filter(|c| **c < input_width));
        }
        NodeKind::Unnest(unnest) => {
            wanted.extend(own.iter().filter(|c| **c < input_width));
            wanted.push(unnest.column);
        }
        NodeKind::Rank(rank) => {
            wanted.extend(own.iter().filter(|c| **c < input_width));
            wanted.extend(&rank.partition);
            wanted.extend(rank.order.iter().map(|key| key.column));
            if let RankEnd::Column(column) = rank.end {
                wanted.push(column);
            }
        }
        NodeKind::Over(over) => {
            wanted.extend(own.iter().filter(|c| **c < input_width));
            wanted.extend(&over.partition);
            wanted.extend(&over.order);
            for (index, call) in over.calls.iter().enumerate() {
                match call {
                    _ if !own.contains(&(input_width + index)) => {}
                    OverCall::Aggregate(call) => wanted.extend(call.args.iter().chain(&call.filter)),
                    OverCall::Lag { column, default, .. } => {
                        wanted.push(*column);
                        wanted.extend(default);
                    }
                }
            }
        }
        NodeKind::Sort(sort) => {
            wanted.extend(own);
            wanted.extend(&sort.time);
            wanted.extend(sort.order.iter().map(|key| key.column));
        }
        NodeKind::BatchSort(order) => {
            wanted.extend(own);
            wanted.extend(order.iter().map(|key| key.column));
        }
        NodeKind::BatchOver(over) => {
            wanted.extend(own.iter().filter(|c| **c < input_width));
            wanted.extend(&over.partition);
            wanted.extend(over.order.iter().map(|key| key.column));
            over.calls.iter().for_each(|call| wanted.extend(super::batch::columns_of(call)));
        }
        NodeKind::Replicate => {
            wanted.extend(own);
            wanted.extend(input_width.checked_sub(1));
        }
        NodeKind::UnionAll => wanted.extend(own),
        NodeKind::Exchange(_) | NodeKind::Sink(_) | NodeKind::Materialize(_) | NodeKind::Collect => {
            wanted.extend(0..input_width);
        }
        // A join reads two inputs, each with columns of its own.
        NodeKind::Source(_) | NodeKind::Values(_) | NodeKind::Join(_) | NodeKind::LookupJoin(_) => {}
    }
    wanted
}

/// Rewrites a node for its pruned inputs; returns which of its old columns it now gives, in order.
fn rebuild(node: &mut Node, own: &[usize], inputs: &[(NodeId, Vec<usize>)], nodes: &mut Vec<Node>) -> Vec<usize> {
    let below: Vec<usize> = inputs.first().map(|(_, columns)| columns.clone()).unwrap_or_default();
    let place = |old: usize| below.iter().position(|c| *c == old).unwrap_or(0);
    let over = |expr: &ScalarExpr| {
        expr.clone().transform(&mut |e| match e {
            ScalarExpr::Column { index, data_type } => ScalarExpr::Column { index: place(index), data_type },
            other => other,
        })
    };
    let keep_schema = |schema: &Schema, columns: &[usize]| {
        Schema::new(columns.iter().filter_map(|c| schema.fields().get(*c).cloned()).collect())
    };
    let columns: Vec<usize> = match &mut node.kind {
        NodeKind::Source(source) => {
            source.columns = own.iter().filter_map(|c| source.columns.get(*c).copied()).collect();
            own.to_vec()
        }
        NodeKind::Calc(calc) => {
            calc.filter = calc.filter.as_ref().map(over);
            calc.project = own.iter().filter_map(|c| calc.project.get(*c)).map(over).collect();
            own.to_vec()
        }
        NodeKind::Watermark(watermark) => {
            watermark.rowtime = place(watermark.rowtime);
            watermark.expr = over(&watermark.expr);
            below.clone()
        }
        NodeKind::GroupAggregate(group) => {
            let width = group.keys.len();
            let kept: Vec<usize> = (0..group.aggregates.len()).filter(|i| own.contains(&(width + i))).collect();
            group.keys.iter_mut().for_each(|k| *k = place(*k));
            group.aggregates = kept.iter().filter_map(|i| group.aggregates.get(*i).cloned()).collect();
            group.aggregates.iter_mut().for_each(|call| replace_columns(call, &place));
            (0..width).chain(kept.iter().map(|i| width + i)).collect()
        }
        NodeKind::WindowAggregate(window) => {
            let (width, calls) = (window.keys.len(), window.aggregates.len());
            let kept: Vec<usize> = (0..calls).filter(|i| own.contains(&(width + i))).collect();
            let properties: Vec<usize> =
                (0..window.properties.len()).filter(|i| own.contains(&(width + calls + i))).collect();
            window.keys.iter_mut().for_each(|k| *k = place(*k));
            window.window.time_column = place(window.window.time_column);
            window.aggregates = kept.iter().filter_map(|i| window.aggregates.get(*i).cloned()).collect();
            window.aggregates.iter_mut().for_each(|call| replace_columns(call, &place));
            window.properties = properties.iter().filter_map(|i| window.properties.get(*i).copied()).collect();
            (0..width)
                .chain(kept.iter().map(|i| width + i))
                .chain(properties.iter().map(|i| width + calls + i))
                .collect()
        }
        NodeKind::WindowTable(window) => {
            window.time_column = place(window.time_column);
            let input_width = node.schema.len() - 3;
            below.iter().copied().chain(input_width..input_width + 3).collect()
        }
        NodeKind::SessionTable(session) => {
            session.keys.iter_mut().for_each(|k| *k = place(*k));
            session.window.time_column = place(session.window.time_column);
            let input_width = node.schema.len() - 3;
            below.iter().copied().chain(input_width..input_width + 3).collect()
        }
        NodeKind::WindowRank(rank) => {
            let input_width = node.schema.len() - usize::from(rank.with_number);
            rank.keys.iter_mut().for_each(|k| *k = place(*k));
            rank.order.iter_mut().for_each(|o| o.column = place(o.column));
            rank.window.time_column = place(rank.window.time_column);
            rank.with_number &= own.contains(&input_width);
            let number = rank.with_number.then_some(input_width);
            below.iter().copied().chain(number).collect()
        }
        NodeKind::MatchRecognize(pattern) => {
            let keys = pattern.partition.len();
            let kept: Vec<usize> = (0..pattern.measures.len()).filter(|i| own.contains(&(keys + i))).collect();
            pattern.measures = kept.iter().filter_map(|i| pattern.measures.get(*i).cloned()).collect();
            pattern.move_columns(&place);
            (0..keys).chain(kept.iter().map(|i| keys + i)).collect()
        }
        NodeKind::Expand(_) => {
            let number = node.schema.len() - 1;
            below.iter().copied().chain([number]).collect()
        }
        NodeKind::Unnest(unnest) => {
            let input_width = unnest.input_width;
            unnest.column = place(unnest.column);
            unnest.input_width = below.len();
            below.iter().copied().chain(input_width..node.schema.len()).collect()
        }
        NodeKind::Deduplicate(deduplicate) => {
            deduplicate.keys.iter_mut().for_each(|k| *k = place(*k));
            deduplicate.order = deduplicate.order.map(place);
            below.clone()
        }
        NodeKind::ChangelogNormalize(normalize) => {
            normalize.primary_key.iter_mut().for_each(|k| *k = place(*k));
            below.clone()
        }
        NodeKind::Rank(rank) => {
            rank.partition.iter_mut().for_each(|p| *p = place(*p));
            rank.order.iter_mut().for_each(|key| key.column = place(key.column));
            if let RankEnd::Column(column) = &mut rank.end {
                *column = place(*column);
            }
            // The number is an output only where somebody reads it: it costs a change for every row that shifts.
            let number = node.schema.len() - 1;
            rank.outputs_number &= own.contains(&number);
            below.iter().copied().chain(rank.outputs_number.then_some(number)).collect()
        }
        NodeKind::Over(over) => {
            let width = node.schema.len() - over.calls.len();
            over.partition.iter_mut().for_each(|p| *p = place(*p));
            over.order = over.order.map(place);
            let kept: Vec<usize> = (0..over.calls.len()).filter(|i| own.contains(&(width + i))).collect();
            over.calls = kept.iter().filter_map(|i| over.calls.get(*i).cloned()).collect();
            for call in &mut over.calls {
                match call {
                    OverCall::Aggregate(call) => replace_columns(call, &place),
                    OverCall::Lag { column, default, .. } => {
                        *column = place(*column);
                        *default = default.map(place);
                    }
                }
            }
            below.iter().copied().chain(kept.iter().map(|i| width + i)).collect()
        }
        NodeKind::Sort(sort) => {
            sort.time = sort.time.map(place);
            sort.order.iter_mut().for_each(|key| key.column = place(key.column));
            below.clone()
        }
        NodeKind::BatchSort(order) => {
            order.iter_mut().for_each(|key| key.column = place(key.column));
            below.clone()
        }
        NodeKind::BatchOver(over) => {
            let width = node.schema.len() - over.calls.len();
            over.partition.iter_mut().for_each(|p| *p = place(*p));
            over.order.iter_mut().for_each(|key| key.column = place(key.column));
            over.calls.iter_mut().for_each(|call| super::batch::replace_columns(call, &place));
            below.iter().copied().chain(width..node.schema.len()).collect()
        }
        // The count is the last column below.
        NodeKind::Replicate => below.split_last().map_or_else(Vec::new, |(_, columns)| columns.to_vec()),
        NodeKind::UnionAll => {
            // Every side must have the same layout: exactly the needed columns.
            for (port, (input, columns)) in inputs.iter().enumerate() {
                if columns == own {
                    continue;
                }
                let Some(below) = nodes.get(*input).cloned() else { continue };
                let project = own
                    .iter()
                    .map(|c| {
                        let index = columns.iter().position(|k| k == c).unwrap_or(0);
                        let data_type = below.schema.fields()[index].data_type.clone();
                        ScalarExpr::Column { index, data_type }
                    })
                    .collect();
                let schema = keep_schema(&node.schema, own);
                nodes.push(Node {
                    kind: NodeKind::Calc(CalcNode { filter: None, project }),
                    inputs: vec![*input],
                    schema,
                    ..below
                });
                if let Some(slot) = node.inputs.get_mut(port) {
                    *slot = nodes.len() - 1;
                }
            }
            own.to_vec()
        }
        NodeKind::Join(_) => join::prune(node, &own.iter().copied().collect(), inputs, nodes),
        NodeKind::LookupJoin(_) => lookup::prune(node, &own.iter().copied().collect(), &below),
        NodeKind::Values(rows) => {
            for row in rows.iter_mut() {
                *row = own.iter().filter_map(|c| row.get(*c).cloned()).collect();
            }
            own.to_vec()
        }
        NodeKind::Exchange(_) | NodeKind::Sink(_) | NodeKind::Materialize(_) | NodeKind::Collect => {
            (0..node.schema.len()).collect()
        }
    };
    node.rowtime = node.rowtime.and_then(|r| columns.iter().position(|c| *c == r));
    node.schema = keep_schema(&node.schema, &columns);
    columns
}

fn replace_columns(call: &mut wiesel_expr::AggregateCall, place: &impl Fn(usize) -> usize) {
    call.args.iter_mut().for_each(|a| *a = place(*a));
    call.filter = call.filter.map(place);
}

// ---------------------------------------------------------------- exchanges

fn place_exchanges(nodes: Vec<Node>, sinks: Vec<NodeId>) -> (Vec<Node>, Vec<NodeId>) {
    let mut placed: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut places: Vec<NodeId> = Vec::with_capacity(nodes.len());
    // How the rows of each new node lie over the workers.
    let mut lies: Vec<Option<Distribution>> = Vec::new();
    let mut exchanges: BTreeMap<(NodeId, Vec<usize>, bool), NodeId> = BTreeMap::new();
    for mut node in nodes {
        node.inputs.iter_mut().for_each(|i| *i = places.get(*i).copied().unwrap_or(*i));
        for port in 0..node.inputs.len() {
            let (Some(wanted), Some(input)) = (wanted_on(&node, port), node.inputs.get(port).copied()) else {
                continue;
            };
            let lie = lies.get(input).cloned().flatten();
            let is_sink = matches!(node.kind, NodeKind::Sink(_));
            if satisfies(lie.as_ref(), &wanted, is_sink) {
                continue;
            }
            let key = match &wanted {
                Distribution::Hash(keys) => (input, keys.clone(), false),
                Distribution::Single => (input, Vec::new(), true),
            };
            let id = *exchanges.entry(key).or_insert_with(|| {
                let below = placed[input].clone();
                placed.push(Node {
                    kind: NodeKind::Exchange(wanted.clone()),
                    inputs: vec![input],
                    label: String::new(),
                    ..below
                });
                lies.push(Some(wanted.clone()));
                placed.len() - 1
            });
            node.inputs[port] = id;
        }
        let below = node.inputs.first().and_then(|i| lies.get(*i).cloned()).flatten();
        lies.push(lie_of(&node, below));
        placed.push(node);
        places.push(placed.len() - 1);
    }
    let sinks = sinks.into_iter().map(|s| places.get(s).copied().unwrap_or(s)).collect();
    (placed, sinks)
}

/// Where the rows of one input must be.
fn wanted_on(node: &Node, port: usize) -> Option<Distribution> {
    match &node.kind {
        NodeKind::GroupAggregate(g) => Some(by_keys(&g.keys)),
        NodeKind::WindowAggregate(w) => Some(by_keys(&w.keys)),
        NodeKind::Deduplicate(d) => Some(by_keys(&d.keys)),
        NodeKind::SessionTable(s) => Some(by_keys(&s.keys)),
        NodeKind::WindowRank(r) => Some(by_keys(&r.keys)),
        NodeKind::MatchRecognize(m) => Some(by_keys(&m.partition)),
        NodeKind::Rank(r) => Some(by_keys(&r.partition)),
        NodeKind::Over(o) => Some(by_keys(&o.partition)),
        NodeKind::Sort(_) | NodeKind::BatchSort(_) => Some(Distribution::Single),
        NodeKind::BatchOver(o) => Some(by_keys(&o.partition)),
        NodeKind::ChangelogNormalize(n) => Some(by_keys(&n.primary_key)),
        NodeKind::Materialize(m) => Some(by_keys(&m.primary_key)),
        NodeKind::Join(j) => Some(by_keys(&j.keys_on(port))),
        NodeKind::Sink(s) if !s.primary_key.is_empty() => Some(by_keys(&s.primary_key)),
        _ => None,
    }
}

fn by_keys(keys: &[usize]) -> Distribution {
    if keys.is_empty() { Distribution::Single } else { Distribution::Hash(keys.to_vec()) }
}

/// Rows that meet by some of the wanted columns meet by all of them; a stateful operator asks for exactly its keys, because its state
/// lies by their hash.
fn satisfies(lie: Option<&Distribution>, wanted: &Distribution, subset_is_enough: bool) -> bool {
    match (lie, wanted) {
        (Some(Distribution::Single), _) if subset_is_enough => true,
        (Some(Distribution::Single), Distribution::Single) => true,
        (Some(Distribution::Hash(have)), Distribution::Hash(want)) => {
            have == want || (subset_is_enough && have.iter().all(|k| want.contains(k)))
        }
        _ => false,
    }
}

fn lie_of(node: &Node, below: Option<Distribution>) -> Option<Distribution> {
    match &node.kind {
        NodeKind::Exchange(distribution) => Some(distribution.clone()),
        NodeKind::GroupAggregate(g) => Some(by_keys(&(0..g.keys.len()).collect::<Vec<_>>())),
        NodeKind::WindowAggregate(w) => Some(by_keys(&(0..w.keys.len()).collect::<Vec<_>>())),
        NodeKind::MatchRecognize(m) => Some(by_keys(&(0..m.partition.len()).collect::<Vec<_>>())),
        NodeKind::Deduplicate(_)
        | NodeKind::Watermark(_)
        | NodeKind::WindowTable(_)
        | NodeKind::SessionTable(_)
        | NodeKind::WindowRank(_)
        | NodeKind::Rank(_)
        | NodeKind::Over(_)
        | NodeKind::Sort(_)
        | NodeKind::BatchSort(_)
        | NodeKind::BatchOver(_)
        | NodeKind::Replicate
        | NodeKind::ChangelogNormalize(_)
        | NodeKind::Materialize(_)
        | NodeKind::Unnest(_) => below,
        // Padded rows of the right side lie by its own keys.
        NodeKind::Join(join) if !join.kind.pads_left() => below,
        NodeKind::LookupJoin(_) => below,
        NodeKind::Calc(calc) => match below? {
            Distribution::Single => Some(Distribution::Single),
            Distribution::Hash(keys) => {
                let moved: Option<Vec<usize>> = keys
                    .iter()
                    .map(|k| {
                        calc.project.iter().position(|e| matches!(e, ScalarExpr::Column { index, .. } if index == k))
                    })
                    .collect();
                moved.map(Distribution::Hash)
            }
        },
        _ => None,
    }
}
