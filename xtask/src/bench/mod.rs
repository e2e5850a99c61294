//! wiesel and Apache Flink on the same topic, side by side.
//!
//! A topic is preloaded once; each workload is a Flink SQL file that reads it from its beginning to the end it had at the start
//! (`scan.bounded.mode = latest-offset`). Both run the same text: `--map` moves wiesel to the broker's port, for Flink the address is
//! replaced in a copy. What is compared is CPU per event of the engines' own processes (for Flink the TaskManager alone, which is in
//! Flink's favour), because wall times on shared cores are noise. Flink runs in one warm cluster per version: one run of each
//! workload is not counted. Every wiesel run is a new process, as it is in use.

mod first_row;
pub(crate) mod measure;
pub(crate) mod python;
pub(crate) mod report;
pub(crate) mod sections;
pub(crate) mod state;
pub(crate) mod topic;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use crate::e2e::kafka::KafkaClient;
use crate::services::flink::{Flink, Release};
use crate::services::process::{Signal, guarded, spawn};
use crate::services::{Service, Services};
use measure::Usage;
use report::{Engine, Line, Report};

/// The topic of the throughput workloads; their SQL files name it.
const TOPIC: &str = "bench_events";
/// The broker as the SQL files name it.
const ADDRESS_IN_FILES: &str = "kafka:9092";

/// A throughput workload and the file that holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Its file under `bench/workloads`, without the extension.
    pub(crate) name: &'static str,
    /// What it does, for the table.
    pub(crate) title: &'static str,
    /// CPU per event of Flink 2.3 as it was measured once, for the bar.
    pub(crate) flink_us_reference: f64,
    /// wiesel is to need at most this part of it.
    pub(crate) ratio_max: f64,
}

/// Every throughput workload.
pub(crate) const WORKLOADS: [Workload; 3] = [
    Workload { name: "decode", title: "decode JSON to blackhole", flink_us_reference: 1.3, ratio_max: 0.5 },
    Workload {
        name: "count_by_key",
        title: "GROUP BY org, date, url COUNT(*)",
        flink_us_reference: 3.8,
        ratio_max: 0.2,
    },
    Workload { name: "tumble_sum", title: "1-minute TUMBLE, SUM per client", flink_us_reference: 3.2, ratio_max: 0.25 },
];

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Messages in the topic.
    pub(crate) message_count: u64,
    /// Counted runs of each workload and engine.
    pub(crate) run_count: usize,
    /// The program under test; `None` leaves wiesel out.
    pub(crate) wiesel: Option<PathBuf>,
    /// Flink versions to compare with.
    pub(crate) flink: Vec<Release>,
    /// Only the workloads whose name contains this.
    pub(crate) filter: Option<String>,
    /// The command line, for the report.
    pub(crate) command_line: String,
}

/// Runs everything and returns the report.
pub(crate) fn run(settings: &Settings, repository: &Path) -> Result<Report> {
    let services = Arc::new(Services::start(&[Service::Kafka].into())?);
    let address = services.kafka()?.plaintext();
    let kafka = KafkaClient::new(&address);
    let folder = tempfile::Builder::new().prefix("wiesel-bench-").tempdir()?;
    let mut report = Report::new(settings)?;

    eprintln!("bench: loading {} messages", settings.message_count);
    let seconds = topic::load(&kafka, TOPIC, settings.message_count)?;
    report.note(format!("loaded {} messages in {seconds:.0} s", settings.message_count));
    first_row::load(&kafka)?;

    let workloads: Vec<Workload> = WORKLOADS
        .into_iter()
        .filter(|workload| settings.filter.as_deref().is_none_or(|filter| workload.name.contains(filter)))
        .collect();
    if let Some(binary) = &settings.wiesel {
        for workload in &workloads {
            let job = copy(repository, folder.path(), workload.name, "wiesel", |text| {
                // Unset means every 10 s in wiesel and never in Flink: the same setting for both.
                format!("SET 'execution.checkpointing.interval' = '0';\n{text}")
            })?;
            let mut usages = Vec::new();
            for _ in 0..settings.run_count {
                usages.push(run_wiesel(binary, &job, &address)?);
                say(workload, "wiesel", usages.last());
            }
            report.add(Line { workload: *workload, engine: Engine::Wiesel, usages });
        }
        report.first_row("wiesel", first_row::wiesel(binary, repository, folder.path(), &address, settings.run_count)?);
    }
    for release in &settings.flink {
        let version = release.version();
        let cluster = Flink::start(*release, &folder.path().join(format!("flink-{version}")))?;
        for workload in &workloads {
            let job = copy(repository, folder.path(), workload.name, version, |text| {
                text.replace(ADDRESS_IN_FILES, &address)
            })?;
            let mut usages = Vec::new();
            for run in 0..=settings.run_count {
                let usage = run_flink(&cluster, &job)?;
                say(workload, version, Some(&usage));
                // The first run warms the cluster up.
                if run > 0 {
                    usages.push(usage);
                }
            }
            report.add(Line { workload: *workload, engine: Engine::Flink(*release), usages });
        }
        let times = first_row::flink(&cluster, repository, folder.path(), &address, settings.run_count)?;
        report.first_row(&format!("Flink {version}"), times);
    }
    services.close();
    Ok(report)
}

fn say(workload: &Workload, engine: &str, usage: Option<&Usage>) {
    if let Some(usage) = usage {
        eprintln!(
            "bench: {} on {engine}: {:.1} s wall, {:.1} s CPU, {:.0} MB",
            workload.name, usage.wall_s, usage.cpu_s, usage.peak_mb
        );
    }
}

/// A workload's file, changed for one engine, in the bench's own folder.
fn copy(
    repository: &Path,
    folder: &Path,
    name: &str,
    engine: &str,
    change: impl FnOnce(&str) -> String,
) -> Result<PathBuf> {
    let source = repository.join("bench/workloads").join(format!("{name}.sql"));
    let text = fs::read_to_string(&source).with_context(|| format!("read `{}`", source.display()))?;
    let target = folder.join(engine).join(format!("{name}.sql"));
    fs::create_dir_all(target.parent().context("the copy has a folder")?)?;
    fs::write(&target, change(&text))?;
    Ok(target)
}

/// `wiesel run` with the broker mapped, starting anew each time.
fn wiesel_command(binary: &Path, job: &Path, address: &str) -> Command {
    let mut command = Command::new(binary);
    command.arg("run").arg(job).args(["--fresh", "--map", &format!("{ADDRESS_IN_FILES}={address}")]);
    if let Some(folder) = job.parent() {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null());
    command
}

fn run_wiesel(binary: &Path, job: &Path, address: &str) -> Result<Usage> {
    run_to_the_end(&wiesel_command(binary, job, address), job)
}

/// Runs wiesel on `job` until it ends.
fn run_to_the_end(command: &Command, job: &Path) -> Result<Usage> {
    let log_path = job.with_extension("log");
    let log = fs::File::create(&log_path)?;
    let mut command = guarded(command, Signal::Kill);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let (usage, status) = measure::to_the_end(spawn(command).context("start wiesel")?)?;
    ensure!(
        status.success(),
        "wiesel ended with {status} on `{}`:\n{}",
        job.display(),
        fs::read_to_string(&log_path).unwrap_or_default()
    );
    Ok(usage)
}

fn run_flink(cluster: &Flink, job: &Path) -> Result<Usage> {
    let [job_manager, task_manager] = cluster.pids();
    measure::reset_peak(job_manager)?;
    measure::reset_peak(task_manager)?;
    let cpu_before_s = measure::cpu_s(task_manager)?;
    let finished = cluster.run(job)?;
    Ok(Usage {
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a run are far below 2^52")]
        wall_s: finished.duration_ms as f64 / 1000.0,
        cpu_s: measure::cpu_s(task_manager)? - cpu_before_s,
        peak_mb: measure::peak_mb(job_manager)? + measure::peak_mb(task_manager)?,
    })
}
