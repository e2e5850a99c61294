//! Dead letters: rows that could not be processed, on their way into the table that `wiesel.dead-letter.table` names.
//!
//! ```text
//! a record that does not decode   -> found alone by halving its task -> into the table's sink in the same step
//! a row that a sink's system refuses -> handed over by the sink      -> into the table's sink with the next step
//! a row that a function refuses      -> left out by its operator     -> the same; `table_name` is the function, `raw` its arguments
//! ```
//! To the plan the table is a sink over a source without rows; letters enter there, so they take part in checkpoints as every row does.
//! What a sink hands over after a checkpoint began is kept in its manifest too, because the table's sink has drawn its line by then.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use wiesel_core::sink::RefusedRow;
use wiesel_core::source::{RawBatch, ReadRows, RowReader};
use wiesel_core::{ChangeBatch, Error, ErrorKind, Result, RowKind, Schema, TypeKind, Value};
use wiesel_expr::refusal::Refusal;

use super::assemble::values_batch;

/// Letters of sinks that wait for the next step; more end the job, because then hardly a row fits.
pub(crate) const WAITING_MAX: usize = 10_000;
/// Records that one task may refuse.
const REFUSED_PER_TASK_MAX: usize = 100_000;

/// A row that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) at_ms: i64,
    pub(crate) table: String,
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i32>,
    pub(crate) offset: Option<i64>,
    pub(crate) raw: Vec<u8>,
    pub(crate) reason: String,
}

impl Letter {
    /// A row that a sink's system refused.
    pub(crate) fn of_sink(table: &str, row: RefusedRow, at_ms: i64) -> Letter {
        let RefusedRow { row, reason } = row;
        Letter { at_ms, table: table.to_owned(), topic: None, partition: None, offset: None, raw: row, reason }
    }

    /// A row that a function refused.
    pub(crate) fn of_function(refusal: Refusal, at_ms: i64) -> Letter {
        let Refusal { function, arguments, reason, .. } = refusal;
        let raw = arguments.into_bytes();
        Letter { at_ms, table: function, topic: None, partition: None, offset: None, raw, reason }
    }

    /// A record that does not decode. `split` is `topic-partition`, or the name of a file.
    fn of_record(table: &str, split: &str, batch: &RawBatch, index: usize, reason: &Error, at_ms: i64) -> Letter {
        let place = split.rsplit_once('-').and_then(|(topic, partition)| Some((topic, partition.parse().ok()?)));
        let (topic, partition) = place.map_or((split, None), |(topic, partition)| (topic, Some(partition)));
        let record = batch.records.get(index);
        let raw = record.and_then(|r| batch.arena.get(r.value_start as usize..r.value_end as usize));
        Letter {
            at_ms,
            table: table.to_owned(),
            topic: Some(topic.to_owned()),
            partition,
            offset: record.map(|r| r.offset),
            raw: raw.unwrap_or_default().to_vec(),
            reason: reason.message().to_owned(),
        }
    }
}

/// Where a task's records come from, for its letters.
pub(crate) struct Origin<'a> {
    pub(crate) table: &'a str,
    pub(crate) split: &'a str,
    pub(crate) now_ms: i64,
}

/// Decodes what decodes and makes letters of the rest. Any cut of the records gives the same rows, so halving finds the bad ones.
pub(crate) fn read_around(
    reader: &mut dyn RowReader,
    batch: &RawBatch,
    range: Range<usize>,
    origin: &Origin<'_>,
    rows: &mut Vec<ReadRows>,
    letters: &mut Vec<Letter>,
) -> Result<()> {
    match reader.read(batch, range.clone()) {
        Ok(read) => rows.push(read),
        Err(error) if error.kind() != ErrorKind::Data => return Err(error),
        Err(error) if range.len() <= 1 => {
            if letters.len() >= REFUSED_PER_TASK_MAX {
                return Err(error.at(format!("more than {REFUSED_PER_TASK_MAX} records of one step are refused")));
            }
            letters.push(Letter::of_record(origin.table, origin.split, batch, range.start, &error, origin.now_ms));
        }
        Err(_) => {
            let middle = range.start + range.len() / 2;
            read_around(reader, batch, range.start..middle, origin, rows, letters)?;
            read_around(reader, batch, middle..range.end, origin, rows, letters)?;
        }
    }
    Ok(())
}

/// The pieces of a task as one.
pub(crate) fn join(pieces: Vec<ReadRows>, schema: &Schema) -> Result<ReadRows> {
    let skipped = pieces.iter().map(|piece| piece.skipped).sum();
    let rows: Vec<&RecordBatch> = pieces.iter().map(|piece| &piece.rows).collect();
    let schema = rows.first().map_or_else(|| schema.arrow().clone(), |first| first.schema());
    let joined = arrow_select::concat::concat_batches(&schema, rows)?;
    if pieces.iter().all(|piece| piece.kinds.is_none()) {
        return Ok(ReadRows { rows: joined, kinds: None, skipped });
    }
    let kinds = pieces.iter().flat_map(|piece| match &piece.kinds {
        Some(kinds) => kinds.to_vec(),
        None => vec![RowKind::Insert; piece.rows.num_rows()],
    });
    Ok(ReadRows { rows: joined, kinds: Some(kinds.collect::<Arc<[RowKind]>>()), skipped })
}

/// Letters as rows of the table.
pub(crate) fn rows(letters: &[Letter], schema: &Schema) -> Result<Option<ChangeBatch>> {
    let cells = |letter: &Letter| -> Vec<Value> {
        schema.fields().iter().map(|field| cell(letter, &field.name, &field.data_type.kind)).collect()
    };
    let rows: Vec<Vec<Value>> = letters.iter().map(cells).collect();
    Ok(values_batch(&rows, schema)?.map(|batch| ChangeBatch::inserts(batch.rows)))
}

/// The planner has checked names and types; what it does not know is NULL.
fn cell(letter: &Letter, name: &str, kind: &TypeKind) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    match name.to_ascii_lowercase().as_str() {
        "at" => Value::Timestamp(match kind {
            TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3) => letter.at_ms,
            TypeKind::Timestamp(4..=6) | TypeKind::TimestampLtz(4..=6) => letter.at_ms.saturating_mul(1_000),
            _ => letter.at_ms.saturating_mul(1_000_000),
        }),
        "table_name" => text(&letter.table),
        "topic" => letter.topic.as_deref().map_or(Value::Null, text),
        "partition" => letter.partition.map_or(Value::Null, |n| Value::Int(n.into())),
        "offset" => letter.offset.map_or(Value::Null, Value::Int),
        "raw" if kind.is_string() => Value::String(String::from_utf8_lossy(&letter.raw).into_owned()),
        "raw" => Value::Bytes(letter.raw.clone()),
        "reason" => text(&letter.reason),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wiesel_core::source::RawRecord;
    use wiesel_core::value::column;
    use wiesel_core::{DataType, Field};

    use super::*;

    /// Takes digits, one per record, and refuses everything else.
    struct Digits;

    impl RowReader for Digits {
        fn read(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<ReadRows> {
            let mut values = Vec::new();
            for record in &batch.records[range] {
                let byte = batch.arena[record.value_start as usize];
                if !byte.is_ascii_digit() {
                    return Err(Error::data(format!("no digit: {}", char::from(byte))));
                }
                values.push(Value::Int(i64::from(byte - b'0')));
            }
            let schema = Schema::new(vec![Field::new("n", DataType::int())]);
            let rows = RecordBatch::try_new(schema.arrow().clone(), vec![column(&TypeKind::Int, &values)])?;
            Ok(ReadRows { rows, kinds: None, skipped: 0 })
        }
    }

    fn batch(text: &str) -> RawBatch {
        let record = |index: usize| RawRecord {
            key_start: 0,
            key_end: 0,
            value_start: index as u32,
            value_end: index as u32 + 1,
            offset: 100 + index as i64,
            timestamp_ms: -1,
            has_key: false,
            has_value: true,
            tag: 0,
        };
        RawBatch {
            split: 0,
            arena: Bytes::copy_from_slice(text.as_bytes()),
            records: (0..text.len()).map(record).collect(),
            next: 0,
        }
    }

    #[test]
    fn bad_records_become_letters_and_the_others_rows_in_their_order() {
        for (text, good, bad) in
            [("12345", "12345", ""), ("1x3y", "13", "xy"), ("xy", "", "xy"), ("x2345678z", "2345678", "xz")]
        {
            let origin = Origin { table: "t", split: "clicks-eu-7", now_ms: 5 };
            let (mut pieces, mut letters) = (Vec::new(), Vec::new());
            let raw = batch(text);
            read_around(&mut Digits, &raw, 0..text.len(), &origin, &mut pieces, &mut letters).unwrap();
            let schema = Schema::new(vec![Field::new("n", DataType::int())]);
            let joined = join(pieces, &schema).unwrap();
            let expected: Vec<Value> = good.bytes().map(|b| Value::Int(i64::from(b - b'0'))).collect();
            assert_eq!(joined.rows.column(0), &column(&TypeKind::Int, &expected), "{text}");
            assert_eq!(letters.iter().map(|l| char::from(l.raw[0])).collect::<String>(), bad, "{text}");
            for letter in &letters {
                assert_eq!((letter.topic.as_deref(), letter.partition), (Some("clicks-eu"), Some(7)));
                assert_eq!(letter.offset, text.find(char::from(letter.raw[0])).map(|i| 100 + i as i64));
            }
        }
    }
}
