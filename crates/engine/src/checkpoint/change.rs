//! What becomes of a checkpoint's parts when the plan has changed: each is kept, dropped, or begins empty, and that is said before it
//! happens.
//!
//! An operator is kept when it computes the same from the same (its id, see `identity`). A source is kept when its table is read once in
//! both plans, whatever columns are read; a sink when its table is written once in both, whatever is computed above it: positions and
//! open files belong to the table, not to the query. What is dropped with state in it (entries, positions, work that a sink has not
//! confirmed) is a loss, and a loss is refused unless it was asked for. An operator that is new begins empty where the sources stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::manifest::{Manifest, OperatorEntry};
use super::run::RestoredState;

/// Lines of a comparison that are shown; a plan of more operators is cut off with a count.
const LINES_MAX: usize = 60;

/// The comparison of a checkpoint with a plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// One line per part that holds state or will: `keep`, `drop` or `rebuild`, and what it is.
    lines: Vec<String>,
    /// Whether state is dropped.
    pub(crate) loses_state: bool,
    /// Whether anything differs at all.
    pub(crate) is_changed: bool,
    /// Ids of the checkpoint that go under another one now.
    renamed: BTreeMap<String, String>,
}

impl Change {
    /// Compares. Without the state itself every operator that keeps state counts as having some.
    pub(crate) fn of(manifest: &Manifest, state: Option<&RestoredState>, operators: &[OperatorEntry]) -> Change {
        let ids = |list: &[OperatorEntry]| list.iter().map(|o| o.id.clone()).collect::<BTreeSet<_>>();
        let (old, new) = (ids(&manifest.operators), ids(operators));
        let mut change = Change { is_changed: old != new, ..Change::default() };
        if !change.is_changed {
            return change;
        }
        let mut entries: BTreeMap<&str, usize> = BTreeMap::new();
        for ((id, _), table) in state.iter().flat_map(|state| &state.tables) {
            *entries.entry(id.as_str()).or_default() += table.len();
        }
        change.rename(manifest, operators, &new);
        let mut lines: Vec<(u8, String)> = Vec::new();
        for operator in &manifest.operators {
            let unread = usize::from(state.is_none() && operator.keeps_state);
            let held = held(manifest, &operator.id, entries.get(operator.id.as_str()).copied().unwrap_or(unread));
            let is_kept = new.contains(&operator.id) || change.renamed.contains_key(&operator.id);
            match (is_kept, held) {
                (true, Some(held)) => lines.push((0, format!("keep     {}: {held}", operator.label))),
                (false, Some(held)) => {
                    change.loses_state = true;
                    lines.push((1, format!("drop     {}: {held}", operator.label)));
                }
                (_, None) => {}
            }
        }
        let taken: BTreeSet<&String> = change.renamed.values().collect();
        for operator in operators.iter().filter(|o| o.keeps_state && !old.contains(&o.id) && !taken.contains(&o.id)) {
            lines.push((2, format!("rebuild  {}: begins empty, where the sources stand", operator.label)));
        }
        lines.sort_by_key(|(order, _)| *order);
        change.lines = lines.into_iter().map(|(_, line)| line).collect();
        change
    }

    fn rename(&mut self, manifest: &Manifest, operators: &[OperatorEntry], new: &BTreeSet<String>) {
        let sources = manifest.sources.iter().map(|e| ("source", &e.operator, &e.table));
        let sinks = manifest.sinks.iter().map(|e| ("sink", &e.operator, &e.table));
        let watermarks = manifest.watermarks.iter().map(|e| ("watermark", &e.operator, &e.table));
        let old: Vec<_> = sources.chain(sinks).chain(watermarks).filter(|(_, _, table)| !table.is_empty()).collect();
        for (role, id, table) in &old {
            if new.contains(*id) {
                continue;
            }
            let twins = old.iter().filter(|(r, _, t)| r == role && t == table).count();
            let mut now = operators.iter().filter(|o| o.role == *role && o.table == **table);
            if let (1, Some(only), None) = (twins, now.next(), now.next()) {
                self.renamed.insert((*id).clone(), only.id.clone());
            }
        }
    }

    /// Gives what is kept the ids of the plan.
    pub(crate) fn apply(&self, manifest: &mut Manifest) {
        let rename = |id: &mut String| {
            if let Some(new) = self.renamed.get(id) {
                id.clone_from(new);
            }
        };
        manifest.sources.iter_mut().for_each(|e| rename(&mut e.operator));
        manifest.sinks.iter_mut().for_each(|e| rename(&mut e.operator));
        manifest.watermarks.iter_mut().for_each(|e| rename(&mut e.operator));
    }

    /// The lines, indented, each on its own.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for line in self.lines.iter().take(LINES_MAX) {
            _ = write!(text, "\n  {line}");
        }
        if self.lines.len() > LINES_MAX {
            _ = write!(text, "\n  and {} more", self.lines.len() - LINES_MAX);
        }
        text
    }
}

/// What the parts of a checkpoint hold, its state unread: one line each.
pub(crate) fn held_lines(manifest: &Manifest) -> Vec<String> {
    let line = |operator: &OperatorEntry| {
        let state = operator.keeps_state.then(|| "state".to_owned());
        let held: Vec<String> = state.into_iter().chain(held(manifest, &operator.id, 0)).collect();
        (!held.is_empty()).then(|| format!("{}: {}", operator.label, held.join(", ")))
    };
    manifest.operators.iter().filter_map(line).take(LINES_MAX).collect()
}

/// What an operator of a checkpoint holds, if anything.
fn held(manifest: &Manifest, id: &str, entries: usize) -> Option<String> {
    let mut parts = Vec::new();
    if entries > 0 {
        parts.push(format!("{entries} state entr{}", if entries == 1 { "y" } else { "ies" }));
    }
    let splits: usize = manifest.sources.iter().filter(|s| s.operator == id).map(|s| s.splits.len()).sum();
    if splits > 0 {
        parts.push(format!("positions of {splits} split{}", if splits == 1 { "" } else { "s" }));
    }
    if let Some(sink) = manifest.sinks.iter().find(|s| s.operator == id) {
        if !sink.pending.is_empty() {
            parts.push("rows that are not confirmed".to_owned());
        }
        if sink.states.iter().any(|state| !state.is_empty()) {
            parts.push("what the sink knows of its open work".to_owned());
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::{FORMAT, Kind, SinkEntry, SourceEntry, SplitEntry, WatermarkEntry};

    fn operator(id: &str, role: &str, table: &str, keeps_state: bool) -> OperatorEntry {
        OperatorEntry {
            id: id.to_owned(),
            label: format!("{role} {id}"),
            role: role.to_owned(),
            table: table.to_owned(),
            keeps_state,
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            program: String::new(),
            id: 3,
            time_ms: 0,
            duration_ms: 0,
            kind: Kind::Stop,
            job: "q".to_owned(),
            written_bytes: 0,
            operators: vec![
                operator("s1", "source", "t", false),
                operator("w1", "watermark", "t", false),
                operator("g1", "", "", true),
                operator("o1", "sink", "out", false),
            ],
            sources: vec![SourceEntry {
                operator: "s1".to_owned(),
                table: "t".to_owned(),
                splits: vec![SplitEntry { name: "t-0".to_owned(), position: 7, end: None }],
            }],
            watermarks: vec![WatermarkEntry {
                operator: "w1".to_owned(),
                table: "t".to_owned(),
                emitted: 5,
                splits: Vec::new(),
            }],
            inputs: Vec::new(),
            sinks: vec![SinkEntry {
                operator: "o1".to_owned(),
                table: "out".to_owned(),
                delivery: "exactly-once".to_owned(),
                states: vec![vec![1]],
                pending: Vec::new(),
            }],
            runs: Vec::new(),
            letters: Vec::new(),
            restored_from: None,
        }
    }

    fn state() -> RestoredState {
        let mut state = RestoredState::default();
        state.tables.insert(("g1".to_owned(), 0), [((vec![1], 0), vec![2])].into());
        state
    }

    #[test]
    fn an_unchanged_plan_has_nothing_to_say() {
        let manifest = manifest();
        let change = Change::of(&manifest, Some(&state()), &manifest.operators);
        assert_eq!((change.is_changed, change.loses_state, change.text().as_str()), (false, false, ""));
    }

    #[test]
    fn a_changed_aggregate_is_a_loss_while_positions_and_files_are_kept() {
        let mut manifest = manifest();
        let now = [
            operator("s2", "source", "t", false),
            operator("w2", "watermark", "t", false),
            operator("g2", "", "", true),
            operator("o2", "sink", "out", false),
        ];
        let change = Change::of(&manifest, Some(&state()), &now);
        assert!(change.is_changed && change.loses_state);
        let expected = "\n  keep     source s1: positions of 1 split\n  keep     sink o1: what the sink knows of its open work\
                        \n  drop      g1: 1 state entry\n  rebuild   g2: begins empty, where the sources stand";
        assert_eq!(change.text(), expected);
        change.apply(&mut manifest);
        let ids = (&manifest.sources[0].operator, &manifest.watermarks[0].operator, &manifest.sinks[0].operator);
        assert_eq!((ids.0.as_str(), ids.1.as_str(), ids.2.as_str()), ("s2", "w2", "o2"));
    }

    #[test]
    fn a_table_that_is_read_twice_is_not_guessed_at() {
        let manifest = manifest();
        let now = [
            operator("s2", "source", "t", false),
            operator("s3", "source", "t", false),
            operator("g1", "", "", true),
            operator("o1", "sink", "out", false),
        ];
        let change = Change::of(&manifest, Some(&state()), &now);
        assert!(change.loses_state, "{}", change.text());
        assert!(change.text().contains("drop     source s1: positions of 1 split"), "{}", change.text());
    }
}
