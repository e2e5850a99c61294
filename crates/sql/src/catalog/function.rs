//! The functions of the session's user, and what a name of a function means.
//!
//! As in Flink, names are without regard to case, and a bare name is looked up in this order: temporary system functions, the built-in
//! ones, temporary functions of the current database, its permanent ones. A qualified name means a function of that database alone.
//! A function's body is bound when it is created, so it keeps the meaning it had then, whatever is dropped later.

use std::collections::BTreeMap;
use std::sync::Arc;

use wiesel_core::DataType;
use wiesel_expr::ScalarExpr;
use wiesel_expr::foreign::{Foreign, ForeignSettings};

use super::Path;
use crate::parser::ast::FunctionLanguage;

/// A function of CREATE FUNCTION.
#[derive(Debug, Clone)]
pub enum UserFunction {
    /// An expression, put in the place of each call.
    Sql(SqlFunction),
    /// Code of another language: known by name, refused where it is called.
    Foreign(ForeignFunction),
}

/// A function whose body is an expression.
#[derive(Debug, Clone)]
pub struct SqlFunction {
    /// Names and types of the parameters.
    pub parameters: Vec<(String, DataType)>,
    /// The body over columns that stand for the parameters, of the declared result type.
    pub body: ScalarExpr,
}

/// A function in another language.
#[derive(Debug, Clone)]
pub struct ForeignFunction {
    /// The language.
    pub language: FunctionLanguage,
    /// The class, or the Python `module.name`.
    pub class: String,
}

/// How functions in Python are asked for and called.
#[derive(Debug, Clone)]
pub struct PythonAccess {
    /// The run time.
    pub runtime: Arc<dyn Foreign>,
    /// The settings in force.
    pub settings: Arc<ForeignSettings>,
}

/// All user functions of a session.
#[derive(Debug, Clone, Default)]
pub struct Functions {
    system: BTreeMap<String, Arc<UserFunction>>,
    temporary: BTreeMap<Path, Arc<UserFunction>>,
    permanent: BTreeMap<Path, Arc<UserFunction>>,
}

/// Where a function is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionPlace {
    /// CREATE TEMPORARY SYSTEM FUNCTION: its name.
    System(String),
    /// CREATE TEMPORARY FUNCTION.
    Temporary(Path),
    /// CREATE FUNCTION.
    Permanent(Path),
}

impl FunctionPlace {
    /// The place of a declared function.
    pub fn new(path: Path, temporary: bool, system: bool) -> FunctionPlace {
        let (catalog, database, name) = path;
        let name = name.to_lowercase();
        match (temporary, system) {
            (_, true) => FunctionPlace::System(name),
            (true, false) => FunctionPlace::Temporary((catalog, database, name)),
            (false, false) => FunctionPlace::Permanent((catalog, database, name)),
        }
    }
}

impl Functions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.system.is_empty() && self.temporary.is_empty() && self.permanent.is_empty()
    }

    /// Whether a function is declared there.
    pub fn contains(&self, place: &FunctionPlace) -> bool {
        match place {
            FunctionPlace::System(name) => self.system.contains_key(name),
            FunctionPlace::Temporary(path) => self.temporary.contains_key(path),
            FunctionPlace::Permanent(path) => self.permanent.contains_key(path),
        }
    }

    /// Declares a function.
    pub fn insert(&mut self, place: FunctionPlace, function: UserFunction) {
        let function = Arc::new(function);
        match place {
            FunctionPlace::System(name) => self.system.insert(name, function),
            FunctionPlace::Temporary(path) => self.temporary.insert(path, function),
            FunctionPlace::Permanent(path) => self.permanent.insert(path, function),
        };
    }

    /// Forgets a function; `false` when there is none.
    pub fn remove(&mut self, place: &FunctionPlace) -> bool {
        let removed = match place {
            FunctionPlace::System(name) => self.system.remove(name),
            FunctionPlace::Temporary(path) => self.temporary.remove(path),
            FunctionPlace::Permanent(path) => self.permanent.remove(path),
        };
        removed.is_some()
    }

    /// Forgets the functions of a database.
    pub(super) fn drop_database(&mut self, catalog: &str, database: &str) {
        for functions in [&mut self.temporary, &mut self.permanent] {
            functions.retain(|(c, d, _), _| c != catalog || d != database);
        }
    }

    /// The names of the functions that a bare name can mean in a database, sorted.
    pub fn names(&self, catalog: &str, database: &str) -> Vec<&str> {
        let own = self.temporary.keys().chain(self.permanent.keys());
        let own = own.filter(|(c, d, _)| c == catalog && d == database).map(|(_, _, name)| name.as_str());
        let mut names: Vec<&str> = self.system.keys().map(String::as_str).chain(own).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a database has functions of its own.
    pub fn has_any(&self, catalog: &str, database: &str) -> bool {
        self.permanent.keys().chain(self.temporary.keys()).any(|(c, d, _)| c == catalog && d == database)
    }
}

/// The user functions as seen from a place.
#[derive(Debug, Clone)]
pub struct FunctionScope {
    pub(super) functions: Arc<Functions>,
    /// Catalog and database of names without one.
    pub(super) place: (String, String),
    /// The run time of functions in Python, where there is one.
    pub python: Option<PythonAccess>,
}

impl FunctionScope {
    /// The user function that a name of a call means; a bare name that is built in means no other than a system function.
    pub fn find(&self, parts: &[&str], is_built_in: bool) -> Option<&Arc<UserFunction>> {
        let (catalog, database) = &self.place;
        let path = match parts {
            [name] => {
                let name = name.to_lowercase();
                if let Some(function) = self.functions.system.get(&name) {
                    return Some(function);
                }
                if is_built_in {
                    return None;
                }
                (catalog.clone(), database.clone(), name)
            }
            [database, name] => (catalog.clone(), (*database).to_owned(), name.to_lowercase()),
            [catalog, database, name] => ((*catalog).to_owned(), (*database).to_owned(), name.to_lowercase()),
            _ => return None,
        };
        self.functions.temporary.get(&path).or_else(|| self.functions.permanent.get(&path))
    }

    /// The names of user functions here.
    pub fn names(&self) -> Vec<&str> {
        self.functions.names(&self.place.0, &self.place.1)
    }
}
