//! The `json.*` options, read once for both directions, since a table may be source and sink at the same time.

use wiesel_core::options::Options;
use wiesel_core::{Error, Result, TypeKind};

/// The text form of TIMESTAMP and TIMESTAMP_LTZ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// `2024-01-01 00:00:00.5`.
    Sql,
    /// `2024-01-01T00:00:00.5`.
    Iso8601,
}

/// What becomes of a map entry whose key is NULL when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapNullKey {
    /// The job ends with an error.
    Fail,
    /// The entry is left out.
    Drop,
    /// The key is written as this text.
    Literal(String),
}

/// All options of the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonOptions {
    /// A declared field that the document lacks is an error instead of NULL.
    pub fail_on_missing_field: bool,
    /// A bad field becomes NULL, a bad document is skipped.
    pub ignore_parse_errors: bool,
    /// Text form of timestamps.
    pub timestamp_format: TimestampFormat,
    /// NULL keys of maps.
    pub map_null_key: MapNullKey,
    /// DECIMAL never in scientific form.
    pub decimal_as_plain_number: bool,
    /// NULL fields are left out instead of written as `null`.
    pub ignore_null_fields: bool,
}

impl Default for JsonOptions {
    fn default() -> Self {
        JsonOptions {
            fail_on_missing_field: false,
            ignore_parse_errors: false,
            timestamp_format: TimestampFormat::Sql,
            map_null_key: MapNullKey::Fail,
            decimal_as_plain_number: false,
            ignore_null_fields: false,
        }
    }
}

impl JsonOptions {
    /// Reads the options that stand under `prefix` (`json.`, `value.json.`).
    pub fn read(options: &mut Options<'_>, prefix: &str, table: &str) -> Result<Self> {
        let key = |name: &str| format!("{prefix}{name}");
        let fail_on_missing_field = options.boolean(&key("fail-on-missing-field"), false)?;
        let read = Self::read_for_changes(options, prefix)?;
        let ignore_parse_errors = read.ignore_parse_errors;
        if fail_on_missing_field && ignore_parse_errors {
            return Err(Error::config(format!(
                "options '{}' and '{}' of table `{table}` cannot both be true",
                key("fail-on-missing-field"),
                key("ignore-parse-errors")
            ))
            .hint("keep one of them: the first makes a missing field an error, the second forgives errors"));
        }
        // There is one parser here. Its answers are those of Flink's streaming parser, the default; `false` is taken because the two
        // differ only in rare coercions.
        options.boolean(&key("decode.json-parser.enabled"), true)?;
        Ok(JsonOptions { fail_on_missing_field, ..read })
    }

    /// Reads those that formats around json's rows have, too (`debezium-json.`, `canal-json.`).
    pub(crate) fn read_for_changes(options: &mut Options<'_>, prefix: &str) -> Result<Self> {
        let key = |name: &str| format!("{prefix}{name}");
        let ignore_parse_errors = options.boolean(&key("ignore-parse-errors"), false)?;
        let timestamp_format = match options.one_of(&key("timestamp-format.standard"), &["SQL", "ISO-8601"])? {
            Some("ISO-8601") => TimestampFormat::Iso8601,
            _ => TimestampFormat::Sql,
        };
        let literal = options.get(&key("map-null-key.literal")).unwrap_or("null").to_owned();
        let map_null_key = match options.one_of(&key("map-null-key.mode"), &["FAIL", "DROP", "LITERAL"])? {
            Some("DROP") => MapNullKey::Drop,
            Some("LITERAL") => MapNullKey::Literal(literal),
            _ => MapNullKey::Fail,
        };
        Ok(JsonOptions {
            fail_on_missing_field: false,
            ignore_parse_errors,
            timestamp_format,
            map_null_key,
            decimal_as_plain_number: options.boolean(&key("encode.decimal-as-plain-number"), false)?,
            ignore_null_fields: options.boolean(&key("encode.ignore-null-fields"), false)?,
        })
    }
}

/// What a value of a type looks like, for the message about one that does not.
pub(super) fn form(kind: &TypeKind, timestamp_format: TimestampFormat) -> &'static str {
    match (kind, timestamp_format) {
        (TypeKind::Timestamp(_), TimestampFormat::Sql) => " in the form `2024-01-31 12:00:00.5`",
        (TypeKind::Timestamp(_), TimestampFormat::Iso8601) => " in the form `2024-01-31T12:00:00.5`",
        (TypeKind::TimestampLtz(_), TimestampFormat::Sql) => " in the form `2024-01-31 12:00:00.5Z`",
        (TypeKind::TimestampLtz(_), TimestampFormat::Iso8601) => " in the form `2024-01-31T12:00:00.5Z`",
        (TypeKind::Date, _) => " in the form `2024-01-31`",
        (TypeKind::Time(_), _) => " in the form `12:00:00`",
        (TypeKind::Binary(_) | TypeKind::VarBinary(_), _) => " as base64 text",
        _ => "",
    }
}
