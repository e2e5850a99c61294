//! Which letters of a table are to be sent, and where: those that were not sent yet, and that decode as they stand now.
//!
//! The letters lie in files of JSON lines, read twice: once for what makes each letter that letter, once to write those that go. So memory
//! holds sixteen bytes of a letter, and not its row.
//!
//! A letter of a source is its place: table, topic, partition and offset. When several say the same place (a repaired one was written
//! behind the broken one, or a restart wrote one again), the latest counts, and once a place was sent it is not sent again. A letter of a
//! sink has no place and is what its columns say together; equal ones are told apart by their number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use wiesel_connectors::DELETION_REFUSED;
use wiesel_core::source::{RawBatch, RawRecord, RowReader};
use xxhash_rust::xxh3::xxh3_128;

use super::notes::{LETTERS_MAX, LetterId, Sent, Target, cannot};

/// A letter as the job that read the table has written it.
#[derive(Debug, Deserialize)]
pub(super) struct Letter {
    at: Option<String>,
    pub(super) table_name: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i64>,
    pub(super) offset: Option<i64>,
    /// In base64.
    raw: Option<String>,
    reason: Option<String>,
}

impl Letter {
    /// Whether it is a record of a source; else a row of a sink, or of a function.
    pub(super) fn is_of_source(&self) -> bool {
        self.offset.is_some()
    }

    /// Where it is from, for people.
    fn place(&self) -> String {
        let table = self.table_name.as_deref().unwrap_or("?");
        match (&self.topic, self.partition, self.offset) {
            (Some(topic), Some(partition), Some(offset)) => {
                format!("`{table}`, {topic}-{partition} at offset {offset}")
            }
            (Some(topic), None, Some(offset)) => format!("`{table}`, {topic} at offset {offset}"),
            _ => format!("`{table}`, refused at {}", self.at.as_deref().unwrap_or("?")),
        }
    }

    fn is_deletion(&self) -> bool {
        !self.is_of_source() && self.reason.as_deref().is_some_and(|reason| reason.starts_with(DELETION_REFUSED))
    }

    /// What makes it this letter, among those equal to it the `number`th.
    fn id(&self, number: &mut HashMap<LetterId, u64>) -> LetterId {
        let mut bytes = Vec::new();
        let mut add = |part: Option<&str>| {
            bytes.extend_from_slice(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.unwrap_or_default().as_bytes());
        };
        add(self.table_name.as_deref());
        add(self.topic.as_deref());
        if self.is_of_source() {
            let place = format!("{:?} {:?}", self.partition, self.offset);
            add(Some(&place));
            return xxh3_128(&bytes);
        }
        for part in [&self.at, &self.raw, &self.reason] {
            add(part.as_deref());
        }
        let equal = number.entry(xxh3_128(&bytes)).or_default();
        *equal += 1;
        bytes.extend_from_slice(&equal.to_le_bytes());
        xxh3_128(&bytes)
    }
}

/// Where the letters of one table go.
pub(super) struct Route {
    /// Where raw records go; else rows go to the table.
    pub(super) topic: Option<String>,
    /// Finds out whether one decodes.
    pub(super) reader: Box<dyn RowReader>,
}

/// Finds the route of a letter's table, or says why there is none.
pub(super) type Router<'a> = dyn FnMut(&Letter) -> Result<Route, String> + 'a;

/// What became of the letters.
#[derive(Default)]
pub(super) struct Sorted {
    /// Those that go.
    pub(super) targets: Vec<Target>,
    pub(super) ids: Vec<LetterId>,
    /// All that the table holds.
    pub(super) seen: BTreeSet<LetterId>,
    pub(super) sent_before: u64,
    pub(super) undecodable: u64,
    pub(super) first_undecodable: Option<String>,
    /// Why, and how many.
    pub(super) unroutable: BTreeMap<String, u64>,
}

/// Reads the letters below `from` and writes those that go into files below `to`.
pub(super) fn sort(from: &Path, to: &Path, sent: &Sent, route: &mut Router<'_>) -> Result<Sorted, String> {
    let files = files_below(from)?;
    // Of each letter the latest, by the time at which it was refused and then by its place in the files.
    let mut latest: BTreeMap<LetterId, (Option<String>, u64)> = BTreeMap::new();
    let mut numbers = HashMap::new();
    each_letter(&files, &mut |line, letter| {
        let id = letter.id(&mut numbers);
        let known = latest.entry(id).or_default();
        if letter.at >= known.0 {
            *known = (letter.at, line);
        }
        if latest.len() > LETTERS_MAX {
            return Err(format!("the table holds more than {LETTERS_MAX} letters: remove some that were sent"));
        }
        Ok(())
    })?;
    let mut sorted = Sorted { seen: latest.keys().copied().collect(), ..Sorted::default() };
    let mut outputs = Outputs { folder: to, by_table: BTreeMap::new(), writers: Vec::new() };
    numbers.clear();
    each_letter(&files, &mut |line, letter| {
        let id = letter.id(&mut numbers);
        if latest.get(&id).is_none_or(|(_, its_line)| *its_line != line) {
            return Ok(());
        }
        if sent.ids.contains(&id) {
            sorted.sent_before += 1;
            return Ok(());
        }
        if letter.is_deletion() {
            *sorted.unroutable.entry("a row that was to be deleted has nothing to be sent".to_owned()).or_default() +=
                1;
            return Ok(());
        }
        let output = match outputs.of(&letter, route) {
            Ok(output) => output,
            Err(Unwritable::NoRoute(why)) => {
                *sorted.unroutable.entry(why).or_default() += 1;
                return Ok(());
            }
            Err(Unwritable::Io(error)) => return Err(error),
        };
        let encoded = letter.raw.as_deref().unwrap_or_default();
        let raw = STANDARD.decode(encoded).map_err(|e| format!("the column `raw` was not read as it is: {e}"))?;
        if let Err(why) = decodes(output.reader.as_mut(), &raw) {
            sorted.undecodable += 1;
            sorted.first_undecodable.get_or_insert_with(|| format!("{}: {why}", letter.place()));
            return Ok(());
        }
        output.write(&raw, encoded)?;
        sorted.ids.push(id);
        Ok(())
    })?;
    sorted.targets = outputs.finish()?;
    Ok(sorted)
}

/// Whether a record is one row, as the table is declared now.
fn decodes(reader: &mut dyn RowReader, raw: &[u8]) -> Result<(), String> {
    let length = u32::try_from(raw.len()).map_err(|_| "it is larger than 4 GiB".to_owned())?;
    let record = RawRecord {
        key_start: 0,
        key_end: 0,
        value_start: 0,
        value_end: length,
        offset: 0,
        timestamp_ms: -1,
        has_key: false,
        has_value: true,
        tag: 0,
    };
    let batch = RawBatch { split: 0, arena: raw.to_vec().into(), records: vec![record], next: 1 };
    match reader.read(&batch, 0..1) {
        Ok(read) if read.skipped == 0 => Ok(()),
        Ok(_) => Err("its format would skip it".to_owned()),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// Why a letter is not written.
enum Unwritable {
    NoRoute(String),
    Io(String),
}

/// The files that are being written.
struct Outputs<'a> {
    folder: &'a Path,
    /// By the letters' table and topic: the place among the writers, or why there is none.
    by_table: BTreeMap<(String, Option<String>), Result<usize, String>>,
    writers: Vec<Output>,
}

struct Output {
    target: Target,
    reader: Box<dyn RowReader>,
    file: BufWriter<File>,
}

impl Outputs<'_> {
    fn of(&mut self, letter: &Letter, route: &mut Router<'_>) -> Result<&mut Output, Unwritable> {
        let key = (letter.table_name.clone().unwrap_or_default(), letter.topic.clone());
        let place = match self.by_table.get(&key) {
            Some(known) => known.clone(),
            None => {
                let found = match route(letter) {
                    Ok(route) => Ok(self.open(&key.0, route).map_err(Unwritable::Io)?),
                    Err(why) => Err(why),
                };
                self.by_table.insert(key, found.clone());
                found
            }
        };
        let place = place.map_err(Unwritable::NoRoute)?;
        self.writers.get_mut(place).ok_or_else(|| Unwritable::Io("a file of the batch is missing".to_owned()))
    }

    fn open(&mut self, table: &str, route: Route) -> Result<usize, String> {
        let place = self.writers.len();
        let path = self.folder.join(format!("letters-{place}.json"));
        let file = File::create(&path).map_err(|e| cannot("write", &path, &e))?;
        let target = Target { table: table.to_owned(), topic: route.topic, count: 0, file: path };
        self.writers.push(Output { target, reader: route.reader, file: BufWriter::new(file) });
        Ok(place)
    }

    /// All files are durable; those without letters are no targets.
    fn finish(self) -> Result<Vec<Target>, String> {
        let mut targets = Vec::new();
        for Output { target, file, .. } in self.writers {
            let synced = file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
            synced.map_err(|e| cannot("write", &target.file, &e))?;
            if target.count > 0 {
                targets.push(target);
            }
        }
        Ok(targets)
    }
}

impl Output {
    fn write(&mut self, raw: &[u8], encoded: &str) -> Result<(), String> {
        let written = match &self.target.topic {
            Some(_) => writeln!(self.file, "{{\"raw\":\"{encoded}\"}}"),
            None => {
                // A line break in JSON stands only between its parts, where a space means the same.
                let line: Vec<u8> =
                    raw.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
                self.file.write_all(&line).and_then(|()| self.file.write_all(b"\n"))
            }
        };
        self.target.count += 1;
        written.map_err(|e| cannot("write", &self.target.file, &e))
    }
}

fn each_letter(files: &[PathBuf], take: &mut dyn FnMut(u64, Letter) -> Result<(), String>) -> Result<(), String> {
    let mut number = 0;
    for path in files {
        let file = File::open(path).map_err(|e| cannot("read", path, &e))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|e| cannot("read", path, &e))?;
            let letter = serde_json::from_str(&line)
                .map_err(|e| format!("`{}` holds what is no letter: {e}", path.display()))?;
            take(number, letter)?;
            number += 1;
        }
    }
    Ok(())
}

/// The visible files of a folder and the folders in it, by name.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // A table without letters makes no file.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(e) => return Err(cannot("read", folder, &e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| cannot("read", folder, &e))?;
        let is_hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
        match entry.file_type() {
            _ if is_hidden => {}
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())?),
            _ => files.push(entry.path()),
        }
    }
    files.sort();
    Ok(files)
}
