//! Checkpoints: the state of the whole job between two steps, made durable, and the way back.
//!
//! ```text
//! step end -> sinks prepare, operators freeze what changed             (the loop, a moment)
//!          -> frozen entries into buffers, slice by slice              (between later steps, a few ms at a time)
//!          -> state run file, fsync                                    (helper thread; the loop goes on)
//!          -> all sinks safe -> manifest-N, fsync, folder fsync        = the decision
//!          -> sinks commit N -> committed mark -> sources told -> old files swept      (commit thread; up to 4 checkpoints behind)
//! ```
//! The manifest is the decision: what it lists counts, what it does not never happened. A commit after it is idempotent and repeated on
//! recovery until it is marked. One checkpoint is being gathered at a time; up to four durable ones may wait for their sinks, each listed in
//! the later manifests until it is confirmed.
//!
//! `storage` where files lie (a folder, an object store), `manifest` what is written down, `run` state files, `folder` names, lock and
//! sweeping, `identity` what makes an operator the same operator, `writer` the helper thread, `committer` the one that asks the sinks (both a `helper`),
//! `recovery` the way back, `change` what a changed plan takes over, `savepoint` copies that are kept elsewhere.

pub(crate) mod change;
pub(crate) mod committer;
pub(crate) mod folder;
mod helper;
pub(crate) mod identity;
pub(crate) mod manifest;
pub(crate) mod recovery;
pub(crate) mod run;
pub(crate) mod savepoint;
pub(crate) mod storage;
pub(crate) mod writer;

use std::path::Path;

use wiesel_core::Result;

pub use manifest::Kind;

/// What a run begins with; the run's first line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// Nothing is kept for this job (a query that is shown).
    NotKept,
    /// No checkpoint was there.
    Fresh,
    /// There was a checkpoint, but a fresh start was asked for.
    FreshOnRequest {
        /// The checkpoint that is passed over.
        checkpoint: u64,
    },
    /// The job goes on from a checkpoint.
    Resumed {
        /// Its id.
        checkpoint: u64,
        /// Its age.
        age_ms: u64,
    },
    /// The job begins with a savepoint.
    FromSavepoint {
        /// Its folder.
        path: String,
    },
    /// The last run reached the end of its input, so this one starts anew.
    StartedAnew {
        /// The checkpoint that says so.
        finished: u64,
    },
    /// The last run reached the end of its input and died before the sinks confirmed it: this one commits that work, and is done.
    Completes {
        /// The checkpoint that holds it.
        finished: u64,
    },
}

impl std::fmt::Display for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Resume::NotKept => f.write_str("started"),
            Resume::Fresh => f.write_str("started fresh, no checkpoint was there"),
            Resume::FreshOnRequest { checkpoint } => write!(f, "started fresh, passing over checkpoint {checkpoint}"),
            Resume::Resumed { checkpoint, age_ms } => {
                write!(f, "resumed from checkpoint {checkpoint}, {} s old", age_ms / 1_000)
            }
            Resume::FromSavepoint { path } => write!(f, "started from savepoint `{path}`"),
            Resume::StartedAnew { finished } => {
                write!(f, "started anew, the last run reached its end (checkpoint {finished})")
            }
            Resume::Completes { finished } => {
                write!(f, "completes the last run, which died at the end of its input (checkpoint {finished})")
            }
        }
    }
}

/// A checkpoint that lies in a job's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// Its id.
    pub id: u64,
    /// When it began, wall-clock ms; `None` when the manifest cannot be read.
    pub time_ms: Option<i64>,
    /// Bytes of state that a restore reads.
    pub state_bytes: u64,
    /// Bytes written for this checkpoint alone.
    pub written_bytes: u64,
    /// From its begin until the manifest was written.
    pub duration_ms: u64,
    /// Why it was taken.
    pub kind: Option<Kind>,
    /// Whether the sinks confirmed its work.
    pub is_committed: bool,
    /// Whether the next run would resume from it.
    pub would_resume: bool,
    /// Why it cannot be used, when it cannot.
    pub damage: Option<String>,
}

/// What the newest whole checkpoint of a folder says of the job that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub id: u64,
    /// Why it was taken.
    pub kind: Kind,
    /// Whether the sinks confirmed all work.
    pub is_confirmed: bool,
    /// The tables that the job writes.
    pub sinks: Vec<String>,
    /// One line for each part that holds something.
    pub held: Vec<String>,
}

/// What the newest whole checkpoint of a folder says. `None` when there is none, or none that can be read.
pub fn standing(state_dir: &Path) -> Result<Option<Standing>> {
    let whole =
        folder::manifest_ids(state_dir)?.into_iter().rev().find_map(|id| folder::read_manifest(state_dir, id).ok());
    Ok(whole.map(|mut manifest| {
        let is_confirmed = folder::is_committed(state_dir, manifest.id);
        if is_confirmed {
            manifest.sinks.iter_mut().for_each(|sink| sink.pending.clear());
        }
        Standing {
            id: manifest.id,
            kind: manifest.kind,
            is_confirmed,
            sinks: manifest.sinks.iter().map(|sink| sink.table.clone()).collect(),
            held: change::held_lines(&manifest),
        }
    }))
}

/// Reads the bytes of a manifest: any damage is an error. For tests that feed damaged ones.
#[doc(hidden)]
pub fn try_manifest(bytes: &[u8]) -> Result<()> {
    manifest::Manifest::decode(bytes).map(drop)
}

/// Reads the bytes of a state file; the number of its tables. For tests that feed damaged ones.
#[doc(hidden)]
pub fn try_state(bytes: &[u8]) -> Result<usize> {
    let mut state = run::RestoredState::default();
    state.merge(bytes)?;
    Ok(state.tables.len())
}

/// The places within a place (a folder, or a prefix of an object store), by their names.
pub fn folders(path: &Path) -> Result<Vec<String>> {
    storage::at(path)?.folders()
}

/// Removes a place with everything in it.
pub fn remove(path: &Path) -> Result<()> {
    storage::at(path)?.remove_all()
}

/// The newest checkpoint of a job's folder, whole or not.
pub fn newest(state_dir: &Path) -> Result<Option<u64>> {
    Ok(folder::manifest_ids(state_dir)?.last().copied())
}

/// The checkpoints of a job's folder, oldest first. A folder that does not exist holds none.
pub fn list(state_dir: &Path) -> Result<Vec<CheckpointInfo>> {
    let mut infos = Vec::new();
    for id in folder::manifest_ids(state_dir)? {
        let is_committed = folder::is_committed(state_dir, id);
        let whole = folder::read_manifest(state_dir, id)
            .and_then(|manifest| run::check_files(state_dir, &manifest.runs).map(|()| manifest));
        infos.push(match whole {
            Ok(manifest) => CheckpointInfo {
                id,
                time_ms: Some(manifest.time_ms),
                state_bytes: manifest.runs.iter().map(|r| r.bytes).sum(),
                written_bytes: manifest.written_bytes,
                duration_ms: manifest.duration_ms,
                kind: Some(manifest.kind),
                is_committed,
                would_resume: false,
                damage: None,
            },
            Err(error) => CheckpointInfo {
                id,
                time_ms: None,
                state_bytes: 0,
                written_bytes: 0,
                duration_ms: 0,
                kind: None,
                is_committed,
                would_resume: false,
                damage: Some(error.message().to_owned()),
            },
        });
    }
    if let Some(newest) = infos.iter_mut().rev().find(|i| i.damage.is_none()) {
        newest.would_resume = newest.kind != Some(Kind::Final);
    }
    Ok(infos)
}
