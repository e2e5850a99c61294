//! JSON paths: `[lax | strict] $`, then `.name`, `['name']`, `[n]` (from the end when negative), `.*` and `[*]`.
//!
//! A path without a mode is strict, as in Flink. Filters, deep scans, slices and functions are refused by name.

use wiesel_core::{Error, Result};

/// What a path does where it leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The result is empty.
    Lax,
    /// That is an error.
    Strict,
}

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A member of an object.
    Member(String),
    /// An element of an array; negative from the end.
    Index(i64),
    /// All members or elements.
    All,
}

/// A compiled path.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) mode: Mode,
    pub(super) steps: Vec<Step>,
    pub(super) has_wildcard: bool,
}

impl Path {
    /// Compiles a path.
    pub(super) fn new(text: &str) -> Result<Path> {
        let (mode, spec) = mode(text);
        let refused = |what: &str| {
            Error::config(format!("the JSON path `{text}` {what}")).hint(
                "a path is $ and then .name, ['name'], [0], [-1], .* or [*], behind `lax` or `strict` if you like",
            )
        };
        let mut rest = spec.trim().strip_prefix('$').ok_or_else(|| refused("does not start with `$`"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if rest.starts_with("..") {
                return Err(refused("has a deep scan `..`, which is not supported"));
            }
            if let Some(name) = rest.strip_prefix('.') {
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (name, behind) = name.split_at(end);
                if name.is_empty() || name.contains(['(', ')', '?', '@']) {
                    return Err(refused(&format!("has the step `.{name}`, which is not supported")));
                }
                steps.push(if name == "*" { Step::All } else { Step::Member(name.to_owned()) });
                rest = behind;
                continue;
            }
            let inner =
                rest.strip_prefix('[').ok_or_else(|| refused("has a step that starts with neither `.` nor `[`"))?;
            let (step, behind) = bracket(inner).ok_or_else(|| {
                refused("has a bracket that holds neither a quoted name nor a number nor `*`, or is not closed")
            })?;
            steps.push(step);
            rest = behind;
        }
        let has_wildcard = steps.contains(&Step::All);
        Ok(Path { mode, steps, has_wildcard })
    }
}

fn mode(text: &str) -> (Mode, &str) {
    let trimmed = text.trim_start();
    for (word, mode) in [("lax", Mode::Lax), ("strict", Mode::Strict)] {
        if let Some((first, rest)) = trimmed.split_at_checked(word.len())
            && first.eq_ignore_ascii_case(word)
            && rest.starts_with(char::is_whitespace)
        {
            return (mode, rest);
        }
    }
    (Mode::Strict, text)
}

/// What stands behind a `[`: the step and what follows its `]`.
fn bracket(inner: &str) -> Option<(Step, &str)> {
    let inner = inner.trim_start();
    let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'));
    if let Some(quote) = quote {
        let mut name = String::new();
        let mut chars = inner.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                name.push(chars.next()?.1);
            } else if c == quote {
                let behind = inner[at + c.len_utf8()..].trim_start().strip_prefix(']')?;
                return Some((Step::Member(name), behind));
            } else {
                name.push(c);
            }
        }
        return None;
    }
    let (content, behind) = inner.split_once(']')?;
    let step = match content.trim() {
        "*" => Step::All,
        number => Step::Index(number.parse().ok()?),
    };
    Some((step, behind))
}
