//! The sink: changes wait in a buffer on the worker (`row_buffer.rs`), a thread writes buffers as transactions.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow_array::RecordBatch;
use wiesel_core::sink::{
    CheckpointKind, Prepared as PreparedWork, RefusedRow, Sink, SinkContext, SinkCounters, SinkFactory,
    SinkParallelism, SinkStatus,
};
use wiesel_core::{ChangeBatch, Error, Result};

use super::dialect::{Failure, RowWriter, in_transaction};
use super::options::JdbcOptions;
use super::row_buffer::RowBuffer;
use super::target::Target;
use crate::formats::json::{JsonEncoder, JsonOptions};
use crate::formats::{Encoder as _, FormatContext};
use crate::handover::{HandOver, Link, exponential_backoff};
use crate::java_text;
use crate::refused;

/// The buffer being filled takes about so many changes; then the sink is full until the other one is written.
const BUFFERED_CHANGES_MAX: usize = 50_000;
/// And about so many bytes.
const BUFFERED_BYTES_MAX: usize = 16 << 20;
/// Rows of one statement.
pub(super) const STATEMENT_ROWS_MAX: usize = 5000;
/// The first pause after a failure.
const BACKOFF_DELAY: Duration = Duration::from_millis(100);
/// How much of a refused row is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// Makes the instances of a jdbc sink.
pub(super) struct JdbcFactory {
    options: JdbcOptions,
    target: Arc<Target>,
    /// The session's time zone, when refused rows are handed over.
    letters: Option<String>,
}

impl JdbcFactory {
    pub(super) fn new(options: JdbcOptions, target: Arc<Target>, letters: Option<String>) -> Self {
        JdbcFactory { options, target, letters }
    }
}

impl SinkFactory for JdbcFactory {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerWorker
    }

    fn open(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let letters = self.letters.as_ref().map(|time_zone| letter_encoder(&self.target, time_zone));
        let mut sender = Sender {
            target: Arc::clone(&self.target),
            writer: None,
            retries_max: self.options.retries_max,
            letters,
            refused_in_buffer: 0,
        };
        sender.writer()?;
        let name = format!("jdbc-{}-{}", self.options.table_name, context.instance);
        let handover = HandOver::start(name, context.waker, move |buffer, link| sender.send(buffer, link))?;
        Ok(Box::new(JdbcSink {
            target: Arc::clone(&self.target),
            flush_rows: self.options.flush_rows,
            flush_interval_ms: self.options.flush_interval_ms,
            buffer: RowBuffer::default(),
            spare: None,
            handover,
            first_buffered_ms: None,
            last_now_ms: 0,
            received: 0,
            folded: 0,
        }))
    }

    fn commit(&self, _checkpoint: u64, _pending: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }

    fn recover(&self, _restored: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
}

struct JdbcSink {
    target: Arc<Target>,
    flush_rows: Option<usize>,
    flush_interval_ms: Option<i64>,
    /// Being filled.
    buffer: RowBuffer,
    /// Came back empty from the thread.
    spare: Option<RowBuffer>,
    handover: HandOver<RowBuffer>,
    /// When the oldest change of `buffer` came, as far as known.
    first_buffered_ms: Option<i64>,
    last_now_ms: i64,
    received: u64,
    folded: u64,
}

impl JdbcSink {
    fn is_full(&self) -> bool {
        self.buffer.len() >= BUFFERED_CHANGES_MAX || self.buffer.bytes() >= BUFFERED_BYTES_MAX
    }

    fn is_due(&self) -> bool {
        self.is_full()
            || self.handover.checkpoint_wants_buffer()
            || self.flush_rows.is_some_and(|n| self.buffer.len() >= n)
            || self.due_at_ms().is_some_and(|due| self.last_now_ms >= due)
    }

    fn due_at_ms(&self) -> Option<i64> {
        Some(self.first_buffered_ms?.saturating_add(self.flush_interval_ms?))
    }

    /// Reads what came back, hands over what is due.
    fn pump(&mut self) -> Result<()> {
        if let Some(emptied) = self.handover.take_back()? {
            self.spare = Some(emptied);
        }
        if self.handover.is_idle() && !self.buffer.is_empty() && self.is_due() {
            let next = self.spare.take().unwrap_or_default();
            self.handover.hand_over(std::mem::replace(&mut self.buffer, next))?;
            self.first_buffered_ms = None;
        }
        Ok(())
    }
}

impl Sink for JdbcSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        let written = self.buffer.write(batch, &self.target.key)?;
        self.received += written.received;
        self.folded += written.folded;
        Ok(())
    }

    fn step_end(&mut self, now_ms: i64) -> Result<SinkStatus> {
        self.last_now_ms = now_ms;
        if !self.buffer.is_empty() && self.first_buffered_ms.is_none() {
            self.first_buffered_ms = Some(now_ms);
        }
        self.pump()?;
        if self.is_full() && !self.handover.is_idle() {
            return Ok(SinkStatus::Full);
        }
        // While a buffer is on its way, its return wakes the loop.
        Ok(SinkStatus::Ready(if self.handover.is_idle() { self.due_at_ms() } else { None }))
    }

    fn prepare(&mut self, _checkpoint: u64, _kind: CheckpointKind) -> Result<()> {
        self.handover.begin_checkpoint(self.buffer.is_empty());
        self.pump()
    }

    fn poll_prepared(&mut self) -> Result<Option<PreparedWork>> {
        self.pump()?;
        Ok(self.handover.checkpoint_is_safe().then(PreparedWork::default))
    }

    fn take_refused(&mut self) -> Vec<RefusedRow> {
        self.handover.progress().take_refused()
    }

    fn waiting_for(&self) -> Option<String> {
        self.handover.progress().waiting_for()
    }

    fn counters(&self) -> SinkCounters {
        let progress = self.handover.progress();
        SinkCounters {
            received: self.received,
            delivered: progress.delivered.load(Ordering::Relaxed),
            folded: self.folded,
            refused: progress.refused.load(Ordering::Relaxed),
            retried: progress.retried.load(Ordering::Relaxed),
        }
    }
}

/// The thread's part: a buffer as a transaction.
struct Sender {
    target: Arc<Target>,
    /// The connection; `None` after it was lost.
    writer: Option<Box<dyn RowWriter>>,
    retries_max: u32,
    /// Writes refused rows as JSON; `None`: a refused row ends the job.
    letters: Option<JsonEncoder>,
    /// Changes of the buffer at hand that were handed over.
    refused_in_buffer: u64,
}

impl Sender {
    fn writer(&mut self) -> Result<&mut dyn RowWriter, Failure> {
        let writer = match self.writer.take().filter(|writer| !writer.is_closed()) {
            Some(writer) => writer,
            None => self.target.dialect().open_writer(&self.target)?,
        };
        Ok(&mut **self.writer.insert(writer))
    }

    /// Writes a buffer until it is committed.
    fn send(&mut self, buffer: &mut RowBuffer, link: &Link) -> Result<()> {
        let mut statement_rows = STATEMENT_ROWS_MAX;
        let (mut attempt, mut conflicts) = (0, 0);
        loop {
            let why = match self.write_transaction(buffer, statement_rows) {
                Ok(()) => break,
                Err(Failure::SameRowTwice) if statement_rows > 1 => {
                    statement_rows = 1;
                    continue;
                }
                Err(Failure::Away(why)) => {
                    self.writer = None;
                    why
                }
                Err(Failure::Conflict(why)) => {
                    conflicts += 1;
                    if conflicts > self.retries_max {
                        let error = Error::unavailable(format!("gave up after {} retries: {why}", self.retries_max));
                        return Err(error.hint("raise 'sink.max-retries', or look for who else writes to the table"));
                    }
                    why
                }
                Err(Failure::Row(_)) if self.letters.is_some() => match self.write_around(buffer, link) {
                    Ok(()) => break,
                    Err(Failure::Away(why) | Failure::Conflict(why)) => {
                        self.writer = None;
                        why
                    }
                    Err(failure) => return Err(failure.into()),
                },
                Err(Failure::Row(error)) => {
                    link.progress.refused.fetch_add(1, Ordering::Relaxed);
                    return Err(self.find_refused_row(buffer).unwrap_or(error));
                }
                Err(failure) => return Err(failure.into()),
            };
            attempt += 1;
            link.progress.retried.fetch_add(1, Ordering::Relaxed);
            link.progress.set_waiting_for(Some(format!("{why} (try {})", attempt + 1)));
            link.pause(exponential_backoff(BACKOFF_DELAY, attempt))?;
        }
        link.progress.set_waiting_for(None);
        let refused = std::mem::take(&mut self.refused_in_buffer);
        link.progress.delivered.fetch_add(buffer.len() as u64 - refused, Ordering::Relaxed);
        buffer.clear();
        Ok(())
    }

    fn write_transaction(&mut self, buffer: &RowBuffer, statement_rows: usize) -> Result<(), Failure> {
        in_transaction(self.writer()?, |writer| {
            let mut start = 0;
            while start < buffer.len() {
                let end = (start + statement_rows).min(buffer.len());
                write_rows(writer, buffer, start..end)?;
                start = end;
            }
            Ok(())
        })
    }

    /// After the database refused a row of a buffer: writes the others, and hands the refused ones over once the others are committed.
    fn write_around(&mut self, buffer: &RowBuffer, link: &Link) -> Result<(), Failure> {
        let refused = in_transaction(self.writer()?, |writer| {
            writer.check_constraints_at_once()?;
            let mut refused = Vec::new();
            let mut write = |writer: &mut dyn RowWriter, range| write_rows(writer, buffer, range);
            write_or_halve(writer, 0..buffer.len(), &mut write, &mut refused)?;
            Ok(refused)
        })?;
        let Some(encoder) = &mut self.letters else { return Ok(()) };
        for (row, error) in &refused {
            let (deleted, written) = buffer.rows(*row..row + 1)?;
            let is_deletion = deleted.is_some();
            let mut json = Vec::new();
            if let Some(rows) = deleted.or(written) {
                encoder.encode(&ChangeBatch::inserts(rows), &mut json, &mut Vec::new())?;
            }
            link.progress.refuse(refused::row(json, is_deletion, error.message()));
        }
        self.refused_in_buffer = refused.len() as u64;
        Ok(())
    }

    /// After the database refused a row of a buffer: the same rows one by one, never committed, up to the one that it refuses.
    fn find_refused_row(&mut self, buffer: &RowBuffer) -> Option<Error> {
        let writer = self.writer().ok()?;
        writer.begin().ok()?;
        let mut found = None;
        for row in 0..buffer.len() {
            if let Err(failure) = write_rows(writer, buffer, row..row + 1) {
                found = Some((row, failure));
                break;
            }
        }
        let is_undone = writer.rollback().is_ok();
        if !is_undone {
            self.writer = None;
        }
        let (row, failure) = found?;
        let (deleted, written) = buffer.rows(row..row + 1).ok()?;
        Some(Error::from(failure).at(format!("row {}", show_row(&self.target, &deleted.or(written)?))))
    }
}

/// Writes some of the changes at hand, within a transaction.
pub(super) type WriteRange<'a> = dyn FnMut(&mut dyn RowWriter, Range<usize>) -> Result<(), Failure> + 'a;

/// Writes a range of changes; where the database refuses one of them, halves, down to the row.
pub(super) fn write_or_halve(
    writer: &mut dyn RowWriter,
    range: Range<usize>,
    write: &mut WriteRange<'_>,
    refused: &mut Vec<(usize, Error)>,
) -> Result<(), Failure> {
    writer.savepoint()?;
    match write(&mut *writer, range.clone()) {
        Ok(()) => return writer.release(),
        Err(Failure::Row(error)) if range.len() <= 1 => {
            writer.rollback_to_savepoint()?;
            refused.push((range.start, error));
            return Ok(());
        }
        Err(Failure::Row(_) | Failure::SameRowTwice) if range.len() > 1 => writer.rollback_to_savepoint()?,
        Err(failure) => return Err(failure),
    }
    let middle = range.start + range.len() / 2;
    write_or_halve(writer, range.start..middle, write, refused)?;
    write_or_halve(writer, middle..range.end, write, refused)
}

/// Writes refused rows as JSON.
pub(super) fn letter_encoder(target: &Target, time_zone: &str) -> JsonEncoder {
    JsonEncoder::new(FormatContext::whole(&target.name, target.schema.clone(), time_zone), JsonOptions::default())
}

/// Writes some of a buffer's changes inside a transaction.
fn write_rows(writer: &mut dyn RowWriter, buffer: &RowBuffer, range: Range<usize>) -> Result<(), Failure> {
    let (deleted, written) = buffer.rows(range)?;
    if let Some(rows) = deleted {
        writer.delete(&rows)?;
    }
    match written {
        Some(rows) => writer.insert(&rows),
        None => Ok(()),
    }
}

/// Deletes rows by key, or writes rows, inside a transaction.
pub(super) fn write_batch(writer: &mut dyn RowWriter, is_delete: bool, rows: &RecordBatch) -> Result<(), Failure> {
    if is_delete { writer.delete(rows) } else { writer.insert(rows) }
}

/// The first row of a batch for a message.
pub(super) fn show_row(target: &Target, rows: &RecordBatch) -> String {
    let mut text = String::new();
    for (i, (field, column)) in target.schema.fields().iter().zip(rows.columns()).enumerate() {
        text.push_str(if i > 0 { ", " } else { "" });
        text.push_str(&field.name);
        text.push('=');
        java_text::append_value(&mut text, column, &field.data_type.kind, 0);
    }
    let text: String = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
