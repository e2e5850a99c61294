//! The filesystem connector: files of Parquet, JSON lines, CSV or raw lines, read once each and written exactly once.
//!
//! **Source.** Splits are files, read one after the other in the order of their names; rows of a file keep their order. A checkpoint holds
//! how far each file was read, so every row counts exactly once. Without 'source.monitor-interval' the scan is bounded; with it new files are
//! read as they appear. Files below the path are found at any depth; names that begin with `_` or `.` are hidden. Files packed with gzip,
//! zstd or deflate are told by their extension. Large files are read in bounded pieces.
//!
//! **Sink.** Exactly-once. Rows go to hidden files beside their final names. A checkpoint makes the files durable; when its manifest is,
//! the closed ones are renamed to their visible names, and a rename that is repeated after a crash changes nothing.
//!
//! **When files close**: by the rolling policy (size, age, inactivity); Parquet and CSV files also at every checkpoint when the SQL file
//! itself sets the checkpoint interval, as Flink's do. A file that stays open over a checkpoint has its rows durable: the checkpoint keeps
//! the length and the footer that would end it there, so after a crash it is cut to that length, ended, and shown. Nothing is written twice.
//!
//! **Object stores**: `s3://bucket/folder` is a path, too. There a part file is an upload in parts, which the commit completes; `upload` says
//! how.
//!
//! **Order**: rows of one worker keep their order within a file. **Layout**: `dt=2024-01-01/hour=10/part-<uid>-<worker>-<counter>`; the
//! partition columns are not in the file.
//!
//! | option | default | |
//! |---|---|---|
//! | path | required | a directory, or for a source also one file |
//! | format | required | parquet, json, csv, raw; `csv.*` and `json.*` stand with their formats |
//! | partition.default-name | `__DEFAULT_PARTITION__` | the directory of NULL |
//! | source.monitor-interval | none | look for new files so often: an unbounded source |
//! | source.path.regex-pattern | none | what a file's absolute path must match |
//! | sink.rolling-policy.file-size, .rollover-interval, .inactivity-interval, .check-interval | 128 MB, 30 min, 30 min, 1 min | when files close |
//! | sink.partition-commit.policy.kind | none | success-file: an empty file says that a partition is whole |
//! | sink.partition-commit.trigger, .delay, .watermark-time-zone, .success-file.name | process-time, 0 s, UTC, _SUCCESS | when, and which |
//! | partition.time-extractor.timestamp-pattern, .timestamp-formatter | the first value, `yyyy-MM-dd HH:mm:ss` | the time of a partition |
//! | auto-compaction, compaction.file-size | false, the rolling policy's | the files of one checkpoint are as few as this size allows |
//! | parquet.compression, .block.size, .page.size, .enable.dictionary | SNAPPY, 128 MB, 1 MB, true | how Parquet files are written |
//! | parquet.utc-timezone, .write.int64.timestamp, .timestamp.time.unit | false, false, micros | what timestamps are in Parquet files |
//!
//! Metadata columns: file.path, file.name, file.size, file.modification-time, all read-only.
//!
//! | file | idea |
//! |---|---|
//! | `options` | the WITH keys |
//! | `scan` | which files there are |
//! | `remote` | files of an object store: found, and read in ranges |
//! | `source` | one file after the other |
//! | `chunk` | a file's bytes in pieces of whole records |
//! | `file_reader` | records to rows, with partition and metadata columns |
//! | `parquet_reader` | Parquet files to rows |
//! | `partition` | which directory a row goes to |
//! | `part` | one hidden file under construction |
//! | `parquet` | what is in a Parquet file |
//! | `ledger` | what checkpoints know of files; commit and recovery |
//! | `upload` | the same in an object store: uploads in parts |
//! | `partition_commit` | when a partition is done, and the mark that says so |
//! | `sink` | the open files of one worker |

mod chunk;
mod file_reader;
mod ledger;
mod options;
mod parquet;
mod parquet_reader;
mod part;
mod partition;
mod partition_commit;
mod remote;
mod scan;
mod sink;
mod source;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;
mod upload;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use wiesel_core::options::Options;
use wiesel_core::sink::SinkFactory;
use wiesel_core::source::SourceFactory;
use wiesel_core::table::{ColumnKind, ConnectorInfo, SinkRequest, SourceRequest, TableColumn, TableDescriptor};
use wiesel_core::types::{Field, Schema};
use wiesel_core::{Error, Result};
use wiesel_objects::ObjectUrl;

use self::file_reader::{FileColumns, FileMetadata, OutputColumn};
use self::options::{FileFormat, FilesystemOptions};
use self::parquet::ParquetPlan;
use self::parquet_reader::ParquetScan;
use self::partition::PartitionColumn;
pub(crate) use self::partition_commit::Formatter;
use self::scan::Scan;
use self::sink::{FileEncoding, FilesystemSinkFactory};
use self::source::{FileDecoding, FileSourceFactory, Files};
use crate::formats::{EncoderFactory, FormatContext, changelog_mode, decoder_factory, encoder_factory, framing};
use crate::registry::{ConnectorContext, columns, schema};

/// Checks the options and says what the connector can do.
pub fn info(table: &TableDescriptor, _context: &ConnectorContext) -> Result<ConnectorInfo> {
    let columns: Vec<usize> = (0..table.columns.len())
        .filter(|i| table.columns.get(*i).is_some_and(|c| c.kind == ColumnKind::Physical))
        .collect();
    let plan = plan(table, &columns, "UTC")?;
    for column in &table.columns {
        if let ColumnKind::Metadata { key, .. } = &column.kind {
            FileMetadata::of_column(&table.name, column, key)?;
        }
    }
    let changes = changelog_mode(&mut Options::new(&table.name, &table.options), "format");
    Ok(ConnectorInfo {
        is_source: true,
        is_lookup: false,
        is_bounded: plan.options.monitor_interval.is_none(),
        watermark_push_down: false,
        source_mode: changes,
        is_sink: true,
        sink_mode: Some(changes),
        sink_folds_by_key: false,
        delivery: "exactly-once",
        metadata: FileMetadata::all().into_iter().map(|(_, key, t)| (key.to_owned(), t, false)).collect(),
        notes: plan.options.notes,
    })
}

/// A source that reads the table's files.
pub fn source(
    table: &TableDescriptor,
    request: &SourceRequest,
    context: &ConnectorContext,
) -> Result<Box<dyn SourceFactory>> {
    info(table, context)?;
    let mut options = Options::new(&table.name, &table.options);
    let filesystem = FilesystemOptions::read(&mut options, table)?;
    let is_stored = |c: &TableColumn| c.kind == ColumnKind::Physical && !table.partition_keys.contains(&c.name);
    let field = |c: &TableColumn| Field::new(&c.name, c.data_type.clone());
    let mut stored = Vec::new();
    let mut output = Vec::new();
    for column in columns(table, &request.columns)? {
        output.push(match &column.kind {
            ColumnKind::Metadata { key, .. } => {
                OutputColumn::Metadata(FileMetadata::of_column(&table.name, column, key)?)
            }
            ColumnKind::Physical if !is_stored(column) => {
                OutputColumn::Partition { key: column.name.clone(), data_type: column.data_type.clone() }
            }
            ColumnKind::Physical => {
                stored.push(field(column));
                OutputColumn::Decoded(stored.len() - 1)
            }
        });
    }
    let decoding = match &filesystem.format {
        FileFormat::Parquet(parquet) => {
            FileDecoding::Parquet(Arc::new(ParquetScan::new(stored, parquet.is_utc, &request.time_zone)?))
        }
        FileFormat::Records { .. } => {
            let context = FormatContext {
                table: table.name.clone(),
                schema: Schema::new(stored),
                record: Schema::new(table.columns.iter().filter(|c| is_stored(c)).map(field).collect()),
                metadata: Vec::new(),
                time_zone: request.time_zone.clone(),
                addresses: Vec::new(),
            };
            FileDecoding::Records {
                framing: framing(&mut options, "format", &table.name)?,
                decoder: decoder_factory(&mut options, "format", context)?,
            }
        }
    };
    Ok(Box::new(FileSourceFactory {
        table: table.name.clone(),
        scan: Scan { root: filesystem.path, pattern: filesystem.path_pattern },
        monitor_interval: filesystem.monitor_interval,
        decoding,
        columns: FileColumns {
            table: table.name.clone(),
            columns: output,
            schema: schema(table, &request.columns)?,
            default_partition: filesystem.default_partition,
        },
        files: Files::default(),
    }))
}

/// A sink that writes the table's files.
pub fn sink(
    table: &TableDescriptor,
    request: &SinkRequest,
    _context: &ConnectorContext,
) -> Result<Box<dyn SinkFactory>> {
    let plan = plan(table, &request.columns, &request.time_zone)?;
    Ok(Box::new(FilesystemSinkFactory::new(table, request, plan)))
}

/// Checks that files can be written where the table lies.
pub fn probe(table: &TableDescriptor, as_sink: bool, _context: &ConnectorContext) -> Result<()> {
    let mut options = Options::new(&table.name, &table.options);
    let path = FilesystemOptions::read(&mut options, table)?.path;
    if ObjectUrl::is_path(&path) {
        return remote::probe(&path, as_sink);
    }
    if !as_sink {
        return match fs::metadata(&path) {
            Ok(_) => Ok(()),
            Err(e) => Err(scan::read_error(&path, &e)),
        };
    }
    let existing = path.ancestors().find(|p| p.exists()).unwrap_or_else(|| Path::new("."));
    if !existing.is_dir() {
        return Err(Error::config(format!(
            "option 'path' of table `{}`: `{}` is not a directory",
            table.name,
            existing.display()
        )));
    }
    let trial = existing.join(format!(".wiesel-check-{}", std::process::id()));
    let result = fs::write(&trial, b"").and_then(|()| fs::remove_file(&trial));
    result.map_err(|e| ledger::io_error("write to", existing, &e))
}

/// Everything about a table's files that is known before any is opened.
struct SinkPlan {
    options: FilesystemOptions,
    partition: Vec<PartitionColumn>,
    /// Positions, in the batches, of the columns that files hold.
    stored: Vec<usize>,
    encoding: FileEncoding,
}

fn plan(table: &TableDescriptor, columns: &[usize], time_zone: &str) -> Result<SinkPlan> {
    let mut options = Options::new(&table.name, &table.options);
    let filesystem = FilesystemOptions::read(&mut options, table)?;
    let mut stored = Vec::new();
    let mut fields = Vec::new();
    let mut partition = Vec::new();
    for (position, index) in columns.iter().enumerate() {
        let Some(column) = table.columns.get(*index) else {
            return Err(Error::internal(format!("table `{}` has no column {index}", table.name)));
        };
        if !table.partition_keys.contains(&column.name) {
            stored.push(position);
            fields.push(Field::new(&column.name, column.data_type.clone()));
        }
    }
    for key in &table.partition_keys {
        let position = columns.iter().position(|i| table.columns.get(*i).is_some_and(|c| c.name == *key));
        let column = position.and_then(|p| columns.get(p)).and_then(|i| table.columns.get(*i));
        let (Some(position), Some(column)) = (position, column) else {
            return Err(Error::config(format!("partition column `{key}` of table `{}` is not written", table.name)));
        };
        partition.push(PartitionColumn::new(key, position, &column.data_type, &table.name)?);
    }
    if fields.is_empty() {
        return Err(Error::config(format!("table `{}` has no column beside its partition columns", table.name)));
    }
    let encoding = match &filesystem.format {
        FileFormat::Parquet(parquet) => FileEncoding::Parquet(Arc::new(ParquetPlan::new(parquet, &fields, time_zone)?)),
        FileFormat::Records { is_bulk } => {
            let context = FormatContext::whole(&table.name, Schema::new(fields), time_zone);
            let encoders: Arc<dyn EncoderFactory> = encoder_factory(&mut options, "format", context)?;
            FileEncoding::Records { encoders, is_bulk: *is_bulk }
        }
    };
    options.finish()?;
    Ok(SinkPlan { options: filesystem, partition, stored, encoding })
}
