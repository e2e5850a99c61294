//! SPLIT_INDEX and SPLIT: text cut at a delimiter.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use wiesel_core::{DataType, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static SPLIT_INDEX: Plain = Plain::new(
    "SPLIT_INDEX",
    "SPLIT_INDEX(string, delimiter, index): one part, counted from 0; NULL when there are not so many",
    bind_split_index,
    split_index,
)
.total();

pub(crate) static SPLIT: Plain = Plain::new(
    "SPLIT",
    "SPLIT(string, delimiter): all parts as an ARRAY; single characters when the delimiter is empty",
    |args| {
        let types = accept(args, &[Param::Text; 2], 2, "SPLIT takes (STRING, STRING)")?;
        Ok(strict(types, TypeKind::Array(Box::new(DataType::string()))))
    },
    split,
)
.total();

/// SPLIT_INDEX takes its delimiter as text, or as the code of one character.
fn bind_split_index(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    let usage = "SPLIT_INDEX takes (STRING, STRING, INT) or (STRING, character code, INT)";
    let is_code = args.get(1).is_some_and(|a| a.data_type.kind.is_integer());
    let delimiter = if is_code { Param::Int } else { Param::Text };
    Ok(nullable(accept(args, &[Param::Text, delimiter, Param::Int], 3, usage)?, DataType::string().kind))
}

fn split_index_by_code(args: &[Operand], rows: usize) -> Result<ArrayRef> {
    let (texts, codes) = (args[0].strings(), args[1].numbers::<Int32Type>());
    let indices = args[2].numbers::<Int32Type>();
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    for row in 0..rows {
        let delimiter = codes.get(row).and_then(|code| u8::try_from(code).ok()).map(char::from);
        out.option(match (texts.get(row), delimiter, indices.get(row)) {
            (Some(text), Some(delimiter), Some(index)) if index >= 0 && !text.is_empty() => {
                text.split(delimiter).nth(index as usize)
            }
            _ => None,
        });
    }
    out.finish()
}

fn split_index(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    if call.args[1].kind == TypeKind::Int {
        return split_index_by_code(args, rows);
    }
    let (texts, delimiters) = (args[0].strings(), args[1].strings());
    let indices = args[2].numbers::<Int32Type>();
    let mut out = TextBuilder::new(rows, texts.byte_count(rows));
    for row in 0..rows {
        out.option(match (texts.get(row), delimiters.get(row), indices.get(row)) {
            // An empty text has no part at all.
            (Some(text), Some(delimiter), Some(index)) if index >= 0 && !text.is_empty() => {
                if delimiter.is_empty() {
                    text.split(char::is_whitespace).nth(index as usize)
                } else {
                    text.split(delimiter).nth(index as usize)
                }
            }
            _ => None,
        });
    }
    out.finish()
}

fn split(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let (texts, delimiters) = (args[0].strings(), args[1].strings());
    let mut out = ListBuilder::new(StringBuilder::with_capacity(rows, texts.byte_count(rows)));
    for row in 0..rows {
        match (texts.get(row), delimiters.get(row)) {
            (Some(text), Some("")) => {
                for c in text.chars() {
                    out.values().append_value(c.encode_utf8(&mut [0; 4]));
                }
                out.append(true);
            }
            (Some(text), Some(delimiter)) => {
                text.split(delimiter).for_each(|part| out.values().append_value(part));
                out.append(true);
            }
            _ => out.append(false),
        }
    }
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null_s, s};

    #[test]
    fn text_is_split_at_whole_delimiters() {
        check(&[
            ("SPLIT_INDEX", vec![s("a,b,,c"), s(","), i(1)], "b"),
            ("SPLIT_INDEX", vec![s("a,b,,c"), s(","), i(2)], ""),
            ("SPLIT_INDEX", vec![s("a,b"), s(","), i(2)], "NULL"),
            ("SPLIT_INDEX", vec![s("a,b"), s(","), i(-1)], "NULL"),
            ("SPLIT_INDEX", vec![s(""), s(","), i(0)], "NULL"),
            ("SPLIT_INDEX", vec![s("a--b"), s("--"), i(1)], "b"),
            ("SPLIT_INDEX", vec![null_s(), s(","), i(0)], "NULL"),
            ("SPLIT", vec![s("a,b,"), s(",")], "[a, b, ]"),
            ("SPLIT", vec![s("ab"), s("")], "[a, b]"),
            ("SPLIT", vec![s("ab"), null_s()], "NULL"),
        ]);
    }
}
