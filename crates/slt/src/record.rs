//! The text of a data file as a list of records.
//!
//! A record is a directive line and the lines below it, up to an empty line. `----` parts what is given from what is expected. Lines
//! that begin with `#` are comments, but for those below a `----`; on a directive line everything behind ` #` is one. The grammar knows
//! no SQL: statements are taken as they stand.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file, read.
#[derive(Debug, Clone, Default)]
pub struct TestFile {
    /// Its lines, as they stand.
    pub lines: Vec<String>,
    /// What `# description:` says.
    pub description: String,
    /// The records in order.
    pub records: Vec<Record>,
}

/// A record.
#[derive(Debug, Clone)]
pub struct Record {
    /// The line of its directive, from 1.
    pub line: usize,
    /// The line behind its last one, from 1.
    pub end: usize,
    /// What it asks for.
    pub directive: Directive,
    /// What stands below `----`; `None` without one.
    pub expected: Option<Expected>,
}

/// The expected part of a record.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The line of the first row, from 1.
    pub line: usize,
    /// The rows.
    pub rows: Vec<String>,
}

/// What a record asks for.
#[derive(Debug, Clone)]
pub enum Directive {
    /// Statements that must be carried out.
    StatementOk(String),
    /// A statement that must be refused, with the expected wording.
    StatementError(String),
    /// A statement that shows something: SHOW, DESCRIBE, EXPLAIN, SET.
    StatementQuery(String),
    /// Takes the statements of a SQL file; its jobs start with a `job` record that has no SQL.
    File(String),
    /// Starts a query, an INSERT or a STATEMENT SET under a name.
    Job {
        /// The name.
        name: String,
        /// The statement; `None`: the jobs of the `file`.
        sql: Option<String>,
    },
    /// Rows for a table: one step.
    Input {
        /// The table.
        table: String,
        /// The rows.
        rows: Vec<InputRow>,
    },
    /// Moves the clock.
    Advance(Duration),
    /// Sets the clock before any job starts.
    Clock(String),
    /// The changes since the last look.
    Changelog {
        /// A query's job or a table.
        name: String,
    },
    /// All changes so far, folded.
    Table {
        /// A query's job or a table.
        name: String,
        /// The columns to fold by, by name; empty: the primary key where the sink takes upserts, else whole rows.
        keys: Vec<String>,
    },
    /// Stops every job with a checkpoint and starts it again from there.
    Restore,
    /// Ends every input.
    End,
    /// The job failed with the expected text.
    Error {
        /// The job.
        name: String,
    },
    /// Worker threads of the jobs that follow.
    Workers(usize),
    /// The file means nothing to another engine, and why.
    OnlyWiesel(String),
    /// The next record means nothing to another engine, and why.
    NextOnlyWiesel(String),
    /// The file holds only as it stands: not with other steps, restarts or workers, and why.
    OnlyPlain(String),
}

/// A row of an `input` record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRow {
    /// Its line, from 1.
    pub line: usize,
    /// `+I`, `-U`, `+U` or `-D`.
    pub kind: String,
    /// The JSON object.
    pub json: String,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads a file.
pub fn parse(text: &str) -> Result<TestFile, ParseError> {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut file = TestFile { lines, ..TestFile::default() };
    let mut at = 0;
    while at < file.lines.len() {
        let line = file.lines[at].trim();
        if let Some(comment) = line.strip_prefix('#') {
            if let Some(text) = comment.trim().strip_prefix("description:") {
                text.trim().clone_into(&mut file.description);
            }
            at += 1;
            continue;
        }
        if line.is_empty() {
            at += 1;
            continue;
        }
        let end = (at..file.lines.len()).find(|&l| file.lines[l].trim().is_empty()).unwrap_or(file.lines.len());
        let record = record(&file.lines[at..end], at + 1)?;
        file.records.push(record);
        at = end;
    }
    Ok(file)
}

/// Reads the lines of one record; `first` is the number of the first.
fn record(lines: &[String], first: usize) -> Result<Record, ParseError> {
    let fail = |message: String| Err(ParseError { line: first, message });
    let directive = lines[0].split(" #").next().unwrap_or_default().trim();
    let (word, rest) = directive.split_once(char::is_whitespace).unwrap_or((directive, ""));
    let rest = rest.trim();
    let dashes = lines.iter().position(|l| l.trim_end() == "----");
    let body = &lines[1..dashes.unwrap_or(lines.len())];
    let expected = dashes.map(|at| Expected { line: first + at + 1, rows: lines[at + 1..].to_vec() });
    let sql = || body.join("\n");
    let name = || match rest {
        "" => Err(ParseError { line: first, message: format!("`{word}` needs a name") }),
        name => Ok(name.to_owned()),
    };
    let directive = match (word, rest) {
        ("statement", "ok") => Directive::StatementOk(sql()),
        ("statement", "error") => Directive::StatementError(sql()),
        ("statement", "query") => Directive::StatementQuery(sql()),
        ("statement", _) => return fail("expected `statement ok`, `statement error` or `statement query`".to_owned()),
        ("file", _) => Directive::File(name()?),
        ("job", _) => {
            let sql = sql();
            Directive::Job { name: name()?, sql: (!sql.trim().is_empty()).then_some(sql) }
        }
        ("input", _) => Directive::Input { table: name()?, rows: input_rows(body, first + 1)? },
        ("advance", _) => match parse_duration(rest) {
            Some(duration) => Directive::Advance(duration),
            None => return fail(format!("expected a duration such as `10 s` or `200 ms`, found `{rest}`")),
        },
        ("clock", _) => Directive::Clock(name()?),
        ("changelog", _) => Directive::Changelog { name: name()? },
        ("table", _) => {
            let (name, keys) = match rest.split_once('(') {
                Some((name, keys)) => (name.trim(), keys.trim_end_matches(')')),
                None => (rest, ""),
            };
            let keys = keys.split(',').map(|k| k.trim().to_owned()).filter(|k| !k.is_empty()).collect();
            Directive::Table { name: name.to_owned(), keys }
        }
        ("restore", "") => Directive::Restore,
        ("end", "") => Directive::End,
        ("error", _) => Directive::Error { name: name()? },
        ("workers", count) => match count.parse() {
            Ok(count) if (1..=64).contains(&count) => Directive::Workers(count),
            _ => return fail(format!("expected a number of workers from 1 to 64, found `{count}`")),
        },
        ("only", _) => match rest.split_once(':') {
            Some(("wiesel next", reason)) => Directive::NextOnlyWiesel(reason.trim().to_owned()),
            Some(("wiesel", reason)) => Directive::OnlyWiesel(reason.trim().to_owned()),
            Some(("plain", reason)) => Directive::OnlyPlain(reason.trim().to_owned()),
            _ => {
                return fail(
                    "expected `only wiesel: <reason>`, `only wiesel next: <reason>` or `only plain: <reason>`"
                        .to_owned(),
                );
            }
        },
        _ => {
            return fail(format!(
                "unknown record `{word}`, known are advance, changelog, clock, end, error, file, input, job, only, \
                 restore, statement, table, workers"
            ));
        }
    };
    let takes_lines = matches!(
        directive,
        Directive::StatementOk(_)
            | Directive::StatementError(_)
            | Directive::StatementQuery(_)
            | Directive::Job { .. }
            | Directive::Input { .. }
    );
    if !takes_lines && !body.is_empty() {
        return fail(format!("a record `{word}` is one line; an empty line ends it"));
    }
    check_expected(&directive, expected.is_some(), word, first)?;
    Ok(Record { line: first, end: first + lines.len(), directive, expected })
}

/// Only records that are compared with something may have a `----`.
fn check_expected(directive: &Directive, has_expected: bool, word: &str, line: usize) -> Result<(), ParseError> {
    let is_compared = matches!(
        directive,
        Directive::StatementError(_)
            | Directive::StatementQuery(_)
            | Directive::Changelog { .. }
            | Directive::Table { .. }
            | Directive::Error { .. }
    );
    if has_expected && !is_compared {
        return Err(ParseError { line, message: format!("a record `{word}` has no `----`") });
    }
    Ok(())
}

fn input_rows(body: &[String], first: usize) -> Result<Vec<InputRow>, ParseError> {
    let mut rows = Vec::new();
    for (line, text) in (first..).zip(body) {
        let text = text.trim();
        if text.starts_with('#') {
            continue;
        }
        let (kind, json) = match text.split_once(char::is_whitespace) {
            Some((kind @ ("+I" | "-U" | "+U" | "-D"), json)) => (kind, json.trim()),
            _ => ("+I", text),
        };
        if !json.starts_with('{') {
            let message = format!("expected a JSON object, with +I, -U, +U or -D in front or without, found `{json}`");
            return Err(ParseError { line, message });
        }
        rows.push(InputRow { line, kind: kind.to_owned(), json: json.to_owned() });
    }
    Ok(rows)
}

/// `10 s`, `200 ms`, `1 min`, `2 h`, `1 d`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let unit_ms = match text.get(digits..)?.trim() {
        "ms" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

/// The data files at a path: itself, or every `*.slt` below a folder, sorted.
pub fn find(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.is_dir() {
            files.extend(find(&entry)?);
        } else if entry.extension().is_some_and(|e| e == "slt") {
            files.push(entry);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_into_records_with_their_lines() {
        let text = "# description: two records\njob q # a comment\nSELECT 1\n\nchangelog q\n----\n+I 1\n\nrestore\n";
        let file = parse(text).unwrap();
        assert_eq!(file.description, "two records");
        let lines: Vec<usize> = file.records.iter().map(|r| r.line).collect();
        assert_eq!(lines, [2, 5, 9]);
        assert!(
            matches!(&file.records[0].directive, Directive::Job { name, sql: Some(s) } if name == "q" && s == "SELECT 1")
        );
        let expected = file.records[1].expected.as_ref().unwrap();
        assert_eq!((expected.line, expected.rows.as_slice()), (7, ["+I 1".to_owned()].as_slice()));
    }

    #[test]
    fn input_rows_may_name_their_kind() {
        let file = parse("input t\n{\"k\":1}\n# between\n-U {\"k\":2}\n").unwrap();
        let Directive::Input { rows, .. } = &file.records[0].directive else { panic!("not an input") };
        let found: Vec<(usize, &str, &str)> = rows.iter().map(|r| (r.line, r.kind.as_str(), r.json.as_str())).collect();
        assert_eq!(found, [(2, "+I", "{\"k\":1}"), (4, "-U", "{\"k\":2}")]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        let cases = [
            ("\nstatement maybe\n", 2, "expected `statement ok`"),
            ("tabel q\n", 1, "unknown record `tabel`"),
            ("advance soon\n", 1, "expected a duration"),
            ("job\nSELECT 1\n", 1, "`job` needs a name"),
            ("input t\nk=1\n", 2, "expected a JSON object"),
            ("statement ok\nSELECT 1\n----\n1\n", 1, "has no `----`"),
            ("restore\nend\n", 1, "a record `restore` is one line"),
        ];
        for (text, line, message) in cases {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.message.contains(message), "{}", error.message);
        }
    }
}
