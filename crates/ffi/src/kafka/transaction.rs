//! Transactions of a producer whose client has a `transactional.id`: everything sent between begin and commit, and an offset of a group
//! with words of one's own beside it, becomes visible together or not at all.
//!
//! Every call blocks until it is done or its time is over. An error says what to do about it: repeat the call, abort the transaction, or
//! give the producer up. `fenced` is a give-up with a reason: another producer with the same id has come since.

use std::ffi::{CString, c_void};
use std::ptr;
use std::time::Duration;

use super::client::{Client, PartitionList};
use super::producer::Producer;
use super::{KafkaError, PartitionOffset, code, sys, text, timeout_ms};

/// Why a call about a transaction failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionError {
    /// What happened.
    pub error: KafkaError,
    /// The same call may be repeated.
    pub is_retriable: bool,
    /// The transaction must be aborted; the producer can begin another.
    pub needs_abort: bool,
}

impl TransactionError {
    /// Another producer with the same transactional.id has come since.
    pub fn is_fenced(&self) -> bool {
        matches!(self.error.code, code::FENCED | code::INVALID_PRODUCER_EPOCH | code::PRODUCER_FENCED)
    }
}

impl std::fmt::Display for TransactionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for TransactionError {}

/// # Safety
/// `error` is null or an error object that belongs to the caller; it is freed here.
unsafe fn outcome(error: *mut sys::KafkaErrorObject) -> Result<(), TransactionError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the object lives until the destroy, and its text with it.
    unsafe {
        let found = TransactionError {
            error: KafkaError::new(sys::rd_kafka_error_code(error), text(sys::rd_kafka_error_string(error))),
            is_retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            needs_abort: sys::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        sys::rd_kafka_error_destroy(error);
        Err(found)
    }
}

impl Producer {
    /// Announces the producer: older ones with the same id are refused from now on, and what they left open is aborted.
    pub fn init_transactions(&self, timeout: Duration) -> Result<(), TransactionError> {
        // SAFETY: the handle lives over the call.
        unsafe { outcome(sys::rd_kafka_init_transactions(self.client().handle(), timeout_ms(timeout))) }
    }

    /// What is sent from now on belongs to a transaction.
    pub fn begin_transaction(&self) -> Result<(), TransactionError> {
        // SAFETY: the handle lives over the call.
        unsafe { outcome(sys::rd_kafka_begin_transaction(self.client().handle())) }
    }

    /// Adds an offset of `group` to the transaction, with words of at most some thousand bytes beside it.
    pub fn send_offset(
        &self,
        group: &str,
        offset: &PartitionOffset,
        words: &str,
        timeout: Duration,
    ) -> Result<(), TransactionError> {
        let invalid = |error| TransactionError { error, is_retriable: false, needs_abort: true };
        let list = PartitionList::new(std::slice::from_ref(offset)).map_err(invalid)?;
        list.set_words(words);
        let group = CString::new(group).map_err(|_| invalid(KafkaError::of(code::INVALID_TOPIC)))?;
        // SAFETY: handle, list and group live over the calls; the group's metadata is made and freed here.
        unsafe {
            let metadata = sys::rd_kafka_consumer_group_metadata_new(group.as_ptr());
            let error = sys::rd_kafka_send_offsets_to_transaction(
                self.client().handle(),
                list.as_ptr(),
                metadata,
                timeout_ms(timeout),
            );
            sys::rd_kafka_consumer_group_metadata_destroy(metadata);
            outcome(error)
        }
    }

    /// Waits until everything is written, and makes it visible. After a time-out the call must be repeated: what it began goes on.
    pub fn commit_transaction(&self, timeout: Duration) -> Result<(), TransactionError> {
        // SAFETY: the handle lives over the call.
        unsafe { outcome(sys::rd_kafka_commit_transaction(self.client().handle(), timeout_ms(timeout))) }
    }

    /// Takes everything back.
    pub fn abort_transaction(&self, timeout: Duration) -> Result<(), TransactionError> {
        // SAFETY: the handle lives over the call.
        unsafe { outcome(sys::rd_kafka_abort_transaction(self.client().handle(), timeout_ms(timeout))) }
    }
}

impl Client {
    /// The words beside the committed offset of the client's group; `None` when nothing was committed. Waits for transactions that are
    /// about to change it (with `isolation.level` read_committed, the default).
    pub fn committed_words(
        &self,
        partition: &PartitionOffset,
        timeout: Duration,
    ) -> Result<Option<String>, KafkaError> {
        let list = PartitionList::new(std::slice::from_ref(partition))?;
        // SAFETY: handle and list live over the call.
        let error = unsafe { sys::rd_kafka_committed(self.handle(), list.as_ptr(), timeout_ms(timeout)) };
        if error != 0 {
            return Err(KafkaError::of(error));
        }
        match list.entries().into_iter().next() {
            Some(PartitionOffset { error: Some(error), .. }) => Err(error),
            Some(answer) if answer.offset >= 0 => Ok(Some(list.words())),
            _ => Ok(None),
        }
    }
}

impl PartitionList {
    /// Puts words beside the first partition's offset.
    fn set_words(&self, words: &str) {
        // SAFETY: the list has one element; the block is made by the allocator with which librdkafka frees it, and filled whole.
        unsafe {
            let element = (*self.as_ptr()).elems;
            let block = libc::malloc(words.len().max(1));
            if element.is_null() || block.is_null() {
                libc::free(block);
                return;
            }
            ptr::copy_nonoverlapping(words.as_ptr().cast::<c_void>(), block, words.len());
            (*element).metadata = block;
            (*element).metadata_size = words.len();
        }
    }

    /// The words beside the first partition's offset.
    fn words(&self) -> String {
        // SAFETY: the list has one element; its block has the size that stands beside it.
        unsafe {
            let element = (*self.as_ptr()).elems;
            if element.is_null() || (*element).metadata.is_null() {
                return String::new();
            }
            let bytes = std::slice::from_raw_parts((*element).metadata.cast::<u8>(), (*element).metadata_size);
            String::from_utf8_lossy(bytes).into_owned()
        }
    }
}
