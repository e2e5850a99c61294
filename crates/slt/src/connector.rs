//! Connectors for a data file: every declared table is read from the file's `input` records and written into memory, whatever connector
//! it names. The named connector still checks its options and says what the planner asks (changelog modes, keys, delivery), so a plan is
//! the one that a run would have.
//!
//! Rows are JSON, decoded by the table's own json format with its `json.*` options; another format, or none, is read as plain json.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use wiesel_connectors::formats::{Decoder, DecoderFactory, FormatContext, decoder_factory};
use wiesel_connectors::registry::Registry;
use wiesel_core::lookup::{LookupFactory, LookupRequest};
use wiesel_core::options::Options;
use wiesel_core::sink::{
    CheckpointKind, Prepared, Sink, SinkContext, SinkCounters, SinkFactory, SinkParallelism, SinkStatus,
};
use wiesel_core::source::{
    RawBatch, RawRecord, ReadRows, RowReader, Source, SourceContext, SourceEvent, SourceFactory, Split, SplitIndex,
};
use wiesel_core::table::{ConnectorInfo, ConnectorRegistry, SinkRequest, SourceRequest, TableDescriptor};
use wiesel_core::{ChangeBatch, ChangelogMode, Error, Field, Result, RowKind, Schema};
use wiesel_expr::Session;
use wiesel_expr::text::RowTexts;

use crate::lookup::ScriptedLookupFactory;
use crate::stage::{Captured, Presence, Row, Stage, Table};

/// Formats whose records say what kind of change they are, beyond those that the connectors have, with the changes that they give.
/// `upsert-json` is the one that only data files know: rows by primary key, as a compacted topic holds them.
const CHANGELOG_FORMATS: [(&str, ChangelogMode); 2] =
    [("ogg-json", ChangelogMode::Full), ("upsert-json", ChangelogMode::Upsert)];

/// The kinds by the tag of a raw record.
const KINDS: [RowKind; 4] = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];

/// The registry of a file's run.
pub(crate) struct ScriptedRegistry {
    pub(crate) stage: Arc<Stage>,
    pub(crate) real: Registry,
}

impl ConnectorRegistry for ScriptedRegistry {
    fn info(&self, table: &TableDescriptor) -> Result<ConnectorInfo> {
        let mut declared = table.clone();
        let changelog = changelog_format(table);
        if let Some((format, _)) = changelog {
            declared.options.retain(|key, _| !key.starts_with(&format!("{format}.")));
            declared.options.insert("format".to_owned(), "json".to_owned());
        }
        let mut info = self.real.info(&declared)?;
        if let Some((_, mode)) = changelog {
            info.source_mode = mode;
        }
        info.is_source |= table.options.get("connector").is_some_and(|c| c == "filesystem");
        // The log of a table ends with the record `end`, and its watermarks are made row by row.
        info.is_bounded = true;
        info.watermark_push_down = false;
        let mut state = self.stage.lock();
        let entry = state.tables.entry(table.path.clone());
        entry.or_insert_with(|| Table { mode: info.source_mode, rows: Vec::new() }).mode = info.source_mode;
        Ok(info)
    }

    fn source(&self, table: &TableDescriptor, request: &SourceRequest) -> Result<Box<dyn SourceFactory>> {
        let format = format_options(table);
        let mut options = Options::new(&table.name, &format);
        let context = FormatContext::whole(&table.name, schema(table, &request.columns)?, &request.time_zone);
        let decoders = decoder_factory(&mut options, "format", context)?;
        options.finish()?;
        let presence = Arc::new(self.stage.enter(&table.path));
        Ok(Box::new(ScriptedFactory { presence, decoders }))
    }

    fn sink(&self, table: &TableDescriptor, request: &SinkRequest) -> Result<Box<dyn SinkFactory>> {
        let schema = schema(table, &request.columns)?;
        let is_upsert = request.changelog_mode == ChangelogMode::Upsert || self.keeps_last(table)?;
        self.stage.lock().outputs.entry(table.path.clone()).or_insert_with(|| Captured {
            columns: schema.fields().iter().map(|f| f.name.clone()).collect(),
            keys: table.primary_key.clone(),
            is_upsert,
            ..Captured::default()
        });
        let session = Session { time_zone: request.time_zone.as_str().into(), legacy_cast: false };
        Ok(Box::new(CapturingFactory { stage: Arc::clone(&self.stage), path: table.path.clone(), schema, session }))
    }

    fn lookup(&self, table: &TableDescriptor, request: &LookupRequest) -> Result<Box<dyn LookupFactory>> {
        let format = format_options(table);
        let mut options = Options::new(&table.name, &format);
        // Whole rows: a column may be asked by and delivered, and rows are read by name.
        let schema = schema(table, &(0..table.columns.len()).collect::<Vec<_>>())?;
        let context = FormatContext::whole(&table.name, schema.clone(), &request.time_zone);
        let decoders = decoder_factory(&mut options, "format", context)?;
        options.finish()?;
        Ok(Box::new(ScriptedLookupFactory {
            stage: Arc::clone(&self.stage),
            path: table.path.clone(),
            decoders,
            schema,
            columns: request.columns.clone(),
            keys: request.keys.clone(),
        }))
    }

    fn probe(&self, _table: &TableDescriptor, _as_sink: bool) -> Result<()> {
        Ok(())
    }
}

impl ScriptedRegistry {
    /// Whether the table's system keeps the last row of each primary key, whatever kind of change brought it.
    fn keeps_last(&self, table: &TableDescriptor) -> Result<bool> {
        Ok(!table.primary_key.is_empty() && self.info(table)?.sink_mode == Some(ChangelogMode::Upsert))
    }
}

/// The changelog format that a table names, and its changes.
fn changelog_format(table: &TableDescriptor) -> Option<(&'static str, ChangelogMode)> {
    let named = table.options.get("format").or_else(|| table.options.get("value.format"))?;
    CHANGELOG_FORMATS.into_iter().find(|(format, _)| format == named)
}

/// The options under which the table's rows are decoded: its own `json.*`, without the prefix of a value format.
fn format_options(table: &TableDescriptor) -> BTreeMap<String, String> {
    let mut options = BTreeMap::from([("format".to_owned(), "json".to_owned())]);
    for (key, value) in &table.options {
        let key = key.strip_prefix("value.").unwrap_or(key);
        if key.starts_with("json.") {
            options.insert(key.to_owned(), value.clone());
        }
    }
    options
}

fn schema(table: &TableDescriptor, columns: &[usize]) -> Result<Schema> {
    let column = |&index: &usize| {
        let column = table.columns.get(index);
        column.ok_or_else(|| Error::internal(format!("table `{}` has no column {index}", table.name)))
    };
    let columns = columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Schema::new(columns.into_iter().map(|c| Field::new(&c.name, c.data_type.clone())).collect()))
}

struct ScriptedFactory {
    presence: Arc<Presence>,
    decoders: Arc<dyn DecoderFactory>,
}

impl SourceFactory for ScriptedFactory {
    fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let start = context.restored.first().map_or(0, |split| split.start);
        let splits = vec![Split { name: "input".to_owned(), start }];
        let next = usize::try_from(start).unwrap_or(0);
        Ok(Box::new(ScriptedSource { presence: Arc::clone(&self.presence), splits, next, is_finished: false }))
    }

    fn reader(&self) -> Result<Option<Box<dyn RowReader>>> {
        Ok(Some(Box::new(ScriptedReader(self.decoders.create()?))))
    }
}

struct ScriptedSource {
    presence: Arc<Presence>,
    splits: Vec<Split>,
    next: usize,
    is_finished: bool,
}

impl Source for ScriptedSource {
    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn poll(&mut self, _bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        let (rows, is_at_end) = self.presence.poll(self.next, wait);
        if !rows.is_empty() {
            events.push(SourceEvent::Raw(raw_batch(self.next, &rows)?));
            events.push(SourceEvent::CaughtUp(0));
            self.next += rows.len();
        }
        if is_at_end && !std::mem::replace(&mut self.is_finished, true) {
            events.push(SourceEvent::Finished(0));
        }
        Ok(())
    }

    fn checkpoint_complete(&mut self, _positions: &[(SplitIndex, i64)]) -> Result<()> {
        Ok(())
    }
}

pub(crate) fn raw_batch(first: usize, rows: &[Row]) -> Result<RawBatch> {
    let mut arena = Vec::new();
    let mut records = Vec::new();
    let too_large = |_| Error::data("the rows of one table take more than 2 GiB");
    for (offset, row) in (first..).zip(rows) {
        let value_start = u32::try_from(arena.len()).map_err(too_large)?;
        arena.extend_from_slice(row.json.as_bytes());
        records.push(RawRecord {
            key_start: 0,
            key_end: 0,
            value_start,
            value_end: u32::try_from(arena.len()).map_err(too_large)?,
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            timestamp_ms: -1,
            has_key: false,
            has_value: true,
            tag: row.kind as u8,
        });
    }
    let next = i64::try_from(first + rows.len()).unwrap_or(i64::MAX);
    Ok(RawBatch { split: 0, arena: arena.into(), records, next })
}

struct ScriptedReader(Box<dyn Decoder>);

impl RowReader for ScriptedReader {
    fn read(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<ReadRows> {
        let decoded = self.0.decode(batch, range.clone())?;
        let record = |row: usize| match &decoded.taken {
            Some(taken) => taken.get(row).map_or(0, |r| *r as usize),
            None => range.start + row,
        };
        let kind = |row| batch.records.get(record(row)).and_then(|r| KINDS.get(usize::from(r.tag))).copied();
        let kinds = (0..decoded.rows.num_rows()).map(|row| kind(row).unwrap_or(RowKind::Insert)).collect();
        let changes = ChangeBatch::new(decoded.rows, kinds);
        Ok(ReadRows { rows: changes.rows, kinds: changes.kinds, skipped: decoded.skipped })
    }
}

struct CapturingFactory {
    stage: Arc<Stage>,
    path: String,
    schema: Schema,
    session: Session,
}

impl SinkFactory for CapturingFactory {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::One
    }

    fn open(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        let texts = RowTexts::new(&self.schema, self.session.clone());
        Ok(Box::new(CapturingSink { stage: Arc::clone(&self.stage), path: self.path.clone(), texts, received: 0 }))
    }

    fn commit(&self, _checkpoint: u64, _pending: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }

    fn recover(&self, _restored: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
}

struct CapturingSink {
    stage: Arc<Stage>,
    path: String,
    texts: RowTexts,
    received: u64,
}

impl Sink for CapturingSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        let mut rows = self.texts.rows(batch)?;
        self.received += rows.len() as u64;
        if let Some(captured) = self.stage.lock().outputs.get_mut(&self.path) {
            captured.rows.append(&mut rows);
        }
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
