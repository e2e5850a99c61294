//! Reading the table's files, one after the other in the order of their names.
//!
//! Splits are files; a split's position is a byte offset (json, csv, raw) or a row number (parquet), and [`DONE`] once the file was read to
//! its end, so that a job that resumes does not even look for it. Without 'source.monitor-interval' the files that exist at the start are the
//! table, and a resumed job keeps to them. With it the directory is listed again after each interval and files with new names are read;
//! their list grows with the table, as in Flink. A file must be whole when its name appears and never change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use wiesel_core::env::monotonic;
use wiesel_core::source::{
    RawBatch, RowReader, RowsBatch, Source, SourceContext, SourceEvent, SourceFactory, Split, SplitIndex,
};
use wiesel_core::{Error, ErrorKind, Result};

use super::chunk::ChunkReader;
use super::file_reader::{FileColumns, FileRowReader, OutputColumn};
use super::parquet_reader::{ParquetFile, ParquetScan};
use super::scan::{Scan, ScannedFile};
use crate::formats::{DecoderFactory, Framing};

/// The position of a file that was read to its end.
pub(super) const DONE: i64 = i64::MAX;

/// The files behind the splits, in the order of the splits.
pub(super) type Files = Arc<RwLock<Vec<ScannedFile>>>;

/// How the files' rows are made.
pub(super) enum FileDecoding {
    /// By the workers, record by record.
    Records { decoder: Arc<dyn DecoderFactory>, framing: Framing },
    /// By the source thread.
    Parquet(Arc<ParquetScan>),
}

/// Makes the source of one table reference.
pub(super) struct FileSourceFactory {
    pub(super) table: String,
    pub(super) scan: Scan,
    pub(super) monitor_interval: Option<Duration>,
    pub(super) decoding: FileDecoding,
    pub(super) columns: FileColumns,
    pub(super) files: Files,
}

impl SourceFactory for FileSourceFactory {
    fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let found = match self.scan.files() {
            Ok(found) => found,
            // A directory that is watched may come later.
            Err(error) if self.monitor_interval.is_some() && error.kind() == ErrorKind::Config => {
                return Err(Error::unavailable(error.message()));
            }
            Err(error) => return Err(error.at(format!("table `{}`", self.table))),
        };
        let reader = match &self.decoding {
            FileDecoding::Records { framing, .. } => Opener::Records(framing.clone()),
            FileDecoding::Parquet(scan) => Opener::Parquet(Arc::clone(scan), self.columns.clone()),
        };
        let mut source = FileSource {
            scan: self.scan.clone(),
            monitor_interval: self.monitor_interval,
            opener: reader,
            files: Arc::clone(&self.files),
            splits: Vec::new(),
            known: BTreeSet::new(),
            current: 0,
            position: None,
            is_waiting: false,
            open: None,
            next_look: monotonic(),
        };
        source.files.write().unwrap_or_else(PoisonError::into_inner).clear();
        let mut found: BTreeMap<String, ScannedFile> = found.into_iter().map(|f| (f.name.clone(), f)).collect();
        for split in &context.restored {
            let file = match found.remove(&split.name) {
                Some(file) => file,
                None if split.start == DONE => {
                    ScannedFile { path: PathBuf::from(&split.name), name: split.name.clone(), size: 0, modified_ms: 0 }
                }
                None => {
                    return Err(Error::data(format!("file `{}` of table `{}` is gone", split.name, self.table)).hint(
                        "the last checkpoint has not read it to its end: bring it back, or start anew with --fresh",
                    ));
                }
            };
            source.add(file, split.start);
        }
        if !context.is_restored || self.monitor_interval.is_some() {
            for file in found.into_values() {
                source.add(file, 0);
            }
        }
        source.schedule_look();
        Ok(Box::new(source))
    }

    fn reader(&self) -> Result<Option<Box<dyn RowReader>>> {
        match &self.decoding {
            FileDecoding::Parquet(_) => Ok(None),
            FileDecoding::Records { decoder, .. } => {
                let reader = FileRowReader::new(
                    self.table.clone(),
                    decoder.create()?,
                    self.columns.clone(),
                    Arc::clone(&self.files),
                );
                Ok(Some(Box::new(reader)))
            }
        }
    }
}

/// Opens a split's file.
enum Opener {
    Records(Framing),
    Parquet(Arc<ParquetScan>, FileColumns),
}

enum OpenFile {
    Records(ChunkReader),
    Parquet(Box<ParquetFile>),
}

struct FileSource {
    scan: Scan,
    monitor_interval: Option<Duration>,
    opener: Opener,
    files: Files,
    splits: Vec<Split>,
    known: BTreeSet<String>,
    /// The first split that was not read to its end.
    current: SplitIndex,
    /// Where its next batch begins, once one was read.
    position: Option<i64>,
    /// The store is away.
    is_waiting: bool,
    open: Option<OpenFile>,
    next_look: Instant,
}

impl FileSource {
    fn add(&mut self, file: ScannedFile, start: i64) {
        self.known.insert(file.name.clone());
        self.splits.push(Split { name: file.name.clone(), start });
        self.files.write().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    fn schedule_look(&mut self) {
        self.next_look = monotonic() + self.monitor_interval.unwrap_or_default();
    }

    /// Lists the directory again.
    fn look(&mut self, events: &mut Vec<SourceEvent>) -> Result<()> {
        self.schedule_look();
        let found = match self.scan.files() {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), ErrorKind::Config | ErrorKind::Unavailable) => {
                self.is_waiting = true;
                events.push(SourceEvent::Waiting(Some(error.message().to_owned())));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if std::mem::take(&mut self.is_waiting) {
            events.push(SourceEvent::Waiting(None));
        }
        for file in found {
            if !self.known.contains(&file.name) {
                events.push(SourceEvent::NewSplit(Split { name: file.name.clone(), start: 0 }));
                self.add(file, 0);
            }
        }
        Ok(())
    }

    /// Everything is read for now.
    fn rest(&mut self, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        if self.monitor_interval.is_none() {
            std::thread::park_timeout(wait);
            return Ok(());
        }
        let left = self.next_look.saturating_duration_since(monotonic());
        if left.is_zero() {
            return self.look(events);
        }
        std::thread::park_timeout(wait.min(left));
        Ok(())
    }

    fn open_current(&self, file: &ScannedFile, start: i64) -> Result<OpenFile> {
        let position = u64::try_from(start)
            .map_err(|_| Error::internal(format!("file `{}` cannot be read from {start}", file.name)))?;
        match &self.opener {
            Opener::Records(framing) => {
                Ok(OpenFile::Records(ChunkReader::open(&file.path, framing.clone(), position)?))
            }
            Opener::Parquet(scan, columns) => {
                let of_file = columns.of_file(file)?;
                Ok(OpenFile::Parquet(Box::new(ParquetFile::open(scan, &file.path, position, columns, of_file)?)))
            }
        }
    }

    /// The next batch of a file that may have to be opened first; `None` at its end.
    fn next_batch(&mut self, file: &ScannedFile, start: i64, bytes_max: usize) -> Result<Option<SourceEvent>> {
        if start == DONE {
            return Ok(None);
        }
        if self.open.is_none() {
            self.open = Some(self.open_current(file, start)?);
        }
        self.batch(&file.path, bytes_max)
    }

    /// The next batch of an open file; `None` at its end.
    fn batch(&mut self, path: &Path, bytes_max: usize) -> Result<Option<SourceEvent>> {
        let split = self.current;
        match &mut self.open {
            None => Ok(None),
            Some(OpenFile::Records(reader)) => Ok(reader.next(path, bytes_max)?.map(|chunk| {
                let next = if chunk.is_last { DONE } else { i64::try_from(chunk.next).unwrap_or(DONE) };
                SourceEvent::Raw(RawBatch { split, arena: chunk.arena, records: chunk.records, next })
            })),
            Some(OpenFile::Parquet(file)) => {
                Ok(file.next()?.map(|(rows, next)| SourceEvent::Rows(RowsBatch { split, rows, next })))
            }
        }
    }
}

impl Source for FileSource {
    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn poll(&mut self, bytes_max: usize, wait: Duration, events: &mut Vec<SourceEvent>) -> Result<()> {
        let Some(split) = self.splits.get(self.current) else { return self.rest(wait, events) };
        let start = self.position.unwrap_or(split.start);
        if start == DONE && self.position.is_none() {
            events.push(SourceEvent::Finished(self.current));
            self.current += 1;
            return Ok(());
        }
        let file = {
            let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
            files.get(self.current).cloned().ok_or_else(|| Error::internal("a split without a file"))?
        };
        match self.next_batch(&file, start, bytes_max) {
            Ok(event) => {
                if std::mem::take(&mut self.is_waiting) {
                    events.push(SourceEvent::Waiting(None));
                }
                if let Some(event) = event {
                    self.position = match &event {
                        SourceEvent::Raw(batch) => Some(batch.next),
                        SourceEvent::Rows(batch) => Some(batch.next),
                        _ => self.position,
                    };
                    events.push(event);
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                // The file is opened again where the last batch ended.
                self.open = None;
                self.is_waiting = true;
                events.push(SourceEvent::Waiting(Some(error.message().to_owned())));
                std::thread::park_timeout(wait);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        // The position alone, for a file without rows; else the last rows brought it.
        let arena = bytes::Bytes::new();
        events.push(SourceEvent::Raw(RawBatch { split: self.current, arena, records: Vec::new(), next: DONE }));
        events.push(SourceEvent::Finished(self.current));
        self.open = None;
        self.position = None;
        self.current += 1;
        Ok(())
    }

    fn checkpoint_complete(&mut self, _positions: &[(SplitIndex, i64)]) -> Result<()> {
        Ok(())
    }
}

impl FileColumns {
    /// Whether every output column is the decoder's, in order.
    pub(super) fn is_plain(&self) -> bool {
        self.columns.iter().enumerate().all(|(i, c)| matches!(c, OutputColumn::Decoded(d) if *d == i))
    }
}
