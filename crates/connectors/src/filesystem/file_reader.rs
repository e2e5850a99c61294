//! From a file's records to the table's rows: the format makes the stored columns, and the others are constant for the whole file:
//! partition columns, read from the names of its directories, and metadata columns.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use arrow_array::{RecordBatch, RecordBatchOptions};
use wiesel_core::source::{RawBatch, ReadRows, RowReader};
use wiesel_core::table::TableColumn;
use wiesel_core::types::{DataType, Schema, TypeKind};
use wiesel_core::{Error, Result, Value};

use super::chunk::line_at;
use super::scan::{ScannedFile, partition_value};
use super::source::Files;
use crate::formats::Decoder;
use crate::formats::json::read_iso_date;

/// Where an output column comes from.
#[derive(Debug, Clone)]
pub(super) enum OutputColumn {
    /// The stored column of this number.
    Decoded(usize),
    Partition {
        key: String,
        data_type: DataType,
    },
    Metadata(FileMetadata),
}

/// What is known of a file beside its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileMetadata {
    Path,
    Name,
    Size,
    ModificationTime,
}

impl FileMetadata {
    /// All of them: key and type.
    pub(super) fn all() -> [(FileMetadata, &'static str, DataType); 4] {
        let text = DataType::not_null(DataType::string().kind);
        [
            (FileMetadata::Path, "file.path", text.clone()),
            (FileMetadata::Name, "file.name", text),
            (FileMetadata::Size, "file.size", DataType::not_null(TypeKind::BigInt)),
            (FileMetadata::ModificationTime, "file.modification-time", DataType::not_null(TypeKind::TimestampLtz(3))),
        ]
    }

    /// The metadata of a column, when the key exists and the column has its type.
    pub(super) fn of_column(table: &str, column: &TableColumn, key: &str) -> Result<FileMetadata> {
        let all = FileMetadata::all();
        let Some((metadata, _, data_type)) = all.iter().find(|(_, known, _)| *known == key) else {
            let keys: Vec<&str> = all.iter().map(|(_, key, _)| *key).collect();
            return Err(Error::config(format!(
                "column `{}` of table `{table}`: filesystem has no metadata '{key}'",
                column.name
            ))
            .hint(format!("it has {}", keys.join(", "))));
        };
        if column.data_type.kind != data_type.kind {
            return Err(Error::config(format!(
                "column `{}` of table `{table}`: metadata '{key}' is {}, declared as {}",
                column.name, data_type.kind, column.data_type
            ))
            .hint("declare it with its own type, and cast in the query"));
        }
        Ok(*metadata)
    }

    fn value(self, file: &ScannedFile) -> Value {
        match self {
            FileMetadata::Path => Value::String(file.path.to_string_lossy().into_owned()),
            FileMetadata::Name => Value::String(file.name.rsplit('/').next().unwrap_or_default().to_owned()),
            FileMetadata::Size => Value::Int(i64::try_from(file.size).unwrap_or(i64::MAX)),
            FileMetadata::ModificationTime => Value::Timestamp(file.modified_ms),
        }
    }
}

/// The table's output columns.
#[derive(Debug, Clone)]
pub(super) struct FileColumns {
    pub(super) table: String,
    pub(super) columns: Vec<OutputColumn>,
    pub(super) schema: Schema,
    /// The directory value that stands for NULL.
    pub(super) default_partition: String,
}

impl FileColumns {
    /// The constant values of a file, by output column.
    pub(super) fn of_file(&self, file: &ScannedFile) -> Result<Vec<Option<Value>>> {
        self.columns
            .iter()
            .map(|column| match column {
                OutputColumn::Decoded(_) => Ok(None),
                OutputColumn::Metadata(metadata) => Ok(Some(metadata.value(file))),
                OutputColumn::Partition { key, data_type } => {
                    let text = partition_value(&file.name, key).ok_or_else(|| {
                        Error::data(format!(
                            "file `{}` of table `{}` does not lie in a directory `{key}=...`",
                            file.path.display(),
                            self.table
                        ))
                        .hint("PARTITIONED BY columns are read from the names of directories")
                    })?;
                    if text == self.default_partition {
                        return Ok(Some(Value::Null));
                    }
                    parse(&text, &data_type.kind).map(Some).ok_or_else(|| {
                        Error::data(format!(
                            "directory `{key}={text}` of table `{}`: expected {data_type}, found `{text}`",
                            self.table
                        ))
                        .at(format!("file `{}`", file.path.display()))
                    })
                }
            })
            .collect()
    }

    /// Puts the stored columns of some rows of a file together with its constant ones.
    pub(super) fn assemble(&self, stored: &RecordBatch, of_file: &[Option<Value>]) -> Result<RecordBatch> {
        let rows = stored.num_rows();
        let mut columns = Vec::with_capacity(self.columns.len());
        for (index, column) in self.columns.iter().enumerate() {
            columns.push(match (column, of_file.get(index).and_then(Option::as_ref)) {
                (OutputColumn::Decoded(stored_index), _) => Arc::clone(stored.column(*stored_index)),
                (_, Some(value)) => {
                    let field = self.schema.fields().get(index);
                    let field = field.ok_or_else(|| Error::internal("an output column without a field"))?;
                    value.to_array(&field.data_type, rows)
                }
                (_, None) => return Err(Error::internal("a file without its constant columns")),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(self.schema.arrow()), columns, &options)?)
    }
}

/// A partition's value out of its text.
fn parse(text: &str, kind: &TypeKind) -> Option<Value> {
    Some(match kind {
        TypeKind::Char(_) | TypeKind::VarChar(_) => Value::String(text.to_owned()),
        TypeKind::Boolean if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
        TypeKind::Boolean if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
        TypeKind::TinyInt => Value::Int(text.parse::<i8>().ok()?.into()),
        TypeKind::SmallInt => Value::Int(text.parse::<i16>().ok()?.into()),
        TypeKind::Int => Value::Int(text.parse::<i32>().ok()?.into()),
        TypeKind::BigInt => Value::Int(text.parse().ok()?),
        TypeKind::Date => Value::Date(read_iso_date(text)?),
        _ => return None,
    })
}

/// Decodes one worker's share of the records.
pub(super) struct FileRowReader {
    table: String,
    decoder: Box<dyn Decoder>,
    columns: FileColumns,
    is_plain: bool,
    files: Files,
    /// The constant values of the file that was read last.
    of_file: Option<(usize, Vec<Option<Value>>)>,
}

impl FileRowReader {
    pub(super) fn new(table: String, decoder: Box<dyn Decoder>, columns: FileColumns, files: Files) -> Self {
        FileRowReader { table, decoder, is_plain: columns.is_plain(), columns, files, of_file: None }
    }

    fn file(&self, split: usize) -> Result<ScannedFile> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files.get(split).cloned().ok_or_else(|| Error::internal(format!("table `{}` has no split {split}", self.table)))
    }

    /// Says in which file and line the first bad record lies.
    #[cold]
    fn locate(&mut self, error: Error, batch: &RawBatch, range: Range<usize>) -> Error {
        let Ok(file) = self.file(batch.split) else { return error };
        let mut index = range.start;
        while index < range.end && self.decoder.decode(batch, index..index + 1).is_ok() {
            index += 1;
        }
        let position = batch.records.get(index).and_then(|r| u64::try_from(r.offset).ok());
        let line = position.and_then(|p| line_at(&file.path, p));
        error.at(match line {
            Some(line) => format!("`{}`, line {line}", file.path.display()),
            None => format!("`{}`", file.path.display()),
        })
    }
}

impl RowReader for FileRowReader {
    fn read(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<ReadRows> {
        let decoded = match self.decoder.decode(batch, range.clone()) {
            Ok(decoded) => decoded,
            Err(error) => return Err(self.locate(error, batch, range)),
        };
        let rows = if self.is_plain {
            decoded.rows
        } else {
            if self.of_file.as_ref().is_none_or(|(split, _)| *split != batch.split) {
                let values = self.columns.of_file(&self.file(batch.split)?)?;
                self.of_file = Some((batch.split, values));
            }
            let of_file = self.of_file.as_ref().map_or(&[] as &[_], |(_, values)| values.as_slice());
            self.columns.assemble(&decoded.rows, of_file)?
        };
        Ok(ReadRows { rows, kinds: decoded.kinds, skipped: decoded.skipped })
    }
}
