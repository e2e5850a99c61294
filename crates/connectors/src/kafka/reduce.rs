//! 'sink.buffer-flush.*' of upsert-kafka: between two flushes only the last record of each key is kept.
//!
//! A flush comes with so many rows, after so much time, and with each checkpoint. Keys go out in the order in which they came first; the
//! buffer is bounded by the rows that the option names.

use std::collections::HashMap;
use std::time::Duration;

/// The two options; both are above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flush {
    pub(super) rows_max: usize,
    pub(super) interval: Duration,
}

/// A record that waits; without a value it is a tombstone.
pub(super) struct Waiting {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) time: Option<i64>,
    pub(super) headers: Vec<u8>,
}

/// The records of one sink instance that wait.
pub(super) struct Reducer {
    flush: Flush,
    records: Vec<Waiting>,
    places: HashMap<Vec<u8>, usize>,
    /// Rows since the last flush.
    rows: usize,
    /// When the next flush is due, in ms of the wall clock; set by the first look at the clock.
    due_ms: Option<i64>,
}

impl Reducer {
    pub(super) fn new(flush: Flush) -> Self {
        Reducer { flush, records: Vec::new(), places: HashMap::new(), rows: 0, due_ms: None }
    }

    /// Takes a record; whether it replaced an earlier one.
    pub(super) fn add(&mut self, key: &[u8], value: Option<&[u8]>, time: Option<i64>, headers: &[u8]) -> bool {
        self.rows += 1;
        match self.places.get(key).and_then(|place| self.records.get_mut(*place)) {
            Some(known) => {
                known.value = value.map(<[u8]>::to_vec);
                known.time = time;
                known.headers = headers.to_vec();
                true
            }
            None => {
                self.places.insert(key.to_vec(), self.records.len());
                let (value, headers) = (value.map(<[u8]>::to_vec), headers.to_vec());
                self.records.push(Waiting { key: key.to_vec(), value, time, headers });
                false
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.flush.rows_max
    }

    /// Whether the time is over; and when it will be, if anything waits.
    pub(super) fn look(&mut self, now_ms: i64) -> (bool, Option<i64>) {
        if self.records.is_empty() {
            self.due_ms = None;
            return (false, None);
        }
        let interval = i64::try_from(self.flush.interval.as_millis()).unwrap_or(i64::MAX);
        let due = *self.due_ms.get_or_insert(now_ms.saturating_add(interval));
        (now_ms >= due, Some(due))
    }

    /// Everything that waits.
    pub(super) fn take(&mut self) -> Vec<Waiting> {
        self.places.clear();
        self.rows = 0;
        self.due_ms = None;
        std::mem::take(&mut self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_a_key_is_kept_until_rows_or_time_are_over() {
        let mut reducer = Reducer::new(Flush { rows_max: 3, interval: Duration::from_secs(1) });
        assert_eq!(reducer.look(5), (false, None));
        assert!(!reducer.add(b"a", Some(b"1"), None, b"h"));
        assert!(!reducer.add(b"b", Some(b"1"), Some(7), b""));
        assert_eq!(reducer.look(10), (false, Some(1010)));
        assert_eq!(reducer.look(1009), (false, Some(1010)));
        assert_eq!(reducer.look(1010), (true, Some(1010)));
        assert!(!reducer.is_full());
        assert!(reducer.add(b"a", None, None, b""));
        assert!(reducer.is_full());
        let taken: Vec<_> = reducer.take().into_iter().map(|r| (r.key, r.value, r.time)).collect();
        assert_eq!(taken, [(b"a".to_vec(), None, None), (b"b".to_vec(), Some(b"1".to_vec()), Some(7))]);
        assert_eq!((reducer.is_full(), reducer.look(2000)), (false, (false, None)));
    }
}
