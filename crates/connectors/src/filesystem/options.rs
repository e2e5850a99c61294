//! The WITH options of a filesystem table.

use std::path::PathBuf;
use std::time::Duration;

use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use regex::Regex;
use wiesel_core::options::Options;
use wiesel_core::table::TableDescriptor;
use wiesel_core::{Error, ErrorKind, Result};
use wiesel_objects::ObjectUrl;

use super::partition_commit::PartitionCommit;
use crate::formats::refused_format;

/// Formats of files.
const FILE_FORMATS: &[&str] = &["canal-json", "csv", "debezium-json", "json", "maxwell-json", "parquet", "raw"];

/// What a part file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileFormat {
    Parquet(ParquetOptions),
    /// Records one after the other, each with a line feed behind it; the format's options are read by itself.
    Records {
        /// Flink writes this format through its bulk writers, whose files end at every checkpoint.
        is_bulk: bool,
    },
}

/// The unit of timestamps that are written as INT64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeUnit {
    Millis,
    Micros,
    Nanos,
}

/// `parquet.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParquetOptions {
    /// Timestamps are written as they stand, without a detour through the local zone.
    pub(super) is_utc: bool,
    /// Timestamps as INT64 in this unit; `None`: INT96.
    pub(super) int64_timestamp: Option<TimeUnit>,
    pub(super) compression: Compression,
    pub(super) block_bytes: u64,
    pub(super) page_bytes: u64,
    pub(super) is_dictionary_enabled: bool,
}

/// When a part file is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RollingPolicy {
    pub(super) file_bytes: u64,
    pub(super) rollover: Duration,
    pub(super) inactivity: Duration,
    pub(super) check: Duration,
}

/// All options of the table.
#[derive(Debug, Clone)]
pub(super) struct FilesystemOptions {
    pub(super) path: PathBuf,
    pub(super) format: FileFormat,
    pub(super) rolling: RollingPolicy,
    pub(super) default_partition: String,
    /// How often new files are looked for; `None`: bounded.
    pub(super) monitor_interval: Option<Duration>,
    /// What the absolute paths of files match.
    pub(super) path_pattern: Option<Regex>,
    /// What is done with partitions that are done; `None`: nothing.
    pub(super) partition_commit: Option<PartitionCommit>,
    /// The files of one checkpoint are as few as their size allows: one instance writes them.
    pub(super) is_compacted: bool,
    /// One instance writes, by the table's own word.
    pub(super) is_single: bool,
    /// Options that are taken without effect, one line each.
    pub(super) notes: Vec<String>,
}

impl FilesystemOptions {
    /// Reads the table's options, but for those of record formats, which the format's factory reads from the same [`Options`].
    pub(super) fn read(options: &mut Options<'_>, table: &TableDescriptor) -> Result<Self> {
        let name = &table.name;
        let path = table_path(options.required("path")?, name)?;
        let format = match options.required("format")? {
            "parquet" => FileFormat::Parquet(ParquetOptions::read(options)?),
            "json" | "raw" | "canal-json" | "debezium-json" | "maxwell-json" => FileFormat::Records { is_bulk: false },
            "csv" => FileFormat::Records { is_bulk: true },
            other => return Err(refused_format(other, name, FILE_FORMATS)),
        };
        let monitor_interval = options.duration("source.monitor-interval")?;
        if monitor_interval.is_some_and(|interval| interval.is_zero()) {
            return Err(options.invalid("source.monitor-interval", "0", "a duration above 0"));
        }
        let path_pattern = match options.get("source.path.regex-pattern") {
            None => None,
            // Java's `matches`: the whole path.
            Some(text) => Some(Regex::new(&format!("^(?:{text})$")).map_err(|e| {
                options.invalid("source.path.regex-pattern", text, &format!("a regular expression ({e})"))
            })?),
        };
        options.one_of("source.report-statistics", &["ALL", "NONE"])?;
        let mut rolling = RollingPolicy {
            file_bytes: options.memory_size("sink.rolling-policy.file-size")?.unwrap_or(128 << 20),
            rollover: duration(options, "sink.rolling-policy.rollover-interval", 30 * 60)?,
            inactivity: duration(options, "sink.rolling-policy.inactivity-interval", 30 * 60)?,
            check: duration(options, "sink.rolling-policy.check-interval", 60)?,
        };
        let default_partition = options.get("partition.default-name").unwrap_or("__DEFAULT_PARTITION__").to_owned();
        let partition_commit = PartitionCommit::read(options, name, &table.partition_keys)?;
        let is_compacted = options.boolean("auto-compaction", false)?;
        if let Some(bytes) = options.memory_size("compaction.file-size")?
            && is_compacted
        {
            rolling.file_bytes = bytes.max(1);
        }
        let is_single = options.integer("sink.parallelism")? == Some(1);
        let notes = notes(options, name, is_single)?;
        Ok(FilesystemOptions {
            path,
            format,
            rolling,
            default_partition,
            monitor_interval,
            path_pattern,
            partition_commit,
            is_compacted,
            is_single,
            notes,
        })
    }
}

fn duration(options: &mut Options<'_>, key: &str, default_seconds: u64) -> Result<Duration> {
    Ok(options.duration(key)?.unwrap_or(Duration::from_secs(default_seconds)))
}

/// Checks the options that have no effect yet and says so, one line each.
fn notes(options: &mut Options<'_>, table: &str, is_single: bool) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut note = |key: &str, text: &str| {
        notes.push(format!("option '{key}' of table `{table}` is taken without effect: {text}"))
    };
    if options.integer("compaction.parallelism")?.is_some() {
        note("compaction.parallelism", "with 'auto-compaction' one instance writes");
    }
    if options.boolean("sink.shuffle-by-partition.enable", false)? {
        note("sink.shuffle-by-partition.enable", "every worker writes the partitions of its own rows");
    }
    if options.integer("sink.parallelism")?.is_some() && !is_single {
        note("sink.parallelism", "every worker writes files of its own");
    }
    for key in [
        "sink.partition-commit.policy.class",
        "sink.partition-commit.policy.class.parameters",
        "partition.time-extractor.class",
    ] {
        if options.get(key).is_some() {
            return Err(options.unsupported(key, "Java classes cannot be loaded; use the policy 'success-file'"));
        }
    }
    Ok(notes)
}

impl ParquetOptions {
    fn read(options: &mut Options<'_>) -> Result<Self> {
        let as_int64 = options.boolean("parquet.write.int64.timestamp", false)?;
        let unit = match options.one_of("parquet.timestamp.time.unit", &["millis", "micros", "nanos"])? {
            Some("millis") => TimeUnit::Millis,
            Some("nanos") => TimeUnit::Nanos,
            _ => TimeUnit::Micros,
        };
        options.integer("parquet.batch-size")?;
        Ok(ParquetOptions {
            is_utc: options.boolean("parquet.utc-timezone", false)?,
            int64_timestamp: as_int64.then_some(unit),
            compression: compression(options)?,
            block_bytes: size(options, "parquet.block.size", 128 << 20)?,
            page_bytes: size(options, "parquet.page.size", 1 << 20)?,
            is_dictionary_enabled: options.boolean("parquet.enable.dictionary", true)?,
        })
    }
}

/// A size; Parquet's own properties are plain numbers of bytes, and Flink's form is taken too.
fn size(options: &mut Options<'_>, key: &str, default: u64) -> Result<u64> {
    Ok(options.memory_size(key)?.unwrap_or(default).max(1))
}

fn compression(options: &mut Options<'_>) -> Result<Compression> {
    let key = "parquet.compression";
    if let Some(name @ ("LZO" | "BROTLI")) = options.get(key).map(str::to_ascii_uppercase).as_deref() {
        return Err(options.unsupported(key, &format!("{name} is not built in; use SNAPPY, ZSTD, GZIP or LZ4_RAW")));
    }
    let words = ["UNCOMPRESSED", "SNAPPY", "GZIP", "LZ4", "LZ4_RAW", "ZSTD"];
    Ok(match options.one_of(key, &words)? {
        Some("UNCOMPRESSED") => Compression::UNCOMPRESSED,
        Some("GZIP") => Compression::GZIP(GzipLevel::default()),
        Some("LZ4") => Compression::LZ4,
        Some("LZ4_RAW") => Compression::LZ4_RAW,
        Some("ZSTD") => Compression::ZSTD(ZstdLevel::default()),
        _ => Compression::SNAPPY,
    })
}

/// The directory that a `path` means: a plain path or a `file:` URL; a place in an object store stays a URL.
fn table_path(text: &str, table: &str) -> Result<PathBuf> {
    let rest = match text.split_once("://") {
        None => text.strip_prefix("file:").unwrap_or(text),
        Some(("file", rest)) => match rest.find('/') {
            // `file:///tmp/x`, and `file://localhost/tmp/x`, whose host says nothing.
            Some(slash) if matches!(&rest[..slash], "" | "localhost") => &rest[slash..],
            _ => {
                return Err(Error::config(format!(
                    "option 'path' of table `{table}`: expected a local file URL, found '{text}'"
                ))
                .hint("write it as `file:///directory`"));
            }
        },
        Some(_) if ObjectUrl::is_one(text) => {
            let url = ObjectUrl::parse(text).map_err(|e| e.at(format!("option 'path' of table `{table}`")))?;
            return Ok(PathBuf::from(url.to_string()));
        }
        Some((scheme, _)) => {
            return Err(Error::new(
                ErrorKind::Config,
                "W0503",
                format!("option 'path' of table `{table}`: the file system `{scheme}` is not supported yet"),
            )
            .hint("use a local directory, plain or as `file:///directory`, or `s3://bucket/folder`"));
        }
    };
    if rest.is_empty() {
        return Err(Error::config(format!("option 'path' of table `{table}` is empty")));
    }
    Ok(PathBuf::from(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_local_or_of_an_object_store_or_refused() {
        let cases = [
            ("/data/out", Some("/data/out")),
            ("out", Some("out")),
            ("file:///data/out", Some("/data/out")),
            ("file://localhost/data", Some("/data")),
            ("file:/data", Some("/data")),
            ("file://host/data", None),
            ("s3://bucket/data/", Some("s3://bucket/data")),
            ("s3a://bucket/data", Some("s3://bucket/data")),
            ("s3://user@bucket/data", None),
            ("hdfs://name/data", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = table_path(text, "t").ok();
            assert_eq!(found, expected.map(PathBuf::from), "{text}");
        }
        assert!(table_path("gs://bucket", "t").unwrap_err().message().contains("`gs` is not supported yet"));
    }
}
