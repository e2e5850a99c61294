//! Dates and times in the two text forms that Flink's JSON knows, both directions.
//!
//! Flink builds its formats from Java's, and Java resolves some of them strictly, some smartly: DATE and the ISO form of TIMESTAMP refuse
//! February 30th and hour 24, the SQL forms and TIMESTAMP_LTZ move the day to the month's last and hour 24 to the next midnight. So here.

use super::TimestampFormat;

/// Whether impossible days are refused or moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolve {
    Strict,
    Smart,
}

/// A wall-clock time: seconds since 1970-01-01 00:00:00 and the nanoseconds within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::formats) struct WallTime {
    pub(in crate::formats) seconds: i64,
    pub(in crate::formats) nanos: u32,
}

const SECONDS_PER_DAY: i64 = 86_400;

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
#[inline]
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let shifted_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day number.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
}

fn days_of_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Two decimal digits; 255 or more when they are none.
#[inline(always)]
fn two(text: &[u8], at: usize) -> Option<u32> {
    let pair = text.get(at..at + 2)?;
    let (tens, ones) = (pair[0].wrapping_sub(b'0'), pair[1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// The year at the text's start, and its length: four digits, or a sign and more.
#[inline]
fn year(text: &[u8]) -> Option<(i64, usize)> {
    match (two(text, 0), two(text, 2), text.get(4)) {
        (Some(century), Some(rest), Some(b'-')) => Some((i64::from(century * 100 + rest), 4)),
        _ => signed_year(text),
    }
}

#[cold]
fn signed_year(text: &[u8]) -> Option<(i64, usize)> {
    let sign = *text.first()?;
    if !matches!(sign, b'+' | b'-') {
        return None;
    }
    let digits = text.get(1..)?.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(4..=9).contains(&digits) || (sign == b'+' && digits == 4) {
        return None;
    }
    let number: i64 = std::str::from_utf8(text.get(1..1 + digits)?).ok()?.parse().ok()?;
    Some((if sign == b'-' { -number } else { number }, 1 + digits))
}

/// A date at the text's start: its day number and its length.
#[inline]
fn date_prefix(text: &[u8], resolve: Resolve) -> Option<(i64, usize)> {
    let (year, length) = year(text)?;
    let rest = text.get(length..length + 6)?;
    let (month, day) = (two(rest, 1)?, two(rest, 4)?);
    if rest[0] != b'-' || rest[3] != b'-' || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut day = day;
    if day > 28 {
        let last = days_of_month(year, month);
        if day > last && resolve == Resolve::Strict {
            return None;
        }
        day = day.min(last);
    }
    Some((days_from_civil(year, month, day), length + 6))
}

/// A DATE: days since 1970-01-01.
pub(in crate::formats) fn parse_date(text: &[u8]) -> Option<i32> {
    let (days, length) = date_prefix(text, Resolve::Strict)?;
    if length != text.len() { None } else { i32::try_from(days).ok() }
}

/// A time of day that fills the text: its second (86 400 for 24:00:00), and nanoseconds.
#[inline]
fn clock(text: &[u8], seconds_optional: bool, resolve: Resolve) -> Option<(i64, u32)> {
    let (hour, minute) = (two(text, 0)?, two(text, 3)?);
    if text[2] != b':' {
        return None;
    }
    let mut second = 0;
    let mut nanos = 0;
    if text.len() > 5 || !seconds_optional {
        second = two(text, 6)?;
        if text[5] != b':' {
            return None;
        }
        if text.len() > 8 {
            nanos = fraction(text.get(8..)?)?;
        }
    }
    let day_end = hour == 24 && minute == 0 && second == 0 && nanos == 0 && resolve == Resolve::Smart;
    if (hour > 23 && !day_end) || minute > 59 || second > 59 {
        return None;
    }
    Some((i64::from(hour * 3600 + minute * 60 + second), nanos))
}

/// `.` and one to nine digits, as nanoseconds.
#[inline]
fn fraction(text: &[u8]) -> Option<u32> {
    let digits = text.get(1..)?;
    if text[0] != b'.' || digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let mut nanos = 0;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        nanos = nanos * 10 + u32::from(value);
    }
    Some(nanos * 10_u32.pow(9 - u32::try_from(digits.len()).unwrap_or(9)))
}

/// A TIME: milliseconds of the day, without the fraction, which Flink drops too.
pub(in crate::formats) fn parse_time(text: &[u8]) -> Option<i32> {
    let (second, _) = clock(text, false, Resolve::Smart)?;
    i32::try_from(second % SECONDS_PER_DAY * 1000).ok()
}

/// A time of day as Java's `LocalTime.parse` reads it, seconds optional: milliseconds of the day.
pub(in crate::formats) fn parse_iso_time(text: &[u8]) -> Option<i32> {
    let (second, nanos) = clock(text, true, Resolve::Strict)?;
    i32::try_from(second * 1000 + i64::from(nanos / 1_000_000)).ok()
}

/// Days since 1970-01-01 of a date as `java.sql.Date.valueOf` reads it: month and day of one or two digits, and a day that the month does
/// not have goes on into the next month.
pub(in crate::formats) fn parse_sql_date(text: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    if parts.next().is_some() || !is_number(year, 4..=4) || !is_number(month, 1..=2) || !is_number(day, 1..=2) {
        return None;
    }
    let (year, month, day): (i64, u32, u32) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    i32::try_from(days_from_civil(year, month, 1) + i64::from(day) - 1).ok()
}

/// A TIMESTAMP.
#[inline]
pub(in crate::formats) fn parse_timestamp(text: &[u8], format: TimestampFormat) -> Option<WallTime> {
    match format {
        TimestampFormat::Sql => wall_time(text, b' ', false, Resolve::Smart),
        TimestampFormat::Iso8601 => wall_time(text, b'T', true, Resolve::Strict),
    }
}

/// A TIMESTAMP_LTZ: the same with a literal `Z` behind it, in UTC.
#[inline]
pub(in crate::formats) fn parse_timestamp_ltz(text: &[u8], format: TimestampFormat) -> Option<WallTime> {
    let text = text.strip_suffix(b"Z")?;
    match format {
        TimestampFormat::Sql => wall_time(text, b' ', false, Resolve::Smart),
        TimestampFormat::Iso8601 => wall_time(text, b'T', true, Resolve::Smart),
    }
}

#[inline]
fn wall_time(text: &[u8], separator: u8, seconds_optional: bool, resolve: Resolve) -> Option<WallTime> {
    let usual = text.first_chunk::<19>().and_then(|head| usual_seconds(head, separator));
    if let Some(seconds) = usual {
        let nanos = if text.len() == 19 { 0 } else { fraction(text.get(19..)?)? };
        return Some(WallTime { seconds, nanos });
    }
    any_wall_time(text, separator, seconds_optional, resolve)
}

/// The seconds of `yyyy-MM-dd HH:mm:ss`, when no part of it needs a second thought: day 28 at most, hour 23 at most.
#[inline(always)]
fn usual_seconds(text: &[u8; 19], separator: u8) -> Option<i64> {
    let digit = |at: usize| u32::from(text[at].wrapping_sub(b'0'));
    let mut is_odd = false;
    let mut pair = |at: usize| {
        let (tens, ones) = (digit(at), digit(at + 1));
        is_odd |= tens > 9 || ones > 9;
        tens * 10 + ones
    };
    let (century, year, month, day) = (pair(0), pair(2), pair(5), pair(8));
    let (hour, minute, second) = (pair(11), pair(14), pair(17));
    is_odd |= text[4] != b'-' || text[7] != b'-' || text[10] != separator || text[13] != b':' || text[16] != b':';
    is_odd |= month.wrapping_sub(1) > 11 || day.wrapping_sub(1) > 27 || hour > 23 || minute > 59 || second > 59;
    if is_odd {
        return None;
    }
    let days = days_from_civil(i64::from(century * 100 + year), month, day);
    Some(days * SECONDS_PER_DAY + i64::from(hour * 3600 + minute * 60 + second))
}

fn any_wall_time(text: &[u8], separator: u8, seconds_optional: bool, resolve: Resolve) -> Option<WallTime> {
    let (days, length) = date_prefix(text, resolve)?;
    let found = *text.get(length)?;
    // Java's ISO form takes the letter in either case.
    if found != separator && !(separator == b'T' && found == b't') {
        return None;
    }
    let (second, nanos) = clock(text.get(length + 1..)?, seconds_optional, resolve)?;
    Some(WallTime { seconds: days * SECONDS_PER_DAY + second, nanos })
}

/// Appends a DATE.
pub(in crate::formats) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    match u32::try_from(year) {
        Ok(year @ 0..=9999) => {
            let [y1, y2, y3, y4] = [year / 1000, year / 100 % 10, year / 10 % 10, year % 10].map(digit);
            let ([m1, m2], [d1, d2]) = (pair(month), pair(day));
            out.extend_from_slice(&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2]);
        }
        _ => {
            out.push(if year < 0 { b'-' } else { b'+' });
            let mut buffer = itoa::Buffer::new();
            let digits = buffer.format(year.unsigned_abs());
            out.extend(std::iter::repeat_n(b'0', 4_usize.saturating_sub(digits.len())));
            out.extend_from_slice(digits.as_bytes());
            let ([m1, m2], [d1, d2]) = (pair(month), pair(day));
            out.extend_from_slice(&[b'-', m1, m2, b'-', d1, d2]);
        }
    }
}

fn digit(value: u32) -> u8 {
    b'0' + (value % 10) as u8
}

fn pair(value: u32) -> [u8; 2] {
    [digit(value / 10), digit(value)]
}

/// Appends a TIME given in milliseconds of the day, without its fraction.
pub(in crate::formats) fn write_time(ms: i32, out: &mut Vec<u8>) {
    write_clock(ms.unsigned_abs() / 1000, out);
}

/// Appends a TIME given in milliseconds of the day as Java's `ISO_LOCAL_TIME`, with as much of the fraction as there is.
pub(in crate::formats) fn write_iso_time(ms: i32, out: &mut Vec<u8>) {
    write_clock(ms.unsigned_abs() / 1000, out);
    let mut rest = ms.unsigned_abs() % 1000;
    if rest > 0 {
        out.push(b'.');
        while rest > 0 {
            out.push(digit(rest / 100));
            rest = rest % 100 * 10;
        }
    }
}

fn write_clock(second_of_day: u32, out: &mut Vec<u8>) {
    let [h1, h2] = pair(second_of_day / 3600);
    let [m1, m2] = pair(second_of_day / 60 % 60);
    let [s1, s2] = pair(second_of_day % 60);
    out.extend_from_slice(&[h1, h2, b':', m1, m2, b':', s1, s2]);
}

/// Appends a TIMESTAMP. The SQL form drops trailing zeros of the fraction one by one; Java's ISO form does too.
pub(in crate::formats) fn write_timestamp(time: WallTime, format: TimestampFormat, out: &mut Vec<u8>) {
    write_date(time.seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(if format == TimestampFormat::Sql { b' ' } else { b'T' });
    write_clock(u32::try_from(time.seconds.rem_euclid(SECONDS_PER_DAY)).unwrap_or(0), out);
    let mut nanos = time.nanos;
    if nanos > 0 {
        out.push(b'.');
        while nanos > 0 {
            out.push(digit(nanos / 100_000_000));
            nanos = nanos % 100_000_000 * 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(time: Option<WallTime>) -> String {
        let Some(time) = time else { return "refused".to_owned() };
        let mut out = Vec::new();
        write_timestamp(time, TimestampFormat::Sql, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_are_read_as_java_resolves_them() {
        use TimestampFormat::{Iso8601, Sql};
        let cases = [
            ("2024-01-01 00:00:00", Sql, "2024-01-01 00:00:00"),
            ("2024-01-01 00:00:00.120", Sql, "2024-01-01 00:00:00.12"),
            ("2024-01-01 00:00:00.123456789", Sql, "2024-01-01 00:00:00.123456789"),
            ("2024-01-01 00:00:00.1234567890", Sql, "refused"),
            ("1969-12-31 23:59:59.5", Sql, "1969-12-31 23:59:59.5"),
            ("0001-01-01 00:00:00", Sql, "0001-01-01 00:00:00"),
            ("9999-12-31 23:59:59", Sql, "9999-12-31 23:59:59"),
            ("+12024-01-01 00:00:00", Sql, "+12024-01-01 00:00:00"),
            ("-0044-03-15 00:00:00", Sql, "-0044-03-15 00:00:00"),
            ("2024-02-31 00:00:00", Sql, "2024-02-29 00:00:00"),
            ("2023-02-29 12:00:00", Sql, "2023-02-28 12:00:00"),
            ("2024-01-31 24:00:00", Sql, "2024-02-01 00:00:00"),
            ("2024-01-31 24:00:01", Sql, "refused"),
            ("2024-13-01 00:00:00", Sql, "refused"),
            ("2024-01-01T00:00:00", Sql, "refused"),
            ("2024-01-01 00:00", Sql, "refused"),
            ("2024-01-01 00:00:00Z", Sql, "refused"),
            ("2024-01-01", Sql, "refused"),
            ("", Sql, "refused"),
            ("2024-01-01T00:00:00", Iso8601, "2024-01-01 00:00:00"),
            ("2024-01-01T00:00", Iso8601, "2024-01-01 00:00:00"),
            ("2024-01-01T10:20:30.5", Iso8601, "2024-01-01 10:20:30.5"),
            ("2024-02-30T00:00:00", Iso8601, "refused"),
            ("2024-01-01T24:00:00", Iso8601, "refused"),
            ("2024-01-01 00:00:00", Iso8601, "refused"),
        ];
        for (text, format, expected) in cases {
            assert_eq!(shown(parse_timestamp(text.as_bytes(), format)), expected, "{text}");
        }
        let zoned = [
            ("2024-01-01 00:00:00Z", Sql, "2024-01-01 00:00:00"),
            ("2024-01-01 00:00:00", Sql, "refused"),
            ("2024-01-01 00:00:00+00:00", Sql, "refused"),
            ("2024-01-01T00:00:00.25Z", Iso8601, "2024-01-01 00:00:00.25"),
        ];
        for (text, format, expected) in zoned {
            assert_eq!(shown(parse_timestamp_ltz(text.as_bytes(), format)), expected, "{text}");
        }
    }

    #[test]
    fn dates_survive_the_way_there_and_back() {
        for days in (-1_000_000..1_000_000).step_by(97) {
            let mut out = Vec::new();
            write_date(days, &mut out);
            assert_eq!(parse_date(&out).map(i64::from), Some(days), "{}", String::from_utf8_lossy(&out));
        }
        assert_eq!(parse_date(b"2024-02-30"), None);
        assert_eq!(parse_date(b"2024-02-29 "), None);
        assert_eq!(parse_time(b"23:59:59.999"), Some(86_399_000));
        assert_eq!(parse_time(b"24:00:00"), Some(0));
        assert_eq!(parse_time(b"7:00:00"), None);
    }
}
