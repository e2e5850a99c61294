//! The lookup: all keys of a step, a bounded number at a time, asked again after an outage.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use wiesel_core::env::Waker;
use wiesel_core::lookup::{Lookup, LookupFactory, LookupRows};
use wiesel_core::{Error, Result, Schema};

use super::dialect::{Failure, RowLookup};
use super::target::Target;

/// Keys that are asked at once; their answers are in memory at once.
const STATEMENT_KEYS_MAX: usize = 4096;
/// The pause before the first retry; the second waits twice as long, as Flink's do.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Makes the lookups of one table reference.
pub(super) struct JdbcLookupFactory {
    target: Arc<Target>,
    /// The columns that are delivered; the target's schema has the keys behind them.
    schema: Schema,
    retries_max: u32,
}

impl JdbcLookupFactory {
    pub(super) fn new(target: Arc<Target>, schema: Schema, retries_max: u32) -> Self {
        JdbcLookupFactory { target, schema, retries_max }
    }
}

impl LookupFactory for JdbcLookupFactory {
    fn open(&self) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(JdbcLookup {
            target: Arc::clone(&self.target),
            schema: self.schema.clone(),
            retries_max: self.retries_max,
            session: None,
        }))
    }
}

struct JdbcLookup {
    target: Arc<Target>,
    schema: Schema,
    retries_max: u32,
    /// The connection; `None` before the first question and after it was lost.
    session: Option<Box<dyn RowLookup>>,
}

impl JdbcLookup {
    fn ask(&mut self, keys: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), Failure> {
        let session = match self.session.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => self.target.dialect().open_lookup(&self.target, self.schema.len())?,
        };
        self.session.insert(session).ask(keys)
    }

    fn ask_until_answered(&mut self, keys: &RecordBatch) -> Result<(RecordBatch, Vec<u32>)> {
        let mut retries = 0;
        loop {
            let why = match self.ask(keys) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Away(why) | Failure::Conflict(why)) => why,
                Err(failure) => return Err(failure.into()),
            };
            self.session = None;
            if retries == self.retries_max {
                return Err(Error::unavailable(format!("gave up after {retries} retries: {why}"))
                    .hint("raise 'lookup.max-retries' to wait longer"));
            }
            retries += 1;
            // Nobody wakes it: a pause that the house's rules allow.
            Waker::default().wait(RETRY_PAUSE * retries);
        }
    }
}

impl Lookup for JdbcLookup {
    fn lookup(&mut self, keys: &RecordBatch, _now_ms: i64) -> Result<LookupRows> {
        let (mut batches, mut key_index) = (Vec::new(), Vec::new());
        let mut start = 0;
        while start < keys.num_rows() {
            let count = STATEMENT_KEYS_MAX.min(keys.num_rows() - start);
            let (rows, numbers) = self.ask_until_answered(&keys.slice(start, count))?;
            let base = u32::try_from(start).map_err(|_| Error::internal("a step of 2^32 keys"))?;
            key_index.extend(numbers.into_iter().map(|n| n + base));
            batches.push(rows);
            start += count;
        }
        let rows = match batches.as_slice() {
            [one] => one.clone(),
            all => concat_batches(self.schema.arrow(), all)?,
        };
        Ok(LookupRows { rows, key_index })
    }
}
