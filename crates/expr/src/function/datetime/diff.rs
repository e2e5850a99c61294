//! TIMESTAMPDIFF(unit, from, to): whole units between two times, cut toward 0, as INT.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::Int32Builder;
use wiesel_core::{Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{strict, takes, types_of};
use crate::function::datetime::unit::Unit;
use crate::function::datetime::{Walls, is_time};
use crate::function::define::Plain;
use crate::function::{Operand, Signature};
use crate::time::civil::{DAY_S, add_months, date_from_days};

pub(crate) static TIMESTAMPDIFF: Plain = Plain::new(
    "TIMESTAMPDIFF",
    "TIMESTAMPDIFF(unit, time1, time2): how many whole units the second time is later",
    |args| {
        let usage = "TIMESTAMPDIFF takes (unit, time, time), both DATE or TIMESTAMP";
        let [unit, from, to] = args else { return Err(takes(usage)) };
        let unit = Unit::bind(unit)?;
        let is_date = |kind: &TypeKind| is_time(kind) && !matches!(kind, TypeKind::Time(_));
        if !is_date(&from.data_type.kind) || !is_date(&to.data_type.kind) || unit.months().or(unit.nanos()).is_none() {
            return Err(takes(usage));
        }
        let mut signature = strict(types_of(args), TypeKind::Int);
        signature.returns.nullable = from.data_type.nullable || to.data_type.nullable;
        Ok(signature)
    },
    eval,
)
.total();

fn eval(args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
    let unit = Unit::of(&args[0])?.ok_or_else(|| Error::internal("a unit of time is NULL"))?;
    // Two instants are compared as instants; only where one side is a wall clock both are.
    let are_instants = call.args[1..].iter().all(|t| matches!(t.kind, TypeKind::TimestampLtz(_)));
    let reader = |index: usize| {
        let kind = match &call.args[index].kind {
            TypeKind::TimestampLtz(p) if are_instants => TypeKind::Timestamp(*p),
            kind => kind.clone(),
        };
        Walls::new(&args[index], &kind, context)
    };
    let (from, to) = (reader(1)?, reader(2)?);
    let mut out = Int32Builder::with_capacity(rows);
    for row in 0..rows {
        out.append_option(from.get(row).zip(to.get(row)).map(|(from, to)| difference(unit, from, to) as i32));
    }
    Ok(Arc::new(out.finish()))
}

fn difference(unit: Unit, from: (i64, u32), to: (i64, u32)) -> i64 {
    if let Some(months) = unit.months() {
        return whole_months(from, to) / months;
    }
    let nanos = |(seconds, nano): (i64, u32)| i128::from(seconds) * 1_000_000_000 + i128::from(nano);
    let unit = i128::from(unit.nanos().unwrap_or(1));
    i64::try_from((nanos(to) - nanos(from)) / unit).unwrap_or(i64::MAX)
}

/// The most months that do not lead past the other time.
fn whole_months(from: (i64, u32), to: (i64, u32)) -> i64 {
    let (start, end) = (date_from_days(from.0.div_euclid(DAY_S)), date_from_days(to.0.div_euclid(DAY_S)));
    let months = (end.year - start.year) * 12 + i64::from(end.month) - i64::from(start.month);
    let moved = (add_months(from.0.div_euclid(DAY_S), months) * DAY_S + from.0.rem_euclid(DAY_S), from.1);
    if months > 0 && moved > to {
        months - 1
    } else if months < 0 && moved < to {
        months + 1
    } else {
        months
    }
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, date, null, s, ts};
    use wiesel_core::TypeKind;

    #[test]
    fn whole_units_are_counted() {
        check(&[
            ("TIMESTAMPDIFF", vec![s("SECOND"), ts("2024-01-01 00:00:00"), ts("2024-01-01 00:01:01.999")], "61"),
            ("TIMESTAMPDIFF", vec![s("DAY"), ts("2024-01-02 00:00:00"), ts("2024-01-01 00:00:01")], "0"),
            ("TIMESTAMPDIFF", vec![s("DAY"), date("2024-03-01"), date("2024-02-28")], "-2"),
            ("TIMESTAMPDIFF", vec![s("MONTH"), date("2024-01-31"), date("2024-03-30")], "1"),
            ("TIMESTAMPDIFF", vec![s("YEAR"), date("2020-03-01"), date("2024-02-29")], "3"),
            ("TIMESTAMPDIFF", vec![s("HOUR"), date("2024-03-01"), ts("2024-03-01 05:59:59")], "5"),
            ("TIMESTAMPDIFF", vec![s("HOUR"), null(TypeKind::Date), ts("2024-03-01 05:59:59")], "NULL"),
        ]);
    }
}
