//! Partitions that a statement names: ALTER TABLE ADD and DROP PARTITION, SHOW PARTITIONS.
//!
//! As in Flink's catalog in memory they are declarations: SHOW PARTITIONS lists what ALTER TABLE has added, and a scan of a filesystem table
//! finds its partitions by its folders, whatever was added.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, Value};
use wiesel_expr::ScalarExpr;

use super::{Outcome, Session};
use crate::binder::expr::{Bound, ExprBinder, cast_to, refused};
use crate::binder::scope::Scope;
use crate::catalog::{Path, Table};
use crate::parser::ast;

/// Values of the partition columns, in their order; `None`: not said.
type Values = Vec<Option<Option<String>>>;

impl Session {
    /// ADD PARTITION: refused for one that is there, unless IF NOT EXISTS.
    pub(super) fn add_partitions(
        &mut self,
        table: &Table,
        path: &Path,
        if_not_exists: bool,
        specs: &[ast::PartitionSpec],
    ) -> Bound<Outcome> {
        let mut added = Vec::new();
        for spec in specs {
            let values = whole(table, spec, &self.config.session())?;
            let is_known = self.catalog.partitions(path).contains(&values) || added.contains(&values);
            if is_known && !if_not_exists {
                let text = format!("partition `{}` exists already", shown(table, &values));
                return Err(vec![Diagnostic::error("W0202", text).at(spec.span).hint("write ADD IF NOT EXISTS")]);
            }
            if !is_known {
                added.push(values);
            }
        }
        self.catalog.partitions(path).extend(added);
        Ok(Outcome::Done)
    }

    /// DROP PARTITION: refused for one that is not there, unless IF EXISTS.
    pub(super) fn drop_partitions(
        &mut self,
        table: &Table,
        path: &Path,
        if_exists: bool,
        specs: &[ast::PartitionSpec],
    ) -> Bound<Outcome> {
        let mut dropped = Vec::new();
        for spec in specs {
            let values = whole(table, spec, &self.config.session())?;
            if !if_exists && !self.catalog.partitions(path).contains(&values) {
                let text = format!("no partition `{}`", shown(table, &values));
                return Err(vec![Diagnostic::error("W0201", text).at(spec.span).hint("write DROP IF EXISTS")]);
            }
            dropped.push(values);
        }
        self.catalog.partitions(path).retain(|values| !dropped.contains(values));
        Ok(Outcome::Done)
    }

    /// SHOW PARTITIONS.
    pub(super) fn show_partitions(&mut self, show: &ast::Show, span: Span) -> Bound<Outcome> {
        let Some(name) = &show.from else { return Err(vec![refused("SHOW PARTITIONS without a table", span)]) };
        let table = self.existing_table(name, "SHOW PARTITIONS")?;
        let path = self.path_of(name);
        let wanted = match &show.partition {
            Some(spec) => some(&table, spec, &self.config.session())?,
            None => {
                let spec = ast::PartitionSpec { values: Vec::new(), options: Vec::new(), span: name.span };
                some(&table, &spec, &self.config.session())?
            }
        };
        let fits = |values: &&Vec<Option<String>>| {
            wanted.iter().zip(values.iter()).all(|(wanted, value)| wanted.as_ref().is_none_or(|w| w == value))
        };
        let mut names: Vec<String> =
            self.catalog.partitions(&path).iter().filter(fits).map(|values| shown(&table, values)).collect();
        names.sort();
        Ok(Outcome::Rows {
            columns: vec!["partition name".to_owned()],
            rows: names.into_iter().map(|name| vec![Some(name)]).collect(),
        })
    }
}

fn shown(table: &Table, values: &[Option<String>]) -> String {
    let keys = table.descriptor.partition_keys.iter();
    let parts = keys.zip(values).map(|(key, value)| format!("{key}={}", value.as_deref().unwrap_or("null")));
    parts.collect::<Vec<_>>().join("/")
}

/// A value for every partition column.
fn whole(table: &Table, spec: &ast::PartitionSpec, session: &wiesel_expr::Session) -> Bound<Vec<Option<String>>> {
    some(table, spec, session)?.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| {
        let keys = table.descriptor.partition_keys.join(", ");
        vec![Diagnostic::error("W0309", format!("a partition needs a value for each of {keys}")).at(spec.span)]
    })
}

/// What is said of the partition columns.
fn some(table: &Table, spec: &ast::PartitionSpec, session: &wiesel_expr::Session) -> Bound<Values> {
    let keys = &table.descriptor.partition_keys;
    if keys.is_empty() {
        let text = format!("table `{}` has no partitions", table.descriptor.name);
        return Err(vec![
            Diagnostic::error("W0309", text).at(spec.span).hint("declare PARTITIONED BY in its CREATE TABLE"),
        ]);
    }
    let mut values: Values = vec![None; keys.len()];
    for (column, expr) in &spec.values {
        let slot = keys.iter().position(|key| *key == column.value).and_then(|at| values.get_mut(at));
        let Some(slot) = slot else {
            return Err(vec![
                Diagnostic::error("W0301", format!("`{}` is no partition column", column.value))
                    .at(column.span)
                    .did_you_mean(&column.value, keys.iter().map(String::as_str)),
            ]);
        };
        let bound = ExprBinder::plain(&Scope::default()).bind(expr)?;
        let bound = wiesel_expr::fold(cast_to(bound, &DataType::string()), session);
        let ScalarExpr::Literal { value, .. } = bound else {
            return Err(vec![Diagnostic::error("W0304", "a partition is named by constants").at(expr.span)]);
        };
        *slot = Some(match value {
            Value::String(text) => Some(text),
            _ => None,
        });
    }
    Ok(values)
}
