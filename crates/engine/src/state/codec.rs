//! Keys and rows as bytes, in an encoding of our own that never changes under a checkpoint.
//!
//! **Keys** sort as their values do (NULL first), and no key is a prefix of another, so they can be concatenated, hashed, kept in ordered
//! maps and files, and scanned by prefix. Every field is a marker byte, 0 for NULL and 1 for a value, and then:
//!
//! | type | bytes after the marker |
//! |---|---|
//! | BOOLEAN | 0 or 1 |
//! | integers, DATE, TIME, TIMESTAMP, intervals | big-endian, sign bit flipped |
//! | DECIMAL | 16 bytes big-endian, sign bit flipped (the scale is the column's) |
//! | FLOAT, DOUBLE | IEEE bits, big-endian; negative ones inverted, else the sign bit flipped; one NaN, above all |
//! | CHAR, VARCHAR, BINARY, VARBINARY | the bytes, 0 written as 0 255, then 0 0 |
//! | ARRAY, MAP, MULTISET | for each item a 1 and its fields, then a 0 |
//! | ROW | its fields |
//!
//! **Rows** (values of a table) need no order and are more compact: one bit per column says NULL, numbers are little-endian, text has
//! its length in front. Tables write [`STATE_VERSION`] in front of every value; it stands for the encoding of key and value.
//!
//! Encoding goes column by column over a whole batch: one pass finds the lengths, one writes. No row allocates. WHY-NOT arrow-row: its
//! bytes may change from one release to the next.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as at;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, NullArray, StringArray, Time32MillisecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::types::timestamp_unit;
use wiesel_core::value::column;
use wiesel_core::{DataType, Error, Result, TypeKind, Value};

/// The version of all encodings here, the first byte of every value that a table writes into a checkpoint.
pub const STATE_VERSION: u8 = 1;

/// Refuses bytes of another version than this program writes.
pub(crate) fn check_version(version: u8) -> Result<()> {
    if version == STATE_VERSION {
        return Ok(());
    }
    Err(Error::config(format!("a checkpoint holds state of version {version}, this program reads {STATE_VERSION}"))
        .hint("start with the program that wrote the checkpoint, or start anew with --fresh"))
}

const NULL: u8 = 0;
const PRESENT: u8 = 1;
const END: u8 = 0;
const ESCAPED: u8 = 0xff;

/// Encoded keys of a batch, one behind the other.
#[derive(Debug, Clone)]
pub struct KeyBuffer {
    /// The bytes of all keys.
    pub bytes: Vec<u8>,
    /// Where each key begins, and at last where the last one ends.
    pub offsets: Vec<usize>,
}

impl Default for KeyBuffer {
    fn default() -> Self {
        KeyBuffer { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl KeyBuffer {
    /// The number of keys.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the key at `index`.
    pub fn key(&self, index: usize) -> &[u8] {
        &self.bytes[self.offsets[index]..self.offsets[index + 1]]
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.offsets.windows(2).map(|w| &self.bytes[w[0]..w[1]])
    }

    /// Adds a key that is encoded already.
    pub fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.offsets.push(self.bytes.len());
    }

    /// Drops the keys and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.offsets.clear();
        self.offsets.push(0);
    }

    /// Bytes held, by capacity.
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.offsets.capacity() * size_of::<usize>()
    }
}

/// Appends one key per row, made of the columns' fields in order. Without columns every key is empty.
pub fn encode_keys(columns: &[ArrayRef], rows: usize, out: &mut KeyBuffer) -> Result<()> {
    let first = out.offsets.len();
    let mut fields = Vec::with_capacity(columns.len());
    // Pass one: the length of every key, kept in `offsets`.
    out.offsets.resize(first + rows, 0);
    let lengths = &mut out.offsets[first..];
    let mut fixed = 0;
    for array in columns {
        if array.len() != rows {
            return Err(Error::internal(format!("a key column of {} rows in a batch of {rows}", array.len())));
        }
        let field = FieldEncoder::new(array)?;
        fixed += field.add_lengths(lengths);
        fields.push(field);
    }
    let mut end = out.bytes.len();
    for length in lengths.iter_mut() {
        // The start for now; pass two moves it to the end, field by field.
        let start = end;
        end += *length + fixed;
        *length = start;
    }
    out.bytes.resize(end, 0);
    // Pass two: every column writes its field of every row and moves the row's cursor behind it.
    let (bytes, cursors) = (&mut out.bytes[..], &mut out.offsets[first..]);
    for field in &fields {
        field.write(bytes, cursors);
    }
    Ok(())
}

/// One column while it is being encoded.
enum FieldEncoder<'a> {
    Null,
    Boolean(&'a BooleanArray),
    I8(&'a Int8Array),
    I16(&'a Int16Array),
    I32(&'a [i32], Option<&'a NullBuffer>),
    I64(&'a [i64], Option<&'a NullBuffer>),
    I128(&'a Decimal128Array),
    F32(&'a Float32Array),
    F64(&'a Float64Array),
    Bytes {
        offsets: &'a [i32],
        values: &'a [u8],
        nulls: Option<&'a NullBuffer>,
        has_zeros: bool,
    },
    /// Nested types go value by value; their fields stand here encoded.
    Encoded(KeyBuffer),
}

impl<'a> FieldEncoder<'a> {
    fn new(array: &'a ArrayRef) -> Result<Self> {
        let nulls = array.nulls();
        Ok(match array.data_type() {
            ArrowType::Null => FieldEncoder::Null,
            ArrowType::Boolean => FieldEncoder::Boolean(array.as_boolean()),
            ArrowType::Int8 => FieldEncoder::I8(array.as_primitive()),
            ArrowType::Int16 => FieldEncoder::I16(array.as_primitive()),
            ArrowType::Int32 => FieldEncoder::I32(array.as_primitive::<at::Int32Type>().values(), nulls),
            ArrowType::Date32 => FieldEncoder::I32(array.as_primitive::<at::Date32Type>().values(), nulls),
            ArrowType::Time32(TimeUnit::Millisecond) => {
                FieldEncoder::I32(array.as_primitive::<at::Time32MillisecondType>().values(), nulls)
            }
            ArrowType::Int64 => FieldEncoder::I64(array.as_primitive::<at::Int64Type>().values(), nulls),
            ArrowType::Timestamp(TimeUnit::Millisecond, None) => {
                FieldEncoder::I64(array.as_primitive::<at::TimestampMillisecondType>().values(), nulls)
            }
            ArrowType::Timestamp(TimeUnit::Microsecond, None) => {
                FieldEncoder::I64(array.as_primitive::<at::TimestampMicrosecondType>().values(), nulls)
            }
            ArrowType::Timestamp(TimeUnit::Nanosecond, None) => {
                FieldEncoder::I64(array.as_primitive::<at::TimestampNanosecondType>().values(), nulls)
            }
            ArrowType::Decimal128(_, _) => FieldEncoder::I128(array.as_primitive()),
            ArrowType::Float32 => FieldEncoder::F32(array.as_primitive()),
            ArrowType::Float64 => FieldEncoder::F64(array.as_primitive()),
            ArrowType::Utf8 => {
                let strings = array.as_string::<i32>();
                FieldEncoder::bytes(strings.value_offsets(), strings.value_data(), nulls)
            }
            ArrowType::Binary => {
                let binaries = array.as_binary::<i32>();
                FieldEncoder::bytes(binaries.value_offsets(), binaries.value_data(), nulls)
            }
            ArrowType::List(_) | ArrowType::Map(_, _) | ArrowType::Struct(_) => {
                let mut encoded = KeyBuffer::default();
                for row in 0..array.len() {
                    encode_field(array, row, &mut encoded.bytes)?;
                    encoded.offsets.push(encoded.bytes.len());
                }
                FieldEncoder::Encoded(encoded)
            }
            other => return Err(unsupported(other)),
        })
    }

    fn bytes(offsets: &'a [i32], values: &'a [u8], nulls: Option<&'a NullBuffer>) -> Self {
        let used = match (offsets.first(), offsets.last()) {
            (Some(first), Some(last)) => &values[index(*first)..index(*last)],
            _ => &[],
        };
        // One search over all rows decides for all of them: text hardly ever holds a zero byte.
        FieldEncoder::Bytes { offsets, values, nulls, has_zeros: memchr::memchr(0, used).is_some() }
    }

    /// Adds what differs from row to row to `lengths`, and returns what all rows have.
    fn add_lengths(&self, lengths: &mut [usize]) -> usize {
        let (nulls, width) = match self {
            FieldEncoder::Null => return 1,
            FieldEncoder::Boolean(a) => (a.nulls(), 1),
            FieldEncoder::I8(a) => (a.nulls(), 1),
            FieldEncoder::I16(a) => (a.nulls(), 2),
            FieldEncoder::I32(_, nulls) => (*nulls, 4),
            FieldEncoder::I64(_, nulls) => (*nulls, 8),
            FieldEncoder::I128(a) => (a.nulls(), 16),
            FieldEncoder::F32(a) => (a.nulls(), 4),
            FieldEncoder::F64(a) => (a.nulls(), 8),
            FieldEncoder::Bytes { offsets, values, nulls, has_zeros } => {
                for (row, length) in lengths.iter_mut().enumerate() {
                    if nulls.is_some_and(|n| n.is_null(row)) {
                        continue;
                    }
                    let (start, end) = (index(offsets[row]), index(offsets[row + 1]));
                    let zeros = if *has_zeros { memchr::memchr_iter(0, &values[start..end]).count() } else { 0 };
                    *length += end - start + zeros + 2;
                }
                return 1;
            }
            FieldEncoder::Encoded(fields) => {
                for (length, field) in lengths.iter_mut().zip(fields.iter()) {
                    *length += field.len();
                }
                return 0;
            }
        };
        match nulls {
            None => 1 + width,
            Some(nulls) => {
                for (row, length) in lengths.iter_mut().enumerate() {
                    if nulls.is_valid(row) {
                        *length += width;
                    }
                }
                1
            }
        }
    }

    fn write(&self, bytes: &mut [u8], cursors: &mut [usize]) {
        match self {
            FieldEncoder::Null => cursors.iter_mut().for_each(|cursor| *cursor += 1),
            FieldEncoder::Boolean(a) => {
                write_fixed(bytes, cursors, a.nulls(), |row| [u8::from(a.value(row))]);
            }
            FieldEncoder::I8(a) => write_fixed(bytes, cursors, a.nulls(), |row| order_i8(a.value(row))),
            FieldEncoder::I16(a) => write_fixed(bytes, cursors, a.nulls(), |row| order_i16(a.value(row))),
            FieldEncoder::I32(values, nulls) => write_fixed(bytes, cursors, *nulls, |row| order_i32(values[row])),
            FieldEncoder::I64(values, nulls) => write_fixed(bytes, cursors, *nulls, |row| order_i64(values[row])),
            FieldEncoder::I128(a) => write_fixed(bytes, cursors, a.nulls(), |row| order_i128(a.value(row))),
            FieldEncoder::F32(a) => write_fixed(bytes, cursors, a.nulls(), |row| order_f32(a.value(row))),
            FieldEncoder::F64(a) => write_fixed(bytes, cursors, a.nulls(), |row| order_f64(a.value(row))),
            FieldEncoder::Bytes { offsets, values, nulls, has_zeros } => {
                for (row, cursor) in cursors.iter_mut().enumerate() {
                    if nulls.is_some_and(|n| n.is_null(row)) {
                        bytes[*cursor] = NULL;
                        *cursor += 1;
                        continue;
                    }
                    let text = &values[index(offsets[row])..index(offsets[row + 1])];
                    bytes[*cursor] = PRESENT;
                    let mut at = *cursor + 1;
                    if *has_zeros {
                        for &byte in text {
                            bytes[at] = byte;
                            at += 1;
                            if byte == 0 {
                                bytes[at] = ESCAPED;
                                at += 1;
                            }
                        }
                    } else {
                        bytes[at..at + text.len()].copy_from_slice(text);
                        at += text.len();
                    }
                    // The buffer came zeroed, so the two zeros of the end stand already.
                    *cursor = at + 2;
                }
            }
            FieldEncoder::Encoded(fields) => {
                for (cursor, field) in cursors.iter_mut().zip(fields.iter()) {
                    bytes[*cursor..*cursor + field.len()].copy_from_slice(field);
                    *cursor += field.len();
                }
            }
        }
    }
}

fn write_fixed<const N: usize>(
    bytes: &mut [u8],
    cursors: &mut [usize],
    nulls: Option<&NullBuffer>,
    value: impl Fn(usize) -> [u8; N],
) {
    for (row, cursor) in cursors.iter_mut().enumerate() {
        if nulls.is_some_and(|n| n.is_null(row)) {
            bytes[*cursor] = NULL;
            *cursor += 1;
        } else {
            bytes[*cursor] = PRESENT;
            bytes[*cursor + 1..*cursor + 1 + N].copy_from_slice(&value(row));
            *cursor += 1 + N;
        }
    }
}

/// Appends the field of one value of an array: the slow way, for nested types.
fn encode_field(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
    if array.data_type() == &ArrowType::Null || array.is_null(row) {
        out.push(NULL);
        return Ok(());
    }
    out.push(PRESENT);
    match array.data_type() {
        ArrowType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        ArrowType::Int8 => out.extend(order_i8(array.as_primitive::<at::Int8Type>().value(row))),
        ArrowType::Int16 => out.extend(order_i16(array.as_primitive::<at::Int16Type>().value(row))),
        ArrowType::Int32 => out.extend(order_i32(array.as_primitive::<at::Int32Type>().value(row))),
        ArrowType::Date32 => out.extend(order_i32(array.as_primitive::<at::Date32Type>().value(row))),
        ArrowType::Time32(TimeUnit::Millisecond) => {
            out.extend(order_i32(array.as_primitive::<at::Time32MillisecondType>().value(row)));
        }
        ArrowType::Int64 => out.extend(order_i64(array.as_primitive::<at::Int64Type>().value(row))),
        ArrowType::Timestamp(TimeUnit::Millisecond, None) => {
            out.extend(order_i64(array.as_primitive::<at::TimestampMillisecondType>().value(row)));
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, None) => {
            out.extend(order_i64(array.as_primitive::<at::TimestampMicrosecondType>().value(row)));
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, None) => {
            out.extend(order_i64(array.as_primitive::<at::TimestampNanosecondType>().value(row)));
        }
        ArrowType::Decimal128(_, _) => out.extend(order_i128(array.as_primitive::<at::Decimal128Type>().value(row))),
        ArrowType::Float32 => out.extend(order_f32(array.as_primitive::<at::Float32Type>().value(row))),
        ArrowType::Float64 => out.extend(order_f64(array.as_primitive::<at::Float64Type>().value(row))),
        ArrowType::Utf8 => escape(array.as_string::<i32>().value(row).as_bytes(), out),
        ArrowType::Binary => escape(array.as_binary::<i32>().value(row), out),
        ArrowType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            for item in 0..items.len() {
                out.push(PRESENT);
                encode_field(&items, item, out)?;
            }
            out.push(END);
        }
        ArrowType::Map(_, _) => {
            let entries = array.as_map().value(row);
            for entry in 0..entries.len() {
                out.push(PRESENT);
                encode_field(entries.column(0), entry, out)?;
                encode_field(entries.column(1), entry, out)?;
            }
            out.push(END);
        }
        ArrowType::Struct(_) => {
            for field in array.as_struct().columns() {
                encode_field(field, row, out)?;
            }
        }
        other => return Err(unsupported(other)),
    }
    Ok(())
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        out.push(byte);
        if byte == 0 {
            out.push(ESCAPED);
        }
    }
    out.extend([0, 0]);
}

fn order_i8(value: i8) -> [u8; 1] {
    [value.to_be_bytes()[0] ^ 0x80]
}

fn order_i16(value: i16) -> [u8; 2] {
    (value ^ i16::MIN).to_be_bytes()
}

/// Four bytes that sort as the number does.
pub fn order_i32(value: i32) -> [u8; 4] {
    (value ^ i32::MIN).to_be_bytes()
}

/// Eight bytes that sort as the number does.
pub fn order_i64(value: i64) -> [u8; 8] {
    (value ^ i64::MIN).to_be_bytes()
}

/// The number of [`order_i64`].
pub fn number_i64(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}

fn order_i128(value: i128) -> [u8; 16] {
    (value ^ i128::MIN).to_be_bytes()
}

fn order_f32(value: f32) -> [u8; 4] {
    let bits = if value.is_nan() { f32::NAN.to_bits() & i32::MAX as u32 } else { value.to_bits() };
    (if bits >> 31 == 1 { !bits } else { bits | (1 << 31) }).to_be_bytes()
}

fn order_f64(value: f64) -> [u8; 8] {
    let bits = if value.is_nan() { f64::NAN.to_bits() & i64::MAX as u64 } else { value.to_bits() };
    (if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }).to_be_bytes()
}

fn number_f32(bytes: [u8; 4]) -> f32 {
    let bits = u32::from_be_bytes(bytes);
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}

fn number_f64(bytes: [u8; 8]) -> f64 {
    let bits = u64::from_be_bytes(bytes);
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

// Arrow's offsets are never negative.
fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

fn unsupported(arrow_type: &ArrowType) -> Error {
    Error::internal(format!("a column of Arrow type {arrow_type} has no key encoding"))
}

fn damaged() -> Error {
    Error::internal("a state entry does not have the bytes that its types ask for")
}

/// Reads keys field by field. Every read checks what is left, so damaged bytes are an error and never a panic.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(damaged)?;
        self.bytes = rest;
        Ok(*head)
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        if length > self.bytes.len() {
            return Err(damaged());
        }
        let (head, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Ok(head)
    }

    /// A number of variable length, see [`put_varint`].
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    /// A little-endian number.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A little-endian number.
    pub fn i128(&mut self) -> Result<i128> {
        Ok(i128::from_le_bytes(self.array()?))
    }

    /// Bytes with their length in front, see [`put_bytes`].
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.varint()?).map_err(|_| damaged())?;
        self.take(length)
    }

    /// Reads the escaped bytes of a text field up to their end, and appends them plain.
    fn text(&mut self, out: &mut Vec<u8>) -> Result<()> {
        loop {
            let zero = memchr::memchr(0, self.bytes).ok_or_else(damaged)?;
            out.extend_from_slice(&self.bytes[..zero]);
            let after = *self.bytes.get(zero + 1).ok_or_else(damaged)?;
            self.bytes = &self.bytes[zero + 2..];
            match after {
                0 => return Ok(()),
                ESCAPED => out.push(0),
                _ => return Err(damaged()),
            }
        }
    }

    /// Whether a value follows (and not NULL).
    fn is_present(&mut self) -> Result<bool> {
        match self.byte()? {
            NULL => Ok(false),
            PRESENT => Ok(true),
            _ => Err(damaged()),
        }
    }

    /// One key field as a value.
    pub fn value(&mut self, data_type: &DataType) -> Result<Value> {
        if !self.is_present()? {
            return Ok(Value::Null);
        }
        Ok(match &data_type.kind {
            TypeKind::Null => return Err(damaged()),
            TypeKind::Boolean => Value::Boolean(self.byte()? != 0),
            TypeKind::TinyInt => Value::Int(i64::from(i8::from_be_bytes([self.byte()? ^ 0x80]))),
            TypeKind::SmallInt => Value::Int(i64::from(i16::from_be_bytes(self.array()?) ^ i16::MIN)),
            TypeKind::Int => Value::Int(i64::from(self.order_i32()?)),
            TypeKind::BigInt => Value::Int(number_i64(self.array()?)),
            TypeKind::Float => Value::Float(number_f32(self.array()?)),
            TypeKind::Double => Value::Double(number_f64(self.array()?)),
            TypeKind::Decimal { .. } => Value::Decimal(i128::from_be_bytes(self.array()?) ^ i128::MIN),
            TypeKind::Char(_) | TypeKind::VarChar(_) => {
                let mut text = Vec::new();
                self.text(&mut text)?;
                Value::String(String::from_utf8(text).map_err(|_| damaged())?)
            }
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
                let mut bytes = Vec::new();
                self.text(&mut bytes)?;
                Value::Bytes(bytes)
            }
            TypeKind::Date => Value::Date(self.order_i32()?),
            TypeKind::Time(_) => Value::Time(self.order_i32()?),
            TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => Value::Timestamp(number_i64(self.array()?)),
            TypeKind::IntervalYearMonth => Value::Months(self.order_i32()?),
            TypeKind::IntervalDayTime => Value::Millis(number_i64(self.array()?)),
            TypeKind::Array(element) => {
                let mut items = Vec::new();
                while self.is_present()? {
                    items.push(self.value(element)?);
                }
                Value::Array(items)
            }
            TypeKind::Map(key, value) => self.entries(key, value)?,
            TypeKind::Multiset(element) => self.entries(element, &DataType::not_null(TypeKind::Int))?,
            TypeKind::Row(fields) => {
                Value::Row(fields.iter().map(|f| self.value(&f.data_type)).collect::<Result<_>>()?)
            }
        })
    }

    fn entries(&mut self, key: &DataType, value: &DataType) -> Result<Value> {
        let mut entries = Vec::new();
        while self.is_present()? {
            entries.push((self.value(key)?, self.value(value)?));
        }
        Ok(Value::Map(entries))
    }

    fn order_i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?) ^ i32::MIN)
    }

    /// Passes over one key field.
    pub fn skip(&mut self, data_type: &DataType) -> Result<()> {
        let width = match &data_type.kind {
            TypeKind::Null => 0,
            TypeKind::Boolean | TypeKind::TinyInt => 1,
            TypeKind::SmallInt => 2,
            TypeKind::Int | TypeKind::Float | TypeKind::Date | TypeKind::Time(_) | TypeKind::IntervalYearMonth => 4,
            TypeKind::BigInt
            | TypeKind::Double
            | TypeKind::Timestamp(_)
            | TypeKind::TimestampLtz(_)
            | TypeKind::IntervalDayTime => 8,
            TypeKind::Decimal { .. } => 16,
            TypeKind::Char(_) | TypeKind::VarChar(_) | TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
                if self.is_present()? {
                    loop {
                        let zero = memchr::memchr(0, self.bytes).ok_or_else(damaged)?;
                        let after = *self.bytes.get(zero + 1).ok_or_else(damaged)?;
                        self.bytes = &self.bytes[zero + 2..];
                        if after == 0 {
                            break;
                        }
                    }
                }
                return Ok(());
            }
            TypeKind::Array(_) | TypeKind::Map(_, _) | TypeKind::Multiset(_) | TypeKind::Row(_) => {
                self.value(data_type)?;
                return Ok(());
            }
        };
        if self.is_present()? {
            self.take(width)?;
        }
        Ok(())
    }
}

/// The part of `bytes` that is a key of these types, and what follows it.
pub fn split_key<'a>(types: &[DataType], bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    let mut reader = Reader::new(bytes);
    for data_type in types {
        reader.skip(data_type)?;
    }
    let rest = reader.rest();
    Ok((&bytes[..bytes.len() - rest.len()], rest))
}

/// The columns of the given keys. What follows the fields of `types` in a key is not looked at.
pub fn decode_keys<'a>(types: &[DataType], keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
    let mut readers: Vec<Reader<'a>> = keys.map(Reader::new).collect();
    types.iter().map(|data_type| decode_column(data_type, &mut readers)).collect()
}

/// One column of values: the next field of every reader.
pub fn decode_column(data_type: &DataType, readers: &mut [Reader<'_>]) -> Result<ArrayRef> {
    macro_rules! primitive {
        ($array:ident, |$bytes:ident: [u8; $n:literal]| $value:expr) => {{
            let (values, nulls) = decode_fixed(readers, |$bytes: [u8; $n]| $value)?;
            Arc::new($array::new(values, nulls))
        }};
    }
    Ok(match &data_type.kind {
        TypeKind::Null => {
            for reader in readers.iter_mut() {
                reader.byte()?;
            }
            Arc::new(NullArray::new(readers.len()))
        }
        TypeKind::Boolean => {
            let (values, nulls) = decode_fixed(readers, |b: [u8; 1]| b[0])?;
            Arc::new(BooleanArray::new(BooleanBuffer::from_iter(values.iter().map(|b| *b != 0)), nulls))
        }
        TypeKind::TinyInt => primitive!(Int8Array, |b: [u8; 1]| i8::from_be_bytes([b[0] ^ 0x80])),
        TypeKind::SmallInt => primitive!(Int16Array, |b: [u8; 2]| i16::from_be_bytes(b) ^ i16::MIN),
        TypeKind::Int | TypeKind::IntervalYearMonth => {
            primitive!(Int32Array, |b: [u8; 4]| i32::from_be_bytes(b) ^ i32::MIN)
        }
        TypeKind::BigInt | TypeKind::IntervalDayTime => primitive!(Int64Array, |b: [u8; 8]| number_i64(b)),
        TypeKind::Float => primitive!(Float32Array, |b: [u8; 4]| number_f32(b)),
        TypeKind::Double => primitive!(Float64Array, |b: [u8; 8]| number_f64(b)),
        TypeKind::Decimal { .. } => {
            let (values, nulls) = decode_fixed(readers, |b: [u8; 16]| i128::from_be_bytes(b) ^ i128::MIN)?;
            Arc::new(Decimal128Array::new(values, nulls).with_data_type(data_type.to_arrow()))
        }
        TypeKind::Date => primitive!(Date32Array, |b: [u8; 4]| i32::from_be_bytes(b) ^ i32::MIN),
        TypeKind::Time(_) => primitive!(Time32MillisecondArray, |b: [u8; 4]| i32::from_be_bytes(b) ^ i32::MIN),
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => match timestamp_unit(*p) {
            TimeUnit::Microsecond => primitive!(TimestampMicrosecondArray, |b: [u8; 8]| number_i64(b)),
            TimeUnit::Nanosecond => primitive!(TimestampNanosecondArray, |b: [u8; 8]| number_i64(b)),
            _ => primitive!(TimestampMillisecondArray, |b: [u8; 8]| number_i64(b)),
        },
        TypeKind::Char(_) | TypeKind::VarChar(_) => {
            let (offsets, bytes, nulls) = decode_text(readers)?;
            Arc::new(StringArray::try_new(offsets, bytes, nulls).map_err(|_| damaged())?)
        }
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
            let (offsets, bytes, nulls) = decode_text(readers)?;
            Arc::new(BinaryArray::try_new(offsets, bytes, nulls).map_err(|_| damaged())?)
        }
        TypeKind::Array(_) | TypeKind::Map(_, _) | TypeKind::Multiset(_) | TypeKind::Row(_) => {
            let values = readers.iter_mut().map(|r| r.value(data_type)).collect::<Result<Vec<_>>>()?;
            column(&data_type.kind, &values)
        }
    })
}

fn decode_fixed<T: Default + arrow_buffer::ArrowNativeType, const N: usize>(
    readers: &mut [Reader<'_>],
    number: impl Fn([u8; N]) -> T,
) -> Result<(ScalarBuffer<T>, Option<NullBuffer>)> {
    let mut values = Vec::with_capacity(readers.len());
    let mut nulls = Nulls::new(readers.len());
    for (row, reader) in readers.iter_mut().enumerate() {
        if reader.is_present()? {
            values.push(number(reader.array()?));
        } else {
            values.push(T::default());
            nulls.set_null(row);
        }
    }
    Ok((values.into(), nulls.finish()))
}

fn decode_text(readers: &mut [Reader<'_>]) -> Result<(OffsetBuffer<i32>, Buffer, Option<NullBuffer>)> {
    let mut offsets = Vec::with_capacity(readers.len() + 1);
    let mut bytes = Vec::new();
    let mut nulls = Nulls::new(readers.len());
    offsets.push(0_i32);
    for (row, reader) in readers.iter_mut().enumerate() {
        if reader.is_present()? {
            reader.text(&mut bytes)?;
        } else {
            nulls.set_null(row);
        }
        offsets.push(i32::try_from(bytes.len()).map_err(|_| {
            Error::internal(format!("a text column of {} bytes is longer than Arrow's offsets reach", bytes.len()))
        })?);
    }
    Ok((OffsetBuffer::new(offsets.into()), bytes.into(), nulls.finish()))
}

/// Collects which rows are NULL; costs nothing as long as none is.
pub(crate) struct Nulls {
    rows: usize,
    valid: Option<Vec<bool>>,
}

impl Nulls {
    pub(crate) fn new(rows: usize) -> Self {
        Nulls { rows, valid: None }
    }

    pub(crate) fn set_null(&mut self, row: usize) {
        self.valid.get_or_insert_with(|| vec![true; self.rows])[row] = false;
    }

    pub(crate) fn finish(self) -> Option<NullBuffer> {
        self.valid.map(NullBuffer::from)
    }
}

/// Appends a number in 7-bit groups, low ones first.
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends bytes with their length in front.
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends the compact form of one row of a batch's columns.
pub fn encode_row(columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) -> Result<()> {
    let nulls_at = out.len();
    out.resize(nulls_at + columns.len().div_ceil(8), 0);
    for (i, array) in columns.iter().enumerate() {
        if array.data_type() == &ArrowType::Null || array.is_null(row) {
            out[nulls_at + i / 8] |= 1 << (i % 8);
            continue;
        }
        match array.data_type() {
            ArrowType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
            ArrowType::Int8 => out.extend(array.as_primitive::<at::Int8Type>().value(row).to_le_bytes()),
            ArrowType::Int16 => out.extend(array.as_primitive::<at::Int16Type>().value(row).to_le_bytes()),
            ArrowType::Int32 => out.extend(array.as_primitive::<at::Int32Type>().value(row).to_le_bytes()),
            ArrowType::Date32 => out.extend(array.as_primitive::<at::Date32Type>().value(row).to_le_bytes()),
            ArrowType::Time32(TimeUnit::Millisecond) => {
                out.extend(array.as_primitive::<at::Time32MillisecondType>().value(row).to_le_bytes());
            }
            ArrowType::Int64 => out.extend(array.as_primitive::<at::Int64Type>().value(row).to_le_bytes()),
            ArrowType::Timestamp(TimeUnit::Millisecond, None) => {
                out.extend(array.as_primitive::<at::TimestampMillisecondType>().value(row).to_le_bytes());
            }
            ArrowType::Timestamp(TimeUnit::Microsecond, None) => {
                out.extend(array.as_primitive::<at::TimestampMicrosecondType>().value(row).to_le_bytes());
            }
            ArrowType::Timestamp(TimeUnit::Nanosecond, None) => {
                out.extend(array.as_primitive::<at::TimestampNanosecondType>().value(row).to_le_bytes());
            }
            ArrowType::Decimal128(_, _) => {
                out.extend(array.as_primitive::<at::Decimal128Type>().value(row).to_le_bytes());
            }
            ArrowType::Float32 => out.extend(array.as_primitive::<at::Float32Type>().value(row).to_le_bytes()),
            ArrowType::Float64 => out.extend(array.as_primitive::<at::Float64Type>().value(row).to_le_bytes()),
            ArrowType::Utf8 => put_bytes(array.as_string::<i32>().value(row).as_bytes(), out),
            ArrowType::Binary => put_bytes(array.as_binary::<i32>().value(row), out),
            _ => encode_field(array, row, out)?,
        }
    }
    Ok(())
}

/// The columns of rows written by [`encode_row`].
pub fn decode_rows<'a>(types: &[DataType], rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
    let bitmap = types.len().div_ceil(8);
    let mut nulls: Vec<&'a [u8]> = Vec::new();
    let mut readers: Vec<Reader<'a>> = Vec::new();
    for row in rows {
        let mut reader = Reader::new(row);
        nulls.push(reader.take(bitmap)?);
        readers.push(reader);
    }
    let mut columns = Vec::with_capacity(types.len());
    for (i, data_type) in types.iter().enumerate() {
        let mut values = Vec::with_capacity(readers.len());
        for (reader, nulls) in readers.iter_mut().zip(&nulls) {
            let is_null = nulls[i / 8] & (1 << (i % 8)) != 0;
            values.push(if is_null { Value::Null } else { row_value(data_type, reader)? });
        }
        columns.push(column(&data_type.kind, &values));
    }
    Ok(columns)
}

fn row_value(data_type: &DataType, reader: &mut Reader<'_>) -> Result<Value> {
    Ok(match &data_type.kind {
        TypeKind::Null => Value::Null,
        TypeKind::Boolean => Value::Boolean(reader.byte()? != 0),
        TypeKind::TinyInt => Value::Int(i64::from(i8::from_le_bytes(reader.array()?))),
        TypeKind::SmallInt => Value::Int(i64::from(i16::from_le_bytes(reader.array()?))),
        TypeKind::Int => Value::Int(i64::from(i32::from_le_bytes(reader.array()?))),
        TypeKind::BigInt => Value::Int(reader.i64()?),
        TypeKind::Float => Value::Float(f32::from_le_bytes(reader.array()?)),
        TypeKind::Double => Value::Double(f64::from_le_bytes(reader.array()?)),
        TypeKind::Decimal { .. } => Value::Decimal(reader.i128()?),
        TypeKind::Char(_) | TypeKind::VarChar(_) => {
            Value::String(String::from_utf8(reader.bytes()?.to_vec()).map_err(|_| damaged())?)
        }
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => Value::Bytes(reader.bytes()?.to_vec()),
        TypeKind::Date => Value::Date(i32::from_le_bytes(reader.array()?)),
        TypeKind::Time(_) => Value::Time(i32::from_le_bytes(reader.array()?)),
        TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => Value::Timestamp(reader.i64()?),
        TypeKind::IntervalYearMonth => Value::Months(i32::from_le_bytes(reader.array()?)),
        TypeKind::IntervalDayTime => Value::Millis(reader.i64()?),
        TypeKind::Array(_) | TypeKind::Map(_, _) | TypeKind::Multiset(_) | TypeKind::Row(_) => {
            reader.value(data_type)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;
    use wiesel_core::Field;

    fn keys(types: &[TypeKind], rows: &[Vec<Value>]) -> KeyBuffer {
        let columns = columns(types, rows);
        let mut keys = KeyBuffer::default();
        encode_keys(&columns, rows.len(), &mut keys).unwrap();
        keys
    }

    fn columns(types: &[TypeKind], rows: &[Vec<Value>]) -> Vec<ArrayRef> {
        (0..types.len()).map(|c| column(&types[c], &rows.iter().map(|r| r[c].clone()).collect::<Vec<_>>())).collect()
    }

    fn nested() -> Vec<TypeKind> {
        let row = TypeKind::Row(vec![Field::new("a", DataType::int()), Field::new("b", DataType::string())]);
        vec![
            TypeKind::Array(Box::new(DataType::string())),
            TypeKind::Map(Box::new(DataType::string()), Box::new(DataType::bigint())),
            TypeKind::Multiset(Box::new(DataType::int())),
            row,
        ]
    }

    fn flat() -> Vec<TypeKind> {
        vec![
            TypeKind::Boolean,
            TypeKind::TinyInt,
            TypeKind::SmallInt,
            TypeKind::Int,
            TypeKind::BigInt,
            TypeKind::Float,
            TypeKind::Double,
            TypeKind::Decimal { precision: 38, scale: 4 },
            TypeKind::VarChar(10),
            TypeKind::VarBinary(10),
            TypeKind::Date,
            TypeKind::Time(3),
            TypeKind::Timestamp(3),
            TypeKind::TimestampLtz(6),
            TypeKind::Timestamp(9),
            TypeKind::IntervalYearMonth,
            TypeKind::IntervalDayTime,
        ]
    }

    fn value(kind: &TypeKind) -> BoxedStrategy<Value> {
        let present = match kind {
            TypeKind::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
            TypeKind::TinyInt => any::<i8>().prop_map(|v| Value::Int(v.into())).boxed(),
            TypeKind::SmallInt => any::<i16>().prop_map(|v| Value::Int(v.into())).boxed(),
            TypeKind::Int => any::<i32>().prop_map(|v| Value::Int(v.into())).boxed(),
            TypeKind::BigInt => any::<i64>().prop_map(Value::Int).boxed(),
            TypeKind::Float => (-1.0e30_f32..1.0e30).prop_map(Value::Float).boxed(),
            TypeKind::Double => (-1.0e300_f64..1.0e300).prop_map(Value::Double).boxed(),
            TypeKind::Decimal { .. } => any::<i128>().prop_map(Value::Decimal).boxed(),
            TypeKind::VarChar(_) => "[a-b\u{0}-\u{2}é]{0,4}".prop_map(Value::String).boxed(),
            TypeKind::VarBinary(_) => prop::collection::vec(prop::sample::select(vec![0_u8, 1, 97, 254, 255]), 0..5)
                .prop_map(Value::Bytes)
                .boxed(),
            TypeKind::Date => any::<i32>().prop_map(Value::Date).boxed(),
            TypeKind::Time(_) => any::<i32>().prop_map(Value::Time).boxed(),
            TypeKind::IntervalYearMonth => any::<i32>().prop_map(Value::Months).boxed(),
            TypeKind::IntervalDayTime => any::<i64>().prop_map(Value::Millis).boxed(),
            TypeKind::Array(e) => prop::collection::vec(value(&e.kind), 0..3).prop_map(Value::Array).boxed(),
            TypeKind::Map(k, v) => {
                prop::collection::vec((present_value(&k.kind), value(&v.kind)), 0..3).prop_map(Value::Map).boxed()
            }
            TypeKind::Multiset(e) => {
                prop::collection::vec((present_value(&e.kind), (1..9_i64).prop_map(Value::Int)), 0..3)
                    .prop_map(Value::Map)
                    .boxed()
            }
            TypeKind::Row(f) => {
                f.iter().map(|f| value(&f.data_type.kind)).collect::<Vec<_>>().prop_map(Value::Row).boxed()
            }
            _ => any::<i64>().prop_map(Value::Timestamp).boxed(),
        };
        prop_oneof![1 => Just(Value::Null), 4 => present].boxed()
    }

    fn present_value(kind: &TypeKind) -> BoxedStrategy<Value> {
        value(kind).prop_filter("a map's key is not NULL", |v| !v.is_null()).boxed()
    }

    fn rows(types: Vec<TypeKind>) -> impl Strategy<Value = Vec<Vec<Value>>> {
        prop::collection::vec(types.iter().map(value).collect::<Vec<_>>(), 0..12)
    }

    // The order that SQL gives values of one type, NULL first.
    fn order(a: &Value, b: &Value) -> Ordering {
        match (a, b) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Less,
            (_, Value::Null) => Ordering::Greater,
            (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            (Value::Double(a), Value::Double(b)) => a.total_cmp(b),
            (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) | (Value::Time(a), Value::Time(b)) => a.cmp(b),
            (Value::Months(a), Value::Months(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) | (Value::Millis(a), Value::Millis(b)) => a.cmp(b),
            other => panic!("two types: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn keys_come_back_as_the_columns_they_were(rows in rows([flat(), nested()].concat())) {
            let types: Vec<TypeKind> = [flat(), nested()].concat();
            let sql: Vec<DataType> = types.iter().cloned().map(DataType::new).collect();
            let keys = keys(&types, &rows);
            let decoded = decode_keys(&sql, keys.iter()).unwrap();
            prop_assert_eq!(decoded, columns(&types, &rows));
            for key in keys.iter() {
                let (head, rest) = split_key(&sql, key).unwrap();
                prop_assert!(rest.is_empty() && head == key);
            }
        }

        #[test]
        fn keys_sort_as_their_values(rows in rows(flat())) {
            for (c, kind) in flat().into_iter().enumerate() {
                let single: Vec<Vec<Value>> = rows.iter().map(|r| vec![r[c].clone()]).collect();
                let keys = keys(std::slice::from_ref(&kind), &single);
                for (a, left) in single.iter().enumerate() {
                    for (b, right) in single.iter().enumerate() {
                        prop_assert_eq!(keys.key(a).cmp(keys.key(b)), order(&left[0], &right[0]), "{:?}", kind);
                    }
                }
            }
        }

        #[test]
        fn no_key_is_a_prefix_of_another(rows in rows([flat(), nested()].concat())) {
            let types: Vec<TypeKind> = [flat(), nested()].concat();
            for (c, kind) in types.into_iter().enumerate() {
                let single: Vec<Vec<Value>> = rows.iter().map(|r| vec![r[c].clone()]).collect();
                let keys = keys(std::slice::from_ref(&kind), &single);
                for a in keys.iter() {
                    for b in keys.iter() {
                        prop_assert!(a == b || !b.starts_with(a));
                    }
                }
            }
        }

        #[test]
        fn rows_come_back_as_the_columns_they_were(rows in rows([flat(), nested()].concat())) {
            let types: Vec<TypeKind> = [flat(), nested()].concat();
            let sql: Vec<DataType> = types.iter().cloned().map(DataType::new).collect();
            let columns = columns(&types, &rows);
            let encoded: Vec<Vec<u8>> = (0..rows.len()).map(|row| {
                let mut bytes = Vec::new();
                encode_row(&columns, row, &mut bytes).unwrap();
                bytes
            }).collect();
            prop_assert_eq!(decode_rows(&sql, encoded.iter().map(Vec::as_slice)).unwrap(), columns);
        }

        #[test]
        fn damaged_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for kind in [flat(), nested()].concat() {
                let sql = [DataType::new(kind)];
                // Whatever comes back, nothing panics.
                let answers = [
                    decode_keys(&sql, std::iter::once(bytes.as_slice())).is_ok(),
                    decode_rows(&sql, std::iter::once(bytes.as_slice())).is_ok(),
                    split_key(&sql, &bytes).is_ok(),
                ];
                std::hint::black_box(answers);
            }
        }
    }

    #[test]
    fn the_bytes_of_known_keys_never_change() {
        let text = |s: &str| Value::String(s.into());
        let cases: [(TypeKind, Value, &[u8]); 14] = [
            (TypeKind::Int, Value::Null, &[0]),
            (TypeKind::Boolean, Value::Boolean(true), &[1, 1]),
            (TypeKind::TinyInt, Value::Int(-1), &[1, 0x7f]),
            (TypeKind::SmallInt, Value::Int(1), &[1, 0x80, 1]),
            (TypeKind::Int, Value::Int(-2), &[1, 0x7f, 0xff, 0xff, 0xfe]),
            (TypeKind::BigInt, Value::Int(42), &[1, 0x80, 0, 0, 0, 0, 0, 0, 42]),
            (TypeKind::Double, Value::Double(1.0), &[1, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0]),
            (TypeKind::Double, Value::Double(-1.0), &[1, 0x40, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (TypeKind::Float, Value::Float(0.5), &[1, 0xbf, 0, 0, 0]),
            (
                TypeKind::Decimal { precision: 5, scale: 2 },
                Value::Decimal(125),
                &[1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 125],
            ),
            (TypeKind::VarChar(9), text("a\0b"), &[1, b'a', 0, 0xff, b'b', 0, 0]),
            (TypeKind::Date, Value::Date(1), &[1, 0x80, 0, 0, 1]),
            (TypeKind::Timestamp(3), Value::Timestamp(256), &[1, 0x80, 0, 0, 0, 0, 0, 1, 0]),
            (
                TypeKind::Array(Box::new(DataType::string())),
                Value::Array(vec![text("a"), Value::Null]),
                &[1, 1, 1, b'a', 0, 0, 1, 0, 0],
            ),
        ];
        for (kind, value, bytes) in cases {
            assert_eq!(keys(std::slice::from_ref(&kind), &[vec![value]]).key(0), bytes, "{kind}");
        }
        let mut row = Vec::new();
        let types = [TypeKind::VarChar(9), TypeKind::Int, TypeKind::Null];
        encode_row(&columns(&types, &[vec![text("ab"), Value::Int(1), Value::Null]]), 0, &mut row).unwrap();
        assert_eq!(row, [0b100, 2, b'a', b'b', 1, 0, 0, 0]);
    }

    #[test]
    fn sliced_columns_encode_the_rows_of_the_slice() {
        let array: ArrayRef = Arc::new(StringArray::from(vec![Some("zero\0"), None, Some("two")]));
        let mut keys = KeyBuffer::default();
        encode_keys(&[array.slice(1, 2)], 2, &mut keys).unwrap();
        assert_eq!(keys.iter().collect::<Vec<_>>(), [&[0][..], b"\x01two\0\0"]);
    }

    #[test]
    fn nan_is_one_value_above_all_others() {
        let values = [f64::NAN, -f64::NAN, f64::INFINITY];
        let rows: Vec<Vec<Value>> = values.iter().map(|v| vec![Value::Double(*v)]).collect();
        let keys = keys(&[TypeKind::Double], &rows);
        assert_eq!(keys.key(0), keys.key(1));
        assert!(keys.key(0) > keys.key(2));
    }
}
