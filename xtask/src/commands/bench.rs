//! `cargo xtask bench`: wiesel and Apache Flink on the same topic; writes `bench/RESULTS.md`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::bench::sections::Section;
use crate::bench::{self, Settings, python, state};
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
    /// Measures state instead: larger than memory, the price of the store, the pauses of checkpoints; writes its section of the page.
    #[arg(long)]
    state: bool,
    /// A program built without the store, to compare `--binary` with, instead of building both.
    #[arg(long, value_name = "FILE", requires = "state", requires = "binary")]
    without_store: Option<PathBuf>,
    /// Measures the call of a Python function instead, beside PyFlink; writes its section of the page.
    #[arg(long, conflicts_with = "state")]
    python: bool,
    /// Keys of the state that is larger than memory; the section is only written for the default.
    #[arg(long, default_value_t = KEYS, requires = "state")]
    keys: u64,
    /// wiesel's budget for it, in MB.
    #[arg(long, default_value_t = MEMORY_MB, requires = "state")]
    memory: u32,
}

/// Keys of the state that is larger than memory.
const KEYS: u64 = 50_000_000;
/// wiesel's budget for it.
const MEMORY_MB: u32 = 512;

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
        if self.state {
            return self.run_state();
        }
        if self.python {
            return self.run_python();
        }
        let wants = |engine| self.engine.is_empty() || self.engine.contains(&engine);
        let wiesel = match &self.binary {
            _ if !wants(EngineChoice::Wiesel) => None,
            Some(binary) => Some(program(binary)?),
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

    fn run_state(&self) -> Result<()> {
        let wants = |engine| self.engine.is_empty() || self.engine.contains(&engine);
        let wiesel = match &self.binary {
            _ if !wants(EngineChoice::Wiesel) => None,
            Some(binary) => Some((program(binary)?, self.without_store.as_deref().map(program).transpose()?)),
            None => {
                // Both are built in one place, so the first is put aside.
                let features = ["--no-default-features", "--features", "kafka"];
                let without =
                    super::test::build_binary(&[&["--release", "--package", "wiesel"][..], &features].concat())?;
                let aside = without.with_file_name("wiesel-without-store");
                std::fs::copy(&without, &aside).with_context(|| format!("copy to `{}`", aside.display()))?;
                Some((super::test::build_binary(&["--release", "--package", "wiesel"])?, Some(aside)))
            }
        };
        let settings = state::StateSettings {
            wiesel,
            flink: if wants(EngineChoice::Flink1) { vec![Release::V1] } else { Vec::new() },
            keys: self.keys,
            memory_mb: self.memory,
            runs: self.runs.max(1),
            command_line: format!("cargo xtask bench --state --runs {}", self.runs.max(1)),
        };
        let section = state::run(&settings, &repository()?)?;
        print!("{section}");
        let is_whole = self.engine.is_empty() && (self.binary.is_none() || self.without_store.is_some());
        if is_whole && (self.keys, self.memory) == (KEYS, MEMORY_MB) {
            Section::State.write(&section, &repository()?)?;
        }
        Ok(())
    }

    fn run_python(&self) -> Result<()> {
        let wiesel = match &self.binary {
            Some(binary) => program(binary)?,
            None => super::test::build_binary(&["--release", "--package", "wiesel"])?,
        };
        let runs = self.runs.max(1);
        let section = python::run(&wiesel, runs, &format!("cargo xtask bench --python --runs {runs}"), &repository()?)?;
        print!("{section}");
        Section::Python.write(&section, &repository()?)
    }
}

fn program(file: &Path) -> Result<PathBuf> {
    file.canonicalize().with_context(|| format!("find `{}`", file.display()))
}
