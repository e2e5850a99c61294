//! Asks the program what it makes of a line of SQL, through `wiesel check --offline`.
//!
//! A file each, because a syntax error would hide what stands in the rest of a file; a run takes milliseconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// What the program makes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has no such thing.
    Unknown,
    /// It knows the name and does not support it.
    Refused,
    /// It goes on to look at it.
    Known,
}

/// Errors of a code in these lists mean more than a wrong sample value.
const UNKNOWN_CODES: [&str; 1] = ["W0502"];
const REFUSED_CODES: [&str; 2] = ["W0401", "W0503"];

/// The built program.
pub(super) struct Program {
    binary: PathBuf,
}

impl Program {
    pub(super) fn new(binary: &Path) -> Self {
        Program { binary: binary.to_owned() }
    }

    /// What a command prints.
    pub(super) fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.binary).args(arguments).stdin(Stdio::null()).output().context("run wiesel")?;
        ensure!(output.status.success(), "`wiesel {}` ended with {}", arguments.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The answer to a line; `is_unknown` says more errors that mean that there is no such thing.
    pub(super) fn ask(&self, line: &str, is_unknown: impl Fn(&str) -> bool) -> Result<Answer> {
        let folder = tempfile::Builder::new().prefix("wiesel-docs-").tempdir()?;
        let file = folder.path().join("row.sql");
        fs::write(&file, line)?;
        let output = Command::new(&self.binary)
            .args(["check", "--offline"])
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .context("run wiesel")?;
        let text = String::from_utf8_lossy(&output.stderr);
        Ok(match text.lines().find(|line| line.starts_with("error[")) {
            Some(error) if is_unknown(error) || has_code(error, &UNKNOWN_CODES) => Answer::Unknown,
            Some(error) if has_code(error, &REFUSED_CODES) => Answer::Refused,
            _ => Answer::Known,
        })
    }
}

fn has_code(error: &str, codes: &[&str]) -> bool {
    codes.iter().any(|code| error.starts_with(&format!("error[{code}]")))
}
