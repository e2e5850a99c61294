//! Runs the chosen end-to-end cases one after another and counts.
//!
//! Each case runs on its own thread, so that a panic or a hang is the case's own: the runner waits with the case's time limit, kills
//! the programs that the case had started, and goes on. A thread that hangs is left behind; the process ends soon anyway.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::context::Context;
use super::{CASES, Case};
use crate::faults;
use crate::services::process::{POLL_INTERVAL, interrupted};
use crate::services::python;
use crate::services::{Service, Services};

/// How many cases passed and failed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Cases that did what they must.
    pub(crate) passed: u64,
    /// Cases that did not.
    pub(crate) failed: u64,
}

/// Runs the cases whose name contains `filter` (all without one) against the program `binary`: the end-to-end cases, and the short set
/// of the fault matrix.
pub(crate) fn run(filter: Option<&str>, binary: &Path) -> Result<Counts> {
    let mut chosen: Vec<Case> = CASES.iter().chain(&faults::short_set()).copied().collect();
    chosen.retain(|case| filter.is_none_or(|text| case.name.contains(text)));
    let outcomes = run_cases(&chosen, binary, "end-to-end")?;
    let totals = faults::totals::totals();
    if totals.checks() > 0 {
        println!("faults: seed {}, {}", faults::seed(), totals.sentence());
    }
    ensure!(!interrupted(), "interrupted");
    let passed = outcomes.iter().filter(|outcome| outcome.is_passed).count() as u64;
    Ok(Counts { passed, failed: outcomes.len() as u64 - passed })
}

/// What became of a case.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether it did what it must.
    pub(crate) is_passed: bool,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// Starts the servers that the cases need and runs the cases against the program `binary`, one after another.
pub(crate) fn run_cases(chosen: &[Case], binary: &Path, what: &str) -> Result<Vec<Outcome>> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    println!("\n{} {what} cases", chosen.len());
    run_each(chosen, chosen.iter().copied(), binary)
}

/// Runs one case again and again, on the same servers, at most `most` times and until `deadline` has come.
pub(crate) fn run_again(case: Case, most: usize, deadline: Instant, binary: &Path) -> Result<Vec<Outcome>> {
    let turns = std::iter::repeat_n(case, most).take_while(|_| Instant::now() < deadline);
    run_each(&[case], turns, binary)
}

/// Starts the servers that some case of `all` needs, and runs those that come; an interrupt ends that early.
fn run_each(all: &[Case], cases: impl Iterator<Item = Case>, binary: &Path) -> Result<Vec<Outcome>> {
    // Made before the first case needs it, so that no case's time limit pays for a download.
    python::interpreter()?;
    let wanted: BTreeSet<Service> = all.iter().flat_map(|case| case.needs).copied().collect();
    println!("starting {wanted:?}");
    let start = Instant::now();
    let services = match Services::start(&wanted) {
        Ok(services) => Arc::new(services),
        // Nothing ran, so nothing failed.
        Err(_) if interrupted() => return Ok(Vec::new()),
        Err(error) => {
            println!("the servers did not start, so every case failed: {error:#}");
            return Ok(all.iter().map(|c| Outcome { name: c.name, is_passed: false, seconds: 0.0 }).collect());
        }
    };
    println!("ready after {:.1} s", start.elapsed().as_secs_f64());
    let mut outcomes = Vec::new();
    for case in cases {
        if interrupted() {
            break;
        }
        let start = Instant::now();
        let is_passed = run_case(case, &services, binary)?;
        if interrupted() {
            // It was not seen to its end, so it neither passed nor failed.
            break;
        }
        outcomes.push(Outcome { name: case.name, is_passed, seconds: start.elapsed().as_secs_f64() });
    }
    // Said out loud and not left to the last owner's drop: a hung case's thread may be one of the owners.
    services.close();
    Ok(outcomes)
}

fn run_case(case: Case, services: &Arc<Services>, binary: &Path) -> Result<bool> {
    let context = Arc::new(Context::new(case.name, Arc::clone(services), binary)?);
    let (sender, outcome) = channel();
    let start = Instant::now();
    let of_case = Arc::clone(&context);
    let thread = std::thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| (case.run)(&of_case)));
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(payload) => Some(format!("panicked: {}", panic_text(payload.as_ref()))),
        };
        // The runner no longer listens when the limit is over; it has counted the case as failed then.
        drop(of_case);
        drop(sender.send(failure));
    });
    let limit = Duration::from_secs(case.limit_s);
    let mut is_hung = true;
    let failure = loop {
        match outcome.recv_timeout(POLL_INTERVAL) {
            Ok(failure) => {
                is_hung = false;
                break failure;
            }
            Err(RecvTimeoutError::Timeout) if interrupted() => {
                break Some("interrupted".to_owned());
            }
            Err(RecvTimeoutError::Timeout) if start.elapsed() >= limit => {
                break Some(format!("not done within its limit of {} s", case.limit_s));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                break Some("its thread ended without an answer".to_owned());
            }
        }
    };
    context.kill_programs();
    if is_hung {
        // Its thread keeps the context alive, so the folder goes by hand; when that fails the system's own cleaning takes it.
        drop(std::fs::remove_dir_all(context.folder()));
    } else {
        // It has caught its own panics, so there is nothing to learn from the join.
        drop(thread.join());
    }
    let seconds = start.elapsed().as_secs_f64();
    match failure {
        None => println!("e2e {} ... ok ({seconds:.1} s)", case.name),
        Some(failure) => {
            println!("e2e {} ... FAILED ({seconds:.1} s)\n{}", case.name, context.report());
            println!("  {}\n", failure.replace('\n', "\n  "));
            return Ok(false);
        }
    }
    Ok(true)
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return text;
    }
    payload.downcast_ref::<String>().map_or("(a panic without text)", String::as_str)
}
