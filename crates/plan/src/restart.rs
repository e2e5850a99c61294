//! `restart-strategy.*`: whether and when a job that failed is started again from its last checkpoint.

use std::time::Duration;

/// What is done when a job fails.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RestartStrategy {
    /// The job ends.
    #[default]
    None,
    /// The same pause each time, so many times.
    FixedDelay {
        /// Restarts before the job ends.
        attempts: u32,
        /// The pause.
        delay: Duration,
    },
    /// A pause that grows, and begins anew after the job ran long enough.
    ExponentialDelay {
        /// The first pause.
        initial_backoff: Duration,
        /// The longest pause.
        max_backoff: Duration,
        /// How a pause follows from the one before.
        backoff_multiplier: f64,
        /// A run at least this long makes the next pause the first one again.
        reset_backoff_threshold: Duration,
        /// The part of a pause by which it is made longer or shorter at random.
        jitter_factor: f64,
        /// Restarts since the last reset before the job ends.
        attempts_before_reset_backoff: u32,
    },
    /// The same pause each time, until failures come too often.
    FailureRate {
        /// Failures within the interval that are still followed by a restart.
        max_failures_per_interval: u32,
        /// The interval.
        failure_rate_interval: Duration,
        /// The pause.
        delay: Duration,
    },
}
