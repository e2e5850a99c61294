//! The one status line of a running job, redrawn in place; on a terminal only.

use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wiesel_core::env::{monotonic, wall_clock_ms};

use crate::jobs::Running;

/// How often the line is redrawn.
const INTERVAL: Duration = Duration::from_millis(500);

/// The line, and what it needs to tell a rate.
pub(crate) struct Status {
    is_on: bool,
    is_shown: bool,
    last: Option<(Instant, u64)>,
}

impl Status {
    /// On when stderr is a terminal.
    pub(crate) fn new(wanted: bool) -> Self {
        Status { is_on: wanted && std::io::stderr().is_terminal(), is_shown: false, last: None }
    }

    /// How often [`Status::show`] wants to be called.
    pub(crate) fn interval(&self) -> Duration {
        INTERVAL
    }

    /// Draws the line.
    pub(crate) fn show(&mut self, jobs: &[Running]) {
        if !self.is_on {
            return;
        }
        let line = self.line(jobs);
        self.write(&format!("\r\x1b[2K{}", wiesel_core::secret::redacted(&line)));
        self.is_shown = true;
    }

    /// Removes the line, before something else is said.
    pub(crate) fn clear(&mut self) {
        if self.is_shown {
            self.write("\r\x1b[2K");
            self.is_shown = false;
        }
    }

    fn write(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        // A terminal that went away needs no status line.
        _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    fn line(&mut self, jobs: &[Running]) -> String {
        let sources = || jobs.iter().flat_map(|j| &j.metrics.sources);
        let rows: u64 = sources().map(|s| s.rows.load(Relaxed)).sum();
        let lag: u64 = sources().map(|s| s.lag.load(Relaxed)).sum();
        let now = monotonic();
        let rate = match self.last.replace((now, rows)) {
            Some((then, before)) => {
                let seconds = now.duration_since(then).as_secs_f64().max(0.001);
                (rows.saturating_sub(before)) as f64 / seconds
            }
            None => 0.0,
        };
        let mut line = format!("{} rows/s in, lag {}", grouped(rate.round() as u64), grouped(lag));
        let checkpoint = jobs.iter().filter_map(|j| j.metrics.checkpoint()).max_by_key(|c| c.time_ms);
        if let Some(c) = checkpoint {
            let age = (wall_clock_ms() - c.time_ms).max(0) / 1000;
            let pause_ms = c.pause_us.div_ceil(1000);
            line.push_str(&format!(
                ", checkpoint {} {age} s ago ({} ms, pause {pause_ms} ms, {})",
                c.id,
                c.duration_ms,
                size(c.bytes)
            ));
        }
        let slowest = jobs.iter().filter_map(|j| j.metrics.slowest()).max_by_key(|(_, ns)| *ns);
        if let Some((node, _)) = slowest.filter(|(node, ns)| *ns > 0 && !node.label.is_empty()) {
            line.push_str(&format!(", slowest: {}", node.label));
        }
        for waiting in jobs.iter().flat_map(|j| j.metrics.waiting()) {
            line.push_str(&format!(" | waiting: {waiting}"));
        }
        line
    }
}

/// 12400 as `12,400`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_sizes_have_units() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(12_400), grouped(1_234_567)],
            ["0", "999", "12,400", "1,234,567"]
        );
        assert_eq!([size(10), size(2048), size(3 << 20)], ["10 B", "2.0 KB", "3.0 MB"]);
    }
}
