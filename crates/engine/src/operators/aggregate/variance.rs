//! VAR_POP, VAR_SAMP, STDDEV_POP and STDDEV_SAMP: the sum of the values, the sum of their squares, and their number.
//!
//! Flink rewrites these aggregates into SUM(x * x), SUM(x) and COUNT(x), and computes
//! `(SUM(x * x) - SUM(x) * SUM(x) / COUNT(x)) / n` **in the type of the argument**, `n` being the count, or one less for a sample. So the
//! variance of integers is an integer, divided with truncation and wrapping at the type's width; that of FLOAT is rounded to FLOAT after
//! every step; that of DECIMAL has six digits behind the point. The same is done here, or the answers would differ in the last digits.
//! The standard deviation is the root of that result. Over no value, and a sample of one, the result is NULL.

use wiesel_core::{DataType, Result, TypeKind};
use wiesel_expr::AggregateFunction;
use wiesel_expr::cast::number::double_to_decimal;

use super::fold::Fold;
use super::values::{Input, Values, from_sortable, sortable};
use crate::state::codec::{Reader, put_varint};

/// A type of number that is summed, squared and divided as SQL does it; `None` where the result leaves the type.
pub(crate) trait Moment: Copy + Default + Send + 'static {
    type In: Copy;
    fn read(input: &Input, row: usize) -> &Self::In;
    fn of(value: Self::In, scale: u8) -> Option<Self>;
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
    fn times(self, other: Self) -> Option<Self>;
    fn over(self, count: i64) -> Option<Self>;
    /// The result, or its root, in the argument's type.
    fn push(self, is_root: bool, scale: u8, out: &mut Values);
    fn to_bits(self) -> i128;
    fn from_bits(bits: i128) -> Self;
}

/// An integer of that many bits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Integer<const BITS: u32>(i64);

fn wrapped<const BITS: u32>(value: i64) -> Integer<BITS> {
    let unused = 64 - BITS;
    Integer((value << unused) >> unused)
}

impl<const BITS: u32> Moment for Integer<BITS> {
    type In = i64;
    fn read(input: &Input, row: usize) -> &i64 {
        &input.numbers[row]
    }
    fn of(value: i64, _: u8) -> Option<Self> {
        Some(Integer(value))
    }
    fn plus(self, other: Self) -> Option<Self> {
        Some(wrapped(self.0.wrapping_add(other.0)))
    }
    fn minus(self, other: Self) -> Option<Self> {
        Some(wrapped(self.0.wrapping_sub(other.0)))
    }
    fn times(self, other: Self) -> Option<Self> {
        Some(wrapped(self.0.wrapping_mul(other.0)))
    }
    fn over(self, count: i64) -> Option<Self> {
        if count == 0 { None } else { Some(wrapped(self.0.wrapping_div(count))) }
    }
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "SQL's POWER and CAST do the same")]
    fn push(self, is_root: bool, _: u8, out: &mut Values) {
        out.push_number(if is_root { (self.0 as f64).sqrt() as i64 } else { self.0 });
    }
    fn to_bits(self) -> i128 {
        self.0.into()
    }
    fn from_bits(bits: i128) -> Self {
        Integer(i64::try_from(bits).unwrap_or_default())
    }
}

impl Moment for f64 {
    // The number that sorts as the DOUBLE does.
    type In = i64;
    fn read(input: &Input, row: usize) -> &i64 {
        &input.numbers[row]
    }
    fn of(value: i64, _: u8) -> Option<Self> {
        Some(from_sortable(value))
    }
    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other)
    }
    fn minus(self, other: Self) -> Option<Self> {
        Some(self - other)
    }
    fn times(self, other: Self) -> Option<Self> {
        Some(self * other)
    }
    #[allow(clippy::cast_precision_loss, reason = "DOUBLE divided by BIGINT is computed in DOUBLE")]
    fn over(self, count: i64) -> Option<Self> {
        Some(self / count as f64)
    }
    fn push(self, is_root: bool, _: u8, out: &mut Values) {
        out.push_number(sortable(if is_root { self.sqrt() } else { self }));
    }
    fn to_bits(self) -> i128 {
        f64::to_bits(self).cast_signed().into()
    }
    fn from_bits(bits: i128) -> Self {
        f64::from_bits(i64::try_from(bits).unwrap_or_default().cast_unsigned())
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "FLOAT arithmetic")]
impl Moment for f32 {
    type In = i64;
    fn read(input: &Input, row: usize) -> &i64 {
        &input.numbers[row]
    }
    fn of(value: i64, _: u8) -> Option<Self> {
        Some(from_sortable(value) as f32)
    }
    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other)
    }
    fn minus(self, other: Self) -> Option<Self> {
        Some(self - other)
    }
    fn times(self, other: Self) -> Option<Self> {
        Some(self * other)
    }
    fn over(self, count: i64) -> Option<Self> {
        Some(self / count as f32)
    }
    fn push(self, is_root: bool, _: u8, out: &mut Values) {
        let value = if is_root { f64::from(self).sqrt() as f32 } else { self };
        out.push_number(sortable(value.into()));
    }
    fn to_bits(self) -> i128 {
        f32::to_bits(self).into()
    }
    fn from_bits(bits: i128) -> Self {
        f32::from_bits(u32::try_from(bits).unwrap_or_default())
    }
}

/// A DECIMAL(38, 6), the type of all steps over decimals.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Six(i128);

const SIX_DIGITS: i128 = 1_000_000;
const PRECISION_MAX: u8 = 38;

fn in_range(value: i128) -> Option<Six> {
    (value.unsigned_abs() < 10_u128.pow(38)).then_some(Six(value))
}

/// `value / divisor`, rounded half up.
fn rounded(value: i128, divisor: i128) -> Option<i128> {
    let whole = value.checked_div(divisor)?;
    let rest = value % divisor;
    let up = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
    Some(if up { whole + value.signum() * divisor.signum() } else { whole })
}

impl Moment for Six {
    type In = i128;
    fn read(input: &Input, row: usize) -> &i128 {
        &input.decimals[row]
    }
    fn of(value: i128, scale: u8) -> Option<Self> {
        match scale.checked_sub(6) {
            None | Some(0) => in_range(value.checked_mul(10_i128.checked_pow(u32::from(6 - scale))?)?),
            Some(more) => in_range(rounded(value, 10_i128.checked_pow(u32::from(more))?)?),
        }
    }
    fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(in_range)
    }
    fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(in_range)
    }
    fn times(self, other: Self) -> Option<Self> {
        in_range(rounded(self.0.checked_mul(other.0)?, SIX_DIGITS)?)
    }
    fn over(self, count: i64) -> Option<Self> {
        in_range(rounded(self.0, count.into())?)
    }
    fn push(self, is_root: bool, scale: u8, out: &mut Values) {
        let digits = if is_root {
            #[allow(clippy::cast_precision_loss, reason = "POWER of a DECIMAL is computed in DOUBLE")]
            let root = (self.0 as f64 / 1e6).sqrt();
            double_to_decimal(root, PRECISION_MAX, scale)
        } else {
            10_i128.checked_pow(u32::from(scale.saturating_sub(6))).and_then(|power| self.0.checked_mul(power))
        };
        match digits {
            Some(digits) => out.push_decimal(digits),
            None => out.push_null(),
        }
    }
    fn to_bits(self) -> i128 {
        self.0
    }
    fn from_bits(bits: i128) -> Self {
        Six(bits)
    }
}

/// What is computed out of the sums.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    is_sample: bool,
    is_root: bool,
    /// Digits behind the point of a DECIMAL argument, and of the result.
    scale: u8,
    result_scale: u8,
}

impl Spread {
    /// What a function computes; `None` when it is none of these four.
    pub(crate) fn new(function: AggregateFunction, argument: &DataType, result: &DataType) -> Option<Self> {
        let (is_sample, is_root) = match function {
            AggregateFunction::VarPop => (false, false),
            AggregateFunction::VarSamp => (true, false),
            AggregateFunction::StddevPop => (false, true),
            AggregateFunction::StddevSamp => (true, true),
            _ => return None,
        };
        let scale_of = |t: &DataType| if let TypeKind::Decimal { scale, .. } = t.kind { scale } else { 0 };
        Some(Spread { is_sample, is_root, scale: scale_of(argument), result_scale: scale_of(result) })
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell<T> {
    count: i64,
    sum: T,
    squares: T,
}

/// The accumulator of the four functions.
#[derive(Debug)]
pub(crate) struct Variance<T> {
    spread: Spread,
    cells: Vec<Cell<T>>,
}

impl<T: Moment> Variance<T> {
    pub(crate) fn new(spread: Spread) -> Self {
        Variance { spread, cells: Vec::new() }
    }

    fn result(&self, cell: Cell<T>) -> Option<T> {
        if cell.count <= 0 {
            return None;
        }
        let of_means = cell.sum.times(cell.sum)?.over(cell.count)?;
        let n = if self.spread.is_sample { cell.count - 1 } else { cell.count };
        if n == 0 { None } else { cell.squares.minus(of_means)?.over(n) }
    }
}

impl<T: Moment> Fold for Variance<T> {
    type In = T::In;
    fn value(input: &Input, row: usize) -> &T::In {
        T::read(input, row)
    }
    fn grow(&mut self, slots: usize) {
        self.cells.resize(slots.max(self.cells.len()), Cell::default());
    }
    fn reset(&mut self, slot: usize) {
        self.cells[slot] = Cell::default();
    }
    fn add(&mut self, slot: usize, value: &T::In, _: u64) {
        let cell = self.cells[slot];
        let Some(value) = T::of(*value, self.spread.scale) else { return };
        // A sum out of range starts anew, as SUM does.
        self.cells[slot] = Cell {
            count: cell.count + 1,
            sum: cell.sum.plus(value).unwrap_or_default(),
            squares: value.times(value).and_then(|square| cell.squares.plus(square)).unwrap_or_default(),
        };
    }
    fn retract(&mut self, slot: usize, value: &T::In) {
        let cell = self.cells[slot];
        let Some(value) = T::of(*value, self.spread.scale) else { return };
        self.cells[slot] = Cell {
            count: cell.count - 1,
            sum: cell.sum.minus(value).unwrap_or_default(),
            squares: value.times(value).and_then(|square| cell.squares.minus(square)).unwrap_or_default(),
        };
    }
    fn push(&self, slot: usize, out: &mut Values) {
        match self.result(self.cells[slot]) {
            Some(value) => value.push(self.spread.is_root, self.spread.result_scale, out),
            None => out.push_null(),
        }
    }
    fn merge(&mut self, slot: usize, other: &Self, other_slot: usize) {
        let (cell, more) = (self.cells[slot], other.cells[other_slot]);
        self.cells[slot] = Cell {
            count: cell.count + more.count,
            sum: cell.sum.plus(more.sum).unwrap_or_default(),
            squares: cell.squares.plus(more.squares).unwrap_or_default(),
        };
    }
    fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        let cell = self.cells[slot];
        put_varint(cell.count.cast_unsigned(), out);
        out.extend(cell.sum.to_bits().to_le_bytes());
        out.extend(cell.squares.to_bits().to_le_bytes());
    }
    fn decode(&mut self, slot: usize, reader: &mut Reader<'_>) -> Result<u64> {
        let count = reader.varint()?.cast_signed();
        let (sum, squares) = (T::from_bits(reader.i128()?), T::from_bits(reader.i128()?));
        self.cells[slot] = Cell { count, sum, squares };
        Ok(0)
    }
    fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell<T>>()
    }
}
