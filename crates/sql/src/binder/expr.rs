//! Expressions: names to columns, calls to functions of the registry, implicit casts made explicit.
//!
//! One binder serves plain expressions and those above a GROUP BY. In the second case an expression that equals a group key becomes that
//! key's column, an aggregate call becomes an aggregate's column, and a column that is neither is an error.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::{DataType, TypeKind, Value};
use wiesel_expr::function::{Argument, lookup};
use wiesel_expr::{AggregateCall, AggregateFunction, ScalarExpr, cast};
use wiesel_plan::WindowProperty;

use super::literal::{bind_literal, string};
use super::match_recognize::PatternScope;
use super::scope::{Scope, fields_of};
use super::types::bind_type;
use crate::parser::ast::{self, BinaryOp, Expr, ExprKind, FunctionArgValue, FunctionCall, IsTest, UnaryOp};
use crate::plan::rel::TimeAttribute;

/// Several errors at once: all independent ones of a statement are reported.
pub type Diagnostics = Vec<Diagnostic>;
/// The result of binding something.
pub type Bound<T> = Result<T, Diagnostics>;

/// Functions that are aggregates, also those that are refused by name for now.
const LATER_AGGREGATES: &[&str] = &[
    "CUME_DIST",
    "DENSE_RANK",
    "JSON_ARRAYAGG",
    "JSON_OBJECTAGG",
    "LAG",
    "LEAD",
    "NTILE",
    "PERCENTILE",
    "PERCENT_RANK",
    "RANK",
];

/// Whether a name is an aggregate function's.
pub fn is_aggregate_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    AggregateFunction::lookup(&name).is_some() || LATER_AGGREGATES.contains(&name.as_str())
}

/// What stands above a GROUP BY: the keys and the aggregates collected so far.
#[derive(Debug)]
pub struct Grouping<'a> {
    /// The rows that are grouped.
    pub input: &'a Scope,
    /// The keys over the input; with grouping sets the number of the set is the last one.
    pub keys: Vec<ScalarExpr>,
    /// GROUPING SETS, CUBE, ROLLUP: for each set which keys it keeps. Empty for a plain GROUP BY.
    pub sets: Vec<Vec<bool>>,
    /// Aggregates over the input, in order of appearance.
    pub aggregates: Vec<GroupedCall>,
    /// The group window, when one of the keys is TUMBLE(...) or HOP(...).
    pub window: Option<GroupWindowCall>,
    /// Window properties asked for, in order of appearance.
    pub properties: Vec<WindowProperty>,
}

/// An aggregate call with its arguments still as expressions.
#[derive(Debug, Clone)]
pub struct GroupedCall {
    /// The function.
    pub function: AggregateFunction,
    /// Its arguments over the input.
    pub args: Vec<ScalarExpr>,
    /// DISTINCT.
    pub distinct: bool,
    /// FILTER.
    pub filter: Option<ScalarExpr>,
    /// The result type.
    pub data_type: DataType,
}

/// A legacy group window: its name and bound arguments, to be matched by TUMBLE_START and its kin.
#[derive(Debug, Clone)]
pub struct GroupWindowCall {
    /// TUMBLE or HOP.
    pub name: String,
    /// The arguments, time attribute first.
    pub args: Vec<ScalarExpr>,
}

impl Grouping<'_> {
    // Output layout of the aggregate: keys, aggregates, properties.
    fn key_column(&self, expr: &ScalarExpr) -> Option<ScalarExpr> {
        let wanted = fingerprint(expr);
        let index = self.keys.iter().position(|k| fingerprint(k) == wanted)?;
        let data_type = expr.data_type();
        let nullable = data_type.nullable || self.sets.iter().any(|set| set.get(index) == Some(&false));
        Some(ScalarExpr::Column { index, data_type: data_type.with_nullable(nullable) })
    }

    /// The keys as written, without the number of the grouping set.
    pub fn plain_keys(&self) -> &[ScalarExpr] {
        let count = if self.sets.is_empty() { self.keys.len() } else { self.keys.len() - 1 };
        self.keys.get(..count).unwrap_or_default()
    }

    fn aggregate_column(&mut self, call: GroupedCall) -> ScalarExpr {
        let wanted = format!("{call:?}");
        let position = match self.aggregates.iter().position(|a| format!("{a:?}") == wanted) {
            Some(position) => position,
            None => {
                self.aggregates.push(call.clone());
                self.aggregates.len() - 1
            }
        };
        // Final positions of aggregates are known (behind the keys); those of properties are not until all aggregates are, so they
        // are numbered from PROPERTY_BASE and moved when the list is complete.
        ScalarExpr::Column { index: self.keys.len() + position, data_type: call.data_type }
    }

    fn property_column(&mut self, property: WindowProperty, data_type: DataType) -> ScalarExpr {
        let position = match self.properties.iter().position(|p| *p == property) {
            Some(position) => position,
            None => {
                self.properties.push(property);
                self.properties.len() - 1
            }
        };
        ScalarExpr::Column { index: PROPERTY_BASE + position, data_type }
    }

    /// Moves property columns behind the aggregates and subqueries' values behind these; called once every expression above the GROUP BY
    /// is bound.
    pub fn settle(&self, expr: ScalarExpr) -> ScalarExpr {
        let base = self.keys.len() + self.aggregates.len();
        expr.transform(&mut |e| match e {
            ScalarExpr::Column { index, data_type } if index >= SUBQUERY_BASE => {
                ScalarExpr::Column { index: base + self.properties.len() + index - SUBQUERY_BASE, data_type }
            }
            ScalarExpr::Column { index, data_type } if index >= PROPERTY_BASE => {
                ScalarExpr::Column { index: base + index - PROPERTY_BASE, data_type }
            }
            other => other,
        })
    }
}

/// Where property columns are numbered from until all aggregates are known.
const PROPERTY_BASE: usize = 1 << 24;

/// Where the values of subqueries above a GROUP BY are numbered from until all aggregates are known.
pub(super) const SUBQUERY_BASE: usize = 1 << 25;

/// Two expressions with one fingerprint compute the same.
pub fn fingerprint(expr: &ScalarExpr) -> String {
    format!("{expr:?}")
}

/// Binds expressions.
#[derive(Debug)]
pub struct ExprBinder<'a, 'g> {
    /// What names mean.
    pub scope: &'a Scope,
    /// Set above a GROUP BY; `scope` is then the grouped input's.
    pub grouping: Option<&'g mut Grouping<'a>>,
    /// Set inside MATCH_RECOGNIZE: what names and calls mean there.
    pub pattern: Option<&'g mut PatternScope<'a>>,
}

impl<'a, 'g> ExprBinder<'a, 'g> {
    /// A binder of plain expressions.
    pub fn plain(scope: &'a Scope) -> Self {
        ExprBinder { scope, grouping: None, pattern: None }
    }

    /// Binds one expression.
    pub fn bind(&mut self, expr: &Expr) -> Bound<ScalarExpr> {
        if let Some(grouping) = &mut self.grouping {
            // The whole expression may be a group key. Errors of this attempt do not count: the parts are tried next.
            if !matches!(expr.kind, ExprKind::Literal(_))
                && !contains_aggregate(expr)
                && let Ok(plain) = ExprBinder::plain(grouping.input).bind(expr)
                && let Some(column) = grouping.key_column(&plain)
            {
                return Ok(column);
            }
        }
        self.bind_parts(expr)
    }

    pub(super) fn bind_all(&mut self, exprs: &[Expr]) -> Bound<Vec<ScalarExpr>> {
        let mut errors = Vec::new();
        let mut bound = Vec::with_capacity(exprs.len());
        for expr in exprs {
            match self.bind(expr) {
                Ok(e) => bound.push(e),
                Err(mut e) => errors.append(&mut e),
            }
        }
        if errors.is_empty() { Ok(bound) } else { Err(errors) }
    }

    pub(super) fn bind_pair(&mut self, left: &Expr, right: &Expr) -> Bound<(ScalarExpr, ScalarExpr)> {
        both(self.bind(left), self.bind(right))
    }

    fn bind_parts(&mut self, expr: &Expr) -> Bound<ScalarExpr> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Literal(literal) => one(bind_literal(literal, span)),
            ExprKind::Name(parts) => self.bind_name(parts, span),
            ExprKind::Field { base, field } => {
                let base = self.bind(base)?;
                one(fields_of(base, std::slice::from_ref(field)))
            }
            ExprKind::Index { base, index } => {
                let (base, index) = self.bind_pair(base, index)?;
                call("ITEM", vec![base, index], span)
            }
            ExprKind::Unary { op, expr: operand } => self.bind_unary(*op, operand, span),
            ExprKind::Binary { op, left, right, .. } => self.bind_binary(*op, left, right, span),
            ExprKind::Is { expr: operand, test, negated } => {
                let operand = self.bind(operand)?;
                let name = match test {
                    IsTest::Null => "NULL",
                    IsTest::True => "TRUE",
                    IsTest::False => "FALSE",
                    IsTest::Unknown => "UNKNOWN",
                    IsTest::JsonValue => "JSON VALUE",
                    IsTest::JsonObject => "JSON OBJECT",
                    IsTest::JsonArray => "JSON ARRAY",
                    IsTest::JsonScalar => "JSON SCALAR",
                    IsTest::ASet | IsTest::Empty => return Err(vec![refused("IS A SET and IS EMPTY", span)]),
                };
                let not = if *negated { "NOT " } else { "" };
                call(&format!("IS {not}{name}"), vec![operand], span)
            }
            ExprKind::IsDistinctFrom { left, right, negated } => {
                let (left, right) = self.bind_pair(left, right)?;
                call(if *negated { "IS NOT DISTINCT FROM" } else { "IS DISTINCT FROM" }, vec![left, right], span)
            }
            ExprKind::Between { expr: operand, low, high, negated, symmetric } => {
                self.bind_between(operand, low, high, *negated, *symmetric, span)
            }
            ExprKind::InList { expr: operand, list, negated } => self.bind_in_list(operand, list, *negated, span),
            ExprKind::Like { kind, expr: operand, pattern, escape, negated } => {
                let mut args = vec![self.bind(operand)?, self.bind(pattern)?];
                if let Some(escape) = escape {
                    args.push(self.bind(escape)?);
                }
                let name = if *kind == ast::LikeKind::SimilarTo { "SIMILAR TO" } else { "LIKE" };
                negate(call(name, args, span)?, *negated, span)
            }
            ExprKind::Function(function) => self.bind_function(function),
            ExprKind::Cast { expr: operand, data_type, try_cast } => {
                self.bind_cast(operand, data_type, *try_cast, span)
            }
            ExprKind::Case { operand, branches, otherwise } => {
                self.bind_case(operand.as_deref(), branches, otherwise.as_deref(), span)
            }
            ExprKind::Extract { unit, expr: operand } => {
                let operand = self.bind(operand)?;
                call("EXTRACT", vec![string(&unit.to_string()), operand], span)
            }
            ExprKind::Position { needle, haystack, from } => {
                if from.is_some() {
                    return Err(vec![refused("POSITION with FROM", span)]);
                }
                let (needle, haystack) = self.bind_pair(needle, haystack)?;
                call("POSITION", vec![needle, haystack], span)
            }
            ExprKind::Substring { expr: operand, from, length } => {
                let mut args = vec![self.bind(operand)?, self.bind(from)?];
                if let Some(length) = length {
                    args.push(self.bind(length)?);
                }
                call("SUBSTRING", args, span)
            }
            ExprKind::Trim { side, chars, expr: operand } => {
                let mut args = vec![self.bind(operand)?];
                if let Some(chars) = chars {
                    args.push(self.bind(chars)?);
                }
                let name = match side {
                    ast::TrimSide::Both => "BTRIM",
                    ast::TrimSide::Leading => "LTRIM",
                    ast::TrimSide::Trailing => "RTRIM",
                };
                call(name, args, span)
            }
            ExprKind::Overlay { expr: operand, replacement, from, length } => {
                let mut args = vec![self.bind(operand)?, self.bind(replacement)?, self.bind(from)?];
                if let Some(length) = length {
                    args.push(self.bind(length)?);
                }
                call("OVERLAY", args, span)
            }
            ExprKind::RoundTime { ceil, expr: operand, unit } => {
                let operand = self.bind(operand)?;
                call(if *ceil { "CEIL_TO" } else { "FLOOR_TO" }, vec![operand, string(&unit.to_string())], span)
            }
            ExprKind::TimestampAdd { unit, amount, time } => {
                let (amount, time) = self.bind_pair(amount, time)?;
                call("TIMESTAMPADD", vec![string(&unit.to_string()), amount, time], span)
            }
            ExprKind::TimestampDiff { unit, from, to } => {
                let (from, to) = self.bind_pair(from, to)?;
                call("TIMESTAMPDIFF", vec![string(&unit.to_string()), from, to], span)
            }
            ExprKind::JsonValue(json) => self.bind_json_value(json, span),
            ExprKind::JsonQuery(json) => self.bind_json_query(json, span),
            ExprKind::JsonExists { input, path, on_error } => {
                let (input, path) = self.bind_pair(input, path)?;
                let word = match on_error {
                    None | Some(ast::JsonExistsOnError::False) => "FALSE",
                    Some(ast::JsonExistsOnError::True) => "TRUE",
                    Some(ast::JsonExistsOnError::Unknown) => "UNKNOWN",
                    Some(ast::JsonExistsOnError::Error) => "ERROR",
                };
                call("JSON_EXISTS", vec![input, path, string(word)], span)
            }
            ExprKind::Row { fields, .. } => {
                let args = self.bind_all(fields)?;
                call("ROW", args, span)
            }
            ExprKind::Array(items) => {
                let args = self.bind_all(items)?;
                call("ARRAY", args, span)
            }
            ExprKind::Map(entries) => {
                let mut args = Vec::with_capacity(entries.len() * 2);
                for (key, value) in entries {
                    let (key, value) = self.bind_pair(key, value)?;
                    args.extend([key, value]);
                }
                call("MAP", args, span)
            }
            ExprKind::InSubquery { .. } | ExprKind::Exists(_) | ExprKind::Subquery(_) => self.subquery_value(span),
            ExprKind::Quantified { left, op, all, right } => match &right.kind {
                ExprKind::Row { fields, .. } => self.bind_quantified_list(left, *op, *all, fields, span),
                _ => self.subquery_value(span),
            },
            ExprKind::JsonObject { entries, on_null, aggregate } => match aggregate {
                None => self.bind_json_object(entries, *on_null, span),
                Some(tail) => self.bind_json_object_agg(entries, *on_null, tail, span),
            },
            ExprKind::JsonArray { elements, on_null, aggregate } => match aggregate {
                None => self.bind_json_array(elements, *on_null, span),
                Some(tail) => self.bind_json_array_agg(elements, *on_null, tail, span),
            },
            ExprKind::Multiset(_) | ExprKind::CollectionQuery { .. } => Err(vec![refused("a MULTISET value", span)]),
            ExprKind::IntervalOf { amount, qualifier } => self.bind_interval_of(amount, qualifier, span),
            ExprKind::AtTimeZone { .. } => {
                Err(vec![refused("AT TIME ZONE", span).hint("set 'table.local-time-zone', or use CONVERT_TZ")])
            }
            ExprKind::Default => Err(vec![refused("DEFAULT", span)]),
            ExprKind::MatchSemantics { .. } => Err(vec![refused("FINAL and RUNNING", span)]),
        }
    }

    fn bind_name(&mut self, parts: &[ast::Ident], span: Span) -> Bound<ScalarExpr> {
        if let Some(pattern) = &mut self.pattern {
            return pattern.name(parts, span);
        }
        let Some(grouping) = &self.grouping else {
            return match (parts, self.scope.resolve(parts, span)) {
                // PI is a function that needs no parentheses, unless a column has its name.
                ([name], Err(_)) if name.value.eq_ignore_ascii_case("PI") => call("PI", Vec::new(), span),
                (_, resolved) => one(resolved),
            };
        };
        // A field of a grouped row column is fine, a bare column is not a key or it had been found before.
        if parts.len() > 1
            && let Ok(base) = self.scope.resolve(&parts[..parts.len() - 1], span)
            && let Some(column) = grouping.key_column(&base)
        {
            return one(fields_of(column, &parts[parts.len() - 1..]));
        }
        self.scope.resolve(parts, span).map_err(|e| vec![e])?;
        let name: Vec<&str> = parts.iter().map(|p| p.value.as_str()).collect();
        Err(vec![
            Diagnostic::error("W0306", format!("expression `{}` is not being grouped", name.join(".")))
                .at(span)
                .label("expected a column of GROUP BY, or an aggregate of it"),
        ])
    }

    fn bind_unary(&mut self, op: UnaryOp, operand: &Expr, span: Span) -> Bound<ScalarExpr> {
        // The least BIGINT is the one number whose digits alone are out of range.
        if let (UnaryOp::Minus, ExprKind::Literal(ast::Literal::Number(digits))) = (op, &operand.kind)
            && digits == "9223372036854775808"
        {
            return Ok(ScalarExpr::Literal {
                value: Value::Int(i64::MIN),
                data_type: DataType::not_null(TypeKind::BigInt),
            });
        }
        let bound = self.bind(operand)?;
        match op {
            UnaryOp::Plus => Ok(bound),
            UnaryOp::Not => call("NOT", vec![bound], span),
            UnaryOp::Minus => Ok(match bound {
                // A negative literal keeps the type of its digits.
                ScalarExpr::Literal { value: Value::Int(i), data_type } => {
                    ScalarExpr::Literal { value: Value::Int(i.wrapping_neg()), data_type }
                }
                ScalarExpr::Literal { value: Value::Double(x), data_type } => {
                    ScalarExpr::Literal { value: Value::Double(-x), data_type }
                }
                ScalarExpr::Literal { value: Value::Decimal(d), data_type } => {
                    ScalarExpr::Literal { value: Value::Decimal(-d), data_type }
                }
                bound => return call("-", vec![bound], span),
            }),
        }
    }

    fn bind_binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr, span: Span) -> Bound<ScalarExpr> {
        let (left, right) = self.bind_pair(left, right)?;
        let name = match op {
            BinaryOp::And => return connect(left, right, span, true),
            BinaryOp::Or => return connect(left, right, span, false),
            BinaryOp::Eq => "=",
            BinaryOp::NotEq => "<>",
            BinaryOp::Lt => "<",
            BinaryOp::LtEq => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::GtEq => ">=",
            BinaryOp::Plus => "+",
            BinaryOp::Minus => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Modulo => "%",
            BinaryOp::Concat => "||",
            BinaryOp::Overlaps => return overlaps(left, right, span),
            BinaryOp::MemberOf | BinaryOp::SubmultisetOf => return Err(vec![refused("a MULTISET operator", span)]),
        };
        call(name, vec![left, right], span)
    }

    fn bind_between(
        &mut self,
        operand: &Expr,
        low: &Expr,
        high: &Expr,
        negated: bool,
        symmetric: bool,
        span: Span,
    ) -> Bound<ScalarExpr> {
        let operand = self.bind(operand)?;
        let (low, high) = self.bind_pair(low, high)?;
        let within = |low: &ScalarExpr, high: &ScalarExpr| -> Bound<ScalarExpr> {
            Ok(ScalarExpr::And(vec![
                call(">=", vec![operand.clone(), low.clone()], span)?,
                call("<=", vec![operand.clone(), high.clone()], span)?,
            ]))
        };
        let mut bound = within(&low, &high)?;
        if symmetric {
            bound = ScalarExpr::Or(vec![bound, within(&high, &low)?]);
        }
        negate(bound, negated, span)
    }

    /// The value of a subquery, which has been joined to the rows before.
    fn subquery_value(&self, span: Span) -> Bound<ScalarExpr> {
        self.scope.subquery(span).cloned().ok_or_else(|| vec![refused("a subquery at this place", span)])
    }

    /// `x > ALL (a, b)` holds for every value of the list, ANY and SOME for one of them.
    fn bind_quantified_list(
        &mut self,
        left: &Expr,
        op: BinaryOp,
        all: bool,
        list: &[Expr],
        span: Span,
    ) -> Bound<ScalarExpr> {
        let mut parts = Vec::with_capacity(list.len());
        for item in list {
            parts.push(self.bind_binary(op, left, item, span)?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ if all => ScalarExpr::And(parts),
            _ => ScalarExpr::Or(parts),
        })
    }

    fn bind_in_list(&mut self, operand: &Expr, list: &[Expr], negated: bool, span: Span) -> Bound<ScalarExpr> {
        let operand = self.bind(operand)?;
        let items = self.bind_all(list)?;
        let all_literals = items.iter().all(|i| matches!(i, ScalarExpr::Literal { .. }));
        let bound = if all_literals && lookup("IN").is_some() {
            call("IN", std::iter::once(operand).chain(items).collect(), span)?
        } else {
            let mut equal = Vec::with_capacity(items.len());
            for item in items {
                equal.push(call("=", vec![operand.clone(), item], span)?);
            }
            if equal.len() == 1 { equal.remove(0) } else { ScalarExpr::Or(equal) }
        };
        negate(bound, negated, span)
    }

    fn bind_cast(&mut self, operand: &Expr, written: &ast::DataType, is_try: bool, span: Span) -> Bound<ScalarExpr> {
        let operand = self.bind(operand)?;
        let target = one(bind_type(written))?;
        let from = operand.data_type();
        if !cast::is_castable(&from, &target) {
            return Err(vec![
                Diagnostic::error("W0304", format!("cannot cast {} to {}", from.kind, target.kind)).at(span),
            ]);
        }
        let nullable = from.nullable || is_try;
        Ok(ScalarExpr::Cast { input: Box::new(operand), data_type: target.with_nullable(nullable), is_try })
    }

    fn bind_case(
        &mut self,
        operand: Option<&Expr>,
        branches: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
        span: Span,
    ) -> Bound<ScalarExpr> {
        let operand = operand.map(|o| self.bind(o)).transpose()?;
        let mut bound = Vec::with_capacity(branches.len());
        for (when, then) in branches {
            let (when_bound, then_bound) = self.bind_pair(when, then)?;
            let condition = match &operand {
                Some(operand) => call("=", vec![operand.clone(), when_bound], when.span)?,
                None => boolean(when_bound, when.span)?,
            };
            bound.push((condition, then_bound));
        }
        let otherwise = otherwise.map(|o| self.bind(o)).transpose()?;
        case(bound, otherwise, span)
    }

    fn bind_interval_of(&mut self, amount: &Expr, qualifier: &ast::IntervalQualifier, span: Span) -> Bound<ScalarExpr> {
        let amount = self.bind(amount)?;
        let unit =
            ast::IntervalLiteral { negative: false, value: "1".to_owned(), value_span: span, qualifier: *qualifier };
        let unit = one(bind_literal(&ast::Literal::Interval(unit), span))?;
        call("*", vec![unit, amount], span)
    }

    fn bind_function(&mut self, function: &FunctionCall) -> Bound<ScalarExpr> {
        let name = function.name.last().value.to_ascii_uppercase();
        let span = function.span;
        if function.tail.over.is_some() {
            return self.scope.over_call(span).ok_or_else(|| {
                vec![
                    refused(&format!("{name}() OVER here"), span)
                        .hint("OVER stands in the select list of a query without GROUP BY; use a subquery"),
                ]
            });
        }
        if let Some(bound) = self.bind_pattern_call(&name, function) {
            return bound;
        }
        if let Some(bound) = self.bind_user_function(function) {
            return bound;
        }
        if is_grouping_name(&name) {
            return self.bind_grouping_number(&name, function);
        }
        if let Some(property) = window_property(&name) {
            return self.bind_window_property(&name, property, function);
        }
        if is_window_proctime(&name) {
            return self.bind_window_proctime(&name, function);
        }
        if is_aggregate_name(&name) {
            return self.bind_aggregate(&name, function);
        }
        let mut args = Vec::with_capacity(function.args.len());
        let mut errors = Vec::new();
        for arg in &function.args {
            match &arg.value {
                FunctionArgValue::Expr(expr) if arg.name.is_none() => match self.bind(expr) {
                    Ok(bound) => args.push(bound),
                    Err(mut e) => errors.append(&mut e),
                },
                _ => errors.push(refused("this kind of argument", arg.span)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        match name.as_str() {
            "COALESCE" | "IFNULL" => coalesce(args, span),
            "IF" => match <[ScalarExpr; 3]>::try_from(args) {
                Ok([condition, then, otherwise]) => {
                    case(vec![(boolean(condition, span)?, then)], Some(otherwise), span)
                }
                Err(_) => Err(vec![wrong_arguments("IF(condition, true_value, false_value)", span)]),
            },
            "NULLIF" => match <[ScalarExpr; 2]>::try_from(args) {
                Ok([left, right]) => {
                    let equal = call("=", vec![left.clone(), right], span)?;
                    let null = ScalarExpr::Literal { value: Value::Null, data_type: DataType::new(TypeKind::Null) };
                    case(vec![(equal, null)], Some(left), span)
                }
                Err(_) => Err(vec![wrong_arguments("NULLIF(value1, value2)", span)]),
            },
            _ => call_at(&name, args, span, function.name.span),
        }
    }

    /// GROUPING(a, b) and GROUPING_ID: a bit per key, 1 where the row's grouping set lacks it.
    fn bind_grouping_number(&mut self, name: &str, function: &FunctionCall) -> Bound<ScalarExpr> {
        let span = function.span;
        let Some(grouping) = &self.grouping else {
            return Err(vec![Diagnostic::error("W0307", format!("{name} needs a GROUP BY")).at(span)]);
        };
        let mut keys = Vec::new();
        for arg in &function.args {
            let FunctionArgValue::Expr(expr) = &arg.value else {
                return Err(vec![wrong_arguments(&format!("{name}(key [, key]*)"), span)]);
            };
            let wanted = fingerprint(&ExprBinder::plain(grouping.input).bind(expr)?);
            let Some(key) = grouping.plain_keys().iter().position(|k| fingerprint(k) == wanted) else {
                return Err(vec![
                    Diagnostic::error("W0307", format!("an argument of {name} is no key of GROUP BY")).at(expr.span),
                ]);
            };
            keys.push(key);
        }
        if keys.is_empty() || keys.len() > 63 {
            return Err(vec![wrong_arguments(&format!("{name}(key [, key]*)"), span)]);
        }
        let data_type = DataType::not_null(TypeKind::BigInt);
        let literal = |value: i64| ScalarExpr::Literal { value: Value::Int(value), data_type: data_type.clone() };
        let number =
            |set: &Vec<bool>| keys.iter().fold(0_i64, |bits, key| bits * 2 + i64::from(set.get(*key) == Some(&false)));
        let Some((last, others)) = grouping.sets.split_last() else { return Ok(literal(0)) };
        let set_number = ScalarExpr::Column { index: grouping.keys.len() - 1, data_type: data_type.clone() };
        let mut branches = Vec::new();
        for (place, set) in (0_i64..).zip(others) {
            branches.push((call("=", vec![set_number.clone(), literal(place)], span)?, literal(number(set))));
        }
        if branches.is_empty() {
            return Ok(literal(number(last)));
        }
        let otherwise = Some(Box::new(literal(number(last))));
        Ok(ScalarExpr::Case { branches, otherwise, data_type })
    }

    fn bind_window_property(
        &mut self,
        name: &str,
        property: WindowProperty,
        function: &FunctionCall,
    ) -> Bound<ScalarExpr> {
        let (time_type, is_processing_time) = self.window_time(name, function)?;
        if property == WindowProperty::Time && is_processing_time {
            return Err(vec![
                Diagnostic::error("W0307", "a window over processing time has no row time")
                    .at(function.span)
                    .hint(format!("ask for {}", name.replace("_ROWTIME", "_PROCTIME"))),
            ]);
        }
        let is_ltz = property == WindowProperty::Time && matches!(time_type.kind, TypeKind::TimestampLtz(_));
        let kind = if is_ltz { TypeKind::TimestampLtz(3) } else { TypeKind::Timestamp(3) };
        let Some(grouping) = &mut self.grouping else { return Err(vec![window_is_needed(name, function.span)]) };
        Ok(grouping.property_column(property, DataType::not_null(kind)))
    }

    /// TUMBLE_PROCTIME and its kin: the processing time at which the window's row comes out; NULL for a window over row time, as in Flink.
    fn bind_window_proctime(&mut self, name: &str, function: &FunctionCall) -> Bound<ScalarExpr> {
        let (time_type, is_processing_time) = self.window_time(name, function)?;
        if is_processing_time {
            return call("PROCTIME", Vec::new(), function.span);
        }
        Ok(ScalarExpr::Literal { value: Value::Null, data_type: time_type.with_nullable(true) })
    }

    /// The type of the time that the window of GROUP BY goes by, and whether it is processing time. The call's arguments must be the window's.
    fn window_time(&mut self, name: &str, function: &FunctionCall) -> Bound<(DataType, bool)> {
        let span = function.span;
        let Some(grouping) = &self.grouping else { return Err(vec![window_is_needed(name, span)]) };
        let mut args = Vec::new();
        for arg in &function.args {
            if let FunctionArgValue::Expr(expr) = &arg.value {
                args.push(ExprBinder::plain(grouping.input).bind(expr)?);
            }
        }
        let window_name = name.split('_').next().unwrap_or(name);
        let same = grouping
            .window
            .as_ref()
            .is_some_and(|w| w.name == window_name && format!("{:?}", w.args) == format!("{args:?}"));
        if !same {
            return Err(vec![
                Diagnostic::error("W0307", format!("{name} does not match a window of GROUP BY"))
                    .at(span)
                    .label(format!("expected the arguments of {window_name}(...) in GROUP BY")),
            ]);
        }
        let time = args.into_iter().next().ok_or_else(|| vec![window_is_needed(name, span)])?;
        let is_processing_time = grouping.input.time_attribute(&time) == Some(TimeAttribute::Proctime);
        Ok((time.data_type(), is_processing_time))
    }

    fn bind_aggregate(&mut self, name: &str, function: &FunctionCall) -> Bound<ScalarExpr> {
        let span = function.span;
        let Some(aggregate) = AggregateFunction::lookup(name) else {
            return Err(vec![refused(&format!("the aggregate {name}"), span)]);
        };
        if !function.tail.order_by.is_empty() {
            return Err(vec![refused("ORDER BY inside an aggregate", span)]);
        }
        let aggregate = match (aggregate, function.tail.ignore_nulls) {
            (AggregateFunction::ArrayAgg { .. }, Some(ignore_nulls)) => AggregateFunction::ArrayAgg { ignore_nulls },
            (aggregate, None) => aggregate,
            _ => return Err(vec![refused(&format!("RESPECT or IGNORE NULLS of {name}"), span)]),
        };
        let mut plain = ExprBinder::plain(self.grouped_input(name, span)?);
        let mut args = Vec::new();
        let mut is_star = false;
        for arg in &function.args {
            match &arg.value {
                FunctionArgValue::Star => is_star = true,
                FunctionArgValue::Expr(expr) => args.push(plain.bind(expr)?),
                _ => return Err(vec![refused("this kind of argument", arg.span)]),
            }
        }
        let filter = match &function.tail.filter {
            Some(filter) => Some(boolean(plain.bind(filter)?, filter.span)?),
            None => None,
        };
        let is_count = aggregate == AggregateFunction::Count;
        if is_star && (!is_count || function.distinct) {
            return Err(vec![wrong_arguments(&format!("{name}(expression)"), span)]);
        }
        // COUNT of something that is never NULL counts rows.
        let never_null = !args.is_empty() && args.iter().all(|a| !a.data_type().nullable);
        let aggregate = if is_star || (is_count && !function.distinct && never_null) {
            args.clear();
            AggregateFunction::CountStar
        } else {
            aggregate
        };
        let takes_more = is_count || aggregate == AggregateFunction::ListAgg;
        let is_one_argument = args.len() == 1 || (takes_more && !args.is_empty());
        if aggregate != AggregateFunction::CountStar && !is_one_argument {
            return Err(vec![wrong_arguments(&format!("{name}([DISTINCT] expression)"), span)]);
        }
        self.add_aggregate(aggregate, args, function.distinct, filter, span)
    }

    /// The rows that aggregates aggregate; an error where no aggregate may stand.
    pub(super) fn grouped_input(&self, name: &str, span: Span) -> Bound<&'a Scope> {
        self.grouping.as_ref().map(|grouping| grouping.input).ok_or_else(|| {
            vec![
                Diagnostic::error("W0306", format!("{name} is an aggregate and cannot stand here"))
                    .at(span)
                    .label("expected an expression of one row"),
            ]
        })
    }

    /// The column of an aggregate whose parts are bound.
    pub(super) fn add_aggregate(
        &mut self,
        aggregate: AggregateFunction,
        args: Vec<ScalarExpr>,
        distinct: bool,
        filter: Option<ScalarExpr>,
        span: Span,
    ) -> Bound<ScalarExpr> {
        let types: Vec<DataType> = args.iter().map(ScalarExpr::data_type).collect();
        let data_type = aggregate.result_type(&types).map_err(|e| vec![wrong_arguments(&e.expected, span)])?;
        // DISTINCT changes nothing for these.
        let distinct = distinct
            && !matches!(
                aggregate,
                AggregateFunction::Min
                    | AggregateFunction::Max
                    | AggregateFunction::FirstValue
                    | AggregateFunction::LastValue
            );
        let Some(grouping) = &mut self.grouping else {
            return Err(vec![wrong_arguments("an aggregate above a GROUP BY", span)]);
        };
        Ok(grouping.aggregate_column(GroupedCall { function: aggregate, args, distinct, filter, data_type }))
    }
}

impl GroupedCall {
    /// The call over columns, once its expressions are columns.
    pub fn over(&self, args: Vec<usize>, filter: Option<usize>) -> AggregateCall {
        AggregateCall {
            function: self.function,
            args,
            distinct: self.distinct,
            filter,
            data_type: self.data_type.clone(),
        }
    }
}

/// Whether an expression holds an aggregate call (not looking into subqueries).
pub fn contains_aggregate(expr: &Expr) -> bool {
    let mut found = false;
    ast_children(expr, &mut |child| found |= contains_aggregate(child));
    if let ExprKind::JsonObject { aggregate: Some(_), .. } | ExprKind::JsonArray { aggregate: Some(_), .. } = &expr.kind
    {
        return true;
    }
    if let ExprKind::Function(function) = &expr.kind {
        let name = &function.name.last().value;
        if function.tail.over.is_none() {
            let upper = name.to_ascii_uppercase();
            found |= is_aggregate_name(name)
                || is_grouping_name(&upper)
                || window_property(&upper).is_some()
                || is_window_proctime(&upper);
        }
    }
    found
}

/// Calls `f` for each direct operand.
pub fn ast_children<'a>(expr: &'a Expr, f: &mut dyn FnMut(&'a Expr)) {
    match &expr.kind {
        ExprKind::Field { base, .. } => f(base),
        ExprKind::Index { base, index } => {
            f(base);
            f(index);
        }
        ExprKind::Unary { expr, .. }
        | ExprKind::Is { expr, .. }
        | ExprKind::Cast { expr, .. }
        | ExprKind::Extract { expr, .. }
        | ExprKind::RoundTime { expr, .. }
        | ExprKind::IntervalOf { amount: expr, .. } => f(expr),
        ExprKind::Binary { left, right, .. }
        | ExprKind::IsDistinctFrom { left, right, .. }
        | ExprKind::TimestampAdd { amount: left, time: right, .. }
        | ExprKind::TimestampDiff { from: left, to: right, .. }
        | ExprKind::Position { needle: left, haystack: right, .. }
        | ExprKind::JsonExists { input: left, path: right, .. } => {
            f(left);
            f(right);
        }
        ExprKind::Between { expr, low, high, .. } => {
            f(expr);
            f(low);
            f(high);
        }
        ExprKind::InList { expr, list, .. } => {
            f(expr);
            list.iter().for_each(f);
        }
        ExprKind::InSubquery { expr, .. } => f(expr),
        ExprKind::Quantified { left, right, .. } => {
            f(left);
            f(right);
        }
        ExprKind::Like { expr, pattern, escape, .. } => {
            f(expr);
            f(pattern);
            if let Some(e) = escape {
                f(e);
            }
        }
        ExprKind::Function(function) => {
            for arg in &function.args {
                if let FunctionArgValue::Expr(e) = &arg.value {
                    f(e);
                }
            }
        }
        ExprKind::Case { operand, branches, otherwise } => {
            if let Some(e) = operand {
                f(e);
            }
            for (when, then) in branches {
                f(when);
                f(then);
            }
            if let Some(e) = otherwise {
                f(e);
            }
        }
        ExprKind::Substring { expr, from, length } => {
            f(expr);
            f(from);
            if let Some(e) = length {
                f(e);
            }
        }
        ExprKind::Trim { chars, expr, .. } => {
            f(expr);
            if let Some(e) = chars {
                f(e);
            }
        }
        ExprKind::Overlay { expr, replacement, from, length } => {
            f(expr);
            f(replacement);
            f(from);
            if let Some(e) = length {
                f(e);
            }
        }
        ExprKind::JsonValue(json) => {
            f(&json.input);
            f(&json.path);
        }
        ExprKind::JsonQuery(json) => {
            f(&json.input);
            f(&json.path);
        }
        ExprKind::JsonObject { entries, .. } => {
            for (key, value) in entries {
                f(key);
                f(value);
            }
        }
        ExprKind::JsonArray { elements, .. } => elements.iter().for_each(f),
        ExprKind::Row { fields, .. } => fields.iter().for_each(f),
        ExprKind::Array(items) | ExprKind::Multiset(items) => items.iter().for_each(f),
        ExprKind::Map(entries) => {
            for (key, value) in entries {
                f(key);
                f(value);
            }
        }
        _ => {}
    }
}

pub(super) fn is_grouping_name(name: &str) -> bool {
    matches!(name, "GROUPING" | "GROUPING_ID")
}

fn window_is_needed(name: &str, span: Span) -> Diagnostic {
    Diagnostic::error("W0307", format!("{name} needs the same window in GROUP BY")).at(span)
}

/// Whether a name is that of the processing time of a group window.
pub(super) fn is_window_proctime(name: &str) -> bool {
    matches!(name, "TUMBLE_PROCTIME" | "HOP_PROCTIME" | "SESSION_PROCTIME")
}

pub(super) fn window_property(name: &str) -> Option<WindowProperty> {
    Some(match name {
        "TUMBLE_START" | "HOP_START" | "SESSION_START" => WindowProperty::Start,
        "TUMBLE_END" | "HOP_END" | "SESSION_END" => WindowProperty::End,
        "TUMBLE_ROWTIME" | "HOP_ROWTIME" | "SESSION_ROWTIME" => WindowProperty::Time,
        _ => return None,
    })
}

pub(super) fn one<T>(result: Result<T, Diagnostic>) -> Bound<T> {
    result.map_err(|e| vec![e])
}

/// The refusal of something Flink has and wiesel does not have yet.
pub fn refused(what: &str, span: Span) -> Diagnostic {
    Diagnostic::error("W0401", format!("{what} is not supported yet")).at(span)
}

pub(super) fn wrong_arguments(expected: &str, span: Span) -> Diagnostic {
    Diagnostic::error("W0305", "arguments do not fit the function").at(span).label(format!("expected {expected}"))
}

/// A call of a registered function, arguments cast as it asks.
pub fn call(name: &str, args: Vec<ScalarExpr>, span: Span) -> Bound<ScalarExpr> {
    call_at(name, args, span, span)
}

fn call_at(name: &str, args: Vec<ScalarExpr>, span: Span, name_span: Span) -> Bound<ScalarExpr> {
    let Some(function) = lookup(name) else {
        return Err(unknown_function(name, name_span).into_iter().collect());
    };
    let types: Vec<DataType> = args.iter().map(ScalarExpr::data_type).collect();
    let arguments: Vec<Argument<'_>> = args
        .iter()
        .zip(&types)
        .map(|(arg, data_type)| Argument {
            data_type,
            literal: if let ScalarExpr::Literal { value, .. } = arg { Some(value) } else { None },
        })
        .collect();
    let signature = function.bind(&arguments).map_err(|e| {
        let found: Vec<String> = types.iter().map(|t| t.kind.to_string()).collect();
        vec![
            Diagnostic::error("W0305", format!("`{name}` does not take ({})", found.join(", ")))
                .at(span)
                .label(format!("expected {}", e.expected)),
        ]
    })?;
    function.open(&arguments).map_err(|e| vec![super::query::from_connector(&e, span)])?;
    let args = args.into_iter().zip(&signature.args).map(|(arg, wanted)| cast_to(arg, wanted)).collect();
    Ok(ScalarExpr::Call { function, args, data_type: signature.returns })
}

/// The error of a call whose function does not exist.
pub(super) fn unknown_function(name: &str, span: Span) -> Option<Diagnostic> {
    let name = name.to_ascii_uppercase();
    if lookup(&name).is_some() {
        return None;
    }
    let known = wiesel_expr::function::all().iter().map(|f| f.name());
    let known = known.filter(|n| n.starts_with(|c: char| c.is_ascii_alphabetic()));
    Some(Diagnostic::error("W0305", format!("no function `{name}`")).at(span).did_you_mean(&name, known))
}

/// Two results, or the errors of both.
pub(super) fn both<A, B>(left: Bound<A>, right: Bound<B>) -> Bound<(A, B)> {
    match (left, right) {
        (Ok(left), Ok(right)) => Ok((left, right)),
        (Err(mut errors), Err(mut more)) => {
            errors.append(&mut more);
            Err(errors)
        }
        (Err(errors), _) | (_, Err(errors)) => Err(errors),
    }
}

/// A cast, where the type differs in more than nullability.
pub fn cast_to(expr: ScalarExpr, wanted: &DataType) -> ScalarExpr {
    let from = expr.data_type();
    if from.kind == wanted.kind {
        return expr;
    }
    if let ScalarExpr::Literal { value: Value::Null, .. } = expr {
        return ScalarExpr::Literal { value: Value::Null, data_type: wanted.with_nullable(true) };
    }
    ScalarExpr::Cast { input: Box::new(expr), data_type: wanted.with_nullable(from.nullable), is_try: false }
}

/// An implicit cast, or the error that there is none.
pub fn coerce(expr: ScalarExpr, wanted: &DataType, span: Span) -> Bound<ScalarExpr> {
    let from = expr.data_type();
    if from.kind != wanted.kind && from.kind != TypeKind::Null && !cast::is_implicit(&from, wanted) {
        return Err(vec![
            Diagnostic::error("W0304", format!("expected {}, found {}", wanted.kind, from.kind))
                .at(span)
                .hint(format!("write CAST(... AS {})", wanted.kind)),
        ]);
    }
    Ok(cast_to(expr, wanted))
}

/// A condition, or the error that it is none.
pub fn boolean(expr: ScalarExpr, span: Span) -> Bound<ScalarExpr> {
    let data_type = expr.data_type();
    match data_type.kind {
        TypeKind::Boolean => Ok(expr),
        TypeKind::Null => Ok(cast_to(expr, &DataType::boolean())),
        kind => Err(vec![Diagnostic::error("W0304", format!("expected BOOLEAN, found {kind}")).at(span)]),
    }
}

fn connect(left: ScalarExpr, right: ScalarExpr, span: Span, is_and: bool) -> Bound<ScalarExpr> {
    let (left, right) = (boolean(left, span)?, boolean(right, span)?);
    let mut operands = Vec::new();
    for side in [left, right] {
        match (side, is_and) {
            (ScalarExpr::And(inner), true) | (ScalarExpr::Or(inner), false) => operands.extend(inner),
            (other, _) => operands.push(other),
        }
    }
    Ok(if is_and { ScalarExpr::And(operands) } else { ScalarExpr::Or(operands) })
}

/// `(start, end) OVERLAPS (start, end)`; an end may be an interval behind its start. Each pair is put into order first.
fn overlaps(left: ScalarExpr, right: ScalarExpr, span: Span) -> Bound<ScalarExpr> {
    let period = |side: ScalarExpr| -> Bound<(ScalarExpr, ScalarExpr)> {
        let ScalarExpr::Call { function, mut args, .. } = side else {
            return Err(vec![wrong_arguments("(start, end) OVERLAPS (start, end)", span)]);
        };
        let (Some(end), Some(start), "ROW") = (args.pop(), args.pop(), function.name()) else {
            return Err(vec![wrong_arguments("(start, end) OVERLAPS (start, end)", span)]);
        };
        let is_interval = matches!(end.data_type().kind, TypeKind::IntervalDayTime | TypeKind::IntervalYearMonth);
        let end = if is_interval { call("+", vec![start.clone(), end], span)? } else { end };
        let is_ordered = call("<=", vec![start.clone(), end.clone()], span)?;
        let low = case(vec![(is_ordered.clone(), start.clone())], Some(end.clone()), span)?;
        Ok((low, case(vec![(is_ordered, end)], Some(start), span)?))
    };
    let ((left_start, left_end), (right_start, right_end)) = (period(left)?, period(right)?);
    let begins_before_end = call(">=", vec![left_end, right_start], span)?;
    let ends_after_begin = call(">=", vec![right_end, left_start], span)?;
    connect(begins_before_end, ends_after_begin, span, true)
}

fn negate(expr: ScalarExpr, negated: bool, span: Span) -> Bound<ScalarExpr> {
    if negated { call("NOT", vec![expr], span) } else { Ok(expr) }
}

/// COALESCE of values cast to their common type.
pub fn coalesce(args: Vec<ScalarExpr>, span: Span) -> Bound<ScalarExpr> {
    if args.is_empty() {
        return Err(vec![wrong_arguments("COALESCE(value1 [, value2]*)", span)]);
    }
    let common = common_type(&args.iter().map(ScalarExpr::data_type).collect::<Vec<_>>(), span)?;
    let nullable = args.iter().all(|a| a.data_type().nullable);
    let args = args.into_iter().map(|a| cast_to(a, &common)).collect();
    Ok(ScalarExpr::Coalesce { args, data_type: common.with_nullable(nullable) })
}

fn case(branches: Vec<(ScalarExpr, ScalarExpr)>, otherwise: Option<ScalarExpr>, span: Span) -> Bound<ScalarExpr> {
    let mut types: Vec<DataType> = branches.iter().map(|(_, r)| r.data_type()).collect();
    types.extend(otherwise.iter().map(ScalarExpr::data_type));
    let common = common_type(&types, span)?;
    let nullable = otherwise.is_none() || types.iter().any(|t| t.nullable);
    let branches = branches.into_iter().map(|(c, r)| (c, cast_to(r, &common))).collect();
    let otherwise = otherwise.map(|o| Box::new(cast_to(o, &common)));
    Ok(ScalarExpr::Case { branches, otherwise, data_type: common.with_nullable(nullable) })
}

/// The least restrictive common type, or the error that there is none.
pub fn common_type(types: &[DataType], span: Span) -> Bound<DataType> {
    cast::common_type(types).ok_or_else(|| {
        let found: Vec<String> = types.iter().map(|t| t.kind.to_string()).collect();
        vec![Diagnostic::error("W0304", format!("no common type of {}", found.join(", "))).at(span)]
    })
}
