//! Columns of plain types between wiesel and a worker: their Arrow buffers one behind the other, without a stream around them.
//!
//! ```text
//! argument   validity (bits, empty: no NULL) | values; of texts and bytes: offsets (i32, from 0) | data; of BOOLEAN: bits
//! result     mask (a byte per row, empty: no NULL) | values; of texts and bytes: lengths (i32) | data; of BOOLEAN: a byte per row
//! ```
//! The head holds the lengths; each part begins at a multiple of eight. A worker that meets only such columns never imports pyarrow, which
//! takes several times as long as the interpreter's own start, and reads and writes the buffers in one C call each. DECIMAL and nested
//! types, and all columns of pandas functions, travel as Arrow IPC ([`crate::frame`]).

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, make_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, ToByteSlice};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use serde_json::Value;
use wiesel_core::{Error, Result};

/// Parts begin at a multiple of this.
const ALIGNMENT: usize = 8;

/// Whether columns of the type travel like this.
pub(crate) fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean | DataType::Utf8 | DataType::Binary => true,
        DataType::Decimal128(..) => false,
        other => other.primitive_width().is_some(),
    }
}

/// Appends the columns to a body; gives the lengths of their parts, for the head.
pub(crate) fn encode(batch: &RecordBatch, body: &mut Vec<u8>) -> Result<Vec<Vec<usize>>> {
    body.clear();
    batch.columns().iter().map(|column| encode_column(column, body)).collect()
}

fn encode_column(column: &ArrayRef, body: &mut Vec<u8>) -> Result<Vec<usize>> {
    let mut lengths = Vec::with_capacity(3);
    let mut part = |bytes: &[u8]| {
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
        lengths.push(bytes.len());
    };
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        Some(nulls) => part(nulls.inner().sliced().as_slice()),
        None => part(&[]),
    }
    match column.data_type() {
        DataType::Boolean => part(column.as_boolean().values().sliced().as_slice()),
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            bytes(texts.value_offsets(), texts.value_data(), &mut part);
        }
        DataType::Binary => {
            let binaries = column.as_binary::<i32>();
            bytes(binaries.value_offsets(), binaries.value_data(), &mut part);
        }
        other => {
            let width = other.primitive_width().ok_or_else(|| Error::internal(format!("{other} is no plain type")))?;
            let data = column.to_data();
            let from = data.offset() * width;
            let values = data.buffers().first().and_then(|all| all.as_slice().get(from..from + data.len() * width));
            part(values.ok_or_else(|| Error::internal(format!("a column of {other} without its values")))?);
        }
    }
    Ok(lengths)
}

fn bytes(offsets: &[i32], data: &[u8], part: &mut impl FnMut(&[u8])) {
    let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    let from_zero: Vec<i32> = offsets.iter().map(|offset| offset - first).collect();
    part(from_zero.to_byte_slice());
    part(data.get(first.as_usize()..last.as_usize()).unwrap_or(&[]));
}

/// A column of results, from the front of a body.
pub(crate) fn decode(rest: &mut &[u8], lengths: &Value, rows: usize, data_type: &DataType) -> Result<ArrayRef> {
    let mut lengths = lengths.as_array().into_iter().flatten();
    let mut part = || take(rest, lengths.next());
    let bits = |bytes: &[u8]| match bytes.len() == rows {
        true => Ok(BooleanBuffer::collect_bool(rows, |row| bytes.get(row).is_some_and(|byte| *byte != 0))),
        false => Err(Error::internal(format!("a worker gave {} results for {rows} rows", bytes.len()))),
    };
    let mask = part()?;
    let nulls = if mask.is_empty() { None } else { Some(NullBuffer::new(bits(mask)?)) };
    let column = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls);
    let column = match data_type {
        DataType::Boolean => column.add_buffer(bits(part()?)?.into_inner()),
        DataType::Utf8 | DataType::Binary => {
            let (lengths, data) = (part()?, part()?);
            let mut offset = 0_i32;
            let mut offsets = Vec::with_capacity(rows + 1);
            offsets.push(offset);
            for length in lengths.as_chunks::<4>().0 {
                let next = offset.checked_add(i32::from_le_bytes(*length));
                offset = next.ok_or_else(|| Error::internal("a worker's texts are longer than a column may be"))?;
                offsets.push(offset);
            }
            column.add_buffer(Buffer::from_vec(offsets)).add_buffer(Buffer::from(data))
        }
        _ => column.add_buffer(Buffer::from(part()?)),
    };
    // Checks lengths, offsets and UTF-8: another program wrote them.
    Ok(make_array(column.build()?))
}

/// The next part of a body.
fn take<'a>(rest: &mut &'a [u8], length: Option<&Value>) -> Result<&'a [u8]> {
    let whole: &'a [u8] = rest;
    let length = length.and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok());
    let padded = length.and_then(|length| length.checked_next_multiple_of(ALIGNMENT));
    let taken = length.zip(padded).and_then(|(length, padded)| Some((whole.get(..length)?, whole.get(padded..)?)));
    let (taken, behind) = taken.ok_or_else(|| Error::internal("a worker's answer ends within a column"))?;
    *rest = behind;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BooleanArray, Int32Array, StringArray};
    use arrow_schema::{Field, Schema};
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn a_slice_travels_as_its_own_rows_alone() {
        let columns: [ArrayRef; 3] = [
            Arc::new(Int32Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec![Some("ab"), None, Some("c")])),
            Arc::new(BooleanArray::from(vec![false, true, true])),
        ];
        let fields: Vec<Field> = columns.iter().map(|c| Field::new("c", c.data_type().clone(), true)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.to_vec()).unwrap();
        let mut body = Vec::new();
        let lengths = encode(&batch.slice(1, 2), &mut body).unwrap();
        assert_eq!(lengths, [vec![0, 8], vec![1, 12, 1], vec![0, 1]]);
        let parts: Vec<u8> = [&[2, 0, 0, 0, 3, 0, 0, 0][..], &[0b10, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(body[..16], parts);
        assert_eq!(body[16..28], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!((body[32], body[40], body.len()), (b'c', 0b11, 48));
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        let body = [1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        let cases = [
            (json!([0]), DataType::Int32, 1),
            (json!([0, 4, 8]), DataType::Int32, 3),
            (json!([0, 99]), DataType::Int32, 1),
            (json!([3, 4]), DataType::Int32, 1),
            (json!([0, 4, 1]), DataType::Utf8, 2),
            (json!(null), DataType::Boolean, 1),
        ];
        for (lengths, data_type, rows) in cases {
            assert!(decode(&mut &body[..], &lengths, rows, &data_type).is_err(), "{lengths}");
        }
        let column = decode(&mut &body[..], &json!([1, 4]), 1, &DataType::Int32).unwrap();
        assert_eq!(*column, Int32Array::from(vec![7]));
    }
}
