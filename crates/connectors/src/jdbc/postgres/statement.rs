//! The SQL that is sent. Values are never part of it; names go through one [`quote_ident`].

use std::fmt::Write;

/// A name of PostgreSQL in quotes.
pub(super) fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A column as the statements see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatementColumn {
    /// The name in PostgreSQL.
    pub(super) name: String,
    /// The type of one value of its parameter, such as `int8`.
    pub(super) parameter_type: &'static str,
    /// What the value is cast to, when the assignment alone would not do.
    pub(super) cast: Option<String>,
}

/// `INSERT INTO t (a, b) SELECT c0, c1 FROM unnest($1::int8[], $2::text[]) AS d (c0, c1)`, and with a key `ON CONFLICT`.
pub(super) fn insert(table: &str, columns: &[StatementColumn], key: &[usize]) -> String {
    let names: Vec<String> = columns.iter().map(|c| quote_ident(&c.name)).collect();
    let mut sql =
        format!("INSERT INTO {table} ({}) SELECT {} FROM {}", names.join(", "), values(columns), unnest(columns));
    if key.is_empty() {
        return sql;
    }
    let of_key: Vec<&str> = key.iter().filter_map(|i| names.get(*i).map(String::as_str)).collect();
    let rest: Vec<String> = names
        .iter()
        .enumerate()
        .filter(|(i, _)| !key.contains(i))
        .map(|(_, name)| format!("{name} = EXCLUDED.{name}"))
        .collect();
    append(&mut sql, format_args!(" ON CONFLICT ({}) DO ", of_key.join(", ")));
    if rest.is_empty() {
        sql.push_str("NOTHING");
    } else {
        append(&mut sql, format_args!("UPDATE SET {}", rest.join(", ")));
    }
    sql
}

/// `SELECT CAST(t."a" AS int8), t."b" FROM s.t AS t`.
pub(super) fn select(table: &str, columns: &[StatementColumn]) -> String {
    format!("SELECT {} FROM {table} AS t", selected(columns))
}

/// Opens the cursor `wiesel_scan` over a SELECT: its rows come in the table's own order, in a transaction that sees one state of it.
pub(super) fn open_cursor(select: &str, range: Option<(&str, i64, i64)>) -> String {
    let mut sql = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; \
        SET LOCAL synchronize_seqscans = off; SET LOCAL max_parallel_workers_per_gather = 0; \
        DECLARE wiesel_scan NO SCROLL CURSOR FOR "
        .to_owned();
    sql.push_str(select);
    if let Some((column, first, last)) = range {
        append(&mut sql, format_args!(" WHERE t.{} BETWEEN {first} AND {last}", quote_ident(column)));
    }
    sql.push(';');
    sql
}

/// `SELECT k.n, t."b" FROM unnest($1::int8[]) WITH ORDINALITY AS k (c0, n) JOIN s.t AS t ON t."a" = c0 ORDER BY k.n`: for the keys that are
/// asked, with the number of the key that a row belongs to.
pub(super) fn lookup(table: &str, columns: &[StatementColumn], keys: &[StatementColumn]) -> String {
    let mut arrays = String::new();
    let mut names = String::new();
    let mut conditions = String::new();
    for (i, key) in keys.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        append(&mut arrays, format_args!("{comma}${}::{}[]", i + 1, key.parameter_type));
        append(&mut names, format_args!("c{i}, "));
        let value = key.cast.as_ref().map_or_else(|| format!("k.c{i}"), |cast| format!("CAST(k.c{i} AS {cast})"));
        let and = if i > 0 { " AND " } else { "" };
        append(&mut conditions, format_args!("{and}t.{} = {value}", quote_ident(&key.name)));
    }
    let columns = selected(columns);
    let comma = if columns.is_empty() { "" } else { ", " };
    format!(
        "SELECT k.n{comma}{columns} FROM unnest({arrays}) WITH ORDINALITY AS k ({names}n) JOIN {table} AS t \
         ON {conditions} ORDER BY k.n"
    )
}

/// The columns, each cast to the type whose binary form is read. A text is not: casting a CHAR(n) takes its blanks away.
fn selected(columns: &[StatementColumn]) -> String {
    let one = |column: &StatementColumn| {
        let name = quote_ident(&column.name);
        match (column.parameter_type, &column.cast) {
            ("text", Some(cast)) if cast.ends_with("[]") => format!("CAST(t.{name} AS {cast})"),
            ("text", None) => format!("t.{name}"),
            (other, _) => format!("CAST(t.{name} AS {other})"),
        }
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `DELETE FROM t USING (SELECT ... FROM unnest(...)) AS k WHERE t.a = k.v0`, for the columns of the key.
pub(super) fn delete(table: &str, key: &[StatementColumn]) -> String {
    let named: Vec<String> = (0..key.len()).map(|i| format!("v{i}")).collect();
    let conditions: Vec<String> =
        key.iter().zip(&named).map(|(c, v)| format!("t.{} = k.{v}", quote_ident(&c.name))).collect();
    format!(
        "DELETE FROM {table} AS t USING (SELECT {} FROM {}) AS k ({}) WHERE {}",
        values(key),
        unnest(key),
        named.join(", "),
        conditions.join(" AND ")
    )
}

fn values(columns: &[StatementColumn]) -> String {
    let value = |(i, column): (usize, &StatementColumn)| match &column.cast {
        None => format!("c{i}"),
        Some(cast) => format!("CAST(c{i} AS {cast})"),
    };
    columns.iter().enumerate().map(value).collect::<Vec<_>>().join(", ")
}

fn unnest(columns: &[StatementColumn]) -> String {
    let mut arrays = String::new();
    let mut names = String::new();
    for (i, column) in columns.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        append(&mut arrays, format_args!("{comma}${}::{}[]", i + 1, column.parameter_type));
        append(&mut names, format_args!("{comma}c{i}"));
    }
    format!("unnest({arrays}) AS d ({names})")
}

fn append(sql: &mut String, text: std::fmt::Arguments<'_>) {
    sql.write_fmt(text).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<StatementColumn> {
        let column = |name: &str, parameter_type, cast: Option<&str>| StatementColumn {
            name: name.to_owned(),
            parameter_type,
            cast: cast.map(str::to_owned),
        };
        vec![column("id", "int8", None), column("say \"hi\"", "text", Some("jsonb"))]
    }

    #[test]
    fn statements_carry_columns_as_arrays() {
        let columns = columns();
        assert_eq!(
            insert("\"t\"", &columns, &[]),
            "INSERT INTO \"t\" (\"id\", \"say \"\"hi\"\"\") SELECT c0, CAST(c1 AS jsonb) FROM unnest($1::int8[], $2::text[]) AS d (c0, c1)"
        );
        assert!(
            insert("t", &columns, &[0])
                .ends_with(" ON CONFLICT (\"id\") DO UPDATE SET \"say \"\"hi\"\"\" = EXCLUDED.\"say \"\"hi\"\"\"")
        );
        assert!(insert("t", &columns, &[0, 1]).ends_with(" DO NOTHING"));
        assert_eq!(
            delete("t", &columns[..1]),
            "DELETE FROM t AS t USING (SELECT c0 FROM unnest($1::int8[]) AS d (c0)) AS k (v0) WHERE t.\"id\" = k.v0"
        );
    }

    #[test]
    fn a_scan_and_a_lookup_name_their_columns() {
        let columns = columns();
        let scan = select("s.t", &columns);
        assert_eq!(scan, "SELECT CAST(t.\"id\" AS int8), CAST(t.\"say \"\"hi\"\"\" AS text) FROM s.t AS t");
        assert!(open_cursor(&scan, Some(("n", -1, 5))).ends_with(" FROM s.t AS t WHERE t.\"n\" BETWEEN -1 AND 5;"));
        assert_eq!(
            lookup("s.t", &columns[..1], &columns),
            "SELECT k.n, CAST(t.\"id\" AS int8) FROM unnest($1::int8[], $2::text[]) WITH ORDINALITY AS k (c0, c1, n) \
             JOIN s.t AS t ON t.\"id\" = k.c0 AND t.\"say \"\"hi\"\"\" = CAST(k.c1 AS jsonb) ORDER BY k.n"
        );
    }

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quote_ident("a\"; DROP TABLE b;--"), "\"a\"\"; DROP TABLE b;--\"");
    }
}
