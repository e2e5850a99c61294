//! The open files of one worker.
//!
//! `write` encodes into memory and hands whole pieces to the operating system, which takes them at the speed of memory; what may take long,
//! making files durable, is done by a thread of its own, and [`Sink::poll_prepared`] waits for it. Memory is bounded by
//! [`BUFFERED_BYTES_MAX`] for all files of a worker together, open files by [`OPEN_FILES_MAX`]. A full disk keeps what it refused in
//! memory and stops the job's loop until there is space.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow_array::RecordBatch;
use crossbeam_channel::{Receiver, Sender, bounded};
use wiesel_core::env::{Waker, wall_clock_ms};
use wiesel_core::sink::{
    CheckpointKind, Prepared, Sink, SinkContext, SinkCounters, SinkFactory, SinkParallelism, SinkStatus,
};
use wiesel_core::table::{SinkRequest, TableDescriptor};
use wiesel_core::{ChangeBatch, Error, Result, RowKind};
use wiesel_objects::ObjectUrl;

use super::SinkPlan;
use super::ledger::{
    self, InstanceState, OpenFile, PendingFile, Place, decode_pending, encode_pending, io_error, make_visible,
    sync_directory,
};
use super::parquet::{ParquetPart, ParquetPlan};
use super::part::{Part, PartFormat};
use super::partition::split;
use super::partition_commit::Tracked;
use super::upload::{self, OpenUpload, Uploader};
use crate::formats::EncoderFactory;

/// Memory for rows that are not in a file yet, per worker. The largest part gives up its row group first.
const BUFFERED_BYTES_MAX: u64 = 128 << 20;

/// Part files open at once, per worker. The one that was not written for the longest time is closed for a new one.
const OPEN_FILES_MAX: usize = 64;

/// The same of objects: each holds up to a part of an upload in memory.
const OPEN_OBJECTS_MAX: usize = 16;

/// How long a full disk is left alone.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

/// How rows become the contents of files.
#[derive(Clone)]
pub(super) enum FileEncoding {
    Parquet(Arc<ParquetPlan>),
    Records { encoders: Arc<dyn EncoderFactory>, is_bulk: bool },
}

impl FileEncoding {
    fn part(&self) -> Result<PartFormat> {
        Ok(match self {
            FileEncoding::Parquet(plan) => PartFormat::Parquet(Box::new(ParquetPart::new(Arc::clone(plan))?)),
            FileEncoding::Records { encoders, .. } => {
                PartFormat::Records { encoder: encoders.create()?, ends: Vec::new() }
            }
        })
    }
}

/// Makes the filesystem sink's instances and commits their files.
pub(super) struct FilesystemSinkFactory {
    plan: Arc<SinkPlan>,
    /// Names the loop and table in hidden files, so that nobody removes those of others.
    owner: String,
    /// The name of this run's files, unless a checkpoint brings one along.
    uid: String,
    rolls_at_checkpoint: bool,
    /// INSERT OVERWRITE: files stay hidden until the input has ended, and then take the place of those that are there.
    overwrite: bool,
}

impl FilesystemSinkFactory {
    pub(super) fn new(table: &TableDescriptor, request: &SinkRequest, plan: SinkPlan) -> Self {
        let is_bulk = match &plan.encoding {
            FileEncoding::Parquet(_) => true,
            FileEncoding::Records { is_bulk, .. } => *is_bulk,
        };
        let owner = owner(&request.loop_folder, &table.path);
        // Objects have no hidden names, so theirs tell by themselves whose they are.
        let uid = match ObjectUrl::is_path(&plan.options.path) {
            true => format!("{owner}{}", uid().get(8..).unwrap_or_default()),
            false => uid(),
        };
        // A file that is open at a checkpoint would be shown by a restart; compaction joins the files of one checkpoint.
        let rolls_at_checkpoint =
            request.overwrite || plan.options.is_compacted || (is_bulk && request.checkpoint_interval_is_set);
        FilesystemSinkFactory { plan: Arc::new(plan), owner, uid, rolls_at_checkpoint, overwrite: request.overwrite }
    }
}

/// Eight hexadecimal digits of an FNV-1a hash of the loop's state folder and the table; only files of one directory are told apart by it.
/// Not of the job's name: all loops of a file may share it, and write to one table.
pub(super) fn owner(loop_folder: &str, table: &str) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in loop_folder.bytes().chain([0]).chain(table.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{:08x}", hash >> 32)
}

/// A random name in the form of a UUID, as Flink gives its files.
fn uid() -> String {
    let bits = fastrand::u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        bits as u32,
        (bits >> 32) as u16,
        (bits >> 48) as u16 & 0xfff,
        (bits >> 60) as u16 & 0x3fff | 0x8000,
        (bits >> 80) as u64 & 0xffff_ffff_ffff
    )
}

impl SinkFactory for FilesystemSinkFactory {
    fn parallelism(&self) -> SinkParallelism {
        let options = &self.plan.options;
        if options.is_compacted || options.is_single { SinkParallelism::One } else { SinkParallelism::PerWorker }
    }

    fn open(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let mut uid = self.uid.clone();
        let mut counter = 0;
        let mut unconfirmed = Vec::new();
        let mut partitions = BTreeMap::new();
        for (index, bytes) in context.restored.iter().enumerate() {
            let state = InstanceState::decode(bytes)?;
            // One uid for all, and numbers that none of the instances has used.
            uid = state.uid;
            counter = counter.max(state.counter);
            if index % context.instances.max(1) == context.instance {
                unconfirmed.extend(state.pending);
                partitions
                    .extend(state.partitions.into_iter().map(|(name, created_ms)| (name, Tracked { created_ms })));
            }
        }
        let now_ms = wall_clock_ms();
        let store = match ObjectUrl::is_path(&self.plan.options.path) {
            false => None,
            true => {
                let root = ObjectUrl::of_path(&self.plan.options.path)?;
                let uploader = Arc::new(Uploader::start(&root, context.instance, context.waker.clone())?);
                Some(ObjectSink { root, uploader, tails: Vec::new() })
            }
        };
        Ok(Box::new(FilesystemSink {
            plan: Arc::clone(&self.plan),
            owner: self.owner.clone(),
            uid,
            rolls_at_checkpoint: self.rolls_at_checkpoint,
            overwrite: self.overwrite,
            is_last: false,
            instance: context.instance,
            counter,
            open: BTreeMap::new(),
            closed: Vec::new(),
            unconfirmed,
            partitions,
            watermark_ms: i64::MIN,
            checkpoint: 0,
            store,
            syncs: 0,
            buffered_bytes: 0,
            writes: 0,
            now_ms,
            next_check_ms: i64::MIN,
            preparing: None,
            waiting: None,
            worker: None,
            waker: context.waker,
            counters: SinkCounters::default(),
        }))
    }

    fn commit(&self, checkpoint: u64, pending: &[Vec<u8>]) -> Result<()> {
        if self.overwrite {
            // Work comes with the last checkpoint alone, even where it holds no file.
            if pending.iter().all(Vec::is_empty) {
                return Ok(());
            }
        }
        let lists = pending.iter().map(|bytes| decode_pending(bytes)).collect::<Result<Vec<_>>>()?;
        // A mark says that a partition is whole: all files of all workers come first.
        let (marks, files): (Vec<_>, Vec<_>) =
            lists.concat().into_iter().partition(|entry| matches!(entry.place(), Place::Mark(_)));
        let (root, is_whole) = (&self.plan.options.path, self.plan.partition.is_empty());
        let is_remote = ObjectUrl::is_path(root);
        let commit = || {
            match (self.overwrite, is_remote) {
                (false, _) => {}
                (true, false) => ledger::remove_replaced(root, &files, is_whole)?,
                (true, true) => upload::remove_replaced(root, &files, is_whole)?,
            }
            for entries in [&files, &marks] {
                if is_remote { upload::make_visible(root, entries)? } else { make_visible(root, entries)? }
            }
            Ok(())
        };
        commit().map_err(|e: Error| e.at(format!("commit of checkpoint {checkpoint}")))
    }

    fn recover(&self, restored: &[Vec<u8>]) -> Result<()> {
        let states: Vec<InstanceState> = restored.iter().map(|b| InstanceState::decode(b)).collect::<Result<_>>()?;
        if ObjectUrl::is_path(&self.plan.options.path) {
            return upload::recover(&self.plan.options.path, &states, &self.owner);
        }
        ledger::recover(&self.plan.options.path, &states, &self.owner, self.plan.partition.len())
    }
}

/// One worker's files.
struct FilesystemSink {
    plan: Arc<SinkPlan>,
    owner: String,
    uid: String,
    rolls_at_checkpoint: bool,
    overwrite: bool,
    /// The checkpoint under way is the last one.
    is_last: bool,
    instance: usize,
    counter: u64,
    /// By directory.
    open: BTreeMap<String, Part>,
    /// Finished, and of no checkpoint yet.
    closed: Vec<Part>,
    /// Finished files of earlier checkpoints that were still hidden when last looked at.
    unconfirmed: Vec<PendingFile>,
    /// The partitions that are not done, when there is something to do then.
    partitions: BTreeMap<String, Tracked>,
    watermark_ms: i64,
    /// The checkpoint under way.
    checkpoint: u64,
    /// Where the files are objects.
    store: Option<ObjectSink>,
    /// How many times files were made durable.
    syncs: u64,
    buffered_bytes: u64,
    writes: u64,
    now_ms: i64,
    next_check_ms: i64,
    preparing: Option<Preparing>,
    /// What a full disk refuses.
    waiting: Option<String>,
    worker: Option<SyncWorker>,
    waker: Waker,
    counters: SinkCounters,
}

/// What the sink has where its files are objects.
struct ObjectSink {
    root: ObjectUrl,
    uploader: Arc<Uploader>,
    /// What the last checkpoint kept of open files; the next one replaces it.
    tails: Vec<PendingFile>,
}

/// A checkpoint between `prepare` and its answer.
enum Preparing {
    /// Some bytes are still in memory.
    Draining(Cut),
    /// The files are being made durable.
    Syncing { prepared: Prepared, received: u64 },
    /// The uploader has not taken the checkpoint yet.
    Queued { checkpoint: Box<upload::Checkpoint>, received: u64 },
    /// The objects are on their way.
    Uploading { received: u64 },
}

/// What belongs to a checkpoint. Steps go on while it is written: their rows go behind these lengths, or into other files.
struct Cut {
    received: u64,
    closed: Vec<Part>,
    open: Vec<OpenFile>,
    uploads: Vec<OpenUpload>,
}

impl FilesystemSink {
    fn write_partition(&mut self, directory: String, rows: &ChangeBatch) -> Result<()> {
        if !self.open.contains_key(&directory) {
            if self.open.len() >= if self.store.is_some() { OPEN_OBJECTS_MAX } else { OPEN_FILES_MAX } {
                self.close_oldest()?;
            }
            let names = ledger::names(&directory, &self.uid, self.instance, self.counter, &self.owner);
            self.counter += 1;
            let format = self.plan.encoding.part()?;
            let part = match &self.store {
                None => Part::new(&self.plan.options.path, names, format, self.now_ms),
                Some(store) => Part::of_object(&store.root, Arc::clone(&store.uploader), names, format, self.now_ms),
            };
            if self.plan.options.partition_commit.is_some() && !directory.is_empty() {
                self.partitions.entry(directory.clone()).or_insert(Tracked { created_ms: self.now_ms });
            }
            self.open.insert(directory.clone(), part);
        }
        let Some(part) = self.open.get_mut(&directory) else { return Ok(()) };
        let before = part.buffered_bytes();
        part.write(rows)?;
        self.writes += 1;
        part.last_write = self.writes;
        part.last_write_ms = self.now_ms;
        self.waiting = None;
        if part.is_piece_ready() {
            self.waiting = part.drain()?;
        }
        self.buffered_bytes = (self.buffered_bytes + part.buffered_bytes()).saturating_sub(before);
        if part.size() >= self.plan.options.rolling.file_bytes || part.is_full() {
            self.close(&directory)?;
        }
        Ok(())
    }

    /// Ends a file; a checkpoint makes it visible.
    fn close(&mut self, directory: &str) -> Result<()> {
        let Some(mut part) = self.open.remove(directory) else { return Ok(()) };
        part.finish()?;
        if let Some(text) = part.drain()? {
            self.waiting = Some(text);
        }
        self.closed.push(part);
        self.count_buffers();
        Ok(())
    }

    fn close_oldest(&mut self) -> Result<()> {
        let oldest = self.open.iter().min_by_key(|(_, part)| part.last_write).map(|(d, _)| d.clone());
        oldest.map_or(Ok(()), |directory| self.close(&directory))
    }

    /// Ends the row groups of the largest parts until the memory is within its bound again.
    fn bound_memory(&mut self) -> Result<()> {
        while self.buffered_bytes > BUFFERED_BYTES_MAX && self.waiting.is_none() {
            let Some(largest) = self.open.values_mut().max_by_key(|part| part.buffered_bytes()) else { break };
            largest.flush()?;
            self.waiting = largest.drain()?;
            let before = self.buffered_bytes;
            self.count_buffers();
            if self.buffered_bytes >= before {
                break;
            }
        }
        Ok(())
    }

    fn count_buffers(&mut self) {
        let cut = match &self.preparing {
            Some(Preparing::Draining(cut)) => cut.closed.as_slice(),
            _ => &[],
        };
        self.buffered_bytes = self.open.values().chain(&self.closed).chain(cut).map(Part::buffered_bytes).sum();
    }

    /// Writes everything that is ready; says what a full disk refuses.
    fn drain_all(&mut self) -> Result<()> {
        self.waiting = None;
        let cut = match &mut self.preparing {
            Some(Preparing::Draining(cut)) => cut.closed.as_mut_slice(),
            _ => &mut [],
        };
        for part in cut.iter_mut().chain(self.open.values_mut()).chain(self.closed.iter_mut()) {
            if let Some(text) = part.drain()? {
                self.waiting = Some(text);
                break;
            }
        }
        self.count_buffers();
        Ok(())
    }

    /// Closes the files that are too old or were not written for too long. Compaction would join them again.
    fn roll_by_time(&mut self) -> Result<()> {
        if self.plan.options.is_compacted {
            return Ok(());
        }
        let rolling = self.plan.options.rolling;
        let age = |ms: i64| Duration::from_millis(u64::try_from(self.now_ms - ms).unwrap_or(0));
        let due: Vec<String> = self
            .open
            .iter()
            .filter(|(_, p)| age(p.created_ms) >= rolling.rollover || age(p.last_write_ms) >= rolling.inactivity)
            .map(|(directory, _)| directory.clone())
            .collect();
        due.iter().try_for_each(|directory| self.close(directory))
    }

    /// Closes the files of partitions that are done, and has them marked behind this checkpoint.
    fn finish_partitions(&mut self, kind: CheckpointKind) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let Some(commit) = &plan.options.partition_commit else { return Ok(()) };
        let mut done = Vec::new();
        for (directory, tracked) in &self.partitions {
            // The end of the input ends every partition.
            if kind == CheckpointKind::Final || commit.is_done(directory, *tracked, self.now_ms, self.watermark_ms)? {
                done.push(directory.clone());
            }
        }
        for directory in done {
            self.partitions.remove(&directory);
            self.close(&directory)?;
            self.unconfirmed.push(PendingFile::mark(&directory, &commit.success_file));
        }
        Ok(())
    }

    /// Everything is with the uploader: it says what the checkpoint has to know.
    fn begin_upload(&mut self, cut: Cut) -> Result<()> {
        let Some(store) = &mut self.store else { return Err(Error::internal("no object store")) };
        let mut unconfirmed = std::mem::take(&mut self.unconfirmed);
        unconfirmed.append(&mut store.tails);
        let state = InstanceState {
            uid: self.uid.clone(),
            counter: self.counter,
            partitions: tracked(&self.partitions),
            ..InstanceState::default()
        };
        let checkpoint = Box::new(upload::Checkpoint {
            closed: cut.closed.iter().filter_map(Part::uploading).collect(),
            open: cut.uploads,
            unconfirmed,
            state,
            checkpoint: self.checkpoint,
        });
        self.preparing = Some(Preparing::Queued { checkpoint, received: cut.received });
        Ok(())
    }

    /// Hands a checkpoint to the uploader, and takes its answer.
    fn poll_upload(&mut self, preparing: Preparing) -> Result<Option<Prepared>> {
        let (overwrite, is_last) = (self.overwrite, self.is_last);
        let Some(store) = &mut self.store else { return Err(Error::internal("no object store")) };
        let received = match preparing {
            Preparing::Queued { checkpoint, received } => {
                if let Some(checkpoint) = store.uploader.checkpoint(checkpoint)? {
                    self.preparing = Some(Preparing::Queued { checkpoint, received });
                    return Ok(None);
                }
                received
            }
            Preparing::Uploading { received } => received,
            _ => return Err(Error::internal("a checkpoint of files at an object store")),
        };
        let Some(uploaded) = store.uploader.result()? else {
            self.preparing = Some(Preparing::Uploading { received });
            return Ok(None);
        };
        store.tails = uploaded.tails;
        self.unconfirmed = uploaded.pending;
        self.counters.delivered = received;
        Ok(Some(Prepared {
            pending: pending_bytes(overwrite, is_last, &self.unconfirmed),
            state: uploaded.state.encode(),
        }))
    }

    /// Everything is in the files: lists them for the checkpoint and lets them be made durable.
    fn begin_sync(&mut self, cut: Cut) -> Result<()> {
        let Cut { received, mut closed, open, uploads: _ } = cut;
        let root = self.plan.options.path.clone();
        // Files of earlier checkpoints that are still hidden are listed again: should such a checkpoint never become durable, this one
        // shows them, and showing a file twice does no harm.
        self.unconfirmed.retain(|entry| match entry.place() {
            Place::Mark(name) => !root.join(name).exists(),
            Place::File(_) | Place::Tail(_) => root.join(&entry.hidden).exists(),
        });
        self.unconfirmed.extend(closed.iter().map(|part| part.names.clone()));
        let (uid, counter, pending) = (self.uid.clone(), self.counter, self.unconfirmed.clone());
        let state = InstanceState { uid, counter, pending, open, partitions: tracked(&self.partitions) };
        let mut job = SyncJob::default();
        // A file that was open at the cut may have been closed since.
        for part in self.open.values_mut().chain(self.closed.iter_mut()).chain(closed.iter_mut()) {
            job.files.extend(part.unsynced());
            job.directories.append(&mut part.new_directories);
            part.is_dirty = false;
        }
        job.directories.sort();
        job.directories.dedup();
        self.syncs += 1;
        let number = self.syncs;
        let pending = pending_bytes(self.overwrite, self.is_last, &self.unconfirmed);
        let prepared = Prepared { pending, state: state.encode() };
        self.preparing = Some(Preparing::Syncing { prepared, received });
        self.worker()?.send(Task::Sync(number, job))
    }

    /// The result of the last sync, once there is one.
    fn sync_result(&mut self) -> Result<Option<()>> {
        let number = self.syncs;
        self.worker()?.result(number)
    }

    /// Has the loop look again after a while; the uploader wakes it with everything it does.
    fn wake_later(&mut self) -> Result<()> {
        if self.store.is_some() { Ok(()) } else { self.worker()?.send(Task::WakeLater) }
    }

    fn worker(&mut self) -> Result<&SyncWorker> {
        if self.worker.is_none() {
            self.worker = Some(SyncWorker::start(self.instance, self.waker.clone())?);
        }
        self.worker.as_ref().ok_or_else(|| Error::internal("the sync thread did not start"))
    }
}

/// Rows that follow one another with the same kind.
fn runs(batch: &ChangeBatch) -> Vec<(RecordBatch, RowKind)> {
    let Some(kinds) = &batch.kinds else { return vec![(batch.rows.clone(), RowKind::Insert)] };
    let mut runs = Vec::new();
    let mut start = 0;
    for run in kinds.chunk_by(|a, b| a == b) {
        runs.push((batch.rows.slice(start, run.len()), run.first().copied().unwrap_or(RowKind::Insert)));
        start += run.len();
    }
    runs
}

impl Sink for FilesystemSink {
    fn write(&mut self, batch: &ChangeBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let plan = Arc::clone(&self.plan);
        if plan.partition.is_empty() {
            self.write_partition(String::new(), batch)?;
        } else {
            for (rows, kind) in runs(batch) {
                for part in split(&plan.partition, &plan.options.default_partition, &rows)? {
                    let rows = part.rows.project(&plan.stored)?;
                    let kinds = vec![kind; rows.num_rows()];
                    self.write_partition(part.directory, &ChangeBatch::new(rows, kinds))?;
                }
            }
        }
        self.counters.received += batch.len() as u64;
        self.bound_memory()
    }

    fn step_end(&mut self, now_ms: i64) -> Result<SinkStatus> {
        self.now_ms = now_ms;
        if now_ms >= self.next_check_ms {
            let check = i64::try_from(self.plan.options.rolling.check.as_millis()).unwrap_or(i64::MAX);
            self.next_check_ms = now_ms.saturating_add(check.max(1));
            self.roll_by_time()?;
        }
        if self.waiting.is_some() {
            self.drain_all()?;
        }
        if self.waiting.is_some() {
            self.wake_later()?;
            return Ok(SinkStatus::Full);
        }
        Ok(SinkStatus::Ready((!self.open.is_empty()).then_some(self.next_check_ms)))
    }

    fn watermark(&mut self, watermark_ms: i64) {
        self.watermark_ms = watermark_ms;
    }

    fn prepare(&mut self, checkpoint: u64, kind: CheckpointKind) -> Result<()> {
        self.checkpoint = checkpoint;
        self.is_last = kind == CheckpointKind::Final;
        self.finish_partitions(kind)?;
        if self.rolls_at_checkpoint || kind != CheckpointKind::Periodic {
            let directories: Vec<String> = self.open.keys().cloned().collect();
            directories.iter().try_for_each(|directory| self.close(directory))?;
        }
        let mut open = Vec::with_capacity(self.open.len());
        let mut uploads = Vec::new();
        for part in self.open.values_mut() {
            part.flush()?;
            match part.open_upload()? {
                Some(upload) => uploads.push(upload),
                None => open.push(part.open_file()?),
            }
        }
        let closed = std::mem::take(&mut self.closed);
        self.preparing = Some(Preparing::Draining(Cut { received: self.counters.received, closed, open, uploads }));
        Ok(())
    }

    fn poll_prepared(&mut self) -> Result<Option<Prepared>> {
        if let Some(Preparing::Draining(_)) = &self.preparing {
            self.drain_all()?;
            if self.waiting.is_some() {
                self.wake_later()?;
                return Ok(None);
            }
        }
        match self.preparing.take() {
            None => Ok(None),
            Some(Preparing::Draining(cut)) if self.store.is_some() => {
                self.begin_upload(cut)?;
                self.poll_prepared()
            }
            Some(Preparing::Draining(cut)) => {
                self.begin_sync(cut)?;
                Ok(None)
            }
            Some(preparing @ (Preparing::Queued { .. } | Preparing::Uploading { .. })) => self.poll_upload(preparing),
            Some(Preparing::Syncing { prepared, received }) => match self.sync_result()? {
                None => {
                    self.preparing = Some(Preparing::Syncing { prepared, received });
                    Ok(None)
                }
                Some(()) => {
                    self.counters.delivered = received;
                    Ok(Some(prepared))
                }
            },
        }
    }

    fn waiting_for(&self) -> Option<String> {
        self.store.as_ref().and_then(|store| store.uploader.waiting()).or_else(|| self.waiting.clone())
    }

    fn counters(&self) -> SinkCounters {
        self.counters
    }
}

/// What a checkpoint has to commit. INSERT OVERWRITE commits once, at the end.
fn pending_bytes(overwrite: bool, is_last: bool, entries: &[PendingFile]) -> Vec<u8> {
    match (overwrite, is_last) {
        (false, _) => encode_pending(entries),
        (true, false) => Vec::new(),
        (true, true) => ledger::encode_last(entries),
    }
}

fn tracked(partitions: &BTreeMap<String, Tracked>) -> Vec<(String, i64)> {
    partitions.iter().map(|(directory, tracked)| (directory.clone(), tracked.created_ms)).collect()
}

/// What must be on the disk before a checkpoint may be.
#[derive(Default)]
struct SyncJob {
    files: Vec<(Arc<File>, PathBuf)>,
    directories: Vec<PathBuf>,
}

impl SyncJob {
    fn run(&self) -> Result<()> {
        for (file, path) in &self.files {
            // A failed sync is never tried again: the system may have dropped what it could not write.
            file.sync_all().map_err(|e| {
                let error = io_error("sync", path, &e);
                Error::permission(error.message())
                    .hint("the job resumes from its last checkpoint when it is started again")
            })?;
        }
        self.directories.iter().try_for_each(|directory| sync_directory(directory))
    }
}

enum Task {
    /// With a number, so that nobody takes the result of one for that of another.
    Sync(u64, SyncJob),
    /// Wakes the loop after a while, so that it tries a full disk again.
    WakeLater,
}

/// The thread that waits for the disk. It ends when the sink is dropped.
struct SyncWorker {
    tasks: Sender<Task>,
    results: Receiver<(u64, Result<()>)>,
}

impl SyncWorker {
    fn start(instance: usize, waker: Waker) -> Result<Self> {
        // One checkpoint is under way at a time, and one wake-up beside it is enough.
        let (tasks, inbox) = bounded::<Task>(2);
        let (outbox, results) = bounded(1);
        let work = move || {
            for task in inbox {
                match task {
                    Task::Sync(number, job) => {
                        if outbox.send((number, job.run())).is_err() {
                            return;
                        }
                    }
                    // Nobody else has this waker, so the wait lasts its full time.
                    Task::WakeLater => _ = Waker::default().wait(FULL_DISK_PAUSE),
                }
                waker.wake();
            }
        };
        thread::Builder::new()
            .name(format!("wiesel-files-{instance}"))
            .spawn(work)
            .map_err(|e| Error::unavailable(format!("cannot start the thread that syncs files: {e}")))?;
        Ok(SyncWorker { tasks, results })
    }

    fn send(&self, task: Task) -> Result<()> {
        match task {
            // A wake-up that finds the queue full is not needed: something else there wakes the loop.
            Task::WakeLater => {
                let _already_on_its_way = self.tasks.try_send(task).is_err();
                Ok(())
            }
            Task::Sync(..) => self.tasks.send(task).map_err(|_| Error::internal("the thread that syncs files is gone")),
        }
    }

    /// The result of the sync of this number, once there is one. Failures of earlier ones count, too.
    fn result(&self, number: u64) -> Result<Option<()>> {
        loop {
            match self.results.try_recv() {
                Ok((done, result)) => {
                    result?;
                    if done == number {
                        return Ok(Some(()));
                    }
                }
                Err(crossbeam_channel::TryRecvError::Empty) => return Ok(None),
                Err(crossbeam_channel::TryRecvError::Disconnected) => {
                    return Err(Error::internal("the thread that syncs files is gone"));
                }
            }
        }
    }
}
