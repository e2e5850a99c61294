//! CAST with Flink's rules: which casts exist, which are implicit, what each gives, and the text forms of values.

use wiesel_core::DataType;

/// Whether CAST from one type to another exists at all.
pub fn is_castable(_from: &DataType, _to: &DataType) -> bool {
    false
}

/// Whether Flink casts from one type to another by itself (INSERT into a column, function arguments).
pub fn is_implicit(from: &DataType, to: &DataType) -> bool {
    from.kind == to.kind
}

/// The least restrictive common type (CASE, COALESCE, VALUES, set operations); `None` when there is none.
pub fn common_type(_types: &[DataType]) -> Option<DataType> {
    None
}
