//! The WITH keys of the kinds that Flink's datagen does not have: choices, event times, texts.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    StringArray,
};
use wiesel_core::options::Options;
use wiesel_core::{Error, Result, TypeKind};

use super::generator::Generate;
use super::options::{integer_range, read_share};
use super::realistic::{Choice, EventTime, Pick, TEXT_KINDS, Text};

/// The most values that a choice may have.
const VALUES_MAX: usize = 10_000;
/// A larger exponent gives every row to the first value.
const SKEW_MAX: f64 = 20.0;
/// The distance of event times unless set.
const STEP_DEFAULT: Duration = Duration::from_secs(1);

/// Reads the options of the kind called `name`.
pub(super) fn read(options: &mut Options<'_>, prefix: &str, kind: &TypeKind, name: &str) -> Result<Generate> {
    match name {
        "choice" => read_choice(options, prefix, kind),
        "event-time" => read_event_time(options, prefix, kind),
        _ => read_text(options, prefix, kind, name),
    }
}

/// The exponent of a power law; 0 unless set.
pub(super) fn read_skew(options: &mut Options<'_>, prefix: &str) -> Result<f64> {
    let key = format!("{prefix}.skew");
    let Some(text) = options.get(&key) else { return Ok(0.0) };
    match text.trim().parse::<f64>() {
        Ok(skew) if (0.0..=SKEW_MAX).contains(&skew) => Ok(skew),
        _ => Err(options.invalid(&key, text, &format!("a number between 0 and {SKEW_MAX}, such as 1.1"))),
    }
}

fn wrong_type(options: &Options<'_>, prefix: &str, name: &str, kind: &TypeKind, types: &str) -> Error {
    options.invalid(&format!("{prefix}.kind"), name, &format!("a kind that {kind} can hold; this one is for {types}"))
}

fn read_text(options: &mut Options<'_>, prefix: &str, kind: &TypeKind, name: &str) -> Result<Generate> {
    let text = match TEXT_KINDS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => text.clone(),
        None => {
            let key = format!("{prefix}.pattern");
            let pattern = options.required(&key)?;
            if pattern.is_empty() {
                return Err(options.invalid(&key, pattern, "a text in which `#` is a digit and `?` a letter"));
            }
            Text::Pattern(pattern.as_bytes().to_vec())
        }
    };
    let length = match &text {
        Text::Pattern(pattern) => String::from_utf8_lossy(pattern).chars().count(),
        other => other.length_max(),
    };
    let fits = match kind {
        TypeKind::VarChar(longest) => length <= *longest as usize,
        TypeKind::Char(exact) => matches!(text, Text::Pattern(_)) && length == *exact as usize,
        _ => return Err(wrong_type(options, prefix, name, kind, "STRING")),
    };
    if !fits {
        return Err(wrong_type(options, prefix, name, kind, &format!("STRING, or VARCHAR({length})")));
    }
    let key = format!("{prefix}.distinct");
    let distinct = match options.integer(&key)? {
        None => 0,
        Some(number) => u64::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| options.invalid(&key, &number.to_string(), "a number above 0"))?,
    };
    let skew = read_skew(options, prefix)?;
    if skew > 0.0 && distinct == 0 {
        return Err(Error::config(format!(
            "option '{prefix}.skew' needs '{key}': how many different values there are"
        )));
    }
    Ok(Generate::Words { text, pick: Pick { distinct, skew } })
}

fn read_event_time(options: &mut Options<'_>, prefix: &str, kind: &TypeKind) -> Result<Generate> {
    if !matches!(kind, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)) {
        return Err(wrong_type(options, prefix, "event-time", kind, "TIMESTAMP and TIMESTAMP_LTZ"));
    }
    let key = format!("{prefix}.start");
    let text = options.required(&key)?;
    let start = text
        .trim()
        .parse::<jiff::civil::DateTime>()
        .ok()
        .and_then(|start| start.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .ok_or_else(|| options.invalid(&key, text, "a time such as 2024-01-01 00:00:00, in UTC"))?;
    let step = options.duration(&format!("{prefix}.step"))?.unwrap_or(STEP_DEFAULT);
    let late_key = format!("{prefix}.late");
    let late = read_share(options, &late_key)?;
    let late_by = options.duration(&format!("{prefix}.late-by"))?;
    if (late > 0.0) != late_by.is_some() {
        return Err(Error::config(format!(
            "options '{late_key}' and '{late_key}-by' go together: the share of late rows and how late they are at most"
        )));
    }
    Ok(Generate::EventTime(EventTime {
        start_us: start.timestamp().as_microsecond(),
        step_us: i64::try_from(step.as_micros()).unwrap_or(i64::MAX),
        late,
        late_us_max: late_by.map_or(0, |by| u64::try_from(by.as_micros()).unwrap_or(u64::MAX)),
    }))
}

fn read_choice(options: &mut Options<'_>, prefix: &str, kind: &TypeKind) -> Result<Generate> {
    let key = format!("{prefix}.values");
    let text = options.required(&key)?;
    let texts: Vec<&str> = text.split(';').map(str::trim).collect();
    if texts.len() > VALUES_MAX {
        return Err(options.invalid(&key, &format!("{} values", texts.len()), &format!("at most {VALUES_MAX}")));
    }
    let values = match typed_values(kind, &texts) {
        Ok(values) => values,
        Err(Some(wrong)) => {
            return Err(options.invalid(&key, wrong, &format!("values that fit {kind}, separated by `;`")));
        }
        Err(None) => return Err(wrong_type(options, prefix, "choice", kind, "texts, numbers and BOOLEAN")),
    };
    let skew = read_skew(options, prefix)?;
    let weights_key = format!("{prefix}.weights");
    let weights: Vec<f64> = match options.get(&weights_key) {
        None => (1..=texts.len()).map(|place| (place as f64).powf(-skew)).collect(),
        Some(_) if skew > 0.0 => {
            return Err(Error::config(format!(
                "options '{weights_key}' and '{prefix}.skew' both say how often a value comes: leave one away"
            )));
        }
        Some(text) => {
            let weights = text.split(';').map(|weight| weight.trim().parse::<f64>().ok());
            let weights: Option<Vec<f64>> = weights.map(|w| w.filter(|w| w.is_finite() && *w >= 0.0)).collect();
            let expected = format!("{} numbers, one for each value, separated by `;`", texts.len());
            weights
                .filter(|weights| weights.len() == texts.len() && weights.iter().sum::<f64>() > 0.0)
                .ok_or_else(|| options.invalid(&weights_key, text, &expected))?
        }
    };
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let ends = weights
        .iter()
        .map(|weight| {
            sum += weight;
            sum / total
        })
        .collect();
    Ok(Generate::Choice(Choice { values, ends }))
}

/// The values in the column's type; `Err(Some)` is a value that does not fit, `Err(None)` a type that cannot be chosen from.
fn typed_values<'a>(kind: &TypeKind, texts: &[&'a str]) -> std::result::Result<ArrayRef, Option<&'a str>> {
    /// Each text as a number of some type, within its bounds.
    fn numbers<'a, T>(
        texts: &[&'a str],
        of: impl Fn(&str) -> Option<T>,
    ) -> std::result::Result<Vec<T>, Option<&'a str>> {
        texts.iter().map(|text| of(text).ok_or(Some(*text))).collect()
    }
    let (min, max) = integer_range(kind);
    let integer = |text: &str| text.parse::<i64>().ok().filter(|n| (min..=max).contains(n));
    Ok(match kind {
        TypeKind::Boolean => {
            Arc::new(BooleanArray::from(numbers(texts, |t| t.to_ascii_lowercase().parse::<bool>().ok())?))
        }
        TypeKind::TinyInt => Arc::new(Int8Array::from(numbers(texts, |t| integer(t).map(|n| n as i8))?)),
        TypeKind::SmallInt => Arc::new(Int16Array::from(numbers(texts, |t| integer(t).map(|n| n as i16))?)),
        TypeKind::Int => Arc::new(Int32Array::from(numbers(texts, |t| integer(t).map(|n| n as i32))?)),
        TypeKind::BigInt => Arc::new(Int64Array::from(numbers(texts, integer)?)),
        TypeKind::Float => Arc::new(Float32Array::from(numbers(texts, |t| t.parse::<f32>().ok())?)),
        TypeKind::Double => Arc::new(Float64Array::from(numbers(texts, |t| t.parse::<f64>().ok())?)),
        TypeKind::Decimal { precision, scale } => {
            let (unit, largest) = (10_f64.powi(i32::from(*scale)), 10_f64.powi(i32::from(*precision)));
            let digits = |text: &str| {
                let digits = (text.parse::<f64>().ok()? * unit).round();
                (digits.abs() < largest).then_some(digits as i128)
            };
            Arc::new(Decimal128Array::from(numbers(texts, digits)?).with_data_type(kind.to_arrow()))
        }
        TypeKind::Char(length) | TypeKind::VarChar(length) => {
            let is_exact = matches!(kind, TypeKind::Char(_));
            let fits = |text: &str| {
                let count = text.chars().count();
                (count == *length as usize || !is_exact && count < *length as usize).then(|| text.to_owned())
            };
            Arc::new(StringArray::from(numbers(texts, fits)?))
        }
        _ => return Err(None),
    })
}
