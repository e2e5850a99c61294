//! Putting a job together on the loop thread, before any other thread runs: unconfirmed work of the sinks is committed, sources start
//! where the manifest left them, every worker gets its part of each node, and state goes to the worker that owns its key.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch};
use wiesel_core::lookup::{Lookup, LookupRequest};
use wiesel_core::sink::{SinkContext, SinkFactory, SinkParallelism};
use wiesel_core::source::{RowsBatch, SourceContext, SourceFactory, Split};
use wiesel_core::{Error, ErrorKind, Result, Schema, Value};
use wiesel_expr::Evaluator;
use wiesel_plan::{LookupJoinNode, NodeKind, WatermarkNode};

use super::claim::claim_sinks;
use super::control::Control;
use super::cycle::Keeper;
use super::exchange::Splitter;
use super::fetch::{Fetch, RETRY_MAX};
use super::graph::{Graph, Role};
use super::intake::Intake;
use super::job::JobSpec;
use super::metrics::Metrics;
use super::room::restore_large;
use super::worker::{NodeState, Part, Shared, SinkPart, WatermarkPart, Worker};
use crate::checkpoint::folder::Folder;
use crate::checkpoint::identity;
use crate::checkpoint::manifest::{Manifest, SinkEntry};
use crate::checkpoint::recovery::Recovered;
use crate::checkpoint::storage;
use crate::checkpoint::writer::Writer;
use crate::operator::OperatorContext;
use crate::operators;
use crate::state::store::Store;
use crate::state::vnode::worker_of_vnode;

/// The share of the memory budget that one step may take from the sources, and that all hand-overs, and all clients, may hold.
pub(super) const MEMORY_SHARE: u64 = 8;
const HAND_OVER_BYTES_MIN: u64 = 1 << 20;
const HAND_OVER_BYTES_MAX: u64 = 16 << 20;
/// `execution.checkpointing.interval` when the file does not set it.
const CHECKPOINT_INTERVAL_MS: u64 = 10_000;
/// Pauses between attempts to open or commit what is away.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Before any sink opens: the sinks are claimed, work of a durable checkpoint that the sinks did not confirm is committed, then leftovers are removed.
pub(super) fn prepare_sinks(
    spec: &JobSpec,
    control: &Control,
    metrics: &Metrics,
    sinks: &[Option<Arc<dyn SinkFactory>>],
    ids: &[String],
    folder: Option<&Folder>,
    recovered: &Recovered,
) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    claim_sinks(&spec.plan, spec.allow_duplicates, (control, metrics), sinks, ids, recovered)?;
    let of_plan = |operator: &str| spec.plan.sinks.iter().position(|&node| ids[node] == operator);
    if let Some(manifest) = &recovered.unconfirmed {
        for entry in &manifest.sinks {
            let Some(Some(factory)) = of_plan(&entry.operator).map(|index| &sinks[index]) else {
                if !entry.pending.is_empty() {
                    metrics.note(format!(
                        "checkpoint {} holds rows for sink `{}` that were not confirmed, and the plan has no such sink any more",
                        manifest.id, entry.table
                    ));
                }
                continue;
            };
            if !entry.pending.is_empty() {
                same_delivery(spec, manifest.id, entry)?;
            }
            for pending in &entry.pending {
                folder.fail_points().reach("restore.recommit");
                let what = format!("commit of checkpoint {} to sink `{}`", pending.checkpoint, entry.table);
                retried(control, metrics, &what, || factory.commit(pending.checkpoint, &pending.work))?;
            }
        }
        folder.mark_committed(manifest.id)?;
    }
    for (index, factory) in sinks.iter().enumerate() {
        let Some(factory) = factory else { continue };
        let id = &ids[spec.plan.sinks[index]];
        let entry = recovered.manifest.as_ref().and_then(|m| m.sinks.iter().find(|s| s.operator == *id));
        let states: &[Vec<u8>] = entry.map_or(&[], |e| &e.states);
        retried(control, metrics, "recovery of a sink", || factory.recover(states))?;
    }
    Ok(())
}

/// Work of a sink is for that kind of sink: one that delivers in another way could not make it visible, and rows would be lost.
fn same_delivery(spec: &JobSpec, checkpoint: u64, entry: &SinkEntry) -> Result<()> {
    let now = spec.plan.sinks.iter().find_map(|&node| match &spec.plan.nodes[node].kind {
        NodeKind::Sink(sink) if sink.table.name == entry.table => Some(sink.info.delivery),
        _ => None,
    });
    if now.is_none_or(|now| now == entry.delivery) {
        return Ok(());
    }
    Err(Error::config(format!(
        "checkpoint {checkpoint} holds rows for sink `{}` that are not confirmed and were to be delivered {}",
        entry.table, entry.delivery
    ))
    .hint("run once as before, until a stop or the end has confirmed them; then change the delivery"))
}

/// Gives every entry to the operator and worker that own it.
///
/// More state than memory goes by way of the store, which is returned when it is needed from then on.
pub(super) fn restore(
    spec: &JobSpec,
    graph: &Graph,
    ids: &[String],
    workers: &mut [Worker],
    recovered: &Recovered,
) -> Result<Option<Arc<Store>>> {
    let Some(manifest) = &recovered.manifest else { return Ok(None) };
    let count = workers.len();
    let store = match &recovered.large {
        Some(large) => restore_large(spec, graph, ids, workers, large)?,
        None => None,
    };
    for (place, node) in graph.nodes.iter().enumerate().filter(|(_, n)| n.role == Role::Operator) {
        let id = &ids[node.plan_node];
        let of_node = recovered.state.tables.range((id.clone(), 0)..=(id.clone(), u8::MAX));
        for ((_, table), entries) in of_node {
            for ((key, vnode), value) in entries {
                let owner = if node.is_single { 0 } else { worker_of_vnode(*vnode, count) };
                if let Part::Operator(operator) = &mut workers[owner].nodes[place].part {
                    operator.restore(*table, *vnode, key, value)?;
                }
            }
        }
        let input = manifest.inputs.iter().find(|i| i.operator == *id).map_or(i64::MIN, |i| i.watermark);
        for worker in workers.iter_mut() {
            let state = &mut worker.nodes[place];
            state.input_watermark = input;
            if let Part::Operator(operator) = &mut state.part {
                operator.restored(input)?;
            }
        }
    }
    Ok(store)
}

#[allow(clippy::too_many_arguments, reason = "called once, with the parts of a job that is being put together")]
pub(super) fn start_keeper(
    spec: &JobSpec,
    control: &Control,
    shared: &Shared,
    sinks: &[Option<Arc<dyn SinkFactory>>],
    ids: &[String],
    folder: Folder,
    recovered: &Recovered,
    now_ms: i64,
) -> Result<Keeper> {
    let writer =
        Writer::start(folder, ids.to_vec(), sinks.to_vec(), Arc::clone(&shared.metrics), control.waker().clone())?;
    let mut keeper = Keeper::new(writer, ids.to_vec(), identity::operators(&spec.plan, ids), &spec.plan);
    keeper.next_id = recovered.next_id;
    let ms = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
    keeper.interval_ms = match spec.config.checkpoint_interval_ms {
        None => Some(ms(CHECKPOINT_INTERVAL_MS)),
        Some(0) => None,
        Some(interval) => Some(ms(interval)),
    };
    keeper.timeout_ms = ms(spec.config.checkpoint_timeout_ms);
    keeper.min_pause_ms = ms(spec.config.checkpoint_min_pause_ms);
    if let Some(manifest) = &recovered.manifest {
        keeper.resume(manifest, recovered.needs_full);
    }
    keeper.schedule(now_ms);
    Ok(keeper)
}

pub(super) fn is_by_row(node: &WatermarkNode, is_batch: bool) -> bool {
    !node.push_down && !is_batch
}

pub(super) fn start_sources(
    spec: &JobSpec,
    control: &Control,
    shared: &Shared,
    sources: &[Option<Arc<dyn SourceFactory>>],
    ids: &[String],
    manifest: Option<&Manifest>,
) -> Result<Vec<Intake>> {
    let share = spec.memory_bytes / MEMORY_SHARE / sources.len().max(1) as u64;
    let bytes_max = usize::try_from(share.clamp(HAND_OVER_BYTES_MIN, HAND_OVER_BYTES_MAX)).unwrap_or(1 << 20);
    let mut intakes = Vec::new();
    for (index, factory) in sources.iter().enumerate() {
        let plan_node = shared.graph.nodes[shared.graph.sources[index]].plan_node;
        let node = &spec.plan.nodes[plan_node];
        let entry = manifest.and_then(|m| m.sources.iter().find(|s| s.operator == ids[plan_node]));
        let restored: Vec<Split> = entry.map_or_else(Vec::new, |entry| {
            entry.splits.iter().map(|s| Split { name: s.name.clone(), start: s.position }).collect()
        });
        intakes.push(match (&node.kind, factory) {
            (NodeKind::Values(rows), _) => {
                let position = restored.first().map_or(0, |s| s.start);
                let batch = if position == 0 { values_batch(rows, &node.schema)? } else { None };
                Intake::constant(index, plan_node, batch, position)
            }
            (NodeKind::Source(source), Some(factory)) => {
                let context = SourceContext {
                    restored,
                    restored_ends: entry.map_or_else(Vec::new, |entry| {
                        entry.splits.iter().filter_map(|s| Some((s.name.clone(), s.end?))).collect()
                    }),
                    is_restored: entry.is_some(),
                    buffer_bytes_max: bytes_max,
                    waker: control.waker().clone(),
                    cache_folder: (!storage::is_remote(&spec.state_dir)).then(|| spec.state_dir.join("cache")),
                };
                let bounded = source.info.is_bounded;
                let is_sequential = !source.info.watermark_push_down;
                let mut intake = Intake::new(index, plan_node, source.table.name.clone(), bounded, is_sequential);
                intake.fetch =
                    Some(Fetch::start(&source.table.name, Arc::clone(factory), context, bounded, bytes_max)?);
                intake
            }
            _ => return Err(Error::internal("a source without a factory")),
        });
    }
    Ok(intakes)
}

pub(super) fn values_batch(rows: &[Vec<Value>], schema: &Schema) -> Result<Option<RowsBatch>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let column = |index: usize| -> Result<ArrayRef> {
        let field = &schema.fields()[index];
        let cells: Vec<ArrayRef> = rows.iter().map(|row| row[index].to_array(&field.data_type, 1)).collect();
        let cells: Vec<&dyn arrow_array::Array> = cells.iter().map(AsRef::as_ref).collect();
        Ok(arrow_select::concat::concat(&cells)?)
    };
    let columns = (0..schema.len()).map(column).collect::<Result<Vec<_>>>()?;
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options)?;
    Ok(Some(RowsBatch { split: 0, rows: batch, next: i64::try_from(rows.len()).unwrap_or(i64::MAX) }))
}

/// Builds the workers' parts on the loop thread, before any other thread runs.
pub(super) struct WorkerBuilder<'a> {
    pub(super) spec: JobSpec,
    pub(super) control: &'a Control,
    pub(super) shared: &'a Shared,
    pub(super) sinks: &'a [Option<Arc<dyn SinkFactory>>],
    pub(super) sources: &'a [Option<Arc<dyn SourceFactory>>],
    pub(super) ids: &'a [String],
    pub(super) manifest: Option<&'a Manifest>,
}

impl WorkerBuilder<'_> {
    pub(super) fn worker(&mut self, index: usize) -> Result<Worker> {
        let mut nodes = Vec::new();
        for place in 0..self.shared.graph.nodes.len() {
            let part = self.part(place, index)?;
            nodes.push(NodeState::new(part, self.shared.graph.nodes[place].inputs.len()));
        }
        Ok(Worker::new(index, nodes, self.shared.session.clone()))
    }

    fn part(&mut self, place: usize, worker: usize) -> Result<Part> {
        let graph_node = &self.shared.graph.nodes[place];
        match &graph_node.role {
            Role::Source(source) => {
                let reader = match &self.sources[*source] {
                    Some(factory) => factory.reader()?,
                    None => None,
                };
                Ok(Part::Source(reader))
            }
            Role::Watermark(_) => self.watermark(place),
            Role::Exchange(_, distribution) => Ok(Part::Exchange(Splitter::new(distribution, self.shared.workers))),
            Role::Operator => {
                let node = &self.spec.plan.nodes[graph_node.plan_node];
                if matches!(node.kind, NodeKind::UnionAll) {
                    return Ok(Part::Union);
                }
                let inputs: Vec<&Schema> = node.inputs.iter().map(|&i| &self.spec.plan.nodes[i].schema).collect();
                if let (NodeKind::LookupJoin(join), Some(input)) = (&node.kind, inputs.first()) {
                    let lookup = self.lookup(join)?;
                    return Ok(Part::Operator(Box::new(operators::LookupJoin::new(
                        join,
                        lookup,
                        input,
                        &node.schema,
                    )?)));
                }
                let context =
                    OperatorContext { worker, workers: self.shared.workers, is_batch: self.spec.config.is_batch };
                Ok(Part::Operator(operators::build(node, &inputs, &context)?))
            }
            Role::Sink(index) => self.sink(place, *index, worker),
            Role::Collect(_) => {
                Ok(if worker == 0 { Part::Collect(self.spec.collector.take()) } else { Part::Elsewhere })
            }
        }
    }

    /// A worker's own door to the table of a lookup join.
    fn lookup(&self, join: &LookupJoinNode) -> Result<Box<dyn Lookup>> {
        let request = LookupRequest {
            columns: join.columns.clone(),
            keys: join.keys.iter().map(|key| key.column).collect(),
            time_zone: self.spec.config.time_zone.to_string(),
            job_name: self.spec.plan.job_name.clone(),
        };
        let at = |e: Error| e.at(format!("table `{}`", join.table.name));
        self.spec.registry.lookup(&join.table, &request).and_then(|factory| factory.open()).map_err(at)
    }

    fn watermark(&self, place: usize) -> Result<Part> {
        let graph_node = &self.shared.graph.nodes[place];
        let NodeKind::Watermark(node) = &self.spec.plan.nodes[graph_node.plan_node].kind else {
            return Err(Error::internal("a watermark without its node"));
        };
        let source = graph_node.source.and_then(|s| self.shared.graph.sources.get(s));
        let table = match source.map(|&s| &self.spec.plan.nodes[self.shared.graph.nodes[s].plan_node].kind) {
            Some(NodeKind::Source(source)) => source.table.name.clone(),
            _ => String::new(),
        };
        Ok(Part::Watermark(WatermarkPart {
            rowtime: node.rowtime,
            evaluator: Evaluator::new(node.expr.clone()),
            by_row: is_by_row(node, self.spec.config.is_batch),
            column: graph_node.schema.fields().get(node.rowtime).map_or_else(String::new, |f| f.name.clone()),
            table,
        }))
    }

    fn sink(&self, place: usize, index: usize, worker: usize) -> Result<Part> {
        let NodeKind::Sink(node) = &self.spec.plan.nodes[self.shared.graph.nodes[place].plan_node].kind else {
            return Err(Error::internal("a sink without its node"));
        };
        let Some(factory) = &self.sinks[index] else { return Err(Error::internal("a sink without a factory")) };
        let instances = match factory.parallelism() {
            SinkParallelism::One => 1,
            SinkParallelism::PerWorker => self.shared.workers,
        };
        if worker >= instances {
            return Ok(Part::Elsewhere);
        }
        let id = &self.ids[self.shared.graph.nodes[place].plan_node];
        let entry = self.manifest.and_then(|m| m.sinks.iter().find(|s| s.operator == *id));
        let context = SinkContext {
            instance: worker,
            instances,
            restored: entry.map_or_else(Vec::new, |e| e.states.clone()),
            waker: self.control.waker().clone(),
        };
        let what = format!("sink `{}`", node.table.name);
        let sink = retried(self.control, &self.shared.metrics, &what, || factory.open(context.clone()))?;
        Ok(Part::Sink(Box::new(SinkPart {
            sink,
            index,
            instance: worker,
            table: node.table.name.clone(),
            not_null: node.not_null.clone(),
            drop_null_rows: node.drop_null_rows,
            is_preparing: false,
        })))
    }
}

/// Repeats a call to a system that is away, with growing pauses, until it answers or the job is told to stop.
pub(super) fn retried<T>(
    control: &Control,
    metrics: &Metrics,
    what: &str,
    mut call: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut pause = RETRY_FIRST;
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Unavailable && !control.is_stopping() => {
                metrics.set_waiting(Some(format!("{what}: {}", error.message())));
                control.waker().wait(pause);
                pause = (pause * 2).min(RETRY_MAX);
            }
            other => {
                metrics.set_waiting(None);
                return other.map_err(|e| e.at(what.to_owned()));
            }
        }
    }
}
