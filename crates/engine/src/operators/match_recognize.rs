//! MATCH_RECOGNIZE: finds a row pattern in the rows of each key, in the order of time.
//!
//! - **Input**: inserts. **Output**: the partition columns and the measures, one +I per match.
//! - **State**: rows that wait for the watermark, by time and arrival; per key the partial matches and the rows they took (`nfa.rs`).
//! - **Emits** when the watermark passes the row that completes a match; a match that a partial match of an earlier row may still
//!   overtake waits until that one is decided. Over processing time rows are looked at in the step in which they come.
//! - **Drops state** of a partial match when a row does not fit it, when a match skips it, or when WITHIN is over.
//! - **Late rows**, at or behind the watermark, are dropped and counted.
//! - **Cost per row**: two key encodings and one of the row, an ordered insert and removal, and a step of every partial match of its
//!   key: conditions on the row alone are evaluated for whole batches, those that look back once per partial match.

mod nfa;
mod slots;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, cast::AsArray};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::value::column;
use wiesel_core::{ChangeBatch, DataType, Error, Result, RowKind, Schema, Value};
use wiesel_expr::EvalContext;
use wiesel_plan::MatchRecognizeNode;

use self::nfa::{Candidate, Conditions, Link, MatchedRows, Matches, NO_LINK, Nfa, Row, chain};
use self::slots::{Condition, Local, SlotExpr, View};
use super::ROWS_PER_BATCH;
use super::aggregate::check_version;
use super::sort_key::SortKeys;
use crate::operator::{Operator, Output, StateWriter, WATERMARK_MIN};
use crate::state::codec::{
    Reader, STATE_VERSION, decode_rows, encode_row, number_i64, order_i64, put_bytes, put_varint,
};
use crate::state::group_table::GroupTable;
use crate::state::ordered_table::{OrderedTable, StateValue};
use crate::state::vnode::{KeyHasher, hash_key, vnode_of_key};

/// Rows that wait: time, arrival number, key to the row.
const ROWS_TABLE: u8 = 0;
/// Key to its partial and waiting matches.
const MATCHES_TABLE: u8 = 1;

/// Time and arrival number in front of the key.
const PREFIX_BYTES: usize = 16;

/// See the module's head.
pub struct MatchRecognize {
    schema: Schema,
    types: Vec<DataType>,
    partition: Vec<usize>,
    time_column: Option<usize>,
    nfa: Nfa,
    conditions: Vec<Option<Condition>>,
    measures: Vec<SlotExpr>,
    sort: Option<SortKeys>,
    hasher: KeyHasher,
    waiting: OrderedTable<Box<[u8]>>,
    table: GroupTable,
    /// By slot of the table.
    matches: Vec<Matches>,
    deadlines: BTreeSet<(i64, u32)>,
    /// By slot: what `deadlines` holds.
    deadline_of: Vec<Option<i64>>,
    found: Vec<Found>,
    found_rows: usize,
    progress: i64,
    late_rows: u64,
    sequence: i64,
}

/// A match on its way out.
struct Found {
    rows: MatchedRows,
    time_ms: i64,
}

/// A row whose time has come.
struct Due {
    time_ms: i64,
    slot: u32,
    row: Box<[u8]>,
}

impl MatchRecognize {
    /// Builds the operator of a node that gives `schema`.
    pub fn new(node: &MatchRecognizeNode, input: &Schema, schema: &Schema) -> Result<Self> {
        if let Some(time) = node.time_column {
            let field = input.fields().get(time);
            let ms = ArrowType::Timestamp(TimeUnit::Millisecond, None);
            if field.is_none_or(|f| f.data_type.to_arrow() != ms) {
                return Err(Error::internal("MATCH_RECOGNIZE orders by a column that is no row-time attribute"));
            }
        }
        if schema.len() != node.partition.len() + node.measures.len() {
            return Err(Error::internal("MATCH_RECOGNIZE gives other columns than its keys and measures"));
        }
        let condition = |c: &Option<_>| c.as_ref().map(|c| Condition::new(c, input)).transpose();
        Ok(MatchRecognize {
            schema: schema.clone(),
            types: input.fields().iter().map(|field| field.data_type.clone()).collect(),
            partition: node.partition.clone(),
            time_column: node.time_column,
            nfa: Nfa::new(&node.variables, node.within_ms, node.skip)?,
            conditions: node.variables.iter().map(|v| condition(&v.condition)).collect::<Result<_>>()?,
            measures: node.measures.iter().map(|m| SlotExpr::of(m, input)).collect::<Result<_>>()?,
            sort: (!node.order.is_empty()).then(|| SortKeys::new(node.order.clone())),
            hasher: KeyHasher::new(node.partition.clone()),
            waiting: OrderedTable::default(),
            table: GroupTable::new(0),
            matches: Vec::new(),
            deadlines: BTreeSet::new(),
            deadline_of: Vec::new(),
            found: Vec::new(),
            found_rows: 0,
            progress: WATERMARK_MIN,
            late_rows: 0,
            sequence: 0,
        })
    }

    fn slot(&mut self, key: &[u8]) -> u32 {
        let slot = self.table.slot(key, hash_key(key));
        self.matches.resize_with(self.table.slot_count(), Matches::default);
        self.deadline_of.resize(self.table.slot_count(), None);
        slot
    }

    /// Takes the next rows up to a time out of the table: at most a batch, but all of one time.
    fn take_due(&mut self, until_ms: i64) -> Result<Vec<Due>> {
        let mut due: Vec<Due> = Vec::new();
        while let Some((place, _)) = self.waiting.first(&[]) {
            let (time_ms, _, key) = parts(place)?;
            if time_ms > until_ms || (due.len() >= ROWS_PER_BATCH && due.last().is_some_and(|d| d.time_ms < time_ms)) {
                break;
            }
            let (place, key): (Box<[u8]>, Box<[u8]>) = (place.into(), key.into());
            let slot = self.slot(&key);
            if let Some(row) = self.waiting.remove(&place) {
                due.push(Due { time_ms, slot, row });
            }
        }
        Ok(due)
    }

    /// Looks at rows in order of time.
    fn look_at(&mut self, due: &[Due], context: &EvalContext, output: &mut Output) -> Result<()> {
        let columns = decode_rows(&self.types, due.iter().map(|due| &*due.row))?;
        let options = RecordBatchOptions::new().with_row_count(Some(due.len()));
        let fields: Vec<arrow_schema::Field> = columns
            .iter()
            .enumerate()
            .map(|(i, c)| arrow_schema::Field::new(i.to_string(), c.data_type().clone(), true))
            .collect();
        let batch = RecordBatch::try_new_with_options(Arc::new(arrow_schema::Schema::new(fields)), columns, &options)?;
        let known: Vec<Local> = self
            .conditions
            .iter_mut()
            .map(|c| c.as_mut().map_or(Local::True, |c| c.evaluate_local(&batch, context)))
            .collect();
        for row in self.order_of(due, &batch)? {
            let Due { time_ms, slot, .. } = due[row];
            self.run_out(slot, time_ms)?;
            let matches = &mut self.matches[slot as usize];
            let values = batch.columns().iter().zip(&self.types);
            let at_hand = Arc::new(Row {
                values: values.map(|(column, t)| Value::from_array(column, t, row)).collect(),
                time_ms,
                sequence: matches.next_sequence,
            });
            matches.next_sequence += 1;
            let mut fits = Fits {
                conditions: &mut self.conditions,
                known: &known,
                batch: &batch,
                place: row,
                row: &at_hand,
                context,
            };
            let mut found = Vec::new();
            self.nfa.process(matches, &at_hand, &mut fits, &mut found)?;
            self.keep(found, time_ms);
            self.watch(slot);
            if self.found_rows >= ROWS_PER_BATCH {
                self.emit(context, output)?;
            }
        }
        let mut slots: Vec<u32> = due.iter().map(|due| due.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        slots.into_iter().for_each(|slot| self.settle(slot));
        Ok(())
    }

    /// The rows in the order of time, further sort columns and arrival.
    fn order_of(&mut self, due: &[Due], batch: &RecordBatch) -> Result<Vec<usize>> {
        let mut order: Vec<usize> = (0..due.len()).collect();
        if let Some(sort) = &mut self.sort {
            sort.load(batch)?;
            order.sort_by_cached_key(|row| {
                let mut key = Vec::new();
                sort.append(*row, &mut key);
                (due[*row].time_ms, key)
            });
        }
        Ok(order)
    }

    /// Drops partial matches of a key that WITHIN ends by a time.
    fn run_out(&mut self, slot: u32, time_ms: i64) -> Result<()> {
        while let Some(deadline) = self.deadline_of[slot as usize].filter(|deadline| *deadline <= time_ms) {
            let mut found = Vec::new();
            self.nfa.advance(&mut self.matches[slot as usize], deadline, &mut found)?;
            self.keep(found, deadline);
            self.watch(slot);
        }
        Ok(())
    }

    fn keep(&mut self, found: Vec<MatchedRows>, time_ms: i64) {
        for rows in found {
            self.found_rows += rows.len();
            self.found.push(Found { rows, time_ms });
        }
    }

    /// Notes when the next partial match of a key runs out of time.
    fn watch(&mut self, slot: u32) {
        let deadline = self.nfa.deadline_ms(&self.matches[slot as usize]);
        let known = &mut self.deadline_of[slot as usize];
        if *known != deadline {
            if let Some(old) = known.take() {
                self.deadlines.remove(&(old, slot));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, slot));
            }
            *known = deadline;
        }
    }

    /// Forgets a key without matches; notes the change of others.
    fn settle(&mut self, slot: u32) {
        let matches = &mut self.matches[slot as usize];
        if matches.is_idle() {
            *matches = Matches::default();
            self.table.remove(slot);
        } else {
            self.table.mark(slot, 0);
        }
    }

    fn emit(&mut self, context: &EvalContext, output: &mut Output) -> Result<()> {
        let found = std::mem::take(&mut self.found);
        self.found_rows = 0;
        for found in found.chunks(ROWS_PER_BATCH) {
            let rows: Vec<Vec<(u32, &Row)>> =
                found.iter().map(|f| f.rows.iter().map(|(variable, row)| (*variable, &**row)).collect()).collect();
            let views: Vec<View<'_>> =
                rows.iter().zip(found).map(|(rows, f)| View { rows, time_ms: f.time_ms }).collect();
            let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.len());
            for key in &self.partition {
                let values: Vec<Value> = found
                    .iter()
                    .map(|f| f.rows.first().and_then(|(_, row)| row.values.get(*key)).cloned().unwrap_or(Value::Null))
                    .collect();
                columns.push(column(&self.types[*key].kind, &values));
            }
            for measure in &mut self.measures {
                columns.push(measure.evaluate(&views, context)?);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(found.len()));
            let batch = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
            output.emit(ChangeBatch::inserts(batch));
        }
        Ok(())
    }

    fn encode_matches(&mut self, slot: u32, out: &mut Vec<u8>) -> Result<()> {
        let matches = &mut self.matches[slot as usize];
        matches.compact();
        out.push(STATE_VERSION);
        put_varint(matches.next_sequence, out);
        let mut rows: Vec<&Arc<Row>> = matches.links.iter().map(|link| &link.row).collect();
        rows.sort_unstable_by_key(|row| row.sequence);
        rows.dedup_by_key(|row| row.sequence);
        let columns: Vec<ArrayRef> = self
            .types
            .iter()
            .enumerate()
            .map(|(i, t)| column(&t.kind, &rows.iter().map(|row| row.values[i].clone()).collect::<Vec<_>>()))
            .collect();
        put_varint(rows.len() as u64, out);
        let mut bytes = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            put_varint(row.sequence, out);
            out.extend(row.time_ms.to_le_bytes());
            bytes.clear();
            encode_row(&columns, place, &mut bytes)?;
            put_bytes(&bytes, out);
        }
        put_varint(matches.links.len() as u64, out);
        for link in &matches.links {
            put_varint(u64::from(link.previous), out);
            put_varint(u64::from(link.variable), out);
            let place = rows.partition_point(|row| row.sequence < link.row.sequence);
            put_varint(place as u64, out);
        }
        for candidates in [&matches.partial.0, &matches.complete.0] {
            put_varint(candidates.len() as u64, out);
            for candidate in candidates {
                put_varint(u64::from(candidate.state), out);
                put_varint(u64::from(candidate.link), out);
                put_varint(candidate.first, out);
                out.extend(candidate.first_ms.to_le_bytes());
            }
        }
        Ok(())
    }

    fn decode_matches(&self, value: &[u8]) -> Result<Matches> {
        let damaged = || Error::internal("a state entry of MATCH_RECOGNIZE is damaged");
        let mut reader = Reader::new(value);
        check_version(reader.byte()?)?;
        let number = |reader: &mut Reader<'_>| u32::try_from(reader.varint()?).map_err(|_| damaged());
        let mut matches = Matches { next_sequence: reader.varint()?, ..Matches::default() };
        let (mut places, mut encoded) = (Vec::new(), Vec::new());
        for _ in 0..reader.varint()? {
            places.push((reader.varint()?, reader.i64()?));
            encoded.push(reader.bytes()?);
        }
        let columns = decode_rows(&self.types, encoded.into_iter())?;
        let row = |place: usize| {
            let values = columns.iter().zip(&self.types).map(|(c, t)| Value::from_array(c, t, place)).collect();
            let (sequence, time_ms) = places[place];
            Arc::new(Row { values, time_ms, sequence })
        };
        let rows: Vec<Arc<Row>> = (0..places.len()).map(row).collect();
        for _ in 0..reader.varint()? {
            let (previous, variable) = (number(&mut reader)?, number(&mut reader)?);
            let row = rows.get(number(&mut reader)? as usize).ok_or_else(damaged)?.clone();
            matches.links.push(Link { previous, variable, row });
        }
        for is_complete in [false, true] {
            for _ in 0..reader.varint()? {
                let (state, link) = (number(&mut reader)?, number(&mut reader)?);
                if link != NO_LINK && link as usize >= matches.links.len() {
                    return Err(damaged());
                }
                let candidate = Candidate { state, link, first: reader.varint()?, first_ms: reader.i64()? };
                if is_complete { &mut matches.complete } else { &mut matches.partial }.0.push(candidate);
            }
        }
        Ok(matches)
    }
}

/// Time, arrival number and key of a waiting row.
fn parts(place: &[u8]) -> Result<(i64, i64, &[u8])> {
    let short = || Error::internal("a state entry of a row of MATCH_RECOGNIZE is too short");
    let (time, rest) = place.split_first_chunk::<8>().ok_or_else(short)?;
    let (sequence, key) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    Ok((number_i64(*time), number_i64(*sequence), key))
}

/// The conditions for one row at hand.
struct Fits<'a> {
    conditions: &'a mut [Option<Condition>],
    known: &'a [Local],
    batch: &'a RecordBatch,
    place: usize,
    row: &'a Row,
    context: &'a EvalContext,
}

impl Conditions for Fits<'_> {
    fn fits(&mut self, variable: u32, links: &[Link], last: u32) -> Result<bool> {
        let index = variable as usize;
        let (Some(Some(condition)), Some(known)) = (self.conditions.get_mut(index), self.known.get(index)) else {
            return Ok(true);
        };
        if !condition.fits_alone(known, self.batch, self.place, self.context)? {
            return Ok(false);
        }
        if !condition.is_remote() {
            return Ok(true);
        }
        let mut rows = vec![(variable, self.row)];
        rows.extend(chain(links, last).map(|link| (link.variable, &*link.row)));
        rows.reverse();
        condition.fits_behind(View { rows: &rows, time_ms: self.row.time_ms }, self.context)
    }
}

impl Operator for MatchRecognize {
    fn process(&mut self, _: usize, batch: ChangeBatch, context: &EvalContext, _: &mut Output) -> Result<()> {
        if batch.kinds.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != RowKind::Insert)) {
            return Err(Error::internal("MATCH_RECOGNIZE gets changes other than +I"));
        }
        self.hasher.hash(&batch.rows)?;
        let times = match self.time_column {
            None => None,
            Some(time) => {
                let times = batch.rows.column(time).as_primitive::<TimestampMillisecondType>();
                if times.null_count() > 0 {
                    let name = batch.rows.schema_ref().field(time).name().clone();
                    return Err(Error::data(format!("the time attribute `{name}` of MATCH_RECOGNIZE is NULL"))
                        .hint("filter rows without a time before, or give them one"));
                }
                Some(times)
            }
        };
        // A clock that was set back must not change the order of rows.
        let clock_ms = context.now_ms.max(self.progress);
        let (mut place, mut value) = (Vec::new(), Vec::new());
        for row in 0..batch.len() {
            let time_ms = times.map_or(clock_ms, |times| times.value(row));
            if times.is_some() && time_ms <= self.progress {
                self.late_rows += 1;
                continue;
            }
            place.clear();
            place.extend(order_i64(time_ms));
            place.extend(order_i64(self.sequence));
            place.extend_from_slice(self.hasher.keys().key(row));
            self.sequence += 1;
            value.clear();
            encode_row(batch.rows.columns(), row, &mut value)?;
            self.waiting.put(&place, value.as_slice().into());
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, context: &EvalContext, output: &mut Output) -> Result<i64> {
        let progress = if self.time_column.is_some() { watermark } else { context.now_ms.max(self.progress) };
        loop {
            let due = self.take_due(progress)?;
            if due.is_empty() {
                break;
            }
            self.look_at(&due, context, output)?;
        }
        while let Some((deadline, slot)) = self.deadlines.first().copied().filter(|(d, _)| *d <= progress) {
            self.run_out(slot, deadline)?;
            self.settle(slot);
            if self.found_rows >= ROWS_PER_BATCH {
                self.emit(context, output)?;
            }
        }
        self.emit(context, output)?;
        self.progress = self.progress.max(progress);
        Ok(watermark)
    }

    fn next_timer_ms(&self) -> Option<i64> {
        if self.time_column.is_some() { None } else { self.deadlines.first().map(|(deadline, _)| *deadline) }
    }

    fn snapshot(&mut self, full: bool, writer: &mut dyn StateWriter) -> Result<()> {
        self.table.write_removed(MATCHES_TABLE, full, writer);
        let vnode = |place: &[u8]| vnode_of_key(place.get(PREFIX_BYTES..).unwrap_or_default());
        let mut puts: Vec<(Box<[u8]>, Vec<u8>)> = Vec::new();
        self.waiting.take_changes(full, |place, row| match row {
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
        let mut value = Vec::new();
        for slot in self.table.take_dirty(full) {
            value.clear();
            self.encode_matches(slot, &mut value)?;
            writer.put(MATCHES_TABLE, self.table.vnode(slot), self.table.key(slot), &value);
        }
        Ok(())
    }

    fn restore(&mut self, table: u8, _: u8, key: &[u8], value: &[u8]) -> Result<()> {
        match table {
            ROWS_TABLE => {
                let (_, sequence, _) = parts(key)?;
                self.sequence = self.sequence.max(sequence + 1);
                self.waiting.restore(key, Reader::new(value))
            }
            MATCHES_TABLE => {
                let matches = self.decode_matches(value)?;
                let slot = self.slot(key);
                self.table.set_restored(slot, 0);
                self.matches[slot as usize] = matches;
                self.watch(slot);
                Ok(())
            }
            other => Err(Error::internal(format!("a checkpoint holds a state table {other} of MATCH_RECOGNIZE"))),
        }
    }

    fn restored(&mut self, watermark: i64) -> Result<()> {
        if self.time_column.is_some() {
            self.progress = watermark;
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let row = size_of::<Link>() + size_of::<Row>() + self.types.len() * size_of::<Value>();
        let matches: usize = self
            .matches
            .iter()
            .map(|m| m.links.capacity() * row + (m.partial.0.len() + m.complete.0.len()) * size_of::<Candidate>())
            .sum();
        self.waiting.bytes() + self.table.bytes() + self.hasher.bytes() + matches
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
    use wiesel_core::TypeKind;
    use wiesel_expr::{AggregateFunction, ScalarExpr};
    use wiesel_plan::{AfterMatchSkip, PatternExpr, PatternSlot, PatternVariable, SlotSource, SortColumn};

    fn slot(source: SlotSource, kind: &TypeKind) -> PatternSlot {
        PatternSlot { source, data_type: DataType::new(kind.clone()) }
    }

    fn column_of(index: usize, kind: &TypeKind) -> ScalarExpr {
        ScalarExpr::Column { index, data_type: DataType::new(kind.clone()) }
    }

    /// A comparison of two slots.
    fn compare(operator: &str, slots: [PatternSlot; 2]) -> Option<PatternExpr> {
        let args = vec![column_of(0, &slots[0].data_type.kind), column_of(1, &slots[1].data_type.kind)];
        let function = wiesel_expr::function::lookup(operator).unwrap();
        let expr = ScalarExpr::Call { function, args, data_type: DataType::boolean() };
        Some(PatternExpr { slots: slots.to_vec(), expr })
    }

    fn measure(source: SlotSource, kind: &TypeKind) -> PatternExpr {
        PatternExpr { slots: vec![slot(source, kind)], expr: column_of(0, kind) }
    }

    fn row(variable: usize, from_first: bool, offset: usize, column: usize) -> SlotSource {
        SlotSource::Row { variable: Some(variable), from_first, offset, column }
    }

    /// Falling values, then one that is greater: `A B+ C`, over key, time, value.
    fn dip(within_ms: Option<i64>, skip: AfterMatchSkip) -> MatchRecognizeNode {
        let number = TypeKind::BigInt;
        let at_hand = || slot(SlotSource::Current { column: 2 }, &number);
        let variable = |name: &str, max, condition| PatternVariable {
            name: name.to_owned(),
            min: 1,
            max,
            is_greedy: true,
            condition,
        };
        let all = SlotSource::Row { variable: None, from_first: false, offset: 1, column: 2 };
        MatchRecognizeNode {
            partition: vec![0],
            time_column: Some(1),
            order: Vec::new(),
            variables: vec![
                variable("A", Some(1), None),
                variable("B", None, compare("<", [at_hand(), slot(all, &number)])),
                variable("C", Some(1), compare(">", [at_hand(), slot(row(1, false, 0, 2), &number)])),
            ],
            measures: vec![
                measure(row(0, true, 0, 2), &number),
                measure(
                    SlotSource::Aggregate {
                        variable: Some(1),
                        function: AggregateFunction::Sum,
                        args: vec![column_of(2, &number)],
                    },
                    &number,
                ),
                measure(row(2, false, 0, 2), &number),
                measure(SlotSource::MatchTime, &TypeKind::Timestamp(3)),
            ],
            skip,
            within_ms,
        }
    }

    fn input() -> Schema {
        schema(&[string(), TypeKind::Timestamp(3), TypeKind::BigInt])
    }

    fn drive(node: &MatchRecognizeNode, events: &[Event]) -> Vec<String> {
        let output = schema(&[string(), TypeKind::BigInt, TypeKind::BigInt, TypeKind::BigInt, TypeKind::Timestamp(3)]);
        let new = || -> Box<dyn Operator> { Box::new(MatchRecognize::new(node, &input(), &output).unwrap()) };
        show(&run(&new, &input(), &output, 0, events))
    }

    fn rows(texts: &[&str]) -> Vec<Change> {
        texts.iter().map(|text| change(&format!("+I {text}"))).collect()
    }

    #[test]
    fn a_match_comes_when_the_watermark_passes_its_last_row_and_survives_restarts() {
        let node = dip(None, AfterMatchSkip::PastLastRow);
        let events = [
            Event::Rows(rows(&["a @3 5", "a @1 9", "NULL @1 4", "a @2 7"])),
            Event::Advance(2, 0),
            Event::Rows(rows(&["a @2 1", "a @4 6", "NULL @5 3", "NULL @6 4"])),
            Event::Advance(3, 0),
            Event::Advance(6, 0),
        ];
        let expected = ["+I a 9 12 6 @4", "+I NULL 4 3 4 @6"];
        assert_eq!(drive(&node, &events), expected);
        for full in [false, true] {
            let restarted: Vec<Event> = events.iter().flat_map(|e| [e.clone(), Event::Restart(full)]).collect();
            assert_eq!(drive(&node, &restarted), expected);
        }
    }

    #[test]
    fn a_match_that_waits_is_given_when_within_ends_the_one_it_waits_for() {
        // The fall from 9 may still end with a rise, the fall from 8 does at once, and 5 ms after 9 only that one is left.
        let mut node = dip(Some(5), AfterMatchSkip::ToNextRow);
        node.variables[1].is_greedy = false;
        node.variables[2].condition = compare(
            ">",
            [slot(SlotSource::Current { column: 2 }, &TypeKind::BigInt), slot(row(0, true, 0, 2), &TypeKind::BigInt)],
        );
        node.variables[1].condition = None;
        let events = [
            Event::Rows(rows(&["a @0 9", "a @1 6", "a @2 5", "a @3 8"])),
            Event::Advance(4, 0),
            Event::Restart(false),
            Event::Advance(5, 0),
            Event::Advance(WATERMARK_MAX, 0),
        ];
        assert_eq!(drive(&node, &events), ["+I a 6 5 8 @5"]);
    }

    #[test]
    fn rows_of_one_time_are_sorted_by_the_further_columns() {
        let mut node = dip(None, AfterMatchSkip::PastLastRow);
        node.order = vec![SortColumn { column: 2, descending: true, nulls_first: false }];
        let events = [Event::Rows(rows(&["a @1 5", "a @1 9", "a @1 7", "a @2 6"])), Event::Advance(2, 0)];
        assert_eq!(drive(&node, &events), ["+I a 9 12 6 @2"]);
    }

    proptest! {
        #[test]
        fn any_cut_and_any_restart_finds_the_same_matches(
            values in prop::collection::vec((0..2, 0_i64..6), 0..40),
            cuts in prop::collection::vec((0_usize..9, 0_u8..4), 0..12),
            within in prop::option::of(1_i64..20),
            to_next: bool,
        ) {
            let skip = if to_next { AfterMatchSkip::ToNextRow } else { AfterMatchSkip::PastLastRow };
            let node = dip(within, skip);
            let all: Vec<Change> =
                (0..).zip(&values).map(|(t, (k, v))| change(&format!("+I k{k} @{t} {v}"))).collect();
            let end = Event::Advance(WATERMARK_MAX, 0);
            let (mut events, mut rest, mut time) = (Vec::new(), &all[..], 0_i64);
            for (length, what) in cuts {
                let (head, tail) = rest.split_at(length.min(rest.len()));
                events.push(Event::Rows(head.to_vec()));
                time += i64::try_from(head.len()).unwrap();
                rest = tail;
                if what > 0 {
                    events.push(Event::Advance(time - 1, 0));
                }
                if what > 1 {
                    events.push(Event::Restart(what == 3));
                }
            }
            events.extend([Event::Rows(rest.to_vec()), end.clone()]);
            let mut cut = drive(&node, &events);
            let mut whole = drive(&node, &[Event::Rows(all), end]);
            cut.sort();
            whole.sort();
            prop_assert_eq!(cut, whole);
        }
    }
}
