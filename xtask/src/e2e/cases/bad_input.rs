//! Wrong input of every kind: one clear error that says where, the documented exit code, and nothing lost.

use anyhow::{Result, ensure};

use crate::e2e::context::Context;
use crate::services::kafka::USER;

/// A job that copies a topic to the console.
fn copy_job(topic: &str, options: &str) -> String {
    format!(
        "CREATE TABLE events (id INT, name STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset', \
         'scan.bounded.mode' = 'latest-offset', 'format' = 'json'{options});\n\
         CREATE TABLE console (id INT, name STRING) WITH ('connector' = 'print');\n\
         INSERT INTO console SELECT id, name FROM events;\n"
    )
}

fn map(context: &Context) -> Result<String> {
    Ok(format!("kafka:9092={}", context.services().kafka()?.plaintext()))
}

pub(crate) fn a_misspelt_column_is_shown_with_a_caret(context: &Context) -> Result<()> {
    let job = context
        .write("job.sql", "SELECT nmae FROM (VALUES ('a', 1)) AS t(name, n);\nSELECT n2 FROM (VALUES (1)) AS u(n1);")?;
    let finished = context.run(["run", &job], 30)?.expect_code(2)?;
    for part in ["job.sql:1:8", "^^^^", "did you mean `name`?", "job.sql:2:8"] {
        ensure!(finished.stderr.contains(part), "`{part}` is missing in: {}", finished.stderr);
    }
    Ok(())
}

pub(crate) fn an_unknown_option_is_refused_with_the_nearest(context: &Context) -> Result<()> {
    let job = context.write("job.sql", &copy_job("t", ", 'scan.startup.mod' = 'x'"))?;
    let finished = context.run(["check", "--offline", &job], 30)?.expect_code(2)?;
    ensure!(finished.stderr.contains("did you mean 'scan.startup.mode'?"), "{}", finished.stderr);
    Ok(())
}

pub(crate) fn a_missing_topic_is_named(context: &Context) -> Result<()> {
    let topic = context.unique("nowhere");
    let job = context.write("job.sql", &copy_job(&topic, ""))?;
    let finished = context.run(["run", &job, "--map", &map(context)?], 60)?;
    ensure!(finished.code != Some(0), "a job without its topic ended well");
    ensure!(finished.stderr.contains(&topic), "the topic is not named: {}", finished.stderr);
    Ok(())
}

pub(crate) fn a_wrong_password_is_said_and_not_shown(context: &Context) -> Result<()> {
    let topic = context.unique("locked");
    context.kafka()?.create_topic(&topic, 1)?;
    let login = format!(
        ", 'properties.security.protocol' = 'SASL_PLAINTEXT', 'properties.sasl.mechanism' = 'PLAIN', \
         'properties.sasl.jaas.config' = 'org.apache.kafka.common.security.plain.PlainLoginModule required \
         username=\"{USER}\" password=\"canary-not-it\";'"
    );
    let job = context.write("job.sql", &copy_job(&topic, &login))?;
    let address = format!("kafka:9092={}", context.services().kafka()?.sasl_plaintext());
    let finished = context.run(["run", &job, "--map", &address], 60)?.expect_code(1)?;
    ensure!(finished.stderr.contains(USER), "the user is not named: {}", finished.stderr);
    ensure!(!finished.stderr.contains("canary"), "the password is shown");
    Ok(())
}

pub(crate) fn a_broken_row_ends_the_job_with_its_place(context: &Context) -> Result<()> {
    let topic = context.unique("broken");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 1)?;
    kafka.produce(&topic, [r#"{"id":1,"name":"a"}"#, r#"{"id":"#, r#"{"id":3,"name":"c"}"#])?;
    let job = context.write("job.sql", &copy_job(&topic, ""))?;
    let finished = context.run(["run", &job, "--map", &map(context)?], 60)?.expect_code(1)?;
    ensure!(finished.stderr.contains("json.ignore-parse-errors"), "no way out is named: {}", finished.stderr);
    let lenient = context.write("lenient.sql", &copy_job(&topic, ", 'json.ignore-parse-errors' = 'true'"))?;
    let finished = context.run(["run", &lenient, "--map", &map(context)?], 60)?.expect_code(0)?;
    ensure!(finished.stdout == "+I[1, a]\n+I[3, c]\n", "found {:?}", finished.stdout);
    finished.expect_stderr("1 records skipped")?;
    Ok(())
}

pub(crate) fn an_updating_query_cannot_go_to_files(context: &Context) -> Result<()> {
    let job = context.write(
        "job.sql",
        "CREATE TABLE f (name STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');\n\
         INSERT INTO f SELECT name, COUNT(*) FROM (VALUES ('a'), ('b')) AS t(name) GROUP BY name;",
    )?;
    let finished = context.run(["run", &job], 30)?.expect_code(2)?;
    ensure!(finished.stderr.contains("W0310"), "{}", finished.stderr);
    Ok(())
}

pub(crate) fn check_names_every_system_that_does_not_answer(context: &Context) -> Result<()> {
    // Three systems at ports where nobody listens, and a topic that the one real broker does not have.
    let topic = context.unique("nowhere");
    let broker = context.services().kafka()?.plaintext();
    let job = context.write(
        "job.sql",
        &format!(
            "CREATE TABLE missing (id INT) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
             'properties.bootstrap.servers' = '{broker}', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');\n\
             CREATE TABLE away (id INT) WITH ('connector' = 'kafka', 'topic' = 't', \
             'properties.bootstrap.servers' = '127.0.0.1:1', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');\n\
             CREATE TABLE documents (id INT) WITH ('connector' = 'elasticsearch-7', 'hosts' = 'http://127.0.0.1:2', 'index' = 'i');\n\
             CREATE TABLE base (id INT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:3/x', \
             'table-name' = 't', 'username' = 'u', 'password' = 'canary');\n\
             INSERT INTO documents SELECT id FROM missing;\n\
             INSERT INTO base SELECT id FROM away;\n"
        ),
    )?;
    let finished = context.run(["check", &job], 60)?.expect_code(2)?;
    for table in ["missing", "away", "documents", "base"] {
        ensure!(finished.stderr.contains(&format!("table `{table}`")), "`{table}` is missing in: {}", finished.stderr);
        let line = format!("{table}\n");
        let failed = finished.stdout.lines().any(|l| l.starts_with("failed") && format!("{l}\n").ends_with(&line));
        ensure!(failed, "`{table}` did not fail: {}", finished.stdout);
    }
    ensure!(finished.stderr.contains(&topic), "the topic is not named: {}", finished.stderr);
    ensure!(!finished.stderr.contains("canary"), "the password is shown");
    context.run(["check", "--offline", &job], 30)?.expect_code(0).map(drop)
}

pub(crate) fn check_tells_all_errors_of_a_file_at_once(context: &Context) -> Result<()> {
    let job = context.write(
        "job.sql",
        "CREATE TABLE clicks (user_id STRING, n INT) WITH ('connector' = 'datagen');\n\
         CREATE TABLE broken (id INT, dt STRNG) WITH ('connector' = 'datagen');\n\
         CREATE TABLE events (id INT, PRIMARY KEY (nope) NOT ENFORCED) PARTITIONED BY (neither) WITH ('connector' = 'kafka', \
         'topic' = 't', 'properties.bootstrap.servers' = 'k:9092', 'format' = 'json', 'scan.startup.mod' = 'x', \
         'scan.bounded.mode' = 'sometimes', 'json.fail' = 'true', 'scan.startup.mode' = 'earliest');\n\
         CREATE TABLE console (a STRING, b BIGINT) WITH ('connector' = 'print');\n\
         INSERT INTO console SELECT usr, COUNT(m) FROM clicks WHERE q > 1 GROUP BY UPPPER(user_id), z HAVING y > 1;\n\
         INSERT INTO console SELECT id, 1 FROM broken;\n\
         INSERT INTO nowhere SELECT bad FROM clicks;\n\
         INSERT INTO console SELECT id, 1 FROM events AS e;\n",
    )?;
    let finished = context.run(["check", "--offline", &job], 30)?.expect_code(2)?;
    let expected = [
        "no type `STRNG`",
        "no physical column `nope` for the primary key",
        "no column `neither` to partition by",
        "unknown options 'json.fail', 'scan.startup.mod'",
        "option 'scan.bounded.mode'",
        "option 'scan.startup.mode'",
        "no column `usr`",
        "no column `m`",
        "no column `q`",
        "no function `UPPPER`",
        "no column `z`",
        "no column `y`",
        "no table `nowhere`",
        "no column `bad`",
    ];
    for part in expected {
        ensure!(finished.stderr.contains(part), "`{part}` is missing in: {}", finished.stderr);
    }
    let count = finished.stderr.lines().filter(|line| line.starts_with("error[")).count();
    // Not among them: that `broken` and `events` are not there, which follows from their own errors.
    ensure!(count == expected.len(), "expected {} errors, found {count}: {}", expected.len(), finished.stderr);
    Ok(())
}
