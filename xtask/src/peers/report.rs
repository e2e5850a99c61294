//! The page that says how far wiesel and Flink agree, folder by folder. Made by the command, never by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// What a file's comparison gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same answers.
    Agree,
    /// Other answers; what they are.
    Differ(Vec<String>),
    /// Flink runs it and wiesel refuses it by name.
    Refused(Vec<String>),
    /// Not compared, and why.
    Skipped(String),
}

/// The page.
pub(crate) fn markdown(version: &str, verdicts: &[(String, Verdict)]) -> String {
    let mut folders: BTreeMap<String, [usize; 5]> = BTreeMap::new();
    for (file, verdict) in verdicts {
        let folder = Path::new(file).parent().map_or_else(String::new, |p| p.display().to_string());
        let counts = folders.entry(folder).or_default();
        counts[0] += 1;
        counts[match verdict {
            Verdict::Agree => 1,
            Verdict::Differ(_) => 2,
            Verdict::Refused(_) => 3,
            Verdict::Skipped(_) => 4,
        }] += 1;
    }
    let mut text = format!(
        "# Agreement with Apache Flink\n\n\
         Made by `cargo xtask peers`: every data file runs on wiesel and on Apache Flink {version}, with parallelism 1, object reuse off and a\n\
         watermark per row. Files with one input table must give the same changes, those with several the same table at the end (the order\n\
         between tables is free). *refused*: Flink runs a statement that wiesel refuses by name. *skipped*: the file moves the clock, restarts\n\
         in the middle, or says itself why it means nothing to Flink.\n\n\
         | folder | files | agree | differ | refused | skipped |\n|---|---|---|---|---|---|\n"
    );
    let mut sum = [0; 5];
    for (folder, counts) in &folders {
        let cells: Vec<String> = counts.iter().map(usize::to_string).collect();
        _ = writeln!(text, "| {folder} | {} |", cells.join(" | "));
        sum.iter_mut().zip(counts).for_each(|(s, c)| *s += c);
    }
    let cells: Vec<String> = sum.iter().map(usize::to_string).collect();
    _ = writeln!(text, "| **all** | {} |", cells.join(" | "));
    let of = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(move |(_, v)| wanted(v));
    for (title, list) in [
        ("Differ", of(|v| matches!(v, Verdict::Differ(_))).collect::<Vec<_>>()),
        ("Refused", of(|v| matches!(v, Verdict::Refused(_))).collect()),
        ("Skipped", of(|v| matches!(v, Verdict::Skipped(_))).collect()),
    ] {
        if list.is_empty() {
            continue;
        }
        _ = writeln!(text, "\n## {title}");
        for (file, verdict) in list {
            let why = match verdict {
                Verdict::Agree => String::new(),
                Verdict::Skipped(why) => why.clone(),
                Verdict::Differ(all) | Verdict::Refused(all) => {
                    let first: Vec<&str> = all.iter().map(|d| d.lines().next().unwrap_or_default()).collect();
                    first.join("; ")
                }
            };
            _ = writeln!(text, "- `{file}`: {why}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_folder() {
        let verdicts = [
            ("tests/sql/a/x.slt".to_owned(), Verdict::Agree),
            ("tests/sql/a/y.slt".to_owned(), Verdict::Differ(vec!["query `q`\n  rows".to_owned()])),
            ("tests/sql/b/z.slt".to_owned(), Verdict::Skipped("the clock".to_owned())),
        ];
        let text = markdown("1.20", &verdicts);
        assert!(text.contains("| tests/sql/a | 2 | 1 | 1 | 0 | 0 |"), "{text}");
        assert!(text.contains("| **all** | 3 | 1 | 1 | 0 | 1 |"), "{text}");
        assert!(text.contains("- `tests/sql/a/y.slt`: query `q`\n"), "{text}");
    }
}
