//! Dead letters that are repaired and sent again: each once, through kills and beside the running job; those that do not decode yet later.

use anyhow::{Result, ensure};

use super::{jdbc, kafka_source};
use crate::e2e::context::Context;

/// Rows of the topic. Of ten one does not decode; of the last ten the table refuses the others.
const ROWS: usize = 100;
/// The steps at which a redrive dies, one after another.
const FAIL_POINTS: &[&str] = &["sink.prepare:1", "sink.commit:1", "commit.recorded:1"];

pub(crate) fn sends_each_letter_once(context: &Context) -> Result<()> {
    let [events, letters, rows, totals] = ["redrive", "letters", "rows", "totals"].map(|name| context.unique(name));
    let kafka = context.kafka()?;
    kafka.create_topic(&events, 2)?;
    kafka.produce(
        &events,
        (0..ROWS).map(|id| {
            let mark = if id % 10 == 3 { "?" } else { "" };
            format!("{{\"id\":\"{id}{mark}\",\"name\":\"name {id}\"}}")
        }),
    )?;
    let mut postgres = context.postgres()?;
    for table in [
        format!(
            "{letters} (at TIMESTAMPTZ, table_name TEXT, topic TEXT, partition INT, \"offset\" BIGINT, raw TEXT, reason TEXT)"
        ),
        format!("{rows} (id INT CONSTRAINT small CHECK (id < 90), name TEXT)"),
        format!("{totals} (kind INT PRIMARY KEY, n BIGINT)"),
    ] {
        postgres.execute(&format!("CREATE TABLE {table}"))?;
    }
    let job = context.write("job.sql", &format!(
        "SET 'pipeline.name' = '{events}';\nSET 'execution.checkpointing.interval' = '200 ms';\n\
         SET 'wiesel.on-refused' = 'dead-letter';\nSET 'wiesel.dead-letter.table' = 'letters';\n\
         SET 'wiesel.sink.letters.delivery' = 'exactly-once';\nSET 'wiesel.sink.rows.delivery' = 'exactly-once';\n\
         CREATE TABLE events (id INT, name STRING) WITH ('connector' = 'kafka', 'topic' = '{events}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');\n\
         CREATE TABLE letters (`at` TIMESTAMP_LTZ(3), table_name STRING, topic STRING, `partition` INT, `offset` BIGINT, `raw` STRING, \
         reason STRING) {};\n\
         CREATE TABLE `rows` (id INT, name STRING) {};\n\
         CREATE TABLE totals (kind INT, n BIGINT, PRIMARY KEY (kind) NOT ENFORCED) {};\n\
         EXECUTE STATEMENT SET BEGIN\nINSERT INTO `rows` SELECT id, name FROM events;\n\
         INSERT INTO totals SELECT MOD(id, 2), COUNT(*) FROM events GROUP BY MOD(id, 2);\nEND;\n",
        jdbc::with(context, &letters)?,
        jdbc::with(context, &rows)?,
        jdbc::with(context, &totals)?,
    ))?;
    let map = kafka_source::map(context)?;
    let run = ["run", &job, "--map", &map];
    let redrive = ["redrive", "letters", "--job", &job, "--map", &map];
    let count = |table: &str| -> Result<usize> {
        let found = context.postgres()?.query(&format!("SELECT count(*), count(DISTINCT id) FROM {table}"))?.concat();
        ensure!(found[0] == found[1], "{table}: rows are there twice: {found:?}");
        Ok(found[0].parse()?)
    };
    let letter_count = || -> Result<String> {
        Ok(context.postgres()?.query(&format!("SELECT count(*) FROM {letters}"))?.concat().concat())
    };

    let first = context.spawn(run)?;
    first.wait_until(60, "all rows and letters", |_| {
        count(&rows).is_ok_and(|n| n == 81) && letter_count().is_ok_and(|n| n == "19")
    })?;
    first.terminate()?;
    first.wait(20)?.expect_code(0)?;

    // One letter stays broken.
    postgres.execute(&format!("UPDATE {letters} SET raw = replace(raw, '?', '') WHERE raw NOT LIKE '%93%'"))?;
    postgres.execute(&format!("ALTER TABLE {rows} DROP CONSTRAINT small"))?;
    for point in FAIL_POINTS {
        context.note(format!("the redrive dies at {point}"));
        let end = context.spawn_with(redrive, &[("WIESEL_FAIL_POINT", (*point).to_owned())])?.wait(60)?;
        ensure!(end.code.is_none(), "{point}: the redrive must die there, it ended with {:?}", end.code);
    }
    let end = context.run(redrive, 60)?.expect_code(0)?;
    let end = end.expect_stderr("sent 9 letters to table `rows`")?;
    end.expect_stderr(&format!("sent 9 letters to topic `{events}` of `events`"))?;
    let again = || {
        context.run(redrive, 60)?.expect_code(0)?.expect_stderr("0 to be sent, 18 sent before, 1 that do not decode")
    };
    again()?;
    ensure!(count(&rows)? == 90, "the rows that the table refused are there, found {}", count(&rows)?);
    let produced = kafka.values(&events)?.len();
    ensure!(produced == ROWS + 9, "9 records are in the topic again, found {produced} in all");

    let second = context.spawn(run)?;
    second.wait_until(60, "the records that came again", |_| count(&rows).is_ok_and(|n| n == 99))?;
    again()?;
    // Beside the running job, which goes on.
    postgres.execute(&format!("UPDATE {letters} SET raw = replace(raw, '?', '')"))?;
    context.run(redrive, 60)?.expect_code(0)?.expect_stderr("1 to be sent, 18 sent before")?;
    second.wait_until(60, "the last record", |_| count(&rows).is_ok_and(|n| n == ROWS))?;
    second.terminate()?;
    second.wait(20)?.expect_code(0)?;
    let found = postgres.query(&format!("SELECT kind, n FROM {totals} ORDER BY 1"))?;
    ensure!(found == [["0", "50"], ["1", "50"]], "the counts go on where they were: {found:?}");
    ensure!(letter_count()? == "19", "no new letters");
    Ok(())
}
