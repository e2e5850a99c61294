//! The environment: the wall clock, the monotonic clock, random seeds, and the wake-up call of a parked job loop.
//!
//! Operators, formats and functions never ask these: a step has one `now` and one seed, so a run can be repeated exactly. Connectors and
//! the step loop take them from here, and only from here.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC on the wall clock.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A point on the clock that never goes back, for time-outs and durations.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Wakes a job loop that waits for something to do. Cheap to clone; a wake-up that comes before the wait is kept.
#[derive(Debug, Clone, Default)]
pub struct Waker(Arc<(Mutex<bool>, Condvar)>);

impl Waker {
    /// Wakes the waiting loop, or lets its next wait return at once.
    pub fn wake(&self) {
        let (woken, signal) = &*self.0;
        *woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        signal.notify_all();
    }

    /// Waits for a wake-up, at most `timeout`; says whether one came.
    pub fn wait(&self, timeout: Duration) -> bool {
        let (woken, signal) = &*self.0;
        let guard = woken.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut guard, _) = signal.wait_timeout_while(guard, timeout, |w| !*w).unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *guard)
    }
}
