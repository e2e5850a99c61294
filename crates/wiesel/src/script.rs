//! A SQL file, read and planned whole before anything starts: every error of it is reported at once, and nothing starts beside an error.

use std::path::Path;
use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, SourceFile};
use wiesel_core::table::ConnectorRegistry;
use wiesel_sql::parser::parse_script;
use wiesel_sql::session::{Outcome, Session, TableOption};

use crate::cli::Exit;
use crate::log::Log;

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
    table_options: Vec<TableOption>,
    log: &Log,
) -> Result<Script, Exit> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        log.error(&format!("cannot read `{}`: {e}", path.display()));
        Exit::Usage
    })?;
    load_text(&path.display().to_string(), text, registry, table_options, log)
}

/// The same, for a text at hand.
pub(crate) fn load_text(
    name: &str,
    text: String,
    registry: Arc<dyn ConnectorRegistry>,
    table_options: Vec<TableOption>,
    log: &Log,
) -> Result<Script, Exit> {
    let source = SourceFile::new(name, text);
    let statements = parse_script(source.text()).map_err(|errors| {
        log.diagnostics(&source, &errors);
        Exit::Usage
    })?;
    let mut session = Session::new(registry, table_options);
    let mut outcomes = Vec::new();
    let mut errors: Vec<Diagnostic> = Vec::new();
    for statement in &statements {
        match session.execute(statement, source.text()) {
            Ok(Outcome::Done) => {}
            Ok(outcome) => outcomes.push(outcome),
            Err(mut found) => errors.append(&mut found),
        }
    }
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
