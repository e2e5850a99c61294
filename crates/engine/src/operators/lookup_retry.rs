//! Asks again for keys that found nothing: the retry of a LOOKUP hint (`'retry-predicate' = 'lookup_miss'`).
//!
//! A row of a stream may be there before its partner is in the table. Keys without an answer are asked again, alone, after a pause, as often
//! as the hint says; then they have none. The step waits meanwhile, as a task of Flink does with a synchronous lookup, and its time stands
//! still: what a cache may answer is decided by the time at which the step began.

use std::time::Duration;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::{take, take_record_batch};
use wiesel_core::Result;
use wiesel_core::env::Waker;
use wiesel_core::lookup::{Lookup, LookupRows};
use wiesel_plan::join::LookupRetry;

/// See the module's head.
pub(super) struct RetryingLookup {
    inner: Box<dyn Lookup>,
    retry: LookupRetry,
}

impl RetryingLookup {
    pub(super) fn new(inner: Box<dyn Lookup>, retry: LookupRetry) -> Self {
        RetryingLookup { inner, retry }
    }
}

impl Lookup for RetryingLookup {
    fn lookup(&mut self, keys: &RecordBatch, now_ms: i64) -> Result<LookupRows> {
        let mut answers = self.inner.lookup(keys, now_ms)?;
        for _ in 0..self.retry.attempts {
            let missing: Vec<u32> = missing(keys.num_rows(), &answers.key_index);
            if missing.is_empty() {
                break;
            }
            // Nobody wakes it: a pause that the hint asks for, bounded when the hint was read.
            Waker::default().wait(Duration::from_millis(self.retry.delay_ms));
            let asked = take_record_batch(keys, &UInt32Array::from(missing.clone()))?;
            let more = self.inner.lookup(&asked, now_ms)?;
            if !more.key_index.is_empty() {
                answers = merged(answers, more, &missing)?;
            }
        }
        Ok(answers)
    }
}

/// The keys that no row belongs to.
fn missing(keys: usize, key_index: &[u32]) -> Vec<u32> {
    let mut found = vec![false; keys];
    for key in key_index {
        if let Some(found) = found.get_mut(*key as usize) {
            *found = true;
        }
    }
    (0..).zip(&found).filter(|(_, found)| !**found).map(|(key, _)| key).collect()
}

/// Both answers, by key; `asked` are the numbers of the keys that the second ones belong to.
fn merged(first: LookupRows, second: LookupRows, asked: &[u32]) -> Result<LookupRows> {
    let rows = concat_batches(&first.rows.schema(), [&first.rows, &second.rows])?;
    let more = second.key_index.iter().map(|key| asked.get(*key as usize).copied().unwrap_or(u32::MAX));
    let keys: Vec<u32> = first.key_index.iter().copied().chain(more).collect();
    let mut order: Vec<u32> = (0..).take(keys.len()).collect();
    // Stable: the rows of one key keep their order.
    order.sort_by_key(|row| keys[*row as usize]);
    let picks = UInt32Array::from(order);
    let columns = rows.columns().iter().map(|column| take(column, &picks, None)).collect::<Result<Vec<_>, _>>()?;
    let key_index = picks.values().iter().map(|row| keys[*row as usize]).collect();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(picks.len()));
    Ok(LookupRows { rows: RecordBatch::try_new_with_options(rows.schema(), columns, &options)?, key_index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::schema;
    use arrow_array::Int64Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use std::sync::{Arc, Mutex};
    use wiesel_core::TypeKind;

    /// Finds a key from its n-th question on, and notes what it was asked.
    struct Late {
        from: fn(i64) -> usize,
        asked: Arc<Mutex<Vec<Vec<i64>>>>,
    }

    impl Lookup for Late {
        fn lookup(&mut self, keys: &RecordBatch, _: i64) -> Result<LookupRows> {
            let keys = keys.column(0).as_primitive::<Int64Type>().values().to_vec();
            let mut asked = self.asked.lock().unwrap();
            asked.push(keys.clone());
            let found = (0..).zip(&keys).filter(|(_, key)| (self.from)(**key) <= asked.len());
            let (key_index, values): (Vec<u32>, Vec<i64>) = found.map(|(at, key)| (at, *key)).unzip();
            let column = Arc::new(Int64Array::from(values));
            let rows = RecordBatch::try_new(schema(&[TypeKind::BigInt]).arrow().clone(), vec![column]).unwrap();
            Ok(LookupRows { rows, key_index })
        }
    }

    #[test]
    fn keys_that_found_nothing_are_asked_again_as_often_as_the_hint_says() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        // Key 1 is there at once, 2 with the second question, 3 with the third, 9 never.
        let from = |key: i64| if key == 9 { usize::MAX } else { usize::try_from(key).unwrap() };
        let inner = Late { from, asked: Arc::clone(&asked) };
        let mut lookup = RetryingLookup::new(Box::new(inner), LookupRetry { delay_ms: 0, attempts: 3 });
        let keys = Arc::new(Int64Array::from(vec![3, 1, 9, 2]));
        let keys = RecordBatch::try_new(schema(&[TypeKind::BigInt]).arrow().clone(), vec![keys]).unwrap();
        let answers = lookup.lookup(&keys, 0).unwrap();
        assert_eq!(answers.key_index, [0, 1, 3]);
        assert_eq!(answers.rows.column(0).as_primitive::<Int64Type>().values(), &[3, 1, 2]);
        assert_eq!(*asked.lock().unwrap(), [vec![3, 1, 9, 2], vec![3, 9, 2], vec![3, 9], vec![9]]);
    }
}
