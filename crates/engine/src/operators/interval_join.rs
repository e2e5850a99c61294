//! Interval joins: pairs of rows whose times lie within bounds of each other, so that rows can be forgotten.
//!
//! ```text
//! left row at t:    right rows in [t - right_reach, t + left_reach]        left.time BETWEEN right.time + lower AND right.time + upper
//! right row at t:   left rows in  [t - left_reach,  t + right_reach]       left_reach = -lower, right_reach = upper
//! ```
//! - **Input**: inserts on both sides. **Output**: inserts; left columns, then right columns.
//! - **State**: by key and time, the rows of both sides, and whether each was ever joined where its side is padded; per key and side
//!   the time at which it is cleaned.
//! - **Emits** pairs at once; a row without a partner, padded, when it is dropped.
//! - **Drops state** when time passes a row's reach, as lazily as Flink: per key and side one timer, half the bounds' width late, or when a row
//!   of the other side comes by. Until then a late row may still meet it.
//! - **Late rows** are joined with what is kept, and kept themselves only while the other side may still bring a partner.
//! - **Watermark**: held back by the longer reach, so that both time attributes of a pair stay ahead of it. By processing time the clock
//!   takes the place of both, and the watermark passes.
//! - **Cost per row**: one encoding, one range of an ordered table, and per pair one copy.
//!
//! Time before 1970 counts as 1970 for what is kept, as in Flink.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, DataType, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::JoinNode;
use wiesel_plan::join::{IntervalBounds, keys_on};

use super::ROWS_PER_BATCH;
use super::aggregate::check_version;
use super::join::{PADDED, PairCondition, take_padded};
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MAX, WATERMARK_MIN};
use crate::state::codec::{
    KeyBuffer, Reader, STATE_VERSION, decode_rows, encode_row, number_i64, order_i64, put_varint, split_key,
};
use crate::state::ordered_table::{OrderedTable, StateValue};
use crate::state::vnode::{KeyHasher, vnode_of_key};

/// Pairs put together at a time, unless one row alone makes more.
const PAIRS_PER_CHUNK: usize = 4 * ROWS_PER_BATCH;

/// The table of the timers; those of the rows are numbered as the ports.
const TIMERS_TABLE: u8 = 2;

/// Bytes of time and sequence behind the join key.
const SUFFIX_BYTES: usize = 16;

const JOINED: u8 = 1;

/// See the module's head.
pub struct IntervalJoin {
    is_event_time: bool,
    /// No time fits: nothing is kept.
    is_never: bool,
    /// How far the upper end of a side's rows reaches on the other side.
    reach_ms: [i64; 2],
    /// How long a timer waits beyond what is needed.
    cleanup_ms: i64,
    sides: [Side; 2],
    condition: Option<PairCondition>,
    schema: Schema,
    /// By key and side: when that side's rows of the key are looked through.
    timers: OrderedTable<i64>,
    due: BTreeSet<(i64, Box<[u8]>)>,
    sequence: i64,
    late_rows: u64,
    pairs: Pairs,
}

struct Side {
    types: Vec<DataType>,
    key_types: Vec<DataType>,
    time_column: usize,
    hasher: KeyHasher,
    strict: Vec<usize>,
    /// By row of the batch hashed last.
    is_null: Vec<bool>,
    is_padded: bool,
    /// Join key, time, sequence -> whether it was joined, and the row.
    rows: OrderedTable<Box<[u8]>>,
    /// Up to which time rows may be gone.
    expired_to_ms: i64,
}

/// Candidates of a chunk of rows.
#[derive(Default)]
struct Pairs {
    /// By row, and one more: where its pairs begin.
    offsets: Vec<usize>,
    /// By row: whether the other side was looked at, and is cleaned of what has expired.
    is_checked: Vec<bool>,
    rows: Vec<u32>,
    /// The other side's keys (where flags may change) and rows.
    keys: KeyBuffer,
    payloads: KeyBuffer,
    meets: Vec<bool>,
}

/// Rows given padded: by side, their bytes.
type Padded = [KeyBuffer; 2];

impl IntervalJoin {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &JoinNode, bounds: &IntervalBounds, inputs: &[&Schema], schema: &Schema) -> Result<Self> {
        let [left, right] = inputs else { return Err(Error::internal("an interval join has two inputs")) };
        let reach_ms = [bounds.lower_ms.saturating_neg(), bounds.upper_ms];
        let width_ms = reach_ms[0].saturating_add(reach_ms[1]);
        Ok(IntervalJoin {
            is_event_time: bounds.is_event_time,
            is_never: width_ms < 0,
            reach_ms,
            cleanup_ms: (width_ms / 2).max(0),
            sides: [Side::new(node, bounds, 0, left)?, Side::new(node, bounds, 1, right)?],
            condition: node.condition.as_ref().map(|c| PairCondition::new(c, node.left_width)),
            schema: schema.clone(),
            timers: OrderedTable::default(),
            due: BTreeSet::new(),
            sequence: 0,
            late_rows: 0,
            pairs: Pairs::default(),
        })
    }

    fn time_ms(&self, context: &EvalContext) -> i64 {
        if self.is_event_time { context.watermark_ms.max(0) } else { context.now_ms }
    }

    /// The last time whose rows of `side` nobody can meet any more.
    fn expiration_ms(&self, side: usize, time_ms: i64) -> i64 {
        if time_ms == WATERMARK_MAX { time_ms } else { time_ms.saturating_sub(self.reach_ms[side]).saturating_sub(1) }
    }

    /// Finds the candidates of the rows from `first` on, until there are enough for now.
    fn gather(&mut self, port: usize, times: &[i64], first: usize, time_ms: i64) {
        let pairs = &mut self.pairs;
        pairs.clear();
        let expiration_ms = if time_ms == WATERMARK_MAX {
            time_ms
        } else {
            time_ms.saturating_sub(self.reach_ms[1 - port]).saturating_sub(1)
        };
        // Keys whose expired rows an earlier row of the batch removes.
        let mut cleaned: BTreeSet<Vec<u8>> = BTreeSet::new();
        let [left, right] = &mut self.sides;
        let (own, other) = if port == 0 { (left, right) } else { (right, left) };
        let (mut low, mut high) = (Vec::new(), Vec::new());
        for (row, time) in times.iter().enumerate().skip(first) {
            let lower = time.saturating_sub(self.reach_ms[1 - port]);
            let upper = time.saturating_add(self.reach_ms[port]);
            let number = u32::try_from(row).unwrap_or(u32::MAX);
            let key = own.key_of(row).filter(|_| other.expired_to_ms < upper);
            pairs.is_checked.push(key.is_some());
            if let Some(key) = key {
                other.expired_to_ms = expiration_ms;
                let lower = if cleaned.contains(key) { lower.max(expiration_ms.saturating_add(1)) } else { lower };
                if lower <= upper {
                    put_bound(key, lower, &mut low);
                    put_bound(key, upper, &mut high);
                    // Behind the last sequence number of that time.
                    high.extend([0xff; 9]);
                    for (found, value) in other.rows.between(&low, &high) {
                        pairs.rows.push(number);
                        if other.is_padded {
                            pairs.keys.push(found);
                        }
                        pairs.payloads.push(&value[1..]);
                    }
                }
                if other.rows.first(key).is_some_and(|(k, _)| time_of(k) <= expiration_ms) {
                    cleaned.insert(key.to_vec());
                }
            }
            pairs.offsets.push(pairs.rows.len());
            if pairs.rows.len() >= PAIRS_PER_CHUNK {
                break;
            }
        }
    }

    /// Looks which candidates meet the condition, and gives the pairs.
    fn join(&mut self, port: usize, batch: &RecordBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        let count = self.pairs.rows.len();
        self.pairs.meets.clear();
        self.pairs.meets.resize(count, true);
        if count == 0 {
            return Ok(());
        }
        let decoded = decode_rows(&self.sides[1 - port].types, self.pairs.payloads.iter())?;
        if let Some(condition) = &mut self.condition {
            let rows = UInt32Array::from(self.pairs.rows.clone());
            let column = |side: usize, column: usize| {
                if side == port { Ok(take(batch.column(column), &rows, None)?) } else { Ok(decoded[column].clone()) }
            };
            let meets = condition.evaluate(column, count, context)?;
            self.pairs.meets.iter_mut().enumerate().for_each(|(pair, meet)| *meet = meets.value(pair));
        }
        let met: Vec<u32> = (0_u32..).take(count).filter(|pair| self.pairs.meets[*pair as usize]).collect();
        for picks in met.chunks(ROWS_PER_BATCH) {
            let rows: Vec<u32> = picks.iter().map(|pair| self.pairs.rows[*pair as usize]).collect();
            let own = take_padded(batch.columns(), &rows, &self.sides[port].types)?;
            let other = take_padded(&decoded, picks, &self.sides[1 - port].types)?;
            let columns = if port == 0 { [own, other].concat() } else { [other, own].concat() };
            self.emit(columns, picks.len(), output)?;
        }
        Ok(())
    }

    /// Notes what was joined, drops what this row finds expired, and keeps the row while it may meet another.
    fn keep(
        &mut self,
        port: usize,
        batch: &RecordBatch,
        times: &[i64],
        range: (usize, usize),
        now: Now<'_>,
    ) -> Result<()> {
        let (first, rows) = range;
        let mut value = Vec::new();
        let mut entry = Vec::new();
        for row in 0..rows {
            let pairs = self.pairs.offsets[row]..self.pairs.offsets[row + 1];
            let is_joined = self.pairs.meets[pairs.clone()].contains(&true);
            if self.sides[1 - port].is_padded {
                for pair in pairs.filter(|pair| self.pairs.meets[*pair]) {
                    self.sides[1 - port].note_joined(self.pairs.keys.key(pair));
                }
            }
            let time = times[first + row];
            let upper = time.saturating_add(self.reach_ms[port]);
            let is_kept = !self.is_never && now.time_ms < upper;
            let key = self.sides[port].key_of(first + row).map(<[u8]>::to_vec);
            let Some(key) = key else {
                // A NULL meets nobody.
                if self.sides[port].is_padded {
                    value.clear();
                    encode_row(batch.columns(), first + row, &mut value)?;
                    now.padded[port].push(&value);
                }
                continue;
            };
            let expiration_ms = self.expiration_ms(1 - port, now.time_ms);
            if self.pairs.is_checked[row] {
                self.sides[1 - port].expire(&key, expiration_ms, &mut now.padded[1 - port]);
            }
            value.clear();
            value.push(if is_joined { JOINED } else { 0 });
            encode_row(batch.columns(), first + row, &mut value)?;
            if is_kept {
                put_bound(&key, time, &mut entry);
                entry.extend(order_i64(self.sequence));
                self.sequence += 1;
                self.sides[port].rows.put(&entry, value.as_slice().into());
                self.register(port, &key, time);
            } else if !is_joined {
                if self.sides[port].is_padded {
                    now.padded[port].push(&value[1..]);
                }
                self.late_rows += u64::from(!self.is_never);
            }
        }
        Ok(())
    }

    /// Sees to it that a side's rows of a key are looked through once their time has passed.
    fn register(&mut self, side: usize, key: &[u8], time: i64) {
        let timer = timer_key(key, side);
        if self.timers.get(&timer).is_none() {
            self.set_timer(timer, side, time);
        }
    }

    fn set_timer(&mut self, timer: Vec<u8>, side: usize, time: i64) {
        let due = time.saturating_add(self.reach_ms[side]).saturating_add(self.cleanup_ms).saturating_add(1);
        self.timers.put(&timer, due);
        self.due.insert((due, timer.into()));
    }

    /// Fires the timers that `until_ms` has reached.
    fn fire(&mut self, until_ms: i64, time_ms: i64, padded: &mut Padded) {
        while let Some((due, timer)) = self.due.first().cloned()
            && due <= until_ms
        {
            self.due.pop_first();
            self.timers.remove(&timer);
            let Some((side, key)) = timer.split_last() else { continue };
            let side = usize::from(*side);
            let expiration_ms = self.expiration_ms(side, time_ms);
            self.sides[side].expired_to_ms = expiration_ms;
            self.sides[side].expire(key, expiration_ms, &mut padded[side]);
            let earliest = self.sides[side].rows.first(key).map(|(k, _)| time_of(k));
            if let Some(earliest) = earliest {
                self.set_timer(timer.to_vec(), side, earliest);
            }
        }
    }

    fn emit_padded(&self, padded: &Padded, output: &mut Output) -> Result<()> {
        for (side, rows) in padded.iter().enumerate() {
            let all: Vec<&[u8]> = rows.iter().collect();
            for rows in all.chunks(ROWS_PER_BATCH) {
                let own = decode_rows(&self.sides[side].types, rows.iter().copied())?;
                let nulls = take_padded(&[], &vec![PADDED; rows.len()], &self.sides[1 - side].types)?;
                let columns = if side == 0 { [own, nulls].concat() } else { [nulls, own].concat() };
                self.emit(columns, rows.len(), output)?;
            }
        }
        Ok(())
    }

    fn emit(&self, columns: Vec<ArrayRef>, rows: usize, output: &mut Output) -> Result<()> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
        output.emit(ChangeBatch::inserts(batch));
        Ok(())
    }
}

/// What time it is for a batch, and where rows go that are dropped unjoined.
struct Now<'a> {
    time_ms: i64,
    padded: &'a mut Padded,
}

impl Side {
    fn new(node: &JoinNode, bounds: &IntervalBounds, port: usize, input: &Schema) -> Result<Self> {
        let columns = keys_on(&node.keys, port);
        let type_of = |column: &usize| input.fields().get(*column).map(|f| f.data_type.clone());
        let key_types: Option<Vec<DataType>> = columns.iter().map(type_of).collect();
        let strict = columns.iter().zip(&node.keys).filter(|(_, key)| !key.null_safe).map(|(c, _)| *c).collect();
        let time_column = bounds.time_on(port);
        let is_ms =
            type_of(&time_column).is_some_and(|t| t.to_arrow() == ArrowType::Timestamp(TimeUnit::Millisecond, None));
        if bounds.is_event_time && !is_ms {
            return Err(Error::internal("an interval join compares a column that is no rowtime attribute"));
        }
        Ok(Side {
            types: input.fields().iter().map(|f| f.data_type.clone()).collect(),
            key_types: key_types.ok_or_else(|| Error::internal("a join key column is missing"))?,
            time_column,
            hasher: KeyHasher::new(columns),
            strict,
            is_null: Vec::new(),
            is_padded: if port == 0 { node.kind.pads_right() } else { node.kind.pads_left() },
            rows: OrderedTable::default(),
            expired_to_ms: 0,
        })
    }

    /// The join key of a row of the batch hashed last; `None` where a NULL matches nothing.
    fn key_of(&self, row: usize) -> Option<&[u8]> {
        (!self.is_null[row]).then(|| self.hasher.keys().key(row))
    }

    fn hash(&mut self, batch: &RecordBatch) -> Result<()> {
        self.hasher.hash(batch)?;
        self.is_null.clear();
        self.is_null.resize(batch.num_rows(), false);
        for column in self.strict.iter().map(|c| batch.column(*c)) {
            if column.null_count() > 0 {
                self.is_null.iter_mut().enumerate().for_each(|(row, null)| *null |= column.is_null(row));
            }
        }
        Ok(())
    }

    fn times(&self, batch: &RecordBatch, is_event_time: bool, now_ms: i64) -> Result<Vec<i64>> {
        if !is_event_time {
            return Ok(vec![now_ms; batch.num_rows()]);
        }
        let times = batch.column(self.time_column).as_primitive::<TimestampMillisecondType>();
        if times.null_count() > 0 {
            let name = batch.schema_ref().field(self.time_column).name().clone();
            return Err(Error::data(format!("the time attribute `{name}` of an interval join is NULL"))
                .hint("filter rows without a time before, or give them one"));
        }
        Ok(times.values().to_vec())
    }

    fn note_joined(&mut self, key: &[u8]) {
        if let Some(value) = self.rows.get(key)
            && value[0] != JOINED
        {
            let mut value = value.clone();
            value[0] = JOINED;
            self.rows.put(key, value);
        }
    }

    /// Drops the rows of a key up to a time; those that are asked for padded go there.
    fn expire(&mut self, key: &[u8], expiration_ms: i64, padded: &mut KeyBuffer) {
        while let Some((found, value)) = self.rows.first(key)
            && time_of(found) <= expiration_ms
        {
            if self.is_padded && value[0] != JOINED {
                padded.push(&value[1..]);
            }
            let found = found.to_vec();
            self.rows.remove(&found);
        }
    }
}

impl Pairs {
    fn clear(&mut self) {
        self.offsets.clear();
        self.offsets.push(0);
        self.is_checked.clear();
        self.rows.clear();
        self.keys.clear();
        self.payloads.clear();
    }
}

/// The key of the first row of a join key at a time, without its sequence.
fn put_bound(key: &[u8], time: i64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(key);
    out.extend(order_i64(time));
}

fn time_of(key: &[u8]) -> i64 {
    let at = key.len().saturating_sub(SUFFIX_BYTES);
    let bytes = key.get(at..at + 8).and_then(|b| b.try_into().ok()).unwrap_or([0; 8]);
    number_i64(bytes)
}

fn timer_key(key: &[u8], side: usize) -> Vec<u8> {
    let mut timer = key.to_vec();
    timer.push(u8::try_from(side).unwrap_or(0));
    timer
}

impl Operator for IntervalJoin {
    fn process(&mut self, port: usize, batch: ChangeBatch, context: &EvalContext, output: &mut Output) -> Result<()> {
        if batch.kinds.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != RowKind::Insert)) {
            return Err(Error::internal("an interval join gets changes other than +I"));
        }
        let time_ms = self.time_ms(context);
        self.sides[port].hash(&batch.rows)?;
        let times = self.sides[port].times(&batch.rows, self.is_event_time, context.now_ms)?;
        let mut padded = Padded::default();
        let mut first = 0;
        while first < batch.len() {
            self.gather(port, &times, first, time_ms);
            let rows = self.pairs.offsets.len() - 1;
            self.join(port, &batch.rows, context, output)?;
            self.keep(port, &batch.rows, &times, (first, rows), Now { time_ms, padded: &mut padded })?;
            first += rows;
        }
        self.emit_padded(&padded, output)
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        let mut padded = Padded::default();
        let (until_ms, time_ms) =
            if self.is_event_time { (watermark, watermark.max(0)) } else { (context.now_ms, context.now_ms) };
        self.fire(until_ms, time_ms, &mut padded);
        self.emit_padded(&padded, output)?;
        if !self.is_event_time || watermark == WATERMARK_MAX || watermark == WATERMARK_MIN {
            return Ok(watermark);
        }
        Ok(watermark.saturating_sub(self.reach_ms[0].max(self.reach_ms[1]).max(0)))
    }

    fn next_timer_ms(&self) -> Option<i64> {
        if self.is_event_time { None } else { self.due.first().map(|(due, _)| *due) }
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        let mut value = Vec::new();
        for (table, side) in (0_u8..).zip(&mut self.sides) {
            // Deletes come before puts.
            let mut changes: BTreeMap<Box<[u8]>, Option<Box<[u8]>>> = BTreeMap::new();
            side.rows.take_changes(full, |key, value| {
                changes.insert(key.into(), value.cloned());
            });
            for is_put in [false, true] {
                for (key, row) in changes.iter().filter(|(_, row)| row.is_some() == is_put) {
                    let (join_key, _) = split_key(&side.key_types, key)?;
                    match row {
                        None => writer.delete(table, vnode_of_key(join_key), key),
                        Some(row) => {
                            value.clear();
                            value.push(STATE_VERSION);
                            row.encode(&mut value);
                            writer.put(table, vnode_of_key(join_key), key, &value);
                        }
                    }
                }
            }
        }
        let mut timers: Vec<(Box<[u8]>, Option<i64>)> = Vec::new();
        self.timers.take_changes(full, |key, due| timers.push((key.into(), due.copied())));
        timers.sort_by_key(|(_, due)| due.is_some());
        for (key, due) in timers {
            let vnode = vnode_of_key(&key[..key.len() - 1]);
            match due {
                None => writer.delete(TIMERS_TABLE, vnode, &key),
                Some(due) => {
                    value.clear();
                    value.push(STATE_VERSION);
                    put_varint(due.cast_unsigned(), &mut value);
                    writer.put(TIMERS_TABLE, vnode, &key, &value);
                }
            }
        }
        Ok(())
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        let mut reader = Reader::new(value);
        check_version(reader.byte()?)?;
        if table == TIMERS_TABLE {
            let rest = Reader::new(reader.rest());
            self.due.insert((reader.varint()?.cast_signed(), key.into()));
            return self.timers.restore(key, rest);
        }
        let Some(side) = self.sides.get_mut(usize::from(table)) else {
            return Err(Error::internal(format!("a checkpoint holds a state table {table} of an interval join")));
        };
        let sequence = key.len().checked_sub(8).and_then(|at| key[at..].try_into().ok()).map_or(0, number_i64);
        self.sequence = self.sequence.max(sequence + 1);
        side.rows.restore(key, Reader::new(reader.rest()))
    }

    fn restored(&mut self, _: i64) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let rows: usize = self.sides.iter().map(|side| side.rows.bytes() + side.hasher.bytes()).sum();
        let due: usize = self.due.iter().map(|(_, key)| key.len() + 48).sum();
        rows + due + self.timers.bytes()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}
