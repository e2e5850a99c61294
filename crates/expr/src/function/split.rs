//! SPLIT_INDEX and SPLIT: text cut at a delimiter.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use wiesel_core::{DataType, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict};
use crate::function::define::Plain;
use crate::function::{Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static SPLIT_INDEX: Plain = Plain::new(
    "SPLIT_INDEX",
    "SPLIT_INDEX(string, delimiter, index): one part, counted from 0; NULL when there are not so many",
    |args| {
        let params = [Param::Text, Param::Text, Param::Int];
        Ok(nullable(accept(args, &params, 3, "SPLIT_INDEX takes (STRING, STRING, INT)")?, DataType::string().kind))
    },
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

fn split_index(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
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
