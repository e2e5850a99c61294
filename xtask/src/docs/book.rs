//! The reference of the book: a page per statement, function and connector, and their places in `SUMMARY.md`.
//!
//! Nothing is written here that stands elsewhere: a scalar function says what it does in the registry, a connector lists its options at the
//! head of its module, the rest has a line in `docs/coverage/meanings.csv`; examples are taken from the data files that the tests run, so
//! they are true. Only what the program has gets a page.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;

use super::Page;
use super::coverage::{Coverage, Row, State, function_pattern};
use super::examples::Examples;
use super::probe::Program;
use super::rows;

/// Where the generated pages lie; whatever else is in there is removed.
pub(super) const FOLDER: &str = "docs/book/src/reference";
const SUMMARY: &str = "docs/book/src/SUMMARY.md";
const SUMMARY_MARK: &str = "# Reference\n";

/// A page of a connector or format: its name, the file whose head has the options, and its names in `options.csv`.
const CONNECTORS: &[(&str, &str, &[&str])] = &[
    ("kafka and upsert-kafka", "kafka/mod.rs", &["kafka", "upsert-kafka"]),
    ("filesystem and parquet", "filesystem/mod.rs", &["filesystem", "format:parquet"]),
    ("jdbc", "jdbc/mod.rs", &["jdbc"]),
    (
        "elasticsearch-6, -7 and -8, opensearch",
        "elasticsearch/mod.rs",
        &["elasticsearch-6", "elasticsearch-7", "elasticsearch-8"],
    ),
    ("datagen", "datagen/mod.rs", &["datagen"]),
    ("print", "print/mod.rs", &["print"]),
    ("blackhole", "blackhole/mod.rs", &["blackhole"]),
    ("nexmark", "nexmark/mod.rs", &[]),
    ("json", "formats/json/mod.rs", &["format:json"]),
    ("csv", "formats/csv/mod.rs", &["format:csv"]),
    ("raw", "formats/raw.rs", &["format:raw"]),
    ("avro and avro-confluent", "formats/avro/mod.rs", &["format:avro", "format:avro-confluent"]),
    (
        "debezium-json, canal-json, maxwell-json",
        "formats/change_json/mod.rs",
        &["format:debezium-json", "format:canal-json", "format:maxwell-json"],
    ),
];

/// Categories of `functions.csv` whose functions need more than one row to show what they do.
const OF_MANY_ROWS: [&str; 6] =
    ["aggregate", "grouping", "window-tvf", "group-window", "table-function", "match-recognize"];

/// One entry of a section: its title and its file below the section's folder.
struct Entry {
    title: String,
    file: String,
    group: String,
    text: String,
}

/// Every page of the reference, and the list of pages with them in it.
pub(super) fn pages(root: &Path, program: &Program, coverage: &Coverage) -> Result<Vec<Page>> {
    let mut meanings = meanings(root)?;
    registered(program, &mut meanings)?;
    let examples = Examples::read(root)?;
    let sections = [
        ("Statements and queries", "statements", statements(&coverage.statements, &meanings, &examples)?),
        ("Functions", "functions", functions(root, &coverage.functions, &meanings, &examples)?),
        ("Connectors and formats", "connectors", connectors(root, &coverage.options)?),
    ];
    let summary = fs::read_to_string(root.join(SUMMARY)).with_context(|| format!("read `{SUMMARY}`"))?;
    let head = summary.split(SUMMARY_MARK).next().unwrap_or_default().trim_end();
    let mut list = format!("{head}\n\n{SUMMARY_MARK}\n");
    let mut pages = Vec::new();
    for (title, folder, entries) in sections {
        list.push_str(&format!("- [{title}](reference/{folder}/index.md)\n"));
        let mut index = format!("# {title}\n\nMade by `cargo xtask docs`.\n");
        let mut group = "";
        let mut known = BTreeMap::new();
        for entry in &entries {
            if entry.group != group {
                group = &entry.group;
                index.push_str(&format!("\n## {group}\n"));
            }
            let (name, file) = (escaped(&entry.title), &entry.file);
            index.push_str(&format!("- [{name}]({file})\n"));
            list.push_str(&format!("  - [{name}](reference/{folder}/{file})\n"));
            let text = format!("# {}\n\n{}\n", escaped(&entry.title), entry.text.trim_end());
            pages.push(Page { path: format!("{FOLDER}/{folder}/{file}"), text });
            ensure!(known.insert(file, &entry.title).is_none(), "two pages are called `{file}`");
        }
        pages.push(Page { path: format!("{FOLDER}/{folder}/index.md"), text: index });
    }
    pages.push(Page { path: SUMMARY.to_owned(), text: list });
    Ok(pages)
}

/// What is said of each `(area, name)` that no code says.
fn meanings(root: &Path) -> Result<BTreeMap<(String, String), String>> {
    let path = root.join("docs/coverage/meanings.csv");
    let text = fs::read_to_string(&path).context("read `docs/coverage/meanings.csv`")?;
    let mut found = BTreeMap::new();
    for line in text.lines().skip(1) {
        let mut fields = line.splitn(3, ';');
        let (Some(area), Some(name), Some(meaning)) = (fields.next(), fields.next(), fields.next()) else {
            bail!("docs/coverage/meanings.csv: `{line}` has no three fields");
        };
        found.insert((area.to_owned(), name.to_owned()), meaning.to_owned());
    }
    Ok(found)
}

/// What the program says of its scalar functions, where no line of the file does.
fn registered(program: &Program, meanings: &mut BTreeMap<(String, String), String>) -> Result<()> {
    for line in program.output(&["functions"])?.lines() {
        let (name, meaning) = line.split_once("  ").with_context(|| format!("a name and its meaning in `{line}`"))?;
        meanings.entry(("function".to_owned(), name.to_owned())).or_insert_with(|| meaning.to_owned());
    }
    Ok(())
}

fn statements(rows: &[Row], meanings: &BTreeMap<(String, String), String>, examples: &Examples) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for row in rows {
        let [area, name, places] = row.cells.as_slice() else { bail!("a row of statements has three cells") };
        let is_there = matches!(row.state, State::Tested | State::Written);
        if !["statement", "query"].contains(&area.as_str()) || !is_there {
            continue;
        }
        let name = name.replace("\\|", "|");
        let meaning = meanings
            .get(&(area.clone(), name.clone()))
            .with_context(|| format!("docs/coverage/meanings.csv says nothing of {area} `{name}`"))?;
        let mut text = sentence(meaning);
        let cases: Vec<&str> = places.split_whitespace().map(|place| place.trim_matches('`')).collect();
        if let Some(example) = examples.of_places(&cases, area == "query") {
            text.push_str(&example);
        }
        text.push_str(&format!("\nTests: {places}\n"));
        let group = if area == "query" { "Queries" } else { "Statements" };
        entries.push(Entry { file: file_name(&name), title: name, group: group.to_owned(), text });
    }
    Ok(entries)
}

fn functions(
    root: &Path,
    rows: &[Row],
    meanings: &BTreeMap<(String, String), String>,
    examples: &Examples,
) -> Result<Vec<Entry>> {
    let categories: BTreeMap<String, String> =
        rows::read(root, "functions.csv")?.into_iter().map(|mut fields| (fields.remove(0), fields.remove(0))).collect();
    let mut entries = Vec::new();
    for row in rows.iter().filter(|row| matches!(row.state, State::Tested | State::Written)) {
        let name = row.cells[0].trim_matches('`').replace("\\|", "|");
        let meaning = meanings.get(&("function".to_owned(), name.clone())).with_context(|| {
            format!("neither the registry nor docs/coverage/meanings.csv says anything of `{name}`")
        })?;
        let mut text = sentence(meaning);
        let pattern = Regex::new(&function_pattern(&name)).with_context(|| format!("the pattern of `{name}`"))?;
        let group = categories.get(&name).cloned().unwrap_or_default();
        let has_values = !OF_MANY_ROWS.contains(&group.as_str());
        if let Some(example) = examples.of_function(&name, &pattern, has_values) {
            text.push_str(&example);
        }
        entries.push(Entry { file: file_name(&name), title: name, group, text });
    }
    Ok(entries)
}

fn connectors(root: &Path, rows: &[Row]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, path, areas) in CONNECTORS {
        let path = format!("crates/connectors/src/{path}");
        let source = fs::read_to_string(root.join(&path)).with_context(|| format!("read `{path}`"))?;
        let head: Vec<&str> = source
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect();
        let mut text = head_for_users(&head);
        let named = |state: State| {
            let is_of = |row: &&Row| areas.contains(&row.cells[0].as_str()) && row.state == state;
            rows.iter().filter(is_of).map(|row| row.cells[1].clone()).collect::<Vec<_>>().join(", ")
        };
        for (state, words) in
            [(State::Refused, "Refused by name, of Flink's"), (State::NotYet, "Not known here, of Flink's")]
        {
            let options = named(state);
            if !options.is_empty() {
                text.push_str(&format!("\n\n{words}: {options}."));
            }
        }
        let group = if path.contains("/formats/") { "Formats" } else { "Connectors" };
        entries.push(Entry { title: (*name).to_owned(), file: file_name(name), group: group.to_owned(), text });
    }
    Ok(entries)
}

/// The head of a connector's module without its list of source files, and without the names of files in brackets.
fn head_for_users(head: &[&str]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut is_list_of_files = false;
    for line in head {
        is_list_of_files = line.starts_with("| file |") || (is_list_of_files && line.starts_with('|'));
        if !is_list_of_files {
            lines.push((*line).to_owned());
        }
    }
    let text = lines.join("\n");
    // Reasons for the code's readers stand at the end.
    let text = text.split("\nWHY-NOT").next().unwrap_or_default().to_owned();
    let file = Regex::new(r" \((the table in )?`[a-z_]+(\.rs|::[A-Z_]+)?`\)").expect("the pattern is constant");
    let link = Regex::new(r"\[(`[^`]+`)\]([^(]|$)").expect("the pattern is constant");
    let see = Regex::new(r", see `[a-z_]+\.rs`").expect("the pattern is constant");
    let text = link.replace_all(&see.replace_all(&file.replace_all(&text, ""), ""), "$1$2").into_owned();
    let mut text = text.replace("\n\n\n", "\n\n");
    if let Some(first) = text.get(..1) {
        text = first.to_uppercase() + &text[1..];
    }
    text.trim().to_owned()
}

/// `FORM: what it does` as a sentence.
fn sentence(meaning: &str) -> String {
    match meaning.split_once(": ") {
        Some((form, rest)) => format!("`{form}`: {rest}.\n"),
        None => format!("{meaning}.\n"),
    }
}

/// A name as a heading or a link's text.
fn escaped(name: &str) -> String {
    name.replace('<', "&lt;").replace('*', "\\*").replace('[', "\\[").replace(']', "\\]").replace('_', "\\_")
}

/// A name as a file's: signs by their words.
fn file_name(name: &str) -> String {
    const SIGNS: [(&str, &str); 10] = [
        ("||", " concatenate "),
        ("<>", " not-equal "),
        (">=", " greater-or-equal "),
        ("<=", " less-or-equal "),
        (">", " greater "),
        ("<", " less "),
        ("=", " equal "),
        ("+", " plus "),
        ("%", " remainder "),
        ("*", " star "),
    ];
    let mut text = match name {
        "-" | "- (unary)" => name.replace('-', "minus"),
        "/" => "divide".to_owned(),
        "*" => "times".to_owned(),
        _ => name.to_owned(),
    };
    for (sign, word) in SIGNS {
        text = text.replace(sign, word);
    }
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { ' ' };
    let text: String = text.chars().map(word).collect();
    format!("{}.md", text.split_whitespace().collect::<Vec<_>>().join("-"))
}

#[cfg(test)]
mod tests {
    use super::{file_name, head_for_users, sentence};

    #[test]
    fn names_are_files_without_signs() {
        let cases = [
            ("<>", "not-equal.md"),
            ("- (unary)", "minus-unary.md"),
            ("/", "divide.md"),
            ("COUNT(*)", "count-star.md"),
            ("ADD / REMOVE / SHOW JAR(S)", "add-remove-show-jar-s.md"),
            ("DATE_FORMAT", "date_format.md"),
        ];
        for (name, expected) in cases {
            assert_eq!(file_name(name), expected, "{name}");
        }
    }

    #[test]
    fn the_head_of_a_connector_loses_what_only_its_code_needs() {
        let head = [
            "print: lines (`sink.rs`) of [`Change`], see `flush.rs`.",
            "",
            "| file | idea |",
            "|---|---|",
            "| `a` | b |",
            "",
            "End.",
        ];
        assert_eq!(head_for_users(&head), "Print: lines of `Change`.\n\nEnd.");
    }

    #[test]
    fn a_meaning_is_a_form_and_a_sentence() {
        assert_eq!(sentence("ABS(x): the size"), "`ABS(x)`: the size.\n");
        assert_eq!(sentence("windows that grow"), "windows that grow.\n");
    }
}
