//! Window join: rows of both sides that carry the same window meet when it ends.
//!
//! - **Input**: inserts on both sides, each row with its `window_end`. **Output**: left columns, then right columns; of a semi or anti join
//!   the left ones; +I only.
//! - **State**: the rows of both sides. The key of an entry is window end, join key, arrival number. A window that lies in the store is
//!   told in several calls of `advance`, one virtual node after the other.
//! - **Emits** in the order of window ends when the watermark reaches a window's last millisecond or the clock its end: per key the pairs
//!   in the order of left rows (of right rows in a RIGHT join), rows without a partner padded. The window's state is dropped then.
//! - **Late rows** (their window has been emitted) are dropped and counted.
//! - **Cost per row**: key and row encoding and one ordered insert; per pair one copy of its columns.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_select::take::take;
use wiesel_core::{ChangeBatch, DataType, Error, Result, RowKind, Schema};
use wiesel_expr::EvalContext;
use wiesel_plan::join::WindowEnds;
use wiesel_plan::{JoinKey, JoinKind, JoinNode, WindowKind, WindowNode};

use super::ROWS_PER_BATCH;
use super::join::{PADDED, PairCondition, take_padded};
use super::window::Windows;
use super::window_parts::WindowParts;
use super::window_rows::{PlacedRow, WindowRows};
use crate::operator::{Operator, OperatorContext, Output, StateWriter, WATERMARK_MIN};
use crate::state::codec::{decode_rows, encode_row, number_i64, order_i64};
use crate::state::store::StateStore;
use crate::state::vnode::KeyHasher;

/// Pairs put together at a time, unless one row alone makes more.
const PAIRS_PER_CHUNK: usize = 4 * ROWS_PER_BATCH;

struct Side {
    end_column: usize,
    hasher: KeyHasher,
    types: Vec<DataType>,
    /// Key columns where NULL meets nobody.
    strict: Vec<usize>,
    rows: WindowRows,
}

/// The rows of one side of a window that ends, sorted by key.
struct Members {
    columns: Vec<ArrayRef>,
    /// Key bytes and whether the key may meet another.
    keys: Vec<(Box<[u8]>, bool)>,
}

/// See the module's head.
pub struct WindowJoin {
    kind: JoinKind,
    sides: [Side; 2],
    condition: Option<PairCondition>,
    windows: Windows,
    is_event_time: bool,
    schema: Schema,
    parts: WindowParts,
    progress: i64,
    sequence: i64,
    late_rows: u64,
    place: Vec<u8>,
    value: Vec<u8>,
}

impl Side {
    fn new(port: usize, keys: &[JoinKey], end_column: usize, input: &Schema) -> Result<Side> {
        let column = |key: &JoinKey| if port == 0 { key.left } else { key.right };
        let columns: Vec<usize> = keys.iter().map(column).collect();
        let types: Vec<DataType> = input.fields().iter().map(|field| field.data_type.clone()).collect();
        let key_types = columns
            .iter()
            .map(|c| {
                types.get(*c).cloned().ok_or_else(|| Error::internal("a window join reads a column that is not there"))
            })
            .collect::<Result<_>>()?;
        Ok(Side {
            end_column,
            hasher: KeyHasher::new(columns),
            types,
            strict: keys.iter().filter(|key| !key.null_safe).map(column).collect(),
            rows: WindowRows::new(u8::try_from(port).unwrap_or(u8::MAX), key_types),
        })
    }

    /// Rows of a window, in the order of key and arrival.
    fn members(&self, rows: &[PlacedRow]) -> Result<Members> {
        let key_of = |(place, _): &PlacedRow| {
            let (key, rest) = self.rows.split(place)?;
            // The byte behind the key tells whether the key may meet another.
            Ok((key.into(), rest.first() == Some(&1)))
        };
        let keys = rows.iter().map(key_of).collect::<Result<_>>()?;
        Ok(Members { columns: decode_rows(&self.types, rows.iter().map(|(_, row)| &**row))?, keys })
    }
}

impl WindowJoin {
    /// Builds the operator that gives `schema`.
    pub fn new(
        node: &JoinNode,
        ends: &WindowEnds,
        inputs: &[&Schema],
        schema: &Schema,
        context: &OperatorContext,
    ) -> Result<Self> {
        let [left, right] = inputs else { return Err(Error::internal("a window join has two inputs")) };
        let width = left.len() + if node.kind.is_semi_or_anti() { 0 } else { right.len() };
        if left.len() != node.left_width || schema.len() != width {
            return Err(Error::internal("a window join gives other columns than its inputs have"));
        }
        let window = WindowNode {
            kind: WindowKind::Attached,
            time_column: ends.left,
            is_event_time: ends.is_event_time,
            time_zone: ends.time_zone.clone(),
        };
        Ok(WindowJoin {
            kind: node.kind,
            sides: [Side::new(0, &node.keys, ends.left, left)?, Side::new(1, &node.keys, ends.right, right)?],
            condition: node.condition.as_ref().map(|c| PairCondition::new(c, node.left_width)),
            windows: Windows::new(&window)?,
            is_event_time: ends.is_event_time,
            schema: schema.clone(),
            parts: WindowParts::new(context, !node.keys.is_empty()),
            progress: WATERMARK_MIN,
            sequence: 0,
            late_rows: 0,
            place: Vec::new(),
            value: Vec::new(),
        })
    }

    fn next_window_end(&self) -> Option<i64> {
        let ends = self.sides.iter().filter_map(|side| side.rows.next_window_end());
        ends.min()
    }

    /// Tells a window; returns whether that was all of it.
    fn fire(&mut self, window_end: i64, context: &EvalContext, output: &mut Output) -> Result<bool> {
        if self.sides.iter().all(|side| !side.rows.is_stored(window_end)) {
            let taken = self.sides.each_mut().map(|side| side.rows.take(window_end));
            self.tell(&taken, context, output)?;
            return Ok(true);
        }
        let mut parts = std::mem::take(&mut self.parts);
        let is_told = parts.tell(|vnode| {
            let [left, right] = self.sides.each_mut().map(|side| side.rows.take_vnode(window_end, vnode));
            self.tell(&[left?, right?], context, output)
        })?;
        self.parts = parts;
        if is_told {
            self.sides.iter_mut().for_each(|side| side.rows.done(window_end));
        }
        Ok(is_told)
    }

    /// Emits what rows of both sides make, all rows of a key being among them; returns how many those are.
    fn tell(&mut self, rows: &[Vec<PlacedRow>; 2], context: &EvalContext, output: &mut Output) -> Result<usize> {
        let [left, right] = [self.sides[0].members(&rows[0])?, self.sides[1].members(&rows[1])?];
        let mut count = 0;
        let mut picks = Picks::default();
        let (mut from_left, mut from_right) = (0, 0);
        while from_left < left.keys.len() || from_right < right.keys.len() {
            let key = match (left.keys.get(from_left), right.keys.get(from_right)) {
                (Some(a), Some(b)) => a.min(b),
                (Some(key), None) | (None, Some(key)) => key,
                (None, None) => break,
            }
            .clone();
            let until =
                |members: &Members, from: usize| from + members.keys[from..].iter().take_while(|k| **k == key).count();
            let (to_left, to_right) = (until(&left, from_left), until(&right, from_right));
            self.join_key((&left, from_left..to_left), (&right, from_right..to_right), key.1, context, &mut picks)?;
            (from_left, from_right) = (to_left, to_right);
            if picks.left.len() >= PAIRS_PER_CHUNK {
                count += picks.left.len();
                self.emit(&left, &right, &mut picks, output)?;
            }
        }
        count += picks.left.len();
        self.emit(&left, &right, &mut picks, output)?;
        Ok(count)
    }

    /// Decides on the rows of one key.
    fn join_key(
        &mut self,
        (left, lefts): (&Members, std::ops::Range<usize>),
        (right, rights): (&Members, std::ops::Range<usize>),
        may_meet: bool,
        context: &EvalContext,
        picks: &mut Picks,
    ) -> Result<()> {
        let number = |row: usize| u32::try_from(row).unwrap_or(PADDED);
        // A RIGHT join goes by the right rows, every other by the left ones.
        let by_right = self.kind == JoinKind::Right;
        let (outer, inner) = if by_right { (rights.clone(), lefts.clone()) } else { (lefts.clone(), rights.clone()) };
        let mut met_inner = vec![false; inner.len()];
        let step = (PAIRS_PER_CHUNK / inner.len().max(1)).max(1);
        for first in outer.clone().step_by(step) {
            let rows = first..(first + step).min(outer.end);
            let pairs: Vec<(u32, u32)> = if may_meet {
                rows.clone().flat_map(|o| inner.clone().map(move |i| (number(o), number(i)))).collect()
            } else {
                Vec::new()
            };
            let meets = match &mut self.condition {
                Some(condition) if !pairs.is_empty() => {
                    let of_left = |pair: &(u32, u32)| if by_right { pair.1 } else { pair.0 };
                    let of_right = |pair: &(u32, u32)| if by_right { pair.0 } else { pair.1 };
                    let left_rows = UInt32Array::from(pairs.iter().map(of_left).collect::<Vec<_>>());
                    let right_rows = UInt32Array::from(pairs.iter().map(of_right).collect::<Vec<_>>());
                    let column = |side: usize, column: usize| {
                        let (members, rows) = if side == 0 { (left, &left_rows) } else { (right, &right_rows) };
                        Ok(take(&members.columns[column], rows, None)?)
                    };
                    Some(condition.evaluate(column, pairs.len(), context)?)
                }
                _ => None,
            };
            let mut pair = 0;
            for row in rows {
                let mut has_met = false;
                for (place, partner) in inner.clone().enumerate().take(if may_meet { inner.len() } else { 0 }) {
                    let is_met = meets.as_ref().is_none_or(|meets| meets.value(pair));
                    pair += 1;
                    if !is_met {
                        continue;
                    }
                    has_met = true;
                    met_inner[place] = true;
                    if !self.kind.is_semi_or_anti() {
                        let (l, r) = if by_right { (partner, row) } else { (row, partner) };
                        picks.push(number(l), number(r));
                    }
                }
                match self.kind {
                    JoinKind::Semi if has_met => picks.push(number(row), PADDED),
                    JoinKind::Anti | JoinKind::Left | JoinKind::Full if !has_met => picks.push(number(row), PADDED),
                    JoinKind::Right if !has_met => picks.push(PADDED, number(row)),
                    _ => {}
                }
            }
        }
        if self.kind == JoinKind::Full {
            for (place, row) in inner.enumerate() {
                if !met_inner[place] {
                    picks.push(PADDED, number(row));
                }
            }
        }
        Ok(())
    }

    fn emit(&self, left: &Members, right: &Members, picks: &mut Picks, output: &mut Output) -> Result<()> {
        for (lefts, rights) in picks.left.chunks(ROWS_PER_BATCH).zip(picks.right.chunks(ROWS_PER_BATCH)) {
            let mut columns = take_padded(&left.columns, lefts, &self.sides[0].types)?;
            if !self.kind.is_semi_or_anti() {
                columns.extend(take_padded(&right.columns, rights, &self.sides[1].types)?);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(lefts.len()));
            let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
            output.emit(ChangeBatch::inserts(rows));
        }
        picks.left.clear();
        picks.right.clear();
        Ok(())
    }
}

/// Pairs of rows to give, [`PADDED`] where a side has none.
#[derive(Default)]
struct Picks {
    left: Vec<u32>,
    right: Vec<u32>,
}

impl Picks {
    fn push(&mut self, left: u32, right: u32) {
        self.left.push(left);
        self.right.push(right);
    }
}

impl Operator for WindowJoin {
    fn process(&mut self, port: usize, batch: ChangeBatch, _: &EvalContext, _: &mut Output) -> Result<()> {
        if batch.kinds.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != RowKind::Insert)) {
            return Err(Error::internal("a window join gets changes other than +I"));
        }
        let Some(side) = self.sides.get_mut(port) else { return Err(Error::internal("a window join has two inputs")) };
        side.hasher.hash(&batch.rows)?;
        let ends = batch.rows.column(side.end_column).as_primitive_opt::<TimestampMillisecondType>();
        let ends = ends.ok_or_else(|| Error::internal("the window end of a window join is no TIMESTAMP(3)"))?;
        for row in 0..batch.len() {
            if ends.is_null(row) || self.windows.last_instant(ends.value(row)) <= self.progress {
                self.late_rows += 1;
                continue;
            }
            let has_null = side.strict.iter().any(|column| batch.rows.column(*column).is_null(row));
            self.place.clear();
            self.place.extend(order_i64(ends.value(row)));
            self.place.extend_from_slice(side.hasher.keys().key(row));
            self.place.push(u8::from(!has_null));
            self.place.extend(order_i64(self.sequence));
            self.sequence += 1;
            self.value.clear();
            encode_row(batch.rows.columns(), row, &mut self.value)?;
            side.rows.put(&self.place, &self.value);
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        let progress = if self.is_event_time { watermark } else { context.now_ms.saturating_sub(1) };
        while let Some(window_end) = self.next_window_end() {
            if self.windows.last_instant(window_end) > progress {
                break;
            }
            if !self.fire(window_end, context, output)? {
                return Ok(self.windows.held_back(window_end, self.is_event_time, watermark));
            }
        }
        self.progress = self.progress.max(progress);
        Ok(watermark)
    }

    fn is_firing(&self) -> bool {
        self.parts.is_open()
    }

    fn next_timer_ms(&self) -> Option<i64> {
        if self.is_event_time {
            return None;
        }
        Some(self.windows.last_instant(self.next_window_end()?).saturating_add(1))
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        for side in &mut self.sides {
            side.rows.snapshot(full, writer);
        }
        Ok(())
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(arrival) = key.last_chunk::<8>() {
            self.sequence = self.sequence.max(number_i64(*arrival) + 1);
        }
        match self.sides.get_mut(usize::from(table)) {
            Some(side) => side.rows.restore(key, value),
            None => Err(Error::internal(format!("a checkpoint holds a state table {table} of a window join"))),
        }
    }

    fn restored(&mut self, watermark: i64) -> Result<()> {
        if self.is_event_time {
            self.progress = watermark;
        }
        Ok(())
    }

    fn spills(&self) -> bool {
        true
    }

    fn evict(&mut self, store: &StateStore) -> Result<()> {
        self.sides.iter_mut().for_each(|side| side.rows.evict(store));
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.sides.iter().map(|side| side.rows.bytes() + side.hasher.bytes()).sum()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::WATERMARK_MAX;
    use crate::operators::testing::{
        Change, Checkpoint, SpillStore, batch, change, changes, context, one_worker, schema, show, string,
    };
    use proptest::prelude::*;
    use wiesel_core::{TypeKind, Value};
    use wiesel_plan::JoinForm;

    #[derive(Debug, Clone)]
    enum Event {
        Rows(usize, Vec<Change>),
        Advance(i64),
        Restart(bool),
    }

    // Both sides: k STRING, window_end TIMESTAMP(3), n BIGINT; joined by key and window.
    fn input() -> Schema {
        schema(&[string(), TypeKind::Timestamp(3), TypeKind::BigInt])
    }

    fn node(kind: JoinKind) -> (JoinNode, WindowEnds) {
        let key = |column| JoinKey { left: column, right: column, null_safe: false };
        let ends = WindowEnds { left: 1, right: 1, is_event_time: true, time_zone: None };
        let form = JoinForm::Window(ends.clone());
        (JoinNode { kind, left_width: 3, keys: vec![key(0), key(1)], condition: None, form }, ends)
    }

    /// The rows of all events, in the order of their texts; the same when the state goes to the store after every event.
    fn drive(kind: JoinKind, events: &[Event]) -> Vec<String> {
        let told = drive_once(kind, events, false);
        if events.len() <= 8 || events.len().is_multiple_of(4) {
            assert_eq!(drive_once(kind, events, true), told, "spilled each time");
        }
        told
    }

    fn drive_once(kind: JoinKind, events: &[Event], spills: bool) -> Vec<String> {
        let mut store = SpillStore::default();
        let (node, ends) = node(kind);
        let mut fields = input().fields().to_vec();
        if !kind.is_semi_or_anti() {
            fields.extend(input().fields().to_vec());
        }
        let output_schema = Schema::new(fields);
        let new = || WindowJoin::new(&node, &ends, &[&input(), &input()], &output_schema, &one_worker()).unwrap();
        let (mut operator, mut checkpoint, mut watermark) = (new(), Checkpoint::default(), WATERMARK_MIN);
        let mut output = Output::default();
        for event in events {
            match event {
                Event::Rows(port, rows) => {
                    operator.process(*port, batch(&input(), rows), &context(0), &mut output).unwrap();
                }
                Event::Advance(to) => {
                    watermark = *to;
                    operator.advance(watermark, &context(0), &mut output).unwrap();
                    while operator.is_firing() {
                        operator.advance(watermark, &context(0), &mut output).unwrap();
                    }
                }
                Event::Restart(full) => {
                    store.snapshot(*full, &mut operator, &mut checkpoint);
                    operator = new();
                    for ((table, key, vnode), value) in checkpoint.0.iter().rev() {
                        operator.restore(*table, *vnode, key, value).unwrap();
                    }
                    operator.restored(watermark).unwrap();
                }
            }
            if spills {
                store.spill(&mut operator, &mut checkpoint);
            }
        }
        let mut told = show(&changes(&output_schema, &output));
        told.sort();
        told
    }

    fn rows(port: usize, texts: &[&str]) -> Event {
        Event::Rows(port, texts.iter().map(|text| change(&format!("+I {text}"))).collect())
    }

    #[test]
    fn rows_meet_when_their_window_ends() {
        let events = [
            rows(0, &["a @10 1", "b @10 2", "NULL @10 3", "a @20 4"]),
            rows(1, &["a @10 5", "a @10 6", "c @10 7", "NULL @10 8"]),
            Event::Advance(9),
            // Late on both sides.
            rows(0, &["c @10 9"]),
            rows(1, &["b @10 9"]),
            Event::Advance(WATERMARK_MAX),
        ];
        let pairs = ["+I a @10 1 a @10 5", "+I a @10 1 a @10 6"];
        let left = ["+I NULL @10 3 NULL NULL NULL", "+I a @20 4 NULL NULL NULL", "+I b @10 2 NULL NULL NULL"];
        let right = ["+I NULL NULL NULL NULL @10 8", "+I NULL NULL NULL c @10 7"];
        let cases: [(JoinKind, Vec<&str>); 6] = [
            (JoinKind::Inner, pairs.to_vec()),
            (JoinKind::Left, [&pairs[..], &left].concat()),
            (JoinKind::Right, [&pairs[..], &right].concat()),
            (JoinKind::Full, [&pairs[..], &left, &right].concat()),
            (JoinKind::Semi, vec!["+I a @10 1"]),
            (JoinKind::Anti, vec!["+I NULL @10 3", "+I a @20 4", "+I b @10 2"]),
        ];
        for (kind, mut expected) in cases {
            expected.sort_unstable();
            assert_eq!(drive(kind, &events), expected, "{kind:?}");
            let restarted: Vec<Event> = events.iter().flat_map(|e| [e.clone(), Event::Restart(false)]).collect();
            assert_eq!(drive(kind, &restarted), expected, "{kind:?} with restarts");
        }
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_gives_the_reference_pairs(
            steps in prop::collection::vec((0_usize..2, 0..3, 1_i64..5, 0_u8..8), 0..40),
        ) {
            let mut events = Vec::new();
            let (mut left, mut right): (Vec<Vec<Value>>, Vec<Vec<Value>>) = (Vec::new(), Vec::new());
            for (number, (port, key, window, what)) in steps.iter().enumerate() {
                let (kind, row) = change(&format!("+I k{key} @{} {number}", window * 10));
                if *port == 0 { left.push(row.clone()) } else { right.push(row.clone()) }
                events.push(Event::Rows(*port, vec![(kind, row)]));
                if *what < 2 {
                    events.push(Event::Restart(*what == 0));
                }
            }
            events.push(Event::Advance(WATERMARK_MAX));
            let insert = |row: Vec<Value>| (RowKind::Insert, row);
            let nulls = || vec![Value::Null; 3];
            for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti] {
                let meet = |l: &Vec<Value>, r: &Vec<Value>| l[..2] == r[..2];
                let mut expected: Vec<Change> = Vec::new();
                for l in &left {
                    let partners: Vec<_> = right.iter().filter(|r| meet(l, r)).collect();
                    match kind {
                        JoinKind::Semi | JoinKind::Anti => {
                            if partners.is_empty() == (kind == JoinKind::Anti) {
                                expected.push(insert(l.clone()));
                            }
                        }
                        _ => {
                            expected.extend(partners.iter().map(|r| insert([l.clone(), (*r).clone()].concat())));
                            if partners.is_empty() && kind.pads_right() {
                                expected.push(insert([l.clone(), nulls()].concat()));
                            }
                        }
                    }
                }
                for r in right.iter().filter(|r| kind.pads_left() && left.iter().all(|l| !meet(l, r))) {
                    expected.push(insert([nulls(), r.clone()].concat()));
                }
                let mut expected = show(&expected);
                expected.sort();
                prop_assert_eq!(drive(kind, &events), expected);
            }
        }
    }
}
