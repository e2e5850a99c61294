//! What stands in for RocksDB in a program that was built without it: a store that cannot be made, so nothing of it is ever called.

use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;

/// Why there is no store.
#[derive(Debug)]
pub(crate) struct StoreError(pub(crate) String);

#[derive(Debug)]
pub(crate) enum Store {}
pub(crate) enum Run {}
pub(crate) enum Cursor {}
#[derive(Debug)]
pub(crate) enum Frozen {}

impl Store {
    pub(crate) fn create(_: &Path, _: usize) -> Result<Store, StoreError> {
        Err(StoreError("this program was built without RocksDB, so state must fit into its memory budget".to_owned()))
    }
    pub(crate) fn run(&self, _: &Path) -> Result<Run, StoreError> {
        match *self {}
    }
    pub(crate) fn ingest(&self, _: &Path) -> Result<(), StoreError> {
        match *self {}
    }
    pub(crate) fn get_many<E: From<StoreError>>(
        &self,
        _: &[&[u8]],
        _: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match *self {}
    }
    pub(crate) fn cursor(&self) -> Cursor {
        match *self {}
    }
    pub(crate) fn freeze(self: &Arc<Self>) -> Frozen {
        match **self {}
    }
    pub(crate) fn property(&self, _: &CStr) -> Option<u64> {
        match *self {}
    }
}

impl Run {
    pub(crate) fn put(&mut self, _: &[u8], _: &[u8]) -> Result<(), StoreError> {
        match *self {}
    }
    pub(crate) fn delete(&mut self, _: &[u8]) -> Result<(), StoreError> {
        match *self {}
    }
    pub(crate) fn finish(self) -> Result<(), StoreError> {
        match self {}
    }
}

impl Cursor {
    pub(crate) fn seek(&mut self, _: &[u8]) {
        match *self {}
    }
    pub(crate) fn entry(&self) -> Result<Option<(&[u8], &[u8])>, StoreError> {
        match *self {}
    }
    pub(crate) fn next(&mut self) {
        match *self {}
    }
}

impl Frozen {
    pub(crate) fn cursor(&self) -> Cursor {
        match *self {}
    }
}
