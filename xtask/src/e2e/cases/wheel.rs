//! The wheel that `cargo xtask dist` makes, as somebody meets it: a clean virtual environment, one `pip install` of a file, then the demo
//! and a function in Python. Here it holds the program under test, which links the libraries of this machine.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::commands::test::repository;
use crate::dist::wheel;
use crate::e2e::context::Context;
use crate::e2e::program::Program;
use crate::services::{packages, python};

const MODULE: &str = r#"
from pyflink.table import DataTypes
from pyflink.table.udf import udf


@udf(input_types=[DataTypes.BIGINT()], result_type=DataTypes.STRING())
def branch(number):
    return f"Branch_{number}"
"#;

const JOB: &str = "
CREATE FUNCTION branch AS 'branches.branch' LANGUAGE PYTHON;
CREATE TABLE payments (branch_id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'payments.jsonl', 'format' = 'json');
CREATE TABLE shown (name STRING) WITH ('connector' = 'print');
INSERT INTO shown SELECT branch(branch_id) FROM payments;
";

/// Without the import of the stand-in there is no `pyflink`; behind it the module of functions imports as it is.
const WITHOUT_PYFLINK: &str = r#"
import importlib.util
assert importlib.util.find_spec("pyflink") is None, "an environment without apache-flink has no pyflink"
import wiesel.standin
import branches
assert "wiesel" in __import__("pyflink").__file__
print(wiesel.__version__, wiesel.program())
"#;

/// Where PyFlink is installed, it goes before the stand-in.
const WITH_PYFLINK: &str = "import wiesel.standin, pyflink; assert pyflink.IS_REAL";

pub(crate) fn runs_in_a_clean_environment(context: &Context) -> Result<()> {
    let folder = context.folder();
    let file = wheel::of_program(&repository()?, context.binary(), folder)?;
    packages::ensure_for_python()?;
    let environment = folder.join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let interpreter = environment.join("bin/python");
    run(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet", "--no-index"]).arg(&file))?;

    let program = environment.join("bin/wiesel");
    let demo = ["demo", "--count", "2000", "--output", "sums"].map(str::to_owned);
    Program::start(&program, &demo, &[], folder, 1)?.wait(60)?.expect_code(0)?.expect_stdout("Branch_9")?;
    let version = run(Command::new(&interpreter).args(["-m", "wiesel", "--version"]))?;
    ensure!(version.trim() == format!("wiesel {}", env!("CARGO_PKG_VERSION")), "the version is `{version}`");

    context.write("branches.py", MODULE)?;
    context.write("payments.jsonl", "{\"branch_id\":7}\n{\"branch_id\":8}\n")?;
    let job = context.write("job.sql", JOB)?;
    // The clean environment has no pyarrow, which functions need: they run in another one, as they may.
    let other = [("PYFLINK_EXECUTABLE", python::interpreter()?.display().to_string())];
    let finished = Program::start(&program, &["run".to_owned(), job], &other, folder, 2)?.wait(60)?.expect_code(0)?;
    finished.expect_stdout("+I[Branch_7]")?.expect_stdout("+I[Branch_8]")?;

    let said = run(inside(&interpreter, folder, folder.as_os_str()).args(["-c", WITHOUT_PYFLINK]))?;
    ensure!(said.contains("/bin/wiesel"), "the package does not find its program: `{said}`");
    let installed = folder.join("installed/pyflink");
    fs::create_dir_all(&installed)?;
    fs::write(installed.join("__init__.py"), "IS_REAL = True\n")?;
    run(inside(&interpreter, folder, folder.join("installed").as_os_str()).args(["-c", WITH_PYFLINK]))?;

    run(Command::new(&interpreter).args(["-m", "pip", "uninstall", "--quiet", "--yes", "wiesel"]))?;
    ensure!(!program.exists(), "pip does not remove the program");
    Ok(())
}

/// The environment's Python with another folder to import from.
fn inside(interpreter: &Path, folder: &Path, modules: &OsStr) -> Command {
    let mut command = Command::new(interpreter);
    command.current_dir(folder).env("PYTHONPATH", modules);
    command
}

/// What a command printed.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
