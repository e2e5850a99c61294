//! State: larger than the memory it may use, in memory with and without the store, and how long a checkpoint stops the workers.
//!
//! Rows come from the engines' own generators, so no broker takes part. The measurements stand in a section of their own in
//! `bench/RESULTS.md`, which this part alone writes: it takes many minutes, and the rest of the page another afternoon.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::measure::Usage;
use super::report::{machine, median, minimum, sorted, yes_or_no};
use super::{copy, run_flink, run_to_the_end};
use crate::services::flink::{Flink, Release};

/// The keys that `large_state.sql` counts.
const KEYS_IN_FILE: &str = "50000000";
/// Peak memory may be so many times the budget.
const PEAK_RATIO_MAX: f64 = 1.3;
/// What the store may cost a job that does not need it.
const STORE_COST_MAX: f64 = 1.05;
/// The longest time that rows may stand still for a checkpoint, in milliseconds.
const PAUSE_MS_MAX: f64 = 10.0;
/// The end of a run says so in front of its longest pause.
const PAUSE_WORDS: &str = "longest pause ";

/// Flink gets fewer keys, because the same job did not come to its end within a quarter of an hour: without Bloom filters, which are off
/// out of the box, every new key is looked for in every file. Compared is the time per key, which grows with their number.
const FLINK_KEYS_MAX: u64 = 10_000_000;
/// Flink's sequence generator makes a list of all its numbers when it starts, for which the heap it has out of the box is too small.
/// RocksDB gets what wiesel gets.
const FLINK_MEMORY: &str = "taskmanager.memory.process.size: 6g\ntaskmanager.memory.task.heap.size: 4g";

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct StateSettings {
    /// The program under test, and one that was built without the store.
    pub(crate) wiesel: Option<(PathBuf, Option<PathBuf>)>,
    /// Flink versions to compare with.
    pub(crate) flink: Vec<Release>,
    /// Keys of the state that is larger than memory.
    pub(crate) keys: u64,
    /// The budget of wiesel for it.
    pub(crate) memory_mb: u32,
    /// Runs of the state that fits.
    pub(crate) runs: usize,
    /// The command line, for the page.
    pub(crate) command_line: String,
}

/// Measures everything and returns the section.
pub(crate) fn run(settings: &StateSettings, repository: &Path) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("wiesel-bench-").tempdir()?;
    let mut text = format!("\nMade by `{}`. {}.\n", settings.command_line, machine()?);
    let keys = settings.keys;
    let large = |engine: &str, keys: u64| {
        copy(repository, folder.path(), "large_state", engine, |text| text.replace(KEYS_IN_FILE, &keys.to_string()))
    };
    let mut rows = Vec::new();
    if let Some((binary, _)) = &settings.wiesel {
        let job = large("wiesel", keys)?;
        let memory = format!("{}MB", settings.memory_mb);
        let usage = run_to_the_end(&wiesel(binary, &job, &["--memory", &memory]), &job)?;
        eprintln!("bench: large_state: {usage:?}");
        rows.push(("wiesel".to_owned(), keys, usage));
    }
    for release in &settings.flink {
        let version = release.version();
        let memory = format!("{FLINK_MEMORY}\ntaskmanager.memory.managed.size: {}m", settings.memory_mb);
        let cluster = Flink::start_with(*release, &folder.path().join(format!("flink-{version}")), &memory)?;
        let keys = keys.min(FLINK_KEYS_MAX);
        rows.push((format!("Flink {version}, RocksDB"), keys, run_flink(&cluster, &large(version, keys)?)?));
    }
    text += &larger_than_memory(settings, &rows);
    if let Some((binary, without)) = &settings.wiesel {
        let job = copy(repository, folder.path(), "large_window", "wiesel", str::to_owned)?;
        let memory = format!("{}MB", settings.memory_mb);
        text += &large_window(settings, &run_to_the_end(&wiesel(binary, &job, &["--memory", &memory]), &job)?);
        let job = copy(repository, folder.path(), "state_in_memory", "wiesel", str::to_owned)?;
        let programs: Vec<(&str, &Path)> = [("with the store", Some(binary)), ("built without it", without.as_ref())]
            .into_iter()
            .filter_map(|(name, path)| Some((name, path?.as_path())))
            .collect();
        let mut usages = vec![Vec::new(); programs.len()];
        for _ in 0..settings.runs {
            for ((_, program), usages) in programs.iter().zip(&mut usages) {
                usages.push(run_to_the_end(&wiesel(program, &job, &[]), &job)?);
            }
        }
        text += &in_memory(&programs, &usages);
        let job = copy(repository, folder.path(), "checkpoint_pause", "wiesel", str::to_owned)?;
        let usage = run_to_the_end(&wiesel(binary, &job, &["--memory", "8GB"]), &job)?;
        text += &pauses(&fs::read_to_string(job.with_extension("log"))?, &usage);
    }
    Ok(text)
}

/// `wiesel run` without a broker, starting anew each time.
pub(super) fn wiesel(binary: &Path, job: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.arg("run").arg(job).arg("--fresh").args(more);
    if let Some(folder) = job.parent() {
        command.current_dir(folder);
    }
    command
}

fn larger_than_memory(settings: &StateSettings, rows: &[(String, u64, Usage)]) -> String {
    let allowed = f64::from(settings.memory_mb) * PEAK_RATIO_MAX;
    let mut text = format!(
        "\nGROUP BY over {} keys, each counted and summed; wiesel gets {} MB and may peak at {allowed:.0} MB. Flink's RocksDB gets the \
         same, its heap 4 GB, because its generator lists all numbers of a sequence when it starts; its CPU is the TaskManager's, its \
         memory both JVMs'. It gets \
         fewer keys: the same number did not come to its end within a quarter of an hour.\n\n\
         | engine | keys | wall s | CPU s | CPU us/key | peak MB | within |\n|---|---|---|---|---|---|---|\n",
        settings.keys, settings.memory_mb
    );
    for (engine, keys, Usage { wall_s, cpu_s, peak_mb }) in rows {
        #[allow(clippy::cast_precision_loss, reason = "keys of a bench are far below 2^52")]
        let us_per_key = cpu_s * 1e6 / *keys as f64;
        let within = if engine == "wiesel" { yes_or_no(*peak_mb <= allowed) } else { "-" };
        _ = writeln!(
            text,
            "| {engine} | {keys} | {wall_s:.0} | {cpu_s:.0} | {us_per_key:.1} | {peak_mb:.0} | {within} |"
        );
    }
    text
}

fn large_window(settings: &StateSettings, usage: &Usage) -> String {
    let allowed = f64::from(settings.memory_mb) * PEAK_RATIO_MAX;
    format!(
        "\nOne TUMBLE window of 20 million keys, each counted and summed, in {} MB; all of it is told from the store at the end:\n\n\
         | wall s | CPU s | peak MB | within {allowed:.0} MB |\n|---|---|---|---|\n| {:.0} | {:.0} | {:.0} | {} |\n",
        settings.memory_mb,
        usage.wall_s,
        usage.cpu_s,
        usage.peak_mb,
        yes_or_no(usage.peak_mb <= allowed)
    )
}

fn in_memory(programs: &[(&str, &Path)], usages: &[Vec<Usage>]) -> String {
    let mut text = String::from(
        "\nA GROUP BY whose state fits in memory, the two programs in turns:\n\n\
         | program | CPU s min / median | wall s min / median | peak MB |\n|---|---|---|---|\n",
    );
    let cpu = |usages: &[Usage]| sorted(usages.iter().map(|usage| usage.cpu_s));
    for ((name, _), usages) in programs.iter().zip(usages) {
        let wall = sorted(usages.iter().map(|usage| usage.wall_s));
        let peak = usages.iter().map(|usage| usage.peak_mb).fold(0.0, f64::max);
        let cpu = cpu(usages);
        _ = writeln!(
            text,
            "| {name} | {:.2} / {:.2} | {:.2} / {:.2} | {peak:.0} |",
            minimum(&cpu),
            median(&cpu),
            minimum(&wall),
            median(&wall)
        );
    }
    if let [with, without] = usages {
        let ratio = median(&cpu(with)) / median(&cpu(without));
        let reached = yes_or_no(ratio <= STORE_COST_MAX);
        _ = writeln!(text, "\nThe store costs {ratio:.3} of the CPU time; allowed are {STORE_COST_MAX}: {reached}.");
    }
    text
}

/// What the log of a run says of its checkpoints.
fn pauses(log: &str, usage: &Usage) -> String {
    let longest = log.lines().filter_map(longest_pause_ms).fold(f64::NAN, f64::max);
    let reached = yes_or_no(longest <= PAUSE_MS_MAX);
    let said = log.lines().find(|line| line.contains(PAUSE_WORDS)).unwrap_or("nothing was said of checkpoints");
    format!(
        "\nCheckpoints every 5 s of about 1 GB of state in memory, under steady updates of all of it (peak {:.0} MB, {:.0} s):\n\n\
         | longest pause of a worker ms | allowed | reached |\n|---|---|---|\n| {longest:.1} | {PAUSE_MS_MAX:.0} | {reached} |\n\n\
         The run's last words: `{}`\n",
        usage.peak_mb,
        usage.wall_s,
        said.trim()
    )
}

fn longest_pause_ms(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once(PAUSE_WORDS)?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_is_read_from_a_runs_last_words() {
        let line = "job `x`: finished; 5 rows in, 5 changes out, 7 checkpoints, longest pause 3.4 ms";
        assert_eq!(longest_pause_ms(line), Some(3.4));
        assert_eq!(longest_pause_ms("finished; 5 rows in"), None);
    }
}
