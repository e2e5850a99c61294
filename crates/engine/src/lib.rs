//! Runs a StreamPlan: a loop of steps over synchronous operators, with state that is consistent between steps by construction.
//!
//! ```text
//! step k: raw batches -> decode tasks -> operators -> exchange -> operators -> sinks     (all workers together)
//!         -> the watermark moves, timers fire, closed windows emit
//! between steps: checkpoint, offsets, stop
//! ```
//! `step/` holds the loop, workers and exchange; `operators/` one file per operator; `time/` watermarks; `state/` the tables operators
//! keep; `checkpoint/` manifests and recovery. The engine knows no SQL text, and operators read no clock.

pub mod checkpoint;
pub mod operator;
pub mod operators;
pub mod state;
pub mod step;
pub mod time;

pub use checkpoint::{CheckpointInfo, Kind as CheckpointKind, Resume, list};
pub use step::Collector;
pub use step::control::{Clock, Control, FailPoints, SavepointRequest, SystemClock};
pub use step::job::{Job, JobEnd, JobSpec, run};
pub use step::metrics::{CheckpointSummary, Metrics};
