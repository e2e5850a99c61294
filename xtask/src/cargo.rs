//! Cargo, called from a program that cargo itself has started.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// A cargo command without the traces of the cargo that runs us. Those variables (`CARGO_PKG_NAME` and so on) are inputs of some build
/// scripts, ring's for one: inherited, they make cargo build half the tree again, and once more at the next call from a shell.
pub(crate) fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_trace = ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| text.starts_with(prefix));
        if is_trace || ["CARGO", "CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_PRIMARY_PACKAGE"].contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs cargo with its output on the terminal and fails when it fails.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let status = command().args(arguments).envs(variables.iter().copied()).status().context("run cargo")?;
    ensure!(status.success(), "`cargo {}` ended with {status}", arguments.join(" "));
    Ok(())
}
