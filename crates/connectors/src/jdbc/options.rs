//! The WITH keys of jdbc.

use std::time::Duration;

use wiesel_core::options::Options;
use wiesel_core::table::TableDescriptor;
use wiesel_core::{Error, Result};

use super::url::JdbcUrl;
use crate::lookup_cache::LookupCacheOptions;
use crate::registry::{ConnectorContext, refuse_metadata};

const MAX_ROWS_DEFAULT: i64 = 100;
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
const RETRIES_DEFAULT: i64 = 3;
/// Parts of one scan.
const SCAN_SPLITS_MAX: u32 = 100_000;
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// A jdbc table.
#[derive(Clone)]
pub(super) struct JdbcOptions {
    /// Where to connect; addresses are mapped.
    pub(super) url: JdbcUrl,
    /// Host and port as the table names them, or the file, for messages.
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
    /// How a scan is cut.
    pub(super) partition: Option<ScanPartition>,
    /// Rows of one fetch at most; `None`: as memory allows.
    pub(super) fetch_rows: Option<usize>,
    pub(super) lookup_cache: Option<LookupCacheOptions>,
    pub(super) lookup_retries_max: u32,
    pub(super) connect_timeout: Duration,
    pub(super) notes: Vec<String>,
}

/// `scan.partition.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanPartition {
    pub(super) column: String,
    pub(super) count: u32,
    pub(super) lower: i64,
    pub(super) upper: i64,
}

impl JdbcOptions {
    /// Reads and checks all options.
    pub(super) fn read(table: &TableDescriptor, context: &ConnectorContext) -> Result<Self> {
        refuse_metadata(table)?;
        let mut options = Options::new(&table.name, &table.options);
        let mut url = JdbcUrl::parse(options.required("url")?)?;
        let server = match (url.hosts.as_slice(), &url.database) {
            ([], Some(file)) => file.clone(),
            (hosts, _) => hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(","),
        };
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
        let partition = read_partition(&mut options, table)?;
        let fetch_rows = match options.integer("scan.fetch-size")? {
            None | Some(0) => None,
            Some(rows) => Some(
                usize::try_from(rows)
                    .map_err(|_| options.invalid("scan.fetch-size", &rows.to_string(), "a number of rows"))?,
            ),
        };
        // A scan always streams, whatever the driver would have to be told for it.
        options.boolean("scan.auto-commit", true)?;
        options.one_of("filter.handling.policy", &["always", "never"])?;
        let lookup_cache = LookupCacheOptions::read(&mut options)?;
        let lookup_retries = options.integer("lookup.max-retries")?.unwrap_or(RETRIES_DEFAULT);
        let lookup_retries_max = u32::try_from(lookup_retries)
            .map_err(|_| options.invalid("lookup.max-retries", &lookup_retries.to_string(), "a number of retries"))?;
        if options.get("compatible-mode").is_some() {
            return Err(options.unsupported("compatible-mode", "databases are spoken to as what they are"));
        }
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
            partition,
            fetch_rows,
            lookup_cache,
            lookup_retries_max,
            notes,
        })
    }
}

fn read_notes(options: &mut Options<'_>, url: &JdbcUrl) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if let Some(driver) = options.get("driver") {
        let (name, known) = (url.dialect.name(), url.dialect.drivers());
        if !known.contains(&driver) {
            return Err(options.invalid("driver", driver, &format!("{}, as the URL is {name}'s", known.join(" or "))));
        }
        notes.push(format!("option 'driver' has no effect: there is no JVM, wiesel speaks to {name} itself"));
    }
    if options.integer("sink.parallelism")?.is_some() {
        notes.push("option 'sink.parallelism' has no effect: every worker has its own instance of the sink".to_owned());
    }
    if url.hosts.is_empty() && options.get("username").is_some() {
        let name = url.dialect.name();
        notes.push(format!("options 'username' and 'password' have no effect: {name} knows no users"));
    }
    if !url.without_effect.is_empty() {
        let names = url.without_effect.join(", ");
        notes.push(format!("parameters of the URL without effect outside the Java driver: {names}"));
    }
    Ok(notes)
}

/// The four options that cut a scan, which go together.
fn read_partition(options: &mut Options<'_>, table: &TableDescriptor) -> Result<Option<ScanPartition>> {
    let column = options.get("scan.partition.column");
    let count = options.integer("scan.partition.num")?;
    let lower = options.integer("scan.partition.lower-bound")?;
    let upper = options.integer("scan.partition.upper-bound")?;
    let (column, count, lower, upper) = match (column, count, lower, upper) {
        (None, None, None, None) => return Ok(None),
        (Some(column), Some(count), Some(lower), Some(upper)) => (column, count, lower, upper),
        _ => {
            return Err(Error::config(format!(
                "options 'scan.partition.column', '.num', '.lower-bound' and '.upper-bound' of table `{}` go together, \
                 one of them is missing",
                table.name
            )));
        }
    };
    let declared = table.columns.iter().find(|c| c.name == column);
    if !declared.is_some_and(|c| c.data_type.kind.is_numeric()) {
        return Err(options.invalid("scan.partition.column", column, "a numeric column of the table"));
    }
    if lower > upper {
        return Err(options.invalid("scan.partition.lower-bound", &lower.to_string(), "at most the upper bound"));
    }
    let count = u32::try_from(count).ok().filter(|c| (1..=SCAN_SPLITS_MAX).contains(c)).ok_or_else(|| {
        options.invalid("scan.partition.num", &count.to_string(), &format!("a number from 1 to {SCAN_SPLITS_MAX}"))
    })?;
    Ok(Some(ScanPartition { column: column.to_owned(), count, lower, upper }))
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
            (&[("driver", "com.mysql.cj.jdbc.Driver")], "org.postgresql.Driver, as the URL is PostgreSQL's"),
            (&[("lookup.cache", "PARTIAL")], "'lookup.cache'"),
            (&[("scan.partition.num", "3")], "go together"),
            (
                &[
                    ("scan.partition.column", "k"),
                    ("scan.partition.num", "3"),
                    ("scan.partition.lower-bound", "1"),
                    ("scan.partition.upper-bound", "9"),
                ],
                "a numeric column",
            ),
            (&[("sink.max-retrys", "1")], "did you mean 'sink.max-retries'?"),
            (&[("url", "jdbc:oracle:thin:@h")], "'oracle'"),
        ];
        for (options, message) in cases {
            let Err(error) = read(options) else { panic!("{options:?} was taken") };
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
