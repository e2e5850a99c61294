//! The thread that makes the work of durable checkpoints visible, one checkpoint after the other, while the next ones are taken.
//!
//! The order matters: a sink's record says up to which checkpoint its rows are there, so after a failure nothing later is committed any
//! more. A commit whose system is away is retried with growing pauses for as long as it takes; meanwhile the loop takes at most
//! [`OPEN_EPOCHS_MAX`] checkpoints, so the channel to this thread is bounded.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use wiesel_core::env::Waker;
use wiesel_core::sink::SinkFactory;
use wiesel_core::{Error, ErrorKind, Result};

use super::folder::Folder;
use super::writer::Done;
use crate::step::metrics::Metrics;

/// Durable checkpoints whose work the sinks have not confirmed; the next one waits.
pub(crate) const OPEN_EPOCHS_MAX: usize = 4;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long the end of a job waits for a commit that hangs in a call to the outside.
const JOIN_WAIT: Duration = Duration::from_secs(2);

/// Work of one sink and one checkpoint.
pub(crate) struct Commit {
    pub(crate) sink: usize,
    pub(crate) checkpoint: u64,
    pub(crate) work: Vec<Vec<u8>>,
}

/// What a durable checkpoint brings.
struct Work {
    id: u64,
    commits: Vec<Commit>,
}

/// The loop's side.
pub(crate) struct Committer {
    requests: Option<Sender<Work>>,
    quit: Option<Sender<()>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// The thread's side.
struct Helper {
    folder: Arc<Folder>,
    sinks: Vec<Option<Arc<dyn SinkFactory>>>,
    metrics: Arc<Metrics>,
    waker: Waker,
    requests: Receiver<Work>,
    done: Sender<Done>,
    quit: Receiver<()>,
}

impl Committer {
    /// Starts the thread; its answers go where the other helper's go.
    pub(crate) fn start(
        folder: Arc<Folder>,
        sinks: Vec<Option<Arc<dyn SinkFactory>>>,
        metrics: Arc<Metrics>,
        waker: Waker,
        done: Sender<Done>,
    ) -> Result<Committer> {
        let (requests, requests_in) = bounded(OPEN_EPOCHS_MAX);
        let (quit, quit_in) = bounded(1);
        let (ended_out, ended) = bounded(1);
        let helper = Helper { folder, sinks, metrics, waker, requests: requests_in, done, quit: quit_in };
        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || {
                helper.run();
                drop(ended_out);
            })
            .map_err(|e| Error::unavailable(format!("the system refused the commit thread: {e}")))?;
        Ok(Committer { requests: Some(requests), quit: Some(quit), ended, thread: Some(thread) })
    }

    /// Asks for the commit of a durable checkpoint; every one is answered, in the order asked for.
    pub(crate) fn ask(&self, id: u64, commits: Vec<Commit>) -> Result<()> {
        let gone = || Error::internal("the commit thread is gone");
        self.requests.as_ref().ok_or_else(gone)?.send(Work { id, commits }).map_err(|_| gone())
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
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| self.commit(&work)));
            let outcome = outcome.unwrap_or_else(|_| Err(Error::internal("the commit thread panicked")));
            let has_failed = outcome.is_err();
            // Nobody listens any more when the job ended in the meantime.
            drop(self.done.send(Done::Committed(outcome)));
            self.waker.wake();
            if has_failed {
                return;
            }
        }
    }

    fn commit(&self, work: &Work) -> Result<()> {
        for commit in &work.commits {
            let Some(Some(factory)) = self.sinks.get(commit.sink) else { continue };
            self.folder.fail_points().reach("sink.commit");
            self.retry(|| factory.commit(commit.checkpoint, &commit.work))?;
        }
        // A mark that could not be made (the disk is full) costs a repeated commit after a crash, which changes nothing.
        if let Err(error) = self.folder.mark_committed(work.id) {
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
