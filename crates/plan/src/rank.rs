//! Nodes that order rows: Top-N and LIMIT.
//!
//! ```text
//! ROW_NUMBER() OVER (PARTITION BY p ORDER BY o) BETWEEN a AND b   -> RankNode { partition: p, order: o, start: a, end: b }
//! ORDER BY o LIMIT n OFFSET m                                     -> RankNode { partition: [], order: o, start: m + 1, end: m + n }
//! LIMIT n                                                         -> the same with no order: arrival decides
//! ```

use crate::SortColumn;

/// The last rank of a Top-N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RankEnd {
    /// `rn <= 10`; `u64::MAX` when only an OFFSET was given.
    Constant(u64),
    /// `rn <= column`: the value of a partition's first row holds for the partition.
    Column(usize),
}

/// How ranks are kept, by what the input can do. Flink's names; the kinds of change differ between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RankStrategy {
    /// Inserts only: rows beyond the last rank are forgotten.
    Append,
    /// Inserts only and ordered by arrival: a counter is enough.
    First,
    /// Updates by this key that only ever move a row forward: rows beyond the last rank are forgotten.
    Update(Vec<usize>),
    /// Any changelog: every row is kept.
    Retract,
}

/// Top-N. Output columns: the input's, then the rank when it is asked for.
#[derive(Debug, Clone)]
pub struct RankNode {
    /// PARTITION BY; empty for a global Top-N.
    pub partition: Vec<usize>,
    /// ORDER BY; rows that are equal in it keep the order of their arrival.
    pub order: Vec<SortColumn>,
    /// The first rank that is emitted, from 1.
    pub start: u64,
    /// The last rank.
    pub end: RankEnd,
    /// Whether the rank is an output column; then a row that shifts others changes them all.
    pub outputs_number: bool,
    /// How ranks are kept; inferred.
    pub strategy: RankStrategy,
    /// Written as LIMIT, for EXPLAIN.
    pub is_limit: bool,
    /// Idle partitions are dropped after this; 0 = never.
    pub state_ttl_ms: u64,
}

impl RankNode {
    /// Whether exactly the first row of each partition is kept.
    pub fn is_top_1(&self) -> bool {
        self.start == 1 && self.end == RankEnd::Constant(1)
    }
}
