//! Batch mode: the same plan over bounded input, and final rows only in front of the sinks.
//!
//! Operators run as in streaming. Where what reaches a sink would be updates, a sort over all columns stands in front of it: it keeps the
//! rows that stand and gives them at the end. Sorts by anything and functions over any order hold their rows until then, too.

use wiesel_core::{DataType, Field, Schema, TypeKind, Value};
use wiesel_expr::{AggregateCall, AggregateFunction, ScalarExpr};
use wiesel_plan::{BatchOverCall, CalcNode, Node, NodeId, NodeKind, RankEnd, RankNode, RankStrategy, SortColumn};

use super::lower::Lowering;
use super::rel::{RelColumn, identity};

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

impl Lowering {
    /// An aggregate without GROUP BY gives one row in batch mode, over no row at all too: the row of nothing stands until another comes.
    ///
    /// ```text
    /// Rank(order by $real DESC, 1)
    /// '- UnionAll
    ///    |- the aggregate, TRUE
    ///    '- (0 for COUNT, NULL for the others), FALSE
    /// ```
    pub(super) fn with_row_of_nothing(
        &mut self,
        aggregate: NodeId,
        columns: &[RelColumn],
        calls: &[AggregateCall],
    ) -> NodeId {
        let mut fields: Vec<Field> = columns.iter().map(|c| Field::new(c.name.clone(), c.data_type.clone())).collect();
        let mut nothing = Vec::with_capacity(fields.len() + 1);
        for (field, call) in fields.iter_mut().zip(calls) {
            let is_count = matches!(call.function, AggregateFunction::Count | AggregateFunction::CountStar);
            nothing.push(if is_count { Value::Int(0) } else { Value::Null });
            field.data_type = field.data_type.with_nullable(!is_count);
        }
        nothing.push(Value::Boolean(false));
        let schema = Schema::new(fields.clone());
        let is_real = DataType::not_null(TypeKind::Boolean);
        fields.push(Field::new("$real", is_real.clone()));
        let marked = Schema::new(fields);
        let calc = |project: Vec<ScalarExpr>, input: NodeId, schema: &Schema, lowering: &mut Self| {
            let kind = NodeKind::Calc(CalcNode { filter: None, project });
            lowering.share(kind, vec![input], schema.clone(), None, String::new())
        };
        let own = identity(columns);
        let mut with_mark = own.clone();
        with_mark.push(ScalarExpr::Literal { value: Value::Boolean(true), data_type: is_real });
        let real = calc(with_mark, aggregate, &marked, self);
        let nothing = self.share(NodeKind::Values(vec![nothing]), vec![], marked.clone(), None, String::new());
        let both = self.share(NodeKind::UnionAll, vec![real, nothing], marked.clone(), None, String::new());
        let rank = NodeKind::Rank(RankNode {
            partition: Vec::new(),
            order: vec![SortColumn { column: columns.len(), descending: true, nulls_first: false }],
            start: 1,
            end: RankEnd::Constant(1),
            outputs_number: false,
            strategy: RankStrategy::Retract,
            is_limit: true,
            state_ttl_ms: 0,
        });
        let ranked = self.share(rank, vec![both], marked, None, String::new());
        calc(own, ranked, &schema, self)
    }
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
