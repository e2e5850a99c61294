//! EXTRACT, and YEAR to SECOND, which are EXTRACT with the unit in the name.
//!
//! A week is ISO's, a day of the week counts from Sunday = 1. MILLISECOND, MICROSECOND and NANOSECOND are fractions of the second.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::Int64Builder;
use arrow_array::types::{Int32Type, Int64Type};
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{strict, takes, types_of};
use crate::function::datetime::unit::Unit;
use crate::function::datetime::{Walls, is_time};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, ScalarFunction, Signature};
use crate::time::civil::{DAY_S, date_from_days, day_of_year, iso_week, iso_weekday};

pub(crate) static EXTRACT: Plain = Plain::new(
    "EXTRACT",
    "EXTRACT(unit FROM time | interval): one field of a time, as BIGINT",
    |args| {
        let [unit, time] = args else { return Err(takes("EXTRACT takes (unit FROM time)")) };
        let unit = Unit::bind(unit)?;
        let kind = &time.data_type.kind;
        let is_interval = matches!(kind, TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime);
        if !is_time(kind) && !is_interval && *kind != TypeKind::Null {
            return Err(takes(
                "EXTRACT takes (unit FROM DATE, TIME, TIMESTAMP or an interval); CAST text to TIMESTAMP",
            ));
        }
        if is_interval && interval_field(kind, 0, unit).is_none() {
            return Err(takes(&format!("{kind} has no field {unit:?}")));
        }
        let mut types = types_of(args);
        if *kind == TypeKind::Null {
            types[1].kind = TypeKind::Timestamp(3);
        }
        Ok(strict(types, TypeKind::BigInt))
    },
    |args, call, rows, context| match Unit::of(&args[0])? {
        Some(unit) => extract(unit, &args[1], &call.args[1].kind, rows, context),
        None => Ok(Arc::new(arrow_array::Int64Array::new_null(rows))),
    },
);

/// YEAR(time) and its kin.
#[derive(Debug)]
pub(crate) struct FieldOf {
    name: &'static str,
    doc: &'static str,
    unit: Unit,
}

macro_rules! field_of {
    ($static:ident, $name:literal, $unit:expr, $doc:literal) => {
        pub(crate) static $static: FieldOf =
            FieldOf { name: $name, doc: concat!($name, "(time): ", $doc), unit: $unit };
    };
}

field_of!(YEAR, "YEAR", Unit::Year, "the year");
field_of!(QUARTER, "QUARTER", Unit::Quarter, "the quarter of the year, from 1");
field_of!(MONTH, "MONTH", Unit::Month, "the month, from 1");
field_of!(WEEK, "WEEK", Unit::Week, "the week of the year by ISO 8601");
field_of!(DAYOFYEAR, "DAYOFYEAR", Unit::DayOfYear, "the day of the year, from 1");
field_of!(DAYOFMONTH, "DAYOFMONTH", Unit::Day, "the day of the month, from 1");
field_of!(DAYOFWEEK, "DAYOFWEEK", Unit::DayOfWeek, "the day of the week, Sunday being 1");
field_of!(HOUR, "HOUR", Unit::Hour, "the hour, 0 to 23");
field_of!(MINUTE, "MINUTE", Unit::Minute, "the minute, 0 to 59");
field_of!(SECOND, "SECOND", Unit::Second, "the second, 0 to 59");

impl ScalarFunction for FieldOf {
    fn name(&self) -> &'static str {
        self.name
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        match args {
            [time] if is_time(&time.data_type.kind) => Ok(strict(types_of(args), TypeKind::BigInt)),
            [time] if time.data_type.kind == TypeKind::Null => {
                let mut types = types_of(args);
                types[0].kind = TypeKind::Timestamp(3);
                Ok(strict(types, TypeKind::BigInt))
            }
            _ => Err(takes(&format!("{} takes (DATE, TIME or TIMESTAMP); CAST text to one of them", self.name))),
        }
    }
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        extract(self.unit, &args[0], &call.args[0].kind, rows, context)
    }
    fn is_total(&self, _: &[DataType]) -> bool {
        true
    }
}

fn extract(unit: Unit, time: &Operand, kind: &TypeKind, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
    let mut out = Int64Builder::with_capacity(rows);
    match kind {
        TypeKind::IntervalYearMonth => {
            let months = time.numbers::<Int32Type>();
            for row in 0..rows {
                out.append_option(months.get(row).and_then(|m| interval_field(kind, m.into(), unit)));
            }
        }
        TypeKind::IntervalDayTime => {
            let millis = time.numbers::<Int64Type>();
            for row in 0..rows {
                out.append_option(millis.get(row).and_then(|ms| interval_field(kind, ms, unit)));
            }
        }
        kind if is_time(kind) => {
            // Also EPOCH of an instant is taken from the session's wall clock, as in Flink.
            let walls = Walls::new(time, kind, context)?;
            for row in 0..rows {
                out.append_option(walls.get(row).map(|(seconds, nano)| field(unit, seconds, nano)));
            }
        }
        other => return Err(Error::internal(format!("EXTRACT was bound to {other}"))),
    }
    Ok(Arc::new(out.finish()))
}

fn field(unit: Unit, seconds: i64, nano: u32) -> i64 {
    let days = seconds.div_euclid(DAY_S);
    let second_of_day = seconds.rem_euclid(DAY_S);
    let date = || date_from_days(days);
    match unit {
        Unit::Millennium => (date().year + 999).div_euclid(1000),
        Unit::Century => (date().year + 99).div_euclid(100),
        Unit::Decade => date().year.div_euclid(10),
        Unit::Year => date().year,
        Unit::IsoYear => iso_week(days).0,
        Unit::Quarter => i64::from((date().month - 1) / 3 + 1),
        Unit::Month => date().month.into(),
        Unit::Week => iso_week(days).1.into(),
        Unit::Day => date().day.into(),
        Unit::DayOfWeek => i64::from(iso_weekday(days) % 7 + 1),
        Unit::IsoDayOfWeek => iso_weekday(days).into(),
        Unit::DayOfYear => day_of_year(days).into(),
        Unit::Hour => second_of_day / 3600,
        Unit::Minute => second_of_day / 60 % 60,
        Unit::Second => second_of_day % 60,
        Unit::Millisecond => i64::from(nano / 1_000_000),
        Unit::Microsecond => i64::from(nano / 1_000),
        Unit::Nanosecond => nano.into(),
        Unit::Epoch => seconds,
    }
}

fn interval_field(kind: &TypeKind, value: i64, unit: Unit) -> Option<i64> {
    Some(match (kind, unit) {
        (TypeKind::IntervalYearMonth, Unit::Millennium) => value / 12_000,
        (TypeKind::IntervalYearMonth, Unit::Century) => value / 1_200,
        (TypeKind::IntervalYearMonth, Unit::Decade) => value / 120,
        (TypeKind::IntervalYearMonth, Unit::Year) => value / 12,
        (TypeKind::IntervalYearMonth, Unit::Quarter) => value % 12 / 3 + 1,
        (TypeKind::IntervalYearMonth, Unit::Month) => value % 12,
        (TypeKind::IntervalDayTime, Unit::Day) => value / 86_400_000,
        (TypeKind::IntervalDayTime, Unit::Hour) => value / 3_600_000 % 24,
        (TypeKind::IntervalDayTime, Unit::Minute) => value / 60_000 % 60,
        (TypeKind::IntervalDayTime, Unit::Second) => value / 1000 % 60,
        (TypeKind::IntervalDayTime, Unit::Millisecond) => value % 1000,
        (TypeKind::IntervalDayTime, Unit::Epoch) => value / 1000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{Arg, check, date, null, of, s, ts};
    use wiesel_core::{TypeKind, Value};

    #[test]
    fn fields_are_taken_out() {
        let at = || of(TypeKind::Timestamp(9), "2024-03-05 14:07:09.123456789");
        let unit = |u: &str| vec![s(u), at()];
        check(&[
            ("EXTRACT", unit("YEAR"), "2024"),
            ("EXTRACT", unit("QUARTER"), "1"),
            ("EXTRACT", unit("WEEK"), "10"),
            ("EXTRACT", unit("DOW"), "3"),
            ("EXTRACT", unit("DOY"), "65"),
            ("EXTRACT", unit("MILLISECOND"), "123"),
            ("EXTRACT", unit("MICROSECOND"), "123456"),
            ("EXTRACT", unit("NANOSECOND"), "123456789"),
            ("EXTRACT", unit("EPOCH"), "1709647629"),
            ("EXTRACT", unit("CENTURY"), "21"),
            ("EXTRACT", unit("FORTNIGHT"), "bind: `FORTNIGHT` is not a unit of time"),
            ("EXTRACT", vec![s("DAY"), Arg(TypeKind::IntervalDayTime, Value::Millis(90_000_000))], "1"),
            ("YEAR", vec![date("1969-12-31")], "1969"),
            ("MONTH", vec![date("2024-03-05")], "3"),
            ("DAYOFMONTH", vec![date("2024-03-05")], "5"),
            ("DAYOFYEAR", vec![date("2024-12-31")], "366"),
            ("DAYOFWEEK", vec![date("2024-03-03")], "1"),
            ("WEEK", vec![date("2021-01-03")], "53"),
            ("QUARTER", vec![date("2024-12-31")], "4"),
            ("HOUR", vec![ts("1969-12-31 23:59:58.001")], "23"),
            ("MINUTE", vec![of(TypeKind::Time(0), "14:07:09")], "7"),
            ("SECOND", vec![ts("1969-12-31 23:59:58.001")], "58"),
            ("HOUR", vec![null(TypeKind::Timestamp(3))], "NULL"),
        ]);
    }
}
