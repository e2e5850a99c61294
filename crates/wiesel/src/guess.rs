//! A CREATE TABLE out of JSON values that were seen: what `wiesel peek` ends with, to be corrected and pasted into a job.
//!
//! Types are the widest of what was there: every integer is a BIGINT, a number with a fraction a DOUBLE, a text that is a timestamp in all
//! values a timestamp, and what differs from value to value a STRING, which a JSON value of any kind decodes into.

use std::fmt::Write as _;

use serde_json::Value;
use wiesel_expr::time::text::{parse_date, parse_timestamp};
use wiesel_sql::parser::quote_name;

/// Fields of one object that become columns; an object with more is a map of keys that are data.
const FIELDS_MAX: usize = 500;
/// Nesting that is looked into.
const DEPTH_MAX: usize = 20;

/// What a field was in all values so far.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Guess {
    /// Never anything but null.
    Null,
    Boolean,
    BigInt,
    Double,
    /// A text; the flags say whether every one so far was such a time.
    Text {
        is_date: bool,
        is_sql_time: bool,
        is_iso_time: bool,
    },
    Array(Box<Guess>),
    Row(Vec<(String, Guess)>),
    /// Different kinds.
    Mixed,
}

/// What was seen of a topic.
#[derive(Debug)]
pub(crate) struct TableGuess {
    fields: Option<Guess>,
}

/// How the timestamps of a table are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Times {
    has_sql: bool,
    has_iso: bool,
}

impl TableGuess {
    /// Nothing seen yet.
    pub(crate) fn new() -> TableGuess {
        TableGuess { fields: None }
    }

    /// Takes a value into account; says whether it was a JSON object.
    pub(crate) fn see(&mut self, value: &[u8]) -> bool {
        let Ok(value @ Value::Object(_)) = serde_json::from_slice::<Value>(value) else { return false };
        let seen = guess(&value, 0);
        self.fields = Some(match self.fields.take() {
            None => seen,
            Some(known) => merge(known, seen),
        });
        true
    }

    /// The statement, when an object was seen. `has_keys`: records have keys, which become a column of their own.
    pub(crate) fn statement(&self, topic: &str, servers: &str, has_keys: bool) -> Option<String> {
        let Some(Guess::Row(fields)) = &self.fields else { return None };
        let mut times = Times::default();
        fields.iter().for_each(|(_, guess)| note_times(guess, &mut times));
        // The format reads one of the two forms.
        let is_iso = times.has_iso && !times.has_sql;
        let key_column = (0..).map(|n| if n == 0 { "record_key".to_owned() } else { format!("record_key_{n}") });
        let key_column = key_column.into_iter().find(|name| fields.iter().all(|(field, _)| field != name));
        let mut columns = Vec::new();
        let mut event_time = None;
        if let Some(name) = key_column.as_ref().filter(|_| has_keys) {
            columns.push(format!("{} STRING", quote_name(name)));
        }
        for (name, guess) in fields {
            let sql_type = type_text(guess, is_iso);
            if event_time.is_none() && sql_type.starts_with("TIMESTAMP") {
                event_time = Some(quote_name(name).into_owned());
            }
            columns.push(format!("{} {sql_type}", quote_name(name)));
        }
        let mut text = format!("CREATE TABLE {} (\n", quote_name(topic));
        for (number, column) in columns.iter().enumerate() {
            let comma = if number + 1 < columns.len() { "," } else { "" };
            _ = writeln!(text, "    {column}{comma}");
        }
        if let Some(name) = event_time {
            _ = writeln!(text, "    -- , WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND");
        }
        let literal = |text: &str| text.replace('\'', "''");
        _ = write!(
            text,
            ") WITH (\n    'connector' = 'kafka',\n    'topic' = '{}',\n    'properties.bootstrap.servers' = '{}',\n    'scan.startup.mode' = 'earliest-offset',\n",
            literal(topic),
            literal(servers)
        );
        if let Some(name) = key_column.filter(|_| has_keys) {
            _ = writeln!(
                text,
                "    'key.format' = 'raw',\n    'key.fields' = '{name}',\n    'value.fields-include' = 'EXCEPT_KEY',\n    'value.format' = 'json'{}",
                if is_iso { ",\n    'value.json.timestamp-format.standard' = 'ISO-8601'" } else { "" }
            );
        } else {
            let iso = if is_iso { ",\n    'json.timestamp-format.standard' = 'ISO-8601'" } else { "" };
            _ = writeln!(text, "    'format' = 'json'{iso}");
        }
        text.push_str(");\n");
        Some(text)
    }
}

fn guess(value: &Value, depth: usize) -> Guess {
    match value {
        Value::Null => Guess::Null,
        Value::Bool(_) => Guess::Boolean,
        Value::Number(number) if number.is_i64() => Guess::BigInt,
        Value::Number(_) => Guess::Double,
        Value::String(text) => Guess::Text {
            is_date: text.len() == 10 && parse_date(text).is_some(),
            is_sql_time: text.contains(' ') && parse_timestamp(text).is_some(),
            is_iso_time: is_iso_instant(text),
        },
        Value::Array(items) if depth < DEPTH_MAX => {
            let mut all = Guess::Null;
            for item in items {
                all = merge(all, guess(item, depth + 1));
            }
            Guess::Array(Box::new(all))
        }
        Value::Object(fields) if depth < DEPTH_MAX && !fields.is_empty() && fields.len() <= FIELDS_MAX => {
            Guess::Row(fields.iter().map(|(name, value)| (name.clone(), guess(value, depth + 1))).collect())
        }
        Value::Array(_) | Value::Object(_) => Guess::Mixed,
    }
}

/// `2025-05-20T10:11:12Z`, with a fraction or without.
fn is_iso_instant(text: &str) -> bool {
    let Some((date, clock)) = text.strip_suffix('Z').and_then(|text| text.split_once('T')) else { return false };
    parse_timestamp(&format!("{date} {clock}")).is_some()
}

fn merge(known: Guess, seen: Guess) -> Guess {
    match (known, seen) {
        (Guess::Null, other) | (other, Guess::Null) => other,
        (Guess::BigInt, Guess::Double) | (Guess::Double, Guess::BigInt) => Guess::Double,
        (
            Guess::Text { is_date, is_sql_time, is_iso_time },
            Guess::Text { is_date: date, is_sql_time: sql_time, is_iso_time: iso_time },
        ) => Guess::Text {
            is_date: is_date && date,
            is_sql_time: is_sql_time && sql_time,
            is_iso_time: is_iso_time && iso_time,
        },
        (Guess::Array(known), Guess::Array(seen)) => Guess::Array(Box::new(merge(*known, *seen))),
        (Guess::Row(mut known), Guess::Row(seen)) => {
            for (name, guess) in seen {
                if let Some((_, old)) = known.iter_mut().find(|(field, _)| *field == name) {
                    *old = merge(std::mem::replace(old, Guess::Null), guess);
                } else if known.len() < FIELDS_MAX {
                    known.push((name, guess));
                }
            }
            Guess::Row(known)
        }
        (known, seen) if known == seen => known,
        _ => Guess::Mixed,
    }
}

fn note_times(guess: &Guess, times: &mut Times) {
    match guess {
        Guess::Text { is_sql_time, is_iso_time, .. } => {
            times.has_sql |= is_sql_time;
            times.has_iso |= is_iso_time;
        }
        Guess::Array(items) => note_times(items, times),
        Guess::Row(fields) => fields.iter().for_each(|(_, guess)| note_times(guess, times)),
        _ => {}
    }
}

fn type_text(guess: &Guess, is_iso: bool) -> String {
    match guess {
        Guess::Boolean => "BOOLEAN".to_owned(),
        Guess::BigInt => "BIGINT".to_owned(),
        Guess::Double => "DOUBLE".to_owned(),
        Guess::Text { is_date: true, .. } => "DATE".to_owned(),
        Guess::Text { is_sql_time: true, .. } => "TIMESTAMP(3)".to_owned(),
        Guess::Text { is_iso_time: true, .. } if is_iso => "TIMESTAMP_LTZ(3)".to_owned(),
        Guess::Text { .. } | Guess::Null | Guess::Mixed => "STRING".to_owned(),
        Guess::Array(items) => format!("ARRAY<{}>", type_text(items, is_iso)),
        Guess::Row(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, guess)| format!("{} {}", quote_name(name), type_text(guess, is_iso)))
                .collect();
            format!("ROW<{}>", fields.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(values: &[&str]) -> String {
        let mut guess = TableGuess::new();
        for value in values {
            assert!(guess.see(value.as_bytes()), "{value}");
        }
        let statement = guess.statement("t", "kafka:9092", false).unwrap();
        let lines = statement.lines().skip(1).take_while(|line| !line.starts_with(')'));
        lines.map(str::trim).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn types_are_the_widest_of_what_was_seen() {
        let cases: [(&[&str], &str); 9] = [
            (&[r#"{"a":1,"b":1.5,"c":true,"d":"x","e":null}"#], "a BIGINT, b DOUBLE, c BOOLEAN, d STRING, e STRING"),
            (&[r#"{"a":1}"#, r#"{"a":2.5}"#, r#"{"b":1}"#], "a DOUBLE, b BIGINT"),
            (&[r#"{"a":1}"#, r#"{"a":"x"}"#], "a STRING"),
            (&[r#"{"a":null}"#, r#"{"a":[1]}"#, r#"{"a":[]}"#], "a ARRAY<BIGINT>"),
            (&[r#"{"a":{"x-y":1}}"#, r#"{"a":{"z":"2024-05-11"}}"#], "a ROW<`x-y` BIGINT, z DATE>"),
            (&[r#"{"ts":"2024-05-11 18:04:00"}"#], "ts TIMESTAMP(3) -- , WATERMARK FOR ts AS ts - INTERVAL '5' SECOND"),
            (
                &[r#"{"ts":"2024-05-11T18:04:00.5Z"}"#],
                "ts TIMESTAMP_LTZ(3) -- , WATERMARK FOR ts AS ts - INTERVAL '5' SECOND",
            ),
            (
                &[r#"{"ts":"2024-05-11 18:04:00","u":"2024-05-11T18:04:00Z"}"#],
                "ts TIMESTAMP(3), u STRING -- , WATERMARK FOR ts AS ts - INTERVAL '5' SECOND",
            ),
            (&[r#"{"timestamp":"2024-05-11 18:04:00"}"#, r#"{"timestamp":"now"}"#], "`timestamp` STRING"),
        ];
        for (values, expected) in cases {
            assert_eq!(columns(values), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_row() {
        let mut guess = TableGuess::new();
        for value in ["1", "[]", "\"x\"", "{", ""] {
            assert!(!guess.see(value.as_bytes()), "{value}");
        }
        assert_eq!(guess.statement("t", "kafka:9092", true), None);
    }
}
