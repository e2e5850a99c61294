//! Telling a window that lies in the store: one virtual node after the other, some per call of `advance`, so that neither its state nor its
//! rows stand in memory at once.

use wiesel_core::Result;

use super::ROWS_PER_BATCH;
use crate::operator::OperatorContext;

/// A call tells no further virtual node once it has emitted so many rows.
const ROWS_PER_CALL: usize = if cfg!(test) { 2 } else { ROWS_PER_BATCH };

/// How far a window is told.
#[derive(Default)]
pub(super) struct WindowParts {
    /// The virtual nodes whose keys this worker owns.
    vnodes: Vec<u8>,
    /// The place there of the next one, while a window is being told.
    next: Option<usize>,
}

impl WindowParts {
    /// The virtual nodes of an operator.
    pub(super) fn new(context: &OperatorContext, has_keys: bool) -> WindowParts {
        WindowParts { vnodes: context.vnodes(has_keys), next: None }
    }

    /// The virtual nodes of the operator.
    pub(super) fn vnodes(&self) -> &[u8] {
        &self.vnodes
    }

    /// Whether a window is told in part.
    pub(super) fn is_open(&self) -> bool {
        self.next.is_some()
    }

    /// Calls `tell`, which returns the number of rows it emitted, for the virtual nodes that are left; returns whether that was all.
    pub(super) fn tell(&mut self, mut tell: impl FnMut(u8) -> Result<usize>) -> Result<bool> {
        let (mut next, mut rows) = (self.next.take().unwrap_or(0), 0);
        while let Some(&vnode) = self.vnodes.get(next) {
            if rows >= ROWS_PER_CALL {
                self.next = Some(next);
                return Ok(false);
            }
            rows += tell(vnode)?;
            next += 1;
        }
        Ok(true)
    }
}
