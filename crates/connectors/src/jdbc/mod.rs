//! The jdbc connector: rows into and out of a table of PostgreSQL, MySQL (and MariaDB) or SQLite.
//!
//! **Sink.**
//! - Delivery: with a primary key effectively-once by key (upserts, `DELETE` by key), without one at-least-once (`INSERT`); with
//!   `SET 'wiesel.sink.<table>.delivery' = 'exactly-once'` exactly-once (`exactly_once.rs`): rows appear at checkpoints, and the flush
//!   options have no effect.
//! - At a checkpoint everything received so far is flushed, and the checkpoint waits until the database has committed it.
//! - Order: one transaction at a time per instance; changes of one key are folded to the last one while they wait.
//! - A flush is one transaction. Upserts are `INSERT ... ON CONFLICT DO UPDATE`, in MySQL `ON DUPLICATE KEY UPDATE`; PostgreSQL takes columns
//!   as arrays, so a statement carries thousands of rows, MySQL statements of many rows, SQLite one row after the other.
//! - An outage is waited for, with back-off; a row that the database refuses ends the job and is shown.
//!
//! **Source.** A bounded scan of the requested columns, a bounded number of rows at a time (`source.rs`); as many parts as there are workers
//! are read side by side. A checkpoint holds the number of rows read of each part; a resumed scan goes on there, which is exact as long as
//! nobody writes to the table.
//!
//! **Lookup.** All keys of a step in few statements (`lookup.rs`), behind a bounded cache when the options ask for one. An outage is
//! retried 'lookup.max-retries' times and then ends the job, as in Flink.
//!
//! **Databases.** What differs stands in a folder per database behind one trait (`dialect.rs`). SQLite is compiled in; MySQL is spoken to
//! without TLS. MySQL keeps TIMESTAMP_LTZ in TIMESTAMP, TIMESTAMP in DATETIME, BOOLEAN in TINYINT(1); a BIGINT UNSIGNED is read as
//! DECIMAL(20, 0). SQLite keeps times and DECIMAL as text.
//!
//! | Option | Meaning |
//! |---|---|
//! | `url` | `jdbc:postgresql://host:port/database`, `jdbc:mysql://host:port/database`, `jdbc:mariadb://...`, `jdbc:sqlite:/path/to/file.db`, with the driver's parameters behind `?` (`url.rs`) |
//! | `table-name` | `table` or `schema.table`; names are taken as written, else in lower case |
//! | `username`, `password` | as whom; both or none |
//! | `sink.buffer-flush.max-rows`, `.interval` | a flush happens at 100 rows or after 1 s; 0 switches the limit off |
//! | `sink.max-retries` | repetitions after a deadlock or serialization failure, 3 unless set; outages are waited for as long as they last |
//! | `scan.partition.column`, `.num`, `.lower-bound`, `.upper-bound` | cut the scan into parts; rows outside the bounds are not read |
//! | `scan.fetch-size` | rows of one fetch at most; unset or 0: as many as 2 MiB hold |
//! | `lookup.cache` | NONE or PARTIAL |
//! | `lookup.partial-cache.max-rows`, `.expire-after-write`, `.expire-after-access`, `.cache-missing-key` | what the cache keeps, and how long |
//! | `lookup.cache.max-rows`, `.ttl`, `.caching-missing-key` | the older names |
//! | `lookup.max-retries` | retries of a lookup, 3 unless set |
//! | `connection.max-retry-timeout` | the longest that connecting may take |
//! | `driver`, `sink.parallelism`, `scan.auto-commit`, `filter.handling.policy` | taken without effect |

mod dialect;
mod exactly_once;
mod lookup;
mod mysql;
mod options;
mod postgres;
mod row_buffer;
mod rows;
mod sink;
mod source;
mod sqlite;
mod target;
mod text;
mod url;

use std::time::Duration;

use wiesel_core::lookup::{LookupFactory, LookupRequest};
use wiesel_core::sink::SinkFactory;
use wiesel_core::source::SourceFactory;
use wiesel_core::table::{ConnectorInfo, SinkRequest, SourceRequest, TableDescriptor};
use wiesel_core::{ChangelogMode, Result};

use crate::lookup_cache::CachedLookupFactory;
use crate::registry::{ConnectorContext, schema};
use lookup::JdbcLookupFactory;
use options::JdbcOptions;
use source::JdbcSourceFactory;
use target::Target;

/// How long `wiesel check` waits for a server.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks the table's options and says what the connector can do.
pub fn info(table: &TableDescriptor, context: &ConnectorContext) -> Result<ConnectorInfo> {
    let options = JdbcOptions::read(table, context)?;
    let is_keyed = !table.primary_key.is_empty();
    Ok(ConnectorInfo {
        is_source: true,
        is_lookup: true,
        is_bounded: true,
        watermark_push_down: false,
        source_mode: ChangelogMode::Insert,
        is_sink: true,
        sink_mode: Some(if is_keyed { ChangelogMode::Upsert } else { ChangelogMode::Insert }),
        sink_folds_by_key: is_keyed,
        delivery: match (table.sink_settings.exactly_once, is_keyed) {
            (true, _) => "exactly-once",
            (false, true) => "effectively-once by key",
            (false, false) => "at-least-once",
        },
        metadata: Vec::new(),
        notes: options.notes,
    })
}

/// A bounded scan of the table.
pub fn source(
    table: &TableDescriptor,
    request: &SourceRequest,
    context: &ConnectorContext,
) -> Result<Box<dyn SourceFactory>> {
    let options = JdbcOptions::read(table, context)?;
    let target = Target::reader(table, &options, schema(table, &request.columns)?, &request.job_name)?;
    Ok(Box::new(JdbcSourceFactory::new(&options, target, request.workers)))
}

/// The table asked for single keys.
pub fn lookup(
    table: &TableDescriptor,
    request: &LookupRequest,
    context: &ConnectorContext,
) -> Result<Box<dyn LookupFactory>> {
    let options = JdbcOptions::read(table, context)?;
    let all: Vec<usize> = request.columns.iter().chain(&request.keys).copied().collect();
    let target = Target::reader(table, &options, schema(table, &all)?, &request.job_name)?;
    let inner = JdbcLookupFactory::new(target, schema(table, &request.columns)?, options.lookup_retries_max);
    Ok(match options.lookup_cache {
        None => Box::new(inner),
        Some(options) => Box::new(CachedLookupFactory { inner, options }),
    })
}

/// A sink for the table.
pub fn sink(
    table: &TableDescriptor,
    request: &SinkRequest,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkFactory>> {
    let options = JdbcOptions::read(table, context)?;
    let schema = schema(table, &request.columns)?;
    let target = Target::writer(table, &options, schema, &request.job_name)?;
    if table.sink_settings.exactly_once {
        return Ok(Box::new(exactly_once::ExactlyOnceFactory::new(table, request, target)));
    }
    let letters = request.hands_over_refused.then(|| request.time_zone.clone());
    Ok(Box::new(sink::JdbcFactory::new(options, target, letters)))
}

/// Connects, and checks password, table, columns and rights.
pub fn probe(table: &TableDescriptor, as_sink: bool, context: &ConnectorContext) -> Result<()> {
    let mut options = JdbcOptions::read(table, context)?;
    options.connect_timeout = options.connect_timeout.min(PROBE_TIMEOUT);
    let all: Vec<usize> = (0..table.columns.len()).collect();
    if !as_sink {
        let target = Target::reader(table, &options, schema(table, &all)?, "wiesel check")?;
        target.dialect().open_scan(&target)?;
        return Ok(());
    }
    let target = Target::writer(table, &options, schema(table, &all)?, "wiesel check")?;
    target.dialect().open_writer(&target)?.check_rights()
}
