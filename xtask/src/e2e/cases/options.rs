//! Options of formats and connectors that need no server, as their tables show them: what is read from a written file, what a file holds
//! that was written.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::filesystem::visible_files;
use super::jdbc::with;
use crate::e2e::context::Context;

/// The lines that a job prints, sorted.
pub(super) fn printed(context: &Context, name: &str, job: &str) -> Result<Vec<String>> {
    let job = context.write(&format!("{name}.sql"), job)?;
    let run = context.run(["run", &job, "--fresh"], 60)?.expect_code(0)?;
    let mut lines: Vec<String> = run.stdout.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok(lines)
}

/// Runs a job that writes files, and gives their lines, sorted.
fn written(context: &Context, name: &str, job: &str) -> Result<Vec<String>> {
    let folder = context.folder().join(name);
    printed(context, name, &job.replace("FOLDER", &folder.display().to_string()))?;
    let mut lines = Vec::new();
    for path in visible_files(&folder)?.values() {
        lines.extend(fs::read_to_string(path)?.lines().map(str::to_owned));
    }
    lines.sort_unstable();
    Ok(lines)
}

pub(crate) fn of_csv(context: &Context) -> Result<()> {
    let path = context.write("in.csv", "# a comment\n1;'a;b';x|y;1.5\n2;'it\\'s';p;n/a\nnone;z;x;2\n3;n/a;q;3\n")?;
    let found = printed(
        context,
        "read-csv",
        &format!(
            "CREATE TABLE t (id INT, s STRING, tags ARRAY<STRING>, d DECIMAL(3, 1)) WITH ('connector' = 'filesystem', 'path' = '{path}', \
             'format' = 'csv', 'csv.field-delimiter' = ';', 'csv.quote-character' = '''', 'csv.escape-character' = '\\', \
             'csv.allow-comments' = 'true', 'csv.ignore-parse-errors' = 'true', 'csv.array-element-delimiter' = '|', \
             'csv.null-literal' = 'n/a');\n\
             CREATE TABLE p (id INT, s STRING, tags ARRAY<STRING>, d DECIMAL(3, 1)) WITH ('connector' = 'print');\n\
             INSERT INTO p SELECT * FROM t;\n"
        ),
    )?;
    let expected =
        ["+I[1, a;b, [x, y], 1.5]", "+I[2, it's, [p], null]", "+I[3, null, [q], 3.0]", "+I[null, z, [x], 2.0]"];
    ensure!(found == expected, "found {found:?}");
    let found = written(
        context,
        "write-csv",
        "CREATE TABLE t (id INT, s STRING, tags ARRAY<STRING>, d DECIMAL(10, 0)) WITH ('connector' = 'filesystem', 'path' = 'FOLDER', \
         'format' = 'csv', 'csv.field-delimiter' = ';', 'csv.disable-quote-character' = 'true', 'csv.array-element-delimiter' = '|', \
         'csv.null-literal' = 'NULL', 'csv.write-bigdecimal-in-scientific-notation' = 'false');\n\
         INSERT INTO t VALUES (1, 'a b', ARRAY['x', 'y'], CAST(100000 AS DECIMAL(10, 0))), \
         (2, CAST(NULL AS STRING), ARRAY['z'], CAST(7 AS DECIMAL(10, 0)));\n",
    )?;
    ensure!(found == ["1;a b;x|y;100000", "2;NULL;z;7"], "found {found:?}");
    Ok(())
}

pub(crate) fn of_json(context: &Context) -> Result<()> {
    let found = written(
        context,
        "write-json",
        "CREATE TABLE t (id INT, s STRING, d DECIMAL(10, 0), m MAP<STRING, INT>) WITH ('connector' = 'filesystem', 'path' = 'FOLDER', \
         'format' = 'json', 'json.encode.decimal-as-plain-number' = 'true', 'json.encode.ignore-null-fields' = 'true', \
         'json.map-null-key.mode' = 'LITERAL', 'json.map-null-key.literal' = 'none');\n\
         INSERT INTO t VALUES (1, CAST(NULL AS STRING), CAST(100000 AS DECIMAL(10, 0)), MAP['k', 2]);\n",
    )?;
    ensure!(found == [r#"{"id":1,"d":100000,"m":{"k":2}}"#], "found {found:?}");
    let path = context.write("in.json", "{\"a\":1,\"b\":2}\n{\"a\":3}\n")?;
    let read = |options: &str| {
        format!(
            "CREATE TABLE t (a INT, b INT, file STRING METADATA FROM 'file.path') WITH ('connector' = 'filesystem', 'path' = '{path}', \
             'format' = 'json'{options});\n\
             CREATE TABLE p (a INT, b INT, is_named BOOLEAN) WITH ('connector' = 'print');\n\
             INSERT INTO p SELECT a, b, file LIKE '%in.json' FROM t;\n"
        )
    };
    let found = printed(context, "read-json", &read(", 'json.decode.json-parser.enabled' = 'false'"))?;
    ensure!(found == ["+I[1, 2, true]", "+I[3, null, true]"], "found {found:?}");
    let job = context.write("missing.sql", &read(", 'json.fail-on-missing-field' = 'true'"))?;
    let run = context.run(["run", &job, "--fresh"], 60)?;
    ensure!(run.code != Some(0), "a missing field must end the job");
    ensure!(run.stderr.contains("in.json`, line 2"), "found: {}", run.stderr);
    Ok(())
}

pub(crate) fn of_file_partitions(context: &Context) -> Result<()> {
    let folder = context.folder().join("parts");
    let table = format!(
        "CREATE TABLE t (id INT, dt STRING) PARTITIONED BY (dt) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json', \
         'partition.default-name' = 'nowhere', 'sink.rolling-policy.inactivity-interval' = '1 min');\n",
        folder.display()
    );
    printed(
        context,
        "write-parts",
        &format!("{table}INSERT INTO t VALUES (1, '2024-01-01'), (2, CAST(NULL AS STRING));\n"),
    )?;
    let files = visible_files(&folder)?;
    for partition in ["dt=2024-01-01/", "dt=nowhere/"] {
        ensure!(files.keys().any(|name| name.starts_with(partition)), "no `{partition}` in {files:?}");
    }
    let show =
        "CREATE TABLE p (id INT, dt STRING) WITH ('connector' = 'print');\nINSERT INTO p SELECT id, dt FROM t;\n";
    let found = printed(context, "read-parts", &format!("{table}{show}"))?;
    ensure!(found == ["+I[1, 2024-01-01]", "+I[2, null]"], "found {found:?}");
    Ok(())
}

pub(crate) fn of_datagen_and_print(context: &Context) -> Result<()> {
    let job = context.write(
        "job.sql",
        "CREATE TABLE t (s STRING, v STRING, n INT, ts TIMESTAMP(3)) WITH ('connector' = 'datagen', 'number-of-rows' = '20', \
         'fields.s.length' = '3', 'fields.v.length' = '10', 'fields.v.var-len' = 'true', 'fields.n.null-rate' = '1.0', \
         'fields.ts.max-past' = '1 s');\n\
         CREATE TABLE p (a INT, b BOOLEAN, c BOOLEAN, d BOOLEAN) WITH ('connector' = 'print', 'standard-error' = 'true');\n\
         INSERT INTO p SELECT CHAR_LENGTH(s), CHAR_LENGTH(v) BETWEEN 1 AND 10, n IS NULL, \
         ts > LOCALTIMESTAMP - INTERVAL '1' HOUR FROM t;\n",
    )?;
    let run = context.run(["run", &job, "--fresh"], 60)?.expect_code(0)?;
    let lines = run.stderr.lines().filter(|line| *line == "+I[3, true, true, true]").count();
    ensure!(lines == 20, "found: {}", run.stderr);
    let found = printed(
        context,
        "nested",
        "CREATE TABLE t (a ARRAY<INT>, m MAP<STRING, INT>, r ROW<x INT>) WITH ('connector' = 'datagen', 'number-of-rows' = '3', \
         'fields.a.length' = '1', 'fields.a.element.min' = '4', 'fields.a.element.max' = '4', 'fields.m.length' = '1', \
         'fields.m.key.length' = '2', 'fields.m.value.min' = '5', 'fields.m.value.max' = '5', 'fields.r.x.min' = '6', \
         'fields.r.x.max' = '6');\n\
         CREATE TABLE p (a INT, k INT, v ARRAY<INT>, x INT) WITH ('connector' = 'print');\n\
         INSERT INTO p SELECT a[1], CHAR_LENGTH(MAP_KEYS(m)[1]), MAP_VALUES(m), r.x FROM t;\n",
    )?;
    ensure!(found == ["+I[4, 2, [5], 6]"; 3], "found {found:?}");
    // Kinds of our own: a restart, and another run, give the same rows.
    let job = "CREATE TABLE t (id STRING, state STRING, mail STRING, ip STRING, ts TIMESTAMP(3)) WITH ('connector' = 'datagen', \
               'number-of-rows' = '1000', 'seed' = '7', 'fields.id.kind' = 'pattern', 'fields.id.pattern' = 'ord-####', \
               'fields.id.distinct' = '20', 'fields.id.skew' = '1.1', 'fields.state.kind' = 'choice', 'fields.state.values' = 'new;sent', \
               'fields.state.weights' = '9;1', 'fields.mail.kind' = 'email', 'fields.ip.kind' = 'ipv4', 'fields.ts.kind' = 'event-time', \
               'fields.ts.start' = '2024-01-01 00:00:00', 'fields.ts.step' = '10 ms', 'fields.ts.late' = '0.1', 'fields.ts.late-by' = '1 s');\n\
               CREATE TABLE p (id STRING, n BIGINT, news BIGINT, is_mail BOOLEAN, last STRING) WITH ('connector' = 'print');\n\
               SET 'execution.runtime-mode' = 'batch';\n\
               INSERT INTO p SELECT id, COUNT(*), COUNT(*) FILTER (WHERE state = 'new'), MIN(mail LIKE '%@%.example'), \
               CAST(MAX(ts) AS STRING) FROM t GROUP BY id;\n";
    let (first, second) = (printed(context, "first", job)?, printed(context, "second", job)?);
    ensure!((10..=20).contains(&first.len()) && first == second, "found {first:?}, then {second:?}");
    ensure!(
        first.iter().all(|line| line.starts_with("+I[ord-") && line.contains(", true, 2024-01-01 00:00:0")),
        "{first:?}"
    );
    Ok(())
}

pub(crate) fn of_shown_columns(context: &Context) -> Result<()> {
    let cases = [
        ("", "| abcdefghijklmnop |"),
        ("SET 'table.display.max-column-width' = '10';\n", "| abcdefg... |"),
        (
            "SET 'sql-client.display.max-column-width' = '8';\nSET 'table.display.max-column-width' = '10';\n",
            "| abcde... |",
        ),
        ("SET 'table.display.max-column-width' = '2';\n", "| abc... |"),
    ];
    for (number, (settings, expected)) in cases.into_iter().enumerate() {
        let job = context.write(&format!("{number}.sql"), &format!("{settings}SELECT 'abcdefghijklmnop' AS x;\n"))?;
        let run = context.run(["run", &job, "--fresh"], 60)?.expect_code(0)?;
        let line = run.stdout.lines().find(|line| line.starts_with("| +I")).context("a row")?;
        ensure!(line.ends_with(expected), "{settings}: expected `{expected}`, found `{line}`");
    }
    Ok(())
}

pub(crate) fn of_jdbc_sinks(context: &Context) -> Result<()> {
    let table = context.unique("buffered");
    let mut postgres = context.postgres()?;
    postgres.execute(&format!("CREATE TABLE {table} (id INT4 PRIMARY KEY, name TEXT)"))?;
    let place = with(context, &table)?;
    let buffers = [
        "'sink.buffer-flush.max-rows' = '2', 'sink.buffer-flush.interval' = '0', 'sink.max-retries' = '1'",
        "'sink.buffer-flush.max-rows' = '0', 'sink.buffer-flush.interval' = '100 ms', 'connection.max-retry-timeout' = '30 s'",
    ];
    for (round, buffer) in buffers.into_iter().enumerate() {
        let job = context.write(
            "job.sql",
            &format!(
                "CREATE TABLE target (id INT, name STRING, PRIMARY KEY (id) NOT ENFORCED) {}, {buffer});\n\
                 INSERT INTO target VALUES (1, 'a{round}'), (2, 'b{round}'), (1, 'c{round}'), (3, 'd{round}');\n",
                place.trim_end_matches(')')
            ),
        )?;
        context.run(["run", &job, "--fresh"], 60)?.expect_code(0)?;
        let rows = postgres.query(&format!("SELECT id, name FROM {table} ORDER BY 1"))?;
        let (c, b, d) = (format!("c{round}"), format!("b{round}"), format!("d{round}"));
        let expected = [["1", &c], ["2", &b], ["3", &d]];
        ensure!(rows == expected, "{buffer}: expected {expected:?}, found {rows:?}");
    }
    Ok(())
}
