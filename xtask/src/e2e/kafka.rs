//! A small Kafka client for tests: create a topic, produce, read everything.
//!
//! It stands on librdkafka, as wiesel does, because Kafka's own tools start a JVM for each call, 2 to 3 seconds. What it reads is read
//! committed and up to the end of each partition, so transactions and their markers are handled as a reader of the topic sees them.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

/// Longest wait for one answer of the broker.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait while reading a topic to its end.
const CONSUME_LIMIT: Duration = Duration::from_secs(60);

/// A message as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    /// Partition it came from.
    pub(crate) partition: i32,
    /// Its offset there.
    pub(crate) offset: i64,
    /// Its key, as text.
    pub(crate) key: Option<String>,
    /// Its value, as text; `None` is a tombstone.
    pub(crate) value: Option<String>,
}

/// A way to one broker.
pub(crate) struct KafkaClient {
    config: ClientConfig,
}

impl KafkaClient {
    /// A client without login.
    pub(crate) fn new(address: &str) -> KafkaClient {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", address).set("broker.address.family", "v4");
        KafkaClient { config }
    }

    /// Sets one of librdkafka's own options: for logins and TLS.
    pub(crate) fn with(mut self, key: &str, value: &str) -> KafkaClient {
        self.config.set(key, value);
        self
    }

    /// Creates a topic with so many partitions.
    pub(crate) fn create_topic(&self, topic: &str, partition_count: i32) -> Result<()> {
        self.create_topic_with(topic, partition_count, &[])
    }

    /// The same with settings of the topic.
    pub(crate) fn create_topic_with(&self, topic: &str, partition_count: i32, settings: &[(&str, &str)]) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config.create()?;
        let mut wanted = NewTopic::new(topic, partition_count, TopicReplication::Fixed(1));
        for (key, value) in settings {
            wanted = wanted.set(key, value);
        }
        let results = block_on(admin.create_topics([&wanted], &admin_options()))?;
        for result in results {
            result.map_err(|(name, code)| anyhow::anyhow!("create topic `{name}`: {code}"))?;
        }
        Ok(())
    }

    /// Gives a topic more partitions, so many in all.
    pub(crate) fn create_partitions(&self, topic: &str, partition_count: usize) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config.create()?;
        let wanted = NewPartitions::new(topic, partition_count);
        for result in block_on(admin.create_partitions([&wanted], &admin_options()))? {
            result.map_err(|(name, code)| anyhow::anyhow!("more partitions for `{name}`: {code}"))?;
        }
        Ok(())
    }

    /// Removes a topic and all it holds.
    pub(crate) fn delete_topic(&self, topic: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config.create()?;
        for result in block_on(admin.delete_topics(&[topic], &admin_options()))? {
            result.map_err(|(name, code)| anyhow::anyhow!("delete topic `{name}`: {code}"))?;
        }
        Ok(())
    }

    /// Sends lines without keys, spread over the partitions by turns, and waits until the broker has them all.
    pub(crate) fn produce<Line: AsRef<[u8]>>(&self, topic: &str, lines: impl IntoIterator<Item = Line>) -> Result<u64> {
        let partition_count = self.partitions(topic)?.len().max(1);
        let turns = lines.into_iter().enumerate().map(|(index, line)| {
            let partition = i32::try_from(index % partition_count).expect("a partition number fits i32");
            (Some(partition), None, Some(line))
        });
        self.produce_records(topic, turns)
    }

    /// Sends key and value pairs, partitioned by the key as Java's client does; a value `None` is a tombstone.
    pub(crate) fn produce_keyed<Text: AsRef<[u8]>>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (Text, Option<Text>)>,
    ) -> Result<u64> {
        self.produce_records(topic, records.into_iter().map(|(key, value)| (None, Some(key), value)))
    }

    fn produce_records<Text: AsRef<[u8]>>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (Option<i32>, Option<Text>, Option<Text>)>,
    ) -> Result<u64> {
        let mut config = self.config.clone();
        config.set("linger.ms", "5").set("partitioner", "murmur2_random").set("message.timeout.ms", "30000");
        let failed = Arc::new(AtomicU64::new(0));
        let producer: BaseProducer<CountFailures> =
            config.create_with_context(CountFailures { failed: Arc::clone(&failed) })?;
        let mut sent_count = 0;
        for (partition, key, value) in records {
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
            record.partition = partition;
            record.key = key.as_ref().map(AsRef::as_ref);
            record.payload = value.as_ref().map(AsRef::as_ref);
            send(&producer, record)?;
            sent_count += 1;
        }
        producer.flush(REQUEST_LIMIT).context("wait for the broker to take all messages")?;
        let failed_count = failed.load(Ordering::Relaxed);
        ensure!(failed_count == 0, "{failed_count} of {sent_count} messages were not delivered to `{topic}`");
        Ok(sent_count)
    }

    /// Everything that the topic holds now, committed, sorted by partition and offset.
    pub(crate) fn consume_all(&self, topic: &str) -> Result<Vec<Message>> {
        let mut config = self.config.clone();
        config
            .set("group.id", "wiesel-tests-unused")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create()?;
        let partitions = self.partitions(topic)?;
        let mut assignment = TopicPartitionList::new();
        for partition in &partitions {
            assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let mut open: BTreeSet<i32> = partitions.into_iter().collect();
        let mut messages = Vec::new();
        let start = Instant::now();
        while !open.is_empty() {
            ensure!(start.elapsed() < CONSUME_LIMIT, "the end of `{topic}` was not reached within {CONSUME_LIMIT:?}");
            match consumer.poll(Duration::from_millis(200)) {
                None => {}
                Some(Ok(message)) => messages.push(Message {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().map(text),
                    value: message.payload().map(text),
                }),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) => bail!("read `{topic}`: {error}"),
            }
        }
        messages.sort();
        Ok(messages)
    }

    /// The headers of the record at the beginning of a partition, names and values as text.
    pub(crate) fn first_headers(&self, topic: &str, partition: i32) -> Result<Vec<(String, Option<String>)>> {
        let consumer: BaseConsumer = self.config.clone().set("group.id", "wiesel-tests-unused").create()?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        consumer.assign(&assignment)?;
        let message = consumer.poll(REQUEST_LIMIT).context("a record")??;
        let headers = message.headers().map(|headers| headers.iter().collect::<Vec<_>>()).unwrap_or_default();
        Ok(headers.into_iter().map(|h| (h.key.to_owned(), h.value.map(text))).collect())
    }

    /// Whether a reader of committed rows sees as far as one who sees everything: false while a transaction is open.
    pub(crate) fn is_all_committed(&self, topic: &str) -> Result<bool> {
        let [committed, written] = self.ends(topic)?;
        Ok(committed == written)
    }

    /// The ends of the partitions: for readers of committed rows, and of all rows.
    pub(crate) fn ends(&self, topic: &str) -> Result<[Vec<i64>; 2]> {
        let ends = |level: &str| -> Result<Vec<i64>> {
            let consumer: BaseConsumer = self.config.clone().set("isolation.level", level).create()?;
            let end = |partition| Ok(consumer.fetch_watermarks(topic, partition, REQUEST_LIMIT)?.1);
            self.partitions(topic)?.into_iter().map(end).collect()
        };
        Ok([ends("read_committed")?, ends("read_uncommitted")?])
    }

    /// Subscribes as a member of a group, reads up to `count` messages and leaves; how many came. Meanwhile `between` is called.
    pub(crate) fn consume_in_group(
        &self,
        topic: &str,
        group: &str,
        count: usize,
        mut between: impl FnMut() -> Result<()>,
    ) -> Result<usize> {
        let mut config = self.config.clone();
        config.set("group.id", group).set("auto.offset.reset", "earliest").set("session.timeout.ms", "6000");
        let consumer: BaseConsumer = config.create()?;
        consumer.subscribe(&[topic])?;
        let start = Instant::now();
        let mut read = 0;
        while read < count && start.elapsed() < REQUEST_LIMIT {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(_)) => read += 1,
                Some(Err(error)) => bail!("read `{topic}` as group `{group}`: {error}"),
                None => between()?,
            }
        }
        Ok(read)
    }

    /// Removes everything of a topic before the present end: what retention does.
    pub(crate) fn delete_records(&self, topic: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config.create()?;
        let mut offsets = TopicPartitionList::new();
        for partition in self.partitions(topic)? {
            offsets.add_partition_offset(topic, partition, Offset::End)?;
        }
        block_on(admin.delete_records(&offsets, &admin_options())).context("delete records")?;
        Ok(())
    }

    /// Sends lines in one transaction, which ends as `is_committed` says.
    pub(crate) fn produce_in_transaction(
        &self,
        topic: &str,
        id: &str,
        lines: &[String],
        is_committed: bool,
    ) -> Result<()> {
        let mut config = self.config.clone();
        config.set("transactional.id", id).set("partitioner", "murmur2_random");
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(REQUEST_LIMIT)?;
        producer.begin_transaction()?;
        for line in lines {
            let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).key(line.as_str()).payload(line.as_str());
            producer.send(record).map_err(|(error, _)| error).context("queue a message")?;
        }
        producer.flush(REQUEST_LIMIT)?;
        if is_committed {
            producer.commit_transaction(REQUEST_LIMIT)?
        } else {
            producer.abort_transaction(REQUEST_LIMIT)?
        }
        Ok(())
    }

    /// The values of `consume_all`, sorted; tombstones are left out.
    pub(crate) fn values(&self, topic: &str) -> Result<Vec<String>> {
        let mut values: Vec<String> =
            self.consume_all(topic)?.into_iter().filter_map(|message| message.value).collect();
        values.sort();
        Ok(values)
    }

    /// The partition numbers of a topic.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Vec<i32>> {
        self.partitions_within(topic, REQUEST_LIMIT)
    }

    /// The same with a time limit of the caller's: a login that is refused shows only as no answer.
    pub(crate) fn partitions_within(&self, topic: &str, limit: Duration) -> Result<Vec<i32>> {
        let consumer: BaseConsumer = self.config.create()?;
        let metadata = consumer
            .fetch_metadata(Some(topic), limit)
            .with_context(|| format!("ask the broker for topic `{topic}`"))?;
        let found = metadata.topics().iter().find(|entry| entry.name() == topic);
        let found = found.with_context(|| format!("the broker knows no topic `{topic}`"))?;
        if let Some(error) = found.error() {
            bail!("topic `{topic}`: {}", RDKafkaErrorCode::from(error));
        }
        Ok(found.partitions().iter().map(|partition| partition.id()).collect())
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_LIMIT)).operation_timeout(Some(REQUEST_LIMIT))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Puts one record into the producer's queue; when that is full, waits for the broker.
fn send(producer: &BaseProducer<CountFailures>, record: BaseRecord<'_, [u8], [u8]>) -> Result<()> {
    let mut pending = record;
    let start = Instant::now();
    loop {
        match producer.send(pending) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                ensure!(start.elapsed() < REQUEST_LIMIT, "the broker took no message for {REQUEST_LIMIT:?}");
                producer.poll(Duration::from_millis(20));
                pending = back;
            }
            Err((error, _)) => return Err(error).context("queue a message"),
        }
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

/// Counts the messages that the broker did not take.
struct CountFailures {
    failed: Arc<AtomicU64>,
}

impl ClientContext for CountFailures {}

impl ProducerContext for CountFailures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Waits for one future on this thread: the admin client's answers are futures, and an executor for that alone would be a dependency.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            return value;
        }
        std::thread::park();
    }
}
