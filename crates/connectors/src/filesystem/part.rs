//! One part file under construction: rows are encoded into memory, whole pieces go to the hidden file, and a full disk only means that the
//! piece stays in memory until there is space.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wiesel_core::{ChangeBatch, Error, Result};
use wiesel_objects::ObjectUrl;

use super::ledger::{OpenFile, PendingFile, create_directory, io_error, is_full};
use super::parquet::ParquetPart;
use super::upload::{OpenUpload, PART_BYTES, PARTS_MAX, Uploader, Uploading};
use crate::formats::Encoder;

/// Rows of record formats gather up to this much before they are written.
const PIECE_BYTES: usize = 1 << 20;

/// How the rows of a file are encoded.
pub(super) enum PartFormat {
    Parquet(Box<ParquetPart>),
    Records { encoder: Box<dyn Encoder>, ends: Vec<usize> },
}

/// Where the bytes go.
enum Target {
    /// A hidden file, created with the first bytes, so that there are no empty files.
    File { path: PathBuf, file: Option<Arc<File>> },
    /// An upload.
    Object { uploading: Arc<Uploading>, uploader: Arc<Uploader>, is_finished: bool, pieces: usize },
}

/// A part file.
pub(super) struct Part {
    pub(super) names: PendingFile,
    format: PartFormat,
    target: Target,
    /// Bytes that are not in the file yet; `unwritten_start` of them are.
    unwritten: Vec<u8>,
    unwritten_start: usize,
    /// Bytes in the file.
    length: u64,
    /// Whether the file has bytes that were not synced.
    pub(super) is_dirty: bool,
    /// Directories that got a new entry for this file and were not synced.
    pub(super) new_directories: Vec<PathBuf>,
    pub(super) created_ms: i64,
    pub(super) last_write_ms: i64,
    /// Orders the parts by their last write.
    pub(super) last_write: u64,
}

impl Part {
    pub(super) fn new(root: &Path, names: PendingFile, format: PartFormat, now_ms: i64) -> Self {
        let target = Target::File { path: root.join(&names.hidden), file: None };
        Part::of(target, names, format, now_ms)
    }

    /// A part that is an object.
    pub(super) fn of_object(
        root: &ObjectUrl,
        uploader: Arc<Uploader>,
        names: PendingFile,
        format: PartFormat,
        now_ms: i64,
    ) -> Self {
        let uploading = Uploading::new(root, &names.visible);
        Part::of(Target::Object { uploading, uploader, is_finished: false, pieces: 0 }, names, format, now_ms)
    }

    fn of(target: Target, names: PendingFile, format: PartFormat, now_ms: i64) -> Self {
        Part {
            target,
            names,
            format,
            unwritten: Vec::new(),
            unwritten_start: 0,
            length: 0,
            is_dirty: false,
            new_directories: Vec::new(),
            created_ms: now_ms,
            last_write_ms: now_ms,
            last_write: 0,
        }
    }

    /// Encodes rows; what is ready goes to the file when [`Part::drain`] is called.
    pub(super) fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        match &mut self.format {
            PartFormat::Parquet(parquet) => {
                parquet.write(&changes.rows)?;
                if parquet.is_row_group_full() {
                    parquet.flush(&mut self.unwritten)?;
                }
                Ok(())
            }
            PartFormat::Records { encoder, ends } => {
                ends.clear();
                let mut documents = Vec::new();
                encoder.encode(changes, &mut documents, ends)?;
                let mut start = 0;
                self.unwritten.reserve(documents.len() + ends.len());
                for end in ends.iter() {
                    let document = documents.get(start..*end);
                    self.unwritten.extend_from_slice(document.ok_or_else(|| Error::internal("a document's end"))?);
                    self.unwritten.push(b'\n');
                    start = *end;
                }
                Ok(())
            }
        }
    }

    /// Memory that the part holds.
    pub(super) fn buffered_bytes(&self) -> u64 {
        let encoding = match &self.format {
            PartFormat::Parquet(parquet) => parquet.buffered_bytes(),
            PartFormat::Records { .. } => 0,
        };
        encoding + self.unwritten_bytes()
    }

    fn unwritten_bytes(&self) -> u64 {
        (self.unwritten.len() - self.unwritten_start) as u64
    }

    /// The size that the file would have if it were closed now, about.
    pub(super) fn size(&self) -> u64 {
        let encoding = match &self.format {
            PartFormat::Parquet(parquet) => parquet.estimated_bytes(),
            PartFormat::Records { .. } => 0,
        };
        self.length + self.unwritten_bytes() + encoding
    }

    /// Whether the format wants no more rows in this file.
    pub(super) fn is_full(&self) -> bool {
        matches!(&self.format, PartFormat::Parquet(parquet) if parquet.has_all_row_groups())
            || matches!(&self.target, Target::Object { pieces, .. } if *pieces + 2 >= PARTS_MAX)
    }

    /// Whether it is time to write to the file.
    pub(super) fn is_piece_ready(&self) -> bool {
        match &self.format {
            PartFormat::Parquet(_) => !self.unwritten.is_empty(),
            PartFormat::Records { .. } => self.unwritten.len() >= PIECE_BYTES,
        }
    }

    /// Makes all rows so far bytes (Parquet: ends the row group).
    pub(super) fn flush(&mut self) -> Result<()> {
        if let PartFormat::Parquet(parquet) = &mut self.format {
            parquet.flush(&mut self.unwritten)?;
        }
        Ok(())
    }

    /// Makes the file whole; it takes no more rows.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        let footer = self.footer()?;
        self.unwritten.extend_from_slice(&footer);
        if let Target::Object { is_finished, .. } = &mut self.target {
            *is_finished = true;
        }
        Ok(())
    }

    fn footer(&self) -> Result<Vec<u8>> {
        match &self.format {
            PartFormat::Parquet(parquet) => parquet.footer(),
            PartFormat::Records { .. } => Ok(Vec::new()),
        }
    }

    /// What a checkpoint keeps of a part that stays open, after [`Part::flush`]: all bytes so far, of which those that are still in
    /// memory must reach the file before the checkpoint is whole.
    pub(super) fn open_file(&self) -> Result<OpenFile> {
        let length = self.length + self.unwritten_bytes();
        Ok(OpenFile { names: self.names.clone(), length, footer: self.footer()? })
    }

    /// What a checkpoint keeps of an object that stays open, after [`Part::flush`].
    pub(super) fn open_upload(&self) -> Result<Option<OpenUpload>> {
        let Target::Object { uploading, pieces, .. } = &self.target else { return Ok(None) };
        let tail = self.unwritten.get(self.unwritten_start..).unwrap_or_default().to_vec();
        let length = self.length + self.unwritten_bytes();
        Ok(Some(OpenUpload { uploading: Arc::clone(uploading), parts: *pieces, tail, length, footer: self.footer()? }))
    }

    /// The upload of an object.
    pub(super) fn uploading(&self) -> Option<Arc<Uploading>> {
        match &self.target {
            Target::Object { uploading, .. } => Some(Arc::clone(uploading)),
            Target::File { .. } => None,
        }
    }

    /// Hands whole pieces to the uploader, and of a file that is finished the rest, too.
    fn drain_object(&mut self) -> Result<Option<String>> {
        let Target::Object { uploading, uploader, is_finished, pieces } = &mut self.target else { return Ok(None) };
        loop {
            let rest = self.unwritten.get(self.unwritten_start..).unwrap_or_default();
            if rest.is_empty() || (rest.len() < PART_BYTES && !*is_finished) {
                break;
            }
            let piece = rest.get(..PART_BYTES).unwrap_or(rest).to_vec();
            let count = piece.len();
            if uploader.upload(uploading, piece)?.is_some() {
                let waited = uploader.waiting();
                return Ok(Some(waited.unwrap_or_else(|| "the object store to take what was sent".to_owned())));
            }
            *pieces += 1;
            self.unwritten_start += count;
            self.length += count as u64;
        }
        self.unwritten.drain(..self.unwritten_start);
        self.unwritten_start = 0;
        Ok(None)
    }

    /// Writes what is ready. `Ok(Some(...))`: the disk is full, the rest stays in memory; the text says so.
    pub(super) fn drain(&mut self) -> Result<Option<String>> {
        let Target::File { path, .. } = &self.target else { return self.drain_object() };
        let path = path.clone();
        while self.unwritten_start < self.unwritten.len() {
            let result = self.open().and_then(|file| {
                let mut file = file.as_ref();
                file.write(self.unwritten.get(self.unwritten_start..).unwrap_or_default())
            });
            match result {
                Ok(count) => {
                    self.unwritten_start += count;
                    self.length += count as u64;
                    self.is_dirty = true;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if is_full(&e) => {
                    if self.length == 0 {
                        // Nothing is in the file yet, so the next try may as well begin anew.
                        if let Target::File { file, .. } = &mut self.target {
                            *file = None;
                        }
                    }
                    return Ok(Some(format!("space for `{}`: {e}", path.display())));
                }
                Err(e) => return Err(io_error("write", &path, &e)),
            }
        }
        self.unwritten.clear();
        self.unwritten_start = 0;
        if self.unwritten.capacity() > 2 * PIECE_BYTES {
            self.unwritten = Vec::new();
        }
        Ok(None)
    }

    fn open(&mut self) -> std::io::Result<Arc<File>> {
        let Target::File { path, file: slot } = &mut self.target else {
            return Err(std::io::Error::other("an object is no file"));
        };
        if let Some(file) = slot {
            return Ok(Arc::clone(file));
        }
        if let Some(directory) = path.parent() {
            let created = create_directory(directory)?;
            self.new_directories.extend(created);
            self.new_directories.push(directory.to_owned());
        }
        let file = Arc::new(OpenOptions::new().write(true).create(true).truncate(true).open(path)?);
        *slot = Some(Arc::clone(&file));
        Ok(file)
    }

    /// The file and its path, when it has bytes that are not durable.
    pub(super) fn unsynced(&self) -> Option<(Arc<File>, PathBuf)> {
        let Target::File { path, file } = &self.target else { return None };
        let file = file.as_ref().filter(|_| self.is_dirty)?;
        Some((Arc::clone(file), path.clone()))
    }
}
