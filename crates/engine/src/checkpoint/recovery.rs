//! The way back: which checkpoint a run begins with, and what must happen before it may begin.
//!
//! The newest whole checkpoint wins. A damaged one is passed over with a note, unless a sink has made its work visible exactly once: going
//! back behind that would write the same rows again, so it is refused. A plan that computes something else is refused as well, naming the
//! operators, because its state would mean something else.

use std::collections::BTreeSet;

use wiesel_core::{Error, Result};

use super::Resume;
use super::folder::{self, Folder};
use super::manifest::{Kind, Manifest, OperatorEntry, positions_text};
use super::run::{RestoredState, check_files};
use crate::step::claim::refuse_fall_back;

/// What a run begins with.
pub(crate) struct Recovered {
    pub(crate) resume: Resume,
    /// Ids go on after a restart, also after a fresh start.
    pub(crate) next_id: u64,
    /// The checkpoint that the job goes on from.
    pub(crate) manifest: Option<Manifest>,
    pub(crate) state: RestoredState,
    /// The newest whole checkpoint, also when the run starts anew.
    pub(crate) standing: Option<Manifest>,
    /// The state is too large to be read into memory as it is: `state` is empty, the files are whole.
    pub(crate) is_large: bool,
    /// A durable checkpoint whose work the sinks did not confirm: it is committed before anything else.
    pub(crate) unconfirmed: Option<Manifest>,
    pub(crate) notes: Vec<String>,
}

impl Recovered {
    pub(crate) fn nothing(resume: Resume) -> Self {
        Recovered {
            resume,
            next_id: 1,
            manifest: None,
            state: RestoredState::default(),
            standing: None,
            is_large: false,
            unconfirmed: None,
            notes: Vec::new(),
        }
    }
}

/// What a plan brings to recovery.
pub(crate) struct Expectation<'a> {
    pub(crate) operators: &'a [OperatorEntry],
    /// The sinks that promise exactly-once and cannot say themselves what they have committed.
    pub(crate) exactly_once: &'a [String],
    pub(crate) fresh: bool,
    pub(crate) allow_duplicates: bool,
    pub(crate) now_ms: i64,
    /// More state than this is not read into memory here.
    pub(crate) state_bytes_max: u64,
}

/// Decides what a run begins with.
pub(crate) fn recover(folder: &Folder, expected: &Expectation<'_>) -> Result<Recovered> {
    let ids = folder::manifest_ids(folder.path())?;
    let Some(&newest) = ids.last() else { return Ok(Recovered::nothing(Resume::Fresh)) };
    let mut recovered = Recovered::nothing(Resume::Fresh);
    recovered.next_id = newest + 1;
    folder.fail_points().reach("restore.read");
    for &id in ids.iter().rev() {
        let whole = folder::read_manifest(folder.path(), id).and_then(|manifest| {
            let is_needed = !expected.fresh && manifest.kind != Kind::Final;
            let runs = if is_needed { manifest.runs.as_slice() } else { &[] };
            if runs.iter().map(|run| run.bytes).sum::<u64>() > expected.state_bytes_max {
                check_files(folder.path(), runs)?;
                return Ok((manifest, None));
            }
            RestoredState::read(folder.path(), runs).map(|state| (manifest, Some(state)))
        });
        match whole {
            Ok((manifest, state)) => {
                settle(&mut recovered, folder, expected, manifest, state)?;
                return Ok(recovered);
            }
            Err(error) if expected.fresh => recovered.notes.push(format!("checkpoint {id} is passed over: {error}")),
            Err(error) => {
                if let Some(sink) = expected.exactly_once.first().filter(|_| !expected.allow_duplicates) {
                    let at = |id| folder::read_manifest(folder.path(), id).ok().map(|m| (id, positions_text(&m)));
                    let older = ids.iter().rev().filter(|older| **older < id).find_map(|older| at(*older));
                    let lost_at = at(id).map(|(_, text)| text).unwrap_or_default();
                    return Err(refuse_fall_back(error, id, sink, &lost_at, older));
                }
                recovered.notes.push(format!("checkpoint {id} is damaged and passed over: {error}"));
            }
        }
    }
    if expected.fresh {
        recovered.resume = Resume::FreshOnRequest { checkpoint: newest };
        return Ok(recovered);
    }
    let notes = recovered.notes.join("\n");
    Err(Error::data(format!("no checkpoint in `{}` can be read\n{notes}", folder.path().display()))
        .hint("`--fresh` starts anew"))
}

fn settle(
    recovered: &mut Recovered,
    folder: &Folder,
    expected: &Expectation<'_>,
    manifest: Manifest,
    state: Option<RestoredState>,
) -> Result<()> {
    let id = manifest.id;
    if !folder::is_committed(folder.path(), id) {
        recovered.unconfirmed = Some(manifest.clone());
    }
    recovered.standing = Some(manifest.clone());
    if expected.fresh {
        recovered.resume = Resume::FreshOnRequest { checkpoint: id };
        return Ok(());
    }
    if manifest.kind == Kind::Final {
        // A run that never said it was done must not be repeated: its rows are about to be visible. Another plan's run is another one.
        let is_open = recovered.unconfirmed.is_some() && compare(&manifest, expected.operators).is_ok();
        recovered.resume =
            if is_open { Resume::Completes { finished: id } } else { Resume::StartedAnew { finished: id } };
        return Ok(());
    }
    compare(&manifest, expected.operators)?;
    let age_ms = u64::try_from(expected.now_ms.saturating_sub(manifest.time_ms)).unwrap_or(0);
    recovered.resume = Resume::Resumed { checkpoint: id, age_ms };
    recovered.manifest = Some(manifest);
    recovered.is_large = state.is_none();
    recovered.state = state.unwrap_or_default();
    Ok(())
}

/// Refuses a plan that computes something else than the checkpoint's.
fn compare(manifest: &Manifest, operators: &[OperatorEntry]) -> Result<()> {
    let ids = |list: &[OperatorEntry]| list.iter().map(|o| o.id.clone()).collect::<BTreeSet<_>>();
    let (old, new) = (ids(&manifest.operators), ids(operators));
    if old == new {
        return Ok(());
    }
    let lines = |sign: &str, list: &[OperatorEntry], other: &BTreeSet<String>| {
        let changed = list.iter().filter(|o| !other.contains(&o.id));
        changed.map(|o| format!("\n  {sign} {}", o.label)).collect::<String>()
    };
    Err(Error::config(format!(
        "the plan differs from that of checkpoint {}, so its state cannot be used:{}{}",
        manifest.id,
        lines("-", &manifest.operators, &new),
        lines("+", operators, &old)
    ))
    .hint("`--fresh` starts anew and reads the sources from their configured start"))
}
