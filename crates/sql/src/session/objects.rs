//! Views, and what is done to names: CREATE VIEW, DROP, USE.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};

use super::{Outcome, Session};
use crate::binder::expr::{Bound, refused};
use crate::catalog::{Object, Path, View};
use crate::parser::ast;

impl Session {
    pub(super) fn create_view(&mut self, create: &ast::CreateView) -> Bound<Outcome> {
        if create.replace {
            return Err(vec![refused("CREATE OR REPLACE VIEW", create.name.span)]);
        }
        let path = self.path_of(&create.name);
        if self.catalog.contains(&path, create.temporary) {
            if create.if_not_exists {
                return Ok(Outcome::Done);
            }
            return Err(vec![
                Diagnostic::error("W0202", format!("table or view `{}` exists already", create.name.last().value))
                    .at(create.name.span),
            ]);
        }
        self.check_database(&path, create.name.span)?;
        let rel = self.binder().bind_view(&create.query)?;
        if !create.columns.is_empty() && create.columns.len() != rel.columns.len() {
            return Err(vec![
                Diagnostic::error("W0309", "the column list does not fit the view's query")
                    .at(create.name.span)
                    .label(format!("expected {} names, found {}", rel.columns.len(), create.columns.len())),
            ]);
        }
        let columns: Vec<String> = create.columns.iter().map(|c| c.value.clone()).collect();
        let names = rel.columns.iter().enumerate().map(|(i, c)| columns.get(i).unwrap_or(&c.name).clone());
        let schema = names.zip(rel.columns.iter().map(|c| c.data_type.clone())).collect();
        let (catalog, database) = self.catalog.current();
        let view = View {
            query: (*create.query).clone(),
            columns,
            place: (catalog.to_owned(), database.to_owned()),
            comment: create.comment.as_ref().map(|c| c.value.clone()),
            schema,
        };
        self.catalog.insert(path, Object::View(Arc::new(view)), create.temporary);
        Ok(Outcome::Done)
    }

    pub(super) fn check_database(&self, path: &Path, span: Span) -> Bound<()> {
        if self.catalog.has_database(&path.0, &path.1) {
            return Ok(());
        }
        Err(vec![Diagnostic::error("W0203", format!("no database `{}.{}`", path.0, path.1)).at(span)])
    }

    pub(super) fn drop_object(&mut self, drop: &ast::Drop) -> Bound<Outcome> {
        let is_table = match drop.object {
            ast::ObjectKind::Table => true,
            ast::ObjectKind::View => false,
            _ => return Err(vec![refused("DROP of anything but a table or view", drop.name.span)]),
        };
        let path = self.path_of(&drop.name);
        let found = match self.catalog.get(&path) {
            Some(Object::Table(_)) => is_table,
            Some(Object::View(_)) => !is_table,
            None => false,
        };
        let exists = found && self.catalog.contains(&path, drop.temporary);
        if exists {
            self.catalog.remove(&path, drop.temporary);
            return Ok(Outcome::Done);
        }
        if drop.if_exists && !found {
            return Ok(Outcome::Done);
        }
        let kind = if is_table { "table" } else { "view" };
        let error =
            Diagnostic::error("W0201", format!("no such {kind} `{}`", drop.name.last().value)).at(drop.name.span);
        Err(vec![if found {
            error.hint("a temporary object is dropped with DROP TEMPORARY, a permanent one without")
        } else {
            error
        }])
    }

    pub(super) fn use_place(&mut self, target: &ast::Use, span: Span) -> Bound<Outcome> {
        let (catalog, database) = match target {
            ast::Use::Catalog(name) => {
                let database = self.catalog.databases(&name.value).first().map(|d| (*d).to_owned());
                (name.value.clone(), database.unwrap_or_default())
            }
            ast::Use::Database(name) => match name.parts.as_slice() {
                [database] => (self.catalog.current().0.to_owned(), database.value.clone()),
                [catalog, database, ..] => (catalog.value.clone(), database.value.clone()),
                [] => return Ok(Outcome::Done),
            },
            ast::Use::Modules(_) => return Err(vec![refused("USE MODULES", span)]),
        };
        if !self.catalog.has_database(&catalog, &database) {
            return Err(vec![Diagnostic::error("W0203", format!("no database `{catalog}.{database}`")).at(span)]);
        }
        self.catalog.use_database(&catalog, &database);
        Ok(Outcome::Done)
    }
}
