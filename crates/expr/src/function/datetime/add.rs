//! TIMESTAMPADD(unit, count, time): a time some units later. A DATE stays one with units of days and more; with shorter ones it becomes
//! a TIMESTAMP.

use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Date32Array, Time32MillisecondArray};
use wiesel_core::{Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, strict, takes, types_of};
use crate::function::datetime::unit::Unit;
use crate::function::datetime::{Walls, is_time};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::time::civil::{DAY_S, add_months};
use crate::time::column::TimestampBuilder;

pub(crate) static TIMESTAMPADD: Plain =
    Plain::new("TIMESTAMPADD", "TIMESTAMPADD(unit, count, time): the time so many units later", bind, eval);

fn bind(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    let usage = "TIMESTAMPADD takes (unit, INT, DATE, TIME or TIMESTAMP)";
    let [unit, count, time] = args else { return Err(takes(usage)) };
    let unit = Unit::bind(unit)?;
    let kind = &time.data_type.kind;
    if !is_time(kind) || unit.months().or(unit.nanos()).is_none() {
        return Err(takes(usage));
    }
    let is_short = unit.nanos().is_some_and(|n| n < 86_400_000_000_000);
    let returns = match kind {
        TypeKind::Date if is_short => TypeKind::Timestamp(6),
        TypeKind::Time(_) if !is_short => return Err(takes("TIMESTAMPADD takes a TIME with units below a day only")),
        kind => kind.clone(),
    };
    let mut types = types_of(args);
    types[1] = Param::BigInt.accept(count.data_type).ok_or_else(|| takes(usage))?;
    let nullable = types[1].nullable || types[2].nullable;
    let mut signature = strict(types, returns);
    signature.returns.nullable = nullable;
    Ok(signature)
}

fn eval(args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
    let unit = Unit::of(&args[0])?.ok_or_else(|| Error::internal("a unit of time is NULL"))?;
    let counts = args[1].numbers::<Int64Type>();
    // An instant moves on UTC's time line.
    let kind = match &call.args[2].kind {
        TypeKind::TimestampLtz(p) => TypeKind::Timestamp(*p),
        kind => kind.clone(),
    };
    let walls = Walls::new(&args[2], &kind, context)?;
    let moved = |row: usize| -> Result<Option<(i64, u32)>> {
        let (Some(count), Some((seconds, nano))) = (counts.get(row), walls.get(row)) else { return Ok(None) };
        move_wall(unit, count, seconds, nano)
            .map(Some)
            .ok_or_else(|| Error::data(format!("TIMESTAMPADD by {count} times {unit:?} leaves the range of times")))
    };
    Ok(match &call.returns.kind {
        TypeKind::Date => {
            let mut days = Vec::with_capacity(rows);
            for row in 0..rows {
                days.push(moved(row)?.map(|(seconds, _)| seconds.div_euclid(DAY_S) as i32));
            }
            Arc::new(Date32Array::from(days))
        }
        TypeKind::Time(_) => {
            let mut times = Vec::with_capacity(rows);
            for row in 0..rows {
                times.push(moved(row)?.map(|(s, n)| (s.rem_euclid(DAY_S) * 1000) as i32 + (n / 1_000_000) as i32));
            }
            Arc::new(Time32MillisecondArray::from(times))
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let mut out = TimestampBuilder::new(*p, rows);
            for row in 0..rows {
                out.push_option(moved(row)?)?;
            }
            out.finish()
        }
        other => return Err(Error::internal(format!("TIMESTAMPADD was bound to {other}"))),
    })
}

/// Years that dates may have, far beyond SQL's, so that sums of days stay small.
const MONTHS_MAX: i64 = 12 * 1_000_000;

fn move_wall(unit: Unit, count: i64, seconds: i64, nano: u32) -> Option<(i64, u32)> {
    if let Some(months) = unit.months() {
        let months = count.checked_mul(months).filter(|m| m.abs() <= MONTHS_MAX)?;
        let days = add_months(seconds.div_euclid(DAY_S), months);
        return Some((days * DAY_S + seconds.rem_euclid(DAY_S), nano));
    }
    let total = i128::from(count) * i128::from(unit.nanos()?) + i128::from(nano);
    let moved = i64::try_from(total.div_euclid(1_000_000_000)).ok()?;
    Some((seconds.checked_add(moved)?, total.rem_euclid(1_000_000_000) as u32))
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, date, i, l, null, of, s, ts};
    use wiesel_core::TypeKind;

    #[test]
    fn times_move_by_units() {
        check(&[
            ("TIMESTAMPADD", vec![s("MONTH"), i(1), ts("2024-01-31 10:00:00")], "2024-02-29 10:00:00.000"),
            ("TIMESTAMPADD", vec![s("DAY"), i(-1), ts("2024-03-01 10:00:00")], "2024-02-29 10:00:00.000"),
            ("TIMESTAMPADD", vec![s("SECOND"), i(90), ts("2024-03-01 10:00:00")], "2024-03-01 10:01:30.000"),
            ("TIMESTAMPADD", vec![s("WEEK"), i(1), date("2024-02-28")], "2024-03-06"),
            ("TIMESTAMPADD", vec![s("HOUR"), i(1), date("2016-06-15")], "2016-06-15 01:00:00.000000"),
            ("TIMESTAMPADD", vec![s("HOUR"), i(2), of(TypeKind::Time(0), "23:00:00")], "01:00:00"),
            ("TIMESTAMPADD", vec![s("DAY"), null(TypeKind::Int), date("2016-06-15")], "NULL"),
            (
                "TIMESTAMPADD",
                vec![s("YEAR"), l(i64::MAX), date("2016-06-15")],
                "error: TIMESTAMPADD by 9223372036854775807 times Year leaves the range of times",
            ),
        ]);
    }
}
