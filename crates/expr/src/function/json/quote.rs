//! JSON_QUOTE and JSON_UNQUOTE: text as a JSON string, and back (Flink 2.0).

use wiesel_core::DataType;

use super::document::{self, Raw};
use crate::function::binding::{Param, accept, strict};
use crate::function::define::Plain;
use crate::operand::TextBuilder;

pub(crate) static JSON_QUOTE: Plain = Plain::new(
    "JSON_QUOTE",
    "JSON_QUOTE(string): the text as a JSON string, with `/` and all characters outside ASCII escaped",
    |args| Ok(strict(accept(args, &[Param::Text], 1, "JSON_QUOTE takes (STRING)")?, DataType::string().kind)),
    |args, _, rows, _| {
        let texts = args[0].strings();
        let mut out = TextBuilder::new(rows, texts.byte_count(rows) + 2 * rows);
        for row in 0..rows {
            let Some(text) = texts.get(row) else {
                out.null();
                continue;
            };
            out.push('"');
            for c in text.chars() {
                quote(&mut out, c);
            }
            out.push('"');
            out.end();
        }
        out.finish()
    },
)
.total();

fn quote(out: &mut TextBuilder, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '/' => out.push_str("\\/"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\0'..='\u{7f}' => out.push(c),
        other => {
            for unit in other.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

pub(crate) static JSON_UNQUOTE: Plain = Plain::new(
    "JSON_UNQUOTE",
    "JSON_UNQUOTE(string): what a JSON string says; text that is no JSON stays as it is, and of other JSON the first and the last character go",
    |args| Ok(strict(accept(args, &[Param::Text], 1, "JSON_UNQUOTE takes (STRING)")?, DataType::string().kind)),
    |args, _, rows, _| {
        let texts = args[0].strings();
        let mut out = TextBuilder::new(rows, texts.byte_count(rows));
        for row in 0..rows {
            match texts.get(row) {
                None => out.null(),
                Some(text) if document::check(text).is_err() => out.value(text),
                Some(text) => {
                    // Flink cuts the outermost characters off whatever the JSON is.
                    let mut inner = text.chars();
                    inner.next();
                    inner.next_back();
                    Raw(inner.as_str()).chars().for_each(|c| out.push(c));
                    out.end();
                }
            }
        }
        out.finish()
    },
)
.total();

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn text_is_quoted_and_unquoted() {
        check(&[
            ("JSON_QUOTE", vec![s("V\"1\"\n/é")], "\"V\\\"1\\\"\\n\\/\\u00e9\""),
            ("JSON_QUOTE", vec![s("😀")], "\"\\ud83d\\ude00\""),
            ("JSON_QUOTE", vec![s("")], "\"\""),
            ("JSON_QUOTE", vec![null_s()], "NULL"),
            ("JSON_UNQUOTE", vec![s("\"V\\\"1\\\"\\n\\/\\u00e9\"")], "V\"1\"\n/é"),
            ("JSON_UNQUOTE", vec![s("not json")], "not json"),
            ("JSON_UNQUOTE", vec![s("[1,2]")], "1,2"),
            ("JSON_UNQUOTE", vec![s("\"\"")], ""),
            ("JSON_UNQUOTE", vec![null_s()], "NULL"),
        ]);
    }
}
