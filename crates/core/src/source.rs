//! Where rows come from. A source thread only fetches; any worker decodes.
//!
//! ```text
//! Source::poll (its own thread)  -> SourceEvent::Raw(RawBatch) -> cut into decode tasks of about 1 MiB
//!                                                              -> RowReader::read on any worker -> ReadRows
//!                                -> SourceEvent::Rows          -> used as it is (sources that make columns themselves)
//! ```
//! A batch holds rows of one split, in order. Nothing above [`Source`] knows messages one by one.

use std::ops::Range;
use std::time::Duration;

use arrow_array::RecordBatch;
use bytes::Bytes;

use crate::change::RowKinds;
use crate::env::Waker;
use crate::error::Result;

/// A split's place in [`Source::splits`].
pub type SplitIndex = usize;

/// A part of a source that is ordered and has positions of its own: a Kafka partition, a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// A name that is stable over restarts, `payment_msg-0`.
    pub name: String,
    /// The position of the first row to be read.
    pub start: i64,
}

/// One record of a [`RawBatch`]: ranges into its arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord {
    /// The key's bytes; empty with `has_key` false when there is none.
    pub key_start: u32,
    /// End of the key's bytes.
    pub key_end: u32,
    /// The value's bytes; empty with `has_value` false for a tombstone.
    pub value_start: u32,
    /// End of the value's bytes.
    pub value_end: u32,
    /// Position in the split.
    pub offset: i64,
    /// The record's own time, ms since 1970; -1 when there is none.
    pub timestamp_ms: i64,
    /// Whether a key exists.
    pub has_key: bool,
    /// Whether a value exists.
    pub has_value: bool,
    /// The connector's own byte (Kafka: timestamp type).
    pub tag: u8,
}

/// Undecoded records of one split.
#[derive(Debug, Clone)]
pub struct RawBatch {
    /// The split they belong to.
    pub split: SplitIndex,
    /// All keys and values, at most 2 GiB.
    pub arena: Bytes,
    /// The records, in order.
    pub records: Vec<RawRecord>,
    /// The position to resume at when all of them are processed.
    pub next: i64,
}

/// Columns that a source made itself.
#[derive(Debug, Clone)]
pub struct RowsBatch {
    /// The split they belong to.
    pub split: SplitIndex,
    /// The rows, with the requested columns.
    pub rows: RecordBatch,
    /// The position to resume at when all of them are processed.
    pub next: i64,
}

/// What a poll brings.
#[derive(Debug, Clone)]
pub enum SourceEvent {
    /// Records to decode.
    Raw(RawBatch),
    /// Finished columns.
    Rows(RowsBatch),
    /// The split has nothing more right now (its reader stands at the log's end).
    CaughtUp(SplitIndex),
    /// A new split; it stands at the end of [`Source::splits`].
    NewSplit(Split),
    /// The split will never bring anything again (bounded read).
    Finished(SplitIndex),
    /// Rows still to come behind the last batch of the split, as far as known (lag).
    Lag(SplitIndex, u64),
    /// The system is away; the text says what is waited for. `None`: it is back.
    Waiting(Option<String>),
}

/// What a source needs from its job.
#[derive(Debug, Clone)]
pub struct SourceContext {
    /// Positions to resume at, by split name; empty for a fresh start.
    pub restored: Vec<Split>,
    /// Where splits of a bounded read end, by split name, as [`Source::end`] said before the restored checkpoint: a restart keeps them.
    pub restored_ends: Vec<(String, i64)>,
    /// Whether there was a checkpoint (then splits that it does not name are new ones and start at their beginning).
    pub is_restored: bool,
    /// Bytes that the client may hold beyond what it handed out.
    pub buffer_bytes_max: usize,
    /// Called when something arrived.
    pub waker: Waker,
    /// Where the source may keep what it would otherwise ask another system for again; a job goes on without it, too.
    pub cache_folder: Option<std::path::PathBuf>,
}

/// Makes the source of one table reference.
pub trait SourceFactory: Send + Sync {
    /// Connects and finds the splits. Errors of kind `Unavailable` are retried by the engine.
    fn open(&self, context: SourceContext) -> Result<Box<dyn Source>>;
    /// A decoder for one worker. Sources that only send [`SourceEvent::Rows`] return `None`.
    fn reader(&self) -> Result<Option<Box<dyn RowReader>>>;
}

/// Fetches. Lives in a thread of its own.
///
/// Contract:
/// - rows of one split come in order, without gaps and without repeats (trusted);
/// - `poll` returns within about `wait` even when nothing comes (trusted);
/// - an outage that may heal is a `Waiting` event and a later retry inside the source, not an error;
/// - dropping the source closes everything it opened.
pub trait Source: Send {
    /// The splits found at open.
    fn splits(&self) -> &[Split];
    /// Where a split of a bounded read ends, when that was found out at open and would come out differently later. It is kept with the
    /// positions and handed back as [`SourceContext::restored_ends`].
    fn end(&self, _split: SplitIndex) -> Option<i64> {
        None
    }
    /// Brings up to about `bytes_max` of records, waiting at most `wait` for the first.
    fn poll(&mut self, bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()>;
    /// Told after a checkpoint is durable: these positions will never be asked for again (Kafka commits its group offsets).
    fn checkpoint_complete(&mut self, positions: &[(SplitIndex, i64)]) -> Result<()>;
}

/// What a decoder made of some records.
#[derive(Debug, Clone)]
pub struct ReadRows {
    /// The rows, with the requested columns.
    pub rows: RecordBatch,
    /// Kinds, for changelog formats; `None` when all are +I.
    pub kinds: Option<RowKinds>,
    /// Records that were dropped by the format's own rules (`ignore-parse-errors`, empty messages).
    pub skipped: u64,
}

/// Decodes records into the requested columns, on any worker.
///
/// Contract: depends on nothing but its input (asserted by the engine's tests: any cut of the records gives the same rows).
pub trait RowReader: Send {
    /// Decodes `records[range]`. An error names the record's offset and clips a sample of it.
    fn read(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<ReadRows>;
}
