//! Many files: run side by side, told in order of their names.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::files::{Failure, Report};

/// How many files passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files without a failure.
    pub passed: usize,
    /// Files with one.
    pub failed: usize,
}

/// Runs files with `run_one`, as many at once as there are cores, and writes a line for each in the given order: `name ... ok`, or what
/// is wrong. Rewritten files are written.
pub fn run(
    files: &[(String, PathBuf)],
    run_one: impl Fn(&Path) -> Report + Sync,
    out: &mut dyn Write,
) -> io::Result<Counts> {
    let next = AtomicUsize::new(0);
    let reports: Vec<Mutex<Option<Report>>> = files.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let Some((path, report)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            files.get(index).map(|(_, path)| path).zip(reports.get(index))
        } {
            let done = run_one(path);
            *report.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        }
    };
    #[allow(clippy::disallowed_methods, reason = "the threads of one suite, joined when the scope ends")]
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut counts = Counts::default();
    for ((name, path), report) in files.iter().zip(reports) {
        let report = report.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_default();
        if let Some(text) = &report.completed {
            std::fs::write(path, text)?;
        }
        if report.failures.is_empty() {
            counts.passed += 1;
            let note = if report.completed.is_some() { " (expected parts rewritten)" } else { "" };
            writeln!(out, "test {name} ... ok{note}")?;
        } else {
            counts.failed += 1;
            writeln!(out, "test {name} ... FAILED")?;
        }
        for Failure { line, message } in &report.failures {
            writeln!(out, "{}:{line}: {}", path.display(), message.trim_end())?;
        }
    }
    Ok(counts)
}
