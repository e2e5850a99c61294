//! What a case holds in its hands: a folder, the program, the servers, and a place for notes that only a failure shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::elasticsearch::ElasticsearchClient;
use super::kafka::KafkaClient;
use super::postgres::PostgresClient;
use super::program::{Finished, Program};
use crate::services::Services;
use crate::services::elasticsearch::Line;
use crate::services::process::{POLL_INTERVAL, interrupted};

/// The outside world of one case.
pub(crate) struct Context {
    services: Arc<Services>,
    binary: PathBuf,
    folder: TempDir,
    /// Differs from case to case and from run to run, so that names on shared servers never meet.
    suffix: String,
    programs: Mutex<Vec<Arc<Program>>>,
    notes: Mutex<Vec<String>>,
}

impl Context {
    /// A fresh folder and no programs yet.
    pub(crate) fn new(case: &str, services: Arc<Services>, binary: &Path) -> Result<Context> {
        // For looking into a failure: the folders of all cases stay.
        let is_kept = std::env::var_os("XTASK_KEEP_FOLDERS").is_some();
        let folder = tempfile::Builder::new().prefix(&format!("wiesel-{case}-")).disable_cleanup(is_kept).tempdir()?;
        let suffix = format!("{:08x}", fastrand::u32(..));
        let binary = binary.to_owned();
        Ok(Context { services, binary, folder, suffix, programs: Mutex::default(), notes: Mutex::default() })
    }

    /// The case's own folder; it is also wiesel's working directory, so relative paths in a job end up here.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program under test.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// `prefix` made free of other cases: for topics, indices, tables. Lower case, letters, digits and `_`.
    pub(crate) fn unique(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.suffix)
    }

    /// Writes a file into the case's folder and returns its path as text, ready to be an argument.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
        Ok(path.display().to_string())
    }

    /// Remembers a line that is shown when the case fails.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(text.into());
    }

    /// Runs wiesel to its end; one that is not done after `limit_s` seconds is killed, which is an error.
    pub(crate) fn run<Argument: AsRef<str>>(
        &self,
        arguments: impl IntoIterator<Item = Argument>,
        limit_s: u64,
    ) -> Result<Finished> {
        self.spawn(arguments)?.wait(limit_s)
    }

    /// Starts wiesel in the background. It is killed when the case ends.
    pub(crate) fn spawn<Argument: AsRef<str>>(
        &self,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> Result<Arc<Program>> {
        self.spawn_with(arguments, &[])
    }

    /// The same with variables in its environment.
    pub(crate) fn spawn_with<Argument: AsRef<str>>(
        &self,
        arguments: impl IntoIterator<Item = Argument>,
        environment: &[(&str, String)],
    ) -> Result<Arc<Program>> {
        let arguments: Vec<String> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let program = Program::start(&self.binary, &arguments, environment, self.folder(), programs.len())?;
        let program = Arc::new(program);
        programs.push(Arc::clone(&program));
        Ok(program)
    }

    /// Starts wiesel in the background under another program, which is given wiesel's command line behind its own.
    pub(crate) fn spawn_under<Argument: AsRef<str>>(
        &self,
        other: &[&str],
        arguments: impl IntoIterator<Item = Argument>,
    ) -> Result<Arc<Program>> {
        let (program, first) = other.split_first().context("a program to start it under")?;
        let mut line: Vec<String> = first.iter().map(|&argument| argument.to_owned()).collect();
        line.push(self.binary.display().to_string());
        line.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let program = Arc::new(Program::start(Path::new(program), &line, &[], self.folder(), programs.len())?);
        programs.push(Arc::clone(&program));
        Ok(program)
    }

    /// Starts wiesel in the background with a pipe as its stdout, which the caller reads, or does not.
    pub(crate) fn spawn_piped<Argument: AsRef<str>>(
        &self,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> Result<(Arc<Program>, std::io::PipeReader)> {
        let arguments: Vec<String> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let (reader, writer) = std::io::pipe()?;
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let program = Program::start_into(&self.binary, &arguments, &[], self.folder(), programs.len(), writer.into())?;
        let program = Arc::new(program);
        programs.push(Arc::clone(&program));
        Ok((program, reader))
    }

    /// Waits for a state of the outside world, looking again and again; an error of `is_so` counts as "not yet".
    pub(crate) fn wait_until(&self, limit_s: u64, what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        loop {
            let last = is_so();
            if matches!(last, Ok(true)) {
                return Ok(());
            }
            ensure!(!interrupted(), "interrupted while waiting for {what}");
            if start.elapsed() >= Duration::from_secs(limit_s) {
                let found = last.map_or_else(|error| format!("; the last look failed: {error:#}"), |_| String::new());
                anyhow::bail!("{what} did not come within {limit_s} s{found}");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// A client of the broker, without login.
    pub(crate) fn kafka(&self) -> Result<KafkaClient> {
        Ok(KafkaClient::new(&self.services.kafka()?.plaintext()))
    }

    /// A client of the Elasticsearch node of that line.
    pub(crate) fn elasticsearch(&self, line: Line) -> Result<ElasticsearchClient> {
        Ok(ElasticsearchClient::new(&self.services.elasticsearch(line)?.url()))
    }

    /// A connection to the database.
    pub(crate) fn postgres(&self) -> Result<PostgresClient> {
        PostgresClient::connect(&self.services.postgres()?.url())
    }

    /// The servers themselves: addresses with a login, and stop, kill and restart.
    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// Ends what the case left running.
    pub(crate) fn kill_programs(&self) {
        for program in self.programs.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Err(error) = program.kill() {
                eprintln!("xtask: could not kill wiesel (pid {}): {error:#}", program.pid());
            }
        }
    }

    /// Notes and what every program printed, for the reader of a failure.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        for note in self.notes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            text += &format!("  note: {note}\n");
        }
        for program in self.programs.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            text += &program.report();
        }
        text
    }
}
