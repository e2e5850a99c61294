//! The loop of steps that runs a job.
//!
//! ```text
//! control  what the outside may ask           intake    splits, positions, a step's tasks
//! metrics  what the outside may see           worker    the phases of a step on one worker
//! graph    plan -> stages and exchanges       exchange  rows to the worker that owns their key
//! fetch    source threads                     barrier   where workers meet
//! cycle    the life of a checkpoint         claim     how a run takes its sinks over
//! job      what a job is given, how it opens and ends
//! assemble sources, workers and state of a run put together
//! running  the loop itself: steps, parking, checkpoints, ends
//! now      the wall clock, and a clock that nobody sets
//! letters  dead letters on their way to their table
//! flow     event time and the tasks of a step
//! ```

mod assemble;
mod barrier;
pub(crate) mod claim;
pub mod control;
mod cycle;
mod exchange;
mod fetch;
mod flow;
mod graph;
mod intake;
pub mod job;
pub(crate) mod letters;
pub mod metrics;
mod now;
mod room;
mod running;
mod worker;

pub use worker::Collector;
