//! Queries: FROM, WHERE, GROUP BY and SELECT, in the order in which SQL means them.

use std::collections::BTreeMap;
use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::table::ConnectorRegistry;
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::ScalarExpr;
use wiesel_plan::join::LookupRetry;

use super::expr::{Bound, Diagnostics, ExprBinder, both, cast_to, common_type, contains_aggregate, refused};
use super::grouping;
use super::match_recognize;
use super::rank;
use super::scope::Scope;
use super::user_function;
use super::window;
use super::{batch, order, over, set_operation};
use crate::catalog::{Catalog, FunctionScope, Object, Table};
use crate::config::Config;
use crate::parser::ast::{
    self, Expr, ExprKind, FunctionCall, Ident, ObjectName, Query, Select, SelectItem, SetExpr, SetExprKind, TableAlias,
    TableRef, TableRefKind,
};
use crate::plan::join::settle;
use crate::plan::rel::{Rel, RelColumn, RelKind};

/// Views and subqueries inside one another beyond this are refused.
const NESTING_MAX: usize = 64;

/// Binds queries in a session.
pub struct QueryBinder<'a> {
    /// Names.
    pub catalog: &'a Catalog,
    /// SET values.
    pub config: &'a Config,
    /// What tables can do, asked again for tables with an OPTIONS hint.
    pub registry: &'a dyn ConnectorRegistry,
    /// STATE_TTL hints of the SELECT being bound: table or alias, and milliseconds.
    pub(super) state_ttl_hints: Vec<(String, u64)>,
    /// LOOKUP hints of the SELECT: table or alias, and the retry.
    pub(super) lookup_hints: Vec<(String, Option<LookupRetry>)>,
    /// Inside a subquery: what names mean in the query around it.
    pub(super) outer: Option<Scope>,
    place: Option<(String, String)>,
    /// The queries of WITH by name; `None` for one that is wrong.
    ctes: Vec<(String, Option<Rel>)>,
    nesting: usize,
}

impl<'a> QueryBinder<'a> {
    /// A binder that looks names up from the session's current place.
    pub fn new(catalog: &'a Catalog, config: &'a Config, registry: &'a dyn ConnectorRegistry) -> Self {
        QueryBinder {
            catalog,
            config,
            registry,
            state_ttl_hints: Vec::new(),
            lookup_hints: Vec::new(),
            outer: None,
            place: None,
            ctes: Vec::new(),
            nesting: 0,
        }
    }

    /// Binds a whole query and checks that nothing is left that only makes sense below an outer filter.
    pub fn bind(&mut self, query: &Query) -> Bound<Rel> {
        let rel = self.bind_query(query)?;
        match rank::row_number_left(&rel) {
            None => Ok(rel),
            Some(_) if self.config.is_batch() => Ok(rel),
            Some(span) => Err(vec![rank::unbounded(span)]),
        }
    }

    /// Binds the query of a view, where a ROW_NUMBER() may wait for the filter of whoever reads the view.
    pub fn bind_view(&mut self, query: &Query) -> Bound<Rel> {
        self.bind_query(query)
    }

    /// Binds a query that stands inside another.
    pub(super) fn bind_nested(&mut self, query: &Query) -> Bound<Rel> {
        self.bind_query(query)
    }

    fn bind_query(&mut self, query: &Query) -> Bound<Rel> {
        if self.nesting >= NESTING_MAX {
            return Err(vec![Diagnostic::error("W0105", "views and subqueries are nested too deeply").at(query.span)]);
        }
        self.nesting += 1;
        let outer_ctes = self.ctes.len();
        let result = self.bind_query_body(query);
        self.ctes.truncate(outer_ctes);
        self.nesting -= 1;
        result
    }

    fn bind_query_body(&mut self, query: &Query) -> Bound<Rel> {
        if let Some(with) = &query.with {
            if let Some(span) = with.recursive {
                return Err(vec![refused("WITH RECURSIVE", span)]);
            }
            let mut errors = Vec::new();
            for cte in &with.ctes {
                let bound = self.bind_query(&cte.query).and_then(|mut rel| {
                    rename(&mut rel, &cte.columns, cte.name.span)?;
                    Ok(rel)
                });
                let rel = bound.map_err(|mut e| errors.append(&mut e)).ok();
                self.ctes.push((cte.name.value.clone(), rel));
            }
            if !errors.is_empty() {
                errors.extend(order::bind(self, query, self.nesting > 1).err().unwrap_or_default());
                return Err(errors);
            }
        }
        order::bind(self, query, self.nesting > 1)
    }

    pub(super) fn bind_set(&mut self, set: &SetExpr) -> Bound<Rel> {
        match &set.kind {
            SetExprKind::Select(select) => self.bind_select(select),
            SetExprKind::Values(rows) => self.bind_values(rows, set.span),
            SetExprKind::Query(query) => self.bind_query(query),
            SetExprKind::Table(name) => self.bind_table(name, &[]).map(|(rel, _)| rel),
            SetExprKind::SetOperation { op, all, left, right } => {
                let (left, right) = both(self.bind_set(left), self.bind_set(right))?;
                set_operation::combine(*op, *all, left, right, set.span)
            }
        }
    }

    fn bind_values(&mut self, rows: &[ast::ValuesRow], span: Span) -> Bound<Rel> {
        let mut scope = Scope::default().with_functions(self.functions());
        if let Some(outer) = &self.outer {
            scope.set_outer(outer);
        }
        let mut bound = Vec::with_capacity(rows.len());
        for row in rows {
            let values: Vec<ScalarExpr> =
                row.values.iter().map(|v| ExprBinder::plain(&scope).bind(v)).collect::<Bound<_>>()?;
            bound.push((values, row.span));
        }
        let width = bound.first().map_or(0, |(values, _)| values.len());
        if let Some((values, at)) = bound.iter().find(|(values, _)| values.len() != width) {
            return Err(vec![
                Diagnostic::error("W0309", "rows of VALUES differ in length")
                    .at(*at)
                    .label(format!("expected {width} values, found {}", values.len())),
            ]);
        }
        let mut columns = Vec::with_capacity(width);
        for position in 0..width {
            let types: Vec<DataType> =
                bound.iter().filter_map(|(values, _)| values.get(position)).map(ScalarExpr::data_type).collect();
            let common = common_type(&types, span)?;
            columns.push(RelColumn::new(format!("EXPR${position}"), common));
        }
        let session = self.config.session();
        let mut literal_rows = Vec::new();
        let mut computed = Vec::new();
        for (values, _) in bound {
            let values: Vec<ScalarExpr> = values
                .into_iter()
                .zip(&columns)
                .map(|(value, column)| wiesel_expr::fold(cast_to(value, &column.data_type), &session))
                .collect();
            let literals: Option<Vec<Value>> = values
                .iter()
                .map(|v| if let ScalarExpr::Literal { value, .. } = v { Some(value.clone()) } else { None })
                .collect();
            match literals {
                Some(row) => literal_rows.push(row),
                None => computed.push(values),
            }
        }
        let mut parts = Vec::new();
        if !literal_rows.is_empty() || computed.is_empty() {
            parts.push(Rel { kind: RelKind::Values(literal_rows), columns: columns.clone() });
        }
        for project in computed {
            let input = Box::new(single_row());
            parts.push(Rel { kind: RelKind::Calc { input, filter: None, project }, columns: columns.clone() });
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        Ok(Rel { kind: RelKind::UnionAll(parts), columns })
    }

    // ------------------------------------------------------------ FROM

    pub(super) fn bind_from(&mut self, from: &TableRef) -> Bound<(Rel, Scope)> {
        let (rel, scope) = self.bind_relation(from)?;
        let functions = self.functions();
        Ok((rel, scope.with_functions(functions)))
    }

    /// The user functions that can be called at this place of the query.
    pub(super) fn functions(&self) -> Option<Arc<FunctionScope>> {
        self.catalog.function_scope(self.place.as_ref())
    }

    fn bind_relation(&mut self, from: &TableRef) -> Bound<(Rel, Scope)> {
        match &from.kind {
            TableRefKind::Table { name, hints, as_of, alias } => {
                if as_of.is_some() {
                    return Err(vec![refused("FOR SYSTEM_TIME AS OF", from.span)]);
                }
                let (rel, table) = self.bind_table(name, hints)?;
                aliased(rel, alias.as_ref(), Some(table))
            }
            TableRefKind::Derived { query, alias, .. } => {
                let rel = self.bind_query(query)?;
                aliased(rel, alias.as_ref(), None)
            }
            TableRefKind::Function { lateral, call, alias, .. } => {
                if let Some(unnest) = super::unnest::unnest_ref(from, self.functions().as_deref()) {
                    return self.bind_unnest_alone(unnest);
                }
                let rel = self.bind_table_function(call, *lateral)?;
                aliased(rel, alias.as_ref(), None)
            }
            TableRefKind::Unnest { .. } => match super::unnest::unnest_ref(from, None) {
                Some(unnest) => self.bind_unnest_alone(unnest),
                None => Err(vec![refused("UNNEST", from.span)]),
            },
            TableRefKind::Join(join) => self.bind_join(join),
            TableRefKind::Parenthesised(inner) => self.bind_from(inner),
            TableRefKind::MatchRecognize(clause) => {
                let (input, _) = self.bind_from(&clause.input)?;
                let rel = match_recognize::bind(clause, input, self.functions())?;
                aliased(rel, clause.alias.as_ref(), None)
            }
        }
    }

    pub(super) fn bind_table(&mut self, name: &ObjectName, hints: &[ast::Hint]) -> Bound<(Rel, String)> {
        let parts: Vec<&str> = name.parts.iter().map(|p| p.value.as_str()).collect();
        let label = name.last().value.clone();
        if let [single] = parts.as_slice()
            && let Some((_, rel)) = self.ctes.iter().rev().find(|(n, _)| n == single)
        {
            // A query of WITH that is wrong has been told already.
            return rel.clone().map(|rel| (rel, label)).ok_or_else(Vec::new);
        }
        let path = self.catalog.path(&parts, self.place.as_ref());
        match self.catalog.get(&path) {
            Some(Object::Table(table)) => {
                let table = if hints.is_empty() { table.clone() } else { self.hinted(table, hints)? };
                Ok((scan(table), label))
            }
            Some(Object::View(view)) => {
                let view = view.clone();
                let outer_place = self.place.replace(view.place.clone());
                let outer_ctes = std::mem::take(&mut self.ctes);
                let outer = self.outer.take();
                let rel = self.bind_query(&view.query);
                self.outer = outer;
                self.place = outer_place;
                self.ctes = outer_ctes;
                let mut rel = rel.map_err(|errors| inside_view(errors, &label))?;
                for (column, name) in rel.columns.iter_mut().zip(&view.columns) {
                    column.name.clone_from(name);
                }
                Ok((rel, label))
            }
            None => {
                let (catalog, database) = self.catalog.current();
                let names: Vec<&str> = self.catalog.list(catalog, database).into_keys().collect();
                let known = if names.is_empty() { "nothing is declared yet".to_owned() } else { names.join(", ") };
                Err(vec![
                    Diagnostic::error("W0201", format!("no table or view `{}`", parts.join(".")))
                        .at(name.span)
                        .label(format!("known here: {known}"))
                        .did_you_mean(&label, names.iter().copied()),
                ])
            }
        }
    }

    fn hinted(&self, table: &Arc<Table>, hints: &[ast::Hint]) -> Bound<Arc<Table>> {
        let mut changed = (**table).clone();
        for hint in hints {
            if !hint.name.value.eq_ignore_ascii_case("OPTIONS") {
                return Err(vec![refused(&format!("the hint {}", hint.name.value), hint.span)]);
            }
            for arg in &hint.args {
                let ast::HintArg::Pair(pair) = arg else {
                    return Err(vec![
                        Diagnostic::error("W0305", "an OPTIONS hint takes 'key' = 'value' pairs").at(hint.span),
                    ]);
                };
                let value = self.config.expanded(pair).map_err(|e| vec![e])?;
                changed.descriptor.options.insert(pair.key.value.clone(), value);
            }
        }
        changed.info = self.registry.info(&changed.descriptor).map_err(|e| {
            let span = hints.first().map_or_else(Span::default, |h| h.span);
            vec![from_connector(&e, span)]
        })?;
        Ok(Arc::new(changed))
    }

    fn bind_table_function(&mut self, call: &FunctionCall, is_lateral: bool) -> Bound<Rel> {
        let name = call.name.last().value.to_ascii_uppercase();
        let is_window = window::TABLE_FUNCTIONS.contains(&name.as_str());
        if let Some(error) = user_function::table_function_error(self.functions().as_deref(), call, is_window) {
            return Err(vec![error]);
        }
        if !is_window {
            return Err(vec![
                Diagnostic::error("W0305", format!("no table function `{name}`"))
                    .at(call.name.span)
                    .did_you_mean(&name, window::TABLE_FUNCTIONS.iter().copied()),
            ]);
        }
        if is_lateral {
            return Err(vec![refused(&format!("LATERAL TABLE({name}(...))"), call.span)]);
        }
        let arguments = window::read_call(&name, call)?;
        let input = match &arguments.data.source {
            ast::TableArgSource::Name(name, hints) => self.bind_table(name, hints)?.0,
            ast::TableArgSource::Query(query) => self.bind_query(query)?,
            ast::TableArgSource::Function(inner) => self.bind_table_function(inner, false)?,
        };
        let time_column = arguments.time_column;
        let Some(index) = input.columns.iter().position(|c| c.name == time_column.value) else {
            return Err(vec![
                Diagnostic::error("W0301", format!("no column `{}` in the table of {name}", time_column.value))
                    .at(time_column.span)
                    .did_you_mean(&time_column.value, input.columns.iter().map(|c| c.name.as_str())),
            ]);
        };
        let partition = window::partition_columns(&name, &arguments.data.partition_by, &input)?;
        let kind = window::window_kind(&name, &arguments.sizes, false, call.span)?;
        let node = window::window_node(kind, &input, index, &self.config.time_zone(), time_column.span)?;
        let mut columns = input.columns.clone();
        // The input's own time attribute becomes an ordinary column; window_time is the attribute from here on.
        if let Some(column) = columns.get_mut(index) {
            column.time = None;
        }
        columns.extend(window::window_columns(&node));
        Ok(Rel { kind: RelKind::Window { input: Box::new(input), window: node, partition }, columns })
    }

    // ------------------------------------------------------------ SELECT

    pub(super) fn bind_select(&mut self, select: &Select) -> Bound<Rel> {
        let (mut hints, mut lookups) = (Vec::new(), Vec::new());
        for hint in &select.hints {
            if super::lookup_hint::is_lookup(hint) {
                lookups.push(super::lookup_hint::read(hint)?);
                continue;
            }
            if !hint.name.value.eq_ignore_ascii_case("STATE_TTL") {
                return Err(vec![refused(&format!("the hint {}", hint.name.value), hint.span)]);
            }
            hints.extend(super::join::state_ttl_hints(hint)?);
        }
        if let Some(qualify) = &select.qualify {
            return Err(vec![refused("QUALIFY", qualify.span)]);
        }
        let (mut rel, mut scope) = match &select.from {
            Some(from) => {
                let outer_hints = std::mem::replace(&mut self.state_ttl_hints, hints.clone());
                let outer_lookups = std::mem::replace(&mut self.lookup_hints, lookups.clone());
                let bound = self.bind_from(from);
                self.state_ttl_hints = outer_hints;
                self.lookup_hints = outer_lookups;
                match bound {
                    Ok(bound) => bound,
                    Err(mut errors) => {
                        errors.extend(self.errors_beside_from(select));
                        return Err(errors);
                    }
                }
            }
            None => (single_row(), Scope::default().with_functions(self.functions())),
        };
        if let Some(outer) = &self.outer {
            scope.set_outer(outer);
        }
        let mut errors: Diagnostics = Vec::new();
        if let Some((name, _)) = hints.iter().find(|(name, _)| scope.relation(name).is_none())
            && let Some(hint) = select.hints.iter().find(|hint| hint.name.value.eq_ignore_ascii_case("STATE_TTL"))
        {
            errors.push(
                Diagnostic::error("W0201", format!("the hint STATE_TTL names `{name}`, which is not in FROM"))
                    .at(hint.span),
            );
        }
        for (hint, (name, _)) in select.hints.iter().filter(|h| super::lookup_hint::is_lookup(h)).zip(&lookups) {
            if scope.relation(name).is_none() {
                errors.push(
                    Diagnostic::error("W0201", format!("the hint LOOKUP names `{name}`, which is not in FROM"))
                        .at(hint.span),
                );
            }
        }
        if let Some(selection) = &select.selection {
            // The clauses behind a wrong WHERE see the columns in front of it, so that their errors are told together.
            let unfiltered = (rel.clone(), scope.clone());
            match self.bind_where(rel, scope, selection) {
                Ok((filtered, over, correlated)) => {
                    let filtered = correlated.into_iter().fold(filtered, Rel::filter);
                    (rel, scope) = (filtered, over);
                }
                Err(mut e) => {
                    errors.append(&mut e);
                    (rel, scope) = unfiltered;
                }
            }
        }
        match self.bind_items(rel, scope, select, &hints) {
            Ok(rel) if errors.is_empty() => Ok(rel),
            Ok(_) => Err(errors),
            Err(mut e) => {
                errors.append(&mut e);
                Err(errors)
            }
        }
    }

    /// GROUP BY, HAVING and the select list, over the rows that WHERE lets through.
    fn bind_items(&mut self, mut rel: Rel, mut scope: Scope, select: &Select, hints: &[(String, u64)]) -> Bound<Rel> {
        let functions = self.functions();
        let is_aggregate = |item: &SelectItem| matches!(item, SelectItem::Expr { expr, .. } if contains_aggregate(expr) || super::python::holds_aggregate(expr, functions.as_deref()));
        let is_grouped = select.group_by.is_some() || select.having.is_some() || select.items.iter().any(is_aggregate);
        if is_grouped {
            for expr in super::subquery_grouped::below_group_by(select) {
                (rel, scope) = self.bind_scalars(rel, scope, expr)?;
            }
        } else {
            for item in &select.items {
                if let SelectItem::Expr { expr, .. } = item {
                    (rel, scope) = self.bind_scalars(rel, scope, expr)?;
                }
            }
        }
        rel = self.settle_ranks(settle(rel), select.span)?;
        scope = scope.over(rel.columns.clone());
        let items = expand(&select.items, &scope)?;
        let rel = if is_grouped {
            let mut grouped = self.bind_grouped(rel, &scope, select, &items)?;
            if let Some((_, ttl_ms)) = hints.iter().find(|(name, _)| scope.relation(name).is_some()) {
                grouping::set_state_ttl(&mut grouped, *ttl_ms);
            }
            grouped
        } else {
            let calls = over_calls(&items);
            if !calls.is_empty() {
                rel = if self.config.is_batch() {
                    batch::bind(rel, &mut scope, &calls, &select.windows, &self.config.session())?
                } else {
                    over::bind(rel, &mut scope, &calls, &select.windows, &self.config.session())?
                };
            }
            bind_projection(rel, scope, select, &items)?
        };
        if !select.distinct {
            return Ok(rel);
        }
        Ok(set_operation::distinct(rel))
    }

    fn bind_grouped(&mut self, rel: Rel, scope: &Scope, select: &Select, items: &[Item<'_>]) -> Bound<Rel> {
        let mut errors: Diagnostics = Vec::new();
        let exprs = items.iter().filter_map(|item| if let Item::Expr { expr, .. } = item { Some(*expr) } else { None });
        let mut above = self.above_group_by(exprs.collect(), select.having.as_ref(), scope)?;
        let scope = &above.take_scope();
        let has_keys = |result: Bound<grouping::GroupBy>, errors: &mut Diagnostics| match result {
            Ok(bound) => Ok((bound, true)),
            Err(mut e) => {
                errors.append(&mut e);
                // Without its keys the rest is bound for the sake of its own errors.
                grouping::bind_group_by(None, scope).map(|bound| (bound, false))
            }
        };
        let (bound, has_keys) = has_keys(grouping::bind_group_by(select.group_by.as_ref(), scope), &mut errors)?;
        // That a column is not being grouped says nothing when the keys are not known.
        let is_told = |e: &Diagnostic| has_keys || e.code != "W0306";
        let mut grouping = bound.grouping(scope);
        let mut project = Vec::new();
        for (position, item) in items.iter().enumerate() {
            let bound = match item {
                Item::Expr { expr, .. } => {
                    ExprBinder { scope, grouping: Some(&mut grouping), pattern: None }.bind(expr)
                }
                Item::Column(index) => match grouping
                    .keys
                    .iter()
                    .position(|k| matches!(k, ScalarExpr::Column { index: i, .. } if i == index))
                {
                    Some(key) => Ok(ScalarExpr::Column { index: key, data_type: scope.column(*index).data_type() }),
                    None => Err(vec![
                        Diagnostic::error("W0306", "`*` brings columns that are not being grouped").at(select.span),
                    ]),
                },
            };
            match bound {
                Ok(expr) => project.push((item.name(position, scope), expr)),
                Err(e) => errors.extend(e.into_iter().filter(is_told)),
            }
        }
        if let Err(e) = above.bind(scope, &mut grouping) {
            errors.extend(e.into_iter().filter(is_told));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let project: Vec<(String, ScalarExpr)> =
            project.into_iter().map(|(name, expr)| (name, grouping.settle(expr))).collect();
        let span = select.group_by.as_ref().map_or(select.span, |g| g.span);
        let aggregated = grouping::aggregate(rel, &grouping, bound.window, &self.config.time_zone(), span)?;
        let aggregated = self.join_above(aggregated, above, scope, &grouping)?;
        Ok(aggregated.project(project))
    }
}

// ---------------------------------------------------------------- select lists

/// An item of a select list, wildcards expanded.
enum Item<'a> {
    Expr { expr: &'a Expr, alias: Option<&'a Ident> },
    Column(usize),
}

impl Item<'_> {
    fn name(&self, position: usize, scope: &Scope) -> String {
        match self {
            Item::Expr { alias: Some(alias), .. } => alias.value.clone(),
            Item::Expr { expr, alias: None } => match &expr.kind {
                ExprKind::Name(parts) => parts.last().map_or_else(String::new, |p| p.value.clone()),
                ExprKind::Field { field, .. } => field.value.clone(),
                _ => format!("EXPR${position}"),
            },
            Item::Column(index) => scope.columns().get(*index).map_or_else(String::new, |c| c.name.clone()),
        }
    }
}

fn expand<'a>(items: &'a [SelectItem], scope: &Scope) -> Bound<Vec<Item<'a>>> {
    let mut expanded = Vec::new();
    for item in items {
        match item {
            SelectItem::Expr { expr, alias } => expanded.push(Item::Expr { expr, alias: alias.as_ref() }),
            SelectItem::Wildcard(_) => expanded.extend(scope.star().into_iter().map(Item::Column)),
            SelectItem::QualifiedWildcard { prefix, span } => match scope.relation(&prefix.last().value) {
                Some(range) => expanded.extend(range.map(Item::Column)),
                None => {
                    return Err(vec![
                        Diagnostic::error("W0301", format!("no table `{}` here", prefix.last().value)).at(*span),
                    ]);
                }
            },
        }
    }
    Ok(expanded)
}

/// The calls with OVER that become an OVER aggregate. ROW_NUMBER() alone may be a Top-N, which a filter outside decides.
fn over_calls<'a>(items: &[Item<'a>]) -> Vec<&'a FunctionCall> {
    let mut calls = Vec::new();
    let mut is_ranking = true;
    for item in items {
        if let Item::Expr { expr, .. } = item {
            let before = calls.len();
            over::collect(expr, &mut calls);
            is_ranking &= calls.len() == before || rank::row_number_call(expr).is_some();
        }
    }
    if is_ranking { Vec::new() } else { calls }
}

fn bind_projection(mut rel: Rel, mut scope: Scope, select: &Select, items: &[Item<'_>]) -> Bound<Rel> {
    let mut project = Vec::new();
    let mut errors = Vec::new();
    for (position, item) in items.iter().enumerate() {
        let name = item.name(position, &scope);
        let bound = match item {
            Item::Column(index) => Ok(scope.column(*index)),
            Item::Expr { expr, .. } => match rank::row_number_call(expr) {
                Some((call, over)) => rank::window_spec(over, &select.windows)
                    .and_then(|spec| rank::row_number(&rel, &scope, call, spec))
                    .map(|numbered| {
                        let index = numbered.columns.len() - 1;
                        rel = numbered;
                        let data_type = DataType::not_null(TypeKind::BigInt);
                        scope = scope.over(rel.columns.clone());
                        ScalarExpr::Column { index, data_type }
                    }),
                None => ExprBinder::plain(&scope).bind(expr),
            },
        };
        match bound {
            Ok(expr) => project.push((name, expr)),
            Err(mut e) => errors.append(&mut e),
        }
    }
    if errors.is_empty() { Ok(rel.project(unique_names(project))) } else { Err(errors) }
}

// ---------------------------------------------------------------- small parts

/// A name that stands already gets a number behind it, as in Flink: `id`, `id0`.
fn unique_names(mut items: Vec<(String, ScalarExpr)>) -> Vec<(String, ScalarExpr)> {
    let mut used = std::collections::BTreeSet::new();
    for (name, _) in &mut items {
        let mut attempt = 0;
        let mut unique = name.clone();
        while !used.insert(unique.clone()) {
            unique = format!("{name}{attempt}");
            attempt += 1;
        }
        *name = unique;
    }
    items
}

fn scan(table: Arc<Table>) -> Rel {
    let columns = table
        .columns
        .iter()
        .map(|c| RelColumn { time: c.time, ..RelColumn::new(c.name.clone(), c.data_type.clone()) })
        .collect();
    Rel { kind: RelKind::Scan { table }, columns }
}

pub(super) fn single_row() -> Rel {
    Rel { kind: RelKind::Values(vec![Vec::new()]), columns: Vec::new() }
}

/// The scope of a relation under its alias.
pub(super) fn aliased(mut rel: Rel, alias: Option<&TableAlias>, default: Option<String>) -> Bound<(Rel, Scope)> {
    let Some(alias) = alias else {
        let scope = Scope::new(default, rel.columns.clone());
        return Ok((rel, scope));
    };
    rename(&mut rel, &alias.columns, alias.name.span)?;
    let scope = Scope::new(Some(alias.name.value.clone()), rel.columns.clone());
    Ok((rel, scope))
}

fn rename(rel: &mut Rel, names: &[Ident], span: Span) -> Bound<()> {
    if names.is_empty() {
        return Ok(());
    }
    if names.len() != rel.columns.len() {
        return Err(vec![
            Diagnostic::error("W0309", "the column list does not fit the query").at(span).label(format!(
                "expected {} names, found {}",
                rel.columns.len(),
                names.len()
            )),
        ]);
    }
    for (column, name) in rel.columns.iter_mut().zip(names) {
        column.name.clone_from(&name.value);
    }
    Ok(())
}

/// An error inside a view names the view: its text stands in another place of the file than its use.
fn inside_view(errors: Diagnostics, view: &str) -> Diagnostics {
    errors
        .into_iter()
        .map(|mut e| {
            e.message = format!("{} (in view `{view}`)", e.message);
            e
        })
        .collect()
}

/// A connector's refusal as a diagnostic at a place of the text.
pub fn from_connector(error: &wiesel_core::Error, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::error(error.code(), error.message()).at(span);
    match error.hint_text() {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}

/// Options of a table, as a map, their variables expanded.
pub fn options_of(pairs: &[ast::OptionPair], config: &Config) -> Bound<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    for pair in pairs {
        let value = config.expanded(pair).map_err(|e| vec![e])?;
        if options.insert(pair.key.value.clone(), value).is_some() {
            return Err(vec![
                Diagnostic::error("W0505", format!("option '{}' is given twice", pair.key.value)).at(pair.key.span),
            ]);
        }
    }
    Ok(options)
}
