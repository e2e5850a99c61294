//! A file into records and a record into fields.
//!
//! A quote has a meaning only at the beginning of a field: `a"b` is three characters, and ` "b"` four. Behind the closing quote only blanks
//! may follow. A record ends at a line feed, a carriage return, or both, outside of quotes.

use super::options::Dialect;
use crate::formats::Cut;

/// Where a field's text lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldText {
    /// In the scratch memory, because quotes or escapes were taken out, instead of in the record.
    pub(super) is_in_scratch: bool,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Why a record has no fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitFault {
    /// The closing quote is missing.
    OpenQuote,
    /// Something else than the delimiter follows a closing quote, at this byte.
    BehindQuote(usize),
}

impl Dialect {
    /// The record that begins at `from`.
    pub(crate) fn next(&self, bytes: &[u8], from: usize, is_at_end: bool) -> Option<Cut> {
        let mut start = from;
        if self.allow_comments {
            start += bytes.get(from..)?.iter().take_while(|b| **b == b' ').count();
        }
        let first = match bytes.get(start) {
            Some(byte) => *byte,
            None if start > from && is_at_end => return Some(Cut { record: None, next: start }),
            None => return None,
        };
        if self.allow_comments && matches!(first, b'#' | b'\n' | b'\r') {
            let (_, next) = self.line_end(bytes, start, false, is_at_end)?;
            return Some(Cut { record: None, next });
        }
        let (end, next) = self.line_end(bytes, start, true, is_at_end)?;
        Some(Cut { record: Some((start, end)), next })
    }

    /// The end of the record that begins at `start`, and the beginning of the next one.
    fn line_end(&self, bytes: &[u8], start: usize, has_quotes: bool, is_at_end: bool) -> Option<(usize, usize)> {
        let at_file_end = is_at_end.then_some((bytes.len(), bytes.len()));
        let Some(length) = memchr::memchr2(b'\n', b'\r', bytes.get(start..)?) else { return at_file_end };
        let line = bytes.get(start..start + length)?;
        let holds = |byte: Option<u8>| byte.is_some_and(|b| memchr::memchr(b, line).is_some());
        if !has_quotes || !(holds(self.quote) || holds(self.escape)) {
            return line_break(bytes, start + length, is_at_end);
        }
        let mut position = start;
        let mut is_field_start = true;
        while let Some(byte) = bytes.get(position).copied() {
            if is_field_start && self.quote == Some(byte) {
                let Some(close) = self.quoted_end(bytes, position + 1) else { return at_file_end };
                position = close + 1;
                is_field_start = false;
            } else if self.escape == Some(byte) {
                position += 2;
                is_field_start = false;
            } else if matches!(byte, b'\n' | b'\r') {
                return line_break(bytes, position, is_at_end);
            } else {
                is_field_start = byte == self.delimiter;
                position += 1;
            }
        }
        at_file_end
    }

    /// The place of the closing quote of a text that begins at `from`.
    fn quoted_end(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let quote = self.quote?;
        let mut position = from;
        loop {
            let rest = bytes.get(position..)?;
            let found = match self.escape.filter(|e| *e != quote) {
                Some(escape) => memchr::memchr2(quote, escape, rest)?,
                None => memchr::memchr(quote, rest)?,
            };
            let at = position + found;
            // An escape and a doubled quote both take the next character along.
            if bytes[at] == quote && bytes.get(at + 1) != Some(&quote) {
                return Some(at);
            }
            position = at + 2;
        }
    }

    /// Takes a record apart.
    pub(super) fn fields(
        &self,
        record: &[u8],
        fields: &mut Vec<FieldText>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), SplitFault> {
        fields.clear();
        scratch.clear();
        let mut position = 0;
        loop {
            position = if self.quote.is_some() && record.get(position) == self.quote.as_ref() {
                self.quoted_field(record, position + 1, fields, scratch)?
            } else {
                self.plain_field(record, position, fields, scratch)
            };
            if position >= record.len() {
                return Ok(());
            }
            // At a delimiter, behind which one more field stands even when the record ends there.
            position += 1;
            if position == record.len() {
                fields.push(FieldText { is_in_scratch: false, start: position, end: position });
                return Ok(());
            }
        }
    }

    fn plain_field(&self, record: &[u8], start: usize, fields: &mut Vec<FieldText>, scratch: &mut Vec<u8>) -> usize {
        let rest = record.get(start..).unwrap_or_default();
        let end = start + memchr::memchr(self.delimiter, rest).unwrap_or(rest.len());
        let Some(escape) = self.escape else {
            fields.push(FieldText { is_in_scratch: false, start, end });
            return end;
        };
        if memchr::memchr(escape, record.get(start..end).unwrap_or_default()).is_none() {
            fields.push(FieldText { is_in_scratch: false, start, end });
            return end;
        }
        let scratch_start = scratch.len();
        let mut position = start;
        while position < record.len() && record[position] != self.delimiter {
            if record[position] == escape && position + 1 < record.len() {
                position += 1;
                scratch.push(escaped(record[position]));
            } else {
                scratch.push(record[position]);
            }
            position += 1;
        }
        fields.push(FieldText { is_in_scratch: true, start: scratch_start, end: scratch.len() });
        position
    }

    fn quoted_field(
        &self,
        record: &[u8],
        start: usize,
        fields: &mut Vec<FieldText>,
        scratch: &mut Vec<u8>,
    ) -> Result<usize, SplitFault> {
        let close = self.quoted_end(record, start).ok_or(SplitFault::OpenQuote)?;
        let text = record.get(start..close).unwrap_or_default();
        let is_special = |byte: u8| Some(byte) == self.quote || Some(byte) == self.escape;
        if text.iter().any(|b| is_special(*b)) {
            let scratch_start = scratch.len();
            let mut position = 0;
            while position < text.len() {
                let byte = text[position];
                if is_special(byte) && position + 1 < text.len() {
                    position += 1;
                    let next = text[position];
                    scratch.push(if Some(byte) == self.escape && Some(byte) != self.quote {
                        escaped(next)
                    } else {
                        next
                    });
                } else {
                    scratch.push(byte);
                }
                position += 1;
            }
            fields.push(FieldText { is_in_scratch: true, start: scratch_start, end: scratch.len() });
        } else {
            fields.push(FieldText { is_in_scratch: false, start, end: close });
        }
        let mut position = close + 1;
        while record.get(position).is_some_and(|b| *b <= b' ' && *b != self.delimiter) {
            position += 1;
        }
        match record.get(position) {
            Some(byte) if *byte != self.delimiter => Err(SplitFault::BehindQuote(position)),
            _ => Ok(position),
        }
    }
}

/// The end of a line and the beginning of the next; a carriage return at the very end may have its line feed still to come.
fn line_break(bytes: &[u8], end: usize, is_at_end: bool) -> Option<(usize, usize)> {
    match (bytes.get(end), bytes.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => Some((end, end + 2)),
        (Some(b'\r'), None) if !is_at_end => None,
        _ => Some((end, end + 1)),
    }
}

/// What an escaped character stands for.
fn escaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        byte => byte,
    }
}
