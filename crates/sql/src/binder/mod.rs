//! From the tree of a query to the typed query: names resolved, types decided, Flink's rules applied, every refusal named and placed.

mod batch;
mod decorrelate;
pub mod expr;
mod grouping;
pub mod join;
mod json;
mod lateral;
pub mod literal;
mod lookup_hint;
pub mod match_recognize;
mod order;
mod over;
mod python;
pub mod query;
pub mod rank;
pub mod scope;
mod set_operation;
mod subquery;
mod subquery_grouped;
mod subquery_value;
pub mod types;
mod unknown_scope;
mod unnest;
pub mod user_function;
pub mod window;

pub use expr::{Bound, Diagnostics};
pub use query::QueryBinder;
