//! Between a sink and the thread that talks to its system: one buffer is being filled on the worker, at most one more is on its way.
//!
//! ```text
//! worker:  write -> [buffer being filled]  --hand_over-->  thread: [buffer on its way] -> requests, retries, answers
//!                          ^---------------- empty buffer comes back, loop is woken ----------------'
//! ```
//! So memory is bounded by two buffers, changes of one key keep their order (buffers are sent one after the other), and while a slow
//! system works on one buffer the other absorbs changes. The thread alone waits and retries; it ends when the sink is dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use wiesel_core::env::Waker;
use wiesel_core::sink::RefusedRow;
use wiesel_core::{Error, Result};

/// The longest pause between two tries.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What the thread tells the sink while it works.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Changes acknowledged.
    pub(crate) delivered: AtomicU64,
    /// Changes refused.
    pub(crate) refused: AtomicU64,
    /// Changes that a newer one in the system made pointless.
    pub(crate) overtaken: AtomicU64,
    /// Requests sent again.
    pub(crate) retried: AtomicU64,
    waiting_for: Mutex<Option<String>>,
    refused_rows: Mutex<Vec<RefusedRow>>,
}

impl Progress {
    /// What is waited for.
    pub(crate) fn waiting_for(&self) -> Option<String> {
        self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rows that were refused since the last call. At most those of one buffer: the next one goes out after this was called.
    pub(crate) fn take_refused(&self) -> Vec<RefusedRow> {
        std::mem::take(&mut *self.refused_rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps a refused row for [`Progress::take_refused`].
    pub(crate) fn refuse(&self, row: RefusedRow) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.refused_rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    }

    /// Says what is waited for.
    pub(crate) fn set_waiting_for(&self, text: Option<String>) {
        *self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// The thread's side.
pub(crate) struct Link {
    /// Counters and state for the sink.
    pub(crate) progress: Arc<Progress>,
    stop: Receiver<()>,
}

impl Link {
    /// Waits before the next try; an error when the sink is gone and nobody wants the result.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        match self.stop.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                Err(Error::unavailable("the job ended while a sink was retrying"))
            }
        }
    }
}

/// The pause before try number `attempt` (1 = the first repetition): doubled each time, up to [`BACKOFF_MAX`], with some jitter so that
/// several instances do not come back together.
pub(crate) fn exponential_backoff(first: Duration, attempt: u32) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1).min(20)).unwrap_or(1));
    doubled.min(BACKOFF_MAX).mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// The sink's side of the hand-over of buffers `B`.
pub(crate) struct HandOver<B> {
    buffers: Sender<B>,
    results: Receiver<Result<B>>,
    /// Never used: its end tells the thread that the sink is gone.
    _stop: Sender<()>,
    progress: Arc<Progress>,
    /// Buffers given to the thread so far.
    handed: u64,
    /// Buffers that came back.
    done: u64,
    /// The buffer that has to come back before the running checkpoint is safe.
    wanted: Option<u64>,
}

impl<B: Send + 'static> HandOver<B> {
    /// Starts the thread; `send` delivers a buffer completely and leaves it empty, or fails for good.
    pub(crate) fn start(
        name: String,
        waker: Waker,
        mut send: impl FnMut(&mut B, &Link) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (buffers, work) = bounded::<B>(1);
        let (answer, results) = bounded::<Result<B>>(1);
        let (stop_sender, stop) = bounded(0);
        let progress = Arc::new(Progress::default());
        let link = Link { progress: Arc::clone(&progress), stop };
        let run = move || {
            for mut buffer in work {
                let result = send(&mut buffer, &link).map(|()| buffer);
                let failed = result.is_err();
                if answer.send(result).is_err() || failed {
                    waker.wake();
                    return;
                }
                waker.wake();
            }
        };
        std::thread::Builder::new()
            .name(name)
            .spawn(run)
            .map_err(|e| Error::unavailable(format!("cannot start a thread: {e}")))?;
        Ok(HandOver { buffers, results, _stop: stop_sender, progress, handed: 0, done: 0, wanted: None })
    }

    /// Counters and state of the thread.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether the thread has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.handed == self.done
    }

    /// Gives the idle thread a buffer.
    pub(crate) fn hand_over(&mut self, buffer: B) -> Result<()> {
        debug_assert!(self.is_idle(), "one buffer is on its way at most");
        self.buffers.try_send(buffer).map_err(|_| Error::internal("a sink's thread ended before its sink"))?;
        self.handed += 1;
        Ok(())
    }

    /// Takes the emptied buffer back when the thread is done with it, or its error.
    pub(crate) fn take_back(&mut self) -> Result<Option<B>> {
        match self.results.try_recv() {
            Ok(result) => {
                self.done += 1;
                result.map(Some)
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) if self.is_idle() => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Error::internal("a sink's thread ended in the middle of its work")),
        }
    }

    /// A checkpoint begins: what was handed over, and the buffer being filled unless it is empty, belong to it.
    pub(crate) fn begin_checkpoint(&mut self, buffer_is_empty: bool) {
        self.wanted = Some(self.handed + u64::from(!buffer_is_empty));
    }

    /// Whether the buffer being filled has to go as soon as it can, for the running checkpoint.
    pub(crate) fn checkpoint_wants_buffer(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.handed < wanted)
    }

    /// Whether everything that belongs to the checkpoint was acknowledged.
    pub(crate) fn checkpoint_is_safe(&self) -> bool {
        self.wanted.is_none_or(|wanted| self.done >= wanted)
    }
}
