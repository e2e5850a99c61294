//! `wiesel test FILE|FOLDER...`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use wiesel_slt::RunOptions;
use wiesel_slt::suite;

use super::Exit;
use crate::log::Log;

/// Test SQL with data files: scripted input, the real engine, the expected changes; no server needed
///
/// A test file holds records. `statement ok` carries out SQL; `file job.sql` takes a job file unchanged; `job NAME` starts a query or an
/// INSERT (or the jobs of the file); `input TABLE` hands over rows, one JSON object per line; `changelog NAME` shows the changes since
/// the last look, `table NAME` the table they fold to, with the expected rows below `----`. `advance 10 s` moves the clock, `restore`
/// stops every job with a checkpoint and resumes it, `end` ends the inputs. Every table's connector is replaced: sources read the
/// file's input, sinks are captured. tests/sql/README.md has the whole format and an example.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Test files (*.slt), or folders with test files below them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Rewrite the expected parts with what was found
    #[arg(long)]
    complete: bool,
    /// Worker threads of jobs, where the file does not say; with more than one, the order of changes of different keys is not compared
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=64))]
    workers: u64,
}

impl Test {
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let mut files = Vec::new();
        for path in &self.paths {
            match suite::find(path) {
                Ok(found) => files.extend(found.into_iter().map(|f| (f.display().to_string(), f))),
                Err(e) => {
                    log.error(&format!("cannot read `{}`: {e}", path.display()));
                    return Exit::Usage;
                }
            }
        }
        let workers = usize::try_from(self.workers).unwrap_or(1);
        let options = RunOptions { workers, completes: self.complete };
        let mut out = std::io::stdout().lock();
        let told = suite::run(&files, &options, &mut out)
            .and_then(|counts| writeln!(out, "{} passed, {} failed", counts.passed, counts.failed).map(|()| counts));
        match told {
            Ok(counts) if counts.failed == 0 => Exit::Done,
            Ok(_) => Exit::Failed,
            Err(e) => {
                log.error(&format!("cannot write: {e}"));
                Exit::Failed
            }
        }
    }
}
