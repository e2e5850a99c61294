//! Between times and numbers: FROM_UNIXTIME, UNIX_TIMESTAMP, TO_TIMESTAMP_LTZ.

use std::sync::Arc;

use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{ArrayRef, Int64Array};
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict, takes};
use crate::function::define::{Compiling, Plain};
use crate::function::{Argument, FunctionError, Operand, PreparedCall, ScalarFunction, Signature};
use crate::operand::{PerText, TextBuilder};
use crate::time::civil::DateTime;
use crate::time::column::TimestampBuilder;
use crate::time::pattern::{Dialect, Offset, Pattern};
use crate::time::zone::Zone;

/// The pattern of FROM_UNIXTIME and UNIX_TIMESTAMP when none is given.
const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

pub(crate) static FROM_UNIXTIME: Compiling = Compiling::new(
    "FROM_UNIXTIME",
    "FROM_UNIXTIME(seconds [, pattern]): the wall clock of the session's zone at that instant, yyyy-MM-dd HH:mm:ss by default",
    |args| {
        let types = accept(args, &[Param::BigInt, Param::Text], 1, "FROM_UNIXTIME takes (BIGINT [, pattern STRING])")?;
        Ok(strict(types, DataType::string().kind))
    },
    || Box::<FromUnixtime>::default(),
);

#[derive(Debug, Default)]
struct FromUnixtime {
    pattern: PerText<Pattern>,
}

impl PreparedCall for FromUnixtime {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        let zone = Zone::new(&context.session.time_zone)?;
        let instants = args[0].numbers::<Int64Type>();
        let patterns = args.get(1).map(Operand::strings);
        let mut out = TextBuilder::new(rows, rows * 20);
        for row in 0..rows {
            let pattern = patterns.map_or(Some(DEFAULT_PATTERN), |p| p.get(row));
            let (Some(instant), Some(pattern)) = (instants.get(row), pattern) else {
                out.null();
                continue;
            };
            if instant.unsigned_abs() > SECONDS_MAX {
                return Err(Error::data(format!("FROM_UNIXTIME cannot show the instant {instant} s")));
            }
            let pattern = self.pattern.get(pattern, |p| Pattern::new(p, Dialect::Simple))?;
            let seconds = zone.offset_at(instant);
            let name = if pattern.needs_zone() { zone.abbreviation_at(instant) } else { String::new() };
            let at = DateTime::from_seconds(instant + seconds, 0);
            pattern
                .write(&mut out, at, Some(Offset { seconds, name: &name }))
                .map_err(|_| Error::internal("a time could not be written"))?;
            out.end();
        }
        out.finish()
    }
}

/// About 30 million years to each side: more has no calendar date that anyone means, and less arithmetic room.
const SECONDS_MAX: u64 = 1_000_000_000_000_000;

/// UNIX_TIMESTAMP.
#[derive(Debug)]
pub(crate) struct UnixTimestamp;

impl ScalarFunction for UnixTimestamp {
    fn name(&self) -> &'static str {
        "UNIX_TIMESTAMP"
    }
    fn doc(&self) -> &'static str {
        "UNIX_TIMESTAMP([string [, pattern]]): seconds since 1970 of now, or of a wall clock of the session's zone"
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        let types = accept(args, &[Param::Text; 2], 0, "UNIX_TIMESTAMP takes ([STRING [, pattern STRING]])")?;
        Ok(strict(types, TypeKind::BigInt))
    }
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        ReadUnixTimestamp::default().eval(args, call, rows, context)
    }
    fn is_deterministic(&self) -> bool {
        // Without arguments it reads the clock.
        false
    }
    fn prepare(&self) -> Option<Box<dyn PreparedCall>> {
        Some(Box::<ReadUnixTimestamp>::default())
    }
}

#[derive(Debug, Default)]
struct ReadUnixTimestamp {
    pattern: PerText<Pattern>,
}

impl PreparedCall for ReadUnixTimestamp {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        let Some(texts) = args.first().map(Operand::strings) else {
            return Ok(Arc::new(Int64Array::from(vec![context.now_ms.div_euclid(1000); rows])));
        };
        let zone = Zone::new(&context.session.time_zone)?;
        let patterns = args.get(1).map(Operand::strings);
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            let pattern = patterns.map_or(Some(DEFAULT_PATTERN), |p| p.get(row));
            let (Some(text), Some(pattern)) = (texts.get(row), pattern) else {
                out.push(None);
                continue;
            };
            let pattern = self.pattern.get(pattern, |p| Pattern::reading(p, Dialect::Simple))?;
            out.push(Some(match pattern.parse_instant(text) {
                Some((wall, _, Some(offset))) => wall - offset,
                Some((wall, _, None)) => zone.instant_of(wall),
                // Flink's answer to text that is no time.
                None => i64::MIN,
            }));
        }
        Ok(Arc::new(Int64Array::from(out)))
    }
}

pub(crate) static TO_TIMESTAMP_LTZ: Plain = Plain::new(
    "TO_TIMESTAMP_LTZ",
    "TO_TIMESTAMP_LTZ(number [, precision]): the instant of that many seconds (precision 0) or milliseconds (3, the default) since 1970",
    |args| {
        let usage = "TO_TIMESTAMP_LTZ takes (number [, 0 for seconds or 3 for milliseconds])";
        let mut types = accept(args, &[Param::Number, Param::Int], 1, usage)?;
        types[0].kind = match &types[0].kind {
            TypeKind::Float | TypeKind::Double => TypeKind::Double,
            // A DECIMAL loses its fraction, before it is multiplied.
            _ => TypeKind::BigInt,
        };
        if let Some(wiesel_core::Value::Int(precision)) = args.get(1).and_then(|a| a.literal)
            && !matches!(precision, 0 | 3)
        {
            return Err(takes(usage));
        }
        Ok(nullable(types, TypeKind::TimestampLtz(3)))
    },
    |args, call, rows, _| {
        let precisions = args.get(1).map(Operand::numbers::<Int32Type>);
        let integers = (call.args[0].kind == TypeKind::BigInt).then(|| args[0].numbers::<Int64Type>());
        let doubles = (call.args[0].kind == TypeKind::Double).then(|| args[0].numbers::<Float64Type>());
        let mut out = TimestampBuilder::new(3, rows);
        for row in 0..rows {
            let factor = match precisions.map_or(Some(3), |p| p.get(row)) {
                None => {
                    out.push_null();
                    continue;
                }
                Some(0) => 1000,
                Some(3) => 1,
                Some(other) => {
                    return Err(Error::data(format!("TO_TIMESTAMP_LTZ takes precision 0 or 3, and not {other}")));
                }
            };
            let millis = match (integers, doubles) {
                (Some(integers), _) => integers.get(row).and_then(|v| v.checked_mul(factor)),
                (_, Some(doubles)) => doubles.get(row).map(|v| (v * factor as f64) as i64),
                _ => None,
            };
            let millis = millis.filter(|ms| (MILLIS_MIN..=MILLIS_MAX).contains(ms));
            out.push_option(millis.map(|ms| (ms.div_euclid(1000), ms.rem_euclid(1000) as u32 * 1_000_000)))?;
        }
        Ok(out.finish())
    },
);

/// 0000-01-01 00:00:00.000 and 9999-12-31 23:59:59.999 in UTC: instants outside give NULL.
const MILLIS_MIN: i64 = -62_167_219_200_000;
const MILLIS_MAX: i64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, d, i, l, null, null_s, s};
    use wiesel_core::TypeKind;

    #[test]
    fn numbers_and_times_convert() {
        check(&[
            ("FROM_UNIXTIME", vec![l(1_709_647_629)], "2024-03-05 14:07:09"),
            ("FROM_UNIXTIME", vec![i(0), s("yyyy/MM/dd XXX")], "1970/01/01 Z"),
            ("FROM_UNIXTIME", vec![null(TypeKind::BigInt)], "NULL"),
            ("UNIX_TIMESTAMP", vec![], "1709294400"),
            ("UNIX_TIMESTAMP", vec![s("2024-03-05 14:07:09")], "1709647629"),
            ("UNIX_TIMESTAMP", vec![s("1970-01-01 01:00 +0100"), s("yyyy-MM-dd HH:mm X")], "0"),
            ("UNIX_TIMESTAMP", vec![s("x")], "-9223372036854775808"),
            ("UNIX_TIMESTAMP", vec![null_s()], "NULL"),
            ("TO_TIMESTAMP_LTZ", vec![l(1_709_647_629_123), i(3)], "2024-03-05 14:07:09.123"),
            ("TO_TIMESTAMP_LTZ", vec![l(1_709_647_629), i(0)], "2024-03-05 14:07:09.000"),
            ("TO_TIMESTAMP_LTZ", vec![l(1_709_647_629_123)], "2024-03-05 14:07:09.123"),
            ("TO_TIMESTAMP_LTZ", vec![d(1.5), i(0)], "1970-01-01 00:00:01.500"),
            ("TO_TIMESTAMP_LTZ", vec![l(i64::MAX), i(0)], "NULL"),
            (
                "TO_TIMESTAMP_LTZ",
                vec![l(1), i(6)],
                "bind: TO_TIMESTAMP_LTZ takes (number [, 0 for seconds or 3 for milliseconds])",
            ),
        ]);
    }
}
