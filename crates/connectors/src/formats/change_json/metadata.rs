//! What a document says beside the row: when the change was captured, and where it comes from.
//!
//! Each key reads one field of the document, and some make something else of it: a number of milliseconds is a time, an entry of `source`
//! is a column of its own. Connectors that pass metadata of formats on put `value.` in front of the key.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, StringArray, TimestampMillisecondArray};
use wiesel_core::types::{DataType, Field, MAX_LENGTH, TypeKind};
use wiesel_core::{Error, Result};

use super::Dialect;

/// What becomes of the field of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    /// The column is the field.
    Whole,
    /// Milliseconds since 1970.
    Millis,
    /// This entry of a map.
    Entry(&'static str),
    /// This entry of a map, as milliseconds since 1970.
    EntryMillis(&'static str),
}

/// A key of a format.
struct Key {
    name: &'static str,
    /// The field of the document.
    field: &'static str,
    field_type: TypeKind,
    own_type: TypeKind,
    take: Take,
}

fn text() -> TypeKind {
    TypeKind::VarChar(MAX_LENGTH)
}

fn map(value: TypeKind) -> TypeKind {
    TypeKind::Map(Box::new(DataType::not_null(text())), Box::new(DataType::new(value)))
}

fn texts() -> TypeKind {
    TypeKind::Array(Box::new(DataType::new(text())))
}

fn keys(dialect: &Dialect) -> Vec<Key> {
    let key = |name, field, field_type, own_type, take| Key { name, field, field_type, own_type, take };
    let time = |name, field| key(name, field, TypeKind::BigInt, TypeKind::TimestampLtz(3), Take::Millis);
    let word = |name, field| key(name, field, text(), text(), Take::Whole);
    let source = |name, entry| key(name, "source", map(text()), text(), Take::Entry(entry));
    match dialect {
        Dialect::Debezium { .. } => vec![
            word("schema", "schema"),
            time("ingestion-timestamp", "ts_ms"),
            key("source.timestamp", "source", map(text()), TypeKind::TimestampLtz(3), Take::EntryMillis("ts_ms")),
            source("source.database", "db"),
            source("source.schema", "schema"),
            source("source.table", "table"),
            key("source.properties", "source", map(text()), map(text()), Take::Whole),
        ],
        Dialect::Canal { .. } => vec![
            word("database", "database"),
            word("table", "table"),
            key("sql-type", "sqlType", map(TypeKind::Int), map(TypeKind::Int), Take::Whole),
            key("pk-names", "pkNames", texts(), texts(), Take::Whole),
            time("ingestion-timestamp", "ts"),
            time("event-timestamp", "es"),
        ],
        Dialect::Maxwell => vec![
            word("database", "database"),
            word("table", "table"),
            key("primary-key-columns", "primary_key_columns", texts(), texts(), Take::Whole),
            time("ingestion-timestamp", "ts"),
        ],
    }
}

/// The keys of a format with their types.
#[cfg(feature = "kafka")]
pub(super) fn all(dialect: &Dialect) -> Vec<(&'static str, DataType)> {
    keys(dialect).into_iter().map(|key| (key.name, DataType::new(key.own_type))).collect()
}

/// The metadata columns that are asked for.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// The fields that documents are read for, each once.
    pub(super) fields: Vec<Field>,
    /// For each column: its field, and what becomes of it.
    columns: Vec<(usize, Take)>,
}

impl Metadata {
    /// For columns of these keys and types.
    pub(super) fn of(dialect: &Dialect, table: &str, asked: &[Field]) -> Result<Metadata> {
        let known = keys(dialect);
        let mut metadata = Metadata::default();
        for column in asked {
            let Some(key) = known.iter().find(|key| key.name == column.name) else {
                let names: Vec<&str> = known.iter().map(|key| key.name).collect();
                return Err(Error::config(format!(
                    "table `{table}`: format '{}' has no metadata '{}'",
                    dialect.name(),
                    column.name
                ))
                .hint(format!("it has {}", names.join(", "))));
            };
            if key.own_type != column.data_type.kind {
                return Err(Error::config(format!(
                    "table `{table}`: metadata '{}' of format '{}' does not cast to {}",
                    key.name,
                    dialect.name(),
                    column.data_type
                ))
                .hint(format!("declare it as {}", key.own_type)));
            }
            let place = match metadata.fields.iter().position(|field| field.name == key.field) {
                Some(place) => place,
                None => {
                    metadata.fields.push(Field::new(key.field, DataType::new(key.field_type.clone())));
                    metadata.fields.len() - 1
                }
            };
            metadata.columns.push((place, key.take));
        }
        Ok(metadata)
    }

    /// The columns, one row per document, of the fields that were read.
    pub(super) fn columns(&self, fields: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let internal = || Error::internal("a change document came without its metadata");
        let column = |(place, take): &(usize, Take)| -> Result<ArrayRef> {
            let field = fields.get(*place).ok_or_else(internal)?;
            Ok(match take {
                Take::Whole => Arc::clone(field),
                Take::Millis => {
                    let millis = field.as_primitive_opt::<Int64Type>().ok_or_else(internal)?;
                    times(millis.iter())
                }
                Take::Entry(name) => Arc::new(entries(field, name)?),
                Take::EntryMillis(name) => {
                    let texts = entries(field, name)?;
                    times(texts.iter().map(|text| text.and_then(|text| text.parse().ok())))
                }
            })
        };
        self.columns.iter().map(column).collect()
    }
}

/// Milliseconds as a column of TIMESTAMP_LTZ(3).
fn times(millis: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let column: TimestampMillisecondArray = millis.collect();
    let wanted = DataType::new(TypeKind::TimestampLtz(3)).to_arrow();
    match wanted {
        arrow_schema::DataType::Timestamp(_, Some(zone)) => Arc::new(column.with_timezone(zone)),
        _ => Arc::new(column),
    }
}

/// One entry of each map.
fn entries(field: &ArrayRef, name: &str) -> Result<StringArray> {
    let internal = || Error::internal("the `source` of a change document came as no map of texts");
    let maps = field.as_map_opt().ok_or_else(internal)?;
    let keys = maps.keys().as_string_opt::<i32>().ok_or_else(internal)?;
    let values = maps.values().as_string_opt::<i32>().ok_or_else(internal)?;
    let of_row = |row: usize| {
        if maps.is_null(row) {
            return None;
        }
        let place = |index: usize| maps.value_offsets().get(index).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
        let found = (place(row)..place(row + 1)).rev().find(|entry| keys.value(*entry) == name)?;
        values.is_valid(found).then(|| values.value(found))
    };
    Ok((0..maps.len()).map(of_row).collect())
}
