//! The bench's workloads, on fewer messages and printed: a speed is worth nothing when the answer is wrong.
//!
//! What must come out is computed here, from the text of the messages, with maps and loops.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bench::topic;
use crate::commands::test::repository;
use crate::e2e::context::Context;

/// Two windows and a piece of a third.
const MESSAGE_COUNT: u64 = 210_000;

pub(crate) fn decode_prints_every_message(context: &Context) -> Result<()> {
    let mut expected = BTreeMap::new();
    for message in messages() {
        let fields = ["org", "date", "url", "client", "amount"].map(|name| text(&message[name]));
        *expected.entry(fields.join(", ")).or_insert(0_u64) += 1;
    }
    let mut found = BTreeMap::new();
    for row in run(context, "decode")? {
        ensure!(row.kind == "+I", "decoding must only insert, found {}", row.kind);
        // The time is left out: whole seconds are written shorter, and the windows' case looks at times.
        let columns = row.columns.get(..5).context("a row has six columns")?;
        *found.entry(columns.join(", ")).or_insert(0_u64) += 1;
    }
    compare(&expected, &found)
}

pub(crate) fn count_by_key_counts_every_message(context: &Context) -> Result<()> {
    let mut expected = BTreeMap::new();
    for message in messages() {
        let key = ["org", "date", "url"].map(|name| text(&message[name])).join(", ");
        *expected.entry(key).or_insert(0_u64) += 1;
    }
    let mut found = BTreeMap::new();
    for row in run(context, "count_by_key")? {
        let (count, key) = row.columns.split_last().context("a row has columns")?;
        match &*row.kind {
            "+I" | "+U" => drop(found.insert(key.join(", "), count.parse()?)),
            "-U" => {}
            kind => anyhow::bail!("a count over an endless input never deletes, found {kind}"),
        }
    }
    compare(&expected, &found)
}

pub(crate) fn tumble_sum_sums_each_minute(context: &Context) -> Result<()> {
    let mut expected = BTreeMap::new();
    for message in messages() {
        let minute = text(&message["ts"]).get(..16).context("a time has minutes")?.replace(' ', "T");
        let amount = message["amount"].as_u64().context("an amount is a number")?;
        *expected.entry(format!("{minute}, {}", text(&message["client"]))).or_insert(0_u64) += amount;
    }
    let mut found = BTreeMap::new();
    for row in run(context, "tumble_sum")? {
        ensure!(row.kind == "+I", "a window fires once, found {}", row.kind);
        let [start, _end, client, total] = &row.columns[..] else { anyhow::bail!("a row has four columns") };
        let before = found.insert(format!("{start}, {client}"), total.parse()?);
        ensure!(before.is_none(), "`{start}` fired twice for {client}");
    }
    compare(&expected, &found)
}

fn messages() -> impl Iterator<Item = Value> {
    (0..MESSAGE_COUNT).map(|number| serde_json::from_str(&topic::message(number)).expect("the bench makes valid JSON"))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A line of the print sink.
struct Row {
    kind: String,
    columns: Vec<String>,
}

/// Runs the workload with its sink printed, on a topic of the case's own.
fn run(context: &Context, name: &str) -> Result<Vec<Row>> {
    let kafka = context.kafka()?;
    let topic_name = context.unique("events");
    kafka.create_topic(&topic_name, topic::PARTITION_COUNT)?;
    kafka.produce(&topic_name, (0..MESSAGE_COUNT).map(topic::message))?;
    let text = fs::read_to_string(repository()?.join("bench/workloads").join(format!("{name}.sql")))?;
    let job = context.write("job.sql", &text.replace("bench_events", &topic_name).replace("blackhole", "print"))?;
    let map = format!("kafka:9092={}", context.services().kafka()?.plaintext());
    let finished = context.run(["run", &job, "--map", &map], 100)?.expect_code(0)?;
    kafka.delete_topic(&topic_name)?;
    finished.stdout.lines().map(parse).collect()
}

/// `+I[a, b]`, maybe behind the number of a subtask.
fn parse(line: &str) -> Result<Row> {
    let (head, rest) = line.split_once('[').with_context(|| format!("`{line}` is no row"))?;
    let kind = head.get(head.len().saturating_sub(2)..).unwrap_or_default().to_owned();
    let columns = rest.trim_end_matches(']').split(", ").map(str::to_owned).collect();
    Ok(Row { kind, columns })
}

/// Compares two maps and names the first few keys that differ.
fn compare(expected: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Result<()> {
    let mut differences = Vec::new();
    for (key, value) in expected {
        if found.get(key) != Some(value) {
            differences.push(format!("`{key}`: expected {value}, found {:?}", found.get(key)));
        }
    }
    for key in found.keys().filter(|key| !expected.contains_key(*key)) {
        differences.push(format!("`{key}`: not expected"));
    }
    let count = differences.len();
    differences.truncate(10);
    ensure!(count == 0, "{count} of {} keys differ, among them:\n{}", expected.len(), differences.join("\n"));
    Ok(())
}
