//! `wiesel.on-refused` = dead-letter: the table of dead letters joins every loop as a sink over a source without rows.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{ChangelogMode, Field, Schema, TypeKind};
use wiesel_plan::{Node, NodeId, NodeKind, SinkNode};

use super::Session;
use crate::binder::expr::Bound;
use crate::binder::query::from_connector;
use crate::catalog::{Object, Table};
use crate::plan::lower::writable_columns;

/// A column, what it may be, and whether it must be able to hold NULL (a row of a sink has no offset).
type LetterColumn = (&'static str, &'static str, fn(&TypeKind) -> bool, bool);

const COLUMNS: &[LetterColumn] = &[
    ("at", "TIMESTAMP_LTZ or TIMESTAMP", |k| matches!(k, TypeKind::TimestampLtz(_) | TypeKind::Timestamp(_)), false),
    ("table_name", "STRING", |k| matches!(k, TypeKind::VarChar(_)), false),
    ("topic", "STRING", |k| matches!(k, TypeKind::VarChar(_)), true),
    ("partition", "INT or BIGINT", |k| matches!(k, TypeKind::Int | TypeKind::BigInt), true),
    ("offset", "BIGINT", |k| matches!(k, TypeKind::BigInt), true),
    ("raw", "BYTES or STRING", |k| matches!(k, TypeKind::VarBinary(_) | TypeKind::VarChar(_)), false),
    ("reason", "STRING", |k| matches!(k, TypeKind::VarChar(_)), false),
];

impl Session {
    /// The table of dead letters, when refused rows go there.
    pub(super) fn dead_letter_table(&self, span: Span) -> Bound<Option<Table>> {
        let Some(name) = self.config.dead_letter_table().map_err(|e| vec![e.at(span)])? else { return Ok(None) };
        let (catalog, database) = self.catalog.current();
        let path = (catalog.to_owned(), database.to_owned(), name.to_owned());
        let Some(Object::Table(table)) = self.catalog.get(&path) else {
            let names = self.catalog.list(catalog, database);
            return Err(vec![
                Diagnostic::error("W0201", format!("'wiesel.dead-letter.table': no table `{name}`"))
                    .at(span)
                    .did_you_mean(name, names.keys().map(|n| n.as_ref())),
            ]);
        };
        let mut table = (**table).clone();
        table.descriptor.sink_settings = self.config.sink_settings(name);
        table.info = self.registry.info(&table.descriptor).map_err(|e| vec![from_connector(&e, span)])?;
        check(&table).map_err(|problem| vec![problem.at(span)])?;
        Ok(Some(table))
    }
}

fn check(table: &Table) -> Result<(), Diagnostic> {
    let name = &table.descriptor.name;
    let error = |text: String| {
        let expected: Vec<String> = COLUMNS.iter().map(|(column, types, ..)| format!("`{column}` {types}")).collect();
        Err(Diagnostic::error("W0313", format!("table `{name}` cannot take dead letters: {text}"))
            .hint(format!("it needs the columns {}; others must take NULL", expected.join(", "))))
    };
    if !table.info.is_sink {
        return error("its connector only reads".to_owned());
    }
    let writable: Vec<_> = writable_columns(table).iter().filter_map(|i| table.descriptor.columns.get(*i)).collect();
    for (column, types, fits, takes_null) in COLUMNS {
        let Some(found) = writable.iter().find(|c| c.name.eq_ignore_ascii_case(column)) else {
            return error(format!("column `{column}` is missing"));
        };
        if !fits(&found.data_type.kind) {
            return error(format!("column `{column}` is {}, expected {types}", found.data_type));
        }
        if *takes_null && !found.data_type.nullable {
            return error(format!("column `{column}` is NOT NULL, but a row that a sink refuses has none"));
        }
    }
    let other = writable
        .iter()
        .find(|c| !c.data_type.nullable && !COLUMNS.iter().any(|(column, ..)| c.name.eq_ignore_ascii_case(column)));
    match other {
        Some(column) => error(format!("column `{}` is NOT NULL and gets no value", column.name)),
        None => Ok(()),
    }
}

/// Adds the table to a loop; gives the place of its source.
pub(super) fn join_loop(nodes: &mut Vec<Node>, sinks: &mut Vec<NodeId>, table: &Table) -> NodeId {
    let columns = writable_columns(table);
    let of = |index: &usize| table.descriptor.columns.get(*index);
    let fields = columns.iter().filter_map(of).map(|c| Field::new(&c.name, c.data_type.clone())).collect();
    let schema = Schema::new(fields);
    let position = |key: &String| columns.iter().position(|i| of(i).is_some_and(|c| c.name == *key));
    let primary_key = table.descriptor.primary_key.iter().filter_map(position).collect();
    let node = |kind, inputs, label: &str| Node {
        kind,
        inputs,
        schema: schema.clone(),
        changelog_mode: ChangelogMode::Insert,
        upsert_keys: Vec::new(),
        rowtime: None,
        label: label.to_owned(),
    };
    let source = nodes.len();
    nodes.push(node(NodeKind::Values(Vec::new()), Vec::new(), "dead letters"));
    let sink = SinkNode {
        table: Arc::new(table.descriptor.clone()),
        columns,
        info: table.info.clone(),
        primary_key,
        not_null: Vec::new(),
        drop_null_rows: false,
        overwrite: false,
    };
    nodes.push(node(NodeKind::Sink(sink), vec![source], &table.descriptor.path));
    sinks.push(source + 1);
    source
}
