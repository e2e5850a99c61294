//! The columns that documents are decoded into: plain vectors that become Arrow buffers without a copy, and the way each SQL type is read
//! from a JSON value.
//!
//! Contract of [`Column::read`]: on success exactly one value was added and the position behind the value is returned; on failure the
//! caller truncates the column to its old length, since nested columns may hold half a value by then.

mod append;

use std::sync::Arc;

use arrow_array::types as at;
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, MapArray, NullArray, PrimitiveArray,
    StringArray, StructArray,
};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema as arrow;
use base64::Engine as _;
use wiesel_core::types::{DataType, TypeKind, timestamp_unit};
use wiesel_core::{Error, Result};

use super::compact::write_compact;
use super::number::{
    Decimal, parse_decimal, parse_double, parse_float, parse_long, short_double, short_integer, trim, truncate_to_long,
};
use super::object::ObjectColumn;
use super::scan::{
    Expected, Fault, byte_at, key_end, literal_end, number_end, skip_blank, skip_value, string_end, unescape,
};
use super::time::{WallTime, parse_date, parse_time, parse_timestamp, parse_timestamp_ltz};
use super::{JsonOptions, TimestampFormat};

/// What reading needs beside the document: the options, scratch memory, and, once something failed, which field it was.
pub(super) struct ReadContext {
    pub(super) ignore_parse_errors: bool,
    pub(super) fail_on_missing_field: bool,
    timestamp_format: TimestampFormat,
    scratch: Vec<u8>,
    /// The failing field's name and those of the rows around it, innermost first.
    pub(super) failed_path: Vec<String>,
    /// The failing field's type.
    pub(super) failed_type: Option<DataType>,
}

impl ReadContext {
    pub(super) fn new(options: &JsonOptions) -> Self {
        ReadContext {
            ignore_parse_errors: options.ignore_parse_errors,
            fail_on_missing_field: options.fail_on_missing_field,
            timestamp_format: options.timestamp_format,
            scratch: Vec::new(),
            failed_path: Vec::new(),
            failed_type: None,
        }
    }
}

/// Values of a fixed size, and which of them are NULL.
pub(in crate::formats) struct Fixed<T> {
    values: Vec<T>,
    nulls: NullBufferBuilder,
}

impl<T: Copy + Default> Fixed<T> {
    fn new() -> Self {
        Fixed { values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    #[inline(always)]
    fn push(&mut self, value: T) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.values.push(T::default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
        self.nulls.truncate(length);
    }

    fn finish<A: ArrowPrimitiveType<Native = T>>(&mut self) -> PrimitiveArray<A>
    where
        T: arrow_buffer::ArrowNativeType,
    {
        PrimitiveArray::new(ScalarBuffer::from(std::mem::take(&mut self.values)), self.nulls.finish())
    }
}

/// Texts or byte strings, one behind the other.
pub(in crate::formats) struct Variable {
    offsets: Vec<i32>,
    data: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl Variable {
    fn new() -> Self {
        Variable { offsets: vec![0], data: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    #[inline(always)]
    fn push(&mut self, value: &[u8], at: usize) -> Result<(), Fault> {
        self.data.extend_from_slice(value);
        self.end_value(at)
    }

    /// Makes what was appended to `data` the next value.
    #[inline(always)]
    fn end_value(&mut self, at: usize) -> Result<(), Fault> {
        let end = i32::try_from(self.data.len()).map_err(|_| Fault::new(at, Expected::Capacity))?;
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.nulls.append_null();
    }

    fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        self.data.truncate(offset_end(&self.offsets));
        self.nulls.truncate(length);
    }

    fn value(&self, index: usize) -> &[u8] {
        let bound = |i: usize| self.offsets.get(i).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
        self.data.get(bound(index)..bound(index + 1)).unwrap_or_default()
    }

    fn offsets(&mut self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, vec![0])))
    }

    fn data(&mut self) -> arrow_buffer::Buffer {
        let data = std::mem::take(&mut self.data);
        arrow_buffer::Buffer::from_vec(data)
    }
}

fn offset_end(offsets: &[i32]) -> usize {
    offsets.last().and_then(|o| usize::try_from(*o).ok()).unwrap_or(0)
}

/// Arrays: offsets into a column of elements.
pub(in crate::formats) struct List {
    offsets: Vec<i32>,
    items: Column,
    item_count: usize,
    field: arrow::FieldRef,
    nulls: NullBufferBuilder,
}

/// Maps: offsets into a column of keys and one of values.
pub(in crate::formats) struct Map {
    offsets: Vec<i32>,
    keys: Variable,
    values: Column,
    entry_count: usize,
    entries_field: arrow::FieldRef,
    nulls: NullBufferBuilder,
}

/// A column under construction.
pub(in crate::formats) enum Column {
    Null(usize),
    Boolean { values: BooleanBufferBuilder, nulls: NullBufferBuilder },
    TinyInt(Fixed<i8>),
    SmallInt(Fixed<i16>),
    Int(Fixed<i32>),
    BigInt(Fixed<i64>),
    Float(Fixed<f32>),
    Double(Fixed<f64>),
    Decimal { values: Fixed<i128>, precision: u8, scale: u8 },
    String(Variable),
    Binary(Variable),
    Date(Fixed<i32>),
    Time(Fixed<i32>),
    Timestamp { values: Fixed<i64>, unit: arrow::TimeUnit, is_zoned: bool },
    Array(Box<List>),
    Map(Box<Map>),
    Row(Box<ObjectColumn>),
}

impl Column {
    /// An empty column for a type.
    pub(in crate::formats) fn new(kind: &TypeKind) -> Column {
        match kind {
            TypeKind::Null => Column::Null(0),
            TypeKind::Boolean => {
                Column::Boolean { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) }
            }
            TypeKind::TinyInt => Column::TinyInt(Fixed::new()),
            TypeKind::SmallInt => Column::SmallInt(Fixed::new()),
            TypeKind::Int | TypeKind::IntervalYearMonth => Column::Int(Fixed::new()),
            TypeKind::BigInt | TypeKind::IntervalDayTime => Column::BigInt(Fixed::new()),
            TypeKind::Float => Column::Float(Fixed::new()),
            TypeKind::Double => Column::Double(Fixed::new()),
            TypeKind::Decimal { precision, scale } => {
                Column::Decimal { values: Fixed::new(), precision: *precision, scale: *scale }
            }
            TypeKind::Char(_) | TypeKind::VarChar(_) => Column::String(Variable::new()),
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => Column::Binary(Variable::new()),
            TypeKind::Date => Column::Date(Fixed::new()),
            TypeKind::Time(_) => Column::Time(Fixed::new()),
            TypeKind::Timestamp(p) => {
                Column::Timestamp { values: Fixed::new(), unit: timestamp_unit(*p), is_zoned: false }
            }
            TypeKind::TimestampLtz(p) => {
                Column::Timestamp { values: Fixed::new(), unit: timestamp_unit(*p), is_zoned: true }
            }
            TypeKind::Array(element) => Column::Array(Box::new(List {
                offsets: vec![0],
                items: Column::new(&element.kind),
                item_count: 0,
                field: Arc::new(arrow::Field::new("item", element.to_arrow(), true)),
                nulls: NullBufferBuilder::new(0),
            })),
            TypeKind::Map(_, value) => Column::map(kind, &value.kind),
            TypeKind::Multiset(_) => Column::map(kind, &TypeKind::Int),
            TypeKind::Row(fields) => Column::Row(Box::new(ObjectColumn::new(fields))),
        }
    }

    fn map(kind: &TypeKind, value: &TypeKind) -> Column {
        let entries_field = match kind.to_arrow() {
            arrow::DataType::Map(field, _) => field,
            other => Arc::new(arrow::Field::new("entries", other, false)),
        };
        Column::Map(Box::new(Map {
            offsets: vec![0],
            keys: Variable::new(),
            values: Column::new(value),
            entry_count: 0,
            entries_field,
            nulls: NullBufferBuilder::new(0),
        }))
    }

    /// Makes room for more values.
    pub(super) fn reserve(&mut self, rows: usize) {
        match self {
            Column::Null(_) | Column::Boolean { .. } => {}
            Column::TinyInt(fixed) => fixed.values.reserve(rows),
            Column::SmallInt(fixed) => fixed.values.reserve(rows),
            Column::Int(fixed) | Column::Date(fixed) | Column::Time(fixed) => fixed.values.reserve(rows),
            Column::BigInt(fixed) | Column::Timestamp { values: fixed, .. } => fixed.values.reserve(rows),
            Column::Float(fixed) => fixed.values.reserve(rows),
            Column::Double(fixed) => fixed.values.reserve(rows),
            Column::Decimal { values, .. } => values.values.reserve(rows),
            Column::String(text) | Column::Binary(text) => {
                text.offsets.reserve(rows);
                text.data.reserve(rows * 8);
            }
            Column::Array(list) => list.offsets.reserve(rows),
            Column::Map(map) => map.offsets.reserve(rows),
            Column::Row(row) => row.reserve(rows),
        }
    }

    /// Adds NULL.
    pub(in crate::formats) fn push_null(&mut self) {
        match self {
            Column::Null(length) => *length += 1,
            Column::Boolean { values, nulls } => {
                values.append(false);
                nulls.append_null();
            }
            Column::TinyInt(fixed) => fixed.push_null(),
            Column::SmallInt(fixed) => fixed.push_null(),
            Column::Int(fixed) | Column::Date(fixed) | Column::Time(fixed) => fixed.push_null(),
            Column::BigInt(fixed) | Column::Timestamp { values: fixed, .. } => fixed.push_null(),
            Column::Float(fixed) => fixed.push_null(),
            Column::Double(fixed) => fixed.push_null(),
            Column::Decimal { values, .. } => values.push_null(),
            Column::String(text) | Column::Binary(text) => text.push_null(),
            Column::Array(list) => {
                list.offsets.push(list.offsets.last().copied().unwrap_or(0));
                list.nulls.append_null();
            }
            Column::Map(map) => {
                map.offsets.push(map.offsets.last().copied().unwrap_or(0));
                map.nulls.append_null();
            }
            Column::Row(row) => row.push_null(),
        }
    }

    /// Drops everything behind the first `length` values, half-read ones included.
    pub(in crate::formats) fn truncate(&mut self, length: usize) {
        match self {
            Column::Null(count) => *count = length,
            Column::Boolean { values, nulls } => {
                values.truncate(length);
                nulls.truncate(length);
            }
            Column::TinyInt(fixed) => fixed.truncate(length),
            Column::SmallInt(fixed) => fixed.truncate(length),
            Column::Int(fixed) | Column::Date(fixed) | Column::Time(fixed) => fixed.truncate(length),
            Column::BigInt(fixed) | Column::Timestamp { values: fixed, .. } => fixed.truncate(length),
            Column::Float(fixed) => fixed.truncate(length),
            Column::Double(fixed) => fixed.truncate(length),
            Column::Decimal { values, .. } => values.truncate(length),
            Column::String(text) | Column::Binary(text) => text.truncate(length),
            Column::Array(list) => {
                list.offsets.truncate(length + 1);
                list.item_count = offset_end(&list.offsets);
                list.items.truncate(list.item_count);
                list.nulls.truncate(length);
            }
            Column::Map(map) => {
                map.offsets.truncate(length + 1);
                map.entry_count = offset_end(&map.offsets);
                map.keys.truncate(map.entry_count);
                map.values.truncate(map.entry_count);
                map.nulls.truncate(length);
            }
            Column::Row(row) => row.truncate(length),
        }
    }

    /// Reads the value at `pos`, which is no blank, and returns the position behind it.
    #[inline]
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        pos: usize,
        context: &mut ReadContext,
        depth: usize,
    ) -> Result<usize, Fault> {
        if byte_at(bytes, pos) == b'n' {
            let end = literal_end(bytes, pos)?;
            self.push_null();
            return Ok(end);
        }
        match self {
            Column::BigInt(fixed) => match short_integer(bytes, pos) {
                Some((number, end)) => {
                    fixed.push(number);
                    Ok(end)
                }
                None => read_integer(bytes, pos, Fraction::CutOff, i64::MIN, i64::MAX, context)
                    .map(|(number, end)| (fixed.push(number), end).1),
            },
            Column::String(text) => {
                if byte_at(bytes, pos) != b'"' {
                    return read_other_text(text, bytes, pos, depth);
                }
                let (end, has_escapes) = string_end(bytes, pos + 1)?;
                let content = bytes.get(pos + 1..end).unwrap_or_default();
                if has_escapes {
                    unescape(content, &mut text.data);
                    text.end_value(pos)?;
                } else {
                    text.push(content, pos)?;
                }
                Ok(end + 1)
            }
            Column::Timestamp { values, unit, is_zoned } => {
                let (time, end) = read_text(bytes, pos, context, |text, format| match is_zoned {
                    true => parse_timestamp_ltz(text, format),
                    false => parse_timestamp(text, format),
                })?;
                values.push(in_unit(time, *unit).ok_or_else(|| Fault::new(pos, Expected::NanosecondRange))?);
                Ok(end)
            }
            Column::Int(fixed) => match short_integer(bytes, pos) {
                Some((number, end)) if i32::try_from(number).is_ok() => {
                    fixed.push(number as i32);
                    Ok(end)
                }
                _ => read_integer(bytes, pos, Fraction::CutOff, i32::MIN.into(), i32::MAX.into(), context)
                    .map(|(number, end)| (fixed.push(number as i32), end).1),
            },
            Column::Double(fixed) => match short_double(bytes, pos) {
                Some((number, end)) => {
                    fixed.push(number);
                    Ok(end)
                }
                None => {
                    let (number, end) = read_number(bytes, pos, context, parse_double)?;
                    fixed.push(number);
                    Ok(end)
                }
            },
            _ => self.read_rare(bytes, pos, context, depth),
        }
    }

    /// The types that are seldom in a stream's hot columns.
    #[inline(never)]
    fn read_rare(&mut self, bytes: &[u8], pos: usize, context: &mut ReadContext, depth: usize) -> Result<usize, Fault> {
        match self {
            Column::Boolean { values, nulls } => {
                let (value, end) = read_boolean(bytes, pos, context)?;
                values.append(value);
                nulls.append_non_null();
                Ok(end)
            }
            Column::TinyInt(fixed) => {
                let (number, end) =
                    read_integer(bytes, pos, Fraction::Refused, i8::MIN.into(), i8::MAX.into(), context)?;
                fixed.push(number as i8);
                Ok(end)
            }
            Column::SmallInt(fixed) => {
                let (number, end) =
                    read_integer(bytes, pos, Fraction::Refused, i16::MIN.into(), i16::MAX.into(), context)?;
                fixed.push(number as i16);
                Ok(end)
            }
            Column::Float(fixed) => {
                let (number, end) = read_number(bytes, pos, context, parse_float)?;
                fixed.push(number);
                Ok(end)
            }
            Column::Decimal { values, precision, scale } => {
                let (decimal, end) = read_number(bytes, pos, context, |text| {
                    Some(parse_decimal(text, *precision, *scale)).filter(|d| *d != Decimal::NotANumber)
                })?;
                match decimal {
                    Decimal::Fits(number) => values.push(number),
                    Decimal::TooLarge | Decimal::NotANumber => values.push_null(),
                }
                Ok(end)
            }
            Column::Date(fixed) => {
                let (days, end) = read_text(bytes, pos, context, |text, _| parse_date(text))?;
                fixed.push(days);
                Ok(end)
            }
            Column::Time(fixed) => {
                let (ms, end) = read_text(bytes, pos, context, |text, _| parse_time(text))?;
                fixed.push(ms);
                Ok(end)
            }
            Column::Binary(binary) => {
                let (data, end) = read_text(bytes, pos, context, |text, _| decode_base64(text))?;
                binary.push(&data, pos)?;
                Ok(end)
            }
            Column::Array(list) => list.read(bytes, pos, context, depth),
            Column::Map(map) => map.read(bytes, pos, context, depth),
            Column::Row(row) => row.read(bytes, pos, context, depth),
            // A column of the type NULL holds nothing else.
            Column::Null(length) => {
                *length += 1;
                skip_value(bytes, pos, depth)
            }
            Column::Int(_) | Column::BigInt(_) | Column::Double(_) | Column::String(_) | Column::Timestamp { .. } => {
                Err(Fault::new(pos, Expected::Type))
            }
        }
    }

    /// The Arrow array of everything read; the column is empty afterwards.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Column::Null(length) => Arc::new(NullArray::new(std::mem::take(length))),
            Column::Boolean { values, nulls } => Arc::new(BooleanArray::new(values.finish(), nulls.finish())),
            Column::TinyInt(fixed) => Arc::new(fixed.finish::<at::Int8Type>()),
            Column::SmallInt(fixed) => Arc::new(fixed.finish::<at::Int16Type>()),
            Column::Int(fixed) => Arc::new(fixed.finish::<at::Int32Type>()),
            Column::BigInt(fixed) => Arc::new(fixed.finish::<at::Int64Type>()),
            Column::Float(fixed) => Arc::new(fixed.finish::<at::Float32Type>()),
            Column::Double(fixed) => Arc::new(fixed.finish::<at::Float64Type>()),
            Column::Decimal { values, precision, scale } => Arc::new(
                values
                    .finish::<at::Decimal128Type>()
                    .with_precision_and_scale(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))?,
            ),
            Column::String(text) => Arc::new(StringArray::try_new(text.offsets(), text.data(), text.nulls.finish())?),
            Column::Binary(binary) => {
                Arc::new(BinaryArray::try_new(binary.offsets(), binary.data(), binary.nulls.finish())?)
            }
            Column::Date(fixed) => Arc::new(fixed.finish::<at::Date32Type>()),
            Column::Time(fixed) => Arc::new(fixed.finish::<at::Time32MillisecondType>()),
            Column::Timestamp { values, unit, .. } => match unit {
                arrow::TimeUnit::Microsecond => Arc::new(values.finish::<at::TimestampMicrosecondType>()),
                arrow::TimeUnit::Nanosecond => Arc::new(values.finish::<at::TimestampNanosecondType>()),
                _ => Arc::new(values.finish::<at::TimestampMillisecondType>()),
            },
            Column::Array(list) => list.finish()?,
            Column::Map(map) => map.finish()?,
            Column::Row(row) => Arc::new(row.finish()?),
        })
    }
}

impl List {
    fn read(&mut self, bytes: &[u8], pos: usize, context: &mut ReadContext, depth: usize) -> Result<usize, Fault> {
        if byte_at(bytes, pos) != b'[' {
            return Err(Fault::new(pos, Expected::Type));
        }
        let start = pos;
        let mut pos = skip_blank(bytes, pos + 1);
        if byte_at(bytes, pos) == b']' {
            pos += 1;
        } else {
            loop {
                pos = read_or_null(&mut self.items, self.item_count, bytes, pos, context, depth)?;
                self.item_count += 1;
                pos = skip_blank(bytes, pos);
                match byte_at(bytes, pos) {
                    b',' => pos = skip_blank(bytes, pos + 1),
                    b']' => {
                        pos += 1;
                        break;
                    }
                    _ => return Err(Fault::new(pos, Expected::CommaOrBracket)),
                }
            }
        }
        self.offsets.push(i32::try_from(self.item_count).map_err(|_| Fault::new(start, Expected::Capacity))?);
        self.nulls.append_non_null();
        Ok(pos)
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, vec![0])));
        self.item_count = 0;
        let items = self.items.finish()?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(&self.field), offsets, items, self.nulls.finish())?))
    }
}

impl Map {
    fn read(&mut self, bytes: &[u8], pos: usize, context: &mut ReadContext, depth: usize) -> Result<usize, Fault> {
        if byte_at(bytes, pos) != b'{' {
            return Err(Fault::new(pos, Expected::Type));
        }
        let first_entry = self.entry_count;
        let mut end = self.read_entries(bytes, pos, &[], context, depth)?;
        let replaced = self.replaced_entries(first_entry);
        if !replaced.is_empty() {
            self.entry_count = first_entry;
            self.keys.truncate(first_entry);
            self.values.truncate(first_entry);
            end = self.read_entries(bytes, pos, &replaced, context, depth)?;
        }
        self.offsets.push(i32::try_from(self.entry_count).map_err(|_| Fault::new(pos, Expected::Capacity))?);
        self.nulls.append_non_null();
        Ok(end)
    }

    /// Reads the entries of the object at `pos`, but for those whose ordinals are in `left_out`.
    fn read_entries(
        &mut self,
        bytes: &[u8],
        pos: usize,
        left_out: &[usize],
        context: &mut ReadContext,
        depth: usize,
    ) -> Result<usize, Fault> {
        let mut pos = skip_blank(bytes, pos + 1);
        if byte_at(bytes, pos) == b'}' {
            return Ok(pos + 1);
        }
        let mut ordinal = 0;
        loop {
            let (key_end, value) = key_end(bytes, pos)?;
            let value = skip_blank(bytes, value);
            if left_out.binary_search(&ordinal).is_ok() {
                pos = skip_value(bytes, value, depth)?;
            } else {
                unescape(bytes.get(pos + 1..key_end).unwrap_or_default(), &mut self.keys.data);
                self.keys.end_value(pos)?;
                pos = read_or_null(&mut self.values, self.entry_count, bytes, value, context, depth)?;
                self.entry_count += 1;
            }
            ordinal += 1;
            pos = skip_blank(bytes, pos);
            match byte_at(bytes, pos) {
                b',' => pos = skip_blank(bytes, pos + 1),
                b'}' => return Ok(pos + 1),
                _ => return Err(Fault::new(pos, Expected::CommaOrBrace)),
            }
        }
    }

    /// Ordinals of the last map's entries that a later one of the same key replaces, sorted; nearly always none.
    fn replaced_entries(&self, first: usize) -> Vec<usize> {
        let count = self.entry_count - first;
        let key = |ordinal: usize| self.keys.value(first + ordinal);
        let mut replaced = Vec::new();
        if count <= 8 {
            for ordinal in 0..count {
                if (ordinal + 1..count).any(|later| key(later) == key(ordinal)) {
                    replaced.push(ordinal);
                }
            }
            return replaced;
        }
        let mut sorted: Vec<usize> = (0..count).collect();
        sorted.sort_by(|a, b| key(*a).cmp(key(*b)));
        replaced.extend(sorted.windows(2).filter(|pair| key(pair[0]) == key(pair[1])).map(|pair| pair[0]));
        replaced.sort_unstable();
        replaced
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, vec![0])));
        self.entry_count = 0;
        let keys = StringArray::try_new(self.keys.offsets(), self.keys.data(), self.keys.nulls.finish())?;
        let values = self.values.finish()?;
        let arrow::DataType::Struct(fields) = self.entries_field.data_type().clone() else {
            return Err(Error::internal("a map's entries are no struct"));
        };
        let entries = StructArray::try_new(fields, vec![Arc::new(keys), values], None)?;
        Ok(Arc::new(MapArray::try_new(Arc::clone(&self.entries_field), offsets, entries, self.nulls.finish(), false)?))
    }
}

/// Reads an element of a list or map, which becomes NULL when it alone is wrong and errors are ignored.
fn read_or_null(
    column: &mut Column,
    length: usize,
    bytes: &[u8],
    pos: usize,
    context: &mut ReadContext,
    depth: usize,
) -> Result<usize, Fault> {
    match column.read(bytes, pos, context, depth + 1) {
        Err(fault) if fault.is_value() && context.ignore_parse_errors => {
            column.truncate(length);
            let end = skip_value(bytes, pos, depth)?;
            column.push_null();
            Ok(end)
        }
        result => result,
    }
}

/// A time in the unit of its column; `None` when it does not fit.
#[inline]
fn in_unit(time: WallTime, unit: arrow::TimeUnit) -> Option<i64> {
    let (per_second, nanos_per_unit) = match unit {
        arrow::TimeUnit::Nanosecond => (1_000_000_000, 1),
        arrow::TimeUnit::Microsecond => (1_000_000, 1_000),
        _ => (1_000, 1_000_000),
    };
    time.seconds.checked_mul(per_second)?.checked_add(i64::from(time.nanos / nanos_per_unit))
}

/// Hands the text of a scalar (a string's content, else the token itself) to `parse`.
#[inline]
fn read_text<T>(
    bytes: &[u8],
    pos: usize,
    context: &mut ReadContext,
    parse: impl FnOnce(&[u8], TimestampFormat) -> Option<T>,
) -> Result<(T, usize), Fault> {
    if byte_at(bytes, pos) != b'"' {
        // No number or word has the form of a date or of base64 with its padding, and what has its form must be quoted.
        skip_value(bytes, pos, 0)?;
        return Err(Fault::new(pos, Expected::Type));
    }
    let (end, has_escapes) = string_end(bytes, pos + 1)?;
    let content = bytes.get(pos + 1..end).unwrap_or_default();
    let value = if has_escapes {
        context.scratch.clear();
        unescape(content, &mut context.scratch);
        parse(&context.scratch, context.timestamp_format)
    } else {
        parse(content, context.timestamp_format)
    };
    value.map(|value| (value, end + 1)).ok_or_else(|| Fault::new(pos, Expected::Type))
}

/// Hands a number, or a string's trimmed content, to `parse`.
#[inline(never)]
fn read_number<T>(
    bytes: &[u8],
    pos: usize,
    context: &mut ReadContext,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<(T, usize), Fault> {
    match byte_at(bytes, pos) {
        b'"' => read_text(bytes, pos, context, |text, _| parse(trim(text))),
        b'-' | b'0'..=b'9' => {
            let end = number_end(bytes, pos)?.end;
            let value = parse(bytes.get(pos..end).unwrap_or_default());
            value.map(|value| (value, end)).ok_or_else(|| Fault::new(pos, Expected::Type))
        }
        _ => {
            skip_value(bytes, pos, 0)?;
            Err(Fault::new(pos, Expected::Type))
        }
    }
}

/// What an integer column does with `1.9`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fraction {
    /// INT and BIGINT take 1.
    CutOff,
    /// TINYINT and SMALLINT fail.
    Refused,
}

/// The slow way to an integer: fractions, quoted text, and everything that is wrong.
#[inline(never)]
fn read_integer(
    bytes: &[u8],
    pos: usize,
    fraction: Fraction,
    min: i64,
    max: i64,
    context: &mut ReadContext,
) -> Result<(i64, usize), Fault> {
    let is_number = byte_at(bytes, pos) != b'"';
    read_number(bytes, pos, context, |text| {
        let is_integer = !text.iter().any(|b| matches!(b, b'.' | b'e' | b'E'));
        let number = if is_integer {
            parse_long(text)
        } else if is_number && fraction == Fraction::CutOff {
            truncate_to_long(text)
        } else {
            None
        };
        number.filter(|n| (min..=max).contains(n))
    })
}

fn read_boolean(bytes: &[u8], pos: usize, context: &mut ReadContext) -> Result<(bool, usize), Fault> {
    match byte_at(bytes, pos) {
        b't' => Ok((true, literal_end(bytes, pos)?)),
        b'f' => Ok((false, literal_end(bytes, pos)?)),
        b'"' => read_text(bytes, pos, context, |text, _| Some(trim(text).eq_ignore_ascii_case(b"true"))),
        b'-' | b'0'..=b'9' => Ok((false, number_end(bytes, pos)?.end)),
        _ => {
            skip_value(bytes, pos, 0)?;
            Err(Fault::new(pos, Expected::Type))
        }
    }
}

/// A value that is no string becomes text: numbers and words as they stand, objects and arrays without blanks.
#[inline(never)]
fn read_other_text(text: &mut Variable, bytes: &[u8], pos: usize, depth: usize) -> Result<usize, Fault> {
    let end = match byte_at(bytes, pos) {
        b'{' | b'[' => write_compact(bytes, pos, depth, &mut text.data)?,
        _ => {
            let end = skip_value(bytes, pos, depth)?;
            text.data.extend_from_slice(bytes.get(pos..end).unwrap_or_default());
            end
        }
    };
    text.end_value(pos)?;
    Ok(end)
}

pub(in crate::formats) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let engine = &base64::engine::general_purpose::STANDARD;
    engine.decode(text).ok().or_else(|| {
        let dense: Vec<u8> = text.iter().copied().filter(|b| *b > b' ').collect();
        engine.decode(dense).ok()
    })
}
