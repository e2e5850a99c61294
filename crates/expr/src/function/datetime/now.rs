//! The clock functions, all from the step's one clock reading; and CURRENT_WATERMARK.

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Time32MillisecondArray};
use wiesel_core::{DataType, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{accept, nullable, takes, types_of};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::time::civil::DAY_S;
use crate::time::column::timestamp_array;
use crate::time::zone::Zone;

fn bind_instant(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    clock(args, TypeKind::TimestampLtz(3))
}

fn clock(args: &[Argument<'_>], kind: TypeKind) -> std::result::Result<Signature, FunctionError> {
    Ok(Signature { args: accept(args, &[], 0, "no argument")?, returns: DataType::not_null(kind) })
}

fn instant(_: &[Operand], _: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
    Ok(timestamp_array(vec![context.now_ms; rows], None, 3))
}

/// Seconds of the session's wall clock since 1970.
fn wall_seconds(context: &EvalContext) -> Result<i64> {
    let seconds = context.now_ms.div_euclid(1000);
    Ok(seconds + Zone::new(&context.session.time_zone)?.offset_at(seconds))
}

pub(crate) static CURRENT_TIMESTAMP: Plain = Plain::new(
    "CURRENT_TIMESTAMP",
    "CURRENT_TIMESTAMP: the current instant, as TIMESTAMP_LTZ(3)",
    bind_instant,
    instant,
)
.volatile();

pub(crate) static CURRENT_ROW_TIMESTAMP: Plain = Plain::new(
    "CURRENT_ROW_TIMESTAMP",
    "CURRENT_ROW_TIMESTAMP(): the current instant, as TIMESTAMP_LTZ(3)",
    bind_instant,
    instant,
)
.volatile();

pub(crate) static NOW: Plain =
    Plain::new("NOW", "NOW(): the current instant, as TIMESTAMP_LTZ(3)", bind_instant, instant).volatile();

pub(crate) static PROCTIME: Plain =
    Plain::new("PROCTIME", "PROCTIME(): the current instant, as a processing-time attribute", bind_instant, instant)
        .volatile();

pub(crate) static LOCALTIMESTAMP: Plain = Plain::new(
    "LOCALTIMESTAMP",
    "LOCALTIMESTAMP: the current wall clock of the session's zone, as TIMESTAMP(3)",
    |args| clock(args, TypeKind::Timestamp(3)),
    |_, _, rows, context| {
        let wall = wall_seconds(context)? * 1000 + context.now_ms.rem_euclid(1000);
        Ok(timestamp_array(vec![wall; rows], None, 3))
    },
)
.volatile();

pub(crate) static CURRENT_DATE: Plain = Plain::new(
    "CURRENT_DATE",
    "CURRENT_DATE: the current date in the session's zone",
    |args| clock(args, TypeKind::Date),
    |_, _, rows, context| {
        let days = wall_seconds(context)?.div_euclid(DAY_S) as i32;
        Ok(Arc::new(Date32Array::from(vec![days; rows])))
    },
)
.volatile();

fn time_of_day(_: &[Operand], _: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
    let ms = wall_seconds(context)?.rem_euclid(DAY_S) as i32 * 1000;
    Ok(Arc::new(Time32MillisecondArray::from(vec![ms; rows])))
}

pub(crate) static CURRENT_TIME: Plain = Plain::new(
    "CURRENT_TIME",
    "CURRENT_TIME: the current time of day in the session's zone, as TIME(0)",
    |args| clock(args, TypeKind::Time(0)),
    time_of_day,
)
.volatile();

pub(crate) static LOCALTIME: Plain = Plain::new(
    "LOCALTIME",
    "LOCALTIME: the current time of day in the session's zone, as TIME(0)",
    |args| clock(args, TypeKind::Time(0)),
    time_of_day,
)
.volatile();

pub(crate) static CURRENT_WATERMARK: Plain = Plain::new(
    "CURRENT_WATERMARK",
    "CURRENT_WATERMARK(rowtime): the operator's current watermark; NULL before the first",
    |args| {
        let kind = match args {
            [time] => match &time.data_type.kind {
                TypeKind::Timestamp(_) => Some(TypeKind::Timestamp(3)),
                TypeKind::TimestampLtz(_) => Some(TypeKind::TimestampLtz(3)),
                _ => None,
            },
            _ => None,
        };
        let kind = kind.ok_or_else(|| takes("CURRENT_WATERMARK takes (rowtime attribute)"))?;
        Ok(nullable(types_of(args), kind))
    },
    |_, call, rows, context| {
        if context.watermark_ms == i64::MIN {
            return Ok(arrow_array::new_null_array(&call.returns.to_arrow(), rows));
        }
        Ok(timestamp_array(vec![context.watermark_ms; rows], None, 3))
    },
)
.volatile();

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, ts};

    #[test]
    fn clocks_show_the_steps_time() {
        check(&[
            ("CURRENT_TIMESTAMP", vec![], "2024-03-01 12:00:00.123"),
            ("NOW", vec![], "2024-03-01 12:00:00.123"),
            ("PROCTIME", vec![], "2024-03-01 12:00:00.123"),
            ("LOCALTIMESTAMP", vec![], "2024-03-01 12:00:00.123"),
            ("CURRENT_DATE", vec![], "2024-03-01"),
            ("LOCALTIME", vec![], "12:00:00"),
            ("CURRENT_WATERMARK", vec![ts("2024-03-01 00:00:00")], "NULL"),
        ]);
    }
}
