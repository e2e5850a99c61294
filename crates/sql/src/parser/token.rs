//! Text to tokens: words, quoted names, literals, symbols. Nothing here knows a statement, with one exception.
//!
//! The exception is `SET key = value` without quotes, which Flink's client takes apart by a pattern of its own, not by its
//! grammar: a value such as `file:///tmp` would otherwise turn into a comment. Where SET or RESET opens a statement and no
//! quote follows, the key and the value become string tokens here.
//!
//! The tokenizer never fails. What it cannot read becomes a [`TokenKind::Error`] token that carries its diagnostic, so that
//! the parser reports it only if the statement got that far, and goes on with the next statement.

use wiesel_core::diagnostic::{Diagnostic, Span};

use super::keyword;

/// One token and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// A keyword or an unquoted name; which of them, the parser decides by its place.
    Word,
    /// A name in backticks, escapes resolved.
    QuotedName(String),
    /// A string literal, escapes resolved.
    String(String),
    /// `X'0AFF'`.
    Binary(Vec<u8>),
    /// A number.
    Number,
    /// Punctuation or an operator.
    Symbol(Symbol),
    /// `/*+`.
    HintStart,
    /// `*/` of a hint.
    HintEnd,
    /// Something that is no SQL.
    Error(Box<Diagnostic>),
    /// The end of the text.
    End,
}

/// Punctuation and operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbol {
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    LeftBraceMinus,
    MinusRightBrace,
    Comma,
    Semicolon,
    Dot,
    Star,
    Plus,
    Minus,
    Slash,
    Percent,
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    Arrow,
    Concat,
    Pipe,
    Colon,
    Question,
    Caret,
    Dollar,
}

impl Symbol {
    /// How it is written.
    pub(crate) fn text(self) -> &'static str {
        SYMBOLS.iter().find(|(_, symbol)| *symbol == self).map_or("", |(text, _)| text)
    }
}

/// Longer symbols stand before their prefixes. `{-` and `-}` are those of row patterns; `$` alone ends one.
const SYMBOLS: &[(&str, Symbol)] = &[
    ("{-", Symbol::LeftBraceMinus),
    ("-}", Symbol::MinusRightBrace),
    ("<>", Symbol::NotEq),
    ("!=", Symbol::NotEq),
    ("<=", Symbol::LtEq),
    (">=", Symbol::GtEq),
    ("=>", Symbol::Arrow),
    ("||", Symbol::Concat),
    ("(", Symbol::LeftParen),
    (")", Symbol::RightParen),
    ("[", Symbol::LeftBracket),
    ("]", Symbol::RightBracket),
    ("{", Symbol::LeftBrace),
    ("}", Symbol::RightBrace),
    (",", Symbol::Comma),
    (";", Symbol::Semicolon),
    (".", Symbol::Dot),
    ("*", Symbol::Star),
    ("+", Symbol::Plus),
    ("-", Symbol::Minus),
    ("/", Symbol::Slash),
    ("%", Symbol::Percent),
    ("=", Symbol::Eq),
    ("<", Symbol::Lt),
    (">", Symbol::Gt),
    ("|", Symbol::Pipe),
    (":", Symbol::Colon),
    ("?", Symbol::Question),
    ("^", Symbol::Caret),
    ("$", Symbol::Dollar),
];

/// The tokens of a text; the last one is always [`TokenKind::End`].
pub(crate) fn tokenize(source: &str) -> Vec<Token> {
    let mut tokenizer = Tokenizer { source, at: 0, in_hint: false, tokens: Vec::new() };
    while tokenizer.next_token() {}
    tokenizer.push(TokenKind::End, source.len());
    tokenizer.tokens
}

struct Tokenizer<'a> {
    source: &'a str,
    at: usize,
    in_hint: bool,
    tokens: Vec<Token>,
}

impl Tokenizer<'_> {
    /// Reads one token; false at the end of the text.
    fn next_token(&mut self) -> bool {
        if let Some(unclosed) = self.skip_blanks_and_comments() {
            self.push_error(
                "W0103",
                "comment without an end",
                unclosed,
                "expected `*/` before the end of the file",
                None,
            );
        }
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return false;
        };
        if self.in_hint && self.take("*/") {
            self.in_hint = false;
            self.push(TokenKind::HintEnd, start);
        } else if self.take("/*+") {
            self.in_hint = true;
            self.push(TokenKind::HintStart, start);
        } else if first == '\'' {
            self.string_token(start);
        } else if first == '`' {
            self.quoted_name();
        } else if first.is_ascii_digit() || (first == '.' && self.byte_at(1).is_some_and(|byte| byte.is_ascii_digit()))
        {
            self.number();
        } else if keyword::is_name_start(first) && !self.is_lone_dollar() {
            self.word();
        } else if let Some((text, symbol)) = SYMBOLS.iter().find(|(text, _)| self.rest().starts_with(text)) {
            self.at += text.len();
            self.push(TokenKind::Symbol(*symbol), start);
        } else {
            self.unknown_character(first);
        }
        true
    }

    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn byte_at(&self, offset: usize) -> Option<u8> {
        self.source.as_bytes().get(self.at + offset).copied()
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !keep(c)).unwrap_or(rest.len());
    }

    fn push(&mut self, kind: TokenKind, start: usize) {
        let span = self.span(start, self.at);
        self.tokens.push(Token { kind, span });
    }

    fn span(&self, start: usize, end: usize) -> Span {
        // parse_script refuses texts of more than SCRIPT_BYTES_MAX, so offsets fit.
        Span::new(u32::try_from(start).unwrap_or(u32::MAX), u32::try_from(end).unwrap_or(u32::MAX))
    }

    /// Pushes an error token from `start` to here.
    fn push_error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        start: usize,
        label: &str,
        hint: Option<String>,
    ) {
        let mut diagnostic = Diagnostic::error(code, message).at(self.span(start, self.at));
        if !label.is_empty() {
            diagnostic = diagnostic.label(label);
        }
        if let Some(hint) = hint {
            diagnostic = diagnostic.hint(hint);
        }
        self.push(TokenKind::Error(Box::new(diagnostic)), start);
    }

    /// Gives the place of a block comment that never ends, after moving to the end of the text.
    fn skip_blanks_and_comments(&mut self) -> Option<usize> {
        loop {
            self.skip_while(|c| c.is_whitespace() || c == '\u{feff}');
            let start = self.at;
            if self.rest().starts_with("--") || self.rest().starts_with("//") {
                self.skip_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") && !self.rest().starts_with("/*+") {
                match self.rest()[2..].find("*/") {
                    Some(end) => self.at += 2 + end + 2,
                    None => {
                        self.at = self.source.len();
                        return Some(start);
                    }
                }
            } else {
                return None;
            }
        }
    }

    /// A `$` that no name character follows: the end anchor of a row pattern.
    fn is_lone_dollar(&self) -> bool {
        let mut chars = self.rest().chars();
        chars.next() == Some('$') && !chars.next().is_some_and(keyword::is_name_part)
    }

    fn word(&mut self) {
        let start = self.at;
        let opens_statement =
            matches!(self.tokens.last(), None | Some(Token { kind: TokenKind::Symbol(Symbol::Semicolon), .. }));
        self.skip_while(keyword::is_name_part);
        let word = &self.source[start..self.at];
        let quote_follows = self.byte_at(0) == Some(b'\'');
        if quote_follows && word.eq_ignore_ascii_case("X") {
            return self.binary(start);
        }
        if word.eq_ignore_ascii_case("U") && self.rest().starts_with("&'") {
            self.at += 1;
            return self.string_token(start);
        }
        // N'..' and _UTF8'..' name a character set; every string is Unicode here.
        if quote_follows && (word.eq_ignore_ascii_case("N") || word.starts_with('_')) {
            return self.string_token(start);
        }
        let is_set = word.eq_ignore_ascii_case("SET");
        let is_reset = word.eq_ignore_ascii_case("RESET");
        self.push(TokenKind::Word, start);
        if opens_statement && (is_set || is_reset) {
            self.unquoted_setting(is_set);
        }
    }

    /// `key = value` after SET, or `key` after RESET, when the key is not quoted. Leaves everything else alone.
    fn unquoted_setting(&mut self, with_value: bool) {
        let back = (self.at, self.tokens.len());
        let unclosed = self.skip_blanks_and_comments();
        let key_start = self.at;
        self.skip_while(|c| !c.is_whitespace() && !matches!(c, '\'' | '=' | ';' | '(' | '`' | '"'));
        let key_is_whole =
            self.byte_at(0).is_none_or(|byte| byte.is_ascii_whitespace() || byte == b';' || byte == b'=');
        if unclosed.is_some() || self.at == key_start || !key_is_whole {
            (self.at, _) = back;
            return;
        }
        self.push(TokenKind::String(self.source[key_start..self.at].to_owned()), key_start);
        if !with_value {
            return;
        }
        self.skip_while(char::is_whitespace);
        let eq_start = self.at;
        if !self.take("=") {
            // Not a setting: read it again as ordinary tokens, for an ordinary error message.
            self.tokens.truncate(back.1);
            self.at = back.0;
            return;
        }
        self.push(TokenKind::Symbol(Symbol::Eq), eq_start);
        self.skip_while(|c| c.is_whitespace() && c != '\n');
        let value_start = self.at;
        if self.byte_at(0) != Some(b'\'') {
            self.skip_while(|c| !c.is_whitespace() && c != ';');
            if self.at > value_start {
                self.push(TokenKind::String(self.source[value_start..self.at].to_owned()), value_start);
            }
        }
    }

    fn number(&mut self) {
        let start = self.at;
        self.skip_while(|c| c.is_ascii_digit());
        // `1.` is a number, but in `a[1].b` the dot belongs to the field behind it.
        let is_fraction =
            self.rest().strip_prefix('.').is_some_and(|behind| !behind.starts_with(keyword::is_name_start));
        if is_fraction {
            self.at += 1;
            self.skip_while(|c| c.is_ascii_digit());
        }
        if matches!(self.byte_at(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte_at(1), Some(b'+' | b'-')));
            if self.byte_at(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1 + sign;
                self.skip_while(|c| c.is_ascii_digit());
            }
        }
        self.push(TokenKind::Number, start);
    }

    fn quoted_name(&mut self) {
        let start = self.at;
        match self.quoted('`') {
            Some(name) if name.is_empty() => {
                self.push_error("W0106", "empty name", start, "expected a name between the backticks", None)
            }
            Some(name) => self.push(TokenKind::QuotedName(name), start),
            None => self.unclosed(start, '`', "name"),
        }
    }

    /// A string literal whose prefix, if it has one, begins at `start`; the next character is the quote.
    fn string_token(&mut self, start: usize) {
        let quote = self.at;
        let unicode = self.source[start..quote].starts_with(['U', 'u']) && quote > start;
        match self.quoted('\'') {
            None => self.unclosed(quote, '\'', "string"),
            Some(text) if !unicode => self.push(TokenKind::String(text), start),
            Some(text) => {
                let escape = self.unicode_escape();
                match resolve_unicode(&text, escape) {
                    Some(resolved) => self.push(TokenKind::String(resolved), start),
                    None => {
                        let expected =
                            format!("expected `{escape}` and four hexadecimal digits, or `{escape}{escape}`");
                        self.push_error("W0106", "unknown escape in a Unicode string", start, &expected, None);
                    }
                }
            }
        }
    }

    /// The character of an `UESCAPE 'c'`, when one follows.
    fn unicode_escape(&mut self) -> char {
        let back = self.at;
        self.skip_while(char::is_whitespace);
        let rest = self.rest();
        if rest.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("UESCAPE")) {
            self.at += 7;
            self.skip_while(char::is_whitespace);
            let mut chars = self.rest().chars();
            if let (Some('\''), Some(escape), Some('\'')) = (chars.next(), chars.next(), chars.next()) {
                self.at += 2 + escape.len_utf8();
                return escape;
            }
        }
        self.at = back;
        '\\'
    }

    fn binary(&mut self, start: usize) {
        let quote = self.at;
        match self.quoted('\'') {
            None => self.unclosed(quote, '\'', "string"),
            Some(digits) => match decode_hex(&digits) {
                Some(bytes) => self.push(TokenKind::Binary(bytes), start),
                None => {
                    let expected = "expected an even number of hexadecimal digits";
                    self.push_error("W0106", "malformed binary literal", start, expected, None);
                }
            },
        }
    }

    /// The text between two `quote`s, where a doubled one stands for itself; `None` moves to the end of the text.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        self.at += quote.len_utf8();
        loop {
            let Some(length) = self.rest().find(quote) else {
                self.at = self.source.len();
                return None;
            };
            text.push_str(&self.source[self.at..self.at + length]);
            self.at += length + quote.len_utf8();
            if !self.rest().starts_with(quote) {
                return Some(text);
            }
            text.push(quote);
            self.at += quote.len_utf8();
        }
    }

    /// An error token at an opening quote that has no partner; the rest of the text is already skipped.
    fn unclosed(&mut self, quote_at: usize, quote: char, what: &str) {
        let end = self.at;
        self.at = quote_at + quote.len_utf8();
        let mark = if quote == '`' { "backtick" } else { "quote" };
        let label = format!("expected a closing {mark} before the end of the file");
        self.push_error("W0103", format!("{what} without an end"), quote_at, &label, None);
        self.at = end;
    }

    fn unknown_character(&mut self, c: char) {
        let start = self.at;
        self.at += c.len_utf8();
        let hint = match c {
            '"' | '\u{201c}' | '\u{201d}' => Some("strings stand in single quotes, names in backticks".to_owned()),
            '\u{2018}' | '\u{2019}' => Some("strings stand in plain single quotes: '...'".to_owned()),
            _ => None,
        };
        let shown = if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
        self.push_error("W0104", format!("unexpected character `{shown}`"), start, "not part of SQL", hint);
        if c == '"' {
            // What follows would only be read as nonsense: go on after the partner, when it has one on its line.
            let line = self.rest().split('\n').next().unwrap_or("");
            if let Some(partner) = line.find('"') {
                self.at += partner + 1;
            }
        }
    }
}

/// Resolves `\0041` (and `\\`) of a U&'..' string.
fn resolve_unicode(text: &str, escape: char) -> Option<String> {
    let mut resolved = String::with_capacity(text.len());
    let mut units: Vec<u16> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == escape && chars.peek() != Some(&escape) {
            let digits: String = chars.by_ref().take(4).collect();
            let all_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| all_hex)?);
            continue;
        }
        flush_units(&mut units, &mut resolved)?;
        if c == escape {
            chars.next();
        }
        resolved.push(c);
    }
    flush_units(&mut units, &mut resolved)?;
    Some(resolved)
}

/// Appends collected UTF-16 units, which may be surrogate pairs.
fn flush_units(units: &mut Vec<u16>, out: &mut String) -> Option<()> {
    if !units.is_empty() {
        out.push_str(&String::from_utf16(units).ok()?);
        units.clear();
    }
    Some(())
}

fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    let nibbles: Option<Vec<u32>> = digits.chars().map(|c| c.to_digit(16)).collect();
    let nibbles = nibbles.filter(|nibbles| nibbles.len() % 2 == 0)?;
    let bytes = nibbles.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap_or(0));
    Some(bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<TokenKind> {
        tokenize(source).into_iter().map(|token| token.kind).collect()
    }

    fn string(text: &str) -> TokenKind {
        TokenKind::String(text.to_owned())
    }

    #[test]
    fn comments_vanish_and_hints_stay() {
        let expected = vec![
            TokenKind::HintStart,
            TokenKind::Word,
            TokenKind::HintEnd,
            TokenKind::Symbol(Symbol::Star),
            TokenKind::End,
        ];
        assert_eq!(kinds("/* a */ /*+ b */ -- c\n * // d"), expected);
    }

    #[test]
    fn strings_resolve_their_escapes() {
        for (source, text) in [
            ("'it''s'", "it's"),
            ("U&'\\00e4\\\\x'", "ä\\x"),
            ("u&'!d83d!de00' UESCAPE '!'", "😀"),
            ("_UTF8'a'", "a"),
            ("N''", ""),
        ] {
            assert_eq!(kinds(source), vec![string(text), TokenKind::End], "{source}");
        }
        assert_eq!(kinds("x'0aFF'"), vec![TokenKind::Binary(vec![10, 255]), TokenKind::End]);
        assert_eq!(kinds("`a``b`"), vec![TokenKind::QuotedName("a`b".to_owned()), TokenKind::End]);
    }

    #[test]
    fn what_is_no_sql_becomes_an_error_token() {
        for (source, code) in [
            ("'a", "W0103"),
            ("`a", "W0103"),
            ("/* a", "W0103"),
            ("``", "W0106"),
            ("x'0'", "W0106"),
            ("U&'\\00'", "W0106"),
            ("\"a\"", "W0104"),
            ("#", "W0104"),
        ] {
            let errors: Vec<&str> = tokenize(source)
                .iter()
                .filter_map(|token| match &token.kind {
                    TokenKind::Error(diagnostic) => Some(diagnostic.code),
                    _ => None,
                })
                .collect();
            assert_eq!(errors, vec![code], "{source}");
        }
    }

    #[test]
    fn an_unquoted_setting_is_one_key_and_one_value() {
        let eq = TokenKind::Symbol(Symbol::Eq);
        let semicolon = TokenKind::Symbol(Symbol::Semicolon);
        let cases = [
            (
                "SET a.b-c = file:///tmp/x;",
                vec![TokenKind::Word, string("a.b-c"), eq.clone(), string("file:///tmp/x"), semicolon.clone()],
            ),
            ("SET a=1", vec![TokenKind::Word, string("a"), eq.clone(), string("1")]),
            ("set a = 'b c'", vec![TokenKind::Word, string("a"), eq.clone(), string("b c")]),
            ("SET 'a' = 'b'", vec![TokenKind::Word, string("a"), eq, string("b")]),
            ("RESET a.b;", vec![TokenKind::Word, string("a.b"), semicolon]),
        ];
        for (source, mut expected) in cases {
            expected.push(TokenKind::End);
            assert_eq!(kinds(source), expected, "{source}");
        }
    }

    #[test]
    fn numbers_end_where_a_field_begins() {
        let texts = |source: &str| -> Vec<String> {
            tokenize(source).iter().map(|token| token.span.text(source).to_owned()).collect()
        };
        assert_eq!(texts("1.5E-3 .5 1. 2e"), ["1.5E-3", ".5", "1.", "2", "e", ""]);
        assert_eq!(texts("a[1].b"), ["a", "[", "1", "]", ".", "b", ""]);
    }
}
