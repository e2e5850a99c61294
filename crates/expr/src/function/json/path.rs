//! JSON paths: `$.name`, `$['name']`, `['a', 'b']`, `[n]`, `[m:n]`, `[m, n]`, `[*]`, `.*`, `..name`, `[?(filter)]`, with `lax` or `strict`
//! in front.
//!
//! A path without a mode is strict. Strict mode makes a missing value an error (ON ERROR), lax mode makes it an empty result (ON EMPTY).
//! A text that is no path is an error of the row, as in Flink. Functions and some filters are paths in Flink but not here;
//! they are refused by name, because any answer would be a wrong one.

use super::filter::{self, Filter};

/// What happens when a path leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The result is empty.
    Lax,
    /// It is an error.
    Strict,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A member of an object.
    Member(String),
    /// An element of an array, counted from 0, or from behind when negative.
    Index(i64),
    /// Several elements, each as [`Step::Index`] counts; those that are not there are passed over.
    Indices(Vec<i64>),
    /// The elements from the first position up to, and without, the second; a single negative bound counts from behind.
    Slice(Option<i64>, Option<i64>),
    /// Several members. As the last step it makes one object of them, otherwise the path goes on in each.
    Union(Vec<String>),
    /// The elements that pass a condition, or the object that does.
    Filter(Box<Filter>),
    /// Every member or element.
    Wildcard,
    /// The next step is taken from every object and array below, and here.
    Deep,
}

/// A compiled path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) mode: Mode,
    /// The steps from the root; `None` when the text is no path.
    pub(super) steps: Option<Vec<Step>>,
    /// It leads to one value at most. Otherwise its result is an array of all it leads to.
    pub(super) is_definite: bool,
}

/// Why a text does not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reject {
    Malformed,
    Unsupported(&'static str),
}

impl Path {
    /// Compiles a path; an error names the construct that is not supported.
    pub(super) fn parse(text: &str) -> Result<Path, &'static str> {
        let (mode, spec) = split_mode(text);
        match Parser::new(spec).and_then(Parser::steps) {
            Ok(steps) => {
                let (last, before) = steps.split_last().map_or((None, steps.as_slice()), |(l, b)| (Some(l), b));
                let is_definite = before.iter().all(|s| matches!(s, Step::Member(_) | Step::Index(_)))
                    && last.is_none_or(|s| matches!(s, Step::Member(_) | Step::Index(_) | Step::Union(_)));
                Ok(Path { mode, steps: Some(steps), is_definite })
            }
            Err(Reject::Malformed) => Ok(Path { mode, steps: None, is_definite: true }),
            Err(Reject::Unsupported(what)) => Err(what),
        }
    }
}

impl Path {
    /// The names of a union at the end: what is found is an object, and these of its members count.
    pub(super) fn union(&self) -> Option<&[String]> {
        match self.steps.as_deref().and_then(<[Step]>::last) {
            Some(Step::Union(names)) => Some(names),
            _ => None,
        }
    }
}

fn split_mode(text: &str) -> (Mode, &str) {
    let trimmed = text.trim_start();
    for (word, mode) in [("lax", Mode::Lax), ("strict", Mode::Strict)] {
        let Some((start, rest)) = trimmed.split_at_checked(word.len()) else { continue };
        let spec = rest.trim_start();
        if start.eq_ignore_ascii_case(word) && spec.len() < rest.len() && !spec.is_empty() {
            return (mode, spec);
        }
    }
    (Mode::Strict, text)
}

/// Reads the steps of a path.
pub(super) struct Parser<'a> {
    /// What is still to be read.
    pub(super) rest: &'a str,
    /// The steps so far.
    pub(super) steps: Vec<Step>,
}

pub(super) type Parsed<T> = Result<T, Reject>;

impl<'a> Parser<'a> {
    fn new(spec: &'a str) -> Parsed<Parser<'a>> {
        let spec = spec.trim();
        if spec.is_empty() || spec.ends_with('.') {
            return Err(Reject::Malformed);
        }
        let mut parser = Parser { rest: spec, steps: Vec::new() };
        if let Some(rest) = spec.strip_prefix(['$', '@']) {
            parser.rest = rest;
        } else {
            // `a.b` is short for `$.a.b`.
            parser.after_dot()?;
        }
        Ok(parser)
    }

    /// At the begin of what belongs to a path inside a filter.
    pub(super) fn inside(rest: &'a str) -> Parser<'a> {
        Parser { rest, steps: Vec::new() }
    }

    /// The steps of a path inside a filter, as far as they go; it may lead to one value at most.
    pub(super) fn steps_inside(&mut self) -> Parsed<()> {
        loop {
            if self.rest.starts_with("..") {
                return Err(Reject::Unsupported("a filter over several values"));
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                let end =
                    rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))).unwrap_or(rest.len());
                let (name, behind) = rest.split_at(end);
                if name.is_empty() {
                    return Err(if rest.starts_with('*') {
                        Reject::Unsupported("a filter over several values")
                    } else {
                        Reject::Malformed
                    });
                }
                if behind.starts_with('(') {
                    return Err(Reject::Unsupported("a function"));
                }
                self.steps.push(Step::Member(name.to_owned()));
                self.rest = behind;
            } else if self.rest.starts_with('[') {
                self.bracket()?;
                if !matches!(self.steps.last(), Some(Step::Member(_) | Step::Index(_))) {
                    return Err(Reject::Unsupported("a filter over several values"));
                }
            } else {
                return Ok(());
            }
        }
    }

    fn steps(mut self) -> Parsed<Vec<Step>> {
        while !self.rest.is_empty() {
            if let Some(rest) = self.rest.strip_prefix("..") {
                self.rest = rest;
                self.steps.push(Step::Deep);
                self.after_dot()?;
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                self.after_dot()?;
            } else if self.rest.starts_with('[') {
                self.bracket()?;
            } else {
                return Err(Reject::Malformed);
            }
        }
        Ok(self.steps)
    }

    fn after_dot(&mut self) -> Parsed<()> {
        if self.rest.starts_with('[') {
            return self.bracket();
        }
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            self.steps.push(Step::Wildcard);
            return Ok(());
        }
        let end = self.rest.find(['.', '[', '(', ' ']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        match rest.chars().next() {
            Some('(') => return Err(Reject::Unsupported("a function")),
            Some(' ') => return Err(Reject::Malformed),
            _ if name.is_empty() => return Err(Reject::Malformed),
            _ => self.steps.push(Step::Member(name.to_owned())),
        }
        self.rest = rest;
        Ok(())
    }

    fn bracket(&mut self) -> Parsed<()> {
        self.rest = self.rest[1..].trim_start_matches(' ');
        let step = match self.rest.chars().next() {
            Some('*') => {
                self.rest = &self.rest[1..];
                Step::Wildcard
            }
            Some(quote @ ('\'' | '"')) => self.names(quote)?,
            Some('?') => {
                let (filter, rest) = filter::parse(&self.rest[1..])?;
                self.rest = rest;
                Step::Filter(Box::new(filter))
            }
            Some('-' | '0'..='9' | ':') => self.positions()?,
            _ => return Err(Reject::Malformed),
        };
        self.rest = self.rest.trim_start_matches(' ');
        match self.rest.chars().next() {
            Some(']') => self.rest = &self.rest[1..],
            _ => return Err(Reject::Malformed),
        }
        self.steps.push(step);
        Ok(())
    }

    /// `n`, `m, n`, `m:n`, `m:` or `:n`, up to the closing bracket.
    fn positions(&mut self) -> Parsed<Step> {
        let end = self.rest.find(']').ok_or(Reject::Malformed)?;
        let (inside, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number = |text: &str| text.trim_matches(' ').parse::<i64>().map_err(|_| Reject::Malformed);
        let bound = |text: &str| if text.trim_matches(' ').is_empty() { Ok(None) } else { number(text).map(Some) };
        if let Some((from, to)) = inside.split_once(':') {
            // What stands behind a second colon does not count.
            let to = to.split(':').next().unwrap_or(to);
            return match (bound(from)?, bound(to)?) {
                (None, None) => Err(Reject::Malformed),
                (from, to) => Ok(Step::Slice(from, to)),
            };
        }
        let indices = inside.split(',').map(number).collect::<Parsed<Vec<_>>>()?;
        Ok(match indices.as_slice() {
            [index] => Step::Index(*index),
            _ => Step::Indices(indices),
        })
    }

    /// `'a'` or `'a', 'b'`, up to the closing bracket.
    fn names(&mut self, quote: char) -> Parsed<Step> {
        let mut names = vec![self.quoted(quote)?];
        loop {
            self.rest = self.rest.trim_start_matches(' ');
            let Some(rest) = self.rest.strip_prefix(',') else { break };
            self.rest = rest.trim_start_matches(' ');
            match self.rest.chars().next() {
                Some(quote @ ('\'' | '"')) => names.push(self.quoted(quote)?),
                _ => return Err(Reject::Malformed),
            }
        }
        Ok(if names.len() == 1 { Step::Member(names.remove(0)) } else { Step::Union(names) })
    }

    /// A text in quotes.
    pub(super) fn quoted(&mut self, quote: char) -> Parsed<String> {
        let mut name = String::new();
        let mut chars = self.rest[1..].chars();
        loop {
            match chars.next().ok_or(Reject::Malformed)? {
                c if c == quote => break,
                '\\' => name.push(match chars.next().ok_or(Reject::Malformed)? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        let digits = chars.as_str().get(..4).ok_or(Reject::Malformed)?;
                        let code = u32::from_str_radix(digits, 16).map_err(|_| Reject::Malformed)?;
                        chars = chars.as_str()[4..].chars();
                        char::from_u32(code).unwrap_or('?')
                    }
                    c => c,
                }),
                c => name.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_compile() {
        let member = |name: &str| Step::Member(name.to_owned());
        let cases = [
            ("$", Mode::Strict, Some(vec![])),
            ("lax $", Mode::Lax, Some(vec![])),
            ("  LAX  $.a", Mode::Lax, Some(vec![member("a")])),
            ("strict $.a.b", Mode::Strict, Some(vec![member("a"), member("b")])),
            ("$['a b'].c", Mode::Strict, Some(vec![member("a b"), member("c")])),
            ("$.['a b']", Mode::Strict, Some(vec![member("a b")])),
            ("$[ \"a\" ][ 0 ][-1]", Mode::Strict, Some(vec![member("a"), Step::Index(0), Step::Index(-1)])),
            ("$['q\\'']", Mode::Strict, Some(vec![member("q'")])),
            ("$['\\u0041']", Mode::Strict, Some(vec![member("A")])),
            ("$.a[*].*", Mode::Strict, Some(vec![member("a"), Step::Wildcard, Step::Wildcard])),
            ("$..a", Mode::Strict, Some(vec![Step::Deep, member("a")])),
            (
                "$.a[ 'b' , \"c\" ]",
                Mode::Strict,
                Some(vec![member("a"), Step::Union(vec!["b".to_owned(), "c".to_owned()])]),
            ),
            ("$['a',]", Mode::Strict, None),
            ("$[0:2]", Mode::Strict, Some(vec![Step::Slice(Some(0), Some(2))])),
            ("$[ :-1]", Mode::Strict, Some(vec![Step::Slice(None, Some(-1))])),
            ("$[0, 2]", Mode::Strict, Some(vec![Step::Indices(vec![0, 2])])),
            ("$[:]", Mode::Strict, None),
            ("$..[0]", Mode::Strict, Some(vec![Step::Deep, Step::Index(0)])),
            ("a.b", Mode::Strict, Some(vec![member("a"), member("b")])),
            ("lax", Mode::Strict, Some(vec![member("lax")])),
            ("$.é-1", Mode::Strict, Some(vec![member("é-1")])),
            ("$.s ", Mode::Strict, Some(vec![member("s")])),
            ("", Mode::Strict, None),
            ("lax$.s", Mode::Strict, Some(vec![member("lax$"), member("s")])),
            ("$.", Mode::Strict, None),
            ("$x", Mode::Strict, None),
            ("$ .x", Mode::Strict, None),
            ("$.x y", Mode::Strict, None),
            ("$...x", Mode::Strict, None),
            ("$[", Mode::Strict, None),
            ("$[a]", Mode::Strict, None),
            ("$['a", Mode::Strict, None),
        ];
        for (text, mode, steps) in cases {
            let path = Path::parse(text).expect("supported");
            assert_eq!((path.mode, path.steps), (mode, steps), "{text}");
        }
    }

    #[test]
    fn unsupported_constructs_are_named() {
        for (text, what) in [("$[?(@..a == 1)]", "a filter over several values"), ("$.a.length()", "a function")] {
            assert_eq!(Path::parse(text), Err(what), "{text}");
        }
    }
}
