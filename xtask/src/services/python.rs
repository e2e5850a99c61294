//! A Python environment with DuckDB, pyarrow and pandas, to read Parquet files with programs that share no code with wiesel, and to run functions
//! in Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::cache;
use super::flink::Release;

/// What the environment holds; pip verifies what it downloads.
const PACKAGES: [&str; 3] = ["duckdb==2.0.0", "pyarrow==26.0.1", "pandas==3.1.1"];

/// Prints every row of all visible Parquet files below a folder as one JSON object per line.
const READ: &str = r#"
import glob, json, os, sys
folder, reader = sys.argv[1], sys.argv[2]
files = [f for f in glob.glob(os.path.join(folder, "**", "*"), recursive=True)
         if os.path.isfile(f) and not any(p.startswith((".", "_")) for p in os.path.relpath(f, folder).split(os.sep))]
def plain(value):
    if isinstance(value, list) and all(isinstance(v, tuple) and len(v) == 2 for v in value):
        return {k: plain(v) for k, v in value}
    return value
def partition(value):
    return int(value) if value.lstrip("-").isdigit() else value
for f in sorted(files):
    if reader == "duckdb":
        import duckdb
        result = duckdb.execute("SELECT * FROM read_parquet(?, hive_partitioning = false)", [f])
        names = [c[0] for c in result.description]
        rows = [dict(zip(names, row)) for row in result.fetchall()]
    else:
        import pyarrow.parquet
        rows = pyarrow.parquet.ParquetFile(f).read().to_pylist()
    folders = os.path.relpath(os.path.dirname(f), folder).split(os.sep)
    keys = dict(p.split("=", 1) for p in folders if "=" in p)
    for row in rows:
        row = {k: plain(v) for k, v in row.items()}
        row.update({k: partition(v) for k, v in keys.items()})
        print(json.dumps(row, default=str))
"#;

/// Every row of the Parquet files below a folder, as `duckdb` or `pyarrow` reads them; folder names like `dt=x` become columns.
pub(crate) fn parquet_rows(folder: &Path, reader: &str) -> Result<Vec<Value>> {
    let output = Command::new(environment("parquet", &PACKAGES)?.join("bin/python"))
        .args(["-c", READ])
        .arg(folder)
        .arg(reader)
        .output()
        .context("starting Python")?;
    ensure!(output.status.success(), "{reader} cannot read the files: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The environment's Python, for the tests of functions in Python: pyarrow is all that they need.
pub(crate) fn interpreter() -> Result<PathBuf> {
    Ok(environment("parquet", &PACKAGES)?.join("bin/python"))
}

/// The Python of an environment with PyFlink, which wiesel is compared with; pyarrow comes with it.
pub(crate) fn pyflink() -> Result<PathBuf> {
    let flink = format!("apache-flink=={}", Release::V1.version());
    Ok(environment("pyflink", &[&flink])?.join("bin/python"))
}

/// An environment with these packages, made at first use and kept in the cache.
pub(super) fn environment(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = cache::root()?.join(format!("python-{name}"));
    let marker = folder.join("complete");
    if std::fs::read_to_string(&marker).is_ok_and(|text| text == packages.join(" ")) {
        return Ok(folder);
    }
    super::packages::ensure_for_python()?;
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(folder.join("bin/python")).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    std::fs::write(&marker, packages.join(" "))?;
    Ok(folder)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
