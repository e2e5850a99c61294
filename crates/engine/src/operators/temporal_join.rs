//! Event-time temporal join: each left row meets the version of the right table that was valid at the left row's time.
//!
//! ```text
//! right versions of a key:   t=1 v1 ------- t=5 v2 ------------ t=9 (deleted)
//! left rows:                       t=4: v1         t=5: v2   t=7: v2      t=9: none
//! ```
//! - **Input**: any changelog on the left, its kinds pass on; inserts and upserts on the right, a -D ends a version at its own time.
//! - **Output**: left columns, then right columns.
//! - **State**: left rows that wait for the watermark, by time; right versions, by key and time.
//! - **Emits** a left row when the watermark of both sides has passed its time, in order of arrival.
//! - **Drops state**: a left row when it is emitted; a version when a later one is behind the watermark too. The last version of a key stays,
//!   unless there is a time to live: a key that is silent goes with its versions and the rows that wait ([`Retention`]).
//! - **Late rows**: a late left row meets what is still known when the watermark moves next; a late version counts from then on.
//! - **Cost per row**: one encoding and one insertion into an ordered table; per emitted row one lookup and one copy.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, DataType, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::join::{VersionTimes, keys_on};
use wiesel_plan::{JoinKind, JoinNode};

use super::ROWS_PER_BATCH;
use super::aggregate::check_version;
use super::join::{PADDED, PairCondition, take_padded};
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MIN};
use crate::state::codec::{
    KeyBuffer, Reader, STATE_VERSION, decode_rows, encode_row, number_i64, order_i64, split_key,
};
use crate::state::ordered_table::{OrderedTable, StateValue};
use crate::state::vnode::{KeyHasher, vnode_of_key};

const LEFT_TABLE: u8 = 0;
const RIGHT_TABLE: u8 = 1;
const RETENTION_TABLE: u8 = 2;

/// Bytes of time and sequence in front of a waiting row's join key.
const PREFIX_BYTES: usize = 16;

/// Added to the kind of a waiting row whose key has a NULL: it meets no version.
const NULL_KEY: u8 = 0x80;

/// A row since the last checkpoint: what it is now, or that it is gone.
type Changed = Option<Box<[u8]>>;

/// See the module's head.
pub struct TemporalJoin {
    kind: JoinKind,
    sides: [Side; 2],
    condition: Option<PairCondition>,
    schema: Schema,
    /// Time, sequence, join key -> kind and row.
    waiting: OrderedTable<Box<[u8]>>,
    /// Join key, time -> kind and row.
    versions: OrderedTable<Box<[u8]>>,
    /// Times of versions that the watermark has not passed, with their keys: then older versions are of no use.
    uncleaned: BTreeSet<(i64, Box<[u8]>)>,
    /// With a time to live: until when each key is kept.
    retention: Option<Retention>,
    sequence: i64,
    fired_to_ms: i64,
    late_rows: u64,
}

struct Side {
    types: Vec<DataType>,
    key_types: Vec<DataType>,
    hasher: KeyHasher,
    strict: Vec<usize>,
    time_column: usize,
}

impl TemporalJoin {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &JoinNode, times: &VersionTimes, inputs: &[&Schema], schema: &Schema) -> Result<Self> {
        let [left, right] = inputs else { return Err(Error::internal("a temporal join has two inputs")) };
        if !matches!(node.kind, JoinKind::Inner | JoinKind::Left) {
            return Err(Error::internal("a temporal join is INNER or LEFT"));
        }
        Ok(TemporalJoin {
            kind: node.kind,
            sides: [Side::new(node, times.left, 0, left)?, Side::new(node, times.right, 1, right)?],
            condition: node.condition.as_ref().map(|c| PairCondition::new(c, node.left_width)),
            schema: schema.clone(),
            waiting: OrderedTable::default(),
            versions: OrderedTable::default(),
            uncleaned: BTreeSet::new(),
            retention: (times.state_ttl_ms > 0).then(|| Retention::new(times.state_ttl_ms)),
            sequence: 0,
            fired_to_ms: WATERMARK_MIN,
            late_rows: 0,
        })
    }

    fn wait(&mut self, batch: &ChangeBatch, context: &EvalContext) -> Result<()> {
        let side = &mut self.sides[0];
        let times = side.times(&batch.rows)?;
        side.hasher.hash(&batch.rows)?;
        let is_null = side.null_keys(&batch.rows);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (row, time) in times.into_iter().enumerate() {
            if is_null[row] && self.kind == JoinKind::Inner {
                continue;
            }
            self.late_rows += u64::from(time <= context.watermark_ms);
            if let Some(retention) = &mut self.retention {
                retention.touch(side.hasher.keys().key(row), context.now_ms);
            }
            key.clear();
            key.extend(order_i64(time));
            key.extend(order_i64(self.sequence));
            key.extend_from_slice(side.hasher.keys().key(row));
            self.sequence += 1;
            value.clear();
            value.push(batch.kind(row) as u8 | if is_null[row] { NULL_KEY } else { 0 });
            encode_row(batch.rows.columns(), row, &mut value)?;
            self.waiting.put(&key, value.as_slice().into());
        }
        Ok(())
    }

    fn remember(&mut self, batch: &ChangeBatch, context: &EvalContext) -> Result<()> {
        let side = &mut self.sides[1];
        let times = side.times(&batch.rows)?;
        side.hasher.hash(&batch.rows)?;
        let is_null = side.null_keys(&batch.rows);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (row, time) in times.into_iter().enumerate() {
            if is_null[row] {
                continue;
            }
            let join_key = side.hasher.keys().key(row);
            if let Some(retention) = &mut self.retention {
                retention.touch(join_key, context.now_ms);
            }
            key.clear();
            key.extend_from_slice(join_key);
            key.extend(order_i64(time));
            value.clear();
            value.push(batch.kind(row) as u8);
            encode_row(batch.rows.columns(), row, &mut value)?;
            self.versions.put(&key, value.as_slice().into());
            self.uncleaned.insert((time, join_key.into()));
        }
        Ok(())
    }

    /// The version of a key at a time, when the key was not deleted then.
    fn version_at(&self, join_key: &[u8], time: i64) -> Option<&[u8]> {
        let (mut low, mut high) = (join_key.to_vec(), join_key.to_vec());
        low.extend(order_i64(i64::MIN));
        high.extend(order_i64(time));
        let (_, value) = self.versions.between(&low, &high).next_back()?;
        let is_there = value[0] == RowKind::Insert as u8 || value[0] == RowKind::UpdateAfter as u8;
        is_there.then(|| &value[1..])
    }

    fn fire(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<()> {
        let mut ready: Vec<(i64, Box<[u8]>)> = Vec::new();
        while let Some((key, _)) = self.waiting.first(&[])
            && number_at(key, 0) <= watermark
        {
            let key: Box<[u8]> = key.into();
            let Some(value) = self.waiting.remove(&key) else { break };
            if let Some(retention) = &mut self.retention {
                retention.touch(&key[PREFIX_BYTES..], context.now_ms);
            }
            let mut row = key[PREFIX_BYTES..].to_vec();
            let join_key_bytes = row.len();
            row.extend_from_slice(&value);
            // Kept with what is needed to find the version: length of the key, time, key, kind, row.
            let mut entry = Vec::with_capacity(16 + row.len());
            entry.extend(order_i64(i64::try_from(join_key_bytes).unwrap_or(0)));
            entry.extend_from_slice(&key[..8]);
            entry.extend_from_slice(&row);
            ready.push((number_at(&key, 8), entry.into()));
        }
        // In order of arrival.
        ready.sort_by_key(|(sequence, _)| *sequence);
        for rows in ready.chunks(ROWS_PER_BATCH) {
            self.emit(rows, context, output)?;
        }
        Ok(())
    }

    fn emit(&mut self, ready: &[(i64, Box<[u8]>)], context: &EvalContext, output: &mut Output) -> Result<()> {
        let (mut left, mut right) = (KeyBuffer::default(), KeyBuffer::default());
        let mut kinds = Vec::with_capacity(ready.len());
        // By left row: its version's place among the right rows.
        let mut partner = Vec::with_capacity(ready.len());
        for (_, entry) in ready {
            let join_key_bytes = usize::try_from(number_at(entry, 0)).unwrap_or(0);
            let time = number_at(entry, 8);
            let (join_key, rest) = entry[16..].split_at(join_key_bytes);
            kinds.push(kind_of(rest[0] & !NULL_KEY));
            left.push(&rest[1..]);
            let version = if rest[0] & NULL_KEY == 0 { self.version_at(join_key, time) } else { None };
            partner.push(match version {
                Some(row) => {
                    right.push(row);
                    u32::try_from(right.len() - 1).unwrap_or(PADDED)
                }
                None => PADDED,
            });
        }
        let left = decode_rows(&self.sides[0].types, left.iter())?;
        let right = decode_rows(&self.sides[1].types, right.iter())?;
        if let Some(condition) = &mut self.condition {
            let pairs: Vec<(usize, u32)> =
                partner.iter().copied().enumerate().filter(|(_, version)| *version != PADDED).collect();
            let own: UInt32Array = pairs.iter().map(|(row, _)| u32::try_from(*row).unwrap_or(0)).collect();
            let other: UInt32Array = pairs.iter().map(|(_, version)| *version).collect();
            let column = |side: usize, column: usize| {
                Ok(if side == 0 { take(&left[column], &own, None)? } else { take(&right[column], &other, None)? })
            };
            let meets = condition.evaluate(column, pairs.len(), context)?;
            for (pair, (row, _)) in pairs.iter().enumerate() {
                if !meets.value(pair) {
                    partner[*row] = PADDED;
                }
            }
        }
        let rows: Vec<u32> = (0_u32..)
            .zip(&partner)
            .filter(|(_, version)| self.kind == JoinKind::Left || **version != PADDED)
            .map(|(row, _)| row)
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let versions: Vec<u32> = rows.iter().map(|row| partner[*row as usize]).collect();
        let columns =
            [take_padded(&left, &rows, &self.sides[0].types)?, take_padded(&right, &versions, &self.sides[1].types)?]
                .concat();
        let kinds = rows.iter().map(|row| kinds[*row as usize]).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
        output.emit(ChangeBatch::new(batch, kinds));
        Ok(())
    }

    /// Drops the versions that a later one behind the watermark hides. With the time of the step, what the watermark passes puts its key off.
    fn clean(&mut self, watermark: i64, now_ms: Option<i64>) {
        while let Some((time, join_key)) = self.uncleaned.first()
            && *time <= watermark
        {
            if let (Some(retention), Some(now_ms)) = (&mut self.retention, now_ms) {
                retention.touch(join_key, now_ms);
            }
            let mut newest = join_key.to_vec();
            newest.extend(order_i64(watermark));
            let mut oldest = join_key.to_vec();
            oldest.extend(order_i64(i64::MIN));
            let mut behind: Vec<Box<[u8]>> =
                self.versions.between(&oldest, &newest).map(|(key, _)| key.into()).collect();
            behind.pop();
            for key in behind {
                self.versions.remove(&key);
            }
            self.uncleaned.pop_first();
        }
    }

    /// Drops the keys whose time is over.
    fn expire(&mut self, now_ms: i64) {
        let Some(retention) = &mut self.retention else { return };
        let expired = retention.take_expired(now_ms);
        if expired.is_empty() {
            return;
        }
        for join_key in &expired {
            let (mut low, mut high) = (join_key.to_vec(), join_key.to_vec());
            low.extend(order_i64(i64::MIN));
            high.extend(order_i64(i64::MAX));
            let versions: Vec<Box<[u8]>> = self.versions.between(&low, &high).map(|(key, _)| key.into()).collect();
            for key in versions {
                self.uncleaned.remove(&(number_at(&key, join_key.len()), join_key.clone()));
                self.versions.remove(&key);
            }
        }
        let is_expired = |key: &[u8]| expired.contains(&key[PREFIX_BYTES..]);
        let waiting: Vec<Box<[u8]>> =
            self.waiting.range(&[]).filter(|(key, _)| is_expired(key)).map(|(key, _)| key.into()).collect();
        for key in waiting {
            self.waiting.remove(&key);
        }
    }
}

/// Until when keys are kept, by Flink's rule: a key goes one and a half times its time to live after it was last put off, and a row, or
/// the watermark passing one, puts it off when less than the time to live is left.
struct Retention {
    min_ms: i64,
    max_ms: i64,
    /// Join key -> when it goes.
    until: OrderedTable<i64>,
    due: BTreeSet<(i64, Box<[u8]>)>,
}

impl Retention {
    fn new(ttl_ms: u64) -> Retention {
        let min_ms = i64::try_from(ttl_ms).unwrap_or(i64::MAX);
        let max_ms = i64::try_from(ttl_ms.saturating_mul(3) / 2).unwrap_or(i64::MAX);
        Retention { min_ms, max_ms, until: OrderedTable::default(), due: BTreeSet::new() }
    }

    fn touch(&mut self, join_key: &[u8], now_ms: i64) {
        let until = self.until.get(join_key).copied();
        if until.is_some_and(|until| now_ms.saturating_add(self.min_ms) <= until) {
            return;
        }
        if let Some(until) = until {
            self.due.remove(&(until, join_key.into()));
        }
        let until = now_ms.saturating_add(self.max_ms);
        self.until.put(join_key, until);
        self.due.insert((until, join_key.into()));
    }

    fn take_expired(&mut self, now_ms: i64) -> BTreeSet<Box<[u8]>> {
        let mut expired = BTreeSet::new();
        while self.due.first().is_some_and(|(until, _)| *until <= now_ms) {
            let Some((_, join_key)) = self.due.pop_first() else { break };
            self.until.remove(&join_key);
            expired.insert(join_key);
        }
        expired
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) {
        let mut puts: Vec<(Box<[u8]>, i64)> = Vec::new();
        self.until.take_changes(full, |join_key, until| match until {
            None => writer.delete(RETENTION_TABLE, vnode_of_key(join_key), join_key),
            Some(until) => puts.push((join_key.into(), *until)),
        });
        let mut value = Vec::new();
        for (join_key, until) in puts {
            value.clear();
            value.push(STATE_VERSION);
            until.encode(&mut value);
            writer.put(RETENTION_TABLE, vnode_of_key(&join_key), &join_key, &value);
        }
    }

    fn restore(&mut self, join_key: &[u8], value: Reader<'_>) -> Result<()> {
        self.until.restore(join_key, value)?;
        if let Some(until) = self.until.get(join_key) {
            self.due.insert((*until, join_key.into()));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.until.bytes() + self.due.iter().map(|(_, key)| key.len() + 48).sum::<usize>()
    }
}

impl Side {
    fn new(node: &JoinNode, time_column: usize, port: usize, input: &Schema) -> Result<Self> {
        let columns = keys_on(&node.keys, port);
        let type_of = |column: &usize| input.fields().get(*column).map(|f| f.data_type.clone());
        let key_types: Option<Vec<DataType>> = columns.iter().map(type_of).collect();
        let is_ms =
            type_of(&time_column).is_some_and(|t| t.to_arrow() == ArrowType::Timestamp(TimeUnit::Millisecond, None));
        if !is_ms {
            return Err(Error::internal("a temporal join compares a column that is no rowtime attribute"));
        }
        Ok(Side {
            types: input.fields().iter().map(|f| f.data_type.clone()).collect(),
            key_types: key_types.ok_or_else(|| Error::internal("a join key column is missing"))?,
            strict: columns.iter().zip(&node.keys).filter(|(_, key)| !key.null_safe).map(|(c, _)| *c).collect(),
            hasher: KeyHasher::new(columns),
            time_column,
        })
    }

    fn times(&self, batch: &RecordBatch) -> Result<Vec<i64>> {
        let times = batch.column(self.time_column).as_primitive::<TimestampMillisecondType>();
        if times.null_count() > 0 {
            let name = batch.schema_ref().field(self.time_column).name().clone();
            return Err(Error::data(format!("the time attribute `{name}` of a temporal join is NULL"))
                .hint("filter rows without a time before, or give them one"));
        }
        Ok(times.values().to_vec())
    }

    /// By row: whether its join key holds a NULL that matches nothing.
    fn null_keys(&self, batch: &RecordBatch) -> Vec<bool> {
        let mut is_null = vec![false; batch.num_rows()];
        for column in self.strict.iter().map(|c| batch.column(*c)) {
            is_null.iter_mut().enumerate().for_each(|(row, null)| *null |= column.is_null(row));
        }
        is_null
    }
}

fn number_at(bytes: &[u8], at: usize) -> i64 {
    number_i64(bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).unwrap_or([0; 8]))
}

fn kind_of(byte: u8) -> RowKind {
    let kinds = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
    kinds.into_iter().find(|kind| *kind as u8 == byte).unwrap_or(RowKind::Insert)
}

impl Operator for TemporalJoin {
    fn process(&mut self, port: usize, batch: ChangeBatch, context: &EvalContext, _: &mut Output) -> Result<()> {
        self.expire(context.now_ms);
        if port == 0 { self.wait(&batch, context) } else { self.remember(&batch, context) }
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        self.expire(context.now_ms);
        if watermark > self.fired_to_ms {
            self.fired_to_ms = watermark;
            self.fire(watermark, context, output)?;
            self.clean(watermark, Some(context.now_ms));
        }
        Ok(watermark)
    }

    fn next_timer_ms(&self) -> Option<i64> {
        self.retention.as_ref()?.due.first().map(|(until, _)| *until)
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        if let Some(retention) = &mut self.retention {
            retention.snapshot(full, writer);
        }
        let mut changes: BTreeMap<(u8, Box<[u8]>), Changed> = BTreeMap::new();
        for (table, rows) in [(LEFT_TABLE, &mut self.waiting), (RIGHT_TABLE, &mut self.versions)] {
            rows.take_changes(full, |key, value| {
                changes.insert((table, key.into()), value.cloned());
            });
        }
        let mut value = Vec::new();
        // Deletes come before puts.
        for is_put in [false, true] {
            for ((table, key), row) in changes.iter().filter(|(_, row)| row.is_some() == is_put) {
                let join_key = match *table {
                    LEFT_TABLE => &key[PREFIX_BYTES..],
                    _ => split_key(&self.sides[1].key_types, key)?.0,
                };
                match row {
                    None => writer.delete(*table, vnode_of_key(join_key), key),
                    Some(row) => {
                        value.clear();
                        value.push(STATE_VERSION);
                        row.encode(&mut value);
                        writer.put(*table, vnode_of_key(join_key), key, &value);
                    }
                }
            }
        }
        Ok(())
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        let mut reader = Reader::new(value);
        check_version(reader.byte()?)?;
        match table {
            LEFT_TABLE => {
                self.sequence = self.sequence.max(number_at(key, 8) + 1);
                self.waiting.restore(key, reader)
            }
            RIGHT_TABLE => {
                let (join_key, time) = split_key(&self.sides[1].key_types, key)?;
                self.uncleaned.insert((number_at(time, 0), join_key.into()));
                self.versions.restore(key, reader)
            }
            RETENTION_TABLE => match &mut self.retention {
                Some(retention) => retention.restore(key, reader),
                // Kept with a time to live before, without one now.
                None => Ok(()),
            },
            other => Err(Error::internal(format!("a checkpoint holds a state table {other} of a temporal join"))),
        }
    }

    fn restored(&mut self, watermark: i64) -> Result<()> {
        self.fired_to_ms = watermark;
        // The watermark has passed these before, which put their keys off then.
        self.clean(watermark, None);
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let uncleaned: usize = self.uncleaned.iter().map(|(_, key)| key.len() + 48).sum();
        let hashers: usize = self.sides.iter().map(|side| side.hasher.bytes()).sum();
        let retention = self.retention.as_ref().map_or(0, Retention::bytes);
        self.waiting.bytes() + self.versions.bytes() + uncleaned + hashers + retention
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}
