//! State run files: what operators wrote out for one checkpoint, in order.
//!
//! ```text
//! "WSLRUN" version:u16 | block | block | ...          block = length:u32 crc32:u32 payload
//! first payload: the operator ids as JSON             all others: entries
//! entry = kind:u8 operator:u16 table:u8 vnode:u8 key_length:u32 key [value_length:u32 value]
//! ```
//! Numbers are little-endian. An entry names its operator by its place in the file's own list of ids, so a file can be read without any
//! plan. Entries are in the order in which they were written: a later one of the same key wins.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use wiesel_core::{Error, Result};

use super::folder::io_error;
use super::manifest::RunEntry;
use super::storage;
use crate::operator::StateWriter;
use crate::state::store::Frozen;

const MAGIC: &[u8; 6] = b"WSLRUN";
const VERSION: u16 = 1;

const PUT: u8 = 0;
const DELETE: u8 = 1;
const DELETE_PREFIX: u8 = 2;

/// A block is closed once it holds this much; one entry may make it larger.
const BLOCK_BYTES: usize = 256 << 10;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A key has this value.
    Put,
    /// A key is gone.
    Delete,
    /// All keys that begin so are gone, in all vnodes.
    DeletePrefix,
}

/// An entry where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunEntryRef<'a> {
    pub(crate) kind: EntryKind,
    /// The node of the plan, or its place in a file's list of ids.
    pub(crate) operator: u16,
    pub(crate) table: u8,
    pub(crate) vnode: u8,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Where the entry begins in its buffer.
    pub(crate) place: u64,
}

/// Entries on their way into a run file, written by one worker.
#[derive(Debug, Default)]
pub(crate) struct RunBuffer {
    operator: u16,
    bytes: Vec<u8>,
    block_ends: Vec<usize>,
}

impl RunBuffer {
    /// Entries that follow belong to this node of the plan.
    pub(crate) fn set_operator(&mut self, plan_node: usize) {
        self.operator = u16::try_from(plan_node).expect("a plan has fewer than 65536 nodes");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of the entries.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends an entry of another buffer or file under another operator's number.
    pub(crate) fn push(&mut self, operator: u16, entry: &RunEntryRef<'_>) {
        self.operator = operator;
        let kind = match entry.kind {
            EntryKind::Put => PUT,
            EntryKind::Delete => DELETE,
            EntryKind::DeletePrefix => DELETE_PREFIX,
        };
        let value = (entry.kind == EntryKind::Put).then_some(entry.value);
        self.entry(kind, entry.table, entry.vnode, entry.key, value);
    }

    /// Forgets the entries and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.block_ends.clear();
    }

    /// The entries in the order in which they were written.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Result<RunEntryRef<'_>>> {
        let mut reader = Reader(&self.bytes);
        std::iter::from_fn(move || (!reader.0.is_empty()).then(|| reader.entry(self.bytes.len() - reader.0.len())))
    }

    /// Bytes held, by capacity.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Writes the entries again.
    pub(crate) fn replay(&self, writer: &mut dyn StateWriter) -> Result<()> {
        for entry in self.entries() {
            let RunEntryRef { kind, table, vnode, key, value, .. } = entry?;
            match kind {
                EntryKind::Put => writer.put(table, vnode, key, value),
                EntryKind::Delete => writer.delete(table, vnode, key),
                EntryKind::DeletePrefix => writer.delete_prefix(table, key),
            }
        }
        Ok(())
    }

    /// The entry that begins at a place which [`RunBuffer::entries`] gave.
    pub(crate) fn entry_at(&self, place: u64) -> RunEntryRef<'_> {
        let begin = usize::try_from(place).unwrap_or(usize::MAX);
        Reader(&self.bytes[begin..]).entry(begin).expect("an entry that was read from this buffer before")
    }

    fn blocks(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.block_ends.iter().copied().chain([self.bytes.len()]);
        let mut begin = 0;
        ends.map(move |end| {
            let block = &self.bytes[begin..end];
            begin = end;
            block
        })
        .filter(|block| !block.is_empty())
    }

    fn entry(&mut self, kind: u8, table: u8, vnode: u8, key: &[u8], value: Option<&[u8]>) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&self.operator.to_le_bytes());
        self.bytes.extend_from_slice(&[table, vnode]);
        for part in [Some(key), value].into_iter().flatten() {
            let length = u32::try_from(part.len()).expect("a state entry is smaller than 4 GiB");
            self.bytes.extend_from_slice(&length.to_le_bytes());
            self.bytes.extend_from_slice(part);
        }
        let begin = self.block_ends.last().copied().unwrap_or(0);
        if self.bytes.len() - begin >= BLOCK_BYTES {
            self.block_ends.push(self.bytes.len());
        }
    }
}

impl StateWriter for RunBuffer {
    fn put(&mut self, table: u8, vnode: u8, key: &[u8], value: &[u8]) {
        self.entry(PUT, table, vnode, key, Some(value));
    }

    fn delete(&mut self, table: u8, vnode: u8, key: &[u8]) {
        self.entry(DELETE, table, vnode, key, None);
    }

    fn delete_prefix(&mut self, table: u8, prefix: &[u8]) {
        self.entry(DELETE_PREFIX, table, 0, prefix, None);
    }
}

/// What one worker writes for one checkpoint, in parts: deletes stand in front of all puts, whenever they were written.
#[derive(Debug, Default)]
pub(crate) struct RunParts {
    operator: usize,
    deletes: RunBuffer,
    puts: Vec<RunBuffer>,
    /// Bytes of the puts but for the last buffer's.
    full_bytes: usize,
}

/// A buffer that holds as much is followed by another. Each has its room from the beginning: one that grows is copied now and then, and
/// the pages of the copy, touched for the first time, cost a slice several milliseconds.
const PART_BYTES: usize = 1 << 20;
/// Room behind that for the entry that fills a buffer.
const PART_SLACK_BYTES: usize = 4 << 10;

impl RunParts {
    /// Entries that follow belong to this node of the plan.
    pub(crate) fn set_operator(&mut self, plan_node: usize) {
        self.operator = plan_node;
        self.deletes.set_operator(plan_node);
        self.puts.iter_mut().rev().take(1).for_each(|buffer| buffer.set_operator(plan_node));
    }

    /// Bytes of the entries.
    pub(crate) fn bytes(&self) -> usize {
        self.deletes.bytes() + self.full_bytes + self.puts.last().map_or(0, RunBuffer::bytes)
    }

    /// The entries in the order in which they count.
    pub(crate) fn into_buffers(self) -> Vec<RunBuffer> {
        std::iter::once(self.deletes).chain(self.puts).filter(|buffer| !buffer.is_empty()).collect()
    }
}

impl StateWriter for RunParts {
    fn put(&mut self, table: u8, vnode: u8, key: &[u8], value: &[u8]) {
        let full = self.puts.last().is_none_or(|buffer| buffer.bytes() >= PART_BYTES);
        if full {
            self.full_bytes += self.puts.last().map_or(0, RunBuffer::bytes);
            let bytes = Vec::with_capacity(PART_BYTES + PART_SLACK_BYTES);
            let mut next = RunBuffer { bytes, ..RunBuffer::default() };
            next.set_operator(self.operator);
            self.puts.push(next);
        }
        self.puts.iter_mut().rev().take(1).for_each(|buffer| buffer.put(table, vnode, key, value));
    }

    fn delete(&mut self, table: u8, vnode: u8, key: &[u8]) {
        self.deletes.delete(table, vnode, key);
    }

    fn delete_prefix(&mut self, table: u8, prefix: &[u8]) {
        self.deletes.delete_prefix(table, prefix);
    }
}

/// Writes a run file; returns its length and checksum. What the store holds, when the file is to hold that too, comes before the
/// buffers. `halfway` is called in the middle.
pub(crate) fn write(
    out: &mut impl Write,
    ids: &[String],
    base: Option<&Frozen>,
    buffers: &[RunBuffer],
    halfway: impl Fn(),
) -> io::Result<(u64, u32)> {
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = 0_u64;
    let mut put = |part: &[u8]| {
        hasher.update(part);
        bytes += part.len() as u64;
        out.write_all(part)
    };
    put(MAGIC)?;
    put(&VERSION.to_le_bytes())?;
    let head = serde_json::to_vec(ids)?;
    let mut number = 0;
    let mut write_block = |block: &[u8]| {
        let length = u32::try_from(block.len()).map_err(|_| io::Error::other("a state block of 4 GiB"))?;
        put(&length.to_le_bytes())?;
        put(&crc32fast::hash(block).to_le_bytes())?;
        let (first, second) = block.split_at(block.len() / 2);
        put(first)?;
        if number == 1 {
            halfway();
        }
        number += 1;
        put(second)
    };
    write_block(&head)?;
    if let Some(base) = base {
        let mut buffer = RunBuffer::default();
        base.for_each(|entry| {
            buffer.push(entry.operator, &entry);
            if buffer.bytes.len() >= BLOCK_BYTES {
                write_block(&buffer.bytes)?;
                buffer.clear();
            }
            Ok::<(), BaseError>(())
        })
        .map_err(|BaseError(error)| error)?;
        if !buffer.is_empty() {
            write_block(&buffer.bytes)?;
        }
    }
    buffers.iter().flat_map(RunBuffer::blocks).try_for_each(write_block)?;
    Ok((bytes, hasher.finalize()))
}

struct BaseError(io::Error);

impl From<io::Error> for BaseError {
    fn from(error: io::Error) -> Self {
        BaseError(error)
    }
}

impl From<Error> for BaseError {
    fn from(error: Error) -> Self {
        BaseError(io::Error::other(error.to_string()))
    }
}

/// Key and vnode to value. The key comes first, so that a prefix is one range over all vnodes.
pub(crate) type Entries = BTreeMap<(Vec<u8>, u8), Vec<u8>>;

/// State read back, by operator id and table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RestoredState {
    pub(crate) tables: BTreeMap<(String, u8), Entries>,
}

impl RestoredState {
    /// Reads files in order, later entries over earlier ones.
    pub(crate) fn read(folder: &Path, runs: &[RunEntry]) -> Result<RestoredState> {
        let mut state = RestoredState::default();
        for run in runs {
            let bytes = read_file(folder, run)?;
            state.merge(&bytes).map_err(|e| e.at(format!("state file `{}`", run.file)))?;
        }
        Ok(state)
    }

    pub(crate) fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let mut reader = Reader(bytes);
        check_head(&mut reader)?;
        let ids: Vec<String> = serde_json::from_slice(reader.block()?).map_err(|e| damaged(&e.to_string()))?;
        while !reader.0.is_empty() {
            let mut block = Reader(reader.block()?);
            while !block.0.is_empty() {
                self.entry(&block.entry(0)?, &ids)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &RunEntryRef<'_>, ids: &[String]) -> Result<()> {
        let id = ids.get(usize::from(entry.operator)).ok_or_else(unlisted)?;
        let entries = self.tables.entry((id.clone(), entry.table)).or_default();
        let key = entry.key.to_vec();
        match entry.kind {
            EntryKind::Put => drop(entries.insert((key, entry.vnode), entry.value.to_vec())),
            EntryKind::Delete => drop(entries.remove(&(key, entry.vnode))),
            EntryKind::DeletePrefix => {
                let from_prefix = entries.range((key.clone(), 0)..);
                let gone: Vec<_> =
                    from_prefix.take_while(|((k, _), _)| k.starts_with(&key)).map(|(k, _)| k.clone()).collect();
                for key in gone {
                    entries.remove(&key);
                }
            }
        }
        Ok(())
    }
}

fn unlisted() -> Error {
    damaged("an entry of an operator it does not list")
}

/// Tells every entry of a file, block by block, so that a file may be larger than memory; `each` gets the operator's id too.
pub(crate) fn stream(
    folder: &Path,
    run: &RunEntry,
    mut each: impl FnMut(&str, RunEntryRef<'_>) -> Result<()>,
) -> Result<()> {
    let path = folder.join(&run.file);
    let at = |e: Error| e.at(format!("state file `{}`", run.file));
    let cannot = |e: io::Error| io_error("the state file could not be read", &path, &e);
    let storage = storage::at(folder)?;
    let mut file = BufReader::with_capacity(BLOCK_BYTES, storage.open(&run.file).map_err(cannot)?);
    let mut head = [0; MAGIC.len() + 2];
    file.read_exact(&mut head).map_err(cannot)?;
    check_head(&mut Reader(&head)).map_err(at)?;
    let (mut left, mut block) = (run.bytes.saturating_sub(head.len() as u64), Vec::new());
    let mut ids: Option<Vec<String>> = None;
    while left > 0 {
        let mut numbers = [0; 8];
        file.read_exact(&mut numbers).map_err(cannot)?;
        let length = u32::from_le_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]);
        left = left
            .checked_sub(u64::from(length) + numbers.len() as u64)
            .ok_or_else(|| at(damaged("a block goes beyond its end")))?;
        block.clear();
        block.extend_from_slice(&numbers);
        (&mut file).take(u64::from(length)).read_to_end(&mut block).map_err(cannot)?;
        let payload = Reader(&block).block().map_err(at)?;
        let Some(ids) = &ids else {
            ids = Some(serde_json::from_slice(payload).map_err(|e| at(damaged(&e.to_string())))?);
            continue;
        };
        let mut reader = Reader(payload);
        while !reader.0.is_empty() {
            let entry = reader.entry(0).map_err(at)?;
            each(ids.get(usize::from(entry.operator)).ok_or_else(unlisted).map_err(at)?, entry)?;
        }
    }
    Ok(())
}

fn check_head(reader: &mut Reader<'_>) -> Result<()> {
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(damaged("it does not begin as a state file"));
    }
    let version = u16::from_le_bytes(reader.array()?);
    if version != VERSION {
        return Err(Error::config(format!("it was written in format {version}, this program reads {VERSION}")));
    }
    Ok(())
}

/// Whether all files are there and whole.
pub(crate) fn check_files(folder: &Path, runs: &[RunEntry]) -> Result<()> {
    runs.iter().try_for_each(|run| check_file(folder, run))
}

/// Reads a file in pieces and compares its length and checksum with the manifest's.
fn check_file(folder: &Path, run: &RunEntry) -> Result<()> {
    let path = folder.join(&run.file);
    let cannot = |e: io::Error| io_error("the state file could not be read", &path, &e);
    let storage = storage::at(folder)?;
    let mut file = storage.open(&run.file).map_err(cannot)?;
    let (mut hasher, mut bytes, mut piece) = (crc32fast::Hasher::new(), 0, vec![0; BLOCK_BYTES]);
    loop {
        match file.read(&mut piece).map_err(cannot)? {
            0 => break,
            length => {
                hasher.update(&piece[..length]);
                bytes += length as u64;
            }
        }
    }
    if bytes != run.bytes || hasher.finalize() != run.crc32 { Err(disagrees(run)) } else { Ok(()) }
}

fn disagrees(run: &RunEntry) -> Error {
    damaged("its length or checksum does not agree with the manifest").at(format!("state file `{}`", run.file))
}

fn read_file(folder: &Path, run: &RunEntry) -> Result<Vec<u8>> {
    let path = folder.join(&run.file);
    let bytes =
        storage::at(folder)?.read(&run.file).map_err(|e| io_error("the state file could not be read", &path, &e))?;
    if bytes.len() as u64 != run.bytes || crc32fast::hash(&bytes) != run.crc32 {
        return Err(disagrees(run));
    }
    Ok(bytes)
}

fn damaged(what: &str) -> Error {
    Error::data(format!("the state file is damaged: {what}"))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| damaged("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many bytes were taken as the array has"))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| damaged("a length beyond memory"))?)
    }

    fn entry(&mut self, begin: usize) -> Result<RunEntryRef<'a>> {
        let [kind] = self.array()?;
        let operator = u16::from_le_bytes(self.array()?);
        let [table, vnode] = self.array()?;
        let key = self.bytes()?;
        let (kind, value): (_, &[u8]) = match kind {
            PUT => (EntryKind::Put, self.bytes()?),
            DELETE => (EntryKind::Delete, &[]),
            DELETE_PREFIX => (EntryKind::DeletePrefix, &[]),
            other => return Err(damaged(&format!("an entry of kind {other}"))),
        };
        Ok(RunEntryRef { kind, operator, table, vnode, key, value, place: begin as u64 })
    }

    fn block(&mut self) -> Result<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        let crc = u32::from_le_bytes(self.array()?);
        let block = self.take(usize::try_from(length).map_err(|_| damaged("a length beyond memory"))?)?;
        if crc32fast::hash(block) != crc { Err(damaged("the checksum of a block does not agree")) } else { Ok(block) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Flat = Vec<(u8, u8, Vec<u8>, Vec<u8>)>;

    fn entries(state: &RestoredState) -> Flat {
        let tables = state.tables.iter();
        tables
            .flat_map(|((_, table), entries)| {
                entries.iter().map(|((key, vnode), value)| (*table, *vnode, key.clone(), value.clone()))
            })
            .collect()
    }

    fn written(write_entries: impl Fn(&mut RunBuffer)) -> Vec<u8> {
        let mut buffer = RunBuffer::default();
        buffer.set_operator(1);
        write_entries(&mut buffer);
        let mut bytes = Vec::new();
        let ids = ["a".to_owned(), "b".to_owned()];
        let (length, crc) = write(&mut bytes, &ids, None, &[buffer], || {}).unwrap();
        assert_eq!((length, crc), (bytes.len() as u64, crc32fast::hash(&bytes)));
        bytes
    }

    #[test]
    fn later_entries_win_and_a_prefix_takes_all_vnodes_away() {
        let first = written(|w| {
            w.put(0, 7, b"w1/a", b"1");
            w.put(0, 9, b"w1/b", b"2");
            w.put(0, 9, b"w2/b", b"3");
            w.put(1, 7, b"w1/a", b"4");
            w.put(0, 1, b"x", &vec![0; BLOCK_BYTES]);
        });
        let second = written(|w| {
            w.delete_prefix(0, b"w1/");
            w.put(0, 9, b"w1/c", b"5");
            w.put(0, 9, b"w2/b", b"6");
            w.delete(0, 1, b"x");
        });
        let mut state = RestoredState::default();
        state.merge(&first).unwrap();
        state.merge(&second).unwrap();
        let expected: Flat = vec![
            (0, 9, b"w1/c".to_vec(), b"5".to_vec()),
            (0, 9, b"w2/b".to_vec(), b"6".to_vec()),
            (1, 7, b"w1/a".to_vec(), b"4".to_vec()),
        ];
        assert_eq!(entries(&state), expected);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = written(|w| w.put(0, 7, b"key", b"value"));
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 0x10;
            assert!(RestoredState::default().merge(&flipped).is_err(), "a flip at {position}");
        }
        let mut state = RestoredState::default();
        for length in 0..bytes.len() {
            let outcome = state.merge(&bytes[..length]);
            // Whole blocks may end anywhere between two blocks; the manifest's length finds that.
            assert!(outcome.is_err() || entries(&state).is_empty(), "cut at {length}");
        }
    }
}
