//! CREATE, ALTER and DROP: tables with their columns, watermarks and keys, views, functions, catalogs and databases.
//!
//! A broken column or option does not hide the next one: its error is recorded and reading goes on behind the next comma of
//! the same level.

use wiesel_core::diagnostic::{Diagnostic, Span, nearest};

use super::ast::{
    AlterCatalog, AlterSchema, AlterTable, AlterTableAction, AlterView, Column, ColumnKind, ColumnPosition,
    CreateCatalog, CreateDatabase, CreateFunction, CreateTable, CreateView, Distribution, Drop, Enforcement,
    FunctionDefinition, FunctionLanguage, FunctionResource, Ident, LikeClause, LikeFeature, LikeRule, LikeStrategy,
    ObjectKind, OptionPair, PrimaryKey, SqlFunction, StatementKind, StringLiteral, Watermark,
};
use super::token::Symbol;
use super::{Parsed, Parser};

/// The most buckets of a DISTRIBUTED BY clause.
const BUCKETS_MAX: u32 = 2_147_483_647;

/// The clauses behind a table's columns, in the order that Flink's grammar has them.
const TABLE_CLAUSES: &[&str] = &["COMMENT", "DISTRIBUTED", "PARTITIONED", "WITH", "LIKE", "AS"];

/// What stands between the parentheses of a CREATE TABLE or an ALTER TABLE ADD.
#[derive(Default)]
struct TableItems {
    columns: Vec<(Column, ColumnPosition)>,
    watermark: Option<Watermark>,
    primary_key: Option<PrimaryKey>,
}

impl Parser<'_> {
    pub(super) fn create(&mut self) -> Parsed<StatementKind> {
        let start = self.here();
        let mut replace = self.take_word("REPLACE");
        if !replace {
            self.advance();
            replace = self.take_words(&["OR", "REPLACE"]);
        }
        let temporary = self.take_word("TEMPORARY");
        let system = temporary && self.take_word("SYSTEM");
        let head = self.since(start);
        if system && !self.is_word("FUNCTION") {
            return Err(self.unexpected("FUNCTION"));
        }
        if self.take_word("TABLE") {
            return self.create_table(temporary, replace);
        }
        if self.take_word("VIEW") {
            return self.create_view(temporary, replace);
        }
        if replace {
            return Err(self.unexpected("TABLE or VIEW"));
        }
        if self.take_word("FUNCTION") {
            return self.create_function(temporary, system, true).map(StatementKind::CreateFunction);
        }
        if temporary {
            return Err(self.unexpected("TABLE, VIEW, FUNCTION or SYSTEM FUNCTION"));
        }
        if self.take_word("CATALOG") {
            return self.create_catalog();
        }
        if self.take_word("DATABASE") {
            return self.create_database();
        }
        let error =
            self.unexpected(&format!("TABLE, VIEW, FUNCTION, CATALOG or DATABASE after {}", head.text(self.source)));
        let word = self.word_at(0).unwrap_or("");
        Err(Box::new(error.did_you_mean(word, ["TABLE", "VIEW", "FUNCTION", "CATALOG", "DATABASE", "TEMPORARY"])))
    }

    fn if_not_exists(&mut self) -> bool {
        self.take_words(&["IF", "NOT", "EXISTS"])
    }

    fn comment(&mut self) -> Parsed<Option<StringLiteral>> {
        if self.take_word("COMMENT") { Ok(Some(self.string("a comment in quotes")?)) } else { Ok(None) }
    }

    // ------------------------------------------------------------ tables

    fn create_table(&mut self, temporary: bool, replace: bool) -> Parsed<StatementKind> {
        let if_not_exists = self.if_not_exists();
        let name = self.object_name("a table name")?;
        let items = if self.is_symbol(Symbol::LeftParen) { self.table_items()? } else { TableItems::default() };
        if let Some((column, _)) = items.columns.iter().find(|(_, position)| *position != ColumnPosition::Unsaid) {
            let error = Diagnostic::error("W0101", "FIRST and AFTER are not known in CREATE TABLE").at(column.span);
            return Err(Box::new(error.label("expected no place behind this column")));
        }
        let here = Span::new(self.behind().end, self.behind().end);
        let mut table = CreateTable {
            temporary,
            if_not_exists,
            replace,
            name,
            columns: items.columns.into_iter().map(|(column, _)| column).collect(),
            watermark: items.watermark,
            primary_key: items.primary_key,
            comment: None,
            distribution: None,
            partitioned_by: Vec::new(),
            options: Vec::new(),
            options_span: here,
            like: None,
            as_query: None,
        };
        self.table_clauses(&mut table)?;
        if replace && table.as_query.is_none() {
            return Err(self.unexpected("AS and a query: REPLACE TABLE takes its rows from one"));
        }
        Ok(StatementKind::CreateTable(Box::new(table)))
    }

    fn table_clauses(&mut self, table: &mut CreateTable) -> Parsed<()> {
        let mut last_rank = None;
        while let Some(rank) = TABLE_CLAUSES.iter().position(|word| self.is_word(word)) {
            let start = self.here();
            if last_rank == Some(rank) {
                return Err(self.twice(TABLE_CLAUSES[rank], start));
            }
            if let Some(last) = last_rank.filter(|last| *last > rank) {
                let message = format!("{} after {}", TABLE_CLAUSES[rank], TABLE_CLAUSES[last]);
                let label =
                    "expected the clauses in their order: COMMENT, DISTRIBUTED BY, PARTITIONED BY, WITH, LIKE or AS";
                return Err(Box::new(Diagnostic::error("W0101", message).at(start).label(label)));
            }
            last_rank = Some(rank);
            match TABLE_CLAUSES[rank] {
                "COMMENT" => table.comment = self.comment()?,
                "DISTRIBUTED" => {
                    self.advance();
                    table.distribution = Some(self.distribution(start)?);
                }
                "PARTITIONED" => {
                    self.advance();
                    self.expect_word("BY")?;
                    table.partitioned_by = self.name_list("a column name")?;
                }
                "WITH" => {
                    self.advance();
                    table.options = self.options()?;
                    table.options_span = self.since(start);
                }
                "LIKE" => table.like = Some(self.like_clause()?),
                _ => {
                    self.advance();
                    table.as_query = Some(Box::new(self.query()?));
                    return Ok(());
                }
            }
        }
        if !self.at_end() && !self.is_symbol(Symbol::Semicolon) {
            let mut error = self.unexpected_after(
                "COMMENT, PARTITIONED BY, WITH, LIKE, AS, or the end of the statement",
                TABLE_CLAUSES,
            );
            self.hint_missing_semicolon(&mut error);
            return Err(error);
        }
        Ok(())
    }

    /// `(columns, watermark, key)`; goes on behind an item that is wrong.
    fn table_items(&mut self) -> Parsed<TableItems> {
        let mut items = TableItems::default();
        self.recovering_list("a column, WATERMARK, or PRIMARY KEY", |parser| parser.table_item(&mut items))?;
        Ok(items)
    }

    /// `(item, item)` where a wrong item is recorded and skipped.
    fn recovering_list(&mut self, what: &str, mut item: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        self.expect_symbol(Symbol::LeftParen)?;
        loop {
            let start = self.at;
            let result = item(self).and_then(|()| {
                let ended = self.is_symbol(Symbol::Comma) || self.is_symbol(Symbol::RightParen);
                if ended { Ok(()) } else { Err(self.unexpected_in_list(what)) }
            });
            if let Err(error) = result {
                let reached = self.at;
                self.at = start;
                self.skip_item();
                if !self.is_symbol(Symbol::Comma) && !self.is_symbol(Symbol::RightParen) {
                    // The list never ends, or not before the statement does: one error says enough.
                    self.at = reached;
                    return Err(error);
                }
                self.record(error)?;
                self.tree_depth = 0;
            }
            if !self.take_symbol(Symbol::Comma) {
                return self.expect_symbol(Symbol::RightParen);
            }
        }
    }

    /// An item of a list goes on where it should have ended.
    fn unexpected_in_list(&self, what: &str) -> Box<Diagnostic> {
        let mut error = self.unexpected(&format!("`,` and {what}, or `)`"));
        let found = self.here().text(self.source);
        let line_break = Span::new(self.behind().end, self.here().start).text(self.source).contains('\n');
        if let Some(word) = self.word_at(0).and_then(|word| nearest(word, ["FROM", "VIRTUAL", "METADATA", "COMMENT"])) {
            error.hint = Some(format!("did you mean `{word}`?"));
        } else if line_break && error.code == "W0101" && !self.at_end() {
            error.hint = Some(format!("is a `,` missing before `{found}`?"));
        }
        error
    }

    fn table_item(&mut self, items: &mut TableItems) -> Parsed<()> {
        let start = self.here();
        if self.is_word("WATERMARK") {
            let watermark = self.watermark()?;
            if items.watermark.replace(watermark).is_some() {
                return Err(self.twice("WATERMARK", self.since(start)));
            }
            return Ok(());
        }
        if self.is_one_of(&["PRIMARY", "UNIQUE", "CONSTRAINT"]) {
            let key = self.constraint(None)?;
            return self.keep_key(items, key);
        }
        let name = self.name("a column name, WATERMARK, or PRIMARY KEY")?;
        let mut key = None;
        let mut comment = None;
        let kind = if self.take_word("AS") {
            ColumnKind::Computed(self.expr()?)
        } else if self.is_symbol(Symbol::Comma) || self.is_symbol(Symbol::RightParen) {
            ColumnKind::Bare
        } else {
            let data_type = self.data_type()?;
            if self.take_word("METADATA") {
                let metadata_key =
                    if self.take_word("FROM") { Some(self.string("a metadata key in quotes")?) } else { None };
                ColumnKind::Metadata { data_type, key: metadata_key, is_virtual: self.take_word("VIRTUAL") }
            } else {
                if self.is_one_of(&["PRIMARY", "UNIQUE", "CONSTRAINT"]) {
                    key = Some(self.constraint(Some(&name))?);
                }
                ColumnKind::Physical(data_type)
            }
        };
        if self.is_word("COMMENT") {
            comment = self.comment()?;
        }
        if key.is_none()
            && self.is_one_of(&["PRIMARY", "UNIQUE", "CONSTRAINT"])
            && matches!(kind, ColumnKind::Physical(_))
        {
            let error = self.unexpected("`,` or `)`");
            return Err(Box::new(error.hint("PRIMARY KEY stands before COMMENT")));
        }
        let span = self.since(start);
        let position = self.column_position()?;
        items.columns.push((Column { name, kind, comment, span }, position));
        match key {
            Some(key) => self.keep_key(items, key),
            None => Ok(()),
        }
    }

    fn keep_key(&mut self, items: &mut TableItems, key: PrimaryKey) -> Parsed<()> {
        let span = key.span;
        if items.primary_key.replace(key).is_some() { Err(self.twice("the primary key", span)) } else { Ok(()) }
    }

    /// `FIRST` or `AFTER a` of an ALTER TABLE; a CREATE TABLE has no use for it and refuses it by the comma that is missing.
    fn column_position(&mut self) -> Parsed<ColumnPosition> {
        if self.take_word("FIRST") {
            Ok(ColumnPosition::First)
        } else if self.take_word("AFTER") {
            Ok(ColumnPosition::After(self.name("a column name")?))
        } else {
            Ok(ColumnPosition::Unsaid)
        }
    }

    fn watermark(&mut self) -> Parsed<Watermark> {
        let start = self.here();
        self.advance();
        self.expect_word("FOR")?;
        let column = self.object_name("the row-time column")?;
        self.expect_word("AS")?;
        let expr = self.expr()?;
        Ok(Watermark { column, expr, span: self.since(start) })
    }

    /// `[CONSTRAINT c] PRIMARY KEY [(a, b)] [[NOT] ENFORCED]`; at a column, the column is the key.
    fn constraint(&mut self, column: Option<&Ident>) -> Parsed<PrimaryKey> {
        let start = self.here();
        let name = if self.take_word("CONSTRAINT") { Some(self.name("a name for this constraint")?) } else { None };
        let unique = self.take_word("UNIQUE");
        if !unique {
            self.expect_words(&["PRIMARY", "KEY"])?;
        }
        let columns = match column {
            Some(column) => vec![column.clone()],
            None => self.name_list("a column name")?,
        };
        let enforcement = if self.take_words(&["NOT", "ENFORCED"]) {
            Enforcement::NotEnforced
        } else if self.take_word("ENFORCED") {
            Enforcement::Enforced
        } else {
            Enforcement::Unsaid
        };
        Ok(PrimaryKey { name, columns, enforcement, unique, span: self.since(start) })
    }

    /// Behind DISTRIBUTED, or behind DISTRIBUTION of an ALTER TABLE.
    fn distribution(&mut self, start: Span) -> Parsed<Distribution> {
        let mut kind = None;
        let mut columns = Vec::new();
        if self.take_word("BY") {
            if self.is_one_of(&["HASH", "RANGE"]) {
                kind = Some(self.word_as_name());
            }
            columns = self.name_list("a column name")?;
        }
        let mut buckets = None;
        if self.take_word("INTO") {
            buckets = Some(self.integer("a number of buckets", 1..=BUCKETS_MAX)?);
            self.expect_word("BUCKETS")?;
        } else if columns.is_empty() {
            return Err(self.unexpected("BY and columns, or INTO n BUCKETS"));
        }
        Ok(Distribution { kind, columns, buckets, span: self.since(start) })
    }

    /// `('k' = 'v', ...)`; goes on behind a pair that is wrong.
    pub(super) fn options(&mut self) -> Parsed<Vec<OptionPair>> {
        let mut options = Vec::new();
        if self.is_symbol(Symbol::LeftParen) && self.is_symbol_at(1, Symbol::RightParen) {
            self.at += 2;
            return Ok(options);
        }
        self.recovering_list("another option", |parser| {
            let key = match parser.string("an option's key in quotes") {
                Ok(key) => key,
                Err(mut error) => {
                    if let Some(word) = parser.word_at(0) {
                        error.hint = Some(format!("keys and values stand in single quotes: '{word}' = '...'"));
                    }
                    return Err(error);
                }
            };
            parser.expect_symbol(Symbol::Eq)?;
            let value = match parser.string("the option's value in quotes") {
                Ok(value) => value,
                Err(mut error) => {
                    if parser.word_at(0).is_some() || *parser.kind() == super::token::TokenKind::Number {
                        error.hint =
                            Some(format!("values stand in single quotes: '{}'", parser.here().text(parser.source)));
                    }
                    return Err(error);
                }
            };
            options.push(OptionPair { key, value });
            Ok(())
        })?;
        Ok(options)
    }

    fn like_clause(&mut self) -> Parsed<LikeClause> {
        let start = self.here();
        self.advance();
        let source = self.object_name("a table name")?;
        let mut rules = Vec::new();
        if self.take_symbol(Symbol::LeftParen) {
            while !self.take_symbol(Symbol::RightParen) {
                rules.push(self.like_rule()?);
            }
        }
        Ok(LikeClause { source, rules, span: self.since(start) })
    }

    fn like_rule(&mut self) -> Parsed<LikeRule> {
        const FEATURES: &[(&str, LikeFeature)] = &[
            ("ALL", LikeFeature::All),
            ("CONSTRAINTS", LikeFeature::Constraints),
            ("DISTRIBUTION", LikeFeature::Distribution),
            ("GENERATED", LikeFeature::Generated),
            ("METADATA", LikeFeature::Metadata),
            ("OPTIONS", LikeFeature::Options),
            ("PARTITIONS", LikeFeature::Partitions),
            ("WATERMARKS", LikeFeature::Watermarks),
        ];
        let start = self.here();
        let strategy = if self.take_word("INCLUDING") {
            LikeStrategy::Including
        } else if self.take_word("EXCLUDING") {
            LikeStrategy::Excluding
        } else if self.take_word("OVERWRITING") {
            LikeStrategy::Overwriting
        } else {
            return Err(self.unexpected("INCLUDING, EXCLUDING, OVERWRITING or `)`"));
        };
        let Some((_, feature)) = FEATURES.iter().find(|(word, _)| self.is_word(word)) else {
            return Err(self
                .unexpected("ALL, CONSTRAINTS, DISTRIBUTION, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS"));
        };
        self.advance();
        let span = self.since(start);
        let overwritable = matches!(
            feature,
            LikeFeature::Generated | LikeFeature::Metadata | LikeFeature::Options | LikeFeature::Watermarks
        );
        if strategy == LikeStrategy::Overwriting && !overwritable {
            let error =
                Diagnostic::error("W0101", format!("{} is not known", span.text(self.source).to_uppercase())).at(span);
            return Err(Box::new(error.label("expected OVERWRITING GENERATED, METADATA, OPTIONS or WATERMARKS")));
        }
        Ok(LikeRule { strategy, feature: *feature, span })
    }

    // ------------------------------------------------------------ views, functions, catalogs, databases

    fn create_view(&mut self, temporary: bool, replace: bool) -> Parsed<StatementKind> {
        let if_not_exists = self.if_not_exists();
        let name = self.object_name("a view name")?;
        let columns = if self.is_symbol(Symbol::LeftParen) { self.name_list("a column name")? } else { Vec::new() };
        let comment = self.comment()?;
        if !self.take_word("AS") {
            return Err(self.unexpected("AS and the view's query"));
        }
        let query = Box::new(self.query()?);
        Ok(StatementKind::CreateView(Box::new(CreateView {
            temporary,
            if_not_exists,
            replace,
            name,
            columns,
            comment,
            query,
        })))
    }

    /// Behind FUNCTION, of a CREATE or an ALTER.
    fn create_function(&mut self, temporary: bool, system: bool, create: bool) -> Parsed<CreateFunction> {
        let if_not_exists = if create { self.if_not_exists() } else { self.take_words(&["IF", "EXISTS"]) };
        let name = self.object_name("a function name")?;
        let definition = if create && self.is_symbol(Symbol::LeftParen) {
            FunctionDefinition::Sql(Box::new(self.sql_function()?))
        } else {
            if !self.take_word("AS") {
                return Err(self.unexpected(if create {
                    "AS and a class, or the parameters in parentheses"
                } else {
                    "AS"
                }));
            }
            self.function_class()?
        };
        Ok(CreateFunction { temporary, system, if_not_exists, name, definition })
    }

    /// Behind AS: Flink's form of a function.
    fn function_class(&mut self) -> Parsed<FunctionDefinition> {
        let class = self.string("the function's class or module in quotes")?;
        let mut language = FunctionLanguage::Java;
        let mut language_span = None;
        if self.take_word("LANGUAGE") {
            language_span = Some(self.here());
            language = if self.take_word("JAVA") {
                FunctionLanguage::Java
            } else if self.take_word("SCALA") {
                FunctionLanguage::Scala
            } else if self.take_word("PYTHON") {
                FunctionLanguage::Python
            } else {
                return Err(self.unexpected("JAVA, SCALA or PYTHON"));
            };
        }
        let mut using = Vec::new();
        if self.take_word("USING") {
            using = self.comma_list(|parser| {
                if !parser.is_one_of(&["JAR", "FILE", "ARCHIVE"]) {
                    return Err(parser.unexpected("JAR and a path"));
                }
                let kind = parser.word_as_name();
                Ok(FunctionResource { kind, path: parser.string("a path in quotes")? })
            })?;
        }
        Ok(FunctionDefinition::Class { class, language, language_span, using })
    }

    /// At the parameters: the SQL standard's form of a function.
    fn sql_function(&mut self) -> Parsed<SqlFunction> {
        self.expect_symbol(Symbol::LeftParen)?;
        let mut parameters = Vec::new();
        if !self.is_symbol(Symbol::RightParen) {
            parameters = self.comma_list(|parser| Ok((parser.name("a parameter's name")?, parser.data_type()?)))?;
        }
        self.expect_symbol(Symbol::RightParen)?;
        self.expect_word("RETURNS")?;
        let returns = self.data_type()?;
        let mut deterministic = None;
        loop {
            let here = self.here();
            if self.take_words(&["LANGUAGE", "SQL"]) || self.take_words(&["NOT", "DETERMINISTIC"]) {
                continue;
            }
            if !self.take_word("DETERMINISTIC") {
                break;
            }
            deterministic = Some(here);
        }
        if !self.take_word("RETURN") {
            return Err(self.unexpected("RETURN and an expression"));
        }
        Ok(SqlFunction { parameters, returns, deterministic, body: self.expr()? })
    }

    fn create_catalog(&mut self) -> Parsed<StatementKind> {
        let if_not_exists = self.if_not_exists();
        let name = self.name("a catalog name")?;
        let comment = self.comment()?;
        let start = self.here();
        let options = if self.take_word("WITH") { self.options()? } else { Vec::new() };
        let options_span =
            if options.is_empty() { Span::new(self.behind().end, self.behind().end) } else { self.since(start) };
        Ok(StatementKind::CreateCatalog(CreateCatalog { if_not_exists, name, comment, options, options_span }))
    }

    fn create_database(&mut self) -> Parsed<StatementKind> {
        let if_not_exists = self.if_not_exists();
        let name = self.object_name("a database name")?;
        let comment = self.comment()?;
        let options = if self.take_word("WITH") { self.options()? } else { Vec::new() };
        Ok(StatementKind::CreateDatabase(CreateDatabase { if_not_exists, name, comment, options }))
    }

    pub(super) fn drop(&mut self) -> Parsed<StatementKind> {
        self.advance();
        let temporary = self.take_word("TEMPORARY");
        let system = temporary && self.take_word("SYSTEM");
        let object = self.object_kind()?;
        let if_exists = self.take_words(&["IF", "EXISTS"]);
        let name = self.object_name("a name")?;
        let mut cascade = false;
        if object == ObjectKind::Database {
            cascade = self.take_word("CASCADE");
            if !cascade {
                self.take_word("RESTRICT");
            }
        }
        Ok(StatementKind::Drop(Drop { object, temporary, system, if_exists, name, cascade }))
    }

    // ------------------------------------------------------------ ALTER

    pub(super) fn alter(&mut self) -> Parsed<StatementKind> {
        self.advance();
        let temporary = self.take_word("TEMPORARY");
        let system = temporary && self.take_word("SYSTEM");
        if temporary || self.is_word("FUNCTION") {
            self.expect_word("FUNCTION")?;
            return self.create_function(temporary, system, false).map(StatementKind::AlterFunction);
        }
        if self.take_word("TABLE") {
            return self.alter_table();
        }
        if self.take_word("VIEW") {
            let name = self.object_name("a view name")?;
            if self.take_words(&["RENAME", "TO"]) {
                let to = self.object_name("the new name")?;
                return Ok(StatementKind::AlterView(AlterView::Rename { name, to }));
            }
            if !self.take_word("AS") {
                return Err(self.unexpected("RENAME TO, or AS and a query"));
            }
            return Ok(StatementKind::AlterView(AlterView::As { name, query: Box::new(self.query()?) }));
        }
        if self.take_word("DATABASE") {
            let name = self.object_name("a database name")?;
            self.expect_word("SET")?;
            return Ok(StatementKind::AlterDatabase { name, options: self.options()? });
        }
        if self.take_word("CATALOG") {
            return self.alter_catalog();
        }
        Err(self.unexpected("TABLE, VIEW, DATABASE, CATALOG or FUNCTION after ALTER"))
    }

    fn alter_catalog(&mut self) -> Parsed<StatementKind> {
        let name = self.name("a catalog name")?;
        let mut catalog = AlterCatalog { name, set: Vec::new(), reset: Vec::new(), comment: None };
        if self.take_word("SET") {
            catalog.set = self.options()?;
        } else if self.take_word("RESET") {
            catalog.reset = self.keys()?;
        } else if self.is_word("COMMENT") {
            catalog.comment = self.comment()?;
        } else {
            return Err(self.unexpected("SET, RESET or COMMENT"));
        }
        Ok(StatementKind::AlterCatalog(catalog))
    }

    fn keys(&mut self) -> Parsed<Vec<StringLiteral>> {
        self.in_parens(|parser| parser.comma_list(|parser| parser.string("a key in quotes")))
    }

    fn alter_table(&mut self) -> Parsed<StatementKind> {
        let if_exists = self.take_words(&["IF", "EXISTS"]);
        let name = self.object_name("a table name")?;
        let start = self.here();
        let action = self.alter_table_action()?;
        Ok(StatementKind::AlterTable(AlterTable { if_exists, name, action, action_span: self.since(start) }))
    }

    fn alter_table_action(&mut self) -> Parsed<AlterTableAction> {
        if self.take_word("RENAME") {
            if self.take_word("TO") {
                return Ok(AlterTableAction::RenameTo(self.object_name("the new name")?));
            }
            let from = self.object_name("a column name, or TO and the table's new name")?;
            self.expect_word("TO")?;
            return Ok(AlterTableAction::RenameColumn { from, to: self.name("the new name")? });
        }
        if self.take_word("SET") {
            return Ok(AlterTableAction::Set(self.options()?));
        }
        if self.take_word("RESET") {
            return Ok(AlterTableAction::Reset(self.keys()?));
        }
        if self.take_word("ADD") {
            if self.is_word("PARTITION") || self.is_words(&["IF", "NOT", "EXISTS", "PARTITION"]) {
                let if_not_exists = self.take_words(&["IF", "NOT", "EXISTS"]);
                let mut partitions = vec![self.partition_spec()?];
                while self.is_word("PARTITION") {
                    partitions.push(self.partition_spec()?);
                }
                return Ok(AlterTableAction::AddPartitions { if_not_exists, partitions });
            }
            return Ok(AlterTableAction::Add(self.alter_schema()?));
        }
        if self.take_word("MODIFY") {
            return Ok(AlterTableAction::Modify(self.alter_schema()?));
        }
        if self.take_word("DROP") {
            return self.alter_table_drop();
        }
        Err(self.unexpected("RENAME, SET, RESET, ADD, MODIFY or DROP"))
    }

    fn alter_table_drop(&mut self) -> Parsed<AlterTableAction> {
        if self.is_word("PARTITION") || self.is_words(&["IF", "EXISTS", "PARTITION"]) {
            let if_exists = self.take_words(&["IF", "EXISTS"]);
            let partitions = self.comma_list(|parser| parser.partition_spec())?;
            return Ok(AlterTableAction::DropPartitions { if_exists, partitions });
        }
        if self.take_words(&["PRIMARY", "KEY"]) {
            return Ok(AlterTableAction::DropPrimaryKey);
        }
        if self.take_word("CONSTRAINT") {
            return Ok(AlterTableAction::DropConstraint(self.name("the constraint's name")?));
        }
        if self.take_word("WATERMARK") {
            return Ok(AlterTableAction::DropWatermark);
        }
        if self.take_word("DISTRIBUTION") {
            return Ok(AlterTableAction::DropDistribution);
        }
        let columns = if self.is_symbol(Symbol::LeftParen) {
            self.in_parens(|parser| parser.comma_list(|parser| parser.object_name("a column name")))?
        } else {
            vec![self.object_name("a column name, PRIMARY KEY, CONSTRAINT, WATERMARK or DISTRIBUTION")?]
        };
        Ok(AlterTableAction::DropColumns(columns))
    }

    fn alter_schema(&mut self) -> Parsed<AlterSchema> {
        let start = self.here();
        if self.take_word("DISTRIBUTION") {
            let distribution = Some(self.distribution(start)?);
            return Ok(AlterSchema { distribution, ..AlterSchema::default() });
        }
        let mut items = TableItems::default();
        if self.is_symbol(Symbol::LeftParen) {
            items = self.table_items()?;
        } else {
            self.table_item(&mut items)?;
        }
        Ok(AlterSchema {
            columns: items.columns,
            watermark: items.watermark,
            primary_key: items.primary_key,
            distribution: None,
        })
    }

    /// `PARTITION (k = value, ...) [WITH (...)]`.
    pub(super) fn partition_spec(&mut self) -> Parsed<crate::parser::ast::PartitionSpec> {
        let start = self.here();
        self.expect_word("PARTITION")?;
        let values = self.in_parens(|parser| {
            parser.comma_list(|parser| {
                let column = parser.name("a partition column")?;
                if !parser.take_symbol(Symbol::Eq) {
                    return Err(parser.unexpected("= and a value"));
                }
                Ok((column, parser.expr()?))
            })
        })?;
        let options = if self.take_word("WITH") { self.options()? } else { Vec::new() };
        Ok(crate::parser::ast::PartitionSpec { values, options, span: self.since(start) })
    }
}
