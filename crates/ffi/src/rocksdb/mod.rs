//! RocksDB as a place for sorted runs, wrapped so that safe code cannot misuse it.
//!
//! ```text
//! Run        a sorted file of puts and tombstones, written in bulk and ingested: a later run hides an earlier one, key by key
//! Store      point reads in batches, scans in order, frozen views
//! ```
//! There are no single writes and so no memtable and no log: what a program killed in the middle leaves behind is garbage, and whoever
//! uses the store begins with an empty folder. One cache holds data, index and filter blocks alike; index and filters are cut into
//! partitions, so that a large file does not want all of them at once.

#[cfg(feature = "rocksdb-static")]
mod archives;
mod sys;

use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;

const BLOCK_BYTES: usize = 16 << 10;
const METADATA_BLOCK_BYTES: u64 = 4 << 10;
const FORMAT_VERSION: i32 = 5;
const FILTER_BITS_PER_KEY: f64 = 10.0;
/// Nothing is written through the memtable; RocksDB wants one all the same.
const WRITE_BUFFER_BYTES: usize = 64 << 10;
/// Set aside for the list of files at a time; the default of 4 MiB is much for a small store.
const MANIFEST_BYTES_AHEAD: usize = 64 << 10;
const FILE_BYTES: u64 = 32 << 20;
const FIRST_LEVEL_BYTES: u64 = 256 << 20;
const OPEN_FILES_MAX: i32 = 256;
const BACKGROUND_JOBS: i32 = 2;
const SCAN_READAHEAD_BYTES: usize = 256 << 10;
/// Keys of one batched read: the blocks of all its values stay pinned until they are handed out.
const BATCH_KEYS: usize = 1024;

/// What RocksDB says went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// A call's place for an error text, which the library allocates.
struct Outcome(*mut c_char);

impl Outcome {
    fn new() -> Self {
        Outcome(ptr::null_mut())
    }

    fn place(&mut self) -> *mut *mut c_char {
        &raw mut self.0
    }

    fn check(self) -> Result<(), StoreError> {
        if self.0.is_null() {
            return Ok(());
        }
        // SAFETY: a text that the library allocated for this call, ended by a zero, and freed here once.
        let text = unsafe {
            let text = CStr::from_ptr(self.0).to_string_lossy().into_owned();
            sys::rocksdb_free(self.0.cast());
            text
        };
        Err(StoreError(text))
    }
}

fn c_path(path: &Path) -> Result<CString, StoreError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| StoreError(format!("a zero byte in `{}`", path.display())))
}

/// The options of the database and of the files written for it.
struct Options {
    options: NonNull<sys::Options>,
    cache: NonNull<sys::Cache>,
}

impl Options {
    fn new(cache_bytes: usize) -> Options {
        // SAFETY: plain constructors and setters on objects made here. The table factory copies the table options and shares the cache
        // and the filter policy, which it owns from then on; the cache's own handle is freed by our Drop, the library counts references.
        unsafe {
            let cache = NonNull::new(sys::rocksdb_cache_create_lru(cache_bytes)).expect("C++ new never returns null");
            let options = NonNull::new(sys::rocksdb_options_create()).expect("C++ new never returns null");
            let table = sys::rocksdb_block_based_options_create();
            sys::rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
            sys::rocksdb_block_based_options_set_metadata_block_size(table, METADATA_BLOCK_BYTES);
            sys::rocksdb_block_based_options_set_format_version(table, FORMAT_VERSION);
            let filter = sys::rocksdb_filterpolicy_create_bloom_full(FILTER_BITS_PER_KEY);
            sys::rocksdb_block_based_options_set_filter_policy(table, filter);
            sys::rocksdb_block_based_options_set_index_type(table, sys::TWO_LEVEL_INDEX);
            sys::rocksdb_block_based_options_set_partition_filters(table, 1);
            sys::rocksdb_block_based_options_set_block_cache(table, cache.as_ptr());
            sys::rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
            sys::rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
            let o = options.as_ptr();
            sys::rocksdb_options_set_block_based_table_factory(o, table);
            sys::rocksdb_block_based_options_destroy(table);
            sys::rocksdb_options_set_create_if_missing(o, 1);
            sys::rocksdb_options_set_error_if_exists(o, 1);
            sys::rocksdb_options_set_info_log_level(o, sys::LOG_FATAL);
            sys::rocksdb_options_set_keep_log_file_num(o, 1);
            sys::rocksdb_options_set_stats_dump_period_sec(o, 0);
            sys::rocksdb_options_set_stats_persist_period_sec(o, 0);
            sys::rocksdb_options_set_write_buffer_size(o, WRITE_BUFFER_BYTES);
            sys::rocksdb_options_set_max_open_files(o, OPEN_FILES_MAX);
            sys::rocksdb_options_set_manifest_preallocation_size(o, MANIFEST_BYTES_AHEAD);
            // A new database has no files to open; sixteen threads for that are the library's default.
            sys::rocksdb_options_set_max_file_opening_threads(o, 1);
            sys::rocksdb_options_set_max_background_jobs(o, BACKGROUND_JOBS);
            sys::rocksdb_options_set_target_file_size_base(o, FILE_BYTES);
            sys::rocksdb_options_set_max_bytes_for_level_base(o, FIRST_LEVEL_BYTES);
            sys::rocksdb_options_set_compression(o, sys::LZ4_COMPRESSION);
            Options { options, cache }
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: both were made in `new` and are freed here once; the database holds its own references.
        unsafe {
            sys::rocksdb_options_destroy(self.options.as_ptr());
            sys::rocksdb_cache_destroy(self.cache.as_ptr());
        }
    }
}

/// A database of sorted runs in a folder that was empty.
pub struct Store {
    db: NonNull<sys::Db>,
    family: NonNull<sys::ColumnFamily>,
    read: NonNull<sys::ReadOptions>,
    options: Options,
}

// SAFETY: the library's database, column family, options and cache may be used from several threads at once, and nothing here changes
// the options after they are made.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Makes a database in `folder`, which must not hold one. Its cache takes `cache_bytes`.
    pub fn create(folder: &Path, cache_bytes: usize) -> Result<Store, StoreError> {
        // The C library's allocator serves RocksDB alone; without a limit every thread of it keeps a heap of its own.
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: the call takes two numbers.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 2);
        }
        let options = Options::new(cache_bytes);
        let name = c_path(folder)?;
        let mut outcome = Outcome::new();
        let mut family: *mut sys::ColumnFamily = ptr::null_mut();
        let (family_name, family_options) = (c"default".as_ptr(), options.options.as_ptr().cast_const());
        // SAFETY: all arrays have one element, as `count` says; the handle is written before a non-null database is returned.
        let db = unsafe {
            sys::rocksdb_open_column_families(
                options.options.as_ptr(),
                name.as_ptr(),
                1,
                &raw const family_name,
                &raw const family_options,
                &raw mut family,
                outcome.place(),
            )
        };
        outcome.check()?;
        let (Some(db), Some(family)) = (NonNull::new(db), NonNull::new(family)) else {
            return Err(StoreError("no database and no error".to_owned()));
        };
        // SAFETY: a constructor.
        let read = NonNull::new(unsafe { sys::rocksdb_readoptions_create() }).expect("C++ new never returns null");
        Ok(Store { db, family, read, options })
    }

    /// Begins a run in a file that does not exist.
    pub fn run(&self, path: &Path) -> Result<Run<'_>, StoreError> {
        let name = c_path(path)?;
        let mut outcome = Outcome::new();
        // SAFETY: the writer keeps copies of both options; it is owned by the `Run`, which frees it.
        let writer = unsafe {
            let env = sys::rocksdb_envoptions_create();
            let writer = sys::rocksdb_sstfilewriter_create(env, self.options.options.as_ptr());
            sys::rocksdb_envoptions_destroy(env);
            writer
        };
        let run = Run { writer: NonNull::new(writer).expect("C++ new never returns null"), of: PhantomData };
        // SAFETY: a live writer and a text ended by a zero.
        unsafe { sys::rocksdb_sstfilewriter_open(run.writer.as_ptr(), name.as_ptr(), outcome.place()) };
        outcome.check()?;
        Ok(run)
    }

    /// Takes a finished run in by moving its file. Its entries hide those of all runs ingested before.
    pub fn ingest(&self, path: &Path) -> Result<(), StoreError> {
        let name = c_path(path)?;
        let names = name.as_ptr();
        let mut outcome = Outcome::new();
        // SAFETY: one name, as the count says; the options live until the call is over.
        unsafe {
            let options = sys::rocksdb_ingestexternalfileoptions_create();
            sys::rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
            sys::rocksdb_ingest_external_file(self.db.as_ptr(), &raw const names, 1, options, outcome.place());
            sys::rocksdb_ingestexternalfileoptions_destroy(options);
        }
        outcome.check()
    }

    /// Reads many keys, which are best in order; `found` gets the place of each key that is there, and its value.
    pub fn get_many<E: From<StoreError>>(
        &self,
        keys: &[&[u8]],
        mut found: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut pointers, mut lengths) = (Vec::new(), Vec::new());
        for (chunk_number, chunk) in keys.chunks(BATCH_KEYS).enumerate() {
            pointers.clear();
            pointers.extend(chunk.iter().map(|key| key.as_ptr().cast::<c_char>()));
            lengths.clear();
            lengths.extend(chunk.iter().map(|key| key.len()));
            let mut values = Values(vec![ptr::null_mut(); chunk.len()]);
            let mut errors = vec![ptr::null_mut(); chunk.len()];
            // SAFETY: four arrays of the same length; the keys outlive the call; values and errors are freed by their owners below.
            unsafe {
                sys::rocksdb_batched_multi_get_cf(
                    self.db.as_ptr(),
                    self.read.as_ptr(),
                    self.family.as_ptr(),
                    chunk.len(),
                    pointers.as_ptr(),
                    lengths.as_ptr(),
                    values.0.as_mut_ptr(),
                    errors.as_mut_ptr(),
                    false,
                );
            }
            // All of them, because each text must be freed.
            let outcomes: Vec<Result<(), StoreError>> = errors.into_iter().map(|e| Outcome(e).check()).collect();
            outcomes.into_iter().collect::<Result<(), StoreError>>()?;
            for (place, value) in values.0.iter().enumerate() {
                if !value.is_null() {
                    let mut length = 0;
                    // SAFETY: a value that was found; its bytes stay until `values` is dropped.
                    let bytes = unsafe {
                        let start = sys::rocksdb_pinnableslice_value(*value, &raw mut length);
                        slice(start, length)
                    };
                    found(chunk_number * BATCH_KEYS + place, bytes)?;
                }
            }
        }
        Ok(())
    }

    /// A cursor over all entries as they stand now.
    pub fn cursor(&self) -> Cursor<'_> {
        // SAFETY: the database and the options outlive the cursor, by its lifetime.
        let iterator = unsafe { sys::rocksdb_create_iterator(self.db.as_ptr(), self.read.as_ptr()) };
        Cursor { iterator: NonNull::new(iterator).expect("C++ new never returns null"), of: PhantomData }
    }

    /// Freezes what stands now; later runs do not show in it.
    pub fn freeze(self: &Arc<Self>) -> Frozen {
        // SAFETY: a live database, which the frozen view keeps alive.
        let snapshot = unsafe { sys::rocksdb_create_snapshot(self.db.as_ptr()) };
        // SAFETY: a constructor and setters; the snapshot outlives the options, both are freed by the view's Drop.
        let read = unsafe {
            let read = sys::rocksdb_readoptions_create();
            sys::rocksdb_readoptions_set_snapshot(read, snapshot);
            sys::rocksdb_readoptions_set_fill_cache(read, 0);
            sys::rocksdb_readoptions_set_readahead_size(read, SCAN_READAHEAD_BYTES);
            NonNull::new(read).expect("C++ new never returns null")
        };
        Frozen { store: Arc::clone(self), snapshot, read }
    }

    /// A number that RocksDB keeps about itself, by the name of its property.
    pub fn property(&self, name: &CStr) -> Option<u64> {
        let mut value = 0;
        // SAFETY: a live database, a text ended by a zero, a place for one number.
        let outcome = unsafe { sys::rocksdb_property_int(self.db.as_ptr(), name.as_ptr(), &raw mut value) };
        (outcome == 0).then_some(value)
    }

    /// Bytes in the cache.
    pub fn cache_bytes(&self) -> usize {
        // SAFETY: the cache lives as long as the options.
        unsafe { sys::rocksdb_cache_get_usage(self.options.cache.as_ptr()) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: cursors, runs and frozen views borrow or keep the store, so this is its last use; each object is freed once.
        unsafe {
            sys::rocksdb_cancel_all_background_work(self.db.as_ptr(), 1);
            sys::rocksdb_readoptions_destroy(self.read.as_ptr());
            sys::rocksdb_column_family_handle_destroy(self.family.as_ptr());
            sys::rocksdb_close(self.db.as_ptr());
        }
    }
}

/// Values of a batched read, by key; null where a key is not there.
struct Values(Vec<*mut sys::PinnableSlice>);

impl Drop for Values {
    fn drop(&mut self) {
        for value in self.0.iter().filter(|value| !value.is_null()) {
            // SAFETY: the library made it for this read, and it is freed once.
            unsafe { sys::rocksdb_pinnableslice_destroy(*value) };
        }
    }
}

/// # Safety
/// `start` points to `length` bytes that stay as they are for `'a`, or `length` is 0.
unsafe fn slice<'a>(start: *const c_char, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(start.cast(), length) }
}

/// A run that is being written, in ascending order of keys, each key once.
pub struct Run<'a> {
    writer: NonNull<sys::SstFileWriter>,
    of: PhantomData<&'a Store>,
}

impl Run<'_> {
    /// A key and its value.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut outcome = Outcome::new();
        // SAFETY: the writer is open and copies key and value.
        unsafe {
            sys::rocksdb_sstfilewriter_put(
                self.writer.as_ptr(),
                key.as_ptr().cast(),
                key.len(),
                value.as_ptr().cast(),
                value.len(),
                outcome.place(),
            );
        }
        outcome.check()
    }

    /// A key that is gone.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let mut outcome = Outcome::new();
        // SAFETY: the writer is open and copies the key.
        unsafe {
            sys::rocksdb_sstfilewriter_delete(self.writer.as_ptr(), key.as_ptr().cast(), key.len(), outcome.place());
        }
        outcome.check()
    }

    /// All keys from one up to another, without that one, that earlier runs hold are gone.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        let mut outcome = Outcome::new();
        // SAFETY: the writer is open and copies both keys.
        unsafe {
            sys::rocksdb_sstfilewriter_delete_range(
                self.writer.as_ptr(),
                from.as_ptr().cast(),
                from.len(),
                to.as_ptr().cast(),
                to.len(),
                outcome.place(),
            );
        }
        outcome.check()
    }

    /// Completes the file. A run without entries is an error.
    pub fn finish(self) -> Result<(), StoreError> {
        let mut outcome = Outcome::new();
        // SAFETY: the writer is open; it is freed by Drop afterwards.
        unsafe { sys::rocksdb_sstfilewriter_finish(self.writer.as_ptr(), outcome.place()) };
        outcome.check()
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `Store::run`, freed once; a file that was not finished stays behind as garbage.
        unsafe { sys::rocksdb_sstfilewriter_destroy(self.writer.as_ptr()) };
    }
}

/// A place in the entries, which are in the order of their keys.
pub struct Cursor<'a> {
    iterator: NonNull<sys::Iterator>,
    of: PhantomData<&'a Store>,
}

/// A key and its value, where the cursor stands.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

impl Cursor<'_> {
    /// Goes to the first key that is not below `key`.
    pub fn seek(&mut self, key: &[u8]) {
        // SAFETY: a live iterator, which copies the key.
        unsafe { sys::rocksdb_iter_seek(self.iterator.as_ptr(), key.as_ptr().cast(), key.len()) };
    }

    /// The entry here; `None` behind the last one.
    pub fn entry(&self) -> Result<Option<Entry<'_>>, StoreError> {
        // SAFETY: a live iterator; key and value stay until it moves, which needs `&mut self`.
        unsafe {
            if sys::rocksdb_iter_valid(self.iterator.as_ptr()) == 0 {
                let mut outcome = Outcome::new();
                sys::rocksdb_iter_get_error(self.iterator.as_ptr(), outcome.place());
                return outcome.check().map(|()| None);
            }
            let (mut key_length, mut value_length) = (0, 0);
            let key = sys::rocksdb_iter_key(self.iterator.as_ptr(), &raw mut key_length);
            let value = sys::rocksdb_iter_value(self.iterator.as_ptr(), &raw mut value_length);
            Ok(Some((slice(key, key_length), slice(value, value_length))))
        }
    }

    /// Goes to the next entry; stays behind the last one.
    pub fn next(&mut self) {
        // SAFETY: a live iterator; moving one that is not valid is forbidden, so that is asked first.
        unsafe {
            if sys::rocksdb_iter_valid(self.iterator.as_ptr()) != 0 {
                sys::rocksdb_iter_next(self.iterator.as_ptr());
            }
        }
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        // SAFETY: freed once, before the store it borrows.
        unsafe { sys::rocksdb_iter_destroy(self.iterator.as_ptr()) };
    }
}

/// The entries as they stood at one moment.
pub struct Frozen {
    store: Arc<Store>,
    snapshot: *const sys::Snapshot,
    read: NonNull<sys::ReadOptions>,
}

// SAFETY: a snapshot is a number that the database keeps; it may be read and released from any thread.
unsafe impl Send for Frozen {}

impl Frozen {
    /// A cursor over all entries.
    pub fn cursor(&self) -> Cursor<'_> {
        // SAFETY: database, options and snapshot outlive the cursor, by its lifetime.
        let iterator = unsafe { sys::rocksdb_create_iterator(self.store.db.as_ptr(), self.read.as_ptr()) };
        Cursor { iterator: NonNull::new(iterator).expect("C++ new never returns null"), of: PhantomData }
    }
}

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frozen").finish_non_exhaustive()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // SAFETY: cursors borrow the view, so none is left; both objects are freed once, the database is alive.
        unsafe {
            sys::rocksdb_readoptions_destroy(self.read.as_ptr());
            sys::rocksdb_release_snapshot(self.store.db.as_ptr(), self.snapshot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Arc<Store>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("db"), 1 << 20).unwrap();
        (folder, Arc::new(store))
    }

    fn ingest(folder: &Path, store: &Store, number: usize, entries: &[(&str, Option<&str>)]) {
        let path = folder.join(format!("{number}.sst"));
        let mut run = store.run(&path).unwrap();
        for (key, value) in entries {
            match value {
                Some(value) => run.put(key.as_bytes(), value.as_bytes()).unwrap(),
                None => run.delete(key.as_bytes()).unwrap(),
            }
        }
        run.finish().unwrap();
        store.ingest(&path).unwrap();
    }

    fn all(cursor: &mut Cursor<'_>, from: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        cursor.seek(from.as_bytes());
        let mut out = Vec::new();
        while let Some((key, value)) = cursor.entry().unwrap() {
            out.push((text(key), text(value)));
            cursor.next();
        }
        out
    }

    #[test]
    fn a_later_run_hides_an_earlier_one_key_by_key_and_a_frozen_view_stays_as_it_was() {
        let (folder, store) = store();
        ingest(folder.path(), &store, 0, &[("a", Some("1")), ("b", Some("2")), ("c", Some(""))]);
        let frozen = store.freeze();
        ingest(folder.path(), &store, 1, &[("a", Some("3")), ("b", None)]);
        let owned = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        assert_eq!(all(&mut store.cursor(), ""), owned(&[("a", "3"), ("c", "")]));
        assert_eq!(all(&mut store.cursor(), "b"), owned(&[("c", "")]));
        assert_eq!(all(&mut frozen.cursor(), ""), owned(&[("a", "1"), ("b", "2"), ("c", "")]));
        let mut found = Vec::new();
        let keys: [&[u8]; 4] = [b"c", b"b", b"a", b"x"];
        store
            .get_many::<StoreError>(&keys, |place, value| {
                found.push((place, value.to_vec()));
                Ok(())
            })
            .unwrap();
        assert_eq!(found, [(0, b"".to_vec()), (2, b"3".to_vec())]);
    }

    #[test]
    fn errors_are_texts_and_leave_the_store_usable() {
        let (folder, store) = store();
        assert!(Store::create(&folder.path().join("db"), 1 << 20).is_err(), "a folder that holds a database");
        assert!(store.ingest(&folder.path().join("none.sst")).is_err());
        let mut run = store.run(&folder.path().join("0.sst")).unwrap();
        run.put(b"b", b"").unwrap();
        assert!(run.put(b"a", b"").is_err(), "keys in descending order");
        drop(run);
        ingest(folder.path(), &store, 1, &[("a", Some("1"))]);
        assert_eq!(all(&mut store.cursor(), "").len(), 1);
        assert!(store.property(c"rocksdb.estimate-num-keys").is_some());
        assert!(store.cache_bytes() > 0);
    }
}
