//! Top-N: the first rows of every partition, ROW_NUMBER() within bounds; and LIMIT, which is a Top-N without partitions.
//!
//! | strategy | keeps per partition | for |
//! |---|---|---|
//! | append | the rows up to the last rank | inserts |
//! | first | how many rows came | inserts ordered by arrival |
//! | update | the rows up to the last rank, and where each key's row stands | updates that only move rows forward |
//! | retract | every row | anything else |
//!
//! - **Input**: by the strategy. **Output**: the input's columns, then the rank when it is asked for. With the rank, or with a first rank
//!   above 1, a row that comes in or goes shifts the rows behind it: -U and +U for each rank, +I or -D at the end. Without it only the row that
//!   comes in and the row that falls out are told: -D and +I; and an update of a row that stays in by the update strategy is -U and +U.
//!   The very first row of `= 1` over inserts is replaced by -U and +U. -U are left out towards a reader that keeps rows by key.
//! - **State**: rows by partition, sort key and arrival. Rows that are equal in the sort key keep the order of their arrival.
//! - **Emits** per input row. **Drops state** of rows beyond the last rank (but for retract), with a partition's last row, and when a TTL is
//!   set and nothing was written for a partition for that long.
//! - **Late rows** are rows like others, as in Flink.
//! - **Cost per row**: key and sort key encoding, one hash probe and one probe of the ordered table for a row that does not come in; up to
//!   one change (with the rank, two per rank behind it) for a row that does.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use std::sync::Arc;
use wiesel_core::{ChangeBatch, ChangelogMode, DataType, Error, Result, RowKind, Schema, TypeKind};
use wiesel_expr::EvalContext;
use wiesel_plan::{RankEnd, RankNode, RankStrategy};

use super::keyed_rows::{self, KeyedRows, Restored, arrival_of};
use super::picked::Picked;
use super::sliced::Sliced;
use super::sort_key::SortKeys;
use crate::operator::{Operator, Output, StateWriter};
use crate::state::codec::{KeyBuffer, Reader, encode_keys, encode_row, put_bytes, put_varint};
use crate::state::group_table::GroupTable;
use crate::state::store::StateStore;

/// The first byte of a suffix: rows in order, and for the update strategy the place of every key's row.
const BY_ORDER: &[u8] = &[0];
const BY_KEY: &[u8] = &[1];

/// See the module's head.
pub struct Rank {
    node: RankNode,
    emits_before: bool,
    schema: Schema,
    types: Vec<DataType>,
    sort_keys: SortKeys,
    rows: KeyedRows,
    /// By slot: rows kept (or seen, for the first strategy), and the last rank.
    counts: Vec<u64>,
    ends: Vec<u64>,
    sequence: u64,
    ignored_retractions: u64,
    // Buffers that are used again for every batch.
    slots: Vec<u32>,
    row: Vec<u8>,
    suffix: Vec<u8>,
    row_keys: KeyBuffer,
    changes: Changes,
}

/// What is to be emitted.
#[derive(Default)]
struct Changes {
    picked: Picked,
    ranks: Vec<i64>,
    /// The ranks that are told of.
    start: u64,
    end: u64,
    emits_before: bool,
}

impl Changes {
    fn pick_of_kept(&mut self, row: &[u8]) -> usize {
        self.picked.keep(row)
    }

    fn push(&mut self, kind: RowKind, pick: usize, rank: u64) {
        let is_told = (self.start..=self.end).contains(&rank) && (self.emits_before || kind != RowKind::UpdateBefore);
        if is_told {
            self.picked.push(kind, pick);
            self.ranks.push(i64::try_from(rank).unwrap_or(i64::MAX));
        }
    }
}

impl Rank {
    /// Builds the operator of a node that gives `schema` in `mode`.
    pub fn new(node: &RankNode, input: &Schema, schema: &Schema, mode: ChangelogMode) -> Result<Self> {
        if node.order.iter().any(|key| key.column >= input.len()) {
            return Err(Error::internal("a Top-N orders by a column that its input does not have"));
        }
        if let RankEnd::Column(column) = node.end {
            let kind = input.fields().get(column).map(|f| &f.data_type.kind);
            if !matches!(kind, Some(TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt)) {
                return Err(Error::internal("the last rank of a Top-N is no integer column"));
            }
        }
        Ok(Rank {
            emits_before: mode == ChangelogMode::Full,
            schema: schema.clone(),
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            sort_keys: SortKeys::new(node.order.clone()),
            rows: KeyedRows::new(&node.partition, input, node.state_ttl_ms, 0)?,
            node: node.clone(),
            counts: Vec::new(),
            ends: Vec::new(),
            sequence: 0,
            ignored_retractions: 0,
            slots: Vec::new(),
            row: Vec::new(),
            suffix: Vec::new(),
            row_keys: KeyBuffer::default(),
            changes: Changes::default(),
        })
    }

    fn grow(&mut self) {
        let slots = self.rows.keys.slot_count();
        self.counts.resize(slots, 0);
        self.ends.resize(slots, 0);
    }

    /// Whether shifted rows are told of: their rank is an output column, or the first ranks are skipped.
    fn tells_shifts(&self) -> bool {
        self.node.outputs_number || self.node.start > 1
    }

    fn begin(&mut self, batch: &RecordBatch) {
        self.changes.picked.begin(batch.num_rows());
        self.changes.ranks.clear();
        self.changes.start = self.node.start;
        self.changes.emits_before = self.emits_before;
    }

    /// The last rank of the row's partition; that of its first row holds.
    fn set_end(&mut self, batch: &RecordBatch, row: usize, slot: usize) {
        self.changes.end = match self.node.end {
            RankEnd::Constant(end) => end,
            RankEnd::Column(column) => {
                if self.counts[slot] == 0 {
                    self.ends[slot] = integer(batch.column(column), row);
                }
                self.ends[slot]
            }
        };
    }

    // The order suffix of a row of the batch, with a new arrival number.
    fn new_suffix(&mut self, row: usize) {
        self.suffix.clear();
        self.suffix.extend_from_slice(BY_ORDER);
        self.sort_keys.append(row, &mut self.suffix);
        self.suffix.extend(self.sequence.to_be_bytes());
        self.sequence += 1;
    }

    /// Encodes a row of the batch as it is kept.
    fn encode(&mut self, batch: &RecordBatch, row: usize) -> Result<()> {
        self.row.clear();
        if matches!(self.node.strategy, RankStrategy::Update(_)) && !self.node.is_top_1() {
            put_bytes(self.row_keys.key(row), &mut self.row);
        }
        encode_row(batch.columns(), row, &mut self.row)
    }

    /// Splits what is kept into the key of the row (for the update strategy) and the row.
    fn split<'a>(strategy: &RankStrategy, is_top_1: bool, kept: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
        if !matches!(strategy, RankStrategy::Update(_)) || is_top_1 {
            return Ok((&[], kept));
        }
        let mut reader = Reader::new(kept);
        let key = reader.bytes()?;
        Ok((key, reader.rest()))
    }

    /// The arrival counts and nothing else.
    fn count_in(&mut self, row: usize, slot: u32, now_ms: i64) {
        let slot_index = slot as usize;
        if self.counts[slot_index] >= self.changes.end {
            return;
        }
        self.counts[slot_index] += 1;
        let rank = self.counts[slot_index];
        self.changes.push(RowKind::Insert, row, rank);
        self.rows.keys.mark(slot, now_ms);
    }

    /// One row only: a better one replaces it.
    fn replace_first(&mut self, batch: &RecordBatch, row: usize, slot: u32, now_ms: i64) -> Result<()> {
        self.new_suffix(row);
        let last = self.rows.last(slot, BY_ORDER).map(|(suffix, kept)| (suffix.to_vec(), kept));
        match last {
            None => self.changes.push(RowKind::Insert, row, 1),
            Some((suffix, _)) if suffix < self.suffix => return Ok(()),
            Some((suffix, kept)) => {
                let before = self.changes.pick_of_kept(kept);
                self.changes.push(RowKind::UpdateBefore, before, 1);
                self.changes.push(RowKind::UpdateAfter, row, 1);
                self.rows.remove(slot, &[&suffix]);
            }
        }
        self.encode(batch, row)?;
        self.rows.put(slot, &[&self.suffix], &self.row);
        self.counts[slot as usize] = 1;
        self.rows.keys.mark(slot, now_ms);
        Ok(())
    }

    /// A row comes in.
    fn add(&mut self, batch: &RecordBatch, row: usize, slot: u32, now_ms: i64) -> Result<()> {
        let (count, end) = (self.counts[slot as usize], self.changes.end);
        let keeps_all = self.node.strategy == RankStrategy::Retract;
        self.new_suffix(row);
        if !keeps_all && count >= end {
            let is_beyond = self.rows.last(slot, BY_ORDER).is_none_or(|(last, _)| last < &self.suffix[..]);
            if is_beyond {
                return Ok(());
            }
        }
        if self.tells_shifts() {
            self.tell_shift_in(row, slot)?;
        } else {
            self.tell_in(row, slot, keeps_all)?;
        }
        self.encode(batch, row)?;
        self.rows.put(slot, &[&self.suffix], &self.row);
        if !self.row_keys.is_empty() {
            self.rows.put(slot, &[BY_KEY, self.row_keys.key(row)], &self.suffix);
        }
        self.counts[slot as usize] = count + 1;
        if !keeps_all && count >= end {
            self.cut_last(slot)?;
        }
        self.rows.keys.mark(slot, now_ms);
        Ok(())
    }

    fn cut_last(&mut self, slot: u32) -> Result<()> {
        let Some((suffix, kept)) = self.rows.last(slot, BY_ORDER) else { return Ok(()) };
        let suffix = suffix.to_vec();
        let (key, _) = Self::split(&self.node.strategy, self.node.is_top_1(), kept)?;
        if !self.row_keys.is_empty() {
            let key = key.to_vec();
            self.rows.remove(slot, &[BY_KEY, &key]);
        }
        self.rows.remove(slot, &[&suffix]);
        self.counts[slot as usize] -= 1;
        Ok(())
    }

    /// Tells every rank from the new row's on.
    fn tell_shift_in(&mut self, row: usize, slot: u32) -> Result<()> {
        let end = self.changes.end;
        let (mut rank, mut current) = (1, row);
        for (suffix, kept) in self.rows.range(slot, BY_ORDER) {
            if rank > end {
                return Ok(());
            }
            if suffix > &self.suffix[..] {
                let (_, kept) = Self::split(&self.node.strategy, self.node.is_top_1(), kept)?;
                let shifted = self.changes.pick_of_kept(kept);
                self.changes.push(RowKind::UpdateBefore, shifted, rank);
                self.changes.push(RowKind::UpdateAfter, current, rank);
                current = shifted;
            }
            rank += 1;
        }
        if rank <= end {
            self.changes.push(RowKind::Insert, current, rank);
        }
        Ok(())
    }

    /// Tells the new row, and before it the one that falls out.
    fn tell_in(&mut self, row: usize, slot: u32, keeps_all: bool) -> Result<()> {
        let (count, end) = (self.counts[slot as usize], self.changes.end);
        if count >= end {
            let falls_out = if keeps_all {
                usize::try_from(end)
                    .ok()
                    .and_then(|end| end.checked_sub(1))
                    .and_then(|n| self.rows.range(slot, BY_ORDER).nth(n))
            } else {
                self.rows.last(slot, BY_ORDER)
            };
            let Some((suffix, kept)) = falls_out else { return Ok(()) };
            if suffix < &self.suffix[..] {
                return Ok(());
            }
            let (_, kept) = Self::split(&self.node.strategy, self.node.is_top_1(), kept)?;
            let before = self.changes.pick_of_kept(kept);
            self.changes.push(RowKind::Delete, before, end);
        }
        // Any rank within the bounds: it is not told.
        self.changes.push(RowKind::Insert, row, self.node.start);
        Ok(())
    }

    /// A row is taken back.
    fn retract(&mut self, batch: &RecordBatch, row: usize, slot: u32, now_ms: i64) -> Result<()> {
        self.encode(batch, row)?;
        let mut prefix = BY_ORDER.to_vec();
        self.sort_keys.append(row, &mut prefix);
        let found =
            self.rows.range(slot, &prefix).find(|(_, kept)| *kept == self.row).map(|(suffix, _)| suffix.to_vec());
        let Some(suffix) = found else {
            self.ignored_retractions += 1;
            return Ok(());
        };
        if self.tells_shifts() {
            self.tell_shift_out(row, slot, &suffix);
        } else {
            self.tell_out(row, slot, &suffix);
        }
        self.rows.remove(slot, &[&suffix]);
        self.counts[slot as usize] -= 1;
        self.rows.keys.mark(slot, now_ms);
        Ok(())
    }

    fn tell_shift_out(&mut self, row: usize, slot: u32, removed: &[u8]) {
        let end = self.changes.end;
        let (mut rank, mut previous) = (1, None);
        for (suffix, kept) in self.rows.range(slot, BY_ORDER) {
            if rank > end {
                return;
            }
            match previous {
                None if suffix == removed => previous = Some(row),
                None => rank += 1,
                Some(before) => {
                    let after = self.changes.pick_of_kept(kept);
                    self.changes.push(RowKind::UpdateBefore, before, rank);
                    self.changes.push(RowKind::UpdateAfter, after, rank);
                    previous = Some(after);
                    rank += 1;
                }
            }
        }
        if let Some(before) = previous.filter(|_| rank <= end) {
            self.changes.push(RowKind::Delete, before, rank);
        }
    }

    fn tell_out(&mut self, row: usize, slot: u32, removed: &[u8]) {
        let end = usize::try_from(self.changes.end).unwrap_or(usize::MAX);
        let mut is_in = false;
        for (index, (suffix, kept)) in self.rows.range(slot, BY_ORDER).enumerate() {
            if index == end {
                if is_in {
                    let after = self.changes.pick_of_kept(kept);
                    self.changes.push(RowKind::Insert, after, self.node.start);
                }
                return;
            }
            if suffix == removed {
                is_in = true;
                self.changes.push(RowKind::Delete, row, self.node.start);
            }
        }
    }

    /// A row of a key that is known replaces it, at the same place or further in front.
    fn update(&mut self, batch: &RecordBatch, row: usize, slot: u32, now_ms: i64) -> Result<()> {
        let by_key = [BY_KEY, self.row_keys.key(row)].concat();
        let Some(old_suffix) = self.rows.get(slot, &by_key).map(<[u8]>::to_vec) else {
            return self.add(batch, row, slot, now_ms);
        };
        let old_row = self.rows.get(slot, &old_suffix).map(<[u8]>::to_vec).unwrap_or_default();
        let old_sort_key = old_suffix.get(1..old_suffix.len() - 8).unwrap_or_default();
        self.new_suffix(row);
        if self.suffix.get(1..self.suffix.len() - 8).unwrap_or_default() == old_sort_key {
            self.suffix.clone_from(&old_suffix);
        }
        let (_, kept) = Self::split(&self.node.strategy, self.node.is_top_1(), &old_row)?;
        let before = self.changes.pick_of_kept(kept);
        if self.tells_shifts() {
            self.tell_move(row, slot, before, &old_suffix)?;
        } else {
            self.changes.push(RowKind::UpdateBefore, before, self.node.start);
            self.changes.push(RowKind::UpdateAfter, row, self.node.start);
        }
        self.rows.remove(slot, &[&old_suffix]);
        self.encode(batch, row)?;
        self.rows.put(slot, &[&self.suffix], &self.row);
        self.rows.put(slot, &[&by_key], &self.suffix);
        self.rows.keys.mark(slot, now_ms);
        Ok(())
    }

    /// Tells the ranks between the old place of a row and its new one. The old row goes before the new one comes.
    fn tell_move(&mut self, row: usize, slot: u32, before: usize, old_suffix: &[u8]) -> Result<()> {
        let (strategy, is_top_1) = (&self.node.strategy, self.node.is_top_1());
        let (mut rank, mut old_rank) = (0, 0);
        // Rows between the two places, with the rank they have now.
        let mut between: Vec<(u64, usize)> = Vec::new();
        let moves_back = old_suffix < &self.suffix[..];
        let (low, high) = if moves_back { (old_suffix, &self.suffix[..]) } else { (&self.suffix[..], old_suffix) };
        for (suffix, kept) in self.rows.range(slot, BY_ORDER) {
            rank += 1;
            if suffix == old_suffix {
                old_rank = rank;
            } else if suffix > low && suffix < high {
                let (_, kept) = Self::split(strategy, is_top_1, kept)?;
                between.push((rank, self.changes.pick_of_kept(kept)));
            }
            if suffix >= high {
                break;
            }
        }
        if moves_back {
            // Only when state upstream was lost: the rows in between move up.
            self.changes.push(RowKind::UpdateBefore, before, old_rank);
            for (rank, pick) in &between {
                self.changes.push(RowKind::UpdateBefore, *pick, *rank);
                self.changes.push(RowKind::UpdateAfter, *pick, rank - 1);
            }
            let new_rank = between.last().map_or(old_rank, |(rank, _)| *rank);
            self.changes.push(RowKind::UpdateAfter, row, new_rank);
            return Ok(());
        }
        let mut current = row;
        for (rank, pick) in &between {
            self.changes.push(RowKind::UpdateBefore, *pick, *rank);
            if current == row {
                self.changes.push(RowKind::UpdateBefore, before, old_rank);
            }
            self.changes.push(RowKind::UpdateAfter, current, *rank);
            current = *pick;
        }
        if current == row {
            self.changes.push(RowKind::UpdateBefore, before, old_rank);
        }
        self.changes.push(RowKind::UpdateAfter, current, old_rank);
        Ok(())
    }

    fn emit(&self, batch: &RecordBatch, output: &mut Output) -> Result<()> {
        let Changes { picked, ranks, .. } = &self.changes;
        picked.emit_with(batch, &self.types, &self.schema, output, |range| {
            self.node.outputs_number.then(|| Arc::new(Int64Array::from(ranks[range].to_vec())) as ArrayRef)
        })
    }
}

fn integer(array: &ArrayRef, row: usize) -> u64 {
    use arrow_array::types as at;
    if array.is_null(row) {
        return 0;
    }
    let number = match array.data_type() {
        arrow_schema::DataType::Int16 => i64::from(array.as_primitive::<at::Int16Type>().value(row)),
        arrow_schema::DataType::Int32 => i64::from(array.as_primitive::<at::Int32Type>().value(row)),
        _ => array.as_primitive::<at::Int64Type>().value(row),
    };
    u64::try_from(number).unwrap_or(0)
}

impl Sliced for Rank {
    fn table(&mut self) -> &mut GroupTable {
        &mut self.rows.keys
    }

    fn write_slot(&mut self, slot: u32, writer: &mut dyn StateWriter) {
        let (count, end) = (self.counts[slot as usize], self.ends[slot as usize]);
        self.rows.write_slot(slot, writer, |out| {
            put_varint(count, out);
            put_varint(end, out);
        });
    }

    fn write_gone(&mut self, writer: &mut dyn StateWriter) -> Result<bool> {
        self.rows.write_gone(writer)
    }
}

impl Operator for Rank {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let now_ms = context.now_ms;
        let mut slots = std::mem::take(&mut self.slots);
        self.rows.slots(&batch.rows, &mut slots)?;
        keyed_rows::load(self, |operator| &mut operator.rows)?;
        self.grow();
        self.copy_aside(&slots);
        self.begin(&batch.rows);
        let is_top_1 = self.node.is_top_1();
        if self.node.strategy != RankStrategy::First {
            self.sort_keys.load(&batch.rows)?;
        }
        self.row_keys.clear();
        if let RankStrategy::Update(key) = &self.node.strategy
            && !is_top_1
        {
            let columns: Vec<ArrayRef> = key.iter().map(|column| batch.rows.column(*column).clone()).collect();
            encode_keys(&columns, batch.len(), &mut self.row_keys)?;
        }
        for (row, &slot) in slots.iter().enumerate() {
            if self.counts[slot as usize] > 0 && self.rows.keys.is_expired(slot, now_ms) {
                self.rows.clear(slot);
                self.counts[slot as usize] = 0;
            }
            self.set_end(&batch.rows, row, slot as usize);
            let is_add = batch.kind(row).is_add();
            match &self.node.strategy {
                RankStrategy::Retract if is_add => self.add(&batch.rows, row, slot, now_ms)?,
                RankStrategy::Retract => self.retract(&batch.rows, row, slot, now_ms)?,
                // The new row follows with the same key, and tells all there is to tell.
                RankStrategy::Update(_) if !is_add => {}
                _ if !is_add => return Err(Error::internal("a Top-N over inserts gets other changes")),
                RankStrategy::First => self.count_in(row, slot, now_ms),
                _ if is_top_1 => self.replace_first(&batch.rows, row, slot, now_ms)?,
                RankStrategy::Update(_) => self.update(&batch.rows, row, slot, now_ms)?,
                RankStrategy::Append => self.add(&batch.rows, row, slot, now_ms)?,
            }
        }
        // Partitions that ended, or never began.
        slots.retain(|slot| self.counts[*slot as usize] == 0);
        slots.sort_unstable();
        slots.dedup();
        slots.drain(..).for_each(|slot| self.rows.release(slot));
        self.slots = slots;
        self.emit(&batch.rows, output)
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, _: &mut Output) -> Result<i64> {
        let expired = self.rows.expired(context.now_ms);
        self.copy_aside(&expired);
        for slot in expired {
            self.rows.release(slot);
            self.counts[slot as usize] = 0;
        }
        Ok(watermark)
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        let (counts, ends) = (&self.counts, &self.ends);
        self.rows.snapshot(full, writer, |slot, out| {
            put_varint(counts[slot as usize], out);
            put_varint(ends[slot as usize], out);
        })
    }

    fn freeze(&mut self, full: bool, _: &mut dyn StateWriter) -> Result<bool> {
        self.rows.freeze(full);
        Ok(false)
    }

    fn snapshot_part(&mut self, entries: usize, writer: &mut dyn StateWriter) -> Result<bool> {
        self.write_part(entries, writer)
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        match self.rows.restore(table, key, value)? {
            Restored::Key(slot, mut reader) => {
                self.grow();
                self.counts[slot as usize] = reader.varint()?;
                self.ends[slot as usize] = reader.varint()?;
            }
            Restored::Row(suffix) => {
                self.grow();
                if suffix.starts_with(BY_ORDER) {
                    self.sequence = self.sequence.max(arrival_of(suffix)? + 1);
                }
            }
        }
        Ok(())
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn spills(&self) -> bool {
        true
    }

    fn evict(&mut self, store: &StateStore) -> Result<()> {
        self.rows.begin_anew(store);
        (self.counts, self.ends) = (Vec::new(), Vec::new());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes()
            + self.sort_keys.bytes()
            + (self.counts.capacity() + self.ends.capacity()) * size_of::<u64>()
            + self.changes.picked.bytes()
    }

    fn ignored_retractions(&self) -> u64 {
        self.ignored_retractions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{Change, Event, change, run, schema, show, string};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use wiesel_core::{Field, Value};
    use wiesel_plan::SortColumn;

    // Columns: key, order, something.
    fn input() -> Schema {
        schema(&[string(), TypeKind::Int, TypeKind::BigInt])
    }

    fn node(strategy: RankStrategy, start: u64, end: u64, outputs_number: bool) -> RankNode {
        RankNode {
            partition: vec![0],
            order: vec![SortColumn { column: 1, descending: false, nulls_first: true }],
            start,
            end: RankEnd::Constant(end),
            outputs_number,
            strategy,
            is_limit: false,
            state_ttl_ms: 0,
        }
    }

    fn drive(node: &RankNode, mode: ChangelogMode, events: &[Event]) -> Vec<Change> {
        let mut fields = input().fields().to_vec();
        if node.outputs_number {
            fields.push(Field::new("rn", DataType::not_null(TypeKind::BigInt)));
        }
        let output = Schema::new(fields);
        let new = || -> Box<dyn Operator> { Box::new(Rank::new(node, &input(), &output, mode).unwrap()) };
        run(&new, &input(), &output, 0, events)
    }

    fn check(node: &RankNode, rows: &[&str], expected: &[&str]) {
        let rows: Vec<Change> = rows.iter().map(|row| change(row)).collect();
        for mode in [ChangelogMode::Full, ChangelogMode::Upsert] {
            let expected: Vec<&str> = expected
                .iter()
                .copied()
                .filter(|change| mode == ChangelogMode::Full || !change.starts_with("-U"))
                .collect();
            assert_eq!(show(&drive(node, mode, &[Event::Rows(rows.clone())])), expected, "{node:?}");
            let events: Vec<Event> =
                rows.iter().flat_map(|row| [Event::Rows(vec![row.clone()]), Event::Restart(false)]).collect();
            assert_eq!(show(&drive(node, mode, &events)), expected, "{node:?} with restarts");
        }
    }

    const INSERTS: &[&str] =
        &["+I a 5 1", "+I a 3 2", "+I a 7 3", "+I a 5 4", "+I b NULL 5", "+I a NULL 6", "+I b 9 7"];

    #[test]
    fn inserts_without_a_rank_tell_who_comes_and_who_falls_out() {
        let expected = ["+I a 5 1", "+I a 3 2", "+I b NULL 5", "-D a 5 1", "+I a NULL 6", "+I b 9 7"];
        check(&node(RankStrategy::Append, 1, 2, false), INSERTS, &expected);
        check(&node(RankStrategy::Retract, 1, 2, false), INSERTS, &expected);
    }

    #[test]
    fn inserts_with_a_rank_tell_every_row_that_moves() {
        let expected = [
            "+I a 5 1 1",
            "-U a 5 1 1",
            "+U a 3 2 1",
            "+I a 5 1 2",
            "+I b NULL 5 1",
            "-U a 3 2 1",
            "+U a NULL 6 1",
            "-U a 5 1 2",
            "+U a 3 2 2",
            "+I b 9 7 2",
        ];
        check(&node(RankStrategy::Append, 1, 2, true), INSERTS, &expected);
        check(&node(RankStrategy::Retract, 1, 2, true), INSERTS, &expected);
    }

    #[test]
    fn a_first_rank_above_one_tells_shifts_without_the_rank() {
        let expected = [
            "+I a 5 1", "+I a 7 3", "-U a 7 3", "+U a 5 4", "-U a 5 1", "+U a 3 2", "-U a 5 4", "+U a 5 1", "+I b 9 7",
        ];
        check(&node(RankStrategy::Append, 2, 3, false), INSERTS, &expected);
        check(&node(RankStrategy::Retract, 2, 3, false), INSERTS, &expected);
    }

    #[test]
    fn the_first_row_alone_is_replaced() {
        let expected = ["+I a 5 1", "-U a 5 1", "+U a 3 2", "+I b NULL 5", "-U a 3 2", "+U a NULL 6"];
        check(&node(RankStrategy::Append, 1, 1, false), INSERTS, &expected);
    }

    #[test]
    fn the_first_rows_by_arrival_are_only_inserted() {
        check(
            &node(RankStrategy::First, 1, 2, true),
            INSERTS,
            &["+I a 5 1 1", "+I a 3 2 2", "+I b NULL 5 1", "+I b 9 7 2"],
        );
        check(
            &RankNode { order: vec![], ..node(RankStrategy::Append, 2, 3, false) },
            INSERTS,
            &["+I a 3 2", "+I a 7 3", "+I b 9 7"],
        );
    }

    #[test]
    fn a_row_that_is_taken_back_makes_room() {
        let rows = [
            "+I a 1 1", "+I a 2 2", "+I a 3 3", "-D a 1 1", "-U a 3 3", "+U a 0 3", "-D a 9 9", "-D a 2 2", "-D a 0 3",
        ];
        check(
            &node(RankStrategy::Retract, 1, 2, false),
            &rows,
            &["+I a 1 1", "+I a 2 2", "-D a 1 1", "+I a 3 3", "-D a 3 3", "+I a 0 3", "-D a 2 2", "-D a 0 3"],
        );
        check(
            &node(RankStrategy::Retract, 1, 2, true),
            &rows,
            &[
                "+I a 1 1 1",
                "+I a 2 2 2",
                "-U a 1 1 1",
                "+U a 2 2 1",
                "-U a 2 2 2",
                "+U a 3 3 2",
                "-D a 3 3 2",
                "-U a 2 2 1",
                "+U a 0 3 1",
                "+I a 2 2 2",
                "-D a 2 2 2",
                "-D a 0 3 1",
            ],
        );
    }

    #[test]
    fn updates_that_move_forward_tell_the_ranks_in_between() {
        // The key of a row is its last column.
        let rows = ["+I a 9 1", "+I a 8 2", "+I a 7 3", "+U a 6 1", "+U a 5 1", "+U a 5 1", "+U a 4 3", "+U a 3 1"];
        let strategy = RankStrategy::Update(vec![0, 2]);
        check(
            &node(strategy.clone(), 1, 3, true),
            &rows,
            &[
                "+I a 9 1 1",
                "-U a 9 1 1",
                "+U a 8 2 1",
                "+I a 9 1 2",
                "-U a 8 2 1",
                "+U a 7 3 1",
                "-U a 9 1 2",
                "+U a 8 2 2",
                "+I a 9 1 3",
                "-U a 7 3 1",
                "-U a 9 1 3",
                "+U a 6 1 1",
                "-U a 8 2 2",
                "+U a 7 3 2",
                "+U a 8 2 3",
                "-U a 6 1 1",
                "+U a 5 1 1",
                "-U a 5 1 1",
                "+U a 5 1 1",
                "-U a 5 1 1",
                "-U a 7 3 2",
                "+U a 4 3 1",
                "+U a 5 1 2",
                "-U a 4 3 1",
                "-U a 5 1 2",
                "+U a 3 1 1",
                "+U a 4 3 2",
            ],
        );
        check(
            &node(strategy, 1, 2, false),
            &rows,
            &[
                "+I a 9 1", "+I a 8 2", "-D a 9 1", "+I a 7 3", "-D a 8 2", "+I a 6 1", "-U a 6 1", "+U a 5 1",
                "-U a 5 1", "+U a 5 1", "-U a 7 3", "+U a 4 3", "-U a 5 1", "+U a 3 1",
            ],
        );
    }

    #[test]
    fn the_first_row_of_a_partition_says_its_last_rank() {
        let node = RankNode { end: RankEnd::Column(2), ..node(RankStrategy::Append, 1, 0, true) };
        check(
            &node,
            &["+I a 5 2", "+I a 6 9", "+I a 7 9", "+I b 1 0", "+I b 2 NULL", "+I c 1 1", "+I c 0 5"],
            &["+I a 5 2 1", "+I a 6 9 2", "+I c 1 1 1", "-U c 1 1 1", "+U c 0 5 1"],
        );
    }

    #[test]
    fn a_partition_that_was_silent_for_its_time_to_live_begins_anew() {
        let node = RankNode { state_ttl_ms: 10, ..node(RankStrategy::Append, 1, 1, false) };
        let row = |text: &str| Event::Rows(vec![change(text)]);
        let at = |now_ms| Event::Advance(0, now_ms);
        let events = [
            row("+I a 5 1"),
            at(9),
            row("+I a 4 2"),
            at(18),
            Event::Restart(false),
            row("+I a 9 3"),
            at(20),
            row("+I a 7 4"),
        ];
        assert_eq!(show(&drive(&node, ChangelogMode::Upsert, &events)), ["+I a 5 1", "+U a 4 2", "+I a 7 4"]);
    }

    /// What stands after a changelog; -U and -D must name a row that stands.
    fn standing(changes: &[Change]) -> BTreeMap<String, i64> {
        let mut rows = BTreeMap::new();
        for (kind, row) in changes {
            let count: &mut i64 = rows.entry(format!("{row:?}")).or_default();
            *count += if kind.is_add() { 1 } else { -1 };
        }
        rows.retain(|_, count| *count != 0);
        rows
    }

    fn reference(rows: &[Change], node: &RankNode) -> BTreeMap<String, i64> {
        let mut partitions: BTreeMap<String, Vec<Vec<Value>>> = BTreeMap::new();
        for (kind, row) in rows {
            let kept = partitions.entry(format!("{:?}", row[0])).or_default();
            if kind.is_add() {
                kept.push(row.clone());
            } else if let Some(place) = kept.iter().position(|other| other == row) {
                kept.remove(place);
            }
        }
        let order = |row: &Vec<Value>| if let Value::Int(i) = row[1] { Some(i) } else { None };
        let mut expected = BTreeMap::new();
        for kept in partitions.values_mut() {
            kept.sort_by_key(order);
            let RankEnd::Constant(end) = node.end else { return expected };
            for (rank, row) in (1_u64..).zip(kept.iter()).filter(|(rank, _)| (node.start..=end).contains(rank)) {
                let mut row = row.clone();
                if node.outputs_number {
                    row.push(Value::Int(i64::try_from(rank).unwrap()));
                }
                *expected.entry(format!("{row:?}")).or_default() += 1;
            }
        }
        expected
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_keeps_the_same_ranks(
            rows in prop::collection::vec((0..3, prop::option::of(0_i64..6), 0_i64..4, any::<prop::sample::Index>(), 0..3), 0..40),
            cuts in prop::collection::vec((0_usize..9, 0_u8..3), 0..12),
            start in 1_u64..3,
            length in 0_u64..4,
            outputs_number: bool,
            retracts: bool,
        ) {
            let mut standing_rows: Vec<Vec<Value>> = Vec::new();
            let mut changes: Vec<Change> = Vec::new();
            for (key, order, value, which, action) in rows {
                if retracts && action == 0 && !standing_rows.is_empty() {
                    let row = standing_rows.remove(which.index(standing_rows.len()));
                    changes.push((RowKind::Delete, row));
                } else {
                    let order = order.map_or("NULL".to_owned(), |o| o.to_string());
                    let row = change(&format!("+I k{key} {order} {value}"));
                    standing_rows.push(row.1.clone());
                    changes.push(row);
                }
            }
            let strategy = if retracts { RankStrategy::Retract } else { RankStrategy::Append };
            let node = node(strategy, start, start + length, outputs_number);
            let (mut events, mut rest) = (Vec::new(), &changes[..]);
            for (size, what) in cuts {
                let (head, tail) = rest.split_at(size.min(rest.len()));
                events.push(Event::Rows(head.to_vec()));
                rest = tail;
                if what > 0 {
                    events.push(Event::Restart(what == 2));
                }
            }
            events.push(Event::Rows(rest.to_vec()));
            let full = drive(&node, ChangelogMode::Full, &events);
            prop_assert_eq!(standing(&full), reference(&changes, &node));
            prop_assert_eq!(&full, &drive(&node, ChangelogMode::Full, &[Event::Rows(changes.clone())]));
            let upsert = drive(&node, ChangelogMode::Upsert, &events);
            let without: Vec<Change> = full.into_iter().filter(|c| c.0 != RowKind::UpdateBefore).collect();
            prop_assert_eq!(upsert, without);
        }
    }
}
