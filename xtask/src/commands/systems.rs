//! `cargo xtask systems`: what the five systems need, before and after, measured on real processes.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::commands::test::repository;
use crate::services::process::catch_interrupts;
use crate::systems;

/// Measures what the five systems need, before (Apache Flink) and after (wiesel), and prints the tables.
#[derive(Debug, clap::Args)]
pub(crate) struct SystemsCommand {
    /// Writes the tables into the pages of docs/migration.
    #[arg(long)]
    write: bool,
    /// A wiesel program to measure instead of building the release.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

impl SystemsCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        catch_interrupts()?;
        let binary = match &self.binary {
            Some(binary) => binary.canonicalize().with_context(|| format!("find `{}`", binary.display()))?,
            None => super::test::build_binary(&["--release", "--package", "wiesel"])?,
        };
        systems::run(&repository()?, &binary, self.write)
    }
}
