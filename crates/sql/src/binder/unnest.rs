//! UNNEST in FROM: a collection of the row beside it becomes rows.
//!
//! | collection | columns of an element |
//! |---|---|
//! | ARRAY of ROW | the fields |
//! | ARRAY or MULTISET of anything else | the element |
//! | MAP | KEY, VALUE |
//!
//! WITH ORDINALITY, of Flink 2.1, adds ORDINALITY INT: the number of the element in its collection, from 1.
//!
//! The collection may be any expression over the tables to its left; without one to its left it is over a single row. The element's columns
//! stand behind those of the row, and a LEFT JOIN makes them nullable.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::ScalarExpr;

use super::expr::{Bound, ExprBinder, boolean, refused};
use super::python::python_class;
use super::query::{QueryBinder, single_row};
use super::scope::Scope;
use crate::catalog::FunctionScope;
use crate::parser::ast::{Expr, FunctionCall, Join, JoinCondition, JoinKind, TableAlias, TableRef, TableRefKind};
use crate::plan::join::settle;
use crate::plan::rel::{Rel, RelColumn, RelKind, identity, is_outer};

/// An UNNEST of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnnestRef<'a> {
    collection: Collection<'a>,
    with_ordinality: bool,
    alias: Option<&'a TableAlias>,
    span: Span,
}

/// What becomes rows.
#[derive(Debug, Clone, Copy)]
enum Collection<'a> {
    /// UNNEST of expressions.
    Exprs(&'a [Expr]),
    /// A table function in Python, which gives an array of rows.
    Call(&'a FunctionCall),
}

/// The UNNEST that a table of FROM is, when it is one. A table function in Python is one too.
pub(super) fn unnest_ref<'a>(from: &'a TableRef, functions: Option<&FunctionScope>) -> Option<UnnestRef<'a>> {
    match &from.kind {
        TableRefKind::Unnest { exprs, with_ordinality, alias } => {
            let (collection, alias) = (Collection::Exprs(exprs), alias.as_ref());
            Some(UnnestRef { collection, with_ordinality: *with_ordinality, alias, span: from.span })
        }
        TableRefKind::Function { call, alias, .. } => {
            python_class(functions, call)?;
            let (collection, alias) = (Collection::Call(call), alias.as_ref());
            Some(UnnestRef { collection, with_ordinality: false, alias, span: from.span })
        }
        TableRefKind::Parenthesised(inner) => unnest_ref(inner, functions),
        _ => None,
    }
}

impl QueryBinder<'_> {
    /// `FROM UNNEST(..)` with nothing beside it.
    pub(super) fn bind_unnest_alone(&mut self, unnest: UnnestRef<'_>) -> Bound<(Rel, Scope)> {
        let mut scope = Scope::default().with_functions(self.functions());
        if let Some(outer) = &self.outer {
            scope.set_outer(outer);
        }
        unnested((single_row(), scope), unnest, false)
    }

    /// `left JOIN UNNEST(..)`.
    pub(super) fn bind_unnest_join(&mut self, join: &Join, unnest: UnnestRef<'_>) -> Bound<(Rel, Scope)> {
        let is_left = match join.kind {
            JoinKind::Inner | JoinKind::Cross | JoinKind::Comma => false,
            JoinKind::Left => true,
            JoinKind::Right | JoinKind::Full => {
                return Err(vec![refused("a RIGHT or FULL join with UNNEST", join.span)]);
            }
        };
        let (left, scope) = self.bind_from(&join.left)?;
        let (rel, scope) = unnested((settle(left), scope), unnest, is_left)?;
        let condition = match &join.condition {
            JoinCondition::None if !join.natural => return Ok((rel, scope)),
            JoinCondition::On(condition) => condition,
            _ => return Err(vec![refused("USING or NATURAL with UNNEST", join.span)]),
        };
        let predicate = boolean(ExprBinder::plain(&scope).bind(condition)?, condition.span)?;
        let is_true = matches!(&predicate, ScalarExpr::Literal { value: Value::Boolean(true), .. });
        match (is_true, is_left) {
            (true, _) => Ok((rel, scope)),
            (false, false) => Ok((rel.filter(predicate), scope)),
            (false, true) => {
                Err(vec![refused("a LEFT JOIN with UNNEST on a condition", condition.span).hint("write ON TRUE")])
            }
        }
    }
}

fn unnested(left: (Rel, Scope), unnest: UnnestRef<'_>, is_left: bool) -> Bound<(Rel, Scope)> {
    let (mut rel, scope) = left;
    let (collection, span) = match unnest.collection {
        Collection::Exprs([expr]) => (ExprBinder::plain(&scope).bind(expr)?, expr.span),
        Collection::Exprs(_) => {
            return Err(vec![
                refused("UNNEST of several collections", unnest.span).hint("join them one after the other"),
            ]);
        }
        Collection::Call(call) => {
            let functions = scope.functions().cloned();
            let class = python_class(functions.as_deref(), call).unwrap_or_default();
            let access = functions.as_ref().and_then(|functions| functions.python.as_ref());
            (ExprBinder::plain(&scope).bind_python(access, &class, call, true)?, call.span)
        }
    };
    let elements = element_columns(&collection.data_type(), is_left, unnest, span)?;
    let width = rel.columns.len();
    let column = match &collection {
        ScalarExpr::Column { index, .. } if !is_outer(*index) => *index,
        _ => {
            let mut items: Vec<(String, ScalarExpr)> =
                rel.columns.iter().map(|c| c.name.clone()).zip(identity(&rel.columns)).collect();
            items.push(("$collection".to_owned(), collection));
            rel = rel.project(items);
            width
        }
    };
    let mut columns = rel.columns.clone();
    columns.extend(elements.iter().cloned());
    let mut result = Rel {
        kind: RelKind::Unnest { input: Box::new(rel), column, is_left, with_ordinality: unnest.with_ordinality },
        columns,
    };
    if column == width {
        let items = identity(&result.columns).into_iter().zip(&result.columns).enumerate();
        let items = items.filter(|(i, _)| *i != width).map(|(_, (e, c))| (c.name.clone(), e)).collect();
        result = result.project(items);
    }
    let alias = unnest.alias.map(|alias| alias.name.value.clone());
    let scope = scope.beside(&Scope::new(alias, elements)).over(result.columns.clone());
    Ok((result, scope))
}

/// The columns of an element, named by the alias where it names them.
fn element_columns(collection: &DataType, is_left: bool, unnest: UnnestRef<'_>, span: Span) -> Bound<Vec<RelColumn>> {
    let mut columns: Vec<(String, DataType)> = match &collection.kind {
        TypeKind::Array(element) => match &element.kind {
            TypeKind::Row(fields) => fields
                .iter()
                .map(|f| (f.name.clone(), f.data_type.with_nullable(f.data_type.nullable || element.nullable)))
                .collect(),
            _ => vec![("EXPR$0".to_owned(), (**element).clone())],
        },
        TypeKind::Map(key, value) => {
            vec![("KEY".to_owned(), (**key).clone()), ("VALUE".to_owned(), (**value).clone())]
        }
        TypeKind::Multiset(element) if matches!(element.kind, TypeKind::Row(_)) => {
            return Err(vec![refused("UNNEST of a MULTISET of rows", span)]);
        }
        TypeKind::Multiset(element) => vec![("EXPR$0".to_owned(), (**element).clone())],
        other => {
            return Err(vec![
                Diagnostic::error("W0304", "UNNEST takes a collection")
                    .at(span)
                    .label(format!("expected an ARRAY, MAP or MULTISET, found {other}")),
            ]);
        }
    };
    if unnest.with_ordinality {
        columns.push(("ORDINALITY".to_owned(), DataType::not_null(TypeKind::Int)));
    }
    if let Some(alias) = unnest.alias {
        if !alias.columns.is_empty() && alias.columns.len() != columns.len() {
            return Err(vec![
                Diagnostic::error("W0309", "the column list does not fit the elements of UNNEST")
                    .at(alias.name.span)
                    .label(format!("expected {} names, found {}", columns.len(), alias.columns.len())),
            ]);
        }
        for ((name, _), given) in columns.iter_mut().zip(&alias.columns) {
            name.clone_from(&given.value);
        }
        // A table alias alone names the one column of an element too.
        if let ([(name, _)], true) = (columns.as_mut_slice(), alias.columns.is_empty())
            && name == "EXPR$0"
        {
            name.clone_from(&alias.name.value);
        }
    }
    Ok(columns
        .into_iter()
        .map(|(name, data_type)| {
            let nullable = data_type.nullable || is_left;
            RelColumn::new(name, data_type.with_nullable(nullable))
        })
        .collect())
}
