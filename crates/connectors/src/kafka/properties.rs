//! `properties.*`: what a Flink job says to Kafka's Java client, said to librdkafka.
//!
//! Most names are the same on both sides. [`JAVA_PROPERTIES`] lists every name of the Java client with what becomes of it; a name that it
//! does not list must be one of librdkafka's, and a name of neither world is an error with the nearest one. Three groups need more than a
//! name: the JAAS text of a SASL login, the key and trust stores of TLS, and what the source decides by itself (groups, offsets).

use std::collections::BTreeMap;

use wiesel_core::diagnostic::nearest;
use wiesel_core::{Error, ErrorKind, Result};
use wiesel_ffi::kafka::{ConfigError, check_property, property_names};

/// What becomes of a property of the Java client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// librdkafka has it under this name.
    Is(&'static str),
    /// It has no meaning here, for this reason; taken with a note.
    Without(&'static str),
    /// Read by [`Properties::read`] itself.
    Here,
    /// Refused, with what to do.
    Refused(&'static str),
}

use Meaning::{Here, Is, Refused, Without};

const NO_GROUP: &str = "partitions are assigned by the job itself, so there is no group to be a member of";
const AT_CHECKPOINTS: &str = "offsets are committed with checkpoints";
const BATCHES: &str = "records are taken in batches whose size follows the load";
const BYTES: &str = "records are bytes here, and the format decodes them";
const JVM: &str = "it configures the Java client";
const TLS: &str = "OpenSSL negotiates the protocol by itself";
const GSSAPI: &str = "Kerberos is not supported; use SASL PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";
const OAUTH: &str = "OAUTHBEARER is not supported yet; use SASL PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512";
const TRANSACTIONS: &str =
    "it is made from 'sink.transactional-id-prefix' with 'sink.delivery-guarantee' = 'exactly-once'";

/// Every property of the Java client (and the few that Flink adds under the same prefix), sorted.
const JAVA_PROPERTIES: &[(&str, Meaning)] = &[
    ("acks", Is("acks")),
    ("allow.auto.create.topics", Is("allow.auto.create.topics")),
    ("auto.commit.interval.ms", Without(AT_CHECKPOINTS)),
    ("auto.include.jmx.reporter", Without(JVM)),
    ("auto.offset.reset", Here),
    ("batch.size", Is("batch.size")),
    ("bootstrap.servers", Here),
    ("buffer.memory", Here),
    ("check.crcs", Is("check.crcs")),
    ("client.dns.lookup", Here),
    ("client.id", Is("client.id")),
    ("client.id.prefix", Is("client.id")),
    ("client.rack", Is("client.rack")),
    ("commit.offsets.on.checkpoint", Here),
    ("compression.gzip.level", Is("compression.level")),
    ("compression.lz4.level", Is("compression.level")),
    ("compression.type", Is("compression.codec")),
    ("compression.zstd.level", Is("compression.level")),
    ("connections.max.idle.ms", Is("connections.max.idle.ms")),
    ("default.api.timeout.ms", Without("every wait of the job has a bound of its own")),
    ("delivery.timeout.ms", Is("message.timeout.ms")),
    ("enable.auto.commit", Without(AT_CHECKPOINTS)),
    ("enable.idempotence", Is("enable.idempotence")),
    ("enable.metrics.push", Is("enable.metrics.push")),
    ("exclude.internal.topics", Without("topics are named one by one")),
    ("fetch.max.bytes", Is("fetch.max.bytes")),
    ("fetch.max.wait.ms", Is("fetch.wait.max.ms")),
    ("fetch.min.bytes", Is("fetch.min.bytes")),
    ("group.id", Here),
    ("group.instance.id", Without(NO_GROUP)),
    ("group.protocol", Without(NO_GROUP)),
    ("group.remote.assignor", Without(NO_GROUP)),
    ("heartbeat.interval.ms", Without(NO_GROUP)),
    ("interceptor.classes", Without(JVM)),
    ("isolation.level", Here),
    ("key.deserializer", Without(BYTES)),
    ("key.serializer", Without(BYTES)),
    ("linger.ms", Is("linger.ms")),
    ("max.block.ms", Without("a full buffer makes the job wait, however long the broker is away")),
    ("max.in.flight.requests.per.connection", Is("max.in.flight.requests.per.connection")),
    ("max.partition.fetch.bytes", Is("fetch.message.max.bytes")),
    ("max.poll.interval.ms", Without(NO_GROUP)),
    ("max.poll.records", Without(BATCHES)),
    ("max.request.size", Is("message.max.bytes")),
    ("metadata.max.age.ms", Is("metadata.max.age.ms")),
    ("metadata.max.idle.ms", Without("topics are named one by one")),
    ("metadata.recovery.rebootstrap.trigger.ms", Is("metadata.recovery.rebootstrap.trigger.ms")),
    ("metadata.recovery.strategy", Is("metadata.recovery.strategy")),
    ("metric.reporters", Without(JVM)),
    ("metrics.num.samples", Without(JVM)),
    ("metrics.recording.level", Without(JVM)),
    ("metrics.sample.window.ms", Without(JVM)),
    ("partition.assignment.strategy", Without(NO_GROUP)),
    ("partition.discovery.interval.ms", Refused("use the table option 'scan.topic-partition-discovery.interval'")),
    ("partitioner.adaptive.partitioning.enable", Without("librdkafka chooses partitions by its own rule")),
    ("partitioner.availability.timeout.ms", Without("librdkafka chooses partitions by its own rule")),
    ("partitioner.class", Refused("a Java class cannot be loaded; use 'sink.partitioner' = 'fixed' or 'round-robin'")),
    ("partitioner.ignore.keys", Without("records have no key")),
    ("receive.buffer.bytes", Is("socket.receive.buffer.bytes")),
    ("reconnect.backoff.max.ms", Is("reconnect.backoff.max.ms")),
    ("reconnect.backoff.ms", Is("reconnect.backoff.ms")),
    ("register.consumer.metrics", Without(JVM)),
    ("register.producer.metrics", Without(JVM)),
    ("request.timeout.ms", Is("socket.timeout.ms")),
    ("retries", Is("retries")),
    ("retry.backoff.max.ms", Is("retry.backoff.max.ms")),
    ("retry.backoff.ms", Is("retry.backoff.ms")),
    ("sasl.client.callback.handler.class", Refused("a Java class cannot be loaded")),
    ("sasl.jaas.config", Here),
    ("sasl.kerberos.kinit.cmd", Refused(GSSAPI)),
    ("sasl.kerberos.min.time.before.relogin", Refused(GSSAPI)),
    ("sasl.kerberos.service.name", Refused(GSSAPI)),
    ("sasl.kerberos.ticket.renew.jitter", Refused(GSSAPI)),
    ("sasl.kerberos.ticket.renew.window.factor", Refused(GSSAPI)),
    ("sasl.login.callback.handler.class", Refused("a Java class cannot be loaded")),
    ("sasl.login.class", Refused("a Java class cannot be loaded")),
    ("sasl.login.connect.timeout.ms", Refused(OAUTH)),
    ("sasl.login.read.timeout.ms", Refused(OAUTH)),
    ("sasl.login.refresh.buffer.seconds", Without("PLAIN and SCRAM logins are not refreshed")),
    ("sasl.login.refresh.min.period.seconds", Without("PLAIN and SCRAM logins are not refreshed")),
    ("sasl.login.refresh.window.factor", Without("PLAIN and SCRAM logins are not refreshed")),
    ("sasl.login.refresh.window.jitter", Without("PLAIN and SCRAM logins are not refreshed")),
    ("sasl.mechanism", Here),
    ("sasl.oauthbearer.token.endpoint.url", Refused(OAUTH)),
    ("security.protocol", Here),
    ("security.providers", Without(JVM)),
    ("send.buffer.bytes", Is("socket.send.buffer.bytes")),
    ("session.timeout.ms", Without(NO_GROUP)),
    ("socket.connection.setup.timeout.max.ms", Without("'socket.connection.setup.timeout.ms' is the only bound")),
    ("socket.connection.setup.timeout.ms", Is("socket.connection.setup.timeout.ms")),
    ("ssl.cipher.suites", Is("ssl.cipher.suites")),
    ("ssl.enabled.protocols", Without(TLS)),
    ("ssl.endpoint.identification.algorithm", Here),
    ("ssl.engine.factory.class", Refused("a Java class cannot be loaded")),
    ("ssl.key.password", Is("ssl.key.password")),
    ("ssl.keymanager.algorithm", Without(JVM)),
    ("ssl.keystore.certificate.chain", Is("ssl.certificate.pem")),
    ("ssl.keystore.key", Is("ssl.key.pem")),
    ("ssl.keystore.location", Here),
    ("ssl.keystore.password", Here),
    ("ssl.keystore.type", Here),
    ("ssl.protocol", Without(TLS)),
    ("ssl.provider", Without(JVM)),
    ("ssl.secure.random.implementation", Without(JVM)),
    ("ssl.trustmanager.algorithm", Without(JVM)),
    ("ssl.truststore.certificates", Is("ssl.ca.pem")),
    ("ssl.truststore.location", Here),
    ("ssl.truststore.password", Here),
    ("ssl.truststore.type", Here),
    ("transaction.timeout.ms", Is("transaction.timeout.ms")),
    ("transactional.id", Refused(TRANSACTIONS)),
    ("value.deserializer", Without(BYTES)),
    ("value.serializer", Without(BYTES)),
];

/// Properties of librdkafka that would break what source and sink promise, or load code.
const OWN_PROPERTIES: &[(&str, &str)] = &[
    ("auto.commit.enable", AT_CHECKPOINTS),
    ("delivery.report.only.error", "every record is acknowledged before a checkpoint counts it"),
    ("enable.auto.offset.store", AT_CHECKPOINTS),
    ("enable.partition.eof", "the source must see the ends of partitions"),
    ("plugin.library.paths", "libraries are not loaded"),
    ("queue.buffering.max.kbytes", "use 'properties.buffer.memory'"),
    ("queue.buffering.max.messages", "use 'properties.buffer.memory'"),
];

/// Where a group starts that has committed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OffsetReset {
    /// At the first record.
    Earliest,
    /// At the log's end.
    Latest,
}

/// The `properties.*` of a table, translated.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Properties {
    /// The broker list, as written.
    pub(super) bootstrap_servers: String,
    /// The consumer group, when one is named.
    pub(super) group_id: Option<String>,
    /// Where to start without a committed offset, and after a lost one; `None`: that is an error.
    pub(super) auto_offset_reset: Option<OffsetReset>,
    /// Offsets are committed when a checkpoint is complete.
    pub(super) commits_offsets: bool,
    /// Bytes that a sink may have in flight.
    pub(super) buffer_memory: Option<u64>,
    /// Names and values for librdkafka; secrets among them.
    pub(super) client: Vec<(String, String)>,
    /// The user that logs in, for messages.
    pub(super) user: Option<String>,
    /// One line for each property that was taken without effect.
    pub(super) notes: Vec<String>,
}

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Properties")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("group_id", &self.group_id)
            .field("client", &self.client.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Properties {
    /// Reads the properties of a table, whose keys come without the prefix.
    pub(super) fn read(table: &str, properties: &BTreeMap<&str, &str>) -> Result<Self> {
        let reader = Reader { table, properties };
        let mut result = Properties { commits_offsets: true, ..Properties::default() };
        for (name, value) in properties {
            reader.property(name, value, &mut result)?;
        }
        if result.bootstrap_servers.is_empty() {
            return Err(Error::config(format!(
                "table `{table}` lacks the required option 'properties.bootstrap.servers'"
            ))
            .hint("add 'properties.bootstrap.servers' = 'host:port,...' to its WITH list"));
        }
        reader.security(&mut result)?;
        reader.stores(&mut result)?;
        Ok(result)
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.client.push((name.to_owned(), value.into()));
    }

    /// Whether the user set this property of librdkafka.
    pub(super) fn has(&self, name: &str) -> bool {
        self.client.iter().any(|(known, _)| known == name)
    }
}

struct Reader<'a> {
    table: &'a str,
    properties: &'a BTreeMap<&'a str, &'a str>,
}

impl Reader<'_> {
    fn property(&self, name: &str, value: &str, result: &mut Properties) -> Result<()> {
        let Ok(found) = JAVA_PROPERTIES.binary_search_by(|(known, _)| (*known).cmp(name)) else {
            return self.foreign(name, value, result);
        };
        match JAVA_PROPERTIES[found].1 {
            Is(native) => {
                let value = translate_value(native, value);
                self.check(name, native, value)?;
                result.set(native, value);
            }
            Without(reason) => result.notes.push(self.note(name, reason)),
            Refused(instead) => return Err(self.unsupported(name, instead)),
            Here => self.own(name, value, result)?,
        }
        Ok(())
    }

    /// Properties that the connector itself understands.
    fn own(&self, name: &str, value: &str, result: &mut Properties) -> Result<()> {
        match name {
            "bootstrap.servers" => value.trim().clone_into(&mut result.bootstrap_servers),
            "group.id" => result.group_id = Some(value.to_owned()),
            "auto.offset.reset" => {
                result.auto_offset_reset = match value {
                    "earliest" => Some(OffsetReset::Earliest),
                    "latest" => Some(OffsetReset::Latest),
                    "none" => None,
                    _ => return Err(self.invalid(name, "earliest, latest or none", value)),
                }
            }
            "commit.offsets.on.checkpoint" => {
                result.commits_offsets = value.parse().map_err(|_| self.invalid(name, "true or false", value))?;
            }
            "buffer.memory" => {
                result.buffer_memory = Some(value.parse().map_err(|_| self.invalid(name, "a number of bytes", value))?);
            }
            "isolation.level" => {
                self.check(name, name, value)?;
                result.set(name, value);
            }
            "client.dns.lookup" if value != "default" => {
                self.check(name, name, value)?;
                result.set(name, value);
            }
            "ssl.endpoint.identification.algorithm" => match value {
                "" | "none" => result.set(name, "none"),
                _ if value.eq_ignore_ascii_case("https") => result.set(name, "https"),
                _ => return Err(self.invalid(name, "https, or nothing to trust any host name", value)),
            },
            // The others belong to a group: security() and stores() read them together.
            _ => {}
        }
        Ok(())
    }

    /// A name that the Java client does not have: librdkafka's own, or a mistake.
    fn foreign(&self, name: &str, value: &str, result: &mut Properties) -> Result<()> {
        if let Some((_, reason)) = OWN_PROPERTIES.iter().find(|(own, _)| *own == name) {
            return Err(self.unsupported(name, reason));
        }
        if name.starts_with("sasl.oauthbearer.") {
            return Err(self.unsupported(name, OAUTH));
        }
        self.check(name, name, value)?;
        result.set(name, value);
        Ok(())
    }

    /// Whether librdkafka takes the value.
    fn check(&self, name: &str, native: &str, value: &str) -> Result<()> {
        match check_property(native, value) {
            Ok(()) => Ok(()),
            Err(ConfigError::UnknownProperty(_)) => Err(self.unknown(name)),
            Err(ConfigError::InvalidValue { reason, .. } | ConfigError::Refused(reason)) => {
                let error = Error::config(format!(
                    "option 'properties.{name}' of table `{}` has a value that the Kafka client does not take",
                    self.table
                ));
                Err(if reason.is_empty() { error } else { error.hint(reason) })
            }
        }
    }

    /// security.protocol, sasl.mechanism and the login in sasl.jaas.config.
    fn security(&self, result: &mut Properties) -> Result<()> {
        let protocol = self.get("security.protocol").unwrap_or("PLAINTEXT").to_ascii_uppercase();
        if !["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&protocol.as_str()) {
            return Err(self.invalid("security.protocol", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", &protocol));
        }
        result.set("security.protocol", protocol.to_ascii_lowercase());
        if !protocol.starts_with("SASL_") {
            return Ok(());
        }
        let mechanism = self.mechanism(result)?;
        result.set("sasl.mechanism", mechanism);
        if let Some(text) = self.get("sasl.jaas.config") {
            let login = Jaas::parse(text).map_err(|problem| {
                Error::config(format!("option 'properties.sasl.jaas.config' of table `{}`: {problem}", self.table))
                    .hint(JAAS_FORM)
            })?;
            let (user, password) = login.credentials(mechanism).map_err(|problem| {
                Error::config(format!("option 'properties.sasl.jaas.config' of table `{}`: {problem}", self.table))
            })?;
            result.user = Some(user.clone());
            result.set("sasl.username", user);
            result.set("sasl.password", password);
        } else if result.has("sasl.username") && result.has("sasl.password") {
            result.user = result.client.iter().find(|(n, _)| n == "sasl.username").map(|(_, v)| v.clone());
        } else {
            return Err(Error::config(format!(
                "table `{}` logs in with {mechanism} but has no user and password",
                self.table
            ))
            .hint(JAAS_FORM));
        }
        Ok(())
    }

    fn mechanism(&self, result: &Properties) -> Result<&'static str> {
        let named = self.get("sasl.mechanism").or_else(|| {
            result.client.iter().find(|(name, _)| name == "sasl.mechanisms").map(|(_, value)| value.as_str())
        });
        match named {
            Some("PLAIN") => Ok("PLAIN"),
            Some("SCRAM-SHA-256") => Ok("SCRAM-SHA-256"),
            Some("SCRAM-SHA-512") => Ok("SCRAM-SHA-512"),
            Some("GSSAPI") => Err(self.unsupported("sasl.mechanism' = 'GSSAPI", GSSAPI)),
            Some("OAUTHBEARER") => Err(self.unsupported("sasl.mechanism' = 'OAUTHBEARER", OAUTH)),
            Some(other) => Err(self.invalid("sasl.mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", other)),
            None => Err(Error::config(format!(
                "table `{}` has a SASL security.protocol and no 'properties.sasl.mechanism'; Kafka's default GSSAPI is not supported",
                self.table
            ))
            .hint("add 'properties.sasl.mechanism' = 'PLAIN', 'SCRAM-SHA-256' or 'SCRAM-SHA-512'")),
        }
    }

    /// Trust store and key store: PEM goes to librdkafka, Java's own formats are refused with the line that converts them.
    fn stores(&self, result: &mut Properties) -> Result<()> {
        if let Some(location) = self.get("ssl.truststore.location") {
            match self.store_type("ssl.truststore.type", location)? {
                StoreType::Pem => result.set("ssl.ca.location", location),
                StoreType::Jks => {
                    return Err(self.java_store(
                        "ssl.truststore",
                        location,
                        &format!("convert it once with: keytool -list -rfc -keystore {location} > ca.pem"),
                    ));
                }
                StoreType::Pkcs12 => {
                    return Err(self.java_store(
                        "ssl.truststore",
                        location,
                        &format!("convert it once with: openssl pkcs12 -in {location} -nokeys -out ca.pem"),
                    ));
                }
            }
        }
        if let Some(location) = self.get("ssl.keystore.location") {
            match self.store_type("ssl.keystore.type", location)? {
                StoreType::Pem => {
                    result.set("ssl.certificate.location", location);
                    result.set("ssl.key.location", location);
                }
                StoreType::Pkcs12 => {
                    result.set("ssl.keystore.location", location);
                    result.set("ssl.keystore.password", self.get("ssl.keystore.password").unwrap_or_default());
                }
                StoreType::Jks => {
                    return Err(self.java_store("ssl.keystore", location, &format!(
                        "convert it once with: keytool -importkeystore -srckeystore {location} -destkeystore client.p12 -deststoretype PKCS12, and set 'properties.ssl.keystore.type' = 'PKCS12'"
                    )));
                }
            }
        }
        Ok(())
    }

    fn store_type(&self, key: &str, location: &str) -> Result<StoreType> {
        let lower = location.to_ascii_lowercase();
        match self.get(key).map(str::to_ascii_uppercase).as_deref() {
            Some("PEM") => Ok(StoreType::Pem),
            Some("JKS") => Ok(StoreType::Jks),
            Some("PKCS12") => Ok(StoreType::Pkcs12),
            Some(other) => Err(self.invalid(key, "PEM, JKS or PKCS12", other)),
            None if lower.ends_with(".p12") || lower.ends_with(".pfx") => Ok(StoreType::Pkcs12),
            // Java's default; a PEM file without its type would fail there too.
            None => Ok(StoreType::Jks),
        }
    }

    fn java_store(&self, key: &str, location: &str, conversion: &str) -> Error {
        let kind = if key.ends_with("truststore") { "ca.pem" } else { "client.p12" };
        let option = if key.ends_with("truststore") {
            format!("; then set 'properties.{key}.type' = 'PEM' and 'properties.{key}.location' = '{kind}'")
        } else {
            String::new()
        };
        Error::config(format!(
            "option 'properties.{key}.location' of table `{}`: `{location}` is a Java key store, which only Java reads",
            self.table
        ))
        .hint(format!("{conversion}{option}"))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.properties.get(name).copied()
    }

    fn note(&self, name: &str, reason: &str) -> String {
        format!("option 'properties.{name}' of table `{}` has no effect: {reason}", self.table)
    }

    fn invalid(&self, name: &str, expected: &str, found: &str) -> Error {
        Error::config(format!(
            "option 'properties.{name}' of table `{}`: expected {expected}, found '{found}'",
            self.table
        ))
    }

    fn unsupported(&self, name: &str, instead: &str) -> Error {
        Error::new(
            ErrorKind::Config,
            "W0503",
            format!("option 'properties.{name}' of table `{}` is not supported", self.table),
        )
        .hint(instead)
    }

    fn unknown(&self, name: &str) -> Error {
        let error = Error::new(
            ErrorKind::Config,
            "W0502",
            format!(
                "table `{}` has unknown option 'properties.{name}': neither Kafka's Java client nor librdkafka knows it",
                self.table
            ),
        );
        let native = property_names();
        let names = JAVA_PROPERTIES.iter().map(|(known, _)| *known).chain(native.iter().map(String::as_str));
        match nearest(name, names) {
            Some(near) => error.hint(format!("did you mean 'properties.{near}'?")),
            None => error,
        }
    }
}

enum StoreType {
    Pem,
    Jks,
    Pkcs12,
}

/// Values that mean the same under another word or number.
fn translate_value<'a>(native: &str, value: &'a str) -> &'a str {
    match (native, value) {
        // Java: -1 is the operating system's default; librdkafka: 0.
        ("socket.send.buffer.bytes" | "socket.receive.buffer.bytes", "-1") => "0",
        // Java: 0 sends every record alone; librdkafka wants at least one byte.
        ("batch.size", "0") => "1",
        _ => value,
    }
}

const JAAS_FORM: &str = "the form is: 'properties.sasl.jaas.config' = 'org.apache.kafka.common.security.plain.PlainLoginModule required username=\"...\" password=\"...\";' (scram.ScramLoginModule for SCRAM)";

/// A login of a JAAS text: `class flag key="value" ... ;`.
#[derive(PartialEq, Eq)]
struct Jaas {
    module: String,
    options: BTreeMap<String, String>,
}

impl Jaas {
    /// Reads the text as Kafka does: words, `=`, values in double or single quotes with backslash escapes, a `;` at the end. The problem
    /// that is returned never repeats a value.
    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = JaasTokens { chars: text.chars().peekable() };
        let Some(JaasToken::Word(module)) = tokens.next()? else {
            return Err("it does not begin with the class name of a login module".to_owned());
        };
        match tokens.next()? {
            Some(JaasToken::Word(flag))
                if ["required", "requisite", "sufficient", "optional"]
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(&flag)) => {}
            _ => return Err(format!("after `{module}` comes one of required, requisite, sufficient, optional")),
        }
        let mut options = BTreeMap::new();
        loop {
            match tokens.next()? {
                Some(JaasToken::End) => break,
                None => return Err("it does not end with `;`".to_owned()),
                Some(JaasToken::Equals) => return Err("`=` stands where a name is expected".to_owned()),
                Some(JaasToken::Word(name)) => {
                    let (Some(JaasToken::Equals), Some(JaasToken::Word(value))) = (tokens.next()?, tokens.next()?)
                    else {
                        return Err("a name is not followed by `=` and a value".to_owned());
                    };
                    options.insert(name, value);
                }
            }
        }
        match tokens.next()? {
            None => Ok(Jaas { module, options }),
            Some(_) => Err("it holds more than one login module".to_owned()),
        }
    }

    /// User and password, when the module goes with the mechanism.
    fn credentials(self, mechanism: &str) -> Result<(String, String), String> {
        // The class may stand in a jar that moved it: org.apache.flink.kafka.shaded.org.apache.kafka.common...
        let expected = if mechanism == "PLAIN" {
            "org.apache.kafka.common.security.plain.PlainLoginModule"
        } else {
            "org.apache.kafka.common.security.scram.ScramLoginModule"
        };
        let is_expected =
            self.module.strip_suffix(expected).is_some_and(|shade| shade.is_empty() || shade.ends_with('.'));
        if !is_expected {
            return Err(format!(
                "login module `{}` does not go with sasl.mechanism {mechanism}, which wants `{expected}`",
                self.module
            ));
        }
        let mut options = self.options;
        let mut take = |name: &str| options.remove(name).ok_or_else(|| format!("it has no {name}"));
        Ok((take("username")?, take("password")?))
    }
}

enum JaasToken {
    Word(String),
    Equals,
    End,
}

struct JaasTokens<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
}

impl JaasTokens<'_> {
    fn next(&mut self) -> Result<Option<JaasToken>, String> {
        while self.chars.next_if(|c| c.is_whitespace()).is_some() {}
        match self.chars.next() {
            None => Ok(None),
            Some('=') => Ok(Some(JaasToken::Equals)),
            Some(';') => Ok(Some(JaasToken::End)),
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(|word| Some(JaasToken::Word(word))),
            Some(first) => {
                let mut word = String::from(first);
                while let Some(c) = self.chars.next_if(|c| !c.is_whitespace() && !"=;\"'".contains(*c)) {
                    word.push(c);
                }
                Ok(Some(JaasToken::Word(word)))
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut word = String::new();
        loop {
            match self.chars.next() {
                None => return Err("a quote is not closed".to_owned()),
                Some(c) if c == quote => return Ok(word),
                Some('\\') => match self.chars.next() {
                    Some('n') => word.push('\n'),
                    Some('t') => word.push('\t'),
                    Some('r') => word.push('\r'),
                    Some(c) => word.push(c),
                    None => return Err("a quote is not closed".to_owned()),
                },
                Some(c) => word.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: &[(&str, &str)]) -> Result<Properties> {
        let mut all = BTreeMap::from([("bootstrap.servers", "kafka:9092")]);
        all.extend(properties.iter().copied());
        Properties::read("t", &all)
    }

    fn value<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
        properties.client.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    const PLAIN: &str =
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"sesame\";";

    #[test]
    fn the_list_of_java_properties_is_sorted_and_points_to_properties_of_librdkafka() {
        assert!(JAVA_PROPERTIES.is_sorted_by(|a, b| a.0 < b.0));
        for (name, meaning) in JAVA_PROPERTIES {
            if let Is(native) = meaning {
                let unknown = matches!(check_property(native, ""), Err(ConfigError::UnknownProperty(_)));
                assert!(!unknown, "{name} -> {native}");
            }
        }
    }

    #[test]
    fn java_names_become_names_of_librdkafka() {
        let cases: &[(&str, &str, &str, &str)] = &[
            ("fetch.max.wait.ms", "100", "fetch.wait.max.ms", "100"),
            ("max.partition.fetch.bytes", "2097152", "fetch.message.max.bytes", "2097152"),
            ("compression.type", "lz4", "compression.codec", "lz4"),
            ("acks", "all", "acks", "all"),
            ("receive.buffer.bytes", "-1", "socket.receive.buffer.bytes", "0"),
            ("ssl.endpoint.identification.algorithm", "", "ssl.endpoint.identification.algorithm", "none"),
            ("security.protocol", "ssl", "security.protocol", "ssl"),
            ("ssl.truststore.certificates", "-----BEGIN", "ssl.ca.pem", "-----BEGIN"),
            ("queued.min.messages", "7", "queued.min.messages", "7"),
        ];
        for (name, given, native, expected) in cases {
            let properties = read(&[(name, given)]).expect(name);
            assert_eq!(value(&properties, native), Some(*expected), "{name}");
        }
    }

    #[test]
    fn properties_without_meaning_are_taken_with_a_note() {
        for name in ["enable.auto.commit", "max.poll.records", "session.timeout.ms", "heartbeat.interval.ms"] {
            let properties = read(&[(name, "5")]).expect(name);
            assert_eq!(properties.notes.len(), 1, "{name}");
            assert!(properties.notes[0].contains(&format!("'properties.{name}'")), "{:?}", properties.notes);
        }
    }

    #[test]
    fn a_property_of_neither_world_is_refused_with_the_nearest() {
        let error = read(&[("max.pol.records", "5")]).unwrap_err();
        assert_eq!((error.code(), error.hint_text()), ("W0502", Some("did you mean 'properties.max.poll.records'?")));
        let error = read(&[("transactional.id", "x")]).unwrap_err();
        assert_eq!(error.code(), "W0503");
        let error = read(&[("socket.timeout.ms", "soon")]).unwrap_err();
        assert!(error.message().contains("properties.socket.timeout.ms"), "{error}");
        let error = Properties::read("t", &BTreeMap::new()).unwrap_err();
        assert!(error.message().contains("properties.bootstrap.servers"), "{error}");
    }

    #[test]
    fn a_jaas_text_gives_user_and_password() {
        let shaded = format!("org.apache.flink.kafka.shaded.{PLAIN}");
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required\n username='a b'\n password=\"q\\\"\\\\;=\" ;";
        let cases: &[(&str, &str, &str, &str)] = &[
            ("PLAIN", PLAIN, "u", "sesame"),
            ("PLAIN", &shaded, "u", "sesame"),
            ("SCRAM-SHA-512", scram, "a b", "q\"\\;="),
        ];
        for (mechanism, text, user, password) in cases {
            let properties =
                read(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", mechanism), ("sasl.jaas.config", text)])
                    .expect(text);
            assert_eq!(value(&properties, "sasl.username"), Some(*user));
            assert_eq!(value(&properties, "sasl.password"), Some(*password));
            assert_eq!(value(&properties, "sasl.mechanism"), Some(*mechanism));
            assert!(!format!("{properties:?}").contains(password), "the password is not printed");
        }
    }

    #[test]
    fn a_wrong_login_says_what_is_wrong_without_the_password() {
        let cases: &[(&str, &str, &str)] = &[
            ("PLAIN", "", "does not begin"),
            ("PLAIN", "PlainLoginModule", "after `PlainLoginModule`"),
            ("PLAIN", "x.PlainLoginModule required username=\"u\" password=\"secret\";", "does not go with"),
            ("PLAIN", &PLAIN[..PLAIN.len() - 1], "does not end with `;`"),
            ("PLAIN", "a.b required username=\"u\" password=\"secret;", "not closed"),
            ("SCRAM-SHA-256", PLAIN, "does not go with"),
            (
                "PLAIN",
                "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\";",
                "no password",
            ),
            ("GSSAPI", PLAIN, "not supported"),
            ("OAUTHBEARER", PLAIN, "not supported"),
            ("SCRAM", PLAIN, "expected PLAIN, SCRAM-SHA-256"),
        ];
        for (mechanism, text, expected) in cases {
            let error = read(&[
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", mechanism),
                ("sasl.jaas.config", text),
            ])
            .unwrap_err();
            assert!(error.message().contains(expected), "{text}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let error = read(&[("security.protocol", "SASL_SSL"), ("sasl.jaas.config", PLAIN)]).unwrap_err();
        assert!(error.message().contains("no 'properties.sasl.mechanism'"), "{error}");
        let error = read(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "PLAIN")]).unwrap_err();
        assert!(error.message().contains("no user and password"), "{error}");
    }

    #[test]
    fn java_key_stores_are_refused_with_the_line_that_converts_them() {
        let error = read(&[("ssl.truststore.location", "/etc/trust.jks")]).unwrap_err();
        assert!(
            error.hint_text().unwrap_or_default().contains("keytool -list -rfc -keystore /etc/trust.jks"),
            "{error}"
        );
        let error = read(&[("ssl.keystore.location", "/etc/key.jks"), ("ssl.keystore.type", "JKS")]).unwrap_err();
        assert!(error.hint_text().unwrap_or_default().contains("-importkeystore"), "{error}");
        let pem = read(&[("ssl.truststore.location", "/etc/ca.pem"), ("ssl.truststore.type", "PEM")]).expect("pem");
        assert_eq!(value(&pem, "ssl.ca.location"), Some("/etc/ca.pem"));
    }
}
