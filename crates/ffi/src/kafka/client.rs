//! The client handle that consumer and producer share: configuration, callbacks, and the questions one asks a cluster.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::producer::DeliveryLog;
use super::{KafkaError, buffer_text, code, sys, text, timeout_ms};

/// Errors of the callback that are kept until somebody takes them; older ones are dropped.
const ERRORS_MAX: usize = 32;

/// Space for an error text of librdkafka, as its own examples have it.
const ERROR_TEXT_BYTES: usize = 512;

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// From the broker.
    Consumer,
    /// To the broker.
    Producer,
}

/// Why a client could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// librdkafka has no property of this name.
    UnknownProperty(String),
    /// A property does not take its value. The value itself is in neither field.
    InvalidValue {
        /// The property.
        name: String,
        /// librdkafka's words; empty when they could hold a secret.
        reason: String,
    },
    /// The properties do not go together, or a file that they name cannot be read.
    Refused(String),
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Its partitions, sorted.
    pub partitions: Vec<i32>,
    /// Why it cannot be used, `UNKNOWN_TOPIC_OR_PARTITION` mostly.
    pub error: Option<KafkaError>,
}

/// An offset of a partition, in a question (where it may be a time) or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset; negative for none.
    pub offset: i64,
    /// What went wrong with this partition alone.
    pub error: Option<KafkaError>,
}

/// What the callbacks of a client share with it. librdkafka holds a pointer to it from before `rd_kafka_new` until after the destroy.
pub(super) struct Shared {
    errors: Mutex<VecDeque<KafkaError>>,
    address_map: Vec<(String, String)>,
    commits_pending: AtomicI64,
    commits_failed: AtomicUsize,
    on_event: Option<Box<dyn Fn() + Send + Sync>>,
    pub(super) deliveries: Mutex<DeliveryLog>,
}

impl Shared {
    fn push_error(&self, error: KafkaError) {
        let mut errors = lock(&self.errors);
        if errors.len() == ERRORS_MAX {
            errors.pop_front();
        }
        errors.push_back(error);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection to a cluster. Threads of librdkafka do the work; the handle may be used from any thread.
pub struct Client {
    kind: ClientKind,
    rk: NonNull<sys::Handle>,
    shared: Arc<Shared>,
}

// SAFETY: librdkafka's handle may be used by several threads at once (its own documentation), and `Shared` is synchronised.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// A client with the given properties of librdkafka, later ones overriding earlier ones. Nothing is sent yet.
    ///
    /// `address_map` says where hosts really are: `kafka:9092` -> `127.0.0.1:19092`, or a bare host name on both sides to keep the port.
    /// It holds for bootstrap servers and for the names that brokers advertise alike, because it works on name resolution; names in
    /// certificates are checked against the original name. `on_event` is called by a thread of librdkafka when [`Client::poll`] has
    /// something to do; it must return at once.
    pub fn new(
        kind: ClientKind,
        properties: &[(String, String)],
        address_map: &[(String, String)],
        on_event: Option<Box<dyn Fn() + Send + Sync>>,
    ) -> Result<Client, ConfigError> {
        let conf = Conf::new();
        for (name, value) in properties {
            conf.set(name, value)?;
        }
        let shared = Arc::new(Shared {
            errors: Mutex::default(),
            address_map: address_map.to_vec(),
            commits_pending: AtomicI64::new(0),
            commits_failed: AtomicUsize::new(0),
            on_event,
            deliveries: Mutex::default(),
        });
        conf.set_callbacks(kind, &shared);
        let rk = conf.into_handle(kind)?;
        let client = Client { kind, rk, shared };
        client.enable_events();
        Ok(client)
    }

    /// Which way its messages go.
    pub fn kind(&self) -> ClientKind {
        self.kind
    }

    pub(super) fn handle(&self) -> *mut sys::Handle {
        self.rk.as_ptr()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Runs the callbacks that are due, waiting at most `timeout` for the first. Returns how many ran.
    pub fn poll(&self, timeout: Duration) -> usize {
        // SAFETY: the handle lives as long as `self`.
        let served = unsafe { sys::rd_kafka_poll(self.handle(), timeout_ms(timeout)) };
        usize::try_from(served).unwrap_or(0)
    }

    /// The errors that were reported since the last call, oldest first. Call [`Client::poll`] before.
    pub fn take_errors(&self) -> Vec<KafkaError> {
        lock(&self.shared.errors).drain(..).collect()
    }

    /// The error after which this client cannot go on, if there was one.
    pub fn fatal_error(&self) -> Option<KafkaError> {
        let mut reason = [0u8; ERROR_TEXT_BYTES];
        // SAFETY: the handle lives, and the buffer has the size that is given.
        let error = unsafe { sys::rd_kafka_fatal_error(self.handle(), reason.as_mut_ptr().cast(), reason.len()) };
        (error != 0).then(|| KafkaError::new(error, buffer_text(&reason)))
    }

    /// Describes one topic, or all of them for `None`.
    pub fn metadata(&self, topic: Option<&str>, timeout: Duration) -> Result<Vec<TopicMetadata>, KafkaError> {
        let topic = topic.map(|name| TopicHandle::new(self, name)).transpose()?;
        let only = topic.as_ref().map_or(ptr::null_mut(), TopicHandle::as_ptr);
        let all = c_int::from(topic.is_none());
        let mut metadata: *const sys::Metadata = ptr::null();
        // SAFETY: handle and topic live over the call; on success `metadata` owns a block that is freed below.
        let error = unsafe { sys::rd_kafka_metadata(self.handle(), all, only, &raw mut metadata, timeout_ms(timeout)) };
        if error != 0 || metadata.is_null() {
            return Err(KafkaError::of(if error == 0 { code::TRANSPORT } else { error }));
        }
        // SAFETY: librdkafka filled the block: the arrays have the lengths that stand beside them and the names are C texts.
        let topics = unsafe {
            let block = &*metadata;
            slice(block.topics, block.topic_cnt).iter().map(|topic| topic_metadata(topic)).collect()
        };
        // SAFETY: the block came from rd_kafka_metadata and is not used after this.
        unsafe { sys::rd_kafka_metadata_destroy(metadata) };
        Ok(topics)
    }

    /// For each partition the first offset whose timestamp is at least the one given in `offset`; the special times -2 and -1
    /// ask for the first offset of the log and for its end. An answer of -1 says that no record is so late.
    pub fn offsets_for_times(
        &self,
        times: &[PartitionOffset],
        timeout: Duration,
    ) -> Result<Vec<PartitionOffset>, KafkaError> {
        if times.is_empty() {
            return Ok(Vec::new());
        }
        let list = PartitionList::new(times)?;
        // SAFETY: handle and list live over the call.
        let error = unsafe { sys::rd_kafka_offsets_for_times(self.handle(), list.0, timeout_ms(timeout)) };
        if error == 0 { Ok(list.entries()) } else { Err(KafkaError::of(error)) }
    }

    /// The committed offsets of the client's group; negative where there is none.
    pub fn committed(
        &self,
        partitions: &[PartitionOffset],
        timeout: Duration,
    ) -> Result<Vec<PartitionOffset>, KafkaError> {
        let list = PartitionList::new(partitions)?;
        // SAFETY: handle and list live over the call.
        let error = unsafe { sys::rd_kafka_committed(self.handle(), list.0, timeout_ms(timeout)) };
        if error == 0 { Ok(list.entries()) } else { Err(KafkaError::of(error)) }
    }

    /// Starts to commit offsets for the client's group; the outcome is counted by [`Client::commits_pending`] and
    /// [`Client::take_commits_failed`].
    pub fn commit(&self, offsets: &[PartitionOffset]) -> Result<(), KafkaError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let list = PartitionList::new(offsets)?;
        self.shared.commits_pending.fetch_add(1, Ordering::AcqRel);
        // SAFETY: handle and list live over the call, which copies the list.
        let error = unsafe { sys::rd_kafka_commit(self.handle(), list.0, 1) };
        if error == 0 {
            return Ok(());
        }
        self.shared.commits_pending.fetch_sub(1, Ordering::AcqRel);
        Err(KafkaError::of(error))
    }

    /// Commits whose answer has not come yet.
    pub fn commits_pending(&self) -> usize {
        usize::try_from(self.shared.commits_pending.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// Commits that failed since the last call.
    pub fn take_commits_failed(&self) -> usize {
        self.shared.commits_failed.swap(0, Ordering::AcqRel)
    }

    /// First and end offset of a partition as the last fetch answer told them, without asking the broker; negative when unknown.
    pub fn known_watermarks(&self, topic: &str, partition: i32) -> Option<(i64, i64)> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: handle and name live over the call, and both numbers may be written.
        let error = unsafe {
            sys::rd_kafka_get_watermark_offsets(self.handle(), topic.as_ptr(), partition, &raw mut low, &raw mut high)
        };
        (error == 0).then_some((low, high))
    }

    /// Creates a topic. That it exists already is the error [`code::TOPIC_ALREADY_EXISTS`]. `replication` of -1 is the broker's default.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication: i32,
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        let name = c_text(name)?;
        let mut reason = [0u8; ERROR_TEXT_BYTES];
        // SAFETY: the name lives over the call, the buffer has the size given.
        let topic = unsafe {
            sys::rd_kafka_NewTopic_new(name.as_ptr(), partitions, replication, reason.as_mut_ptr().cast(), reason.len())
        };
        if topic.is_null() {
            return Err(KafkaError::new(code::INVALID_TOPIC, buffer_text(&reason)));
        }
        // SAFETY: the queue is made, used and freed here; the call copies the topic, which is freed right after; default options are a
        // null pointer; the event is freed once it is read.
        unsafe {
            let queue = sys::rd_kafka_queue_new(self.handle());
            let mut topics = [topic];
            sys::rd_kafka_CreateTopics(self.handle(), topics.as_mut_ptr(), topics.len(), ptr::null(), queue);
            sys::rd_kafka_NewTopic_destroy(topic);
            let event = sys::rd_kafka_queue_poll(queue, timeout_ms(timeout));
            let outcome = if event.is_null() {
                Err(KafkaError::of(code::TIMED_OUT))
            } else {
                let outcome = create_topics_outcome(event);
                sys::rd_kafka_event_destroy(event);
                outcome
            };
            sys::rd_kafka_queue_destroy(queue);
            outcome
        }
    }

    /// The value of a topic's setting, `max.message.bytes`. `None`: the broker does not say it.
    pub fn topic_setting(&self, topic: &str, setting: &str, timeout: Duration) -> Result<Option<String>, KafkaError> {
        let topic = c_text(topic)?;
        // SAFETY: the name lives over the call, which copies it.
        let resource = unsafe { sys::rd_kafka_ConfigResource_new(sys::RESOURCE_TOPIC, topic.as_ptr()) };
        if resource.is_null() {
            return Err(KafkaError::of(code::INVALID_TOPIC));
        }
        // SAFETY: the queue is made, used and freed here; the call copies the resource, which is freed right after; default options are
        // a null pointer; the event is freed once it is read.
        unsafe {
            let queue = sys::rd_kafka_queue_new(self.handle());
            let mut resources = [resource];
            sys::rd_kafka_DescribeConfigs(self.handle(), resources.as_mut_ptr(), resources.len(), ptr::null(), queue);
            sys::rd_kafka_ConfigResource_destroy(resource);
            let event = sys::rd_kafka_queue_poll(queue, timeout_ms(timeout));
            let outcome = if event.is_null() {
                Err(KafkaError::of(code::TIMED_OUT))
            } else {
                let outcome = describe_configs_outcome(event, setting);
                sys::rd_kafka_event_destroy(event);
                outcome
            };
            sys::rd_kafka_queue_destroy(queue);
            outcome
        }
    }

    fn enable_events(&self) {
        if self.shared.on_event.is_some() {
            self.set_event_callback(Some(on_queue_event));
        }
    }

    fn set_event_callback(&self, callback: Option<sys::QueueCallback>) {
        // SAFETY: the queue is a counted reference that is given back; the opaque pointer is `Shared`, which outlives the handle, and
        // the callback is taken off in `drop` before either goes.
        unsafe {
            let queue = sys::rd_kafka_queue_get_main(self.handle());
            sys::rd_kafka_queue_cb_event_enable(queue, callback, Arc::as_ptr(&self.shared).cast_mut().cast());
            sys::rd_kafka_queue_destroy(queue);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.set_event_callback(None);
        // SAFETY: consumers and producers release their topics and queues before their client (field order), so nothing refers to the
        // handle any more. After this no callback runs, and only then `shared` is dropped.
        unsafe { sys::rd_kafka_destroy_flags(self.handle(), sys::DESTROY_NO_CONSUMER_CLOSE) };
    }
}

/// Whether librdkafka knows a property and takes its value, as far as that shows without the other properties.
pub fn check_property(name: &str, value: &str) -> Result<(), ConfigError> {
    Conf::new().set(name, value)
}

/// The names of the properties that librdkafka prints with its defaults: enough to find what a misspelt one was meant to be.
pub fn property_names() -> Vec<String> {
    let mut names = Vec::new();
    let mut count = 0usize;
    // SAFETY: both configurations are made and freed here; the dumps are arrays of `count` C texts, name and value in turn, that are
    // freed with the same count.
    unsafe {
        let conf = sys::rd_kafka_conf_new();
        let dump = sys::rd_kafka_conf_dump(conf, &raw mut count);
        names.extend((0..count).step_by(2).map(|i| text(*dump.add(i))));
        sys::rd_kafka_conf_dump_free(dump, count);
        sys::rd_kafka_conf_destroy(conf);
        let conf = sys::rd_kafka_topic_conf_new();
        let dump = sys::rd_kafka_topic_conf_dump(conf, &raw mut count);
        names.extend((0..count).step_by(2).map(|i| text(*dump.add(i))));
        sys::rd_kafka_conf_dump_free(dump, count);
        sys::rd_kafka_topic_conf_destroy(conf);
    }
    names.sort();
    names.dedup();
    names
}

/// A configuration that is freed unless a handle took it over.
struct Conf(*mut sys::Conf);

impl Conf {
    fn new() -> Self {
        // SAFETY: no preconditions.
        Conf(unsafe { sys::rd_kafka_conf_new() })
    }

    fn set(&self, name: &str, value: &str) -> Result<(), ConfigError> {
        let invalid = |reason| ConfigError::InvalidValue { name: name.to_owned(), reason };
        let (Ok(c_name), Ok(c_value)) = (CString::new(name), CString::new(value)) else {
            return Err(invalid("it holds a NUL character".to_owned()));
        };
        let mut reason = [0u8; ERROR_TEXT_BYTES];
        // SAFETY: the configuration lives, the texts live over the call, the buffer has the size given.
        let outcome = unsafe {
            sys::rd_kafka_conf_set(self.0, c_name.as_ptr(), c_value.as_ptr(), reason.as_mut_ptr().cast(), reason.len())
        };
        match outcome {
            sys::CONF_OK => Ok(()),
            sys::CONF_UNKNOWN => Err(ConfigError::UnknownProperty(name.to_owned())),
            _ if is_secret(name) => Err(invalid(String::new())),
            _ => Err(invalid(buffer_text(&reason))),
        }
    }

    fn set_callbacks(&self, kind: ClientKind, shared: &Arc<Shared>) {
        // SAFETY: the configuration lives. The opaque pointer is kept alive by the client until after the handle is destroyed, and if no
        // handle is made, no callback ever runs with it but the log's, within `rd_kafka_new`, while the caller still holds the Arc.
        unsafe {
            sys::rd_kafka_conf_set_opaque(self.0, Arc::as_ptr(shared).cast_mut().cast());
            sys::rd_kafka_conf_set_error_cb(self.0, Some(on_error));
            sys::rd_kafka_conf_set_log_cb(self.0, Some(on_log));
            if !shared.address_map.is_empty() {
                sys::rd_kafka_conf_set_resolve_cb(self.0, Some(on_resolve));
            }
            match kind {
                ClientKind::Consumer => sys::rd_kafka_conf_set_offset_commit_cb(self.0, Some(on_commit)),
                ClientKind::Producer => sys::rd_kafka_conf_set_dr_msg_cb(self.0, Some(super::producer::on_delivery)),
            }
        }
    }

    fn into_handle(mut self, kind: ClientKind) -> Result<NonNull<sys::Handle>, ConfigError> {
        let kind = match kind {
            ClientKind::Consumer => sys::CONSUMER,
            ClientKind::Producer => sys::PRODUCER,
        };
        let mut reason = [0u8; ERROR_TEXT_BYTES];
        // SAFETY: the configuration lives and belongs to the handle after success; the buffer has the size given.
        let rk = unsafe { sys::rd_kafka_new(kind, self.0, reason.as_mut_ptr().cast(), reason.len()) };
        let rk = NonNull::new(rk).ok_or_else(|| ConfigError::Refused(buffer_text(&reason)))?;
        self.0 = ptr::null_mut();
        Ok(rk)
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: still ours, since no handle took it over.
            unsafe { sys::rd_kafka_conf_destroy(self.0) };
        }
    }
}

/// Whether librdkafka's words about a bad value could repeat a secret.
fn is_secret(name: &str) -> bool {
    ["password", "key", "pem", "secret", "token"].iter().any(|part| name.contains(part))
}

/// A reference to a topic of a client, given back when dropped.
pub(super) struct TopicHandle(*mut sys::Topic);

impl TopicHandle {
    pub(super) fn new(client: &Client, name: &str) -> Result<Self, KafkaError> {
        let name = c_text(name)?;
        // SAFETY: the handle lives, the name lives over the call, a null configuration is the default one.
        let rkt = unsafe { sys::rd_kafka_topic_new(client.handle(), name.as_ptr(), ptr::null_mut()) };
        // SAFETY: no preconditions.
        if rkt.is_null() { Err(KafkaError::of(unsafe { sys::rd_kafka_last_error() })) } else { Ok(TopicHandle(rkt)) }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::Topic {
        self.0
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and topics are dropped before their client.
        unsafe { sys::rd_kafka_topic_destroy(self.0) };
    }
}

// SAFETY: a topic reference may be used by several threads at once, as the handle it belongs to.
unsafe impl Send for TopicHandle {}

/// A list of partitions with offsets, freed when dropped.
pub(super) struct PartitionList(*mut sys::TopicPartitionList);

impl PartitionList {
    pub(super) fn as_ptr(&self) -> *mut sys::TopicPartitionList {
        self.0
    }

    pub(super) fn new(entries: &[PartitionOffset]) -> Result<Self, KafkaError> {
        // SAFETY: no preconditions; the size is a hint.
        let list = PartitionList(unsafe {
            sys::rd_kafka_topic_partition_list_new(c_int::try_from(entries.len()).unwrap_or(0))
        });
        for entry in entries {
            let topic = c_text(&entry.topic)?;
            // SAFETY: the list lives, the name is copied; the new element stays where it is until the next one is added.
            unsafe {
                let element = sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), entry.partition);
                (*element).offset = entry.offset;
            }
        }
        Ok(list)
    }

    pub(super) fn entries(&self) -> Vec<PartitionOffset> {
        // SAFETY: the list has `cnt` elements whose names are C texts.
        unsafe {
            let list = &*self.0;
            slice(list.elems, list.cnt)
                .iter()
                .map(|element| PartitionOffset {
                    topic: text(element.topic),
                    partition: element.partition,
                    offset: element.offset,
                    error: (element.err != 0).then(|| KafkaError::of(element.err)),
                })
                .collect()
        }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: the list is ours and used nowhere else.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

fn c_text(name: &str) -> Result<CString, KafkaError> {
    CString::new(name)
        .map_err(|_| KafkaError::new(code::INVALID_TOPIC, "a topic name holds a NUL character".to_owned()))
}

/// An array of C with its length; a null pointer is an empty one.
///
/// # Safety
/// `pointer` is null or points to `count` initialised elements that live for `'a`.
unsafe fn slice<'a, T>(pointer: *const T, count: c_int) -> &'a [T] {
    let count = usize::try_from(count).unwrap_or(0);
    if pointer.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller promises it.
    unsafe { std::slice::from_raw_parts(pointer, count) }
}

/// # Safety
/// `topic` is an element of a metadata block of librdkafka.
unsafe fn topic_metadata(topic: &sys::MetadataTopic) -> TopicMetadata {
    // SAFETY: array and length belong together, and the name is a C text.
    let (partitions, name) = unsafe { (slice(topic.partitions, topic.partition_cnt), text(topic.topic)) };
    let mut partitions: Vec<i32> = partitions.iter().map(|p| p.id).collect();
    partitions.sort_unstable();
    TopicMetadata { name, partitions, error: (topic.err != 0).then(|| KafkaError::of(topic.err)) }
}

/// # Safety
/// `event` is the answer to `rd_kafka_CreateTopics`.
unsafe fn create_topics_outcome(event: *mut sys::Event) -> Result<(), KafkaError> {
    // SAFETY: the event lives; what is read from it belongs to it, and the array has `count` elements.
    unsafe {
        let error = sys::rd_kafka_event_error(event);
        if error != 0 {
            return Err(KafkaError::new(error, text(sys::rd_kafka_event_error_string(event))));
        }
        let result = sys::rd_kafka_event_CreateTopics_result(event);
        if result.is_null() {
            return Err(KafkaError::of(code::TIMED_OUT));
        }
        let mut count = 0usize;
        let topics = sys::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
        for index in 0..count {
            let topic = *topics.add(index);
            let error = sys::rd_kafka_topic_result_error(topic);
            if error != 0 {
                return Err(KafkaError::new(error, text(sys::rd_kafka_topic_result_error_string(topic))));
            }
        }
    }
    Ok(())
}

/// The value of one setting in the answer to a question for a topic's settings.
unsafe fn describe_configs_outcome(event: *mut sys::Event, setting: &str) -> Result<Option<String>, KafkaError> {
    // SAFETY: the event lives; what is read from it belongs to it, and the arrays have the counted numbers of elements. A value may be
    // missing, a name not.
    unsafe {
        let error = sys::rd_kafka_event_error(event);
        if error != 0 {
            return Err(KafkaError::new(error, text(sys::rd_kafka_event_error_string(event))));
        }
        let result = sys::rd_kafka_event_DescribeConfigs_result(event);
        if result.is_null() {
            return Err(KafkaError::of(code::TIMED_OUT));
        }
        let mut count = 0usize;
        let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
        for index in 0..count {
            let resource = *resources.add(index);
            let error = sys::rd_kafka_ConfigResource_error(resource);
            if error != 0 {
                return Err(KafkaError::new(error, text(sys::rd_kafka_ConfigResource_error_string(resource))));
            }
            let mut entry_count = 0usize;
            let entries = sys::rd_kafka_ConfigResource_configs(resource, &raw mut entry_count);
            for index in 0..entry_count {
                let entry = *entries.add(index);
                let value = sys::rd_kafka_ConfigEntry_value(entry);
                if !value.is_null() && text(sys::rd_kafka_ConfigEntry_name(entry)) == setting {
                    return Ok(Some(text(value)));
                }
            }
        }
    }
    Ok(None)
}

/// The error callback: runs in [`Client::poll`] or in a fetch.
unsafe extern "C" fn on_error(rk: *mut sys::Handle, error: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: the opaque pointer is the `Shared` of this client, alive while the handle is; the reason is a C text.
    let (shared, reason) = unsafe { (&*opaque.cast::<Shared>(), text(reason)) };
    if error == code::FATAL {
        let mut detail = [0u8; ERROR_TEXT_BYTES];
        // SAFETY: the handle lives during its callback, and the buffer has the size given.
        let cause = unsafe { sys::rd_kafka_fatal_error(rk, detail.as_mut_ptr().cast(), detail.len()) };
        shared.push_error(KafkaError::new(code::FATAL, format!("{} ({cause})", buffer_text(&detail))));
    } else {
        shared.push_error(KafkaError::new(error, reason));
    }
}

/// The log callback. Whatever matters in the log comes as an error too, so lines are dropped rather than printed to stderr.
unsafe extern "C" fn on_log(_: *const sys::Handle, _: c_int, _: *const c_char, _: *const c_char) {}

/// The answer to an offset commit: runs in [`Client::poll`].
unsafe extern "C" fn on_commit(
    _: *mut sys::Handle,
    error: c_int,
    _: *mut sys::TopicPartitionList,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque pointer is the `Shared` of this client, alive while the handle is.
    let shared = unsafe { &*opaque.cast::<Shared>() };
    shared.commits_pending.fetch_sub(1, Ordering::AcqRel);
    if error != 0 {
        shared.commits_failed.fetch_add(1, Ordering::AcqRel);
    }
}

/// Something was put into the empty main queue: runs in a thread of librdkafka.
unsafe extern "C" fn on_queue_event(_: *mut sys::Handle, opaque: *mut c_void) {
    // SAFETY: the opaque pointer is the `Shared` of this client; the callback is taken off before it goes.
    let shared = unsafe { &*opaque.cast::<Shared>() };
    if let Some(on_event) = &shared.on_event {
        on_event();
    }
}

/// Name resolution with the address map; all-null arguments ask to free a result.
unsafe extern "C" fn on_resolve(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
    opaque: *mut c_void,
) -> c_int {
    if node.is_null() && service.is_null() {
        // SAFETY: librdkafka gives back a list that getaddrinfo made below.
        unsafe { libc::freeaddrinfo(*result) };
        return 0;
    }
    // SAFETY: the opaque pointer is the `Shared` of this client, alive while the handle is; both texts are C texts or null.
    let (shared, host, port) = unsafe { (&*opaque.cast::<Shared>(), text(node), text(service)) };
    let mapped = map_address(&shared.address_map, &host, &port);
    let (host, port) = match &mapped {
        Some((host, port)) => (CString::new(host.as_str()), CString::new(port.as_str())),
        None => (CString::new(host), CString::new(port)),
    };
    let (Ok(host), Ok(port)) = (host, port) else { return libc::EAI_NONAME };
    // SAFETY: the texts live over the call; hints and result are librdkafka's own, made for getaddrinfo.
    unsafe { libc::getaddrinfo(host.as_ptr(), port.as_ptr(), hints, result) }
}

/// Where `host:port` is mapped to: an entry with a port wins over one that names the host alone.
fn map_address(map: &[(String, String)], host: &str, port: &str) -> Option<(String, String)> {
    let whole = format!("{host}:{port}");
    let entry = map.iter().find(|(from, _)| from.eq_ignore_ascii_case(&whole));
    let entry = entry.or_else(|| map.iter().find(|(from, _)| from.eq_ignore_ascii_case(host)));
    let (_, to) = entry?;
    let (to_host, to_port) = match to.rsplit_once(':') {
        Some((to_host, to_port)) if !to_port.is_empty() && to_port.bytes().all(|b| b.is_ascii_digit()) => {
            (to_host, to_port)
        }
        _ => (to.as_str(), port),
    };
    Some((to_host.trim_start_matches('[').trim_end_matches(']').to_owned(), to_port.to_owned()))
}

/// Texts compare as C texts without a copy: used where a name is looked up by pointer.
pub(super) fn same_name(pointer: *const c_char, name: &str) -> bool {
    if pointer.is_null() {
        return false;
    }
    // SAFETY: callers pass names of topics that librdkafka keeps alive while the topic is referred to.
    unsafe { CStr::from_ptr(pointer) }.to_bytes() == name.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_mapped_whole_or_by_its_host() {
        let map = vec![
            ("kafka:9092".to_owned(), "127.0.0.1:19092".to_owned()),
            ("broker".to_owned(), "10.0.0.7".to_owned()),
            ("six".to_owned(), "[::1]:9".to_owned()),
        ];
        let cases = [
            ("kafka", "9092", "127.0.0.1 19092"),
            ("KAFKA", "9092", "127.0.0.1 19092"),
            ("kafka", "9093", "not mapped"),
            ("broker", "9094", "10.0.0.7 9094"),
            ("six", "1", "::1 9"),
            ("other", "9092", "not mapped"),
        ];
        for (host, port, expected) in cases {
            let found = map_address(&map, host, port).map_or("not mapped".to_owned(), |(h, p)| format!("{h} {p}"));
            assert_eq!(found, expected, "{host}:{port}");
        }
    }

    #[test]
    fn a_property_that_librdkafka_does_not_know_or_take_is_told_apart() {
        let client = |name: &str, value: &str| {
            Client::new(ClientKind::Consumer, &[(name.to_owned(), value.to_owned())], &[], None).err()
        };
        assert_eq!(client("client.id", "x"), None);
        assert_eq!(client("clint.id", "x"), Some(ConfigError::UnknownProperty("clint.id".to_owned())));
        let error = client("socket.timeout.ms", "soon");
        assert!(
            matches!(&error, Some(ConfigError::InvalidValue { name, .. }) if name == "socket.timeout.ms"),
            "{error:?}"
        );
        let error = client("ssl.ca.location", "/nowhere/ca.pem");
        assert!(error.is_none() || matches!(error, Some(ConfigError::Refused(_))));
        assert!(property_names().iter().any(|n| n == "client.id"));
        assert!(property_names().iter().any(|n| n == "message.timeout.ms"));
    }

    #[test]
    fn an_unreachable_broker_is_reported_by_the_error_callback() {
        // Port 1 of the loopback address refuses connections at once.
        let properties = [("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())];
        let client = Client::new(ClientKind::Consumer, &properties, &[], None).expect("properties are right");
        assert!(client.metadata(None, Duration::from_millis(300)).is_err());
        client.poll(Duration::from_secs(5));
        let codes: Vec<i32> = client.take_errors().iter().map(|e| e.code).collect();
        assert!(codes.contains(&code::TRANSPORT) || codes.contains(&code::ALL_BROKERS_DOWN), "{codes:?}");
    }
}
