//! Reads JSON text in place: one pass checks the whole text and finds the value of a path, without a tree and without a buffer.
//!
//! ```text
//! {"a": {"skipped": 1, "b": [10, 20]}, "c": null}      path $.a.b[1]
//!       ^ a matches, go in   ^ b matches    ^ index 1 found; the rest is still checked
//! ```
//!
//! The whole text must be checked, because a document that breaks off behind the value is no JSON and the last of several members of one
//! name counts. The rules are those of Flink's parser: no comments, no single quotes, no control characters inside strings, no leading
//! zeros; what follows the first value is not looked at.

use super::path::Step;

/// How deep objects and arrays may nest, so that hostile text cannot exhaust the stack.
const DEPTH_MAX: usize = 512;

/// Why a text is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The byte where it stops to be JSON.
    pub(super) at: usize,
    /// What should be there.
    pub(super) expected: &'static str,
}

type Scan<T> = Result<T, Malformed>;

/// What a value is; its text begins with a different byte for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

/// The kind of a value that has been checked.
pub(super) fn kind(value: &str) -> Kind {
    match value.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// Checks a document; its value, without the blanks around.
pub(super) fn check(document: &str) -> Scan<&str> {
    let mut scanner = Scanner::new(document);
    let value = scanner.value(0)?;
    scanner.end_of_root(value)?;
    Ok(value)
}

/// Checks a document and gives its value and the one at the end of steps that lead to one value at most.
pub(super) fn find<'a>(document: &'a str, steps: &[Step]) -> Scan<(Kind, Option<&'a str>)> {
    let mut scanner = Scanner::new(document);
    scanner.blanks();
    let start = scanner.at;
    let found = scanner.seek(steps, 0)?;
    let root = &document[start..scanner.at];
    scanner.end_of_root(root)?;
    Ok((kind(root), found))
}

/// A name or other string as it is written, without the quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a>(pub(super) &'a str);

impl<'a> Raw<'a> {
    /// The string of a checked value.
    pub(super) fn of(value: &'a str) -> Raw<'a> {
        Raw(value.get(1..value.len().saturating_sub(1)).unwrap_or(""))
    }

    /// Whether it says what it is.
    pub(super) fn is_plain(self) -> bool {
        memchr::memchr(b'\\', self.0.as_bytes()).is_none()
    }

    /// What it says, character by character.
    pub(super) fn chars(self) -> impl Iterator<Item = char> + 'a {
        let mut chars = self.0.chars();
        std::iter::from_fn(move || {
            let c = chars.next()?;
            if c != '\\' {
                return Some(c);
            }
            Some(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let high = hex(chars.as_str());
                    chars = chars.as_str().get(4..).unwrap_or("").chars();
                    match (high, chars.as_str().strip_prefix("\\u")) {
                        (0xD800..=0xDBFF, Some(next)) if (0xDC00..=0xDFFF).contains(&hex(next)) => {
                            let low = hex(next);
                            chars = next.get(4..).unwrap_or("").chars();
                            char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).unwrap_or('?')
                        }
                        // Half a surrogate pair is no character; Java writes a question mark.
                        _ => char::from_u32(high).unwrap_or('?'),
                    }
                }
                c => c,
            })
        })
    }

    /// Whether it says `name`.
    pub(super) fn is(self, name: &str) -> bool {
        if self.is_plain() { self.0 == name } else { self.chars().eq(name.chars()) }
    }

    /// The order of what two strings say.
    pub(super) fn cmp(self, other: Raw<'_>) -> std::cmp::Ordering {
        if self.is_plain() && other.is_plain() {
            return self.0.cmp(other.0);
        }
        self.chars().cmp(other.chars())
    }
}

fn hex(digits: &str) -> u32 {
    digits.get(..4).and_then(|d| u32::from_str_radix(d, 16).ok()).unwrap_or(0)
}

/// A place in a text.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// At the begin of a text.
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    fn fail<T>(&self, expected: &'static str) -> Scan<T> {
        Err(Malformed { at: self.at, expected })
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Scan<()> {
        if self.byte() != Some(byte) {
            return self.fail(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// The next value, checked.
    pub(super) fn value(&mut self, depth: usize) -> Scan<&'a str> {
        self.blanks();
        let start = self.at;
        match self.byte() {
            Some(b'{') => {
                self.open(depth)?;
                let mut is_first = true;
                while self.next_member(&mut is_first)?.is_some() {
                    self.value(depth + 1)?;
                }
            }
            Some(b'[') => {
                self.open(depth)?;
                let mut is_first = true;
                while self.next_element(&mut is_first)? {
                    self.value(depth + 1)?;
                }
            }
            Some(b'"') => {
                self.string()?;
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return self.fail("a value"),
        }
        Ok(&self.text[start..self.at])
    }

    /// Goes into an object or array.
    pub(super) fn open(&mut self, depth: usize) -> Scan<()> {
        if depth >= DEPTH_MAX {
            return self.fail("less deeply nested values");
        }
        self.at += 1;
        Ok(())
    }

    /// Goes on to the value of the next member; its name, or `None` behind the last.
    pub(super) fn next_member(&mut self, is_first: &mut bool) -> Scan<Option<Raw<'a>>> {
        if !self.next_of(b'}', "`,` or `}`", is_first)? {
            return Ok(None);
        }
        if self.byte() != Some(b'"') {
            return self.fail("a member's name in double quotes");
        }
        let name = self.string()?;
        self.blanks();
        self.expect(b':', "`:`")?;
        Ok(Some(name))
    }

    /// Goes on to the next element; `false` behind the last.
    pub(super) fn next_element(&mut self, is_first: &mut bool) -> Scan<bool> {
        self.next_of(b']', "`,` or `]`", is_first)
    }

    fn next_of(&mut self, close: u8, expected: &'static str, is_first: &mut bool) -> Scan<bool> {
        self.blanks();
        if self.byte() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::take(is_first) {
            self.expect(b',', expected)?;
            self.blanks();
        }
        Ok(true)
    }

    fn string(&mut self) -> Scan<Raw<'a>> {
        self.at += 1;
        let start = self.at;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return self.fail("`\"` at the end of a string");
            };
            if let Some(control) = rest[..length].iter().position(|b| *b < 0x20) {
                self.at += control;
                return self.fail("an escape instead of a control character");
            }
            self.at += length;
            if rest[length] == b'"' {
                let raw = &self.text[start..self.at];
                self.at += 1;
                return Ok(Raw(raw));
            }
            self.at += 1;
            match self.byte() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                Some(b'u') if rest.get(length + 2..length + 6).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) => {
                    self.at += 5;
                }
                _ => return self.fail("an escape such as `\\n` or `\\u0041`"),
            }
        }
    }

    fn number(&mut self) -> Scan<()> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
            if matches!(self.byte(), Some(b'0'..=b'9')) {
                return self.fail("a number without leading zeros");
            }
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail("a digit") } else { Ok(()) }
    }

    fn word(&mut self, word: &'static str) -> Scan<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail("`true`, `false` or `null`");
        }
        self.at += word.len();
        Ok(())
    }

    /// A number or word that is the whole document must end there.
    fn end_of_root(&self, root: &str) -> Scan<()> {
        let next = self.text[self.at..].chars().next();
        let ends = match kind(root) {
            Kind::Number => next.is_none_or(|c| matches!(c, ' ' | '\n' | '\r' | '\t')),
            Kind::Boolean | Kind::Null => next.is_none_or(|c| !c.is_alphanumeric() && c != '_'),
            _ => true,
        };
        if ends { Ok(()) } else { self.fail("the end of the value") }
    }

    fn seek(&mut self, steps: &[Step], depth: usize) -> Scan<Option<&'a str>> {
        let Some((step, rest)) = steps.split_first() else { return self.value(depth).map(Some) };
        self.blanks();
        match (step, self.byte()) {
            (Step::Member(name), Some(b'{')) => self.seek_member(name, rest, depth),
            (Step::Index(index), Some(b'[')) => {
                let wanted = match usize::try_from(*index) {
                    Ok(index) => Some(index),
                    Err(_) => {
                        let before = self.at;
                        let count = self.count_elements(depth)?;
                        self.at = before;
                        usize::try_from(index.unsigned_abs()).ok().and_then(|back| count.checked_sub(back))
                    }
                };
                self.seek_element(wanted, rest, depth)
            }
            _ => {
                self.value(depth)?;
                Ok(None)
            }
        }
    }

    fn seek_member(&mut self, name: &str, rest: &[Step], depth: usize) -> Scan<Option<&'a str>> {
        self.open(depth)?;
        let mut found = None;
        let mut is_first = true;
        while let Some(member) = self.next_member(&mut is_first)? {
            if member.is(name) {
                found = self.seek(rest, depth + 1)?;
            } else {
                self.value(depth + 1)?;
            }
        }
        Ok(found)
    }

    fn seek_element(&mut self, wanted: Option<usize>, rest: &[Step], depth: usize) -> Scan<Option<&'a str>> {
        self.open(depth)?;
        let mut found = None;
        let mut is_first = true;
        let mut index = 0;
        while self.next_element(&mut is_first)? {
            if Some(index) == wanted {
                found = self.seek(rest, depth + 1)?;
            } else {
                self.value(depth + 1)?;
            }
            index += 1;
        }
        Ok(found)
    }

    fn count_elements(&mut self, depth: usize) -> Scan<usize> {
        self.open(depth)?;
        let mut count = 0;
        let mut is_first = true;
        while self.next_element(&mut is_first)? {
            self.value(depth + 1)?;
            count += 1;
        }
        Ok(count)
    }
}

/// A member of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) name: Raw<'a>,
    pub(super) value: &'a str,
}

/// Working space for the members of objects and the matches of a path, kept over the rows of a batch.
#[derive(Debug, Default)]
pub(super) struct Work<'a> {
    /// What a path with wildcards has found.
    pub(super) matches: Vec<&'a str>,
    /// The members of the objects that are being read, the innermost last.
    pub(super) members: Vec<Member<'a>>,
    /// The document that is searched, for filters that look at it.
    pub(super) root: &'a str,
    order: Vec<usize>,
}

impl<'a> Work<'a> {
    /// Pushes the members of a checked object; of several members of one name the first place and the last value count.
    pub(super) fn push_members(&mut self, object: &'a str) -> Scan<()> {
        let base = self.members.len();
        let mut scanner = Scanner::new(object);
        scanner.open(0)?;
        let mut is_first = true;
        while let Some(name) = scanner.next_member(&mut is_first)? {
            let value = scanner.value(0)?;
            self.members.push(Member { name, value });
        }
        let members = &mut self.members[base..];
        self.order.clear();
        self.order.extend(0..members.len());
        self.order.sort_by(|a, b| members[*a].name.cmp(members[*b].name));
        let mut has_doubles = false;
        for at in (1..self.order.len()).rev() {
            // From behind, so that the last value of a name wanders to its first place.
            let (before, after) = (self.order[at - 1], self.order[at]);
            if members[before].name.cmp(members[after].name).is_eq() {
                has_doubles = true;
                members[before].value = std::mem::take(&mut members[after].value);
            }
        }
        if has_doubles {
            let mut kept = base;
            for index in base..self.members.len() {
                if !self.members[index].value.is_empty() {
                    self.members[kept] = self.members[index];
                    kept += 1;
                }
            }
            self.members.truncate(kept);
        }
        Ok(())
    }

    /// Collects in `matches` every value that the steps lead to from a checked value. `false` when a step that leads to one value at
    /// most leads nowhere, which strict mode takes for an error.
    pub(super) fn collect(&mut self, value: &'a str, steps: &[Step], is_definite: bool) -> Scan<bool> {
        let Some((step, rest)) = steps.split_first() else {
            self.matches.push(value);
            return Ok(true);
        };
        match (step, kind(value)) {
            (Step::Member(_), Kind::Object) => match Scanner::new(value).seek(&steps[..1], 0)? {
                Some(next) => self.collect(next, rest, is_definite),
                None => Ok(!is_definite),
            },
            // An index out of range is no error when wildcards follow.
            (Step::Index(_), Kind::Array) => match Scanner::new(value).seek(&steps[..1], 0)? {
                Some(next) => self.collect(next, rest, is_definite),
                None => Ok(true),
            },
            (Step::Indices(_) | Step::Slice(..), Kind::Array) => {
                let mut elements = Vec::new();
                self.each_child(value, &mut |_, child| {
                    elements.push(child);
                    Ok(())
                })?;
                for place in places(step, elements.len()) {
                    if let Some(element) = elements.get(place) {
                        self.collect(element, rest, false)?;
                    }
                }
                Ok(true)
            }
            // The members are picked when the object is written.
            (Step::Union(_), Kind::Object) if rest.is_empty() => {
                self.matches.push(value);
                Ok(true)
            }
            (Step::Union(names), Kind::Object) => {
                for name in names {
                    let step = Step::Member(name.clone());
                    if let Some(next) = Scanner::new(value).seek(std::slice::from_ref(&step), 0)? {
                        self.collect(next, rest, false)?;
                    }
                }
                Ok(true)
            }
            (Step::Filter(filter), Kind::Object) => {
                if filter.accepts(value, self.root) {
                    self.collect(value, rest, false)?;
                }
                Ok(true)
            }
            (Step::Filter(filter), Kind::Array) => {
                self.each_child(value, &mut |work, child| {
                    if filter.accepts(child, work.root) { work.collect(child, rest, false).map(drop) } else { Ok(()) }
                })?;
                Ok(true)
            }
            (
                Step::Member(_)
                | Step::Index(_)
                | Step::Indices(_)
                | Step::Slice(..)
                | Step::Union(_)
                | Step::Filter(_),
                _,
            ) => Ok(!is_definite),
            (Step::Wildcard, _) => {
                self.each_child(value, &mut |work, child| work.collect(child, rest, false).map(drop))?;
                Ok(true)
            }
            (Step::Deep, Kind::Object | Kind::Array) => {
                if applies_at(rest, value)? {
                    self.collect(value, rest, false)?;
                }
                self.each_child(value, &mut |work, child| work.collect(child, steps, false).map(drop))?;
                Ok(true)
            }
            (Step::Deep, _) => Ok(true),
        }
    }

    /// Calls back with every member's value or element of a checked value.
    fn each_child(&mut self, value: &'a str, visit: &mut dyn FnMut(&mut Work<'a>, &'a str) -> Scan<()>) -> Scan<()> {
        match kind(value) {
            Kind::Object => {
                let base = self.members.len();
                self.push_members(value)?;
                let end = self.members.len();
                for index in base..end {
                    let child = self.members[index].value;
                    visit(self, child)?;
                }
                self.members.truncate(base);
            }
            Kind::Array => {
                let mut scanner = Scanner::new(value);
                scanner.open(0)?;
                let mut is_first = true;
                while scanner.next_element(&mut is_first)? {
                    let child = scanner.value(0)?;
                    visit(self, child)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether the step behind `..` is taken at a value on the way: a filter tests each object by itself, and a union wants all its members.
fn applies_at(steps: &[Step], value: &str) -> Scan<bool> {
    match steps.first() {
        Some(Step::Filter(_)) => Ok(kind(value) == Kind::Object),
        Some(Step::Union(names)) if steps.len() == 1 && kind(value) == Kind::Object => {
            for name in names {
                let step = Step::Member(name.clone());
                if Scanner::new(value).seek(std::slice::from_ref(&step), 0)?.is_none() {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Ok(true),
    }
}

/// Which elements of an array of that length a step leads to.
fn places(step: &Step, length: usize) -> Vec<usize> {
    let count = i64::try_from(length).unwrap_or(i64::MAX);
    let place = |position: i64| if position < 0 { count.saturating_add(position) } else { position };
    match step {
        Step::Indices(indices) => indices.iter().filter_map(|index| usize::try_from(place(*index)).ok()).collect(),
        // With both bounds these are taken as written, and each position between them is counted from behind when it is negative.
        Step::Slice(Some(from), Some(to)) => {
            let (from, to) = ((*from).max(-count), (*to).min(count));
            (from..to).filter_map(|position| usize::try_from(place(position)).ok()).collect()
        }
        Step::Slice(from, to) => {
            let from = from.map_or(0, place).max(0);
            let to = to.map_or(count, place).min(count);
            (from..to).filter_map(|place| usize::try_from(place).ok()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_passes() {
        let good = [
            "{}",
            "[]",
            " [1, 2.5e-3, -0] ",
            "\"a\\u00e9\\n\"",
            "true",
            "null",
            "5 x",
            "{\"a\":1} x",
            "{\"a\":{\"b\":[{}]}}",
            "\"é\"",
            "-0.0",
            "1E+5",
            "[\n]",
        ];
        for text in good {
            assert!(check(text).is_ok(), "{text}: {:?}", check(text));
        }
        let bad = [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{'a':1}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "5x",
            "true1",
            "nul",
            "\"a",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "NaN",
            "\"\\",
            "\"\\u12",
        ];
        for text in bad {
            assert!(check(text).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(check(&deep).map_err(|e| e.expected), Err("less deeply nested values"));
    }

    #[test]
    fn doubled_members_count_once() {
        let mut work = Work::default();
        work.push_members("{\"b\":1,\"a\":2,\"\\u0062\":3,\"c\":4}").expect("JSON");
        let members: Vec<(&str, &str)> = work.members.iter().map(|m| (m.name.0, m.value)).collect();
        assert_eq!(members, [("b", "3"), ("a", "2"), ("c", "4")]);
    }
}
