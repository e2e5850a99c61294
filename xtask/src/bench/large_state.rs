//! A GROUP BY whose state is larger than the memory it may use: wiesel with a budget, Flink with its RocksDB backend. Rows come from the
//! engines' own generators, so no broker takes part. One run each, because it takes minutes.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::measure::Usage;
use super::{copy, run_flink, run_to_the_end};
use crate::services::flink::Flink;

/// The file under `bench/workloads`, without the extension, and the name that a filter is compared with.
pub(super) const NAME: &str = "large_state";
/// The budget that wiesel gets.
pub(super) const MEMORY_MB: u32 = 512;

/// wiesel in its budget.
pub(super) fn wiesel(binary: &Path, repository: &Path, folder: &Path) -> Result<Usage> {
    let job = copy(repository, folder, NAME, "wiesel", str::to_owned)?;
    let mut command = Command::new(binary);
    command.arg("run").arg(&job).args(["--fresh", "--memory", &format!("{MEMORY_MB}MB")]).current_dir(folder);
    run_to_the_end(&command, &job)
}

/// Flink in the cluster's memory.
pub(super) fn flink(cluster: &Flink, repository: &Path, folder: &Path, version: &str) -> Result<Usage> {
    run_flink(cluster, &copy(repository, folder, NAME, version, str::to_owned)?)
}
