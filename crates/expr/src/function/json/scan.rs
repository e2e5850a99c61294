//! A scanner that checks JSON text and finds values in it without building a tree.
//!
//! All of the document is checked, also behind the value that is found, because a broken document has no value. Depth is bounded, so no
//! text can exhaust the stack.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use super::path::Step;
use crate::operand::TextBuilder;

/// How deep arrays and objects may be nested.
const DEPTH_MAX: usize = 200;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    Text,
    Number,
    /// true, false, null.
    Literal,
}

/// The kind of a checked value.
pub(super) fn kind(raw: &str) -> Kind {
    match raw.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::Text,
        Some(b't' | b'f' | b'n') => Kind::Literal,
        _ => Kind::Number,
    }
}

/// Walks JSON text; every method gives `None` where the text is not JSON.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    /// The kind of the one value that the text is.
    pub(super) fn document(mut self) -> Option<Kind> {
        self.blanks();
        let range = self.value(0)?;
        self.blanks();
        (self.at == self.text.len()).then(|| kind(&self.text[range]))
    }

    /// Adds the places of all values that the steps lead to.
    pub(super) fn find(mut self, steps: &[Step], found: &mut Vec<Range<usize>>) -> Option<()> {
        self.blanks();
        self.find_here(steps, 0, found)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn find_here(&mut self, steps: &[Step], depth: usize, found: &mut Vec<Range<usize>>) -> Option<()> {
        let Some((step, deeper)) = steps.split_first() else {
            found.push(self.value(depth)?);
            return Some(());
        };
        match (self.peek()?, step) {
            (b'{', Step::Member(wanted)) => {
                let mark = found.len();
                self.members(depth, |scanner, key| {
                    if unescape(key) == wanted.as_str() {
                        // Of several members of one name the last counts.
                        found.truncate(mark);
                        scanner.find_here(deeper, depth + 1, found)
                    } else {
                        scanner.value(depth + 1).map(drop)
                    }
                })
            }
            (b'{', Step::All) => self.members(depth, |scanner, _| scanner.find_here(deeper, depth + 1, found)),
            (b'[', Step::All) => self.elements(depth, |scanner, _| scanner.find_here(deeper, depth + 1, found)),
            (b'[', Step::Index(wanted)) => {
                let wanted = if *wanted >= 0 { *wanted } else { self.length(depth)? + wanted };
                self.elements(depth, |scanner, index| {
                    if index == wanted {
                        scanner.find_here(deeper, depth + 1, found)
                    } else {
                        scanner.value(depth + 1).map(drop)
                    }
                })
            }
            _ => self.value(depth).map(drop),
        }
    }

    /// The number of elements of the array that starts here; stays here.
    fn length(&self, depth: usize) -> Option<i64> {
        let mut ahead = Scanner { text: self.text, at: self.at };
        let mut count = 0;
        ahead.elements(depth, |scanner, _| {
            count += 1;
            scanner.value(depth + 1).map(drop)
        })?;
        Some(count)
    }

    /// Calls `each` at the value of every member, with the raw key.
    fn members(&mut self, depth: usize, mut each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        self.take(b'{')?;
        self.blanks();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.blanks();
            self.take(b':')?;
            self.blanks();
            each(self, &self.text[key])?;
            self.blanks();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    /// Calls `each` at every element, with its position.
    fn elements(&mut self, depth: usize, mut each: impl FnMut(&mut Self, i64) -> Option<()>) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        self.take(b'[')?;
        self.blanks();
        if self.take(b']').is_some() {
            return Some(());
        }
        let mut index = 0;
        loop {
            self.blanks();
            each(self, index)?;
            index += 1;
            self.blanks();
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Range<usize>> {
        let start = self.at;
        match self.peek()? {
            b'{' => self.members(depth, |scanner, _| scanner.value(depth + 1).map(drop))?,
            b'[' => self.elements(depth, |scanner, _| scanner.value(depth + 1).map(drop))?,
            b'"' => {
                self.string()?;
            }
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => self.number()?,
        }
        Some(start..self.at)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let starts_with_zero = self.peek() == Some(b'0');
        let digit_count = self.digits();
        if digit_count == 0 || starts_with_zero && digit_count > 1 {
            return None;
        }
        if self.take(b'.').is_some() && self.digits() == 0 {
            return None;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return None;
            }
        }
        Some(())
    }

    /// The place of a string with its quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.take(b'"')?;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(start..self.at);
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        b'u' => {
                            let digits = self.text.as_bytes().get(self.at + 1..self.at + 5)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return None;
                            }
                            self.at += 5;
                        }
                        _ => return None,
                    }
                }
                0..=0x1F => return None,
                _ => self.at += 1,
            }
        }
    }
}

/// The text of a checked string with its quotes.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or("");
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, escaped)) = rest.split_once('\\') {
        out.push_str(before);
        let (c, length) = unescape_one(escaped);
        out.push(c);
        rest = escaped.get(length..).unwrap_or("");
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// What the text behind a backslash stands for, and how many of its bytes belong to it.
fn unescape_one(escaped: &str) -> (char, usize) {
    let unit = |at: usize| escaped.get(at..at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match escaped.as_bytes().first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{C}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => {
            let high = unit(1).unwrap_or(0xFFFD);
            if (0xD800..0xDC00).contains(&high)
                && escaped.get(5..7) == Some("\\u")
                && let Some(low) = unit(7).filter(|low| (0xDC00..0xE000).contains(low))
            {
                let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
            }
            (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
        }
        Some(other) => (char::from(*other), 1),
        None => (char::REPLACEMENT_CHARACTER, 0),
    }
}

/// The text of a checked number as Java's BigDecimal gives it: all its digits, an exponent only where it has one or is very small.
pub(super) fn number_text(raw: &str) -> Cow<'_, str> {
    let is_integer = !raw.contains(['.', 'e', 'E']);
    if is_integer || !raw.contains(['e', 'E']) && !raw.starts_with("0.00000") && !raw.starts_with("-0.00000") {
        return if raw == "-0" { Cow::Borrowed("0") } else { Cow::Borrowed(raw) };
    }
    let (sign, unsigned) = match raw.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", raw),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let Ok(exponent) = exponent.parse::<i32>() else {
        return Cow::Borrowed(raw);
    };
    let all: String = integer.chars().chain(fraction.chars()).collect();
    let digits = match all.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let scale = i64::try_from(fraction.len()).unwrap_or(0) - i64::from(exponent);
    let adjusted = i64::try_from(digits.len()).unwrap_or(0) - 1 - scale;
    let mut out = String::from(sign);
    if scale >= 0 && adjusted >= -6 {
        let scale = usize::try_from(scale).unwrap_or(0);
        if scale == 0 {
            out.push_str(digits);
        } else if digits.len() > scale {
            out.push_str(&digits[..digits.len() - scale]);
            out.push('.');
            out.push_str(&digits[digits.len() - scale..]);
        } else {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', scale - digits.len()));
            out.push_str(digits);
        }
    } else {
        out.push_str(&digits[..1]);
        if digits.len() > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        if adjusted != 0 {
            write!(out, "E{adjusted:+}").expect("a String takes all text");
        }
    }
    Cow::Owned(out)
}

/// Writes a checked value without blanks, the members of objects in the order of their names.
pub(super) fn write_sorted(raw: &str, out: &mut TextBuilder) {
    let mut scanner = Scanner::new(raw);
    match kind(raw) {
        Kind::Object => {
            let mut members: Vec<(Cow<'_, str>, Range<usize>)> = Vec::new();
            let checked = scanner.members(0, |scanner, key| {
                let range = scanner.value(1)?;
                let key = unescape(key);
                match members.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, place)) => *place = range,
                    None => members.push((key, range)),
                }
                Some(())
            });
            debug_assert!(checked.is_some(), "the value was checked before");
            members.sort_by(|a, b| a.0.cmp(&b.0));
            out.push('{');
            for (index, (key, range)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(&key, out);
                out.push(':');
                write_sorted(&raw[range], out);
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            let checked = scanner.elements(0, |scanner, index| {
                if index > 0 {
                    out.push(',');
                }
                let range = scanner.value(1)?;
                write_sorted(&raw[range], out);
                Some(())
            });
            debug_assert!(checked.is_some(), "the value was checked before");
            out.push(']');
        }
        Kind::Text => write_string(&unescape(raw), out),
        Kind::Number => out.push_str(&number_text(raw)),
        Kind::Literal => out.push_str(raw),
    }
}

/// Writes a JSON string with the escapes that JSON demands and no others.
pub(super) fn write_string(text: &str, out: &mut TextBuilder) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{C}' => out.push_str("\\f"),
            c if c < ' ' => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("a TextBuilder takes all text");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
