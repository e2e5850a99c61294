//! Which process a call goes to: each thread of a job has one per surroundings, started at its first call, ended with the thread.
//!
//! The planner's process, which has imported the modules already, is parked and becomes the first worker that fits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use wiesel_core::Result;

use crate::settings::Surroundings;
use crate::worker::Worker;

/// Processes of one thread: settings can change between two statements, so there may be several. The oldest goes when one more comes.
const PER_THREAD_MAX: usize = 8;

thread_local! {
    static OWN: RefCell<BTreeMap<Surroundings, Option<Worker>>> = const { RefCell::new(BTreeMap::new()) };
}

static PARKED: Mutex<Option<(Surroundings, Worker)>> = Mutex::new(None);

/// Lends the thread's process, or the place for one: `None` when there is none yet or the last one is gone.
pub(crate) fn with<T>(surroundings: &Surroundings, work: impl FnOnce(&mut Option<Worker>) -> T) -> T {
    let mut own = OWN.with_borrow_mut(|all| all.get_mut(surroundings).and_then(Option::take));
    let result = work(&mut own);
    if let Some(worker) = own {
        OWN.with_borrow_mut(|all| {
            if all.len() >= PER_THREAD_MAX && !all.contains_key(surroundings) {
                all.pop_first();
            }
            all.insert(surroundings.clone(), Some(worker));
        });
    }
    result
}

/// Leaves a process for the next one who needs it.
pub(crate) fn park(surroundings: Surroundings, worker: Worker) {
    *PARKED.lock().unwrap_or_else(PoisonError::into_inner) = Some((surroundings, worker));
}

/// The parked process, if it fits, or a new one.
pub(crate) fn take(surroundings: &Surroundings) -> Result<Worker> {
    let parked = {
        let mut parked = PARKED.lock().unwrap_or_else(PoisonError::into_inner);
        if parked.as_ref().is_some_and(|(of, _)| of == surroundings) { parked.take() } else { None }
    };
    match parked {
        Some((_, worker)) => Ok(worker),
        None => Worker::start(surroundings),
    }
}

/// Ends the parked process.
pub(crate) fn clear() {
    PARKED.lock().unwrap_or_else(PoisonError::into_inner).take();
}
