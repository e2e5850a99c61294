//! The `WITH` keys of a kafka table, typed. Keys that Flink has and wiesel does not support yet are refused by their own name.

use std::time::Duration;

use regex::Regex;
use wiesel_core::options::Options;
use wiesel_core::table::{ColumnKind, TableColumn, TableDescriptor};
use wiesel_core::{Error, Result};

use super::properties::Properties;
use super::reduce::Flush;

/// The name of the connector of upserts.
pub(super) const UPSERT: &str = "upsert-kafka";

/// Flink's default of `scan.topic-partition-discovery.interval`.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Where a fresh job begins to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Startup {
    /// At the first record of each partition.
    Earliest,
    /// At the end of each partition.
    Latest,
    /// Where the consumer group has committed.
    GroupOffsets,
    /// At the first record that is not older, ms since 1970.
    Timestamp(i64),
    /// At the listed offsets; partitions that are not listed begin at their first record.
    Offsets(Vec<(i32, i64)>),
}

/// Where reading ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bounded {
    /// Never.
    Unbounded,
    /// At the end that each partition has when the job starts.
    Latest,
    /// Where the consumer group has committed.
    GroupOffsets,
    /// In front of the first record that is not older, ms since 1970.
    Timestamp(i64),
    /// In front of the listed offsets; partitions that are not listed are not read.
    Offsets(Vec<(i32, i64)>),
}

/// How the sink chooses a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partitioner {
    /// The client chooses, some records for one partition and then some for another.
    Default,
    /// Each sink instance writes to one partition.
    Fixed,
    /// Partitions take turns, record by record.
    RoundRobin,
}

/// What the sink promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delivery {
    /// A checkpoint does not wait for acknowledgements.
    None,
    /// A checkpoint waits until everything written before it is acknowledged.
    AtLeastOnce,
    /// Records of a checkpoint are one transaction, under names with this prefix.
    ExactlyOnce(String),
}

/// Which columns the keys of records hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyOptions {
    /// Indices of columns of the table, in the order of the key.
    pub(super) columns: Vec<usize>,
    /// What their names have in front that the key's fields have not.
    pub(super) prefix: String,
}

/// The option that names the format of keys.
pub(super) const KEY_FORMAT: &str = "key.format";

/// All options of a kafka or upsert-kafka table but those of its formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KafkaOptions {
    /// The topics by name; empty with a pattern.
    pub(super) topics: Vec<String>,
    /// A regular expression that the names of all topics read match as a whole.
    pub(super) topic_pattern: Option<String>,
    /// `None` when records are read without looking at their keys and written without any.
    pub(super) key: Option<KeyOptions>,
    /// Indices of the columns that values hold.
    pub(super) value_columns: Vec<usize>,
    /// Connector upsert-kafka: the last record of a key counts, and one without a value deletes it.
    pub(super) is_upsert: bool,
    /// upsert-kafka: whether and when records that wait for later ones of their key are written.
    pub(super) flush: Option<Flush>,
    pub(super) properties: Properties,
    pub(super) startup: Startup,
    pub(super) bounded: Bounded,
    /// How often new partitions are looked for; `None`: never.
    pub(super) discovery_interval: Option<Duration>,
    pub(super) partitioner: Partitioner,
    pub(super) delivery: Delivery,
    /// The key that names the value's format, `format` or `value.format`.
    pub(super) format_key: &'static str,
}

/// Keys of later pieces of work, each with what to do instead.
const LATER: &[(&str, &str)] = &[
    ("sink.semantic", "its name is 'sink.delivery-guarantee' since Flink 1.14"),
    ("sink.transaction-naming-strategy", "a sink has one transactional.id; leave the option away"),
];

/// Keys that are taken without effect, each with why.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("scan.parallelism", "one thread reads all partitions, and every worker decodes"),
    ("sink.parallelism", "every worker has its own instance of the sink"),
];

impl KafkaOptions {
    /// Reads the options. `options` goes on to the formats, which read their own keys, and is then finished by the caller.
    pub(super) fn read(table: &TableDescriptor, options: &mut Options<'_>) -> Result<Self> {
        for (key, instead) in LATER {
            if options.get(key).is_some() {
                return Err(options.unsupported(key, instead));
            }
        }
        let is_upsert = table.options.get("connector").is_some_and(|connector| connector == UPSERT);
        let mut properties = Properties::read(&table.name, &options.with_prefix("properties."))?;
        for (key, reason) in WITHOUT_EFFECT {
            if options.integer(key)?.is_some() {
                properties.notes.push(format!("option '{key}' has no effect: {reason}"));
            }
        }
        let (topics, topic_pattern) = read_topics(options, is_upsert)?;
        let key = read_key(table, options, is_upsert)?;
        let value_columns = read_value_columns(table, options, key.as_ref())?;
        let is_one = topics.len() == 1;
        Ok(KafkaOptions {
            startup: if is_upsert { Startup::Earliest } else { read_startup(options, is_one)? },
            bounded: read_bounded(options, is_one)?,
            discovery_interval: if is_upsert { Some(DISCOVERY_INTERVAL) } else { read_discovery_interval(options)? },
            partitioner: if is_upsert { Partitioner::Default } else { read_partitioner(options)? },
            delivery: read_delivery(options)?,
            format_key: read_format_key(options, is_upsert)?,
            flush: if is_upsert { read_flush(options)? } else { None },
            topics,
            topic_pattern,
            key,
            value_columns,
            is_upsert,
            properties,
        })
    }

    /// The pattern of topics, ready to match.
    pub(super) fn topic_regex(&self) -> Result<Option<Regex>> {
        let Some(pattern) = &self.topic_pattern else { return Ok(None) };
        let regex = Regex::new(&format!("^(?:{pattern})$"));
        regex.map(Some).map_err(|error| Error::config(format!("'topic-pattern' is no regular expression: {error}")))
    }
}

/// The columns of the key: those of 'key.fields', or the primary key of a table of upserts.
fn read_key(table: &TableDescriptor, options: &mut Options<'_>, is_upsert: bool) -> Result<Option<KeyOptions>> {
    let has_format = options.get(KEY_FORMAT).is_some();
    let prefix = options.get("key.fields-prefix").unwrap_or_default().to_owned();
    let fields: Vec<String> = if is_upsert {
        if table.primary_key.is_empty() {
            return Err(Error::config(format!(
                "table `{}`: 'upsert-kafka' tables require a PRIMARY KEY: it says which columns are the keys of records",
                table.name
            ))
            .hint("add PRIMARY KEY (...) NOT ENFORCED to its CREATE TABLE"));
        }
        options.required(KEY_FORMAT)?;
        table.primary_key.clone()
    } else {
        let text = options.get("key.fields");
        let fields: Vec<String> = text.unwrap_or_default().split(';').map(|f| f.trim().to_owned()).collect();
        let fields: Vec<String> = fields.into_iter().filter(|field| !field.is_empty()).collect();
        match (has_format, fields.is_empty()) {
            (false, true) => return Ok(None),
            (true, true) => {
                return Err(Error::config(format!(
                    "table `{}`: a key format '{KEY_FORMAT}' requires the declaration of one or more key fields by 'key.fields'",
                    table.name
                )));
            }
            (false, false) => {
                return Err(Error::config(format!(
                    "table `{}`: the option 'key.fields' can only be declared with a key format, by '{KEY_FORMAT}'",
                    table.name
                )));
            }
            (true, false) => fields,
        }
    };
    let is_physical = |c: &TableColumn| c.kind == ColumnKind::Physical;
    let mut columns = Vec::with_capacity(fields.len());
    for field in &fields {
        if !field.starts_with(&prefix) {
            return Err(Error::config(format!(
                "table `{}`: all key fields must begin with '{prefix}' when 'key.fields-prefix' is set, and `{field}` does not",
                table.name
            )));
        }
        match table.columns.iter().position(|c| is_physical(c) && c.name == *field) {
            Some(column) if columns.contains(&column) => {
                return Err(options.invalid("key.fields", &fields.join(";"), "each column once"));
            }
            Some(column) => columns.push(column),
            None => {
                let known: Vec<&str> =
                    table.columns.iter().filter(|c| is_physical(c)).map(|c| c.name.as_str()).collect();
                return Err(Error::config(format!(
                    "table `{}` has no column `{field}` for its key: a key field must be a regular, physical column",
                    table.name
                ))
                .hint(format!("it has {}", known.join(", "))));
            }
        }
    }
    Ok(Some(KeyOptions { columns, prefix }))
}

/// The columns of values: all of them, or those that are not in the key.
fn read_value_columns(
    table: &TableDescriptor,
    options: &mut Options<'_>,
    key: Option<&KeyOptions>,
) -> Result<Vec<usize>> {
    let is_except = options.one_of("value.fields-include", &["ALL", "EXCEPT_KEY"])? == Some("EXCEPT_KEY");
    if !is_except && key.is_some_and(|key| !key.prefix.is_empty()) {
        return Err(options
            .invalid("value.fields-include", "ALL", "EXCEPT_KEY, because 'key.fields-prefix' is set")
            .hint(
                "with a prefix the key's fields have other names than the columns, so values cannot hold them, too",
            ));
    }
    let is_in_key = |index: &usize| is_except && key.is_some_and(|key| key.columns.contains(index));
    let physical = table.columns.iter().enumerate().filter(|(_, c)| c.kind == ColumnKind::Physical);
    Ok(physical.map(|(index, _)| index).filter(|index| !is_in_key(index)).collect())
}

fn read_flush(options: &mut Options<'_>) -> Result<Option<Flush>> {
    let rows = options.integer("sink.buffer-flush.max-rows")?.unwrap_or(0);
    let interval = options.duration("sink.buffer-flush.interval")?.unwrap_or_default();
    let rows_max = usize::try_from(rows)
        .map_err(|_| options.invalid("sink.buffer-flush.max-rows", &rows.to_string(), "a number of rows"))?;
    match (rows_max > 0, !interval.is_zero()) {
        (false, false) => Ok(None),
        (true, true) => Ok(Some(Flush { rows_max, interval })),
        _ => Err(Error::config(
            "'sink.buffer-flush.max-rows' and 'sink.buffer-flush.interval' must be set to be greater than zero together",
        )),
    }
}

/// Names of topics, or a pattern of them.
fn read_topics(options: &mut Options<'_>, is_upsert: bool) -> Result<(Vec<String>, Option<String>)> {
    let pattern = if is_upsert { None } else { options.get("topic-pattern") };
    if let Some(pattern) = pattern {
        if options.get("topic").is_some() {
            return Err(options.invalid("topic-pattern", pattern, "only one of 'topic' and 'topic-pattern'"));
        }
        if Regex::new(pattern).is_err() {
            return Err(options.invalid("topic-pattern", pattern, "a regular expression"));
        }
        return Ok((Vec::new(), Some(pattern.to_owned())));
    }
    let text = options.required("topic")?;
    let topics: Vec<String> = text.split(';').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect();
    if topics.is_empty() {
        return Err(options.invalid("topic", text, "the name of a topic"));
    }
    for (index, topic) in topics.iter().enumerate() {
        if topics[..index].contains(topic) {
            return Err(options.invalid("topic", text, "each topic once"));
        }
        let is_name = topic.len() <= 249 && topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !is_name || topic == "." || topic == ".." {
            return Err(options.invalid(
                "topic",
                text,
                "names of letters, digits, `.`, `_` and `-`, at most 249 long, with `;` between them",
            ));
        }
    }
    Ok((topics, None))
}

fn read_startup(options: &mut Options<'_>, is_one: bool) -> Result<Startup> {
    let words = ["earliest-offset", "latest-offset", "group-offsets", "timestamp", "specific-offsets"];
    let word = options.one_of("scan.startup.mode", &words)?.unwrap_or("group-offsets");
    let timestamp = options.integer("scan.startup.timestamp-millis")?;
    let offsets = read_offsets(options, "scan.startup.specific-offsets")?;
    Ok(match word {
        "earliest-offset" => Startup::Earliest,
        "latest-offset" => Startup::Latest,
        "group-offsets" => Startup::GroupOffsets,
        "timestamp" => Startup::Timestamp(wanted(timestamp, options, "scan.startup.timestamp-millis")?),
        _ => {
            let offsets = wanted(offsets, options, "scan.startup.specific-offsets")?;
            one_topic(options, "scan.startup.mode", is_one)?;
            Startup::Offsets(offsets)
        }
    })
}

fn read_bounded(options: &mut Options<'_>, is_one: bool) -> Result<Bounded> {
    let words = ["unbounded", "latest-offset", "group-offsets", "timestamp", "specific-offsets"];
    let word = options.one_of("scan.bounded.mode", &words)?.unwrap_or("unbounded");
    let timestamp = options.integer("scan.bounded.timestamp-millis")?;
    let offsets = read_offsets(options, "scan.bounded.specific-offsets")?;
    Ok(match word {
        "unbounded" => Bounded::Unbounded,
        "latest-offset" => Bounded::Latest,
        "group-offsets" => Bounded::GroupOffsets,
        "timestamp" => Bounded::Timestamp(wanted(timestamp, options, "scan.bounded.timestamp-millis")?),
        _ => {
            let offsets = wanted(offsets, options, "scan.bounded.specific-offsets")?;
            one_topic(options, "scan.bounded.mode", is_one)?;
            Bounded::Offsets(offsets)
        }
    })
}

fn wanted<T>(value: Option<T>, options: &mut Options<'_>, key: &str) -> Result<T> {
    match value {
        Some(value) => Ok(value),
        None => Err(options.required(key).err().unwrap_or_else(|| Error::internal(format!("'{key}' was not read")))),
    }
}

fn one_topic(options: &Options<'_>, key: &str, is_one: bool) -> Result<()> {
    if is_one {
        return Ok(());
    }
    Err(options.invalid(
        key,
        "specific-offsets",
        "another mode, because offsets are given for one topic and there are several",
    ))
}

/// `partition:0,offset:42;partition:1,offset:300`.
fn read_offsets(options: &mut Options<'_>, key: &str) -> Result<Option<Vec<(i32, i64)>>> {
    let Some(text) = options.get(key) else { return Ok(None) };
    let mut offsets: Vec<(i32, i64)> = Vec::new();
    for pair in text.split(';').filter(|p| !p.trim().is_empty()) {
        let parsed = pair.split_once(',').and_then(|(partition, offset)| {
            let partition = partition.trim().strip_prefix("partition:")?.trim().parse::<i32>().ok()?;
            let offset = offset.trim().strip_prefix("offset:")?.trim().parse::<i64>().ok()?;
            (partition >= 0 && offset >= 0).then_some((partition, offset))
        });
        match parsed {
            Some((partition, _)) if offsets.iter().any(|(known, _)| *known == partition) => {
                return Err(options.invalid(key, text, &format!("partition {partition} once")));
            }
            Some(pair) => offsets.push(pair),
            None => {
                return Err(options.invalid(key, text, "the form `partition:0,offset:42;partition:1,offset:300`"));
            }
        }
    }
    if offsets.is_empty() {
        return Err(options.invalid(key, text, "the form `partition:0,offset:42;partition:1,offset:300`"));
    }
    Ok(Some(offsets))
}

fn read_discovery_interval(options: &mut Options<'_>) -> Result<Option<Duration>> {
    let interval = options.duration("scan.topic-partition-discovery.interval")?.unwrap_or(DISCOVERY_INTERVAL);
    Ok((!interval.is_zero()).then_some(interval))
}

fn read_partitioner(options: &mut Options<'_>) -> Result<Partitioner> {
    let Some(word) = options.get("sink.partitioner") else { return Ok(Partitioner::Default) };
    match word {
        "default" => Ok(Partitioner::Default),
        "fixed" => Ok(Partitioner::Fixed),
        "round-robin" => Ok(Partitioner::RoundRobin),
        class if class.contains('.') => {
            Err(options
                .unsupported("sink.partitioner", "a Java class cannot be loaded; use default, fixed or round-robin"))
        }
        other => Err(options.invalid("sink.partitioner", other, "default, fixed or round-robin")),
    }
}

fn read_delivery(options: &mut Options<'_>) -> Result<Delivery> {
    let key = "sink.delivery-guarantee";
    let prefix = options.get("sink.transactional-id-prefix").map(str::to_owned);
    match options.one_of(key, &["none", "at-least-once", "exactly-once"])? {
        Some("none") => Ok(Delivery::None),
        Some("exactly-once") => match prefix.filter(|prefix| !prefix.trim().is_empty()) {
            Some(prefix) => Ok(Delivery::ExactlyOnce(prefix)),
            None => Err(Error::config(
                "'sink.transactional-id-prefix' must be specified when using 'sink.delivery-guarantee' = 'exactly-once'",
            )
            .hint("a name that no other job uses at this cluster")),
        },
        _ => Ok(Delivery::AtLeastOnce),
    }
}

fn read_format_key(options: &mut Options<'_>, is_upsert: bool) -> Result<&'static str> {
    if is_upsert {
        options.required("value.format")?;
        return Ok("value.format");
    }
    match (options.get("format"), options.get("value.format")) {
        (Some(_), None) => Ok("format"),
        (None, Some(_)) => Ok("value.format"),
        (Some(name), Some(_)) => Err(options.invalid("format", name, "only one of 'format' and 'value.format'")),
        (None, None) => {
            Err(options.required("format").err().unwrap_or_else(|| Error::internal("'format' was not read")))
        }
    }
}

#[cfg(test)]
mod tests {
    use wiesel_core::DataType;

    use super::*;
    use crate::registry::tests::table;

    fn read(more: &[(&str, &str)]) -> Result<KafkaOptions> {
        let mut all = vec![
            ("connector", "kafka"),
            ("topic", "a"),
            ("properties.bootstrap.servers", "kafka:9092"),
            ("format", "json"),
        ];
        all.retain(|(key, _)| !more.iter().any(|(other, _)| other == key));
        all.extend(more.iter().filter(|(_, value)| *value != "<unset>"));
        let columns = [("k", DataType::int()), ("v", DataType::int())];
        let table = table(&columns, &[], &all);
        let mut options = Options::new(&table.name, &table.options);
        let result = KafkaOptions::read(&table, &mut options)?;
        options.finish()?;
        Ok(result)
    }

    #[test]
    fn the_defaults_are_those_of_flink() {
        let options = read(&[]).expect("enough options");
        assert_eq!(options.startup, Startup::GroupOffsets);
        assert_eq!(options.bounded, Bounded::Unbounded);
        assert_eq!(options.delivery, Delivery::AtLeastOnce);
        assert_eq!(options.partitioner, Partitioner::Default);
        assert_eq!(options.discovery_interval, Some(Duration::from_secs(300)));
        assert_eq!(options.topics, ["a"]);
    }

    #[test]
    fn modes_read_the_keys_that_belong_to_them() {
        let options = read(&[
            ("topic", "a; b"),
            ("scan.startup.mode", "timestamp"),
            ("scan.startup.timestamp-millis", "12"),
            ("scan.bounded.mode", "latest-offset"),
        ])
        .expect("right");
        assert_eq!((options.startup, options.bounded), (Startup::Timestamp(12), Bounded::Latest));
        assert_eq!(options.topics, ["a", "b"]);
        let options = read(&[
            ("scan.startup.mode", "specific-offsets"),
            ("scan.startup.specific-offsets", "partition:0,offset:42;partition:1,offset:300"),
            ("scan.bounded.mode", "specific-offsets"),
            ("scan.bounded.specific-offsets", "partition:1,offset:301"),
        ])
        .expect("right");
        assert_eq!(options.startup, Startup::Offsets(vec![(0, 42), (1, 300)]));
        assert_eq!(options.bounded, Bounded::Offsets(vec![(1, 301)]));
    }

    #[test]
    fn a_parallelism_is_taken_and_said_to_have_no_effect() {
        for key in ["sink.parallelism", "scan.parallelism"] {
            let notes = read(&[(key, "4")]).expect("right").properties.notes;
            assert!(notes.iter().any(|note| note.contains(key) && note.contains("no effect")), "{notes:?}");
            assert!(read(&[(key, "many")]).is_err(), "{key}");
        }
    }

    #[test]
    fn a_key_takes_its_columns_out_of_the_value_on_request() {
        let all = read(&[("key.format", "json"), ("key.fields", "k")]).expect("right");
        assert_eq!((all.key.expect("a key").columns, all.value_columns), (vec![0], vec![0, 1]));
        let except = read(&[
            ("key.format", "json"),
            ("key.fields", "k"),
            ("key.fields-prefix", "k"),
            ("value.fields-include", "EXCEPT_KEY"),
        ])
        .expect("right");
        assert_eq!((except.key.expect("a key").columns, except.value_columns), (vec![0], vec![1]));
    }

    #[test]
    fn wrong_options_are_refused_by_name() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("topic", "<unset>")], "lacks the required option 'topic'"),
            (&[("topic", "a b")], "option 'topic'"),
            (&[("topic", "a;a")], "each topic once"),
            (&[("topic-pattern", "a.*")], "only one of 'topic' and 'topic-pattern'"),
            (&[("topic", "<unset>"), ("topic-pattern", "a(")], "a regular expression"),
            (&[("key.format", "json")], "requires the declaration of one or more key fields"),
            (&[("key.fields", "k")], "can only be declared with a key format"),
            (&[("key.format", "json"), ("key.fields", "kk")], "no column `kk` for its key"),
            (&[("key.format", "json"), ("key.fields", "k;k")], "each column once"),
            (&[("key.format", "json"), ("key.fields", "k"), ("key.fields-prefix", "x_")], "must begin with 'x_'"),
            (&[("key.format", "json"), ("key.fields", "k"), ("key.fields-prefix", "k")], "expected EXCEPT_KEY"),
            (&[("connector", "upsert-kafka")], "require a PRIMARY KEY"),
            (&[("sink.delivery-guarantee", "exactly-once")], "'sink.transactional-id-prefix' must be specified"),
            (&[("sink.partitioner", "org.x.P")], "'sink.partitioner' of table `t` is not supported"),
            (&[("sink.partitioner", "random")], "expected default, fixed or round-robin"),
            (&[("scan.startup.mode", "latest")], "option 'scan.startup.mode'"),
            (&[("scan.startup.mode", "timestamp")], "lacks the required option 'scan.startup.timestamp-millis'"),
            (&[("scan.startup.mode", "specific-offsets")], "'scan.startup.specific-offsets'"),
            (
                &[("scan.startup.mode", "specific-offsets"), ("scan.startup.specific-offsets", "0:1")],
                "the form `partition:0,offset:42",
            ),
            (
                &[
                    ("topic", "a;b"),
                    ("scan.startup.mode", "specific-offsets"),
                    ("scan.startup.specific-offsets", "partition:0,offset:1"),
                ],
                "there are several",
            ),
            (&[("format", "<unset>")], "lacks the required option 'format'"),
            (&[("value.format", "json")], "only one of 'format' and 'value.format'"),
            (&[("scan.startup.mod", "x")], "unknown option 'scan.startup.mod'"),
        ];
        for (options, expected) in cases {
            let error = read(options).unwrap_err();
            assert!(error.message().contains(expected), "{options:?}: {error}");
        }
    }
}
