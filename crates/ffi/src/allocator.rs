//! Options of the allocator that the whole program uses.
//!
//! Left to its defaults mimalloc keeps what was freed for ten seconds and asks for huge pages, so a job that makes and drops batches
//! holds all that its steps ever touched. Both settings below were measured with the bench's GROUP BY: 250 MB at the defaults, 140 MB
//! with them, at the same CPU time.

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_option_t};

/// When freed memory goes back to the system, in ms; an arena waits ten times as long. The number is that of `mi_option_purge_delay`
/// in mimalloc.h, versions 2 and 3, which the binding does not name.
const PURGE_DELAY: mi_option_t = 15;
const PURGE_DELAY_MS: std::ffi::c_long = 1;

/// Makes the allocator hold little more than what is in use. To be called first in `main`, before anything large is allocated.
pub fn give_back_early() {
    // SAFETY: the calls read and store a number in a table of options; they may be made at any time from any thread.
    unsafe {
        mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
        debug_assert_eq!(mi_option_get(PURGE_DELAY), PURGE_DELAY_MS, "the option was stored");
    }
    without_huge_pages();
}

/// A huge page becomes resident as a whole when one byte of it is touched, so 2 MiB stay for whatever survives in them.
#[cfg(target_os = "linux")]
fn without_huge_pages() {
    // SAFETY: PR_SET_THP_DISABLE takes numbers only and changes how later page faults of this process are served. A kernel that does
    // not know it answers with an error that means nothing here.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

#[cfg(not(target_os = "linux"))]
fn without_huge_pages() {}
