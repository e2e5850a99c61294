//! MD5, SHA-1 and the SHA-2 family, as lower-case hexadecimal text; and TO_BASE64, FROM_BASE64.

use arrow_array::ArrayRef;
use arrow_array::types::Int32Type;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use wiesel_core::{Error, Result, TypeKind, Value};

use crate::function::binding::{Param, accept, strict, takes};
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

pub(crate) static SHA1: Plain = Plain::new(
    "SHA1",
    "SHA1(string): the SHA-1 hash as 40 hexadecimal digits",
    |args| bind(args, "SHA1 takes (STRING)", 40),
    |args, _, rows, _| {
        let texts = args[0].strings();
        let mut out = TextBuilder::new(rows, rows * 40);
        for row in 0..rows {
            let Some(text) = texts.get(row) else {
                out.null();
                continue;
            };
            push_hexadecimal(&mut out, &sha1(text.as_bytes()));
            out.end();
        }
        out.finish()
    },
)
.total();

/// SHA-1 (FIPS 180-4). It is here because the function exists in SQL, not to protect anything.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64).wrapping_mul(8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (round, word) in words.iter().enumerate() {
            let (mixed, constant) = match round {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, value) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(value);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

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
    "FROM_BASE64(string): the text whose bytes have that base64 form; text that is no base64 fails the job",
    |args| one_text(args, "FROM_BASE64 takes (STRING)"),
    |args, _, rows, _| {
        let texts = args[0].strings();
        let mut out = TextBuilder::new(rows, texts.byte_count(rows));
        let mut decoded = Vec::new();
        for row in 0..rows {
            decoded.clear();
            match texts.get(row).map(|text| JAVA.decode_vec(text, &mut decoded)) {
                None => out.null(),
                Some(Ok(())) => out.value(&String::from_utf8_lossy(&decoded)),
                Some(Err(e)) => return Err(Error::data(format!("FROM_BASE64 expects base64: {e}"))),
            }
        }
        out.finish()
    },
);

/// Base64 as java.util.Base64 reads it: the padding may be missing.
const JAVA: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
            ("FROM_BASE64", vec![s("?")], "error: FROM_BASE64 expects base64: Invalid symbol 63, offset 0."),
            ("FROM_BASE64", vec![s("aGVsbG8")], "hello"),
            ("SHA1", vec![s("abc")], "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("SHA1", vec![s("")], "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ]);
    }
}
