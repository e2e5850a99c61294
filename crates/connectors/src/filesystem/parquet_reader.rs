//! Reading Parquet files: only the columns that the query asks for, found by name, a few thousand rows at a time.
//!
//! A file's columns need not have the types that our writer gives them: other writers annotate less (TINYINT as a plain INT32), and use other
//! units. What carries the same values is taken; a column that the file lacks is NULL; anything else is an error that names both types.
//! As in Flink, timestamps are instants in the session's zone that become wall-clock times, unless 'parquet.utc-timezone' is set.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as at;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, Decimal128Array, Int64Array, ListArray, MapArray, PrimitiveArray,
    RecordBatch, RecordBatchOptions, StringArray, StructArray, new_null_array,
};
use arrow_schema as arrow;
use jiff::tz::TimeZone;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use wiesel_core::types::{DataType, Field, TypeKind, timestamp_unit};
use wiesel_core::{Error, Result, Value};

use super::file_reader::FileColumns;
use super::remote::{Failure, Input};
use super::source::DONE;

/// Rows of a batch.
const BATCH_ROWS: usize = 4096;

/// What reading all files of a table has in common.
pub(super) struct ParquetScan {
    /// The stored columns that are asked for.
    pub(super) fields: Vec<Field>,
    /// `None`: UTC.
    pub(super) zone: Option<TimeZone>,
}

impl ParquetScan {
    pub(super) fn new(fields: Vec<Field>, is_utc: bool, time_zone: &str) -> Result<Self> {
        let zone = match time_zone {
            _ if is_utc => None,
            "UTC" | "Z" | "Etc/UTC" | "GMT" => None,
            name => Some(super::parquet::find_zone(name)?),
        };
        Ok(ParquetScan { fields, zone })
    }
}

/// A file that is being read.
pub(super) struct ParquetFile {
    scan: Arc<ParquetScan>,
    path: String,
    reader: ParquetRecordBatchReader,
    /// For each stored column its place in the reader's batches.
    places: Vec<Option<usize>>,
    columns: FileColumns,
    of_file: Vec<Option<Value>>,
    failure: Failure,
    row: u64,
    row_count: u64,
}

impl ParquetFile {
    /// Opens a file at a row.
    pub(super) fn open(
        scan: &Arc<ParquetScan>,
        path: &Path,
        row: u64,
        columns: &FileColumns,
        of_file: Vec<Option<Value>>,
    ) -> Result<ParquetFile> {
        let (file, failure) = Input::open(path)?;
        let failed = |e: ParquetError| failure.take().unwrap_or_else(|| damaged(path, &e));
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options.clone()).map_err(failed)?;
        let hint = schema_hint(&metadata, &scan.fields);
        let metadata =
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options.with_schema(hint)).map_err(failed)?;
        let schema = Arc::clone(metadata.schema());
        let mut wanted: Vec<usize> = scan.fields.iter().filter_map(|f| schema.index_of(&f.name).ok()).collect();
        wanted.sort_unstable();
        let place = |field: &Field| {
            let root = schema.index_of(&field.name).ok()?;
            wanted.binary_search(&root).ok()
        };
        let places = scan.fields.iter().map(place).collect();
        let row_count = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
        let start = usize::try_from(row).map_err(|_| Error::internal("a row number beyond the memory"))?;
        let reader =
            builder.with_projection(mask).with_batch_size(BATCH_ROWS).with_offset(start).build().map_err(failed)?;
        Ok(ParquetFile {
            scan: Arc::clone(scan),
            path: path.display().to_string(),
            reader,
            places,
            columns: columns.clone(),
            of_file,
            failure,
            row,
            row_count,
        })
    }

    /// The next rows and the row number behind them; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(RecordBatch, i64)>> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let first = self.row;
        let batch = batch.map_err(|e| {
            let damaged = || Error::data(format!("`{}` is not a whole Parquet file: {e}", self.path));
            self.failure.take().unwrap_or_else(damaged).at(format!("row {first}"))
        })?;
        let count = batch.num_rows();
        let mut stored = Vec::with_capacity(self.scan.fields.len());
        for (field, place) in self.scan.fields.iter().zip(&self.places) {
            let array = match place {
                Some(place) => conform(batch.column(*place), &field.data_type, self.scan.zone.as_ref())
                    .ok_or_else(|| self.misfit(field, batch.column(*place)))?,
                None => new_null_array(&field.data_type.to_arrow(), count),
            };
            stored.push(array);
        }
        let schema = wiesel_core::Schema::new(self.scan.fields.clone());
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let stored = RecordBatch::try_new_with_options(Arc::clone(schema.arrow()), stored, &options)?;
        self.row += count as u64;
        let next = if self.row >= self.row_count {
            DONE
        } else {
            i64::try_from(self.row).map_err(|_| Error::internal("a row number beyond 2^63"))?
        };
        Ok(Some((self.columns.assemble(&stored, &self.of_file)?, next)))
    }

    #[cold]
    fn misfit(&self, field: &Field, found: &ArrayRef) -> Error {
        Error::data(format!(
            "column `{}` of table `{}` is declared {}, and `{}` holds {}",
            field.name,
            self.columns.table,
            field.data_type,
            self.path,
            found.data_type()
        ))
        .at(format!("rows {} and following", self.row))
        .hint("declare the column with the type that the file has, and cast in the query")
    }
}

fn damaged(path: &Path, error: &ParquetError) -> Error {
    Error::data(format!("cannot read `{}` as Parquet: {error}", path.display()))
}

/// The file's own schema, but INT96 timestamps in the unit that the table declares, which nanoseconds could not hold.
fn schema_hint(metadata: &ArrowReaderMetadata, fields: &[Field]) -> arrow::SchemaRef {
    let parquet_schema = metadata.parquet_schema();
    let hinted =
        metadata.schema().fields().iter().zip(parquet_schema.root_schema().get_fields()).map(|(field, root)| {
            let is_int96 = root.is_primitive() && root.get_physical_type() == PhysicalType::INT96;
            let declared = fields.iter().find(|f| f.name == *field.name()).map(|f| &f.data_type.kind);
            match declared {
                Some(TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p)) if is_int96 => {
                    let data_type = arrow::DataType::Timestamp(timestamp_unit(*p), None);
                    Arc::new(arrow::Field::new(field.name(), data_type, field.is_nullable()))
                }
                _ => Arc::clone(field),
            }
        });
    Arc::new(arrow::Schema::new(hinted.collect::<Vec<_>>()))
}

/// The column with the Arrow type that carries the declared one; `None` when the values do not fit.
fn conform(array: &ArrayRef, data_type: &DataType, zone: Option<&TimeZone>) -> Option<ArrayRef> {
    let kind = &data_type.kind;
    match kind {
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => return timestamps(array, *p, zone),
        TypeKind::Array(element) => {
            let list = array.as_list_opt::<i32>()?;
            let items = conform(list.values(), element, zone)?;
            let arrow::DataType::List(field) = kind.to_arrow() else { return None };
            return Some(Arc::new(
                ListArray::try_new(field, list.offsets().clone(), items, array.nulls().cloned()).ok()?,
            ));
        }
        TypeKind::Map(key, value) => return map(array, kind, key, value, zone),
        TypeKind::Multiset(element) => return map(array, kind, element, &DataType::int(), zone),
        TypeKind::Row(fields) => {
            let row = array.as_struct_opt()?;
            let column = |field: &Field| match row.column_by_name(&field.name) {
                Some(column) => conform(column, &field.data_type, zone),
                None => Some(new_null_array(&field.data_type.to_arrow(), array.len())),
            };
            let columns = fields.iter().map(column).collect::<Option<Vec<_>>>()?;
            let arrow::DataType::Struct(arrow_fields) = kind.to_arrow() else { return None };
            return Some(Arc::new(StructArray::try_new(arrow_fields, columns, array.nulls().cloned()).ok()?));
        }
        _ => {}
    }
    if *array.data_type() == kind.to_arrow() {
        return Some(Arc::clone(array));
    }
    match kind {
        TypeKind::TinyInt => integers::<at::Int8Type>(array),
        TypeKind::SmallInt => integers::<at::Int16Type>(array),
        TypeKind::Int | TypeKind::IntervalYearMonth | TypeKind::Date => {
            let numbers = integers::<at::Int32Type>(array)?;
            Some(if *kind == TypeKind::Date {
                Arc::new(numbers.as_primitive::<at::Int32Type>().reinterpret_cast::<at::Date32Type>())
            } else {
                numbers
            })
        }
        TypeKind::BigInt | TypeKind::IntervalDayTime => integers::<at::Int64Type>(array),
        TypeKind::Time(_) => {
            let ms = match array.data_type() {
                arrow::DataType::Time64(arrow::TimeUnit::Microsecond) => {
                    array.as_primitive::<at::Time64MicrosecondType>().unary(|v| (v / 1000) as i32)
                }
                arrow::DataType::Time64(_) => {
                    array.as_primitive::<at::Time64NanosecondType>().unary(|v| (v / 1_000_000) as i32)
                }
                arrow::DataType::Int32 => {
                    array.as_primitive::<at::Int32Type>().reinterpret_cast::<at::Time32MillisecondType>()
                }
                _ => return None,
            };
            Some(Arc::new(ms))
        }
        TypeKind::Decimal { precision, scale } => decimals(array, *precision, *scale),
        TypeKind::Char(_) | TypeKind::VarChar(_) => {
            let bytes = array.as_binary_opt::<i32>()?;
            Some(Arc::new(StringArray::try_from_binary(bytes.clone()).ok()?))
        }
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => match array.data_type() {
            arrow::DataType::Utf8 => Some(Arc::new(BinaryArray::from(array.as_string::<i32>().clone()))),
            arrow::DataType::FixedSizeBinary(_) => {
                Some(Arc::new(array.as_fixed_size_binary().iter().collect::<BinaryArray>()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Integers of another width; `None` when one does not fit.
fn integers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<ArrayRef>
where
    T::Native: TryFrom<i64>,
{
    macro_rules! wide {
        ($type:ty) => {
            array.as_primitive::<$type>().iter().map(|v| v.map(i64::from)).collect::<Int64Array>()
        };
    }
    let wide: Int64Array = match array.data_type() {
        arrow::DataType::Int8 => wide!(at::Int8Type),
        arrow::DataType::Int16 => wide!(at::Int16Type),
        arrow::DataType::Int32 => wide!(at::Int32Type),
        arrow::DataType::Int64 => array.as_primitive::<at::Int64Type>().clone(),
        arrow::DataType::UInt8 => wide!(at::UInt8Type),
        arrow::DataType::UInt16 => wide!(at::UInt16Type),
        arrow::DataType::UInt32 => wide!(at::UInt32Type),
        _ => return None,
    };
    let narrow = |value: Option<i64>| match value {
        None => Ok(None),
        Some(value) => T::Native::try_from(value).map(Some),
    };
    let values = wide.iter().map(narrow).collect::<std::result::Result<Vec<_>, _>>().ok()?;
    Some(Arc::new(values.into_iter().collect::<PrimitiveArray<T>>()))
}

/// Decimals of the same or a smaller scale; `None` when a value has too many digits.
fn decimals(array: &ArrayRef, precision: u8, scale: u8) -> Option<ArrayRef> {
    let (values, own_scale): (Vec<Option<i128>>, i8) = match array.data_type() {
        arrow::DataType::Decimal128(_, s) => (array.as_primitive::<at::Decimal128Type>().iter().collect(), *s),
        arrow::DataType::Decimal32(_, s) => {
            (array.as_primitive::<at::Decimal32Type>().iter().map(|v| v.map(i128::from)).collect(), *s)
        }
        arrow::DataType::Decimal64(_, s) => {
            (array.as_primitive::<at::Decimal64Type>().iter().map(|v| v.map(i128::from)).collect(), *s)
        }
        _ => return None,
    };
    let scale = i8::try_from(scale).ok()?;
    let factor = 10_i128.checked_pow(u32::try_from(scale.checked_sub(own_scale)?).ok()?)?;
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    let fit = |value: Option<i128>| match value {
        None => Some(None),
        Some(value) => value.checked_mul(factor).filter(|v| v.abs() < limit).map(Some),
    };
    let values = values.into_iter().map(fit).collect::<Option<Vec<_>>>()?;
    Some(Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).ok()?))
}

fn map(
    array: &ArrayRef,
    kind: &TypeKind,
    key: &DataType,
    value: &DataType,
    zone: Option<&TimeZone>,
) -> Option<ArrayRef> {
    let map = array.as_map_opt()?;
    let arrow::DataType::Map(field, is_sorted) = kind.to_arrow() else { return None };
    let arrow::DataType::Struct(fields) = field.data_type() else { return None };
    let columns = vec![conform(map.keys(), key, zone)?, conform(map.values(), value, zone)?];
    let entries = StructArray::try_new(fields.clone(), columns, None).ok()?;
    let map = MapArray::try_new(field, map.offsets().clone(), entries, array.nulls().cloned(), is_sorted).ok()?;
    Some(Arc::new(map))
}

/// Timestamps in the unit of a precision, moved from instants to the zone's wall clock.
fn timestamps(array: &ArrayRef, precision: u8, zone: Option<&TimeZone>) -> Option<ArrayRef> {
    use arrow::TimeUnit;
    let arrow::DataType::Timestamp(from, _) = array.data_type() else { return None };
    let values: Int64Array = match from {
        TimeUnit::Second => array.as_primitive::<at::TimestampSecondType>().reinterpret_cast(),
        TimeUnit::Millisecond => array.as_primitive::<at::TimestampMillisecondType>().reinterpret_cast(),
        TimeUnit::Microsecond => array.as_primitive::<at::TimestampMicrosecondType>().reinterpret_cast(),
        TimeUnit::Nanosecond => array.as_primitive::<at::TimestampNanosecondType>().reinterpret_cast(),
    };
    let to = timestamp_unit(precision);
    let (from_rate, to_rate) = (per_second(*from), per_second(to));
    let mut clock = WallClock { zone, quarter: i64::MIN, seconds: 0 };
    let convert = |value: i64| -> Option<i64> {
        let (seconds, fraction) = (value.div_euclid(from_rate), value.rem_euclid(from_rate));
        let seconds = seconds.checked_add(clock.offset_at(seconds))?;
        let fraction =
            if to_rate >= from_rate { fraction * (to_rate / from_rate) } else { fraction / (from_rate / to_rate) };
        seconds.checked_mul(to_rate)?.checked_add(fraction)
    };
    let converted: Int64Array = {
        let mut convert = convert;
        let mut out = Vec::with_capacity(values.len());
        for value in &values {
            out.push(match value {
                None => None,
                Some(value) => Some(convert(value)?),
            });
        }
        out.into_iter().collect()
    };
    Some(match to {
        TimeUnit::Microsecond => Arc::new(converted.reinterpret_cast::<at::TimestampMicrosecondType>()),
        TimeUnit::Nanosecond => Arc::new(converted.reinterpret_cast::<at::TimestampNanosecondType>()),
        _ => Arc::new(converted.reinterpret_cast::<at::TimestampMillisecondType>()),
    })
}

fn per_second(unit: arrow::TimeUnit) -> i64 {
    match unit {
        arrow::TimeUnit::Second => 1,
        arrow::TimeUnit::Millisecond => 1_000,
        arrow::TimeUnit::Microsecond => 1_000_000,
        arrow::TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// The zone's offset at instants; that of the last quarter of an hour is remembered, since no zone changes within one.
struct WallClock<'a> {
    zone: Option<&'a TimeZone>,
    quarter: i64,
    seconds: i64,
}

impl WallClock<'_> {
    fn offset_at(&mut self, instant: i64) -> i64 {
        let Some(zone) = self.zone else { return 0 };
        let quarter = instant.div_euclid(900);
        if quarter != self.quarter {
            self.quarter = quarter;
            let at = jiff::Timestamp::from_second(instant).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            self.seconds = zone.to_offset(at).seconds().into();
        }
        self.seconds
    }
}
