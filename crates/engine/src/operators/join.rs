//! Regular joins, semi and anti joins: both sides are kept, and every change of either side gives the changes of the result.
//!
//! | a row comes to one side | inner | a side without partners is padded | semi | anti |
//! |---|---|---|---|---|
//! | +I +U, no partner | - | +I padded, if its own side is padded | - | left: the row |
//! | +I +U, partners | the pairs, with its kind | -D of each padded partner that had none, then +I of the pairs | left: the row; right: each left row that had none | right: -D of them |
//! | -U -D, no partner | - | -D padded | - | left: the row |
//! | -U -D, partners | the pairs, with its kind | -D of the pairs (its kind, if only the other side is padded), then +I of each padded partner that has none left | left: the row; right: each left row that has none left | right: +I of them |
//!
//! - **Input**: any changelog on both sides; -U may be missing where a unique key of the side holds the join key. **Output**: left columns,
//!   then right columns; of a semi or anti join the left ones.
//! - **State**: the rows of both sides ([`JoinSide`]), in the store where memory has no room (the rows of a join key are loaded
//!   together); where rows are padded, semi or anti, how many partners each has.
//! - **Emits** per input row, at once. **Drops state** by TTL, for each side its own. A row whose key has a NULL meets nobody and is not kept.
//! - **Late rows** are rows like others. **Watermark**: the minimum of both, as it comes.
//! - **Cost per row**: one encoding of key and row, one probe of each side, and per pair one copy of its columns. Rows of the other side
//!   are decoded once per batch however many pairs they make.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{Field, Schema as ArrowSchema};
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, Error, Result, RowKind, Schema};
use wiesel_expr::{EvalContext, Evaluator, ScalarExpr};
use wiesel_plan::{JoinKind, JoinNode, JoinSide as SideSpec};

use super::ROWS_PER_BATCH;
use super::join_side::JoinSide;
use super::sliced::Sliced;
use crate::operator::{Operator, Output, StateWriter};
use crate::state::store::StateStore;

/// Pairs put together at a time, unless one row alone makes more.
const PAIRS_PER_CHUNK: usize = 4 * ROWS_PER_BATCH;

/// No row: a NULL in the column of picks.
pub(crate) const PADDED: u32 = u32::MAX;

/// See the module's head.
pub struct Join {
    kind: JoinKind,
    sides: [JoinSide; 2],
    condition: Option<PairCondition>,
    schema: Schema,
    ignored_retractions: u64,
    // Buffers that are used again for every batch.
    pairs: Pairs,
    changes: Changes,
    to_load: Vec<(u64, Vec<u8>)>,
}

impl Join {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &JoinNode, sides: &[SideSpec; 2], inputs: &[&Schema], schema: &Schema) -> Result<Self> {
        let [left, right] = inputs else { return Err(Error::internal("a join has two inputs")) };
        if left.len() != node.left_width {
            return Err(Error::internal("a join's left input has another number of columns than its node says"));
        }
        Ok(Join {
            kind: node.kind,
            sides: [JoinSide::new(&sides[0], &node.keys, 0, left)?, JoinSide::new(&sides[1], &node.keys, 1, right)?],
            condition: node.condition.as_ref().map(|c| PairCondition::new(c, node.left_width)),
            schema: schema.clone(),
            ignored_retractions: 0,
            pairs: Pairs::default(),
            changes: Changes::default(),
            to_load: Vec::new(),
        })
    }

    /// Whether left rows (port 0) or right rows without partners are told: padded, or for semi and anti joins counted at least.
    fn is_outer(&self, port: usize) -> bool {
        if port == 0 { self.kind.pads_right() } else { self.kind.pads_left() }
    }

    /// The rows `range` of a prepared batch against the other side.
    fn join(&mut self, port: usize, batch: &ChangeBatch, first: usize, context: &EvalContext) -> Result<()> {
        let [left, right] = &self.sides;
        let (own, other) = if port == 0 { (left, right) } else { (right, left) };
        self.pairs.gather(own, other, first, batch.len(), context.now_ms);
        let shows_other = !self.kind.is_semi_or_anti() || port == 1;
        if shows_other || self.condition.is_some() {
            self.pairs.decode(other)?;
        }
        if let Some(condition) = &mut self.condition {
            self.pairs.keep(condition, port, batch, context)?;
        }
        Ok(())
    }

    /// Decides on one row whose partners are known.
    fn decide(&mut self, port: usize, batch: &ChangeBatch, row: usize, range: std::ops::Range<usize>, now_ms: i64) {
        let kind = batch.kind(row);
        match self.kind {
            JoinKind::Semi | JoinKind::Anti => self.decide_semi(port, row, kind, range, now_ms),
            _ => self.decide_pairs(port, row, kind, range, now_ms),
        }
    }

    fn decide_pairs(&mut self, port: usize, row: usize, kind: RowKind, range: std::ops::Range<usize>, now_ms: i64) {
        let (own_outer, other_outer) = (self.is_outer(port), self.is_outer(1 - port));
        let is_kept = self.sides[port].key_of(row).is_some();
        let partners = u32::try_from(range.len()).unwrap_or(u32::MAX);
        let own_row = u32::try_from(row).unwrap_or(PADDED);
        if kind.is_add() {
            let replaced = is_kept && self.sides[port].add(row, partners, now_ms);
            if range.is_empty() && own_outer {
                self.changes.push(RowKind::Insert, own_row, PADDED);
            }
            if other_outer && !replaced {
                for pair in range.clone() {
                    if self.sides[1 - port].associations(self.pairs.entries[pair]) == 0 {
                        self.changes.push(RowKind::Delete, PADDED, self.pairs.decoded_at[pair]);
                    }
                }
                self.pairs.associate(&mut self.sides[1 - port], range.clone(), 1, now_ms);
            }
            let kind = if own_outer || other_outer { RowKind::Insert } else { kind };
            for pair in range {
                self.changes.push(kind, own_row, self.pairs.decoded_at[pair]);
            }
        } else {
            if is_kept && !self.sides[port].retract(row, now_ms) {
                self.ignored_retractions += 1;
            }
            if range.is_empty() && own_outer {
                self.changes.push(RowKind::Delete, own_row, PADDED);
            }
            let kind = if own_outer { RowKind::Delete } else { kind };
            for pair in range.clone() {
                self.changes.push(kind, own_row, self.pairs.decoded_at[pair]);
            }
            if other_outer {
                for pair in range.clone() {
                    if self.sides[1 - port].associations(self.pairs.entries[pair]) == 1 {
                        self.changes.push(RowKind::Insert, PADDED, self.pairs.decoded_at[pair]);
                    }
                }
                self.pairs.associate(&mut self.sides[1 - port], range, -1, now_ms);
            }
        }
    }

    fn decide_semi(&mut self, port: usize, row: usize, kind: RowKind, range: std::ops::Range<usize>, now_ms: i64) {
        let is_anti = self.kind == JoinKind::Anti;
        let is_kept = self.sides[port].key_of(row).is_some();
        let own_row = u32::try_from(row).unwrap_or(PADDED);
        let mut replaced = false;
        if kind.is_add() {
            let partners = u32::try_from(range.len()).unwrap_or(u32::MAX);
            replaced = is_kept && self.sides[port].add(row, partners, now_ms);
        } else if is_kept && !self.sides[port].retract(row, now_ms) {
            self.ignored_retractions += 1;
        }
        if port == 0 {
            if range.is_empty() == is_anti {
                self.changes.push(kind, own_row, PADDED);
            }
            return;
        }
        if replaced {
            return;
        }
        let (edge, shown) = match (kind.is_add(), is_anti) {
            (true, false) => (0, kind),
            (true, true) => (0, RowKind::Delete),
            (false, false) => (1, kind),
            (false, true) => (1, RowKind::Insert),
        };
        for pair in range.clone() {
            if self.sides[0].associations(self.pairs.entries[pair]) == edge {
                self.changes.push(shown, PADDED, self.pairs.decoded_at[pair]);
            }
        }
        self.pairs.associate(&mut self.sides[0], range, if kind.is_add() { 1 } else { -1 }, now_ms);
    }

    fn emit(&mut self, port: usize, batch: &ChangeBatch, output: &mut Output) -> Result<()> {
        let is_semi = self.kind.is_semi_or_anti();
        let types = |side: usize| self.sides[side].types();
        let all = 0..self.changes.kinds.len();
        for start in all.clone().step_by(ROWS_PER_BATCH) {
            let range = start..all.end.min(start + ROWS_PER_BATCH);
            let own = || take_padded(batch.rows.columns(), &self.changes.own[range.clone()], types(port));
            let other = || take_padded(&self.pairs.decoded, &self.changes.other[range.clone()], types(1 - port));
            let columns = match (is_semi, port) {
                (false, 0) => [own()?, other()?].concat(),
                (false, _) => [other()?, own()?].concat(),
                (true, 0) => own()?,
                (true, _) => other()?,
            };
            let options = RecordBatchOptions::new().with_row_count(Some(range.len()));
            let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
            output.emit(ChangeBatch::new(rows, self.changes.kinds[range].to_vec()));
        }
        Ok(())
    }
}

impl Operator for Join {
    fn process(&mut self, port: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        if port > 1 {
            return Err(Error::internal("a join has two inputs"));
        }
        self.sides[port].prepare(&batch.rows)?;
        self.sides[port].keys_to_load(&mut self.to_load);
        for side in &mut self.sides {
            side.load(&self.to_load)?;
        }
        let mut first = 0;
        while first < batch.len() {
            self.join(port, &batch, first, context)?;
            self.changes.clear();
            let rows = self.pairs.rows();
            for row in 0..rows {
                let range = self.pairs.offsets[row]..self.pairs.offsets[row + 1];
                self.decide(port, &batch, first + row, range, context.now_ms);
            }
            self.emit(port, &batch, output)?;
            first += rows;
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, _: &mut Output) -> Result<i64> {
        self.sides.iter_mut().for_each(|side| side.sweep(context.now_ms));
        Ok(watermark)
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.sides.iter_mut().try_for_each(|side| side.snapshot(full, writer))
    }

    fn freeze(&mut self, full: bool, _: &mut dyn StateWriter) -> Result<bool> {
        self.sides.iter_mut().for_each(|side| side.freeze(full));
        Ok(false)
    }

    fn snapshot_part(&mut self, entries: usize, writer: &mut dyn StateWriter) -> Result<bool> {
        let [left, right] = &mut self.sides;
        Ok(left.write_part(entries, writer)? && right.write_part(entries, writer)?)
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        match self.sides.get_mut(usize::from(table)) {
            Some(side) => side.restore(key, value),
            None => Err(Error::internal(format!("a checkpoint holds a state table {table} of a join"))),
        }
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn spills(&self) -> bool {
        true
    }

    fn evict(&mut self, store: &StateStore) -> Result<()> {
        self.sides.iter_mut().for_each(|side| side.begin_anew(store));
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.sides.iter().map(JoinSide::bytes).sum()
    }

    fn ignored_retractions(&self) -> u64 {
        self.ignored_retractions
    }
}

/// Rows of a batch, each with the entries of the other side that have its key and meet the condition.
#[derive(Default)]
struct Pairs {
    /// By row, and one more: where its pairs begin.
    offsets: Vec<usize>,
    /// By pair: the row of the batch, the entry, and where its row stands in `decoded`.
    rows: Vec<u32>,
    entries: Vec<u32>,
    decoded_at: Vec<u32>,
    decoded: Vec<ArrayRef>,
    /// By entry: where it stands in `decoded`.
    place: Vec<u32>,
    distinct: Vec<u32>,
}

impl Pairs {
    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Finds the pairs of the rows from `first` on, until there are enough for now.
    fn gather(&mut self, own: &JoinSide, other: &JoinSide, first: usize, rows: usize, now_ms: i64) {
        self.offsets.clear();
        self.offsets.push(0);
        self.rows.clear();
        self.entries.clear();
        self.decoded.clear();
        for row in first..rows {
            if let Some((key, hash)) = own.key_of(row) {
                other.find(key, hash, now_ms, &mut self.entries);
                self.rows.resize(self.entries.len(), u32::try_from(row).unwrap_or(u32::MAX));
            }
            self.offsets.push(self.entries.len());
            if self.entries.len() >= PAIRS_PER_CHUNK {
                break;
            }
        }
        self.decoded_at.clear();
        self.decoded_at.resize(self.entries.len(), 0);
    }

    /// Decodes the rows of the other side, each once.
    fn decode(&mut self, other: &JoinSide) -> Result<()> {
        self.place.resize(other.entry_count().max(self.place.len()), u32::MAX);
        self.distinct.clear();
        for (entry, at) in self.entries.iter().zip(&mut self.decoded_at) {
            let place = &mut self.place[*entry as usize];
            if *place == u32::MAX {
                *place = u32::try_from(self.distinct.len()).unwrap_or(u32::MAX);
                self.distinct.push(*entry);
            }
            *at = *place;
        }
        for entry in &self.distinct {
            self.place[*entry as usize] = u32::MAX;
        }
        self.decoded = other.decode(&self.distinct)?;
        Ok(())
    }

    /// Keeps the pairs that meet the condition.
    fn keep(
        &mut self,
        condition: &mut PairCondition,
        port: usize,
        batch: &ChangeBatch,
        context: &EvalContext,
    ) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let (rows, places) = (UInt32Array::from(self.rows.clone()), UInt32Array::from(self.decoded_at.clone()));
        let meets = condition.evaluate(
            |side, column| {
                if side == port {
                    Ok(take(batch.rows.column(column), &rows, None)?)
                } else {
                    Ok(take(&self.decoded[column], &places, None)?)
                }
            },
            self.rows.len(),
            context,
        )?;
        let mut kept = 0;
        let mut begin = 0;
        for offset in self.offsets.iter_mut().skip(1) {
            let end = *offset;
            for pair in begin..end {
                if meets.value(pair) {
                    self.rows[kept] = self.rows[pair];
                    self.entries[kept] = self.entries[pair];
                    self.decoded_at[kept] = self.decoded_at[pair];
                    kept += 1;
                }
            }
            begin = end;
            *offset = kept;
        }
        self.rows.truncate(kept);
        self.entries.truncate(kept);
        self.decoded_at.truncate(kept);
        Ok(())
    }

    /// Counts one partner more or less for each entry of a range; an entry whose row stands several times is counted once.
    fn associate(&self, side: &mut JoinSide, range: std::ops::Range<usize>, change: i32, now_ms: i64) {
        let mut last = None;
        for entry in &self.entries[range] {
            // The rows of one entry stand next to each other.
            if last != Some(*entry) {
                let count = side.associations(*entry).saturating_add_signed(change);
                side.associate(*entry, count, now_ms);
                last = Some(*entry);
            }
        }
    }
}

/// What a chunk of rows gives: kinds, rows of the batch, rows of the decoded other side.
#[derive(Default)]
struct Changes {
    kinds: Vec<RowKind>,
    own: Vec<u32>,
    other: Vec<u32>,
}

impl Changes {
    fn push(&mut self, kind: RowKind, own: u32, other: u32) {
        self.kinds.push(kind);
        self.own.push(own);
        self.other.push(other);
    }

    fn clear(&mut self) {
        self.kinds.clear();
        self.own.clear();
        self.other.clear();
    }
}

/// The given rows of some columns; NULLs where there is no row.
pub(crate) fn take_padded(
    columns: &[ArrayRef],
    picks: &[u32],
    types: &[wiesel_core::DataType],
) -> Result<Vec<ArrayRef>> {
    let is_padded = picks.contains(&PADDED);
    if is_padded && picks.iter().all(|pick| *pick == PADDED) {
        return Ok(types.iter().map(|t| new_null_array(&t.to_arrow(), picks.len())).collect());
    }
    let indices = if is_padded {
        let values: Vec<u32> = picks.iter().map(|pick| if *pick == PADDED { 0 } else { *pick }).collect();
        let valid: NullBuffer = picks.iter().map(|pick| *pick != PADDED).collect::<Vec<bool>>().into();
        UInt32Array::new(values.into(), Some(valid))
    } else {
        UInt32Array::from(picks.to_vec())
    };
    columns.iter().map(|column| Ok(take(column, &indices, None)?)).collect()
}

/// A condition over pairs of rows, evaluated on the columns that it reads alone.
pub(crate) struct PairCondition {
    /// Side and column, in the order of the evaluator's columns.
    columns: Vec<(usize, usize)>,
    evaluator: Evaluator,
}

impl PairCondition {
    /// A condition over the left side's columns and then the right side's.
    pub(crate) fn new(condition: &ScalarExpr, left_width: usize) -> Self {
        let mut read = Vec::new();
        condition.columns_read(&mut read);
        read.sort_unstable();
        read.dedup();
        let compact = condition.clone().transform(&mut |e| match e {
            ScalarExpr::Column { index, data_type } => {
                ScalarExpr::Column { index: read.binary_search(&index).unwrap_or(0), data_type }
            }
            other => other,
        });
        let columns = read.iter().map(|c| c.checked_sub(left_width).map_or((0, *c), |right| (1, right))).collect();
        PairCondition { columns, evaluator: Evaluator::new(compact) }
    }

    /// For which of `pairs` pairs it is TRUE; `column` gives a column of a side, one row per pair.
    pub(crate) fn evaluate(
        &mut self,
        mut column: impl FnMut(usize, usize) -> Result<ArrayRef>,
        pairs: usize,
        context: &EvalContext,
    ) -> Result<arrow_array::BooleanArray> {
        let columns = self.columns.iter().map(|(side, at)| column(*side, *at)).collect::<Result<Vec<_>>>()?;
        let fields: Vec<Field> = columns.iter().map(|c| Field::new("", c.data_type().clone(), true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(pairs));
        let batch = RecordBatch::try_new_with_options(ArrowSchema::new(fields).into(), columns, &options)?;
        self.evaluator.evaluate_filter(&batch, context)
    }
}
