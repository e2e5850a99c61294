//! Which windows a time belongs to, and when they close: TUMBLE, HOP, CUMULATE and windows that rows carry already, in UTC or on the wall
//! clock of a zone. SESSION windows depend on other rows and live in `session.rs`.
//!
//! ```text
//! HOP(size 6, slide 4):      |--.--.--|           a window is a row of slices of gcd(size, slide) = 2
//!                                  |--.--.--|     a row goes into one slice, and a slice into several windows
//! slices                     |--|--|--|--|--|
//! ```
//! Windows are named by their end. All arithmetic is on wall-clock milliseconds: for TIMESTAMP they are the column's, for TIMESTAMP_LTZ the
//! zone's clock (so a day window has 23 or 25 hours when the clock changes), and a boundary goes back to an instant only to be compared
//! with the watermark.

use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use wiesel_core::{Error, Result};
use wiesel_plan::{WindowKind, WindowNode};

const HOUR_MS: i64 = 3_600_000;

/// Windows of one shape.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    shape: Shape,
    size_ms: i64,
    slide_ms: i64,
    offset_ms: i64,
    slice_ms: i64,
    zone: Option<ZoneClock>,
    last_slice_end: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// TUMBLE and HOP.
    Sliding,
    /// CUMULATE: windows of one start, `slide_ms` apart in their ends.
    Growing,
    /// The time is the window's end already.
    Attached,
}

impl Windows {
    pub(crate) fn new(node: &WindowNode) -> Result<Self> {
        let (shape, size_ms, slide_ms, offset_ms) = match node.kind {
            WindowKind::Tumble { size_ms, offset_ms } => (Shape::Sliding, size_ms, size_ms, offset_ms),
            WindowKind::Hop { slide_ms, size_ms, offset_ms } => (Shape::Sliding, size_ms, slide_ms, offset_ms),
            WindowKind::Cumulate { step_ms, size_ms, offset_ms } => (Shape::Growing, size_ms, step_ms, offset_ms),
            WindowKind::Attached => (Shape::Attached, 1, 1, 0),
            WindowKind::Session { gap_ms } => (Shape::Sliding, gap_ms, gap_ms, 0),
        };
        if size_ms <= 0 || slide_ms <= 0 {
            return Err(Error::config(format!(
                "a window has size {size_ms} ms and slide {slide_ms} ms, both must be above zero"
            )));
        }
        let zone = node.time_zone.as_deref().map(ZoneClock::new).transpose()?;
        Ok(Windows {
            shape,
            size_ms,
            slide_ms,
            offset_ms,
            slice_ms: gcd(size_ms, slide_ms),
            zone,
            last_slice_end: i64::MIN,
        })
    }

    pub(crate) fn is_sliced(&self) -> bool {
        self.slice_ms != self.size_ms
    }

    /// Whether rows carry their windows.
    pub(crate) fn is_attached(&self) -> bool {
        self.shape == Shape::Attached
    }

    /// An instant on the clock that windows are cut by.
    pub(crate) fn local_ms(&mut self, time_ms: i64) -> i64 {
        match &mut self.zone {
            None => time_ms,
            Some(zone) => zone.local_ms(time_ms),
        }
    }

    /// The end of the slice of an instant; of a window that rows carry already, the end they carry.
    pub(crate) fn slice_end(&mut self, time_ms: i64) -> i64 {
        if self.shape == Shape::Attached {
            return time_ms;
        }
        let local_ms = self.local_ms(time_ms);
        // Rows come nearly in order, so the last slice often holds the next row too, and a division is spared.
        if local_ms >= self.last_slice_end || local_ms < self.last_slice_end.saturating_sub(self.slice_ms) {
            let into = local_ms.saturating_sub(self.offset_ms).rem_euclid(self.slice_ms);
            self.last_slice_end = local_ms.saturating_sub(into).saturating_add(self.slice_ms);
        }
        self.last_slice_end
    }

    /// The end of the first window that holds a slice.
    pub(crate) fn first_window_end(&self, slice_end: i64) -> i64 {
        if self.shape != Shape::Sliding {
            return slice_end;
        }
        let beyond = self.offset_ms.saturating_add(self.size_ms).saturating_sub(slice_end).rem_euclid(self.slide_ms);
        slice_end.saturating_add(beyond)
    }

    /// The end of the last window that holds a slice; before the first one when no window does (slide above size).
    pub(crate) fn last_window_end(&self, slice_end: i64) -> i64 {
        match self.shape {
            Shape::Sliding => {}
            Shape::Growing => return self.window_start(slice_end).saturating_add(self.size_ms),
            Shape::Attached => return slice_end,
        }
        let latest = slice_end.saturating_sub(self.slice_ms).saturating_add(self.size_ms);
        let beyond = latest.saturating_sub(self.offset_ms).saturating_sub(self.size_ms).rem_euclid(self.slide_ms);
        latest.saturating_sub(beyond)
    }

    /// The ends of all windows that hold a slice, in order.
    pub(crate) fn window_ends(&self, slice_end: i64) -> impl Iterator<Item = i64> + use<> {
        let (first, last, slide_ms) =
            (self.first_window_end(slice_end), self.last_window_end(slice_end), self.slide_ms);
        std::iter::successors(Some(first), move |end| end.checked_add(slide_ms)).take_while(move |end| *end <= last)
    }

    /// The start of a window that ends there. Windows that rows carry already do not tell theirs.
    pub(crate) fn window_start(&self, window_end: i64) -> i64 {
        match self.shape {
            Shape::Sliding | Shape::Attached => window_end.saturating_sub(self.size_ms),
            Shape::Growing => {
                let last_ms = window_end.saturating_sub(1);
                last_ms.saturating_sub(last_ms.saturating_sub(self.offset_ms).rem_euclid(self.size_ms))
            }
        }
    }

    /// The watermark behind an operator that has more to tell of a window: its rows must not be late there.
    pub(crate) fn held_back(&self, window_end: i64, is_event_time: bool, watermark: i64) -> i64 {
        if is_event_time { self.last_instant(window_end).saturating_sub(1).min(watermark) } else { watermark }
    }

    /// The instant of the last millisecond of a window: when the watermark reaches it, the window is complete.
    pub(crate) fn last_instant(&self, window_end: i64) -> i64 {
        match &self.zone {
            None => window_end.saturating_sub(1),
            Some(zone) => zone.closing_instant(window_end.saturating_sub(1)),
        }
    }

    /// `window_time`: the last millisecond of a window as a value of the time attribute's type.
    pub(crate) fn window_time(&self, window_end: i64) -> i64 {
        match &self.zone {
            None => window_end.saturating_sub(1),
            Some(zone) => zone.instant(window_end.saturating_sub(1)),
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A zone's wall clock, with the offset of the last instant asked for and how long it holds.
#[derive(Debug, Clone)]
struct ZoneClock {
    zone: TimeZone,
    from_ms: i64,
    to_ms: i64,
    offset_ms: i64,
}

impl ZoneClock {
    fn new(name: &str) -> Result<Self> {
        let zone = if name.eq_ignore_ascii_case("utc") { Ok(TimeZone::UTC) } else { TimeZone::get(name) };
        let zone = match zone {
            Ok(zone) => zone,
            Err(_) => fixed_offset(name).ok_or_else(|| {
                Error::config(format!("`table.local-time-zone` is `{name}`, which names no time zone"))
                    .hint("use a name like `Europe/Berlin`, or an offset like `GMT+02:00`")
            })?,
        };
        Ok(ZoneClock { zone, from_ms: 0, to_ms: 0, offset_ms: 0 })
    }

    fn local_ms(&mut self, instant_ms: i64) -> i64 {
        if !(self.from_ms..self.to_ms).contains(&instant_ms) {
            self.look_up(instant_ms);
        }
        instant_ms.saturating_add(self.offset_ms)
    }

    fn look_up(&mut self, instant_ms: i64) {
        // Times outside of the years -9999 to 9999 have the offset of the end of that range.
        let instant = Timestamp::from_millisecond(instant_ms).unwrap_or(if instant_ms < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        self.offset_ms = i64::from(self.zone.to_offset(instant).seconds()) * 1000;
        self.from_ms = instant_ms;
        self.to_ms = self.zone.following(instant).next().map_or(i64::MAX, |t| t.timestamp().as_millisecond());
        if let Ok(after) = instant.checked_add(SignedDuration::from_millis(1)) {
            self.from_ms = self.zone.preceding(after).next().map_or(i64::MIN, |t| t.timestamp().as_millisecond());
        }
    }

    fn civil(local_ms: i64) -> Option<civil::DateTime> {
        Some(Timestamp::from_millisecond(local_ms).ok()?.to_zoned(TimeZone::UTC).datetime())
    }

    /// The instant of a wall-clock time; the earlier one where the clock shows it twice, moved by the gap where it does not show it.
    fn instant(&self, local_ms: i64) -> i64 {
        Self::civil(local_ms)
            .and_then(|time| self.zone.to_ambiguous_timestamp(time).compatible().ok())
            .map_or(local_ms, |instant| instant.as_millisecond())
    }

    /// The instant at which a wall-clock time has passed for good: the later one where the clock shows it twice, the start of the hour
    /// behind the gap where it does not show it. Flink's rule for window timers.
    fn closing_instant(&self, local_ms: i64) -> i64 {
        let Some(time) = Self::civil(local_ms) else { return local_ms };
        let ambiguous = self.zone.to_ambiguous_timestamp(time);
        let is_gap = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
        match ambiguous.later() {
            Err(_) => local_ms,
            Ok(instant) if is_gap => {
                let instant_ms = instant.as_millisecond();
                instant_ms - instant_ms.rem_euclid(HOUR_MS)
            }
            Ok(instant) => instant.as_millisecond(),
        }
    }
}

/// `GMT+08:00`, `UTC-3`, `+08:00`: the custom zone names of Java.
fn fixed_offset(name: &str) -> Option<TimeZone> {
    let sign_at = name.find(['+', '-'])?;
    if !["", "GMT", "UTC", "UT"].contains(&&name[..sign_at]) {
        return None;
    }
    let (hours, minutes) = name[sign_at + 1..].split_once(':').unwrap_or((&name[sign_at + 1..], "0"));
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..=23).contains(&hours) || !(0..=59).contains(&minutes) {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60;
    let seconds = if name[sign_at..].starts_with('-') { -seconds } else { seconds };
    Some(jiff::tz::Offset::from_seconds(seconds).ok()?.to_time_zone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cumulating_windows_share_their_start() {
        for (size_ms, step_ms, offset_ms) in [(10, 5, 0), (10, 2, 1), (4, 4, -3), (12, 1, 100)] {
            let mut windows = windows(WindowKind::Cumulate { step_ms, size_ms, offset_ms }, None);
            for time in -40_i64..40 {
                let start = time - (time - offset_ms).rem_euclid(size_ms);
                let expected: Vec<i64> =
                    (1..=size_ms / step_ms).map(|n| start + n * step_ms).filter(|end| *end > time).collect();
                let slice_end = windows.slice_end(time);
                let ends: Vec<i64> = windows.window_ends(slice_end).collect();
                assert_eq!(ends, expected, "time {time}, size {size_ms}, step {step_ms}, offset {offset_ms}");
                for end in ends {
                    assert_eq!(windows.window_start(end), start);
                }
            }
        }
    }

    fn windows(kind: WindowKind, zone: Option<&str>) -> Windows {
        let node = WindowNode { kind, time_column: 0, is_event_time: true, time_zone: zone.map(Into::into) };
        Windows::new(&node).unwrap()
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn a_row_belongs_to_every_window_that_holds_its_time() {
        for (size_ms, slide_ms, offset_ms) in [(10, 10, 0), (10, 5, 0), (6, 4, 1), (4, 6, -3), (7, 3, 100)] {
            let mut windows = windows(WindowKind::Hop { slide_ms, size_ms, offset_ms }, None);
            for time in -40_i64..40 {
                let mut expected: Vec<i64> = (-200..200)
                    .map(|n| offset_ms + n * slide_ms)
                    .filter(|start| *start <= time && time < start + size_ms)
                    .map(|start| start + size_ms)
                    .collect();
                expected.sort_unstable();
                let slice_end = windows.slice_end(time);
                let ends: Vec<i64> = windows.window_ends(slice_end).collect();
                assert_eq!(ends, expected, "time {time}, size {size_ms}, slide {slide_ms}, offset {offset_ms}");
            }
        }
    }

    #[test]
    fn a_day_in_a_zone_has_as_many_hours_as_its_clock_shows() {
        let day = WindowKind::Tumble { size_ms: 24 * HOUR_MS, offset_ms: 0 };
        let mut berlin = windows(day, Some("Europe/Berlin"));
        // The clock goes back on 2024-10-27, that day has 25 hours.
        for instant in ["2024-10-26T22:00:00Z", "2024-10-27T22:59:59.999Z"] {
            let end = berlin.slice_end(ms(instant));
            assert_eq!(end, ms("2024-10-28T00:00:00Z"), "the end is a wall-clock time");
            assert_eq!(berlin.last_instant(end), ms("2024-10-27T22:59:59.999Z"));
        }
        assert_eq!(berlin.slice_end(ms("2024-10-26T21:59:59.999Z")), ms("2024-10-27T00:00:00Z"));
        assert_eq!(berlin.slice_end(ms("2024-10-27T23:00:00Z")), ms("2024-10-29T00:00:00Z"));
    }

    #[test]
    fn a_window_whose_end_is_shown_twice_closes_after_the_second_time() {
        let half = WindowKind::Tumble { size_ms: HOUR_MS / 2, offset_ms: 0 };
        let mut berlin = windows(half, Some("Europe/Berlin"));
        let end = berlin.slice_end(ms("2024-10-27T00:10:00Z"));
        assert_eq!((end, berlin.slice_end(ms("2024-10-27T01:10:00Z"))), (ms("2024-10-27T02:30:00Z"), end));
        assert_eq!(berlin.last_instant(end), ms("2024-10-27T01:29:59.999Z"));
        assert_eq!(berlin.window_time(end), ms("2024-10-27T00:29:59.999Z"));
    }

    #[test]
    fn zones_may_be_given_as_offsets() {
        for (name, local) in [("GMT+08:00", 8), ("UTC-3", -3), ("+02:00", 2), ("Asia/Shanghai", 8), ("UTC", 0)] {
            assert_eq!(ZoneClock::new(name).unwrap().local_ms(1_700_000_000_000), 1_700_000_000_000 + local * HOUR_MS);
        }
        assert!(ZoneClock::new("Mars/Olympus").unwrap_err().message().contains("Mars/Olympus"));
    }
}
