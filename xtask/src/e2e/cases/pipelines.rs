//! `wiesel pipeline` and `wiesel dag` as the document of the logs-to-parquet system writes them, on a real broker.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::examples::{enriched_logs, same_parquet_rows};
use crate::e2e::context::Context;
use crate::services::kafka::{PASSWORD, USER};
use crate::services::python;

/// Logs as the generator makes them.
fn logs(context: &Context, count: usize, seed: &str) -> Result<(Vec<String>, Vec<Value>)> {
    let count_text = count.to_string();
    let arguments = ["generate", "logs-to-parquet", "--to", "file", "--seed", seed, "--burst", "--count", &count_text];
    let generated = context.run(arguments, 60)?.expect_code(0)?;
    let lines: Vec<String> = generated.stdout.lines().map(str::to_owned).collect();
    ensure!(lines.len() == count, "{} lines were generated", lines.len());
    let rows = lines.iter().map(|line| Ok(serde_json::from_str(line)?)).collect::<Result<_>>()?;
    Ok((lines, rows))
}

/// The environment file and the properties file are the document's; credentials reach the broker through both.
pub(crate) fn flink_kafka_to_parquet(context: &Context) -> Result<()> {
    let (lines, rows) = logs(context, 500, "3")?;
    let topic = context.unique("logs");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 4)?;
    kafka.produce(&topic, &lines)?;
    let broker = context.services().kafka()?;
    context.write(
        ".env.dev",
        &format!(
            "# Development Environment Configuration for Kafka\nBOOTSTRAP_SERVERS={}\nSASL_USERNAME={USER}\nSASL_PASSWORD=\"{PASSWORD}\" # theirs\nKAFKA_TOPIC=last9Topic\nSINK_PATH=file:///nowhere\n",
            broker.sasl_ssl()
        ),
    )?;
    fs::create_dir_all(context.folder().join("config/properties"))?;
    context.write(
        "config/properties/confluent.properties",
        "bootstrap.servers=${BOOTSTRAP_SERVERS}\nsecurity.protocol=SASL_SSL\nsasl.mechanisms=PLAIN\nsasl.username=${SASL_USERNAME}\nsasl.password=${SASL_PASSWORD}\n",
    )?;
    let folder = context.folder().join("parquet_output");
    let arguments = [
        "pipeline".to_owned(),
        "flink_kafka_to_parquet".to_owned(),
        format!("topic={topic}"),
        format!("sink_path=file://{}", folder.display()),
        "scan_startup_mode=earliest-offset".to_owned(),
        "scan_bounded_mode=latest-offset".to_owned(),
        "checkpoint_interval=30s".to_owned(),
        "--table-option".to_owned(),
        "kafka_logs.properties.ssl.truststore.type=PEM".to_owned(),
        "--table-option".to_owned(),
        format!("kafka_logs.properties.ssl.truststore.location={}", broker.ca_file().display()),
    ];
    let show: Vec<String> = arguments.iter().cloned().chain(["--show".to_owned()]).collect();
    let shown = context.run(&show, 60)?.expect_code(0)?;
    ensure!(!shown.stdout.contains(PASSWORD) && shown.stdout.contains("sasl_password"), "{}", shown.stdout);
    let finished = context.run(&arguments, 120)?.expect_code(0)?;
    let printed = finished.stdout.lines().filter(|line| line.starts_with("KafkaData>") && line.contains("+I[")).count();
    ensure!(printed == lines.len(), "{printed} rows were printed");
    ensure!(!finished.stderr.contains(PASSWORD), "the password is said: {}", finished.stderr);
    same_parquet_rows(&folder, enriched_logs(&rows)?)
}

/// Three steps from a topic to Parquet, endless all of them; the whole is killed in between, and run again.
pub(crate) fn workflow(context: &Context) -> Result<()> {
    let (lines, rows) = logs(context, 600, "4")?;
    let topic = context.unique("raw_events");
    let kafka = context.kafka()?;
    kafka.create_topic(&topic, 2)?;
    let (first, second) = lines.split_at(300);
    kafka.produce(&topic, first)?;
    context.write(".env", &format!("BOOTSTRAP_SERVERS={}\n", context.services().kafka()?.plaintext()))?;
    let quick = "checkpoint_interval: 200ms\n      rollover_interval: 500ms\n      rolling_check_interval: 100ms";
    let file = context.write(
        "workflow.yaml",
        &format!(
            "\
max_workers: 2
steps:
  - name: extract_data
    pipeline: kafka_extractor
    params:
      topic: {topic}
      security_protocol: PLAINTEXT
      {quick}
  - name: transform_data
    pipeline: data_transformer
    depends_on: [extract_data]
    params:
      monitor_interval: 50ms
      {quick}
  - name: load_data
    pipeline: parquet_loader
    depends_on: [transform_data]
    params:
      monitor_interval: 50ms
      {quick}
"
        ),
    )?;
    let folder = context.folder().join("data/parquet");
    let written = || -> Result<usize> {
        if folder.is_dir() { Ok(python::parquet_rows(&folder, "duckdb")?.len()) } else { Ok(0) }
    };
    let run = context.spawn(["dag", &file])?;
    run.wait_until(120, "every step at work", |p| {
        ["extract_data", "transform_data", "load_data"]
            .iter()
            .all(|step| p.stderr().contains(&format!("step `{step}`: runs, first checkpoint complete")))
    })?;
    context.wait_until(60, "rows in Parquet", || Ok(written()? > 0))?;
    run.kill()?;

    // The steps notice that nobody holds them any more, and stop; until then the folder of each is locked.
    let doors = context.folder().join(".wiesel/workflow.dag");
    context.wait_until(30, "the end of all steps", || {
        let ended = |step: &str| {
            Ok::<bool, anyhow::Error>(
                fs::read_to_string(doors.join(format!("{step}.log")))?.contains("stopped with checkpoint"),
            )
        };
        Ok(ended("extract_data")? && ended("transform_data")? && ended("load_data")?)
    })?;
    kafka.produce(&topic, second)?;
    let run = context.spawn(["dag", &file])?;
    context.wait_until(120, "all rows in Parquet", || Ok(written()? >= rows.len()))?;
    run.terminate()?;
    run.wait(60)?.expect_code(0)?.expect_stderr("step `load_data`: stopped with a checkpoint")?;
    same_parquet_rows(&folder, enriched_logs(&rows)?)
}
