//! `wiesel run FILE`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use wiesel_connectors::registry::Registry;
use wiesel_core::env::{Waker, monotonic, wall_clock_ms};
use wiesel_engine::step::control::FailPoints;
use wiesel_objects::ObjectUrl;
use wiesel_sql::session::Outcome;

use super::{Exit, Overrides, folder_name, parse_memory, state_root};
use crate::door::{self, Process};
use crate::jobs::{Jobs, RunOptions, Stops};
use crate::log::{Level, Log, LogFormat};
use crate::script::{self, Script};
use crate::status::Status;
use crate::tableau::text_table;

/// Run a SQL file
///
/// Every INSERT is a job of its own; the process ends when all have ended, with the worst exit code. Ctrl-C (or SIGTERM) stops with a
/// checkpoint, and the same command resumes.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The SQL file
    file: PathBuf,
    #[command(flatten)]
    how: How,
}

/// How a job runs, whatever it was made from.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Start anew, although there is a checkpoint to resume from
    #[arg(long)]
    fresh: bool,
    /// Go on even where an exactly-once sink may then show rows twice: from an older checkpoint than it has committed
    #[arg(long)]
    allow_duplicates: bool,
    /// Keep checkpoints below this folder instead of `.wiesel` beside the file
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Begin with this savepoint, unless checkpoints taken since then are there
    #[arg(short = 's', long, value_name = "DIR")]
    from_savepoint: Option<PathBuf>,
    /// Drop state of a checkpoint or savepoint that has no place in the changed file, instead of refusing to start
    #[arg(short = 'n', long)]
    allow_non_restored_state: bool,
    /// Run in the background, and come back as soon as it runs; `wiesel list`, `stop` and `savepoint` reach it
    #[arg(short = 'd', long)]
    detached: bool,
    /// This process is the one in the background
    #[arg(long, hide = true)]
    is_background: bool,
    /// Memory for everything wiesel holds: state, buffers, fetched data
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = parse_memory)]
    memory: u64,
    /// Append what wiesel says to this file instead of stderr
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// How what wiesel says looks
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// How much wiesel says
    #[arg(long, value_enum, default_value_t = Level::Info)]
    log_level: Level,
    /// Stop with a checkpoint when stdin ends: the process that started this one is gone
    #[arg(long, hide = true)]
    is_step: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// What is to run, and under which name.
pub(crate) struct Work<'a> {
    /// The file, for `wiesel list`.
    pub(crate) file: &'a Path,
    /// Beside what state lies when no folder is given.
    pub(crate) folder: &'a Path,
    /// What the state folder is called when the file sets no `pipeline.name`.
    pub(crate) name: &'a str,
}

impl Run {
    pub(crate) fn run(self) -> Exit {
        let stem = self.file.file_stem().map_or_else(|| "job".into(), |s| s.to_string_lossy().into_owned());
        let folder = self.file.parent().unwrap_or_else(|| Path::new("."));
        let work = Work { file: &self.file, folder, name: &stem };
        self.how.run(&work, |how, registry, log| script::load(&self.file, registry, &how.overrides, log))
    }
}

impl How {
    /// The overrides of the command line.
    pub(crate) fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Runs what `load` reads and plans.
    pub(crate) fn run(
        &self,
        work: &Work<'_>,
        load: impl FnOnce(&How, Arc<Registry>, &Log) -> Result<Script, Exit>,
    ) -> Exit {
        let log = match Log::new(self.log_file.as_deref(), self.log_format, self.log_level) {
            Ok(log) => Arc::new(log),
            Err(e) => {
                Log::stderr().error(&format!("cannot open the log file: {e}"));
                return Exit::Usage;
            }
        };
        let registry = self.overrides.registry();
        let script = match load(self, registry.clone(), &log) {
            Ok(script) => script,
            Err(exit) => return exit,
        };
        let name = script.session.pipeline_name().unwrap_or(work.name).to_owned();
        let state_dir = state_root(work.folder, self.state.as_ref()).join(folder_name(&name));
        if self.detached && !self.is_background {
            // The log of a process lies on the machine that runs it, wherever its state does.
            let state = self.state.as_ref().filter(|state| !ObjectUrl::is_path(state));
            return self.in_background(&name, &state_root(work.folder, state).join(folder_name(&name)), &log);
        }
        if self.is_background {
            // The terminal it was started from may go away.
            _ = signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default());
        }
        let options = RunOptions {
            registry,
            state_dir,
            fresh: self.fresh,
            allow_duplicates: self.allow_duplicates,
            memory_bytes: self.memory,
            fail_points: FailPoints::parse(&std::env::var("WIESEL_FAIL_POINT").unwrap_or_default()),
            allow_non_restored_state: self.allow_non_restored_state,
            savepoint: self.from_savepoint.clone(),
            totals: None,
        };
        let stops = Stops::default();
        if self.is_step {
            stops.when_stdin_ends();
        }
        let process = self.process(work.file, &script, &name, &options.state_dir);
        let door = match door::open(&process, &stops, &log) {
            Ok(door) => Some(door),
            Err(e) if self.is_background || self.is_step => {
                log.error(&format!("no door for `wiesel stop`: {e}"));
                return Exit::Failed;
            }
            // On a terminal there is Ctrl-C.
            Err(_) => None,
        };
        let exit = run_script_with(
            stops,
            script,
            &options,
            &log,
            self.log_format == LogFormat::Text && self.log_file.is_none(),
        );
        drop(door);
        exit
    }

    /// What `wiesel list` shows of this process.
    fn process(&self, file: &Path, script: &Script, name: &str, state: &Path) -> Process {
        let jobs = script.outcomes.iter().flat_map(|o| if let Outcome::Jobs(jobs) = o { jobs.as_slice() } else { &[] });
        let absolute = |path: &Path| match ObjectUrl::is_path(path) {
            true => path.to_owned(),
            false => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        };
        Process {
            pid: std::process::id(),
            name: name.to_owned(),
            file: absolute(file),
            state: absolute(state),
            started_ms: wall_clock_ms(),
            jobs: jobs.clone().map(|j| j.loop_name.clone()).collect(),
            is_endless: jobs.clone().any(|j| j.plan.is_endless()),
            savepoint_dir: jobs.clone().find_map(|j| j.config.savepoint_dir.clone()),
            log: self.log_file.as_deref().map(absolute),
        }
    }

    /// Starts this command again as a process that has no terminal, and waits until its door is open.
    #[allow(clippy::print_stdout, reason = "the process id is data")]
    fn in_background(&self, name: &str, folder: &Path, log: &Log) -> Exit {
        let log_file = self.log_file.clone().unwrap_or_else(|| folder.join("log"));
        match self.spawn(folder, &log_file) {
            Ok(pid) => {
                println!("{pid}");
                log.info(&format!(
                    "`{name}` runs in the background as process {pid}; it says what it does in `{}`; `wiesel stop {pid}` stops it",
                    log_file.display()
                ));
                Exit::Done
            }
            Err(e) => {
                log.error(&format!("`{name}` did not start in the background: {e}; see `{}`", log_file.display()));
                Exit::Failed
            }
        }
    }

    fn spawn(&self, folder: &Path, log_file: &Path) -> std::io::Result<u32> {
        std::fs::create_dir_all(folder)?;
        let out = std::fs::OpenOptions::new().create(true).append(true).open(log_file)?;
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1)).arg("--is-background");
        if self.log_file.is_none() {
            command.arg("--log-file").arg(log_file);
        }
        // A group of its own: Ctrl-C on the terminal is not meant for it.
        command.stdin(std::process::Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
        let mut child = command.spawn()?;
        let began = monotonic();
        let waker = Waker::default();
        while monotonic().duration_since(began) < START_WAIT {
            if let Some(status) = child.try_wait()? {
                // A short job may be done already.
                return if status.success() { Ok(child.id()) } else { Err(std::io::Error::other(status.to_string())) };
            }
            if door::process(child.id())?.is_some() {
                return Ok(child.id());
            }
            waker.wait(START_LOOK);
        }
        Err(std::io::Error::other("it is not ready"))
    }
}

/// A process in the background has its door open by then, or has not started.
const START_WAIT: Duration = Duration::from_secs(30);
const START_LOOK: Duration = Duration::from_millis(20);

/// Shows and runs what a file's statements gave.
pub(crate) fn run_script(script: Script, options: &RunOptions, log: &Arc<Log>, with_status: bool) -> Exit {
    run_script_with(Stops::default(), script, options, log, with_status)
}

#[allow(clippy::print_stdout, reason = "SHOW, DESCRIBE and EXPLAIN give data")]
fn run_script_with(stops: Stops, script: Script, options: &RunOptions, log: &Arc<Log>, with_status: bool) -> Exit {
    if let Err(e) = stops.listen(log) {
        log.error(&format!("cannot listen for signals: {e}"));
        return Exit::Failed;
    }
    let count = script.outcomes.iter().map(|o| if let Outcome::Jobs(jobs) = o { jobs.len() } else { 0 }).sum();
    let mut jobs = Jobs::new(options, log, stops.clone());
    let planned = script.outcomes.iter().flat_map(|o| if let Outcome::Jobs(jobs) = o { jobs.as_slice() } else { &[] });
    if !jobs.find_folders(planned) {
        return jobs.exit();
    }
    for outcome in script.outcomes {
        match outcome {
            Outcome::Done => {}
            Outcome::Text(text) => println!("{}", wiesel_core::secret::redacted(&text)),
            Outcome::Rows { columns, rows } => print!("{}", text_table(&columns, &rows)),
            Outcome::Jobs(planned) => {
                if stops.is_stopping() {
                    break;
                }
                let is_query = planned.iter().any(|j| j.query_schema.is_some());
                let is_sync = planned.iter().any(|j| j.config.dml_sync);
                for job in planned {
                    jobs.start(job, count);
                }
                if is_query || is_sync {
                    jobs.wait(&mut Status::new(with_status && !is_query));
                }
            }
        }
    }
    jobs.wait(&mut Status::new(with_status));
    jobs.exit()
}
