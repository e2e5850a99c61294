//! Expressions, by operator precedence (Pratt): one loop per level instead of one function per operator.
//!
//! ```text
//! binds tighter    .  [ ]                      postfix
//!                  -a  +a
//!                  *  /  %  ||
//!                  +  -
//!                  BETWEEN  IN  LIKE  SIMILAR TO
//!                  =  <>  <  <=  >  >=  IS DISTINCT FROM  OVERLAPS  MEMBER OF
//!                  IS NULL, IS TRUE, IS JSON, ...
//!                  NOT
//!                  AND
//! binds looser     OR
//! ```
//!
//! The numbers are Calcite's, which Flink's parser takes from its operator table; `||` binding as tightly as `*` is theirs too.

use wiesel_core::diagnostic::{Diagnostic, Span, nearest};

use super::ast::{
    BinaryOp, Expr, ExprKind, Ident, IntervalLiteral, IntervalQualifier, IsTest, LikeKind, Literal, TimeUnit, UnaryOp,
};
use super::token::{Symbol, TokenKind};
use super::{Parsed, Parser, keyword};

const OR: u8 = 22;
const AND: u8 = 24;
const NOT: u8 = 26;
const IS: u8 = 28;
const COMPARISON: u8 = 30;
const RANGE: u8 = 32;
const SUM: u8 = 40;
const PRODUCT: u8 = 60;
const SIGN: u8 = 80;
const POSTFIX: u8 = 100;

/// An operator that may follow an operand.
#[derive(Clone, Copy)]
enum Infix {
    Logic(BinaryOp),
    Binary(BinaryOp),
    Is,
    /// BETWEEN, IN, LIKE, SIMILAR TO, with or without NOT before them.
    Range,
    Index,
    Field,
    AtTimeZone,
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.expr_above(0)
    }

    /// An expression of operators that bind at least as tightly as `floor`.
    pub(super) fn expr_above(&mut self, floor: u8) -> Parsed<Expr> {
        self.nested(1, |parser| {
            // `tree_depth` is the depth of the siblings read so far; the tree read here is measured on its own.
            let siblings = std::mem::take(&mut parser.tree_depth);
            let expr = parser.operators(floor)?;
            parser.deepen()?;
            parser.tree_depth = parser.tree_depth.max(siblings);
            Ok(expr)
        })
    }

    /// An operand that stands before a word of a special form, such as IN in `POSITION(a IN b)`.
    pub(super) fn operand(&mut self) -> Parsed<Expr> {
        self.expr_above(SUM)
    }

    fn operators(&mut self, floor: u8) -> Parsed<Expr> {
        let mut left = self.prefix()?;
        while let Some((infix, precedence)) = self.infix() {
            if precedence < floor {
                break;
            }
            left = match infix {
                Infix::Logic(op) => self.logic_chain(left, op, precedence)?,
                Infix::Binary(op) => self.binary(left, op, precedence)?,
                Infix::Is => self.is_test(left)?,
                Infix::Range => self.range_test(left)?,
                Infix::Index => {
                    self.advance();
                    let index = Box::new(self.expr()?);
                    self.expect_symbol(Symbol::RightBracket)?;
                    self.ended(left.span, ExprKind::Index { base: Box::new(left), index })
                }
                Infix::Field => {
                    self.advance();
                    let field = self.name("a field name")?;
                    self.ended(left.span, ExprKind::Field { base: Box::new(left), field })
                }
                Infix::AtTimeZone => {
                    self.at += 3;
                    let zone = Box::new(self.expr_above(SIGN)?);
                    self.ended(left.span, ExprKind::AtTimeZone { expr: Box::new(left), zone })
                }
            };
            self.deepen()?;
        }
        Ok(left)
    }

    /// An expression that began at `start` and ends with the last token read.
    pub(super) fn ended(&self, start: Span, kind: ExprKind) -> Expr {
        Expr::new(kind, self.since(start))
    }

    fn infix(&self) -> Option<(Infix, u8)> {
        if let TokenKind::Symbol(symbol) = self.kind() {
            let (op, precedence) = match symbol {
                Symbol::LeftBracket => return Some((Infix::Index, POSTFIX)),
                Symbol::Dot => return Some((Infix::Field, POSTFIX)),
                Symbol::Eq => (BinaryOp::Eq, COMPARISON),
                Symbol::NotEq => (BinaryOp::NotEq, COMPARISON),
                Symbol::Lt => (BinaryOp::Lt, COMPARISON),
                Symbol::LtEq => (BinaryOp::LtEq, COMPARISON),
                Symbol::Gt => (BinaryOp::Gt, COMPARISON),
                Symbol::GtEq => (BinaryOp::GtEq, COMPARISON),
                Symbol::Plus => (BinaryOp::Plus, SUM),
                Symbol::Minus => (BinaryOp::Minus, SUM),
                Symbol::Star => (BinaryOp::Multiply, PRODUCT),
                Symbol::Slash => (BinaryOp::Divide, PRODUCT),
                Symbol::Percent => (BinaryOp::Modulo, PRODUCT),
                Symbol::Concat => (BinaryOp::Concat, PRODUCT),
                _ => return None,
            };
            return Some((Infix::Binary(op), precedence));
        }
        let word = self.word_at(0)?;
        let is = |other: &str| word.eq_ignore_ascii_case(other);
        if is("OR") {
            Some((Infix::Logic(BinaryOp::Or), OR))
        } else if is("AND") {
            Some((Infix::Logic(BinaryOp::And), AND))
        } else if is("IS") {
            Some((Infix::Is, IS))
        } else if is_range_word(word) || (is("NOT") && self.word_at(1).is_some_and(is_range_word)) {
            Some((Infix::Range, RANGE))
        } else if is("OVERLAPS") {
            Some((Infix::Binary(BinaryOp::Overlaps), COMPARISON))
        } else if is("MEMBER") {
            Some((Infix::Binary(BinaryOp::MemberOf), COMPARISON))
        } else if is("SUBMULTISET") {
            Some((Infix::Binary(BinaryOp::SubmultisetOf), COMPARISON))
        } else if self.is_words(&["AT", "TIME", "ZONE"]) {
            Some((Infix::AtTimeZone, SIGN))
        } else {
            None
        }
    }

    /// `a OR b OR c ...`: the operands in a row, then a balanced tree over them, so that a generated filter with ten thousand
    /// terms is fourteen levels deep. Reading from left to right, and so the order of evaluation, stays the same.
    fn logic_chain(&mut self, first: Expr, op: BinaryOp, precedence: u8) -> Parsed<Expr> {
        let word = if op == BinaryOp::Or { "OR" } else { "AND" };
        let mut operands = vec![Some(first)];
        let mut op_spans = Vec::new();
        while self.is_word(word) {
            op_spans.push(self.here());
            self.advance();
            operands.push(Some(self.expr_above(precedence + 1)?));
        }
        self.tree_depth += operands.len().ilog2() + 1;
        Ok(balanced(&mut operands, &op_spans, op))
    }

    fn binary(&mut self, left: Expr, op: BinaryOp, precedence: u8) -> Parsed<Expr> {
        let op_span = self.here();
        self.advance();
        if matches!(op, BinaryOp::MemberOf | BinaryOp::SubmultisetOf) {
            self.take_word("OF");
        }
        if op.is_comparison() && self.is_one_of(&["ANY", "SOME", "ALL"]) && self.is_symbol_at(1, Symbol::LeftParen) {
            let all = self.is_word("ALL");
            self.advance();
            let right = Box::new(self.quantified_operand()?);
            return Ok(self.ended(left.span, ExprKind::Quantified { left: Box::new(left), op, all, right }));
        }
        let right = Box::new(self.expr_above(precedence + 1)?);
        Ok(self.ended(left.span, ExprKind::Binary { op, left: Box::new(left), right, op_span }))
    }

    fn quantified_operand(&mut self) -> Parsed<Expr> {
        let start = self.here();
        if self.opens_query() {
            let query = self.in_parens(Self::query)?;
            return Ok(self.ended(start, ExprKind::Subquery(Box::new(query))));
        }
        let fields = self.in_parens(|parser| parser.comma_list(Self::expr))?;
        Ok(self.ended(start, ExprKind::Row { fields, explicit: false }))
    }

    fn is_test(&mut self, expr: Expr) -> Parsed<Expr> {
        let start = expr.span;
        self.advance();
        let negated = self.take_word("NOT");
        if self.take_words(&["DISTINCT", "FROM"]) {
            let right = Box::new(self.expr_above(RANGE)?);
            return Ok(self.ended(start, ExprKind::IsDistinctFrom { left: Box::new(expr), right, negated }));
        }
        let test = if self.take_word("NULL") {
            IsTest::Null
        } else if self.take_word("TRUE") {
            IsTest::True
        } else if self.take_word("FALSE") {
            IsTest::False
        } else if self.take_word("UNKNOWN") {
            IsTest::Unknown
        } else if self.take_word("EMPTY") {
            IsTest::Empty
        } else if self.take_words(&["A", "SET"]) {
            IsTest::ASet
        } else if self.take_word("JSON") {
            self.json_test()
        } else {
            return Err(self.unexpected("NULL, TRUE, FALSE, UNKNOWN, DISTINCT FROM or JSON after IS"));
        };
        Ok(self.ended(start, ExprKind::Is { expr: Box::new(expr), test, negated }))
    }

    fn json_test(&mut self) -> IsTest {
        if self.take_word("OBJECT") {
            IsTest::JsonObject
        } else if self.take_word("ARRAY") {
            IsTest::JsonArray
        } else if self.take_word("SCALAR") {
            IsTest::JsonScalar
        } else {
            self.take_word("VALUE");
            IsTest::JsonValue
        }
    }

    fn range_test(&mut self, expr: Expr) -> Parsed<Expr> {
        let start = expr.span;
        let expr = Box::new(expr);
        let negated = self.take_word("NOT");
        let kind = if self.take_word("BETWEEN") {
            let symmetric = self.take_word("SYMMETRIC");
            if !symmetric {
                self.take_word("ASYMMETRIC");
            }
            let low = Box::new(self.operand()?);
            self.expect_word("AND")?;
            let high = Box::new(self.operand()?);
            ExprKind::Between { expr, low, high, negated, symmetric }
        } else if self.take_word("IN") {
            if self.opens_query() {
                let query = Box::new(self.in_parens(Self::query)?);
                ExprKind::InSubquery { expr, query, negated }
            } else {
                let list = self.in_parens(|parser| parser.comma_list(Self::expr))?;
                ExprKind::InList { expr, list, negated }
            }
        } else {
            let kind = if self.take_word("LIKE") {
                LikeKind::Like
            } else {
                self.expect_words(&["SIMILAR", "TO"])?;
                LikeKind::SimilarTo
            };
            let pattern = Box::new(self.operand()?);
            let escape = if self.take_word("ESCAPE") { Some(Box::new(self.operand()?)) } else { None };
            ExprKind::Like { kind, expr, pattern, escape, negated }
        };
        Ok(self.ended(start, kind))
    }

    // ------------------------------------------------------------ operands

    fn prefix(&mut self) -> Parsed<Expr> {
        let start = self.here();
        match self.kind() {
            TokenKind::Number => {
                let text = start.text(self.source).to_owned();
                self.advance();
                Ok(Expr::new(ExprKind::Literal(Literal::Number(text)), start))
            }
            TokenKind::String(_) => {
                let string = self.string("a string")?;
                Ok(Expr::new(ExprKind::Literal(Literal::String(string.value)), string.span))
            }
            TokenKind::Binary(bytes) => {
                let literal = Literal::Binary(bytes.clone());
                self.advance();
                Ok(Expr::new(ExprKind::Literal(literal), start))
            }
            TokenKind::QuotedName(_) => self.name_or_call(),
            TokenKind::Word => self.word_operand(),
            TokenKind::Symbol(Symbol::Minus) => self.unary(UnaryOp::Minus, SIGN),
            TokenKind::Symbol(Symbol::Plus) => self.unary(UnaryOp::Plus, SIGN),
            TokenKind::Symbol(Symbol::LeftParen) => self.parenthesised(),
            TokenKind::Symbol(Symbol::Question) => {
                let error = Diagnostic::error("W0101", "a file has no parameters").at(start);
                Err(Box::new(error.label("expected a value")))
            }
            _ => Err(self.unexpected("an expression")),
        }
    }

    fn unary(&mut self, op: UnaryOp, precedence: u8) -> Parsed<Expr> {
        let start = self.here();
        self.advance();
        let expr = Box::new(self.expr_above(precedence)?);
        Ok(self.ended(start, ExprKind::Unary { op, expr }))
    }

    /// `(a)`, `(a, b)` or `(query)`.
    fn parenthesised(&mut self) -> Parsed<Expr> {
        let start = self.here();
        if self.opens_query() {
            let query = self.in_parens(Self::query)?;
            return Ok(self.ended(start, ExprKind::Subquery(Box::new(query))));
        }
        let mut fields = self.in_parens(|parser| parser.comma_list(Self::expr))?;
        if fields.len() > 1 {
            return Ok(self.ended(start, ExprKind::Row { fields, explicit: false }));
        }
        let inner = fields.pop().expect("a comma list has at least one item");
        if matches!(inner.kind, ExprKind::Binary { op: BinaryOp::Minus, .. })
            && self.is_one_of(&["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"])
        {
            let qualifier = self.interval_qualifier()?;
            return Ok(self.ended(start, difference(inner.kind, qualifier)));
        }
        // `(a).b` is a field of a value, where `a.b` may still name a column of a table.
        Ok(self.ended(start, inner.kind))
    }

    fn word_operand(&mut self) -> Parsed<Expr> {
        let start = self.here();
        let word = start.text(self.source);
        let upper = word.to_ascii_uppercase();
        let literal = match upper.as_str() {
            "NULL" => Literal::Null,
            "TRUE" => Literal::Boolean(true),
            "FALSE" => Literal::Boolean(false),
            "UNKNOWN" => Literal::Unknown,
            "DATE" | "TIME" | "TIMESTAMP" if matches!(self.token_at(1).kind, TokenKind::String(_)) => {
                self.advance();
                let text = self.string("a string")?.value;
                let literal = match upper.as_str() {
                    "DATE" => Literal::Date(text),
                    "TIME" => Literal::Time(text),
                    _ => Literal::Timestamp(text),
                };
                return Ok(self.ended(start, ExprKind::Literal(literal)));
            }
            "INTERVAL" => return self.interval(),
            "NOT" => return self.unary(UnaryOp::Not, NOT),
            "DEFAULT" => {
                self.advance();
                return Ok(Expr::new(ExprKind::Default, start));
            }
            "CASE" => return self.case(),
            _ => {
                if let Some(form) = self.special_form(&upper)? {
                    return Ok(form);
                }
                return self.name_or_call();
            }
        };
        self.advance();
        Ok(Expr::new(ExprKind::Literal(literal), start))
    }

    /// A chain of names, or a call.
    fn name_or_call(&mut self) -> Parsed<Expr> {
        let start = self.here();
        if let Some(word) = self.word_at(0)
            && keyword::is_reserved(word)
        {
            let is_call = keyword::is_function_word(word) && self.is_symbol_at(1, Symbol::LeftParen);
            if !is_call && !is_bare_function(word) {
                return Err(self.reserved_word("an expression"));
            }
            let call = self.call_of_word()?;
            return Ok(Expr::new(ExprKind::Function(Box::new(call)), self.since(start)));
        }
        let name = self.object_name("an expression")?;
        if self.is_symbol(Symbol::LeftParen) {
            let call = self.call_after(name)?;
            return Ok(self.ended(start, ExprKind::Function(Box::new(call))));
        }
        Ok(self.ended(start, ExprKind::Name(name.parts)))
    }

    fn case(&mut self) -> Parsed<Expr> {
        let start = self.here();
        self.advance();
        let operand = if self.is_word("WHEN") { None } else { Some(Box::new(self.expr()?)) };
        let mut branches = Vec::new();
        while self.take_word("WHEN") {
            let mut conditions = vec![self.expr()?];
            // CASE value WHEN a, b THEN ...: either value leads to the result.
            while operand.is_some() && self.take_symbol(Symbol::Comma) {
                conditions.push(self.expr()?);
            }
            self.expect_word("THEN")?;
            let result = self.expr()?;
            branches.extend(conditions.into_iter().map(|condition| (condition, result.clone())));
        }
        if branches.is_empty() {
            return Err(self.unexpected("WHEN"));
        }
        let otherwise = if self.take_word("ELSE") { Some(Box::new(self.expr()?)) } else { None };
        if !self.take_word("END") {
            return Err(self.unexpected("WHEN, ELSE or END of this CASE"));
        }
        Ok(self.ended(start, ExprKind::Case { operand, branches, otherwise }))
    }

    // ------------------------------------------------------------ intervals and units

    fn interval(&mut self) -> Parsed<Expr> {
        let start = self.here();
        self.advance();
        let signed = matches!(self.kind(), TokenKind::Symbol(Symbol::Minus | Symbol::Plus));
        let negative = self.is_symbol(Symbol::Minus);
        if signed {
            self.advance();
        }
        if self.is_string() || signed {
            let value = self.string("the interval's value in quotes, as in INTERVAL '5' SECOND")?;
            let qualifier = self.interval_qualifier()?;
            let literal = IntervalLiteral { negative, value: value.value, value_span: value.span, qualifier };
            return Ok(self.ended(start, ExprKind::Literal(Literal::Interval(literal))));
        }
        let amount = if self.is_symbol(Symbol::LeftParen) || *self.kind() == TokenKind::Number || self.is_name() {
            Box::new(self.expr_above(POSTFIX)?)
        } else {
            return Err(self.unexpected("the interval's value in quotes, as in INTERVAL '5' SECOND"));
        };
        let qualifier = self.interval_qualifier()?;
        Ok(self.ended(start, ExprKind::IntervalOf { amount, qualifier }))
    }

    /// `DAY`, `DAY(2) TO SECOND(3)` and so on.
    pub(super) fn interval_qualifier(&mut self) -> Parsed<IntervalQualifier> {
        let start = self.here();
        let leading = self.interval_unit()?;
        let mut fraction_precision = None;
        let mut leading_precision = None;
        if self.take_symbol(Symbol::LeftParen) {
            leading_precision = Some(self.integer("a precision", 1..=10)?);
            if leading == TimeUnit::Second && self.take_symbol(Symbol::Comma) {
                fraction_precision = Some(self.integer("a precision", 0..=9)?);
            }
            self.expect_symbol(Symbol::RightParen)?;
        }
        let mut trailing = None;
        if self.take_word("TO") {
            let unit = self.interval_unit()?;
            if !may_end_interval(leading, unit) {
                let error = Diagnostic::error("W0106", "these units make no interval").at(self.since(start));
                return Err(Box::new(
                    error.label("expected YEAR TO MONTH, or two of DAY, HOUR, MINUTE, SECOND from larger to smaller"),
                ));
            }
            trailing = Some(unit);
            if unit == TimeUnit::Second && self.is_symbol(Symbol::LeftParen) {
                fraction_precision = Some(self.in_parens(|parser| parser.integer("a precision", 0..=9))?);
            }
        }
        Ok(IntervalQualifier { leading, leading_precision, trailing, fraction_precision, span: self.since(start) })
    }

    fn interval_unit(&mut self) -> Parsed<TimeUnit> {
        let unit = self.word_at(0).and_then(interval_unit_of);
        let Some(unit) = unit else {
            let mut error = self.unexpected("a unit: YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND");
            if let Some(near) = self
                .word_at(0)
                .and_then(|word| nearest(word, ["YEAR", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"]))
            {
                error.hint = Some(format!("did you mean `{near}`?"));
            }
            return Err(error);
        };
        self.advance();
        Ok(unit)
    }

    /// The unit of an EXTRACT, FLOOR, TIMESTAMPADD and so on.
    pub(super) fn time_unit(&mut self) -> Parsed<TimeUnit> {
        let unit = self.word_at(0).and_then(|word| {
            let upper = word.to_ascii_uppercase();
            time_unit_of(upper.strip_prefix("SQL_TSI_").unwrap_or(&upper))
        });
        let Some(unit) = unit else {
            return Err(self.unexpected("a unit of time such as YEAR, DAY or SECOND"));
        };
        self.advance();
        Ok(unit)
    }

    /// A name that must be one word, used by forms that build a name from a keyword.
    pub(super) fn word_as_name(&mut self) -> Ident {
        let span = self.here();
        self.advance();
        Ident { value: span.text(self.source).to_owned(), quoted: false, span }
    }
}

/// A balanced tree over operands that stand in a row, each taken out of its place.
fn balanced(operands: &mut [Option<Expr>], op_spans: &[Span], op: BinaryOp) -> Expr {
    if let [only] = operands {
        return only.take().expect("every operand is taken once");
    }
    // Rounding up keeps a short chain as it reads: (a AND b) AND c.
    let middle = operands.len().div_ceil(2);
    let (left_operands, right_operands) = operands.split_at_mut(middle);
    let left = Box::new(balanced(left_operands, &op_spans[..middle - 1], op));
    let right = Box::new(balanced(right_operands, &op_spans[middle..], op));
    let span = left.span.to(right.span);
    Expr::new(ExprKind::Binary { op, left, right, op_span: op_spans[middle - 1] }, span)
}

fn is_range_word(word: &str) -> bool {
    ["BETWEEN", "IN", "LIKE", "SIMILAR"].iter().any(|range| word.eq_ignore_ascii_case(range))
}

/// Reserved words that are functions without parentheses.
pub(super) fn is_bare_function(word: &str) -> bool {
    const BARE: &[&str] = &[
        "CURRENT_CATALOG",
        "CURRENT_DATE",
        "CURRENT_PATH",
        "CURRENT_ROLE",
        "CURRENT_SCHEMA",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
        "CURRENT_USER",
        "LOCALTIME",
        "LOCALTIMESTAMP",
        "SESSION_USER",
        "SYSTEM_USER",
    ];
    BARE.iter().any(|bare| word.eq_ignore_ascii_case(bare))
}

fn may_end_interval(leading: TimeUnit, trailing: TimeUnit) -> bool {
    const DAY_TIME: [TimeUnit; 4] = [TimeUnit::Day, TimeUnit::Hour, TimeUnit::Minute, TimeUnit::Second];
    let rank = |unit| DAY_TIME.iter().position(|known| *known == unit);
    match (rank(leading), rank(trailing)) {
        (Some(first), Some(last)) => first < last,
        _ => leading == TimeUnit::Year && trailing == TimeUnit::Month,
    }
}

/// The units of an interval, in singular or plural.
fn interval_unit_of(word: &str) -> Option<TimeUnit> {
    let upper = word.to_ascii_uppercase();
    let unit = time_unit_of(upper.strip_suffix('S').unwrap_or(&upper))?;
    let allowed = matches!(
        unit,
        TimeUnit::Year
            | TimeUnit::Quarter
            | TimeUnit::Month
            | TimeUnit::Week
            | TimeUnit::Day
            | TimeUnit::Hour
            | TimeUnit::Minute
            | TimeUnit::Second
    );
    allowed.then_some(unit)
}

fn time_unit_of(upper: &str) -> Option<TimeUnit> {
    Some(match upper {
        "MILLENNIUM" => TimeUnit::Millennium,
        "CENTURY" => TimeUnit::Century,
        "DECADE" => TimeUnit::Decade,
        "YEAR" => TimeUnit::Year,
        "ISOYEAR" => TimeUnit::IsoYear,
        "QUARTER" => TimeUnit::Quarter,
        "MONTH" => TimeUnit::Month,
        "WEEK" => TimeUnit::Week,
        "DAY" => TimeUnit::Day,
        "DOW" | "DAYOFWEEK" => TimeUnit::Dow,
        "ISODOW" => TimeUnit::IsoDow,
        "DOY" | "DAYOFYEAR" => TimeUnit::Doy,
        "HOUR" => TimeUnit::Hour,
        "MINUTE" => TimeUnit::Minute,
        "SECOND" => TimeUnit::Second,
        "MILLISECOND" => TimeUnit::Millisecond,
        "MICROSECOND" | "FRAC_SECOND" => TimeUnit::Microsecond,
        "NANOSECOND" => TimeUnit::Nanosecond,
        "EPOCH" => TimeUnit::Epoch,
        _ => return None,
    })
}

/// `(a - b) MONTH`, the difference of two times: whole months as a number of them, days and less as what `a - b` is already.
fn difference(minus: ExprKind, qualifier: IntervalQualifier) -> ExprKind {
    match minus {
        ExprKind::Binary { left, right, .. } if matches!(qualifier.leading, TimeUnit::Year | TimeUnit::Month) => {
            let span = left.span;
            let months = ExprKind::TimestampDiff { unit: TimeUnit::Month, from: right, to: left };
            let unit = IntervalQualifier { leading: TimeUnit::Month, trailing: None, ..qualifier };
            ExprKind::IntervalOf { amount: Box::new(Expr::new(months, span)), qualifier: unit }
        }
        other => other,
    }
}
