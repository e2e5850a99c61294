//! JSON_VALUE, JSON_QUERY, JSON_EXISTS, IS JSON: JSON in text, read in place.
//!
//! [`scan`] walks the text once, checks all of it, and finds where the values of a path stand; nothing is copied but the one value that
//! is asked for. Behaviours of the SQL syntax come as literal arguments:
//!
//! - `JSON_VALUE(json, path, on empty, default, on error, default)`, each behaviour one of `NULL`, `ERROR`, `DEFAULT`, its default a STRING;
//! - `JSON_QUERY(json, path, wrapper, on empty, on error)`, the wrapper one of `WITHOUT`, `CONDITIONAL`, `UNCONDITIONAL`, each behaviour
//!   one of `NULL`, `ERROR`, `EMPTY ARRAY`, `EMPTY OBJECT`;
//! - `JSON_EXISTS(json, path, on error)`, the behaviour one of `TRUE`, `FALSE`, `UNKNOWN`, `ERROR`.
//!
//! Behaviours that are left out are Flink's defaults. JSON_VALUE gives STRING; RETURNING is a CAST around it.

mod path;
mod scan;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::BooleanBuilder;
use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, nullable};
use crate::function::define::{Compiling, Plain};
use crate::function::{Operand, PreparedCall, Signature};
use crate::operand::{PerText, TextBuilder};
use path::{Mode, Path};
use scan::{Kind, Scanner};

pub(crate) static JSON_VALUE: Compiling = Compiling::new(
    "JSON_VALUE",
    "JSON_VALUE(json, path [RETURNING type] [NULL | ERROR | DEFAULT value ON EMPTY] [... ON ERROR]): the scalar at a path, as text",
    |args| {
        let usage = "JSON_VALUE takes (json STRING, path STRING)";
        Ok(nullable(accept(args, &[Param::Text; 6], 2, usage)?, DataType::string().kind))
    },
    || Box::<JsonValue>::default(),
);

pub(crate) static JSON_QUERY: Compiling = Compiling::new(
    "JSON_QUERY",
    "JSON_QUERY(json, path [wrapper] [NULL | EMPTY ARRAY | EMPTY OBJECT | ERROR ON EMPTY] [... ON ERROR]): the object or array at a path",
    |args| {
        let usage = "JSON_QUERY takes (json STRING, path STRING)";
        Ok(nullable(accept(args, &[Param::Text; 5], 2, usage)?, DataType::string().kind))
    },
    || Box::<JsonQuery>::default(),
);

pub(crate) static JSON_EXISTS: Compiling = Compiling::new(
    "JSON_EXISTS",
    "JSON_EXISTS(json, path [TRUE | FALSE | UNKNOWN | ERROR ON ERROR]): whether there is a value at a path",
    |args| {
        let usage = "JSON_EXISTS takes (json STRING, path STRING)";
        Ok(nullable(accept(args, &[Param::Text; 3], 2, usage)?, TypeKind::Boolean))
    },
    || Box::<JsonExists>::default(),
);

/// What a path finds in a document.
enum Found {
    /// The value there; `None` for none and for JSON's null.
    Value(Option<Range<usize>>),
    /// All values of a path with wildcards.
    List(Vec<Range<usize>>),
    /// Why there is no answer.
    Failed(&'static str),
}

fn find(json: &str, path: &Path) -> Found {
    let mut found = Vec::new();
    if Scanner::new(json).find(&path.steps, &mut found).is_none() {
        return Found::Failed("the text is not JSON");
    }
    if path.has_wildcard {
        return Found::List(found);
    }
    match found.pop() {
        Some(range) if &json[range.clone()] == "null" => Found::Value(None),
        Some(range) => Found::Value(Some(range)),
        None if path.mode == Mode::Strict => Found::Failed("the path leads nowhere"),
        None => Found::Value(None),
    }
}

/// What to answer instead of a value.
enum Instead {
    Empty,
    Failed(String),
}

/// The literal behaviour of an argument, or the default.
fn behaviour<'a>(args: &'a [Operand], index: usize, default: &'static str) -> &'a str {
    args.get(index).and_then(|a| a.strings().get(0)).unwrap_or(default)
}

fn failed(function: &str, json: &str, path: &str, why: &str) -> Error {
    const SHOWN_CHARS_MAX: usize = 80;
    let shown: String = json.chars().take(SHOWN_CHARS_MAX).collect();
    Error::data(format!("{function} finds no answer for the path `{path}` in `{shown}`: {why}"))
}

#[derive(Debug, Default)]
struct JsonValue {
    path: PerText<Path>,
}

impl PreparedCall for JsonValue {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, paths) = (args[0].strings(), args[1].strings());
        let defaults = [args.get(3).map(Operand::strings), args.get(5).map(Operand::strings)];
        let words = [behaviour(args, 2, "NULL"), behaviour(args, 4, "NULL")];
        let mut out = TextBuilder::new(rows, rows * 16);
        for row in 0..rows {
            let (Some(json), Some(path_text)) = (texts.get(row), paths.get(row)) else {
                out.null();
                continue;
            };
            let path = self.path.get(path_text, Path::new)?;
            let (index, why) = match scalar(json, path) {
                Ok(value) => {
                    out.value(&value);
                    continue;
                }
                Err(Instead::Empty) => (0, String::from("there is no scalar value")),
                Err(Instead::Failed(why)) => (1, why),
            };
            match words[index] {
                "ERROR" => return Err(failed("JSON_VALUE", json, path_text, &why)),
                "DEFAULT" => out.option(defaults[index].and_then(|d| d.get(row))),
                _ => out.null(),
            }
        }
        out.finish()
    }
}

fn scalar<'a>(json: &'a str, path: &Path) -> std::result::Result<Cow<'a, str>, Instead> {
    match find(json, path) {
        Found::Failed(why) => Err(Instead::Failed(why.to_owned())),
        Found::Value(None) => Err(Instead::Empty),
        Found::Value(Some(range)) => {
            let raw = &json[range];
            match scan::kind(raw) {
                Kind::Object | Kind::Array if path.mode == Mode::Lax => Err(Instead::Empty),
                Kind::Object | Kind::Array => Err(Instead::Failed(String::from("the value there is not a scalar"))),
                Kind::Text => Ok(scan::unescape(raw)),
                Kind::Number => Ok(scan::number_text(raw)),
                Kind::Literal => Ok(Cow::Borrowed(raw)),
            }
        }
        Found::List(_) if path.mode == Mode::Lax => Err(Instead::Empty),
        Found::List(_) => Err(Instead::Failed(String::from("the path has wildcards, and its values are a list"))),
    }
}

#[derive(Debug, Default)]
struct JsonQuery {
    path: PerText<Path>,
}

impl PreparedCall for JsonQuery {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, paths) = (args[0].strings(), args[1].strings());
        let wrapper = behaviour(args, 2, "WITHOUT");
        let words = [behaviour(args, 3, "NULL"), behaviour(args, 4, "NULL")];
        let mut out = TextBuilder::new(rows, rows * 32);
        for row in 0..rows {
            let (Some(json), Some(path_text)) = (texts.get(row), paths.get(row)) else {
                out.null();
                continue;
            };
            let path = self.path.get(path_text, Path::new)?;
            let (index, why) = match query(json, path, wrapper, &mut out) {
                Ok(()) => {
                    out.end();
                    continue;
                }
                Err(Instead::Empty) => (0, String::from("there is no object or array")),
                Err(Instead::Failed(why)) => (1, why),
            };
            match words[index] {
                "ERROR" => return Err(failed("JSON_QUERY", json, path_text, &why)),
                "EMPTY ARRAY" => out.value("[]"),
                "EMPTY OBJECT" => out.value("{}"),
                _ => out.null(),
            }
        }
        out.finish()
    }
}

/// Writes the answer; on `Err` nothing was written.
fn query(json: &str, path: &Path, wrapper: &str, out: &mut TextBuilder) -> std::result::Result<(), Instead> {
    match find(json, path) {
        Found::Failed(why) => Err(Instead::Failed(why.to_owned())),
        Found::Value(None) => Err(Instead::Empty),
        Found::Value(Some(range)) => {
            let raw = &json[range];
            let kind = scan::kind(raw);
            let wraps = match wrapper {
                "UNCONDITIONAL" => true,
                "CONDITIONAL" => kind != Kind::Array,
                _ => false,
            };
            match kind {
                Kind::Object | Kind::Array => {}
                _ if wraps => {}
                _ if path.mode == Mode::Lax => return Err(Instead::Empty),
                _ => return Err(Instead::Failed(String::from("the value there is a scalar"))),
            }
            if wraps {
                out.push('[');
            }
            scan::write_sorted(raw, out);
            if wraps {
                out.push(']');
            }
            Ok(())
        }
        Found::List(ranges) => {
            let wraps = wrapper == "UNCONDITIONAL";
            out.push_str(if wraps { "[[" } else { "[" });
            for (index, range) in ranges.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                scan::write_sorted(&json[range], out);
            }
            out.push_str(if wraps { "]]" } else { "]" });
            Ok(())
        }
    }
}

#[derive(Debug, Default)]
struct JsonExists {
    path: PerText<Path>,
}

impl PreparedCall for JsonExists {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, _: &EvalContext) -> Result<ArrayRef> {
        let (texts, paths) = (args[0].strings(), args[1].strings());
        let word = behaviour(args, 2, "FALSE");
        let mut out = BooleanBuilder::with_capacity(rows);
        for row in 0..rows {
            let (Some(json), Some(path_text)) = (texts.get(row), paths.get(row)) else {
                out.append_null();
                continue;
            };
            let path = self.path.get(path_text, Path::new)?;
            match find(json, path) {
                Found::Value(value) => out.append_value(value.is_some()),
                Found::List(_) => out.append_value(true),
                Found::Failed(why) => match word {
                    "ERROR" => return Err(failed("JSON_EXISTS", json, path_text, why)),
                    "TRUE" => out.append_value(true),
                    "UNKNOWN" => out.append_null(),
                    _ => out.append_value(false),
                },
            }
        }
        Ok(Arc::new(out.finish()))
    }
}

macro_rules! is_json {
    ($static:ident, $name:literal, $doc:literal, $wanted:expr) => {
        pub(crate) static $static: Plain = Plain::new(
            $name,
            concat!("string ", $name, ": ", $doc),
            |args| {
                let args = accept(args, &[Param::Text], 1, concat!($name, " takes a STRING"))?;
                Ok(Signature { args, returns: DataType::not_null(TypeKind::Boolean) })
            },
            |args, _, rows, _| Ok(Arc::new(is_json(&args[0], rows, $wanted))),
        )
        .total();
    };
}

fn is_json(operand: &Operand, rows: usize, wanted: fn(Option<Kind>) -> bool) -> BooleanArray {
    let texts = operand.strings();
    let values =
        BooleanBuffer::collect_bool(rows, |row| wanted(texts.get(row).and_then(|t| Scanner::new(t).document())));
    BooleanArray::new(values, None)
}

fn is_scalar(kind: Kind) -> bool {
    !matches!(kind, Kind::Object | Kind::Array)
}

is_json!(IS_JSON, "IS JSON", "whether the text is JSON", |k| k.is_some());
is_json!(IS_JSON_VALUE, "IS JSON VALUE", "whether the text is JSON", |k| k.is_some());
is_json!(IS_JSON_SCALAR, "IS JSON SCALAR", "whether the text is a JSON scalar", |k| k.is_some_and(is_scalar));
is_json!(IS_JSON_ARRAY, "IS JSON ARRAY", "whether the text is a JSON array", |k| k == Some(Kind::Array));
is_json!(IS_JSON_OBJECT, "IS JSON OBJECT", "whether the text is a JSON object", |k| k == Some(Kind::Object));
is_json!(IS_NOT_JSON, "IS NOT JSON", "whether the text is not JSON", |k| k.is_none());
is_json!(IS_NOT_JSON_VALUE, "IS NOT JSON VALUE", "whether the text is not JSON", |k| k.is_none());
is_json!(IS_NOT_JSON_SCALAR, "IS NOT JSON SCALAR", "whether the text is not a JSON scalar", |k| {
    !k.is_some_and(is_scalar)
});
is_json!(IS_NOT_JSON_ARRAY, "IS NOT JSON ARRAY", "whether the text is not a JSON array", |k| {
    k != Some(Kind::Array)
});
is_json!(IS_NOT_JSON_OBJECT, "IS NOT JSON OBJECT", "whether the text is not a JSON object", |k| {
    k != Some(Kind::Object)
});

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    const DOCUMENT: &str = r#"{"data":{"mobile":"99 \u00e4\"","n":1.50,"e":1e3,"i":7,"b":true,"x":null,"list":[1,{"k":"v"},3]},"z":1,"a":2}"#;

    #[test]
    fn values_are_found_by_path() {
        let at = |path: &str| vec![s(DOCUMENT), s(path)];
        let with = |path: &str, rest: [&str; 4]| {
            let mut args = at(path);
            args.extend(rest.map(s));
            args
        };
        check(&[
            ("JSON_VALUE", at("$.data.mobile"), "99 ä\""),
            ("JSON_VALUE", at("lax $.data.mobile"), "99 ä\""),
            ("JSON_VALUE", at("$.data.n"), "1.50"),
            ("JSON_VALUE", at("$.data.e"), "1E+3"),
            ("JSON_VALUE", at("$.data.i"), "7"),
            ("JSON_VALUE", at("$.data.b"), "true"),
            ("JSON_VALUE", at("$.data.x"), "NULL"),
            ("JSON_VALUE", at("$.data.list[1].k"), "v"),
            ("JSON_VALUE", at("$['data']['list'][-1]"), "3"),
            ("JSON_VALUE", at("$.data.list"), "NULL"),
            ("JSON_VALUE", at("$.nothing"), "NULL"),
            ("JSON_VALUE", vec![s("{broken"), s("$.a")], "NULL"),
            ("JSON_VALUE", vec![null_s(), s("$.a")], "NULL"),
            ("JSON_VALUE", with("lax $.nothing", ["DEFAULT", "none", "NULL", ""]), "none"),
            ("JSON_VALUE", with("strict $.nothing", ["DEFAULT", "none", "DEFAULT", "failed"]), "failed"),
            ("JSON_VALUE", with("$.data", ["NULL", "", "DEFAULT", "failed"]), "failed"),
            (
                "JSON_VALUE",
                vec![s("{\"a\":{}}"), s("$.b"), s("NULL"), s(""), s("ERROR"), s("")],
                "error: JSON_VALUE finds no answer for the path `$.b` in `{\"a\":{}}`: the path leads nowhere",
            ),
            ("JSON_VALUE", vec![s("{\"a\":1,\"a\":2}"), s("$.a")], "2"),
        ]);
    }

    #[test]
    fn objects_and_arrays_are_queried() {
        let at = |path: &str, wrapper: &str| vec![s(DOCUMENT), s(path), s(wrapper)];
        check(&[
            ("JSON_QUERY", at("$.data.list", "WITHOUT"), r#"[1,{"k":"v"},3]"#),
            ("JSON_QUERY", at("$.data.list", "UNCONDITIONAL"), r#"[[1,{"k":"v"},3]]"#),
            ("JSON_QUERY", at("$.data.list", "CONDITIONAL"), r#"[1,{"k":"v"},3]"#),
            ("JSON_QUERY", at("$.data.i", "CONDITIONAL"), "[7]"),
            ("JSON_QUERY", at("$.data.i", "WITHOUT"), "NULL"),
            ("JSON_QUERY", at("$.data.list[*]", "WITHOUT"), r#"[1,{"k":"v"},3]"#),
            ("JSON_QUERY", vec![s(r#"{"b": 1, "a" : [ ]}"#), s("$")], r#"{"a":[],"b":1}"#),
            ("JSON_QUERY", vec![s("{}"), s("lax $.a"), s("WITHOUT"), s("EMPTY ARRAY"), s("NULL")], "[]"),
            ("JSON_QUERY", vec![s("{}"), s("strict $.a"), s("WITHOUT"), s("NULL"), s("EMPTY OBJECT")], "{}"),
            ("JSON_EXISTS", vec![s("{\"a\":1}"), s("$.a")], "TRUE"),
            ("JSON_EXISTS", vec![s("{\"a\":1}"), s("$.b")], "FALSE"),
            ("JSON_EXISTS", vec![s("{"), s("$.b"), s("UNKNOWN")], "NULL"),
            ("JSON_EXISTS", vec![s("{"), s("$.b"), s("TRUE")], "TRUE"),
            ("JSON_EXISTS", vec![null_s(), s("$.b")], "NULL"),
        ]);
    }

    #[test]
    fn text_is_told_from_json() {
        check(&[
            ("IS JSON", vec![s(" {\"a\": [1, -2.5e-3, \"\\n\"]} ")], "TRUE"),
            ("IS JSON", vec![s("{'a': 1}")], "FALSE"),
            ("IS JSON", vec![s("01")], "FALSE"),
            ("IS JSON", vec![s("[1,]")], "FALSE"),
            ("IS JSON", vec![s("")], "FALSE"),
            ("IS JSON", vec![null_s()], "FALSE"),
            ("IS JSON SCALAR", vec![s("\"x\"")], "TRUE"),
            ("IS JSON ARRAY", vec![s("[]")], "TRUE"),
            ("IS JSON OBJECT", vec![s("[]")], "FALSE"),
            ("IS JSON VALUE", vec![s("null")], "TRUE"),
            ("IS NOT JSON", vec![s("nul")], "TRUE"),
        ]);
        let deep = "[".repeat(100_000);
        check(&[("IS JSON", vec![s(&deep)], "FALSE")]);
    }

    #[test]
    fn unsupported_paths_are_refused() {
        for path in ["$..a", "$.a[?(@.b)]", "a.b", "$.a[", "$.a.length()"] {
            let refused = crate::function::testing::run("JSON_VALUE", &[s("{}"), s(path)]);
            assert!(refused.starts_with("error: the JSON path"), "{path}: {refused}");
        }
    }
}
