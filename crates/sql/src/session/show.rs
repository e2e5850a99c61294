//! What is shown of the session: SHOW, DESCRIBE and EXPLAIN.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::table::ColumnKind;

use super::{Outcome, Session};
use crate::binder::expr::{Bound, refused};
use crate::catalog::{Column, ColumnSource, Object, Table};
use crate::parser::ast;
use crate::plan::rel::TimeAttribute;

impl Session {
    pub(super) fn show(&self, show: &ast::Show, span: Span) -> Bound<Outcome> {
        let (catalog, database) = self.catalog.current();
        let of_database = || match &show.from {
            None => (catalog.to_owned(), database.to_owned()),
            Some(name) => {
                let parts: Vec<&str> = name.parts.iter().map(|p| p.value.as_str()).collect();
                match parts.as_slice() {
                    [c, d, ..] => ((*c).to_owned(), (*d).to_owned()),
                    [d] => (catalog.to_owned(), (*d).to_owned()),
                    [] => (catalog.to_owned(), database.to_owned()),
                }
            }
        };
        let (header, names): (&str, Vec<String>) = match &show.kind {
            ast::ShowKind::Catalogs => {
                ("catalog name", self.catalog.catalogs().into_iter().map(str::to_owned).collect())
            }
            ast::ShowKind::CurrentCatalog => ("current catalog name", vec![catalog.to_owned()]),
            ast::ShowKind::Databases => {
                ("database name", self.catalog.databases(catalog).into_iter().map(str::to_owned).collect())
            }
            ast::ShowKind::CurrentDatabase => ("current database name", vec![database.to_owned()]),
            ast::ShowKind::Tables => {
                let (c, d) = of_database();
                ("table name", self.catalog.list(&c, &d).into_keys().map(str::to_owned).collect())
            }
            ast::ShowKind::Views => {
                let (c, d) = of_database();
                let views = self.catalog.list(&c, &d).into_iter().filter(|(_, o)| matches!(o, Object::View(_)));
                ("view name", views.map(|(n, _)| n.to_owned()).collect())
            }
            ast::ShowKind::Jars => ("jars", Vec::new()),
            _ => return Err(vec![refused("this SHOW statement", span)]),
        };
        if let Some(pattern) = &show.pattern {
            return Err(vec![refused("LIKE in a SHOW statement", pattern.pattern.span)]);
        }
        let rows = names.into_iter().map(|n| vec![Some(n)]).collect();
        Ok(Outcome::Rows { columns: vec![header.to_owned()], rows })
    }

    pub(super) fn describe(&self, describe: &ast::Describe, span: Span) -> Bound<Outcome> {
        if describe.object != ast::ObjectKind::Table && describe.object != ast::ObjectKind::View {
            return Err(vec![refused("DESCRIBE of anything but a table or view", span)]);
        }
        let path = self.path_of(&describe.name);
        let rows = match self.catalog.get(&path) {
            Some(Object::Table(table)) => {
                table.columns.iter().enumerate().map(|(i, c)| describe_column(table, i, c)).collect()
            }
            Some(Object::View(view)) => view
                .schema
                .iter()
                .map(|(name, t)| {
                    vec![Some(name.clone()), Some(t.kind.to_string()), Some(upper_bool(t.nullable)), None, None, None]
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
        let columns = ["name", "type", "null", "key", "extras", "watermark"].map(str::to_owned).to_vec();
        Ok(Outcome::Rows { columns, rows })
    }

    pub(super) fn explain(&mut self, explain: &ast::Explain, text: &str) -> Bound<Outcome> {
        let changelog = explain.details.contains(&ast::ExplainDetail::ChangelogMode);
        if explain.details.contains(&ast::ExplainDetail::JsonExecutionPlan) {
            return Err(vec![refused("EXPLAIN JSON_EXECUTION_PLAN", explain.statement.span)]);
        }
        match self.execute(&explain.statement, text)? {
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
    let watermark = table.watermark.as_ref().filter(|(i, _)| *i == index).map(|(_, expr)| {
        let name = |i: usize| table.columns.get(i).map_or_else(String::new, |c| format!("`{}`", c.name));
        wiesel_plan::explain::expression(expr, &name)
    });
    let attribute = match column.time {
        Some(TimeAttribute::Rowtime) => " *ROWTIME*",
        Some(TimeAttribute::Proctime) => " *PROCTIME*",
        None => "",
    };
    vec![
        Some(column.name.clone()),
        Some(format!("{}{attribute}", column.data_type.kind)),
        Some(upper_bool(column.data_type.nullable)),
        key,
        extras,
        watermark,
    ]
}

fn upper_bool(value: bool) -> String {
    value.to_string().to_uppercase()
}
