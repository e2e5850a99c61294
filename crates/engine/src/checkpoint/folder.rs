//! A job's folder: file names, the lock, publishing a manifest, sweeping what no manifest names. Where the folder lies is `storage`'s
//! business.
//!
//! ```text
//! lock                     held while a job runs, names its pid
//! state-N.run              state entries written for checkpoint N
//! state-N-K.run            entries written before it, when memory was full
//! store                    the database of a running job whose state is larger than memory; scratch
//! manifest-N, manifest-N.copy   the decision, twice
//! manifest-N.committed     the sinks confirmed N
//! ```
//! A manifest appears whole under a name that never existed, so a half-written one never has a real name and a second program never
//! replaces it. An fsync error is fatal: what the disk holds is unknown from then on.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wiesel_core::{Error, Result};

use super::manifest::{Manifest, RunEntry};
use super::run::RunBuffer;
pub(crate) use super::storage::io_error;
use super::storage::{self, Storage};
use crate::state::store::Frozen;
use crate::step::control::FailPoints;

/// Manifests kept, the newest ones.
const MANIFESTS_KEPT: usize = 3;

/// Why something could not be made durable.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// Nothing real was touched (the disk is full): the checkpoint fails, the job goes on, the last checkpoint stands.
    Write(Error),
    /// What the disk holds is unknown: the job ends.
    Fatal(Error),
}

/// A job's folder, locked.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    storage: Arc<dyn Storage>,
    fail_points: FailPoints,
    /// Held for its lock alone, which ends with the file.
    _lock: File,
}

impl Folder {
    /// Makes the folder and takes its lock. The kernel drops the lock of a dead process, so a stale file is no obstacle.
    pub(crate) fn open(path: &Path, fail_points: FailPoints) -> Result<Folder> {
        let own = storage::scratch(path);
        fs::create_dir_all(&own).map_err(|e| io_error("the state folder could not be made", &own, &e))?;
        let name = own.join("lock");
        let cannot = |e: io::Error| io_error("the lock file could not be used", &name, &e);
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&name).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                drop(lock.read_to_string(&mut pid));
                return Err(Error::config(format!(
                    "another process runs this job: pid {} holds the lock of `{}`",
                    pid.trim(),
                    path.display()
                ))
                .hint("stop that process, or give this job a state folder of its own"));
            }
            Err(TryLockError::Error(e)) => return Err(cannot(e)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(cannot)?;
        Ok(Folder { path: path.to_owned(), storage: storage::claimed(path)?, fail_points, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fail_points(&self) -> &FailPoints {
        &self.fail_points
    }

    /// Writes a state file, in front of `buffers` what the store holds when there is a `base`; it counts only once a manifest names it.
    /// `early` numbers the files that are written before their checkpoint begins.
    pub(crate) fn write_run(
        &self,
        id: u64,
        early: Option<u64>,
        ids: &[String],
        base: Option<&Frozen>,
        buffers: &[RunBuffer],
    ) -> Result<RunEntry, StoreError> {
        let file = early.map_or_else(|| format!("state-{id}.run"), |number| format!("state-{id}-{number}.run"));
        let path = self.path.join(&file);
        let cannot = |e: io::Error| StoreError::Write(io_error("the state file could not be written", &path, &e));
        let mut out = self.storage.create(&file).map_err(cannot)?;
        let written = super::run::write(&mut out, ids, base, buffers, || self.fail_points.reach("state.write"));
        let (bytes, crc32) = match written {
            Ok(written) => written,
            Err(e) => {
                out.discard();
                return Err(cannot(e));
            }
        };
        self.fail_points.reach("state.fsync");
        out.finish()?;
        self.fail_points.reach("state.ingest");
        Ok(RunEntry { file, bytes, crc32 })
    }

    /// Makes a checkpoint real.
    pub(crate) fn publish(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let bytes = manifest.encode().map_err(StoreError::Fatal)?;
        for name in manifest_file_names(manifest.id) {
            self.storage.publish(&name, &bytes, &self.fail_points)?;
        }
        self.fail_points.reach("dir.fsync");
        self.storage.settle()
    }

    /// Marks that the sinks confirmed a checkpoint. Losing the mark costs a repeated commit, no more, so it is not fsynced.
    pub(crate) fn mark_committed(&self, id: u64) -> Result<()> {
        self.fail_points.reach("commit.recorded");
        let path = self.path.join(committed_name(id));
        self.storage.mark(&committed_name(id)).map_err(|e| io_error("the commit could not be marked", &path, &e))
    }

    /// Removes manifests beyond the newest ones and everything that no kept manifest names.
    pub(crate) fn sweep(&self) -> Result<()> {
        let ids = manifest_ids(&self.path)?;
        let kept: BTreeSet<u64> = ids.iter().rev().take(MANIFESTS_KEPT).copied().collect();
        let mut named: BTreeSet<String> = BTreeSet::new();
        for &id in &kept {
            // A damaged manifest names nothing that could be read, but its neighbours do.
            if let Ok(manifest) = read_manifest(&self.path, id) {
                named.extend(manifest.runs.into_iter().map(|r| r.file));
            }
        }
        self.fail_points.reach("ckpt.gc");
        // Nothing of this process is under way: checkpoints are written, and swept, by one thread.
        self.storage.give_up_unfinished()?;
        let confirmed = newest_committed(&self.path)?;
        for name in file_names(&self.path)? {
            let is_garbage = match Name::parse(&name) {
                Name::Temporary => true,
                // Later manifests list what it confirms as open.
                Name::Manifest(id) if confirmed == Some(id) && name.ends_with(".committed") => false,
                Name::Manifest(id) => !kept.contains(&id),
                // A file of a checkpoint to come is named by no manifest yet.
                Name::Run(id) => !named.contains(&name) && ids.last().is_none_or(|newest| id <= *newest),
                Name::Foreign => false,
            };
            if is_garbage {
                let path = self.path.join(&name);
                self.storage.remove(&name).map_err(|e| io_error("an old file could not be removed", &path, &e))?;
            }
        }
        Ok(())
    }
}

enum Name {
    Temporary,
    Manifest(u64),
    Run(u64),
    Foreign,
}

impl Name {
    fn parse(name: &str) -> Name {
        if let Some(rest) = name.strip_prefix("manifest-") {
            if rest.ends_with(".tmp") {
                return Name::Temporary;
            }
            let id = rest.split('.').next().and_then(|id| id.parse().ok());
            return id.map_or(Name::Foreign, Name::Manifest);
        }
        let numbers = name.strip_prefix("state-").and_then(|rest| rest.strip_suffix(".run"));
        let id = numbers.and_then(|numbers| numbers.split('-').next()?.parse().ok());
        id.map_or(Name::Foreign, Name::Run)
    }
}

fn manifest_name(id: u64) -> String {
    format!("manifest-{id}")
}

/// The manifest and its copy.
pub(crate) fn manifest_file_names(id: u64) -> [String; 2] {
    [manifest_name(id), format!("{}.copy", manifest_name(id))]
}

/// The mark that the sinks confirmed.
pub(crate) fn committed_name(id: u64) -> String {
    format!("{}.committed", manifest_name(id))
}

/// The ids that have a manifest or a copy of one, ascending.
pub(crate) fn manifest_ids(path: &Path) -> Result<Vec<u64>> {
    let mut ids = BTreeSet::new();
    for name in file_names(path)? {
        if let Name::Manifest(id) = Name::parse(&name)
            && !name.ends_with(".committed")
        {
            ids.insert(id);
        }
    }
    Ok(ids.into_iter().collect())
}

/// Reads a manifest, or its copy when it is damaged.
pub(crate) fn read_manifest(path: &Path, id: u64) -> Result<Manifest> {
    read_either(path, id).map(|(manifest, _)| manifest)
}

/// Reads a manifest, or its copy; a damaged one of the two comes with what is wrong with it.
pub(crate) fn read_either(path: &Path, id: u64) -> Result<(Manifest, Option<Error>)> {
    let storage = storage::at(path)?;
    let read = |name: String| {
        let path = path.join(&name);
        let bytes = storage.read(&name).map_err(|e| io_error("the manifest could not be read", &path, &e))?;
        let manifest = Manifest::decode(&bytes).map_err(|e| e.at(format!("`{name}`")))?;
        if manifest.id != id {
            return Err(Error::data(format!("`{name}` holds checkpoint {}", manifest.id)));
        }
        Ok(manifest)
    };
    match read(manifest_name(id)) {
        Ok(manifest) => Ok((manifest, None)),
        // Another format is not damage, and the copy has it too.
        Err(first) if first.kind() == wiesel_core::ErrorKind::Config => Err(first),
        Err(first) => match read(format!("{}.copy", manifest_name(id))) {
            Ok(manifest) => Ok((manifest, Some(first))),
            Err(_) => Err(first),
        },
    }
}

/// Checkpoints that sinks confirmed and whose manifests are gone: their mark is the last trace of them.
pub(crate) fn lost_ids(path: &Path) -> Result<Vec<u64>> {
    let known = manifest_ids(path)?;
    let mut lost = Vec::new();
    for name in file_names(path)? {
        if let (Name::Manifest(id), true) = (Name::parse(&name), name.ends_with(".committed"))
            && known.last().is_none_or(|newest| id > *newest)
        {
            lost.push(id);
        }
    }
    lost.sort_unstable();
    Ok(lost)
}

/// Whether the sinks confirmed a checkpoint.
pub(crate) fn is_committed(path: &Path, id: u64) -> bool {
    storage::at(path).is_ok_and(|storage| storage.exists(&committed_name(id)))
}

/// The newest checkpoint that the sinks confirmed: all work of it, and of the ones before it, is visible.
pub(crate) fn newest_committed(path: &Path) -> Result<Option<u64>> {
    let id = |name: String| match Name::parse(&name) {
        Name::Manifest(id) if name.ends_with(".committed") => Some(id),
        _ => None,
    };
    Ok(file_names(path)?.into_iter().filter_map(id).max())
}

fn file_names(path: &Path) -> Result<Vec<String>> {
    storage::at(path)?.names()
}
