//! Top-N: ROW_NUMBER() in a select list, and the filter on it that gives it bounds.
//!
//! ```text
//! SELECT .. FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY p ORDER BY o) AS rn FROM t) WHERE rn <= 10 AND x > 0
//!
//! Filter(x > 0)                             Filter(x > 0)
//! '- Filter(rn <= 10)                       '- Rank(p, o, 1..10): input, rn
//!    '- RowNumber(p, o): input, rn    =>       '- input
//! ```
//! Number one by a time attribute is deduplication, a node of its own; with both bounds of a window in PARTITION BY it is a Top-N per window. A ROW_NUMBER() that no filter bounds is left as an OVER aggregate.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::{ScalarExpr, Session};
use wiesel_plan::{RankEnd, SortColumn};

use super::expr::{Bound, ExprBinder, refused};
use super::scope::Scope;
use super::window;
use crate::parser::ast::{Expr, ExprKind, FunctionCall, NamedWindow, OrderItem, Over, WindowSpec};
use crate::plan::rel::{Rel, RelColumn, RelKind, TimeAttribute, ascending_time, identity, is_outer};

/// The call and its window when an expression is `ROW_NUMBER() OVER ..` and nothing more.
pub fn row_number_call(expr: &Expr) -> Option<(&FunctionCall, &Over)> {
    let ExprKind::Function(call) = &expr.kind else { return None };
    let over = call.tail.over.as_ref()?;
    call.name.last().value.eq_ignore_ascii_case("ROW_NUMBER").then_some((call, over))
}

/// The window of an OVER clause.
pub fn window_spec<'a>(over: &'a Over, windows: &'a [NamedWindow]) -> Bound<&'a WindowSpec> {
    match over {
        Over::Spec(spec) => Ok(spec),
        Over::Named(name) => match windows.iter().find(|w| w.name.value == name.value) {
            Some(window) => Ok(&window.spec),
            None => Err(vec![
                Diagnostic::error("W0301", format!("no window `{}`", name.value))
                    .at(name.span)
                    .did_you_mean(&name.value, windows.iter().map(|w| w.name.value.as_str())),
            ]),
        },
    }
}

/// Expressions that must be columns: those of the input, and computed ones behind them.
pub struct Columns<'a> {
    scope: &'a Scope,
    computed: Vec<ScalarExpr>,
}

impl<'a> Columns<'a> {
    /// No computed column yet.
    pub fn new(scope: &'a Scope) -> Self {
        Columns { scope, computed: Vec::new() }
    }

    /// The input's scope.
    pub fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// An expression over the input.
    pub fn bind(&self, expr: &Expr) -> Bound<ScalarExpr> {
        ExprBinder::plain(self.scope).bind(expr)
    }

    /// The place of an expression's column.
    pub fn place(&mut self, expr: &Expr) -> Bound<usize> {
        Ok(self.place_of(self.bind(expr)?))
    }

    /// The place of a bound expression's column.
    pub fn place_of(&mut self, bound: ScalarExpr) -> usize {
        if let ScalarExpr::Column { index, .. } = bound
            && !is_outer(index)
        {
            return index;
        }
        let wanted = format!("{bound:?}");
        let known = self.computed.iter().position(|e| format!("{e:?}") == wanted);
        self.scope.columns().len()
            + known.unwrap_or_else(|| {
                self.computed.push(bound);
                self.computed.len() - 1
            })
    }

    /// ORDER BY as columns.
    pub fn order(&mut self, items: &[OrderItem]) -> Bound<Vec<SortColumn>> {
        items.iter().map(|item| Ok(sort_key(self.place(&item.expr)?, item))).collect()
    }

    /// The window of an OVER clause: as written, PARTITION BY and ORDER BY as columns.
    pub fn window<'w>(
        &mut self,
        over: &'w Over,
        windows: &'w [NamedWindow],
    ) -> Bound<(&'w WindowSpec, Vec<usize>, Vec<SortColumn>)> {
        let spec = window_spec(over, windows)?;
        if let Some(base) = &spec.base {
            return Err(vec![refused("a window that starts from another named window", base.span)]);
        }
        let partition = spec.partition_by.iter().map(|expr| self.place(expr)).collect::<Bound<Vec<usize>>>()?;
        let order = self.order(&spec.order_by)?;
        Ok((spec, partition, order))
    }

    /// The input with the computed columns behind its own.
    pub fn over(self, rel: Rel) -> Rel {
        if self.computed.is_empty() {
            return rel;
        }
        let names =
            rel.columns.iter().map(|c| c.name.clone()).chain((0..self.computed.len()).map(|i| format!("$o{i}")));
        let items = names.zip(identity(&rel.columns).into_iter().chain(self.computed)).collect();
        rel.project(items)
    }
}

/// A key of ORDER BY. Where the text is silent NULL is the smallest value: first when ascending, last when descending.
pub fn sort_key(column: usize, item: &OrderItem) -> SortColumn {
    let nulls_first = item.nulls_first.unwrap_or(!item.descending);
    SortColumn { column, descending: item.descending, nulls_first }
}

/// Appends ROW_NUMBER() as the last column.
pub fn row_number(rel: &Rel, scope: &Scope, call: &FunctionCall, spec: &WindowSpec) -> Bound<Rel> {
    if spec.order_by.is_empty() {
        return Err(vec![
            Diagnostic::error("W0305", "ROW_NUMBER() needs an ORDER BY in its OVER clause").at(spec.span),
        ]);
    }
    let mut columns = Columns::new(scope);
    let partition = spec.partition_by.iter().map(|expr| columns.place(expr)).collect::<Bound<Vec<usize>>>()?;
    let order = columns.order(&spec.order_by)?;
    let width = rel.columns.len();
    let input = columns.over(rel.clone());
    let number =
        RelColumn { is_row_number: true, ..RelColumn::new("ROW_NUMBER", DataType::not_null(TypeKind::BigInt)) };
    let mut output = input.columns.clone();
    output.push(number);
    let last = output.len() - 1;
    let numbered =
        Rel { kind: RelKind::RowNumber { input: Box::new(input), partition, order, span: call.span }, columns: output };
    if last == width {
        return Ok(numbered);
    }
    let items = identity(&numbered.columns).into_iter().zip(&numbered.columns).enumerate();
    let items = items.filter(|(i, _)| *i < width || *i == last).map(|(_, (e, c))| (c.name.clone(), e)).collect();
    Ok(numbered.project(items))
}

/// The ranks that a filter lets through.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    start: i64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Constant(i64),
    Column(usize),
}

/// A filter; conditions on a row number become the bounds of a Top-N.
pub fn filter(rel: Rel, predicate: ScalarExpr, session: &Session, span: Span) -> Bound<Rel> {
    let number = rel.columns.iter().position(|c| c.is_row_number);
    let mut read = Vec::new();
    predicate.columns_read(&mut read);
    let Some(number) = number.filter(|number| read.contains(number)) else { return Ok(rel.filter(predicate)) };
    let conjuncts = match predicate.clone() {
        ScalarExpr::And(parts) => parts,
        other => vec![other],
    };
    let mut bounds = Bounds { start: 1, end: None };
    let mut rest = Vec::new();
    for part in conjuncts {
        if !narrow(&mut bounds, wiesel_expr::fold(part.clone(), session), number) {
            rest.push(part);
        }
    }
    let Some(end) = bounds.end else {
        // Numbers without an end: an OVER aggregate when the order is that of time, and its filter.
        return Ok(rel.filter(predicate));
    };
    let mut rel = rank(rel, number, bounds.start, end, span)?;
    if let Some(column) = rel.columns.get_mut(number) {
        column.is_row_number = false;
    }
    Ok(match rest.len() {
        0 => rel,
        1 => rel.filter(rest.remove(0)),
        _ => rel.filter(ScalarExpr::And(rest)),
    })
}

/// Takes one condition into the bounds, if it is a condition on the row number that bounds can say.
fn narrow(bounds: &mut Bounds, part: ScalarExpr, number: usize) -> bool {
    let parts = match part {
        ScalarExpr::And(parts) => parts,
        other => vec![other],
    };
    let mut narrowed = *bounds;
    for part in &parts {
        let ScalarExpr::Call { function, args, .. } = part else { return false };
        let [left, right] = args.as_slice() else { return false };
        let (operator, other) = match (plain_column(left), plain_column(right)) {
            (Some(column), _) if column == number => (function.name(), right),
            (_, Some(column)) if column == number => (mirrored(function.name()), left),
            _ => return false,
        };
        let constant = match other {
            ScalarExpr::Literal { value: Value::Int(value), .. } => Some(*value),
            _ => None,
        };
        let column = plain_column(other);
        match (operator, constant, column) {
            ("=", Some(value), _) => {
                narrowed.start = narrowed.start.max(value);
                narrowed.end = lower(narrowed.end, value);
            }
            ("<=", Some(value), _) => narrowed.end = lower(narrowed.end, value),
            ("<", Some(value), _) => narrowed.end = lower(narrowed.end, value.saturating_sub(1)),
            (">=", Some(value), _) => narrowed.start = narrowed.start.max(value),
            (">", Some(value), _) => narrowed.start = narrowed.start.max(value.saturating_add(1)),
            ("<=", None, Some(column)) if narrowed.end.is_none() => narrowed.end = Some(End::Column(column)),
            _ => return false,
        }
    }
    *bounds = narrowed;
    true
}

fn lower(end: Option<End>, value: i64) -> Option<End> {
    match end {
        Some(End::Constant(known)) => Some(End::Constant(known.min(value))),
        _ => Some(End::Constant(value)),
    }
}

/// A column, seen through casts that widen it.
fn plain_column(expr: &ScalarExpr) -> Option<usize> {
    match expr {
        ScalarExpr::Column { index, .. } => Some(*index),
        ScalarExpr::Cast { input, data_type, .. } if matches!(data_type.kind, TypeKind::BigInt) => plain_column(input),
        _ => None,
    }
}

fn mirrored(operator: &str) -> &'static str {
    match operator {
        "=" => "=",
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        _ => "",
    }
}

/// Puts bounds onto the row number that is column `number`.
fn rank(rel: Rel, number: usize, start: i64, end: End, span: Span) -> Bound<Rel> {
    let Rel { kind, columns } = rel;
    match kind {
        RelKind::RowNumber { input, partition, order, span } => {
            if window::carries_window(&input, &partition) {
                let End::Constant(last) = end else {
                    return Err(vec![refused("a Top-N per window whose last rank is a column", span)]);
                };
                return window::rank(input, &partition, order, (start, last), columns, span);
            }
            let one = matches!((start, end), (1, End::Constant(1)));
            if let ([key], true) = (order.as_slice(), one)
                && let Some(time) = input.columns.get(key.column).and_then(|c| c.time)
            {
                let order = (time == TimeAttribute::Rowtime).then_some(key.column);
                let kept = input.columns.clone();
                let kind = RelKind::Deduplicate { input, keys: partition, order, keep_last: key.descending };
                return Ok(with_constant_number(Rel { kind, columns: kept }, columns, 1));
            }
            let end_rank = match end {
                End::Constant(value) => RankEnd::Constant(u64::try_from(value).unwrap_or(0)),
                End::Column(column) => {
                    let found = input.columns.get(column).map(|c| &c.data_type.kind);
                    if !matches!(found, Some(TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt)) {
                        return Err(vec![refused("a Top-N whose last rank is not a column of integers", span)]);
                    }
                    RankEnd::Column(column)
                }
            };
            let start_rank = u64::try_from(start).unwrap_or(1).max(1);
            if matches!(end_rank, RankEnd::Column(_)) && start_rank > 1 {
                return Err(vec![refused("a Top-N from a constant rank to a rank out of a column", span)]);
            }
            let ranked = |columns| Rel {
                kind: RelKind::Rank { input, partition, order, start: start_rank, end: end_rank, is_limit: false },
                columns,
            };
            match end {
                End::Constant(value) if value == start => {
                    let outer = columns.clone();
                    let all = ranked(columns);
                    let items = identity(&all.columns).into_iter().zip(&all.columns);
                    let mut items: Vec<_> = items.map(|(e, c)| (c.name.clone(), e)).collect();
                    items.pop();
                    let kept = all.project(items);
                    Ok(with_constant_number(kept, outer, value))
                }
                _ => Ok(ranked(columns)),
            }
        }
        RelKind::Calc { input, filter, project } => {
            let (Some(index), end) = (project.get(number).and_then(plain_column), translate(end, &project)) else {
                return Err(vec![not_bounded(span)]);
            };
            let Some(end) = end else {
                return Err(vec![
                    refused("a Top-N whose last rank is computed beside its ROW_NUMBER()", span)
                        .hint("compute the last rank in a subquery below"),
                ]);
            };
            let input = Box::new(rank(*input, index, start, end, span)?);
            Ok(Rel { kind: RelKind::Calc { input, filter, project }, columns })
        }
        _ => Err(vec![not_bounded(span)]),
    }
}

fn translate(end: End, project: &[ScalarExpr]) -> Option<End> {
    match end {
        End::Constant(value) => Some(End::Constant(value)),
        End::Column(column) => project.get(column).and_then(plain_column).map(End::Column),
    }
}

/// The number is known: it is no output of the node below but a constant.
fn with_constant_number(rel: Rel, columns: Vec<RelColumn>, number: i64) -> Rel {
    let mut project = identity(&rel.columns);
    let data_type = DataType::not_null(TypeKind::BigInt);
    project.push(ScalarExpr::Literal { value: Value::Int(number), data_type });
    Rel { kind: RelKind::Calc { input: Box::new(rel), filter: None, project }, columns }
}

fn not_bounded(span: Span) -> Diagnostic {
    refused("a filter on ROW_NUMBER() at this place", span)
        .hint("write it right above the query that numbers: SELECT .. FROM (SELECT *, ROW_NUMBER() OVER (..) AS rn ..) WHERE rn <= 10")
}

/// The refusal of a ROW_NUMBER() that is neither bounded nor in order of time.
pub fn unbounded(span: Span) -> Diagnostic {
    refused("ROW_NUMBER() without an upper bound", span)
        .hint("filter it in an outer query: WHERE rn <= 10; or order by a time attribute alone")
}

/// The first row number that nothing bounds and that is not in order of time.
pub fn row_number_left(rel: &Rel) -> Option<Span> {
    match &rel.kind {
        RelKind::RowNumber { input, order, span, .. } if ascending_time(&input.columns, order).is_none() => Some(*span),
        _ => rel.inputs().into_iter().find_map(row_number_left),
    }
}
