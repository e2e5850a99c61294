//! INSERT: the query is fitted to its sink, and the inserts of a statement become jobs, one per connected part of the plan.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::table::SinkSettings;
use wiesel_core::{TypeKind, Value};
use wiesel_expr::{ScalarExpr, cast};
use wiesel_plan::{Node, NodeId, NodeKind, StreamPlan};

use super::{PlannedJob, Session, dead_letters};
use crate::binder::expr::{Bound, Diagnostics, ExprBinder, cast_to, refused};
use crate::binder::query::from_connector;
use crate::binder::scope::Scope;
use crate::catalog::{Object, Table};
use crate::parser::ast::{self, Insert};
use crate::plan::lower::{Lowering, SinkTarget, writable_columns};
use crate::plan::materialize::Materialization;
use crate::plan::optimize::{Ends, optimize};
use crate::plan::rel::{Rel, identity};
use crate::plan::traits::infer;

/// The one connector that replaces what is there; any other would add to it.
const OVERWRITABLE: &str = "filesystem";

impl Session {
    pub(super) fn plan_inserts(&self, inserts: &[(&Insert, Span)]) -> Bound<Vec<PlannedJob>> {
        let mut lowering = Lowering::default();
        let mut errors: Diagnostics = Vec::new();
        let mut names = Vec::new();
        for (insert, span) in inserts {
            match self.plan_insert(insert, *span, &mut lowering) {
                Ok(path) => names.push(path),
                Err(mut e) => errors.append(&mut e),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let span = inserts.first().map_or_else(Span::default, |(_, s)| *s);
        self.finish(lowering, &format!("insert-into_{}", names.join(",")), span)
    }

    fn plan_insert(&self, insert: &Insert, span: Span, lowering: &mut Lowering) -> Bound<String> {
        if insert.overwrite && !self.config.is_batch() {
            return Err(vec![
                refused("INSERT OVERWRITE in a streaming query", insert.table.span)
                    .hint("SET 'execution.runtime-mode' = 'batch', or write INSERT INTO"),
            ]);
        }
        let (table, query) = match (self.sink_table(insert), self.binder().bind(&insert.source)) {
            (Ok(table), Ok(query)) => (table, query),
            (Err(mut errors), Err(mut more)) => {
                errors.append(&mut more);
                return Err(errors);
            }
            (Err(errors), _) | (_, Err(errors)) => return Err(errors),
        };
        let (rel, target) = fit(query, table, insert, &insert.source)?;
        let path = target.table.descriptor.path.clone();
        lowering.sink(&rel, target, &self.config).map_err(|e| place(e, span))?;
        Ok(path)
    }

    fn sink_table(&self, insert: &Insert) -> Bound<Arc<Table>> {
        let path = self.path_of(&insert.table);
        let name = &insert.table.last().value;
        let table = match self.catalog.get(&path) {
            Some(Object::Table(table)) => table.clone(),
            Some(Object::View(_)) => {
                return Err(vec![
                    Diagnostic::error("W0506", format!("`{name}` is a view and cannot be written"))
                        .at(insert.table.span),
                ]);
            }
            None => {
                let (catalog, database) = self.catalog.current();
                let names: Vec<&str> = self.catalog.list(catalog, database).into_keys().collect();
                return Err(vec![
                    Diagnostic::error("W0201", format!("no table `{name}`"))
                        .at(insert.table.span)
                        .did_you_mean(name, names.iter().copied()),
                ]);
            }
        };
        let mut table = (*table).clone();
        self.check_settings_name_tables(&insert.table)?;
        table.descriptor.sink_settings = self.config.sink_settings(&table.descriptor.name);
        if table.descriptor.sink_settings != SinkSettings::default() {
            table.info =
                self.registry.info(&table.descriptor).map_err(|e| vec![from_connector(&e, insert.table.span)])?;
        }
        for hint in &insert.hints {
            for arg in &hint.args {
                if let ast::HintArg::Pair(pair) = arg {
                    let value = self.config.expanded(pair).map_err(|e| vec![e])?;
                    table.descriptor.options.insert(pair.key.value.clone(), value);
                }
            }
            table.info = self.registry.info(&table.descriptor).map_err(|e| vec![from_connector(&e, hint.span)])?;
        }
        if !table.descriptor.options.contains_key("connector") {
            return Err(vec![
                Diagnostic::error("W0501", format!("table `{name}` lacks the required option 'connector'"))
                    .at(insert.table.span)
                    .label("expected 'connector' = '...' in its CREATE TABLE"),
            ]);
        }
        if insert.overwrite && table.descriptor.options.get("connector").is_none_or(|c| c != OVERWRITABLE) {
            return Err(vec![refused(
                &format!("INSERT OVERWRITE of a table whose connector is not {OVERWRITABLE}"),
                insert.table.span,
            )]);
        }
        if !table.info.is_sink {
            let connector = table.descriptor.options.get("connector").map_or("", String::as_str);
            return Err(vec![
                Diagnostic::error("W0506", format!("table `{name}` cannot be written"))
                    .at(insert.table.span)
                    .label(format!("connector '{connector}' is a source only")),
            ]);
        }
        Ok(Arc::new(table))
    }

    /// A setting for a table that is not there would be without effect, unseen.
    fn check_settings_name_tables(&self, sink: &ast::ObjectName) -> Bound<()> {
        let (catalog, database) = self.catalog.current();
        let known = self.catalog.list(catalog, database);
        let target = sink.last().value.as_str();
        for (key, table) in self.config.tables_of_settings() {
            if table != target && !known.contains_key(table) {
                let names: Vec<&str> = known.keys().map(|name| name.as_ref()).collect();
                return Err(vec![
                    Diagnostic::error("W0201", format!("setting '{key}' is for a table `{table}` that is not there"))
                        .at(sink.span)
                        .did_you_mean(table, names.iter().copied()),
                ]);
            }
        }
        Ok(())
    }

    /// Optimizes, infers traits and cuts the graph into jobs.
    pub(super) fn finish(&self, lowering: Lowering, default_name: &str, span: Span) -> Bound<Vec<PlannedJob>> {
        let materialization =
            Materialization::of(self.config.values().get("table.exec.sink.upsert-materialize").map(String::as_str));
        let ends = if self.config.is_batch() {
            check_bounded(&lowering.nodes).map_err(|e| place(e, span))?;
            Ends::Batch
        } else {
            Ends::Streaming { materialization, state_ttl_ms: self.config.state_ttl_ms() }
        };
        let (mut nodes, sinks) = optimize(lowering.nodes, lowering.sinks, &self.config.session(), ends);
        let materialize_is_off = materialization == Materialization::Off;
        infer(&mut nodes, materialize_is_off).map_err(|e| place(e, span))?;
        let job_name = self.config.pipeline_name().unwrap_or(default_name).to_owned();
        let config = self.config.job_config();
        let letters = self.dead_letter_table(span)?;
        let job = |(mut nodes, mut sinks): (Vec<Node>, Vec<NodeId>)| {
            // A query that is shown keeps no checkpoints, by which a table would get its letters.
            let is_shown = nodes.iter().any(|node| matches!(node.kind, NodeKind::Collect));
            let letters = letters.as_ref().filter(|_| !is_shown);
            PlannedJob {
                loop_name: loop_name(&nodes, &sinks),
                plan: StreamPlan {
                    job_name: job_name.clone(),
                    dead_letters: letters.map(|table| dead_letters::join_loop(&mut nodes, &mut sinks, table)),
                    nodes,
                    sinks,
                },
                config: config.clone(),
                query_schema: None,
                column_width_max: self.config.column_width_max(),
            }
        };
        Ok(components(&nodes, &sinks).into_iter().map(job).collect())
    }
}

/// Batch mode ends, so its sources must.
fn check_bounded(nodes: &[Node]) -> Result<(), Diagnostic> {
    let endless = nodes.iter().find_map(|node| match &node.kind {
        NodeKind::Source(source) if !source.info.is_bounded => Some(source.table.path.clone()),
        _ => None,
    });
    match endless {
        None => Ok(()),
        Some(path) => Err(Diagnostic::error("W0504", format!("batch mode cannot read `{path}`, which has no end"))
            .hint("bound the source, or SET 'execution.runtime-mode' = 'streaming'")),
    }
}

fn loop_name(nodes: &[Node], sinks: &[NodeId]) -> String {
    let names: Vec<&str> = sinks
        .iter()
        .filter_map(|s| nodes.get(*s))
        .map(|n| match &n.kind {
            NodeKind::Sink(sink) => sink.table.name.as_str(),
            _ => "query",
        })
        .collect();
    names.join("+")
}

/// The connected parts of a graph, in the order of their first sink.
fn components(nodes: &[Node], sinks: &[NodeId]) -> Vec<(Vec<Node>, Vec<NodeId>)> {
    let mut group: Vec<usize> = (0..nodes.len()).collect();
    fn root(group: &[usize], mut id: usize) -> usize {
        while group.get(id).is_some_and(|g| *g != id) {
            id = group.get(id).copied().unwrap_or(id);
        }
        id
    }
    for (id, node) in nodes.iter().enumerate() {
        for input in &node.inputs {
            let (a, b) = (root(&group, id), root(&group, *input));
            if let Some(slot) = group.get_mut(a.max(b)) {
                *slot = a.min(b);
            }
        }
    }
    let mut order: Vec<usize> = Vec::new();
    for sink in sinks {
        let r = root(&group, *sink);
        if !order.contains(&r) {
            order.push(r);
        }
    }
    order
        .into_iter()
        .map(|r| {
            let mut places = std::collections::BTreeMap::new();
            let mut part = Vec::new();
            for (id, node) in nodes.iter().enumerate().filter(|(id, _)| root(&group, *id) == r) {
                let mut node = node.clone();
                node.inputs.iter_mut().for_each(|i| *i = places.get(i).copied().unwrap_or(*i));
                places.insert(id, part.len());
                part.push(node);
            }
            let sinks = sinks.iter().filter_map(|s| places.get(s).copied()).collect();
            (part, sinks)
        })
        .collect()
}

/// A planner's error gets the statement's place when it has none.
pub(super) fn place(mut error: Diagnostic, span: Span) -> Diagnostics {
    error.span.get_or_insert(Span::new(span.start, span.start + first_word_length(span)));
    vec![error]
}

fn first_word_length(span: Span) -> u32 {
    // INSERT and SELECT have six letters; a shorter statement is marked whole.
    (span.end - span.start).min(6)
}

fn fit(query: Rel, table: Arc<Table>, insert: &Insert, source: &ast::Query) -> Bound<(Rel, SinkTarget)> {
    let writable = writable_columns(&table);
    let name_of = |index: &usize| table.descriptor.columns.get(*index).map_or("", |c| c.name.as_str());
    let mut constants: Vec<(usize, ScalarExpr)> = Vec::new();
    for (key, value) in &insert.partition {
        let Some(index) = writable.iter().copied().find(|i| name_of(i) == key.value) else {
            return Err(vec![
                Diagnostic::error("W0301", format!("no column `{}` in `{}`", key.value, table.descriptor.name))
                    .at(key.span),
            ]);
        };
        if let Some(value) = value {
            constants.push((index, ExprBinder::plain(&Scope::default()).bind(value)?));
        }
    }
    let listed: Vec<usize> = if insert.columns.is_empty() {
        writable.iter().copied().filter(|i| !constants.iter().any(|(c, _)| c == i)).collect()
    } else {
        let mut listed = Vec::new();
        for column in &insert.columns {
            let name = &column.last().value;
            match writable.iter().copied().find(|i| name_of(i) == name) {
                Some(index) => listed.push(index),
                None => {
                    return Err(vec![
                        Diagnostic::error("W0301", format!("no column `{name}` in `{}`", table.descriptor.name))
                            .at(column.span)
                            .did_you_mean(name, writable.iter().map(name_of)),
                    ]);
                }
            }
        }
        listed
    };
    if listed.len() != query.columns.len() {
        return Err(mismatch(&query, &table, &listed, source, "Different number of columns."));
    }
    let columns = identity(&query.columns);
    let mut items = Vec::new();
    let mut not_null = Vec::new();
    for (position, index) in writable.iter().enumerate() {
        let Some(wanted) = table.descriptor.columns.get(*index) else { continue };
        let from_query = listed.iter().position(|l| l == index).and_then(|p| columns.get(p).cloned());
        let constant = constants.iter().find(|(c, _)| c == index).map(|(_, e)| e.clone());
        let expr = match from_query.or(constant) {
            Some(expr) => expr,
            None if wanted.data_type.nullable => {
                ScalarExpr::Literal { value: Value::Null, data_type: wanted.data_type.clone() }
            }
            None => {
                return Err(vec![
                    Diagnostic::error("W0312", format!("column `{}` is NOT NULL and gets no value", wanted.name))
                        .at(insert.table.span),
                ]);
            }
        };
        let found = expr.data_type();
        let fits = found.kind == wanted.data_type.kind
            || found.kind == TypeKind::Null
            || cast::is_implicit(&found, &wanted.data_type);
        if !fits {
            let cause = format!("Incompatible types for sink column '{}' at position {position}.", wanted.name);
            return Err(mismatch(&query, &table, &listed, source, &cause));
        }
        if !wanted.data_type.nullable && found.nullable {
            not_null.push(position);
        }
        items.push((wanted.name.clone(), cast_to(expr, &wanted.data_type)));
    }
    let primary_key =
        table.descriptor.primary_key.iter().filter_map(|key| writable.iter().position(|i| name_of(i) == key)).collect();
    let rel = query.project(items);
    Ok((rel, SinkTarget { table, columns: writable, primary_key, not_null, overwrite: insert.overwrite }))
}

fn mismatch(query: &Rel, table: &Table, listed: &[usize], source: &ast::Query, cause: &str) -> Diagnostics {
    let query_schema: Vec<String> = query.columns.iter().map(|c| format!("{}: {}", c.name, c.data_type)).collect();
    let sink_schema: Vec<String> = listed
        .iter()
        .filter_map(|i| table.descriptor.columns.get(*i))
        .map(|c| format!("{}: {}", c.name, c.data_type))
        .collect();
    vec![
        Diagnostic::error(
            "W0313",
            format!("column types of query result and sink for '{}' do not match: {cause}", table.descriptor.path),
        )
        .at(Span::new(source.span.start, source.span.start + first_word_length(source.span)))
        .label(format!(
            "query schema: [{}]; sink schema: [{}]",
            query_schema.join(", "),
            sink_schema.join(", ")
        )),
    ]
}
