//! The table in the database, as it was declared: where it is, what it is called, and which of its columns are carried.

use std::sync::Arc;
use std::time::Duration;

use wiesel_core::diagnostic::nearest;
use wiesel_core::table::TableDescriptor;
use wiesel_core::{Error, Field, Result, Schema, TypeKind};

use super::dialect::Dialect;
use super::options::JdbcOptions;
use super::row_buffer::key_columns;
use super::url::JdbcUrl;
use crate::registry::unsupported;

/// A table of a database, as declared.
pub(super) struct Target {
    pub(super) url: JdbcUrl,
    pub(super) user: Option<String>,
    /// A secret.
    pub(super) password: Option<String>,
    pub(super) connect_timeout: Duration,
    pub(super) job_name: String,
    /// For messages: `PostgreSQL at db:5432`.
    pub(super) server: String,
    /// For messages: the option 'table-name'.
    pub(super) name: String,
    pub(super) schema_name: Option<String>,
    pub(super) table_name: String,
    /// The columns that batches hold.
    pub(super) schema: Schema,
    /// Positions and types of the primary key's columns.
    pub(super) key: Vec<(usize, TypeKind)>,
}

/// A column of the table in the database.
pub(super) trait DatabaseColumn {
    /// Its name, as the database has it.
    fn name(&self) -> &str;
    /// Whether an SQL statement of the database's usual tools would find it by this name, which is not written as its own.
    fn answers_to(&self, name: &str) -> bool;
    /// Its type in the database's words.
    fn type_name(&self) -> &str;
    /// Whether values of `kind` can be assigned to it.
    fn fits(&self, kind: &TypeKind) -> bool;
}

impl Target {
    /// A table to be written; refuses columns that the database has no type for.
    pub(super) fn writer(
        table: &TableDescriptor,
        options: &JdbcOptions,
        schema: Schema,
        job_name: &str,
    ) -> Result<Arc<Self>> {
        let key = key_columns(&schema, &table.primary_key)?;
        Ok(Arc::new(Target { key, ..Target::new(table, options, schema, job_name)? }))
    }

    /// A table to be read; refuses columns that the database has no type for.
    pub(super) fn reader(
        table: &TableDescriptor,
        options: &JdbcOptions,
        schema: Schema,
        job_name: &str,
    ) -> Result<Arc<Self>> {
        Target::new(table, options, schema, job_name).map(Arc::new)
    }

    fn new(table: &TableDescriptor, options: &JdbcOptions, schema: Schema, job_name: &str) -> Result<Self> {
        let dialect = options.url.dialect;
        for field in schema.fields() {
            if !dialect.carries(&field.data_type.kind) {
                return Err(unsupported(format!(
                    "column `{}` of table `{}`: connector 'jdbc' cannot carry {} in {} yet",
                    field.name,
                    table.name,
                    field.data_type.kind,
                    dialect.name()
                ))
                .hint("make its parts columns of their own, or a STRING"));
            }
        }
        let name = match &options.schema_name {
            Some(schema) => format!("{schema}.{}", options.table_name),
            None => options.table_name.clone(),
        };
        Ok(Target {
            url: options.url.clone(),
            user: options.user.clone().or_else(|| options.url.user.clone()),
            password: options.password.clone(),
            connect_timeout: options.connect_timeout,
            job_name: job_name.to_owned(),
            server: format!("{} at {}", dialect.name(), options.server),
            name,
            schema_name: options.schema_name.clone(),
            table_name: options.table_name.clone(),
            schema,
            key: Vec::new(),
        })
    }

    /// The database.
    pub(super) fn dialect(&self) -> &'static dyn Dialect {
        self.url.dialect
    }

    /// Positions of the primary key's columns.
    pub(super) fn key_positions(&self) -> Vec<usize> {
        self.key.iter().map(|(position, _)| *position).collect()
    }

    /// Finds every column in the database's table, as written or else as the database folds names; names all that are missing or of a wrong type.
    pub(super) fn match_columns<'a, C: DatabaseColumn>(&self, there: &'a [C]) -> Result<Vec<(&Field, &'a C)>> {
        let mut columns = Vec::with_capacity(self.schema.len());
        let mut problems = Vec::new();
        for field in self.schema.fields() {
            let kind = &field.data_type.kind;
            let exact = there.iter().find(|c| c.name() == field.name);
            let Some(column) = exact.or_else(|| there.iter().find(|c| c.answers_to(&field.name))) else {
                let near = nearest(&field.name, there.iter().map(DatabaseColumn::name));
                let near = near.map(|n| format!(", the nearest is `{n}`")).unwrap_or_default();
                problems.push(format!("column `{}` {kind} is missing{near}", field.name));
                continue;
            };
            if !column.fits(kind) {
                let type_name = column.type_name();
                problems.push(format!("column `{}` is {type_name} there, which does not take {kind}", field.name));
            }
            columns.push((field, column));
        }
        if problems.is_empty() {
            return Ok(columns);
        }
        let columns_there: Vec<String> = there.iter().map(|c| format!("{} {}", c.name(), c.type_name())).collect();
        let (name, server) = (&self.name, &self.server);
        Err(Error::config(format!("table `{name}` of {server}: {}", problems.join("; ")))
            .hint(format!("the table has the columns {}", columns_there.join(", "))))
    }

    /// The columns with their types, for messages.
    pub(super) fn declared(&self) -> String {
        let fields = self.schema.fields().iter();
        fields.map(|field| format!("{} {}", field.name, field.data_type.kind)).collect::<Vec<_>>().join(", ")
    }
}
