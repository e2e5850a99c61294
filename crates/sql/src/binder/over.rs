//! OVER aggregates in a select list.
//!
//! ```text
//! SELECT k, SUM(x) OVER w / COUNT(*) OVER w FROM t WINDOW w AS (PARTITION BY k ORDER BY ts ROWS 9 PRECEDING)
//!
//! Calc(k, $3 / $4)
//! '- Over(partition k, order ts, ROWS 9, [SUM(x), COUNT(*)]): t, $3, $4
//!    '- t
//! ```
//! The calls are found first and become columns of a node below; when the list is bound, each call is looked up by its place in the text.
//! Streaming takes one window per SELECT, in the ascending order of one time attribute, from rows before up to the current one.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::{AggregateCall, AggregateFunction, ScalarExpr, Session};
use wiesel_plan::{OverCall, OverFrame};

use super::expr::{Bound, ExprBinder, Grouping, ast_children, cast_to, coalesce, refused};
use super::rank::Columns;
use super::scope::Scope;
use super::window::interval_ms;
use crate::parser::ast::{
    Expr, ExprKind, FrameBound, FunctionArgValue, FunctionCall, NamedWindow, Over, WindowFrame, WindowSpec,
};
use crate::plan::rel::{Rel, RelColumn, RelKind, ascending_time};

/// The calls with an OVER clause in an expression.
pub(super) fn collect<'a>(expr: &'a Expr, calls: &mut Vec<&'a FunctionCall>) {
    if let ExprKind::Function(call) = &expr.kind
        && call.tail.over.is_some()
    {
        calls.push(call);
        return;
    }
    ast_children(expr, &mut |child| collect(child, calls));
}

#[derive(Debug, Clone, PartialEq)]
struct Window {
    partition: Vec<usize>,
    order: Option<usize>,
    frame: OverFrame,
}

/// Puts the calls into a node over `rel`, and makes them known to the scope.
pub(super) fn bind(
    rel: Rel,
    scope: &mut Scope,
    calls: &[&FunctionCall],
    windows: &[NamedWindow],
    session: &Session,
) -> Bound<Rel> {
    let inner = scope.clone();
    let mut columns = Columns::new(&inner);
    let mut window: Option<Window> = None;
    let mut bound: Vec<OverCall> = Vec::new();
    let mut places: Vec<(Span, usize, Option<Value>)> = Vec::new();
    for call in calls {
        let Some(over) = &call.tail.over else { continue };
        let (own, over_call, of_null) = bind_call(call, over, &rel, &mut columns, windows, session)?;
        match &window {
            Some(known) if *known != own => {
                return Err(vec![
                    refused("OVER windows that differ in one SELECT of a streaming query", call.span)
                        .hint("give all of them one PARTITION BY, ORDER BY and frame, or use a subquery for each"),
                ]);
            }
            _ => window = Some(own),
        }
        let place = bound.iter().position(|known| *known == over_call).unwrap_or_else(|| {
            bound.push(over_call);
            bound.len() - 1
        });
        places.push((call.span, place, of_null));
    }
    let Some(Window { partition, order, frame }) = window else { return Ok(rel) };
    let input = columns.over(rel);
    let width = input.columns.len();
    let mut output = input.columns.clone();
    output.extend(bound.iter().enumerate().map(|(i, call)| RelColumn::new(format!("w0$o{i}"), result_type(call))));
    let mut overs = Vec::with_capacity(places.len());
    for (span, place, of_null) in places {
        let data_type = bound.get(place).map_or_else(|| DataType::new(TypeKind::Null), result_type);
        overs.push((span, over_column(width + place, &data_type, of_null, span)?));
    }
    scope.set_overs(overs);
    let kind = RelKind::Over { input: Box::new(input), partition, order, frame, calls: bound };
    Ok(Rel { kind, columns: output })
}

fn result_type(call: &OverCall) -> DataType {
    match call {
        OverCall::Aggregate(call) => call.data_type.clone(),
        OverCall::Lag { data_type, .. } => data_type.clone(),
    }
}

fn bind_call(
    call: &FunctionCall,
    over: &Over,
    rel: &Rel,
    columns: &mut Columns<'_>,
    windows: &[NamedWindow],
    session: &Session,
) -> Bound<(Window, OverCall, Option<Value>)> {
    let name = call.name.last().value.to_ascii_uppercase();
    let (spec, partition, order) = columns.window(over, windows)?;
    let Some(time) = ascending_time(&rel.columns, &order) else {
        return Err(vec![not_by_time(&name, spec)]);
    };
    let is_fixed = matches!(name.as_str(), "ROW_NUMBER" | "LAG");
    if let (true, Some(frame)) = (is_fixed, &spec.frame) {
        return Err(vec![Diagnostic::error("W0305", format!("{name}() takes no ROWS or RANGE")).at(frame.span)]);
    }
    let frame = match &spec.frame {
        _ if name == "ROW_NUMBER" => OverFrame::Rows(None),
        None => OverFrame::Range(None),
        Some(frame) => bind_frame(frame, session)?,
    };
    let over_call = match name.as_str() {
        "ROW_NUMBER" if call.args.is_empty() => OverCall::Aggregate(AggregateCall {
            function: AggregateFunction::CountStar,
            args: Vec::new(),
            distinct: false,
            filter: None,
            data_type: DataType::not_null(TypeKind::BigInt),
        }),
        "LAG" => bind_lag(call, columns, session)?,
        "LEAD" | "RANK" | "DENSE_RANK" | "PERCENT_RANK" | "CUME_DIST" | "NTILE" | "ROW_NUMBER" => {
            return Err(vec![refused(&format!("{name}() OVER in a streaming query"), call.span)]);
        }
        _ => bind_aggregate(call, columns)?,
    };
    let of_null = match &over_call {
        OverCall::Lag { data_type, .. } => value_of_null(call, data_type, columns)?,
        OverCall::Aggregate(_) => None,
    };
    Ok((Window { partition, order: time, frame }, over_call, of_null))
}

/// The value of a call: a column of the node below, and what stands for its NULL.
pub(super) fn over_column(index: usize, data_type: &DataType, of_null: Option<Value>, span: Span) -> Bound<ScalarExpr> {
    let column = ScalarExpr::Column { index, data_type: data_type.clone() };
    let Some(value) = of_null else { return Ok(column) };
    let literal = ScalarExpr::Literal { value, data_type: data_type.with_nullable(false) };
    coalesce(vec![column, literal], span)
}

/// With a default that is not NULL the type of LAG and LEAD is NOT NULL in Flink, and a NULL that comes from a row itself is then what its
/// generated code keeps in a variable of such a type: -1, FALSE or an empty text.
pub(super) fn value_of_null(call: &FunctionCall, data_type: &DataType, columns: &Columns<'_>) -> Bound<Option<Value>> {
    let Some(FunctionArgValue::Expr(default)) = call.args.get(2).map(|arg| &arg.value) else { return Ok(None) };
    if columns.bind(default)?.data_type().nullable {
        return Ok(None);
    }
    Ok(Some(match data_type.kind {
        TypeKind::Char(_) | TypeKind::VarChar(_) => Value::String(String::new()),
        TypeKind::Boolean => Value::Boolean(false),
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt => Value::Int(-1),
        TypeKind::Date => Value::Date(-1),
        TypeKind::Time(_) => Value::Time(-1),
        TypeKind::IntervalYearMonth => Value::Months(-1),
        TypeKind::IntervalDayTime => Value::Millis(-1),
        TypeKind::Float => Value::Float(-1.0),
        TypeKind::Double => Value::Double(-1.0),
        _ => return Ok(None),
    }))
}

fn not_by_time(name: &str, spec: &WindowSpec) -> Diagnostic {
    let span = spec.order_by.first().map_or(spec.span, |item| item.expr.span);
    refused(&format!("{name}() OVER a window that is not ordered by one time attribute, ascending,"), span)
        .hint("ORDER BY the column of the WATERMARK, or a column AS PROCTIME(), and nothing else")
}

fn bind_frame(frame: &WindowFrame, session: &Session) -> Bound<OverFrame> {
    let ends_here = matches!(frame.end, None | Some(FrameBound::CurrentRow));
    if !ends_here {
        return Err(vec![refused("a frame that ends before or behind the current row", frame.span)]);
    }
    match (&frame.start, frame.rows) {
        (FrameBound::UnboundedPreceding, true) => Ok(OverFrame::Rows(None)),
        (FrameBound::UnboundedPreceding, false) => Ok(OverFrame::Range(None)),
        (FrameBound::CurrentRow, _) => {
            Err(vec![refused("a frame of the current row alone in a streaming query", frame.span)])
        }
        (FrameBound::Preceding(expr), true) => match constant(expr, session)? {
            Value::Int(rows) if rows >= 0 => Ok(OverFrame::Rows(Some(rows.unsigned_abs()))),
            _ => Err(vec![Diagnostic::error("W0305", "ROWS takes a whole number of rows").at(expr.span)]),
        },
        (FrameBound::Preceding(expr), false) => Ok(OverFrame::Range(Some(interval_ms(expr)?))),
        (FrameBound::Following(_) | FrameBound::UnboundedFollowing, _) => {
            Err(vec![refused("a frame that begins behind the current row", frame.span)])
        }
    }
}

pub(super) fn constant(expr: &Expr, session: &Session) -> Bound<Value> {
    let scope = Scope::default();
    match wiesel_expr::fold(ExprBinder::plain(&scope).bind(expr)?, session) {
        ScalarExpr::Literal { value, .. } => Ok(value),
        _ => Err(vec![Diagnostic::error("W0304", "expected a constant").at(expr.span)]),
    }
}

pub(super) fn bind_lag(call: &FunctionCall, columns: &mut Columns<'_>, session: &Session) -> Bound<OverCall> {
    let usage = || {
        vec![
            Diagnostic::error("W0305", "arguments do not fit LAG")
                .at(call.span)
                .label("expected LAG(value [, offset [, default]])"),
        ]
    };
    let args: Vec<&Expr> = call
        .args
        .iter()
        .map(|arg| if let FunctionArgValue::Expr(expr) = &arg.value { Ok(expr) } else { Err(usage()) })
        .collect::<Bound<_>>()?;
    let (value, rest) = args.split_first().ok_or_else(usage)?;
    let value = columns.bind(value)?;
    let data_type = value.data_type().with_nullable(true);
    let offset = match rest.first() {
        None => 1,
        Some(expr) => match constant(expr, session)? {
            Value::Int(rows) if rows >= 0 => rows.unsigned_abs(),
            _ => return Err(usage()),
        },
    };
    let default = match rest {
        [] | [_] => None,
        [_, expr] => {
            let bound = columns.bind(expr)?;
            Some(columns.place_of(cast_to(bound, &data_type)))
        }
        _ => return Err(usage()),
    };
    Ok(OverCall::Lag { column: columns.place_of(value), offset, default, data_type })
}

/// An aggregate as below a GROUP BY, without its OVER.
pub(super) fn bind_aggregate(call: &FunctionCall, columns: &mut Columns<'_>) -> Bound<OverCall> {
    if let Some(filter) = &call.tail.filter {
        return Err(vec![refused("FILTER of an OVER aggregate", filter.span)]);
    }
    let mut plain = call.clone();
    plain.tail.over = None;
    let expr = Expr { span: call.span, kind: ExprKind::Function(Box::new(plain)) };
    let scope = columns.scope();
    let mut grouping = Grouping {
        input: scope,
        keys: Vec::new(),
        sets: Vec::new(),
        aggregates: Vec::new(),
        window: None,
        properties: Vec::new(),
    };
    ExprBinder { scope, grouping: Some(&mut grouping), pattern: None }.bind(&expr)?;
    let [aggregate] = grouping.aggregates.as_slice() else {
        return Err(vec![refused(&format!("{}() OVER", call.name.last().value), call.span)]);
    };
    let args = aggregate.args.iter().map(|arg| columns.place_of(arg.clone())).collect();
    Ok(OverCall::Aggregate(aggregate.over(args, None)))
}
