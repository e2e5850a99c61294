//! Avro against bytes that stand in its specification, against itself, and against everything that may go wrong.
//! What other clients write and read is tested end to end (`avro_*` in `xtask/src/e2e/cases`).

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use bytes::Bytes;
use wiesel_core::options::Options;
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::types::{DataType, Field, TypeKind};
use wiesel_core::{ChangeBatch, Schema as TableSchema, Value, value};

use super::decode::Plan;
use super::schema::{self, Schema};
use super::{AvroDecoderFactory, AvroEncoderFactory};
use crate::formats::json::object::ObjectColumn;
use crate::formats::{DecoderFactory as _, EncoderFactory as _, FormatContext};

fn field(name: &str, kind: TypeKind) -> Field {
    Field::new(name, DataType::new(kind))
}

fn required(name: &str, kind: TypeKind) -> Field {
    Field::new(name, DataType::not_null(kind))
}

fn text() -> TypeKind {
    DataType::string().kind
}

/// Reads bytes of a schema into columns; the values of the row, or what is wrong.
fn read(schema: &str, fields: &[Field], bytes: &[u8]) -> Result<Vec<Value>, String> {
    let plan = Plan::new(Schema::parse(schema)?, fields, &[])?;
    let mut row = ObjectColumn::new(fields);
    let end = plan.read(bytes, 0, &mut row).map_err(|f| format!("{} at {:?}", f.reason, f.path))?;
    assert_eq!(end, bytes.len(), "everything was read");
    let columns = row.finish_columns().map_err(|e| e.to_string())?;
    Ok(fields.iter().zip(&columns).map(|(f, c)| Value::from_array(c, &f.data_type, 0)).collect())
}

fn record_of(field_type: &str) -> String {
    format!(r#"{{"type":"record","name":"r","fields":[{{"name":"a","type":{field_type}}}]}}"#)
}

#[test]
fn the_bytes_of_the_specification_are_read() {
    let decimal = TypeKind::Decimal { precision: 10, scale: 2 };
    let strings = TypeKind::Array(Box::new(DataType::string()));
    let map = TypeKind::Map(Box::new(DataType::string().with_nullable(false)), Box::new(DataType::bigint()));
    let s = |t: &str| Value::String(t.to_owned());
    let cases: Vec<(&str, TypeKind, &[u8], Value)> = vec![
        (r#""long""#, TypeKind::BigInt, &[0], Value::Int(0)),
        (r#""long""#, TypeKind::BigInt, &[1], Value::Int(-1)),
        (r#""long""#, TypeKind::BigInt, &[0x80, 0x01], Value::Int(64)),
        (r#""int""#, TypeKind::BigInt, &[0x7f], Value::Int(-64)),
        (r#""int""#, TypeKind::Double, &[4], Value::Double(2.0)),
        (r#""boolean""#, TypeKind::Boolean, &[1], Value::Boolean(true)),
        (r#""string""#, text(), &[6, b'f', b'o', b'o'], s("foo")),
        (r#""bytes""#, text(), &[2, b'x'], s("x")),
        (r#""string""#, TypeKind::VarBinary(9), &[2, b'x'], Value::Bytes(b"x".to_vec())),
        (r#"["null","string"]"#, text(), &[0], Value::Null),
        (r#"["null","string"]"#, text(), &[2, 2, b'a'], s("a")),
        (r#"["string","null","int"]"#, text(), &[2], Value::Null),
        (r#"{"type":"enum","name":"e","symbols":["X","Y"]}"#, text(), &[2], s("Y")),
        (r#"{"type":"fixed","name":"f","size":2}"#, TypeKind::VarBinary(9), &[7, 8], Value::Bytes(vec![7, 8])),
        (
            r#"{"type":"array","items":"string"}"#,
            strings.clone(),
            &[4, 2, b'a', 2, b'b', 0],
            Value::Array(vec![s("a"), s("b")]),
        ),
        // Two blocks, the first with its size in front.
        (
            r#"{"type":"array","items":"string"}"#,
            strings,
            &[1, 4, 2, b'a', 2, 2, b'b', 0],
            Value::Array(vec![s("a"), s("b")]),
        ),
        (
            r#"{"type":"map","values":"long"}"#,
            map,
            &[6, 2, b'a', 2, 2, b'b', 4, 2, b'a', 6, 0],
            Value::Map(vec![(s("b"), Value::Int(2)), (s("a"), Value::Int(3))]),
        ),
        (r#"{"type":"int","logicalType":"date"}"#, TypeKind::Date, &[2], Value::Date(1)),
        (r#"{"type":"long","logicalType":"time-micros"}"#, TypeKind::Time(3), &[0xa0, 0x1f], Value::Time(2)),
        (
            r#"{"type":"long","logicalType":"timestamp-micros"}"#,
            TypeKind::Timestamp(3),
            &[0xa0, 0x1f],
            Value::Timestamp(2),
        ),
        (
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            TypeKind::TimestampLtz(6),
            &[4],
            Value::Timestamp(2000),
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
            decimal.clone(),
            &[4, 0xff, 0x38],
            Value::Decimal(-200),
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":4}"#,
            decimal.clone(),
            &[4, 0x30, 0x39],
            Value::Decimal(123),
        ),
        (
            r#"{"type":"fixed","size":3,"name":"d","logicalType":"decimal","precision":4,"scale":0}"#,
            decimal,
            &[0, 0, 7],
            Value::Decimal(700),
        ),
    ];
    for (written, kind, bytes, expected) in cases {
        let found = read(&record_of(written), &[field("a", kind.clone())], bytes);
        assert_eq!(found, Ok(vec![expected]), "{written} as {kind}");
    }
}

#[test]
fn a_schema_that_grew_or_shrank_is_read_by_names() {
    let schema = r#"{"type":"record","name":"r","namespace":"n","fields":[
        {"name":"old","type":{"type":"record","name":"inner","fields":[
            {"name":"x","type":"int"},{"name":"again","type":["null","n.inner"]}]}},
        {"name":"tags","type":{"type":"map","values":{"type":"array","items":"long"}}},
        {"name":"id","type":"int"},
        {"name":"more","type":["null","double"],"default":null}]}"#;
    // old = {x: 1, again: {x: 2, again: null}}, tags = {k: [5]}, id = 7, more = null
    let bytes = [2, 2, 4, 0, 2, 2, b'k', 2, 10, 0, 0, 14, 0];
    let fields = [field("id", TypeKind::BigInt), field("new", text()), field("more", TypeKind::Double)];
    assert_eq!(read(schema, &fields, &bytes), Ok(vec![Value::Int(7), Value::Null, Value::Null]));
}

#[test]
fn what_does_not_fit_is_said_and_never_read_wrong() {
    let cases: Vec<(&str, Field, &[u8], &str)> = vec![
        (r#""string""#, field("a", TypeKind::Int), &[0], "field `a`: string does not become INT"),
        (r#""long""#, field("a", TypeKind::Int), &[0], "field `a`: long does not become INT"),
        (r#""double""#, field("a", TypeKind::Float), &[0; 8], "double does not become FLOAT"),
        (r#""int""#, required("b", TypeKind::Int), &[0], "the schema does not have it, and the column is NOT NULL"),
        (r#"["null","int"]"#, required("a", TypeKind::Int), &[0], "NULL, and the column is INT NOT NULL"),
        (r#"["int","string"]"#, field("a", TypeKind::Int), &[2, 0], "string does not become INT"),
        (r#""string""#, field("a", text()), &[6, b'f'], "the record ends too early"),
        (r#""string""#, field("a", text()), &[1], "a text of a negative size"),
        (r#""string""#, field("a", text()), &[2, 0xff], "a text that is not UTF-8"),
        (r#""long""#, field("a", TypeKind::BigInt), &[0xff; 11], "a number of more than ten bytes"),
        (r#"["null","int"]"#, field("a", TypeKind::Int), &[8], "a branch of a union that the schema does not have"),
        (
            r#"{"type":"array","items":"null"}"#,
            field("a", TypeKind::Array(Box::new(DataType::int()))),
            &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            "an array or map of more than",
        ),
    ];
    for (written, field, bytes, expected) in cases {
        let found = read(&record_of(written), std::slice::from_ref(&field), bytes);
        assert!(found.as_ref().is_err_and(|e| e.contains(expected)), "{written}: {found:?}");
    }
    for schema in ["", "[", "7", r#""record""#, r#"{"type":"record","name":"r"}"#, r#"{"type":"array"}"#, r#""long""#] {
        assert!(read(schema, &[field("a", TypeKind::Int)], &[]).is_err(), "{schema}");
    }
}

#[test]
fn no_bytes_and_no_schema_make_it_panic() {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"a","type":["null",{"type":"array","items":
        {"type":"map","values":"string"}}]},{"name":"s","type":{"type":"array","items":"r"}}]}"#;
    let values = DataType::new(TypeKind::Map(Box::new(DataType::string()), Box::new(DataType::string())));
    let fields = [field("a", TypeKind::Array(Box::new(values)))];
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.usize(..24)).map(|_| random.u8(..)).map(|b| b & 0x8f).collect();
        let plan = Plan::new(Schema::parse(schema).expect("a schema"), &fields, &[]).expect("fits");
        let mut row = ObjectColumn::new(&fields);
        drop(plan.read(&bytes, 0, &mut row));
        row.truncate(0);
        assert!(row.finish_columns().is_ok());
        let cut: String = schema.chars().take(random.usize(..schema.len())).collect();
        assert!(Schema::parse(&cut).is_err());
    }
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(5_000), "}".repeat(5_000));
    assert!(Schema::parse(&deep).is_err());
}

#[test]
fn the_schema_of_a_table_is_the_one_that_flink_derives() {
    let row = TypeKind::Row(vec![field("x", TypeKind::Double)]);
    let fields = [
        required("id", TypeKind::Int),
        field("name", text()),
        field("price", TypeKind::Decimal { precision: 10, scale: 2 }),
        field("at", TypeKind::Timestamp(3)),
        field("r", row),
        required("tags", TypeKind::Array(Box::new(DataType::string()))),
    ];
    let expected = concat!(
        r#"{"type":"record","name":"record","namespace":"org.apache.flink.avro.generated","fields":["#,
        r#"{"name":"id","type":"int"},{"name":"name","type":["null","string"],"default":null},"#,
        r#"{"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}],"default":null},"#,
        r#"{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},"#,
        r#"{"name":"r","type":["null",{"type":"record","name":"record_r","fields":["#,
        r#"{"name":"x","type":["null","double"],"default":null}]}],"default":null},"#,
        r#"{"name":"tags","type":{"type":"array","items":["null","string"]}}]}"#
    );
    assert_eq!(schema::derived(&fields, true).map(|json| json.to_string()).as_deref(), Ok(expected));
    let refused = [
        (field("t", TypeKind::Timestamp(6)), "'timestamp_mapping.legacy' = 'false'"),
        (field("t", TypeKind::TimestampLtz(3)), "'timestamp_mapping.legacy' = 'false'"),
        (field("a-b", TypeKind::Int), "no field of the name `a-b`"),
    ];
    for (field, expected) in refused {
        let error = schema::derived(&[field], true).expect_err("refused");
        assert!(error.contains(expected), "{error}");
    }
}

/// A value of every type, and NULL.
fn every_type() -> (Vec<Field>, Vec<[Value; 2]>) {
    let row = TypeKind::Row(vec![field("x", TypeKind::Double), required("y", text())]);
    let s = |t: &str| Value::String(t.to_owned());
    let map = TypeKind::Map(Box::new(DataType::string().with_nullable(false)), Box::new(DataType::int()));
    let types = vec![
        (TypeKind::Boolean, Value::Boolean(true)),
        (TypeKind::TinyInt, Value::Int(-7)),
        (TypeKind::SmallInt, Value::Int(300)),
        (TypeKind::Int, Value::Int(i32::MIN.into())),
        (TypeKind::BigInt, Value::Int(i64::MAX)),
        (TypeKind::Float, Value::Float(1.5)),
        (TypeKind::Double, Value::Double(-2.25)),
        (text(), s("grüß")),
        (TypeKind::VarBinary(9), Value::Bytes(vec![0, 255])),
        (TypeKind::Decimal { precision: 38, scale: 3 }, Value::Decimal(-12_345_678_901_234_567_890_123)),
        (TypeKind::Date, Value::Date(-1)),
        (TypeKind::Time(3), Value::Time(86_399_999)),
        (TypeKind::Timestamp(3), Value::Timestamp(-1)),
        (TypeKind::Timestamp(6), Value::Timestamp(1_700_000_000_123_456)),
        (TypeKind::TimestampLtz(3), Value::Timestamp(1_700_000_000_123)),
        (TypeKind::Array(Box::new(DataType::int())), Value::Array(vec![Value::Int(1), Value::Null])),
        (map, Value::Map(vec![(s("a"), Value::Int(1)), (s("b"), Value::Null)])),
        (row, Value::Row(vec![Value::Null, s("y")])),
    ];
    let fields = types.iter().enumerate().map(|(i, (kind, _))| field(&format!("c{i}"), kind.clone())).collect();
    (fields, types.into_iter().map(|(_, value)| [value, Value::Null]).collect())
}

fn context(fields: &[Field]) -> FormatContext {
    FormatContext::whole("t", TableSchema::new(fields.to_vec()), "UTC")
}

fn options() -> BTreeMap<String, String> {
    [("format", "avro"), ("avro.timestamp_mapping.legacy", "false")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

#[test]
fn what_is_written_is_read_again() {
    let (fields, values) = every_type();
    let values_map = options();
    let mut options = Options::new("t", &values_map);
    let factory = AvroEncoderFactory::new("avro", &mut options, "avro.", "format", context(&fields)).expect("options");
    let columns = fields.iter().zip(&values).map(|(f, v)| value::column(&f.data_type.kind, v)).collect();
    let schema = TableSchema::new(fields.clone());
    let rows = RecordBatch::try_new(schema.arrow().clone(), columns).expect("a batch");
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let batch = ChangeBatch::inserts(rows);
    factory.create().expect("encoder").encode(&batch, &mut bytes, &mut ends).expect("encodes");
    assert_eq!(ends.len(), 2);
    let mut start = 0;
    let mut records = Vec::new();
    for end in ends {
        let place = |at: usize| u32::try_from(at).expect("small");
        records.push(RawRecord {
            key_start: 0,
            key_end: 0,
            value_start: place(start),
            value_end: place(end),
            offset: 0,
            timestamp_ms: -1,
            has_key: false,
            has_value: true,
            tag: 0,
        });
        start = end;
    }
    let raw = RawBatch { split: 0, arena: Bytes::from(bytes), records, next: 2 };
    // The whole row, and some of its columns.
    for wanted in [(0..fields.len()).collect::<Vec<_>>(), vec![17, 3, 8], vec![]] {
        let picked: Vec<Field> = wanted.iter().map(|i| fields[*i].clone()).collect();
        let context = FormatContext { schema: TableSchema::new(picked), ..context(&fields) };
        let mut options = Options::new("t", &values_map);
        let factory = AvroDecoderFactory::new("avro", &mut options, "avro.", context).expect("options");
        let decoded = factory.create().expect("decoder").decode(&raw, 0..2).expect("decodes");
        assert_eq!(decoded.rows.num_rows(), 2);
        for (column, index) in wanted.iter().enumerate() {
            for (row, wanted) in values[*index].iter().enumerate() {
                let found = Value::from_array(decoded.rows.column(column), &fields[*index].data_type, row);
                assert_eq!(found, *wanted, "{}", fields[*index].data_type);
            }
        }
    }
}

#[test]
fn a_cut_record_is_an_error_of_the_record() {
    let values_map = options();
    let fields = [field("a", text())];
    let mut options = Options::new("t", &values_map);
    let factory = AvroDecoderFactory::new("avro", &mut options, "avro.", context(&fields)).expect("options");
    let record = RawRecord {
        key_start: 0,
        key_end: 0,
        value_start: 0,
        value_end: 2,
        offset: 41,
        timestamp_ms: -1,
        has_key: false,
        has_value: true,
        tag: 0,
    };
    let raw = RawBatch { split: 0, arena: Bytes::from_static(&[2, 8]), records: vec![record], next: 42 };
    let error = factory.create().expect("decoder").decode(&raw, 0..1).expect_err("cut");
    assert_eq!(error.kind(), wiesel_core::ErrorKind::Data);
    assert!(error.to_string().contains("field `a`: the record ends too early"), "{error}");
    assert!(error.to_string().contains("offset 41"), "{error}");
}

/// The row of a table of many types as Flink 1.20.0 wrote it (its `avro` format, the schema it derives), and its values.
const FLINK: &str = "02020c6772c3bcc39f0204fb1e028cb50202f6a1abfef9620202000000000000f83f020400ff0402026100000202026b020e0002020202060002f0bb\
                     c603020d00";

#[test]
fn the_bytes_are_those_that_flink_writes() {
    let s = |t: &str| Value::String(t.to_owned());
    let strings = || TypeKind::Array(Box::new(DataType::string()));
    let map = TypeKind::Map(Box::new(DataType::string().with_nullable(false)), Box::new(DataType::bigint()));
    let rows = TypeKind::Array(Box::new(DataType::new(TypeKind::Row(vec![field("p", TypeKind::Int)]))));
    let columns = vec![
        (required("id", TypeKind::Int), Value::Int(1)),
        (field("name", text()), s("grüß")),
        (field("price", TypeKind::Decimal { precision: 10, scale: 2 }), Value::Decimal(-1250)),
        (field("day_", TypeKind::Date), Value::Date(19_782)),
        (field("at", TypeKind::Timestamp(3)), Value::Timestamp(1_700_000_000_123)),
        (
            field("r", TypeKind::Row(vec![field("x", TypeKind::Double), field("b", TypeKind::VarBinary(9))])),
            Value::Row(vec![Value::Double(1.5), Value::Bytes(vec![0, 255])]),
        ),
        (required("tags", strings()), Value::Array(vec![s("a"), Value::Null])),
        (field("m", map), Value::Map(vec![(s("k"), Value::Int(7))])),
        (field("rs", rows), Value::Array(vec![Value::Row(vec![Value::Int(3)])])),
        (field("tt", TypeKind::Time(0)), Value::Time(3_723_000)),
        (field("ti", TypeKind::TinyInt), Value::Int(-7)),
        (field("ms", TypeKind::Multiset(Box::new(DataType::string()))), Value::Null),
    ];
    let (fields, values): (Vec<Field>, Vec<Value>) = columns.into_iter().unzip();
    let derived = schema::derived(&fields, true).expect("a schema").to_string();
    let bytes: Vec<u8> = (0..FLINK.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&FLINK[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    assert_eq!(read(&derived, &fields, &bytes), Ok(values.clone()));
    let map = BTreeMap::new();
    let mut options = Options::new("t", &map);
    let factory = AvroEncoderFactory::new("avro", &mut options, "avro.", "format", context(&fields)).expect("options");
    let schema = TableSchema::new(fields.clone());
    let columns = fields.iter().zip(values).map(|(f, v)| value::column(&f.data_type.kind, &[v])).collect();
    let rows = RecordBatch::try_new(schema.arrow().clone(), columns).expect("a batch");
    let (mut written, mut ends) = (Vec::new(), Vec::new());
    factory.create().expect("encoder").encode(&ChangeBatch::inserts(rows), &mut written, &mut ends).expect("encodes");
    assert_eq!(written, bytes);
}
