//! The meeting point of a step's workers: nobody goes on before all have come.
//!
//! A step has a handful of phases of microseconds to milliseconds, so a worker first spins briefly and then parks: under load it rarely
//! sleeps, and an idle job costs nothing. The last one to come wakes the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use super::metrics::lock;

/// How often a worker looks before it parks; some microseconds.
const SPINS_MAX: u32 = 400;

#[derive(Debug)]
pub(crate) struct Barrier {
    parties: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
    guard: Mutex<()>,
    opened: Condvar,
}

impl Barrier {
    pub(crate) fn new(parties: usize) -> Self {
        Barrier {
            parties,
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            guard: Mutex::new(()),
            opened: Condvar::new(),
        }
    }

    /// Waits until all parties have come. Everything that any of them did before is visible to all of them after.
    pub(crate) fn meet(&self) {
        if self.parties == 1 {
            return;
        }
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.parties {
            self.arrived.store(0, Ordering::Release);
            // Under the lock, so that nobody parks between looking at the generation and the call that would wake it.
            let guard = lock(&self.guard);
            self.generation.store(generation.wrapping_add(1), Ordering::Release);
            drop(guard);
            self.opened.notify_all();
            return;
        }
        for _ in 0..SPINS_MAX {
            if self.generation.load(Ordering::Acquire) != generation {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&self.guard);
        while self.generation.load(Ordering::Acquire) == generation {
            guard = self.opened.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}
