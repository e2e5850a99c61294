//! The exactly-once sink: changes wait in a staging file until their checkpoint is durable; then they and the record of their epoch go in
//! one transaction.
//!
//! ```text
//! claim:    lock the record, generation += 1                                    a run that claimed earlier is refused from here on
//! commit n: lock the record -> another generation?  superseded
//!                           -> n is in it already?  done (a repeated commit, or a COMMIT whose answer was lost)
//!                           -> rows, record := n, COMMIT
//! ```
//! With a primary key the last change per key of a buffer is staged; buffers follow each other, so the last change wins in the end. A row
//! that the database refuses ends the job and is shown: once the cause is removed, the same command goes on with the same rows. With
//! dead letters it is found by halving, left out of the transaction, and kept before its COMMIT (see `refused`).

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use wiesel_core::sink::{
    CheckpointKind, Claim, Prepared as PreparedWork, RefusedRow, Sink, SinkContext, SinkCounters, SinkFactory,
    SinkParallelism, SinkStatus,
};
use wiesel_core::table::{SinkRequest, TableDescriptor};
use wiesel_core::{ChangeBatch, Error, Result};

use super::dialect::{Failure, RecordKey, RowWriter, in_transaction};
use super::row_buffer::RowBuffer;
use super::sink::{STATEMENT_ROWS_MAX, letter_encoder, show_row, write_batch, write_or_halve};
use super::target::Target;
use crate::epoch::{self, Pending, Run};
use crate::formats::Encoder as _;
use crate::refused::{self, REFUSED_PER_EPOCH_MAX};
use crate::stage::{self, StageReader};
use crate::stager::{StageContent, Stager};

/// A buffer of about so many changes goes to the file.
const BUFFERED_CHANGES_MAX: usize = 50_000;
/// And one of about so many bytes.
const BUFFERED_BYTES_MAX: usize = 8 << 20;
/// Frames of the staging file: rows to be deleted by key, rows to be written.
const DELETED: u8 = b'd';
const WRITTEN: u8 = b'w';

/// Makes the instances of an exactly-once sink and commits their work.
pub(super) struct ExactlyOnceFactory {
    target: Arc<Target>,
    /// For messages.
    table: String,
    key: RecordKey,
    /// The session's time zone, for refused rows.
    time_zone: String,
    run: Arc<Run>,
    /// The connection of claim and commit.
    session: Mutex<Option<Box<dyn RowWriter>>>,
}

impl ExactlyOnceFactory {
    pub(super) fn new(table: &TableDescriptor, request: &SinkRequest, target: Arc<Target>) -> Self {
        let sink = match request.ordinal {
            0 => table.name.clone(),
            n => format!("{}#{}", table.name, n + 1),
        };
        ExactlyOnceFactory {
            target,
            table: table.name.clone(),
            key: RecordKey { job: request.run_key.clone(), sink },
            time_zone: request.time_zone.clone(),
            run: Arc::new(Run::new(
                &request.loop_folder,
                stage::prefix(&table.name, request.ordinal),
                request.hands_over_refused,
            )),
            session: Mutex::default(),
        }
    }

    /// Does something with the connection, which is opened anew after it was lost.
    fn with_session<T>(&self, call: impl FnOnce(&mut dyn RowWriter) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = match session.take().filter(|writer| !writer.is_closed()) {
            Some(writer) => writer,
            None => {
                let mut writer = self.target.dialect().open_writer(&self.target)?;
                writer.prepare_record()?;
                writer
            }
        };
        let outcome = call(&mut **session.insert(writer));
        if matches!(outcome, Err(Failure::Away(_))) {
            *session = None;
        }
        outcome
    }

    /// One transaction; `Ok(false)` when the record shows that an earlier one had come through.
    fn write(&self, checkpoint: u64, pending: &[Pending], how: Statements) -> Result<bool, Failure> {
        let Some(first) = pending.first() else { return Ok(false) };
        self.with_session(|writer| {
            in_transaction(writer, |writer| self.write_epoch(writer, checkpoint, first, pending, how))
        })
    }

    fn write_epoch(
        &self,
        writer: &mut dyn RowWriter,
        checkpoint: u64,
        first: &Pending,
        pending: &[Pending],
        how: Statements,
    ) -> Result<bool, Failure> {
        let record = writer.lock_record(&self.key)?;
        if record.generation != self.run.generation() {
            return Err(epoch::superseded(&self.table, self.run.generation(), &record).into());
        }
        if record.has(first.writer, checkpoint) {
            return Ok(false);
        }
        if how == Statements::Halved {
            writer.check_constraints_at_once()?;
        }
        let mut refused = Vec::new();
        for part in pending {
            let mut reader = StageReader::open(self.run.folder(), &part.stage)?;
            while let Some(frame) = reader.next()? {
                for_each_batch(frame, |is_delete, rows| match how {
                    Statements::Halved => self.write_around(writer, is_delete, rows, &mut refused),
                    Statements::Of(count) => self.write_rows(writer, is_delete, rows, count),
                })?;
            }
        }
        self.run.keep_refused(checkpoint, &refused)?;
        writer.store_record(&self.key, &record.after(first, checkpoint))?;
        Ok(true)
    }

    fn write_rows(
        &self,
        writer: &mut dyn RowWriter,
        is_delete: bool,
        rows: &RecordBatch,
        statement_rows: usize,
    ) -> Result<(), Failure> {
        let mut start = 0;
        while start < rows.num_rows() {
            let count = statement_rows.min(rows.num_rows() - start);
            let some = rows.slice(start, count);
            write_batch(writer, is_delete, &some).map_err(|failure| match failure {
                Failure::Row(error) if count == 1 => {
                    Failure::Fatal(error.at(format!("row {}", show_row(&self.target, &some))))
                }
                failure => failure,
            })?;
            start += count;
        }
        Ok(())
    }

    /// Writes what the database takes, and gathers the rest.
    fn write_around(
        &self,
        writer: &mut dyn RowWriter,
        is_delete: bool,
        rows: &RecordBatch,
        refused: &mut Vec<RefusedRow>,
    ) -> Result<(), Failure> {
        let mut places = Vec::new();
        let mut write = |writer: &mut dyn RowWriter, range: Range<usize>| {
            write_batch(writer, is_delete, &rows.slice(range.start, range.len()))
        };
        write_or_halve(writer, 0..rows.num_rows(), &mut write, &mut places)?;
        for (place, error) in places {
            if refused.len() >= REFUSED_PER_EPOCH_MAX {
                return Err(Failure::Fatal(refused::too_many(&self.table, error.message())));
            }
            let mut row = Vec::new();
            let change = ChangeBatch::inserts(rows.slice(place, 1));
            letter_encoder(&self.target, &self.time_zone).encode(&change, &mut row, &mut Vec::new())?;
            refused.push(refused::row(row, is_delete, error.message()));
        }
        Ok(())
    }
}

/// How many rows go in one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statements {
    Of(usize),
    /// As many as the database takes, halved around those that it refuses.
    Halved,
}

impl SinkFactory for ExactlyOnceFactory {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerWorker
    }

    fn keeps_record(&self) -> bool {
        true
    }

    fn claim(&self, claim: &Claim<'_>) -> Result<()> {
        let generation = self.with_session(|writer| {
            in_transaction(writer, |writer| {
                let mut record = writer.lock_record(&self.key)?;
                record.generation = epoch::claim(&record, claim, &self.table)?;
                writer.store_record(&self.key, &record)?;
                Ok(record.generation)
            })
        })?;
        self.run.claimed(generation);
        Ok(())
    }

    fn open(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(ExactlyOnceSink {
            target: Arc::clone(&self.target),
            stager: Stager::start(&format!("jdbc-{}", self.table), &context, Arc::clone(&self.run))?,
            received: 0,
            folded: 0,
        }))
    }

    fn commit(&self, checkpoint: u64, pending: &[Vec<u8>]) -> Result<()> {
        let pending: Vec<Pending> = pending.iter().map(|work| epoch::decode(work)).collect::<Result<_>>()?;
        let mut how = Statements::Of(STATEMENT_ROWS_MAX);
        loop {
            match self.write(checkpoint, &pending, how) {
                Ok(_) => break,
                Err(Failure::SameRowTwice | Failure::Row(_)) if how == Statements::Of(STATEMENT_ROWS_MAX) => {
                    // One by one: rows that are one row in the database, or to find the row that it refuses.
                    how = if self.run.hands_over_refused { Statements::Halved } else { Statements::Of(1) };
                }
                Err(failure) => {
                    self.run.tried_again();
                    return Err(failure.into());
                }
            }
        }
        self.run.committed(checkpoint, &pending)
    }

    fn recover(&self, restored: &[Vec<u8>]) -> Result<()> {
        self.run.recover(restored)
    }
}

struct ExactlyOnceSink {
    target: Arc<Target>,
    stager: Stager<RowBuffer>,
    received: u64,
    folded: u64,
}

impl StageContent for RowBuffer {
    fn is_full(&self) -> bool {
        self.len() >= BUFFERED_CHANGES_MAX || self.bytes() >= BUFFERED_BYTES_MAX
    }

    fn frames(&self, append: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        let (deleted, written) = self.rows(0..self.len())?;
        for (tag, rows) in [(DELETED, deleted), (WRITTEN, written)] {
            let Some(rows) = rows else { continue };
            let mut frame = vec![tag];
            let mut writer = StreamWriter::try_new(&mut frame, &rows.schema())?;
            writer.write(&rows)?;
            writer.finish()?;
            drop(writer);
            append(&frame, rows.num_rows() as u64)?;
        }
        Ok(())
    }

    fn clear(&mut self) {
        RowBuffer::clear(self);
    }
}

/// The rows of a frame, and whether they are to be deleted.
fn for_each_batch(
    frame: &[u8],
    mut call: impl FnMut(bool, &RecordBatch) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let damaged = |what: &str| Error::data(format!("a staging file holds what is no rows: {what}"));
    let (tag, stream) = frame.split_first().ok_or_else(|| damaged("an empty frame"))?;
    let reader = StreamReader::try_new(stream, None).map_err(|e| damaged(&e.to_string()))?;
    for rows in reader {
        call(*tag == DELETED, &rows.map_err(|e| damaged(&e.to_string()))?)?;
    }
    Ok(())
}

impl Sink for ExactlyOnceSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        let written = self.stager.content().write(batch, &self.target.key)?;
        self.received += written.received;
        self.folded += written.folded;
        Ok(())
    }

    fn step_end(&mut self, _now_ms: i64) -> Result<SinkStatus> {
        self.stager.status()
    }

    fn prepare(&mut self, checkpoint: u64, kind: CheckpointKind) -> Result<()> {
        self.stager.prepare(checkpoint, kind)
    }

    fn poll_prepared(&mut self) -> Result<Option<PreparedWork>> {
        self.stager.poll_prepared()
    }

    fn take_refused(&mut self) -> Vec<RefusedRow> {
        self.stager.take_refused()
    }

    fn waiting_for(&self) -> Option<String> {
        self.stager.waiting_for()
    }

    fn counters(&self) -> SinkCounters {
        self.stager.counters(self.received, self.folded)
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::value::column;
    use wiesel_core::{DataType, Field, RowKind, Schema, TypeKind, Value};

    use super::*;

    #[test]
    fn staged_rows_come_back_as_they_were() {
        let schema = Schema::new(vec![Field::new("k", DataType::string()), Field::new("n", DataType::int())]);
        let keys = [Value::String("a".to_owned()), Value::String("b".to_owned())];
        let columns = vec![column(&TypeKind::VarChar(9), &keys), column(&TypeKind::Int, &[Value::Int(1), Value::Null])];
        let rows = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
        let batch = ChangeBatch::new(rows.clone(), vec![RowKind::Delete, RowKind::Insert].into_iter().collect());
        let mut buffer = RowBuffer::default();
        buffer.write(&batch, &[(0, TypeKind::VarChar(9))]).unwrap();
        let mut found = Vec::new();
        buffer
            .frames(&mut |frame, changes| {
                let read = for_each_batch(frame, |is_delete, rows| {
                    found.push((is_delete, changes, rows.clone()));
                    Ok(())
                });
                read.map_err(Error::from)
            })
            .unwrap();
        assert_eq!(found, [(true, 1, rows.slice(0, 1)), (false, 1, rows.slice(1, 1))]);
        assert!(for_each_batch(b"w no rows", |_, _| Ok(())).is_err());
    }
}
