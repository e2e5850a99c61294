//! OVER in batch mode: any order, any frame, several windows in one SELECT. Each window is a node of its own.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::{ScalarExpr, Session};
use wiesel_plan::{BatchFrame, BatchOverCall, BatchOverNode, FrameUnit, OverCall};

use super::expr::{Bound, ExprBinder, refused};
use super::over::{bind_aggregate, bind_lag, constant, over_column, value_of_null};
use super::rank::Columns;
use super::scope::Scope;
use crate::parser::ast::{Expr, FrameBound, FunctionArgValue, FunctionCall, NamedWindow, WindowSpec};
use crate::plan::rel::{Rel, RelColumn, RelKind};

const MS_PER_DAY: i64 = 86_400_000;

/// Puts the calls into nodes over `rel`, and makes them known to the scope.
pub(super) fn bind(
    rel: Rel,
    scope: &mut Scope,
    calls: &[&FunctionCall],
    windows: &[NamedWindow],
    session: &Session,
) -> Bound<Rel> {
    let inner = scope.clone();
    let mut columns = Columns::new(&inner);
    // Each node with the place of every call, and what it gives where its own value is NULL.
    type Places = Vec<(Span, Option<Value>)>;
    let mut nodes: Vec<(BatchOverNode, Places)> = Vec::new();
    for call in calls {
        let Some(over) = &call.tail.over else { continue };
        let (spec, partition, order) = columns.window(over, windows)?;
        let (bound, of_null) = bind_call(call, spec, &mut columns, session)?;
        match nodes.iter_mut().find(|(node, _)| node.partition == partition && node.order == order) {
            Some((node, spans)) => {
                node.calls.push(bound);
                spans.push((call.span, of_null));
            }
            None => nodes.push((BatchOverNode { partition, order, calls: vec![bound] }, vec![(call.span, of_null)])),
        }
    }
    let mut rel = columns.over(rel);
    let mut overs = Vec::new();
    for (node, spans) in nodes {
        let mut output: Vec<RelColumn> = rel.columns.iter().map(|c| RelColumn { time: None, ..c.clone() }).collect();
        for (call, (span, of_null)) in node.calls.iter().zip(spans) {
            let data_type = result_type(call);
            overs.push((span, over_column(output.len(), &data_type, of_null, span)?));
            output.push(RelColumn::new(format!("w0$o{}", overs.len()), data_type));
        }
        rel = Rel { kind: RelKind::BatchOver { input: Box::new(rel), over: node }, columns: output };
    }
    scope.set_overs(overs);
    Ok(rel)
}

fn result_type(call: &BatchOverCall) -> DataType {
    match call {
        BatchOverCall::Aggregate { call, .. } => call.data_type.clone(),
        BatchOverCall::Offset { data_type, .. } => data_type.clone(),
        BatchOverCall::RowNumber | BatchOverCall::Rank | BatchOverCall::DenseRank => {
            DataType::not_null(TypeKind::BigInt)
        }
        BatchOverCall::PercentRank | BatchOverCall::CumeDist => DataType::not_null(TypeKind::Double),
        BatchOverCall::Ntile(_) => DataType::not_null(TypeKind::Int),
    }
}

/// A call, and what stands for NULL in its result where Flink's has no NULL.
fn bind_call(
    call: &FunctionCall,
    spec: &WindowSpec,
    columns: &mut Columns<'_>,
    session: &Session,
) -> Bound<(BatchOverCall, Option<Value>)> {
    let name = call.name.last().value.to_ascii_uppercase();
    let ranking = match name.as_str() {
        "ROW_NUMBER" => Some(BatchOverCall::RowNumber),
        "RANK" => Some(BatchOverCall::Rank),
        "DENSE_RANK" => Some(BatchOverCall::DenseRank),
        "PERCENT_RANK" => Some(BatchOverCall::PercentRank),
        "CUME_DIST" => Some(BatchOverCall::CumeDist),
        _ => None,
    };
    if let Some(ranking) = ranking {
        if spec.order_by.is_empty() {
            return Err(vec![
                Diagnostic::error("W0305", format!("{name}() needs an ORDER BY in its OVER clause")).at(call.span),
            ]);
        }
        return Ok((ranking, None));
    }
    match name.as_str() {
        "NTILE" => return Ok((BatchOverCall::Ntile(buckets(call, session)?), None)),
        "LAG" | "LEAD" => return bind_offset(call, name == "LAG", columns, session),
        _ => {}
    }
    let frame = bind_frame(spec, columns, session)?;
    match bind_aggregate(call, columns)? {
        OverCall::Aggregate(call) => Ok((BatchOverCall::Aggregate { call, frame }, None)),
        OverCall::Lag { .. } => Err(vec![refused(&format!("{name}() OVER"), call.span)]),
    }
}

fn bind_offset(
    call: &FunctionCall,
    is_lag: bool,
    columns: &mut Columns<'_>,
    session: &Session,
) -> Bound<(BatchOverCall, Option<Value>)> {
    let OverCall::Lag { column, offset, default, data_type } = bind_lag(call, columns, session)? else {
        return Err(vec![refused("such a call OVER", call.span)]);
    };
    let of_null = value_of_null(call, &data_type, columns)?;
    let rows = i64::try_from(offset).unwrap_or(i64::MAX);
    let rows = if is_lag { -rows } else { rows };
    Ok((BatchOverCall::Offset { column, rows, default, data_type }, of_null))
}

fn buckets(call: &FunctionCall, session: &Session) -> Bound<u64> {
    if let [arg] = call.args.as_slice()
        && let FunctionArgValue::Expr(expr) = &arg.value
        && let Value::Int(count) = constant(expr, session)?
        && count >= 0
    {
        return Ok(count.unsigned_abs());
    }
    Err(vec![Diagnostic::error("W0305", "NTILE takes a positive number of buckets").at(call.span)])
}

fn bind_frame(spec: &WindowSpec, columns: &Columns<'_>, session: &Session) -> Bound<BatchFrame> {
    let Some(frame) = &spec.frame else {
        // Without an order all rows are peers.
        return Ok(BatchFrame { unit: FrameUnit::Peers, start: None, end: Some(0) });
    };
    let end = frame.end.clone().unwrap_or(FrameBound::CurrentRow);
    let is_reversed = matches!(
        (&frame.start, &end),
        (FrameBound::UnboundedFollowing, _)
            | (_, FrameBound::UnboundedPreceding)
            | (FrameBound::Following(_), FrameBound::Preceding(_) | FrameBound::CurrentRow)
            | (FrameBound::CurrentRow, FrameBound::Preceding(_))
    );
    if is_reversed {
        return Err(vec![Diagnostic::error("W0305", "the frame ends before it begins").at(frame.span)]);
    }
    let distance = |bound: &FrameBound| -> Bound<Option<(i128, u8)>> {
        let number = |expr: &Expr| match frame.rows {
            true => rows_of(expr, session).map(|rows| (rows, 0)),
            false => distance_of(expr, spec, columns, session),
        };
        Ok(match bound {
            FrameBound::UnboundedPreceding | FrameBound::UnboundedFollowing => None,
            FrameBound::CurrentRow => Some((0, 0)),
            FrameBound::Preceding(expr) => Some(number(expr)?).map(|(value, scale)| (-value, scale)),
            FrameBound::Following(expr) => Some(number(expr)?),
        })
    };
    let has_distance =
        [&frame.start, &end].iter().any(|b| matches!(b, FrameBound::Preceding(_) | FrameBound::Following(_)));
    let (start, end) = (distance(&frame.start)?, distance(&end)?);
    let scale = start.iter().chain(&end).map(|(_, scale)| *scale).max().unwrap_or(0);
    let scaled = |(value, own): (i128, u8)| value.saturating_mul(10_i128.saturating_pow((scale - own).into()));
    let unit = match (frame.rows, has_distance) {
        (true, _) => FrameUnit::Rows,
        (false, false) => FrameUnit::Peers,
        (false, true) => FrameUnit::Distance { scale },
    };
    Ok(BatchFrame { unit, start: start.map(scaled), end: end.map(scaled) })
}

fn rows_of(expr: &Expr, session: &Session) -> Bound<i128> {
    match constant(expr, session)? {
        Value::Int(rows) if rows >= 0 => Ok(rows.into()),
        _ => Err(vec![Diagnostic::error("W0305", "ROWS takes a whole number of rows").at(expr.span)]),
    }
}

/// The bound of a RANGE frame, a number with its scale, that fits the one key of the order.
fn distance_of(expr: &Expr, spec: &WindowSpec, columns: &Columns<'_>, session: &Session) -> Bound<(i128, u8)> {
    let [key] = spec.order_by.as_slice() else {
        return Err(vec![
            Diagnostic::error("W0305", "RANGE with a distance takes one column in ORDER BY").at(expr.span),
        ]);
    };
    let key = columns.bind(&key.expr)?.data_type();
    let scope = Scope::default();
    let literal = wiesel_expr::fold(ExprBinder::plain(&scope).bind(expr)?, session);
    let distance = match (&literal, &key.kind) {
        (ScalarExpr::Literal { value: Value::Int(number), .. }, kind) if kind.is_numeric() => {
            Some(((*number).into(), 0))
        }
        (ScalarExpr::Literal { value: Value::Decimal(digits), data_type }, kind) if kind.is_numeric() => {
            match data_type.kind {
                TypeKind::Decimal { scale, .. } => Some((*digits, scale)),
                _ => None,
            }
        }
        // A DATE counts whole days.
        (ScalarExpr::Literal { value: Value::Millis(ms), .. }, TypeKind::Date) => Some(((ms / MS_PER_DAY).into(), 0)),
        (
            ScalarExpr::Literal { value: Value::Millis(ms), .. },
            TypeKind::Time(_) | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_),
        ) => Some(((*ms).into(), 0)),
        _ => None,
    };
    distance.filter(|(value, _)| *value >= 0).ok_or_else(|| {
        vec![
            Diagnostic::error("W0305", "the distance of a RANGE does not fit its ORDER BY").at(expr.span).label(
                format!("expected a number or an interval of days to seconds for an order of type {}", key.kind),
            ),
        ]
    })
}
