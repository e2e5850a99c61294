//! SET and RESET: which keys exist, what becomes of them, and the job settings that follow from them.
//!
//! Three fates: a key is used; it has no meaning outside a JVM and is taken with one line on stderr; or it belongs to a feature that is
//! not there yet and is refused by name unless set to Flink's default. Everything else is an error with the nearest key.

mod own_settings;
mod restart;

use std::collections::BTreeMap;
use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span, nearest};
use wiesel_core::options::parse_duration;
use wiesel_core::secret;
use wiesel_core::variable::{self, SharedVariables};
use wiesel_plan::{JobConfig, MiniBatch};

use crate::parser::ast::OptionPair;

/// What becomes of a key.
enum Fate {
    /// It is read by the planner or the engine.
    Used,
    /// It has no meaning here; the text says why.
    Taken(&'static str),
    /// Only these values are supported.
    Only(&'static [&'static str]),
}

use Fate::{Only, Taken, Used};

const JVM: &str = "has no meaning without a JVM";
const CLUSTER: &str = "has no meaning without a cluster";
const CLIENT: &str = "only shapes the output of Flink's own client";

/// Every key that is known, sorted.
const KEYS: &[(&str, Fate)] = &[
    ("execution.checkpointing.dir", Used),
    ("execution.checkpointing.externalized-checkpoint-retention", Taken("checkpoints are always kept")),
    ("execution.checkpointing.interval", Used),
    ("execution.checkpointing.max-concurrent-checkpoints", Taken("one checkpoint is taken at a time")),
    ("execution.checkpointing.min-pause", Used),
    ("execution.checkpointing.mode", Only(&["EXACTLY_ONCE"])),
    ("execution.checkpointing.savepoint-dir", Used),
    ("execution.checkpointing.timeout", Used),
    (
        "execution.checkpointing.tolerable-failed-checkpoints",
        Taken("a failed checkpoint is retried at the next interval"),
    ),
    ("execution.checkpointing.unaligned.enabled", Taken("checkpoints are taken between steps and need no alignment")),
    ("execution.runtime-mode", Only(&["STREAMING", "BATCH"])),
    ("execution.savepoint-restore-mode", Only(&["NO_CLAIM"])),
    ("execution.savepoint.ignore-unclaimed-state", Used),
    ("execution.savepoint.path", Used),
    ("execution.state-recovery.claim-mode", Only(&["NO_CLAIM"])),
    ("execution.state-recovery.ignore-unclaimed-state", Used),
    ("execution.state-recovery.path", Used),
    ("jobmanager.memory.process.size", Taken(CLUSTER)),
    ("parallelism.default", Used),
    ("pipeline.auto-watermark-interval", Used),
    ("pipeline.classpaths", Taken(JVM)),
    ("pipeline.global-job-parameters", Used),
    ("pipeline.jars", Taken(JVM)),
    ("pipeline.max-parallelism", Taken("keys always lie in 256 vnodes")),
    ("pipeline.name", Used),
    ("pipeline.object-reuse", Taken(JVM)),
    ("pipeline.operator-chaining.enabled", Taken("operators always run in one loop")),
    ("python.archives", Only(&[""])),
    ("python.client.executable", Used),
    ("python.executable", Used),
    ("python.execution-mode", Only(&["process"])),
    ("python.files", Used),
    ("python.fn-execution.arrow.batch.size", Used),
    ("python.fn-execution.bundle.size", Used),
    ("python.fn-execution.bundle.time", Taken("a step's rows are sent at once")),
    ("python.fn-execution.memory.managed", Taken(JVM)),
    ("python.fn-execution.streaming.enabled", Taken(JVM)),
    ("python.map-state.iterate-response-batch-size", Taken(JVM)),
    ("python.map-state.read-cache-size", Taken(JVM)),
    ("python.map-state.write-cache-size", Taken(JVM)),
    ("python.metric.enabled", Taken(JVM)),
    ("python.operator-chaining.enabled", Taken(JVM)),
    ("python.profile.enabled", Taken(JVM)),
    ("python.pythonpath", Used),
    ("python.requirements", Only(&[""])),
    ("python.state.cache-size", Taken(JVM)),
    ("restart-strategy", Used),
    ("restart-strategy.exponential-delay.attempts-before-reset-backoff", Used),
    ("restart-strategy.exponential-delay.backoff-multiplier", Used),
    ("restart-strategy.exponential-delay.initial-backoff", Used),
    ("restart-strategy.exponential-delay.jitter-factor", Used),
    ("restart-strategy.exponential-delay.max-backoff", Used),
    ("restart-strategy.exponential-delay.reset-backoff-threshold", Used),
    ("restart-strategy.failure-rate.delay", Used),
    ("restart-strategy.failure-rate.failure-rate-interval", Used),
    ("restart-strategy.failure-rate.max-failures-per-interval", Used),
    ("restart-strategy.fixed-delay.attempts", Used),
    ("restart-strategy.fixed-delay.delay", Used),
    ("restart-strategy.type", Used),
    ("s3.access-key", Used),
    ("s3.endpoint", Used),
    ("s3.endpoint.region", Used),
    ("s3.path-style-access", Used),
    ("s3.path.style.access", Used),
    ("s3.region", Used),
    ("s3.secret-key", Used),
    ("s3.session-token", Used),
    ("sql-client.display.max-column-width", Used),
    ("sql-client.execution.max-table-result.rows", Taken(CLIENT)),
    ("sql-client.execution.result-mode", Only(&["TABLEAU"])),
    ("sql-client.verbose", Taken(CLIENT)),
    ("state.backend", Taken("there is one state store")),
    ("state.backend.incremental", Taken("checkpoints are always incremental")),
    ("state.backend.type", Taken("there is one state store")),
    ("state.checkpoints.dir", Used),
    ("state.savepoints.dir", Used),
    ("table.display.max-column-width", Used),
    ("table.dml-sync", Used),
    ("table.dynamic-table-options.enabled", Only(&["true"])),
    ("table.exec.legacy-cast-behaviour", Used),
    ("table.exec.mini-batch.allow-latency", Used),
    ("table.exec.mini-batch.enabled", Used),
    ("table.exec.mini-batch.size", Used),
    ("table.exec.resource.default-parallelism", Used),
    ("table.exec.sink.keyed-shuffle", Taken("changes of one key always reach one place")),
    ("table.exec.sink.not-null-enforcer", Only(&["ERROR", "DROP"])),
    ("table.exec.sink.type-length-enforcer", Only(&["IGNORE"])),
    ("table.exec.sink.upsert-materialize", Only(&["AUTO", "NONE", "FORCE"])),
    ("table.exec.source.cdc-events-duplicate", Used),
    ("table.exec.source.idle-timeout", Used),
    ("table.exec.state.ttl", Used),
    ("table.local-time-zone", Used),
    ("table.optimizer.agg-phase-strategy", Taken("aggregation always runs in one phase")),
    ("table.optimizer.distinct-agg.split.enabled", Taken("aggregation always runs in one phase")),
    ("table.sql-dialect", Only(&["default"])),
    ("taskmanager.memory.process.size", Taken(CLUSTER)),
    ("taskmanager.numberOfTaskSlots", Taken(CLUSTER)),
    ("wiesel.savepoint.interval", Used),
];

/// Keys whose value is a duration.
const DURATIONS: &[&str] = &[
    "execution.checkpointing.interval",
    "execution.checkpointing.min-pause",
    "execution.checkpointing.timeout",
    "pipeline.auto-watermark-interval",
    "table.exec.mini-batch.allow-latency",
    "table.exec.source.idle-timeout",
    "table.exec.state.ttl",
    "wiesel.savepoint.interval",
];

/// Keys whose value is an integer.
const INTEGERS: &[&str] = &[
    "parallelism.default",
    "sql-client.display.max-column-width",
    "table.display.max-column-width",
    "table.exec.mini-batch.size",
    "table.exec.resource.default-parallelism",
];

/// Keys whose value is true or false.
const BOOLEANS: &[&str] = &[
    "execution.savepoint.ignore-unclaimed-state",
    "execution.state-recovery.ignore-unclaimed-state",
    "table.dml-sync",
    "table.exec.mini-batch.enabled",
    "table.exec.source.cdc-events-duplicate",
];

/// Keys whose value is a folder.
const FOLDERS: &[&str] = &[
    "execution.checkpointing.dir",
    "execution.checkpointing.savepoint-dir",
    "execution.savepoint.path",
    "execution.state-recovery.path",
    "state.checkpoints.dir",
    "state.savepoints.dir",
];

/// What a folder's URL may begin with.
const FOLDER_SCHEMES: [&str; 4] = ["file", "s3", "s3a", "s3p"];

/// `parallelism.default` beyond this is refused: one worker is one thread.
const PARALLELISM_MAX: i64 = 256;

/// Columns that a query shows are cut beyond this when nothing else is set.
const COLUMN_WIDTH: usize = 30;

/// The values set so far.
#[derive(Debug, Clone, Default)]
pub struct Config {
    values: BTreeMap<String, String>,
    /// The values as the file writes them, before variables were expanded.
    written: BTreeMap<String, String>,
    variables: SharedVariables,
}

impl Config {
    /// No value set; variables are looked up there.
    pub fn new(variables: SharedVariables) -> Self {
        Config { variables, ..Config::default() }
    }

    /// The value of an option or setting, its variables expanded, its secrets kept from being shown.
    pub fn expanded(&self, pair: &OptionPair) -> Result<String, Diagnostic> {
        let (key, written) = (&pair.key.value, &pair.value);
        let value = variable::expand(&written.value, &*self.variables.0).map_err(|e| {
            // A literal with doubled quotes is longer than its value; then it is marked whole.
            let is_verbatim = (written.span.end - written.span.start) as usize == written.value.len() + 2;
            let place = |offset: usize| written.span.start + 1 + u32::try_from(offset).unwrap_or(0);
            let span = if is_verbatim { Span::new(place(e.start), place(e.end)) } else { written.span };
            Diagnostic::error("W0507", format!("'{key}': {}", e.message)).at(span).hint(e.hint)
        })?;
        secret::keep_option(key, &value);
        Ok(value)
    }

    /// Sets a key. `Ok(Some(note))` when it was taken without having a meaning.
    pub fn set(&mut self, pair: &OptionPair) -> Result<Option<String>, Diagnostic> {
        let expanded = self.expanded(pair)?;
        let (key, value) = (pair.key.value.as_str(), expanded.as_str());
        if key.starts_with("wiesel.") && KEYS.binary_search_by(|(k, _)| (*k).cmp(key)).is_err() {
            own_settings::check(pair, value)?;
            self.values.insert(key.to_owned(), value.to_owned());
            self.written.insert(key.to_owned(), pair.value.value.clone());
            return Ok(None);
        }
        let Ok(found) = KEYS.binary_search_by(|(k, _)| (*k).cmp(key)) else {
            let error = Diagnostic::error("W0502", format!("unknown setting '{key}'")).at(pair.key.span);
            return Err(match nearest(key, KEYS.iter().map(|(k, _)| *k)) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint("docs/reference/settings.md lists the known settings"),
            });
        };
        let invalid = |expected: &str| {
            Err(Diagnostic::error("W0501", format!("setting '{key}' cannot be '{value}'"))
                .at(pair.value.span)
                .label(format!("expected {expected}")))
        };
        if DURATIONS.contains(&key) && parse_duration(value).is_none() {
            return invalid("a duration such as `500 ms`, `10 s`, `5min` (a bare number is ms)");
        }
        if INTEGERS.contains(&key) && value.trim().parse::<i64>().is_err() {
            return invalid("an integer");
        }
        if key == "parallelism.default" && !(1..=PARALLELISM_MAX).contains(&value.trim().parse().unwrap_or(0)) {
            return invalid(&format!("a number from 1 to {PARALLELISM_MAX}"));
        }
        restart::check(pair, value)?;
        if FOLDERS.contains(&key)
            && let Some((scheme, _)) = value.split_once("://")
            && !FOLDER_SCHEMES.contains(&scheme)
        {
            return Err(Diagnostic::error(
                "W0504",
                format!("setting '{key}': the file system `{scheme}` is not supported yet"),
            )
            .at(pair.value.span)
            .label(format!("expected a path, or a URL of scheme {}", FOLDER_SCHEMES.join(", "))));
        }
        if BOOLEANS.contains(&key) && !["true", "false"].iter().any(|w| w.eq_ignore_ascii_case(value)) {
            return invalid("true or false");
        }
        if key == "table.local-time-zone" && !value.eq_ignore_ascii_case("default") && !is_time_zone(value) {
            return invalid("a time zone such as `UTC`, `Europe/Berlin` or `+02:00`");
        }
        let mut note = None;
        match &KEYS[found].1 {
            Used => {}
            Taken(why) => note = Some(format!("'{key}' is taken and has no effect: it {}", strip_it(why))),
            Only(words) => {
                if !words.iter().any(|w| w.eq_ignore_ascii_case(value)) {
                    return Err(Diagnostic::error(
                        "W0504",
                        format!("setting '{key}' = '{value}' is not supported yet"),
                    )
                    .at(pair.value.span)
                    .label(format!("supported: {}", words.join(", "))));
                }
            }
        }
        self.values.insert(key.to_owned(), value.to_owned());
        self.written.insert(key.to_owned(), pair.value.value.clone());
        Ok(note)
    }

    /// Forgets one key, or all.
    pub fn reset(&mut self, key: Option<&str>) {
        match key {
            Some(key) => {
                self.values.remove(key);
            }
            None => self.values.clear(),
        }
    }

    /// All values set, sorted.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The same as the file writes them, secrets hidden.
    pub fn shown(&self) -> impl Iterator<Item = (&str, String)> {
        self.values.iter().map(|(key, value)| {
            let written = self.written.get(key).unwrap_or(value);
            (key.as_str(), secret::shown(key, written).into_owned())
        })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    fn duration_ms(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(parse_duration).map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|v| v.eq_ignore_ascii_case("true"))
    }

    /// `table.display.max-column-width`, or the client's own older form of it, which goes first.
    pub fn column_width_max(&self) -> usize {
        let width = |key: &str| self.get(key).and_then(|v| v.trim().parse::<usize>().ok());
        let width = width("sql-client.display.max-column-width").or_else(|| width("table.display.max-column-width"));
        width.unwrap_or(COLUMN_WIDTH)
    }

    /// `pipeline.name`.
    pub fn pipeline_name(&self) -> Option<&str> {
        self.get("pipeline.name")
    }

    /// `execution.runtime-mode` = batch.
    pub fn is_batch(&self) -> bool {
        self.get("execution.runtime-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("BATCH"))
    }

    /// `table.exec.state.ttl` in ms; 0 = keep.
    pub fn state_ttl_ms(&self) -> u64 {
        // A bounded run ends before anything is idle.
        if self.is_batch() {
            return 0;
        }
        self.duration_ms("table.exec.state.ttl").unwrap_or(0)
    }

    /// `pipeline.auto-watermark-interval` in ms.
    pub fn watermark_interval_ms(&self) -> u64 {
        self.duration_ms("pipeline.auto-watermark-interval").unwrap_or(200)
    }

    /// `table.exec.source.idle-timeout` in ms; 0 = off.
    pub fn idle_timeout_ms(&self) -> u64 {
        self.duration_ms("table.exec.source.idle-timeout").unwrap_or(0)
    }

    /// `table.exec.mini-batch.*`, when enabled.
    pub fn mini_batch(&self) -> Option<MiniBatch> {
        if self.is_batch() {
            return None;
        }
        if !self.is_true("table.exec.mini-batch.enabled") {
            return None;
        }
        let rows = self.get("table.exec.mini-batch.size").and_then(|v| v.trim().parse::<u64>().ok());
        Some(MiniBatch {
            latency_ms: self.duration_ms("table.exec.mini-batch.allow-latency").unwrap_or(0),
            rows: rows.unwrap_or(u64::MAX),
        })
    }

    /// `table.exec.source.cdc-events-duplicate`.
    pub fn cdc_events_duplicate(&self) -> bool {
        self.is_true("table.exec.source.cdc-events-duplicate")
    }

    /// `table.exec.sink.not-null-enforcer` = DROP.
    pub fn drop_null_rows(&self) -> bool {
        self.get("table.exec.sink.not-null-enforcer").is_some_and(|v| v.eq_ignore_ascii_case("DROP"))
    }

    /// `table.local-time-zone`: an IANA name or an offset; the system's zone when not set.
    pub fn time_zone(&self) -> Arc<str> {
        match self.get("table.local-time-zone") {
            Some(zone) if !zone.eq_ignore_ascii_case("default") => zone.into(),
            _ => jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").into(),
        }
    }

    /// What expressions depend on.
    pub fn session(&self) -> wiesel_expr::Session {
        wiesel_expr::Session { time_zone: self.time_zone(), legacy_cast: self.legacy_cast() }
    }

    fn legacy_cast(&self) -> bool {
        self.get("table.exec.legacy-cast-behaviour").is_some_and(|v| v.eq_ignore_ascii_case("ENABLED"))
    }

    /// What the engine needs to know.
    pub fn job_config(&self) -> JobConfig {
        let parallelism = self
            .get("table.exec.resource.default-parallelism")
            .and_then(|v| v.trim().parse::<i64>().ok())
            .filter(|n| *n > 0)
            .or_else(|| self.get("parallelism.default").and_then(|v| v.trim().parse().ok()));
        JobConfig {
            parallelism: parallelism.and_then(|n| usize::try_from(n.min(PARALLELISM_MAX)).ok()),
            checkpoint_interval_ms: self.duration_ms("execution.checkpointing.interval"),
            checkpoint_min_pause_ms: self.duration_ms("execution.checkpointing.min-pause").unwrap_or(0),
            checkpoint_timeout_ms: self.duration_ms("execution.checkpointing.timeout").unwrap_or(600_000),
            checkpoint_dir: self
                .get("execution.checkpointing.dir")
                .or_else(|| self.get("state.checkpoints.dir"))
                .map(str::to_owned),
            time_zone: self.time_zone(),
            legacy_cast: self.legacy_cast(),
            is_batch: self.is_batch(),
            dml_sync: self.is_true("table.dml-sync"),
            restart: self.restart_strategy(),
            savepoint_dir: self
                .get("execution.checkpointing.savepoint-dir")
                .or_else(|| self.get("state.savepoints.dir"))
                .map(str::to_owned),
            savepoint_interval_ms: self.duration_ms("wiesel.savepoint.interval").filter(|ms| *ms > 0),
            savepoint_path: self
                .get("execution.state-recovery.path")
                .or_else(|| self.get("execution.savepoint.path"))
                .map(str::to_owned),
            ignore_unclaimed_state: self.is_true("execution.state-recovery.ignore-unclaimed-state")
                || self.is_true("execution.savepoint.ignore-unclaimed-state"),
        }
    }
}

fn strip_it(why: &str) -> String {
    // Reasons are written as half-sentences; those with a subject of their own follow a colon instead.
    if why.starts_with("has ") || why.starts_with("only ") { why.to_owned() } else { format!("is not needed ({why})") }
}

fn is_time_zone(text: &str) -> bool {
    jiff::tz::TimeZone::get(text).is_ok() || parse_offset(text).is_some()
}

/// `+02:00`, `-8`, `GMT+2`, `UTC+01:30` as seconds east of UTC.
pub fn parse_offset(text: &str) -> Option<i32> {
    let text = text.strip_prefix("GMT").or_else(|| text.strip_prefix("UTC")).unwrap_or(text);
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_sorted() {
        for pair in KEYS.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} must come before {}", pair[0].0, pair[1].0);
        }
    }
}
