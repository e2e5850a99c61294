//! The jdbc source: what the sink wrote is read again, whole and in parts.

use anyhow::{Result, ensure};

use super::jdbc::with;
use crate::e2e::context::Context;

/// Reads a job's printed rows, sorted.
fn printed(context: &Context, job: &str) -> Result<Vec<String>> {
    let job = context.write("read.sql", job)?;
    let run = context.run(["run", &job, "--fresh"], 60)?.expect_code(0)?;
    let mut rows: Vec<String> = run.stdout.lines().map(str::to_owned).collect();
    rows.sort();
    Ok(rows)
}

pub(crate) fn every_type_is_read(context: &Context) -> Result<()> {
    let table = context.unique("types");
    let mut postgres = context.postgres()?;
    postgres.execute(&format!(
        "CREATE TABLE {table} (id INT8, ok BOOL, n NUMERIC(20, 4), t TEXT, c CHAR(4), y BYTEA, d DATE, h TIME, \
         ts TIMESTAMP(6), a INT4[], j JSONB, u UUID);\n\
         INSERT INTO {table} VALUES (1, true, 12345.6785, 'it''s', 'ab', '\\x0102', '2024-01-02', '12:34:56', \
         '2024-01-02 03:04:05.123456', ARRAY[1, NULL, 3], '{{\"a\": 1}}', '00000000-0000-0000-0000-000000000001');\n\
         INSERT INTO {table} (id) VALUES (2)"
    ))?;
    let job = format!(
        "CREATE TABLE origin (id BIGINT, ok BOOLEAN, n DECIMAL(20, 3), t STRING, c CHAR(4), y BYTES, d DATE, h TIME, \
         ts TIMESTAMP(6), a ARRAY<INT>, j STRING, u STRING) {};\n\
         CREATE TABLE shown (id BIGINT, ok BOOLEAN, n DECIMAL(20, 3), t STRING, c STRING, y BYTES, d DATE, h TIME, \
         ts TIMESTAMP(6), a ARRAY<INT>, j STRING, u STRING) WITH ('connector' = 'print');\n\
         INSERT INTO shown SELECT * FROM origin;\n",
        with(context, &table)?
    );
    let rows = printed(context, &job)?;
    let expected = [
        "+I[1, true, 12345.679, it's, ab  , [1, 2], 2024-01-02, 12:34:56, 2024-01-02T03:04:05.123456, [1, null, 3], \
         {\"a\": 1}, 00000000-0000-0000-0000-000000000001]",
        "+I[2, null, null, null, null, null, null, null, null, null, null, null]",
    ];
    ensure!(rows == expected, "expected {expected:?}, found {rows:?}");
    Ok(())
}

pub(crate) fn parts_bring_the_rows_between_the_bounds(context: &Context) -> Result<()> {
    let table = context.unique("parts");
    let mut postgres = context.postgres()?;
    postgres.execute(&format!(
        "CREATE TABLE {table} (id INT8, t TEXT);\n\
         INSERT INTO {table} SELECT i, repeat('x', (i % 50)::int) FROM generate_series(1, 30000) AS i"
    ))?;
    let place = with(context, &table)?;
    let place = place.trim_end_matches(')');
    let job = format!(
        "SET 'table.exec.mini-batch.enabled' = 'true';\nSET 'table.exec.mini-batch.allow-latency' = '1 h';\n\
         SET 'table.exec.mini-batch.size' = '1000000';\n\
         CREATE TABLE origin (id BIGINT, t STRING) {place}, 'scan.partition.column' = 'id', 'scan.partition.num' = '7', \
         'scan.partition.lower-bound' = '11', 'scan.partition.upper-bound' = '29000', 'scan.fetch-size' = '500');\n\
         CREATE TABLE shown (c BIGINT, s BIGINT, l INT) WITH ('connector' = 'print');\n\
         INSERT INTO shown SELECT COUNT(*), SUM(id), SUM(CHAR_LENGTH(t)) FROM origin;\n"
    );
    let rows = printed(context, &job)?;
    let sql = format!("SELECT count(*), sum(id), sum(length(t)) FROM {table} WHERE id BETWEEN 11 AND 29000");
    let expected = postgres.query(&sql)?.concat().join(", ");
    ensure!(rows.last() == Some(&format!("+I[{expected}]")), "expected {expected}, found {rows:?}");
    Ok(())
}

pub(crate) fn a_missing_column_is_named(context: &Context) -> Result<()> {
    let table = context.unique("missing");
    context.postgres()?.execute(&format!("CREATE TABLE {table} (id INT8)"))?;
    let job = format!("CREATE TABLE origin (idd BIGINT) {};\nSELECT * FROM origin;\n", with(context, &table)?);
    let job = context.write("job.sql", &job)?;
    let run = context.run(["run", &job, "--fresh"], 60)?;
    ensure!(run.stderr.contains("column `idd` BIGINT is missing, the nearest is `id`"), "found: {}", run.stderr);
    Ok(())
}
