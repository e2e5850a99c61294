//! JSON_OBJECT and JSON_ARRAY put JSON text together; JSON ELEMENTS takes an array apart, for JSON_QUERY ... RETURNING ARRAY.
//!
//! The binder hands over values that are JSON text already, and the keys of an object sorted and free of doubles. NULL among the values
//! is JSON's `null` (NULL ON NULL) or left out (ABSENT ON NULL), so the result itself is never NULL.

use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType as ArrowType;
use wiesel_core::{DataType, Error, Result, TypeKind};

use super::document::{Kind, Malformed, Raw, Scanner, Work, kind};
use super::{write_json, write_text};
use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, takes};
use crate::function::define::Plain;
use crate::function::{Argument, FunctionError, Operand, Signature};
use crate::operand::TextBuilder;

pub(crate) static JSON_OBJECT: Plain = Plain::new(
    "JSON_OBJECT",
    "JSON_OBJECT([KEY] key VALUE value, ... [NULL | ABSENT ON NULL]): a JSON object of literal keys and values, sorted by key; NULLs become null, or are left out",
    |args| texts(args, "JSON_OBJECT takes text literals as keys, such as JSON_OBJECT('id' VALUE id)"),
    |args, _, rows, context| build(args, rows, context, true),
)
.total();

pub(crate) static JSON_ARRAY: Plain = Plain::new(
    "JSON_ARRAY",
    "JSON_ARRAY(value, ... [NULL | ABSENT ON NULL]): a JSON array of the values; NULLs are left out, or become null",
    |args| texts(args, "JSON_ARRAY takes values with a JSON form"),
    |args, _, rows, context| build(args, rows, context, false),
)
.total();

pub(crate) static JSON_ELEMENTS: Plain = Plain::new(
    "JSON ELEMENTS",
    "JSON_QUERY(json, path RETURNING ARRAY<STRING>): the elements of the array at the path, texts without quotes",
    |args| {
        let args = accept(args, &[Param::Text], 1, "JSON_QUERY takes a STRING and a path")?;
        Ok(Signature { args, returns: DataType::new(TypeKind::Array(Box::new(DataType::string()))) })
    },
    elements,
);

fn texts(args: &[Argument<'_>], usage: &str) -> std::result::Result<Signature, FunctionError> {
    let types = args.iter().map(|arg| Param::Text.accept(arg.data_type)).collect::<Option<Vec<_>>>();
    let args = types.filter(|types| !types.is_empty()).ok_or_else(|| takes(usage))?;
    Ok(Signature { args, returns: DataType::not_null(DataType::string().kind) })
}

fn build(args: &[Operand], rows: usize, _: &EvalContext, is_object: bool) -> Result<ArrayRef> {
    let (Some((on_null, parts)), step) = (args.split_first(), if is_object { 2 } else { 1 }) else {
        return Err(Error::internal("a JSON constructor without its NULL clause"));
    };
    let on_null = on_null.strings();
    let parts: Vec<_> = parts.iter().map(Operand::strings).collect();
    let mut out = TextBuilder::new(rows, rows * 16 * parts.len().max(1));
    for row in 0..rows {
        let keeps_null = on_null.get(row) == Some("NULL");
        out.push(if is_object { '{' } else { '[' });
        let mut separator = "";
        for part in parts.chunks_exact(step) {
            let (key, value) = match part {
                [key, value] => (key.get(row), value.get(row)),
                [value] => (None, value.get(row)),
                _ => (None, None),
            };
            if value.is_none() && !keeps_null {
                continue;
            }
            out.push_str(separator);
            separator = ",";
            if let Some(key) = key {
                write_text(key, &mut out);
                out.push(':');
            }
            out.push_str(value.unwrap_or("null"));
        }
        out.push(if is_object { '}' } else { ']' });
        out.end();
    }
    out.finish()
}

fn elements(args: &[Operand], call: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
    let documents = args[0].strings();
    let mut items = TextBuilder::new(rows, documents.byte_count(rows));
    let (mut lengths, mut is_valid) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (mut work, mut scratch) = (Work::default(), String::new());
    for row in 0..rows {
        // Anything but an array is NULL, as in Flink.
        let document = documents.get(row).filter(|document| kind(document) == Kind::Array);
        is_valid.push(document.is_some());
        lengths.push(match document {
            None => 0,
            Some(document) => push_elements(document, &mut items, &mut work, &mut scratch)
                .map_err(|_| Error::internal("a JSON array that was checked could not be read again"))?,
        });
    }
    let ArrowType::List(field) = call.returns.to_arrow() else {
        return Err(Error::internal("an ARRAY is not a list"));
    };
    let nulls = Some(NullBuffer::from(is_valid));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items.finish()?, nulls)?))
}

fn push_elements<'a>(
    document: &'a str,
    items: &mut TextBuilder,
    work: &mut Work<'a>,
    scratch: &mut String,
) -> std::result::Result<usize, Malformed> {
    let mut scanner = Scanner::new(document);
    scanner.open(0)?;
    let (mut is_first, mut count) = (true, 0);
    while scanner.next_element(&mut is_first)? {
        let element = scanner.value(0)?;
        count += 1;
        match kind(element) {
            Kind::Null => {
                items.null();
                continue;
            }
            Kind::String => Raw::of(element).chars().for_each(|c| items.push(c)),
            _ => write_json(items, element, work, scratch)?,
        }
        items.end();
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn documents_are_put_together_and_taken_apart() {
        check(&[
            ("JSON_OBJECT", vec![s("NULL")], "{}"),
            ("JSON_OBJECT", vec![s("NULL"), s("a\""), s("1"), s("b"), s("[2]")], r#"{"a\"":1,"b":[2]}"#),
            ("JSON_ARRAY", vec![s("ABSENT")], "[]"),
            ("JSON_ARRAY", vec![s("ABSENT"), s("1"), s("{}")], "[1,{}]"),
            ("JSON ELEMENTS", vec![s(r#"["x",1,null,{"k":1.0}]"#)], r#"[x, 1, NULL, {"k":1.0}]"#),
            ("JSON ELEMENTS", vec![s(r#"{"k":1}"#)], "NULL"),
            ("JSON ELEMENTS", vec![null_s()], "NULL"),
        ]);
    }
}
