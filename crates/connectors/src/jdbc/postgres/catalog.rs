//! The table and its columns in PostgreSQL's catalog.
//!
//! Flink sends names to PostgreSQL without quotes, so they end up in lower case there; other tools quote them. Here a name is looked up as
//! written first and in lower case second, and what was found is quoted.

use postgres::Client;
use wiesel_core::{Error, TypeKind};

use super::failure::failure;
use super::parameter::{array_cast, parameter_type};
use super::statement::{StatementColumn, quote_ident};
use crate::jdbc::dialect::Failure;
use crate::jdbc::target::{DatabaseColumn, Target};

/// A column as PostgreSQL has it.
struct PostgresColumn {
    name: String,
    /// `character varying(20)`.
    type_name: String,
    /// pg_type.typcategory.
    category: char,
}

/// The table's number and its quoted name.
pub(super) fn find_table(target: &Target, client: &mut Client) -> Result<(u32, String), Failure> {
    const SQL: &str = "SELECT c.oid, n.nspname::text, c.relname::text \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'f') AND c.relname::text IN ($1, lower($1)) \
         AND CASE WHEN $2::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) \
             ELSE n.nspname::text IN ($2, lower($2)) END \
         ORDER BY c.relname::text <> $1, n.nspname::text <> $2 LIMIT 1";
    let found = client.query_opt(SQL, &[&target.table_name, &target.schema_name]).map_err(|e| failure(target, &e))?;
    let Some(row) = found else {
        let error = Error::config(format!("{} has no table `{}`", target.server, target.name));
        return Err(error.hint("create it first, or name its schema in 'table-name': schema.table").into());
    };
    let (table, schema, name): (u32, String, String) = (row.get(0), row.get(1), row.get(2));
    Ok((table, format!("{}.{}", quote_ident(&schema), quote_ident(&name))))
}

/// The target's columns, as the statements need them.
pub(super) fn find_columns(target: &Target, client: &mut Client, table: u32) -> Result<Vec<StatementColumn>, Failure> {
    const SQL: &str = "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), t.typcategory::text \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = client.query(SQL, &[&table]).map_err(|e| failure(target, &e))?;
    let there: Vec<PostgresColumn> = rows
        .iter()
        .map(|row| PostgresColumn {
            name: row.get(0),
            type_name: row.get(1),
            category: row.get::<_, String>(2).chars().next().unwrap_or('U'),
        })
        .collect();
    Ok(statement_columns(target, &there)?)
}

fn statement_columns(target: &Target, there: &[PostgresColumn]) -> wiesel_core::Result<Vec<StatementColumn>> {
    let mut columns = Vec::with_capacity(there.len());
    for (field, column) in target.match_columns(there)? {
        let kind = &field.data_type.kind;
        let Some((parameter_type, _)) = parameter_type(kind) else { continue };
        // JSON, UUID, enumerations and the like take text by an explicit cast only.
        let needs_cast = kind.is_string() && !matches!(column.category, 'S');
        let cast = if needs_cast { Some(column.type_name.clone()) } else { array_cast(kind) };
        columns.push(StatementColumn { name: column.name.clone(), parameter_type, cast });
    }
    Ok(columns)
}

impl DatabaseColumn for PostgresColumn {
    fn name(&self) -> &str {
        &self.name
    }

    fn answers_to(&self, name: &str) -> bool {
        self.name == name.to_lowercase()
    }

    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn fits(&self, kind: &TypeKind) -> bool {
        let is_bytes = self.type_name == "bytea";
        let category = self.category;
        match kind {
            TypeKind::Null => true,
            TypeKind::Char(_) | TypeKind::VarChar(_) => {
                !is_bytes && matches!(category, 'S' | 'U' | 'E' | 'I' | 'X' | 'G' | 'V')
            }
            TypeKind::Boolean => matches!(category, 'B' | 'S'),
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => is_bytes,
            TypeKind::Date | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
                matches!(category, 'D' | 'S') && !self.type_name.starts_with("time ") && self.type_name != "time"
            }
            TypeKind::Time(_) => matches!(category, 'S') || self.type_name.starts_with("time "),
            TypeKind::Array(_) => category == 'A',
            _ => matches!(category, 'N' | 'S'),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wiesel_core::{DataType, Result};

    use super::*;
    use crate::jdbc::options::JdbcOptions;
    use crate::registry::ConnectorContext;
    use crate::registry::tests::table;

    fn target(columns: &[(&str, DataType)]) -> Result<Arc<Target>> {
        let options = &[("connector", "jdbc"), ("url", "jdbc:postgresql://db/x"), ("table-name", "t")];
        let table = table(columns, &[], options);
        let options = JdbcOptions::read(&table, &ConnectorContext::default())?;
        let all: Vec<usize> = (0..columns.len()).collect();
        Target::writer(&table, &options, crate::registry::schema(&table, &all)?, "test")
    }

    fn there(columns: &[(&str, &str, char)]) -> Vec<PostgresColumn> {
        let column = |(name, type_name, category): &(&str, &str, char)| PostgresColumn {
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
        let columns = statement_columns(&target, &there).unwrap();
        assert_eq!(columns[0].name, "windowstart");
        assert_eq!((columns[1].name.as_str(), columns[1].cast.as_deref()), ("Body", Some("jsonb")));
    }

    #[test]
    fn all_columns_that_do_not_fit_are_named_at_once() {
        let target =
            target(&[("user_id", DataType::string()), ("n", DataType::string()), ("x", DataType::int())]).unwrap();
        let error = statement_columns(&target, &there(&[("usr_id", "text", 'S'), ("n", "integer", 'N')]))
            .unwrap_err()
            .to_string();
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
            error
                .message()
                .contains("column `m` of table `t`: connector 'jdbc' cannot carry MAP<STRING, INT> in PostgreSQL yet")
        );
    }
}
