//! Turns typed queries into plan nodes. Equal nodes are made once, so that the inserts of a STATEMENT SET share what they have in common.

use std::collections::HashMap;
use std::sync::Arc;

use wiesel_core::diagnostic::Diagnostic;
use wiesel_core::options::{WATERMARK_EMIT_STRATEGY, WATERMARK_IDLE_TIMEOUT, parse_duration};
use wiesel_core::table::ColumnKind;
use wiesel_core::{ChangelogMode, DataType, Field, Schema, TypeKind};
use wiesel_expr::{AggregateCall, AggregateFunction, ScalarExpr};
use wiesel_plan::{
    BatchOverCall, BatchOverNode, CalcNode, DeduplicateNode, ExpandNode, GroupAggregateNode, Node, NodeId, NodeKind,
    OverCall, OverFrame, OverNode, RankNode, RankStrategy, SessionTableNode, SinkNode, SortNode, SourceNode,
    UnnestNode, WatermarkNode, WindowAggregateNode, WindowKind,
};

use super::rel::{Rel, RelColumn, RelKind, TimeAttribute, ascending_time, schema_of};
use crate::catalog::{ColumnSource, Table};
use crate::config::Config;

/// Collects nodes; inputs come before users.
#[derive(Debug, Default)]
pub struct Lowering {
    /// The nodes so far.
    pub nodes: Vec<Node>,
    /// The sinks so far.
    pub sinks: Vec<NodeId>,
    known: HashMap<String, NodeId>,
}

/// What a sink needs besides its query.
#[derive(Debug, Clone)]
pub struct SinkTarget {
    /// The table.
    pub table: Arc<Table>,
    /// Indices into the descriptor's columns, in the order of the query's columns.
    pub columns: Vec<usize>,
    /// Positions of the primary key in the query's columns.
    pub primary_key: Vec<usize>,
    /// Positions to be checked for NULL.
    pub not_null: Vec<usize>,
    /// INSERT OVERWRITE.
    pub overwrite: bool,
}

impl Lowering {
    /// Adds a sink over a query.
    pub fn sink(&mut self, rel: &Rel, target: SinkTarget, config: &Config) -> Result<NodeId, Diagnostic> {
        let input = self.lower(rel, config)?;
        let table = Arc::new(target.table.descriptor.clone());
        let label = table.path.clone();
        let kind = NodeKind::Sink(SinkNode {
            table,
            columns: target.columns,
            info: target.table.info.clone(),
            primary_key: target.primary_key,
            not_null: target.not_null,
            drop_null_rows: config.drop_null_rows(),
            overwrite: target.overwrite,
        });
        // Two inserts into one table stay two sinks.
        let id = self.push(kind, vec![input], rel.schema(), None, label);
        self.sinks.push(id);
        Ok(id)
    }

    /// Adds the end of a bare query.
    pub fn collect(&mut self, rel: &Rel, config: &Config) -> Result<NodeId, Diagnostic> {
        let input = self.lower(rel, config)?;
        let id = self.push(NodeKind::Collect, vec![input], rel.schema(), None, String::new());
        self.sinks.push(id);
        Ok(id)
    }

    pub(super) fn lower(&mut self, rel: &Rel, config: &Config) -> Result<NodeId, Diagnostic> {
        let schema = rel.schema();
        let rowtime = rowtime_of(&rel.columns);
        Ok(match &rel.kind {
            RelKind::Scan { table } => self.scan(table, &rel.columns, config)?,
            RelKind::Values(rows) => self.share(NodeKind::Values(rows.clone()), vec![], schema, None, String::new()),
            RelKind::Calc { input, filter, project } => {
                let input = self.lower(input, config)?;
                let kind = NodeKind::Calc(CalcNode { filter: filter.clone(), project: project.clone() });
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
            RelKind::Window { input, window, partition } => {
                let input = self.lower(input, config)?;
                let window = window.clone();
                let kind = match window.kind {
                    WindowKind::Session { .. } => {
                        NodeKind::SessionTable(SessionTableNode { window, keys: partition.clone() })
                    }
                    _ => NodeKind::WindowTable(window),
                };
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
            RelKind::WindowRank { input, rank } => {
                let input = self.lower(input, config)?;
                self.share(NodeKind::WindowRank(rank.clone()), vec![input], schema, rowtime, String::new())
            }
            RelKind::MatchRecognize { input, pattern } => {
                let input = self.lower(input, config)?;
                let kind = NodeKind::MatchRecognize((**pattern).clone());
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
            RelKind::Expand { input, sets } => {
                let input = self.lower(input, config)?;
                let kind = NodeKind::Expand(ExpandNode { sets: sets.clone() });
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
            RelKind::Unnest { input, column, is_left, with_ordinality } => {
                let input_width = input.columns.len();
                let input = self.lower(input, config)?;
                let kind = NodeKind::Unnest(UnnestNode {
                    column: *column,
                    is_left: *is_left,
                    with_ordinality: *with_ordinality,
                    input_width,
                });
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
            RelKind::Aggregate { input, keys, aggregates, state_ttl_ms } => {
                let input = self.lower(input, config)?;
                let kind = NodeKind::GroupAggregate(GroupAggregateNode {
                    keys: keys.clone(),
                    aggregates: aggregates.clone(),
                    input_retracts: false,
                    fold_per_step: false,
                    mini_batch: config.mini_batch(),
                    state_ttl_ms: state_ttl_ms.unwrap_or_else(|| config.state_ttl_ms()),
                });
                let id = self.share(kind, vec![input], schema, None, String::new());
                if config.is_batch() && keys.is_empty() && !aggregates.is_empty() {
                    self.with_row_of_nothing(id, &rel.columns, aggregates)
                } else {
                    id
                }
            }
            RelKind::WindowAggregate { input, window, is_legacy, keys, aggregates, properties } => {
                let input = self.lower(input, config)?;
                let kind = NodeKind::WindowAggregate(WindowAggregateNode {
                    window: window.clone(),
                    is_legacy: *is_legacy,
                    keys: keys.clone(),
                    aggregates: aggregates.clone(),
                    properties: properties.clone(),
                    input_retracts: false,
                });
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
            RelKind::Deduplicate { input, keys, order, keep_last } => {
                let input = self.lower(input, config)?;
                let kind = NodeKind::Deduplicate(DeduplicateNode {
                    keys: keys.clone(),
                    order: *order,
                    keep_last: *keep_last,
                    state_ttl_ms: config.state_ttl_ms(),
                });
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
            RelKind::Rank { input, partition, order, start, end, is_limit } => {
                let input = self.lower(input, config)?;
                let kind = NodeKind::Rank(RankNode {
                    partition: partition.clone(),
                    order: order.clone(),
                    start: *start,
                    end: *end,
                    outputs_number: !is_limit,
                    strategy: RankStrategy::Retract,
                    is_limit: *is_limit,
                    state_ttl_ms: config.state_ttl_ms(),
                });
                self.share(kind, vec![input], schema, None, String::new())
            }
            RelKind::Join { left, right, join } => self.lower_join((left, right), join, &rel.columns, config)?,
            RelKind::Over { input, partition, order, frame, calls } => {
                let input = self.lower(input, config)?;
                let kind = NodeKind::Over(OverNode {
                    partition: partition.clone(),
                    order: *order,
                    frame: *frame,
                    calls: calls.clone(),
                    state_ttl_ms: config.state_ttl_ms(),
                });
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
            RelKind::Sort { input, time, order } => {
                let input = self.lower(input, config)?;
                let kind = NodeKind::Sort(SortNode { time: *time, order: order.clone() });
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
            RelKind::BatchSort { input, order } => {
                let input = self.lower(input, config)?;
                self.share(NodeKind::BatchSort(order.clone()), vec![input], schema, None, String::new())
            }
            RelKind::BatchOver { input, over } => {
                let input = self.lower(input, config)?;
                self.share(NodeKind::BatchOver(over.clone()), vec![input], schema, None, String::new())
            }
            RelKind::Replicate(input) => {
                let input = self.lower(input, config)?;
                self.share(NodeKind::Replicate, vec![input], schema, None, String::new())
            }
            RelKind::UnionAll(inputs) => {
                let inputs = inputs.iter().map(|i| self.lower(i, config)).collect::<Result<Vec<_>, _>>()?;
                self.share(NodeKind::UnionAll, inputs, schema, rowtime, String::new())
            }
            RelKind::RowNumber { input, partition, order, span } => {
                if config.is_batch() {
                    let over = BatchOverNode {
                        partition: partition.clone(),
                        order: order.clone(),
                        calls: vec![BatchOverCall::RowNumber],
                    };
                    let input = self.lower(input, config)?;
                    return Ok(self.share(NodeKind::BatchOver(over), vec![input], schema, None, String::new()));
                }
                let input_columns = &input.columns;
                let Some(time) = ascending_time(input_columns, order) else {
                    return Err(crate::binder::rank::unbounded(*span));
                };
                let input = self.lower(input, config)?;
                let number = AggregateCall {
                    function: AggregateFunction::CountStar,
                    args: Vec::new(),
                    distinct: false,
                    filter: None,
                    data_type: DataType::not_null(TypeKind::BigInt),
                };
                let kind = NodeKind::Over(OverNode {
                    partition: partition.clone(),
                    order: time,
                    frame: OverFrame::Rows(None),
                    calls: vec![OverCall::Aggregate(number)],
                    state_ttl_ms: config.state_ttl_ms(),
                });
                self.share(kind, vec![input], schema, rowtime, String::new())
            }
        })
    }

    fn scan(&mut self, table: &Arc<Table>, columns: &[RelColumn], config: &Config) -> Result<NodeId, Diagnostic> {
        let descriptor = Arc::new(table.descriptor.clone());
        if !descriptor.options.contains_key("connector") {
            return Err(Diagnostic::error(
                "W0501",
                format!("table `{}` lacks the required option 'connector'", descriptor.name),
            )
            .label("expected 'connector' = '...' in its CREATE TABLE"));
        }
        if !table.info.is_source {
            let connector = descriptor.options.get("connector").map_or("", String::as_str);
            return Err(Diagnostic::error("W0506", format!("table `{}` cannot be read", descriptor.name))
                .label(format!("connector '{connector}' is a sink only")));
        }
        let fields = descriptor.columns.iter().map(|c| Field::new(c.name.clone(), c.data_type.clone())).collect();
        let kind = NodeKind::Source(SourceNode {
            table: descriptor.clone(),
            columns: (0..descriptor.columns.len()).collect(),
            info: table.info.clone(),
        });
        let mut id = self.share(kind, vec![], Schema::new(fields), None, descriptor.path.clone());
        let project: Vec<ScalarExpr> = table
            .columns
            .iter()
            .map(|column| match &column.source {
                ColumnSource::Connector(index) => {
                    ScalarExpr::Column { index: *index, data_type: column.data_type.clone() }
                }
                ColumnSource::Computed(expr, _) => expr.clone(),
            })
            .collect();
        if table.columns.iter().any(|c| matches!(c.source, ColumnSource::Computed(..))) {
            let kind = NodeKind::Calc(CalcNode { filter: None, project });
            id = self.share(kind, vec![id], schema_of(columns), None, String::new());
        }
        if let Some((rowtime, expr)) = &table.watermark {
            let own = |key: &str| descriptor.options.get(key);
            let own_timeout = own(WATERMARK_IDLE_TIMEOUT).and_then(|v| parse_duration(v));
            let is_on_event = own(WATERMARK_EMIT_STRATEGY).is_some_and(|v| v.eq_ignore_ascii_case("on-event"));
            let kind = NodeKind::Watermark(WatermarkNode {
                rowtime: *rowtime,
                expr: expr.clone(),
                push_down: table.info.watermark_push_down,
                idle_timeout_ms: own_timeout
                    .map_or_else(|| config.idle_timeout_ms(), |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
                interval_ms: if is_on_event { 0 } else { config.watermark_interval_ms() },
            });
            id = self.share(kind, vec![id], schema_of(columns), Some(*rowtime), String::new());
        }
        if let Some(kind) = super::normalize::needed(table, config)? {
            let rowtime = table.watermark.as_ref().map(|(rowtime, _)| *rowtime);
            id = self.share(kind, vec![id], schema_of(columns), rowtime, String::new());
        }
        Ok(id)
    }

    /// A node that may be shared with an equal one.
    pub(super) fn share(
        &mut self,
        kind: NodeKind,
        inputs: Vec<NodeId>,
        schema: Schema,
        rowtime: Option<usize>,
        label: String,
    ) -> NodeId {
        let fingerprint = format!("{kind:?} {inputs:?} {:?}", kind_options(&kind));
        if let Some(id) = self.known.get(&fingerprint) {
            return *id;
        }
        let id = self.push(kind, inputs, schema, rowtime, label);
        self.known.insert(fingerprint, id);
        id
    }

    fn push(
        &mut self,
        kind: NodeKind,
        inputs: Vec<NodeId>,
        schema: Schema,
        rowtime: Option<usize>,
        label: String,
    ) -> NodeId {
        self.nodes.push(Node {
            kind,
            inputs,
            schema,
            changelog_mode: ChangelogMode::Insert,
            upsert_keys: Vec::new(),
            rowtime,
            label,
        });
        self.nodes.len() - 1
    }
}

/// Debug hides option values, and two reads of one table with other options (a hint) must stay two.
fn kind_options(kind: &NodeKind) -> Option<&std::collections::BTreeMap<String, String>> {
    match kind {
        NodeKind::Source(source) => Some(&source.table.options),
        NodeKind::LookupJoin(join) => Some(&join.table.options),
        _ => None,
    }
}

/// The column that is the rowtime attribute.
pub(super) fn rowtime_of(columns: &[RelColumn]) -> Option<usize> {
    columns.iter().position(|c| c.time == Some(TimeAttribute::Rowtime))
}

/// The columns of a table that can be written, as indices into its descriptor.
pub fn writable_columns(table: &Table) -> Vec<usize> {
    table
        .descriptor
        .columns
        .iter()
        .enumerate()
        .filter(|(_, c)| !matches!(c.kind, ColumnKind::Metadata { is_virtual: true, .. }))
        .map(|(index, _)| index)
        .collect()
}
