//! How a declared table reaches a connector: the descriptor that the catalog fills and the registry that turns it into a source or sink.

use std::collections::BTreeMap;
use std::fmt;

use crate::change::ChangelogMode;
use crate::error::{Error, Result};
use crate::lookup::{LookupFactory, LookupRequest};
use crate::sink::SinkFactory;
use crate::source::SourceFactory;
use crate::types::DataType;

/// A table as its DDL declares it, without expressions: what a connector may know.
#[derive(Clone, PartialEq, Eq)]
pub struct TableDescriptor {
    /// The last part of the name, as written.
    pub name: String,
    /// The full name, `default_catalog.default_database.t`.
    pub path: String,
    /// Physical and metadata columns in DDL order; computed columns are not here.
    pub columns: Vec<TableColumn>,
    /// The primary key, by column name in key order; empty without one.
    pub primary_key: Vec<String>,
    /// PARTITIONED BY.
    pub partition_keys: Vec<String>,
    /// WITH options, after hints and `--table-option`; values may be secrets, so Debug hides them.
    pub options: BTreeMap<String, String>,
    /// What `SET 'wiesel.sink.<table>.*'` asks of it as a sink.
    pub sink_settings: SinkSettings,
}

/// What a SQL file asks of a sink beside Flink's options, so that the file stays one of Flink's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkSettings {
    /// `SET 'wiesel.sink.<table>.delivery' = 'exactly-once'`.
    pub exactly_once: bool,
    /// `SET 'wiesel.sink.<table>.versioned' = 'true'`.
    pub versioned: bool,
}

impl fmt::Debug for TableDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableDescriptor")
            .field("path", &self.path)
            .field("columns", &self.columns)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A column of a [`TableDescriptor`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// The name, case kept.
    pub name: String,
    /// The declared type.
    pub data_type: DataType,
    /// Where its value lives.
    pub kind: ColumnKind,
}

/// Where the value of a column lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnKind {
    /// In the record itself.
    Physical,
    /// In the record's metadata under this key (`offset`, `timestamp`, ...).
    Metadata {
        /// The connector's key.
        key: String,
        /// Read-only: not part of the table as a sink.
        is_virtual: bool,
    },
}

/// What the query wants from a source: the columns it reads, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRequest {
    /// Indices into [`TableDescriptor::columns`]; the source delivers exactly these columns, cast to the declared types.
    pub columns: Vec<usize>,
    /// The session's `table.local-time-zone`, an IANA name.
    pub time_zone: String,
    /// Worker threads that will decode.
    pub workers: usize,
    /// The job's name, for client ids.
    pub job_name: String,
}

/// What the query brings to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRequest {
    /// Indices into [`TableDescriptor::columns`] of the columns that batches hold, in this order: physical and writable metadata ones.
    pub columns: Vec<usize>,
    /// The kinds of change that will come.
    pub changelog_mode: ChangelogMode,
    /// The session's `table.local-time-zone`, an IANA name.
    pub time_zone: String,
    /// Worker threads; the sink may be opened once per worker.
    pub workers: usize,
    /// The job's name, for client ids.
    pub job_name: String,
    /// Where this loop's state lies: unlike the name it is no other loop's, so a sink knows its own leftovers by it.
    pub loop_folder: String,
    /// Whether the file itself sets `execution.checkpointing.interval` (files then roll at each checkpoint, as Flink's do).
    pub checkpoint_interval_is_set: bool,
    /// Which run this is to a sink that keeps a record of runs: the job's and the loop's name, wherever its state lies.
    pub run_key: String,
    /// Rows that the system refuses are handed over and do not end the job (`wiesel.on-refused` = dead-letter).
    pub hands_over_refused: bool,
    /// How many sinks before this one in the same loop write the same table.
    pub ordinal: usize,
    /// INSERT OVERWRITE: what comes replaces what is there, when the input has ended. Only connectors that can are asked to.
    pub overwrite: bool,
}

/// What a connector can do with a table, before any connection is made: what the planner asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorInfo {
    /// Can be read.
    pub is_source: bool,
    /// Can be asked for single keys: the right side of a lookup join.
    pub is_lookup: bool,
    /// Reading ends by itself with these options.
    pub is_bounded: bool,
    /// Watermarks are generated per split inside the source (Flink's push-down; kafka).
    pub watermark_push_down: bool,
    /// What changes a source brings.
    pub source_mode: ChangelogMode,
    /// Can be written.
    pub is_sink: bool,
    /// The changes the sink takes; `None` when it takes whatever the query brings (print, blackhole).
    pub sink_mode: Option<ChangelogMode>,
    /// The sink keeps only the last change per primary key anyway, so the planner may fold changes earlier.
    pub sink_folds_by_key: bool,
    /// The delivery word of EXPLAIN and of the run's first line, e.g. `exactly-once`.
    pub delivery: &'static str,
    /// Metadata columns that exist: key, type, writable.
    pub metadata: Vec<(String, DataType, bool)>,
    /// Options that have no meaning without a JVM and were taken: one line each for stderr.
    pub notes: Vec<String>,
}

/// Turns descriptors into sources and sinks. The connectors crate has the real one, tests script theirs.
pub trait ConnectorRegistry: Send + Sync {
    /// Checks every option of the table (unknown key: an error with the nearest known one) and says what the connector can do. No I/O.
    fn info(&self, table: &TableDescriptor) -> Result<ConnectorInfo>;
    /// A source for the table. No I/O before [`SourceFactory::open`].
    fn source(&self, table: &TableDescriptor, request: &SourceRequest) -> Result<Box<dyn SourceFactory>>;
    /// A sink for the table. No I/O before [`SinkFactory::open`].
    fn sink(&self, table: &TableDescriptor, request: &SinkRequest) -> Result<Box<dyn SinkFactory>>;
    /// The lookup of the table, when [`ConnectorInfo::is_lookup`]. No I/O before [`LookupFactory::open`].
    fn lookup(&self, table: &TableDescriptor, _request: &LookupRequest) -> Result<Box<dyn LookupFactory>> {
        Err(Error::config(format!("table `{}` cannot be asked for single keys by its connector", table.name))
            .hint("lookup joins read tables of connector 'jdbc'"))
    }
    /// Connects to the system behind the table and checks that topic, index rights, table or path are there (`wiesel check`).
    fn probe(&self, table: &TableDescriptor, as_sink: bool) -> Result<()>;
}
