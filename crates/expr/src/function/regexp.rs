//! REGEXP, REGEXP_EXTRACT, REGEXP_REPLACE: Java's regular expressions on a matcher of linear time.
//!
//! [`translate`] turns Java's syntax into the matcher's: `\d`, `\w`, `\s`, `\b` mean ASCII, `\Q...\E` quotes, POSIX classes are spelled
//! out. A pattern that is wrong in Java too gives NULL (REGEXP: FALSE), as in Flink. Look-around, back-references, possessive
//! quantifiers and atomic groups need backtracking; they are refused by name, at planning when the pattern is a literal, and never
//! answered differently. The replacement of REGEXP_REPLACE is plain text: Flink quotes it, so `$1` stays `$1`.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::BooleanBuilder;
use arrow_array::types::Int32Type;
use regex::Regex;
use wiesel_core::{DataType, Error, Result, TypeKind, Value};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict, takes};
use crate::function::define::Compiling;
use crate::function::{Argument, FunctionError, Operand, PreparedCall, Signature};
use crate::operand::TextBuilder;

pub(crate) static REGEXP: Compiling = Compiling::new(
    "REGEXP",
    "REGEXP(string, pattern): whether the pattern occurs anywhere in the text",
    |args| Ok(strict(bind(args, &[Param::Text; 2], "REGEXP takes (STRING, STRING)")?, TypeKind::Boolean)),
    || Box::<Find>::default(),
);

pub(crate) static REGEXP_EXTRACT: Compiling = Compiling::new(
    "REGEXP_EXTRACT",
    "REGEXP_EXTRACT(string, pattern [, group]): what the group of the first match holds; 0, the default, is the whole match; NULL without a match",
    |args| {
        let params = [Param::Text, Param::Text, Param::Int];
        let types = bind(args, &params, "REGEXP_EXTRACT takes (STRING, STRING [, INT])")?;
        Ok(nullable(types, DataType::string().kind))
    },
    || Box::<Extract>::default(),
);

pub(crate) static REGEXP_REPLACE: Compiling = Compiling::new(
    "REGEXP_REPLACE",
    "REGEXP_REPLACE(string, pattern, replacement): the text with every match replaced; the replacement is taken as it is",
    |args| {
        let usage = "REGEXP_REPLACE takes (STRING, STRING, STRING)";
        let types =
            bind(args, &[Param::Text; 3], usage).and_then(|t| if t.len() == 3 { Ok(t) } else { Err(takes(usage)) })?;
        Ok(nullable(types, DataType::string().kind))
    },
    || Box::<Replace>::default(),
);

/// The types of a call whose second argument is a pattern; a literal pattern must translate.
pub(super) fn bind(
    args: &[Argument<'_>],
    params: &[Param],
    usage: &str,
) -> std::result::Result<Vec<DataType>, FunctionError> {
    let types = accept(args, params, 2, usage)?;
    if let Some(Argument { literal: Some(Value::String(pattern)), .. }) = args.get(1)
        && let Err(refused) = translate(pattern)
    {
        return Err(takes(&format!("a pattern that needs no backtracking; {}", refused.message())));
    }
    Ok(types)
}

/// A compiled pattern; `None` when it is wrong in Java too.
type Pattern = Option<Regex>;

/// Compiles a pattern of Java's syntax.
pub(super) fn compile(pattern: &str) -> Result<Pattern> {
    Ok(Regex::new(&translate(pattern)?).ok())
}

/// How many compiled patterns a call keeps when its pattern is a column.
const PATTERN_COUNT_MAX: usize = 64;

/// The compiled patterns of a call: one for a literal, the latest few for a column of patterns.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    entries: Vec<(String, Pattern)>,
    /// The entry that was used last.
    last: usize,
    /// The entry to be given up next, round and round.
    next: usize,
}

impl Patterns {
    /// The compiled form of a pattern.
    pub(super) fn get(&mut self, pattern: &str) -> Result<Option<&Regex>> {
        if self.entries.get(self.last).is_none_or(|e| e.0 != pattern) {
            self.last = match self.entries.iter().position(|e| e.0 == pattern) {
                Some(known) => known,
                None => self.insert(pattern)?,
            };
        }
        Ok(self.entries.get(self.last).and_then(|e| e.1.as_ref()))
    }

    fn insert(&mut self, pattern: &str) -> Result<usize> {
        let entry = (pattern.to_owned(), compile(pattern)?);
        if self.entries.len() < PATTERN_COUNT_MAX {
            self.entries.push(entry);
            return Ok(self.entries.len() - 1);
        }
        let index = self.next;
        self.entries[index] = entry;
        self.next = (index + 1) % PATTERN_COUNT_MAX;
        Ok(index)
    }
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
    // Java's `.` leaves out all line ends, unless a flag such as (?s) says otherwise.
    let dot = if has_flags(pattern) { "." } else { r"[^\n\r\u{85}\u{2028}\u{2029}]" };
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
            '.' => out.push_str(dot),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Whether the pattern holds inline flags: `(?i)`, `(?s:...)`.
fn has_flags(pattern: &str) -> bool {
    pattern
        .match_indices("(?")
        .any(|(at, _)| pattern[at + 2..].starts_with(|c: char| c == '-' || c.is_ascii_lowercase()))
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
    patterns: Patterns,
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
            let regex = self.patterns.get(pattern)?;
            out.append_value(!pattern.is_empty() && regex.is_some_and(|r| r.is_match(text)));
        }
        Ok(Arc::new(out.finish()))
    }
}

#[derive(Debug, Default)]
struct Extract {
    patterns: Patterns,
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
            let found = match self.patterns.get(pattern)? {
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
    patterns: Patterns,
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
            let Some(regex) = self.patterns.get(pattern)? else {
                out.null();
                continue;
            };
            let mut rest = 0;
            for found in regex.find_iter(text) {
                out.push_str(&text[rest..found.start()]);
                out.push_str(replacement);
                rest = found.end();
            }
            out.push_str(&text[rest..]);
            out.end();
        }
        out.finish()
    }
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
            ("REGEXP_REPLACE", vec![s("a1b22"), s("(\\d+)"), s("<$1>")], "a<$1>b<$1>"),
            ("REGEXP_REPLACE", vec![s("abc"), s("b"), s("\\$")], "a\\$c"),
            ("REGEXP_REPLACE", vec![s("abc"), s(""), s("-")], "-a-b-c-"),
            ("REGEXP_REPLACE", vec![s("a\rb"), s("a.b"), s("-")], "a\rb"),
            ("REGEXP_REPLACE", vec![s("abc"), s("x"), s("y")], "abc"),
            ("REGEXP_REPLACE", vec![s("abc"), s("["), s("y")], "NULL"),
            ("REGEXP_REPLACE", vec![s("abc"), null_s(), s("y")], "NULL"),
        ]);
        for pattern in ["a(?=b)", "(?<!a)b", "(a)\\1", "a++", "(?>a)b"] {
            let refused = run("REGEXP", &[s("ab"), s(pattern)]);
            assert!(refused.starts_with("bind: a pattern that needs no backtracking; the"), "{pattern}: {refused}");
        }
    }
}
