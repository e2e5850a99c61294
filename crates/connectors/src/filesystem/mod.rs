//! The filesystem connector: part files of Parquet or JSON lines, each seen by readers exactly once and only when it is whole.
//!
//! **Delivery**: exactly-once. Rows go to hidden files beside their final names. A checkpoint makes the files durable; when its manifest is,
//! the closed ones are renamed to their visible names, and a rename that is repeated after a crash changes nothing.
//!
//! **When files close**: by the rolling policy (size, age, inactivity); Parquet files also at every checkpoint when the SQL file itself sets
//! the checkpoint interval, as Flink's do. A file that stays open over a checkpoint has its rows durable: the checkpoint keeps the length and
//! the footer that would end it there, so after a crash it is cut to that length, ended, and shown. Nothing is written twice.
//!
//! **Order**: rows of one worker keep their order within a file. **Layout**: `dt=2024-01-01/hour=10/part-<uid>-<worker>-<counter>`; the
//! partition columns are not in the file.
//!
//! | file | idea |
//! |---|---|
//! | `options` | the WITH keys |
//! | `partition` | which directory a row goes to |
//! | `part` | one hidden file under construction |
//! | `parquet` | what is in a Parquet file |
//! | `ledger` | what checkpoints know of files; commit and recovery |
//! | `sink` | the open files of one worker |
//!
//! Reading files is refused by name for now.

mod ledger;
mod options;
mod parquet;
mod part;
mod partition;
mod sink;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use wiesel_core::change::ChangelogMode;
use wiesel_core::options::Options;
use wiesel_core::sink::SinkFactory;
use wiesel_core::source::SourceFactory;
use wiesel_core::table::{ColumnKind, ConnectorInfo, SinkRequest, SourceRequest, TableDescriptor};
use wiesel_core::types::{DataType, Field, Schema, TypeKind};
use wiesel_core::{Error, ErrorKind, Result};

use self::options::{FileFormat, FilesystemOptions};
use self::parquet::ParquetPlan;
use self::partition::PartitionColumn;
use self::sink::{FileEncoding, FilesystemSinkFactory};
use crate::formats::{EncoderFactory, FormatContext, encoder_factory};
use crate::registry::ConnectorContext;

/// Checks the options and says what the connector can do.
pub fn info(table: &TableDescriptor, _context: &ConnectorContext) -> Result<ConnectorInfo> {
    let columns: Vec<usize> = (0..table.columns.len())
        .filter(|i| table.columns.get(*i).is_some_and(|c| c.kind == ColumnKind::Physical))
        .collect();
    let plan = plan(table, &columns, "UTC")?;
    let text = DataType::not_null(DataType::string().kind);
    Ok(ConnectorInfo {
        is_source: false,
        is_lookup: false,
        is_bounded: true,
        watermark_push_down: false,
        source_mode: ChangelogMode::Insert,
        is_sink: true,
        sink_mode: Some(ChangelogMode::Insert),
        sink_folds_by_key: false,
        delivery: "exactly-once",
        metadata: vec![
            ("file.path".to_owned(), text.clone(), false),
            ("file.name".to_owned(), text, false),
            ("file.size".to_owned(), DataType::not_null(TypeKind::BigInt), false),
            ("file.modification-time".to_owned(), DataType::not_null(TypeKind::TimestampLtz(3)), false),
        ],
        notes: plan.options.notes,
    })
}

/// Reading files is not supported yet.
pub fn source(
    table: &TableDescriptor,
    _request: &SourceRequest,
    _context: &ConnectorContext,
) -> Result<Box<dyn SourceFactory>> {
    Err(Error::new(
        ErrorKind::Config,
        "W0503",
        format!("table `{}` is read, and reading with 'connector' = 'filesystem' is not supported yet", table.name),
    )
    .hint("filesystem tables can be written; read from 'kafka' or 'datagen'"))
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
    let existing = path.ancestors().find(|p| p.exists()).unwrap_or_else(|| Path::new("."));
    if !existing.is_dir() {
        return Err(Error::config(format!(
            "option 'path' of table `{}`: `{}` is not a directory",
            table.name,
            existing.display()
        )));
    }
    if !as_sink {
        return Ok(());
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
        FileFormat::Json => {
            let context = FormatContext {
                table: table.name.clone(),
                schema: Schema::new(fields),
                time_zone: time_zone.to_owned(),
            };
            let encoders: Arc<dyn EncoderFactory> = encoder_factory(&mut options, "format", context)?;
            FileEncoding::Json(encoders)
        }
    };
    options.finish()?;
    Ok(SinkPlan { options: filesystem, partition, stored, encoding })
}
