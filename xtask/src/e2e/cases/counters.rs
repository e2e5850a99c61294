//! The counters that a run says at its end add up, with real servers behind the source and the sinks: rows that do not decode, rows that
//! systems refuse, rows that a later one of their key replaces.

use anyhow::{Context as _, Result, ensure};

use super::{jdbc, kafka_source};
use crate::e2e::context::Context;
use crate::services::elasticsearch::Line;

/// Records: every twentieth does not decode, and of every fifty the database refuses one.
const ROWS: u64 = 1_000;
/// Keys of the tables that have one.
const KEYS: u64 = 10;

/// The numbers in the line of the run that contains both texts.
fn counted(said: &str, table: &str, what: &str) -> Result<Vec<u64>> {
    let line = said.lines().find(|line| line.contains(table) && line.contains(what));
    let line = line.with_context(|| format!("no line with `{table}` and `{what}` in: {said}"))?;
    let numbers = line.rsplit_once("`: ").map_or("", |(_, counted)| counted);
    numbers.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).map(|part| Ok(part.parse()?)).collect()
}

pub(crate) fn add_up(context: &Context) -> Result<()> {
    let names = ["counted", "letters", "once", "plain", "keyed", "out", "exactly", "last", "index"];
    let [from, letters, once, plain, keyed, out, exactly, last, index] = names.map(|name| context.unique(name));
    let kafka = context.kafka()?;
    for topic in [&from, &out, &exactly, &last] {
        kafka.create_topic(topic, 2)?;
    }
    kafka.produce(
        &from,
        (0..ROWS).map(|id| {
            if id % 20 == 3 { "{\"id\":".to_owned() } else { format!("{{\"id\":{id},\"k\":{}}}", id % KEYS) }
        }),
    )?;
    let mut postgres = context.postgres()?;
    for table in [
        format!(
            "{letters} (at TIMESTAMPTZ, table_name TEXT, topic TEXT, partition INT, \"offset\" BIGINT, raw BYTEA, reason TEXT)"
        ),
        format!("{once} (id INT CHECK (id % 50 <> 1), k INT)"),
        format!("{plain} (id INT CHECK (id % 50 <> 1), k INT)"),
        format!("{keyed} (id INT, k INT PRIMARY KEY)"),
    ] {
        postgres.execute(&format!("CREATE TABLE {table}"))?;
    }
    let topic =
        |name: &str, more: &str| format!("'topic' = '{name}', 'properties.bootstrap.servers' = 'kafka:9092'{more}");
    let url = context.services().elasticsearch(Line::Seven)?.url();
    let sql = format!(
        "SET 'execution.checkpointing.interval' = '300 ms';\nSET 'wiesel.on-refused' = 'dead-letter';\n\
         SET 'wiesel.dead-letter.table' = 'letters';\nSET 'wiesel.sink.once.delivery' = 'exactly-once';\n\
         SET 'wiesel.sink.letters.delivery' = 'exactly-once';\n\
         CREATE TABLE src (id INT, k INT) WITH ('connector' = 'kafka', {}, 'format' = 'json');\n\
         CREATE TABLE letters (`at` TIMESTAMP_LTZ(3), table_name STRING, topic STRING, `partition` INT, `offset` BIGINT, `raw` BYTES, \
         reason STRING) {};\n\
         CREATE TABLE once (id INT, k INT) {};\nCREATE TABLE plain (id INT, k INT) {};\n\
         CREATE TABLE keyed (id INT, k INT, PRIMARY KEY (k) NOT ENFORCED) {};\n\
         CREATE TABLE `out` (id INT, k INT) WITH ('connector' = 'kafka', {}, 'format' = 'json');\n\
         CREATE TABLE exactly (id INT, k INT) WITH ('connector' = 'kafka', {}, 'format' = 'json');\n\
         CREATE TABLE latest (id INT, k INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', {}, \
         'key.format' = 'json', 'value.format' = 'json');\n\
         CREATE TABLE documents (id INT, k INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'elasticsearch-7', \
         'hosts' = '{url}', 'index' = '{index}');\n\
         EXECUTE STATEMENT SET BEGIN\n\
         INSERT INTO once SELECT id, k FROM src;\nINSERT INTO plain SELECT id, k FROM src;\nINSERT INTO keyed SELECT id, k FROM src;\n\
         INSERT INTO `out` SELECT id, k FROM src;\nINSERT INTO exactly SELECT id, k FROM src;\nINSERT INTO latest SELECT id, k FROM src;\n\
         INSERT INTO documents SELECT id, k FROM src;\nEND;\n",
        topic(&from, ", 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'"),
        jdbc::with(context, &letters)?,
        jdbc::with(context, &once)?,
        jdbc::with(context, &plain)?,
        jdbc::with(context, &keyed)?,
        topic(&out, ""),
        topic(&exactly, ", 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'counted'"),
        topic(&last, ", 'sink.buffer-flush.max-rows' = '5000', 'sink.buffer-flush.interval' = '10 s'"),
    );
    let job = context.write("job.sql", &sql)?;
    let run = context
        .run(["run", &job, "--map", &kafka_source::map(context)?, "--log-level", "debug"], 90)?
        .expect_code(0)?;
    let said = run.stderr;
    let source = counted(&said, "source `src`", "fetched = ")?;
    ensure!(source == [ROWS, ROWS - ROWS / 20, 0, ROWS / 20], "fetched, rows, skipped, refused: {source:?}");
    let rows = ROWS - ROWS / 20;
    // Of every fifty numbers the one that ends in 01 or 51 is refused; none of them is among those that do not decode.
    let refused = ROWS / 50;
    for (table, expected) in [
        ("once", Some([rows, rows - refused, 0, refused])),
        ("plain", Some([rows, rows - refused, 0, refused])),
        ("out", Some([rows, rows, 0, 0])),
        ("exactly", Some([rows, rows, 0, 0])),
        ("letters", Some([ROWS / 20 + 2 * refused, ROWS / 20 + 2 * refused, 0, 0])),
        ("keyed", None),
        ("latest", None),
        ("documents", None),
    ] {
        let sink = counted(&said, &format!("sink `{table}`"), "received = ")?;
        ensure!(sink.first() == sink.get(1..4).map(|parts| parts.iter().sum()).as_ref(), "{table}: {sink:?}");
        match expected {
            Some(expected) => ensure!(sink == expected, "{table}: expected {expected:?}, found {sink:?}"),
            None => ensure!(sink[0] == rows && sink[2] > 0, "{table} folds rows of a key: {sink:?}"),
        }
    }
    Ok(())
}
