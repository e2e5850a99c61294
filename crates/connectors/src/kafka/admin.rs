//! What `wiesel generate` needs of a cluster: wait for the broker, create the topic, and send lines at a rate.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wiesel_core::env::monotonic;
use wiesel_core::{Error, ErrorKind, Result};
use wiesel_ffi::kafka::{ClientKind, Producer, code};

use super::cluster::{ClientSettings, Cluster};
use super::properties::Properties;
use super::sink::{Flight, client_settings};

/// Bytes that the line producer may have in flight.
const IN_FLIGHT_BYTES_MAX: u64 = 64 << 20;

/// How long one look for delivery reports may take while there is no room.
const LOOK_WAIT: Duration = Duration::from_millis(20);

/// A topic to fill or to look into, and how to reach it.
pub struct Target {
    topic: String,
    properties: Properties,
    address_map: Vec<(String, String)>,
}

impl Target {
    /// A topic at the given broker list; `properties` are those of a kafka table without the prefix `properties.`.
    pub fn new(
        bootstrap_servers: &str,
        topic: &str,
        properties: &BTreeMap<String, String>,
        address_map: Vec<(String, String)>,
    ) -> Result<Self> {
        let mut all: BTreeMap<&str, &str> = properties.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        all.insert("bootstrap.servers", bootstrap_servers);
        Ok(Target { topic: topic.to_owned(), properties: Properties::read(topic, &all)?, address_map })
    }

    /// The topic's name.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The cluster, for a client of the command of this name.
    pub(super) fn cluster<'a>(&'a self, command: &'a str) -> Cluster<'a> {
        Cluster { table: &self.topic, properties: &self.properties, address_map: &self.address_map, job_name: command }
    }

    /// Waits for the broker at most `wait` and creates the topic with `partitions` when it is not there. Says whether it did.
    pub fn ensure_topic(&self, partitions: i32, wait: Duration) -> Result<bool> {
        let cluster = self.cluster("generate");
        let settings = ClientSettings { defaults: Vec::new(), fixed: Vec::new() };
        // A producer's question alone would make the broker create the topic, with a number of partitions of its own.
        let client = cluster.client(ClientKind::Consumer, settings, None)?;
        let deadline = monotonic() + wait;
        loop {
            match cluster.topic(&client, &self.topic) {
                Ok(_) => return Ok(false),
                // The broker answered, and the topic is not there.
                Err(error) if error.kind() == ErrorKind::Config => break,
                Err(error) if error.kind() == ErrorKind::Unavailable && monotonic() < deadline => {}
                Err(error) => return Err(error),
            }
        }
        match client.create_topic(&self.topic, partitions, -1, Duration::from_secs(30)) {
            Ok(()) => Ok(true),
            // Somebody was faster.
            Err(error) if error.code == code::TOPIC_ALREADY_EXISTS => Ok(false),
            Err(error) => Err(cluster.failed(&error).at(format!("creating the topic `{}`", self.topic))),
        }
    }

    /// A producer of lines for the topic.
    pub fn lines(&self) -> Result<LineProducer> {
        let cluster = self.cluster("generate");
        let client = cluster.client(ClientKind::Producer, client_settings(&self.properties), None)?;
        cluster.topic(&client, &self.topic)?;
        let producer = Producer::new(client, &self.topic).map_err(|error| cluster.failed(&error))?;
        Ok(LineProducer { topic: self.topic.clone(), flight: Flight::new(producer), delivered: 0, pace: None })
    }
}

/// Sends lines to a topic and counts what arrived.
pub struct LineProducer {
    topic: String,
    flight: Flight,
    delivered: u64,
    pace: Option<Pace>,
}

/// A rate, kept from the first line on, so that a short stall is caught up.
struct Pace {
    per_second: f64,
    started: Instant,
    sent: u64,
}

impl LineProducer {
    /// From now on at most `per_second` lines are sent each second on average.
    pub fn set_rate(&mut self, per_second: f64) {
        let is_rate = per_second.is_finite() && per_second > 0.0;
        self.pace = is_rate.then(|| Pace { per_second, started: monotonic(), sent: 0 });
    }

    /// Sends a line; waits when its time has not come or too much is in flight.
    pub fn send(&mut self, partition: Option<i32>, line: &[u8], timestamp_ms: Option<i64>) -> Result<()> {
        if let Some(pace) = &mut self.pace {
            let due = pace.started + Duration::from_secs_f64((pace.sent as f64 / pace.per_second).min(1e9));
            pace.sent += 1;
            self.wait_until(due)?;
        }
        while self.flight.memory_bytes() >= IN_FLIGHT_BYTES_MAX {
            self.land(LOOK_WAIT)?;
        }
        self.flight.send(partition, line, timestamp_ms).map_err(|error| {
            Error::data(format!("topic `{}` does not take a line of {} bytes: {error}", self.topic, line.len()))
        })
    }

    fn wait_until(&mut self, due: Instant) -> Result<()> {
        loop {
            let left = due.saturating_duration_since(monotonic());
            if left.is_zero() {
                return Ok(());
            }
            // Waiting for delivery reports is also waiting for the time.
            self.land(left.min(LOOK_WAIT))?;
        }
    }

    fn land(&mut self, wait: Duration) -> Result<()> {
        let landed = self.flight.land(wait);
        self.delivered += landed.acknowledged;
        match landed.failure {
            None => Ok(()),
            Some((error, partition)) => {
                Err(Error::unavailable(format!("a line for {}-{partition} was not delivered: {error}", self.topic)))
            }
        }
    }

    /// Waits until every line is acknowledged, at most `wait`. Returns how many were in all.
    pub fn finish(&mut self, wait: Duration) -> Result<u64> {
        let deadline = monotonic() + wait;
        while self.flight.total() > 0 {
            if monotonic() >= deadline {
                return Err(Error::unavailable(format!(
                    "{} lines for topic `{}` are not acknowledged after {} s",
                    self.flight.total(),
                    self.topic,
                    wait.as_secs()
                )));
            }
            self.land(LOOK_WAIT)?;
        }
        Ok(self.delivered)
    }
}
