//! The table in the database: connecting, finding it and its columns, and saying what an error of the database means.
//!
//! Flink sends names to PostgreSQL without quotes, so they end up in lower case there; other tools quote them. Here a name is looked up as
//! written first and in lower case second, and what was found is quoted.

use std::error::Error as StdError;
use std::time::Duration;

use arrow_array::{ArrayRef, new_empty_array};
use postgres::config::SslMode;
use postgres::types::{ToSql, Type};
use postgres::{Client, Config, NoTls, Statement};
use wiesel_core::diagnostic::nearest;
use wiesel_core::table::TableDescriptor;
use wiesel_core::{DataType, Error, Result, Schema, TypeKind};

use super::options::JdbcOptions;
use super::parameter::{ColumnParameter, array_cast, parameter_type};
use super::row_buffer::key_columns;
use super::statement::{self, StatementColumn, quote_ident};
use crate::registry::unsupported;

/// A connection that carried nothing for so long is probed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Data that nobody acknowledged for so long means that the server is away.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// A table of PostgreSQL, as declared.
pub(super) struct Target {
    config: Config,
    /// For messages: `db:5432`.
    server: String,
    /// For messages: the option 'table-name'.
    pub(super) name: String,
    schema_name: Option<String>,
    table_name: String,
    /// The columns that batches hold.
    pub(super) schema: Schema,
    /// Positions and types of the primary key's columns.
    pub(super) key: Vec<(usize, TypeKind)>,
}

/// The statements of one connection.
pub(super) struct Prepared {
    /// Takes every column as an array.
    pub(super) insert: Statement,
    /// Takes the columns of the key as arrays; `None` without one.
    pub(super) delete: Option<Statement>,
    table: u32,
}

/// What went wrong, sorted by what to do.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server is away or has no room: wait.
    Away(String),
    /// Another transaction was in the way: try again.
    Conflict(String),
    /// Two rows of one statement are one row in the database: send them one by one.
    SameRowTwice,
    /// A row does not fit.
    Row(Error),
    /// Trying again does not help.
    Fatal(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Fatal(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(why) | Failure::Conflict(why) => Error::unavailable(why),
            Failure::SameRowTwice => Error::internal("two rows with one key in one statement"),
            Failure::Row(error) | Failure::Fatal(error) => error,
        }
    }
}

/// A column as PostgreSQL has it.
struct DatabaseColumn {
    name: String,
    /// `character varying(20)`.
    type_name: String,
    /// pg_type.typcategory.
    category: char,
}

impl Target {
    /// A table to be written; refuses columns that PostgreSQL has no type for.
    pub(super) fn new(table: &TableDescriptor, options: &JdbcOptions, schema: Schema, job_name: &str) -> Result<Self> {
        let key = key_columns(&schema, &table.primary_key)?;
        Ok(Target { key, ..Target::reader(table, options, schema, job_name)? })
    }

    /// A table to be read; refuses columns that PostgreSQL has no type for.
    pub(super) fn reader(
        table: &TableDescriptor,
        options: &JdbcOptions,
        schema: Schema,
        job_name: &str,
    ) -> Result<Self> {
        for field in schema.fields() {
            if parameter_type(&field.data_type.kind).is_none() {
                return Err(unsupported(format!(
                    "column `{}` of table `{}`: connector 'jdbc' cannot carry {} yet",
                    field.name, table.name, field.data_type.kind
                ))
                .hint("make its parts columns of their own, or a STRING"));
            }
        }
        let mut config = Config::new();
        for (host, port) in &options.url.hosts {
            config.host(host).port(*port);
        }
        if let Some(user) = options.user.as_deref().or(options.url.user.as_deref()) {
            config.user(user);
        }
        if let Some(password) = options.password.as_deref() {
            config.password(password);
        }
        if let Some(database) = &options.url.database {
            config.dbname(database);
        }
        if let Some(path) = &options.url.search_path {
            // In `options` a blank or backslash is escaped by a backslash.
            let escaped = path.replace('\\', "\\\\").replace(' ', "\\ ");
            config.options(&format!("-c search_path={escaped}"));
        }
        config
            .application_name(options.url.application_name.as_deref().unwrap_or(job_name))
            .ssl_mode(SslMode::Disable)
            .connect_timeout(options.connect_timeout)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX)
            .keepalives_idle(KEEPALIVE_IDLE);
        let name = match &options.schema_name {
            Some(schema) => format!("{schema}.{}", options.table_name),
            None => options.table_name.clone(),
        };
        Ok(Target {
            config,
            server: options.server.clone(),
            name,
            schema_name: options.schema_name.clone(),
            table_name: options.table_name.clone(),
            schema,
            key: Vec::new(),
        })
    }

    /// Opens a connection.
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        self.config.connect(NoTls).map_err(|e| self.failure(&e))
    }

    /// Finds the table and its columns, and prepares the statements.
    pub(super) fn prepare(&self, client: &mut Client) -> Result<Prepared, Failure> {
        let (table, sql_name) = self.find_table(client)?;
        let columns = self.find_columns(client, table)?;
        let key: Vec<usize> = self.key.iter().map(|(position, _)| *position).collect();
        let all: Vec<usize> = (0..self.schema.len()).collect();
        let insert = self.prepare_statement(client, &statement::insert(&sql_name, &columns, &key), &all)?;
        let delete = if key.is_empty() {
            None
        } else {
            let of_key: Vec<StatementColumn> = key.iter().filter_map(|i| columns.get(*i).cloned()).collect();
            Some(self.prepare_statement(client, &statement::delete(&sql_name, &of_key), &key)?)
        };
        Ok(Prepared { insert, delete, table })
    }

    /// Finds the table and its columns; returns the SELECT that reads them.
    pub(super) fn prepare_select(&self, client: &mut Client) -> Result<String, Failure> {
        let (table, sql_name) = self.find_table(client)?;
        let select = statement::select(&sql_name, &self.find_columns(client, table)?);
        // Planning finds a missing right.
        client.batch_execute(&format!("EXPLAIN {select}")).map_err(|e| self.failure(&e))?;
        Ok(select)
    }

    /// Finds the table and its columns, of which the first `delivered` are delivered and the others asked by.
    pub(super) fn prepare_lookup(&self, client: &mut Client, delivered: usize) -> Result<Statement, Failure> {
        let (table, sql_name) = self.find_table(client)?;
        let columns = self.find_columns(client, table)?;
        let (columns, keys) = columns.split_at(delivered.min(columns.len()));
        let fields = self.schema.fields().get(delivered..).unwrap_or_default();
        let types: Vec<Type> =
            fields.iter().filter_map(|f| parameter_type(&f.data_type.kind)).map(|(_, array_type)| array_type).collect();
        client.prepare_typed(&statement::lookup(&sql_name, columns, keys), &types).map_err(|e| self.failure(&e))
    }

    /// Prepares a statement that takes the columns at `positions`. It is explained first: planning finds a missing unique constraint
    /// and, for the insert, a missing right, which preparing alone does not.
    fn prepare_statement(&self, client: &mut Client, sql: &str, positions: &[usize]) -> Result<Statement, Failure> {
        let fields: Vec<&DataType> =
            positions.iter().filter_map(|i| self.schema.fields().get(*i)).map(|f| &f.data_type).collect();
        let types: Vec<Type> =
            fields.iter().filter_map(|t| parameter_type(&t.kind)).map(|(_, array_type)| array_type).collect();
        let nothing: Vec<ArrayRef> = fields.iter().map(|t| new_empty_array(&t.to_arrow())).collect();
        let empty: Vec<ColumnParameter<'_>> =
            fields.iter().zip(&nothing).map(|(data_type, array)| ColumnParameter { data_type, array }).collect();
        let references: Vec<&(dyn ToSql + Sync)> = empty.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
        let explain = client.prepare_typed(&format!("EXPLAIN {sql}"), &types).map_err(|e| self.failure(&e))?;
        client.query(&explain, &references).map_err(|e| self.failure(&e))?;
        client.prepare_typed(sql, &types).map_err(|e| self.failure(&e))
    }

    /// The table's number and its quoted name.
    fn find_table(&self, client: &mut Client) -> Result<(u32, String), Failure> {
        const SQL: &str = "SELECT c.oid, n.nspname::text, c.relname::text \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'f') AND c.relname::text IN ($1, lower($1)) \
             AND CASE WHEN $2::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) \
                 ELSE n.nspname::text IN ($2, lower($2)) END \
             ORDER BY c.relname::text <> $1, n.nspname::text <> $2 LIMIT 1";
        let found = client.query_opt(SQL, &[&self.table_name, &self.schema_name]).map_err(|e| self.failure(&e))?;
        let Some(row) = found else {
            let error = Error::config(format!("PostgreSQL at {} has no table `{}`", self.server, self.name));
            return Err(error.hint("create it first, or name its schema in 'table-name': schema.table").into());
        };
        let (table, schema, name): (u32, String, String) = (row.get(0), row.get(1), row.get(2));
        Ok((table, format!("{}.{}", quote_ident(&schema), quote_ident(&name))))
    }

    fn find_columns(&self, client: &mut Client, table: u32) -> Result<Vec<StatementColumn>, Failure> {
        const SQL: &str = "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), t.typcategory::text \
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
        let rows = client.query(SQL, &[&table]).map_err(|e| self.failure(&e))?;
        let there: Vec<DatabaseColumn> = rows
            .iter()
            .map(|row| DatabaseColumn {
                name: row.get(0),
                type_name: row.get(1),
                category: row.get::<_, String>(2).chars().next().unwrap_or('U'),
            })
            .collect();
        Ok(self.match_columns(&there)?)
    }

    /// Finds every column in the database's table; names all that are missing or of a wrong type.
    fn match_columns(&self, there: &[DatabaseColumn]) -> Result<Vec<StatementColumn>> {
        let mut columns = Vec::with_capacity(self.schema.len());
        let mut problems = Vec::new();
        for field in self.schema.fields() {
            let kind = &field.data_type.kind;
            let lower = field.name.to_lowercase();
            let exact = there.iter().find(|c| c.name == field.name);
            let Some(column) = exact.or_else(|| there.iter().find(|c| c.name == lower)) else {
                let near = nearest(&field.name, there.iter().map(|c| c.name.as_str()));
                let near = near.map(|n| format!(", the nearest is `{n}`")).unwrap_or_default();
                problems.push(format!("column `{}` {kind} is missing{near}", field.name));
                continue;
            };
            let Some((parameter_type, _)) = parameter_type(kind) else { continue };
            if !fits(kind, column) {
                problems
                    .push(format!("column `{}` is {} there, which does not take {kind}", field.name, column.type_name));
            }
            // JSON, UUID, enumerations and the like take text by an explicit cast only.
            let needs_cast = kind.is_string() && !matches!(column.category, 'S');
            let cast = if needs_cast { Some(column.type_name.clone()) } else { array_cast(kind) };
            columns.push(StatementColumn { name: column.name.clone(), parameter_type, cast });
        }
        if problems.is_empty() {
            return Ok(columns);
        }
        let columns_there: Vec<String> = there.iter().map(|c| format!("{} {}", c.name, c.type_name)).collect();
        Err(Error::config(format!("table `{}` of PostgreSQL at {}: {}", self.name, self.server, problems.join("; ")))
            .hint(format!("the table has the columns {}", columns_there.join(", "))))
    }

    /// Whether the user may do what the sink does.
    pub(super) fn check_rights(&self, client: &mut Client, prepared: &Prepared) -> Result<()> {
        let wanted: &[&str] = if self.key.is_empty() { &["INSERT"] } else { &["INSERT", "UPDATE", "DELETE", "SELECT"] };
        let mut lacking = Vec::new();
        for right in wanted {
            // Rights on single columns are enough, but there are none to delete.
            let function = if *right == "DELETE" { "has_table_privilege" } else { "has_any_column_privilege" };
            let sql = format!("SELECT pg_catalog.{function}($1::oid, '{right}')");
            let row = client.query_one(sql.as_str(), &[&prepared.table]).map_err(|e| Error::from(self.failure(&e)))?;
            if !row.get::<_, bool>(0) {
                lacking.push(*right);
            }
        }
        if lacking.is_empty() {
            return Ok(());
        }
        let names = lacking.join(", ");
        Err(Error::permission(format!(
            "PostgreSQL at {}: the user lacks the right to {names} on `{}`",
            self.server, self.name
        ))
        .hint(format!("GRANT {names} ON {} TO that user", self.name)))
    }

    /// The columns with their types, for messages.
    fn declared(&self) -> String {
        let fields = self.schema.fields().iter();
        fields.map(|field| format!("{} {}", field.name, field.data_type.kind)).collect::<Vec<_>>().join(", ")
    }

    /// What an error of the database means.
    pub(super) fn failure(&self, error: &postgres::Error) -> Failure {
        let server = format!("PostgreSQL at {}", self.server);
        let Some(database) = error.as_db_error() else {
            let text = with_causes(error);
            // The driver's own words for what it cannot send or lacks; everything else is the connection.
            if text.starts_with("error serializing parameter") {
                return Failure::Row(Error::data(format!("table `{}`: {text}", self.name)));
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
        let (table, class) = (&self.name, code.get(..2).unwrap_or_default());
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
                    .hint(format!("the declared columns are {}", self.declared())),
            ),
            _ => Failure::Fatal(Error::data(format!("table `{table}` of {server}: {words} [{code}]"))),
        }
    }
}

/// Whether a value of `kind` can be assigned to the column.
fn fits(kind: &TypeKind, column: &DatabaseColumn) -> bool {
    let is_bytes = column.type_name == "bytea";
    let category = column.category;
    match kind {
        TypeKind::Null => true,
        TypeKind::Char(_) | TypeKind::VarChar(_) => {
            !is_bytes && matches!(category, 'S' | 'U' | 'E' | 'I' | 'X' | 'G' | 'V')
        }
        TypeKind::Boolean => matches!(category, 'B' | 'S'),
        TypeKind::Binary(_) | TypeKind::VarBinary(_) => is_bytes,
        TypeKind::Date | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
            matches!(category, 'D' | 'S') && !column.type_name.starts_with("time ") && column.type_name != "time"
        }
        TypeKind::Time(_) => matches!(category, 'S') || column.type_name.starts_with("time "),
        TypeKind::Array(_) => category == 'A',
        _ => matches!(category, 'N' | 'S'),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ConnectorContext;
    use crate::registry::tests::table;

    fn target(columns: &[(&str, DataType)]) -> Result<Target> {
        let options = &[("connector", "jdbc"), ("url", "jdbc:postgresql://db/x"), ("table-name", "t")];
        let table = table(columns, &[], options);
        let options = JdbcOptions::read(&table, &ConnectorContext::default())?;
        let all: Vec<usize> = (0..columns.len()).collect();
        Target::new(&table, &options, crate::registry::schema(&table, &all)?, "test")
    }

    fn there(columns: &[(&str, &str, char)]) -> Vec<DatabaseColumn> {
        let column = |(name, type_name, category): &(&str, &str, char)| DatabaseColumn {
            name: (*name).to_owned(),
            type_name: (*type_name).to_owned(),
            category: *category,
        };
        columns.iter().map(column).collect()
    }

    #[test]
    fn names_are_found_as_written_first_and_in_lower_case_second() {
        let target = target(&[("windowStart", DataType::bigint()), ("Body", DataType::string())]).unwrap();
        let there = there(&[("windowstart", "bigint", 'N'), ("body", "text", 'S'), ("Body", "jsonb", 'U')]);
        let columns = target.match_columns(&there).unwrap();
        assert_eq!(columns[0].name, "windowstart");
        assert_eq!((columns[1].name.as_str(), columns[1].cast.as_deref()), ("Body", Some("jsonb")));
    }

    #[test]
    fn all_columns_that_do_not_fit_are_named_at_once() {
        let target =
            target(&[("user_id", DataType::string()), ("n", DataType::string()), ("x", DataType::int())]).unwrap();
        let error =
            target.match_columns(&there(&[("usr_id", "text", 'S'), ("n", "integer", 'N')])).unwrap_err().to_string();
        for part in [
            "column `user_id` STRING is missing, the nearest is `usr_id`",
            "column `n` is integer there, which does not take STRING",
            "column `x` INT is missing",
            "usr_id text, n integer",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn types_without_a_form_in_postgresql_are_refused_by_name() {
        let map = DataType::new(TypeKind::Map(Box::new(DataType::string()), Box::new(DataType::int())));
        let Err(error) = target(&[("m", map)]) else { panic!("was taken") };
        assert!(
            error.message().contains("column `m` of table `t`: connector 'jdbc' cannot carry MAP<STRING, INT> yet")
        );
    }
}
