//! Savepoints: whole checkpoints copied to a folder of their own, which nothing sweeps and any job may begin with.
//!
//! ```text
//! <dir>/manifest-7  <dir>/manifest-7.copy  <dir>/manifest-7.committed  <dir>/state-7.run
//! ```
//! A savepoint has the files of a checkpoint, so it is read as one. It is taken when the sinks have confirmed the checkpoint, and holds
//! no work of theirs. The copy is made beside its name and renamed, so a half-written one never has a savepoint's name.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use wiesel_core::{Error, Result};

use super::folder::{self, io_error};
use super::manifest::Manifest;

/// Copies a durable checkpoint of the folder; gives the savepoint's place.
pub(crate) fn copy(folder: &Path, manifest: &Manifest, to: &Path) -> Result<PathBuf> {
    let mut manifest = manifest.clone();
    manifest.sinks.iter_mut().for_each(|sink| sink.pending.clear());
    let to = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
    let name = to.file_name().ok_or_else(|| Error::config(format!("`{}` is no folder to be made", to.display())))?;
    let mut hidden = name.to_owned();
    hidden.push(".tmp");
    let hidden = to.with_file_name(hidden);
    let written = write(folder, &manifest, &hidden).and_then(|()| {
        fs::rename(&hidden, &to)?;
        File::open(to.parent().unwrap_or(Path::new("/")))?.sync_all()
    });
    match written {
        Ok(()) => Ok(to),
        Err(e) => {
            drop(fs::remove_dir_all(&hidden));
            Err(io_error("the savepoint could not be written", &to, &e))
        }
    }
}

fn write(folder: &Path, manifest: &Manifest, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for run in &manifest.runs {
        fs::copy(folder.join(&run.file), to.join(&run.file))?;
        File::open(to.join(&run.file))?.sync_all()?;
    }
    let bytes = manifest.encode().map_err(|e| io::Error::other(e.to_string()))?;
    for name in folder::manifest_file_names(manifest.id) {
        let path = to.join(name);
        fs::write(&path, &bytes)?;
        File::open(&path)?.sync_all()?;
    }
    File::create(to.join(folder::committed_name(manifest.id)))?;
    File::open(to)?.sync_all()
}
