//! The sink: changes are folded into a buffer on the worker (`buffer.rs`), a thread sends buffers as bulks and reads every item.
//!
//! What an answer means:
//!
//! | Answer | Then |
//! |---|---|
//! | no connection, time-out, lost reply, 500, 502, 503, 504 | the bulk is sent again, with back-off, until it works |
//! | 429 (whole bulk or item), 503 item | sent again, items alone, as the back-off options say; unset: until it works |
//! | 409 of an update | another writer was faster: sent again |
//! | 409 of a versioned document | a newer version is there: dropped; the run looks whether it was overtaken |
//! | 403 item, index read-only because the disk is full | sent again until there is room |
//! | 404 of a delete | the document is gone already: fine |
//! | 413 | the bulk is cut in halves |
//! | 401, 403 | the job ends: a right or the password is missing |
//! | any other, 413 of one document | with dead letters the document is handed over; else the job ends and names index, id and reason; the other items of the bulk are written |

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::{RecordBatch, UInt32Array};
use wiesel_core::sink::{
    CheckpointKind, Claim, Prepared, RefusedRow, Sink, SinkContext, SinkCounters, SinkFactory, SinkParallelism,
    SinkStatus,
};
use wiesel_core::{ChangeBatch, Error, ErrorKind, Result, RowKind};

use super::buffer::{Action, Buffer, Change};
use super::client::{Answer, Client, FailedItem, failed_items, whole_reason};
use super::id::DocumentIds;
use super::options::{Backoff, ElasticsearchOptions};
use super::versions::Versions;
use crate::formats::Encoder;
use crate::handover::{HandOver, Link, exponential_backoff};
use crate::refused;

/// The buffer being filled takes about this much; then the sink is full until the other one is sent.
const BUFFERED_BYTES_MAX: usize = 8 << 20;
/// And about so many changes.
const BUFFERED_CHANGES_MAX: usize = 100_000;

/// The work of a checkpoint of a versioned sink: to look at the claim.
const CLAIM: &[u8] = b"claim";

/// Makes the instances of a sink.
pub(super) struct ElasticsearchFactory {
    pub(super) table: String,
    pub(super) options: Arc<ElasticsearchOptions>,
    /// `None` without a primary key.
    pub(super) ids: Option<Arc<DocumentIds>>,
    /// Refused documents are handed over and do not end the job.
    pub(super) hands_over_refused: bool,
    /// The claim, when the sink is versioned.
    pub(super) versions: Option<Arc<Versions>>,
}

impl SinkFactory for ElasticsearchFactory {
    fn parallelism(&self) -> SinkParallelism {
        SinkParallelism::PerWorker
    }

    fn open(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let client = Client::new(self.options.connection.clone(), context.instance);
        let mut sender = Sender {
            client,
            options: Arc::clone(&self.options),
            is_keyed: self.ids.is_some(),
            bulk_bytes_max: self.options.bulk_bytes_max,
            next_version: self.versions.as_ref().map_or(0, |versions| versions.base() + 1),
            versions: self.versions.clone(),
            hands_over_refused: self.hands_over_refused,
            body: Vec::new(),
        };
        let name = format!("elasticsearch-{}-{}", self.table, context.instance);
        let handover = HandOver::start(name, context.waker, move |buffer, link| sender.send(buffer, link))?;
        Ok(Box::new(ElasticsearchSink {
            encoder: self.options.encoder.create()?,
            options: Arc::clone(&self.options),
            ids: self.ids.clone(),
            buffer: Buffer::default(),
            spare: None,
            handover,
            first_buffered_ms: None,
            last_now_ms: 0,
            waits_at_checkpoint: false,
            is_versioned: self.versions.is_some(),
            received: 0,
            folded: 0,
            id: String::new(),
            index: String::new(),
            touched: Vec::new(),
            documents: Vec::new(),
            ends: Vec::new(),
        }))
    }

    fn claim(&self, _claim: &Claim<'_>) -> Result<()> {
        self.versions.as_ref().map_or(Ok(()), |versions| versions.claim())
    }

    fn commit(&self, _checkpoint: u64, _pending: &[Vec<u8>]) -> Result<()> {
        // Nothing is left to write; a run that was overtaken learns it here at the latest.
        self.versions.as_ref().map_or(Ok(()), |versions| versions.check())
    }

    fn recover(&self, _restored: &[Vec<u8>]) -> Result<()> {
        Ok(())
    }
}

struct ElasticsearchSink {
    encoder: Box<dyn Encoder>,
    options: Arc<ElasticsearchOptions>,
    ids: Option<Arc<DocumentIds>>,
    /// Being filled.
    buffer: Buffer,
    /// Came back empty from the thread.
    spare: Option<Buffer>,
    handover: HandOver<Buffer>,
    /// When the oldest change of `buffer` came, as far as known.
    first_buffered_ms: Option<i64>,
    last_now_ms: i64,
    /// Whether the running checkpoint waits for acknowledgements.
    waits_at_checkpoint: bool,
    is_versioned: bool,
    received: u64,
    folded: u64,
    // Scratch space of `write`.
    id: String,
    index: String,
    touched: Vec<usize>,
    documents: Vec<u8>,
    ends: Vec<usize>,
}

impl ElasticsearchSink {
    fn write_keyed(&mut self, ids: &DocumentIds, batch: &ChangeBatch) -> Result<()> {
        self.touched.clear();
        let options = Arc::clone(&self.options);
        for row in 0..batch.len() {
            self.received += 1;
            self.id.clear();
            ids.append(&mut self.id, &batch.rows, row)?;
            // As in Flink -U deletes: a filter may have held back the +U that belongs to it. One that comes replaces it in the buffer.
            let is_delete = !batch.kind(row).is_add();
            let index = match &options.index.dynamic {
                None => None,
                Some(dynamic) => {
                    dynamic.write(&mut self.index, &batch.rows, row)?;
                    Some(self.index.as_str())
                }
            };
            self.folded += u64::from(self.buffer.note(index, &self.id, row, is_delete, &mut self.touched));
        }
        let rows = self.buffer.rows_wanted(&mut self.touched);
        if rows.is_empty() {
            return Ok(());
        }
        self.encode(&pick(&batch.rows, &rows)?)?;
        self.buffer.set_documents(&self.touched, &self.documents, &self.ends);
        Ok(())
    }

    fn write_appended(&mut self, batch: &ChangeBatch) -> Result<()> {
        if (0..batch.len()).any(|row| batch.kind(row) != RowKind::Insert) {
            return Err(Error::internal("an updating result reached an Elasticsearch table without a primary key"));
        }
        self.received += batch.len() as u64;
        self.encode(&batch.rows)?;
        let mut start = 0;
        for (row, end) in self.ends.iter().enumerate() {
            let index = match &self.options.index.dynamic {
                None => None,
                Some(dynamic) => {
                    dynamic.write(&mut self.index, &batch.rows, row)?;
                    Some(self.index.as_str())
                }
            };
            self.buffer.append(index, self.documents.get(start..*end).unwrap_or_default());
            start = *end;
        }
        Ok(())
    }

    fn encode(&mut self, rows: &RecordBatch) -> Result<()> {
        self.documents.clear();
        self.ends.clear();
        self.encoder.encode(&ChangeBatch::inserts(rows.clone()), &mut self.documents, &mut self.ends)?;
        if self.ends.len() != rows.num_rows() {
            return Err(Error::internal("the format made another number of documents than there were rows"));
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.buffer.bytes() >= BUFFERED_BYTES_MAX || self.buffer.len() >= BUFFERED_CHANGES_MAX
    }

    fn is_due(&self) -> bool {
        let options = &self.options;
        self.is_full()
            || self.handover.checkpoint_wants_buffer()
            || options.flush_actions.is_some_and(|n| self.buffer.len() >= n)
            || options.flush_bytes.is_some_and(|n| self.buffer.bytes() >= n)
            || self.due_at_ms().is_some_and(|due| self.last_now_ms >= due)
    }

    fn due_at_ms(&self) -> Option<i64> {
        Some(self.first_buffered_ms?.saturating_add(self.options.flush_interval_ms?))
    }

    /// Reads what came back, hands over what is due.
    fn pump(&mut self) -> Result<()> {
        if let Some(emptied) = self.handover.take_back()? {
            self.spare = Some(emptied);
        }
        if self.handover.is_idle() && !self.buffer.is_empty() && self.is_due() {
            let next = self.spare.take().unwrap_or_default();
            self.handover.hand_over(std::mem::replace(&mut self.buffer, next))?;
            self.first_buffered_ms = None;
        }
        Ok(())
    }
}

/// The rows of a batch at the given places, which ascend by first appearance of their ids and not by number.
fn pick(rows: &RecordBatch, wanted: &[usize]) -> Result<RecordBatch> {
    if wanted.len() == rows.num_rows() && wanted.is_sorted() {
        return Ok(rows.clone());
    }
    let indices: UInt32Array = wanted.iter().map(|row| u32::try_from(*row).ok()).collect();
    Ok(arrow_select::take::take_record_batch(rows, &indices)?)
}

impl Sink for ElasticsearchSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        match self.ids.clone() {
            Some(ids) => self.write_keyed(&ids, batch),
            None => self.write_appended(batch),
        }
    }

    fn step_end(&mut self, now_ms: i64) -> Result<SinkStatus> {
        self.last_now_ms = now_ms;
        if !self.buffer.is_empty() && self.first_buffered_ms.is_none() {
            self.first_buffered_ms = Some(now_ms);
        }
        self.pump()?;
        if self.is_full() && !self.handover.is_idle() {
            return Ok(SinkStatus::Full);
        }
        // While a buffer is on its way, its return wakes the loop.
        Ok(SinkStatus::Ready(if self.handover.is_idle() { self.due_at_ms() } else { None }))
    }

    fn prepare(&mut self, _checkpoint: u64, kind: CheckpointKind) -> Result<()> {
        self.waits_at_checkpoint = self.options.flushes_on_checkpoint || kind != CheckpointKind::Periodic;
        if self.waits_at_checkpoint {
            self.handover.begin_checkpoint(self.buffer.is_empty());
        }
        self.pump()
    }

    fn poll_prepared(&mut self) -> Result<Option<Prepared>> {
        self.pump()?;
        let is_safe = !self.waits_at_checkpoint || self.handover.checkpoint_is_safe();
        let pending = if self.is_versioned { CLAIM.to_vec() } else { Vec::new() };
        Ok(is_safe.then(|| Prepared { pending, state: Vec::new() }))
    }

    fn take_refused(&mut self) -> Vec<RefusedRow> {
        self.handover.progress().take_refused()
    }

    fn waiting_for(&self) -> Option<String> {
        self.handover.progress().waiting_for()
    }

    fn counters(&self) -> SinkCounters {
        let progress = self.handover.progress();
        SinkCounters {
            received: self.received,
            delivered: progress.delivered.load(Ordering::Relaxed),
            folded: self.folded + progress.overtaken.load(Ordering::Relaxed),
            refused: progress.refused.load(Ordering::Relaxed),
            retried: progress.retried.load(Ordering::Relaxed),
        }
    }
}

/// The thread's part: a buffer as bulks.
struct Sender {
    client: Client,
    options: Arc<ElasticsearchOptions>,
    is_keyed: bool,
    /// `sink.bulk-flush.max-size`, or less after the server found a bulk too large.
    bulk_bytes_max: usize,
    /// The version of the buffer's first change.
    next_version: u64,
    versions: Option<Arc<Versions>>,
    hands_over_refused: bool,
    body: Vec<u8>,
}

/// What a bulk left to do.
enum Outcome {
    /// Nothing.
    Done,
    /// The changes at these places have to be sent again, because of the text.
    Again(Vec<usize>, String, Cause),
    /// The bulk is too large for the server.
    TooLarge,
}

/// Why something is sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The server is away: nothing to decide, it is tried until it is back.
    Outage,
    /// The server has too much to do: the back-off options decide.
    Overload,
}

impl Sender {
    fn send(&mut self, buffer: &mut Buffer, link: &Link) -> Result<()> {
        let places: Vec<usize> = (0..buffer.len()).collect();
        let mut rest = places.as_slice();
        while !rest.is_empty() {
            let (bulk, later) = rest.split_at(self.bulk_length(buffer, rest));
            self.send_bulk(buffer, bulk, link)?;
            rest = later;
        }
        self.next_version += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }

    /// Where a change goes.
    fn index<'a>(&'a self, buffer: &'a Buffer, change: &Change) -> &'a str {
        buffer.index(change).unwrap_or(&self.options.index.name)
    }

    /// How many of the changes fit into one bulk; at least one.
    fn bulk_length(&self, buffer: &Buffer, places: &[usize]) -> usize {
        let mut bytes = 0;
        let mut length = 0;
        for place in places.iter().take(self.options.bulk_actions_max.max(1)) {
            let Some(change) = buffer.changes().get(*place) else { break };
            bytes += buffer.id(change).len() + self.index(buffer, change).len() + 48;
            if let Action::Write(document) = &change.action {
                bytes += document.len() * if self.is_keyed { 2 } else { 1 };
            }
            if length > 0 && bytes > self.bulk_bytes_max {
                break;
            }
            length += 1;
        }
        length.max(1)
    }

    /// Sends some changes until all of them are acknowledged.
    fn send_bulk(&mut self, buffer: &Buffer, places: &[usize], link: &Link) -> Result<()> {
        let mut places = places.to_vec();
        let mut attempt = 0;
        let mut overloads = 0;
        loop {
            self.write_body(buffer, &places)?;
            let answer = self.client.bulk(&self.body)?;
            let (again, why, cause) = match self.read(answer, buffer, &places, link)? {
                Outcome::Done => break,
                Outcome::TooLarge => {
                    link.progress.set_waiting_for(None);
                    return self.send_halves(buffer, &places, link);
                }
                Outcome::Again(again, why, cause) => (again, why, cause),
            };
            attempt += 1;
            let backoff = self.options.backoff;
            if cause == Cause::Overload {
                overloads += 1;
                if backoff.retries_max.is_some_and(|max| overloads > max) {
                    let error = Error::unavailable(format!("gave up after {} retries: {why}", overloads - 1));
                    return Err(error.hint("leave 'sink.bulk-flush.backoff.strategy' unset to retry until it works"));
                }
            } else {
                overloads = 0;
            }
            link.progress.retried.fetch_add(1, Ordering::Relaxed);
            link.progress.set_waiting_for(Some(format!("{why} (try {})", attempt + 1)));
            places = again;
            link.pause(pause(backoff, attempt))?;
        }
        link.progress.set_waiting_for(None);
        Ok(())
    }

    fn send_halves(&mut self, buffer: &Buffer, places: &[usize], link: &Link) -> Result<()> {
        if let [place] = places {
            let change = buffer.changes().get(*place);
            let id = change.map_or("", |c| buffer.id(c));
            let error = Error::data(format!(
                "Elasticsearch refuses document `{id}` of index `{}`: its {} bytes are too many for one request",
                change.map_or(self.options.index.name.as_str(), |c| self.index(buffer, c)),
                self.body.len()
            ))
            .hint("raise http.max_content_length of the server, or write fewer columns");
            if let Some(change) = buffer.changes().get(*place).filter(|_| self.hands_over_refused) {
                link.progress.refuse(refused::row(
                    row_of(buffer, change),
                    change.action == Action::Delete,
                    error.message(),
                ));
                return Ok(());
            }
            link.progress.refused.fetch_add(1, Ordering::Relaxed);
            return Err(error);
        }
        // Later bulks begin with what went through.
        self.bulk_bytes_max = (self.body.len() / 2).min(self.bulk_bytes_max);
        let (first, second) = places.split_at(places.len() / 2);
        self.send_bulk(buffer, first, link)?;
        self.send_bulk(buffer, second, link)
    }

    fn write_body(&mut self, buffer: &Buffer, places: &[usize]) -> Result<()> {
        self.body.clear();
        // A version replaces a document whole; without one fields are merged into it.
        let is_merged = self.is_keyed && self.versions.is_none();
        for (place, change) in places.iter().filter_map(|place| Some((*place, buffer.changes().get(*place)?))) {
            let (verb, document) = match &change.action {
                Action::Delete => ("delete", None),
                Action::Write(range) => (if is_merged { "update" } else { "index" }, Some(buffer.document(range))),
            };
            self.body.extend_from_slice(b"{\"");
            self.body.extend_from_slice(verb.as_bytes());
            self.body.extend_from_slice(b"\":{\"_index\":");
            match buffer.index(change) {
                Some(index) => serde_json::to_writer(&mut self.body, index)
                    .map_err(|e| Error::internal(format!("the name of an index cannot be written: {e}")))?,
                // The name that the table gives holds nothing that JSON would escape; that was checked with the options.
                None => {
                    self.body.push(b'"');
                    self.body.extend_from_slice(self.options.index.name.as_bytes());
                    self.body.push(b'"');
                }
            }
            if let Some(document_type) = &self.options.document_type {
                self.body.extend_from_slice(b",\"_type\":\"");
                self.body.extend_from_slice(document_type.as_bytes());
                self.body.push(b'"');
            }
            if self.is_keyed {
                self.body.extend_from_slice(b",\"_id\":");
                serde_json::to_writer(&mut self.body, buffer.id(change))
                    .map_err(|e| Error::internal(format!("a document id cannot be written: {e}")))?;
            }
            if let (true, "update", Some(retries)) = (self.is_keyed, verb, self.options.retry_on_conflict) {
                self.body.extend_from_slice(format!(",\"retry_on_conflict\":{retries}").as_bytes());
            }
            if self.versions.is_some() {
                let version = self.next_version + place as u64;
                let text = format!(",\"version\":{version},\"version_type\":\"external_gte\"");
                self.body.extend_from_slice(text.as_bytes());
            }
            self.body.extend_from_slice(b"}}\n");
            match document {
                None => {}
                Some(document) if is_merged => {
                    self.body.extend_from_slice(b"{\"doc\":");
                    self.body.extend_from_slice(document);
                    self.body.extend_from_slice(b",\"upsert\":");
                    self.body.extend_from_slice(document);
                    self.body.extend_from_slice(b"}\n");
                }
                Some(document) => {
                    self.body.extend_from_slice(document);
                    self.body.push(b'\n');
                }
            }
        }
        Ok(())
    }

    fn read(&self, answer: Answer, buffer: &Buffer, places: &[usize], link: &Link) -> Result<Outcome> {
        let (status, body, host) = match answer {
            Answer::Away(why) => return Ok(Outcome::Again(places.to_vec(), why, Cause::Outage)),
            Answer::Status { status, body, host } => (status, body, host),
        };
        let busy = |cause| {
            Ok(Outcome::Again(places.to_vec(), format!("{host} answers {status}: {}", whole_reason(&body)), cause))
        };
        match status {
            200 => self.read_items(&failed_items(&body, places.len(), &host)?, buffer, places, link, &host),
            413 => Ok(Outcome::TooLarge),
            429 | 503 => busy(Cause::Overload),
            500 | 502 | 504 => busy(Cause::Outage),
            _ => {
                link.progress.refused.fetch_add(places.len() as u64, Ordering::Relaxed);
                Err(refused_request(status, &whole_reason(&body), &host, &self.options.index.name))
            }
        }
    }

    fn read_items(
        &self,
        failed: &[FailedItem],
        buffer: &Buffer,
        places: &[usize],
        link: &Link,
        host: &str,
    ) -> Result<Outcome> {
        let mut again = Vec::new();
        let mut why = None;
        let mut refused: Option<Error> = None;
        let (mut refused_count, mut overtaken, mut handed_over) = (0_u64, 0_u64, 0_u64);
        for item in failed {
            let Some(place) = places.get(item.position) else { continue };
            let Some(change) = buffer.changes().get(*place) else { continue };
            let is_delete = change.action == Action::Delete;
            if is_delete && item.status == 404 && item.error_type.is_empty() {
                continue;
            }
            if self.versions.is_some() && item.status == 409 {
                overtaken += 1;
                continue;
            }
            if may_work_later(item) {
                again.push(*place);
                why.get_or_insert_with(|| {
                    format!("{host} answers {} for some documents: {}", item.status, item.reason)
                });
                continue;
            }
            let error = refused_item(item, self.index(buffer, change), buffer.id(change));
            if self.hands_over_refused && error.kind() == ErrorKind::Data {
                handed_over += 1;
                link.progress.refuse(refused::row(row_of(buffer, change), is_delete, error.message()));
                continue;
            }
            refused_count += 1;
            if refused.is_none() {
                refused = Some(error);
            }
        }
        let delivered = (places.len() - again.len()) as u64 - refused_count - overtaken - handed_over;
        link.progress.overtaken.fetch_add(overtaken, Ordering::Relaxed);
        link.progress.delivered.fetch_add(delivered, Ordering::Relaxed);
        link.progress.refused.fetch_add(refused_count, Ordering::Relaxed);
        if let Some(versions) = self.versions.as_ref().filter(|_| overtaken > 0) {
            match versions.check() {
                Err(error) if error.kind() == ErrorKind::Superseded => return Err(error),
                // Not known for now; the next checkpoint asks again.
                _ => {}
            }
        }
        match (refused, why) {
            (Some(error), _) if refused_count > 1 => {
                Err(error.at(format!("a bulk of {} documents, {refused_count} of them refused", places.len())))
            }
            (Some(error), _) => Err(error),
            (None, Some(why)) => {
                let is_room_missing = failed.iter().any(is_disk_full);
                let cause = if is_room_missing { Cause::Outage } else { Cause::Overload };
                Ok(Outcome::Again(again, why, cause))
            }
            (None, None) => Ok(Outcome::Done),
        }
    }
}

/// A change for the table of dead letters: the document, or what was to be deleted.
fn row_of(buffer: &Buffer, change: &Change) -> Vec<u8> {
    match &change.action {
        Action::Write(range) => buffer.document(range).to_vec(),
        Action::Delete => serde_json::json!({ "_id": buffer.id(change) }).to_string().into_bytes(),
    }
}

fn pause(backoff: Backoff, attempt: u32) -> std::time::Duration {
    if backoff.is_constant { backoff.delay } else { exponential_backoff(backoff.delay, attempt) }
}

/// Whether the same action can succeed without anybody changing it.
fn may_work_later(item: &FailedItem) -> bool {
    let is_lost_race = item.status == 409 && item.error_type == "version_conflict_engine_exception";
    matches!(item.status, 429 | 503) || is_lost_race || is_disk_full(item)
}

/// The server makes an index read-only when its disk is nearly full, and writable again when there is room.
fn is_disk_full(item: &FailedItem) -> bool {
    item.error_type == "cluster_block_exception" && item.reason.contains("read-only / allow delete")
}

fn refused_item(item: &FailedItem, index: &str, id: &str) -> Error {
    let document = if id.is_empty() { String::new() } else { format!(" document `{id}`") };
    let message = format!(
        "Elasticsearch refuses{document} of index `{index}` ({} {}): {}",
        item.status, item.error_type, item.reason
    );
    match item.status {
        401 | 403 => Error::permission(message).hint(format!("the user needs the right to write to index `{index}`")),
        404 if item.error_type == "index_not_found_exception" => {
            Error::config(message).hint("create the index: the server is set not to create it by itself")
        }
        400 if item.error_type.ends_with("parsing_exception") => {
            Error::data(message).hint("the index has a mapping that does not fit the column's type")
        }
        _ => Error::data(message),
    }
}

/// The error for a request that was refused as a whole.
pub(super) fn refused_request(status: u16, reason: &str, host: &str, index: &str) -> Error {
    match status {
        401 => Error::permission(format!("Elasticsearch at {host} does not accept the credentials: {reason}"))
            .hint("check 'username' and 'password' of the table"),
        403 => Error::permission(format!(
            "Elasticsearch at {host} does not let this user write to index `{index}`: {reason}"
        ))
        .hint(format!("the user needs the rights `write` and, for a new index, `create_index` on `{index}`")),
        404 => Error::config(format!("{host} does not know the path of a bulk request: {reason}"))
            .hint("check 'hosts' and 'connection.path-prefix' of the table"),
        _ => Error::data(format!("Elasticsearch at {host} refuses a bulk request with status {status}: {reason}")),
    }
}
