//! The JSON forms with words inside: JSON_VALUE, JSON_QUERY, JSON_OBJECT, JSON_ARRAY and the JSON aggregates.
//!
//! A value that goes into a JSON document becomes JSON text first (JSON_STRING), unless it is the result of JSON_OBJECT or JSON_ARRAY:
//! that is inserted as it is. So the functions behind, and the state of the aggregates, deal with text alone. The members of JSON_OBJECT
//! are sorted by key here, once, because Flink writes them so and asks for literal keys.

use std::collections::BTreeMap;

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::{AggregateFunction, ScalarExpr};

use super::expr::{Bound, ExprBinder, boolean, call, cast_to, one, refused};
use super::literal::string;
use super::types::bind_type;
use crate::parser::ast::{self, AggregateTail, Expr, JsonOnNull};

impl ExprBinder<'_, '_> {
    pub(super) fn bind_json_value(&mut self, json: &ast::JsonValue, span: Span) -> Bound<ScalarExpr> {
        let (input, path) = self.bind_pair(&json.input, &json.path)?;
        let returning = match &json.returning {
            Some(written) => one(bind_type(written))?.with_nullable(true),
            None => DataType::string(),
        };
        let mut args = vec![input, path];
        for behaviour in [&json.on_empty, &json.on_error] {
            let (word, default) = match behaviour {
                None | Some(ast::JsonValueBehaviour::Null) => ("NULL", None),
                Some(ast::JsonValueBehaviour::Error) => ("ERROR", None),
                Some(ast::JsonValueBehaviour::Default(default)) => ("DEFAULT", Some(self.bind(default)?)),
            };
            args.push(string(word));
            args.push(match default {
                // The value travels as text, whatever RETURNING says.
                Some(default) => cast_to(default, &DataType::string()),
                None => ScalarExpr::Literal { value: Value::Null, data_type: DataType::string() },
            });
        }
        let value = call("JSON_VALUE", args, span)?;
        Ok(cast_to(value, &returning))
    }

    pub(super) fn bind_json_query(&mut self, json: &ast::JsonQuery, span: Span) -> Bound<ScalarExpr> {
        let (input, path) = self.bind_pair(&json.input, &json.path)?;
        let returning = match &json.returning {
            None => DataType::string(),
            Some(written) => one(bind_type(written))?.with_nullable(true),
        };
        let is_array = matches!(&returning.kind, TypeKind::Array(element) if element.kind.is_string());
        if !is_array && !returning.kind.is_string() {
            return Err(vec![refused(&format!("JSON_QUERY with RETURNING {}", returning.kind), span)]);
        }
        let wrapper = match json.wrapper {
            None | Some(ast::JsonWrapper::Without) => "WITHOUT",
            Some(ast::JsonWrapper::Conditional) => "CONDITIONAL",
            Some(ast::JsonWrapper::Unconditional) => "UNCONDITIONAL",
        };
        let mut args = vec![input, path, string(wrapper)];
        for behaviour in [&json.on_empty, &json.on_error] {
            args.push(string(match behaviour {
                None | Some(ast::JsonQueryBehaviour::Null) => "NULL",
                Some(ast::JsonQueryBehaviour::Error) => "ERROR",
                Some(ast::JsonQueryBehaviour::EmptyArray) => "EMPTY ARRAY",
                Some(ast::JsonQueryBehaviour::EmptyObject) => "EMPTY OBJECT",
            }));
        }
        let text = call("JSON_QUERY", args, span)?;
        if is_array {
            return Ok(cast_to(call("JSON ELEMENTS", vec![text], span)?, &returning));
        }
        Ok(cast_to(text, &returning))
    }

    pub(super) fn bind_json_object(
        &mut self,
        entries: &[(Expr, Expr)],
        on_null: Option<JsonOnNull>,
        span: Span,
    ) -> Bound<ScalarExpr> {
        // Of several members with one key the last one stays.
        let mut members = BTreeMap::new();
        for (key, value) in entries {
            let (name, value) = self.bind_pair(key, value)?;
            let ScalarExpr::Literal { value: Value::String(name), .. } = name else {
                return Err(vec![
                    Diagnostic::error("W0305", "the key of a JSON_OBJECT must be a text literal")
                        .at(key.span)
                        .label("expected a literal, such as 'name'"),
                ]);
            };
            members.insert(name, json_text(value, span)?);
        }
        let mut args = vec![string(word(on_null.unwrap_or(JsonOnNull::Null)))];
        args.extend(members.into_iter().flat_map(|(name, value)| [string(&name), value]));
        call("JSON_OBJECT", args, span)
    }

    pub(super) fn bind_json_array(
        &mut self,
        elements: &[Expr],
        on_null: Option<JsonOnNull>,
        span: Span,
    ) -> Bound<ScalarExpr> {
        let mut args = vec![string(word(on_null.unwrap_or(JsonOnNull::Absent)))];
        for element in self.bind_all(elements)? {
            args.push(json_text(element, span)?);
        }
        call("JSON_ARRAY", args, span)
    }

    pub(super) fn bind_json_object_agg(
        &mut self,
        entries: &[(Expr, Expr)],
        on_null: Option<JsonOnNull>,
        tail: &AggregateTail,
        span: Span,
    ) -> Bound<ScalarExpr> {
        let name = "JSON_OBJECTAGG";
        let mut plain = ExprBinder::plain(self.grouped_input(name, span)?);
        let [(key, value)] = entries else { return Err(vec![refused("JSON_OBJECTAGG of several members", span)]) };
        let (bound_key, value) = plain.bind_pair(key, value)?;
        if !bound_key.data_type().kind.is_string() {
            return Err(vec![
                Diagnostic::error("W0304", "the key of JSON_OBJECTAGG must be text")
                    .at(key.span)
                    .label(format!("expected STRING, found {}", bound_key.data_type().kind)),
            ]);
        }
        let args = vec![call("JSON_STRING", vec![bound_key], span)?, json_text(value, span)?];
        let filter = plain.bind_filter(name, tail, span)?;
        let absent_on_null = on_null == Some(JsonOnNull::Absent);
        self.add_aggregate(AggregateFunction::JsonObjectAgg { absent_on_null }, args, false, filter, span)
    }

    pub(super) fn bind_json_array_agg(
        &mut self,
        elements: &[Expr],
        on_null: Option<JsonOnNull>,
        tail: &AggregateTail,
        span: Span,
    ) -> Bound<ScalarExpr> {
        let name = "JSON_ARRAYAGG";
        let mut plain = ExprBinder::plain(self.grouped_input(name, span)?);
        let [element] = elements else { return Err(vec![refused("JSON_ARRAYAGG of several elements", span)]) };
        let args = vec![json_text(plain.bind(element)?, span)?];
        let filter = plain.bind_filter(name, tail, span)?;
        let absent_on_null = on_null != Some(JsonOnNull::Null);
        self.add_aggregate(AggregateFunction::JsonArrayAgg { absent_on_null }, args, false, filter, span)
    }

    /// What follows a JSON aggregate: a FILTER, and nothing else.
    fn bind_filter(&mut self, name: &str, tail: &AggregateTail, span: Span) -> Bound<Option<ScalarExpr>> {
        if !tail.order_by.is_empty() || tail.ignore_nulls.is_some() || tail.over.is_some() {
            return Err(vec![refused(&format!("ORDER BY, NULLS or OVER of {name}"), span)]);
        }
        match &tail.filter {
            None => Ok(None),
            Some(filter) => Ok(Some(boolean(self.bind(filter)?, filter.span)?)),
        }
    }
}

fn word(on_null: JsonOnNull) -> &'static str {
    match on_null {
        JsonOnNull::Null => "NULL",
        JsonOnNull::Absent => "ABSENT",
    }
}

/// The JSON text of a value; NULL stays NULL.
fn json_text(value: ScalarExpr, span: Span) -> Bound<ScalarExpr> {
    if is_json(&value) {
        return Ok(value);
    }
    call("JSON_STRING", vec![value], span)
}

/// Whether an expression is a JSON document that JSON_OBJECT or JSON_ARRAY made.
fn is_json(value: &ScalarExpr) -> bool {
    match value {
        ScalarExpr::Call { function, .. } => matches!(function.name(), "JSON_OBJECT" | "JSON_ARRAY"),
        ScalarExpr::Cast { input, data_type, .. } => data_type.kind.is_string() && is_json(input),
        _ => false,
    }
}
