//! Session zones: between instants (TIMESTAMP_LTZ) and wall clocks (TIMESTAMP).
//!
//! A wall-clock time that a change to summer time skips is moved forward by the gap, and one that occurs twice means the earlier
//! instant: Java's rules, therefore Flink's.

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use wiesel_core::{Error, Result};

use crate::time::civil::DateTime;

/// A zone, looked up once per batch.
#[derive(Debug, Clone)]
pub struct Zone {
    zone: TimeZone,
    /// The offset in seconds, when it never changes.
    fixed: Option<i64>,
}

impl Zone {
    /// UTC.
    pub fn utc() -> Zone {
        Zone { zone: TimeZone::UTC, fixed: Some(0) }
    }

    /// A zone by IANA name (`Europe/Paris`) or offset (`+08:00`, `GMT-03:30`, `UTC`, `Z`); `default` is the system's.
    pub fn new(name: &str) -> Result<Zone> {
        if name.eq_ignore_ascii_case("default") {
            return Ok(Zone { zone: TimeZone::system(), fixed: None });
        }
        if let Some(seconds) = fixed_offset(name) {
            let offset = Offset::from_seconds(seconds)
                .map_err(|_| Error::config(format!("the offset of time zone `{name}` is out of range")))?;
            return Ok(Zone { zone: TimeZone::fixed(offset), fixed: Some(seconds.into()) });
        }
        match TimeZone::get(name) {
            Ok(zone) => Ok(Zone { fixed: zone.to_fixed_offset().ok().map(|o| o.seconds().into()), zone }),
            Err(_) => Err(Error::config(format!("`{name}` is not a time zone")).hint(
                "`table.local-time-zone` takes an IANA name such as `Europe/Paris`, or an offset such as `+08:00`",
            )),
        }
    }

    /// Seconds to add to an instant (seconds since 1970) to get its wall clock.
    pub fn offset_at(&self, instant: i64) -> i64 {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let clamped = instant.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        match Timestamp::from_second(clamped) {
            Ok(at) => self.zone.to_offset(at).seconds().into(),
            Err(_) => 0,
        }
    }

    /// The instant (seconds since 1970) at which clocks of the zone show `wall` (seconds since 1970 as if in UTC).
    pub fn instant_of(&self, wall: i64) -> i64 {
        if let Some(fixed) = self.fixed {
            return wall - fixed;
        }
        let at = DateTime::from_seconds(wall, 0);
        let civil = i16::try_from(at.date.year).ok().and_then(|year| {
            let month = i8::try_from(at.date.month).ok()?;
            let day = i8::try_from(at.date.day).ok()?;
            let (hour, minute, second) = (at.hour() as i8, at.minute() as i8, at.second() as i8);
            jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()
        });
        let Some(civil) = civil else {
            return wall - self.offset_at(wall);
        };
        let offset = match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
        };
        wall - i64::from(offset.seconds())
    }

    /// The zone's name for a pattern's `z`; an offset when it has none.
    pub fn abbreviation_at(&self, instant: i64) -> String {
        match Timestamp::from_second(instant) {
            Ok(at) => self.zone.to_offset_info(at).abbreviation().to_owned(),
            Err(_) => String::from("UTC"),
        }
    }
}

/// Seconds of `Z`, `UTC`, `GMT`, `UT`, `+h`, `+hh`, `+hhmm`, `+hh:mm`, `+hh:mm:ss`, and these behind `UTC`, `GMT`, `UT`.
fn fixed_offset(name: &str) -> Option<i32> {
    let name = name.trim();
    if matches!(name, "Z" | "UTC" | "GMT" | "UT" | "Etc/UTC") {
        return Some(0);
    }
    let offset = ["UTC", "GMT", "UT"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
    let (sign, digits) = match offset.strip_prefix('+') {
        Some(digits) => (1, digits),
        None => (-1, offset.strip_prefix('-')?),
    };
    let compact: String = digits.chars().filter(|c| *c != ':').collect();
    if !compact.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| compact.get(from..to).and_then(|p| p.parse::<i32>().ok());
    let (hours, minutes, seconds) = match compact.len() {
        1 => (part(0, 1)?, 0, 0),
        2 => (part(0, 2)?, 0, 0),
        4 => (part(0, 2)?, part(2, 4)?, 0),
        6 => (part(0, 2)?, part(2, 4)?, part(4, 6)?),
        _ => return None,
    };
    if hours > 18 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(sign * (hours * 3600 + minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_in_javas_forms() {
        let cases = [("Z", Some(0)), ("+8", Some(28_800)), ("GMT-08:00", Some(-28_800)), ("UTC+05:30", Some(19_800))];
        for (name, expected) in cases {
            assert_eq!(fixed_offset(name), expected, "{name}");
        }
        assert!(Zone::new("Mars/Olympus").is_err());
    }

    #[test]
    fn a_skipped_hour_moves_forward_and_a_repeated_one_is_the_earlier() {
        let paris = Zone::new("Europe/Paris").expect("Paris is known");
        let wall = |y, mo, d, h: u32, mi: u32| {
            DateTime {
                date: crate::time::civil::Date { year: y, month: mo, day: d },
                second_of_day: h * 3600 + mi * 60,
                nano: 0,
            }
            .seconds()
        };
        let summer = wall(2024, 7, 1, 12, 0);
        assert_eq!(paris.instant_of(summer), summer - 7200);
        assert_eq!(paris.offset_at(summer), 7200);
        let skipped = wall(2024, 3, 31, 2, 30);
        assert_eq!(paris.instant_of(skipped), skipped - 3600);
        let repeated = wall(2024, 10, 27, 2, 30);
        assert_eq!(paris.instant_of(repeated), repeated - 7200);
    }
}
