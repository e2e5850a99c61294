//! What a checkpoint knows about files, in bytes; and the two deeds that are done with it: making files visible, and tidying up.
//!
//! ```text
//! .part-<uid>-<instance>-<counter>.<owner>.<pid>.inprogress     hidden: rows of no checkpoint yet, or of one that is not durable yet
//! part-<uid>-<instance>-<counter>                               visible: whole, and its rows belong to a durable checkpoint
//! ```
//! The uid is drawn when a job starts afresh and kept over restarts; the counters go on. So after a crash every hidden file with the uid
//! that the checkpoint does not name is garbage, and no file of another job or sink is ever touched.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use wiesel_core::{Error, Result};

const VERSION: u8 = 2;

/// What earlier builds wrote: the same without partitions.
const VERSION_WITHOUT_PARTITIONS: u8 = 1;

/// A finished file that waits for its checkpoint. Paths are relative to the table's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingFile {
    pub(super) hidden: String,
    pub(super) visible: String,
}

/// What an entry of a checkpoint's list asks of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// Show a file under this name.
    File(&'a str),
    /// Make an empty file of this name, behind all files.
    Mark(&'a str),
    /// Remove what only an earlier checkpoint needs.
    Tail(&'a str),
}

impl PendingFile {
    pub(super) fn place(&self) -> Place<'_> {
        match (self.hidden.as_str(), self.visible.as_str()) {
            ("", mark) => Place::Mark(mark),
            (tail, "") => Place::Tail(tail),
            (_, file) => Place::File(file),
        }
    }

    /// The mark of a partition that is done.
    pub(super) fn mark(directory: &str, name: &str) -> PendingFile {
        PendingFile { hidden: String::new(), visible: join(directory, name) }
    }
}

/// A file that was open at a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenFile {
    pub(super) names: PendingFile,
    /// How much of it is durable.
    pub(super) length: u64,
    /// What makes the durable part a whole file.
    pub(super) footer: Vec<u8>,
}

/// What an instance must know after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InstanceState {
    pub(super) uid: String,
    /// The next file's number.
    pub(super) counter: u64,
    /// Finished files that may not be visible yet.
    pub(super) pending: Vec<PendingFile>,
    pub(super) open: Vec<OpenFile>,
    /// Partitions that were not done, and when their first row came.
    pub(super) partitions: Vec<(String, i64)>,
}

/// Writes the finished files of a checkpoint.
pub(super) fn encode_pending(files: &[PendingFile]) -> Vec<u8> {
    if files.is_empty() {
        return Vec::new();
    }
    let mut out = vec![VERSION];
    put_files(files, &mut out);
    out
}

/// Writes the files of an INSERT OVERWRITE; that there are none is work, too.
pub(super) fn encode_last(files: &[PendingFile]) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_files(files, &mut out);
    out
}

/// Reads what [`encode_pending`] or [`encode_last`] wrote.
pub(super) fn decode_pending(bytes: &[u8]) -> Result<Vec<PendingFile>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader(bytes);
    reader.version().and_then(|_| reader.files()).ok_or_else(damaged)
}

impl InstanceState {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_bytes(self.uid.as_bytes(), &mut out);
        out.extend_from_slice(&self.counter.to_le_bytes());
        put_files(&self.pending, &mut out);
        put_count(self.open.len(), &mut out);
        for file in &self.open {
            put_files(std::slice::from_ref(&file.names), &mut out);
            out.extend_from_slice(&file.length.to_le_bytes());
            put_bytes(&file.footer, &mut out);
        }
        put_count(self.partitions.len(), &mut out);
        for (directory, created_ms) in &self.partitions {
            put_bytes(directory.as_bytes(), &mut out);
            out.extend_from_slice(&created_ms.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        Self::try_decode(bytes).ok_or_else(damaged)
    }

    fn try_decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let version = reader.version()?;
        let uid = reader.text()?;
        let counter = reader.number()?;
        let pending = reader.files()?;
        let mut open = Vec::new();
        for _ in 0..reader.count()? {
            let names = reader.files()?.pop()?;
            open.push(OpenFile { names, length: reader.number()?, footer: reader.bytes()?.to_vec() });
        }
        let mut partitions = Vec::new();
        if version != VERSION_WITHOUT_PARTITIONS {
            for _ in 0..reader.count()? {
                let directory = reader.text()?;
                partitions.push((directory, i64::from_le_bytes(reader.take(8)?.try_into().ok()?)));
            }
        }
        Some(InstanceState { uid, counter, pending, open, partitions })
    }
}

fn damaged() -> Error {
    Error::internal("a checkpoint's list of files cannot be read")
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn put_files(files: &[PendingFile], out: &mut Vec<u8>) {
    put_count(files.len(), out);
    for file in files {
        put_bytes(file.hidden.as_bytes(), out);
        put_bytes(file.visible.as_bytes(), out);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn version(&mut self) -> Option<u8> {
        let [version] = self.take(1)?.try_into().ok()?;
        [VERSION, VERSION_WITHOUT_PARTITIONS].contains(&version).then_some(version)
    }

    fn count(&mut self) -> Option<usize> {
        let bytes = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.count()?;
        self.take(count)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn files(&mut self) -> Option<Vec<PendingFile>> {
        let mut files = Vec::new();
        for _ in 0..self.count()? {
            files.push(PendingFile { hidden: self.text()?, visible: self.text()? });
        }
        Some(files)
    }
}

/// Makes finished files visible; those that are already are left alone.
pub(super) fn make_visible(root: &Path, files: &[PendingFile]) -> Result<()> {
    let mut directories = BTreeSet::new();
    for file in files {
        if let Place::Mark(name) = file.place() {
            let mark = root.join(name);
            File::create(&mark).map_err(|e| io_error("write", &mark, &e))?;
            directories.extend(mark.parent().map(Path::to_owned));
            continue;
        }
        let (hidden, visible) = (root.join(&file.hidden), root.join(&file.visible));
        match fs::rename(&hidden, &visible) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if !visible.exists() {
                    return Err(Error::data(format!(
                        "a file that a checkpoint holds is gone: neither `{}` nor `{}` exists",
                        hidden.display(),
                        visible.display()
                    ))
                    .hint("its rows are lost in the sink; restore the file, or start afresh from the source"));
                }
            }
            Err(e) => return Err(io_error("rename", &hidden, &e)),
        }
        directories.extend(visible.parent().map(Path::to_owned));
    }
    directories.iter().try_for_each(|d| sync_directory(d))
}

/// INSERT OVERWRITE: removes what stands where these files will: all of a table without partitions, else all of each partition that gets
/// a file. Repeated after a crash it spares the files that it has already shown.
pub(super) fn remove_replaced(root: &Path, files: &[PendingFile], is_whole: bool) -> Result<()> {
    let visible: BTreeSet<PathBuf> = files.iter().map(|file| root.join(&file.visible)).collect();
    let mut directories: BTreeSet<PathBuf> =
        visible.iter().filter_map(|path| path.parent()).map(Path::to_owned).collect();
    if is_whole {
        directories.insert(root.to_owned());
    }
    for directory in directories {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(io_error("list", &directory, &e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| io_error("list", &directory, &e))?;
            let path = entry.path();
            let is_hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
            if is_hidden || visible.contains(&path) {
                continue;
            }
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
                _ => fs::remove_file(&path),
            };
            removed.map_err(|e| io_error("remove", &path, &e))?;
        }
        sync_directory(&directory)?;
    }
    Ok(())
}

/// Makes files whole and visible that were open when the restored checkpoint was taken, and removes what no checkpoint knows.
pub(super) fn recover(root: &Path, states: &[InstanceState], owner: &str, depth: usize) -> Result<()> {
    let mut known = BTreeSet::new();
    for state in states {
        known.extend(state.pending.iter().map(|f| f.hidden.clone()));
        for file in &state.open {
            finish_interrupted(root, file)?;
        }
    }
    let uids: BTreeSet<&str> = states.iter().map(|s| s.uid.as_str()).collect();
    let is_garbage = |directory: &str, name: &HiddenName<'_>, full: &str| {
        if uids.is_empty() {
            // A fresh start: what an earlier process of this very sink left before its first checkpoint.
            return name.owner == owner && !is_alive(name.pid);
        }
        uids.contains(name.uid) && !known.contains(&join(directory, full))
    };
    remove_hidden(root, "", depth, &is_garbage)
}

/// Cuts a file to its durable length, adds the footer and shows it. Repeated after a crash it does the same again.
fn finish_interrupted(root: &Path, file: &OpenFile) -> Result<()> {
    let path = root.join(&file.names.hidden);
    let mut handle = match OpenOptions::new().append(true).open(&path) {
        Ok(handle) => handle,
        // Shown by an earlier try, or lost; the next call tells which.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return make_visible(root, std::slice::from_ref(&file.names)),
        Err(e) => return Err(io_error("open", &path, &e)),
    };
    let length = handle.metadata().map_err(|e| io_error("read the length of", &path, &e))?.len();
    if length < file.length {
        return Err(Error::data(format!(
            "file `{}` has {length} bytes, but the checkpoint says that {} were written",
            path.display(),
            file.length
        )));
    }
    handle.set_len(file.length).map_err(|e| io_error("truncate", &path, &e))?;
    handle.write_all(&file.footer).map_err(|e| io_error("write", &path, &e))?;
    handle.sync_all().map_err(|e| io_error("sync", &path, &e))?;
    make_visible(root, std::slice::from_ref(&file.names))
}

/// The parts of a hidden file's name.
struct HiddenName<'a> {
    uid: &'a str,
    owner: &'a str,
    pid: u32,
}

impl<'a> HiddenName<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix(".part-")?.strip_suffix(".inprogress")?.split('.');
        let (numbers, owner, pid) = (parts.next()?, parts.next()?, parts.next()?);
        let (uid, _counter) = numbers.rsplit_once('-')?;
        let (uid, _instance) = uid.rsplit_once('-')?;
        Some(HiddenName { uid, owner, pid: pid.parse().ok()? })
    }
}

/// The names of a new file.
pub(super) fn names(directory: &str, uid: &str, instance: usize, counter: u64, owner: &str) -> PendingFile {
    let visible = format!("part-{uid}-{instance}-{counter}");
    let hidden = format!(".{visible}.{owner}.{}.inprogress", std::process::id());
    PendingFile { hidden: join(directory, &hidden), visible: join(directory, &visible) }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn is_alive(pid: u32) -> bool {
    pid == std::process::id() || Path::new("/proc").join(pid.to_string()).exists()
}

fn remove_hidden(
    root: &Path,
    directory: &str,
    depth: usize,
    is_garbage: &dyn Fn(&str, &HiddenName<'_>, &str) -> bool,
) -> Result<()> {
    let path = if directory.is_empty() { root.to_owned() } else { root.join(directory) };
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error("list", &path, &e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| io_error("list", &path, &e))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some(hidden) = HiddenName::parse(&name) {
            if is_garbage(directory, &hidden, &name) {
                fs::remove_file(entry.path()).map_err(|e| io_error("remove", &entry.path(), &e))?;
            }
        } else if depth > 0 && !name.starts_with(['.', '_']) && entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_hidden(root, &join(directory, &name), depth - 1, is_garbage)?;
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    let result = File::open(directory).and_then(|d| d.sync_all());
    result.map_err(|e| io_error("sync", directory, &e))
}

/// Creates a directory and those above it; returns the ones whose entries are new, to be synced.
pub(super) fn create_directory(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    let mut missing = directory;
    while !missing.exists() {
        let Some(parent) = missing.parent() else { break };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        changed.push(parent.to_owned());
        missing = parent;
    }
    fs::create_dir_all(directory)?;
    Ok(changed)
}

/// Whether space may come back.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An I/O error in words: a full disk is waited for, everything else ends the job.
pub(super) fn io_error(deed: &str, path: &Path, error: &io::Error) -> Error {
    let message = format!("cannot {deed} `{}`: {error}", path.display());
    if is_full(error) || error.kind() == io::ErrorKind::Interrupted {
        return Error::unavailable(message).hint("free some space; the job goes on by itself");
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::permission(message).hint("the user that runs wiesel must be allowed to write there")
        }
        _ => Error::permission(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PendingFile {
        PendingFile { hidden: format!("dt=1/.{name}"), visible: format!("dt=1/{name}") }
    }

    #[test]
    fn states_survive_their_bytes_and_damage_is_noticed() {
        let state = InstanceState {
            uid: "u-1".to_owned(),
            counter: 7,
            pending: vec![file("a"), file("b")],
            open: vec![OpenFile { names: file("c"), length: 1 << 40, footer: vec![1, 2, 3] }],
            partitions: vec![("dt=1".to_owned(), -7), (String::new(), 8)],
        };
        let bytes = state.encode();
        assert_eq!(InstanceState::decode(&bytes).unwrap(), state);
        for end in 0..bytes.len() {
            assert!(InstanceState::decode(&bytes[..end]).is_err(), "{end}");
        }
        // A state of an earlier build ends before the partitions.
        let without = InstanceState { partitions: Vec::new(), ..state.clone() };
        let mut bytes = without.encode();
        bytes.truncate(bytes.len() - 4);
        bytes[0] = VERSION_WITHOUT_PARTITIONS;
        assert_eq!(InstanceState::decode(&bytes).unwrap(), without);
        assert_eq!(decode_pending(&encode_pending(&state.pending)).unwrap(), state.pending);
        assert_eq!(encode_pending(&[]), Vec::<u8>::new());
    }

    #[test]
    fn hidden_names_tell_whose_they_are() {
        let names = names("dt=1", "0a1b-22", 3, 9, "ab12");
        assert_eq!(names.visible, "dt=1/part-0a1b-22-3-9");
        let hidden = names.hidden.strip_prefix("dt=1/").unwrap();
        let parsed = HiddenName::parse(hidden).unwrap();
        assert_eq!((parsed.uid, parsed.owner, parsed.pid), ("0a1b-22", "ab12", std::process::id()));
        assert!(HiddenName::parse("part-0a1b-22-3-9").is_none());
        assert!(HiddenName::parse(".part-x.inprogress").is_none());
    }
}
