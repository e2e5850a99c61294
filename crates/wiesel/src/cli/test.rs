//! `wiesel test FILE|FOLDER...`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use wiesel_slt::{Output, RunOptions, outputs_of_file, run_file};
use wiesel_slt::{record, suite};

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
    /// Worker threads of jobs, where the file does not say; with more than one, changes are compared by what they come to
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=64))]
    workers: u64,
    /// Stop every job with a checkpoint and resume it after each input: the answers must stay the same
    #[arg(long)]
    restores: bool,
    /// With `--restores`: resume with another number of workers each time
    #[arg(long, requires = "restores")]
    rescales: bool,
    /// Make each row of an input a step of its own: the answers must stay the same
    #[arg(long)]
    splits: bool,
    /// Leave jobs no memory for state, so that it goes to the store and back: the answers must stay the same
    #[arg(long)]
    spills: bool,
    /// Print all that the jobs of each file give, as one JSON object per file, instead of comparing anything
    #[arg(long, hide = true)]
    outputs: bool,
}

impl Test {
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let mut files = Vec::new();
        for path in &self.paths {
            match record::find(path) {
                Ok(found) => files.extend(found.into_iter().map(|f| (f.display().to_string(), f))),
                Err(e) => {
                    log.error(&format!("cannot read `{}`: {e}", path.display()));
                    return Exit::Usage;
                }
            }
        }
        let workers = usize::try_from(self.workers).unwrap_or(1);
        let options = RunOptions {
            workers,
            completes: self.complete,
            restores: self.restores,
            rescales: self.rescales,
            splits: self.splits,
            spills: self.spills,
        };
        let mut out = std::io::stdout().lock();
        if self.outputs {
            return print_outputs(&files, &options, &mut out);
        }
        let told = suite::run(&files, |path| run_file(path, &options), &mut out)
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

/// One JSON object per file: what `cargo xtask peers` compares with another engine.
fn print_outputs(files: &[(String, PathBuf)], options: &RunOptions, out: &mut dyn Write) -> Exit {
    for (name, path) in files {
        let given = outputs_of_file(path, options);
        let output = |o: &Output| {
            let rows: Vec<Value> = o.rows.iter().map(|(kind, values)| json!([kind.symbol(), values])).collect();
            json!({ "name": o.name, "is_query": o.is_query, "columns": o.columns, "keys": o.keys, "rows": rows })
        };
        let failure = |f: &wiesel_slt::Failure| json!({ "line": f.line, "message": f.message });
        let line = json!({
            "file": name,
            "outputs": given.outputs.iter().map(output).collect::<Vec<_>>(),
            "found": given.found.iter().map(|(line, rows)| json!({ "line": line, "rows": rows })).collect::<Vec<_>>(),
            "failed_jobs": given.failed_jobs,
            "failures": given.failures.iter().map(failure).collect::<Vec<_>>(),
        });
        if writeln!(out, "{line}").is_err() {
            // The reader is gone: nobody is left to tell.
            return Exit::Failed;
        }
    }
    Exit::Done
}
