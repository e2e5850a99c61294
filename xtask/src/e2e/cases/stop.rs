//! SIGTERM: the job stops with a checkpoint, says so, exits 0, and the same command goes on where it stood. Each kind of sink then holds
//! every row once, because a stop waits until all that was read is written.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{filesystem, jdbc, kafka_source};
use crate::e2e::context::Context;
use crate::e2e::program::newest_manifest;
use crate::services::elasticsearch::Line;

/// Rows before the first start, and before each stop.
const ROWS: usize = 500;
const STOPS: usize = 2;

/// Plays a topic into `sink` (the DDL of the table `out (id INT, name STRING)`) through stops.
fn play(context: &Context, sink: &str) -> Result<()> {
    let topic = context.unique("stopped");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 3)?;
    let job = context.write(
        "job.sql",
        &format!(
            "SET 'pipeline.name' = 'stopped';\nSET 'execution.checkpointing.interval' = '200 ms';\n\
             CREATE TABLE events (id INT, name STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
             'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');\n\
             {sink};\nINSERT INTO `out` SELECT id, name FROM events;\n"
        ),
    )?;
    let arguments = ["run", job.as_str(), "--map", &kafka_source::map(context)?].map(str::to_owned);
    let mut chunks = (0..ROWS * (STOPS + 1)).map(|id| format!("{{\"id\":{id},\"name\":\"name {id}\"}}"));
    let mut produce = || kafka.produce(&topic, chunks.by_ref().take(ROWS));
    let checkpoints = || -> Result<String> { Ok(context.run(["checkpoints", &job], 20)?.expect_code(0)?.stdout) };
    let state = context.folder().join(".wiesel");
    produce()?;
    for _ in 0..STOPS {
        let before = newest_manifest(&state)?;
        let program = context.spawn(&arguments)?;
        program.wait_until(60, "a new checkpoint", |_| newest_manifest(&state).is_ok_and(|id| id > before))?;
        // The rows that come now are read, or not, when the stop comes.
        produce()?;
        program.terminate()?;
        let finished = program.wait(20)?.expect_code(0)?;
        ensure!(finished.stderr.contains("stopped with checkpoint"), "the stop is not said: {}", finished.stderr);
        expect_parts(&checkpoints()?, &["stopped/out", " stop ", " yes "])?;
    }
    let mut bounded = arguments.to_vec();
    bounded.extend(["--table-option".to_owned(), "events.scan.bounded.mode=latest-offset".to_owned()]);
    context.run(&bounded, 60)?.expect_code(0)?.expect_stderr("resumed from checkpoint")?;
    let listed = checkpoints()?;
    expect_parts(&listed, &["stopped/out", " final "])?;
    ensure!(!listed.contains(" yes "), "nothing resumes from a finished job: {listed}");
    Ok(())
}

fn expect_parts(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "`{part}` is missing in: {text}");
    }
    Ok(())
}

fn same_rows(found: impl IntoIterator<Item = Value>) -> Result<()> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for row in found {
        let id = row["id"].as_i64().unwrap_or(-1);
        ensure!(row["name"] == format!("name {id}"), "found {row}");
        *counts.entry(id).or_default() += 1;
    }
    let expected = i64::try_from(ROWS * (STOPS + 1))?;
    ensure!(counts.keys().copied().eq(0..expected), "expected {expected} ids, found {}", counts.len());
    let twice = counts.values().filter(|n| **n > 1).count();
    ensure!(twice == 0, "{twice} rows came twice");
    Ok(())
}

pub(crate) fn a_filesystem_sink_goes_on(context: &Context) -> Result<()> {
    let folder = context.folder().join("out");
    play(
        context,
        &format!(
            "CREATE TABLE `out` (id INT, name STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json')",
            folder.display()
        ),
    )?;
    same_rows(filesystem::documents(&folder)?)
}

pub(crate) fn a_jdbc_sink_goes_on(context: &Context) -> Result<()> {
    let table = context.unique("stopped");
    let mut postgres = context.postgres()?;
    postgres.execute(&format!("CREATE TABLE {table} (id INT, name TEXT)"))?;
    play(context, &format!("CREATE TABLE `out` (id INT, name STRING) {}", jdbc::with(context, &table)?))?;
    let rows = postgres.query(&format!("SELECT row_to_json(t)::text FROM {table} t"))?;
    let parsed: Result<Vec<Value>, _> = rows.iter().flatten().map(|text| serde_json::from_str(text)).collect();
    same_rows(parsed?)
}

pub(crate) fn a_kafka_sink_goes_on(context: &Context) -> Result<()> {
    let topic = context.unique("copy");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    let sink = format!(
        "CREATE TABLE `out` (id INT, name STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'json')"
    );
    play(context, &sink)?;
    let parsed: Result<Vec<Value>, _> = kafka.values(&topic)?.iter().map(|text| serde_json::from_str(text)).collect();
    same_rows(parsed?)
}

pub(crate) fn an_elasticsearch_sink_goes_on(context: &Context) -> Result<()> {
    let index = context.unique("stopped");
    let url = context.services().elasticsearch(Line::Seven)?.url();
    // Without a key: a row that was sent twice would be there twice.
    let sink = format!(
        "CREATE TABLE `out` (id INT, name STRING) WITH ('connector' = 'elasticsearch-7', 'hosts' = '{url}', 'index' = '{index}')"
    );
    play(context, &sink)?;
    same_rows(context.elasticsearch(Line::Seven)?.documents(&index)?.into_iter().map(|(_, document)| document))
}

pub(crate) fn a_stalled_reader_of_the_printed_rows_does_not_hold_the_job(context: &Context) -> Result<()> {
    use std::io::Read as _;
    // A step prints far more than a pipe holds, so when the first byte is there the sink hangs in its write until somebody reads on.
    let job = context.write(
        "job.sql",
        "CREATE TABLE numbers (id BIGINT, text STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000');\n\
         CREATE TABLE console (id BIGINT, text STRING) WITH ('connector' = 'print');\n\
         INSERT INTO console SELECT id, text FROM numbers;\n",
    )?;
    let (program, mut reader) = context.spawn_piped(["run", &job])?;
    let mut first = [0; 1];
    reader.read_exact(&mut first)?;
    program.terminate()?;
    // The stop takes 10 s at most, while the reader still stalls.
    let finished = program.wait(15)?;
    drop(reader);
    ensure!(
        finished.code == Some(1),
        "expected the exit code of a stop without a checkpoint, found {:?}",
        finished.code
    );
    ensure!(finished.stderr.contains("checkpoint that stands"), "{}", finished.stderr);
    Ok(())
}
