//! Where the kafka source begins and ends: every startup and bounded mode, logins over TLS, and a bounded end that a restart keeps.

use anyhow::{Result, ensure};

use crate::e2e::context::Context;
use crate::e2e::program::newest_manifest;
use crate::services::kafka::{PASSWORD, USER};

/// Copies a topic to the console.
pub(super) fn copy_job(topic: &str, options: &str) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';\n\
         CREATE TABLE events (id INT) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'json'{options});\n\
         CREATE TABLE console (id INT) WITH ('connector' = 'print');\n\
         INSERT INTO console SELECT id FROM events;\n"
    )
}

pub(super) fn map(context: &Context) -> Result<String> {
    Ok(format!("kafka:9092={}", context.services().kafka()?.plaintext()))
}

fn rows(ids: std::ops::Range<i64>) -> Vec<String> {
    ids.map(|id| format!("{{\"id\":{id}}}")).collect()
}

/// The printed ids, sorted.
fn printed(stdout: &str) -> Result<Vec<i64>> {
    let id = |line: &str| Ok(line.trim_start_matches("+I[").trim_end_matches(']').parse()?);
    let mut ids = stdout.lines().map(id).collect::<Result<Vec<i64>>>()?;
    ids.sort_unstable();
    Ok(ids)
}

/// Runs a bounded copy in a state folder of its own and gives back the ids.
fn copied(context: &Context, name: &str, topic: &str, options: &str) -> Result<Vec<i64>> {
    let job = context.write(&format!("{name}.sql"), &copy_job(topic, options))?;
    let finished = context.run(["run", &job, "--map", &map(context)?], 60)?.expect_code(0)?;
    printed(&finished.stdout)
}

pub(crate) fn reads_from_and_to_the_offsets_that_were_asked_for(context: &Context) -> Result<()> {
    let topic = context.unique("offsets");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    // By turns: partition 0 holds the even ids, partition 1 the odd ones, and id / 2 is the offset.
    kafka.produce(&topic, rows(0..20))?;
    let from = ", 'scan.startup.mode' = 'specific-offsets', 'scan.startup.specific-offsets' = 'partition:0,offset:4;partition:1,offset:8'";
    let to = ", 'scan.bounded.mode' = 'specific-offsets', 'scan.bounded.specific-offsets' = 'partition:0,offset:6;partition:1,offset:9'";
    let found = copied(context, "both", &topic, &format!("{from}{to}"))?;
    ensure!(found == [8, 10, 17], "partition 0 from 4 to 6 and partition 1 from 8 to 9, found {found:?}");
    let found = copied(context, "begin", &topic, &format!("{from}, 'scan.bounded.mode' = 'latest-offset'"))?;
    ensure!(found == [8, 10, 12, 14, 16, 17, 18, 19], "found {found:?}");
    let job = context.write("none.sql", &copy_job(&topic, &format!("{to}, 'scan.startup.mode' = 'latest-offset'")))?;
    let finished = context.run(["run", &job, "--map", &map(context)?], 60)?.expect_code(0)?;
    ensure!(finished.stdout.is_empty(), "the end lies before the start, found {:?}", finished.stdout);
    Ok(())
}

pub(crate) fn reads_from_and_to_the_times_that_were_asked_for(context: &Context) -> Result<()> {
    let topic = context.unique("times");
    context.kafka()?.create_topic(&topic, 1)?;
    // The sink writes the records' own times, which is tested on the way.
    let write = context.write(
        "write.sql",
        &format!(
            "CREATE TABLE events (id INT, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp') WITH ('connector' = 'kafka', \
             'topic' = '{topic}', 'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'json');\n\
             INSERT INTO events SELECT id, TO_TIMESTAMP_LTZ(ms, 3) FROM (VALUES (1, 1000), (2, 2000), (3, 2500), (4, 3000)) AS t(id, ms);\n"
        ),
    )?;
    context.run(["run", &write, "--map", &map(context)?], 60)?.expect_code(0)?;
    for (name, start, end, expected) in [
        ("exact", "2000", "3000", vec![2, 3]),
        ("between", "1500", "2600", vec![2, 3]),
        ("all", "0", "9000", vec![1, 2, 3, 4]),
        ("behind", "3001", "9000", vec![]),
    ] {
        let options = format!(
            ", 'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '{start}', \
             'scan.bounded.mode' = 'timestamp', 'scan.bounded.timestamp-millis' = '{end}'"
        );
        let found = copied(context, name, &topic, &options)?;
        ensure!(found == expected, "from {start} to {end}: expected {expected:?}, found {found:?}");
    }
    Ok(())
}

pub(crate) fn goes_on_where_its_group_stands(context: &Context) -> Result<()> {
    let topic = context.unique("group");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    kafka.produce(&topic, rows(0..10))?;
    let group = format!(", 'properties.group.id' = '{topic}', 'scan.bounded.mode' = 'latest-offset'");
    let found = copied(context, "first", &topic, &format!("{group}, 'properties.auto.offset.reset' = 'earliest'"))?;
    ensure!(found == (0..10).collect::<Vec<_>>(), "without a committed offset the reset counts, found {found:?}");
    kafka.produce(&topic, rows(10..14))?;
    // Another job without a checkpoint of its own: it begins where the group stands.
    let found = copied(context, "second", &topic, &group)?;
    ensure!(found == [10, 11, 12, 13], "found {found:?}");
    let unknown = context.write("unknown.sql", &copy_job(&topic, ", 'properties.group.id' = 'nobody'"))?;
    let finished = context.run(["run", &unknown, "--map", &map(context)?], 60)?.expect_code(2)?;
    ensure!(finished.stderr.contains("has no committed offset"), "{}", finished.stderr);
    Ok(())
}

pub(crate) fn latest_offset_shows_only_what_comes_later(context: &Context) -> Result<()> {
    let topic = context.unique("latest");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    kafka.produce(&topic, rows(0..10))?;
    let job = context.write("job.sql", &copy_job(&topic, ", 'scan.startup.mode' = 'latest-offset'"))?;
    let program = context.spawn(["run", &job, "--map", &map(context)?])?;
    let state = context.folder().join(".wiesel");
    // A checkpoint is taken only when the source has found its positions.
    program.wait_until(60, "a checkpoint", |_| newest_manifest(&state).is_ok_and(|id| id > 0))?;
    kafka.produce(&topic, rows(10..14))?;
    program.wait_until(30, "the new rows", |program| program.stdout().lines().count() >= 4)?;
    program.terminate()?;
    let finished = program.wait(20)?.expect_code(0)?;
    let found = printed(&finished.stdout)?;
    ensure!(found == [10, 11, 12, 13], "found {found:?}");
    Ok(())
}

pub(crate) fn a_bounded_end_stays_where_the_first_start_found_it(context: &Context) -> Result<()> {
    use std::io::Read as _;
    const ROWS: i64 = 200_000;
    let topic = context.unique("ends");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    kafka.produce(&topic, rows(0..ROWS))?;
    let options = ", 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";
    let text = copy_job(&topic, options).replace("'200 ms'", "'10 ms'");
    let job = context.write("job.sql", &text)?;
    let arguments = ["run", &job, "--map", &map(context)?].map(str::to_owned);
    let (program, mut reader) = context.spawn_piped(&arguments)?;
    // Its rows are read until a checkpoint stands, and no further: a job whose reader stalls cannot come to its end.
    let state = context.folder().join(".wiesel");
    let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
    while newest_manifest(&state)? == 0 {
        let count = reader.read(&mut chunk)?;
        ensure!(count > 0, "all rows came before a checkpoint: {}", program.stderr());
        seen.extend_from_slice(&chunk[..count]);
    }
    kafka.produce(&topic, rows(ROWS..ROWS + 1000))?;
    program.kill()?;
    drop(reader);
    let finished = context.run(&arguments, 60)?.expect_code(0)?.expect_stderr("resumed from checkpoint")?;
    let after = printed(&finished.stdout)?;
    ensure!(!after.is_empty(), "the killed run had not shown all of its rows");
    ensure!(after.iter().all(|id| *id < ROWS), "rows that came after the first start belong to no bounded read of it");
    ensure!(after.ends_with(&[ROWS - 2, ROWS - 1]), "the last rows of the first end are missing");
    Ok(())
}

/// The options of a login with SCRAM over TLS.
fn scram(context: &Context, password: &str) -> Result<String> {
    let ca = context.services().kafka()?.ca_file().display().to_string();
    Ok(format!(
        ", 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', \
         'properties.security.protocol' = 'SASL_SSL', 'properties.sasl.mechanism' = 'SCRAM-SHA-256', \
         'properties.ssl.truststore.type' = 'PEM', 'properties.ssl.truststore.location' = '{ca}', \
         'properties.sasl.jaas.config' = 'org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=\"{USER}\" password=\"{password}\";'"
    ))
}

pub(crate) fn logs_in_with_scram_over_tls(context: &Context) -> Result<()> {
    let topic = context.unique("scram");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 1)?;
    kafka.produce(&topic, rows(0..5))?;
    // `broker` stands in the certificate.
    let address = format!("broker:9092={}", context.services().kafka()?.sasl_ssl());
    let scram_job = |password: &str| -> Result<String> {
        Ok(copy_job(&topic, &scram(context, password)?).replace("kafka:9092", "broker:9092"))
    };
    let job = context.write("job.sql", &scram_job(PASSWORD)?)?;
    let finished = context.run(["run", &job, "--map", &address], 60)?.expect_code(0)?;
    ensure!(printed(&finished.stdout)? == [0, 1, 2, 3, 4], "found {:?}", finished.stdout);
    // The wrong password: said at once, by name, and without showing it. The wait is far below any time-out of the client.
    let job = context.write("wrong.sql", &scram_job("canary-not-it")?)?;
    let finished = context.run(["run", &job, "--map", &address], 8)?.expect_code(1)?;
    for part in [USER, "W0602"] {
        ensure!(finished.stderr.contains(part), "`{part}` is missing in: {}", finished.stderr);
    }
    ensure!(!finished.stderr.contains("canary"), "the password is shown");
    Ok(())
}
