//! Whether two engines gave the same: the same changes in the same order, else the same changes, else (where the order of inputs or of
//! steps is free) the same table at the end.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::services::flink_gateway::ResultRow;

/// What wiesel gave for one query or one written table.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) is_query: bool,
    /// The positions of the columns to fold by; empty: whole rows.
    pub(crate) keys: Vec<usize>,
    pub(crate) rows: Vec<ResultRow>,
}

impl Output {
    /// Reads it from what `wiesel test --outputs` prints.
    pub(crate) fn read(value: &Value) -> Output {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().map_or_else(Vec::new, |a| a.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
        };
        let columns = texts(&value["columns"]);
        let row = |row: &Value| {
            let values =
                row[1].as_array().map_or_else(Vec::new, |a| a.iter().map(|v| v.as_str().map(str::to_owned)).collect());
            (row[0].as_str().unwrap_or("+I").to_owned(), values)
        };
        Output {
            name: value["name"].as_str().unwrap_or_default().to_owned(),
            is_query: value["is_query"].as_bool().unwrap_or_default(),
            keys: texts(&value["keys"]).iter().filter_map(|key| columns.iter().position(|c| c == key)).collect(),
            rows: value["rows"].as_array().map_or_else(Vec::new, |rows| rows.iter().map(row).collect()),
        }
    }
}

/// How much must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Every change; rows of different keys may come in another order.
    Changes,
    /// The table at the end: the order of the inputs is not the same.
    Table,
}

/// `None` when they agree, else the difference, for people.
pub(crate) fn difference(ours: &Output, theirs: &[ResultRow], strictness: Strictness) -> Option<String> {
    let (ours_rows, theirs_rows) = match strictness {
        Strictness::Changes => (lines(&ours.rows), lines(theirs)),
        Strictness::Table => (fold(&ours.rows, &ours.keys), fold(theirs, &ours.keys)),
    };
    let (mut left, mut right) = (ours_rows.clone(), theirs_rows.clone());
    left.sort();
    right.sort();
    if left == right {
        return None;
    }
    let show = |rows: &[String], other: &[String]| {
        let mut rest = other.to_vec();
        let mut text = String::new();
        for row in rows {
            let mark = match rest.iter().position(|r| r == row) {
                Some(at) => {
                    rest.remove(at);
                    ' '
                }
                None => '!',
            };
            text.push_str(&format!("      {mark} {row}\n"));
        }
        text
    };
    Some(format!("    wiesel:\n{}    flink:\n{}", show(&ours_rows, &theirs_rows), show(&theirs_rows, &ours_rows)))
}

fn lines(rows: &[ResultRow]) -> Vec<String> {
    rows.iter().map(|(kind, values)| format!("{kind} {}", row_text(values))).collect()
}

fn fold(rows: &[ResultRow], keys: &[usize]) -> Vec<String> {
    let mut table: BTreeMap<Vec<Option<String>>, (String, i64)> = BTreeMap::new();
    for (kind, values) in rows {
        let is_add = kind.starts_with('+');
        if keys.is_empty() {
            let entry = table.entry(values.clone()).or_insert_with(|| (row_text(values), 0));
            entry.1 += if is_add { 1 } else { -1 };
            continue;
        }
        let key: Vec<Option<String>> = keys.iter().map(|k| values.get(*k).cloned().flatten()).collect();
        match kind.as_str() {
            "-U" => {}
            "-D" => _ = table.remove(&key),
            _ => _ = table.insert(key, (row_text(values), 1)),
        }
    }
    let rows = table.into_values().filter(|(_, count)| *count != 0);
    rows.flat_map(|(text, count)| vec![text; usize::try_from(count.unsigned_abs()).unwrap_or(1)]).collect()
}

/// A row in the form of the data files.
pub(crate) fn row_text(values: &[Option<String>]) -> String {
    let text = |value: &Option<String>| match value.as_deref() {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.replace('\n', "\\n").replace('\r', "\\r"),
    };
    values.iter().map(text).collect::<Vec<_>>().join(" | ")
}

/// A printed line, `+I[1, null, 2024-01-01T00:00]`, as a row; its values are in the print connector's form.
pub(crate) fn printed_row(line: &str) -> ResultRow {
    let (kind, rest) = line.split_at_checked(2).unwrap_or((line, ""));
    let inner = rest.strip_prefix('[').and_then(|r| r.strip_suffix(']')).unwrap_or(rest);
    let values = inner.split(", ").map(|v| (v != "null").then(|| v.to_owned())).collect();
    (kind.to_owned(), values)
}

/// Brings a row's texts into the form of printed rows, so that both can be compared: `2024-01-01 00:00:00.000` becomes
/// `2024-01-01T00:00`, `TRUE` becomes `true`; nested values and texts with `, ` fall apart on both sides alike.
pub(crate) fn as_printed(row: &ResultRow) -> ResultRow {
    let values = row.1.iter().flat_map(|value| match value {
        None => vec![None],
        Some(text) => {
            let parts: Vec<Option<String>> = text.split(", ").map(|part| Some(printed_value(part))).collect();
            parts
        }
    });
    (row.0.clone(), values.collect())
}

fn printed_value(text: &str) -> String {
    match text {
        "TRUE" => return "true".to_owned(),
        "FALSE" => return "false".to_owned(),
        _ => {}
    }
    let is_timestamp = text.len() >= 19
        && text.as_bytes().iter().enumerate().take(19).all(|(i, b)| match i {
            4 | 7 => *b == b'-',
            10 => *b == b' ',
            13 | 16 => *b == b':',
            _ => b.is_ascii_digit(),
        });
    if !is_timestamp {
        return text.to_owned();
    }
    let (date, time) = text.split_once(' ').unwrap_or((text, ""));
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut fraction = fraction.to_owned();
    // Java prints as few groups of three digits as hold the value.
    while fraction.ends_with("000") {
        fraction.truncate(fraction.len() - 3);
    }
    let clock = if fraction.is_empty() { clock.strip_suffix(":00").unwrap_or(clock) } else { clock };
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{date}T{clock}{dot}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, values: &[&str]) -> ResultRow {
        (kind.to_owned(), values.iter().map(|v| Some((*v).to_owned())).collect())
    }

    fn output(rows: Vec<ResultRow>) -> Output {
        Output { name: "q".to_owned(), is_query: true, keys: Vec::new(), rows }
    }

    #[test]
    fn changes_or_tables_are_compared() {
        let ours = output(vec![row("+I", &["a", "1"]), row("-U", &["a", "1"]), row("+U", &["a", "2"])]);
        assert!(difference(&ours, &ours.rows, Strictness::Changes).is_none());
        let short = [row("+I", &["a", "2"])];
        assert!(difference(&ours, &short, Strictness::Table).is_none());
        let text = difference(&ours, &short, Strictness::Changes).unwrap();
        assert!(text.contains("! +U a | 2"), "{text}");
    }

    #[test]
    fn printed_rows_and_texts_meet() {
        let ours = (
            "+I".to_owned(),
            vec![
                Some("TRUE".to_owned()),
                None,
                Some("2024-01-01 10:00:00.000".to_owned()),
                Some("2024-01-01 10:00:01.500".to_owned()),
            ],
        );
        assert_eq!(as_printed(&ours), printed_row("+I[true, null, 2024-01-01T10:00, 2024-01-01T10:00:01.500]"));
    }
}
