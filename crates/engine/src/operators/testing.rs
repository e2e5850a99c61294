//! What the operators' tests share: rows as values, changelogs as text, a checkpoint in memory, and a driver that cuts input anywhere.

use std::collections::BTreeMap;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use wiesel_core::value::column;
use wiesel_core::{ChangeBatch, DataType, Field, RowKind, Schema, TypeKind, Value};
use wiesel_expr::{EvalContext, Session};

use crate::operator::{Operator, OperatorContext, Output, StateWriter, WATERMARK_MIN};

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

/// Runs events through an operator that `new` makes, and returns all changes.
pub(crate) fn run(
    new: &dyn Fn() -> Box<dyn Operator>,
    input: &Schema,
    output_schema: &Schema,
    start_ms: i64,
    events: &[Event],
) -> Vec<Change> {
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
                assert_eq!(operator.advance(watermark, &context(now_ms), &mut output).unwrap(), watermark);
            }
            Event::Flush => operator.flush(&context(now_ms), &mut output).unwrap(),
            Event::Restart(full) => {
                if *full {
                    checkpoint = Checkpoint::default();
                }
                operator.snapshot(*full, &mut checkpoint).unwrap();
                let mut next = new();
                // In no fixed order, the contract says.
                for ((table, key, vnode), value) in checkpoint.0.iter().rev() {
                    next.restore(*table, *vnode, key, value).unwrap();
                }
                next.restored(watermark).unwrap();
                operator = next;
            }
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
