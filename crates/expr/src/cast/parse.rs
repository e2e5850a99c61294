//! Casts out of text. Blanks around numbers do not count; what does not parse is a failed cast, never a guess.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Date32Array, Decimal128Array, PrimitiveArray,
    Time32MillisecondArray,
};
use wiesel_core::{Error, Result, TypeKind};

use crate::cast::{CastContext, decimal};
use crate::time::column::TimestampBuilder;
use crate::time::text::{parse_date, parse_time, parse_timestamp};

/// Casts CHAR or VARCHAR to another type.
pub fn from_strings(array: &ArrayRef, from: &TypeKind, to: &TypeKind, context: &CastContext) -> Result<ArrayRef> {
    let each = Each { array, from, to, context };
    Ok(match to {
        TypeKind::Boolean => {
            let values: BooleanArray = each.collect(parse_boolean)?.into_iter().collect();
            Arc::new(values)
        }
        TypeKind::TinyInt => each.numbers::<Int8Type>(|t| parse_integer(t).and_then(|v| i8::try_from(v).ok()))?,
        TypeKind::SmallInt => each.numbers::<Int16Type>(|t| parse_integer(t).and_then(|v| i16::try_from(v).ok()))?,
        TypeKind::Int => each.numbers::<Int32Type>(|t| parse_integer(t).and_then(|v| i32::try_from(v).ok()))?,
        TypeKind::BigInt => each.numbers::<Int64Type>(parse_integer)?,
        TypeKind::Float => each.numbers::<Float32Type>(parse_float)?,
        TypeKind::Double => each.numbers::<Float64Type>(parse_double)?,
        TypeKind::Decimal { precision, scale } => {
            let parse = |text: &str| match decimal::parse(trim(text), *precision, *scale) {
                decimal::Parsed::Value(value) => Some(value),
                decimal::Parsed::TooLarge | decimal::Parsed::Invalid => None,
            };
            let values: Decimal128Array = each.collect(parse)?.into_iter().collect();
            Arc::new(values.with_data_type(to.to_arrow()))
        }
        TypeKind::Date => Arc::new(Date32Array::from(each.collect(parse_date)?)),
        TypeKind::Time(_) => Arc::new(Time32MillisecondArray::from(each.collect(parse_time)?)),
        TypeKind::Timestamp(p) => each.timestamps(*p, false)?,
        TypeKind::TimestampLtz(p) => each.timestamps(*p, true)?,
        _ => return Err(Error::config(format!("there is no cast from {from} to {to}"))),
    })
}

struct Each<'a> {
    array: &'a ArrayRef,
    from: &'a TypeKind,
    to: &'a TypeKind,
    context: &'a CastContext,
}

impl Each<'_> {
    fn collect<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>> {
        let mut values = Vec::with_capacity(self.array.len());
        for text in self.array.as_string::<i32>() {
            values.push(match text {
                None => None,
                Some(text) => self.parsed(text, parse(text))?,
            });
        }
        Ok(values)
    }

    fn numbers<T: ArrowPrimitiveType>(&self, parse: impl Fn(&str) -> Option<T::Native>) -> Result<ArrayRef> {
        let values: PrimitiveArray<T> = self.collect(parse)?.into_iter().collect();
        Ok(Arc::new(values))
    }

    fn timestamps(&self, precision: u8, is_local: bool) -> Result<ArrayRef> {
        let mut builder = TimestampBuilder::new(precision, self.array.len());
        for text in self.array.as_string::<i32>() {
            let parsed = match text {
                None => None,
                Some(text) => self.parsed(text, parse_timestamp(text))?,
            };
            match parsed {
                None => builder.push_null(),
                Some(at) if is_local => builder.push(self.context.zone.instant_of(at.seconds()), at.nano)?,
                Some(at) => builder.push(at.seconds(), at.nano)?,
            }
        }
        Ok(builder.finish())
    }

    fn parsed<T>(&self, text: &str, value: Option<T>) -> Result<Option<T>> {
        if value.is_none() {
            self.context.failed(text, self.from, self.to)?;
        }
        Ok(value)
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

/// `t`, `true`, `y`, `yes`, `1` and their opposites, in any case.
pub fn parse_boolean(text: &str) -> Option<bool> {
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    if ["t", "true", "y", "yes", "1"].iter().any(is) {
        Some(true)
    } else if ["f", "false", "n", "no", "0"].iter().any(is) {
        Some(false)
    } else {
        None
    }
}

/// Digits with a sign; a fraction of digits is cut off.
pub fn parse_integer(text: &str) -> Option<i64> {
    let text = trim(text).as_bytes();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut digits = digits.iter();
    let mut value: i64 = 0;
    let mut digit_count = 0;
    for digit in digits.by_ref() {
        match digit {
            b'0'..=b'9' => {
                // Negative numbers reach one further, so the value is built below 0.
                value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
                digit_count += 1;
            }
            b'.' => break,
            _ => return None,
        }
    }
    if digit_count == 0 || !digits.all(u8::is_ascii_digit) {
        return None;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// Java's forms of a double: decimal or scientific, `NaN`, `Infinity`, and a trailing `d` or `f`.
pub fn parse_double(text: &str) -> Option<f64> {
    let text = java_float_text(text)?;
    match text {
        "NaN" | "+NaN" | "-NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => fast_float2::parse(text).ok(),
    }
}

/// As [`parse_double`], rounded once to a float.
pub fn parse_float(text: &str) -> Option<f32> {
    let text = java_float_text(text)?;
    match text {
        "NaN" | "+NaN" | "-NaN" => Some(f32::NAN),
        "Infinity" | "+Infinity" => Some(f32::INFINITY),
        "-Infinity" => Some(f32::NEG_INFINITY),
        _ => fast_float2::parse(text).ok(),
    }
}

/// The text without blanks and type letter; `None` for words that Rust takes and Java does not (`inf`, `nan`).
fn java_float_text(text: &str) -> Option<&str> {
    let text = trim(text);
    if matches!(text.trim_start_matches(['+', '-']), "NaN" | "Infinity") {
        return Some(text);
    }
    let number = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let is_number = |b: u8| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    (!number.is_empty() && number.bytes().all(is_number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_trimmed_and_lose_their_fraction() {
        let cases = [
            ("1.234", Some(1)),
            (" -12 ", Some(-12)),
            ("+5", Some(5)),
            ("5.", Some(5)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            (".5", None),
            ("1e3", None),
            ("1.x", None),
            ("", None),
            ("-", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_integer(text), expected, "{text:?}");
        }
    }

    #[test]
    fn doubles_take_javas_forms_only() {
        let cases = [
            ("1.5", Some(1.5)),
            (" 1e3 ", Some(1000.0)),
            ("2.5d", Some(2.5)),
            ("+3", Some(3.0)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("inf", None),
            ("nan", None),
            ("++1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_double(text), expected, "{text:?}");
        }
    }
}
