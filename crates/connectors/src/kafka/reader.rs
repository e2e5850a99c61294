//! From raw records to columns: the format decodes the values, and metadata columns come from what Kafka says about each record.
//!
//! Metadata columns have a type of Kafka's own (`timestamp` is TIMESTAMP_LTZ(3)); a table may declare another one that it casts to. The
//! casts that make sense are done here, the others are refused when the table is checked.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use arrow_array::builder::{BinaryBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{
    ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType as ArrowType, Field as ArrowField, TimeUnit};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use wiesel_core::source::{RawBatch, RawRecord, ReadRows, RowReader};
use wiesel_core::table::TableColumn;
use wiesel_core::types::MAX_LENGTH;
use wiesel_core::{DataType, Error, ErrorKind, Field, Result, Schema, TypeKind};

use super::keys::KeyReader;
use super::source::SplitNames;
use crate::formats::Decoder;

/// What Kafka knows about a record beside key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    Topic,
    Partition,
    Headers,
    HeaderList,
    Offset,
    Timestamp,
    TimestampType,
}

impl Metadata {
    /// All of them: key, type, whether a sink can write it.
    pub(super) fn all() -> Vec<(Metadata, &'static str, DataType, bool)> {
        let string = || TypeKind::VarChar(MAX_LENGTH);
        let bytes = DataType::new(TypeKind::VarBinary(MAX_LENGTH));
        let headers = TypeKind::Map(Box::new(DataType::not_null(string())), Box::new(bytes.clone()));
        let header = vec![Field::new("key", DataType::new(string())), Field::new("value", bytes)];
        let header_list = TypeKind::Array(Box::new(DataType::new(TypeKind::Row(header))));
        vec![
            (Metadata::Topic, "topic", DataType::not_null(string()), false),
            (Metadata::Partition, "partition", DataType::not_null(TypeKind::Int), false),
            (Metadata::Headers, "headers", DataType::not_null(headers), true),
            (Metadata::HeaderList, "header-list", DataType::not_null(header_list), false),
            (Metadata::Offset, "offset", DataType::not_null(TypeKind::BigInt), false),
            (Metadata::Timestamp, "timestamp", DataType::not_null(TypeKind::TimestampLtz(3)), true),
            (Metadata::TimestampType, "timestamp-type", DataType::not_null(string()), false),
        ]
    }

    /// The metadata that a column holds, when the key exists and casts to the declared type.
    pub(super) fn of_column(table: &str, column: &TableColumn, key: &str) -> Result<Metadata> {
        let place = format!("column `{}` of table `{table}`", column.name);
        if key == "leader-epoch" {
            return Err(Error::new(
                ErrorKind::Config,
                "W0503",
                format!("{place}: metadata '{key}' is not supported yet"),
            ));
        }
        let Some((metadata, _, own_type, _)) = Metadata::all().into_iter().find(|(_, known, ..)| *known == key) else {
            let all = Metadata::all();
            let keys: Vec<&str> = all.iter().map(|(_, key, ..)| *key).collect();
            return Err(Error::config(format!("{place}: kafka has no metadata '{key}'"))
                .hint(format!("it has {}", keys.join(", "))));
        };
        let declared = &column.data_type.kind;
        let fits = match metadata {
            Metadata::Partition => matches!(declared, TypeKind::Int | TypeKind::BigInt) || is_string(declared),
            Metadata::Offset => matches!(declared, TypeKind::BigInt) || is_string(declared),
            Metadata::Timestamp => matches!(declared, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_)),
            Metadata::Topic | Metadata::TimestampType => is_string(declared),
            Metadata::Headers => match declared {
                TypeKind::Map(key, value) => {
                    is_string(&key.kind) && matches!(value.kind, TypeKind::VarBinary(MAX_LENGTH))
                }
                _ => false,
            },
            Metadata::HeaderList => match declared {
                TypeKind::Array(element) => match &element.kind {
                    TypeKind::Row(fields) => match fields.as_slice() {
                        [key, value] => {
                            is_string(&key.data_type.kind)
                                && matches!(value.data_type.kind, TypeKind::VarBinary(MAX_LENGTH))
                        }
                        _ => false,
                    },
                    _ => false,
                },
                _ => false,
            },
        };
        if fits {
            return Ok(metadata);
        }
        Err(Error::config(format!("{place}: metadata '{key}' does not cast to {}", column.data_type))
            .hint(format!("declare it as {}", own_type.kind)))
    }
}

fn is_string(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::VarChar(MAX_LENGTH))
}

/// A header, as it stands in an arena between key and value: length and bytes of the name, length (all ones: none) and bytes of the value.
pub(super) fn write_header(arena: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
    arena.extend_from_slice(&length(name));
    arena.extend_from_slice(name);
    match value {
        Some(value) => {
            arena.extend_from_slice(&length(value));
            arena.extend_from_slice(value);
        }
        None => arena.extend_from_slice(&u32::MAX.to_le_bytes()),
    }
}

/// Name and value of a header.
pub(super) type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The first header in `bytes`, and what follows it.
pub(super) fn read_header(bytes: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    let (name, bytes) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    match u32::from_le_bytes(*length) {
        u32::MAX => Some(((name, None), bytes)),
        length => {
            let (value, bytes) = bytes.split_at_checked(length as usize)?;
            Some(((name, Some(value)), bytes))
        }
    }
}

/// Where an output column comes from.
#[derive(Debug, Clone)]
pub(super) enum OutputColumn {
    /// The column of the values of this index.
    Value(usize),
    /// The column of the keys of this index.
    Key(usize),
    /// A column of the values; where a deletion has no value, one of the keys.
    Either {
        /// In the values.
        value: usize,
        /// In the keys.
        key: usize,
    },
    /// What Kafka says about the record.
    Metadata(Metadata, DataType),
}

/// Decodes one worker's share of the records.
pub(super) struct KafkaReader {
    decoder: Box<dyn Decoder>,
    keys: Option<KeyReader>,
    schema: Schema,
    columns: Vec<OutputColumn>,
    names: SplitNames,
    local_time: LocalTime,
}

impl KafkaReader {
    /// A reader that delivers `columns` (with `schema`) from what the decoders of both sides make.
    pub(super) fn new(
        decoder: Box<dyn Decoder>,
        keys: Option<KeyReader>,
        columns: Vec<OutputColumn>,
        schema: Schema,
        names: SplitNames,
        time_zone: &str,
    ) -> Result<Self> {
        Ok(KafkaReader { decoder, keys, schema, columns, names, local_time: LocalTime::new(time_zone)? })
    }
}

impl RowReader for KafkaReader {
    fn read(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<ReadRows> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let (topic, partition) =
            names.get(batch.split).cloned().ok_or_else(|| Error::internal(format!("no split {}", batch.split)))?;
        drop(names);
        let first = range.start;
        let place = |error: Error| error.at(format!("{topic}-{partition}"));
        let decoded = self.decoder.decode(batch, range.clone()).map_err(place)?;
        let matched = self.keys.as_mut().map(|keys| keys.read(batch, range, &decoded)).transpose().map_err(place)?;
        let (taken, rows) = match &matched {
            Some(matched) => (Some(matched.records.as_slice()), matched.records.len()),
            None => (decoded.taken.as_deref(), decoded.rows.num_rows()),
        };
        let records = Records { batch, first, taken, rows };
        let columns = self
            .columns
            .iter()
            .map(|column| match (column, &matched) {
                (OutputColumn::Metadata(metadata, data_type), _) => {
                    metadata_column(*metadata, data_type, &records, &topic, partition, &mut self.local_time)
                }
                (OutputColumn::Value(value), None) => Ok(decoded.rows.column(*value).clone()),
                (OutputColumn::Value(value), Some(matched)) => matched.value_column(decoded.rows.column(*value)),
                (OutputColumn::Key(key), Some(matched)) => matched.key_column(*key),
                (OutputColumn::Either { value, key }, Some(matched)) => {
                    matched.either_column(decoded.rows.column(*value), *key)
                }
                (OutputColumn::Key(_) | OutputColumn::Either { .. }, None) => {
                    Err(Error::internal("a column of keys that nobody reads"))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?;
        let (kinds, skipped) = match matched {
            Some(matched) => (matched.kinds.map(Into::into), matched.skipped),
            None => (decoded.kinds, decoded.skipped),
        };
        Ok(ReadRows { rows, kinds, skipped })
    }
}

/// The record behind each row.
struct Records<'a> {
    batch: &'a RawBatch,
    first: usize,
    taken: Option<&'a [u32]>,
    rows: usize,
}

impl<'a> Records<'a> {
    fn iter(&self) -> impl Iterator<Item = &'a RawRecord> + '_ {
        (0..self.rows).filter_map(|row| {
            let index = self.taken.map_or(self.first + row, |taken| taken[row] as usize);
            self.batch.records.get(index)
        })
    }
}

fn metadata_column(
    metadata: Metadata,
    data_type: &DataType,
    records: &Records<'_>,
    topic: &str,
    partition: i32,
    local_time: &mut LocalTime,
) -> Result<ArrayRef> {
    let rows = records.rows;
    Ok(match (metadata, &data_type.kind) {
        (Metadata::Partition, TypeKind::Int) => Arc::new(Int32Array::from_value(partition, rows)),
        (Metadata::Partition, TypeKind::BigInt) => Arc::new(Int64Array::from_value(i64::from(partition), rows)),
        (Metadata::Partition, _) => repeated(&partition.to_string(), rows),
        (Metadata::Topic, _) => repeated(topic, rows),
        (Metadata::Offset, TypeKind::BigInt) => Arc::new(records.iter().map(|r| r.offset).collect::<Int64Array>()),
        (Metadata::Offset, _) => Arc::new(records.iter().map(|r| Some(r.offset.to_string())).collect::<StringArray>()),
        (Metadata::Timestamp, TypeKind::TimestampLtz(_)) => {
            timestamps(data_type, records.iter().map(|r| r.timestamp_ms).collect())
        }
        (Metadata::Timestamp, _) => {
            timestamps(data_type, records.iter().map(|r| local_time.of(r.timestamp_ms)).collect())
        }
        (Metadata::TimestampType, _) => {
            Arc::new(records.iter().map(|r| Some(timestamp_type(r.tag))).collect::<StringArray>())
        }
        (Metadata::Headers, _) => headers(data_type, records)?,
        (Metadata::HeaderList, _) => header_list(data_type, records)?,
    })
}

fn repeated(text: &str, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
}

/// Kafka's own names for the types.
fn timestamp_type(tag: u8) -> &'static str {
    match tag {
        1 => "CreateTime",
        2 => "LogAppendTime",
        _ => "NoTimestampType",
    }
}

/// Milliseconds as a timestamp column of the declared precision. A time that nanoseconds cannot hold is cut to the nearest that they can.
fn timestamps(data_type: &DataType, ms: Vec<i64>) -> ArrayRef {
    match data_type.to_arrow() {
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            Arc::new(TimestampMicrosecondArray::from_iter_values(ms.into_iter().map(|t| t.saturating_mul(1000))))
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            Arc::new(TimestampNanosecondArray::from_iter_values(ms.into_iter().map(|t| t.saturating_mul(1_000_000))))
        }
        _ => Arc::new(TimestampMillisecondArray::from(ms)),
    }
}

fn headers(data_type: &DataType, records: &Records<'_>) -> Result<ArrayRef> {
    let names = MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new())
        .with_keys_field(ArrowField::new("key", ArrowType::Utf8, false))
        .with_values_field(ArrowField::new("value", ArrowType::Binary, true));
    for record in records.iter() {
        let range = record.key_end as usize..record.value_start as usize;
        let mut bytes = records.batch.arena.get(range).unwrap_or_default();
        // A map has each key once, and as in Flink the last header of a name wins.
        let mut entries: Vec<Header<'_>> = Vec::new();
        while let Some(((name, value), rest)) = read_header(bytes) {
            entries.retain(|(known, _)| *known != name);
            entries.push((name, value));
            bytes = rest;
        }
        for (name, value) in entries {
            builder.keys().append_value(String::from_utf8_lossy(name));
            builder.values().append_option(value);
        }
        builder.append(true)?;
    }
    let map = builder.finish();
    debug_assert_eq!(*arrow_array::Array::data_type(&map), data_type.to_arrow());
    Ok(Arc::new(map))
}

/// All headers in their order, those of one name too.
fn header_list(data_type: &DataType, records: &Records<'_>) -> Result<ArrayRef> {
    let wrong = || Error::internal("'header-list' is no ARRAY of ROW");
    let ArrowType::List(item) = data_type.to_arrow() else { return Err(wrong()) };
    let ArrowType::Struct(fields) = item.data_type().clone() else { return Err(wrong()) };
    let (mut names, mut values) = (StringBuilder::new(), BinaryBuilder::new());
    let mut lengths = Vec::with_capacity(records.rows);
    for record in records.iter() {
        let range = record.key_end as usize..record.value_start as usize;
        let mut bytes = records.batch.arena.get(range).unwrap_or_default();
        let mut count = 0;
        while let Some(((name, value), rest)) = read_header(bytes) {
            names.append_value(String::from_utf8_lossy(name));
            values.append_option(value);
            count += 1;
            bytes = rest;
        }
        lengths.push(count);
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(names.finish()), Arc::new(values.finish())];
    let headers = StructArray::try_new(fields, columns, None)?;
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(headers), None)?))
}

/// Instants to wall-clock times of the session's zone. The offset of a quarter of an hour is kept, because records of a batch lie close
/// together in time and zones change their offset at quarters only.
struct LocalTime {
    zone: TimeZone,
    quarter: i64,
    offset_ms: i64,
}

const QUARTER_MS: i64 = 15 * 60 * 1000;

impl LocalTime {
    fn new(zone: &str) -> Result<Self> {
        let zone = TimeZone::get(zone)
            .map_err(|e| Error::config(format!("'table.local-time-zone' = '{zone}' is not a time zone: {e}")))?;
        Ok(LocalTime { zone, quarter: i64::MIN, offset_ms: 0 })
    }

    fn of(&mut self, ms: i64) -> i64 {
        let quarter = ms.div_euclid(QUARTER_MS);
        if quarter != self.quarter {
            let instant = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
            self.offset_ms = i64::from(self.zone.to_offset(instant).seconds()) * 1000;
            self.quarter = quarter;
        }
        ms.saturating_add(self.offset_ms)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int64Type, TimestampMillisecondType};
    use bytes::Bytes;
    use wiesel_core::table::ColumnKind;

    use super::*;
    use crate::formats::Decoded;

    /// Takes every second record and makes its length.
    struct Lengths;

    impl Decoder for Lengths {
        fn decode(&mut self, batch: &RawBatch, range: Range<usize>) -> Result<Decoded> {
            let taken: Vec<u32> =
                range.clone().filter(|i| i % 2 == 0).map(|i| u32::try_from(i).expect("small")).collect();
            let lengths: Int64Array = taken
                .iter()
                .map(|i| &batch.records[*i as usize])
                .map(|r| i64::from(r.value_end - r.value_start))
                .collect();
            let schema = Schema::new(vec![Field::new("length", DataType::bigint())]);
            let rows = RecordBatch::try_new(schema.arrow().clone(), vec![Arc::new(lengths)]).expect("one column");
            let skipped = (range.len() - taken.len()) as u64;
            Ok(Decoded { rows, kinds: None, taken: Some(taken), skipped })
        }
    }

    fn metadata_column_of(name: &str, key: &str, data_type: DataType) -> TableColumn {
        let kind = ColumnKind::Metadata { key: key.to_owned(), is_virtual: true };
        TableColumn { name: name.to_owned(), data_type, kind }
    }

    fn type_of(metadata: Metadata) -> DataType {
        Metadata::all().into_iter().find(|(m, ..)| *m == metadata).expect("listed").2
    }

    fn headers_type() -> DataType {
        type_of(Metadata::Headers)
    }

    fn batch() -> RawBatch {
        let mut arena = Vec::new();
        let mut records = Vec::new();
        for (index, value) in ["a", "bb", "ccc", "dddd"].iter().enumerate() {
            let key_start = arena.len();
            arena.extend_from_slice(b"key");
            let key_end = arena.len();
            write_header(&mut arena, b"h", Some(b"old"));
            write_header(&mut arena, b"h", Some(value.as_bytes()));
            write_header(&mut arena, b"none", None);
            let value_start = arena.len();
            arena.extend_from_slice(value.as_bytes());
            let place = |p: usize| u32::try_from(p).expect("small");
            records.push(RawRecord {
                key_start: place(key_start),
                key_end: place(key_end),
                value_start: place(value_start),
                value_end: place(arena.len()),
                offset: 100 + index as i64,
                timestamp_ms: 1_720_000_000_123,
                has_key: true,
                has_value: true,
                tag: 1,
            });
        }
        RawBatch { split: 0, arena: Bytes::from(arena), records, next: 104 }
    }

    #[test]
    fn metadata_columns_follow_the_rows_that_the_decoder_took() {
        let columns = [
            metadata_column_of("o", "offset", DataType::bigint()),
            TableColumn { name: "length".to_owned(), data_type: DataType::bigint(), kind: ColumnKind::Physical },
            metadata_column_of("t", "timestamp", DataType::new(TypeKind::Timestamp(3))),
            metadata_column_of("z", "timestamp", DataType::new(TypeKind::TimestampLtz(3))),
            metadata_column_of("p", "partition", DataType::string()),
            metadata_column_of("topic", "topic", DataType::string()),
            metadata_column_of("tt", "timestamp-type", DataType::string()),
            metadata_column_of("h", "headers", headers_type()),
            metadata_column_of("l", "header-list", type_of(Metadata::HeaderList)),
        ];
        let output = |column: &TableColumn| match &column.kind {
            ColumnKind::Physical => OutputColumn::Value(0),
            ColumnKind::Metadata { key, .. } => {
                let metadata = Metadata::of_column("t", column, key).expect("listed");
                OutputColumn::Metadata(metadata, column.data_type.clone())
            }
        };
        let schema = Schema::new(columns.iter().map(|c| Field::new(&c.name, c.data_type.clone())).collect());
        let names: SplitNames = Arc::default();
        names.write().expect("not poisoned").push(("clicks".into(), 7));
        let mut reader = KafkaReader::new(
            Box::new(Lengths),
            None,
            columns.iter().map(output).collect(),
            schema,
            names,
            "Europe/Berlin",
        )
        .expect("right");
        let read = reader.read(&batch(), 1..4).expect("decodes");
        assert_eq!((read.rows.num_rows(), read.skipped), (1, 2));
        assert_eq!(read.rows.column(0).as_primitive::<Int64Type>().values(), &[102]);
        assert_eq!(read.rows.column(1).as_primitive::<Int64Type>().values(), &[3]);
        let local = read.rows.column(2).as_primitive::<TimestampMillisecondType>().value(0);
        let instant = read.rows.column(3).as_primitive::<TimestampMillisecondType>().value(0);
        assert_eq!((local - instant, instant), (2 * 3_600_000, 1_720_000_000_123));
        assert_eq!(read.rows.column(4).as_string::<i32>().value(0), "7");
        assert_eq!(read.rows.column(5).as_string::<i32>().value(0), "clicks");
        assert_eq!(read.rows.column(6).as_string::<i32>().value(0), "CreateTime");
        let map = read.rows.column(7).as_map().value(0);
        assert_eq!(map.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["h", "none"]);
        let values: Vec<_> = map.column(1).as_binary::<i32>().iter().collect();
        assert_eq!(values, [Some(b"ccc".as_slice()), None]);
        let list = read.rows.column(8).as_list::<i32>().value(0);
        let list = list.as_struct();
        assert_eq!(list.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["h", "h", "none"]);
        let values: Vec<_> = list.column(1).as_binary::<i32>().iter().collect();
        assert_eq!(values, [Some(b"old".as_slice()), Some(b"ccc".as_slice()), None]);
    }

    #[test]
    fn metadata_that_does_not_exist_or_cast_is_refused() {
        let cases: &[(&str, DataType, &str)] = &[
            ("offsets", DataType::bigint(), "kafka has no metadata 'offsets'"),
            ("leader-epoch", DataType::int(), "'leader-epoch' is not supported yet"),
            ("offset", DataType::int(), "'offset' does not cast to INT"),
            ("timestamp", DataType::bigint(), "'timestamp' does not cast to BIGINT"),
            ("headers", DataType::string(), "'headers' does not cast to STRING"),
        ];
        for (key, data_type, expected) in cases {
            let column = metadata_column_of("c", key, data_type.clone());
            let error = Metadata::of_column("t", &column, key).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
