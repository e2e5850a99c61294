//! SHOW CREATE: declarations as Flink prints them, names in backticks and types written out.
//!
//! A view's query is printed in our own normal form; Flink's also qualifies every name. Values of options that look like secrets are not
//! shown.

use std::fmt::Write as _;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::secret;
use wiesel_core::table::ColumnKind;
use wiesel_core::variable::has_variables;
use wiesel_core::{DataType, TypeKind};

use super::alter::constraint_name;
use super::{Outcome, Session};
use crate::binder::expr::{Bound, refused};
use crate::catalog::{Column, ColumnSource, Object, Table, View};
use crate::parser::ast;
use crate::parser::names_quoted;

impl Session {
    pub(super) fn show_create(
        &mut self,
        object: ast::ObjectKind,
        name: &ast::ObjectName,
        span: Span,
    ) -> Bound<Outcome> {
        let path = self.path_of(name);
        let known =
            |what: &str| vec![Diagnostic::error("W0201", format!("no {what} `{}`", name.last().value)).at(name.span)];
        let text = match (object, self.catalog.get(&path)) {
            (ast::ObjectKind::Table, Some(Object::Table(table))) => table_text(table, &path),
            (ast::ObjectKind::View, Some(Object::View(view))) => view_text(view, &path),
            (ast::ObjectKind::Table, Some(_)) => {
                return Err(vec![
                    Diagnostic::error("W0309", format!("`{}` is a view", name.last().value))
                        .at(name.span)
                        .hint("write SHOW CREATE VIEW"),
                ]);
            }
            (ast::ObjectKind::View, Some(_)) => {
                return Err(vec![
                    Diagnostic::error("W0309", format!("`{}` is a table", name.last().value))
                        .at(name.span)
                        .hint("write SHOW CREATE TABLE"),
                ]);
            }
            (ast::ObjectKind::Table, None) => return Err(known("table")),
            (ast::ObjectKind::View, None) => return Err(known("view")),
            (ast::ObjectKind::Catalog, _) => {
                let catalog = &name.last().value;
                match self.catalog.catalog(catalog) {
                    None => return Err(known("catalog")),
                    Some(place) => {
                        let mut text = format!("CREATE CATALOG {}", backticks(catalog));
                        if let Some(comment) = &place.comment {
                            _ = write!(text, " COMMENT {}", string(comment));
                        }
                        let options = place.options.iter().map(|(k, v)| (k.as_str(), v.as_str()));
                        text + " WITH (\n" + &option_lines(options) + "\n)\n"
                    }
                }
            }
            _ => return Err(vec![refused("this SHOW CREATE statement", span)]),
        };
        Ok(Outcome::Rows { columns: vec!["result".to_owned()], rows: vec![vec![Some(text)]] })
    }
}

fn backticks(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn path_text(path: &crate::catalog::Path) -> String {
    [&path.0, &path.1, &path.2].map(|part| backticks(part)).join(".")
}

fn option_lines<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let lines: Vec<String> =
        options.map(|(key, value)| format!("  {} = {}", string(key), string(&secret::shown(key, value)))).collect();
    lines.join(",\n")
}

fn table_text(table: &Table, path: &crate::catalog::Path) -> String {
    let temporary = if table.temporary { "TEMPORARY " } else { "" };
    let mut lines: Vec<String> = table.columns.iter().map(|column| column_text(table, column)).collect();
    if let Some(watermark) = &table.definition.watermark {
        let column: Vec<String> = watermark.column.parts.iter().map(|p| backticks(&p.value)).collect();
        lines.push(format!("  WATERMARK FOR {} AS {}", column.join("."), quoted(&watermark.expr)));
    }
    if let Some(key) = &table.definition.primary_key {
        let columns: Vec<String> = key.columns.iter().map(|c| backticks(&c.value)).collect();
        lines.push(format!(
            "  CONSTRAINT {} PRIMARY KEY ({}) NOT ENFORCED",
            backticks(&constraint_name(key)),
            columns.join(", ")
        ));
    }
    let mut text = format!("CREATE {temporary}TABLE {} (\n{}\n)", path_text(path), lines.join(",\n"));
    if let Some(comment) = &table.comment {
        _ = write!(text, " COMMENT {}", string(comment));
    }
    let mut separator = if table.comment.is_some() { "\n" } else { " " };
    if !table.descriptor.partition_keys.is_empty() {
        let keys: Vec<String> = table.descriptor.partition_keys.iter().map(|k| backticks(k)).collect();
        _ = write!(text, "{separator}PARTITIONED BY ({})", keys.join(", "));
        separator = "\n";
    }
    let options = table.descriptor.options.iter().map(|(k, v)| (k.as_str(), as_written(table, k, v)));
    text + separator + "WITH (\n" + &option_lines(options) + "\n)\n"
}

/// The value as the statement writes it, when it has variables: they are shown, what they hold is not.
fn as_written<'a>(table: &'a Table, key: &str, value: &'a str) -> &'a str {
    let pair = table.definition.options.iter().find(|pair| pair.key.value == key);
    pair.map(|pair| pair.value.value.as_str()).filter(|written| has_variables(written)).unwrap_or(value)
}

fn column_text(table: &Table, column: &Column) -> String {
    let comment = column.comment.as_ref().map_or_else(String::new, |c| format!(" COMMENT {}", string(c)));
    let name = backticks(&column.name);
    let connector = match &column.source {
        ColumnSource::Computed(_, text) => return format!("  {name} AS {text}{comment}"),
        ColumnSource::Connector(index) => table.descriptor.columns.get(*index),
    };
    let metadata = match connector.map(|c| &c.kind) {
        Some(ColumnKind::Metadata { key, is_virtual }) => {
            let from = if *key == column.name { String::new() } else { format!(" FROM {}", string(key)) };
            format!(" METADATA{from}{}", if *is_virtual { " VIRTUAL" } else { "" })
        }
        _ => String::new(),
    };
    format!("  {name} {}{metadata}{comment}", type_text(&column.data_type))
}

fn view_text(view: &View, path: &crate::catalog::Path) -> String {
    let temporary = if view.temporary { "TEMPORARY " } else { "" };
    let named = view.schema.iter().enumerate();
    let columns: Vec<String> = named.map(|(i, (name, ..))| backticks(view.columns.get(i).unwrap_or(name))).collect();
    let comment = view.comment.as_ref().map_or_else(String::new, |c| format!(" COMMENT {}", string(c)));
    format!("CREATE {temporary}VIEW {}({}) as\n{}{comment}\n", path_text(path), columns.join(", "), view.query)
}

/// An expression with every name in backticks, as Flink keeps it.
pub(super) fn quoted(expr: &ast::Expr) -> String {
    names_quoted(&expr.to_string()).0
}

/// The names an expression mentions.
pub(super) fn names_of(expr: &ast::Expr) -> Vec<String> {
    names_quoted(&expr.to_string()).1
}

/// A type written out: VARCHAR(2147483647) for STRING, and so on.
pub(super) fn type_text(data_type: &DataType) -> String {
    let text = match &data_type.kind {
        TypeKind::VarChar(n) => format!("VARCHAR({n})"),
        TypeKind::VarBinary(n) => format!("VARBINARY({n})"),
        TypeKind::TimestampLtz(p) => format!("TIMESTAMP({p}) WITH LOCAL TIME ZONE"),
        TypeKind::Array(element) => format!("ARRAY<{}>", type_text(element)),
        TypeKind::Multiset(element) => format!("MULTISET<{}>", type_text(element)),
        TypeKind::Map(key, value) => format!("MAP<{}, {}>", type_text(key), type_text(value)),
        TypeKind::Row(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|f| format!("{} {}", backticks(&f.name), type_text(&f.data_type))).collect();
            format!("ROW<{}>", fields.join(", "))
        }
        other => other.to_string(),
    };
    if data_type.nullable { text } else { text + " NOT NULL" }
}
