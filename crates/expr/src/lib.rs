//! Typed scalar expressions: Flink's functions and casts, evaluated on columns
