//! The format against Flink's rules, and against anything that is no JSON.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use bytes::Bytes;
use wiesel_core::options::Options;
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::types::{DataType, Field, Schema, TypeKind};
use wiesel_core::{ChangeBatch, Error, Result, Value};

use crate::formats::{Decoded, Decoder, Encoder, FormatContext, decoder_factory, encoder_factory};

fn context(fields: Vec<Field>) -> FormatContext {
    FormatContext::whole("t", Schema::new(fields), "UTC")
}

fn options_map(options: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    given.chain([("format".to_owned(), "json".to_owned())]).collect()
}

fn decoder(fields: &[Field], options: &[(&str, &str)]) -> Result<Box<dyn Decoder>> {
    let values = options_map(options);
    let mut options = Options::new("t", &values);
    let factory = decoder_factory(&mut options, "format", context(fields.to_vec()))?;
    options.finish()?;
    factory.create()
}

fn encoder(fields: &[Field], options: &[(&str, &str)]) -> Result<Box<dyn Encoder>> {
    let values = options_map(options);
    let mut options = Options::new("t", &values);
    let factory = encoder_factory(&mut options, "format", context(fields.to_vec()))?;
    options.finish()?;
    factory.create()
}

/// Records as Kafka hands them over, each with a key between the values that is no text.
fn raw(documents: &[&[u8]]) -> RawBatch {
    let mut arena = Vec::new();
    let mut records = Vec::new();
    let position = |arena: &Vec<u8>| u32::try_from(arena.len()).unwrap();
    for (index, document) in documents.iter().enumerate() {
        let key_start = position(&arena);
        arena.extend_from_slice(b"\xFF\xFE");
        let value_start = position(&arena);
        arena.extend_from_slice(document);
        records.push(RawRecord {
            key_start,
            key_end: value_start,
            value_start,
            value_end: position(&arena),
            offset: 100 + i64::try_from(index).unwrap(),
            timestamp_ms: -1,
            has_key: true,
            has_value: true,
            tag: 0,
        });
    }
    RawBatch { split: 0, arena: Bytes::from(arena), next: 0, records }
}

fn decode(fields: &[Field], options: &[(&str, &str)], documents: &[&str]) -> Result<Decoded> {
    let documents: Vec<&[u8]> = documents.iter().map(|d| d.as_bytes()).collect();
    decoder(fields, options)?.decode(&raw(&documents), 0..documents.len())
}

fn rows(fields: &[Field], batch: &RecordBatch) -> Vec<Vec<Value>> {
    let value =
        |row: usize| fields.iter().zip(batch.columns()).map(|(f, c)| Value::from_array(c, &f.data_type, row)).collect();
    (0..batch.num_rows()).map(value).collect()
}

fn kind(kind: TypeKind) -> DataType {
    DataType::new(kind)
}

fn text(s: &str) -> Value {
    Value::String(s.to_owned())
}

/// One value of a field `a`, decoded.
fn read_one(data_type: &DataType, json: &str, options: &[(&str, &str)]) -> Result<Value> {
    let fields = [Field::new("a", data_type.clone())];
    let decoded = decode(&fields, options, &[&format!("{{\"a\":{json}}}")])?;
    Ok(rows(&fields, &decoded.rows).remove(0).remove(0))
}

#[test]
fn values_are_read_as_flink_reads_them() {
    let string = DataType::string();
    let decimal = kind(TypeKind::Decimal { precision: 5, scale: 2 });
    let map = kind(TypeKind::Map(Box::new(DataType::string()), Box::new(DataType::int())));
    let array = kind(TypeKind::Array(Box::new(DataType::int())));
    let row = kind(TypeKind::Row(vec![Field::new("x", DataType::int()), Field::new("y", DataType::string())]));
    let entry = |k: &str, v: i64| (text(k), Value::Int(v));
    let cases: Vec<(DataType, &str, Option<Value>)> = vec![
        (string.clone(), r#""abc""#, Some(text("abc"))),
        (string.clone(), "12.50", Some(text("12.50"))),
        (string.clone(), "true", Some(text("true"))),
        (string.clone(), "null", Some(Value::Null)),
        (
            string.clone(),
            r#"{ "x" : [1, 2.50, -0, 1e2, "a\/\u0001\u00e9"], "y":{} }"#,
            Some(text(r#"{"x":[1,2.5,0,100.0,"a/\u0001é"],"y":{}}"#)),
        ),
        (string.clone(), r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#, Some(text("\"\\/\u{8}\u{c}\n\r\té😀"))),
        (string.clone(), r#""\ud800x\udc00\ud800\u0041""#, Some(text("?x??A"))),
        (string.clone(), "\"a\tb\"", Some(text("a\tb"))),
        (string.clone(), r#""\x""#, None),
        (string.clone(), r#""\u12g4""#, None),
        (DataType::boolean(), "true", Some(Value::Boolean(true))),
        (DataType::boolean(), r#"" TRUE ""#, Some(Value::Boolean(true))),
        (DataType::boolean(), r#""yes""#, Some(Value::Boolean(false))),
        (DataType::boolean(), "1", Some(Value::Boolean(false))),
        (DataType::int(), "12", Some(Value::Int(12))),
        (DataType::int(), r#"" 12 ""#, Some(Value::Int(12))),
        (DataType::int(), r#""+12""#, Some(Value::Int(12))),
        (DataType::int(), "-12.9", Some(Value::Int(-12))),
        (DataType::int(), "1e3", Some(Value::Int(1000))),
        (DataType::int(), r#""1.5""#, None),
        (DataType::int(), r#""""#, None),
        (DataType::int(), "2147483648", None),
        (DataType::int(), "3e9", None),
        (DataType::int(), "true", None),
        (DataType::int(), "{}", None),
        (DataType::int(), "01", None),
        (DataType::int(), "NaN", None),
        (DataType::bigint(), "9223372036854775807", Some(Value::Int(i64::MAX))),
        (DataType::bigint(), "-9223372036854775808", Some(Value::Int(i64::MIN))),
        (DataType::bigint(), "9223372036854775808", None),
        (DataType::bigint(), "1e400", None),
        (DataType::bigint(), "7.99", Some(Value::Int(7))),
        (kind(TypeKind::TinyInt), "-128", Some(Value::Int(-128))),
        (kind(TypeKind::TinyInt), "128", None),
        (kind(TypeKind::TinyInt), "1.0", None),
        (kind(TypeKind::SmallInt), "32768", None),
        (kind(TypeKind::SmallInt), r#""7""#, Some(Value::Int(7))),
        (DataType::double(), "1.5", Some(Value::Double(1.5))),
        (DataType::double(), "12", Some(Value::Double(12.0))),
        (DataType::double(), "1e400", Some(Value::Double(f64::INFINITY))),
        (DataType::double(), "0.1e-2", Some(Value::Double(0.001))),
        (DataType::double(), "123456789012345678901234567890", Some(Value::Double(1.234_567_890_123_456_8e29))),
        (DataType::double(), r#"" 1.5d ""#, Some(Value::Double(1.5))),
        (DataType::double(), r#""-Infinity""#, Some(Value::Double(f64::NEG_INFINITY))),
        (DataType::double(), r#""inf""#, None),
        (DataType::double(), "-", None),
        (DataType::double(), "1.", None),
        (DataType::double(), ".5", None),
        (DataType::double(), "false", None),
        (kind(TypeKind::Float), "0.1", Some(Value::Float(0.1))),
        (decimal.clone(), "1.005", Some(Value::Decimal(101))),
        (decimal.clone(), r#"" -1.004 ""#, Some(Value::Decimal(-100))),
        (decimal.clone(), "1000", Some(Value::Null)),
        (decimal.clone(), r#""x""#, None),
        (decimal.clone(), "true", None),
        (kind(TypeKind::Date), r#""2024-02-29""#, Some(Value::Date(19782))),
        (kind(TypeKind::Date), r#""2023-02-29""#, None),
        (kind(TypeKind::Date), "20240229", None),
        (kind(TypeKind::Time(0)), r#""01:00:00.9""#, Some(Value::Time(3_600_000))),
        (kind(TypeKind::Timestamp(3)), r#""1970-01-01 00:00:01.2345""#, Some(Value::Timestamp(1234))),
        (kind(TypeKind::Timestamp(6)), r#""1970-01-01 00:00:01.2345""#, Some(Value::Timestamp(1_234_500))),
        (kind(TypeKind::Timestamp(9)), r#""1970-01-01 00:00:01.2345""#, Some(Value::Timestamp(1_234_500_000))),
        (kind(TypeKind::Timestamp(9)), r#""9999-01-01 00:00:00""#, None),
        (kind(TypeKind::Timestamp(3)), r#""1970\u002d01-01 00:00:00""#, Some(Value::Timestamp(0))),
        (kind(TypeKind::Timestamp(3)), r#""1970-01-01T00:00:00""#, None),
        (kind(TypeKind::Timestamp(3)), "0", None),
        (kind(TypeKind::TimestampLtz(3)), r#""1970-01-01 00:00:01Z""#, Some(Value::Timestamp(1000))),
        (kind(TypeKind::TimestampLtz(3)), r#""1970-01-01 00:00:01""#, None),
        (kind(TypeKind::VarBinary(9)), r#""aGk=""#, Some(Value::Bytes(b"hi".to_vec()))),
        (kind(TypeKind::VarBinary(9)), r#""aGk""#, None),
        (kind(TypeKind::IntervalDayTime), "5", Some(Value::Millis(5))),
        (array.clone(), "[ 1 , null,\"3\" ]", Some(Value::Array(vec![Value::Int(1), Value::Null, Value::Int(3)]))),
        (array.clone(), "[]", Some(Value::Array(vec![]))),
        (array.clone(), "[1,]", None),
        (array.clone(), "{}", None),
        (map.clone(), r#"{"b":1,"a":2}"#, Some(Value::Map(vec![entry("b", 1), entry("a", 2)]))),
        (map.clone(), r#"{"b":1,"\u0062":2, "c":3}"#, Some(Value::Map(vec![entry("b", 2), entry("c", 3)]))),
        (map.clone(), "[1]", None),
        (kind(TypeKind::Multiset(Box::new(DataType::string()))), r#"{"b":2}"#, Some(Value::Map(vec![entry("b", 2)]))),
        (row.clone(), r#"{"y":"q","z":{"x":9},"x":3}"#, Some(Value::Row(vec![Value::Int(3), text("q")]))),
        (row.clone(), "{}", Some(Value::Row(vec![Value::Null, Value::Null]))),
        (row.clone(), "null", Some(Value::Null)),
        (row.clone(), "[]", None),
    ];
    for (data_type, json, expected) in cases {
        let found = read_one(&data_type, json, &[]);
        match expected {
            Some(expected) => assert_eq!(found.unwrap(), expected, "{data_type} from {json}"),
            None => assert!(found.is_err(), "{data_type} from {json}: {found:?}"),
        }
    }
}

#[test]
fn fields_come_in_any_order_and_the_last_duplicate_wins() {
    let fields = [Field::new("id", DataType::bigint()), Field::new("name", DataType::string())];
    let decoded = decode(
        &fields,
        &[],
        &[
            r#"{"id":1,"name":"a","other":[{"id":7}]}"#,
            r#"{"name":"b","id":2}"#,
            r#" { "id" : 3 , "a long name that fills words" : null, "name" : "c" } trailing text"#,
            r#"{"id":4,"ID":9,"name":"d","id":5}"#,
            r#"{"n\u0061me":"e","\"":1}"#,
            r#"{}"#,
        ],
    )
    .unwrap();
    let expected = vec![
        vec![Value::Int(1), text("a")],
        vec![Value::Int(2), text("b")],
        vec![Value::Int(3), text("c")],
        vec![Value::Int(5), text("d")],
        vec![Value::Null, text("e")],
        vec![Value::Null, Value::Null],
    ];
    assert_eq!(rows(&fields, &decoded.rows), expected);
    assert_eq!((decoded.taken, decoded.skipped), (None, 0));
}

#[test]
fn any_cut_of_the_records_gives_the_same_rows() {
    let fields = [Field::new("a", DataType::int()), Field::new("b", DataType::string())];
    let documents: Vec<String> = (0..40)
        .map(|i| match i % 5 {
            0 => format!(r#"{{"a":{i},"b":"x{i}"}}"#),
            1 => format!(r#"{{"b":"é{i}","c":{i},"a":"{i}"}}"#),
            2 => String::new(),
            3 => format!(r#"{{"a":"bad","b":{i}}}"#),
            _ => "{\"a\":1".to_owned(),
        })
        .collect();
    let documents: Vec<&[u8]> = documents.iter().map(|d| d.as_bytes()).collect();
    let batch = raw(&documents);
    let ignore = [("json.ignore-parse-errors", "true")];
    let whole = decoder(&fields, &ignore).unwrap().decode(&batch, 0..40).unwrap();
    assert_eq!((whole.rows.num_rows(), whole.skipped), (24, 16));
    let taken = whole.taken.unwrap();
    assert!(taken.iter().all(|i| !matches!(i % 5, 2 | 4)));
    for size in [1, 3, 7, 39] {
        let mut decoder = decoder(&fields, &ignore).unwrap();
        let (mut cut_rows, mut cut_taken) = (Vec::new(), Vec::new());
        for start in (0..40).step_by(size) {
            let range = start..(start + size).min(40);
            let part = decoder.decode(&batch, range.clone()).unwrap();
            cut_rows.extend(rows(&fields, &part.rows));
            cut_taken.extend(part.taken.unwrap_or_else(|| (range.start as u32..range.end as u32).collect()));
        }
        assert_eq!(cut_rows, rows(&fields, &whole.rows));
        assert_eq!(cut_taken, taken);
    }
}

#[test]
fn ignored_errors_make_a_field_null_and_skip_a_broken_record() {
    let inner = TypeKind::Row(vec![Field::new("x", DataType::int()), Field::new("y", DataType::int())]);
    let fields = [
        Field::new("a", DataType::int()),
        Field::new("r", kind(inner)),
        Field::new("l", kind(TypeKind::Array(Box::new(DataType::int())))),
    ];
    let cases: &[(&str, Option<Vec<Value>>)] = &[
        (
            r#"{"a":"x","r":{"x":{"a":5},"y":2},"l":[1,"b",3]}"#,
            Some(vec![
                Value::Null,
                Value::Row(vec![Value::Null, Value::Int(2)]),
                Value::Array(vec![Value::Int(1), Value::Null, Value::Int(3)]),
            ]),
        ),
        (r#"{"a":[1,{"a":3}],"r":5,"l":{"a":1}}"#, Some(vec![Value::Null, Value::Null, Value::Null])),
        (r#"{"a":1,"l":[1,2"#, None),
        (r#"{"a":1 "l":[]}"#, None),
        (r#"{"a":1,"u":tru}"#, None),
        (r#"[{"a":1}]"#, None),
        ("null", None),
        ("   ", None),
        ("{\"a\":1}", Some(vec![Value::Int(1), Value::Null, Value::Null])),
    ];
    for (document, expected) in cases {
        let decoded = decode(&fields, &[("json.ignore-parse-errors", "true")], &[document]).unwrap();
        let found = rows(&fields, &decoded.rows);
        assert_eq!(found, expected.clone().into_iter().collect::<Vec<_>>(), "{document}");
        assert_eq!(decoded.skipped, u64::from(expected.is_none()), "{document}");
    }
}

#[test]
fn an_error_says_record_field_and_what_was_found() {
    let row = kind(TypeKind::Row(vec![Field::new("amount", DataType::int())]));
    let fields = [Field::new("pay", row), Field::new("ts", kind(TypeKind::Timestamp(3)))];
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (r#"{"pay":{"amount":"abc"}}"#, &[], "field `pay.amount` of table `t`: expected INT, found `\"abc\"`"),
        (
            r#"{"ts":"2024-01-01T00:00:00Z"}"#,
            &[],
            "field `ts` of table `t`: expected TIMESTAMP(3) in the form `2024-01-31 12:00:00.5`, found `\"2024-01-01T00:00:00Z\"`",
        ),
        (
            r#"{"pay":{}}"#,
            &[("json.fail-on-missing-field", "true")],
            "field `pay.amount` (INT) of table `t` is missing in the JSON document",
        ),
        (
            r#"{"pay":"#,
            &[],
            "table `t` cannot read a JSON document in field `pay`: expected a JSON value at byte 7, found the end of the document",
        ),
        (r#"hello"#, &[], "table `t` cannot read a JSON document: expected a JSON object at byte 0, found `hello`"),
        (
            r#"{"pay":null,}"#,
            &[],
            "table `t` cannot read a JSON document: expected a field name in double quotes at byte 12, found `}`",
        ),
    ];
    for (document, options, message) in cases {
        let error = decode(&fields, options, &["{}", document]).err();
        // With the option of the third case the empty document fails first; its record is named below.
        let error: Error = error.unwrap();
        if options.is_empty() {
            assert_eq!(error.message(), *message);
            assert_eq!(error.places(), [format!("record at offset 101 of table `t`: {document}")]);
            assert!(error.hint_text().unwrap().contains("json.ignore-parse-errors"), "{error}");
        } else {
            let error = decode(&fields, options, &[document]).err().unwrap();
            assert_eq!(error.message(), *message);
            assert_eq!(error.places(), [format!("record at offset 100 of table `t`: {document}")]);
        }
    }
}

#[test]
fn a_long_bad_record_is_clipped() {
    let document = format!("{{\"a\":\"{}\"", "ü".repeat(5000));
    let error = decode(&[Field::new("a", DataType::string())], &[], &[&document]).err().unwrap();
    assert!(error.to_string().chars().count() < 600, "{error}");
}

#[test]
fn empty_and_null_messages_are_skipped() {
    let fields = [Field::new("a", DataType::int())];
    let mut batch = raw(&[b"", b"{\"a\":1}", b"{\"a\":2}"]);
    batch.records[1].has_value = false;
    let decoded = decoder(&fields, &[]).unwrap().decode(&batch, 0..3).unwrap();
    assert_eq!(rows(&fields, &decoded.rows), vec![vec![Value::Int(2)]]);
    assert_eq!((decoded.taken, decoded.skipped), (Some(vec![2]), 2));
}

#[test]
fn a_table_without_declared_columns_still_counts_rows() {
    let decoded = decode(&[], &[], &["{\"a\":1}", "{}"]).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.rows.num_columns()), (2, 0));
}

#[test]
fn invalid_utf8_is_an_error_of_its_record_only() {
    let fields = [Field::new("a", DataType::string())];
    let documents: [&[u8]; 3] = [b"{\"a\":\"x\"}", b"{\"a\":\"\xC3\"}", "{\"a\":\"é\"}".as_bytes()];
    let decoded = decoder(&fields, &[("json.ignore-parse-errors", "true")]).unwrap().decode(&raw(&documents), 0..3);
    let decoded = decoded.unwrap();
    assert_eq!(rows(&fields, &decoded.rows), vec![vec![text("x")], vec![text("é")]]);
    let error = decoder(&fields, &[]).unwrap().decode(&raw(&documents), 0..3).err().unwrap();
    assert!(error.message().contains("expected UTF-8 text at byte 6"), "{error}");
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    let fields = [Field::new("a", DataType::string())];
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for name in ["a", "b"] {
            let deep = format!("{{\"{name}\":{}1{}}}", open.repeat(10_000), close.repeat(10_000));
            let error = decode(&fields, &[], &[&deep]).err().unwrap();
            assert!(error.message().contains("at most 1000 levels"), "{error}");
            let fine = format!("{{\"{name}\":{}1{}}}", open.repeat(900), close.repeat(900));
            assert!(decode(&fields, &[], &[&fine]).is_ok());
        }
    }
}

#[test]
fn many_names_and_long_names_are_read_without_being_remembered() {
    let fields = [Field::new("last", DataType::int())];
    let mut document = String::from("{");
    for i in 0..5000 {
        document.push_str(&format!("\"{}{i}\":{i},", "n".repeat(i % 300)));
    }
    document.push_str("\"last\":1}");
    let decoded = decode(&fields, &[], &[&document, &document, "{\"last\":2}"]).unwrap();
    assert_eq!(rows(&fields, &decoded.rows), vec![vec![Value::Int(1)], vec![Value::Int(1)], vec![Value::Int(2)]]);
}

fn wide_fields() -> Vec<Field> {
    let kinds = [
        TypeKind::Boolean,
        TypeKind::TinyInt,
        TypeKind::SmallInt,
        TypeKind::Int,
        TypeKind::BigInt,
        TypeKind::Float,
        TypeKind::Double,
        TypeKind::Decimal { precision: 10, scale: 3 },
        TypeKind::VarChar(10),
        TypeKind::VarBinary(10),
        TypeKind::Date,
        TypeKind::Time(0),
        TypeKind::Timestamp(3),
        TypeKind::Timestamp(9),
        TypeKind::TimestampLtz(6),
        TypeKind::Array(Box::new(DataType::double())),
        TypeKind::Map(Box::new(DataType::string()), Box::new(kind(TypeKind::Array(Box::new(DataType::string()))))),
        TypeKind::Row(vec![Field::new("p", DataType::int()), Field::new("q", DataType::string())]),
    ];
    kinds.into_iter().enumerate().map(|(i, k)| Field::new(format!("f{i}"), kind(k))).collect()
}

const WIDE_DOCUMENT: &str = r#"{"f0":true,"f1":-1,"f2":300,"f3":70000,"f4":-5000000000,"f5":1.5,"f6":1.0E10,"f7":12.345,"f8":"a\"é/","f9":"aGk=","f10":"2024-02-29","f11":"23:59:58","f12":"2024-01-01 00:00:00","f13":"2024-01-01 00:00:00.000000001","f14":"2024-01-01 10:00:00.5Z","f15":[1.0,null,-2.5],"f16":{"k":["v",null],"l":null},"f17":{"p":1,"q":null}}"#;

#[test]
fn what_is_read_is_written_as_it_was() {
    let fields = wide_fields();
    let decoded = decode(&fields, &[], &[WIDE_DOCUMENT, "{}"]).unwrap();
    let changes = ChangeBatch::inserts(decoded.rows);
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    encoder(&fields, &[]).unwrap().encode(&changes, &mut bytes, &mut ends).unwrap();
    assert_eq!(std::str::from_utf8(&bytes[..ends[0]]).unwrap(), WIDE_DOCUMENT);
    assert!(bytes[ends[0]..ends[1]].starts_with(b"{\"f0\":null,\"f1\":null,"));
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let options = [("json.encode.ignore-null-fields", "true"), ("json.timestamp-format.standard", "ISO-8601")];
    encoder(&fields, &options).unwrap().encode(&changes, &mut bytes, &mut ends).unwrap();
    let first = std::str::from_utf8(&bytes[..ends[0]]).unwrap();
    assert!(first.contains(r#""f14":"2024-01-01T10:00:00.5Z""#) && first.ends_with(r#""f17":{"p":1}}"#), "{first}");
    assert_eq!(&bytes[ends[0]..ends[1]], b"{}");
}

#[test]
fn no_bytes_make_the_decoder_panic() {
    let fields = wide_fields();
    let mut random = fastrand::Rng::with_seed(20_240_511);
    let seeds: [&[u8]; 3] = [
        WIDE_DOCUMENT.as_bytes(),
        br#"{"f8":"\ud83d\ude00\n","f16":{"a":[],"a":["\u0000"]},"x":[[{"y":1e-5}],-0.0,false],"f3":"12","f7":"1E+2"}"#,
        br#" { "f4" : 1e400 , "f6" : 99999999999999999999999 , "f13" : "9999-99-99 99:99:99" , "f8" : {"a":[NaN]} } "#,
    ];
    let soup: &[u8] = b"{}[]:,\"\\u0123456789abcdefDE+-.eEtrunlfs \n\xC3\xA9\xF0\x00\xFF";
    for round in 0..20_000 {
        let mut document = seeds[round % seeds.len()].to_vec();
        match random.u8(0..4) {
            0 => document.truncate(random.usize(0..document.len())),
            1 => {
                let start = random.usize(0..document.len());
                document.drain(..start);
            }
            _ => {}
        }
        for _ in 0..random.usize(0..6) {
            if document.is_empty() {
                break;
            }
            let at = random.usize(0..document.len());
            match random.u8(0..3) {
                0 => document[at] = soup[random.usize(0..soup.len())],
                1 => document.insert(at, soup[random.usize(0..soup.len())]),
                _ => {
                    document.remove(at);
                }
            }
        }
        let good: &[u8] = b"{\"f3\":1}";
        let batch = raw(&[good, &document, good]);
        let kept = decoder(&fields, &[("json.ignore-parse-errors", "true")]).unwrap().decode(&batch, 0..3).unwrap();
        assert_eq!(kept.rows.num_rows() + usize::try_from(kept.skipped).unwrap(), 3);
        let last = rows(&fields, &kept.rows).pop().unwrap();
        assert_eq!(last[3], Value::Int(1));
        if let Err(error) = decoder(&fields, &[]).unwrap().decode(&batch, 0..3) {
            assert!(error.to_string().chars().count() < 1000);
        }
        // What serde_json takes as an object, this decoder takes too when errors in values are forgiven.
        if let Ok(serde_json::Value::Object(_)) = serde_json::from_slice::<serde_json::Value>(&document) {
            assert_eq!(kept.skipped, 0, "{}", String::from_utf8_lossy(&document));
        }
    }
}

#[test]
fn options_are_checked_when_the_table_is_declared() {
    let fields = [Field::new("a", DataType::int())];
    let both = [("json.ignore-parse-errors", "true"), ("json.fail-on-missing-field", "true")];
    assert!(decoder(&fields, &both).err().unwrap().message().contains("cannot both be true"));
    let typo = [("json.ignore-parse-error", "true")];
    assert_eq!(decoder(&fields, &typo).err().unwrap().hint_text(), Some("did you mean 'json.ignore-parse-errors'?"));
    let map = kind(TypeKind::Map(Box::new(DataType::int()), Box::new(DataType::int())));
    let error = encoder(&[Field::new("m", map)], &[]).err().unwrap();
    assert_eq!(
        error.message(),
        "json cannot hold MAP<INT, INT>: the key of a MAP must be a character string, found INT"
    );

    let named = |format: &str| {
        let values = BTreeMap::from([("value.format".to_owned(), format.to_owned())]);
        decoder_factory(&mut Options::new("t", &values), "value.format", context(fields.to_vec())).err()
    };
    assert!(named("json").is_none());
    assert_eq!(named("orc").unwrap().code(), "W0503");
    assert_eq!(named("jsn").unwrap().hint_text(), Some("did you mean 'json'?"));
    assert!(named("parquet").unwrap().hint_text().unwrap().contains("filesystem"));
}
