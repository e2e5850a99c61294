//! What a redrive knows of its letters, in two files of its folder: which ones were sent, and the batch that is on its way.
//!
//! ```text
//! <state>/<job>-redrive-<table>/lock     held while a redrive runs
//!                               sent     the letters that were sent, and how many batches that were
//!                               batch/   batch.json; for each target letters-<n>.json and <n>/, the state of the job that sends them
//! ```
//! `batch.json` is written last, so a folder without it is no batch; `sent` is replaced whole, so it either has all letters of a batch or
//! none. Between the two stands the job's own checkpoint, which says whether the sinks have the rows.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Letters of one table that are known at a time.
pub(crate) const LETTERS_MAX: usize = 1_000_000;

/// What makes a letter that letter.
pub(crate) type LetterId = u128;

/// The letters that were sent and are in the table still.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// How many batches were sent.
    pub(crate) batches: u64,
    /// The letters.
    pub(crate) ids: BTreeSet<LetterId>,
}

const HEAD: &str = "wiesel-redrive 1 ";

impl Sent {
    /// Reads the file; without one nothing was sent.
    pub(crate) fn read(folder: &Path) -> Result<Sent, String> {
        let path = folder.join("sent");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Sent::default()),
            Err(e) => return Err(cannot("read", &path, &e)),
        };
        Sent::parse(&text).ok_or_else(|| {
            format!(
                "`{}` is damaged: which letters were sent is not known; removing it sends all of them",
                path.display()
            )
        })
    }

    fn parse(text: &str) -> Option<Sent> {
        let mut lines = text.lines();
        let batches = lines.next()?.strip_prefix(HEAD)?.parse().ok()?;
        let mut ids = BTreeSet::new();
        for line in lines.by_ref() {
            if let Some(count) = line.strip_prefix("end ") {
                let is_whole = count.parse() == Ok(ids.len()) && lines.next().is_none();
                return is_whole.then_some(Sent { batches, ids });
            }
            ids.insert(LetterId::from_str_radix(line, 16).ok()?);
        }
        None
    }

    /// Replaces the file.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        let mut text = format!("{HEAD}{}\n", self.batches);
        for id in &self.ids {
            text.push_str(&format!("{id:032x}\n"));
        }
        text.push_str(&format!("end {}\n", self.ids.len()));
        replace(&folder.join("sent"), text.as_bytes())
    }
}

/// Letters that go to one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The table of the letters.
    pub(crate) table: String,
    /// Where raw records go; else rows go to the table.
    pub(crate) topic: Option<String>,
    /// How many.
    pub(crate) count: u64,
    /// The file that holds them.
    pub(crate) file: PathBuf,
}

/// Letters that are being sent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// Counts batches, from 1.
    pub(crate) number: u64,
    /// Where they go.
    pub(crate) targets: Vec<Target>,
    ids: Vec<String>,
}

impl Batch {
    pub(crate) fn new(number: u64, targets: Vec<Target>, ids: impl Iterator<Item = LetterId>) -> Batch {
        Batch { number, targets, ids: ids.map(|id| format!("{id:032x}")).collect() }
    }

    /// The folder of a batch.
    pub(crate) fn folder(folder: &Path) -> PathBuf {
        folder.join("batch")
    }

    /// The batch that an earlier call has begun.
    pub(crate) fn read(folder: &Path) -> Result<Option<Batch>, String> {
        let path = Batch::folder(folder).join("batch.json");
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|e| format!("`{}` is damaged: {e}", path.display()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(cannot("read", &path, &e)),
        }
    }

    /// From here on the batch is one.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        let bytes = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        replace(&Batch::folder(folder).join("batch.json"), &bytes)
    }

    /// Notes that its letters were sent, and forgets it.
    pub(crate) fn done(self, folder: &Path, sent: &mut Sent) -> Result<(), String> {
        sent.ids.extend(self.ids.iter().filter_map(|id| LetterId::from_str_radix(id, 16).ok()));
        sent.batches = self.number;
        sent.write(folder)?;
        Batch::forget(folder)
    }

    /// Removes its folder.
    pub(crate) fn forget(folder: &Path) -> Result<(), String> {
        remove_folder(&Batch::folder(folder))
    }
}

/// Removes a folder with all below it, if it is there.
pub(crate) fn remove_folder(path: &Path) -> Result<(), String> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cannot("remove", path, &e)),
        _ => Ok(()),
    }
}

/// An I/O error as a sentence.
pub(crate) fn cannot(what: &str, path: &Path, e: &io::Error) -> String {
    format!("cannot {what} `{}`: {e}", path.display())
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let hidden = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&hidden)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&hidden, path)?;
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|e| cannot("write", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_comes_back_and_a_damaged_file_is_not_taken_for_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Sent::read(folder.path()).unwrap(), Sent::default());
        let mut sent = Sent { batches: 3, ids: [7, LetterId::MAX].into() };
        sent.write(folder.path()).unwrap();
        assert_eq!(Sent::read(folder.path()).unwrap(), sent);
        let whole = fs::read_to_string(folder.path().join("sent")).unwrap();
        for end in 0..whole.len() - 1 {
            fs::write(folder.path().join("sent"), &whole[..end]).unwrap();
            assert!(Sent::read(folder.path()).is_err(), "cut at {end}");
        }

        fs::create_dir(Batch::folder(folder.path())).unwrap();
        assert_eq!(Batch::read(folder.path()).unwrap(), None, "a folder without batch.json is no batch");
        let target = Target { table: "t".to_owned(), topic: None, count: 1, file: "f".into() };
        let batch = Batch::new(4, vec![target], [9].into_iter());
        batch.write(folder.path()).unwrap();
        assert_eq!(Batch::read(folder.path()).unwrap().as_ref(), Some(&batch));
        batch.done(folder.path(), &mut sent).unwrap();
        assert_eq!(Batch::read(folder.path()).unwrap(), None);
        let expected = Sent { batches: 4, ids: [7, 9, LetterId::MAX].into() };
        assert_eq!(Sent::read(folder.path()).unwrap(), expected);
    }
}
