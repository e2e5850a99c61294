//! `wiesel doctor`: whether this machine has what jobs need, and what to do where it has not.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use wiesel_core::env::{monotonic, wall_clock_ms};

use super::{Exit, state_root};
use crate::door;
use crate::log::Log;
use crate::tableau::text_table;

/// Below this a job, its client libraries and the page cache of its state get in each other's way.
const MEMORY_MIN_BYTES: u64 = 512 << 20;
/// Room for a few checkpoints and staged rows.
const DISK_MIN_BYTES: u64 = 1 << 30;
/// Connections, files of the state and of partitions.
const FILES_MIN: u64 = 1024;
/// A disk that takes longer to make a write durable delays every checkpoint by several times that.
const SYNC_MAX_MS: u128 = 200;
/// A clock before this program was made is wrong: 2025-01-01 UTC.
const CLOCK_MIN_MS: i64 = 1_735_689_600_000;
/// Where Linux distributions keep the certificates of authorities.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Check this machine: memory, disk, limits, clock, certificates, Python
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The folder that will hold the state of jobs; `.wiesel` here by default
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// What was looked at.
struct Finding {
    subject: &'static str,
    found: String,
    /// What to do, when something is wrong, and whether jobs cannot run before.
    advice: Option<(bool, String)>,
}

fn fine(subject: &'static str, found: impl Into<String>) -> Finding {
    Finding { subject, found: found.into(), advice: None }
}

fn warning(subject: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { subject, found: found.into(), advice: Some((false, advice.into())) }
}

fn wrong(subject: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { subject, found: found.into(), advice: Some((true, advice.into())) }
}

impl Doctor {
    #[allow(clippy::print_stdout, reason = "the findings are data")]
    pub(crate) fn run(self) -> Exit {
        let state = state_root(Path::new("."), self.state.as_ref());
        let findings = [
            program(),
            cores(),
            memory(),
            files(),
            disk(&state),
            durability(&state),
            clock(),
            zones(),
            authorities(),
            runtime_folder(),
            python(),
        ];
        let rows: Vec<Vec<Option<String>>> = findings
            .iter()
            .map(|f| {
                let verdict = match &f.advice {
                    None => "ok",
                    Some((false, _)) => "warning",
                    Some((true, _)) => "wrong",
                };
                vec![Some(f.subject.to_owned()), Some(verdict.to_owned()), Some(f.found.clone())]
            })
            .collect();
        print!("{}", text_table(&["subject", "verdict", "found"].map(str::to_owned), &rows));
        let log = Log::stderr();
        let mut exit = Exit::Done;
        for finding in &findings {
            let Some((is_wrong, advice)) = &finding.advice else { continue };
            let line = format!("{}: {advice}", finding.subject);
            if *is_wrong {
                exit = Exit::Failed;
                log.error(&line);
            } else {
                log.warn(&line);
            }
        }
        exit
    }
}

fn program() -> Finding {
    let mut parts = vec![format!("wiesel {}", env!("CARGO_PKG_VERSION"))];
    let mut missing = Vec::new();
    for (name, is_there) in [("kafka", cfg!(feature = "kafka")), ("rocksdb", cfg!(feature = "rocksdb"))] {
        if is_there { parts.push(format!("with {name}")) } else { missing.push(name) }
    }
    let found = parts.join(", ");
    if missing.is_empty() {
        fine("program", found)
    } else {
        warning(
            "program",
            found,
            format!("built without {}; build with `--features {}`", missing.join(", "), missing.join(",")),
        )
    }
}

fn cores() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    fine("cores", format!("{count}: as many workers, unless 'parallelism.default' says otherwise"))
}

/// A line `NAME: NUMBER kB` of /proc/meminfo, in bytes.
fn memory_line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match memory_line(&text, "MemAvailable") {
        None => warning("memory", "unknown", "/proc/meminfo does not say what is available"),
        Some(bytes) => {
            let found = format!("{} MB available", bytes >> 20);
            if bytes < MEMORY_MIN_BYTES {
                warning("memory", found, "jobs take 256MB each unless `--memory` says otherwise")
            } else {
                fine("memory", found)
            }
        }
    }
}

/// The soft limit of open files, of /proc/self/limits.
fn files_limit(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn files() -> Finding {
    match files_limit(&std::fs::read_to_string("/proc/self/limits").unwrap_or_default()) {
        None => warning("open files", "unknown", "/proc/self/limits does not say the limit"),
        Some(limit) if limit < FILES_MIN => {
            warning("open files", limit.to_string(), format!("`ulimit -n {FILES_MIN}` before wiesel starts"))
        }
        Some(limit) => fine("open files", if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }),
    }
}

fn disk(state: &Path) -> Finding {
    // The folder may not be there yet; the one that will hold it is.
    let existing =
        state.ancestors().find(|p| !p.as_os_str().is_empty() && p.exists()).unwrap_or_else(|| Path::new("."));
    let output = Command::new("df").args(["--output=avail", "-B1"]).arg(existing).stderr(Stdio::null()).output();
    let bytes = output.ok().and_then(|o| String::from_utf8_lossy(&o.stdout).lines().nth(1)?.trim().parse::<u64>().ok());
    match bytes {
        None => warning("disk", "unknown", format!("`df` does not say what is free at `{}`", existing.display())),
        Some(bytes) if bytes < DISK_MIN_BYTES => warning(
            "disk",
            format!("{} MB free at `{}`", bytes >> 20, existing.display()),
            "checkpoints fail when it is full; `--state` names another place",
        ),
        Some(bytes) => fine("disk", format!("{} MB free at `{}`", bytes >> 20, existing.display())),
    }
}

fn durability(state: &Path) -> Finding {
    let probe = state.join(format!("doctor-{}", std::process::id()));
    let measure = || -> std::io::Result<u128> {
        std::fs::create_dir_all(state)?;
        let mut file = File::create(&probe)?;
        file.write_all(&[0; 4096])?;
        let began = monotonic();
        file.sync_all()?;
        Ok(monotonic().duration_since(began).as_millis())
    };
    let result = measure();
    // What cannot be removed could not be made, which the result says.
    _ = std::fs::remove_file(&probe);
    match result {
        Err(e) => {
            wrong("state folder", format!("`{}`: {e}", state.display()), "make it writable, or give `--state DIR`")
        }
        Ok(ms) if ms > SYNC_MAX_MS => warning(
            "state folder",
            format!("a durable write took {ms} ms"),
            "checkpoints wait for several of them; a local disk is faster",
        ),
        Ok(ms) => fine("state folder", format!("writable, a durable write took {ms} ms")),
    }
}

fn clock() -> Finding {
    let now = wall_clock_ms();
    if now < CLOCK_MIN_MS {
        wrong("clock", format!("{now} ms since 1970"), "the clock is wrong: processing time and certificates need it")
    } else {
        fine("clock", format!("{now} ms since 1970"))
    }
}

fn zones() -> Finding {
    let folder = Path::new("/usr/share/zoneinfo");
    if folder.is_dir() {
        fine("time zones", format!("`{}`", folder.display()))
    } else {
        fine("time zones", "those of the program: the system has none")
    }
}

fn authorities() -> Finding {
    match AUTHORITIES.iter().find(|file| Path::new(file).is_file()) {
        Some(file) => fine("certificates", format!("`{file}`")),
        None => warning(
            "certificates",
            "none found",
            "TLS needs the authorities' certificates: install `ca-certificates`, or name a file in the table's options",
        ),
    }
}

fn runtime_folder() -> Finding {
    match door::processes() {
        Ok(processes) => fine("running jobs", format!("{} processes (`wiesel list`)", processes.len())),
        Err(e) => warning(
            "running jobs",
            e.to_string(),
            "`list`, `stop`, `savepoint` and `run -d` need a folder of your own: set XDG_RUNTIME_DIR",
        ),
    }
}

/// The interpreter that a job without 'python.executable' would start.
fn python() -> Finding {
    let program = std::env::var("PYFLINK_EXECUTABLE").unwrap_or_else(|_| "python3".to_owned());
    let script = "import sys, pyarrow; print(sys.version.split()[0], 'with pyarrow', pyarrow.__version__)";
    let output = Command::new(&program).args(["-c", script]).stdin(Stdio::null()).output();
    let other = "or name another interpreter: SET 'python.executable' = '...', or PYFLINK_EXECUTABLE";
    match output {
        Ok(output) if output.status.success() => {
            fine("python", format!("`{program}` {}", String::from_utf8_lossy(&output.stdout).trim()))
        }
        Ok(_) => warning(
            "python",
            format!("`{program}` without pyarrow"),
            format!("functions in Python need it: `{program} -m pip install pyarrow`, {other}"),
        ),
        Err(_) => warning(
            "python",
            format!("no `{program}`"),
            format!("functions in Python need it, with pyarrow; install it, {other}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let memory = "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(memory_line(memory, "MemAvailable"), Some(2 << 20));
        assert_eq!(memory_line(memory, "Mem"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1048576              1048577              files\n";
        assert_eq!(files_limit(limits), Some(1_048_576));
        assert_eq!(files_limit("Max open files  unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(files_limit(""), None);
    }
}
