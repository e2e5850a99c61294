//! Asking a table for single keys: the connector's side of a lookup join.
//!
//! ```text
//! operator: the step's distinct keys -> Lookup::lookup (one round trip) -> rows, each with the number of the key it belongs to
//! ```
//! A lookup is synchronous: it runs on a worker's thread and has the worker to itself, so it costs one round trip per step and worker,
//! however many rows wait. Whether answers are remembered is the connector's affair (its `lookup.cache` options); the clock comes from the
//! caller, because a step has one `now`.

use arrow_array::RecordBatch;

use crate::error::Result;

/// What the query asks of a lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupRequest {
    /// Indices into the table's columns of what is delivered, in this order.
    pub columns: Vec<usize>,
    /// Indices into the table's columns of what is asked by, in this order; at least one.
    pub keys: Vec<usize>,
    /// The session's `table.local-time-zone`, an IANA name.
    pub time_zone: String,
    /// The job's name, for client ids.
    pub job_name: String,
}

/// Makes the lookup of one table reference.
pub trait LookupFactory: Send + Sync {
    /// A lookup of its own for one worker. It may connect only when it is first asked.
    fn open(&self) -> Result<Box<dyn Lookup>>;
}

/// Answers for some keys.
#[derive(Debug, Clone)]
pub struct LookupRows {
    /// The rows found, with the requested columns in their declared types.
    pub rows: RecordBatch,
    /// For each row the number of the key (row of the asked batch) it belongs to, never falling. A key without rows does not appear.
    pub key_index: Vec<u32>,
}

/// Finds the rows of some keys.
///
/// Contract:
/// - `keys` holds the columns of [`LookupRequest::keys`] in their declared types; no two rows are equal and none holds a NULL (the caller's
///   duty: a comparison with NULL finds nothing, so nobody has to ask);
/// - the rows of one key come in the order in which the table gave them;
/// - a system that is away is retried inside as often as its options say; what is then returned ends the job.
pub trait Lookup: Send {
    /// Finds the rows of all keys. `now_ms` is the step's time, by which caches age.
    fn lookup(&mut self, keys: &RecordBatch, now_ms: i64) -> Result<LookupRows>;
}
