//! The print connector: every change as a line of Flink's form on standard output, `+I[1, null, 2024-01-01T00:00]`.
//!
//! Delivery: at-least-once; after a restart the rows since the last checkpoint are printed again. Nothing is committed at a checkpoint.
//! Order: one instance, fed by all workers in order, so rows of one key never pass each other. Lines of a step are written together at the
//! end of the step; a reader that does not read holds the job back, as a full pipe does to any program. A reader that went away ends
//! the job with [`OUTPUT_CLOSED`].
//!
//! | Option | Meaning |
//! |---|---|
//! | `print-identifier` | text in front of every line, followed by `> ` |
//! | `standard-error` | `true` writes to standard error |
//! | `sink.parallelism` | taken; there is always one instance |

use std::io::{ErrorKind as IoErrorKind, Write};

use wiesel_core::options::Options;
use wiesel_core::sink::{
    CheckpointKind, Prepared, Sink, SinkContext, SinkCounters, SinkFactory, SinkParallelism, SinkStatus,
};
use wiesel_core::table::{ConnectorInfo, SinkRequest, TableDescriptor};
use wiesel_core::{ChangeBatch, ChangelogMode, Error, ErrorKind, Result, Schema};

use crate::java_text::append_value;
use crate::registry::{ConnectorContext, refuse_metadata, schema};

/// The code of the error that ends a job whose standard output was closed by its reader (`wiesel run job.sql | head`).
pub const OUTPUT_CLOSED: &str = "W0604";

/// Lines are written before the end of the step when they take more than this.
const BUFFERED_BYTES_MAX: usize = 1 << 20;

struct PrintOptions {
    prefix: String,
    is_standard_error: bool,
    notes: Vec<String>,
}

impl PrintOptions {
    fn read(table: &TableDescriptor) -> Result<Self> {
        refuse_metadata(table)?;
        let mut options = Options::new(&table.name, &table.options);
        let prefix = match options.get("print-identifier") {
            None | Some("") => String::new(),
            Some(identifier) => format!("{identifier}> "),
        };
        let is_standard_error = options.boolean("standard-error", false)?;
        let parallelism = options.integer("sink.parallelism")?;
        options.finish()?;
        let note = "option 'sink.parallelism' has no effect: lines are printed by one instance, in order";
        Ok(PrintOptions {
            prefix,
            is_standard_error,
            notes: parallelism.map(|_| note.to_owned()).into_iter().collect(),
        })
    }
}

/// Checks the table's options and says what the connector can do.
pub fn info(table: &TableDescriptor, _context: &ConnectorContext) -> Result<ConnectorInfo> {
    let options = PrintOptions::read(table)?;
    Ok(ConnectorInfo {
        is_source: false,
        is_lookup: false,
        is_bounded: false,
        watermark_push_down: false,
        source_mode: ChangelogMode::Insert,
        is_sink: true,
        sink_mode: None,
        sink_folds_by_key: false,
        delivery: "at-least-once",
        metadata: Vec::new(),
        notes: options.notes,
    })
}

/// A sink for the table.
pub fn sink(table: &TableDescriptor, request: &SinkRequest, _: &ConnectorContext) -> Result<Box<dyn SinkFactory>> {
    let options = PrintOptions::read(table)?;
    Ok(Box::new(PrintFactory {
        prefix: options.prefix,
        is_standard_error: options.is_standard_error,
        schema: schema(table, &request.columns)?,
    }))
}

/// Nothing to connect to.
pub fn probe(table: &TableDescriptor, _as_sink: bool, context: &ConnectorContext) -> Result<()> {
    info(table, context).map(|_| ())
}

struct PrintFactory {
    prefix: String,
    is_standard_error: bool,
    schema: Schema,
}

impl SinkFactory for PrintFactory {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::One
    }

    fn open(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        let (prefix, schema) = (self.prefix.clone(), self.schema.clone());
        if self.is_standard_error {
            Ok(Box::new(PrintSink::new(prefix, schema, std::io::stderr())))
        } else {
            Ok(Box::new(PrintSink::new(prefix, schema, std::io::stdout())))
        }
    }

    fn commit(&self, _checkpoint: u64, _pending: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }

    fn recover(&self, _restored: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
}

struct PrintSink<W> {
    prefix: String,
    schema: Schema,
    lines: String,
    output: W,
    received: u64,
    delivered: u64,
}

impl<W: Write + Send> PrintSink<W> {
    fn new(prefix: String, schema: Schema, output: W) -> Self {
        PrintSink { prefix, schema, lines: String::new(), output, received: 0, delivered: 0 }
    }

    fn flush(&mut self) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let written = self.output.write_all(self.lines.as_bytes()).and_then(|()| self.output.flush());
        self.lines.clear();
        self.delivered = self.received;
        written.map_err(|e| match e.kind() {
            IoErrorKind::BrokenPipe => Error::new(
                ErrorKind::Permission,
                OUTPUT_CLOSED,
                "the reader of the printed rows closed its end of the pipe",
            ),
            IoErrorKind::StorageFull => Error::unavailable("no space left where the printed rows go"),
            _ => Error::data(format!("cannot write the printed rows: {e}")),
        })
    }
}

impl<W: Write + Send> Sink for PrintSink<W> {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        for row in 0..batch.len() {
            self.lines.push_str(&self.prefix);
            self.lines.push_str(batch.kind(row).symbol());
            self.lines.push('[');
            for (i, (field, column)) in self.schema.fields().iter().zip(batch.rows.columns()).enumerate() {
                if i > 0 {
                    self.lines.push_str(", ");
                }
                append_value(&mut self.lines, column, &field.data_type.kind, row);
            }
            self.lines.push_str("]\n");
            self.received += 1;
            if self.lines.len() >= BUFFERED_BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn step_end(&mut self, _now_ms: i64) -> Result<SinkStatus> {
        self.flush()?;
        Ok(SinkStatus::Ready(None))
    }

    fn prepare(&mut self, _checkpoint: u64, _kind: CheckpointKind) -> Result<()> {
        self.flush()
    }

    fn poll_prepared(&mut self) -> Result<Option<Prepared>> {
        Ok(Some(Prepared::default()))
    }

    fn waiting_for(&self) -> Option<String> {
        None
    }

    fn counters(&self) -> SinkCounters {
        SinkCounters { received: self.received, delivered: self.delivered, ..SinkCounters::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use arrow_array::RecordBatch;
    use wiesel_core::value::column;
    use wiesel_core::{DataType, Field, RowKind, TypeKind, Value};

    use super::*;
    use crate::registry::tests::table;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
            Err(IoErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn batch() -> (Schema, ChangeBatch) {
        let schema =
            Schema::new(vec![Field::new("a", DataType::int()), Field::new("t", DataType::new(TypeKind::Timestamp(3)))]);
        let columns = vec![
            column(&TypeKind::Int, &[Value::Int(1), Value::Null]),
            column(&TypeKind::Timestamp(3), &[Value::Timestamp(1_704_067_200_000), Value::Null]),
        ];
        let rows = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
        (schema, ChangeBatch::new(rows, vec![RowKind::Insert, RowKind::UpdateBefore]))
    }

    #[test]
    fn lines_have_flinks_form_and_appear_at_the_end_of_the_step() {
        let options = table(&[], &[], &[("connector", "print"), ("print-identifier", "KafkaData>")]);
        let (schema, batch) = batch();
        let captured = Captured::default();
        let mut sink = PrintSink::new(PrintOptions::read(&options).unwrap().prefix, schema, captured.clone());
        sink.write(&batch).unwrap();
        assert!(captured.0.lock().unwrap().is_empty());
        sink.step_end(0).unwrap();
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "KafkaData>> +I[1, 2024-01-01T00:00]\nKafkaData>> -U[null, null]\n");
        assert_eq!(sink.counters().delivered, 2);
    }

    #[test]
    fn a_closed_pipe_is_an_error_with_a_code_of_its_own() {
        let (schema, batch) = batch();
        let mut sink = PrintSink::new(String::new(), schema, Closed);
        sink.write(&batch).unwrap();
        assert_eq!(sink.step_end(0).unwrap_err().code(), OUTPUT_CLOSED);
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let options = table(&[], &[], &[("connector", "print"), ("print-identifer", "x")]);
        let error = info(&options, &ConnectorContext::default()).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean 'print-identifier'?"));
    }
}
