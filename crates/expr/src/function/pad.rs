//! LPAD, RPAD, REPEAT, REVERSE.

use arrow_array::ArrayRef;
use arrow_array::types::Int32Type;
use wiesel_core::{DataType, Result};

use crate::function::binding::{Param, accept, nullable, strict};
use crate::function::case::{map_chars, one_text};
use crate::function::define::Plain;
use crate::function::substring::byte_index;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static LPAD: Plain = Plain::new(
    "LPAD",
    "LPAD(string, length, pad): the text filled up at its start, or cut, to a length; NULL for a negative length or an empty pad",
    |args| bind(args, "LPAD takes (STRING, INT, STRING)"),
    |args, _, rows, _| pad(args, rows, Side::Start),
);

pub(crate) static RPAD: Plain = Plain::new(
    "RPAD",
    "RPAD(string, length, pad): the text filled up at its end, or cut, to a length; NULL for a negative length or an empty pad",
    |args| bind(args, "RPAD takes (STRING, INT, STRING)"),
    |args, _, rows, _| pad(args, rows, Side::End),
);

pub(crate) static REPEAT: Plain = Plain::new(
    "REPEAT",
    "REPEAT(string, count): the text so many times",
    |args| {
        Ok(strict(accept(args, &[Param::Text, Param::Int], 2, "REPEAT takes (STRING, INT)")?, DataType::string().kind))
    },
    |args, _, rows, _| {
        let (texts, counts) = (args[0].strings(), args[1].numbers::<Int32Type>());
        let mut out = TextBuilder::new(rows, texts.byte_count(rows));
        for row in 0..rows {
            let (Some(text), Some(count)) = (texts.get(row), counts.get(row)) else {
                out.null();
                continue;
            };
            let count = if text.is_empty() { 0 } else { usize::try_from(count).unwrap_or(0) };
            out.check_room(text.len().saturating_mul(count))?;
            for _ in 0..count {
                out.push_str(text);
            }
            out.end();
        }
        out.finish()
    },
);

pub(crate) static REVERSE: Plain = Plain::new(
    "REVERSE",
    "REVERSE(string): the characters in reverse order",
    |args| one_text(args, "REVERSE takes (STRING)"),
    |args, _, rows, _| map_chars(args, rows, |text, out| text.chars().rev().for_each(|c| out.push(c))),
)
.total();

#[derive(Clone, Copy)]
enum Side {
    Start,
    End,
}

fn bind(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    Ok(nullable(accept(args, &[Param::Text, Param::Int, Param::Text], 3, usage)?, DataType::string().kind))
}

fn pad(args: &[Operand], rows: usize, side: Side) -> Result<ArrayRef> {
    let (texts, pads) = (args[0].strings(), args[2].strings());
    let lengths = args[1].numbers::<Int32Type>();
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    for row in 0..rows {
        let (Some(text), Some(length), Some(pad)) = (texts.get(row), lengths.get(row), pads.get(row)) else {
            out.null();
            continue;
        };
        let (Ok(length), false) = (usize::try_from(length), pad.is_empty()) else {
            out.null();
            continue;
        };
        if [text, pad].iter().any(|t| t.chars().any(|c| c.len_utf16() == 2)) {
            out.check_room(length)?;
            out.value(&pad_units(text, length, pad, side));
            continue;
        }
        let kept = &text[..byte_index(text, length)];
        let mut missing = length - kept.chars().count().min(length);
        out.check_room(missing)?;
        if matches!(side, Side::End) {
            out.push_str(kept);
        }
        while missing > 0 {
            for c in pad.chars().take(missing) {
                out.push(c);
            }
            missing = missing.saturating_sub(pad.chars().count());
        }
        if matches!(side, Side::Start) {
            out.push_str(kept);
        }
        out.end();
    }
    out.finish()
}

/// The same where a character is two units of UTF-16: Java counts and cuts units, and writes `?` for half a character.
fn pad_units(text: &str, length: usize, pad: &str, side: Side) -> String {
    let kept: Vec<u16> = text.encode_utf16().take(length).collect();
    let filling = pad.encode_utf16().collect::<Vec<u16>>().into_iter().cycle().take(length - kept.len());
    let units: Vec<u16> = match side {
        Side::Start => filling.chain(kept.iter().copied()).collect(),
        Side::End => kept.iter().copied().chain(filling).collect(),
    };
    char::decode_utf16(units).map(|c| c.unwrap_or('?')).collect()
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null_s, s};

    #[test]
    fn texts_are_filled_up() {
        check(&[
            ("LPAD", vec![s("hi"), i(5), s("xy")], "xyxhi"),
            ("LPAD", vec![s("hello"), i(2), s("x")], "he"),
            ("LPAD", vec![s("hi"), i(-1), s("x")], "NULL"),
            ("LPAD", vec![s("hi"), i(5), s("")], "NULL"),
            ("RPAD", vec![s("hi"), i(5), s("xy")], "hixyx"),
            ("LPAD", vec![s("😀a"), i(4), s("x")], "x😀a"),
            ("RPAD", vec![s("😀a"), i(1), s("x")], "?"),
            ("RPAD", vec![s("a"), i(4), s("😀")], "a😀?"),
            ("RPAD", vec![null_s(), i(5), s("xy")], "NULL"),
            ("REPEAT", vec![s("ab"), i(3)], "ababab"),
            ("REPEAT", vec![s("ab"), i(-3)], ""),
            (
                "REPEAT",
                vec![s("abcdefghij"), i(i32::MAX)],
                "error: the texts that a function makes for one batch exceed 2 GiB",
            ),
            ("REVERSE", vec![s("aäb")], "bäa"),
            ("REVERSE", vec![null_s()], "NULL"),
        ]);
    }
}
