//! The exactly-once sink: records wait in a staging file until their checkpoint is durable, then go in one short transaction.
//!
//! ```text
//! claim:    init_transactions (a producer with this id that came earlier is refused from here on), read the record, generation += 1
//! commit n: begin; all staged records; the record of epoch n; commit
//!           failed or unknown?  init_transactions again, read the record: n is in it, or another generation, or once more
//! ```
//! The record is the words beside a group's offset: group and `transactional.id` have the same name, `<prefix>-wiesel-<table>`, the
//! partition is the topic's first, its offset is the epoch. The offset is part of the transaction, so the record and the rows become
//! visible together, and no topic of our own is needed. A broker forgets offsets of a group that nobody wrote to for
//! `offsets.retention.minutes` (7 days): after such a pause a commit that had died unconfirmed would be made again.
//!
//! Flink keeps a transaction open from one checkpoint to the next and must find it again after a crash; here it is open for the time of
//! the commit alone, and one that a crash leaves behind is aborted by the next claim.
//!
//! With dead letters a record that is known to be refused (too large, a time before 1970) is not staged at all; one that only the broker
//! refuses is searched for by halving and left out (see `refused`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wiesel_core::sink::{
    CheckpointKind, Claim, Prepared, RefusedRow, Sink, SinkContext, SinkCounters, SinkFactory, SinkParallelism,
    SinkStatus,
};
use wiesel_core::{ChangeBatch, Error, Result};
use wiesel_ffi::kafka::{ClientKind, KafkaError, PartitionOffset, Producer, TransactionError, code};

use super::cluster::ClientSettings;
use super::reduce::{Reducer, Waiting};
use super::sink::{Document, Documents, Flight, KafkaSinkFactory, TOO_LARGE_HINT, Target, refused_row};
use crate::epoch::{self, Pending, Record, Run};
use crate::refused::{self, REFUSED_PER_EPOCH_MAX};
use crate::stage::{self, StageReader};
use crate::stager::{StageContent, Stager};

/// Records of about so many bytes make a frame.
const FRAME_BYTES: usize = 4 << 20;
/// Bytes that a commit has in flight.
const IN_FLIGHT_BYTES_MAX: u64 = 32 << 20;
/// One call about a transaction; after it the engine says what is waited for and asks again.
const CALL_MAX: Duration = Duration::from_secs(15);
/// How long a look at delivery reports waits for room.
const LAND_WAIT: Duration = Duration::from_millis(100);
/// Looks without a single delivery report in a row after which the broker counts as away.
const LOOKS_MAX: u32 = 150;

/// Makes the instances of an exactly-once sink and commits their work.
pub(super) struct ExactlyOnceFactory {
    inner: KafkaSinkFactory,
    /// The name of transaction and group.
    name: String,
    run: Arc<Run>,
    session: Mutex<Option<Session>>,
}

/// A producer that has announced itself, and the record that nobody else can have changed since.
struct Session {
    flight: Flight,
    record: Record,
}

/// Why a commit did not come through.
enum Failure {
    /// The transaction must be taken back or looked for: with a new producer.
    Again(Error),
    /// The broker refuses a record: once more without it, or to find it.
    Refused(Error),
    /// Trying again does not help.
    Fatal(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Again(error) | Failure::Refused(error) | Failure::Fatal(error) => error,
        }
    }
}

impl ExactlyOnceFactory {
    pub(super) fn new(inner: KafkaSinkFactory, id_prefix: &str, folder: &str, ordinal: usize) -> Self {
        let table = &inner.table;
        let name = match ordinal {
            0 => format!("{id_prefix}-wiesel-{table}"),
            n => format!("{id_prefix}-wiesel-{table}-{}", n + 1),
        };
        ExactlyOnceFactory {
            name,
            run: Arc::new(Run::new(folder, stage::prefix(table, ordinal), inner.hands_over_refused)),
            session: Mutex::default(),
            inner,
        }
    }

    fn topic(&self) -> &str {
        self.inner.options.topics.first().map_or("", String::as_str)
    }

    /// The place of the record; its offset is the epoch.
    fn place(&self, epoch: u64) -> PartitionOffset {
        let offset = i64::try_from(epoch).unwrap_or(i64::MAX);
        PartitionOffset { topic: self.topic().to_owned(), partition: 0, offset, error: None }
    }

    fn failed(&self, error: &TransactionError, what: &str) -> Error {
        let cluster = self.inner.cluster();
        let (name, reason) = (&self.name, &error.error.reason);
        match error.error.code {
            code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED | code::GROUP_AUTHORIZATION_FAILED => Error::permission(format!(
                "Kafka refuses the user `{}` the transactional.id or the group `{name}` (table `{}`): {reason}",
                self.inner.options.properties.user.as_deref().unwrap_or("(none)"),
                self.inner.table
            ))
            .hint("grant WRITE and DESCRIBE on the transactional.id, READ on the group, by the prefix 'sink.transactional-id-prefix'"),
            _ => cluster.failed(&error.error).at(format!("{what} as `{name}`")),
        }
    }

    /// Announces a producer and reads the record.
    fn connect(&self) -> Result<Session> {
        let cluster = self.inner.cluster();
        let asking = ClientSettings { defaults: Vec::new(), fixed: Vec::new() };
        let asking = cluster.client(ClientKind::Producer, asking, None)?;
        cluster.topic(&asking, self.topic())?;
        let mut settings = self.inner.client_settings(self.inner.topic_bytes_max(&asking, self.topic()));
        drop(asking);
        // Bounded by the transaction's own time, as librdkafka demands.
        settings.defaults.retain(|(name, _)| !matches!(*name, "message.timeout.ms" | "enable.idempotence"));
        settings.fixed.push(("transactional.id", self.name.clone()));
        settings.fixed.push(("enable.idempotence", "true".to_owned()));
        let client = cluster.client(ClientKind::Producer, settings, None)?;
        client.poll(Duration::ZERO);
        client.take_errors();
        let producer = Producer::new(client, self.topic()).map_err(|error| cluster.failed(&error))?;
        producer.init_transactions(CALL_MAX).map_err(|error| self.failed(&error, "announcing a producer"))?;
        let record = self.read_record()?;
        Ok(Session { flight: Flight::new(producer), record })
    }

    fn read_record(&self) -> Result<Record> {
        let cluster = self.inner.cluster();
        let settings = ClientSettings {
            defaults: Vec::new(),
            fixed: vec![("group.id", self.name.clone()), ("isolation.level", "read_committed".to_owned())],
        };
        let client = cluster.client(ClientKind::Consumer, settings, None)?;
        let words = client.committed_words(&self.place(0), CALL_MAX).map_err(|error| cluster.failed(&error))?;
        match words {
            None => Ok(Record::default()),
            Some(words) => serde_json::from_str(&words).map_err(|_| {
                Error::config(format!("the group `{}` holds an offset that is not wiesel's: `{words}`", self.name))
                    .hint("choose another 'sink.transactional-id-prefix'")
            }),
        }
    }

    /// One transaction: what `send` sends, and the record.
    fn transact(
        &self,
        session: &mut Session,
        record: Record,
        send: impl FnOnce(&mut Flight) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let again =
            |error: TransactionError, what: &str| match error.needs_abort || error.is_retriable || error.is_fenced() {
                true => Failure::Again(
                    Error::unavailable(error.error.reason.clone()).at(format!("{what} as `{}`", self.name)),
                ),
                false => Failure::Again(self.failed(&error, what)),
            };
        let words = serde_json::to_string(&record).map_err(|e| Failure::Fatal(Error::internal(e.to_string())))?;
        session.flight.producer().begin_transaction().map_err(|e| again(e, "beginning a transaction"))?;
        send(&mut session.flight)?;
        let producer = session.flight.producer();
        producer
            .send_offset(&self.name, &self.place(record.epoch), &words, CALL_MAX)
            .map_err(|e| again(e, "adding the record"))?;
        let mut tries = 0;
        while let Err(error) = producer.commit_transaction(CALL_MAX) {
            tries += 1;
            if !error.is_retriable || tries > 2 {
                return Err(again(error, "committing a transaction"));
            }
        }
        session.flight.land(Duration::ZERO);
        session.record = record;
        Ok(())
    }

    /// With a producer that is announced. After a failure the next call announces a new one, which takes back what was left open.
    fn with_session<T>(&self, call: impl FnOnce(&mut Session) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut place = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match place.as_mut() {
            Some(session) => session,
            None => place.insert(self.connect().map_err(Failure::Fatal)?),
        };
        let outcome = call(session);
        if outcome.is_err() {
            if let Some(session) = place.take() {
                // At best a courtesy to readers: the next producer aborts it anyway.
                drop(session.flight.producer().abort_transaction(Duration::from_secs(1)));
            }
            self.run.tried_again();
        }
        outcome
    }

    /// Sends all staged records but those that are refused, and waits until the broker has them.
    fn send_staged(&self, flight: &mut Flight, pending: &[Pending], search: &mut Search) -> Result<(), Failure> {
        let fatal = Failure::Fatal;
        let mut place = 0;
        for part in pending {
            let mut reader = StageReader::open(self.run.folder(), &part.stage).map_err(fatal)?;
            while let Some(frame) = reader.next().map_err(fatal)? {
                for record in Records(frame) {
                    let StagedRecord { partition, time, key, value, headers } = record.map_err(fatal)?;
                    if search.is_here(place) {
                        self.found(search, place, key, value)?;
                    }
                    if !search.refused.contains_key(&place) {
                        self.land_below(flight, IN_FLIGHT_BYTES_MAX, search)?;
                        flight
                            .send_keyed(partition, key, value, time, headers)
                            .map_err(|error| self.not_sent(&error, search))?;
                    }
                    place += 1;
                    if search.must_land(place) {
                        self.land_below(flight, 1, search)?;
                        search.passed(place);
                    }
                }
            }
        }
        self.land_below(flight, 1, search)
    }

    /// The search has come down to one record: it is left out from now on.
    fn found(&self, search: &mut Search, place: u64, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), Failure> {
        let reason = std::mem::take(&mut search.reason);
        if search.refused.len() >= REFUSED_PER_EPOCH_MAX {
            return Err(Failure::Fatal(refused::too_many(&self.inner.table, &reason)));
        }
        search.refused.insert(place, refused_row(key, value, &reason));
        search.leave(place);
        Ok(())
    }

    /// Waits until fewer bytes are in flight.
    fn land_below(&self, flight: &mut Flight, bytes: u64, search: &mut Search) -> Result<(), Failure> {
        let mut looks = 0;
        while flight.memory_bytes() >= bytes {
            let landed = flight.land(LAND_WAIT);
            if let Some((error, _)) = landed.failure {
                return Err(self.not_sent(&error, search));
            }
            looks = if landed.acknowledged > 0 { 0 } else { looks + 1 };
            if looks > LOOKS_MAX {
                let text = format!("{} does not acknowledge records", self.inner.cluster().brokers());
                return Err(Failure::Again(Error::unavailable(text)));
            }
        }
        Ok(())
    }

    fn not_sent(&self, error: &KafkaError, search: &mut Search) -> Failure {
        let topic = self.topic();
        if !matches!(error.code, code::MESSAGE_TOO_LARGE | code::INVALID_TIMESTAMP | code::INVALID_RECORD) {
            return Failure::Again(self.inner.cluster().failed(error));
        }
        let text = format!("topic `{topic}` (table `{}`) refuses a record: {}", self.inner.table, error.reason);
        if self.run.hands_over_refused {
            search.failed(text.clone());
            return Failure::Refused(Error::data(text));
        }
        Failure::Fatal(Error::data(text).hint(TOO_LARGE_HINT))
    }
}

/// The way to a record that the broker refuses: it fails a transaction as a whole, so each step of the search is a transaction that was
/// taken back. All records before `low` pass, and among those before `high` is one that does not.
#[derive(Default)]
struct Search {
    low: u64,
    high: Option<u64>,
    count: u64,
    refused: BTreeMap<u64, RefusedRow>,
    reason: String,
}

impl Search {
    /// A transaction failed while the records before the next landing were on their way.
    fn failed(&mut self, reason: String) {
        self.reason = reason;
        self.high = Some(match self.high {
            Some(high) => self.middle(high),
            None => self.count,
        });
    }

    fn middle(&self, high: u64) -> u64 {
        self.low + (high - self.low).div_ceil(2)
    }

    /// Whether only this record is left.
    fn is_here(&self, place: u64) -> bool {
        self.high.is_some_and(|high| self.low == place && high <= place + 1)
    }

    /// The record is left out; whether another one is refused is not known.
    fn leave(&mut self, place: u64) {
        self.low = place + 1;
        self.high = None;
    }

    /// Whether to wait here until the broker has all records so far.
    fn must_land(&self, place: u64) -> bool {
        self.high.is_some_and(|high| place == self.low || place == self.middle(high))
    }

    /// The records so far have landed.
    fn passed(&mut self, place: u64) {
        self.low = self.low.max(place);
    }
}

impl SinkFactory for ExactlyOnceFactory {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerWorker
    }

    fn keeps_record(&self) -> bool {
        true
    }

    fn claim(&self, claim: &Claim<'_>) -> Result<()> {
        let generation = self.with_session(|session| {
            let mut record = session.record.clone();
            record.generation = epoch::claim(&record, claim, &self.inner.table).map_err(Failure::Fatal)?;
            let generation = record.generation;
            self.transact(session, record, |_| Ok(()))?;
            Ok(generation)
        })?;
        self.run.claimed(generation);
        Ok(())
    }

    fn open(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let cluster = self.inner.cluster();
        let settings = ClientSettings { defaults: Vec::new(), fixed: Vec::new() };
        let client = cluster.client(ClientKind::Producer, settings, None)?;
        let partitions = cluster.topic(&client, self.topic())?.partitions;
        let topic_bytes_max = self.inner.topic_bytes_max(&client, self.topic());
        Ok(Box::new(ExactlyOnceSink {
            documents: self.inner.documents(topic_bytes_max)?,
            reducer: self.inner.reducer(),
            target: Target::new(self.inner.options.partitioner, context.instance, partitions),
            stager: Stager::start(&format!("kafka-{}", self.inner.table), &context, Arc::clone(&self.run))?,
            hands_over_refused: self.inner.hands_over_refused,
            refused: Vec::new(),
            refused_count: 0,
            received: 0,
            folded: 0,
        }))
    }

    fn commit(&self, checkpoint: u64, pending: &[Vec<u8>]) -> Result<()> {
        let pending: Vec<Pending> = pending.iter().map(|work| epoch::decode(work)).collect::<Result<_>>()?;
        let Some(first) = pending.first() else { return Ok(()) };
        let mut search = Search { count: pending.iter().map(|part| part.stage.changes).sum(), ..Search::default() };
        loop {
            let outcome = self.with_session(|session| {
                if session.record.generation != self.run.generation() {
                    let error = epoch::superseded(&self.inner.table, self.run.generation(), &session.record);
                    return Err(Failure::Fatal(error));
                }
                if session.record.has(first.writer, checkpoint) {
                    return Ok(());
                }
                let record = session.record.after(first, checkpoint);
                self.transact(session, record, |flight| {
                    self.send_staged(flight, &pending, &mut search)?;
                    let refused: Vec<RefusedRow> = search.refused.values().cloned().collect();
                    self.run.keep_refused(checkpoint, &refused).map_err(Failure::Fatal)
                })
            });
            match outcome {
                Err(Failure::Refused(_)) => {}
                outcome => break outcome?,
            }
        }
        self.run.committed(checkpoint, &pending)
    }

    fn recover(&self, restored: &[Vec<u8>]) -> Result<()> {
        self.run.recover(restored)
    }
}

/// A record as it is staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StagedRecord<'a> {
    partition: Option<i32>,
    time: Option<i64>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    /// In the form of `reader.rs`; empty when there are none.
    headers: &'a [u8],
}

/// What a staged record has.
const HAS_PARTITION: u8 = 1;
const HAS_TIME: u8 = 2;
const HAS_KEY: u8 = 4;
const HAS_VALUE: u8 = 8;
const HAS_HEADERS: u8 = 16;

impl StagedRecord<'_> {
    /// `[what it has][partition: 4 bytes][time: 8][length: 4][key][length: 4][value][length: 4][headers]`, each only if it is there.
    fn append_to(&self, frame: &mut Vec<u8>) {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        frame.push(
            flag(self.partition.is_some(), HAS_PARTITION)
                | flag(self.time.is_some(), HAS_TIME)
                | flag(self.key.is_some(), HAS_KEY)
                | flag(self.value.is_some(), HAS_VALUE)
                | flag(!self.headers.is_empty(), HAS_HEADERS),
        );
        self.partition.iter().for_each(|partition| frame.extend_from_slice(&partition.to_le_bytes()));
        self.time.iter().for_each(|time| frame.extend_from_slice(&time.to_le_bytes()));
        let headers = Some(self.headers).filter(|headers| !headers.is_empty());
        for bytes in [self.key, self.value, headers].into_iter().flatten() {
            frame.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            frame.extend_from_slice(bytes);
        }
    }
}

/// The records of a frame.
struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (bytes, rest) =
            self.0.split_at_checked(count).ok_or_else(|| Error::data("a staging file holds what is no record"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn read(&mut self) -> Result<StagedRecord<'a>> {
        let [has] = self.array()?;
        let mut record = StagedRecord { partition: None, time: None, key: None, value: None, headers: &[] };
        if has & HAS_PARTITION != 0 {
            record.partition = Some(i32::from_le_bytes(self.array()?));
        }
        if has & HAS_TIME != 0 {
            record.time = Some(i64::from_le_bytes(self.array()?));
        }
        for (flag, part) in [(HAS_KEY, &mut record.key), (HAS_VALUE, &mut record.value)] {
            if has & flag != 0 {
                let length = u32::from_le_bytes(self.array()?);
                *part = Some(self.bytes(length as usize)?);
            }
        }
        if has & HAS_HEADERS != 0 {
            let length = u32::from_le_bytes(self.array()?);
            record.headers = self.bytes(length as usize)?;
        }
        Ok(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<StagedRecord<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.0 = &[];
        }
        Some(record)
    }
}

/// Records that gather for the staging file.
#[derive(Default)]
struct Gathered {
    frame: Vec<u8>,
    count: u64,
}

impl Gathered {
    fn add(&mut self, record: StagedRecord<'_>) {
        record.append_to(&mut self.frame);
        self.count += 1;
    }

    /// Takes what waited for later records of its keys.
    fn add_all(&mut self, reducer: &mut Reducer, target: &mut Target) {
        for Waiting { key, value, time, headers } in reducer.take() {
            let (key, value) = (Some(key.as_slice()), value.as_deref());
            self.add(StagedRecord { partition: target.next(), time, key, value, headers: &headers });
        }
    }
}

impl StageContent for Gathered {
    fn is_full(&self) -> bool {
        self.frame.len() >= FRAME_BYTES
    }

    fn frames(&self, append: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        if self.count == 0 { Ok(()) } else { append(&self.frame, self.count) }
    }

    fn clear(&mut self) {
        self.frame.clear();
        self.count = 0;
    }
}

struct ExactlyOnceSink {
    documents: Documents,
    reducer: Option<Reducer>,
    target: Target,
    stager: Stager<Gathered>,
    hands_over_refused: bool,
    /// Records that Kafka would not take, at most those of one step.
    refused: Vec<RefusedRow>,
    refused_count: u64,
    received: u64,
    /// Records that a later one of their key replaced before they were staged.
    folded: u64,
}

impl Sink for ExactlyOnceSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        self.documents.encode(batch)?;
        let content = self.stager.content();
        for document in self.documents.records() {
            self.received += 1;
            if let Some(error) = self.documents.refusal(document) {
                if !self.hands_over_refused {
                    return Err(error);
                }
                self.refused.push(refused_row(document.key, document.value, error.message()));
                self.refused_count += 1;
                continue;
            }
            let Document { key, value, time, headers } = document;
            match (&mut self.reducer, key) {
                (Some(reducer), Some(key)) => {
                    self.folded += u64::from(reducer.add(key, value, time, headers));
                    if reducer.is_full() {
                        content.add_all(reducer, &mut self.target);
                    }
                }
                _ => content.add(StagedRecord { partition: self.target.next(), time, key, value, headers }),
            }
        }
        Ok(())
    }

    fn step_end(&mut self, now_ms: i64) -> Result<SinkStatus> {
        let Some(reducer) = &mut self.reducer else { return self.stager.status() };
        let (is_due, due) = reducer.look(now_ms);
        if is_due {
            self.stager.content().add_all(reducer, &mut self.target);
        }
        Ok(match self.stager.status()? {
            SinkStatus::Ready(None) if !is_due => SinkStatus::Ready(due),
            status => status,
        })
    }

    fn prepare(&mut self, checkpoint: u64, kind: CheckpointKind) -> Result<()> {
        if let Some(reducer) = &mut self.reducer {
            self.stager.content().add_all(reducer, &mut self.target);
        }
        self.stager.prepare(checkpoint, kind)
    }

    fn poll_prepared(&mut self) -> Result<Option<Prepared>> {
        self.stager.poll_prepared()
    }

    fn take_refused(&mut self) -> Vec<RefusedRow> {
        let mut refused = std::mem::take(&mut self.refused);
        refused.append(&mut self.stager.take_refused());
        refused
    }

    fn waiting_for(&self) -> Option<String> {
        self.stager.waiting_for()
    }

    fn counters(&self) -> SinkCounters {
        let counters = self.stager.counters(self.received, self.folded);
        SinkCounters { refused: counters.refused + self.refused_count, ..counters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_records_come_back_as_they_were() {
        let records = [
            StagedRecord {
                partition: Some(-7),
                time: Some(i64::MAX),
                key: Some(b"key"),
                value: Some(b"value"),
                headers: b"",
            },
            StagedRecord { partition: None, time: None, key: None, value: Some(b""), headers: b"some" },
            StagedRecord { partition: None, time: Some(0), key: Some(b""), value: None, headers: b"" },
        ];
        let mut frame = Vec::new();
        records.iter().for_each(|record| record.append_to(&mut frame));
        let found: Vec<StagedRecord<'_>> = Records(&frame).map(Result::unwrap).collect();
        assert_eq!(found, records);
        for end in 1..frame.len() {
            let read: Vec<_> = Records(&frame[..end]).collect();
            assert!(read.len() <= records.len(), "cut at {end}");
        }
    }
}
