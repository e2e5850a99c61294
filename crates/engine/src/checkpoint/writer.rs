//! The helper thread that makes checkpoints durable while the loop goes on: state files, manifests, sweeping.
//!
//! It does one thing at a time, in the order asked for, and few things are ever asked for before an answer is read (one early file, what a
//! checkpoint wants, and a sweep for each one that was confirmed), so its channels are bounded. Commits, which may take as long as a system is away, have a thread of
//! their own (see `committer`).

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use wiesel_core::env::Waker;
use wiesel_core::sink::SinkFactory;
use wiesel_core::{Error, Result};

use super::committer::{Commit, Committer, OPEN_EPOCHS_MAX};
use super::folder::{Folder, StoreError};
use super::helper::HelperThread;
use super::manifest::{Manifest, RunEntry};
use super::run::RunBuffer;
use crate::state::store::{Frozen, Store};
use crate::step::metrics::Metrics;

/// Requests that may lie unread.
const REQUESTS_MAX: usize = 4 + OPEN_EPOCHS_MAX;

/// What the helper is asked for.
pub(crate) enum Work {
    /// Write the state file of a checkpoint, in front of the buffers what the store held at its line when there is a `base`; what operators
    /// keep in the store goes there first.
    Run { id: u64, base: Option<Frozen>, buffers: Vec<RunBuffer>, stored: Option<Stored> },
    /// Write a state file before its checkpoint begins.
    Early { id: u64, number: u64, buffers: Vec<RunBuffer> },
    /// Write a manifest.
    Publish { manifest: Box<Manifest> },
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

/// What the helper did.
pub(crate) enum Done {
    Run(Result<Option<RunEntry>, StoreError>),
    Early(Result<Option<RunEntry>, StoreError>),
    Published(Result<(), StoreError>),
    /// The sinks have made the oldest unconfirmed checkpoint visible.
    Committed(Result<()>),
    /// The folder of the savepoint.
    Exported(Result<PathBuf>),
}

/// The loop's side of the helper.
pub(crate) struct Writer {
    thread: HelperThread<Work>,
    pub(crate) done: Receiver<Done>,
    committer: Committer,
}

/// The thread's side.
struct Helper {
    folder: Arc<Folder>,
    ids: Vec<String>,
    metrics: Arc<Metrics>,
    waker: Waker,
    done: Sender<Done>,
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
        let (done_out, done) = bounded(REQUESTS_MAX + OPEN_EPOCHS_MAX);
        let folder = Arc::new(folder);
        let committer =
            Committer::start(Arc::clone(&folder), sinks, Arc::clone(&metrics), waker.clone(), done_out.clone())?;
        let helper = Helper { folder, ids, metrics, waker, done: done_out };
        let thread = HelperThread::start("checkpoint", REQUESTS_MAX, move |requests| helper.run(&requests))?;
        Ok(Writer { thread, done, committer })
    }

    /// Asks for something; the answer comes through [`Writer::done`] and wakes the loop.
    pub(crate) fn ask(&self, work: Work) -> Result<()> {
        self.thread.ask(work)
    }

    /// Asks for the commit of a durable checkpoint; answered in the order asked for.
    pub(crate) fn commit(&self, id: u64, commits: Vec<Commit>) -> Result<()> {
        self.committer.ask(id, commits)
    }

    /// Ends the threads after what they are doing, but does not wait for one that hangs in a call to the outside.
    pub(crate) fn join(&mut self) {
        self.thread.close();
        self.committer.join();
        self.thread.join();
    }
}

impl Helper {
    fn run(&self, requests: &Receiver<Work>) {
        while let Ok(work) = requests.recv() {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.perform(work)));
            if outcome.is_err() {
                let error = Error::internal("the checkpoint thread panicked");
                self.answer(Done::Published(Err(StoreError::Fatal(error))));
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
            Work::Publish { manifest } => self.answer(Done::Published(self.folder.publish(&manifest))),
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
}
