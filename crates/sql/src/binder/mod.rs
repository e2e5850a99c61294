//! From the tree of a query to the typed query: names resolved, types decided, Flink's rules applied, every refusal named and placed.

mod batch;
pub mod expr;
mod grouping;
pub mod join;
mod json;
pub mod literal;
pub mod match_recognize;
mod order;
mod over;
pub mod query;
pub mod rank;
pub mod scope;
mod set_operation;
mod subquery;
pub mod types;
mod unnest;
pub mod window;

pub use expr::{Bound, Diagnostics};
pub use query::QueryBinder;
