//! `cargo xtask bench`: wiesel and Apache Flink on the same topic; writes `bench/RESULTS.md`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::bench::{self, Settings};
use crate::commands::test::repository;
use crate::services::flink::Release;
use crate::services::process::catch_interrupts;

/// Times wiesel and Apache Flink on the same topic and writes bench/RESULTS.md.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchCommand {
    /// Runs only the workloads whose name contains this text; the page is then printed, not written.
    filter: Option<String>,
    /// Messages in the topic.
    #[arg(long, default_value_t = 5_000_000)]
    messages: u64,
    /// Counted runs of each workload and engine.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Engines to run; all when none is named. The page is only written when all ran.
    #[arg(long, value_enum)]
    engine: Vec<EngineChoice>,
    /// A wiesel program to time instead of building the release.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EngineChoice {
    Wiesel,
    #[value(name = "flink-2.3")]
    Flink2,
    #[value(name = "flink-1.20")]
    Flink1,
}

impl BenchCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        catch_interrupts()?;
        let wants = |engine| self.engine.is_empty() || self.engine.contains(&engine);
        let wiesel = match &self.binary {
            _ if !wants(EngineChoice::Wiesel) => None,
            Some(binary) => Some(binary.canonicalize().with_context(|| format!("find `{}`", binary.display()))?),
            None => Some(super::test::build_binary(&["--release", "--package", "wiesel"])?),
        };
        let mut flink = Vec::new();
        if wants(EngineChoice::Flink2) {
            flink.push(Release::V2);
        }
        if wants(EngineChoice::Flink1) {
            flink.push(Release::V1);
        }
        let settings = Settings {
            message_count: self.messages,
            run_count: self.runs.max(1),
            wiesel,
            flink,
            filter: self.filter.clone(),
            command_line: format!("cargo xtask bench --messages {} --runs {}", self.messages, self.runs.max(1)),
        };
        let report = bench::run(&settings, &repository()?)?;
        print!("{}", report.markdown());
        if self.filter.is_none() && self.engine.is_empty() {
            bench::report::write(&report, &repository()?)?;
        }
        Ok(())
    }
}
