//! UPPER, LOWER, INITCAP.

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Result};

use crate::function::binding::{Param, accept, strict};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static UPPER: Plain =
    Plain::new("UPPER", "UPPER(string): the text in upper case", bind_upper, |args, _, rows, _| {
        map_chars(args, rows, |text, out| {
            if text.is_ascii() {
                text.chars().for_each(|c| out.push(c.to_ascii_uppercase()));
            } else {
                text.chars().flat_map(char::to_uppercase).for_each(|c| out.push(c));
            }
        })
    })
    .total();

pub(crate) static LOWER: Plain =
    Plain::new("LOWER", "LOWER(string): the text in lower case", bind_lower, |args, _, rows, _| {
        map_chars(args, rows, |text, out| {
            if text.is_ascii() {
                text.chars().for_each(|c| out.push(c.to_ascii_lowercase()));
            } else {
                text.chars().flat_map(char::to_lowercase).for_each(|c| out.push(c));
            }
        })
    })
    .total();

pub(crate) static INITCAP: Plain = Plain::new(
    "INITCAP",
    "INITCAP(string): each word's first letter in upper case and its other letters in lower case; words are made of ASCII letters and digits",
    bind_initcap,
    |args, _, rows, _| {
        map_chars(args, rows, |text, out| {
            let mut in_word = false;
            for c in text.chars() {
                out.push(if in_word { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
                in_word = c.is_ascii_alphanumeric();
            }
        })
    },
)
.total();

fn bind_upper(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    one_text(args, "UPPER takes (STRING)")
}

fn bind_lower(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    one_text(args, "LOWER takes (STRING)")
}

fn bind_initcap(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    one_text(args, "INITCAP takes (STRING)")
}

/// STRING to STRING.
pub(crate) fn one_text(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    Ok(strict(accept(args, &[Param::Text], 1, usage)?, DataType::string().kind))
}

/// Text to text; NULL stays NULL.
pub(crate) fn map_chars(
    args: &[Operand],
    rows: usize,
    mut write: impl FnMut(&str, &mut TextBuilder),
) -> Result<ArrayRef> {
    let texts = args[0].strings();
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    for row in 0..rows {
        match texts.get(row) {
            None => out.null(),
            Some(text) => {
                write(text, &mut out);
                out.end();
            }
        }
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null_s, s};

    #[test]
    fn case_is_changed_letter_by_letter() {
        check(&[
            ("UPPER", vec![s("abC1")], "ABC1"),
            ("UPPER", vec![s("straße")], "STRASSE"),
            ("UPPER", vec![null_s()], "NULL"),
            ("UPPER", vec![s("")], ""),
            ("UPPER", vec![i(1)], "bind: UPPER takes (STRING)"),
            ("LOWER", vec![s("ÄBC")], "äbc"),
            ("LOWER", vec![null_s()], "NULL"),
            ("INITCAP", vec![s("hello wORLD-x1y")], "Hello World-X1y"),
            ("INITCAP", vec![null_s()], "NULL"),
        ]);
    }
}
