//! What a stranger would trip over and no compiler sees: files without a head, forgotten notes, tests that never run.
//!
//! Three things fail: a Rust file whose first line is not a `//!` comment, a note to oneself without the number of an issue, and a
//! test that is switched off. Sizes are figures for ourselves, not gates: long files are listed, percentiles printed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A file longer than this is listed.
const FILE_LINES_LISTED: usize = 800;
/// Folders that hold nothing written by us.
const SKIPPED_FOLDERS: [&str; 4] = ["target", ".git", ".wiesel", "node_modules"];
/// What counts as data of tests beside the code.
const TEST_DATA_EXTENSIONS: [&str; 6] = ["slt", "sql", "json", "jsonl", "csv", "txt"];
/// Split in two, so that this file does not find itself.
const NOTE_WORD: &str = concat!("TO", "DO");
const SWITCHED_OFF: &str = concat!("#[ign", "ore");

/// What a look over the tree found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// One line per breach of a rule, with its place.
    pub(crate) faults: Vec<String>,
    file_lines: Vec<(usize, PathBuf)>,
    function_lines: Vec<usize>,
    code_lines: usize,
    test_lines: usize,
    data_lines: usize,
    unwrap_count: usize,
}

/// Looks at every file under `root`.
pub(crate) fn check(root: &Path) -> Result<Findings> {
    let mut findings = Findings::default();
    for path in files(root)? {
        let relative = path.strip_prefix(root)?.to_owned();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let is_rust = extension == "rs";
        let is_data = TEST_DATA_EXTENSIONS.contains(&extension) && is_of_tests(&relative);
        if !is_rust && !is_data && extension != "java" {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("read `{}`", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        if is_rust {
            findings.look_at_rust(&relative, &text);
        } else if is_data {
            findings.data_lines += text.lines().count();
        }
        findings.look_for_notes(&relative, &text);
    }
    Ok(findings)
}

impl Findings {
    fn look_at_rust(&mut self, path: &Path, text: &str) {
        if !text.starts_with("//!") {
            self.faults
                .push(format!("{}:1: the file does not open with `//!` on the idea that lives here", path.display()));
        }
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with(SWITCHED_OFF) {
                self.faults.push(format!("{}:{}: a test is switched off", path.display(), index + 1));
            }
        }
        let line_count = text.lines().count();
        let is_test_file = is_of_tests(path) || path.file_name().is_some_and(|name| name == "tests.rs");
        // The house's habit: tests stand at the end of a file, in one module.
        let tests_start = text.lines().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(line_count);
        let code_count = if is_test_file { 0 } else { tests_start };
        self.code_lines += code_count;
        self.test_lines += line_count - code_count;
        self.unwrap_count += text.lines().take(code_count).filter(|line| line.contains(".unwrap()")).count();
        self.function_lines.extend(function_lengths(text));
        self.file_lines.push((line_count, path.to_owned()));
    }

    fn look_for_notes(&mut self, path: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let Some((_, rest)) = line.split_once(NOTE_WORD) else { continue };
            let has_issue = rest.trim_start_matches(['(', ' ', ':']).strip_prefix('#').is_some_and(starts_with_digit);
            if !has_issue {
                self.faults.push(format!(
                    "{}:{}: {NOTE_WORD} without the number of an issue",
                    path.display(),
                    index + 1
                ));
            }
        }
    }

    /// Figures, as lines of text.
    pub(crate) fn figures(&self) -> String {
        let mut lengths: Vec<usize> = self.file_lines.iter().map(|(count, _)| *count).collect();
        lengths.sort_unstable();
        let mut functions = self.function_lines.clone();
        functions.sort_unstable();
        let mut text = format!(
            "{} Rust files: {} lines of code, {} of tests, {} of test data\n",
            self.file_lines.len(),
            self.code_lines,
            self.test_lines,
            self.data_lines
        );
        text += &format!("files: median {} lines, p95 {}\n", percentile(&lengths, 50), percentile(&lengths, 95));
        text +=
            &format!("functions: median {} lines, p95 {}\n", percentile(&functions, 50), percentile(&functions, 95));
        text += &format!("unwrap outside tests: {}\n", self.unwrap_count);
        let mut long: Vec<_> = self.file_lines.iter().filter(|(count, _)| *count > FILE_LINES_LISTED).collect();
        long.sort();
        for (count, path) in long.iter().rev() {
            text += &format!("long file: {} has {count} lines\n", path.display());
        }
        text
    }
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|character: char| character.is_ascii_digit())
}

fn is_of_tests(path: &Path) -> bool {
    path.components().any(|part| ["tests", "e2e", "examples"].iter().any(|folder| part.as_os_str() == *folder))
}

/// All files below `root`, sorted, so that the output is the same on every machine.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list `{}`", folder.display()))? {
            let entry = entry?;
            let is_skipped = SKIPPED_FOLDERS.iter().any(|skipped| entry.file_name() == *skipped);
            if entry.file_type()?.is_dir() && !is_skipped {
                open.push(entry.path());
            } else if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Lines of each function. Formatted code ends a function with a brace at the indent of its first line, so no parser is needed.
fn function_lengths(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let mut lengths = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let words = line.trim_start();
        let is_function = words.starts_with("fn ") || (words.starts_with("pub") && words.contains(" fn "));
        if !is_function || words.ends_with(';') {
            continue;
        }
        let indent = &line[..line.len() - words.len()];
        let end = format!("{indent}}}");
        if words.ends_with('}') {
            lengths.push(1);
        } else if let Some(count) = lines[start..].iter().position(|candidate| *candidate == end) {
            lengths.push(count + 1);
        }
    }
    lengths
}

fn percentile(sorted: &[usize], percent: usize) -> usize {
    let Some(last) = sorted.len().checked_sub(1) else { return 0 };
    sorted[last * percent / 100]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Findings, NOTE_WORD, SWITCHED_OFF, function_lengths};

    fn faults(text: &str) -> usize {
        let mut findings = Findings::default();
        findings.look_at_rust(Path::new("a.rs"), text);
        findings.look_for_notes(Path::new("a.rs"), text);
        findings.faults.len()
    }

    #[test]
    fn each_rule_finds_its_breach_and_nothing_else() {
        let cases = [
            ("//! Head.\nfn f() {}\n".to_owned(), 0),
            ("fn f() {}\n".to_owned(), 1),
            (format!("//! Head.\n// {NOTE_WORD}: later\n"), 1),
            (format!("//! Head.\n// {NOTE_WORD}(#12): later\n"), 0),
            (format!("//! Head.\n{SWITCHED_OFF}]\nfn f() {{}}\n"), 1),
        ];
        for (text, expected) in cases {
            assert_eq!(faults(&text), expected, "{text}");
        }
    }

    #[test]
    fn the_length_of_a_function_counts_its_first_and_last_line() {
        let text = "fn a() {\n    b();\n}\nimpl C {\n    pub fn d() {\n    }\n    fn e() {}\n    fn f();\n}\n";
        assert_eq!(function_lengths(text), [3, 2, 1]);
    }
}
