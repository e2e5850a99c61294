//! Dates, times and timestamps in SQL's own text forms: what CAST reads and writes.
//!
//! Reading is as lenient as Flink: one-digit months and days are taken, a timestamp may lack its time of day, a date may carry one; the
//! day after a month's end (2021-02-30) counts as the month's last day in a timestamp and is refused in a date.

use std::fmt::Write;

use crate::time::civil::{DAY_MS, Date, DateTime, checked_date, date_from_days, days_from_date, days_in_month};

/// Writes `yyyy-MM-dd`.
pub fn write_date(out: &mut impl Write, days: i32) -> std::fmt::Result {
    write_ymd(out, date_from_days(days.into()))
}

fn write_ymd(out: &mut impl Write, date: Date) -> std::fmt::Result {
    let digits = |n: u32| char::from_digit(n % 10, 10).unwrap_or('0');
    match u32::try_from(date.year) {
        Ok(year) if year <= 9999 => {
            for divisor in [1000, 100, 10, 1] {
                out.write_char(digits(year / divisor))?;
            }
        }
        _ => write!(out, "{:04}", date.year)?,
    }
    out.write_char('-')?;
    write_two(out, date.month)?;
    out.write_char('-')?;
    write_two(out, date.day)
}

fn write_two(out: &mut impl Write, n: u32) -> std::fmt::Result {
    out.write_char(char::from_digit(n / 10 % 10, 10).unwrap_or('0'))?;
    out.write_char(char::from_digit(n % 10, 10).unwrap_or('0'))
}

fn write_clock(out: &mut impl Write, second_of_day: u32) -> std::fmt::Result {
    write_two(out, second_of_day / 3600)?;
    out.write_char(':')?;
    write_two(out, second_of_day / 60 % 60)?;
    out.write_char(':')?;
    write_two(out, second_of_day % 60)
}

/// Writes a dot and `digits` digits of the fraction; nothing when `digits` is 0.
fn write_fraction(out: &mut impl Write, nano: u32, digits: u8) -> std::fmt::Result {
    if digits == 0 {
        return Ok(());
    }
    out.write_char('.')?;
    let mut divisor = 100_000_000;
    for _ in 0..digits.min(9) {
        out.write_char(char::from_digit(nano / divisor % 10, 10).unwrap_or('0'))?;
        divisor /= 10;
    }
    Ok(())
}

/// Writes `HH:mm:ss`, and `precision` digits of the fraction when that is above 0.
pub fn write_time(out: &mut impl Write, ms_of_day: i32, precision: u8) -> std::fmt::Result {
    let ms = u32::try_from(i64::from(ms_of_day).rem_euclid(DAY_MS)).unwrap_or(0);
    write_clock(out, ms / 1000)?;
    write_fraction(out, ms % 1000 * 1_000_000, precision)
}

/// Writes `yyyy-MM-dd HH:mm:ss` and exactly `precision` digits of the fraction.
pub fn write_timestamp(out: &mut impl Write, at: DateTime, precision: u8) -> std::fmt::Result {
    write_ymd(out, at.date)?;
    out.write_char(' ')?;
    write_clock(out, at.second_of_day)?;
    write_fraction(out, at.nano, precision)
}

fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Reads a DATE: `y-m-d`, `y-m`, `y`, each followed by anything after a blank. Days since 1970.
pub fn parse_date(text: &str) -> Option<i32> {
    let text = match text.find(' ') {
        Some(blank) if blank > 0 => &text[..blank],
        _ => text,
    };
    let mut parts = text.splitn(3, '-');
    let year = number(parts.next()?)?;
    let month = parts.next().map_or(Some(1), number)?;
    let day = parts.next().map_or(Some(1), number)?;
    if year > 9999 {
        return None;
    }
    let date = checked_date(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?;
    i32::try_from(days_from_date(date)).ok()
}

/// Reads a TIME: `h`, `h:m`, `h:m:s`, `h:m:s.f`. Milliseconds of the day; digits behind the third are cut.
pub fn parse_time(text: &str) -> Option<i32> {
    let mut parts = text.splitn(3, ':');
    let hour = number(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), number)?;
    let (second, ms) = match parts.next() {
        None => (0, 0),
        Some(seconds) => match seconds.split_once('.') {
            None => (number(seconds)?, 0),
            Some((second, fraction)) => (number(second)?, i64::from(parse_fraction(fraction.trim())?) / 1_000_000),
        },
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    i32::try_from((hour * 3600 + minute * 60 + second) * 1000 + ms).ok()
}

/// Nanoseconds out of at most 9 digits.
fn parse_fraction(text: &str) -> Option<u32> {
    if text.len() > 9 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut nano = 0;
    for index in 0..9 {
        nano = nano * 10 + text.as_bytes().get(index).map_or(0, |b| u32::from(b - b'0'));
    }
    Some(nano)
}

/// Reads a TIMESTAMP: `yyyy-M-d`, or that and ` H:m:s`, or that and a fraction of up to 9 digits.
pub fn parse_timestamp(text: &str) -> Option<DateTime> {
    let (date, clock) = match text.split_once(' ') {
        None => (text, None),
        Some((date, clock)) => (date, Some(clock)),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let year = short_number(year, 4)?;
    let (month, day) = (short_number(month, 2)?, short_number(day, 2)?);
    if year == 0 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let day = day.min(days_in_month(year.into(), month));
    let date = Date { year: year.into(), month, day };
    if matches!(clock, Some("24:00:00")) {
        // Midnight, and not of this day.
        return Some(DateTime { date: date_from_days(days_from_date(date) + 1), second_of_day: 0, nano: 0 });
    }
    let (second_of_day, nano) = clock.map_or(Some((0, 0)), parse_clock)?;
    Some(DateTime { date, second_of_day, nano })
}

/// Reads `H:m:s[.fffffffff]`: second of the day and nanosecond.
fn parse_clock(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.splitn(3, ':');
    let hour = short_number(parts.next()?, 2)?;
    let minute = short_number(parts.next()?, 2)?;
    let seconds = parts.next()?;
    let (second, nano) = match seconds.split_once('.') {
        None => (short_number(seconds, 2)?, 0),
        Some((second, fraction)) => (short_number(second, 2)?, parse_fraction(fraction)?),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second, nano))
}

fn short_number(text: &str, digits_max: usize) -> Option<u32> {
    if text.is_empty() || text.len() > digits_max || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_read_and_write_sqls_forms() {
        let cases = [
            ("2021-09-24 12:34:56.123456789", 9, Some("2021-09-24 12:34:56.123456789")),
            ("2021-09-24 12:34:56.1", 3, Some("2021-09-24 12:34:56.100")),
            ("2021-9-4 1:2:3", 0, Some("2021-09-04 01:02:03")),
            ("2021-09-24", 3, Some("2021-09-24 00:00:00.000")),
            ("2021-02-31", 0, Some("2021-02-28 00:00:00")),
            ("2021-02-32", 0, None),
            ("2021-09-24T12:34:56", 0, None),
            ("2021-09-24 12:34", 0, None),
            ("2021-09-24 24:00:00", 0, Some("2021-09-25 00:00:00")),
            (" 2021-09-24", 0, None),
            ("", 0, None),
        ];
        for (text, precision, expected) in cases {
            let written = parse_timestamp(text).map(|at| {
                let mut out = String::new();
                write_timestamp(&mut out, at, precision).expect("a String takes all text");
                out
            });
            assert_eq!(written.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn dates_and_times_read_flinks_lenient_forms() {
        let dates = [
            ("1970-01-02", Some(1)),
            ("1970-1-2 10:00:00.5", Some(1)),
            ("1970", Some(0)),
            ("1970-02", Some(31)),
            ("2021-02-30", None),
            ("x", None),
            ("", None),
        ];
        for (text, expected) in dates {
            assert_eq!(parse_date(text), expected, "{text:?}");
        }
        let times = [
            ("12:34:56", Some(45_296_000)),
            ("12:34:56.7899", Some(45_296_789)),
            ("12:34", Some(45_240_000)),
            ("12", Some(43_200_000)),
            ("24:00:00", None),
            ("a:b", None),
        ];
        for (text, expected) in times {
            assert_eq!(parse_time(text), expected, "{text:?}");
        }
    }
}
