//! OVER in batch mode: any order, any frame, several windows in one SELECT. Each window is a node of its own.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::{ScalarExpr, Session};
use wiesel_plan::{BatchFrame, BatchOverCall, BatchOverNode, OverCall, SortColumn};

use super::expr::{Bound, refused};
use super::over::{bind_aggregate, bind_lag, constant};
use super::rank::Columns;
use super::scope::Scope;
use crate::parser::ast::{FrameBound, FunctionArgValue, FunctionCall, NamedWindow, WindowFrame};
use crate::plan::rel::{Rel, RelColumn, RelKind};

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
    let mut nodes: Vec<(BatchOverNode, Vec<Span>)> = Vec::new();
    for call in calls {
        let Some(over) = &call.tail.over else { continue };
        let (spec, partition, order) = columns.window(over, windows)?;
        let bound = bind_call(call, spec.frame.as_ref(), &order, &mut columns, session)?;
        match nodes.iter_mut().find(|(node, _)| node.partition == partition && node.order == order) {
            Some((node, spans)) => {
                node.calls.push(bound);
                spans.push(call.span);
            }
            None => nodes.push((BatchOverNode { partition, order, calls: vec![bound] }, vec![call.span])),
        }
    }
    let mut rel = columns.over(rel);
    let mut overs = Vec::new();
    for (node, spans) in nodes {
        let mut output: Vec<RelColumn> = rel.columns.iter().map(|c| RelColumn { time: None, ..c.clone() }).collect();
        for (call, span) in node.calls.iter().zip(spans) {
            let data_type = result_type(call);
            overs.push((span, ScalarExpr::Column { index: output.len(), data_type: data_type.clone() }));
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

fn bind_call(
    call: &FunctionCall,
    frame: Option<&WindowFrame>,
    order: &[SortColumn],
    columns: &mut Columns<'_>,
    session: &Session,
) -> Bound<BatchOverCall> {
    let name = call.name.last().value.to_ascii_uppercase();
    let ranking = match name.as_str() {
        "ROW_NUMBER" => Some(BatchOverCall::RowNumber),
        "RANK" => Some(BatchOverCall::Rank),
        "DENSE_RANK" => Some(BatchOverCall::DenseRank),
        "PERCENT_RANK" => Some(BatchOverCall::PercentRank),
        "CUME_DIST" => Some(BatchOverCall::CumeDist),
        "NTILE" => Some(BatchOverCall::Ntile(buckets(call, session)?)),
        "LAG" | "LEAD" => match bind_lag(call, columns, session)? {
            OverCall::Lag { column, offset, default, data_type } => {
                let rows = i64::try_from(offset).unwrap_or(i64::MAX);
                let rows = if name == "LAG" { -rows } else { rows };
                Some(BatchOverCall::Offset { column, rows, default, data_type })
            }
            OverCall::Aggregate(_) => None,
        },
        _ => None,
    };
    if let Some(ranking) = ranking {
        if order.is_empty() {
            return Err(vec![
                Diagnostic::error("W0305", format!("{name}() needs an ORDER BY in its OVER clause")).at(call.span),
            ]);
        }
        return Ok(ranking);
    }
    let frame = match frame {
        Some(frame) => bind_frame(frame, session)?,
        // Without an order all rows are peers.
        None => BatchFrame { rows: false, start: None, end: Some(0) },
    };
    match bind_aggregate(call, columns)? {
        OverCall::Aggregate(call) => Ok(BatchOverCall::Aggregate { call, frame }),
        OverCall::Lag { .. } => Err(vec![refused(&format!("{name}() OVER"), call.span)]),
    }
}

fn buckets(call: &FunctionCall, session: &Session) -> Bound<u64> {
    if let [arg] = call.args.as_slice()
        && let FunctionArgValue::Expr(expr) = &arg.value
        && let Value::Int(count) = constant(expr, session)?
        && count > 0
    {
        return Ok(count.unsigned_abs());
    }
    Err(vec![Diagnostic::error("W0305", "NTILE takes a positive number of buckets").at(call.span)])
}

fn bind_frame(frame: &WindowFrame, session: &Session) -> Bound<BatchFrame> {
    let offset = |bound: &FrameBound| -> Bound<Option<i64>> {
        let rows = |expr| match constant(expr, session)? {
            Value::Int(rows) if rows >= 0 && frame.rows => Ok(rows),
            _ => Err(vec![refused("RANGE with a distance in batch mode", frame.span).hint("use ROWS")]),
        };
        Ok(match bound {
            FrameBound::UnboundedPreceding | FrameBound::UnboundedFollowing => None,
            FrameBound::CurrentRow => Some(0),
            FrameBound::Preceding(expr) => Some(-rows(expr)?),
            FrameBound::Following(expr) => Some(rows(expr)?),
        })
    };
    let start = offset(&frame.start)?;
    let end = frame.end.as_ref().map_or(Ok(Some(0)), offset)?;
    let is_reversed = matches!(frame.start, FrameBound::UnboundedFollowing)
        || matches!(frame.end, Some(FrameBound::UnboundedPreceding))
        || matches!((start, end), (Some(start), Some(end)) if start > end);
    if is_reversed {
        return Err(vec![Diagnostic::error("W0305", "the frame ends before it begins").at(frame.span)]);
    }
    Ok(BatchFrame { rows: frame.rows, start, end })
}
