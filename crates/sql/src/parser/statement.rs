//! Scripts and statements: which statement a word opens, where it ends, and what happens after an error.
//!
//! Statements that Flink knows and wiesel does not run become [`StatementKind::Unsupported`] with their name, so that the refusal
//! speaks of `CREATE MATERIALIZED TABLE` and not of an unexpected word; the rest of their text is skipped.

use wiesel_core::diagnostic::{Diagnostic, Span};

use super::ast::{
    Describe, Explain, ExplainDetail, Ident, Insert, ObjectKind, ObjectName, OptionPair, Query, Show, ShowKind,
    ShowPattern, Statement, StatementKind, StatementSet, StopJob, Use,
};
use super::token::{Symbol, TokenKind};
use super::{ERRORS_MAX, Parsed, Parser};

/// The words that open a statement, for hints.
pub(super) const STATEMENT_WORDS: &[&str] = &[
    "ADD", "ALTER", "BEGIN", "CREATE", "DESC", "DESCRIBE", "DROP", "EXECUTE", "EXPLAIN", "INSERT", "REMOVE", "RESET",
    "SELECT", "SET", "SHOW", "STOP", "USE", "VALUES", "WITH",
];

/// Statements that are named and refused, by the words that open them. Longer ones stand before their prefixes.
const UNSUPPORTED: &[&[&str]] = &[
    &["ALTER", "MATERIALIZED", "TABLE"],
    &["ALTER", "MODEL"],
    &["ALTER", "CONNECTION"],
    &["ANALYZE", "TABLE"],
    &["CALL"],
    &["COMPILE", "AND", "EXECUTE", "PLAN"],
    &["COMPILE", "PLAN"],
    &["CREATE", "CONNECTION"],
    &["CREATE", "MATERIALIZED", "TABLE"],
    &["CREATE", "OR", "ALTER", "MATERIALIZED", "TABLE"],
    &["CREATE", "MODEL"],
    &["CREATE", "TEMPORARY", "MODEL"],
    &["DELETE", "FROM"],
    &["EXECUTE", "PLAN"],
    &["LOAD", "MODULE"],
    &["MERGE"],
    &["REFRESH", "MATERIALIZED", "TABLE"],
    &["TRUNCATE", "TABLE"],
    &["UNLOAD", "MODULE"],
    &["UPDATE"],
    &["UPSERT"],
];

impl Parser<'_> {
    /// All statements; errors are collected in `diagnostics`, one for each statement that has one.
    pub(super) fn script(&mut self) -> Vec<Statement> {
        let mut statements = Vec::new();
        loop {
            while self.take_symbol(Symbol::Semicolon) {}
            if self.at_end() || self.diagnostics.len() >= ERRORS_MAX {
                return statements;
            }
            self.tree_depth = 0;
            match self.statement().and_then(|statement| self.end_of_statement().map(|()| statement)) {
                Ok(statement) => statements.push(statement),
                Err(error) => {
                    self.diagnostics.push(*error);
                    self.skip_statement();
                }
            }
        }
    }

    fn end_of_statement(&self) -> Parsed<()> {
        if self.at_end() || self.is_symbol(Symbol::Semicolon) {
            return Ok(());
        }
        let mut error = self.unexpected("`;` or the end of the file");
        self.hint_missing_semicolon(&mut error);
        Err(error)
    }

    /// Where another statement begins, the `;` before it is what is missing.
    pub(super) fn hint_missing_semicolon(&self, error: &mut Diagnostic) {
        if self.is_one_of(STATEMENT_WORDS) && !self.is_word("WITH") {
            error.hint = Some(format!("is a `;` missing before `{}`?", self.here().text(self.source)));
        }
    }

    fn skip_statement(&mut self) {
        while !self.at_end() && !self.is_symbol(Symbol::Semicolon) {
            self.advance();
        }
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let start = self.here();
        let kind = self.statement_kind()?;
        Ok(Statement { kind, span: self.since(start) })
    }

    fn statement_kind(&mut self) -> Parsed<StatementKind> {
        if self.at_query() {
            return Ok(StatementKind::Query(Box::new(self.query()?)));
        }
        if let Some(words) = UNSUPPORTED.iter().find(|words| self.is_words(words)) {
            return Ok(self.unsupported(words));
        }
        let upper = self.word_at(0).unwrap_or("").to_ascii_uppercase();
        match upper.as_str() {
            "CREATE" | "REPLACE" => self.create(),
            "DROP" => self.drop(),
            "ALTER" => self.alter(),
            "INSERT" => Ok(StatementKind::Insert(Box::new(self.insert()?))),
            "EXECUTE" => self.execute(),
            "BEGIN" => {
                let start = self.here();
                self.advance();
                self.expect_words(&["STATEMENT", "SET"])?;
                self.expect_symbol(Symbol::Semicolon)?;
                self.statement_set(start)
            }
            "EXPLAIN" => self.explain(),
            "SET" => self.set(),
            "RESET" => {
                self.advance();
                let key = if self.at_statement_end() { None } else { Some(self.string("a key in quotes")?) };
                Ok(StatementKind::Reset(key))
            }
            "USE" => self.use_statement(),
            "SHOW" => self.show(),
            "DESCRIBE" | "DESC" => self.describe(),
            "ADD" | "REMOVE" => {
                let add = self.is_word("ADD");
                self.advance();
                self.expect_word("JAR")?;
                let path = self.string("a path in quotes")?;
                Ok(if add { StatementKind::AddJar(path) } else { StatementKind::RemoveJar(path) })
            }
            "STOP" => self.stop_job(),
            _ => Err(self.unknown_statement()),
        }
    }

    fn unknown_statement(&self) -> Box<Diagnostic> {
        let Some(word) = self.word_at(0) else {
            return self.unexpected("a statement");
        };
        let message = format!("`{word}` opens no statement");
        let error = Diagnostic::error("W0101", message)
            .at(self.here())
            .label("expected a statement such as CREATE TABLE, INSERT or SELECT");
        Box::new(error.did_you_mean(word, STATEMENT_WORDS.iter().copied()))
    }

    fn at_statement_end(&self) -> bool {
        self.at_end() || self.is_symbol(Symbol::Semicolon)
    }

    /// Names the statement and skips its text; the `;` inside a statement set do not end it.
    fn unsupported(&mut self, words: &[&str]) -> StatementKind {
        let start = self.here();
        self.at += words.len();
        let span = self.since(start);
        let mut in_set = false;
        while !self.at_end() && (in_set || !self.is_symbol(Symbol::Semicolon)) {
            if self.is_words(&["STATEMENT", "SET", "BEGIN"]) {
                in_set = true;
            } else if in_set
                && self.is_word("END")
                && matches!(self.token_at(1).kind, TokenKind::End | TokenKind::Symbol(Symbol::Semicolon))
            {
                in_set = false;
            }
            self.advance();
        }
        StatementKind::Unsupported { name: words.join(" "), span }
    }

    // ------------------------------------------------------------ INSERT and statement sets

    fn insert(&mut self) -> Parsed<Insert> {
        self.expect_word("INSERT")?;
        let overwrite = self.take_word("OVERWRITE");
        if overwrite {
            self.take_word("INTO");
        } else if !self.take_word("INTO") {
            return Err(self.unexpected("INTO or OVERWRITE"));
        }
        self.take_word("TABLE");
        let table = self.object_name("the name of the sink table")?;
        let hints = self.hints()?;
        let partition = if self.take_word("PARTITION") {
            self.in_parens(|parser| {
                parser.comma_list(|parser| {
                    let column = parser.name("a partition column")?;
                    let value = if parser.take_symbol(Symbol::Eq) { Some(parser.expr()?) } else { None };
                    Ok((column, value))
                })
            })?
        } else {
            Vec::new()
        };
        let mut columns = Vec::new();
        if self.is_symbol(Symbol::LeftParen) && !self.opens_query() {
            columns = self.in_parens(|parser| parser.comma_list(|parser| parser.object_name("a column name")))?;
        }
        if !self.at_query() {
            return Err(self.unexpected("SELECT, VALUES or another query"));
        }
        let source: Box<Query> = Box::new(self.query()?);
        Ok(Insert { overwrite, table, hints, partition, columns, source })
    }

    fn execute(&mut self) -> Parsed<StatementKind> {
        let start = self.here();
        self.advance();
        if self.take_words(&["STATEMENT", "SET"]) {
            self.expect_word("BEGIN")?;
            return self.statement_set(start);
        }
        if self.is_word("INSERT") {
            return Ok(StatementKind::Insert(Box::new(self.insert()?)));
        }
        if self.at_query() {
            return Ok(StatementKind::Query(Box::new(self.query()?)));
        }
        Err(self.unexpected("STATEMENT SET BEGIN, INSERT or a query"))
    }

    /// The INSERTs up to END. An error in one is recorded and the next one is read, so that END still closes the set.
    fn statement_set(&mut self, start: Span) -> Parsed<StatementKind> {
        let opening = self.since(start);
        let mut inserts = Vec::new();
        loop {
            while self.take_symbol(Symbol::Semicolon) {}
            if self.take_word("END") {
                return Ok(StatementKind::StatementSet(StatementSet { inserts }));
            }
            if self.at_end() {
                let error = Diagnostic::error("W0101", "statement set without an end").at(opening);
                return Err(Box::new(error.label("expected END; after its last INSERT")));
            }
            let insert_start = self.here();
            self.tree_depth = 0;
            match self.insert_of_set() {
                Ok(insert) => inserts.push((insert, self.since(insert_start))),
                Err(error) => {
                    self.record(error)?;
                    self.skip_statement();
                }
            }
        }
    }

    fn insert_of_set(&mut self) -> Parsed<Insert> {
        if !self.is_word("INSERT") {
            let error = self.unexpected("INSERT or END: a statement set holds nothing else");
            return Err(error);
        }
        let insert = self.insert()?;
        if !self.is_symbol(Symbol::Semicolon) {
            return Err(self.unexpected("`;` after this INSERT"));
        }
        Ok(insert)
    }

    fn explain(&mut self) -> Parsed<StatementKind> {
        self.advance();
        let mut details = Vec::new();
        if !self.take_words(&["PLAN", "FOR"]) {
            while let Some(detail) = self.explain_detail() {
                self.advance();
                details.push(detail);
                if !self.take_symbol(Symbol::Comma) {
                    break;
                }
            }
        }
        let start = self.here();
        if self.take_words(&["STATEMENT", "SET"]) {
            self.expect_word("BEGIN")?;
            let kind = self.statement_set(start)?;
            let statement = Box::new(Statement { kind, span: self.since(start) });
            return Ok(StatementKind::Explain(Explain { details, statement }));
        }
        let explainable = self.at_query() || self.is_one_of(&["INSERT", "EXECUTE", "CREATE", "REPLACE"]);
        if !explainable {
            let expected = if details.is_empty() {
                "a query, an INSERT, a STATEMENT SET, PLAN FOR, or details such as CHANGELOG_MODE"
            } else {
                "a query, an INSERT or a STATEMENT SET"
            };
            return Err(self.unexpected(expected));
        }
        let statement = Box::new(self.statement()?);
        Ok(StatementKind::Explain(Explain { details, statement }))
    }

    fn explain_detail(&self) -> Option<ExplainDetail> {
        let upper = self.word_at(0)?.to_ascii_uppercase();
        Some(match upper.as_str() {
            "ESTIMATED_COST" => ExplainDetail::EstimatedCost,
            "CHANGELOG_MODE" => ExplainDetail::ChangelogMode,
            "JSON_EXECUTION_PLAN" => ExplainDetail::JsonExecutionPlan,
            "PLAN_ADVICE" => ExplainDetail::PlanAdvice,
            _ => return None,
        })
    }

    // ------------------------------------------------------------ session statements

    fn set(&mut self) -> Parsed<StatementKind> {
        self.advance();
        if self.at_statement_end() {
            return Ok(StatementKind::Set(None));
        }
        let key = self.string("a key in quotes")?;
        self.expect_symbol(Symbol::Eq)?;
        let value = self.string("a value in quotes")?;
        Ok(StatementKind::Set(Some(OptionPair { key, value })))
    }

    fn use_statement(&mut self) -> Parsed<StatementKind> {
        self.advance();
        if self.is_word("CATALOG") && self.is_name_at(1) {
            self.advance();
            return Ok(StatementKind::Use(Use::Catalog(self.name("a catalog name")?)));
        }
        if self.take_word("MODULES") {
            let modules = self.comma_list(|parser| parser.name("a module name"))?;
            return Ok(StatementKind::Use(Use::Modules(modules)));
        }
        Ok(StatementKind::Use(Use::Database(self.object_name("a database, CATALOG or MODULES")?)))
    }

    fn show(&mut self) -> Parsed<StatementKind> {
        self.advance();
        let kind = self.show_kind()?;
        let (mut from, mut partition) = (None, None);
        let takes_from = matches!(
            kind,
            ShowKind::Tables
                | ShowKind::Views
                | ShowKind::MaterializedTables
                | ShowKind::Columns
                | ShowKind::Functions
                | ShowKind::UserFunctions
                | ShowKind::Procedures
                | ShowKind::Models
                | ShowKind::Databases
        );
        if kind == ShowKind::Partitions {
            from = Some(self.object_name("a table name")?);
            if self.is_word("PARTITION") {
                partition = Some(self.partition_spec()?);
            }
        } else if takes_from && (self.take_word("FROM") || self.take_word("IN")) {
            from = Some(self.object_name("a name after FROM")?);
        } else if kind == ShowKind::Columns {
            return Err(self.unexpected("FROM and a table name"));
        }
        let mut pattern = None;
        if self.is_one_of(&["NOT", "LIKE", "ILIKE"]) {
            let negated = self.take_word("NOT");
            let ignore_case = self.take_word("ILIKE");
            if !ignore_case {
                self.expect_word("LIKE")?;
            }
            pattern = Some(ShowPattern { negated, ignore_case, pattern: self.string("a pattern in quotes")? });
        }
        Ok(StatementKind::Show(Show { kind, from, partition, pattern }))
    }

    fn show_kind(&mut self) -> Parsed<ShowKind> {
        const KINDS: &[(&[&str], ShowKind)] = &[
            (&["CATALOGS"], ShowKind::Catalogs),
            (&["CURRENT", "CATALOG"], ShowKind::CurrentCatalog),
            (&["DATABASES"], ShowKind::Databases),
            (&["CURRENT", "DATABASE"], ShowKind::CurrentDatabase),
            (&["TABLES"], ShowKind::Tables),
            (&["VIEWS"], ShowKind::Views),
            (&["MATERIALIZED", "TABLES"], ShowKind::MaterializedTables),
            (&["COLUMNS"], ShowKind::Columns),
            (&["PARTITIONS"], ShowKind::Partitions),
            (&["FUNCTIONS"], ShowKind::Functions),
            (&["USER", "FUNCTIONS"], ShowKind::UserFunctions),
            (&["PROCEDURES"], ShowKind::Procedures),
            (&["MODULES"], ShowKind::Modules { full: false }),
            (&["FULL", "MODULES"], ShowKind::Modules { full: true }),
            (&["MODELS"], ShowKind::Models),
            (&["JARS"], ShowKind::Jars),
            (&["JOBS"], ShowKind::Jobs),
        ];
        if let Some((words, kind)) = KINDS.iter().find(|(words, _)| self.is_words(words)) {
            self.at += words.len();
            return Ok(kind.clone());
        }
        if self.take_word("CREATE") {
            let object = self.object_kind()?;
            return Ok(ShowKind::Create { object, name: self.object_name("a name")? });
        }
        let first_words = KINDS.iter().map(|(words, _)| words[0]).chain(["CREATE"]);
        let error =
            self.unexpected("TABLES, VIEWS, COLUMNS, FUNCTIONS, CATALOGS, DATABASES, JOBS or CREATE TABLE after SHOW");
        let word = self.word_at(0).unwrap_or("");
        Err(Box::new(error.did_you_mean(word, first_words)))
    }

    /// `TABLE`, `VIEW` and so on.
    pub(super) fn object_kind(&mut self) -> Parsed<ObjectKind> {
        const KINDS: &[(&[&str], ObjectKind)] = &[
            (&["TABLE"], ObjectKind::Table),
            (&["VIEW"], ObjectKind::View),
            (&["CATALOG"], ObjectKind::Catalog),
            (&["DATABASE"], ObjectKind::Database),
            (&["FUNCTION"], ObjectKind::Function),
            (&["MODEL"], ObjectKind::Model),
            (&["MATERIALIZED", "TABLE"], ObjectKind::MaterializedTable),
        ];
        match KINDS.iter().find(|(words, _)| self.is_words(words)) {
            Some((words, kind)) => {
                self.at += words.len();
                Ok(*kind)
            }
            None => Err(self.unexpected("TABLE, VIEW, CATALOG, DATABASE or FUNCTION")),
        }
    }

    fn describe(&mut self) -> Parsed<StatementKind> {
        self.advance();
        if self.is_word("JOB") && matches!(self.token_at(1).kind, TokenKind::String(_)) {
            self.advance();
            let id = self.string("a job id in quotes")?;
            let part = Ident { value: id.value, quoted: true, span: id.span };
            let name = ObjectName { span: part.span, parts: vec![part] };
            return Ok(StatementKind::Describe(Describe { object: ObjectKind::Job, extended: false, name }));
        }
        let mut object = ObjectKind::Table;
        // CATALOG and its like are no reserved words: alone, they name a table.
        let names_kind = self.is_one_of(&["CATALOG", "DATABASE", "FUNCTION", "MODEL"])
            && (self.is_name_at(1) || self.is_word_at(1, "EXTENDED"));
        if names_kind {
            object = self.object_kind()?;
        }
        let extended = self.take_word("EXTENDED");
        let name = self.object_name("a table name")?;
        Ok(StatementKind::Describe(Describe { object, extended, name }))
    }

    fn stop_job(&mut self) -> Parsed<StatementKind> {
        self.advance();
        self.expect_word("JOB")?;
        let job = self.string("a job id in quotes")?;
        let (mut with_savepoint, mut with_drain) = (false, false);
        while self.take_word("WITH") {
            let said = if self.take_word("SAVEPOINT") {
                &mut with_savepoint
            } else if self.take_word("DRAIN") {
                &mut with_drain
            } else {
                return Err(self.unexpected("SAVEPOINT or DRAIN"));
            };
            if std::mem::replace(said, true) {
                return Err(self.twice("this clause", self.behind()));
            }
        }
        Ok(StatementKind::StopJob(StopJob { job, with_savepoint, with_drain }))
    }
}
