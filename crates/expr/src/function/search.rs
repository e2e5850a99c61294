//! POSITION, LOCATE, INSTR, STARTSWITH, ENDSWITH, REPLACE: plain text inside plain text. Positions count characters from 1; 0 is absent.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{BooleanBuilder, Int32Builder};
use arrow_array::types::Int32Type;
use memchr::memmem;
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, strict};
use crate::function::define::Plain;
use crate::function::substring::byte_index;
use crate::function::{Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static POSITION: Plain = Plain::new(
    "POSITION",
    "POSITION(string1 IN string2): where the first text starts in the second; 0 when it does not",
    |args| Ok(strict(accept(args, &[Param::Text; 2], 2, "POSITION takes (STRING IN STRING)")?, TypeKind::Int)),
    locate,
)
.total();

pub(crate) static LOCATE: Plain = Plain::new(
    "LOCATE",
    "LOCATE(string1, string2 [, start]): where the first text starts in the second, from a position on; 0 when it does not",
    |args| {
        let params = [Param::Text, Param::Text, Param::Int];
        Ok(strict(accept(args, &params, 2, "LOCATE takes (STRING, STRING [, INT])")?, TypeKind::Int))
    },
    locate,
)
.total();

pub(crate) static INSTR: Plain = Plain::new(
    "INSTR",
    "INSTR(string1, string2 [, start [, nth]]): where the nth occurrence of the second text starts in the first; a negative start searches backwards",
    |args| {
        let params = [Param::Text, Param::Text, Param::Int, Param::Int];
        Ok(strict(accept(args, &params, 2, "INSTR takes (STRING, STRING [, INT [, INT]])")?, TypeKind::Int))
    },
    instr,
);

pub(crate) static STARTSWITH: Plain = Plain::new(
    "STARTSWITH",
    "STARTSWITH(string, start): whether the text begins so",
    |args| Ok(strict(accept(args, &[Param::Text; 2], 2, "STARTSWITH takes (STRING, STRING)")?, TypeKind::Boolean)),
    |args, _, rows, _| test(args, rows, |text, part| text.starts_with(part)),
)
.total();

pub(crate) static ENDSWITH: Plain = Plain::new(
    "ENDSWITH",
    "ENDSWITH(string, end): whether the text ends so",
    |args| Ok(strict(accept(args, &[Param::Text; 2], 2, "ENDSWITH takes (STRING, STRING)")?, TypeKind::Boolean)),
    |args, _, rows, _| test(args, rows, |text, part| text.ends_with(part)),
)
.total();

pub(crate) static REPLACE: Plain = Plain::new(
    "REPLACE",
    "REPLACE(string, search, replacement): the text with every occurrence replaced",
    |args| {
        Ok(strict(
            accept(args, &[Param::Text; 3], 3, "REPLACE takes (STRING, STRING, STRING)")?,
            DataType::string().kind,
        ))
    },
    replace,
)
.total();

fn test(args: &[Operand], rows: usize, is_match: impl Fn(&str, &str) -> bool) -> Result<ArrayRef> {
    let (texts, parts) = (args[0].strings(), args[1].strings());
    let mut out = BooleanBuilder::with_capacity(rows);
    for row in 0..rows {
        out.append_option(texts.get(row).zip(parts.get(row)).map(|(text, part)| is_match(text, part)));
    }
    Ok(Arc::new(out.finish()))
}

/// The position, from 1, of the character that starts at a byte.
fn char_position(text: &str, byte: usize) -> i32 {
    i32::try_from(text[..byte].chars().count() + 1).unwrap_or(i32::MAX)
}

fn locate(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let (needles, texts) = (args[0].strings(), args[1].strings());
    let starts = args.get(2).map(Operand::numbers::<Int32Type>);
    let mut out = Int32Builder::with_capacity(rows);
    for row in 0..rows {
        let start = starts.map_or(Some(1), |s| s.get(row));
        out.append_option(match (needles.get(row), texts.get(row), start) {
            (Some(needle), Some(text), Some(start)) => Some(find_from(text, needle, start)),
            _ => None,
        });
    }
    Ok(Arc::new(out.finish()))
}

fn find_from(text: &str, needle: &str, start: i32) -> i32 {
    // A start before the text means its beginning.
    let skipped = usize::try_from(i64::from(start) - 1).unwrap_or(0);
    if skipped > text.chars().count() {
        return 0;
    }
    let from = byte_index(text, skipped);
    match memmem::find(&text.as_bytes()[from..], needle.as_bytes()) {
        None => 0,
        Some(at) => char_position(text, from + at),
    }
}

fn instr(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let (texts, needles) = (args[0].strings(), args[1].strings());
    let starts = args.get(2).map(Operand::numbers::<Int32Type>);
    let nths = args.get(3).map(Operand::numbers::<Int32Type>);
    let mut out = Int32Builder::with_capacity(rows);
    for row in 0..rows {
        let (start, nth) = (starts.map_or(Some(1), |s| s.get(row)), nths.map_or(Some(1), |n| n.get(row)));
        out.append_option(match (texts.get(row), needles.get(row), start, nth) {
            (Some(_), Some(_), Some(_), Some(nth)) if nth <= 0 => {
                return Err(Error::data(format!("INSTR takes an occurrence from 1 on, and this one is {nth}")));
            }
            (Some(text), Some(needle), Some(start), Some(nth)) => Some(nth_position(text, needle, start, nth)),
            _ => None,
        });
    }
    Ok(Arc::new(out.finish()))
}

fn nth_position(text: &str, needle: &str, start: i32, nth: i32) -> i32 {
    if start == 0 {
        return 0;
    }
    if start > 0 {
        let mut position = find_from(text, needle, start);
        for _ in 1..nth {
            if position == 0 {
                return 0;
            }
            position = find_from(text, needle, position.saturating_add(1));
        }
        return position;
    }
    // Backwards: an occurrence may start at the given place from the end, or before it.
    let count = text.chars().count();
    let Some(last) = count.checked_sub(start.unsigned_abs() as usize) else {
        return 0;
    };
    let last = byte_index(text, last);
    let starts = text.char_indices().map(|(at, _)| at).filter(|at| *at <= last && text[*at..].starts_with(needle));
    let found: Vec<usize> = starts.collect();
    let index = found.len().checked_sub(usize::try_from(nth).unwrap_or(usize::MAX));
    index.and_then(|i| found.get(i)).map_or(0, |at| char_position(text, *at))
}

fn replace(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let (texts, searches, replacements) = (args[0].strings(), args[1].strings(), args[2].strings());
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    for row in 0..rows {
        let (Some(text), Some(search), Some(replacement)) = (texts.get(row), searches.get(row), replacements.get(row))
        else {
            out.null();
            continue;
        };
        let mut rest = 0;
        for (at, found) in text.match_indices(search) {
            out.push_str(&text[rest..at]);
            out.push_str(replacement);
            rest = at + found.len();
        }
        out.push_str(&text[rest..]);
        out.end();
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null_s, s};

    #[test]
    fn text_is_found_by_position() {
        check(&[
            ("POSITION", vec![s("l"), s("hello")], "3"),
            ("POSITION", vec![s("x"), s("hello")], "0"),
            ("POSITION", vec![s("ü"), s("äöü")], "3"),
            ("POSITION", vec![s(""), s("a")], "1"),
            ("POSITION", vec![null_s(), s("a")], "NULL"),
            ("LOCATE", vec![s("l"), s("hello"), i(4)], "4"),
            ("LOCATE", vec![s("l"), s("hello"), i(0)], "3"),
            ("LOCATE", vec![s("l"), s("hello"), i(99)], "0"),
            ("INSTR", vec![s("hello"), s("l")], "3"),
            ("INSTR", vec![s("hello"), s("l"), i(1), i(2)], "4"),
            ("INSTR", vec![s("hello"), s("l"), i(-1), i(2)], "3"),
            ("INSTR", vec![s("hello"), s("l"), i(1), i(3)], "0"),
            (
                "INSTR",
                vec![s("a"), s("a"), i(1), i(0)],
                "error: INSTR takes an occurrence from 1 on, and this one is 0",
            ),
            ("STARTSWITH", vec![s("hello"), s("he")], "TRUE"),
            ("ENDSWITH", vec![s("hello"), s("he")], "FALSE"),
            ("ENDSWITH", vec![null_s(), s("he")], "NULL"),
            ("REPLACE", vec![s("banana"), s("an"), s("-")], "b--a"),
            ("REPLACE", vec![s("abc"), s(""), s("x")], "xaxbxcx"),
            ("REPLACE", vec![s("abc"), s("b"), s("")], "ac"),
            ("REPLACE", vec![s("abc"), null_s(), s("")], "NULL"),
        ]);
    }
}
