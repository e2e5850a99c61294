//! The SQL of the book and of the README is run: what a page shows, works.
//!
//! A block's word behind the back-ticks says what it is. The `sql` blocks of a page are one script, which the program must take
//! (`wiesel check --offline`); a `slt` block is a data file, run in all the ways in which those of `tests/sql` run. Other blocks hold no
//! SQL, which is checked, so none can hide behind another word. A block stands in its script at the line that it has in the page, so an
//! error names the page's line.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wiesel_slt::run_file_in_all_ways;

/// A fenced block.
#[derive(Debug, PartialEq)]
struct Block {
    word: String,
    /// Its first line, from 1.
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(word), None) => open = Some(Block { word: word.to_owned(), line: index + 2, text: String::new() }),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The pages written by hand, with what they hold; generated ones lie in folders of their own and show what other tests run.
fn pages() -> Vec<(PathBuf, Vec<Block>)> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("docs/book/src")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.push(root().join("README.md"));
    files.sort();
    files.into_iter().map(|file| (file.clone(), blocks(&fs::read_to_string(&file).unwrap()))).collect()
}

/// The blocks of a kind as one text, each at the lines that it has in the page.
fn script<'a>(blocks: impl Iterator<Item = &'a Block>) -> String {
    let mut text = String::new();
    for block in blocks {
        let line_count = text.lines().count();
        text.push_str(&"\n".repeat((block.line - 1).saturating_sub(line_count)));
        text.push_str(&block.text);
    }
    text
}

#[test]
fn the_sql_blocks_of_every_page_are_a_script_that_plans() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    let mut failures = Vec::new();
    for (page, blocks) in pages() {
        let sql = script(blocks.iter().filter(|block| block.word == "sql"));
        if sql.is_empty() {
            continue;
        }
        let file = folder.path().join(page.file_name().unwrap());
        fs::write(&file, sql).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_wiesel")).args(["check", "--offline"]).arg(&file).output().unwrap();
        checked += 1;
        if !output.status.success() {
            failures.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked >= 4, "only {checked} pages with SQL were found");
}

#[test]
fn the_slt_blocks_of_every_page_give_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = 0;
    let mut failures = Vec::new();
    for (page, blocks) in pages() {
        for block in blocks.iter().filter(|block| block.word == "slt") {
            assert!(block.text.contains("\n----\n"), "{}:{}: expects nothing", page.display(), block.line);
            let file = folder.path().join("block.slt");
            fs::write(&file, script(std::iter::once(block))).unwrap();
            for failure in run_file_in_all_ways(&file).failures {
                failures.push(format!("{}:{}: {}", page.display(), failure.line, failure.message));
            }
            run += 1;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(run >= 8, "only {run} blocks were found");
}

#[test]
fn blocks_of_other_words_hold_no_sql() {
    const STATEMENTS: [&str; 7] = ["CREATE ", "INSERT ", "SELECT ", "SET '", "WITH ", "EXECUTE ", "DROP "];
    for (page, blocks) in pages() {
        for block in blocks.iter().filter(|block| !["sql", "slt"].contains(&block.word.as_str())) {
            let place = format!("{}:{}", page.display(), block.line);
            assert!(["sh", "text"].contains(&block.word.as_str()), "{place}: a block of `{}`", block.word);
            let is_sql = |line: &str| STATEMENTS.iter().any(|word| line.trim_start().starts_with(word));
            assert!(!block.text.lines().any(is_sql), "{place}: SQL stands in a block of sql or slt");
        }
    }
}

#[test]
fn a_block_keeps_its_place_in_the_script() {
    let page = "text\n```sql\nSELECT 1;\n```\n\n```sh\nls\n```\n```sql\nSELECT 2;\n```\n";
    let found = blocks(page);
    assert_eq!(
        found.iter().map(|b| (b.word.as_str(), b.line)).collect::<Vec<_>>(),
        [("sql", 3), ("sh", 7), ("sql", 10)]
    );
    let sql = script(found.iter().filter(|b| b.word == "sql"));
    assert_eq!(sql.lines().collect::<Vec<_>>(), ["", "", "SELECT 1;", "", "", "", "", "", "", "SELECT 2;"]);
}
