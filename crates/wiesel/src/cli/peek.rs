//! `wiesel peek TOPIC`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use wiesel_connectors::kafka::admin::Target;
use wiesel_connectors::kafka::peek::{PeekFrom, PeekRequest, Peeked, PeekedBytes, PeekedRecord};
use wiesel_core::secret::{self, HIDDEN, is_secret_key};
use wiesel_expr::time::text::parse_timestamp;

use super::{Exit, parse_pair};
use crate::generator::time_text;
use crate::guess::TableGuess;
use crate::log::Log;

/// How many characters of a value are shown, unless all are asked for.
const SHOWN_CHARS_MAX: usize = 2000;
/// How many bytes that are no text are shown.
const SHOWN_BYTES_MAX: usize = 64;

/// Show what is in a topic: key, headers, time and value of its newest records, and a CREATE TABLE that would read them
///
/// Nothing is committed and no group is joined. Values under names that sound like secrets are hidden. The statement at the end is a
/// guess out of the JSON values that were seen.
#[derive(Debug, Args)]
pub(crate) struct Peek {
    /// The topic
    topic: String,
    /// The brokers
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9092")]
    bootstrap_servers: String,
    /// Where to begin: newest, earliest, an offset, or a time such as 2025-05-20T10:11:12Z
    #[arg(long, value_name = "PLACE", default_value = "newest", value_parser = parse_from)]
    from: PeekFrom,
    /// How many records of each partition
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Only this partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
    /// How many seconds to wait for records
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    wait: u64,
    /// One JSON object per record, and no statement
    #[arg(long)]
    json: bool,
    /// The statement alone
    #[arg(long, conflicts_with = "json")]
    table: bool,
    /// Values at their full length
    #[arg(long)]
    full: bool,
    /// Show what is hidden because of its name
    #[arg(long)]
    show_secrets: bool,
    /// A client property, such as sasl.mechanism=PLAIN; repeatable
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = parse_pair)]
    property: Vec<(String, String)>,
    /// Connect to TO wherever a broker's address is FROM; repeatable
    #[arg(long = "map", value_name = "FROM=TO", value_parser = parse_pair)]
    map: Vec<(String, String)>,
}

fn parse_from(text: &str) -> Result<PeekFrom, String> {
    match text {
        "newest" => return Ok(PeekFrom::Newest),
        "earliest" => return Ok(PeekFrom::Earliest),
        _ => {}
    }
    if let Ok(offset) = text.parse::<u32>() {
        return Ok(PeekFrom::Offset(offset.into()));
    }
    if let Ok(offset) = text.parse::<i64>()
        && offset >= 0
    {
        return Ok(PeekFrom::Offset(offset));
    }
    let time = parse_timestamp(&text.replacen('T', " ", 1).replace('Z', ""));
    time.map(|time| PeekFrom::Time(time.seconds() * 1000 + i64::from(time.nano) / 1_000_000))
        .ok_or_else(|| "expected newest, earliest, an offset, or a time such as 2025-05-20T10:11:12Z".to_owned())
}

impl Peek {
    #[allow(clippy::print_stdout, reason = "the records are data")]
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        for (key, value) in &self.property {
            secret::keep_option(key, value);
        }
        let peeked = match self.look() {
            Ok(peeked) => peeked,
            Err(error) => {
                log.error(&error.to_string());
                return Exit::Failed;
            }
        };
        let mut guess = TableGuess::new();
        let mut has_keys = false;
        let mut text = String::new();
        for record in &peeked.records {
            if let Some(value) = &record.value {
                guess.see(&value.bytes);
            }
            has_keys |= record.key.is_some();
            if self.json {
                _ = writeln!(text, "{}", self.as_json(record));
            } else if !self.table {
                self.as_text(record, &mut text);
            }
        }
        if !self.json
            && let Some(statement) = guess.statement(&self.topic, &self.bootstrap_servers, has_keys)
        {
            text.push_str(&statement);
        }
        print!("{}", secret::redacted(&text));
        let ranges: Vec<String> =
            peeked.partitions.iter().map(|(partition, first, end)| format!("{partition}: {first} to {end}")).collect();
        log.info(&format!(
            "{} records of `{}`; offsets by partition: {}",
            peeked.records.len(),
            self.topic,
            ranges.join(", ")
        ));
        if peeked.is_cut {
            log.warn("there is more than was shown, or it did not come in time: ask for less, for one `--partition`, or `--wait` longer");
        }
        Exit::Done
    }

    fn look(&self) -> wiesel_core::Result<Peeked> {
        let properties = self.property.iter().cloned().collect();
        let target = Target::new(&self.bootstrap_servers, &self.topic, &properties, self.map.clone())?;
        target.peek(&PeekRequest {
            from: self.from,
            count: usize::try_from(self.count).unwrap_or(usize::MAX),
            partition: self.partition,
            wait: Duration::from_secs(self.wait),
        })
    }

    fn as_text(&self, record: &PeekedRecord, text: &mut String) {
        let time = record.timestamp_ms.map_or_else(|| "no time".to_owned(), |ms| time_text(ms, 'T', true, "Z"));
        let key = record.key.as_ref().map_or_else(|| "no key".to_owned(), |key| format!("key {}", self.shown("", key)));
        _ = writeln!(text, "{}-{} @ {}  {time}  {key}", self.topic, record.partition, record.offset);
        for (name, value) in &record.headers {
            let value = value.as_ref().map_or_else(|| "(null)".to_owned(), |value| self.shown(name, value));
            _ = writeln!(text, "  header {name}: {value}");
        }
        let value = record.value.as_ref().map_or_else(|| "(tombstone: no value)".to_owned(), |v| self.shown("", v));
        _ = writeln!(text, "  {value}\n");
    }

    fn as_json(&self, record: &PeekedRecord) -> Value {
        let part = |value: Option<&PeekedBytes>| value.map_or(Value::Null, |value| json!(self.shown("", value)));
        let headers: Vec<Value> = record
            .headers
            .iter()
            .map(|(name, value)| json!([name, value.as_ref().map(|value| self.shown(name, value))]))
            .collect();
        json!({
            "topic": self.topic, "partition": record.partition, "offset": record.offset, "timestamp": record.timestamp_ms,
            "key": part(record.key.as_ref()), "headers": headers, "value": part(record.value.as_ref()),
        })
    }

    /// Bytes as they are shown: a text as it is, without its secrets; what is no text by its length and beginning.
    fn shown(&self, name: &str, part: &PeekedBytes) -> String {
        if !self.show_secrets && is_secret_key(name) {
            return HIDDEN.to_owned();
        }
        let cut_bytes = part.length - part.bytes.len();
        let text = match std::str::from_utf8(&part.bytes) {
            Ok(text) => text,
            // A text whose last character was cut.
            Err(error) if cut_bytes > 0 && error.error_len().is_none() => {
                part.bytes.get(..error.valid_up_to()).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default()
            }
            Err(_) => return binary(part),
        };
        if text.contains('\0') {
            return binary(part);
        }
        let text = if self.show_secrets { text.to_owned() } else { without_secrets(text) };
        let length = text.chars().count();
        if !self.full && length > SHOWN_CHARS_MAX {
            let beginning: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            return format!("{beginning}... ({} bytes; `--full` shows more)", part.length);
        }
        if cut_bytes > 0 { format!("{text}... ({} bytes)", part.length) } else { text }
    }
}

/// The text; a JSON document in which a name sounds like a secret is written anew without that value.
fn without_secrets(text: &str) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    if hide(&mut document) { document.to_string() } else { text.to_owned() }
}

fn hide(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => {
            let mut is_hidden = false;
            for (name, value) in fields.iter_mut() {
                if is_secret_key(name) && !value.is_null() {
                    *value = json!(HIDDEN);
                    is_hidden = true;
                } else {
                    is_hidden |= hide(value);
                }
            }
            is_hidden
        }
        // All of them, not only until the first.
        Value::Array(items) => items.iter_mut().map(hide).filter(|is_hidden| *is_hidden).count() > 0,
        _ => false,
    }
}

/// Bytes that are no text. The first five may be those that a schema registry's serializers write.
fn binary(part: &PeekedBytes) -> String {
    let registry = match part.bytes.as_slice() {
        [0, a, b, c, d, ..] => format!(", perhaps of schema {}", u32::from_be_bytes([*a, *b, *c, *d])),
        _ => String::new(),
    };
    let beginning: String = part.bytes.iter().take(SHOWN_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
    let dots = if part.bytes.len() > SHOWN_BYTES_MAX { "..." } else { "" };
    format!("({} bytes{registry}) {beginning}{dots}", part.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_an_offset_or_a_time() {
        let cases = [
            ("newest", Ok(PeekFrom::Newest)),
            ("earliest", Ok(PeekFrom::Earliest)),
            ("17", Ok(PeekFrom::Offset(17))),
            ("2025-05-20T10:11:12Z", Ok(PeekFrom::Time(1_747_735_872_000))),
            ("2025-05-20 10:11:12.5", Ok(PeekFrom::Time(1_747_735_872_500))),
            ("2025-05-20", Ok(PeekFrom::Time(1_747_699_200_000))),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_from(text), expected, "{text}");
        }
        assert!(parse_from("yesterday").is_err() && parse_from("-1").is_err());
    }

    #[test]
    fn a_value_under_the_name_of_a_secret_is_hidden_and_the_rest_stands() {
        let cases = [
            (r#"{"user":"a",  "password":"b"}"#, r#"{"user":"a","password":"******"}"#),
            (r#"{"list":[{"api-key":1}], "n":1.50}"#, r#"{"list":[{"api-key":"******"}],"n":1.50}"#),
            (r#"{"user":"a",  "n":1}"#, r#"{"user":"a",  "n":1}"#),
            ("password=x is no JSON", "password=x is no JSON"),
        ];
        for (text, expected) in cases {
            let shown = without_secrets(text);
            // A number may be written shorter when a document is written anew.
            assert_eq!(shown.replace("1.5}", "1.50}"), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_by_their_length() {
        let part = PeekedBytes { bytes: vec![0, 0, 0, 0, 7, 2, 255], length: 7 };
        assert_eq!(binary(&part), "(7 bytes, perhaps of schema 7) 000000000702ff");
    }
}
