//! A staging file: what an exactly-once sink keeps between a checkpoint and its commit. Written once from front to back, fsynced with its
//! folder before the checkpoint names it, read once, removed after the commit.
//!
//! ```text
//! <prefix>-<number>.stage:   [length: 4 bytes][frame] [length][frame] ...
//! ```
//! The checkpoint keeps name, length and checksum; a file that does not agree is never committed. Files of one sink share a prefix, by
//! which leftovers of a crashed run are found.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wiesel_core::{Error, Result};

/// A frame that claims to be longer is damage.
const FRAME_BYTES_MAX: usize = 1 << 30;
const COPY_BYTES: usize = 64 << 10;

/// A finished staging file as a checkpoint names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staged {
    /// Its name inside the loop's folder.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
    /// Changes in it.
    pub(crate) changes: u64,
}

/// A staging file being written.
pub(crate) struct StageWriter {
    path: PathBuf,
    name: String,
    file: File,
    bytes: u64,
    changes: u64,
    hash: crc32fast::Hasher,
}

impl StageWriter {
    /// Begins a file; one that a crashed run left under the same name is overwritten.
    pub(crate) fn create(folder: &Path, prefix: &str, number: u64) -> Result<StageWriter> {
        let name = format!("{prefix}-{number}.stage");
        let path = folder.join(&name);
        let file = File::create(&path).map_err(|e| io_error("could not be made", &path, &e))?;
        let hash = crc32fast::Hasher::new();
        Ok(StageWriter { path, name, file, bytes: 0, changes: 0, hash })
    }

    /// Adds a frame that holds so many changes. After an `Unavailable` error (the disk is full) the file is as it was, so the call may be
    /// repeated.
    pub(crate) fn append(&mut self, frame: &[u8], changes: u64) -> Result<()> {
        let length = u32::try_from(frame.len()).ok().filter(|_| frame.len() <= FRAME_BYTES_MAX);
        let length =
            length.ok_or_else(|| Error::data(format!("{} bytes are too many to stage at once", frame.len())))?;
        let header = length.to_le_bytes();
        let written = self.file.write_all(&header).and_then(|()| self.file.write_all(frame));
        if let Err(e) = written {
            let cut = self.file.set_len(self.bytes).and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
            return Err(match cut {
                Ok(_) => io_error("could not be written", &self.path, &e),
                Err(e) => Error::internal(format!("`{}` could not be cut back: {e}", self.path.display())),
            });
        }
        self.hash.update(&header);
        self.hash.update(frame);
        self.bytes += (header.len() + frame.len()) as u64;
        self.changes += changes;
        Ok(())
    }

    /// The file's length so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the file durable. After an fsync error what the disk holds is unknown, so the job ends.
    pub(crate) fn seal(self) -> Result<Staged> {
        let synced = self.file.sync_all().and_then(|()| match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        });
        synced.map_err(|e| {
            Error::internal(format!(
                "fsync of `{}` failed, so what the disk holds is unknown: {e}",
                self.path.display()
            ))
        })?;
        Ok(Staged { file: self.name, bytes: self.bytes, crc32: self.hash.finalize(), changes: self.changes })
    }
}

/// Reads a staging file whose checksum agreed.
pub(crate) struct StageReader {
    path: PathBuf,
    file: BufReader<File>,
    left: u64,
    frame: Vec<u8>,
}

impl StageReader {
    /// Opens a file and compares it with what the checkpoint says of it.
    pub(crate) fn open(folder: &Path, staged: &Staged) -> Result<StageReader> {
        let path = folder.join(&staged.file);
        let cannot = |e: io::Error| io_error("could not be read", &path, &e);
        let mut file = File::open(&path).map_err(cannot)?;
        let mut hash = crc32fast::Hasher::new();
        let mut piece = vec![0; COPY_BYTES];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut piece).map_err(cannot)?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
            hash.update(piece.get(..count).unwrap_or_default());
        }
        if bytes != staged.bytes || hash.finalize() != staged.crc32 {
            return Err(damaged(&path));
        }
        file.seek(SeekFrom::Start(0)).map_err(cannot)?;
        Ok(StageReader { path, file: BufReader::new(file), left: bytes, frame: Vec::new() })
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.file.read_exact(&mut length).map_err(|e| io_error("could not be read", &self.path, &e))?;
        let length = u32::from_le_bytes(length);
        let rest = self.left.checked_sub(4 + u64::from(length));
        self.left = rest.ok_or_else(|| damaged(&self.path))?;
        self.frame.resize(length as usize, 0);
        self.file.read_exact(&mut self.frame).map_err(|e| io_error("could not be read", &self.path, &e))?;
        Ok(Some(&self.frame))
    }
}

/// Removes a file after its commit; that it is gone already is the repeated commit's case.
pub(crate) fn remove(folder: &Path, staged: &Staged) -> Result<()> {
    let path = folder.join(&staged.file);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("could not be removed", &path, &e)),
        _ => Ok(()),
    }
}

/// Removes all files of a sink: called when everything that a checkpoint named is committed.
pub(crate) fn sweep(folder: &Path, prefix: &str) -> Result<()> {
    let cannot = |e: io::Error| io_error("could not be swept", folder, &e);
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix(prefix)?.strip_prefix('-')?.strip_suffix(".stage"));
        // `<instance>-<number>`: another sink's longer name does not match.
        if number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit() || b == b'-')) {
            fs::remove_file(entry.path()).map_err(cannot)?;
        }
    }
    Ok(())
}

/// The prefix of a sink's files: its table's name in letters that every file system takes.
pub(crate) fn prefix(table: &str, ordinal: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = table.chars().map(plain).take(60).collect();
    format!("sink-{name}-{:08x}-{ordinal}", crc32fast::hash(table.as_bytes()))
}

fn damaged(path: &Path) -> Error {
    Error::data(format!("the staging file `{}` is damaged: its rows belong to a durable checkpoint", path.display()))
        .hint("restore the file, or start anew with `--fresh`; nothing of it was written to the sink")
}

fn io_error(what: &str, path: &Path, e: &io::Error) -> Error {
    let text = format!("the staging file `{}` {what}: {e}", path.display());
    match e.kind() {
        io::ErrorKind::NotFound => Error::data(text),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::permission(text),
        _ => Error::unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, number: u64, frames: &[&[u8]]) -> Staged {
        let mut writer = StageWriter::create(folder, "sink-t-0", number).unwrap();
        for frame in frames {
            writer.append(frame, 1).unwrap();
        }
        writer.seal().unwrap()
    }

    #[test]
    fn frames_come_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let staged = write(folder.path(), 1, &[b"one", b"", b"three"]);
        assert_eq!(staged.changes, 3);
        let mut reader = StageReader::open(folder.path(), &staged).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            frames.push(frame.to_vec());
        }
        assert_eq!(frames, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn damage_anywhere_is_found_before_a_frame_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let staged = write(folder.path(), 1, &[b"one", b"two"]);
        let path = folder.path().join(&staged.file);
        let whole = fs::read(&path).unwrap();
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!(StageReader::open(folder.path(), &staged).is_err(), "a flip at {position}");
            fs::write(&path, &whole[..position]).unwrap();
            assert!(StageReader::open(folder.path(), &staged).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn only_a_sinks_own_files_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sink-t-0-1.stage", "sink-t-0-1-2.stage", "sink-t-0-other-2.stage", "state-1.run"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        sweep(folder.path(), "sink-t-0").unwrap();
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["sink-t-0-other-2.stage", "state-1.run"]);
    }
}
