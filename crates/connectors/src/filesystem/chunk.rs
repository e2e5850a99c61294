//! The bytes of a file, in bounded pieces that end where a record ends.
//!
//! A position is a byte offset into the unpacked text. A packed file (`.gz`, `.zst`, `.deflate`, told by its name as in Flink) has no way
//! to jump to an offset, so going on in the middle of one reads it from its beginning and throws that away.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use wiesel_core::source::RawRecord;
use wiesel_core::{Error, Result};
use wiesel_objects::ObjectUrl;

use super::scan::read_error;
use crate::formats::Framing;
use crate::registry::unsupported;

/// One record's bytes at most: a file without line ends must not fill the memory.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// A read's size.
const READ_BYTES: usize = 1 << 20;

/// A file that is being cut into records.
pub(super) struct ChunkReader {
    input: Box<dyn Read + Send>,
    framing: Framing,
    /// Read and not yet handed out.
    buffer: Vec<u8>,
    /// The position of the buffer's first byte.
    offset: u64,
    is_at_end: bool,
}

/// Whole records.
pub(super) struct Chunk {
    pub(super) arena: Bytes,
    pub(super) records: Vec<RawRecord>,
    /// The position behind them.
    pub(super) next: u64,
    /// Whether the file ends here.
    pub(super) is_last: bool,
}

impl ChunkReader {
    /// Opens a file at a position.
    pub(super) fn open(path: &Path, framing: Framing, start: u64) -> Result<ChunkReader> {
        let input = open_unpacked(path, start)?;
        Ok(ChunkReader { input, framing, buffer: Vec::new(), offset: start, is_at_end: false })
    }

    /// The next records, about `bytes_max` of them; `None` at the end of the file.
    pub(super) fn next(&mut self, path: &Path, bytes_max: usize) -> Result<Option<Chunk>> {
        loop {
            let wanted = bytes_max.clamp(1 << 16, RECORD_BYTES_MAX);
            while self.buffer.len() < wanted && !self.is_at_end {
                self.read(path)?;
            }
            let (records, used) = self.cut()?;
            if records.is_empty() && !self.is_at_end {
                if self.buffer.len() >= RECORD_BYTES_MAX {
                    return Err(Error::data(format!(
                        "a record of `{}` is longer than {RECORD_BYTES_MAX} bytes, at byte {}",
                        path.display(),
                        self.offset
                    ))
                    .hint("records end with a line feed: is this a file of another format?"));
                }
                self.read(path)?;
                if used == 0 {
                    continue;
                }
            }
            if used == 0 {
                return Ok(None);
            }
            let rest = self.buffer.split_off(used);
            let arena = std::mem::replace(&mut self.buffer, rest);
            self.offset += used as u64;
            if self.buffer.is_empty() && !self.is_at_end {
                self.read(path)?;
            }
            let is_last = self.buffer.is_empty() && self.is_at_end;
            return Ok(Some(Chunk { arena: Bytes::from(arena), records, next: self.offset, is_last }));
        }
    }

    fn read(&mut self, path: &Path) -> Result<()> {
        let mut limited = (&mut self.input).take(READ_BYTES as u64);
        let count = limited.read_to_end(&mut self.buffer).map_err(|e| unpack_error(path, &e))?;
        self.is_at_end = count == 0;
        Ok(())
    }

    /// The records that end in the buffer, and the bytes that they take.
    fn cut(&self) -> Result<(Vec<RawRecord>, usize)> {
        let mut records = Vec::new();
        let mut position = 0;
        while let Some(cut) = self.framing.next(&self.buffer, position, self.is_at_end) {
            position = cut.next;
            if let Some((start, end)) = cut.record {
                let place = |at: usize| u32::try_from(at).map_err(|_| Error::internal("a chunk of 4 GiB"));
                records.push(RawRecord {
                    key_start: 0,
                    key_end: 0,
                    value_start: place(start)?,
                    value_end: place(end)?,
                    offset: i64::try_from(self.offset + start as u64).unwrap_or(i64::MAX),
                    timestamp_ms: -1,
                    has_key: false,
                    has_value: true,
                    tag: 0,
                });
            }
        }
        Ok((records, position))
    }
}

fn open_unpacked(path: &Path, start: u64) -> Result<Box<dyn Read + Send>> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let is_packed = matches!(extension, "gz" | "gzip" | "deflate" | "zst");
    let file: Box<dyn Read + Send> = match ObjectUrl::is_path(path) {
        true => super::remote::reader_at(path, if is_packed { 0 } else { start })?
            .ok_or_else(|| shorter(path, start, "fewer"))?,
        false if is_packed => Box::new(File::open(path).map_err(|e| read_error(path, &e))?),
        false => Box::new(file_at(path, start)?),
    };
    let mut unpacked: Box<dyn Read + Send> = match extension {
        "gz" | "gzip" => Box::new(MultiGzDecoder::new(file)),
        "deflate" => Box::new(ZlibDecoder::new(file)),
        "zst" => Box::new(zstd::stream::read::Decoder::new(file).map_err(|e| unpack_error(path, &e))?),
        "bz2" | "xz" => {
            return Err(unsupported(format!(
                "`{}`: files packed as .{extension} are not supported yet",
                path.display()
            ))
            .hint("pack them with gzip or zstd"));
        }
        _ => return Ok(file),
    };
    io::copy(&mut (&mut unpacked).take(start), &mut io::sink()).map_err(|e| unpack_error(path, &e))?;
    Ok(unpacked)
}

/// A file of this machine, at a byte.
fn file_at(path: &Path, start: u64) -> Result<File> {
    let mut file = File::open(path).map_err(|e| read_error(path, &e))?;
    let length = file.metadata().map_err(|e| read_error(path, &e))?.len();
    if length < start {
        return Err(shorter(path, start, &length.to_string()));
    }
    file.seek(SeekFrom::Start(start)).map_err(|e| read_error(path, &e))?;
    Ok(file)
}

fn shorter(path: &Path, start: u64, length: &str) -> Error {
    Error::data(format!("`{}` was read to byte {start} and has {length} bytes now", path.display()))
        .hint("files must not change once they are there; start anew with --fresh")
}

fn unpack_error(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Error::data(format!("cannot unpack `{}`: {error}", path.display()))
                .hint("how a file is packed is told by the end of its name")
        }
        _ => read_error(path, error),
    }
}

/// The number of the line in which a byte lies; for messages, since it reads the file up to there.
pub(super) fn line_at(path: &Path, position: u64) -> Option<u64> {
    let mut input = open_unpacked(path, 0).ok()?.take(position);
    let mut buffer = vec![0; READ_BYTES];
    let mut line = 1;
    loop {
        let count = input.read(&mut buffer).ok()?;
        if count == 0 {
            return Some(line);
        }
        line += memchr::memchr_iter(b'\n', buffer.get(..count)?).count() as u64;
    }
}
