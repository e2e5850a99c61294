//! `cargo xtask docs`: writes the pages that are made from the program and the tests.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::commands::test::{build_binary, repository};

/// Writes the pages that are made from the program and the tests: docs/coverage.md, the list of docs/errors.md, the book's reference.
#[derive(Debug, clap::Args)]
pub(crate) struct DocsCommand {
    /// Writes nothing and fails when a page would change.
    #[arg(long)]
    check: bool,
    /// A wiesel program to ask instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

impl DocsCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        let binary = match &self.binary {
            Some(binary) => binary.canonicalize().with_context(|| format!("find `{}`", binary.display()))?,
            None => build_binary(&["--workspace", "--bins"])?,
        };
        crate::docs::run(&repository()?, &binary, self.check)
    }
}
