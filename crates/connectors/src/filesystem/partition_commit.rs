//! When a partition is done, and what is done then: a mark beside its files that tells whoever reads them that it is whole.
//!
//! As in Flink a partition is looked at when a checkpoint is taken. By process time it is done when the delay has passed since its first
//! row; by partition time when the watermark lies behind the time that its values name, by more than the delay. A partition that is done
//! has its file closed with the same checkpoint, so the mark is made, by that checkpoint's commit, after all files are visible. Rows that
//! come later open the partition anew, and it is done again.
//!
//! The time of a partition: its first value, or 'partition.time-extractor.timestamp-pattern' with `$column` replaced by values, read as
//! `2024-01-02 03:04:05` (or a day alone), or as 'partition.time-extractor.timestamp-formatter' says.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use wiesel_core::options::Options;
use wiesel_core::{Error, Result};

use super::scan::unescape;

/// 'sink.partition-commit.*' and 'partition.time-extractor.*' of a table whose policy is set.
#[derive(Debug, Clone)]
pub(super) struct PartitionCommit {
    trigger: Trigger,
    delay_ms: i64,
    /// The name of the mark.
    pub(super) success_file: String,
}

#[derive(Debug, Clone)]
enum Trigger {
    ProcessTime,
    PartitionTime { zone: TimeZone, pattern: Option<String>, formatter: Option<String> },
}

/// A partition that was not done when last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tracked {
    /// When its first row came.
    pub(super) created_ms: i64,
}

impl PartitionCommit {
    /// Reads the options; `None` when no policy is set.
    pub(super) fn read(options: &mut Options<'_>, table: &str, keys: &[String]) -> Result<Option<PartitionCommit>> {
        let trigger = options.one_of("sink.partition-commit.trigger", &["process-time", "partition-time"])?;
        let delay = options.duration("sink.partition-commit.delay")?.unwrap_or(Duration::ZERO);
        let zone = options.get("sink.partition-commit.watermark-time-zone").unwrap_or("UTC");
        let success_file = options.get("sink.partition-commit.success-file.name").unwrap_or("_SUCCESS");
        let pattern = options.get("partition.time-extractor.timestamp-pattern").map(str::to_owned);
        let formatter = options.get("partition.time-extractor.timestamp-formatter").map(str::to_owned);
        if let Some(kind) = options.get("partition.time-extractor.kind")
            && kind != "default"
        {
            return Err(
                options.unsupported("partition.time-extractor.kind", "Java classes cannot be loaded; use 'default'")
            );
        }
        if success_file.is_empty() || success_file.contains('/') {
            return Err(options.invalid("sink.partition-commit.success-file.name", success_file, "the name of a file"));
        }
        let Some(kinds) = options.get("sink.partition-commit.policy.kind") else { return Ok(None) };
        for kind in kinds.split(',').map(str::trim) {
            match kind {
                "success-file" => {}
                "metastore" | "custom" => {
                    let instead =
                        format!("'{kind}' needs a Java class or a Hive metastore; use the policy 'success-file'");
                    return Err(options.unsupported("sink.partition-commit.policy.kind", &instead));
                }
                _ => return Err(options.invalid("sink.partition-commit.policy.kind", kinds, "success-file")),
            }
        }
        let trigger = match trigger {
            Some("partition-time") => {
                if let Some(pattern) = formatter.as_deref()
                    && Formatter::parse(pattern).is_none()
                {
                    let expected = "letters of y, M, d, H, m, s and S, quoted text and signs";
                    return Err(options.invalid("partition.time-extractor.timestamp-formatter", pattern, expected));
                }
                if keys.is_empty() {
                    return Err(Error::config(format!(
                        "table `{table}` has no partitions: 'sink.partition-commit.trigger' = 'partition-time' needs PARTITIONED BY"
                    )));
                }
                Trigger::PartitionTime { zone: super::parquet::find_zone(zone)?, pattern, formatter }
            }
            _ => Trigger::ProcessTime,
        };
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Ok(Some(PartitionCommit { trigger, delay_ms, success_file: success_file.to_owned() }))
    }

    /// Whether a partition is done.
    pub(super) fn is_done(&self, directory: &str, tracked: Tracked, now_ms: i64, watermark_ms: i64) -> Result<bool> {
        match &self.trigger {
            Trigger::ProcessTime => Ok(self.delay_ms == 0 || now_ms > tracked.created_ms.saturating_add(self.delay_ms)),
            Trigger::PartitionTime { zone, pattern, formatter } => {
                let time = partition_time(directory, pattern.as_deref(), formatter.as_deref())?;
                let instant = zone.to_ambiguous_timestamp(time).compatible().map_err(|e| {
                    Error::data(format!("partition `{directory}`: {time} is no instant of the watermark's zone: {e}"))
                })?;
                Ok(watermark_ms > instant.as_millisecond().saturating_add(self.delay_ms))
            }
        }
    }
}

/// The time that a partition's values name.
fn partition_time(directory: &str, pattern: Option<&str>, formatter: Option<&str>) -> Result<DateTime> {
    let values: Vec<(String, String)> = directory
        .split('/')
        .filter_map(|part| part.split_once('='))
        .map(|(key, value)| (unescape(key), unescape(value)))
        .collect();
    let text = match pattern {
        None => values.first().map(|(_, value)| value.clone()).unwrap_or_default(),
        Some(pattern) => {
            values.iter().fold(pattern.to_owned(), |text, (key, value)| text.replace(&format!("${key}"), value))
        }
    };
    let found = match formatter.map(Formatter::parse) {
        None => read_default(&text),
        Some(Some(formatter)) => formatter.read(&text),
        Some(None) => None,
    };
    found.ok_or_else(|| {
        Error::data(format!("partition `{directory}` names no time: expected a timestamp, found `{text}`")).hint(
            "'partition.time-extractor.timestamp-pattern' says how the values make one, such as '$dt $hour:00:00'",
        )
    })
}

/// `2024-1-2`, `2024-01-02 3:04:05`, with a fraction of a second or without.
fn read_default(text: &str) -> Option<DateTime> {
    let (day, time) = text.split_once(' ').map_or((text, None), |(day, time)| (day, Some(time)));
    let mut parts = day.splitn(3, '-').map(|part| part.parse::<i16>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let Some(time) = time else { return Some(date.to_datetime(Time::midnight())) };
    let mut parts = time.splitn(3, ':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let (second, fraction) = second.split_once('.').unwrap_or((second, ""));
    let time =
        Time::new(hour.parse().ok()?, minute.parse().ok()?, second.parse().ok()?, nanoseconds(fraction)?).ok()?;
    Some(date.to_datetime(time))
}

fn nanoseconds(fraction: &str) -> Option<i32> {
    let is_fraction = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    is_fraction.then(|| format!("{fraction:0<9}").parse().ok()).flatten()
}

/// The part of Java's patterns that names years to fractions of a second.
pub(crate) struct Formatter(Vec<Piece>);

enum Piece {
    /// A letter and how often it stands there.
    Field(char, usize),
    Text(String),
}

impl Formatter {
    /// Reads a pattern; `None` when it has letters beyond these.
    pub(crate) fn parse(pattern: &str) -> Option<Formatter> {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\'' => {
                    let mut text = String::new();
                    loop {
                        match chars.next()? {
                            '\'' if chars.peek() == Some(&'\'') => text.push(chars.next()?),
                            '\'' => break,
                            c => text.push(c),
                        }
                    }
                    // Two quotes alone are one.
                    pieces.push(Piece::Text(if text.is_empty() { "'".to_owned() } else { text }));
                }
                c if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    let is_known = match c {
                        'y' | 'u' => matches!(count, 1 | 2 | 4),
                        'M' | 'd' | 'H' | 'm' | 's' => count <= 2,
                        'S' => count <= 9,
                        _ => false,
                    };
                    if !is_known {
                        return None;
                    }
                    pieces.push(Piece::Field(c, count));
                }
                '[' | ']' | '{' | '}' | '#' => return None,
                c => pieces.push(Piece::Text(c.to_string())),
            }
        }
        Some(Formatter(pieces))
    }

    /// Appends a time.
    pub(crate) fn write(&self, time: DateTime, out: &mut String) {
        for piece in &self.0 {
            let (field, count) = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Field(field, count) => (*field, *count),
            };
            let value = match field {
                'y' | 'u' if count == 2 => i32::from(time.year()).rem_euclid(100),
                'y' | 'u' => time.year().into(),
                'M' => time.month().into(),
                'd' => time.day().into(),
                'H' => time.hour().into(),
                'm' => time.minute().into(),
                's' => time.second().into(),
                _ => {
                    let digits = format!("{:09}", time.subsec_nanosecond());
                    out.push_str(digits.get(..count).unwrap_or(&digits));
                    continue;
                }
            };
            out.push_str(&format!("{value:0count$}"));
        }
    }

    fn read(&self, text: &str) -> Option<DateTime> {
        let (mut year, mut month, mut day) = (None, None, None);
        let (mut hour, mut minute, mut second, mut nanos) = (0, 0, 0, 0);
        let mut rest = text;
        for (index, piece) in self.0.iter().enumerate() {
            let (field, count) = match piece {
                Piece::Text(expected) => {
                    rest = rest.strip_prefix(expected.as_str())?;
                    continue;
                }
                Piece::Field(field, count) => (*field, *count),
            };
            // Fields that touch have the width of their letters; a single letter takes all digits there are.
            let touches = matches!(self.0.get(index + 1), Some(Piece::Field(..)));
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let width = if count > 1 || touches { count } else { digits };
            let value: i32 = rest.get(..width).filter(|_| width > 0 && width <= digits)?.parse().ok()?;
            let taken = rest.get(..width)?;
            rest = rest.get(width..)?;
            match field {
                'y' | 'u' => year = Some(if count == 2 { 2000 + value } else { value }),
                'M' => month = Some(value),
                'd' => day = Some(value),
                'H' => hour = value,
                'm' => minute = value,
                's' => second = value,
                _ => nanos = nanoseconds(taken)?,
            }
        }
        if !rest.is_empty() {
            return None;
        }
        let small = |value: i32| i8::try_from(value).ok();
        let date = Date::new(i16::try_from(year?).ok()?, small(month?)?, small(day?)?).ok()?;
        let time = Time::new(small(hour)?, small(minute)?, small(second)?, nanos).ok()?;
        Some(date.to_datetime(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_partition_is_read_from_its_values() {
        let cases = [
            ("dt=2024-01-02", None, None, Some("2024-01-02T00:00:00")),
            ("dt=2024-1-2/hour=7", Some("$dt $hour:00:00"), None, Some("2024-01-02T07:00:00")),
            ("dt=2024-01-02 03%3A04%3A05.5", None, None, Some("2024-01-02T03:04:05.5")),
            ("y=2024/m=3/d=9", Some("$y-$m-$d"), None, Some("2024-03-09T00:00:00")),
            ("dt=20240102/h=07", Some("$dt$h"), Some("yyyyMMddHH"), Some("2024-01-02T07:00:00")),
            ("dt=20240102", None, Some("yyyyMMdd"), Some("2024-01-02T00:00:00")),
            ("dt=02.01.2024 at 7", None, Some("dd.MM.yyyy 'at' H"), Some("2024-01-02T07:00:00")),
            ("dt=2024-01-02", None, Some("yyyyMMdd"), None),
            ("dt=__DEFAULT_PARTITION__", None, None, None),
            ("dt=2024-02-30", None, None, None),
            ("dt=2024-01-02 25%3A00%3A00", None, None, None),
        ];
        for (directory, pattern, formatter, expected) in cases {
            let found = partition_time(directory, pattern, formatter).ok();
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{directory}");
        }
        for pattern in ["yyyy-MM-dd'T", "EEE", "[yyyy]", "MMM"] {
            assert!(Formatter::parse(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn a_partition_is_done_when_its_clock_has_passed_it() {
        let day = 86_400_000;
        let by_partition = PartitionCommit {
            trigger: Trigger::PartitionTime { zone: TimeZone::UTC, pattern: None, formatter: None },
            delay_ms: 1_000,
            success_file: "_SUCCESS".to_owned(),
        };
        let by_process =
            |delay_ms| PartitionCommit { trigger: Trigger::ProcessTime, delay_ms, success_file: "_SUCCESS".to_owned() };
        let tracked = Tracked { created_ms: 5_000 };
        let cases = [
            (&by_partition, 0, day + 1_000, false),
            (&by_partition, 0, day + 1_001, true),
            (&by_partition, i64::MAX, i64::MIN, false),
            (&by_process(0), 5_000, i64::MIN, true),
            (&by_process(100), 5_100, i64::MAX, false),
            (&by_process(100), 5_101, i64::MIN, true),
        ];
        for (commit, now, watermark, expected) in cases {
            let found = commit.is_done("dt=1970-01-02", tracked, now, watermark).unwrap();
            assert_eq!(found, expected, "{commit:?} at {now}, {watermark}");
        }
    }
}
