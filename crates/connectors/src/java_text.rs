//! Values as Java prints them: the forms that Flink's print connector and its Elasticsearch document ids have.
//!
//! They differ from SQL's CAST to STRING: a TIMESTAMP is `2024-01-01T00:00` (seconds only when there are some), a DOUBLE `1.0E10`, an array
//! of bytes `[1, -2]`. Everything appends to a `String` that the caller reuses.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::{Array, types as at};
use arrow_schema::TimeUnit;
use jiff::civil;
use wiesel_core::types::timestamp_unit;
use wiesel_core::{DataType, TypeKind};

/// Appends the value of `array` at `row` in the form that Flink's `Row.toString` gives it.
pub(crate) fn append_value(out: &mut String, array: &dyn Array, kind: &TypeKind, row: usize) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match kind {
        TypeKind::Null => out.push_str("null"),
        TypeKind::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        TypeKind::TinyInt => append_integer(out, array.as_primitive::<at::Int8Type>().value(row).into()),
        TypeKind::SmallInt => append_integer(out, array.as_primitive::<at::Int16Type>().value(row).into()),
        TypeKind::Int => append_integer(out, array.as_primitive::<at::Int32Type>().value(row).into()),
        TypeKind::BigInt => append_integer(out, array.as_primitive::<at::Int64Type>().value(row)),
        TypeKind::Float => append_float(out, array.as_primitive::<at::Float32Type>().value(row)),
        TypeKind::Double => append_double(out, array.as_primitive::<at::Float64Type>().value(row)),
        TypeKind::Decimal { scale, .. } => {
            append_big_decimal(out, array.as_primitive::<at::Decimal128Type>().value(row), *scale);
        }
        TypeKind::Char(_) | TypeKind::VarChar(_) => out.push_str(array.as_string::<i32>().value(row)),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
            append_list(out, array.as_binary::<i32>().value(row), |out, byte| {
                append_integer(out, i64::from(byte.cast_signed()));
            });
        }
        TypeKind::Date => append_date(out, array.as_primitive::<at::Date32Type>().value(row).into()),
        TypeKind::Time(_) => append_time(out, array.as_primitive::<at::Time32MillisecondType>().value(row).into()),
        TypeKind::Timestamp(p) => {
            let (seconds, nanos) = timestamp_parts(array, *p, row);
            append_local_date_time(out, seconds, nanos);
        }
        TypeKind::TimestampLtz(p) => {
            let (seconds, nanos) = timestamp_parts(array, *p, row);
            append_instant(out, seconds, nanos);
        }
        TypeKind::IntervalYearMonth => append_period(out, array.as_primitive::<at::Int32Type>().value(row)),
        TypeKind::IntervalDayTime => append_duration(out, array.as_primitive::<at::Int64Type>().value(row)),
        TypeKind::Array(element) => {
            let items = array.as_list::<i32>().value(row);
            append_list(out, 0..items.len(), |out, i| append_value(out, &items, &element.kind, i));
        }
        TypeKind::Map(key, value) => append_map(out, array, key, &value.kind, row),
        TypeKind::Multiset(element) => append_map(out, array, element, &TypeKind::Int, row),
        TypeKind::Row(fields) => {
            out.push_str("+I");
            let columns = array.as_struct().columns();
            append_list(out, fields.iter().zip(columns), |out, (field, column)| {
                append_value(out, column, &field.data_type.kind, row);
            });
        }
    }
}

fn append_list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut append: impl FnMut(&mut String, T)) {
    out.push('[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        append(out, item);
    }
    out.push(']');
}

fn append_map(out: &mut String, array: &dyn Array, key: &DataType, value: &TypeKind, row: usize) {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    out.push('{');
    for i in 0..entries.len() {
        if i > 0 {
            out.push_str(", ");
        }
        append_value(out, keys, &key.kind, i);
        out.push('=');
        append_value(out, values, value, i);
    }
    out.push('}');
}

/// Appends an integer.
pub(crate) fn append_integer(out: &mut String, value: i64) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// Appends `Double.toString`.
pub(crate) fn append_double(out: &mut String, value: f64) {
    if value.is_finite() {
        append_java_float(out, value == 0.0, value.is_sign_negative(), ryu::Buffer::new().format_finite(value.abs()));
    } else {
        append_not_finite(out, value.is_nan(), value.is_sign_negative());
    }
}

/// Appends `Float.toString`.
pub(crate) fn append_float(out: &mut String, value: f32) {
    if value.is_finite() {
        append_java_float(out, value == 0.0, value.is_sign_negative(), ryu::Buffer::new().format_finite(value.abs()));
    } else {
        append_not_finite(out, value.is_nan(), value.is_sign_negative());
    }
}

fn append_not_finite(out: &mut String, is_nan: bool, is_negative: bool) {
    out.push_str(match (is_nan, is_negative) {
        (true, _) => "NaN",
        (false, true) => "-Infinity",
        (false, false) => "Infinity",
    });
}

/// Java writes 0.001 up to, not including, 10000000 plainly and all else as `d.ddE±n`; the digits are the shortest that read back.
fn append_java_float(out: &mut String, is_zero: bool, is_negative: bool, shortest: &str) {
    if is_negative {
        out.push('-');
    }
    if is_zero {
        out.push_str("0.0");
        return;
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut digits = String::with_capacity(24);
    digits.push_str(whole);
    digits.push_str(fraction);
    let leading_zeros = digits.len() - digits.trim_start_matches('0').len();
    // The value is 0.d1d2d3... * 10^point.
    let point = i32::try_from(whole.len()).unwrap_or(0) - i32::try_from(leading_zeros).unwrap_or(0) + exponent;
    let digits = digits.trim_matches('0');
    let count = i32::try_from(digits.len()).unwrap_or(0);
    if (-2..=7).contains(&point) {
        if point <= 0 {
            out.push_str("0.");
            out.extend((point..0).map(|_| '0'));
            out.push_str(digits);
        } else if count <= point {
            out.push_str(digits);
            out.extend((count..point).map(|_| '0'));
            out.push_str(".0");
        } else {
            let (before, after) = digits.split_at(point.unsigned_abs() as usize);
            out.push_str(before);
            out.push('.');
            out.push_str(after);
        }
    } else {
        let (first, rest) = digits.split_at(1);
        out.push_str(first);
        out.push('.');
        out.push_str(if rest.is_empty() { "0" } else { rest });
        out.push('E');
        append_integer(out, i64::from(point - 1));
    }
}

/// Appends `BigDecimal.toString`: plain unless the exponent is below -6.
pub(crate) fn append_big_decimal(out: &mut String, unscaled: i128, scale: u8) {
    let digits = unscaled.unsigned_abs().to_string();
    let adjusted = digits.len() as i64 - 1 - i64::from(scale);
    if scale == 0 || adjusted >= -6 {
        append_plain_decimal(out, unscaled, scale);
        return;
    }
    if unscaled < 0 {
        out.push('-');
    }
    let (first, rest) = digits.split_at(1);
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out.push('E');
    append_integer(out, adjusted);
}

/// Appends `BigDecimal.toPlainString`.
pub(crate) fn append_plain_decimal(out: &mut String, unscaled: i128, scale: u8) {
    let scale = usize::from(scale);
    if unscaled < 0 {
        out.push('-');
    }
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.push_str(whole);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
}

/// Appends `LocalDate.toString` of days since 1970.
pub(crate) fn append_date(out: &mut String, days: i64) {
    let date = i32::try_from(days).ok().and_then(|days| {
        let span = jiff::Span::new().try_days(days).ok()?;
        civil::date(1970, 1, 1).checked_add(span).ok()
    });
    match date {
        Some(date) => append_formatted(out, format_args!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())),
        None => append_formatted(out, format_args!("day {days} since 1970-01-01")),
    }
}

/// Appends `LocalTime.toString` of milliseconds of the day.
pub(crate) fn append_time(out: &mut String, ms: i64) {
    append_clock(out, ms.div_euclid(1000), u32::try_from(ms.rem_euclid(1000)).unwrap_or(0) * 1_000_000, Seconds::IfAny);
}

/// Appends `LocalDateTime.toString` of seconds since 1970 and nanoseconds.
pub(crate) fn append_local_date_time(out: &mut String, seconds: i64, nanos: u32) {
    append_date(out, seconds.div_euclid(86_400));
    out.push('T');
    append_clock(out, seconds.rem_euclid(86_400), nanos, Seconds::IfAny);
}

/// Appends `Instant.toString`.
pub(crate) fn append_instant(out: &mut String, seconds: i64, nanos: u32) {
    append_date(out, seconds.div_euclid(86_400));
    out.push('T');
    append_clock(out, seconds.rem_euclid(86_400), nanos, Seconds::Always);
    out.push('Z');
}

/// Whether a time of day without seconds is written with them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seconds {
    IfAny,
    Always,
}

fn append_clock(out: &mut String, second_of_day: i64, nanos: u32, seconds: Seconds) {
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    append_formatted(out, format_args!("{hour:02}:{minute:02}"));
    if second != 0 || nanos != 0 || seconds == Seconds::Always {
        append_formatted(out, format_args!(":{second:02}"));
    }
    // Java writes fractions in groups of three digits.
    match nanos {
        0 => {}
        n if n % 1_000_000 == 0 => append_formatted(out, format_args!(".{:03}", n / 1_000_000)),
        n if n % 1000 == 0 => append_formatted(out, format_args!(".{:06}", n / 1000)),
        n => append_formatted(out, format_args!(".{n:09}")),
    }
}

/// The seconds since 1970 and the nanoseconds of a TIMESTAMP(p) at a row.
pub(crate) fn timestamp_parts(array: &dyn Array, precision: u8, row: usize) -> (i64, u32) {
    let (value, per_second) = match timestamp_unit(precision) {
        TimeUnit::Microsecond => (array.as_primitive::<at::TimestampMicrosecondType>().value(row), 1_000_000),
        TimeUnit::Nanosecond => (array.as_primitive::<at::TimestampNanosecondType>().value(row), 1_000_000_000),
        _ => (array.as_primitive::<at::TimestampMillisecondType>().value(row), 1000),
    };
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    (value.div_euclid(per_second), u32::try_from(nanos).unwrap_or(0))
}

/// Appends `Period.toString` of years and months.
fn append_period(out: &mut String, months: i32) {
    let (years, months) = (months / 12, months % 12);
    out.push('P');
    if years != 0 {
        append_formatted(out, format_args!("{years}Y"));
    }
    if months != 0 {
        append_formatted(out, format_args!("{months}M"));
    }
    if years == 0 && months == 0 {
        out.push_str("0D");
    }
}

/// Appends `Duration.toString`.
pub(crate) fn append_duration(out: &mut String, ms: i64) {
    if ms == 0 {
        out.push_str("PT0S");
        return;
    }
    let (hours, minutes, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    out.push_str("PT");
    if hours != 0 {
        append_formatted(out, format_args!("{hours}H"));
    }
    if minutes != 0 {
        append_formatted(out, format_args!("{minutes}M"));
    }
    if rest != 0 {
        if rest < 0 {
            out.push('-');
        }
        append_formatted(out, format_args!("{}", rest.abs() / 1000));
        if rest % 1000 != 0 {
            let fraction = format!(".{:03}", rest.abs() % 1000);
            out.push_str(fraction.trim_end_matches('0'));
        }
        out.push('S');
    }
}

fn append_formatted(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use wiesel_core::{Field, Value};

    use super::*;

    fn text(kind: &TypeKind, value: &Value) -> String {
        let array = value.to_array(&DataType::new(kind.clone()), 1);
        let mut out = String::new();
        append_value(&mut out, &array, kind, 0);
        out
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        let cases: &[(f64, &str)] = &[
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (100.0, "100.0"),
            (123_456.789, "123456.789"),
            (0.001, "0.001"),
            (0.000_999, "9.99E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (1e100, "1.0E100"),
            (1.5e-10, "1.5E-10"),
            (0.1, "0.1"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::MAX, "1.7976931348623157E308"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(&TypeKind::Double, &Value::Double(*value)), *expected);
        }
        assert_eq!(text(&TypeKind::Float, &Value::Float(0.1)), "0.1");
        assert_eq!(text(&TypeKind::Float, &Value::Float(1e10)), "1.0E10");
    }

    #[test]
    fn decimals_are_plain_until_the_exponent_falls_below_minus_six() {
        let cases: &[(i128, u8, &str)] = &[
            (12345, 2, "123.45"),
            (-5, 2, "-0.05"),
            (0, 3, "0.000"),
            (7, 0, "7"),
            (1, 6, "0.000001"),
            (1, 7, "1E-7"),
            (-123, 10, "-1.23E-8"),
        ];
        for (unscaled, scale, expected) in cases {
            let kind = TypeKind::Decimal { precision: 20, scale: *scale };
            assert_eq!(text(&kind, &Value::Decimal(*unscaled)), *expected);
        }
    }

    #[test]
    fn times_leave_out_what_is_zero() {
        let cases: &[(TypeKind, Value, &str)] = &[
            (TypeKind::Date, Value::Date(19_723), "2024-01-01"),
            (TypeKind::Date, Value::Date(-1), "1969-12-31"),
            (TypeKind::Time(3), Value::Time(36_900_000), "10:15"),
            (TypeKind::Time(3), Value::Time(36_901_020), "10:15:01.020"),
            (TypeKind::Timestamp(3), Value::Timestamp(1_704_067_200_000), "2024-01-01T00:00"),
            (TypeKind::Timestamp(3), Value::Timestamp(1_704_067_201_000), "2024-01-01T00:00:01"),
            (TypeKind::Timestamp(3), Value::Timestamp(1_704_067_200_120), "2024-01-01T00:00:00.120"),
            (TypeKind::Timestamp(6), Value::Timestamp(1_704_067_200_000_120), "2024-01-01T00:00:00.000120"),
            (TypeKind::Timestamp(9), Value::Timestamp(-1), "1969-12-31T23:59:59.999999999"),
            (TypeKind::TimestampLtz(3), Value::Timestamp(1_704_067_200_000), "2024-01-01T00:00:00Z"),
            (TypeKind::IntervalYearMonth, Value::Months(14), "P1Y2M"),
            (TypeKind::IntervalYearMonth, Value::Months(0), "P0D"),
            (TypeKind::IntervalDayTime, Value::Millis(90_061_500), "PT25H1M1.5S"),
            (TypeKind::IntervalDayTime, Value::Millis(-500), "PT-0.5S"),
        ];
        for (kind, value, expected) in cases {
            assert_eq!(text(kind, value), *expected);
        }
    }

    #[test]
    fn nested_values_have_brackets_of_their_own() {
        let pair = TypeKind::Row(vec![Field::new("a", DataType::int()), Field::new("b", DataType::string())]);
        let map = TypeKind::Map(Box::new(DataType::string()), Box::new(DataType::int()));
        let cases: &[(TypeKind, Value, &str)] = &[
            (TypeKind::VarBinary(10), Value::Bytes(vec![1, 2, 255]), "[1, 2, -1]"),
            (TypeKind::Array(Box::new(DataType::int())), Value::Array(vec![Value::Int(1), Value::Null]), "[1, null]"),
            (map, Value::Map(vec![(Value::String("k".into()), Value::Int(1))]), "{k=1}"),
            (pair, Value::Row(vec![Value::Int(1), Value::String("x".into())]), "+I[1, x]"),
            (TypeKind::Boolean, Value::Null, "null"),
        ];
        for (kind, value, expected) in cases {
            assert_eq!(text(kind, value), *expected);
        }
    }
}
