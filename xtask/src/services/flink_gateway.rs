//! Flink's SQL gateway with an embedded cluster: one JVM that takes statements over HTTP, for the comparison of answers.
//!
//! A session is a catalog and settings of its own. Results are asked for as text, which is Flink's own `CAST AS STRING`, with the kind
//! of each change. Tables with the print connector write to the process's standard output, which is its log file here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::flink::{Release, jars, java};
use super::process::{Process, Signal, free_ports};

const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long a statement may take, its job included.
const STATEMENT_LIMIT: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(15);
/// How Flink shows NULL in text.
const NULL: &str = "<NULL>";
const LOGGING: &str = "rootLogger.level = ERROR\n\
    rootLogger.appenderRef.console.ref = console\n\
    appender.console.name = console\n\
    appender.console.type = CONSOLE\n\
    appender.console.target = SYSTEM_ERR\n\
    appender.console.layout.type = PatternLayout\n\
    appender.console.layout.pattern = %d %-5p %c{1} - %m%n\n";
const CONFIGURATION: &str = "execution.target: local\n\
    parallelism.default: 1\n\
    taskmanager.numberOfTaskSlots: 4\n\
    taskmanager.memory.network.fraction: 0.2\n\
    table.dml-sync: true\n\
    table.local-time-zone: UTC\n\
    pipeline.auto-watermark-interval: 0 ms\n\
    execution.runtime-mode: streaming\n";

/// The running gateway.
pub(crate) struct FlinkGateway {
    /// Stopped when dropped.
    _process: Process,
    base: String,
    log: PathBuf,
}

/// A row of a result: the kind's symbol and the texts, `None` for NULL.
pub(crate) type ResultRow = (String, Vec<Option<String>>);

impl FlinkGateway {
    /// Starts the gateway under `folder` and waits until it answers.
    pub(crate) fn start(release: Release, folder: &Path) -> Result<FlinkGateway> {
        let (distribution, class_path) = jars(release)?;
        let conf = folder.join("conf");
        fs::create_dir_all(&conf)?;
        fs::write(conf.join("config.yaml"), CONFIGURATION)?;
        fs::write(conf.join("log4j.properties"), LOGGING)?;
        let [port] = free_ports()?;
        let flags = ["-Xmx1500m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Duser.timezone=UTC"];
        let class_path = format!("{class_path}:{}/client/*", distribution.display());
        let mut command = java(&class_path, &conf, &flags.map(str::to_owned));
        command.env("FLINK_CONF_DIR", &conf);
        command.arg("org.apache.flink.table.gateway.SqlGateway");
        command.arg("-Dsql-gateway.endpoint.rest.address=127.0.0.1");
        command.arg(format!("-Dsql-gateway.endpoint.rest.port={port}"));
        let log = folder.join("gateway.log");
        let mut process = Process::start("flink-gateway", command, &log, Signal::Term)?;
        let base = format!("http://127.0.0.1:{port}");
        let info = format!("{base}/info");
        process.wait_until(READY_LIMIT, "its REST endpoint", |_| ureq::get(&info).call().is_ok())?;
        Ok(FlinkGateway { _process: process, base, log })
    }

    /// A new session.
    pub(crate) fn session(&self) -> Result<Session<'_>> {
        let answer = self.post("/v1/sessions", &json!({ "properties": {} }))?;
        let handle = answer["sessionHandle"].as_str().context("the gateway names the session")?.to_owned();
        Ok(Session { gateway: self, handle })
    }

    /// The lines that print tables wrote behind `identifier> `.
    pub(crate) fn printed(&self, identifier: &str) -> Result<Vec<String>> {
        let text = fs::read(&self.log)?;
        let text = String::from_utf8_lossy(&text);
        let prefix = format!("{identifier}> ");
        Ok(text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = ureq::post(format!("{}{path}", self.base)).config().http_status_as_error(false).build();
        let answer = request.header("Content-Type", "application/json").send(body.to_string())?;
        read(answer)
    }

    fn get(&self, path: &str) -> Result<Value> {
        read(ureq::get(format!("{}{path}", self.base)).config().http_status_as_error(false).build().call()?)
    }
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Result<Value> {
    let text = answer.body_mut().read_to_string()?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("the gateway answered `{text}`"))?;
    if let Some(errors) = value["errors"].as_array() {
        let text: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
        bail!("{}", reason(&text.join("\n")));
    }
    Ok(value)
}

/// What the innermost exceptions of a stack trace say, in one line.
fn reason(trace: &str) -> String {
    let mut causes = trace.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("Caused by: ");
        let (class, message) = line.split_once(": ")?;
        let is_class = class.contains('.') && !class.contains(' ') && !line.starts_with("at ");
        is_class.then(|| message.to_owned())
    });
    let last = causes.next_back();
    let before = causes.next_back();
    match (before, last) {
        (Some(before), Some(last)) if before != last => format!("{before}: {last}"),
        (_, Some(last)) => last,
        _ => trace.lines().next().unwrap_or_default().to_owned(),
    }
}

/// A session of the gateway.
pub(crate) struct Session<'a> {
    gateway: &'a FlinkGateway,
    handle: String,
}

impl Session<'_> {
    /// Carries out one statement, waits for its job, and returns its rows.
    pub(crate) fn run(&self, statement: &str) -> Result<Vec<ResultRow>> {
        let path = format!("/v1/sessions/{}/statements", self.handle);
        let answer = self.gateway.post(&path, &json!({ "statement": statement }))?;
        let operation = answer["operationHandle"].as_str().context("the gateway names the operation")?;
        let deadline = Instant::now() + STATEMENT_LIMIT;
        let mut token = 0;
        let mut rows = Vec::new();
        loop {
            ensure!(Instant::now() < deadline, "no end of the statement within {} s", STATEMENT_LIMIT.as_secs());
            let path =
                format!("/v2/sessions/{}/operations/{operation}/result/{token}?rowFormat=PLAIN_TEXT", self.handle);
            let answer = self.gateway.get(&path)?;
            let is_ready = match answer["resultType"].as_str() {
                Some("EOS") => break,
                Some("NOT_READY") => false,
                _ => {
                    let data = answer["results"]["data"].as_array().map_or(&[][..], Vec::as_slice);
                    rows.extend(data.iter().map(row));
                    token += 1;
                    !data.is_empty()
                }
            };
            if !is_ready {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(rows)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let url = format!("{}/v1/sessions/{}", self.gateway.base, self.handle);
        // The gateway ends with its sessions anyway.
        drop(ureq::delete(url).call());
    }
}

fn row(value: &Value) -> ResultRow {
    let kind = match value["kind"].as_str() {
        Some("UPDATE_BEFORE") => "-U",
        Some("UPDATE_AFTER") => "+U",
        Some("DELETE") => "-D",
        _ => "+I",
    };
    let text = |field: &Value| match field {
        Value::String(text) if text != NULL => Some(text.clone()),
        Value::String(_) | Value::Null => None,
        other => Some(other.to_string()),
    };
    (kind.to_owned(), value["fields"].as_array().map_or_else(Vec::new, |fields| fields.iter().map(text).collect()))
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_of_a_stack_trace_is_its_innermost_message() {
        let trace = "<Exception on server side:\norg.apache.flink.A: Failed to fetch.\n\tat org.apache.X.y(X.java:1)\n\
                     Caused by: org.apache.flink.ValidationException: SQL validation failed.\n\
                     Caused by: org.apache.calcite.SqlValidatorException: Column 'x' not found\n\tat a.b.c(D.java:2)";
        assert_eq!(reason(trace), "SQL validation failed.: Column 'x' not found");
    }
}
