//! What an error of PostgreSQL means: its codes (SQLSTATE) sorted by what to do.

use std::error::Error as StdError;

use wiesel_core::Error;

use crate::jdbc::dialect::Failure;
use crate::jdbc::target::Target;

/// What an error of the database means.
pub(super) fn failure(target: &Target, error: &postgres::Error) -> Failure {
    let server = &target.server;
    let Some(database) = error.as_db_error() else {
        let text = with_causes(error);
        // The driver's own words for what it cannot send or lacks; everything else is the connection.
        if text.starts_with("error serializing parameter") {
            return Failure::Row(Error::data(format!("table `{}`: {text}", target.name)));
        }
        if text.starts_with("invalid configuration") || text.contains("password missing") {
            let error = Error::permission(format!("{server} asks for credentials: {text}"));
            return Failure::Fatal(error.hint("set 'username' and 'password' of the table"));
        }
        return Failure::Away(format!("{server}: {text}"));
    };
    let code = database.code().code();
    let detail = database.detail().map(|d| format!(" ({d})")).unwrap_or_default();
    let words = format!("{}{detail}", database.message());
    let (table, class) = (&target.name, code.get(..2).unwrap_or_default());
    match (code, class) {
        ("28P01" | "28000", _) => Failure::Fatal(
            Error::permission(format!("{server} does not accept the credentials: {words}"))
                .hint("check 'username' and 'password' of the table"),
        ),
        ("42501", _) => Failure::Fatal(
            Error::permission(format!("{server} does not let this user use `{table}` so: {words}"))
                .hint(format!("GRANT SELECT ON {table} to read it, and INSERT, UPDATE, DELETE to write it")),
        ),
        ("3D000", _) => Failure::Fatal(Error::config(format!("{server}: {words}")).hint("check the end of 'url'")),
        ("42P10", _) => Failure::Fatal(
            Error::config(format!(
                "table `{table}` of {server} has no unique constraint on exactly the primary key: {words}"
            ))
            .hint(format!("ALTER TABLE {table} ADD PRIMARY KEY (...) with the columns of the PRIMARY KEY clause")),
        ),
        ("21000", _) => Failure::SameRowTwice,
        ("40001" | "40P01" | "55P03", _) => Failure::Conflict(format!("{server}: {words}")),
        // Read-only: a fail-over is under way.
        ("25006" | "57014", _) | (_, "08" | "53" | "57" | "58") => Failure::Away(format!("{server}: {words}")),
        (_, "22" | "23") => {
            Failure::Row(Error::data(format!("table `{table}` of {server} refuses a row: {words} [{code}]")))
        }
        (_, "42") => Failure::Fatal(
            Error::config(format!("table `{table}` of {server}: {words} [{code}]"))
                .hint(format!("the declared columns are {}", target.declared())),
        ),
        _ => Failure::Fatal(Error::data(format!("table `{table}` of {server}: {words} [{code}]"))),
    }
}

/// An error with its causes in one line.
fn with_causes(error: &postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}
