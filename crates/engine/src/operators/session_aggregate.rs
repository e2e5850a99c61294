//! Aggregation per session and key: SESSION as a table function with its aggregation, and as the legacy GROUP BY SESSION(ts, gap).
//!
//! - **Input**: any changelog; a row counts in the session of its time, or of the step's clock for processing time. A retraction takes a
//!   row back and never makes a session shorter.
//! - **Output**: the keys, the aggregates, the session's properties; one +I per key and session, never taken back.
//! - **State**: the open sessions of each key (`session.rs`), and one table of groups per level of sessions.
//! - **Emits** in the order of ends, when the watermark reaches the last millisecond of a session, or the clock its end; the session's
//!   state is dropped then. Sessions whose rows were all taken back give nothing.
//! - **Late rows** (after joining with open sessions, their session has ended) are dropped and counted.
//! - **Cost per row**: key encoding, two hash probes, a few nanoseconds per aggregate. Joining two sessions merges their accumulators.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMillisecondArray};
use wiesel_core::{ChangeBatch, Error, Result, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::{WindowAggregateNode, WindowKind, WindowProperty};

use super::ROWS_PER_BATCH;
use super::aggregate::{AggregateSpec, FoldBuffers, FoldedRows, Groups, Prepared};
use super::session::{Joined, Placed, SESSIONS_TABLE, Session, Sessions};
use super::window::Windows;
use super::window_aggregate::WindowTime;
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MIN};
use crate::state::codec::{decode_keys, number_i64};
use crate::state::vnode::KeyHasher;

/// See the module's head.
pub struct SessionAggregate {
    spec: AggregateSpec,
    schema: Schema,
    properties: Vec<WindowProperty>,
    /// For the zone's clock; sessions are cut by `sessions`.
    clock: Windows,
    time: WindowTime,
    hasher: KeyHasher,
    sessions: Sessions,
    /// The groups of the sessions of each level.
    levels: Vec<Groups>,
    progress: i64,
    late_rows: u64,
    sequence: u64,
    // Buffers that are used again for every batch.
    all_rows: Vec<u32>,
    key_slots: Vec<u32>,
    pending: BTreeMap<u32, Vec<u32>>,
    prepared: Vec<Prepared>,
    buffers: FoldBuffers,
}

impl SessionAggregate {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &WindowAggregateNode, input: &Schema, schema: &Schema) -> Result<Self> {
        let spec = AggregateSpec::new(&node.keys, &node.aggregates, input, node.input_retracts)?;
        let time = WindowTime {
            column: node.window.time_column,
            is_event_time: node.window.is_event_time,
            drops_null: node.is_legacy,
        };
        time.check(input)?;
        let WindowKind::Session { gap_ms } = node.window.kind else {
            return Err(Error::internal("a session aggregate over windows that are no sessions"));
        };
        if schema.len() != node.keys.len() + spec.len() + node.properties.len() {
            return Err(Error::internal("a session aggregate whose output is not its keys, aggregates and properties"));
        }
        Ok(SessionAggregate {
            spec,
            schema: schema.clone(),
            properties: node.properties.clone(),
            clock: Windows::new(&node.window)?,
            time,
            hasher: KeyHasher::new(node.keys.clone()),
            sessions: Sessions::new(gap_ms),
            levels: Vec::new(),
            progress: WATERMARK_MIN,
            late_rows: 0,
            sequence: 0,
            all_rows: Vec::new(),
            key_slots: Vec::new(),
            pending: BTreeMap::new(),
            prepared: Vec::new(),
            buffers: FoldBuffers::default(),
        })
    }

    fn place_rows(&mut self, batch: &ChangeBatch, row_count: u32, now_ms: i64) -> Result<()> {
        let times = if self.time.is_event_time { Some(self.time.column(&batch.rows)?.clone()) } else { None };
        // A clock that was set back must not reopen sessions.
        let clock_ms = now_ms.max(self.progress.saturating_add(1));
        for row in 0..row_count {
            let time_ms = match &times {
                None => clock_ms,
                Some(times) if arrow_array::Array::is_null(times, row as usize) => {
                    self.late_rows += 1;
                    continue;
                }
                Some(times) => times.value(row as usize),
            };
            let local_ms = self.clock.local_ms(time_ms);
            let (clock, progress) = (&self.clock, self.progress);
            let has_ended = |end: i64| clock.last_instant(end) <= progress;
            match self.sessions.place(self.key_slots[row as usize], local_ms, has_ended)? {
                Placed::Late => self.late_rows += 1,
                Placed::In(level) => self.pending.entry(level).or_default().push(row),
                Placed::Joining(level) => {
                    self.aggregate_pending(batch, now_ms)?;
                    let slot = self.key_slots[row as usize];
                    for joined in self.sessions.take_joined() {
                        self.join(slot, joined, now_ms)?;
                    }
                    self.pending.entry(level).or_default().push(row);
                }
            }
        }
        // A key whose only rows are late has no session.
        for row in 0..row_count {
            self.sessions.release(self.key_slots[row as usize]);
        }
        self.aggregate_pending(batch, now_ms)
    }

    fn aggregate_pending(&mut self, batch: &ChangeBatch, now_ms: i64) -> Result<()> {
        for (level, rows) in &mut self.pending {
            grow(&mut self.levels, &self.spec, *level as usize)?;
            let groups = &mut self.levels[*level as usize];
            let folded = FoldedRows {
                rows,
                hasher: &self.hasher,
                kinds: batch.kinds.as_ref(),
                prepared: &self.prepared,
                sequence: self.sequence,
                now_ms,
            };
            groups.fold(&self.spec, folded, &mut self.buffers)?;
            rows.clear();
        }
        Ok(())
    }

    fn join(&mut self, slot: u32, joined: Joined, now_ms: i64) -> Result<()> {
        let (from, into) = (joined.from as usize, joined.into as usize);
        if from >= self.levels.len() {
            return Ok(());
        }
        // A session that takes a joined one in may have no row of its own yet.
        grow(&mut self.levels, &self.spec, into)?;
        let highest = from.max(into);
        let (low, high) = self.levels.split_at_mut(highest);
        let (source, target) =
            if from < into { (&mut low[from], &mut high[0]) } else { (&mut high[0], &mut low[into]) };
        let (key, hash) = (self.sessions.keys.key(slot), self.sessions.keys.hash(slot));
        if let Some(group) = source.table.find(key, hash) {
            target.merge_slot(source, group, now_ms)?;
            source.release(group);
        }
        Ok(())
    }

    fn emit(&self, ended: &[(u32, Session)], output: &mut Output) -> Result<()> {
        let mut results = self.spec.values();
        let mut keys = Vec::with_capacity(ended.len());
        let mut told: Vec<Session> = Vec::with_capacity(ended.len());
        for (slot, session) in ended {
            let (key, hash) = (self.sessions.keys.key(*slot), self.sessions.keys.hash(*slot));
            let groups = self.levels.get(session.level as usize);
            let Some((groups, group)) = groups.and_then(|g| g.table.find(key, hash).map(|slot| (g, slot))) else {
                continue;
            };
            if groups.row_count(group) != 0 {
                groups.collect(&[group], &mut results);
                keys.push(key);
                told.push(*session);
            }
        }
        let mut columns = decode_keys(self.spec.key_types(), keys.into_iter())?;
        for (aggregate, values) in results.iter().enumerate() {
            columns.push(values.to_array(self.spec.data_type(aggregate))?);
        }
        for property in &self.properties {
            columns.push(property_column(&self.clock, *property, &told));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(told.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
        output.emit(ChangeBatch::inserts(rows));
        Ok(())
    }

    fn drop_ended(&mut self, ended: &[(u32, Session)]) {
        for (slot, session) in ended {
            let (key, hash) = (self.sessions.keys.key(*slot), self.sessions.keys.hash(*slot));
            if let Some(groups) = self.levels.get_mut(session.level as usize)
                && let Some(group) = groups.table.find(key, hash)
            {
                groups.release(group);
            }
        }
        // Two sessions of a key may end together: the key goes when both are gone.
        for (slot, _) in ended {
            self.sessions.release(*slot);
        }
    }
}

/// A property of sessions as a column.
pub(super) fn property_column(clock: &Windows, property: WindowProperty, sessions: &[Session]) -> ArrayRef {
    let value = |session: &Session| match property {
        WindowProperty::Start => session.start,
        WindowProperty::End => session.end,
        WindowProperty::Time => clock.window_time(session.end),
    };
    Arc::new(TimestampMillisecondArray::from_iter_values(sessions.iter().map(value)))
}

/// Makes the groups of a level and of those below it.
fn grow(levels: &mut Vec<Groups>, spec: &AggregateSpec, level: usize) -> Result<()> {
    while levels.len() <= level {
        let number = i64::try_from(levels.len()).unwrap_or(i64::MAX);
        levels.push(Groups::numbered(spec, number)?);
    }
    Ok(())
}

impl Operator for SessionAggregate {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, _: &mut Output) -> Result<()> {
        let row_count = u32::try_from(batch.len())
            .map_err(|_| Error::internal(format!("a batch of {} rows reaches a window", batch.len())))?;
        self.hasher.hash(&batch.rows)?;
        self.spec.prepare(&batch.rows, &mut self.prepared)?;
        self.all_rows.clear();
        self.all_rows.extend(0..row_count);
        self.key_slots.clear();
        let (keys, hashes) = self.hasher.keys_and_hashes();
        self.sessions.slots(keys, hashes, &self.all_rows, &mut self.key_slots);
        self.place_rows(&batch, row_count, context.now_ms)?;
        self.sequence += u64::from(row_count);
        Ok(())
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        let progress = if self.time.is_event_time { watermark } else { context.now_ms.saturating_sub(1) };
        let mut ended: Vec<(u32, Session)> = Vec::new();
        loop {
            let clock = &self.clock;
            let next = self.sessions.take_ended(|end| clock.last_instant(end) <= progress);
            let is_last = next.is_none();
            ended.extend(next);
            if ended.len() >= ROWS_PER_BATCH || (is_last && !ended.is_empty()) {
                self.emit(&ended, output)?;
                self.drop_ended(&ended);
                ended.clear();
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
        self.levels.iter_mut().for_each(|groups| groups.snapshot(full, writer));
        self.sessions.snapshot(full, writer);
        Ok(())
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        if table == SESSIONS_TABLE {
            return self.sessions.restore(key, value);
        }
        let (level, key) =
            key.split_first_chunk::<8>().ok_or_else(|| Error::internal("a state entry of a session has no level"))?;
        let level = usize::try_from(number_i64(*level))
            .ok()
            .filter(|level| *level <= u16::MAX.into())
            .ok_or_else(|| Error::internal("a checkpoint holds a session of an impossible level"))?;
        grow(&mut self.levels, &self.spec, level)?;
        let sequence = self.levels[level].restore(&self.spec, table, key, value)?;
        self.sequence = self.sequence.max(sequence + 1);
        Ok(())
    }

    fn restored(&mut self, watermark: i64) -> Result<()> {
        if self.time.is_event_time {
            self.progress = watermark;
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.levels.iter().map(Groups::bytes).sum::<usize>() + self.sessions.bytes() + self.hasher.bytes()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::WATERMARK_MAX;
    use crate::operators::testing::{Change, Event, change, run, schema, show, string};
    use proptest::prelude::*;
    use wiesel_core::{DataType, RowKind, TypeKind, Value};
    use wiesel_expr::{AggregateCall, AggregateFunction as F};
    use wiesel_plan::WindowNode;

    const GAP: i64 = 5;

    fn call(function: F, args: &[usize], kind: TypeKind) -> AggregateCall {
        AggregateCall { function, args: args.to_vec(), distinct: false, filter: None, data_type: DataType::new(kind) }
    }

    fn node(input_retracts: bool) -> WindowAggregateNode {
        let kind = WindowKind::Session { gap_ms: GAP };
        let distinct = AggregateCall { distinct: true, ..call(F::Count, &[2], TypeKind::BigInt) };
        WindowAggregateNode {
            window: WindowNode { kind, time_column: 1, is_event_time: true, time_zone: None },
            is_legacy: false,
            keys: vec![0],
            aggregates: vec![
                call(F::CountStar, &[], TypeKind::BigInt),
                call(F::Sum, &[2], TypeKind::BigInt),
                call(F::Max, &[2], TypeKind::BigInt),
                distinct,
            ],
            properties: vec![WindowProperty::Start, WindowProperty::End, WindowProperty::Time],
            input_retracts,
        }
    }

    fn input() -> Schema {
        schema(&[string(), TypeKind::Timestamp(3), TypeKind::BigInt])
    }

    fn output() -> Schema {
        let mut types = vec![string()];
        types.extend(vec![TypeKind::BigInt; 4]);
        types.extend(vec![TypeKind::Timestamp(3); 3]);
        schema(&types)
    }

    fn drive(node: &WindowAggregateNode, events: &[Event]) -> Vec<Change> {
        let new = || -> Box<dyn Operator> { Box::new(SessionAggregate::new(node, &input(), &output()).unwrap()) };
        run(&new, &input(), &output(), 0, events)
    }

    fn rows(texts: &[&str]) -> Event {
        Event::Rows(texts.iter().map(|text| change(text)).collect())
    }

    fn at(watermark: i64) -> Event {
        Event::Advance(watermark, 0)
    }

    #[test]
    fn a_session_ends_a_gap_after_its_last_row_and_is_told_once() {
        let cases: [(&[Event], &[&str]); 4] = [
            (&[rows(&["+I a @1 1", "+I a @4 2", "+I b @2 7", "+I a @20 3"]), at(7)], &["+I b 1 7 7 1 @2 @7 @6"]),
            // At exactly the gap a row still joins; one more and it opens another session.
            (
                &[rows(&["+I a @0 1", "+I a @5 1", "+I a @11 1"]), at(WATERMARK_MAX)],
                &["+I a 2 2 1 1 @0 @10 @9", "+I a 1 1 1 1 @11 @16 @15"],
            ),
            // The row in the middle joins what stood apart.
            (&[rows(&["+I a @0 1", "+I a @9 2"]), at(1), rows(&["+I a @5 3"]), at(13)], &["+I a 3 6 3 3 @0 @14 @13"]),
            // Late alone, but part of a session that is open.
            (
                &[rows(&["+I a @9 2"]), at(11), rows(&["+I a @5 3", "+I a @3 1", "+I b @3 1"]), at(WATERMARK_MAX)],
                &["+I a 3 6 3 3 @3 @14 @13"],
            ),
        ];
        for (events, expected) in cases {
            assert_eq!(show(&drive(&node(false), events)), expected, "{events:?}");
            let restarted: Vec<Event> = events.iter().flat_map(|e| [e.clone(), Event::Restart(false)]).collect();
            assert_eq!(show(&drive(&node(false), &restarted)), expected, "{restarted:?}");
        }
    }

    #[test]
    fn retracted_rows_leave_their_session_and_an_empty_one_is_not_told() {
        let events = [
            rows(&["+I a @1 5", "+I a @3 7", "+I b @1 1"]),
            at(0),
            Event::Restart(false),
            rows(&["-U a @3 7", "-D b @1 1"]),
            at(WATERMARK_MAX),
        ];
        assert_eq!(show(&drive(&node(true), &events)), ["+I a 1 5 5 1 @1 @8 @7"]);
    }

    #[test]
    fn after_a_restart_a_session_joins_one_that_was_emptied_before() {
        let events = [
            rows(&["+I a @13 1", "+I a @43 2", "+I a @36 3", "-D a @36 3"]),
            at(0),
            Event::Restart(false),
            rows(&["+I a @38 4"]),
            at(WATERMARK_MAX),
        ];
        assert_eq!(show(&drive(&node(true), &events)), ["+I a 1 1 1 1 @13 @18 @17", "+I a 2 6 4 2 @36 @48 @47"]);
    }

    #[test]
    fn processing_time_sessions_follow_the_clock() {
        let mut node = node(false);
        node.window.is_event_time = false;
        let clock = |now_ms: i64| Event::Advance(0, now_ms);
        let events = [
            clock(10),
            rows(&["+I a @0 1"]),
            clock(14),
            rows(&["+I a @0 2"]),
            clock(18),
            Event::Restart(false),
            clock(19),
            rows(&["+I a @0 4"]),
            Event::Advance(WATERMARK_MAX, 20),
        ];
        assert_eq!(show(&drive(&node, &events)), ["+I a 2 3 2 2 @10 @19 @18"]);
    }

    // The reference: each key's rows as lists of sessions, joined row by row.
    fn reference(events: &[Event]) -> Vec<String> {
        let mut open: Vec<(String, i64, i64, Vec<i64>)> = Vec::new();
        let (mut watermark, mut out) = (WATERMARK_MIN, Vec::new());
        for event in events {
            match event {
                Event::Rows(rows) => {
                    for (kind, row) in rows {
                        let (Value::String(key), Value::Timestamp(time), Value::Int(number)) =
                            (&row[0], &row[1], &row[2])
                        else {
                            continue;
                        };
                        let (mut start, mut end) = (*time, time + GAP);
                        let mut members = Vec::new();
                        let (touching, apart): (Vec<_>, Vec<_>) = std::mem::take(&mut open)
                            .into_iter()
                            .partition(|(k, s, e, _)| k == key && *s <= end && *e >= start);
                        open = apart;
                        for (_, s, e, m) in touching {
                            (start, end) = (start.min(s), end.max(e));
                            members.extend(m);
                        }
                        if end - 1 <= watermark {
                            continue;
                        }
                        if kind.is_add() {
                            members.push(*number);
                        } else if let Some(place) = members.iter().position(|m| m == number) {
                            members.remove(place);
                        }
                        open.push((key.clone(), start, end, members));
                    }
                }
                Event::Advance(to, _) => {
                    watermark = *to;
                    for (key, start, end, members) in std::mem::take(&mut open) {
                        if end - 1 > watermark {
                            open.push((key, start, end, members));
                        } else if !members.is_empty() {
                            let distinct: std::collections::BTreeSet<i64> = members.iter().copied().collect();
                            out.push(format!(
                                "+I {key} {} {} {} {} @{start} @{end} @{}",
                                members.len(),
                                members.iter().sum::<i64>(),
                                members.iter().max().unwrap(),
                                distinct.len(),
                                end - 1
                            ));
                        }
                    }
                }
                Event::Flush | Event::Restart(_) => {}
            }
        }
        out
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_gives_the_reference_sessions(
            steps in prop::collection::vec(
                (prop::collection::vec((0..3, 0_i64..60, 0_i64..4, 0..4), 0..8), 0_i64..9, 0..4),
                0..10,
            ),
            input_retracts: bool,
        ) {
            let (mut events, mut watermark) = (Vec::new(), 0);
            for (rows, moves, restart) in steps {
                let mut step_rows: Vec<Change> = Vec::new();
                for (key, time, number, action) in rows {
                    // Takes back the row before, so that both are late or neither.
                    if action == 0 && input_retracts && step_rows.last().is_some_and(|c| c.0 == RowKind::Insert) {
                        let row = step_rows[step_rows.len() - 1].1.clone();
                        step_rows.push((RowKind::Delete, row));
                    } else {
                        step_rows.push(change(&format!("+I k{key} @{time} {number}")));
                    }
                }
                for half in step_rows.chunks(3) {
                    events.push(Event::Rows(half.to_vec()));
                }
                watermark += moves;
                events.push(at(watermark));
                if restart > 1 {
                    events.push(Event::Restart(restart == 2));
                }
            }
            events.push(at(WATERMARK_MAX));
            let mut told = show(&drive(&node(input_retracts), &events));
            let mut expected = reference(&events);
            told.sort();
            expected.sort();
            prop_assert_eq!(told, expected);
        }
    }
}
