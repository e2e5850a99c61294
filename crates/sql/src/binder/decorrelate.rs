//! A subquery that reads the row around it becomes one that does not: it gives, beside its own columns, the outer values for which each row
//! holds, and is joined to the query around by them. The rewriting is that of Flink's planner, so that the changelog is too.
//!
//! ```text
//! WHERE s.k = o.k AND s.v > 5      filter v > 5, and column k stands for o.k               an equality names its own value
//! WHERE s.v > o.x                  join with (SELECT DISTINCT x FROM o) ON s.v > x, and column x stands for o.x
//! COUNT(*), DISTINCT               the columns that stand for outer values become group keys
//! ORDER BY .. LIMIT n              they become PARTITION BY: a Top-N
//! SELECT o.x + 1, UNNEST(o.list)   without a table of its own: computed on the outer rows themselves, see [`grafted`]
//! ```
//! Equality with an outer NULL never holds, so such a row finds nothing; Flink's answer is the same. Window table functions, OVER and set
//! operations other than UNION ALL above a correlated condition are refused by name.

use wiesel_core::diagnostic::Span;
use wiesel_expr::ScalarExpr;
use wiesel_plan::JoinKind;

use super::expr::{Bound, call, refused};
use super::set_operation::distinct;
use crate::plan::join::{JoinForm, JoinRel, conjuncts, is_deterministic, join as join_rels, settle};
use crate::plan::rel::{OUTER_BASE, Rel, RelColumn, RelKind, identity, is_outer, reads_outer};

/// Whether a subquery reads the row around it.
pub(super) fn is_correlated(rel: &Rel) -> bool {
    let own = match &rel.kind {
        RelKind::Calc { filter, project, .. } => filter.iter().chain(project).any(reads_outer),
        RelKind::Join { join, .. } => join.condition.iter().any(reads_outer),
        _ => false,
    };
    own || rel.inputs().into_iter().any(is_correlated)
}

/// A subquery's own columns, and behind them one for each of these columns of the query around.
pub(super) struct Decorrelated {
    pub(super) rel: Rel,
    pub(super) outers: Vec<usize>,
}

impl Decorrelated {
    /// The conditions that tie the rows to those of the query around, whose `width` columns stand in front of them.
    pub(super) fn ties(&self, outer: &[RelColumn], width: usize, span: Span) -> Bound<Vec<ScalarExpr>> {
        let first = self.rel.columns.len() - self.outers.len();
        let tie = |(place, outer_column): (usize, &usize)| {
            let own = column(&self.rel.columns, first + place);
            let own = shifted(&own, width);
            call("=", vec![column(outer, *outer_column), own], span)
        };
        self.outers.iter().enumerate().map(tie).collect()
    }
}

/// Rewrites a subquery under the rows `outer`.
pub(super) fn decorrelate(rel: Rel, outer: &Rel, span: Span) -> Bound<Decorrelated> {
    let (rel, outers) = Decorrelation { outer, span }.rewrite(rel)?;
    Ok(Decorrelated { rel, outers })
}

struct Decorrelation<'a> {
    outer: &'a Rel,
    span: Span,
}

impl Decorrelation<'_> {
    /// The rows with a column behind their own for each outer column of the list.
    fn rewrite(&self, rel: Rel) -> Bound<(Rel, Vec<usize>)> {
        if !is_correlated(&rel) {
            return Ok((rel, Vec::new()));
        }
        let Rel { kind, columns } = rel;
        match kind {
            RelKind::Calc { input, filter, project } => self.calc(*input, filter, project, columns),
            RelKind::Join { left, right, join } => self.join(*left, *right, *join),
            RelKind::Aggregate { input, keys, aggregates, state_ttl_ms } => {
                let width = input.columns.len();
                let (input, outers) = self.rewrite(*input)?;
                let own_keys = keys.len();
                let keys: Vec<usize> = keys.into_iter().chain(width..width + outers.len()).collect();
                let added = input.columns.iter().skip(width).map(|c| RelColumn { time: None, ..c.clone() });
                let (of_keys, of_aggregates) = columns.split_at(own_keys.min(columns.len()));
                let all = of_keys.iter().cloned().chain(added).chain(of_aggregates.iter().cloned()).collect();
                let kind = RelKind::Aggregate { input: Box::new(input), keys, aggregates, state_ttl_ms };
                Ok((moved_back(Rel { kind, columns: all }, own_keys, outers.len()), outers))
            }
            RelKind::Rank { input, partition, order, start, end, is_limit } => {
                let (input, order) = match *input {
                    // In batch mode the sort stands below its limit.
                    Rel { kind: RelKind::BatchSort { input, order: sorted }, .. } if order.is_empty() => {
                        (input, sorted)
                    }
                    input => (Box::new(input), order),
                };
                let width = input.columns.len();
                let (input, outers) = self.rewrite(*input)?;
                let partition = partition.into_iter().chain(width..width + outers.len()).collect();
                let mut all = input.columns.clone();
                all.extend(columns.into_iter().skip(width));
                let kind = RelKind::Rank { input: Box::new(input), partition, order, start, end, is_limit };
                Ok((moved_back(Rel { kind, columns: all }, width, outers.len()), outers))
            }
            RelKind::Deduplicate { input, keys, order, keep_last } => {
                let width = input.columns.len();
                let (input, outers) = self.rewrite(*input)?;
                let keys = keys.into_iter().chain(width..width + outers.len()).collect();
                let columns = input.columns.clone();
                Ok((
                    Rel { kind: RelKind::Deduplicate { input: Box::new(input), keys, order, keep_last }, columns },
                    outers,
                ))
            }
            RelKind::Unnest { input, column, is_left, with_ordinality } => {
                let width = input.columns.len();
                let (input, outers) = self.rewrite(*input)?;
                let mut all = input.columns.clone();
                all.extend(columns.into_iter().skip(width));
                let kind = RelKind::Unnest { input: Box::new(input), column, is_left, with_ordinality };
                Ok((moved_back(Rel { kind, columns: all }, width, outers.len()), outers))
            }
            RelKind::UnionAll(inputs) => self.union(inputs, columns),
            _ => Err(vec![
                refused("a subquery that reads the row around it below a window, OVER or a sort", self.span)
                    .hint("join the tables instead, or compare the outer columns above it"),
            ]),
        }
    }

    fn calc(
        &self,
        input: Rel,
        filter: Option<ScalarExpr>,
        project: Vec<ScalarExpr>,
        columns: Vec<RelColumn>,
    ) -> Bound<(Rel, Vec<usize>)> {
        let width = input.columns.len();
        let (mut input, mut outers) = self.rewrite(input)?;
        let parts = filter.map_or_else(Vec::new, conjuncts);
        let (tied, mut kept): (Vec<ScalarExpr>, Vec<ScalarExpr>) = parts.into_iter().partition(reads_outer);
        let missing = missing_outers(&tied, &outers);
        let equal: Option<Vec<ScalarExpr>> =
            missing.iter().map(|outer| tied.iter().find_map(|part| own_value(part, *outer))).collect();
        match equal {
            Some(values) => {
                for value in &values {
                    if value.data_type().nullable {
                        kept.push(call("IS NOT NULL", vec![value.clone()], self.span)?);
                    }
                }
                if !missing.is_empty() {
                    let names = input.columns.iter().map(|c| c.name.clone());
                    let names = names.chain(missing.iter().map(|i| name_of(&self.outer.columns, *i)));
                    let items = names.zip(identity(&input.columns).into_iter().chain(values.iter().cloned())).collect();
                    input = filtered(input, std::mem::take(&mut kept)).project(items);
                    outers.extend(&missing);
                }
                // What gave a column its value holds for that column; the other conditions are asked.
                let gives = |part: &&ScalarExpr| {
                    let text = |e: &ScalarExpr| format!("{e:?}");
                    let mut pairs = missing.iter().zip(&values);
                    pairs.any(|(outer, value)| own_value(part, *outer).is_some_and(|own| text(&own) == text(value)))
                };
                let rest = tied.iter().filter(|part| !gives(part));
                kept.extend(rest.map(|part| own(part, width, &outers, &input)));
                input = filtered(input, kept);
            }
            None => {
                input = self.beside_values(filtered(input, kept), &mut outers, &missing, &tied, width);
            }
        }
        let missing = missing_outers(&project, &outers);
        if !missing.is_empty() {
            input = self.beside_values(input, &mut outers, &missing, &[], width);
        }
        let project = project.iter().map(|e| own(e, width, &outers, &input));
        let added = identity(&input.columns).into_iter().skip(width);
        let names = columns.iter().map(|c| c.name.clone());
        let names = names.chain(input.columns.iter().skip(width).map(|c| c.name.clone()));
        let items: Vec<(String, ScalarExpr)> = names.zip(project.chain(added)).collect();
        let mut rel = input.project(items);
        for (column, known) in rel.columns.iter_mut().zip(columns) {
            *column = RelColumn { data_type: column.data_type.clone(), ..known };
        }
        Ok((rel, outers))
    }

    /// The rows beside all values of the missing outer columns for which the conditions hold.
    fn beside_values(
        &self,
        input: Rel,
        outers: &mut Vec<usize>,
        missing: &[usize],
        conditions: &[ScalarExpr],
        width: usize,
    ) -> Rel {
        let items =
            missing.iter().map(|c| (name_of(&self.outer.columns, *c), column(&self.outer.columns, *c))).collect();
        let values = distinct(self.outer.clone().project(items));
        outers.extend_from_slice(missing);
        let mut both = input.columns.clone();
        both.extend(values.columns.iter().cloned());
        let condition = conditions.iter().map(|c| own_over(c, width, outers, &both)).collect();
        settle(join_rels(input, values, regular(JoinKind::Inner, condition, self.span)))
    }

    fn join(&self, left: Rel, right: Rel, mut join: JoinRel) -> Bound<(Rel, Vec<usize>)> {
        let (left_width, right_width) = (left.columns.len(), right.columns.len());
        let ((mut left, mut outers), (right, of_right)) = (self.rewrite(left)?, self.rewrite(right)?);
        if matches!(join.kind, JoinKind::Right | JoinKind::Full) {
            return Err(vec![refused("a RIGHT or FULL join in a subquery that reads the row around it", self.span)]);
        }
        let mut missing = missing_outers(&join.condition, &outers);
        if join.kind == JoinKind::Inner {
            missing.retain(|outer| !of_right.contains(outer));
        } else {
            // Rows without a partner stay, so the left side itself must know the outer values.
            missing.extend(of_right.iter().filter(|outer| !outers.contains(outer)));
            missing.sort_unstable();
            missing.dedup();
        }
        if !missing.is_empty() {
            left = self.beside_values(left, &mut outers, &missing, &[], left_width);
        }
        let wide = left.columns.len();
        let mut both = left.columns.clone();
        both.extend(right.columns.iter().cloned());
        let place = |outer: usize| match outers.iter().position(|o| *o == outer) {
            Some(at) => left_width + at,
            None => wide + right_width + of_right.iter().position(|o| *o == outer).unwrap_or(0),
        };
        let moved = |e: &ScalarExpr| {
            e.clone().transform(&mut |e| match e {
                ScalarExpr::Column { index, .. } if is_outer(index) => column(&both, place(index - OUTER_BASE)),
                ScalarExpr::Column { index, data_type } if index >= left_width => {
                    ScalarExpr::Column { index: index - left_width + wide, data_type }
                }
                other => other,
            })
        };
        join.condition = join.condition.iter().map(moved).collect();
        let mut added: Vec<usize> = (left_width..wide).collect();
        for (at, outer) in of_right.iter().enumerate() {
            let on_right = wide + right_width + at;
            if outers.contains(outer) {
                join.condition.push(call("=", vec![column(&both, place(*outer)), column(&both, on_right)], self.span)?);
            } else {
                added.push(on_right);
            }
        }
        outers.extend(of_right.iter().filter(|outer| !outers.contains(outer)).copied().collect::<Vec<_>>());
        let is_semi = join.kind.is_semi_or_anti();
        let rel = settle(join_rels(left, right, join));
        if is_semi {
            return Ok((rel, outers));
        }
        let own_columns = (0..left_width).chain(wide..wide + right_width);
        let items = own_columns.chain(added).map(|i| (name_of(&rel.columns, i), column(&rel.columns, i))).collect();
        Ok((rel.project(items), outers))
    }

    fn union(&self, inputs: Vec<Rel>, columns: Vec<RelColumn>) -> Bound<(Rel, Vec<usize>)> {
        let width = columns.len();
        let sides = inputs.into_iter().map(|input| self.rewrite(input)).collect::<Bound<Vec<_>>>()?;
        let mut all: Vec<usize> = sides.iter().flat_map(|(_, outers)| outers.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        let mut inputs = Vec::new();
        for (mut rel, mut outers) in sides {
            let missing: Vec<usize> = all.iter().filter(|outer| !outers.contains(outer)).copied().collect();
            if !missing.is_empty() {
                rel = self.beside_values(rel, &mut outers, &missing, &[], width);
            }
            let places = all.iter().filter_map(|outer| outers.iter().position(|o| o == outer)).map(|at| width + at);
            let items = (0..width).chain(places).map(|i| (name_of(&rel.columns, i), column(&rel.columns, i))).collect();
            inputs.push(rel.project(items));
        }
        let mut columns = columns;
        columns.extend(all.iter().map(|c| {
            let data_type = column(&self.outer.columns, *c).data_type().with_nullable(true);
            RelColumn::new(name_of(&self.outer.columns, *c), data_type)
        }));
        Ok((Rel { kind: RelKind::UnionAll(inputs), columns }, all))
    }
}

/// A subquery without a table of its own, computed on the outer rows: their columns, and behind them its own. `None` where it has one, and
/// where a LEFT JOIN would have to know which rows it left out.
pub(super) fn grafted(rel: &Rel, outer: &Rel, kind: JoinKind) -> Option<Rel> {
    let is_left_join = kind == JoinKind::Left;
    let width = outer.columns.len();
    match &rel.kind {
        RelKind::Values(rows) if rel.columns.is_empty() && rows.len() == 1 => Some(outer.clone()),
        RelKind::Calc { input, filter, project } => {
            let is_plain =
                |e: &ScalarExpr| matches!(e, ScalarExpr::Column { .. }) || matches!(input.kind, RelKind::Values(_));
            if is_left_join && (filter.is_some() || !project.iter().all(is_plain)) {
                return None;
            }
            let below = grafted(input, outer, kind)?;
            let here = |e: &ScalarExpr| {
                e.clone().transform(&mut |e| match e {
                    ScalarExpr::Column { index, .. } if is_outer(index) => column(&below.columns, index - OUTER_BASE),
                    ScalarExpr::Column { index, data_type } => ScalarExpr::Column { index: index + width, data_type },
                    other => other,
                })
            };
            let outers = (0..width).map(|i| (name_of(&outer.columns, i), column(&outer.columns, i)));
            let own = rel.columns.iter().zip(project).map(|(c, e)| (c.name.clone(), here(e)));
            let items = outers.chain(own).collect();
            let condition = filter.as_ref().map(here);
            let below = match condition {
                Some(condition) => below.filter(condition),
                None => below,
            };
            Some(below.project(items))
        }
        RelKind::Unnest { input, column, is_left, with_ordinality } => {
            let below = grafted(input, outer, kind)?;
            let mut columns = below.columns.clone();
            let is_left = *is_left || is_left_join;
            columns.extend(rel.columns.iter().skip(input.columns.len()).map(|c| {
                let data_type = c.data_type.with_nullable(c.data_type.nullable || is_left);
                RelColumn { data_type, ..c.clone() }
            }));
            let kind = RelKind::Unnest {
                input: Box::new(below),
                column: column + width,
                is_left,
                with_ordinality: *with_ordinality,
            };
            Some(Rel { kind, columns })
        }
        RelKind::UnionAll(inputs) if !is_left_join => {
            let inputs = inputs.iter().map(|input| grafted(input, outer, kind)).collect::<Option<Vec<Rel>>>()?;
            let columns = outer.columns.iter().chain(&rel.columns).cloned().collect();
            Some(Rel { kind: RelKind::UnionAll(inputs), columns })
        }
        _ => None,
    }
}

/// A join whose sides are kept.
pub(super) fn regular(kind: JoinKind, condition: Vec<ScalarExpr>, span: Span) -> JoinRel {
    JoinRel {
        kind,
        condition: condition.into_iter().flat_map(conjuncts).collect(),
        form: Some(JoinForm::Regular),
        state_ttl_ms: [None, None],
        span,
    }
}

/// A column as an expression.
pub(super) fn column(columns: &[RelColumn], index: usize) -> ScalarExpr {
    let null = || wiesel_core::DataType::new(wiesel_core::TypeKind::Null);
    ScalarExpr::Column { index, data_type: columns.get(index).map_or_else(null, |c| c.data_type.clone()) }
}

pub(super) fn name_of(columns: &[RelColumn], index: usize) -> String {
    columns.get(index).map_or_else(String::new, |c| c.name.clone())
}

/// An expression over columns that stand `by` places further right.
pub(super) fn shifted(expr: &ScalarExpr, by: usize) -> ScalarExpr {
    expr.clone().transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } if !is_outer(index) => {
            ScalarExpr::Column { index: index + by, data_type }
        }
        other => other,
    })
}

fn filtered(rel: Rel, mut conditions: Vec<ScalarExpr>) -> Rel {
    match conditions.len() {
        0 => rel,
        1 => rel.filter(conditions.remove(0)),
        _ => rel.filter(ScalarExpr::And(conditions)),
    }
}

/// The outer columns that expressions read and no column stands for yet.
fn missing_outers(exprs: &[ScalarExpr], known: &[usize]) -> Vec<usize> {
    let mut read = Vec::new();
    exprs.iter().for_each(|e| e.columns_read(&mut read));
    let outers = read.into_iter().filter(|c| is_outer(*c)).map(|c| c - OUTER_BASE);
    let mut missing: Vec<usize> = outers.filter(|c| !known.contains(c)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// `own = outer`: the expression over the subquery's own columns that the outer column must equal.
fn own_value(part: &ScalarExpr, outer: usize) -> Option<ScalarExpr> {
    let ScalarExpr::Call { function, args, .. } = part else { return None };
    let [a, b] = args.as_slice() else { return None };
    if function.name() != "=" {
        return None;
    }
    let is_it = |e: &ScalarExpr| matches!(e, ScalarExpr::Column { index, .. } if *index == outer + OUTER_BASE);
    let is_own = |e: &ScalarExpr| {
        let mut read = Vec::new();
        e.columns_read(&mut read);
        !read.is_empty() && !read.iter().any(|c| is_outer(*c)) && is_deterministic(e)
    };
    match (is_it(a), is_it(b)) {
        (true, _) if is_own(b) => Some(b.clone()),
        (_, true) if is_own(a) => Some(a.clone()),
        _ => None,
    }
}

/// An expression with the columns of `rel` that stand for outer ones, from `width` on, in their places.
fn own(expr: &ScalarExpr, width: usize, outers: &[usize], rel: &Rel) -> ScalarExpr {
    own_over(expr, width, outers, &rel.columns)
}

fn own_over(expr: &ScalarExpr, width: usize, outers: &[usize], columns: &[RelColumn]) -> ScalarExpr {
    expr.clone().transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } if is_outer(index) => {
            match outers.iter().position(|o| *o == index - OUTER_BASE) {
                Some(at) => column(columns, width + at),
                None => ScalarExpr::Column { index, data_type },
            }
        }
        other => other,
    })
}

/// The `count` columns from `from` on behind all others.
fn moved_back(rel: Rel, from: usize, count: usize) -> Rel {
    let width = rel.columns.len();
    if from + count == width {
        return rel;
    }
    let order = (0..from).chain(from + count..width).chain(from..from + count);
    let items = order.map(|i| (name_of(&rel.columns, i), column(&rel.columns, i))).collect();
    rel.project(items)
}
