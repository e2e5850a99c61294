//! The kafka sink through a whole job: every row arrives, and none is lost through kills (it is at-least-once: a row may come twice).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use crate::e2e::context::Context;
use crate::e2e::program::newest_manifest;

const KILLS: usize = 10;
const ROWS_PER_KILL: usize = 300;

fn rows(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|number| format!("{{\"id\":{number},\"name\":\"row-{number}\"}}")).collect()
}

pub(crate) fn rows_arrive_through_kills(context: &Context) -> Result<()> {
    let (from, to) = (context.unique("from"), context.unique("to"));
    let kafka = context.kafka()?;
    kafka.create_topic(&from, 4)?;
    kafka.create_topic(&to, 4)?;
    let job = |bounded: &str| {
        format!(
            "SET 'execution.checkpointing.interval' = '200 ms';\n\
             CREATE TABLE a (id INT, name STRING) WITH ('connector' = 'kafka', 'topic' = '{from}', \
             'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json'{bounded});\n\
             CREATE TABLE b (id INT, name STRING) WITH ('connector' = 'kafka', 'topic' = '{to}', \
             'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'json');\n\
             INSERT INTO b SELECT id, name FROM a WHERE MOD(id, 2) = 0;\n"
        )
    };
    let file = context.write("job.sql", &job(""))?;
    let address = format!("kafka:9092={}", context.services().kafka()?.plaintext());
    let state = context.folder().join(".wiesel");
    let mut produced = 0;
    let mut produce = || -> Result<()> {
        kafka.produce(&from, rows(produced, ROWS_PER_KILL))?;
        produced += ROWS_PER_KILL;
        Ok(())
    };
    produce()?;
    for _ in 0..KILLS {
        let before = newest_manifest(&state)?;
        let program = context.spawn(["run", &file, "--map", &address])?;
        program.wait_until(60, "two new checkpoints", |_| newest_manifest(&state).is_ok_and(|id| id >= before + 2))?;
        produce()?;
        program.kill()?;
    }
    let file = context.write("job.sql", &job(", 'scan.bounded.mode' = 'latest-offset'"))?;
    context.run(["run", &file, "--map", &address], 60)?.expect_code(0)?.expect_stderr("resumed from checkpoint")?;
    let mut found = BTreeSet::new();
    for value in kafka.values(&to)? {
        let row: serde_json::Value = serde_json::from_str(&value)?;
        found.insert(row["id"].as_u64().context("an id")?);
    }
    let expected: BTreeSet<u64> = (0..produced as u64).filter(|id| id % 2 == 0).collect();
    ensure!(found == expected, "expected {} different rows, found {}", expected.len(), found.len());
    Ok(())
}

/// A topic may take less than the client would send, as one record and as one batch.
pub(crate) fn records_larger_than_the_topic_takes_are_refused_one_by_one(context: &Context) -> Result<()> {
    const ROWS: usize = 500;
    let kafka = context.kafka()?;
    let from = context.unique("from");
    kafka.create_topic(&from, 2)?;
    kafka.produce(&from, rows(0, ROWS))?;
    let address = format!("kafka:9092={}", context.services().kafka()?.plaintext());
    // Row 1 is 1930 bytes long, which with what stands around it in a batch makes 2000; row 2 has one byte more.
    let large = |id: &usize| id % 50 == 7 || *id == 2;
    let deliveries = [("at-least-once", ""), ("exactly-once", "'sink.transactional-id-prefix' = 'small', ")];
    for (turn, (delivery, prefix)) in deliveries.into_iter().enumerate() {
        let [to, letters] = ["small", "letters"].map(|name| context.unique(&format!("{name}{turn}")));
        kafka.create_topic_with(&to, 2, &[("max.message.bytes", "2000")])?;
        kafka.create_topic(&letters, 1)?;
        let table = |topic: &str, more: &str| {
            format!(
                "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = 'kafka:9092', {more}'format' = 'json')"
            )
        };
        let job = format!(
            "SET 'wiesel.on-refused' = 'dead-letter';\nSET 'wiesel.dead-letter.table' = 'letters';\n\
             CREATE TABLE a (id INT, name STRING) {};\nCREATE TABLE b (id INT, name STRING) {};\n\
             CREATE TABLE letters (`at` TIMESTAMP(3), table_name STRING, topic STRING, `partition` INT, `offset` BIGINT, `raw` STRING, \
             reason STRING) {};\n\
             INSERT INTO b SELECT id, CASE WHEN id = 1 THEN REPEAT('x', 1912) WHEN id = 2 THEN REPEAT('x', 1913) \
             WHEN MOD(id, 50) = 7 THEN REPEAT(name, 500) ELSE name END FROM a;\n",
            table(&from, "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', "),
            table(&to, &format!("'sink.delivery-guarantee' = '{delivery}', {prefix}")),
            table(&letters, ""),
        );
        let file = context.write("job.sql", &job)?;
        context.run(["run", &file, "--map", &address, "--fresh"], 60)?.expect_code(0)?;
        let ids = |values: Vec<String>| -> Result<BTreeSet<u64>> {
            let id = |text: &String| serde_json::from_str::<serde_json::Value>(text)?["id"].as_u64().context("an id");
            values.iter().map(id).collect()
        };
        let found = ids(kafka.values(&to)?)?;
        let expected: BTreeSet<u64> = (0..ROWS).filter(|id| !large(id)).map(|id| id as u64).collect();
        ensure!(found == expected, "{delivery}: expected {} rows, found {}", expected.len(), found.len());
        let mut refused = Vec::new();
        for letter in kafka.values(&letters)? {
            let letter: serde_json::Value = serde_json::from_str(&letter)?;
            let reason = letter["reason"].as_str().unwrap_or_default();
            ensure!(reason.contains("max.message.bytes is 2000"), "{delivery}: the reason is {reason}");
            refused.push(letter["raw"].as_str().unwrap_or_default().to_owned());
        }
        let (count, refused) = (refused.len(), ids(refused)?);
        let expected: BTreeSet<u64> = (0..ROWS).filter(large).map(|id| id as u64).collect();
        ensure!(refused == expected && count == expected.len(), "{delivery}: the letters are {refused:?}");

        // Without dead letters the job ends and says it.
        let file = context.write("job.sql", &job.replace("'dead-letter';", "'fail';"))?;
        let end = context.run(["run", &file, "--map", &address, "--fresh"], 60)?.expect_code(1)?;
        end.expect_stderr("max.message.bytes is 2000")?;
    }
    Ok(())
}
