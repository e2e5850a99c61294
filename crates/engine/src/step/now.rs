//! What time it is, twice: on the wall, and on a clock that nobody sets.
//!
//! A wall clock may be set back or on, by an hour or by a day. Rows see the wall (PROCTIME, timers of processing time, time to live: as in
//! Flink), but nothing that is waited for may come an hour late or early for it: the next checkpoint, the end of one's patience with it, a
//! flush of a sink, a split that counts as idle. These take the steady time.

use super::control::Clock;

/// The time of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Milliseconds since 1970-01-01 UTC on the wall.
    pub(crate) wall_ms: i64,
    /// Milliseconds on the clock that nobody sets.
    pub(crate) steady_ms: i64,
}

impl Now {
    /// A look at both clocks.
    pub(crate) fn of(clock: &dyn Clock) -> Now {
        Now { wall_ms: clock.now_ms(), steady_ms: clock.steady_ms() }
    }

    /// The time that is left until a timer of rows, or until something that is waited for.
    pub(crate) fn left_ms(self, timer_ms: Option<i64>, deadline_ms: Option<i64>) -> Option<i64> {
        let timer = timer_ms.map(|at| at.saturating_sub(self.wall_ms));
        let deadline = deadline_ms.map(|at| at.saturating_sub(self.steady_ms));
        match (timer, deadline) {
            (Some(timer), Some(deadline)) => Some(timer.min(deadline)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Now;

    #[test]
    fn timers_of_rows_follow_the_wall_and_deadlines_do_not() {
        let now = Now { wall_ms: 1_000_000, steady_ms: 50 };
        assert_eq!(now.left_ms(Some(1_000_100), Some(70)), Some(20));
        assert_eq!(now.left_ms(Some(1_000_010), Some(70)), Some(10));
        assert_eq!(now.left_ms(Some(1_000_010), None), Some(10));
        assert_eq!(now.left_ms(None, Some(40)), Some(-10));
        assert_eq!(now.left_ms(None, None), None);
    }
}
