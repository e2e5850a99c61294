//! Queries: WITH, SELECT, VALUES, set operations, ORDER BY and LIMIT, and everything that may stand in a FROM.
//!
//! INTERSECT binds tighter than UNION and EXCEPT, which read from left to right; a comma in FROM binds looser than any JOIN.

use wiesel_core::diagnostic::{Diagnostic, Span};

use super::ast::{
    Cte, Expr, ExprKind, FrameBound, GroupBy, GroupItem, Hint, HintArg, Ident, Join, JoinCondition, JoinKind, Literal,
    NamedWindow, ObjectName, OptionPair, OrderItem, Query, Select, SelectItem, SetExpr, SetExprKind, SetOperator,
    StringLiteral, TableAlias, TableRef, TableRefKind, ValuesRow, WindowFrame, WindowSpec, With,
};
use super::token::{Symbol, TokenKind};
use super::{Parsed, Parser};

/// A query needs more of the parser's stack than an expression.
const QUERY_WEIGHT: u32 = 3;

/// The words that go on behind the body of a query.
pub(super) const AFTER_QUERY_BODY: &[&str] =
    &["UNION", "INTERSECT", "EXCEPT", "MINUS", "ORDER", "LIMIT", "OFFSET", "FETCH"];

/// The words that may follow a finished FROM clause, for the hint on a misspelt one.
const AFTER_FROM: &[&str] = &[
    "WHERE", "GROUP", "HAVING", "WINDOW", "QUALIFY", "ORDER", "LIMIT", "JOIN", "LEFT", "RIGHT", "FULL", "INNER",
    "CROSS", "ON", "UNION", "FROM",
];

impl Parser<'_> {
    /// Whether a query begins here, in parentheses or not.
    pub(super) fn at_query(&self) -> bool {
        self.is_one_of(&["SELECT", "WITH", "VALUES", "TABLE"]) || self.opens_query()
    }

    pub(super) fn query(&mut self) -> Parsed<Query> {
        self.nested(QUERY_WEIGHT, |parser| {
            let siblings = std::mem::take(&mut parser.tree_depth);
            let query = parser.whole_query()?;
            parser.deepen()?;
            parser.tree_depth = parser.tree_depth.max(siblings);
            Ok(query)
        })
    }

    fn whole_query(&mut self) -> Parsed<Query> {
        let start = self.here();
        let with = if self.is_word("WITH") { Some(self.with()?) } else { None };
        let body = self.set_operations()?;
        let order_by = if self.is_word("ORDER") { self.order_by()? } else { Vec::new() };
        let (limit, offset) = self.limit_and_offset()?;
        Ok(Query { with, body, order_by, limit, offset, span: self.since(start) })
    }

    fn with(&mut self) -> Parsed<With> {
        self.advance();
        let recursive = self.is_word("RECURSIVE").then(|| self.here());
        if recursive.is_some() {
            self.advance();
        }
        let ctes = self.comma_list(|parser| {
            let name = parser.name("a name for this query")?;
            let columns =
                if parser.is_symbol(Symbol::LeftParen) { parser.name_list("a column name")? } else { Vec::new() };
            parser.expect_word("AS")?;
            let query = Box::new(parser.in_parens(Self::query)?);
            Ok(Cte { name, columns, query })
        })?;
        Ok(With { recursive, ctes })
    }

    /// `a UNION b EXCEPT c ...`
    fn set_operations(&mut self) -> Parsed<SetExpr> {
        let mut left = self.intersections()?;
        loop {
            let op = if self.is_word("UNION") {
                SetOperator::Union
            } else if self.is_one_of(&["EXCEPT", "MINUS"]) {
                SetOperator::Except
            } else {
                return Ok(left);
            };
            self.advance();
            let all = self.set_quantifier();
            let right = self.intersections()?;
            left = self.set_operation(op, all, left, right)?;
        }
    }

    fn intersections(&mut self) -> Parsed<SetExpr> {
        let mut left = self.query_body()?;
        while self.take_word("INTERSECT") {
            let all = self.set_quantifier();
            let right = self.query_body()?;
            left = self.set_operation(SetOperator::Intersect, all, left, right)?;
        }
        Ok(left)
    }

    fn set_operation(&mut self, op: SetOperator, all: bool, left: SetExpr, right: SetExpr) -> Parsed<SetExpr> {
        self.deepen()?;
        let span = left.span.to(right.span);
        Ok(SetExpr { kind: SetExprKind::SetOperation { op, all, left: Box::new(left), right: Box::new(right) }, span })
    }

    /// `ALL` or `DISTINCT`, the latter being the default.
    fn set_quantifier(&mut self) -> bool {
        let all = self.take_word("ALL");
        if !all {
            self.take_word("DISTINCT");
        }
        all
    }

    fn query_body(&mut self) -> Parsed<SetExpr> {
        let start = self.here();
        let kind = if self.is_word("SELECT") {
            SetExprKind::Select(Box::new(self.select()?))
        } else if self.take_word("VALUES") {
            SetExprKind::Values(self.comma_list(Self::values_row)?)
        } else if self.is_symbol(Symbol::LeftParen) {
            SetExprKind::Query(Box::new(self.in_parens(Self::query)?))
        } else if self.take_word("TABLE") {
            SetExprKind::Table(self.object_name("a table name")?)
        } else {
            return Err(self.unexpected("a query: SELECT, VALUES, WITH or `(`"));
        };
        Ok(SetExpr { kind, span: self.since(start) })
    }

    fn values_row(&mut self) -> Parsed<ValuesRow> {
        let start = self.here();
        let row = self.expr()?;
        let span = self.since(start);
        // `VALUES (1)` and `VALUES 1` are the same row of one field; `ROW(1)` is a row too.
        let values = match row.kind {
            ExprKind::Row { fields, .. } => fields,
            _ => vec![row],
        };
        Ok(ValuesRow { values, span })
    }

    // ------------------------------------------------------------ SELECT

    fn select(&mut self) -> Parsed<Select> {
        let start = self.here();
        self.advance();
        let hints = self.hints()?;
        let distinct = self.take_word("DISTINCT");
        if !distinct {
            self.take_word("ALL");
        }
        let items = self.comma_list(Self::select_item)?;
        let from = if self.take_word("FROM") { Some(self.from()?) } else { None };
        if from.is_none() {
            self.check_end_of_select(false)?;
        }
        let selection = if self.take_word("WHERE") { Some(self.expr()?) } else { None };
        let group_by = if self.is_word("GROUP") { Some(self.group_by()?) } else { None };
        let having = if self.take_word("HAVING") { Some(self.expr()?) } else { None };
        let windows = if self.take_word("WINDOW") { self.comma_list(Self::named_window)? } else { Vec::new() };
        let qualify = if self.take_word("QUALIFY") { Some(self.expr()?) } else { None };
        self.check_end_of_select(true)?;
        Ok(Select {
            hints,
            distinct,
            items,
            from,
            selection,
            group_by,
            having,
            windows,
            qualify,
            span: self.since(start),
        })
    }

    /// A clear word about what cannot follow a SELECT, while it is still known that one ended here.
    fn check_end_of_select(&self, has_from: bool) -> Parsed<()> {
        let ends = matches!(self.kind(), TokenKind::End | TokenKind::Symbol(Symbol::Semicolon | Symbol::RightParen));
        if ends || self.is_one_of(AFTER_QUERY_BODY) || self.is_word("END") {
            return Ok(());
        }
        if self.is_one_of(&["WHERE", "GROUP", "HAVING", "WINDOW", "QUALIFY"]) {
            let order = "the clauses in their order: FROM, WHERE, GROUP BY, HAVING, WINDOW, QUALIFY, ORDER BY, LIMIT";
            return Err(self.unexpected(if has_from { order } else { "FROM before this clause" }));
        }
        let expected = if has_from {
            "a comma, a JOIN, another clause, or the end of the query"
        } else {
            "a comma, FROM, or the end of the query"
        };
        let mut error = self.unexpected_after(expected, if has_from { AFTER_FROM } else { &["FROM"] });
        self.hint_missing_semicolon(&mut error);
        Err(error)
    }

    fn select_item(&mut self) -> Parsed<SelectItem> {
        let start = self.here();
        if self.take_symbol(Symbol::Star) {
            return Ok(SelectItem::Wildcard(start));
        }
        if let Some(prefix) = self.qualified_wildcard()? {
            return Ok(SelectItem::QualifiedWildcard { prefix, span: self.since(start) });
        }
        let expr = self.expr()?;
        let alias =
            if self.take_word("AS") || self.is_name() { Some(self.name("a name for this column")?) } else { None };
        Ok(SelectItem::Expr { expr, alias })
    }

    /// `a.b.*`, found by looking ahead.
    fn qualified_wildcard(&mut self) -> Parsed<Option<ObjectName>> {
        let mut ahead = 0;
        while self.is_name_at(ahead) && self.is_symbol_at(ahead + 1, Symbol::Dot) {
            ahead += 2;
        }
        if ahead == 0 || !self.is_symbol_at(ahead, Symbol::Star) {
            return Ok(None);
        }
        let start = self.here();
        let mut parts = Vec::new();
        while !self.take_symbol(Symbol::Star) {
            parts.push(self.name("a table name")?);
            self.expect_symbol(Symbol::Dot)?;
        }
        let end = parts.last().map_or(start, |part: &Ident| part.span);
        Ok(Some(ObjectName { span: start.to(end), parts }))
    }

    fn group_by(&mut self) -> Parsed<GroupBy> {
        let start = self.here();
        self.expect_words(&["GROUP", "BY"])?;
        let items = self.comma_list(|parser| parser.nested(1, Self::group_item))?;
        Ok(GroupBy { items, span: self.since(start) })
    }

    fn group_item(&mut self) -> Parsed<GroupItem> {
        let start = self.here();
        if self.is_symbol(Symbol::LeftParen) && self.is_symbol_at(1, Symbol::RightParen) {
            self.at += 2;
            return Ok(GroupItem::Empty(self.since(start)));
        }
        if self.take_words(&["GROUPING", "SETS"]) {
            let items = self.group_items()?;
            return Ok(GroupItem::GroupingSets(items, self.since(start)));
        }
        if self.take_word("CUBE") {
            let items = self.group_items()?;
            return Ok(GroupItem::Cube(items, self.since(start)));
        }
        if self.take_word("ROLLUP") {
            let items = self.group_items()?;
            return Ok(GroupItem::Rollup(items, self.since(start)));
        }
        let expr = self.expr()?;
        Ok(match expr.kind {
            ExprKind::Row { fields, explicit: false } => GroupItem::Composite(fields, expr.span),
            _ => GroupItem::Expr(expr),
        })
    }

    fn group_items(&mut self) -> Parsed<Vec<GroupItem>> {
        self.in_parens(|parser| parser.comma_list(|parser| parser.nested(1, Self::group_item)))
    }

    pub(super) fn order_by(&mut self) -> Parsed<Vec<OrderItem>> {
        self.expect_words(&["ORDER", "BY"])?;
        self.comma_list(|parser| {
            let expr = parser.expr()?;
            let descending = parser.take_word("DESC");
            if !descending {
                parser.take_word("ASC");
            }
            let mut nulls_first = None;
            if parser.take_word("NULLS") {
                let first = parser.take_word("FIRST");
                if !first && !parser.take_word("LAST") {
                    return Err(parser.unexpected("FIRST or LAST"));
                }
                nulls_first = Some(first);
            }
            Ok(OrderItem { expr, descending, nulls_first })
        })
    }

    /// LIMIT, OFFSET and FETCH in any order, each once.
    fn limit_and_offset(&mut self) -> Parsed<(Option<Expr>, Option<Expr>)> {
        let (mut limit, mut offset) = (None, None);
        let (mut limit_said, mut offset_said) = (false, false);
        loop {
            let start = self.here();
            if self.take_word("OFFSET") {
                if std::mem::replace(&mut offset_said, true) {
                    return Err(self.twice("OFFSET", start));
                }
                offset = Some(self.row_count()?);
                self.take_rows_word();
            } else if self.is_one_of(&["LIMIT", "FETCH"]) {
                if std::mem::replace(&mut limit_said, true) {
                    return Err(self.twice("the limit", start));
                }
                if self.take_word("FETCH") {
                    limit = Some(self.fetch(start)?);
                    continue;
                }
                self.advance();
                if self.take_word("ALL") {
                    continue;
                }
                let count = self.row_count()?;
                if self.take_symbol(Symbol::Comma) {
                    if std::mem::replace(&mut offset_said, true) {
                        return Err(self.twice("OFFSET", start));
                    }
                    offset = Some(count);
                    limit = Some(self.row_count()?);
                } else {
                    limit = Some(count);
                }
            } else {
                return Ok((limit, offset));
            }
        }
    }

    /// Behind FETCH: `FIRST 5 ROWS ONLY`; no number means one row.
    fn fetch(&mut self, start: Span) -> Parsed<Expr> {
        if !self.take_word("FIRST") && !self.take_word("NEXT") {
            return Err(self.unexpected("FIRST or NEXT"));
        }
        let count = if *self.kind() == TokenKind::Number {
            self.row_count()?
        } else {
            Expr::new(ExprKind::Literal(Literal::Number("1".to_owned())), start)
        };
        if !self.take_rows_word() {
            return Err(self.unexpected("ROW or ROWS"));
        }
        self.expect_word("ONLY")?;
        Ok(count)
    }

    fn take_rows_word(&mut self) -> bool {
        self.take_word("ROWS") || self.take_word("ROW")
    }

    fn row_count(&mut self) -> Parsed<Expr> {
        let span = self.here();
        let text = span.text(self.source);
        if *self.kind() != TokenKind::Number || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected("a number of rows"));
        }
        self.advance();
        Ok(Expr::new(ExprKind::Literal(Literal::Number(text.to_owned())), span))
    }

    // ------------------------------------------------------------ windows

    fn named_window(&mut self) -> Parsed<NamedWindow> {
        let name = self.name("a name for this window")?;
        self.expect_word("AS")?;
        let spec = self.window_spec()?;
        Ok(NamedWindow { name, spec })
    }

    /// `([base] [PARTITION BY ..] [ORDER BY ..] [ROWS|RANGE ..])`.
    pub(super) fn window_spec(&mut self) -> Parsed<WindowSpec> {
        let start = self.here();
        self.expect_symbol(Symbol::LeftParen)?;
        let base = if self.is_name() { Some(self.name("the name of a window")?) } else { None };
        let partition_by =
            if self.take_words(&["PARTITION", "BY"]) { self.comma_list(Self::expr)? } else { Vec::new() };
        let order_by = if self.is_word("ORDER") { self.order_by()? } else { Vec::new() };
        let frame = if self.is_one_of(&["ROWS", "RANGE"]) { Some(self.window_frame()?) } else { None };
        if !self.take_symbol(Symbol::RightParen) {
            return Err(self.unexpected("PARTITION BY, ORDER BY, ROWS, RANGE or `)` in this window"));
        }
        Ok(WindowSpec { base, partition_by, order_by, frame, span: self.since(start) })
    }

    fn window_frame(&mut self) -> Parsed<WindowFrame> {
        let begin = self.here();
        let rows = self.is_word("ROWS");
        self.advance();
        let (start, end) = if self.take_word("BETWEEN") {
            let start = self.frame_bound()?;
            self.expect_word("AND")?;
            (start, Some(self.frame_bound()?))
        } else {
            (self.frame_bound()?, None)
        };
        Ok(WindowFrame { rows, start, end, span: self.since(begin) })
    }

    fn frame_bound(&mut self) -> Parsed<FrameBound> {
        if self.take_words(&["CURRENT", "ROW"]) {
            return Ok(FrameBound::CurrentRow);
        }
        let distance = if self.take_word("UNBOUNDED") { None } else { Some(self.operand()?) };
        let preceding = self.take_word("PRECEDING");
        if !preceding && !self.take_word("FOLLOWING") {
            return Err(self.unexpected("PRECEDING or FOLLOWING"));
        }
        Ok(match (distance, preceding) {
            (None, true) => FrameBound::UnboundedPreceding,
            (None, false) => FrameBound::UnboundedFollowing,
            (Some(distance), true) => FrameBound::Preceding(distance),
            (Some(distance), false) => FrameBound::Following(distance),
        })
    }

    // ------------------------------------------------------------ FROM

    fn from(&mut self) -> Parsed<TableRef> {
        let mut left = self.joined()?;
        while self.is_symbol(Symbol::Comma) {
            let span = self.here();
            self.advance();
            let right = self.joined()?;
            left = self.join(left, right, JoinKind::Comma, false, JoinCondition::None, span)?;
        }
        Ok(left)
    }

    fn joined(&mut self) -> Parsed<TableRef> {
        let mut left = self.table_ref()?;
        loop {
            let start = self.here();
            let natural = self.take_word("NATURAL");
            let Some(kind) = self.join_words()? else {
                if natural {
                    return Err(self.unexpected("JOIN"));
                }
                return Ok(left);
            };
            let words = self.since(start);
            let right = self.table_ref()?;
            let condition = if self.take_word("ON") {
                JoinCondition::On(self.expr()?)
            } else if self.take_word("USING") {
                JoinCondition::Using(self.name_list("a column name")?)
            } else {
                JoinCondition::None
            };
            self.check_join_condition(kind, natural, &condition, words)?;
            left = self.join(left, right, kind, natural, condition, words)?;
        }
    }

    fn join_words(&mut self) -> Parsed<Option<JoinKind>> {
        let kind = if self.take_word("JOIN") {
            return Ok(Some(JoinKind::Inner));
        } else if self.take_word("INNER") {
            JoinKind::Inner
        } else if self.take_word("CROSS") {
            JoinKind::Cross
        } else {
            let kind = if self.is_word("LEFT") {
                JoinKind::Left
            } else if self.is_word("RIGHT") {
                JoinKind::Right
            } else if self.is_word("FULL") {
                JoinKind::Full
            } else {
                return Ok(None);
            };
            self.advance();
            self.take_word("OUTER");
            kind
        };
        if self.is_one_of(&["SEMI", "ANTI"]) {
            let error = self.unexpected("JOIN");
            return Err(Box::new(
                error.hint("a semi join is written WHERE x IN (SELECT ..) or WHERE EXISTS (SELECT ..)"),
            ));
        }
        self.expect_word("JOIN")?;
        Ok(Some(kind))
    }

    /// Flink refuses a join without its condition, and a condition where none can be, when it validates; here the place is known.
    fn check_join_condition(
        &self,
        kind: JoinKind,
        natural: bool,
        condition: &JoinCondition,
        words: Span,
    ) -> Parsed<()> {
        let has_condition = *condition != JoinCondition::None;
        let wants_condition = kind != JoinKind::Cross && !natural;
        if has_condition == wants_condition {
            return Ok(());
        }
        if wants_condition {
            let mut error = self.unexpected_after("ON and a condition, or USING and columns", &["ON", "USING"]);
            if !matches!(self.kind(), TokenKind::Error(_)) {
                error.message = format!("this {} has no condition", words.text(self.source).to_uppercase());
            }
            return Err(error);
        }
        let message = format!("a {} takes no condition", words.text(self.source).to_uppercase());
        Err(Box::new(Diagnostic::error("W0101", message).at(words).label("expected JOIN, or no ON and no USING")))
    }

    fn join(
        &mut self,
        left: TableRef,
        right: TableRef,
        kind: JoinKind,
        natural: bool,
        condition: JoinCondition,
        words: Span,
    ) -> Parsed<TableRef> {
        self.deepen()?;
        let span = self.since(left.span);
        let join = Join { left, right, kind, natural, condition, span: words };
        Ok(TableRef { kind: TableRefKind::Join(Box::new(join)), span })
    }

    fn table_ref(&mut self) -> Parsed<TableRef> {
        self.nested(1, |parser| {
            let start = parser.here();
            let lateral = parser.take_word("LATERAL");
            let mut kind = parser.table_ref_kind(lateral)?;
            if parser.is_word("MATCH_RECOGNIZE") {
                let input = TableRef { kind, span: parser.since(start) };
                kind = TableRefKind::MatchRecognize(Box::new(parser.match_recognize(input)?));
            }
            if parser.is_one_of(&["TABLESAMPLE", "PIVOT", "UNPIVOT"]) {
                let word = parser.here().text(parser.source).to_uppercase();
                let error = Diagnostic::error("W0401", format!("{word} is not supported")).at(parser.here());
                return Err(Box::new(error.label("no stream can be read this way")));
            }
            let wants_alias = !matches!(kind, TableRefKind::Join(_) | TableRefKind::Parenthesised(_));
            if wants_alias && let Some(alias) = parser.table_alias()? {
                set_alias(&mut kind, alias);
            }
            Ok(TableRef { kind, span: parser.since(start) })
        })
    }

    fn table_ref_kind(&mut self, lateral: bool) -> Parsed<TableRefKind> {
        if self.opens_query() {
            let query = Box::new(self.in_parens(Self::query)?);
            return Ok(TableRefKind::Derived { lateral, query, alias: None });
        }
        if self.take_word("UNNEST") {
            let exprs = self.in_parens(|parser| parser.comma_list(Self::expr))?;
            let with_ordinality = self.take_words(&["WITH", "ORDINALITY"]);
            return Ok(TableRefKind::Unnest { exprs, with_ordinality, alias: None });
        }
        if self.is_word("TABLE") && self.is_symbol_at(1, Symbol::LeftParen) {
            self.advance();
            let call = self.in_parens(|parser| {
                let name = parser.object_name("a table function such as TUMBLE")?;
                parser.call_after(name)
            })?;
            return Ok(TableRefKind::Function { lateral, table_keyword: true, call, alias: None });
        }
        if !lateral && self.is_symbol(Symbol::LeftParen) {
            let inner = self.in_parens(Self::joined)?;
            return Ok(TableRefKind::Parenthesised(Box::new(inner)));
        }
        let expected = if lateral { "TABLE(function), UNNEST(..) or a subquery" } else { "a table" };
        let name = self.object_name(expected)?;
        if self.is_symbol(Symbol::LeftParen) {
            let call = self.call_after(name)?;
            return Ok(TableRefKind::Function { lateral, table_keyword: false, call, alias: None });
        }
        if lateral {
            let error = Diagnostic::error("W0101", "LATERAL before a table").at(name.span);
            return Err(Box::new(error.label(format!("expected {expected}"))));
        }
        let hints = self.hints()?;
        let mut as_of = None;
        if self.take_word("FOR") {
            self.expect_words(&["SYSTEM_TIME", "AS", "OF"])?;
            as_of = Some(Box::new(self.expr()?));
        }
        Ok(TableRefKind::Table { name, hints, as_of, alias: None })
    }

    fn table_alias(&mut self) -> Parsed<Option<TableAlias>> {
        if !self.take_word("AS") && !self.is_name() {
            return Ok(None);
        }
        let name = self.name("a name for this table")?;
        let columns = if self.is_symbol(Symbol::LeftParen) { self.name_list("a column name")? } else { Vec::new() };
        if self.is_words(&["FOR", "SYSTEM_TIME"]) {
            let error = self.unexpected("the name as the last part of this table");
            return Err(Box::new(
                error.hint("FOR SYSTEM_TIME AS OF stands before the new name: `t FOR SYSTEM_TIME AS OF o.ts AS a`"),
            ));
        }
        Ok(Some(TableAlias { name, columns }))
    }

    // ------------------------------------------------------------ hints

    /// `/*+ NAME(args), NAME(args) */`, or nothing.
    pub(super) fn hints(&mut self) -> Parsed<Vec<Hint>> {
        if *self.kind() != TokenKind::HintStart {
            return Ok(Vec::new());
        }
        self.advance();
        let mut hints = Vec::new();
        while *self.kind() != TokenKind::HintEnd {
            if !hints.is_empty() {
                self.take_symbol(Symbol::Comma);
            }
            let start = self.here();
            let name = self.name("a hint such as OPTIONS")?;
            let args = if self.is_symbol(Symbol::LeftParen) {
                self.in_parens(|parser| parser.comma_list(Self::hint_argument))?
            } else {
                Vec::new()
            };
            hints.push(Hint { name, args, span: self.since(start) });
        }
        self.advance();
        Ok(hints)
    }

    fn hint_argument(&mut self) -> Parsed<HintArg> {
        let key = if self.is_string() {
            self.string("a key")?
        } else if *self.kind() == TokenKind::Number {
            let span = self.here();
            self.advance();
            return Ok(HintArg::Literal(StringLiteral { value: span.text(self.source).to_owned(), span }));
        } else {
            let name = self.object_name("a key in quotes, or a table name")?;
            if !self.is_symbol(Symbol::Eq) {
                return Ok(HintArg::Name(name));
            }
            let parts: Vec<&str> = name.parts.iter().map(|part| part.value.as_str()).collect();
            StringLiteral { value: parts.join("."), span: name.span }
        };
        if !self.take_symbol(Symbol::Eq) {
            return Ok(HintArg::Literal(key));
        }
        let value = self.string("a value in quotes")?;
        Ok(HintArg::Pair(OptionPair { key, value }))
    }
}

fn set_alias(kind: &mut TableRefKind, new_alias: TableAlias) {
    match kind {
        TableRefKind::Table { alias, .. }
        | TableRefKind::Derived { alias, .. }
        | TableRefKind::Function { alias, .. }
        | TableRefKind::Unnest { alias, .. } => *alias = Some(new_alias),
        TableRefKind::MatchRecognize(clause) => clause.alias = Some(new_alias),
        TableRefKind::Join(_) | TableRefKind::Parenthesised(_) => {}
    }
}
