//! `docs/coverage.md`: every row as tested, written (taken, but no case names it), refused, or not yet.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;

use super::options::{option_pattern, option_statement};
use super::probe::{Answer, Program};
use super::rows;
use crate::e2e::CASES;
use crate::faults;

/// Folders whose files count as tests when they use a function or an option.
const CASE_FOLDERS: [&str; 4] = ["tests", "xtask/src/e2e/cases", "examples", "bench/workloads"];
const CASE_EXTENSIONS: [&str; 4] = ["slt", "sql", "rs", "txt"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Tested,
    Written,
    Refused,
    NotYet,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Tested => "tested",
            State::Written => "written, no case",
            State::Refused => "refused",
            State::NotYet => "not yet",
        }
    }

    fn of(answer: Answer, is_tested: bool) -> State {
        match answer {
            Answer::Unknown => State::NotYet,
            Answer::Refused => State::Refused,
            Answer::Known if is_tested => State::Tested,
            Answer::Known => State::Written,
        }
    }
}

/// A row of the page.
pub(super) struct Row {
    /// What stands in its cells, as Markdown.
    pub(super) cells: Vec<String>,
    priority: String,
    /// What the program and the tests say of it.
    pub(super) state: State,
    /// How many cases it has, where they are counted.
    case_count: Option<usize>,
}

/// The rows of all tables, with what the program and the tests say of them.
pub(super) struct Coverage {
    pub(super) statements: Vec<Row>,
    pub(super) functions: Vec<Row>,
    settings: Vec<Row>,
    pub(super) options: Vec<Row>,
}

/// Asks the program and looks through the tests.
pub(super) fn gather(root: &Path, program: &Program) -> Result<Coverage> {
    let data_files = texts(root, &["tests/sql"], &["slt"])?;
    let cases = texts(root, &CASE_FOLDERS, &CASE_EXTENSIONS)?;
    Ok(Coverage {
        statements: statements(root)?,
        functions: functions(root, program, &data_files)?,
        settings: settings(root, program, &cases)?,
        options: options(root, program, &cases)?,
    })
}

/// One table of the page.
struct Section<'a> {
    title: &'static str,
    text: &'static str,
    head: &'static [&'static str],
    rows: &'a [Row],
}

impl Coverage {
    /// The whole page.
    pub(super) fn page(&self) -> Result<String> {
        let sections = [
            Section {
                title: "Statements, queries, seed systems, faults",
                text: "Each row names its cases: files, folders, or end-to-end cases (`cargo xtask test NAME`; those that begin with `fault_`: `cargo xtask faults NAME`).",
                head: &["area", "row", "where"],
                rows: &self.statements,
            },
            Section {
                title: "Functions",
                text: "A case is a use of the function in a statement of `tests/sql`; a function without one may still have unit tests beside its code.",
                head: &["function", "cases"],
                rows: &self.functions,
            },
            Section {
                title: "Settings",
                text: "Tested: an example, a data file or an end-to-end case sets the key. Refused: the sample value is (most often another than the default).",
                head: &["key"],
                rows: &self.settings,
            },
            Section {
                title: "Options of connectors and formats",
                text: "Tested: an example, a data file or an end-to-end case sets the option.",
                head: &["connector", "option"],
                rows: &self.options,
            },
        ];
        let mut page = String::from(
            "# Coverage\n\nMade by `cargo xtask docs` from `docs/coverage/*.csv`, the program's own answers, and the tests. *tested*: by a case that can fail; \
         *written, no case*: taken, but no case here names it; *refused*: by name, with its place; *not yet*: not known at all.\n\n\
         | part | priority | rows | tested | written, no case | refused | not yet |\n|---|---|---|---|---|---|---|\n",
        );
        for section in &sections {
            for priority in ["1", "2", "3"] {
                let rows: Vec<&Row> = section.rows.iter().filter(|row| row.priority == priority).collect();
                let count = |state| rows.iter().filter(|row| row.state == state).count();
                if !rows.is_empty() {
                    writeln!(
                        page,
                        "| {} | {priority} | {} | {} | {} | {} | {} |",
                        section.title,
                        rows.len(),
                        count(State::Tested),
                        count(State::Written),
                        count(State::Refused),
                        count(State::NotYet)
                    )?;
                }
            }
        }
        for section in &sections {
            write!(
                page,
                "\n## {}\n{}\n\n| {} | priority | state |\n",
                section.title,
                section.text,
                section.head.join(" | ")
            )?;
            writeln!(page, "|{}", "---|".repeat(section.head.len() + 2))?;
            for row in section.rows {
                writeln!(page, "| {} | {} | {} |", row.cells.join(" | "), row.priority, row.state.word())?;
            }
            if let Some(sentence) = thinly_tested(section) {
                write!(page, "\n{sentence}\n")?;
            }
        }
        Ok(page)
    }
}

/// How many cases a function of priority 1 or 2 should have: plain, with NULL, an edge of its type, and one more.
const CASE_COUNT_MIN: usize = 4;

/// Which functions of priority 1 and 2 have too few cases; `None` for the other tables.
fn thinly_tested(section: &Section<'_>) -> Option<String> {
    let is_thin = |row: &&Row| row.priority != "3" && row.case_count.is_some_and(|count| count < CASE_COUNT_MIN);
    section.rows.iter().find_map(|row| row.case_count)?;
    let names: Vec<&str> = section.rows.iter().filter(is_thin).map(|row| row.cells[0].as_str()).collect();
    Some(if names.is_empty() {
        format!("Every function of priority 1 and 2 has at least {CASE_COUNT_MIN} cases.")
    } else {
        format!("Of priority 1 and 2 with fewer than {CASE_COUNT_MIN} cases: {}.", names.join(", "))
    })
}

fn statements(root: &Path) -> Result<Vec<Row>> {
    let mut found = Vec::new();
    let faults = faults::cases();
    for fields in rows::read(root, "statements.csv")? {
        let [area, row, priority, state, cases] = fields.as_slice() else { bail!("statements.csv has five fields") };
        let state = match state.as_str() {
            "tested" => State::Tested,
            "written" => State::Written,
            "refused" => State::Refused,
            "not yet" => State::NotYet,
            other => bail!(
                "docs/coverage/statements.csv: `{row}` is `{other}`: expected tested, written, refused or not yet"
            ),
        };
        for case in cases.split_whitespace() {
            let is_there =
                root.join(case).exists() || CASES.iter().chain(&faults).any(|known| known.name.starts_with(case));
            ensure!(is_there, "docs/coverage/statements.csv: `{row}` names `{case}`, which is not there");
        }
        ensure!(
            state != State::Tested || !cases.trim().is_empty(),
            "docs/coverage/statements.csv: `{row}` is tested by nothing"
        );
        let places: Vec<String> = cases.split_whitespace().map(|case| format!("`{case}`")).collect();
        let cells = vec![area.clone(), escape(row), places.join(" ")];
        found.push(Row { cells, priority: priority.clone(), state, case_count: None });
    }
    Ok(found)
}

fn functions(root: &Path, program: &Program, data_files: &[String]) -> Result<Vec<Row>> {
    let rows = rows::read(root, "functions.csv")?;
    let names: Vec<&str> = rows.iter().map(|fields| fields[0].as_str()).collect();
    let statements_of_files: Vec<String> = data_files.iter().map(|text| statements_in(text)).collect();
    let mut found = Vec::new();
    for (fields, name) in rows.iter().zip(names) {
        let line = format!("CREATE TEMPORARY VIEW v AS SELECT {}();", function_word(name));
        let answer = program.ask(&line, |error| error.contains("no function `"))?;
        let pattern = Regex::new(&function_pattern(name)).with_context(|| format!("the pattern of `{name}`"))?;
        let count: usize = statements_of_files.iter().map(|text| pattern.find_iter(text).count()).sum();
        // An operator is no name that can be asked for: it is there when a case uses it.
        let answer = match answer {
            _ if is_operator(name) && count > 0 => Answer::Known,
            _ if is_operator(name) => Answer::Unknown,
            // A name that a passing case calls is there, whatever form a bare call has.
            _ if count > 0 => Answer::Known,
            answer => answer,
        };
        let cells = vec![format!("`{}`", escape(name)), count.to_string()];
        let state = State::of(answer, count > 0);
        found.push(Row { cells, priority: fields[2].clone(), state, case_count: Some(count) });
    }
    Ok(found)
}

/// The statements of a data file, without remarks, input rows and expected answers.
fn statements_in(text: &str) -> String {
    let mut out = String::new();
    let mut is_data = false;
    for line in text.lines() {
        if line.is_empty() {
            is_data = false;
        }
        is_data |= line == "----" || line.starts_with("input ");
        if !is_data && !line.starts_with('#') && !line.starts_with("only ") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The name to call: what stands in front of a remark in brackets or of alternatives.
fn function_word(name: &str) -> &str {
    name.split([' ', '(', '[', '.']).next().unwrap_or(name)
}

fn is_operator(name: &str) -> bool {
    !function_word(name).chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        || name.split(' ').next().is_some_and(|word| {
            ["IS", "NOT", "AND", "OR", "IN", "LIKE", "BETWEEN", "SIMILAR", "EXISTS", "CASE"].contains(&word)
        })
        || name.ends_with(" literal")
        || name.contains(['[', '.'])
        || name == "agg FILTER"
}

/// How a call looks in a data file.
pub(super) fn function_pattern(name: &str) -> String {
    let word = function_word(name);
    match name {
        "array[i]" => r"\w\[\d+\]".to_owned(),
        "map[k]" => r"\w\['".to_owned(),
        "row.field" => r"\w\.\w+\.\w".to_owned(),
        "row.*" => r"\w\.\w+\.\*".to_owned(),
        "agg FILTER" => r"(?i)\)\s*FILTER\s*\(".to_owned(),
        "COUNT(*)" => r"(?i)\bCOUNT\(\*\)".to_owned(),
        "CASE value" => r"(?i)\bCASE\s+[^W\s]".to_owned(),
        "CASE WHEN" => r"(?i)\bCASE\s+WHEN\b".to_owned(),
        "ARRAY" | "MAP" => format!(r"\b{word}\["),
        "LATERAL TABLE" => r"(?i)\bLATERAL\s+TABLE\s*\(".to_owned(),
        "IN (subquery)" => r"(?i)\bIN\s*\(\s*SELECT\b".to_owned(),
        "+ (unary)" | "- (unary)" => format!(r"[(,=\s]{}[a-z0-9]", regex::escape(word)),
        "FLOOR (time)" | "CEIL (time)" => format!(r"(?i)\b{word}\([^)]*\bTO\b"),
        _ if name.ends_with(" literal") => format!(r"(?i)\b{word}\s+'"),
        _ if name.ends_with("(TVF)") => format!(r"(?i)TABLE\s*\(\s*{word}\s*\("),
        _ if is_operator(name) && name.chars().any(char::is_alphabetic) => {
            format!(r"(?i)\b{}\b", name.replace(' ', r"\s+(NOT\s+)?"))
        }
        _ if is_operator(name) => format!(r"\s{}\s", regex::escape(name)),
        "CURRENT_DATE" | "CURRENT_TIME" | "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP" | "PI" => {
            format!(r"(?i)\b{word}\b")
        }
        _ => {
            let names: Vec<String> = name.split(" / ").map(|name| regex::escape(function_word(name))).collect();
            format!(r"(?i)\b({})\s*\(", names.join("|"))
        }
    }
}

fn settings(root: &Path, program: &Program, cases: &[String]) -> Result<Vec<Row>> {
    let rows = rows::read(root, "settings.csv")?;
    let mut found = Vec::new();
    for fields in &rows {
        let answer = program.ask(&format!("SET '{}' = '{}';", fields[0], fields[2]), |_| false)?;
        let key = format!("'{}'", fields[0]);
        let is_tested = cases.iter().any(|text| text.contains(&key));
        let cells = vec![format!("`{}`", fields[0])];
        found.push(Row { cells, priority: fields[1].clone(), state: State::of(answer, is_tested), case_count: None });
    }
    Ok(found)
}

fn options(root: &Path, program: &Program, cases: &[String]) -> Result<Vec<Row>> {
    let rows = rows::read(root, "options.csv")?;
    let mut found = Vec::new();
    for fields in &rows {
        let statement = option_statement(&fields[0], &fields[1], &fields[3]);
        let answer = program.ask(&statement, |error| error.contains("no metadata"))?;
        let pattern = Regex::new(&option_pattern(&fields[0], &fields[1]))?;
        let is_tested = cases.iter().any(|text| pattern.is_match(text));
        let cells = vec![escape(&fields[0]), format!("`{}`", escape(&fields[1]))];
        found.push(Row { cells, priority: fields[2].clone(), state: State::of(answer, is_tested), case_count: None });
    }
    Ok(found)
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The text of every test file under the folders.
fn texts(root: &Path, folders: &[&str], extensions: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in crate::tidy::files(root)? {
        let relative = path.strip_prefix(root)?;
        let is_case = folders.iter().any(|folder| relative.starts_with(folder))
            && path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e));
        if is_case {
            found.push(fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{function_pattern, is_operator, statements_in};
    use regex::Regex;

    #[test]
    fn remarks_rows_and_answers_are_no_cases() {
        let file = "# description: UPPER\n\njob q # why\nSELECT UPPER(a) FROM t\n\ninput t\n{\"a\":\"UPPER(\"}\n\ntable q\n----\nUPPER(\n\n";
        assert_eq!(statements_in(file), "\njob q # why\nSELECT UPPER(a) FROM t\n\n\ntable q\n\n");
    }

    #[test]
    fn a_function_is_found_where_it_is_used() {
        let cases = [
            ("UPPER", "SELECT UPPER(a)", true),
            ("UPPER", "SELECT MY_UPPER(a)", false),
            ("IS NULL", "WHERE a IS NULL", true),
            ("COUNT(*)", "SELECT COUNT(*)", true),
            ("DATE literal", "SELECT DATE '2024-01-01'", true),
            ("CASE WHEN", "CASE WHEN a THEN b END", true),
            ("TUMBLE (TVF)", "FROM TABLE(TUMBLE(TABLE t, ...))", true),
            ("map[k]", "SELECT m['a']", true),
            ("<>", "WHERE a <> b", true),
        ];
        for (name, line, expected) in cases {
            assert_eq!(Regex::new(&function_pattern(name)).unwrap().is_match(line), expected, "{name} in {line}");
        }
        assert!(is_operator("IS NULL") && is_operator("||") && !is_operator("UPPER"));
    }
}
