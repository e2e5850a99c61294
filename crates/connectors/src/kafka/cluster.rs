//! Talking to a cluster before any record flows: connecting within a bound, describing topics, finding offsets, and saying clearly
//! what went wrong. A wrong password, an unknown host and a silent broker look the same to a call (it times out), so every wait here
//! runs in short slices and looks at the errors that the client reported meanwhile.

use std::time::{Duration, Instant};

use regex::Regex;
use wiesel_core::diagnostic::nearest;
use wiesel_core::env::monotonic;
use wiesel_core::{Error, Result};
use wiesel_ffi::kafka::{Client, ClientKind, ConfigError, KafkaError, PartitionOffset, TopicMetadata, code};

use super::properties::Properties;

/// How long opening a table waits for a broker; the engine opens again when it was in vain.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// How long a topic that the broker may be creating is waited for.
const CREATION_WAIT: Duration = Duration::from_secs(3);

/// The longest single question, so that errors which came meanwhile are seen soon.
const SLICE: Duration = Duration::from_millis(250);

/// The clients' own settings: name and value, set in front of the user's (defaults) and behind them (ours).
pub(super) struct ClientSettings {
    pub(super) defaults: Vec<(&'static str, String)>,
    pub(super) fixed: Vec<(&'static str, String)>,
}

/// A table's cluster.
pub(super) struct Cluster<'a> {
    pub(super) table: &'a str,
    pub(super) properties: &'a Properties,
    pub(super) address_map: &'a [(String, String)],
    pub(super) job_name: &'a str,
}

/// Those of the topics that a pattern names and that are ready. Kafka's own topics are never among them.
pub(super) fn matching(topics: Vec<TopicMetadata>, pattern: &Regex) -> Vec<TopicMetadata> {
    let is_meant = |t: &TopicMetadata| t.error.is_none() && !t.name.starts_with("__") && pattern.is_match(&t.name);
    topics.into_iter().filter(is_meant).collect()
}

impl Cluster<'_> {
    /// Makes a client. Nothing is sent yet.
    pub(super) fn client(
        &self,
        kind: ClientKind,
        settings: ClientSettings,
        on_event: Option<Box<dyn Fn() + Send + Sync>>,
    ) -> Result<Client> {
        let owned = |list: Vec<(&'static str, String)>| list.into_iter().map(|(n, v)| (n.to_owned(), v));
        let mut properties: Vec<(String, String)> = vec![
            ("client.id".to_owned(), format!("wiesel-{}", self.job_name)),
            ("reconnect.backoff.max.ms".to_owned(), "2000".to_owned()),
            ("socket.nagle.disable".to_owned(), "true".to_owned()),
        ];
        properties.extend(owned(settings.defaults));
        properties.extend(self.properties.client.iter().cloned());
        properties.push(("bootstrap.servers".to_owned(), self.properties.bootstrap_servers.clone()));
        properties.extend(owned(settings.fixed));
        self.check_files()?;
        Client::new(kind, &properties, self.address_map, on_event).map_err(|error| self.config_error(&error))
    }

    /// OpenSSL's words about a file that is not there name neither file nor reason.
    fn check_files(&self) -> Result<()> {
        for (name, path) in &self.properties.client {
            let is_file = name.starts_with("ssl.") && name.ends_with(".location") && path != "probe";
            if let Some(error) = is_file.then(|| std::fs::metadata(path).err()).flatten() {
                return Err(Error::config(format!(
                    "table `{}`: the file `{path}` (`{name}` of the Kafka client) cannot be read: {error}",
                    self.table
                )));
            }
        }
        Ok(())
    }

    fn config_error(&self, error: &ConfigError) -> Error {
        let table = self.table;
        match error {
            ConfigError::UnknownProperty(name) => {
                Error::config(format!("table `{table}`: the Kafka client has no property `{name}`"))
            }
            ConfigError::InvalidValue { name, reason } => Error::config(format!(
                "table `{table}`: the Kafka client does not take the value of `{name}`: {reason}"
            )),
            ConfigError::Refused(reason) => Error::config(format!(
                "table `{table}`: the Kafka client cannot be set up: {reason}"
            ))
            .hint("check the files and passwords named by the options 'properties.ssl.*' and 'properties.sasl.*'"),
        }
    }

    /// The partitions of every topic; waits for the cluster at most [`CONNECT_WAIT`].
    pub(super) fn topics(&self, client: &Client, names: &[String]) -> Result<Vec<TopicMetadata>> {
        names.iter().map(|name| self.topic(client, name)).collect()
    }

    /// The topics whose names match, with their partitions. None is an outage that may heal: one may be created.
    pub(super) fn topics_that_match(&self, client: &Client, pattern: &Regex) -> Result<Vec<TopicMetadata>> {
        let found = self.ask(client, monotonic() + CONNECT_WAIT, |wait| client.metadata(None, wait))?;
        let found = matching(found, pattern);
        if found.is_empty() {
            return Err(Error::unavailable(format!(
                "{} has no topic whose name matches 'topic-pattern' = '{}' of table `{}`",
                self.brokers(),
                pattern.as_str().trim_start_matches("^(?:").trim_end_matches(")$"),
                self.table
            )));
        }
        Ok(found)
    }

    /// The partitions of a topic. A client of the kind `Producer` makes a broker create it, when the broker is set up to; that is given
    /// a moment. One of the kind `Consumer` never does.
    pub(super) fn topic(&self, client: &Client, name: &str) -> Result<TopicMetadata> {
        let deadline = monotonic() + CONNECT_WAIT;
        let creation_deadline = match client.kind() {
            ClientKind::Consumer => None,
            ClientKind::Producer => Some(monotonic() + CREATION_WAIT),
        };
        loop {
            let found = self.ask(client, deadline, |wait| client.metadata(Some(name), wait))?;
            let Some(topic) = found.into_iter().find(|t| t.name == name) else {
                return Err(self.missing_topic(client, name));
            };
            match &topic.error {
                None if topic.partitions.is_empty() => return Err(self.missing_topic(client, name)),
                None => return Ok(topic),
                Some(e) if is_missing(e.code) && creation_deadline.is_none_or(|end| monotonic() >= end) => {
                    return Err(self.missing_topic(client, name));
                }
                Some(e) if e.code == code::TOPIC_AUTHORIZATION_FAILED => return Err(self.topic_permission(name)),
                Some(e) if monotonic() >= deadline => {
                    return Err(Error::unavailable(format!("topic `{name}` of {} is not ready: {e}", self.brokers())));
                }
                // A leader is being elected, or the like: the next question brings it.
                Some(_) => {
                    client.poll(SLICE);
                }
            }
        }
    }

    fn missing_topic(&self, client: &Client, name: &str) -> Error {
        let error = Error::config(format!(
            "topic `{name}` of table `{}` is not there: {} has no such topic",
            self.table,
            self.brokers()
        ));
        let all = client.metadata(None, Duration::from_secs(2)).unwrap_or_default();
        let names: Vec<&str> = all.iter().map(|t| t.name.as_str()).filter(|n| !n.starts_with("__")).collect();
        match nearest(name, names) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("create the topic, or correct the option 'topic'"),
        }
    }

    /// The error for a missing right on a topic.
    pub(super) fn topic_permission(&self, topic: &str) -> Error {
        let user = self.properties.user.as_ref().map_or("the client".to_owned(), |user| format!("the user `{user}`"));
        Error::permission(format!("Kafka refuses {user} access to topic `{topic}` of table `{}`", self.table))
            .hint("an administrator of the cluster must grant the right")
    }

    /// Offsets for times, -2 being the first and -1 the end; in the order asked. An answer of -1 means "no record so late".
    pub(super) fn offsets_for_times(&self, client: &Client, times: &[PartitionOffset]) -> Result<Vec<i64>> {
        let deadline = monotonic() + CONNECT_WAIT;
        let found = self.ask(client, deadline, |wait| client.offsets_for_times(times, wait))?;
        self.offsets(times, &found)
    }

    /// The committed offsets of the group, `None` where there is none; in the order asked.
    pub(super) fn committed(&self, client: &Client, partitions: &[PartitionOffset]) -> Result<Vec<Option<i64>>> {
        let deadline = monotonic() + CONNECT_WAIT;
        let found = self.ask(client, deadline, |wait| client.committed(partitions, wait)).map_err(|error| {
            error.at(format!(
                "reading the committed offsets of group `{}`",
                self.properties.group_id.as_deref().unwrap_or_default()
            ))
        })?;
        Ok(self.offsets(partitions, &found)?.into_iter().map(|offset| (offset >= 0).then_some(offset)).collect())
    }

    fn offsets(&self, asked: &[PartitionOffset], found: &[PartitionOffset]) -> Result<Vec<i64>> {
        asked
            .iter()
            .map(|ask| {
                let answer = found.iter().find(|a| a.topic == ask.topic && a.partition == ask.partition);
                match answer {
                    Some(PartitionOffset { error: Some(error), .. }) => {
                        Err(self.failed(error).at(format!("asking for offsets of {}-{}", ask.topic, ask.partition)))
                    }
                    Some(answer) => Ok(answer.offset),
                    None => Err(Error::unavailable(format!(
                        "{} gave no offset for {}-{}",
                        self.brokers(),
                        ask.topic,
                        ask.partition
                    ))),
                }
            })
            .collect()
    }

    /// Asks in slices until there is an answer, an error that no waiting heals, or the deadline is over.
    fn ask<T>(
        &self,
        client: &Client,
        deadline: Instant,
        question: impl Fn(Duration) -> Result<T, KafkaError>,
    ) -> Result<T> {
        // Each question is given more time than the last, so that a broker which is slower than one slice is understood all the same.
        let mut slice = SLICE;
        let mut trouble = Trouble::default();
        loop {
            let left = deadline.saturating_duration_since(monotonic());
            let outcome = question(slice.min(left).max(Duration::from_millis(1)));
            client.poll(Duration::ZERO);
            trouble.look(client);
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(refusal) = &trouble.refusal {
                return Err(self.failed(refusal));
            }
            if !is_healing(error.code) {
                return Err(self.failed(&error));
            }
            if monotonic() >= deadline {
                return Err(self.unreachable(trouble.last.as_ref()));
            }
            slice = (slice * 2).min(Duration::from_secs(4));
        }
    }

    /// No answer in time.
    fn unreachable(&self, last: Option<&KafkaError>) -> Error {
        let reason = last.map_or_else(|| "no answer".to_owned(), |error| without_final_stop(&error.reason));
        Error::unavailable(format!(
            "{} did not answer within {} s (table `{}`): {reason}",
            self.brokers(),
            CONNECT_WAIT.as_secs(),
            self.table
        ))
        .hint("check 'properties.bootstrap.servers' and 'properties.security.protocol', and that the broker runs")
    }

    /// What a broker's error means for the table.
    pub(super) fn failed(&self, error: &KafkaError) -> Error {
        let user = self.properties.user.as_deref().unwrap_or("(none)");
        let servers = &self.properties.bootstrap_servers;
        let reason = without_final_stop(&error.reason);
        match error.code {
            code::AUTHENTICATION if reason.contains("handshake failed") => Error::config(format!(
                "{} does not take the SASL mechanism of table `{}`: {reason}",
                self.brokers(),
                self.table
            ))
            .hint("is 'properties.security.protocol' the one of this listener, and 'properties.sasl.mechanism' enabled there?"),
            code::AUTHENTICATION | code::SASL_AUTHENTICATION_FAILED => Error::permission(format!(
                "Kafka refused the user `{user}` at {servers} (table `{}`): {reason}",
                self.table
            ))
            .hint("check user, password and mechanism in 'properties.sasl.jaas.config' and 'properties.sasl.mechanism'"),
            code::UNSUPPORTED_SASL_MECHANISM => Error::config(format!(
                "{} does not offer the SASL mechanism of table `{}`: {reason}",
                self.brokers(),
                self.table
            )),
            code::SSL => Error::config(format!("TLS with {} failed (table `{}`): {reason}", self.brokers(), self.table))
                .hint("'properties.ssl.truststore.location' with 'properties.ssl.truststore.type' = 'PEM' names the certificate authority"),
            code::GROUP_AUTHORIZATION_FAILED => Error::permission(format!(
                "Kafka refuses the user `{user}` access to the consumer group `{}` of table `{}`",
                self.properties.group_id.as_deref().unwrap_or_default(),
                self.table
            )),
            code::TOPIC_AUTHORIZATION_FAILED | code::CLUSTER_AUTHORIZATION_FAILED => Error::permission(format!(
                "Kafka refuses the user `{user}` what table `{}` needs: {reason}",
                self.table
            )),
            _ => Error::unavailable(format!("{} (table `{}`): {reason}", self.brokers(), self.table)),
        }
    }

    /// How messages name the cluster: the bootstrap servers, with where they are mapped to.
    pub(super) fn brokers(&self) -> String {
        let named = &self.properties.bootstrap_servers;
        let mapped: Vec<String> = self
            .address_map
            .iter()
            .filter(|(from, _)| named.split(',').any(|server| server.trim().eq_ignore_ascii_case(from)))
            .map(|(from, to)| format!("{from} is mapped to {to}"))
            .collect();
        if mapped.is_empty() {
            format!("Kafka at {named}")
        } else {
            format!("Kafka at {named} ({})", mapped.join(", "))
        }
    }
}

/// What the client reported about its connections.
#[derive(Default)]
pub(super) struct Trouble {
    /// An error that waiting does not heal: refused credentials, broken TLS.
    pub(super) refusal: Option<KafkaError>,
    /// The last error that says something.
    pub(super) last: Option<KafkaError>,
    /// No broker was reachable when last looked.
    pub(super) all_down: bool,
}

impl Trouble {
    /// Takes what the client reported since the last look.
    pub(super) fn look(&mut self, client: &Client) {
        for error in client.take_errors() {
            if is_refusal(&error) {
                self.refusal.get_or_insert(error);
            } else if error.code == code::ALL_BROKERS_DOWN {
                self.all_down = true;
            } else {
                self.last = Some(error);
            }
        }
    }
}

/// Whether an error of the callback means that we are not wanted, so that waiting is in vain.
fn is_refusal(error: &KafkaError) -> bool {
    match error.code {
        code::AUTHENTICATION | code::SASL_AUTHENTICATION_FAILED | code::UNSUPPORTED_SASL_MECHANISM => true,
        // A handshake also fails when a broker goes down in the middle of it; a certificate that does not hold will not hold later.
        code::SSL => error.reason.contains("certificate") || error.reason.contains("verify"),
        _ => false,
    }
}

/// Whether a topic is not there.
pub(super) fn is_missing(code: i32) -> bool {
    // 100 is Kafka's "unknown topic id", which a broker answers for a topic that was created anew.
    matches!(code, code::UNKNOWN_TOPIC_OR_PARTITION | code::UNKNOWN_TOPIC_LOCAL | code::INVALID_TOPIC | 100)
}

/// Whether a failed question may be answered when it is put again.
fn is_healing(code: i32) -> bool {
    // Kafka's own retriable errors: leader not available, not leader, time-outs, coordinators that load or move, a log being loaded.
    code < 0 && !matches!(code, code::AUTHENTICATION | code::FATAL | -188 | -190)
        || matches!(code, 5..=9 | 13..=16 | 56 | 75 | 78)
}

/// The words of librdkafka in the form of a message, which has no final stop.
pub(super) fn without_final_stop(reason: &str) -> String {
    reason.trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_an_outage() {
        let cases: &[(i32, &str, bool)] = &[
            (code::AUTHENTICATION, "SASL authentication error", true),
            (code::SSL, "SSL handshake failed: certificate verify failed", true),
            (code::SSL, "SSL handshake failed: disconnected", false),
            (code::TRANSPORT, "connection refused", false),
            (code::ALL_BROKERS_DOWN, "1/1 brokers are down", false),
        ];
        for (code, reason, expected) in cases {
            let error = KafkaError { code: *code, reason: (*reason).to_owned() };
            assert_eq!(is_refusal(&error), *expected, "{reason}");
        }
    }
}
