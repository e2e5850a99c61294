//! `cargo xtask tidy`: the repository's own rules and figures.

use anyhow::{Result, ensure};

use crate::commands::test::repository;
use crate::tidy;

/// Checks heads of files, forgotten notes and switched-off tests; prints figures.
#[derive(Debug, clap::Args)]
pub(crate) struct TidyCommand {}

impl TidyCommand {
    /// Runs the command to its end.
    #[allow(clippy::unused_self, reason = "every command has the same shape")]
    pub(crate) fn run(&self) -> Result<()> {
        let findings = tidy::check(&repository()?)?;
        print!("{}", findings.figures());
        for fault in &findings.faults {
            println!("{fault}");
        }
        ensure!(findings.faults.is_empty(), "{} breaches of the repository's rules", findings.faults.len());
        Ok(())
    }
}
