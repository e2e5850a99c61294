//! Plain values, and numbers and times as text, for the databases that carry them so: `12.50`, `2024-01-02`, `03:04:05.678`, `2024-01-02 03:04:05.678`.

use std::fmt::Write;

use arrow_schema::TimeUnit;
use jiff::civil;
use wiesel_core::types::timestamp_unit;
use wiesel_core::{TypeKind, Value};

use crate::java_text;

/// Digits of a DECIMAL at most.
const DECIMAL_DIGITS_MAX: u8 = 38;

/// Whether values of the type have a form that every database has: no arrays, maps, rows and intervals.
pub(super) fn is_plain(kind: &TypeKind) -> bool {
    use TypeKind::{
        BigInt, Binary, Boolean, Char, Date, Decimal, Double, Float, Int, Null, SmallInt, Time, Timestamp,
        TimestampLtz, TinyInt, VarBinary, VarChar,
    };
    let is_number = matches!(kind, TinyInt | SmallInt | Int | BigInt | Float | Double | Decimal { .. });
    let is_other = matches!(kind, Null | Boolean | Char(_) | VarChar(_) | Binary(_) | VarBinary(_));
    is_number || is_other || matches!(kind, Date | Time(_) | Timestamp(_) | TimestampLtz(_))
}

/// A DECIMAL out of `-12.345` or `1.2e3`, rounded half up to the scale; too many digits make NULL, as in Flink. `None`: no number.
pub(super) fn decimal(text: &str, precision: u8, scale: u8) -> Option<Value> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (is_negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // How many digits, from the first, belong to the result.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(scale);
    let limit = 10_i128.pow(precision.min(DECIMAL_DIGITS_MAX).into());
    let mut unscaled: i128 = 0;
    let mut count = 0;
    let mut is_rounded_up = false;
    for (index, digit) in (0_i64..).zip(whole.bytes().chain(fraction.bytes())) {
        let digit = char::from(digit).to_digit(10)?;
        match index.cmp(&kept) {
            std::cmp::Ordering::Less => {
                // Beyond the limit it only matters that it is beyond.
                unscaled = unscaled.saturating_mul(10).saturating_add(digit.into()).min(limit);
                count += 1;
            }
            std::cmp::Ordering::Equal => is_rounded_up = digit >= 5,
            std::cmp::Ordering::Greater => {}
        }
    }
    for _ in count..kept {
        if unscaled == 0 || unscaled >= limit {
            break;
        }
        unscaled = unscaled.saturating_mul(10);
    }
    unscaled += i128::from(is_rounded_up);
    if unscaled >= limit {
        return Some(Value::Null);
    }
    Some(Value::Decimal(if is_negative { -unscaled } else { unscaled }))
}

/// A DATE; a time behind it is passed over.
pub(super) fn date(text: &str) -> Option<Value> {
    let date =
        text.parse::<civil::Date>().or_else(|_| text.parse::<civil::DateTime>().map(civil::DateTime::date)).ok()?;
    days(date).map(Value::Date)
}

/// A TIME, in milliseconds.
pub(super) fn time(text: &str) -> Option<Value> {
    let time = text.parse::<civil::Time>().ok()?;
    let seconds = i32::from(time.hour()) * 3600 + i32::from(time.minute()) * 60 + i32::from(time.second());
    Some(Value::Time(seconds * 1000 + time.subsec_nanosecond() / 1_000_000))
}

/// A TIMESTAMP(p).
pub(super) fn timestamp(text: &str, precision: u8) -> Option<Value> {
    let at = text.parse::<civil::DateTime>().ok()?;
    let time = at.time();
    let of_day = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    let seconds = i64::from(days(at.date())?) * 86_400 + of_day;
    in_unit(seconds, time.subsec_nanosecond().into(), precision)
}

/// A TIMESTAMP_LTZ(p): with `Z` or an offset behind it, or in UTC without.
pub(super) fn instant(text: &str, precision: u8) -> Option<Value> {
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => {
            let nanos = at.as_nanosecond();
            let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
            in_unit(seconds, i64::try_from(nanos.rem_euclid(1_000_000_000)).ok()?, precision)
        }
        Err(_) => timestamp(text, precision),
    }
}

/// Seconds since 1970 and nanoseconds as a value of TIMESTAMP(p).
pub(super) fn in_unit(seconds: i64, nanos: i64, precision: u8) -> Option<Value> {
    let per_second = match timestamp_unit(precision) {
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
        _ => 1000,
    };
    let value = seconds.checked_mul(per_second)?.checked_add(nanos / (1_000_000_000 / per_second))?;
    Some(Value::Timestamp(value))
}

fn days(date: civil::Date) -> Option<i32> {
    civil::date(1970, 1, 1).until(date).ok().map(|span| span.get_days())
}

/// Appends `03:04:05`, with milliseconds where there are any.
pub(super) fn append_time(out: &mut String, ms: i32) {
    append_clock(out, ms.div_euclid(1000).into());
    if ms.rem_euclid(1000) != 0 {
        write!(out, ".{:03}", ms.rem_euclid(1000)).expect("writing to a String cannot fail");
    }
}

/// Appends `2024-01-02 03:04:05.678` with as many digits of the fraction as the type has.
pub(super) fn append_timestamp(out: &mut String, seconds: i64, nanos: u32, precision: u8) {
    java_text::append_date(out, seconds.div_euclid(86_400));
    out.push(' ');
    append_clock(out, seconds.rem_euclid(86_400));
    let digits = precision.min(9);
    if digits > 0 {
        let fraction = nanos / 10_u32.pow(9 - u32::from(digits));
        write!(out, ".{fraction:0width$}", width = usize::from(digits)).expect("writing to a String cannot fail");
    }
}

fn append_clock(out: &mut String, second_of_day: i64) {
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    write!(out, "{hour:02}:{minute:02}:{second:02}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_rounded_half_up_and_too_large_ones_are_null() {
        let cases: &[(&str, u8, u8, Option<Value>)] = &[
            ("0", 10, 2, Some(Value::Decimal(0))),
            ("12.345", 10, 2, Some(Value::Decimal(1235))),
            ("-12.344", 10, 2, Some(Value::Decimal(-1234))),
            ("0.005", 10, 2, Some(Value::Decimal(1))),
            ("0.0049", 10, 2, Some(Value::Decimal(0))),
            ("1.2e3", 10, 1, Some(Value::Decimal(12_000))),
            ("5e-1", 10, 0, Some(Value::Decimal(1))),
            ("4e-3", 10, 0, Some(Value::Decimal(0))),
            ("99.95", 3, 1, Some(Value::Null)),
            ("12345", 4, 0, Some(Value::Null)),
            ("1e999", 38, 0, Some(Value::Null)),
            ("123456789012345678901234567890123456789012", 38, 0, Some(Value::Null)),
            (".5", 2, 1, Some(Value::Decimal(5))),
            ("", 10, 2, None),
            ("1x", 10, 2, None),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(decimal(text, *precision, *scale), *expected, "{text}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(date("1970-01-03"), Some(Value::Date(2)));
        assert_eq!(date("2024-02-30"), None);
        assert_eq!(time("00:00:01.500"), Some(Value::Time(1500)));
        assert_eq!(timestamp("1970-01-01 00:00:01.234567", 3), Some(Value::Timestamp(1234)));
        assert_eq!(timestamp("1970-01-01T00:00:01", 6), Some(Value::Timestamp(1_000_000)));
        assert_eq!(timestamp("1969-12-31 23:59:59.999", 3), Some(Value::Timestamp(-1)));
        assert_eq!(instant("1970-01-01 01:00:00+01:00", 3), Some(Value::Timestamp(0)));
        assert_eq!(instant("1970-01-01 00:00:01", 3), Some(Value::Timestamp(1000)));
        let mut text = String::new();
        append_timestamp(&mut text, -1, 999_000_000, 3);
        text.push('|');
        append_timestamp(&mut text, 0, 1000, 6);
        text.push('|');
        append_time(&mut text, 3_600_005);
        assert_eq!(text, "1969-12-31 23:59:59.999|1970-01-01 00:00:00.000001|01:00:00.005");
    }
}
