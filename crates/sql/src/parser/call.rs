//! Calls: `f(a, DISTINCT b) FILTER (...) OVER (...)`, and the functions of SQL that have a grammar of their own, such as
//! `CAST(a AS INT)`, `TRIM(BOTH ' ' FROM a)` and `JSON_VALUE(a, '$.b' RETURNING INT DEFAULT 0 ON EMPTY)`.
//!
//! A word opens one of these forms only where its bracket follows: `map` and `position_` stay names, `MAP[...]` does not.

use super::ast::{
    AggregateTail, Expr, ExprKind, FunctionArg, FunctionArgValue, FunctionCall, Ident, JsonExistsOnError, JsonOnNull,
    JsonQuery, JsonQueryBehaviour, JsonValue, JsonValueBehaviour, JsonWrapper, ObjectName, Over, TableArg,
    TableArgSource, TrimSide,
};
use super::token::Symbol;
use super::{Parsed, Parser};

impl Parser<'_> {
    /// The form that the word `upper` opens here, or `None` when it opens none.
    pub(super) fn special_form(&mut self, upper: &str) -> Parsed<Option<Expr>> {
        let start = self.here();
        let bracket = self.is_symbol_at(1, Symbol::LeftBracket);
        let paren = self.is_symbol_at(1, Symbol::LeftParen);
        if !bracket && !paren {
            if (upper == "FINAL" || upper == "RUNNING")
                && self.word_at(1).is_some()
                && self.is_symbol_at(2, Symbol::LeftParen)
            {
                self.advance();
                let expr = Box::new(self.prefix_call()?);
                return Ok(Some(self.ended(start, ExprKind::MatchSemantics { is_final: upper == "FINAL", expr })));
            }
            return Ok(None);
        }
        let kind = match (upper, bracket) {
            ("ARRAY", true) => ExprKind::Array(self.collection_items()?),
            ("MULTISET", true) => ExprKind::Multiset(self.collection_items()?),
            ("MAP", true) => self.map_items()?,
            (_, true) => return Ok(None),
            ("ARRAY" | "MULTISET" | "MAP", _) => match self.collection_query(upper)? {
                Some(kind) => kind,
                None => return Ok(None),
            },
            ("EXISTS", _) => {
                self.advance();
                ExprKind::Exists(Box::new(self.in_parens(Self::query)?))
            }
            ("ROW", _) => {
                self.advance();
                let fields = self.in_parens(|parser| {
                    if parser.is_symbol(Symbol::RightParen) { Ok(Vec::new()) } else { parser.comma_list(Self::expr) }
                })?;
                ExprKind::Row { fields, explicit: true }
            }
            ("CAST" | "TRY_CAST", _) => self.form(|parser| {
                let expr = Box::new(parser.expr()?);
                parser.expect_word("AS")?;
                Ok(ExprKind::Cast { expr, data_type: Box::new(parser.data_type()?), try_cast: upper == "TRY_CAST" })
            })?,
            ("EXTRACT", _) => self.form(|parser| {
                let unit = parser.time_unit()?;
                parser.expect_word("FROM")?;
                Ok(ExprKind::Extract { unit, expr: Box::new(parser.expr()?) })
            })?,
            ("POSITION", _) => self.form(Self::position)?,
            ("SUBSTRING", _) => self.form(Self::substring)?,
            ("TRIM", _) => self.form(Self::trim)?,
            ("OVERLAY", _) => self.form(Self::overlay)?,
            ("FLOOR" | "CEIL" | "CEILING", _) => return self.floor_or_ceil(upper).map(Some),
            ("TIMESTAMPADD", _) => self.form(|parser| {
                let unit = parser.time_unit()?;
                parser.expect_symbol(Symbol::Comma)?;
                let amount = Box::new(parser.expr()?);
                parser.expect_symbol(Symbol::Comma)?;
                Ok(ExprKind::TimestampAdd { unit, amount, time: Box::new(parser.expr()?) })
            })?,
            ("TIMESTAMPDIFF", _) => self.form(|parser| {
                let unit = parser.time_unit()?;
                parser.expect_symbol(Symbol::Comma)?;
                let from = Box::new(parser.expr()?);
                parser.expect_symbol(Symbol::Comma)?;
                Ok(ExprKind::TimestampDiff { unit, from, to: Box::new(parser.expr()?) })
            })?,
            ("JSON_VALUE", _) => self.form(Self::json_value)?,
            ("JSON_QUERY", _) => self.form(Self::json_query)?,
            ("JSON_EXISTS", _) => self.form(Self::json_exists)?,
            ("JSON_OBJECT", _) => self.form(|parser| parser.json_object(usize::MAX))?,
            ("JSON_OBJECTAGG", _) => {
                let kind = self.form(|parser| parser.json_object(1))?;
                self.with_tail(kind)?
            }
            ("JSON_ARRAY", _) => self.form(|parser| parser.json_array(usize::MAX))?,
            ("JSON_ARRAYAGG", _) => {
                let kind = self.form(|parser| parser.json_array(1))?;
                self.with_tail(kind)?
            }
            _ => return Ok(None),
        };
        Ok(Some(self.ended(start, kind)))
    }

    /// The word, and something in parentheses.
    fn form(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<ExprKind>) -> Parsed<ExprKind> {
        self.advance();
        self.in_parens(inner)
    }

    /// `[a, b]` behind its word.
    fn collection_items(&mut self) -> Parsed<Vec<Expr>> {
        self.advance();
        self.expect_symbol(Symbol::LeftBracket)?;
        let items = if self.is_symbol(Symbol::RightBracket) { Vec::new() } else { self.comma_list(Self::expr)? };
        self.expect_symbol(Symbol::RightBracket)?;
        Ok(items)
    }

    fn map_items(&mut self) -> Parsed<ExprKind> {
        self.advance();
        self.expect_symbol(Symbol::LeftBracket)?;
        let mut pairs = Vec::new();
        while !self.is_symbol(Symbol::RightBracket) {
            if !pairs.is_empty() {
                self.expect_symbol(Symbol::Comma)?;
            }
            let key = self.expr()?;
            if !self.take_symbol(Symbol::Comma) {
                return Err(self.unexpected("`,` and the value of this key"));
            }
            pairs.push((key, self.expr()?));
        }
        self.advance();
        Ok(ExprKind::Map(pairs))
    }

    fn collection_query(&mut self, upper: &str) -> Parsed<Option<ExprKind>> {
        self.advance();
        if !self.opens_query() {
            self.at -= 1;
            return Ok(None);
        }
        let word = match upper {
            "ARRAY" => "ARRAY",
            "MAP" => "MAP",
            _ => "MULTISET",
        };
        let query = Box::new(self.in_parens(Self::query)?);
        Ok(Some(ExprKind::CollectionQuery { word, query }))
    }

    // ------------------------------------------------------------ strings and times

    fn position(&mut self) -> Parsed<ExprKind> {
        let needle = Box::new(self.operand()?);
        self.expect_word("IN")?;
        let haystack = Box::new(self.expr()?);
        let from = if self.take_word("FROM") { Some(Box::new(self.expr()?)) } else { None };
        Ok(ExprKind::Position { needle, haystack, from })
    }

    fn substring(&mut self) -> Parsed<ExprKind> {
        let expr = Box::new(self.expr()?);
        let with_commas = self.take_symbol(Symbol::Comma);
        if !with_commas && !self.take_word("FROM") {
            return Err(self.unexpected("FROM or `,` and the first character's position"));
        }
        let from = Box::new(self.expr()?);
        let more = if with_commas { self.take_symbol(Symbol::Comma) } else { self.take_word("FOR") };
        let length = if more { Some(Box::new(self.expr()?)) } else { None };
        Ok(ExprKind::Substring { expr, from, length })
    }

    fn trim(&mut self) -> Parsed<ExprKind> {
        let (side, said) = if self.take_word("LEADING") {
            (TrimSide::Leading, true)
        } else if self.take_word("TRAILING") {
            (TrimSide::Trailing, true)
        } else {
            (TrimSide::Both, self.take_word("BOTH"))
        };
        if said && self.take_word("FROM") {
            return Ok(ExprKind::Trim { side, chars: None, expr: Box::new(self.expr()?) });
        }
        let first = Box::new(self.expr()?);
        if self.take_word("FROM") {
            return Ok(ExprKind::Trim { side, chars: Some(first), expr: Box::new(self.expr()?) });
        }
        if said {
            return Err(self.unexpected("FROM and the string to trim"));
        }
        Ok(ExprKind::Trim { side, chars: None, expr: first })
    }

    fn overlay(&mut self) -> Parsed<ExprKind> {
        let expr = Box::new(self.expr()?);
        self.expect_word("PLACING")?;
        let replacement = Box::new(self.expr()?);
        self.expect_word("FROM")?;
        let from = Box::new(self.expr()?);
        let length = if self.take_word("FOR") { Some(Box::new(self.expr()?)) } else { None };
        Ok(ExprKind::Overlay { expr, replacement, from, length })
    }

    /// `FLOOR(a TO DAY)`, or the plain call `FLOOR(a)`.
    fn floor_or_ceil(&mut self, upper: &str) -> Parsed<Expr> {
        let name = self.word_as_name();
        let start = name.span;
        let (args, unit) = self.in_parens(|parser| {
            let args = parser.comma_list(Self::argument)?;
            let unit = if parser.take_word("TO") { Some(parser.time_unit()?) } else { None };
            Ok((args, unit))
        })?;
        let Some(unit) = unit else {
            let name = ObjectName { span: name.span, parts: vec![name] };
            let tail = AggregateTail::default();
            let call = FunctionCall { name, args, bare: false, distinct: false, tail, span: self.since(start) };
            return Ok(self.ended(start, ExprKind::Function(Box::new(call))));
        };
        let mut args = args;
        match args.pop() {
            Some(FunctionArg { name: None, value: FunctionArgValue::Expr(expr), .. }) if args.is_empty() => {
                Ok(self.ended(start, ExprKind::RoundTime { ceil: upper != "FLOOR", expr: Box::new(expr), unit }))
            }
            _ => Err(self.unexpected("one time before TO")),
        }
    }

    // ------------------------------------------------------------ JSON

    fn json_input_and_path(&mut self) -> Parsed<(Expr, Expr)> {
        let input = self.expr()?;
        self.expect_symbol(Symbol::Comma)?;
        Ok((input, self.expr()?))
    }

    fn json_value(&mut self) -> Parsed<ExprKind> {
        let (input, path) = self.json_input_and_path()?;
        let returning = if self.take_word("RETURNING") { Some(self.data_type()?) } else { None };
        let (mut on_empty, mut on_error) = (None, None);
        while !self.is_symbol(Symbol::RightParen) {
            let start = self.here();
            let behaviour = if self.take_word("NULL") {
                JsonValueBehaviour::Null
            } else if self.take_word("ERROR") {
                JsonValueBehaviour::Error
            } else if self.take_word("DEFAULT") {
                JsonValueBehaviour::Default(self.expr()?)
            } else {
                return Err(self.unexpected("`)`, RETURNING, or NULL, ERROR or DEFAULT with ON EMPTY or ON ERROR"));
            };
            let slot = if self.on_empty()? { &mut on_empty } else { &mut on_error };
            if slot.replace(behaviour).is_some() {
                return Err(self.twice("this clause", self.since(start)));
            }
        }
        Ok(ExprKind::JsonValue(Box::new(JsonValue { input, path, returning, on_empty, on_error })))
    }

    /// `ON EMPTY` is true, `ON ERROR` false.
    fn on_empty(&mut self) -> Parsed<bool> {
        self.expect_word("ON")?;
        if self.take_word("EMPTY") {
            return Ok(true);
        }
        if self.take_word("ERROR") { Ok(false) } else { Err(self.unexpected("EMPTY or ERROR")) }
    }

    fn json_query(&mut self) -> Parsed<ExprKind> {
        let (input, path) = self.json_input_and_path()?;
        let returning = if self.take_word("RETURNING") { Some(self.data_type()?) } else { None };
        let wrapper = self.json_wrapper()?;
        let (mut on_empty, mut on_error) = (None, None);
        while !self.is_symbol(Symbol::RightParen) {
            let start = self.here();
            let behaviour = if self.take_word("NULL") {
                JsonQueryBehaviour::Null
            } else if self.take_word("ERROR") {
                JsonQueryBehaviour::Error
            } else if self.take_words(&["EMPTY", "ARRAY"]) {
                JsonQueryBehaviour::EmptyArray
            } else if self.take_words(&["EMPTY", "OBJECT"]) {
                JsonQueryBehaviour::EmptyObject
            } else {
                return Err(self.unexpected(
                    "`)`, a WRAPPER clause, or NULL, ERROR, EMPTY ARRAY or EMPTY OBJECT with ON EMPTY or ON ERROR",
                ));
            };
            let slot = if self.on_empty()? { &mut on_empty } else { &mut on_error };
            if slot.replace(behaviour).is_some() {
                return Err(self.twice("this clause", self.since(start)));
            }
        }
        Ok(ExprKind::JsonQuery(Box::new(JsonQuery { input, path, returning, wrapper, on_empty, on_error })))
    }

    fn json_wrapper(&mut self) -> Parsed<Option<JsonWrapper>> {
        let wrapper = if self.take_word("WITHOUT") {
            JsonWrapper::Without
        } else if self.take_word("WITH") {
            if self.take_word("CONDITIONAL") {
                JsonWrapper::Conditional
            } else {
                self.take_word("UNCONDITIONAL");
                JsonWrapper::Unconditional
            }
        } else {
            return Ok(None);
        };
        self.take_word("ARRAY");
        self.expect_word("WRAPPER")?;
        Ok(Some(wrapper))
    }

    fn json_exists(&mut self) -> Parsed<ExprKind> {
        let (input, path) = self.json_input_and_path()?;
        let mut on_error = None;
        if !self.is_symbol(Symbol::RightParen) {
            on_error = Some(if self.take_word("TRUE") {
                JsonExistsOnError::True
            } else if self.take_word("FALSE") {
                JsonExistsOnError::False
            } else if self.take_word("UNKNOWN") {
                JsonExistsOnError::Unknown
            } else if self.take_word("ERROR") {
                JsonExistsOnError::Error
            } else {
                return Err(self.unexpected("`)`, or TRUE, FALSE, UNKNOWN or ERROR with ON ERROR"));
            });
            self.expect_words(&["ON", "ERROR"])?;
        }
        Ok(ExprKind::JsonExists { input: Box::new(input), path: Box::new(path), on_error })
    }

    /// `KEY k VALUE v, ...`, at most so many pairs.
    fn json_object(&mut self, entries_max: usize) -> Parsed<ExprKind> {
        let mut entries = Vec::new();
        while !self.is_symbol(Symbol::RightParen) && !self.at_on_null() {
            if !entries.is_empty() {
                if entries.len() == entries_max {
                    return Err(self.unexpected("`)`, NULL ON NULL or ABSENT ON NULL"));
                }
                self.expect_symbol(Symbol::Comma)?;
            }
            // KEY is no reserved word: where VALUE follows, it is itself the key.
            if self.is_word("KEY")
                && !self.is_word_at(1, "VALUE")
                && !self.is_symbol_at(1, Symbol::Colon)
                && !self.is_symbol_at(1, Symbol::Dot)
            {
                self.advance();
            }
            let key = self.expr()?;
            if !self.take_word("VALUE") && !self.take_symbol(Symbol::Colon) {
                return Err(self.unexpected("VALUE and the value of this key"));
            }
            entries.push((key, self.expr()?));
        }
        let on_null = self.json_on_null()?;
        Ok(ExprKind::JsonObject { entries, on_null, aggregate: None })
    }

    fn json_array(&mut self, elements_max: usize) -> Parsed<ExprKind> {
        let mut elements = Vec::new();
        while !self.is_symbol(Symbol::RightParen) && !self.at_on_null() {
            if !elements.is_empty() {
                if elements.len() == elements_max {
                    return Err(self.unexpected("`)`, NULL ON NULL or ABSENT ON NULL"));
                }
                self.expect_symbol(Symbol::Comma)?;
            }
            elements.push(self.expr()?);
        }
        let on_null = self.json_on_null()?;
        Ok(ExprKind::JsonArray { elements, on_null, aggregate: None })
    }

    fn at_on_null(&self) -> bool {
        self.is_words(&["NULL", "ON", "NULL"]) || self.is_words(&["ABSENT", "ON", "NULL"])
    }

    fn json_on_null(&mut self) -> Parsed<Option<JsonOnNull>> {
        if self.take_words(&["NULL", "ON", "NULL"]) {
            Ok(Some(JsonOnNull::Null))
        } else if self.take_words(&["ABSENT", "ON", "NULL"]) {
            Ok(Some(JsonOnNull::Absent))
        } else {
            Ok(None)
        }
    }

    /// Adds FILTER and OVER to a JSON aggregate.
    fn with_tail(&mut self, mut kind: ExprKind) -> Parsed<ExprKind> {
        let mut tail = AggregateTail::default();
        self.aggregate_tail(&mut tail)?;
        if let ExprKind::JsonObject { aggregate, .. } | ExprKind::JsonArray { aggregate, .. } = &mut kind {
            *aggregate = Some(Box::new(tail));
        }
        Ok(kind)
    }

    // ------------------------------------------------------------ plain calls

    /// A call that must follow FINAL or RUNNING.
    fn prefix_call(&mut self) -> Parsed<Expr> {
        let start = self.here();
        let call = self.call_of_word()?;
        Ok(self.ended(start, ExprKind::Function(Box::new(call))))
    }

    /// A call by a single word, reserved or not, with or without parentheses.
    pub(super) fn call_of_word(&mut self) -> Parsed<FunctionCall> {
        let word = self.word_as_name();
        let name = ObjectName { span: word.span, parts: vec![word] };
        if self.is_symbol(Symbol::LeftParen) {
            return self.call_after(name);
        }
        let span = name.span;
        Ok(FunctionCall { name, args: Vec::new(), bare: true, distinct: false, tail: AggregateTail::default(), span })
    }

    /// The rest of a call whose name was read.
    pub(super) fn call_after(&mut self, name: ObjectName) -> Parsed<FunctionCall> {
        let start = name.span;
        let mut tail = AggregateTail::default();
        self.expect_symbol(Symbol::LeftParen)?;
        let distinct = self.take_word("DISTINCT");
        if !distinct {
            self.take_word("ALL");
        }
        let args = if self.is_symbol(Symbol::RightParen) { Vec::new() } else { self.comma_list(Self::argument)? };
        if self.is_word("ORDER") {
            tail.order_by = self.order_by()?;
        }
        tail.ignore_nulls = self.null_treatment();
        if !self.take_symbol(Symbol::RightParen) {
            return Err(self.unexpected("`,` or `)` of this call"));
        }
        self.aggregate_tail(&mut tail)?;
        Ok(FunctionCall { name, args, bare: false, distinct, tail, span: self.since(start) })
    }

    fn null_treatment(&mut self) -> Option<bool> {
        if self.take_words(&["IGNORE", "NULLS"]) {
            Some(true)
        } else if self.take_words(&["RESPECT", "NULLS"]) {
            Some(false)
        } else {
            None
        }
    }

    fn aggregate_tail(&mut self, tail: &mut AggregateTail) -> Parsed<()> {
        if self.take_words(&["WITHIN", "GROUP"]) {
            tail.order_by = self.in_parens(Self::order_by)?;
        }
        if let Some(ignore_nulls) = self.null_treatment() {
            tail.ignore_nulls = Some(ignore_nulls);
        }
        if self.is_word("FILTER") && self.is_symbol_at(1, Symbol::LeftParen) {
            self.advance();
            tail.filter = Some(self.in_parens(|parser| {
                parser.expect_word("WHERE")?;
                parser.expr()
            })?);
        }
        if self.take_word("OVER") {
            tail.over = Some(if self.is_symbol(Symbol::LeftParen) {
                Over::Spec(self.window_spec()?)
            } else {
                Over::Named(self.name("`(` or the name of a window")?)
            });
        }
        Ok(())
    }

    /// One argument: `a`, `*`, `name => a`, `TABLE t PARTITION BY k`, `DESCRIPTOR(ts)`.
    fn argument(&mut self) -> Parsed<FunctionArg> {
        let start = self.here();
        let mut name: Option<Ident> = None;
        if self.is_symbol_at(1, Symbol::Arrow) {
            // Some of Flink's parameter names are reserved words elsewhere.
            name = Some(if self.word_at(0).is_some() { self.word_as_name() } else { self.name("a parameter's name")? });
            self.advance();
        }
        let value = if self.is_symbol(Symbol::Star) {
            self.advance();
            FunctionArgValue::Star
        } else if self.is_word("TABLE") {
            FunctionArgValue::Table(self.table_argument()?)
        } else if self.is_word("DESCRIPTOR") && self.is_symbol_at(1, Symbol::LeftParen) {
            self.advance();
            FunctionArgValue::Descriptor(self.name_list("a column name")?)
        } else if self.opens_query() {
            self.query_argument()?
        } else {
            FunctionArgValue::Expr(self.expr()?)
        };
        Ok(FunctionArg { name, value, span: self.since(start) })
    }

    /// `(query)`, which is a table when PARTITION BY or ORDER BY follows, else an expression that may go on.
    fn query_argument(&mut self) -> Parsed<FunctionArgValue> {
        let after = self.partners[self.at] + 1;
        let is_table = self.partners[self.at] != 0
            && self.tokens.get(after).is_some_and(|token| {
                let text = token.span.text(self.source);
                text.eq_ignore_ascii_case("PARTITION") || text.eq_ignore_ascii_case("ORDER")
            });
        if !is_table {
            return Ok(FunctionArgValue::Expr(self.expr()?));
        }
        let start = self.here();
        let source = TableArgSource::Query(Box::new(self.in_parens(Self::query)?));
        let table = self.table_argument_tail(source, start)?;
        Ok(FunctionArgValue::Table(table))
    }

    fn table_argument(&mut self) -> Parsed<TableArg> {
        let start = self.here();
        self.advance();
        let source = if self.opens_query() {
            TableArgSource::Query(Box::new(self.in_parens(Self::query)?))
        } else if self.is_symbol(Symbol::LeftParen) {
            let call = self.in_parens(|parser| {
                let name = parser.object_name("a query or a table function")?;
                parser.call_after(name)
            })?;
            TableArgSource::Function(Box::new(call))
        } else {
            let name = self.object_name("a table name")?;
            if self.is_symbol(Symbol::LeftParen) {
                TableArgSource::Function(Box::new(self.call_after(name)?))
            } else {
                let hints = self.hints()?;
                TableArgSource::Name(name, hints)
            }
        };
        self.table_argument_tail(source, start)
    }

    fn table_argument_tail(
        &mut self,
        source: TableArgSource,
        start: wiesel_core::diagnostic::Span,
    ) -> Parsed<TableArg> {
        let mut partition_by = Vec::new();
        if self.take_words(&["PARTITION", "BY"]) {
            partition_by = self.partition_argument()?;
        }
        let order_by = if self.is_word("ORDER") { self.order_by()? } else { Vec::new() };
        Ok(TableArg { source, partition_by, order_by, span: self.since(start) })
    }

    /// `PARTITION BY a, b` of an argument ends where the next argument begins: at a comma that DESCRIPTOR, TABLE, a named argument or
    /// a value follows. Columns alone can be partition keys, so a comma goes on only before a name that is not called.
    fn partition_argument(&mut self) -> Parsed<Vec<Expr>> {
        if self.is_symbol(Symbol::LeftParen) {
            return self.in_parens(|parser| parser.comma_list(Self::expr));
        }
        let mut columns = vec![self.expr()?];
        while self.is_symbol(Symbol::Comma) && self.is_name_at(1) {
            let ends_argument = self.is_symbol_at(2, Symbol::Arrow) || self.is_symbol_at(2, Symbol::LeftParen);
            if ends_argument {
                break;
            }
            self.advance();
            columns.push(self.expr()?);
        }
        Ok(columns)
    }
}
