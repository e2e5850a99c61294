//! The table and its columns in the server's information schema, and the SQL that is sent. Values are never part of it; names go through
//! one [`quote_ident`].

use wiesel_core::{Error, Field, TypeKind};

use super::client::{Client, ClientError, Sent};
use super::failure;
use crate::jdbc::dialect::{Failure, ScanRange};
use crate::jdbc::target::{DatabaseColumn, Target};

/// A name of MySQL in quotes.
pub(super) fn quote_ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The table, with the target's columns as it has them.
pub(super) struct Table {
    /// The database that it is in.
    pub(super) database: String,
    /// Quoted, with its database.
    name: String,
    /// By position in the target's schema.
    columns: Vec<Column>,
    /// The columns of its primary key, quoted.
    primary_key: Vec<String>,
    /// Whether what is written to it is part of a transaction.
    pub(super) is_transactional: bool,
}

/// A column, as statements need it.
struct Column {
    /// Quoted.
    name: String,
    /// How its value is read: behind `t.`.
    selected: String,
    /// How a value to compare with is written.
    compared: String,
}

/// A column as MySQL has it.
#[derive(Debug)]
struct MysqlColumn {
    name: String,
    /// `int unsigned`.
    type_name: String,
    /// `int`.
    data_type: String,
}

impl DatabaseColumn for MysqlColumn {
    fn name(&self) -> &str {
        &self.name
    }

    fn answers_to(&self, name: &str) -> bool {
        self.name.to_lowercase() == name.to_lowercase()
    }

    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn fits(&self, kind: &TypeKind) -> bool {
        let data_type = self.data_type.as_str();
        let is_text = is_text(data_type);
        let is_integer = matches!(data_type, "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" | "bit");
        match kind {
            TypeKind::Null => true,
            TypeKind::Char(_) | TypeKind::VarChar(_) => is_text || is_like_text(data_type),
            TypeKind::Boolean => is_integer || is_text,
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => {
                data_type.ends_with("binary") || data_type.ends_with("blob")
            }
            TypeKind::Date | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
                is_text || matches!(data_type, "date" | "datetime" | "timestamp")
            }
            TypeKind::Time(_) => is_text || data_type == "time",
            _ => is_integer || is_text || matches!(data_type, "decimal" | "float" | "double"),
        }
    }
}

fn text(value: &Sent) -> String {
    match value {
        Sent::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

fn is_text(data_type: &str) -> bool {
    matches!(data_type, "char" | "varchar") || data_type.ends_with("text")
}

/// Types whose values are text on their way and something else in the server.
fn is_like_text(data_type: &str) -> bool {
    matches!(data_type, "enum" | "set" | "json" | "uuid" | "inet4" | "inet6")
}

impl Table {
    /// Finds the table and the target's columns.
    pub(super) fn find(target: &Target, client: &mut Client) -> Result<Table, Failure> {
        const TABLE: &str = "SELECT t.table_schema, t.table_name, COALESCE(e.transactions, 'YES') = 'YES' \
             FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine \
             WHERE t.table_schema = ? AND (t.table_name = ? OR LOWER(t.table_name) = LOWER(?)) \
             ORDER BY BINARY t.table_name <> BINARY ? LIMIT 1";
        const COLUMNS: &str = "SELECT column_name, CAST(column_type AS CHAR), CAST(data_type AS CHAR) \
             FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position";
        const INDEXES: &str = "SELECT index_name, column_name FROM information_schema.statistics \
             WHERE table_schema = ? AND table_name = ? AND non_unique = 0 ORDER BY index_name, seq_in_index";
        let failure = |e: ClientError| failure(target, &e);
        let database = target.schema_name.as_deref().or(target.url.database.as_deref()).unwrap_or_default();
        let wanted = target.table_name.as_str();
        let found = client.rows(TABLE, &[database, wanted, wanted, wanted].map(Sent::from)).map_err(failure)?;
        let Some([database, name, is_transactional]) =
            found.first().map(Vec::as_slice).and_then(|row| row.first_chunk::<3>())
        else {
            let error = Error::config(format!("{} has no table `{}`", target.server, target.name));
            return Err(error.hint("create it first, or name its database in 'table-name': database.table").into());
        };
        let (database, name) = (text(database), text(name));
        let is_transactional = *is_transactional != Sent::Int(0);
        let place = [database.as_str(), name.as_str()].map(Sent::from);
        let there = client.rows(COLUMNS, &place).map_err(failure)?;
        let there: Vec<MysqlColumn> = there
            .iter()
            .filter_map(|row| row.first_chunk::<3>())
            .map(|[name, type_name, data_type]| MysqlColumn {
                name: text(name),
                type_name: text(type_name),
                data_type: text(data_type).to_lowercase(),
            })
            .collect();
        let found = target.match_columns(&there)?;
        let indexes = client.rows(INDEXES, &place).map_err(failure)?;
        let indexes: Vec<(String, String)> = indexes
            .iter()
            .filter_map(|row| row.first_chunk::<2>())
            .map(|[index, column]| (text(index), text(column)))
            .collect();
        check_key(target, &found, &indexes)?;
        let columns = found.iter().map(|(field, column)| statement_column(field, column)).collect();
        let primary_key = indexes.iter().filter(|(index, _)| index == "PRIMARY").map(|(_, c)| quote_ident(c)).collect();
        let name = format!("{}.{}", quote_ident(&database), quote_ident(&name));
        Ok(Table { database, name, columns, primary_key, is_transactional })
    }

    /// How many columns a row has.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// `INSERT INTO t (a, b) VALUES (?, ?), (?, ?)`, and with a key `ON DUPLICATE KEY UPDATE`.
    pub(super) fn insert(&self, rows: usize, is_keyed: bool) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let row = format!("({})", vec!["?"; names.len()].join(", "));
        let values = vec![row.as_str(); rows].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES {values}", self.name, names.join(", "));
        if !is_keyed {
            return sql;
        }
        let updates: Vec<String> = names.iter().map(|name| format!("{name} = VALUES({name})")).collect();
        format!("{sql} ON DUPLICATE KEY UPDATE {}", updates.join(", "))
    }

    /// `DELETE FROM t WHERE (a = ?) OR (a = ?)`, for the columns of the key.
    pub(super) fn delete(&self, rows: usize, key: &[usize]) -> String {
        let one = format!("({})", self.equal(key, ""));
        format!("DELETE FROM {} WHERE {}", self.name, vec![one.as_str(); rows].join(" OR "))
    }

    /// A scan in the order of the primary key, or in the table's own where it has none, behind its first `row` rows.
    pub(super) fn scan(&self, range: Option<&ScanRange>, row: i64) -> String {
        let mut sql = format!("SELECT 0, {} FROM {} AS t", self.selected(self.columns.len()), self.name);
        if let Some(ScanRange { column, first, last }) = range {
            sql.push_str(&format!(" WHERE t.{} BETWEEN {first} AND {last}", quote_ident(column)));
        }
        if !self.primary_key.is_empty() {
            let order: Vec<String> = self.primary_key.iter().map(|name| format!("t.{name}")).collect();
            sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        if row > 0 {
            // There is no OFFSET without a LIMIT.
            sql.push_str(&format!(" LIMIT {} OFFSET {row}", u64::MAX));
        }
        sql
    }

    /// `SELECT 0, t.b FROM t WHERE t.a = ? UNION ALL SELECT 1, t.b FROM t WHERE t.a = ?`: the first `delivered` columns, by the others,
    /// each row with the place of its key.
    pub(super) fn lookup(&self, keys: usize, delivered: usize) -> String {
        let positions: Vec<usize> = (delivered..self.columns.len()).collect();
        let (selected, equal) = (self.selected(delivered), self.equal(&positions, "t."));
        let one = |key: usize| format!("SELECT {key}, {selected} FROM {} AS t WHERE {equal}", self.name);
        (0..keys).map(one).collect::<Vec<_>>().join(" UNION ALL ")
    }

    fn selected(&self, count: usize) -> String {
        let all: Vec<&str> = self.columns.iter().take(count).map(|column| column.selected.as_str()).collect();
        // A column of NULLs more does no harm, and no column at all is no SQL.
        if all.is_empty() { "NULL".to_owned() } else { all.join(", ") }
    }

    fn equal(&self, positions: &[usize], prefix: &str) -> String {
        let one = |i: &usize| self.columns.get(*i).map(|c| format!("{prefix}{} = {}", c.name, c.compared));
        positions.iter().filter_map(one).collect::<Vec<_>>().join(" AND ")
    }
}

/// Upserts go by whichever unique key of the table a row meets, so there has to be one of exactly the declared key.
fn check_key(
    target: &Target,
    columns: &[(&Field, &MysqlColumn)],
    indexes: &[(String, String)],
) -> wiesel_core::Result<()> {
    if target.key.is_empty() {
        return Ok(());
    }
    let name = |position: usize| columns.get(position).map(|(_, column)| column.name.as_str());
    let mut wanted: Vec<&str> = target.key_positions().into_iter().filter_map(name).collect();
    wanted.sort_unstable();
    let is_there = indexes.chunk_by(|a, b| a.0 == b.0).any(|index| {
        let mut there: Vec<&str> = index.iter().map(|(_, column)| column.as_str()).collect();
        there.sort_unstable();
        there == wanted
    });
    if is_there {
        return Ok(());
    }
    let (table, server) = (&target.name, &target.server);
    Err(Error::config(format!("table `{table}` of {server} has no unique index on exactly the primary key"))
        .hint(format!("ALTER TABLE {table} ADD PRIMARY KEY (...) with the columns of the PRIMARY KEY clause")))
}

fn statement_column(field: &Field, column: &MysqlColumn) -> Column {
    let (name, kind) = (quote_ident(&column.name), &field.data_type.kind);
    let selected = match column.data_type.as_str() {
        "bit" => format!("t.{name} + 0"),
        data_type if kind.is_string() && !is_text(data_type) => format!("CAST(t.{name} AS CHAR)"),
        _ => format!("t.{name}"),
    };
    // A number that comes as text would be compared as a DOUBLE.
    let compared = match kind {
        TypeKind::Decimal { precision, scale } => format!("CAST(? AS DECIMAL({precision}, {scale}))"),
        _ => "?".to_owned(),
    };
    Column { name, selected, compared }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |name: &str, compared: &str| Column {
            name: quote_ident(name),
            selected: format!("t.{}", quote_ident(name)),
            compared: compared.to_owned(),
        };
        Table {
            database: "d".to_owned(),
            name: "`d`.`t`".to_owned(),
            columns: vec![column("a`b", "?"), column("n", "CAST(? AS DECIMAL(9, 2))")],
            primary_key: vec![quote_ident("n")],
            is_transactional: true,
        }
    }

    #[test]
    fn statements_carry_many_rows_and_bind_every_value() {
        let table = table();
        assert_eq!(table.insert(2, false), "INSERT INTO `d`.`t` (`a``b`, `n`) VALUES (?, ?), (?, ?)");
        assert_eq!(
            table.insert(1, true),
            "INSERT INTO `d`.`t` (`a``b`, `n`) VALUES (?, ?) ON DUPLICATE KEY UPDATE `a``b` = VALUES(`a``b`), `n` = VALUES(`n`)"
        );
        assert_eq!(
            table.delete(2, &[0, 1]),
            "DELETE FROM `d`.`t` WHERE (`a``b` = ? AND `n` = CAST(? AS DECIMAL(9, 2))) OR (`a``b` = ? AND `n` = CAST(? AS DECIMAL(9, 2)))"
        );
        assert_eq!(
            table.lookup(2, 1),
            "SELECT 0, t.`a``b` FROM `d`.`t` AS t WHERE t.`n` = CAST(? AS DECIMAL(9, 2)) UNION ALL \
             SELECT 1, t.`a``b` FROM `d`.`t` AS t WHERE t.`n` = CAST(? AS DECIMAL(9, 2))"
        );
    }

    #[test]
    fn a_scan_has_an_order_and_a_place_to_begin() {
        let range = ScanRange { column: "n".to_owned(), first: -1, last: 5 };
        assert_eq!(
            table().scan(Some(&range), 7),
            "SELECT 0, t.`a``b`, t.`n` FROM `d`.`t` AS t WHERE t.`n` BETWEEN -1 AND 5 ORDER BY t.`n` \
             LIMIT 18446744073709551615 OFFSET 7"
        );
    }
}
