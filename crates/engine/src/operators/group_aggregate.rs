//! GROUP BY without windows, and SELECT DISTINCT.
//!
//! - **Input**: any changelog; -U and -D take rows back when the plan says that the input retracts.
//! - **Output**: the keys, then the aggregates. A group's first row gives +I, later ones -U and +U (only +U towards a reader that keeps
//!   rows by key), the retraction of its last row -D. A row that leaves the result as it was gives nothing, unless a TTL is on: then
//!   readers below must hear of it to keep their own state alive.
//! - **State**: a table of groups, and for each aggregate that must be able to take values back or knows DISTINCT, a table of values.
//! - **Emits** per input row; or per key and step when every sink folds by the same key (`fold_per_step`); or per key and mini-batch,
//!   at the first step end after the latency or the number of rows, at the end of the input, and before a checkpoint (`flush`).
//! - **Drops state** with a group's last row, and when a TTL is set and the key was not written for that long: then the next row begins
//!   the group anew with +I, and nobody is told that the old one ended, as in Flink.
//! - **Late rows** do not exist here.
//! - **Cost per row**: key encoding, one hash probe, and a few nanoseconds per aggregate; a change per row costs its output columns too.

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_select::concat::concat;
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, ChangelogMode, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::{GroupAggregateNode, MiniBatch};

use super::ROWS_PER_BATCH;
use super::aggregate::{AggregateSpec, Groups, Plan, PlannedRows, Prepared, Trace, Values};
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MAX};
use crate::state::codec::decode_keys;
use crate::state::vnode::KeyHasher;

/// Slots looked at for expired groups at every step end.
const SWEEP_SLOTS_PER_STEP: usize = 1024;

/// See the module's head.
pub struct GroupAggregate {
    spec: AggregateSpec,
    schema: Schema,
    changelog_mode: ChangelogMode,
    has_ttl: bool,
    hasher: KeyHasher,
    groups: Groups,
    /// `None` emits per row.
    bundle: Option<Bundle>,
    sequence: u64,
    ignored_retractions: u64,
    // Buffers that are used again for every batch.
    rows: Vec<u32>,
    slots: Vec<u32>,
    prepared: Vec<Prepared>,
    plan: Plan,
    traces: Vec<Trace>,
    sweep: Vec<u32>,
}

/// Groups that changed and were not told of yet, with what their readers know of them.
struct Bundle {
    mini_batch: Option<MiniBatch>,
    rows: u64,
    since_ms: Option<i64>,
    touched: Vec<u32>,
    is_touched: Vec<bool>,
    existed: Vec<bool>,
    before: Vec<Values>,
    emptied: Vec<u32>,
    new: Vec<u32>,
}

impl GroupAggregate {
    /// Builds the operator of a node that gives `schema` in `changelog_mode`.
    pub fn new(
        node: &GroupAggregateNode,
        input: &Schema,
        schema: &Schema,
        changelog_mode: ChangelogMode,
    ) -> Result<Self> {
        let spec = AggregateSpec::new(&node.keys, &node.aggregates, input, node.input_retracts)?;
        if schema.len() != node.keys.len() + spec.len() {
            return Err(Error::internal(format!(
                "a GROUP BY of {} keys and {} aggregates has {} output columns",
                node.keys.len(),
                spec.len(),
                schema.len()
            )));
        }
        let is_bundled = node.fold_per_step || node.mini_batch.is_some();
        Ok(GroupAggregate {
            groups: Groups::new(&spec, node.state_ttl_ms)?,
            bundle: is_bundled.then(|| Bundle {
                mini_batch: node.mini_batch,
                rows: 0,
                since_ms: None,
                touched: Vec::new(),
                is_touched: Vec::new(),
                existed: Vec::new(),
                before: spec.values(),
                emptied: Vec::new(),
                new: Vec::new(),
            }),
            traces: spec.traces(),
            spec,
            schema: schema.clone(),
            changelog_mode,
            has_ttl: node.state_ttl_ms > 0,
            hasher: KeyHasher::new(node.keys.clone()),
            sequence: 0,
            ignored_retractions: 0,
            rows: Vec::new(),
            slots: Vec::new(),
            prepared: Vec::new(),
            plan: Plan::default(),
            sweep: Vec::new(),
        })
    }

    /// Emits one change per step of the plan.
    fn emit_steps(&mut self, batch: &RecordBatch, output: &mut Output) -> Result<()> {
        let steps = self.plan.steps.len();
        let mut changes = Changes::new(self.changelog_mode, self.has_ttl || self.spec.counts_rows());
        for (index, (step, count)) in self.plan.steps.iter().zip(&self.plan.counts).enumerate() {
            let traces = &self.traces;
            let is_same = || traces.iter().all(|trace| trace.before.is_same(&trace.after, index));
            changes.push(index, steps, !step.is_fresh, *count > 0, is_same);
        }
        let rows: Vec<u32> = changes.indices.iter().map(|index| self.plan.steps[*index as usize].row).collect();
        let mut results = Vec::with_capacity(self.spec.len());
        for (aggregate, trace) in self.traces.iter().enumerate() {
            let data_type = self.spec.data_type(aggregate);
            results.push([trace.before.to_array(data_type)?, trace.after.to_array(data_type)?]);
        }
        let results = changes.join(results)?;
        for start in (0..changes.len()).step_by(ROWS_PER_BATCH) {
            let length = ROWS_PER_BATCH.min(changes.len() - start);
            let rows = UInt32Array::from(rows[start..start + length].to_vec());
            let mut columns = Vec::with_capacity(self.schema.len());
            for key in self.hasher.columns() {
                columns.push(take(batch.column(*key), &rows, None)?);
            }
            changes.results(&results, start, length, &mut columns)?;
            emit(&self.schema, columns, changes.kinds[start..start + length].to_vec(), output)?;
        }
        Ok(())
    }

    /// Emits one change per group of the bundle, and empties it.
    fn emit_bundle(&mut self, output: &mut Output) -> Result<()> {
        let Some(bundle) = &mut self.bundle else { return Ok(()) };
        let skips_comparison = self.has_ttl || self.spec.counts_rows();
        let before: Vec<ArrayRef> = bundle
            .before
            .iter()
            .enumerate()
            .map(|(aggregate, values)| values.to_array(self.spec.data_type(aggregate)))
            .collect::<Result<_>>()?;
        // Two changes per group at most.
        let chunk_length = ROWS_PER_BATCH / 2;
        let mut after = self.spec.values();
        for (chunk, slots) in bundle.touched.chunks(chunk_length).enumerate() {
            let start = chunk * chunk_length;
            after.iter_mut().for_each(Values::clear);
            self.groups.collect(slots, &mut after);
            let mut results = Vec::with_capacity(self.spec.len());
            for (aggregate, values) in after.iter().enumerate() {
                let now = values.to_array(self.spec.data_type(aggregate))?;
                results.push([before[aggregate].slice(start, slots.len()), now]);
            }
            let sames: Vec<bool> = if skips_comparison { Vec::new() } else { same_rows(&results, slots.len())? };
            let mut changes = Changes::new(self.changelog_mode, skips_comparison);
            for (index, slot) in slots.iter().enumerate() {
                let exists = self.groups.row_count(*slot) > 0;
                changes.push(index, slots.len(), bundle.existed[start + index], exists, || sames[index]);
            }
            let keys = decode_keys(self.spec.key_types(), slots.iter().map(|slot| self.groups.table.key(*slot)))?;
            let mut columns = Vec::with_capacity(self.schema.len());
            if changes.is_one_each(slots.len()) {
                columns.extend(keys);
            } else {
                let indices = UInt32Array::from(changes.indices.clone());
                for key in &keys {
                    columns.push(take(key, &indices, None)?);
                }
            }
            let results = changes.join(results)?;
            changes.results(&results, 0, changes.len(), &mut columns)?;
            emit(&self.schema, columns, changes.kinds, output)?;
        }
        for slot in bundle.touched.drain(..) {
            bundle.is_touched[slot as usize] = false;
        }
        bundle.existed.clear();
        bundle.before.iter_mut().for_each(Values::clear);
        bundle.rows = 0;
        bundle.since_ms = None;
        self.groups.release_empty(&mut bundle.emptied);
        Ok(())
    }

    fn sweep(&mut self, now_ms: i64) {
        self.sweep.clear();
        self.groups.table.sweep(SWEEP_SLOTS_PER_STEP, now_ms, &mut self.sweep);
        for slot in self.sweep.drain(..) {
            let is_pending = self.bundle.as_ref().is_some_and(|b| b.is_touched.get(slot as usize) == Some(&true));
            if !is_pending {
                self.groups.release(slot);
            }
        }
    }
}

/// Whether a group's result is the same before and after, by row.
fn same_rows(results: &[[ArrayRef; 2]], rows: usize) -> Result<Vec<bool>> {
    let mut sames = vec![true; rows];
    for [before, after] in results {
        if before.data_type().is_nested() {
            for (row, same) in sames.iter_mut().enumerate() {
                *same &= before.slice(row, 1) == after.slice(row, 1);
            }
        } else {
            let equal = arrow_ord::cmp::not_distinct(before, after)?;
            sames.iter_mut().zip(equal.values()).for_each(|(same, is_equal)| *same &= is_equal);
        }
    }
    Ok(sames)
}

/// The changes to emit: which group or step, which kind, and whether with the result before or after.
struct Changes {
    mode: ChangelogMode,
    emits_same: bool,
    kinds: Vec<RowKind>,
    indices: Vec<u32>,
    /// Places in the results before, followed by the results after.
    picks: Vec<u32>,
}

impl Changes {
    fn new(mode: ChangelogMode, emits_same: bool) -> Self {
        Changes { mode, emits_same, kinds: Vec::new(), indices: Vec::new(), picks: Vec::new() }
    }

    fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Decides what to say of place `index` out of `count`.
    fn push(&mut self, index: usize, count: usize, existed: bool, exists: bool, is_same: impl Fn() -> bool) {
        let (before, after) = (index, count + index);
        match (existed, exists) {
            (false, false) => {}
            (false, true) => self.add(RowKind::Insert, index, after),
            (true, _) if self.mode == ChangelogMode::Insert => {}
            (true, false) => self.add(RowKind::Delete, index, before),
            (true, true) if !self.emits_same && is_same() => {}
            (true, true) => {
                if self.mode == ChangelogMode::Full {
                    self.add(RowKind::UpdateBefore, index, before);
                }
                self.add(RowKind::UpdateAfter, index, after);
            }
        }
    }

    fn add(&mut self, kind: RowKind, index: usize, pick: usize) {
        self.kinds.push(kind);
        self.indices.push(u32::try_from(index).unwrap_or(u32::MAX));
        self.picks.push(u32::try_from(pick).unwrap_or(u32::MAX));
    }

    /// Whether every place has one change, in order.
    fn is_one_each(&self, count: usize) -> bool {
        self.len() == count && self.indices.iter().zip(0..).all(|(index, place)| *index == place)
    }

    /// The column to pick from, per aggregate: the results before and after joined, or only those after when no other is asked for.
    fn join(&mut self, results: Vec<[ArrayRef; 2]>) -> Result<Vec<ArrayRef>> {
        let Some([first, _]) = results.first() else { return Ok(Vec::new()) };
        let count = u32::try_from(first.len()).unwrap_or(u32::MAX);
        if self.picks.iter().all(|pick| *pick >= count) {
            self.picks.iter_mut().for_each(|pick| *pick -= count);
            return Ok(results.into_iter().map(|[_, after]| after).collect());
        }
        results.iter().map(|[before, after]| Ok(concat(&[before, after])?)).collect()
    }

    fn results(&self, joined: &[ArrayRef], start: usize, length: usize, columns: &mut Vec<ArrayRef>) -> Result<()> {
        let Some(first) = joined.first() else { return Ok(()) };
        let picks = &self.picks[start..start + length];
        if length == first.len() && picks.iter().zip(0..).all(|(pick, place)| *pick == place) {
            columns.extend_from_slice(joined);
            return Ok(());
        }
        let picks = UInt32Array::from(picks.to_vec());
        for array in joined {
            columns.push(take(array, &picks, None)?);
        }
        Ok(())
    }
}

fn emit(schema: &Schema, columns: Vec<ArrayRef>, kinds: Vec<RowKind>, output: &mut Output) -> Result<()> {
    let options = RecordBatchOptions::new().with_row_count(Some(kinds.len()));
    let rows = RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options)?;
    output.emit(ChangeBatch::new(rows, kinds));
    Ok(())
}

impl Operator for GroupAggregate {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let row_count = u32::try_from(batch.len())
            .map_err(|_| Error::internal(format!("a batch of {} rows reaches a GROUP BY", batch.len())))?;
        self.hasher.hash(&batch.rows)?;
        self.rows.clear();
        self.rows.extend(0..row_count);
        self.slots.clear();
        let (keys, hashes) = self.hasher.keys_and_hashes();
        self.groups.assign(keys, hashes, &self.rows, &mut self.slots);
        self.spec.prepare(&batch.rows, &mut self.prepared)?;
        if let Some(bundle) = &mut self.bundle {
            bundle.touch(&self.slots, &self.groups, context.now_ms);
        }
        self.plan.clear();
        let rows = PlannedRows {
            rows: &self.rows,
            slots: &self.slots,
            kinds: batch.kinds.as_ref(),
            now_ms: context.now_ms,
            has_ttl: self.has_ttl,
            keeps_steps: self.bundle.is_none() || self.groups.has_columns(),
        };
        self.ignored_retractions += self.groups.plan(rows, &mut self.plan);
        let traces = if self.bundle.is_some() { None } else { Some(&mut self.traces[..]) };
        self.groups.apply(&self.plan, &self.prepared, self.sequence, traces);
        self.sequence += u64::from(row_count);
        if let Some(bundle) = &mut self.bundle {
            bundle.emptied.append(&mut self.plan.emptied);
            return Ok(());
        }
        self.emit_steps(&batch.rows, output)?;
        for trace in &mut self.traces {
            trace.before.clear();
            trace.after.clear();
        }
        self.groups.release_empty(&mut self.plan.emptied);
        Ok(())
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        if self.bundle.as_ref().is_some_and(|bundle| bundle.is_due(watermark, context.now_ms)) {
            self.emit_bundle(output)?;
        }
        if self.has_ttl {
            self.sweep(context.now_ms);
        }
        Ok(watermark)
    }

    fn flush(&mut self, _: &EvalContext, output: &mut Output) -> Result<()> {
        self.emit_bundle(output)
    }

    fn next_timer_ms(&self) -> Option<i64> {
        let bundle = self.bundle.as_ref()?;
        bundle.due_ms()
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        if self.bundle.as_ref().is_some_and(|bundle| !bundle.touched.is_empty()) {
            return Err(Error::internal("a GROUP BY holds changes back at a checkpoint, `flush` was not called"));
        }
        self.groups.snapshot(full, &[], writer);
        Ok(())
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        let sequence = self.groups.restore(&self.spec, table, key, value)?;
        self.sequence = self.sequence.max(sequence + 1);
        Ok(())
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let bundle = self.bundle.as_ref().map_or(0, |bundle| {
            bundle.before.iter().map(Values::capacity_bytes).sum::<usize>()
                + (bundle.touched.capacity() + bundle.emptied.capacity()) * size_of::<u32>()
                + bundle.is_touched.capacity()
                + bundle.existed.capacity()
        });
        self.groups.bytes() + self.hasher.bytes() + bundle
    }

    fn ignored_retractions(&self) -> u64 {
        self.ignored_retractions
    }
}

impl Bundle {
    /// Notes groups that are about to change, with their result so far.
    fn touch(&mut self, slots: &[u32], groups: &Groups, now_ms: i64) {
        self.rows += slots.len() as u64;
        self.since_ms.get_or_insert(now_ms);
        self.is_touched.resize(groups.table.slot_count().max(self.is_touched.len()), false);
        self.new.clear();
        for &slot in slots {
            let is_touched = &mut self.is_touched[slot as usize];
            if !*is_touched {
                *is_touched = true;
                self.new.push(slot);
                self.existed.push(groups.is_live(slot, now_ms));
            }
        }
        groups.collect(&self.new, &mut self.before);
        self.touched.extend_from_slice(&self.new);
    }

    fn due_ms(&self) -> Option<i64> {
        let latency_ms = self.mini_batch?.latency_ms;
        Some(self.since_ms?.saturating_add(i64::try_from(latency_ms).unwrap_or(i64::MAX)))
    }

    fn is_due(&self, watermark: i64, now_ms: i64) -> bool {
        let Some(mini_batch) = self.mini_batch else { return true };
        watermark == WATERMARK_MAX
            || self.rows >= mini_batch.rows
            || self.due_ms().is_some_and(|due_ms| now_ms >= due_ms)
    }
}
