//! The blackhole connector: takes every change and throws it away. For measuring, and for trying a query.
//!
//! Delivery: nothing to deliver, so at-least-once holds for free. Nothing is committed at a checkpoint, order does not matter, there are
//! no options but `sink.parallelism`. As Flink's, it asks for no -U.

use wiesel_core::options::Options;
use wiesel_core::sink::{
    CheckpointKind, Prepared, Sink, SinkContext, SinkCounters, SinkFactory, SinkParallelism, SinkStatus,
};
use wiesel_core::table::{ConnectorInfo, SinkRequest, TableDescriptor};
use wiesel_core::{ChangeBatch, ChangelogMode, Result};

use crate::registry::{ConnectorContext, refuse_metadata};

/// Checks the table's options and says what the connector can do.
pub fn info(table: &TableDescriptor, _context: &ConnectorContext) -> Result<ConnectorInfo> {
    refuse_metadata(table)?;
    let mut options = Options::new(&table.name, &table.options);
    let parallelism = options.integer("sink.parallelism")?;
    options.finish()?;
    let note = "option 'sink.parallelism' has no effect: every worker has its own instance of the sink";
    Ok(ConnectorInfo {
        is_source: false,
        is_lookup: false,
        is_bounded: false,
        watermark_push_down: false,
        source_mode: ChangelogMode::Insert,
        is_sink: true,
        sink_mode: Some(ChangelogMode::Upsert),
        sink_folds_by_key: !table.primary_key.is_empty(),
        delivery: "at-least-once",
        metadata: Vec::new(),
        notes: parallelism.map(|_| note.to_owned()).into_iter().collect(),
    })
}

/// A sink for the table.
pub fn sink(table: &TableDescriptor, _: &SinkRequest, context: &ConnectorContext) -> Result<Box<dyn SinkFactory>> {
    info(table, context)?;
    Ok(Box::new(BlackholeFactory))
}

/// Nothing to connect to.
pub fn probe(table: &TableDescriptor, _as_sink: bool, context: &ConnectorContext) -> Result<()> {
    info(table, context).map(|_| ())
}

struct BlackholeFactory;

impl SinkFactory for BlackholeFactory {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerWorker
    }

    fn open(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(BlackholeSink::default()))
    }

    fn commit(&self, _checkpoint: u64, _pending: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }

    fn recover(&self, _restored: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct BlackholeSink {
    received: u64,
}

impl Sink for BlackholeSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        self.received += batch.len() as u64;
        Ok(())
    }

    fn step_end(&mut self, _now_ms: i64) -> Result<SinkStatus> {
        Ok(SinkStatus::Ready(None))
    }

    fn prepare(&mut self, _checkpoint: u64, _kind: CheckpointKind) -> Result<()> {
        Ok(())
    }

    fn poll_prepared(&mut self) -> Result<Option<Prepared>> {
        Ok(Some(Prepared::default()))
    }

    fn waiting_for(&self) -> Option<String> {
        None
    }

    fn counters(&self) -> SinkCounters {
        SinkCounters { received: self.received, delivered: self.received, ..SinkCounters::default() }
    }
}
