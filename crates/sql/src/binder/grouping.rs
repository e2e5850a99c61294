//! GROUP BY: keys, grouping sets, legacy windows, and the aggregations they become.
//!
//! ```text
//! GROUP BY a, ROLLUP (b, c)  ->  sets {a, b, c} {a, b} {a}  ->  Expand (a row per set, its number a key more)  ->  aggregation
//! ```
//! An aggregation that has both bounds of a window among its keys, in every set, is one per window: over the rows below the window table
//! function where nothing in between needs the bounds, else over the rows that carry their window.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind};
use wiesel_expr::ScalarExpr;
use wiesel_plan::{WindowKind, WindowProperty};

use super::expr::{Bound, Diagnostics, ExprBinder, GroupWindowCall, Grouping, refused};
use super::scope::Scope;
use super::window::{self, Pulled, WindowSizes};
use crate::parser::ast::{self, Expr, ExprKind, FunctionArgValue, FunctionCall, GroupItem};
use crate::plan::rel::{Rel, RelColumn, RelKind, identity};

/// A legacy window of GROUP BY: name, sizes, and the time attribute over the input.
pub(super) struct LegacyWindow {
    name: String,
    sizes: WindowSizes,
    time: ScalarExpr,
    span: Span,
}

/// GROUP BY, bound: every key once, and which of them each grouping set keeps.
pub(super) struct GroupBy {
    keys: Vec<ScalarExpr>,
    /// One set of key numbers per grouping; a plain GROUP BY has one with all of them.
    sets: Vec<Vec<usize>>,
    legacy: Option<GroupWindowCall>,
    /// The legacy window among the keys.
    pub(super) window: Option<LegacyWindow>,
}

impl GroupBy {
    /// What expressions above the GROUP BY are bound against.
    pub(super) fn grouping<'a>(&self, input: &'a Scope) -> Grouping<'a> {
        let mut keys = self.keys.clone();
        let mut sets = Vec::new();
        if self.sets.len() > 1 || self.sets.first().is_some_and(|set| set.len() < keys.len()) {
            sets = self.sets.iter().map(|set| (0..keys.len()).map(|key| set.contains(&key)).collect()).collect();
            // The number of the set is a key like the others, so that equal rows of two sets stay apart.
            keys.push(set_number());
        }
        Grouping { input, keys, sets, aggregates: Vec::new(), window: self.legacy.clone(), properties: Vec::new() }
    }
}

/// Grouping sets of one GROUP BY at most: CUBE doubles them with every key.
const GROUPING_SETS_MAX: usize = 4096;

/// Binds the keys and grouping sets of a GROUP BY; without one there is a single group.
pub(super) fn bind_group_by(group_by: Option<&ast::GroupBy>, scope: &Scope) -> Bound<GroupBy> {
    let mut binder = GroupBinder { scope, keys: Vec::new(), window: None };
    let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
    let mut errors = Vec::new();
    for item in group_by.iter().flat_map(|g| &g.items) {
        // Several items multiply: each set of the one with each set of the other.
        let more = match binder.sets(item, true) {
            Ok(more) => more,
            Err(mut e) => {
                errors.append(&mut e);
                continue;
            }
        };
        sets = sets.iter().flat_map(|left| more.iter().map(move |right| united(left, right))).collect();
        if sets.len() > GROUPING_SETS_MAX {
            return Err(vec![
                Diagnostic::error("W0307", format!("GROUP BY has more than {GROUPING_SETS_MAX} grouping sets"))
                    .at(group_by.map_or_else(Span::default, |g| g.span)),
            ]);
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut seen = std::collections::BTreeSet::new();
    sets.retain(|set| seen.insert(set.clone()));
    if sets.len() > 1
        && let Some((_, window)) = &binder.window
    {
        return Err(vec![refused("a window of GROUP BY beside GROUPING SETS", window.span)]);
    }
    let (legacy, window) = binder.window.unzip();
    Ok(GroupBy { keys: binder.keys, sets, legacy, window })
}

fn united(left: &[usize], right: &[usize]) -> Vec<usize> {
    let mut all: Vec<usize> = left.iter().chain(right).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

struct GroupBinder<'a> {
    scope: &'a Scope,
    keys: Vec<ScalarExpr>,
    window: Option<(GroupWindowCall, LegacyWindow)>,
}

impl GroupBinder<'_> {
    /// The grouping sets of one item, the largest first.
    fn sets(&mut self, item: &GroupItem, may_be_window: bool) -> Bound<Vec<Vec<usize>>> {
        Ok(match item {
            GroupItem::Expr(expr) => vec![self.key(expr, may_be_window)?.into_iter().collect()],
            GroupItem::Empty(_) => vec![Vec::new()],
            GroupItem::Composite(exprs, _) => {
                let mut set = Vec::new();
                for expr in exprs {
                    set.extend(self.key(expr, may_be_window)?);
                }
                vec![united(&set, &[])]
            }
            GroupItem::GroupingSets(items, _) => {
                let mut sets = Vec::new();
                for item in items {
                    sets.extend(self.sets(item, false)?);
                }
                sets
            }
            GroupItem::Rollup(items, _) => {
                let parts = self.parts(items)?;
                (0..=parts.len()).rev().map(|length| united(&parts[..length].concat(), &[])).collect()
            }
            GroupItem::Cube(items, _) => {
                let mut sets = vec![Vec::new()];
                for part in self.parts(items)?.into_iter().rev() {
                    let with: Vec<Vec<usize>> = sets.iter().map(|set| united(&part, set)).collect();
                    sets = with.into_iter().chain(sets).collect();
                    if sets.len() > GROUPING_SETS_MAX {
                        break;
                    }
                }
                sets
            }
        })
    }

    /// The composite keys of a ROLLUP or CUBE.
    fn parts(&mut self, items: &[GroupItem]) -> Bound<Vec<Vec<usize>>> {
        items.iter().map(|item| Ok(self.sets(item, false)?.into_iter().next().unwrap_or_default())).collect()
    }

    /// The number of a key; `None` for the window.
    fn key(&mut self, expr: &Expr, may_be_window: bool) -> Bound<Option<usize>> {
        if let ExprKind::Function(call) = &expr.kind {
            let name = call.name.last().value.to_ascii_uppercase();
            if matches!(name.as_str(), "TUMBLE" | "HOP" | "SESSION") {
                if self.window.is_some() || !may_be_window {
                    return Err(vec![Diagnostic::error("W0307", "a GROUP BY takes one window").at(expr.span)]);
                }
                self.window = Some(bind_legacy_window(&name, call, self.scope)?);
                return Ok(None);
            }
        }
        let key = ExprBinder::plain(self.scope).bind(expr)?;
        let found = self.keys.iter().position(|k| format!("{k:?}") == format!("{key:?}"));
        Ok(Some(found.unwrap_or_else(|| {
            self.keys.push(key);
            self.keys.len() - 1
        })))
    }
}

fn bind_legacy_window(name: &str, call: &FunctionCall, scope: &Scope) -> Bound<(GroupWindowCall, LegacyWindow)> {
    let usage = || {
        vec![Diagnostic::error("W0305", format!("arguments do not fit {name}")).at(call.span).label(match name {
            "TUMBLE" => "expected TUMBLE(time, size)",
            "SESSION" => "expected SESSION(time, gap)",
            _ => "expected HOP(time, slide, size)",
        })]
    };
    let exprs: Vec<&Expr> = call
        .args
        .iter()
        .map(|a| if let FunctionArgValue::Expr(e) = &a.value { Ok(e) } else { Err(usage()) })
        .collect::<Bound<_>>()?;
    let args: Vec<ScalarExpr> = exprs.iter().map(|e| ExprBinder::plain(scope).bind(e)).collect::<Bound<_>>()?;
    let mut sizes = WindowSizes::default();
    let time = match (name, exprs.as_slice()) {
        ("TUMBLE", [_, size]) => {
            sizes.size = Some((window::interval_ms(size)?, size.span));
            args.first().cloned()
        }
        ("SESSION", [_, gap]) => {
            sizes.gap = Some((window::interval_ms(gap)?, gap.span));
            args.first().cloned()
        }
        ("HOP", [_, slide, size]) => {
            sizes.slide = Some((window::interval_ms(slide)?, slide.span));
            sizes.size = Some((window::interval_ms(size)?, size.span));
            args.first().cloned()
        }
        _ => None,
    };
    let Some(time) = time else { return Err(usage()) };
    let call_name = name.to_owned();
    Ok((
        GroupWindowCall { name: call_name.clone(), args },
        LegacyWindow { name: call_name, sizes, time, span: call.span },
    ))
}

/// Puts keys, arguments and filters into columns, aggregates, and gives the output layout keys, aggregates, properties.
pub(super) fn aggregate(
    rel: Rel,
    grouping: &Grouping<'_>,
    legacy: Option<LegacyWindow>,
    zone: &Arc<str>,
    span: Span,
) -> Bound<Rel> {
    if let Some(legacy) = legacy {
        let mut columns = InputColumns::default();
        let keys: Vec<usize> = grouping.keys.iter().map(|k| columns.add(k)).collect();
        let calls = columns.calls(grouping, |expr| Ok(expr.clone()))?;
        let time_column = columns.add(&legacy.time);
        let input = columns.project(rel);
        let kind = window::window_kind(&legacy.name, &legacy.sizes, true, legacy.span)?;
        let node = window::window_node(kind, &input, time_column, zone, legacy.span)?;
        return Ok(window_aggregate(input, node, true, keys, calls, grouping.properties.clone(), grouping));
    }
    // Grouping by both bounds of a window in every set is a window aggregation.
    let has_bound = |property: WindowProperty| {
        grouping.keys.iter().enumerate().any(|(key, expr)| {
            window::property_of(&rel, expr) == Some(property)
                && grouping.sets.iter().all(|set| set.get(key) == Some(&true))
        })
    };
    if has_bound(WindowProperty::Start) && has_bound(WindowProperty::End) {
        return window_table_aggregate(&rel, grouping, span);
    }
    let mut columns = InputColumns::default();
    let (rel, keys, shift) = expanded(rel, grouping.plain_keys(), &grouping.sets);
    let keys: Vec<usize> = keys.iter().map(|k| columns.add(k)).collect();
    let aggregates = columns.calls(grouping, |expr| Ok(moved(expr, shift)))?;
    let input = columns.project(rel);
    let mut output: Vec<RelColumn> = keys
        .iter()
        .filter_map(|k| input.columns.get(*k))
        .map(|c| RelColumn { time: None, window: None, ..c.clone() })
        .collect();
    output.extend(aggregates.iter().enumerate().map(|(i, a)| RelColumn::new(format!("EXPR${i}"), a.data_type.clone())));
    let kind = RelKind::Aggregate { input: Box::new(input), keys, aggregates, state_ttl_ms: None };
    Ok(Rel { kind, columns: output })
}

/// Gives the GROUP BY of a SELECT the time to live that a hint names; one per window has none.
pub(super) fn set_state_ttl(rel: &mut Rel, ttl_ms: u64) {
    match &mut rel.kind {
        RelKind::Aggregate { state_ttl_ms, .. } => *state_ttl_ms = Some(ttl_ms),
        RelKind::Calc { input, .. } | RelKind::Join { left: input, .. } => set_state_ttl(input, ttl_ms),
        _ => {}
    }
}

/// The number of a row's grouping set, as a key: a column that no input has, put in by [`expanded`].
fn set_number() -> ScalarExpr {
    ScalarExpr::Column { index: usize::MAX, data_type: DataType::not_null(TypeKind::BigInt) }
}

/// Repeats the rows once per grouping set. Gives the rows, the keys over them (the set's number last), and by how much the columns of
/// the input have moved.
fn expanded(rel: Rel, keys: &[ScalarExpr], sets: &[Vec<bool>]) -> (Rel, Vec<ScalarExpr>, usize) {
    if sets.is_empty() {
        return (rel, keys.to_vec(), 0);
    }
    let names = rel.columns.iter().map(|c| c.name.clone());
    let rest = names.zip(identity(&rel.columns));
    let items = keys.iter().enumerate().map(|(i, key)| (format!("key${i}"), key.clone())).chain(rest).collect();
    let input = rel.project(items);
    let mut columns = input.columns.clone();
    for (key, column) in columns.iter_mut().enumerate().take(keys.len()) {
        if sets.iter().any(|set| set.get(key) == Some(&false)) {
            column.data_type = column.data_type.with_nullable(true);
        }
    }
    columns.push(RelColumn::new("$set", DataType::not_null(TypeKind::BigInt)));
    let over = identity(&columns);
    let keys_over = over.iter().take(keys.len()).chain(over.last()).cloned().collect();
    let kind = RelKind::Expand { input: Box::new(input), sets: sets.to_vec() };
    (Rel { kind, columns }, keys_over, keys.len())
}

/// The expression over columns that stand further right.
fn moved(expr: &ScalarExpr, shift: usize) -> ScalarExpr {
    expr.clone().transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } => ScalarExpr::Column { index: index + shift, data_type },
        other => other,
    })
}

fn window_table_aggregate(rel: &Rel, grouping: &Grouping<'_>, span: Span) -> Bound<Rel> {
    let plain_keys: Vec<&ScalarExpr> =
        grouping.plain_keys().iter().filter(|key| window::property_of(rel, key).is_none()).collect();
    let (mut node, below, pulled) = match window::pull_window(rel, &plain_keys) {
        Some(pulled) => pulled,
        None => window::attach(rel, span)?,
    };
    // Over the rows below the window: every key is an expression there, or one of the window's own columns.
    let over_below = |expr: &ScalarExpr| {
        window::substitute(expr, &pulled)
            .ok_or_else(|| vec![refused("computing with window bounds below an aggregation", span)])
    };
    let mut key_exprs = Vec::new();
    let mut properties: Vec<WindowProperty> = Vec::new();
    // Where each key of the grouping ends up: Ok = position among the plain keys, Err = position among the properties.
    let mut places: Vec<Result<usize, usize>> = Vec::new();
    for key in grouping.plain_keys() {
        let property = match key {
            ScalarExpr::Column { index, .. } => match pulled.get(*index) {
                Some(Pulled::Property(p)) => Some(*p),
                _ => None,
            },
            _ => None,
        };
        match property {
            Some(p) => {
                let position = properties.iter().position(|known| *known == p).unwrap_or_else(|| {
                    properties.push(p);
                    properties.len() - 1
                });
                places.push(Err(position));
            }
            None => {
                key_exprs.push(over_below(key)?);
                places.push(Ok(key_exprs.len() - 1));
            }
        }
    }
    let kept = |set: &Vec<bool>| -> Vec<bool> {
        set.iter().zip(&places).filter(|(_, place)| place.is_ok()).map(|(stays, _)| *stays).collect()
    };
    let sets: Vec<Vec<bool>> = grouping.sets.iter().map(kept).collect();
    let (below, key_exprs, shift) = expanded(below, &key_exprs, &sets);
    if !sets.is_empty() {
        places.push(Ok(key_exprs.len() - 1));
    }
    let mut columns = InputColumns::default();
    let keys: Vec<usize> = key_exprs.iter().map(|key| columns.add(key)).collect();
    let calls = columns.calls(grouping, |expr| Ok(moved(&over_below(expr)?, shift)))?;
    let time_column = node.time_column + shift;
    let time = below.columns.get(time_column).map(|c| c.data_type.clone());
    let time_expr = ScalarExpr::Column {
        index: time_column,
        data_type: time.unwrap_or_else(|| DataType::new(TypeKind::Timestamp(3))),
    };
    node.time_column = columns.add(&time_expr);
    let is_attached = node.kind == WindowKind::Attached;
    let input = columns.project(below);
    let plain_keys = keys.len();
    let aggregates = calls.len();
    let mut aggregated = window_aggregate(input, node, false, keys, calls, properties, grouping);
    // Back to the layout the expressions above were bound to: all keys in their order, then the aggregates.
    let mut project = Vec::new();
    for (place, key) in places.iter().zip(&grouping.keys) {
        let index = match place {
            Ok(position) => *position,
            Err(position) => plain_keys + aggregates + position,
        };
        let name = match key {
            ScalarExpr::Column { index, .. } => rel.columns.get(*index).map_or_else(String::new, |c| c.name.clone()),
            _ => String::new(),
        };
        let Some(column) = aggregated.columns.get_mut(index) else { continue };
        if is_attached && window::property_of(rel, key) == Some(WindowProperty::Start) {
            column.window = Some(WindowProperty::Start);
        }
        project.push((name, ScalarExpr::Column { index, data_type: column.data_type.clone() }));
    }
    for (position, call) in grouping.aggregates.iter().enumerate() {
        let index = plain_keys + position;
        project.push((format!("EXPR${position}"), ScalarExpr::Column { index, data_type: call.data_type.clone() }));
    }
    Ok(aggregated.project(project))
}

fn window_aggregate(
    input: Rel,
    window: wiesel_plan::WindowNode,
    is_legacy: bool,
    keys: Vec<usize>,
    aggregates: Vec<wiesel_expr::AggregateCall>,
    properties: Vec<WindowProperty>,
    grouping: &Grouping<'_>,
) -> Rel {
    let mut bounds = window::window_columns(&window);
    if is_legacy {
        // Grouping by TUMBLE_START and its kin again is an ordinary aggregation, as in Flink.
        bounds.iter_mut().for_each(|column| column.window = None);
    }
    let [start, end, time] = bounds;
    let mut columns: Vec<RelColumn> = keys
        .iter()
        .filter_map(|k| input.columns.get(*k))
        .map(|c| RelColumn { time: None, window: None, ..c.clone() })
        .collect();
    columns.extend(
        grouping.aggregates.iter().enumerate().map(|(i, a)| RelColumn::new(format!("EXPR${i}"), a.data_type.clone())),
    );
    columns.extend(properties.iter().map(|p| match p {
        WindowProperty::Start => start.clone(),
        WindowProperty::End => end.clone(),
        WindowProperty::Time => time.clone(),
    }));
    let kind = RelKind::WindowAggregate { input: Box::new(input), window, is_legacy, keys, aggregates, properties };
    Rel { kind, columns }
}

/// Collects the expressions that an aggregation reads into columns of a projection below it.
#[derive(Default)]
struct InputColumns {
    exprs: Vec<ScalarExpr>,
}

impl InputColumns {
    fn add(&mut self, expr: &ScalarExpr) -> usize {
        let wanted = format!("{expr:?}");
        match self.exprs.iter().position(|e| format!("{e:?}") == wanted) {
            Some(index) => index,
            None => {
                self.exprs.push(expr.clone());
                self.exprs.len() - 1
            }
        }
    }

    fn calls(
        &mut self,
        grouping: &Grouping<'_>,
        over: impl Fn(&ScalarExpr) -> Bound<ScalarExpr>,
    ) -> Bound<Vec<wiesel_expr::AggregateCall>> {
        let mut calls = Vec::new();
        for call in &grouping.aggregates {
            let args = call.args.iter().map(|a| Ok(self.add(&over(a)?))).collect::<Bound<Vec<usize>>>()?;
            let filter = call.filter.as_ref().map(|f| Ok::<_, Diagnostics>(self.add(&over(f)?))).transpose()?;
            calls.push(call.over(args, filter));
        }
        Ok(calls)
    }

    fn project(self, input: Rel) -> Rel {
        let names: Vec<String> = self
            .exprs
            .iter()
            .enumerate()
            .map(|(position, expr)| match expr {
                ScalarExpr::Column { index, .. } => {
                    input.columns.get(*index).map_or_else(String::new, |c| c.name.clone())
                }
                _ => format!("$f{position}"),
            })
            .collect();
        input.project(names.into_iter().zip(self.exprs).collect())
    }
}
