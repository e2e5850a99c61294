//! Reading directories: what is found, where a resumed read goes on, what is said about bad files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use tempfile::TempDir;
use wiesel_core::change::ChangelogMode;
use wiesel_core::env::Waker;
use wiesel_core::sink::{CheckpointKind, SinkContext};
use wiesel_core::source::{RawBatch, RowReader, Source, SourceContext, SourceEvent, SourceFactory, Split};
use wiesel_core::table::{ColumnKind, SinkRequest, SourceRequest, TableColumn, TableDescriptor};
use wiesel_core::types::{DataType, Field, Schema, TypeKind};
use wiesel_core::{ChangeBatch, Result, Value, value};

use super::source::DONE;
use crate::registry::ConnectorContext;

fn table(
    path: &Path,
    format: &str,
    columns: &[(&str, DataType)],
    keys: &[&str],
    more: &[(&str, &str)],
) -> TableDescriptor {
    let path = path.to_str().unwrap();
    let mut options: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in [("connector", "filesystem"), ("path", path), ("format", format)].iter().chain(more) {
        options.insert((*key).to_owned(), (*value).to_owned());
    }
    let column = |(name, data_type): &(&str, DataType)| TableColumn {
        name: (*name).to_owned(),
        data_type: data_type.clone(),
        kind: match name.strip_prefix('@') {
            Some(key) => ColumnKind::Metadata { key: key.to_owned(), is_virtual: true },
            None => ColumnKind::Physical,
        },
    };
    TableDescriptor {
        name: "t".to_owned(),
        path: "default_catalog.default_database.t".to_owned(),
        columns: columns.iter().map(column).collect(),
        primary_key: Vec::new(),
        partition_keys: keys.iter().map(|k| (*k).to_owned()).collect(),
        options,
        sink_settings: Default::default(),
    }
}

/// A source that is being read, and how far.
struct Read {
    source: Box<dyn Source>,
    reader: Option<Box<dyn RowReader>>,
    types: Vec<DataType>,
    rows: Vec<String>,
    positions: BTreeMap<String, i64>,
    finished: usize,
}

impl Read {
    fn start(table: &TableDescriptor, columns: &[usize], restored: Option<&BTreeMap<String, i64>>) -> Result<Read> {
        let request = SourceRequest {
            columns: columns.to_vec(),
            time_zone: "UTC".to_owned(),
            workers: 1,
            job_name: "job".to_owned(),
        };
        let factory: Box<dyn SourceFactory> = super::source(table, &request, &ConnectorContext::default())?;
        let splits = restored.into_iter().flatten();
        let context = SourceContext {
            restored: splits.map(|(name, start)| Split { name: name.clone(), start: *start }).collect(),
            restored_ends: Vec::new(),
            is_restored: restored.is_some(),
            buffer_bytes_max: 1 << 20,
            waker: Waker::default(),
            cache_folder: None,
        };
        let source = factory.open(context)?;
        let positions = source.splits().iter().map(|s| (s.name.clone(), s.start)).collect();
        let types = columns.iter().map(|i| table.columns[*i].data_type.clone()).collect();
        Ok(Read { source, reader: factory.reader()?, types, rows: Vec::new(), positions, finished: 0 })
    }

    fn add(&mut self, batch: &RecordBatch) {
        for row in 0..batch.num_rows() {
            let cells = self.types.iter().zip(batch.columns());
            let shown: Vec<String> = cells.map(|(t, c)| shown(&Value::from_array(c, t, row))).collect();
            self.rows.push(shown.join(" "));
        }
    }

    fn raw(&mut self, batch: &RawBatch) -> Result<()> {
        let count = batch.records.len();
        let middle = count / 2;
        for range in [0..middle, middle..count].into_iter().filter(|r| !r.is_empty()) {
            let read = self.reader.as_mut().expect("a format of records").read(batch, range)?;
            self.add(&read.rows);
        }
        Ok(())
    }

    fn poll(&mut self, bytes_max: usize) -> Result<()> {
        let mut events = Vec::new();
        self.source.poll(bytes_max, Duration::from_millis(1), &mut events)?;
        for event in events {
            let (split, next) = match event {
                SourceEvent::Raw(batch) => {
                    self.raw(&batch)?;
                    (batch.split, batch.next)
                }
                SourceEvent::Rows(batch) => {
                    self.add(&batch.rows);
                    (batch.split, batch.next)
                }
                SourceEvent::Finished(_) => {
                    self.finished += 1;
                    continue;
                }
                _ => continue,
            };
            let name = self.source.splits()[split].name.clone();
            self.positions.insert(name, next);
        }
        Ok(())
    }

    fn all(mut self, bytes_max: usize) -> Result<Vec<String>> {
        while self.finished < self.source.splits().len() {
            self.poll(bytes_max)?;
        }
        Ok(self.rows)
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn read(table: &TableDescriptor, columns: &[usize]) -> Result<Vec<String>> {
    Read::start(table, columns, None)?.all(1 << 20)
}

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn files_of_any_depth_are_read_in_the_order_of_their_names() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    write(root, "r.json", b"{\"v\":1}\r\n\n{\"v\":2}");
    write(root, "sub/s.json", b"{\"v\":3}\n");
    write(root, "sub/deep/d.json", b"{\"v\":4}\n");
    write(root, "sub/z.json.gz", &gzip("{\"v\":5}\n{\"v\":6}\n"));
    write(root, "_hidden.json", b"x");
    write(root, "empty.json", b"");
    let text = DataType::not_null(DataType::string().kind);
    let size = DataType::not_null(TypeKind::BigInt);
    let columns = [("v", DataType::int()), ("@file.name", text.clone()), ("@file.size", size), ("@file.path", text)];
    let table = table(root, "json", &columns, &[], &[]);
    let expected = ["r.json 1", "r.json 2", "d.json 4", "s.json 3", "z.json.gz 5", "z.json.gz 6"];
    assert_eq!(read(&table, &[1, 0]).unwrap(), expected);
    assert_eq!(read(&table, &[2]).unwrap()[..4], ["17", "17", "8", "8"]);
    assert_eq!(read(&table, &[3]).unwrap()[2], root.join("sub/deep/d.json").to_str().unwrap());
    // Rows count although no column is read.
    let batches = Read::start(&table, &[], None).unwrap().all(1 << 20).unwrap();
    assert_eq!(batches.len(), 6);
}

#[test]
fn partition_columns_come_from_the_directories() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    write(root, "dt=2024-01-01/h=1/a.json", b"{\"v\":1}\n{\"v\":2}\n");
    write(root, "dt=2024-01-01/h=__DEFAULT_PARTITION__/c.json", b"{\"v\":4}\n");
    write(root, "dt=2024-01-02/h=7/_SUCCESS", b"");
    let columns = [("v", DataType::int()), ("dt", DataType::new(TypeKind::Date)), ("h", DataType::bigint())];
    let table_of = |columns: &[(&str, DataType)]| table(root, "json", columns, &["dt", "h"], &[]);
    let expected = ["1 1 Date(19723)", "1 2 Date(19723)", "NULL 4 Date(19723)"];
    assert_eq!(read(&table_of(&columns), &[2, 0, 1]).unwrap(), expected);
    write(root, "dt=2024-01-03/h=x/b.json", b"{\"v\":1}\n");
    let error = read(&table_of(&columns), &[0, 2]).unwrap_err();
    assert!(error.message().contains("directory `h=x` of table `t`: expected BIGINT, found `x`"), "{error}");
    write(root, "b.json", b"{\"v\":1}\n");
    let error = read(&table_of(&columns), &[0, 1]).unwrap_err();
    assert!(error.message().contains("does not lie in a directory `dt=...`"), "{error}");
}

#[test]
fn a_resumed_read_goes_on_at_the_very_record() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let lines = |range: std::ops::Range<i32>| {
        range.fold(String::new(), |text, i| text + &format!("{i},\"line {i}\nof {}\"\n", "x".repeat(2000)))
    };
    write(root, "a.csv", lines(0..300).as_bytes());
    write(root, "b.csv.gz", &gzip(&lines(300..600)));
    let table = table(root, "csv", &[("id", DataType::int()), ("text", DataType::string())], &[], &[]);
    let expected: Vec<String> = (0..600).map(|i| i.to_string()).collect();
    assert_eq!(read(&table, &[0]).unwrap(), expected);
    for polls in 0..14 {
        let mut first = Read::start(&table, &[0], None).unwrap();
        for _ in 0..polls {
            first.poll(1).unwrap();
        }
        let positions = first.positions.clone();
        let mut rows = first.rows;
        // A file that comes later is no part of a bounded read.
        write(root, "c.csv", b"9,x\n");
        rows.extend(Read::start(&table, &[0], Some(&positions)).unwrap().all(1).unwrap());
        fs::remove_file(root.join("c.csv")).unwrap();
        assert_eq!(rows, expected, "after {polls} polls");
    }
}

#[test]
fn a_file_that_was_read_to_its_end_may_go_away_and_no_other() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    write(root, "b.json", b"{\"v\":1}\n");
    let table = table(root, "json", &[("v", DataType::int())], &[], &[]);
    let done = BTreeMap::from([("a.json".to_owned(), DONE), ("b.json".to_owned(), 0)]);
    assert_eq!(Read::start(&table, &[0], Some(&done)).unwrap().all(1 << 20).unwrap(), ["1"]);
    let half = BTreeMap::from([("a.json".to_owned(), 8)]);
    let error = Read::start(&table, &[0], Some(&half)).err().unwrap();
    assert!(error.message().contains("file `a.json` of table `t` is gone"), "{error}");
    let long = BTreeMap::from([("b.json".to_owned(), 800)]);
    let error = Read::start(&table, &[0], Some(&long)).unwrap().all(1 << 20).unwrap_err();
    assert!(error.message().contains("was read to byte 800 and has 8 bytes now"), "{error}");
}

#[test]
fn a_watched_directory_brings_new_files_and_each_once() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("later");
    let options = [("source.monitor-interval", "1 ms")];
    let table = table(&root, "json", &[("v", DataType::int())], &[], &options);
    let error = Read::start(&table, &[0], None).err().unwrap();
    assert_eq!(error.kind(), wiesel_core::ErrorKind::Unavailable);
    write(&root, "a.json", b"{\"v\":1}\n");
    let mut read = Read::start(&table, &[0], None).unwrap();
    while read.rows.is_empty() {
        read.poll(1 << 20).unwrap();
    }
    write(&root, "b.json", b"{\"v\":2}\n");
    while read.finished < 2 {
        read.poll(1 << 20).unwrap();
    }
    for _ in 0..5 {
        read.poll(1 << 20).unwrap();
    }
    assert_eq!(read.rows, ["1", "2"]);
    write(&root, "c.json", b"{\"v\":3}\n");
    assert_eq!(Read::start(&table, &[0], Some(&read.positions)).unwrap().all(1 << 20).unwrap(), ["3"]);
}

#[test]
fn a_bad_record_is_named_by_file_and_line() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    write(root, "a.json", b"{\"v\":1}\n{\"v\":2}\n{\"v\":}\n{\"v\":4}\n");
    let columns = [("v", DataType::int())];
    let error = read(&table(root, "json", &columns, &[], &[]), &[0]).unwrap_err();
    let place = format!("`{}`, line 3", root.join("a.json").display());
    assert!(error.places().contains(&place), "{error}");
    let ignoring = table(root, "json", &columns, &[], &[("json.ignore-parse-errors", "true")]);
    assert_eq!(read(&ignoring, &[0]).unwrap(), ["1", "2", "4"]);
    for (name, bytes, expected) in [
        ("a.gz", b"no gzip".as_slice(), "cannot unpack"),
        ("a.bz2", b"", "packed as .bz2 are not supported yet"),
        ("a.parquet", b"PAR1 no parquet PAR1", "as Parquet"),
    ] {
        let folder = TempDir::new().unwrap();
        write(folder.path(), name, bytes);
        let format = if name.ends_with("parquet") { "parquet" } else { "json" };
        let error = read(&table(folder.path(), format, &columns, &[], &[]), &[0]).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
        assert!(error.message().contains(folder.path().to_str().unwrap()), "{error}");
    }
}

/// Writes rows through the connector's own sink.
fn write_rows(table: &TableDescriptor, time_zone: &str, rows: &[Vec<Value>]) {
    let request = SinkRequest {
        columns: (0..table.columns.len()).collect(),
        changelog_mode: ChangelogMode::Insert,
        time_zone: time_zone.to_owned(),
        workers: 1,
        job_name: "job".to_owned(),
        checkpoint_interval_is_set: false,
        loop_folder: String::new(),
        run_key: String::new(),
        ordinal: 0,
        hands_over_refused: false,
        overwrite: false,
    };
    let factory = super::sink(table, &request, &ConnectorContext::default()).unwrap();
    let context = SinkContext { instance: 0, instances: 1, restored: Vec::new(), waker: Waker::default() };
    let mut sink = factory.open(context).unwrap();
    let columns = table.columns.iter().enumerate().map(|(index, column)| {
        let values: Vec<Value> = rows.iter().map(|row| row[index].clone()).collect();
        value::column(&column.data_type.kind, &values)
    });
    let fields = table.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone())).collect();
    let schema = Schema::new(fields);
    let batch = RecordBatch::try_new(Arc::clone(schema.arrow()), columns.collect()).unwrap();
    for _ in 0..3 {
        sink.write(&ChangeBatch::inserts(batch.clone())).unwrap();
    }
    sink.prepare(1, CheckpointKind::Final).unwrap();
    let prepared = loop {
        if let Some(prepared) = sink.poll_prepared().unwrap() {
            break prepared;
        }
    };
    factory.commit(1, &[prepared.pending]).unwrap();
}

#[test]
fn what_the_sink_writes_the_source_reads() {
    let string = || Box::new(DataType::string());
    let row = TypeKind::Row(vec![Field::new("x", DataType::int()), Field::new("y", DataType::string())]);
    let map = TypeKind::Map(Box::new(DataType::not_null(DataType::string().kind)), Box::new(DataType::bigint()));
    let time = 1_704_164_645_123_i64;
    let cells: &[(TypeKind, Value)] = &[
        (TypeKind::Boolean, Value::Boolean(true)),
        (TypeKind::TinyInt, Value::Int(-7)),
        (TypeKind::SmallInt, Value::Int(700)),
        (TypeKind::Int, Value::Int(70_000)),
        (TypeKind::BigInt, Value::Int(7_000_000_000)),
        (TypeKind::Float, Value::Float(1.5)),
        (TypeKind::Double, Value::Double(2.5)),
        (TypeKind::Decimal { precision: 10, scale: 2 }, Value::Decimal(12_345)),
        (TypeKind::Decimal { precision: 30, scale: 3 }, Value::Decimal(-1)),
        (DataType::string().kind, Value::String("a, \"b\"\nc".to_owned())),
        (TypeKind::VarBinary(99), Value::Bytes(vec![0, 1, 255])),
        (TypeKind::Date, Value::Date(19_724)),
        (TypeKind::Time(0), Value::Time(45_296_000)),
        (TypeKind::Timestamp(3), Value::Timestamp(time)),
        (TypeKind::Timestamp(6), Value::Timestamp(time * 1000 + 456)),
        (TypeKind::Timestamp(9), Value::Timestamp(time * 1_000_000 + 456_789)),
        (TypeKind::TimestampLtz(3), Value::Timestamp(time)),
        (TypeKind::Array(string()), Value::Array(vec![Value::String("p".to_owned()), Value::String("q".to_owned())])),
        (row, Value::Row(vec![Value::Int(1), Value::String("z".to_owned())])),
        (map, Value::Map(vec![(Value::String("k".to_owned()), Value::Int(5))])),
    ];
    let names: Vec<String> = (0..cells.len()).map(|i| format!("c{i}")).collect();
    for (format, options, time_zone) in [
        ("parquet", &[][..], "UTC"),
        ("parquet", &[][..], "Europe/Berlin"),
        ("parquet", &[("parquet.write.int64.timestamp", "true"), ("parquet.timestamp.time.unit", "nanos")][..], "UTC"),
        ("json", &[][..], "UTC"),
        ("csv", &[("csv.null-literal", "n/a")][..], "UTC"),
    ] {
        // Flink's csv has no MAP, and a NULL of ARRAY or ROW is read as one with a NULL inside.
        let count = if format == "csv" { cells.len() - 3 } else { cells.len() };
        let folder = TempDir::new().unwrap();
        let columns: Vec<(&str, DataType)> =
            names.iter().zip(cells).take(count).map(|(n, (k, _))| (n.as_str(), DataType::new(k.clone()))).collect();
        let table = table(folder.path(), format, &columns, &[], options);
        let full: Vec<Value> = cells.iter().take(count).map(|(_, v)| v.clone()).collect();
        write_rows(&table, time_zone, &[full.clone(), vec![Value::Null; count]]);
        let request = SourceRequest {
            columns: (0..count).rev().collect(),
            time_zone: time_zone.to_owned(),
            workers: 1,
            job_name: "job".to_owned(),
        };
        let factory = super::source(&table, &request, &ConnectorContext::default()).unwrap();
        let context = SourceContext {
            restored: Vec::new(),
            restored_ends: Vec::new(),
            is_restored: false,
            buffer_bytes_max: 1 << 20,
            waker: Waker::default(),
            cache_folder: None,
        };
        let types = request.columns.iter().map(|i| table.columns[*i].data_type.clone()).collect();
        let read = Read {
            source: factory.open(context).unwrap(),
            reader: factory.reader().unwrap(),
            types,
            rows: Vec::new(),
            positions: BTreeMap::new(),
            finished: 0,
        };
        let expected: Vec<String> = full.iter().rev().map(shown).collect();
        let rows = read.all(1 << 20).unwrap();
        assert_eq!(rows.len(), 6, "{format}");
        assert_eq!(rows[4], expected.join(" "), "{format} {options:?} {time_zone}");
        assert_eq!(rows[5], vec!["NULL"; count].join(" "), "{format}");
    }
}

#[test]
fn a_parquet_file_resumes_at_a_row_and_lacks_or_widens_columns() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let written = table(root, "parquet", &[("id", DataType::int()), ("name", DataType::string())], &[], &[]);
    let rows: Vec<Vec<Value>> = (0..5000).map(|i| vec![Value::Int(i), Value::String(format!("n{i}"))]).collect();
    write_rows(&written, "UTC", &rows);
    let columns = [("more", DataType::double()), ("id", DataType::bigint())];
    let wider = table(root, "parquet", &columns, &[], &[]);
    let mut first = Read::start(&wider, &[1, 0], None).unwrap();
    first.poll(1).unwrap();
    let positions = first.positions.clone();
    assert!(!first.rows.is_empty() && first.rows.len() < 15_000);
    let mut all = first.rows;
    all.extend(Read::start(&wider, &[1, 0], Some(&positions)).unwrap().all(1).unwrap());
    let expected: Vec<String> = (0..15_000).map(|i| format!("{} NULL", i % 5000)).collect();
    assert_eq!(all, expected);
    let wrong = table(root, "parquet", &[("name", DataType::int())], &[], &[]);
    let error = read(&wrong, &[0]).unwrap_err();
    assert!(error.message().contains("column `name` of table `t` is declared INT"), "{error}");
}
