//! How functions read their arguments and build their results.
//!
//! An argument is a column or a constant, and a function must not care which: every reader has a *step*, 1 for a column and 0 for a
//! constant, and row `i` lives at index `i * step`. So one loop serves both, and a constant is never spread over the rows.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, PrimitiveArray, StringArray, UInt32Array,
    new_empty_array,
};
use arrow_buffer::NullBuffer;
use wiesel_core::{Error, Result, Value};

use crate::function::Operand;

impl Operand {
    /// The column, of one row when it is a constant.
    pub fn array(&self) -> &ArrayRef {
        match self {
            Operand::Column(array) | Operand::Constant(array, _) => array,
        }
    }

    /// The value, when it is a constant.
    pub fn constant(&self) -> Option<&Value> {
        match self {
            Operand::Column(_) => None,
            Operand::Constant(_, value) => Some(value),
        }
    }

    /// 0 for a constant, 1 for a column: row `i` is at index `i * step`.
    pub fn step(&self) -> usize {
        match self {
            Operand::Column(_) => 1,
            Operand::Constant(..) => 0,
        }
    }

    /// Whether the value of a row is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.array().is_null(row * self.step())
    }

    /// A full column; a constant is repeated.
    pub fn into_column(self, rows: usize) -> Result<ArrayRef> {
        match self {
            Operand::Column(array) => Ok(array),
            Operand::Constant(array, _) => repeat(&array, rows),
        }
    }

    /// Which of the rows are NULL; `None` when none is.
    pub fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        match self {
            Operand::Column(array) => array.logical_nulls(),
            Operand::Constant(array, _) if array.is_empty() => None,
            Operand::Constant(array, _) => {
                array.logical_nulls().filter(|n| n.is_null(0)).map(|_| NullBuffer::new_null(rows))
            }
        }
    }

    /// Reads CHAR and VARCHAR.
    pub fn strings(&self) -> Strings<'_> {
        Strings { array: self.array().as_string::<i32>(), step: self.step() }
    }

    /// Reads BINARY and VARBINARY.
    pub fn bytes(&self) -> Bytes<'_> {
        Bytes { array: self.array().as_binary::<i32>(), step: self.step() }
    }

    /// Reads BOOLEAN.
    pub fn booleans(&self) -> Booleans<'_> {
        Booleans { array: self.array().as_boolean(), step: self.step() }
    }

    /// Reads a type that Arrow stores as plain numbers.
    pub fn numbers<T: ArrowPrimitiveType>(&self) -> Numbers<'_, T> {
        Numbers { array: self.array().as_primitive::<T>(), step: self.step() }
    }
}

/// Reads text row by row.
#[derive(Clone, Copy)]
pub struct Strings<'a> {
    array: &'a StringArray,
    step: usize,
}

impl<'a> Strings<'a> {
    /// The text of a row; `None` for NULL.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a str> {
        let index = row * self.step;
        if self.array.is_null(index) { None } else { Some(self.array.value(index)) }
    }

    /// The bytes of text over all rows, to size a result that is about as long.
    pub fn byte_count(&self, rows: usize) -> usize {
        let stored = self.array.value_offsets().last().zip(self.array.value_offsets().first());
        let stored = stored.map_or(0, |(last, first)| usize::try_from(last - first).unwrap_or(0));
        if self.step == 0 { stored.saturating_mul(rows) } else { stored }
    }
}

/// Reads bytes row by row.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    array: &'a BinaryArray,
    step: usize,
}

impl<'a> Bytes<'a> {
    /// The bytes of a row; `None` for NULL.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        let index = row * self.step;
        if self.array.is_null(index) { None } else { Some(self.array.value(index)) }
    }
}

/// Reads booleans row by row.
#[derive(Clone, Copy)]
pub struct Booleans<'a> {
    array: &'a BooleanArray,
    step: usize,
}

impl Booleans<'_> {
    /// The truth value of a row; `None` for NULL.
    #[inline]
    pub fn get(&self, row: usize) -> Option<bool> {
        let index = row * self.step;
        if self.array.is_null(index) { None } else { Some(self.array.value(index)) }
    }
}

/// Reads numbers row by row.
pub struct Numbers<'a, T: ArrowPrimitiveType> {
    array: &'a PrimitiveArray<T>,
    step: usize,
}

impl<T: ArrowPrimitiveType> Clone for Numbers<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ArrowPrimitiveType> Copy for Numbers<'_, T> {}

impl<T: ArrowPrimitiveType> Numbers<'_, T> {
    /// The number of a row; `None` for NULL.
    #[inline]
    pub fn get(&self, row: usize) -> Option<T::Native> {
        let index = row * self.step;
        if self.array.is_null(index) { None } else { Some(self.array.values()[index]) }
    }

    /// The number of a row, whatever it is under a NULL.
    #[inline]
    pub fn raw(&self, row: usize) -> T::Native {
        self.array.values()[row * self.step]
    }
}

/// The rows that are NULL because one of the operands is.
pub fn any_null(operands: &[Operand], rows: usize) -> Option<NullBuffer> {
    let mut nulls: Option<NullBuffer> = None;
    for operand in operands {
        nulls = NullBuffer::union(nulls.as_ref(), operand.nulls(rows).as_ref());
    }
    nulls
}

/// A column of `rows` times the one value of `array`.
pub fn repeat(array: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    if rows == array.len() {
        return Ok(Arc::clone(array));
    }
    if rows == 0 {
        return Ok(new_empty_array(array.data_type()));
    }
    Ok(arrow_select::take::take(array, &UInt32Array::from(vec![0_u32; rows]), None)?)
}

/// One number per row out of one number per row; NULL stays NULL. No branch per row, so the compiler can use vector instructions.
pub fn map_numbers<A, R>(a: &Operand, rows: usize, op: impl Fn(A::Native) -> R::Native) -> PrimitiveArray<R>
where
    A: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    let array = a.array().as_primitive::<A>();
    if a.step() == 1 {
        return PrimitiveArray::new(array.values().iter().map(|v| op(*v)).collect(), array.nulls().cloned());
    }
    let value = op(array.values()[0]);
    PrimitiveArray::new(vec![value; rows].into(), a.nulls(rows))
}

/// One number per row out of two; NULL when one of them is.
pub fn zip_numbers<A, B, R>(
    a: &Operand,
    b: &Operand,
    rows: usize,
    op: impl Fn(A::Native, B::Native) -> R::Native,
) -> PrimitiveArray<R>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    let nulls = NullBuffer::union(a.nulls(rows).as_ref(), b.nulls(rows).as_ref());
    let (left, right) = (a.array().as_primitive::<A>().values(), b.array().as_primitive::<B>().values());
    let values: Vec<R::Native> = match (a.step(), b.step()) {
        (1, 1) => left.iter().zip(right).map(|(x, y)| op(*x, *y)).collect(),
        (1, _) => {
            let y = right[0];
            left.iter().map(|x| op(*x, y)).collect()
        }
        (_, 1) => {
            let x = left[0];
            right.iter().map(|y| op(x, *y)).collect()
        }
        _ => vec![op(left[0], right[0]); rows],
    };
    PrimitiveArray::new(values.into(), nulls)
}

/// A reusable compiled form of a text argument (pattern, format, path): compiled again only when the text changes, so once per
/// evaluator when the argument is a constant.
#[derive(Debug)]
pub struct PerText<T> {
    text: String,
    compiled: Option<T>,
}

impl<T> Default for PerText<T> {
    fn default() -> Self {
        PerText { text: String::new(), compiled: None }
    }
}

impl<T> PerText<T> {
    /// The compiled form of `text`.
    #[inline]
    pub fn get(&mut self, text: &str, compile: impl FnOnce(&str) -> Result<T>) -> Result<&mut T> {
        if self.compiled.is_none() || self.text != text {
            self.compiled = None;
            self.compiled = Some(compile(text)?);
            text.clone_into(&mut self.text);
        }
        Ok(self.compiled.as_mut().expect("it was compiled above"))
    }
}

/// The most bytes of text one column may hold: Arrow's offsets are 32 bits wide.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;

/// Builds a text column piece by piece, without a buffer per row. Too much text is an error at the end, never a panic.
#[derive(Debug)]
pub struct TextBuilder {
    builder: StringBuilder,
    byte_count: usize,
}

impl TextBuilder {
    /// For `rows` values of about `bytes` bytes in all.
    pub fn new(rows: usize, bytes: usize) -> TextBuilder {
        TextBuilder { builder: StringBuilder::with_capacity(rows, bytes.min(TEXT_BYTES_MAX)), byte_count: 0 }
    }

    /// Adds text to the open row.
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        self.byte_count = self.byte_count.saturating_add(text.len());
        if self.byte_count <= TEXT_BYTES_MAX {
            self.builder.write_str(text).expect("a StringBuilder takes all text");
        }
    }

    /// Adds a character to the open row.
    #[inline]
    pub fn push(&mut self, c: char) {
        self.push_str(c.encode_utf8(&mut [0; 4]));
    }

    /// Ends the row.
    #[inline]
    pub fn end(&mut self) {
        self.builder.append_value("");
    }

    /// A row of this text.
    #[inline]
    pub fn value(&mut self, text: &str) {
        self.push_str(text);
        self.end();
    }

    /// A row of NULL; nothing may have been pushed into it.
    #[inline]
    pub fn null(&mut self) {
        self.builder.append_null();
    }

    /// A row of this text, or of NULL.
    #[inline]
    pub fn option(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.value(text),
            None => self.null(),
        }
    }

    /// Fails when so many more bytes outgrow one column; asked before text is multiplied.
    pub fn check_room(&self, bytes: usize) -> Result<()> {
        if self.byte_count.saturating_add(bytes) > TEXT_BYTES_MAX {
            return Err(Error::data("the texts that a function makes for one batch exceed 2 GiB"));
        }
        Ok(())
    }

    /// The column.
    pub fn finish(mut self) -> Result<ArrayRef> {
        self.check_room(0)?;
        Ok(Arc::new(self.builder.finish()))
    }
}

impl Write for TextBuilder {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push_str(text);
        Ok(())
    }
}
