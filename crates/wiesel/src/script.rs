//! A SQL file, read and planned whole before anything starts: every error of it is reported at once, and nothing starts beside an error.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, SourceFile};
use wiesel_core::secret::keep_from_text;
use wiesel_core::table::ConnectorRegistry;
use wiesel_core::variable::{SharedVariables, expand};
use wiesel_expr::function::look_for_places_beside;
use wiesel_python::Python;
use wiesel_sql::parser::ast::{Statement, StatementKind};
use wiesel_sql::parser::parse_script;
use wiesel_sql::session::{Outcome, Session, TableOption};

use crate::cli::{Exit, Overrides};
use crate::log::Log;
use crate::pipeline::{Pipeline, Values};
use crate::variables::JobVariables;

/// What the statements of a file gave, in order.
pub(crate) struct Script {
    /// Outcomes worth looking at, in order.
    pub(crate) outcomes: Vec<Outcome>,
    /// The session after the last statement.
    pub(crate) session: Session,
}

/// Reads, parses and plans a file. Errors and warnings go to stderr.
pub(crate) fn load(
    path: &Path,
    registry: Arc<dyn ConnectorRegistry>,
    overrides: &Overrides,
    log: &Log,
) -> Result<Script, Exit> {
    let variables = JobVariables::open(path, overrides.env_files()).map(Arc::new).map_err(|e| {
        log.error(&e);
        Exit::Usage
    })?;
    let text = std::fs::read_to_string(path).map_err(|e| {
        log.error(&format!("cannot read `{}`: {e}", path.display()));
        Exit::Usage
    })?;
    let mut given = overrides.table_options();
    for option in &mut given {
        option.value = expand(&option.value, &*variables).map_err(|e| {
            log.error(&format!("--table-option {}.{}: {}\nhint: {}", option.table, option.key, e.message, e.hint));
            Exit::Usage
        })?;
    }
    look_for_places_beside(path.parent().unwrap_or_else(|| Path::new("")));
    let session = Session::new(registry, given)
        .with_variables(SharedVariables(variables.clone()))
        .with_python(Arc::new(Python::beside(path)));
    let script = load_session(&path.display().to_string(), text, session, log)?;
    if let Some(line) = variables.origins() {
        log.info(&line);
    }
    Ok(script)
}

/// The same, for the template of a pipeline: its parameters are variables, and options of its tables.
pub(crate) fn load_pipeline(
    pipeline: &Pipeline,
    values: &Values,
    registry: Arc<dyn ConnectorRegistry>,
    overrides: &Overrides,
    log: &Log,
) -> Result<Script, Exit> {
    let mut options = values.table_options();
    options.extend(overrides.table_options());
    let name = pipeline.template_name();
    look_for_places_beside(Path::new(&name).parent().unwrap_or_else(|| Path::new("")));
    let session = Session::new(registry, options)
        .with_variables(SharedVariables(values.variables()))
        .with_python(Arc::new(Python::beside(Path::new(&name))));
    load_session(&name, pipeline.template.clone(), session, log)
}

/// The same, for a text at hand.
pub(crate) fn load_text(
    name: &str,
    text: String,
    registry: Arc<dyn ConnectorRegistry>,
    table_options: Vec<TableOption>,
    log: &Log,
) -> Result<Script, Exit> {
    load_session(name, text, Session::new(registry, table_options).with_python(Arc::new(Python::default())), log)
}

fn load_session(name: &str, text: String, mut session: Session, log: &Log) -> Result<Script, Exit> {
    keep_from_text(&text);
    let source = SourceFile::new(name, text);
    let statements = parse_script(source.text()).map_err(|errors| {
        log.diagnostics(&source, &errors);
        Exit::Usage
    })?;
    let mut outcomes = Vec::new();
    let mut errors: Vec<Diagnostic> = Vec::new();
    // Tables and views whose own statement is wrong: that they are not there is no second error.
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    for statement in &statements {
        let created = created_name(statement);
        match session.execute(statement, source.text()) {
            Ok(outcome) => {
                if let Some(name) = created {
                    failed.remove(name);
                }
                if !matches!(outcome, Outcome::Done) {
                    outcomes.push(outcome);
                }
            }
            Err(found) => {
                errors.extend(found.into_iter().filter(|e| !is_about_failed(e, &failed, source.text())));
                failed.extend(created);
            }
        }
    }
    wiesel_objects::configure(session.settings());
    log.diagnostics(&source, &session.take_warnings());
    for note in session.take_notes() {
        log.info(&note);
    }
    for unused in session.unused_overrides() {
        log.error(&format!("--table-option {}.{}: no table `{}` is declared", unused.table, unused.key, unused.table));
    }
    if !errors.is_empty() {
        log.diagnostics(&source, &errors);
        return Err(Exit::Usage);
    }
    if !session.unused_overrides().is_empty() {
        return Err(Exit::Usage);
    }
    Ok(Script { outcomes, session })
}

/// The last part of the name of a table or view that a statement creates.
fn created_name(statement: &Statement) -> Option<&str> {
    let name = match &statement.kind {
        StatementKind::CreateTable(create) => &create.name,
        StatementKind::CreateView(create) => &create.name,
        _ => return None,
    };
    Some(&name.last().value)
}

/// Whether an error says that a table is missing whose own statement failed.
fn is_about_failed(error: &Diagnostic, failed: &BTreeSet<&str>, text: &str) -> bool {
    let named = error.span.filter(|_| error.code == "W0201").map(|span| span.text(text));
    let last = named.and_then(|name| name.rsplit('.').next()).map(|name| name.trim().trim_matches('`'));
    last.is_some_and(|name| failed.contains(name))
}
