//! A bounded cache in front of any [`Lookup`]: Flink's `lookup.cache` = PARTIAL.
//!
//! Entries are keys with all their rows, or with none (`cache-missing-key`). An entry goes when it is older than `expire-after-write`, was
//! not asked for during `expire-after-access`, or is the one not asked for the longest when there are more than `max-rows` keys (Flink's
//! option counts keys too). Ages are counted in the caller's time, so a repeated run asks the same questions.
//!
//! The rows of all entries lie in a few record batches ("pages"), one per question that was asked; when more than half of their rows belong
//! to nobody any more, what lives is copied into one new page. So a hit costs a hash look-up and no copy of its own: the answer is gathered
//! from the pages in one go.

use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types as at;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use arrow_select::interleave::interleave;
use arrow_select::take::take_record_batch;
use hashbrown::HashTable;
use wiesel_core::lookup::{Lookup, LookupFactory, LookupRows};
use wiesel_core::options::Options;
use wiesel_core::{Error, Result};
use xxhash_rust::xxh3::xxh3_64;

/// Keys of a cache whose options bound it by time alone.
const KEYS_MAX: usize = 1_000_000;

/// Pages with fewer rows are not worth tidying up.
const DEAD_ROWS_ALLOWED: usize = 4096;

/// No slot.
const NONE: u32 = u32::MAX;

/// The cache's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LookupCacheOptions {
    keys_max: usize,
    expire_after_write_ms: Option<i64>,
    expire_after_access_ms: Option<i64>,
    caches_missing_keys: bool,
}

impl LookupCacheOptions {
    /// Reads `lookup.cache`, `lookup.partial-cache.*` and their older forms; `None`: no cache.
    pub(crate) fn read(options: &mut Options<'_>) -> Result<Option<Self>> {
        let cache = options.one_of("lookup.cache", &["NONE", "PARTIAL", "FULL"])?;
        let max_rows = count(options, "lookup.partial-cache.max-rows")?;
        let expire_after_write_ms = milliseconds(options, "lookup.partial-cache.expire-after-write")?;
        let expire_after_access_ms = milliseconds(options, "lookup.partial-cache.expire-after-access")?;
        let caches_missing_keys = options.boolean("lookup.partial-cache.cache-missing-key", true)?;
        let old_max_rows = count(options, "lookup.cache.max-rows")?;
        let old_ttl_ms = milliseconds(options, "lookup.cache.ttl")?;
        let old_missing = options.boolean("lookup.cache.caching-missing-key", true)?;
        if cache == Some("FULL") {
            return Err(options.unsupported("lookup.cache", "use PARTIAL, which keeps the keys that were asked for"));
        }
        if cache == Some("PARTIAL") {
            if max_rows.is_none() && expire_after_write_ms.is_none() && expire_after_access_ms.is_none() {
                return Err(Error::config("option 'lookup.cache' = 'PARTIAL' needs a bound")
                    .hint("set 'lookup.partial-cache.max-rows' or 'lookup.partial-cache.expire-after-write'"));
            }
            return Ok(Some(LookupCacheOptions {
                keys_max: max_rows.unwrap_or(KEYS_MAX),
                expire_after_write_ms,
                expire_after_access_ms,
                caches_missing_keys,
            }));
        }
        match (old_max_rows, old_ttl_ms) {
            (None, None) => Ok(None),
            (Some(keys_max), Some(ttl)) => Ok(Some(LookupCacheOptions {
                keys_max,
                expire_after_write_ms: Some(ttl),
                expire_after_access_ms: None,
                caches_missing_keys: old_missing,
            })
            .filter(|o| o.keys_max > 0 && ttl > 0)),
            _ => Err(Error::config(
                "options 'lookup.cache.max-rows' and 'lookup.cache.ttl' go together, one of them is missing",
            )),
        }
    }
}

fn count(options: &mut Options<'_>, key: &str) -> Result<Option<usize>> {
    let Some(number) = options.integer(key)? else { return Ok(None) };
    usize::try_from(number).map(Some).map_err(|_| options.invalid(key, &number.to_string(), "a number of rows"))
}

fn milliseconds(options: &mut Options<'_>, key: &str) -> Result<Option<i64>> {
    Ok(options.duration(key)?.map(|d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
}

/// Puts a cache in front of every lookup that `inner` opens.
pub(crate) struct CachedLookupFactory<F> {
    pub(crate) inner: F,
    pub(crate) options: LookupCacheOptions,
}

impl<F: LookupFactory> LookupFactory for CachedLookupFactory<F> {
    fn open(&self) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(CachedLookup::new(self.inner.open()?, self.options)))
    }
}

/// A lookup that remembers.
pub(crate) struct CachedLookup {
    inner: Box<dyn Lookup>,
    cache: Cache,
    /// The keys of one question: their bytes one behind the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl CachedLookup {
    pub(crate) fn new(inner: Box<dyn Lookup>, options: LookupCacheOptions) -> Self {
        CachedLookup { inner, cache: Cache::new(options), bytes: Vec::new(), ends: Vec::new() }
    }

    fn encode(&mut self, keys: &RecordBatch) -> Result<()> {
        self.bytes.clear();
        self.ends.clear();
        for row in 0..keys.num_rows() {
            for column in keys.columns() {
                append_key(column, row, &mut self.bytes)?;
            }
            self.ends.push(self.bytes.len());
        }
        Ok(())
    }

    fn key(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).and_then(|n| self.ends.get(n)).copied().unwrap_or(0);
        let end = self.ends.get(number).copied().unwrap_or(start);
        self.bytes.get(start..end).unwrap_or_default()
    }
}

impl Lookup for CachedLookup {
    fn lookup(&mut self, keys: &RecordBatch, now_ms: i64) -> Result<LookupRows> {
        self.encode(keys)?;
        let mut found: Vec<Option<Entry>> = Vec::with_capacity(keys.num_rows());
        let mut missed: Vec<u32> = Vec::new();
        for number in 0..keys.num_rows() {
            let start = number.checked_sub(1).and_then(|n| self.ends.get(n)).copied().unwrap_or(0);
            let key = self.bytes.get(start..self.ends[number]).unwrap_or_default();
            let entry = self.cache.get(key, now_ms);
            if entry.is_none() {
                missed.push(u32::try_from(number).map_err(|_| Error::internal("a step of 2^32 keys"))?);
            }
            found.push(entry);
        }
        let fresh = if missed.is_empty() {
            None
        } else {
            let asked = if missed.len() == keys.num_rows() {
                keys.clone()
            } else {
                take_record_batch(keys, &UInt32Array::from(missed.clone()))?
            };
            Some(self.inner.lookup(&asked, now_ms)?)
        };
        let answer = self.cache.answer(&found, &missed, fresh.as_ref())?;
        if let Some(fresh) = fresh {
            let mut row = 0;
            let page = self.cache.add_page(fresh.rows);
            for (asked, number) in missed.iter().enumerate() {
                let first = row;
                while fresh.key_index.get(row).is_some_and(|k| *k as usize == asked) {
                    row += 1;
                }
                let entry = Entry { page, start: first, count: row - first };
                let key = self.key(*number as usize).to_vec();
                self.cache.put(key, entry, now_ms);
            }
            self.cache.tidy()?;
        }
        Ok(answer)
    }
}

/// Where the rows of a key lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    page: usize,
    start: usize,
    count: usize,
}

struct Slot {
    key: Vec<u8>,
    entry: Entry,
    written_ms: i64,
    used_ms: i64,
    /// Neighbours in the order of use.
    newer: u32,
    older: u32,
}

struct Cache {
    options: LookupCacheOptions,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    newest: u32,
    oldest: u32,
    pages: Vec<RecordBatch>,
    page_rows: usize,
    live_rows: usize,
}

impl Cache {
    fn new(options: LookupCacheOptions) -> Self {
        Cache {
            options,
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            newest: NONE,
            oldest: NONE,
            pages: Vec::new(),
            page_rows: 0,
            live_rows: 0,
        }
    }

    /// The entry of a key that has not expired; counts as use.
    fn get(&mut self, key: &[u8], now_ms: i64) -> Option<Entry> {
        let slots = &self.slots;
        let index = *self.by_key.find(xxh3_64(key), |i| slots[*i as usize].key == key)?;
        let slot = &mut self.slots[index as usize];
        let is_over = |since: i64, limit: Option<i64>| limit.is_some_and(|ms| now_ms.saturating_sub(since) >= ms);
        let is_expired = is_over(slot.written_ms, self.options.expire_after_write_ms)
            || is_over(slot.used_ms, self.options.expire_after_access_ms);
        if is_expired {
            self.remove(index);
            return None;
        }
        slot.used_ms = now_ms;
        let entry = slot.entry;
        self.unlink(index);
        self.link_newest(index);
        Some(entry)
    }

    /// Remembers a key that is not there.
    fn put(&mut self, key: Vec<u8>, entry: Entry, now_ms: i64) {
        if self.options.keys_max == 0 || (entry.count == 0 && !self.options.caches_missing_keys) {
            return;
        }
        while self.by_key.len() >= self.options.keys_max && self.oldest != NONE {
            self.remove(self.oldest);
        }
        let hash = xxh3_64(&key);
        self.live_rows += entry.count;
        let slot = Slot { key, entry, written_ms: now_ms, used_ms: now_ms, newer: NONE, older: NONE };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
            }
        };
        let slots = &self.slots;
        self.by_key.insert_unique(hash, index, |i| xxh3_64(&slots[*i as usize].key));
        self.link_newest(index);
    }

    fn remove(&mut self, index: u32) {
        self.unlink(index);
        let slot = &mut self.slots[index as usize];
        let key = std::mem::take(&mut slot.key);
        self.live_rows -= slot.entry.count;
        if let Ok(found) = self.by_key.find_entry(xxh3_64(&key), |i| *i == index) {
            found.remove();
        }
        self.free.push(index);
    }

    fn unlink(&mut self, index: u32) {
        let Slot { newer, older, .. } = self.slots[index as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
    }

    fn link_newest(&mut self, index: u32) {
        let older = self.newest;
        let slot = &mut self.slots[index as usize];
        slot.newer = NONE;
        slot.older = older;
        match older {
            NONE => self.oldest = index,
            older => self.slots[older as usize].newer = index,
        }
        self.newest = index;
    }

    fn add_page(&mut self, rows: RecordBatch) -> usize {
        self.page_rows += rows.num_rows();
        self.pages.push(rows);
        self.pages.len() - 1
    }

    /// The rows of all keys: those found in the pages, and those of the fresh answer to the missed ones.
    fn answer(&self, found: &[Option<Entry>], missed: &[u32], fresh: Option<&LookupRows>) -> Result<LookupRows> {
        if let Some(fresh) = fresh.filter(|_| missed.len() == found.len()) {
            return Ok(fresh.clone());
        }
        let mut sources: Vec<&RecordBatch> = self.pages.iter().collect();
        sources.extend(fresh.map(|f| &f.rows));
        let (mut places, mut key_index) = (Vec::new(), Vec::new());
        let (mut asked, mut row) = (0, 0);
        for (number, entry) in found.iter().enumerate() {
            let number = u32::try_from(number).map_err(|_| Error::internal("a step of 2^32 keys"))?;
            match (entry, fresh) {
                (Some(entry), _) => {
                    for offset in 0..entry.count {
                        places.push((entry.page, entry.start + offset));
                        key_index.push(number);
                    }
                }
                (None, Some(fresh)) => {
                    while fresh.key_index.get(row).is_some_and(|k| *k as usize == asked) {
                        places.push((self.pages.len(), row));
                        key_index.push(number);
                        row += 1;
                    }
                    asked += 1;
                }
                (None, None) => return Err(Error::internal("a missed key was not asked for")),
            }
        }
        Ok(LookupRows { rows: gather(&sources, &places)?, key_index })
    }

    /// Copies what lives into one page when most of the rows belong to nobody.
    fn tidy(&mut self) -> Result<()> {
        if self.page_rows <= self.live_rows * 2 + DEAD_ROWS_ALLOWED {
            return Ok(());
        }
        let mut places = Vec::with_capacity(self.live_rows);
        let mut index = self.oldest;
        while index != NONE {
            let slot = &mut self.slots[index as usize];
            let old = slot.entry;
            slot.entry = Entry { page: 0, start: places.len(), count: old.count };
            places.extend((0..old.count).map(|offset| (old.page, old.start + offset)));
            index = slot.newer;
        }
        let sources: Vec<&RecordBatch> = self.pages.iter().collect();
        let page = gather(&sources, &places)?;
        self.page_rows = page.num_rows();
        self.pages = vec![page];
        Ok(())
    }
}

/// Rows of several batches as one.
fn gather(sources: &[&RecordBatch], places: &[(usize, usize)]) -> Result<RecordBatch> {
    let Some(first) = sources.first() else { return Err(Error::internal("an answer without rows to take it from")) };
    let column = |index: usize| -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = sources.iter().map(|s| s.column(index).as_ref()).collect();
        Ok(interleave(&arrays, places)?)
    };
    let columns = (0..first.num_columns()).map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(RecordBatch::try_new_with_options(first.schema(), columns, &options)?)
}

/// Appends the bytes of a key's value; keys have one type per column, so only texts need their length.
fn append_key(array: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<()> {
    macro_rules! number {
        ($type:ty) => {
            out.extend_from_slice(&array.as_primitive::<$type>().value(row).to_le_bytes())
        };
    }
    let mut text = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    match array.data_type() {
        ArrowType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        ArrowType::Int8 => number!(at::Int8Type),
        ArrowType::Int16 => number!(at::Int16Type),
        ArrowType::Int32 => number!(at::Int32Type),
        ArrowType::Int64 => number!(at::Int64Type),
        ArrowType::Float32 => number!(at::Float32Type),
        ArrowType::Float64 => number!(at::Float64Type),
        ArrowType::Decimal128(..) => number!(at::Decimal128Type),
        ArrowType::Date32 => number!(at::Date32Type),
        ArrowType::Time32(TimeUnit::Millisecond) => number!(at::Time32MillisecondType),
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => number!(at::TimestampMillisecondType),
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => number!(at::TimestampMicrosecondType),
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => number!(at::TimestampNanosecondType),
        ArrowType::Utf8 => text(array.as_string::<i32>().value(row).as_bytes()),
        ArrowType::Binary => text(array.as_binary::<i32>().value(row)),
        other => return Err(Error::config(format!("a lookup by a key of type {other} is not supported"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use arrow_array::types::Int64Type;
    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{Field, Schema};

    use super::*;

    /// A table in which key `k` has `k % 3` rows `k.0`, `k.1`; remembers what it was asked.
    struct Thirds(Arc<Mutex<Vec<i64>>>);

    impl Lookup for Thirds {
        fn lookup(&mut self, keys: &RecordBatch, _now_ms: i64) -> Result<LookupRows> {
            let (mut texts, mut key_index) = (Vec::new(), Vec::new());
            for (number, key) in keys.column(0).as_primitive::<Int64Type>().values().iter().enumerate() {
                self.0.lock().unwrap().push(*key);
                for row in 0..key % 3 {
                    texts.push(format!("{key}.{row}"));
                    key_index.push(u32::try_from(number).unwrap());
                }
            }
            let schema = Arc::new(Schema::new(vec![Field::new("t", ArrowType::Utf8, true)]));
            let rows = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(texts))]).unwrap();
            Ok(LookupRows { rows, key_index })
        }
    }

    struct Asked {
        lookup: CachedLookup,
        asked: Arc<Mutex<Vec<i64>>>,
    }

    impl Asked {
        fn new(options: LookupCacheOptions) -> Self {
            let asked = Arc::new(Mutex::new(Vec::new()));
            let lookup = CachedLookup::new(Box::new(Thirds(Arc::clone(&asked))), options);
            Asked { lookup, asked }
        }

        /// The keys that went through to the table.
        fn ask(&mut self, keys: &[i64], now_ms: i64) -> Vec<i64> {
            let schema = Arc::new(Schema::new(vec![Field::new("k", ArrowType::Int64, true)]));
            let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(keys.to_vec()))]).unwrap();
            let found = self.lookup.lookup(&batch, now_ms).unwrap();
            let texts: Vec<&str> = found.rows.column(0).as_string::<i32>().iter().flatten().collect();
            let expected: Vec<(u32, String)> = keys
                .iter()
                .enumerate()
                .flat_map(|(i, k)| (0..k % 3).map(move |r| (u32::try_from(i).unwrap(), format!("{k}.{r}"))))
                .collect();
            let found: Vec<(u32, String)> =
                found.key_index.iter().copied().zip(texts.into_iter().map(str::to_owned)).collect();
            assert_eq!(found, expected);
            std::mem::take(&mut *self.asked.lock().unwrap())
        }
    }

    fn options(keys_max: usize) -> LookupCacheOptions {
        LookupCacheOptions {
            keys_max,
            expire_after_write_ms: None,
            expire_after_access_ms: None,
            caches_missing_keys: true,
        }
    }

    #[test]
    fn only_keys_that_are_not_remembered_are_asked() {
        let mut cache = Asked::new(options(100));
        assert_eq!(cache.ask(&[1, 2, 3], 0), [1, 2, 3]);
        assert_eq!(cache.ask(&[4, 2, 5, 3, 1], 0), [4, 5]);
        assert!(cache.ask(&[1, 2, 3, 4, 5], 0).is_empty());
        assert!(cache.ask(&[], 0).is_empty());
        let mut forgetful = Asked::new(LookupCacheOptions { caches_missing_keys: false, ..options(100) });
        assert_eq!(forgetful.ask(&[1, 3], 0), [1, 3]);
        assert_eq!(forgetful.ask(&[1, 3], 0), [3]);
    }

    #[test]
    fn the_key_not_asked_for_the_longest_goes_first() {
        let mut cache = Asked::new(options(3));
        cache.ask(&[1, 2, 4], 0);
        assert_eq!(cache.ask(&[1], 0), [] as [i64; 0]);
        assert_eq!(cache.ask(&[5], 0), [5]);
        assert_eq!(cache.ask(&[1, 4, 5], 0), [] as [i64; 0]);
        assert_eq!(cache.ask(&[2], 0), [2]);
        let mut tiny = Asked::new(options(1));
        assert_eq!(tiny.ask(&[1, 2, 4], 0), [1, 2, 4]);
        assert_eq!(tiny.ask(&[1, 2, 4], 0), [1, 2]);
    }

    #[test]
    fn entries_age_by_the_callers_clock() {
        let mut written = Asked::new(LookupCacheOptions { expire_after_write_ms: Some(10), ..options(9) });
        assert_eq!(written.ask(&[1], 0), [1]);
        assert!(written.ask(&[1], 9).is_empty());
        assert_eq!(written.ask(&[1], 10), [1]);
        let mut used = Asked::new(LookupCacheOptions { expire_after_access_ms: Some(10), ..options(9) });
        assert_eq!(used.ask(&[1], 0), [1]);
        assert!(used.ask(&[1], 9).is_empty());
        assert!(used.ask(&[1], 18).is_empty());
        assert_eq!(used.ask(&[1], 28), [1]);
    }

    #[test]
    fn pages_are_tidied_up() {
        let mut cache = Asked::new(options(50));
        for round in 0..400 {
            let keys: Vec<i64> = (0..100).map(|k| k + round * 37).collect();
            cache.ask(&keys, 0);
            assert!(cache.lookup.cache.page_rows <= 2 * 100 + 2 * DEAD_ROWS_ALLOWED);
            assert!(cache.lookup.cache.by_key.len() <= 50);
        }
        assert!(cache.lookup.cache.pages.len() < 400);
    }

    #[test]
    fn options_are_read_in_both_forms() {
        let read = |options: &[(&str, &str)]| {
            let values: BTreeMap<String, String> =
                options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            LookupCacheOptions::read(&mut Options::new("t", &values))
        };
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("lookup.cache", "none"), ("lookup.partial-cache.max-rows", "3")]).unwrap(), None);
        let partial = read(&[("lookup.cache", "PARTIAL"), ("lookup.partial-cache.max-rows", "3")]).unwrap();
        assert_eq!(partial, Some(options(3)));
        let old = read(&[("lookup.cache.max-rows", "3"), ("lookup.cache.ttl", "5 s")]).unwrap();
        assert_eq!(old, Some(LookupCacheOptions { expire_after_write_ms: Some(5000), ..options(3) }));
        assert!(read(&[("lookup.cache", "PARTIAL")]).is_err());
        assert!(read(&[("lookup.cache.ttl", "5 s")]).is_err());
        assert_eq!(read(&[("lookup.cache", "FULL")]).unwrap_err().code(), "W0503");
    }
}
