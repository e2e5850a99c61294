//! Exactly-once sinks through kills at the named steps of a checkpoint, twins, and falls behind what was committed: every row of the topic
//! is in the sink once, and a run that must not write is told so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{jdbc, kafka_source};
use crate::e2e::context::Context;
use crate::e2e::program::Program;
use crate::e2e::program::newest_manifest;
use crate::services::elasticsearch::Line;
use crate::services::process::{Signal, signal, stands_still};

/// Rows before each start.
const ROWS: usize = 300;
/// The steps at which a run dies, one after another.
const FAIL_POINTS: &[&str] = &["sink.prepare:2", "sink.commit:1", "commit.recorded:1", "restore.recommit:1"];

/// A topic of rows `{"id": 0, "name": "name 0"}`, ...; and a job that copies it.
pub(super) struct Drill<'a> {
    context: &'a Context,
    topic: String,
    job: String,
    arguments: Vec<String>,
    produced: usize,
}

impl<'a> Drill<'a> {
    /// `sinks`: the DDL of the tables; `inserts`: what goes into them, from `events (id INT, name STRING)`.
    pub(super) fn new(context: &'a Context, sinks: &str, inserts: &str) -> Result<Drill<'a>> {
        let topic = context.unique("delivery");
        context.kafka()?.create_topic(&topic, 3)?;
        let job = context.write(
            "job.sql",
            &format!(
                "SET 'pipeline.name' = '{topic}';\nSET 'execution.checkpointing.interval' = '200 ms';\n\
                 CREATE TABLE events (id INT, name STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
                 'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');\n\
                 {sinks}\nEXECUTE STATEMENT SET BEGIN\n{inserts}\nEND;\n"
            ),
        )?;
        let arguments = ["run", job.as_str(), "--map", &kafka_source::map(context)?].map(str::to_owned).to_vec();
        Ok(Drill { context, topic, job, arguments, produced: 0 })
    }

    /// More rows.
    pub(super) fn produce(&mut self) -> Result<()> {
        let rows = (self.produced..self.produced + ROWS).map(|id| format!("{{\"id\":{id},\"name\":\"name {id}\"}}"));
        self.produced += ROWS;
        self.context.kafka()?.produce(&self.topic, rows)?;
        Ok(())
    }

    /// The arguments of a run that ends at the end of the topic, or goes on.
    pub(super) fn arguments(&self, is_bounded: bool, more: &[&str]) -> Vec<String> {
        let mut arguments = self.arguments.clone();
        if is_bounded {
            arguments.extend(["--table-option", "events.scan.bounded.mode=latest-offset"].map(str::to_owned));
        }
        arguments.extend(more.iter().map(|text| (*text).to_owned()));
        arguments
    }

    /// Runs that die at each of the named steps, with new rows before each, and one that reaches the end.
    pub(super) fn play_through_kills(&mut self) -> Result<()> {
        for point in FAIL_POINTS {
            // What the run before left to be committed again is there for `restore.recommit`.
            if !point.starts_with("restore") {
                self.produce()?;
            }
            self.context.note(format!("dies at {point}"));
            let program =
                self.context.spawn_with(self.arguments(false, &[]), &[("WIESEL_FAIL_POINT", (*point).to_owned())])?;
            let end = program.wait(60)?;
            ensure!(end.code.is_none(), "{point}: the run must die there, it ended with {:?}", end.code);
        }
        self.produce()?;
        let end = self.context.run(self.arguments(true, &[]), 90)?.expect_code(0)?;
        ensure!(end.stderr.contains("resumed from checkpoint"), "the last run must resume: {}", end.stderr);
        Ok(())
    }

    /// Fails unless `rows` are those of the topic, each once.
    pub(super) fn expect_once(&self, what: &str, rows: impl IntoIterator<Item = Value>) -> Result<()> {
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        for row in rows {
            let id = row["id"].as_i64().unwrap_or(-1);
            ensure!(row["name"] == format!("name {id}"), "{what}: found {row}");
            *counts.entry(id).or_default() += 1;
        }
        let expected = i64::try_from(self.produced)?;
        let twice = counts.values().filter(|n| **n > 1).count();
        ensure!(twice == 0, "{what}: {twice} rows came twice");
        let missing: Vec<i64> = (0..expected).filter(|id| !counts.contains_key(id)).take(5).collect();
        ensure!(missing.is_empty(), "{what}: rows are missing, the first are {missing:?}");
        Ok(())
    }

    fn state(&self) -> std::path::PathBuf {
        self.context.folder().join(".wiesel")
    }
}

/// Copies a folder with all below it.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).with_context(|| format!("copy `{}`", entry.path().display()))?;
        }
    }
    Ok(())
}

fn postgres_rows(context: &Context, table: &str) -> Result<Vec<Value>> {
    let rows = context.postgres()?.query(&format!("SELECT row_to_json(t)::text FROM {table} t"))?;
    rows.iter().flatten().map(|text| Ok(serde_json::from_str(text)?)).collect()
}

/// Two tables, one with a key, and the sinks that write them exactly once.
fn postgres_drill(context: &Context) -> Result<(Drill<'_>, [String; 2])> {
    let tables = [context.unique("keyed"), context.unique("plain")];
    let mut postgres = context.postgres()?;
    postgres.execute(&format!("CREATE TABLE {} (id INT PRIMARY KEY, name TEXT)", tables[0]))?;
    postgres.execute(&format!("CREATE TABLE {} (id INT, name TEXT)", tables[1]))?;
    let sinks = format!(
        "SET 'wiesel.sink.keyed.delivery' = 'exactly-once';\nSET 'wiesel.sink.plain.delivery' = 'exactly-once';\n\
         CREATE TABLE keyed (id INT, name STRING, PRIMARY KEY (id) NOT ENFORCED) {};\n\
         CREATE TABLE plain (id INT, name STRING) {};",
        jdbc::with(context, &tables[0])?,
        jdbc::with(context, &tables[1])?,
    );
    let inserts = "INSERT INTO keyed SELECT id, name FROM events;\nINSERT INTO plain SELECT id, name FROM events;";
    Ok((Drill::new(context, &sinks, inserts)?, tables))
}

pub(crate) fn postgres_survives_kills(context: &Context) -> Result<()> {
    let (mut drill, tables) = postgres_drill(context)?;
    drill.play_through_kills()?;
    for table in &tables {
        drill.expect_once(table, postgres_rows(context, table)?)?;
    }
    let open = context.postgres()?.query(&format!(
        "SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND application_name = '{}'",
        drill.topic
    ))?;
    ensure!(open.is_empty(), "transactions are left open: {open:?}");
    let mut staged = Vec::new();
    for folder in std::fs::read_dir(drill.state().join(&drill.topic))? {
        for file in std::fs::read_dir(folder?.path())? {
            let name = file?.file_name().to_string_lossy().into_owned();
            staged.extend(name.ends_with(".stage").then_some(name));
        }
    }
    ensure!(staged.is_empty(), "staging files are left: {staged:?}");
    Ok(())
}

/// Two runs: one that has written all rows, and a twin with a copy of its state that has resumed behind it. Gives back the first.
fn two_runs(drill: &mut Drill<'_>, rows: impl Fn() -> Result<usize>) -> Result<(Arc<Program>, Arc<Program>)> {
    let context = drill.context;
    drill.produce()?;
    let first = context.spawn(drill.arguments(false, &[]))?;
    first.wait_until(60, "all rows of the first run", |_| rows().is_ok_and(|n| n == ROWS))?;
    let before = newest_manifest(&drill.state())?;
    let is_behind = |_: &Program| newest_manifest(&drill.state()).is_ok_and(|n| n > before + 1);
    first.wait_until(60, "a checkpoint behind the rows", is_behind)?;
    let elsewhere = context.folder().join("elsewhere");
    // A file that goes while the folder is copied would be missed.
    signal(first.pid(), Signal::Stop)?;
    context.wait_until(60, "the first run to stand still", || Ok(stands_still(first.pid())))?;
    copy_folder(&drill.state(), &elsewhere)?;
    signal(first.pid(), Signal::Continue)?;
    let state = elsewhere.display().to_string();
    let second = context.spawn(drill.arguments(false, &["--state", &state]))?;
    second.wait_until(60, "the twin to resume", |program| program.stderr().contains("resumed from checkpoint"))?;
    let standing = newest_manifest(&elsewhere)?;
    second.wait_until(60, "a checkpoint of the twin", |_| newest_manifest(&elsewhere).is_ok_and(|n| n > standing))?;
    Ok((first, second))
}

/// The twin goes on with new rows and stops; the first run is still to be looked at.
fn overtake(drill: &mut Drill<'_>, rows: impl Fn() -> Result<usize>) -> Result<Arc<Program>> {
    let (first, second) = two_runs(drill, &rows)?;
    drill.produce()?;
    second.wait_until(60, "the rows of the twin", |_| rows().is_ok_and(|n| n == 2 * ROWS))?;
    second.terminate()?;
    second.wait(20)?.expect_code(0)?;
    Ok(first)
}

/// A twin takes over while the first run stands by: the first one is superseded at its next commit.
fn twin(drill: &mut Drill<'_>, rows: impl Fn() -> Result<usize>) -> Result<()> {
    let context = drill.context;
    let first = overtake(drill, rows)?;
    first.wait(60)?.expect_code(3)?.expect_stderr("superseded")?;
    // The first one's own checkpoint is behind what the twin has written.
    let refused = context.run(drill.arguments(true, &[]), 60)?.expect_code(2)?;
    for part in ["has committed epoch", "checkpoint", "--allow-duplicates", " at "] {
        ensure!(refused.stderr.contains(part), "`{part}` is missing in: {}", refused.stderr);
    }
    Ok(())
}

pub(crate) fn postgres_a_twin_supersedes_the_first_run(context: &Context) -> Result<()> {
    let (mut drill, tables) = postgres_drill(context)?;
    let count = || Ok(postgres_rows(context, &tables[1])?.len());
    twin(&mut drill, count)?;
    for table in &tables {
        drill.expect_once(table, postgres_rows(context, table)?)?;
    }
    // With a key, rows that come again are the same rows.
    context.run(drill.arguments(true, &["--allow-duplicates"]), 60)?.expect_code(0)?;
    drill.expect_once(&tables[0], postgres_rows(context, &tables[0])?)
}

pub(crate) fn postgres_no_checkpoint_is_no_licence_to_write_again(context: &Context) -> Result<()> {
    let (mut drill, tables) = postgres_drill(context)?;
    drill.produce()?;
    let program = context.spawn(drill.arguments(false, &[]))?;
    program.wait_until(60, "the rows", |_| postgres_rows(context, &tables[1]).is_ok_and(|rows| rows.len() == ROWS))?;
    program.kill()?;
    std::fs::remove_dir_all(drill.state())?;
    let explained = context.run(["explain", &drill.job], 20)?.expect_code(0)?;
    explained.expect_stdout("delivery=[exactly-once]")?;
    context
        .run(drill.arguments(true, &[]), 60)?
        .expect_code(2)?
        .expect_stderr("there is no checkpoint to go on from")?;
    drill.expect_once(&tables[1], postgres_rows(context, &tables[1])?)?;
    context.run(drill.arguments(true, &["--allow-duplicates"]), 60)?.expect_code(0)?;
    let rows = postgres_rows(context, &tables[1])?.len();
    ensure!(rows == 2 * ROWS, "by request the rows are written again, found {rows}");
    Ok(())
}

/// A topic as an exactly-once sink.
fn kafka_drill(context: &Context) -> Result<(Drill<'_>, String)> {
    let topic = context.unique("once");
    context.kafka()?.create_topic(&topic, 2)?;
    let sink = format!(
        "CREATE TABLE `out` (id INT, name STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'json', \
         'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{topic}');"
    );
    Ok((Drill::new(context, &sink, "INSERT INTO `out` SELECT id, name FROM events;")?, topic))
}

fn kafka_rows(context: &Context, topic: &str) -> Result<Vec<Value>> {
    context.kafka()?.values(topic)?.iter().map(|text| Ok(serde_json::from_str(text)?)).collect()
}

pub(crate) fn kafka_survives_kills(context: &Context) -> Result<()> {
    let (mut drill, topic) = kafka_drill(context)?;
    drill.play_through_kills()?;
    drill.expect_once(&topic, kafka_rows(context, &topic)?)
}

pub(crate) fn kafka_a_twin_supersedes_the_first_run(context: &Context) -> Result<()> {
    let (mut drill, topic) = kafka_drill(context)?;
    twin(&mut drill, || Ok(kafka_rows(context, &topic)?.len()))?;
    drill.expect_once(&topic, kafka_rows(context, &topic)?)
}

/// An index whose documents have versions.
fn elasticsearch_drill(context: &Context) -> Result<(Drill<'_>, String)> {
    let index = context.unique("versioned");
    let url = context.services().elasticsearch(Line::Seven)?.url();
    let sink = format!(
        "SET 'wiesel.sink.out.versioned' = 'true';\n\
         CREATE TABLE `out` (id INT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'elasticsearch-7', \
         'hosts' = '{url}', 'index' = '{index}');"
    );
    Ok((Drill::new(context, &sink, "INSERT INTO `out` SELECT id, name FROM events;")?, index))
}

fn elasticsearch_rows(context: &Context, index: &str) -> Result<Vec<Value>> {
    let client = context.elasticsearch(Line::Seven)?;
    client.refresh(index)?;
    Ok(client.documents(index)?.into_iter().map(|(_, document)| document).collect())
}

pub(crate) fn elasticsearch_versioned_survives_kills(context: &Context) -> Result<()> {
    let (mut drill, index) = elasticsearch_drill(context)?;
    drill.play_through_kills()?;
    drill.expect_once(&index, elasticsearch_rows(context, &index)?)
}

pub(crate) fn elasticsearch_versioned_twin_supersedes_the_first_run(context: &Context) -> Result<()> {
    let (mut drill, index) = elasticsearch_drill(context)?;
    let first = overtake(&mut drill, || Ok(elasticsearch_rows(context, &index)?.len()))?;
    // The first one looks at its claim with every checkpoint, whether it has rows or not.
    first.wait(60)?.expect_code(3)?.expect_stderr("superseded")?;
    drill.expect_once(&index, elasticsearch_rows(context, &index)?)
}

/// Rows that a database and a broker refuse only when their checkpoint is committed: each is a dead letter once, every other row is there
/// once, through kills before and after the commits.
pub(crate) fn rows_refused_at_a_commit_become_dead_letters(context: &Context) -> Result<()> {
    let [letters, rows, topic] = ["letters", "rows", "small"].map(|name| context.unique(name));
    let mut postgres = context.postgres()?;
    postgres.execute(&format!("CREATE TABLE {letters} (table_name TEXT, raw TEXT, reason TEXT, at TIMESTAMPTZ, topic TEXT, partition INT, \"offset\" BIGINT)"))?;
    postgres.execute(&format!("CREATE TABLE {rows} (id INT CHECK (id % 100 <> 7), name TEXT)"))?;
    context.kafka()?.create_topic(&topic, 1)?;
    let sinks = format!(
        "SET 'wiesel.on-refused' = 'dead-letter';\nSET 'wiesel.dead-letter.table' = 'letters';\n\
         SET 'wiesel.sink.letters.delivery' = 'exactly-once';\nSET 'wiesel.sink.checked.delivery' = 'exactly-once';\n\
         CREATE TABLE letters (`at` TIMESTAMP_LTZ(3), table_name STRING, topic STRING, `partition` INT, `offset` BIGINT, `raw` STRING, \
         reason STRING) {};\n\
         CREATE TABLE checked (id INT, name STRING) {};\n\
         CREATE TABLE small (id INT, name STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'json', 'properties.max.request.size' = '2000', \
         'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{topic}');",
        jdbc::with(context, &letters)?,
        jdbc::with(context, &rows)?,
    );
    let long = "CASE WHEN MOD(id, 100) = 9 THEN REPEAT(name, 500) ELSE name END";
    let inserts =
        format!("INSERT INTO checked SELECT id, name FROM events;\nINSERT INTO small SELECT id, {long} FROM events;");
    let mut drill = Drill::new(context, &sinks, &inserts)?;
    drill.play_through_kills()?;
    let count = i64::try_from(drill.produced)?;
    let ids = |rest: i64| (0..count).filter(move |id| id % 100 == rest);
    let expected: Vec<Vec<String>> = [("checked", 7), ("small", 9)]
        .into_iter()
        .flat_map(|(table, rest)| ids(rest).map(move |id| vec![table.to_owned(), id.to_string()]))
        .collect();
    let found = postgres
        .query(&format!("SELECT table_name, raw::json->>'id' FROM {letters} ORDER BY 1, (raw::json->>'id')::int"))?;
    ensure!(found == expected, "expected the letters {expected:?}, found {found:?}");
    for (what, rest, found) in [(&rows, 7, postgres_rows(context, &rows)?), (&topic, 9, kafka_rows(context, &topic)?)] {
        let refused = ids(rest).map(|id| serde_json::json!({"id": id, "name": format!("name {id}")}));
        drill.expect_once(what, found.into_iter().chain(refused))?;
    }
    Ok(())
}

pub(crate) fn refused_rows_become_dead_letters(context: &Context) -> Result<()> {
    let [letters, rows, index] = ["letters", "rows", "mapped"].map(|name| context.unique(name));
    let mut postgres = context.postgres()?;
    postgres.execute(&format!(
        "CREATE TABLE {letters} (at TIMESTAMPTZ, table_name TEXT, topic TEXT, partition INT, \"offset\" BIGINT, raw BYTEA, reason TEXT)"
    ))?;
    postgres.execute(&format!("CREATE TABLE {rows} (id INT CHECK (id <> 3), name TEXT)"))?;
    let elasticsearch = context.elasticsearch(Line::Seven)?;
    let mapping = r#"{"mappings":{"properties":{"name":{"type":"integer"}}}}"#;
    elasticsearch.expect("PUT", &format!("/{index}"), Some(mapping))?;
    let url = context.services().elasticsearch(Line::Seven)?.url();
    let sinks = format!(
        "SET 'wiesel.on-refused' = 'dead-letter';\nSET 'wiesel.dead-letter.table' = 'letters';\n\
         SET 'wiesel.sink.letters.delivery' = 'exactly-once';\n\
         CREATE TABLE letters (`at` TIMESTAMP_LTZ(3), table_name STRING, topic STRING, `partition` INT, `offset` BIGINT, `raw` BYTES, \
         reason STRING) {};\n\
         CREATE TABLE plain (id INT, name STRING) {};\n\
         CREATE TABLE mapped (id INT, name STRING) WITH ('connector' = 'elasticsearch-7', 'hosts' = '{url}', 'index' = '{index}');",
        jdbc::with(context, &letters)?,
        jdbc::with(context, &rows)?,
    );
    let inserts = "INSERT INTO plain SELECT id, name FROM events;\nINSERT INTO mapped SELECT id, name FROM events;";
    let drill = Drill::new(context, &sinks, inserts)?;
    let records = [
        r#"{"id":1,"name":"10"}"#,
        r#"{"id":2,"name":"ten"}"#,
        r#"{"id":3,"name":"30"}"#,
        r#"{"id":"none""#,
        r#"{"id":5,"name":"50"}"#,
    ];
    context.kafka()?.produce(&drill.topic, records)?;
    let point = [("WIESEL_FAIL_POINT", "commit.recorded:2".to_owned())];
    let end = context.spawn_with(drill.arguments(true, &[]), &point)?.wait(60)?;
    if end.code.is_none() {
        context.run(drill.arguments(true, &[]), 60)?.expect_code(0)?;
    }
    let found = postgres.query(&format!("SELECT id FROM {rows} ORDER BY id"))?.concat();
    ensure!(
        found.iter().collect::<std::collections::BTreeSet<_>>().len() == 3,
        "rows 1, 2 and 5 are written, found {found:?}"
    );
    elasticsearch.refresh(&index)?;
    ensure!(elasticsearch.count(&index)? >= 3, "documents 1, 3 and 5 are written");
    let found = postgres.query(&format!(
        "SELECT table_name, convert_from(raw, 'UTF8'), topic IS NOT NULL AND \"offset\" IS NOT NULL, reason <> '' \
         FROM {letters} ORDER BY 1, 2"
    ))?;
    let broken = r#"{"id":"none""#;
    let expected = [
        ["events", broken, "t", "t"],
        ["mapped", r#"{"id":2,"name":"ten"}"#, "f", "t"],
        ["plain", r#"{"id":3,"name":"30"}"#, "f", "t"],
    ];
    ensure!(found == expected, "expected the letters {expected:?}, found {found:?}");
    Ok(())
}
