//! The page that says how far wiesel and Flink agree, case by case and folder by folder. Made by the command, never by hand.
//!
//! A case is one statement that shows something or is refused, or what one query gave or one table took. Statements that only declare are
//! none, unless Flink does not take them. Cases that mean nothing to Flink are counted apart and are no part of the percentage.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// What the comparison of a case gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same answer.
    Agree,
    /// Another answer; what it is.
    Differ(String),
    /// Flink runs it and wiesel refuses it by name.
    Refused(String),
    /// Not compared, and why.
    Skipped(String),
}

/// What the comparison of a file gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileReport {
    /// Its cases.
    pub(crate) cases: Vec<Verdict>,
    /// Why the whole file is not compared.
    pub(crate) skipped: Option<String>,
}

impl FileReport {
    /// A file that is one case.
    pub(crate) fn one(verdict: Verdict) -> FileReport {
        FileReport { cases: vec![verdict], skipped: None }
    }

    /// What differs or is refused.
    pub(crate) fn unlike(&self) -> Vec<&str> {
        let text = |verdict| match verdict {
            &Verdict::Differ(ref text) | &Verdict::Refused(ref text) => Some(text.as_str()),
            Verdict::Agree | Verdict::Skipped(_) => None,
        };
        self.cases.iter().filter_map(text).collect()
    }

    /// Files, cases, agreeing, differing, refused and skipped ones.
    fn counts(&self) -> [usize; 6] {
        let mut counts = [1, self.cases.len(), 0, 0, 0, 0];
        for verdict in &self.cases {
            counts[match verdict {
                Verdict::Agree => 2,
                Verdict::Differ(_) => 3,
                Verdict::Refused(_) => 4,
                Verdict::Skipped(_) => 5,
            }] += 1;
        }
        counts
    }
}

/// The page.
pub(crate) fn markdown(version: &str, reports: &[(String, FileReport)]) -> String {
    let mut folders: BTreeMap<String, [usize; 6]> = BTreeMap::new();
    let mut sum = [0; 6];
    for (file, report) in reports {
        let folder = Path::new(file).parent().map_or_else(String::new, |p| p.display().to_string());
        let counts = report.counts();
        for total in [folders.entry(folder).or_default(), &mut sum] {
            total.iter_mut().zip(counts).for_each(|(t, c)| *t += c);
        }
    }
    let [_, cases, agree, _, _, skipped] = sum;
    let compared = cases - skipped;
    // Tenths of a percent, rounded down: 100 % is said only when nothing differs.
    let tenths = (agree * 1000).checked_div(compared).unwrap_or(0);
    let mut text = format!(
        "# Agreement with Apache Flink\n\n\
         Made by `cargo xtask peers`: every data file runs on wiesel and on Apache Flink {version}, with parallelism 1, object reuse off and a\n\
         watermark per row. A case is a statement that shows something or is refused, or what one query gave or one table took. Cases of files\n\
         with one input table must give the same changes, those of files with several the same table at the end (the order between tables is\n\
         free). *refused*: Flink runs a statement that wiesel refuses by name. *skipped*: the file moves the clock, restarts in the middle, or\n\
         says itself why it, or a record of it, means nothing to Flink.\n\n\
         **{agree} of {compared} compared cases agree: {}.{} %.**\n\n\
         | folder | files | cases | agree | differ | refused | skipped |\n|---|---|---|---|---|---|---|\n",
        tenths / 10,
        tenths % 10
    );
    for (folder, counts) in folders.iter().map(|(f, c)| (f.as_str(), c)).chain([("**all**", &sum)]) {
        let cells: Vec<String> = counts.iter().map(usize::to_string).collect();
        _ = writeln!(text, "| {folder} | {} |", cells.join(" | "));
    }
    for (title, list) in [
        ("Differ", listed(reports, |v| if let Verdict::Differ(text) = v { Some(text) } else { None })),
        ("Refused", listed(reports, |v| if let Verdict::Refused(text) = v { Some(text) } else { None })),
    ] {
        if !list.is_empty() {
            _ = writeln!(text, "\n## {title}\n{}", list.join("\n"));
        }
    }
    let skipped = reports.iter().flat_map(|(file, report)| match &report.skipped {
        Some(why) => vec![format!("- `{file}`: {why}")],
        None => line_of(file, report, |v| if let Verdict::Skipped(text) = v { Some(text) } else { None }),
    });
    let skipped: Vec<String> = skipped.collect();
    if !skipped.is_empty() {
        _ = writeln!(text, "\n## Skipped\n{}", skipped.join("\n"));
    }
    text
}

fn listed(reports: &[(String, FileReport)], text: fn(&Verdict) -> Option<&String>) -> Vec<String> {
    reports.iter().flat_map(|(file, report)| line_of(file, report, text)).collect()
}

fn line_of(file: &str, report: &FileReport, text: fn(&Verdict) -> Option<&String>) -> Vec<String> {
    let first: Vec<&str> = report.cases.iter().filter_map(text).map(|d| d.lines().next().unwrap_or_default()).collect();
    if first.is_empty() { Vec::new() } else { vec![format!("- `{file}`: {}", first.join("; "))] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_counted_by_folder_and_as_a_part_of_those_compared() {
        let skipped = |why: &str| Verdict::Skipped(why.to_owned());
        let x = FileReport { cases: vec![Verdict::Agree, Verdict::Agree, skipped("line 3: our own")], skipped: None };
        let y = FileReport { cases: vec![Verdict::Differ("query `q`\n  rows".to_owned())], skipped: None };
        let z = FileReport { cases: vec![skipped("the clock")], skipped: Some("the clock".to_owned()) };
        let reports = [("tests/sql/a/x.slt", x), ("tests/sql/a/y.slt", y), ("tests/sql/b/z.slt", z)];
        let text = markdown("1.20", &reports.map(|(file, report)| (file.to_owned(), report)));
        assert!(text.contains("| tests/sql/a | 2 | 4 | 2 | 1 | 0 | 1 |"), "{text}");
        assert!(text.contains("| **all** | 3 | 5 | 2 | 1 | 0 | 2 |"), "{text}");
        assert!(text.contains("**2 of 3 compared cases agree: 66.6 %.**"), "{text}");
        assert!(text.contains("- `tests/sql/a/y.slt`: query `q`\n"), "{text}");
        assert!(text.contains("- `tests/sql/a/x.slt`: line 3: our own\n- `tests/sql/b/z.slt`: the clock\n"), "{text}");
    }
}
