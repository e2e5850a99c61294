//! What names mean: catalogs, databases, tables and views, all in memory, for the length of one SQL file.
//!
//! Names are case-sensitive, as in Flink. A temporary object hides a permanent one of the same path. Tables keep their computed columns
//! and watermark already bound, so an error in them shows at CREATE TABLE and every query starts from typed columns.

mod function;

use std::collections::BTreeMap;
use std::sync::Arc;

use wiesel_core::DataType;
use wiesel_core::table::{ConnectorInfo, TableDescriptor};
use wiesel_expr::ScalarExpr;

use crate::parser::ast;
use crate::plan::rel::TimeAttribute;

pub use function::{ForeignFunction, FunctionPlace, FunctionScope, Functions, PythonAccess, SqlFunction, UserFunction};

/// The catalog that exists at start.
pub const DEFAULT_CATALOG: &str = "default_catalog";
/// The database that exists at start.
pub const DEFAULT_DATABASE: &str = "default_database";

/// A declared table.
#[derive(Debug, Clone)]
pub struct Table {
    /// What connectors see.
    pub descriptor: TableDescriptor,
    /// All columns in DDL order, computed ones included.
    pub columns: Vec<Column>,
    /// WATERMARK FOR: the column's index, and the expression over all columns.
    pub watermark: Option<(usize, ScalarExpr)>,
    /// What its connector can do.
    pub info: ConnectorInfo,
    /// COMMENT.
    pub comment: Option<String>,
    /// The table as a statement would declare it now: LIKE filled in, ALTER TABLE applied.
    pub definition: ast::CreateTable,
    /// CREATE TEMPORARY TABLE.
    pub temporary: bool,
}

/// A column of a [`Table`].
#[derive(Debug, Clone)]
pub struct Column {
    /// The name.
    pub name: String,
    /// The type.
    pub data_type: DataType,
    /// COMMENT.
    pub comment: Option<String>,
    /// Where its value comes from.
    pub source: ColumnSource,
    /// Whether it is a time attribute.
    pub time: Option<TimeAttribute>,
}

/// Where the value of a column comes from.
#[derive(Debug, Clone)]
pub enum ColumnSource {
    /// The connector: an index into [`TableDescriptor::columns`].
    Connector(usize),
    /// An expression over the connector's columns, and its text.
    Computed(ScalarExpr, String),
}

/// A view: its query as written, expanded wherever it is used.
#[derive(Debug, Clone)]
pub struct View {
    /// The query.
    pub query: ast::Query,
    /// Column names, where the view renames them.
    pub columns: Vec<String>,
    /// Where unqualified names of its query are looked up: the session's place when it was created.
    pub place: (String, String),
    /// COMMENT.
    pub comment: Option<String>,
    /// The columns it gave when it was created, for DESCRIBE, with the kind of time attribute that they are.
    pub schema: Vec<(String, DataType, Option<TimeAttribute>)>,
    /// CREATE TEMPORARY VIEW.
    pub temporary: bool,
}

/// A catalog or a database: what was said of it.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// COMMENT.
    pub comment: Option<String>,
    /// WITH options.
    pub options: BTreeMap<String, String>,
}

/// What a name of a table means.
#[derive(Debug, Clone)]
pub enum Object {
    /// A table.
    Table(Arc<Table>),
    /// A view.
    View(Arc<View>),
}

/// Catalog, database, name.
pub type Path = (String, String, String);

/// All names of a session.
#[derive(Debug, Clone)]
pub struct Catalog {
    catalogs: BTreeMap<String, Place>,
    databases: BTreeMap<(String, String), Place>,
    permanent: BTreeMap<Path, Object>,
    temporary: BTreeMap<Path, Object>,
    /// The partitions that ALTER TABLE has added, as values in the order of the table's partition columns.
    partitions: BTreeMap<Path, Vec<Vec<Option<String>>>>,
    functions: Arc<Functions>,
    python: Option<PythonAccess>,
    current: (String, String),
}

impl Default for Catalog {
    fn default() -> Self {
        let start = (DEFAULT_CATALOG.to_owned(), DEFAULT_DATABASE.to_owned());
        Catalog {
            catalogs: BTreeMap::from([(DEFAULT_CATALOG.to_owned(), Place::default())]),
            databases: BTreeMap::from([(start.clone(), Place::default())]),
            permanent: BTreeMap::new(),
            temporary: BTreeMap::new(),
            partitions: BTreeMap::new(),
            functions: Arc::default(),
            python: None,
            current: start,
        }
    }
}

impl Catalog {
    /// The current catalog and database.
    pub fn current(&self) -> (&str, &str) {
        (&self.current.0, &self.current.1)
    }

    /// The full path of a name of one to three parts, from the session's place or, inside a view, from the view's.
    pub fn path(&self, parts: &[&str], place: Option<&(String, String)>) -> Path {
        let (catalog, database) = place.unwrap_or(&self.current);
        match parts {
            [c, d, name, ..] => ((*c).to_owned(), (*d).to_owned(), (*name).to_owned()),
            [d, name] => (catalog.clone(), (*d).to_owned(), (*name).to_owned()),
            [name] => (catalog.clone(), database.clone(), (*name).to_owned()),
            [] => (catalog.clone(), database.clone(), String::new()),
        }
    }

    /// The object at a path; temporary ones first.
    pub fn get(&self, path: &Path) -> Option<&Object> {
        self.temporary.get(path).or_else(|| self.permanent.get(path))
    }

    /// Puts an object at a path. `false` when one of its kind (temporary, permanent) is there already.
    pub fn insert(&mut self, path: Path, object: Object, temporary: bool) -> bool {
        let objects = if temporary { &mut self.temporary } else { &mut self.permanent };
        match objects.entry(path) {
            std::collections::btree_map::Entry::Occupied(_) => false,
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(object);
                true
            }
        }
    }

    /// Puts an object at a path, whatever was there.
    pub fn replace(&mut self, path: Path, object: Object, temporary: bool) {
        if temporary {
            self.temporary.insert(path, object)
        } else {
            self.permanent.insert(path, object)
        };
    }

    /// Removes an object and gives it back.
    pub fn remove(&mut self, path: &Path, temporary: bool) -> Option<Object> {
        self.partitions.remove(path);
        if temporary { self.temporary.remove(path) } else { self.permanent.remove(path) }
    }

    /// Whether an object of the given kind is at the path.
    pub fn contains(&self, path: &Path, temporary: bool) -> bool {
        if temporary { self.temporary.contains_key(path) } else { self.permanent.contains_key(path) }
    }

    /// Whether a database exists.
    pub fn has_database(&self, catalog: &str, database: &str) -> bool {
        self.databases.contains_key(&(catalog.to_owned(), database.to_owned()))
    }

    /// The partitions that ALTER TABLE has added to a table.
    pub fn partitions(&mut self, path: &Path) -> &mut Vec<Vec<Option<String>>> {
        self.partitions.entry(path.clone()).or_default()
    }

    /// Creates a database; `false` when it exists.
    pub fn create_database(&mut self, catalog: &str, database: &str, place: Place) -> bool {
        let path = (catalog.to_owned(), database.to_owned());
        if self.databases.contains_key(&path) {
            return false;
        }
        self.databases.insert(path, place);
        true
    }

    /// What was said of a database.
    pub fn database(&mut self, catalog: &str, database: &str) -> Option<&mut Place> {
        self.databases.get_mut(&(catalog.to_owned(), database.to_owned()))
    }

    /// Forgets a database and everything in it.
    pub fn drop_database(&mut self, catalog: &str, database: &str) {
        self.databases.remove(&(catalog.to_owned(), database.to_owned()));
        for objects in [&mut self.permanent, &mut self.temporary] {
            objects.retain(|(c, d, _), _| c != catalog || d != database);
        }
        self.functions_mut().drop_database(catalog, database);
    }

    /// The functions of the session's user.
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The same, to be changed.
    pub fn functions_mut(&mut self) -> &mut Functions {
        Arc::make_mut(&mut self.functions)
    }

    /// What names of functions mean from the session's place or, inside a view, from the view's; `None` without any user function.
    pub fn function_scope(&self, place: Option<&(String, String)>) -> Option<Arc<FunctionScope>> {
        if self.functions.is_empty() {
            return None;
        }
        let place = place.unwrap_or(&self.current).clone();
        Some(Arc::new(FunctionScope { functions: self.functions.clone(), place, python: self.python.clone() }))
    }

    /// How functions in Python are called from here on.
    pub fn set_python(&mut self, python: PythonAccess) {
        self.python = Some(python);
    }

    /// Creates a catalog with its first database; `false` when it exists.
    pub fn create_catalog(&mut self, catalog: &str, database: &str, place: Place) -> bool {
        if self.catalogs.contains_key(catalog) {
            return false;
        }
        self.catalogs.insert(catalog.to_owned(), place);
        self.create_database(catalog, database, Place::default());
        true
    }

    /// What was said of a catalog.
    pub fn catalog(&mut self, catalog: &str) -> Option<&mut Place> {
        self.catalogs.get_mut(catalog)
    }

    /// Forgets a catalog and everything in it.
    pub fn drop_catalog(&mut self, catalog: &str) {
        self.catalogs.remove(catalog);
        for database in self.databases(catalog).into_iter().map(str::to_owned).collect::<Vec<_>>() {
            self.drop_database(catalog, &database);
        }
    }

    /// Moves the session to a database that exists.
    pub fn use_database(&mut self, catalog: &str, database: &str) {
        self.current = (catalog.to_owned(), database.to_owned());
    }

    /// All catalogs.
    pub fn catalogs(&self) -> Vec<&str> {
        self.catalogs.keys().map(String::as_str).collect()
    }

    /// The databases of a catalog.
    pub fn databases(&self, catalog: &str) -> Vec<&str> {
        self.databases.keys().filter(|(c, _)| c == catalog).map(|(_, d)| d.as_str()).collect()
    }

    /// Names and objects of a database, sorted by name, temporary ones included.
    pub fn list(&self, catalog: &str, database: &str) -> BTreeMap<&str, &Object> {
        self.permanent
            .iter()
            .chain(&self.temporary)
            .filter(|((c, d, _), _)| c == catalog && d == database)
            .map(|((_, _, name), object)| (name.as_str(), object))
            .collect()
    }
}
