//! Text to tree: a tokenizer, a recursive-descent parser for statements and queries, and operator precedence for expressions.
//!
//! It is written by hand for Flink's grammar, because no library parses that dialect: computed and metadata columns,
//! watermarks, `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), ...))`, nested types in angle brackets, the JSON clauses, statement
//! sets and table hints are the everyday of a Flink file.

pub mod ast;
