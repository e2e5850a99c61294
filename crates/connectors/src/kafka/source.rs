//! The source: one librdkafka consumer reads all partitions of the table's topics, and every poll hands over what arrived as one arena
//! per partition.
//!
//! ```text
//! open   metadata -> partitions -> first and end offsets -> start (and, when bounded, end) of each -> consumption starts
//! poll   up to BATCH_MESSAGES_MAX messages a call, copied into the arena of their partition -> one RawBatch per partition
//! ```
//! Partitions are assigned by the source itself; a consumer group only holds offsets for others to look at. A position that the log no
//! longer holds is an error that names the lost range, because going on silently would be a wrong answer; the user can ask for a reset.
//!
//! A partition ends (bounded mode) when a record at or behind its end shows up, or when the reader stands at the log's end at or behind
//! it: the last offsets before an end may be transaction markers or compacted away, so no record need ever carry them.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wiesel_core::env::monotonic;
use wiesel_core::source::{RawBatch, RawRecord, Source, SourceContext, SourceEvent, Split, SplitIndex};
use wiesel_core::{Error, Result};
use wiesel_ffi::kafka::{
    BATCH_MESSAGES_MAX, Client, ClientKind, Consumer, Fetched, KafkaError, PartitionOffset, Record, code,
};

use super::cluster::{ClientSettings, Cluster, Trouble, is_missing, matching};
use super::options::{Bounded, KafkaOptions, Startup};
use super::properties::OffsetReset;
use super::reader::write_header;

/// How often the rows still to come are told.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// How often a source that waits for its brokers asks whether one is back.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(1);

/// How long such a question may take; it delays the poll.
const RECOVERY_WAIT: Duration = Duration::from_millis(200);

/// How often the topics are looked at, when `scan.topic-partition-discovery.interval` is not shorter.
const TOPIC_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// How long one look may take; it delays the poll.
const DISCOVERY_WAIT: Duration = Duration::from_secs(1);

/// How long a topic may be unknown to the brokers before it counts as deleted.
const TOPIC_GONE_WAIT: Duration = Duration::from_secs(30);

/// Offset commits that may be without an answer.
const COMMITS_PENDING_MAX: usize = 4;

/// How long closing waits for offset commits that are on their way.
const COMMIT_WAIT: Duration = Duration::from_secs(2);

/// Bytes of memory that librdkafka needs per queued message beside the message itself; its bound counts payload alone.
const QUEUED_MESSAGE_BYTES: usize = 400;

/// An arena is cut here, far below the 2 GiB that its records' 32-bit ranges allow.
const ARENA_BYTES_MAX: usize = 1 << 30;

/// Arenas that a partition remembers after handing them over, to fill them again once every reader has dropped them: fresh memory for
/// each would cost a page fault per 4 KiB, which was a tenth of all CPU time.
const ARENAS_REMEMBERED_MAX: usize = 3;

/// librdkafka's special times: the first offset and the end.
const TIME_FIRST: i64 = -2;
const TIME_END: i64 = -1;

/// Topic and partition of every split, shared with the row readers, which name them in metadata columns and errors.
pub(super) type SplitNames = Arc<RwLock<Vec<(Arc<str>, i32)>>>;

/// What the source was told by the planner and the registry.
#[derive(Clone)]
pub(super) struct SourceSettings {
    pub(super) table: String,
    pub(super) table_path: String,
    pub(super) options: KafkaOptions,
    pub(super) address_map: Vec<(String, String)>,
    pub(super) job_name: String,
    pub(super) wants_headers: bool,
}

impl SourceSettings {
    pub(super) fn cluster(&self) -> Cluster<'_> {
        Cluster {
            table: &self.table,
            properties: &self.options.properties,
            address_map: &self.address_map,
            job_name: &self.job_name,
        }
    }

    /// The group whose committed offsets are read: the user's, or the one that Flink makes up.
    fn group(&self) -> String {
        self.options.properties.group_id.clone().unwrap_or_else(|| format!("KafkaSource-{}", self.table_path))
    }

    fn client_settings(&self, buffer_bytes_max: usize) -> ClientSettings {
        // Half of the buffer for payload and for the structs around it, a quarter for answers that are on their way.
        let half = buffer_bytes_max / 2;
        let queue_kbytes = (half / 1024).clamp(1024, 2_000_000);
        let queue_messages = (half / QUEUED_MESSAGE_BYTES).clamp(1000, 10_000_000);
        let answer_bytes = (buffer_bytes_max / 4).clamp(1 << 20, 50 << 20);
        let partition_bytes = (answer_bytes / 2).clamp(1 << 20, 4 << 20);
        let mut fixed = vec![
            ("enable.auto.commit", "false".to_owned()),
            ("auto.commit.enable", "false".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            ("auto.offset.reset", "error".to_owned()),
        ];
        let properties = &self.options.properties;
        let reads_group =
            self.options.startup == Startup::GroupOffsets || self.options.bounded == Bounded::GroupOffsets;
        if properties.group_id.is_some() || reads_group {
            fixed.push(("group.id", self.group()));
        }
        ClientSettings {
            defaults: vec![
                ("check.crcs", "false".to_owned()),
                ("enable.metrics.push", "false".to_owned()),
                ("isolation.level", "read_uncommitted".to_owned()),
                ("fetch.max.bytes", answer_bytes.to_string()),
                ("fetch.message.max.bytes", partition_bytes.to_string()),
                // A full queue empties within milliseconds; librdkafka's second of back-off would starve the job.
                ("fetch.queue.backoff.ms", "2".to_owned()),
                ("queued.max.messages.kbytes", queue_kbytes.to_string()),
                ("queued.min.messages", queue_messages.to_string()),
            ],
            fixed,
        }
    }
}

/// One partition.
struct Partition {
    topic: Arc<str>,
    number: i32,
    /// The offset of the next record.
    position: i64,
    /// Where reading ends.
    end: Option<i64>,
    state: PartitionState,
    arena: Vec<u8>,
    /// One byte of each arena handed over lately: as long as somebody reads an arena, its byte is not the only reference.
    handed: Vec<Bytes>,
    records: Vec<RawRecord>,
    /// Lengths of the last arena and its records, to reserve the next ones at once.
    last_bytes: usize,
    last_records: usize,
    committed: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartitionState {
    /// Records may come.
    Reading,
    /// The reader has reached the log's end in this poll.
    AtEnd,
    /// The end of a bounded read was reached in this poll.
    Ending,
    /// Over.
    Finished,
}

impl Partition {
    fn new(topic: Arc<str>, number: i32, position: i64, end: Option<i64>) -> Self {
        Partition {
            topic,
            number,
            position,
            end,
            state: PartitionState::Reading,
            arena: Vec::new(),
            handed: Vec::new(),
            records: Vec::new(),
            last_bytes: 0,
            last_records: 0,
            committed: -1,
        }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.topic, self.number)
    }

    fn is_behind_end(&self, offset: i64) -> bool {
        self.end.is_some_and(|end| offset >= end)
    }

    fn take(&mut self, record: &Record<'_>, wants_headers: bool) {
        if matches!(self.state, PartitionState::Ending | PartitionState::Finished) {
            return;
        }
        if self.is_behind_end(record.offset) {
            self.state = PartitionState::Ending;
            return;
        }
        if self.records.is_empty() {
            self.reuse_arena();
            self.arena.reserve(self.last_bytes);
            self.records.reserve(self.last_records);
        }
        let key_start = self.arena.len();
        self.arena.extend_from_slice(record.key.unwrap_or_default());
        let key_end = self.arena.len();
        if wants_headers {
            record.headers(|name, value| write_header(&mut self.arena, name, value));
        }
        let value_start = self.arena.len();
        self.arena.extend_from_slice(record.value.unwrap_or_default());
        self.records.push(RawRecord {
            key_start: arena_place(key_start),
            key_end: arena_place(key_end),
            value_start: arena_place(value_start),
            value_end: arena_place(self.arena.len()),
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            has_key: record.key.is_some(),
            has_value: record.value.is_some(),
            tag: record.timestamp_type,
        });
        self.position = record.offset + 1;
        self.state = if self.is_behind_end(self.position) { PartitionState::Ending } else { PartitionState::Reading };
    }

    fn reach_end(&mut self, offset: i64) {
        if self.state == PartitionState::Reading {
            self.state = if self.is_behind_end(offset) { PartitionState::Ending } else { PartitionState::AtEnd };
        }
    }

    /// Takes back an arena that nobody reads any more.
    fn reuse_arena(&mut self) {
        if let Some(free) = self.handed.iter().position(Bytes::is_unique) {
            self.arena = Vec::from(self.handed.swap_remove(free));
            self.arena.clear();
        }
    }

    fn batch(&mut self, split: SplitIndex) -> RawBatch {
        self.last_bytes = self.arena.len() + self.arena.len() / 8;
        self.last_records = self.records.len() + self.records.len() / 8;
        let arena = Bytes::from(std::mem::take(&mut self.arena));
        if !arena.is_empty() && self.handed.len() < ARENAS_REMEMBERED_MAX {
            self.handed.push(arena.slice(0..1));
        }
        RawBatch { split, arena, records: std::mem::take(&mut self.records), next: self.position }
    }
}

/// The arena is cut at [`ARENA_BYTES_MAX`] and a message of Kafka is far smaller than the rest of the range.
fn arena_place(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The running source.
pub(super) struct KafkaSource {
    settings: SourceSettings,
    consumer: Consumer,
    splits: Vec<Split>,
    names: SplitNames,
    partitions: Vec<Partition>,
    /// The split of each of the consumer's slots.
    slots: Vec<SplitIndex>,
    /// Events found outside of a poll.
    pending: Vec<SourceEvent>,
    /// Average size of a message, to ask for as many as fit the bytes wanted.
    message_bytes: usize,
    outage: Option<Outage>,
    next_lag: Instant,
    next_topic_check: Instant,
}

/// Nothing can be read for now.
struct Outage {
    kind: OutageKind,
    text: String,
    /// The topic that must answer for it to be over.
    topic: Arc<str>,
    since: Instant,
    next_question: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutageKind {
    /// The client lost all its connections, and nobody was told yet: the next question shows whether it is more than a moment.
    Suspected,
    /// Told; ends when the brokers answer.
    Certain,
    /// The brokers answer, and refuse the credentials. Told, also when they were away before; ends when they accept them.
    Refused,
    /// The brokers do not know the topic any more; becomes an error after [`TOPIC_GONE_WAIT`].
    TopicGone,
}

impl KafkaSource {
    /// Connects, finds the partitions and starts to read them.
    pub(super) fn open(settings: SourceSettings, context: &SourceContext, names: SplitNames) -> Result<Self> {
        let cluster = settings.cluster();
        let client = cluster.client(ClientKind::Consumer, settings.client_settings(context.buffer_bytes_max), None)?;
        let partitions = Positions { settings: &settings, cluster: &cluster, client: &client }.find(context)?;
        client.poll(Duration::ZERO);
        client.take_errors();

        let mut source = KafkaSource {
            consumer: Consumer::new(client),
            splits: Vec::new(),
            partitions: Vec::new(),
            slots: Vec::new(),
            pending: Vec::new(),
            message_bytes: 256,
            outage: None,
            next_lag: monotonic() + LAG_INTERVAL,
            next_topic_check: next_topic_check(&settings.options),
            names,
            settings,
        };
        names_of(&source.names).clear();
        for partition in partitions {
            source.add(partition)?;
        }
        Ok(source)
    }

    /// Adds a partition and starts it, unless it has nothing to bring.
    fn add(&mut self, mut partition: Partition) -> Result<Split> {
        let split = Split { name: partition.name(), start: partition.position };
        let index = self.partitions.len();
        if partition.is_behind_end(partition.position) {
            partition.state = PartitionState::Finished;
            self.pending.push(SourceEvent::Finished(index));
        } else {
            let slot = self
                .consumer
                .start(&partition.topic, partition.number, partition.position)
                .map_err(|error| self.settings.cluster().failed(&error))?;
            debug_assert_eq!(slot, self.slots.len(), "slots count up");
            self.slots.push(index);
        }
        names_of(&self.names).push((partition.topic.clone(), partition.number));
        self.partitions.push(partition);
        self.splits.push(split.clone());
        Ok(split)
    }

    /// Takes what arrived, up to about `bytes_max`.
    fn fetch(&mut self, bytes_max: usize, wait: Duration, failures: &mut Vec<(SplitIndex, KafkaError)>) {
        let bytes_max = bytes_max.clamp(1, ARENA_BYTES_MAX);
        let wants_headers = self.settings.wants_headers;
        let (mut bytes, mut records) = (0usize, 0usize);
        let mut wait = wait;
        while bytes < bytes_max {
            let messages_max = ((bytes_max - bytes) / self.message_bytes).clamp(1, BATCH_MESSAGES_MAX);
            let (slots, partitions) = (&self.slots, &mut self.partitions);
            let (bytes_before, records_before) = (bytes, records);
            let count = self.consumer.fetch(messages_max, wait, |slot, fetched| {
                let Some(split) = slots.get(slot).copied() else { return };
                let Some(partition) = partitions.get_mut(split) else { return };
                match fetched {
                    Fetched::Record(record) => {
                        bytes += record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len);
                        records += 1;
                        partition.take(&record, wants_headers);
                    }
                    Fetched::End(offset) => partition.reach_end(offset),
                    Fetched::Failed(error) => failures.push((split, error)),
                }
            });
            if records > records_before {
                self.message_bytes = ((bytes - bytes_before) / (records - records_before)).max(16);
            }
            if count < messages_max {
                break;
            }
            wait = Duration::ZERO;
        }
    }

    /// Turns what the partitions hold into events and closes those that came to their end.
    fn hand_over(&mut self, events: &mut Vec<SourceEvent>) {
        for (split, partition) in self.partitions.iter_mut().enumerate() {
            if !partition.records.is_empty() {
                events.push(SourceEvent::Raw(partition.batch(split)));
            }
            match partition.state {
                PartitionState::Reading | PartitionState::Finished => {}
                PartitionState::AtEnd => {
                    events.push(SourceEvent::CaughtUp(split));
                    partition.state = PartitionState::Reading;
                }
                PartitionState::Ending => {
                    self.consumer.stop(&partition.topic, partition.number);
                    events.push(SourceEvent::Finished(split));
                    partition.state = PartitionState::Finished;
                }
            }
        }
    }

    /// An error in the stream of a partition.
    fn partition_failed(&mut self, split: SplitIndex, error: &KafkaError, events: &mut Vec<SourceEvent>) -> Result<()> {
        let partition = &self.partitions[split];
        match error.code {
            code::AUTO_OFFSET_RESET | code::OFFSET_OUT_OF_RANGE | code::LOG_TRUNCATION => self.position_lost(split),
            code::UNKNOWN_TOPIC_OR_PARTITION | code::UNKNOWN_TOPIC_LOCAL | code::UNKNOWN_PARTITION => {
                let text = format!("{} does not know {} any more", self.settings.cluster().brokers(), partition.name());
                let topic = partition.topic.clone();
                self.begin_outage(text, topic, OutageKind::TopicGone, events);
                Ok(())
            }
            code::TOPIC_AUTHORIZATION_FAILED => Err(self.settings.cluster().topic_permission(&partition.topic)),
            code::BAD_MESSAGE | code::BAD_COMPRESSION | code::NOT_IMPLEMENTED => Err(Error::data(format!(
                "the Kafka client cannot read {} at offset {}: {}",
                partition.name(),
                partition.position,
                error.reason
            ))),
            // Everything else is a broker's trouble, and librdkafka goes on trying.
            _ => Ok(()),
        }
    }

    /// The log does not hold the position: a reset when the user asked for one, else an error that names what is lost.
    fn position_lost(&mut self, split: SplitIndex) -> Result<()> {
        let cluster = self.settings.cluster();
        let partition = &mut self.partitions[split];
        let range = log_range(&cluster, self.consumer.client(), std::slice::from_ref(partition))?;
        let Some((first, end)) = range.first().copied() else { return Ok(()) };
        let reset = self.settings.options.properties.auto_offset_reset;
        partition.position = checked_position(partition, partition.position, first, end, reset)?;
        self.consumer.stop(&partition.topic, partition.number);
        self.consumer
            .start(&partition.topic, partition.number, partition.position)
            .map_err(|error| cluster.failed(&error))?;
        Ok(())
    }

    /// Looks at the connection: says when the brokers are away and when they are back.
    fn watch_connection(&mut self, events: &mut Vec<SourceEvent>) -> Result<()> {
        let client = self.consumer.client();
        client.poll(Duration::ZERO);
        let mut trouble = Trouble::default();
        trouble.look(client);
        if let Some(error) = client.fatal_error() {
            return Err(self.settings.cluster().failed(&error));
        }
        let first_topic = || self.partitions.first().map_or_else(|| Arc::from(""), |p| p.topic.clone());
        if let Some(refusal) = &trouble.refusal {
            // Credentials that were right at the start and are refused now may be put right again; the state says it meanwhile.
            let text = self.settings.cluster().failed(refusal).message().to_owned();
            let topic = first_topic();
            self.begin_outage(text, topic, OutageKind::Refused, events);
        } else if trouble.all_down {
            let reason = trouble.last.map_or(String::new(), |error| format!(": {}", error.reason));
            let text = format!("{} is unreachable{reason}", self.settings.cluster().brokers());
            let topic = first_topic();
            self.begin_outage(text, topic, OutageKind::Suspected, events);
        }
        self.watch_outage(events)
    }

    fn begin_outage(&mut self, text: String, topic: Arc<str>, kind: OutageKind, events: &mut Vec<SourceEvent>) {
        let is_news = kind == OutageKind::Refused;
        if self.outage.as_ref().is_some_and(|outage| !is_news || outage.kind == kind) {
            return;
        }
        let now = monotonic();
        if kind != OutageKind::Suspected {
            events.push(SourceEvent::Waiting(Some(text.clone())));
        }
        self.outage = Some(Outage { kind, text, topic, since: now, next_question: now + RECOVERY_INTERVAL });
    }

    /// Asks the brokers now and then whether they are back. What arrives says nothing, because the client's queue may still be full.
    fn watch_outage(&mut self, events: &mut Vec<SourceEvent>) -> Result<()> {
        let Some(outage) = &mut self.outage else { return Ok(()) };
        let now = monotonic();
        if now < outage.next_question {
            return Ok(());
        }
        let answer = self.consumer.client().metadata(Some(&outage.topic), RECOVERY_WAIT);
        outage.next_question = monotonic() + RECOVERY_INTERVAL;
        let topic_error = answer.as_ref().ok().map(|topics| topics.iter().find_map(|t| t.error.as_ref()));
        if let Some(None) = topic_error {
            if outage.kind != OutageKind::Suspected {
                events.push(SourceEvent::Waiting(None));
            }
            self.outage = None;
            return Ok(());
        }
        if topic_error.flatten().is_some_and(|error| is_missing(error.code)) && outage.kind != OutageKind::TopicGone {
            outage.kind = OutageKind::TopicGone;
            outage.since = now;
            events
                .push(SourceEvent::Waiting(Some(format!("the brokers do not know topic `{}` any more", outage.topic))));
        }
        match outage.kind {
            OutageKind::Suspected => {
                outage.kind = OutageKind::Certain;
                events.push(SourceEvent::Waiting(Some(outage.text.clone())));
            }
            OutageKind::Certain | OutageKind::Refused => {}
            OutageKind::TopicGone if now.duration_since(outage.since) < TOPIC_GONE_WAIT => {}
            OutageKind::TopicGone => {
                return Err(Error::data(format!(
                    "topic `{}` of table `{}` was deleted while it was read",
                    outage.topic, self.settings.table
                ))
                .hint("create it anew and start the job with --fresh"));
            }
        }
        Ok(())
    }

    fn tell_lag(&mut self, events: &mut Vec<SourceEvent>) {
        let now = monotonic();
        if now < self.next_lag {
            return;
        }
        self.next_lag = now + LAG_INTERVAL;
        for (split, partition) in self.partitions.iter().enumerate() {
            if partition.state == PartitionState::Finished {
                continue;
            }
            let known = self.consumer.client().known_watermarks(&partition.topic, partition.number);
            if let Some((_, log_end)) = known.filter(|(_, log_end)| *log_end >= 0) {
                let end = partition.end.map_or(log_end, |end| end.min(log_end));
                let lag = u64::try_from(end - partition.position).unwrap_or(0);
                events.push(SourceEvent::Lag(split, lag));
            }
        }
    }

    /// Asks now and then whether the topics are still there, which librdkafka never says by itself, and looks for new partitions. Those
    /// are read from their beginning, since all their records came after the job's start.
    fn check_topics(&mut self, events: &mut Vec<SourceEvent>) -> Result<()> {
        let now = monotonic();
        if self.outage.is_some() || now < self.next_topic_check {
            return Ok(());
        }
        self.next_topic_check = next_topic_check(&self.settings.options);
        let mut found: Vec<PartitionOffset> = Vec::new();
        if let Some(pattern) = self.settings.options.topic_regex()? {
            let Ok(answer) = self.consumer.client().metadata(None, DISCOVERY_WAIT) else { return Ok(()) };
            for topic in matching(answer, &pattern) {
                let known = |n: i32| self.partitions.iter().any(|p| *p.topic == *topic.name && p.number == n);
                let new = topic.partitions.iter().filter(|n| !known(**n));
                found.extend(new.map(|n| asked(&topic.name, *n, TIME_FIRST)));
            }
        }
        for topic in &self.settings.options.topics.clone() {
            let Ok(answer) = self.consumer.client().metadata(Some(topic), DISCOVERY_WAIT) else { return Ok(()) };
            if let Some(error) = answer.iter().find_map(|t| t.error.as_ref().filter(|e| is_missing(e.code))) {
                let text = format!("the brokers do not know topic `{topic}` any more ({error})");
                self.begin_outage(text, topic.as_str().into(), OutageKind::TopicGone, events);
                return Ok(());
            }
            let known = |n: i32| self.partitions.iter().any(|p| *p.topic == **topic && p.number == n);
            let numbers = answer.iter().filter(|t| t.name == *topic).flat_map(|t| &t.partitions);
            found.extend(numbers.filter(|n| !known(**n)).map(|n| asked(topic, *n, TIME_FIRST)));
        }
        if self.settings.options.bounded != Bounded::Unbounded || self.settings.options.discovery_interval.is_none() {
            // A bounded read is over the partitions that exist at its start.
            return Ok(());
        }
        // A new partition whose leader is not elected yet is found again next time.
        let Ok(first) = self.consumer.client().offsets_for_times(&found, DISCOVERY_WAIT) else { return Ok(()) };
        for answer in first.into_iter().filter(|a| a.error.is_none() && a.offset >= 0) {
            let partition = Partition::new(answer.topic.into(), answer.partition, answer.offset, None);
            let split = self.add(partition)?;
            events.push(SourceEvent::NewSplit(split));
        }
        Ok(())
    }
}

impl Source for KafkaSource {
    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn end(&self, split: SplitIndex) -> Option<i64> {
        self.partitions.get(split).and_then(|partition| partition.end)
    }

    fn poll(&mut self, bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        // Events found outside of a poll come first, and at once.
        let wait = if self.pending.is_empty() { wait } else { Duration::ZERO };
        events.append(&mut self.pending);
        let mut failures = Vec::new();
        self.fetch(bytes_max, wait, &mut failures);
        self.hand_over(events);
        for (split, error) in failures {
            self.partition_failed(split, &error, events)?;
        }
        self.watch_connection(events)?;
        self.tell_lag(events);
        self.check_topics(events)
    }

    fn checkpoint_complete(&mut self, positions: &[(SplitIndex, i64)]) -> Result<()> {
        let properties = &self.settings.options.properties;
        if properties.group_id.is_none() || !properties.commits_offsets {
            return Ok(());
        }
        // Offsets in the group are information for others; the checkpoint is what counts. So a failed commit is no error, and while
        // the group's broker is away no more of them are queued up.
        let client = self.consumer.client();
        if client.commits_pending() >= COMMITS_PENDING_MAX {
            return Ok(());
        }
        if client.take_commits_failed() > 0 {
            for partition in &mut self.partitions {
                partition.committed = -1;
            }
        }
        let mut offsets = Vec::new();
        for (split, position) in positions {
            let Some(partition) = self.partitions.get_mut(*split) else { continue };
            if partition.committed != *position {
                partition.committed = *position;
                offsets.push(asked(&partition.topic, partition.number, *position));
            }
        }
        if self.consumer.client().commit(&offsets).is_err() {
            for (split, _) in positions {
                if let Some(partition) = self.partitions.get_mut(*split) {
                    partition.committed = -1;
                }
            }
        }
        Ok(())
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        let deadline = monotonic() + COMMIT_WAIT;
        let client = self.consumer.client();
        while client.commits_pending() > 0 && monotonic() < deadline {
            client.poll(Duration::from_millis(20));
        }
    }
}

fn names_of(names: &SplitNames) -> std::sync::RwLockWriteGuard<'_, Vec<(Arc<str>, i32)>> {
    names.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn asked(topic: &str, partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset { topic: topic.to_owned(), partition, offset, error: None }
}

fn next_topic_check(options: &KafkaOptions) -> Instant {
    monotonic() + options.discovery_interval.map_or(TOPIC_CHECK_INTERVAL, |interval| interval.min(TOPIC_CHECK_INTERVAL))
}

/// First and end offset of each partition.
fn log_range(cluster: &Cluster<'_>, client: &Client, partitions: &[Partition]) -> Result<Vec<(i64, i64)>> {
    let at = |time| partitions.iter().map(|p| asked(&p.topic, p.number, time)).collect::<Vec<_>>();
    let first = cluster.offsets_for_times(client, &at(TIME_FIRST))?;
    let end = cluster.offsets_for_times(client, &at(TIME_END))?;
    Ok(first.into_iter().zip(end).collect())
}

/// The position, when the log holds it; else where the user's reset leads, or an error that names the lost range.
fn checked_position(
    partition: &Partition,
    position: i64,
    first: i64,
    end: i64,
    reset: Option<OffsetReset>,
) -> Result<i64> {
    if (first..=end).contains(&position) {
        return Ok(position);
    }
    match reset {
        Some(OffsetReset::Earliest) => return Ok(first),
        Some(OffsetReset::Latest) => return Ok(end),
        None => {}
    }
    let name = partition.name();
    let error = if position < first {
        Error::data(format!("offsets {position} to {} of {name} are lost: its log begins at {first} now", first - 1))
            .hint("retention removed them; set 'properties.auto.offset.reset' = 'earliest' to go on with the first record that is left")
    } else {
        Error::data(format!("{name} has no offset {position}: its log ends at {end}"))
            .hint("the topic was created anew, or the offset belongs to another one; set 'properties.auto.offset.reset', or start with --fresh")
    };
    Err(error)
}

/// Finds where each partition starts and ends.
struct Positions<'a> {
    settings: &'a SourceSettings,
    cluster: &'a Cluster<'a>,
    client: &'a Client,
}

impl Positions<'_> {
    fn find(&self, context: &SourceContext) -> Result<Vec<Partition>> {
        let mut partitions = Vec::new();
        let options = &self.settings.options;
        let topics = match options.topic_regex()? {
            Some(pattern) => self.cluster.topics_that_match(self.client, &pattern)?,
            None => self.cluster.topics(self.client, &options.topics)?,
        };
        for topic in topics {
            let name: Arc<str> = topic.name.into();
            partitions.extend(topic.partitions.iter().map(|n| Partition::new(name.clone(), *n, 0, None)));
        }
        let ranges = log_range(self.cluster, self.client, &partitions)?;
        let starts = self.starts(&partitions, &ranges, context)?;
        let ends = self.kept_ends(&partitions, &ranges, context)?;
        let reset = self.settings.options.properties.auto_offset_reset;
        for (index, partition) in partitions.iter_mut().enumerate() {
            let (first, end) = ranges[index];
            partition.position = checked_position(partition, starts[index], first, end, reset)?;
            partition.end = ends[index];
        }
        Ok(partitions)
    }

    fn starts(&self, partitions: &[Partition], ranges: &[(i64, i64)], context: &SourceContext) -> Result<Vec<i64>> {
        let first = || ranges.iter().map(|(first, _)| *first);
        if context.is_restored {
            self.check_restored(partitions, context)?;
            let restored = |p: &Partition| {
                let name = p.name();
                context.restored.iter().find(|split| split.name == name).map(|split| split.start)
            };
            return Ok(partitions.iter().zip(first()).map(|(p, first)| restored(p).unwrap_or(first)).collect());
        }
        match &self.settings.options.startup {
            Startup::Earliest => Ok(first().collect()),
            Startup::Latest => Ok(ranges.iter().map(|(_, end)| *end).collect()),
            Startup::Timestamp(time) => self.at_time(partitions, ranges, *time),
            Startup::Offsets(offsets) => {
                self.check_listed(partitions, offsets, "scan.startup.specific-offsets")?;
                let listed = |p: &Partition| offsets.iter().find(|(n, _)| *n == p.number).map(|(_, offset)| *offset);
                Ok(partitions.iter().zip(first()).map(|(p, first)| listed(p).unwrap_or(first)).collect())
            }
            Startup::GroupOffsets => {
                let committed = self.committed(partitions)?;
                let reset = self.settings.options.properties.auto_offset_reset;
                committed
                    .into_iter()
                    .enumerate()
                    .map(|(index, offset)| match (offset, reset) {
                        (Some(offset), _) => Ok(offset),
                        (None, Some(OffsetReset::Earliest)) => Ok(ranges[index].0),
                        (None, Some(OffsetReset::Latest)) => Ok(ranges[index].1),
                        (None, None) => Err(self.not_committed(&partitions[index]).hint(
                            "set 'properties.auto.offset.reset' = 'earliest' or 'latest', or another 'scan.startup.mode'",
                        )),
                    })
                    .collect()
            }
        }
    }

    /// The ends that the first start found, as far as a checkpoint knows them: what came since then belongs to no bounded read.
    fn kept_ends(
        &self,
        partitions: &[Partition],
        ranges: &[(i64, i64)],
        context: &SourceContext,
    ) -> Result<Vec<Option<i64>>> {
        if self.settings.options.bounded == Bounded::Unbounded {
            return Ok(vec![None; partitions.len()]);
        }
        let kept = |p: &Partition| {
            let name = p.name();
            context.restored_ends.iter().find(|(split, _)| *split == name).map(|(_, end)| *end)
        };
        let kept: Vec<Option<i64>> = partitions.iter().map(kept).collect();
        if kept.iter().all(Option::is_some) {
            return Ok(kept);
        }
        let found = self.ends(partitions, ranges)?;
        Ok(kept.into_iter().zip(found).map(|(kept, found)| kept.or(found)).collect())
    }

    fn ends(&self, partitions: &[Partition], ranges: &[(i64, i64)]) -> Result<Vec<Option<i64>>> {
        match &self.settings.options.bounded {
            Bounded::Unbounded => Ok(vec![None; partitions.len()]),
            Bounded::Latest => Ok(ranges.iter().map(|(_, end)| Some(*end)).collect()),
            Bounded::Timestamp(time) => Ok(self.at_time(partitions, ranges, *time)?.into_iter().map(Some).collect()),
            Bounded::Offsets(offsets) => {
                self.check_listed(partitions, offsets, "scan.bounded.specific-offsets")?;
                let listed = |p: &Partition| offsets.iter().find(|(n, _)| *n == p.number).map_or(0, |(_, end)| *end);
                Ok(partitions.iter().map(|p| Some(listed(p))).collect())
            }
            Bounded::GroupOffsets => {
                let committed = self.committed(partitions)?.into_iter().zip(partitions);
                committed.map(|(offset, p)| offset.map(Some).ok_or_else(|| self.not_committed(p))).collect()
            }
        }
    }

    /// The first offset that is not older than `time`, or the end.
    fn at_time(&self, partitions: &[Partition], ranges: &[(i64, i64)], time: i64) -> Result<Vec<i64>> {
        let asked: Vec<PartitionOffset> = partitions.iter().map(|p| asked(&p.topic, p.number, time.max(0))).collect();
        let found = self.cluster.offsets_for_times(self.client, &asked)?;
        Ok(found.into_iter().zip(ranges).map(|(offset, (_, end))| if offset < 0 { *end } else { offset }).collect())
    }

    fn committed(&self, partitions: &[Partition]) -> Result<Vec<Option<i64>>> {
        let asked: Vec<PartitionOffset> = partitions.iter().map(|p| asked(&p.topic, p.number, -1)).collect();
        self.cluster.committed(self.client, &asked)
    }

    fn not_committed(&self, partition: &Partition) -> Error {
        Error::config(format!(
            "the consumer group `{}` has no committed offset for {} (table `{}`)",
            self.settings.group(),
            partition.name(),
            self.settings.table
        ))
    }

    fn check_listed(&self, partitions: &[Partition], offsets: &[(i32, i64)], key: &str) -> Result<()> {
        match offsets.iter().find(|(number, _)| !partitions.iter().any(|p| p.number == *number)) {
            None => Ok(()),
            Some((number, _)) => Err(Error::config(format!(
                "option '{key}' of table `{}` names partition {number}, but topic `{}` has {} partitions",
                self.settings.table,
                self.settings.options.topics.join(";"),
                partitions.len()
            ))),
        }
    }

    fn check_restored(&self, partitions: &[Partition], context: &SourceContext) -> Result<()> {
        match context.restored.iter().find(|split| !partitions.iter().any(|p| p.name() == split.name)) {
            None => Ok(()),
            Some(split) => Err(Error::data(format!(
                "the checkpoint has read {} to offset {}, but {} has no such partition",
                split.name,
                split.start,
                self.cluster.brokers()
            ))
            .hint("was the topic created anew? start with --fresh to read it from its configured start")),
        }
    }
}
