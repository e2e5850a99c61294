//! TRIM, BTRIM, LTRIM, RTRIM: characters of a set are taken off the ends; the set is a blank when it is not given.
//!
//! TRIM(LEADING x FROM s) is LTRIM(s, x), TRIM(TRAILING x FROM s) is RTRIM(s, x), TRIM(BOTH x FROM s) is BTRIM(s, x).

use arrow_array::ArrayRef;
use wiesel_core::{DataType, Result};

use crate::function::binding::{Param, accept, strict};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static TRIM: Plain = Plain::new(
    "TRIM",
    "TRIM(string [, characters]): the text without blanks, or the given characters, at both ends",
    |args| bind(args, "TRIM takes (STRING [, STRING])"),
    |args, _, rows, _| trim(args, rows, Side::Both),
)
.total();

pub(crate) static BTRIM: Plain = Plain::new(
    "BTRIM",
    "BTRIM(string [, characters]): the text without blanks, or the given characters, at both ends",
    |args| bind(args, "BTRIM takes (STRING [, STRING])"),
    |args, _, rows, _| trim(args, rows, Side::Both),
)
.total();

pub(crate) static LTRIM: Plain = Plain::new(
    "LTRIM",
    "LTRIM(string [, characters]): the text without blanks, or the given characters, at its start",
    |args| bind(args, "LTRIM takes (STRING [, STRING])"),
    |args, _, rows, _| trim(args, rows, Side::Start),
)
.total();

pub(crate) static RTRIM: Plain = Plain::new(
    "RTRIM",
    "RTRIM(string [, characters]): the text without blanks, or the given characters, at its end",
    |args| bind(args, "RTRIM takes (STRING [, STRING])"),
    |args, _, rows, _| trim(args, rows, Side::End),
)
.total();

fn bind(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    Ok(strict(accept(args, &[Param::Text; 2], 1, usage)?, DataType::string().kind))
}

/// Which ends are trimmed.
#[derive(Clone, Copy)]
enum Side {
    Both,
    Start,
    End,
}

impl Side {
    fn cut(self, text: &str, is_cut: impl Fn(char) -> bool + Copy) -> &str {
        let text = if matches!(self, Side::End) { text } else { text.trim_start_matches(is_cut) };
        if matches!(self, Side::Start) { text } else { text.trim_end_matches(is_cut) }
    }
}

fn trim(args: &[Operand], rows: usize, side: Side) -> Result<ArrayRef> {
    let texts = args[0].strings();
    let sets = args.get(1).map(Operand::strings);
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    for row in 0..rows {
        out.option(match (texts.get(row), sets.map(|s| s.get(row))) {
            (Some(text), None) => Some(side.cut(text, |c| c == ' ')),
            (Some(text), Some(Some(characters))) => Some(side.cut(text, |c| characters.contains(c))),
            _ => None,
        });
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn ends_are_trimmed() {
        check(&[
            ("TRIM", vec![s("  a b  ")], "a b"),
            ("TRIM", vec![s("\ta\t")], "\ta\t"),
            ("TRIM", vec![null_s()], "NULL"),
            ("BTRIM", vec![s("xxaxx"), s("x")], "a"),
            ("BTRIM", vec![s("xyaxy"), s("yx")], "a"),
            ("BTRIM", vec![s("xa"), s("")], "xa"),
            ("LTRIM", vec![s("  a ")], "a "),
            ("LTRIM", vec![s("xxax"), s("x")], "ax"),
            ("LTRIM", vec![s("a"), null_s()], "NULL"),
            ("RTRIM", vec![s(" a  ")], " a"),
            ("RTRIM", vec![s("axx"), s("x")], "a"),
        ]);
    }
}
