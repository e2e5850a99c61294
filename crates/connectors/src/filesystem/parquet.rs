//! Parquet files as Flink writes them, made so that a file survives a restart.
//!
//! The file's bytes are handed out as they come into being: a row group at a time, and the footer for the row groups so far whenever it is
//! asked for. So at a checkpoint the sink keeps only a length and a footer; after a crash the file is cut to that length, gets the footer and
//! is whole. That is why there is no page index here (it would have to be written in front of the footer, for all row groups at once).
//!
//! | SQL | Parquet |
//! |---|---|
//! | CHAR, VARCHAR | BINARY, String |
//! | BINARY, VARBINARY | BINARY |
//! | DECIMAL(p, s) | FIXED_LEN_BYTE_ARRAY of the fewest bytes, Decimal |
//! | TINYINT, SMALLINT | INT32 with 8 or 16 bits |
//! | DATE, TIME | INT32 Date, INT32 Time in ms |
//! | TIMESTAMP, TIMESTAMP_LTZ | INT96, or INT64 by `parquet.write.int64.timestamp`; inside ARRAY, MAP, ROW always INT64 |
//! | ARRAY, MAP, ROW | the three-level LIST, MAP, group |
//!
//! WHY-NOT the arrow writer alone: it has no INT96 columns, which is what Flink and Hive read and write.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as at;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_schema as arrow;
use jiff::tz::{Offset, TimeZone};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{LogicalType, Repetition, TimeUnit as ParquetTimeUnit, Type as PhysicalType};
use parquet::data_type::{Int96, Int96Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataWriter};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use wiesel_core::types::{Field, TypeKind, timestamp_unit};
use wiesel_core::{Error, Result};

use super::options::{ParquetOptions, TimeUnit};

/// Row groups of one file; the footer, kept in every checkpoint, grows with them.
const ROW_GROUPS_MAX: usize = 256;

/// The day of INT96 on which 1970 began.
const JULIAN_DAY_1970: i64 = 2_440_588;

const SECONDS_PER_DAY: i64 = 86_400;

/// What all files of a table have in common.
pub(super) struct ParquetPlan {
    schema: TypePtr,
    columns: Vec<ColumnPlan>,
    /// The part of the schema that the arrow writer writes.
    arrow_schema: arrow::SchemaRef,
    arrow_parquet_schema: TypePtr,
    properties: WriterPropertiesPtr,
    block_bytes: u64,
    zone: Zone,
}

struct ColumnPlan {
    name: String,
    is_required: bool,
    form: Form,
}

/// How a column is written.
enum Form {
    /// By the arrow writer, in this many leaves.
    Arrow { field: arrow::FieldRef, leaves: usize },
    /// By hand.
    Int96(arrow::TimeUnit),
    /// By the arrow writer, after the unit was changed.
    Int64 { from: arrow::TimeUnit, to: TimeUnit, field: arrow::FieldRef },
}

impl ParquetPlan {
    pub(super) fn new(options: &ParquetOptions, fields: &[Field], time_zone: &str) -> Result<Self> {
        let mut columns = Vec::with_capacity(fields.len());
        let (mut all, mut by_arrow, mut arrow_fields) = (Vec::new(), Vec::new(), Vec::new());
        for field in fields {
            let (form, parquet_type) = column_form(field, options)?;
            if let Form::Arrow { field, .. } | Form::Int64 { field, .. } = &form {
                arrow_fields.push(Arc::clone(field));
                by_arrow.push(Arc::clone(&parquet_type));
            }
            all.push(parquet_type);
            columns.push(ColumnPlan { name: field.name.clone(), is_required: !field.data_type.nullable, form });
        }
        let properties = WriterProperties::builder()
            .set_created_by(concat!("wiesel version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(options.compression)
            .set_dictionary_enabled(options.is_dictionary_enabled)
            .set_data_page_size_limit(usize::try_from(options.page_bytes).unwrap_or(usize::MAX))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        Ok(ParquetPlan {
            schema: message(all)?,
            columns,
            arrow_schema: Arc::new(arrow::Schema::new(arrow_fields)),
            arrow_parquet_schema: message(by_arrow)?,
            properties: Arc::new(properties),
            block_bytes: options.block_bytes,
            zone: if options.is_utc { Zone::utc() } else { Zone::new(time_zone)? },
        })
    }
}

fn message(fields: Vec<TypePtr>) -> Result<TypePtr> {
    Ok(Arc::new(Type::group_type_builder("flink_schema").with_fields(fields).build().map_err(failed)?))
}

fn column_form(field: &Field, options: &ParquetOptions) -> Result<(Form, TypePtr)> {
    let nullable = field.data_type.nullable;
    let arrow_field = Arc::new(arrow::Field::new(&field.name, field.data_type.to_arrow(), nullable));
    let precision = match field.data_type.kind {
        TypeKind::Timestamp(p) => Some((p, false)),
        TypeKind::TimestampLtz(p) => Some((p, true)),
        _ => None,
    };
    let Some((precision, is_zoned)) = precision else {
        let parquet_type = parquet_type(&field.name, &field.data_type.kind, repetition(nullable))?;
        let leaves = SchemaDescriptor::new(message(vec![Arc::clone(&parquet_type)])?).num_columns();
        return Ok((Form::Arrow { field: arrow_field, leaves }, parquet_type));
    };
    let from = timestamp_unit(precision);
    let Some(to) = options.int64_timestamp else {
        let int96 = primitive(&field.name, PhysicalType::INT96, None, repetition(nullable))?;
        return Ok((Form::Int96(from), int96));
    };
    let unit = match to {
        TimeUnit::Millis => ParquetTimeUnit::MILLIS,
        TimeUnit::Micros => ParquetTimeUnit::MICROS,
        TimeUnit::Nanos => ParquetTimeUnit::NANOS,
    };
    let logical = Some(LogicalType::timestamp(is_zoned, unit));
    let int64 = primitive(&field.name, PhysicalType::INT64, logical, repetition(nullable))?;
    let arrow_field = Arc::new(arrow::Field::new(&field.name, arrow::DataType::Int64, nullable));
    Ok((Form::Int64 { from, to, field: arrow_field }, int64))
}

fn repetition(nullable: bool) -> Repetition {
    if nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED }
}

fn primitive(
    name: &str,
    physical: PhysicalType,
    logical: Option<LogicalType>,
    repetition: Repetition,
) -> Result<TypePtr> {
    let builder = Type::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(logical);
    Ok(Arc::new(builder.build().map_err(failed)?))
}

fn parquet_type(name: &str, kind: &TypeKind, repetition: Repetition) -> Result<TypePtr> {
    let (physical, logical) = match kind {
        TypeKind::Boolean => (PhysicalType::BOOLEAN, None),
        TypeKind::TinyInt => (PhysicalType::INT32, Some(LogicalType::integer(8, true))),
        TypeKind::SmallInt => (PhysicalType::INT32, Some(LogicalType::integer(16, true))),
        TypeKind::Int => (PhysicalType::INT32, None),
        TypeKind::BigInt => (PhysicalType::INT64, None),
        TypeKind::Float => (PhysicalType::FLOAT, None),
        TypeKind::Double => (PhysicalType::DOUBLE, None),
        TypeKind::Char(_) | TypeKind::VarChar(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => (PhysicalType::BYTE_ARRAY, None),
        TypeKind::Date => (PhysicalType::INT32, Some(LogicalType::Date)),
        TypeKind::Time(_) => (PhysicalType::INT32, Some(LogicalType::time(true, ParquetTimeUnit::MILLIS))),
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let unit = match timestamp_unit(*p) {
                arrow::TimeUnit::Nanosecond => ParquetTimeUnit::NANOS,
                arrow::TimeUnit::Microsecond => ParquetTimeUnit::MICROS,
                _ => ParquetTimeUnit::MILLIS,
            };
            let is_zoned = matches!(kind, TypeKind::TimestampLtz(_));
            (PhysicalType::INT64, Some(LogicalType::timestamp(is_zoned, unit)))
        }
        TypeKind::Decimal { precision, scale } => return decimal_type(name, *precision, *scale, repetition),
        TypeKind::Array(element) => return list_type(name, &element.kind, repetition),
        TypeKind::Map(key, value) => return map_type(name, &key.kind, &value.kind, repetition),
        TypeKind::Multiset(element) => return map_type(name, &element.kind, &TypeKind::Int, repetition),
        TypeKind::Row(fields) => {
            let inner: Result<Vec<TypePtr>> =
                fields.iter().map(|f| parquet_type(&f.name, &f.data_type.kind, Repetition::OPTIONAL)).collect();
            return group(name, inner?, None, repetition);
        }
        TypeKind::Null | TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime => {
            return Err(Error::config(format!("parquet cannot hold column `{name}` of type {kind}")));
        }
    };
    primitive(name, physical, logical, repetition)
}

fn decimal_type(name: &str, precision: u8, scale: u8, repetition: Repetition) -> Result<TypePtr> {
    let (precision_digits, scale_digits) = (i32::from(precision), i32::from(scale));
    let builder = Type::primitive_type_builder(name, PhysicalType::FIXED_LEN_BYTE_ARRAY)
        .with_length(decimal_bytes(precision))
        .with_precision(precision_digits)
        .with_scale(scale_digits)
        .with_logical_type(Some(LogicalType::decimal(scale_digits, precision_digits)))
        .with_repetition(repetition);
    Ok(Arc::new(builder.build().map_err(failed)?))
}

/// The fewest bytes that hold every signed number of so many digits.
fn decimal_bytes(precision: u8) -> i32 {
    let mut bytes = 1;
    while 2_f64.powi(8 * bytes - 1) < 10_f64.powi(i32::from(precision)) {
        bytes += 1;
    }
    bytes
}

fn list_type(name: &str, element: &TypeKind, repetition: Repetition) -> Result<TypePtr> {
    let element = parquet_type("element", element, Repetition::OPTIONAL)?;
    let list = group("list", vec![element], None, Repetition::REPEATED)?;
    group(name, vec![list], Some(LogicalType::List), repetition)
}

fn map_type(name: &str, key: &TypeKind, value: &TypeKind, repetition: Repetition) -> Result<TypePtr> {
    let key = parquet_type("key", key, Repetition::REQUIRED)?;
    let value = parquet_type("value", value, Repetition::OPTIONAL)?;
    let entries = group("key_value", vec![key, value], None, Repetition::REPEATED)?;
    group(name, vec![entries], Some(LogicalType::Map), repetition)
}

fn group(name: &str, fields: Vec<TypePtr>, logical: Option<LogicalType>, repetition: Repetition) -> Result<TypePtr> {
    let builder = Type::group_type_builder(name).with_fields(fields).with_logical_type(logical);
    Ok(Arc::new(builder.with_repetition(repetition).build().map_err(failed)?))
}

/// Parquet's own errors come from a schema or a call that we chose.
fn failed(error: ParquetError) -> Error {
    Error::internal(format!("the Parquet writer failed: {error}"))
}

/// One file under construction.
pub(super) struct ParquetPart {
    plan: Arc<ParquetPlan>,
    /// Makes offsets and row group metadata; its bytes are taken out after each row group.
    writer: SerializedFileWriter<Vec<u8>>,
    writers: Vec<ArrowColumnWriter>,
    int96: Vec<Int96Column>,
    rows: u64,
}

/// Values of an INT96 column of the row group under construction.
#[derive(Default)]
struct Int96Column {
    values: Vec<Int96>,
    levels: Vec<i16>,
}

impl ParquetPart {
    pub(super) fn new(plan: Arc<ParquetPlan>) -> Result<Self> {
        let writer = SerializedFileWriter::new(Vec::new(), Arc::clone(&plan.schema), Arc::clone(&plan.properties))
            .map_err(failed)?;
        let mut part = ParquetPart { plan, writer, writers: Vec::new(), int96: Vec::new(), rows: 0 };
        part.begin_row_group()?;
        Ok(part)
    }

    fn begin_row_group(&mut self) -> Result<()> {
        let plan = &self.plan;
        // The factory asks a file writer for the schema, and that schema must hold just the columns that arrow writes.
        let schema_only =
            SerializedFileWriter::new(Vec::new(), Arc::clone(&plan.arrow_parquet_schema), Arc::clone(&plan.properties))
                .map_err(failed)?;
        let factory = ArrowRowGroupWriterFactory::new(&schema_only, Arc::clone(&plan.arrow_schema));
        self.writers = factory.create_column_writers(0).map_err(failed)?;
        self.int96.clear();
        self.int96.resize_with(plan.columns.len(), Int96Column::default);
        self.rows = 0;
        Ok(())
    }

    /// Adds rows to the row group under construction.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let mut next_leaf = 0;
        for (index, (column, array)) in plan.columns.iter().zip(rows.columns()).enumerate() {
            if column.is_required && array.null_count() > 0 {
                return Err(Error::data(format!("column `{}` is declared NOT NULL and got NULL", column.name))
                    .hint("filter such rows, or declare the column nullable"));
            }
            match &column.form {
                Form::Arrow { field, leaves } => {
                    self.write_leaves(next_leaf, field, array)?;
                    next_leaf += leaves;
                }
                Form::Int64 { from, to, field } => {
                    let converted: ArrayRef = Arc::new(in_unit(&timestamps(array, *from)?, *from, *to, &plan.zone));
                    self.write_leaves(next_leaf, field, &converted)?;
                    next_leaf += 1;
                }
                Form::Int96(unit) => {
                    if let Some(column) = self.int96.get_mut(index) {
                        column.push(&timestamps(array, *unit)?, *unit, &plan.zone);
                    }
                }
            }
        }
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    fn write_leaves(&mut self, first: usize, field: &arrow::Field, array: &ArrayRef) -> Result<()> {
        let leaves = compute_leaves(field, array).map_err(failed)?;
        for (leaf, writer) in leaves.iter().zip(self.writers.iter_mut().skip(first)) {
            writer.write(leaf).map_err(failed)?;
        }
        Ok(())
    }

    /// Memory that the row group under construction takes.
    pub(super) fn buffered_bytes(&self) -> u64 {
        let by_arrow: usize = self.writers.iter().map(ArrowColumnWriter::memory_size).sum();
        let by_hand: usize = self.int96.iter().map(|c| c.values.len() * 14).sum();
        (by_arrow + by_hand) as u64
    }

    /// What the row group under construction will add to the file, about.
    pub(super) fn estimated_bytes(&self) -> u64 {
        let by_arrow: usize = self.writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        let by_hand: usize = self.int96.iter().map(|c| c.values.len() * 12).sum();
        (by_arrow + by_hand) as u64
    }

    pub(super) fn is_row_group_full(&self) -> bool {
        self.buffered_bytes() >= self.plan.block_bytes
    }

    pub(super) fn has_all_row_groups(&self) -> bool {
        self.writer.flushed_row_groups().len() >= ROW_GROUPS_MAX
    }

    /// Ends the row group, if it has rows, and appends the file's new bytes to `out`.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.rows > 0 {
            self.end_row_group().map_err(failed)?;
            self.begin_row_group()?;
        }
        self.writer.flush().map_err(|e| failed(e.into()))?;
        out.append(self.writer.inner_mut());
        Ok(())
    }

    fn end_row_group(&mut self) -> parquet::errors::Result<()> {
        let mut chunks = std::mem::take(&mut self.writers).into_iter().map(ArrowColumnWriter::close);
        let mut row_group = self.writer.next_row_group()?;
        for (index, column) in self.plan.columns.iter().enumerate() {
            let leaves = match &column.form {
                Form::Arrow { leaves, .. } => *leaves,
                Form::Int64 { .. } => 1,
                Form::Int96(_) => 0,
            };
            for chunk in chunks.by_ref().take(leaves) {
                chunk?.append_to_row_group(&mut row_group)?;
            }
            if !matches!(column.form, Form::Int96(_)) {
                continue;
            }
            if let (Some(mut writer), Some(int96)) = (row_group.next_column()?, self.int96.get(index)) {
                let levels = if column.is_required { None } else { Some(int96.levels.as_slice()) };
                writer.typed::<Int96Type>().write_batch(&int96.values, levels, None)?;
                writer.close()?;
            }
        }
        row_group.close()?;
        Ok(())
    }

    /// The footer for the row groups so far; behind the bytes that [`ParquetPart::flush`] gave it makes the file whole.
    pub(super) fn footer(&self) -> Result<Vec<u8>> {
        let row_groups = self.writer.flushed_row_groups().to_vec();
        let rows = row_groups.iter().map(|g| g.num_rows()).sum();
        let created_by = Some(self.plan.properties.created_by().to_owned());
        let schema = Arc::new(SchemaDescriptor::new(Arc::clone(&self.plan.schema)));
        let version = self.plan.properties.writer_version().as_num();
        let metadata =
            ParquetMetaData::new(FileMetaData::new(version, rows, created_by, None, schema, None), row_groups);
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &metadata).finish().map_err(failed)?;
        Ok(footer)
    }
}

impl Int96Column {
    fn push(&mut self, array: &Int64Array, unit: arrow::TimeUnit, zone: &Zone) {
        let mut shift = zone.shift();
        for value in array {
            self.levels.push(i16::from(value.is_some()));
            let Some(value) = value else { continue };
            let (seconds, nanos) = parts(value, unit);
            let seconds = seconds - shift.seconds_at(seconds);
            let nanos_of_day = seconds.rem_euclid(SECONDS_PER_DAY) * 1_000_000_000 + nanos;
            let day = seconds.div_euclid(SECONDS_PER_DAY) + JULIAN_DAY_1970;
            let mut int96 = Int96::new();
            // Three little-endian words: the nanoseconds of the day, low half first, and the Julian day.
            int96.set_data(nanos_of_day as u32, (nanos_of_day >> 32) as u32, day as u32);
            self.values.push(int96);
        }
    }
}

/// A timestamp column as its plain numbers.
fn timestamps(array: &ArrayRef, unit: arrow::TimeUnit) -> Result<Int64Array> {
    let found = match unit {
        arrow::TimeUnit::Nanosecond => {
            array.as_primitive_opt::<at::TimestampNanosecondType>().map(|a| a.reinterpret_cast::<at::Int64Type>())
        }
        arrow::TimeUnit::Microsecond => {
            array.as_primitive_opt::<at::TimestampMicrosecondType>().map(|a| a.reinterpret_cast::<at::Int64Type>())
        }
        _ => array.as_primitive_opt::<at::TimestampMillisecondType>().map(|a| a.reinterpret_cast::<at::Int64Type>()),
    };
    found.ok_or_else(|| Error::internal(format!("a timestamp column came as {}", array.data_type())))
}

/// Seconds and nanoseconds within.
fn parts(value: i64, unit: arrow::TimeUnit) -> (i64, i64) {
    let per_second = match unit {
        arrow::TimeUnit::Nanosecond => 1_000_000_000,
        arrow::TimeUnit::Microsecond => 1_000_000,
        _ => 1_000,
    };
    (value.div_euclid(per_second), value.rem_euclid(per_second) * (1_000_000_000 / per_second))
}

/// Timestamps in another unit; what does not fit becomes NULL, what is finer is cut off.
fn in_unit(array: &Int64Array, from: arrow::TimeUnit, to: TimeUnit, zone: &Zone) -> Int64Array {
    let mut shift = zone.shift();
    let per_second: i64 = match to {
        TimeUnit::Millis => 1_000,
        TimeUnit::Micros => 1_000_000,
        TimeUnit::Nanos => 1_000_000_000,
    };
    let mut convert = |value: i64| {
        let (seconds, nanos) = parts(value, from);
        let seconds = seconds - shift.seconds_at(seconds);
        seconds.checked_mul(per_second)?.checked_add(nanos / (1_000_000_000 / per_second))
    };
    array.iter().map(|value| value.and_then(&mut convert)).collect()
}

/// The zone in which wall-clock times become instants, as Flink does unless `parquet.utc-timezone` is set.
struct Zone(Option<TimeZone>);

impl Zone {
    fn utc() -> Self {
        Zone(None)
    }

    fn new(name: &str) -> Result<Self> {
        if matches!(name, "UTC" | "Z" | "Etc/UTC" | "GMT") {
            return Ok(Zone::utc());
        }
        Ok(Zone(Some(find_zone(name)?)))
    }

    fn shift(&self) -> Shift<'_> {
        Shift { zone: self.0.as_ref(), quarter: i64::MIN, seconds: 0 }
    }
}

/// A zone by its name.
pub(super) fn find_zone(name: &str) -> Result<TimeZone> {
    let fixed = || format!("2000-01-01T00:00:00[{name}]").parse::<jiff::Zoned>().ok().map(|z| z.time_zone().clone());
    TimeZone::get(name).ok().or_else(fixed).ok_or_else(|| {
        Error::config(format!("the session's time zone `{name}` is not known"))
            .hint("set 'table.local-time-zone' to a name such as `Europe/Berlin` or `UTC`")
    })
}

/// The zone's offset at wall-clock times; that of the last quarter of an hour is remembered, since no zone changes within one.
struct Shift<'a> {
    zone: Option<&'a TimeZone>,
    quarter: i64,
    seconds: i64,
}

impl Shift<'_> {
    fn seconds_at(&mut self, wall_seconds: i64) -> i64 {
        let Some(zone) = self.zone else { return 0 };
        let quarter = wall_seconds.div_euclid(900);
        if quarter != self.quarter {
            self.quarter = quarter;
            let instant = jiff::Timestamp::from_second(wall_seconds).ok().and_then(|wall| {
                let civil = Offset::UTC.to_datetime(wall);
                zone.to_ambiguous_timestamp(civil).compatible().ok()
            });
            self.seconds = instant.map_or(0, |i| wall_seconds - i.as_second());
        }
        self.seconds
    }
}
