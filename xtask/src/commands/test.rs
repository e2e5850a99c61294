//! `cargo xtask test`: every test of the repository, and one last line that says how many passed and failed.
//!
//! Three suites: `unit` is `cargo test --workspace`, whose result lines are added up; `sql` is the part of it that runs the data files
//! (the test targets named `sql`), so it is counted on its own only when asked for alone; `e2e` is the built program against real
//! servers, with a short set of the fault matrix. A suite that does not build counts as one failure and does not hide the others.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::cargo;
use crate::e2e::runner::{self, Counts};
use crate::services::process::{catch_interrupts, interrupted};
use crate::services::python;

/// Runs the tests: unit tests, SQL data files, and end-to-end cases against real servers.
#[derive(Debug, clap::Args)]
pub(crate) struct TestCommand {
    /// Runs only the tests whose name contains this text.
    filter: Option<String>,
    /// Runs only this suite.
    #[arg(long, value_enum)]
    only: Option<Suite>,
    /// What the random draws of the faults begin with; printed by every run.
    #[arg(long)]
    seed: Option<u64>,
    /// A wiesel program for the end-to-end cases instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Suite {
    Unit,
    Sql,
    E2e,
}

impl TestCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        let counts = self.count();
        // Printed whatever happened, because it is the one line that other programs read.
        let (passed, failed) = counts.as_ref().map_or((0, 1), |counts| (counts.passed, counts.failed));
        if let Err(error) = &counts {
            eprintln!("xtask: {error:#}");
        }
        println!("{passed} passed, {failed} failed");
        if failed > 0 {
            std::process::exit(1);
        }
        Ok(())
    }

    /// The program of the end-to-end cases. It is built with the whole workspace, so that cargo picks the same features of the
    /// dependencies as for the tests and builds them once.
    fn binary(&self) -> Result<PathBuf> {
        match &self.binary {
            Some(binary) => binary.canonicalize().with_context(|| format!("find `{}`", binary.display())),
            None => build_binary(&["--workspace", "--bins"]),
        }
    }

    fn count(&self) -> Result<Counts> {
        catch_interrupts()?;
        let mut counts = Counts::default();
        if matches!(self.only, None | Some(Suite::Unit)) {
            add(&mut counts, cargo_test(&["--workspace"], self.filter.as_deref())?);
        }
        if self.only == Some(Suite::Sql) && has_sql_tests()? {
            add(&mut counts, cargo_test(&["--workspace", "--test", "sql"], self.filter.as_deref())?);
        }
        if interrupted() {
            bail!("interrupted");
        }
        if matches!(self.only, None | Some(Suite::E2e)) {
            if let Some(seed) = self.seed {
                crate::faults::set_seed(seed);
            }
            match self.binary() {
                Ok(binary) => add(&mut counts, runner::run(self.filter.as_deref(), &binary)?),
                Err(error) => {
                    eprintln!("xtask: {error:#}");
                    counts.failed += 1;
                }
            }
        }
        Ok(counts)
    }
}

fn add(sum: &mut Counts, part: Counts) {
    sum.passed += part.passed;
    sum.failed += part.failed;
}

/// Builds the program, as `cargo build` with `arguments` does, and says where it is.
pub(crate) fn build_binary(arguments: &[&str]) -> Result<PathBuf> {
    let output = cargo::command()
        .args(["build", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo")?;
    if !output.status.success() {
        bail!("`wiesel` does not build");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines() {
        let message: serde_json::Value = serde_json::from_str(line).context("read cargo's messages")?;
        if message["target"]["name"] == "wiesel"
            && message["target"]["kind"][0] == "bin"
            && let Some(path) = message["executable"].as_str()
        {
            return Ok(PathBuf::from(path));
        }
    }
    bail!("cargo built no executable named `wiesel`")
}

/// Runs `cargo test`, shows its output as it comes, and adds up its result lines.
fn cargo_test(arguments: &[&str], filter: Option<&str>) -> Result<Counts> {
    let mut command = cargo::command();
    command.arg("test").args(arguments).args(["--no-fail-fast"]);
    // The interpreter of the tests of Python functions, with pyarrow in it.
    command.env("PYFLINK_EXECUTABLE", python::interpreter()?);
    if let Some(filter) = filter {
        command.arg("--").arg(filter);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("run cargo test")?;
    let output = child.stdout.take().context("cargo's stdout was asked for")?;
    let mut counts = Counts::default();
    let mut stdout = std::io::stdout().lock();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if let Some(part) = parse_result_line(&line) {
            add(&mut counts, part);
        }
        // Empty targets say four lines about nothing; a reader looks for names.
        if !is_noise(&line) {
            writeln!(stdout, "{line}")?;
        }
    }
    let status = child.wait()?;
    if !status.success() && counts.failed == 0 {
        writeln!(stdout, "cargo test ended with {status} without a failed test: something did not build or crashed")?;
        counts.failed = 1;
    }
    Ok(counts)
}

fn is_noise(line: &str) -> bool {
    line.is_empty() || line == "running 0 tests" || line.starts_with("test result: ok. 0 passed; 0 failed")
}

/// `test result: ok. 3 passed; 1 failed; 0 ignored; ...`
fn parse_result_line(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let number_before = |word: &str| -> Option<u64> {
        let words: Vec<&str> = rest.split([' ', ';']).filter(|part| !part.is_empty()).collect();
        let position = words.iter().position(|candidate| *candidate == word)?;
        words.get(position.checked_sub(1)?)?.parse().ok()
    };
    Some(Counts { passed: number_before("passed")?, failed: number_before("failed")? })
}

/// True when some crate has a test target named `sql`; cargo refuses the name otherwise.
fn has_sql_tests() -> Result<bool> {
    for entry in std::fs::read_dir(repository()?.join("crates"))? {
        let tests = entry?.path().join("tests");
        if tests.join("sql.rs").exists() || tests.join("sql/main.rs").exists() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The repository's root: xtask is one of its members. Cargo says at run time where it lies; the folder it was built in may be another
/// one, when a build directory is shared by checkouts.
pub(crate) fn repository() -> Result<PathBuf> {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask).parent().map(Path::to_owned).context("xtask lies in the repository")
}

#[cfg(test)]
mod tests {
    use super::parse_result_line;

    #[test]
    fn result_lines_of_cargo_are_added_up_and_others_are_not() {
        let cases = [
            (
                "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
                Some((3, 0)),
            ),
            ("test result: FAILED. 12 passed; 4 failed; 0 ignored", Some((12, 4))),
            ("test harness ... ok", None),
            ("test result: strange", None),
        ];
        for (line, expected) in cases {
            let found = parse_result_line(line).map(|counts| (counts.passed, counts.failed));
            assert_eq!(found, expected, "{line}");
        }
    }
}
