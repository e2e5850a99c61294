//! What Apache Flink 1.20 reads and writes, for the same documents.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type, TimestampMillisecondType};
use arrow_array::{Array, RecordBatch};
use wiesel_core::options::Options;
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::types::{DataType, Field, MAX_LENGTH, Schema, TypeKind};
use wiesel_core::{ChangeBatch, Error, Result};

use super::*;
use crate::formats::{decoder_factory, encoder_factory};

fn context() -> FormatContext {
    let decimal = TypeKind::Decimal { precision: 10, scale: 2 };
    let fields = vec![
        Field::new("id", DataType::int()),
        Field::new("name", DataType::new(TypeKind::VarChar(MAX_LENGTH))),
        Field::new("price", DataType::new(decimal)),
        Field::new("ts", DataType::new(TypeKind::Timestamp(3))),
    ];
    FormatContext::whole("t", Schema::new(fields), "UTC")
}

fn options(format: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("format".to_owned(), format.to_owned())]);
    all.extend(more.iter().map(|(key, value)| (format!("{format}.{key}"), (*value).to_owned())));
    all
}

fn batch(lines: &[&str]) -> RawBatch {
    let (mut arena, mut records) = (Vec::new(), Vec::new());
    for (offset, line) in lines.iter().enumerate() {
        let value_start = arena.len() as u32;
        arena.extend_from_slice(line.as_bytes());
        records.push(RawRecord {
            key_start: 0,
            key_end: 0,
            value_start,
            value_end: arena.len() as u32,
            offset: offset as i64,
            timestamp_ms: -1,
            has_key: false,
            has_value: true,
            tag: 0,
        });
    }
    let next = records.len() as i64;
    RawBatch { split: 0, arena: arena.into(), records, next }
}

fn texts(rows: &RecordBatch) -> Vec<String> {
    let id = rows.column(0).as_primitive::<Int32Type>();
    let name = rows.column(1).as_string::<i32>();
    let price = rows.column(2).as_primitive::<Decimal128Type>();
    let ts = rows.column(3).as_primitive::<TimestampMillisecondType>();
    let text = |is_valid: bool, text: String| if is_valid { text } else { "NULL".to_owned() };
    (0..rows.num_rows())
        .map(|i| {
            let id = text(id.is_valid(i), id.value(i).to_string());
            let name = text(name.is_valid(i), name.value(i).to_owned());
            let price = text(price.is_valid(i), price.value(i).to_string());
            let ts = text(ts.is_valid(i), ((ts.value(i) - 1_704_067_200_000) / 1000).to_string());
            format!("{id} {name} {price} {ts}")
        })
        .collect()
}

/// The rows with their kinds and the record that each came from.
fn decode(format: &str, more: &[(&str, &str)], lines: &[&str]) -> Result<Vec<String>, Error> {
    let values = options(format, more);
    let mut options = Options::new("t", &values);
    let factory = decoder_factory(&mut options, "format", context())?;
    options.finish()?;
    let batch = batch(lines);
    let decoded = factory.create()?.decode(&batch, 0..lines.len())?;
    let rows = ChangeBatch { rows: decoded.rows.clone(), kinds: decoded.kinds.clone() };
    let taken = decoded.taken.unwrap_or_default();
    let texts = texts(&decoded.rows).into_iter().enumerate();
    Ok(texts.map(|(i, text)| format!("{} {text} @{}", rows.kind(i).symbol(), taken[i])).collect())
}

#[test]
fn documents_of_debezium_are_read_as_flink_reads_them() {
    let found = decode(
        "debezium-json",
        &[],
        &[
            r#"{"before":null,"after":{"id":1,"name":"a","price":1.5,"ts":"2024-01-01 00:00:01"},"source":{"table":"t"},"op":"c","ts_ms":1}"#,
            r#"{"before":null,"after":{"id":2,"name":"b","price":"2.25","ts":null},"op":"r"}"#,
            r#"{"before":{"id":1,"name":"a","price":1.5,"ts":"2024-01-01 00:00:01"},"after":{"id":1,"name":"A","price":1.75},"op":"u"}"#,
            r#"{"before":{"id":2,"name":"b"},"after":null,"op":"d"}"#,
            r#"{"op":"c","after":{"id":3}}"#,
            "",
            r#"{"extra":1,"op":"c","before":{"id":7},"after":{"name":"n","more":[1,{"x":2}],"id":4}}"#,
        ],
    );
    let expected = [
        "+I 1 a 150 1 @0",
        "+I 2 b 225 NULL @1",
        "-U 1 a 150 1 @2",
        "+U 1 A 175 NULL @2",
        "-D 2 b NULL NULL @3",
        "+I 3 NULL NULL NULL @4",
        "+I 4 n NULL NULL @6",
    ];
    assert_eq!(found.expect("right documents"), expected);
}

#[test]
fn documents_with_a_schema_are_read_and_those_that_are_no_change_are_skipped_on_request() {
    let found = decode(
        "debezium-json",
        &[("schema-include", "true"), ("ignore-parse-errors", "true")],
        &[
            r#"{"schema":{"type":"struct"},"payload":{"before":null,"after":{"id":1,"name":"a","price":1.5,"ts":"2024-01-01 00:00:01"},"op":"c"}}"#,
            r#"{"payload":{"before":null,"after":{"id":2},"op":"u"}}"#,
            r#"{"payload":{"before":null,"after":null,"op":"d"}}"#,
            r#"{"payload":{"before":null,"after":{"id":5},"op":"x"}}"#,
            r#"{"payload":{"before":null,"after":{"id":"q"},"op":"c"}}"#,
            r#"{"payload":{"before":null,"after":null,"op":"c"}}"#,
            r#"{"payload":null}"#,
            r#"{"before":null,"after":{"id":9},"op":"c"}"#,
            "nonsense",
            r#"{"payload":{"before":{"id":6},"after":{"id":8},"op":"u"}}"#,
        ],
    );
    let expected = ["+I 1 a 150 1 @0", "+I NULL NULL NULL NULL @4", "-U 6 NULL NULL NULL @9", "+U 8 NULL NULL NULL @9"];
    assert_eq!(found.expect("errors are ignored"), expected);
}

#[test]
fn documents_of_canal_are_read_as_flink_reads_them() {
    let lines = [
        r#"{"data":[{"id":"1","name":"a","price":"1.50","ts":"2024-01-01 00:00:01"},{"id":"2","name":"b","price":null}],"database":"d","table":"t","es":1,"ts":2,"type":"INSERT","old":null,"pkNames":["id"],"isDdl":false}"#,
        r#"{"data":[{"id":"1","name":"A","price":"2.50","ts":null},{"id":"2","name":"b","price":"3"}],"old":[{"name":"a","ts":"2024-01-01 00:00:01"},{"price":null}],"type":"UPDATE"}"#,
        r#"{"data":[{"id":"1","name":"A","price":"2.50"}],"type":"DELETE"}"#,
        r#"{"data":null,"type":"CREATE","sql":"create table"}"#,
        r#"{"data":[{"id":"3"}],"old":[{"id":"4"}],"type":"UPDATE"}"#,
    ];
    let expected = [
        "+I 1 a 150 1 @0",
        "+I 2 b NULL NULL @0",
        "-U 1 a NULL 1 @1",
        "+U 1 A 250 NULL @1",
        "-U 2 NULL NULL NULL @1",
        "+U 2 b 300 NULL @1",
        "-D 1 A 250 NULL @2",
        "-U 4 NULL NULL NULL @4",
        "+U 3 NULL NULL NULL @4",
    ];
    assert_eq!(decode("canal-json", &[], &lines).expect("right documents"), expected);
    let chosen = decode("canal-json", &[("table.include", "t|u"), ("database.include", "d.*")], &lines[..1]);
    assert_eq!(chosen.expect("right documents"), expected[..2]);
    let others = decode("canal-json", &[("table.include", "tt")], &lines[..1]);
    assert!(others.expect("right documents").is_empty());
    let error = decode("canal-json", &[("table.include", "t")], &lines[2..3]).unwrap_err();
    assert!(error.message().contains("names no `database` or no `table`"), "{error}");
}

#[test]
fn documents_of_maxwell_are_read_as_flink_reads_them() {
    let found = decode(
        "maxwell-json",
        &[],
        &[
            r#"{"database":"d","table":"t","type":"insert","ts":1,"data":{"id":1,"name":"a","price":1.5,"ts":"2024-01-01 00:00:01"}}"#,
            r#"{"type":"update","data":{"id":1,"name":"A","price":2.5,"ts":null},"old":{"name":"a","ts":"2024-01-01 00:00:01"}}"#,
            r#"{"type":"update","data":{"id":1,"name":"B","price":null},"old":{"price":2.5}}"#,
            r#"{"type":"delete","data":{"id":1,"name":"B"}}"#,
        ],
    );
    let expected = [
        "+I 1 a 150 1 @0",
        "-U 1 a 250 1 @1",
        "+U 1 A 250 NULL @1",
        "-U 1 B 250 NULL @2",
        "+U 1 B NULL NULL @2",
        "-D 1 B NULL NULL @3",
    ];
    assert_eq!(found.expect("right documents"), expected);
}

#[test]
fn a_document_that_is_no_change_says_why() {
    let cases: &[(&str, &str, &str)] = &[
        ("debezium-json", r#"{"before":null,"after":{"id":1},"op":"u"}"#, "`u` has no `before`"),
        ("debezium-json", r#"{"after":{"id":1},"op":"t"}"#, "`op` is `t`"),
        ("debezium-json", r#"{"after":{"id":1}}"#, "it has no `op`"),
        ("debezium-json", r#"{"after":{"id":"x"},"op":"c"}"#, "field `after.id`"),
        ("canal-json", r#"{"data":[{"id":1}],"type":"ALTER"}"#, "`type` is `ALTER`"),
        ("canal-json", r#"{"data":[{"id":1},{"id":2}],"old":[{"id":0}],"type":"UPDATE"}"#, "a row for each of `data`"),
        ("maxwell-json", r#"{"data":{"id":1},"type":"update"}"#, "`update` has no `old`"),
    ];
    for (format, line, expected) in cases {
        let error = decode(format, &[], &[line]).unwrap_err();
        assert!(error.to_string().contains(expected), "{line}: {error}");
        assert!(decode(format, &[("ignore-parse-errors", "true")], &[line]).is_ok(), "{line}");
    }
}

#[test]
fn rows_are_written_as_flink_writes_them() {
    let values = options("debezium-json", &[]);
    let mut read = Options::new("t", &values);
    let lines = [
        r#"{"before":null,"after":{"id":1,"name":"a","price":1.5,"ts":"2024-01-01 00:00:01"},"op":"c"}"#,
        r#"{"before":{"id":1,"name":"a","price":1.5,"ts":"2024-01-01 00:00:01"},"after":{"id":1,"name":"A","price":1.75},"op":"u"}"#,
        r#"{"before":{"id":2,"name":"b"},"after":null,"op":"d"}"#,
    ];
    let batch = batch(&lines);
    let factory = decoder_factory(&mut read, "format", context()).expect("options");
    let decoded = factory.create().and_then(|mut d| d.decode(&batch, 0..3)).expect("right documents");
    let rows = ChangeBatch { rows: decoded.rows, kinds: decoded.kinds };
    let first = r#"{"id":1,"name":"a","price":1.5,"ts":"2024-01-01 00:00:01"}"#;
    let second = r#"{"id":1,"name":"A","price":1.75,"ts":null}"#;
    let third = r#"{"id":2,"name":"b","price":null,"ts":null}"#;
    let debezium = |row: &str, is_there: bool| match is_there {
        true => format!(r#"{{"before":null,"after":{row},"op":"c"}}"#),
        false => format!(r#"{{"before":{row},"after":null,"op":"d"}}"#),
    };
    let canal = |row: &str, is_there: bool| {
        format!(r#"{{"data":[{row}],"type":"{}"}}"#, if is_there { "INSERT" } else { "DELETE" })
    };
    let maxwell = |row: &str, is_there: bool| {
        format!(r#"{{"data":{row},"type":"{}"}}"#, if is_there { "insert" } else { "delete" })
    };
    let expected = |form: &dyn Fn(&str, bool) -> String| {
        [form(first, true), form(first, false), form(second, true), form(third, false)].concat()
    };
    let cases = [
        ("debezium-json", expected(&debezium)),
        ("canal-json", expected(&canal)),
        ("maxwell-json", expected(&maxwell)),
    ];
    for (format, expected) in cases {
        let values = options(format, &[]);
        let mut options = Options::new("t", &values);
        let factory = encoder_factory(&mut options, "format", context()).expect("options");
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        factory.create().and_then(|mut e| e.encode(&rows, &mut bytes, &mut ends)).expect("rows of the table");
        assert_eq!((String::from_utf8_lossy(&bytes).as_ref(), ends.len()), (expected.as_str(), 4));
    }
}

/// A format, its options, a line, the metadata columns, and how many rows come of it.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, Vec<(&'a str, DataType)>, usize);

#[test]
fn metadata_stands_behind_the_columns() {
    let text = || DataType::new(TypeKind::VarChar(MAX_LENGTH));
    let time = || DataType::new(TypeKind::TimestampLtz(3));
    let line = r#"{"before":{"id":1},"after":{"id":2},"op":"u","ts_ms":9,"source":{"db":"d","table":"t","ts_ms":7}}"#;
    let with_schema = format!(r#"{{"schema":{{"type":"struct"}},"payload":{line}}}"#);
    let canal = r#"{"data":[{"id":1}],"type":"INSERT","database":"d","table":"t","es":9,"ts":7}"#;
    let maxwell = r#"{"data":{"id":1},"type":"insert","database":"d","table":"t","ts":9}"#;
    let debezium = [("ingestion-timestamp", time()), ("source.table", text()), ("source.timestamp", time())];
    let cases: &[Case<'_>] = &[
        ("debezium-json", &[], line, debezium.to_vec(), 2),
        ("debezium-json", &[("schema-include", "true")], &with_schema, debezium.to_vec(), 2),
        (
            "canal-json",
            &[],
            canal,
            vec![("event-timestamp", time()), ("table", text()), ("ingestion-timestamp", time())],
            1,
        ),
        (
            "maxwell-json",
            &[],
            maxwell,
            vec![("ingestion-timestamp", time()), ("table", text()), ("ingestion-timestamp", time())],
            1,
        ),
    ];
    for (format, more, line, keys, count) in cases {
        let values = options(format, more);
        let mut options = Options::new("t", &values);
        let metadata = keys.iter().map(|(key, data_type)| Field::new(*key, data_type.clone())).collect();
        let context = FormatContext { metadata, ..context() };
        let factory = decoder_factory(&mut options, "format", context).expect("options");
        let decoded = factory.create().and_then(|mut d| d.decode(&batch(&[line]), 0..1)).expect("right documents");
        assert_eq!(decoded.rows.num_rows(), *count, "{line}");
        for row in 0..*count {
            let time =
                |column: usize| decoded.rows.column(column).as_primitive::<TimestampMillisecondType>().value(row);
            let last = if *format == "maxwell-json" { 9 } else { 7 };
            let table = decoded.rows.column(5).as_string::<i32>().value(row);
            assert_eq!((time(4), table, time(6)), (9, "t", last), "{line}");
        }
    }
    // The types that Flink's documents declare.
    let values = options("debezium-json", &[]);
    let texts = TypeKind::Map(Box::new(DataType::not_null(text().kind)), Box::new(text()));
    let local = DataType::new(TypeKind::Timestamp(3));
    let metadata =
        [("ingestion-timestamp", &local), ("source.timestamp", &local), ("source.properties", &DataType::new(texts))];
    let metadata = metadata.map(|(key, data_type)| Field::new(key, data_type.clone())).to_vec();
    let context_of_tokyo = FormatContext { metadata, time_zone: "Asia/Tokyo".to_owned(), ..context() };
    let factory = decoder_factory(&mut Options::new("t", &values), "format", context_of_tokyo).expect("options");
    let decoded = factory.create().and_then(|mut d| d.decode(&batch(&[line]), 0..1)).expect("a right document");
    let millis = |column: usize| decoded.rows.column(column).as_primitive::<TimestampMillisecondType>().value(0);
    let nine_hours = 9 * 3_600_000;
    assert_eq!((millis(4), millis(5)), (nine_hours + 9, nine_hours + 7));
    for (key, data_type, expected) in
        [("ts", time(), "has no metadata 'ts'"), ("ingestion-timestamp", text(), "does not cast to STRING")]
    {
        let context = FormatContext { metadata: vec![Field::new(key, data_type)], ..context() };
        let error = decoder_factory(&mut Options::new("t", &values), "format", context).err().expect("refused");
        assert!(error.message().contains(expected), "{error}");
    }
}
