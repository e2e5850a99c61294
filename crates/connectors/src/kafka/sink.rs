//! The sink: rows become documents and go to a librdkafka producer per worker, which batches and sends them in the background.
//!
//! At-least-once needs to know when *everything up to a checkpoint* is acknowledged while newer records are already on their way. So each
//! record is sent under a tag, the number of the checkpoint interval it belongs to, and the producer adds up acknowledgements by tag:
//!
//! ```text
//! write   write   prepare(7)   write      poll_prepared: done when no tag but the current one has records outstanding
//! tag 3   tag 3   tag := 4     tag 4
//! ```
//! The producer is idempotent: a retry inside librdkafka neither repeats nor reorders a record. A broker that is away is waited for without
//! limit (unless `properties.delivery.timeout.ms` sets one); meanwhile the bytes in flight are bounded and the job stops feeding.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use wiesel_core::sink::{
    CheckpointKind, Prepared, RefusedRow, Sink, SinkContext, SinkCounters, SinkFactory, SinkParallelism, SinkStatus,
};
use wiesel_core::{ChangeBatch, Error, Result};
use wiesel_ffi::kafka::{Client, ClientKind, KafkaError, Producer, code};

use super::cluster::{ClientSettings, Cluster, Trouble};
use super::options::{Delivery, KafkaOptions, Partitioner};
use super::properties::Properties;
use super::reader::{read_header, write_header};
use super::reduce::Reducer;
use crate::formats::{Encoder, EncoderFactory};
use crate::refused;

/// Bytes of records that one sink instance may have in flight, as Java's `buffer.memory`.
const IN_FLIGHT_BYTES_MAX: u64 = 32 << 20;

/// What a record in flight costs beside its bytes.
const RECORD_BYTES: u64 = 200;

/// Java's `max.request.size`; librdkafka's own default is a little lower.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What the sink was told by the planner and the registry.
pub(super) struct KafkaSinkFactory {
    pub(super) table: String,
    pub(super) options: KafkaOptions,
    pub(super) address_map: Vec<(String, String)>,
    pub(super) job_name: String,
    pub(super) encoder: Arc<dyn EncoderFactory>,
    /// Which of a batch's columns go into the key, and its format.
    pub(super) keys: Option<(Vec<usize>, Arc<dyn EncoderFactory>)>,
    /// Which of a batch's columns go into the document.
    pub(super) physical: Vec<usize>,
    /// Which of a batch's columns is the record's time.
    pub(super) timestamp: Option<usize>,
    /// Which of a batch's columns holds the record's headers.
    pub(super) headers: Option<usize>,
    /// Records that Kafka would not take are handed over and do not end the job.
    pub(super) hands_over_refused: bool,
}

impl KafkaSinkFactory {
    pub(super) fn cluster(&self) -> Cluster<'_> {
        Cluster {
            table: &self.table,
            properties: &self.options.properties,
            address_map: &self.address_map,
            job_name: &self.job_name,
        }
    }

    /// What the topic takes in one request: `max.message.bytes`. `None` when the broker does not say it, which needs the right to
    /// describe the topic's settings: then the broker says what is too large when it gets it.
    pub(super) fn topic_bytes_max(&self, client: &Client, topic: &str) -> Option<usize> {
        let value = client.topic_setting(topic, "max.message.bytes", SETTING_WAIT).ok().flatten();
        value.and_then(|value| value.parse().ok())
    }

    /// The settings of a producer for a topic. The client would join records to batches that the topic does not take.
    pub(super) fn client_settings(&self, topic_bytes_max: Option<usize>) -> ClientSettings {
        let mut settings = client_settings(&self.options.properties);
        let batch = self.options.properties.client.iter().rev().find(|(name, _)| name == "batch.size");
        let batch = batch.and_then(|(_, value)| value.parse().ok()).unwrap_or(BATCH_BYTES);
        if let Some(bytes) = topic_bytes_max.filter(|bytes| *bytes < batch) {
            settings.fixed.push(("batch.size", bytes.max(1).to_string()));
        }
        settings
    }

    /// What makes records of one instance's rows.
    pub(super) fn documents(&self, topic_bytes_max: Option<usize>) -> Result<Documents> {
        Ok(Documents {
            table: self.table.clone(),
            topic: self.options.topics.first().cloned().unwrap_or_default(),
            timestamp: self.timestamp,
            headers: self.headers,
            header_bytes: Vec::new(),
            header_ends: Vec::new(),
            values: Part::of(&self.physical, &self.encoder)?,
            keys: self.keys.as_ref().map(|(columns, encoder)| Part::of(columns, encoder)).transpose()?,
            is_upsert: self.options.is_upsert,
            is_deletion: Vec::new(),
            bytes_max: record_bytes_max(&self.options.properties),
            topic_bytes_max: topic_bytes_max.filter(|_| !is_compressed(&self.options.properties)),
            times: None,
        })
    }

    /// What keeps records until a later one of their key may have come.
    pub(super) fn reducer(&self) -> Option<Reducer> {
        self.options.flush.map(Reducer::new)
    }
}

/// One side of records: some columns, encoded.
struct Part {
    columns: Vec<usize>,
    encoder: Box<dyn Encoder>,
    /// The documents of a batch, one behind the other.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Part {
    fn of(columns: &[usize], encoder: &Arc<dyn EncoderFactory>) -> Result<Part> {
        Ok(Part { columns: columns.to_vec(), encoder: encoder.create()?, bytes: Vec::new(), ends: Vec::new() })
    }

    fn encode(&mut self, batch: &ChangeBatch) -> Result<()> {
        let part = ChangeBatch { rows: batch.rows.project(&self.columns)?, kinds: batch.kinds.clone() };
        self.bytes.clear();
        self.ends.clear();
        self.encoder.encode(&part, &mut self.bytes, &mut self.ends)
    }

    fn document(&self, row: usize) -> Option<&[u8]> {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.bytes.get(start..*self.ends.get(row)?)
    }
}

/// A record to be written; without a value it is a tombstone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) time: Option<i64>,
    /// Its headers, in the form of `reader.rs`.
    pub(super) headers: &'a [u8],
}

impl Document<'_> {
    fn bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.headers.len()
    }

    /// What the broker counts when the record is alone in its batch and not compressed.
    fn batch_bytes(&self) -> usize {
        let number = |number: usize| {
            1 + usize::from(number >= 1 << 6) + usize::from(number >= 1 << 13) + usize::from(number >= 1 << 20)
        };
        let part = |part: Option<&[u8]>| part.map_or(1, |part| number(part.len()) + part.len());
        // What headers take there is a little less.
        let record = RECORD_HEAD_BYTES + part(self.key) + part(self.value) + self.headers.len();
        BATCH_HEAD_BYTES + number(record) + record
    }
}

/// A record that is not taken, as a dead letter shows it: its value, or the key of one that has none.
pub(super) fn refused_row(key: Option<&[u8]>, value: Option<&[u8]>, reason: &str) -> RefusedRow {
    refused::row(value.or(key).unwrap_or_default().to_vec(), value.is_none(), reason)
}

/// Rows as records: their keys and values, and their times where a column says them.
pub(super) struct Documents {
    table: String,
    topic: String,
    timestamp: Option<usize>,
    headers: Option<usize>,
    /// The headers of the rows, one row's behind the other's.
    header_bytes: Vec<u8>,
    header_ends: Vec<usize>,
    values: Part,
    keys: Option<Part>,
    /// A row that is taken back is a record without a value.
    is_upsert: bool,
    /// Of upserts: whether the row is taken back.
    is_deletion: Vec<bool>,
    /// What the client sends as one record.
    bytes_max: usize,
    /// What the topic takes as one batch, where that is known and records are not compressed.
    topic_bytes_max: Option<usize>,
    times: Option<Vec<Option<i64>>>,
}

impl Documents {
    /// Takes a batch; what was there before is gone.
    pub(super) fn encode(&mut self, batch: &ChangeBatch) -> Result<()> {
        self.values.encode(batch)?;
        if let Some(keys) = &mut self.keys {
            keys.encode(batch)?;
        }
        self.is_deletion.clear();
        if self.is_upsert && batch.kinds.is_some() {
            self.is_deletion.extend((0..batch.len()).map(|row| !batch.kind(row).is_add()));
        }
        self.header_bytes.clear();
        self.header_ends.clear();
        if let Some(index) = self.headers {
            write_headers(batch.rows.column(index), &mut self.header_bytes, &mut self.header_ends)
                .map_err(|e| e.at(format!("column 'headers' of table `{}`", self.table)))?;
        }
        self.times = self.timestamp.map(|index| record_times(batch.rows.column(index))).transpose()?;
        Ok(())
    }

    /// Why Kafka would not take a record, as far as that is known before it is sent.
    pub(super) fn refusal(&self, document: Document<'_>) -> Option<Error> {
        let (topic, table) = (&self.topic, &self.table);
        if document.time.is_some_and(|time| time < 0) {
            return Some(Error::data(format!(
                "a record for topic `{topic}` (table `{table}`) has a 'timestamp' before 1970, which Kafka does not take"
            )));
        }
        let bytes = document.bytes();
        let too_large = |why: String| {
            Error::data(format!(
                "a record for topic `{topic}` (table `{table}`) is too large: it has {bytes} bytes, {why}"
            ))
            .hint(TOO_LARGE_HINT)
        };
        if bytes > self.bytes_max {
            return Some(too_large(format!("at most {} are sent", self.bytes_max)));
        }
        let topic_bytes_max = self.topic_bytes_max.filter(|max| document.batch_bytes() > *max)?;
        Some(too_large(format!("and the topic's max.message.bytes is {topic_bytes_max}")))
    }

    /// The record of every change.
    pub(super) fn records(&self) -> impl Iterator<Item = Document<'_>> {
        (0..self.values.ends.len()).map(move |row| {
            let is_deletion = self.is_deletion.get(row).copied().unwrap_or(false);
            Document {
                key: self.keys.as_ref().and_then(|keys| keys.document(row)),
                value: if is_deletion { None } else { self.values.document(row) },
                time: self.times.as_ref().and_then(|times| times.get(row).copied().flatten()),
                headers: self.headers_of(row),
            }
        })
    }

    fn headers_of(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).and_then(|before| self.header_ends.get(before)).copied().unwrap_or(0);
        let end = self.header_ends.get(row).copied().unwrap_or(start);
        self.header_bytes.get(start..end).unwrap_or_default()
    }
}

/// What helps against a record that is too large.
pub(super) const TOO_LARGE_HINT: &str = "raise 'properties.max.request.size', and 'max.message.bytes' of the topic";

/// In front of the records of a batch.
const BATCH_HEAD_BYTES: usize = 61;
/// Of a record: attributes, time, place in the batch, number of headers.
const RECORD_HEAD_BYTES: usize = 4;
/// librdkafka's default of `batch.size`.
const BATCH_BYTES: usize = 1_000_000;
/// How long the topic's settings are waited for.
const SETTING_WAIT: Duration = Duration::from_secs(5);

/// What librdkafka counts beside key and value when it compares a record with `message.max.bytes`.
const RECORD_OVERHEAD_BYTES: usize = 36;

/// The largest document that a producer with these properties sends.
fn record_bytes_max(properties: &Properties) -> usize {
    let set = properties.client.iter().rev().find(|(name, _)| name == "message.max.bytes");
    let bytes = set.and_then(|(_, value)| value.parse().ok()).unwrap_or(MESSAGE_BYTES_MAX);
    bytes.saturating_sub(RECORD_OVERHEAD_BYTES)
}

/// The broker compares what a batch takes compressed, which is not known before.
fn is_compressed(properties: &Properties) -> bool {
    let set = properties
        .client
        .iter()
        .rev()
        .find(|(name, _)| matches!(name.as_str(), "compression.codec" | "compression.type"));
    set.is_some_and(|(_, value)| value != "none")
}

/// The settings of every producer.
pub(super) fn client_settings(properties: &Properties) -> ClientSettings {
    let is = |name: &str, wanted: &[&str]| {
        properties.client.iter().rev().find(|(n, _)| n == name).is_none_or(|(_, v)| wanted.contains(&v.as_str()))
    };
    // Java's rule: idempotence is the default unless another property rules it out.
    let is_idempotent = is("acks", &["all", "-1"])
        && !properties.has("request.required.acks")
        && !properties.client.iter().any(|(name, value)| name == "retries" && value == "0")
        && is("max.in.flight.requests.per.connection", &["1", "2", "3", "4", "5"]);
    ClientSettings {
        defaults: vec![
            ("acks", "all".to_owned()),
            ("enable.idempotence", is_idempotent.to_string()),
            ("enable.metrics.push", "false".to_owned()),
            ("message.max.bytes", MESSAGE_BYTES_MAX.to_string()),
            // 0 is "as long as it takes".
            ("message.timeout.ms", "0".to_owned()),
            ("partitioner", "murmur2_random".to_owned()),
        ],
        fixed: vec![
            // The sink bounds the bytes in flight itself; a batch must always find room.
            ("queue.buffering.max.messages", "0".to_owned()),
            ("queue.buffering.max.kbytes", i32::MAX.to_string()),
        ],
    }
}

impl SinkFactory for KafkaSinkFactory {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerWorker
    }

    fn open(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let cluster = self.cluster();
        let waker = context.waker.clone();
        let on_event: Box<dyn Fn() + Send + Sync> = Box::new(move || waker.wake());
        let topic_name = self.options.topics.first().map_or("", String::as_str);
        let asking = cluster.client(ClientKind::Producer, self.client_settings(None), None)?;
        let topic = cluster.topic(&asking, topic_name)?;
        let topic_bytes_max = self.topic_bytes_max(&asking, topic_name);
        drop(asking);
        let client = cluster.client(ClientKind::Producer, self.client_settings(topic_bytes_max), Some(on_event))?;
        client.poll(Duration::ZERO);
        client.take_errors();
        let producer = Producer::new(client, topic_name).map_err(|error| cluster.failed(&error))?;
        let target = Target::new(self.options.partitioner, context.instance, topic.partitions);
        Ok(Box::new(KafkaSink {
            table: self.table.clone(),
            topic: topic_name.to_owned(),
            brokers: cluster.brokers(),
            user: self.options.properties.user.clone(),
            waits_at_checkpoints: self.options.delivery == Delivery::AtLeastOnce,
            in_flight_bytes_max: self.options.properties.buffer_memory.unwrap_or(IN_FLIGHT_BYTES_MAX),
            documents: Some(self.documents(topic_bytes_max)?),
            reducer: self.reducer(),
            flight: Flight::new(producer),
            target,
            must_wait: true,
            hands_over_refused: self.hands_over_refused,
            refused: Vec::new(),
            counters: SinkCounters::default(),
            outage: None,
        }))
    }

    fn commit(&self, _checkpoint: u64, _pending: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }

    fn recover(&self, _restored: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
}

/// Where records go.
pub(super) enum Target {
    Client,
    Fixed(i32),
    RoundRobin { next: usize, partitions: Vec<i32> },
}

impl Target {
    /// For one instance, over the topic's partitions.
    pub(super) fn new(partitioner: Partitioner, instance: usize, partitions: Vec<i32>) -> Target {
        let next = instance % partitions.len().max(1);
        match (partitioner, partitions.get(next)) {
            (Partitioner::Fixed, Some(partition)) => Target::Fixed(*partition),
            (Partitioner::RoundRobin, Some(_)) => Target::RoundRobin { next, partitions },
            _ => Target::Client,
        }
    }

    pub(super) fn next(&mut self) -> Option<i32> {
        match self {
            Target::Client => None,
            Target::Fixed(partition) => Some(*partition),
            Target::RoundRobin { next, partitions } => {
                let partition = partitions.get(*next).copied();
                *next = (*next + 1) % partitions.len().max(1);
                partition
            }
        }
    }
}

/// Records that were sent and not yet acknowledged, by tag.
pub(super) struct Flight {
    producer: Producer,
    tag: usize,
    outstanding: [u64; Producer::TAGS],
    bytes: u64,
}

/// What a look at the delivery reports showed.
pub(super) struct Landed {
    pub(super) acknowledged: u64,
    pub(super) failed: u64,
    pub(super) failure: Option<(KafkaError, i32)>,
}

impl Flight {
    pub(super) fn new(producer: Producer) -> Self {
        Flight { producer, tag: 0, outstanding: [0; Producer::TAGS], bytes: 0 }
    }

    pub(super) fn client(&self) -> &Client {
        self.producer.client()
    }

    pub(super) fn producer(&self) -> &Producer {
        &self.producer
    }

    pub(super) fn send(
        &mut self,
        partition: Option<i32>,
        value: &[u8],
        timestamp_ms: Option<i64>,
    ) -> Result<(), KafkaError> {
        self.send_keyed(partition, None, Some(value), timestamp_ms, &[])
    }

    pub(super) fn send_keyed(
        &mut self,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: Option<i64>,
        headers: &[u8],
    ) -> Result<(), KafkaError> {
        self.producer.send(partition, key, value, timestamp_ms, &named(headers), self.tag)?;
        self.outstanding[self.tag] += 1;
        self.bytes += (key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)) as u64;
        Ok(())
    }

    /// Reads the delivery reports that came, waiting at most `wait` for the first.
    pub(super) fn land(&mut self, wait: Duration) -> Landed {
        self.client().poll(wait);
        let deliveries = self.producer.take_deliveries();
        let mut acknowledged = 0;
        for (tag, count) in &deliveries.acknowledged {
            self.outstanding[*tag] = self.outstanding[*tag].saturating_sub(*count);
            acknowledged += count;
        }
        self.bytes = self.bytes.saturating_sub(deliveries.bytes);
        Landed { acknowledged, failed: deliveries.failed, failure: deliveries.failures.into_iter().next() }
    }

    /// From now on records belong to the next checkpoint.
    fn next_tag(&mut self) {
        self.tag = (self.tag + 1) % Producer::TAGS;
    }

    /// Records of earlier tags that are not acknowledged.
    fn earlier(&self) -> u64 {
        self.total() - self.outstanding[self.tag]
    }

    pub(super) fn total(&self) -> u64 {
        self.outstanding.iter().sum()
    }

    /// Bytes that records in flight take.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.bytes + self.total() * RECORD_BYTES
    }
}

struct KafkaSink {
    table: String,
    topic: String,
    brokers: String,
    user: Option<String>,
    waits_at_checkpoints: bool,
    in_flight_bytes_max: u64,
    /// `None` while it is written.
    documents: Option<Documents>,
    reducer: Option<Reducer>,
    flight: Flight,
    target: Target,
    /// Whether the checkpoint that is being prepared waits for acknowledgements.
    must_wait: bool,
    counters: SinkCounters,
    hands_over_refused: bool,
    /// Records that Kafka would not take, at most those of one step.
    refused: Vec<RefusedRow>,
    /// Why nothing is acknowledged, as far as the client said.
    outage: Option<String>,
}

impl KafkaSink {
    /// Reads delivery reports and looks at the connection.
    fn look(&mut self) -> Result<()> {
        let landed = self.flight.land(Duration::ZERO);
        self.counters.delivered += landed.acknowledged;
        self.counters.refused += landed.failed;
        if let Some((error, partition)) = landed.failure {
            return Err(self.not_delivered(&error, partition));
        }
        if let Some(error) = self.flight.client().fatal_error() {
            return Err(self.not_delivered(&error, -1));
        }
        let mut trouble = Trouble::default();
        trouble.look(self.flight.client());
        // librdkafka reports a lost connection once, so what it said holds until something is acknowledged again.
        if let Some(refusal) = trouble.refusal {
            let user = self.user.as_deref().unwrap_or("(none)");
            self.outage.get_or_insert(format!("{} refuses the user `{user}`: {}", self.brokers, refusal.reason));
        } else if trouble.all_down {
            let reason = trouble.last.map_or(String::new(), |error| format!(": {}", error.reason));
            self.outage.get_or_insert(format!("{} is unreachable{reason}", self.brokers));
        } else if landed.acknowledged > 0 {
            self.outage = None;
        }
        Ok(())
    }

    /// Encodes a batch and sends its records, or keeps them until their flush.
    fn write_documents(&mut self, documents: &mut Documents, batch: &ChangeBatch) -> Result<()> {
        documents.encode(batch)?;
        for document in documents.records() {
            self.counters.received += 1;
            if let Some(error) = documents.refusal(document) {
                if !self.hands_over_refused {
                    return Err(error);
                }
                self.refused.push(refused_row(document.key, document.value, error.message()));
                self.counters.refused += 1;
                continue;
            }
            match (&mut self.reducer, document.key) {
                (Some(reducer), Some(key)) => {
                    let Document { value, time, headers, .. } = document;
                    self.counters.folded += u64::from(reducer.add(key, value, time, headers));
                    if reducer.is_full() {
                        self.flush()?;
                    }
                }
                _ => self.send(document)?,
            }
        }
        Ok(())
    }

    /// Sends what waited for later records of its keys.
    fn flush(&mut self) -> Result<()> {
        let waiting = self.reducer.as_mut().map(Reducer::take).unwrap_or_default();
        for record in &waiting {
            self.send(Document {
                key: Some(&record.key),
                value: record.value.as_deref(),
                time: record.time,
                headers: &record.headers,
            })?;
        }
        Ok(())
    }

    fn send(&mut self, document: Document<'_>) -> Result<()> {
        let Document { key, value, time, headers } = document;
        let sent = self.flight.send_keyed(self.target.next(), key, value, time, headers);
        sent.map_err(|error| self.not_delivered(&error, -1).at(format!("a record of {} bytes", document.bytes())))
    }

    fn not_delivered(&self, error: &KafkaError, partition: i32) -> Error {
        let place = if partition < 0 { self.topic.clone() } else { format!("{}-{partition}", self.topic) };
        let table = &self.table;
        let reason = &error.reason;
        match error.code {
            code::TOPIC_AUTHORIZATION_FAILED | code::CLUSTER_AUTHORIZATION_FAILED => Error::permission(format!(
                "Kafka refuses the user `{}` to write to {place} (table `{table}`): {reason}",
                self.user.as_deref().unwrap_or("(none)")
            ))
            .hint("the user needs the right to write to the topic, and to write idempotently (or 'properties.enable.idempotence' = 'false')"),
            code::MESSAGE_TOO_LARGE => Error::data(format!("a record for {place} (table `{table}`) is too large: {reason}"))
                .hint(TOO_LARGE_HINT),
            _ => Error::unavailable(format!("a record for {place} (table `{table}`) was not delivered: {reason}")),
        }
    }
}

impl Sink for KafkaSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        // Taken out, so that its records can be sent while they are borrowed from it.
        let Some(mut documents) = self.documents.take() else { return Err(Error::internal("the sink is writing")) };
        let written = self.write_documents(&mut documents, batch);
        self.documents = Some(documents);
        written
    }

    fn step_end(&mut self, now_ms: i64) -> Result<SinkStatus> {
        let (is_due, mut due) = self.reducer.as_mut().map_or((false, None), |reducer| reducer.look(now_ms));
        if is_due {
            self.flush()?;
            due = None;
        }
        self.look()?;
        let is_full = self.flight.memory_bytes() >= self.in_flight_bytes_max;
        Ok(if is_full { SinkStatus::Full } else { SinkStatus::Ready(due) })
    }

    fn prepare(&mut self, _checkpoint: u64, kind: CheckpointKind) -> Result<()> {
        self.flush()?;
        self.flight.next_tag();
        // At an end even a sink that promises nothing does not drop what it holds.
        self.must_wait = self.waits_at_checkpoints || kind != CheckpointKind::Periodic;
        Ok(())
    }

    fn poll_prepared(&mut self) -> Result<Option<Prepared>> {
        self.look()?;
        let is_safe = !self.must_wait || self.flight.earlier() == 0;
        Ok(is_safe.then(Prepared::default))
    }

    fn take_refused(&mut self) -> Vec<RefusedRow> {
        std::mem::take(&mut self.refused)
    }

    fn waiting_for(&self) -> Option<String> {
        // Without records in flight nothing is waited for.
        if self.flight.total() > 0 { self.outage.clone() } else { None }
    }

    fn counters(&self) -> SinkCounters {
        self.counters
    }
}

/// Headers as the client takes them; most records have none, and then nothing is allocated.
fn named(mut headers: &[u8]) -> Vec<(CString, Option<&[u8]>)> {
    let mut named = Vec::new();
    while let Some(((name, value), rest)) = read_header(headers) {
        named.push((CString::new(name).unwrap_or_default(), value));
        headers = rest;
    }
    named
}

/// The headers of every row of a MAP column; NULL has none.
fn write_headers(column: &ArrayRef, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
    let wrong = || Error::internal("the column 'headers' is no MAP of texts to bytes");
    let map = column.as_map_opt().ok_or_else(wrong)?;
    let names = map.keys().as_string_opt::<i32>().ok_or_else(wrong)?;
    let values = map.values().as_binary_opt::<i32>().ok_or_else(wrong)?;
    let offsets = map.value_offsets();
    for row in 0..map.len() {
        if map.is_valid(row) {
            for entry in offsets[row] as usize..offsets[row + 1] as usize {
                if names.is_null(entry) || names.value(entry).contains('\0') {
                    return Err(Error::data("the name of a header is NULL or holds a zero byte"));
                }
                let value = values.is_valid(entry).then(|| values.value(entry));
                write_header(bytes, names.value(entry).as_bytes(), value);
            }
        }
        ends.push(bytes.len());
    }
    Ok(())
}

/// A timestamp column in ms; a NULL leaves the time to the producer.
pub(super) fn record_times(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    Ok(match column.data_type() {
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().iter().collect()
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().iter().map(|t| t.map(|t| t.div_euclid(1000))).collect()
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => column
            .as_primitive::<TimestampNanosecondType>()
            .iter()
            .map(|t| t.map(|t| t.div_euclid(1_000_000)))
            .collect(),
        other => return Err(Error::internal(format!("the column 'timestamp' came as {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_chosen_as_the_option_says() {
        let mut round_robin = Target::RoundRobin { next: 1, partitions: vec![0, 1, 2] };
        let chosen: Vec<_> = (0..4).map(|_| round_robin.next()).collect();
        assert_eq!(chosen, [Some(1), Some(2), Some(0), Some(1)]);
        assert_eq!(Target::Fixed(5).next(), Some(5));
        assert_eq!(Target::Client.next(), None);
    }

    #[test]
    fn idempotence_gives_way_to_what_the_user_asks() {
        let cases: &[(&str, &str, &str)] = &[
            ("client.id", "x", "true"),
            ("acks", "-1", "true"),
            ("acks", "1", "false"),
            ("retries", "0", "false"),
            ("max.in.flight.requests.per.connection", "6", "false"),
        ];
        for (name, value, expected) in cases {
            let properties =
                Properties { client: vec![((*name).to_owned(), (*value).to_owned())], ..Properties::default() };
            let settings = client_settings(&properties);
            let found = settings.defaults.iter().find(|(n, _)| *n == "enable.idempotence").map(|(_, v)| v.as_str());
            assert_eq!(found, Some(*expected), "{name}={value}");
        }
    }
}
