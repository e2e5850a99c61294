//! Source threads: they fetch and nothing else, and hand over through one bounded list per source.
//!
//! The bound is in bytes: a source that has handed over more than its share waits until the loop has taken some of it into a step. A
//! system that is away when the source is opened is retried with growing pauses for as long as it takes; the job says what it waits for.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow_array::{Array, ArrayRef};
use wiesel_core::env::{self, Waker};
use wiesel_core::source::{
    RawBatch, RawRecord, RowsBatch, Source, SourceContext, SourceEvent, SourceFactory, Split, SplitIndex,
};
use wiesel_core::{Error, ErrorKind, Result};

use super::metrics::lock;
use super::worker::panic_text;

/// What one poll may bring.
const POLL_BYTES_MAX: usize = 4 << 20;
/// How long a poll waits for the first row: also how fast a source thread sees that its job is over.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// Pauses between attempts to open what is away.
const RETRY_FIRST: Duration = Duration::from_millis(100);
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(5);
/// Lag reports alone wake the loop only when so many lie there.
const UNSEEN_EVENTS_MAX: usize = 64;
/// How long the end of a job waits for a source thread that hangs in a call to the outside.
const JOIN_WAIT: Duration = Duration::from_secs(2);

/// What lies between a source thread and the loop.
pub(crate) struct HandOver {
    state: Mutex<State>,
    /// The source thread waits here: for room, or for a request.
    changed: Condvar,
    waker: Waker,
    is_bounded: bool,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    delivery: Delivery,
    /// Handed over and not yet part of a finished step.
    bytes: usize,
    stop: bool,
    complete: Option<Vec<(SplitIndex, i64)>>,
    ended: bool,
}

/// What the loop takes from a source.
#[derive(Default)]
pub(crate) struct Delivery {
    /// The splits and their ends, once the source is open.
    pub(crate) opened: Option<Vec<(Split, Option<i64>)>>,
    pub(crate) events: Vec<SourceEvent>,
    pub(crate) error: Option<Error>,
}

/// A running source thread.
pub(crate) struct Fetch {
    hand_over: Arc<HandOver>,
    thread: Option<JoinHandle<()>>,
}

impl Fetch {
    /// Starts the thread of one source.
    pub(crate) fn start(
        name: &str,
        factory: Arc<dyn SourceFactory>,
        context: SourceContext,
        is_bounded: bool,
        bytes_max: usize,
    ) -> Result<Fetch> {
        let hand_over = Arc::new(HandOver {
            state: Mutex::default(),
            changed: Condvar::new(),
            waker: context.waker.clone(),
            is_bounded,
            bytes_max,
        });
        let shared = Arc::clone(&hand_over);
        let thread = std::thread::Builder::new()
            .name(format!("source-{name}"))
            .spawn(move || shared.run(factory.as_ref(), &context))
            .map_err(|e| Error::unavailable(format!("the system refused a thread for source `{name}`: {e}")))?;
        Ok(Fetch { hand_over, thread: Some(thread) })
    }

    /// Everything that arrived since the last call.
    pub(crate) fn take(&self) -> Delivery {
        std::mem::take(&mut lock(&self.hand_over.state).delivery)
    }

    /// The loop is done with so many bytes.
    pub(crate) fn release(&self, bytes: usize) {
        if bytes > 0 {
            let mut state = lock(&self.hand_over.state);
            state.bytes = state.bytes.saturating_sub(bytes);
            drop(state);
            self.hand_over.changed.notify_all();
        }
    }

    /// Tells the source that a checkpoint with these positions is durable.
    pub(crate) fn checkpoint_complete(&self, positions: Vec<(SplitIndex, i64)>) {
        lock(&self.hand_over.state).complete = Some(positions);
        self.hand_over.changed.notify_all();
    }

    /// Asks the thread to end; [`Fetch::join`] waits for it.
    pub(crate) fn stop(&self) {
        lock(&self.hand_over.state).stop = true;
        self.hand_over.changed.notify_all();
    }

    /// Waits for the thread, but not for one that hangs in a call to the outside.
    pub(crate) fn join(&mut self) {
        self.stop();
        let deadline = env::monotonic() + JOIN_WAIT;
        let mut state = lock(&self.hand_over.state);
        while !state.ended {
            let left = deadline.saturating_duration_since(env::monotonic());
            if left.is_zero() {
                return;
            }
            let waited = self.hand_over.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
        }
        drop(state);
        if let Some(thread) = self.thread.take() {
            // The thread catches its own panics; nothing is lost with the result.
            drop(thread.join());
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The bytes that an event counts for.
pub(crate) fn event_bytes(event: &SourceEvent) -> usize {
    match event {
        SourceEvent::Raw(raw) => raw_bytes(raw),
        SourceEvent::Rows(rows) => rows_bytes(rows),
        _ => 0,
    }
}

pub(crate) fn raw_bytes(raw: &RawBatch) -> usize {
    raw.arena.len() + raw.records.len() * size_of::<RawRecord>()
}

/// What the rows themselves take: a source may cut one large batch into many, which share their buffers.
pub(crate) fn rows_bytes(rows: &RowsBatch) -> usize {
    let column = |c: &ArrayRef| c.to_data().get_slice_memory_size().unwrap_or_else(|_| c.get_array_memory_size());
    rows.rows.columns().iter().map(column).sum()
}

impl HandOver {
    fn run(&self, factory: &dyn SourceFactory, context: &SourceContext) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.fetch(factory, context)));
        let error = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(panic) => Some(Error::internal(format!("a source thread panicked: {}", panic_text(panic.as_ref())))),
        };
        let mut state = lock(&self.state);
        state.delivery.error = error;
        state.ended = true;
        drop(state);
        self.changed.notify_all();
        self.waker.wake();
    }

    fn fetch(&self, factory: &dyn SourceFactory, context: &SourceContext) -> Result<()> {
        let Some(mut source) = self.open(factory, context)? else { return Ok(()) };
        let mut caught_up = vec![false; source.splits().len()];
        let mut finished = 0;
        let mut events = Vec::new();
        let mut pause = RETRY_FIRST;
        loop {
            // An unbounded source whose splits all ended (files) is asked on: it may find new ones.
            let is_at_end = self.is_bounded && finished == source.splits().len();
            let Some((room, complete)) = self.wait_for_room(is_at_end) else {
                return Ok(());
            };
            if let Some(positions) = complete {
                match source.checkpoint_complete(&positions) {
                    // The positions stand in the manifest; the system hears of them after a later checkpoint.
                    Err(error) if error.kind() != ErrorKind::Unavailable => return Err(error),
                    _ => continue,
                }
            }
            match source.poll(room.min(POLL_BYTES_MAX), POLL_WAIT, &mut events) {
                Ok(()) if pause > RETRY_FIRST => {
                    pause = RETRY_FIRST;
                    events.push(SourceEvent::Waiting(None));
                }
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    events.push(SourceEvent::Waiting(Some(error.message().to_owned())));
                    self.hand_over(&mut events);
                    if self.is_stopped_within(pause) {
                        return Ok(());
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                    continue;
                }
                Err(error) => return Err(error),
            }
            caught_up.resize(source.splits().len(), false);
            events.retain(|event| is_news(event, &mut caught_up));
            finished += events.iter().filter(|e| matches!(e, SourceEvent::Finished(_))).count();
            self.hand_over(&mut events);
        }
    }

    /// Opens the source, however long its system is away. `None`: the job is over.
    fn open(&self, factory: &dyn SourceFactory, context: &SourceContext) -> Result<Option<Box<dyn Source>>> {
        let mut pause = RETRY_FIRST;
        loop {
            match factory.open(context.clone()) {
                Ok(source) => {
                    let mut state = lock(&self.state);
                    let splits = source.splits().iter().enumerate().map(|(i, split)| (split.clone(), source.end(i)));
                    state.delivery.opened = Some(splits.collect());
                    state.delivery.events.push(SourceEvent::Waiting(None));
                    drop(state);
                    self.waker.wake();
                    return Ok(Some(source));
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    let mut state = lock(&self.state);
                    state.delivery.events.retain(|e| !matches!(e, SourceEvent::Waiting(_)));
                    state.delivery.events.push(SourceEvent::Waiting(Some(error.message().to_owned())));
                    drop(state);
                    self.waker.wake();
                    if self.is_stopped_within(pause) {
                        return Ok(None);
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a while; says whether the job is over.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        let deadline = env::monotonic() + pause;
        let mut state = lock(&self.state);
        while !state.stop {
            let left = deadline.saturating_duration_since(env::monotonic());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.stop
    }

    /// Waits until more may be fetched or something is asked for. `None`: the job is over.
    #[allow(clippy::type_complexity, reason = "the pair lives for one match")]
    fn wait_for_room(&self, is_at_end: bool) -> Option<(usize, Option<Vec<(SplitIndex, i64)>>)> {
        let mut state = lock(&self.state);
        loop {
            // Before the end, because the last checkpoint of a job is followed by it at once, and its positions should be told, too.
            if let Some(positions) = state.complete.take() {
                return Some((0, Some(positions)));
            }
            if state.stop {
                return None;
            }
            if state.bytes < self.bytes_max && !is_at_end {
                return Some((self.bytes_max - state.bytes, None));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn hand_over(&self, events: &mut Vec<SourceEvent>) {
        if events.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        let wakes = events.iter().any(|e| !matches!(e, SourceEvent::Lag(..)))
            || state.delivery.events.len() > UNSEEN_EVENTS_MAX;
        state.bytes += events.iter().map(event_bytes).sum::<usize>();
        state.delivery.events.append(events);
        drop(state);
        if wakes {
            self.waker.wake();
        }
    }
}

/// A source may say at every poll that a split is at its end; the loop is woken by the first time only.
fn is_news(event: &SourceEvent, caught_up: &mut Vec<bool>) -> bool {
    let mut set = |split: SplitIndex, value: bool| {
        if caught_up.len() <= split {
            caught_up.resize(split + 1, false);
        }
        std::mem::replace(&mut caught_up[split], value)
    };
    match event {
        SourceEvent::Raw(raw) => {
            set(raw.split, false);
            true
        }
        SourceEvent::Rows(rows) => {
            set(rows.split, false);
            true
        }
        SourceEvent::CaughtUp(split) => !set(*split, true),
        _ => true,
    }
}
