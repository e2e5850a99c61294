//! The bench's result as a page: `bench/RESULTS.md`. Minimum and median of the runs; the command and the versions that made it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::measure::Usage;
use super::sections::sections_of;
use super::{Settings, WORKLOADS, Workload, topic};
use crate::services::flink::Release;
use crate::services::kafka;
use crate::services::process::run_tool;

/// The most memory that wiesel may need, in MB.
const PEAK_MB_MAX: f64 = 200.0;
/// The most time to the first row, in milliseconds.
const FIRST_ROW_MS_MAX: f64 = 150.0;

/// Who ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// This program.
    Wiesel,
    /// Apache Flink.
    Flink(Release),
}

impl Engine {
    fn name(self) -> String {
        match self {
            Engine::Wiesel => "wiesel".to_owned(),
            Engine::Flink(release) => format!("Flink {}", release.version()),
        }
    }
}

/// The runs of one workload on one engine.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What ran.
    pub(crate) workload: Workload,
    /// Who ran it.
    pub(crate) engine: Engine,
    /// One entry per counted run.
    pub(crate) usages: Vec<Usage>,
}

/// Everything that was measured.
pub(crate) struct Report {
    settings: Settings,
    machine: String,
    lines: Vec<Line>,
    first_rows: Vec<(String, Vec<f64>)>,
    notes: Vec<String>,
}

impl Report {
    /// An empty report on this machine.
    pub(crate) fn new(settings: &Settings) -> Result<Report> {
        Ok(Report {
            settings: settings.clone(),
            machine: machine()?,
            lines: Vec::new(),
            first_rows: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Adds the runs of one workload.
    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Adds the times to the first row, in milliseconds.
    pub(crate) fn first_row(&mut self, engine: &str, times_ms: Vec<f64>) {
        self.first_rows.push((engine.to_owned(), times_ms));
    }

    /// Adds a line below the tables.
    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// The page.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "# wiesel beside Apache Flink\n\n\
             Made by `{}`: {} JSON messages of {} bytes (10 fields, 6 declared) in {} partitions, read from the beginning to the end,\n\
             parallelism 2, object reuse on, no checkpoints, {} runs each. Flink's clusters are warm (one run of each workload before the\n\
             counted ones), on default memory; its CPU is the TaskManager's alone, its memory both JVMs', its wall time the job's own.\n\
             Every wiesel run is a new process from start to exit. On shared cores wall times are noise; CPU per event is the figure.\n\n\
             {}; Kafka {}.\n\n",
            self.settings.command_line,
            self.settings.message_count,
            topic::MESSAGE_BYTES,
            topic::PARTITION_COUNT,
            self.settings.run_count,
            self.machine,
            kafka::VERSION,
        );
        text += "| workload | engine | CPU us/event min / median | ratio to Flink 2.3 here | events/s median | wall s min / median | peak MB |\n";
        text += "|---|---|---|---|---|---|---|\n";
        for line in &self.lines {
            text += &self.row(line);
        }
        text += &self.bar();
        text += &self.first_row_table();
        for note in &self.notes {
            text += &format!("\n{note}.\n");
        }
        text
    }

    fn row(&self, line: &Line) -> String {
        let cpu = self.cpu_us(line);
        let wall = sorted(line.usages.iter().map(|usage| usage.wall_s));
        let flink = self.cpu_us_median(line.workload, Engine::Flink(Release::V2));
        let ratio = flink.map_or_else(|| "-".to_owned(), |flink| format!("{:.2}", median(&cpu) / flink));
        let peak = line.usages.iter().map(|usage| usage.peak_mb).fold(0.0, f64::max);
        format!(
            "| {} | {} | {:.2} / {:.2} | {ratio} | {:.0} | {:.1} / {:.1} | {peak:.0} |\n",
            line.workload.title,
            line.engine.name(),
            minimum(&cpu),
            median(&cpu),
            self.message_count() / median(&wall),
            minimum(&wall),
            median(&wall),
        )
    }

    /// The bar that the project sets itself: against Flink 2.3 in this run, and as it was measured once.
    fn bar(&self) -> String {
        if !self.lines.iter().any(|line| line.engine == Engine::Wiesel) {
            return String::new();
        }
        let mut text = String::from("\n| bar | allowed | found | reached |\n|---|---|---|---|\n");
        for workload in WORKLOADS {
            let Some(found) = self.cpu_us_median(workload, Engine::Wiesel) else { continue };
            // The figure of a quiet machine is the harder bar where this one was busy: that raises everybody's CPU per event.
            let here = self.cpu_us_median(workload, Engine::Flink(Release::V2)).map(|flink| (flink, "here"));
            for (flink, source) in here.into_iter().chain([(workload.flink_us_reference, "on a quiet machine, once")]) {
                let allowed = flink * workload.ratio_max;
                let is_reached = yes_or_no(found <= allowed);
                text += &format!(
                    "| {}: CPU at most {} of Flink 2.3's {flink:.2} us {source} | {allowed:.2} us | {found:.2} us | {is_reached} |\n",
                    workload.title, workload.ratio_max,
                );
            }
        }
        let of_wiesel = self.lines.iter().filter(|line| line.engine == Engine::Wiesel);
        let peak = of_wiesel.flat_map(|line| &line.usages).map(|usage| usage.peak_mb).fold(0.0, f64::max);
        let is_small = yes_or_no(peak < PEAK_MB_MAX);
        text += &format!("| peak memory of the process | {PEAK_MB_MAX:.0} MB | {peak:.0} MB | {is_small} |\n");
        // The broker's own answer is part of the time, and would not be held against wiesel: within the limit with it is enough.
        if let Some((_, times)) = self.first_rows.iter().find(|(engine, _)| engine == "wiesel") {
            let found = median(&sorted(times.iter().copied()));
            let is_quick = yes_or_no(found < FIRST_ROW_MS_MAX);
            text += &format!(
                "| process start to first row, the broker's answer included | {FIRST_ROW_MS_MAX:.0} ms | {found:.0} ms | {is_quick} |\n"
            );
        }
        text
    }

    fn first_row_table(&self) -> String {
        let mut text = String::from("\n| process start to first row | min ms | median ms |\n|---|---|---|\n");
        for (engine, times) in &self.first_rows {
            let times = sorted(times.iter().copied());
            text += &format!("| {engine} | {:.0} | {:.0} |\n", minimum(&times), median(&times));
        }
        text
    }

    fn cpu_us(&self, line: &Line) -> Vec<f64> {
        sorted(line.usages.iter().map(|usage| usage.cpu_s * 1e6 / self.message_count()))
    }

    fn cpu_us_median(&self, workload: Workload, engine: Engine) -> Option<f64> {
        let mut lines = self.lines.iter();
        let line = lines.find(|line| line.workload.name == workload.name && line.engine == engine)?;
        Some(median(&self.cpu_us(line)))
    }

    #[allow(clippy::cast_precision_loss, reason = "message counts are far below 2^52")]
    fn message_count(&self) -> f64 {
        self.settings.message_count as f64
    }
}

pub(super) fn yes_or_no(is_reached: bool) -> &'static str {
    if is_reached { "yes" } else { "no" }
}

pub(super) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

pub(super) fn minimum(sorted: &[f64]) -> f64 {
    sorted.first().copied().unwrap_or(f64::NAN)
}

pub(super) fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Cores, memory and versions, in one line.
pub(super) fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kilobytes: u64 = memory.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    let processor = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let java = Command::new("java").arg("-version").output()?;
    let java = String::from_utf8_lossy(&java.stderr).lines().next().unwrap_or("java").replace('"', "");
    let commit = run_tool("name the commit", Command::new("git").args(["rev-parse", "--short", "HEAD"]));
    let commit = commit.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
    Ok(format!(
        "{cores} cores ({}), {} GB; {java}; wiesel {} at commit {commit}",
        model.trim_start_matches([' ', '\t', ':']),
        kilobytes / 1024 / 1024,
        env!("CARGO_PKG_VERSION"),
    ))
}

/// Writes the page into the repository; the sections that are measured apart stay as they are.
pub(crate) fn write(report: &Report, repository: &Path) -> Result<()> {
    let path = repository.join("bench/RESULTS.md");
    let sections = std::fs::read_to_string(&path).map_or_else(|_| String::new(), |page| sections_of(&page));
    std::fs::write(path, report.markdown() + &sections)?;
    Ok(())
}
