//! `cargo xtask faults`: the fault matrix on real servers.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::commands::test::{build_binary, repository};
use crate::e2e::runner::{self, Outcome};
use crate::faults;
use crate::services::process::catch_interrupts;

/// Runs the fault matrix against real servers.
#[derive(Debug, clap::Args)]
pub(crate) struct FaultsCommand {
    /// Runs only the cases whose name contains this text.
    filter: Option<String>,
    /// What random draws begin with; printed by every run.
    #[arg(long)]
    seed: Option<u64>,
    /// After the matrix, runs random lists until so many minutes have passed since the start.
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// Writes `docs/faults.md` instead of printing it.
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
        chosen.retain(|case| self.filter.as_ref().is_none_or(|text| case.name.contains(text.as_str())));
        if self.filter.is_some() && self.minutes == 0 {
            ensure!(!chosen.is_empty(), "no case has such a name");
        }
        let mut outcomes = runner::run_cases(&chosen, &binary, "fault")?;
        while start.elapsed() < Duration::from_secs(self.minutes * 60) {
            outcomes.extend(runner::run_cases(&[faults::RANDOM], &binary, "random")?);
        }
        let failed = outcomes.iter().filter(|outcome| !outcome.is_passed).count();
        let page = page(seed, &outcomes)?;
        if self.write {
            fs::write(repository()?.join("docs/faults.md"), page)?;
        } else {
            println!("{page}");
        }
        println!("{} passed, {failed} failed, seed {seed}", outcomes.len() - failed);
        ensure!(failed == 0, "{failed} cases failed");
        Ok(())
    }
}

/// The page of results.
fn page(seed: u64, outcomes: &[Outcome]) -> Result<String> {
    let mut page = format!(
        "# Faults\n\nMade by `cargo xtask faults --seed {seed} --write`: wiesel against real servers, with a fault in each run. Every case compares\n\
         what the sinks show with what PostgreSQL computes over the dumped topic, while faults happen (nothing wrong, nothing twice) and\n\
         at the end (everything, once).\n\n| case | result | seconds |\n|---|---|---|\n"
    );
    for Outcome { name, is_passed, seconds } in outcomes.iter().filter(|outcome| outcome.name != faults::RANDOM.name) {
        writeln!(page, "| `{name}` | {} | {seconds:.0} |", if *is_passed { "passed" } else { "FAILED" })?;
    }
    let totals = faults::random::totals();
    if totals.lists > 0 {
        let failed = outcomes.iter().filter(|o| o.name == faults::RANDOM.name && !o.is_passed).count();
        let at_points: u64 = totals.points.values().sum();
        writeln!(
            page,
            "\n## Random lists\nA process with four loops (files, Kafka, PostgreSQL, Elasticsearch) and a list of actions drawn from the seed.\n\n\
             | figure | count |\n|---|---|\n| lists | {} |\n| lists that failed | {failed} |\n| rows | {} |\n| kills while rows flowed | {} |\n\
             | of them from outside | {} |\n| of them at a named step | {at_points} |\n| restarts of a server | {} |\n\
             | faults of the network | {} |\n| comparisons with the oracle | {} |",
            totals.lists,
            totals.rows,
            totals.kills + at_points,
            totals.kills,
            totals.server_restarts,
            totals.network_faults,
            totals.checks
        )?;
        for (point, count) in &totals.points {
            writeln!(page, "| died at `{point}` | {count} |")?;
        }
    }
    Ok(page)
}
