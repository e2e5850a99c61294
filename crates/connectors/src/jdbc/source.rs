//! The bounded scan, read a bounded number of rows at a time.
//!
//! Splits are the ranges of 'scan.partition.*', or the whole table. As many are read at a time as the job has workers, each by a thread with
//! a connection of its own, and what they fetched waits in a channel of as many places. A position counts rows of the split, in an order
//! that stays the same as long as nobody writes (`RowScan`), so a job that resumes passes over the rows it has seen. When the table changes
//! in between, rows may be seen twice or not at all (in Flink the whole scan is repeated).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, never};
use wiesel_core::source::{
    RawBatch, RowReader, RowsBatch, Source, SourceContext, SourceEvent, SourceFactory, Split, SplitIndex,
};
use wiesel_core::{Error, Result};

use super::dialect::{Failure, RowScan, ScanRange};
use super::options::JdbcOptions;
use super::target::Target;

/// The position of a split that was read to its end.
const DONE: i64 = i64::MAX;
/// Rows of the first fetch; later ones follow the rows' size.
const FETCH_ROWS_FIRST: usize = 256;
/// Rows of a fetch at most.
const FETCH_ROWS_MAX: usize = 16_384;
/// Parts that are read at a time at most: each takes a connection of the server.
const READERS_MAX: usize = 16;
/// What a fetch should bring.
const FETCH_BYTES: usize = 2 << 20;

/// Makes the source of one table reference.
pub(super) struct JdbcSourceFactory {
    target: Arc<Target>,
    splits: Vec<ScanSplit>,
    fetch_rows_max: usize,
    readers_max: usize,
}

/// A part of the table.
struct ScanSplit {
    name: String,
    /// `None`: all rows.
    range: Option<ScanRange>,
}

impl JdbcSourceFactory {
    pub(super) fn new(options: &JdbcOptions, target: Arc<Target>, workers: usize) -> Self {
        let splits = match &options.partition {
            None => vec![ScanSplit { name: "scan".to_owned(), range: None }],
            Some(partition) => ranges(partition.lower, partition.upper, partition.count)
                .into_iter()
                .map(|(first, last)| ScanSplit {
                    name: format!("scan {first}..{last}"),
                    range: Some(ScanRange { column: partition.column.clone(), first, last }),
                })
                .collect(),
        };
        let fetch_rows_max = options.fetch_rows.unwrap_or(FETCH_ROWS_MAX).min(FETCH_ROWS_MAX);
        let readers_max = workers.clamp(1, READERS_MAX).min(splits.len());
        JdbcSourceFactory { target, splits, fetch_rows_max, readers_max }
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
        let splits: Vec<Split> =
            self.splits.iter().map(|s| Split { name: s.name.clone(), start: start(&s.name) }).collect();
        // What does not fit is said before the job runs.
        let scan = self.target.dialect().open_scan(&self.target)?;
        let (sender, receiver) = bounded(self.readers_max);
        Ok(Box::new(JdbcSource {
            work: Arc::new(Work {
                target: Arc::clone(&self.target),
                ranges: self.splits.iter().map(|split| split.range.clone()).collect(),
                waiting: Mutex::new(splits.iter().enumerate().map(|(split, s)| (split, s.start)).collect()),
                fetch_rows_max: self.fetch_rows_max,
            }),
            splits,
            readers: Vec::new(),
            readers_max: self.readers_max,
            scan: Some(scan),
            sender,
            receiver,
        }))
    }

    fn reader(&self) -> Result<Option<Box<dyn RowReader>>> {
        Ok(None)
    }
}

/// What the readers share.
struct Work {
    target: Arc<Target>,
    /// By split.
    ranges: Vec<Option<ScanRange>>,
    /// Splits that nobody reads, and how far they were read.
    waiting: Mutex<VecDeque<(SplitIndex, i64)>>,
    fetch_rows_max: usize,
}

impl Work {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<(SplitIndex, i64)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reader hands over.
type Read = Result<SourceEvent, Failure>;

struct JdbcSource {
    work: Arc<Work>,
    splits: Vec<Split>,
    readers: Vec<JoinHandle<()>>,
    readers_max: usize,
    /// The connection that was opened with the source, for the first reader.
    scan: Option<Box<dyn RowScan>>,
    sender: Sender<Read>,
    /// Holds as many fetches as there are readers.
    receiver: Receiver<Read>,
}

impl JdbcSource {
    /// Starts readers for splits that wait, and lets go of those that are done.
    fn start_readers(&mut self) -> Result<()> {
        let (done, readers) = self.readers.drain(..).partition(JoinHandle::is_finished);
        self.readers = readers;
        for reader in done {
            reader.join().map_err(|_| Error::internal("a reader of a jdbc table panicked"))?;
        }
        let waiting = self.work.waiting().len();
        for _ in 0..waiting.min(self.readers_max.saturating_sub(self.readers.len())) {
            let reader = Reader {
                work: Arc::clone(&self.work),
                sender: self.sender.clone(),
                scan: self.scan.take(),
                fetch_rows: FETCH_ROWS_FIRST.min(self.work.fetch_rows_max),
            };
            let name = format!("jdbc-{}", self.work.target.name);
            let started = std::thread::Builder::new().name(name).spawn(move || reader.run());
            self.readers.push(started.map_err(|e| Error::internal(format!("a thread could not be started: {e}")))?);
        }
        Ok(())
    }
}

impl Source for JdbcSource {
    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn poll(&mut self, _bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        self.start_readers()?;
        match self.receiver.recv_timeout(wait) {
            Ok(read) => events.push(read?),
            // Nothing came in time, or all is read.
            Err(_) => return Ok(()),
        }
        Ok(())
    }

    fn checkpoint_complete(&mut self, _positions: &[(SplitIndex, i64)]) -> Result<()> {
        Ok(())
    }
}

impl Drop for JdbcSource {
    fn drop(&mut self) {
        // Without a receiver the readers end behind the fetch that they are at.
        self.work.waiting().clear();
        self.receiver = never();
        for reader in self.readers.drain(..) {
            reader.join().ok();
        }
    }
}

/// One connection in a thread of its own; it takes splits until none waits.
struct Reader {
    work: Arc<Work>,
    sender: Sender<Read>,
    scan: Option<Box<dyn RowScan>>,
    fetch_rows: usize,
}

impl Reader {
    fn run(mut self) {
        loop {
            let next = self.work.waiting().pop_front();
            let Some((split, mut row)) = next else { return };
            match self.read(split, &mut row) {
                Ok(true) => {}
                Ok(false) => return,
                Err(failure) => {
                    // Another reader goes on there, should it be an outage that heals.
                    self.work.waiting().push_front((split, row));
                    self.sender.send(Err(failure)).ok();
                    return;
                }
            }
        }
    }

    /// Reads a split to its end; `row` says how far it came. `false`: nobody wants the rows any more.
    fn read(&mut self, split: SplitIndex, row: &mut i64) -> Result<bool, Failure> {
        let work = Arc::clone(&self.work);
        if *row != DONE {
            let mut scan = match self.scan.take().filter(|scan| !scan.is_closed()) {
                Some(scan) => scan,
                None => work.target.dialect().open_scan(&work.target)?,
            };
            scan.open(work.ranges.get(split).and_then(Option::as_ref), *row)?;
            while *row != DONE {
                let (rows, bytes) = scan.fetch(self.fetch_rows)?;
                let count = rows.num_rows();
                let is_last = count < self.fetch_rows;
                let next = if is_last { DONE } else { row.saturating_add(i64::try_from(count).unwrap_or(0)) };
                let event = if let Some(row_bytes) = bytes.checked_div(count) {
                    self.fetch_rows = (FETCH_BYTES / row_bytes.max(1)).clamp(1, work.fetch_rows_max);
                    SourceEvent::Rows(RowsBatch { split, rows, next })
                } else {
                    SourceEvent::Raw(RawBatch { split, arena: Bytes::new(), records: Vec::new(), next })
                };
                if self.sender.send(Ok(event)).is_err() {
                    return Ok(false);
                }
                *row = next;
            }
            if scan.close().is_ok() {
                self.scan = Some(scan);
            }
        }
        Ok(self.sender.send(Ok(SourceEvent::Finished(split))).is_ok())
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
