//! A compiled regular expression: the linear matcher where it can, a backtracking one where Java's meaning needs it.
//!
//! Look-around, back-references, atomic groups and possessive quantifiers need backtracking, and only patterns that use them pay for it.
//! `$` and `\Z` also match before a line end that ends the text, which the linear matcher cannot say: such patterns are compiled twice,
//! and the backtracking form serves the texts that end with a line end. Backtracking is bounded: a pattern that runs away is an error of
//! the row, never a job that hangs.

use regex::Regex;
use wiesel_core::{Error, Result};

/// How many steps back a match may take.
const BACKTRACK_COUNT_MAX: usize = 1_000_000;

/// A compiled regular expression.
#[derive(Debug)]
pub(super) struct Matcher {
    /// `None` when the pattern needs backtracking for every text.
    linear: Option<Regex>,
    /// `None` when no text needs backtracking.
    backtracking: Option<fancy_regex::Regex>,
}

enum Engine<'a> {
    Linear(&'a Regex),
    Backtracking(&'a fancy_regex::Regex),
}

impl Matcher {
    /// The matcher of a linear pattern, and of its backtracking form for texts that end with a line end.
    pub(super) fn linear(pattern: &str, for_line_ends: Option<&str>) -> Option<Matcher> {
        let linear = Regex::new(pattern).ok()?;
        let backtracking = for_line_ends.and_then(backtracking);
        Some(Matcher { linear: Some(linear), backtracking })
    }

    /// The matcher of a pattern that needs backtracking; `None` when it is no pattern.
    pub(super) fn backtracking(pattern: &str) -> Option<Matcher> {
        Some(Matcher { linear: None, backtracking: Some(backtracking(pattern)?) })
    }

    fn engine(&self, text: &str) -> Engine<'_> {
        match (&self.linear, &self.backtracking) {
            (Some(linear), Some(_)) if !text.ends_with(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) => {
                Engine::Linear(linear)
            }
            (_, Some(backtracking)) => Engine::Backtracking(backtracking),
            (Some(linear), None) => Engine::Linear(linear),
            (None, None) => unreachable!("a matcher has one form at least"),
        }
    }

    /// Whether the pattern occurs in the text.
    pub(super) fn is_match(&self, text: &str) -> Result<bool> {
        match self.engine(text) {
            Engine::Linear(regex) => Ok(regex.is_match(text)),
            Engine::Backtracking(regex) => regex.is_match(text).map_err(|_| runs_away(regex)),
        }
    }

    /// Begin and end of the first match.
    pub(super) fn find(&self, text: &str) -> Result<Option<(usize, usize)>> {
        match self.engine(text) {
            Engine::Linear(regex) => Ok(regex.find(text).map(|m| (m.start(), m.end()))),
            Engine::Backtracking(regex) => {
                let found = regex.find(text).map_err(|_| runs_away(regex))?;
                Ok(found.map(|m| (m.start(), m.end())))
            }
        }
    }

    /// What a group of the first match holds.
    pub(super) fn group<'t>(&self, text: &'t str, group: usize) -> Result<Option<&'t str>> {
        match self.engine(text) {
            Engine::Linear(regex) if group == 0 => Ok(regex.find(text).map(|m| m.as_str())),
            Engine::Linear(regex) => Ok(regex.captures(text).and_then(|c| c.get(group)).map(|m| m.as_str())),
            Engine::Backtracking(regex) => {
                let captures = regex.captures(text).map_err(|_| runs_away(regex))?;
                Ok(captures.and_then(|c| c.get(group)).map(|m| m.as_str()))
            }
        }
    }

    /// Calls back with begin and end of every match.
    pub(super) fn each(&self, text: &str, mut visit: impl FnMut(usize, usize)) -> Result<()> {
        match self.engine(text) {
            Engine::Linear(regex) => regex.find_iter(text).for_each(|m| visit(m.start(), m.end())),
            Engine::Backtracking(regex) => {
                for found in regex.find_iter(text) {
                    let found = found.map_err(|_| runs_away(regex))?;
                    visit(found.start(), found.end());
                }
            }
        }
        Ok(())
    }

    /// Calls back with what a group of every match holds.
    pub(super) fn each_group<'t>(
        &self,
        text: &'t str,
        group: usize,
        mut visit: impl FnMut(Option<&'t str>),
    ) -> Result<()> {
        match self.engine(text) {
            Engine::Linear(regex) => {
                regex.captures_iter(text).for_each(|c| visit(c.get(group).map(|m| m.as_str())));
            }
            Engine::Backtracking(regex) => {
                for captures in regex.captures_iter(text) {
                    let captures = captures.map_err(|_| runs_away(regex))?;
                    visit(captures.get(group).map(|m| m.as_str()));
                }
            }
        }
        Ok(())
    }

    /// How many groups it has, the whole match not counted.
    pub(super) fn group_count(&self) -> usize {
        let with_whole = match (&self.linear, &self.backtracking) {
            (Some(regex), _) => regex.captures_len(),
            (None, Some(regex)) => regex.captures_len(),
            (None, None) => 1,
        };
        with_whole - 1
    }
}

fn backtracking(pattern: &str) -> Option<fancy_regex::Regex> {
    fancy_regex::RegexBuilder::new(pattern).backtrack_limit(BACKTRACK_COUNT_MAX).build().ok()
}

#[cold]
fn runs_away(regex: &fancy_regex::Regex) -> Error {
    Error::data(format!(
        "the regular expression `{}` takes more than {BACKTRACK_COUNT_MAX} steps on a text",
        regex.as_str()
    ))
    .hint("say it without look-around, back-references and nested repetitions")
}
