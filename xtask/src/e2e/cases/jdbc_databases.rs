//! The jdbc connector with the databases beside PostgreSQL: MariaDB, read back with its own client, and SQLite, in a file of the case's own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::json;

use super::delivery::Drill;
use crate::e2e::context::Context;
use crate::services::mariadb::{DATABASE, PASSWORD, USER};
use crate::services::process::run_tool;

/// A database, as a test reaches it.
enum Database {
    MariaDb { host: String, port: String },
    Sqlite(PathBuf),
}

impl Database {
    fn mariadb(context: &Context) -> Result<Database> {
        let address = context.services().mariadb()?.address();
        let (host, port) = address.split_once(':').context("an address has a port")?;
        Ok(Database::MariaDb { host: host.to_owned(), port: port.to_owned() })
    }

    fn sqlite(context: &Context) -> Database {
        Database::Sqlite(context.folder().join("test.db"))
    }

    /// The beginning of the WITH list of a table.
    fn with(&self, table: &str) -> String {
        let url = match self {
            Database::MariaDb { host, port } => {
                format!("jdbc:mysql://{host}:{port}/{DATABASE}', 'username' = '{USER}', 'password' = '{PASSWORD}")
            }
            Database::Sqlite(path) => format!("jdbc:sqlite:{}", path.display()),
        };
        format!("WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = '{table}'")
    }

    /// Runs statements; what the last one answers comes back as text.
    fn run(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        match self {
            Database::MariaDb { host, port } => {
                let mut client = Command::new("mariadb");
                client.args([
                    "--no-defaults",
                    "--batch",
                    "--skip-column-names",
                    "--raw",
                    "--host",
                    host,
                    "--port",
                    port,
                ]);
                client.args(["--user", USER, "--default-character-set=utf8mb4", "--execute", sql, DATABASE]);
                let text = run_tool("ask MariaDB", client.env("MYSQL_PWD", PASSWORD))?;
                Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
            }
            Database::Sqlite(path) => {
                let connection = Connection::open(path)?;
                let Some(query) = sql.trim_start().starts_with("SELECT").then_some(sql) else {
                    connection.execute_batch(sql)?;
                    return Ok(Vec::new());
                };
                let mut statement = connection.prepare(query)?;
                let width = statement.column_count();
                let mut found = statement.query([])?;
                let mut rows = Vec::new();
                while let Some(row) = found.next()? {
                    rows.push((0..width).map(|place| row.get_ref(place).map(shown)).collect::<Result<_, _>>()?);
                }
                Ok(rows)
            }
        }
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(n) => n.to_string(),
        ValueRef::Real(n) => n.to_string(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
    }
}

/// Runs a job and gives its printed rows, sorted.
fn printed(context: &Context, job: &str) -> Result<Vec<String>> {
    let job = context.write("job.sql", job)?;
    let run = context.run(["run", &job, "--fresh"], 90)?.expect_code(0)?;
    let mut rows: Vec<String> = run.stdout.lines().map(str::to_owned).collect();
    rows.sort();
    Ok(rows)
}

fn rows_are_upserted_read_and_looked_up(context: &Context, database: &Database) -> Result<()> {
    let (sums, plain) = (context.unique("sums"), context.unique("plain"));
    database.run(&format!(
        "CREATE TABLE {sums} (name VARCHAR(20) NOT NULL PRIMARY KEY, n BIGINT, total DECIMAL(10, 2)); \
         CREATE TABLE {plain} (name VARCHAR(20), n INT)"
    ))?;
    let tables = format!(
        "CREATE TABLE sums (name STRING, n BIGINT, total DECIMAL(10, 2), PRIMARY KEY (name) NOT ENFORCED) {});\n\
         CREATE TABLE plain (name STRING, n INT) {});\n",
        database.with(&sums),
        database.with(&plain)
    );
    let values = "(VALUES ('b', 2.25), ('c', 7.05), ('c', 1.0), ('c', 1.0), ('d', 0.1)) AS v (name, x)";
    // A group of two is there for a moment, until `c` has its third row.
    let job = format!(
        "{tables}INSERT INTO sums SELECT CAST(c AS STRING), COUNT(*), CAST(SUM(s) AS DECIMAL(10, 2)) FROM (SELECT name, \
         COUNT(*) AS c, SUM(x) AS s FROM {values} GROUP BY name) GROUP BY c;\n\
         INSERT INTO plain SELECT name, CAST(x AS INT) FROM {values};\n"
    );
    let job = context.write("write.sql", &job)?;
    // Written twice, the rows with a key are the same, and those without are there twice.
    for runs in 1..=2 {
        context.run(["run", &job, "--fresh"], 90)?.expect_code(0)?;
        let rows = database.run(&format!("SELECT name, n, CAST(total AS CHAR(20)) FROM {sums} ORDER BY name"))?;
        let total = |text: &str| text.trim_end_matches('0').to_owned();
        let rows: Vec<_> = rows.iter().map(|row| (row[0].clone(), row[1].clone(), total(&row[2]))).collect();
        let expected = [("1", "2", "2.35"), ("3", "1", "9.05")];
        let expected = expected.map(|(name, n, total)| (name.to_owned(), n.to_owned(), total.to_owned()));
        ensure!(rows == expected, "after {runs} runs: expected {expected:?}, found {rows:?}");
        let rows = database.run(&format!("SELECT count(*) FROM {plain}"))?;
        ensure!(rows == [[(5 * runs).to_string()]], "after {runs} runs: found {rows:?}");
    }

    let many = context.unique("many");
    let recursion =
        "WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 900) SELECT n, n * 2 FROM i";
    database.run(&format!("CREATE TABLE {many} (id INT PRIMARY KEY, n INT); INSERT INTO {many} {recursion}"))?;
    let job = format!(
        "CREATE TABLE many (id INT, n INT) {}, 'scan.partition.column' = 'id', 'scan.partition.num' = '7', \
         'scan.partition.lower-bound' = '11', 'scan.partition.upper-bound' = '890', 'scan.fetch-size' = '50');\n\
         CREATE TABLE shown (line STRING) WITH ('connector' = 'print');\n\
         INSERT INTO shown SELECT CONCAT_WS(',', CAST(id AS STRING), CAST(n AS STRING)) FROM many;\n",
        database.with(&many)
    );
    let mut expected: Vec<String> = (11..=890).map(|id| format!("+I[{id},{}]", id * 2)).collect();
    expected.sort();
    let rows = printed(context, &job)?;
    ensure!(rows == expected, "the parts: expected {} rows, found {}: {:?}", expected.len(), rows.len(), rows.first());

    let job = format!(
        "{tables}CREATE TABLE shown (n STRING, total DECIMAL(10, 2)) WITH ('connector' = 'print');\n\
         INSERT INTO shown SELECT o.n, s.total FROM (SELECT n, name, PROCTIME() AS p FROM (VALUES ('1', '1'), ('2', 'x'), \
         ('3', '3'), ('4', '1'), ('5', CAST(NULL AS STRING))) AS t (n, name)) AS o \
         LEFT JOIN sums FOR SYSTEM_TIME AS OF o.p AS s ON o.name = s.name;\n"
    );
    let rows = printed(context, &job)?;
    let expected = ["+I[1, 2.35]", "+I[2, null]", "+I[3, 9.05]", "+I[4, 2.35]", "+I[5, null]"];
    ensure!(rows == expected, "the lookup: expected {expected:?}, found {rows:?}");
    Ok(())
}

/// Name, Flink type, the database's type, Flink expression, what the database shows, what a job shows that reads it again.
type Column = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

fn every_type(context: &Context, database: &Database, types: &[Column]) -> Result<()> {
    let table = context.unique("types");
    let list = |part: &dyn Fn(&Column) -> String| types.iter().map(part).collect::<Vec<_>>().join(", ");
    database.run(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, {})", list(&|t| format!("{} {}", t.0, t.2))))?;
    let declared = list(&|t| format!("{} {}", t.0, t.1));
    let target = format!(
        "CREATE TABLE target (id INT, {declared}, PRIMARY KEY (id) NOT ENFORCED) {});\n",
        database.with(&table)
    );
    let job = format!(
        "{target}INSERT INTO target SELECT 1, {};\nINSERT INTO target SELECT 2, {};\n",
        list(&|t| t.3.to_owned()),
        list(&|t| format!("CAST(NULL AS {})", t.1)),
    );
    let job = context.write("write.sql", &job)?;
    context.run(["run", &job, "--fresh"], 90)?.expect_code(0)?;
    let is_bytes = |name: &str| name == "t_bytes";
    let read = list(&|t| if is_bytes(t.0) { format!("hex({})", t.0) } else { t.0.to_owned() });
    let zone = if matches!(database, Database::MariaDb { .. }) { "SET time_zone = '+00:00'; " } else { "" };
    let rows = database.run(&format!("{zone}SELECT {read} FROM {table} ORDER BY id"))?;
    ensure!(rows.len() == 2, "two rows were written, found {rows:?}");
    for ((name, _, _, _, expected, _), (value, null)) in types.iter().zip(rows[0].iter().zip(&rows[1])) {
        ensure!(value == expected, "`{name}`: expected {expected:?}, found {value:?}");
        ensure!(null == "NULL" || null.is_empty(), "`{name}`: expected NULL, found {null:?}");
    }
    let job = format!(
        "{target}CREATE TABLE shown (id INT, {declared}) WITH ('connector' = 'print');\nINSERT INTO shown SELECT * FROM target;\n"
    );
    let rows = printed(context, &job)?;
    let nulls = vec!["null"; types.len()].join(", ");
    let expected = [format!("+I[1, {}]", list(&|t| t.5.to_owned())), format!("+I[2, {nulls}]")];
    ensure!(rows == expected, "read again: expected {expected:?}, found {rows:?}");
    Ok(())
}

/// A sink with a key and one without, exactly once through kills at the steps of a checkpoint.
fn survives_kills(context: &Context, database: &Database) -> Result<()> {
    let tables = [context.unique("keyed"), context.unique("unkeyed")];
    database.run(&format!(
        "CREATE TABLE {} (id INT PRIMARY KEY, name VARCHAR(40)); CREATE TABLE {} (id INT, name VARCHAR(40))",
        tables[0], tables[1]
    ))?;
    let sinks = format!(
        "SET 'wiesel.sink.keyed.delivery' = 'exactly-once';\nSET 'wiesel.sink.unkeyed.delivery' = 'exactly-once';\n\
         CREATE TABLE keyed (id INT, name STRING, PRIMARY KEY (id) NOT ENFORCED) {});\n\
         CREATE TABLE unkeyed (id INT, name STRING) {});",
        database.with(&tables[0]),
        database.with(&tables[1]),
    );
    let inserts = "INSERT INTO keyed SELECT id, name FROM events;\nINSERT INTO unkeyed SELECT id, name FROM events;";
    let mut drill = Drill::new(context, &sinks, inserts)?;
    drill.play_through_kills()?;
    for table in &tables {
        let rows = database.run(&format!("SELECT id, name FROM {table}"))?;
        let rows: Vec<_> =
            rows.iter().map(|row| json!({ "id": row[0].parse().unwrap_or(-1), "name": row[1] })).collect();
        drill.expect_once(table, rows)?;
    }
    Ok(())
}

const MYSQL_TYPES: &[Column] = &[
    ("t_boolean", "BOOLEAN", "TINYINT(1)", "TRUE", "1", "true"),
    ("t_tinyint", "TINYINT", "TINYINT", "CAST(-128 AS TINYINT)", "-128", "-128"),
    ("t_smallint", "SMALLINT", "TINYINT UNSIGNED", "CAST(255 AS SMALLINT)", "255", "255"),
    ("t_int", "INT", "MEDIUMINT", "CAST(-8388608 AS INT)", "-8388608", "-8388608"),
    ("t_bigint", "BIGINT", "INT UNSIGNED", "4294967295", "4294967295", "4294967295"),
    (
        "t_huge",
        "DECIMAL(20, 0)",
        "BIGINT UNSIGNED",
        "CAST('18446744073709551615' AS DECIMAL(20, 0))",
        "18446744073709551615",
        "18446744073709551615",
    ),
    ("t_float", "FLOAT", "FLOAT", "CAST(1.5 AS FLOAT)", "1.5", "1.5"),
    ("t_double", "DOUBLE", "DOUBLE", "CAST('0.1' AS DOUBLE)", "0.1", "0.1"),
    (
        "t_decimal",
        "DECIMAL(20, 5)",
        "DECIMAL(20, 5)",
        "CAST('-123456789012345.00001' AS DECIMAL(20, 5))",
        "-123456789012345.00001",
        "-123456789012345.00001",
    ),
    ("t_varchar", "VARCHAR(10)", "VARCHAR(10) CHARACTER SET utf8mb4", "CAST('grüße' AS VARCHAR(10))", "grüße", "grüße"),
    ("t_string", "STRING", "TEXT CHARACTER SET utf8mb4", "'it''s'", "it's", "it's"),
    ("t_json", "STRING", "JSON", "'[1, 2]'", "[1, 2]", "[1, 2]"),
    ("t_enum", "STRING", "ENUM('x', 'y')", "'y'", "y", "y"),
    ("t_bytes", "BYTES", "BLOB", "X'00ff10'", "00FF10", "[0, -1, 16]"),
    ("t_date", "DATE", "DATE", "DATE '1969-12-31'", "1969-12-31", "1969-12-31"),
    ("t_time", "TIME", "TIME", "TIME '23:59:58'", "23:59:58", "23:59:58"),
    (
        "t_timestamp",
        "TIMESTAMP(6)",
        "DATETIME(6)",
        "TIMESTAMP '2024-02-29 12:34:56.123456'",
        "2024-02-29 12:34:56.123456",
        "2024-02-29T12:34:56.123456",
    ),
    (
        "t_ltz",
        "TIMESTAMP_LTZ(3)",
        "TIMESTAMP(3) NULL",
        "TO_TIMESTAMP_LTZ(1704067200123, 3)",
        "2024-01-01 00:00:00.123",
        "2024-01-01T00:00:00.123Z",
    ),
];

const SQLITE_TYPES: &[Column] = &[
    ("t_boolean", "BOOLEAN", "BOOLEAN", "TRUE", "1", "true"),
    ("t_bigint", "BIGINT", "INTEGER", "9223372036854775807", "9223372036854775807", "9223372036854775807"),
    ("t_double", "DOUBLE", "REAL", "CAST('0.1' AS DOUBLE)", "0.1", "0.1"),
    (
        "t_decimal",
        "DECIMAL(20, 5)",
        "TEXT",
        "CAST('-123456789012345.00001' AS DECIMAL(20, 5))",
        "-123456789012345.00001",
        "-123456789012345.00001",
    ),
    ("t_string", "STRING", "TEXT", "'it''s grüße'", "it's grüße", "it's grüße"),
    ("t_bytes", "BYTES", "BLOB", "X'00ff10'", "00FF10", "[0, -1, 16]"),
    ("t_date", "DATE", "TEXT", "DATE '1969-12-31'", "1969-12-31", "1969-12-31"),
    ("t_time", "TIME", "TEXT", "TIME '23:59:58'", "23:59:58", "23:59:58"),
    (
        "t_timestamp",
        "TIMESTAMP(6)",
        "TEXT",
        "TIMESTAMP '2024-02-29 12:34:56.123456'",
        "2024-02-29 12:34:56.123456",
        "2024-02-29T12:34:56.123456",
    ),
    (
        "t_ltz",
        "TIMESTAMP_LTZ(3)",
        "TEXT",
        "TO_TIMESTAMP_LTZ(1704067200123, 3)",
        "2024-01-01 00:00:00.123Z",
        "2024-01-01T00:00:00.123Z",
    ),
];

pub(crate) fn mysql_every_type_comes_back_as_it_went(context: &Context) -> Result<()> {
    every_type(context, &Database::mariadb(context)?, MYSQL_TYPES)
}

pub(crate) fn mysql_rows_are_upserted_read_and_looked_up(context: &Context) -> Result<()> {
    rows_are_upserted_read_and_looked_up(context, &Database::mariadb(context)?)
}

pub(crate) fn mysql_survives_kills(context: &Context) -> Result<()> {
    survives_kills(context, &Database::mariadb(context)?)
}

pub(crate) fn sqlite_every_type_comes_back_as_it_went(context: &Context) -> Result<()> {
    every_type(context, &Database::sqlite(context), SQLITE_TYPES)
}

pub(crate) fn sqlite_rows_are_upserted_read_and_looked_up(context: &Context) -> Result<()> {
    rows_are_upserted_read_and_looked_up(context, &Database::sqlite(context))
}

pub(crate) fn sqlite_survives_kills(context: &Context) -> Result<()> {
    survives_kills(context, &Database::sqlite(context))
}
