//! Types as Flink writes them: `DECIMAL(10, 2)`, `TIMESTAMP(3) WITH LOCAL TIME ZONE`, `ROW<a INT NOT NULL 'note', b MAP<STRING, INT>>`,
//! the postfix `INT ARRAY`, and NOT NULL behind any of them. Lengths and precisions are checked here, where their place is known.

use wiesel_core::diagnostic::{Diagnostic, Span};

use super::ast::{DataType, Nullability, RowField, TypeKind};
use super::token::Symbol;
use super::{Parsed, Parser, keyword};

/// The longest CHAR, VARCHAR, BINARY and VARBINARY.
const LENGTH_MAX: u32 = 2_147_483_647;

/// The most digits of a DECIMAL.
const DECIMAL_PRECISION_MAX: u32 = 38;

/// The most digits after the point of a second.
const TIME_PRECISION_MAX: u32 = 9;

impl Parser<'_> {
    pub(super) fn data_type(&mut self) -> Parsed<DataType> {
        self.nested(1, |parser| {
            let start = parser.here();
            let mut kind = parser.type_kind()?;
            let mut nullability = parser.nullability()?;
            // `INT NOT NULL ARRAY` is an array of INT NOT NULL.
            while parser.is_one_of(&["ARRAY", "MULTISET"]) {
                let is_array = parser.is_word("ARRAY");
                let element = Box::new(DataType { kind, nullability, span: parser.since(start) });
                parser.advance();
                kind = if is_array { TypeKind::Array(element) } else { TypeKind::Multiset(element) };
                parser.deepen()?;
                nullability = parser.nullability()?;
            }
            Ok(DataType { kind, nullability, span: parser.since(start) })
        })
    }

    fn nullability(&mut self) -> Parsed<Nullability> {
        if self.take_words(&["NOT", "NULL"]) {
            Ok(Nullability::NotNull)
        } else if self.take_word("NULL") {
            Ok(Nullability::Null)
        } else {
            Ok(Nullability::Unsaid)
        }
    }

    fn type_kind(&mut self) -> Parsed<TypeKind> {
        let Some(word) = self.word_at(0) else {
            return if self.is_name() {
                Ok(TypeKind::Named(self.object_name("a type")?))
            } else {
                Err(self.unexpected("a type"))
            };
        };
        let start = self.here();
        let upper = word.to_ascii_uppercase();
        if !is_type_word(&upper) {
            if keyword::is_reserved(word) {
                return Err(self.unexpected("a type"));
            }
            return Ok(TypeKind::Named(self.object_name("a type")?));
        }
        self.advance();
        Ok(match upper.as_str() {
            "BOOLEAN" => TypeKind::Boolean,
            "TINYINT" => TypeKind::TinyInt,
            "SMALLINT" => TypeKind::SmallInt,
            "INT" | "INTEGER" => TypeKind::Int,
            "BIGINT" => TypeKind::BigInt,
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal()?,
            "FLOAT" | "REAL" => TypeKind::Float,
            "DOUBLE" => {
                self.take_word("PRECISION");
                TypeKind::Double
            }
            "CHAR" | "CHARACTER" if self.take_word("VARYING") => TypeKind::Varchar(self.length()?),
            "CHAR" | "CHARACTER" => TypeKind::Char(self.length()?),
            "VARCHAR" => TypeKind::Varchar(self.length()?),
            "STRING" => TypeKind::String,
            "BINARY" if self.take_word("VARYING") => TypeKind::Varbinary(self.length()?),
            "BINARY" => TypeKind::Binary(self.length()?),
            "VARBINARY" => TypeKind::Varbinary(self.length()?),
            "BYTES" => TypeKind::Bytes,
            "DATE" => TypeKind::Date,
            "TIME" => self.time_type(start)?,
            "TIMESTAMP" => self.timestamp_type()?,
            "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(self.time_precision()?),
            "INTERVAL" => TypeKind::Interval(self.interval_qualifier()?),
            "ARRAY" => TypeKind::Array(Box::new(self.in_angles(Self::data_type)?)),
            "MULTISET" => TypeKind::Multiset(Box::new(self.in_angles(Self::data_type)?)),
            "MAP" => {
                let (key, value) = self.in_angles(|parser| {
                    let key = parser.data_type()?;
                    parser.expect_symbol(Symbol::Comma)?;
                    Ok((key, parser.data_type()?))
                })?;
                TypeKind::Map(Box::new(key), Box::new(value))
            }
            "ROW" => TypeKind::Row(self.row_fields()?),
            "NULL" => TypeKind::Null,
            "VARIANT" => TypeKind::Variant,
            _ => {
                let (class, snapshot) = self.in_parens(|parser| {
                    let class = parser.string("a class name in quotes")?;
                    parser.expect_symbol(Symbol::Comma)?;
                    Ok((class, parser.string("a serializer snapshot in quotes")?))
                })?;
                TypeKind::Raw { class, snapshot }
            }
        })
    }

    fn length(&mut self) -> Parsed<Option<u32>> {
        self.optional_number("a length", 1..=LENGTH_MAX)
    }

    fn time_precision(&mut self) -> Parsed<Option<u32>> {
        self.optional_number("a precision", 0..=TIME_PRECISION_MAX)
    }

    fn optional_number(&mut self, what: &str, range: std::ops::RangeInclusive<u32>) -> Parsed<Option<u32>> {
        if self.is_symbol(Symbol::LeftParen) {
            Ok(Some(self.in_parens(|parser| parser.integer(what, range))?))
        } else {
            Ok(None)
        }
    }

    fn decimal(&mut self) -> Parsed<TypeKind> {
        if !self.is_symbol(Symbol::LeftParen) {
            return Ok(TypeKind::Decimal { precision: None, scale: None });
        }
        self.in_parens(|parser| {
            let precision = parser.integer("a precision", 1..=DECIMAL_PRECISION_MAX)?;
            let scale =
                if parser.take_symbol(Symbol::Comma) { Some(parser.integer("a scale", 0..=precision)?) } else { None };
            Ok(TypeKind::Decimal { precision: Some(precision), scale })
        })
    }

    fn time_type(&mut self, start: Span) -> Parsed<TypeKind> {
        let precision = self.time_precision()?;
        if self.is_words(&["WITH", "TIME"]) || self.is_words(&["WITH", "LOCAL"]) {
            let error = Diagnostic::error("W0101", "TIME has no time zone").at(self.since(start));
            return Err(Box::new(error.label("expected TIME(p), or a TIMESTAMP type")));
        }
        self.take_words(&["WITHOUT", "TIME", "ZONE"]);
        Ok(TypeKind::Time(precision))
    }

    fn timestamp_type(&mut self) -> Parsed<TypeKind> {
        let precision = self.time_precision()?;
        Ok(if self.take_words(&["WITH", "LOCAL"]) {
            self.expect_words(&["TIME", "ZONE"])?;
            TypeKind::TimestampLtz(precision)
        } else if self.take_words(&["WITH", "TIME"]) {
            self.expect_word("ZONE")?;
            TypeKind::TimestampTz(precision)
        } else {
            self.take_words(&["WITHOUT", "TIME", "ZONE"]);
            TypeKind::Timestamp(precision)
        })
    }

    /// `<` something `>`.
    fn in_angles<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.expect_symbol(Symbol::Lt)?;
        let value = inner(self)?;
        self.expect_symbol(Symbol::Gt)?;
        Ok(value)
    }

    /// The fields of `ROW<...>` or `ROW(...)`; `ROW<>` and `ROW()` have none.
    fn row_fields(&mut self) -> Parsed<Vec<RowField>> {
        if self.take_symbol(Symbol::NotEq) {
            return Ok(Vec::new());
        }
        let close = if self.take_symbol(Symbol::Lt) {
            Symbol::Gt
        } else if self.take_symbol(Symbol::LeftParen) {
            Symbol::RightParen
        } else {
            return Err(self.unexpected("`<` and the fields of the row"));
        };
        if self.take_symbol(close) {
            return Ok(Vec::new());
        }
        let fields = self.comma_list(Self::row_field)?;
        self.expect_symbol(close)?;
        Ok(fields)
    }

    fn row_field(&mut self) -> Parsed<RowField> {
        let name = self.name("a field name")?;
        let data_type = self.data_type()?;
        let comment = if self.take_word("COMMENT") || self.is_string() {
            Some(self.string("a comment in quotes")?)
        } else {
            None
        };
        Ok(RowField { name, data_type, comment })
    }
}

fn is_type_word(upper: &str) -> bool {
    const TYPE_WORDS: &[&str] = &[
        "ARRAY",
        "BIGINT",
        "BINARY",
        "BOOLEAN",
        "BYTES",
        "CHAR",
        "CHARACTER",
        "DATE",
        "DEC",
        "DECIMAL",
        "DOUBLE",
        "FLOAT",
        "INT",
        "INTEGER",
        "INTERVAL",
        "MAP",
        "MULTISET",
        "NULL",
        "NUMERIC",
        "RAW",
        "REAL",
        "ROW",
        "SMALLINT",
        "STRING",
        "TIME",
        "TIMESTAMP",
        "TIMESTAMP_LTZ",
        "TINYINT",
        "VARBINARY",
        "VARCHAR",
        "VARIANT",
    ];
    TYPE_WORDS.binary_search(&upper).is_ok()
}
