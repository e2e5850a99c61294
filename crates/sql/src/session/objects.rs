//! Views, catalogs and databases, and what is done to names: CREATE VIEW, CREATE CATALOG, CREATE DATABASE, DROP, USE.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};

use super::{Outcome, Session};
use crate::binder::expr::{Bound, refused};
use crate::binder::query::options_of;
use crate::catalog::{DEFAULT_CATALOG, DEFAULT_DATABASE, Object, Path, Place, View};
use crate::parser::ast;

impl Session {
    pub(super) fn create_view(&mut self, create: &ast::CreateView) -> Bound<Outcome> {
        if create.replace {
            return Err(vec![
                refused("CREATE OR REPLACE VIEW", create.name.span).hint("write DROP VIEW IF EXISTS before it"),
            ]);
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
        let schema = names.zip(&rel.columns).map(|(name, c)| (name, c.data_type.clone(), c.time)).collect();
        let (catalog, database) = self.catalog.current();
        let view = View {
            query: (*create.query).clone(),
            columns,
            place: (catalog.to_owned(), database.to_owned()),
            comment: create.comment.as_ref().map(|c| c.value.clone()),
            schema,
            temporary: create.temporary,
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
            ast::ObjectKind::Database => return self.drop_database(drop),
            ast::ObjectKind::Catalog => return self.drop_catalog(drop),
            ast::ObjectKind::Function => return self.drop_function(drop),
            _ => return Err(vec![refused("this DROP statement", drop.name.span)]),
        };
        let path = self.path_of(&drop.name);
        let found = match self.catalog.get(&path) {
            Some(Object::Table(_)) => is_table,
            Some(Object::View(_)) => !is_table,
            None => false,
        };
        if !drop.temporary && self.catalog.contains(&path, true) && self.catalog.contains(&path, false) {
            return Err(vec![
                Diagnostic::error("W0201", format!("a temporary `{}` hides the permanent one", drop.name.last().value))
                    .at(drop.name.span)
                    .hint("drop the temporary one first, with DROP TEMPORARY"),
            ]);
        }
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

    /// Catalog and database of a name of one or two parts.
    pub(super) fn database_of(&self, name: &ast::ObjectName) -> (String, String) {
        match name.parts.as_slice() {
            [catalog, database, ..] => (catalog.value.clone(), database.value.clone()),
            [database] => (self.catalog.current().0.to_owned(), database.value.clone()),
            [] => (self.catalog.current().0.to_owned(), String::new()),
        }
    }

    pub(super) fn create_database(&mut self, create: &ast::CreateDatabase) -> Bound<Outcome> {
        let (catalog, database) = self.database_of(&create.name);
        if self.catalog.catalog(&catalog).is_none() {
            return Err(vec![Diagnostic::error("W0203", format!("no catalog `{catalog}`")).at(create.name.span)]);
        }
        let comment = create.comment.as_ref().map(|c| c.value.clone());
        let place = Place { comment, options: options_of(&create.options, &self.config)? };
        if self.catalog.create_database(&catalog, &database, place) || create.if_not_exists {
            return Ok(Outcome::Done);
        }
        Err(vec![
            Diagnostic::error("W0202", format!("database `{catalog}.{database}` exists already"))
                .at(create.name.span)
                .hint("write CREATE DATABASE IF NOT EXISTS"),
        ])
    }

    pub(super) fn create_catalog(&mut self, create: &ast::CreateCatalog, span: Span) -> Bound<Outcome> {
        let options = options_of(&create.options, &self.config)?;
        match options.get("type").map(String::as_str) {
            Some("generic_in_memory") => {}
            Some(other) => {
                return Err(vec![
                    refused(&format!("a catalog of type '{other}'"), create.options_span)
                        .hint("supported: 'type' = 'generic_in_memory'; declare the tables in the file"),
                ]);
            }
            None => {
                return Err(vec![
                    Diagnostic::error("W0501", "a catalog needs the option 'type'")
                        .at(if create.options.is_empty() { span } else { create.options_span })
                        .hint("write WITH ('type' = 'generic_in_memory')"),
                ]);
            }
        }
        let known = ["type", "default-database", "property-version"];
        if let Some(pair) = create.options.iter().find(|pair| !known.contains(&pair.key.value.as_str())) {
            return Err(vec![
                Diagnostic::error("W0502", format!("unknown option '{}' of a catalog", pair.key.value))
                    .at(pair.key.span)
                    .did_you_mean(&pair.key.value, known),
            ]);
        }
        let database = options.get("default-database").map_or("default", String::as_str).to_owned();
        let comment = create.comment.as_ref().map(|c| c.value.clone());
        let place = Place { comment, options };
        if self.catalog.create_catalog(&create.name.value, &database, place) || create.if_not_exists {
            return Ok(Outcome::Done);
        }
        Err(vec![
            Diagnostic::error("W0202", format!("catalog `{}` exists already", create.name.value))
                .at(create.name.span)
                .hint("write CREATE CATALOG IF NOT EXISTS"),
        ])
    }

    fn drop_database(&mut self, drop: &ast::Drop) -> Bound<Outcome> {
        let (catalog, database) = self.database_of(&drop.name);
        if !self.catalog.has_database(&catalog, &database) {
            if drop.if_exists {
                return Ok(Outcome::Done);
            }
            return Err(vec![
                Diagnostic::error("W0203", format!("no database `{catalog}.{database}`")).at(drop.name.span),
            ]);
        }
        if self.catalog.current() == (catalog.as_str(), database.as_str()) {
            return Err(vec![
                Diagnostic::error("W0203", format!("`{database}` is the current database and cannot be dropped"))
                    .at(drop.name.span)
                    .hint("USE another one before"),
            ]);
        }
        let is_empty =
            self.catalog.list(&catalog, &database).is_empty() && !self.catalog.functions().has_any(&catalog, &database);
        if !drop.cascade && !is_empty {
            return Err(vec![
                Diagnostic::error("W0203", format!("database `{catalog}.{database}` is not empty"))
                    .at(drop.name.span)
                    .hint("write DROP DATABASE ... CASCADE"),
            ]);
        }
        self.catalog.drop_database(&catalog, &database);
        Ok(Outcome::Done)
    }

    fn drop_catalog(&mut self, drop: &ast::Drop) -> Bound<Outcome> {
        let catalog = drop.name.last().value.clone();
        if self.catalog.catalog(&catalog).is_none() {
            if drop.if_exists {
                return Ok(Outcome::Done);
            }
            return Err(vec![Diagnostic::error("W0203", format!("no catalog `{catalog}`")).at(drop.name.span)]);
        }
        if self.catalog.current().0 == catalog {
            return Err(vec![
                Diagnostic::error("W0203", format!("`{catalog}` is the current catalog and cannot be dropped"))
                    .at(drop.name.span)
                    .hint("USE CATALOG another one before"),
            ]);
        }
        self.catalog.drop_catalog(&catalog);
        Ok(Outcome::Done)
    }

    pub(super) fn use_place(&mut self, target: &ast::Use, span: Span) -> Bound<Outcome> {
        let (catalog, database) = match target {
            ast::Use::Catalog(name) => {
                let Some(place) = self.catalog.catalog(&name.value) else {
                    return Err(vec![Diagnostic::error("W0203", format!("no catalog `{}`", name.value)).at(name.span)]);
                };
                let database = match place.options.get("default-database") {
                    Some(database) => database.clone(),
                    None if name.value == DEFAULT_CATALOG => DEFAULT_DATABASE.to_owned(),
                    None => "default".to_owned(),
                };
                (name.value.clone(), database)
            }
            ast::Use::Database(name) => match name.parts.as_slice() {
                [database] => (self.catalog.current().0.to_owned(), database.value.clone()),
                [catalog, database, ..] => (catalog.value.clone(), database.value.clone()),
                [] => return Ok(Outcome::Done),
            },
            ast::Use::Modules(modules) => {
                let is_core = |name: &ast::Ident| name.value.eq_ignore_ascii_case("core");
                return match modules.iter().find(|name| !is_core(name)) {
                    None => Ok(Outcome::Done),
                    Some(name) => Err(vec![refused(&format!("the module `{}`", name.value), name.span)]),
                };
            }
        };
        if !self.catalog.has_database(&catalog, &database) {
            return Err(vec![Diagnostic::error("W0203", format!("no database `{catalog}.{database}`")).at(span)]);
        }
        self.catalog.use_database(&catalog, &database);
        Ok(Outcome::Done)
    }
}
