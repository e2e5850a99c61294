//! SESSION as a table function without aggregation: every row with the session it turned out to belong to.
//!
//! - **Input**: any changelog. **Output**: the input's columns, then window_start, window_end, window_time; kinds stay as they are. Changes
//!   are not folded: a row that was taken back comes out with its -U or -D behind it, as in Flink.
//! - **State**: the open sessions of each key (`session.rs`) and their rows: key, time on the window's clock, arrival number to the kind of
//!   change and the row. A session's rows are a range of that order, so joining two sessions moves nothing.
//! - **Emits** a session's rows in the order of arrival when the watermark reaches its last millisecond, or the clock its end; sessions in
//!   the order of ends. State is dropped then.
//! - **Late rows** (after joining with open sessions, their session has ended) are dropped and counted.
//! - **Cost per row**: key and row encoding, one hash probe, one ordered insert, one ordered removal.

use arrow_array::RecordBatch;
use wiesel_core::{ChangeBatch, DataType, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::{SessionTableNode, WindowKind, WindowProperty};

use super::ROWS_PER_BATCH;
use super::session::{Placed, SESSIONS_TABLE, Session, Sessions};
use super::session_aggregate::property_column;
use super::window::Windows;
use super::window_aggregate::WindowTime;
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MIN};
use crate::state::codec::{Reader, decode_rows, encode_row, number_i64, order_i64};
use crate::state::ordered_table::{OrderedTable, StateValue};
use crate::state::vnode::{KeyHasher, vnode_of_key};

const ROWS_TABLE: u8 = 0;

/// Time and arrival number behind the key.
const SUFFIX_BYTES: usize = 16;

/// See the module's head.
pub struct SessionTable {
    schema: Schema,
    types: Vec<DataType>,
    clock: Windows,
    time: WindowTime,
    gap_ms: i64,
    hasher: KeyHasher,
    sessions: Sessions,
    rows: OrderedTable<Box<[u8]>>,
    progress: i64,
    late_rows: u64,
    sequence: i64,
    all_rows: Vec<u32>,
    key_slots: Vec<u32>,
}

impl SessionTable {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &SessionTableNode, input: &Schema, schema: &Schema) -> Result<Self> {
        let time =
            WindowTime { column: node.window.time_column, is_event_time: node.window.is_event_time, drops_null: false };
        time.check(input)?;
        let WindowKind::Session { gap_ms } = node.window.kind else {
            return Err(Error::internal("a session table function over windows that are no sessions"));
        };
        if schema.len() != input.len() + 3 {
            return Err(Error::internal("a session table function does not add three columns"));
        }
        Ok(SessionTable {
            schema: schema.clone(),
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            clock: Windows::new(&node.window)?,
            time,
            gap_ms,
            hasher: KeyHasher::new(node.keys.clone()),
            sessions: Sessions::new(gap_ms),
            rows: OrderedTable::default(),
            progress: WATERMARK_MIN,
            late_rows: 0,
            sequence: 0,
            all_rows: Vec::new(),
            key_slots: Vec::new(),
        })
    }

    /// Takes the rows of an ended session out of the table, in the order of arrival.
    fn take_rows(&mut self, slot: u32, session: &Session, out: &mut Vec<Box<[u8]>>) {
        let key = self.sessions.keys.key(slot);
        let last_ms = session.end.saturating_sub(self.gap_ms);
        let mut found: Vec<(i64, Box<[u8]>)> = self
            .rows
            .range(key)
            .filter_map(|(place, _)| {
                let (time, sequence) = suffix(place, key.len())?;
                (session.start..=last_ms).contains(&time).then(|| (sequence, place.into()))
            })
            .collect();
        found.sort_unstable();
        for (_, place) in found {
            out.extend(self.rows.remove(&place));
        }
    }

    fn emit(&self, rows: &[Box<[u8]>], sessions: &[Session], output: &mut Output) -> Result<()> {
        for (rows, sessions) in rows.chunks(ROWS_PER_BATCH).zip(sessions.chunks(ROWS_PER_BATCH)) {
            let (mut kinds, mut values) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
            for row in rows {
                let (kind, value) = split_kind(row)?;
                kinds.push(kind);
                values.push(value);
            }
            let mut columns = decode_rows(&self.types, values.into_iter())?;
            for property in [WindowProperty::Start, WindowProperty::End, WindowProperty::Time] {
                columns.push(property_column(&self.clock, property, sessions));
            }
            let batch = RecordBatch::try_new(self.schema.arrow().clone(), columns)?;
            output.emit(if kinds.iter().all(|kind| *kind == RowKind::Insert) {
                ChangeBatch::inserts(batch)
            } else {
                ChangeBatch::new(batch, kinds)
            });
        }
        Ok(())
    }
}

/// The kind of change in front of a kept row, and the row.
fn split_kind(row: &[u8]) -> Result<(RowKind, &[u8])> {
    let kinds = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
    row.split_first()
        .and_then(|(byte, value)| Some((kinds.into_iter().find(|kind| *kind as u8 == *byte)?, value)))
        .ok_or_else(|| Error::internal("a state entry of a session's row has no kind of change"))
}

/// Time and arrival number of a row's place.
fn suffix(place: &[u8], key_length: usize) -> Option<(i64, i64)> {
    let rest = place.get(key_length..)?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    rest.is_empty().then(|| (number_i64(*time), number_i64(*sequence)))
}

impl Operator for SessionTable {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, _: &mut Output) -> Result<()> {
        let row_count = u32::try_from(batch.len())
            .map_err(|_| Error::internal(format!("a batch of {} rows reaches a window", batch.len())))?;
        self.hasher.hash(&batch.rows)?;
        self.all_rows.clear();
        self.all_rows.extend(0..row_count);
        self.key_slots.clear();
        let (keys, hashes) = self.hasher.keys_and_hashes();
        self.sessions.slots(keys, hashes, &self.all_rows, &mut self.key_slots);
        let times = if self.time.is_event_time { Some(self.time.column(&batch.rows)?.clone()) } else { None };
        // A clock that was set back must not reopen sessions.
        let clock_ms = context.now_ms.max(self.progress.saturating_add(1));
        let (mut place, mut value) = (Vec::new(), Vec::new());
        for row in 0..row_count {
            let time_ms = times.as_ref().map_or(clock_ms, |times| times.value(row as usize));
            let local_ms = self.clock.local_ms(time_ms);
            let (clock, progress) = (&self.clock, self.progress);
            let has_ended = |end: i64| clock.last_instant(end) <= progress;
            if self.sessions.place(self.key_slots[row as usize], local_ms, has_ended)? == Placed::Late {
                self.late_rows += 1;
                continue;
            }
            // A session's rows are found by time.
            self.sessions.take_joined();
            place.clear();
            place.extend_from_slice(self.hasher.keys().key(row as usize));
            place.extend(order_i64(local_ms));
            place.extend(order_i64(self.sequence));
            self.sequence += 1;
            value.clear();
            value.push(batch.kind(row as usize) as u8);
            encode_row(batch.rows.columns(), row as usize, &mut value)?;
            self.rows.put(&place, value.as_slice().into());
        }
        for row in 0..row_count {
            self.sessions.release(self.key_slots[row as usize]);
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        let progress = if self.time.is_event_time { watermark } else { context.now_ms.saturating_sub(1) };
        let (mut rows, mut sessions) = (Vec::new(), Vec::new());
        loop {
            let clock = &self.clock;
            let next = self.sessions.take_ended(|end| clock.last_instant(end) <= progress);
            let is_last = next.is_none();
            if let Some((slot, session)) = next {
                self.take_rows(slot, &session, &mut rows);
                sessions.resize(rows.len(), session);
                self.sessions.release(slot);
            }
            if rows.len() >= ROWS_PER_BATCH || is_last {
                self.emit(&rows, &sessions, output)?;
                rows.clear();
                sessions.clear();
            }
            if is_last {
                break;
            }
        }
        self.progress = self.progress.max(progress);
        Ok(watermark)
    }

    fn next_timer_ms(&self) -> Option<i64> {
        if self.time.is_event_time {
            return None;
        }
        Some(self.clock.last_instant(self.sessions.next_end()?).saturating_add(1))
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        let vnode = |place: &[u8]| vnode_of_key(&place[..place.len().saturating_sub(SUFFIX_BYTES)]);
        let mut puts: Vec<(Box<[u8]>, Vec<u8>)> = Vec::new();
        self.rows.take_changes(full, |place, row| match row {
            None => writer.delete(ROWS_TABLE, vnode(place), place),
            Some(row) => {
                let mut value = Vec::new();
                row.encode(&mut value);
                puts.push((place.into(), value));
            }
        });
        for (place, value) in puts {
            writer.put(ROWS_TABLE, vnode(&place), &place, &value);
        }
        self.sessions.snapshot(full, writer);
        Ok(())
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        if table == SESSIONS_TABLE {
            return self.sessions.restore(key, value);
        }
        let length = key.len().checked_sub(SUFFIX_BYTES);
        let (_, sequence) = length
            .and_then(|length| suffix(key, length))
            .ok_or_else(|| Error::internal("a state entry of a session's row is too short"))?;
        self.sequence = self.sequence.max(sequence + 1);
        self.rows.restore(key, Reader::new(value))
    }

    fn restored(&mut self, watermark: i64) -> Result<()> {
        if self.time.is_event_time {
            self.progress = watermark;
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes() + self.sessions.bytes() + self.hasher.bytes()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::WATERMARK_MAX;
    use crate::operators::testing::{Event, change, run, schema, show, string};
    use wiesel_core::TypeKind;
    use wiesel_plan::WindowNode;

    #[test]
    fn rows_come_with_their_session_when_it_ends() {
        let input = schema(&[string(), TypeKind::Timestamp(3)]);
        let window = TypeKind::Timestamp(3);
        let output = schema(&[string(), window.clone(), window.clone(), window.clone(), window]);
        let node = SessionTableNode {
            window: WindowNode {
                kind: WindowKind::Session { gap_ms: 5 },
                time_column: 1,
                is_event_time: true,
                time_zone: None,
            },
            keys: vec![0],
        };
        let new = || -> Box<dyn Operator> { Box::new(SessionTable::new(&node, &input, &output).unwrap()) };
        let rows = |texts: &[&str]| Event::Rows(texts.iter().map(|text| change(text)).collect());
        let events = [
            rows(&["+I a @9", "+I a @1", "+I b @3"]),
            Event::Advance(2, 0),
            rows(&["+I a @5"]),
            Event::Advance(8, 0),
            // Late alone, and no other session of its key is near.
            rows(&["+I b @2"]),
            Event::Advance(WATERMARK_MAX, 0),
        ];
        let expected = ["+I b @3 @3 @8 @7", "+I a @9 @1 @14 @13", "+I a @1 @1 @14 @13", "+I a @5 @1 @14 @13"];
        assert_eq!(show(&run(&new, &input, &output, 0, &events)), expected);
        let restarted: Vec<Event> = events.into_iter().flat_map(|e| [e, Event::Restart(false)]).collect();
        assert_eq!(show(&run(&new, &input, &output, 0, &restarted)), expected);
    }
}
