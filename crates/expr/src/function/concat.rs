//! `||`, CONCAT, CONCAT_WS.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::BinaryBuilder;
use wiesel_core::types::MAX_LENGTH;
use wiesel_core::{DataType, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, any_nullable, strict, takes};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::{Strings, TextBuilder};

pub(crate) static CONCAT_OPERATOR: Plain = Plain::new(
    "||",
    "string1 || string2: both texts one after the other; NULL when one is NULL",
    |args| {
        let usage = "`||` takes two STRINGs or two BYTES; CAST other types";
        if let Ok(types) = accept(args, &[Param::Binary; 2], 2, usage)
            && args.iter().any(|a| a.data_type.kind != TypeKind::Null)
        {
            return Ok(strict(types, TypeKind::VarBinary(MAX_LENGTH)));
        }
        Ok(strict(accept(args, &[Param::Text; 2], 2, usage)?, DataType::string().kind))
    },
    |args, call, rows, context| match call.returns.kind {
        TypeKind::VarBinary(_) => concat_bytes(args, rows),
        _ => concat(args, call, rows, context),
    },
)
.total();

pub(crate) static CONCAT: Plain = Plain::new(
    "CONCAT",
    "CONCAT(string1, string2, ...): all texts one after the other; NULL when one is NULL",
    |args| texts(args, 1, "CONCAT takes (STRING, ...); CAST other types"),
    concat,
)
.total();

pub(crate) static CONCAT_WS: Plain = Plain::new(
    "CONCAT_WS",
    "CONCAT_WS(separator, string1, ...): the texts that are not NULL, with the separator between them; NULL when the separator is",
    |args| {
        let signature = texts(args, 1, "CONCAT_WS takes (STRING, STRING, ...); CAST other types")?;
        let nullable = any_nullable(&signature.args[..1]);
        Ok(Signature { returns: signature.returns.with_nullable(nullable), args: signature.args })
    },
    concat_ws,
)
.total();

fn texts(args: &[Argument<'_>], required: usize, usage: &str) -> std::result::Result<Signature, FunctionError> {
    if args.len() < required {
        return Err(takes(usage));
    }
    Ok(strict(accept(args, &vec![Param::Text; args.len()], required, usage)?, DataType::string().kind))
}

fn concat(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let texts: Vec<Strings<'_>> = args.iter().map(Operand::strings).collect();
    let bytes = texts.iter().map(|t| t.byte_count(rows)).sum();
    let mut out = TextBuilder::new(rows, bytes);
    for row in 0..rows {
        if texts.iter().any(|t| t.get(row).is_none()) {
            out.null();
            continue;
        }
        texts.iter().filter_map(|t| t.get(row)).for_each(|text| out.push_str(text));
        out.end();
    }
    out.finish()
}

fn concat_bytes(args: &[Operand], rows: usize) -> Result<ArrayRef> {
    let (left, right) = (args[0].bytes(), args[1].bytes());
    let mut out = BinaryBuilder::with_capacity(rows, 0);
    let mut joined = Vec::new();
    for row in 0..rows {
        match (left.get(row), right.get(row)) {
            (Some(a), Some(b)) => {
                joined.clear();
                joined.extend_from_slice(a);
                joined.extend_from_slice(b);
                out.append_value(&joined);
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn concat_ws(args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let separators = args[0].strings();
    let texts: Vec<Strings<'_>> = args[1..].iter().map(Operand::strings).collect();
    let mut out = TextBuilder::new(rows, texts.iter().map(|t| t.byte_count(rows)).sum());
    for row in 0..rows {
        let Some(separator) = separators.get(row) else {
            out.null();
            continue;
        };
        for (index, text) in texts.iter().filter_map(|t| t.get(row)).enumerate() {
            if index > 0 {
                out.push_str(separator);
            }
            out.push_str(text);
        }
        out.end();
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null_s, s};

    #[test]
    fn texts_are_joined() {
        check(&[
            ("||", vec![s("ab"), s("c")], "abc"),
            ("||", vec![s("ab"), null_s()], "NULL"),
            ("||", vec![s(""), s("")], ""),
            ("||", vec![s("a"), i(1)], "bind: `||` takes two STRINGs or two BYTES; CAST other types"),
            ("CONCAT", vec![s("a"), s("b"), s("c")], "abc"),
            ("CONCAT", vec![s("a"), null_s(), s("c")], "NULL"),
            ("CONCAT_WS", vec![s("~"), s("a"), null_s(), s("c")], "a~c"),
            ("CONCAT_WS", vec![null_s(), s("a")], "NULL"),
            ("CONCAT_WS", vec![s("~"), null_s()], ""),
        ]);
    }
}
