//! Where state lies that memory has no room for: sorted runs in RocksDB, one database per job, scratch.
//!
//! ```text
//! tables over the budget -> snapshot of what changed -> run file (the checkpoint's)        both from the same entries
//!                                                    -> sorted run, ingested (the store's)
//!                        -> the tables are emptied
//! rows of a step -> keys that the tables do not hold -> those that the filter does not rule out -> one batched read per table and step
//!                -> entries, as a restore gives them
//!
//! key in the store = operator:u16 table:u8 vnode:u8 key, big-endian
//! ```
//! An operator's entries are the same bytes in the store, in a run file and in a snapshot, so the store asks nothing of an operator that
//! a checkpoint does not ask already: `snapshot` writes, `restore` takes back. The store is opened when the budget is reached for the
//! first time; until then it costs nothing. What it holds is always what the run files written so far hold, so it never needs to be
//! durable: it is deleted when the job ends, and made anew from the run files when a restart finds more state than memory.

#[cfg(not(feature = "rocksdb"))]
mod absent;
mod filter;
mod load;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wiesel_core::{Error, Result};
#[cfg(feature = "rocksdb")]
use wiesel_ffi::rocksdb as runs;

#[cfg(not(feature = "rocksdb"))]
use absent as runs;

pub use load::{Loaded, StateStore};

use xxhash_rust::xxh3::xxh3_64;

use self::filter::Filter;
use super::ordered_table::above;
use crate::checkpoint::run::{EntryKind, RunBuffer, RunEntryRef};

/// The share of the memory budget that the store's cache takes, its index and filters included.
const CACHE_SHARE: u64 = 6;
const CACHE_BYTES_MIN: u64 = 1 << 20;
/// More files than this at the level that runs arrive on make every read slow: the writers wait for the compaction.
const ARRIVED_RUNS_MAX: u64 = 32;
const COMPACTION_WAIT: std::time::Duration = std::time::Duration::from_millis(10);
const ARRIVED_RUNS: &std::ffi::CStr = c"rocksdb.num-files-at-level0";

/// Bytes in front of a key: operator, table, vnode.
const HEAD_BYTES: usize = 4;

fn head(operator: u16, table: u8, vnode: u8) -> [u8; HEAD_BYTES] {
    let [high, low] = operator.to_be_bytes();
    [high, low, table, vnode]
}

/// Operator, table, vnode and key of a key in the store.
fn split_head(key: &[u8]) -> Result<(u16, u8, u8, &[u8])> {
    match key.split_first_chunk::<HEAD_BYTES>() {
        Some(([high, low, table, vnode], key)) => Ok((u16::from_be_bytes([*high, *low]), *table, *vnode, key)),
        None => Err(Error::internal("a key of the state store is too short")),
    }
}

fn failed(error: runs::StoreError) -> Error {
    Error::unavailable(format!("the state store failed: {}", error.0))
}

/// A job's store.
#[derive(Debug)]
pub(crate) struct Store {
    /// `None` only while it is dropped.
    runs: Option<Arc<runs::Store>>,
    filter: Filter,
    folder: PathBuf,
    files: AtomicU64,
}

/// What the store held at one moment, of the operators that may keep state there.
#[derive(Debug)]
pub(crate) struct Frozen {
    frozen: runs::Frozen,
    operators: Vec<u16>,
}

impl Store {
    /// Makes an empty store in a folder, whatever was there before.
    pub(crate) fn create(folder: &Path, memory_bytes: u64) -> Result<Arc<Store>> {
        let cannot = |e: std::io::Error| {
            Error::unavailable(format!("the folder of the state store could not be made: `{}`: {e}", folder.display()))
        };
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(cannot(e)),
            _ => {}
        }
        fs::create_dir_all(folder).map_err(cannot)?;
        let cache_bytes = usize::try_from((memory_bytes / CACHE_SHARE).max(CACHE_BYTES_MIN)).unwrap_or(usize::MAX);
        let runs = runs::Store::create(&folder.join("db"), cache_bytes).map_err(|error| {
            drop(fs::remove_dir_all(folder));
            Error::unavailable(format!("the job's state needs more than its memory budget, and: {}", error.0))
                .hint("give the job more memory: --memory")
        })?;
        Ok(Arc::new(Store {
            runs: Some(Arc::new(runs)),
            filter: Filter::new(memory_bytes),
            folder: folder.to_owned(),
            files: AtomicU64::new(0),
        }))
    }

    fn runs(&self) -> &Arc<runs::Store> {
        self.runs.as_ref().expect("it is taken by Drop alone")
    }

    /// Whether there may be an entry of this key of the store.
    fn may_hold(&self, key: &[u8]) -> bool {
        self.filter.may_hold(xxh3_64(key))
    }

    /// Takes in the entries of some operators. A prefix that is deleted hides what was taken in before, not what comes with it.
    pub(crate) fn ingest(&self, buffers: &[RunBuffer], takes: impl Fn(u16) -> bool) -> Result<()> {
        // By operator, table and vnode, so that what is sorted at a time is small.
        let mut shelves: BTreeMap<[u8; HEAD_BYTES], Vec<Place>> = BTreeMap::new();
        let mut ranges = Vec::new();
        for (number, entry) in (0..).zip(buffers).flat_map(|(n, buffer)| buffer.entries().map(move |e| (n, e))) {
            let entry = entry?;
            if !takes(entry.operator) {
                continue;
            }
            if entry.kind == EntryKind::DeletePrefix {
                ranges.push((entry.operator, entry.table, entry.key));
                continue;
            }
            let shelf = head(entry.operator, entry.table, entry.vnode);
            shelves.entry(shelf).or_default().push(Place::new(number, entry.place));
        }
        if shelves.is_empty() && ranges.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(format!("{}.sst", self.files.fetch_add(1, Relaxed)));
        let mut run = self.runs().run(&path).map_err(failed)?;
        let (mut order, mut key) = (Vec::new(), Vec::new());
        // They hide what earlier runs hold, and nothing of this one.
        for (operator, table, prefix) in ranges {
            for vnode in 0..=u8::MAX {
                key.clear();
                key.extend(head(operator, table, vnode));
                key.extend_from_slice(prefix);
                let Some(end) = above(&key) else { continue };
                run.delete_range(&key, &end).map_err(failed)?;
            }
        }
        for (shelf, places) in shelves {
            order.clear();
            order.extend(places.into_iter().map(|place| (beginning(place.entry(buffers).key), place)));
            order.sort_unstable_by(|(a, left), (b, right)| {
                a.cmp(b).then_with(|| (left.entry(buffers).key, left).cmp(&(right.entry(buffers).key, right)))
            });
            for (index, (begin, place)) in order.iter().enumerate() {
                let entry = place.entry(buffers);
                // Of several entries of a key the last one counts.
                let next = order.get(index + 1).filter(|(next, _)| next == begin);
                if next.is_some_and(|(_, next)| next.entry(buffers).key == entry.key) {
                    continue;
                }
                key.clear();
                key.extend(shelf);
                key.extend_from_slice(entry.key);
                match entry.kind {
                    EntryKind::Put => {
                        self.filter.insert(xxh3_64(&key));
                        run.put(&key, entry.value)
                    }
                    _ => run.delete(&key),
                }
                .map_err(failed)?;
            }
        }
        run.finish().map_err(failed)?;
        while self.runs().property(ARRIVED_RUNS).is_some_and(|count| count > ARRIVED_RUNS_MAX) {
            std::thread::park_timeout(COMPACTION_WAIT);
        }
        self.runs().ingest(&path).map_err(failed)
    }

    /// The store as it stands, for a reader on another thread.
    pub(crate) fn freeze(&self, operators: Vec<u16>) -> Frozen {
        Frozen { frozen: self.runs().freeze(), operators }
    }

    /// Every entry, in order of operator, table, vnode and key.
    pub(crate) fn for_each(&self, mut each: impl FnMut(RunEntryRef<'_>) -> Result<()>) -> Result<()> {
        let frozen = self.runs().freeze();
        let mut cursor = frozen.cursor();
        cursor.seek(&[]);
        while let Some((key, value)) = cursor.entry().map_err(failed)? {
            let (operator, table, vnode, key) = split_head(key)?;
            each(RunEntryRef { kind: EntryKind::Put, operator, table, vnode, key, value, place: 0 })?;
            cursor.next();
        }
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The database first, if no frozen view holds it still; what cannot be removed now is removed by the next start.
        self.runs = None;
        drop(fs::remove_dir_all(&self.folder));
    }
}

impl Frozen {
    /// Every entry of the operators that may keep state in the store.
    pub(crate) fn for_each<E: From<Error>>(
        &self,
        mut each: impl FnMut(RunEntryRef<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = self.frozen.cursor();
        for &wanted in &self.operators {
            cursor.seek(&wanted.to_be_bytes());
            while let Some((key, value)) = cursor.entry().map_err(failed)? {
                let (operator, table, vnode, key) = split_head(key)?;
                if operator != wanted {
                    break;
                }
                each(RunEntryRef { kind: EntryKind::Put, operator, table, vnode, key, value, place: 0 })?;
                cursor.next();
            }
        }
        Ok(())
    }
}

/// Where an entry stands: the number of its buffer, and the place in it. Later entries stand higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64);

impl Place {
    /// Bits of the place in a buffer; a checkpoint has far fewer than 2^24 buffers.
    const BITS: u32 = 40;

    fn new(buffer: u64, place: u64) -> Place {
        Place(buffer << Self::BITS | place)
    }

    fn entry(self, buffers: &[RunBuffer]) -> RunEntryRef<'_> {
        let buffer = usize::try_from(self.0 >> Self::BITS).expect("it is below the number of buffers");
        buffers[buffer].entry_at(self.0 & ((1 << Self::BITS) - 1))
    }
}

/// The first eight bytes of a key as a number that sorts as they do; a shorter key is filled up with zeros.
fn beginning(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(bytes.len());
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}
