//! What stands in for RocksDB in a program that was built without it: a store that cannot be made, so nothing else of it is ever called.

use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;

/// Why there is no store.
#[derive(Debug)]
pub(crate) struct StoreError(pub(crate) String);

#[derive(Debug)]
pub(crate) struct Store;
pub(crate) struct Run;
pub(crate) struct Cursor;
#[derive(Debug)]
pub(crate) struct Frozen;

fn absent<T>() -> Result<T, StoreError> {
    Err(StoreError("this program was built without RocksDB, so state must fit into its memory budget".to_owned()))
}

impl Store {
    pub(crate) fn create(_: &Path, _: usize) -> Result<Store, StoreError> {
        absent()
    }
    pub(crate) fn run(&self, _: &Path) -> Result<Run, StoreError> {
        absent()
    }
    pub(crate) fn ingest(&self, _: &Path) -> Result<(), StoreError> {
        absent()
    }
    pub(crate) fn get_many<E: From<StoreError>>(
        &self,
        _: &[&[u8]],
        _: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        Ok(absent()?)
    }
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor
    }
    pub(crate) fn freeze(self: &Arc<Self>) -> Frozen {
        Frozen
    }
    pub(crate) fn property(&self, _: &CStr) -> Option<u64> {
        None
    }
}

impl Run {
    pub(crate) fn put(&mut self, _: &[u8], _: &[u8]) -> Result<(), StoreError> {
        absent()
    }
    pub(crate) fn delete(&mut self, _: &[u8]) -> Result<(), StoreError> {
        absent()
    }
    pub(crate) fn delete_range(&mut self, _: &[u8], _: &[u8]) -> Result<(), StoreError> {
        absent()
    }
    pub(crate) fn finish(self) -> Result<(), StoreError> {
        absent()
    }
}

impl Cursor {
    pub(crate) fn seek(&mut self, _: &[u8]) {}
    pub(crate) fn entry(&self) -> Result<Option<(&[u8], &[u8])>, StoreError> {
        absent()
    }
    pub(crate) fn next(&mut self) {}
}

impl Frozen {
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor
    }
}
