//! Rows that a system refuses while an epoch is being committed, on their way to the dead letters. Their checkpoint is durable by then, so
//! they wait in a file of their own until a later one has them.
//!
//! ```text
//! commit of N:   rows, the refused ones left out -> `<prefix>-N.refused`, fsynced -> the system's own commit
//! checkpoint M:  the sink hands the rows of N over, and its state in M says that they are told up to N
//! commit of M:   the file is removed; so does a recovery from M or later
//! ```
//! So a crash neither loses nor doubles them: before M is durable the file is told again by whoever goes on from an older checkpoint, after
//! it no more. A repeated commit writes the file again, with what is refused then.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use wiesel_core::sink::RefusedRow;
use wiesel_core::{Error, Result};

/// What the reason begins with when a row was to be deleted: the row alone would not say so.
pub const DELETION_REFUSED: &str = "deletion refused: ";

/// A refused change, as it is handed over.
pub(crate) fn row(row: Vec<u8>, is_deletion: bool, reason: &str) -> RefusedRow {
    let reason = if is_deletion { format!("{DELETION_REFUSED}{reason}") } else { reason.to_owned() };
    RefusedRow { row, reason }
}

/// More refused rows in one epoch end the job, because then hardly a row fits.
pub(crate) const REFUSED_PER_EPOCH_MAX: usize = 2_000;

/// The files of one sink.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    folder: PathBuf,
    prefix: String,
    /// Epochs whose rows wait to be handed over.
    waiting: BTreeSet<u64>,
    /// The last epoch whose rows were handed over.
    told: u64,
    /// Epochs whose files are no longer needed once a checkpoint is durable, with the checkpoint.
    handed_over: Vec<(u64, u64)>,
    /// Of the epoch that is being committed: how many rows are refused.
    kept: Option<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    row: String,
    reason: String,
}

impl Refusals {
    pub(crate) fn new(folder: &Path, prefix: &str) -> Self {
        Refusals { folder: folder.to_owned(), prefix: prefix.to_owned(), ..Refusals::default() }
    }

    fn path(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("{}-{epoch}.refused", self.prefix))
    }

    /// Makes the refused rows of an epoch durable; called before the system's own commit, with all of them or none.
    pub(crate) fn keep(&mut self, epoch: u64, rows: &[RefusedRow]) -> Result<()> {
        let path = self.path(epoch);
        self.kept = Some((epoch, rows.len() as u64));
        if rows.is_empty() {
            return remove(&path);
        }
        let cannot = |e: io::Error| io_error("could not be written", &path, &e);
        let hidden = path.with_extension("refused.tmp");
        let mut file = File::create(&hidden).map_err(cannot)?;
        for RefusedRow { row, reason } in rows {
            let line = Line { row: STANDARD.encode(row), reason: reason.clone() };
            let mut line = serde_json::to_vec(&line).map_err(|e| Error::internal(e.to_string()))?;
            line.push(b'\n');
            file.write_all(&line).map_err(cannot)?;
        }
        file.sync_all().map_err(cannot)?;
        fs::rename(&hidden, &path).and_then(|()| File::open(&self.folder)?.sync_all()).map_err(cannot)
    }

    /// The epoch is committed; gives how many of its rows were refused, as far as this run knows. Files that only checkpoints before this
    /// one needed are removed.
    pub(crate) fn committed(&mut self, epoch: u64) -> Result<u64> {
        if self.path(epoch).exists() {
            self.waiting.insert(epoch);
        }
        self.forget(epoch)?;
        Ok(self.kept.take().filter(|(kept, _)| *kept == epoch).map_or(0, |(_, count)| count))
    }

    /// Removes what was handed over up to a durable checkpoint.
    pub(crate) fn forget(&mut self, checkpoint: u64) -> Result<()> {
        let (gone, left): (Vec<_>, Vec<_>) = self.handed_over.iter().partition(|(_, with)| *with <= checkpoint);
        self.handed_over = left;
        gone.iter().try_for_each(|(epoch, _)| remove(&self.path(*epoch)))
    }

    /// The rows that wait, for checkpoint `with`, whose state then says [`Refusals::told`].
    pub(crate) fn take(&mut self, with: u64) -> Result<Vec<RefusedRow>> {
        let mut rows = Vec::new();
        for epoch in std::mem::take(&mut self.waiting) {
            let path = self.path(epoch);
            let bytes = fs::read(&path).map_err(|e| io_error("could not be read", &path, &e))?;
            for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                let damaged = || Error::data(format!("the refused rows in `{}` are damaged", path.display()));
                let Line { row, reason } = serde_json::from_slice(line).map_err(|_| damaged())?;
                rows.push(RefusedRow { row: STANDARD.decode(row).map_err(|_| damaged())?, reason });
            }
            self.told = self.told.max(epoch);
            self.handed_over.push((epoch, with));
        }
        Ok(rows)
    }

    /// The last epoch whose rows were handed over.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    /// A run begins: what its checkpoint has is removed, the rest waits. Without a checkpoint the rows come anew.
    pub(crate) fn recover(&mut self, told: Option<u64>) -> Result<()> {
        self.waiting.clear();
        self.told = told.unwrap_or(0);
        let cannot = |e: io::Error| io_error("could not be swept", &self.folder, &e);
        for entry in fs::read_dir(&self.folder).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(&self.prefix)?.strip_prefix('-'));
            let Some((epoch, kind)) = rest.and_then(|rest| rest.split_once('.')) else { continue };
            let Ok(epoch) = epoch.parse::<u64>() else { continue };
            match kind {
                "refused" if told.is_some_and(|told| epoch > told) => drop(self.waiting.insert(epoch)),
                "refused" | "refused.tmp" => remove(&self.folder.join(&name))?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Why an epoch with so many refused rows is not committed.
pub(crate) fn too_many(table: &str, reason: &str) -> Error {
    Error::data(format!(
        "more than {REFUSED_PER_EPOCH_MAX} rows of one checkpoint are refused by table `{table}`, the last one because: {reason}"
    ))
    .hint("nothing of the checkpoint was written; remove the cause and run again, the rows are kept")
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("could not be removed", path, &e)),
        _ => Ok(()),
    }
}

fn io_error(what: &str, path: &Path, e: &io::Error) -> Error {
    Error::unavailable(format!("the file of refused rows `{}` {what}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> RefusedRow {
        RefusedRow { row: text.as_bytes().to_vec(), reason: format!("no {text}") }
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn refused_rows_wait_until_a_checkpoint_has_them_and_a_crash_before_that_tells_them_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Refusals::new(folder.path(), "sink-t-0");
        run.keep(4, &[row("first try")]).unwrap();
        run.keep(4, &[row("a"), row("b")]).unwrap();
        assert_eq!(run.committed(4).unwrap(), 2);
        run.keep(5, &[]).unwrap();
        assert_eq!(run.committed(5).unwrap(), 0);
        assert_eq!((run.take(6).unwrap(), run.told()), (vec![row("a"), row("b")], 4));
        assert!(run.take(7).unwrap().is_empty(), "they are told once");

        let mut older = Refusals::new(folder.path(), "sink-t-0");
        older.recover(Some(3)).unwrap();
        assert_eq!(older.take(6).unwrap(), [row("a"), row("b")], "checkpoint 5 did not have them");
        assert_eq!(older.committed(6).unwrap(), 0);
        assert_eq!(files(folder.path()), 0, "checkpoint 6 has them");
    }

    #[test]
    fn a_recovery_from_a_checkpoint_that_has_them_or_from_none_removes_them() {
        for (told, left) in [(Some(3), 1), (Some(4), 0), (None, 0)] {
            let folder = tempfile::tempdir().unwrap();
            let mut run = Refusals::new(folder.path(), "sink-t-0");
            run.keep(4, &[row("a")]).unwrap();
            run.recover(told).unwrap();
            assert_eq!((files(folder.path()), run.take(5).unwrap().len()), (left, left), "{told:?}");
        }
    }
}
