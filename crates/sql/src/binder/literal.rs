//! Literals: numbers get Flink's types, intervals become months or milliseconds, times are left to CAST.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::types::MAX_LENGTH;
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::ScalarExpr;

use crate::parser::ast::{IntervalLiteral, Literal, TimeUnit};

/// A literal as a typed expression.
pub fn bind_literal(literal: &Literal, span: Span) -> Result<ScalarExpr, Diagnostic> {
    Ok(match literal {
        Literal::Number(text) => number(text, span)?,
        Literal::String(text) => string(text),
        Literal::Binary(bytes) => {
            let length = u32::try_from(bytes.len()).unwrap_or(MAX_LENGTH).max(1);
            constant(Value::Bytes(bytes.clone()), TypeKind::Binary(length))
        }
        Literal::Date(text) => cast_of(text, TypeKind::Date),
        Literal::Time(text) => cast_of(text, TypeKind::Time(0)),
        Literal::Timestamp(text) => cast_of(text, TypeKind::Timestamp(fraction_digits(text))),
        Literal::Interval(interval) => bind_interval(interval)?,
        Literal::Boolean(value) => constant(Value::Boolean(*value), TypeKind::Boolean),
        Literal::Unknown => ScalarExpr::Literal { value: Value::Null, data_type: DataType::boolean() },
        Literal::Null => ScalarExpr::Literal { value: Value::Null, data_type: DataType::new(TypeKind::Null) },
    })
}

/// A text constant; its type is CHAR of its length, as in Flink.
pub fn string(text: &str) -> ScalarExpr {
    let length = u32::try_from(text.chars().count()).unwrap_or(MAX_LENGTH);
    constant(Value::String(text.to_owned()), TypeKind::Char(length))
}

/// An INT constant.
pub fn integer(value: i64) -> ScalarExpr {
    let kind = if i32::try_from(value).is_ok() { TypeKind::Int } else { TypeKind::BigInt };
    constant(Value::Int(value), kind)
}

fn constant(value: Value, kind: TypeKind) -> ScalarExpr {
    ScalarExpr::Literal { value, data_type: DataType::not_null(kind) }
}

fn cast_of(text: &str, kind: TypeKind) -> ScalarExpr {
    ScalarExpr::Cast { input: Box::new(string(text)), data_type: DataType::not_null(kind), is_try: false }
}

fn fraction_digits(text: &str) -> u8 {
    let digits = text.rsplit_once('.').map_or(0, |(_, f)| f.chars().take_while(char::is_ascii_digit).count());
    u8::try_from(digits.min(9)).unwrap_or(9)
}

fn number(text: &str, span: Span) -> Result<ScalarExpr, Diagnostic> {
    let out_of_range = || Diagnostic::error("W0107", format!("number {text} is out of range")).at(span);
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| out_of_range())?;
        if value.is_infinite() {
            return Err(out_of_range().label("expected a number that a DOUBLE holds"));
        }
        return Ok(constant(Value::Double(value), TypeKind::Double));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.is_empty()
        && !text.contains('.')
        && let Ok(value) = whole.parse::<i64>()
    {
        return Ok(integer(value));
    }
    if !text.contains('.') {
        return Err(
            out_of_range().label("expected a whole number that a BIGINT holds; write a point behind it for a DECIMAL")
        );
    }
    let digits = format!("{}{fraction}", whole.trim_start_matches('0'));
    let scale = fraction.len();
    let precision = digits.len().max(scale).max(1);
    if precision > 38 {
        return Err(out_of_range().label("expected at most 38 digits"));
    }
    let value: i128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| out_of_range())? };
    let kind = TypeKind::Decimal {
        precision: u8::try_from(precision).unwrap_or(38),
        scale: u8::try_from(scale).unwrap_or(38),
    };
    Ok(constant(Value::Decimal(value), kind))
}

fn bind_interval(interval: &IntervalLiteral) -> Result<ScalarExpr, Diagnostic> {
    let malformed = |expected: &str| {
        Diagnostic::error("W0106", format!("malformed interval '{}'", interval.value))
            .at(interval.value_span)
            .label(format!("expected {expected}"))
    };
    let text = interval.value.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (!interval.negative, rest),
        None => (interval.negative, text.strip_prefix('+').unwrap_or(text)),
    };
    let sign = if negative { -1 } else { 1 };
    let leading = interval.qualifier.leading;
    let trailing = interval.qualifier.trailing.unwrap_or(leading);
    let whole = |text: &str, expected: &str| text.trim().parse::<i64>().map_err(|_| malformed(expected));
    if matches!(leading, TimeUnit::Year | TimeUnit::Quarter | TimeUnit::Month) {
        let months = match (leading, trailing) {
            (TimeUnit::Year, TimeUnit::Month) => {
                let (years, months) = text.split_once('-').ok_or_else(|| malformed("`years-months`"))?;
                whole(years, "`years-months`")? * 12 + whole(months, "`years-months`")?
            }
            (TimeUnit::Year, _) => whole(text, "a number of years")?.saturating_mul(12),
            (TimeUnit::Quarter, _) => whole(text, "a number of quarters")?.saturating_mul(3),
            _ => whole(text, "a number of months")?,
        };
        let months = i32::try_from(sign * months).map_err(|_| malformed("fewer months"))?;
        return Ok(constant(Value::Months(months), TypeKind::IntervalYearMonth));
    }
    let ms = day_time_ms(text, leading, trailing).ok_or_else(|| malformed(&day_time_form(leading, trailing)))?;
    Ok(constant(Value::Millis(sign * ms), TypeKind::IntervalDayTime))
}

/// Milliseconds of `d hh:mm:ss.fff`, of which the parts from `leading` to `trailing` are there.
fn day_time_ms(text: &str, leading: TimeUnit, trailing: TimeUnit) -> Option<i64> {
    const UNITS: [(TimeUnit, i64); 4] = [
        (TimeUnit::Day, 86_400_000),
        (TimeUnit::Hour, 3_600_000),
        (TimeUnit::Minute, 60_000),
        (TimeUnit::Second, 1_000),
    ];
    if leading == TimeUnit::Week && trailing == leading {
        return text.parse::<i64>().ok()?.checked_mul(7 * 86_400_000);
    }
    let first = UNITS.iter().position(|(u, _)| *u == leading)?;
    let last = UNITS.iter().position(|(u, _)| *u == trailing)?;
    let mut rest = text;
    let mut total: i64 = 0;
    for (position, (unit, ms)) in UNITS.iter().enumerate().take(last + 1).skip(first) {
        let part;
        if position == last {
            part = rest;
            rest = "";
        } else {
            let separator = if *unit == TimeUnit::Day { ' ' } else { ':' };
            let (head, tail) = rest.split_once(separator)?;
            (part, rest) = (head, tail.trim_start());
        }
        let value = if *unit == TimeUnit::Second {
            seconds_ms(part)?
        } else {
            part.trim().parse::<i64>().ok()?.checked_mul(*ms)?
        };
        total = total.checked_add(value)?;
    }
    rest.is_empty().then_some(total)
}

fn seconds_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let mut ms = 0;
    for (index, scale) in [100, 10, 1].iter().enumerate() {
        if let Some(digit) = fraction.as_bytes().get(index) {
            ms += i64::from(digit.is_ascii_digit().then(|| digit - b'0')?) * scale;
        }
    }
    whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(ms)
}

fn day_time_form(leading: TimeUnit, trailing: TimeUnit) -> String {
    if leading == trailing {
        return format!("a number of {leading:?}s").to_lowercase();
    }
    "the form `days hours:minutes:seconds`, from the first unit to the last".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_days_and_seconds_become_milliseconds() {
        let cases = [
            ("10", TimeUnit::Second, TimeUnit::Second, Some(10_000)),
            ("1.5", TimeUnit::Second, TimeUnit::Second, Some(1_500)),
            ("1 10", TimeUnit::Day, TimeUnit::Hour, Some(122_400_000)),
            ("1 10:17:36.789", TimeUnit::Day, TimeUnit::Second, Some(123_456_789)),
            ("10:30", TimeUnit::Hour, TimeUnit::Minute, Some(37_800_000)),
            ("2", TimeUnit::Week, TimeUnit::Week, Some(1_209_600_000)),
            ("x", TimeUnit::Day, TimeUnit::Day, None),
            ("1", TimeUnit::Day, TimeUnit::Hour, None),
        ];
        for (text, leading, trailing, expected) in cases {
            assert_eq!(day_time_ms(text, leading, trailing), expected, "{text}");
        }
    }

    #[test]
    fn numbers_get_the_smallest_type_flink_gives_them() {
        let cases = [
            ("1", "INT NOT NULL"),
            ("3000000000", "BIGINT NOT NULL"),
            ("1.50", "DECIMAL(3, 2) NOT NULL"),
            ("0.001", "DECIMAL(3, 3) NOT NULL"),
            ("1e3", "DOUBLE NOT NULL"),
            ("99999999999999999999.", "DECIMAL(20, 0) NOT NULL"),
        ];
        for (text, expected) in cases {
            let bound = number(text, Span::default()).unwrap();
            assert_eq!(bound.data_type().to_string(), expected, "{text}");
        }
    }
}
