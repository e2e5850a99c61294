//! The dialect against SQLite itself, in files of the tests' own.

use std::sync::Arc;

use arrow_array::RecordBatch;
use rusqlite::Connection;
use tempfile::TempDir;
use wiesel_core::value::column;
use wiesel_core::{DataType, Result, TypeKind, Value};

use crate::epoch::Record;
use crate::jdbc::dialect::{Failure, RecordKey, RowWriter, ScanRange, in_transaction};
use crate::jdbc::options::JdbcOptions;
use crate::jdbc::sink::write_or_halve;
use crate::jdbc::target::Target;
use crate::registry::tests::table;
use crate::registry::{ConnectorContext, schema};

/// A database file with a table, and how it is declared.
struct File {
    folder: TempDir,
    columns: Vec<(&'static str, DataType)>,
    key: Vec<&'static str>,
}

impl File {
    fn new(script: &str, columns: &[(&'static str, DataType)], key: &[&'static str]) -> File {
        let folder = tempfile::tempdir().unwrap();
        Connection::open(folder.path().join("test.db")).unwrap().execute_batch(script).unwrap();
        File { folder, columns: columns.to_vec(), key: key.to_vec() }
    }

    fn connection(&self) -> Connection {
        Connection::open(self.folder.path().join("test.db")).unwrap()
    }

    fn target(&self, places: &[usize]) -> Result<Arc<Target>> {
        let url = format!("jdbc:sqlite:{}?busy_timeout=100", self.folder.path().join("test.db").display());
        let table = table(&self.columns, &self.key, &[("connector", "jdbc"), ("url", &url), ("table-name", "T")]);
        let options = JdbcOptions::read(&table, &ConnectorContext::default())?;
        Target::writer(&table, &options, schema(&table, places)?, "test")
    }

    fn all(&self) -> Arc<Target> {
        self.target(&(0..self.columns.len()).collect::<Vec<_>>()).unwrap()
    }

    /// What a query answers, as text.
    fn query(&self, sql: &str) -> Vec<String> {
        let connection = self.connection();
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|row| row.unwrap()).collect()
    }
}

fn rows(target: &Target, rows: &[&[Value]]) -> RecordBatch {
    let fields = target.schema.fields().iter().enumerate();
    let columns = fields
        .map(|(place, field)| {
            let values: Vec<Value> = rows.iter().map(|row| row[place].clone()).collect();
            column(&field.data_type.kind, &values)
        })
        .collect();
    RecordBatch::try_new(target.schema.arrow().clone(), columns).unwrap()
}

fn values(target: &Target, batch: &RecordBatch, place: usize) -> Vec<Value> {
    let data_type = &target.schema.fields()[place].data_type;
    (0..batch.num_rows()).map(|row| Value::from_array(batch.column(place), data_type, row)).collect()
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn keyed() -> File {
    let columns = [("Id", DataType::bigint()), ("name", DataType::string())];
    File::new("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL)", &columns, &["Id"])
}

#[test]
fn rows_are_upserted_and_deleted_by_key() {
    let file = keyed();
    let target = file.all();
    let mut writer = target.dialect().open_writer(&target).unwrap();
    let first = rows(&target, &[&[Value::Int(1), text("one")], &[Value::Int(2), text("two")]]);
    let second = rows(&target, &[&[Value::Int(2), text("zwei")], &[Value::Int(3), text("drei")]]);
    in_transaction(&mut *writer, |writer| writer.insert(&first)).unwrap();
    in_transaction(&mut *writer, |writer| writer.insert(&second)).unwrap();
    assert_eq!(file.query("SELECT id || name FROM t ORDER BY id"), ["1one", "2zwei", "3drei"]);
    in_transaction(&mut *writer, |writer| writer.delete(&second)).unwrap();
    assert_eq!(file.query("SELECT id || name FROM t"), ["1one"]);
}

#[test]
fn a_transaction_that_fails_leaves_nothing_behind() {
    let file = keyed();
    let target = file.all();
    let mut writer = target.dialect().open_writer(&target).unwrap();
    let batch = rows(&target, &[&[Value::Int(1), text("one")], &[Value::Int(2), Value::Null]]);
    let failure = in_transaction(&mut *writer, |writer| writer.insert(&batch)).unwrap_err();
    assert!(matches!(&failure, Failure::Row(e) if e.message().contains("NOT NULL constraint failed")), "{failure:?}");
    assert!(file.query("SELECT name FROM t").is_empty());
}

#[test]
fn refused_rows_are_found_between_the_others() {
    let file = keyed();
    let target = file.all();
    let mut writer = target.dialect().open_writer(&target).unwrap();
    let name = |n: i64| if n == 3 || n == 6 { Value::Null } else { text("x") };
    let all: Vec<[Value; 2]> = (0..8).map(|n| [Value::Int(n), name(n)]).collect();
    let batch = rows(&target, &all.iter().map(<[Value; 2]>::as_slice).collect::<Vec<_>>());
    let mut refused = Vec::new();
    in_transaction(&mut *writer, |writer| {
        let mut write = |writer: &mut dyn RowWriter, range: std::ops::Range<usize>| {
            writer.insert(&batch.slice(range.start, range.len()))
        };
        write_or_halve(writer, 0..8, &mut write, &mut refused)
    })
    .unwrap();
    assert_eq!(refused.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [3, 6]);
    assert_eq!(file.query("SELECT CAST(id AS TEXT) FROM t ORDER BY id"), ["0", "1", "2", "4", "5", "7"]);
}

#[test]
fn the_record_is_changed_with_the_rows_and_by_one_writer_at_a_time() {
    let file = keyed();
    let target = file.all();
    let key = RecordKey { job: "j".to_owned(), sink: "s".to_owned() };
    let mut writer = target.dialect().open_writer(&target).unwrap();
    let mut other = target.dialect().open_writer(&target).unwrap();
    writer.prepare_record().unwrap();
    other.prepare_record().unwrap();
    let record = Record { generation: 3, writer: 2, epoch: 41, is_last: true };
    writer.begin().unwrap();
    assert_eq!(writer.lock_record(&key).unwrap(), Record::default());
    assert!(matches!(other.begin(), Err(Failure::Away(_))), "the file is locked");
    writer.store_record(&key, &record).unwrap();
    writer.rollback().unwrap();
    in_transaction(&mut *other, |writer| {
        assert_eq!(writer.lock_record(&key).unwrap(), Record::default());
        writer.store_record(&key, &record)
    })
    .unwrap();
    in_transaction(&mut *writer, |writer| {
        assert_eq!(writer.lock_record(&key).unwrap(), record);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_scan_goes_on_where_it_was_and_holds_no_lock() {
    let scripts = [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE t (id INT, name TEXT, rowid TEXT)",
        "CREATE TABLE t (id INT PRIMARY KEY, name TEXT) WITHOUT ROWID",
        "CREATE TABLE u (id INT PRIMARY KEY, name TEXT); CREATE VIEW t AS SELECT id, name FROM u",
    ];
    for script in scripts {
        let file = File::new(script, &[("id", DataType::int()), ("name", DataType::string())], &[]);
        let filled = if script.contains("VIEW") { "u" } else { "t" };
        let fill = format!(
            "WITH RECURSIVE n(i) AS (SELECT -5 UNION ALL SELECT i + 1 FROM n WHERE i < 20) \
             INSERT INTO {filled} (id, name) SELECT i, 'n' || i FROM n"
        );
        file.connection().execute_batch(&fill).unwrap();
        let target = file.all();
        let range = ScanRange { column: "id".to_owned(), first: -3, last: 10 };
        let mut scan = target.dialect().open_scan(&target).unwrap();
        scan.open(Some(&range), 0).unwrap();
        let (batch, bytes) = scan.fetch(4).unwrap();
        assert!(bytes > 0);
        assert_eq!(values(&target, &batch, 0), [-3, -2, -1, 0].map(Value::Int), "{script}");
        file.connection().execute_batch("CREATE TABLE other (a)").unwrap();
        let mut resumed = target.dialect().open_scan(&target).unwrap();
        resumed.open(Some(&range), 4).unwrap();
        for scan in [&mut scan, &mut resumed] {
            let (batch, _) = scan.fetch(100).unwrap();
            assert_eq!(values(&target, &batch, 0), (1..=10).map(Value::Int).collect::<Vec<_>>(), "{script}");
            assert_eq!(scan.fetch(100).unwrap().0.num_rows(), 0);
            scan.close().unwrap();
        }
        resumed.open(None, 26).unwrap();
        assert_eq!(resumed.fetch(100).unwrap().0.num_rows(), 0, "{script}");
    }
}

#[test]
fn a_lookup_says_which_key_a_row_belongs_to() {
    let columns = [("id", DataType::bigint()), ("name", DataType::string())];
    let script = "CREATE TABLE t (id INT, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (1, 'c')";
    let file = File::new(script, &columns, &[]);
    // The name is delivered, the id asked by.
    let target = file.target(&[1, 0]).unwrap();
    let keys = file.target(&[0]).unwrap();
    let keys = rows(&keys, &[&[Value::Int(2)], &[Value::Int(7)], &[Value::Int(1)]]);
    let mut lookup = target.dialect().open_lookup(&target, 1).unwrap();
    let (found, places) = lookup.ask(&keys).unwrap();
    assert_eq!(values(&target, &found, 0), [text("b"), text("a"), text("c")]);
    assert_eq!(places, [0, 2, 2]);
}

/// Name, Flink's type, SQLite's, a value, and how SQLite shows it.
type TypeCase = (&'static str, TypeKind, &'static str, Value, &'static str);

#[test]
fn every_type_comes_back_as_it_went() {
    let decimal = TypeKind::Decimal { precision: 30, scale: 4 };
    let cases: Vec<TypeCase> = vec![
        ("a", TypeKind::Boolean, "BOOLEAN", Value::Boolean(true), "1"),
        ("b", TypeKind::TinyInt, "INT", Value::Int(-128), "-128"),
        ("c", TypeKind::BigInt, "INT", Value::Int(i64::MAX), "9223372036854775807"),
        ("d", TypeKind::Float, "REAL", Value::Float(0.1), "0.10000000149011612"),
        ("e", TypeKind::Double, "REAL", Value::Double(0.1), "0.1"),
        ("f", decimal, "TEXT", Value::Decimal(-12_345_678_901_234_567_890_001), "-1234567890123456789.0001"),
        ("g", TypeKind::Decimal { precision: 9, scale: 2 }, "DECIMAL(9, 2)", Value::Decimal(1250), "12.5"),
        ("h", TypeKind::VarChar(20), "TEXT", text("grüße"), "grüße"),
        ("i", TypeKind::VarBinary(9), "BLOB", Value::Bytes(vec![0, 255]), "00FF"),
        ("j", TypeKind::Date, "DATE", Value::Date(-1), "1969-12-31"),
        ("k", TypeKind::Time(3), "TIME", Value::Time(86_399_500), "23:59:59.500"),
        ("l", TypeKind::Timestamp(3), "TEXT", Value::Timestamp(-1), "1969-12-31 23:59:59.999"),
        ("m", TypeKind::Timestamp(6), "TEXT", Value::Timestamp(1), "1970-01-01 00:00:00.000001"),
        ("n", TypeKind::TimestampLtz(3), "TEXT", Value::Timestamp(1500), "1970-01-01 00:00:01.500Z"),
    ];
    let list = |part: &dyn Fn(&TypeCase) -> String| cases.iter().map(part).collect::<Vec<_>>().join(", ");
    let columns: Vec<(&'static str, DataType)> = cases.iter().map(|c| (c.0, DataType::new(c.1.clone()))).collect();
    let file = File::new(&format!("CREATE TABLE t ({})", list(&|c| format!("{} {}", c.0, c.2))), &columns, &[]);
    let target = file.all();
    let sent: Vec<Value> = cases.iter().map(|c| c.3.clone()).collect();
    let nulls = vec![Value::Null; cases.len()];
    let batch = rows(&target, &[&sent, &nulls]);
    let mut writer = target.dialect().open_writer(&target).unwrap();
    in_transaction(&mut *writer, |writer| writer.insert(&batch)).unwrap();
    for (name, _, _, _, expected) in &cases {
        let shown = if *name == "i" { format!("hex({name})") } else { format!("CAST({name} AS TEXT)") };
        assert_eq!(file.query(&format!("SELECT {shown} FROM t LIMIT 1")), [*expected], "{name}");
    }
    let mut scan = target.dialect().open_scan(&target).unwrap();
    scan.open(None, 0).unwrap();
    let (found, _) = scan.fetch(10).unwrap();
    for (place, value) in sent.into_iter().enumerate() {
        assert_eq!(values(&target, &found, place), [value, Value::Null]);
    }
    let nan = [("e", DataType::double())];
    let file = File::new("CREATE TABLE t (e REAL)", &nan, &[]);
    let target = file.all();
    let batch = rows(&target, &[&[Value::Double(f64::NAN)]]);
    let mut writer = target.dialect().open_writer(&target).unwrap();
    let failure = in_transaction(&mut *writer, |writer| writer.insert(&batch)).unwrap_err();
    assert!(matches!(failure, Failure::Row(_)), "{failure:?}");
}

/// A script, the declared columns and key, and what is said.
type MisfitCase<'a> = (&'a str, &'a [(&'static str, DataType)], &'a [&'static str], &'a str);

#[test]
fn what_does_not_fit_is_said_before_the_first_row() {
    let id = [("id", DataType::bigint())];
    let cases: &[MisfitCase<'_>] = &[
        ("CREATE TABLE x (id INT)", &id, &[], "has no table `T`"),
        ("CREATE TABLE t (idd INT)", &id, &[], "column `id` BIGINT is missing, the nearest is `idd`"),
        ("CREATE TABLE t (id INT)", &id, &["id"], "no unique constraint on exactly the primary key"),
    ];
    for (script, columns, key, message) in cases {
        let file = File::new(script, columns, key);
        let target = file.all();
        let Err(failure) = target.dialect().open_writer(&target) else { panic!("{script} was taken") };
        let error = wiesel_core::Error::from(failure).to_string();
        assert!(error.contains(message), "{error}");
    }
    let file = keyed();
    let target = file.all();
    std::fs::remove_file(file.folder.path().join("test.db")).unwrap();
    let Err(failure) = target.dialect().open_scan(&target) else { panic!("a missing file was taken") };
    assert!(wiesel_core::Error::from(failure).to_string().contains("there is no file"));
    let array = DataType::new(TypeKind::Array(Box::new(DataType::int())));
    let file = File::new("CREATE TABLE t (a)", &[("a", array)], &[]);
    let Err(error) = file.target(&[0]) else { panic!("an array was taken") };
    assert!(error.message().contains("cannot carry ARRAY<INT> in SQLite yet"), "{error}");
}
