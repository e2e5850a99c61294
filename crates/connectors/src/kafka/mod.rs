//! kafka and upsert-kafka: topics as tables, read by all workers and written by all workers.
//!
//! **upsert-kafka** is the same with another meaning of records: those of one key (the PRIMARY KEY) are versions of one row, and one without
//! a value is its end. It reads from the beginning, gives +I and -D, from which the planner's ChangelogNormalize makes changes, and writes
//! upserts: a record for +I and +U, a tombstone for -D.
//!
//! **Source.** Splits are partitions, assigned by the job itself: a foreign member of the same group has no effect. A checkpoint holds the
//! offset of each partition's next record, so every record counts exactly once in the job's state. When a checkpoint is complete its
//! offsets are committed to the group, if 'properties.group.id' names one, for others to look at; a restart never reads them. Order holds
//! within a partition. A position that retention has removed is an error that names the lost range, unless
//! 'properties.auto.offset.reset' says where to go on. (Flink goes on silently.)
//!
//! **Sink.** Takes what its format can say: inserts, or all changes (debezium-json and its kin). Exactly-once on request (`exactly_once.rs`): records appear at checkpoints. Else at-least-once: a checkpoint is complete when every record before it is acknowledged by all in-sync replicas;
//! records after the last checkpoint are written again after a crash. Retries inside neither repeat nor reorder records. Order holds from
//! one worker to one partition.
//!
//! | option | default | |
//! |---|---|---|
//! | topic | required | one topic, or for a source several with `;` |
//! | topic-pattern | | instead of `topic`, for a source: all topics whose names match this regular expression, new ones too |
//! | properties.bootstrap.servers | required | the broker list |
//! | properties.group.id | KafkaSource-(table), nothing committed | the group whose offsets are read and committed |
//! | properties.auto.offset.reset | none | where to start without a committed offset, and after a lost one |
//! | properties.* | | Java client's or librdkafka's names, see `properties.rs` |
//! | format, value.format | required | the format of values |
//! | key.format, key.fields | | format and columns of keys; upsert-kafka: the PRIMARY KEY |
//! | key.fields-prefix | | what those columns' names have in front that the key's fields have not; with EXCEPT_KEY |
//! | value.fields-include | ALL | ALL, EXCEPT_KEY: whether the columns of the key stand in the value, too |
//! | scan.startup.mode | group-offsets | earliest-offset, latest-offset, group-offsets, timestamp, specific-offsets |
//! | scan.startup.timestamp-millis, scan.startup.specific-offsets | | what the mode needs |
//! | scan.bounded.mode | unbounded | latest-offset, group-offsets, timestamp, specific-offsets; ends are found at the first start and kept by checkpoints |
//! | scan.bounded.timestamp-millis, scan.bounded.specific-offsets | | what the mode needs |
//! | scan.topic-partition-discovery.interval | 5 min | how often new partitions are looked for (every 30 s at least); 0 never |
//! | sink.partitioner | default | default, fixed, round-robin |
//! | scan.parallelism, sink.parallelism | | taken without effect |
//! | sink.delivery-guarantee | at-least-once | at-least-once, none, exactly-once |
//! | sink.buffer-flush.max-rows, sink.buffer-flush.interval | off | upsert-kafka: keep only the last record of a key until then, see `reduce.rs` |
//! | sink.transactional-id-prefix | none | required for exactly-once: transactional.id and group are `<prefix>-wiesel-<table>` |
//!
//! Metadata columns: topic, partition, headers and timestamp (also written), header-list, offset, timestamp-type, and `value.*` of the
//! format.

pub mod admin;
mod cluster;
mod exactly_once;
mod keys;
mod options;
pub mod peek;
mod properties;
mod reader;
mod reduce;
mod sink;
mod source;

use std::sync::Arc;
use std::time::Duration;

use wiesel_core::options::Options;
use wiesel_core::sink::SinkFactory;
use wiesel_core::source::{RowReader, Source, SourceContext, SourceFactory};
use wiesel_core::table::{ColumnKind, ConnectorInfo, SinkRequest, SourceRequest, TableColumn, TableDescriptor};
use wiesel_core::{ChangelogMode, Error, Field, Result, Schema, TypeKind};
use wiesel_ffi::kafka::ClientKind;

use self::cluster::{ClientSettings, Cluster};
use self::exactly_once::ExactlyOnceFactory;
use self::keys::KeyReader;
use self::options::{Bounded, Delivery, KEY_FORMAT, KafkaOptions, KeyOptions};
use self::reader::{KafkaReader, Metadata, OutputColumn};
use self::sink::KafkaSinkFactory;
use self::source::{KafkaSource, SourceSettings, SplitNames};
use crate::formats::avro::{Registries, SchemaSource};
use crate::formats::{
    DecoderFactory, EncoderFactory, FormatContext, changelog_mode, decoder_factory, encoder_factory, metadata,
};
use crate::registry::{ConnectorContext, columns, schema};

/// Checks every option of the table and says what the connector can do.
pub fn info(table: &TableDescriptor, _context: &ConnectorContext) -> Result<ConnectorInfo> {
    let mut options = Options::new(&table.name, &table.options);
    let kafka = KafkaOptions::read(table, &mut options)?;
    let mut of_format = Vec::new();
    for column in &table.columns {
        if let ColumnKind::Metadata { key, .. } = &column.kind {
            match format_metadata(column, key) {
                Some(field) => of_format.push(field),
                None => drop(Metadata::of_column(&table.name, column, key)?),
            }
        }
    }
    let (values, keys) = (value_columns(table, &kafka), key_columns(table, &kafka));
    let changes = changelog_mode(&mut options, kafka.format_key);
    if kafka.is_upsert {
        refuse_changes_in_upserts(table, kafka.format_key, &mut options)?;
    }
    let context = FormatContext { metadata: of_format, ..value_context(table, &kafka, &values, "UTC") };
    decoder_factory(&mut options, kafka.format_key, context)?;
    let of_format = metadata(&mut options, kafka.format_key).into_iter();
    if let Some(key) = &kafka.key {
        refuse_changes_in_keys(table, &mut options)?;
        decoder_factory(&mut options, KEY_FORMAT, key_context(table, key, &keys, "UTC"))?;
    }
    options.finish()?;
    if !table.primary_key.is_empty() && !kafka.is_upsert && changes == ChangelogMode::Insert {
        return Err(Error::config(format!(
            "table `{}` declares a primary key, which connector 'kafka' cannot guarantee with an insert-only format",
            table.name
        ))
        .hint("leave the PRIMARY KEY away, or use connector 'upsert-kafka'"));
    }
    let changes = if kafka.is_upsert { ChangelogMode::Upsert } else { changes };
    Ok(ConnectorInfo {
        is_source: true,
        is_lookup: false,
        is_bounded: kafka.bounded != Bounded::Unbounded,
        watermark_push_down: true,
        source_mode: changes,
        is_sink: true,
        sink_mode: Some(changes),
        sink_folds_by_key: false,
        delivery: match kafka.delivery {
            Delivery::None => "none",
            Delivery::AtLeastOnce => "at-least-once",
            Delivery::ExactlyOnce(_) => "exactly-once",
        },
        metadata: Metadata::all()
            .into_iter()
            .map(|(_, key, data_type, writable)| (key.to_owned(), data_type, writable))
            .chain(of_format.map(|(key, data_type)| (format!("{VALUE}{key}"), data_type, false)))
            .collect(),
        notes: kafka.properties.notes,
    })
}

/// A source for the table.
pub fn source(
    table: &TableDescriptor,
    request: &SourceRequest,
    context: &ConnectorContext,
) -> Result<Box<dyn SourceFactory>> {
    info(table, context)?;
    let mut options = Options::new(&table.name, &table.options);
    let kafka = KafkaOptions::read(table, &mut options)?;
    let requested = columns(table, &request.columns)?;
    let (mut values, mut output, mut of_format) = (Vec::new(), Vec::new(), Vec::new());
    for (column, index) in requested.iter().zip(&request.columns) {
        let place = kafka.key.as_ref().and_then(|key| key.columns.iter().position(|of| of == index));
        output.push(match (&column.kind, place) {
            (ColumnKind::Metadata { key, .. }, _) => match format_metadata(column, key) {
                Some(field) => {
                    of_format.push((output.len(), field));
                    // Its place is behind the columns of the values, whose number is known below.
                    OutputColumn::Value(0)
                }
                None => {
                    OutputColumn::Metadata(Metadata::of_column(&table.name, column, key)?, column.data_type.clone())
                }
            },
            (ColumnKind::Physical, Some(key)) if !kafka.value_columns.contains(index) => OutputColumn::Key(key),
            (ColumnKind::Physical, place) => {
                values.push(*column);
                let value = values.len() - 1;
                match place.filter(|_| kafka.is_upsert) {
                    Some(key) => OutputColumn::Either { value, key },
                    None => OutputColumn::Value(value),
                }
            }
        });
    }
    let mut metadata = Vec::with_capacity(of_format.len());
    for (index, (place, field)) in of_format.into_iter().enumerate() {
        metadata.push(field);
        if let Some(column) = output.get_mut(place) {
            *column = OutputColumn::Value(values.len() + index);
        }
    }
    let values = FormatContext {
        metadata,
        addresses: context.address_map.clone(),
        ..value_context(table, &kafka, &values, &request.time_zone)
    };
    let decoder = decoder_factory(&mut options, kafka.format_key, values)?;
    let keys = match &kafka.key {
        None => None,
        Some(key) => {
            let keys = key_context(table, key, &key_columns(table, &kafka), &request.time_zone);
            let keys = FormatContext { addresses: context.address_map.clone(), ..keys };
            Some(decoder_factory(&mut options, KEY_FORMAT, keys)?)
        }
    };
    let wants_headers = requested
        .iter()
        .any(|c| matches!(&c.kind, ColumnKind::Metadata { key, .. } if key == "headers" || key == "header-list"));
    Ok(Box::new(KafkaSourceFactory {
        columns: output,
        schema: schema(table, &request.columns)?,
        time_zone: request.time_zone.clone(),
        decoder,
        keys,
        names: SplitNames::default(),
        settings: SourceSettings {
            table: table.name.clone(),
            table_path: table.path.clone(),
            options: kafka,
            address_map: context.address_map.clone(),
            job_name: request.job_name.clone(),
            wants_headers,
        },
    }))
}

/// A sink for the table.
pub fn sink(
    table: &TableDescriptor,
    request: &SinkRequest,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkFactory>> {
    let takes = info(table, context)?.sink_mode.unwrap_or(ChangelogMode::Insert);
    let mut options = Options::new(&table.name, &table.options);
    let kafka = KafkaOptions::read(table, &mut options)?;
    check_sink(table, &kafka, request.changelog_mode, takes)?;
    let requested = columns(table, &request.columns)?;
    let place = |column: &usize| request.columns.iter().position(|of| of == column);
    let physical: Vec<usize> = kafka.value_columns.iter().filter_map(place).collect();
    let (mut timestamp, mut headers) = (None, None);
    for (index, column) in requested.iter().enumerate() {
        match &column.kind {
            ColumnKind::Physical => {}
            ColumnKind::Metadata { key, .. } if key == "timestamp" => {
                if !matches!(column.data_type.kind, TypeKind::TimestampLtz(_)) {
                    return Err(Error::config(format!(
                        "column `{}` of table `{}`: 'timestamp' is written from TIMESTAMP_LTZ, not from {}",
                        column.name, table.name, column.data_type
                    )));
                }
                timestamp = Some(index);
            }
            ColumnKind::Metadata { key, .. } if key == "headers" => headers = Some(index),
            ColumnKind::Metadata { key, .. } => {
                return Err(Error::config(format!(
                    "column `{}` of table `{}`: metadata '{key}' cannot be written",
                    column.name, table.name
                ))
                .hint("declare it as METADATA VIRTUAL"));
            }
        }
    }
    let encoded: Vec<&TableColumn> = physical.iter().map(|index| requested[*index]).collect();
    let values = value_context(table, &kafka, &encoded, &request.time_zone);
    let values = FormatContext { addresses: context.address_map.clone(), ..values };
    let encoder: Arc<dyn EncoderFactory> = encoder_factory(&mut options, kafka.format_key, values)?;
    let keys = match &kafka.key {
        None => None,
        Some(key) => {
            let columns: Vec<usize> = key.columns.iter().filter_map(place).collect();
            let keys = key_context(table, key, &key_columns(table, &kafka), &request.time_zone);
            let keys = FormatContext { addresses: context.address_map.clone(), ..keys };
            Some((columns, encoder_factory(&mut options, KEY_FORMAT, keys)?))
        }
    };
    let delivery = kafka.delivery.clone();
    let factory = KafkaSinkFactory {
        table: table.name.clone(),
        options: kafka,
        address_map: context.address_map.clone(),
        job_name: request.job_name.clone(),
        encoder,
        keys,
        physical,
        timestamp,
        headers,
        hands_over_refused: request.hands_over_refused,
    };
    Ok(match delivery {
        Delivery::ExactlyOnce(prefix) => {
            Box::new(ExactlyOnceFactory::new(factory, &prefix, &request.loop_folder, request.ordinal))
        }
        _ => Box::new(factory),
    })
}

/// Connects to the brokers and checks login and topics. A topic that a sink's broker would create by itself counts as missing here.
pub fn probe(table: &TableDescriptor, as_sink: bool, context: &ConnectorContext) -> Result<()> {
    let mut options = Options::new(&table.name, &table.options);
    let kafka = KafkaOptions::read(table, &mut options)?;
    if as_sink {
        check_sink(table, &kafka, ChangelogMode::Insert, ChangelogMode::Insert)?;
    }
    let cluster = Cluster {
        table: &table.name,
        properties: &kafka.properties,
        address_map: &context.address_map,
        job_name: "check",
    };
    let settings = ClientSettings { defaults: Vec::new(), fixed: Vec::new() };
    let client = cluster.client(ClientKind::Consumer, settings, None)?;
    cluster.topics(&client, &kafka.topics)?;
    if let Some(pattern) = kafka.topic_regex()? {
        cluster.topics_that_match(&client, &pattern)?;
    }
    client.poll(Duration::ZERO);
    Ok(())
}

fn check_sink(
    table: &TableDescriptor,
    options: &KafkaOptions,
    brings: ChangelogMode,
    takes: ChangelogMode,
) -> Result<()> {
    if brings != ChangelogMode::Insert && takes == ChangelogMode::Insert {
        return Err(Error::config(format!(
            "table `{}`: connector 'kafka' takes inserts only with this format, and the query changes rows it has sent",
            table.name
        ))
        .hint("write an updating result to 'upsert-kafka', 'elasticsearch-7' or 'jdbc' with a primary key"));
    }
    if options.topic_pattern.is_some() {
        return Err(Error::config(format!(
            "option 'topic-pattern' of table `{}`: a sink writes to one topic, which 'topic' names",
            table.name
        )));
    }
    if options.topics.len() > 1 {
        return Err(Error::config(format!(
            "option 'topic' of table `{}`: a sink writes to one topic, found {}",
            table.name,
            options.topics.join(";")
        )));
    }
    Ok(())
}

/// Values of upserts say nothing of their kind: the key and the missing value do.
fn refuse_changes_in_upserts(table: &TableDescriptor, key: &str, options: &mut Options<'_>) -> Result<()> {
    if changelog_mode(options, key) == ChangelogMode::Insert {
        return Ok(());
    }
    let name = options.get(key).unwrap_or_default();
    Err(options.invalid(key, name, "a format of rows that says nothing of changes").hint(format!(
        "'upsert-kafka' makes the changes of table `{}` itself; read such records with 'kafka'",
        table.name
    )))
}

fn refuse_changes_in_keys(table: &TableDescriptor, options: &mut Options<'_>) -> Result<()> {
    if changelog_mode(options, KEY_FORMAT) == ChangelogMode::Insert {
        return Ok(());
    }
    let name = options.get(KEY_FORMAT).unwrap_or_default();
    Err(options
        .invalid(KEY_FORMAT, name, "a format of rows that says nothing of changes")
        .hint(format!("keys of table `{}` are rows of their columns, as 'json' writes them", table.name)))
}

/// The columns that values hold.
fn value_columns<'a>(table: &'a TableDescriptor, options: &KafkaOptions) -> Vec<&'a TableColumn> {
    options.value_columns.iter().filter_map(|index| table.columns.get(*index)).collect()
}

/// The columns that keys hold, in their order.
fn key_columns<'a>(table: &'a TableDescriptor, options: &KafkaOptions) -> Vec<&'a TableColumn> {
    let columns = options.key.iter().flat_map(|key| &key.columns);
    columns.filter_map(|index| table.columns.get(*index)).collect()
}

/// What the format of values must know: the columns that are asked for, and all that a value holds.
fn value_context(
    table: &TableDescriptor,
    options: &KafkaOptions,
    columns: &[&TableColumn],
    time_zone: &str,
) -> FormatContext {
    let field = |c: &&TableColumn| Field::new(&c.name, c.data_type.clone());
    FormatContext {
        table: table.name.clone(),
        schema: Schema::new(columns.iter().map(field).collect()),
        record: Schema::new(value_columns(table, options).iter().map(field).collect()),
        metadata: Vec::new(),
        time_zone: time_zone.to_owned(),
        addresses: Vec::new(),
    }
}

/// What stands in front of the metadata of the format of values.
const VALUE: &str = "value.";

/// The metadata of the format that a column asks for.
fn format_metadata(column: &TableColumn, key: &str) -> Option<Field> {
    Some(Field::new(key.strip_prefix(VALUE)?, column.data_type.clone()))
}

/// What the format of keys must know; its fields have the columns' names without the prefix.
fn key_context(table: &TableDescriptor, key: &KeyOptions, columns: &[&TableColumn], time_zone: &str) -> FormatContext {
    let name = |c: &&TableColumn| c.name.strip_prefix(&key.prefix).unwrap_or(&c.name).to_owned();
    let fields = columns.iter().map(|c| Field::new(name(c), c.data_type.clone())).collect();
    FormatContext::whole(&table.name, Schema::new(fields), time_zone)
}

struct KafkaSourceFactory {
    settings: SourceSettings,
    columns: Vec<OutputColumn>,
    schema: Schema,
    time_zone: String,
    decoder: Arc<dyn DecoderFactory>,
    keys: Option<Arc<dyn DecoderFactory>>,
    names: SplitNames,
}

impl SourceFactory for KafkaSourceFactory {
    fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let source = Box::new(KafkaSource::open(self.settings.clone(), &context, self.names.clone())?);
        let registries =
            Registries { values: self.decoder.registry(), keys: self.keys.as_ref().and_then(|keys| keys.registry()) };
        if registries.is_empty() {
            return Ok(source);
        }
        Ok(Box::new(SchemaSource::new(source, registries, context.cache_folder.as_deref())))
    }

    fn reader(&self) -> Result<Option<Box<dyn RowReader>>> {
        let is_upsert = self.settings.options.is_upsert;
        let keys = self.keys.as_ref().map(|keys| Ok::<_, Error>(KeyReader::new(keys.create()?, is_upsert)));
        let reader = KafkaReader::new(
            self.decoder.create()?,
            keys.transpose()?,
            self.columns.clone(),
            self.schema.clone(),
            self.names.clone(),
            &self.time_zone,
        )?;
        Ok(Some(Box::new(reader)))
    }
}
