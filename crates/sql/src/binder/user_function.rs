//! User functions: what CREATE FUNCTION declares, and calls of it.
//!
//! A function in SQL is an expression over its parameters. It is bound once, at its CREATE, over columns that stand for the parameters,
//! and each call becomes a copy with the arguments in their place: nothing of it is left at run time. What follows from that:
//! - it can stand wherever its expression could: in computed columns, watermarks, WHERE, GROUP BY, views and other functions;
//! - it cannot call itself, because it is not known before it is bound;
//! - a random expression in the body (RAND, UUID) gives a value per call, and a random argument is refused where the body uses the
//!   parameter more than once, because two copies would give two values; the clock gives one value to a whole step.
//!
//! Functions in Python are `python.rs`'s; those of the JVM are known by name only, and calling one is refused.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_expr::ScalarExpr;
use wiesel_expr::function::lookup;

use super::expr::{
    Bound, ExprBinder, coerce, is_aggregate_name, is_grouping_name, is_window_proctime, refused, window_property,
};
use super::scope::Scope;
use super::types::bind_type;
use crate::catalog::{ForeignFunction, FunctionScope, SqlFunction, UserFunction};
use crate::parser::ast::{self, FunctionArgValue, FunctionCall, FunctionLanguage};
use crate::plan::join::is_deterministic;
use crate::plan::rel::RelColumn;

/// The most parts an expression may have after its calls have been replaced: bodies that use a parameter twice grow like 2^n when they
/// are nested.
const EXPANDED_PARTS_MAX: usize = 10_000;

/// The parameters a function may have.
const PARAMETERS_MAX: usize = 100;

/// Whether a bare name means something without any user function.
pub fn is_built_in(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    lookup(&upper).is_some()
        || is_aggregate_name(&upper)
        || is_grouping_name(&upper)
        || window_property(&upper).is_some()
        || is_window_proctime(&upper)
        || matches!(upper.as_str(), "COALESCE" | "IFNULL" | "IF" | "NULLIF" | "TUMBLE" | "HOP" | "SESSION" | "CUMULATE")
}

/// Binds the body of a function in SQL. `scope` knows the functions it may call.
pub fn define(name: &ast::ObjectName, function: &ast::SqlFunction, scope: Scope) -> Bound<SqlFunction> {
    if let Some((extra, _)) = function.parameters.get(PARAMETERS_MAX) {
        let limit = format!("a function takes at most {PARAMETERS_MAX} parameters");
        return Err(vec![Diagnostic::error("W0305", limit).at(extra.span)]);
    }
    let mut errors = Vec::new();
    let mut parameters: Vec<(String, wiesel_core::DataType)> = Vec::new();
    for (parameter, written) in &function.parameters {
        if parameters.iter().any(|(known, _)| *known == parameter.value) {
            let error = format!("parameter `{}` is declared twice", parameter.value);
            errors.push(Diagnostic::error("W0205", error).at(parameter.span));
        }
        match parameter_type(written) {
            Ok(data_type) => parameters.push((parameter.value.clone(), data_type)),
            Err(error) => errors.push(error),
        }
    }
    let returns = match parameter_type(&function.returns) {
        Ok(returns) if errors.is_empty() => returns,
        Ok(_) => return Err(errors),
        Err(error) => {
            errors.push(error);
            return Err(errors);
        }
    };
    let columns = parameters.iter().map(|(name, t)| RelColumn::new(name.clone(), t.clone())).collect();
    let scope = Scope::new(None, columns).with_functions(scope.functions().cloned());
    let body = ExprBinder::plain(&scope).bind(&function.body).map_err(|errors| about_itself(errors, name))?;
    let body = coerce(body, &returns, function.body.span)?;
    if let Some(span) = function.deterministic
        && !is_deterministic(&body)
    {
        return Err(vec![
            Diagnostic::error("W0309", format!("the function `{}` is not deterministic", name.last().value))
                .at(span)
                .label("its body gives other results for the same arguments"),
        ]);
    }
    within_bound(&body, function.body.span)?;
    Ok(SqlFunction { parameters, body })
}

fn parameter_type(written: &ast::DataType) -> Result<wiesel_core::DataType, Diagnostic> {
    if written.nullability == ast::Nullability::NotNull {
        return Err(refused("NOT NULL in a function's declaration", written.span));
    }
    bind_type(written)
}

/// Says of a call to the function itself what is wrong with it.
fn about_itself(mut errors: Vec<Diagnostic>, name: &ast::ObjectName) -> Vec<Diagnostic> {
    let own = format!("no function `{}`", name.last().value).to_lowercase();
    for error in &mut errors {
        if error.message.to_lowercase() == own {
            *error = error.clone().hint("a function cannot call itself");
        }
    }
    errors
}

fn part_count(expr: &ScalarExpr) -> usize {
    1 + expr.children().into_iter().map(part_count).sum::<usize>()
}

fn within_bound(expr: &ScalarExpr, span: Span) -> Bound<()> {
    if part_count(expr) <= EXPANDED_PARTS_MAX {
        return Ok(());
    }
    let error = format!("the expression has more than {EXPANDED_PARTS_MAX} parts once its functions are put in place");
    Err(vec![
        Diagnostic::error("W0105", error)
            .at(span)
            .hint("compute parts of it in a subquery: bodies that use a parameter several times grow with each level"),
    ])
}

/// The refusal to call a function of the JVM.
pub(super) fn foreign(function: &ForeignFunction, call: &FunctionCall) -> Diagnostic {
    let name = &call.name.last().value;
    refused(&format!("calling `{name}`, a function of the JVM ('{}'),", function.class), call.name.span)
        .hint("there is no JVM here; write it in SQL: CREATE FUNCTION f(a T, ...) RETURNS T RETURN <expression>")
}

/// Whether a name means a user function.
pub(super) fn is_user_function(functions: Option<&FunctionScope>, name: &ast::ObjectName) -> bool {
    let parts: Vec<&str> = name.parts.iter().map(|p| p.value.as_str()).collect();
    functions.is_some_and(|functions| functions.find(&parts, is_built_in(&name.last().value)).is_some())
}

/// What is wrong with a call in FROM, if it is not a window function's: no user function gives rows.
pub(super) fn table_function_error(
    functions: Option<&FunctionScope>,
    call: &FunctionCall,
    is_window: bool,
) -> Option<Diagnostic> {
    let parts: Vec<&str> = call.name.parts.iter().map(|p| p.value.as_str()).collect();
    let function = functions?.find(&parts, is_window)?;
    Some(match &**function {
        UserFunction::Foreign(function) => foreign(function, call),
        UserFunction::Sql(_) => {
            let error = format!("`{}` gives a value, and FROM needs a table function", call.name.last().value);
            Diagnostic::error("W0305", error).at(call.name.span)
        }
    })
}

impl ExprBinder<'_, '_> {
    /// A call of a user function; `None` when the name means something else.
    pub(super) fn bind_user_function(&mut self, call: &FunctionCall) -> Option<Bound<ScalarExpr>> {
        let functions = self.scope.functions()?;
        let parts: Vec<&str> = call.name.parts.iter().map(|p| p.value.as_str()).collect();
        let function = functions.find(&parts, is_built_in(parts.last()?))?.clone();
        Some(match &*function {
            UserFunction::Foreign(foreign) if foreign.language == FunctionLanguage::Python => {
                let access = functions.python.clone();
                self.bind_python(access.as_ref(), &foreign.class, call, false)
            }
            UserFunction::Foreign(function) => Err(vec![foreign(function, call)]),
            UserFunction::Sql(function) => self.expand(function, call),
        })
    }

    fn expand(&mut self, function: &SqlFunction, call: &FunctionCall) -> Bound<ScalarExpr> {
        let name = &call.name.last().value;
        if call.distinct || call.tail.filter.is_some() {
            let error = format!("`{name}` is no aggregate: it takes no DISTINCT and no FILTER");
            return Err(vec![Diagnostic::error("W0305", error).at(call.span)]);
        }
        if call.args.len() != function.parameters.len() {
            let expected: Vec<String> = function.parameters.iter().map(|(n, t)| format!("{n} {}", t.kind)).collect();
            return Err(vec![
                Diagnostic::error("W0305", format!("`{name}` does not take {} arguments", call.args.len()))
                    .at(call.span)
                    .label(format!("expected {name}({})", expected.join(", "))),
            ]);
        }
        let mut args = Vec::with_capacity(call.args.len());
        let mut errors = Vec::new();
        for (index, (arg, (parameter, wanted))) in call.args.iter().zip(&function.parameters).enumerate() {
            let FunctionArgValue::Expr(expr) = &arg.value else {
                errors.push(refused("this kind of argument", arg.span));
                continue;
            };
            if arg.name.as_ref().is_some_and(|given| given.value != *parameter) {
                errors.push(
                    refused("arguments in another order than the parameters", arg.span)
                        .label(format!("expected `{parameter}`")),
                );
                continue;
            }
            match self.bind(expr).and_then(|bound| coerce(bound, wanted, expr.span)) {
                Ok(bound) if is_random(&bound) && use_count(&function.body, index) > 1 => {
                    let error = format!("the argument `{parameter}` of `{name}` is random and would be drawn twice");
                    errors.push(
                        Diagnostic::error("W0305", error)
                            .at(expr.span)
                            .hint("compute it in a subquery, and call the function on its column"),
                    );
                }
                Ok(bound) => args.push(bound),
                Err(mut e) => errors.append(&mut e),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let expanded = function.body.clone().transform(&mut |part| match part {
            ScalarExpr::Column { index, data_type } => {
                args.get(index).cloned().unwrap_or(ScalarExpr::Column { index, data_type })
            }
            other => other,
        });
        within_bound(&expanded, call.span)?;
        Ok(expanded)
    }
}

/// Whether two copies would give two values in one row.
fn is_random(expr: &ScalarExpr) -> bool {
    let draws = match expr {
        ScalarExpr::Call { function, .. } => matches!(function.name(), "RAND" | "RAND_INTEGER" | "UUID"),
        _ => false,
    };
    draws || expr.children().into_iter().any(is_random)
}

fn use_count(body: &ScalarExpr, parameter: usize) -> usize {
    let mut read = Vec::new();
    body.columns_read(&mut read);
    read.into_iter().filter(|index| *index == parameter).count()
}
