//! JSON_VALUE, JSON_QUERY, JSON_EXISTS and IS JSON, on JSON that travels as text.
//!
//! A path is compiled once per call when it is a literal. A path without wildcards finds its value in one pass over the text
//! ([`document`]); a path with wildcards collects its matches after the text was checked. In both, values are pieces of the document,
//! and only the result is written out.
//!
//! | what is found | strict (the default) | lax |
//! |---|---|---|
//! | text that is no JSON, nothing, JSON `null` | error | empty |
//! | JSON_VALUE of an object or array, JSON_QUERY of a scalar | error | empty |
//! | nothing behind a wildcard | an array without elements | an array without elements |
//! | text that is no path | error | error |
//!
//! Numbers with a point or exponent are DOUBLEs in Java's text form, as Flink 1.20 writes them; integers keep all their digits.

pub(crate) mod construct;
mod document;
mod filter;
mod path;
pub(crate) mod print;
pub(crate) mod quote;

use std::sync::Arc;

use arrow_array::builder::BooleanBuilder;
use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use wiesel_core::{DataType, Error, Result, TypeKind, Value};

use crate::cast::print::write_double;
use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable, takes};
use crate::function::define::{Compiling, Plain};
use crate::function::{Argument, FunctionError, Operand, PreparedCall, Signature};
use crate::operand::{PerText, TextBuilder};
use document::{Kind, Malformed, Raw, Scanner, Work, kind};
use path::{Mode, Path};

pub(crate) static JSON_VALUE: Compiling = Compiling::new(
    "JSON_VALUE",
    "JSON_VALUE(json, path [RETURNING type] [NULL | ERROR | DEFAULT value ON EMPTY] [NULL | ERROR | DEFAULT value ON ERROR]): the scalar at the path",
    |args| {
        let usage = "JSON_VALUE takes a STRING and a path, such as JSON_VALUE(body, '$.user.name')";
        let types = bind_json(args, &[Param::Text; 6], usage)?;
        Ok(nullable(types, DataType::string().kind))
    },
    || Box::<JsonValue>::default(),
);

pub(crate) static JSON_QUERY: Compiling = Compiling::new(
    "JSON_QUERY",
    "JSON_QUERY(json, path [WITHOUT | WITH CONDITIONAL | WITH UNCONDITIONAL WRAPPER] [NULL | ERROR | EMPTY ARRAY | EMPTY OBJECT ON EMPTY] [... ON ERROR]): the object or array at the path, as JSON",
    |args| {
        let usage = "JSON_QUERY takes a STRING and a path, such as JSON_QUERY(body, '$.user')";
        let types = bind_json(args, &[Param::Text; 5], usage)?;
        Ok(nullable(types, DataType::string().kind))
    },
    || Box::<JsonQuery>::default(),
);

pub(crate) static JSON_EXISTS: Compiling = Compiling::new(
    "JSON_EXISTS",
    "JSON_EXISTS(json, path [TRUE | FALSE | UNKNOWN | ERROR ON ERROR]): whether the path leads to a value",
    |args| {
        let usage = "JSON_EXISTS takes a STRING and a path, such as JSON_EXISTS(body, '$.user')";
        let types = bind_json(args, &[Param::Text; 3], usage)?;
        Ok(nullable(types, TypeKind::Boolean))
    },
    || Box::<JsonExists>::default(),
);

fn bind_json(
    args: &[Argument<'_>],
    params: &[Param],
    usage: &str,
) -> std::result::Result<Vec<DataType>, FunctionError> {
    let types = accept(args, params, params.len(), usage)?;
    if let Some(Argument { literal: Some(Value::String(path)), .. }) = args.get(1)
        && let Err(what) = Path::parse(path)
    {
        return Err(takes(&format!(
            "a path of members, indices, filters and wildcards, and {what} in `{path}` is not supported"
        )));
    }
    Ok(types)
}

fn compile(text: &str) -> Result<Path> {
    Path::parse(text).map_err(|what| {
        Error::config(format!("the JSON path `{text}` uses {what}, which is not supported"))
            .hint("paths may use `.name`, `['a', 'b']`, `[n]`, `[m:n]`, `[m, n]`, `[*]`, `.*`, `..name` and `[?(@.name > 1)]`")
    })
}

/// What a path leads to.
enum Outcome<'a> {
    /// One value.
    One(&'a str),
    /// An array of the values in [`Work::matches`].
    Many,
    Empty,
    Failed(Failure),
}

/// Why there is no result.
#[derive(Debug, Clone, Copy)]
enum Failure {
    NotJson(Malformed),
    NotAPath,
    Nothing,
    Null,
    NotScalar,
    NotContainer,
}

impl Failure {
    #[cold]
    fn error(self, function: &str, path: &str) -> Error {
        let why = match self {
            Failure::NotJson(Malformed { at, expected }) => {
                format!("the text is not JSON: expected {expected} at byte {at}")
            }
            Failure::NotAPath => format!("`{path}` is not a JSON path, such as `$.name` or `lax $.names[0]`"),
            Failure::Nothing => format!("nothing is at the path `{path}`"),
            Failure::Null => format!("null is at the path `{path}`, and a strict path expects a value"),
            Failure::NotScalar => format!("an object or array is at the path `{path}`, expected a scalar"),
            Failure::NotContainer => format!("a scalar is at the path `{path}`, expected an object or array"),
        };
        Error::data(format!("{function} ... ERROR ON ERROR: {why}"))
    }
}

/// The error of ERROR ON EMPTY.
#[cold]
fn empty_error(function: &str, path: &str) -> Error {
    Error::data(format!("{function} ... ERROR ON EMPTY: the result at the path `{path}` is empty"))
}

fn follow<'a>(document: &'a str, path: &Path, work: &mut Work<'a>) -> Outcome<'a> {
    work.matches.clear();
    match follow_checked(document, path, work) {
        Ok(outcome) => outcome,
        Err(_) if path.mode == Mode::Lax => Outcome::Empty,
        Err(malformed) => Outcome::Failed(Failure::NotJson(malformed)),
    }
}

fn follow_checked<'a>(
    document: &'a str,
    path: &Path,
    work: &mut Work<'a>,
) -> std::result::Result<Outcome<'a>, Malformed> {
    let Some(steps) = &path.steps else {
        document::check(document)?;
        return Ok(Outcome::Failed(Failure::NotAPath));
    };
    let empty = |why| if path.mode == Mode::Lax { Outcome::Empty } else { Outcome::Failed(why) };
    if path.is_definite {
        let (root, found) = match path.union() {
            None => document::find(document, steps)?,
            Some(_) => {
                let (root, found) = document::find(document, &steps[..steps.len() - 1])?;
                (root, found.filter(|value| kind(value) == Kind::Object))
            }
        };
        return Ok(match found {
            _ if root == Kind::Null => Outcome::Failed(Failure::Null),
            None => empty(Failure::Nothing),
            Some(value) if kind(value) == Kind::Null => empty(Failure::Null),
            Some(value) => Outcome::One(value),
        });
    }
    let root = document::check(document)?;
    if kind(root) == Kind::Null {
        return Ok(Outcome::Failed(Failure::Null));
    }
    work.root = root;
    let leads_on = work.collect(root, steps, true)?;
    Ok(if leads_on || path.mode == Mode::Lax { Outcome::Many } else { Outcome::Failed(Failure::Nothing) })
}

#[derive(Debug, Default)]
struct JsonValue {
    path: PerText<Path>,
    number: String,
}

impl PreparedCall for JsonValue {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (documents, paths) = (args[0].strings(), args[1].strings());
        let (on_empty, empty_default) = (args[2].strings(), args[3].strings());
        let (on_error, error_default) = (args[4].strings(), args[5].strings());
        let mut work = Work::default();
        let mut out = TextBuilder::new(rows, rows * 16);
        for row in 0..rows {
            let (Some(document), Some(text)) = (documents.get(row), paths.get(row)) else {
                out.null();
                continue;
            };
            let path = self.path.get(text, compile)?;
            let outcome = follow(document, path, &mut work);
            let (word, default, error) = match (outcome, path.mode) {
                (Outcome::One(value), _) if !matches!(kind(value), Kind::Object | Kind::Array) => {
                    write_scalar(&mut out, value, &mut self.number);
                    out.end();
                    continue;
                }
                (Outcome::Empty, _) | (Outcome::One(_) | Outcome::Many, Mode::Lax) => {
                    (on_empty.get(row), empty_default.get(row), None)
                }
                (Outcome::One(_) | Outcome::Many, Mode::Strict) => {
                    (on_error.get(row), error_default.get(row), Some(Failure::NotScalar))
                }
                (Outcome::Failed(why), _) => (on_error.get(row), error_default.get(row), Some(why)),
            };
            match word {
                Some("ERROR") => {
                    return Err(match error {
                        Some(why) => why.error("JSON_VALUE", text),
                        None => empty_error("JSON_VALUE", text),
                    });
                }
                Some("DEFAULT") => out.option(default),
                _ => out.null(),
            }
        }
        out.finish()
    }
}

#[derive(Debug, Default)]
struct JsonQuery {
    path: PerText<Path>,
    number: String,
}

impl PreparedCall for JsonQuery {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (documents, paths, wrappers) = (args[0].strings(), args[1].strings(), args[2].strings());
        let (on_empty, on_error) = (args[3].strings(), args[4].strings());
        let mut work = Work::default();
        let mut out = TextBuilder::new(rows, documents.byte_count(rows) / 2);
        for row in 0..rows {
            let (Some(document), Some(text)) = (documents.get(row), paths.get(row)) else {
                out.null();
                continue;
            };
            let path = self.path.get(text, compile)?;
            let outcome = follow(document, path, &mut work);
            let wraps = match (wrappers.get(row), &outcome) {
                (Some("UNCONDITIONAL"), _) => true,
                (Some("CONDITIONAL"), Outcome::One(value)) => kind(value) != Kind::Array,
                _ => false,
            };
            let (word, error) = match (outcome, path.mode) {
                (Outcome::One(value), _) if wraps || matches!(kind(value), Kind::Object | Kind::Array) => {
                    work.matches.clear();
                    work.matches.push(value);
                    let brackets = Brackets { inner: false, outer: wraps };
                    write_matches(&mut out, &mut work, brackets, path.union(), &mut self.number)?;
                    continue;
                }
                (Outcome::Many, _) => {
                    let brackets = Brackets { inner: true, outer: wraps };
                    write_matches(&mut out, &mut work, brackets, path.union(), &mut self.number)?;
                    continue;
                }
                (Outcome::Empty, _) | (Outcome::One(_), Mode::Lax) => (on_empty.get(row), None),
                (Outcome::One(_), Mode::Strict) => (on_error.get(row), Some(Failure::NotContainer)),
                (Outcome::Failed(why), _) => (on_error.get(row), Some(why)),
            };
            match word {
                Some("ERROR") => {
                    return Err(match error {
                        Some(why) => why.error("JSON_QUERY", text),
                        None => empty_error("JSON_QUERY", text),
                    });
                }
                Some("EMPTY ARRAY") => out.value("[]"),
                Some("EMPTY OBJECT") => out.value("{}"),
                _ => out.null(),
            }
        }
        out.finish()
    }
}

#[derive(Debug, Default)]
struct JsonExists {
    path: PerText<Path>,
}

impl PreparedCall for JsonExists {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (documents, paths, on_error) = (args[0].strings(), args[1].strings(), args[2].strings());
        let mut work = Work::default();
        let mut out = BooleanBuilder::with_capacity(rows);
        for row in 0..rows {
            let (Some(document), Some(text)) = (documents.get(row), paths.get(row)) else {
                out.append_null();
                continue;
            };
            let path = self.path.get(text, compile)?;
            let exists = match follow(document, path, &mut work) {
                Outcome::One(_) | Outcome::Many => Some(true),
                Outcome::Empty => Some(false),
                Outcome::Failed(why) => match on_error.get(row) {
                    Some("TRUE") => Some(true),
                    Some("UNKNOWN") => None,
                    Some("ERROR") => return Err(why.error("JSON_EXISTS", text)),
                    _ => Some(false),
                },
            };
            out.append_option(exists);
        }
        Ok(Arc::new(out.finish()))
    }
}

/// The text of a scalar: what a string says, TRUE and FALSE in lower case, numbers in their text form.
fn write_scalar(out: &mut TextBuilder, value: &str, scratch: &mut String) {
    match kind(value) {
        Kind::String => {
            let raw = Raw::of(value);
            if raw.is_plain() {
                out.push_str(raw.0);
            } else {
                raw.chars().for_each(|c| out.push(c));
            }
        }
        Kind::Number => write_number(out, value, scratch),
        _ => out.push_str(value),
    }
}

fn write_number(out: &mut TextBuilder, number: &str, scratch: &mut String) {
    if number == "-0" {
        out.push('0');
    } else if let Some(double) = as_double(number) {
        scratch.clear();
        write_double(scratch, double);
        out.push_str(scratch);
    } else {
        out.push_str(number);
    }
}

/// The number as a DOUBLE; `None` for an integer.
fn as_double(number: &str) -> Option<f64> {
    if number.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) { number.parse().ok() } else { None }
}

/// Which arrays are written around the matches.
#[derive(Clone, Copy)]
struct Brackets {
    /// The array that several matches form.
    inner: bool,
    /// The wrapper.
    outer: bool,
}

/// Writes [`Work::matches`] as a row of JSON.
fn write_matches(
    out: &mut TextBuilder,
    work: &mut Work<'_>,
    brackets: Brackets,
    union: Option<&[String]>,
    scratch: &mut String,
) -> Result<()> {
    let brackets = [brackets.outer, brackets.inner];
    for _ in brackets.iter().filter(|b| **b) {
        out.push('[');
    }
    for index in 0..work.matches.len() {
        if index > 0 {
            out.push(',');
        }
        let value = work.matches[index];
        let written = match union {
            Some(names) => write_members(out, value, names, work, scratch),
            None => write_json(out, value, work, scratch),
        };
        written.map_err(|_| Error::internal("a JSON value that was checked could not be read again"))?;
    }
    for _ in brackets.iter().filter(|b| **b) {
        out.push(']');
    }
    out.end();
    Ok(())
}

/// Writes an object of the named members of a checked object, in the order of the names; those that are not there are left out.
fn write_members<'a>(
    out: &mut TextBuilder,
    object: &'a str,
    names: &[String],
    work: &mut Work<'a>,
    scratch: &mut String,
) -> std::result::Result<(), Malformed> {
    let base = work.members.len();
    work.push_members(object)?;
    let end = work.members.len();
    let mut separator = "{";
    for name in names {
        let found = work.members[base..end].iter().find(|member| member.name.is(name)).copied();
        if let Some(member) = found {
            out.push_str(separator);
            separator = ",";
            write_string(out, member.name);
            out.push(':');
            write_json(out, member.value, work, scratch)?;
        }
    }
    out.push_str(if separator == "{" { "{}" } else { "}" });
    work.members.truncate(base);
    Ok(())
}

/// Writes a checked value without blanks, doubled members once.
fn write_json<'a>(
    out: &mut TextBuilder,
    value: &'a str,
    work: &mut Work<'a>,
    scratch: &mut String,
) -> std::result::Result<(), Malformed> {
    match kind(value) {
        Kind::Object => {
            out.push('{');
            let base = work.members.len();
            work.push_members(value)?;
            let end = work.members.len();
            for index in base..end {
                if index > base {
                    out.push(',');
                }
                let member = work.members[index];
                write_string(out, member.name);
                out.push(':');
                write_json(out, member.value, work, scratch)?;
            }
            work.members.truncate(base);
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            let mut scanner = Scanner::new(value);
            scanner.open(0)?;
            let mut is_first = true;
            let mut separator = "";
            while scanner.next_element(&mut is_first)? {
                out.push_str(separator);
                separator = ",";
                let element = scanner.value(0)?;
                write_json(out, element, work, scratch)?;
            }
            out.push(']');
        }
        Kind::String => write_string(out, Raw::of(value)),
        // JSON has no infinity, so Flink writes its name as a string.
        Kind::Number if as_double(value).is_some_and(f64::is_infinite) => {
            out.push('"');
            write_number(out, value, scratch);
            out.push('"');
        }
        Kind::Number => write_number(out, value, scratch),
        Kind::Boolean | Kind::Null => out.push_str(value),
    }
    Ok(())
}

fn write_string(out: &mut TextBuilder, raw: Raw<'_>) {
    out.push('"');
    if raw.is_plain() {
        out.push_str(raw.0);
    } else {
        raw.chars().for_each(|c| write_escaped(out, c));
    }
    out.push('"');
}

/// Writes text as a JSON string.
fn write_text(text: &str, out: &mut TextBuilder) {
    out.push('"');
    if text.bytes().any(|b| b < 0x20 || matches!(b, b'"' | b'\\')) {
        text.chars().for_each(|c| write_escaped(out, c));
    } else {
        out.push_str(text);
    }
    out.push('"');
}

fn write_escaped(out: &mut TextBuilder, c: char) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\0'..='\u{1f}' => {
            out.push_str(if u32::from(c) < 16 { "\\u000" } else { "\\u001" });
            out.push(char::from(DIGITS[(u32::from(c) & 15) as usize]));
        }
        c => out.push(c),
    }
}

/// What IS JSON asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Value,
    Object,
    Array,
    Scalar,
}

fn bind_is_json(args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
    let types = accept(args, &[Param::Text], 1, "IS JSON takes a STRING")?;
    Ok(Signature { args: types, returns: DataType::not_null(TypeKind::Boolean) })
}

fn is_json(args: &[Operand], rows: usize, wanted: Wanted, expected: bool) -> ArrayRef {
    let documents = args[0].strings();
    let values = BooleanBuffer::collect_bool(rows, |row| {
        let found = documents.get(row).and_then(|document| document::check(document).ok()).map(kind);
        let is_wanted = found.is_some_and(|found| match wanted {
            Wanted::Value => true,
            Wanted::Object => found == Kind::Object,
            Wanted::Array => found == Kind::Array,
            Wanted::Scalar => !matches!(found, Kind::Object | Kind::Array),
        });
        is_wanted == expected
    });
    Arc::new(BooleanArray::new(values, None))
}

pub(crate) static IS_JSON_VALUE: Plain = Plain::new(
    "IS JSON VALUE",
    "string IS JSON [VALUE]: whether the text is JSON; FALSE for NULL",
    bind_is_json,
    |args, _, rows, _| Ok(is_json(args, rows, Wanted::Value, true)),
)
.total();

pub(crate) static IS_JSON_OBJECT: Plain = Plain::new(
    "IS JSON OBJECT",
    "string IS JSON OBJECT: whether the text is a JSON object; FALSE for NULL",
    bind_is_json,
    |args, _, rows, _| Ok(is_json(args, rows, Wanted::Object, true)),
)
.total();

pub(crate) static IS_JSON_ARRAY: Plain = Plain::new(
    "IS JSON ARRAY",
    "string IS JSON ARRAY: whether the text is a JSON array; FALSE for NULL",
    bind_is_json,
    |args, _, rows, _| Ok(is_json(args, rows, Wanted::Array, true)),
)
.total();

pub(crate) static IS_JSON_SCALAR: Plain = Plain::new(
    "IS JSON SCALAR",
    "string IS JSON SCALAR: whether the text is a JSON string, number, boolean or null; FALSE for NULL",
    bind_is_json,
    |args, _, rows, _| Ok(is_json(args, rows, Wanted::Scalar, true)),
)
.total();

pub(crate) static IS_NOT_JSON_VALUE: Plain = Plain::new(
    "IS NOT JSON VALUE",
    "string IS NOT JSON VALUE: whether the text is no JSON; TRUE for NULL",
    bind_is_json,
    |args, _, rows, _| Ok(is_json(args, rows, Wanted::Value, false)),
)
.total();

pub(crate) static IS_NOT_JSON_OBJECT: Plain = Plain::new(
    "IS NOT JSON OBJECT",
    "string IS NOT JSON OBJECT: whether the text is no JSON object; TRUE for NULL",
    bind_is_json,
    |args, _, rows, _| Ok(is_json(args, rows, Wanted::Object, false)),
)
.total();

pub(crate) static IS_NOT_JSON_ARRAY: Plain = Plain::new(
    "IS NOT JSON ARRAY",
    "string IS NOT JSON ARRAY: whether the text is no JSON array; TRUE for NULL",
    bind_is_json,
    |args, _, rows, _| Ok(is_json(args, rows, Wanted::Array, false)),
)
.total();

pub(crate) static IS_NOT_JSON_SCALAR: Plain = Plain::new(
    "IS NOT JSON SCALAR",
    "string IS NOT JSON SCALAR: whether the text is no JSON string, number, boolean or null; TRUE for NULL",
    bind_is_json,
    |args, _, rows, _| Ok(is_json(args, rows, Wanted::Scalar, false)),
)
.total();

#[cfg(test)]
mod tests {
    use crate::function::testing::{Arg, check, null_s, run, s};

    const DOCUMENT: &str = r#"{"s":"x","o":{"b":1,"a":{"b":2}},"l":[{"b":3},{"c":4},5,[6]],"x y":7,"n":null}"#;

    fn value(json: &str, path: &str) -> (&'static str, Vec<Arg>) {
        let (word, empty, error) = (s("DEFAULT"), s("<empty>"), s("<error>"));
        ("JSON_VALUE", vec![s(json), s(path), word.clone(), empty, word, error])
    }

    fn query(json: &str, path: &str, wrapper: &str) -> (&'static str, Vec<Arg>) {
        ("JSON_QUERY", vec![s(json), s(path), s(wrapper), s("EMPTY OBJECT"), s("EMPTY ARRAY")])
    }

    fn exists(json: &str, path: &str) -> (&'static str, Vec<Arg>) {
        ("JSON_EXISTS", vec![s(json), s(path), s("UNKNOWN")])
    }

    fn all(cases: Vec<((&'static str, Vec<Arg>), &'static str)>) {
        check(&cases.into_iter().map(|((name, args), expected)| (name, args, expected)).collect::<Vec<_>>());
    }

    #[test]
    fn scalars_are_found_and_written_as_text() {
        all(vec![
            (value(r#"{"a":1}"#, "$.a"), "1"),
            (value(r#"{"a":1.50}"#, "$.a"), "1.5"),
            (value(r#"{"a":1e3}"#, "$.a"), "1000.0"),
            (value(r#"{"a":100000000.5}"#, "$.a"), "1.000000005E8"),
            (value(r#"{"a":-0}"#, "$.a"), "0"),
            (value(r#"{"a":-0.0}"#, "$.a"), "-0.0"),
            (value(r#"{"a":1e400}"#, "$.a"), "Infinity"),
            (value(r#"{"a":12345678901234567890123}"#, "$.a"), "12345678901234567890123"),
            (value(r#"{"a":true}"#, "$.a"), "true"),
            (value(r#"{"a":""}"#, "$.a"), ""),
            (value(r#"{"a":"x\u00e9\n\ud83d\ude00\/"}"#, "$.a"), "xé\n😀/"),
            (value(r#"{"a":"\ud83d"}"#, "$.a"), "?"),
            (value(r#"{"a":1,"a":2}"#, "$.a"), "2"),
            (value(r#"{"\u0061":1}"#, "$.a"), "1"),
            (value(r#" {"data" : { "mobile" : "139" } } "#, "$.data.mobile"), "139"),
            (value("5", "$"), "5"),
            (value(r#"{"a":1} x"#, "$.a"), "1"),
            (value(DOCUMENT, "$[\"o\"].b"), "1"),
            (value(DOCUMENT, "$.o['a'].b"), "2"),
            (value(DOCUMENT, "$.['x y']"), "7"),
            (value(DOCUMENT, "$.l[0].b"), "3"),
            (value(DOCUMENT, "$.l[-1][0]"), "6"),
            (value(DOCUMENT, "o.b"), "1"),
            (value(DOCUMENT, "lax  $.s"), "x"),
        ]);
    }

    #[test]
    fn lax_paths_are_empty_where_strict_paths_fail() {
        let cases = [
            (DOCUMENT, "$.zz"),
            (DOCUMENT, "$.o"),
            (DOCUMENT, "$.n"),
            (DOCUMENT, "$.n.m"),
            (DOCUMENT, "$.l[9]"),
            (DOCUMENT, "$.l[-9]"),
            (DOCUMENT, "$.s[0]"),
            (DOCUMENT, "$.s.t"),
            (DOCUMENT, "$.l.b"),
            (DOCUMENT, "$..b"),
            (r#"{"a":1"#, "$.a"),
            (r#"{"a":1,}"#, "$.a"),
            (r#"{"a":1,"b":tru}"#, "$.a"),
            ("", "$.a"),
            ("no json", "$"),
        ];
        for (json, path) in cases {
            let lax = format!("lax {path}");
            all(vec![(value(json, path), "<error>"), (value(json, &lax), "<empty>")]);
        }
        all(vec![(value("null", "lax $.a"), "<error>"), (value(DOCUMENT, "lax $x"), "<error>")]);
    }

    #[test]
    fn null_and_errors_are_answered_as_asked() {
        let call = |json: Arg, path: &str, on_empty: &str, on_error: &str| {
            run("JSON_VALUE", &[json, s(path), s(on_empty), null_s(), s(on_error), null_s()])
        };
        assert_eq!(call(null_s(), "$.a", "ERROR", "ERROR"), "NULL");
        assert_eq!(call(s("{}"), "$.a", "ERROR", "NULL"), "NULL");
        assert_eq!(call(s("{}"), "lax $.a", "DEFAULT", "ERROR"), "NULL");
        assert_eq!(
            call(s("{}"), "lax $.a", "ERROR", "NULL"),
            "error: JSON_VALUE ... ERROR ON EMPTY: the result at the path `lax $.a` is empty"
        );
        assert_eq!(
            call(s("{}"), "$.a", "NULL", "ERROR"),
            "error: JSON_VALUE ... ERROR ON ERROR: nothing is at the path `$.a`"
        );
        assert_eq!(
            call(s("{\"a\":01}"), "$.a", "NULL", "ERROR"),
            "error: JSON_VALUE ... ERROR ON ERROR: the text is not JSON: expected a number without leading zeros at byte 6"
        );
        assert_eq!(
            call(s("{}"), "$.a.min()", "NULL", "NULL"),
            "bind: a path of members, indices, filters and wildcards, and a function in `$.a.min()` is not supported"
        );
    }

    #[test]
    fn objects_and_arrays_are_written_without_blanks() {
        let nested = r#"{"a" : {"z":1, "b":[1, 2.0 ,"q"], "z":{} }}"#;
        let escaped = r#"{"k\n":"\u0001é\u001f/\"\\ \u007f\/"}"#;
        all(vec![
            (query(nested, "$.a", "WITHOUT"), r#"{"z":{},"b":[1,2.0,"q"]}"#),
            (query(nested, "$.a", "CONDITIONAL"), r#"[{"z":{},"b":[1,2.0,"q"]}]"#),
            (query(nested, "$.a.b", "CONDITIONAL"), r#"[1,2.0,"q"]"#),
            (query(nested, "$.a.b", "UNCONDITIONAL"), r#"[[1,2.0,"q"]]"#),
            (query(nested, "$.a.b[2]", "CONDITIONAL"), r#"["q"]"#),
            (query(nested, "$.a.b[2]", "WITHOUT"), "[]"),
            (query(nested, "lax $.a.b[2]", "WITHOUT"), "{}"),
            (query(nested, "lax $.c", "CONDITIONAL"), "{}"),
            (query(nested, "$.c", "CONDITIONAL"), "[]"),
            (
                query("[1e3,-0,12345678901234567890,1E400,[ ], { }]", "$", "WITHOUT"),
                r#"[1000.0,0,12345678901234567890,"Infinity",[],{}]"#,
            ),
            (query(escaped, "$", "WITHOUT"), "{\"k\\n\":\"\\u0001é\\u001F/\\\"\\\\ \u{7f}/\"}"),
            (query(DOCUMENT, "$.l[*]", "WITHOUT"), r#"[{"b":3},{"c":4},5,[6]]"#),
            (query(DOCUMENT, "$.l[*].b", "WITHOUT"), "[3]"),
            (query(DOCUMENT, "$.l[*][0]", "UNCONDITIONAL"), "[[6]]"),
            (query(DOCUMENT, "$.o.*", "CONDITIONAL"), r#"[1,{"b":2}]"#),
            (query(DOCUMENT, "$..b", "WITHOUT"), "[1,2,3]"),
            (query(DOCUMENT, "$..[0]", "WITHOUT"), r#"[{"b":3},6]"#),
            (query(DOCUMENT, "$..l..b", "WITHOUT"), "[3]"),
            (query("[1,2,3]", "$[0:2]", "WITHOUT"), "[1,2]"),
            (query("[1,2,3]", "$[-2:]", "WITHOUT"), "[2,3]"),
            (query("[1,2,3]", "$[:-1]", "WITHOUT"), "[1,2]"),
            (query("[1,2,3]", "$[1:-1]", "WITHOUT"), "[]"),
            (query("[1,2,3]", "$[-9:2]", "WITHOUT"), "[1,2,3,1,2]"),
            (query("[1,2,3]", "$[0,2]", "WITHOUT"), "[1,3]"),
            (query("[1,2,3]", "$[0,9,-1]", "WITHOUT"), "[1,3]"),
            (query(r#"[{"a":1},{"a":2},{"b":3}]"#, "$[0:2].a", "WITHOUT"), "[1,2]"),
            (query(DOCUMENT, "$..zz", "WITHOUT"), "[]"),
            (
                query(DOCUMENT, "$..*", "WITHOUT"),
                r#"["x",{"b":1,"a":{"b":2}},[{"b":3},{"c":4},5,[6]],7,null,1,{"b":2},2,{"b":3},{"c":4},5,[6],3,4,6]"#,
            ),
        ]);
    }

    #[test]
    fn values_exist() {
        all(vec![
            (exists(DOCUMENT, "$.o.b"), "TRUE"),
            (exists(DOCUMENT, "$.zz"), "NULL"),
            (exists(DOCUMENT, "lax $.zz"), "FALSE"),
            (exists(DOCUMENT, "$.n"), "NULL"),
            (exists(DOCUMENT, "lax $.n"), "FALSE"),
            (exists(DOCUMENT, "$..zz"), "TRUE"),
            (exists(DOCUMENT, "$.n.*"), "TRUE"),
            (exists(DOCUMENT, "$.l[9].*"), "TRUE"),
            (exists(DOCUMENT, "$.zz.*"), "NULL"),
            (exists(DOCUMENT, "lax $.zz.*"), "TRUE"),
            (exists(DOCUMENT, "$.s.y.*"), "NULL"),
            (exists("{", "lax $"), "FALSE"),
            (exists("{", "$"), "NULL"),
            (("JSON_EXISTS", vec![null_s(), s("$"), s("TRUE")]), "NULL"),
            (("JSON_EXISTS", vec![s("{}"), s("$.a"), s("TRUE")]), "TRUE"),
            (("JSON_EXISTS", vec![s("{}"), s("$.a"), s("FALSE")]), "FALSE"),
            (
                ("JSON_EXISTS", vec![s("{}"), s("$.a"), s("ERROR")]),
                "error: JSON_EXISTS ... ERROR ON ERROR: nothing is at the path `$.a`",
            ),
        ]);
    }

    #[test]
    fn json_is_told_by_its_kind() {
        let kinds = ["VALUE", "OBJECT", "ARRAY", "SCALAR"];
        for (json, expected) in [
            (s("{}"), [true, true, false, false]),
            (s("[1]"), [true, false, true, false]),
            (s("\"a\""), [true, false, false, true]),
            (s("null"), [true, false, false, true]),
            (s("5 x"), [true, false, false, true]),
            (s("a"), [false; 4]),
            (s(""), [false; 4]),
            (null_s(), [false; 4]),
        ] {
            for (kind, expected) in kinds.iter().zip(expected) {
                let is = run(&format!("IS JSON {kind}"), std::slice::from_ref(&json));
                let is_not = run(&format!("IS NOT JSON {kind}"), std::slice::from_ref(&json));
                let text = |truth: bool| if truth { "TRUE" } else { "FALSE" };
                assert_eq!((is.as_str(), is_not.as_str()), (text(expected), text(!expected)), "{json:?} {kind}");
            }
        }
    }
}
