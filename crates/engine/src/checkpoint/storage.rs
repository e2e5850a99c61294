//! Where the files of checkpoints lie: a folder of this machine, or a prefix of an object store. Everything above names files, and leaves
//! to this seam how one is written whole, made durable, and made to appear at one moment.
//!
//! | | folder | object store |
//! |---|---|---|
//! | a state file | written, fsynced | an upload in parts, completed at its end; it exists whole or not at all |
//! | the decision: a manifest | temporary name, fsync, hard link to a name that never existed, fsync of the folder | PUT if nothing is there |
//! | only one process writes | the lock of a file, dropped by the kernel | that lock for processes of one machine; for others a claim: `claim-G`, put if absent, the highest G holds |
//!
//! A process whose claim was passed ends before its next manifest with "superseded". Should both write at that very moment, one of the two
//! manifests is refused by the store: ids are given out once.
//!
//! A path carries either: [`at`] tells by its scheme.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind as Io, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wiesel_core::{Error, ErrorKind, Result};
use wiesel_objects::{Bucket, ObjectUrl, Upload};

use super::folder::StoreError;
use crate::step::control::FailPoints;

/// Parts of a state file; a store takes none below 5 MiB but the last.
const PART_BYTES: usize = 8 << 20;

/// How often the PUT of a manifest is begun anew, each as patient as any call, before it counts as unknown what the store holds.
const PUBLISH_TRIES_MAX: u32 = 10;

/// How many claims of others are passed before a start gives up.
const CLAIMS_MAX: u32 = 100;

/// A place that holds files. Names have no slash.
pub(crate) trait Storage: Send + Sync + fmt::Debug {
    /// The files, sorted; none where there is no such place.
    fn names(&self) -> Result<Vec<String>>;
    /// The places within this one, sorted.
    fn folders(&self) -> Result<Vec<String>>;
    fn exists(&self, name: &str) -> bool;
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Reads a file from its beginning, piece by piece.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>>;
    /// Begins a file, which counts once it is finished.
    fn create(&self, name: &str) -> io::Result<Box<dyn Output + '_>>;
    /// Makes a file appear whole under a name that never existed.
    fn publish(&self, name: &str, bytes: &[u8], fail_points: &FailPoints) -> Result<(), StoreError>;
    /// Makes the names of files durable.
    fn settle(&self) -> Result<(), StoreError>;
    /// Makes an empty file; losing it does no harm.
    fn mark(&self, name: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Removes the place with everything in it.
    fn remove_all(&self) -> Result<()>;
    /// Gives up what a dead process was writing and what has no name yet.
    fn give_up_unfinished(&self) -> Result<()> {
        Ok(())
    }
}

/// A file that is being written. Dropped unfinished it may leave its bytes, but counts for nothing.
pub(crate) trait Output: Write {
    /// Makes it whole and durable.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
    /// Removes what was written.
    fn discard(self: Box<Self>);
}

/// The place that a path means.
pub(crate) fn at(path: &Path) -> Result<Arc<dyn Storage>> {
    if ObjectUrl::is_path(path) { Ok(Arc::new(Objects::open(path)?)) } else { Ok(Arc::new(Local(path.to_owned()))) }
}

/// The place of a job that is about to write there. The lock of this machine is taken.
pub(super) fn claimed(path: &Path) -> Result<Arc<dyn Storage>> {
    if !ObjectUrl::is_path(path) {
        return Ok(Arc::new(Local(path.to_owned())));
    }
    let mut objects = Objects::open(path)?;
    objects.claim()?;
    Ok(Arc::new(objects))
}

/// Whether a path names an object store.
pub(crate) fn is_remote(path: &Path) -> bool {
    ObjectUrl::is_path(path)
}

/// A folder of this machine for what does not outlive a process: that of the state itself, or one that belongs to it.
pub(crate) fn scratch(state_dir: &Path) -> PathBuf {
    if !is_remote(state_dir) {
        return state_dir.to_owned();
    }
    let hash = xxhash_rust::xxh3::xxh3_64(state_dir.as_os_str().as_encoded_bytes());
    std::env::temp_dir().join(format!("wiesel-{hash:016x}"))
}

/// The same path from whichever folder the program is started; a URL is absolute.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    if is_remote(path) { path.to_owned() } else { std::path::absolute(path).unwrap_or_else(|_| path.to_owned()) }
}

/// An I/O error in words, sorted by who must act. A store that is away says nothing about what it holds; anything else does.
pub(crate) fn io_error(what: &str, path: &Path, e: &io::Error) -> Error {
    let text = format!("{what}: `{}`: {e}", path.display());
    match e.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => Error::permission(text),
        kind if is_remote(path) && kind != Io::TimedOut => Error::data(text),
        _ => Error::unavailable(text),
    }
}

/// A folder of this machine.
#[derive(Debug)]
struct Local(PathBuf);

impl Local {
    fn entries(&self, wants_folders: bool) -> Result<Vec<String>> {
        let cannot = |e: io::Error| io_error("the state folder could not be read", &self.0, &e);
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(cannot(e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(cannot)?;
            if !wants_folders || entry.path().is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Writes a manifest under a temporary name.
    fn write(&self, name: &str, bytes: &[u8], fail_points: &FailPoints) -> io::Result<File> {
        let mut out = File::create(self.0.join(name))?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        out.write_all(first)?;
        fail_points.reach("manifest.write");
        out.write_all(second)?;
        Ok(out)
    }
}

impl Storage for Local {
    fn names(&self) -> Result<Vec<String>> {
        self.entries(false)
    }

    fn folders(&self) -> Result<Vec<String>> {
        self.entries(true)
    }

    fn exists(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(File::open(self.0.join(name))?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Output + '_>> {
        let path = self.0.join(name);
        Ok(Box::new(LocalOutput { file: File::create(&path)?, path }))
    }

    fn publish(&self, name: &str, bytes: &[u8], fail_points: &FailPoints) -> Result<(), StoreError> {
        let hidden = format!("{name}.tmp");
        let (path, temporary) = (self.0.join(name), self.0.join(&hidden));
        let cannot = |e: io::Error| StoreError::Write(io_error("the manifest could not be written", &path, &e));
        let out = self.write(&hidden, bytes, fail_points).map_err(|e| {
            drop(fs::remove_file(&temporary));
            cannot(e)
        })?;
        fail_points.reach("manifest.fsync");
        sync(&out, &temporary)?;
        fs::hard_link(&temporary, &path).map_err(|e| match e.kind() {
            Io::AlreadyExists => StoreError::Fatal(is_there(&path)),
            _ => cannot(e),
        })?;
        fs::remove_file(&temporary).map_err(cannot)
    }

    fn settle(&self) -> Result<(), StoreError> {
        let folder = File::open(&self.0).map_err(|e| StoreError::Fatal(io_error("cannot open", &self.0, &e)))?;
        sync(&folder, &self.0)
    }

    fn mark(&self, name: &str) -> io::Result<()> {
        File::create(self.0.join(name)).map(drop)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn remove_all(&self) -> Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(e) if e.kind() != Io::NotFound => Err(io_error("cannot remove", &self.0, &e)),
            _ => Ok(()),
        }
    }
}

struct LocalOutput {
    file: File,
    path: PathBuf,
}

impl Write for LocalOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for LocalOutput {
    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        sync(&self.file, &self.path)
    }

    fn discard(self: Box<Self>) {
        drop(fs::remove_file(&self.path));
    }
}

fn sync(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_all()
        .map_err(|e| StoreError::Fatal(io_error("fsync failed, so what the disk holds is unknown", path, &e)))
}

fn is_there(path: &Path) -> Error {
    Error::config(format!("`{}` exists already: another process writes into this state folder", path.display()))
}

/// A prefix of an object store.
#[derive(Debug)]
struct Objects {
    bucket: Bucket,
    url: ObjectUrl,
    path: PathBuf,
    /// The claim of the process that writes here.
    claim: Option<u64>,
}

const CLAIM: &str = "claim-";

impl Objects {
    fn open(path: &Path) -> Result<Objects> {
        let url = ObjectUrl::of_path(path)?;
        Ok(Objects { bucket: Bucket::open(&url)?, url, path: path.to_owned(), claim: None })
    }

    fn key(&self, name: &str) -> String {
        self.url.below(name)
    }

    /// The claims that stand, ascending.
    fn claims(&self) -> Result<Vec<u64>> {
        let prefix = self.key(CLAIM);
        let listing = self.bucket.list(&prefix, true)?;
        let number = |key: &str| key.strip_prefix(&prefix)?.parse().ok();
        let mut claims: Vec<u64> = listing.objects.iter().filter_map(|object| number(&object.key)).collect();
        claims.sort_unstable();
        Ok(claims)
    }

    fn claim(&mut self) -> Result<()> {
        let who = format!("pid {}, {}\n", std::process::id(), fastrand::u64(..));
        for _ in 0..CLAIMS_MAX {
            let claims = self.claims()?;
            let next = claims.last().map_or(1, |claim| claim.saturating_add(1));
            if self.bucket.put_new(&self.key(&format!("{CLAIM}{next}")), who.as_bytes())? {
                for passed in claims {
                    self.bucket.delete(&self.key(&format!("{CLAIM}{passed}")))?;
                }
                self.claim = Some(next);
                return Ok(());
            }
        }
        Err(Error::config(format!("other processes keep claiming `{}`", self.path.display())))
    }

    fn check_claim(&self) -> Result<()> {
        let Some(own) = self.claim else { return Ok(()) };
        match self.claims()?.last() {
            Some(newest) if *newest > own => Err(Error::superseded(format!(
                "another process has taken over `{}` (claim {newest}, this one has {own})",
                self.path.display()
            ))),
            _ => Ok(()),
        }
    }
}

impl Storage for Objects {
    fn names(&self) -> Result<Vec<String>> {
        let prefix = self.url.prefix();
        let listing = self.bucket.list(&prefix, true)?;
        let names = listing.objects.iter().filter_map(|object| object.key.strip_prefix(&prefix));
        let mut names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    fn folders(&self) -> Result<Vec<String>> {
        let prefix = self.url.prefix();
        let listing = self.bucket.list(&prefix, true)?;
        let names = listing.folders.iter().filter_map(|folder| folder.strip_prefix(&prefix));
        let mut names: Vec<String> = names.map(|name| name.trim_end_matches('/').to_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn exists(&self, name: &str) -> bool {
        // What cannot be asked counts as not there: a commit is then repeated, which changes nothing.
        self.bucket.head(&self.key(name)).is_ok_and(|found| found.is_some())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let found = self.bucket.get(&self.key(name)).map_err(as_io)?;
        found.map(Vec::from).ok_or_else(|| io::Error::from(Io::NotFound))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.bucket.reader(&self.key(name), 0)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Output + '_>> {
        Ok(Box::new(ObjectOutput {
            objects: self,
            key: self.key(name),
            buffer: Vec::new(),
            upload: None,
            tags: Vec::new(),
        }))
    }

    fn publish(&self, name: &str, bytes: &[u8], fail_points: &FailPoints) -> Result<(), StoreError> {
        self.check_claim()
            .map_err(|e| if e.kind() == ErrorKind::Superseded { StoreError::Fatal(e) } else { StoreError::Write(e) })?;
        fail_points.reach("manifest.write");
        fail_points.reach("manifest.fsync");
        let mut tries = 1;
        loop {
            match self.bucket.put_new(&self.key(name), bytes) {
                Ok(true) => return Ok(()),
                // What an earlier try wrote whose replies were all lost.
                Ok(false) if tries > 1 && self.read(name).is_ok_and(|found| found == bytes) => return Ok(()),
                Ok(false) => return Err(StoreError::Fatal(is_there(&self.path.join(name)))),
                Err(error) if error.kind() == ErrorKind::Unavailable && tries < PUBLISH_TRIES_MAX => tries += 1,
                Err(error) => {
                    return Err(StoreError::Fatal(error.at("what the object store holds is unknown")));
                }
            }
        }
    }

    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn mark(&self, name: &str) -> io::Result<()> {
        self.bucket.put(&self.key(name), b"").map_err(as_io)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.bucket.delete(&self.key(name)).map_err(as_io)
    }

    fn remove_all(&self) -> Result<()> {
        if self.url.key.is_empty() {
            return Err(Error::internal("a whole bucket is never removed"));
        }
        self.give_up_unfinished()?;
        for object in self.bucket.list(&self.url.prefix(), false)?.objects {
            self.bucket.delete(&object.key)?;
        }
        Ok(())
    }

    fn give_up_unfinished(&self) -> Result<()> {
        let prefix = self.url.prefix();
        for upload in self.bucket.uploads(&prefix)? {
            // Folders below belong to others.
            if upload.key.strip_prefix(&prefix).is_some_and(|name| !name.contains('/')) {
                self.bucket.abort(&upload)?;
            }
        }
        Ok(())
    }
}

fn as_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::Permission => Io::PermissionDenied,
        ErrorKind::Unavailable => Io::TimedOut,
        _ => Io::Other,
    };
    io::Error::new(kind, error.to_string())
}

/// A state file on its way: small ones are one PUT, larger ones an upload in parts.
struct ObjectOutput<'a> {
    objects: &'a Objects,
    key: String,
    buffer: Vec<u8>,
    upload: Option<Upload>,
    tags: Vec<String>,
}

impl ObjectOutput<'_> {
    fn put_part(&mut self) -> Result<()> {
        let bucket = &self.objects.bucket;
        let upload = match &self.upload {
            Some(upload) => upload,
            None => self.upload.insert(bucket.begin(&self.key)?),
        };
        self.tags.push(bucket.put_part(upload, self.tags.len() + 1, &self.buffer)?);
        self.buffer.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if self.upload.is_none() {
            return self.objects.bucket.put(&self.key, &self.buffer);
        }
        if !self.buffer.is_empty() {
            self.put_part()?;
        }
        match self.upload.take() {
            Some(upload) => self.objects.bucket.complete(&upload, &self.tags),
            None => Ok(()),
        }
    }

    fn abort(&mut self) {
        if let Some(upload) = self.upload.take() {
            // What stays is given up by the next sweep.
            drop(self.objects.bucket.abort(&upload));
        }
    }
}

impl Write for ObjectOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES {
            self.put_part().map_err(as_io)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for ObjectOutput<'_> {
    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.end().map_err(|error| {
            self.abort();
            StoreError::Write(error.at("the state file could not be written"))
        })
    }

    fn discard(mut self: Box<Self>) {
        self.abort();
    }
}
