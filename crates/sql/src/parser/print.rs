//! A tree back to SQL text, on one line: for EXPLAIN, for messages, and for the law that reading what was printed gives the same
//! text again.
//!
//! Parentheses are printed where precedence needs them, not where the source had them; keywords are upper case; names stand in
//! backticks only when they must.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter, Write};

use super::ast::{
    AfterMatch, AggregateTail, BinaryOp, DataType, Expr, ExprKind, FrameBound, FunctionArg, FunctionArgValue,
    FunctionCall, GroupItem, Hint, HintArg, Ident, IntervalQualifier, IsTest, JoinCondition, JoinKind,
    JsonExistsOnError, JsonOnNull, JsonQueryBehaviour, JsonValueBehaviour, JsonWrapper, LikeKind, Literal,
    MatchRecognize, Nullability, ObjectName, OrderItem, Over, Query, RowPattern, Select, SelectItem, SetExpr,
    SetExprKind, SetOperator, TableAlias, TableArg, TableArgSource, TableRef, TableRefKind, TimeUnit, TrimSide,
    TypeKind, UnaryOp, WindowSpec,
};
use super::keyword;

/// The name as it must be written in SQL: in backticks when it is reserved or has other characters than a plain name.
pub fn quote_name(name: &str) -> Cow<'_, str> {
    if keyword::is_plain_name(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("`{}`", name.replace('`', "``")))
    }
}

fn quote_string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Display for Ident {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&quote_name(&self.value))
    }
}

impl Display for ObjectName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_list(f, &self.parts, ".")
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_expr(f, self)
    }
}

/// Items with a separator between them.
fn write_list<T: Display>(f: &mut Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// Items with commas between them, to be used inside `write!`.
struct Commas<'a, T>(&'a [T]);

impl<T: Display> Display for Commas<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_list(f, self.0, ", ")
    }
}

// ---------------------------------------------------------------- expressions

/// How tightly an expression binds; the same numbers as in `expr`.
fn precedence(kind: &ExprKind) -> u8 {
    match kind {
        ExprKind::Binary { op, .. } => binary_precedence(*op),
        ExprKind::Unary { op: UnaryOp::Not, .. } => 26,
        ExprKind::Is { .. } => 28,
        ExprKind::IsDistinctFrom { .. } | ExprKind::Quantified { .. } => 30,
        ExprKind::Between { .. } | ExprKind::InList { .. } | ExprKind::InSubquery { .. } | ExprKind::Like { .. } => 32,
        ExprKind::Unary { .. } | ExprKind::AtTimeZone { .. } => 80,
        _ => 100,
    }
}

fn binary_precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 22,
        BinaryOp::And => 24,
        BinaryOp::Plus | BinaryOp::Minus => 40,
        BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo | BinaryOp::Concat => 60,
        _ => 30,
    }
}

/// An expression where only those that bind at least so tightly need no parentheses.
struct Above<'a>(&'a Expr, u8);

impl Display for Above<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if precedence(&self.0.kind) < self.1 { write!(f, "({})", self.0) } else { write_expr(f, self.0) }
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

fn write_expr(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    match &expr.kind {
        ExprKind::Literal(literal) => write!(f, "{literal}"),
        ExprKind::Name(parts) => write_list(f, parts, "."),
        ExprKind::Field { base, field } if matches!(base.kind, ExprKind::Name(_)) => write!(f, "({base}).{field}"),
        ExprKind::Field { base, field } => write!(f, "{}.{field}", Above(base, 100)),
        ExprKind::Index { base, index } => write!(f, "{}[{index}]", Above(base, 100)),
        ExprKind::Unary { op: UnaryOp::Not, expr } => write!(f, "NOT {}", Above(expr, 26)),
        ExprKind::Unary { op, expr } => {
            let sign = if *op == UnaryOp::Minus { '-' } else { '+' };
            // Two signs side by side would begin a comment.
            let floor = if matches!(expr.kind, ExprKind::Unary { .. }) { u8::MAX } else { 80 };
            write!(f, "{sign}{}", Above(expr, floor))
        }
        ExprKind::Binary { op, left, right, .. } => {
            let own = binary_precedence(*op);
            let chains = matches!(op, BinaryOp::And | BinaryOp::Or);
            let right_floor = if chains { own } else { own + 1 };
            write!(f, "{} {op} {}", Above(left, own), Above(right, right_floor))
        }
        ExprKind::Is { expr, test, negated } => write!(f, "{} IS {}{test}", Above(expr, 28), not(*negated)),
        ExprKind::IsDistinctFrom { left, right, negated } => {
            write!(f, "{} IS {}DISTINCT FROM {}", Above(left, 30), not(*negated), Above(right, 32))
        }
        ExprKind::Between { expr, low, high, negated, symmetric } => {
            let symmetric = if *symmetric { "SYMMETRIC " } else { "" };
            write!(
                f,
                "{} {}BETWEEN {symmetric}{} AND {}",
                Above(expr, 32),
                not(*negated),
                Above(low, 40),
                Above(high, 40)
            )
        }
        ExprKind::InList { expr, list, negated } => {
            write!(f, "{} {}IN ({})", Above(expr, 32), not(*negated), Commas(list))
        }
        ExprKind::InSubquery { expr, query, negated } => write!(f, "{} {}IN ({query})", Above(expr, 32), not(*negated)),
        ExprKind::Quantified { left, op, all, right } => {
            write!(f, "{} {op} {} {right}", Above(left, 30), if *all { "ALL" } else { "ANY" })
        }
        ExprKind::Like { kind, expr, pattern, escape, negated } => {
            let word = if *kind == LikeKind::Like { "LIKE" } else { "SIMILAR TO" };
            write!(f, "{} {}{word} {}", Above(expr, 32), not(*negated), Above(pattern, 40))?;
            escape.as_ref().map_or(Ok(()), |escape| write!(f, " ESCAPE {}", Above(escape, 40)))
        }
        ExprKind::Exists(query) => write!(f, "EXISTS ({query})"),
        ExprKind::Subquery(query) => write!(f, "({query})"),
        ExprKind::Function(call) => write!(f, "{call}"),
        ExprKind::AtTimeZone { expr, zone } => write!(f, "{} AT TIME ZONE {}", Above(expr, 80), Above(zone, 81)),
        ExprKind::Default => f.write_str("DEFAULT"),
        ExprKind::MatchSemantics { is_final, expr } => {
            write!(f, "{} {expr}", if *is_final { "FINAL" } else { "RUNNING" })
        }
        ExprKind::Row { fields, explicit } => {
            write!(f, "{}({})", if *explicit || fields.len() < 2 { "ROW" } else { "" }, Commas(fields))
        }
        ExprKind::Array(items) => write!(f, "ARRAY[{}]", Commas(items)),
        ExprKind::Multiset(items) => write!(f, "MULTISET[{}]", Commas(items)),
        ExprKind::Map(pairs) => {
            f.write_str("MAP[")?;
            for (index, (key, value)) in pairs.iter().enumerate() {
                write!(f, "{}{key}, {value}", if index > 0 { ", " } else { "" })?;
            }
            f.write_str("]")
        }
        ExprKind::CollectionQuery { word, query } => write!(f, "{word}({query})"),
        ExprKind::IntervalOf { amount, qualifier } => match amount.kind {
            ExprKind::Literal(Literal::Number(_)) => write!(f, "INTERVAL {amount} {qualifier}"),
            _ => write!(f, "INTERVAL ({amount}) {qualifier}"),
        },
        _ => write_form(f, expr),
    }
}

/// The functions with a grammar of their own.
fn write_form(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    match &expr.kind {
        ExprKind::Cast { expr, data_type, try_cast } => {
            write!(f, "{}CAST({expr} AS {data_type})", if *try_cast { "TRY_" } else { "" })
        }
        ExprKind::Case { operand, branches, otherwise } => {
            f.write_str("CASE")?;
            write_optional(f, " ", operand.as_deref())?;
            for (condition, result) in branches {
                write!(f, " WHEN {condition} THEN {result}")?;
            }
            write_optional(f, " ELSE ", otherwise.as_deref())?;
            f.write_str(" END")
        }
        ExprKind::Extract { unit, expr } => write!(f, "EXTRACT({unit} FROM {expr})"),
        ExprKind::Position { needle, haystack, from } => {
            write!(f, "POSITION({} IN {haystack}", Above(needle, 40))?;
            write_optional(f, " FROM ", from.as_deref())?;
            f.write_str(")")
        }
        ExprKind::Substring { expr, from, length } => {
            write!(f, "SUBSTRING({expr} FROM {from}")?;
            write_optional(f, " FOR ", length.as_deref())?;
            f.write_str(")")
        }
        ExprKind::Trim { side, chars, expr } => {
            let side = match side {
                TrimSide::Both => "BOTH",
                TrimSide::Leading => "LEADING",
                TrimSide::Trailing => "TRAILING",
            };
            write!(f, "TRIM({side}")?;
            write_optional(f, " ", chars.as_deref())?;
            write!(f, " FROM {expr})")
        }
        ExprKind::Overlay { expr, replacement, from, length } => {
            write!(f, "OVERLAY({expr} PLACING {replacement} FROM {from}")?;
            write_optional(f, " FOR ", length.as_deref())?;
            f.write_str(")")
        }
        ExprKind::RoundTime { ceil, expr, unit } => {
            write!(f, "{}({expr} TO {unit})", if *ceil { "CEIL" } else { "FLOOR" })
        }
        ExprKind::TimestampAdd { unit, amount, time } => write!(f, "TIMESTAMPADD({unit}, {amount}, {time})"),
        ExprKind::TimestampDiff { unit, from, to } => write!(f, "TIMESTAMPDIFF({unit}, {from}, {to})"),
        _ => write_json(f, expr),
    }
}

fn write_json(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    match &expr.kind {
        ExprKind::JsonValue(call) => {
            write!(f, "JSON_VALUE({}, {}", call.input, call.path)?;
            write_optional(f, " RETURNING ", call.returning.as_ref())?;
            for (behaviour, when) in [(&call.on_empty, "EMPTY"), (&call.on_error, "ERROR")] {
                match behaviour {
                    None => {}
                    Some(JsonValueBehaviour::Null) => write!(f, " NULL ON {when}")?,
                    Some(JsonValueBehaviour::Error) => write!(f, " ERROR ON {when}")?,
                    Some(JsonValueBehaviour::Default(value)) => write!(f, " DEFAULT {value} ON {when}")?,
                }
            }
            f.write_str(")")
        }
        ExprKind::JsonQuery(call) => {
            write!(f, "JSON_QUERY({}, {}", call.input, call.path)?;
            write_optional(f, " RETURNING ", call.returning.as_ref())?;
            match call.wrapper {
                None => {}
                Some(JsonWrapper::Without) => f.write_str(" WITHOUT ARRAY WRAPPER")?,
                Some(JsonWrapper::Conditional) => f.write_str(" WITH CONDITIONAL ARRAY WRAPPER")?,
                Some(JsonWrapper::Unconditional) => f.write_str(" WITH UNCONDITIONAL ARRAY WRAPPER")?,
            }
            for (behaviour, when) in [(call.on_empty, "EMPTY"), (call.on_error, "ERROR")] {
                let word = match behaviour {
                    None => continue,
                    Some(JsonQueryBehaviour::Null) => "NULL",
                    Some(JsonQueryBehaviour::Error) => "ERROR",
                    Some(JsonQueryBehaviour::EmptyArray) => "EMPTY ARRAY",
                    Some(JsonQueryBehaviour::EmptyObject) => "EMPTY OBJECT",
                };
                write!(f, " {word} ON {when}")?;
            }
            f.write_str(")")
        }
        ExprKind::JsonExists { input, path, on_error } => {
            write!(f, "JSON_EXISTS({input}, {path}")?;
            match on_error {
                None => {}
                Some(JsonExistsOnError::True) => f.write_str(" TRUE ON ERROR")?,
                Some(JsonExistsOnError::False) => f.write_str(" FALSE ON ERROR")?,
                Some(JsonExistsOnError::Unknown) => f.write_str(" UNKNOWN ON ERROR")?,
                Some(JsonExistsOnError::Error) => f.write_str(" ERROR ON ERROR")?,
            }
            f.write_str(")")
        }
        ExprKind::JsonObject { entries, on_null, aggregate } => {
            f.write_str(if aggregate.is_some() { "JSON_OBJECTAGG(" } else { "JSON_OBJECT(" })?;
            for (index, (key, value)) in entries.iter().enumerate() {
                write!(f, "{}KEY {key} VALUE {value}", if index > 0 { ", " } else { "" })?;
            }
            write_on_null(f, *on_null, entries.is_empty())?;
            write_aggregate_tail(f, aggregate.as_deref())
        }
        ExprKind::JsonArray { elements, on_null, aggregate } => {
            f.write_str(if aggregate.is_some() { "JSON_ARRAYAGG(" } else { "JSON_ARRAY(" })?;
            write_list(f, elements, ", ")?;
            write_on_null(f, *on_null, elements.is_empty())?;
            write_aggregate_tail(f, aggregate.as_deref())
        }
        // Every other kind is printed by write_expr or write_form.
        _ => Ok(()),
    }
}

/// ` NULL ON NULL)`, without the blank when nothing stands before it.
fn write_on_null(f: &mut Formatter<'_>, on_null: Option<JsonOnNull>, first: bool) -> fmt::Result {
    let blank = if first { "" } else { " " };
    match on_null {
        None => f.write_str(")"),
        Some(JsonOnNull::Null) => write!(f, "{blank}NULL ON NULL)"),
        Some(JsonOnNull::Absent) => write!(f, "{blank}ABSENT ON NULL)"),
    }
}

fn write_aggregate_tail(f: &mut Formatter<'_>, tail: Option<&AggregateTail>) -> fmt::Result {
    tail.map_or(Ok(()), |tail| write!(f, "{tail}"))
}

fn write_optional<T: Display>(f: &mut Formatter<'_>, before: &str, item: Option<&T>) -> fmt::Result {
    item.map_or(Ok(()), |item| write!(f, "{before}{item}"))
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Number(text) => f.write_str(text),
            Literal::String(text) => f.write_str(&quote_string(text)),
            Literal::Binary(bytes) => {
                f.write_str("X'")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
                f.write_char('\'')
            }
            Literal::Date(text) => write!(f, "DATE {}", quote_string(text)),
            Literal::Time(text) => write!(f, "TIME {}", quote_string(text)),
            Literal::Timestamp(text) => write!(f, "TIMESTAMP {}", quote_string(text)),
            Literal::Interval(interval) => {
                let sign = if interval.negative { "-" } else { "" };
                write!(f, "INTERVAL {sign}{} {}", quote_string(&interval.value), interval.qualifier)
            }
            Literal::Boolean(true) => f.write_str("TRUE"),
            Literal::Boolean(false) => f.write_str("FALSE"),
            Literal::Unknown => f.write_str("UNKNOWN"),
            Literal::Null => f.write_str("NULL"),
        }
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BinaryOp::Or => "OR",
            BinaryOp::And => "AND",
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
            BinaryOp::Overlaps => "OVERLAPS",
            BinaryOp::MemberOf => "MEMBER OF",
            BinaryOp::SubmultisetOf => "SUBMULTISET OF",
        })
    }
}

impl Display for IsTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IsTest::Null => "NULL",
            IsTest::True => "TRUE",
            IsTest::False => "FALSE",
            IsTest::Unknown => "UNKNOWN",
            IsTest::JsonValue => "JSON VALUE",
            IsTest::JsonObject => "JSON OBJECT",
            IsTest::JsonArray => "JSON ARRAY",
            IsTest::JsonScalar => "JSON SCALAR",
            IsTest::ASet => "A SET",
            IsTest::Empty => "EMPTY",
        })
    }
}

impl Display for TimeUnit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeUnit::Millennium => "MILLENNIUM",
            TimeUnit::Century => "CENTURY",
            TimeUnit::Decade => "DECADE",
            TimeUnit::Year => "YEAR",
            TimeUnit::IsoYear => "ISOYEAR",
            TimeUnit::Quarter => "QUARTER",
            TimeUnit::Month => "MONTH",
            TimeUnit::Week => "WEEK",
            TimeUnit::Day => "DAY",
            TimeUnit::Dow => "DOW",
            TimeUnit::IsoDow => "ISODOW",
            TimeUnit::Doy => "DOY",
            TimeUnit::Hour => "HOUR",
            TimeUnit::Minute => "MINUTE",
            TimeUnit::Second => "SECOND",
            TimeUnit::Millisecond => "MILLISECOND",
            TimeUnit::Microsecond => "MICROSECOND",
            TimeUnit::Nanosecond => "NANOSECOND",
            TimeUnit::Epoch => "EPOCH",
        })
    }
}

impl Display for IntervalQualifier {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.leading)?;
        match (self.leading_precision, self.trailing, self.fraction_precision) {
            (Some(precision), None, Some(fraction)) => write!(f, "({precision}, {fraction})")?,
            (Some(precision), _, _) => write!(f, "({precision})")?,
            _ => {}
        }
        if let Some(trailing) = self.trailing {
            write!(f, " TO {trailing}")?;
            if let Some(fraction) = self.fraction_precision {
                write!(f, "({fraction})")?;
            }
        }
        Ok(())
    }
}

impl Display for FunctionCall {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.name.parts.as_slice() {
            [word] if keyword::is_reserved(&word.value) && !word.quoted => f.write_str(&word.value)?,
            _ => write!(f, "{}", self.name)?,
        }
        if self.bare {
            return Ok(());
        }
        write!(f, "({}{})", if self.distinct { "DISTINCT " } else { "" }, Commas(&self.args))?;
        write!(f, "{}", self.tail)
    }
}

impl Display for AggregateTail {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.order_by.is_empty() {
            write!(f, " WITHIN GROUP (ORDER BY {})", Commas(&self.order_by))?;
        }
        if let Some(ignore) = self.ignore_nulls {
            f.write_str(if ignore { " IGNORE NULLS" } else { " RESPECT NULLS" })?;
        }
        if let Some(filter) = &self.filter {
            write!(f, " FILTER (WHERE {filter})")?;
        }
        match &self.over {
            None => Ok(()),
            Some(Over::Named(name)) => write!(f, " OVER {name}"),
            Some(Over::Spec(spec)) => write!(f, " OVER {spec}"),
        }
    }
}

impl Display for FunctionArg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{} => ", name.value)?;
        }
        match &self.value {
            FunctionArgValue::Expr(expr) => write!(f, "{expr}"),
            FunctionArgValue::Star => f.write_str("*"),
            FunctionArgValue::Table(table) => write!(f, "{table}"),
            FunctionArgValue::Descriptor(columns) => write!(f, "DESCRIPTOR({})", Commas(columns)),
        }
    }
}

impl Display for TableArg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.source {
            TableArgSource::Name(name, hints) => {
                write!(f, "TABLE {name}")?;
                write_hints(f, hints)?;
            }
            TableArgSource::Query(query) => write!(f, "TABLE ({query})")?,
            TableArgSource::Function(call) => write!(f, "TABLE {call}")?,
        }
        if !self.partition_by.is_empty() {
            // Parentheses keep the columns apart from the next argument.
            write!(f, " PARTITION BY ({})", Commas(&self.partition_by))?;
        }
        if !self.order_by.is_empty() {
            write!(f, " ORDER BY {}", Commas(&self.order_by))?;
        }
        Ok(())
    }
}

impl Display for OrderItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.expr, if self.descending { " DESC" } else { "" })?;
        match self.nulls_first {
            None => Ok(()),
            Some(true) => f.write_str(" NULLS FIRST"),
            Some(false) => f.write_str(" NULLS LAST"),
        }
    }
}

impl Display for WindowSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(base) = &self.base {
            parts.push(base.to_string());
        }
        if !self.partition_by.is_empty() {
            parts.push(format!("PARTITION BY {}", Commas(&self.partition_by)));
        }
        if !self.order_by.is_empty() {
            parts.push(format!("ORDER BY {}", Commas(&self.order_by)));
        }
        if let Some(frame) = &self.frame {
            let unit = if frame.rows { "ROWS" } else { "RANGE" };
            parts.push(match &frame.end {
                Some(end) => format!("{unit} BETWEEN {} AND {end}", frame.start),
                None => format!("{unit} {}", frame.start),
            });
        }
        write!(f, "({})", parts.join(" "))
    }
}

impl Display for FrameBound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            FrameBound::UnboundedPreceding => f.write_str("UNBOUNDED PRECEDING"),
            FrameBound::Preceding(distance) => write!(f, "{} PRECEDING", Above(distance, 40)),
            FrameBound::CurrentRow => f.write_str("CURRENT ROW"),
            FrameBound::Following(distance) => write!(f, "{} FOLLOWING", Above(distance, 40)),
            FrameBound::UnboundedFollowing => f.write_str("UNBOUNDED FOLLOWING"),
        }
    }
}

// ---------------------------------------------------------------- types

impl Display for DataType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_type_kind(f, &self.kind)?;
        match self.nullability {
            Nullability::Unsaid => Ok(()),
            Nullability::Null => f.write_str(" NULL"),
            Nullability::NotNull => f.write_str(" NOT NULL"),
        }
    }
}

fn write_type_kind(f: &mut Formatter<'_>, kind: &TypeKind) -> fmt::Result {
    let with_number = |f: &mut Formatter<'_>, name: &str, number: Option<u32>| {
        f.write_str(name)?;
        number.map_or(Ok(()), |number| write!(f, "({number})"))
    };
    match kind {
        TypeKind::Boolean => f.write_str("BOOLEAN"),
        TypeKind::TinyInt => f.write_str("TINYINT"),
        TypeKind::SmallInt => f.write_str("SMALLINT"),
        TypeKind::Int => f.write_str("INT"),
        TypeKind::BigInt => f.write_str("BIGINT"),
        TypeKind::Decimal { precision: Some(precision), scale: Some(scale) } => {
            write!(f, "DECIMAL({precision}, {scale})")
        }
        TypeKind::Decimal { precision, .. } => with_number(f, "DECIMAL", *precision),
        TypeKind::Float => f.write_str("FLOAT"),
        TypeKind::Double => f.write_str("DOUBLE"),
        TypeKind::Char(length) => with_number(f, "CHAR", *length),
        TypeKind::Varchar(length) => with_number(f, "VARCHAR", *length),
        TypeKind::String => f.write_str("STRING"),
        TypeKind::Binary(length) => with_number(f, "BINARY", *length),
        TypeKind::Varbinary(length) => with_number(f, "VARBINARY", *length),
        TypeKind::Bytes => f.write_str("BYTES"),
        TypeKind::Date => f.write_str("DATE"),
        TypeKind::Time(precision) => with_number(f, "TIME", *precision),
        TypeKind::Timestamp(precision) => with_number(f, "TIMESTAMP", *precision),
        TypeKind::TimestampLtz(precision) => with_number(f, "TIMESTAMP_LTZ", *precision),
        TypeKind::TimestampTz(precision) => {
            with_number(f, "TIMESTAMP", *precision)?;
            f.write_str(" WITH TIME ZONE")
        }
        TypeKind::Interval(qualifier) => write!(f, "INTERVAL {qualifier}"),
        TypeKind::Array(element) => write!(f, "ARRAY<{element}>"),
        TypeKind::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
        TypeKind::Multiset(element) => write!(f, "MULTISET<{element}>"),
        TypeKind::Row(fields) => {
            f.write_str("ROW<")?;
            for (index, field) in fields.iter().enumerate() {
                write!(f, "{}{} {}", if index > 0 { ", " } else { "" }, field.name, field.data_type)?;
                if let Some(comment) = &field.comment {
                    write!(f, " {}", quote_string(&comment.value))?;
                }
            }
            f.write_str(">")
        }
        TypeKind::Null => f.write_str("NULL"),
        TypeKind::Variant => f.write_str("VARIANT"),
        TypeKind::Raw { class, snapshot } => {
            write!(f, "RAW({}, {})", quote_string(&class.value), quote_string(&snapshot.value))
        }
        TypeKind::Named(name) => write!(f, "{name}"),
    }
}

// ---------------------------------------------------------------- queries

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(with) = &self.with {
            f.write_str(if with.recursive.is_some() { "WITH RECURSIVE " } else { "WITH " })?;
            for (index, cte) in with.ctes.iter().enumerate() {
                write!(f, "{}{}", if index > 0 { ", " } else { "" }, cte.name)?;
                if !cte.columns.is_empty() {
                    write!(f, " ({})", Commas(&cte.columns))?;
                }
                write!(f, " AS ({})", cte.query)?;
            }
            f.write_str(" ")?;
        }
        write!(f, "{}", self.body)?;
        if !self.order_by.is_empty() {
            write!(f, " ORDER BY {}", Commas(&self.order_by))?;
        }
        write_optional(f, " LIMIT ", self.limit.as_ref())?;
        write_optional(f, " OFFSET ", self.offset.as_ref())
    }
}

impl Display for SetExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            SetExprKind::Select(select) => write!(f, "{select}"),
            SetExprKind::Query(query) => write!(f, "({query})"),
            SetExprKind::Table(name) => write!(f, "TABLE {name}"),
            SetExprKind::Values(rows) => {
                f.write_str("VALUES ")?;
                for (index, row) in rows.iter().enumerate() {
                    // A single field that is itself a row keeps its own parentheses.
                    write!(f, "{}({})", if index > 0 { ", " } else { "" }, Commas(&row.values))?;
                }
                Ok(())
            }
            SetExprKind::SetOperation { op, all, left, right } => {
                let word = match op {
                    SetOperator::Union => "UNION",
                    SetOperator::Intersect => "INTERSECT",
                    SetOperator::Except => "EXCEPT",
                };
                write!(f, "{left} {word}{} {right}", if *all { " ALL" } else { "" })
            }
        }
    }
}

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT")?;
        write_hints(f, &self.hints)?;
        write!(f, " {}{}", if self.distinct { "DISTINCT " } else { "" }, Commas(&self.items))?;
        write_optional(f, " FROM ", self.from.as_ref())?;
        write_optional(f, " WHERE ", self.selection.as_ref())?;
        if let Some(group_by) = &self.group_by {
            write!(f, " GROUP BY {}", Commas(&group_by.items))?;
        }
        write_optional(f, " HAVING ", self.having.as_ref())?;
        for (index, window) in self.windows.iter().enumerate() {
            write!(f, "{} {} AS {}", if index > 0 { "," } else { " WINDOW" }, window.name, window.spec)?;
        }
        write_optional(f, " QUALIFY ", self.qualify.as_ref())
    }
}

impl Display for SelectItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            SelectItem::Wildcard(_) => f.write_str("*"),
            SelectItem::QualifiedWildcard { prefix, .. } => write!(f, "{prefix}.*"),
            SelectItem::Expr { expr, alias } => {
                write!(f, "{expr}")?;
                write_optional(f, " AS ", alias.as_ref())
            }
        }
    }
}

impl Display for GroupItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            GroupItem::Expr(expr) => write!(f, "{expr}"),
            GroupItem::Empty(_) => f.write_str("()"),
            GroupItem::Composite(exprs, _) => write!(f, "({})", Commas(exprs)),
            GroupItem::GroupingSets(items, _) => write!(f, "GROUPING SETS ({})", Commas(items)),
            GroupItem::Cube(items, _) => write!(f, "CUBE ({})", Commas(items)),
            GroupItem::Rollup(items, _) => write!(f, "ROLLUP ({})", Commas(items)),
        }
    }
}

fn write_hints(f: &mut Formatter<'_>, hints: &[Hint]) -> fmt::Result {
    if hints.is_empty() {
        return Ok(());
    }
    write!(f, " /*+ {} */", Commas(hints))
}

impl Display for Hint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if self.args.is_empty() { Ok(()) } else { write!(f, "({})", Commas(&self.args)) }
    }
}

impl Display for HintArg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            HintArg::Pair(pair) => write!(f, "{} = {}", quote_string(&pair.key.value), quote_string(&pair.value.value)),
            HintArg::Name(name) => write!(f, "{name}"),
            HintArg::Literal(literal) => f.write_str(&quote_string(&literal.value)),
        }
    }
}

impl Display for TableAlias {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " AS {}", self.name)?;
        if self.columns.is_empty() { Ok(()) } else { write!(f, " ({})", Commas(&self.columns)) }
    }
}

impl Display for TableRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lateral_word = |lateral: bool| if lateral { "LATERAL " } else { "" };
        let alias = match &self.kind {
            TableRefKind::Table { name, hints, as_of, alias } => {
                write!(f, "{name}")?;
                write_hints(f, hints)?;
                write_optional(f, " FOR SYSTEM_TIME AS OF ", as_of.as_deref())?;
                alias
            }
            TableRefKind::Derived { lateral, query, alias } => {
                write!(f, "{}({query})", lateral_word(*lateral))?;
                alias
            }
            TableRefKind::Function { lateral, table_keyword, call, alias } => {
                let (open, close) = if *table_keyword { ("TABLE(", ")") } else { ("", "") };
                write!(f, "{}{open}{call}{close}", lateral_word(*lateral))?;
                alias
            }
            TableRefKind::Unnest { exprs, with_ordinality, alias } => {
                write!(f, "UNNEST({})", Commas(exprs))?;
                if *with_ordinality {
                    f.write_str(" WITH ORDINALITY")?;
                }
                alias
            }
            TableRefKind::MatchRecognize(clause) => {
                write!(f, "{} {clause}", clause.input)?;
                &clause.alias
            }
            TableRefKind::Parenthesised(inner) => return write!(f, "({inner})"),
            TableRefKind::Join(join) => {
                let words = match join.kind {
                    JoinKind::Inner => " JOIN",
                    JoinKind::Left => " LEFT JOIN",
                    JoinKind::Right => " RIGHT JOIN",
                    JoinKind::Full => " FULL JOIN",
                    JoinKind::Cross => " CROSS JOIN",
                    JoinKind::Comma => ",",
                };
                write!(f, "{}{}{words} {}", join.left, if join.natural { " NATURAL" } else { "" }, join.right)?;
                return match &join.condition {
                    JoinCondition::None => Ok(()),
                    JoinCondition::On(condition) => write!(f, " ON {condition}"),
                    JoinCondition::Using(columns) => write!(f, " USING ({})", Commas(columns)),
                };
            }
        };
        alias.as_ref().map_or(Ok(()), |alias| write!(f, "{alias}"))
    }
}

// ---------------------------------------------------------------- MATCH_RECOGNIZE

impl Display for MatchRecognize {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("MATCH_RECOGNIZE (")?;
        if !self.partition_by.is_empty() {
            write!(f, "PARTITION BY {} ", Commas(&self.partition_by))?;
        }
        if !self.order_by.is_empty() {
            write!(f, "ORDER BY {} ", Commas(&self.order_by))?;
        }
        for (index, (measure, name)) in self.measures.iter().enumerate() {
            write!(f, "{}{measure} AS {name}", if index > 0 { ", " } else { "MEASURES " })?;
        }
        f.write_str(if self.measures.is_empty() { "" } else { " " })?;
        f.write_str(if self.all_rows { "ALL ROWS PER MATCH" } else { "ONE ROW PER MATCH" })?;
        match &self.after_match {
            None => {}
            Some(AfterMatch::ToNextRow) => f.write_str(" AFTER MATCH SKIP TO NEXT ROW")?,
            Some(AfterMatch::PastLastRow) => f.write_str(" AFTER MATCH SKIP PAST LAST ROW")?,
            Some(AfterMatch::ToFirst(variable)) => write!(f, " AFTER MATCH SKIP TO FIRST {variable}")?,
            Some(AfterMatch::ToLast(variable)) => write!(f, " AFTER MATCH SKIP TO LAST {variable}")?,
        }
        let (start, end) = (if self.anchored_start { "^ " } else { "" }, if self.anchored_end { " $" } else { "" });
        write!(f, " PATTERN ({start}{}{end})", self.pattern)?;
        if let Some(within) = &self.within {
            write!(f, " WITHIN {}", Above(within, 40))?;
        }
        for (index, (name, members)) in self.subsets.iter().enumerate() {
            write!(f, "{} {name} = ({})", if index > 0 { "," } else { " SUBSET" }, Commas(members))?;
        }
        for (index, (name, condition)) in self.define.iter().enumerate() {
            write!(f, "{} {name} AS {condition}", if index > 0 { "," } else { " DEFINE" })?;
        }
        f.write_str(")")
    }
}

impl Display for RowPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            RowPattern::Variable(name) => write!(f, "{name}"),
            RowPattern::Sequence(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    f.write_str(if index > 0 { " " } else { "" })?;
                    match part {
                        RowPattern::Repeat { .. } => write!(f, "{part}")?,
                        _ => write_pattern_part(f, part)?,
                    }
                }
                Ok(())
            }
            RowPattern::Alternation(branches) => write_list(f, branches, " | "),
            RowPattern::Permute(parts, _) => write!(f, "PERMUTE({})", Commas(parts)),
            RowPattern::Exclusion(inner, _) => write!(f, "{{- {inner} -}}"),
            RowPattern::Repeat { pattern, min, max, reluctant, .. } => {
                write_pattern_part(f, pattern)?;
                match (min, max) {
                    (0, None) => f.write_str("*")?,
                    (1, None) => f.write_str("+")?,
                    (0, Some(1)) => f.write_str("?")?,
                    (min, None) => write!(f, "{{{min},}}")?,
                    (min, Some(max)) if min == max => write!(f, "{{{min}}}")?,
                    (min, Some(max)) => write!(f, "{{{min},{max}}}")?,
                }
                f.write_str(if *reluctant { "?" } else { "" })
            }
        }
    }
}

/// What a quantifier repeats, or a part of a sequence that is no repetition itself.
fn write_pattern_part(f: &mut Formatter<'_>, part: &RowPattern) -> fmt::Result {
    match part {
        RowPattern::Sequence(_) | RowPattern::Alternation(_) => write!(f, "({part})"),
        // A quantifier behind a quantifier would read as one of another meaning.
        RowPattern::Repeat { .. } => write!(f, "({part})"),
        _ => write!(f, "{part}"),
    }
}
