//! What time it is, twice: on the wall, and on a clock that never goes back.
//!
//! A wall clock may be set back, by an hour or by a day. Rows see the wall (PROCTIME, timers of processing time, time to live: as in Flink),
//! but nothing that is waited for may come an hour late for it: the next checkpoint, a flush of a sink, a split that counts as idle.
//! These take the steady time: the wall clock of the start, moved on by what the wall clock moves on, never back.

/// The time of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Milliseconds since 1970-01-01 UTC on the wall.
    pub(crate) wall_ms: i64,
    /// The same without the steps back that the wall clock took.
    pub(crate) steady_ms: i64,
}

impl Now {
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

/// Makes times of looks at the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steady {
    wall_ms: i64,
    /// What the wall clock went back so far.
    lost_ms: i64,
}

impl Steady {
    /// Begins with a look at the wall clock, which is the steady time of then.
    pub(crate) fn new(wall_ms: i64) -> Self {
        Steady { wall_ms, lost_ms: 0 }
    }

    /// The time at the next look.
    pub(crate) fn at(&mut self, wall_ms: i64) -> Now {
        self.lost_ms = self.lost_ms.saturating_add(self.wall_ms.saturating_sub(wall_ms).max(0));
        self.wall_ms = wall_ms;
        Now { wall_ms, steady_ms: wall_ms.saturating_add(self.lost_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::Steady;

    #[test]
    fn a_wall_clock_that_is_set_back_moves_no_deadline() {
        let mut steady = Steady::new(1_000);
        let looks = [(1_010, 1_010), (400, 1_010), (450, 1_060), (5_000, 5_610), (4_999, 5_610), (5_001, 5_612)];
        for (wall_ms, steady_ms) in looks {
            let now = steady.at(wall_ms);
            assert_eq!((now.wall_ms, now.steady_ms), (wall_ms, steady_ms));
        }
        let now = steady.at(5_001);
        assert_eq!(now.left_ms(Some(5_101), Some(5_632)), Some(20));
        assert_eq!(now.left_ms(Some(5_011), None), Some(10));
        assert_eq!(now.left_ms(None, None), None);
    }
}
