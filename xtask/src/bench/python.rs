//! What a call of a Python function costs: the same file with the same function and the same interpreter, on wiesel's worker processes and
//! on PyFlink's (process mode, Flink's default).
//!
//! Rows per second of the whole job are compared, because the workers of both are processes of their own: wiesel's, the TaskManager's and
//! the interpreters' CPU would have to be added up, and wall time holds all of them. The engines take turns, so that both meet the same
//! machine. The section stands in `bench/RESULTS.md` behind that of state, and this part alone writes it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::measure::Usage;
use super::report::{machine, median, minimum, sorted, yes_or_no};
use super::{copy, run_flink, run_to_the_end, state};
use crate::services::flink::{Flink, Release};
use crate::services::python;

/// Rows that `python_scalar.sql` makes.
const ROWS: f64 = 4_000_000.0;
/// wiesel is to call so many times as many rows per second.
const RATIO_MIN: f64 = 10.0;

/// Measures both and returns the section.
pub(crate) fn run(wiesel: &Path, runs: usize, command_line: &str, repository: &Path) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("wiesel-bench-").tempdir()?;
    let interpreter = python::pyflink()?;
    let release = Release::V1;
    let cluster = Flink::start(release, &folder.path().join("flink"))?;
    let jar = format!("file://{}", cluster.python_jar()?.display());
    let job = |engine: &str| -> Result<PathBuf> {
        copy(repository, folder.path(), "python_scalar", engine, |text| {
            text.replace("'python3'", &format!("'{}'", interpreter.display()))
                .replace("'flink-python.jar'", &format!("'{jar}'"))
                .replace(
                    "python/plus_one.py",
                    &repository.join("bench/workloads/python/plus_one.py").display().to_string(),
                )
        })
    };
    let (ours, theirs) = (job("wiesel")?, job("flink")?);
    // A warm cluster, and files in the page cache.
    run_flink(&cluster, &theirs)?;
    let (mut wiesel_runs, mut flink_runs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let command = state::wiesel(wiesel, &ours, &[]);
        wiesel_runs.push(run_to_the_end(&command, &ours)?);
        flink_runs.push(run_flink(&cluster, &theirs)?);
        let (Some(a), Some(b)) = (wiesel_runs.last(), flink_runs.last()) else { continue };
        eprintln!("bench: python_scalar: wiesel {:.1} s, PyFlink {:.1} s", a.wall_s, b.wall_s);
    }
    let flink = format!("PyFlink {}, process mode", release.version());
    section(&[("wiesel", &wiesel_runs), (&flink, &flink_runs)], runs, command_line)
}

fn section(engines: &[(&str, &[Usage])], runs: usize, command_line: &str) -> Result<String> {
    let mut text = format!(
        "\nMade by `{command_line}`. {}.\n\n{ROWS} rows through a Python function that adds one, parallelism 2, {runs} runs each in turns; \
         wiesel from start to exit of the process, PyFlink as the warm cluster times its job:\n\n\
         | engine | wall s min / median | rows/s median |\n|---|---|---|\n",
        machine()?
    );
    let wall = |usages: &[Usage]| sorted(usages.iter().map(|usage| usage.wall_s));
    for (engine, usages) in engines {
        let wall = wall(usages);
        _ = writeln!(text, "| {engine} | {:.1} / {:.1} | {:.0} |", minimum(&wall), median(&wall), ROWS / median(&wall));
    }
    let [(_, ours), (_, theirs)] = engines else { return Ok(text) };
    let ratio = median(&wall(theirs)) / median(&wall(ours));
    let reached = yes_or_no(ratio >= RATIO_MIN);
    _ = writeln!(text, "\nThat is {ratio:.1} times as many; wanted are {RATIO_MIN}: {reached}.");
    Ok(text)
}
