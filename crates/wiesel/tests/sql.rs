//! Runs the SQL data files: everything below `tests/sql`, and the test of each example. One test per file.
//!
//! `cargo test -p wiesel --test sql FILTER` runs the files whose name contains the text. Each file runs as it stands, and again with each
//! row a step of its own and a restart after each input, with two workers, with another number of workers after each restart, and with no
//! memory for state: nothing of that may show in an answer.

#![allow(clippy::print_stdout, reason = "a test harness tells its results")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wiesel_slt::{record, run_file_in_all_ways, suite};

fn main() -> ExitCode {
    let manifest_dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies");
    let root = Path::new(&manifest_dir).join("../..").canonicalize().expect("the crate lies in the repository");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let files: Vec<(String, PathBuf)> = ["tests/sql", "examples"]
        .iter()
        .flat_map(|folder| record::find(&root.join(folder)).expect("the folder can be read"))
        .map(|file| (file.strip_prefix(&root).unwrap_or(&file).display().to_string(), file))
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str())))
        .collect();
    if arguments.iter().any(|a| a == "--list") {
        for (name, _) in &files {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    use_test_interpreter();
    println!("running {} tests", files.len());
    let counts = suite::run(&files, run_file_in_all_ways, &mut std::io::stdout()).expect("stdout takes lines");
    let word = if counts.failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {} passed; {} failed; 0 ignored", counts.passed, counts.failed);
    if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The Python environment that `cargo xtask test` makes, where it has been made: functions in Python need pyarrow.
fn use_test_interpreter() {
    let cache = std::env::var_os("WIESEL_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/wiesel")));
    if let Some(python) = cache.map(|cache| cache.join("python-parquet/bin/python")).filter(|python| python.exists()) {
        wiesel_python::set_default_interpreter(&python);
    }
}
