//! What Flink 1.20 answers for the same bytes, in both directions.

use std::collections::BTreeMap;

use bytes::Bytes;
use wiesel_core::options::Options;
use wiesel_core::source::{RawBatch, RawRecord};
use wiesel_core::types::{DataType, Field, Schema, TypeKind};
use wiesel_core::{ChangeBatch, Result, Value, value};

use crate::formats::{Decoded, FormatContext, Framing, decoder_factory, encoder_factory, framing};

fn option_map(options: &[(&str, &str)]) -> BTreeMap<String, String> {
    let given = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    given.chain([("format".to_owned(), "csv".to_owned())]).collect()
}

/// The records of a file, cut from buffers of growing size, as a reader that gets a few bytes at a time would.
fn records(framing: &Framing, text: &[u8]) -> Vec<(usize, usize)> {
    let (mut records, mut from, mut length) = (Vec::new(), 0, 0);
    while length <= text.len() {
        let is_at_end = length == text.len();
        while let Some(cut) = framing.next(&text[..length], from, is_at_end) {
            records.extend(cut.record);
            from = cut.next;
        }
        length += 1;
    }
    assert_eq!(from, text.len());
    records
}

fn decode(fields: &[Field], wanted: &[usize], options: &[(&str, &str)], text: &str) -> Result<Decoded> {
    let values = option_map(options);
    let mut options = Options::new("t", &values);
    let framing = framing(&mut options, "format", "t")?;
    let record = |(start, end): &(usize, usize)| RawRecord {
        key_start: 0,
        key_end: 0,
        value_start: u32::try_from(*start).unwrap(),
        value_end: u32::try_from(*end).unwrap(),
        offset: i64::try_from(*start).unwrap(),
        timestamp_ms: -1,
        has_key: false,
        has_value: true,
        tag: 0,
    };
    let records: Vec<RawRecord> = records(&framing, text.as_bytes()).iter().map(record).collect();
    let context = FormatContext {
        table: "t".to_owned(),
        schema: Schema::new(wanted.iter().map(|i| fields[*i].clone()).collect()),
        record: Schema::new(fields.to_vec()),
        metadata: Vec::new(),
        time_zone: "UTC".to_owned(),
        addresses: Vec::new(),
    };
    let mut decoder = decoder_factory(&mut options, "format", context)?.create()?;
    options.finish()?;
    let count = records.len();
    let batch = RawBatch { split: 0, arena: Bytes::copy_from_slice(text.as_bytes()), records, next: 0 };
    decoder.decode(&batch, 0..count)
}

fn strings(count: usize) -> Vec<Field> {
    ["a", "b", "c", "d"][..count].iter().map(|name| Field::new(*name, DataType::string())).collect()
}

fn rows(fields: &[Field], decoded: &Decoded) -> Vec<String> {
    let cell =
        |row: usize, index: usize| match Value::from_array(decoded.rows.column(index), &fields[index].data_type, row) {
            Value::Null => "NULL".to_owned(),
            Value::String(text) => format!("<{text}>"),
            other => format!("{other:?}"),
        };
    let row = |row| (0..fields.len()).map(|i| cell(row, i)).collect::<Vec<_>>().join(" ");
    (0..decoded.rows.num_rows()).map(row).collect()
}

/// A file whose every record is odd in another way.
const ODD: &str = "a,b,c\n\"a \"\"q\"\" b\",x,y\n lead, trail ,\"  quoted  \"\n\"multi\nline\",x,y\n\na,b\na,b,c,d\n,,\n\"\",x,\"\"\n\
                   a\"b,c\"d,e\n\"ab\"cd,x,y\n\"sp\" ,x, \"y\"\n# comment,x,y\n'single',x\\,y,z\nlast,x,y";

#[test]
fn odd_records_are_read_as_flink_reads_them() {
    let ignore = ("csv.ignore-parse-errors", "true");
    let fields = strings(3);
    let default = [
        "<a> <b> <c>",
        "<a \"q\" b> <x> <y>",
        "< lead> < trail > <  quoted  >",
        "<multi\nline> <x> <y>",
        "<> NULL NULL",
        "<a> <b> NULL",
        "<> <> <>",
        "<> <x> <>",
        "<a\"b> <c\"d> <e>",
        "<sp> <x> < \"y\">",
        "<# comment> <x> <y>",
        "<last> <x> <y>",
    ];
    let decoded = decode(&fields, &[0, 1, 2], &[ignore], ODD).unwrap();
    assert_eq!(rows(&fields, &decoded), default);
    assert_eq!(decoded.skipped, 3);
    let other = [
        "<a> <b> <c>",
        "<\"a \"\"q\"\" b\"> <x> <y>",
        "<lead> < trail > <\"  quoted  \">",
        "<\"multi> NULL NULL",
        "<line\"> <x> <y>",
        "<a> <b> NULL",
        "NULL NULL NULL",
        "<\"\"> <x> <\"\">",
        "<a\"b> <c\"d> <e>",
        "<\"ab\"cd> <x> <y>",
        "<\"sp\" > <x> < \"y\">",
        "<single> <x,y> <z>",
        "<last> <x> <y>",
    ];
    let options = [
        ignore,
        ("csv.allow-comments", "true"),
        ("csv.null-literal", ""),
        ("csv.quote-character", "'"),
        ("csv.escape-character", "\\"),
    ];
    assert_eq!(rows(&fields, &decode(&fields, &[0, 1, 2], &options, ODD).unwrap()), other);
    let unquoted = decode(&fields, &[0, 1, 2], &[ignore, ("csv.disable-quote-character", "true")], ODD).unwrap();
    assert_eq!(rows(&fields, &unquoted)[3], "<\"multi> NULL NULL");
    let crlf = decode(&fields, &[2, 0], &[], "r,x,y\r\nnext,x,z\r\n").unwrap();
    assert_eq!(rows(&fields[..2], &crlf), ["<y> <r>", "<z> <next>"]);
}

#[test]
fn values_are_read_as_flink_reads_them() {
    let decimal = TypeKind::Decimal { precision: 10, scale: 2 };
    let ints = TypeKind::Array(Box::new(DataType::int()));
    let texts = TypeKind::Row(vec![Field::new("x", DataType::string()), Field::new("y", DataType::int())]);
    let cases: &[(TypeKind, &[(&str, &str)])] = &[
        (
            TypeKind::Boolean,
            &[
                ("TRUE", "Boolean(true)"),
                (" true ", "Boolean(true)"),
                ("yes", "Boolean(false)"),
                ("", "Boolean(false)"),
            ],
        ),
        (TypeKind::TinyInt, &[(" 1 ", "Int(1)"), ("+1", "Int(1)"), ("01", "Int(1)"), ("128", "NULL"), ("", "NULL")]),
        (
            TypeKind::Int,
            &[("-0", "Int(0)"), ("2147483648", "NULL"), ("1.5", "NULL"), ("1e3", "NULL"), ("null", "NULL")],
        ),
        (TypeKind::BigInt, &[("2147483648", "Int(2147483648)"), ("0x1F", "NULL")]),
        (
            TypeKind::Double,
            &[(" 1 ", "Double(1.0)"), ("1d", "Double(1.0)"), ("Infinity", "Double(inf)"), ("inf", "NULL")],
        ),
        (
            decimal,
            &[
                ("1.5", "Decimal(150)"),
                ("1E+2", "Decimal(10000)"),
                (" 1 ", "NULL"),
                ("123456789.126", "NULL"),
                ("x", "NULL"),
            ],
        ),
        (
            TypeKind::Date,
            &[
                ("2024-01-02", "Date(19724)"),
                ("2024-1-2", "Date(19724)"),
                ("2024-02-31", "Date(19784)"),
                (" 2024-01-02", "NULL"),
            ],
        ),
        (
            TypeKind::Time(3),
            &[
                ("12:34", "Time(45240000)"),
                ("12:34:56.789", "Time(45296789)"),
                ("24:00:00", "NULL"),
                ("7:00:00", "NULL"),
            ],
        ),
        (TypeKind::Time(0), &[("12:34:56.789", "Time(45296000)")]),
        (
            TypeKind::Timestamp(3),
            &[
                ("2024-01-02 03:04:05.123456789", "Timestamp(1704164645123)"),
                ("2024-01-02 24:00:00", "Timestamp(1704240000000)"),
                ("2024-02-31 00:00:00", "Timestamp(1709164800000)"),
                ("2024-01-02T03:04:05", "NULL"),
                ("2024-01-02 03:04", "NULL"),
                ("2024-01-02 03:04:05Z", "NULL"),
            ],
        ),
        (
            TypeKind::TimestampLtz(3),
            &[("2024-01-02 03:04:05Z", "Timestamp(1704164645000)"), ("2024-01-02 03:04:05", "NULL")],
        ),
        (TypeKind::VarBinary(9), &[("QUJD", "Bytes([65, 66, 67])"), ("1", "NULL")]),
        (ints, &[("1; 2 ;x", "Array([Int(1), Int(2), Null])"), ("", "Array([])")]),
        (texts, &[("a;1", "Row([String(\"a\"), Int(1)])"), ("a", "Row([String(\"a\"), Null])"), ("", "NULL")]),
        (TypeKind::VarChar(3), &[("longer", "<longer>"), ("", "<>")]),
    ];
    for (kind, values) in cases {
        let fields = [Field::new("v", DataType::new(kind.clone())), Field::new("end", DataType::string())];
        for (text, expected) in *values {
            let line = format!("{text},end\n");
            let lenient = decode(&fields, &[0], &[("csv.ignore-parse-errors", "true")], &line).unwrap();
            assert_eq!(rows(&fields[..1], &lenient), [*expected], "{kind} from `{text}`");
        }
    }
}

#[test]
fn a_bad_record_is_an_error_that_shows_it() {
    let fields = [Field::new("n", DataType::int()), Field::new("s", DataType::string())];
    let cases: &[(&str, &str)] = &[
        ("1,a\nx,b\n", "field `n` of table `t`: expected INT, found `x`"),
        ("1,a\n,b\n", "field `n` of table `t`: expected INT, found ``"),
        ("1,a\n1\n", "expected 2 fields, found 1"),
        ("1,a\n1,2,3\n", "expected 2 fields, found 3"),
        ("1,\"a", "no closing quote"),
        ("1,\"a\"b\n", "behind a closing quote at byte 5"),
    ];
    for (text, expected) in cases {
        let error = decode(&fields, &[0, 1], &[], text).unwrap_err();
        assert!(error.message().contains(expected), "{text}: {error}");
        assert!(error.to_string().contains("record at offset"), "{error}");
    }
    // What the query does not read is not converted.
    assert_eq!(decode(&fields, &[1], &[], "x,b\n").unwrap().rows.num_rows(), 1);
}

fn encode(fields: &[Field], options: &[(&str, &str)], rows: &[Vec<Value>]) -> Vec<String> {
    let values = option_map(options);
    let context = FormatContext::whole("t", Schema::new(fields.to_vec()), "UTC");
    let schema = context.schema.clone();
    let mut encoder = encoder_factory(&mut Options::new("t", &values), "format", context).unwrap().create().unwrap();
    let column = |index: usize| {
        let cells: Vec<Value> = rows.iter().map(|row| row[index].clone()).collect();
        value::column(&fields[index].data_type.kind, &cells)
    };
    let columns = (0..fields.len()).map(column).collect();
    let batch = arrow_array::RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    encoder.encode(&ChangeBatch::inserts(batch), &mut bytes, &mut ends).unwrap();
    let mut start = 0;
    let record = |end: usize| String::from_utf8(bytes[std::mem::replace(&mut start, end)..end].to_vec()).unwrap();
    ends.into_iter().map(record).collect()
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn rows_are_written_as_flink_writes_them() {
    let string = || Box::new(DataType::string());
    let row = TypeKind::Row(vec![Field::new("x", DataType::int()), Field::new("y", DataType::string())]);
    let kinds = [
        TypeKind::Boolean,
        TypeKind::Double,
        TypeKind::Decimal { precision: 10, scale: 2 },
        TypeKind::Date,
        TypeKind::Time(3),
        TypeKind::Timestamp(3),
        TypeKind::VarBinary(9),
        TypeKind::Array(string()),
        row,
        TypeKind::VarChar(99),
    ];
    let fields: Vec<Field> = kinds.iter().map(|k| Field::new(format!("c{k}"), DataType::new(k.clone()))).collect();
    let first = vec![
        Value::Boolean(true),
        Value::Double(1e10),
        Value::Decimal(10_000_000),
        Value::Date(19724),
        Value::Time(45_240_000),
        Value::Timestamp(1_704_164_640_000),
        Value::Bytes(b"ABC".to_vec()),
        Value::Array(vec![text("a"), text("b;c"), text("d\"e")]),
        Value::Row(vec![Value::Int(1), text("z")]),
        text("with \"quote\", and comma"),
    ];
    let second = vec![
        Value::Boolean(false),
        Value::Double(0.1),
        Value::Decimal(50),
        Value::Date(19724),
        Value::Time(45_296_700),
        Value::Timestamp(1_704_164_645_100),
        Value::Bytes(Vec::new()),
        Value::Array(vec![text("a"), text("")]),
        Value::Row(vec![Value::Int(1), Value::Null]),
        text(" sp "),
    ];
    let nulls = vec![Value::Null; fields.len()];
    let expected = [
        "true,1.0E10,\"1E+5\",2024-01-02,12:34:00,\"2024-01-02 03:04:00\",QUJD,\"a;b;c;d\"\"e\",1;z,\"with \"\"quote\"\", and comma\"",
        "false,0.1,0.5,2024-01-02,12:34:56.7,\"2024-01-02 03:04:05.1\",,a;,1;,\" sp \"",
        ",,,,,,,,,",
    ];
    assert_eq!(encode(&fields, &[], &[first, second, nulls]), expected);
}

#[test]
fn quotes_go_around_what_jackson_does_not_trust() {
    let decimal = TypeKind::Decimal { precision: 10, scale: 0 };
    let fields = [
        Field::new("p", DataType::string()),
        Field::new("q", DataType::string()),
        Field::new("g", DataType::new(decimal)),
        Field::new("n", DataType::new(TypeKind::Array(Box::new(DataType::string())))),
        Field::new("i", DataType::int()),
    ];
    let options = [
        ("csv.field-delimiter", "|"),
        ("csv.null-literal", "n/a"),
        ("csv.array-element-delimiter", ","),
        ("csv.escape-character", "\\"),
    ];
    let row = |p: Value, q: &str, g: i128, n: Value| vec![p, text(q), Value::Decimal(g), n, Value::Int(7)];
    let rows = [
        row(text("a|b"), "c,d\\e", 100_000, Value::Array(vec![text("x"), text("y")])),
        row(text("#x"), "-1", 1, Value::Array(vec![text("x"), Value::Null])),
        row(Value::Null, "ü", 0, Value::Array(vec![text("only")])),
        row(text("q\""), "x'y", 0, Value::Null),
    ];
    let expected = [
        "\"a|b\"|\"c,d\\\\e\"|\"1E+5\"|\"x,y\"|7",
        "\"#x\"|\"-1\"|\"1\"|\"x,n/a\"|7",
        "n/a|ü|\"0\"|\"only\"|7",
        "\"q\"\"\"|\"x'y\"|\"0\"|n/a|7",
    ];
    assert_eq!(encode(&fields, &options, &rows), expected);
    let two = strings(2);
    let unquoted = encode(&two, &[("csv.disable-quote-character", "true")], &[vec![text("a,b"), text("c\"d")]]);
    assert_eq!(unquoted, ["a,b,c\"d"]);
    let plain = ("csv.write-bigdecimal-in-scientific-notation", "false");
    let number = [Field::new("g", DataType::new(TypeKind::Decimal { precision: 10, scale: 0 }))];
    assert_eq!(encode(&number, &[plain], &[vec![Value::Decimal(100_000)]]), ["100000"]);
    let long = vec![vec![text("1234567890123456789012345"), text("123456789012345678901234")]];
    assert_eq!(encode(&two, &[], &long), ["\"1234567890123456789012345\",123456789012345678901234"]);
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let fields = strings(1);
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("csv.field-delimiter", "::")], "one ASCII character"),
        (&[("csv.disable-quote-character", "true"), ("csv.quote-character", "'")], "exclude each other"),
        (&[("csv.ignore-parse-error", "true")], "unknown option"),
    ];
    for (options, expected) in cases {
        let error = decode(&fields, &[0], options, "").unwrap_err();
        assert!(error.message().contains(expected), "{error}");
    }
    let tab = decode(&strings(2), &[1], &[("csv.field-delimiter", "\\t")], "a\tb\n").unwrap();
    assert_eq!(rows(&fields, &tab), ["<b>"]);
    let map = TypeKind::Map(Box::new(DataType::string()), Box::new(DataType::int()));
    let error = decode(&[Field::new("m", DataType::new(map))], &[0], &[], "").unwrap_err();
    assert!(error.message().contains("csv cannot hold MAP"), "{error}");
}
