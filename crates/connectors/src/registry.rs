//! The registry: from a table descriptor to its connector. A plain sorted list; a connector is the four functions of its module.
//!
//! A connector that Flink has and wiesel does not is refused by its own name, so nobody has to guess whether a name was mistyped.

use wiesel_core::diagnostic::nearest;
use wiesel_core::lookup::{LookupFactory, LookupRequest};
use wiesel_core::options::{Options, WATERMARK_EMIT_STRATEGY, WATERMARK_IDLE_TIMEOUT};
use wiesel_core::sink::SinkFactory;
use wiesel_core::source::SourceFactory;
use wiesel_core::table::{
    ColumnKind, ConnectorInfo, ConnectorRegistry, SinkRequest, SourceRequest, TableColumn, TableDescriptor,
};
use wiesel_core::{Error, ErrorKind, Field, Result, Schema};

#[cfg(feature = "kafka")]
use crate::kafka;
use crate::{blackhole, datagen, elasticsearch, filesystem, jdbc, nexmark, print};

/// What connectors need to know about the program around them.
#[derive(Debug, Clone, Default)]
pub struct ConnectorContext {
    /// `wiesel run --map FROM=TO`: where FROM (`kafka:9092`) really listens. Holds for Elasticsearch hosts, JDBC URLs and Kafka
    /// brokers, the advertised ones included.
    pub address_map: Vec<(String, String)>,
}

impl ConnectorContext {
    /// The address to connect to for `host:port`.
    pub fn map_address(&self, address: &str) -> String {
        let mapped = self.address_map.iter().find(|(from, _)| from.eq_ignore_ascii_case(address));
        mapped.map_or_else(|| address.to_owned(), |(_, to)| to.clone())
    }
}

/// `info` of a connector module.
type InfoFunction = fn(&TableDescriptor, &ConnectorContext) -> Result<ConnectorInfo>;
/// `source` of a connector module.
type SourceFunction = fn(&TableDescriptor, &SourceRequest, &ConnectorContext) -> Result<Box<dyn SourceFactory>>;
/// `sink` of a connector module.
type SinkFunction = fn(&TableDescriptor, &SinkRequest, &ConnectorContext) -> Result<Box<dyn SinkFactory>>;
/// `lookup` of a connector module.
type LookupFunction = fn(&TableDescriptor, &LookupRequest, &ConnectorContext) -> Result<Box<dyn LookupFactory>>;
/// `probe` of a connector module.
type ProbeFunction = fn(&TableDescriptor, bool, &ConnectorContext) -> Result<()>;

/// One connector.
struct Connector {
    name: &'static str,
    info: InfoFunction,
    source: Option<SourceFunction>,
    sink: Option<SinkFunction>,
    lookup: Option<LookupFunction>,
    probe: ProbeFunction,
}

/// The connectors, sorted by name.
const CONNECTORS: &[Connector] = &[
    Connector {
        name: "blackhole",
        info: blackhole::info,
        source: None,
        sink: Some(blackhole::sink),
        lookup: None,
        probe: blackhole::probe,
    },
    Connector {
        name: "datagen",
        info: datagen::info,
        source: Some(datagen::source),
        sink: None,
        lookup: None,
        probe: datagen::probe,
    },
    Connector {
        name: "elasticsearch-6",
        info: elasticsearch::info,
        source: None,
        sink: Some(elasticsearch::sink),
        lookup: None,
        probe: elasticsearch::probe,
    },
    Connector {
        name: "elasticsearch-7",
        info: elasticsearch::info,
        source: None,
        sink: Some(elasticsearch::sink),
        lookup: None,
        probe: elasticsearch::probe,
    },
    Connector {
        name: "elasticsearch-8",
        info: elasticsearch::info,
        source: None,
        sink: Some(elasticsearch::sink),
        lookup: None,
        probe: elasticsearch::probe,
    },
    Connector {
        name: "filesystem",
        info: filesystem::info,
        source: Some(filesystem::source),
        sink: Some(filesystem::sink),
        lookup: None,
        probe: filesystem::probe,
    },
    Connector {
        name: "jdbc",
        info: jdbc::info,
        source: Some(jdbc::source),
        sink: Some(jdbc::sink),
        lookup: Some(jdbc::lookup),
        probe: jdbc::probe,
    },
    #[cfg(feature = "kafka")]
    Connector {
        name: "kafka",
        info: kafka::info,
        source: Some(kafka::source),
        sink: Some(kafka::sink),
        lookup: None,
        probe: kafka::probe,
    },
    Connector {
        name: "nexmark",
        info: nexmark::info,
        source: Some(nexmark::source),
        sink: None,
        lookup: None,
        probe: nexmark::probe,
    },
    Connector {
        name: "opensearch",
        info: elasticsearch::info,
        source: None,
        sink: Some(elasticsearch::sink),
        lookup: None,
        probe: elasticsearch::probe,
    },
    Connector {
        name: "opensearch-2",
        info: elasticsearch::info,
        source: None,
        sink: Some(elasticsearch::sink),
        lookup: None,
        probe: elasticsearch::probe,
    },
    Connector {
        name: "print",
        info: print::info,
        source: None,
        sink: Some(print::sink),
        lookup: None,
        probe: print::probe,
    },
    #[cfg(feature = "kafka")]
    Connector {
        name: "upsert-kafka",
        info: kafka::info,
        source: Some(kafka::source),
        sink: Some(kafka::sink),
        lookup: None,
        probe: kafka::probe,
    },
];

/// Connectors that Flink has and wiesel does not, each with what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("hbase-1.4", "the nearest sink is 'jdbc' with a primary key"),
    ("hbase-2.2", "the nearest sink is 'jdbc' with a primary key"),
    ("iceberg", "write Parquet files with 'filesystem'"),
    ("kinesis", "read from 'kafka'"),
    ("mongodb", "the nearest sink is 'jdbc' with a primary key"),
    ("mysql-cdc", "read the change stream from 'kafka'"),
    ("postgres-cdc", "read the change stream from 'kafka'"),
    ("python-input-format", "declare the data as a table of a supported connector"),
    ("raw", "'raw' is a format, not a connector"),
];

/// The registry of all connectors that this program was built with.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    context: ConnectorContext,
}

impl Registry {
    /// A registry whose connectors know `context`.
    pub fn new(context: ConnectorContext) -> Self {
        Registry { context }
    }

    /// The names of the connectors, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CONNECTORS.iter().map(|c| c.name)
    }
}

fn find(table: &TableDescriptor) -> Result<&'static Connector> {
    let Some(name) = table.options.get("connector") else {
        return Err(Error::config(format!("table `{}` has no option 'connector'", table.name))
            .hint("add 'connector' = '...' to its WITH list"));
    };
    if let Some(connector) = CONNECTORS.iter().find(|c| c.name == name) {
        return Ok(connector);
    }
    if matches!(name.as_str(), "kafka" | "upsert-kafka") {
        return Err(unsupported(format!(
            "table `{}`: this program was built without the connector '{name}'",
            table.name
        ))
        .hint("install libssl-dev and a C compiler, and build with the cargo feature `kafka`"));
    }
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| refused == name) {
        return Err(
            unsupported(format!("table `{}`: connector '{name}' is not supported yet", table.name)).hint(*instead)
        );
    }
    let known: Vec<&str> = Registry::names().collect();
    let error =
        Error::config(format!("table `{}`: unknown connector '{name}', known are {}", table.name, known.join(", ")));
    Err(match nearest(name, known) {
        Some(nearest) => error.hint(format!("did you mean '{nearest}'?")),
        None => error,
    })
}

impl ConnectorRegistry for Registry {
    fn info(&self, table: &TableDescriptor) -> Result<ConnectorInfo> {
        let connector = find(table)?;
        refuse_settings(table, connector.name)?;
        check_watermark_options(table)?;
        (connector.info)(table, &self.context)
    }

    fn source(&self, table: &TableDescriptor, request: &SourceRequest) -> Result<Box<dyn SourceFactory>> {
        let connector = find(table)?;
        let Some(source) = connector.source else {
            return Err(Error::config(format!(
                "table `{}` cannot be read: connector '{}' only writes",
                table.name, connector.name
            )));
        };
        source(table, request, &self.context)
    }

    fn sink(&self, table: &TableDescriptor, request: &SinkRequest) -> Result<Box<dyn SinkFactory>> {
        let connector = find(table)?;
        let Some(sink) = connector.sink else {
            return Err(Error::config(format!(
                "table `{}` cannot be written: connector '{}' only reads",
                table.name, connector.name
            )));
        };
        sink(table, request, &self.context)
    }

    fn lookup(&self, table: &TableDescriptor, request: &LookupRequest) -> Result<Box<dyn LookupFactory>> {
        let connector = find(table)?;
        let Some(lookup) = connector.lookup else {
            return Err(Error::config(format!(
                "table `{}` cannot be the right side of a lookup join: connector '{}' does not answer for single keys",
                table.name, connector.name
            ))
            .hint("tables of connector 'jdbc' can be looked up"));
        };
        lookup(table, request, &self.context)
    }

    fn probe(&self, table: &TableDescriptor, as_sink: bool) -> Result<()> {
        (find(table)?.probe)(table, as_sink, &self.context)
    }
}

/// Checks the options `scan.watermark.*`, which the planner reads.
fn check_watermark_options(table: &TableDescriptor) -> Result<()> {
    let mut options = Options::new(&table.name, &table.options);
    for key in ["group", "max-drift", "update-interval"].map(|key| format!("scan.watermark.alignment.{key}")) {
        if options.get(&key).is_some() {
            return Err(options.unsupported(&key, "sources are read without regard to one another's watermarks"));
        }
    }
    options.duration(WATERMARK_IDLE_TIMEOUT)?;
    options.one_of(WATERMARK_EMIT_STRATEGY, &["on-periodic", "on-event"])?;
    Ok(())
}

/// Whether a connector writes documents.
fn is_elasticsearch(connector: &str) -> bool {
    connector.starts_with("elasticsearch-") || connector.starts_with("opensearch")
}

/// Refuses `SET 'wiesel.sink.<table>.*'` where the connector cannot do it.
fn refuse_settings(table: &TableDescriptor, connector: &str) -> Result<()> {
    let (name, settings) = (&table.name, table.sink_settings);
    if settings.exactly_once && !matches!(connector, "filesystem" | "jdbc") {
        let hint = match connector {
            "kafka" | "upsert-kafka" => {
                "a kafka table says it as in Flink: 'sink.delivery-guarantee' = 'exactly-once' in its WITH list"
            }
            name if is_elasticsearch(name) => {
                "Elasticsearch has no transactions; the nearest is 'wiesel.sink.<table>.versioned'"
            }
            _ => "exactly-once are 'filesystem', 'jdbc' and 'kafka'",
        };
        return Err(Error::config(format!(
            "setting 'wiesel.sink.{name}.delivery': connector '{connector}' cannot deliver exactly-once by it"
        ))
        .hint(hint));
    }
    if settings.versioned && !is_elasticsearch(connector) {
        return Err(Error::config(format!(
            "setting 'wiesel.sink.{name}.versioned': connector '{connector}' has no versions of rows"
        ))
        .hint("versions are Elasticsearch's; 'jdbc' has 'wiesel.sink.<table>.delivery' = 'exactly-once'"));
    }
    Ok(())
}

/// The error for something that Flink has and wiesel does not.
pub(crate) fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::Config, "W0503", message)
}

/// Refuses metadata columns, for connectors that have none.
pub(crate) fn refuse_metadata(table: &TableDescriptor) -> Result<()> {
    for column in &table.columns {
        if let ColumnKind::Metadata { key, .. } = &column.kind {
            let connector = table.options.get("connector").map_or("", String::as_str);
            return Err(Error::config(format!(
                "column `{}` of table `{}`: connector '{connector}' has no metadata '{key}'",
                column.name, table.name
            ))
            .hint("leave METADATA away to make it a physical column"));
        }
    }
    Ok(())
}

/// The columns at `indices` of a table, in that order.
pub(crate) fn columns<'a>(table: &'a TableDescriptor, indices: &[usize]) -> Result<Vec<&'a TableColumn>> {
    indices
        .iter()
        .map(|i| {
            table.columns.get(*i).ok_or_else(|| Error::internal(format!("table `{}` has no column {i}", table.name)))
        })
        .collect()
}

/// The schema of the columns at `indices` of a table.
pub(crate) fn schema(table: &TableDescriptor, indices: &[usize]) -> Result<Schema> {
    let columns = columns(table, indices)?;
    Ok(Schema::new(columns.into_iter().map(|c| Field::new(&c.name, c.data_type.clone())).collect()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use wiesel_core::DataType;

    use super::*;

    /// A table for tests.
    pub(crate) fn table(columns: &[(&str, DataType)], key: &[&str], options: &[(&str, &str)]) -> TableDescriptor {
        TableDescriptor {
            name: "t".to_owned(),
            path: "default_catalog.default_database.t".to_owned(),
            columns: columns
                .iter()
                .map(|(name, data_type)| TableColumn {
                    name: (*name).to_owned(),
                    data_type: data_type.clone(),
                    kind: ColumnKind::Physical,
                })
                .collect(),
            primary_key: key.iter().map(|k| (*k).to_owned()).collect(),
            partition_keys: Vec::new(),
            options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
            sink_settings: Default::default(),
        }
    }

    #[test]
    fn the_lists_of_connectors_are_sorted() {
        assert!(CONNECTORS.is_sorted_by_key(|c| c.name));
        assert!(REFUSED.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn a_connector_that_is_not_there_is_refused_with_what_to_do() {
        let cases: &[(&str, &str, &str)] = &[
            ("prnt", "unknown connector 'prnt'", "did you mean 'print'?"),
            ("mongodb", "connector 'mongodb' is not supported yet", "jdbc"),
        ];
        for (name, message, hint) in cases {
            let error = Registry::default().info(&table(&[], &[], &[("connector", name)])).unwrap_err();
            assert!(error.message().contains(message), "{error}");
            assert!(error.hint_text().unwrap_or_default().contains(hint), "{error}");
        }
        assert!(Registry::default().info(&table(&[], &[], &[])).is_err());
    }

    #[test]
    fn an_address_is_mapped_as_a_whole() {
        let map = vec![("kafka:9092".to_owned(), "127.0.0.1:19092".to_owned())];
        let context = ConnectorContext { address_map: map };
        assert_eq!(context.map_address("Kafka:9092"), "127.0.0.1:19092");
        assert_eq!(context.map_address("kafka:9093"), "kafka:9093");
    }
}
