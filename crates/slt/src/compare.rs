//! Expected against found, and a diff that can be read; and the rewriting of a file's expected parts.

use std::collections::BTreeMap;

use crate::record::{Record, TestFile};

/// What stands where there are no rows.
pub(crate) const NOTHING: &str = "(nothing)";

/// The rows as a file shows them.
pub(crate) fn shown(rows: Vec<String>) -> Vec<String> {
    if rows.is_empty() { vec![NOTHING.to_owned()] } else { rows }
}

/// `None` when they agree, else a diff: `<` only expected, `>` only found.
pub(crate) fn diff(expected: &[String], found: &[String]) -> Option<String> {
    if expected == found {
        return None;
    }
    // Longest common subsequence; expected parts are short.
    let mut common = vec![vec![0_usize; found.len() + 1]; expected.len() + 1];
    for (i, e) in expected.iter().enumerate().rev() {
        for (j, f) in found.iter().enumerate().rev() {
            common[i][j] = if e == f { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let mut text = String::from("    `<` expected, `>` found\n");
    let (mut i, mut j) = (0, 0);
    while i < expected.len() || j < found.len() {
        let (sign, line) = match (expected.get(i), found.get(j)) {
            (Some(e), Some(f)) if e == f => {
                (i, j) = (i + 1, j + 1);
                (' ', e)
            }
            (Some(e), f) if f.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                i += 1;
                ('<', e)
            }
            (_, Some(f)) => {
                j += 1;
                ('>', f)
            }
            (_, None) => break,
        };
        text.push_str(&format!("    {sign} {line}\n"));
    }
    Some(text)
}

/// What changes come to, without their order and whatever they passed on the way: several workers may take another way. Upserts alone do
/// not say what they replace; the record `table` looks at those.
pub(crate) fn net_effect(changes: &[String]) -> Vec<String> {
    let is_upsert = changes.iter().any(|c| c.starts_with("+U")) && !changes.iter().any(|c| c.starts_with("-U"));
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for change in changes.iter().filter(|_| !is_upsert) {
        if let Some((kind, row)) = change.split_once(' ') {
            *counts.entry(row).or_default() += if kind.starts_with('+') { 1 } else { -1 };
        }
    }
    counts.retain(|_, count| *count != 0);
    counts.into_iter().map(|(row, count)| format!("{count:+} {row}")).collect()
}

/// The file with the expected part of each record replaced by what was found.
pub(crate) fn complete(file: &TestFile, found: &[(usize, Vec<String>)]) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut line = 1;
    for (index, rows) in found {
        let Some(record) = file.records.get(*index) else { continue };
        let until = expected_start(record);
        out.extend(lines(file, line, until));
        if record.expected.is_none() {
            out.push("----".to_owned());
        }
        out.extend(rows.iter().cloned());
        line = record.end;
    }
    out.extend(lines(file, line, file.lines.len() + 1));
    let mut text = out.join("\n");
    text.push('\n');
    text
}

fn expected_start(record: &Record) -> usize {
    record.expected.as_ref().map_or(record.end, |e| e.line)
}

fn lines(file: &TestFile, from: usize, to: usize) -> impl Iterator<Item = String> + '_ {
    file.lines.iter().skip(from - 1).take(to.saturating_sub(from)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::parse;

    #[test]
    fn a_diff_shows_what_is_missing_and_what_is_new() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(diff(&lines("a b"), &lines("a b")), None);
        let text = diff(&lines("a b c"), &lines("a x c d")).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
        assert_eq!(rows, ["a", "< b", "> x", "c", "> d"]);
    }

    #[test]
    fn changes_of_several_workers_are_compared_by_what_they_come_to() {
        let lines = |changes: &[&str]| changes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let long = lines(&["+I a | 1", "-U a | 1", "+U a | 2", "+I b | 1", "-D b | 1", "-D c | 9"]);
        assert_eq!(net_effect(&long), ["+1 a | 2", "-1 c | 9"]);
        assert_eq!(net_effect(&lines(&["(nothing)"])), Vec::<String>::new());
    }

    #[test]
    fn completing_replaces_expected_parts_and_nothing_else() {
        let text = "# a\nchangelog q\n----\nold\nolder\n\nrestore\n\ntable q\n\nend\n";
        let file = parse(text).unwrap();
        let found = [(0, vec!["new".to_owned()]), (2, vec!["row".to_owned()])];
        assert_eq!(complete(&file, &found), "# a\nchangelog q\n----\nnew\n\nrestore\n\ntable q\n----\nrow\n\nend\n");
    }
}
