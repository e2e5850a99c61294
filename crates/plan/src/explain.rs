//! EXPLAIN: the plan as an indented tree with its traits, sinks first, one line per node.
//!
//! A node that several others read is printed once and named `[n]` where it is read again.

use std::fmt::Write as _;

use wiesel_expr::{AggregateCall, ScalarExpr};

use crate::join::{JoinForm, JoinKey, JoinNode, JoinSide, LookupJoinNode, LookupKeySource};
use crate::state_size::state_size;
use crate::{
    Distribution, Node, NodeId, NodeKind, OverCall, OverFrame, RankEnd, RankNode, RankStrategy, SortColumn, StreamPlan,
    WindowKind, WindowNode,
};

/// The text of a plan. With `changelog_modes` each node's kinds of change are appended, as EXPLAIN CHANGELOG_MODE does.
pub fn explain(plan: &StreamPlan, changelog_modes: bool) -> String {
    let mut uses = vec![0_usize; plan.nodes.len()];
    for input in plan.nodes.iter().flat_map(|n| &n.inputs) {
        if let Some(count) = uses.get_mut(*input) {
            *count += 1;
        }
    }
    let mut printer =
        Printer { plan, uses, printed: vec![false; plan.nodes.len()], changelog_modes, text: String::new() };
    for sink in &plan.sinks {
        printer.print(*sink, 0);
    }
    printer.text
}

struct Printer<'a> {
    plan: &'a StreamPlan,
    uses: Vec<usize>,
    printed: Vec<bool>,
    changelog_modes: bool,
    text: String,
}

impl Printer<'_> {
    fn print(&mut self, id: NodeId, depth: usize) {
        let Some(node) = self.plan.nodes.get(id) else { return };
        let indent = "   ".repeat(depth.saturating_sub(1));
        let branch = if depth == 0 { "" } else { "+- " };
        let is_shared = self.uses.get(id).copied().unwrap_or(0) > 1;
        if self.printed.get(id) == Some(&true) {
            // Writing to a String cannot fail.
            _ = writeln!(self.text, "{indent}{branch}[{id}] see above");
            return;
        }
        if let Some(printed) = self.printed.get_mut(id) {
            *printed = true;
        }
        let name = if is_shared { format!("[{id}] ") } else { String::new() };
        let inputs: Vec<&Node> = node.inputs.iter().filter_map(|i| self.plan.nodes.get(*i)).collect();
        let mode = if self.changelog_modes {
            format!(", changelogMode={}", node.changelog_mode.symbol())
        } else {
            String::new()
        };
        let state = state_size(self.plan, id).map(|size| format!(", state=[{size}]")).unwrap_or_default();
        _ = writeln!(self.text, "{indent}{branch}{name}{}{mode}{state}", describe(node, &inputs));
        for input in &node.inputs {
            self.print(*input, depth + 1);
        }
    }
}

/// One node on one line.
pub fn describe(node: &Node, inputs: &[&Node]) -> String {
    let column = |index: usize| {
        inputs
            .first()
            .and_then(|n| n.schema.fields().get(index))
            .map_or_else(|| format!("${index}"), |f| f.name.clone())
    };
    let columns = |indices: &[usize]| indices.iter().map(|i| column(*i)).collect::<Vec<_>>().join(", ");
    let names = || node.schema.fields().iter().map(|f| f.name.clone()).collect::<Vec<_>>().join(", ");
    match &node.kind {
        NodeKind::Source(source) => {
            let bounded = if source.info.is_bounded { ", bounded" } else { "" };
            format!("Source(table=[{}], columns=[{}]{bounded})", source.table.path, names())
        }
        NodeKind::Values(rows) => format!("Values(rows={}, columns=[{}])", rows.len(), names()),
        NodeKind::Watermark(watermark) => {
            let place = if watermark.push_down { ", per split" } else { "" };
            format!(
                "WatermarkAssigner(rowtime=[{}], watermark=[{}]{place})",
                column(watermark.rowtime),
                expression(&watermark.expr, &column)
            )
        }
        NodeKind::Calc(calc) => {
            let select: Vec<String> = calc
                .project
                .iter()
                .zip(node.schema.fields())
                .map(|(e, field)| {
                    let text = expression(e, &column);
                    if text == field.name { text } else { format!("{text} AS {}", field.name) }
                })
                .collect();
            let filter = calc.filter.as_ref().map(|f| format!(", where=[{}]", expression(f, &column)));
            format!("Calc(select=[{}]{})", select.join(", "), filter.unwrap_or_default())
        }
        NodeKind::Exchange(Distribution::Hash(keys)) => format!("Exchange(hash=[{}])", columns(keys)),
        NodeKind::Exchange(Distribution::Single) => "Exchange(single)".to_owned(),
        NodeKind::GroupAggregate(group) => {
            let mut notes = String::new();
            if group.fold_per_step {
                notes.push_str(", folded per step");
            }
            if let Some(mini_batch) = group.mini_batch {
                _ = write!(notes, ", miniBatch=[{} ms, {} rows]", mini_batch.latency_ms, mini_batch.rows);
            }
            if group.state_ttl_ms > 0 {
                _ = write!(notes, ", ttl={} ms", group.state_ttl_ms);
            }
            format!(
                "GroupAggregate(groupBy=[{}], select=[{}]{notes})",
                columns(&group.keys),
                aggregates(&group.aggregates, &column)
            )
        }
        NodeKind::WindowAggregate(window) => format!(
            "{}(groupBy=[{}], window=[{}], select=[{}], properties=[{}])",
            if window.is_legacy { "GroupWindowAggregate" } else { "WindowAggregate" },
            columns(&window.keys),
            window_text(&window.window, &column),
            aggregates(&window.aggregates, &column),
            window.properties.iter().map(|p| format!("{p:?}").to_lowercase()).collect::<Vec<_>>().join(", ")
        ),
        NodeKind::WindowTable(window) => format!("WindowTableFunction(window=[{}])", window_text(window, &column)),
        NodeKind::SessionTable(session) => format!(
            "WindowTableFunction(window=[{}], partitionBy=[{}])",
            window_text(&session.window, &column),
            columns(&session.keys)
        ),
        NodeKind::WindowRank(rank) => {
            let order: Vec<String> = rank
                .order
                .iter()
                .map(|o| format!("{} {}", column(o.column), if o.descending { "DESC" } else { "ASC" }))
                .collect();
            format!(
                "WindowRank(window=[{}], rankRange=[{}..{}], partitionBy=[{}], orderBy=[{}])",
                window_text(&rank.window, &column),
                rank.first,
                rank.last,
                columns(&rank.keys),
                order.join(", ")
            )
        }
        NodeKind::MatchRecognize(pattern) => {
            let within = pattern.within_ms.map_or_else(String::new, |ms| format!(", within=[{ms} ms]"));
            format!(
                "Match(partitionBy=[{}], orderBy=[{}], pattern=[{}], after=[{}]{within})",
                columns(&pattern.partition),
                pattern.time_column.map_or_else(|| "PROCTIME()".to_owned(), &column),
                pattern.pattern_text(),
                pattern.skip_text(),
            )
        }
        NodeKind::Expand(expand) => {
            let set = |set: &Vec<bool>| {
                let names: Vec<String> =
                    set.iter().enumerate().filter(|(_, stays)| **stays).map(|(i, _)| column(i)).collect();
                format!("{{{}}}", names.join(", "))
            };
            format!("Expand(sets=[{}])", expand.sets.iter().map(set).collect::<Vec<_>>().join(", "))
        }
        NodeKind::Unnest(unnest) => format!(
            "Correlate(unnest=[{}]{}, join=[{}])",
            column(unnest.column),
            if unnest.with_ordinality { ", ordinality=[true]" } else { "" },
            if unnest.is_left { "LEFT" } else { "INNER" }
        ),
        NodeKind::Deduplicate(deduplicate) => format!(
            "Deduplicate(keep=[{}Row], key=[{}], order=[{}])",
            if deduplicate.keep_last { "Last" } else { "First" },
            columns(&deduplicate.keys),
            deduplicate.order.map_or_else(|| "PROCTIME".to_owned(), |o| format!("ROWTIME {}", column(o)))
        ),
        NodeKind::Rank(rank) => rank_text(rank, &columns, &column),
        NodeKind::Join(join) => join_text(join, inputs, &names()),
        NodeKind::Over(over) => format!(
            "OverAggregate(partitionBy=[{}], orderBy=[{}], window=[{}], select=[{}])",
            columns(&over.partition),
            over.order.map_or_else(|| "PROCTIME".to_owned(), |o| format!("{} ASC", column(o))),
            frame_text(over.frame),
            over.calls.iter().map(|call| over_call(call, &column)).collect::<Vec<_>>().join(", ")
        ),
        NodeKind::Sort(sort) => {
            let time = sort.time.map_or_else(|| "PROCTIME".to_owned(), |t| format!("{} ASC", column(t)));
            let rest =
                if sort.order.is_empty() { String::new() } else { format!(", {}", sort_text(&sort.order, &column)) };
            format!("TemporalSort(orderBy=[{time}{rest}])")
        }
        NodeKind::BatchSort(order) => format!("Sort(orderBy=[{}], at the end)", sort_text(order, &column)),
        NodeKind::BatchOver(over) => format!(
            "OverAggregate(partitionBy=[{}], orderBy=[{}], functions={}, at the end)",
            columns(&over.partition),
            sort_text(&over.order, &column),
            over.calls.len()
        ),
        NodeKind::Replicate => format!("ReplicateRows(columns=[{}])", names()),
        NodeKind::ChangelogNormalize(node) => format!("ChangelogNormalize(key=[{}])", columns(&node.primary_key)),
        NodeKind::Materialize(node) => format!(
            "SinkMaterializer(primaryKey=[{}], upsertKey=[{}])",
            columns(&node.primary_key),
            columns(&node.upsert_key)
        ),
        NodeKind::LookupJoin(join) => lookup_text(join, &column, &names()),
        NodeKind::UnionAll => format!("Union(all=[true], columns=[{}])", names()),
        NodeKind::Sink(sink) => {
            let key = if sink.primary_key.is_empty() {
                String::new()
            } else {
                format!(", primaryKey=[{}]", columns(&sink.primary_key))
            };
            format!("Sink(table=[{}], fields=[{}]{key}, delivery=[{}])", sink.table.path, names(), sink.info.delivery)
        }
        NodeKind::Collect => format!("Collect(fields=[{}])", names()),
    }
}

fn frame_text(frame: OverFrame) -> String {
    match frame {
        OverFrame::Rows(None) => "ROWS UNBOUNDED PRECEDING".to_owned(),
        OverFrame::Rows(Some(rows)) => format!("ROWS {rows} PRECEDING"),
        OverFrame::Range(None) => "RANGE UNBOUNDED PRECEDING".to_owned(),
        OverFrame::Range(Some(ms)) => format!("RANGE {ms} ms PRECEDING"),
    }
}

fn over_call(call: &OverCall, column: &dyn Fn(usize) -> String) -> String {
    match call {
        OverCall::Aggregate(call) => aggregates(std::slice::from_ref(call), column),
        OverCall::Lag { column: value, offset, default, .. } => {
            let default = default.map(|d| format!(", {}", column(d))).unwrap_or_default();
            format!("LAG({}, {offset}{default})", column(*value))
        }
    }
}

fn rank_text(rank: &RankNode, columns: &dyn Fn(&[usize]) -> String, column: &dyn Fn(usize) -> String) -> String {
    let end = match rank.end {
        RankEnd::Constant(u64::MAX) => "unbounded".to_owned(),
        RankEnd::Constant(end) => end.to_string(),
        RankEnd::Column(index) => column(index),
    };
    let strategy = match &rank.strategy {
        RankStrategy::Append => "AppendFast".to_owned(),
        RankStrategy::First => "AppendFirst".to_owned(),
        RankStrategy::Update(key) => format!("UpdateFast[{}]", columns(key)),
        RankStrategy::Retract => "Retract".to_owned(),
    };
    let mut text = String::new();
    if rank.is_limit {
        _ = write!(text, "{}(", if rank.order.is_empty() { "Limit" } else { "SortLimit" });
    } else {
        _ = write!(text, "Rank(partitionBy=[{}], ", columns(&rank.partition));
    }
    if !rank.order.is_empty() {
        _ = write!(text, "orderBy=[{}], ", sort_text(&rank.order, column));
    }
    _ = write!(text, "rankRange=[{}, {end}], strategy=[{strategy}]", rank.start);
    if rank.outputs_number {
        text.push_str(", rowNumber");
    }
    if rank.state_ttl_ms > 0 {
        _ = write!(text, ", ttl={} ms", rank.state_ttl_ms);
    }
    text + ")"
}

fn sort_text(keys: &[SortColumn], column: &dyn Fn(usize) -> String) -> String {
    let key = |key: &SortColumn| {
        let nulls = match (key.descending, key.nulls_first) {
            (true, true) => " NULLS FIRST",
            (false, false) => " NULLS LAST",
            _ => "",
        };
        format!("{} {}{nulls}", column(key.column), if key.descending { "DESC" } else { "ASC" })
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn window_text(window: &WindowNode, column: &dyn Fn(usize) -> String) -> String {
    let time = if window.is_event_time { column(window.time_column) } else { "PROCTIME()".to_owned() };
    match window.kind {
        WindowKind::Tumble { size_ms, offset_ms: 0 } => format!("TUMBLE({time}, {size_ms} ms)"),
        WindowKind::Tumble { size_ms, offset_ms } => format!("TUMBLE({time}, {size_ms} ms, offset {offset_ms} ms)"),
        WindowKind::Hop { slide_ms, size_ms, offset_ms: 0 } => format!("HOP({time}, {slide_ms} ms, {size_ms} ms)"),
        WindowKind::Cumulate { step_ms, size_ms, offset_ms: 0 } => {
            format!("CUMULATE({time}, {step_ms} ms, {size_ms} ms)")
        }
        WindowKind::Cumulate { step_ms, size_ms, offset_ms } => {
            format!("CUMULATE({time}, {step_ms} ms, {size_ms} ms, offset {offset_ms} ms)")
        }
        WindowKind::Session { gap_ms } => format!("SESSION({time}, {gap_ms} ms)"),
        WindowKind::Attached => format!("win_end={}", column(window.time_column)),
        WindowKind::Hop { slide_ms, size_ms, offset_ms } => {
            format!("HOP({time}, {slide_ms} ms, {size_ms} ms, offset {offset_ms} ms)")
        }
    }
}

fn aggregates(calls: &[AggregateCall], column: &dyn Fn(usize) -> String) -> String {
    calls
        .iter()
        .map(|call| {
            let args = call.args.iter().map(|a| column(*a)).collect::<Vec<_>>().join(", ");
            let args = if args.is_empty() { "*".to_owned() } else { args };
            let distinct = if call.distinct { "DISTINCT " } else { "" };
            let filter = call.filter.map(|f| format!(" FILTER {}", column(f))).unwrap_or_default();
            format!("{}({distinct}{args}){filter}", call.function.name())
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// A column of two inputs side by side, by name; the right one's gets a `0` behind it when the left side has the name too, as in Flink.
fn column_of_pair(inputs: &[&Node], left_width: usize, index: usize) -> String {
    let name =
        |port: usize, index: usize| inputs.get(port).and_then(|n| n.schema.fields().get(index)).map(|f| f.name.clone());
    if index < left_width {
        return name(0, index).unwrap_or_else(|| format!("${index}"));
    }
    match name(1, index - left_width) {
        Some(own) if (0..left_width).any(|left| name(0, left).as_ref() == Some(&own)) => format!("{own}0"),
        Some(own) => own,
        None => format!("${index}"),
    }
}

/// The condition of a join as text.
fn join_condition(
    keys: &[JoinKey],
    condition: Option<&ScalarExpr>,
    left_width: usize,
    column: &dyn Fn(usize) -> String,
) -> String {
    let mut parts: Vec<String> = keys
        .iter()
        .map(|key| {
            let operator = if key.null_safe { "IS NOT DISTINCT FROM" } else { "=" };
            format!("({} {operator} {})", column(key.left), column(left_width + key.right))
        })
        .collect();
    parts.extend(condition.map(|c| expression(c, column)));
    match parts.len() {
        0 => "true".to_owned(),
        1 => parts.remove(0),
        _ => format!("({})", parts.join(" AND ")),
    }
}

fn lookup_text(join: &LookupJoinNode, left: &dyn Fn(usize) -> String, names: &str) -> String {
    let of_table = |index: usize| join.table.columns.get(index).map_or_else(|| format!("${index}"), |c| c.name.clone());
    let keys: Vec<String> = join
        .keys
        .iter()
        .map(|key| match &key.source {
            LookupKeySource::Column(index) => format!("{}={}", of_table(key.column), left(*index)),
            LookupKeySource::Constant(value) => {
                let data_type = join.table.columns.get(key.column).map(|c| c.data_type.clone());
                let text = data_type.map_or_else(String::new, |t| literal(value, &t));
                format!("{}={text}", of_table(key.column))
            }
        })
        .collect();
    let column = |index: usize| match index.checked_sub(join.left_width) {
        None => left(index),
        Some(index) => join.columns.get(index).map_or_else(|| format!("${index}"), |c| of_table(*c)),
    };
    let condition = join.condition.as_ref().map(|c| format!(", where=[{}]", expression(c, &column)));
    let retry = join.retry.map(|r| format!(", retry=[lookup_miss, {} ms, {}x]", r.delay_ms, r.attempts));
    format!(
        "LookupJoin(table=[{}], joinType=[{}], lookup=[{}]{}{}, select=[{names}])",
        join.table.path,
        join.kind.name(),
        keys.join(", "),
        condition.unwrap_or_default(),
        retry.unwrap_or_default()
    )
}

fn join_text(join: &JoinNode, inputs: &[&Node], names: &str) -> String {
    let column = |index: usize| column_of_pair(inputs, join.left_width, index);
    let side = |side: &JoinSide, keys: Vec<usize>| {
        let kept = match &side.unique_key {
            None => "NoUniqueKey",
            Some(unique) if unique.iter().all(|c| keys.contains(c)) => "JoinKeyContainsUniqueKey",
            Some(_) => "HasUniqueKey",
        };
        let ttl = if side.state_ttl_ms > 0 { format!(", ttl={} ms", side.state_ttl_ms) } else { String::new() };
        format!("[{kept}{ttl}]")
    };
    let condition = join_condition(&join.keys, join.condition.as_ref(), join.left_width, &column);
    let kind = join.kind.name();
    match &join.form {
        JoinForm::Regular([left, right]) => format!(
            "Join(joinType=[{kind}], where=[{condition}], select=[{names}], leftInputSpec={}, rightInputSpec={})",
            side(left, join.keys_on(0)),
            side(right, join.keys_on(1)),
        ),
        JoinForm::Interval(bounds) => format!(
            "IntervalJoin(joinType=[{kind}], windowBounds=[isRowTime={}, leftLowerBound={}, leftUpperBound={}, \
             leftTimeIndex={}, rightTimeIndex={}], where=[{condition}], select=[{names}])",
            bounds.is_event_time, bounds.lower_ms, bounds.upper_ms, bounds.left_time, bounds.right_time
        ),
        JoinForm::Window(ends) => format!(
            "WindowJoin(leftWindow=[win_end={}], rightWindow=[win_end={}], joinType=[{kind}], where=[{condition}], select=[{names}])",
            column(ends.left),
            column(join.left_width + ends.right)
        ),
        JoinForm::Temporal(times) => format!(
            "TemporalJoin(joinType=[{kind}], where=[({condition} AND __TEMPORAL_JOIN_CONDITION({}, {}))], select=[{names}])",
            column(times.left),
            column(join.left_width + times.right)
        ),
    }
}

/// An expression as text, columns by name.
pub fn expression(expr: &ScalarExpr, column: &dyn Fn(usize) -> String) -> String {
    let list = |args: &[ScalarExpr], separator: &str| {
        args.iter().map(|a| expression(a, column)).collect::<Vec<_>>().join(separator)
    };
    match expr {
        ScalarExpr::Column { index, .. } => column(*index),
        ScalarExpr::Literal { value, data_type } => literal(value, data_type),
        ScalarExpr::Call { function, args, .. } => match (function.name(), args.as_slice()) {
            (name, [left, right]) if !name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                format!("({} {name} {})", expression(left, column), expression(right, column))
            }
            (name, [operand]) if name.starts_with("IS ") => format!("{} {name}", expression(operand, column)),
            (name, args) => format!("{name}({})", list(args, ", ")),
        },
        ScalarExpr::Cast { input, data_type, is_try } => {
            format!(
                "{}({} AS {})",
                if *is_try { "TRY_CAST" } else { "CAST" },
                expression(input, column),
                data_type.kind
            )
        }
        ScalarExpr::And(args) => format!("({})", list(args, " AND ")),
        ScalarExpr::Or(args) => format!("({})", list(args, " OR ")),
        ScalarExpr::Case { branches, otherwise, .. } => {
            let mut text = "CASE".to_owned();
            for (when, then) in branches {
                _ = write!(text, " WHEN {} THEN {}", expression(when, column), expression(then, column));
            }
            if let Some(otherwise) = otherwise {
                _ = write!(text, " ELSE {}", expression(otherwise, column));
            }
            text + " END"
        }
        ScalarExpr::Coalesce { args, .. } => format!("COALESCE({})", list(args, ", ")),
        ScalarExpr::Field { input, index, .. } => {
            let name = match &input.data_type().kind {
                wiesel_core::TypeKind::Row(fields) => fields.get(*index).map(|f| f.name.clone()),
                _ => None,
            };
            format!("{}.{}", expression(input, column), name.unwrap_or_else(|| index.to_string()))
        }
    }
}

fn literal(value: &wiesel_core::Value, data_type: &wiesel_core::DataType) -> String {
    use wiesel_core::Value as V;
    match value {
        V::Null => "NULL".to_owned(),
        V::Boolean(b) => b.to_string().to_uppercase(),
        V::Int(i) => i.to_string(),
        V::Float(x) => x.to_string(),
        V::Double(x) => format!("{x:?}"),
        V::String(s) => format!("'{}'", s.replace('\'', "''")),
        V::Millis(ms) => format!("{ms}:INTERVAL MS"),
        V::Months(m) => format!("{m}:INTERVAL MONTH"),
        other => format!("{other:?}:{}", data_type.kind),
    }
}
