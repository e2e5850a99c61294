//! What the operators' tests share: rows as values, changelogs as text, a checkpoint in memory, and a driver that cuts input anywhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use wiesel_core::value::column;
use wiesel_core::{ChangeBatch, DataType, Field, RowKind, Schema, TypeKind, Value};
use wiesel_expr::{EvalContext, Session};

use crate::checkpoint::run::{RunBuffer, RunParts};
use crate::operator::{Operator, OperatorContext, Output, StateWriter, WATERMARK_MIN};
use crate::state::store::{StateStore, Store};

pub(crate) type Change = (RowKind, Vec<Value>);

pub(crate) fn schema(types: &[TypeKind]) -> Schema {
    Schema::new(types.iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), DataType::new(t.clone()))).collect())
}

pub(crate) fn string() -> TypeKind {
    DataType::string().kind
}

pub(crate) fn batch(schema: &Schema, changes: &[Change]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, f)| column(&f.data_type.kind, &changes.iter().map(|(_, row)| row[i].clone()).collect::<Vec<_>>()))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(changes.len()));
    let rows = RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options).unwrap();
    ChangeBatch::new(rows, changes.iter().map(|(kind, _)| *kind).collect())
}

pub(crate) fn changes(schema: &Schema, output: &Output) -> Vec<Change> {
    let mut out = Vec::new();
    for batch in &output.batches {
        for row in 0..batch.len() {
            let values = schema
                .fields()
                .iter()
                .enumerate()
                .map(|(i, f)| Value::from_array(batch.rows.column(i), &f.data_type, row))
                .collect();
            out.push((batch.kind(row), values));
        }
    }
    out
}

pub(crate) fn context(now_ms: i64) -> EvalContext {
    EvalContext {
        now_ms,
        seed: 0,
        watermark_ms: WATERMARK_MIN,
        session: Session { time_zone: "UTC".into(), legacy_cast: false },
    }
}

pub(crate) fn one_worker() -> OperatorContext {
    OperatorContext { worker: 0, workers: 1, is_batch: false }
}

/// `"a" 1 NULL` as a row: numbers as BIGINT-like values, words as strings.
pub(crate) fn row(text: &str) -> Vec<Value> {
    text.split_whitespace()
        .map(|word| match word.parse::<i64>() {
            Ok(number) => Value::Int(number),
            Err(_) if word == "NULL" => Value::Null,
            Err(_) if word == "TRUE" => Value::Boolean(true),
            Err(_) if word == "FALSE" => Value::Boolean(false),
            Err(_) => match word.strip_prefix('@').and_then(|ms| ms.parse().ok()) {
                Some(ms) => Value::Timestamp(ms),
                None => Value::String(word.to_owned()),
            },
        })
        .collect()
}

/// `+I a 1` as a change.
pub(crate) fn change(text: &str) -> Change {
    let (kind, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let kind = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete]
        .into_iter()
        .find(|k| k.symbol() == kind)
        .unwrap_or_else(|| panic!("no kind in `{text}`"));
    (kind, row(rest))
}

pub(crate) fn show(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|(kind, values)| {
            let values: Vec<String> = values
                .iter()
                .map(|value| match value {
                    Value::Null => "NULL".into(),
                    Value::Int(v) => v.to_string(),
                    Value::Boolean(v) => v.to_string().to_uppercase(),
                    Value::Decimal(v) => v.to_string(),
                    Value::Double(v) => v.to_string(),
                    Value::Float(v) => v.to_string(),
                    Value::Timestamp(v) => format!("@{v}"),
                    Value::String(v) => v.clone(),
                    other => format!("{other:?}"),
                })
                .collect();
            format!("{kind} {}", values.join(" ")).trim_end().to_owned()
        })
        .collect()
}

/// A checkpoint in memory.
#[derive(Debug, Default, Clone)]
pub(crate) struct Checkpoint(pub(crate) BTreeMap<(u8, Vec<u8>, u8), Vec<u8>>);

impl StateWriter for Checkpoint {
    fn put(&mut self, table: u8, vnode: u8, key: &[u8], value: &[u8]) {
        self.0.insert((table, key.to_vec(), vnode), value.to_vec());
    }
    fn delete(&mut self, table: u8, vnode: u8, key: &[u8]) {
        let found = self.0.remove(&(table, key.to_vec(), vnode));
        assert!(found.is_some(), "an operator deletes what no checkpoint holds: {table} {vnode} {key:?}");
    }
    fn delete_prefix(&mut self, table: u8, prefix: &[u8]) {
        self.0.retain(|(t, key, _), _| *t != table || !key.starts_with(prefix));
    }
}

/// One thing that happens to an operator.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Rows(Vec<Change>),
    /// The step ends: watermark, clock.
    Advance(i64, i64),
    /// The last step before a checkpoint ends: what is held back is told.
    Flush,
    /// Checkpoint (full or not), and go on with a fresh operator restored from it.
    Restart(bool),
}

/// Runs events through an operator that `new` makes, and returns all changes. One that can keep its state in the store must give the same
/// when all of it goes there after every event.
pub(crate) fn run(
    new: &dyn Fn() -> Box<dyn Operator>,
    input: &Schema,
    output_schema: &Schema,
    start_ms: i64,
    events: &[Event],
) -> Vec<Change> {
    let changes = run_once(new, input, output_schema, start_ms, events, false);
    // Of the many runs of a property every fourth, by its length, because each trip to the store takes a while.
    if new().spills() && (events.len() <= 8 || events.len().is_multiple_of(4)) {
        let [mut spilled, mut kept] =
            [run_once(new, input, output_schema, start_ms, events, true), changes.clone()].map(|c| show(&c));
        if changes.iter().all(|(kind, _)| *kind == RowKind::Insert) {
            // Keys of a window come in no fixed order.
            spilled.sort();
            kept.sort();
        }
        assert_eq!(spilled, kept, "spilled each time");
    }
    if events.len() <= 8 || events.len() % 4 == 1 {
        run_sliced(new, input, output_schema, start_ms, events);
    }
    changes
}

/// Takes a checkpoint after every event, one entry at a time while the next event is on its way. It must hold what a twin of the operator
/// writes at once at the same place, and change nothing of what is emitted.
fn run_sliced(
    new: &dyn Fn() -> Box<dyn Operator>,
    input: &Schema,
    output_schema: &Schema,
    start_ms: i64,
    events: &[Event],
) {
    let (mut operator, mut twin) = (new(), new());
    let (mut sliced, mut whole) = (Checkpoint::default(), Checkpoint::default());
    let (mut output, mut twin_output) = (Output::default(), Output::default());
    let (mut parts, mut is_written) = (RunParts::default(), true);
    let mut now_ms = start_ms;
    for (number, event) in events.iter().enumerate() {
        for (operator, output) in [(&mut operator, &mut output), (&mut twin, &mut twin_output)] {
            match event {
                Event::Rows(rows) => operator.process(0, batch(input, rows), &context(now_ms), output).unwrap(),
                Event::Advance(to, now) => {
                    now_ms = *now;
                    operator.advance(*to, &context(now_ms), output).unwrap();
                }
                Event::Flush => operator.flush(&context(now_ms), output).unwrap(),
                Event::Restart(_) => {}
            }
        }
        // Every second checkpoint takes two events.
        is_written = is_written || operator.snapshot_part(1, &mut parts).unwrap();
        if number % 3 == 1 {
            continue;
        }
        while !is_written {
            is_written = operator.snapshot_part(1, &mut parts).unwrap();
        }
        for buffer in std::mem::take(&mut parts).into_buffers() {
            buffer.replay(&mut sliced).unwrap();
        }
        assert_eq!(sliced.0, whole.0, "the checkpoint before event {number}");
        let full = number % 5 == 4;
        if full {
            (sliced, whole) = (Checkpoint::default(), Checkpoint::default());
        }
        twin.snapshot(full, &mut whole).unwrap();
        is_written = operator.freeze(full, &mut parts).unwrap();
    }
    let told = |output: &Output| show(&changes(output_schema, output));
    assert_eq!(told(&output), told(&twin_output), "a checkpoint in slices changes nothing");
}

/// A store and how many operators have used it: making one takes as long as all that a test does with it.
struct TestStore {
    store: Arc<Store>,
    operators: u16,
    _folder: tempfile::TempDir,
}

/// Operators that one store serves: every run that it takes in costs as much as there are files.
const STORE_OPERATORS_MAX: u16 = 32;

thread_local! {
    static STORE: RefCell<Option<TestStore>> = const { RefCell::new(None) };
}

/// The thread's store, and a number for an operator that it knows nothing of yet.
fn test_store() -> (Arc<Store>, u16) {
    STORE.with_borrow_mut(|of_thread| {
        if of_thread.as_ref().is_none_or(|store| store.operators == STORE_OPERATORS_MAX) {
            // Where there is a file system in memory, no time goes into waiting for the disk.
            let in_memory = tempfile::tempdir_in("/dev/shm");
            let folder = in_memory.or_else(|_| tempfile::tempdir()).unwrap();
            let store = Store::create(&folder.path().join("store"), 1 << 20).unwrap();
            *of_thread = Some(TestStore { store, operators: 0, _folder: folder });
        }
        let store = of_thread.as_mut().unwrap();
        store.operators += 1;
        (Arc::clone(&store.store), store.operators)
    })
}

/// Where one operator's state goes.
#[derive(Default)]
pub(crate) struct SpillStore(Option<(Arc<Store>, u16)>);

impl SpillStore {
    /// Writes what the operator changed into the store and the checkpoint, and empties the operator.
    pub(crate) fn spill(&mut self, operator: &mut dyn Operator, checkpoint: &mut Checkpoint) {
        let is_first = self.0.is_none();
        let (store, number) = self.0.get_or_insert_with(test_store);
        if is_first {
            *checkpoint = Checkpoint::default();
        }
        let mut buffer = RunBuffer::default();
        buffer.set_operator(usize::from(*number));
        operator.snapshot(is_first, &mut buffer).unwrap();
        buffer.replay(checkpoint).unwrap();
        store.ingest(std::slice::from_ref(&buffer), |_| true).unwrap();
        operator.evict(&StateStore::new(Arc::clone(store), *number)).unwrap();
    }

    /// Takes a checkpoint as a job with a store does: what changed goes into both.
    pub(crate) fn snapshot(&mut self, full: bool, operator: &mut dyn Operator, checkpoint: &mut Checkpoint) {
        let full = full && self.0.is_none();
        if full {
            *checkpoint = Checkpoint::default();
        }
        operator.snapshot(full, checkpoint).unwrap();
        // A restart begins without a store.
        self.0 = None;
    }
}

fn run_once(
    new: &dyn Fn() -> Box<dyn Operator>,
    input: &Schema,
    output_schema: &Schema,
    start_ms: i64,
    events: &[Event],
    spills: bool,
) -> Vec<Change> {
    let mut store = SpillStore::default();
    let mut operator = new();
    let mut checkpoint = Checkpoint::default();
    let mut output = Output::default();
    let (mut now_ms, mut watermark) = (start_ms, WATERMARK_MIN);
    for event in events {
        match event {
            Event::Rows(rows) => {
                operator.process(0, batch(input, rows), &context(now_ms), &mut output).unwrap();
            }
            Event::Advance(to, now) => {
                (watermark, now_ms) = (*to, *now);
                let mut out = operator.advance(watermark, &context(now_ms), &mut output).unwrap();
                while operator.is_firing() {
                    out = operator.advance(watermark, &context(now_ms), &mut output).unwrap();
                }
                assert_eq!(out, watermark);
            }
            Event::Flush => operator.flush(&context(now_ms), &mut output).unwrap(),
            Event::Restart(full) => {
                store.snapshot(*full, &mut *operator, &mut checkpoint);
                let mut next = new();
                // In no fixed order, the contract says.
                for ((table, key, vnode), value) in checkpoint.0.iter().rev() {
                    next.restore(*table, *vnode, key, value).unwrap();
                }
                next.restored(watermark).unwrap();
                operator = next;
            }
        }
        if spills {
            store.spill(&mut *operator, &mut checkpoint);
        }
    }
    changes(output_schema, &output)
}

/// The rows that stand after a changelog, by key columns in front; checks that -U and -D carry the row that stands.
pub(crate) fn fold(changes: &[Change], keys: usize) -> BTreeMap<String, Vec<Value>> {
    let mut table: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (kind, row) in changes {
        let key = format!("{:?}", &row[..keys]);
        match kind {
            RowKind::Insert => assert_eq!(table.insert(key, row.clone()), None, "+I of a row that stands: {row:?}"),
            RowKind::UpdateBefore => assert_eq!(table.get(&key), Some(row), "-U of another row"),
            RowKind::UpdateAfter => {
                assert!(table.insert(key, row.clone()).is_some(), "+U of a row that does not stand: {row:?}");
            }
            RowKind::Delete => assert_eq!(table.remove(&key).as_ref(), Some(row), "-D of another row"),
        }
    }
    table
}
