//! What `wiesel peek` needs of a cluster: some records of a topic as they lie there, without a group and without committing anything.
//!
//! Each partition is read from a position to a number of records, or to its end as it stood when the look began, so a topic that is
//! written meanwhile ends too. Records and bytes that are kept are bounded; the longest texts are cut, which is said.

use std::time::Duration;

use wiesel_core::env::monotonic;
use wiesel_core::{Error, Result};
use wiesel_ffi::kafka::{BATCH_MESSAGES_MAX, ClientKind, Consumer, Fetched, PartitionOffset, Record};

use super::admin::Target;
use super::cluster::{ClientSettings, Trouble};

/// Records that one look keeps, over all partitions.
pub const RECORDS_MAX: usize = 10_000;
/// Bytes of a key, a header or a value that are kept.
pub const PART_BYTES_MAX: usize = 64 << 10;
/// Headers of a record that are kept.
pub const HEADERS_MAX: usize = 100;
/// Bytes that one look keeps, over all partitions.
const LOOK_BYTES_MAX: usize = 64 << 20;
/// librdkafka's buffer of what it fetched ahead.
const QUEUE_KBYTES: u32 = 8 << 10;
/// How long one call waits for records.
const SLICE: Duration = Duration::from_millis(250);

/// Where each partition is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeekFrom {
    /// So many records before the end that the end is what is seen.
    Newest,
    /// The oldest record that is there.
    Earliest,
    /// This offset, or the first one behind it that is there.
    Offset(i64),
    /// The first record of this time or later, ms since 1970.
    Time(i64),
}

/// What is to be looked at.
#[derive(Debug, Clone)]
pub struct PeekRequest {
    /// Where each partition is begun.
    pub from: PeekFrom,
    /// How many records of each partition.
    pub count: usize,
    /// This partition alone.
    pub partition: Option<i32>,
    /// How long to wait for records; what came until then is given.
    pub wait: Duration,
}

/// Bytes, of which the beginning was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeekedBytes {
    /// The beginning.
    pub bytes: Vec<u8>,
    /// How many there are.
    pub length: usize,
}

impl PeekedBytes {
    fn new(bytes: &[u8]) -> PeekedBytes {
        let kept = bytes.get(..PART_BYTES_MAX).unwrap_or(bytes);
        PeekedBytes { bytes: kept.to_vec(), length: bytes.len() }
    }
}

/// A record.
#[derive(Debug, Clone)]
pub struct PeekedRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time, ms since 1970, when it has one.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<PeekedBytes>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<PeekedBytes>)>,
    /// Its value; `None` for a tombstone.
    pub value: Option<PeekedBytes>,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Peeked {
    /// The records, by partition and offset.
    pub records: Vec<PeekedRecord>,
    /// Every partition that was asked for: its number, its first offset, its end.
    pub partitions: Vec<(i32, i64, i64)>,
    /// Whether more was asked for than is kept, or than came in time.
    pub is_cut: bool,
}

/// A partition that is read.
struct Reading {
    partition: i32,
    end: i64,
    left: usize,
}

impl Target {
    /// Looks into the topic.
    pub fn peek(&self, request: &PeekRequest) -> Result<Peeked> {
        let cluster = self.cluster("peek");
        let settings = ClientSettings {
            defaults: vec![
                ("isolation.level", "read_committed".to_owned()),
                ("enable.metrics.push", "false".to_owned()),
                ("queued.max.messages.kbytes", QUEUE_KBYTES.to_string()),
            ],
            fixed: vec![
                ("enable.auto.commit", "false".to_owned()),
                ("enable.auto.offset.store", "false".to_owned()),
                ("enable.partition.eof", "true".to_owned()),
                ("auto.offset.reset", "error".to_owned()),
            ],
        };
        let client = cluster.client(ClientKind::Consumer, settings, None)?;
        let mut numbers = cluster.topic(&client, self.topic())?.partitions;
        if let Some(wanted) = request.partition {
            let count = numbers.len();
            numbers.retain(|number| *number == wanted);
            if numbers.is_empty() {
                return Err(Error::config(format!("topic `{}` has {count} partitions, and no {wanted}", self.topic())));
            }
        }
        let at = |offset: i64| -> Vec<PartitionOffset> {
            let topic = self.topic().to_owned();
            let of =
                |partition: &i32| PartitionOffset { topic: topic.clone(), partition: *partition, offset, error: None };
            numbers.iter().map(of).collect()
        };
        let first = cluster.offsets_for_times(&client, &at(-2))?;
        let end = cluster.offsets_for_times(&client, &at(-1))?;
        let count = request.count.min(RECORDS_MAX / numbers.len().max(1)).max(1);
        let back = i64::try_from(count).unwrap_or(i64::MAX);
        let starts: Vec<i64> = match request.from {
            PeekFrom::Newest => end.iter().map(|end| end - back).collect(),
            PeekFrom::Earliest => first.clone(),
            PeekFrom::Offset(offset) => vec![offset; numbers.len()],
            PeekFrom::Time(ms) => {
                let found = cluster.offsets_for_times(&client, &at(ms.max(0)))?;
                found.iter().zip(&end).map(|(found, end)| if *found < 0 { *end } else { *found }).collect()
            }
        };
        let mut peeked = Peeked { is_cut: count < request.count, ..Peeked::default() };
        let mut consumer = Consumer::new(client);
        let mut readings: Vec<Reading> = Vec::new();
        for (index, partition) in numbers.iter().enumerate() {
            let (first, end) = (first.get(index).copied().unwrap_or(0), end.get(index).copied().unwrap_or(0));
            peeked.partitions.push((*partition, first, end));
            let start = starts.get(index).copied().unwrap_or(end).max(first);
            if start < end {
                consumer.start(self.topic(), *partition, start).map_err(|error| cluster.failed(&error))?;
                readings.push(Reading { partition: *partition, end, left: count });
            }
        }
        let deadline = monotonic() + request.wait;
        let mut kept_bytes = 0;
        let mut failure = None;
        let mut trouble = Trouble::default();
        while readings.iter().any(|reading| reading.left > 0) {
            if monotonic() >= deadline || kept_bytes >= LOOK_BYTES_MAX {
                peeked.is_cut = true;
                break;
            }
            consumer.fetch(BATCH_MESSAGES_MAX.min(1000), SLICE, |slot, fetched| {
                // Slots are given out in the order of `start`.
                let Some(reading) = readings.get_mut(slot) else { return };
                match fetched {
                    Fetched::Record(record)
                        if reading.left > 0 && record.offset < reading.end && kept_bytes < LOOK_BYTES_MAX =>
                    {
                        let kept = keep(reading.partition, &record);
                        kept_bytes += bytes_of(&kept);
                        reading.left -= 1;
                        if record.offset + 1 >= reading.end {
                            reading.left = 0;
                        }
                        peeked.records.push(kept);
                    }
                    Fetched::Record(record) if record.offset >= reading.end => reading.left = 0,
                    Fetched::Record(_) => {}
                    Fetched::End(_) => reading.left = 0,
                    Fetched::Failed(error) => failure = Some(error),
                }
            });
            if let Some(error) = failure {
                return Err(cluster.failed(&error));
            }
            consumer.client().poll(Duration::ZERO);
            trouble.look(consumer.client());
            if let Some(refusal) = &trouble.refusal {
                return Err(cluster.failed(refusal));
            }
        }
        peeked.records.sort_by_key(|record| (record.partition, record.offset));
        Ok(peeked)
    }
}

fn keep(partition: i32, record: &Record<'_>) -> PeekedRecord {
    let mut headers = Vec::new();
    record.headers(|name, value| {
        if headers.len() < HEADERS_MAX {
            headers.push((String::from_utf8_lossy(name).into_owned(), value.map(PeekedBytes::new)));
        }
    });
    PeekedRecord {
        partition,
        offset: record.offset,
        timestamp_ms: (record.timestamp_ms >= 0).then_some(record.timestamp_ms),
        key: record.key.map(PeekedBytes::new),
        headers,
        value: record.value.map(PeekedBytes::new),
    }
}

fn bytes_of(record: &PeekedRecord) -> usize {
    let parts = [&record.key, &record.value].into_iter().flatten();
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, |v| v.bytes.len()));
    parts.map(|part| part.bytes.len()).sum::<usize>() + headers.sum::<usize>() + size_of::<PeekedRecord>()
}
