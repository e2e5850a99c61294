//! Text to tree: a tokenizer, a recursive-descent parser for statements and queries, and operator precedence for expressions.
//!
//! It is written by hand for Flink's grammar, because no library parses that dialect: computed and metadata columns,
//! watermarks, `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), ...))`, nested types in angle brackets, the JSON clauses, statement
//! sets and table hints are the everyday of a Flink file.
//!
//! What holds for any text at all: the parser does not panic, does not overflow the stack and takes time in proportion to the
//! text, because it never backtracks and bounds the depth of what it builds. It reports the first error of each statement (in a
//! CREATE TABLE, of each column and option) and goes on behind it, so that one run shows all independent errors of a file.
//!
//! The files: `token` (text to tokens), `keyword` (which words are names), `statement`, `ddl`, `query`, `pattern`
//! (MATCH_RECOGNIZE), `expr`, `call` (functions with a grammar of their own), `data_type`, and `print` (a tree back to SQL).

pub mod ast;
mod call;
mod data_type;
mod ddl;
mod expr;
mod keyword;
mod pattern;
mod print;
mod query;
mod statement;
mod token;

use wiesel_core::diagnostic::{Diagnostic, Span, nearest};

use ast::{Expr, Ident, ObjectName, Statement, StringLiteral};
use token::{Symbol, Token, TokenKind};

pub use print::quote_name;

/// The largest text that is read.
pub const SCRIPT_BYTES_MAX: usize = 64 << 20;

/// How many parentheses, subqueries and nested types may stand inside each other; bounds the parser's own stack.
pub const NESTING_MAX: u32 = 128;

/// How deep the tree of one expression or query may become; bounds the stack of everything that walks a tree. A chain of one
/// operator counts as deep as it is long; chains of AND and OR do not, they are built as balanced trees.
pub const EXPRESSION_DEPTH_MAX: u32 = 512;

/// The parser stops after so many errors: nobody reads more, and a file of nothing but errors must not take long.
pub const ERRORS_MAX: usize = 100;

/// Reads a whole file: all its statements, or all its errors.
pub fn parse_script(text: &str) -> Result<Vec<Statement>, Vec<Diagnostic>> {
    let mut parser = Parser::new(text)?;
    let statements = parser.script();
    if parser.diagnostics.is_empty() { Ok(statements) } else { Err(parser.diagnostics) }
}

/// Reads one expression that is the whole text, for instance in a test or an option.
pub fn parse_expression(text: &str) -> Result<Expr, Vec<Diagnostic>> {
    let mut parser = Parser::new(text)?;
    let parsed = parser
        .expr()
        .and_then(|expr| if parser.at_end() { Ok(expr) } else { Err(parser.unexpected("the end of the expression")) });
    match parsed {
        Ok(expr) if parser.diagnostics.is_empty() => Ok(expr),
        Ok(_) => Err(parser.diagnostics),
        Err(error) => {
            parser.diagnostics.push(*error);
            Err(parser.diagnostics)
        }
    }
}

/// Reads one data type that is the whole text.
pub fn parse_data_type(text: &str) -> Result<ast::DataType, Vec<Diagnostic>> {
    let mut parser = Parser::new(text)?;
    let parsed = parser
        .data_type()
        .and_then(|read| if parser.at_end() { Ok(read) } else { Err(parser.unexpected("the end of the type")) });
    parsed.map_err(|error| vec![*error])
}

/// The text of an expression with all its names in backticks, and those names. Words before a parenthesis are functions and reserved
/// words are keywords; all others are names.
pub fn names_quoted(text: &str) -> (String, Vec<String>) {
    let tokens = token::tokenize(text);
    let (mut out, mut names) = (String::new(), Vec::new());
    let mut written = 0;
    for (place, found) in tokens.iter().enumerate() {
        let word = found.span.text(text);
        let is_call = tokens.get(place + 1).is_some_and(|next| next.kind == TokenKind::Symbol(Symbol::LeftParen));
        let name = match &found.kind {
            TokenKind::QuotedName(name) => name.clone(),
            TokenKind::Word if !is_call && !keyword::is_reserved(word) => word.to_owned(),
            _ => continue,
        };
        out.push_str(text.get(written..found.span.start as usize).unwrap_or(""));
        out.push_str(&format!("`{}`", name.replace('`', "``")));
        written = found.span.end as usize;
        names.push(name);
    }
    out.push_str(text.get(written..).unwrap_or(""));
    (out, names)
}

/// How far the end of a type in angle brackets is looked for when a broken column is skipped.
const ANGLES_TOKENS_MAX: usize = 4096;

/// The result of reading one construct. Errors are boxed: they are rare, and frames are many.
type Parsed<T> = Result<T, Box<Diagnostic>>;

/// The tokens of a text, a place among them, and what was found wrong so far.
struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    /// For every opening parenthesis the index of its partner, for all else 0: see [`Parser::opens_query`].
    partners: Vec<usize>,
    at: usize,
    nesting: u32,
    /// The depth of the deepest tree built since this was last reset; see [`Parser::expr_above`].
    tree_depth: u32,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Result<Parser<'a>, Vec<Diagnostic>> {
        if source.len() > SCRIPT_BYTES_MAX {
            let message = format!("the text has {} bytes", source.len());
            return Err(vec![
                Diagnostic::error("W0109", message).label(format!("expected at most {SCRIPT_BYTES_MAX}")),
            ]);
        }
        let tokens = token::tokenize(source);
        let partners = match_parentheses(&tokens);
        Ok(Parser { source, tokens, partners, at: 0, nesting: 0, tree_depth: 0, diagnostics: Vec::new() })
    }

    // ------------------------------------------------------------ looking

    fn token_at(&self, ahead: usize) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.at + ahead).min(last)]
    }

    fn kind(&self) -> &TokenKind {
        &self.token_at(0).kind
    }

    /// The place of the next token.
    fn here(&self) -> Span {
        self.token_at(0).span
    }

    /// The place of the token before.
    fn behind(&self) -> Span {
        self.at.checked_sub(1).and_then(|index| self.tokens.get(index)).map_or(Span::default(), |token| token.span)
    }

    /// From the start of `start` to the end of what was read last.
    fn since(&self, start: Span) -> Span {
        Span::new(start.start, self.behind().end.max(start.start))
    }

    fn at_end(&self) -> bool {
        matches!(self.kind(), TokenKind::End)
    }

    /// The unquoted word that stands `ahead` tokens on, as written.
    fn word_at(&self, ahead: usize) -> Option<&'a str> {
        let token = self.token_at(ahead);
        matches!(token.kind, TokenKind::Word).then(|| token.span.text(self.source))
    }

    fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        self.word_at(ahead).is_some_and(|found| found.eq_ignore_ascii_case(word))
    }

    fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    fn is_one_of(&self, words: &[&str]) -> bool {
        self.word_at(0).is_some_and(|found| words.iter().any(|word| found.eq_ignore_ascii_case(word)))
    }

    /// Whether all these words follow one another here.
    fn is_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| self.is_word_at(ahead, word))
    }

    fn is_symbol_at(&self, ahead: usize, symbol: Symbol) -> bool {
        self.token_at(ahead).kind == TokenKind::Symbol(symbol)
    }

    fn is_symbol(&self, symbol: Symbol) -> bool {
        self.is_symbol_at(0, symbol)
    }

    /// Whether the token is a name as it stands: quoted, or a word that is not reserved.
    fn is_name_at(&self, ahead: usize) -> bool {
        match self.token_at(ahead).kind {
            TokenKind::QuotedName(_) => true,
            TokenKind::Word => !self.word_at(ahead).is_some_and(keyword::is_reserved),
            _ => false,
        }
    }

    fn is_name(&self) -> bool {
        self.is_name_at(0)
    }

    fn is_string(&self) -> bool {
        matches!(self.kind(), TokenKind::String(_))
    }

    // ------------------------------------------------------------ taking

    fn advance(&mut self) {
        if !self.at_end() {
            self.at += 1;
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    /// Takes all of these words or none.
    fn take_words(&mut self, words: &[&str]) -> bool {
        let found = self.is_words(words);
        if found {
            self.at += words.len();
        }
        found
    }

    fn take_symbol(&mut self, symbol: Symbol) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.take_word(word) {
            return Ok(());
        }
        let mut error = self.unexpected(word);
        if error.code == "W0101"
            && let Some(found) = self.word_at(0)
            && nearest(found, [word]).is_some()
        {
            error.hint = Some(format!("did you mean `{word}`?"));
        }
        Err(error)
    }

    fn expect_words(&mut self, words: &[&str]) -> Parsed<()> {
        words.iter().try_for_each(|word| self.expect_word(word))
    }

    fn expect_symbol(&mut self, symbol: Symbol) -> Parsed<()> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{}`", symbol.text()))) }
    }

    // ------------------------------------------------------------ small constructs

    /// A name; `what` says which, for instance "a column name".
    fn name(&mut self, what: &str) -> Parsed<Ident> {
        let span = self.here();
        match self.kind() {
            TokenKind::QuotedName(name) => {
                let value = name.clone();
                self.advance();
                Ok(Ident { value, quoted: true, span })
            }
            TokenKind::Word => {
                let word = span.text(self.source);
                if keyword::is_reserved(word) {
                    return Err(self.reserved_word(what));
                }
                self.advance();
                Ok(Ident { value: word.to_owned(), quoted: false, span })
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// `a`, `a.b` or `a.b.c`.
    fn object_name(&mut self, what: &str) -> Parsed<ObjectName> {
        let mut parts = vec![self.name(what)?];
        while self.is_symbol(Symbol::Dot) {
            self.advance();
            parts.push(self.name("a name after the dot")?);
        }
        let span = self.since(parts[0].span);
        Ok(ObjectName { parts, span })
    }

    /// `(a, b)`.
    fn name_list(&mut self, what: &str) -> Parsed<Vec<Ident>> {
        self.in_parens(|parser| parser.comma_list(|parser| parser.name(what)))
    }

    /// One or more of something, commas between.
    fn comma_list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.take_symbol(Symbol::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn in_parens<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.expect_symbol(Symbol::LeftParen)?;
        let value = inner(self)?;
        self.expect_symbol(Symbol::RightParen)?;
        Ok(value)
    }

    /// A string literal. Pieces on several lines make one string; two on one line are an error, as in Flink.
    fn string(&mut self, what: &str) -> Parsed<StringLiteral> {
        let start = self.here();
        let TokenKind::String(first) = self.kind() else {
            return Err(self.unexpected(what));
        };
        let mut value = first.clone();
        self.advance();
        while let TokenKind::String(piece) = self.kind() {
            let between = Span::new(self.behind().end, self.here().start).text(self.source);
            if !between.contains('\n') {
                let error = Diagnostic::error("W0101", "two strings side by side").at(self.here());
                return Err(Box::new(
                    error
                        .label("expected a line break between the pieces of one string")
                        .hint("a quote inside a string is written twice: ''"),
                ));
            }
            value.push_str(piece);
            self.advance();
        }
        Ok(StringLiteral { value, span: self.since(start) })
    }

    /// A number without sign, point or exponent that lies in a range.
    fn integer(&mut self, what: &str, range: std::ops::RangeInclusive<u32>) -> Parsed<u32> {
        let span = self.here();
        let text = span.text(self.source);
        if *self.kind() != TokenKind::Number || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected(what));
        }
        match text.parse::<u32>() {
            Ok(value) if range.contains(&value) => {
                self.advance();
                Ok(value)
            }
            _ => {
                let label = format!("expected {what} from {} to {}", range.start(), range.end());
                Err(Box::new(Diagnostic::error("W0107", format!("`{text}` is out of range")).at(span).label(label)))
            }
        }
    }

    // ------------------------------------------------------------ errors and bounds

    /// The error that the next token is not what was expected.
    fn unexpected(&self, expected: &str) -> Box<Diagnostic> {
        let span = self.here();
        let message = match self.kind() {
            TokenKind::Error(diagnostic) => return diagnostic.clone(),
            TokenKind::End => "unexpected end of the text".to_owned(),
            TokenKind::Symbol(Symbol::Semicolon) => "unexpected end of the statement".to_owned(),
            TokenKind::HintStart => "a hint is not known here".to_owned(),
            TokenKind::String(_) => "unexpected string".to_owned(),
            _ => format!("unexpected `{}`", span.text(self.source)),
        };
        // The end of the text is shown where the statement's text ends, not behind its trailing blanks.
        let span = if self.at_end() && self.at > 0 { Span::new(self.behind().end, self.behind().end) } else { span };
        let mut error = Diagnostic::error("W0101", message).at(span).label(format!("expected {expected}"));
        let nothing_here = match self.kind() {
            TokenKind::Word => keyword::is_structural(span.text(self.source)),
            kind => matches!(
                kind,
                TokenKind::Symbol(Symbol::RightParen | Symbol::RightBracket | Symbol::Semicolon) | TokenKind::End
            ),
        };
        if nothing_here && self.behind().text(self.source) == "," {
            error.hint = Some("the comma before it may be one too many".to_owned());
        }
        Box::new(error)
    }

    /// The error that a name was expected and a reserved word found.
    fn reserved_word(&self, expected: &str) -> Box<Diagnostic> {
        let word = self.here().text(self.source);
        if keyword::is_structural(word) {
            return self.unexpected(expected);
        }
        let error = Diagnostic::error("W0102", format!("`{word}` is a reserved word")).at(self.here());
        Box::new(
            error.label(format!("expected {expected}")).hint(format!("as a name it stands in backticks: `{word}`")),
        )
    }

    /// What follows a finished clause is no clause: `clauses` are the words that could have come. A misspelt one is often the
    /// word before, because it was read as an alias.
    fn unexpected_after(&self, expected: &str, clauses: &[&str]) -> Box<Diagnostic> {
        let mut error = self.unexpected(expected);
        let before = self.at.checked_sub(1).and_then(|index| self.tokens.get(index));
        let word_before = before.filter(|token| token.kind == TokenKind::Word).map(|token| token.span);
        for span in [Some(self.here()).filter(|_| *self.kind() == TokenKind::Word), word_before].into_iter().flatten() {
            if let Some(clause) = nearest(span.text(self.source), clauses.iter().copied())
                && !clauses.iter().any(|known| known.eq_ignore_ascii_case(span.text(self.source)))
            {
                error.hint = Some(format!("did you mean `{clause}` instead of `{}`?", span.text(self.source)));
                break;
            }
        }
        error
    }

    /// The error that a clause came a second time.
    fn twice(&self, what: &str, span: Span) -> Box<Diagnostic> {
        Box::new(Diagnostic::error("W0108", format!("{what} is given twice")).at(span).label("expected it once"))
    }

    /// Runs `inner` as something nested; `weight` is larger for constructs whose parsing needs more stack.
    fn nested<T>(&mut self, weight: u32, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting + weight > NESTING_MAX {
            return Err(self.too_deep("this is nested too deeply"));
        }
        self.nesting += weight;
        let result = inner(self);
        self.nesting -= weight;
        result
    }

    /// Counts one more level of the tree under construction.
    fn deepen(&mut self) -> Parsed<()> {
        self.tree_depth += 1;
        if self.tree_depth > EXPRESSION_DEPTH_MAX {
            Err(self.too_deep("this expression or query is too long a chain"))
        } else {
            Ok(())
        }
    }

    fn too_deep(&self, message: &str) -> Box<Diagnostic> {
        let label =
            format!("expected at most {NESTING_MAX} levels of nesting, or {EXPRESSION_DEPTH_MAX} operators in a row");
        Box::new(Diagnostic::error("W0105", message).at(self.here()).label(label))
    }

    /// Moves to the next comma of this level, or to its end: a closing parenthesis, a `;`, the end of the text.
    fn skip_item(&mut self) {
        loop {
            match self.kind() {
                TokenKind::End | TokenKind::Symbol(Symbol::Semicolon | Symbol::Comma | Symbol::RightParen) => return,
                TokenKind::Symbol(Symbol::LeftParen) if self.partners[self.at] != 0 => {
                    self.at = self.partners[self.at] + 1
                }
                TokenKind::Symbol(Symbol::Lt) => self.skip_angles(),
                _ => self.advance(),
            }
        }
    }

    /// Records an error that reading goes on behind; an error itself when there are too many.
    fn record(&mut self, error: Box<Diagnostic>) -> Parsed<()> {
        if self.diagnostics.len() + 1 >= ERRORS_MAX {
            return Err(error);
        }
        self.diagnostics.push(*error);
        Ok(())
    }

    /// Moves behind the `>` that closes this `<`, as in `ROW<a INT, b INT>`; where none does before the item could end, `<` was a
    /// comparison and is skipped alone.
    fn skip_angles(&mut self) {
        let start = self.at;
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate().skip(start).take(ANGLES_TOKENS_MAX) {
            match token.kind {
                TokenKind::Symbol(Symbol::Lt) => depth += 1,
                TokenKind::Symbol(Symbol::Gt) if depth == 1 => {
                    self.at = index + 1;
                    return;
                }
                TokenKind::Symbol(Symbol::Gt) => depth -= 1,
                TokenKind::Word | TokenKind::Number | TokenKind::String(_) | TokenKind::QuotedName(_) => {}
                TokenKind::Symbol(Symbol::Comma | Symbol::LeftParen | Symbol::RightParen) => {}
                _ => break,
            }
        }
        self.at = start + 1;
    }

    /// Whether the parenthesis here opens a query: `(SELECT`, `((SELECT ..) UNION (SELECT ..))`, but not `((SELECT ..) + 1)`. Looking
    /// at what follows an inner pair decides it, so no text is ever read twice.
    fn opens_query(&self) -> bool {
        let mut index = self.at;
        loop {
            let Some(Token { kind: TokenKind::Symbol(Symbol::LeftParen), .. }) = self.tokens.get(index) else {
                return false;
            };
            let next = index + 1;
            match self.tokens.get(next) {
                Some(token) if token.kind == TokenKind::Word => {
                    let word = token.span.text(self.source);
                    return ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|query| word.eq_ignore_ascii_case(query));
                }
                Some(token) if token.kind == TokenKind::Symbol(Symbol::LeftParen) => {
                    let after = self.partners[next] + 1;
                    let goes_on = match self.tokens.get(after) {
                        Some(token) if token.kind == TokenKind::Word => {
                            let word = token.span.text(self.source);
                            query::AFTER_QUERY_BODY.iter().any(|known| word.eq_ignore_ascii_case(known))
                        }
                        Some(token) => token.kind == TokenKind::Symbol(Symbol::RightParen),
                        None => false,
                    };
                    if self.partners[next] == 0 || !goes_on {
                        return false;
                    }
                    index = next;
                }
                _ => return false,
            }
        }
    }
}

/// For every `(` the index of its `)`, else 0. A `;` closes everything, as a statement cannot go on behind it.
fn match_parentheses(tokens: &[Token]) -> Vec<usize> {
    let mut partners = vec![0; tokens.len()];
    let mut open = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Symbol(Symbol::LeftParen) => open.push(index),
            TokenKind::Symbol(Symbol::RightParen) => {
                if let Some(start) = open.pop() {
                    partners[start] = index;
                }
            }
            TokenKind::Symbol(Symbol::Semicolon) => open.clear(),
            _ => {}
        }
    }
    partners
}
