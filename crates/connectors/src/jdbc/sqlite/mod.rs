//! SQLite: a database that is a file, `jdbc:sqlite:/path/to/file.db`. Flink has no dialect for it; where SQLite leaves a choice it is
//! treated as PostgreSQL is.
//!
//! One process writes at a time. A transaction takes the file's write lock when it begins, so two of ours wait for each other instead of
//! failing half way; a lock that others hold for longer is waited for as an outage is. A scan holds no lock between its fetches
//! (`reader.rs`), so a job may read one table of a file and write another.
//!
//! | Flink | SQLite |
//! |---|---|
//! | BOOLEAN, integers | INTEGER |
//! | FLOAT, DOUBLE | REAL; SQLite has no NaN, such a row is refused |
//! | DECIMAL | text, which a column of type DECIMAL or NUMERIC keeps as a number (about 15 digits), one of type TEXT as it is |
//! | CHAR, VARCHAR / BINARY, VARBINARY | TEXT / BLOB |
//! | DATE, TIME, TIMESTAMP, TIMESTAMP_LTZ | text as SQLite's own functions write it; TIMESTAMP_LTZ in UTC with a `Z` |

mod reader;
mod table;
#[cfg(test)]
mod tests;
mod value;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use wiesel_core::{Error, Result, TypeKind};

use super::dialect::{Dialect, Failure, RowLookup, RowScan, RowWriter};
use super::target::Target;
use super::text;
use super::url::JdbcUrl;

/// How long a statement waits for a lock before the wait is told, unless the URL says otherwise.
const BUSY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Parameters that are read.
const PARAMETERS: &[&str] = &["busy_timeout", "foreign_keys"];

/// Parameters of the Java driver that change how it works and not what it does.
const WITHOUT_EFFECT: &[&str] = &["cache_size", "mmap_size", "open_mode", "temp_store", "transaction_mode"];

/// The database.
pub(super) struct Sqlite;

impl Dialect for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["sqlite"]
    }

    fn example(&self) -> &'static str {
        "jdbc:sqlite:/path/to/file.db"
    }

    fn drivers(&self) -> &'static [&'static str] {
        &["org.sqlite.JDBC"]
    }

    fn read_place(&self, place: &str, url: &mut JdbcUrl) -> Option<()> {
        // `:memory:` and an empty path are databases that end with their connection, `file:` is a syntax of its own.
        let is_file = !place.is_empty() && !place.starts_with(':') && !place.starts_with("file:");
        url.database = is_file.then(|| place.to_owned());
        is_file.then_some(())
    }

    fn read_parameter(&self, name: &str, value: &str, url: &mut JdbcUrl) -> Result<bool> {
        match name {
            "busy_timeout" => {
                if value.parse::<u32>().is_err() {
                    return Err(Error::config(format!("option 'url': parameter '{name}' is a number of milliseconds")));
                }
            }
            "foreign_keys" => {
                if !["true", "false", "on", "off", "1", "0"].contains(&value) {
                    return Err(Error::config(format!("option 'url': parameter '{name}' is true or false")));
                }
            }
            _ => return Ok(false),
        }
        url.settings.insert(name.to_owned(), value.to_owned());
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
        Ok(Box::new(writer::SqliteWriter::open(target)?))
    }

    fn open_scan(&self, target: &Arc<Target>) -> Result<Box<dyn RowScan>, Failure> {
        Ok(Box::new(reader::SqliteScan::open(target)?))
    }

    fn open_lookup(&self, target: &Arc<Target>, delivered: usize) -> Result<Box<dyn RowLookup>, Failure> {
        Ok(Box::new(reader::SqliteLookup::open(target, delivered)?))
    }
}

/// Opens the file, which has to be there.
fn connect(target: &Target) -> Result<Connection, Failure> {
    let path = Path::new(target.url.database.as_deref().unwrap_or_default());
    if !path.exists() {
        let error = Error::config(format!("there is no file `{}` for SQLite", path.display()));
        return Err(error.hint("make the database and its table first, as with `sqlite3 FILE < schema.sql`").into());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| failure(target, &e))?;
    let setting = |name: &str| target.url.settings.get(name).map(String::as_str);
    let wait = setting("busy_timeout").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    connection.busy_timeout(wait.unwrap_or(BUSY_TIMEOUT_DEFAULT)).map_err(|e| failure(target, &e))?;
    if let Some(value) = setting("foreign_keys") {
        let sql = format!("PRAGMA foreign_keys = {value}");
        connection.execute_batch(&sql).map_err(|e| failure(target, &e))?;
    }
    Ok(connection)
}

/// What an error of the database means.
fn failure(target: &Target, error: &rusqlite::Error) -> Failure {
    let (server, table) = (&target.server, &target.name);
    let rusqlite::Error::SqliteFailure(code, _) = error else {
        return Failure::Fatal(Error::internal(format!("{server}: {error}")));
    };
    match code.code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OutOfMemory
        | ErrorCode::DiskFull
        | ErrorCode::SystemIoFailure
        | ErrorCode::SchemaChanged
        | ErrorCode::OperationInterrupted => Failure::Away(format!("{server}: {error}")),
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => {
            Failure::Row(Error::data(format!("table `{table}` of {server} refuses a row: {error}")))
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            Failure::Fatal(
                Error::permission(format!("{server} may not be written: {error}"))
                    .hint("the file and its folder must be writable: SQLite keeps its journal beside the file"),
            )
        }
        ErrorCode::CannotOpen | ErrorCode::NotADatabase => {
            Failure::Fatal(Error::config(format!("{server}: {error}")).hint("check the path in 'url'"))
        }
        _ if error.to_string().contains("ON CONFLICT clause does not match") => Failure::Fatal(
            Error::config(format!("table `{table}` of {server} has no unique constraint on exactly the primary key"))
                .hint("make the table with a PRIMARY KEY (...) of the columns of the PRIMARY KEY clause"),
        ),
        ErrorCode::Unknown => Failure::Fatal(
            Error::config(format!("table `{table}` of {server}: {error}"))
                .hint(format!("the declared columns are {}", target.declared())),
        ),
        _ => Failure::Fatal(Error::data(format!("table `{table}` of {server}: {error}"))),
    }
}
