//! FLOOR(time TO unit) and CEIL(time TO unit), named `FLOOR_TO` and `CEIL_TO`: the start of the unit that a time lies in, and the start
//! of the next one unless it lies on a start. A week starts on Sunday. An instant is rounded on the session's wall clock.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::{Date32Array, Time32MillisecondArray};
use wiesel_core::{Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{strict, takes, types_of};
use crate::function::datetime::unit::Unit;
use crate::function::datetime::{Walls, is_time};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::time::civil::{DAY_S, Date, add_months, date_from_days, days_from_date, iso_weekday};
use crate::time::column::TimestampBuilder;
use crate::time::zone::Zone;

pub(crate) static FLOOR_TO: Plain = Plain::new(
    "FLOOR_TO",
    "FLOOR(time TO unit): the start of the year, month, day and so on that the time lies in",
    bind,
    |args, call, rows, context| round(args, call, rows, context, Toward::Past),
);

pub(crate) static CEIL_TO: Plain = Plain::new(
    "CEIL_TO",
    "CEIL(time TO unit): the start of the next year, month, day and so on; the time itself when it is such a start",
    bind,
    |args, call, rows, context| round(args, call, rows, context, Toward::Future),
);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Toward {
    Past,
    Future,
}

fn bind(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    let [time, unit] = args else { return Err(takes("FLOOR and CEIL take (time TO unit)")) };
    let unit = Unit::bind(unit)?;
    if matches!(unit, Unit::DayOfWeek | Unit::IsoDayOfWeek | Unit::DayOfYear | Unit::IsoYear | Unit::Epoch) {
        return Err(takes(&format!("no time is rounded to {unit:?}")));
    }
    let kind = time.data_type.kind.clone();
    if !is_time(&kind) {
        return Err(takes("FLOOR and CEIL take (DATE, TIME or TIMESTAMP TO unit)"));
    }
    let mut signature = strict(types_of(args), kind);
    signature.returns.nullable = time.data_type.nullable;
    Ok(signature)
}

fn round(args: &[Operand], call: &Signature, rows: usize, context: &EvalContext, toward: Toward) -> Result<ArrayRef> {
    let kind = &call.args[0].kind;
    let unit = Unit::of(&args[1])?.ok_or_else(|| Error::internal("a unit of time is NULL"))?;
    let walls = Walls::new(&args[0], kind, context)?;
    let rounded = |row: usize| walls.get(row).map(|(seconds, nano)| round_wall(unit, seconds, nano, toward));
    Ok(match kind {
        TypeKind::Date => {
            let days = (0..rows).map(|row| rounded(row).map(|(seconds, _)| seconds.div_euclid(DAY_S) as i32));
            Arc::new(days.collect::<Date32Array>())
        }
        TypeKind::Time(_) => {
            let times = (0..rows).map(|row| {
                rounded(row).map(|(s, nano)| (s.rem_euclid(DAY_S) * 1000) as i32 + (nano / 1_000_000) as i32)
            });
            Arc::new(times.collect::<Time32MillisecondArray>())
        }
        TypeKind::Timestamp(p) => {
            let mut out = TimestampBuilder::new(*p, rows);
            for row in 0..rows {
                out.push_option(rounded(row))?;
            }
            out.finish()
        }
        TypeKind::TimestampLtz(p) => {
            let zone = Zone::new(&context.session.time_zone)?;
            let mut out = TimestampBuilder::new(*p, rows);
            for row in 0..rows {
                out.push_option(rounded(row).map(|(wall, nano)| (zone.instant_of(wall), nano)))?;
            }
            out.finish()
        }
        other => return Err(Error::internal(format!("{other} does not round to a unit"))),
    })
}

fn round_wall(unit: Unit, seconds: i64, nano: u32, toward: Toward) -> (i64, u32) {
    let floor = floor_wall(unit, seconds, nano);
    if toward == Toward::Past || floor == (seconds, nano) {
        return floor;
    }
    let (start, start_nano) = floor;
    if let Some(months) = unit.months() {
        return (add_months(start.div_euclid(DAY_S), months) * DAY_S, 0);
    }
    let step = unit.nanos().unwrap_or(0);
    let next_nano = i64::from(start_nano) + step % 1_000_000_000;
    (start + step / 1_000_000_000 + next_nano / 1_000_000_000, (next_nano % 1_000_000_000) as u32)
}

fn floor_wall(unit: Unit, seconds: i64, nano: u32) -> (i64, u32) {
    let days = seconds.div_euclid(DAY_S);
    let first_of = |year: i64, month: u32| (days_from_date(Date { year, month, day: 1 }) * DAY_S, 0);
    match unit {
        Unit::Millennium => first_of((date_from_days(days).year - 1).div_euclid(1000) * 1000 + 1, 1),
        Unit::Century => first_of((date_from_days(days).year - 1).div_euclid(100) * 100 + 1, 1),
        Unit::Decade => first_of(date_from_days(days).year.div_euclid(10) * 10, 1),
        Unit::Year | Unit::IsoYear => first_of(date_from_days(days).year, 1),
        Unit::Quarter => {
            let date = date_from_days(days);
            first_of(date.year, (date.month - 1) / 3 * 3 + 1)
        }
        Unit::Month => {
            let date = date_from_days(days);
            first_of(date.year, date.month)
        }
        Unit::Week => ((days - i64::from(iso_weekday(days) % 7)) * DAY_S, 0),
        unit => {
            let step = unit.nanos().unwrap_or(1);
            if step >= 1_000_000_000 {
                let step = step / 1_000_000_000;
                (seconds.div_euclid(step) * step, 0)
            } else {
                (seconds, nano - nano % step as u32)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, date, null, of, s, ts};
    use wiesel_core::TypeKind;

    #[test]
    fn times_are_rounded_to_units() {
        let at = |u: &str| vec![ts("2018-03-20 06:44:31.123"), s(u)];
        check(&[
            ("FLOOR_TO", at("YEAR"), "2018-01-01 00:00:00.000"),
            ("FLOOR_TO", at("QUARTER"), "2018-01-01 00:00:00.000"),
            ("FLOOR_TO", at("MONTH"), "2018-03-01 00:00:00.000"),
            ("FLOOR_TO", at("WEEK"), "2018-03-18 00:00:00.000"),
            ("FLOOR_TO", at("DAY"), "2018-03-20 00:00:00.000"),
            ("FLOOR_TO", at("HOUR"), "2018-03-20 06:00:00.000"),
            ("FLOOR_TO", at("SECOND"), "2018-03-20 06:44:31.000"),
            ("FLOOR_TO", at("MILLISECOND"), "2018-03-20 06:44:31.123"),
            ("CEIL_TO", at("MINUTE"), "2018-03-20 06:45:00.000"),
            ("CEIL_TO", at("MONTH"), "2018-04-01 00:00:00.000"),
            ("CEIL_TO", at("MILLISECOND"), "2018-03-20 06:44:31.123"),
            ("CEIL_TO", vec![date("2018-12-31"), s("YEAR")], "2019-01-01"),
            ("CEIL_TO", vec![date("2018-01-01"), s("YEAR")], "2018-01-01"),
            ("FLOOR_TO", vec![of(TypeKind::Time(0), "12:44:31"), s("MINUTE")], "12:44:00"),
            ("FLOOR_TO", vec![ts("1969-12-31 23:59:59.999"), s("MINUTE")], "1969-12-31 23:59:00.000"),
            ("FLOOR_TO", vec![null(TypeKind::Date), s("YEAR")], "NULL"),
            ("FLOOR_TO", vec![date("2018-12-31"), s("EPOCH")], "bind: no time is rounded to Epoch"),
        ]);
    }
}
