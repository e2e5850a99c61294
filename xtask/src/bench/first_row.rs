//! How long a user waits: from the start of the process to the first row of a SELECT on the terminal.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::{ADDRESS_IN_FILES, copy, topic, wiesel_command};
use crate::e2e::kafka::KafkaClient;
use crate::services::flink::Flink;
use crate::services::process::spawn;

const TOPIC: &str = "bench_first_row";
const WORKLOAD: &str = "first_row";
const MESSAGE_COUNT: u64 = 100;
/// Every row shows its org, and nothing else on the terminal does.
const ROW_MARK: &str = "org-";

/// Creates and fills the small topic.
pub(super) fn load(kafka: &KafkaClient) -> Result<()> {
    topic::load(kafka, TOPIC, MESSAGE_COUNT).map(drop)
}

/// Milliseconds of each of `run_count` runs of wiesel.
pub(super) fn wiesel(
    binary: &Path,
    repository: &Path,
    folder: &Path,
    address: &str,
    run_count: usize,
) -> Result<Vec<f64>> {
    let job = copy(repository, folder, WORKLOAD, "wiesel", str::to_owned)?;
    (0..run_count).map(|_| until_first_row(wiesel_command(binary, &job, address))).collect()
}

/// The same for Flink's SQL client on a running cluster.
pub(super) fn flink(
    cluster: &Flink,
    repository: &Path,
    folder: &Path,
    address: &str,
    run_count: usize,
) -> Result<Vec<f64>> {
    let job = copy(repository, folder, WORKLOAD, "flink", |text| text.replace(ADDRESS_IN_FILES, address))?;
    (0..run_count).map(|_| until_first_row(cluster.client(&job))).collect()
}

fn until_first_row(mut command: Command) -> Result<f64> {
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = spawn(command)?;
    let output = child.stdout.take().context("stdout was asked for")?;
    let mut first_row_ms = None;
    for line in BufReader::new(output).split(b'\n') {
        if first_row_ms.is_none() && String::from_utf8_lossy(&line?).contains(ROW_MARK) {
            first_row_ms = Some(milliseconds(start));
        }
    }
    let status = child.wait()?;
    match first_row_ms {
        Some(time) => Ok(time),
        None => bail!("no row came before the end ({status})"),
    }
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}
