//! One file per operator, and the one function that builds the operator of a plan node.

pub(crate) mod aggregate;
mod batch_over;
mod batch_sort;
mod calc;
mod changelog_normalize;
mod deduplicate;
mod expand;
mod group_aggregate;
mod interval_join;
mod join;
mod join_side;
#[cfg(test)]
mod join_tests;
mod keyed_rows;
mod lookup_join;
mod lookup_retry;
mod match_recognize;
mod materialize;
mod order_distance;
mod over;
mod picked;
mod rank;
mod replicate;
mod session;
mod session_aggregate;
mod session_table;
mod sliced;
mod sort;
mod sort_key;
mod sorted_rows;
mod temporal_join;
#[cfg(test)]
mod testing;
mod union_all;
mod unnest;
mod window;
mod window_aggregate;
mod window_join;
mod window_parts;
mod window_rank;
mod window_rows;
mod window_table;

use wiesel_core::{Error, Result, Schema};
use wiesel_plan::{JoinForm, Node, NodeKind, WindowKind};

pub use self::batch_over::BatchOver;
pub use self::batch_sort::BatchSort;
pub use self::calc::Calc;
pub use self::changelog_normalize::ChangelogNormalize;
pub use self::deduplicate::Deduplicate;
pub use self::expand::Expand;
pub use self::group_aggregate::GroupAggregate;
pub use self::interval_join::IntervalJoin;
pub use self::join::Join;
pub use self::lookup_join::LookupJoin;
pub use self::match_recognize::MatchRecognize;
pub use self::materialize::Materialize;
pub use self::over::Over;
pub use self::rank::Rank;
pub use self::replicate::Replicate;
pub use self::session_aggregate::SessionAggregate;
pub use self::session_table::SessionTable;
pub use self::sort::Sort;
pub use self::temporal_join::TemporalJoin;
pub use self::union_all::UnionAll;
pub use self::unnest::Unnest;
pub use self::window_aggregate::WindowAggregate;
pub use self::window_join::WindowJoin;
pub use self::window_rank::WindowRank;
pub use self::window_table::WindowTable;
use crate::operator::{Operator, OperatorContext};
use crate::state::group_table::GroupTable;
use crate::state::store::Loaded;

/// Rows per emitted batch at most, so that what flows stays within the caches whatever fires at once.
pub const ROWS_PER_BATCH: usize = 16 * 1024;

/// Takes in what the store holds of the keys that are new in an operator's one table.
fn load_groups<O: Operator>(operator: &mut O, table: u8, parts: GroupsOf<O>) -> Result<()> {
    let (groups, loaded) = parts(operator);
    let mut loaded = std::mem::take(loaded);
    loaded.clear();
    groups.load_created(table, &[], &mut loaded)?;
    for (table, vnode, key, value) in loaded.iter() {
        operator.restore(table, vnode, key, value)?;
    }
    *parts(operator).1 = loaded;
    Ok(())
}

type GroupsOf<O> = fn(&mut O) -> (&mut GroupTable, &mut Loaded);

/// Builds the operator of a plan node from the schemas of its inputs.
///
/// Sources, exchanges, watermarks, constant rows, sinks and collected results are parts of the step loop and no operators of this list; a
/// lookup join is built there too, because it asks a connector.
pub fn build(node: &Node, input_schemas: &[&Schema], context: &OperatorContext) -> Result<Box<dyn Operator>> {
    let input = || {
        let schema = input_schemas.first().copied();
        schema.ok_or_else(|| Error::internal(format!("`{}` has no input", node.label)))
    };
    let operator: Box<dyn Operator> = match &node.kind {
        NodeKind::Calc(calc) => Box::new(Calc::new(calc, &node.schema)?),
        NodeKind::GroupAggregate(aggregate) => {
            Box::new(GroupAggregate::new(aggregate, input()?, &node.schema, node.changelog_mode)?)
        }
        NodeKind::WindowAggregate(window) if matches!(window.window.kind, WindowKind::Session { .. }) => {
            Box::new(SessionAggregate::new(window, input()?, &node.schema)?)
        }
        NodeKind::SessionTable(session) => Box::new(SessionTable::new(session, input()?, &node.schema)?),
        NodeKind::WindowAggregate(window) => Box::new(WindowAggregate::new(window, input()?, &node.schema, context)?),
        NodeKind::WindowRank(rank) => Box::new(WindowRank::new(rank, input()?, &node.schema, context)?),
        NodeKind::MatchRecognize(pattern) => Box::new(MatchRecognize::new(pattern, input()?, &node.schema)?),
        NodeKind::Expand(expand) => Box::new(Expand::new(expand, input()?, &node.schema)?),
        NodeKind::Unnest(unnest) => Box::new(Unnest::new(unnest, input()?, &node.schema)?),
        NodeKind::WindowTable(window) => Box::new(WindowTable::new(window, input()?, &node.schema)?),
        NodeKind::Deduplicate(deduplicate) => Box::new(Deduplicate::new(deduplicate, input()?, node.changelog_mode)?),
        NodeKind::Rank(rank) => Box::new(Rank::new(rank, input()?, &node.schema, node.changelog_mode)?),
        NodeKind::Join(join) => match &join.form {
            JoinForm::Regular(sides) => Box::new(Join::new(join, sides, input_schemas, &node.schema)?),
            JoinForm::Interval(bounds) => Box::new(IntervalJoin::new(join, bounds, input_schemas, &node.schema)?),
            JoinForm::Window(ends) => Box::new(WindowJoin::new(join, ends, input_schemas, &node.schema, context)?),
            JoinForm::Temporal(times) => Box::new(TemporalJoin::new(join, times, input_schemas, &node.schema)?),
        },
        NodeKind::Over(over) => Box::new(Over::new(over, input()?, &node.schema)?),
        NodeKind::Sort(sort) => Box::new(Sort::new(sort, input()?)?),
        NodeKind::BatchSort(order) => Box::new(BatchSort::new(order, input()?)?),
        NodeKind::BatchOver(over) => Box::new(BatchOver::new(over, input()?, &node.schema)?),
        NodeKind::Replicate => Box::new(Replicate::new(input()?, &node.schema)?),
        NodeKind::Materialize(materialize) => Box::new(Materialize::new(materialize, input()?)?),
        NodeKind::ChangelogNormalize(normalize) => {
            Box::new(ChangelogNormalize::new(normalize, input()?, node.changelog_mode)?)
        }
        NodeKind::UnionAll => Box::new(UnionAll::new(input_schemas, &node.schema)?),
        NodeKind::Source(_)
        | NodeKind::Values(_)
        | NodeKind::Watermark(_)
        | NodeKind::LookupJoin(_)
        | NodeKind::Exchange(_)
        | NodeKind::Sink(_)
        | NodeKind::Collect => {
            return Err(Error::internal(format!("`{}` is no operator but a part of the step loop", node.label)));
        }
    };
    Ok(operator)
}
