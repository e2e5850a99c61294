//! Where a source's changes must be normalized: behind every source of upserts, and behind every changelog whose changes may come twice.
//!
//! The node stands above the watermark, which is made from rows as they come, and below everything else, so whatever a query does with the
//! rows (a filter, an aggregation) has the old row at hand.

use wiesel_core::ChangelogMode;
use wiesel_core::diagnostic::Diagnostic;
use wiesel_plan::{ChangelogNormalizeNode, NodeKind};

use crate::catalog::Table;
use crate::config::Config;

/// The node that a table's rows need, over all its columns.
pub(super) fn needed(table: &Table, config: &Config) -> Result<Option<NodeKind>, Diagnostic> {
    let mode = table.info.source_mode;
    let is_upsert = mode == ChangelogMode::Upsert;
    let may_repeat = mode != ChangelogMode::Insert && config.cdc_events_duplicate();
    if !is_upsert && !may_repeat {
        return Ok(None);
    }
    let name = &table.descriptor.name;
    let key = &table.descriptor.primary_key;
    if key.is_empty() {
        let why = if is_upsert {
            format!("table `{name}` gives updates without the row before, which needs a PRIMARY KEY")
        } else {
            format!("'table.exec.source.cdc-events-duplicate' needs a PRIMARY KEY of the changelog table `{name}`")
        };
        return Err(Diagnostic::error("W0204", why).hint("declare PRIMARY KEY (...) NOT ENFORCED in its CREATE TABLE"));
    }
    let place = |name: &String| table.columns.iter().position(|column| column.name == *name);
    let Some(primary_key) = key.iter().map(place).collect::<Option<Vec<usize>>>() else {
        return Err(Diagnostic::error("W0204", format!("a column of the primary key of `{name}` is not there")));
    };
    Ok(Some(NodeKind::ChangelogNormalize(ChangelogNormalizeNode { primary_key, state_ttl_ms: config.state_ttl_ms() })))
}
