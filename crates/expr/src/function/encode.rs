//! ASCII, CHR, ENCODE, DECODE, HEX, UNHEX and BIN: text as numbers and bytes, and back.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int32Array};
use wiesel_core::types::MAX_LENGTH;
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict, takes};
use crate::function::define::Plain;
use crate::function::{Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static ASCII: Plain = Plain::new(
    "ASCII",
    "ASCII(string): the first byte of the text in UTF-8, from -128 to 127; 0 for an empty text",
    |args| Ok(strict(accept(args, &[Param::Text], 1, "ASCII takes (STRING)")?, TypeKind::Int)),
    |args, _, rows, _| {
        let texts = args[0].strings();
        let first = |text: &str| i32::from(text.bytes().next().unwrap_or(0).cast_signed());
        Ok(Arc::new((0..rows).map(|row| texts.get(row).map(first)).collect::<Int32Array>()))
    },
)
.total();

pub(crate) static CHR: Plain = Plain::new(
    "CHR",
    "CHR(number): the character of that code, of the remainder by 256 above 255; an empty text below 0",
    |args| Ok(nullable(accept(args, &[Param::BigInt], 1, "CHR takes (INT)")?, DataType::string().kind)),
    |args, _, rows, _| {
        let numbers = args[0].numbers::<Int64Type>();
        let mut out = TextBuilder::new(rows, rows);
        for row in 0..rows {
            match numbers.get(row) {
                None => out.null(),
                Some(number) if number < 0 => out.value(""),
                Some(number) => {
                    // Only the low byte counts.
                    out.push(char::from(number.to_le_bytes()[0]));
                    out.end();
                }
            }
        }
        out.finish()
    },
)
.total();

/// A character set of ENCODE and DECODE.
#[derive(Clone, Copy)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
    /// With a byte order mark when written; big-endian without one when read.
    Utf16,
    Utf16Be,
    Utf16Le,
}

impl Charset {
    fn of(name: &str) -> Result<Charset> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "US-ASCII" | "ASCII" => Charset::Ascii,
            "ISO-8859-1" | "LATIN1" => Charset::Latin1,
            "UTF-8" | "UTF8" => Charset::Utf8,
            "UTF-16" => Charset::Utf16,
            "UTF-16BE" => Charset::Utf16Be,
            "UTF-16LE" => Charset::Utf16Le,
            _ => {
                return Err(Error::data(format!("`{name}` is not a character set of ENCODE and DECODE"))
                    .hint("use US-ASCII, ISO-8859-1, UTF-8, UTF-16, UTF-16BE or UTF-16LE"));
            }
        })
    }

    fn encode(self, text: &str, out: &mut Vec<u8>) {
        let narrow = |limit: u32| {
            text.chars().map(move |c| if u32::from(c) < limit { (u32::from(c) & 255) as u8 } else { b'?' })
        };
        match self {
            Charset::Ascii => out.extend(narrow(128)),
            Charset::Latin1 => out.extend(narrow(256)),
            Charset::Utf8 => out.extend_from_slice(text.as_bytes()),
            Charset::Utf16 if text.is_empty() => {}
            Charset::Utf16 => {
                out.extend([0xfe, 0xff]);
                out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
            }
            Charset::Utf16Be => out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Charset::Utf16Le => out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
        }
    }

    fn decode(self, bytes: &[u8]) -> String {
        let wide = |bytes: &[u8], of: fn([u8; 2]) -> u16| {
            let units = bytes.chunks(2).map(|pair| <[u8; 2]>::try_from(pair).map_or(0xfffd, of));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        };
        match (self, bytes) {
            (Charset::Ascii, _) => {
                bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { char::REPLACEMENT_CHARACTER }).collect()
            }
            (Charset::Latin1, _) => bytes.iter().map(|b| char::from(*b)).collect(),
            (Charset::Utf8, _) => String::from_utf8_lossy(bytes).into_owned(),
            (Charset::Utf16, [0xff, 0xfe, rest @ ..]) => wide(rest, u16::from_le_bytes),
            (Charset::Utf16, [0xfe, 0xff, rest @ ..]) => wide(rest, u16::from_be_bytes),
            (Charset::Utf16 | Charset::Utf16Be, _) => wide(bytes, u16::from_be_bytes),
            (Charset::Utf16Le, _) => wide(bytes, u16::from_le_bytes),
        }
    }
}

pub(crate) static ENCODE: Plain = Plain::new(
    "ENCODE",
    "ENCODE(string, charset): the bytes of the text in that character set",
    |args| {
        let types = accept(args, &[Param::Text; 2], 2, "ENCODE takes (STRING, charset)")?;
        Ok(nullable(types, TypeKind::VarBinary(MAX_LENGTH)))
    },
    |args, _, rows, _| {
        let (texts, charsets) = (args[0].strings(), args[1].strings());
        let mut out = BinaryBuilder::with_capacity(rows, texts.byte_count(rows));
        let mut bytes = Vec::new();
        for row in 0..rows {
            let (Some(text), Some(charset)) = (texts.get(row), charsets.get(row)) else {
                out.append_null();
                continue;
            };
            bytes.clear();
            Charset::of(charset)?.encode(text, &mut bytes);
            out.append_value(&bytes);
        }
        Ok(Arc::new(out.finish()))
    },
);

pub(crate) static DECODE: Plain = Plain::new(
    "DECODE",
    "DECODE(binary, charset): the text that the bytes are in that character set",
    |args| {
        let types = accept(args, &[Param::Binary, Param::Text], 2, "DECODE takes (BINARY, charset)")?;
        Ok(nullable(types, DataType::string().kind))
    },
    |args, _, rows, _| {
        let (blobs, charsets) = (args[0].bytes(), args[1].strings());
        let mut out = TextBuilder::new(rows, rows * 16);
        for row in 0..rows {
            match (blobs.get(row), charsets.get(row)) {
                (Some(bytes), Some(charset)) => out.value(&Charset::of(charset)?.decode(bytes)),
                _ => out.null(),
            }
        }
        out.finish()
    },
);

pub(crate) static HEX: Plain = Plain::new(
    "HEX",
    "HEX(number | string): the number in base 16, or the bytes of the text, in upper-case hexadecimal digits",
    |args| {
        let usage = "HEX takes (INT) or (STRING)";
        let [arg] = args else { return Err(takes(usage)) };
        let param = if arg.data_type.kind.is_integer() { Param::BigInt } else { Param::Text };
        Ok(strict(accept(args, &[param], 1, usage)?, DataType::string().kind))
    },
    hex,
)
.total();

fn hex(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let mut out = TextBuilder::new(rows, rows * 16);
    if call.args[0].kind == TypeKind::BigInt {
        let numbers = args[0].numbers::<Int64Type>();
        for row in 0..rows {
            out.option(numbers.get(row).map(|number| format!("{number:X}")).as_deref());
        }
        return out.finish();
    }
    let texts = args[0].strings();
    for row in 0..rows {
        let Some(text) = texts.get(row) else {
            out.null();
            continue;
        };
        for byte in text.bytes() {
            out.push_str(&format!("{byte:02X}"));
        }
        out.end();
    }
    out.finish()
}

pub(crate) static UNHEX: Plain = Plain::new(
    "UNHEX",
    "UNHEX(string): the bytes that the hexadecimal digits are; NULL when something else is among them; of an odd number the first digit counts as a zero byte",
    |args| Ok(nullable(accept(args, &[Param::Text], 1, "UNHEX takes (STRING)")?, TypeKind::VarBinary(MAX_LENGTH))),
    |args, _, rows, _| {
        let texts = args[0].strings();
        let mut out = BinaryBuilder::with_capacity(rows, texts.byte_count(rows) / 2);
        let mut bytes = Vec::new();
        for row in 0..rows {
            bytes.clear();
            let is_hexadecimal = texts.get(row).is_some_and(|text| unhex(text, &mut bytes));
            out.append_option(is_hexadecimal.then_some(&bytes));
        }
        Ok(Arc::new(out.finish()))
    },
)
.total();

fn unhex(text: &str, out: &mut Vec<u8>) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut pairs = text.as_bytes();
    if pairs.len() % 2 == 1
        && let Some((first, rest)) = pairs.split_first()
    {
        if digit(*first).is_none() {
            return false;
        }
        out.push(0);
        pairs = rest;
    }
    for pair in pairs.chunks(2) {
        let [Some(high), Some(low)] = [0, 1].map(|i| pair.get(i).and_then(|b| digit(*b))) else { return false };
        out.push(high << 4 | low);
    }
    true
}

pub(crate) static BIN: Plain = Plain::new(
    "BIN",
    "BIN(number): the number in base 2; 64 digits for a negative one",
    |args| Ok(strict(accept(args, &[Param::BigInt], 1, "BIN takes (INT)")?, DataType::string().kind)),
    |args, _, rows, _| {
        let column = args[0].clone().into_column(rows)?;
        let mut out = TextBuilder::new(rows, rows * 16);
        for number in column.as_primitive::<Int64Type>() {
            out.option(number.map(|number| format!("{number:b}")).as_deref());
        }
        out.finish()
    },
)
.total();

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, l, null, null_s, s};
    use wiesel_core::TypeKind;

    #[test]
    fn text_becomes_numbers_and_bytes_and_text_again() {
        check(&[
            ("ASCII", vec![s("abc")], "97"),
            ("ASCII", vec![s("")], "0"),
            ("ASCII", vec![s("é")], "-61"),
            ("ASCII", vec![null_s()], "NULL"),
            ("CHR", vec![i(97)], "a"),
            ("CHR", vec![l(353)], "a"),
            ("CHR", vec![i(233)], "é"),
            ("CHR", vec![i(-1)], ""),
            ("CHR", vec![null(TypeKind::BigInt)], "NULL"),
            ("HEX", vec![i(255)], "FF"),
            ("HEX", vec![i(-1)], "FFFFFFFFFFFFFFFF"),
            ("HEX", vec![s("é")], "C3A9"),
            ("HEX", vec![null_s()], "NULL"),
            ("UNHEX", vec![s("466C696E6b")], "Flink"),
            ("UNHEX", vec![s("141")], "\0A"),
            ("UNHEX", vec![s("4G")], "NULL"),
            ("UNHEX", vec![s("G41")], "NULL"),
            ("UNHEX", vec![s("")], ""),
            ("UNHEX", vec![null_s()], "NULL"),
            ("BIN", vec![i(4)], "100"),
            ("BIN", vec![null(TypeKind::Int)], "NULL"),
            ("ENCODE", vec![s("hi"), s("UTF-8")], "hi"),
            ("ENCODE", vec![null_s(), s("UTF-8")], "NULL"),
            ("ENCODE", vec![s("hi"), s("nope")], "error: `nope` is not a character set of ENCODE and DECODE"),
        ]);
    }
}
