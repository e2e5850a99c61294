//! A changelog folded into the table it describes: by key where the sink takes upserts (or the record says by which columns), else as a
//! bag of whole rows, where a retraction takes one equal row away.

use std::collections::BTreeMap;

use wiesel_core::RowKind;
use wiesel_expr::text::TextRow;

/// The values of a row or of its key; `None` is NULL.
type Values = Vec<Option<String>>;

/// The rows of the table, sorted by their text.
pub(crate) fn fold(rows: &[TextRow], keys: &[usize]) -> Vec<String> {
    let mut table: BTreeMap<Values, (Values, i64)> = BTreeMap::new();
    for (kind, row) in rows {
        if keys.is_empty() {
            let entry = table.entry(row.clone()).or_insert_with(|| (row.clone(), 0));
            entry.1 += if kind.is_add() { 1 } else { -1 };
            if entry.1 == 0 {
                table.remove(row);
            }
            continue;
        }
        let key: Values = keys.iter().map(|k| row.get(*k).cloned().flatten()).collect();
        match kind {
            RowKind::Insert | RowKind::UpdateAfter => _ = table.insert(key, (row.clone(), 1)),
            RowKind::Delete => _ = table.remove(&key),
            RowKind::UpdateBefore => {}
        }
    }
    let mut texts = Vec::new();
    for (row, count) in table.values() {
        let sign = if *count < 0 { "taken back and never there: " } else { "" };
        texts.extend((0..count.unsigned_abs()).map(|_| format!("{sign}{}", row_text(row))));
    }
    texts.sort();
    texts
}

/// A row in the form of the files: values joined by ` | `, NULL as NULL, an empty text as `(empty)`, each on one line.
pub(crate) fn row_text(row: &[Option<String>]) -> String {
    let values: Vec<String> = row.iter().map(|v| value_text(v.as_deref())).collect();
    values.join(" | ")
}

fn value_text(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.replace('\n', "\\n").replace('\r', "\\r"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: RowKind, values: &[&str]) -> TextRow {
        (kind, values.iter().map(|v| Some((*v).to_owned())).collect())
    }

    #[test]
    fn changes_fold_by_key_or_by_whole_rows() {
        use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
        let full = [
            change(Insert, &["a", "1"]),
            change(UpdateBefore, &["a", "1"]),
            change(UpdateAfter, &["a", "2"]),
            change(Insert, &["b", "1"]),
            change(Insert, &["b", "1"]),
            change(Delete, &["b", "1"]),
        ];
        assert_eq!(fold(&full, &[]), ["a | 2", "b | 1"]);
        let upsert = [change(Insert, &["a", "1"]), change(UpdateAfter, &["a", "2"]), change(Insert, &["b", "1"])];
        assert_eq!(fold(&upsert, &[0]), ["a | 2", "b | 1"]);
        assert_eq!(fold(&[change(Delete, &["c", "1"])], &[]), ["taken back and never there: c | 1"]);
    }
}
