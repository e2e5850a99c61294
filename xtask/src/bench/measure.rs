//! What a process has used, out of `/proc`: CPU time of all its threads (user and system), and the peak of its resident memory.
//!
//! The CPU time of a process that ends is read while it is a zombie, ended but not yet waited for, so nothing is lost. Its peak memory
//! is gone by then; it is looked at every few milliseconds while it runs, and it only grows.

use std::fs;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::services::process::interrupted;

const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Linux counts CPU time for `/proc` in hundredths of a second on every architecture that wiesel runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// From start to end.
    pub(crate) wall_s: f64,
    /// User and system time.
    pub(crate) cpu_s: f64,
    /// Peak of resident memory.
    pub(crate) peak_mb: f64,
}

/// Waits for the end of `child` and says what it used.
pub(crate) fn to_the_end(mut child: Child) -> Result<(Usage, ExitStatus)> {
    let start = Instant::now();
    let pid = child.id();
    let mut peak = 0.0_f64;
    loop {
        let stat = read_stat(pid)?;
        if stat.is_zombie {
            let wall_s = start.elapsed().as_secs_f64();
            return Ok((Usage { wall_s, cpu_s: stat.cpu_s, peak_mb: peak }, child.wait()?));
        }
        // Between the two reads the process may have ended: the last peak seen stands then.
        peak = peak_mb(pid).unwrap_or(peak);
        if interrupted() {
            child.kill()?;
            child.wait()?;
            bail!("interrupted");
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// CPU time of a running process.
pub(crate) fn cpu_s(pid: u32) -> Result<f64> {
    Ok(read_stat(pid)?.cpu_s)
}

/// `VmHWM` of a running process.
pub(crate) fn peak_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a live process has VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().context("VmHWM is a number of kB")?;
    Ok(kilobytes / 1024.0)
}

/// Lets `VmHWM` of a running process begin again at what it holds now (proc(5), `clear_refs`).
pub(crate) fn reset_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").with_context(|| format!("reset the peak memory of process {pid}"))
}

struct Stat {
    is_zombie: bool,
    cpu_s: f64,
}

fn read_stat(pid: u32) -> Result<Stat> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("read the state of process {pid}"))?;
    parse_stat(&text).with_context(|| format!("understand `{text}`"))
}

/// The name of the program, in brackets, may hold spaces and brackets: fields are counted from the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    // `state` is field 3 of proc(5), and the first one here; utime and stime are 14 and 15.
    Some(Stat { is_zombie: *fields.first()? == "Z", cpu_s: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND })
}

#[cfg(test)]
mod tests {
    use super::parse_stat;

    #[test]
    fn the_state_of_a_process_with_a_strange_name_is_understood() {
        let text = "42 (a) b) Z 1 42 42 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 1 0 100 0 0";
        let stat = parse_stat(text).expect("the line is well formed");
        assert!(stat.is_zombie);
        assert!((stat.cpu_s - 3.0).abs() < 1e-9);
    }
}
