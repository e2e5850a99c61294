//! The accumulators whose state is a fixed handful of numbers (or one value) per group, as columns by slot.
//!
//! A [`Fold`] says what one row does to one slot; the loops over rows, NULLs, FILTER and DISTINCT stand once, in the parent module.

use wiesel_core::{Error, Result};

use super::history::History;
use super::values::{Input, Values, from_sortable, sortable};
use crate::state::codec::{Reader, put_bytes, put_varint};

/// One accumulator over the slots of a group table.
pub(crate) trait Fold: Send + 'static {
    /// What it takes per row.
    type In: ?Sized;
    /// The value of an input row.
    fn value(input: &Input, row: usize) -> &Self::In;
    /// Makes room for that many slots.
    fn grow(&mut self, slots: usize);
    /// Brings a slot back to the state of no row.
    fn reset(&mut self, slot: usize);
    /// Takes a row in. `sequence` grows with arrival.
    fn add(&mut self, slot: usize, value: &Self::In, sequence: u64);
    /// Takes a row back.
    fn retract(&mut self, slot: usize, value: &Self::In);
    /// Appends the result of a slot.
    fn push(&self, slot: usize, out: &mut Values);
    /// Adds what a slot of another accumulator of the same kind holds.
    fn merge(&mut self, slot: usize, other: &Self, other_slot: usize);
    /// Appends the state of a slot for a checkpoint.
    fn encode(&self, slot: usize, out: &mut Vec<u8>);
    /// Takes a slot's state back and returns the highest sequence number in it.
    fn decode(&mut self, slot: usize, reader: &mut Reader<'_>) -> Result<u64>;
    /// Bytes held, by capacity.
    fn bytes(&self) -> usize;
    /// The table of its own that it keeps, if it keeps one.
    fn history(&mut self) -> Option<&mut dyn History> {
        None
    }
}

/// COUNT(x), COUNT(*) FILTER: how many rows came through.
#[derive(Debug, Default)]
pub(crate) struct Count(Vec<i64>);

impl Fold for Count {
    type In = ();
    fn value(_: &Input, _: usize) -> &() {
        &()
    }
    fn grow(&mut self, slots: usize) {
        self.0.resize(slots.max(self.0.len()), 0);
    }
    fn reset(&mut self, slot: usize) {
        self.0[slot] = 0;
    }
    fn add(&mut self, slot: usize, (): &(), _: u64) {
        self.0[slot] += 1;
    }
    fn retract(&mut self, slot: usize, (): &()) {
        self.0[slot] -= 1;
    }
    fn push(&self, slot: usize, out: &mut Values) {
        out.push_number(self.0[slot]);
    }
    fn merge(&mut self, slot: usize, other: &Self, other_slot: usize) {
        self.0[slot] += other.0[other_slot];
    }
    fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        put_varint(self.0[slot].cast_unsigned(), out);
    }
    fn decode(&mut self, slot: usize, reader: &mut Reader<'_>) -> Result<u64> {
        self.0[slot] = reader.varint()?.cast_signed();
        Ok(0)
    }
    fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<i64>()
    }
}

/// What SUM and AVG add up.
pub(crate) trait Addend: Copy + Default + Send + 'static {
    type In: Copy;
    fn read(input: &Input, row: usize) -> &Self::In;
    /// `None` when the sum leaves the type's range: it becomes NULL, as in Flink.
    fn plus(self, value: Self::In, is_single: bool) -> Option<Self>;
    fn minus(self, value: Self::In, is_single: bool) -> Option<Self>;
    fn join(self, other: Self) -> Option<Self>;
    fn to_bits(self) -> i128;
    fn from_bits(bits: i128) -> Self;
}

impl Addend for i64 {
    type In = i64;
    fn read(input: &Input, row: usize) -> &i64 {
        &input.numbers[row]
    }
    fn plus(self, value: i64, _: bool) -> Option<Self> {
        Some(self.wrapping_add(value))
    }
    fn minus(self, value: i64, _: bool) -> Option<Self> {
        Some(self.wrapping_sub(value))
    }
    fn join(self, other: Self) -> Option<Self> {
        Some(self.wrapping_add(other))
    }
    fn to_bits(self) -> i128 {
        i128::from(self)
    }
    fn from_bits(bits: i128) -> Self {
        i64::try_from(bits).unwrap_or_default()
    }
}

/// The highest number of 38 digits.
const DECIMAL_MAX: i128 = 10_i128.pow(38) - 1;

fn in_range(value: i128) -> Option<i128> {
    (-DECIMAL_MAX..=DECIMAL_MAX).contains(&value).then_some(value)
}

impl Addend for i128 {
    type In = i128;
    fn read(input: &Input, row: usize) -> &i128 {
        &input.decimals[row]
    }
    fn plus(self, value: i128, _: bool) -> Option<Self> {
        self.checked_add(value).and_then(in_range)
    }
    fn minus(self, value: i128, _: bool) -> Option<Self> {
        self.checked_sub(value).and_then(in_range)
    }
    fn join(self, other: Self) -> Option<Self> {
        self.checked_add(other).and_then(in_range)
    }
    fn to_bits(self) -> i128 {
        self
    }
    fn from_bits(bits: i128) -> Self {
        bits
    }
}

impl Addend for f64 {
    // The number that sorts as the DOUBLE does.
    type In = i64;
    fn read(input: &Input, row: usize) -> &i64 {
        &input.numbers[row]
    }
    fn plus(self, value: i64, is_single: bool) -> Option<Self> {
        Some(single(self + from_sortable(value), is_single))
    }
    fn minus(self, value: i64, is_single: bool) -> Option<Self> {
        Some(single(self - from_sortable(value), is_single))
    }
    fn join(self, other: Self) -> Option<Self> {
        Some(self + other)
    }
    fn to_bits(self) -> i128 {
        i128::from(f64::to_bits(self).cast_signed())
    }
    fn from_bits(bits: i128) -> Self {
        f64::from_bits(i64::try_from(bits).unwrap_or_default().cast_unsigned())
    }
}

// A sum of FLOAT is rounded to FLOAT after every addition, as Flink's.
#[allow(clippy::cast_possible_truncation, reason = "FLOAT arithmetic")]
fn single(value: f64, is_single: bool) -> f64 {
    if is_single { f64::from(value as f32) } else { value }
}

/// What a sum is turned into.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Finish {
    /// SUM.
    Sum,
    /// SUM of FLOAT.
    SumSingle,
    /// AVG of integers (truncates), FLOAT and DOUBLE.
    Average,
    /// AVG of DECIMAL: the digits that the result's scale has more than the input's.
    AverageDecimal(u32),
}

/// SUM and AVG: the sum, and how many values are in it; of no value, NULL.
#[derive(Debug)]
pub(crate) struct Sum<T> {
    finish: Finish,
    cells: Vec<(T, i64)>,
}

impl<T: Addend> Sum<T> {
    pub(crate) fn new(finish: Finish) -> Self {
        Sum { finish, cells: Vec::new() }
    }

    fn is_single(&self) -> bool {
        matches!(self.finish, Finish::SumSingle)
    }
}

/// Writes a finished sum; one implementation per type of sum.
pub(crate) trait PushSum: Addend {
    fn push(sum: Self, count: i64, finish: Finish, out: &mut Values);
}

impl PushSum for i64 {
    fn push(sum: i64, count: i64, finish: Finish, out: &mut Values) {
        match finish {
            Finish::Average => out.push_number(sum.wrapping_div(count)),
            _ => out.push_number(sum),
        }
    }
}

impl PushSum for f64 {
    #[allow(clippy::cast_precision_loss, reason = "AVG of DOUBLE divides by the count as a DOUBLE")]
    fn push(sum: f64, count: i64, finish: Finish, out: &mut Values) {
        match finish {
            Finish::Average => out.push_number(sortable(sum / count as f64)),
            _ => out.push_number(sortable(sum)),
        }
    }
}

impl PushSum for i128 {
    fn push(sum: i128, count: i64, finish: Finish, out: &mut Values) {
        let Finish::AverageDecimal(digits) = finish else {
            out.push_decimal(sum);
            return;
        };
        match divide(sum, i128::from(count), digits) {
            Some(average) => out.push_decimal(average),
            None => out.push_null(),
        }
    }
}

/// `sum / count` with that many digits more, rounded half up (away from zero); `None` when it has more than 38 digits.
fn divide(sum: i128, count: i128, digits: u32) -> Option<i128> {
    let scale = 10_i128.checked_pow(digits)?;
    let (whole, rest) = (sum.checked_div(count)?, sum % count);
    // The rest is below the count, which fits 64 bits; the scale has at most 38 digits, so this may overflow only for absurd scales.
    let scaled = rest.checked_mul(scale)?;
    let (part, left) = (scaled / count, scaled % count);
    let up = if left.abs() * 2 >= count.abs() { (sum.signum()) * count.signum() } else { 0 };
    whole.checked_mul(scale)?.checked_add(part)?.checked_add(up).and_then(in_range)
}

impl<T: PushSum> Fold for Sum<T> {
    type In = T::In;
    fn value(input: &Input, row: usize) -> &T::In {
        T::read(input, row)
    }
    fn grow(&mut self, slots: usize) {
        self.cells.resize(slots.max(self.cells.len()), (T::default(), 0));
    }
    fn reset(&mut self, slot: usize) {
        self.cells[slot] = (T::default(), 0);
    }
    fn add(&mut self, slot: usize, value: &T::In, _: u64) {
        let is_single = self.is_single();
        let (sum, count) = self.cells[slot];
        // A sum out of range is NULL, and the next value starts a new one: Flink's answer.
        self.cells[slot] = sum.plus(*value, is_single).map_or((T::default(), 0), |sum| (sum, count + 1));
    }
    fn retract(&mut self, slot: usize, value: &T::In) {
        let is_single = self.is_single();
        let (sum, count) = self.cells[slot];
        self.cells[slot] = sum.minus(*value, is_single).map_or((T::default(), 0), |sum| (sum, count - 1));
    }
    fn push(&self, slot: usize, out: &mut Values) {
        let (sum, count) = self.cells[slot];
        if count == 0 { out.push_null() } else { T::push(sum, count, self.finish, out) }
    }
    fn merge(&mut self, slot: usize, other: &Self, other_slot: usize) {
        let ((sum, count), (more, more_count)) = (self.cells[slot], other.cells[other_slot]);
        self.cells[slot] = sum.join(more).map_or((T::default(), 0), |sum| (sum, count + more_count));
    }
    fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        let (sum, count) = self.cells[slot];
        out.extend(sum.to_bits().to_le_bytes());
        put_varint(count.cast_unsigned(), out);
    }
    fn decode(&mut self, slot: usize, reader: &mut Reader<'_>) -> Result<u64> {
        self.cells[slot] = (T::from_bits(reader.i128()?), reader.varint()?.cast_signed());
        Ok(0)
    }
    fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<(T, i64)>()
    }
}

/// One value or nothing per slot.
pub(crate) trait Cells: Default + Send + 'static {
    type Value: ?Sized + Ord;
    fn read(input: &Input, row: usize) -> &Self::Value;
    fn grow(&mut self, slots: usize);
    fn get(&self, slot: usize) -> Option<&Self::Value>;
    fn set(&mut self, slot: usize, value: &Self::Value);
    fn clear(&mut self, slot: usize);
    fn push(value: &Self::Value, out: &mut Values);
    fn encode(value: &Self::Value, out: &mut Vec<u8>);
    fn decode(&mut self, slot: usize, reader: &mut Reader<'_>) -> Result<()>;
    fn bytes(&self) -> usize;
}

/// Numbers and decimals.
#[derive(Debug, Default)]
pub(crate) struct Plain<T>(Vec<Option<T>>);

macro_rules! plain_cells {
    ($type:ty, $input:ident, $push:ident, $read:ident) => {
        impl Cells for Plain<$type> {
            type Value = $type;
            fn read(input: &Input, row: usize) -> &$type {
                &input.$input[row]
            }
            fn grow(&mut self, slots: usize) {
                self.0.resize(slots.max(self.0.len()), None);
            }
            fn get(&self, slot: usize) -> Option<&$type> {
                self.0[slot].as_ref()
            }
            fn set(&mut self, slot: usize, value: &$type) {
                self.0[slot] = Some(*value);
            }
            fn clear(&mut self, slot: usize) {
                self.0[slot] = None;
            }
            fn push(value: &$type, out: &mut Values) {
                out.$push(*value);
            }
            fn encode(value: &$type, out: &mut Vec<u8>) {
                out.extend(value.to_le_bytes());
            }
            fn decode(&mut self, slot: usize, reader: &mut Reader<'_>) -> Result<()> {
                self.0[slot] = Some(reader.$read()?);
                Ok(())
            }
            fn bytes(&self) -> usize {
                self.0.capacity() * size_of::<Option<$type>>()
            }
        }
    };
}
plain_cells!(i64, numbers, push_number, i64);
plain_cells!(i128, decimals, push_decimal, i128);

/// Garbage below this is not worth a compaction.
const COMPACT_BYTES_MIN: usize = 64 * 1024;

/// Encoded fields in one arena. A value that fits is overwritten in place.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    arena: Vec<u8>,
    places: Vec<FieldPlace>,
    garbage_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct FieldPlace {
    start: usize,
    room: u32,
    // 0 = no value: an encoded field has at least its marker.
    length: u32,
}

impl Fields {
    fn compact(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.garbage_bytes);
        for place in &mut self.places {
            let start = arena.len();
            arena.extend_from_slice(&self.arena[place.start..place.start + place.length as usize]);
            *place = FieldPlace { start, room: place.length, length: place.length };
        }
        self.arena = arena;
        self.garbage_bytes = 0;
    }
}

impl Cells for Fields {
    type Value = [u8];
    fn read(input: &Input, row: usize) -> &[u8] {
        input.bytes.key(row)
    }
    fn grow(&mut self, slots: usize) {
        self.places.resize(slots.max(self.places.len()), FieldPlace::default());
    }
    fn get(&self, slot: usize) -> Option<&[u8]> {
        let place = self.places[slot];
        (place.length > 0).then(|| &self.arena[place.start..place.start + place.length as usize])
    }
    fn set(&mut self, slot: usize, value: &[u8]) {
        let place = &mut self.places[slot];
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        if length > place.room {
            self.garbage_bytes += place.room as usize;
            *place = FieldPlace { start: self.arena.len(), room: length, length };
            self.arena.extend_from_slice(value);
            if self.garbage_bytes > COMPACT_BYTES_MIN && self.garbage_bytes * 2 > self.arena.len() {
                self.compact();
            }
        } else {
            place.length = length;
            self.arena[place.start..place.start + value.len()].copy_from_slice(value);
        }
    }
    fn clear(&mut self, slot: usize) {
        self.places[slot].length = 0;
    }
    fn push(value: &[u8], out: &mut Values) {
        out.push_bytes(value);
    }
    fn encode(value: &[u8], out: &mut Vec<u8>) {
        put_bytes(value, out);
    }
    fn decode(&mut self, slot: usize, reader: &mut Reader<'_>) -> Result<()> {
        let value = reader.bytes()?;
        if value.is_empty() {
            return Err(Error::internal("a state entry holds a value without bytes"));
        }
        self.set(slot, value);
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.arena.capacity() + self.places.capacity() * size_of::<FieldPlace>()
    }
}

/// MIN and MAX over rows that are never taken back: the best value so far.
#[derive(Debug, Default)]
pub(crate) struct Extreme<C> {
    cells: C,
    is_max: bool,
}

impl<C: Cells> Extreme<C> {
    pub(crate) fn new(order: Order) -> Self {
        Extreme { cells: C::default(), is_max: order == Order::Last }
    }
}

/// Which end of an order is wanted: MIN and FIRST_VALUE, or MAX and LAST_VALUE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    First,
    Last,
}

impl<C: Cells> Fold for Extreme<C> {
    type In = C::Value;
    fn value(input: &Input, row: usize) -> &C::Value {
        C::read(input, row)
    }
    fn grow(&mut self, slots: usize) {
        self.cells.grow(slots);
    }
    fn reset(&mut self, slot: usize) {
        self.cells.clear(slot);
    }
    fn add(&mut self, slot: usize, value: &C::Value, _: u64) {
        let is_better = match self.cells.get(slot) {
            None => true,
            Some(best) if self.is_max => value > best,
            Some(best) => value < best,
        };
        if is_better {
            self.cells.set(slot, value);
        }
    }
    fn retract(&mut self, _: usize, _: &C::Value) {
        // Over input that retracts, the parent builds a history instead.
    }
    fn push(&self, slot: usize, out: &mut Values) {
        match self.cells.get(slot) {
            None => out.push_null(),
            Some(value) => C::push(value, out),
        }
    }
    fn merge(&mut self, slot: usize, other: &Self, other_slot: usize) {
        if let Some(value) = other.cells.get(other_slot) {
            self.add(slot, value, 0);
        }
    }
    fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        encode_cell(&self.cells, slot, out);
    }
    fn decode(&mut self, slot: usize, reader: &mut Reader<'_>) -> Result<u64> {
        decode_cell(&mut self.cells, slot, reader)?;
        Ok(0)
    }
    fn bytes(&self) -> usize {
        self.cells.bytes()
    }
}

fn encode_cell<C: Cells>(cells: &C, slot: usize, out: &mut Vec<u8>) {
    match cells.get(slot) {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            C::encode(value, out);
        }
    }
}

fn decode_cell<C: Cells>(cells: &mut C, slot: usize, reader: &mut Reader<'_>) -> Result<()> {
    if reader.byte()? == 0 {
        cells.clear(slot);
        return Ok(());
    }
    cells.decode(slot, reader)
}

/// FIRST_VALUE and LAST_VALUE over rows that are never taken back: the value and when it came.
#[derive(Debug, Default)]
pub(crate) struct Arrival<C> {
    cells: C,
    sequences: Vec<u64>,
    is_last: bool,
}

impl<C: Cells> Arrival<C> {
    pub(crate) fn new(order: Order) -> Self {
        Arrival { cells: C::default(), sequences: Vec::new(), is_last: order == Order::Last }
    }
}

impl<C: Cells> Fold for Arrival<C> {
    type In = C::Value;
    fn value(input: &Input, row: usize) -> &C::Value {
        C::read(input, row)
    }
    fn grow(&mut self, slots: usize) {
        self.cells.grow(slots);
        self.sequences.resize(slots.max(self.sequences.len()), 0);
    }
    fn reset(&mut self, slot: usize) {
        self.cells.clear(slot);
    }
    fn add(&mut self, slot: usize, value: &C::Value, sequence: u64) {
        let is_wanted = match self.cells.get(slot) {
            None => true,
            Some(_) if self.is_last => sequence >= self.sequences[slot],
            Some(_) => sequence < self.sequences[slot],
        };
        if is_wanted {
            self.cells.set(slot, value);
            self.sequences[slot] = sequence;
        }
    }
    fn retract(&mut self, _: usize, _: &C::Value) {
        // Over input that retracts, the parent builds a history instead.
    }
    fn push(&self, slot: usize, out: &mut Values) {
        match self.cells.get(slot) {
            None => out.push_null(),
            Some(value) => C::push(value, out),
        }
    }
    fn merge(&mut self, slot: usize, other: &Self, other_slot: usize) {
        if let Some(value) = other.cells.get(other_slot) {
            self.add(slot, value, other.sequences[other_slot]);
        }
    }
    fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        put_varint(self.sequences[slot], out);
        encode_cell(&self.cells, slot, out);
    }
    fn decode(&mut self, slot: usize, reader: &mut Reader<'_>) -> Result<u64> {
        self.sequences[slot] = reader.varint()?;
        decode_cell(&mut self.cells, slot, reader)?;
        Ok(self.sequences[slot])
    }
    fn bytes(&self) -> usize {
        self.cells.bytes() + self.sequences.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_of_decimals_round_half_up_at_the_results_scale() {
        // sum, count, digits more -> average
        let cases = [
            (5, 2, 0, Some(3)),
            (-5, 2, 0, Some(-3)),
            (10, 4, 1, Some(25)),
            (1, 3, 6, Some(333_333)),
            (2, 3, 6, Some(666_667)),
            (-2, 3, 6, Some(-666_667)),
            (DECIMAL_MAX, 1, 0, Some(DECIMAL_MAX)),
            (DECIMAL_MAX, 1, 1, None),
            (7, 0, 1, None),
        ];
        for (sum, count, digits, expected) in cases {
            assert_eq!(divide(sum, count, digits), expected, "{sum} / {count} with {digits} digits");
        }
    }

    #[test]
    fn doubles_keep_their_order_and_bits_as_numbers() {
        let values = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN];
        for pair in values.windows(2) {
            assert!(sortable(pair[0]) < sortable(pair[1]), "{pair:?}");
        }
        for value in &values[..7] {
            assert_eq!(from_sortable(sortable(*value)).to_bits(), value.to_bits());
        }
    }

    #[test]
    fn a_field_that_grows_moves_and_the_garbage_is_collected() {
        let mut fields = Fields::default();
        fields.grow(2);
        fields.set(1, b"kept");
        for length in 1..2000 {
            fields.set(0, &vec![7; length]);
        }
        assert_eq!((fields.get(0).map(<[u8]>::len), fields.get(1)), (Some(1999), Some(&b"kept"[..])));
        assert!(fields.arena.len() < 4 * COMPACT_BYTES_MIN);
        fields.clear(1);
        assert_eq!(fields.get(1), None);
    }
}
