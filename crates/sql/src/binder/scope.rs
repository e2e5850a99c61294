//! What a column name means at a place of the query: the relations of FROM side by side, each with its alias.

use std::sync::Arc;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind};
use wiesel_expr::ScalarExpr;

use crate::catalog::FunctionScope;
use crate::parser::ast::Ident;
use crate::plan::rel::{OUTER_BASE, RelColumn, TimeAttribute};

/// The relations of a FROM clause; their columns stand one after the other.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    relations: Vec<Relation>,
    columns: Vec<RelColumn>,
    /// Columns that USING and NATURAL made one of two: name, the column it means, the ones it stands for as well.
    shared: Vec<(String, usize, Vec<usize>)>,
    /// What subqueries inside expressions stand for, by their place in the text.
    subqueries: Vec<(Span, ScalarExpr)>,
    /// What names mean in the query around this subquery.
    outer: Option<Box<Scope>>,
    /// Calls with OVER, by their place in the text: the columns they became.
    overs: Vec<(Span, ScalarExpr)>,
    /// The user functions that can be called here.
    functions: Option<Arc<FunctionScope>>,
}

#[derive(Debug, Clone)]
struct Relation {
    alias: Option<String>,
    start: usize,
    end: usize,
}

impl Scope {
    /// A scope of one relation.
    pub fn new(alias: Option<String>, columns: Vec<RelColumn>) -> Self {
        let end = columns.len();
        Scope { relations: vec![Relation { alias, start: 0, end }], columns, ..Scope::default() }
    }

    /// This scope's relations and then another's.
    #[must_use]
    pub fn beside(&self, other: &Scope) -> Scope {
        let shift = self.columns.len();
        let moved = other.relations.iter().map(|r| Relation {
            alias: r.alias.clone(),
            start: r.start + shift,
            end: r.end + shift,
        });
        let moved_shared = other
            .shared
            .iter()
            .map(|(name, column, others)| (name.clone(), column + shift, others.iter().map(|c| c + shift).collect()));
        Scope {
            relations: self.relations.iter().cloned().chain(moved).collect(),
            columns: self.columns.iter().chain(&other.columns).cloned().collect(),
            shared: self.shared.iter().cloned().chain(moved_shared).collect(),
            functions: self.functions.clone().or_else(|| other.functions.clone()),
            ..Scope::default()
        }
    }

    /// The same with the user functions that can be called here.
    #[must_use]
    pub fn with_functions(mut self, functions: Option<Arc<FunctionScope>>) -> Scope {
        self.functions = functions;
        self
    }

    /// The user functions that can be called here.
    pub fn functions(&self) -> Option<&Arc<FunctionScope>> {
        self.functions.as_ref()
    }

    /// The same relations over columns that may be more, or of other kinds.
    #[must_use]
    pub fn over(&self, columns: Vec<RelColumn>) -> Scope {
        Scope { columns, ..self.clone() }
    }

    /// Makes columns of USING one: each name means its column, and the others are found by their table only.
    pub fn share(&mut self, columns: Vec<(String, usize, Vec<usize>)>) {
        for (name, column, others) in columns {
            // A name shared in a join below is shared by one more side now.
            let mut others = others;
            self.shared.retain(|(known, c, more)| {
                let is_same = *known == name && (others.contains(c) || *c == column);
                if is_same {
                    others.extend(more.iter().copied().chain([*c]).filter(|i| *i != column));
                }
                !is_same
            });
            others.sort_unstable();
            others.dedup();
            self.shared.push((name, column, others));
        }
    }

    /// Makes the names of the query around this one known, for those that this one does not have.
    pub fn set_outer(&mut self, outer: &Scope) {
        self.outer = Some(Box::new(Scope { outer: None, ..outer.clone() }));
    }

    /// What the subquery that stands there is worth.
    pub fn subquery(&self, span: Span) -> Option<&ScalarExpr> {
        self.subqueries.iter().find(|(at, _)| *at == span).map(|(_, value)| value)
    }

    /// A subquery has been joined: its value over the columns.
    pub fn add_subquery(&mut self, span: Span, value: ScalarExpr) {
        self.subqueries.push((span, value));
    }

    /// The columns of `*`: shared ones first, once, then the others.
    pub fn star(&self) -> Vec<usize> {
        let first = self.shared.iter().map(|(_, column, _)| *column);
        let is_rest = |i: &usize| self.shared.iter().all(|(_, column, others)| column != i && !others.contains(i));
        // Columns behind the relations are subqueries' values.
        let end = self.relations.last().map_or(self.columns.len(), |r| r.end);
        first.chain((0..end).filter(is_rest)).collect()
    }

    /// The position of a column by its name alone.
    pub fn position(&self, name: &Ident) -> Result<usize, Vec<Diagnostic>> {
        match self.find(&name.value, 0..self.columns.len(), name) {
            Ok(Some(index)) => Ok(index),
            Ok(None) => Err(vec![self.unknown(name, 0..self.columns.len())]),
            Err(e) => Err(vec![e]),
        }
    }

    /// Makes the columns known that calls with OVER became.
    pub fn set_overs(&mut self, overs: Vec<(Span, ScalarExpr)>) {
        self.overs = overs;
    }

    /// The column of the call with OVER that stands there.
    pub fn over_call(&self, span: Span) -> Option<ScalarExpr> {
        self.overs.iter().find(|(at, _)| *at == span).map(|(_, column)| column.clone())
    }

    /// All columns.
    pub fn columns(&self) -> &[RelColumn] {
        &self.columns
    }

    /// The columns of the relation with that alias.
    pub fn relation(&self, alias: &str) -> Option<std::ops::Range<usize>> {
        self.relations.iter().find(|r| r.alias.as_deref() == Some(alias)).map(|r| r.start..r.end)
    }

    /// The time attribute behind an expression, when it is a bare column.
    pub fn time_attribute(&self, expr: &ScalarExpr) -> Option<TimeAttribute> {
        match expr {
            ScalarExpr::Column { index, .. } => self.columns.get(*index).and_then(|c| c.time),
            _ => crate::plan::rel::time_attribute_of(expr),
        }
    }

    /// A column of this scope as an expression.
    pub fn column(&self, index: usize) -> ScalarExpr {
        let data_type = self.columns.get(index).map_or_else(|| DataType::new(TypeKind::Null), |c| c.data_type.clone());
        ScalarExpr::Column { index, data_type }
    }

    /// Resolves `a`, `t.a`, `a.field`, `t.a.field` and so on: an alias first, then a column, then fields of rows.
    pub fn resolve(&self, parts: &[Ident], span: Span) -> Result<ScalarExpr, Diagnostic> {
        let own = self.resolve_own(parts, span);
        match (&own, &self.outer) {
            (Err(error), Some(outer)) if error.code == "W0301" => match outer.resolve(parts, span) {
                Ok(found) => Ok(found.transform(&mut |e| match e {
                    ScalarExpr::Column { index, data_type } => {
                        ScalarExpr::Column { index: index + OUTER_BASE, data_type }
                    }
                    other => other,
                })),
                Err(_) => own,
            },
            _ => own,
        }
    }

    fn resolve_own(&self, parts: &[Ident], span: Span) -> Result<ScalarExpr, Diagnostic> {
        let Some((first, rest)) = parts.split_first() else {
            return Err(Diagnostic::error("W0301", "empty name").at(span));
        };
        if let (Some(range), Some((column, fields))) = (self.relation(&first.value), rest.split_first()) {
            let found = self.find(&column.value, range.clone(), column)?;
            return match found {
                Some(index) => fields_of(self.column(index), fields),
                None => Err(self.unknown(column, range)),
            };
        }
        match self.find(&first.value, 0..self.columns.len(), first)? {
            Some(index) => fields_of(self.column(index), rest),
            None if !rest.is_empty() => {
                let aliases: Vec<&str> = self.relations.iter().filter_map(|r| r.alias.as_deref()).collect();
                Err(Diagnostic::error("W0301", format!("no table or column `{}` here", first.value))
                    .at(first.span)
                    .label(format!("expected one of the tables: {}", aliases.join(", ")))
                    .did_you_mean(&first.value, aliases.iter().copied()))
            }
            None => Err(self.unknown(first, 0..self.columns.len())),
        }
    }

    fn find(&self, name: &str, range: std::ops::Range<usize>, at: &Ident) -> Result<Option<usize>, Diagnostic> {
        let is_all = range == (0..self.columns.len());
        if is_all && let Some((_, column, _)) = self.shared.iter().find(|(shared, _, _)| shared == name) {
            return Ok(Some(*column));
        }
        let mut found = None;
        for index in range {
            if self.columns.get(index).is_some_and(|c| c.name == name) {
                if found.is_some() {
                    return Err(Diagnostic::error("W0302", format!("column `{name}` is ambiguous"))
                        .at(at.span)
                        .hint("write the table's name or alias before it"));
                }
                found = Some(index);
            }
        }
        Ok(found)
    }

    fn unknown(&self, name: &Ident, range: std::ops::Range<usize>) -> Diagnostic {
        let columns: Vec<&RelColumn> = self.columns.get(range.clone()).unwrap_or_default().iter().collect();
        let table = self
            .relations
            .iter()
            .find(|r| r.start <= range.start && range.end <= r.end)
            .and_then(|r| r.alias.clone())
            .map_or_else(String::new, |alias| format!(" in `{alias}`"));
        let listed: Vec<String> = columns.iter().take(12).map(|c| format!("{} {}", c.name, c.data_type)).collect();
        let more = if columns.len() > 12 { ", ..." } else { "" };
        Diagnostic::error("W0301", format!("no column `{}`{table}", name.value))
            .at(name.span)
            .label(format!("expected one of: {}{more}", listed.join(", ")))
            .did_you_mean(&name.value, columns.iter().map(|c| c.name.as_str()))
    }
}

/// Follows field names into a row value.
pub fn fields_of(mut expr: ScalarExpr, fields: &[Ident]) -> Result<ScalarExpr, Diagnostic> {
    for field in fields {
        let data_type = expr.data_type();
        let TypeKind::Row(members) = &data_type.kind else {
            return Err(Diagnostic::error("W0301", format!("no field `{}`: the value is not a row", field.value))
                .at(field.span)
                .label(format!("found {data_type}")));
        };
        let Some(index) = members.iter().position(|m| m.name == field.value) else {
            return Err(Diagnostic::error("W0301", format!("no field `{}` in {data_type}", field.value))
                .at(field.span)
                .did_you_mean(&field.value, members.iter().map(|m| m.name.as_str())));
        };
        let member = &members[index];
        let nullable = data_type.nullable || member.data_type.nullable;
        let data_type = member.data_type.with_nullable(nullable);
        expr = ScalarExpr::Field { input: Box::new(expr), index, data_type };
    }
    Ok(expr)
}
