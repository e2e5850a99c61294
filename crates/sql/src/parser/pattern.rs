//! MATCH_RECOGNIZE: its clauses, and the row pattern, which is a small language of its own.

use wiesel_core::diagnostic::{Diagnostic, Span};

use super::ast::{AfterMatch, MatchRecognize, RowPattern, TableRef};
use super::token::{Symbol, TokenKind};
use super::{Parsed, Parser};

/// The greatest number in a quantifier such as `{2,5}`.
const REPEAT_MAX: u32 = 1_000_000;

impl Parser<'_> {
    /// `MATCH_RECOGNIZE ( ... )` behind its input.
    pub(super) fn match_recognize(&mut self, input: TableRef) -> Parsed<MatchRecognize> {
        let start = self.here();
        self.advance();
        self.expect_symbol(Symbol::LeftParen)?;
        let partition_by =
            if self.take_words(&["PARTITION", "BY"]) { self.comma_list(Self::expr)? } else { Vec::new() };
        let order_by = if self.is_word("ORDER") { self.order_by()? } else { Vec::new() };
        let measures = if self.take_word("MEASURES") {
            self.comma_list(|parser| {
                let expr = parser.expr()?;
                parser.expect_word("AS")?;
                Ok((expr, parser.name("a name for this measure")?))
            })?
        } else {
            Vec::new()
        };
        let all_rows = self.take_words(&["ALL", "ROWS", "PER", "MATCH"]);
        if !all_rows {
            self.take_words(&["ONE", "ROW", "PER", "MATCH"]);
        }
        let after_match = if self.take_words(&["AFTER", "MATCH"]) { Some(self.after_match()?) } else { None };
        if !self.take_word("PATTERN") {
            return Err(self.unexpected("MEASURES, ONE ROW PER MATCH, AFTER MATCH or PATTERN"));
        }
        self.expect_symbol(Symbol::LeftParen)?;
        let anchored_start = self.take_symbol(Symbol::Caret);
        let pattern = self.alternation()?;
        let anchored_end = self.take_symbol(Symbol::Dollar);
        self.expect_symbol(Symbol::RightParen)?;
        let within = if self.take_word("WITHIN") { Some(self.operand()?) } else { None };
        let mut subsets = Vec::new();
        if self.take_word("SUBSET") {
            subsets = self.comma_list(|parser| {
                let name = parser.name("a name for this subset")?;
                parser.expect_symbol(Symbol::Eq)?;
                Ok((name, parser.name_list("a pattern variable")?))
            })?;
        }
        let mut define = Vec::new();
        if self.take_word("DEFINE") {
            define = self.comma_list(|parser| {
                let name = parser.name("a pattern variable")?;
                parser.expect_word("AS")?;
                Ok((name, parser.expr()?))
            })?;
        }
        if !self.take_symbol(Symbol::RightParen) {
            return Err(self.unexpected("WITHIN, SUBSET, DEFINE or `)` of this MATCH_RECOGNIZE"));
        }
        let span = self.since(start);
        Ok(MatchRecognize {
            input,
            partition_by,
            order_by,
            measures,
            all_rows,
            after_match,
            pattern,
            anchored_start,
            anchored_end,
            within,
            subsets,
            define,
            alias: None,
            span,
        })
    }

    fn after_match(&mut self) -> Parsed<AfterMatch> {
        self.expect_word("SKIP")?;
        if self.take_words(&["PAST", "LAST", "ROW"]) {
            return Ok(AfterMatch::PastLastRow);
        }
        self.expect_word("TO")?;
        if self.take_words(&["NEXT", "ROW"]) {
            Ok(AfterMatch::ToNextRow)
        } else if self.take_word("FIRST") {
            Ok(AfterMatch::ToFirst(self.name("a pattern variable")?))
        } else {
            self.take_word("LAST");
            Ok(AfterMatch::ToLast(self.name("NEXT ROW, FIRST, LAST or a pattern variable")?))
        }
    }

    fn alternation(&mut self) -> Parsed<RowPattern> {
        self.nested(1, |parser| {
            let mut branches = vec![parser.sequence()?];
            while parser.take_symbol(Symbol::Pipe) {
                branches.push(parser.sequence()?);
            }
            Ok(if branches.len() == 1 { branches.swap_remove(0) } else { RowPattern::Alternation(branches) })
        })
    }

    fn sequence(&mut self) -> Parsed<RowPattern> {
        let mut parts = Vec::new();
        loop {
            let starts_part = self.is_name()
                || self.is_word("PERMUTE")
                || self.is_symbol(Symbol::LeftParen)
                || self.is_symbol(Symbol::LeftBraceMinus);
            if !starts_part {
                break;
            }
            parts.push(self.repeated()?);
        }
        match parts.len() {
            0 => Err(self.unexpected("a pattern variable")),
            1 => Ok(parts.swap_remove(0)),
            _ => Ok(RowPattern::Sequence(parts)),
        }
    }

    fn repeated(&mut self) -> Parsed<RowPattern> {
        let pattern = self.pattern_part()?;
        let start = self.here();
        let (min, max) = if self.take_symbol(Symbol::Star) {
            (0, None)
        } else if self.take_symbol(Symbol::Plus) {
            (1, None)
        } else if self.take_symbol(Symbol::Question) {
            (0, Some(1))
        } else if self.is_symbol(Symbol::LeftBrace) {
            self.repeat_bounds()?
        } else {
            return Ok(pattern);
        };
        let reluctant = self.take_symbol(Symbol::Question);
        Ok(RowPattern::Repeat { pattern: Box::new(pattern), min, max, reluctant, span: self.since(start) })
    }

    /// `{n}`, `{n,}`, `{,m}` or `{n,m}`.
    fn repeat_bounds(&mut self) -> Parsed<(u32, Option<u32>)> {
        let start = self.here();
        self.advance();
        let min = if self.is_symbol(Symbol::Comma) { 0 } else { self.integer("a number", 0..=REPEAT_MAX)? };
        let max = if !self.take_symbol(Symbol::Comma) {
            Some(min)
        } else if *self.kind() == TokenKind::Number {
            Some(self.integer("a number", 0..=REPEAT_MAX)?)
        } else {
            None
        };
        self.expect_symbol(Symbol::RightBrace)?;
        if max.is_some_and(|max| max < min || max == 0) {
            let error = Diagnostic::error("W0107", "this quantifier matches nothing").at(self.since(start));
            return Err(Box::new(
                error.label("expected a greatest number that is not less than the least, and at least 1"),
            ));
        }
        Ok((min, max))
    }

    fn pattern_part(&mut self) -> Parsed<RowPattern> {
        let start = self.here();
        if self.take_symbol(Symbol::LeftParen) {
            let inner = self.alternation()?;
            self.expect_symbol(Symbol::RightParen)?;
            return Ok(inner);
        }
        if self.take_symbol(Symbol::LeftBraceMinus) {
            let inner = self.alternation()?;
            self.expect_symbol(Symbol::MinusRightBrace)?;
            return Ok(RowPattern::Exclusion(Box::new(inner), self.since(start)));
        }
        if self.take_word("PERMUTE") {
            let parts = self.in_parens(|parser| parser.comma_list(Self::alternation))?;
            let span: Span = self.since(start);
            return Ok(RowPattern::Permute(parts, span));
        }
        Ok(RowPattern::Variable(self.name("a pattern variable")?))
    }
}
