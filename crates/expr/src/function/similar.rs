//! SIMILAR TO: LIKE with the regular expressions of SQL.
//!
//! `%` and `_` mean what they mean in LIKE; `|`, `*`, `+`, `?`, `{n,m}`, `( )` and `[ ]` what they mean in regular expressions, `[^...]`
//! and classes such as `[[:alpha:]]` included. Every other character stands for itself. The whole text must be of the form. A pattern is
//! translated and compiled once.

use regex::Regex;
use wiesel_core::{Error, Result, TypeKind};

use crate::function::binding::{Param, accept, strict};
use crate::function::define::Compiling;
use crate::function::text_pattern::{PatternTest, TextPattern};

pub(crate) static SIMILAR_TO: Compiling = Compiling::new(
    "SIMILAR TO",
    "string SIMILAR TO pattern [ESCAPE character]: whether the text is of the form of SQL's regular expression",
    |args| {
        let types = accept(args, &[Param::Text; 3], 2, "SIMILAR TO takes (STRING, pattern [, escape STRING])")?;
        Ok(strict(types, TypeKind::Boolean))
    },
    || Box::<PatternTest<Regex>>::default(),
);

impl TextPattern for Regex {
    fn compile(pattern: &str, escape: Option<&str>) -> Result<Regex> {
        compile(pattern, escape.unwrap_or(""))
    }

    fn is_match(&self, text: &str) -> bool {
        Regex::is_match(self, text)
    }
}

fn compile(pattern: &str, escape: &str) -> Result<Regex> {
    let wrong = |why: &str| Error::data(format!("`{pattern}` is not a pattern of SIMILAR TO: {why}"));
    let mut escapes = escape.chars();
    let escape = escapes.next();
    if escapes.next().is_some() {
        return Err(wrong("the escape is more than one character"));
    }
    let mut translated = String::from(r"\A(?:");
    let mut is_in_brackets = false;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let literal = chars.next().ok_or_else(|| wrong("nothing stands behind the escape"))?;
            translated.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
            continue;
        }
        match c {
            '[' if is_in_brackets && chars.peek() == Some(&':') => {
                // A class such as [:alpha:], up to its end.
                translated.push('[');
                for inner in chars.by_ref() {
                    translated.push(if inner.is_ascii() { inner.to_ascii_lowercase() } else { inner });
                    if inner == ']' {
                        break;
                    }
                }
            }
            '[' => {
                is_in_brackets = true;
                translated.push('[');
            }
            ']' if is_in_brackets => {
                is_in_brackets = false;
                translated.push(']');
            }
            '^' | '-' if is_in_brackets => translated.push(c),
            '%' => translated.push_str(if is_in_brackets { "%" } else { "(?:.*)" }),
            '_' => translated.push(if is_in_brackets { '_' } else { '.' }),
            '|' | '*' | '+' | '?' | '{' | '}' | '(' | ')' if !is_in_brackets => translated.push(c),
            other => translated.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    translated.push_str(r")\z");
    Regex::new(&translated).map_err(|_| wrong("its brackets, parentheses or repetitions do not close"))
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn texts_are_of_the_form_of_sqls_regular_expressions() {
        let similar = |text: &str, pattern: &str| ("SIMILAR TO", vec![s(text), s(pattern)]);
        let cases = [
            (similar("abc", "a(b|c)c"), "TRUE"),
            (similar("abc", "%b%"), "TRUE"),
            (similar("abc", "b"), "FALSE"),
            (similar("abc", "[a-c]+"), "TRUE"),
            (similar("abd", "[^d]+"), "FALSE"),
            (similar("abc", "[[:alpha:]]+"), "TRUE"),
            (similar("abc", "[[:ALPHA:]]{3}"), "TRUE"),
            (similar("2024", "[0-9]{4}"), "TRUE"),
            (similar("a.c", "a.c"), "TRUE"),
            (similar("abc", "a.c"), "FALSE"),
            (("SIMILAR TO", vec![s("a%c"), s("a!%c"), s("!")]), "TRUE"),
            (("SIMILAR TO", vec![null_s(), s("a")]), "NULL"),
            (
                similar("a", "(a"),
                "error: `(a` is not a pattern of SIMILAR TO: its brackets, parentheses or repetitions do not close",
            ),
        ];
        check(&cases.into_iter().map(|((name, args), expected)| (name, args, expected)).collect::<Vec<_>>());
    }
}
