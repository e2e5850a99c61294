//! The table and its columns in the file's schema, and the SQL that is sent. Values are never part of it; names go through one
//! [`quote_ident`].

use rusqlite::Connection;
use wiesel_core::{Error, Field, TypeKind};

use super::failure;
use crate::jdbc::dialect::{Failure, ScanRange};
use crate::jdbc::target::{DatabaseColumn, Target};

/// A name of SQLite in quotes.
pub(super) fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table, with the target's columns as it has them.
pub(super) struct Table {
    /// Quoted, with its schema.
    name: String,
    /// By position in the target's schema: quoted, and whether it is read as text.
    columns: Vec<(String, bool)>,
    /// What a row's number is called; `None`: a view, or a table without them.
    row_number: Option<&'static str>,
}

/// A column as SQLite has it.
struct SqliteColumn {
    name: String,
    type_name: String,
}

impl DatabaseColumn for SqliteColumn {
    fn name(&self) -> &str {
        &self.name
    }

    fn answers_to(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Columns take what they are given; what a STRICT table does not take is a refused row.
    fn fits(&self, _: &TypeKind) -> bool {
        true
    }
}

impl Table {
    /// Finds the table and the target's columns.
    pub(super) fn find(target: &Target, connection: &Connection) -> Result<Table, Failure> {
        const TABLE: &str = "SELECT name, type, wr FROM pragma_table_list \
             WHERE schema = ?2 COLLATE NOCASE AND name = ?1 COLLATE NOCASE LIMIT 1";
        const COLUMNS: &str = "SELECT name, type FROM pragma_table_xinfo(?1, ?2) WHERE hidden <> 1 ORDER BY cid";
        let failure = |e: rusqlite::Error| failure(target, &e);
        let schema = target.schema_name.as_deref().unwrap_or("main");
        let found = connection.query_row(TABLE, (&target.table_name, schema), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?))
        });
        let (name, kind, is_without) = match found {
            Ok(found) => found,
            Err(rusqlite::Error::QueryReturnedNoRows) => {
                let error = Error::config(format!("{} has no table `{}`", target.server, target.name));
                return Err(error.hint("create it first").into());
            }
            Err(e) => return Err(failure(e)),
        };
        let mut statement = connection.prepare(COLUMNS).map_err(failure)?;
        let there = statement
            .query_map((&name, schema), |row| Ok(SqliteColumn { name: row.get(0)?, type_name: row.get(1)? }))
            .and_then(Iterator::collect::<Result<Vec<SqliteColumn>, _>>)
            .map_err(failure)?;
        let column = |(field, column): (&Field, &SqliteColumn)| {
            (quote_ident(&column.name), matches!(field.data_type.kind, TypeKind::Char(_) | TypeKind::VarChar(_)))
        };
        let columns = target.match_columns(&there)?.into_iter().map(column).collect();
        // A column may have taken one of the names that SQLite gives the number.
        let is_free = |name: &&str| !there.iter().any(|column| column.answers_to(name));
        let has_number = kind != "view" && !is_without;
        let row_number = ["rowid", "_rowid_", "oid"].into_iter().find(is_free).filter(|_| has_number);
        Ok(Table { name: format!("{}.{}", quote_ident(schema), quote_ident(&name)), columns, row_number })
    }

    /// Whether rows have numbers.
    pub(super) fn has_row_numbers(&self) -> bool {
        self.row_number.is_some()
    }

    /// `INSERT INTO t ("a", "b") VALUES (?1, ?2)`, and with a key `ON CONFLICT`.
    pub(super) fn insert(&self, key: &[usize]) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let places: Vec<String> = (1..=names.len()).map(|n| format!("?{n}")).collect();
        let sql = format!("INSERT INTO {} ({}) VALUES ({})", self.name, names.join(", "), places.join(", "));
        if key.is_empty() {
            return sql;
        }
        let of_key: Vec<&str> = key.iter().filter_map(|i| names.get(*i).copied()).collect();
        let rest: Vec<String> = (0..names.len())
            .filter(|i| !key.contains(i))
            .filter_map(|i| names.get(i).map(|name| format!("{name} = excluded.{name}")))
            .collect();
        let action = if rest.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", rest.join(", ")) };
        format!("{sql} ON CONFLICT ({}) DO {action}", of_key.join(", "))
    }

    /// `DELETE FROM t WHERE "a" = ?1`, for the columns of the key.
    pub(super) fn delete(&self, key: &[usize]) -> String {
        format!("DELETE FROM {} WHERE {}", self.name, self.equal(key))
    }

    /// A page of a scan: behind row number ?1, or, where there are none, behind ?1 rows; ?2 rows at most.
    pub(super) fn page(&self, range: Option<&ScanRange>) -> String {
        let all = self.selected(self.columns.len());
        let (name, range) = (&self.name, range.map(between));
        match (self.row_number, range) {
            (Some(n), None) => format!("SELECT {n}, {all} FROM {name} WHERE {n} >= ?1 ORDER BY {n} LIMIT ?2"),
            (Some(n), Some(range)) => {
                format!("SELECT {n}, {all} FROM {name} WHERE {n} >= ?1 AND {range} ORDER BY {n} LIMIT ?2")
            }
            (None, None) => format!("SELECT 0, {all} FROM {name} LIMIT ?2 OFFSET ?1"),
            (None, Some(range)) => format!("SELECT 0, {all} FROM {name} WHERE {range} LIMIT ?2 OFFSET ?1"),
        }
    }

    /// The row number of the row with ?1 others in front of it.
    pub(super) fn number_of(&self, range: Option<&ScanRange>) -> String {
        let n = self.row_number.unwrap_or("0");
        let range = range.map(|range| format!(" WHERE {}", between(range))).unwrap_or_default();
        format!("SELECT {n} FROM {}{range} ORDER BY {n} LIMIT 1 OFFSET ?1", self.name)
    }

    /// `SELECT "b" FROM t WHERE "a" = ?1`: the first `delivered` columns, by the others.
    pub(super) fn lookup(&self, delivered: usize) -> String {
        let keys: Vec<usize> = (delivered..self.columns.len()).collect();
        format!("SELECT 0, {} FROM {} WHERE {}", self.selected(delivered), self.name, self.equal(&keys))
    }

    fn selected(&self, count: usize) -> String {
        let one = |(name, is_text): &(String, bool)| match is_text {
            true => format!("CAST({name} AS TEXT)"),
            false => name.clone(),
        };
        let all: Vec<String> = self.columns.iter().take(count).map(one).collect();
        // A column of NULLs more does no harm, and no column at all is no SQL.
        if all.is_empty() { "NULL".to_owned() } else { all.join(", ") }
    }

    fn equal(&self, positions: &[usize]) -> String {
        let name = |(n, i): (usize, &usize)| self.columns.get(*i).map(|(name, _)| format!("{name} = ?{}", n + 1));
        positions.iter().enumerate().filter_map(name).collect::<Vec<_>>().join(" AND ")
    }
}

fn between(range: &ScanRange) -> String {
    format!("{} BETWEEN {} AND {}", quote_ident(&range.column), range.first, range.last)
}
