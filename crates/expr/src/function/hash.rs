//! MD5 and the SHA-2 family, as lower-case hexadecimal text; and TO_BASE64, FROM_BASE64.

use arrow_array::ArrayRef;
use arrow_array::types::Int32Type;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use wiesel_core::{DataType, Error, Result, TypeKind, Value};

use crate::function::binding::{Param, accept, nullable, strict, takes};
use crate::function::case::one_text;
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::TextBuilder;

fn bind(args: &[Argument<'_>], usage: &str, digits: u32) -> std::result::Result<Signature, FunctionError> {
    Ok(strict(accept(args, &[Param::Text], 1, usage)?, TypeKind::Char(digits)))
}

fn hexadecimal<D: Digest>(args: &[Operand], rows: usize) -> Result<ArrayRef> {
    let texts = args[0].strings();
    let mut out = TextBuilder::new(rows, rows * 64);
    for row in 0..rows {
        let Some(text) = texts.get(row) else {
            out.null();
            continue;
        };
        push_hexadecimal(&mut out, &D::digest(text.as_bytes()));
        out.end();
    }
    out.finish()
}

fn push_hexadecimal(out: &mut TextBuilder, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

pub(crate) static MD5: Plain = Plain::new(
    "MD5",
    "MD5(string): the MD5 hash as 32 hexadecimal digits",
    |args| bind(args, "MD5 takes (STRING)", 32),
    |args, _, rows, _| hexadecimal::<md5::Md5>(args, rows),
)
.total();

pub(crate) static SHA224: Plain = Plain::new(
    "SHA224",
    "SHA224(string): the SHA-224 hash as 56 hexadecimal digits",
    |args| bind(args, "SHA224 takes (STRING)", 56),
    |args, _, rows, _| hexadecimal::<Sha224>(args, rows),
)
.total();

pub(crate) static SHA256: Plain = Plain::new(
    "SHA256",
    "SHA256(string): the SHA-256 hash as 64 hexadecimal digits",
    |args| bind(args, "SHA256 takes (STRING)", 64),
    |args, _, rows, _| hexadecimal::<Sha256>(args, rows),
)
.total();

pub(crate) static SHA384: Plain = Plain::new(
    "SHA384",
    "SHA384(string): the SHA-384 hash as 96 hexadecimal digits",
    |args| bind(args, "SHA384 takes (STRING)", 96),
    |args, _, rows, _| hexadecimal::<Sha384>(args, rows),
)
.total();

pub(crate) static SHA512: Plain = Plain::new(
    "SHA512",
    "SHA512(string): the SHA-512 hash as 128 hexadecimal digits",
    |args| bind(args, "SHA512 takes (STRING)", 128),
    |args, _, rows, _| hexadecimal::<Sha512>(args, rows),
)
.total();

pub(crate) static SHA2: Plain = Plain::new(
    "SHA2",
    "SHA2(string, bits): the SHA-2 hash of 224, 256, 384 or 512 bits in hexadecimal digits",
    |args| {
        let usage = "SHA2 takes (STRING, INT), the INT one of 224, 256, 384, 512";
        let types = accept(args, &[Param::Text, Param::Int], 2, usage)?;
        if let Some(Argument { literal: Some(Value::Int(bits)), .. }) = args.get(1)
            && !matches!(bits, 224 | 256 | 384 | 512)
        {
            return Err(takes(usage));
        }
        Ok(strict(types, TypeKind::VarChar(128)))
    },
    |args, _, rows, _| {
        let (texts, bits) = (args[0].strings(), args[1].numbers::<Int32Type>());
        let mut out = TextBuilder::new(rows, rows * 64);
        for row in 0..rows {
            let (Some(text), Some(bits)) = (texts.get(row), bits.get(row)) else {
                out.null();
                continue;
            };
            match bits {
                224 => push_hexadecimal(&mut out, &Sha224::digest(text)),
                256 => push_hexadecimal(&mut out, &Sha256::digest(text)),
                384 => push_hexadecimal(&mut out, &Sha384::digest(text)),
                512 => push_hexadecimal(&mut out, &Sha512::digest(text)),
                _ => {
                    return Err(Error::data(format!(
                        "SHA2 expects 224, 256, 384 or 512 bits, and this row has {bits}"
                    )));
                }
            }
            out.end();
        }
        out.finish()
    },
);

pub(crate) static TO_BASE64: Plain = Plain::new(
    "TO_BASE64",
    "TO_BASE64(string): the base64 form of the text's bytes",
    |args| one_text(args, "TO_BASE64 takes (STRING)"),
    |args, _, rows, _| {
        let texts = args[0].strings();
        let mut out = TextBuilder::new(rows, texts.byte_count(rows) * 4 / 3);
        let mut encoded = String::new();
        for row in 0..rows {
            encoded.clear();
            out.option(texts.get(row).map(|text| {
                STANDARD.encode_string(text, &mut encoded);
                encoded.as_str()
            }));
        }
        out.finish()
    },
)
.total();

pub(crate) static FROM_BASE64: Plain = Plain::new(
    "FROM_BASE64",
    "FROM_BASE64(string): the text whose bytes have that base64 form; NULL when it has none",
    |args| Ok(nullable(accept(args, &[Param::Text], 1, "FROM_BASE64 takes (STRING)")?, DataType::string().kind)),
    |args, _, rows, _| {
        let texts = args[0].strings();
        let mut out = TextBuilder::new(rows, texts.byte_count(rows));
        let mut decoded = Vec::new();
        for row in 0..rows {
            decoded.clear();
            match texts.get(row).map(|text| STANDARD.decode_vec(text, &mut decoded)) {
                Some(Ok(())) => out.value(&String::from_utf8_lossy(&decoded)),
                _ => out.null(),
            }
        }
        out.finish()
    },
)
.total();

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null, null_s, s};
    use wiesel_core::TypeKind;

    #[test]
    fn hashes_are_hexadecimal() {
        check(&[
            ("MD5", vec![s("")], "d41d8cd98f00b204e9800998ecf8427e"),
            ("MD5", vec![s("abc")], "900150983cd24fb0d6963f7d28e17f72"),
            ("MD5", vec![null_s()], "NULL"),
            ("SHA256", vec![s("abc")], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("SHA2", vec![s("abc"), i(256)], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("SHA2", vec![s("abc"), null(TypeKind::Int)], "NULL"),
            ("SHA2", vec![s("abc"), i(1)], "bind: SHA2 takes (STRING, INT), the INT one of 224, 256, 384, 512"),
            ("TO_BASE64", vec![s("hello")], "aGVsbG8="),
            ("FROM_BASE64", vec![s("aGVsbG8=")], "hello"),
            ("FROM_BASE64", vec![s("?")], "NULL"),
        ]);
    }
}
