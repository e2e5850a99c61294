//! What a document says beside the row: when the change was captured, and where it comes from.
//!
//! Each key reads one field of the document, and some make something else of it: a number of milliseconds is a time, an entry of `source`
//! is a column of its own. Connectors that pass metadata of formats on put `value.` in front of the key.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, StringArray, TimestampMillisecondArray};
use jiff::Timestamp;
use jiff::tz::TimeZone;
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
    TypeKind::Map(Box::new(DataType::new(text())), Box::new(DataType::new(value)))
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
    /// For each column: its field, what becomes of it, and the zone whose wall clock a time is shown by, if it is.
    columns: Vec<(usize, Take, Option<TimeZone>)>,
}

/// Whether a column of type `declared` can hold metadata of type `own`. A map's keys are never NULL, whatever is declared.
fn holds(declared: &TypeKind, own: &TypeKind) -> bool {
    match (declared, own) {
        (TypeKind::Timestamp(3), TypeKind::TimestampLtz(3)) => true,
        (TypeKind::Map(key, value), TypeKind::Map(own_key, own_value)) => {
            key.kind == own_key.kind && value == own_value
        }
        _ => declared == own,
    }
}

impl Metadata {
    /// For columns of these keys and types; as TIMESTAMP a time is that of the session's zone.
    pub(super) fn of(dialect: &Dialect, table: &str, asked: &[Field], time_zone: &str) -> Result<Metadata> {
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
            if !holds(&column.data_type.kind, &key.own_type) {
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
            let zone = match column.data_type.kind {
                TypeKind::Timestamp(_) => Some(
                    TimeZone::get(time_zone)
                        .map_err(|e| Error::config(format!("time zone '{time_zone}' is unknown: {e}")))?,
                ),
                _ => None,
            };
            metadata.columns.push((place, key.take, zone));
        }
        Ok(metadata)
    }

    /// The columns, one row per document, of the fields that were read.
    pub(super) fn columns(&self, fields: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let internal = || Error::internal("a change document came without its metadata");
        let column = |(place, take, zone): &(usize, Take, Option<TimeZone>)| -> Result<ArrayRef> {
            let field = fields.get(*place).ok_or_else(internal)?;
            Ok(match take {
                Take::Whole => Arc::clone(field),
                Take::Millis => {
                    let millis = field.as_primitive_opt::<Int64Type>().ok_or_else(internal)?;
                    times(millis.iter(), zone.as_ref())
                }
                Take::Entry(name) => Arc::new(entries(field, name)?),
                Take::EntryMillis(name) => {
                    let texts = entries(field, name)?;
                    times(texts.iter().map(|text| text.and_then(|text| text.parse().ok())), zone.as_ref())
                }
            })
        };
        self.columns.iter().map(column).collect()
    }
}

/// Milliseconds as a column of TIMESTAMP_LTZ(3), or of TIMESTAMP(3) by a zone's wall clock.
fn times(millis: impl Iterator<Item = Option<i64>>, zone: Option<&TimeZone>) -> ArrayRef {
    if let Some(zone) = zone {
        let local = |ms: i64| {
            let instant = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
            ms.saturating_add(i64::from(zone.to_offset(instant).seconds()) * 1000)
        };
        return Arc::new(millis.map(|ms| ms.map(local)).collect::<TimestampMillisecondArray>());
    }
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
