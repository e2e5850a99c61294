//! CAST with Flink's rules: which casts exist, which are implicit, what each gives, and the text forms of values.
//!
//! The rules are tables over type kinds ([`is_castable`], [`is_implicit`], [`common_type`]). The work is one [`Caster`] per CAST in an
//! expression, which goes column by column: [`number`] between numbers, [`parse`] out of text, [`mod@print`] into text, [`temporal`] between
//! times, [`nested`] for ARRAY, MAP and ROW. Nullability is not cast: NULL stays NULL, and who needs NOT NULL checks it.
//!
//! A value that does not parse fails the job by name; TRY_CAST and `table.exec.legacy-cast-behaviour` make it NULL. A number that does
//! not fit a DECIMAL is NULL, and integers wrap, as in Flink.

mod common;
pub mod decimal;
pub mod nested;
pub mod number;
pub mod parse;
pub mod print;
pub mod temporal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, new_null_array};
use wiesel_core::{DataType, Error, Result, TypeKind};

pub use common::common_type;

use crate::Session;
use crate::time::zone::Zone;

/// Whether CAST from one type to another exists at all.
pub fn is_castable(from: &DataType, to: &DataType) -> bool {
    is_kind_castable(&from.kind, &to.kind)
}

fn is_kind_castable(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind as T;
    if is_kind_implicit(from, to) {
        return true;
    }
    match (from, to) {
        (T::Null, _) | (_, T::Char(_) | T::VarChar(_)) => true,
        (f, T::Boolean) => f.is_string() || f.is_numeric(),
        (f, T::Binary(_) | T::VarBinary(_)) => f.is_string() || matches!(f, T::Binary(_) | T::VarBinary(_)),
        (T::IntervalYearMonth, T::Int) | (T::IntervalYearMonth | T::IntervalDayTime, T::BigInt) => true,
        (f, t) if t.is_numeric() => f.is_numeric() || f.is_string() || matches!(f, T::Boolean),
        (f, T::Date | T::Time(_)) => f.is_string() || matches!(f, T::Timestamp(_) | T::TimestampLtz(_)),
        (f, T::Timestamp(_) | T::TimestampLtz(_)) => {
            f.is_string() || matches!(f, T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_))
        }
        (f, T::IntervalYearMonth | T::IntervalDayTime) => f.is_integer(),
        (T::Array(f), T::Array(t)) | (T::Multiset(f), T::Multiset(t)) => is_castable(f, t),
        (T::Map(fk, fv), T::Map(tk, tv)) => is_castable(fk, tk) && is_castable(fv, tv),
        (T::Row(f), T::Row(t)) => {
            f.len() == t.len() && f.iter().zip(t).all(|(f, t)| is_castable(&f.data_type, &t.data_type))
        }
        _ => false,
    }
}

/// Whether Flink casts from one type to another by itself (INSERT into a column, function arguments).
pub fn is_implicit(from: &DataType, to: &DataType) -> bool {
    is_kind_implicit(&from.kind, &to.kind)
}

fn is_kind_implicit(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind as T;
    match (from, to) {
        (T::Null, _) => true,
        (T::Char(_), T::Char(_)) | (T::Char(_) | T::VarChar(_), T::VarChar(_)) => true,
        (T::Binary(_), T::Binary(_)) | (T::Binary(_) | T::VarBinary(_), T::VarBinary(_)) => true,
        (f, T::Decimal { .. } | T::Double) => f.is_numeric(),
        (f, T::Float) => f.is_numeric() && !matches!(f, T::Double),
        (f, t) if f.is_integer() && t.is_integer() => integer_rank(f) <= integer_rank(t),
        (T::Timestamp(_), T::Date | T::Time(_)) | (T::Time(_), T::Time(_)) => true,
        (T::Timestamp(_) | T::TimestampLtz(_), T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (T::Array(f), T::Array(t)) | (T::Multiset(f), T::Multiset(t)) => is_implicit(f, t),
        (T::Map(fk, fv), T::Map(tk, tv)) => is_implicit(fk, tk) && is_implicit(fv, tv),
        (T::Row(f), T::Row(t)) => {
            f.len() == t.len() && f.iter().zip(t).all(|(f, t)| is_implicit(&f.data_type, &t.data_type))
        }
        (f, t) => f == t,
    }
}

pub(crate) fn integer_rank(kind: &TypeKind) -> u8 {
    match kind {
        TypeKind::TinyInt => 1,
        TypeKind::SmallInt => 2,
        TypeKind::Int => 3,
        _ => 4,
    }
}

/// Whether no value can make the cast fail.
pub(crate) fn is_total(from: &DataType, to: &DataType) -> bool {
    let (from, to) = (&from.kind, &to.kind);
    from == to
        || (from.is_numeric() && to.is_numeric())
        || (to.is_string() && !matches!(from, TypeKind::TimestampLtz(_)))
}

/// What becomes of a value that cannot be cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The job ends with the value named.
    Fail,
    /// NULL.
    Null,
}

/// What a cast needs to know beyond the types.
#[derive(Debug, Clone)]
pub struct CastContext {
    /// What becomes of a value that cannot be cast.
    pub on_failure: OnFailure,
    /// The session's zone.
    pub zone: Zone,
}

impl CastContext {
    /// `Ok` when failing values become NULL, else the error that names the value and both types.
    pub(crate) fn failed(&self, value: &str, from: &TypeKind, to: &TypeKind) -> Result<()> {
        match self.on_failure {
            OnFailure::Null => Ok(()),
            OnFailure::Fail => Err(cast_error(value, from, to)),
        }
    }
}

/// How much of a value an error message shows.
const SHOWN_VALUE_CHARS_MAX: usize = 80;

fn cast_error(value: &str, from: &TypeKind, to: &TypeKind) -> Error {
    let mut shown: String = value.chars().take(SHOWN_VALUE_CHARS_MAX).collect();
    if shown.len() < value.len() {
        shown.push_str("...");
    }
    Error::data(format!("cannot cast `{shown}` from {from} to {to}")).hint("TRY_CAST gives NULL where CAST fails")
}

/// A CAST of an expression, ready to run on columns.
#[derive(Debug)]
pub struct Caster {
    from: DataType,
    to: DataType,
    is_try: bool,
}

impl Caster {
    /// A cast between two types; `is_try` makes failing values NULL.
    pub fn new(from: DataType, to: DataType, is_try: bool) -> Caster {
        Caster { from, to, is_try }
    }

    /// The type it casts to.
    pub fn to(&self) -> &DataType {
        &self.to
    }

    /// Casts a column.
    pub fn cast(&self, array: &ArrayRef, session: &Session) -> Result<ArrayRef> {
        if self.from.kind == self.to.kind {
            return Ok(Arc::clone(array));
        }
        let zone = if mentions_zone(&self.from.kind) || mentions_zone(&self.to.kind) {
            Zone::new(&session.time_zone)?
        } else {
            Zone::utc()
        };
        let on_failure = if self.is_try || session.legacy_cast { OnFailure::Null } else { OnFailure::Fail };
        cast_column(array, &self.from.kind, &self.to.kind, &CastContext { on_failure, zone })
    }
}

fn mentions_zone(kind: &TypeKind) -> bool {
    match kind {
        TypeKind::TimestampLtz(_) => true,
        TypeKind::Array(t) | TypeKind::Multiset(t) => mentions_zone(&t.kind),
        TypeKind::Map(k, v) => mentions_zone(&k.kind) || mentions_zone(&v.kind),
        TypeKind::Row(fields) => fields.iter().any(|f| mentions_zone(&f.data_type.kind)),
        _ => false,
    }
}

/// Casts a column from one kind to another.
pub fn cast_column(array: &ArrayRef, from: &TypeKind, to: &TypeKind, context: &CastContext) -> Result<ArrayRef> {
    use TypeKind as T;
    if from == to {
        return Ok(Arc::clone(array));
    }
    match (from, to) {
        (T::Null, _) => Ok(new_null_array(&to.to_arrow(), array.len())),
        (f, T::Char(_) | T::VarChar(_)) if f.is_string() => print::fit_strings(array, f, to),
        (_, T::Char(_) | T::VarChar(_)) => print::to_strings(array, from, to, context),
        (f, T::Binary(_) | T::VarBinary(_)) if f.is_string() => {
            let bytes = arrow_array::BinaryArray::from(array.as_string::<i32>().clone());
            print::fit_bytes(&bytes, to)
        }
        (T::Binary(_) | T::VarBinary(_), T::Binary(_) | T::VarBinary(_)) => {
            print::fit_bytes(array.as_binary::<i32>(), to)
        }
        (f, _) if f.is_string() && is_kind_castable(from, to) => parse::from_strings(array, from, to, context),
        (T::Boolean, t) if t.is_numeric() => number::from_booleans(array, to),
        (f, T::Boolean) if f.is_numeric() => number::to_booleans(array, from),
        (f, t) if f.is_numeric() && t.is_numeric() => number::cast_numbers(array, from, to),
        (T::IntervalYearMonth | T::IntervalDayTime, t) if t.is_integer() => {
            number::cast_numbers(array, &number::stored_as(from), to)
        }
        (f, T::IntervalYearMonth | T::IntervalDayTime) if f.is_integer() => {
            number::cast_numbers(array, from, &number::stored_as(to))
        }
        (
            T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_),
            T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_),
        ) => temporal::cast_times(array, from, to, &context.zone),
        (T::Array(_), T::Array(_))
        | (T::Map(..), T::Map(..))
        | (T::Multiset(_), T::Multiset(_))
        | (T::Row(_), T::Row(_)) => nested::cast_nested(array, from, to, context),
        _ => Err(Error::config(format!("there is no cast from {from} to {to}"))),
    }
}
