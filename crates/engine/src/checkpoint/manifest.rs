//! The manifest: what a checkpoint consists of, as JSON that a person can read, with a checksum behind it.
//!
//! ```text
//! {"format":1,"id":7, ...}
//! crc32:1c2d3e4f
//! ```
//! Everything is named by what is stable over restarts: operators by their id, splits by their name. Bytes of sinks are base64.

use serde::{Deserialize, Serialize};
use wiesel_core::sink::CheckpointKind;
use wiesel_core::{Error, Result};

use crate::step::letters::Letter;

/// The format this program writes, and the only one it reads.
pub(crate) const FORMAT: u32 = 1;

/// The program that writes, for whoever meets a checkpoint of another one.
pub(crate) const PROGRAM: &str = concat!("wiesel ", env!("CARGO_PKG_VERSION"));

/// Why a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The interval was over.
    Periodic,
    /// The job was stopped.
    Stop,
    /// It was asked for, to be kept elsewhere.
    Savepoint,
    /// The input ended; nothing resumes from it.
    Final,
}

impl From<CheckpointKind> for Kind {
    fn from(kind: CheckpointKind) -> Self {
        match kind {
            CheckpointKind::Periodic => Kind::Periodic,
            CheckpointKind::Stop => Kind::Stop,
            CheckpointKind::Final => Kind::Final,
        }
    }
}

/// What a checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// The program that wrote it, with its version.
    #[serde(default)]
    pub(crate) program: String,
    pub(crate) id: u64,
    pub(crate) time_ms: i64,
    pub(crate) duration_ms: u64,
    pub(crate) kind: Kind,
    pub(crate) job: String,
    /// Bytes written for this checkpoint alone.
    pub(crate) written_bytes: u64,
    pub(crate) operators: Vec<OperatorEntry>,
    pub(crate) sources: Vec<SourceEntry>,
    pub(crate) watermarks: Vec<WatermarkEntry>,
    pub(crate) inputs: Vec<InputEntry>,
    pub(crate) sinks: Vec<SinkEntry>,
    /// State files in the order in which they are read.
    pub(crate) runs: Vec<RunEntry>,
    /// Dead letters that their table's sink had not got when the checkpoint began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) letters: Vec<Letter>,
    /// The savepoint that this line of checkpoints began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored_from: Option<String>,
}

/// An operator of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OperatorEntry {
    pub(crate) id: String,
    pub(crate) label: String,
    /// `source`, `watermark` or `sink`; empty for all others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) role: String,
    /// The table behind a role.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) table: String,
    /// Whether it has state to keep.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) keeps_state: bool,
}

/// The positions of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceEntry {
    pub(crate) operator: String,
    pub(crate) table: String,
    pub(crate) splits: Vec<SplitEntry>,
}

/// The position of a split: the first row that is not part of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SplitEntry {
    pub(crate) name: String,
    pub(crate) position: i64,
    /// Where a bounded read ends, when that was decided at its first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<i64>,
}

/// A watermark generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatermarkEntry {
    pub(crate) operator: String,
    /// The table whose rows it follows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) table: String,
    pub(crate) emitted: i64,
    /// The highest watermark of each split, by its name; of all rows, under the empty name, where there is one generator for a table.
    pub(crate) splits: Vec<(String, i64)>,
}

/// The watermark that an operator's input stood at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputEntry {
    pub(crate) operator: String,
    pub(crate) watermark: i64,
}

/// What a sink handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinkEntry {
    pub(crate) operator: String,
    pub(crate) table: String,
    pub(crate) delivery: String,
    #[serde(with = "bytes_list")]
    pub(crate) states: Vec<Vec<u8>>,
    /// Work that becomes visible by a commit, oldest checkpoint first.
    pub(crate) pending: Vec<PendingEntry>,
}

/// Work of one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingEntry {
    pub(crate) checkpoint: u64,
    #[serde(with = "bytes_list")]
    pub(crate) work: Vec<Vec<u8>>,
}

/// A state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunEntry {
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
}

/// Where the sources stand, `orders-0 at 1500, orders-1 at 1498`; a few of them say enough.
pub(crate) fn positions_text(manifest: &Manifest) -> String {
    const SHOWN_MAX: usize = 8;
    let splits = || manifest.sources.iter().flat_map(|source| &source.splits);
    let mut texts: Vec<String> =
        splits().take(SHOWN_MAX).map(|split| format!("{} at {}", split.name, split.position)).collect();
    let rest = splits().count().saturating_sub(SHOWN_MAX);
    if rest > 0 {
        texts.push(format!("and {rest} more"));
    }
    texts.join(", ")
}

impl Manifest {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes =
            serde_json::to_vec(self).map_err(|e| Error::internal(format!("a manifest could not be written: {e}")))?;
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(format!("\ncrc32:{crc:08x}\n").as_bytes());
        Ok(bytes)
    }

    /// Reads a manifest; every kind of damage is an error, never a panic.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest> {
        let damaged = |what: &str| Error::data(format!("the manifest is damaged: {what}"));
        let end = memchr::memrchr(b'\n', bytes.strip_suffix(b"\n").ok_or_else(|| damaged("it is cut off"))?);
        let (json, tail) = bytes.split_at(end.ok_or_else(|| damaged("it has no checksum"))?);
        let crc = tail.strip_prefix(b"\ncrc32:").and_then(|t| std::str::from_utf8(t).ok());
        let crc = crc.and_then(|t| u32::from_str_radix(t.trim_end(), 16).ok());
        if crc != Some(crc32fast::hash(json)) {
            return Err(damaged("its checksum does not agree"));
        }
        let version: Version = serde_json::from_slice(json).map_err(|e| damaged(&e.to_string()))?;
        if version.format != FORMAT {
            let by = if version.program.is_empty() { String::new() } else { format!(" by {}", version.program) };
            return Err(Error::config(format!(
                "the checkpoint was written in format {}{by}, and {PROGRAM} reads format {FORMAT}",
                version.format
            ))
            .hint("run the program that wrote it, or start anew with `--fresh`"));
        }
        serde_json::from_slice(json).map_err(|e| damaged(&e.to_string()))
    }
}

#[derive(Deserialize)]
struct Version {
    format: u32,
    #[serde(default)]
    program: String,
}

/// Lists of byte strings as base64 texts.
mod bytes_list {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|bytes| STANDARD.encode(bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| STANDARD.decode(text).map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            program: PROGRAM.to_owned(),
            id: 7,
            time_ms: 1,
            duration_ms: 2,
            kind: Kind::Stop,
            job: "a \"job\"\nof two lines".to_owned(),
            written_bytes: 3,
            operators: vec![OperatorEntry {
                id: "0a".to_owned(),
                label: "Calc".to_owned(),
                role: String::new(),
                table: String::new(),
                keeps_state: true,
            }],
            sources: vec![SourceEntry {
                operator: "0b".to_owned(),
                table: "t".to_owned(),
                splits: vec![SplitEntry { name: "t-0".to_owned(), position: i64::MAX, end: Some(7) }],
            }],
            watermarks: vec![WatermarkEntry {
                operator: "0c".to_owned(),
                table: "t".to_owned(),
                emitted: i64::MIN,
                splits: vec![("t-0".to_owned(), i64::MIN)],
            }],
            inputs: vec![InputEntry { operator: "0a".to_owned(), watermark: i64::MIN }],
            sinks: vec![SinkEntry {
                operator: "0d".to_owned(),
                table: "out".to_owned(),
                delivery: "exactly-once".to_owned(),
                states: vec![vec![0, 255]],
                pending: vec![PendingEntry { checkpoint: 6, work: vec![b"rows".to_vec()] }],
            }],
            letters: Vec::new(),
            runs: vec![RunEntry { file: "state-7.run".to_owned(), bytes: 9, crc32: u32::MAX }],
            restored_from: Some("savepoints/a".to_owned()),
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        assert_eq!(Manifest::decode(&manifest().encode().unwrap()).unwrap(), manifest());
    }

    #[test]
    fn damage_anywhere_is_an_error() {
        let bytes = manifest().encode().unwrap();
        for position in 0..bytes.len() - 1 {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1;
            assert!(Manifest::decode(&flipped).is_err(), "a flip at {position}");
            assert!(Manifest::decode(&bytes[..position]).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn another_format_is_refused_by_its_number() {
        let error = Manifest::decode(&Manifest { format: 2, ..manifest() }.encode().unwrap()).unwrap_err();
        let expected = format!("written in format 2 by {PROGRAM}, and {PROGRAM} reads format 1");
        assert!(error.message().contains(&expected), "{error}");
    }
}
