//! MySQL and MariaDB: `jdbc:mysql://host:port/database`, `jdbc:mariadb://...`. Both speak one protocol and one SQL as far as it is used here.
//!
//! Rows travel as statements of many rows with bound values (`table.rs`), and upserts are Flink's: `ON DUPLICATE KEY UPDATE`. A session is
//! in UTC and strict: a value that does not fit is refused and never cut, as with the Java driver.
//!
//! | Flink | MySQL |
//! |---|---|
//! | TINYINT, SMALLINT, INT, BIGINT | TINYINT, SMALLINT, MEDIUMINT, INT, BIGINT; an unsigned one needs the next larger type to be read, BIGINT UNSIGNED DECIMAL(20, 0) |
//! | BOOLEAN | TINYINT(1), BIT |
//! | FLOAT, DOUBLE, DECIMAL | FLOAT, DOUBLE, DECIMAL |
//! | CHAR, VARCHAR | CHAR, VARCHAR, TEXT, ENUM, SET, JSON, UUID |
//! | BINARY, VARBINARY | BINARY, VARBINARY, BLOB |
//! | DATE, TIME | DATE, TIME |
//! | TIMESTAMP | DATETIME |
//! | TIMESTAMP_LTZ | TIMESTAMP |

mod client;
mod reader;
mod table;
mod value;
mod writer;

use std::sync::Arc;

use wiesel_core::{Error, Result, TypeKind};

use super::dialect::{Dialect, Failure, RowLookup, RowScan, RowWriter};
use super::target::Target;
use super::text;
use super::url::JdbcUrl;
use crate::registry::unsupported;
use client::{Client, ClientError, Login};

/// MySQL's port.
const PORT_DEFAULT: u16 = 3306;
/// How a session begins. The server gives up a scan whose rows nobody takes for `net_write_timeout` seconds: a job may be slower than that.
const SESSION: &str = "SET SESSION time_zone = '+00:00', sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES'), \
     net_write_timeout = 86400";

/// Parameters that are read.
const PARAMETERS: &[&str] =
    &["connectTimeout", "password", "requireSSL", "sslMode", "useSSL", "user", "zeroDateTimeBehavior"];

/// Parameters of the Java drivers that change how they work and not what they do.
const WITHOUT_EFFECT: &[&str] = &[
    "allowMultiQueries",
    "allowPublicKeyRetrieval",
    "autoReconnect",
    "cachePrepStmts",
    "cacheResultSetMetadata",
    "cacheServerConfiguration",
    "characterEncoding",
    "connectionTimeZone",
    "defaultFetchSize",
    "elideSetAutoCommits",
    "failOverReadOnly",
    "maintainTimeStats",
    "maxReconnects",
    "nullCatalogMeansCurrent",
    "prepStmtCacheSize",
    "prepStmtCacheSqlLimit",
    "rewriteBatchedStatements",
    "serverTimezone",
    "socketTimeout",
    "tcpKeepAlive",
    "tinyInt1isBit",
    "useCompression",
    "useCursorFetch",
    "useInformationSchema",
    "useLocalSessionState",
    "useServerPrepStmts",
    "useUnicode",
    "verifyServerCertificate",
];

/// The database.
pub(super) struct Mysql;

impl Dialect for Mysql {
    fn name(&self) -> &'static str {
        "MySQL"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["mysql", "mariadb"]
    }

    fn example(&self) -> &'static str {
        "jdbc:mysql://host:port/database"
    }

    fn drivers(&self) -> &'static [&'static str] {
        &["com.mysql.cj.jdbc.Driver", "com.mysql.jdbc.Driver", "org.mariadb.jdbc.Driver"]
    }

    fn read_place(&self, place: &str, url: &mut JdbcUrl) -> Option<()> {
        place.starts_with("//").then(|| url.read_servers(place, PORT_DEFAULT))?
    }

    fn read_parameter(&self, name: &str, value: &str, url: &mut JdbcUrl) -> Result<bool> {
        match name {
            "user" => url.user = Some(value.to_owned()),
            "password" => url.password = Some(value.to_owned()),
            "connectTimeout" => url.read_connect_timeout(name, value, 1000)?,
            "sslMode" if matches!(value.to_ascii_lowercase().as_str(), "disabled" | "disable" | "preferred") => {}
            "useSSL" | "requireSSL" if value == "false" => {}
            "sslMode" | "useSSL" | "requireSSL" => {
                return Err(unsupported(format!(
                    "option 'url': encrypted connections to MySQL (parameter '{name}') are not supported yet"
                ))
                .hint("use sslMode=DISABLED, or a local TLS proxy such as stunnel in between"));
            }
            "zeroDateTimeBehavior" if value.eq_ignore_ascii_case("exception") => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn parameters(&self) -> &'static [&'static str] {
        PARAMETERS
    }

    fn parameters_without_effect(&self) -> &'static [&'static str] {
        WITHOUT_EFFECT
    }

    fn carries(&self, kind: &TypeKind) -> bool {
        text::is_plain(kind)
    }

    fn open_writer(&self, target: &Arc<Target>) -> Result<Box<dyn RowWriter>, Failure> {
        Ok(Box::new(writer::MysqlWriter::open(target)?))
    }

    fn open_scan(&self, target: &Arc<Target>) -> Result<Box<dyn RowScan>, Failure> {
        Ok(Box::new(reader::MysqlScan::open(target)?))
    }

    fn open_lookup(&self, target: &Arc<Target>, delivered: usize) -> Result<Box<dyn RowLookup>, Failure> {
        Ok(Box::new(reader::MysqlLookup::open(target, delivered)?))
    }
}

/// Opens a connection to the first server that answers.
fn connect(target: &Target) -> Result<Client, Failure> {
    let Some(database) = target.url.database.as_deref().or(target.schema_name.as_deref()) else {
        let error = Error::config("option 'url' names no database");
        return Err(error.hint("write jdbc:mysql://host:port/database").into());
    };
    let mut last = Failure::Away(format!("{}: the URL names no server", target.server));
    for (host, port) in &target.url.hosts {
        let login = Login {
            host,
            port: *port,
            user: target.user.as_deref().unwrap_or_default(),
            password: target.password.as_deref().unwrap_or_default(),
            database,
            connect_timeout: target.connect_timeout,
        };
        let connected = Client::connect(&login).and_then(|mut client| client.run(SESSION).map(|()| client));
        match connected {
            Ok(client) => return Ok(client),
            Err(e) => last = failure(target, &e),
        }
        // What the next server would say as well.
        if !matches!(last, Failure::Away(_)) {
            break;
        }
    }
    Err(last)
}

/// What an error of the database means.
fn failure(target: &Target, error: &ClientError) -> Failure {
    let (server, table) = (&target.server, &target.name);
    let (code, state, words) = match error {
        ClientError::Server { code, state, message } => (*code, state, message),
        ClientError::Connection(error) => return Failure::Away(format!("{server}: {error}")),
        ClientError::Login(why) => {
            let error = Error::permission(format!("{server} asks for a login that is not supported: {why}"));
            return Failure::Fatal(
                error.hint("let the user log in by mysql_native_password, as MariaDB's users do unless told otherwise"),
            );
        }
    };
    let class = state.get(..2).unwrap_or_default();
    match (code, class) {
        (1045 | 1698 | 1862, _) | (_, "28") => Failure::Fatal(
            Error::permission(format!("{server} does not accept the credentials: {words}"))
                .hint("check 'username' and 'password' of the table"),
        ),
        (1044 | 1142 | 1143 | 1227 | 1370, _) => Failure::Fatal(
            Error::permission(format!("{server} does not let this user use `{table}` so: {words}"))
                .hint(format!("GRANT SELECT ON {table} to read it, and INSERT, UPDATE, DELETE to write it")),
        ),
        (1049, _) => Failure::Fatal(Error::config(format!("{server}: {words}")).hint("check the end of 'url'")),
        // A deadlock, a lock waited for too long, a row changed since it was read.
        (1020 | 1205 | 1213, _) | (_, "40") => Failure::Conflict(format!("{server}: {words}")),
        // No room, no connections, shutting down, read-only while a fail-over is under way, killed.
        (
            1021
            | 1037
            | 1038
            | 1040
            | 1041
            | 1053
            | 1077..=1080
            | 1114
            | 1129
            | 1152
            | 1154..=1161
            | 1184
            | 1203
            | 1226
            | 1290
            | 1317
            | 1836
            | 1927
            | 1969
            | 3024
            | 3169
            | 4031,
            _,
        )
        | (_, "08" | "70") => Failure::Away(format!("{server}: {words}")),
        (1153, _) => Failure::Row(
            Error::data(format!("table `{table}` of {server} refuses a row: {words} [{code}]"))
                .hint("raise the server's max_allowed_packet"),
        ),
        // A value that does not fit, is missing, or breaks a constraint.
        (1062 | 1048 | 1264 | 1265 | 1292 | 1364 | 1366 | 1406 | 1411 | 1452 | 1525 | 3140 | 3156 | 3819 | 4025, _)
        | (_, "22" | "23") => {
            Failure::Row(Error::data(format!("table `{table}` of {server} refuses a row: {words} [{code}]")))
        }
        (_, "42") => Failure::Fatal(
            Error::config(format!("table `{table}` of {server}: {words} [{code}]"))
                .hint(format!("the declared columns are {}", target.declared())),
        ),
        _ => Failure::Fatal(Error::data(format!("table `{table}` of {server}: {words} [{code}]"))),
    }
}
