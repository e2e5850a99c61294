//! The SQL that a sink sends. Values are never part of it; names go through one [`quote_ident`].

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
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quote_ident("a\"; DROP TABLE b;--"), "\"a\"\"; DROP TABLE b;--\"");
    }
}
