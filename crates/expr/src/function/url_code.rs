//! URL_ENCODE and URL_DECODE: text as `application/x-www-form-urlencoded`, in UTF-8 (Flink 2.0).

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Result};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict};
use crate::function::define::Plain;
use crate::function::{Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static URL_ENCODE: Plain = Plain::new(
    "URL_ENCODE",
    "URL_ENCODE(string): the text with blanks as `+` and all but letters, digits and `.-*_` as `%XX` in UTF-8",
    |args| Ok(strict(accept(args, &[Param::Text], 1, "URL_ENCODE takes (STRING)")?, DataType::string().kind)),
    encode,
)
.total();

pub(crate) static URL_DECODE: Plain = Plain::new(
    "URL_DECODE",
    "URL_DECODE(string): the text that URL_ENCODE was given; NULL when a `%` has no two hexadecimal digits behind it",
    |args| Ok(nullable(accept(args, &[Param::Text], 1, "URL_DECODE takes (STRING)")?, DataType::string().kind)),
    decode,
)
.total();

fn encode(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let texts = args[0].strings();
    let mut out = TextBuilder::new(rows, texts.byte_count(rows) * 2);
    for row in 0..rows {
        let Some(text) = texts.get(row) else {
            out.null();
            continue;
        };
        for byte in text.bytes() {
            match byte {
                b' ' => out.push('+'),
                b'.' | b'-' | b'*' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => out.push(char::from(byte)),
                _ => {
                    out.push('%');
                    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                    out.push(char::from(DIGITS[usize::from(byte & 15)]));
                }
            }
        }
        out.end();
    }
    out.finish()
}

fn decode(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let texts = args[0].strings();
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    let mut bytes = Vec::new();
    for row in 0..rows {
        let is_text = texts.get(row).is_some_and(|text| decode_text(text, &mut bytes));
        out.option(is_text.then(|| String::from_utf8_lossy(&bytes)).as_deref());
    }
    out.finish()
}

/// Puts the bytes of the decoded text into `bytes`; `false` when there are none.
fn decode_text(text: &str, bytes: &mut Vec<u8>) -> bool {
    bytes.clear();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit =
                    || rest.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
                let (Some(high), Some(low)) = (digit(), digit()) else { return false };
                high << 4 | low
            }
            other => other,
        });
    }
    true
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn text_is_encoded_for_urls_and_decoded() {
        check(&[
            ("URL_ENCODE", vec![s("a b&c=é")], "a+b%26c%3D%C3%A9"),
            ("URL_ENCODE", vec![s("A-z_0.*~")], "A-z_0.*%7E"),
            ("URL_ENCODE", vec![s("")], ""),
            ("URL_ENCODE", vec![null_s()], "NULL"),
            ("URL_DECODE", vec![s("a+b%26c%3D%c3%A9")], "a b&c=é"),
            ("URL_DECODE", vec![s("100%")], "NULL"),
            ("URL_DECODE", vec![s("%zz")], "NULL"),
            ("URL_DECODE", vec![s("")], ""),
            ("URL_DECODE", vec![null_s()], "NULL"),
        ]);
    }
}
