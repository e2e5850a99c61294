//! Windows: the table functions TUMBLE and HOP, their legacy form in GROUP BY, and how an aggregation finds the window below it.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{TypeKind, Value};
use wiesel_expr::ScalarExpr;
use wiesel_plan::{WindowKind, WindowNode, WindowProperty};

use super::expr::{Bound, ExprBinder, refused};
use super::scope::Scope;
use crate::parser::ast::{Expr, FunctionArgValue, FunctionCall, Ident};
use crate::plan::rel::{Rel, RelColumn, RelKind, TimeAttribute};

/// The interval arguments of a window, in ms, by Flink's names.
#[derive(Debug, Default)]
pub struct WindowSizes {
    /// SIZE (TUMBLE, HOP).
    pub size: Option<(i64, Span)>,
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

/// Reads the arguments of TUMBLE(...) or HOP(...) as a table function.
pub fn read_call<'a>(name: &str, call: &'a FunctionCall) -> Bound<WindowCall<'a>> {
    let order: &[&str] = match name {
        "TUMBLE" => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
        _ => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
    };
    let usage = || {
        Diagnostic::error("W0305", format!("arguments do not fit {name}")).at(call.span).label(match name {
            "TUMBLE" => "expected TUMBLE(TABLE t, DESCRIPTOR(time), size [, offset])",
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
        match (slot.as_str(), &arg.value) {
            ("DATA", FunctionArgValue::Table(table)) => data = Some(table),
            ("TIMECOL", FunctionArgValue::Descriptor(columns)) if columns.len() == 1 => time_column = columns.first(),
            ("SIZE", FunctionArgValue::Expr(e)) => sizes.size = Some((interval_ms(e)?, e.span)),
            ("SLIDE", FunctionArgValue::Expr(e)) => sizes.slide = Some((interval_ms(e)?, e.span)),
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

/// The window of the given sizes, within Flink's rules.
pub fn window_kind(name: &str, sizes: &WindowSizes, span: Span) -> Bound<WindowKind> {
    let positive = |given: Option<(i64, Span)>, what: &str| match given {
        Some((ms, _)) if ms > 0 => Ok(ms),
        Some((_, at)) => Err(vec![Diagnostic::error("W0308", format!("the {what} of {name} must be positive")).at(at)]),
        None => Err(vec![Diagnostic::error("W0305", format!("{name} lacks its {what}")).at(span)]),
    };
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
    let slide_ms = positive(sizes.slide, "slide")?;
    if size_ms % slide_ms != 0 {
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
pub fn window_columns(input: &Rel, window: &WindowNode) -> [RelColumn; 3] {
    let bound = |name: &str, property| RelColumn {
        window: Some(property),
        ..RelColumn::new(name, wiesel_core::DataType::not_null(TypeKind::Timestamp(3)))
    };
    let time = input.columns.get(window.time_column);
    let kind = match time.map(|c| &c.data_type.kind) {
        Some(TypeKind::TimestampLtz(_)) => TypeKind::TimestampLtz(3),
        _ => TypeKind::Timestamp(3),
    };
    let window_time = RelColumn {
        time: time.and_then(|c| c.time),
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

/// Takes the window table function out from under projections and filters: the window, the rows without it, and what each column of
/// `rel` is over those rows. `None` when there is no window below, or an expression computes with its bounds.
pub fn pull_window(rel: &Rel) -> Option<(WindowNode, Rel, Vec<Pulled>)> {
    match &rel.kind {
        RelKind::Window { input, window } => {
            let mut columns: Vec<Pulled> =
                crate::plan::rel::identity(&input.columns).into_iter().map(Pulled::Expr).collect();
            columns.extend(
                [WindowProperty::Start, WindowProperty::End, WindowProperty::Time].into_iter().map(Pulled::Property),
            );
            Some((window.clone(), (**input).clone(), columns))
        }
        RelKind::Calc { input, filter, project } => {
            let (window, mut below, columns) = pull_window(input)?;
            if let Some(filter) = filter {
                below = below.filter(substitute(filter, &columns)?);
            }
            let pulled = project
                .iter()
                .map(|e| match e {
                    ScalarExpr::Column { index, .. } => columns.get(*index).cloned(),
                    other => substitute(other, &columns).map(Pulled::Expr),
                })
                .collect::<Option<Vec<_>>>()?;
            Some((window, below, pulled))
        }
        _ => None,
    }
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

/// The refusal of an aggregation over window bounds that wiesel cannot run yet.
pub fn cascaded_refusal(span: Span) -> Diagnostic {
    refused("grouping again by the window columns of a windowed result", span)
        .hint("apply TUMBLE or HOP to its window_time instead")
}
