//! The bounded scan: a cursor inside one read-only transaction, read a bounded number of rows at a time.
//!
//! Splits are the ranges of 'scan.partition.*', or the whole table, one after the other. A position counts rows of the split. PostgreSQL
//! promises no order without ORDER BY, but a plain scan that is told to begin at the table's beginning and to use one process gives the same
//! order as long as nobody writes; so a job that resumes moves its cursor over the rows it has seen. When the table changes in between, rows
//! may be seen twice or not at all (in Flink the whole scan is repeated).

use std::sync::Arc;
use std::time::Duration;

use postgres::{Client, Row};
use wiesel_core::Result;
use wiesel_core::source::{RowReader, RowsBatch, Source, SourceContext, SourceEvent, SourceFactory, Split, SplitIndex};

use super::options::JdbcOptions;
use super::row_decoder::decode;
use super::statement;
use super::target::{Failure, Target};

/// The position of a split that was read to its end.
const DONE: i64 = i64::MAX;
/// Rows of the first fetch; later ones follow the rows' size.
const FETCH_ROWS_FIRST: usize = 256;
/// Rows of a fetch at most.
const FETCH_ROWS_MAX: usize = 16_384;
/// What a fetch should bring.
const FETCH_BYTES: usize = 2 << 20;

/// Makes the source of one table reference.
pub(super) struct JdbcSourceFactory {
    target: Arc<Target>,
    splits: Vec<ScanSplit>,
    fetch_rows_max: usize,
}

/// A part of the table.
#[derive(Clone)]
struct ScanSplit {
    name: String,
    /// Column, first and last value; `None`: all rows.
    range: Option<(String, i64, i64)>,
}

impl JdbcSourceFactory {
    pub(super) fn new(options: &JdbcOptions, target: Target) -> Self {
        let splits = match &options.partition {
            None => vec![ScanSplit { name: "scan".to_owned(), range: None }],
            Some(partition) => ranges(partition.lower, partition.upper, partition.count)
                .into_iter()
                .map(|(first, last)| ScanSplit {
                    name: format!("scan {first}..{last}"),
                    range: Some((partition.column.clone(), first, last)),
                })
                .collect(),
        };
        let fetch_rows_max = options.fetch_rows.unwrap_or(FETCH_ROWS_MAX).min(FETCH_ROWS_MAX);
        JdbcSourceFactory { target: Arc::new(target), splits, fetch_rows_max }
    }
}

/// `count` ranges of about one size that cover `lower..=upper`, as Flink cuts them: the longer ones first.
fn ranges(lower: i64, upper: i64, count: u32) -> Vec<(i64, i64)> {
    let total = i128::from(upper) - i128::from(lower) + 1;
    let count = i128::from(count).min(total).max(1);
    let (size, longer) = (total / count, total % count);
    let mut first = i128::from(lower);
    let mut ranges = Vec::new();
    for index in 0..count {
        let last = first + size - 1 + i128::from(index < longer);
        ranges.push((first as i64, last as i64));
        first = last + 1;
    }
    ranges
}

impl SourceFactory for JdbcSourceFactory {
    fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let start = |name: &str| context.restored.iter().find(|s| s.name == name).map_or(0, |s| s.start);
        let splits = self.splits.iter().map(|s| Split { name: s.name.clone(), start: start(&s.name) }).collect();
        let mut source = JdbcSource {
            target: Arc::clone(&self.target),
            parts: self.splits.clone(),
            splits,
            current: 0,
            row: None,
            client: None,
            has_cursor: false,
            fetch_rows: FETCH_ROWS_FIRST.min(self.fetch_rows_max),
            fetch_rows_max: self.fetch_rows_max,
        };
        // What does not fit is said before the job runs.
        source.connect()?;
        Ok(Box::new(source))
    }

    fn reader(&self) -> Result<Option<Box<dyn RowReader>>> {
        Ok(None)
    }
}

struct JdbcSource {
    target: Arc<Target>,
    parts: Vec<ScanSplit>,
    splits: Vec<Split>,
    current: SplitIndex,
    /// How far the current split was read; `None`: not begun.
    row: Option<i64>,
    client: Option<(Client, String)>,
    has_cursor: bool,
    fetch_rows: usize,
    fetch_rows_max: usize,
}

impl JdbcSource {
    /// A connection, and the SELECT without its WHERE.
    fn connect(&mut self) -> Result<&mut Client, Failure> {
        if self.client.as_ref().is_none_or(|(client, _)| client.is_closed()) {
            self.client = None;
            self.has_cursor = false;
            let mut client = self.target.connect()?;
            let select = self.target.prepare_select(&mut client)?;
            self.client = Some((client, select));
        }
        match &mut self.client {
            Some((client, _)) => Ok(client),
            None => Err(Failure::Away("the connection was lost".to_owned())),
        }
    }

    fn open_cursor(&mut self, row: i64) -> Result<(), Failure> {
        if self.has_cursor {
            return Ok(());
        }
        self.connect()?;
        let (Some((client, select)), Some(part)) = (&mut self.client, self.parts.get(self.current)) else {
            return Err(Failure::Away("the connection was lost".to_owned()));
        };
        let range = part.range.as_ref().map(|(column, first, last)| (column.as_str(), *first, *last));
        let mut script = statement::open_cursor(select, range);
        if row > 0 {
            script.push_str(&format!("MOVE FORWARD {row} IN wiesel_scan;"));
        }
        client.batch_execute(&script).map_err(|e| self.target.failure(&e))?;
        self.has_cursor = true;
        Ok(())
    }

    fn fetch(&mut self, row: i64) -> Result<Vec<Row>, Failure> {
        self.open_cursor(row)?;
        let Some((client, _)) = &mut self.client else {
            return Err(Failure::Away("the connection was lost".to_owned()));
        };
        let sql = format!("FETCH FORWARD {} FROM wiesel_scan", self.fetch_rows);
        client.query(sql.as_str(), &[]).map_err(|e| self.target.failure(&e))
    }

    fn close_cursor(&mut self) {
        let is_closed = self.client.as_mut().is_some_and(|(client, _)| client.batch_execute("ROLLBACK").is_ok());
        if !is_closed {
            self.client = None;
        }
        self.has_cursor = false;
    }
}

impl Source for JdbcSource {
    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn poll(&mut self, _bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        let Some(split) = self.splits.get(self.current) else {
            self.client = None;
            std::thread::park_timeout(wait);
            return Ok(());
        };
        let row = self.row.unwrap_or(split.start);
        if row == DONE {
            events.push(SourceEvent::Finished(self.current));
            self.current += 1;
            self.row = None;
            return Ok(());
        }
        let rows = match self.fetch(row) {
            Ok(rows) => rows,
            Err(failure) => {
                self.client = None;
                self.has_cursor = false;
                return Err(failure.into());
            }
        };
        let (batch, bytes) = decode(&rows, 0, &self.target.schema, &self.target.name)?;
        let is_last = rows.len() < self.fetch_rows;
        let next = if is_last { DONE } else { row.saturating_add(i64::try_from(rows.len()).unwrap_or(0)) };
        if !rows.is_empty() {
            let row_bytes = (bytes / rows.len()).max(1);
            self.fetch_rows = (FETCH_BYTES / row_bytes).clamp(1, self.fetch_rows_max);
            events.push(SourceEvent::Rows(RowsBatch { split: self.current, rows: batch, next }));
        } else if is_last {
            let (arena, records) = (bytes::Bytes::new(), Vec::new());
            events.push(SourceEvent::Raw(wiesel_core::source::RawBatch { split: self.current, arena, records, next }));
        }
        self.row = Some(next);
        if is_last {
            self.close_cursor();
        }
        Ok(())
    }

    fn checkpoint_complete(&mut self, _positions: &[(SplitIndex, i64)]) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_bounds_without_gaps() {
        assert_eq!(ranges(1, 10, 3), [(1, 4), (5, 7), (8, 10)]);
        assert_eq!(ranges(5, 6, 9), [(5, 5), (6, 6)]);
        assert_eq!(ranges(-3, -3, 1), [(-3, -3)]);
        let all = ranges(i64::MIN, i64::MAX, 3);
        assert_eq!((all[0].0, all[2].1), (i64::MIN, i64::MAX));
        assert_eq!(all[0].1 + 1, all[1].0);
    }
}
