//! Casts between DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ. Digits behind the target's precision are cut, never rounded; what has a zone
//! and what has none meet through the session's.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Time32MillisecondType};
use arrow_array::{Array, ArrayRef, Date32Array, Time32MillisecondArray};
use wiesel_core::{Error, Result, TypeKind};

use crate::time::civil::DAY_S;
use crate::time::column::{TimestampBuilder, Timestamps};
use crate::time::zone::Zone;

/// Casts between two of the time types.
pub fn cast_times(array: &ArrayRef, from: &TypeKind, to: &TypeKind, zone: &Zone) -> Result<ArrayRef> {
    use TypeKind as T;
    match (from, to) {
        (T::Timestamp(p), T::Timestamp(q)) | (T::TimestampLtz(p), T::TimestampLtz(q)) if p == q => {
            return Ok(Arc::clone(array));
        }
        (T::Time(_), T::Time(p)) => return Ok(cut_times(array, *p)),
        _ => {}
    }
    let walls = WallClocks::new(array, from, zone)?;
    match to {
        T::Date => {
            // Flink cuts a TIMESTAMP's milliseconds towards zero: a moment before 1970 that is not midnight falls on the day after.
            let cuts = matches!(from, T::Timestamp(_));
            let day = |(seconds, nano): (i64, u32)| match seconds.div_euclid(DAY_S) as i32 {
                day if cuts && day < 0 && (seconds.rem_euclid(DAY_S) > 0 || nano >= 1_000_000) => day + 1,
                day => day,
            };
            let days = (0..array.len()).map(|row| walls.get(row).map(day));
            Ok(Arc::new(days.collect::<Date32Array>()))
        }
        T::Time(_) => {
            let times = (0..array.len()).map(|row| {
                walls
                    .get(row)
                    .map(|(seconds, nano)| (seconds.rem_euclid(DAY_S) * 1000) as i32 + (nano / 1_000_000) as i32)
            });
            Ok(Arc::new(times.collect::<Time32MillisecondArray>()))
        }
        T::Timestamp(p) | T::TimestampLtz(p) => {
            let is_local = matches!(to, T::TimestampLtz(_));
            // An instant that stays an instant does not go through the zone.
            let stays = is_local && matches!(from, T::TimestampLtz(_));
            let mut builder = TimestampBuilder::new(*p, array.len());
            for row in 0..array.len() {
                let at = if stays { Timestamps::new(array).get(row) } else { walls.get(row) };
                builder.push_option(match at {
                    Some((seconds, nano)) if is_local && !stays => Some((zone.instant_of(seconds), nano)),
                    other => other,
                })?;
            }
            Ok(builder.finish())
        }
        _ => Err(Error::internal(format!("{to} is not a time"))),
    }
}

fn cut_times(array: &ArrayRef, precision: u8) -> ArrayRef {
    let grain = match precision {
        0 => 1000,
        1 => 100,
        2 => 10,
        _ => return Arc::clone(array),
    };
    Arc::new(array.as_primitive::<Time32MillisecondType>().unary::<_, Time32MillisecondType>(|t| t - t % grain))
}

/// Reads any of the time types as wall-clock seconds since 1970 and nanoseconds.
enum WallClocks<'a> {
    Days(&'a Date32Array),
    Times(&'a Time32MillisecondArray),
    Walls(Timestamps<'a>),
    Instants(Timestamps<'a>, &'a Zone),
}

impl<'a> WallClocks<'a> {
    fn new(array: &'a ArrayRef, kind: &TypeKind, zone: &'a Zone) -> Result<WallClocks<'a>> {
        Ok(match kind {
            TypeKind::Date => WallClocks::Days(array.as_primitive::<Date32Type>()),
            TypeKind::Time(_) => WallClocks::Times(array.as_primitive::<Time32MillisecondType>()),
            TypeKind::Timestamp(_) => WallClocks::Walls(Timestamps::new(array)),
            TypeKind::TimestampLtz(_) => WallClocks::Instants(Timestamps::new(array), zone),
            _ => return Err(Error::internal(format!("{kind} is not a time"))),
        })
    }

    fn get(&self, row: usize) -> Option<(i64, u32)> {
        match self {
            WallClocks::Days(days) => days.is_valid(row).then(|| (i64::from(days.value(row)) * DAY_S, 0)),
            WallClocks::Times(times) => times.is_valid(row).then(|| {
                let ms = times.value(row);
                (i64::from(ms / 1000), (ms % 1000) as u32 * 1_000_000)
            }),
            WallClocks::Walls(walls) => walls.get(row),
            WallClocks::Instants(instants, zone) => {
                instants.get(row).map(|(seconds, nano)| (seconds + zone.offset_at(seconds), nano))
            }
        }
    }
}
