//! PostgreSQL: its URLs, and the login of its connections.
//!
//! Columns travel as arrays in both directions of a statement (`parameter.rs`, `statement.rs`), so one statement carries thousands of rows;
//! names are looked up in the catalog (`catalog.rs`), and rows come back in the binary form (`row_decoder.rs`).

mod catalog;
mod failure;
mod lookup;
mod parameter;
mod row_decoder;
mod scan;
mod statement;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use wiesel_core::{Result, TypeKind};

use super::dialect::{Dialect, Failure, RowLookup, RowScan, RowWriter};
use super::target::Target;
use super::url::JdbcUrl;
use crate::registry::unsupported;
use failure::failure;
use parameter::parameter_type;

/// PostgreSQL's port.
const PORT_DEFAULT: u16 = 5432;
/// A connection that carried nothing for so long is probed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Data that nobody acknowledged for so long means that the server is away.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Parameters that are read.
const PARAMETERS: &[&str] =
    &["ApplicationName", "connectTimeout", "currentSchema", "password", "ssl", "sslmode", "targetServerType", "user"];

/// Parameters of the Java driver that change how it works and not what it does.
const WITHOUT_EFFECT: &[&str] = &[
    "adaptiveFetch",
    "assumeMinServerVersion",
    "autosave",
    "binaryTransfer",
    "cleanupSavepoints",
    "databaseMetadataCacheFields",
    "defaultRowFetchSize",
    "disableColumnSanitiser",
    "loadBalanceHosts",
    "logUnclosedConnections",
    "loggerFile",
    "loggerLevel",
    "loginTimeout",
    "prepareThreshold",
    "preparedStatementCacheQueries",
    "preparedStatementCacheSizeMiB",
    "reWriteBatchedInserts",
    "socketTimeout",
    "stringtype",
    "tcpKeepAlive",
    "tcpNoDelay",
];

/// The database.
pub(super) struct Postgres;

impl Dialect for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["postgresql"]
    }

    fn example(&self) -> &'static str {
        "jdbc:postgresql://host:port/database"
    }

    fn drivers(&self) -> &'static [&'static str] {
        &["org.postgresql.Driver"]
    }

    fn read_place(&self, place: &str, url: &mut JdbcUrl) -> Option<()> {
        url.read_servers(place, PORT_DEFAULT)
    }

    fn read_parameter(&self, name: &str, value: &str, url: &mut JdbcUrl) -> Result<bool> {
        match name {
            "user" => url.user = Some(value.to_owned()),
            "password" => url.password = Some(value.to_owned()),
            "currentSchema" | "ApplicationName" => {
                url.settings.insert(name.to_owned(), value.to_owned());
            }
            "connectTimeout" => url.read_connect_timeout(name, value, 1)?,
            "sslmode" if matches!(value, "disable" | "allow" | "prefer") => {}
            "ssl" if value == "false" => {}
            "ssl" | "sslmode" | "sslcert" | "sslkey" | "sslrootcert" | "sslpassword" | "sslfactory" => {
                return Err(unsupported(format!(
                    "option 'url': encrypted connections (parameter '{name}') are not supported yet"
                ))
                .hint("use sslmode=disable, or a local TLS proxy such as stunnel in between"));
            }
            "targetServerType" => return Ok(matches!(value, "any" | "primary" | "master")),
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
        parameter_type(kind).is_some()
    }

    fn open_writer(&self, target: &Arc<Target>) -> Result<Box<dyn RowWriter>, Failure> {
        Ok(Box::new(writer::PostgresWriter::open(target)?))
    }

    fn open_scan(&self, target: &Arc<Target>) -> Result<Box<dyn RowScan>, Failure> {
        Ok(Box::new(scan::PostgresScan::open(target)?))
    }

    fn open_lookup(&self, target: &Arc<Target>, delivered: usize) -> Result<Box<dyn RowLookup>, Failure> {
        Ok(Box::new(lookup::PostgresLookup::open(target, delivered)?))
    }
}

/// Opens a connection.
fn connect(target: &Target) -> Result<Client, Failure> {
    let mut config = Config::new();
    for (host, port) in &target.url.hosts {
        config.host(host).port(*port);
    }
    if let Some(user) = target.user.as_deref() {
        config.user(user);
    }
    if let Some(password) = target.password.as_deref() {
        config.password(password);
    }
    if let Some(database) = &target.url.database {
        config.dbname(database);
    }
    if let Some(path) = target.url.settings.get("currentSchema") {
        // In `options` a blank or backslash is escaped by a backslash.
        let escaped = path.replace('\\', "\\\\").replace(' ', "\\ ");
        config.options(&format!("-c search_path={escaped}"));
    }
    config
        .application_name(target.url.settings.get("ApplicationName").unwrap_or(&target.job_name))
        .ssl_mode(SslMode::Disable)
        .connect_timeout(target.connect_timeout)
        .tcp_user_timeout(UNACKNOWLEDGED_MAX)
        .keepalives_idle(KEEPALIVE_IDLE);
    config.connect(NoTls).map_err(|e| failure(target, &e))
}
