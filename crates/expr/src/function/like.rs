//! LIKE: `%` stands for any text, `_` for one character, and the character of ESCAPE makes the next one literal.
//!
//! Patterns are compiled once. The common shapes (`abc`, `abc%`, `%abc`, `%abc%`) become one comparison or search; the rest is matched
//! with backtracking over the last `%` only, which is quadratic at worst.

use memchr::memmem::Finder;
use wiesel_core::{Error, Result, TypeKind};

use crate::function::binding::{Param, accept, strict};
use crate::function::define::Compiling;
use crate::function::text_pattern::{PatternTest, TextPattern};

pub(crate) static LIKE: Compiling = Compiling::new(
    "LIKE",
    "string LIKE pattern [ESCAPE character]: whether the text is of the pattern's form",
    |args| {
        let types = accept(args, &[Param::Text; 3], 2, "LIKE takes (STRING, pattern STRING [, escape STRING])")?;
        Ok(strict(types, TypeKind::Boolean))
    },
    || Box::<PatternTest<Pattern>>::default(),
);

impl TextPattern for Pattern {
    fn compile(pattern: &str, escape: Option<&str>) -> Result<Pattern> {
        Pattern::new(pattern, escape)
    }

    fn is_match(&self, text: &str) -> bool {
        Pattern::is_match(self, text)
    }
}

#[derive(Debug)]
enum Pattern {
    Equal(String),
    Prefix(String),
    Suffix(String),
    Contains(Box<Finder<'static>>),
    General(Vec<Token>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
}

impl Pattern {
    fn new(pattern: &str, escape: Option<&str>) -> Result<Pattern> {
        let tokens = tokens(pattern, escape)?;
        let literal = |tokens: &[Token]| -> Option<String> {
            tokens.iter().map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect()
        };
        if let Some(text) = literal(&tokens) {
            return Ok(Pattern::Equal(text));
        }
        if let [Token::Any, middle @ .., Token::Any] = tokens.as_slice()
            && let Some(text) = literal(middle)
        {
            return Ok(Pattern::Contains(Box::new(Finder::new(text.as_bytes()).into_owned())));
        }
        if let [start @ .., Token::Any] = tokens.as_slice()
            && let Some(text) = literal(start)
        {
            return Ok(Pattern::Prefix(text));
        }
        if let [Token::Any, end @ ..] = tokens.as_slice()
            && let Some(text) = literal(end)
        {
            return Ok(Pattern::Suffix(text));
        }
        Ok(Pattern::General(tokens))
    }

    fn is_match(&self, text: &str) -> bool {
        match self {
            Pattern::Equal(all) => text == all,
            Pattern::Prefix(start) => text.starts_with(start.as_str()),
            Pattern::Suffix(end) => text.ends_with(end.as_str()),
            Pattern::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Pattern::General(tokens) => is_match(tokens, text),
        }
    }
}

fn tokens(pattern: &str, escape: Option<&str>) -> Result<Vec<Token>> {
    let escape = match escape {
        None => None,
        Some(text) => {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => Some(c),
                _ => return Err(Error::data(format!("ESCAPE takes one character, and not `{text}`"))),
            }
        }
    };
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(if Some(c) == escape {
            match chars.next() {
                Some(next) if next == '%' || next == '_' || Some(next) == escape => Token::Char(next),
                _ => {
                    return Err(Error::data(format!(
                        "`{c}` in the LIKE pattern `{pattern}` must stand before `%`, `_` or itself"
                    )));
                }
            }
        } else {
            match c {
                '%' => Token::Any,
                '_' => Token::One,
                c => Token::Char(c),
            }
        });
    }
    // `%%` means the same as `%`.
    tokens.dedup_by(|a, b| *a == Token::Any && *b == Token::Any);
    Ok(tokens)
}

fn is_match(tokens: &[Token], text: &str) -> bool {
    let (mut at, mut token) = (0, 0);
    // The last `%` seen: the token behind it, and where its text ends for now.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let next = text[at..].chars().next();
        let fits = match (tokens.get(token), next) {
            (Some(Token::Any), _) => {
                token += 1;
                retry = Some((token, at));
                continue;
            }
            (None, None) => return true,
            (Some(Token::One), Some(_)) => true,
            (Some(Token::Char(wanted)), Some(found)) => *wanted == found,
            _ => false,
        };
        if fits {
            token += 1;
            at += next.map_or(0, char::len_utf8);
            continue;
        }
        let Some((behind, end)) = retry else {
            return false;
        };
        let Some(skipped) = text[end..].chars().next() else {
            return false;
        };
        at = end + skipped.len_utf8();
        token = behind;
        retry = Some((behind, at));
    }
}

#[cfg(test)]
mod tests {
    use crate::function::testing::{check, null_s, s};

    #[test]
    fn patterns_match_whole_texts() {
        let like = |text: &str, pattern: &str| vec![s(text), s(pattern)];
        check(&[
            ("LIKE", like("hello", "hello"), "TRUE"),
            ("LIKE", like("hello", "he%"), "TRUE"),
            ("LIKE", like("hello", "%lo"), "TRUE"),
            ("LIKE", like("hello", "%ell%"), "TRUE"),
            ("LIKE", like("hello", "h_l%o"), "TRUE"),
            ("LIKE", like("hello", "h_o"), "FALSE"),
            ("LIKE", like("aXbXc", "%X_"), "TRUE"),
            ("LIKE", like("abab", "%ab_ab"), "FALSE"),
            ("LIKE", like("", "%"), "TRUE"),
            ("LIKE", like("", "_"), "FALSE"),
            ("LIKE", like("{\"data\":1}", "{%}"), "TRUE"),
            ("LIKE", like("a\nb", "a%b"), "TRUE"),
            ("LIKE", like("ä", "_"), "TRUE"),
            ("LIKE", like("a\\b", "a\\b"), "TRUE"),
            ("LIKE", vec![null_s(), s("%")], "NULL"),
            ("LIKE", vec![s("50%"), s("50!%"), s("!")], "TRUE"),
            ("LIKE", vec![s("500"), s("50!%"), s("!")], "FALSE"),
            (
                "LIKE",
                vec![s("a"), s("!a"), s("!")],
                "error: `!` in the LIKE pattern `!a` must stand before `%`, `_` or itself",
            ),
            ("LIKE", vec![s("a"), s("a"), s("!!")], "error: ESCAPE takes one character, and not `!!`"),
        ]);
    }
}
