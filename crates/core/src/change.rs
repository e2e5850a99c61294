//! What flows between operators: rows in columns, each with the kind of change it is.
//!
//! Kinds are a side-car and not a column, so schemas stay what the SQL says; `None` means every row is an insert and costs nothing.
//! Nobody may rely on -U and +U standing next to each other: an operator looks at the sign of each row alone.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;

/// Flink's four kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RowKind {
    /// +I, a new row.
    Insert = 0,
    /// -U, the old content of an updated row.
    UpdateBefore = 1,
    /// +U, the new content of an updated row.
    UpdateAfter = 2,
    /// -D, a row that is gone.
    Delete = 3,
}

impl RowKind {
    /// Whether the row is added (+I, +U) and not taken back (-U, -D).
    pub fn is_add(self) -> bool {
        matches!(self, RowKind::Insert | RowKind::UpdateAfter)
    }

    /// Flink's two-letter form.
    pub fn symbol(self) -> &'static str {
        match self {
            RowKind::Insert => "+I",
            RowKind::UpdateBefore => "-U",
            RowKind::UpdateAfter => "+U",
            RowKind::Delete => "-D",
        }
    }
}

impl fmt::Display for RowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

/// The kinds of a batch's rows, shared and immutable.
pub type RowKinds = Arc<[RowKind]>;

/// A batch of changes.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    /// The rows.
    pub rows: RecordBatch,
    /// One kind per row; `None` when all are +I.
    pub kinds: Option<RowKinds>,
}

impl ChangeBatch {
    /// A batch of inserts.
    pub fn inserts(rows: RecordBatch) -> Self {
        ChangeBatch { rows, kinds: None }
    }

    /// A batch with kinds. The lengths must agree (asserted: a mismatch is a bug of the operator that built it).
    pub fn new(rows: RecordBatch, kinds: Vec<RowKind>) -> Self {
        assert_eq!(rows.num_rows(), kinds.len(), "one kind per row");
        let kinds = if kinds.iter().all(|k| *k == RowKind::Insert) { None } else { Some(kinds.into()) };
        ChangeBatch { rows, kinds }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0
    }

    /// The kind of row `index`.
    pub fn kind(&self, index: usize) -> RowKind {
        match &self.kinds {
            None => RowKind::Insert,
            Some(kinds) => kinds.get(index).copied().unwrap_or(RowKind::Insert),
        }
    }

    /// Rows `offset .. offset + length`, without a copy of the columns.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        ChangeBatch {
            rows: self.rows.slice(offset, length),
            kinds: self.kinds.as_ref().map(|k| k.iter().skip(offset).take(length).copied().collect()),
        }
    }
}

/// Which kinds of change a stream holds, or a sink takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangelogMode {
    /// Only +I.
    Insert,
    /// +I, +U and -D by key, no -U.
    Upsert,
    /// All four kinds; -U and -D carry the full old row.
    Full,
}

impl ChangelogMode {
    /// Flink's form in EXPLAIN CHANGELOG_MODE, `[I]`, `[I,UA,D]`, `[I,UB,UA,D]`.
    pub fn symbol(self) -> &'static str {
        match self {
            ChangelogMode::Insert => "[I]",
            ChangelogMode::Upsert => "[I,UA,D]",
            ChangelogMode::Full => "[I,UB,UA,D]",
        }
    }
}
