//! Types as written to types as computed with, within Flink's bounds.

use wiesel_core::diagnostic::{Diagnostic, Span};
use wiesel_core::types::MAX_LENGTH;
use wiesel_core::{DataType, Field, TypeKind};

use crate::parser::ast;

/// The type a text names.
pub fn bind_type(written: &ast::DataType) -> Result<DataType, Diagnostic> {
    let kind = bind_kind(&written.kind, written.span)?;
    Ok(DataType { kind, nullable: written.nullability != ast::Nullability::NotNull })
}

fn bind_kind(kind: &ast::TypeKind, span: Span) -> Result<TypeKind, Diagnostic> {
    use ast::TypeKind as A;
    let length = |n: Option<u32>| match n {
        None => Ok(1),
        Some(n @ 1..=MAX_LENGTH) => Ok(n),
        Some(_) => Err(out_of_range(span, "a length from 1 to 2147483647")),
    };
    let precision = |p: Option<u32>, default: u8| match p {
        None => Ok(default),
        Some(p @ 0..=9) => Ok(u8::try_from(p).unwrap_or(default)),
        Some(_) => Err(out_of_range(span, "a precision from 0 to 9")),
    };
    Ok(match kind {
        A::Boolean => TypeKind::Boolean,
        A::TinyInt => TypeKind::TinyInt,
        A::SmallInt => TypeKind::SmallInt,
        A::Int => TypeKind::Int,
        A::BigInt => TypeKind::BigInt,
        A::Decimal { precision, scale } => {
            let (precision, scale) = (precision.unwrap_or(10), scale.unwrap_or(0));
            if !(1..=38).contains(&precision) || scale > precision {
                return Err(out_of_range(span, "DECIMAL(p, s) with p from 1 to 38 and s from 0 to p"));
            }
            TypeKind::Decimal {
                precision: u8::try_from(precision).unwrap_or(38),
                scale: u8::try_from(scale).unwrap_or(0),
            }
        }
        A::Float => TypeKind::Float,
        A::Double => TypeKind::Double,
        A::Char(n) => TypeKind::Char(length(*n)?),
        // Flink's type system reads a VARCHAR without a length as the longest.
        A::Varchar(None) | A::String => TypeKind::VarChar(MAX_LENGTH),
        A::Varchar(n) => TypeKind::VarChar(length(*n)?),
        A::Binary(n) => TypeKind::Binary(length(*n)?),
        A::Varbinary(n) => TypeKind::VarBinary(length(*n)?),
        A::Bytes => TypeKind::VarBinary(MAX_LENGTH),
        A::Date => TypeKind::Date,
        // Flink takes a precision and keeps 0.
        A::Time(p) => {
            precision(*p, 0)?;
            TypeKind::Time(0)
        }
        A::Timestamp(p) => TypeKind::Timestamp(precision(*p, 6)?),
        A::TimestampLtz(p) => TypeKind::TimestampLtz(precision(*p, 6)?),
        A::TimestampTz(_) => return Err(unsupported(span, "TIMESTAMP WITH TIME ZONE", "use TIMESTAMP_LTZ")),
        A::Interval(qualifier) => match qualifier.leading {
            ast::TimeUnit::Year | ast::TimeUnit::Month | ast::TimeUnit::Quarter => TypeKind::IntervalYearMonth,
            _ => TypeKind::IntervalDayTime,
        },
        A::Array(element) => TypeKind::Array(Box::new(bind_type(element)?)),
        A::Map(key, value) => TypeKind::Map(Box::new(bind_type(key)?), Box::new(bind_type(value)?)),
        A::Multiset(element) => TypeKind::Multiset(Box::new(bind_type(element)?)),
        A::Row(fields) => TypeKind::Row(
            fields
                .iter()
                .map(|f| Ok(Field::new(f.name.value.clone(), bind_type(&f.data_type)?)))
                .collect::<Result<_, Diagnostic>>()?,
        ),
        A::Null => TypeKind::Null,
        A::Variant => return Err(unsupported(span, "VARIANT", "use STRING with the JSON functions")),
        A::Raw { .. } => return Err(unsupported(span, "RAW", "it holds a Java object")),
        A::Named(name) => {
            return Err(Diagnostic::error("W0303", format!("no type `{}`", name.last().value)).at(span).did_you_mean(
                &name.last().value.to_uppercase(),
                [
                    "STRING",
                    "INT",
                    "BIGINT",
                    "DOUBLE",
                    "FLOAT",
                    "BOOLEAN",
                    "TIMESTAMP",
                    "DATE",
                    "TIME",
                    "DECIMAL",
                    "BYTES",
                ],
            ));
        }
    })
}

fn out_of_range(span: Span, expected: &str) -> Diagnostic {
    Diagnostic::error("W0107", "type parameter out of its range").at(span).label(format!("expected {expected}"))
}

fn unsupported(span: Span, name: &str, instead: &str) -> Diagnostic {
    Diagnostic::error("W0401", format!("type {name} is not supported")).at(span).hint(instead.to_owned())
}
