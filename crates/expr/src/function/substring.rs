//! SUBSTRING, SUBSTR, LEFT, RIGHT, OVERLAY, CHAR_LENGTH: positions and lengths count Unicode code points, from 1.
//!
//! A position below 0 counts from the end, and 0 means 1. A start outside of the text gives an empty text, a negative length NULL.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::Int32Builder;
use arrow_array::types::Int32Type;
use wiesel_core::{DataType, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static SUBSTRING: Plain = Plain::new(
    "SUBSTRING",
    "SUBSTRING(string, start [, length]): a part of the text; a negative start counts from the end",
    |args| bind_part(args, "SUBSTRING takes (STRING, INT [, INT])"),
    substring,
)
.total();

pub(crate) static SUBSTR: Plain = Plain::new(
    "SUBSTR",
    "SUBSTR(string, start [, length]): a part of the text; a negative start counts from the end",
    |args| bind_part(args, "SUBSTR takes (STRING, INT [, INT])"),
    substring,
)
.total();

pub(crate) static LEFT: Plain = Plain::new(
    "LEFT",
    "LEFT(string, length): the first characters of the text",
    |args| bind_end(args, "LEFT takes (STRING, INT)"),
    |args, _, rows, _| ends(args, rows, |text, count| &text[..byte_index(text, count)]),
)
.total();

pub(crate) static RIGHT: Plain = Plain::new(
    "RIGHT",
    "RIGHT(string, length): the last characters of the text",
    |args| bind_end(args, "RIGHT takes (STRING, INT)"),
    |args, _, rows, _| {
        ends(args, rows, |text, count| {
            let skipped = text.chars().count().saturating_sub(count);
            &text[byte_index(text, skipped)..]
        })
    },
)
.total();

pub(crate) static OVERLAY: Plain = Plain::new(
    "OVERLAY",
    "OVERLAY(string PLACING replacement FROM start [FOR length]): the text with a part of it replaced",
    |args| {
        let params = [Param::Text, Param::Text, Param::Int, Param::Int];
        Ok(strict(accept(args, &params, 3, "OVERLAY takes (STRING, STRING, INT [, INT])")?, DataType::string().kind))
    },
    overlay,
)
.total();

pub(crate) static CHAR_LENGTH: Plain = Plain::new(
    "CHAR_LENGTH",
    "CHAR_LENGTH(string): the number of characters",
    |args| Ok(strict(accept(args, &[Param::Text], 1, "CHAR_LENGTH takes (STRING)")?, TypeKind::Int)),
    char_length,
)
.total();

pub(crate) static CHARACTER_LENGTH: Plain = Plain::new(
    "CHARACTER_LENGTH",
    "CHARACTER_LENGTH(string): the number of characters",
    |args| Ok(strict(accept(args, &[Param::Text], 1, "CHARACTER_LENGTH takes (STRING)")?, TypeKind::Int)),
    char_length,
)
.total();

fn bind_part(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    let types = accept(args, &[Param::Text, Param::Int, Param::Int], 2, usage)?;
    // Only a negative length, which is an argument of its own, makes NULL out of values.
    if types.len() == 3 {
        Ok(nullable(types, DataType::string().kind))
    } else {
        Ok(strict(types, DataType::string().kind))
    }
}

fn bind_end(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    Ok(strict(accept(args, &[Param::Text, Param::Int], 2, usage)?, DataType::string().kind))
}

/// Where the character of that index starts; the text's end when it has fewer.
pub(crate) fn byte_index(text: &str, char_index: usize) -> usize {
    if text.is_ascii() {
        return char_index.min(text.len());
    }
    text.char_indices().nth(char_index).map_or(text.len(), |(at, _)| at)
}

fn part(text: &str, start: i32, length: Option<i32>) -> &str {
    let skipped = match start {
        1.. => start as usize - 1,
        0 => 0,
        _ => {
            let count = text.chars().count();
            let back = start.unsigned_abs() as usize;
            if back > count {
                return "";
            }
            count - back
        }
    };
    let rest = &text[byte_index(text, skipped)..];
    match length {
        None => rest,
        Some(length) => &rest[..byte_index(rest, usize::try_from(length).unwrap_or(0))],
    }
}

fn substring(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let (texts, starts) = (args[0].strings(), args[1].numbers::<Int32Type>());
    let lengths = args.get(2).map(Operand::numbers::<Int32Type>);
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    for row in 0..rows {
        out.option(match (texts.get(row), starts.get(row), lengths.map(|l| l.get(row))) {
            (Some(text), Some(start), None) => Some(part(text, start, None)),
            (Some(text), Some(start), Some(Some(length))) if length >= 0 => Some(part(text, start, Some(length))),
            _ => None,
        });
    }
    out.finish()
}

fn ends(args: &[Operand], rows: usize, cut: impl Fn(&str, usize) -> &str) -> Result<ArrayRef> {
    let (texts, counts) = (args[0].strings(), args[1].numbers::<Int32Type>());
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    for row in 0..rows {
        out.option(match (texts.get(row), counts.get(row)) {
            (Some(text), Some(count)) => Some(cut(text, usize::try_from(count).unwrap_or(0))),
            _ => None,
        });
    }
    out.finish()
}

fn overlay(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let (texts, replacements) = (args[0].strings(), args[1].strings());
    let starts = args[2].numbers::<Int32Type>();
    let lengths = args.get(3).map(Operand::numbers::<Int32Type>);
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    for row in 0..rows {
        let (Some(text), Some(replacement), Some(start)) = (texts.get(row), replacements.get(row), starts.get(row))
        else {
            out.null();
            continue;
        };
        let length = match lengths.map(|l| l.get(row)) {
            None => i32::try_from(replacement.chars().count()).unwrap_or(i32::MAX),
            Some(Some(length)) => length,
            Some(None) => {
                out.null();
                continue;
            }
        };
        let count = text.chars().count();
        let start = usize::try_from(i64::from(start) - 1).ok().filter(|s| *s < count);
        match start {
            // A start outside of the text leaves it as it is.
            None => out.push_str(text),
            Some(start) => {
                out.push_str(&text[..byte_index(text, start)]);
                out.push_str(replacement);
                // Behind a length of 0 or less Flink leaves the rest of the text out.
                if let Some(length) = usize::try_from(length).ok().filter(|length| *length > 0) {
                    out.push_str(&text[byte_index(text, start.saturating_add(length))..]);
                }
            }
        }
        out.end();
    }
    out.finish()
}

fn char_length(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let texts = args[0].strings();
    let mut out = Int32Builder::with_capacity(rows);
    for row in 0..rows {
        out.append_option(texts.get(row).map(|t| i32::try_from(t.chars().count()).unwrap_or(i32::MAX)));
    }
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null, null_s, s};
    use wiesel_core::TypeKind;

    #[test]
    fn parts_count_characters_from_one() {
        check(&[
            ("SUBSTRING", vec![s("hello"), i(2)], "ello"),
            ("SUBSTRING", vec![s("hello"), i(2), i(3)], "ell"),
            ("SUBSTRING", vec![s("hello"), i(0), i(2)], "he"),
            ("SUBSTRING", vec![s("hello"), i(-3), i(2)], "ll"),
            ("SUBSTRING", vec![s("hello"), i(-9)], ""),
            ("SUBSTRING", vec![s("hello"), i(9)], ""),
            ("SUBSTRING", vec![s("hello"), i(2), i(-1)], "NULL"),
            ("SUBSTRING", vec![s("hello"), i(2), i(i32::MAX)], "ello"),
            ("SUBSTRING", vec![s("äöü"), i(2), i(1)], "ö"),
            ("SUBSTRING", vec![null_s(), i(1)], "NULL"),
            ("SUBSTR", vec![s("2024-05-01T10"), i(1), i(10)], "2024-05-01"),
            ("LEFT", vec![s("hello"), i(2)], "he"),
            ("LEFT", vec![s("hello"), i(-2)], ""),
            ("RIGHT", vec![s("hello"), i(2)], "lo"),
            ("RIGHT", vec![s("hello"), i(9)], "hello"),
            ("RIGHT", vec![null_s(), i(9)], "NULL"),
            ("OVERLAY", vec![s("abcdef"), s("XX"), i(3)], "abXXef"),
            ("OVERLAY", vec![s("abcdef"), s("X"), i(2), i(3)], "aXef"),
            ("OVERLAY", vec![s("abc"), s("X"), i(9)], "abc"),
            ("CHAR_LENGTH", vec![s("äöü")], "3"),
            ("CHAR_LENGTH", vec![null_s()], "NULL"),
            ("CHARACTER_LENGTH", vec![s("")], "0"),
            ("SUBSTRING", vec![s("a"), null(TypeKind::Int)], "NULL"),
        ]);
    }
}
