//! What an operator keeps: about how many bytes for each key or row, and until when. EXPLAIN prints it, `wiesel check` warns of what
//! grows for ever.
//!
//! The figures are estimates from the layout of the state tables, for texts of 16 bytes; what they are for is the choice of a
//! time to live, where a factor of two does not matter and "for ever" does.

use std::fmt;

use wiesel_core::{DataType, Schema, TypeKind};
use wiesel_expr::{AggregateCall, AggregateFunction};

use crate::join::JoinForm;
use crate::{Node, NodeId, NodeKind, OverFrame, RankEnd, RankNode, RankStrategy, StreamPlan};

/// The assumed length of a text, and of a collection's elements together.
const TEXT_BYTES: usize = 16;
/// What a group costs beside its key: its slot, its place in the index, the row count.
const GROUP_BYTES: usize = 48;
/// What a row of an ordered table costs beside its key and value.
const ENTRY_BYTES: usize = 48;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateUnit {
    /// A key.
    Key,
    /// A row of the input.
    Row,
    /// A key and window that is open.
    OpenWindow,
}

/// When state goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateLife {
    /// Never, but for rows that are taken back.
    Forever,
    /// When it was not written for so many ms.
    Idle(u64),
    /// When event time, or the clock, passes it.
    Time,
}

/// What an operator keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSize {
    /// What is counted.
    pub unit: StateUnit,
    /// About so many bytes for each.
    pub bytes: usize,
    /// Until when.
    pub life: StateLife,
}

impl fmt::Display for StateSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            StateUnit::Key => "key",
            StateUnit::Row => "row",
            StateUnit::OpenWindow => "key and open window",
        };
        write!(f, "about {} bytes per {unit}", self.bytes)?;
        match self.life {
            StateLife::Forever => f.write_str(", for ever"),
            StateLife::Idle(ms) => write!(f, ", until idle for {ms} ms"),
            StateLife::Time => f.write_str(", until time passes it"),
        }
    }
}

/// What a node keeps; `None` when it keeps nothing that grows with the input.
pub fn state_size(plan: &StreamPlan, id: NodeId) -> Option<StateSize> {
    let node = plan.nodes.get(id)?;
    let input = |port: usize| node.inputs.get(port).and_then(|i| plan.nodes.get(*i)).map(|n| &n.schema);
    let first = input(0)?;
    Some(match &node.kind {
        NodeKind::GroupAggregate(group) => StateSize {
            unit: StateUnit::Key,
            bytes: GROUP_BYTES
                + columns_bytes(first, &group.keys)
                + calls_bytes(first, &group.aggregates, group.input_retracts),
            life: life(group.state_ttl_ms),
        },
        NodeKind::WindowAggregate(window) => StateSize {
            unit: StateUnit::OpenWindow,
            bytes: GROUP_BYTES
                + 8
                + columns_bytes(first, &window.keys)
                + calls_bytes(first, &window.aggregates, window.input_retracts),
            life: StateLife::Time,
        },
        NodeKind::SessionTable(_) | NodeKind::WindowRank(_) => {
            StateSize { unit: StateUnit::Row, bytes: ENTRY_BYTES + row_bytes(first), life: StateLife::Time }
        }
        // Without WITHIN a loop may run, and keep its rows, for ever.
        NodeKind::MatchRecognize(pattern) => {
            let ends = pattern.within_ms.is_some() || pattern.variables.iter().all(|v| v.max.is_some());
            let life = if ends { StateLife::Time } else { StateLife::Forever };
            StateSize { unit: StateUnit::Row, bytes: ENTRY_BYTES + row_bytes(first), life }
        }
        NodeKind::Deduplicate(deduplicate) => StateSize {
            unit: StateUnit::Key,
            bytes: GROUP_BYTES + columns_bytes(first, &deduplicate.keys) + row_bytes(first),
            life: life(deduplicate.state_ttl_ms),
        },
        NodeKind::ChangelogNormalize(normalize) => StateSize {
            unit: StateUnit::Key,
            bytes: GROUP_BYTES + columns_bytes(first, &normalize.primary_key) + row_bytes(first),
            life: life(normalize.state_ttl_ms),
        },
        NodeKind::Rank(rank) => rank_size(rank, first)?,
        NodeKind::Over(over) => {
            let is_bounded = matches!(over.frame, OverFrame::Rows(Some(_)) | OverFrame::Range(Some(_)));
            let bytes = 2 * GROUP_BYTES + columns_bytes(first, &over.partition) + 16 * over.calls.len();
            let kept = match over.frame {
                // The rows of the frame stay with their key.
                OverFrame::Rows(Some(rows)) => usize::try_from(rows).unwrap_or(usize::MAX).saturating_add(1),
                _ => usize::from(is_bounded),
            };
            StateSize {
                unit: StateUnit::Key,
                bytes: kept.saturating_mul(ENTRY_BYTES + row_bytes(first)).saturating_add(bytes),
                life: match over.frame {
                    OverFrame::Range(Some(_)) if over.order.is_some() => StateLife::Time,
                    _ => life(over.state_ttl_ms),
                },
            }
        }
        NodeKind::Sort(_) | NodeKind::BatchSort(_) | NodeKind::BatchOver(_) => {
            StateSize { unit: StateUnit::Row, bytes: ENTRY_BYTES + row_bytes(first), life: StateLife::Time }
        }
        NodeKind::Materialize(node) => {
            StateSize { unit: StateUnit::Row, bytes: ENTRY_BYTES + row_bytes(first), life: life(node.state_ttl_ms) }
        }
        NodeKind::Join(join) => {
            let row = ENTRY_BYTES + input(0).map_or(0, row_bytes).max(input(1).map_or(0, row_bytes));
            let life = match &join.form {
                JoinForm::Regular(sides) if sides.iter().any(|side| side.state_ttl_ms == 0) => StateLife::Forever,
                JoinForm::Regular(sides) => StateLife::Idle(sides.iter().map(|s| s.state_ttl_ms).max().unwrap_or(0)),
                JoinForm::Interval(_) | JoinForm::Window(_) => StateLife::Time,
                // The newest version of each key stays as long as the key does.
                JoinForm::Temporal(times) => life(times.state_ttl_ms),
            };
            StateSize { unit: StateUnit::Row, bytes: row, life }
        }
        _ => return None,
    })
}

/// A name for the operator in a sentence.
pub fn state_owner(node: &Node) -> &'static str {
    match &node.kind {
        NodeKind::GroupAggregate(group) if group.aggregates.is_empty() => "DISTINCT",
        NodeKind::GroupAggregate(_) => "GROUP BY",
        NodeKind::Deduplicate(_) => "the deduplication",
        NodeKind::Rank(_) => "the Top-N",
        NodeKind::Over(_) => "the OVER window",
        NodeKind::Sort(_) => "the ORDER BY",
        NodeKind::ChangelogNormalize(_) => "the normalization of a source's changes",
        NodeKind::Materialize(_) => "the upsert materializer",
        NodeKind::MatchRecognize(_) => "MATCH_RECOGNIZE",
        NodeKind::Join(_) => "the join",
        _ => "the query",
    }
}

fn life(ttl_ms: u64) -> StateLife {
    if ttl_ms == 0 { StateLife::Forever } else { StateLife::Idle(ttl_ms) }
}

fn rank_size(rank: &RankNode, input: &Schema) -> Option<StateSize> {
    let row = ENTRY_BYTES + row_bytes(input);
    let (unit, bytes) = match (&rank.strategy, rank.end) {
        // A counter per partition.
        (RankStrategy::First, _) => (StateUnit::Key, GROUP_BYTES + columns_bytes(input, &rank.partition)),
        (RankStrategy::Retract, _) | (_, RankEnd::Column(_)) => (StateUnit::Row, row),
        (_, RankEnd::Constant(end)) => (StateUnit::Key, row.saturating_mul(usize::try_from(end).unwrap_or(usize::MAX))),
    };
    // LIMIT keeps so many rows in all.
    let is_bounded = rank.partition.is_empty() && unit == StateUnit::Key;
    (!is_bounded).then_some(StateSize { unit, bytes, life: life(rank.state_ttl_ms) })
}

fn calls_bytes(input: &Schema, calls: &[AggregateCall], retracts: bool) -> usize {
    calls
        .iter()
        .map(|call| {
            let value = columns_bytes(input, &call.args).max(8);
            // Values that must be found again when one is taken back, one at least.
            let keeps_values = call.distinct
                || retracts
                    && !matches!(
                        call.function,
                        AggregateFunction::Count | AggregateFunction::Sum | AggregateFunction::Avg
                    );
            8 + value + if keeps_values { ENTRY_BYTES + value } else { 0 }
        })
        .sum()
}

fn columns_bytes(schema: &Schema, columns: &[usize]) -> usize {
    columns.iter().filter_map(|c| schema.fields().get(*c)).map(|field| type_bytes(&field.data_type)).sum()
}

fn row_bytes(schema: &Schema) -> usize {
    schema.fields().iter().map(|field| type_bytes(&field.data_type)).sum()
}

/// The encoded length of a value: a mark for NULL and the value.
fn type_bytes(data_type: &DataType) -> usize {
    1 + match &data_type.kind {
        TypeKind::Boolean | TypeKind::TinyInt => 1,
        TypeKind::SmallInt => 2,
        TypeKind::Int | TypeKind::Float | TypeKind::Date | TypeKind::Time(_) => 4,
        TypeKind::BigInt | TypeKind::Double | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => 8,
        TypeKind::Decimal { .. } => 16,
        TypeKind::Row(fields) => fields.iter().map(|field| type_bytes(&field.data_type)).sum(),
        _ => TEXT_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_how_much_for_what_and_until_when() {
        let cases = [
            (StateUnit::Key, StateLife::Forever, "about 86 bytes per key, for ever"),
            (StateUnit::Row, StateLife::Idle(5), "about 86 bytes per row, until idle for 5 ms"),
            (StateUnit::OpenWindow, StateLife::Time, "about 86 bytes per key and open window, until time passes it"),
        ];
        for (unit, life, expected) in cases {
            assert_eq!(StateSize { unit, bytes: 86, life }.to_string(), expected);
        }
    }
}
