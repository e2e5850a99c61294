//! Objects of declared fields: the document itself and ROW columns.
//!
//! Producers write their fields in one order, document after document. So for every field name that was ever seen (declared or not) the
//! object remembers the bytes `"name":` and which name followed last time. The usual field then costs one or two word comparisons; only
//! a surprise is looked up. What is remembered is bounded ([`NAMES_MAX`]); documents with ever-changing names take the slow way.

use std::collections::BTreeMap;

use arrow_array::{ArrayRef, StructArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema as arrow;
use wiesel_core::Result;
use wiesel_core::types::{DataType, Field};

use super::column::{Column, ReadContext};
use super::scan::{DEPTH_MAX, Expected, Fault, byte_at, key_end, skip_blank, skip_value, unescape, word_at};

/// How many names one object remembers.
const NAMES_MAX: usize = 1024;

/// The longest name that is remembered.
const NAME_BYTES_MAX: usize = 256;

/// The target of names that no column has.
const UNDECLARED: usize = usize::MAX;

/// A name seen in documents.
struct KnownName {
    /// `"name":`, as it stands in the document.
    text: Box<[u8]>,
    /// The first up to eight bytes of it, and which of them count.
    head: u64,
    head_mask: u64,
    /// The last eight bytes of it, when it has more than eight.
    tail: u64,
    /// The column it belongs to, or [`UNDECLARED`].
    target: usize,
    /// Which name came next, last time.
    next: usize,
}

impl KnownName {
    fn new(text: Box<[u8]>, target: usize) -> Self {
        let mut head = [0; 8];
        let length = text.len().min(8);
        if let (Some(to), Some(from)) = (head.get_mut(..length), text.get(..length)) {
            to.copy_from_slice(from);
        }
        let head_mask = if length == 8 { u64::MAX } else { (1 << (8 * length)) - 1 };
        let tail = text.last_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        KnownName { text, head: u64::from_le_bytes(head), head_mask, tail, target, next: 0 }
    }

    /// Whether the document goes on with this name and its colon.
    #[inline(always)]
    fn is_at(&self, bytes: &[u8], pos: usize) -> bool {
        let length = self.text.len();
        let Some(word) = word_at(bytes, pos) else {
            return bytes.get(pos..).is_some_and(|rest| rest.starts_with(&self.text));
        };
        if (word ^ self.head) & self.head_mask != 0 {
            return false;
        }
        if length <= 8 {
            return true;
        }
        if word_at(bytes, pos + length - 8) != Some(self.tail) {
            return false;
        }
        length <= 16 || bytes.get(pos..pos + length) == Some(&*self.text)
    }
}

/// Rows of named fields under construction.
pub(in crate::formats) struct ObjectColumn {
    fields: Vec<(Box<[u8]>, DataType)>,
    arrow_fields: arrow::Fields,
    columns: Vec<Column>,
    rows: usize,
    nulls: NullBufferBuilder,
    /// The document in which each column was seen last; tells duplicates and missing fields.
    seen: Vec<u64>,
    document: u64,
    /// The first entry is where every document begins; it matches no text.
    names: Vec<KnownName>,
    name_index: BTreeMap<Box<[u8]>, usize>,
}

impl ObjectColumn {
    pub(in crate::formats) fn new(fields: &[Field]) -> Self {
        ObjectColumn {
            fields: fields.iter().map(|f| (f.name.as_bytes().into(), f.data_type.clone())).collect(),
            arrow_fields: fields.iter().map(|f| arrow::Field::new(&f.name, f.data_type.to_arrow(), true)).collect(),
            columns: fields.iter().map(|f| Column::new(&f.data_type.kind)).collect(),
            rows: 0,
            nulls: NullBufferBuilder::new(0),
            seen: vec![0; fields.len()],
            document: 0,
            names: vec![KnownName::new(Box::new([0]), UNDECLARED)],
            name_index: BTreeMap::new(),
        }
    }

    pub(in crate::formats) fn rows(&self) -> usize {
        self.rows
    }

    pub(in crate::formats) fn reserve(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.reserve(rows);
        }
    }

    pub(in crate::formats) fn push_null(&mut self) {
        for column in &mut self.columns {
            column.push_null();
        }
        self.nulls.append_null();
        self.rows += 1;
    }

    pub(in crate::formats) fn truncate(&mut self, length: usize) {
        for column in &mut self.columns {
            column.truncate(length);
        }
        self.nulls.truncate(length);
        self.rows = length;
    }

    /// The columns, for formats that fill them themselves; each gets one value per row.
    pub(in crate::formats) fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// Ends a row whose values were put into [`ObjectColumn::columns_mut`].
    #[inline]
    pub(in crate::formats) fn end_row(&mut self) {
        self.nulls.append_non_null();
        self.rows += 1;
    }

    /// Reads the object at `pos` as the next row. On failure the caller truncates.
    #[inline]
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        pos: usize,
        context: &mut ReadContext,
        depth: usize,
    ) -> Result<usize, Fault> {
        if byte_at(bytes, pos) != b'{' {
            return Err(Fault::new(pos, Expected::Type));
        }
        if depth >= DEPTH_MAX {
            return Err(Fault::new(pos, Expected::Depth));
        }
        self.document += 1;
        let mut found = 0;
        let mut previous = 0;
        let mut pos = skip_blank(bytes, pos + 1);
        if byte_at(bytes, pos) != b'}' {
            loop {
                let predicted = self.names[previous].next;
                let name = &self.names[predicted];
                let target = if name.is_at(bytes, pos) {
                    pos += name.text.len();
                    previous = predicted;
                    name.target
                } else {
                    let surprise = self.look_up(bytes, pos, previous)?;
                    pos = surprise.value;
                    previous = surprise.name;
                    surprise.target
                };
                pos = skip_blank(bytes, pos);
                if target == UNDECLARED {
                    pos = skip_value(bytes, pos, depth + 1)?;
                } else {
                    found += usize::from(self.seen[target] != self.document);
                    pos = self.read_field(target, bytes, pos, context, depth)?;
                }
                pos = skip_blank(bytes, pos);
                match byte_at(bytes, pos) {
                    b',' => pos = skip_blank(bytes, pos + 1),
                    b'}' => break,
                    _ => return Err(Fault::new(pos, Expected::CommaOrBrace)),
                }
            }
        }
        if found < self.columns.len() {
            self.fill_missing(pos, context)?;
        }
        self.nulls.append_non_null();
        self.rows += 1;
        Ok(pos + 1)
    }

    #[inline(always)]
    fn read_field(
        &mut self,
        target: usize,
        bytes: &[u8],
        pos: usize,
        context: &mut ReadContext,
        depth: usize,
    ) -> Result<usize, Fault> {
        let column = &mut self.columns[target];
        if self.seen[target] == self.document {
            // The same name twice: the last one counts.
            column.truncate(self.rows);
        }
        self.seen[target] = self.document;
        match column.read(bytes, pos, context, depth + 1) {
            Ok(end) => Ok(end),
            Err(fault) => self.field_failed(target, fault, bytes, pos, context, depth),
        }
    }

    /// Makes NULL of a value that is wrong, when errors are ignored; otherwise remembers for the message which field it was.
    #[cold]
    fn field_failed(
        &mut self,
        target: usize,
        fault: Fault,
        bytes: &[u8],
        pos: usize,
        context: &mut ReadContext,
        depth: usize,
    ) -> Result<usize, Fault> {
        let (name, data_type) = &self.fields[target];
        let column = &mut self.columns[target];
        column.truncate(self.rows);
        let mut fault = fault;
        if fault.is_value() {
            // A value of the wrong type is still a value; what is none makes the whole document bad.
            match skip_value(bytes, pos, depth + 1) {
                Ok(end) if context.ignore_parse_errors => {
                    column.push_null();
                    return Ok(end);
                }
                Ok(_) => {}
                Err(syntax) => fault = syntax,
            }
        }
        if !context.ignore_parse_errors {
            context.failed_path.push(String::from_utf8_lossy(name).into_owned());
            if context.failed_type.is_none() {
                context.failed_type = Some(data_type.clone());
            }
        }
        Err(fault)
    }

    /// Gives the columns that the document did not name their NULL.
    #[cold]
    fn fill_missing(&mut self, pos: usize, context: &mut ReadContext) -> Result<(), Fault> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            if self.seen[index] == self.document {
                continue;
            }
            if context.fail_on_missing_field {
                let (name, data_type) = &self.fields[index];
                context.failed_path.push(String::from_utf8_lossy(name).into_owned());
                context.failed_type = Some(data_type.clone());
                return Err(Fault::new(pos, Expected::Field));
            }
            column.push_null();
        }
        Ok(())
    }

    /// Reads a name that was not predicted, and corrects the prediction.
    #[cold]
    #[inline(never)]
    fn look_up(&mut self, bytes: &[u8], pos: usize, previous: usize) -> Result<Surprise, Fault> {
        let (name_end, value) = key_end(bytes, pos)?;
        let raw = bytes.get(pos + 1..name_end).unwrap_or_default();
        if let Some(name) = self.name_index.get(raw).copied() {
            self.names[previous].next = name;
            return Ok(Surprise { value, name, target: self.names[name].target });
        }
        let target = if raw.contains(&b'\\') {
            let mut plain = Vec::with_capacity(raw.len());
            unescape(raw, &mut plain);
            self.target(&plain)
        } else {
            self.target(raw)
        };
        if raw.len() > NAME_BYTES_MAX || self.names.len() > NAMES_MAX {
            return Ok(Surprise { value, name: 0, target });
        }
        let name = self.names.len();
        self.names.push(KnownName::new([b"\"", raw, b"\":"].concat().into(), target));
        self.name_index.insert(raw.into(), name);
        self.names[previous].next = name;
        Ok(Surprise { value, name, target })
    }

    fn target(&self, name: &[u8]) -> usize {
        self.fields.iter().position(|(n, _)| **n == *name).unwrap_or(UNDECLARED)
    }

    /// The columns of everything read; empty afterwards.
    pub(in crate::formats) fn finish_columns(&mut self) -> Result<Vec<ArrayRef>> {
        self.rows = 0;
        self.nulls.finish();
        self.columns.iter_mut().map(Column::finish).collect()
    }

    pub(super) fn finish(&mut self) -> Result<StructArray> {
        let rows = self.rows;
        let nulls = self.nulls.finish();
        let columns = self.finish_columns()?;
        if columns.is_empty() {
            return Ok(StructArray::new_empty_fields(rows, nulls));
        }
        Ok(StructArray::try_new(self.arrow_fields.clone(), columns, nulls)?)
    }
}

/// What an unpredicted name turned out to be.
struct Surprise {
    /// The position behind the colon.
    value: usize,
    /// Its entry, or the first one when it is not remembered.
    name: usize,
    target: usize,
}
