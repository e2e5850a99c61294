//! What makes an operator the same operator after the file was edited: what it computes, and from what.
//!
//! An id is a hash over the operator's kind, its expressions and the ids of its inputs. Names of columns and queries, labels and state TTL
//! do not count; tables do, by path and by the columns read. Exchanges do not count, so the number of workers may change. Operators that
//! compute the same from the same get an ordinal.

use std::collections::BTreeMap;
use std::fmt::Write;

use wiesel_core::table::TableDescriptor;
use wiesel_expr::ScalarExpr;
use wiesel_plan::explain;
use wiesel_plan::state_size::state_size;
use wiesel_plan::{
    JoinForm, MatchRecognizeNode, Node, NodeKind, PatternExpr, PatternSlot, SlotSource, StreamPlan, WindowNode,
};
use xxhash_rust::xxh3::xxh3_64;

use super::manifest::OperatorEntry;

/// An operator's description in a manifest is cut here.
const LABEL_CHARS_MAX: usize = 200;

/// The id of every node of a plan; an exchange has that of its input.
pub(crate) fn operator_ids(plan: &StreamPlan) -> Vec<String> {
    let mut ids: Vec<String> = Vec::with_capacity(plan.nodes.len());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for node in &plan.nodes {
        let inputs: Vec<&str> = node.inputs.iter().map(|&i| ids[i].as_str()).collect();
        if matches!(node.kind, NodeKind::Exchange(_)) {
            let id = inputs.first().map_or_else(String::new, |id| (*id).to_owned());
            ids.push(id);
            continue;
        }
        let text = format!("{}\n{}", inputs.join(","), describe(node));
        let id = format!("{:016x}", xxh3_64(text.as_bytes()));
        let count = seen.entry(id.clone()).or_insert(0);
        *count += 1;
        ids.push(if *count == 1 { id } else { format!("{id}-{count}") });
    }
    ids
}

/// The operators as a manifest lists them; those of dead letters come and go with the setting.
pub(crate) fn operators(plan: &StreamPlan, ids: &[String]) -> Vec<OperatorEntry> {
    let nodes = plan.nodes.iter().zip(ids).enumerate();
    nodes
        .filter(|(place, (node, _))| !matches!(node.kind, NodeKind::Exchange(_)) && !plan.is_of_dead_letters(*place))
        .map(|(place, (node, id))| {
            let (role, table) = role(plan, node);
            let keeps_state = state_size(plan, place).is_some();
            OperatorEntry { id: id.clone(), label: label(plan, node), role, table, keeps_state }
        })
        .collect()
}

/// The name of an operator in messages: its own, or what EXPLAIN calls it.
pub(crate) fn label(plan: &StreamPlan, node: &Node) -> String {
    if !node.label.is_empty() {
        return node.label.clone();
    }
    let inputs: Vec<&Node> = node.inputs.iter().filter_map(|i| plan.nodes.get(*i)).collect();
    clipped(&explain::describe(node, &inputs))
}

/// The beginning of a long description.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(LABEL_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The role of an operator that belongs to a table, and the table.
fn role(plan: &StreamPlan, node: &Node) -> (String, String) {
    let (role, table) = match &node.kind {
        NodeKind::Source(source) => ("source", &source.table.name),
        NodeKind::Sink(sink) => ("sink", &sink.table.name),
        NodeKind::Watermark(_) => match node.inputs.first().and_then(|i| plan.nodes.get(*i)).map(|n| &n.kind) {
            Some(NodeKind::Source(source)) => ("watermark", &source.table.name),
            _ => return Default::default(),
        },
        _ => return Default::default(),
    };
    (role.to_owned(), table.clone())
}

fn describe(node: &Node) -> String {
    match &node.kind {
        NodeKind::Source(source) => format!("source {}", table(&source.table, &source.columns)),
        NodeKind::Values(rows) => format!("values {rows:?}"),
        NodeKind::Watermark(watermark) => {
            format!("watermark {} {} {}", watermark.rowtime, expr(&watermark.expr), watermark.push_down)
        }
        NodeKind::Calc(calc) => {
            let filter = calc.filter.as_ref().map_or_else(String::new, expr);
            format!("calc [{filter}] {}", calc.project.iter().map(expr).collect::<Vec<_>>().join("; "))
        }
        NodeKind::Exchange(_) => String::new(),
        NodeKind::GroupAggregate(a) => {
            format!("group {:?} {:?} {}", a.keys, a.aggregates, a.input_retracts)
        }
        NodeKind::WindowAggregate(a) => format!(
            "window {} {} {:?} {:?} {:?} {}",
            window(&a.window),
            a.is_legacy,
            a.keys,
            a.aggregates,
            a.properties,
            a.input_retracts
        ),
        NodeKind::WindowTable(w) => format!("window table {}", window(w)),
        NodeKind::SessionTable(s) => format!("session table {} {:?}", window(&s.window), s.keys),
        NodeKind::WindowRank(r) => format!(
            "window rank {} {:?} {:?} {} {} {} {}",
            window(&r.window),
            r.keys,
            r.order,
            r.first,
            r.last,
            r.last_wins,
            r.with_number
        ),
        NodeKind::MatchRecognize(m) => row_pattern(m),
        NodeKind::Expand(e) => format!("expand {:?}", e.sets),
        NodeKind::Unnest(u) => {
            let ordinality = if u.with_ordinality { " ordinality" } else { "" };
            format!("unnest {} {}{ordinality}", u.column, u.is_left)
        }
        NodeKind::Deduplicate(d) => format!("deduplicate {:?} {:?} {}", d.keys, d.order, d.keep_last),
        NodeKind::Over(o) => format!("over {:?} {:?} {:?} {:?}", o.partition, o.order, o.frame, o.calls),
        NodeKind::Sort(s) => format!("sort {:?} {:?}", s.time, s.order),
        NodeKind::BatchSort(order) => format!("batch sort {order:?}"),
        NodeKind::BatchOver(o) => format!("batch over {:?} {:?} {:?}", o.partition, o.order, o.calls),
        NodeKind::Replicate => "replicate".to_owned(),
        NodeKind::ChangelogNormalize(n) => format!("changelog normalize {:?}", n.primary_key),
        NodeKind::Materialize(m) => format!("materialize {:?} {:?}", m.primary_key, m.upsert_key),
        NodeKind::Rank(r) => format!(
            "rank {:?} {:?} {} {:?} {} {:?}",
            r.partition, r.order, r.start, r.end, r.outputs_number, r.strategy
        ),
        NodeKind::LookupJoin(j) => {
            let condition = j.condition.as_ref().map_or_else(String::new, expr);
            let table = table(&j.table, &j.columns);
            format!("lookup join {:?} {} {table} {:?} [{condition}]", j.kind, j.left_width, j.keys)
        }
        NodeKind::Join(j) => {
            let condition = j.condition.as_ref().map_or_else(String::new, expr);
            let form = match &j.form {
                JoinForm::Regular([left, right]) => format!("{:?}", (&left.unique_key, &right.unique_key)),
                JoinForm::Interval(bounds) => format!("{bounds:?}"),
                JoinForm::Temporal(times) => format!("VersionTimes {{ left: {}, right: {} }}", times.left, times.right),
                JoinForm::Window(ends) => format!("{ends:?}"),
            };
            format!("join {:?} {} {:?} [{condition}] {form}", j.kind, j.left_width, j.keys)
        }
        NodeKind::UnionAll => "union all".to_owned(),
        NodeKind::Sink(sink) => format!("sink {} {:?}", table(&sink.table, &sink.columns), sink.primary_key),
        NodeKind::Collect => "collect".to_owned(),
    }
}

fn window(window: &WindowNode) -> String {
    format!("{:?} {} {} {:?}", window.kind, window.time_column, window.is_event_time, window.time_zone)
}

fn table(table: &TableDescriptor, columns: &[usize]) -> String {
    let mut text = table.path.clone();
    for column in columns.iter().filter_map(|&c| table.columns.get(c)) {
        write!(text, " {} {}", column.name, column.data_type).expect("writing into a String cannot fail");
    }
    text
}

fn row_pattern(m: &MatchRecognizeNode) -> String {
    let value = |e: &PatternExpr| {
        let slot = |slot: &PatternSlot| match &slot.source {
            SlotSource::Current { column } => format!("${column}"),
            SlotSource::Row { variable, from_first, offset, column } => {
                format!("row({variable:?}, {from_first}, {offset}, ${column})")
            }
            SlotSource::Aggregate { variable, function, args } => {
                let args: Vec<String> = args.iter().map(expr).collect();
                format!("{function:?}({variable:?}, {})", args.join(", "))
            }
            SlotSource::MatchTime => "time".to_owned(),
        };
        format!("{} of {}", expr(&e.expr), e.slots.iter().map(slot).collect::<Vec<_>>().join(" "))
    };
    let mut text = format!("match {:?} {:?} {:?} {:?} {:?}", m.partition, m.time_column, m.order, m.skip, m.within_ms);
    for v in &m.variables {
        let condition = v.condition.as_ref().map_or_else(String::new, value);
        _ = write!(text, " {}..{:?} {} [{condition}]", v.min, v.max, v.is_greedy);
    }
    for measure in &m.measures {
        _ = write!(text, "; {}", value(measure));
    }
    text
}

fn expr(e: &ScalarExpr) -> String {
    let list = |args: &[ScalarExpr]| args.iter().map(expr).collect::<Vec<_>>().join(", ");
    match e {
        ScalarExpr::Column { index, .. } => format!("${index}"),
        ScalarExpr::Literal { value, data_type } => format!("{value:?}:{data_type}"),
        ScalarExpr::Call { function, args, data_type } => format!("{}({}):{data_type}", function.name(), list(args)),
        ScalarExpr::Cast { input, data_type, is_try } => format!("cast({}, {data_type}, {is_try})", expr(input)),
        ScalarExpr::And(args) => format!("and({})", list(args)),
        ScalarExpr::Or(args) => format!("or({})", list(args)),
        ScalarExpr::Case { branches, otherwise, data_type } => {
            let branches: Vec<String> = branches.iter().map(|(c, r)| format!("{} -> {}", expr(c), expr(r))).collect();
            let otherwise = otherwise.as_ref().map_or_else(String::new, |e| expr(e));
            format!("case({} else {otherwise}):{data_type}", branches.join("; "))
        }
        ScalarExpr::Coalesce { args, data_type } => format!("coalesce({}):{data_type}", list(args)),
        ScalarExpr::Field { input, index, .. } => format!("{}.{index}", expr(input)),
    }
}
