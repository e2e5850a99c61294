//! Files as a whole: run one and say what went wrong, run it again under conditions that must not show in an answer, or give everything
//! that its jobs brought.

use std::path::Path;

use wiesel_core::RowKind;

use crate::compare::complete;
use crate::record::Directive;
use crate::run::{Opened, Run};

/// How files are run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Worker threads of jobs, where the file does not say. With more than one, changes are
    /// compared by what they come to.
    pub workers: usize,
    /// Rewrite the expected parts instead of comparing them.
    pub completes: bool,
    /// Stop every job with a checkpoint and start it again after each record `input`.
    pub restores: bool,
    /// Start it again with another number of workers each time: 2, 3, 1, 2, ...
    pub rescales: bool,
    /// Make each row of a record `input` a step of its own.
    pub splits: bool,
    /// Give jobs no memory for state: all that can lie in the store goes there after each step, and comes back from there.
    pub spills: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions { workers: 1, completes: false, restores: false, rescales: false, splits: false, spills: false }
    }
}

/// What a run of a file gave.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Records carried out.
    pub records: usize,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// The file's new text, when expected parts were to be rewritten and something changed.
    pub completed: Option<String>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, on one or more lines.
    pub message: String,
}

/// Runs one file.
pub fn run_file(path: &Path, options: &RunOptions) -> Report {
    let opened = match Opened::new(path) {
        Ok(opened) => opened,
        Err(failure) => return Report { failures: vec![failure], ..Report::default() },
    };
    let mut run = Run::new(&opened, options);
    run.all();
    let mut report = run.report;
    if options.completes {
        let new = complete(&opened.file, &run.found);
        report.completed = (new != opened.text).then_some(new);
    }
    report
}

/// Runs one file as it stands, and if it passes, again under conditions that must not show in an answer: each row a step of its own, a
/// restart after every input, two workers, another number of workers after each restart, no memory for state.
pub fn run_file_in_all_ways(path: &Path) -> Report {
    let plain = RunOptions::default();
    let mut report = run_file(path, &plain);
    let is_plain_only = |opened: Opened| {
        let mut directives = opened.file.records.into_iter().map(|r| r.directive);
        directives.any(|d| matches!(d, Directive::OnlyPlain(_)))
    };
    if !report.failures.is_empty() || Opened::new(path).is_ok_and(is_plain_only) {
        return report;
    }
    let ways = [
        ("each row a step, a restart after each input", RunOptions { restores: true, splits: true, ..plain.clone() }),
        ("two workers", RunOptions { workers: 2, ..plain.clone() }),
        (
            "a restart with another number of workers after each input",
            RunOptions { workers: 2, restores: true, rescales: true, ..plain.clone() },
        ),
        ("no memory for state, each row a step", RunOptions { spills: true, splits: true, ..plain.clone() }),
        (
            "no memory for state, a restart with another number of workers after each input",
            RunOptions { spills: true, workers: 2, restores: true, rescales: true, ..plain },
        ),
    ];
    for (name, way) in ways {
        let again = run_file(path, &way);
        let failures = again.failures.into_iter();
        report.failures.extend(failures.map(|f| Failure { message: format!("with {name}:\n{}", f.message), ..f }));
    }
    report
}

/// All that the jobs of a file gave once its inputs ended, for a comparison with another engine.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// Of every query and every table that a job wrote to.
    pub outputs: Vec<Output>,
    /// What records with an expected part gave, by the line of the record.
    pub found: Vec<(usize, Vec<String>)>,
    /// Jobs that failed.
    pub failed_jobs: Vec<String>,
    /// What went wrong beside that.
    pub failures: Vec<Failure>,
}

/// The changes that one query gave or one table took.
#[derive(Debug, Clone)]
pub struct Output {
    /// The job of a query, or the last part of the table's name.
    pub name: String,
    /// A query and not a table.
    pub is_query: bool,
    /// The columns.
    pub columns: Vec<String>,
    /// The columns to fold by; empty: whole rows.
    pub keys: Vec<String>,
    /// Kinds and values.
    pub rows: Vec<(RowKind, Vec<Option<String>>)>,
}

/// Runs one file to the end of its inputs, whatever it expects.
pub fn outputs_of_file(path: &Path, options: &RunOptions) -> Outputs {
    let opened = match Opened::new(path) {
        Ok(opened) => opened,
        Err(failure) => return Outputs { failures: vec![failure], ..Outputs::default() },
    };
    let mut run = Run::new(&opened, &RunOptions { completes: true, ..options.clone() });
    run.all_records();
    if run.report.failures.is_empty()
        && let Err(message) = run.end()
    {
        run.fail(opened.file.lines.len(), message);
    }
    run.outputs()
}
