//! Runs the program in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with a job, and what is needed to run the program in it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// The Python of the tests, with pyarrow in it: what the environment names, else what `cargo xtask test` has made.
pub(crate) fn interpreter() -> String {
    let made = || {
        let cache = std::env::var_os("WIESEL_CACHE").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/wiesel")))?;
        let python = cache.join("python-parquet/bin/python");
        python.exists().then(|| python.display().to_string())
    };
    std::env::var("PYFLINK_EXECUTABLE").ok().or_else(made).unwrap_or_else(|| "python3".to_owned())
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Everything that was said.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The command, its working folder being this place, its environment empty but for these.
    pub(crate) fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wiesel"));
        command.args(arguments).current_dir(self.folder.path()).env_clear().env("TZ", "UTC");
        command.envs(environment.iter().copied());
        command
    }

    pub(crate) fn wiesel(&self, arguments: &[&str]) -> Output {
        self.wiesel_with(arguments, &[])
    }

    pub(crate) fn wiesel_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        output(self.command(arguments, environment).output().unwrap())
    }

    /// All files below, with their bytes.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        collect(self.folder.path(), &mut found);
        found
    }
}

pub(crate) fn output(output: std::process::Output) -> Output {
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
}
