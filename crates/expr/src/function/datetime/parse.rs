//! TO_TIMESTAMP, TO_DATE, CONVERT_TZ: text to times. What cannot be read is NULL.
//!
//! With a pattern, TO_TIMESTAMP falls back on SQL's own form (`2024-3-5 10:11:12`, `2024-3-5`) before it gives up, as Flink does.

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array};
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable};
use crate::function::define::Compiling;
use crate::function::{Operand, PreparedCall, Signature};
use crate::operand::{PerText, TextBuilder};
use crate::time::civil::{DAY_S, DateTime};
use crate::time::column::TimestampBuilder;
use crate::time::pattern::{Dialect, Pattern};
use crate::time::text::{parse_date, parse_timestamp, write_timestamp};
use crate::time::zone::Zone;

pub(crate) static TO_TIMESTAMP: Compiling = Compiling::new(
    "TO_TIMESTAMP",
    "TO_TIMESTAMP(string [, pattern]): the TIMESTAMP(3) that the text stands for; NULL when it does not fit",
    |args| {
        let types = accept(args, &[Param::Text; 2], 1, "TO_TIMESTAMP takes (STRING [, pattern STRING])")?;
        Ok(nullable(types, TypeKind::Timestamp(3)))
    },
    || Box::<ToTimestamp>::default(),
);

pub(crate) static TO_DATE: Compiling = Compiling::new(
    "TO_DATE",
    "TO_DATE(string [, pattern]): the DATE that the text stands for; NULL when it does not fit",
    |args| {
        let types = accept(args, &[Param::Text; 2], 1, "TO_DATE takes (STRING [, pattern STRING])")?;
        Ok(nullable(types, TypeKind::Date))
    },
    || Box::<ToDate>::default(),
);

pub(crate) static CONVERT_TZ: Compiling = Compiling::new(
    "CONVERT_TZ",
    "CONVERT_TZ(string, zone1, zone2): the time yyyy-MM-dd HH:mm:ss of the first zone as clocks of the second show it",
    |args| {
        let types = accept(args, &[Param::Text; 3], 3, "CONVERT_TZ takes (STRING, zone STRING, zone STRING)")?;
        Ok(nullable(types, DataType::string().kind))
    },
    || Box::<ConvertTz>::default(),
);

#[derive(Debug, Default)]
struct ToTimestamp {
    pattern: PerText<Pattern>,
}

impl PreparedCall for ToTimestamp {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let texts = args[0].strings();
        let patterns = args.get(1).map(Operand::strings);
        let mut out = TimestampBuilder::new(3, rows);
        for row in 0..rows {
            let at = match (texts.get(row), patterns.map(|p| p.get(row))) {
                (Some(text), None) => parse_timestamp(text),
                (Some(text), Some(Some(pattern))) => {
                    let pattern = self.pattern.get(pattern, |p| Pattern::reading(p, Dialect::Formatter))?;
                    pattern.parse(text).or_else(|| parse_timestamp(text.trim()))
                }
                _ => None,
            };
            out.push_option(at.map(|at| (at.seconds(), at.nano)))?;
        }
        Ok(out.finish())
    }
}

#[derive(Debug, Default)]
struct ToDate {
    pattern: PerText<Pattern>,
}

impl PreparedCall for ToDate {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let texts = args[0].strings();
        let patterns = args.get(1).map(Operand::strings);
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            out.push(match (texts.get(row), patterns.map(|p| p.get(row))) {
                (Some(text), None) => parse_date(text),
                (Some(text), Some(Some(pattern))) => {
                    let pattern = self.pattern.get(pattern, |p| Pattern::reading(p, Dialect::Simple))?;
                    pattern.parse(text).and_then(|at| i32::try_from(at.seconds().div_euclid(DAY_S)).ok())
                }
                _ => None,
            });
        }
        Ok(Arc::new(Date32Array::from(out)))
    }
}

/// A zone as java.util.TimeZone finds it: a name that it does not know, and an offset without `GMT` in front, is GMT.
fn java_zone(name: &str) -> Result<Zone> {
    if name.starts_with(['+', '-']) || name.eq_ignore_ascii_case("default") {
        return Ok(Zone::utc());
    }
    Ok(Zone::new(name).unwrap_or_else(|_| Zone::utc()))
}

#[derive(Debug, Default)]
struct ConvertTz {
    from: PerText<Zone>,
    to: PerText<Zone>,
}

impl PreparedCall for ConvertTz {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, from, to) = (args[0].strings(), args[1].strings(), args[2].strings());
        let reader = Pattern::reading("yyyy-MM-dd HH:mm:ss", Dialect::Simple)?;
        let mut out = TextBuilder::new(rows, rows * 19);
        for row in 0..rows {
            let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row)) else {
                out.null();
                continue;
            };
            let Some(at) = reader.parse(text) else {
                out.null();
                continue;
            };
            let instant = self.from.get(from, java_zone)?.instant_of(at.seconds());
            let wall = instant + self.to.get(to, java_zone)?.offset_at(instant);
            write_timestamp(&mut out, DateTime::from_seconds(wall, 0), 0)
                .map_err(|_| Error::internal("a time could not be written"))?;
            out.end();
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn text_becomes_times() {
        check(&[
            ("TO_TIMESTAMP", vec![s("2024-03-05 14:07:09.12")], "2024-03-05 14:07:09.120"),
            ("TO_TIMESTAMP", vec![s("2024-03-05")], "2024-03-05 00:00:00.000"),
            ("TO_TIMESTAMP", vec![s("2024-03-05T14:07:09Z")], "NULL"),
            (
                "TO_TIMESTAMP",
                vec![s("2024-03-05T14:07:09.120Z"), s("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")],
                "2024-03-05 14:07:09.120",
            ),
            ("TO_TIMESTAMP", vec![s("1999-9-10 05:20:10"), s("yyyy/MM/dd")], "1999-09-10 05:20:10.000"),
            ("TO_TIMESTAMP", vec![s("nonsense"), s("yyyy/MM/dd")], "NULL"),
            ("TO_TIMESTAMP", vec![null_s()], "NULL"),
            (
                "TO_TIMESTAMP",
                vec![s("2024"), s("BB")],
                "error: the time pattern `BB` uses `BB`, which is not supported",
            ),
            ("TO_DATE", vec![s("2024-03-05")], "2024-03-05"),
            ("TO_DATE", vec![s("05/03/2024"), s("dd/MM/yyyy")], "2024-03-05"),
            ("TO_DATE", vec![s("x"), s("dd/MM/yyyy")], "NULL"),
            ("TO_DATE", vec![null_s()], "NULL"),
            ("CONVERT_TZ", vec![s("1970-01-01 00:00:00"), s("UTC"), s("America/Los_Angeles")], "1969-12-31 16:00:00"),
            ("CONVERT_TZ", vec![s("x"), s("UTC"), s("UTC")], "NULL"),
        ]);
    }
}
