//! The part of `rdkafka.h` that is used here, declared by hand. Error codes and other enums are plain `c_int`.

use std::ffi::{c_char, c_int, c_void};

// Links the static library that this crate builds; its generated bindings are not used.
use rdkafka_sys as _;

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
    Handle,
    Conf,
    Topic,
    TopicConf,
    Queue,
    Event,
    NewTopic,
    TopicResult,
    TopicsResult,
    AdminOptions,
    ConfigResource,
    ConfigEntry,
    DescribeConfigsResult,
    KafkaErrorObject,
    Headers,
    GroupMetadata
);

/// The kind of resource whose settings are asked for.
pub(super) const RESOURCE_TOPIC: c_int = 2;

pub(super) const PRODUCER: c_int = 0;
pub(super) const CONSUMER: c_int = 1;

pub(super) const CONF_UNKNOWN: c_int = -2;
pub(super) const CONF_OK: c_int = 0;

pub(super) const MSG_F_COPY: c_int = 2;
pub(super) const PARTITION_ANY: i32 = -1;
pub(super) const DESTROY_NO_CONSUMER_CLOSE: c_int = 8;
pub(super) const PURGE_QUEUE: c_int = 1;
pub(super) const PURGE_INFLIGHT: c_int = 2;

pub(super) const VTYPE_RKT: c_int = 2;
pub(super) const VTYPE_PARTITION: c_int = 3;
pub(super) const VTYPE_VALUE: c_int = 4;
pub(super) const VTYPE_KEY: c_int = 5;
pub(super) const VTYPE_OPAQUE: c_int = 6;
pub(super) const VTYPE_MSGFLAGS: c_int = 7;
pub(super) const VTYPE_TIMESTAMP: c_int = 8;
pub(super) const VTYPE_HEADER: c_int = 9;

#[repr(C)]
pub(super) struct RawMessage {
    pub(super) err: c_int,
    pub(super) rkt: *mut Topic,
    pub(super) partition: i32,
    pub(super) payload: *mut c_void,
    pub(super) len: usize,
    pub(super) key: *mut c_void,
    pub(super) key_len: usize,
    pub(super) offset: i64,
    pub(super) private: *mut c_void,
}

#[repr(C)]
pub(super) struct TopicPartition {
    pub(super) topic: *mut c_char,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) metadata: *mut c_void,
    pub(super) metadata_size: usize,
    pub(super) opaque: *mut c_void,
    pub(super) err: c_int,
    pub(super) private: *mut c_void,
}

#[repr(C)]
pub(super) struct TopicPartitionList {
    pub(super) cnt: c_int,
    pub(super) size: c_int,
    pub(super) elems: *mut TopicPartition,
}

#[repr(C)]
pub(super) struct MetadataPartition {
    pub(super) id: i32,
    pub(super) err: c_int,
    pub(super) leader: i32,
    pub(super) replica_cnt: c_int,
    pub(super) replicas: *mut i32,
    pub(super) isr_cnt: c_int,
    pub(super) isrs: *mut i32,
}

#[repr(C)]
pub(super) struct MetadataTopic {
    pub(super) topic: *mut c_char,
    pub(super) partition_cnt: c_int,
    pub(super) partitions: *mut MetadataPartition,
    pub(super) err: c_int,
}

#[repr(C)]
pub(super) struct Metadata {
    pub(super) broker_cnt: c_int,
    pub(super) brokers: *mut c_void,
    pub(super) topic_cnt: c_int,
    pub(super) topics: *mut MetadataTopic,
    pub(super) orig_broker_id: i32,
    pub(super) orig_broker_name: *mut c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) ptr: *const c_void,
    pub(super) size: usize,
}

/// Bytes with a name, which ends at its first zero byte.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct NamedMemory {
    pub(super) name: *const c_char,
    pub(super) ptr: *const c_void,
    pub(super) size: isize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union ArgumentValue {
    pub(super) rkt: *mut Topic,
    pub(super) int: c_int,
    pub(super) int32: i32,
    pub(super) int64: i64,
    pub(super) mem: Memory,
    pub(super) header: NamedMemory,
    pub(super) ptr: *mut c_void,
    pub(super) pad: [u8; 64],
}

/// One named argument of `rd_kafka_produceva`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Argument {
    pub(super) vtype: c_int,
    pub(super) value: ArgumentValue,
}

pub(super) type ErrorCallback = unsafe extern "C" fn(*mut Handle, c_int, *const c_char, *mut c_void);
pub(super) type LogCallback = unsafe extern "C" fn(*const Handle, c_int, *const c_char, *const c_char);
pub(super) type DeliveryCallback = unsafe extern "C" fn(*mut Handle, *const RawMessage, *mut c_void);
pub(super) type CommitCallback = unsafe extern "C" fn(*mut Handle, c_int, *mut TopicPartitionList, *mut c_void);
pub(super) type QueueCallback = unsafe extern "C" fn(*mut Handle, *mut c_void);
pub(super) type ResolveCallback = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const libc::addrinfo,
    *mut *mut libc::addrinfo,
    *mut c_void,
) -> c_int;

unsafe extern "C" {
    pub(super) fn rd_kafka_conf_new() -> *mut Conf;
    pub(super) fn rd_kafka_conf_destroy(conf: *mut Conf);
    pub(super) fn rd_kafka_conf_set(
        conf: *mut Conf,
        name: *const c_char,
        value: *const c_char,
        errstr: *mut c_char,
        errstr_size: usize,
    ) -> c_int;
    pub(super) fn rd_kafka_conf_set_opaque(conf: *mut Conf, opaque: *mut c_void);
    pub(super) fn rd_kafka_conf_set_error_cb(conf: *mut Conf, callback: Option<ErrorCallback>);
    pub(super) fn rd_kafka_conf_set_log_cb(conf: *mut Conf, callback: Option<LogCallback>);
    pub(super) fn rd_kafka_conf_set_dr_msg_cb(conf: *mut Conf, callback: Option<DeliveryCallback>);
    pub(super) fn rd_kafka_conf_set_offset_commit_cb(conf: *mut Conf, callback: Option<CommitCallback>);
    pub(super) fn rd_kafka_conf_set_resolve_cb(conf: *mut Conf, callback: Option<ResolveCallback>);
    pub(super) fn rd_kafka_conf_dump(conf: *mut Conf, count: *mut usize) -> *mut *const c_char;
    pub(super) fn rd_kafka_topic_conf_new() -> *mut TopicConf;
    pub(super) fn rd_kafka_topic_conf_destroy(conf: *mut TopicConf);
    pub(super) fn rd_kafka_topic_conf_dump(conf: *mut TopicConf, count: *mut usize) -> *mut *const c_char;
    pub(super) fn rd_kafka_conf_dump_free(array: *mut *const c_char, count: usize);
    pub(super) fn rd_kafka_new(kind: c_int, conf: *mut Conf, errstr: *mut c_char, errstr_size: usize) -> *mut Handle;
    pub(super) fn rd_kafka_destroy_flags(rk: *mut Handle, flags: c_int);
    pub(super) fn rd_kafka_poll(rk: *mut Handle, timeout_ms: c_int) -> c_int;
    pub(super) fn rd_kafka_err2str(code: c_int) -> *const c_char;
    pub(super) fn rd_kafka_fatal_error(rk: *mut Handle, errstr: *mut c_char, errstr_size: usize) -> c_int;
    pub(super) fn rd_kafka_last_error() -> c_int;

    pub(super) fn rd_kafka_topic_new(rk: *mut Handle, topic: *const c_char, conf: *mut TopicConf) -> *mut Topic;
    pub(super) fn rd_kafka_topic_destroy(rkt: *mut Topic);
    pub(super) fn rd_kafka_topic_name(rkt: *const Topic) -> *const c_char;
    pub(super) fn rd_kafka_metadata(
        rk: *mut Handle,
        all_topics: c_int,
        only_rkt: *mut Topic,
        metadata: *mut *const Metadata,
        timeout_ms: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_metadata_destroy(metadata: *const Metadata);

    pub(super) fn rd_kafka_topic_partition_list_new(size: c_int) -> *mut TopicPartitionList;
    pub(super) fn rd_kafka_topic_partition_list_destroy(list: *mut TopicPartitionList);
    pub(super) fn rd_kafka_topic_partition_list_add(
        list: *mut TopicPartitionList,
        topic: *const c_char,
        partition: i32,
    ) -> *mut TopicPartition;
    pub(super) fn rd_kafka_offsets_for_times(
        rk: *mut Handle,
        list: *mut TopicPartitionList,
        timeout_ms: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_committed(rk: *mut Handle, list: *mut TopicPartitionList, timeout_ms: c_int) -> c_int;
    pub(super) fn rd_kafka_commit(rk: *mut Handle, list: *const TopicPartitionList, is_async: c_int) -> c_int;
    pub(super) fn rd_kafka_get_watermark_offsets(
        rk: *mut Handle,
        topic: *const c_char,
        partition: i32,
        low: *mut i64,
        high: *mut i64,
    ) -> c_int;

    pub(super) fn rd_kafka_queue_new(rk: *mut Handle) -> *mut Queue;
    pub(super) fn rd_kafka_queue_destroy(queue: *mut Queue);
    pub(super) fn rd_kafka_queue_get_main(rk: *mut Handle) -> *mut Queue;
    pub(super) fn rd_kafka_queue_cb_event_enable(
        queue: *mut Queue,
        callback: Option<QueueCallback>,
        opaque: *mut c_void,
    );
    pub(super) fn rd_kafka_queue_poll(queue: *mut Queue, timeout_ms: c_int) -> *mut Event;
    pub(super) fn rd_kafka_consume_start_queue(
        rkt: *mut Topic,
        partition: i32,
        offset: i64,
        queue: *mut Queue,
    ) -> c_int;
    pub(super) fn rd_kafka_consume_stop(rkt: *mut Topic, partition: i32) -> c_int;
    pub(super) fn rd_kafka_consume_batch_queue(
        queue: *mut Queue,
        timeout_ms: c_int,
        messages: *mut *mut RawMessage,
        messages_size: usize,
    ) -> isize;
    pub(super) fn rd_kafka_message_destroy(message: *mut RawMessage);
    pub(super) fn rd_kafka_message_errstr(message: *const RawMessage) -> *const c_char;
    pub(super) fn rd_kafka_message_timestamp(message: *const RawMessage, kind: *mut c_int) -> i64;
    pub(super) fn rd_kafka_message_headers(message: *const RawMessage, headers: *mut *mut Headers) -> c_int;
    pub(super) fn rd_kafka_header_get_all(
        headers: *const Headers,
        index: usize,
        name: *mut *const c_char,
        value: *mut *const c_void,
        size: *mut usize,
    ) -> c_int;

    pub(super) fn rd_kafka_produce(
        rkt: *mut Topic,
        partition: i32,
        flags: c_int,
        payload: *mut c_void,
        len: usize,
        key: *const c_void,
        key_len: usize,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn rd_kafka_produceva(
        rk: *mut Handle,
        arguments: *const Argument,
        count: usize,
    ) -> *mut KafkaErrorObject;
    pub(super) fn rd_kafka_error_code(error: *const KafkaErrorObject) -> c_int;
    pub(super) fn rd_kafka_error_string(error: *const KafkaErrorObject) -> *const c_char;
    pub(super) fn rd_kafka_error_is_retriable(error: *const KafkaErrorObject) -> c_int;
    pub(super) fn rd_kafka_error_txn_requires_abort(error: *const KafkaErrorObject) -> c_int;
    pub(super) fn rd_kafka_init_transactions(rk: *mut Handle, timeout_ms: c_int) -> *mut KafkaErrorObject;
    pub(super) fn rd_kafka_begin_transaction(rk: *mut Handle) -> *mut KafkaErrorObject;
    pub(super) fn rd_kafka_send_offsets_to_transaction(
        rk: *mut Handle,
        offsets: *const TopicPartitionList,
        group: *const GroupMetadata,
        timeout_ms: c_int,
    ) -> *mut KafkaErrorObject;
    pub(super) fn rd_kafka_commit_transaction(rk: *mut Handle, timeout_ms: c_int) -> *mut KafkaErrorObject;
    pub(super) fn rd_kafka_abort_transaction(rk: *mut Handle, timeout_ms: c_int) -> *mut KafkaErrorObject;
    pub(super) fn rd_kafka_consumer_group_metadata_new(group: *const c_char) -> *mut GroupMetadata;
    pub(super) fn rd_kafka_consumer_group_metadata_destroy(group: *mut GroupMetadata);
    pub(super) fn rd_kafka_error_destroy(error: *mut KafkaErrorObject);
    pub(super) fn rd_kafka_purge(rk: *mut Handle, flags: c_int) -> c_int;

    pub(super) fn rd_kafka_NewTopic_new(
        topic: *const c_char,
        partitions: c_int,
        replication_factor: c_int,
        errstr: *mut c_char,
        errstr_size: usize,
    ) -> *mut NewTopic;
    pub(super) fn rd_kafka_NewTopic_destroy(topic: *mut NewTopic);
    pub(super) fn rd_kafka_CreateTopics(
        rk: *mut Handle,
        topics: *mut *mut NewTopic,
        count: usize,
        options: *const AdminOptions,
        queue: *mut Queue,
    );
    pub(super) fn rd_kafka_event_error(event: *mut Event) -> c_int;
    pub(super) fn rd_kafka_event_error_string(event: *mut Event) -> *const c_char;
    pub(super) fn rd_kafka_event_CreateTopics_result(event: *mut Event) -> *const TopicsResult;
    pub(super) fn rd_kafka_CreateTopics_result_topics(
        result: *const TopicsResult,
        count: *mut usize,
    ) -> *mut *const TopicResult;
    pub(super) fn rd_kafka_topic_result_error(result: *const TopicResult) -> c_int;
    pub(super) fn rd_kafka_topic_result_error_string(result: *const TopicResult) -> *const c_char;
    pub(super) fn rd_kafka_event_destroy(event: *mut Event);

    pub(super) fn rd_kafka_ConfigResource_new(kind: c_int, name: *const c_char) -> *mut ConfigResource;
    pub(super) fn rd_kafka_ConfigResource_destroy(resource: *mut ConfigResource);
    pub(super) fn rd_kafka_DescribeConfigs(
        rk: *mut Handle,
        resources: *mut *mut ConfigResource,
        count: usize,
        options: *const AdminOptions,
        queue: *mut Queue,
    );
    pub(super) fn rd_kafka_event_DescribeConfigs_result(event: *mut Event) -> *const DescribeConfigsResult;
    pub(super) fn rd_kafka_DescribeConfigs_result_resources(
        result: *const DescribeConfigsResult,
        count: *mut usize,
    ) -> *mut *const ConfigResource;
    pub(super) fn rd_kafka_ConfigResource_error(resource: *const ConfigResource) -> c_int;
    pub(super) fn rd_kafka_ConfigResource_error_string(resource: *const ConfigResource) -> *const c_char;
    pub(super) fn rd_kafka_ConfigResource_configs(
        resource: *const ConfigResource,
        count: *mut usize,
    ) -> *mut *const ConfigEntry;
    pub(super) fn rd_kafka_ConfigEntry_name(entry: *const ConfigEntry) -> *const c_char;
    pub(super) fn rd_kafka_ConfigEntry_value(entry: *const ConfigEntry) -> *const c_char;
}
