//! The sink: changes wait in a buffer on the worker (`row_buffer.rs`), a thread writes buffers as transactions.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow_array::RecordBatch;
use postgres::types::ToSql;
use postgres::{Client, Transaction};
use wiesel_core::sink::{
    CheckpointKind, Prepared as PreparedWork, RefusedRow, Sink, SinkContext, SinkCounters, SinkFactory,
    SinkParallelism, SinkStatus,
};
use wiesel_core::{ChangeBatch, Error, Result};

use super::options::JdbcOptions;
use super::parameter::ColumnParameter;
use super::row_buffer::RowBuffer;
use super::target::{Failure, Prepared, Target};
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
    pub(super) fn new(options: JdbcOptions, target: Target, letters: Option<String>) -> Self {
        JdbcFactory { options, target: Arc::new(target), letters }
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
            session: None,
            retries_max: self.options.retries_max,
            letters,
            refused_in_buffer: 0,
        };
        sender.connect()?;
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
    /// The connection and its statements; `None` after it was lost.
    session: Option<(Client, Prepared)>,
    retries_max: u32,
    /// Writes refused rows as JSON; `None`: a refused row ends the job.
    letters: Option<JsonEncoder>,
    /// Changes of the buffer at hand that were handed over.
    refused_in_buffer: u64,
}

impl Sender {
    fn connect(&mut self) -> Result<(), Failure> {
        if self.session.as_ref().is_none_or(|(client, _)| client.is_closed()) {
            self.session = None;
            let mut client = self.target.connect()?;
            let prepared = self.target.prepare(&mut client)?;
            self.session = Some((client, prepared));
        }
        Ok(())
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
                    self.session = None;
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
                        self.session = None;
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
        self.connect()?;
        let Some((client, prepared)) = &mut self.session else {
            return Err(Failure::Away("the connection was lost".to_owned()));
        };
        let target = &self.target;
        let mut transaction = client.transaction().map_err(|e| target.failure(&e))?;
        let mut start = 0;
        while start < buffer.len() {
            let end = (start + statement_rows).min(buffer.len());
            write_rows(target, prepared, &mut transaction, buffer, start..end)?;
            start = end;
        }
        transaction.commit().map_err(|e| target.failure(&e))
    }

    /// After the database refused a row of a buffer: writes the others, and hands the refused ones over once the others are committed.
    fn write_around(&mut self, buffer: &RowBuffer, link: &Link) -> Result<(), Failure> {
        self.connect()?;
        let (Some((client, prepared)), Some(encoder)) = (&mut self.session, &mut self.letters) else {
            return Err(Failure::Away("the connection was lost".to_owned()));
        };
        let target = &self.target;
        let mut transaction = client.transaction().map_err(|e| target.failure(&e))?;
        check_constraints_at_once(target, &mut transaction)?;
        let mut refused = Vec::new();
        let mut write = |part: &mut Transaction<'_>, range| write_rows(target, prepared, part, buffer, range);
        write_or_halve(target, &mut transaction, 0..buffer.len(), &mut write, &mut refused)?;
        transaction.commit().map_err(|e| target.failure(&e))?;
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
        self.connect().ok()?;
        let (client, prepared) = self.session.as_mut()?;
        let target = &self.target;
        let mut transaction = client.transaction().ok()?;
        for row in 0..buffer.len() {
            if let Err(failure) = write_rows(target, prepared, &mut transaction, buffer, row..row + 1) {
                let (deleted, written) = buffer.rows(row..row + 1).ok()?;
                let error = Error::from(failure);
                return Some(error.at(format!("row {}", show_row(target, &deleted.or(written)?))));
            }
        }
        None
    }
}

/// Writes some of the changes at hand, within a transaction.
pub(super) type WriteRange<'a> = dyn FnMut(&mut Transaction<'_>, Range<usize>) -> Result<(), Failure> + 'a;

/// Writes a range of changes; where the database refuses one of them, halves, down to the row.
pub(super) fn write_or_halve(
    target: &Target,
    transaction: &mut Transaction<'_>,
    range: Range<usize>,
    write: &mut WriteRange<'_>,
    refused: &mut Vec<(usize, Error)>,
) -> Result<(), Failure> {
    let mut part = transaction.transaction().map_err(|e| target.failure(&e))?;
    match write(&mut part, range.clone()) {
        Ok(()) => return part.commit().map_err(|e| target.failure(&e)),
        Err(Failure::Row(error)) if range.len() <= 1 => {
            part.rollback().map_err(|e| target.failure(&e))?;
            refused.push((range.start, error));
            return Ok(());
        }
        Err(Failure::Row(_) | Failure::SameRowTwice) if range.len() > 1 => {
            part.rollback().map_err(|e| target.failure(&e))?;
        }
        Err(failure) => return Err(failure),
    }
    let middle = range.start + range.len() / 2;
    write_or_halve(target, transaction, range.start..middle, write, refused)?;
    write_or_halve(target, transaction, middle..range.end, write, refused)
}

/// A constraint that is checked at COMMIT would refuse all rows at once: from here on it is checked with each statement.
pub(super) fn check_constraints_at_once(target: &Target, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
    transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").map_err(|e| target.failure(&e))
}

/// Writes refused rows as JSON.
pub(super) fn letter_encoder(target: &Target, time_zone: &str) -> JsonEncoder {
    JsonEncoder::new(FormatContext::whole(&target.name, target.schema.clone(), time_zone), JsonOptions::default())
}

/// Writes some of a buffer's changes inside a transaction.
fn write_rows(
    target: &Target,
    prepared: &Prepared,
    transaction: &mut Transaction<'_>,
    buffer: &RowBuffer,
    range: Range<usize>,
) -> Result<(), Failure> {
    let (deleted, written) = buffer.rows(range)?;
    if let Some(rows) = deleted {
        write_batch(target, prepared, transaction, true, &rows)?;
    }
    match written {
        Some(rows) => write_batch(target, prepared, transaction, false, &rows),
        None => Ok(()),
    }
}

/// Deletes rows by key, or writes rows, inside a transaction.
pub(super) fn write_batch(
    target: &Target,
    prepared: &Prepared,
    transaction: &mut Transaction<'_>,
    is_delete: bool,
    rows: &RecordBatch,
) -> Result<(), Failure> {
    match (is_delete, &prepared.delete) {
        (false, _) => {
            let positions: Vec<usize> = (0..rows.num_columns()).collect();
            execute(target, transaction, &prepared.insert, rows, &positions)
        }
        (true, Some(statement)) => {
            let positions: Vec<usize> = target.key.iter().map(|(position, _)| *position).collect();
            execute(target, transaction, statement, rows, &positions)
        }
        (true, None) => Ok(()),
    }
}

fn execute(
    target: &Target,
    transaction: &mut Transaction<'_>,
    statement: &postgres::Statement,
    rows: &RecordBatch,
    positions: &[usize],
) -> Result<(), Failure> {
    let fields = target.schema.fields();
    let parameters: Vec<ColumnParameter<'_>> = positions
        .iter()
        .filter_map(|i| Some(ColumnParameter { data_type: &fields.get(*i)?.data_type, array: rows.columns().get(*i)? }))
        .collect();
    let references: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
    transaction.execute(statement, &references).map_err(|e| target.failure(&e))?;
    Ok(())
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
