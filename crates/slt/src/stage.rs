//! What stands around the jobs of a file instead of the outside world: a log of rows per table that every source of the table reads from
//! its beginning (or its checkpoint), and what sinks and queries brought.
//!
//! A source tells how far it has handed its rows over to its job; the runner waits for that, and then for the job to become quiet. That
//! is all the synchronisation there is, so a file runs the same way every time and never sleeps.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wiesel_core::{ChangelogMode, RowKind};
use wiesel_expr::text::TextRow;

/// Shared by the runner, the sources and the sinks of a file.
#[derive(Default)]
pub(crate) struct Stage {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    /// By full name.
    pub(crate) tables: BTreeMap<String, Table>,
    /// By full name of the table, or `job NAME` for a query.
    pub(crate) outputs: BTreeMap<String, Captured>,
    sources: Vec<SourceState>,
    pub(crate) is_ended: bool,
}

/// A declared table.
pub(crate) struct Table {
    pub(crate) mode: ChangelogMode,
    pub(crate) rows: Vec<Row>,
}

/// A scripted row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) kind: RowKind,
    pub(crate) json: String,
}

/// What a sink or a query brought.
#[derive(Default)]
pub(crate) struct Captured {
    pub(crate) columns: Vec<String>,
    pub(crate) keys: Vec<String>,
    pub(crate) is_upsert: bool,
    pub(crate) rows: Vec<TextRow>,
    /// How many of them a `changelog` record has seen.
    pub(crate) seen: usize,
}

struct SourceState {
    table: String,
    /// Rows up to here lie with the job; `None` before the first poll.
    handed: Option<usize>,
    is_closed: bool,
}

/// A source's entry on the stage; it is closed when the last clone goes.
pub(crate) struct Presence {
    stage: Arc<Stage>,
    index: usize,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.stage.lock().sources[self.index].is_closed = true;
        self.stage.changed.notify_all();
    }
}

impl Presence {
    /// What lies behind row `from`, and whether the input ended there; waits a while for something.
    pub(crate) fn poll(&self, from: usize, wait: Duration) -> (Vec<Row>, bool) {
        let mut state = self.stage.lock();
        state.sources[self.index].handed = Some(from);
        self.stage.changed.notify_all();
        let path = state.sources[self.index].table.clone();
        let is_empty = |state: &mut State| state.rows_of(&path).len() <= from && !state.is_ended;
        let waited = self.stage.changed.wait_timeout_while(state, wait, is_empty);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let rows = state.rows_of(&path).get(from..).unwrap_or_default().to_vec();
        let is_at_end = rows.is_empty() && state.is_ended;
        (rows, is_at_end)
    }
}

impl State {
    fn rows_of(&self, path: &str) -> &[Row] {
        self.tables.get(path).map_or(&[], |t| &t.rows)
    }

    /// The full name of what a record calls `name`: the whole of it, or its last parts.
    pub(crate) fn resolve<'a>(names: impl Iterator<Item = &'a String>, name: &str) -> Option<String> {
        let suffix = format!(".{name}");
        let mut found: Vec<&String> = names.filter(|path| *path == name || path.ends_with(&suffix)).collect();
        // Two databases may have tables of one name: the default one is meant, the other is written out.
        found.sort_by_key(|path| !path.starts_with("default_catalog.default_database."));
        found.first().map(|path| (*path).clone())
    }
}

impl Stage {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new source of a table.
    pub(crate) fn enter(self: &Arc<Self>, table: &str) -> Presence {
        let mut state = self.lock();
        state.sources.push(SourceState { table: table.to_owned(), handed: None, is_closed: false });
        Presence { stage: Arc::clone(self), index: state.sources.len() - 1 }
    }

    /// Appends rows to a table's log.
    pub(crate) fn input(&self, path: &str, rows: Vec<Row>) {
        if let Some(table) = self.lock().tables.get_mut(path) {
            table.rows.extend(rows);
        }
        self.changed.notify_all();
    }

    /// No table brings more.
    pub(crate) fn end(&self) {
        self.lock().is_ended = true;
        self.changed.notify_all();
    }

    /// Waits until every source has handed over what its table has; says whether that happened within `patience`.
    pub(crate) fn wait_until_handed_over(&self, patience: Duration) -> bool {
        let is_behind = |state: &mut State| {
            let behind =
                |s: &SourceState| !s.is_closed && s.handed.is_none_or(|handed| handed < state.rows_of(&s.table).len());
            !state.is_ended && state.sources.iter().any(behind)
        };
        let waited = self.changed.wait_timeout_while(self.lock(), patience, is_behind);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !is_behind(&mut state)
    }
}
