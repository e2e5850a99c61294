//! The sink's side of an object store: part files that are multipart uploads, so that nobody sees them before their checkpoint's commit.
//!
//! ```text
//! rows -> pieces of 5 MiB -> bounded queue -> uploader thread -> parts of an upload
//! checkpoint, closed file:  its parts are there; the upload's name and tags are its pending work; commit = completion
//! checkpoint, open file:    the bytes that fill no part yet are put under a hidden name, the tail; what comes later goes on
//! after a crash:            tail and footer become the last part, the upload is completed, the tail removed
//! ```
//! A store takes no part below 5 MiB but the last, which is why an open file has a tail. What a process leaves that was killed before its
//! next checkpoint, uploads and tails, bears its name and is given up by the next start.
//!
//! The lists of the ledger carry this: `hidden` is the tail's key, the upload's name and its tags, a line each.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use wiesel_core::env::Waker;
use wiesel_core::{Error, ErrorKind, Result};
use wiesel_objects::{Bucket, ObjectUrl, Upload};

use super::ledger::{InstanceState, OpenFile, PendingFile, Place};

/// The smallest part that a store takes, unless it is the last.
pub(super) const PART_BYTES: usize = 5 << 20;

/// Parts of one file at most.
pub(super) const PARTS_MAX: usize = 10_000;

/// Pieces that wait for the uploader; with this many the loop waits.
const PIECES_MAX: usize = 4;

/// How long the uploader leaves a store alone that was away for as long as a call is patient.
const PAUSE: Duration = Duration::from_secs(1);

/// A part file on its way into the store.
#[derive(Debug)]
pub(super) struct Uploading {
    /// Below the table's path.
    visible: String,
    key: String,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    upload: Option<Upload>,
    tags: Vec<String>,
}

/// What an entry's `hidden` text says.
struct Hidden {
    tail: String,
    id: String,
    tags: Vec<String>,
}

impl Hidden {
    fn text(&self) -> String {
        let mut lines = vec![self.tail.as_str(), self.id.as_str()];
        lines.extend(self.tags.iter().map(String::as_str));
        lines.join("\n")
    }

    fn parse(text: &str) -> Hidden {
        let mut lines = text.split('\n').map(str::to_owned);
        let (tail, id) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        Hidden { tail, id, tags: lines.collect() }
    }
}

impl Uploading {
    pub(super) fn new(root: &ObjectUrl, visible: &str) -> Arc<Uploading> {
        let key = root.below(visible);
        Arc::new(Uploading { visible: visible.to_owned(), key, progress: Mutex::default() })
    }

    fn put(&self, bucket: &Bucket, bytes: &[u8]) -> Result<()> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let upload = match &progress.upload {
            Some(upload) => upload.clone(),
            None => progress.upload.insert(bucket.begin(&self.key)?).clone(),
        };
        let number = progress.tags.len() + 1;
        let tag = bucket.put_part(&upload, number, bytes)?;
        progress.tags.push(tag);
        Ok(())
    }

    /// The entry of this file, as it was with so many parts.
    fn pending(&self, tail: &str, parts: usize) -> PendingFile {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let id = progress.upload.as_ref().map(|upload| upload.id.clone()).unwrap_or_default();
        let hidden = Hidden { tail: tail.to_owned(), id, tags: progress.tags.iter().take(parts).cloned().collect() };
        PendingFile { hidden: hidden.text(), visible: self.visible.clone() }
    }
}

/// A file that stays open over a checkpoint.
pub(super) struct OpenUpload {
    pub(super) uploading: Arc<Uploading>,
    /// The parts that were handed over before the checkpoint.
    pub(super) parts: usize,
    /// What comes behind them.
    pub(super) tail: Vec<u8>,
    pub(super) length: u64,
    pub(super) footer: Vec<u8>,
}

/// What a checkpoint asks of the uploader. All parts of the files were asked for before.
pub(super) struct Checkpoint {
    pub(super) closed: Vec<Arc<Uploading>>,
    pub(super) open: Vec<OpenUpload>,
    /// Entries of earlier checkpoints that may not be done, and marks of partitions.
    pub(super) unconfirmed: Vec<PendingFile>,
    /// Without the files, which the uploader knows.
    pub(super) state: InstanceState,
    pub(super) checkpoint: u64,
}

/// What the uploader made of a checkpoint.
pub(super) struct Uploaded {
    /// All that a commit has to do.
    pub(super) pending: Vec<PendingFile>,
    /// Tails of this checkpoint, which the next one replaces.
    pub(super) tails: Vec<PendingFile>,
    pub(super) state: InstanceState,
}

enum Task {
    Piece(Arc<Uploading>, Vec<u8>),
    Checkpoint(Box<Checkpoint>),
}

/// What the loop sees of the thread.
#[derive(Default)]
struct Shared {
    waiting: Mutex<Option<String>>,
    is_over: AtomicBool,
}

/// The thread that uploads. It ends when the sink is dropped.
pub(super) struct Uploader {
    tasks: Sender<Task>,
    results: Receiver<Result<Uploaded>>,
    shared: Arc<Shared>,
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Uploader {
    pub(super) fn start(root: &ObjectUrl, instance: usize, waker: Waker) -> Result<Uploader> {
        let bucket = Bucket::open(root)?;
        let (tasks, inbox) = bounded(PIECES_MAX);
        let (outbox, results) = bounded(1);
        let shared = Arc::new(Shared::default());
        let worker = Worker { bucket, root: root.clone(), shared: Arc::clone(&shared), waker };
        thread::Builder::new()
            .name(format!("wiesel-upload-{instance}"))
            .spawn(move || worker.run(&inbox, &outbox))
            .map_err(|e| Error::unavailable(format!("cannot start the thread that uploads files: {e}")))?;
        Ok(Uploader { tasks, results, shared })
    }

    /// Hands a piece over; gives it back when the queue is full.
    pub(super) fn upload(&self, uploading: &Arc<Uploading>, piece: Vec<u8>) -> Result<Option<Vec<u8>>> {
        match self.tasks.try_send(Task::Piece(Arc::clone(uploading), piece)) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(Task::Piece(_, piece))) => Ok(Some(piece)),
            Err(_) => Err(self.failure()),
        }
    }

    /// Hands a checkpoint over; gives it back when the queue is full.
    pub(super) fn checkpoint(&self, checkpoint: Box<Checkpoint>) -> Result<Option<Box<Checkpoint>>> {
        match self.tasks.try_send(Task::Checkpoint(checkpoint)) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(Task::Checkpoint(checkpoint))) => Ok(Some(checkpoint)),
            Err(_) => Err(self.failure()),
        }
    }

    /// What became of the checkpoint, once it is done.
    pub(super) fn result(&self) -> Result<Option<Uploaded>> {
        match self.results.try_recv() {
            Ok(result) => result.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(self.failure()),
        }
    }

    /// What the store is waited for with.
    pub(super) fn waiting(&self) -> Option<String> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failure(&self) -> Error {
        match self.results.try_recv() {
            Ok(Err(error)) => error,
            _ => Error::internal("the thread that uploads files is gone"),
        }
    }
}

struct Worker {
    bucket: Bucket,
    root: ObjectUrl,
    shared: Arc<Shared>,
    waker: Waker,
}

impl Worker {
    /// Ends with the sink, or with the first error that trying again does not heal.
    fn run(&self, inbox: &Receiver<Task>, outbox: &Sender<Result<Uploaded>>) {
        for task in inbox {
            let result = match task {
                Task::Piece(uploading, piece) => self.patiently(|| uploading.put(&self.bucket, &piece)).map(|()| None),
                Task::Checkpoint(checkpoint) => self.checkpoint(*checkpoint).map(Some),
            };
            let is_failed = result.is_err();
            if let Some(result) = result.transpose() {
                // A sink that is gone wants no answer.
                drop(outbox.send(result));
            }
            self.waker.wake();
            if is_failed {
                return;
            }
        }
    }

    /// Tries until the store answers or the sink is gone.
    fn patiently<T>(&self, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        let tell = |text: Option<String>| {
            *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) = text;
        };
        loop {
            match call() {
                Err(error)
                    if error.kind() == ErrorKind::Unavailable && !self.shared.is_over.load(Ordering::Relaxed) =>
                {
                    tell(Some(error.message().to_owned()));
                    self.waker.wake();
                    // Nobody else has this waker, so the wait lasts its full time.
                    Waker::default().wait(PAUSE);
                }
                result => {
                    tell(None);
                    return result;
                }
            }
        }
    }

    fn checkpoint(&self, checkpoint: Checkpoint) -> Result<Uploaded> {
        let Checkpoint { closed, open, unconfirmed, mut state, checkpoint } = checkpoint;
        let mut pending = Vec::new();
        for entry in unconfirmed {
            if self.patiently(|| is_open(&self.bucket, &self.root, &entry))? {
                pending.push(entry);
            }
        }
        pending.extend(closed.iter().map(|uploading| uploading.pending("", PARTS_MAX)));
        let mut tails = Vec::new();
        for file in open {
            let (folder, name) = file.uploading.visible.rsplit_once('/').unwrap_or(("", &file.uploading.visible));
            let slash = if folder.is_empty() { "" } else { "/" };
            let tail = format!("{folder}{slash}.{name}.{checkpoint}.tail");
            self.patiently(|| self.bucket.put(&self.root.below(&tail), &file.tail))?;
            tails.push(PendingFile { hidden: tail.clone(), visible: String::new() });
            state.open.push(OpenFile {
                names: file.uploading.pending(&tail, file.parts),
                length: file.length,
                footer: file.footer,
            });
        }
        state.pending.clone_from(&pending);
        Ok(Uploaded { pending, tails, state })
    }
}

/// Whether an entry has still to be done.
fn is_open(bucket: &Bucket, root: &ObjectUrl, entry: &PendingFile) -> Result<bool> {
    Ok(match entry.place() {
        Place::Tail(tail) => bucket.head(&root.below(tail))?.is_some(),
        Place::Mark(key) | Place::File(key) => bucket.head(&root.below(key))?.is_none(),
    })
}

/// Completes uploads, removes tails that were replaced. Repeated it changes nothing.
pub(super) fn make_visible(root: &Path, entries: &[PendingFile]) -> Result<()> {
    let url = ObjectUrl::of_path(root)?;
    let bucket = Bucket::open(&url)?;
    for entry in entries {
        match entry.place() {
            Place::Tail(tail) => bucket.delete(&url.below(tail))?,
            Place::Mark(key) => bucket.put(&url.below(key), b"")?,
            Place::File(key) => {
                let Hidden { id, tags, .. } = Hidden::parse(&entry.hidden);
                let key = url.below(key);
                bucket.complete(&Upload { key: key.clone(), id }, &tags).map_err(|error| match error.kind() {
                    ErrorKind::Data => Error::data(format!(
                        "a file that a checkpoint holds is gone: s3://{}/{key} is neither there nor an upload that can be \
                         completed: {error}",
                        url.bucket
                    ))
                    .hint("its rows are lost in the sink; start afresh from the source"),
                    _ => error,
                })?;
            }
        }
    }
    Ok(())
}

/// INSERT OVERWRITE: removes what stands where these files will, as [`super::ledger::remove_replaced`] does in directories.
pub(super) fn remove_replaced(root: &Path, entries: &[PendingFile], is_whole: bool) -> Result<()> {
    let url = ObjectUrl::of_path(root)?;
    let bucket = Bucket::open(&url)?;
    let files = entries.iter().filter(|entry| matches!(entry.place(), Place::File(_)));
    let visible: BTreeSet<String> = files.map(|entry| url.below(&entry.visible)).collect();
    let folder = |key: &String| key.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let mut folders: BTreeSet<String> = visible.iter().map(folder).collect();
    if is_whole {
        folders.insert(url.prefix());
    }
    for prefix in folders {
        for object in bucket.list(&prefix, false)?.objects {
            let name = object.key.strip_prefix(&prefix).unwrap_or_default();
            if !name.starts_with(['.', '_']) && !visible.contains(&object.key) {
                bucket.delete(&object.key)?;
            }
        }
    }
    Ok(())
}

/// Makes objects of the files that were open at the restored checkpoint, and gives up what no checkpoint knows. Files bear the uid of their
/// run, which begins with the `owner`: a fresh start knows by it what an earlier process of this very sink left.
pub(super) fn recover(root: &Path, states: &[InstanceState], owner: &str) -> Result<()> {
    let url = ObjectUrl::of_path(root)?;
    let bucket = Bucket::open(&url)?;
    let mut known = BTreeSet::new();
    for state in states {
        for entry in &state.pending {
            match entry.place() {
                Place::File(_) => known.insert(Hidden::parse(&entry.hidden).id),
                _ => false,
            };
        }
        for file in &state.open {
            finish_interrupted(&bucket, &url, file)?;
        }
    }
    let uids: BTreeSet<&str> = states.iter().map(|state| state.uid.as_str()).collect();
    let is_own = |key: &str| {
        let name = key.rsplit('/').next().unwrap_or_default();
        let Some(name) = name.trim_start_matches('.').strip_prefix("part-") else { return false };
        if uids.is_empty() { name.starts_with(owner) } else { uids.iter().any(|uid| name.starts_with(uid)) }
    };
    for upload in bucket.uploads(&url.prefix())? {
        if is_own(&upload.key) && !known.contains(&upload.id) {
            bucket.abort(&upload)?;
        }
    }
    for object in bucket.list(&url.prefix(), false)?.objects {
        if object.key.ends_with(".tail") && is_own(&object.key) {
            bucket.delete(&object.key)?;
        }
    }
    Ok(())
}

/// Ends an open file where the checkpoint stood. Repeated after a crash it does the same again.
fn finish_interrupted(bucket: &Bucket, url: &ObjectUrl, file: &OpenFile) -> Result<()> {
    let key = url.below(&file.names.visible);
    let Hidden { tail, id, mut tags } = Hidden::parse(&file.names.hidden);
    let Some(rest) = bucket.get(&url.below(&tail))? else {
        // The tail is removed after the file was shown.
        return match bucket.head(&key)? {
            Some(_) => Ok(()),
            None => Err(Error::data(format!(
                "a file that a checkpoint holds is gone: neither s3://{}/{key} nor its tail exists",
                url.bucket
            ))
            .hint("its rows are lost in the sink; start afresh from the source")),
        };
    };
    let mut last = rest.to_vec();
    last.extend_from_slice(&file.footer);
    if id.is_empty() {
        bucket.put(&key, &last)?;
    } else if bucket.head(&key)?.is_none() {
        let upload = Upload { key, id };
        tags.push(bucket.put_part(&upload, tags.len() + 1, &last)?);
        bucket.complete(&upload, &tags)?;
    }
    bucket.delete(&url.below(&tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_survives_its_text() {
        let url = ObjectUrl::parse("s3://b/t").unwrap();
        let uploading = Uploading::new(&url, "dt=1/part-a-0-0");
        *uploading.progress.lock().unwrap() = Progress {
            upload: Some(Upload { key: "t/dt=1/part-a-0-0".to_owned(), id: "id".to_owned() }),
            tags: vec!["\"a\"".to_owned(), "\"b\"".to_owned()],
        };
        let entry = uploading.pending("dt=1/.tail", PARTS_MAX);
        let hidden = Hidden::parse(&entry.hidden);
        assert_eq!((hidden.tail.as_str(), hidden.id.as_str(), hidden.tags.len()), ("dt=1/.tail", "id", 2));
        assert!(matches!(entry.place(), Place::File("dt=1/part-a-0-0")));
        let nothing = Uploading::new(&url, "part-a-0-1").pending("", 0);
        assert!(Hidden::parse(&nothing.hidden).id.is_empty());
    }
}
