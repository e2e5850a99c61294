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
