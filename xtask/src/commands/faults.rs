//! `cargo xtask faults`: the fault matrix on real servers.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::commands::test::{build_binary, repository};
use crate::e2e::runner;
use crate::faults::page::{Run, page};
use crate::faults::{self, totals};
use crate::services::process::{catch_interrupts, interrupted};

/// Random lists on the same servers; then they are started anew, so that what lists leave in them stays bounded.
const LISTS_PER_START: usize = 40;

/// Runs the fault matrix against real servers.
#[derive(Debug, clap::Args)]
pub(crate) struct FaultsCommand {
    /// Runs only the cases whose name contains one of these texts, divided by commas; `none` runs no case, only random lists.
    filter: Option<String>,
    /// What random draws begin with; printed by every run.
    #[arg(long)]
    seed: Option<u64>,
    /// After the matrix, runs random lists until so many minutes have passed since the start.
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// Adds what was found to `docs/faults.md` instead of printing it.
    #[arg(long)]
    write: bool,
    /// A wiesel program instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

impl FaultsCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        catch_interrupts()?;
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
        faults::set_seed(seed);
        println!("seed {seed}");
        let binary = match &self.binary {
            Some(binary) => binary.canonicalize().with_context(|| format!("find `{}`", binary.display()))?,
            None => build_binary(&["--package", "wiesel"])?,
        };
        let start = Instant::now();
        let mut chosen = faults::cases();
        let is_meant = |name: &str, texts: &String| texts.split(',').any(|text| name.contains(text));
        chosen.retain(|case| self.filter.as_ref().is_none_or(|texts| is_meant(case.name, texts)));
        if self.filter.is_some() && self.minutes == 0 {
            ensure!(!chosen.is_empty(), "no case has such a name");
        }
        let mut outcomes = runner::run_cases(&chosen, &binary, "fault")?;
        let deadline = start + Duration::from_secs(self.minutes * 60);
        while Instant::now() < deadline && !interrupted() {
            outcomes.extend(runner::run_again(faults::RANDOM, LISTS_PER_START, deadline, &binary)?);
        }
        ensure!(!outcomes.is_empty() || !interrupted(), "interrupted before anything ran");
        let failed = outcomes.iter().filter(|outcome| !outcome.is_passed).count();
        let totals = totals::totals();
        let file = repository()?.join("docs/faults.md");
        let old = if self.write { fs::read_to_string(&file).unwrap_or_default() } else { String::new() };
        let run = Run {
            command: self.line(seed),
            seed,
            minutes: start.elapsed().as_secs() / 60,
            outcomes: &outcomes,
            totals: &totals,
        };
        let page = page(&old, &run)?;
        if self.write {
            fs::write(file, page)?;
        } else {
            println!("{page}");
        }
        println!("{}", totals.sentence());
        println!("{} passed, {failed} failed, seed {seed}", outcomes.len() - failed);
        ensure!(!interrupted(), "interrupted");
        ensure!(failed == 0, "{failed} cases failed");
        Ok(())
    }

    /// The command line that draws the same again.
    fn line(&self, seed: u64) -> String {
        let filter = self.filter.as_ref().map_or_else(String::new, |filter| format!(" {filter}"));
        let minutes = if self.minutes > 0 { format!(" --minutes {}", self.minutes) } else { String::new() };
        format!("faults{filter} --seed {seed}{minutes}")
    }
}
