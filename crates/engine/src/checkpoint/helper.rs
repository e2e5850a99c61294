//! A thread that does one thing after the other, in the order asked for, and that the end of a job does not wait for without a bound.

use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use wiesel_core::{Error, Result};

/// How long the end of a job waits for a helper that hangs in a call to the outside.
const JOIN_WAIT: Duration = Duration::from_secs(2);

/// The loop's side of a helper that is asked for `Work`.
pub(super) struct HelperThread<Work> {
    name: &'static str,
    requests: Option<Sender<Work>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl<Work: Send + 'static> HelperThread<Work> {
    /// Starts the thread: `run` takes requests, of which so many may lie unread, until there are no more. It catches its own panics.
    pub(super) fn start(
        name: &'static str,
        requests_max: usize,
        run: impl FnOnce(Receiver<Work>) + Send + 'static,
    ) -> Result<HelperThread<Work>> {
        let (requests, requests_in) = bounded(requests_max);
        let (ended_out, ended) = bounded::<()>(1);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                run(requests_in);
                drop(ended_out);
            })
            .map_err(|e| Error::unavailable(format!("the system refused the {name} thread: {e}")))?;
        Ok(HelperThread { name, requests: Some(requests), ended, thread: Some(thread) })
    }

    /// Asks for something.
    pub(super) fn ask(&self, work: Work) -> Result<()> {
        let gone = || Error::internal(format!("the {} thread is gone", self.name));
        self.requests.as_ref().ok_or_else(gone)?.send(work).map_err(|_| gone())
    }

    /// There are no more requests; the thread ends after those it has.
    pub(super) fn close(&mut self) {
        self.requests = None;
    }

    /// The same, and waits for the end, but not for a thread that hangs in a call to the outside.
    pub(super) fn join(&mut self) {
        self.close();
        if self.ended.recv_timeout(JOIN_WAIT) != Err(RecvTimeoutError::Timeout)
            && let Some(thread) = self.thread.take()
        {
            // The thread catches its own panics; nothing is lost with the result.
            drop(thread.join());
        }
    }
}
