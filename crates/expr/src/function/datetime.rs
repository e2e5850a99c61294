//! Functions of dates and times. Fields of a TIMESTAMP_LTZ are those of its wall clock in the session's zone.

pub(crate) mod add;
pub(crate) mod diff;
pub(crate) mod epoch;
pub(crate) mod extract;
pub(crate) mod floor;
pub(crate) mod format;
pub(crate) mod now;
pub(crate) mod parse;
pub(crate) mod unit;

use arrow_array::types::{Date32Type, Time32MillisecondType};
use wiesel_core::{Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::Operand;
use crate::operand::Numbers;
use crate::time::civil::DAY_S;
use crate::time::column::Timestamps;
use crate::time::zone::Zone;

/// Reads DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ as wall-clock seconds since 1970 and nanoseconds.
pub(crate) enum Walls<'a> {
    Dates(Numbers<'a, Date32Type>),
    Times(Numbers<'a, Time32MillisecondType>),
    Timestamps(Timestamps<'a>),
    Instants(Timestamps<'a>, Zone),
}

impl<'a> Walls<'a> {
    /// Reads an argument of a time type.
    pub(crate) fn new(operand: &'a Operand, kind: &TypeKind, context: &EvalContext) -> Result<Walls<'a>> {
        Ok(match kind {
            TypeKind::Date => Walls::Dates(operand.numbers()),
            TypeKind::Time(_) => Walls::Times(operand.numbers()),
            TypeKind::TimestampLtz(_) => {
                Walls::Instants(Timestamps::of(operand), Zone::new(&context.session.time_zone)?)
            }
            _ => Walls::Timestamps(Timestamps::of(operand)),
        })
    }

    /// The wall clock of a row; `None` for NULL.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<(i64, u32)> {
        match self {
            Walls::Dates(dates) => dates.get(row).map(|days| (i64::from(days) * DAY_S, 0)),
            Walls::Times(times) => {
                times.get(row).map(|ms| (i64::from(ms / 1000), u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000))
            }
            Walls::Timestamps(times) => times.get(row),
            Walls::Instants(times, zone) => {
                times.get(row).map(|(seconds, nano)| (seconds + zone.offset_at(seconds), nano))
            }
        }
    }
}

/// Whether values of the type have wall-clock fields.
pub(crate) fn is_time(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Date | TypeKind::Time(_) | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_))
}
