//! Reading `WITH` and `SET` values: Flink's durations and memory sizes, and a reader that knows which keys were asked for, so that a key
//! nobody asked for is an error with the nearest known name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::diagnostic::nearest;
use crate::error::{Error, Result};

/// How long a split may be silent before it no longer holds the watermark back; goes before `table.exec.source.idle-timeout`.
pub const WATERMARK_IDLE_TIMEOUT: &str = "scan.watermark.idle-timeout";

/// When watermarks are told: `on-periodic`, or `on-event`, which is after each row.
pub const WATERMARK_EMIT_STRATEGY: &str = "scan.watermark.emit.strategy";

/// Typed access to a table's options. Every key that is read counts as known; [`Options::finish`] refuses the rest.
pub struct Options<'a> {
    table: &'a str,
    values: &'a BTreeMap<String, String>,
    known: BTreeSet<String>,
    prefixes: Vec<String>,
}

impl<'a> Options<'a> {
    /// Options of the named table. `connector` is always known, and so are those that the planner reads, whatever the connector.
    pub fn new(table: &'a str, values: &'a BTreeMap<String, String>) -> Self {
        let known = ["connector", WATERMARK_IDLE_TIMEOUT, WATERMARK_EMIT_STRATEGY].map(str::to_owned);
        Options { table, values, known: BTreeSet::from(known), prefixes: Vec::new() }
    }

    /// The text of a key, if it is set.
    pub fn get(&mut self, key: &str) -> Option<&'a str> {
        self.known.insert(key.to_owned());
        self.values.get(key).map(String::as_str)
    }

    /// The text of a key that must be set.
    pub fn required(&mut self, key: &str) -> Result<&'a str> {
        let table = self.table;
        self.get(key).ok_or_else(|| {
            Error::config(format!("table `{table}` lacks the required option '{key}'"))
                .hint(format!("add '{key}' = '...' to its WITH list"))
        })
    }

    /// All options whose keys begin with `prefix`, stripped of it; they all count as known.
    pub fn with_prefix(&mut self, prefix: &str) -> BTreeMap<&'a str, &'a str> {
        self.prefixes.push(prefix.to_owned());
        self.values.iter().filter_map(|(k, v)| k.strip_prefix(prefix).map(|k| (k, v.as_str()))).collect()
    }

    /// true or false.
    pub fn boolean(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(self.invalid(key, text, "true or false")),
        }
    }

    /// An integer.
    pub fn integer(&mut self, key: &str) -> Result<Option<i64>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| self.invalid(key, text, "an integer"))
    }

    /// A duration in Flink's form.
    pub fn duration(&mut self, key: &str) -> Result<Option<Duration>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        parse_duration(text).map(Some).ok_or_else(|| {
            self.invalid(key, text, "a duration such as `500 ms`, `10 s`, `5min`, `1 h` (a bare number is ms)")
        })
    }

    /// A memory size in Flink's form, in bytes.
    pub fn memory_size(&mut self, key: &str) -> Result<Option<u64>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        parse_memory_size(text).map(Some).ok_or_else(|| {
            self.invalid(key, text, "a size such as `1024`, `1KB`, `42mb`, `1 gb` (a bare number is bytes)")
        })
    }

    /// One of some words; matched without regard to case, returned as listed.
    pub fn one_of(&mut self, key: &str, words: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        words.iter().find(|w| w.eq_ignore_ascii_case(text.trim())).map(|w| Some(*w)).ok_or_else(|| {
            let error = self.invalid(key, text, &format!("one of {}", words.join(", ")));
            match nearest(text, words.iter().copied()) {
                Some(word) => error.hint(format!("did you mean '{word}'?")),
                None => error,
            }
        })
    }

    /// The error for a value that does not fit.
    pub fn invalid(&self, key: &str, found: &str, expected: &str) -> Error {
        Error::config(format!("option '{key}' of table `{}`: expected {expected}, found '{found}'", self.table))
    }

    /// The error for an option that Flink has and wiesel does not support yet.
    pub fn unsupported(&self, key: &str, instead: &str) -> Error {
        Error::new(
            crate::error::ErrorKind::Config,
            "W0503",
            format!("option '{key}' of table `{}` is not supported yet", self.table),
        )
        .hint(instead.to_owned())
    }

    /// Refuses every key that nobody asked for.
    pub fn finish(self) -> Result<()> {
        let unknown: Vec<&String> = self
            .values
            .keys()
            .filter(|k| !self.known.contains(*k) && !self.prefixes.iter().any(|p| k.starts_with(p.as_str())))
            .collect();
        let Some(first) = unknown.first() else { return Ok(()) };
        let names: Vec<String> = unknown.iter().map(|k| format!("'{k}'")).collect();
        let error = Error::new(
            crate::error::ErrorKind::Config,
            "W0502",
            format!(
                "table `{}` has unknown option{} {}",
                self.table,
                if names.len() == 1 { "" } else { "s" },
                names.join(", ")
            ),
        );
        Err(match nearest(first, self.known.iter().map(String::as_str)) {
            Some(key) => error.hint(format!("did you mean '{key}'?")),
            None => error.hint(format!(
                "known options: {}",
                self.known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            )),
        })
    }
}

/// A duration in Flink's form: a number and a unit (`ns`, `us`/`µs`, `ms`, `s`, `min`/`m`, `h`, `d`, and their long names), a bare number
/// being milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text)?;
    let nanos_per_unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    number.checked_mul(nanos_per_unit).map(Duration::from_nanos)
}

/// A memory size in Flink's form (`b`, `kb`, `mb`, `gb`, `tb` and their long names, powers of 1024), a bare number being bytes.
pub fn parse_memory_size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => 0,
        "k" | "kb" | "kibibytes" => 10,
        "m" | "mb" | "mebibytes" => 20,
        "g" | "gb" | "gibibytes" => 30,
        "t" | "tb" | "tebibytes" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_flink_reads_them() {
        let cases: &[(&str, Option<u64>)] = &[
            ("10 s", Some(10_000)),
            ("5min", Some(300_000)),
            ("1000", Some(1000)),
            ("500 ms", Some(500)),
            ("1 h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("s", None),
            ("-1 s", None),
            ("3 parsecs", None),
            ("99999999999999999999 d", None),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_duration(text), ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn memory_sizes_are_powers_of_1024() {
        let cases: &[(&str, Option<u64>)] = &[
            ("42mb", Some(42 << 20)),
            ("128MB", Some(128 << 20)),
            ("1KB", Some(1024)),
            ("7", Some(7)),
            ("1 gb", Some(1 << 30)),
            ("1 xb", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_memory_size(text), *bytes, "{text}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_name() {
        let values = BTreeMap::from([("connector".to_owned(), "x".to_owned()), ("topci".to_owned(), "t".to_owned())]);
        let mut options = Options::new("t", &values);
        assert!(options.get("topic").is_none());
        let error = options.finish().unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean 'topic'?"));
    }
}
