//! The filters of JSON paths: `[?(@.price > 10 && @.kind in ['a', 'b'])]`, as Jayway's JsonPath answers them.
//!
//! | part | forms |
//! |---|---|
//! | operands | `@.path` of the element, `$.path` of the document, texts, numbers, `true`, `false`, `null`, `[lists]`, `/patterns/i` |
//! | comparisons | `==` `!=` `<` `<=` `>` `>=`, `===` and `!==` (of the same type), `=~`, `in`, `nin`, `contains`, `size`, `empty` |
//! | a path alone | whether something is there |
//! | together | `&&`, `||`, `!`, `( )` |
//!
//! A path that leads nowhere equals nothing, not even `null`. A number and a text are equal when the text says the number; they have no
//! order. Paths inside a filter lead to one value at most; others are refused by name.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::document::{self, Kind, Raw, Scanner, kind};
use super::path::{Parsed, Parser, Reject, Step};
use crate::function::regexp_matcher::Matcher;

/// How deep conditions may nest in parentheses and behind `!`.
const DEPTH_MAX: usize = 32;

/// A condition on an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// One of these.
    Any(Vec<Filter>),
    /// All of these.
    All(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// Something is at the path.
    Exists(Operand),
    /// Two values compare.
    Compare(Operand, Comparison, Operand),
}

/// What a comparison asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Same,
    NotSame,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Matches,
    In,
    NotIn,
    Contains,
    Size,
    Empty,
}

/// Symbols before their beginnings.
const COMPARISONS: &[(&str, Comparison)] = &[
    ("===", Comparison::Same),
    ("!==", Comparison::NotSame),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("=~", Comparison::Matches),
    ("<=", Comparison::LessEqual),
    (">=", Comparison::GreaterEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("nin", Comparison::NotIn),
    ("in", Comparison::In),
    ("contains", Comparison::Contains),
    ("size", Comparison::Size),
    ("empty", Comparison::Empty),
];

/// Comparisons that are not taken, by name.
const REFUSED: &[&str] = &["subsetof", "anyof", "noneof", "all", "type", "matches", "exists"];

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    /// A path from the element.
    Element(Vec<Step>),
    /// A path from the document.
    Document(Vec<Step>),
    Text(String),
    Number(String),
    Boolean(bool),
    Null,
    List(Vec<Operand>),
    Pattern(Pattern),
}

/// A regular expression; equal to another of the same text.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    regex: Arc<Matcher>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Whether it is of that form; one that runs away is not.
    fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text).unwrap_or(false)
    }
}

/// Reads a filter behind its `?`, up to the closing bracket of the step.
pub(super) fn parse(rest: &str) -> Parsed<(Filter, &str)> {
    let mut reader = Reader { rest, depth: 0 };
    reader.blanks();
    if !reader.take("(") {
        return Err(Reject::Malformed);
    }
    let filter = reader.any()?;
    if !reader.take(")") {
        return Err(Reject::Malformed);
    }
    Ok((filter, reader.rest))
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    /// Goes behind a symbol when it stands there.
    fn take(&mut self, symbol: &str) -> bool {
        self.blanks();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Goes behind a word when it stands there as a whole.
    fn take_word(&mut self, word: &str) -> bool {
        self.blanks();
        let Some((start, rest)) = self.rest.split_at_checked(word.len()) else { return false };
        let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if start.eq_ignore_ascii_case(word) && ends {
            self.rest = rest;
            return true;
        }
        false
    }

    fn any(&mut self) -> Parsed<Filter> {
        let mut parts = vec![self.all()?];
        while self.take("||") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Any(parts) })
    }

    fn all(&mut self) -> Parsed<Filter> {
        let mut parts = vec![self.condition()?];
        while self.take("&&") {
            parts.push(self.condition()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) })
    }

    fn condition(&mut self) -> Parsed<Filter> {
        if self.depth >= DEPTH_MAX {
            return Err(Reject::Unsupported("a filter nested that deeply"));
        }
        self.depth += 1;
        let condition = if self.take("(") {
            let inner = self.any()?;
            if self.take(")") { Ok(inner) } else { Err(Reject::Malformed) }
        } else if self.take("!") {
            self.condition().map(|inner| Filter::Not(Box::new(inner)))
        } else {
            self.comparison()
        };
        self.depth -= 1;
        condition
    }

    fn comparison(&mut self) -> Parsed<Filter> {
        let left = self.operand()?;
        self.blanks();
        let found = COMPARISONS.iter().find(|(symbol, _)| {
            if symbol.starts_with(|c: char| c.is_ascii_alphabetic()) {
                self.take_word(symbol)
            } else {
                self.take(symbol)
            }
        });
        match (found, &left) {
            (Some((_, comparison)), _) => Ok(Filter::Compare(left, *comparison, self.operand()?)),
            (None, _) if REFUSED.iter().any(|word| self.take_word(word)) => {
                Err(Reject::Unsupported("a filter by subsetof, anyof, noneof, all, type or matches"))
            }
            (None, Operand::Element(_) | Operand::Document(_)) => Ok(Filter::Exists(left)),
            _ => Err(Reject::Malformed),
        }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        self.blanks();
        match self.rest.chars().next().ok_or(Reject::Malformed)? {
            start @ ('@' | '$') => {
                self.rest = &self.rest[1..];
                let mut parser = Parser::inside(self.rest);
                parser.steps_inside()?;
                self.rest = parser.rest;
                Ok(if start == '@' { Operand::Element(parser.steps) } else { Operand::Document(parser.steps) })
            }
            quote @ ('\'' | '"') => {
                let mut parser = Parser::inside(self.rest);
                let text = parser.quoted(quote)?;
                self.rest = parser.rest;
                Ok(Operand::Text(text))
            }
            '[' => {
                self.rest = &self.rest[1..];
                let mut items = Vec::new();
                while !self.take("]") {
                    if !items.is_empty() && !self.take(",") {
                        return Err(Reject::Malformed);
                    }
                    items.push(self.operand()?);
                }
                Ok(Operand::List(items))
            }
            '/' => self.pattern(),
            '-' | '0'..='9' => {
                let end = self.rest.find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'));
                let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                number.parse::<f64>().map_err(|_| Reject::Malformed)?;
                Ok(Operand::Number(number.to_owned()))
            }
            _ if self.take_word("true") => Ok(Operand::Boolean(true)),
            _ if self.take_word("false") => Ok(Operand::Boolean(false)),
            _ if self.take_word("null") => Ok(Operand::Null),
            _ => Err(Reject::Malformed),
        }
    }

    fn pattern(&mut self) -> Parsed<Operand> {
        let inside = &self.rest[1..];
        let mut is_escaped = false;
        let end = inside.char_indices().find(|(_, c)| {
            let ends = *c == '/' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            ends
        });
        let (end, _) = end.ok_or(Reject::Malformed)?;
        let rest = &inside[end + 1..];
        let flag_count = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (flags, rest) = rest.split_at(flag_count);
        self.rest = rest;
        let java = match flags {
            "" => inside[..end].to_owned(),
            "i" => format!("(?i){}", &inside[..end]),
            _ => return Err(Reject::Unsupported("a pattern with flags other than i")),
        };
        let compiled = crate::function::regexp::compile(&format!("^(?:{java})$"));
        match compiled {
            Ok(Some(regex)) => Ok(Operand::Pattern(Pattern { text: java, regex: Arc::new(regex) })),
            Ok(None) => Err(Reject::Malformed),
            Err(_) => Err(Reject::Unsupported("a pattern that is not supported")),
        }
    }
}

/// The value of an operand.
enum Node<'a> {
    /// A path leads nowhere.
    Nothing,
    Null,
    Boolean(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    /// An object or array.
    Json(&'a str),
    List(&'a [Operand]),
    Pattern(&'a Pattern),
}

impl Operand {
    fn node<'a>(&'a self, element: &'a str, root: &'a str) -> Node<'a> {
        match self {
            Operand::Element(steps) => at(element, steps),
            Operand::Document(steps) => at(root, steps),
            Operand::Text(text) => Node::Text(Cow::Borrowed(text)),
            Operand::Number(number) => Node::Number(number),
            Operand::Boolean(value) => Node::Boolean(*value),
            Operand::Null => Node::Null,
            Operand::List(items) => Node::List(items),
            Operand::Pattern(pattern) => Node::Pattern(pattern),
        }
    }
}

/// The value at a path below a checked value.
fn at<'a>(value: &'a str, steps: &[Step]) -> Node<'a> {
    match document::find(value, steps) {
        Ok((_, Some(found))) => node_of(found),
        _ => Node::Nothing,
    }
}

fn node_of(value: &str) -> Node<'_> {
    match kind(value) {
        Kind::Object | Kind::Array => Node::Json(value),
        Kind::Number => Node::Number(value),
        Kind::Boolean => Node::Boolean(value == "true"),
        Kind::Null => Node::Null,
        Kind::String => {
            let raw = Raw::of(value);
            Node::Text(if raw.is_plain() { Cow::Borrowed(raw.0) } else { Cow::Owned(raw.chars().collect()) })
        }
    }
}

impl Filter {
    /// Whether an element of a document passes; both are checked JSON.
    pub(super) fn accepts(&self, element: &str, root: &str) -> bool {
        match self {
            Filter::Any(parts) => parts.iter().any(|part| part.accepts(element, root)),
            Filter::All(parts) => parts.iter().all(|part| part.accepts(element, root)),
            Filter::Not(part) => !part.accepts(element, root),
            Filter::Exists(path) => !matches!(path.node(element, root), Node::Nothing),
            Filter::Compare(left, comparison, right) => {
                compare(&left.node(element, root), *comparison, &right.node(element, root), (element, root))
            }
        }
    }
}

fn compare(left: &Node<'_>, comparison: Comparison, right: &Node<'_>, place: (&str, &str)) -> bool {
    match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::NotEqual => !equal(left, right),
        Comparison::Same => std::mem::discriminant(left) == std::mem::discriminant(right) && equal(left, right),
        Comparison::NotSame => !compare(left, Comparison::Same, right, place),
        Comparison::Less => order(left, right) == Some(Ordering::Less),
        Comparison::LessEqual => order(left, right).is_some_and(Ordering::is_le),
        Comparison::Greater => order(left, right) == Some(Ordering::Greater),
        Comparison::GreaterEqual => order(left, right).is_some_and(Ordering::is_ge),
        Comparison::Matches => matches(left, right) || matches(right, left),
        Comparison::In => is_in(left, right, place) == Some(true),
        Comparison::NotIn => is_in(left, right, place) == Some(false),
        Comparison::Contains => match (left, right) {
            (Node::Text(text), Node::Text(part)) => text.contains(part.as_ref()),
            _ => is_in(right, left, place) == Some(true),
        },
        Comparison::Size => match right {
            Node::Number(wanted) => length(left).is_some_and(|found| wanted.parse() == Ok(found)),
            _ => false,
        },
        Comparison::Empty => match right {
            Node::Boolean(wanted) => length(left).is_some_and(|found| (found == 0) == *wanted),
            _ => false,
        },
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

fn compare_numbers(left: &str, right: &str) -> Option<Ordering> {
    match (left.parse::<i128>(), right.parse::<i128>()) {
        (Ok(left), Ok(right)) => Some(left.cmp(&right)),
        _ => number(left)?.partial_cmp(&number(right)?),
    }
}

fn equal(left: &Node<'_>, right: &Node<'_>) -> bool {
    match (left, right) {
        (Node::Null, Node::Null) => true,
        (Node::Boolean(left), Node::Boolean(right)) => left == right,
        (Node::Number(left), Node::Number(right)) => compare_numbers(left, right) == Some(Ordering::Equal),
        // The left side says how the two are compared.
        (Node::Number(left), Node::Text(right)) => compare_numbers(left, right) == Some(Ordering::Equal),
        (Node::Text(left), Node::Number(right)) => left == right,
        (Node::Text(left), Node::Text(right)) => left == right,
        (Node::Json(left), Node::Json(right)) => left == right,
        (Node::Json(array), Node::List(items)) | (Node::List(items), Node::Json(array)) => {
            let elements = elements(array);
            elements.len() == items.len()
                && elements.iter().zip(*items).all(|(e, item)| equal(&node_of(e), &item.node("", "")))
        }
        _ => false,
    }
}

fn order(left: &Node<'_>, right: &Node<'_>) -> Option<Ordering> {
    match (left, right) {
        (Node::Number(left), Node::Number(right)) => compare_numbers(left, right),
        (Node::Text(left), Node::Text(right)) => Some(left.encode_utf16().cmp(right.encode_utf16())),
        _ => None,
    }
}

fn matches(pattern: &Node<'_>, value: &Node<'_>) -> bool {
    let Node::Pattern(pattern) = pattern else { return false };
    match value {
        Node::Text(text) => pattern.is_match(text),
        Node::Number(number) => pattern.is_match(number),
        Node::Boolean(value) => pattern.is_match(if *value { "true" } else { "false" }),
        Node::Json(array) => elements(array).iter().any(|element| matches(&Node::Pattern(pattern), &node_of(element))),
        _ => pattern.is_match(""),
    }
}

/// Whether a value is among those of a list or array; `None` when there is no list.
fn is_in(value: &Node<'_>, list: &Node<'_>, (element, root): (&str, &str)) -> Option<bool> {
    match list {
        Node::List(items) => Some(items.iter().any(|item| equal(&item.node(element, root), value))),
        Node::Json(array) if kind(array) == Kind::Array => {
            Some(elements(array).iter().any(|e| equal(&node_of(e), value)))
        }
        _ => None,
    }
}

fn length(value: &Node<'_>) -> Option<usize> {
    match value {
        Node::Text(text) => Some(text.encode_utf16().count()),
        Node::Json(json) => Some(elements(json).len()),
        Node::List(items) => Some(items.len()),
        _ => None,
    }
}

/// The elements of a checked array, or the values of an object.
fn elements(json: &str) -> Vec<&str> {
    let mut scanner = Scanner::new(json);
    let mut found = Vec::new();
    if scanner.open(0).is_err() {
        return found;
    }
    let mut is_first = true;
    let is_array = kind(json) == Kind::Array;
    loop {
        let has_next = if is_array {
            scanner.next_element(&mut is_first)
        } else {
            scanner.next_member(&mut is_first).map(|name| name.is_some())
        };
        match (has_next, has_next.and_then(|next| if next { scanner.value(0).map(Some) } else { Ok(None) })) {
            (Ok(true), Ok(Some(value))) => found.push(value),
            _ => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::Path;
    use super::*;

    #[test]
    fn elements_pass_or_do_not() {
        let element = r#"{"x":2,"t":"2","n":null,"b":true,"l":[1,2],"w":"pq","o":{"k":1},"e":[]}"#;
        let cases = [
            ("@.x == 2", true),
            ("@.x == 2.0", true),
            ("@.x == '2'", true),
            ("@.x === '2'", false),
            ("@.t == 2", true),
            ("@.t == 2.0", false),
            ("@.x != 3", true),
            ("@.zz != 3", true),
            ("@.zz == null", false),
            ("@.n == null", true),
            ("@.x > 1 && @.x < 3", true),
            ("@.x > '1'", false),
            ("@.w > 'p'", true),
            ("@.x > 5 || @.b", true),
            ("!@.x", false),
            ("!(@.x > 5)", true),
            ("@.zz", false),
            ("@.n", true),
            ("@.x > $.x", false),
            ("2 <= @.x", true),
            ("@.w =~ /p.*/", true),
            ("@.w =~ /P./i", true),
            ("@.w =~ /p/", false),
            ("@.x in [1, 2]", true),
            ("@.x nin [1, 2]", false),
            ("@.x in @.l", true),
            ("@.w in 'pq'", false),
            ("@.w contains 'q'", true),
            ("@.l contains 1", true),
            ("@.l size 2", true),
            ("@.w size 2", true),
            ("@.e empty true", true),
            ("@.l empty false", true),
            ("@.l[0] == 1", true),
            ("@['o']['k'] == 1", true),
            ("@.b == true", true),
        ];
        for (text, expected) in cases {
            let (filter, rest) = parse(&format!("({text})]")).map(|(f, r)| (f, r.to_owned())).expect(text);
            assert_eq!((filter.accepts(element, element), rest.as_str()), (expected, "]"), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_no_path() {
        for text in ["$[?()]", "$[?(@.x >)]", "$[?@.x]", "$[?(@.x]", "$[?('a')]", "$[?(@.x == 1) 2]"] {
            assert_eq!(Path::parse(text).map(|p| p.steps), Ok(None), "{text}");
        }
        for text in ["$[?(@..x == 1)]", "$[?(@.x[*] == 1)]", "$[?(@.x subsetof [1])]", "$[?(@.x =~ /a/u)]"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
