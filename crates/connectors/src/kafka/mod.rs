//! kafka: topics as tables, read by all workers and written by all workers.
//!
//! **Source.** Splits are partitions, assigned by the job itself: a foreign member of the same group has no effect. A checkpoint holds the
//! offset of each partition's next record, so every record counts exactly once in the job's state. When a checkpoint is complete its
//! offsets are committed to the group, if 'properties.group.id' names one, for others to look at; a restart never reads them. Order holds
//! within a partition. A position that retention has removed is an error that names the lost range, unless
//! 'properties.auto.offset.reset' says where to go on. (Flink goes on silently.)
//!
//! **Sink.** Append-only. Exactly-once on request (`exactly_once.rs`): records appear at checkpoints. Else at-least-once: a checkpoint is complete when every record before it is acknowledged by all in-sync replicas;
//! records after the last checkpoint are written again after a crash. Retries inside neither repeat nor reorder records. Order holds from
//! one worker to one partition.
//!
//! | option | default | |
//! |---|---|---|
//! | topic | required | one topic, or for a source several with `;` |
//! | properties.bootstrap.servers | required | the broker list |
//! | properties.group.id | KafkaSource-(table), nothing committed | the group whose offsets are read and committed |
//! | properties.auto.offset.reset | none | where to start without a committed offset, and after a lost one |
//! | properties.* | | Java client's or librdkafka's names, see `properties.rs` |
//! | format, value.format | required | the format of values |
//! | scan.startup.mode | group-offsets | earliest-offset, latest-offset, group-offsets, timestamp, specific-offsets |
//! | scan.startup.timestamp-millis, scan.startup.specific-offsets | | what the mode needs |
//! | scan.bounded.mode | unbounded | latest-offset, group-offsets, timestamp, specific-offsets; ends are found at the first start and kept by checkpoints |
//! | scan.bounded.timestamp-millis, scan.bounded.specific-offsets | | what the mode needs |
//! | scan.topic-partition-discovery.interval | 5 min | how often new partitions are looked for (every 30 s at least); 0 never |
//! | sink.partitioner | default | default, fixed, round-robin |
//! | sink.delivery-guarantee | at-least-once | at-least-once, none, exactly-once |
//! | sink.transactional-id-prefix | none | required for exactly-once: transactional.id and group are `<prefix>-wiesel-<table>` |
//!
//! Metadata columns: topic, partition, headers, offset, timestamp (also written), timestamp-type.

pub mod admin;
mod cluster;
mod exactly_once;
mod options;
mod properties;
mod reader;
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
use self::options::{Bounded, Delivery, KafkaOptions};
use self::reader::{KafkaReader, Metadata};
use self::sink::KafkaSinkFactory;
use self::source::{KafkaSource, SourceSettings, SplitNames};
use crate::formats::{DecoderFactory, EncoderFactory, FormatContext, decoder_factory, encoder_factory};
use crate::registry::{ConnectorContext, columns, schema};

/// Checks every option of the table and says what the connector can do.
pub fn info(table: &TableDescriptor, _context: &ConnectorContext) -> Result<ConnectorInfo> {
    let mut options = Options::new(&table.name, &table.options);
    let kafka = KafkaOptions::read(table, &mut options)?;
    for column in &table.columns {
        if let ColumnKind::Metadata { key, .. } = &column.kind {
            Metadata::of_column(&table.name, column, key)?;
        }
    }
    let physical: Vec<&TableColumn> = table.columns.iter().filter(|c| c.kind == ColumnKind::Physical).collect();
    decoder_factory(&mut options, kafka.format_key, format_context(table, &physical, "UTC"))?;
    options.finish()?;
    if !table.primary_key.is_empty() {
        return Err(Error::config(format!(
            "table `{}` declares a primary key, which connector 'kafka' cannot guarantee with an insert-only format",
            table.name
        ))
        .hint("leave the PRIMARY KEY away"));
    }
    Ok(ConnectorInfo {
        is_source: true,
        is_lookup: false,
        is_bounded: kafka.bounded != Bounded::Unbounded,
        watermark_push_down: true,
        source_mode: ChangelogMode::Insert,
        is_sink: true,
        sink_mode: Some(ChangelogMode::Insert),
        sink_folds_by_key: false,
        delivery: match kafka.delivery {
            Delivery::None => "none",
            Delivery::AtLeastOnce => "at-least-once",
            Delivery::ExactlyOnce(_) => "exactly-once",
        },
        metadata: Metadata::all()
            .into_iter()
            .map(|(_, key, data_type, writable)| (key.to_owned(), data_type, writable))
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
    let physical: Vec<&TableColumn> = requested.iter().copied().filter(|c| c.kind == ColumnKind::Physical).collect();
    let decoder =
        decoder_factory(&mut options, kafka.format_key, format_context(table, &physical, &request.time_zone))?;
    let wants_headers =
        requested.iter().any(|c| matches!(&c.kind, ColumnKind::Metadata { key, .. } if key == "headers"));
    Ok(Box::new(KafkaSourceFactory {
        columns: requested.into_iter().cloned().collect(),
        schema: schema(table, &request.columns)?,
        time_zone: request.time_zone.clone(),
        decoder,
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
    info(table, context)?;
    let mut options = Options::new(&table.name, &table.options);
    let kafka = KafkaOptions::read(table, &mut options)?;
    check_sink(table, &kafka, request.changelog_mode)?;
    let requested = columns(table, &request.columns)?;
    let (mut physical, mut timestamp) = (Vec::new(), None);
    for (index, column) in requested.iter().enumerate() {
        match &column.kind {
            ColumnKind::Physical => physical.push(index),
            ColumnKind::Metadata { key, .. } if key == "timestamp" => {
                if !matches!(column.data_type.kind, TypeKind::TimestampLtz(_)) {
                    return Err(Error::config(format!(
                        "column `{}` of table `{}`: 'timestamp' is written from TIMESTAMP_LTZ, not from {}",
                        column.name, table.name, column.data_type
                    )));
                }
                timestamp = Some(index);
            }
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
    let encoder: Arc<dyn EncoderFactory> =
        encoder_factory(&mut options, kafka.format_key, format_context(table, &encoded, &request.time_zone))?;
    let delivery = kafka.delivery.clone();
    let factory = KafkaSinkFactory {
        table: table.name.clone(),
        options: kafka,
        address_map: context.address_map.clone(),
        job_name: request.job_name.clone(),
        encoder,
        physical,
        timestamp,
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
        check_sink(table, &kafka, ChangelogMode::Insert)?;
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
    client.poll(Duration::ZERO);
    Ok(())
}

fn check_sink(table: &TableDescriptor, options: &KafkaOptions, changelog_mode: ChangelogMode) -> Result<()> {
    if changelog_mode != ChangelogMode::Insert {
        return Err(Error::config(format!(
            "table `{}`: connector 'kafka' takes inserts only, and the query changes rows it has sent",
            table.name
        ))
        .hint("write an updating result to 'elasticsearch-7' or to 'jdbc' with a primary key"));
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

/// What the format must know: the columns that are asked for, and all that a record holds.
fn format_context(table: &TableDescriptor, columns: &[&TableColumn], time_zone: &str) -> FormatContext {
    let field = |c: &TableColumn| Field::new(&c.name, c.data_type.clone());
    let record = table.columns.iter().filter(|c| c.kind == ColumnKind::Physical).map(field).collect();
    FormatContext {
        table: table.name.clone(),
        schema: Schema::new(columns.iter().map(|c| field(c)).collect()),
        record: Schema::new(record),
        time_zone: time_zone.to_owned(),
    }
}

struct KafkaSourceFactory {
    settings: SourceSettings,
    columns: Vec<TableColumn>,
    schema: Schema,
    time_zone: String,
    decoder: Arc<dyn DecoderFactory>,
    names: SplitNames,
}

impl SourceFactory for KafkaSourceFactory {
    fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let source = KafkaSource::open(self.settings.clone(), &context, self.names.clone())?;
        Ok(Box::new(source))
    }

    fn reader(&self) -> Result<Option<Box<dyn RowReader>>> {
        let columns: Vec<&TableColumn> = self.columns.iter().collect();
        let reader = KafkaReader::new(
            self.decoder.create()?,
            &self.settings.table,
            &columns,
            self.schema.clone(),
            self.names.clone(),
            &self.time_zone,
        )?;
        Ok(Some(Box::new(reader)))
    }
}
