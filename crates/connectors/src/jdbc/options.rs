//! The WITH keys of jdbc.

use std::time::Duration;

use wiesel_core::options::Options;
use wiesel_core::table::TableDescriptor;
use wiesel_core::{Error, Result};

use super::url::JdbcUrl;
use crate::registry::{ConnectorContext, refuse_metadata};

const MAX_ROWS_DEFAULT: i64 = 100;
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
const RETRIES_DEFAULT: i64 = 3;
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// A jdbc table.
#[derive(Clone)]
pub(super) struct JdbcOptions {
    /// Where to connect; addresses are mapped.
    pub(super) url: JdbcUrl,
    /// Host and port as the table names them, for messages.
    pub(super) server: String,
    pub(super) user: Option<String>,
    /// A secret.
    pub(super) password: Option<String>,
    pub(super) schema_name: Option<String>,
    pub(super) table_name: String,
    /// So many waiting changes start a flush; `None` = no limit.
    pub(super) flush_rows: Option<usize>,
    /// How long a change may wait; `None` = until there are enough, or a checkpoint comes.
    pub(super) flush_interval_ms: Option<i64>,
    pub(super) retries_max: u32,
    pub(super) connect_timeout: Duration,
    pub(super) notes: Vec<String>,
}

impl JdbcOptions {
    /// Reads and checks all options.
    pub(super) fn read(table: &TableDescriptor, context: &ConnectorContext) -> Result<Self> {
        refuse_metadata(table)?;
        let mut options = Options::new(&table.name, &table.options);
        refuse_reading(&mut options)?;
        let mut url = JdbcUrl::parse(options.required("url")?)?;
        let server = url.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",");
        for (host, port) in &mut url.hosts {
            let mapped = context.map_address(&format!("{host}:{port}"));
            if let Some((to_host, to_port)) = mapped.rsplit_once(':')
                && let Ok(to_port) = to_port.parse()
            {
                *host = to_host.trim_matches(['[', ']']).to_owned();
                *port = to_port;
            }
        }
        let (schema_name, table_name) = read_table_name(&mut options)?;
        let (user, password) = match (options.get("username"), options.get("password")) {
            (None, None) => (url.user.clone(), url.password.clone()),
            (Some(user), Some(password)) => (Some(user.to_owned()), Some(password.to_owned())),
            _ => return Err(Error::config("options 'username' and 'password' go together, one of them is missing")),
        };
        let max_rows = options.integer("sink.buffer-flush.max-rows")?.unwrap_or(MAX_ROWS_DEFAULT);
        let flush_rows = usize::try_from(max_rows).map_err(|_| {
            options.invalid("sink.buffer-flush.max-rows", &max_rows.to_string(), "a number of rows, 0 for no limit")
        })?;
        let interval = options.duration("sink.buffer-flush.interval")?.unwrap_or(INTERVAL_DEFAULT);
        let retries = options.integer("sink.max-retries")?.unwrap_or(RETRIES_DEFAULT);
        let retries_max = u32::try_from(retries)
            .map_err(|_| options.invalid("sink.max-retries", &retries.to_string(), "a number of retries"))?;
        let connect_timeout = options.duration("connection.max-retry-timeout")?;
        let notes = read_notes(&mut options, &url)?;
        options.finish()?;
        Ok(JdbcOptions {
            connect_timeout: url.connect_timeout.or(connect_timeout).unwrap_or(CONNECT_TIMEOUT_DEFAULT),
            url,
            server,
            user,
            password,
            schema_name,
            table_name,
            flush_rows: (flush_rows > 0).then_some(flush_rows),
            flush_interval_ms: i64::try_from(interval.as_millis()).ok().filter(|ms| *ms > 0),
            retries_max,
            notes,
        })
    }
}

fn read_notes(options: &mut Options<'_>, url: &JdbcUrl) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if let Some(driver) = options.get("driver") {
        if driver != "org.postgresql.Driver" {
            return Err(options.invalid("driver", driver, "org.postgresql.Driver, the only database is PostgreSQL"));
        }
        notes.push(
            "option 'driver' has no effect: there is no JVM, wiesel speaks PostgreSQL's protocol itself".to_owned(),
        );
    }
    if options.integer("sink.parallelism")?.is_some() {
        notes.push("option 'sink.parallelism' has no effect: every worker has its own instance of the sink".to_owned());
    }
    if !url.without_effect.is_empty() {
        let names = url.without_effect.join(", ");
        notes.push(format!("parameters of the URL without effect outside the Java driver: {names}"));
    }
    Ok(notes)
}

/// Options of the source and of lookups, which Flink shares with the sink's table.
fn refuse_reading(options: &mut Options<'_>) -> Result<()> {
    const READING: &[&str] = &[
        "scan.partition.column",
        "scan.partition.num",
        "scan.partition.lower-bound",
        "scan.partition.upper-bound",
        "scan.fetch-size",
        "scan.auto-commit",
        "lookup.cache",
        "lookup.partial-cache.max-rows",
        "lookup.partial-cache.expire-after-write",
        "lookup.partial-cache.expire-after-access",
        "lookup.partial-cache.cache-missing-key",
        "lookup.max-retries",
        "lookup.cache.max-rows",
        "lookup.cache.ttl",
        "lookup.cache.caching-missing-key",
        "filter.handling.policy",
        "compatible-mode",
    ];
    for key in READING {
        if options.get(key).is_some() {
            return Err(options.unsupported(key, "jdbc tables can only be written yet: leave the option away"));
        }
    }
    Ok(())
}

fn read_table_name(options: &mut Options<'_>) -> Result<(Option<String>, String)> {
    let text = options.required("table-name")?;
    let parts: Vec<&str> = text.split('.').collect();
    if parts.iter().any(|p| p.is_empty() || p.contains('\0')) {
        return Err(options.invalid("table-name", text, "`table` or `schema.table`"));
    }
    match parts.as_slice() {
        [table] => Ok((None, (*table).to_owned())),
        [schema, table] => Ok((Some((*schema).to_owned()), (*table).to_owned())),
        _ => Err(options.invalid("table-name", text, "`table` or `schema.table`")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wiesel_core::DataType;

    use super::*;
    use crate::registry::tests::table;

    fn read(options: &[(&str, &str)]) -> Result<JdbcOptions> {
        let mut all =
            BTreeMap::from([("connector", "jdbc"), ("url", "jdbc:postgresql://db:5432/x"), ("table-name", "s.t")]);
        all.extend(options.iter().copied());
        let all: Vec<(&str, &str)> = all.into_iter().collect();
        let map = vec![("db:5432".to_owned(), "127.0.0.1:15432".to_owned())];
        JdbcOptions::read(&table(&[("k", DataType::string())], &["k"], &all), &ConnectorContext { address_map: map })
    }

    #[test]
    fn flinks_defaults_hold_and_addresses_are_mapped() {
        let options = read(&[("driver", "org.postgresql.Driver")]).unwrap();
        assert_eq!(options.url.hosts, [("127.0.0.1".to_owned(), 15432)]);
        assert_eq!(options.server, "db:5432");
        assert_eq!((options.schema_name.as_deref(), options.table_name.as_str()), (Some("s"), "t"));
        assert_eq!((options.flush_rows, options.flush_interval_ms, options.retries_max), (Some(100), Some(1000), 3));
        assert_eq!(options.notes.len(), 1);
        let off = read(&[("sink.buffer-flush.max-rows", "0"), ("sink.buffer-flush.interval", "0")]).unwrap();
        assert_eq!((off.flush_rows, off.flush_interval_ms), (None, None));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("username", "u")], "'username' and 'password' go together"),
            (&[("table-name", "a.b.c")], "`table` or `schema.table`"),
            (&[("driver", "com.mysql.Driver")], "org.postgresql.Driver"),
            (&[("lookup.cache", "PARTIAL")], "'lookup.cache'"),
            (&[("sink.max-retrys", "1")], "did you mean 'sink.max-retries'?"),
            (&[("url", "jdbc:oracle:thin:@h")], "'oracle'"),
        ];
        for (options, message) in cases {
            let Err(error) = read(options) else { panic!("{options:?} was taken") };
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
