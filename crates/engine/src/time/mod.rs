//! Event time: the watermark generators of the sources. Everything below a generator only passes watermarks on.
//!
//! A worker finds the watermark of every row while it decodes; what moves here, once per step on the loop thread, is a fold of maxima.
//!
//! Two kinds, as in Flink (design: Time):
//! - *push-down* (kafka): one generator per split inside the source; the source's watermark is the minimum over its active splits and
//!   is emitted at the first step end after the interval;
//! - *by row* (all others): one generator per table that Flink advances between any two rows as soon as it is more than the interval
//!   ahead of the last one emitted. So a step is cut in front of the first row that such an emission would make late; ordered input is
//!   never cut.

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::{Error, Result};
use wiesel_plan::WatermarkNode;

use crate::operator::{WATERMARK_MAX, WATERMARK_MIN};

/// The time of an edge: how far it is, and whether everything above it is idle (then it holds nobody back).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EdgeTime {
    pub(crate) watermark: i64,
    pub(crate) is_idle: bool,
}

impl EdgeTime {
    pub(crate) const START: EdgeTime = EdgeTime { watermark: WATERMARK_MIN, is_idle: false };

    /// The minimum over active inputs. When all are idle, time stands still at `last`.
    pub(crate) fn combine(last: i64, inputs: impl Iterator<Item = EdgeTime>) -> EdgeTime {
        let active = inputs.filter(|i| !i.is_idle).map(|i| i.watermark).min();
        match active {
            // A new partition may start far behind; the watermark does not go back for it.
            Some(watermark) => EdgeTime { watermark: watermark.max(last), is_idle: false },
            None => EdgeTime { watermark: last, is_idle: true },
        }
    }
}

/// A split as the generator sees it at a step's end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitTime {
    /// It will never bring anything again.
    pub(crate) is_finished: bool,
    /// When it last brought something, or was last known not to be at the log's end; `None` while it has undelivered rows.
    pub(crate) silent_since_ms: Option<i64>,
}

/// The generators of one watermark node.
#[derive(Debug)]
pub(crate) struct Generator {
    interval_ms: i64,
    idle_timeout_ms: i64,
    push_down: bool,
    is_batch: bool,
    /// The highest watermark of each split; one entry in all when not pushed down.
    splits: Vec<i64>,
    emitted: EdgeTime,
    emitted_at_ms: Option<i64>,
    /// By row: the watermark that Flink's generator would have emitted last, and where the next step must start with it.
    row_emitted: i64,
    must_emit: bool,
}

impl Generator {
    pub(crate) fn new(node: &WatermarkNode, is_batch: bool) -> Self {
        let ms = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
        Generator {
            interval_ms: ms(node.interval_ms),
            idle_timeout_ms: ms(node.idle_timeout_ms),
            push_down: node.push_down,
            is_batch,
            splits: Vec::new(),
            emitted: EdgeTime::START,
            emitted_at_ms: None,
            row_emitted: WATERMARK_MIN,
            must_emit: false,
        }
    }

    /// The highest watermark that each split's rows gave, for the manifest.
    pub(crate) fn split_maximum(&self, split: usize) -> i64 {
        self.splits.get(self.slot(split)).copied().unwrap_or(WATERMARK_MIN)
    }

    /// Whether there is one generator for all splits.
    pub(crate) fn is_by_table(&self) -> bool {
        !self.push_down
    }

    pub(crate) fn emitted(&self) -> EdgeTime {
        self.emitted
    }

    /// Takes back what a manifest says.
    pub(crate) fn restore_emitted(&mut self, watermark: i64) {
        self.emitted.watermark = watermark;
        self.row_emitted = watermark;
    }

    /// Rows of a split gave this watermark at most.
    pub(crate) fn fold(&mut self, split: usize, maximum: i64) {
        let slot = self.slot(split);
        if self.splits.len() <= slot {
            self.splits.resize(slot + 1, WATERMARK_MIN);
        }
        self.splits[slot] = self.splits[slot].max(maximum);
    }

    /// By row: walks over rows in order; returns how many of them belong to this step. `times` are the rows' event times, `watermarks`
    /// what the expression gave for them (`None`: NULL).
    pub(crate) fn walk(&mut self, times: &[i64], watermarks: &[Option<i64>]) -> usize {
        self.fold(0, WATERMARK_MIN);
        if self.is_batch {
            return times.len();
        }
        for (row, (&time, watermark)) in times.iter().zip(watermarks).enumerate() {
            if time <= self.row_emitted && self.row_emitted > self.emitted.watermark {
                self.must_emit = true;
                return row;
            }
            if let Some(watermark) = *watermark {
                self.splits[0] = self.splits[0].max(watermark);
            }
            // In i128: the first watermark is far from the start value.
            if i128::from(self.splits[0]) - i128::from(self.row_emitted) > i128::from(self.interval_ms) {
                self.row_emitted = self.splits[0];
            }
        }
        times.len()
    }

    /// Decides the watermark at a step's end.
    pub(crate) fn step_end(&mut self, now_ms: i64, splits: &[SplitTime], is_source_finished: bool) -> EdgeTime {
        if is_source_finished {
            self.emitted = EdgeTime { watermark: WATERMARK_MAX, is_idle: false };
            return self.emitted;
        }
        if self.is_batch {
            return self.emitted;
        }
        if std::mem::take(&mut self.must_emit) {
            // A cut: the rows after it must see exactly the watermark that Flink emitted before them.
            return self.emit(self.row_emitted, now_ms);
        }
        let candidate = self.candidate(now_ms, splits);
        self.emitted.is_idle = candidate.is_none();
        match candidate {
            Some(candidate) if candidate > self.emitted.watermark && self.is_due(now_ms) => {
                self.emit(candidate, now_ms)
            }
            _ => self.emitted,
        }
    }

    /// When `step_end` must be called although nothing arrives: a watermark waits for its interval, or a split turns idle.
    pub(crate) fn next_timer_ms(&self, now_ms: i64, splits: &[SplitTime]) -> Option<i64> {
        if self.is_batch {
            return None;
        }
        let waits = self.candidate(now_ms, splits).is_some_and(|c| c > self.emitted.watermark);
        let emission = if waits { self.emitted_at_ms.map(|at| at.saturating_add(self.interval_ms)) } else { None };
        let turns_idle = splits
            .iter()
            .filter(|s| self.idle_timeout_ms > 0 && !s.is_finished)
            .filter_map(|s| s.silent_since_ms)
            .map(|since| since.saturating_add(self.idle_timeout_ms))
            .filter(|&at| at > now_ms);
        turns_idle.chain(emission).min()
    }

    fn slot(&self, split: usize) -> usize {
        if self.push_down { split } else { 0 }
    }

    fn is_due(&self, now_ms: i64) -> bool {
        self.emitted_at_ms.is_none_or(|at| now_ms.saturating_sub(at) >= self.interval_ms)
    }

    fn emit(&mut self, watermark: i64, now_ms: i64) -> EdgeTime {
        debug_assert!(watermark >= self.emitted.watermark, "a watermark never goes back");
        self.emitted = EdgeTime { watermark, is_idle: false };
        self.emitted_at_ms = Some(now_ms);
        self.row_emitted = self.row_emitted.max(watermark);
        self.emitted
    }

    /// The watermark that could be emitted; `None` when every split is idle.
    fn candidate(&self, now_ms: i64, splits: &[SplitTime]) -> Option<i64> {
        let is_idle = |s: &SplitTime| {
            self.idle_timeout_ms > 0
                && s.silent_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= self.idle_timeout_ms)
        };
        let mut unfinished = splits.iter().enumerate().filter(|(_, s)| !s.is_finished).peekable();
        if splits.is_empty() {
            return Some(WATERMARK_MIN);
        }
        if !self.push_down {
            let maximum = self.splits.first().copied().unwrap_or(WATERMARK_MIN);
            let all_idle = unfinished.peek().is_some() && unfinished.all(|(_, s)| is_idle(s));
            return if all_idle { None } else { Some(maximum) };
        }
        if unfinished.peek().is_none() {
            // All known splits are read to their ends, but new ones may come: the end of what there was.
            return self.splits.iter().copied().max();
        }
        unfinished
            .filter(|(_, s)| !is_idle(s))
            .map(|(split, _)| self.splits.get(split).copied().unwrap_or(WATERMARK_MIN))
            .min()
    }
}

/// A timestamp column as milliseconds, NULL as `None`.
pub(crate) fn watermarks_ms(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let values = millis(column)?;
    Ok(match column.nulls() {
        None => values.into_iter().map(Some).collect(),
        Some(nulls) => values.into_iter().zip(nulls.iter()).map(|(v, valid)| valid.then_some(v)).collect(),
    })
}

/// The largest value of a timestamp column in milliseconds.
pub(crate) fn maximum_ms(column: &ArrayRef) -> Result<Option<i64>> {
    Ok(match column.data_type() {
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => max(column.as_primitive::<TimestampMillisecondType>()),
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            max(column.as_primitive::<TimestampMicrosecondType>()).map(|v| v.div_euclid(1_000))
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            max(column.as_primitive::<TimestampNanosecondType>()).map(|v| v.div_euclid(1_000_000))
        }
        other => return Err(wrong_type(other)),
    })
}

/// Refuses a NULL in the rowtime column.
pub(crate) fn check_rowtime(column: &ArrayRef, name: &str, table: &str) -> Result<()> {
    if column.null_count() == 0 {
        return Ok(());
    }
    let message = format!("column `{name}` of table `{table}` is its event-time attribute, but is NULL in a row");
    Err(Error::data(message)
        .hint("rows without an event time cannot be placed: give the column a value in the table's DDL"))
}

/// A timestamp column as milliseconds; what stands in NULL rows has no meaning.
pub(crate) fn millis(column: &ArrayRef) -> Result<Vec<i64>> {
    Ok(match column.data_type() {
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().values().to_vec()
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().values().iter().map(|v| v.div_euclid(1_000)).collect()
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            column.as_primitive::<TimestampNanosecondType>().values().iter().map(|v| v.div_euclid(1_000_000)).collect()
        }
        other => return Err(wrong_type(other)),
    })
}

fn wrong_type(found: &ArrowType) -> Error {
    Error::internal(format!("a watermark has the type {found}, expected a timestamp"))
}

fn max<T: ArrowPrimitiveType<Native = i64>>(column: &PrimitiveArray<T>) -> Option<i64> {
    match column.nulls() {
        None => column.values().iter().copied().max(),
        Some(nulls) => nulls.valid_indices().map(|row| column.value(row)).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wiesel_core::DataType;
    use wiesel_core::types::TypeKind;
    use wiesel_expr::ScalarExpr;

    fn generator(push_down: bool, interval_ms: u64, idle_timeout_ms: u64) -> Generator {
        let data_type = DataType::new(TypeKind::Timestamp(3));
        let expr = ScalarExpr::Column { index: 0, data_type };
        Generator::new(&WatermarkNode { rowtime: 0, expr, push_down, idle_timeout_ms, interval_ms }, false)
    }

    const BUSY: SplitTime = SplitTime { is_finished: false, silent_since_ms: None };
    const FINISHED: SplitTime = SplitTime { is_finished: true, silent_since_ms: None };

    fn silent(since: i64) -> SplitTime {
        SplitTime { is_finished: false, silent_since_ms: Some(since) }
    }

    #[test]
    fn the_watermark_is_the_minimum_over_active_splits() {
        type Case<'a> = (&'a [SplitTime], [i64; 2], i64, Option<i64>);
        // Splits, their maxima, the clock, and the time that comes out.
        let cases: [Case<'_>; 6] = [
            (&[BUSY, BUSY], [50, 70], 0, Some(50)),
            (&[BUSY, FINISHED], [50, 10], 0, Some(50)),
            (&[BUSY, silent(0)], [50, 10], 99, Some(10)),
            (&[BUSY, silent(0)], [50, 10], 100, Some(50)),
            (&[silent(0), silent(0)], [50, 70], 100, None),
            (&[FINISHED, FINISHED], [50, 70], 100, Some(70)),
        ];
        for (splits, maxima, now, expected) in cases {
            let mut generator = generator(true, 0, 100);
            for (split, maximum) in maxima.into_iter().enumerate() {
                generator.fold(split, maximum);
            }
            let time = generator.step_end(now, splits, false);
            let expected = expected.map_or(EdgeTime { watermark: WATERMARK_MIN, is_idle: true }, |watermark| {
                EdgeTime { watermark, is_idle: false }
            });
            assert_eq!(time, expected, "{splits:?} at {now}");
        }
    }

    #[test]
    fn a_watermark_waits_for_its_interval_and_says_when() {
        let mut generator = generator(true, 200, 0);
        generator.fold(0, 10);
        assert_eq!(generator.step_end(1_000, &[BUSY], false).watermark, 10);
        generator.fold(0, 20);
        assert_eq!(generator.step_end(1_199, &[BUSY], false).watermark, 10);
        assert_eq!(generator.next_timer_ms(1_199, &[BUSY]), Some(1_200));
        assert_eq!(generator.step_end(1_200, &[BUSY], false).watermark, 20);
        assert_eq!(generator.next_timer_ms(1_200, &[BUSY]), None);
        assert_eq!(generator.step_end(1_201, &[FINISHED], true).watermark, WATERMARK_MAX);
    }

    #[test]
    fn a_new_split_does_not_take_the_watermark_back() {
        let mut generator = generator(true, 0, 0);
        generator.fold(0, 10);
        assert_eq!(generator.step_end(0, &[BUSY], false).watermark, 10);
        assert_eq!(generator.step_end(0, &[BUSY, BUSY], false).watermark, 10);
    }

    /// Flink's assigner row by row: the watermark each row is judged against.
    fn flink(rows: &[i64], delay: i64, interval: i64) -> Vec<i64> {
        let (mut current, mut emitted) = (WATERMARK_MIN, WATERMARK_MIN);
        let judged = |row: &i64| {
            let seen = emitted;
            current = current.max(row - delay);
            if i128::from(current) - i128::from(emitted) > i128::from(interval) {
                emitted = current;
            }
            seen
        };
        rows.iter().map(judged).collect()
    }

    #[test]
    fn a_table_without_push_down_is_cut_so_that_late_rows_are_those_of_flink() {
        let cases: [(&[i64], i64, i64); 5] = [
            (&[0, 100, 200, 300, 400, 500], 0, 200),
            (&[0, 1_000, 50, 2_000, 900, 1_900], 0, 200),
            (&[0, 1_000, 50, 2_000, 900, 1_900], 500, 200),
            (&[5, 4, 3, 2, 1], 0, 0),
            (&[0, 300, 400, 350, 10, 700, 650], 0, 200),
        ];
        for (rows, delay, interval) in cases {
            let mut generator = generator(false, u64::try_from(interval).unwrap(), 0);
            let watermarks: Vec<Option<i64>> = rows.iter().map(|r| Some(r - delay)).collect();
            let (mut from, mut late, mut steps) = (0, Vec::new(), 0);
            while from < rows.len() {
                let start = generator.emitted().watermark;
                let count = generator.walk(&rows[from..], &watermarks[from..]);
                late.extend(rows[from..from + count].iter().map(|r| *r <= start));
                from += count;
                steps += 1;
                // The clock stands still: only cuts move the watermark here.
                generator.step_end(0, &[BUSY], false);
            }
            let expected: Vec<bool> = rows.iter().zip(flink(rows, delay, interval)).map(|(r, w)| *r <= w).collect();
            assert_eq!(late, expected, "{rows:?} with delay {delay} and interval {interval}");
            if rows.is_sorted() {
                assert_eq!(steps, 1, "ordered input is never cut");
            }
        }
    }

    #[test]
    fn all_units_of_a_timestamp_become_milliseconds() {
        use arrow_array::{TimestampMicrosecondArray, TimestampNanosecondArray};
        use std::sync::Arc;
        let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(1_999), None, Some(-1)]));
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![Some(1_999_999)]));
        assert_eq!(watermarks_ms(&micros).unwrap(), [Some(1), None, Some(-1)]);
        assert_eq!(maximum_ms(&micros).unwrap(), Some(1));
        assert_eq!(millis(&nanos).unwrap(), [1]);
    }
}
