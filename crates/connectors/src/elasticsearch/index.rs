//! `index`: one name, or a pattern in which one part depends on the row or the time.
//!
//! | pattern | the part in braces becomes |
//! |---|---|
//! | `users_{country}` | the text of the column |
//! | `logs-{ts\|yyyy-MM-dd}` | a DATE, TIME, TIMESTAMP or TIMESTAMP_LTZ column (in the session's zone) by letters of Java's DateTimeFormatter |
//! | `logs-{now()\|yyyy-MM-dd}` | the time of writing in the session's zone, likewise |
//!
//! What a row brings is written as JSON text, so no value can reach beyond its own name; whether a name is one that the server takes is the
//! server's to say, and a row that has a wrong one is refused like any other.

use arrow_array::cast::AsArray;
use arrow_array::types as at;
use arrow_array::{Array, ArrayRef, RecordBatch};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use wiesel_core::options::Options;
use wiesel_core::{Error, Result, Schema, TypeKind, env};

use crate::filesystem::Formatter;
use crate::java_text;

/// Where documents go.
pub(super) struct Index {
    /// As the table names it.
    pub(super) name: String,
    /// The part that is not always the same.
    pub(super) dynamic: Option<Dynamic>,
}

/// A name with a part that depends on the row or the time.
pub(super) struct Dynamic {
    prefix: String,
    suffix: String,
    part: Part,
    zone: TimeZone,
}

enum Part {
    Text { position: usize, kind: TypeKind },
    Time { position: usize, kind: TypeKind, format: Formatter },
    Now(Formatter),
}

impl Index {
    /// Reads the option; columns are those of `schema`.
    pub(super) fn read(options: &mut Options<'_>, schema: &Schema, time_zone: &str) -> Result<Index> {
        let name = options.required("index")?;
        let Some((prefix, rest)) = name.split_once('{') else {
            check_name(options, name, name)?;
            return Ok(Index { name: name.to_owned(), dynamic: None });
        };
        let wrong = |expected: &str| options.invalid("index", name, expected);
        let Some((inside, suffix)) = rest.split_once('}') else {
            return Err(wrong("`}` behind `{`"));
        };
        if suffix.contains(['{', '}']) || inside.contains('{') || prefix.contains('}') {
            return Err(wrong("one pair of braces at most, as in Flink"));
        }
        // A name that the fixed parts alone would spoil is found now; a letter stands for the rest.
        check_name(options, name, &format!("{prefix}x{suffix}"))?;
        let (field, pattern) = match inside.split_once('|') {
            Some((field, pattern)) => (field.trim(), Some(pattern.trim())),
            None => (inside.trim(), None),
        };
        let format = |pattern: &str| {
            Formatter::parse(pattern).ok_or_else(|| {
                options.invalid(
                    "index",
                    name,
                    "a date format of the letters y, u, M, d, H, m, s and S, and quoted text",
                )
            })
        };
        let part = if field.replace(' ', "") == "now()" {
            Part::Now(format(pattern.filter(|p| !p.is_empty()).ok_or_else(|| wrong("`{now()|yyyy-MM-dd}`"))?)?)
        } else {
            let position = schema
                .index_of(field)
                .ok_or_else(|| options.invalid("index", name, &format!("a column; the table has no `{field}`")))?;
            let kind = schema.fields()[position].data_type.kind.clone();
            match pattern {
                None => Part::Text { position, kind },
                Some(pattern) => {
                    let default = match kind {
                        TypeKind::Date => "yyyy_MM_dd",
                        TypeKind::Time(_) => "HH_mm_ss",
                        TypeKind::Timestamp(_) => "yyyy_MM_dd_HH_mm_ss",
                        TypeKind::TimestampLtz(_) if !pattern.is_empty() => pattern,
                        TypeKind::TimestampLtz(_) => return Err(wrong("a date format for a TIMESTAMP_LTZ column")),
                        _ => return Err(wrong(&format!("no date format: `{field}` is {kind}"))),
                    };
                    let format = format(if pattern.is_empty() { default } else { pattern })?;
                    Part::Time { position, kind, format }
                }
            }
        };
        let zone = TimeZone::get(time_zone)
            .map_err(|e| Error::config(format!("'table.local-time-zone' = '{time_zone}' is not a time zone: {e}")))?;
        let dynamic = Dynamic { prefix: prefix.to_owned(), suffix: suffix.to_owned(), part, zone };
        Ok(Index { name: name.to_owned(), dynamic: Some(dynamic) })
    }
}

/// Checks what stands in the name.
fn check_name(options: &Options<'_>, index: &str, name: &str) -> Result<()> {
    let has_bad_char = name.chars().any(|c| c.is_uppercase() || c.is_control() || " \\/*?\"<>|,#:".contains(c));
    if name.is_empty()
        || name.len() > 255
        || name == "."
        || name == ".."
        || has_bad_char
        || name.starts_with(['-', '_', '+'])
    {
        return Err(options.invalid(
            "index",
            index,
            "a name that Elasticsearch takes: lower case, none of \\ / * ? \" < > | , # : or blanks, not beginning with - _ +",
        ));
    }
    Ok(())
}

impl Dynamic {
    /// The names that it may give, as the server's rights name them.
    pub(super) fn wildcard(&self) -> String {
        format!("{}*{}", self.prefix, self.suffix)
    }

    /// Puts the index of a row into `out`.
    pub(super) fn write(&self, out: &mut String, rows: &RecordBatch, row: usize) -> Result<()> {
        out.clear();
        out.push_str(&self.prefix);
        match &self.part {
            Part::Text { position, kind } => {
                let column = rows.column(*position);
                if column.is_null(row) {
                    out.push_str("null");
                } else {
                    java_text::append_value(out, column, kind, row);
                }
            }
            Part::Time { position, kind, format } => {
                let column = rows.column(*position);
                if column.is_null(row) {
                    return Err(Error::data("the column that names the index by its time is NULL")
                        .hint("filter such rows out, or give them a time with COALESCE"));
                }
                let time = self.time(column, kind, row).ok_or_else(|| Error::data("a time beyond the year 9999"))?;
                format.write(time, out);
            }
            Part::Now(format) => {
                let now = jiff::Timestamp::from_millisecond(env::wall_clock_ms()).unwrap_or_default();
                format.write(self.zone.to_datetime(now), out);
            }
        }
        out.push_str(&self.suffix);
        Ok(())
    }

    fn time(&self, column: &ArrayRef, kind: &TypeKind, row: usize) -> Option<DateTime> {
        let at = |seconds: i64, nanos: u32| {
            let instant = jiff::Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()?;
            let zone = if matches!(kind, TypeKind::TimestampLtz(_)) { &self.zone } else { &TimeZone::UTC };
            Some(zone.to_datetime(instant))
        };
        match kind {
            TypeKind::Date => at(i64::from(column.as_primitive::<at::Date32Type>().value(row)) * 86_400, 0),
            TypeKind::Time(_) => {
                let ms = i64::from(column.as_primitive::<at::Time32MillisecondType>().value(row));
                at(ms.div_euclid(1000), u32::try_from(ms.rem_euclid(1000)).ok()? * 1_000_000)
            }
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
                let (seconds, nanos) = java_text::timestamp_parts(column, *p, row);
                at(seconds, nanos)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use wiesel_core::value::column;
    use wiesel_core::{DataType, Field, Value};

    use super::*;

    fn index(pattern: &str) -> Result<Index> {
        let values = BTreeMap::from([("index".to_owned(), pattern.to_owned())]);
        Index::read(&mut Options::new("t", &values), &schema(), "Europe/Berlin")
    }

    fn schema() -> Schema {
        let types = [
            ("name", DataType::string().kind),
            ("n", TypeKind::Int),
            ("d", TypeKind::Date),
            ("ts", TypeKind::Timestamp(3)),
            ("ltz", TypeKind::TimestampLtz(3)),
            ("t", TypeKind::Time(0)),
        ];
        Schema::new(types.map(|(name, kind)| Field::new(name, DataType::new(kind))).into())
    }

    fn row() -> RecordBatch {
        let values = [
            Value::String("a\"b".to_owned()),
            Value::Int(7),
            Value::Date(19_723),
            Value::Timestamp(1_704_067_199_000),
            Value::Timestamp(1_704_067_199_000),
            Value::Time(3_723_000),
        ];
        let schema = schema();
        let columns = schema.fields().iter().zip(values).map(|(f, v)| column(&f.data_type.kind, &[v, Value::Null]));
        RecordBatch::try_new(Arc::clone(schema.arrow()), columns.collect()).expect("a batch")
    }

    #[test]
    fn one_part_of_the_name_depends_on_the_row() {
        let cases = [
            ("logs-{n}", "logs-7"),
            ("{name}-x", "a\"b-x"),
            ("logs-{d|yyyy.MM.dd}", "logs-2024.01.01"),
            ("logs-{d|}", "logs-2024_01_01"),
            ("logs-{ts|yyyy-MM-dd'at'HH}-end", "logs-2023-12-31at23-end"),
            ("logs-{ltz|yyyy-MM-dd}", "logs-2024-01-01"),
            ("logs-{t|HHmm}", "logs-0102"),
        ];
        for (pattern, expected) in cases {
            let index = index(pattern).expect("a pattern");
            let mut out = "before".to_owned();
            index.dynamic.expect("dynamic").write(&mut out, &row(), 0).expect("a name");
            assert_eq!(out, expected, "{pattern}");
        }
        let mut out = String::new();
        index("logs-{n}").expect("a pattern").dynamic.expect("dynamic").write(&mut out, &row(), 1).expect("a name");
        assert_eq!(out, "logs-null");
        assert!(
            index("logs-{ts|yyyy}").expect("a pattern").dynamic.expect("dynamic").write(&mut out, &row(), 1).is_err()
        );
        index("logs-{now()|yyyy}")
            .expect("a pattern")
            .dynamic
            .expect("dynamic")
            .write(&mut out, &row(), 0)
            .expect("now");
        assert!(out.len() == "logs-2024".len() && out.starts_with("logs-2"), "{out}");
    }

    #[test]
    fn a_pattern_that_says_nothing_is_refused() {
        for pattern in [
            "",
            "Logs",
            "a{b",
            "{a}{b}",
            "logs-{nothing}",
            "logs-{n|yyyy}",
            "logs-{ts|EEE}",
            "logs-{now()}",
            "-{n}",
            "{ltz|}",
        ] {
            assert!(index(pattern).is_err(), "{pattern}");
        }
        assert!(index("plain").is_ok_and(|index| index.dynamic.is_none()));
    }
}
