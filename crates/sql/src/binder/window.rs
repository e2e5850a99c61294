//! Windows: the table functions TUMBLE, HOP, CUMULATE and SESSION, their legacy form in GROUP BY, and how an aggregation finds the window
//! below it.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{TypeKind, Value};
use wiesel_expr::ScalarExpr;
use wiesel_plan::{SortColumn, WindowKind, WindowNode, WindowProperty, WindowRankNode};

use super::expr::{Bound, ExprBinder, refused};
use super::scope::Scope;
use crate::parser::ast::{Expr, FunctionArgValue, FunctionCall, Ident};
use crate::plan::rel::{Rel, RelColumn, RelKind, TimeAttribute};
use crate::plan::window::{attached, window_below};

/// The window table functions.
pub const TABLE_FUNCTIONS: [&str; 4] = ["TUMBLE", "HOP", "CUMULATE", "SESSION"];

/// The interval arguments of a window, in ms, by Flink's names.
#[derive(Debug, Default)]
pub struct WindowSizes {
    /// SIZE (TUMBLE, HOP, CUMULATE).
    pub size: Option<(i64, Span)>,
    /// STEP (CUMULATE).
    pub step: Option<(i64, Span)>,
    /// GAP (SESSION).
    pub gap: Option<(i64, Span)>,
    /// SLIDE (HOP).
    pub slide: Option<(i64, Span)>,
    /// OFFSET.
    pub offset: Option<(i64, Span)>,
}

/// The arguments of a window table function call, by name or by position.
#[derive(Debug)]
pub struct WindowCall<'a> {
    /// DATA.
    pub data: &'a crate::parser::ast::TableArg,
    /// TIMECOL.
    pub time_column: &'a Ident,
    /// The intervals.
    pub sizes: WindowSizes,
}

/// Reads the arguments of a window table function.
pub fn read_call<'a>(name: &str, call: &'a FunctionCall) -> Bound<WindowCall<'a>> {
    let order: &[&str] = match name {
        "TUMBLE" => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
        "CUMULATE" => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
        "SESSION" => &["DATA", "TIMECOL", "GAP"],
        _ => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
    };
    let usage = || {
        Diagnostic::error("W0305", format!("arguments do not fit {name}")).at(call.span).label(match name {
            "TUMBLE" => "expected TUMBLE(TABLE t, DESCRIPTOR(time), size [, offset])",
            "CUMULATE" => "expected CUMULATE(TABLE t, DESCRIPTOR(time), step, size [, offset])",
            "SESSION" => "expected SESSION(TABLE t [PARTITION BY keys], DESCRIPTOR(time), gap)",
            _ => "expected HOP(TABLE t, DESCRIPTOR(time), slide, size [, offset])",
        })
    };
    let (mut data, mut time_column) = (None, None);
    let mut sizes = WindowSizes::default();
    for (position, arg) in call.args.iter().enumerate() {
        let slot = match &arg.name {
            Some(given) => given.value.to_ascii_uppercase(),
            None => order.get(position).ok_or_else(|| vec![usage()])?.to_string(),
        };
        if !order.contains(&slot.as_str()) {
            return Err(vec![usage()]);
        }
        match (slot.as_str(), &arg.value) {
            ("DATA", FunctionArgValue::Table(table)) => data = Some(table),
            ("TIMECOL", FunctionArgValue::Descriptor(columns)) if columns.len() == 1 => time_column = columns.first(),
            ("SIZE", FunctionArgValue::Expr(e)) => sizes.size = Some((interval_ms(e)?, e.span)),
            ("SLIDE", FunctionArgValue::Expr(e)) => sizes.slide = Some((interval_ms(e)?, e.span)),
            ("STEP", FunctionArgValue::Expr(e)) => sizes.step = Some((interval_ms(e)?, e.span)),
            ("GAP", FunctionArgValue::Expr(e)) => sizes.gap = Some((interval_ms(e)?, e.span)),
            ("OFFSET", FunctionArgValue::Expr(e)) => sizes.offset = Some((interval_ms(e)?, e.span)),
            _ => return Err(vec![usage()]),
        }
    }
    match (data, time_column) {
        (Some(data), Some(time_column)) => Ok(WindowCall { data, time_column, sizes }),
        _ => Err(vec![usage()]),
    }
}

/// The value of an interval literal in ms.
pub fn interval_ms(expr: &Expr) -> Bound<i64> {
    let scope = Scope::default();
    let bound = ExprBinder::plain(&scope).bind(expr)?;
    match bound {
        ScalarExpr::Literal { value: Value::Millis(ms), .. } => Ok(ms),
        other => Err(vec![
            Diagnostic::error("W0304", "a window needs a constant interval")
                .at(expr.span)
                .label(format!("expected an INTERVAL literal of days to seconds, found {}", other.data_type().kind)),
        ]),
    }
}

/// The columns of PARTITION BY, which SESSION alone takes.
pub fn partition_columns(name: &str, partition_by: &[Expr], input: &Rel) -> Bound<Vec<usize>> {
    if name != "SESSION"
        && let Some(expr) = partition_by.first()
    {
        return Err(vec![
            Diagnostic::error("W0305", format!("{name} takes no PARTITION BY"))
                .at(expr.span)
                .hint("group by the column after the window; SESSION alone has windows per key"),
        ]);
    }
    let scope = Scope::new(None, input.columns.clone());
    partition_by
        .iter()
        .map(|expr| match ExprBinder::plain(&scope).bind(expr)? {
            ScalarExpr::Column { index, .. } => Ok(index),
            _ => Err(vec![Diagnostic::error("W0304", "PARTITION BY of a window takes columns").at(expr.span)]),
        })
        .collect()
}

/// The window of the given sizes, within Flink's rules.
pub fn window_kind(name: &str, sizes: &WindowSizes, is_legacy: bool, span: Span) -> Bound<WindowKind> {
    let positive = |given: Option<(i64, Span)>, what: &str| match given {
        Some((ms, _)) if ms > 0 => Ok(ms),
        Some((_, at)) => Err(vec![Diagnostic::error("W0308", format!("the {what} of {name} must be positive")).at(at)]),
        None => Err(vec![Diagnostic::error("W0305", format!("{name} lacks its {what}")).at(span)]),
    };
    if name == "SESSION" {
        return Ok(WindowKind::Session { gap_ms: positive(sizes.gap, "gap")? });
    }
    let size_ms = positive(sizes.size, "size")?;
    let offset_ms = sizes.offset.map_or(0, |(ms, _)| ms);
    if let Some((offset, at)) = sizes.offset
        && offset.abs() >= sizes.slide.map_or(size_ms, |(s, _)| s)
    {
        return Err(vec![
            Diagnostic::error("W0308", format!("the offset of {name} must be smaller than the window")).at(at),
        ]);
    }
    if name == "TUMBLE" {
        return Ok(WindowKind::Tumble { size_ms, offset_ms });
    }
    if name == "CUMULATE" {
        let step_ms = positive(sizes.step, "step")?;
        if size_ms % step_ms != 0 {
            return Err(vec![
                Diagnostic::error("W0308", "CUMULATE needs a size that is a multiple of its step")
                    .at(sizes.size.map_or(span, |(_, at)| at))
                    .label(format!("found step {step_ms} ms, size {size_ms} ms")),
            ]);
        }
        return Ok(WindowKind::Cumulate { step_ms, size_ms, offset_ms });
    }
    let slide_ms = positive(sizes.slide, "slide")?;
    if size_ms % slide_ms != 0 && !is_legacy {
        return Err(vec![
            Diagnostic::error("W0308", "HOP needs a size that is a multiple of its slide")
                .at(sizes.size.map_or(span, |(_, at)| at))
                .label(format!("found slide {slide_ms} ms, size {size_ms} ms")),
        ]);
    }
    Ok(WindowKind::Hop { slide_ms, size_ms, offset_ms })
}

/// A window over a time attribute of the input.
pub fn window_node(
    kind: WindowKind,
    input: &Rel,
    time_column: usize,
    zone: &Arc<str>,
    span: Span,
) -> Bound<WindowNode> {
    let column = input.columns.get(time_column);
    let Some((time, column)) = column.and_then(|c| c.time.map(|t| (t, c))) else {
        let (name, found) =
            column.map_or((String::new(), String::new()), |c| (c.name.clone(), c.data_type.to_string()));
        return Err(vec![
            Diagnostic::error("W0308", format!("a window needs a time attribute, `{name}` is none"))
                .at(span)
                .label(format!("found {found}"))
                .hint("declare WATERMARK FOR on the column, or a computed column AS PROCTIME()"),
        ]);
    };
    let is_ltz = matches!(column.data_type.kind, TypeKind::TimestampLtz(_));
    Ok(WindowNode {
        kind,
        time_column,
        is_event_time: time == TimeAttribute::Rowtime,
        time_zone: is_ltz.then(|| zone.clone()),
    })
}

/// The three columns a window table function adds.
pub fn window_columns(window: &WindowNode) -> [RelColumn; 3] {
    let bound = |name: &str, property| RelColumn {
        window: Some(property),
        ..RelColumn::new(name, wiesel_core::DataType::not_null(TypeKind::Timestamp(3)))
    };
    let kind = if window.time_zone.is_some() { TypeKind::TimestampLtz(3) } else { TypeKind::Timestamp(3) };
    let time = if window.is_event_time { TimeAttribute::Rowtime } else { TimeAttribute::Proctime };
    let window_time = RelColumn {
        time: Some(time),
        window: Some(WindowProperty::Time),
        ..RelColumn::new("window_time", wiesel_core::DataType::not_null(kind))
    };
    [bound("window_start", WindowProperty::Start), bound("window_end", WindowProperty::End), window_time]
}

/// A column of the rows under a window table function: an expression over its input, or a window bound.
#[derive(Debug, Clone)]
pub enum Pulled {
    /// Computed from the input.
    Expr(ScalarExpr),
    /// The window's own.
    Property(WindowProperty),
}

/// The property of a window that an expression over `rel` is, when it is a bare column that is one.
pub fn property_of(rel: &Rel, expr: &ScalarExpr) -> Option<WindowProperty> {
    match expr {
        ScalarExpr::Column { index, .. } => rel.columns.get(*index).and_then(|c| c.window),
        _ => None,
    }
}

/// Takes the window table function out from under projections and filters: the window, the rows without it, and what each column of
/// `rel` is over those rows. `None` when there is no window below, when an expression computes with its bounds, or when sessions are
/// not those of the group keys.
pub fn pull_window(rel: &Rel, keys: &[&ScalarExpr]) -> Option<(WindowNode, Rel, Vec<Pulled>)> {
    let (window, below, columns, partition) = pull(rel)?;
    if let (WindowKind::Session { .. }, Some(partition)) = (window.kind, partition) {
        let mut of_keys: Vec<usize> = Vec::new();
        for key in keys {
            match substitute(key, &columns)? {
                ScalarExpr::Column { index, .. } => of_keys.push(index),
                _ => return None,
            }
        }
        let mut of_window = partition;
        of_window.sort_unstable();
        of_window.dedup();
        of_keys.sort_unstable();
        if of_keys != of_window {
            return None;
        }
    }
    Some((window, below, columns))
}

type PulledWindow = (WindowNode, Rel, Vec<Pulled>, Option<Vec<usize>>);

fn pull(rel: &Rel) -> Option<PulledWindow> {
    match &rel.kind {
        RelKind::Window { input, window, partition } => {
            let mut columns: Vec<Pulled> =
                crate::plan::rel::identity(&input.columns).into_iter().map(Pulled::Expr).collect();
            columns.extend(
                [WindowProperty::Start, WindowProperty::End, WindowProperty::Time].into_iter().map(Pulled::Property),
            );
            Some((window.clone(), (**input).clone(), columns, Some(partition.clone())))
        }
        RelKind::Calc { input, filter, project } => {
            let (window, mut below, columns, partition) = pull(input)?;
            if let Some(filter) = filter {
                // A row that is filtered out still holds its session together.
                if matches!(window.kind, WindowKind::Session { .. }) {
                    return None;
                }
                below = below.filter(substitute(filter, &columns)?);
            }
            let pulled = project
                .iter()
                .map(|e| match e {
                    ScalarExpr::Column { index, .. } => columns.get(*index).cloned(),
                    other => substitute(other, &columns).map(Pulled::Expr),
                })
                .collect::<Option<Vec<_>>>()?;
            Some((window, below, pulled, partition))
        }
        _ => None,
    }
}

/// The window over rows that carry theirs: `window_end` is what rows are put together by, `window_start` a key like others.
pub fn attach(rel: &Rel, span: Span) -> Bound<(WindowNode, Rel, Vec<Pulled>)> {
    let window = attached(rel).ok_or_else(|| {
        vec![refused("grouping by the window columns of this input", span).hint("apply a window to its window_time")]
    })?;
    let pulled = crate::plan::rel::identity(&rel.columns)
        .into_iter()
        .zip(&rel.columns)
        .map(|(expr, column)| match column.window {
            Some(property @ (WindowProperty::End | WindowProperty::Time)) => Pulled::Property(property),
            _ => Pulled::Expr(expr),
        })
        .collect();
    Ok((window, rel.clone(), pulled))
}

/// Whether PARTITION BY holds both bounds of a window.
pub fn carries_window(input: &Rel, partition: &[usize]) -> bool {
    let has = |property| partition.iter().any(|p| input.columns.get(*p).is_some_and(|c| c.window == Some(property)));
    has(WindowProperty::Start) && has(WindowProperty::End)
}

/// ROW_NUMBER() within bounds per window; `columns` are the input's and the number.
pub fn rank(
    input: Box<Rel>,
    partition: &[usize],
    order: Vec<SortColumn>,
    (first, last): (i64, i64),
    columns: Vec<RelColumn>,
    span: Span,
) -> Bound<Rel> {
    let window = attached(&input).ok_or_else(|| vec![refused("a Top-N over these window columns", span)])?;
    let is_bound = |column: &usize| {
        let property = input.columns.get(*column).and_then(|c| c.window);
        matches!(property, Some(WindowProperty::Start | WindowProperty::End))
    };
    let time = match order.as_slice() {
        [single] => input.columns.get(single.column).and_then(|c| c.time),
        _ => None,
    };
    if !window.is_event_time || time == Some(TimeAttribute::Proctime) {
        return Err(vec![refused("a Top-N or deduplication per window of processing time", span)]);
    }
    let is_deduplication = time == Some(TimeAttribute::Rowtime) && (first, last) == (1, 1);
    let rank = WindowRankNode {
        // Sessions of one end may have different starts, so the start is a key.
        keys: match window_below(&input).map(|w| w.kind) {
            Some(WindowKind::Session { .. } | WindowKind::Attached) => {
                let is_end =
                    |column: &usize| input.columns.get(*column).and_then(|c| c.window) == Some(WindowProperty::End);
                partition.iter().copied().filter(|column| !is_end(column)).collect()
            }
            _ => partition.iter().copied().filter(|column| !is_bound(column)).collect(),
        },
        window,
        last_wins: is_deduplication && order.first().is_some_and(|o| o.descending),
        order,
        first: u64::try_from(first).unwrap_or(1).max(1),
        last: u64::try_from(last).unwrap_or(0),
        with_number: true,
    };
    Ok(Rel { kind: RelKind::WindowRank { input, rank }, columns })
}

/// The expression over the rows under the window; `None` when it computes with the window's bounds.
pub fn substitute(expr: &ScalarExpr, columns: &[Pulled]) -> Option<ScalarExpr> {
    let mut is_possible = true;
    let result = expr.clone().transform(&mut |e| match e {
        ScalarExpr::Column { index, data_type } => match columns.get(index) {
            Some(Pulled::Expr(inner)) => inner.clone(),
            _ => {
                is_possible = false;
                ScalarExpr::Column { index, data_type }
            }
        },
        other => other,
    });
    is_possible.then_some(result)
}
