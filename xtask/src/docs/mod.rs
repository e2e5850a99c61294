//! Pages that a command makes: `docs/coverage.md`, the list in `docs/errors.md`, and the reference of the book.
//!
//! The rows to be covered lie in `docs/coverage/*.csv` (fields divided by `;`): the functions and options of Flink's dialect, and
//! the statements, settings, seed features and faults. What the program makes of a row is asked of the program itself, through
//! `wiesel check --offline`: a function or option that it does not know, one that it refuses by name, one that it takes. What is tested is looked up in the
//! data files, the end-to-end cases and the examples. Statement rows name their cases, and a case that is not there is an error here.

mod book;
mod coverage;
mod examples;
mod options;
mod probe;
mod rows;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use probe::Program;

/// A page and what it should hold.
struct Page {
    path: String,
    text: String,
}

/// Writes the pages, or with `check_only` fails when one of them would change.
pub(crate) fn run(root: &Path, binary: &Path, check_only: bool) -> Result<()> {
    let program = Program::new(binary);
    let coverage = coverage::gather(root, &program)?;
    let mut pages = book::pages(root, &program, &coverage)?;
    pages.push(Page { path: "docs/coverage.md".to_owned(), text: coverage.page()? });
    pages.push(Page { path: "docs/errors.md".to_owned(), text: errors(root, &program)? });
    let mut stale = Vec::new();
    for page in &pages {
        let path = root.join(&page.path);
        if fs::read_to_string(&path).unwrap_or_default() == page.text {
            continue;
        }
        if check_only {
            stale.push(page.path.clone());
        } else {
            let folder = path.parent().context("a page lies in a folder")?;
            fs::create_dir_all(folder).with_context(|| format!("make `{}`", folder.display()))?;
            fs::write(&path, &page.text).with_context(|| format!("write `{}`", page.path))?;
            println!("{}: written", page.path);
        }
    }
    for path in crate::tidy::files(&root.join(book::FOLDER))? {
        let name = path.strip_prefix(root)?.display().to_string();
        if pages.iter().any(|page| page.path == name) {
            continue;
        }
        if check_only {
            stale.push(name);
        } else {
            fs::remove_file(&path).with_context(|| format!("remove `{name}`"))?;
            println!("{name}: removed");
        }
    }
    ensure!(stale.is_empty(), "{} would change: run `cargo xtask docs` and commit the result", stale.join(", "));
    Ok(())
}

const ERRORS_MARK: &str = "## Every code\n";

/// The page of error codes: its hand-written head, then the list that the program prints.
fn errors(root: &Path, program: &Program) -> Result<String> {
    let path = root.join("docs/errors.md");
    let text = fs::read_to_string(&path)?;
    let head = text.split(ERRORS_MARK).next().unwrap_or_default().trim_end();
    let mut page = format!("{head}\n\n{ERRORS_MARK}Made by `cargo xtask docs`.\n\n| code | title |\n|---|---|\n");
    for line in program.output(&["explain-error"])?.lines() {
        let (code, title) = line.split_once("  ").with_context(|| format!("a code and its title in `{line}`"))?;
        page.push_str(&format!("| {code} | {} |\n", title.trim()));
    }
    Ok(page)
}
