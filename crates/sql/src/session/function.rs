//! CREATE FUNCTION and DROP FUNCTION.

use wiesel_core::diagnostic::Diagnostic;

use super::{Outcome, Session};
use crate::binder::expr::Bound;
use crate::binder::scope::Scope;
use crate::binder::user_function;
use crate::catalog::{ForeignFunction, FunctionPlace, Path, UserFunction};
use crate::parser::ast::{self, FunctionDefinition, ObjectName};

impl Session {
    pub(super) fn create_function(&mut self, create: &ast::CreateFunction) -> Bound<Outcome> {
        let path = self.function_path(&create.name, create.system)?;
        let place = FunctionPlace::new(path.clone(), create.temporary, create.system);
        if self.catalog.functions().contains(&place) {
            if create.if_not_exists {
                return Ok(Outcome::Done);
            }
            return Err(vec![
                Diagnostic::error("W0202", format!("function `{}` exists already", create.name.last().value))
                    .at(create.name.span)
                    .hint("write CREATE FUNCTION IF NOT EXISTS, or drop it before"),
            ]);
        }
        if !create.system {
            self.check_database(&path, create.name.span)?;
        }
        let function = match &create.definition {
            FunctionDefinition::Class { class, language, .. } => {
                UserFunction::Foreign(ForeignFunction { language: *language, class: class.value.clone() })
            }
            FunctionDefinition::Sql(function) => {
                let scope = Scope::default().with_functions(self.catalog.function_scope(None));
                UserFunction::Sql(user_function::define(&create.name, function, scope)?)
            }
        };
        self.catalog.functions_mut().insert(place, function);
        Ok(Outcome::Done)
    }

    pub(super) fn drop_function(&mut self, drop: &ast::Drop) -> Bound<Outcome> {
        let path = self.function_path(&drop.name, drop.system)?;
        let place = FunctionPlace::new(path.clone(), drop.temporary, drop.system);
        if self.catalog.functions_mut().remove(&place) || drop.if_exists {
            return Ok(Outcome::Done);
        }
        let error = Diagnostic::error("W0201", format!("no such function `{}`", drop.name.last().value));
        let other = FunctionPlace::new(path, !drop.temporary, false);
        Err(vec![if !drop.system && self.catalog.functions().contains(&other) {
            let hint = "a temporary function is dropped with DROP TEMPORARY FUNCTION, a permanent one without";
            error.at(drop.name.span).hint(hint)
        } else {
            error.at(drop.name.span)
        }])
    }

    /// The path of a function's name; a system function belongs to no database.
    fn function_path(&self, name: &ObjectName, is_system: bool) -> Bound<Path> {
        if is_system && name.parts.len() > 1 {
            return Err(vec![
                Diagnostic::error("W0101", "a system function belongs to no database")
                    .at(name.span)
                    .label("expected a name"),
            ]);
        }
        Ok(self.path_of(name))
    }
}
