//! What the outside may ask of a running job: to stop with a checkpoint, or to go at once. And the clock a job reads.
//!
//! A [`Control`] also carries the job's waker, so a request reaches a parked loop at once, and a test that moves its own clock can make
//! the loop look at it.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use wiesel_core::env::{self, Waker};

const RUN: u8 = 0;
const STOP: u8 = 1;
const ABORT: u8 = 2;

/// A handle on a running job. Cheap to clone; all clones speak to the same job.
#[derive(Debug, Clone, Default)]
pub struct Control {
    request: Arc<AtomicU8>,
    waker: Waker,
    quiet: Arc<Quiet>,
    savepoints: Arc<Mutex<VecDeque<SavepointRequest>>>,
}

/// Savepoints that may be asked for at once; one more is refused.
const SAVEPOINTS_MAX: usize = 4;

/// A savepoint that somebody waits for. A request that is dropped without an answer ends the waiting too.
#[derive(Debug)]
pub struct SavepointRequest {
    folder: PathBuf,
    answer: SyncSender<Result<PathBuf, String>>,
}

impl SavepointRequest {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn answer(&self, outcome: Result<PathBuf, String>) {
        // Who asked may have stopped waiting; the savepoint is there all the same.
        drop(self.answer.try_send(outcome));
    }
}

/// Questions whether the job has nothing left to do, counted, and the last one answered with yes.
#[derive(Debug, Default)]
struct Quiet {
    turns: Mutex<Turns>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Turns {
    asked: u64,
    answered: u64,
    is_over: bool,
}

impl Control {
    /// A handle for a job that is not asked to stop.
    pub fn new() -> Self {
        Control::default()
    }

    /// Asks the job to take a checkpoint, commit and end. Asked twice, the job ends at once: the first request then counts as refused.
    pub fn stop(&self) {
        if self.request.compare_exchange(RUN, STOP, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            self.request.store(ABORT, Ordering::SeqCst);
        }
        self.waker.wake();
    }

    /// Asks the job to end at once; what stands in the last checkpoint is what a restart begins with.
    pub fn abort(&self) {
        self.request.store(ABORT, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Asks for a savepoint in a folder that does not exist yet. The answer is its place, or why there is none; the sender is dropped when
    /// the job ends before.
    pub fn savepoint(&self, folder: PathBuf) -> Receiver<Result<PathBuf, String>> {
        let (answer, answered) = sync_channel(1);
        let request = SavepointRequest { folder, answer };
        let mut savepoints = self.savepoints.lock().unwrap_or_else(PoisonError::into_inner);
        if self.quiet.turns.lock().unwrap_or_else(PoisonError::into_inner).is_over {
            request.answer(Err("the job is over".to_owned()));
        } else if savepoints.len() >= SAVEPOINTS_MAX {
            request.answer(Err(format!("{SAVEPOINTS_MAX} savepoints are waited for already")));
        } else {
            savepoints.push_back(request);
        }
        drop(savepoints);
        self.waker.wake();
        answered
    }

    /// The next savepoint asked for.
    pub(crate) fn take_savepoint(&self) -> Option<SavepointRequest> {
        self.savepoints.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whether a savepoint is asked for.
    pub(crate) fn wants_savepoint(&self) -> bool {
        !self.savepoints.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Makes a parked loop look around.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Whether a stop (or an abort) was asked for.
    pub fn is_stopping(&self) -> bool {
        self.request.load(Ordering::SeqCst) != RUN
    }

    /// Whether the job must end at once.
    pub fn is_aborted(&self) -> bool {
        self.request.load(Ordering::SeqCst) == ABORT
    }

    /// Waits until the loop has looked around after this call and found nothing left to do: what sources handed over before is processed,
    /// timers that were due fired, sinks have it all. True when that happened, or the job is over, within `patience`.
    pub fn wait_until_quiet(&self, patience: Duration) -> bool {
        let mut turns = self.quiet.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.asked += 1;
        let question = turns.asked;
        self.waker.wake();
        let busy = |turns: &mut Turns| turns.answered < question && !turns.is_over;
        let (turns, _) =
            self.quiet.answered.wait_timeout_while(turns, patience, busy).unwrap_or_else(PoisonError::into_inner);
        turns.answered >= question || turns.is_over
    }

    /// Waits until the job is over, at most for `patience`; says whether it is.
    pub fn wait_until_over(&self, patience: Duration) -> bool {
        let turns = self.quiet.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = |turns: &mut Turns| !turns.is_over;
        let (turns, _) =
            self.quiet.answered.wait_timeout_while(turns, patience, runs).unwrap_or_else(PoisonError::into_inner);
        turns.is_over
    }

    /// The question to answer when the look around that begins now finds nothing to do.
    pub(crate) fn question(&self) -> u64 {
        self.quiet.turns.lock().unwrap_or_else(PoisonError::into_inner).asked
    }

    /// Nothing is left to do of what was there when `question` was read.
    pub(crate) fn is_quiet(&self, question: u64) {
        let mut turns = self.quiet.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.answered < question {
            turns.answered = question;
            drop(turns);
            self.quiet.answered.notify_all();
        }
    }

    /// The job is over: whoever waits for it goes on.
    pub(crate) fn is_over(&self) {
        self.quiet.turns.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.quiet.answered.notify_all();
        self.savepoints.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }
}

/// The wall clock as a job sees it: read once per step. Tests bring their own.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> i64;

    /// Milliseconds on a clock that nobody sets; it begins as the wall clock and goes its own way when that is set.
    fn steady_ms(&self) -> i64 {
        self.now_ms()
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        env::wall_clock_ms()
    }

    fn steady_ms(&self) -> i64 {
        static BEGAN: OnceLock<(i64, Instant)> = OnceLock::new();
        let (wall_ms, began) = *BEGAN.get_or_init(|| (env::wall_clock_ms(), env::monotonic()));
        let passed = env::monotonic().saturating_duration_since(began).as_millis();
        wall_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

/// Kills the process at a named commit step, for the tests that prove that no kill loses or doubles a row.
///
/// The steps, in order: `ckpt.begin`, `op.snapshot`, `state.write`, `state.fsync`, `state.ingest`, `sink.prepare`, `manifest.write`,
/// `manifest.fsync`, `dir.fsync`, `sink.commit`, `commit.recorded`, `src.offset_commit`, `ckpt.gc`; and `restore.read`,
/// `restore.recommit` at the start of a run. Without points it does nothing.
#[derive(Debug, Clone, Default)]
pub struct FailPoints(Option<Arc<Mutex<BTreeMap<String, u64>>>>);

impl FailPoints {
    /// Reads `name:count[,name:count...]`: the process dies when the named step is reached for the count-th time.
    pub fn parse(text: &str) -> Self {
        let mut points = BTreeMap::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (name, count) = part.split_once(':').unwrap_or((part, "1"));
            points.insert(name.trim().to_owned(), count.trim().parse().unwrap_or(1));
        }
        if points.is_empty() { FailPoints(None) } else { FailPoints(Some(Arc::new(Mutex::new(points)))) }
    }

    /// Reached the step `name`.
    pub(crate) fn reach(&self, name: &str) {
        let Some(points) = &self.0 else { return };
        let mut points = points.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = points.get_mut(name) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                // An abort runs no destructor and flushes nothing: as close to kill -9 as a process can come by itself.
                std::process::abort();
            }
        }
    }
}
