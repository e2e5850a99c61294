//! `${NAME}`, `${NAME:-default}` and `${file:path}` in the values of WITH and SET: how they are found, and who answers for them.
//!
//! A value is expanded when it is used, and the text as written is kept for display, so a file's SHOW CREATE never shows what a variable
//! held. `$${` stands for `${` itself; a `$` without a brace is nothing special, so patterns like `^a$` need no care.

use std::fmt;
use std::sync::Arc;

/// Who knows the values.
pub trait Variables: Send + Sync {
    /// The value of a variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file, without its last line break; the error says why not.
    fn file(&self, path: &str) -> Result<String, String>;
}

/// Knows nothing: only defaults help.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _path: &str) -> Result<String, String> {
        Err("files are not read here".to_owned())
    }
}

/// Variables that are shared and say nothing of themselves.
#[derive(Clone)]
pub struct SharedVariables(pub Arc<dyn Variables>);

impl Default for SharedVariables {
    fn default() -> Self {
        SharedVariables(Arc::new(NoVariables))
    }
}

impl fmt::Debug for SharedVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedVariables")
    }
}

/// Why a value could not be expanded, and the bytes of it that are to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Where the `${...}` begins in the value.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// Whether a value has anything to expand.
pub fn has_variables(text: &str) -> bool {
    text.contains("${")
}

/// The value with everything expanded. What came from a file, or from a variable whose name sounds like a secret, is kept as a secret.
pub fn expand(text: &str, variables: &dyn Variables) -> Result<String, VariableError> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find("${").map(|found| at + found) {
        out.push_str(&text[at..found]);
        if out.ends_with('$') && found > at {
            // `$${` is a literal `${`: one dollar is there already.
            out.push('{');
            at = found + 2;
            continue;
        }
        let fail = |message: String, hint: &str, end: usize| VariableError {
            message,
            hint: hint.to_owned(),
            start: found,
            end,
        };
        let Some(length) = text[found..].find('}') else {
            return Err(fail("`${` without `}`".to_owned(), "write `$${` for a literal `${`", text.len()));
        };
        let end = found + length + 1;
        let inner = &text[found + 2..end - 1];
        if let Some(path) = inner.strip_prefix("file:") {
            let value = variables.file(path).map_err(|why| {
                fail(format!("cannot read `{path}`: {why}"), "paths are relative to the job's file", end)
            })?;
            crate::secret::keep(&value);
            out.push_str(&value);
        } else {
            let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
            if !is_name(name) {
                return Err(fail(
                    format!("`{inner}` is no variable"),
                    "expected ${NAME}, ${NAME:-default} or ${file:path}; write `$${` for a literal `${`",
                    end,
                ));
            }
            // As a shell: `:-` also stands in for an empty value.
            let value = match (variables.variable(name), default) {
                (Some(value), Some(default)) if value.is_empty() => default.to_owned(),
                (Some(value), _) => value,
                (None, Some(default)) => default.to_owned(),
                (None, None) => {
                    return Err(fail(
                        format!("variable `{name}` is not set"),
                        "set it in the environment, in a file given by --env-file, or in `.env` beside the job; or write ${NAME:-default}",
                        end,
                    ));
                }
            };
            if crate::secret::is_secret_key(&name.replace('_', "-")) || crate::secret::is_secret_key(name) {
                crate::secret::keep(&value);
            }
            out.push_str(&value);
        }
        at = end;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One `NAME=value` of an environment file.
pub type Assignment = (String, String);

/// Reads an environment file: `NAME=value` lines, `export` before them allowed, values plain, in `'...'` as they stand, or in `"..."` with
/// `\n`, `\t`, `\"`, `\\` and `\$`; `#` begins a comment at the start of a line or behind a blank. The error names the line.
pub fn parse_environment(text: &str) -> Result<Vec<Assignment>, String> {
    let mut found = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=').ok_or_else(|| format!("line {number}: expected NAME=value"))?;
        let name = name.trim();
        if !is_name(name) {
            return Err(format!("line {number}: `{name}` is no name of a variable"));
        }
        let value = value.trim_start();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                // A quoted value may go over several lines (keys and certificates do).
                let mut whole = value[1..].to_owned();
                loop {
                    if let Some(value) = unquoted(&whole, quote).map_err(|why| format!("line {number}: {why}"))? {
                        break value;
                    }
                    let Some((_, next)) = lines.next() else {
                        return Err(format!("line {number}: a quote that is not closed"));
                    };
                    whole.push('\n');
                    whole.push_str(next);
                }
            }
            _ => without_comment(value).trim_end().to_owned(),
        };
        found.push((name.to_owned(), value));
    }
    Ok(found)
}

fn without_comment(value: &str) -> &str {
    let mut before = ' ';
    for (at, c) in value.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &value[..at];
        }
        before = c;
    }
    value
}

/// The text up to its closing quote; `None` when there is none yet.
fn unquoted(text: &str, quote: char) -> Result<Option<String>, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == quote {
            let rest = chars.as_str();
            let rest = without_comment(rest).trim();
            return if rest.is_empty() { Ok(Some(out)) } else { Err(format!("`{rest}` behind the closing quote")) };
        }
        if c != '\\' || quote == '\'' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(escaped @ ('"' | '\\' | '$')) => out.push(escaped),
            Some(other) => out.extend(['\\', other]),
            None => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Variables for Known {
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "HOST" => Some("db".to_owned()),
                "EMPTY" => Some(String::new()),
                "DB_PASSWORD" => Some("vertraulich-77".to_owned()),
                _ => None,
            }
        }

        fn file(&self, path: &str) -> Result<String, String> {
            if path == "secrets/x" { Ok("aus-der-datei".to_owned()) } else { Err("no such file".to_owned()) }
        }
    }

    #[test]
    fn variables_defaults_files_and_escapes_are_expanded() {
        let cases = [
            ("jdbc://${HOST}:5432/${DB:-main}", "jdbc://db:5432/main"),
            ("${EMPTY}|${EMPTY:-x}|${NONE:-}", "|x|"),
            ("${file:secrets/x}", "aus-der-datei"),
            ("$${HOST}", "${HOST}"),
            ("a$${b}${HOST}", "a${b}db"),
            ("^[a-z]+$ costs $5 and $HOST", "^[a-z]+$ costs $5 and $HOST"),
            ("${NONE:-a:-b}", "a:-b"),
            ("", ""),
            ("$", "$"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &Known).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(crate::secret::redacted("aus-der-datei"), crate::secret::HIDDEN);
        expand("${DB_PASSWORD}", &Known).unwrap();
        assert_eq!(crate::secret::redacted("vertraulich-77"), crate::secret::HIDDEN);
    }

    #[test]
    fn what_cannot_be_expanded_is_named_with_its_place() {
        let cases = [
            ("ab${NONE}cd", "variable `NONE` is not set", 2, 9),
            ("${file:none}", "cannot read `none`: no such file", 0, 12),
            ("x${HOST", "`${` without `}`", 1, 7),
            ("${1}", "`1` is no variable", 0, 4),
            ("${}", "`` is no variable", 0, 3),
        ];
        for (text, message, start, end) in cases {
            let error = expand(text, &Known).unwrap_err();
            assert_eq!((error.message.as_str(), error.start, error.end), (message, start, end), "{text}");
        }
    }

    #[test]
    fn an_environment_file_is_read_with_quotes_and_comments() {
        let text = "\u{feff}# head\nA=1\r\nexport B = two words # said\nC='it # stays $x'\nD=\"a \\\"b\\\"\\n\\$c\" # gone\n\nE=a#b\nF=\nG=\"first\nsecond\"\n";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "it # stays $x"),
            ("D", "a \"b\"\n$c"),
            ("E", "a#b"),
            ("F", ""),
            ("G", "first\nsecond"),
        ];
        let found = parse_environment(text).unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(found, expected);
        for (text, why) in [
            ("A=1\nno equals", "line 2: expected NAME=value"),
            ("1A=x", "line 1: `1A` is no name of a variable"),
            ("A=\"x", "line 1: a quote that is not closed"),
            ("A='x' y", "line 1: `y` behind the closing quote"),
        ] {
            assert_eq!(parse_environment(text).unwrap_err(), why);
        }
    }
}
