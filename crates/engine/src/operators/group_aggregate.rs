//! GROUP BY without windows, and SELECT DISTINCT.
//!
//! - **Input**: any changelog; -U and -D take rows back when the plan says that the input retracts.
//! - **Output**: the keys, then the aggregates. A group's first row gives +I, later ones -U and +U (only +U towards a reader that keeps
//!   rows by key), the retraction of its last row -D. A row that leaves the result as it was gives nothing, unless a TTL is on: then
//!   readers below must hear of it to keep their own state alive.
//! - **State**: a table of groups (in the store, where memory has no room: a group is loaded with all of its values), and for each aggregate that must be able to take values back or knows DISTINCT, a table of values.
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
use super::aggregate::{AggregateSpec, Groups, Plan, PlannedRows, Prepared, Trace, Values, check_version};
use super::sliced::Sliced;
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MAX};
use crate::state::codec::{Reader, STATE_VERSION, decode_keys};
use crate::state::store::StateStore;
use crate::state::vnode::KeyHasher;

/// See the module's head.
pub struct GroupAggregate {
    spec: AggregateSpec,
    schema: Schema,
    changelog_mode: ChangelogMode,
    has_ttl: bool,
    /// A scalar subquery: a second row of a group is an error.
    is_single: bool,
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
    /// The results so far; empty columns when nobody asks for them.
    before: Vec<Values>,
    keeps_before: bool,
    emptied: Vec<u32>,
    new: Vec<u32>,
    /// The keys under which the last snapshot holds what was not told then.
    stored: Vec<(Vec<u8>, u8)>,
}

/// The state table of groups that changed in a mini-batch which a checkpoint cut: what readers know of them.
const PENDING_TABLE: u8 = u8::MAX;

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
                // For -U and -D, and to see that a result did not change.
                keeps_before: changelog_mode == ChangelogMode::Full
                    || node.input_retracts
                    || !(node.state_ttl_ms > 0 || spec.counts_rows()),
                emptied: Vec::new(),
                new: Vec::new(),
                stored: Vec::new(),
            }),
            traces: spec.traces(),
            is_single: spec.is_single(),
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
                let then = if bundle.keeps_before { before[aggregate].slice(start, slots.len()) } else { now.clone() };
                results.push([then, now]);
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
        self.groups.table.sweep_step(now_ms, &mut self.sweep);
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
        self.groups.load_created(&self.spec)?;
        self.groups.copy_aside(&self.slots);
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
        if self.is_single && self.plan.counts.iter().any(|count| *count > 1) {
            return Err(Error::data("a scalar subquery gave more than one row")
                .hint("make it give one: aggregate it with MAX, MIN or FIRST_VALUE, or filter by a unique key"));
        }
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
        self.groups.snapshot(full, writer);
        if let Some(bundle) = &mut self.bundle {
            bundle.snapshot(full, &self.groups, writer);
        }
        Ok(())
    }

    fn freeze(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<bool> {
        if let Some(bundle) = &mut self.bundle {
            bundle.snapshot(full, &self.groups, writer);
        }
        self.groups.freeze(full);
        Ok(false)
    }

    fn snapshot_part(&mut self, entries: usize, writer: &mut dyn StateWriter) -> Result<bool> {
        self.groups.write_part(entries, writer)
    }

    fn restore(&mut self, table: u8, vnode: u8, key: &[u8], value: &[u8]) -> Result<()> {
        if table == PENDING_TABLE {
            let slot = self.groups.restore_slot(key);
            self.groups.load_created(&self.spec)?;
            let bundle = self.bundle.as_mut().ok_or_else(|| {
                Error::config("a checkpoint holds part of a mini-batch, but `table.exec.mini-batch.enabled` is off now")
                    .hint("set it as it was, or start anew with --fresh")
            })?;
            bundle.stored.push((key.to_vec(), vnode));
            return bundle.restore(slot, value);
        }
        let sequence = self.groups.restore(&self.spec, table, key, value)?;
        self.sequence = self.sequence.max(sequence + 1);
        Ok(())
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        if let Some(bundle) = &mut self.bundle {
            let groups = &self.groups;
            bundle.emptied.extend(bundle.touched.iter().filter(|slot| groups.row_count(**slot) == 0));
        }
        Ok(())
    }

    fn spills(&self) -> bool {
        true
    }

    fn evict(&mut self, store: &StateStore) -> Result<()> {
        if let Some(bundle) = &mut self.bundle {
            if !bundle.touched.is_empty() {
                return Ok(());
            }
            bundle.is_touched = Vec::new();
        }
        self.groups.begin_anew(&self.spec, store)
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
        if self.keeps_before {
            groups.collect(&self.new, &mut self.before);
        }
        self.touched.extend_from_slice(&self.new);
    }

    fn snapshot(&mut self, full: bool, groups: &Groups, writer: &mut dyn StateWriter) {
        for (key, vnode) in self.stored.drain(..).filter(|_| !full) {
            writer.delete(PENDING_TABLE, vnode, &key);
        }
        let mut value = Vec::new();
        for (index, &slot) in self.touched.iter().enumerate() {
            value.clear();
            value.extend([STATE_VERSION, u8::from(self.existed[index])]);
            if self.keeps_before {
                self.before.iter().for_each(|values| values.encode(index, &mut value));
            }
            let (key, vnode) = (groups.table.key(slot), groups.table.vnode(slot));
            writer.put(PENDING_TABLE, vnode, key, &value);
            self.stored.push((key.to_vec(), vnode));
        }
    }

    fn restore(&mut self, slot: u32, value: &[u8]) -> Result<()> {
        let mut reader = Reader::new(value);
        check_version(reader.byte()?)?;
        self.existed.push(reader.byte()? != 0);
        if self.keeps_before {
            self.before.iter_mut().try_for_each(|values| values.decode(&mut reader))?;
        }
        self.touched.push(slot);
        self.is_touched.resize(self.is_touched.len().max(slot as usize + 1), false);
        self.is_touched[slot as usize] = true;
        // Due at the first step end.
        self.since_ms = Some(i64::MIN);
        Ok(())
    }

    /// The next multiple of the latency on the wall clock: mini-batches of all operators and workers end together, as Flink's do.
    fn due_ms(&self) -> Option<i64> {
        let latency_ms = i64::try_from(self.mini_batch?.latency_ms).unwrap_or(i64::MAX).max(1);
        let since_ms = self.since_ms?;
        Some(since_ms.saturating_sub(since_ms.rem_euclid(latency_ms)).saturating_add(latency_ms))
    }

    fn is_due(&self, watermark: i64, now_ms: i64) -> bool {
        let Some(mini_batch) = self.mini_batch else { return true };
        watermark == WATERMARK_MAX
            || self.rows >= mini_batch.rows
            || self.due_ms().is_some_and(|due_ms| now_ms >= due_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{Change, Event, change, fold, row, run, schema, show, string};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use wiesel_core::{DataType, TypeKind, Value};
    use wiesel_expr::{AggregateCall, AggregateFunction as F};

    fn call(function: F, args: &[usize], kind: TypeKind) -> AggregateCall {
        AggregateCall { function, args: args.to_vec(), distinct: false, filter: None, data_type: DataType::new(kind) }
    }

    fn distinct(call: AggregateCall) -> AggregateCall {
        AggregateCall { distinct: true, ..call }
    }

    fn node(aggregates: Vec<AggregateCall>) -> GroupAggregateNode {
        GroupAggregateNode {
            keys: vec![0],
            aggregates,
            input_retracts: true,
            fold_per_step: false,
            mini_batch: None,
            state_ttl_ms: 0,
        }
    }

    // Input: k STRING, n BIGINT, s STRING, d DECIMAL(10, 2), x DOUBLE, i INT, f BOOLEAN.
    fn input() -> Schema {
        let decimal = TypeKind::Decimal { precision: 10, scale: 2 };
        schema(&[string(), TypeKind::BigInt, string(), decimal, TypeKind::Double, TypeKind::Int, TypeKind::Boolean])
    }

    fn wide(text: &str) -> Change {
        // kind k n s; the other columns follow from n.
        let (kind, mut values) = change(text);
        let number = if let Value::Int(n) = values[1] { Some(n) } else { None };
        let or_null = |value: Option<Value>| value.unwrap_or(Value::Null);
        values.push(or_null(number.map(|n| Value::Decimal(i128::from(n) * 50))));
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        values.push(or_null(number.map(|n| Value::Double(n as f64 / 4.0))));
        values.push(or_null(number.map(Value::Int)));
        values.push(or_null(number.map(|n| Value::Boolean(n % 2 == 0))));
        (kind, values)
    }

    fn output(node: &GroupAggregateNode) -> Schema {
        let mut types = vec![string(); node.keys.len()];
        types.extend(node.aggregates.iter().map(|a| a.data_type.kind.clone()));
        schema(&types)
    }

    fn drive(node: &GroupAggregateNode, mode: ChangelogMode, events: &[Event]) -> Vec<Change> {
        let new =
            || -> Box<dyn Operator> { Box::new(GroupAggregate::new(node, &input(), &output(node), mode).unwrap()) };
        run(&new, &input(), &output(node), 0, events)
    }

    fn changelog(node: &GroupAggregateNode, mode: ChangelogMode, rows: &[&str]) -> Vec<String> {
        let rows = rows.iter().map(|text| wide(text)).collect();
        show(&drive(node, mode, &[Event::Rows(rows), Event::Advance(0, 0)]))
    }

    #[test]
    fn every_row_of_a_group_gives_a_change() {
        let count = node(vec![call(F::CountStar, &[], TypeKind::BigInt)]);
        let rows = ["+I a 1 x", "+I NULL 1 x", "+I a 2 y", "-U a 1 x", "-D a 2 y", "-D b 1 x", "+I a 3 z"];
        let full = ["+I a 1", "+I NULL 1", "-U a 1", "+U a 2", "-U a 2", "+U a 1", "-D a 1", "+I a 1"];
        assert_eq!(changelog(&count, ChangelogMode::Full, &rows), full);
        let upsert = ["+I a 1", "+I NULL 1", "+U a 2", "+U a 1", "-D a 1", "+I a 1"];
        assert_eq!(changelog(&count, ChangelogMode::Upsert, &rows), upsert);
        let folded = GroupAggregateNode { fold_per_step: true, ..count };
        assert_eq!(changelog(&folded, ChangelogMode::Full, &rows), ["+I a 1", "+I NULL 1"]);
    }

    #[test]
    fn a_group_that_is_gone_at_the_steps_end_gives_nothing_or_a_delete() {
        let folded = GroupAggregateNode { fold_per_step: true, ..node(vec![call(F::Sum, &[1], TypeKind::BigInt)]) };
        let step = |rows: &[&str]| Event::Rows(rows.iter().map(|r| wide(r)).collect());
        let events = [
            step(&["+I a 1 x", "-D a 1 x", "+I b 2 x"]),
            Event::Advance(0, 0),
            step(&["+I b 3 x", "-D b 3 x"]),
            Event::Advance(0, 0),
            step(&["-U b 2 x", "+U b 7 x"]),
            Event::Advance(0, 0),
            step(&["-D b 7 x"]),
            Event::Advance(0, 0),
        ];
        let expected = ["+I b 2", "-U b 2", "+U b 7", "-D b 7"];
        assert_eq!(show(&drive(&folded, ChangelogMode::Full, &events)), expected);
    }

    #[test]
    fn an_unchanged_result_gives_nothing_unless_a_time_to_live_is_set() {
        let max = node(vec![call(F::Max, &[1], TypeKind::BigInt)]);
        let rows = ["+I a 5 x", "+I a 3 x", "+I a NULL x", "+I a 6 x"];
        assert_eq!(changelog(&max, ChangelogMode::Full, &rows), ["+I a 5", "-U a 5", "+U a 6"]);
        let with_ttl = GroupAggregateNode { state_ttl_ms: 10, ..max };
        assert_eq!(changelog(&with_ttl, ChangelogMode::Upsert, &rows), ["+I a 5", "+U a 5", "+U a 5", "+U a 6"]);
    }

    #[test]
    fn select_distinct_gives_the_first_row_of_each_group() {
        let distinct = node(vec![]);
        let rows = ["+I a 1 x", "+I a 2 y", "+I NULL 1 x", "+I b 1 x", "+I NULL 2 z"];
        assert_eq!(changelog(&distinct, ChangelogMode::Insert, &rows), ["+I a", "+I NULL", "+I b"]);
    }

    #[test]
    fn a_global_aggregate_has_one_group_and_no_row_before_the_first() {
        let global = GroupAggregateNode { keys: vec![], ..node(vec![call(F::CountStar, &[], TypeKind::BigInt)]) };
        assert_eq!(changelog(&global, ChangelogMode::Upsert, &["+I a 1 x", "+I b 1 x"]), ["+I 1", "+U 2"]);
        assert!(changelog(&global, ChangelogMode::Upsert, &[]).is_empty());
    }

    #[test]
    fn each_aggregate_gives_flinks_result() {
        let decimal = |precision, scale| TypeKind::Decimal { precision, scale };
        // The aggregate, and its last result over the rows below.
        let cases = [
            (call(F::CountStar, &[], TypeKind::BigInt), "5"),
            (call(F::Count, &[1], TypeKind::BigInt), "4"),
            (call(F::Count, &[1, 2], TypeKind::BigInt), "4"),
            (distinct(call(F::Count, &[2], TypeKind::BigInt)), "3"),
            (distinct(call(F::Count, &[2, 1], TypeKind::BigInt)), "4"),
            (call(F::Sum, &[1], TypeKind::BigInt), "13"),
            (distinct(call(F::Sum, &[1], TypeKind::BigInt)), "13"),
            (call(F::Sum, &[3], decimal(38, 2)), "650"),
            (call(F::Sum, &[4], TypeKind::Double), "3.25"),
            (call(F::Avg, &[1], TypeKind::BigInt), "3"),
            (call(F::Avg, &[3], decimal(38, 6)), "1625000"),
            (call(F::Avg, &[4], TypeKind::Double), "0.8125"),
            (call(F::Min, &[1], TypeKind::BigInt), "-2"),
            (call(F::Max, &[1], TypeKind::BigInt), "9"),
            (call(F::Min, &[2], string()), "x"),
            (call(F::Max, &[2], string()), "zz"),
            (call(F::Max, &[3], decimal(10, 2)), "450"),
            (call(F::Min, &[4], TypeKind::Double), "-0.5"),
            (call(F::Max, &[6], TypeKind::Boolean), "TRUE"),
            (call(F::FirstValue, &[1], TypeKind::BigInt), "5"),
            (call(F::LastValue, &[1], TypeKind::BigInt), "-2"),
            (call(F::LastValue, &[2], string()), "y"),
            (AggregateCall { filter: Some(6), ..call(F::CountStar, &[], TypeKind::BigInt) }, "1"),
            (AggregateCall { filter: Some(6), ..call(F::Sum, &[1], TypeKind::BigInt) }, "-2"),
        ];
        let rows = ["+I a 5 x", "+I a NULL zz", "+I a 9 x", "+I a 1 x", "+I a -2 y"];
        for (call, expected) in cases {
            for input_retracts in [true, false] {
                let node = GroupAggregateNode { input_retracts, ..node(vec![call.clone()]) };
                let last = changelog(&node, ChangelogMode::Upsert, &rows).pop().unwrap();
                assert_eq!(&last[5..], expected, "{call:?}, retracts: {input_retracts}");
            }
        }
    }

    #[test]
    fn aggregates_of_nothing_are_null_and_counts_are_zero() {
        let node = node(vec![
            call(F::Count, &[1], TypeKind::BigInt),
            call(F::Sum, &[1], TypeKind::BigInt),
            call(F::Avg, &[4], TypeKind::Double),
            call(F::Min, &[2], string()),
            call(F::FirstValue, &[1], TypeKind::BigInt),
        ]);
        let rows = ["+I a NULL NULL"];
        assert_eq!(changelog(&node, ChangelogMode::Full, &rows), ["+I a 0 NULL NULL NULL NULL"]);
        let rows = ["+I a NULL NULL", "+I a 4 b", "-D a 4 b"];
        let last = changelog(&node, ChangelogMode::Full, &rows).pop().unwrap();
        assert_eq!(last, "+U a 0 NULL NULL NULL NULL");
    }

    #[test]
    fn sums_of_integers_wrap_at_the_width_of_their_type() {
        let node = node(vec![call(F::Sum, &[5], TypeKind::Int), call(F::Sum, &[1], TypeKind::BigInt)]);
        let rows = ["+I a 2147483647 x", "+I a 1 x"];
        let last = changelog(&node, ChangelogMode::Upsert, &rows).pop().unwrap();
        assert_eq!(last, "+U a -2147483648 2147483648");
    }

    #[test]
    fn a_retraction_brings_the_next_value_back() {
        let node = node(vec![
            call(F::Max, &[2], string()),
            call(F::FirstValue, &[2], string()),
            call(F::LastValue, &[2], string()),
            distinct(call(F::Count, &[2], TypeKind::BigInt)),
        ]);
        let rows = ["+I a 1 p", "+I a 1 r", "+I a 1 q", "-D a 1 r", "-D a 1 p"];
        let expected = ["+I a p p p 1", "+U a r p r 2", "+U a r p q 3", "+U a q p q 2", "+U a q q q 1"];
        assert_eq!(changelog(&node, ChangelogMode::Upsert, &rows), expected);
    }

    #[test]
    fn a_key_that_was_silent_for_its_time_to_live_begins_anew() {
        let node = GroupAggregateNode {
            state_ttl_ms: 10,
            ..node(vec![call(F::CountStar, &[], TypeKind::BigInt), distinct(call(F::Count, &[1], TypeKind::BigInt))])
        };
        let rows = |text: &str| Event::Rows(vec![wide(text)]);
        let events = |restart: bool| {
            let mut events = vec![rows("+I a 1 x"), Event::Advance(0, 9), rows("+I a 1 x")];
            // 9 ms later it lives, 10 ms behind the last write it does not.
            events.extend([Event::Advance(0, 18), rows("+I a 2 x")]);
            if restart {
                events.push(Event::Restart(false));
            }
            events.extend([Event::Advance(0, 28), rows("+I a 1 x"), Event::Advance(0, 38), rows("-D a 1 x")]);
            events
        };
        let expected = ["+I a 1 1", "-U a 1 1", "+U a 2 1", "-U a 2 1", "+U a 3 2", "+I a 1 1"];
        for restart in [false, true] {
            assert_eq!(show(&drive(&node, ChangelogMode::Full, &events(restart))), expected);
        }
    }

    #[test]
    fn a_mini_batch_is_told_when_its_time_or_size_is_reached_or_a_checkpoint_comes() {
        let node = GroupAggregateNode {
            mini_batch: Some(MiniBatch { latency_ms: 10, rows: 3 }),
            ..node(vec![call(F::CountStar, &[], TypeKind::BigInt)])
        };
        let rows = |texts: &[&str]| Event::Rows(texts.iter().map(|t| wide(t)).collect());
        let cases: [(&[Event], &[&str]); 4] = [
            (&[rows(&["+I a 1 x", "+I a 2 x"]), Event::Advance(0, 9)], &[]),
            (&[rows(&["+I a 1 x", "+I a 2 x"]), Event::Advance(0, 10)], &["+I a 2"]),
            (&[rows(&["+I a 1 x", "+I a 2 x"]), rows(&["+I b 1 x"]), Event::Advance(0, 0)], &["+I a 2", "+I b 1"]),
            (&[rows(&["+I a 1 x", "+I a 2 x"]), Event::Advance(0, 0), Event::Flush], &["+I a 2"]),
        ];
        for (events, expected) in cases {
            assert_eq!(show(&drive(&node, ChangelogMode::Full, events)), expected, "{events:?}");
        }
        let mut operator = GroupAggregate::new(&node, &input(), &output(&node), ChangelogMode::Full).unwrap();
        assert_eq!(operator.next_timer_ms(), None);
        let batch = crate::operators::testing::batch(&input(), &[wide("+I a 1 x")]);
        let context = crate::operators::testing::context(5);
        operator.process(0, batch, &context, &mut Output::default()).unwrap();
        assert_eq!(operator.next_timer_ms(), Some(10), "mini-batches end at multiples of the latency");
    }

    // The reference: the rows of each group in a list, aggregated anew every time. Beside it the values of every column in the order
    // they came, because a retraction takes back the earliest occurrence of its value, whichever row that was.
    fn reference(rows: &[Change], calls: &[AggregateCall]) -> BTreeMap<String, Vec<Value>> {
        #[derive(Default)]
        struct Group {
            members: Vec<Vec<Value>>,
            arrivals: Vec<Vec<Value>>,
        }
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (kind, row) in rows {
            let key = format!("{:?}", &row[..1]);
            let group = groups.entry(key.clone()).or_default();
            group.arrivals.resize(row.len(), vec![]);
            if kind.is_add() {
                group.members.push(row.clone());
            } else {
                let place = group.members.iter().position(|m| m == row).unwrap();
                group.members.remove(place);
            }
            for (arrived, value) in group.arrivals.iter_mut().zip(row) {
                if kind.is_add() {
                    arrived.push(value.clone());
                } else {
                    let place = arrived.iter().position(|v| v == value).unwrap();
                    arrived.remove(place);
                }
            }
            if group.members.is_empty() {
                groups.remove(&key);
            }
        }
        groups
            .into_iter()
            .map(|(key, group)| {
                let mut row = vec![group.members[0][0].clone()];
                row.extend(calls.iter().map(|call| match call.function {
                    F::FirstValue => arrived(&group.arrivals[call.args[0]]).next().unwrap_or(Value::Null),
                    F::LastValue => arrived(&group.arrivals[call.args[0]]).last().unwrap_or(Value::Null),
                    _ => reference_value(call, &group.members),
                }));
                (key, row)
            })
            .collect()
    }

    fn arrived(values: &[Value]) -> impl Iterator<Item = Value> {
        values.iter().filter(|v| !v.is_null()).cloned()
    }

    fn reference_value(call: &AggregateCall, members: &[Vec<Value>]) -> Value {
        let passes = |row: &&Vec<Value>| call.filter.is_none_or(|f| row[f] == Value::Boolean(true));
        let rows: Vec<&Vec<Value>> = members.iter().filter(passes).collect();
        if call.function == F::CountStar {
            return Value::Int(i64::try_from(rows.len()).unwrap());
        }
        let mut values: Vec<Value> = rows.iter().map(|r| r[call.args[0]].clone()).filter(|v| !v.is_null()).collect();
        if call.distinct {
            let mut seen = Vec::new();
            values.retain(|v| {
                let is_new = !seen.contains(v);
                seen.push(v.clone());
                is_new
            });
        }
        let number = |v: &Value| if let Value::Int(n) = v { *n } else { 0 };
        let text = |v: &Value| format!("{v:?}");
        match call.function {
            F::Count => Value::Int(i64::try_from(values.len()).unwrap()),
            _ if values.is_empty() => Value::Null,
            F::Sum => Value::Int(values.iter().map(number).sum()),
            F::Avg => Value::Int(values.iter().map(number).sum::<i64>() / i64::try_from(values.len()).unwrap()),
            F::Min => values.iter().min_by_key(|v| (number(v), text(v))).unwrap().clone(),
            F::Max => values.iter().max_by_key(|v| (number(v), text(v))).unwrap().clone(),
            other => panic!("{other:?} is answered elsewhere"),
        }
    }

    fn calls() -> Vec<AggregateCall> {
        vec![
            call(F::CountStar, &[], TypeKind::BigInt),
            call(F::Count, &[2], TypeKind::BigInt),
            call(F::Sum, &[1], TypeKind::BigInt),
            call(F::Avg, &[1], TypeKind::BigInt),
            call(F::Min, &[1], TypeKind::BigInt),
            call(F::Max, &[2], string()),
            call(F::FirstValue, &[2], string()),
            call(F::LastValue, &[1], TypeKind::BigInt),
            distinct(call(F::Count, &[2], TypeKind::BigInt)),
            AggregateCall { filter: Some(6), ..distinct(call(F::Sum, &[1], TypeKind::BigInt)) },
        ]
    }

    /// Rows whose retractions take back rows that stand.
    fn input_rows() -> impl Strategy<Value = Vec<Change>> {
        let value = prop_oneof![Just("NULL"), Just("1"), Just("2"), Just("-3"), Just("40")];
        let text = prop_oneof![Just("NULL"), Just("p"), Just("q"), Just("r")];
        let key = prop_oneof![Just("a"), Just("b"), Just("NULL")];
        let row = (key, value, text, any::<prop::sample::Index>(), 0..3);
        prop::collection::vec(row, 0..60).prop_map(|rows| {
            let mut standing: Vec<Vec<Value>> = Vec::new();
            let mut changes = Vec::new();
            for (key, value, text, which, action) in rows {
                if action == 0 && !standing.is_empty() {
                    // The earliest equal row, as FIRST_VALUE takes back the earliest occurrence.
                    let row = which.get(&standing).clone();
                    let place = standing.iter().position(|r| *r == row).unwrap();
                    changes.push((RowKind::Delete, standing.remove(place)));
                } else {
                    let (_, row) = wide(&format!("+I {key} {value} {text}"));
                    standing.push(row.clone());
                    changes.push((RowKind::Insert, row));
                }
            }
            changes
        })
    }

    /// Cuts rows into batches and steps, with restarts between steps.
    fn cut(rows: &[Change], cuts: &[(usize, u8)]) -> Vec<Event> {
        let (mut events, mut rest) = (Vec::new(), rows);
        let mut now_ms = 0;
        for (length, what) in cuts {
            let (head, tail) = rest.split_at((*length).min(rest.len()));
            rest = tail;
            if !head.is_empty() {
                events.push(Event::Rows(head.to_vec()));
            }
            if *what > 0 {
                now_ms += 1;
                events.push(Event::Advance(0, now_ms));
            }
            // Loops may flush before they take a checkpoint, or leave a mini-batch to it.
            if *what == 3 {
                events.push(Event::Flush);
            }
            if *what > 2 {
                events.push(Event::Restart(*what == 5));
            }
        }
        if !rest.is_empty() {
            events.push(Event::Rows(rest.to_vec()));
        }
        events.push(Event::Advance(WATERMARK_MAX, now_ms + 1));
        events
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_gives_the_reference_table(
            rows in input_rows(),
            cuts in prop::collection::vec((0_usize..9, 0_u8..6), 0..12),
            shape in 0..3,
        ) {
            let node = GroupAggregateNode {
                fold_per_step: shape == 1,
                mini_batch: (shape == 2).then_some(MiniBatch { latency_ms: 2, rows: 7 }),
                ..node(calls())
            };
            let events = cut(&rows, &cuts);
            let full = drive(&node, ChangelogMode::Full, &events);
            prop_assert_eq!(fold(&full, 1), reference(&rows, &node.aggregates));
            let upsert = drive(&node, ChangelogMode::Upsert, &events);
            let without_before: Vec<Change> = full.iter().filter(|c| c.0 != RowKind::UpdateBefore).cloned().collect();
            prop_assert_eq!(upsert, without_before);
            if shape == 0 {
                let whole = drive(&node, ChangelogMode::Full, &cut(&rows, &[]));
                prop_assert_eq!(full, whole, "with mini-batch off a cut never shows");
            }
        }

        #[test]
        fn insert_only_accumulators_agree_with_retracting_ones(
            rows in input_rows(),
            cuts in prop::collection::vec((0_usize..9, 0_u8..6), 0..12),
            shape in 0..3,
        ) {
            let rows: Vec<Change> = rows.into_iter().filter(|r| r.0 == RowKind::Insert).collect();
            let retracting = GroupAggregateNode {
                fold_per_step: shape == 1,
                mini_batch: (shape == 2).then_some(MiniBatch { latency_ms: 2, rows: 7 }),
                ..node(calls())
            };
            let plain = GroupAggregateNode { input_retracts: false, ..retracting.clone() };
            let events = cut(&rows, &cuts);
            for mode in [ChangelogMode::Full, ChangelogMode::Upsert] {
                prop_assert_eq!(drive(&plain, mode, &events), drive(&retracting, mode, &events));
            }
        }
    }

    #[test]
    fn output_batches_are_bounded() {
        let node = GroupAggregateNode { fold_per_step: true, ..node(vec![call(F::CountStar, &[], TypeKind::BigInt)]) };
        let rows: Vec<Change> = (0..40_000)
            .map(|i| {
                let mut row = row("k 1 x");
                row[0] = Value::String(format!("k{i}"));
                row.extend([Value::Null, Value::Null, Value::Null, Value::Null]);
                (RowKind::Insert, row)
            })
            .collect();
        let mut operator = GroupAggregate::new(&node, &input(), &output(&node), ChangelogMode::Full).unwrap();
        let mut emitted = Output::default();
        let context = crate::operators::testing::context(0);
        operator.process(0, crate::operators::testing::batch(&input(), &rows), &context, &mut emitted).unwrap();
        operator.advance(0, &context, &mut emitted).unwrap();
        assert_eq!(emitted.batches.iter().map(ChangeBatch::len).sum::<usize>(), 40_000);
        assert!(emitted.batches.iter().all(|batch| batch.len() <= ROWS_PER_BATCH));
        assert!(operator.state_bytes() > 40_000 * 6);
    }

    #[test]
    fn aggregates_that_cannot_be_answered_are_refused_by_name() {
        let refused = |call: AggregateCall| {
            GroupAggregate::new(&node(vec![call.clone()]), &input(), &output(&node(vec![call])), ChangelogMode::Full)
                .err()
                .map(|e| e.message().to_owned())
        };
        let first = distinct(call(F::FirstValue, &[1], TypeKind::BigInt));
        assert_eq!(refused(first).as_deref(), Some("FIRST_VALUE with DISTINCT is not supported"));
        let sum = call(F::Sum, &[2], string());
        assert_eq!(refused(sum).as_deref(), Some("SUM takes a number, not STRING"));
    }
}
