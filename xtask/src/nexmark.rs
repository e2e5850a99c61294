//! The Nexmark queries on both engines, over the same bytes.
//!
//! `tests/nexmark/export.sql` writes the events of the built-in source to files once. `ddl_files.sql` and a query file then run on wiesel
//! and on Flink's gateway with two changes in the text: the place of the files, and a print table for the result. Compared are the
//! printed changes as a table: every `+I` and `+U` counts one, every `-U` and `-D` takes one back. A file `qN.flink.sql` says the query
//! in other words for Flink, where its distribution lacks the connector.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use regex::Regex;

use crate::e2e::postgres::PostgresClient;
use crate::services::flink_gateway::FlinkGateway;
use crate::services::postgres::{DATABASE, PASSWORD, USER};

/// What came of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Both gave this many rows in the end, and the same ones.
    Equal(i64),
    /// The first few rows that only one of them gave.
    Differ(Vec<String>),
    /// wiesel ended with an error.
    Failed(String),
    /// Both ran; what they give depends on the clock.
    NotCompared,
    /// Both refuse it.
    Refused,
}

/// Queries whose answer depends on the clock and has no other wording.
const READS_CLOCK: [&str; 1] = ["q12"];
/// What Flink refuses, and wiesel as well.
const REFUSED: [&str; 1] = ["q6"];
const DIFFERENCES_SHOWN: usize = 6;

/// Whose text it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Wiesel,
    Flink,
}

/// The folder of the queries and one file of events.
pub(crate) struct Nexmark<'a> {
    pub(crate) root: &'a Path,
    pub(crate) binary: &'a Path,
    pub(crate) folder: &'a Path,
    /// Where PostgreSQL listens, for the side table of q13.
    pub(crate) postgres: String,
}

/// Rows of the side table.
const SIDE_ROW_COUNT: u32 = 10_000;
const SIDE_FILE: &str = "side_input";

impl Nexmark<'_> {
    /// The names of all queries, by number.
    pub(crate) fn queries(&self) -> Result<Vec<String>> {
        let mut names: Vec<(u32, String)> = Vec::new();
        for entry in fs::read_dir(self.root.join("tests/nexmark"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix('q').and_then(|rest| rest.strip_suffix(".sql")).and_then(|n| n.parse().ok());
            if let Some(number) = number {
                names.push((number, format!("q{number}")));
            }
        }
        names.sort();
        Ok(names.into_iter().map(|(_, name)| name).collect())
    }

    /// Writes the events to files of JSON lines.
    pub(crate) fn export(&self, event_count: u64) -> Result<()> {
        let job = self.text("export.sql")?;
        let number = Regex::new(r"'events\.num' = '\d+'")?;
        ensure!(number.is_match(&job), "tests/nexmark/export.sql sets 'events.num'");
        let job = number.replace(&job, format!("'events.num' = '{event_count}'"));
        self.run_wiesel("export", &job).map(drop)
    }

    /// Fills q13's side table, in PostgreSQL for wiesel and in a file for Flink.
    pub(crate) fn fill_side_table(&self, client: &mut PostgresClient) -> Result<()> {
        client.execute("CREATE TABLE side_input (key BIGINT PRIMARY KEY, value TEXT)")?;
        client.execute(&format!(
            "INSERT INTO side_input SELECT i, 'text ' || i FROM generate_series(0, {}) AS i",
            SIDE_ROW_COUNT - 1
        ))?;
        let lines = (0..SIDE_ROW_COUNT).map(|i| format!("{{\"key\":{i},\"value\":\"text {i}\"}}\n"));
        fs::write(self.folder.join(SIDE_FILE), lines.collect::<String>()).context("write the side table")
    }

    /// Runs one query on both engines.
    pub(crate) fn compare(&self, gateway: &FlinkGateway, query: &str) -> Result<Verdict> {
        let job = self.job(query, Engine::Wiesel)?;
        if REFUSED.contains(&query) {
            let is_refused =
                self.run_wiesel(query, &job).is_err_and(|error| error.to_string().contains("not supported"));
            return Ok(if is_refused { Verdict::Refused } else { Verdict::Failed("it is to be refused".to_owned()) });
        }
        let ours = match self.run_wiesel(query, &job) {
            Ok(text) => text,
            Err(error) => return Ok(Verdict::Failed(format!("{error:#}"))),
        };
        let ours = folded(ours.lines().map(|line| line.split_once("> ").map_or(line, |(_, row)| row)));
        let session = gateway.session()?;
        for statement in self.job(query, Engine::Flink)?.split(";\n").map(str::trim).filter(|s| !s.is_empty()) {
            session.run(statement).with_context(|| format!("Flink on {query}: {statement}"))?;
        }
        let printed = gateway.printed(&format!("nexmark-{query}"))?;
        let theirs = folded(printed.iter().map(String::as_str));
        if READS_CLOCK.contains(&query) {
            return Ok(Verdict::NotCompared);
        }
        if ours == theirs {
            return Ok(Verdict::Equal(ours.values().sum()));
        }
        let only = |name: &str, left: &BTreeMap<String, i64>, right: &BTreeMap<String, i64>| -> Vec<String> {
            let rows = left.iter().filter(|(row, count)| right.get(*row) != Some(count));
            rows.take(DIFFERENCES_SHOWN).map(|(row, count)| format!("{name}: {count} x {row}")).collect()
        };
        let mut differences = vec![format!("wiesel gives {} rows, flink {}", ours.len(), theirs.len())];
        differences.extend(only("wiesel", &ours, &theirs));
        differences.extend(only("flink ", &theirs, &ours));
        Ok(Verdict::Differ(differences))
    }

    /// The text of a query for one engine: tables, views, the query.
    fn job(&self, query: &str, engine: Engine) -> Result<String> {
        let other = format!("{query}.flink.sql");
        let has_other = self.root.join("tests/nexmark").join(&other).exists();
        let file = if engine == Engine::Flink && has_other { other } else { format!("{query}.sql") };
        let sink = Regex::new(
            r"(?s)(CREATE TABLE nexmark_q\d+ \(.*?\n\)) (?:PARTITIONED BY \([^)]*\) )?WITH \(\s*'connector' = '(?:blackhole|filesystem)'.*?\);",
        )?;
        let print = format!("$1 WITH ('connector' = 'print', 'print-identifier' = 'nexmark-{query}');");
        let text = self.text(&file)?;
        Ok(format!(
            "SET 'parallelism.default' = '1';\n{}\n{}",
            self.text("ddl_files.sql")?,
            sink.replace_all(&text, print.as_str())
        ))
    }

    /// A file of the folder without comments, which hold semicolons, and with the events where they are.
    fn text(&self, file: &str) -> Result<String> {
        let path = self.root.join("tests/nexmark").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
        let events = format!("'path' = '{}'", self.folder.join("events").display());
        let side = format!("'path' = '{}'", self.folder.join(SIDE_FILE).display());
        let text = text
            .replace("'path' = '/tmp/nexmark'", &events)
            .replace("'path' = '/tmp/nexmark_side_input'", &side)
            .replace("//localhost:5432/nexmark'", &format!("//{}/{DATABASE}'", self.postgres))
            .replace(
                "'username' = 'nexmark', 'password' = 'nexmark'",
                &format!("'username' = '{USER}', 'password' = '{PASSWORD}'"),
            );
        Ok(text.lines().filter(|line| !line.trim_start().starts_with("--")).map(|line| format!("{line}\n")).collect())
    }

    fn run_wiesel(&self, name: &str, job: &str) -> Result<String> {
        let file: PathBuf = self.folder.join(format!("{name}.sql"));
        fs::write(&file, job)?;
        let output = Command::new(self.binary)
            .args(["run", "--fresh"])
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .context("run wiesel")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "wiesel on {name} ended with {}:\n{errors}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Printed changes (`+I[...]`) as a table: row and how often.
fn folded<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, i64> {
    let mut table = BTreeMap::new();
    for line in lines {
        let Some((kind, row)) = line.split_at_checked(2) else { continue };
        let change = match kind {
            "+I" | "+U" => 1,
            "-U" | "-D" => -1,
            _ => continue,
        };
        *table.entry(row.to_owned()).or_insert(0) += change;
    }
    table.retain(|_, count| *count != 0);
    table
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn printed_changes_fold_to_the_rows_that_are_left() {
        let table = folded(["+I[a, 1]", "-U[a, 1]", "+U[a, 2]", "+I[b, 1]", "-D[b, 1]", "a note"].into_iter());
        assert_eq!(table.into_iter().collect::<Vec<_>>(), [("[a, 2]".to_owned(), 1)]);
    }
}
