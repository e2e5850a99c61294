//! The restart strategy of a job at work: told of each failure, it says how long to wait before the next start, or that there is none.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wiesel_plan::restart::RestartStrategy;

/// The failures of one job.
pub(crate) struct Restarts {
    strategy: RestartStrategy,
    /// Restarts so far; of an exponential delay, since it began anew.
    count: u32,
    /// The pause before the last restart.
    pause: Duration,
    /// Times of failures within the interval of a failure rate; one more than it allows is kept.
    failures: VecDeque<Instant>,
}

impl Restarts {
    pub(crate) fn new(strategy: RestartStrategy) -> Self {
        Restarts { strategy, count: 0, pause: Duration::ZERO, failures: VecDeque::new() }
    }

    /// The pause after a failure at `now` of a run that began at `began`; `None` when the job has to end. `random` is from 0 to 1.
    pub(crate) fn after_failure(&mut self, began: Instant, now: Instant, random: f64) -> Option<Duration> {
        match self.strategy {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay } => {
                self.count += 1;
                (self.count <= attempts).then_some(delay)
            }
            RestartStrategy::ExponentialDelay {
                initial_backoff,
                max_backoff,
                backoff_multiplier,
                reset_backoff_threshold,
                jitter_factor,
                attempts_before_reset_backoff,
            } => {
                if now.duration_since(began) >= reset_backoff_threshold {
                    self.count = 0;
                }
                self.pause = match self.count {
                    0 => initial_backoff,
                    _ => Duration::try_from_secs_f64(self.pause.as_secs_f64() * backoff_multiplier)
                        .unwrap_or(max_backoff),
                }
                .min(max_backoff);
                self.count = self.count.saturating_add(1);
                let jitter = 1.0 + jitter_factor * (random * 2.0 - 1.0);
                (self.count <= attempts_before_reset_backoff).then(|| self.pause.mul_f64(jitter))
            }
            RestartStrategy::FailureRate { max_failures_per_interval, failure_rate_interval, delay } => {
                self.failures.retain(|at| now.duration_since(*at) <= failure_rate_interval);
                self.failures.push_back(now);
                let allowed = usize::try_from(max_failures_per_interval).unwrap_or(usize::MAX);
                (self.failures.len() <= allowed).then_some(delay)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Pauses in ms after failures at these seconds, each run having begun at the failure before.
    fn pauses(strategy: RestartStrategy, at: &[u64]) -> Vec<Option<u128>> {
        let start = wiesel_core::env::monotonic();
        let mut restarts = Restarts::new(strategy);
        let mut began = start;
        let pause = |at: &u64| {
            let now = start + SECOND * u32::try_from(*at).unwrap();
            let pause = restarts.after_failure(began, now, 0.5);
            began = now;
            pause.map(|p| p.as_millis())
        };
        at.iter().map(pause).collect()
    }

    #[test]
    fn without_a_strategy_the_first_failure_is_the_end() {
        assert_eq!(pauses(RestartStrategy::None, &[1]), [None]);
    }

    #[test]
    fn a_fixed_delay_has_its_number_of_attempts() {
        let strategy = RestartStrategy::FixedDelay { attempts: 2, delay: SECOND };
        assert_eq!(pauses(strategy, &[1, 2, 1000]), [Some(1000), Some(1000), None]);
    }

    #[test]
    fn an_exponential_delay_grows_to_its_bound_and_begins_anew_after_a_long_run() {
        let strategy = RestartStrategy::ExponentialDelay {
            initial_backoff: SECOND,
            max_backoff: SECOND * 3,
            backoff_multiplier: 2.0,
            reset_backoff_threshold: SECOND * 100,
            jitter_factor: 0.1,
            attempts_before_reset_backoff: 3,
        };
        assert_eq!(
            pauses(strategy, &[1, 2, 3, 200, 201, 202, 203]),
            [Some(1000), Some(2000), Some(3000), Some(1000), Some(2000), Some(3000), None]
        );
    }

    #[test]
    fn a_failure_rate_looks_at_its_interval_only() {
        let strategy = RestartStrategy::FailureRate {
            max_failures_per_interval: 2,
            failure_rate_interval: SECOND * 10,
            delay: SECOND,
        };
        assert_eq!(pauses(strategy, &[1, 2, 20, 21, 22]), [Some(1000), Some(1000), Some(1000), Some(1000), None]);
    }
}
