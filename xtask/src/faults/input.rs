//! Rows 51 to 55 and 58: what comes in is broken, huge or strange, or does not come at all.
//!
//! Each bad message lies between two good ones. By default the job ends and names partition and offset; with `json.ignore-parse-errors`
//! it goes on, and says how many it left out. What a message that is taken comes to is compared with Apache Flink in
//! `tests/sql/types/json_*.slt`.

use anyhow::{Result, ensure};

use crate::e2e::context::Context;

/// Longest wait for a bounded run.
const RUN_LIMIT_S: u64 = 120;
const GOOD: [&str; 2] = [r#"{"id":1,"v":1.0,"s":"a"}"#, r#"{"id":3,"v":3.0,"s":"c"}"#];
/// A message of so many bytes, and what a broker must be told to take it.
const LARGE_BYTES: usize = 20 << 20;
/// Most memory that a job of one partition needs for it, in kB.
const MEMORY_KB_MAX: u64 = 900_000;

/// A job that prints a topic.
fn printed(topic: &str, options: &str) -> String {
    format!(
        "SET 'pipeline.name' = '{topic}';\n\
         CREATE TABLE events (id INT, v DOUBLE, s STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset', \
         'scan.bounded.mode' = 'latest-offset', 'format' = 'json'{options});\n\
         CREATE TABLE console (id INT, v DOUBLE, n INT) WITH ('connector' = 'print');\n\
         INSERT INTO console SELECT id, v, CHAR_LENGTH(s) FROM events;\n"
    )
}

fn map(context: &Context) -> Result<String> {
    Ok(format!("kafka:9092={}", context.services().kafka()?.plaintext()))
}

/// A topic with a good message, the bad one, a good one.
fn topic_with(context: &Context, name: &str, bad: Option<Vec<u8>>) -> Result<String> {
    let topic = context.unique(name);
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 1)?;
    let [first, last] = GOOD.map(|text| Some(text.as_bytes().to_vec()));
    kafka.produce_keyed(&topic, [first, bad, last].map(|value| (b"k".to_vec(), value)))?;
    Ok(topic)
}

/// Each of `bad` ends the job with its place; and is left out and counted when it may be.
fn refused(context: &Context, bad: &[(&str, Vec<u8>)]) -> Result<()> {
    let address = map(context)?;
    for (name, message) in bad {
        let topic = topic_with(context, name, Some(message.clone()))?;
        let job = context.write(&format!("{name}.sql"), &printed(&topic, ""))?;
        let strict = context.run(["run", &job, "--map", &address], RUN_LIMIT_S)?.expect_code(1)?;
        for part in [&format!("{topic}-0"), "offset 1", "json.ignore-parse-errors"] {
            ensure!(strict.stderr.contains(part), "{name}: `{part}` is missing in: {}", strict.stderr);
        }
        ensure!(strict.stderr.len() < 4_000, "{name}: the error has {} bytes", strict.stderr.len());
        let lenient = printed(&topic, ", 'json.ignore-parse-errors' = 'true'");
        let job = context.write(&format!("{name}-lenient.sql"), &lenient)?;
        let taken = context.run(["run", &job, "--map", &address, "--fresh"], RUN_LIMIT_S)?.expect_code(0)?;
        ensure!(taken.stdout == "+I[1, 1.0, 1]\n+I[3, 3.0, 1]\n", "{name}: found {:?}", taken.stdout);
        ensure!(taken.stderr.contains("1 records skipped"), "{name}: not counted: {}", taken.stderr);
    }
    Ok(())
}

/// Each of `strange` is a row.
fn taken(context: &Context, strange: &[(&str, Vec<u8>, &str)]) -> Result<()> {
    let address = map(context)?;
    for (name, message, row) in strange {
        let topic = topic_with(context, name, Some(message.clone()))?;
        let job = context.write(&format!("{name}.sql"), &printed(&topic, ""))?;
        let finished = context.run(["run", &job, "--map", &address], RUN_LIMIT_S)?.expect_code(0)?;
        let expected = format!("+I[1, 1.0, 1]\n{row}+I[3, 3.0, 1]\n");
        ensure!(finished.stdout == expected, "{name}: expected {expected:?}, found {:?}", finished.stdout);
    }
    Ok(())
}

/// Row 51: what is no JSON, or none for a row.
pub(super) fn broken(context: &Context) -> Result<()> {
    let deep = |open: &str, middle: &str, close: &str| {
        [open.repeat(10_000), middle.to_owned(), close.repeat(10_000)].concat().into_bytes()
    };
    refused(
        context,
        &[
            ("cut", br#"{"id":"#.to_vec()),
            ("text", b"hello".to_vec()),
            ("array", b"[]".to_vec()),
            ("nan", br#"{"id":2,"v":NaN}"#.to_vec()),
            ("deep_objects", deep(r#"{"a":"#, "1", "}")),
            ("deep_arrays", [br#"{"id":2,"s":"#.to_vec(), deep("[", "", "]"), b"}".to_vec()].concat()),
        ],
    )?;
    taken(context, &[("empty", Vec::new(), "")])
}

/// Row 52: bytes and characters that are no text.
pub(super) fn no_text(context: &Context) -> Result<()> {
    refused(
        context,
        &[
            ("not_utf8", b"{\"id\":2,\"s\":\"\xff\xfe\"}".to_vec()),
            ("cut_utf8", b"{\"id\":2,\"s\":\"\xe2\x82\"}".to_vec()),
        ],
    )?;
    taken(
        context,
        &[
            ("escaped_nul", br#"{"id":2,"s":"a\u0000b"}"#.to_vec(), "+I[2, null, 3]\n"),
            ("lone_surrogate", br#"{"id":2,"s":"\ud800"}"#.to_vec(), "+I[2, null, 1]\n"),
        ],
    )
}

/// Row 53, a plain source: a message without a value is no row.
pub(super) fn tombstone(context: &Context) -> Result<()> {
    let topic = topic_with(context, "tombstone", None)?;
    let job = context.write("job.sql", &printed(&topic, ""))?;
    let finished = context.run(["run", &job, "--map", &map(context)?], RUN_LIMIT_S)?.expect_code(0)?;
    ensure!(finished.stdout == "+I[1, 1.0, 1]\n+I[3, 3.0, 1]\n", "found {:?}", finished.stdout);
    Ok(())
}

/// Row 54: one message of 20 MB, one with 100,000 fields; the process stays small.
pub(super) fn huge(context: &Context) -> Result<()> {
    let fields: Vec<String> = (0..100_000).map(|n| format!("\"f{n}\":{n}")).collect();
    let large = format!("{{\"id\":2,\"s\":\"{}\"}}", "x".repeat(LARGE_BYTES));
    let kafka = context.kafka()?.with("message.max.bytes", "30000000");
    let topic = context.unique("huge");
    kafka.create_topic_with(&topic, 1, &[("max.message.bytes", "30000000")])?;
    let messages = [GOOD[0].to_owned(), large, format!("{{{},\"id\":4}}", fields.join(",")), GOOD[1].to_owned()];
    kafka.produce(&topic, messages)?;
    let job = context.write("job.sql", &printed(&topic, "").replace("'scan.bounded.mode' = 'latest-offset', ", ""))?;
    let program = context.spawn(["run", &job, "--map", &map(context)?])?;
    program.wait_until(RUN_LIMIT_S, "the last row", |p| p.stdout().contains("+I[3, 3.0, 1]\n"))?;
    let most = super::pressure::peak_memory_kb(program.pid())?;
    program.terminate()?;
    let finished = program.wait(60)?.expect_code(0)?;
    let expected = format!("+I[1, 1.0, 1]\n+I[2, null, {LARGE_BYTES}]\n+I[4, null, null]\n+I[3, 3.0, 1]\n");
    ensure!(finished.stdout == expected, "found {:?}", finished.stdout.chars().take(300).collect::<String>());
    ensure!(most <= MEMORY_KB_MAX, "the process had {most} kB");
    Ok(())
}

/// Row 55: values of other types than the column's, values that do not fit, fields too many, too few, and twice.
pub(super) fn other_types(context: &Context) -> Result<()> {
    let text = |json: &str| json.as_bytes().to_vec();
    let fails = [
        ("a_text_for_a_number", text(r#"{"id":"x"}"#)),
        ("a_truth_for_a_number", text(r#"{"id":true}"#)),
        ("an_overflow", text(r#"{"id":99999999999}"#)),
    ];
    for (name, message) in fails {
        let topic = topic_with(context, name, Some(message))?;
        let job = context.write(&format!("{name}.sql"), &printed(&topic, ""))?;
        let finished = context.run(["run", &job, "--map", &map(context)?], RUN_LIMIT_S)?.expect_code(1)?;
        for part in ["`id`", "expected INT", &format!("{topic}-0"), "offset 1"] {
            ensure!(finished.stderr.contains(part), "{name}: `{part}` is missing in: {}", finished.stderr);
        }
    }
    taken(
        context,
        &[
            ("numbers_as_text", text(r#"{"id":"2","v":"1.5","s":77}"#), "+I[2, 1.5, 2]\n"),
            ("beyond_double", text(r#"{"id":2,"v":1e400}"#), "+I[2, Infinity, null]\n"),
            ("more_fields", text(r#"{"id":2,"other":{"a":[1]},"s":"x"}"#), "+I[2, null, 1]\n"),
            ("no_field", text("{}"), "+I[null, null, null]\n"),
            ("fields_twice", text(r#"{"id":2,"s":"a","s":"bcd","id":4}"#), "+I[4, null, 3]\n"),
        ],
    )
}

/// Row 58: windows close although a partition has nothing (any more), another topic never had anything, and nearly all rows have one key.
pub(super) fn silence(context: &Context) -> Result<()> {
    let (topic, empty) = (context.unique("skewed"), context.unique("empty"));
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 4)?;
    kafka.create_topic(&empty, 2)?;
    let job = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';\nSET 'table.exec.source.idle-timeout' = '500 ms';\n\
         SET 'parallelism.default' = '2';\n\
         CREATE TABLE events (k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');\n\
         CREATE TABLE others (k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = '{empty}', \
         'properties.bootstrap.servers' = 'kafka:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');\n\
         CREATE TABLE console (k STRING, began TIMESTAMP(3), n BIGINT) WITH ('connector' = 'print');\n\
         CREATE VIEW both_topics AS SELECT * FROM events UNION ALL SELECT * FROM others;\n\
         INSERT INTO console SELECT k, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE both_topics, \
         DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;\n"
    );
    let job = context.write("job.sql", &job)?;
    let program = context.spawn(["run", &job, "--map", &map(context)?])?;
    // One key of a hundred rows is another one; a key is in one partition, so two of four never get a row. A second's rows come at a
    // time, so the partitions with rows are never as silent as those without.
    let mut second = 0;
    context.wait_until(120, "the first window of both keys", || {
        let rows = (0..100).map(|n| {
            let key = if n == 7 { "rare" } else { "often" };
            (
                key.to_owned(),
                Some(format!("{{\"k\":\"{key}\",\"ts\":\"2024-01-01 00:{:02}:{:02}\"}}", second / 60, second % 60)),
            )
        });
        kafka.produce_keyed(&topic, rows)?;
        second += 1;
        let found = program.stdout();
        Ok(["+I[often, 2024-01-01T00:00, 990]", "+I[rare, 2024-01-01T00:00, 10]"].iter().all(|row| found.contains(row)))
    })?;
    program.terminate()?;
    program.wait(60)?.expect_code(0)?;
    Ok(())
}
