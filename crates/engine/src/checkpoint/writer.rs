//! The helper thread that makes checkpoints durable while the loop goes on: state files, manifests, commits, sweeping.
//!
//! It does one thing at a time, in the order asked for, and at most four things are ever asked for before an answer is read (one early
//! file, and what a checkpoint wants), so its channels are bounded. A commit whose system is away is retried with growing pauses for as long as it takes.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use wiesel_core::env::Waker;
use wiesel_core::sink::SinkFactory;
use wiesel_core::{Error, ErrorKind, Result};

use super::folder::{Folder, StoreError};
use super::manifest::{Manifest, RunEntry};
use super::run::RunBuffer;
use crate::state::store::{Frozen, Store};
use crate::step::metrics::Metrics;

/// Requests that may lie unread.
const REQUESTS_MAX: usize = 4;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long the end of a job waits for a helper that hangs in a call to the outside.
const JOIN_WAIT: Duration = Duration::from_secs(2);

/// What the helper is asked for.
pub(crate) enum Work {
    /// Write the state file of a checkpoint, in front of the buffers what the store held at its line when there is a `base`; what operators
    /// keep in the store goes there first.
    Run { id: u64, base: Option<Frozen>, buffers: Vec<RunBuffer>, stored: Option<Stored> },
    /// Write a state file before its checkpoint begins.
    Early { id: u64, number: u64, buffers: Vec<RunBuffer> },
    /// Write a manifest, then commit.
    Publish { manifest: Box<Manifest>, commits: Vec<Commit> },
    /// Copy a durable checkpoint to where a savepoint is wanted.
    Export { manifest: Box<Manifest>, to: PathBuf },
    /// Remove what no manifest names.
    Sweep,
}

/// The store, and the operators that keep state in it.
pub(crate) struct Stored {
    pub(crate) store: Arc<Store>,
    pub(crate) operators: Vec<u16>,
}

/// Work of one sink and one checkpoint.
pub(crate) struct Commit {
    pub(crate) sink: usize,
    pub(crate) checkpoint: u64,
    pub(crate) work: Vec<Vec<u8>>,
}

/// What the helper did.
pub(crate) enum Done {
    Run(Result<Option<RunEntry>, StoreError>),
    Early(Result<Option<RunEntry>, StoreError>),
    Published(Result<(), StoreError>),
    Committed(Result<()>),
    /// The folder of the savepoint.
    Exported(Result<PathBuf>),
}

/// The loop's side of the helper.
pub(crate) struct Writer {
    requests: Option<Sender<Work>>,
    pub(crate) done: Receiver<Done>,
    quit: Option<Sender<()>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// The thread's side.
struct Helper {
    folder: Folder,
    ids: Vec<String>,
    sinks: Vec<Option<Arc<dyn SinkFactory>>>,
    metrics: Arc<Metrics>,
    waker: Waker,
    requests: Receiver<Work>,
    done: Sender<Done>,
    quit: Receiver<()>,
}

impl Writer {
    /// Starts the thread. `ids` are the operator ids by node of the plan.
    pub(crate) fn start(
        folder: Folder,
        ids: Vec<String>,
        sinks: Vec<Option<Arc<dyn SinkFactory>>>,
        metrics: Arc<Metrics>,
        waker: Waker,
    ) -> Result<Writer> {
        let (requests, requests_in) = bounded(REQUESTS_MAX);
        let (done_out, done) = bounded(REQUESTS_MAX);
        let (quit, quit_in) = bounded(1);
        let (ended_out, ended) = bounded(1);
        let helper =
            Helper { folder, ids, sinks, metrics, waker, requests: requests_in, done: done_out, quit: quit_in };
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                helper.run();
                drop(ended_out);
            })
            .map_err(|e| Error::unavailable(format!("the system refused the checkpoint thread: {e}")))?;
        Ok(Writer { requests: Some(requests), done, quit: Some(quit), ended, thread: Some(thread) })
    }

    /// Asks for something; the answer comes through [`Writer::done`] and wakes the loop.
    pub(crate) fn ask(&self, work: Work) -> Result<()> {
        let gone = || Error::internal("the checkpoint thread is gone");
        self.requests.as_ref().ok_or_else(gone)?.send(work).map_err(|_| gone())
    }

    /// Ends the thread after what it is doing, but does not wait for one that hangs in a call to the outside.
    pub(crate) fn join(&mut self) {
        self.requests = None;
        self.quit = None;
        if self.ended.recv_timeout(JOIN_WAIT) != Err(RecvTimeoutError::Timeout)
            && let Some(thread) = self.thread.take()
        {
            // The thread catches its own panics; nothing is lost with the result.
            drop(thread.join());
        }
    }
}

impl Helper {
    fn run(&self) {
        while let Ok(work) = self.requests.recv() {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.perform(work)));
            if outcome.is_err() {
                self.answer(Done::Committed(Err(Error::internal("the checkpoint thread panicked"))));
            }
        }
    }

    fn answer(&self, done: Done) {
        // Nobody listens any more when the job ended in the meantime.
        drop(self.done.send(done));
        self.waker.wake();
    }

    fn perform(&self, work: Work) {
        match work {
            Work::Run { id, base, buffers, stored } => {
                let takes =
                    |stored: Stored| stored.store.ingest(&buffers, |operator| stored.operators.contains(&operator));
                let written = match stored.map_or(Ok(()), takes) {
                    Ok(()) => self.write(id, None, base.as_ref(), &buffers),
                    Err(error) => Err(StoreError::Fatal(error)),
                };
                drop((base, buffers));
                self.answer(Done::Run(written));
            }
            Work::Early { id, number, buffers } => {
                let written = self.write(id, Some(number), None, &buffers);
                drop(buffers);
                self.answer(Done::Early(written));
            }
            Work::Publish { manifest, commits } => {
                let published = self.folder.publish(&manifest);
                let is_published = published.is_ok();
                self.answer(Done::Published(published));
                if is_published {
                    self.answer(Done::Committed(self.commit(manifest.id, &commits)));
                }
            }
            Work::Export { manifest, to } => {
                let copied = super::savepoint::copy(self.folder.path(), &manifest, &to);
                self.answer(Done::Exported(copied));
            }
            Work::Sweep => {
                if let Err(error) = self.folder.sweep() {
                    self.metrics.note(error.to_string());
                }
            }
        }
    }

    fn write(
        &self,
        id: u64,
        early: Option<u64>,
        base: Option<&Frozen>,
        buffers: &[RunBuffer],
    ) -> Result<Option<RunEntry>, StoreError> {
        if base.is_none() && buffers.iter().all(RunBuffer::is_empty) {
            return Ok(None);
        }
        self.folder.write_run(id, early, &self.ids, base, buffers).map(Some)
    }

    fn commit(&self, id: u64, commits: &[Commit]) -> Result<()> {
        for commit in commits {
            let Some(Some(factory)) = self.sinks.get(commit.sink) else { continue };
            self.folder.fail_points().reach("sink.commit");
            self.retry(|| factory.commit(commit.checkpoint, &commit.work))?;
        }
        // A mark that could not be made (the disk is full) costs a repeated commit after a crash, which changes nothing.
        if let Err(error) = self.folder.mark_committed(id) {
            self.metrics.note(error.to_string());
        }
        Ok(())
    }

    fn retry(&self, mut call: impl FnMut() -> Result<()>) -> Result<()> {
        let mut pause = RETRY_FIRST;
        loop {
            match call() {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    self.metrics.set_waiting(Some(format!("commit: {}", error.message())));
                    if self.quit.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                        return Err(error);
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
                other => {
                    self.metrics.set_waiting(None);
                    return other;
                }
            }
        }
    }
}
