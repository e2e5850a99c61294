//! The part of `rocksdb/c.h` that is used here, declared by hand after version 7.8. Flags are `unsigned char`, enums plain `c_int`.

use std::ffi::{c_char, c_int, c_uchar, c_void};

/// Declares C structs that are only ever seen behind a pointer.
macro_rules! opaque {
    ($($name:ident),*) => {
        $(
            #[repr(C)]
            pub(super) struct $name {
                _opaque: [u8; 0],
            }
        )*
    };
}

opaque!(
    Db,
    Options,
    TableOptions,
    FilterPolicy,
    Cache,
    ColumnFamily,
    ReadOptions,
    Iterator,
    Snapshot,
    PinnableSlice,
    EnvOptions,
    SstFileWriter,
    IngestOptions
);

pub(super) const LZ4_COMPRESSION: c_int = 4;
pub(super) const TWO_LEVEL_INDEX: c_int = 2;
pub(super) const LOG_FATAL: c_int = 4;

#[cfg_attr(not(feature = "rocksdb-static"), link(name = "rocksdb"))]
#[cfg_attr(feature = "rocksdb-static", link(name = "rocksdb", kind = "static"))]
unsafe extern "C" {
    pub(super) fn rocksdb_free(pointer: *mut c_void);

    pub(super) fn rocksdb_options_create() -> *mut Options;
    pub(super) fn rocksdb_options_destroy(options: *mut Options);
    pub(super) fn rocksdb_options_set_create_if_missing(options: *mut Options, on: c_uchar);
    pub(super) fn rocksdb_options_set_error_if_exists(options: *mut Options, on: c_uchar);
    pub(super) fn rocksdb_options_set_info_log_level(options: *mut Options, level: c_int);
    pub(super) fn rocksdb_options_set_keep_log_file_num(options: *mut Options, count: usize);
    pub(super) fn rocksdb_options_set_stats_dump_period_sec(options: *mut Options, seconds: u32);
    pub(super) fn rocksdb_options_set_stats_persist_period_sec(options: *mut Options, seconds: u32);
    pub(super) fn rocksdb_options_set_write_buffer_size(options: *mut Options, bytes: usize);
    pub(super) fn rocksdb_options_set_max_open_files(options: *mut Options, count: c_int);
    pub(super) fn rocksdb_options_set_manifest_preallocation_size(options: *mut Options, bytes: usize);
    pub(super) fn rocksdb_options_set_max_file_opening_threads(options: *mut Options, count: c_int);
    pub(super) fn rocksdb_options_set_max_background_jobs(options: *mut Options, count: c_int);
    pub(super) fn rocksdb_options_set_target_file_size_base(options: *mut Options, bytes: u64);
    pub(super) fn rocksdb_options_set_max_bytes_for_level_base(options: *mut Options, bytes: u64);
    pub(super) fn rocksdb_options_set_compression(options: *mut Options, compression: c_int);
    pub(super) fn rocksdb_options_set_block_based_table_factory(options: *mut Options, table: *mut TableOptions);

    pub(super) fn rocksdb_block_based_options_create() -> *mut TableOptions;
    pub(super) fn rocksdb_block_based_options_destroy(options: *mut TableOptions);
    pub(super) fn rocksdb_block_based_options_set_block_size(options: *mut TableOptions, bytes: usize);
    pub(super) fn rocksdb_block_based_options_set_metadata_block_size(options: *mut TableOptions, bytes: u64);
    pub(super) fn rocksdb_block_based_options_set_format_version(options: *mut TableOptions, version: c_int);
    pub(super) fn rocksdb_block_based_options_set_filter_policy(options: *mut TableOptions, policy: *mut FilterPolicy);
    pub(super) fn rocksdb_block_based_options_set_block_cache(options: *mut TableOptions, cache: *mut Cache);
    pub(super) fn rocksdb_block_based_options_set_index_type(options: *mut TableOptions, kind: c_int);
    pub(super) fn rocksdb_block_based_options_set_partition_filters(options: *mut TableOptions, on: c_uchar);
    pub(super) fn rocksdb_block_based_options_set_cache_index_and_filter_blocks(
        options: *mut TableOptions,
        on: c_uchar,
    );
    pub(super) fn rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(
        options: *mut TableOptions,
        on: c_uchar,
    );
    pub(super) fn rocksdb_filterpolicy_create_bloom_full(bits_per_key: f64) -> *mut FilterPolicy;

    pub(super) fn rocksdb_cache_create_lru(bytes: usize) -> *mut Cache;
    pub(super) fn rocksdb_cache_destroy(cache: *mut Cache);
    pub(super) fn rocksdb_cache_get_usage(cache: *mut Cache) -> usize;

    pub(super) fn rocksdb_open_column_families(
        options: *const Options,
        name: *const c_char,
        count: c_int,
        names: *const *const c_char,
        options_of: *const *const Options,
        handles: *mut *mut ColumnFamily,
        error: *mut *mut c_char,
    ) -> *mut Db;
    pub(super) fn rocksdb_column_family_handle_destroy(handle: *mut ColumnFamily);
    pub(super) fn rocksdb_cancel_all_background_work(db: *mut Db, wait: c_uchar);
    pub(super) fn rocksdb_close(db: *mut Db);
    pub(super) fn rocksdb_property_int(db: *mut Db, name: *const c_char, value: *mut u64) -> c_int;

    pub(super) fn rocksdb_readoptions_create() -> *mut ReadOptions;
    pub(super) fn rocksdb_readoptions_destroy(options: *mut ReadOptions);
    pub(super) fn rocksdb_readoptions_set_fill_cache(options: *mut ReadOptions, on: c_uchar);
    pub(super) fn rocksdb_readoptions_set_snapshot(options: *mut ReadOptions, snapshot: *const Snapshot);
    pub(super) fn rocksdb_readoptions_set_readahead_size(options: *mut ReadOptions, bytes: usize);
    pub(super) fn rocksdb_batched_multi_get_cf(
        db: *mut Db,
        options: *const ReadOptions,
        family: *mut ColumnFamily,
        count: usize,
        keys: *const *const c_char,
        lengths: *const usize,
        values: *mut *mut PinnableSlice,
        errors: *mut *mut c_char,
        is_sorted: bool,
    );
    pub(super) fn rocksdb_pinnableslice_value(slice: *const PinnableSlice, length: *mut usize) -> *const c_char;
    pub(super) fn rocksdb_pinnableslice_destroy(slice: *mut PinnableSlice);

    pub(super) fn rocksdb_create_snapshot(db: *mut Db) -> *const Snapshot;
    pub(super) fn rocksdb_release_snapshot(db: *mut Db, snapshot: *const Snapshot);
    pub(super) fn rocksdb_create_iterator(db: *mut Db, options: *const ReadOptions) -> *mut Iterator;
    pub(super) fn rocksdb_iter_destroy(iterator: *mut Iterator);
    pub(super) fn rocksdb_iter_valid(iterator: *const Iterator) -> c_uchar;
    pub(super) fn rocksdb_iter_seek(iterator: *mut Iterator, key: *const c_char, length: usize);
    pub(super) fn rocksdb_iter_next(iterator: *mut Iterator);
    pub(super) fn rocksdb_iter_key(iterator: *const Iterator, length: *mut usize) -> *const c_char;
    pub(super) fn rocksdb_iter_value(iterator: *const Iterator, length: *mut usize) -> *const c_char;
    pub(super) fn rocksdb_iter_get_error(iterator: *const Iterator, error: *mut *mut c_char);

    pub(super) fn rocksdb_envoptions_create() -> *mut EnvOptions;
    pub(super) fn rocksdb_envoptions_destroy(options: *mut EnvOptions);
    pub(super) fn rocksdb_sstfilewriter_create(env: *const EnvOptions, options: *const Options) -> *mut SstFileWriter;
    pub(super) fn rocksdb_sstfilewriter_open(writer: *mut SstFileWriter, name: *const c_char, error: *mut *mut c_char);
    pub(super) fn rocksdb_sstfilewriter_put(
        writer: *mut SstFileWriter,
        key: *const c_char,
        key_length: usize,
        value: *const c_char,
        value_length: usize,
        error: *mut *mut c_char,
    );
    pub(super) fn rocksdb_sstfilewriter_delete(
        writer: *mut SstFileWriter,
        key: *const c_char,
        key_length: usize,
        error: *mut *mut c_char,
    );
    pub(super) fn rocksdb_sstfilewriter_delete_range(
        writer: *mut SstFileWriter,
        begin: *const c_char,
        begin_length: usize,
        end: *const c_char,
        end_length: usize,
        error: *mut *mut c_char,
    );
    pub(super) fn rocksdb_sstfilewriter_finish(writer: *mut SstFileWriter, error: *mut *mut c_char);
    pub(super) fn rocksdb_sstfilewriter_destroy(writer: *mut SstFileWriter);

    pub(super) fn rocksdb_ingestexternalfileoptions_create() -> *mut IngestOptions;
    pub(super) fn rocksdb_ingestexternalfileoptions_destroy(options: *mut IngestOptions);
    pub(super) fn rocksdb_ingestexternalfileoptions_set_move_files(options: *mut IngestOptions, on: c_uchar);
    pub(super) fn rocksdb_ingest_external_file(
        db: *mut Db,
        files: *const *const c_char,
        count: usize,
        options: *const IngestOptions,
        error: *mut *mut c_char,
    );
}
