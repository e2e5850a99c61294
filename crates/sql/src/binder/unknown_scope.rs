//! Errors of a query whose FROM is wrong, so that all that are independent of it are told together with it.
//!
//! Without FROM nobody knows the columns, so nothing that depends on a name is judged: no column, no type of an expression that holds one,
//! no grouping. What is left says something for certain: functions that do not exist, expressions of literals alone, and the tables of
//! subqueries. An empty list of errors means that the error was told where it stands, as with a WITH query that is wrong by itself.

use super::expr::{Diagnostics, ExprBinder, ast_children, contains_aggregate, unknown_function};
use super::query::QueryBinder;
use super::scope::Scope;
use super::subquery_grouped::keys;
use super::subquery_value::value_subqueries;
use super::user_function;
use crate::parser::ast::{Expr, ExprKind, Select, SelectItem};

/// Calls that are no functions of the registry and no aggregates either: windows of GROUP BY, and what only OVER and LATERAL make sense of.
const OTHER_CALLS: &[&str] =
    &["HOP", "IF", "IFNULL", "NULLIF", "ROW_NUMBER", "SESSION", "TUMBLE", "CUMULATE", "COALESCE"];

impl QueryBinder<'_> {
    /// The errors of the other clauses of a SELECT whose FROM could not be bound.
    pub(super) fn errors_beside_from(&mut self, select: &Select) -> Diagnostics {
        let mut exprs: Vec<&Expr> = Vec::new();
        for item in &select.items {
            if let SelectItem::Expr { expr, .. } = item {
                exprs.push(expr);
            }
        }
        exprs.extend(&select.selection);
        select.group_by.iter().flat_map(|g| &g.items).for_each(|item| keys(item, &mut exprs));
        exprs.extend(&select.having);
        let mut errors = Vec::new();
        for expr in exprs {
            self.errors_without_columns(expr, &mut errors);
            for found in value_subqueries(expr) {
                // A column that is missing there may be one of the tables that are not known.
                let of_query = self.bind_nested(found.query).err().unwrap_or_default();
                errors.extend(of_query.into_iter().filter(|e| !matches!(e.code, "W0301" | "W0302" | "W0306")));
            }
        }
        errors
    }

    fn errors_without_columns(&self, expr: &Expr, errors: &mut Diagnostics) {
        if !reads_names(expr) {
            let scope = Scope::default().with_functions(self.functions());
            errors.extend(ExprBinder::plain(&scope).bind(expr).err().unwrap_or_default());
            return;
        }
        if let ExprKind::Function(call) = &expr.kind
            && call.tail.over.is_none()
            && !contains_aggregate(expr)
            && !OTHER_CALLS.contains(&call.name.last().value.to_ascii_uppercase().as_str())
            && !user_function::is_user_function(self.functions().as_deref(), &call.name)
        {
            errors.extend(unknown_function(&call.name.last().value, call.name.span));
        }
        ast_children(expr, &mut |child| self.errors_without_columns(child, errors));
    }
}

/// Whether the meaning of an expression depends on the rows around it.
fn reads_names(expr: &Expr) -> bool {
    let mut found = contains_aggregate(expr)
        || matches!(
            &expr.kind,
            ExprKind::Name(_)
                | ExprKind::Subquery(_)
                | ExprKind::Exists(_)
                | ExprKind::InSubquery { .. }
                | ExprKind::Quantified { .. }
                | ExprKind::CollectionQuery { .. }
        );
    if let ExprKind::Function(call) = &expr.kind {
        let name = call.name.last().value.to_ascii_uppercase();
        found |= call.tail.over.is_some() || OTHER_CALLS.contains(&name.as_str());
    }
    ast_children(expr, &mut |child| found |= reads_names(child));
    found
}
