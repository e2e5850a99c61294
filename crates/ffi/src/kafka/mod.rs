//! librdkafka, wrapped so that safe code cannot misuse it.
//!
//! ```text
//! Client     configuration, broker errors, metadata, offsets, commits, topics to create; the part that both directions share
//! Consumer   partitions started at given offsets, all feeding one queue, read in batches; never joins a group
//! Producer   messages copied in, one delivery report each, counted by the tag they were sent with
//! ```
//!
//! librdkafka reports what goes wrong with a *connection* (a refused password, an unknown host, a broken TLS handshake) to a callback
//! alone, never as the result of a call: the call just times out. So every client keeps the errors of its callback in a short bounded
//! list, [`Client::take_errors`], and a caller that waits in slices can see within a moment why nothing answers.
//!
//! Partitions are read with the simple consumer's calls and not with an assignment of the group consumer: those need no group.id, so a
//! job without one talks to no group coordinator and needs no right on a group. With a group.id set, offsets can be committed all the same.

mod client;
mod consumer;
mod producer;
mod sys;
mod transaction;

pub use client::{Client, ClientKind, ConfigError, PartitionOffset, TopicMetadata, check_property, property_names};
pub use consumer::{BATCH_MESSAGES_MAX, Consumer, Fetched, Record};
pub use producer::{Deliveries, Producer};
pub use transaction::TransactionError;

use std::ffi::{CStr, c_char, c_int};
use std::fmt;

/// An error code of librdkafka (negative) or of the Kafka protocol (positive), with the words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaError {
    /// The code, one of [`code`].
    pub code: i32,
    /// What librdkafka says about it.
    pub reason: String,
}

impl KafkaError {
    fn of(code: c_int) -> Self {
        // SAFETY: librdkafka returns a static text for any number, known or not.
        let reason = unsafe { text(sys::rd_kafka_err2str(code)) };
        KafkaError { code, reason }
    }

    fn new(code: c_int, reason: String) -> Self {
        if reason.is_empty() { KafkaError::of(code) } else { KafkaError { code, reason } }
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for KafkaError {}

/// Error codes that callers tell apart.
pub mod code {
    /// A message is malformed.
    pub const BAD_MESSAGE: i32 = -199;
    /// A batch does not decompress.
    pub const BAD_COMPRESSION: i32 = -198;
    /// The connection broke.
    pub const TRANSPORT: i32 = -195;
    /// A host name is unknown.
    pub const RESOLVE: i32 = -193;
    /// A message was not delivered in time.
    pub const MESSAGE_TIMED_OUT: i32 = -192;
    /// The client knows the topic, and it has no such partition.
    pub const UNKNOWN_PARTITION: i32 = -190;
    /// The topic is not known.
    pub const UNKNOWN_TOPIC_LOCAL: i32 = -188;
    /// No broker is reachable.
    pub const ALL_BROKERS_DOWN: i32 = -187;
    /// No answer in time.
    pub const TIMED_OUT: i32 = -185;
    /// The client's own queue is full.
    pub const QUEUE_FULL: i32 = -184;
    /// The TLS handshake failed.
    pub const SSL: i32 = -181;
    /// The client was built without what the broker sent (a compression).
    pub const NOT_IMPLEMENTED: i32 = -170;
    /// The broker refused user or password.
    pub const AUTHENTICATION: i32 = -169;
    /// Messages were dropped on request.
    pub const PURGED_QUEUE: i32 = -152;
    /// Messages were dropped on request while on their way.
    pub const PURGED_INFLIGHT: i32 = -151;
    /// The client cannot go on.
    pub const FATAL: i32 = -150;
    /// Another producer with the same transactional.id has come since.
    pub const FENCED: i32 = -144;
    /// The position is outside of the log and no reset is configured.
    pub const AUTO_OFFSET_RESET: i32 = -140;
    /// The log was cut behind the position.
    pub const LOG_TRUNCATION: i32 = -139;
    /// The position is outside of the log.
    pub const OFFSET_OUT_OF_RANGE: i32 = 1;
    /// No such topic or partition.
    pub const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
    /// The broker finds the message too large.
    pub const MESSAGE_TOO_LARGE: i32 = 10;
    /// The record's time is too far from the broker's.
    pub const INVALID_TIMESTAMP: i32 = 32;
    /// The record does not pass the broker's checks (a compacted topic wants keys).
    pub const INVALID_RECORD: i32 = 87;
    /// The name of the topic is invalid.
    pub const INVALID_TOPIC: i32 = 17;
    /// No right on the topic.
    pub const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
    /// No right on the consumer group.
    pub const GROUP_AUTHORIZATION_FAILED: i32 = 30;
    /// The same, by an older broker, or for a request of the producer itself.
    pub const INVALID_PRODUCER_EPOCH: i32 = 47;
    /// No right to use the transactional.id.
    pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i32 = 53;
    /// The same as [`FENCED`], by the transaction coordinator.
    pub const PRODUCER_FENCED: i32 = 90;
    /// No right on the cluster.
    pub const CLUSTER_AUTHORIZATION_FAILED: i32 = 31;
    /// The broker has not enabled the SASL mechanism.
    pub const UNSUPPORTED_SASL_MECHANISM: i32 = 33;
    /// The topic exists.
    pub const TOPIC_ALREADY_EXISTS: i32 = 36;
    /// The broker refused user or password.
    pub const SASL_AUTHENTICATION_FAILED: i32 = 58;
}

/// A C text as a `String`; empty for a null pointer.
///
/// # Safety
/// `pointer` is null or points to a NUL-terminated text that lives for the call.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller promises the rest.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// The text in a buffer that C filled up to a NUL.
fn buffer_text(buffer: &[u8]) -> String {
    CStr::from_bytes_until_nul(buffer).map(|t| t.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A time-out in the form librdkafka takes.
fn timeout_ms(timeout: std::time::Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX)
}
