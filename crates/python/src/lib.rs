//! Python functions: worker processes that speak Arrow, and the stand-in for PyFlink inside them.
//!
//! ```text
//! plan time: CREATE FUNCTION f AS 'm.f'; a call of f -> describe -> types        one process per interpreter and settings
//! run time:  a batch's argument columns -> frame -> worker -> result column       one process per worker thread, started at first call
//! ```
//! A function runs in a process of the user's own interpreter, never inside wiesel: it may hang, crash or eat memory there, and the job
//! lives on (`worker.rs` says how the bad row is found). The process needs pyarrow; `pyflink` inside it is the stand-in below `python/`,
//! whose text is part of the binary (`sources.rs`).

mod frame;
mod function;
mod joint;
mod plain;
mod pool;
mod runtime;
mod settings;
mod sources;
mod sql_type;
mod worker;

pub use runtime::Python;
pub use settings::set_default_interpreter;
