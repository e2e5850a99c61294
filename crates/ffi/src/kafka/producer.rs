//! Sends messages to one topic. A send copies its bytes and returns; what became of the message is told later, by delivery reports that
//! are added up under the tag the message was sent with.

use std::ffi::{CString, c_int, c_void};
use std::ptr;

use super::client::{Client, Shared, TopicHandle, lock};
use super::{KafkaError, sys};

/// Failed deliveries that are kept with their reason until somebody takes them; more are only counted.
const FAILURES_MAX: usize = 16;

/// Tags that can be in flight at once without one being mistaken for another; the caller's tags count up from 0.
const TAGS: usize = 64;

/// What delivery reports said since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Acknowledged messages: tag and number.
    pub acknowledged: Vec<(usize, u64)>,
    /// Bytes of messages that are no longer in flight, delivered or not.
    pub bytes: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Why, for the first ones: the error and the partition.
    pub failures: Vec<(KafkaError, i32)>,
}

/// The sums that the delivery callback keeps.
pub(super) struct DeliveryLog {
    acknowledged: [u64; TAGS],
    bytes: u64,
    failed: u64,
    failures: Vec<(KafkaError, i32)>,
}

impl Default for DeliveryLog {
    fn default() -> Self {
        DeliveryLog { acknowledged: [0; TAGS], bytes: 0, failed: 0, failures: Vec::new() }
    }
}

/// A sender to one topic.
pub struct Producer {
    // Field order is drop order: the topic goes before the client.
    topic: TopicHandle,
    client: Client,
}

impl Producer {
    /// The number of tags that can be in flight at once: tag and tag + this are the same.
    pub const TAGS: usize = TAGS;

    /// A sender over `client`, which must be of the kind `Producer`.
    pub fn new(client: Client, topic: &str) -> Result<Producer, KafkaError> {
        Ok(Producer { topic: TopicHandle::new(&client, topic)?, client })
    }

    /// The client, to ask the cluster and to see its errors.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a message: to `partition`, or where the configured partitioner says; with a time of its own, or the time of sending.
    /// Its delivery is reported under `tag`, taken modulo [`Producer::TAGS`].
    pub fn send(
        &self,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: Option<i64>,
        headers: &[(CString, Option<&[u8]>)],
        tag: usize,
    ) -> Result<(), KafkaError> {
        let partition = partition.unwrap_or(sys::PARTITION_ANY);
        let opaque = ptr::without_provenance_mut::<c_void>(tag % TAGS);
        let key = memory(key);
        let value = memory(value);
        let outcome = match (timestamp_ms, headers) {
            (None, []) => self.produce(partition, key, value, opaque),
            _ => self.produce_with(partition, key, value, timestamp_ms, headers, opaque),
        };
        if outcome == 0 { Ok(()) } else { Err(KafkaError::of(outcome)) }
    }

    fn produce(&self, partition: i32, key: sys::Memory, value: sys::Memory, opaque: *mut c_void) -> c_int {
        // SAFETY: topic and bytes live over the call, which copies the bytes (F_COPY) and only reads them.
        unsafe {
            let outcome = sys::rd_kafka_produce(
                self.topic.as_ptr(),
                partition,
                sys::MSG_F_COPY,
                value.ptr.cast_mut(),
                value.size,
                key.ptr,
                key.size,
                opaque,
            );
            if outcome == 0 { 0 } else { sys::rd_kafka_last_error() }
        }
    }

    fn produce_with(
        &self,
        partition: i32,
        key: sys::Memory,
        value: sys::Memory,
        timestamp_ms: Option<i64>,
        headers: &[(CString, Option<&[u8]>)],
        opaque: *mut c_void,
    ) -> c_int {
        let argument = |vtype, value| sys::Argument { vtype, value };
        let mut arguments = vec![
            argument(sys::VTYPE_RKT, sys::ArgumentValue { rkt: self.topic.as_ptr() }),
            argument(sys::VTYPE_PARTITION, sys::ArgumentValue { int32: partition }),
            argument(sys::VTYPE_MSGFLAGS, sys::ArgumentValue { int: sys::MSG_F_COPY }),
            argument(sys::VTYPE_KEY, sys::ArgumentValue { mem: key }),
            argument(sys::VTYPE_VALUE, sys::ArgumentValue { mem: value }),
            argument(sys::VTYPE_OPAQUE, sys::ArgumentValue { ptr: opaque }),
        ];
        if let Some(time) = timestamp_ms {
            arguments.push(argument(sys::VTYPE_TIMESTAMP, sys::ArgumentValue { int64: time }));
        }
        for (name, value) in headers {
            let value = memory(*value);
            let size = isize::try_from(value.size).unwrap_or(0);
            let header = sys::NamedMemory { name: name.as_ptr(), ptr: value.ptr, size };
            arguments.push(argument(sys::VTYPE_HEADER, sys::ArgumentValue { header }));
        }
        // SAFETY: topic, bytes and arguments live over the call, which copies the bytes; each argument sets the field its type names. An
        // error object is ours to free.
        unsafe {
            let error = sys::rd_kafka_produceva(self.client.handle(), arguments.as_ptr(), arguments.len());
            if error.is_null() {
                return 0;
            }
            let outcome = sys::rd_kafka_error_code(error);
            sys::rd_kafka_error_destroy(error);
            outcome
        }
    }

    /// What delivery reports said since the last call. Call [`Client::poll`] before.
    pub fn take_deliveries(&self) -> Deliveries {
        let mut log = lock(&self.client.shared().deliveries);
        let mut taken = Deliveries {
            acknowledged: Vec::new(),
            bytes: std::mem::take(&mut log.bytes),
            failed: std::mem::take(&mut log.failed),
            failures: std::mem::take(&mut log.failures),
        };
        for (tag, count) in log.acknowledged.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            taken.acknowledged.push((tag, std::mem::take(count)));
        }
        taken
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // SAFETY: the handle lives. Undelivered messages are dropped on purpose: whoever wants them delivered waits for their reports.
        unsafe { sys::rd_kafka_purge(self.client.handle(), sys::PURGE_QUEUE | sys::PURGE_INFLIGHT) };
    }
}

fn memory(bytes: Option<&[u8]>) -> sys::Memory {
    match bytes {
        // An empty value must not look like none, so its pointer is kept: it is dangling, but not null.
        Some(bytes) => sys::Memory { ptr: bytes.as_ptr().cast(), size: bytes.len() },
        None => sys::Memory { ptr: ptr::null(), size: 0 },
    }
}

/// A delivery report: runs in [`Client::poll`].
pub(super) unsafe extern "C" fn on_delivery(_: *mut sys::Handle, message: *const sys::RawMessage, opaque: *mut c_void) {
    // SAFETY: the message lives during the callback, and the opaque pointer is the `Shared` of this client.
    let (message, shared) = unsafe { (&*message, &*opaque.cast::<Shared>()) };
    let tag = message.private.addr() % TAGS;
    let mut log = lock(&shared.deliveries);
    log.bytes += (message.len + message.key_len) as u64;
    if message.err == 0 {
        log.acknowledged[tag] += 1;
        return;
    }
    log.failed += 1;
    if log.failures.len() < FAILURES_MAX {
        log.failures.push((KafkaError::of(message.err), message.partition));
    }
}
