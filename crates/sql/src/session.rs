//! A SQL file, statement by statement: what each one changes, shows, or starts.
//!
//! The session owns the catalog and the settings. It connects to nothing: an INSERT becomes a [`PlannedJob`] that somebody else runs, and
//! every error of the file is known before anything starts.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::table::{ColumnKind, ConnectorRegistry, TableColumn, TableDescriptor};
use wiesel_core::{DataType, Schema, TypeKind, Value};
use wiesel_expr::{ScalarExpr, cast};
use wiesel_plan::{JobConfig, Node, NodeId, NodeKind, StreamPlan};

use crate::binder::QueryBinder;
use crate::binder::expr::{Bound, Diagnostics, ExprBinder, cast_to, refused};
use crate::binder::query::{from_connector, options_of};
use crate::binder::scope::Scope;
use crate::binder::types::bind_type;
use crate::catalog::{Catalog, Column, ColumnSource, Object, Path, Table, View};
use crate::config::Config;
use crate::parser::ast::{self, Insert, Statement, StatementKind};
use crate::plan::lower::{Lowering, SinkTarget, writable_columns};
use crate::plan::optimize::optimize;
use crate::plan::rel::{Rel, RelColumn, TimeAttribute, identity, time_attribute_of};
use crate::plan::traits::infer;

/// A `--table-option TABLE.KEY=VALUE`: changes an option of a table from outside its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOption {
    /// The table's name.
    pub table: String,
    /// The option.
    pub key: String,
    /// Its new value.
    pub value: String,
}

/// What a statement gives.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing to show: the session changed.
    Done,
    /// A small table of text (SHOW, DESCRIBE, SET).
    Rows {
        /// Column names.
        columns: Vec<String>,
        /// The rows; `None` is NULL.
        rows: Vec<Vec<Option<String>>>,
    },
    /// Plain text (EXPLAIN).
    Text(String),
    /// Jobs to run: one for an INSERT or a query, one per connected component for a STATEMENT SET.
    Jobs(Vec<PlannedJob>),
}

/// A job ready to run.
#[derive(Debug, Clone)]
pub struct PlannedJob {
    /// What it computes.
    pub plan: StreamPlan,
    /// The settings in force at its place in the file.
    pub config: JobConfig,
    /// A bare SELECT: its rows go to whoever runs it.
    pub query_schema: Option<Schema>,
    /// Folder name under the state directory: the sinks' names joined.
    pub loop_name: String,
}

/// The state of a SQL file being read.
pub struct Session {
    catalog: Catalog,
    config: Config,
    registry: Arc<dyn ConnectorRegistry>,
    table_options: Vec<TableOption>,
    warnings: Vec<Diagnostic>,
    notes: Vec<String>,
    unused_overrides: Vec<TableOption>,
}

impl Session {
    /// A fresh session.
    pub fn new(registry: Arc<dyn ConnectorRegistry>, table_options: Vec<TableOption>) -> Self {
        Session {
            catalog: Catalog::default(),
            config: Config::default(),
            registry,
            unused_overrides: table_options.clone(),
            table_options,
            warnings: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Warnings since the last call.
    pub fn take_warnings(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.warnings)
    }

    /// Lines about options that were taken without having a meaning, since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Overrides whose table was never declared.
    pub fn unused_overrides(&self) -> &[TableOption] {
        &self.unused_overrides
    }

    /// `pipeline.name` as it stands.
    pub fn pipeline_name(&self) -> Option<&str> {
        self.config.pipeline_name()
    }

    /// All declared tables, for connectivity checks.
    pub fn tables(&self) -> Vec<Arc<Table>> {
        let (catalog, database) = self.catalog.current();
        self.catalog
            .list(catalog, database)
            .into_values()
            .filter_map(|o| if let Object::Table(t) = o { Some(t.clone()) } else { None })
            .collect()
    }

    /// Carries out one statement. `text` is the whole file.
    pub fn execute(&mut self, statement: &Statement, text: &str) -> Bound<Outcome> {
        match &statement.kind {
            StatementKind::CreateTable(create) => self.create_table(create, text, statement.span),
            StatementKind::CreateView(create) => self.create_view(create),
            StatementKind::Drop(drop) => self.drop_object(drop),
            StatementKind::Use(target) => self.use_place(target, statement.span),
            StatementKind::Set(None) => Ok(Outcome::Rows {
                columns: vec!["key".to_owned(), "value".to_owned()],
                rows: self.config.values().iter().map(|(k, v)| vec![Some(k.clone()), Some(v.clone())]).collect(),
            }),
            StatementKind::Set(Some(pair)) => {
                if let Some(note) = self.config.set(pair).map_err(|e| vec![e])? {
                    self.notes.push(note);
                }
                Ok(Outcome::Done)
            }
            StatementKind::Reset(key) => {
                self.config.reset(key.as_ref().map(|k| k.value.as_str()));
                Ok(Outcome::Done)
            }
            StatementKind::Show(show) => self.show(show, statement.span),
            StatementKind::Describe(describe) => self.describe(describe, statement.span),
            StatementKind::Explain(explain) => self.explain(explain, text),
            StatementKind::Insert(insert) => {
                let planned = self.plan_inserts(&[(insert, statement.span)])?;
                Ok(Outcome::Jobs(planned))
            }
            StatementKind::StatementSet(set) => {
                let inserts: Vec<(&Insert, Span)> = set.inserts.iter().map(|(i, s)| (i, *s)).collect();
                if inserts.is_empty() {
                    return Err(vec![Diagnostic::error("W0309", "a STATEMENT SET needs an INSERT").at(statement.span)]);
                }
                Ok(Outcome::Jobs(self.plan_inserts(&inserts)?))
            }
            StatementKind::Query(query) => {
                let rel = self.binder().bind(query)?;
                let mut lowering = Lowering::default();
                lowering.collect(&rel, &self.config).map_err(|e| place(e, statement.span))?;
                let mut jobs = self.finish(lowering, "collect", statement.span)?;
                for job in &mut jobs {
                    job.query_schema = Some(rel.schema());
                }
                Ok(Outcome::Jobs(jobs))
            }
            StatementKind::AddJar(path) => {
                self.notes
                    .push(format!("ADD JAR '{}' is taken and has no effect: connectors are built in", path.value));
                Ok(Outcome::Done)
            }
            StatementKind::RemoveJar(_) => Ok(Outcome::Done),
            StatementKind::CreateFunction(f) if f.language == ast::FunctionLanguage::Python => {
                Err(vec![refused("CREATE FUNCTION ... LANGUAGE PYTHON", statement.span)])
            }
            StatementKind::CreateFunction(f) => Err(vec![
                refused("a function of the JVM", f.class.span).hint("express it in SQL; there is no JVM to run it"),
            ]),
            other => Err(vec![refused(statement_name(other), statement.span)]),
        }
    }

    fn binder(&self) -> QueryBinder<'_> {
        QueryBinder::new(&self.catalog, &self.config, &*self.registry)
    }

    fn path_of(&self, name: &ast::ObjectName) -> Path {
        let parts: Vec<&str> = name.parts.iter().map(|p| p.value.as_str()).collect();
        self.catalog.path(&parts, None)
    }

    // ------------------------------------------------------------ DDL

    fn create_table(&mut self, create: &ast::CreateTable, text: &str, span: Span) -> Bound<Outcome> {
        if create.replace {
            return Err(vec![refused("REPLACE TABLE", create.name.span)]);
        }
        if let Some(like) = &create.like {
            return Err(vec![refused("CREATE TABLE ... LIKE", like.span)]);
        }
        if create.as_query.is_some() {
            return Err(vec![
                refused("CREATE TABLE ... AS", create.name.span).hint("write CREATE TABLE and INSERT INTO"),
            ]);
        }
        if let Some(distribution) = &create.distribution {
            return Err(vec![refused("DISTRIBUTED BY", distribution.span)]);
        }
        let path = self.path_of(&create.name);
        if self.catalog.contains(&path, create.temporary) {
            if create.if_not_exists {
                return Ok(Outcome::Done);
            }
            return Err(vec![
                Diagnostic::error("W0202", format!("table or view `{}` exists already", create.name.last().value))
                    .at(create.name.span)
                    .hint("write CREATE TABLE IF NOT EXISTS, or drop it before"),
            ]);
        }
        self.check_database(&path, create.name.span)?;
        let mut options = options_of(&create.options)?;
        for given in &self.table_options {
            if given.table == create.name.last().value {
                options.insert(given.key.clone(), given.value.clone());
            }
        }
        self.unused_overrides.retain(|o| o.table != create.name.last().value);
        let primary_key = bind_primary_key(create, &mut self.warnings)?;
        let mut columns = bind_columns(create, &primary_key, text)?;
        let watermark = match &create.watermark {
            Some(watermark) => Some(bind_watermark(watermark, &mut columns.all)?),
            None => None,
        };
        for key in &create.partitioned_by {
            if !columns.connector.iter().any(|c| c.name == key.value) {
                return Err(vec![
                    Diagnostic::error("W0301", format!("no column `{}` to partition by", key.value))
                        .at(key.span)
                        .did_you_mean(&key.value, columns.connector.iter().map(|c| c.name.as_str())),
                ]);
            }
        }
        let descriptor = TableDescriptor {
            name: create.name.last().value.clone(),
            path: format!("{}.{}.{}", path.0, path.1, path.2),
            columns: columns.connector,
            primary_key,
            partition_keys: create.partitioned_by.iter().map(|k| k.value.clone()).collect(),
            options,
        };
        if !descriptor.options.contains_key("connector") {
            return Err(vec![
                Diagnostic::error(
                    "W0501",
                    format!("table `{}` lacks the required option 'connector'", descriptor.name),
                )
                .at(if create.options.is_empty() { span } else { create.options_span })
                .label("expected 'connector' = '...'"),
            ]);
        }
        let info = self.registry.info(&descriptor).map_err(|e| vec![from_connector(&e, option_span(create, &e))])?;
        for note in &info.notes {
            self.notes.push(format!("table `{}`: {note}", descriptor.name));
        }
        check_metadata(&descriptor, &info.metadata, create)?;
        let table = Table {
            descriptor,
            columns: columns.all,
            watermark,
            info,
            comment: create.comment.as_ref().map(|c| c.value.clone()),
        };
        self.catalog.insert(path, Object::Table(Arc::new(table)), create.temporary);
        Ok(Outcome::Done)
    }

    fn create_view(&mut self, create: &ast::CreateView) -> Bound<Outcome> {
        if create.replace {
            return Err(vec![refused("CREATE OR REPLACE VIEW", create.name.span)]);
        }
        let path = self.path_of(&create.name);
        if self.catalog.contains(&path, create.temporary) {
            if create.if_not_exists {
                return Ok(Outcome::Done);
            }
            return Err(vec![
                Diagnostic::error("W0202", format!("table or view `{}` exists already", create.name.last().value))
                    .at(create.name.span),
            ]);
        }
        self.check_database(&path, create.name.span)?;
        let rel = self.binder().bind(&create.query)?;
        if !create.columns.is_empty() && create.columns.len() != rel.columns.len() {
            return Err(vec![
                Diagnostic::error("W0309", "the column list does not fit the view's query")
                    .at(create.name.span)
                    .label(format!("expected {} names, found {}", rel.columns.len(), create.columns.len())),
            ]);
        }
        let columns: Vec<String> = create.columns.iter().map(|c| c.value.clone()).collect();
        let names = rel.columns.iter().enumerate().map(|(i, c)| columns.get(i).unwrap_or(&c.name).clone());
        let schema = names.zip(rel.columns.iter().map(|c| c.data_type.clone())).collect();
        let (catalog, database) = self.catalog.current();
        let view = View {
            query: (*create.query).clone(),
            columns,
            place: (catalog.to_owned(), database.to_owned()),
            comment: create.comment.as_ref().map(|c| c.value.clone()),
            schema,
        };
        self.catalog.insert(path, Object::View(Arc::new(view)), create.temporary);
        Ok(Outcome::Done)
    }

    fn check_database(&self, path: &Path, span: Span) -> Bound<()> {
        if self.catalog.has_database(&path.0, &path.1) {
            return Ok(());
        }
        Err(vec![Diagnostic::error("W0203", format!("no database `{}.{}`", path.0, path.1)).at(span)])
    }

    fn drop_object(&mut self, drop: &ast::Drop) -> Bound<Outcome> {
        let is_table = match drop.object {
            ast::ObjectKind::Table => true,
            ast::ObjectKind::View => false,
            _ => return Err(vec![refused("DROP of anything but a table or view", drop.name.span)]),
        };
        let path = self.path_of(&drop.name);
        let found = match self.catalog.get(&path) {
            Some(Object::Table(_)) => is_table,
            Some(Object::View(_)) => !is_table,
            None => false,
        };
        let exists = found && self.catalog.contains(&path, drop.temporary);
        if exists {
            self.catalog.remove(&path, drop.temporary);
            return Ok(Outcome::Done);
        }
        if drop.if_exists && !found {
            return Ok(Outcome::Done);
        }
        let kind = if is_table { "table" } else { "view" };
        let error =
            Diagnostic::error("W0201", format!("no such {kind} `{}`", drop.name.last().value)).at(drop.name.span);
        Err(vec![if found {
            error.hint("a temporary object is dropped with DROP TEMPORARY, a permanent one without")
        } else {
            error
        }])
    }

    fn use_place(&mut self, target: &ast::Use, span: Span) -> Bound<Outcome> {
        let (catalog, database) = match target {
            ast::Use::Catalog(name) => {
                let database = self.catalog.databases(&name.value).first().map(|d| (*d).to_owned());
                (name.value.clone(), database.unwrap_or_default())
            }
            ast::Use::Database(name) => match name.parts.as_slice() {
                [database] => (self.catalog.current().0.to_owned(), database.value.clone()),
                [catalog, database, ..] => (catalog.value.clone(), database.value.clone()),
                [] => return Ok(Outcome::Done),
            },
            ast::Use::Modules(_) => return Err(vec![refused("USE MODULES", span)]),
        };
        if !self.catalog.has_database(&catalog, &database) {
            return Err(vec![Diagnostic::error("W0203", format!("no database `{catalog}.{database}`")).at(span)]);
        }
        self.catalog.use_database(&catalog, &database);
        Ok(Outcome::Done)
    }

    // ------------------------------------------------------------ SHOW, DESCRIBE, EXPLAIN

    fn show(&self, show: &ast::Show, span: Span) -> Bound<Outcome> {
        let (catalog, database) = self.catalog.current();
        let of_database = || match &show.from {
            None => (catalog.to_owned(), database.to_owned()),
            Some(name) => {
                let parts: Vec<&str> = name.parts.iter().map(|p| p.value.as_str()).collect();
                match parts.as_slice() {
                    [c, d, ..] => ((*c).to_owned(), (*d).to_owned()),
                    [d] => (catalog.to_owned(), (*d).to_owned()),
                    [] => (catalog.to_owned(), database.to_owned()),
                }
            }
        };
        let (header, names): (&str, Vec<String>) = match &show.kind {
            ast::ShowKind::Catalogs => {
                ("catalog name", self.catalog.catalogs().into_iter().map(str::to_owned).collect())
            }
            ast::ShowKind::CurrentCatalog => ("current catalog name", vec![catalog.to_owned()]),
            ast::ShowKind::Databases => {
                ("database name", self.catalog.databases(catalog).into_iter().map(str::to_owned).collect())
            }
            ast::ShowKind::CurrentDatabase => ("current database name", vec![database.to_owned()]),
            ast::ShowKind::Tables => {
                let (c, d) = of_database();
                ("table name", self.catalog.list(&c, &d).into_keys().map(str::to_owned).collect())
            }
            ast::ShowKind::Views => {
                let (c, d) = of_database();
                let views = self.catalog.list(&c, &d).into_iter().filter(|(_, o)| matches!(o, Object::View(_)));
                ("view name", views.map(|(n, _)| n.to_owned()).collect())
            }
            ast::ShowKind::Jars => ("jars", Vec::new()),
            _ => return Err(vec![refused("this SHOW statement", span)]),
        };
        if let Some(pattern) = &show.pattern {
            return Err(vec![refused("LIKE in a SHOW statement", pattern.pattern.span)]);
        }
        let rows = names.into_iter().map(|n| vec![Some(n)]).collect();
        Ok(Outcome::Rows { columns: vec![header.to_owned()], rows })
    }

    fn describe(&self, describe: &ast::Describe, span: Span) -> Bound<Outcome> {
        if describe.object != ast::ObjectKind::Table && describe.object != ast::ObjectKind::View {
            return Err(vec![refused("DESCRIBE of anything but a table or view", span)]);
        }
        let path = self.path_of(&describe.name);
        let rows = match self.catalog.get(&path) {
            Some(Object::Table(table)) => {
                table.columns.iter().enumerate().map(|(i, c)| describe_column(table, i, c)).collect()
            }
            Some(Object::View(view)) => view
                .schema
                .iter()
                .map(|(name, t)| {
                    vec![Some(name.clone()), Some(t.kind.to_string()), Some(upper_bool(t.nullable)), None, None, None]
                })
                .collect(),
            None => {
                let (catalog, database) = self.catalog.current();
                let names: Vec<&str> = self.catalog.list(catalog, database).into_keys().collect();
                let name = &describe.name.last().value;
                return Err(vec![
                    Diagnostic::error("W0201", format!("no table or view `{name}`"))
                        .at(describe.name.span)
                        .did_you_mean(name, names.iter().copied()),
                ]);
            }
        };
        let columns = ["name", "type", "null", "key", "extras", "watermark"].map(str::to_owned).to_vec();
        Ok(Outcome::Rows { columns, rows })
    }

    fn explain(&mut self, explain: &ast::Explain, text: &str) -> Bound<Outcome> {
        let changelog = explain.details.contains(&ast::ExplainDetail::ChangelogMode);
        if explain.details.contains(&ast::ExplainDetail::JsonExecutionPlan) {
            return Err(vec![refused("EXPLAIN JSON_EXECUTION_PLAN", explain.statement.span)]);
        }
        match self.execute(&explain.statement, text)? {
            Outcome::Jobs(jobs) => {
                let parts: Vec<String> =
                    jobs.iter().map(|job| wiesel_plan::explain::explain(&job.plan, changelog)).collect();
                Ok(Outcome::Text(parts.join("\n")))
            }
            _ => Err(vec![
                Diagnostic::error("W0309", "EXPLAIN takes a query, an INSERT or a STATEMENT SET")
                    .at(explain.statement.span),
            ]),
        }
    }

    // ------------------------------------------------------------ INSERT

    fn plan_inserts(&self, inserts: &[(&Insert, Span)]) -> Bound<Vec<PlannedJob>> {
        let mut lowering = Lowering::default();
        let mut errors: Diagnostics = Vec::new();
        let mut names = Vec::new();
        for (insert, span) in inserts {
            match self.plan_insert(insert, *span, &mut lowering) {
                Ok(path) => names.push(path),
                Err(mut e) => errors.append(&mut e),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let span = inserts.first().map_or_else(Span::default, |(_, s)| *s);
        self.finish(lowering, &format!("insert-into_{}", names.join(",")), span)
    }

    fn plan_insert(&self, insert: &Insert, span: Span, lowering: &mut Lowering) -> Bound<String> {
        if insert.overwrite {
            return Err(vec![refused("INSERT OVERWRITE", insert.table.span)]);
        }
        let table = self.sink_table(insert)?;
        let query = self.binder().bind(&insert.source)?;
        let (rel, target) = fit(query, table, insert, &insert.source)?;
        let path = target.table.descriptor.path.clone();
        lowering.sink(&rel, target, &self.config).map_err(|e| place(e, span))?;
        Ok(path)
    }

    fn sink_table(&self, insert: &Insert) -> Bound<Arc<Table>> {
        let path = self.path_of(&insert.table);
        let name = &insert.table.last().value;
        let table = match self.catalog.get(&path) {
            Some(Object::Table(table)) => table.clone(),
            Some(Object::View(_)) => {
                return Err(vec![
                    Diagnostic::error("W0506", format!("`{name}` is a view and cannot be written"))
                        .at(insert.table.span),
                ]);
            }
            None => {
                let (catalog, database) = self.catalog.current();
                let names: Vec<&str> = self.catalog.list(catalog, database).into_keys().collect();
                return Err(vec![
                    Diagnostic::error("W0201", format!("no table `{name}`"))
                        .at(insert.table.span)
                        .did_you_mean(name, names.iter().copied()),
                ]);
            }
        };
        let mut table = (*table).clone();
        for hint in &insert.hints {
            for arg in &hint.args {
                if let ast::HintArg::Pair(pair) = arg {
                    table.descriptor.options.insert(pair.key.value.clone(), pair.value.value.clone());
                }
            }
            table.info = self.registry.info(&table.descriptor).map_err(|e| vec![from_connector(&e, hint.span)])?;
        }
        if !table.info.is_sink {
            let connector = table.descriptor.options.get("connector").map_or("", String::as_str);
            return Err(vec![
                Diagnostic::error("W0506", format!("table `{name}` cannot be written"))
                    .at(insert.table.span)
                    .label(format!("connector '{connector}' is a source only")),
            ]);
        }
        Ok(Arc::new(table))
    }

    /// Optimizes, infers traits and cuts the graph into jobs.
    fn finish(&self, lowering: Lowering, default_name: &str, span: Span) -> Bound<Vec<PlannedJob>> {
        let (mut nodes, sinks) = optimize(lowering.nodes, lowering.sinks, &self.config.session());
        let materialize_is_off = self
            .config
            .values()
            .get("table.exec.sink.upsert-materialize")
            .is_some_and(|v| v.eq_ignore_ascii_case("NONE"));
        infer(&mut nodes, materialize_is_off).map_err(|e| place(e, span))?;
        let job_name = self.config.pipeline_name().unwrap_or(default_name).to_owned();
        let config = self.config.job_config();
        Ok(components(&nodes, &sinks)
            .into_iter()
            .map(|(nodes, sinks)| PlannedJob {
                loop_name: loop_name(&nodes, &sinks),
                plan: StreamPlan { job_name: job_name.clone(), nodes, sinks },
                config: config.clone(),
                query_schema: None,
            })
            .collect())
    }
}

fn loop_name(nodes: &[Node], sinks: &[NodeId]) -> String {
    let names: Vec<&str> = sinks
        .iter()
        .filter_map(|s| nodes.get(*s))
        .map(|n| match &n.kind {
            NodeKind::Sink(sink) => sink.table.name.as_str(),
            _ => "query",
        })
        .collect();
    names.join("+")
}

/// The connected parts of a graph, in the order of their first sink.
fn components(nodes: &[Node], sinks: &[NodeId]) -> Vec<(Vec<Node>, Vec<NodeId>)> {
    let mut group: Vec<usize> = (0..nodes.len()).collect();
    fn root(group: &[usize], mut id: usize) -> usize {
        while group.get(id).is_some_and(|g| *g != id) {
            id = group.get(id).copied().unwrap_or(id);
        }
        id
    }
    for (id, node) in nodes.iter().enumerate() {
        for input in &node.inputs {
            let (a, b) = (root(&group, id), root(&group, *input));
            if let Some(slot) = group.get_mut(a.max(b)) {
                *slot = a.min(b);
            }
        }
    }
    let mut order: Vec<usize> = Vec::new();
    for sink in sinks {
        let r = root(&group, *sink);
        if !order.contains(&r) {
            order.push(r);
        }
    }
    order
        .into_iter()
        .map(|r| {
            let mut places = std::collections::BTreeMap::new();
            let mut part = Vec::new();
            for (id, node) in nodes.iter().enumerate().filter(|(id, _)| root(&group, *id) == r) {
                let mut node = node.clone();
                node.inputs.iter_mut().for_each(|i| *i = places.get(i).copied().unwrap_or(*i));
                places.insert(id, part.len());
                part.push(node);
            }
            let sinks = sinks.iter().filter_map(|s| places.get(s).copied()).collect();
            (part, sinks)
        })
        .collect()
}

/// A planner's error gets the statement's place when it has none.
fn place(mut error: Diagnostic, span: Span) -> Diagnostics {
    error.span.get_or_insert(Span::new(span.start, span.start + first_word_length(span)));
    vec![error]
}

fn first_word_length(span: Span) -> u32 {
    // INSERT and SELECT have six letters; a shorter statement is marked whole.
    (span.end - span.start).min(6)
}

// ---------------------------------------------------------------- CREATE TABLE

struct BoundColumns {
    connector: Vec<TableColumn>,
    all: Vec<Column>,
}

fn bind_primary_key(create: &ast::CreateTable, warnings: &mut Vec<Diagnostic>) -> Bound<Vec<String>> {
    let Some(key) = &create.primary_key else { return Ok(Vec::new()) };
    if key.unique {
        return Err(vec![refused("UNIQUE", key.span).hint("declare a PRIMARY KEY")]);
    }
    match key.enforcement {
        ast::Enforcement::NotEnforced => {}
        ast::Enforcement::Unsaid => warnings.push(
            Diagnostic::warning("W0204", "this PRIMARY KEY is not enforced, as every key of a stream")
                .at(key.span)
                .hint("newer Flink versions want NOT ENFORCED written out"),
        ),
        ast::Enforcement::Enforced => {
            return Err(vec![
                Diagnostic::error("W0204", "a PRIMARY KEY cannot be ENFORCED on a stream")
                    .at(key.span)
                    .hint("write NOT ENFORCED"),
            ]);
        }
    }
    for name in &key.columns {
        let is_physical =
            create.columns.iter().any(|c| c.name.value == name.value && matches!(c.kind, ast::ColumnKind::Physical(_)));
        if !is_physical {
            return Err(vec![
                Diagnostic::error("W0301", format!("no physical column `{}` for the primary key", name.value))
                    .at(name.span)
                    .did_you_mean(&name.value, create.columns.iter().map(|c| c.name.value.as_str())),
            ]);
        }
    }
    Ok(key.columns.iter().map(|c| c.value.clone()).collect())
}

fn bind_columns(create: &ast::CreateTable, primary_key: &[String], text: &str) -> Bound<BoundColumns> {
    let mut errors: Diagnostics = Vec::new();
    let mut connector: Vec<TableColumn> = Vec::new();
    for column in &create.columns {
        let name = column.name.value.clone();
        if create.columns.iter().filter(|c| c.name.value == name).count() > 1
            && !std::ptr::eq(column, create.columns.iter().find(|c| c.name.value == name).unwrap_or(column))
        {
            errors.push(Diagnostic::error("W0205", format!("column `{name}` is declared twice")).at(column.name.span));
            continue;
        }
        let (written, kind) = match &column.kind {
            ast::ColumnKind::Physical(written) => (written, ColumnKind::Physical),
            ast::ColumnKind::Metadata { data_type, key, is_virtual } => (
                data_type,
                ColumnKind::Metadata {
                    key: key.as_ref().map_or_else(|| name.clone(), |k| k.value.clone()),
                    is_virtual: *is_virtual,
                },
            ),
            ast::ColumnKind::Computed(_) => continue,
            ast::ColumnKind::Bare => {
                errors.push(Diagnostic::error("W0101", format!("column `{name}` lacks its type")).at(column.span));
                continue;
            }
        };
        match bind_type(written) {
            Ok(data_type) => {
                let nullable = data_type.nullable && !primary_key.contains(&name);
                connector.push(TableColumn { name, data_type: data_type.with_nullable(nullable), kind });
            }
            Err(e) => errors.push(e),
        }
    }
    let columns = connector.iter().map(|c| RelColumn::new(c.name.clone(), c.data_type.clone())).collect();
    let scope = Scope::new(Some(create.name.last().value.clone()), columns);
    let mut all = Vec::new();
    for column in &create.columns {
        let comment = column.comment.as_ref().map(|c| c.value.clone());
        let name = column.name.value.clone();
        if let ast::ColumnKind::Computed(expr) = &column.kind {
            match ExprBinder::plain(&scope).bind(expr) {
                Ok(bound) => all.push(Column {
                    name,
                    data_type: bound.data_type(),
                    comment,
                    time: time_attribute_of(&bound),
                    source: ColumnSource::Computed(bound, expr.span.text(text).to_owned()),
                }),
                Err(mut e) => errors.append(&mut e),
            }
        } else if let Some(index) = connector.iter().position(|c| c.name == name) {
            let data_type = connector.get(index).map_or_else(DataType::string, |c| c.data_type.clone());
            all.push(Column { name, data_type, comment, time: None, source: ColumnSource::Connector(index) });
        }
    }
    if errors.is_empty() { Ok(BoundColumns { connector, all }) } else { Err(errors) }
}

fn bind_watermark(watermark: &ast::Watermark, columns: &mut [Column]) -> Bound<(usize, ScalarExpr)> {
    let [name] = watermark.column.parts.as_slice() else {
        return Err(vec![
            Diagnostic::error("W0206", "a watermark needs a column of the table, not a field inside a row")
                .at(watermark.column.span),
        ]);
    };
    let Some(index) = columns.iter().position(|c| c.name == name.value) else {
        return Err(vec![
            Diagnostic::error("W0301", format!("no column `{}` for the watermark", name.value))
                .at(name.span)
                .did_you_mean(&name.value, columns.iter().map(|c| c.name.as_str())),
        ]);
    };
    let data_type = columns[index].data_type.clone();
    if !matches!(data_type.kind, TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3)) {
        return Err(vec![
            Diagnostic::error("W0206", format!("column `{}` cannot be a row-time attribute", name.value))
                .at(name.span)
                .label(format!("expected TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p <= 3, found {data_type}")),
        ]);
    }
    let scope = Scope::new(None, columns.iter().map(|c| RelColumn::new(c.name.clone(), c.data_type.clone())).collect());
    let expr = ExprBinder::plain(&scope).bind(&watermark.expr)?;
    let found = expr.data_type();
    let same_family = matches!(
        (&found.kind, &data_type.kind),
        (TypeKind::Timestamp(_), TypeKind::Timestamp(_)) | (TypeKind::TimestampLtz(_), TypeKind::TimestampLtz(_))
    );
    if !same_family {
        return Err(vec![
            Diagnostic::error("W0206", "the watermark expression has the wrong type")
                .at(watermark.expr.span)
                .label(format!("expected {}, found {}", data_type.kind, found.kind)),
        ]);
    }
    let expr = match found.kind {
        TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3) => expr,
        _ => cast_to(expr, &data_type),
    };
    columns[index].time = Some(TimeAttribute::Rowtime);
    Ok((index, expr))
}

fn check_metadata(
    descriptor: &TableDescriptor,
    known: &[(String, DataType, bool)],
    create: &ast::CreateTable,
) -> Bound<()> {
    for column in &descriptor.columns {
        let ColumnKind::Metadata { key, .. } = &column.kind else { continue };
        let span = create.columns.iter().find(|c| c.name.value == column.name).map_or_else(Span::default, |c| c.span);
        let Some((_, data_type, _)) = known.iter().find(|(k, _, _)| k == key) else {
            let names: Vec<&str> = known.iter().map(|(k, _, _)| k.as_str()).collect();
            return Err(vec![
                Diagnostic::error(
                    "W0207",
                    format!("no metadata key '{key}' in the connector of `{}`", descriptor.name),
                )
                .at(span)
                .label(format!("known keys: {}", names.join(", ")))
                .did_you_mean(key, names.iter().copied()),
            ]);
        };
        if !cast::is_castable(data_type, &column.data_type) {
            return Err(vec![
                Diagnostic::error("W0304", format!("metadata '{key}' cannot be read as {}", column.data_type))
                    .at(span)
                    .label(format!("it is {data_type}")),
            ]);
        }
    }
    Ok(())
}

/// The place of the option that an error speaks of, else of the whole list.
fn option_span(create: &ast::CreateTable, error: &wiesel_core::Error) -> Span {
    create
        .options
        .iter()
        .find(|pair| error.message().contains(&format!("'{}'", pair.key.value)))
        .map_or(create.options_span, |pair| pair.key.span.to(pair.value.span))
}

fn describe_column(table: &Table, index: usize, column: &Column) -> Vec<Option<String>> {
    let key = table
        .descriptor
        .primary_key
        .contains(&column.name)
        .then(|| format!("PRI({})", table.descriptor.primary_key.join(", ")));
    let extras = match &column.source {
        ColumnSource::Computed(_, text) => Some(format!("AS {text}")),
        ColumnSource::Connector(i) => match table.descriptor.columns.get(*i).map(|c| &c.kind) {
            Some(ColumnKind::Metadata { key, is_virtual }) => {
                let from = if *key == column.name { String::new() } else { format!(" FROM '{key}'") };
                Some(format!("METADATA{from}{}", if *is_virtual { " VIRTUAL" } else { "" }))
            }
            _ => None,
        },
    };
    let watermark = table.watermark.as_ref().filter(|(i, _)| *i == index).map(|(_, expr)| {
        let name = |i: usize| table.columns.get(i).map_or_else(String::new, |c| format!("`{}`", c.name));
        wiesel_plan::explain::expression(expr, &name)
    });
    let attribute = match column.time {
        Some(TimeAttribute::Rowtime) => " *ROWTIME*",
        Some(TimeAttribute::Proctime) => " *PROCTIME*",
        None => "",
    };
    vec![
        Some(column.name.clone()),
        Some(format!("{}{attribute}", column.data_type.kind)),
        Some(upper_bool(column.data_type.nullable)),
        key,
        extras,
        watermark,
    ]
}

fn upper_bool(value: bool) -> String {
    value.to_string().to_uppercase()
}

// ---------------------------------------------------------------- fitting a query to a sink

fn fit(query: Rel, table: Arc<Table>, insert: &Insert, source: &ast::Query) -> Bound<(Rel, SinkTarget)> {
    let writable = writable_columns(&table);
    let name_of = |index: &usize| table.descriptor.columns.get(*index).map_or("", |c| c.name.as_str());
    let mut constants: Vec<(usize, ScalarExpr)> = Vec::new();
    for (key, value) in &insert.partition {
        let Some(index) = writable.iter().copied().find(|i| name_of(i) == key.value) else {
            return Err(vec![
                Diagnostic::error("W0301", format!("no column `{}` in `{}`", key.value, table.descriptor.name))
                    .at(key.span),
            ]);
        };
        if let Some(value) = value {
            constants.push((index, ExprBinder::plain(&Scope::default()).bind(value)?));
        }
    }
    let listed: Vec<usize> = if insert.columns.is_empty() {
        writable.iter().copied().filter(|i| !constants.iter().any(|(c, _)| c == i)).collect()
    } else {
        let mut listed = Vec::new();
        for column in &insert.columns {
            let name = &column.last().value;
            match writable.iter().copied().find(|i| name_of(i) == name) {
                Some(index) => listed.push(index),
                None => {
                    return Err(vec![
                        Diagnostic::error("W0301", format!("no column `{name}` in `{}`", table.descriptor.name))
                            .at(column.span)
                            .did_you_mean(name, writable.iter().map(name_of)),
                    ]);
                }
            }
        }
        listed
    };
    if listed.len() != query.columns.len() {
        return Err(mismatch(&query, &table, &listed, source, "Different number of columns."));
    }
    let columns = identity(&query.columns);
    let mut items = Vec::new();
    let mut not_null = Vec::new();
    for (position, index) in writable.iter().enumerate() {
        let Some(wanted) = table.descriptor.columns.get(*index) else { continue };
        let from_query = listed.iter().position(|l| l == index).and_then(|p| columns.get(p).cloned());
        let constant = constants.iter().find(|(c, _)| c == index).map(|(_, e)| e.clone());
        let expr = match from_query.or(constant) {
            Some(expr) => expr,
            None if wanted.data_type.nullable => {
                ScalarExpr::Literal { value: Value::Null, data_type: wanted.data_type.clone() }
            }
            None => {
                return Err(vec![
                    Diagnostic::error("W0312", format!("column `{}` is NOT NULL and gets no value", wanted.name))
                        .at(insert.table.span),
                ]);
            }
        };
        let found = expr.data_type();
        let fits = found.kind == wanted.data_type.kind
            || found.kind == TypeKind::Null
            || cast::is_implicit(&found, &wanted.data_type);
        if !fits {
            let cause = format!("Incompatible types for sink column '{}' at position {position}.", wanted.name);
            return Err(mismatch(&query, &table, &listed, source, &cause));
        }
        if !wanted.data_type.nullable && found.nullable {
            not_null.push(position);
        }
        items.push((wanted.name.clone(), cast_to(expr, &wanted.data_type)));
    }
    let primary_key =
        table.descriptor.primary_key.iter().filter_map(|key| writable.iter().position(|i| name_of(i) == key)).collect();
    let rel = query.project(items);
    Ok((rel, SinkTarget { table, columns: writable, primary_key, not_null }))
}

fn mismatch(query: &Rel, table: &Table, listed: &[usize], source: &ast::Query, cause: &str) -> Diagnostics {
    let query_schema: Vec<String> = query.columns.iter().map(|c| format!("{}: {}", c.name, c.data_type)).collect();
    let sink_schema: Vec<String> = listed
        .iter()
        .filter_map(|i| table.descriptor.columns.get(*i))
        .map(|c| format!("{}: {}", c.name, c.data_type))
        .collect();
    vec![
        Diagnostic::error(
            "W0313",
            format!("column types of query result and sink for '{}' do not match: {cause}", table.descriptor.path),
        )
        .at(Span::new(source.span.start, source.span.start + first_word_length(source.span)))
        .label(format!(
            "query schema: [{}]; sink schema: [{}]",
            query_schema.join(", "),
            sink_schema.join(", ")
        )),
    ]
}

fn statement_name(kind: &StatementKind) -> &'static str {
    match kind {
        StatementKind::CreateCatalog(_) => "CREATE CATALOG",
        StatementKind::CreateDatabase(_) => "CREATE DATABASE",
        StatementKind::AlterTable(_) => "ALTER TABLE",
        StatementKind::AlterView(_) => "ALTER VIEW",
        StatementKind::AlterDatabase { .. } => "ALTER DATABASE",
        StatementKind::AlterCatalog(_) => "ALTER CATALOG",
        StatementKind::AlterFunction(_) => "ALTER FUNCTION",
        StatementKind::StopJob(_) => "STOP JOB",
        _ => "this statement",
    }
}
