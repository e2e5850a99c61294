//! Numbers out of text and into text, with Java's rules where they differ from Rust's.

use super::scan::{byte_at, digits_at};

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The largest integer up to which a double holds all.
const EXACT_MANTISSA_MAX: u64 = 1 << 53;

/// A plain integer of at most 18 digits at a position, and the position behind it; `None` sends the caller to the slow way (longer, a
/// fraction, a leading zero, no number at all).
#[inline(always)]
pub(in crate::formats) fn short_integer(bytes: &[u8], pos: usize) -> Option<(i64, usize)> {
    let is_negative = byte_at(bytes, pos) == b'-';
    let first = pos + usize::from(is_negative);
    let (number, length) = digit_run(bytes, first);
    let end = first + length;
    let leading_zero = length > 1 && byte_at(bytes, first) == b'0';
    if length == 0 || length > 18 || leading_zero || matches!(byte_at(bytes, end), b'.' | b'e' | b'E') {
        return None;
    }
    let number = i64::try_from(number).ok()?;
    Some((if is_negative { -number } else { number }, end))
}

/// The digits at a position as one number, which is right up to 18 of them, and how many they are.
#[inline(always)]
fn digit_run(bytes: &[u8], pos: usize) -> (u64, usize) {
    let (mut number, mut length) = digits_at(bytes, pos);
    let mut last = length;
    while last == 8 {
        let (more, count) = digits_at(bytes, pos + length);
        number = number.wrapping_mul(POWERS[count & 15]).wrapping_add(more);
        length += count;
        last = count;
    }
    (number, length)
}

/// Powers of ten up to the number of digits that are read at once, and a little more where the end of a document is near.
const POWERS: [u64; 16] = {
    let mut powers = [1; 16];
    let mut i = 1;
    while i < 16 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// A decimal number without exponent whose digits a double holds exactly, and the position behind it; `None` sends the caller to the
/// slow way.
#[inline(always)]
pub(in crate::formats) fn short_double(bytes: &[u8], pos: usize) -> Option<(f64, usize)> {
    let is_negative = byte_at(bytes, pos) == b'-';
    let first = pos + usize::from(is_negative);
    let (mut mantissa, integer_digits) = digit_run(bytes, first);
    let mut end = first + integer_digits;
    let mut scale = 0;
    if integer_digits == 0 || (integer_digits > 1 && byte_at(bytes, first) == b'0') {
        return None;
    }
    if byte_at(bytes, end) == b'.' {
        let (fraction, count) = digit_run(bytes, end + 1);
        scale = count;
        if scale == 0 || scale > 15 {
            return None;
        }
        mantissa = mantissa.wrapping_mul(POWERS[scale & 15]).wrapping_add(fraction);
        end += 1 + scale;
    }
    if integer_digits + scale > 18 || mantissa > EXACT_MANTISSA_MAX || matches!(byte_at(bytes, end), b'e' | b'E') {
        return None;
    }
    // At most 15 digits after the point, so the power is in the table, and one division of two exact numbers rounds once.
    let number = mantissa as f64 / EXACT_POWERS.get(scale)?;
    Some((if is_negative { -number } else { number }, end))
}

/// The text without the blanks and control characters that Java's `trim` takes off.
pub(in crate::formats) fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| *b > b' ').unwrap_or(text.len());
    let end = text.iter().rposition(|b| *b > b' ').map_or(start, |i| i + 1);
    text.get(start..end).unwrap_or_default()
}

/// Java's `Long.parseLong`.
pub(in crate::formats) fn parse_long(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A number with a fraction or exponent as an integer: the fraction is cut off, as Jackson's `getLongValue` does by way of a double.
pub(in crate::formats) fn truncate_to_long(text: &[u8]) -> Option<i64> {
    let number: f64 = fast_float2::parse(text).ok()?;
    if (-9.223_372_036_854_776E18..=9.223_372_036_854_776E18).contains(&number) { Some(number as i64) } else { None }
}

/// Java's `Double.parseDouble` without its hexadecimal form.
pub(in crate::formats) fn parse_double(text: &[u8]) -> Option<f64> {
    match special_float(text) {
        Some(special) => Some(special),
        None => fast_float2::parse(float_digits(text)?).ok(),
    }
}

/// Java's `Float.parseFloat` without its hexadecimal form.
pub(in crate::formats) fn parse_float(text: &[u8]) -> Option<f32> {
    match special_float(text) {
        Some(special) => Some(special as f32),
        None => fast_float2::parse(float_digits(text)?).ok(),
    }
}

fn special_float(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" | b"+NaN" | b"-NaN" => Some(f64::NAN),
        b"Infinity" | b"+Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The text without Java's type letter, when it consists of what a decimal number may hold; Rust's parser also takes `inf` and `nan`.
fn float_digits(text: &[u8]) -> Option<&[u8]> {
    let digits = match text {
        [rest @ .., b'd' | b'D' | b'f' | b'F'] => rest,
        _ => text,
    };
    digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')).then_some(digits)
}

/// What became of a DECIMAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::formats) enum Decimal {
    Fits(i128),
    /// More digits than the type has: NULL, as in Flink.
    TooLarge,
    NotANumber,
}

/// Java's `new BigDecimal(text)`, set to the scale with HALF_UP.
pub(in crate::formats) fn parse_decimal(text: &[u8], precision: u8, scale: u8) -> Decimal {
    parse_decimal_digits(text, precision, scale).unwrap_or(Decimal::NotANumber)
}

fn parse_decimal_digits(text: &[u8], precision: u8, scale: u8) -> Option<Decimal> {
    let (is_negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (digits, exponent) = match unsigned.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(e) => {
            let exponent: i32 = std::str::from_utf8(unsigned.get(e + 1..)?).ok()?.parse().ok()?;
            (unsigned.get(..e)?, i64::from(exponent))
        }
        None => (unsigned, 0),
    };
    let point = digits.iter().position(|b| *b == b'.');
    let fraction_digits = point.map_or(0, |p| digits.len() - p - 1);
    let all_digits = digits.len() - usize::from(point.is_some());
    if all_digits == 0 || digits.iter().enumerate().any(|(i, b)| !b.is_ascii_digit() && Some(i) != point) {
        return None;
    }
    let values = digits.iter().filter(|b| **b != b'.').map(|b| b - b'0');
    // The value is all digits times ten to the power of `shift`, counted in units of the wanted scale.
    let shift = exponent - i64::try_from(fraction_digits).ok()? + i64::from(scale);
    let kept = i64::try_from(all_digits).ok()?.saturating_add(shift.min(0));
    let limit = 10_i128.pow(u32::from(precision.min(38)));
    let mut number: i128 = 0;
    for (index, digit) in (0_i64..).zip(values) {
        if index < kept {
            match number.checked_mul(10).and_then(|n| n.checked_add(i128::from(digit))) {
                Some(next) => number = next,
                None => return Some(Decimal::TooLarge),
            }
        } else {
            if index == kept && digit >= 5 {
                number += 1;
            }
            break;
        }
        if number >= limit {
            return Some(Decimal::TooLarge);
        }
    }
    for _ in 0..shift.max(0) {
        if number == 0 {
            break;
        }
        match number.checked_mul(10) {
            Some(next) if next < limit => number = next,
            _ => return Some(Decimal::TooLarge),
        }
    }
    if number >= limit {
        return Some(Decimal::TooLarge);
    }
    Some(Decimal::Fits(if is_negative { -number } else { number }))
}

/// Appends a DOUBLE as Java's `Double.toString` writes it (`100.0`, `1.0E10`), the shortest digits that read back the same.
pub(in crate::formats) fn write_double(number: f64, out: &mut Vec<u8>) {
    if !write_short_double(number, out) && !write_special(number, out) {
        write_java_float(ryu::Buffer::new().format_finite(number), number.abs(), out);
    }
}

/// Appends a number of at most three decimals, as amounts are, several times faster than the general way. Of decimal numbers with 15 digits at
/// most no two are the same double, so the one found here is the shortest.
fn write_short_double(number: f64, out: &mut Vec<u8>) -> bool {
    let magnitude = number.abs();
    if !(1e-3..1e7).contains(&magnitude) {
        return false;
    }
    let thousandths = (magnitude * 1000.0).round();
    if thousandths / 1000.0 != magnitude {
        return false;
    }
    let thousandths = thousandths as u64;
    if number < 0.0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(thousandths / 1000).as_bytes());
    let fraction = thousandths % 1000;
    let [tenths, hundredths, last] = [fraction / 100, fraction / 10 % 10, fraction % 10].map(|d| b'0' + d as u8);
    out.extend_from_slice(&[b'.', tenths]);
    if last != b'0' {
        out.extend_from_slice(&[hundredths, last]);
    } else if hundredths != b'0' {
        out.push(hundredths);
    }
    true
}

/// Appends a FLOAT as Java's `Float.toString` writes it.
pub(in crate::formats) fn write_float(number: f32, out: &mut Vec<u8>) {
    if !write_special(number.into(), out) {
        write_java_float(ryu::Buffer::new().format_finite(number), f64::from(number.abs()), out);
    }
}

/// Jackson quotes what is no JSON number.
fn write_special(number: f64, out: &mut Vec<u8>) -> bool {
    if number.is_finite() {
        return false;
    }
    out.extend_from_slice(if number.is_nan() {
        b"\"NaN\""
    } else if number > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    });
    true
}

/// Turns ryu's text into Java's: plain from 0.001 up to 10 million, otherwise one digit, a point, and `E`.
fn write_java_float(text: &str, magnitude: f64, out: &mut Vec<u8>) {
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if unsigned.len() < text.len() {
        out.push(b'-');
    }
    let (mantissa, exponent) = match unsigned.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None => (unsigned, 0),
    };
    let point = mantissa.find('.').unwrap_or(mantissa.len());
    let digits = || mantissa.bytes().filter(|b| *b != b'.');
    let leading_zeros = digits().take_while(|b| *b == b'0').count();
    let significant = digits().count() - digits().rev().take_while(|b| *b == b'0').count();
    let mut written = digits().take(significant).skip(leading_zeros);
    out.push(written.next().unwrap_or(b'0'));
    out.push(b'.');
    let before = out.len();
    out.extend(written);
    if out.len() == before {
        out.push(b'0');
    }
    out.push(b'E');
    let position = i32::try_from(point).unwrap_or(0) - i32::try_from(leading_zeros).unwrap_or(0) - 1;
    out.extend_from_slice(itoa::Buffer::new().format(exponent + position).as_bytes());
}

/// Appends a DECIMAL as a number: its digits without trailing zeros, in Java's `BigDecimal.toString` form (`2.7E-8`, `1E+2`) or plain.
pub(in crate::formats) fn write_decimal(unscaled: i128, scale: u8, is_plain: bool, out: &mut Vec<u8>) {
    if unscaled == 0 {
        out.push(b'0');
        return;
    }
    let mut magnitude = unscaled.unsigned_abs();
    let mut scale = i32::from(scale);
    while magnitude.is_multiple_of(10) {
        magnitude /= 10;
        scale -= 1;
    }
    if unscaled < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(magnitude).as_bytes();
    let count = i32::try_from(digits.len()).unwrap_or(0);
    let exponent = count - 1 - scale;
    if is_plain || (scale >= 0 && exponent >= -6) {
        write_plain(digits, scale, out);
        return;
    }
    let (first, rest) = digits.split_at(1);
    out.extend_from_slice(first);
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest);
    }
    if exponent != 0 {
        out.push(b'E');
        if exponent > 0 {
            out.push(b'+');
        }
        out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
    }
}

fn write_plain(digits: &[u8], scale: i32, out: &mut Vec<u8>) {
    let scale_digits = usize::try_from(scale).unwrap_or(0);
    if scale <= 0 {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', usize::try_from(-scale).unwrap_or(0)));
    } else if digits.len() > scale_digits {
        let (whole, fraction) = digits.split_at(digits.len() - scale_digits);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale_digits - digits.len()));
        out.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (1e10, "1.0E10"),
            (1.5e-7, "1.5E-7"),
            (0.001, "0.001"),
            (0.000_99, "9.9E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-12.5, "-12.5"),
            (12.05, "12.05"),
            (0.125, "0.125"),
            (1234.0625, "1234.0625"),
            (12_345_678.9, "1.23456789E7"),
            (1e16, "1.0E16"),
            (1.797_693_134_862_315_7E308, "1.7976931348623157E308"),
            (-1e300, "-1.0E300"),
            (f64::NAN, "\"NaN\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ];
        for (number, expected) in cases {
            let mut out = Vec::new();
            write_double(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let mut out = Vec::new();
        write_float(1.1e-5, &mut out);
        assert_eq!(out, b"1.1E-5");
    }

    #[test]
    fn decimals_round_half_up_and_overflow_to_null() {
        let cases = [
            ("1.005", 5, 2, Decimal::Fits(101)),
            ("-1.005", 5, 2, Decimal::Fits(-101)),
            ("1.004999", 5, 2, Decimal::Fits(100)),
            ("999.995", 5, 2, Decimal::TooLarge),
            ("1e3", 5, 2, Decimal::TooLarge),
            ("1e2", 5, 2, Decimal::Fits(10_000)),
            ("1E-9", 5, 2, Decimal::Fits(0)),
            ("0.5e1", 5, 0, Decimal::Fits(5)),
            ("0.5", 5, 0, Decimal::Fits(1)),
            ("0.05", 5, 0, Decimal::Fits(0)),
            (".5", 5, 1, Decimal::Fits(5)),
            ("5.", 5, 1, Decimal::Fits(50)),
            ("0e999999999", 5, 1, Decimal::Fits(0)),
            ("1e99999999999", 5, 1, Decimal::NotANumber),
            ("", 5, 1, Decimal::NotANumber),
            (".", 5, 1, Decimal::NotANumber),
            ("1.2.3", 5, 1, Decimal::NotANumber),
            ("abc", 5, 1, Decimal::NotANumber),
            ("99999999999999999999999999999999999999", 38, 0, Decimal::Fits(10_i128.pow(38) - 1)),
            ("100000000000000000000000000000000000000", 38, 0, Decimal::TooLarge),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(parse_decimal(text.as_bytes(), precision, scale), expected, "{text}");
        }
    }

    #[test]
    fn decimals_are_written_as_java_writes_big_decimals() {
        let cases = [
            (27, 9, "2.7E-8", "0.000000027"),
            (10_000, 2, "1E+2", "100"),
            (12_345, 2, "123.45", "123.45"),
            (0, 2, "0", "0"),
            (-5, 3, "-0.005", "-0.005"),
            (1, 6, "0.000001", "0.000001"),
            (1, 7, "1E-7", "0.0000001"),
            (12_300, 0, "1.23E+4", "12300"),
        ];
        for (unscaled, scale, scientific, plain) in cases {
            let mut out = Vec::new();
            write_decimal(unscaled, scale, false, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), scientific);
            let mut out = Vec::new();
            write_decimal(unscaled, scale, true, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), plain);
        }
    }

    #[test]
    fn short_numbers_agree_with_the_exact_parser() {
        for text in ["0", "-0", "1", "0.1", "123.456", "9007199254740992", "-17.25", "99.99", "0.000000000000001"] {
            let (number, end) = short_double(text.as_bytes(), 0).unwrap();
            assert_eq!((number.to_bits(), end), (text.parse::<f64>().unwrap().to_bits(), text.len()), "{text}");
        }
        for text in ["", "-", "01", "1.", "1e5", ".5", "12345678901234567890", "1.2e3"] {
            assert_eq!(short_double(text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(short_integer(b"-42,", 0), Some((-42, 3)));
        assert_eq!(short_integer(b"4.2", 0), None);
        assert_eq!(short_integer(b"00", 0), None);
    }
}
