//! Values by row number: a generator gives the column of rows `first .. first + count`, the same for the same numbers however they are cut.
//!
//! The random number of row n is a mix of the column's seed and n (SplitMix64's finisher), so there is no state to keep or restore, and a
//! column is one plain loop over consecutive numbers.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, NullArray, StringArray, StructArray,
    Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    UInt64Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::types::timestamp_unit;
use wiesel_core::{Error, Result, TypeKind};

use super::realistic::{Choice, EventTime, Pick, Text, rank};

/// Makes one column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Generator {
    /// The column's type.
    pub(super) kind: TypeKind,
    /// Tells this column's numbers from all others'.
    pub(super) seed: u64,
    /// Share of NULLs.
    pub(super) null_rate: f64,
    /// What the values are.
    pub(super) generate: Generate,
}

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Generate {
    /// TRUE or FALSE.
    Boolean,
    /// Integers and intervals, both bounds included.
    /// `skew`: the n-th of them as if it had the weight n^-skew.
    Integer { min: i64, max: i64, skew: f64 },
    /// FLOAT and DOUBLE.
    Float { min: f64, max: f64 },
    /// DECIMAL, bounds as unscaled digits.
    Decimal { min: i128, max: i128 },
    /// Hexadecimal text, or bytes.
    Text { length: u32, is_var_len: bool },
    /// The current date of the session's zone.
    Today,
    /// The current time of day of the session's zone.
    TimeOfDay,
    /// Now, or up to so much earlier.
    Timestamp { past_ms_max: u64 },
    /// ARRAY and MULTISET (one child), MAP (key and value).
    Collection { length: u32, is_var_len: bool, children: Vec<Generator> },
    /// ROW.
    Row(Vec<Generator>),
    /// `start`, `start + 1`, ... up to `end`.
    Sequence { start: i64, end: i64 },
    /// One of the values that are given.
    Choice(Choice),
    /// A text of some kind.
    Words { text: Text, pick: Pick },
    /// Times that go on with the rows.
    EventTime(EventTime),
}

/// The clock as one batch sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    /// Milliseconds since 1970 UTC.
    pub(super) epoch_ms: i64,
    /// The date in the session's zone, days since 1970.
    pub(super) local_day: i32,
    /// The time of day in the session's zone, ms.
    pub(super) local_ms_of_day: i32,
}

/// Apart from the values' own numbers: whether a value is NULL, and how long it is.
const NULL_SALT: u64 = 0x6E75_6C6C;
const LENGTH_SALT: u64 = 0x6C65_6E67_7468;
/// Counters of entries in a MULTISET.
const MULTISET_COUNT: i32 = 1;

/// The random number of `row` in the stream `seed`.
pub(super) fn random(seed: u64, row: u64) -> u64 {
    let mut x = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(row.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Brings a random number into `0 .. count`; a count of 0 stands for 2^64.
pub(super) fn below(random: u64, count: u64) -> u64 {
    if count == 0 {
        return random;
    }
    u64::try_from((u128::from(random) * u128::from(count)) >> 64).unwrap_or(0)
}

/// A random number as a share in `[0, 1)`.
pub(super) fn share(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

impl Generator {
    /// About how many bytes a value takes.
    pub(super) fn width(&self) -> usize {
        match &self.generate {
            Generate::Text { length, .. } => *length as usize + 4,
            Generate::Collection { length, children, .. } => (*length as usize)
                .saturating_mul(children.iter().map(Generator::width).sum::<usize>())
                .saturating_add(4),
            Generate::Row(children) => children.iter().map(Generator::width).sum(),
            Generate::Words { text, .. } => text.length_max() + 4,
            Generate::Choice(choice) => 16 + choice.values.get_array_memory_size() / choice.values.len().max(1),
            _ => 16,
        }
    }

    /// The column of the given rows.
    pub(super) fn column(&self, rows: Range<u64>, now: Now) -> Result<ArrayRef> {
        let nulls = self.nulls(&rows);
        macro_rules! numbers {
            ($array:ty, $value:expr) => {{
                let value = $value;
                let values: Vec<_> = rows.map(value).collect();
                Arc::new(<$array>::new(ScalarBuffer::from(values), nulls)) as ArrayRef
            }};
        }
        Ok(match &self.generate {
            Generate::Boolean if self.kind == TypeKind::Null => Arc::new(NullArray::new(count(&rows))),
            Generate::Boolean => {
                let values =
                    BooleanBuffer::collect_bool(count(&rows), |i| random(self.seed, rows.start + i as u64) & 1 == 1);
                Arc::new(BooleanArray::new(values, nulls))
            }
            Generate::Integer { min, max, skew } => {
                let (min, skew, span) = (*min, *skew, max.wrapping_sub(*min).cast_unsigned().wrapping_add(1));
                let value = |row| {
                    let random = random(self.seed, row);
                    let number = if skew > 0.0 { rank(share(random), span, skew) } else { below(random, span) };
                    min.wrapping_add(number.cast_signed())
                };
                // The bounds were checked against the type, so the narrowing casts lose nothing.
                match self.kind {
                    TypeKind::TinyInt => numbers!(Int8Array, |row| value(row) as i8),
                    TypeKind::SmallInt => numbers!(Int16Array, |row| value(row) as i16),
                    TypeKind::Int | TypeKind::IntervalYearMonth => numbers!(Int32Array, |row| value(row) as i32),
                    _ => numbers!(Int64Array, value),
                }
            }
            Generate::Float { min, max } => {
                let value = |row| min + share(random(self.seed, row)) * (max - min);
                match self.kind {
                    TypeKind::Float => numbers!(Float32Array, |row| value(row) as f32),
                    _ => numbers!(Float64Array, value),
                }
            }
            Generate::Decimal { min, max } => {
                let span = (*max - *min).unsigned_abs() + 1;
                let values: ScalarBuffer<i128> = rows
                    .map(|row| {
                        let wide =
                            u128::from(random(self.seed, row)) << 64 | u128::from(random(self.seed ^ NULL_SALT, row));
                        min + (wide % span).cast_signed()
                    })
                    .collect();
                Arc::new(Decimal128Array::new(values, nulls).with_data_type(self.kind.to_arrow()))
            }
            Generate::Text { length, is_var_len } => self.text(&rows, *length, *is_var_len, nulls)?,
            Generate::Today => numbers!(Date32Array, |_| now.local_day),
            Generate::TimeOfDay => numbers!(Time32MillisecondArray, |_| now.local_ms_of_day),
            Generate::Timestamp { past_ms_max } => {
                let value = |row| {
                    let past = below(random(self.seed, row), past_ms_max.saturating_add(1));
                    now.epoch_ms.saturating_sub_unsigned(past)
                };
                match self.time_unit()? {
                    TimeUnit::Microsecond => numbers!(TimestampMicrosecondArray, |row| value(row).saturating_mul(1000)),
                    TimeUnit::Nanosecond => {
                        numbers!(TimestampNanosecondArray, |row| value(row).saturating_mul(1_000_000))
                    }
                    _ => numbers!(TimestampMillisecondArray, value),
                }
            }
            Generate::EventTime(times) => {
                let value = |row| times.at(self.seed, row);
                match self.time_unit()? {
                    TimeUnit::Microsecond => numbers!(TimestampMicrosecondArray, value),
                    TimeUnit::Nanosecond => numbers!(TimestampNanosecondArray, |row| value(row).saturating_mul(1000)),
                    _ => numbers!(TimestampMillisecondArray, |row| value(row).div_euclid(1000)),
                }
            }
            Generate::Choice(choice) => {
                let places = rows.map(|row| choice.place(self.seed, row)).collect::<ScalarBuffer<u64>>();
                arrow_select::take::take(&choice.values, &UInt64Array::new(places, nulls), None)?
            }
            Generate::Words { text, pick } => self.words(rows, text, *pick, nulls)?,
            Generate::Collection { length, is_var_len, children } => {
                self.collection(&rows, *length, *is_var_len, children, nulls, now)?
            }
            Generate::Row(children) => {
                let ArrowType::Struct(fields) = self.kind.to_arrow() else {
                    return Err(Error::internal(format!("a random row for {}", self.kind)));
                };
                if children.is_empty() {
                    return Ok(Arc::new(StructArray::new_empty_fields(count(&rows), nulls)));
                }
                let columns =
                    children.iter().map(|child| child.column(rows.clone(), now)).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::new(fields, columns, nulls))
            }
            Generate::Sequence { start, .. } => {
                let start = *start;
                let value = |row: u64| start.wrapping_add_unsigned(row);
                match &self.kind {
                    TypeKind::TinyInt => numbers!(Int8Array, |row| value(row) as i8),
                    TypeKind::SmallInt => numbers!(Int16Array, |row| value(row) as i16),
                    TypeKind::Int => numbers!(Int32Array, |row| value(row) as i32),
                    TypeKind::Float => numbers!(Float32Array, |row| value(row) as f32),
                    TypeKind::Double => numbers!(Float64Array, |row| value(row) as f64),
                    TypeKind::Decimal { scale, .. } => {
                        let unit = 10_i128.pow(u32::from(*scale));
                        let values: ScalarBuffer<i128> = rows.map(|row| i128::from(value(row)) * unit).collect();
                        Arc::new(Decimal128Array::new(values, nulls).with_data_type(self.kind.to_arrow()))
                    }
                    TypeKind::Char(_) | TypeKind::VarChar(_) => {
                        let mut texts = StringBuilder::new();
                        for (i, row) in rows.enumerate() {
                            if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                                texts.append_null();
                            } else {
                                texts.append_value(itoa::Buffer::new().format(value(row)));
                            }
                        }
                        Arc::new(texts.finish())
                    }
                    _ => numbers!(Int64Array, value),
                }
            }
        })
    }

    fn nulls(&self, rows: &Range<u64>) -> Option<NullBuffer> {
        if self.null_rate <= 0.0 {
            return None;
        }
        let seed = self.seed ^ NULL_SALT;
        let valid =
            BooleanBuffer::collect_bool(count(rows), |i| share(random(seed, rows.start + i as u64)) >= self.null_rate);
        Some(NullBuffer::new(valid))
    }

    /// Lengths of the rows' values, as offsets.
    fn offsets(&self, rows: &Range<u64>, length: u32, is_var_len: bool) -> OffsetBuffer<i32> {
        let seed = self.seed ^ LENGTH_SALT;
        let lengths = rows.clone().map(|row| match is_var_len {
            true if length > 0 => 1 + below(random(seed, row), length.into()) as usize,
            _ => length as usize,
        });
        OffsetBuffer::from_lengths(lengths)
    }

    fn time_unit(&self) -> Result<TimeUnit> {
        match self.kind {
            TypeKind::Timestamp(precision) | TypeKind::TimestampLtz(precision) => Ok(timestamp_unit(precision)),
            _ => Err(Error::internal(format!("a made-up timestamp for {}", self.kind))),
        }
    }

    fn words(&self, rows: Range<u64>, text: &Text, pick: Pick, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let mut bytes: Vec<u8> = Vec::with_capacity(count(&rows) * text.length_max());
        let mut ends: Vec<i32> = Vec::with_capacity(count(&rows) + 1);
        ends.push(0);
        for row in rows {
            text.write(pick.number(self.seed, row), &mut bytes);
            ends.push(
                i32::try_from(bytes.len()).map_err(|_| Error::internal("a batch of made-up texts is too large"))?,
            );
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?))
    }

    fn text(&self, rows: &Range<u64>, length: u32, is_var_len: bool, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let offsets = self.offsets(rows, length, is_var_len);
        let is_text = self.kind.is_string();
        let mut bytes: Vec<u8> = Vec::with_capacity(offsets.last().copied().unwrap_or(0).unsigned_abs() as usize);
        for (i, row) in rows.clone().enumerate() {
            let end = offsets.get(i + 1).copied().unwrap_or(0).unsigned_abs() as usize;
            let row_seed = random(self.seed, row);
            let mut word = 0;
            while bytes.len() < end {
                let number = random(row_seed, word);
                word += 1;
                let left = end - bytes.len();
                if is_text {
                    let mut digits = [0_u8; 16];
                    for (digit, nibble) in digits.iter_mut().zip(0_u32..) {
                        *digit = DIGITS[(number >> (nibble * 4) & 15) as usize];
                    }
                    bytes.extend(&digits[..left.min(16)]);
                } else {
                    bytes.extend(&number.to_le_bytes()[..left.min(8)]);
                }
            }
        }
        if is_text {
            Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?))
        } else {
            Ok(Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?))
        }
    }

    fn collection(
        &self,
        rows: &Range<u64>,
        length: u32,
        is_var_len: bool,
        children: &[Generator],
        nulls: Option<NullBuffer>,
        now: Now,
    ) -> Result<ArrayRef> {
        let offsets = self.offsets(rows, length, is_var_len);
        // A row owns `length` numbers of its children's streams whether it uses them all or not, so its values do not depend on
        // the rows before it. With a fixed length they are consecutive.
        let items = |child: &Generator| -> Result<ArrayRef> {
            let all = child.column(rows.start * u64::from(length)..rows.end * u64::from(length), now)?;
            if !is_var_len {
                return Ok(all);
            }
            let taken: Vec<u64> = offsets
                .lengths()
                .enumerate()
                .flat_map(|(i, used)| {
                    let first = i as u64 * u64::from(length);
                    first..first + used as u64
                })
                .collect();
            Ok(arrow_select::take::take(&all, &UInt64Array::from(taken), None)?)
        };
        match self.kind.to_arrow() {
            ArrowType::List(field) => {
                let [element] = children else { return Err(Error::internal("an ARRAY has one element type")) };
                Ok(Arc::new(ListArray::try_new(field, offsets.clone(), items(element)?, nulls)?))
            }
            ArrowType::Map(entry_field, is_sorted) => {
                let ArrowType::Struct(fields) = entry_field.data_type() else {
                    return Err(Error::internal("a map's entries are rows"));
                };
                let Some(key) = children.first() else { return Err(Error::internal("a map has keys")) };
                let keys = items(&Generator { null_rate: 0.0, ..key.clone() })?;
                let values: ArrayRef = match children.get(1) {
                    Some(value) => items(value)?,
                    None => Arc::new(Int32Array::from(vec![MULTISET_COUNT; keys.len()])),
                };
                let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
                Ok(Arc::new(MapArray::try_new(entry_field, offsets.clone(), entries, nulls, is_sorted)?))
            }
            _ => Err(Error::internal(format!("a random collection for {}", self.kind))),
        }
    }
}

fn count(rows: &Range<u64>) -> usize {
    usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX)
}
