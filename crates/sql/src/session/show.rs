//! What is shown of the session: SHOW, DESCRIBE and EXPLAIN.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::table::ColumnKind;

use super::show_create::quoted;
use super::{Outcome, Session};
use crate::binder::expr::{Bound, refused};
use crate::catalog::{Column, ColumnSource, Object, Table};
use crate::parser::ast;
use crate::plan::rel::TimeAttribute;

impl Session {
    pub(super) fn show(&mut self, show: &ast::Show, span: Span) -> Bound<Outcome> {
        if let ast::ShowKind::Create { object, name } = &show.kind {
            return self.show_create(*object, name, span);
        }
        if show.kind == ast::ShowKind::Partitions {
            return self.show_partitions(show, span);
        }
        if show.kind == ast::ShowKind::Columns {
            return self.show_columns(show, span);
        }
        if let ast::ShowKind::Modules { full } = show.kind {
            let columns = if full { vec!["module name", "used"] } else { vec!["module name"] };
            let row = if full { vec!["core", "TRUE"] } else { vec!["core"] };
            return Ok(Outcome::Rows {
                columns: columns.into_iter().map(str::to_owned).collect(),
                rows: vec![row.into_iter().map(|v| Some(v.to_owned())).collect()],
            });
        }
        let (header, names) = self.names(show, span)?;
        let keeps = |name: &String| {
            show.pattern.as_ref().is_none_or(|p| like(&p.pattern.value, name, p.ignore_case) != p.negated)
        };
        let rows = names.into_iter().filter(keeps).map(|n| vec![Some(n)]).collect();
        Ok(Outcome::Rows { columns: vec![header.to_owned()], rows })
    }

    /// The statements that list names.
    fn names(&self, show: &ast::Show, span: Span) -> Bound<(&'static str, Vec<String>)> {
        let (catalog, database) = self.catalog.current();
        let owned = |names: Vec<&str>| -> Vec<String> { names.into_iter().map(str::to_owned).collect() };
        let of_database = || match &show.from {
            None => Ok((catalog.to_owned(), database.to_owned())),
            Some(name) => {
                let (c, d) = self.database_of(name);
                if self.catalog.has_database(&c, &d) {
                    return Ok((c, d));
                }
                Err(vec![Diagnostic::error("W0203", format!("no database `{c}.{d}`")).at(name.span)])
            }
        };
        Ok(match &show.kind {
            ast::ShowKind::Catalogs => ("catalog name", owned(self.catalog.catalogs())),
            ast::ShowKind::CurrentCatalog => ("current catalog name", vec![catalog.to_owned()]),
            ast::ShowKind::Databases => {
                let of = match &show.from {
                    None => catalog,
                    Some(name) => &name.last().value,
                };
                if !self.catalog.catalogs().contains(&of) {
                    let at = show.from.as_ref().map_or(span, |name| name.span);
                    return Err(vec![Diagnostic::error("W0203", format!("no catalog `{of}`")).at(at)]);
                }
                ("database name", owned(self.catalog.databases(of)))
            }
            ast::ShowKind::CurrentDatabase => ("current database name", vec![database.to_owned()]),
            ast::ShowKind::Tables => {
                let (c, d) = of_database()?;
                ("table name", owned(self.catalog.list(&c, &d).into_keys().collect()))
            }
            ast::ShowKind::Views => {
                let (c, d) = of_database()?;
                let views = self.catalog.list(&c, &d).into_iter().filter(|(_, o)| matches!(o, Object::View(_)));
                ("view name", views.map(|(n, _)| n.to_owned()).collect())
            }
            ast::ShowKind::Jars => ("jars", Vec::new()),
            ast::ShowKind::UserFunctions => ("function name", owned(self.catalog.functions().names(catalog, database))),
            ast::ShowKind::Functions => {
                let of_words = |name: &&str| name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains(' ');
                let functions = wiesel_expr::function::all().iter().map(|f| f.name()).filter(of_words);
                let mut names: Vec<String> = functions.map(str::to_lowercase).collect();
                names.extend(owned(self.catalog.functions().names(catalog, database)));
                names.sort();
                names.dedup();
                ("function name", names)
            }
            ast::ShowKind::Jobs => return Err(vec![refused("SHOW JOBS: jobs are processes here", span)]),
            _ => return Err(vec![refused("this SHOW statement", span)]),
        })
    }

    fn show_columns(&self, show: &ast::Show, span: Span) -> Bound<Outcome> {
        let Some(name) = &show.from else { return Err(vec![refused("SHOW COLUMNS without a table", span)]) };
        let describe = ast::Describe { object: ast::ObjectKind::Table, extended: false, name: name.clone() };
        let Outcome::Rows { columns, rows } = self.describe(&describe, span)? else { return Ok(Outcome::Done) };
        let keeps = |row: &Vec<Option<String>>| {
            let name = row.first().and_then(Option::as_deref).unwrap_or("");
            show.pattern.as_ref().is_none_or(|p| like(&p.pattern.value, name, p.ignore_case) != p.negated)
        };
        Ok(Outcome::Rows { columns, rows: rows.into_iter().filter(keeps).collect() })
    }

    /// DESCRIBE DATABASE and CATALOG: what was said of them.
    fn describe_place(&mut self, describe: &ast::Describe, span: Span) -> Bound<Outcome> {
        let mut rows: Vec<(String, Option<String>)> = Vec::new();
        let missing = |what: String| vec![Diagnostic::error("W0203", what).at(describe.name.span)];
        let (place, option_key) = if describe.object == ast::ObjectKind::Catalog {
            let name = describe.name.last().value.clone();
            let Some(place) = self.catalog.catalog(&name) else {
                return Err(missing(format!("no catalog `{name}`")));
            };
            let kind = place.options.get("type").map_or("generic_in_memory", String::as_str).to_owned();
            rows.push(("name".to_owned(), Some(name)));
            rows.push(("type".to_owned(), Some(kind)));
            rows.push(("comment".to_owned(), place.comment.clone()));
            (place, "option:")
        } else {
            return Err(vec![refused("this DESCRIBE statement", span)]);
        };
        if describe.extended {
            let options = place.options.iter().filter(|(key, _)| *key != "type");
            rows.extend(options.map(|(key, value)| (format!("{option_key}{key}"), Some(value.clone()))));
        }
        Ok(Outcome::Rows {
            columns: vec!["info name".to_owned(), "info value".to_owned()],
            rows: rows.into_iter().map(|(k, v)| vec![Some(k), v]).collect(),
        })
    }

    pub(super) fn describe_any(&mut self, describe: &ast::Describe, span: Span) -> Bound<Outcome> {
        if describe.object == ast::ObjectKind::Table || describe.object == ast::ObjectKind::View {
            return self.describe(describe, span);
        }
        self.describe_place(describe, span)
    }

    fn describe(&self, describe: &ast::Describe, _span: Span) -> Bound<Outcome> {
        let path = self.path_of(&describe.name);
        let mut comments: Vec<Option<String>> = Vec::new();
        if let Some(Object::Table(table)) = self.catalog.get(&path) {
            comments = table.columns.iter().map(|c| c.comment.clone()).collect();
        }
        let mut rows: Vec<Vec<Option<String>>> = match self.catalog.get(&path) {
            Some(Object::Table(table)) => {
                table.columns.iter().enumerate().map(|(i, c)| describe_column(table, i, c)).collect()
            }
            Some(Object::View(view)) => view
                .schema
                .iter()
                .map(|(name, t, time)| {
                    let kind = format!("{}{}", t.kind, attribute(*time));
                    vec![Some(name.clone()), Some(kind), Some(upper_bool(t.nullable)), None, None, None]
                })
                .collect(),
            None => {
                let (catalog, database) = self.catalog.current();
                let names: Vec<&str> = self.catalog.list(catalog, database).into_keys().collect();
                let name = &describe.name.last().value;
                return Err(vec![
                    Diagnostic::error("W0201", format!("no table or view `{name}`"))
                        .at(describe.name.span)
                        .did_you_mean(name, names.iter().copied()),
                ]);
            }
        };
        let mut columns = ["name", "type", "null", "key", "extras", "watermark"].map(str::to_owned).to_vec();
        // Flink adds the column when there is a comment to show.
        if comments.iter().any(Option::is_some) {
            columns.push("comment".to_owned());
            for (row, comment) in rows.iter_mut().zip(comments) {
                row.push(comment);
            }
        }
        Ok(Outcome::Rows { columns, rows })
    }

    pub(super) fn explain(&mut self, explain: &ast::Explain, text: &str) -> Bound<Outcome> {
        let changelog = explain.details.contains(&ast::ExplainDetail::ChangelogMode);
        if explain.details.contains(&ast::ExplainDetail::JsonExecutionPlan) {
            return Err(vec![refused("EXPLAIN JSON_EXECUTION_PLAN", explain.statement.span)]);
        }
        // What is explained must not change the session: CREATE TABLE ... AS declares no table then.
        let before = self.catalog.clone();
        let explained = self.execute(&explain.statement, text);
        self.catalog = before;
        match explained? {
            Outcome::Jobs(jobs) => {
                let parts: Vec<String> =
                    jobs.iter().map(|job| wiesel_plan::explain::explain(&job.plan, changelog)).collect();
                Ok(Outcome::Text(parts.join("\n")))
            }
            _ => Err(vec![
                Diagnostic::error("W0309", "EXPLAIN takes a query, an INSERT or a STATEMENT SET")
                    .at(explain.statement.span),
            ]),
        }
    }
}

/// What DESCRIBE writes behind the type of a time attribute.
fn attribute(time: Option<TimeAttribute>) -> &'static str {
    match time {
        Some(TimeAttribute::Rowtime) => " *ROWTIME*",
        Some(TimeAttribute::Proctime) => " *PROCTIME*",
        None => "",
    }
}

fn describe_column(table: &Table, index: usize, column: &Column) -> Vec<Option<String>> {
    let key = table
        .descriptor
        .primary_key
        .contains(&column.name)
        .then(|| format!("PRI({})", table.descriptor.primary_key.join(", ")));
    let extras = match &column.source {
        ColumnSource::Computed(_, text) => Some(format!("AS {text}")),
        ColumnSource::Connector(i) => match table.descriptor.columns.get(*i).map(|c| &c.kind) {
            Some(ColumnKind::Metadata { key, is_virtual }) => {
                let from = if *key == column.name { String::new() } else { format!(" FROM '{key}'") };
                Some(format!("METADATA{from}{}", if *is_virtual { " VIRTUAL" } else { "" }))
            }
            _ => None,
        },
    };
    let is_rowtime = table.watermark.as_ref().is_some_and(|(i, _)| *i == index);
    let watermark = table.definition.watermark.as_ref().filter(|_| is_rowtime).map(|w| quoted(&w.expr));
    let attribute = attribute(column.time);
    vec![
        Some(column.name.clone()),
        Some(format!("{}{attribute}", column.data_type.kind)),
        Some(upper_bool(column.data_type.nullable)),
        key,
        extras,
        watermark,
    ]
}

/// SQL's LIKE over a name: `%` for any text, `_` for one character, `\\` before either.
fn like(pattern: &str, name: &str, ignore_case: bool) -> bool {
    let fold = |text: &str| -> Vec<char> {
        if ignore_case { text.to_lowercase().chars().collect() } else { text.chars().collect() }
    };
    let (pattern, name) = (fold(pattern), fold(name));
    // For each length of the pattern's prefix: whether it matches the text so far.
    let mut parts: Vec<Option<char>> = Vec::new();
    let mut is_any: Vec<bool> = Vec::new();
    let mut at = 0;
    while let Some(c) = pattern.get(at) {
        let escaped = if *c == '\\' { pattern.get(at + 1).copied() } else { None };
        at += if escaped.is_some() { 2 } else { 1 };
        parts.push(match (escaped, *c) {
            (Some(c), _) => Some(c),
            (None, '%' | '_') => None,
            (None, c) => Some(c),
        });
        is_any.push(escaped.is_none() && *c == '%');
    }
    let mut matches = vec![false; parts.len() + 1];
    matches[0] = true;
    for (index, any) in is_any.iter().enumerate() {
        matches[index + 1] = matches[index] && *any;
    }
    for c in name {
        let before = matches.clone();
        matches[0] = false;
        for index in 0..parts.len() {
            matches[index + 1] = if is_any[index] {
                before[index + 1] || matches[index]
            } else {
                before[index] && parts[index].is_none_or(|wanted| wanted == c)
            };
        }
    }
    matches.last() == Some(&true)
}

fn upper_bool(value: bool) -> String {
    value.to_string().to_uppercase()
}
