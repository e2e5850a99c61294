//! An object or array that lands in a STRING column: the text that Jackson's tree gives back, without blanks, with its own escapes and
//! Java's form of fractions (`{"a": 1.50}` becomes `{"a":1.5}`).

use super::number::{parse_double, write_double};
use super::scan::{
    DEPTH_MAX, Expected, Fault, byte_at, key_end, literal_end, number_end, skip_blank, string_end, unescape,
};

/// Appends the compact text of the value at `pos` and returns the position behind it.
pub(super) fn write_compact(bytes: &[u8], pos: usize, depth: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    match byte_at(bytes, pos) {
        b'"' => {
            let (end, has_escapes) = string_end(bytes, pos + 1)?;
            write_content(bytes.get(pos + 1..end).unwrap_or_default(), has_escapes, out);
            Ok(end + 1)
        }
        b'-' | b'0'..=b'9' => {
            let number = number_end(bytes, pos)?;
            let text = bytes.get(pos..number.end).unwrap_or_default();
            if !number.is_integer {
                write_double(parse_double(text).unwrap_or_default(), out);
            } else if text == b"-0" {
                out.push(b'0');
            } else {
                out.extend_from_slice(text);
            }
            Ok(number.end)
        }
        b't' | b'f' | b'n' => {
            let end = literal_end(bytes, pos)?;
            out.extend_from_slice(bytes.get(pos..end).unwrap_or_default());
            Ok(end)
        }
        b'{' | b'[' => write_container(bytes, pos, depth, out),
        _ => Err(Fault::new(pos, Expected::Value)),
    }
}

fn write_container(bytes: &[u8], pos: usize, depth: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    if depth >= DEPTH_MAX {
        return Err(Fault::new(pos, Expected::Depth));
    }
    let open = byte_at(bytes, pos);
    let is_object = open == b'{';
    let close = if is_object { b'}' } else { b']' };
    out.push(open);
    let mut pos = skip_blank(bytes, pos + 1);
    if byte_at(bytes, pos) == close {
        out.push(close);
        return Ok(pos + 1);
    }
    loop {
        if is_object {
            let (end, value) = key_end(bytes, pos)?;
            let name = bytes.get(pos + 1..end).unwrap_or_default();
            write_content(name, name.contains(&b'\\'), out);
            out.push(b':');
            pos = skip_blank(bytes, value);
        }
        pos = write_compact(bytes, pos, depth + 1, out)?;
        pos = skip_blank(bytes, pos);
        match byte_at(bytes, pos) {
            b',' => {
                out.push(b',');
                pos = skip_blank(bytes, pos + 1);
            }
            b if b == close => {
                out.push(close);
                return Ok(pos + 1);
            }
            _ if is_object => return Err(Fault::new(pos, Expected::CommaOrBrace)),
            _ => return Err(Fault::new(pos, Expected::CommaOrBracket)),
        }
    }
}

fn write_content(content: &[u8], has_escapes: bool, out: &mut Vec<u8>) {
    if has_escapes {
        let mut plain = Vec::with_capacity(content.len());
        unescape(content, &mut plain);
        write_string(&plain, out);
    } else {
        write_string(content, out);
    }
}

/// What each byte below 0x60 becomes inside a string: 0 itself, 1 `\u00XX`, else the letter behind the backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 0x20 {
        table[i] = 1;
        i += 1;
    }
    table[8] = b'b';
    table[9] = b't';
    table[10] = b'n';
    table[12] = b'f';
    table[13] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Appends a string in quotes with the escapes that Jackson writes: quote, backslash and control characters; not the slash, nothing
/// beyond ASCII.
pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut start = 0;
    for (index, byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(text.get(start..index).unwrap_or_default());
        start = index + 1;
        if escape == 1 {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        } else {
            out.extend_from_slice(&[b'\\', escape]);
        }
    }
    out.extend_from_slice(text.get(start..).unwrap_or_default());
    out.push(b'"');
}
