//! MATCH_RECOGNIZE: a row pattern becomes a chain of variables, and every expression of it one over slots.
//!
//! Inside the clause a name means something else than elsewhere: `A.price` is a column of the last row matched to `A`, `price` one of the
//! last row of the match (in DEFINE: of the row at hand), FIRST and LAST choose other rows, and aggregates run over the rows of one
//! variable. [`PatternScope`] gives the expression binder these meanings and collects the slots. The rules of what may stand where are
//! Flink's; a part of SQL's MATCH_RECOGNIZE that Flink does not run is refused by name.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::{AggregateFunction, ScalarExpr};
use wiesel_plan::{
    AfterMatchSkip, MatchRecognizeNode, PatternExpr, PatternSlot, PatternVariable, SlotSource, SortColumn,
};

use super::expr::{Bound, Diagnostics, ExprBinder, boolean, call, is_aggregate_name, refused, wrong_arguments};
use super::scope::Scope;
use crate::catalog::FunctionScope;
use crate::parser::ast::{
    AfterMatch, ExprKind, FunctionArgValue, FunctionCall, Ident, MatchRecognize, OrderItem, RowPattern,
};
use crate::plan::rel::{Rel, RelColumn, RelKind, TimeAttribute};

/// The rows of a variable; all rows of the match without one.
type Variable = Option<usize>;

/// What a name means at the moment.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// A row by its position.
    Row { from_first: bool, offset: usize },
    /// The argument of an aggregate: the row that is added.
    Argument,
}

/// What names and calls mean inside of DEFINE and MEASURES.
#[derive(Debug)]
pub struct PatternScope<'a> {
    input: &'a Scope,
    variables: &'a [String],
    /// The variable that is being defined; `None` in MEASURES.
    current: Variable,
    is_measure: bool,
    reading: Reading,
    /// The variables read since the innermost FIRST, LAST or aggregate began.
    read: Vec<Variable>,
    slots: Vec<PatternSlot>,
    reads_match_time: bool,
}

impl<'a> PatternScope<'a> {
    fn new(input: &'a Scope, variables: &'a [String], current: Variable) -> Self {
        PatternScope {
            input,
            variables,
            current,
            is_measure: current.is_none(),
            reading: Reading::Row { from_first: false, offset: 0 },
            read: Vec::new(),
            slots: Vec::new(),
            reads_match_time: false,
        }
    }

    /// A column, with or without a variable in front, and fields of it.
    pub fn name(&mut self, parts: &[Ident], span: Span) -> Bound<ScalarExpr> {
        let (variable, rest) = match parts {
            [first, rest @ ..] if !rest.is_empty() => {
                match self.variables.iter().position(|v| *v == first.value) {
                    Some(variable) => (Some(variable), rest),
                    // A field of a row column.
                    None if self.input.columns().iter().any(|c| c.name == first.value) => (None, parts),
                    None => {
                        let names = self.variables.iter().map(String::as_str);
                        return Err(vec![
                            Diagnostic::error("W0301", format!("no pattern variable `{}`", first.value))
                                .at(first.span)
                                .label(format!("expected one of: {}", self.variables.join(", ")))
                                .did_you_mean(&first.value, names),
                        ]);
                    }
                }
            }
            _ => (None, parts),
        };
        let bound = self.input.resolve(rest, span).map_err(|e| vec![e])?;
        self.read.push(variable);
        Ok(bound.transform(&mut |e| match e {
            ScalarExpr::Column { index, data_type } => self.column(variable, index, data_type),
            other => other,
        }))
    }

    fn column(&mut self, variable: Variable, column: usize, data_type: DataType) -> ScalarExpr {
        let Reading::Row { from_first, offset } = self.reading else {
            return ScalarExpr::Column { index: column, data_type };
        };
        let is_at_hand = !self.is_measure && !from_first && offset == 0;
        if is_at_hand && (variable.is_none() || variable == self.current) {
            return self.slot(SlotSource::Current { column }, data_type);
        }
        // There may be no such row.
        self.slot(SlotSource::Row { variable, from_first, offset, column }, data_type.with_nullable(true))
    }

    fn slot(&mut self, source: SlotSource, data_type: DataType) -> ScalarExpr {
        let wanted = format!("{source:?}");
        let index = match self.slots.iter().position(|slot| format!("{:?}", slot.source) == wanted) {
            Some(index) => index,
            None => {
                self.slots.push(PatternSlot { source, data_type: data_type.clone() });
                self.slots.len() - 1
            }
        };
        ScalarExpr::Column { index, data_type }
    }

    /// The one variable read since `from`, as FIRST, LAST and aggregates need it.
    fn one_variable(&mut self, from: usize, name: &str, span: Span) -> Bound<Variable> {
        let mut read: Vec<Variable> = self.read.drain(from..).collect();
        read.dedup();
        match read.as_slice() {
            [one] => Ok(*one),
            [] => Err(vec![
                Diagnostic::error("W0305", format!("{name} reads no column"))
                    .at(span)
                    .label("expected a column of a pattern variable"),
            ]),
            _ => Err(vec![
                Diagnostic::error("W0305", format!("multiple pattern variables in {name}"))
                    .at(span)
                    .label("expected columns of one pattern variable"),
            ]),
        }
    }
}

impl ExprBinder<'_, '_> {
    /// A call that has a meaning of its own inside MATCH_RECOGNIZE; `None` for all others.
    pub(super) fn bind_pattern_call(&mut self, name: &str, function: &FunctionCall) -> Option<Bound<ScalarExpr>> {
        let span = function.span;
        let is_measure = self.pattern.as_ref()?.is_measure;
        Some(match name {
            "FIRST" | "LAST" | "PREV" | "NEXT" => self.bind_navigation(name, function),
            "MATCH_ROWTIME" => self.bind_match_rowtime(function),
            "MATCH_PROCTIME" if is_measure => call("PROCTIME", Vec::new(), span),
            "CLASSIFIER" | "MATCH_NUMBER" | "MATCH_PROCTIME" => Err(vec![refused(&format!("{name}() here"), span)]),
            name if is_aggregate_name(name) => self.bind_pattern_aggregate(name, function),
            _ => return None,
        })
    }

    /// FIRST(x, n) and LAST(x, n): the columns of x are those of another row.
    fn bind_navigation(&mut self, name: &str, function: &FunctionCall) -> Bound<ScalarExpr> {
        let span = function.span;
        let (value, offset) = match function.args.as_slice() {
            [value] => (value, None),
            [value, offset] => (value, Some(offset)),
            _ => return Err(vec![wrong_arguments(&format!("{name}(column [, offset])"), span)]),
        };
        let default = usize::from(matches!(name, "PREV" | "NEXT"));
        let offset = match offset.map(|o| (&o.value, o.span)) {
            None => default,
            Some((FunctionArgValue::Expr(expr), at)) => match ExprBinder::plain(&Scope::default()).bind(expr)? {
                ScalarExpr::Literal { value: Value::Int(n), .. } => usize::try_from(n)
                    .map_err(|_| vec![wrong_arguments("a number of rows that is not negative", at)])?,
                _ => return Err(vec![wrong_arguments("a literal number of rows", at)]),
            },
            Some((_, at)) => return Err(vec![wrong_arguments("a literal number of rows", at)]),
        };
        if matches!(name, "PREV" | "NEXT") && offset != 0 {
            return Err(vec![
                refused(&format!("a physical offset ({name})"), span)
                    .hint("LAST(A.x, 1) in the definition of A is the row of A before this one"),
            ]);
        }
        let FunctionArgValue::Expr(value) = &value.value else {
            return Err(vec![wrong_arguments(&format!("{name}(column [, offset])"), span)]);
        };
        let Some(pattern) = self.pattern.as_deref_mut() else { return self.bind(value) };
        if !matches!(pattern.reading, Reading::Row { from_first: false, offset: 0 }) {
            return Err(vec![refused(&format!("{name} inside FIRST, LAST or an aggregate"), span)]);
        }
        let (before, from) = (pattern.reading, pattern.read.len());
        pattern.reading = Reading::Row { from_first: name == "FIRST", offset };
        let slots = pattern.slots.len();
        let bound = self.bind(value);
        let Some(pattern) = self.pattern.as_deref_mut() else { return bound };
        pattern.reading = before;
        let bound = bound?;
        let variable = pattern.one_variable(from, name, span)?;
        if pattern.slots.iter().skip(slots).any(|s| matches!(s.source, SlotSource::Aggregate { .. })) {
            return Err(vec![Diagnostic::error("W0305", format!("cannot use an aggregate inside {name}")).at(span)]);
        }
        pattern.read.push(variable);
        Ok(bound)
    }

    fn bind_match_rowtime(&mut self, function: &FunctionCall) -> Bound<ScalarExpr> {
        let span = function.span;
        let Some(pattern) = self.pattern.as_deref_mut() else { return Err(vec![refused("MATCH_ROWTIME here", span)]) };
        let kind = match function.args.as_slice() {
            [] => TypeKind::Timestamp(3),
            [argument] => {
                let FunctionArgValue::Expr(expr) = &argument.value else {
                    return Err(vec![wrong_arguments("MATCH_ROWTIME([rowtime_column])", span)]);
                };
                let ExprKind::Name(parts) = &expr.kind else {
                    return Err(vec![wrong_arguments("MATCH_ROWTIME([rowtime_column])", span)]);
                };
                let column = parts.last().map(std::slice::from_ref).unwrap_or_default();
                let bound = pattern.input.resolve(column, expr.span).map_err(|e| vec![e])?;
                if pattern.input.time_attribute(&bound) != Some(TimeAttribute::Rowtime) {
                    return Err(vec![wrong_arguments("a column that is the row time", expr.span)]);
                }
                bound.data_type().kind
            }
            _ => return Err(vec![wrong_arguments("MATCH_ROWTIME([rowtime_column])", span)]),
        };
        pattern.reads_match_time = true;
        Ok(pattern.slot(SlotSource::MatchTime, DataType::not_null(kind)))
    }

    /// An aggregate over the rows of one variable, or of the whole match.
    fn bind_pattern_aggregate(&mut self, name: &str, function: &FunctionCall) -> Bound<ScalarExpr> {
        let span = function.span;
        let Some(aggregate) = AggregateFunction::lookup(name) else {
            return Err(vec![refused(&format!("the aggregate {name}"), span)]);
        };
        let tail = &function.tail;
        if function.distinct {
            return Err(vec![refused("DISTINCT inside MATCH_RECOGNIZE", span)]);
        }
        if tail.filter.is_some() || !tail.order_by.is_empty() || tail.ignore_nulls.is_some() {
            return Err(vec![refused("FILTER, ORDER BY or NULLS of an aggregate inside MATCH_RECOGNIZE", span)]);
        }
        let Some(pattern) = self.pattern.as_deref_mut() else { return Err(vec![refused(name, span)]) };
        if matches!(pattern.reading, Reading::Argument) {
            return Err(vec![Diagnostic::error("W0306", format!("{name} cannot stand inside an aggregate")).at(span)]);
        }
        let (before, from) = (pattern.reading, pattern.read.len());
        pattern.reading = Reading::Argument;
        let mut args = Vec::new();
        let mut is_star = false;
        let mut errors: Diagnostics = Vec::new();
        for arg in &function.args {
            match &arg.value {
                FunctionArgValue::Star if aggregate == AggregateFunction::Count => is_star = true,
                FunctionArgValue::Expr(expr) => match self.bind(expr) {
                    Ok(arg) => args.push(arg),
                    Err(mut e) => errors.append(&mut e),
                },
                _ => errors.push(refused("this kind of argument", arg.span)),
            }
        }
        let Some(pattern) = self.pattern.as_deref_mut() else { return Err(vec![refused(name, span)]) };
        pattern.reading = before;
        if !errors.is_empty() {
            return Err(errors);
        }
        let variable = if is_star { None } else { pattern.one_variable(from, name, span)? };
        let aggregate = if is_star { AggregateFunction::CountStar } else { aggregate };
        let types: Vec<DataType> = args.iter().map(ScalarExpr::data_type).collect();
        let data_type = aggregate.result_type(&types).map_err(|e| vec![wrong_arguments(&e.expected, span)])?;
        pattern.read.push(variable);
        Ok(pattern.slot(SlotSource::Aggregate { variable, function: aggregate, args }, data_type))
    }
}

/// Binds the clause over its input.
pub fn bind(clause: &MatchRecognize, input: Rel, functions: Option<Arc<FunctionScope>>) -> Bound<Rel> {
    let scope = Scope::new(None, input.columns.clone()).with_functions(functions);
    refuse_parts(clause)?;
    let mut errors: Diagnostics = Vec::new();
    let partition = keep(partition_columns(clause, &scope), &mut errors);
    let order = keep(order_columns(clause, &scope), &mut errors);
    let pattern = keep(variables_of(clause), &mut errors);
    let (Some(partition), Some((time_column, order)), Some(mut variables)) = (partition, order, pattern) else {
        return Err(errors);
    };
    let names = all_names(&variables, clause);
    if let Err(mut e) = bind_conditions(clause, &scope, &names, &mut variables) {
        errors.append(&mut e);
    }
    let mut columns: Vec<RelColumn> =
        partition.iter().filter_map(|c| input.columns.get(*c)).map(|c| RelColumn { time: None, ..c.clone() }).collect();
    let mut measures = Vec::new();
    for (expr, name) in &clause.measures {
        let mut pattern = PatternScope::new(&scope, &names, None);
        let bound = ExprBinder { scope: &scope, grouping: None, pattern: Some(&mut pattern) }.bind(expr);
        match bound {
            Ok(bound) => {
                let is_rowtime = pattern.reads_match_time && matches!(bound, ScalarExpr::Column { .. });
                let time =
                    if is_rowtime { Some(TimeAttribute::Rowtime) } else { crate::plan::rel::time_attribute_of(&bound) };
                columns.push(RelColumn { time, ..RelColumn::new(name.value.clone(), bound.data_type()) });
                measures.push(PatternExpr { slots: pattern.slots, expr: bound });
            }
            Err(mut e) => errors.append(&mut e),
        }
        let is_known = columns.iter().rev().skip(1).any(|c| c.name == name.value);
        if is_known {
            errors.push(Diagnostic::error("W0302", format!("column `{}` is there twice", name.value)).at(name.span));
        }
    }
    if columns.is_empty() && errors.is_empty() {
        errors.push(
            Diagnostic::error("W0309", "this MATCH_RECOGNIZE gives no columns")
                .at(clause.span)
                .label("expected MEASURES, or PARTITION BY"),
        );
    }
    let skip = keep(after_match(clause, &variables), &mut errors);
    let within_ms = keep(within(clause), &mut errors);
    let (true, Some(skip), Some(within_ms)) = (errors.is_empty(), skip, within_ms) else { return Err(errors) };
    let pattern = Box::new(MatchRecognizeNode { partition, time_column, order, variables, measures, skip, within_ms });
    Ok(Rel { kind: RelKind::MatchRecognize { input: Box::new(input), pattern }, columns })
}

fn keep<T>(bound: Bound<T>, errors: &mut Diagnostics) -> Option<T> {
    bound.map_err(|mut e| errors.append(&mut e)).ok()
}

fn refuse_parts(clause: &MatchRecognize) -> Bound<()> {
    let mut errors = Vec::new();
    if clause.all_rows {
        errors.push(refused("ALL ROWS PER MATCH", clause.span));
    }
    if clause.anchored_start || clause.anchored_end {
        errors.push(refused("an anchor (^ or $) in a row pattern", clause.span));
    }
    if let Some((name, _)) = clause.subsets.first() {
        errors.push(refused("SUBSET", name.span));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn partition_columns(clause: &MatchRecognize, scope: &Scope) -> Bound<Vec<usize>> {
    let mut columns = Vec::new();
    for expr in &clause.partition_by {
        match ExprBinder::plain(scope).bind(expr)? {
            ScalarExpr::Column { index, .. } => columns.push(index),
            _ => {
                return Err(vec![
                    Diagnostic::error("W0304", "PARTITION BY of MATCH_RECOGNIZE takes columns")
                        .at(expr.span)
                        .hint("compute the column in a subquery below"),
                ]);
            }
        }
    }
    Ok(columns)
}

/// The time attribute (`None` for processing time) and the columns behind it.
fn order_columns(clause: &MatchRecognize, scope: &Scope) -> Bound<(Option<usize>, Vec<SortColumn>)> {
    let Some((time, rest)) = clause.order_by.split_first() else {
        return Err(vec![
            Diagnostic::error("W0308", "MATCH_RECOGNIZE needs ORDER BY a time attribute").at(clause.span),
        ]);
    };
    let column_of = |item: &OrderItem| match ExprBinder::plain(scope).bind(&item.expr)? {
        ScalarExpr::Column { index, .. } => Ok(index),
        _ => Err(vec![Diagnostic::error("W0304", "ORDER BY of MATCH_RECOGNIZE takes columns").at(item.expr.span)]),
    };
    let column = column_of(time)?;
    let Some(attribute) = scope.columns().get(column).and_then(|c| c.time) else {
        return Err(vec![
            Diagnostic::error("W0308", "ORDER BY of MATCH_RECOGNIZE must begin with a time attribute")
                .at(time.expr.span)
                .hint("declare WATERMARK FOR on the column, or a computed column AS PROCTIME()"),
        ]);
    };
    if time.descending {
        return Err(vec![
            Diagnostic::error("W0308", "the time attribute of MATCH_RECOGNIZE must be in ascending order")
                .at(time.expr.span),
        ]);
    }
    let mut order = Vec::new();
    for item in rest {
        order.push(SortColumn {
            column: column_of(item)?,
            descending: item.descending,
            nulls_first: item.nulls_first.unwrap_or(!item.descending),
        });
    }
    Ok(((attribute == TimeAttribute::Rowtime).then_some(column), order))
}

/// The pattern as a chain of variables.
fn variables_of(clause: &MatchRecognize) -> Bound<Vec<PatternVariable>> {
    let mut variables: Vec<PatternVariable> = Vec::new();
    flatten(&clause.pattern, clause.span, &mut variables)?;
    let is_loose = |v: &PatternVariable| v.is_greedy && v.max != Some(v.min) && (v.min, v.max) != (0, Some(1));
    let error = |text: &str| Err(vec![refused(text, clause.span)]);
    // Flink asks so of `?` and `*`, but not of `{0,n}`.
    let is_optional = |v: &PatternVariable| (v.min, v.max) == (0, Some(1)) || (v.min, v.max) == (0, None);
    if variables.windows(2).any(|pair| is_loose(&pair[0]) && is_optional(&pair[1])) {
        return error("an optional variable behind a greedy quantifier");
    }
    if variables.iter().all(|v| v.min == 0) {
        return error("a pattern that matches no row (at least one variable must not be optional)");
    }
    if variables.last().is_some_and(is_loose) {
        return Err(vec![
            refused("a greedy quantifier at the end of a row pattern", clause.span)
                .hint("end the pattern with a simple variable or a reluctant quantifier such as `+?`"),
        ]);
    }
    Ok(variables)
}

fn flatten(pattern: &RowPattern, span: Span, out: &mut Vec<PatternVariable>) -> Bound<()> {
    match pattern {
        RowPattern::Variable(name) => push_variable(name, (1, Some(1), true), out),
        RowPattern::Sequence(parts) => parts.iter().try_for_each(|part| flatten(part, span, out)),
        RowPattern::Alternation(_) => Err(vec![refused("alternation (|) in a row pattern", span)]),
        RowPattern::Permute(_, at) => Err(vec![refused("PERMUTE", *at)]),
        RowPattern::Exclusion(_, at) => Err(vec![refused("exclusion ({- -}) in a row pattern", *at)]),
        RowPattern::Repeat { pattern, min, max, reluctant, span: at } => {
            let RowPattern::Variable(name) = &**pattern else {
                return Err(vec![refused("a quantifier of a group in a row pattern", *at)]);
            };
            if *reluctant && (*min, *max) == (0, Some(1)) {
                return Err(vec![refused("a reluctant optional variable (??)", *at)]);
            }
            push_variable(name, (*min, *max, !reluctant), out)
        }
    }
}

fn push_variable(
    name: &Ident,
    (min, max, is_greedy): (u32, Option<u32>, bool),
    out: &mut Vec<PatternVariable>,
) -> Bound<()> {
    if out.iter().any(|v| v.name == name.value) {
        return Err(vec![refused(&format!("the pattern variable `{}` twice in a pattern", name.value), name.span)]);
    }
    out.push(PatternVariable { name: name.value.clone(), min, max, is_greedy, condition: None });
    Ok(())
}

/// The names that expressions may use: the pattern's, then those that only DEFINE has; no row is ever matched to the latter.
fn all_names(variables: &[PatternVariable], clause: &MatchRecognize) -> Vec<String> {
    let mut names: Vec<String> = variables.iter().map(|v| v.name.clone()).collect();
    for (name, _) in &clause.define {
        if !names.contains(&name.value) {
            names.push(name.value.clone());
        }
    }
    names
}

fn bind_conditions(
    clause: &MatchRecognize,
    scope: &Scope,
    names: &[String],
    variables: &mut [PatternVariable],
) -> Bound<()> {
    let mut errors: Diagnostics = Vec::new();
    let mut defined: Vec<&str> = Vec::new();
    for (name, expr) in &clause.define {
        if defined.contains(&name.value.as_str()) {
            errors.push(
                Diagnostic::error("W0305", format!("pattern variable `{}` has already been defined", name.value))
                    .at(name.span),
            );
            continue;
        }
        defined.push(&name.value);
        let current = names.iter().position(|n| *n == name.value);
        let mut pattern = PatternScope::new(scope, names, current);
        let bound = ExprBinder { scope, grouping: None, pattern: Some(&mut pattern) }.bind(expr);
        match bound.and_then(|condition| boolean(condition, expr.span)) {
            Ok(expr) => {
                if let Some(variable) = current.and_then(|c| variables.get_mut(c)) {
                    variable.condition = Some(PatternExpr { slots: pattern.slots, expr });
                }
            }
            Err(mut e) => errors.append(&mut e),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn after_match(clause: &MatchRecognize, variables: &[PatternVariable]) -> Bound<AfterMatchSkip> {
    let place = |name: &Ident| {
        variables.iter().position(|v| v.name == name.value).ok_or_else(|| {
            vec![
                Diagnostic::error("W0301", format!("no variable `{}` in the pattern", name.value))
                    .at(name.span)
                    .did_you_mean(&name.value, variables.iter().map(|v| v.name.as_str())),
            ]
        })
    };
    Ok(match &clause.after_match {
        // Flink's documentation says PAST LAST ROW; its planner takes this one.
        None | Some(AfterMatch::ToNextRow) => AfterMatchSkip::ToNextRow,
        Some(AfterMatch::PastLastRow) => AfterMatchSkip::PastLastRow,
        Some(AfterMatch::ToFirst(name)) => AfterMatchSkip::ToFirst(place(name)?),
        Some(AfterMatch::ToLast(name)) => AfterMatchSkip::ToLast(place(name)?),
    })
}

fn within(clause: &MatchRecognize) -> Bound<Option<i64>> {
    let Some(expr) = &clause.within else { return Ok(None) };
    match ExprBinder::plain(&Scope::default()).bind(expr)? {
        ScalarExpr::Literal { value: Value::Millis(ms), .. } => Ok((ms > 0).then_some(ms)),
        other => Err(vec![
            Diagnostic::error("W0304", "WITHIN needs a constant interval")
                .at(expr.span)
                .label(format!("expected an INTERVAL literal of days to seconds, found {}", other.data_type().kind)),
        ]),
    }
}
