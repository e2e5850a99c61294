//! What a join means once the whole FROM and WHERE are known: conditions go where they belong, and the form of each join is decided.
//!
//! ```text
//! FROM a, b WHERE a.x = 1 AND a.k = b.k      ->      Join(a.k = b.k) over Filter(a.x = 1) and b
//! ```
//! A condition of one side filters that side below the join (above its watermark), except where the side's unmatched rows are asked for. A
//! WHERE that no padded row can pass makes an outer join an inner one, as in Flink. Conditions of both sides become equal keys, computed
//! below the join where they are no columns, or stay with the join as they are.

use std::collections::BTreeSet;
use std::ops::Range;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{ChangelogMode, DataType, Schema, Value};
use wiesel_expr::ScalarExpr;
use wiesel_plan::join::LookupRetry;
use wiesel_plan::join::{IntervalBounds, VersionTimes, WindowEnds};
use wiesel_plan::{CalcNode, JoinKey, JoinKind, JoinNode, JoinSide, Node, NodeId, NodeKind, WindowProperty};

use super::interval;
use super::lower::{Lowering, rowtime_of};
use super::rel::{Rel, RelColumn, RelKind, identity, is_outer, schema_of};
use crate::config::Config;

/// A join of the typed query.
#[derive(Debug, Clone)]
pub struct JoinRel {
    /// Which rows it gives.
    pub kind: JoinKind,
    /// What must hold, over the left columns and then the right ones; all of it.
    pub condition: Vec<ScalarExpr>,
    /// How it runs, once that is known.
    pub form: Option<JoinForm>,
    /// STATE_TTL hints of the two sides.
    pub state_ttl_ms: [Option<u64>; 2],
    /// Where it stands.
    pub span: Span,
}

/// How a join runs; positions of columns are those of the inputs.
#[derive(Debug, Clone)]
pub enum JoinForm {
    /// Both sides are kept.
    Regular,
    /// Rows meet whose times lie within bounds.
    Interval(IntervalBounds),
    /// FOR SYSTEM_TIME AS OF a rowtime attribute.
    Temporal(VersionTimes),
    /// FOR SYSTEM_TIME AS OF a processing-time attribute: the external table is asked, again when it has no answer and a hint says so.
    Lookup(Option<LookupRetry>),
    /// Rows meet that carry the same window.
    Window(WindowEnds),
}

/// A join of two inputs, its form not known yet: time attributes are kept until it is.
pub fn join(left: Rel, right: Rel, join: JoinRel) -> Rel {
    let columns = columns_of(&left, &right, join.kind);
    Rel { kind: RelKind::Join { left: Box::new(left), right: Box::new(right), join: Box::new(join) }, columns }
}

fn columns_of(left: &Rel, right: &Rel, kind: JoinKind) -> Vec<RelColumn> {
    let side = |columns: &[RelColumn], is_padded: bool| -> Vec<RelColumn> {
        columns
            .iter()
            .map(|c| {
                let nullable = c.data_type.nullable || is_padded;
                RelColumn { data_type: c.data_type.with_nullable(nullable), ..c.clone() }
            })
            .collect()
    };
    let mut columns = side(&left.columns, kind.pads_left());
    if !kind.is_semi_or_anti() {
        columns.extend(side(&right.columns, kind.pads_right()));
    }
    columns
}

/// The parts of a condition that must all hold; parts that always hold are left out.
pub fn conjuncts(condition: ScalarExpr) -> Vec<ScalarExpr> {
    match condition {
        ScalarExpr::And(parts) => parts.into_iter().flat_map(conjuncts).collect(),
        ScalarExpr::Literal { value: Value::Boolean(true), .. } => Vec::new(),
        other => vec![other],
    }
}

/// The condition that all parts hold.
pub(super) fn all_of(mut parts: Vec<ScalarExpr>) -> Option<ScalarExpr> {
    match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ => Some(ScalarExpr::And(parts)),
    }
}

/// Moves conditions down into the joins of a FROM clause and decides how each of them runs. Queries without a join stay as they are.
pub fn settle(rel: Rel) -> Rel {
    if holds_join(&rel) { down(rel, Vec::new()) } else { rel }
}

/// Whether a join stands in a FROM, under projections at most.
pub fn holds_join(rel: &Rel) -> bool {
    match &rel.kind {
        RelKind::Join { .. } => true,
        RelKind::Calc { input, .. } => holds_join(input),
        _ => false,
    }
}

/// `rel` under conditions, each of them applied as far down as it means the same.
fn down(rel: Rel, conditions: Vec<ScalarExpr>) -> Rel {
    if !holds_join(&rel) {
        return filtered(rel, conditions);
    }
    let Rel { kind, columns } = rel;
    match kind {
        RelKind::Calc { input, filter, project } => {
            let mut below: Vec<ScalarExpr> = filter.map_or_else(Vec::new, conjuncts);
            let mut rest = Vec::new();
            for condition in conditions {
                match through(&condition, &project) {
                    Some(moved) => below.push(moved),
                    None => rest.push(condition),
                }
            }
            let input = down(*input, below);
            let columns = columns.into_iter().zip(&project).map(|(c, e)| refreshed(c, e, &input)).collect();
            filtered(Rel { kind: RelKind::Calc { input: Box::new(input), filter: None, project }, columns }, rest)
        }
        RelKind::Join { left, right, join } => distribute(*left, *right, *join, conditions),
        other => filtered(Rel { kind: other, columns }, conditions),
    }
}

/// A column passed on has lost what its origin lost in a join below.
fn refreshed(column: RelColumn, expr: &ScalarExpr, input: &Rel) -> RelColumn {
    match expr {
        ScalarExpr::Column { index, .. } => match input.columns.get(*index) {
            Some(origin) => RelColumn { time: origin.time, window: origin.window, ..column },
            None => column,
        },
        _ => column,
    }
}

fn filtered(rel: Rel, conditions: Vec<ScalarExpr>) -> Rel {
    match all_of(conditions) {
        Some(condition) => rel.filter(condition),
        None => rel,
    }
}

/// A condition over the output of a projection as one over its input, when computing it there gives the same.
fn through(condition: &ScalarExpr, project: &[ScalarExpr]) -> Option<ScalarExpr> {
    let mut read = Vec::new();
    condition.columns_read(&mut read);
    let is_same = |i: &usize| is_outer(*i) || project.get(*i).is_some_and(is_deterministic);
    read.iter().all(is_same).then(|| {
        condition.clone().transform(&mut |e| match e {
            ScalarExpr::Column { index, data_type } => {
                project.get(index).cloned().unwrap_or(ScalarExpr::Column { index, data_type })
            }
            other => other,
        })
    })
}

/// Whether equal rows give equal values.
pub fn is_deterministic(expr: &ScalarExpr) -> bool {
    let own = match expr {
        ScalarExpr::Call { function, .. } => function.is_deterministic(),
        _ => true,
    };
    own && expr.children().into_iter().all(is_deterministic)
}

/// Which sides a condition reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    Left,
    Right,
    Both,
}

fn reads(expr: &ScalarExpr, left_width: usize) -> Reads {
    let mut read = Vec::new();
    expr.columns_read(&mut read);
    // A value of the query around a subquery is there on both sides.
    read.retain(|c| !is_outer(*c));
    match (read.iter().any(|c| *c < left_width), read.iter().any(|c| *c >= left_width)) {
        (false, false) => Reads::Nothing,
        (true, false) => Reads::Left,
        (false, true) => Reads::Right,
        (true, true) => Reads::Both,
    }
}

/// An expression over both sides that reads the right one only, over that side's own columns.
pub fn over_right(expr: &ScalarExpr, left_width: usize) -> ScalarExpr {
    expr.clone().transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } if !is_outer(index) => {
            ScalarExpr::Column { index: index.saturating_sub(left_width), data_type }
        }
        other => other,
    })
}

fn distribute(left: Rel, right: Rel, mut join: JoinRel, mut above: Vec<ScalarExpr>) -> Rel {
    let left_width = left.columns.len();
    let both = 0..left_width + right.columns.len();
    join.kind = simplified(join.kind, &above, left_width, &both);
    if join.kind == JoinKind::Inner {
        let (mine, rest) =
            above.into_iter().partition(|c| is_deterministic(c) && reads(c, left_width) != Reads::Nothing);
        let mine: Vec<ScalarExpr> = mine;
        join.condition.extend(mine);
        above = rest;
    }
    let kind = join.kind;
    let keeps_right = matches!(join.form, Some(JoinForm::Temporal(_) | JoinForm::Lookup(_)));
    let (mut to_left, mut to_right, mut stay) = (Vec::new(), Vec::new(), Vec::new());
    for part in std::mem::take(&mut join.condition) {
        match reads(&part, left_width) {
            _ if !is_deterministic(&part) => stay.push(part),
            Reads::Left if matches!(kind, JoinKind::Inner | JoinKind::Right | JoinKind::Semi) => to_left.push(part),
            // A filter below would hide a version and let an older one show.
            Reads::Right if !kind.pads_left() && !keeps_right => to_right.push(over_right(&part, left_width)),
            _ => stay.push(part),
        }
    }
    join.condition = stay;
    let mut rest = Vec::new();
    for part in above {
        match reads(&part, left_width) {
            _ if !is_deterministic(&part) => rest.push(part),
            Reads::Left if !kind.pads_left() => to_left.push(part),
            Reads::Right if !kind.pads_right() && !keeps_right => to_right.push(over_right(&part, left_width)),
            _ => rest.push(part),
        }
    }
    let (left, right) = (down(left, to_left), down(right, to_right));
    filtered(decided(left, right, join), rest)
}

/// An outer join whose padded rows no condition above lets pass gives none of them.
fn simplified(kind: JoinKind, above: &[ScalarExpr], left_width: usize, both: &Range<usize>) -> JoinKind {
    let rejects_left = || above.iter().any(|c| rejects_nulls(c, &(0..left_width)));
    let rejects_right = || above.iter().any(|c| rejects_nulls(c, &(left_width..both.end)));
    match kind {
        JoinKind::Left if rejects_right() => JoinKind::Inner,
        JoinKind::Right if rejects_left() => JoinKind::Inner,
        JoinKind::Full => match (rejects_left(), rejects_right()) {
            (true, true) => JoinKind::Inner,
            (true, false) => JoinKind::Left,
            (false, true) => JoinKind::Right,
            (false, false) => JoinKind::Full,
        },
        other => other,
    }
}

/// Functions that give NULL when one argument is NULL, of those that conditions are made of.
const STRICT: &[&str] =
    &["%", "*", "+", "-", "/", "<", "<=", "<>", "=", ">", ">=", "ABS", "LIKE", "LOWER", "MOD", "NOT", "UPPER"];

/// Whether a condition is never TRUE when the columns of a range are all NULL.
fn rejects_nulls(expr: &ScalarExpr, range: &Range<usize>) -> bool {
    match expr {
        ScalarExpr::And(parts) => parts.iter().any(|p| rejects_nulls(p, range)),
        ScalarExpr::Or(parts) => parts.iter().all(|p| rejects_nulls(p, range)),
        ScalarExpr::Call { function, args, .. } if matches!(function.name(), "IS NOT NULL" | "IS FALSE") => {
            args.iter().any(|a| is_null_with(a, range))
        }
        ScalarExpr::Call { function, args, .. } if function.name() == "IS TRUE" => {
            args.iter().any(|a| rejects_nulls(a, range))
        }
        other => is_null_with(other, range),
    }
}

/// Whether an expression is NULL when the columns of a range are all NULL.
fn is_null_with(expr: &ScalarExpr, range: &Range<usize>) -> bool {
    match expr {
        ScalarExpr::Column { index, .. } => range.contains(index),
        ScalarExpr::Cast { input, .. } | ScalarExpr::Field { input, .. } => is_null_with(input, range),
        ScalarExpr::Call { function, args, .. } => {
            STRICT.contains(&function.name()) && args.iter().any(|a| is_null_with(a, range))
        }
        _ => false,
    }
}

/// Decides how a join runs, whose inputs and condition are complete. Pairs of an interval join keep both time attributes, those of a
/// temporal join the left one, those of a window join their window; a regular join has none any more, and no windows.
fn decided(left: Rel, right: Rel, mut join: JoinRel) -> Rel {
    if join.form.is_none() {
        join.form = super::window::join_ends(&left, &right, &join).map(JoinForm::Window);
    }
    if join.form.is_none() {
        let bounds = interval::take_bounds(&mut join, &left.columns, &right.columns);
        join.form = Some(bounds.map_or(JoinForm::Regular, JoinForm::Interval));
    }
    let mut columns = columns_of(&left, &right, join.kind);
    let left_width = left.columns.len();
    for (index, column) in columns.iter_mut().enumerate() {
        let keeps_time = match &join.form {
            Some(JoinForm::Interval(_)) => true,
            Some(JoinForm::Temporal(_) | JoinForm::Lookup(_)) => index < left_width,
            Some(JoinForm::Window(_)) => column.window == Some(WindowProperty::Time),
            _ => false,
        };
        let is_padded = if index < left_width { join.kind.pads_left() } else { join.kind.pads_right() };
        let keeps_window = matches!(join.form, Some(JoinForm::Window(_))) && !is_padded;
        if !keeps_time || (is_padded && !keeps_window && column.window.is_some()) {
            column.time = None;
        }
        if !keeps_window {
            column.window = None;
        }
        column.is_row_number = false;
    }
    Rel { kind: RelKind::Join { left: Box::new(left), right: Box::new(right), join: Box::new(join) }, columns }
}

/// A condition taken apart: expressions of the left side and of the right side that must be equal, and the rest.
#[derive(Debug, Default)]
pub struct Equalities {
    /// Over the left columns, over the right columns, and whether NULL equals NULL.
    pub pairs: Vec<(ScalarExpr, ScalarExpr, bool)>,
    /// Over both.
    pub rest: Vec<ScalarExpr>,
}

/// Takes the equal pairs out of a join's condition.
pub fn equalities(condition: &[ScalarExpr], left_width: usize) -> Equalities {
    let mut found = Equalities::default();
    for part in condition {
        match equal_pair(part, left_width) {
            Some(pair) => {
                let text = format!("{pair:?}");
                if found.pairs.iter().all(|known| format!("{known:?}") != text) {
                    found.pairs.push(pair);
                }
            }
            None => found.rest.push(part.clone()),
        }
    }
    found
}

/// Equal expressions of the left and of the right side, over that side's columns, and whether NULL equals NULL.
pub(super) fn equal_pair(part: &ScalarExpr, left_width: usize) -> Option<(ScalarExpr, ScalarExpr, bool)> {
    let ScalarExpr::Call { function, args, .. } = part else { return None };
    let null_safe = match function.name() {
        "=" => false,
        "IS NOT DISTINCT FROM" => true,
        _ => return None,
    };
    let [a, b] = args.as_slice() else { return None };
    if !is_deterministic(a) || !is_deterministic(b) || !is_key_type(&a.data_type(), &b.data_type()) {
        return None;
    }
    match (reads(a, left_width), reads(b, left_width)) {
        (Reads::Left, Reads::Right) => Some((a.clone(), over_right(b, left_width), null_safe)),
        (Reads::Right, Reads::Left) => Some((b.clone(), over_right(a, left_width), null_safe)),
        _ => None,
    }
}

/// Keys are compared by their bytes, so both must have one type; text of different lengths has.
fn is_key_type(left: &DataType, right: &DataType) -> bool {
    left.to_arrow() == right.to_arrow() && left.kind != wiesel_core::TypeKind::Null
}

impl Lowering {
    /// The node of a join whose form is decided, under a projection when keys had to be computed.
    pub(super) fn lower_join(
        &mut self,
        inputs: (&Rel, &Rel),
        join: &JoinRel,
        columns: &[RelColumn],
        config: &Config,
    ) -> Result<NodeId, Diagnostic> {
        if let Some(JoinForm::Lookup(retry)) = join.form {
            return self.lower_lookup(inputs, (join, retry), columns, config);
        }
        let Equalities { pairs, rest } = equalities(&join.condition, inputs.0.columns.len());
        let (left_exprs, right_exprs): (Vec<_>, Vec<_>) = pairs.iter().map(|(l, r, _)| (l.clone(), r.clone())).unzip();
        let (left, left_places) = with_columns(inputs.0.clone(), &left_exprs);
        let (right, right_places) = with_columns(inputs.1.clone(), &right_exprs);
        let (left_width, added) = (left.columns.len(), left.columns.len() - inputs.0.columns.len());
        let keys: Vec<JoinKey> = pairs
            .iter()
            .zip(left_places.iter().zip(right_places))
            .map(|((_, _, null_safe), (left, right))| JoinKey { left: *left, right, null_safe: *null_safe })
            .collect();
        let shift = |expr: ScalarExpr| moved_right(expr, inputs.0.columns.len(), added);
        let side = |hint: Option<u64>| JoinSide {
            unique_key: None,
            state_ttl_ms: hint.unwrap_or_else(|| config.state_ttl_ms()),
        };
        let form = match &join.form {
            Some(JoinForm::Interval(bounds)) => wiesel_plan::JoinForm::Interval(*bounds),
            Some(JoinForm::Temporal(times)) => {
                wiesel_plan::JoinForm::Temporal(VersionTimes { state_ttl_ms: config.state_ttl_ms(), ..*times })
            }
            Some(JoinForm::Window(ends)) => wiesel_plan::JoinForm::Window(ends.clone()),
            _ => wiesel_plan::JoinForm::Regular(join.state_ttl_ms.map(side)),
        };
        let node = JoinNode {
            kind: join.kind,
            left_width,
            keys,
            condition: all_of(rest.into_iter().map(shift).collect()),
            form,
        };
        let joined = columns_of(&left, &right, join.kind);
        let rowtime = rowtime_of(&joined_times(columns, &joined, left_width));
        let ids = vec![self.lower(&left, config)?, self.lower(&right, config)?];
        let id = self.share(NodeKind::Join(node), ids, schema_of(&joined), rowtime, String::new());
        let is_asked =
            |i: usize| i < inputs.0.columns.len() || (left_width..left_width + inputs.1.columns.len()).contains(&i);
        Ok(self.asked_columns(id, &joined, columns, is_asked))
    }

    /// The columns that were asked for of a join, without the keys that were computed for it.
    pub(super) fn asked_columns(
        &mut self,
        join: NodeId,
        joined: &[RelColumn],
        columns: &[RelColumn],
        is_asked: impl Fn(usize) -> bool,
    ) -> NodeId {
        if joined.len() == columns.len() {
            return join;
        }
        let asked = identity(joined).into_iter().enumerate().filter(|(i, _)| is_asked(*i));
        let calc = NodeKind::Calc(CalcNode { filter: None, project: asked.map(|(_, e)| e).collect() });
        self.share(calc, vec![join], schema_of(columns), rowtime_of(columns), String::new())
    }
}

/// An expression whose columns from `from` on stand `by` places further right.
pub(super) fn moved_right(expr: ScalarExpr, from: usize, by: usize) -> ScalarExpr {
    expr.transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } if index >= from => ScalarExpr::Column { index: index + by, data_type },
        other => other,
    })
}

/// The columns of a join with computed keys, with the time attributes that the join keeps.
fn joined_times(kept: &[RelColumn], joined: &[RelColumn], left_width: usize) -> Vec<RelColumn> {
    let is_kept = |c: &RelColumn| kept.iter().any(|k| k.time == c.time && k.name == c.name);
    let of = |(index, c): (usize, &RelColumn)| {
        let keeps = is_kept(c) && (index < left_width || kept.len() > left_width);
        RelColumn { time: c.time.filter(|_| keeps), ..c.clone() }
    };
    joined.iter().enumerate().map(of).collect()
}

/// The input with each expression as a column, those that are columns already as they are; and their places.
pub(super) fn with_columns(input: Rel, exprs: &[ScalarExpr]) -> (Rel, Vec<usize>) {
    let mut items: Vec<(String, ScalarExpr)> =
        identity(&input.columns).into_iter().zip(&input.columns).map(|(e, c)| (c.name.clone(), e)).collect();
    let mut places = Vec::new();
    for expr in exprs {
        let text = format!("{expr:?}");
        let known = items.iter().position(|(_, e)| match (e, expr) {
            (ScalarExpr::Column { index: a, .. }, ScalarExpr::Column { index: b, .. }) => a == b,
            _ => format!("{e:?}") == text,
        });
        places.push(known.unwrap_or_else(|| {
            items.push((format!("$f{}", items.len()), expr.clone()));
            items.len() - 1
        }));
    }
    if items.len() == input.columns.len() { (input, places) } else { (input.project(items), places) }
}

// ---------------------------------------------------------------- column pruning

/// The columns of one input that a join reads, when `own` of its output are asked for.
pub fn columns_needed(join: &JoinNode, own: &BTreeSet<usize>, port: usize) -> BTreeSet<usize> {
    let mut both = Vec::new();
    join.condition.iter().for_each(|c| c.columns_read(&mut both));
    both.extend(own);
    let mut wanted: BTreeSet<usize> = join.keys_on(port).into_iter().chain(join.form.time_on(port)).collect();
    wanted.extend(both.into_iter().filter_map(|c| match port {
        0 => (c < join.left_width).then_some(c),
        _ => c.checked_sub(join.left_width),
    }));
    wanted
}

/// Rewrites a join for pruned inputs, `own` of whose output are asked for. Each input is cut down to what this join reads (an input may
/// be shared with somebody who reads more). Returns which of its old columns the join now gives.
pub fn prune(
    node: &mut Node,
    own: &BTreeSet<usize>,
    inputs: &[(NodeId, Vec<usize>)],
    nodes: &mut Vec<Node>,
) -> Vec<usize> {
    let NodeKind::Join(join) = &mut node.kind else { return Vec::new() };
    let mut kept: Vec<Vec<usize>> = Vec::new();
    for (port, (input, columns)) in inputs.iter().enumerate() {
        let needed: Vec<usize> = columns_needed(join, own, port).into_iter().collect();
        if needed.is_empty() || needed == *columns {
            kept.push(columns.clone());
            continue;
        }
        let Some(below) = nodes.get(*input).cloned() else { continue };
        let places = needed.iter().filter_map(|c| columns.iter().position(|k| k == c));
        let fields: Vec<_> = places.filter_map(|i| below.schema.fields().get(i).map(|f| (i, f.clone()))).collect();
        let project = fields
            .iter()
            .map(|(index, field)| ScalarExpr::Column { index: *index, data_type: field.data_type.clone() })
            .collect();
        nodes.push(Node {
            kind: NodeKind::Calc(CalcNode { filter: None, project }),
            inputs: vec![*input],
            schema: Schema::new(fields.into_iter().map(|(_, f)| f).collect()),
            rowtime: below.rowtime.and_then(|r| columns.get(r)).and_then(|r| needed.iter().position(|c| c == r)),
            ..below
        });
        if let Some(slot) = node.inputs.get_mut(port) {
            *slot = nodes.len() - 1;
        }
        kept.push(needed);
    }
    let [left, right] = kept.as_slice() else { return Vec::new() };
    let place = |side: &[usize], old: usize| side.iter().position(|c| *c == old).unwrap_or(0);
    for key in &mut join.keys {
        key.left = place(left, key.left);
        key.right = place(right, key.right);
    }
    if let (Some(l), Some(r)) = (join.form.time_on(0), join.form.time_on(1)) {
        join.form.set_times(place(left, l), place(right, r));
    }
    let old_width = join.left_width;
    join.condition = join.condition.take().map(|condition| {
        condition.transform(&mut |e| match e {
            ScalarExpr::Column { index, data_type } => {
                let index = match index.checked_sub(old_width) {
                    None => place(left, index),
                    Some(index) => left.len() + place(right, index),
                };
                ScalarExpr::Column { index, data_type }
            }
            other => other,
        })
    });
    join.left_width = left.len();
    let given = left.iter().copied();
    if join.kind.is_semi_or_anti() {
        return given.collect();
    }
    given.chain(right.iter().map(|c| old_width + c)).collect()
}

// ---------------------------------------------------------------- traits

/// How each join's sides are kept, and by which columns its rows are known; the rules are Flink's.
pub fn upsert_keys(join: &mut JoinNode, left: &[Vec<usize>], right: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let (left_keys, right_keys) = (join.keys_on(0), join.keys_on(1));
    // A row may move to another worker with its join key, and then only the whole row tells which one it is.
    let of_key = |keys: &[Vec<usize>], join_keys: &[usize]| -> Vec<Vec<usize>> {
        keys.iter().filter(|k| join_keys.iter().all(|c| k.contains(c))).cloned().collect()
    };
    let (left, right) = (of_key(left, &left_keys), of_key(right, &right_keys));
    match &mut join.form {
        wiesel_plan::JoinForm::Regular([l, r]) => {
            l.unique_key = left.iter().min_by_key(|k| k.len()).cloned();
            r.unique_key = right.iter().min_by_key(|k| k.len()).cloned();
        }
        wiesel_plan::JoinForm::Interval(_) | wiesel_plan::JoinForm::Window(_) => return Vec::new(),
        // One version at most.
        wiesel_plan::JoinForm::Temporal(_) => return left,
    }
    if join.kind.is_semi_or_anti() {
        return left;
    }
    let width = join.left_width;
    let shifted: Vec<Vec<usize>> = right.iter().map(|k| k.iter().map(|c| c + width).collect()).collect();
    let is_unique =
        |keys: &[Vec<usize>], join_keys: &[usize]| keys.iter().any(|k| k.iter().all(|c| join_keys.contains(c)));
    let mut found = Vec::new();
    if !join.kind.pads_left() && is_unique(&right, &right_keys) {
        found.extend(left.iter().cloned());
    }
    if !join.kind.pads_right() && is_unique(&left, &left_keys) {
        found.extend(shifted.iter().cloned());
    }
    for l in &left {
        found.extend(shifted.iter().map(|r| l.iter().chain(r).copied().collect::<Vec<_>>()));
    }
    found.dedup();
    found
}

/// Whether a side may leave out -U: its rows are known by columns that hold the join key, so that a new row replaces the old one.
pub fn takes_upserts(join: &JoinNode, port: usize) -> bool {
    match &join.form {
        // A condition that the old row met and the new one does not leaves nothing to take back the old pair with.
        wiesel_plan::JoinForm::Regular(sides) => sides[port].unique_key.is_some() && join.condition.is_none(),
        wiesel_plan::JoinForm::Interval(_) | wiesel_plan::JoinForm::Temporal(_) | wiesel_plan::JoinForm::Window(_) => {
            true
        }
    }
}

/// Whether a join of inputs that only insert gives anything but inserts.
pub fn updates_by_itself(join: &JoinNode) -> bool {
    matches!(join.form, wiesel_plan::JoinForm::Regular(_)) && !matches!(join.kind, JoinKind::Inner | JoinKind::Semi)
}

/// A temporal join finds one version per left row, so its key must tell the versions' table rows apart.
pub fn check_versions(join: &JoinNode, right: &[Vec<usize>]) -> Result<(), Diagnostic> {
    let keys = join.keys_on(1);
    let is_known = right.iter().any(|key| key.iter().all(|column| keys.contains(column)));
    if is_known || !matches!(join.form, wiesel_plan::JoinForm::Temporal(_)) {
        return Ok(());
    }
    Err(Diagnostic::error(
        "W0308",
        "a temporal join needs the primary key of the versioned table in its equality condition",
    )
    .hint("declare PRIMARY KEY (...) NOT ENFORCED, or deduplicate by the key in a view, and compare all of its columns with ="))
}

/// Whether changes of an input reach the output.
pub fn passes_updates(join: &JoinNode, port: usize) -> bool {
    port == 0 || !matches!(join.form, wiesel_plan::JoinForm::Temporal(_))
}

/// The kinds of change that a join which gives `own` wants of an input that changes.
pub fn wanted_of_input(join: &JoinNode, port: usize, own: ChangelogMode) -> Result<ChangelogMode, Diagnostic> {
    match &join.form {
        wiesel_plan::JoinForm::Regular(_) => Ok(own),
        wiesel_plan::JoinForm::Window(_) => Err(Diagnostic::error(
            "W0310",
            "a window join does not take update and delete changes, and one of its inputs has them",
        )
        .hint("aggregate per window first, so that each result is final")),
        wiesel_plan::JoinForm::Interval(_) => Err(Diagnostic::error(
            "W0310",
            "an interval join does not take update and delete changes, and one of its inputs has them",
        )
        .hint("leave the time bounds out for a regular join, or make the input append-only")),
        // A version ends when the next one begins, so the old row need not be told.
        wiesel_plan::JoinForm::Temporal(_) => Ok(if port == 1 { ChangelogMode::Upsert } else { own }),
    }
}

/// The kinds of change a join gives: a reader content with -U left out gets that only when every side that changes may do the same.
pub fn settled_mode(join: &JoinNode, wanted: ChangelogMode, updating: [bool; 2]) -> ChangelogMode {
    let may_leave_out = (0..2).all(|port| !updating[port] || takes_upserts(join, port));
    if wanted == ChangelogMode::Upsert && !may_leave_out { ChangelogMode::Full } else { wanted }
}
