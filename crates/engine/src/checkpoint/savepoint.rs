//! Savepoints: whole checkpoints copied to a place of their own, which nothing sweeps and any job may begin with.
//!
//! ```text
//! <dir>/manifest-7  <dir>/manifest-7.copy  <dir>/manifest-7.committed  <dir>/state-7.run
//! ```
//! A savepoint has the files of a checkpoint, so it is read as one. It is taken when the sinks have confirmed the checkpoint, and holds
//! no work of theirs. In a folder the copy is made beside its name and renamed, so a half-written one never has a savepoint's name; an
//! object store has no rename, and there the manifest comes last: without one nothing is a savepoint.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use wiesel_core::{Error, Result};

use super::folder::{self, StoreError};
use super::manifest::Manifest;
use super::storage::{self, io_error};
use crate::step::control::FailPoints;

/// Copies a durable checkpoint of the folder; gives the savepoint's place.
pub(crate) fn copy(folder: &Path, manifest: &Manifest, to: &Path) -> Result<PathBuf> {
    let mut manifest = manifest.clone();
    manifest.sinks.iter_mut().for_each(|sink| sink.pending.clear());
    let to = storage::absolute(to);
    let name = to.file_name().ok_or_else(|| Error::config(format!("`{}` is no folder to be made", to.display())))?;
    if storage::is_remote(&to) {
        return match write(folder, &manifest, &to) {
            Ok(()) => Ok(to),
            Err(error) => {
                drop(storage::at(&to).and_then(|storage| storage.remove_all()));
                Err(error)
            }
        };
    }
    let mut hidden = name.to_owned();
    hidden.push(".tmp");
    let hidden = to.with_file_name(hidden);
    let cannot = |e: io::Error| io_error("the savepoint could not be written", &to, &e);
    let written = write(folder, &manifest, &hidden).and_then(|()| {
        fs::rename(&hidden, &to).map_err(cannot)?;
        File::open(to.parent().unwrap_or(Path::new("/"))).and_then(|parent| parent.sync_all()).map_err(cannot)
    });
    match written {
        Ok(()) => Ok(to),
        Err(error) => {
            drop(fs::remove_dir_all(&hidden));
            Err(error)
        }
    }
}

fn write(folder: &Path, manifest: &Manifest, to: &Path) -> Result<()> {
    let cannot = |e: io::Error| io_error("the savepoint could not be written", to, &e);
    let durable = |e: StoreError| match e {
        StoreError::Write(error) | StoreError::Fatal(error) => error.at("the savepoint could not be written"),
    };
    let (from, into) = (storage::at(folder)?, storage::at(to)?);
    into.remove_all()?;
    if !storage::is_remote(to) {
        fs::create_dir_all(to).map_err(cannot)?;
    }
    for run in &manifest.runs {
        let mut out = into.create(&run.file).map_err(cannot)?;
        match from.open(&run.file).and_then(|mut input| io::copy(&mut input, &mut out)) {
            Ok(_) => out.finish().map_err(durable)?,
            Err(e) => {
                out.discard();
                return Err(cannot(e));
            }
        }
    }
    into.mark(&folder::committed_name(manifest.id)).map_err(cannot)?;
    let bytes = manifest.encode()?;
    for name in folder::manifest_file_names(manifest.id) {
        into.publish(&name, &bytes, &FailPoints::default()).map_err(durable)?;
    }
    into.settle().map_err(durable)
}
