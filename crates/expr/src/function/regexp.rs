//! REGEXP, REGEXP_EXTRACT, REGEXP_REPLACE: Java's regular expressions.
//!
//! [`translate`] turns Java's syntax into the matcher's: `\d`, `\w`, `\s`, `\b` mean ASCII, `\Q...\E` quotes, POSIX classes are spelled
//! out. A pattern that is wrong in Java too gives NULL (REGEXP: FALSE), as in Flink. Look-around, back-references, possessive
//! quantifiers and atomic groups go to a backtracking matcher ([`super::regexp_matcher`]); what neither has is refused by name, at planning
//! when the pattern is a literal. The replacement of REGEXP_REPLACE is plain text: Flink quotes it, so `$1` stays `$1`.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::BooleanBuilder;
use arrow_array::types::Int32Type;
use wiesel_core::{DataType, Error, Result, TypeKind, Value};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, strict, takes};
use crate::function::define::Compiling;
use crate::function::regexp_matcher::Matcher;
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
        && let Err(refused) = compile(pattern)
    {
        return Err(takes(&format!("a pattern of another form; {}", refused.message())));
    }
    Ok(types)
}

/// A compiled pattern; `None` when it is wrong in Java too.
type Pattern = Option<Matcher>;

/// Compiles a pattern of Java's syntax.
pub(super) fn compile(pattern: &str) -> Result<Pattern> {
    let linear = translate(pattern, Form::Linear)?;
    if linear.needs_backtracking {
        let backtracking = translate(pattern, Form::Backtracking)?;
        return match Matcher::backtracking(&backtracking.text) {
            Some(matcher) => Ok(Some(matcher)),
            None => Err(refused(pattern, "a form of look-around or repetition")),
        };
    }
    let for_line_ends = if linear.has_text_end { Some(translate(pattern, Form::Backtracking)?.text) } else { None };
    Ok(Matcher::linear(&linear.text, for_line_ends.as_deref()))
}

/// Which matcher a pattern is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Linear,
    Backtracking,
}

/// A pattern in the syntax of a matcher.
#[derive(Debug)]
struct Translated {
    text: String,
    /// It uses what only the backtracking matcher has.
    needs_backtracking: bool,
    /// It asks for the end of the text, before which a line end may stand.
    has_text_end: bool,
}

/// The end of the text, or in front of a line end that ends it.
const TEXT_END: &str = r"(?=(?:\r\n|(?<!\r)\n|[\r\x{85}\x{2028}\x{2029}])?\z)";
/// A border of a word of ASCII letters, digits and `_`.
const WORD_BORDER: &str = "(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))";
/// No border of such a word.
const NO_WORD_BORDER: &str = "(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))";

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
    pub(super) fn get(&mut self, pattern: &str) -> Result<Option<&Matcher>> {
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
        .hint("patterns may use classes, groups, alternatives, anchors, quantifiers, look-around of bounded length and back-references")
}

/// Java's syntax in that of the matcher.
fn translate(pattern: &str, form: Form) -> Result<Translated> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let (mut needs_backtracking, mut has_text_end) = (false, false);
    let is_multiline = has_flag(pattern, 'm');
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
                let is_reference = matches!(escaped, '1'..='9' | 'k') && class_depth == 0;
                needs_backtracking |= is_reference;
                if escaped == 'Q' {
                    quote(&mut chars, &mut out);
                } else if is_reference {
                    out.extend(['\\', escaped]);
                } else if escaped == 'Z' && class_depth == 0 {
                    has_text_end = true;
                    out.push_str(if form == Form::Linear { r"\z" } else { TEXT_END });
                } else if matches!(escaped, 'b' | 'B') && class_depth == 0 && form == Form::Backtracking {
                    out.push_str(if escaped == 'b' { WORD_BORDER } else { NO_WORD_BORDER });
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
                    (Some('=' | '!' | '>'), _) | (Some('<'), Some('=' | '!')) => needs_backtracking = true,
                    _ => {}
                }
                out.push('(');
            }
            '$' if !is_multiline => {
                has_text_end = true;
                out.push_str(if form == Form::Linear { "$" } else { TEXT_END });
            }
            '*' | '+' | '?' | '}' => {
                needs_backtracking |= was_after_quantifier && c == '+';
                after_quantifier = !was_after_quantifier;
                out.push(c);
            }
            '.' => out.push_str(dot),
            c => out.push(c),
        }
    }
    Ok(Translated { text: out, needs_backtracking, has_text_end })
}

/// Whether the pattern sets an inline flag.
fn has_flag(pattern: &str, flag: char) -> bool {
    pattern
        .match_indices("(?")
        .any(|(at, _)| pattern[at + 2..].chars().take_while(|c| *c == '-' || c.is_ascii_lowercase()).any(|c| c == flag))
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
        'e' => out.push_str(r"\x1B"),
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
            let is_match = match regex {
                Some(regex) if !pattern.is_empty() => regex.is_match(text)?,
                _ => false,
            };
            out.append_value(is_match);
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
                Some(regex) => regex.group(text, group)?,
            };
            out.option(found);
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
            regex.each(text, |start, end| {
                out.push_str(&text[rest..start]);
                out.push_str(replacement);
                rest = end;
            })?;
            out.push_str(&text[rest..]);
            out.end();
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, i, null_s, s};

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
    }

    #[test]
    fn look_around_and_references_are_followed() {
        check(&[
            ("REGEXP_REPLACE", vec![s("ab ac"), s("a(?=b)"), s("x")], "xb ac"),
            ("REGEXP_REPLACE", vec![s("ab cb"), s("(?<!a)b"), s("x")], "ab cx"),
            ("REGEXP_REPLACE", vec![s("1234567"), s("(?<=\\d)(?=(?:\\d{3})+$)"), s(",")], "1,234,567"),
            ("REGEXP", vec![s("abab"), s("^(ab)\\1$")], "TRUE"),
            ("REGEXP", vec![s("abac"), s("^(ab)\\1$")], "FALSE"),
            ("REGEXP", vec![s("aaa"), s("a++a")], "FALSE"),
            ("REGEXP", vec![s("ab"), s("(?>a)b")], "TRUE"),
            ("REGEXP_EXTRACT", vec![s("say 'it' now"), s("(?<q>['\"])(.*?)\\k<q>"), i(2)], "it"),
            ("REGEXP_EXTRACT", vec![s("price: 12 EUR"), s("\\b(\\d+)(?=\\sEUR\\b)"), i(1)], "12"),
            ("REGEXP", vec![s("Password1"), s("^(?=.*[A-Z])(?=.*\\d).{8,}$")], "TRUE"),
        ]);
    }

    #[test]
    fn the_end_of_a_text_is_before_its_last_line_end() {
        check(&[
            ("REGEXP", vec![s("a\n"), s("a$")], "TRUE"),
            ("REGEXP", vec![s("a\r\n"), s("a$")], "TRUE"),
            ("REGEXP", vec![s("a\n\n"), s("a$")], "FALSE"),
            ("REGEXP", vec![s("a\nb"), s("a$")], "FALSE"),
            ("REGEXP", vec![s("a\n"), s("a\\Z")], "TRUE"),
            ("REGEXP", vec![s("a\n"), s("a\\z")], "FALSE"),
            ("REGEXP_REPLACE", vec![s("ab\n"), s("b$"), s("x")], "ax\n"),
            ("REGEXP_EXTRACT", vec![s("ab\n"), s("(.)$"), i(1)], "b"),
        ]);
    }
}
