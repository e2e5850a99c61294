//! One run of the program under test: its output goes to files, so that nothing blocks on a full pipe and a kill loses nothing.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::services::process::{POLL_INTERVAL, Signal, guarded, interrupted, signal, spawn};
use crate::services::python;

/// How much of each output a failure shows, from its end.
const REPORT_BYTES_MAX: usize = 6000;

/// A started program.
pub(crate) struct Program {
    arguments: Vec<String>,
    pid: u32,
    child: Mutex<Child>,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// All it wrote to stdout.
    pub(crate) stdout: String,
    /// All it wrote to stderr.
    pub(crate) stderr: String,
}

impl Finished {
    /// Fails unless the exit code is `code`; gives itself back for the next check.
    pub(crate) fn expect_code(self, code: i32) -> Result<Finished> {
        ensure!(self.code == Some(code), "expected exit code {code}, found {:?}", self.code);
        Ok(self)
    }

    /// Fails unless stderr contains `text`.
    pub(crate) fn expect_stderr(self, text: &str) -> Result<Finished> {
        ensure!(self.stderr.contains(text), "expected `{text}` on stderr");
        Ok(self)
    }

    /// Fails unless stdout contains `text`.
    pub(crate) fn expect_stdout(self, text: &str) -> Result<Finished> {
        ensure!(self.stdout.contains(text), "expected `{text}` on stdout");
        Ok(self)
    }
}

impl Program {
    /// Starts `binary` in `folder`; `ordinal` keeps the outputs of several programs apart.
    pub(crate) fn start(
        binary: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        folder: &Path,
        ordinal: usize,
    ) -> Result<Program> {
        let stdout = folder.join(format!("wiesel-{ordinal}.stdout"));
        Program::start_into(binary, arguments, environment, folder, ordinal, File::create(&stdout)?.into())
    }

    /// The same with a stdout of the caller's; `Program::stdout` then finds nothing.
    pub(crate) fn start_into(
        binary: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        folder: &Path,
        ordinal: usize,
        output: Stdio,
    ) -> Result<Program> {
        let stdout = folder.join(format!("wiesel-{ordinal}.stdout"));
        let stderr = folder.join(format!("wiesel-{ordinal}.stderr"));
        let mut command = Command::new(binary);
        command.args(arguments);
        // The interpreter of functions in Python, with pyarrow in it; a case may say another one.
        command.env("PYFLINK_EXECUTABLE", python::interpreter()?);
        command.envs(environment.iter().map(|(name, value)| (*name, value))).current_dir(folder);
        let mut command = guarded(&command, Signal::Kill);
        command.stdin(Stdio::null()).stdout(output).stderr(File::create(&stderr)?).process_group(0);
        let child = spawn(command).with_context(|| format!("start `{}`", binary.display()))?;
        Ok(Program { arguments: arguments.to_vec(), pid: child.id(), child: Mutex::new(child), stdout, stderr })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What it wrote to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it wrote to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// `kill -9`, then waits until it is gone. Nothing happens when it has ended already.
    pub(crate) fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait()?.is_none() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM: the polite end.
    pub(crate) fn terminate(&self) -> Result<()> {
        // The lock is held so that the process id still belongs to this child.
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait()?.is_none() {
            signal(self.pid, Signal::Term)?;
        }
        Ok(())
    }

    /// Its end, if it has come.
    pub(crate) fn try_wait(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?)
    }

    /// Waits for the end; after `limit_s` seconds it is killed and the wait fails.
    pub(crate) fn wait(&self, limit_s: u64) -> Result<Finished> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Finished { code: status.code(), stdout: self.stdout(), stderr: self.stderr() });
            }
            if start.elapsed() >= Duration::from_secs(limit_s) || interrupted() {
                self.kill()?;
                bail!("`wiesel {}` was not done after {limit_s} s", self.arguments.join(" "));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until `is_so` holds while the program runs; fails when it ends before.
    pub(crate) fn wait_until(&self, limit_s: u64, what: &str, mut is_so: impl FnMut(&Program) -> bool) -> Result<()> {
        let start = Instant::now();
        loop {
            // Looked at before the end is: a program may do what is waited for and then end.
            let status = self.try_wait()?;
            if is_so(self) {
                return Ok(());
            }
            if let Some(status) = status {
                bail!("`wiesel {}` ended ({status}) before {what}", self.arguments.join(" "));
            }
            ensure!(
                start.elapsed() < Duration::from_secs(limit_s) && !interrupted(),
                "{what} did not come within {limit_s} s"
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Command line and outputs, for the reader of a failure.
    pub(crate) fn report(&self) -> String {
        let mut text = format!("  $ wiesel {}\n", self.arguments.join(" "));
        for (name, output) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            let mut cut = output.len().saturating_sub(REPORT_BYTES_MAX);
            while !output.is_char_boundary(cut) {
                cut += 1;
            }
            for line in output[cut..].lines() {
                text += &format!("  {name}: {line}\n");
            }
        }
        text
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map_or_else(|error| format!("({error})"), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The highest id of a manifest anywhere below the state folder; 0 without one.
pub(crate) fn newest_manifest(state: &Path) -> Result<u64> {
    let mut newest = 0;
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(id) = name.strip_prefix("manifest-").and_then(|id| id.parse::<u64>().ok()) {
                newest = newest.max(id);
            } else if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(newest)
}
