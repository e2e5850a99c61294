//! A plan made ready to run: exchanges where rows must meet, stages between them, and for each node what it is to the step loop.
//!
//! ```text
//! source -> watermark -> calc -> EXCHANGE | aggregate -> calc -> EXCHANGE | sink
//! '---- once per decode task -----------' | '---- stage 1 -------------' | stage 2
//! ```
//! Nodes that look at one row at a time and hang on a source run inside the decode task, on whichever worker took it. All others run once
//! per step and worker, in topological order; a stage ends where all workers must have handed over their rows.
//!
//! With one worker every exchange vanishes. With several, what an operator needs (equal keys on the worker that owns their vnode) is
//! checked here and not left to the planner, because recovery hands state to workers by the same vnode.

use wiesel_core::Schema;
use wiesel_core::sink::SinkParallelism;
use wiesel_expr::ScalarExpr;
use wiesel_plan::{Distribution, Node, NodeId, NodeKind, StreamPlan};

/// A node's place in [`Graph::nodes`].
pub(crate) type Place = usize;

#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<GraphNode>,
    /// One more than the highest stage.
    pub(crate) stages: usize,
    /// The sources (and constant rows), in plan order.
    pub(crate) sources: Vec<Place>,
    /// The watermark nodes, in plan order.
    pub(crate) watermarks: Vec<Place>,
    /// The exchanges.
    pub(crate) exchanges: Vec<Place>,
    /// The sinks and collectors, in statement order.
    pub(crate) sinks: Vec<Place>,
}

#[derive(Debug)]
pub(crate) struct GraphNode {
    /// The node of the plan; for an exchange that was put in here, the node whose rows it carries.
    pub(crate) plan_node: NodeId,
    pub(crate) role: Role,
    pub(crate) inputs: Vec<Place>,
    /// Who takes the rows: node and port.
    pub(crate) consumers: Vec<(Place, usize)>,
    pub(crate) stage: usize,
    /// Runs inside decode tasks.
    pub(crate) is_task: bool,
    /// All rows are on worker 0, so all state is as well.
    pub(crate) is_single: bool,
    pub(crate) schema: Schema,
    /// The source below, for nodes that run inside decode tasks.
    pub(crate) source: Option<usize>,
}

/// What a node is to the step loop; the numbers index the lists of [`Graph`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    Source(usize),
    Watermark(usize),
    Exchange(usize, Distribution),
    Operator,
    Sink(usize),
    Collect(usize),
}

impl Graph {
    /// Compiles a plan. `sinks` tells the parallelism of each sink, in statement order; collectors take part as `One`.
    pub(crate) fn compile(plan: &StreamPlan, workers: usize, sinks: &[SinkParallelism]) -> Graph {
        let needed = reachable(plan);
        let mut builder = Builder { plan, workers, nodes: Vec::new(), place: vec![usize::MAX; plan.nodes.len()] };
        for (id, node) in plan.nodes.iter().enumerate() {
            if needed[id] {
                builder.add(id, node, sinks);
            }
        }
        builder.finish()
    }

    /// The rows of an exchange's consumers come one stage later.
    pub(crate) fn exchanges_into(&self, stage: usize) -> impl Iterator<Item = Place> + '_ {
        self.exchanges.iter().copied().filter(move |&e| self.nodes[e].stage + 1 == stage)
    }
}

fn reachable(plan: &StreamPlan) -> Vec<bool> {
    let mut needed = vec![false; plan.nodes.len()];
    for &sink in &plan.sinks {
        needed[sink] = true;
    }
    for id in (0..plan.nodes.len()).rev() {
        if needed[id] {
            for &input in &plan.nodes[id].inputs {
                needed[input] = true;
            }
        }
    }
    needed
}

struct Builder<'a> {
    plan: &'a StreamPlan,
    workers: usize,
    nodes: Vec<GraphNode>,
    place: Vec<Place>,
}

impl Builder<'_> {
    fn add(&mut self, id: NodeId, node: &Node, sinks: &[SinkParallelism]) {
        let mut inputs: Vec<Place> = node.inputs.iter().map(|&i| self.place[i]).collect();
        if let NodeKind::Exchange(distribution) = &node.kind {
            // Placed for real below a node that needs it; here it only says what the planner wants.
            self.place[id] = if self.workers == 1 { inputs[0] } else { self.exchange(inputs[0], distribution.clone()) };
            return;
        }
        for (port, input) in inputs.iter_mut().enumerate() {
            if self.workers > 1
                && let Some(wanted) = self.wanted(id, node, port, sinks)
            {
                *input = self.ensure(*input, wanted);
            }
        }
        let role = match &node.kind {
            NodeKind::Source(_) | NodeKind::Values(_) => Role::Source(0),
            NodeKind::Watermark(_) => Role::Watermark(0),
            NodeKind::Sink(_) => Role::Sink(self.sink_index(id)),
            NodeKind::Collect => Role::Collect(self.sink_index(id)),
            _ => Role::Operator,
        };
        self.place[id] = self.push(id, role, inputs, node.schema.clone());
    }

    fn sink_index(&self, id: NodeId) -> usize {
        self.plan.sinks.iter().position(|&s| s == id).unwrap_or_default()
    }

    /// Where the rows of one of the node's inputs must be.
    fn wanted(&self, id: NodeId, node: &Node, port: usize, sinks: &[SinkParallelism]) -> Option<Distribution> {
        let by_keys = |keys: &[usize]| {
            Some(if keys.is_empty() { Distribution::Single } else { Distribution::Hash(keys.to_vec()) })
        };
        match &node.kind {
            NodeKind::GroupAggregate(aggregate) => by_keys(&aggregate.keys),
            NodeKind::WindowAggregate(aggregate) => by_keys(&aggregate.keys),
            NodeKind::Deduplicate(deduplicate) => by_keys(&deduplicate.keys),
            NodeKind::SessionTable(session) => by_keys(&session.keys),
            NodeKind::WindowRank(rank) => by_keys(&rank.keys),
            NodeKind::MatchRecognize(pattern) => by_keys(&pattern.partition),
            NodeKind::Rank(rank) => by_keys(&rank.partition),
            NodeKind::Join(join) => by_keys(&join.keys_on(port)),
            NodeKind::Over(over) => by_keys(&over.partition),
            NodeKind::Sort(_) | NodeKind::BatchSort(_) => Some(Distribution::Single),
            NodeKind::BatchOver(over) => by_keys(&over.partition),
            NodeKind::ChangelogNormalize(node) => by_keys(&node.primary_key),
            NodeKind::Materialize(node) => by_keys(&node.primary_key),
            NodeKind::Collect => Some(Distribution::Single),
            NodeKind::Sink(sink) => match sinks.get(self.sink_index(id)) {
                Some(SinkParallelism::PerWorker) if sink.primary_key.is_empty() => None,
                Some(SinkParallelism::PerWorker) => Some(Distribution::Hash(sink.primary_key.clone())),
                _ => Some(Distribution::Single),
            },
            _ => None,
        }
    }

    /// The input itself when its rows are already where they are wanted, else an exchange over it.
    fn ensure(&mut self, input: Place, wanted: Distribution) -> Place {
        if self.satisfies(input, &wanted) {
            return input;
        }
        let below = match &self.nodes[input].role {
            Role::Exchange(..) => self.nodes[input].inputs[0],
            _ => input,
        };
        self.exchange(below, wanted)
    }

    fn exchange(&mut self, input: Place, distribution: Distribution) -> Place {
        let (plan_node, schema) = (self.nodes[input].plan_node, self.nodes[input].schema.clone());
        self.push(plan_node, Role::Exchange(0, distribution), vec![input], schema)
    }

    fn satisfies(&self, place: Place, wanted: &Distribution) -> bool {
        match wanted {
            Distribution::Single => self.is_single(place),
            Distribution::Hash(columns) => self.is_located(place, columns),
        }
    }

    fn is_single(&self, place: Place) -> bool {
        let node = &self.nodes[place];
        match &node.role {
            Role::Exchange(_, distribution) => *distribution == Distribution::Single,
            Role::Source(_) => false,
            _ => !node.inputs.is_empty() && node.inputs.iter().all(|&i| self.is_single(i)),
        }
    }

    /// Whether every row is on the worker that owns the vnode of these columns, hashed in this order.
    fn is_located(&self, place: Place, columns: &[usize]) -> bool {
        let node = &self.nodes[place];
        if let Role::Exchange(_, distribution) = &node.role {
            return matches!(distribution, Distribution::Hash(keys) if keys == columns);
        }
        let through = |columns: &[usize]| node.inputs.iter().all(|&i| self.is_located(i, columns));
        match &self.plan.nodes[node.plan_node].kind {
            NodeKind::Calc(calc) => {
                let below: Option<Vec<usize>> = columns
                    .iter()
                    .map(|&c| match calc.project.get(c) {
                        Some(ScalarExpr::Column { index, .. }) => Some(*index),
                        _ => None,
                    })
                    .collect();
                below.is_some_and(|below| through(&below))
            }
            NodeKind::GroupAggregate(aggregate) => is_the_keys(columns, aggregate.keys.len()),
            NodeKind::WindowAggregate(aggregate) => is_the_keys(columns, aggregate.keys.len()),
            NodeKind::Deduplicate(deduplicate) => columns == deduplicate.keys,
            NodeKind::SessionTable(session) => columns == session.keys,
            NodeKind::WindowRank(rank) => columns == rank.keys,
            NodeKind::MatchRecognize(pattern) => is_the_keys(columns, pattern.partition.len()),
            NodeKind::Rank(rank) => !columns.is_empty() && columns == rank.partition,
            NodeKind::LookupJoin(join) => columns.iter().all(|&c| c < join.left_width) && through(columns),
            // A row that is padded on one side lies by the key of the other.
            NodeKind::Join(join) => {
                let right: Vec<usize> = join.keys_on(1).iter().map(|c| join.left_width + c).collect();
                (!join.kind.pads_left() && columns == join.keys_on(0)) || (!join.kind.pads_right() && columns == right)
            }
            NodeKind::Over(over) => !columns.is_empty() && columns == over.partition,
            NodeKind::ChangelogNormalize(node) => columns == node.primary_key,
            NodeKind::Materialize(node) => columns == node.primary_key,
            NodeKind::Watermark(_) | NodeKind::UnionAll => through(columns),
            NodeKind::WindowTable(_) | NodeKind::Unnest(_) => {
                let width = node.inputs.first().map_or(0, |&i| self.nodes[i].schema.len());
                columns.iter().all(|&c| c < width) && through(columns)
            }
            _ => false,
        }
    }

    fn push(&mut self, plan_node: NodeId, role: Role, inputs: Vec<Place>, schema: Schema) -> Place {
        let stage = inputs
            .iter()
            .map(|&i| self.nodes[i].stage + usize::from(matches!(self.nodes[i].role, Role::Exchange(..))))
            .max()
            .unwrap_or(0);
        let below_is_task = |b: &Self| {
            inputs.len() == 1 && b.nodes[inputs[0]].is_task && !matches!(b.nodes[inputs[0]].role, Role::Exchange(..))
        };
        let is_task = match (&role, &self.plan.nodes[plan_node].kind) {
            (Role::Source(_), _) => true,
            (Role::Exchange(..) | Role::Watermark(_), _) => below_is_task(self),
            (
                Role::Operator,
                NodeKind::Calc(_) | NodeKind::WindowTable(_) | NodeKind::Expand(_) | NodeKind::Unnest(_),
            ) => below_is_task(self),
            _ => false,
        };
        let place = self.nodes.len();
        let is_single = match &role {
            Role::Exchange(_, distribution) => *distribution == Distribution::Single,
            _ => !inputs.is_empty() && inputs.iter().all(|&i| self.nodes[i].is_single),
        };
        self.nodes.push(GraphNode {
            plan_node,
            role,
            inputs,
            consumers: Vec::new(),
            stage,
            is_task,
            is_single,
            schema,
            source: None,
        });
        place
    }

    /// Drops exchanges that nobody reads, and numbers what is left.
    fn finish(self) -> Graph {
        let mut used = vec![false; self.nodes.len()];
        for place in (0..self.nodes.len()).rev() {
            used[place] |= !matches!(self.nodes[place].role, Role::Exchange(..));
            if used[place] {
                self.nodes[place].inputs.iter().for_each(|&i| used[i] = true);
            }
        }
        let mut renumbered = vec![usize::MAX; self.nodes.len()];
        let mut graph = Graph {
            nodes: Vec::new(),
            stages: 0,
            sources: Vec::new(),
            watermarks: Vec::new(),
            exchanges: Vec::new(),
            sinks: vec![usize::MAX; self.plan.sinks.len()],
        };
        for (old, mut node) in self.nodes.into_iter().enumerate() {
            if !used[old] {
                continue;
            }
            let place = graph.nodes.len();
            renumbered[old] = place;
            for (port, input) in node.inputs.iter_mut().enumerate() {
                *input = renumbered[*input];
                graph.nodes[*input].consumers.push((place, port));
            }
            if node.is_task {
                node.source = match node.inputs.first() {
                    Some(&below) => graph.nodes[below].source,
                    None => Some(graph.sources.len()),
                };
            }
            match &mut node.role {
                Role::Source(index) => number(&mut graph.sources, place, index),
                Role::Watermark(index) => number(&mut graph.watermarks, place, index),
                Role::Exchange(index, _) => number(&mut graph.exchanges, place, index),
                Role::Sink(index) | Role::Collect(index) => graph.sinks[*index] = place,
                Role::Operator => {}
            }
            graph.stages = graph.stages.max(node.stage + 1);
            graph.nodes.push(node);
        }
        graph
    }
}

fn number(list: &mut Vec<Place>, place: Place, index: &mut usize) {
    *index = list.len();
    list.push(place);
}

/// Aggregates put their keys first.
fn is_the_keys(columns: &[usize], keys: usize) -> bool {
    columns.len() == keys && columns.iter().enumerate().all(|(position, &c)| position == c)
}
