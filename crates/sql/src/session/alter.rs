//! ALTER TABLE, VIEW, DATABASE and CATALOG: the declaration is changed and read again, so what ALTER allows is what CREATE allows.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};

use super::{Outcome, Session};
use crate::binder::expr::{Bound, refused};
use crate::catalog::{Object, Path, Table, View};
use crate::parser::ast::{
    self, AlterSchema, AlterTable, AlterTableAction as Action, AlterView, Column, ColumnPosition, CreateTable, Ident,
    ObjectName,
};

impl Session {
    pub(super) fn alter_table(&mut self, alter: &AlterTable, span: Span) -> Bound<Outcome> {
        let path = self.path_of(&alter.name);
        if alter.if_exists && self.catalog.get(&path).is_none() {
            return Ok(Outcome::Done);
        }
        let table = self.existing_table(&alter.name, "ALTER TABLE")?;
        if let Action::RenameTo(to) = &alter.action {
            let new = self.renamed(to, &path)?;
            let definition = CreateTable { name: to.clone(), ..table.definition.clone() };
            let rebuilt = self.build_table(definition, &new, span)?;
            let partitions = std::mem::take(self.catalog.partitions(&path));
            self.catalog.remove(&path, table.temporary);
            *self.catalog.partitions(&new) = partitions;
            self.catalog.insert(new, Object::Table(Arc::new(rebuilt)), table.temporary);
            return Ok(Outcome::Done);
        }
        match &alter.action {
            Action::AddPartitions { if_not_exists, partitions } => {
                return self.add_partitions(&table, &path, *if_not_exists, partitions);
            }
            Action::DropPartitions { if_exists, partitions } => {
                return self.drop_partitions(&table, &path, *if_exists, partitions);
            }
            _ => {}
        }
        let mut definition = table.definition.clone();
        change(&mut definition, alter)?;
        check_references(&definition, &table, alter)?;
        let rebuilt = self.build_table(definition, &path, span)?;
        self.catalog.replace(path, Object::Table(Arc::new(rebuilt)), table.temporary);
        Ok(Outcome::Done)
    }

    /// The path a table or view is renamed to: in its own database unless said otherwise.
    fn renamed(&self, to: &ObjectName, from: &Path) -> Bound<Path> {
        let parts: Vec<&str> = to.parts.iter().map(|p| p.value.as_str()).collect();
        let path = self.catalog.path(&parts, Some(&(from.0.clone(), from.1.clone())));
        if self.catalog.get(&path).is_some() {
            return Err(vec![
                Diagnostic::error("W0202", format!("table or view `{}` exists already", to.last().value)).at(to.span),
            ]);
        }
        Ok(path)
    }

    pub(super) fn alter_view(&mut self, alter: &AlterView) -> Bound<Outcome> {
        let name = match alter {
            AlterView::Rename { name, .. } | AlterView::As { name, .. } => name,
        };
        let path = self.path_of(name);
        let view = match self.catalog.get(&path) {
            Some(Object::View(view)) => view.clone(),
            Some(Object::Table(_)) => {
                return Err(vec![
                    Diagnostic::error("W0309", format!("`{}` is a table, not a view", name.last().value)).at(name.span),
                ]);
            }
            None => {
                return Err(vec![
                    Diagnostic::error("W0201", format!("no such view `{}`", name.last().value)).at(name.span),
                ]);
            }
        };
        match alter {
            AlterView::Rename { to, .. } => {
                let new = self.renamed(to, &path)?;
                self.catalog.remove(&path, view.temporary);
                self.catalog.insert(new, Object::View(view.clone()), view.temporary);
            }
            AlterView::As { query, .. } => {
                let rel = self.binder().bind(query)?;
                let schema = rel.columns.iter().map(|c| (c.name.clone(), c.data_type.clone(), c.time)).collect();
                let (catalog, database) = self.catalog.current();
                let place = (catalog.to_owned(), database.to_owned());
                let changed = View { query: (**query).clone(), columns: Vec::new(), place, schema, ..(*view).clone() };
                self.catalog.replace(path, Object::View(Arc::new(changed)), view.temporary);
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn alter_database(&mut self, name: &ObjectName, options: &[ast::OptionPair]) -> Bound<Outcome> {
        let (catalog, database) = self.database_of(name);
        let Some(place) = self.catalog.database(&catalog, &database) else {
            return Err(vec![Diagnostic::error("W0203", format!("no database `{catalog}.{database}`")).at(name.span)]);
        };
        for pair in options {
            place.options.insert(pair.key.value.clone(), pair.value.value.clone());
        }
        Ok(Outcome::Done)
    }

    pub(super) fn alter_catalog(&mut self, alter: &ast::AlterCatalog) -> Bound<Outcome> {
        let Some(place) = self.catalog.catalog(&alter.name.value) else {
            return Err(vec![
                Diagnostic::error("W0203", format!("no catalog `{}`", alter.name.value)).at(alter.name.span),
            ]);
        };
        for pair in &alter.set {
            place.options.insert(pair.key.value.clone(), pair.value.value.clone());
        }
        for key in &alter.reset {
            place.options.remove(&key.value);
        }
        if let Some(comment) = &alter.comment {
            place.comment = Some(comment.value.clone());
        }
        Ok(Outcome::Done)
    }
}

/// Applies an action to a declaration.
fn change(definition: &mut CreateTable, alter: &AlterTable) -> Bound<()> {
    match &alter.action {
        Action::RenameTo(_) => {}
        Action::Set(pairs) => {
            for pair in pairs {
                definition.options.retain(|known| known.key.value != pair.key.value);
                definition.options.push(pair.clone());
            }
        }
        Action::Reset(keys) => {
            if let Some(key) = keys.iter().find(|key| key.value == "connector") {
                return Err(vec![Diagnostic::error("W0501", "the option 'connector' cannot be reset").at(key.span)]);
            }
            definition.options.retain(|known| keys.iter().all(|key| key.value != known.key.value));
        }
        Action::Add(schema) => add(definition, schema)?,
        Action::Modify(schema) => modify(definition, schema, alter)?,
        Action::RenameColumn { from, to } => rename_column(definition, from, to)?,
        Action::DropColumns(names) => {
            for name in names {
                let place = position(definition, name)?;
                definition.columns.remove(place);
            }
        }
        Action::DropPrimaryKey => {
            if definition.primary_key.take().is_none() {
                return Err(nothing("primary key", alter));
            }
        }
        Action::DropConstraint(name) => {
            let is_it = definition.primary_key.as_ref().is_some_and(|key| constraint_name(key) == name.value);
            if !is_it {
                return Err(nothing(&format!("constraint `{}`", name.value), alter));
            }
            definition.primary_key = None;
        }
        Action::DropWatermark => {
            if definition.watermark.take().is_none() {
                return Err(nothing("watermark", alter));
            }
        }
        Action::DropDistribution => return Err(nothing("distribution", alter)),
        // They are no part of the declaration.
        Action::AddPartitions { .. } | Action::DropPartitions { .. } => {}
    }
    Ok(())
}

/// The name of a primary key: as written, else Flink's.
pub(super) fn constraint_name(key: &ast::PrimaryKey) -> String {
    match &key.name {
        Some(name) => name.value.clone(),
        None => {
            let columns: Vec<&str> = key.columns.iter().map(|c| c.value.as_str()).collect();
            format!("PK_{}", columns.join("_"))
        }
    }
}

fn nothing(what: &str, alter: &AlterTable) -> Vec<Diagnostic> {
    vec![
        Diagnostic::error("W0309", format!("table `{}` has no {what} to change", alter.name.last().value))
            .at(alter.action_span),
    ]
}

fn position(definition: &CreateTable, name: &ObjectName) -> Bound<usize> {
    let [single] = name.parts.as_slice() else {
        return Err(vec![refused("changing a field inside a column", name.span)]);
    };
    definition.columns.iter().position(|c| c.name.value == single.value).ok_or_else(|| {
        vec![
            Diagnostic::error("W0301", format!("no column `{}`", single.value))
                .at(name.span)
                .did_you_mean(&single.value, definition.columns.iter().map(|c| c.name.value.as_str())),
        ]
    })
}

/// Puts a column where FIRST or AFTER says.
fn place(columns: &mut Vec<Column>, column: &Column, position: &ColumnPosition, otherwise: usize) -> Bound<()> {
    let at = match position {
        ColumnPosition::Unsaid => otherwise.min(columns.len()),
        ColumnPosition::First => 0,
        ColumnPosition::After(name) => match columns.iter().position(|c| c.name.value == name.value) {
            Some(place) => place + 1,
            None => {
                return Err(vec![
                    Diagnostic::error("W0301", format!("no column `{}` to stand after", name.value)).at(name.span),
                ]);
            }
        },
    };
    columns.insert(at, column.clone());
    Ok(())
}

fn add(definition: &mut CreateTable, schema: &AlterSchema) -> Bound<()> {
    for (column, at) in &schema.columns {
        if definition.columns.iter().any(|c| c.name.value == column.name.value) {
            return Err(vec![
                Diagnostic::error("W0205", format!("column `{}` is there already", column.name.value)).at(column.span),
            ]);
        }
        let end = definition.columns.len();
        place(&mut definition.columns, column, at, end)?;
    }
    if let Some(watermark) = &schema.watermark {
        if definition.watermark.is_some() {
            return Err(vec![
                Diagnostic::error("W0205", "the table has a watermark already")
                    .at(watermark.span)
                    .hint("write ALTER TABLE ... MODIFY WATERMARK"),
            ]);
        }
        definition.watermark = Some(watermark.clone());
    }
    if let Some(key) = &schema.primary_key {
        if definition.primary_key.is_some() {
            return Err(vec![
                Diagnostic::error("W0205", "the table has a primary key already")
                    .at(key.span)
                    .hint("write ALTER TABLE ... MODIFY PRIMARY KEY"),
            ]);
        }
        definition.primary_key = Some(key.clone());
    }
    no_distribution(schema)
}

fn modify(definition: &mut CreateTable, schema: &AlterSchema, alter: &AlterTable) -> Bound<()> {
    for (column, at) in &schema.columns {
        let name = ObjectName { parts: vec![column.name.clone()], span: column.name.span };
        let old_place = position(definition, &name)?;
        let old = definition.columns.remove(old_place);
        let comment = column.comment.clone().or(old.comment);
        let changed = Column { comment, ..column.clone() };
        place(&mut definition.columns, &changed, at, old_place)?;
    }
    if let Some(watermark) = &schema.watermark {
        if definition.watermark.is_none() {
            return Err(nothing("watermark", alter));
        }
        definition.watermark = Some(watermark.clone());
    }
    if let Some(key) = &schema.primary_key {
        if definition.primary_key.is_none() {
            return Err(nothing("primary key", alter));
        }
        definition.primary_key = Some(key.clone());
    }
    no_distribution(schema)
}

fn no_distribution(schema: &AlterSchema) -> Bound<()> {
    match &schema.distribution {
        Some(distribution) => Err(vec![refused("DISTRIBUTED BY", distribution.span)]),
        None => Ok(()),
    }
}

fn rename_column(definition: &mut CreateTable, from: &ObjectName, to: &Ident) -> Bound<()> {
    let place = position(definition, from)?;
    if definition.columns.iter().any(|c| c.name.value == to.value) {
        return Err(vec![Diagnostic::error("W0205", format!("column `{}` is there already", to.value)).at(to.span)]);
    }
    let old = definition.columns[place].name.value.clone();
    definition.columns[place].name = to.clone();
    let keys = definition.primary_key.iter_mut().flat_map(|key| &mut key.columns);
    for name in keys.chain(&mut definition.partitioned_by) {
        if name.value == old {
            *name = to.clone();
        }
    }
    Ok(())
}

/// A column that is dropped or renamed must not be needed by the rest of the declaration.
fn check_references(definition: &CreateTable, before: &Table, alter: &AlterTable) -> Bound<()> {
    let gone: Vec<&str> = before
        .definition
        .columns
        .iter()
        .map(|c| c.name.value.as_str())
        .filter(|name| definition.columns.iter().all(|c| c.name.value != *name))
        .collect();
    for name in gone {
        let in_key = definition.primary_key.iter().flat_map(|key| &key.columns).any(|c| c.value == name);
        let in_partitions = definition.partitioned_by.iter().any(|c| c.value == name);
        let in_watermark = definition
            .watermark
            .as_ref()
            .is_some_and(|w| w.column.parts.first().is_some_and(|c| c.value == name) || mentions(&w.expr, name));
        let in_column = definition
            .columns
            .iter()
            .find(|c| matches!(&c.kind, ast::ColumnKind::Computed(expr) if mentions(expr, name)))
            .map(|c| format!("the computed column `{}`", c.name.value));
        let user = [
            in_key.then(|| "the primary key".to_owned()),
            in_partitions.then(|| "PARTITIONED BY".to_owned()),
            in_watermark.then(|| "the watermark".to_owned()),
            in_column,
        ];
        if let Some(user) = user.into_iter().flatten().next() {
            return Err(vec![
                Diagnostic::error("W0301", format!("column `{name}` is needed by {user}"))
                    .at(alter.action_span)
                    .hint("change that first"),
            ]);
        }
    }
    Ok(())
}

fn mentions(expr: &ast::Expr, name: &str) -> bool {
    super::show_create::names_of(expr).iter().any(|found| found == name)
}
