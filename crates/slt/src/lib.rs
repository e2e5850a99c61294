//! SQL data files: statements, scripted input and expected changes, run on the real planner and the real engine.
//!
//! ```text
//! file.slt -> records -> Session (planner) -> Job (engine) with scripted sources and captured sinks -> changes, compared
//! ```
//! Time is data: the event-time clock moves with the rows (a watermark per row), the wall clock with `advance` records, and the runner
//! waits for a job to have nothing left to do, never for time to pass. The format stands in `tests/sql/README.md`.
//!
//! | module | idea |
//! |---|---|
//! | `record` | the text of a file as a list of records; knows no SQL |
//! | `stage` | what stands around the jobs: a log of rows per table, and what sinks brought |
//! | `connector` | every table's connector, replaced by the stage |
//! | `job` | one planned job in its thread: start, stop with a checkpoint, start again |
//! | `run` | the records, one after the other |
//! | `files` | a file as a whole: once, in all ways, or for another engine to compare with |
//! | `fold`, `compare` | a changelog as a table; diffs, and the rewriting of expected parts |
//! | `suite` | many files at once |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails"))]

#[cfg(feature = "run")]
mod compare;
#[cfg(feature = "run")]
mod connector;
#[cfg(feature = "run")]
mod files;
#[cfg(feature = "run")]
mod fold;
#[cfg(feature = "run")]
mod job;
#[cfg(feature = "run")]
mod lookup;
pub mod record;
#[cfg(feature = "run")]
mod run;
#[cfg(feature = "run")]
mod stage;
#[cfg(feature = "run")]
pub mod suite;

#[cfg(feature = "run")]
pub use files::{Failure, Output, Outputs, Report, RunOptions, outputs_of_file, run_file, run_file_in_all_ways};
