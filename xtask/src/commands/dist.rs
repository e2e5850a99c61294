//! `cargo xtask dist`: the program as something to carry away.

use std::path::PathBuf;

use anyhow::Result;

use crate::commands::test::repository;
use crate::dist;

/// Builds a program that runs on every Linux with a recent glibc, and packs it as a tar file and as a wheel for pip.
#[derive(Debug, clap::Args)]
pub(crate) struct DistCommand {
    /// Where the files go; the folder `packages` of the target directory otherwise.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Packs this program instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

impl DistCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        dist::run(&repository()?, self.binary.as_deref(), self.output.as_deref())
    }
}
