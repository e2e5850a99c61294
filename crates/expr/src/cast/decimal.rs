//! DECIMAL: digits without the point in an i128, and Flink's rules for precision and scale.
//!
//! Rounding is HALF_UP (away from zero on a tie) everywhere; what does not fit its precision is NULL, not an error.

use arrow_buffer::i256;
use wiesel_core::TypeKind;

/// The most digits a DECIMAL has.
pub const PRECISION_MAX: u8 = 38;

/// 10 to the power of the index.
pub const POWERS: [i128; 39] = {
    let mut powers = [1_i128; 39];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// 10 to a power; the largest one beyond the table.
pub fn power(exponent: u8) -> i128 {
    POWERS[usize::from(exponent.min(PRECISION_MAX))]
}

/// Precision and scale of a numeric type; integers count with the digits they may have.
pub fn digits(kind: &TypeKind) -> (u8, u8) {
    match kind {
        TypeKind::Decimal { precision, scale } => (*precision, *scale),
        TypeKind::TinyInt => (3, 0),
        TypeKind::SmallInt => (5, 0),
        TypeKind::Int => (10, 0),
        _ => (19, 0),
    }
}

/// A DECIMAL with room for all digits before the point: when more than 38 are needed, digits behind the point go, but not below 6.
pub fn adjusted(precision: u32, scale: u32) -> TypeKind {
    let max = u32::from(PRECISION_MAX);
    if precision <= max {
        return TypeKind::Decimal { precision: precision as u8, scale: scale as u8 };
    }
    let integer_digits = precision - scale;
    let scale = max.saturating_sub(integer_digits).max(scale.min(6));
    TypeKind::Decimal { precision: PRECISION_MAX, scale: scale.min(max) as u8 }
}

/// The value, when it has at most `precision` digits.
#[inline]
pub fn fit(value: i128, precision: u8) -> Option<i128> {
    (value.unsigned_abs() < power(precision).unsigned_abs()).then_some(value)
}

/// Divides and rounds HALF_UP; the divisor is above 0.
#[inline]
pub fn divide_rounding(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value / divisor, value % divisor);
    // rest * 2 could overflow at 38 digits, so compare with what is missing to the divisor.
    if rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs() {
        quotient + value.signum()
    } else {
        quotient
    }
}

/// Changes the scale; `None` when the result has more digits than `precision`.
#[inline]
pub fn rescale(value: i128, from_scale: u8, to_scale: u8, precision: u8) -> Option<i128> {
    if to_scale >= from_scale {
        fit(value.checked_mul(power(to_scale - from_scale))?, precision)
    } else {
        fit(divide_rounding(value, power(from_scale - to_scale)), precision)
    }
}

/// 10 to a power up to 76.
fn wide_power(exponent: u8) -> i256 {
    let half = exponent.min(PRECISION_MAX);
    i256::from_i128(power(half)).wrapping_mul(i256::from_i128(power(exponent - half)))
}

/// Multiplies, then divides by 10 to the power of `drop` (at most 76) with HALF_UP; the product may have 76 digits in between.
pub fn multiply(a: i128, b: i128, drop: u8, precision: u8) -> Option<i128> {
    if drop <= PRECISION_MAX
        && let Some(product) = a.checked_mul(b)
    {
        return fit(divide_rounding(product, power(drop)), precision);
    }
    let product = i256::from_i128(a).wrapping_mul(i256::from_i128(b));
    fit(divide_rounding_wide(product, wide_power(drop))?, precision)
}

/// `a + b` of two scales, at a scale and precision of its own.
pub fn add(a: (i128, u8), b: (i128, u8), scale: u8, precision: u8) -> Option<i128> {
    aligned(a, b, scale, precision, i128::checked_add, i256::checked_add)
}

/// The remainder of `a / b` of two scales, with the sign of `a`; `b` is not 0.
pub fn remainder(a: (i128, u8), b: (i128, u8), scale: u8, precision: u8) -> Option<i128> {
    aligned(a, b, scale, precision, i128::checked_rem, i256::checked_rem)
}

/// Brings both values to the larger scale, where the result is exact, and rounds only then.
fn aligned(
    (a, a_scale): (i128, u8),
    (b, b_scale): (i128, u8),
    scale: u8,
    precision: u8,
    narrow: fn(i128, i128) -> Option<i128>,
    wide: fn(i256, i256) -> Option<i256>,
) -> Option<i128> {
    let exact = a_scale.max(b_scale);
    let (a_factor, b_factor) = (power(exact - a_scale), power(exact - b_scale));
    if let (Some(a), Some(b)) = (a.checked_mul(a_factor), b.checked_mul(b_factor))
        && let Some(result) = narrow(a, b)
    {
        return rescale(result, exact, scale, precision);
    }
    let a = i256::from_i128(a).wrapping_mul(i256::from_i128(a_factor));
    let b = i256::from_i128(b).wrapping_mul(i256::from_i128(b_factor));
    let result = wide(a, b)?;
    let result = if scale >= exact {
        result.checked_mul(wide_power(scale - exact))?.to_i128()?
    } else {
        divide_rounding_wide(result, wide_power(exact - scale))?
    };
    fit(result, precision)
}

/// `a * 10^shift / b` with HALF_UP; `b` is not 0.
pub fn divide(a: i128, b: i128, shift: i32, precision: u8) -> Option<i128> {
    let magnitude = u8::try_from(shift.unsigned_abs()).ok().filter(|m| *m <= PRECISION_MAX * 2)?;
    let (mut numerator, mut denominator) = (i256::from_i128(a), i256::from_i128(b));
    if shift >= 0 {
        if let Some(small) = u8::try_from(shift).ok().filter(|s| *s <= PRECISION_MAX)
            && let Some(numerator) = a.checked_mul(power(small))
            && b != i128::MIN
        {
            let signed = if b < 0 { -numerator } else { numerator };
            return fit(divide_rounding(signed, b.abs()), precision);
        }
        numerator = numerator.checked_mul(wide_power(magnitude))?;
    } else {
        denominator = denominator.checked_mul(wide_power(magnitude))?;
    }
    if denominator.is_negative() {
        numerator = numerator.wrapping_neg();
        denominator = denominator.wrapping_neg();
    }
    fit(divide_rounding_wide(numerator, denominator)?, precision)
}

fn divide_rounding_wide(value: i256, divisor: i256) -> Option<i128> {
    let (quotient, rest) = (value.checked_div(divisor)?, value.checked_rem(divisor)?);
    let rest = rest.wrapping_abs();
    let quotient = quotient.to_i128()?;
    if rest >= divisor.wrapping_sub(rest) {
        return quotient.checked_add(if value.is_negative() { -1 } else { 1 });
    }
    Some(quotient)
}

/// The nearest DOUBLE.
pub fn to_double(value: i128, scale: u8) -> f64 {
    const EXACT_MAX: u128 = 1 << 53;
    if value.unsigned_abs() <= EXACT_MAX && scale <= 22 {
        // Both sides are exact in a double, so one division rounds correctly.
        return value as f64 / 10_f64.powi(scale.into());
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value);
    let mut text = [0_u8; 64];
    let used = digits.len();
    text[..used].copy_from_slice(digits.as_bytes());
    let mut exponent = itoa::Buffer::new();
    let exponent = exponent.format(-i32::from(scale));
    text[used] = b'e';
    text[used + 1..used + 1 + exponent.len()].copy_from_slice(exponent.as_bytes());
    fast_float2::parse(&text[..used + 1 + exponent.len()]).unwrap_or(f64::NAN)
}

/// Writes all digits, `scale` of them behind the point.
pub fn write(out: &mut impl std::fmt::Write, value: i128, scale: u8) -> std::fmt::Result {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs());
    if value < 0 {
        out.write_char('-')?;
    }
    let scale = usize::from(scale);
    if scale == 0 {
        return out.write_str(digits);
    }
    if digits.len() > scale {
        out.write_str(&digits[..digits.len() - scale])?;
    } else {
        out.write_char('0')?;
    }
    out.write_char('.')?;
    for _ in digits.len()..scale {
        out.write_char('0')?;
    }
    out.write_str(&digits[digits.len().saturating_sub(scale)..])
}

/// What text says about a DECIMAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The digits at the wanted scale.
    Value(i128),
    /// A number, but one with too many digits before the point.
    TooLarge,
    /// Not a number.
    Invalid,
}

/// Reads `[+-]digits[.digits][e[+-]digits]` at a scale, HALF_UP.
pub fn parse(text: &str, precision: u8, scale: u8) -> Parsed {
    let bytes = text.as_bytes();
    let (negative, mut rest) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    let mut exponent: i64 = 0;
    if let Some(at) = rest.iter().position(|b| matches!(b, b'e' | b'E')) {
        let Some(parsed) = parse_exponent(&rest[at + 1..]) else {
            return Parsed::Invalid;
        };
        exponent = parsed;
        rest = &rest[..at];
    }
    let (integer, fraction) = match rest.iter().position(|b| *b == b'.') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &rest[..0]),
    };
    if integer.is_empty() && fraction.is_empty() || !integer.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Parsed::Invalid;
    }
    // The digit at index i stands for 10^(integer.len() + exponent - 1 - i); keep those down to 10^-scale, and look at the next one.
    let kept = integer.len() as i64 + exponent + i64::from(scale);
    let mut value: i128 = 0;
    for (index, digit) in (0_i64..).zip(integer.iter().chain(fraction)) {
        if index >= kept {
            if index == kept && *digit >= b'5' {
                value += 1;
            }
            break;
        }
        value = match value.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit - b'0'))) {
            Some(value) => value,
            None => return Parsed::TooLarge,
        };
    }
    let digit_count = (integer.len() + fraction.len()) as i64;
    if value != 0 {
        for _ in digit_count..kept {
            value = match value.checked_mul(10) {
                Some(value) => value,
                None => return Parsed::TooLarge,
            };
        }
    }
    match fit(value, precision) {
        Some(value) => Parsed::Value(if negative { -value } else { value }),
        None => Parsed::TooLarge,
    }
}

fn parse_exponent(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i64, |n, d| n * 10 + i64::from(d - b'0'));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_at_the_scale_and_rounded_half_up() {
        use Parsed::{Invalid, TooLarge, Value};
        let cases = [
            ("1.5", 3, 2, Value(150)),
            ("-1.005", 5, 2, Value(-101)),
            ("1.004", 5, 2, Value(100)),
            ("12e2", 5, 0, Value(1200)),
            ("1234e-3", 5, 2, Value(123)),
            (".5", 3, 1, Value(5)),
            ("5.", 3, 1, Value(50)),
            ("0.9", 1, 0, Value(1)),
            ("999.5", 3, 0, TooLarge),
            ("1e99", 38, 0, TooLarge),
            ("0e999", 38, 0, Value(0)),
            ("1e-99", 38, 2, Value(0)),
            ("", 3, 0, Invalid),
            (".", 3, 0, Invalid),
            ("1x", 3, 0, Invalid),
            ("1e", 3, 0, Invalid),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(parse(text, precision, scale), expected, "{text:?}");
        }
    }

    #[test]
    fn wide_products_and_quotients_keep_their_digits() {
        let big = power(38) - 1;
        assert_eq!(multiply(big, 1, 0, 38), Some(big));
        assert_eq!(multiply(big, 10, 1, 38), Some(big));
        assert_eq!(multiply(big, big, 38, 38), Some(big - 1));
        assert_eq!(multiply(big, big, 39, 38), Some(power(37)));
        assert_eq!(add((power(37), 0), (5, 37), 0, 38), Some(power(37)));
        assert_eq!(add((big, 0), (big, 38), 0, 38), None);
        assert_eq!(remainder((power(37), 0), (3, 37), 6, 38), Some(0));
        assert_eq!(divide(1, 3, 6, 38), Some(333_333));
        assert_eq!(divide(-2, 3, 6, 38), Some(-666_667));
        assert_eq!(divide(big, 10, 1, 38), Some(big));
        assert_eq!(divide(5, 10, 0, 38), Some(1));
        assert_eq!(rescale(-125, 2, 1, 38), Some(-13));
    }

    #[test]
    fn doubles_are_the_nearest() {
        assert_eq!(to_double(1, 1), 0.1);
        assert_eq!(to_double(123_456_789_012_345_678_901_234_567_890, 10), 12_345_678_901_234_567_890.123_456_789_0);
    }
}
