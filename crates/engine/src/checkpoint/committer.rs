//! The thread that makes the work of durable checkpoints visible, one checkpoint after the other, while the next ones are taken.
//!
//! The order matters: a sink's record says up to which checkpoint its rows are there, so after a failure nothing later is committed any
//! more. A commit whose system is away is retried with growing pauses for as long as it takes; meanwhile the loop takes at most
//! [`OPEN_EPOCHS_MAX`] checkpoints, so the channel to this thread is bounded.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use wiesel_core::env::Waker;
use wiesel_core::sink::SinkFactory;
use wiesel_core::{Error, ErrorKind, Result};

use super::folder::Folder;
use super::helper::HelperThread;
use super::writer::Done;
use crate::step::metrics::Metrics;

/// Durable checkpoints whose work the sinks have not confirmed; the next one waits.
pub(crate) const OPEN_EPOCHS_MAX: usize = 4;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

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
    thread: HelperThread<Work>,
    quit: Option<Sender<()>>,
}

/// The thread's side.
struct Helper {
    folder: Arc<Folder>,
    sinks: Vec<Option<Arc<dyn SinkFactory>>>,
    metrics: Arc<Metrics>,
    waker: Waker,
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
        let (quit, quit_in) = bounded(1);
        let helper = Helper { folder, sinks, metrics, waker, done, quit: quit_in };
        let thread = HelperThread::start("commit", OPEN_EPOCHS_MAX, move |requests| helper.run(&requests))?;
        Ok(Committer { thread, quit: Some(quit) })
    }

    /// Asks for the commit of a durable checkpoint; every one is answered, in the order asked for.
    pub(crate) fn ask(&self, id: u64, commits: Vec<Commit>) -> Result<()> {
        self.thread.ask(Work { id, commits })
    }

    /// Ends the thread after what it is doing, but does not wait for one that hangs in a call to the outside.
    pub(crate) fn join(&mut self) {
        self.quit = None;
        self.thread.join();
    }
}

impl Helper {
    fn run(&self, requests: &Receiver<Work>) {
        while let Ok(work) = requests.recv() {
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
