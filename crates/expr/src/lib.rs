//! Typed scalar expressions and aggregates, and their evaluation on columns with Flink's answers.
//!
//! The binder builds [`ScalarExpr`] trees (types already decided, casts explicit); operators evaluate them with [`Evaluator`]. A
//! function is one file under `function/`: signature (types in, type out), documentation, columnar code and tests together, because the
//! binder and the evaluator must agree on it.
//!
//! WHY-NOT DataFusion's expressions: Flink's answers differ in arithmetic (wrapping integers, DECIMAL rules), casts, NULL and text
//! handling of nearly every function, so its planner and most of its functions would be replaced anyhow; what is left, the comparison
//! and selection kernels, is arrow's own and is used directly. That keeps some hundred crates out of the build.

pub mod aggregate;
pub mod cast;
pub mod eval;
pub mod fold;
pub mod foreign;
pub mod function;
pub mod operand;
pub mod refusal;
pub mod text;
pub mod time;

use std::sync::Arc;

use wiesel_core::{DataType, Value};

pub use aggregate::{AggregateCall, AggregateFunction};
pub use eval::{EvalContext, Evaluator, Projection, evaluate_constant};
pub use fold::fold;
pub use function::{FunctionError, ScalarFunction};

/// A scalar expression over the columns of one input, with all types decided.
///
/// The variants that are not [`ScalarExpr::Call`] are those whose operands are evaluated only on the rows where SQL reaches them, or that
/// the planner looks into.
#[derive(Debug, Clone)]
pub enum ScalarExpr {
    /// A column of the input.
    Column {
        /// Its position.
        index: usize,
        /// Its type.
        data_type: DataType,
    },
    /// A constant.
    Literal {
        /// The value.
        value: Value,
        /// Its type.
        data_type: DataType,
    },
    /// A function of the registry. Arguments have the types that [`ScalarFunction::bind`] asked for.
    Call {
        /// The function.
        function: &'static dyn ScalarFunction,
        /// Its arguments.
        args: Vec<ScalarExpr>,
        /// Its result type.
        data_type: DataType,
    },
    /// CAST, TRY_CAST, and implicit casts.
    Cast {
        /// What is cast.
        input: Box<ScalarExpr>,
        /// To which type.
        data_type: DataType,
        /// TRY_CAST: NULL where CAST fails.
        is_try: bool,
    },
    /// Three-valued AND; a later operand is not evaluated where an earlier one is FALSE.
    And(Vec<ScalarExpr>),
    /// Three-valued OR; a later operand is not evaluated where an earlier one is TRUE.
    Or(Vec<ScalarExpr>),
    /// CASE WHEN, IF, NULLIF and the like: the first true condition's result.
    Case {
        /// Condition and result, in order.
        branches: Vec<(ScalarExpr, ScalarExpr)>,
        /// ELSE; NULL when absent.
        otherwise: Option<Box<ScalarExpr>>,
        /// The common type of all results.
        data_type: DataType,
    },
    /// COALESCE, IFNULL: the first value that is not NULL.
    Coalesce {
        /// The candidates, cast to the common type.
        args: Vec<ScalarExpr>,
        /// The common type.
        data_type: DataType,
    },
    /// A field of a ROW.
    Field {
        /// The row.
        input: Box<ScalarExpr>,
        /// Position of the field.
        index: usize,
        /// The field's type (nullable when the row is).
        data_type: DataType,
    },
}

impl ScalarExpr {
    /// The type of the expression.
    pub fn data_type(&self) -> DataType {
        match self {
            ScalarExpr::Column { data_type, .. }
            | ScalarExpr::Literal { data_type, .. }
            | ScalarExpr::Call { data_type, .. }
            | ScalarExpr::Cast { data_type, .. }
            | ScalarExpr::Case { data_type, .. }
            | ScalarExpr::Coalesce { data_type, .. }
            | ScalarExpr::Field { data_type, .. } => data_type.clone(),
            ScalarExpr::And(args) | ScalarExpr::Or(args) => {
                let nullable = args.iter().any(|a| a.data_type().nullable);
                DataType::boolean().with_nullable(nullable)
            }
        }
    }

    /// The direct operands.
    pub fn children(&self) -> Vec<&ScalarExpr> {
        match self {
            ScalarExpr::Column { .. } | ScalarExpr::Literal { .. } => Vec::new(),
            ScalarExpr::Call { args, .. }
            | ScalarExpr::And(args)
            | ScalarExpr::Or(args)
            | ScalarExpr::Coalesce { args, .. } => args.iter().collect(),
            ScalarExpr::Cast { input, .. } | ScalarExpr::Field { input, .. } => vec![input],
            ScalarExpr::Case { branches, otherwise, .. } => {
                branches.iter().flat_map(|(c, r)| [c, r]).chain(otherwise.as_deref()).collect()
            }
        }
    }

    /// Rebuilds the tree bottom-up; `f` sees each node after its operands were rebuilt.
    #[must_use]
    pub fn transform(self, f: &mut impl FnMut(ScalarExpr) -> ScalarExpr) -> ScalarExpr {
        let each = |args: Vec<ScalarExpr>, f: &mut _| -> Vec<ScalarExpr> {
            args.into_iter().map(|a| transform_dyn(a, f)).collect()
        };
        let node = match self {
            leaf @ (ScalarExpr::Column { .. } | ScalarExpr::Literal { .. }) => leaf,
            ScalarExpr::Call { function, args, data_type } => {
                ScalarExpr::Call { function, args: each(args, f), data_type }
            }
            ScalarExpr::And(args) => ScalarExpr::And(each(args, f)),
            ScalarExpr::Or(args) => ScalarExpr::Or(each(args, f)),
            ScalarExpr::Coalesce { args, data_type } => ScalarExpr::Coalesce { args: each(args, f), data_type },
            ScalarExpr::Cast { input, data_type, is_try } => {
                ScalarExpr::Cast { input: Box::new(transform_dyn(*input, f)), data_type, is_try }
            }
            ScalarExpr::Field { input, index, data_type } => {
                ScalarExpr::Field { input: Box::new(transform_dyn(*input, f)), index, data_type }
            }
            ScalarExpr::Case { branches, otherwise, data_type } => ScalarExpr::Case {
                branches: branches.into_iter().map(|(c, r)| (transform_dyn(c, f), transform_dyn(r, f))).collect(),
                otherwise: otherwise.map(|e| Box::new(transform_dyn(*e, f))),
                data_type,
            },
        };
        f(node)
    }

    /// Adds every column index that the expression reads to `columns`.
    pub fn columns_read(&self, columns: &mut Vec<usize>) {
        if let ScalarExpr::Column { index, .. } = self {
            columns.push(*index);
        }
        for child in self.children() {
            child.columns_read(columns);
        }
    }
}

fn transform_dyn<F: FnMut(ScalarExpr) -> ScalarExpr>(expr: ScalarExpr, f: &mut F) -> ScalarExpr {
    expr.transform(f)
}

/// The session values that expressions may depend on; fixed for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `table.local-time-zone`, an IANA name or a fixed offset.
    pub time_zone: Arc<str>,
    /// `table.exec.legacy-cast-behaviour`: failing casts give NULL.
    pub legacy_cast: bool,
}
