//! The way back: which checkpoint a run begins with, and what must happen before it may begin.
//!
//! The newest whole checkpoint wins. A damaged one is passed over with a note, unless a sink has made its work visible exactly once: going
//! back behind that would write the same rows again, so it is refused, naming the sink and the positions, unless duplicates are allowed.
//! A checkpoint of another format is never passed over: going back behind it is not ours to decide. A plan that computes something else
//! takes over what still fits (see `change`); what would be lost is refused unless that is asked for.

use std::path::{Path, PathBuf};

use wiesel_core::{Error, ErrorKind, Result};

use super::Resume;
use super::change::Change;
use super::folder::{self, Folder};
use super::manifest::{Kind, Manifest, OperatorEntry, RunEntry, positions_text};
use super::run::{RestoredState, check_files};
use super::storage;
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
    /// State that is too large to be read into memory as it is: `state` is empty then.
    pub(crate) large: Option<LargeState>,
    /// A durable checkpoint whose work the sinks did not confirm: it is committed before anything else.
    pub(crate) unconfirmed: Option<Manifest>,
    /// The next checkpoint must hold all state, because the files of this one hold what does not belong to the plan, or lie elsewhere.
    pub(crate) needs_full: bool,
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
            large: None,
            unconfirmed: None,
            needs_full: false,
            notes: Vec::new(),
        }
    }

    /// Takes the state that was read, or notes where it lies.
    fn take(&mut self, folder: &Path, runs: Vec<RunEntry>, state: Option<RestoredState>) {
        match state {
            Some(state) => self.state = state,
            None => self.large = Some(LargeState { folder: folder.to_owned(), runs }),
        }
    }
}

/// State files that are whole, and the folder where they lie.
pub(crate) struct LargeState {
    pub(crate) folder: PathBuf,
    pub(crate) runs: Vec<RunEntry>,
}

/// What a plan brings to recovery.
pub(crate) struct Expectation<'a> {
    pub(crate) operators: &'a [OperatorEntry],
    /// The sinks that promise exactly-once and cannot say themselves what they have committed.
    pub(crate) exactly_once: &'a [String],
    pub(crate) fresh: bool,
    /// State that has no place in the plan is dropped.
    pub(crate) allow_non_restored_state: bool,
    /// Going back behind what an exactly-once sink shows is allowed.
    pub(crate) allow_duplicates: bool,
    /// The savepoint to begin with.
    pub(crate) savepoint: Option<&'a Path>,
    pub(crate) now_ms: i64,
    /// More state than this is not read into memory here.
    pub(crate) state_bytes_max: u64,
}

/// Decides what a run begins with.
pub(crate) fn recover(folder: &Folder, expected: &Expectation<'_>) -> Result<Recovered> {
    let mut ids = folder::manifest_ids(folder.path())?;
    let lost = folder::lost_ids(folder.path())?;
    ids.extend(&lost);
    if let Some(savepoint) = expected.savepoint
        && let Some(recovered) = from_savepoint(savepoint, folder, expected, &ids)?
    {
        return Ok(recovered);
    }
    let Some(&newest) = ids.last() else { return Ok(Recovered::nothing(Resume::Fresh)) };
    let mut recovered = Recovered::nothing(Resume::Fresh);
    recovered.next_id = newest + 1;
    folder.fail_points().reach("restore.read");
    for &id in ids.iter().rev() {
        let whole = if lost.contains(&id) {
            Err(Error::data("the sinks confirmed it, and its manifest is gone"))
        } else {
            whole(folder.path(), id, expected.fresh, expected.state_bytes_max, &mut recovered.notes)
        };
        match whole {
            Ok((manifest, state)) => {
                settle(&mut recovered, folder, expected, manifest, state)?;
                return Ok(recovered);
            }
            Err(error) if expected.fresh => recovered.notes.push(format!("checkpoint {id} is passed over: {error}")),
            // Another format, or files that may not be read, are no damage.
            Err(error) if matches!(error.kind(), ErrorKind::Config | ErrorKind::Permission) => {
                return Err(error.at(format!("checkpoint {id}")));
            }
            // Nor is a store that is away.
            Err(error) if error.kind() == ErrorKind::Unavailable && storage::is_remote(folder.path()) => {
                return Err(error.at(format!("checkpoint {id}")));
            }
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

/// A checkpoint with all its files. Its state is not read where nothing goes on from it, and is `None` where it is larger than may be read.
fn whole(
    path: &Path,
    id: u64,
    is_fresh: bool,
    bytes_max: u64,
    notes: &mut Vec<String>,
) -> Result<(Manifest, Option<RestoredState>)> {
    let (manifest, damage) = folder::read_either(path, id)?;
    if let Some(damage) = damage {
        notes.push(format!(
            "one of the two manifests of checkpoint {id} cannot be used, the other one is whole: {damage}"
        ));
    }
    let is_needed = !is_fresh && manifest.kind != Kind::Final;
    let runs = if is_needed { manifest.runs.as_slice() } else { &[] };
    if runs.iter().map(|run| run.bytes).sum::<u64>() > bytes_max {
        check_files(path, runs)?;
        return Ok((manifest, None));
    }
    let state = RestoredState::read(path, runs)?;
    Ok((manifest, Some(state)))
}

fn settle(
    recovered: &mut Recovered,
    folder: &Folder,
    expected: &Expectation<'_>,
    mut manifest: Manifest,
    state: Option<RestoredState>,
) -> Result<()> {
    let id = manifest.id;
    // Work of an earlier checkpoint may have been confirmed while this manifest was on its way.
    let confirmed = folder::newest_committed(folder.path())?;
    for sink in &mut manifest.sinks {
        sink.pending.retain(|pending| confirmed.is_none_or(|confirmed| pending.checkpoint > confirmed));
    }
    let change = Change::of(&manifest, state.as_ref(), expected.operators);
    if !folder::is_committed(folder.path(), id) {
        let mut unconfirmed = manifest.clone();
        change.apply(&mut unconfirmed);
        recovered.unconfirmed = Some(unconfirmed);
    }
    recovered.standing = Some(manifest.clone());
    if expected.fresh {
        recovered.resume = Resume::FreshOnRequest { checkpoint: id };
        return Ok(());
    }
    if manifest.kind == Kind::Final {
        // A run that never said it was done must not be repeated: its rows are about to be visible. Another plan's run is another one.
        let is_open = recovered.unconfirmed.is_some() && !change.is_changed;
        recovered.resume =
            if is_open { Resume::Completes { finished: id } } else { Resume::StartedAnew { finished: id } };
        return Ok(());
    }
    accept(recovered, expected, &change, &format!("checkpoint {id}"))?;
    change.apply(&mut manifest);
    let age_ms = u64::try_from(expected.now_ms.saturating_sub(manifest.time_ms)).unwrap_or(0);
    recovered.resume = Resume::Resumed { checkpoint: id, age_ms };
    recovered.take(folder.path(), manifest.runs.clone(), state);
    recovered.manifest = Some(manifest);
    Ok(())
}

/// Refuses a change that loses state, and notes one that does not or may.
fn accept(recovered: &mut Recovered, expected: &Expectation<'_>, change: &Change, from: &str) -> Result<()> {
    if !change.is_changed {
        return Ok(());
    }
    if change.loses_state && !expected.allow_non_restored_state {
        return Err(Error::config(format!(
            "the plan differs from that of {from}, and state would be lost:{}",
            change.text()
        ))
        .hint(
            "`--allow-non-restored-state` drops that state and goes on with the rest; `--fresh` starts anew and reads the sources \
             from their configured start",
        ));
    }
    recovered.notes.push(format!("the plan differs from that of {from}:{}", change.text()));
    recovered.needs_full = true;
    Ok(())
}

/// Begins with a savepoint, unless the folder's own checkpoints began with it already: then they are further on. `ids` are those of the
/// folder.
fn from_savepoint(
    savepoint: &Path,
    folder: &Folder,
    expected: &Expectation<'_>,
    ids: &[u64],
) -> Result<Option<Recovered>> {
    let place = savepoint_folder(savepoint, folder.path())?;
    let name = place.display().to_string();
    let own = ids.iter().rev().find_map(|id| folder::read_manifest(folder.path(), *id).ok());
    if let Some(own) = &own
        && own.restored_from.as_deref() == Some(name.as_str())
        && !expected.fresh
    {
        return Ok(None);
    }
    let newest = folder::manifest_ids(&place)?.last().copied().ok_or_else(|| {
        Error::config(format!("there is no savepoint in `{name}`"))
            .hint("name the folder that `wiesel savepoint` printed")
    })?;
    if let (Some(sink), Some(own), false) = (expected.exactly_once.first(), &own, expected.allow_duplicates)
        && own.id > newest
    {
        return Err(Error::config(format!(
            "the exactly-once sink `{sink}` shows the rows of checkpoint {}, and savepoint `{name}` is older",
            own.id
        ))
        .hint("`--allow-duplicates` goes back all the same and writes those rows again; leave the savepoint away to resume"));
    }
    let mut recovered = Recovered::nothing(Resume::Fresh);
    recovered.next_id = newest.max(ids.last().copied().unwrap_or(0)) + 1;
    let at = |e: Error| e.at(format!("savepoint `{name}`"));
    let (mut manifest, state) =
        whole(&place, newest, false, expected.state_bytes_max, &mut recovered.notes).map_err(at)?;
    let change = Change::of(&manifest, state.as_ref(), expected.operators);
    accept(&mut recovered, expected, &change, &format!("savepoint `{name}`"))?;
    change.apply(&mut manifest);
    // Its files belong to whoever took it; this job writes its own.
    recovered.take(&place, std::mem::take(&mut manifest.runs), state);
    manifest.restored_from = Some(name.clone());
    recovered.needs_full = true;
    recovered.standing = Some(manifest.clone());
    recovered.resume = Resume::FromSavepoint { path: name };
    recovered.manifest = Some(manifest);
    Ok(Some(recovered))
}

/// The folder of one job in a savepoint: the savepoint of a file with several jobs has one folder each, named as in the state folder.
fn savepoint_folder(savepoint: &Path, state_dir: &Path) -> Result<PathBuf> {
    if !folder::manifest_ids(savepoint)?.is_empty() {
        return Ok(savepoint.to_owned());
    }
    // The savepoint of one job needs no name to be found by.
    let folders = storage::at(savepoint)?.folders()?;
    if let Some(own) = state_dir.file_name().and_then(|name| folders.iter().find(|folder| name == folder.as_str())) {
        return Ok(savepoint.join(own));
    }
    match folders.as_slice() {
        [only] => Ok(savepoint.join(only)),
        _ => Ok(savepoint.to_owned()),
    }
}
