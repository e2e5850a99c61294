//! The jdbc sink read back with SQL: appending without a key, and every type.

use anyhow::{Result, ensure};

use crate::e2e::context::Context;
use crate::services::postgres::{DATABASE, PASSWORD, USER};

/// The WITH list of a table of the test database.
pub(super) fn with(context: &Context, table: &str) -> Result<String> {
    let address = context.services().postgres()?.address();
    Ok(format!(
        "WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://{address}/{DATABASE}', 'table-name' = '{table}', \
         'username' = '{USER}', 'password' = '{PASSWORD}')"
    ))
}

pub(crate) fn rows_without_a_key_are_appended(context: &Context) -> Result<()> {
    let table = context.unique("appended");
    let mut postgres = context.postgres()?;
    postgres.execute(&format!("CREATE TABLE {table} (name TEXT, n INT)"))?;
    let job = format!(
        "CREATE TABLE target (name STRING, n INT) {};\n\
         INSERT INTO target VALUES ('a', 1), ('a', 1), ('b', CAST(NULL AS INT));\n",
        with(context, &table)?
    );
    let job = context.write("job.sql", &job)?;
    // Each run appends: equal rows stay, because there is no key to fold them by.
    for runs in 1..=2 {
        context.run(["run", &job, "--fresh"], 60)?.expect_code(0)?;
        let rows = postgres.query(&format!("SELECT name, n, count(*) FROM {table} GROUP BY 1, 2 ORDER BY 1"))?;
        let expected = [["a", "1", &(2 * runs).to_string()], ["b", "NULL", &runs.to_string()]];
        ensure!(rows == expected, "after {runs} runs: expected {expected:?}, found {rows:?}");
    }
    Ok(())
}

/// Name, Flink type, PostgreSQL type, Flink expression, and what PostgreSQL shows.
type Column = (&'static str, &'static str, &'static str, &'static str, &'static str);

const TYPES: &[Column] = &[
    ("t_boolean", "BOOLEAN", "BOOLEAN", "TRUE", "t"),
    ("t_tinyint", "TINYINT", "SMALLINT", "CAST(-128 AS TINYINT)", "-128"),
    ("t_smallint", "SMALLINT", "SMALLINT", "CAST(32767 AS SMALLINT)", "32767"),
    ("t_int", "INT", "INTEGER", "CAST(-2147483648 AS INT)", "-2147483648"),
    ("t_bigint", "BIGINT", "BIGINT", "9223372036854775807", "9223372036854775807"),
    ("t_float", "FLOAT", "REAL", "CAST(1.5 AS FLOAT)", "1.5"),
    ("t_double", "DOUBLE", "DOUBLE PRECISION", "CAST('0.1' AS DOUBLE)", "0.1"),
    (
        "t_decimal",
        "DECIMAL(20, 5)",
        "NUMERIC(20, 5)",
        "CAST('-123456789012345.00001' AS DECIMAL(20, 5))",
        "-123456789012345.00001",
    ),
    ("t_char", "CHAR(3)", "CHAR(3)", "CAST('abc' AS CHAR(3))", "abc"),
    ("t_varchar", "VARCHAR(10)", "VARCHAR(10)", "CAST('grüße' AS VARCHAR(10))", "grüße"),
    ("t_string", "STRING", "TEXT", "'it''s'", "it's"),
    ("t_bytes", "BYTES", "BYTEA", "X'00ff10'", "\\x00ff10"),
    ("t_date", "DATE", "DATE", "DATE '1969-12-31'", "1969-12-31"),
    ("t_time", "TIME", "TIME", "TIME '23:59:58'", "23:59:58"),
    (
        "t_timestamp",
        "TIMESTAMP(6)",
        "TIMESTAMP(6)",
        "TIMESTAMP '2024-02-29 12:34:56.123456'",
        "2024-02-29 12:34:56.123456",
    ),
    (
        "t_timestamp_ltz",
        "TIMESTAMP_LTZ(3)",
        "TIMESTAMPTZ",
        "TO_TIMESTAMP_LTZ(1704067200123, 3)",
        "2024-01-01 00:00:00.123+00",
    ),
    ("t_ints", "ARRAY<INT>", "INTEGER[]", "ARRAY[1, 2, 3]", "{1,2,3}"),
    ("t_texts", "ARRAY<STRING>", "TEXT[]", "ARRAY['a', 'b c']", "{a,\"b c\"}"),
];

pub(crate) fn every_type_comes_back_as_it_went(context: &Context) -> Result<()> {
    let table = context.unique("types");
    let list = |part: &dyn Fn(&Column) -> String| TYPES.iter().map(part).collect::<Vec<_>>().join(", ");
    let mut postgres = context.postgres()?;
    postgres
        .execute(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, {})", list(&|t| format!("{} {}", t.0, t.2))))?;
    let job = format!(
        "CREATE TABLE target (id INT, {}, PRIMARY KEY (id) NOT ENFORCED) {};\n\
         INSERT INTO target SELECT 1, {};\n\
         INSERT INTO target SELECT 2, {};\n",
        list(&|t| format!("{} {}", t.0, t.1)),
        with(context, &table)?,
        list(&|t| t.3.to_owned()),
        list(&|t| format!("CAST(NULL AS {})", t.1)),
    );
    let job = context.write("job.sql", &job)?;
    context.run(["run", &job], 60)?.expect_code(0)?;
    postgres.execute("SET TIME ZONE 'UTC'")?;
    let rows = postgres.query(&format!("SELECT {} FROM {table} ORDER BY id", list(&|t| t.0.to_owned())))?;
    ensure!(rows.len() == 2, "two rows were written, found {rows:?}");
    for ((name, _, _, _, expected), (value, null)) in TYPES.iter().zip(rows[0].iter().zip(&rows[1])) {
        ensure!(value == expected, "`{name}`: expected {expected:?}, found {value:?}");
        ensure!(null == "NULL", "`{name}`: expected NULL, found {null:?}");
    }
    Ok(())
}
