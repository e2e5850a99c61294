//! REGEXP, REGEXP_EXTRACT, REGEXP_REPLACE: Java's regular expressions on a matcher of linear time.
//!
//! [`translate`] turns Java's syntax into the matcher's: `\d`, `\w`, `\s`, `\b` mean ASCII, `\Q...\E` quotes, POSIX classes are spelled
//! out. A pattern that is wrong in Java too gives NULL (REGEXP: FALSE), as in Flink. Look-around, back-references, possessive
//! quantifiers and atomic groups need backtracking; they are refused by name and never answered differently.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::BooleanBuilder;
use arrow_array::types::Int32Type;
use regex::{Captures, Regex};
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict};
use crate::function::define::Compiling;
use crate::function::{Operand, PreparedCall, Signature};
use crate::operand::{PerText, TextBuilder};

pub(crate) static REGEXP: Compiling = Compiling::new(
    "REGEXP",
    "REGEXP(string, pattern): whether the pattern occurs anywhere in the text",
    |args| Ok(strict(accept(args, &[Param::Text; 2], 2, "REGEXP takes (STRING, STRING)")?, TypeKind::Boolean)),
    || Box::<Find>::default(),
);

pub(crate) static REGEXP_EXTRACT: Compiling = Compiling::new(
    "REGEXP_EXTRACT",
    "REGEXP_EXTRACT(string, pattern [, group]): what the group of the first match holds; 0, the default, is the whole match; NULL without a match",
    |args| {
        let params = [Param::Text, Param::Text, Param::Int];
        let types = accept(args, &params, 2, "REGEXP_EXTRACT takes (STRING, STRING [, INT])")?;
        Ok(nullable(types, DataType::string().kind))
    },
    || Box::<Extract>::default(),
);

pub(crate) static REGEXP_REPLACE: Compiling = Compiling::new(
    "REGEXP_REPLACE",
    "REGEXP_REPLACE(string, pattern, replacement): the text with every match replaced; $1 in the replacement is the first group",
    |args| {
        let types = accept(args, &[Param::Text; 3], 3, "REGEXP_REPLACE takes (STRING, STRING, STRING)")?;
        Ok(nullable(types, DataType::string().kind))
    },
    || Box::<Replace>::default(),
);

/// A compiled pattern; `None` when it is wrong in Java too.
type Pattern = Option<Regex>;

fn compile(pattern: &str) -> Result<Pattern> {
    Ok(Regex::new(&translate(pattern)?).ok())
}

fn refused(pattern: &str, what: &str) -> Error {
    Error::config(format!("the regular expression `{pattern}` uses {what}, which is not supported"))
        .hint("patterns may use classes, groups, alternatives, anchors and greedy or lazy quantifiers")
}

/// Java's syntax in that of the matcher.
fn translate(pattern: &str) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut class_depth = 0_usize;
    let mut after_quantifier = false;
    while let Some(c) = chars.next() {
        let was_after_quantifier = std::mem::take(&mut after_quantifier);
        match c {
            '\\' => {
                let escaped = chars.next().unwrap_or('\\');
                if escaped == 'Q' {
                    quote(&mut chars, &mut out);
                } else {
                    translate_escape(pattern, escaped, &mut chars, class_depth > 0, &mut out)?;
                }
            }
            '[' => {
                class_depth += 1;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            ']' if class_depth > 0 => {
                class_depth -= 1;
                out.push(']');
            }
            _ if class_depth > 0 => {
                // The matcher gives `~~` and `--` in a class a meaning of its own.
                if matches!(c, '~' | '-') && chars.peek() == Some(&c) {
                    out.push('\\');
                }
                out.push(c);
            }
            '(' if chars.peek() == Some(&'?') => {
                let mut ahead = chars.clone();
                ahead.next();
                match (ahead.next(), ahead.next()) {
                    (Some('=' | '!'), _) => return Err(refused(pattern, "look-ahead")),
                    (Some('<'), Some('=' | '!')) => return Err(refused(pattern, "look-behind")),
                    (Some('>'), _) => return Err(refused(pattern, "an atomic group")),
                    _ => out.push('('),
                }
            }
            '*' | '+' | '?' | '}' => {
                if was_after_quantifier && c == '+' {
                    return Err(refused(pattern, "a possessive quantifier"));
                }
                after_quantifier = !was_after_quantifier;
                out.push(c);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn quote(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next_if_eq(&'E').is_some() {
            return;
        }
        out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }
}

fn translate_escape(
    pattern: &str,
    escaped: char,
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    in_class: bool,
    out: &mut String,
) -> Result<()> {
    match escaped {
        'd' => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str(if in_class { "a-zA-Z0-9_" } else { "[a-zA-Z0-9_]" }),
        'W' => out.push_str("[^a-zA-Z0-9_]"),
        's' => out.push_str(if in_class { r" \t\n\x0B\f\r" } else { r"[ \t\n\x0B\f\r]" }),
        'S' => out.push_str(r"[^ \t\n\x0B\f\r]"),
        'h' => out.push_str(if in_class { r" \t\u{A0}" } else { r"[ \t\u{A0}]" }),
        'R' => out.push_str(r"(?:\r\n|[\n\x0B\f\r])"),
        'b' => out.push_str(r"(?-u:\b)"),
        'B' => out.push_str(r"(?-u:\B)"),
        'Z' => out.push_str(r"(?:\n?\z)"),
        'e' => out.push_str(r"\x1B"),
        '1'..='9' if !in_class => return Err(refused(pattern, "a back-reference")),
        'k' => return Err(refused(pattern, "a back-reference")),
        'G' => return Err(refused(pattern, "`\\G`")),
        'p' | 'P' => {
            let name: String = if chars.next_if_eq(&'{').is_some() {
                chars.by_ref().take_while(|c| *c != '}').collect()
            } else {
                chars.next().map(String::from).unwrap_or_default()
            };
            match posix_class(&name) {
                Some(class) if escaped == 'p' => out.push_str(&format!("[{class}]")),
                Some(class) => out.push_str(&format!("[^{class}]")),
                None => {
                    let name = name.strip_prefix("Is").or_else(|| name.strip_prefix("In")).unwrap_or(&name);
                    out.push_str(&format!("\\{escaped}{{{name}}}"));
                }
            }
        }
        c if c.is_ascii_alphanumeric() => {
            out.push('\\');
            out.push(c);
        }
        c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
    }
    Ok(())
}

/// Java's POSIX classes, which are ASCII only.
fn posix_class(name: &str) -> Option<&'static str> {
    Some(match name {
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "Alpha" => "a-zA-Z",
        "Digit" => "0-9",
        "Alnum" => "a-zA-Z0-9",
        "Punct" => r"!-/:-@\[-`{-~",
        "Space" => r" \t\n\x0B\f\r",
        "Blank" => r" \t",
        "XDigit" => "0-9a-fA-F",
        "ASCII" => r"\x00-\x7F",
        _ => return None,
    })
}

#[derive(Debug, Default)]
struct Find {
    pattern: PerText<Pattern>,
}

impl PreparedCall for Find {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, patterns) = (args[0].strings(), args[1].strings());
        let mut out = BooleanBuilder::with_capacity(rows);
        for row in 0..rows {
            let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
                out.append_null();
                continue;
            };
            let regex = self.pattern.get(pattern, compile)?;
            out.append_value(!pattern.is_empty() && regex.as_ref().is_some_and(|r| r.is_match(text)));
        }
        Ok(Arc::new(out.finish()))
    }
}

#[derive(Debug, Default)]
struct Extract {
    pattern: PerText<Pattern>,
}

impl PreparedCall for Extract {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, patterns) = (args[0].strings(), args[1].strings());
        let groups = args.get(2).map(Operand::numbers::<Int32Type>);
        let mut out = TextBuilder::new(rows, texts.byte_count(rows));
        for row in 0..rows {
            let group = groups.map_or(Some(0), |g| g.get(row)).and_then(|g| usize::try_from(g).ok());
            let (Some(text), Some(pattern), Some(group)) = (texts.get(row), patterns.get(row), group) else {
                out.null();
                continue;
            };
            let found = match self.pattern.get(pattern, compile)? {
                None => None,
                Some(regex) if group == 0 => regex.find(text),
                Some(regex) => regex.captures(text).and_then(|c| c.get(group)),
            };
            out.option(found.map(|m| m.as_str()));
        }
        out.finish()
    }
}

#[derive(Debug, Default)]
struct Replace {
    pattern: PerText<Pattern>,
    replacement: PerText<Option<Vec<Piece>>>,
}

/// A piece of a replacement.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

impl PreparedCall for Replace {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, patterns, replacements) = (args[0].strings(), args[1].strings(), args[2].strings());
        let mut out = TextBuilder::new(rows, texts.byte_count(rows));
        for row in 0..rows {
            let (Some(text), Some(pattern), Some(replacement)) =
                (texts.get(row), patterns.get(row), replacements.get(row))
            else {
                out.null();
                continue;
            };
            let Some(regex) = self.pattern.get(pattern, compile)? else {
                out.null();
                continue;
            };
            let group_count = regex.captures_len() - 1;
            let pieces = self.replacement.get(replacement, |r| Ok(pieces(r, group_count)))?;
            if !regex.is_match(text) {
                out.value(text);
                continue;
            }
            let Some(pieces) = pieces else {
                out.null();
                continue;
            };
            let mut rest = 0;
            for captures in regex.captures_iter(text) {
                let Some(whole) = captures.get(0) else { continue };
                out.push_str(&text[rest..whole.start()]);
                push_replacement(&mut out, pieces, &captures);
                rest = whole.end();
            }
            out.push_str(&text[rest..]);
            out.end();
        }
        out.finish()
    }
}

fn push_replacement(out: &mut TextBuilder, pieces: &[Piece], captures: &Captures<'_>) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Group(group) => out.push_str(captures.get(*group).map_or("", |m| m.as_str())),
        }
    }
}

/// Reads `$1` and `\$`; `None` when Java refuses the replacement.
fn pieces(replacement: &str, group_count: usize) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next()?),
            '$' => {
                let mut group = chars.next()?.to_digit(10)? as usize;
                if group > group_count {
                    return None;
                }
                // More digits belong to the number as long as there is such a group.
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer > group_count {
                        break;
                    }
                    group = longer;
                    chars.next();
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Group(group));
            }
            c => text.push(c),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null_s, run, s};

    #[test]
    fn patterns_are_javas() {
        check(&[
            ("REGEXP", vec![s("hello 12"), s("\\d+")], "TRUE"),
            ("REGEXP", vec![s("٣"), s("\\d")], "FALSE"),
            ("REGEXP", vec![s("a"), s("")], "FALSE"),
            ("REGEXP", vec![s("a"), s("(")], "FALSE"),
            ("REGEXP", vec![s("a.b"), s("^\\Qa.b\\E$")], "TRUE"),
            ("REGEXP", vec![s("a-b"), s("[\\w-]+")], "TRUE"),
            ("REGEXP", vec![s("a/b"), s("a\\/b")], "TRUE"),
            ("REGEXP", vec![null_s(), s("a")], "NULL"),
            ("REGEXP_EXTRACT", vec![s("foothebar"), s("foo(.*?)(bar)"), i(2)], "bar"),
            ("REGEXP_EXTRACT", vec![s("foothebar"), s("foo(.*?)(bar)")], "foothebar"),
            ("REGEXP_EXTRACT", vec![s("xyz"), s("foo(.*)"), i(1)], "NULL"),
            ("REGEXP_EXTRACT", vec![s("foo"), s("foo"), i(5)], "NULL"),
            ("REGEXP_EXTRACT", vec![s("foo"), s("(x)?foo"), i(1)], "NULL"),
            ("REGEXP_EXTRACT", vec![s("xchannel=abc&x=1"), s("(&|^)channel=([^&]*)"), i(2)], "NULL"),
            ("REGEXP_EXTRACT", vec![s("x=1&channel=abc"), s("(&|^)channel=([^&]*)"), i(2)], "abc"),
            ("REGEXP_REPLACE", vec![s("foobar"), s("oo|ar"), s("")], "fb"),
            ("REGEXP_REPLACE", vec![s("a1b22"), s("(\\d+)"), s("<$1>")], "a<1>b<22>"),
            ("REGEXP_REPLACE", vec![s("abc"), s("b"), s("\\$")], "a$c"),
            ("REGEXP_REPLACE", vec![s("abc"), s("b"), s("$3")], "NULL"),
            ("REGEXP_REPLACE", vec![s("abc"), s("x"), s("y")], "abc"),
            ("REGEXP_REPLACE", vec![s("abc"), s("["), s("y")], "NULL"),
            ("REGEXP_REPLACE", vec![s("abc"), null_s(), s("y")], "NULL"),
        ]);
        for pattern in ["a(?=b)", "(?<!a)b", "(a)\\1", "a++", "(?>a)b"] {
            let refused = run("REGEXP", &[s("ab"), s(pattern)]);
            assert!(refused.starts_with("error: the regular expression"), "{pattern}: {refused}");
        }
    }
}
