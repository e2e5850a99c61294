//! The bench's data: page views of 198 bytes with ten fields, six of which the workloads declare.
//!
//! Event time runs at 100 000 messages a minute, in order within each of the four partitions. There are 50 orgs, 2 dates and 2000 urls,
//! so 200 000 groups, and 10 000 clients. Everything follows from the number of the message: a run can be repeated exactly.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;

use crate::e2e::kafka::KafkaClient;

/// Bytes of every message.
pub(crate) const MESSAGE_BYTES: usize = 198;
/// Partitions of the topic.
pub(crate) const PARTITION_COUNT: i32 = 4;

const ORG_COUNT: u64 = 50;
const DATE_COUNT: u64 = 2;
const URL_COUNT: u64 = 2000;
const CLIENT_COUNT: u64 = 10_000;
const MESSAGES_PER_MINUTE: u64 = 100_000;

/// Creates and fills the topic; returns the seconds that it took.
pub(crate) fn load(kafka: &KafkaClient, topic: &str, message_count: u64) -> Result<f64> {
    kafka.create_topic(topic, PARTITION_COUNT)?;
    let start = Instant::now();
    kafka.produce(topic, (0..message_count).map(message))?;
    Ok(start.elapsed().as_secs_f64())
}

/// Message `number`: one line of JSON.
pub(crate) fn message(number: u64) -> String {
    let dice = mix(number);
    let event_ms = number * 60_000 / MESSAGES_PER_MINUTE;
    let (hour, minute) = (event_ms / 3_600_000, event_ms / 60_000 % 60);
    let (second, millisecond) = (event_ms / 1000 % 60, event_ms % 1000);
    let mut line = String::with_capacity(MESSAGE_BYTES);
    write!(
        line,
        "{{\"ts\":\"2024-01-{:02} {:02}:{minute:02}:{second:02}.{millisecond:03}\",\"org\":\"org-{:02}\",\"date\":\"2024-01-0{}\",\
         \"url\":\"/page/{:04}\",\"client\":\"c-{:05}\",\"amount\":{:05},\"id\":{number},\"status\":200,\"country\":\"DE\",\"agent\":\"",
        1 + hour / 24,
        hour % 24,
        dice % ORG_COUNT,
        1 + dice / ORG_COUNT % DATE_COUNT,
        dice / (ORG_COUNT * DATE_COUNT) % URL_COUNT,
        (dice >> 40) % CLIENT_COUNT,
        10_000 + (dice >> 20) % 90_000,
    )
    .expect("a String takes everything");
    while line.len() < MESSAGE_BYTES - 2 {
        line.push('m');
    }
    line.push_str("\"}");
    line
}

/// The finalizer of splitmix64: spreads consecutive numbers evenly.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::{MESSAGE_BYTES, message};

    #[test]
    fn every_message_is_json_of_ten_fields_and_the_same_size() {
        for number in [0, 1, 99_999, 100_000, 4_999_999, 20_000_000] {
            let line = message(number);
            assert_eq!(line.len(), MESSAGE_BYTES, "{line}");
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value.as_object().unwrap().len(), 10, "{line}");
        }
        assert!(message(100_000).contains("\"ts\":\"2024-01-01 00:01:00.000\""));
    }
}
