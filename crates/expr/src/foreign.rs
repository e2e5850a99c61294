//! Functions in other languages as the planner sees them: what it asks, what it is told, and how a call becomes an expression.
//!
//! The planner does no I/O, so it asks through [`Foreign`], which the program gives to a session as it gives it the connectors. A scalar
//! function in Python becomes a [`ScalarFunction`] like any other, so it stands wherever an expression may.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use wiesel_core::{DataType, Result};

use crate::function::ScalarFunction;

/// What becomes of a row whose function fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum OnRefused {
    /// The job ends.
    #[default]
    Fail,
    /// The row goes to the table of dead letters.
    DeadLetter,
    /// The function gives NULL.
    Null,
}

/// The settings of a file that a function's process depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ForeignSettings {
    /// `python.*`, `wiesel.python.*` and `pipeline.global-job-parameters`, as set.
    pub values: BTreeMap<String, String>,
    /// `table.local-time-zone`.
    pub time_zone: Arc<str>,
    /// `wiesel.on-refused`.
    pub on_refused: OnRefused,
}

/// What kind of function a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignKind {
    /// One value per row.
    Scalar,
    /// Rows per row.
    Table,
    /// One value per group.
    Aggregate,
    /// Rows per group; SQL has no call for it.
    TableAggregate,
}

/// What a function says of itself. Types are SQL text, because only the planner reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignFunction {
    /// Its kind.
    pub kind: ForeignKind,
    /// Whether it takes whole columns (pandas).
    pub is_columnar: bool,
    /// Declared types of the arguments, where they are.
    pub input: Option<Vec<String>>,
    /// The result type; of a table function the types of its columns, or one ROW.
    pub result: Vec<String>,
    /// Declared type of an accumulator.
    pub accumulator: Option<Vec<String>>,
    /// Whether equal arguments give equal results.
    pub is_deterministic: bool,
    /// The fewest arguments it takes.
    pub arguments_min: usize,
    /// The most, when there is an end.
    pub arguments_max: Option<usize>,
    /// Of an aggregate: whether it can take rows back.
    pub retracts: bool,
    /// Of an aggregate: whether states can be merged.
    pub merges: bool,
}

/// One call with its types decided.
#[derive(Debug, Clone)]
pub struct ForeignCall {
    /// `module.name`.
    pub class: String,
    /// The name in SQL, for plans and errors.
    pub name: String,
    /// Types of the arguments, as they are passed.
    pub arguments: Vec<DataType>,
    /// Type of the result. A table function gives an ARRAY of rows, one array per row.
    pub result: DataType,
    /// Whether equal arguments give equal results.
    pub is_deterministic: bool,
    /// Whether it takes whole columns (pandas).
    pub is_columnar: bool,
    /// The settings at its place in the file.
    pub settings: Arc<ForeignSettings>,
}

/// A language's run time.
pub trait Foreign: Send + Sync + Debug {
    /// What a function says of itself. Starts a process at first use.
    fn describe(&self, class: &str, settings: &ForeignSettings) -> Result<ForeignFunction>;
    /// A scalar or table function as an expression calls it. Equal calls give the same function.
    fn scalar(&self, call: ForeignCall) -> Result<&'static dyn ScalarFunction>;
}
