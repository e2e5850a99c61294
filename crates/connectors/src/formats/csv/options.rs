//! The `csv.*` options, read once for both directions, since a table may be source and sink at the same time.

use wiesel_core::options::Options;
use wiesel_core::{Error, Result};

/// How records and fields are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields; `None` when quoting is disabled.
    pub quote: Option<u8>,
    /// In front of a character that loses its meaning.
    pub escape: Option<u8>,
    /// Lines that begin with `#` are skipped.
    pub allow_comments: bool,
}

/// All options of the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// How records and fields are told apart.
    pub dialect: Dialect,
    /// A bad field becomes NULL, a bad record is skipped.
    pub ignore_parse_errors: bool,
    /// Between the elements of ARRAY and ROW; may be empty.
    pub array_delimiter: String,
    /// The text of NULL.
    pub null_literal: Option<String>,
    /// DECIMAL in the form `1E+5`.
    pub decimal_in_scientific_notation: bool,
}

impl CsvOptions {
    /// Reads the options that stand under `prefix` (`csv.`, `value.csv.`).
    pub fn read(options: &mut Options<'_>, prefix: &str, table: &str) -> Result<Self> {
        let key = |name: &str| format!("{prefix}{name}");
        let delimiter = match options.get(&key("field-delimiter")) {
            None => b',',
            Some(text) => match single(&unescape(text)) {
                Some(delimiter) => delimiter,
                None => return Err(options.invalid(&key("field-delimiter"), text, "one ASCII character")),
            },
        };
        let is_quote_disabled = options.boolean(&key("disable-quote-character"), false)?;
        let given_quote = options.get(&key("quote-character"));
        if is_quote_disabled && given_quote.is_some() {
            return Err(Error::config(format!(
                "options '{}' and '{}' of table `{table}` exclude each other",
                key("disable-quote-character"),
                key("quote-character")
            ))
            .hint("keep one of them"));
        }
        let quote = character(options, &key("quote-character"))?.or(Some(b'"')).filter(|_| !is_quote_disabled);
        Ok(CsvOptions {
            dialect: Dialect {
                delimiter,
                quote,
                escape: character(options, &key("escape-character"))?,
                allow_comments: options.boolean(&key("allow-comments"), false)?,
            },
            ignore_parse_errors: options.boolean(&key("ignore-parse-errors"), false)?,
            array_delimiter: options.get(&key("array-element-delimiter")).unwrap_or(";").to_owned(),
            null_literal: options.get(&key("null-literal")).map(str::to_owned),
            decimal_in_scientific_notation: options.boolean(&key("write-bigdecimal-in-scientific-notation"), true)?,
        })
    }
}

fn character(options: &mut Options<'_>, key: &str) -> Result<Option<u8>> {
    let Some(text) = options.get(key) else { return Ok(None) };
    single(text).map(Some).ok_or_else(|| options.invalid(key, text, "one ASCII character"))
}

fn single(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        _ => None,
    }
}

/// Resolves Java's escapes: `\t`, `\\`, `\u0001`, `\1`.
fn unescape(text: &str) -> String {
    let Some(rest) = text.strip_prefix('\\') else { return text.to_owned() };
    let resolved = match rest {
        "t" => Some('\t'),
        "n" => Some('\n'),
        "r" => Some('\r'),
        "b" => Some('\u{8}'),
        "f" => Some('\u{c}'),
        "\\" | "'" | "\"" => rest.chars().next(),
        _ => match rest.strip_prefix('u') {
            Some(hex) => u32::from_str_radix(hex.trim_start_matches('u'), 16).ok().and_then(char::from_u32),
            None if (1..=3).contains(&rest.len()) => u32::from_str_radix(rest, 8).ok().and_then(char::from_u32),
            None => None,
        },
    };
    resolved.map_or_else(|| text.to_owned(), String::from)
}
