//! Options of formats and of partition commit that show in what is read, or in the files that are written.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::filesystem::visible_files;
use super::options::printed;
use crate::e2e::context::Context;
use crate::services::python::parquet_rows;

pub(crate) fn of_canal(context: &Context) -> Result<()> {
    let lines = [
        r#"{"data":[{"id":"1","at":"2024-01-01T10:00:00"}],"type":"INSERT","database":"shop","table":"orders"}"#,
        r#"{"data":[{"id":"2","at":"2024-01-01T10:00:00"}],"type":"INSERT","database":"workshop","table":"orders"}"#,
        r#"{"data":[{"id":"3","at":"2024-01-01T10:00:00"}],"type":"INSERT","database":"shop","table":"orders_of_old"}"#,
        r#"{"data":[{"id":"4","at":"2024-01-01 10:00:00"}],"type":"INSERT","database":"ship","table":"orders"}"#,
        "no document",
        r#"{"data":[{"id":"1","at":"2024-01-02T10:00:00"}],"old":[{"at":"2024-01-01T10:00:00"}],"type":"UPDATE","database":"shop","table":"orders"}"#,
    ];
    let path = context.write("canal.json", &(lines.join("\n") + "\n"))?;
    let read = |options: &str| {
        format!(
            "CREATE TABLE t (id INT, `at` TIMESTAMP(0)) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'canal-json'{options});\n\
             CREATE TABLE p (id INT, `at` TIMESTAMP(0)) WITH ('connector' = 'print');\nINSERT INTO p SELECT * FROM t;\n"
        )
    };
    let found = printed(
        context,
        "canal",
        &read(
            ", 'canal-json.ignore-parse-errors' = 'true', 'canal-json.timestamp-format.standard' = 'ISO-8601', \
             'canal-json.database.include' = 'sh.p', 'canal-json.table.include' = 'orders'",
        ),
    )?;
    // The time of number 4 is none in this standard, so with errors ignored it is NULL.
    let expected = ["+I[1, 2024-01-01T10:00]", "+I[4, null]", "+U[1, 2024-01-02T10:00]", "-U[1, 2024-01-01T10:00]"];
    ensure!(found == expected, "found {found:?}");
    let job = context.write("strict.sql", &read(", 'canal-json.timestamp-format.standard' = 'ISO-8601'"))?;
    let run = context.run(["run", &job, "--fresh"], 60)?.expect_code(1)?;
    ensure!(run.stderr.contains("canal.json`, line 4"), "found: {}", run.stderr);
    Ok(())
}

pub(crate) fn of_raw(context: &Context) -> Result<()> {
    let path = context.folder().join("latin");
    fs::write(&path, b"gr\xFC\xDFe\nplain\n")?;
    let copy = context.folder().join("copy");
    let job = format!(
        "CREATE TABLE t (line STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'raw', 'raw.charset' = 'ISO-8859-1');\n\
         CREATE TABLE p (line STRING, n INT) WITH ('connector' = 'print');\n\
         CREATE TABLE c (line STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'raw', 'raw.charset' = 'UTF-16LE');\n\
         INSERT INTO p SELECT line, CHAR_LENGTH(line) FROM t;\nINSERT INTO c SELECT line FROM t WHERE line <> 'plain';\n",
        path.display(),
        copy.display()
    );
    let found = printed(context, "raw", &job)?;
    ensure!(found == ["+I[grüße, 5]", "+I[plain, 5]"], "found {found:?}");
    let files: Vec<_> = visible_files(&copy)?.into_values().collect();
    let [file] = files.as_slice() else { anyhow::bail!("expected one file, found {files:?}") };
    let bytes = fs::read(file)?;
    let expected: Vec<u8> = "grüße".encode_utf16().flat_map(u16::to_le_bytes).collect();
    ensure!(bytes.starts_with(&expected), "found {bytes:?}");
    Ok(())
}

pub(crate) fn of_parquet_timestamps(context: &Context) -> Result<()> {
    let cases = [
        (
            "true",
            "'parquet.write.int64.timestamp' = 'true', 'parquet.timestamp.time.unit' = 'millis'",
            "10:00:00.123000",
        ),
        (
            "false",
            "'parquet.write.int64.timestamp' = 'true', 'parquet.timestamp.time.unit' = 'micros'",
            "01:00:00.123456",
        ),
        // Without INT64 the unit says nothing.
        (
            "false",
            "'parquet.write.int64.timestamp' = 'false', 'parquet.timestamp.time.unit' = 'millis'",
            "01:00:00.123456",
        ),
    ];
    for (number, (utc, options, expected)) in cases.into_iter().enumerate() {
        let folder = context.folder().join(format!("files-{number}"));
        let table = format!(
            "SET 'table.local-time-zone' = 'Asia/Tokyo';\n\
             CREATE TABLE t (ts TIMESTAMP(6)) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'parquet', \
             'parquet.utc-timezone' = '{utc}', {options});\n",
            folder.display()
        );
        printed(
            context,
            &format!("write-{number}"),
            &format!("{table}INSERT INTO t VALUES (TIMESTAMP '2024-01-01 10:00:00.123456');\n"),
        )?;
        let rows = parquet_rows(&folder, "pyarrow")?;
        let expected_row = Value::String(format!("2024-01-01 {expected}"));
        ensure!(rows.len() == 1 && rows[0]["ts"] == expected_row, "{options}: expected {expected_row}, found {rows:?}");
        let show = "CREATE TABLE p (ts TIMESTAMP(6)) WITH ('connector' = 'print');\nINSERT INTO p SELECT ts FROM t;\n";
        let found = printed(context, &format!("read-{number}"), &format!("{table}{show}"))?;
        let digits = if expected.ends_with("000") { "123" } else { "123456" };
        ensure!(found == [format!("+I[2024-01-01T10:00:00.{digits}]")], "{options}: found {found:?}");
    }
    Ok(())
}

/// The watermark stands at 09:30 UTC, which is 11:30 in Zurich: the hour from 10 to 11 is over there, and nowhere else.
pub(crate) fn of_partition_commit(context: &Context) -> Result<()> {
    let (rows, out) = (context.folder().join("rows"), context.folder().join("out"));
    fs::create_dir_all(&rows)?;
    fs::write(
        rows.join("1.json"),
        "{\"id\":1,\"ts\":\"2024-07-01 08:10:00Z\",\"dt\":\"20240701\",\"hr\":\"10\"}\n\
         {\"id\":2,\"ts\":\"2024-07-01 09:30:00Z\",\"dt\":\"20240701\",\"hr\":\"11\"}\n",
    )?;
    let job = context.write(
        "job.sql",
        &format!(
            "SET 'execution.checkpointing.interval' = '200 ms';\n\
             CREATE TABLE t (id INT, ts TIMESTAMP_LTZ(3), dt STRING, hr STRING, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', \
             'path' = '{}', 'format' = 'json', 'source.monitor-interval' = '200 ms');\n\
             CREATE TABLE o (id INT, dt STRING, hr STRING) PARTITIONED BY (dt, hr) WITH ('connector' = 'filesystem', 'path' = '{}', \
             'format' = 'json', 'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time', \
             'sink.partition-commit.delay' = '1 h', 'sink.partition-commit.watermark-time-zone' = 'Europe/Zurich', \
             'sink.partition-commit.success-file.name' = '_DONE', 'partition.time-extractor.kind' = 'default', \
             'partition.time-extractor.timestamp-pattern' = '$dt $hr', 'partition.time-extractor.timestamp-formatter' = 'yyyyMMdd HH');\n\
             INSERT INTO o SELECT id, dt, hr FROM t;\n",
            rows.display(),
            out.display()
        ),
    )?;
    let program = context.spawn(["run", &job])?;
    context.wait_until(60, "the file that says that the hour is whole", || {
        Ok(out.join("dt=20240701/hr=10/_DONE").exists())
    })?;
    ensure!(!out.join("dt=20240701/hr=11/_DONE").exists(), "the hour that goes on is said to be whole");
    ensure!(!out.join("dt=20240701/hr=10/_SUCCESS").exists(), "the file has the default's name, too");
    program.terminate()?;
    program.wait(30)?.expect_code(0)?;
    Ok(())
}
