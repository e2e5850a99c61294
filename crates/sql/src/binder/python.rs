//! Calls of functions in Python: the worker says what a function is, the call is checked against it, and becomes an expression.
//!
//! Arguments are cast to the declared types where Flink casts implicitly (INT to BIGINT). A scalar of another declared type is passed as it
//! is, as PyFlink's `register_function` did: `branch_id_to_name` of a well-known job declares STRING, is called with an INT column, and
//! indexes a list with it. Without declared types every argument is passed as it is.
//!
//! A table function is a scalar function that gives an array of rows, and `LATERAL TABLE(f(x))` is an UNNEST over it. An aggregate function
//! is a scalar function over the collected rows of its group.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, Field, TypeKind};
use wiesel_expr::foreign::{self, ForeignCall, ForeignKind};
use wiesel_expr::{AggregateFunction, ScalarExpr, cast};

use super::expr::{Bound, ExprBinder, ast_children, boolean, call as bind_call, cast_to, refused};
use super::query::from_connector;
use super::types::bind_type;
use super::user_function;
use crate::catalog::{FunctionScope, PythonAccess, UserFunction};
use crate::parser::ast::{Expr, ExprKind, FunctionArgValue, FunctionCall, FunctionLanguage};
use crate::parser::parse_data_type;

/// A function in Python with what it says of itself.
pub(super) struct Described {
    pub(super) function: foreign::ForeignFunction,
    pub(super) class: String,
    access: PythonAccess,
}

/// Whether an expression calls an aggregate function in Python. What cannot be described is none here; its call says why.
pub(super) fn holds_aggregate(expr: &Expr, functions: Option<&FunctionScope>) -> bool {
    let Some(functions) = functions else { return false };
    let mut found = false;
    ast_children(expr, &mut |child| found |= holds_aggregate(child, Some(functions)));
    if let ExprKind::Function(call) = &expr.kind
        && let Some(class) = python_class(Some(functions), call)
    {
        let described = describe(functions.python.as_ref(), &class, call.name.span);
        found |= described.is_ok_and(|described| described.function.kind == ForeignKind::Aggregate);
    }
    found
}

/// The `module.name` of a call, when it is of a function in Python.
pub(super) fn python_class(functions: Option<&FunctionScope>, call: &FunctionCall) -> Option<String> {
    let parts: Vec<&str> = call.name.parts.iter().map(|p| p.value.as_str()).collect();
    match &**functions?.find(&parts, user_function::is_built_in(parts.last()?))? {
        UserFunction::Foreign(function) if function.language == FunctionLanguage::Python => {
            Some(function.class.clone())
        }
        _ => None,
    }
}

/// Asks what a function is.
pub(super) fn describe(access: Option<&PythonAccess>, class: &str, span: Span) -> Bound<Described> {
    let Some(access) = access else {
        return Err(vec![refused(&format!("calling a Python function ('{class}') here"), span)]);
    };
    let function = access.runtime.describe(class, &access.settings).map_err(|e| vec![from_connector(&e, span)])?;
    Ok(Described { function, class: class.to_owned(), access: access.clone() })
}

impl Described {
    /// The result as one type; that of a table function is a ROW.
    pub(super) fn result(&self, span: Span) -> Bound<DataType> {
        let mut types =
            self.function.result.iter().map(|text| self.data_type(text, span)).collect::<Bound<Vec<_>>>()?;
        match (self.function.kind, types.as_slice()) {
            (ForeignKind::Table, [DataType { kind: TypeKind::Row(_), .. }]) => Ok(types.remove(0)),
            (ForeignKind::Table, _) => {
                let fields = types.into_iter().enumerate().map(|(i, t)| Field::new(format!("f{i}"), t)).collect();
                Ok(DataType::not_null(TypeKind::Row(fields)))
            }
            // A function may give None whatever it declares, as in PyFlink.
            (_, [one]) => Ok(one.with_nullable(true)),
            _ => Err(vec![self.wrong(&format!("declares {} result types", types.len()), span)]),
        }
    }

    /// A type as the decorator wrote it.
    pub(super) fn data_type(&self, text: &str, span: Span) -> Bound<DataType> {
        let bound = parse_data_type(text).ok().and_then(|written| bind_type(&written).ok());
        match bound {
            Some(data_type) if holds_multiset(&data_type) => {
                Err(vec![refused(&format!("{text} in a Python function ('{}')", self.class), span)])
            }
            Some(data_type) => Ok(data_type),
            None => Err(vec![self.wrong(&format!("declares the type `{text}`, which is none"), span)]),
        }
    }

    /// The call as an expression.
    fn call(&self, call: &FunctionCall, args: Vec<ScalarExpr>, result: DataType) -> Bound<ScalarExpr> {
        let planned = ForeignCall {
            class: self.class.clone(),
            name: call.name.last().value.clone(),
            arguments: args.iter().map(ScalarExpr::data_type).collect(),
            result: result.clone(),
            is_deterministic: self.function.is_deterministic,
            is_columnar: self.function.is_columnar,
            settings: Arc::clone(&self.access.settings),
        };
        let function = self.access.runtime.scalar(planned).map_err(|e| vec![from_connector(&e, call.name.span)])?;
        Ok(ScalarExpr::Call { function, args, data_type: result })
    }

    fn wrong(&self, what: &str, span: Span) -> Diagnostic {
        Diagnostic::error("W0305", format!("the Python function `{}` {what}", self.class)).at(span)
    }

    /// Checks the arguments and casts them where Flink does.
    pub(super) fn arguments(&self, call: &FunctionCall, args: Vec<(ScalarExpr, Span)>) -> Bound<Vec<ScalarExpr>> {
        let name = &call.name.last().value;
        let function = &self.function;
        let declared = match &function.input {
            Some(texts) => {
                Some(texts.iter().map(|text| self.data_type(text, call.name.span)).collect::<Bound<Vec<_>>>()?)
            }
            None => None,
        };
        let (least, most) = match &declared {
            Some(types) => (types.len(), Some(types.len())),
            None => (function.arguments_min, function.arguments_max),
        };
        if args.len() < least || most.is_some_and(|most| args.len() > most) {
            let expected = match (&declared, most) {
                (Some(types), _) => {
                    let types: Vec<String> = types.iter().map(|t| t.kind.to_string()).collect();
                    format!("expected {name}({})", types.join(", "))
                }
                (None, Some(most)) if most == least => format!("expected {least} arguments"),
                (None, Some(most)) => format!("expected {least} to {most} arguments"),
                (None, None) => format!("expected {least} arguments or more"),
            };
            let error = format!("`{name}` does not take {} arguments", args.len());
            return Err(vec![Diagnostic::error("W0305", error).at(call.span).label(expected)]);
        }
        let mut errors = Vec::new();
        let mut fitted = Vec::with_capacity(args.len());
        for (index, (arg, span)) in args.into_iter().enumerate() {
            match declared.as_ref().and_then(|types| types.get(index)) {
                Some(wanted) => match fit(arg, wanted, span) {
                    Ok(arg) => fitted.push(arg),
                    Err(error) => errors.push(error),
                },
                None if holds_multiset(&arg.data_type()) => {
                    errors.push(refused("a MULTISET as an argument of a Python function", span));
                }
                None => fitted.push(arg),
            }
        }
        if errors.is_empty() { Ok(fitted) } else { Err(errors) }
    }
}

fn holds_multiset(data_type: &DataType) -> bool {
    match &data_type.kind {
        TypeKind::Multiset(_) => true,
        TypeKind::Array(element) => holds_multiset(element),
        TypeKind::Map(key, value) => holds_multiset(key) || holds_multiset(value),
        TypeKind::Row(fields) => fields.iter().any(|f| holds_multiset(&f.data_type)),
        _ => false,
    }
}

fn is_scalar(kind: &TypeKind) -> bool {
    !matches!(kind, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_))
}

fn fit(arg: ScalarExpr, wanted: &DataType, span: Span) -> Result<ScalarExpr, Diagnostic> {
    let from = arg.data_type();
    if from.kind == wanted.kind {
        return Ok(arg);
    }
    let is_text = from.kind.is_string() && wanted.kind.is_string();
    if from.kind == TypeKind::Null || (!is_text && cast::is_implicit(&from, wanted)) {
        return Ok(cast_to(arg, &wanted.with_nullable(true)));
    }
    if is_text || (is_scalar(&from.kind) && is_scalar(&wanted.kind)) {
        return Ok(arg);
    }
    Err(Diagnostic::error("W0304", format!("expected {}, found {}", wanted.kind, from.kind)).at(span))
}

impl ExprBinder<'_, '_> {
    /// The arguments of a call, bound, with their places.
    pub(super) fn python_arguments(&mut self, call: &FunctionCall) -> Bound<Vec<(ScalarExpr, Span)>> {
        let mut args = Vec::with_capacity(call.args.len());
        let mut errors = Vec::new();
        for arg in &call.args {
            match &arg.value {
                FunctionArgValue::Expr(expr) if arg.name.is_none() => match self.bind(expr) {
                    Ok(bound) => args.push((bound, expr.span)),
                    Err(mut e) => errors.append(&mut e),
                },
                _ => errors.push(refused("this kind of argument", arg.span)),
            }
        }
        if errors.is_empty() { Ok(args) } else { Err(errors) }
    }

    /// A call of a Python function as an expression; `is_table`: in FROM, where it must give rows.
    pub(super) fn bind_python(
        &mut self,
        access: Option<&PythonAccess>,
        class: &str,
        call: &FunctionCall,
        is_table: bool,
    ) -> Bound<ScalarExpr> {
        let described = describe(access, class, call.name.span)?;
        let name = &call.name.last().value;
        let wrong = |what: &str, hint: &str| {
            Err(vec![Diagnostic::error("W0305", format!("`{name}` {what}")).at(call.name.span).hint(hint)])
        };
        match (described.function.kind, is_table) {
            (ForeignKind::TableAggregate, _) => {
                return Err(vec![refused(&format!("calling the table aggregate function `{name}`"), call.name.span)]);
            }
            (ForeignKind::Aggregate, true) => {
                return wrong("gives a value per group, and FROM needs a table function", "call it in a GROUP BY");
            }
            (ForeignKind::Aggregate, false) => return self.bind_python_aggregate(&described, call),
            (ForeignKind::Table, false) => {
                return wrong("gives rows, and a value is needed here", "write FROM t, LATERAL TABLE(f(x)) AS r(a)");
            }
            (ForeignKind::Scalar, true) => {
                return wrong("gives a value, and FROM needs a table function", "declare it with @udtf");
            }
            (ForeignKind::Table, true) | (ForeignKind::Scalar, false) => {}
        }
        if call.distinct || call.tail.filter.is_some() {
            let error = format!("`{name}` is no aggregate: it takes no DISTINCT and no FILTER");
            return Err(vec![Diagnostic::error("W0305", error).at(call.span)]);
        }
        let result = described.result(call.name.span)?;
        let args = self.python_arguments(call)?;
        let args = described.arguments(call, args)?;
        let result = if is_table { DataType::not_null(TypeKind::Array(Box::new(result))) } else { result };
        described.call(call, args, result)
    }

    /// A call of an aggregate function: the rows of the group are collected, in the order they came, and the function runs over them.
    ///
    /// WHY-NOT an accumulator in the state: a collected group takes rows back by itself, merges over windows and stands in checkpoints as
    /// ARRAY_AGG does, and a function without `retract` or `merge` answers as well. The price is that a group is kept whole, and that every
    /// change of it costs a run over its rows.
    fn bind_python_aggregate(&mut self, described: &Described, call: &FunctionCall) -> Bound<ScalarExpr> {
        let name = &call.name.last().value;
        let input = self.grouped_input(name, call.span)?;
        if call.distinct {
            return Err(vec![refused(&format!("DISTINCT in the Python aggregate `{name}`"), call.span)]);
        }
        let mut plain = ExprBinder::plain(input);
        let args = plain.python_arguments(call)?;
        let filter = match &call.tail.filter {
            Some(filter) => Some(boolean(plain.bind(filter)?, filter.span)?),
            None => None,
        };
        let args = described.arguments(call, args)?;
        if args.is_empty() {
            return Err(vec![refused(&format!("the Python aggregate `{name}` without arguments"), call.span)]);
        }
        let row = bind_call("ROW", args, call.span)?;
        let collect = AggregateFunction::ArrayAgg { ignore_nulls: false };
        let rows = self.add_aggregate(collect, vec![row], false, filter, call.span)?;
        described.call(call, vec![rows], described.result(call.name.span)?)
    }
}
