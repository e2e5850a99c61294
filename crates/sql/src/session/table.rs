//! CREATE TABLE, plain, LIKE another and AS a query: columns, key, watermark and options become a [`Table`] of the catalog, its connector asked what it can do.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::table::{ColumnKind, ConnectorInfo, TableColumn, TableDescriptor};
use wiesel_core::{ChangelogMode, DataType, TypeKind};
use wiesel_expr::{ScalarExpr, cast};

use super::show_create::quoted;
use super::{Outcome, Session};
use crate::binder::expr::{Bound, Diagnostics, ExprBinder, cast_to, refused};
use crate::binder::query::{from_connector, options_of};
use crate::binder::scope::Scope;
use crate::binder::types::bind_type;
use crate::catalog::{Column, ColumnSource, FunctionScope, Object, Path, Table};
use crate::parser::ast;
use crate::plan::rel::{RelColumn, TimeAttribute, time_attribute_of};

impl Session {
    pub(super) fn create_table(&mut self, create: &ast::CreateTable, span: Span) -> Bound<Outcome> {
        if let Some(distribution) = &create.distribution {
            return Err(vec![refused("DISTRIBUTED BY", distribution.span)]);
        }
        if create.replace && create.as_query.is_none() {
            return Err(vec![Diagnostic::error("W0309", "REPLACE TABLE needs AS and a query").at(create.name.span)]);
        }
        let path = self.path_of(&create.name);
        let exists = self.catalog.contains(&path, create.temporary);
        if exists && create.if_not_exists {
            return Ok(Outcome::Done);
        }
        if exists && !create.replace {
            return Err(vec![
                Diagnostic::error("W0202", format!("table or view `{}` exists already", create.name.last().value))
                    .at(create.name.span)
                    .hint("write CREATE TABLE IF NOT EXISTS, or drop it before"),
            ]);
        }
        self.check_database(&path, create.name.span)?;
        if let Some(query) = &create.as_query {
            return self.create_table_as(create, query, path, span);
        }
        let definition = match &create.like {
            None => create.clone(),
            Some(like) => {
                let source = self.existing_table(&like.source, "LIKE")?;
                super::like::merged(create, like, &source.definition)?
            }
        };
        let table = self.build_table(definition, &path, span)?;
        self.catalog.insert(path, Object::Table(Arc::new(table)), create.temporary);
        Ok(Outcome::Done)
    }

    /// CREATE TABLE ... AS: a table with the columns of the query, and the INSERT that fills it.
    fn create_table_as(
        &mut self,
        create: &ast::CreateTable,
        query: &ast::Query,
        path: Path,
        span: Span,
    ) -> Bound<Outcome> {
        if create.temporary {
            return Err(vec![refused("CREATE TEMPORARY TABLE ... AS", create.name.span)]);
        }
        let rel = self.binder().bind(query)?;
        let given = rel.columns.iter().map(|c| column_of(&c.name, &c.data_type, create.name.span));
        let given = given.collect::<Bound<Vec<ast::Column>>>()?;
        let written = given.iter().map(|c| ast::ObjectName { parts: vec![c.name.clone()], span: c.span }).collect();
        let columns = columns_of_both(create, given)?;
        let definition = ast::CreateTable { columns, as_query: None, replace: false, ..create.clone() };
        let table = Arc::new(self.build_table(definition, &path, span)?);
        let insert = ast::Insert {
            overwrite: false,
            table: create.name.clone(),
            hints: Vec::new(),
            partition: Vec::new(),
            columns: written,
            source: Box::new(query.clone()),
        };
        let before = self.catalog.clone();
        self.catalog.replace(path, Object::Table(table), false);
        let planned = self.plan_inserts(&[(&insert, span)]);
        if planned.is_err() {
            self.catalog = before;
        }
        planned.map(Outcome::Jobs)
    }

    /// A table of the catalog that a statement names.
    pub(super) fn existing_table(&self, name: &ast::ObjectName, statement: &str) -> Bound<Arc<Table>> {
        let error = match self.catalog.get(&self.path_of(name)) {
            Some(Object::Table(table)) => return Ok(table.clone()),
            Some(Object::View(_)) => {
                Diagnostic::error("W0309", format!("`{}` is a view, {statement} takes a table", name.last().value))
            }
            None => {
                let (catalog, database) = self.catalog.current();
                let names: Vec<&str> = self.catalog.list(catalog, database).into_keys().collect();
                Diagnostic::error("W0201", format!("no table `{}`", name.last().value))
                    .did_you_mean(&name.last().value, names.iter().copied())
            }
        };
        Err(vec![error.at(name.span)])
    }

    /// A table from its definition, its connector asked what it can do.
    pub(super) fn build_table(&mut self, definition: ast::CreateTable, path: &Path, span: Span) -> Bound<Table> {
        let create = &definition;
        let mut options = options_of(&create.options, &self.config)?;
        for given in &self.table_options {
            if given.table == create.name.last().value {
                wiesel_core::secret::keep_option(&given.key, &given.value);
                options.insert(given.key.clone(), given.value.clone());
            }
        }
        self.unused_overrides.retain(|o| o.table != create.name.last().value);
        let mut errors: Diagnostics = Vec::new();
        let primary_key = told(bind_primary_key(create, &mut self.warnings), &mut errors).unwrap_or_default();
        // Nothing more can be said of a table whose columns are not known.
        let mut columns = match bind_columns(create, &primary_key, self.catalog.function_scope(None)) {
            Ok(columns) => columns,
            Err(mut e) => {
                errors.append(&mut e);
                return Err(errors);
            }
        };
        let watermark = create.watermark.as_ref();
        let watermark = watermark
            .and_then(|w| told(bind_watermark(w, &mut columns.all, self.catalog.function_scope(None)), &mut errors));
        for key in &create.partitioned_by {
            if !columns.connector.iter().any(|c| c.name == key.value) {
                errors.push(
                    Diagnostic::error("W0301", format!("no column `{}` to partition by", key.value))
                        .at(key.span)
                        .did_you_mean(&key.value, columns.connector.iter().map(|c| c.name.as_str())),
                );
            }
        }
        let descriptor = TableDescriptor {
            name: create.name.last().value.clone(),
            path: format!("{}.{}.{}", path.0, path.1, path.2),
            columns: columns.connector,
            primary_key,
            partition_keys: create.partitioned_by.iter().map(|k| k.value.clone()).collect(),
            options,
            sink_settings: Default::default(),
        };
        // A table may be declared for LIKE alone; reading or writing it says what it lacks.
        let info = if descriptor.options.contains_key("connector") {
            // A key or partition that is wrong itself would only be named once more by the connector.
            let is_sound = errors.is_empty();
            match self.registry.info(&descriptor) {
                Ok(info) => info,
                Err(error) if is_sound || is_about_option(create, &error) => {
                    errors.extend(self.option_errors(create, &descriptor, error, span));
                    no_connector()
                }
                Err(_) => no_connector(),
            }
        } else {
            no_connector()
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        for note in &info.notes {
            self.notes.push(format!("table `{}`: {note}", descriptor.name));
        }
        if descriptor.options.contains_key("connector") {
            check_metadata(&descriptor, &info.metadata, create)?;
        }
        Ok(Table {
            descriptor,
            columns: columns.all,
            watermark,
            info,
            comment: create.comment.as_ref().map(|c| c.value.clone()),
            temporary: create.temporary,
            definition,
        })
    }
}

impl Session {
    /// A connector names one wrong option at a time; the others are found by asking again without it.
    fn option_errors(
        &self,
        create: &ast::CreateTable,
        descriptor: &TableDescriptor,
        first: wiesel_core::Error,
        span: Span,
    ) -> Diagnostics {
        let mut given = descriptor.clone();
        let mut left_away: Vec<String> = Vec::new();
        let mut errors: Diagnostics = Vec::new();
        let mut error = first;
        loop {
            // What is said because an option was left away is no error of the file.
            if left_away.iter().any(|key| names(&error, key)) {
                break;
            }
            errors.push(from_connector(&error, option_span(create, &error, span)));
            // Unknown options are named all at once, of others only one is wrong.
            let wrong_max = if error.code() == "W0502" { usize::MAX } else { 1 };
            let is_wrong = |key: &&String| *key != "connector" && names(&error, key);
            let wrong: Vec<String> = given.options.keys().filter(is_wrong).take(wrong_max).cloned().collect();
            if wrong.is_empty() {
                break;
            }
            given.options.retain(|key, _| !wrong.contains(key));
            left_away.extend(wrong);
            match self.registry.info(&given) {
                Err(next) if errors.len() < OPTION_ERRORS_MAX => error = next,
                _ => break,
            }
        }
        errors
    }
}

/// Wrong options of one table that are told at once.
const OPTION_ERRORS_MAX: usize = 20;

fn names(error: &wiesel_core::Error, key: &str) -> bool {
    error.message().contains(&format!("'{key}'"))
}

fn is_about_option(create: &ast::CreateTable, error: &wiesel_core::Error) -> bool {
    create.options.iter().any(|pair| names(error, &pair.key.value))
}

/// The value, or `None` with its errors put to the others.
fn told<T>(bound: Bound<T>, errors: &mut Diagnostics) -> Option<T> {
    match bound {
        Ok(value) => Some(value),
        Err(mut e) => {
            errors.append(&mut e);
            None
        }
    }
}

/// What a table without a connector can do: nothing.
fn no_connector() -> ConnectorInfo {
    ConnectorInfo {
        is_source: false,
        is_lookup: false,
        is_bounded: false,
        watermark_push_down: false,
        source_mode: ChangelogMode::Insert,
        is_sink: false,
        sink_mode: None,
        sink_folds_by_key: false,
        delivery: "",
        metadata: Vec::new(),
        notes: Vec::new(),
    }
}

/// The columns of a CREATE TABLE ... AS. Names alone put the columns of the query into their order. Else the declared columns that the query
/// does not give stand in front, and a declared type takes the place of the query's.
fn columns_of_both(create: &ast::CreateTable, mut given: Vec<ast::Column>) -> Bound<Vec<ast::Column>> {
    let wrong = |at: Span, text: String| vec![Diagnostic::error("W0309", text).at(at)];
    let place = |given: &[ast::Column], name: &str| given.iter().position(|c| c.name.value == name);
    let is_bare = |column: &ast::Column| matches!(column.kind, ast::ColumnKind::Bare);
    if let Some(first) = create.columns.iter().find(|c| is_bare(c)) {
        if create.columns.len() != given.len() || !create.columns.iter().all(is_bare) {
            let text = "a column list without types must name every column of the query";
            return Err(wrong(first.span, text.to_owned()));
        }
        let mut ordered = Vec::new();
        for column in &create.columns {
            match place(&given, &column.name.value) {
                Some(at) => ordered.push(given.remove(at)),
                None => {
                    return Err(vec![
                        Diagnostic::error("W0301", format!("the query gives no column `{}`", column.name.value))
                            .at(column.span)
                            .did_you_mean(&column.name.value, given.iter().map(|c| c.name.value.as_str())),
                    ]);
                }
            }
        }
        return Ok(ordered);
    }
    let mut columns = Vec::new();
    for column in &create.columns {
        match place(&given, &column.name.value).and_then(|at| given.get_mut(at)) {
            None => columns.push(column.clone()),
            Some(_) if matches!(column.kind, ast::ColumnKind::Computed(_)) => {
                let text = format!("column `{}` is computed and cannot take what the query gives", column.name.value);
                return Err(wrong(column.span, text));
            }
            Some(of_query) => *of_query = column.clone(),
        }
    }
    columns.extend(given);
    Ok(columns)
}

/// A physical column as a statement would declare it.
fn column_of(name: &str, data_type: &DataType, span: Span) -> Bound<ast::Column> {
    let written = super::show_create::type_text(data_type);
    let data_type = crate::parser::parse_data_type(&written).map_err(|_| {
        vec![
            Diagnostic::error("W0313", format!("column `{name}` has type {data_type}, which no table can have"))
                .at(span)
                .hint("cast it in the query"),
        ]
    })?;
    let name = ast::Ident { value: name.to_owned(), quoted: true, span };
    Ok(ast::Column { name, kind: ast::ColumnKind::Physical(data_type), comment: None, span })
}

struct BoundColumns {
    connector: Vec<TableColumn>,
    all: Vec<Column>,
}

fn bind_primary_key(create: &ast::CreateTable, warnings: &mut Vec<Diagnostic>) -> Bound<Vec<String>> {
    let Some(key) = &create.primary_key else { return Ok(Vec::new()) };
    if key.unique {
        return Err(vec![refused("UNIQUE", key.span).hint("declare a PRIMARY KEY")]);
    }
    match key.enforcement {
        ast::Enforcement::NotEnforced => {}
        ast::Enforcement::Unsaid => warnings.push(
            Diagnostic::warning("W0204", "this PRIMARY KEY is not enforced, as every key of a stream")
                .at(key.span)
                .hint("newer Flink versions want NOT ENFORCED written out"),
        ),
        ast::Enforcement::Enforced => {
            return Err(vec![
                Diagnostic::error("W0204", "a PRIMARY KEY cannot be ENFORCED on a stream")
                    .at(key.span)
                    .hint("write NOT ENFORCED"),
            ]);
        }
    }
    for name in &key.columns {
        let is_physical =
            create.columns.iter().any(|c| c.name.value == name.value && matches!(c.kind, ast::ColumnKind::Physical(_)));
        if !is_physical {
            return Err(vec![
                Diagnostic::error("W0301", format!("no physical column `{}` for the primary key", name.value))
                    .at(name.span)
                    .did_you_mean(&name.value, create.columns.iter().map(|c| c.name.value.as_str())),
            ]);
        }
    }
    Ok(key.columns.iter().map(|c| c.value.clone()).collect())
}

fn bind_columns(
    create: &ast::CreateTable,
    primary_key: &[String],
    functions: Option<Arc<FunctionScope>>,
) -> Bound<BoundColumns> {
    let mut errors: Diagnostics = Vec::new();
    let mut connector: Vec<TableColumn> = Vec::new();
    for column in &create.columns {
        let name = column.name.value.clone();
        if create.columns.iter().filter(|c| c.name.value == name).count() > 1
            && !std::ptr::eq(column, create.columns.iter().find(|c| c.name.value == name).unwrap_or(column))
        {
            errors.push(Diagnostic::error("W0205", format!("column `{name}` is declared twice")).at(column.name.span));
            continue;
        }
        let (written, kind) = match &column.kind {
            ast::ColumnKind::Physical(written) => (written, ColumnKind::Physical),
            ast::ColumnKind::Metadata { data_type, key, is_virtual } => (
                data_type,
                ColumnKind::Metadata {
                    key: key.as_ref().map_or_else(|| name.clone(), |k| k.value.clone()),
                    is_virtual: *is_virtual,
                },
            ),
            ast::ColumnKind::Computed(_) => continue,
            ast::ColumnKind::Bare => {
                errors.push(Diagnostic::error("W0101", format!("column `{name}` lacks its type")).at(column.span));
                continue;
            }
        };
        match bind_type(written) {
            Ok(data_type) => {
                let nullable = data_type.nullable && !primary_key.contains(&name);
                connector.push(TableColumn { name, data_type: data_type.with_nullable(nullable), kind });
            }
            Err(e) => errors.push(e),
        }
    }
    let columns = connector.iter().map(|c| RelColumn::new(c.name.clone(), c.data_type.clone())).collect();
    let scope = Scope::new(Some(create.name.last().value.clone()), columns).with_functions(functions);
    let mut all = Vec::new();
    for column in &create.columns {
        let comment = column.comment.as_ref().map(|c| c.value.clone());
        let name = column.name.value.clone();
        if let ast::ColumnKind::Computed(expr) = &column.kind {
            match ExprBinder::plain(&scope).bind(expr) {
                Ok(bound) => all.push(Column {
                    name,
                    data_type: bound.data_type(),
                    comment,
                    time: time_attribute_of(&bound),
                    source: ColumnSource::Computed(bound, quoted(expr)),
                }),
                Err(mut e) => errors.append(&mut e),
            }
        } else if let Some(index) = connector.iter().position(|c| c.name == name) {
            let data_type = connector.get(index).map_or_else(DataType::string, |c| c.data_type.clone());
            all.push(Column { name, data_type, comment, time: None, source: ColumnSource::Connector(index) });
        }
    }
    if errors.is_empty() { Ok(BoundColumns { connector, all }) } else { Err(errors) }
}

fn bind_watermark(
    watermark: &ast::Watermark,
    columns: &mut [Column],
    functions: Option<Arc<FunctionScope>>,
) -> Bound<(usize, ScalarExpr)> {
    let [name] = watermark.column.parts.as_slice() else {
        return Err(vec![
            Diagnostic::error("W0206", "a watermark needs a column of the table, not a field inside a row")
                .at(watermark.column.span),
        ]);
    };
    let Some(index) = columns.iter().position(|c| c.name == name.value) else {
        return Err(vec![
            Diagnostic::error("W0301", format!("no column `{}` for the watermark", name.value))
                .at(name.span)
                .did_you_mean(&name.value, columns.iter().map(|c| c.name.as_str())),
        ]);
    };
    let data_type = columns[index].data_type.clone();
    if !matches!(data_type.kind, TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3)) {
        return Err(vec![
            Diagnostic::error("W0206", format!("column `{}` cannot be a row-time attribute", name.value))
                .at(name.span)
                .label(format!("expected TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p <= 3, found {data_type}")),
        ]);
    }
    let scope = Scope::new(None, columns.iter().map(|c| RelColumn::new(c.name.clone(), c.data_type.clone())).collect());
    let scope = scope.with_functions(functions);
    let expr = ExprBinder::plain(&scope).bind(&watermark.expr)?;
    let found = expr.data_type();
    let same_family = matches!(
        (&found.kind, &data_type.kind),
        (TypeKind::Timestamp(_), TypeKind::Timestamp(_)) | (TypeKind::TimestampLtz(_), TypeKind::TimestampLtz(_))
    );
    if !same_family {
        return Err(vec![
            Diagnostic::error("W0206", "the watermark expression has the wrong type")
                .at(watermark.expr.span)
                .label(format!("expected {}, found {}", data_type.kind, found.kind)),
        ]);
    }
    let expr = match found.kind {
        TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3) => expr,
        _ => cast_to(expr, &data_type),
    };
    columns[index].time = Some(TimeAttribute::Rowtime);
    Ok((index, expr))
}

fn check_metadata(
    descriptor: &TableDescriptor,
    known: &[(String, DataType, bool)],
    create: &ast::CreateTable,
) -> Bound<()> {
    for column in &descriptor.columns {
        let ColumnKind::Metadata { key, .. } = &column.kind else { continue };
        let span = create.columns.iter().find(|c| c.name.value == column.name).map_or_else(Span::default, |c| c.span);
        let Some((_, data_type, _)) = known.iter().find(|(k, _, _)| k == key) else {
            let names: Vec<&str> = known.iter().map(|(k, _, _)| k.as_str()).collect();
            return Err(vec![
                Diagnostic::error(
                    "W0207",
                    format!("no metadata key '{key}' in the connector of `{}`", descriptor.name),
                )
                .at(span)
                .label(format!("known keys: {}", names.join(", ")))
                .did_you_mean(key, names.iter().copied()),
            ]);
        };
        if !cast::is_castable(data_type, &column.data_type) {
            return Err(vec![
                Diagnostic::error("W0304", format!("metadata '{key}' cannot be read as {}", column.data_type))
                    .at(span)
                    .label(format!("it is {data_type}")),
            ]);
        }
    }
    Ok(())
}

/// The place of the option that an error speaks of, else of the whole list.
fn option_span(create: &ast::CreateTable, error: &wiesel_core::Error, statement: Span) -> Span {
    let list = if create.options.is_empty() { statement } else { create.options_span };
    create
        .options
        .iter()
        .find(|pair| error.message().contains(&format!("'{}'", pair.key.value)))
        .map_or(list, |pair| pair.key.span.to(pair.value.span))
}
