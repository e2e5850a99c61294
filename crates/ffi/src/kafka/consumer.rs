//! Reads partitions in batches. Every started partition feeds one queue, and one call takes thousands of messages from it.
//!
//! Nothing is allocated per message on this side: the caller's closure sees each message as borrowed bytes and copies what it keeps.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use super::client::{Client, TopicHandle, same_name};
use super::{KafkaError, code, sys, text, timeout_ms};

/// Messages that one call of librdkafka takes at most; the pointers to them are kept in an array of this size.
pub const BATCH_MESSAGES_MAX: usize = 20_000;

/// librdkafka's code for "this partition has no more for now"; it comes in the stream of messages.
const PARTITION_EOF: c_int = -191;

/// A record as it stands in librdkafka's buffer.
pub struct Record<'a> {
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its offset.
    pub offset: i64,
    /// Its time, ms since 1970; -1 when it has none.
    pub timestamp_ms: i64,
    /// 0 no time, 1 time of creation, 2 time of appending.
    pub timestamp_type: u8,
    message: *const sys::RawMessage,
    lifetime: PhantomData<&'a sys::RawMessage>,
}

impl Record<'_> {
    /// Calls `on` for each header, in order. The first call on a record parses its headers.
    pub fn headers(&self, mut on: impl FnMut(&[u8], Option<&[u8]>)) {
        let mut headers: *mut sys::Headers = ptr::null_mut();
        // SAFETY: the message lives as long as `self`, and so do its headers.
        if unsafe { sys::rd_kafka_message_headers(self.message, &raw mut headers) } != 0 {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null::<c_void>(), 0usize);
            // SAFETY: the three places may be written; beyond the last header the call says so.
            let outcome =
                unsafe { sys::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size) };
            if outcome != 0 {
                return;
            }
            // SAFETY: the name is a C text and the value has `size` bytes, both owned by the message.
            unsafe { on(std::ffi::CStr::from_ptr(name).to_bytes(), bytes(value, size)) };
        }
    }
}

/// One thing that a fetch brought, for the partition that was started under a slot.
pub enum Fetched<'a> {
    /// A record.
    Record(Record<'a>),
    /// The reader stands at the end of the partition, at this offset.
    End(i64),
    /// The partition cannot be read on.
    Failed(KafkaError),
}

/// A reader of partitions.
pub struct Consumer {
    // Field order is drop order: messages, queue and topics go before the client.
    queue: QueueHandle,
    topics: Vec<ConsumedTopic>,
    messages: Vec<*mut sys::RawMessage>,
    slots: usize,
    client: Client,
}

// SAFETY: the raw message pointers are only set during a fetch, which has the consumer exclusively; the rest is Send by itself.
unsafe impl Send for Consumer {}

struct ConsumedTopic {
    name: String,
    handle: TopicHandle,
    /// Pointers under which messages name this topic; librdkafka may use another one than the handle's.
    aliases: Vec<*mut sys::Topic>,
    /// Slot by partition.
    slots: Vec<Option<usize>>,
}

impl Consumer {
    /// A reader over `client`, which must be of the kind `Consumer`, with no partition yet.
    pub fn new(client: Client) -> Consumer {
        // SAFETY: the handle lives; the queue is released before the client.
        let queue = QueueHandle(unsafe { sys::rd_kafka_queue_new(client.handle()) });
        Consumer { queue, topics: Vec::new(), messages: vec![ptr::null_mut(); BATCH_MESSAGES_MAX], slots: 0, client }
    }

    /// The client, to ask the cluster and to see its errors.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Starts a partition at an offset; its messages come under the returned slot, which counts up from 0.
    pub fn start(&mut self, topic: &str, partition: i32, offset: i64) -> Result<usize, KafkaError> {
        let index = match self.topics.iter().position(|t| t.name == topic) {
            Some(index) => index,
            None => {
                let handle = TopicHandle::new(&self.client, topic)?;
                let aliases = vec![handle.as_ptr()];
                self.topics.push(ConsumedTopic { name: topic.to_owned(), handle, aliases, slots: Vec::new() });
                self.topics.len() - 1
            }
        };
        let place = usize::try_from(partition).map_err(|_| KafkaError::of(code::UNKNOWN_PARTITION))?;
        let entry = &mut self.topics[index];
        if entry.slots.len() <= place {
            entry.slots.resize(place + 1, None);
        }
        // SAFETY: topic and queue live; the partition is not started twice, since librdkafka refuses that by itself.
        let outcome =
            unsafe { sys::rd_kafka_consume_start_queue(entry.handle.as_ptr(), partition, offset, self.queue.0) };
        if outcome != 0 {
            // SAFETY: no preconditions.
            return Err(KafkaError::of(unsafe { sys::rd_kafka_last_error() }));
        }
        let slot = *entry.slots[place].get_or_insert(self.slots);
        if slot == self.slots {
            self.slots += 1;
        }
        Ok(slot)
    }

    /// Stops a partition. Messages of it that are already in the queue may not come any more. It may be started again, under its old slot.
    pub fn stop(&mut self, topic: &str, partition: i32) {
        if let Some(entry) = self.topics.iter().find(|t| t.name == topic) {
            // SAFETY: the topic lives; stopping what was not started is an error code and nothing else.
            unsafe { sys::rd_kafka_consume_stop(entry.handle.as_ptr(), partition) };
        }
    }

    /// Takes up to `messages_max` messages that are there, waiting at most `wait` for the first, and shows each to `on` with its slot.
    /// Returns how many there were. Callbacks of the client run in here too.
    pub fn fetch(&mut self, messages_max: usize, wait: Duration, mut on: impl FnMut(usize, Fetched<'_>)) -> usize {
        let messages_max = messages_max.clamp(1, BATCH_MESSAGES_MAX);
        let mut count = self.take(0, messages_max, Duration::ZERO);
        if count == 0 && !wait.is_zero() {
            // A call with a time-out returns only when its array is full or the time is over, so the wait is for one message.
            count = self.take(0, 1, wait);
            if count == 1 && messages_max > 1 {
                count += self.take(1, messages_max - 1, Duration::ZERO);
            }
        }
        let batch = Batch { messages: &mut self.messages[..count], shown: 0 };
        batch.show(&mut self.topics, &mut on);
        count
    }

    /// Takes messages into the array from `from` on.
    fn take(&mut self, from: usize, messages_max: usize, wait: Duration) -> usize {
        let places = &mut self.messages[from..from + messages_max];
        // SAFETY: the queue lives, and the array has as many places as the call may fill.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.0, timeout_ms(wait), places.as_mut_ptr(), places.len())
        };
        usize::try_from(count).unwrap_or(0).min(messages_max)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        for topic in &self.topics {
            for (partition, _) in topic.slots.iter().enumerate().filter(|(_, slot)| slot.is_some()) {
                // SAFETY: the topic lives; a partition that was stopped before gives an error code and nothing else.
                unsafe {
                    sys::rd_kafka_consume_stop(topic.handle.as_ptr(), i32::try_from(partition).unwrap_or(-1));
                }
            }
        }
    }
}

/// Messages that were taken and must be given back, each exactly once, even when the closure panics.
struct Batch<'a> {
    messages: &'a mut [*mut sys::RawMessage],
    shown: usize,
}

impl Batch<'_> {
    fn show(mut self, topics: &mut [ConsumedTopic], on: &mut impl FnMut(usize, Fetched<'_>)) {
        let mut last: (*mut sys::Topic, i32, Option<usize>) = (ptr::null_mut(), -1, None);
        while let Some(pointer) = self.messages.get(self.shown) {
            // SAFETY: librdkafka filled the array up to here with messages that are ours until they are destroyed.
            let message = unsafe { &**pointer };
            if message.rkt != last.0 || message.partition != last.1 {
                last = (message.rkt, message.partition, slot_of(topics, message));
            }
            if let Some(slot) = last.2 {
                on(slot, fetched(message));
            }
            // SAFETY: the message is ours, nothing refers to it any more, and `shown` moves past it.
            unsafe { sys::rd_kafka_message_destroy(*pointer) };
            self.shown += 1;
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in &self.messages[self.shown..] {
            // SAFETY: messages from `shown` on were not destroyed yet. Reached only when the closure panicked.
            unsafe { sys::rd_kafka_message_destroy(*message) };
        }
    }
}

fn slot_of(topics: &mut [ConsumedTopic], message: &sys::RawMessage) -> Option<usize> {
    if message.rkt.is_null() {
        return None;
    }
    let index = match topics.iter().position(|t| t.aliases.contains(&message.rkt)) {
        Some(index) => index,
        None => {
            // SAFETY: the message holds a reference to its topic.
            let name = unsafe { sys::rd_kafka_topic_name(message.rkt) };
            let index = topics.iter().position(|t| same_name(name, &t.name))?;
            topics[index].aliases.push(message.rkt);
            index
        }
    };
    let partition = usize::try_from(message.partition).ok()?;
    topics[index].slots.get(partition).copied().flatten()
}

fn fetched(message: &sys::RawMessage) -> Fetched<'_> {
    match message.err {
        0 => {
            let mut kind: c_int = 0;
            // SAFETY: the message lives over the call and the number may be written.
            let timestamp_ms = unsafe { sys::rd_kafka_message_timestamp(message, &raw mut kind) };
            // SAFETY: pointer and length belong together and the bytes live as long as the message.
            let (key, value) = unsafe { (bytes(message.key, message.key_len), bytes(message.payload, message.len)) };
            Fetched::Record(Record {
                key,
                value,
                offset: message.offset,
                timestamp_ms,
                timestamp_type: u8::try_from(kind).unwrap_or(0),
                message,
                lifetime: PhantomData,
            })
        }
        PARTITION_EOF => Fetched::End(message.offset),
        // SAFETY: the message lives over the call, which returns a C text that belongs to it.
        error => Fetched::Failed(KafkaError::new(error, unsafe { text(sys::rd_kafka_message_errstr(message)) })),
    }
}

/// # Safety
/// `pointer` is null or points to `size` bytes that live for `'a`.
unsafe fn bytes<'a>(pointer: *const c_void, size: usize) -> Option<&'a [u8]> {
    // SAFETY: not null, and the caller promises the rest.
    if pointer.is_null() { None } else { Some(unsafe { std::slice::from_raw_parts(pointer.cast(), size) }) }
}

/// A queue, released when dropped.
struct QueueHandle(*mut sys::Queue);

impl Drop for QueueHandle {
    fn drop(&mut self) {
        // SAFETY: the queue is ours, and queues are dropped before their client.
        unsafe { sys::rd_kafka_queue_destroy(self.0) };
    }
}
