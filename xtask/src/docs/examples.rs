//! Examples of the reference, taken from the data files below `tests/sql`: an expression with the value that the tests hold it to, or
//! a statement with its rows.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use regex::Regex;
use wiesel_slt::record::{self, Directive, Record, TestFile};

/// Values of one function that a page shows.
const VALUES_MAX: usize = 5;
/// Longer statements, inputs and results are not for a page.
const SQL_LINES_MAX: usize = 14;
const ROW_LINES_MAX: usize = 12;
const EXPRESSION_CHARS_MAX: usize = 100;

/// An expression of literals and its value.
struct Value {
    expression: String,
    value: String,
}

struct Source {
    /// Relative to the repository.
    name: String,
    file: TestFile,
    values: Vec<Value>,
}

/// All data files.
pub(super) struct Examples {
    sources: Vec<Source>,
}

impl Examples {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut sources = Vec::new();
        for path in record::find(&root.join("tests/sql")).context("list `tests/sql`")? {
            let name = path.strip_prefix(root)?.display().to_string();
            let text = fs::read_to_string(&path).with_context(|| format!("read `{name}`"))?;
            // The tests tell of files that cannot be read.
            let Ok(file) = record::parse(&text) else { continue };
            let values = values(&file);
            sources.push(Source { name, file, values });
        }
        Ok(Examples { sources })
    }

    /// Values of a function, else the shortest query that uses it; files that bear its name come first. `has_values`: it is computed from
    /// one row, so that a value of literals says something.
    pub(super) fn of_function(&self, name: &str, pattern: &Regex, has_values: bool) -> Option<String> {
        let own = format!("tests/sql/functions/{}.slt", name.to_lowercase());
        let mut sources: Vec<&Source> = self.sources.iter().collect();
        sources.sort_by_key(|source| (source.name != own, !source.name.starts_with("tests/sql/functions/")));
        for source in sources.iter().filter(|_| has_values) {
            let fits = |value: &&Value| pattern.is_match(&value.expression);
            let mut values: Vec<&Value> = source.values.iter().filter(fits).collect();
            // The plainest first: a value that shows this function alone.
            values.sort_by_key(|value| value.expression.matches('(').count() > 1);
            if !values.is_empty() {
                let mut text = "\n| expression | value |\n|---|---|\n".to_owned();
                for value in values.iter().take(VALUES_MAX) {
                    text.push_str(&format!("| {} | {} |\n", code(&value.expression), code(&value.value)));
                }
                return Some(format!("{text}\nFrom `{}`.\n", source.name));
            }
        }
        let fits = |sql: &str| pattern.is_match(sql);
        let of_own = sources.iter().filter(|source| source.name == own).flat_map(|source| queries(source, fits));
        shortest(of_own).or_else(|| shortest(sources.iter().flat_map(|source| queries(source, fits))))
    }

    /// An example of the first of these files and folders that has one: a query with its rows, or the first statements.
    pub(super) fn of_places(&self, places: &[&str], is_query: bool) -> Option<String> {
        let is_below = |source: &&Source, place: &str| {
            source.name == place || source.name.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
        };
        places.iter().find_map(|place| {
            let mut sources = self.sources.iter().filter(|source| is_below(source, place));
            if is_query {
                shortest(sources.flat_map(|source| queries(source, |_| true)))
            } else {
                sources.find_map(statement)
            }
        })
    }
}

/// A text in back-ticks, inside a table.
fn code(text: &str) -> String {
    let text = text.replace('|', "\\|");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// The first statements of a file.
fn statement(source: &Source) -> Option<String> {
    source.file.records.iter().find_map(|record| match &record.directive {
        Directive::StatementOk(sql) | Directive::StatementQuery(sql) if is_short(sql, SQL_LINES_MAX) => {
            Some(format!("\n```sql\n{}\n```\nFrom `{}`: {}.\n", sql.trim_end(), source.name, source.file.description))
        }
        _ => None,
    })
}

/// The shortest text, those with rows that went in before all others.
fn shortest(texts: impl Iterator<Item = String>) -> Option<String> {
    texts.min_by_key(|text| (!text.contains("Rows in:"), text.len()))
}

/// The short queries that fit, each with what went in before it was looked at, and what came out.
fn queries(source: &Source, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let records = &source.file.records;
    let mut found = Vec::new();
    for (start, record) in records.iter().enumerate() {
        let Directive::Job { name, sql: Some(sql) } = &record.directive else { continue };
        let is_candidate = fits(sql) && is_short(sql, SQL_LINES_MAX);
        let Some((end, rows)) = result_of(records, start, name).filter(|_| is_candidate) else { continue };
        if rows.len() > ROW_LINES_MAX {
            continue;
        }
        let mut input = String::new();
        for record in &records[start..end] {
            if let Directive::Input { table, rows } = &record.directive {
                for row in rows {
                    let kind = if row.kind == "+I" { String::new() } else { format!("{} ", row.kind) };
                    input.push_str(&format!("{table}: {kind}{}\n", row.json));
                }
            }
        }
        let input = if !input.is_empty() && is_short(&input, ROW_LINES_MAX) {
            format!("Rows in:\n```text\n{input}```\n")
        } else {
            String::new()
        };
        found.push(format!(
            "\n```sql\n{}\n```\n{input}Rows out:\n```text\n{}\n```\nFrom `{}`: {}.\n",
            sql.trim_end(),
            rows.join("\n"),
            source.name,
            source.file.description
        ));
    }
    found
}

fn is_short(text: &str, lines_max: usize) -> bool {
    text.lines().count() <= lines_max
}

/// The first look at a job behind its start that shows rows: where, and the rows.
fn result_of<'a>(records: &'a [Record], start: usize, job: &str) -> Option<(usize, &'a [String])> {
    records.iter().enumerate().skip(start).find_map(|(index, record)| {
        let is_of_job = match &record.directive {
            Directive::Changelog { name } | Directive::Table { name, .. } => name == job,
            _ => false,
        };
        let rows = record.expected.as_ref().filter(|_| is_of_job).map(|expected| expected.rows.as_slice())?;
        (!rows.is_empty() && rows != ["(nothing)"]).then_some((index, rows))
    })
}

/// The expressions without columns of all queries of a file, each with its value.
fn values(file: &TestFile) -> Vec<Value> {
    let mut found = Vec::new();
    for (start, record) in file.records.iter().enumerate() {
        let Directive::Job { name, sql: Some(sql) } = &record.directive else { continue };
        let (Some(expressions), Some((_, rows))) = (select_list(sql), result_of(&file.records, start, name)) else {
            continue;
        };
        let Some(row) = rows.first().map(|row| row.strip_prefix("+I ").unwrap_or(row)) else { continue };
        let results: Vec<&str> = row.split(" | ").collect();
        if results.len() != expressions.len() {
            continue;
        }
        for (expression, value) in expressions.into_iter().zip(results) {
            let is_short = expression.chars().count() <= EXPRESSION_CHARS_MAX;
            if is_short && is_of_literals(&expression) {
                found.push(Value { expression, value: value.to_owned() });
            }
        }
    }
    found
}

/// The expressions between SELECT and the outermost FROM, each on one line and without its name.
fn select_list(sql: &str) -> Option<Vec<String>> {
    let rest = sql.trim_start().strip_prefix("SELECT")?.trim_start();
    if rest.starts_with("DISTINCT") || rest.starts_with("/*") {
        return None;
    }
    let mut expressions = vec![String::new()];
    let (mut depth, mut quote) = (0_usize, None);
    for (at, sign) in rest.char_indices() {
        let is_plain = quote.is_none() && depth == 0;
        if is_plain && rest[at..].starts_with("FROM") && rest[..at].ends_with(char::is_whitespace) {
            break;
        }
        match sign {
            '\'' | '`' if quote.is_none() => quote = Some(sign),
            _ if quote == Some(sign) => quote = None,
            '(' | '[' if quote.is_none() => depth += 1,
            ')' | ']' if quote.is_none() => depth = depth.saturating_sub(1),
            _ => {}
        }
        if sign == ',' && is_plain {
            expressions.push(String::new());
        } else if let Some(last) = expressions.last_mut() {
            last.push(sign);
        }
    }
    let one_line = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(
        expressions
            .iter()
            .map(one_line)
            .map(|text| text.split(" AS `").next().unwrap_or_default().to_owned())
            .collect(),
    )
}

/// Whether no column stands in it: the data files write those in small letters, and words of SQL in capitals.
fn is_of_literals(expression: &str) -> bool {
    let mut is_text = false;
    !expression.chars().any(|sign| {
        is_text ^= sign == '\'';
        !is_text && (sign.is_ascii_lowercase() || sign == '`')
    })
}

#[cfg(test)]
mod tests {
    use super::{is_of_literals, select_list, values};
    use wiesel_slt::record;

    #[test]
    fn a_select_list_is_cut_at_its_own_commas() {
        let found = select_list("SELECT LPAD('a,b', 4),\n  EXTRACT(DAY FROM d), ARRAY[1, 2]\nFROM t").unwrap();
        assert_eq!(found, ["LPAD('a,b', 4)", "EXTRACT(DAY FROM d)", "ARRAY[1, 2]"]);
        assert!(is_of_literals(&found[0]) && !is_of_literals(&found[1]) && is_of_literals(&found[2]));
    }

    #[test]
    fn a_value_is_that_of_the_expression_in_its_place() {
        let text = "# description: d\n\njob q\nSELECT UPPER('a'), LOWER(s) FROM t\n\ninput t\n{\"s\":\"X\"}\n\nchangelog q\n----\n+I A | x\n";
        let found = values(&record::parse(text).unwrap());
        assert_eq!(
            found.iter().map(|v| (v.expression.as_str(), v.value.as_str())).collect::<Vec<_>>(),
            [("UPPER('a')", "A")]
        );
    }
}
