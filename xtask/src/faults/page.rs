//! `docs/faults.md`: what runs of the matrix and of random lists found, added up over runs.
//!
//! The page is its own memory: a new run replaces the rows of the cases that it ran, appends a line for itself, and adds its sums to
//! those that stand there. Whoever wants to begin anew removes the page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::RANDOM;
use super::totals::{OfSink, Totals};
use crate::e2e::runner::Outcome;

const MATRIX: &str = "## Rows of the matrix";
const RUNS: &str = "## Runs";
const STEPS: &str = "## Deaths by step";
const SINKS: &str = "## Sinks";
/// Written by hand, and kept as it is.
const REMARKS: &str = "## Remarks";

/// One run of `cargo xtask faults`.
pub(crate) struct Run<'a> {
    /// The command line without the program.
    pub(crate) command: String,
    /// What its draws began with.
    pub(crate) seed: u64,
    /// How long it took.
    pub(crate) minutes: u64,
    /// What became of its cases.
    pub(crate) outcomes: &'a [Outcome],
    /// What it did.
    pub(crate) totals: &'a Totals,
}

/// The page with a run added; `old` is the page before, or nothing.
pub(crate) fn page(old: &str, run: &Run<'_>) -> Result<String, std::fmt::Error> {
    let mut cases: BTreeMap<String, [String; 3]> = rows(old, MATRIX)
        .filter_map(|cells| {
            let [name, result, seconds, seed] = cells.try_into().ok()?;
            Some((name, [result, seconds, seed]))
        })
        .collect();
    for outcome in run.outcomes.iter().filter(|outcome| outcome.name != RANDOM.name) {
        let result = if outcome.is_passed { "passed" } else { "FAILED" };
        let cells = [result.to_owned(), format!("{:.0}", outcome.seconds), run.seed.to_string()];
        cases.insert(format!("`{}`", outcome.name), cells);
    }
    let mut page = format!(
        "# Faults\n\nMade by `cargo xtask faults --write`: wiesel against real Kafka, PostgreSQL, Elasticsearch and files, with a fault in each run. \
         Every row carries its\npartition and offset; every comparison is of what a sink shows with what PostgreSQL computes over the dumped topic: while faults \
         happen\n(nothing wrong, nothing twice) and at the end (everything, once, nothing left over). A kill counts only while rows flow.\n\n\
         {MATRIX}\n| case | result | seconds | seed |\n|---|---|---|---|\n"
    );
    for (name, [result, seconds, seed]) in &cases {
        writeln!(page, "| {name} | {result} | {seconds} | {seed} |")?;
    }
    write!(
        page,
        "\n{RUNS}\nCases are rows of the matrix; a list is a process with four loops (files, Kafka, PostgreSQL, Elasticsearch) and 100 actions drawn \
         from\nthe seed: ingest, compare, kill several times, restart a server, break the network.\n\n\
         | command | minutes | cases | failed | lists | failed | rows | kills | at a step | from outside | restarts of servers | faults of the network | comparisons |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    )?;
    for cells in rows(old, RUNS) {
        writeln!(page, "| {} |", cells.join(" | "))?;
    }
    let count = |is_random: bool, only_failed: bool| {
        let is_meant = |o: &&Outcome| (o.name == RANDOM.name) == is_random && !(only_failed && o.is_passed);
        run.outcomes.iter().filter(is_meant).count()
    };
    let totals = run.totals;
    writeln!(
        page,
        "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        run.command,
        run.minutes,
        count(false, false),
        count(false, true),
        count(true, false),
        count(true, true),
        totals.rows,
        totals.kills + totals.at_points(),
        totals.at_points(),
        totals.kills,
        totals.server_restarts,
        totals.network_faults,
        totals.checks()
    )?;
    write!(page, "\n{STEPS}\n| step | deaths |\n|---|---|\n")?;
    let mut steps: BTreeMap<String, u64> = BTreeMap::new();
    let found = totals.points.iter().map(|(name, count)| vec![format!("`{name}`"), count.to_string()]);
    for cells in rows(old, STEPS).chain(found) {
        if let [name, count] = cells.as_slice() {
            *steps.entry(name.clone()).or_default() += count.parse().unwrap_or(0);
        }
    }
    for (name, count) in &steps {
        writeln!(page, "| {name} | {count} |")?;
    }
    write!(
        page,
        "\n{SINKS}\n| sink | comparisons | with rows wrong or twice | with rows missing | with something left over |\n|---|---|---|---|---|\n"
    )?;
    let mut sinks: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    let found = totals.sinks.iter().map(|(name, OfSink { checks, doubled, lost, leftovers })| {
        let counts = [checks, doubled, lost, leftovers].map(u64::to_string);
        [vec![(*name).to_owned()], counts.to_vec()].concat()
    });
    for cells in rows(old, SINKS).chain(found) {
        let Some((name, counts)) = cells.split_first() else { continue };
        for (sum, count) in sinks.entry(name.clone()).or_default().iter_mut().zip(counts) {
            *sum += count.parse().unwrap_or(0);
        }
    }
    for (name, [checks, doubled, lost, leftovers]) in &sinks {
        writeln!(page, "| {name} | {checks} | {doubled} | {lost} | {leftovers} |")?;
    }
    if let Some(start) = old.find(REMARKS) {
        write!(page, "\n{}", &old[start..])?;
    }
    Ok(page)
}

/// The rows of the table below a heading, without its head.
fn rows<'a>(page: &'a str, heading: &str) -> impl Iterator<Item = Vec<String>> + use<'a> {
    let heading = heading.to_owned();
    page.lines()
        .skip_while(move |line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::{Run, page};
    use crate::e2e::runner::Outcome;
    use crate::faults::totals::{OfSink, Totals};

    #[test]
    fn a_second_run_replaces_its_cases_and_adds_its_sums() {
        let mut totals = Totals { kills: 2, ..Totals::default() };
        totals.points.insert("sink.commit", 3);
        totals.sinks.insert("files", OfSink { checks: 4, doubled: 0, lost: 1, leftovers: 0 });
        let outcome = |name, is_passed| Outcome { name, is_passed, seconds: 7.2 };
        let first = [outcome("fault_01", false), outcome("fault_02", true), outcome("random_list", true)];
        let run = |seed, outcomes| Run {
            command: format!("faults --seed {seed}"),
            seed,
            minutes: 1,
            outcomes,
            totals: &totals,
        };
        let old = page("", &run(1, &first)).unwrap();
        let old = old + "\n## Remarks\n- Kept.\n";
        let new = page(&old, &run(2, &[outcome("fault_01", true)])).unwrap();
        for line in [
            "| `fault_01` | passed | 7 | 2 |",
            "| `fault_02` | passed | 7 | 1 |",
            "| `faults --seed 1` | 1 | 2 | 1 | 1 | 0 | 0 | 5 | 3 | 2 | 0 | 0 | 4 |",
            "| `faults --seed 2` | 1 | 1 | 0 | 0 | 0 | 0 | 5 | 3 | 2 | 0 | 0 | 4 |",
            "| `sink.commit` | 6 |",
            "| files | 8 | 0 | 2 | 0 |",
            "- Kept.",
        ] {
            assert!(new.lines().any(|found| found == line), "`{line}` is missing in:\n{new}");
        }
        assert_eq!(new.matches("fault_01").count(), 1);
    }
}
