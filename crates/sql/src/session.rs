//! A SQL file, statement by statement: what each one changes, shows, or starts.
//!
//! The session owns the catalog and the settings. It connects to nothing: an INSERT becomes a [`PlannedJob`] that somebody else runs, and
//! every error of the file is known before anything starts.

mod alter;
mod dead_letters;
mod function;
mod insert;
mod like;
mod objects;
mod partitions;
mod show;
mod show_create;
mod table;

use std::sync::Arc;

use wiesel_core::Schema;
use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::table::ConnectorRegistry;
use wiesel_core::variable::SharedVariables;
use wiesel_expr::foreign::Foreign;
use wiesel_plan::{JobConfig, StreamPlan};

use self::insert::place;
use crate::binder::QueryBinder;
use crate::binder::expr::{Bound, refused};
use crate::catalog::{Catalog, Object, Path, PythonAccess, Table};
use crate::config::Config;
use crate::parser::ast::{self, Insert, Statement, StatementKind};
use crate::plan::lower::Lowering;

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
    /// Columns of shown rows are cut beyond this many characters.
    pub column_width_max: usize,
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
    python: Option<Arc<dyn Foreign>>,
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
            python: None,
        }
    }

    /// The same, its variables looked up there.
    #[must_use]
    pub fn with_variables(mut self, variables: SharedVariables) -> Self {
        self.config = Config::new(variables);
        self
    }

    /// The same, with functions in Python.
    #[must_use]
    pub fn with_python(mut self, python: Arc<dyn Foreign>) -> Self {
        self.python = Some(python);
        self.settings_changed();
        self
    }

    /// Functions in Python run with the settings at the place of their call.
    fn settings_changed(&mut self) {
        if let Some(runtime) = &self.python {
            let settings = Arc::new(self.config.foreign_settings());
            self.catalog.set_python(PythonAccess { runtime: Arc::clone(runtime), settings });
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

    /// The settings as they stand, with the values that they have.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.config.values().iter().map(|(key, value)| (key.as_str(), value.as_str()))
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
            StatementKind::CreateTable(create) => self.create_table(create, statement.span),
            StatementKind::CreateView(create) => self.create_view(create),
            StatementKind::CreateCatalog(create) => self.create_catalog(create, statement.span),
            StatementKind::CreateDatabase(create) => self.create_database(create),
            StatementKind::AlterTable(alter) => self.alter_table(alter, statement.span),
            StatementKind::AlterView(alter) => self.alter_view(alter),
            StatementKind::AlterDatabase { name, options } => self.alter_database(name, options),
            StatementKind::AlterCatalog(alter) => self.alter_catalog(alter),
            StatementKind::Drop(drop) => self.drop_object(drop),
            StatementKind::Use(target) => self.use_place(target, statement.span),
            StatementKind::Set(None) => Ok(Outcome::Rows {
                columns: vec!["key".to_owned(), "value".to_owned()],
                rows: self.config.shown().map(|(k, v)| vec![Some(k.to_owned()), Some(v)]).collect(),
            }),
            StatementKind::Set(Some(pair)) => {
                if let Some(note) = self.config.set(pair).map_err(|e| vec![e])? {
                    self.notes.push(note);
                }
                self.settings_changed();
                Ok(Outcome::Done)
            }
            StatementKind::Reset(key) => {
                self.config.reset(key.as_ref().map(|k| k.value.as_str()));
                self.settings_changed();
                Ok(Outcome::Done)
            }
            StatementKind::Show(show) => self.show(show, statement.span),
            StatementKind::Describe(describe) => self.describe_any(describe, statement.span),
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
            StatementKind::StopJob(_) => Err(vec![
                refused("STOP JOB", statement.span)
                    .hint("a job is a process here: stop it with SIGTERM, it keeps its state"),
            ]),
            StatementKind::RemoveJar(_) => Ok(Outcome::Done),
            StatementKind::CreateFunction(create) => self.create_function(create),
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
}

fn statement_name(kind: &StatementKind) -> &str {
    match kind {
        StatementKind::Unsupported { name, .. } => name,
        StatementKind::AlterFunction(_) => "ALTER FUNCTION",
        _ => "this statement",
    }
}
