//! The WITH keys of Elasticsearch and OpenSearch tables.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wiesel_core::options::Options;
use wiesel_core::table::TableDescriptor;
use wiesel_core::{Error, Result, Schema, TypeKind};

use super::index::Index;
use crate::formats::{EncoderFactory, FormatContext, encoder_factory};
use crate::registry::{ConnectorContext, refuse_metadata};

/// Actions of a bulk when `sink.bulk-flush.max-actions` is 0.
const BULK_ACTIONS_MAX: usize = 10_000;
/// Bytes of a bulk when `sink.bulk-flush.max-size` is 0; the server itself takes 100 MB at most.
const BULK_BYTES_MAX: usize = 16 << 20;
/// The first pause of a back-off that says none.
const BACKOFF_DELAY_DEFAULT: Duration = Duration::from_millis(50);
/// Retries of a back-off whose strategy is set without a count, as in Elasticsearch's own bulk processor.
const BACKOFF_RETRIES_DEFAULT: u32 = 8;
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const SOCKET_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Where and as whom to connect.
#[derive(Clone)]
pub(super) struct Connection {
    /// The hosts as the table names them, for messages, each with the address to really use: both `http://host:port`.
    pub(super) hosts: Vec<(String, String)>,
    /// Path before every request: empty, or with a leading and without a trailing slash.
    pub(super) path_prefix: String,
    /// The Authorization header; a secret.
    pub(super) authorization: Option<String>,
    /// How long connecting may take.
    pub(super) connect_timeout: Duration,
    /// How long an answer may take.
    pub(super) socket_timeout: Duration,
}

/// What happens to changes that the server cannot take just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    /// Whether the pause stays the same.
    pub(super) is_constant: bool,
    /// The first pause.
    pub(super) delay: Duration,
    /// How often it is tried again; `None` = until it works.
    pub(super) retries_max: Option<u32>,
}

/// An Elasticsearch or OpenSearch table.
pub(super) struct ElasticsearchOptions {
    pub(super) connection: Connection,
    pub(super) index: Index,
    /// elasticsearch-6: the type of every document.
    pub(super) document_type: Option<String>,
    pub(super) key_delimiter: String,
    pub(super) bulk_actions_max: usize,
    pub(super) bulk_bytes_max: usize,
    /// How long a change may wait for others; `None` = until the bulk is full or a checkpoint comes.
    pub(super) flush_interval_ms: Option<i64>,
    /// How many buffered changes, and bytes, start a bulk before the interval ends.
    pub(super) flush_actions: Option<usize>,
    pub(super) flush_bytes: Option<usize>,
    pub(super) backoff: Backoff,
    pub(super) flushes_on_checkpoint: bool,
    pub(super) retry_on_conflict: Option<u32>,
    pub(super) encoder: Arc<dyn EncoderFactory>,
    pub(super) notes: Vec<String>,
}

impl ElasticsearchOptions {
    /// Reads and checks all options; documents will hold the columns of `schema`.
    pub(super) fn read(
        table: &TableDescriptor,
        schema: Schema,
        time_zone: &str,
        context: &ConnectorContext,
    ) -> Result<Self> {
        refuse_metadata(table)?;
        check_key(table)?;
        let mut values = table.options.clone();
        values.entry("format".to_owned()).or_insert_with(|| "json".to_owned());
        let mut options = Options::new(&table.name, &values);
        let mut notes = Vec::new();
        refuse_later(&mut options)?;
        let connection = read_connection(&mut options, context, &mut notes)?;
        let index = Index::read(&mut options, &schema, time_zone)?;
        let document_type = read_of_version(connector(table), &mut options, &mut notes)?;
        let key_delimiter = options.get("document-id.key-delimiter").unwrap_or("_").to_owned();
        let flush_actions = match options.integer("sink.bulk-flush.max-actions")? {
            None => Some(1000),
            Some(-1 | 0) => None,
            Some(n) => Some(usize::try_from(n).map_err(|_| {
                options.invalid("sink.bulk-flush.max-actions", &n.to_string(), "a number, 0 for no limit")
            })?),
        };
        let flush_bytes = match options.memory_size("sink.bulk-flush.max-size")? {
            None => Some(2 << 20),
            Some(0) => None,
            Some(n) => Some(usize::try_from(n).unwrap_or(BULK_BYTES_MAX)),
        };
        let interval = options.duration("sink.bulk-flush.interval")?.unwrap_or(Duration::from_secs(1));
        let flush_interval_ms = i64::try_from(interval.as_millis()).ok().filter(|ms| *ms > 0);
        let backoff = read_backoff(&mut options, &mut notes)?;
        let guarantee = options.one_of("sink.delivery-guarantee", &["none", "at-least-once"])?;
        let flush_on_checkpoint = options.boolean("sink.flush-on-checkpoint", true)?;
        let retry_on_conflict = match options.integer("sink.retry-on-conflicts")? {
            None | Some(-1) => None,
            Some(n) => Some(u32::try_from(n).map_err(|_| {
                options.invalid("sink.retry-on-conflicts", &n.to_string(), "a number of retries, or -1")
            })?),
        };
        if options.integer("sink.parallelism")?.is_some() {
            notes.push(
                "option 'sink.parallelism' has no effect: every worker has its own instance of the sink".to_owned(),
            );
        }
        if let Some(name @ ("avro" | "avro-confluent" | "csv" | "raw")) = options.get("format") {
            return Err(Error::config(format!(
                "format '{name}' of table `{}` makes no JSON documents, which Elasticsearch takes",
                table.name
            ))
            .hint("use 'json'"));
        }
        let format = FormatContext::whole(&table.name, schema, time_zone);
        let encoder = encoder_factory(&mut options, "format", format)?;
        options.finish()?;
        Ok(ElasticsearchOptions {
            connection,
            index,
            document_type,
            key_delimiter,
            bulk_actions_max: flush_actions.unwrap_or(BULK_ACTIONS_MAX),
            bulk_bytes_max: flush_bytes.unwrap_or(BULK_BYTES_MAX).min(64 << 20),
            flush_interval_ms,
            flush_actions,
            flush_bytes,
            backoff,
            flushes_on_checkpoint: flush_on_checkpoint && guarantee != Some("none"),
            retry_on_conflict,
            encoder,
            notes,
        })
    }
}

/// The connector's name.
fn connector(table: &TableDescriptor) -> &str {
    table.options.get("connector").map_or("elasticsearch-7", String::as_str)
}

/// What one of the connectors has that the others have not; the type of documents, where there is one.
fn read_of_version(connector: &str, options: &mut Options<'_>, notes: &mut Vec<String>) -> Result<Option<String>> {
    match connector {
        "elasticsearch-6" => {
            let name = options.required("document-type")?;
            if name.is_empty() || name.starts_with('_') || name.contains([',', '"', '\\']) {
                return Err(options.invalid("document-type", name, "a name that does not begin with `_`"));
            }
            return Ok(Some(name.to_owned()));
        }
        "elasticsearch-8" => {
            for key in ["sink.bulk-flush.max-buffered-actions", "sink.bulk-flush.max-in-flight-actions"] {
                if options.integer(key)?.is_some() {
                    notes.push(format!("option '{key}' has no effect: one bulk is under way at a time"));
                }
            }
            let key = "ssl.certificate-fingerprint";
            if options.get(key).is_some() {
                return Err(options.unsupported(key, "the server's certificate has to be signed by a public authority"));
            }
        }
        "opensearch" | "opensearch-2" => {
            let key = "allow-insecure";
            if options.boolean(key, false)? {
                return Err(options.unsupported(key, "the server's certificate is checked"));
            }
        }
        _ => {}
    }
    Ok(None)
}

fn refuse_later(options: &mut Options<'_>) -> Result<()> {
    if let Some(handler) = options.get("failure-handler")
        && handler != "fail"
    {
        let instead = "a refused document ends the job, as with 'fail'; leave the option away";
        return Err(options.unsupported("failure-handler", instead));
    }
    for key in ["index.suffix.field.name", "index.suffix.field.length"] {
        if options.get(key).is_some() {
            return Err(options.unsupported(key, "name one index with 'index'"));
        }
    }
    Ok(())
}

fn read_connection(
    options: &mut Options<'_>,
    context: &ConnectorContext,
    notes: &mut Vec<String>,
) -> Result<Connection> {
    let text = options.required("hosts")?;
    let mut hosts = Vec::new();
    for host in text.split(';').map(str::trim).filter(|h| !h.is_empty()) {
        hosts.push(read_host(host, context).ok_or_else(|| {
            // A host with user and password in it must not be shown.
            let shown = host.rsplit('@').next().unwrap_or_default();
            options
                .invalid("hosts", shown, "`http://host:port` or several, separated by `;`")
                .hint("user and password go into 'username' and 'password', a path into 'connection.path-prefix'")
        })?);
    }
    if hosts.is_empty() {
        return Err(options.invalid("hosts", text, "at least one `http://host:port`"));
    }
    let path = options.get("connection.path-prefix").unwrap_or_default().trim_matches('/');
    let path_prefix = if path.is_empty() { String::new() } else { format!("/{path}") };
    let (username, password) = (options.get("username"), options.get("password"));
    let authorization = match (username, password) {
        (None, None) => None,
        (Some(user), Some(password)) => {
            use base64::Engine as _;
            let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            Some(format!("Basic {credentials}"))
        }
        _ => return Err(Error::config("options 'username' and 'password' go together, one of them is missing")),
    };
    if options.duration("connection.request-timeout")?.is_some() {
        notes.push(
            "option 'connection.request-timeout' has no effect: there is no pool of connections to wait for".to_owned(),
        );
    }
    Ok(Connection {
        hosts,
        path_prefix,
        authorization,
        connect_timeout: options.duration("connection.timeout")?.unwrap_or(CONNECT_TIMEOUT_DEFAULT),
        socket_timeout: options.duration("socket.timeout")?.unwrap_or(SOCKET_TIMEOUT_DEFAULT),
    })
}

/// The host as named and as mapped.
fn read_host(text: &str, context: &ConnectorContext) -> Option<(String, String)> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let rest = rest.trim_end_matches('/');
    let (name, port) = rest.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let is_address = name.starts_with('[') && name.ends_with(']');
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !matches!(scheme.as_str(), "http" | "https") || !(is_address || is_name) {
        return None;
    }
    let mapped = context.map_address(&format!("{name}:{port}"));
    Some((format!("{scheme}://{name}:{port}"), format!("{scheme}://{mapped}")))
}

fn read_backoff(options: &mut Options<'_>, notes: &mut Vec<String>) -> Result<Backoff> {
    let prefix = "sink.bulk-flush.backoff";
    let strategy = options.one_of(&format!("{prefix}.strategy"), &["DISABLED", "CONSTANT", "EXPONENTIAL"])?;
    let retries_key = format!("{prefix}.max-retries");
    let retries = match options.integer(&retries_key)? {
        None => None,
        Some(n) => {
            Some(u32::try_from(n).map_err(|_| options.invalid(&retries_key, &n.to_string(), "a number of retries"))?)
        }
    };
    let delay = options.duration(&format!("{prefix}.delay"))?;
    if strategy.is_none() && (retries.is_some() || delay.is_some()) {
        notes.push(format!(
            "options '{prefix}.delay' and '.max-retries' without '{prefix}.strategy': newer Flink refuses them, here \
             changes that the server cannot take now are retried with exponential back-off"
        ));
    }
    let delay = delay.unwrap_or(BACKOFF_DELAY_DEFAULT).max(Duration::from_millis(1));
    Ok(match strategy {
        Some("DISABLED") => Backoff { is_constant: true, delay, retries_max: Some(0) },
        Some(name) => Backoff {
            is_constant: name == "CONSTANT",
            delay,
            retries_max: Some(retries.unwrap_or(BACKOFF_RETRIES_DEFAULT)),
        },
        None => Backoff { is_constant: false, delay, retries_max: retries },
    })
}

/// Refuses key columns whose values make no document id.
fn check_key(table: &TableDescriptor) -> Result<()> {
    let types: BTreeMap<&str, &TypeKind> = table.columns.iter().map(|c| (c.name.as_str(), &c.data_type.kind)).collect();
    for name in &table.primary_key {
        let Some(kind) = types.get(name.as_str()) else {
            return Err(Error::config(format!("primary key column `{name}` is no column of table `{}`", table.name)));
        };
        if matches!(
            kind,
            TypeKind::Array(_)
                | TypeKind::Map(..)
                | TypeKind::Multiset(_)
                | TypeKind::Row(_)
                | TypeKind::Binary(_)
                | TypeKind::VarBinary(_)
        ) {
            return Err(Error::config(format!(
                "primary key column `{name}` of table `{}` is {kind}, which connector '{}' cannot turn into a document id",
                table.name,
                connector(table)
            ))
            .hint("use key columns of a scalar type, or CAST them to STRING"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wiesel_core::DataType;

    use super::*;
    use crate::registry::tests::table;

    fn read(options: &[(&str, &str)]) -> Result<ElasticsearchOptions> {
        let mut all = BTreeMap::from([("connector", "elasticsearch-7"), ("hosts", "http://es:9200"), ("index", "i")]);
        all.extend(options.iter().copied());
        let all: Vec<(&str, &str)> = all.into_iter().collect();
        let table = table(&[("k", DataType::string())], &["k"], &all);
        let map = vec![("es:9200".to_owned(), "127.0.0.1:19200".to_owned())];
        let schema = crate::registry::schema(&table, &[0]).unwrap();
        ElasticsearchOptions::read(&table, schema, "UTC", &ConnectorContext { address_map: map })
    }

    #[test]
    fn hosts_are_mapped_and_keep_their_names_for_messages() {
        let options =
            read(&[("hosts", "http://es:9200;https://b.example:443/"), ("connection.path-prefix", "x/")]).unwrap();
        let expected =
            [("http://es:9200", "http://127.0.0.1:19200"), ("https://b.example:443", "https://b.example:443")];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(options.connection.hosts, expected);
        assert_eq!(options.connection.path_prefix, "/x");
    }

    #[test]
    fn flinks_defaults_hold_and_zero_switches_off() {
        let options = read(&[]).unwrap();
        assert_eq!((options.flush_actions, options.flush_bytes), (Some(1000), Some(2 << 20)));
        assert_eq!((options.flush_interval_ms, options.backoff.retries_max), (Some(1000), None));
        let zero = read(&[
            ("sink.bulk-flush.max-actions", "0"),
            ("sink.bulk-flush.max-size", "0"),
            ("sink.bulk-flush.interval", "0"),
            ("sink.bulk-flush.backoff.strategy", "exponential"),
            ("sink.delivery-guarantee", "none"),
        ])
        .unwrap();
        assert_eq!((zero.flush_actions, zero.flush_bytes, zero.flush_interval_ms), (None, None, None));
        assert_eq!(zero.backoff.retries_max, Some(8));
        assert!(!zero.flushes_on_checkpoint);
    }

    #[test]
    fn the_options_of_older_flink_are_taken_with_a_note() {
        let options = read(&[
            ("sink.bulk-flush.max-size", "42mb"),
            ("sink.bulk-flush.max-actions", "32"),
            ("sink.bulk-flush.interval", "1000"),
            ("sink.bulk-flush.backoff.delay", "1000"),
        ])
        .unwrap();
        assert_eq!((options.bulk_actions_max, options.bulk_bytes_max), (32, 42 << 20));
        assert_eq!(options.backoff.delay, Duration::from_secs(1));
        assert_eq!(options.notes.len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("hosts", "es:9200")], "expected `http://host:port`"),
            (&[("hosts", "http://es")], "expected `http://host:port`"),
            (&[("index", "users-{ts|yyyy}")], "the table has no `ts`"),
            (&[("index", "Users")], "lower case"),
            (&[("username", "u")], "'username' and 'password' go together"),
            (&[("failure-handler", "ignore")], "'failure-handler'"),
            (&[("format", "avro")], "format 'avro'"),
            (&[("sink.bulk-flush.backoff.strategy", "SOMETIMES")], "one of DISABLED, CONSTANT, EXPONENTIAL"),
            (&[("sink.bulk-flush.max-action", "1")], "did you mean 'sink.bulk-flush.max-actions'?"),
        ];
        for (options, message) in cases {
            let Err(error) = read(options) else { panic!("{options:?} was taken") };
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn a_password_inside_a_host_is_not_shown() {
        let Err(error) = read(&[("hosts", "http://user:geheim@es:9200")]) else { panic!("was taken") };
        assert!(!error.to_string().contains("geheim"), "{error}");
    }
}
