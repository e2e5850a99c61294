//! What a column name means at a place of the query: the relations of FROM side by side, each with its alias.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind};
use wiesel_expr::ScalarExpr;

use crate::parser::ast::Ident;
use crate::plan::rel::{RelColumn, TimeAttribute};

/// The relations of a FROM clause; their columns stand one after the other.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    relations: Vec<Relation>,
    columns: Vec<RelColumn>,
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
        Scope { relations: vec![Relation { alias, start: 0, end }], columns }
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
