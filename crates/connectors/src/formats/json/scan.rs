//! JSON's lexical side: where a token ends, and whether it is one. Nothing here allocates but [`unescape`].
//!
//! All functions take the whole document and a position, and return the position behind what they read, so there is no cursor object to
//! keep in step. Strings are searched eight bytes at a time (a word trick, since the crate has no unsafe code and stable Rust no vectors);
//! bytes below 0x20 inside strings are taken as they are, as Flink configures its parser. The text is known to be UTF-8 before.

/// How deep objects and arrays may nest. Jackson's own limit in its newer versions; recursion stays far from the end of any stack.
pub(super) const DEPTH_MAX: usize = 1000;

/// What the parser wanted to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Expected {
    Value,
    Key,
    Colon,
    CommaOrBrace,
    CommaOrBracket,
    StringEnd,
    Escape,
    Number,
    Literal,
    Object,
    Depth,
    Utf8,
    Capacity,
    /// From here on the document is well formed and only one field's value is wrong.
    Type,
    NanosecondRange,
    Field,
}

const EXPECTATIONS: [Expected; 16] = [
    Expected::Value,
    Expected::Key,
    Expected::Colon,
    Expected::CommaOrBrace,
    Expected::CommaOrBracket,
    Expected::StringEnd,
    Expected::Escape,
    Expected::Number,
    Expected::Literal,
    Expected::Object,
    Expected::Depth,
    Expected::Utf8,
    Expected::Capacity,
    Expected::Type,
    Expected::NanosecondRange,
    Expected::Field,
];

impl Expected {
    /// Whether only one value is wrong.
    pub(super) fn is_value(self) -> bool {
        matches!(self, Expected::Type | Expected::NanosecondRange)
    }

    /// In words, for messages.
    pub(super) fn text(self) -> &'static str {
        match self {
            Expected::Value => "a JSON value",
            Expected::Key => "a field name in double quotes",
            Expected::Colon => "`:` after the field name",
            Expected::CommaOrBrace => "`,` or `}` after the field",
            Expected::CommaOrBracket => "`,` or `]` after the element",
            Expected::StringEnd => "the closing quote of a string",
            Expected::Escape => "a valid escape behind `\\`",
            Expected::Number => "a number in JSON form",
            Expected::Literal => "true, false or null",
            Expected::Object => "a JSON object",
            Expected::Depth => "at most 1000 levels of nesting",
            Expected::Utf8 => "UTF-8 text",
            Expected::Capacity => "at most 2 GiB of text in one column of a batch",
            Expected::Type => "a value of the column's type",
            Expected::NanosecondRange => "a time between the years 1677 and 2262, which is what nanoseconds can hold",
            Expected::Field => "the field to be there",
        }
    }
}

/// A document, or one value of it, that cannot be read: where (upper bits) and what was expected (the lowest byte).
///
/// One word, because then a result of the parser's steps travels in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault(u64);

impl Fault {
    #[cold]
    pub(super) fn new(at: usize, expected: Expected) -> Fault {
        Fault((at as u64) << 8 | expected as u64)
    }

    pub(super) fn at(self) -> usize {
        usize::try_from(self.0 >> 8).unwrap_or(usize::MAX)
    }

    pub(super) fn expected(self) -> Expected {
        let of_byte = |expected: &&Expected| **expected as u64 == self.0 & 0xFF;
        EXPECTATIONS.iter().find(of_byte).copied().unwrap_or(Expected::Value)
    }

    /// Whether only one value is wrong and the rest of the document can be used.
    pub(super) fn is_value(self) -> bool {
        self.expected().is_value()
    }
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const QUOTES: u64 = LOW_BITS * b'"' as u64;
const BACKSLASHES: u64 = LOW_BITS * b'\\' as u64;

/// The high bit of every zero byte; the lowest one set is exact, those above it may be wrong.
#[inline(always)]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS
}

/// The byte at a position; 0, which is no JSON, behind the end.
#[inline(always)]
pub(super) fn byte_at(bytes: &[u8], pos: usize) -> u8 {
    bytes.get(pos).copied().unwrap_or(0)
}

/// Eight bytes as a little-endian word.
#[inline(always)]
pub(super) fn word_at(bytes: &[u8], pos: usize) -> Option<u64> {
    bytes.get(pos..).and_then(<[u8]>::first_chunk::<8>).map(|chunk| u64::from_le_bytes(*chunk))
}

/// Skips blanks, tabs and line ends.
#[inline(always)]
pub(super) fn skip_blank(bytes: &[u8], pos: usize) -> usize {
    if byte_at(bytes, pos) > b' ' { pos } else { skip_blanks(bytes, pos) }
}

fn skip_blanks(bytes: &[u8], mut pos: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(pos) {
        pos += 1;
    }
    pos
}

/// The digits at a position, at most eight of them: their number and how many they are.
#[inline(always)]
pub(super) fn digits_at(bytes: &[u8], pos: usize) -> (u64, usize) {
    let Some(word) = word_at(bytes, pos) else {
        return few_digits_at(bytes, pos);
    };
    let values = word ^ (LOW_BITS * b'0' as u64);
    // The high bit of every byte that is no digit; the lowest one set is exact.
    let others = (values.wrapping_add(LOW_BITS * 0x76) | values) & HIGH_BITS;
    let count = (others.trailing_zeros() >> 3) as usize;
    if count == 0 {
        return (0, 0);
    }
    // The digits move to the word's end, zeros fill its start; then neighbours are joined: pairs, fours, eight.
    let digits = values << (64 - 8 * count);
    let pairs = digits.wrapping_mul(2561) >> 8 & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(6_553_601) >> 16 & 0x0000_FFFF_0000_FFFF;
    (fours.wrapping_mul(42_949_672_960_001) >> 32, count)
}

/// [`digits_at`] close to the end of the document.
fn few_digits_at(bytes: &[u8], pos: usize) -> (u64, usize) {
    let mut number = 0;
    let mut count = 0;
    loop {
        let digit = byte_at(bytes, pos + count).wrapping_sub(b'0');
        if digit > 9 {
            return (number, count);
        }
        number = number * 10 + u64::from(digit);
        count += 1;
    }
}

/// The position of the next quote or backslash.
#[inline(always)]
fn quote_or_backslash(bytes: &[u8], mut pos: usize) -> Option<usize> {
    while let Some(word) = word_at(bytes, pos) {
        let hits = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
        if hits != 0 {
            return Some(pos + (hits.trailing_zeros() >> 3) as usize);
        }
        pos += 8;
    }
    let rest = bytes.get(pos..)?;
    rest.iter().position(|b| matches!(b, b'"' | b'\\')).map(|i| pos + i)
}

/// Where a string's content ends (the closing quote), and whether it holds escapes, which are checked. `pos` is behind the opening quote.
#[inline(always)]
pub(super) fn string_end(bytes: &[u8], pos: usize) -> Result<(usize, bool), Fault> {
    match quote_or_backslash(bytes, pos) {
        Some(end) if byte_at(bytes, end) == b'"' => Ok((end, false)),
        Some(backslash) => escaped_string_end(bytes, backslash).map(|end| (end, true)),
        None => Err(Fault::new(bytes.len(), Expected::StringEnd)),
    }
}

/// [`string_end`] from the first backslash on.
fn escaped_string_end(bytes: &[u8], mut pos: usize) -> Result<usize, Fault> {
    loop {
        match byte_at(bytes, pos) {
            b'"' => return Ok(pos),
            _ => match byte_at(bytes, pos + 1) {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => pos += 2,
                b'u' if hex4(bytes, pos + 2).is_some() => pos += 6,
                _ => return Err(Fault::new(pos, Expected::Escape)),
            },
        }
        pos = quote_or_backslash(bytes, pos).ok_or_else(|| Fault::new(bytes.len(), Expected::StringEnd))?;
    }
}

/// Four hexadecimal digits.
fn hex4(bytes: &[u8], pos: usize) -> Option<u32> {
    let digits = bytes.get(pos..pos + 4)?;
    let mut code = 0;
    for digit in digits {
        code = code << 4 | char::from(*digit).to_digit(16)?;
    }
    Some(code)
}

/// Appends a string's content with its escapes resolved. The content was checked by [`string_end`]. A surrogate without its partner becomes
/// `?`, which is what Java's encoder makes of it.
pub(super) fn unescape(content: &[u8], out: &mut Vec<u8>) {
    let mut pos = 0;
    while let Some(found) = memchr::memchr(b'\\', content.get(pos..).unwrap_or_default()) {
        out.extend_from_slice(content.get(pos..pos + found).unwrap_or_default());
        pos += found;
        let plain = match byte_at(content, pos + 1) {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                pos = unescape_unicode(content, pos, out);
                continue;
            }
            other => other,
        };
        out.push(plain);
        pos += 2;
    }
    out.extend_from_slice(content.get(pos..).unwrap_or_default());
}

fn unescape_unicode(content: &[u8], pos: usize, out: &mut Vec<u8>) -> usize {
    let high = hex4(content, pos + 2).unwrap_or(0);
    let mut next = pos + 6;
    let mut code = high;
    if (0xD800..0xDC00).contains(&high)
        && content.get(next..next + 2) == Some(b"\\u")
        && let Some(low @ 0xDC00..0xE000) = hex4(content, next + 2)
    {
        code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        next += 6;
    }
    let character = char::from_u32(code).unwrap_or('?');
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    next
}

/// What a number looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumberEnd {
    pub(super) end: usize,
    /// No point and no exponent.
    pub(super) is_integer: bool,
}

/// Checks a number's form. `pos` is at its first byte.
#[inline]
pub(super) fn number_end(bytes: &[u8], pos: usize) -> Result<NumberEnd, Fault> {
    let mut end = pos;
    if byte_at(bytes, end) == b'-' {
        end += 1;
    }
    let first = end;
    end = skip_digits(bytes, end);
    if end == first || (byte_at(bytes, first) == b'0' && end > first + 1) {
        return Err(Fault::new(pos, Expected::Number));
    }
    let mut is_integer = true;
    if byte_at(bytes, end) == b'.' {
        is_integer = false;
        let fraction = end + 1;
        end = skip_digits(bytes, fraction);
        if end == fraction {
            return Err(Fault::new(pos, Expected::Number));
        }
    }
    if matches!(byte_at(bytes, end), b'e' | b'E') {
        is_integer = false;
        end += 1;
        if matches!(byte_at(bytes, end), b'+' | b'-') {
            end += 1;
        }
        let exponent = end;
        end = skip_digits(bytes, exponent);
        if end == exponent {
            return Err(Fault::new(pos, Expected::Number));
        }
    }
    Ok(NumberEnd { end, is_integer })
}

#[inline(always)]
fn skip_digits(bytes: &[u8], mut pos: usize) -> usize {
    while byte_at(bytes, pos).is_ascii_digit() {
        pos += 1;
    }
    pos
}

/// Behind one of the three words.
#[inline]
pub(super) fn literal_end(bytes: &[u8], pos: usize) -> Result<usize, Fault> {
    let rest = bytes.get(pos..).unwrap_or_default();
    if rest.starts_with(b"true") || rest.starts_with(b"null") {
        Ok(pos + 4)
    } else if rest.starts_with(b"false") {
        Ok(pos + 5)
    } else {
        Err(Fault::new(pos, Expected::Literal))
    }
}

/// Checks one value of any kind and returns the position behind it.
#[inline(always)]
pub(super) fn skip_value(bytes: &[u8], pos: usize, depth: usize) -> Result<usize, Fault> {
    match byte_at(bytes, pos) {
        b'"' => string_end(bytes, pos + 1).map(|(end, _)| end + 1),
        b'-' | b'0'..=b'9' => number_end(bytes, pos).map(|n| n.end),
        b't' | b'f' | b'n' => literal_end(bytes, pos),
        b'{' | b'[' => skip_container(bytes, pos, depth),
        _ => Err(Fault::new(pos, Expected::Value)),
    }
}

#[inline(never)]
fn skip_container(bytes: &[u8], pos: usize, depth: usize) -> Result<usize, Fault> {
    if depth >= DEPTH_MAX {
        return Err(Fault::new(pos, Expected::Depth));
    }
    let is_object = byte_at(bytes, pos) == b'{';
    let close = if is_object { b'}' } else { b']' };
    let mut pos = skip_blank(bytes, pos + 1);
    if byte_at(bytes, pos) == close {
        return Ok(pos + 1);
    }
    loop {
        if is_object {
            pos = key_end(bytes, pos)?.1;
            pos = skip_blank(bytes, pos);
        }
        pos = skip_value(bytes, pos, depth + 1)?;
        pos = skip_blank(bytes, pos);
        match byte_at(bytes, pos) {
            b',' => pos = skip_blank(bytes, pos + 1),
            b if b == close => return Ok(pos + 1),
            _ => {
                let expected = if is_object { Expected::CommaOrBrace } else { Expected::CommaOrBracket };
                return Err(Fault::new(pos, expected));
            }
        }
    }
}

/// Reads a field name and its colon: the end of the name's content (it begins at `pos + 1`) and the position behind the colon.
pub(super) fn key_end(bytes: &[u8], pos: usize) -> Result<(usize, usize), Fault> {
    if byte_at(bytes, pos) != b'"' {
        return Err(Fault::new(pos, Expected::Key));
    }
    let (end, _) = string_end(bytes, pos + 1)?;
    let colon = skip_blank(bytes, end + 1);
    if byte_at(bytes, colon) != b':' {
        return Err(Fault::new(colon, Expected::Colon));
    }
    Ok((end, colon + 1))
}
