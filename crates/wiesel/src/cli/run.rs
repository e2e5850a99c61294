//! `wiesel run FILE`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use wiesel_engine::step::control::FailPoints;
use wiesel_sql::session::Outcome;

use super::{Exit, Overrides, folder_name, parse_memory, state_root};
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
    /// Start anew, although there is a checkpoint to resume from
    #[arg(long)]
    fresh: bool,
    /// Go on even where an exactly-once sink may then show rows twice: from an older checkpoint than it has committed
    #[arg(long)]
    allow_duplicates: bool,
    /// Keep checkpoints below this folder instead of `.wiesel` beside the file
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
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
    #[command(flatten)]
    overrides: Overrides,
}

impl Run {
    pub(crate) fn run(self) -> Exit {
        let log = match Log::new(self.log_file.as_deref(), self.log_format, self.log_level) {
            Ok(log) => Arc::new(log),
            Err(e) => {
                Log::stderr().error(&format!("cannot open the log file: {e}"));
                return Exit::Usage;
            }
        };
        let registry = self.overrides.registry();
        let script = match script::load(&self.file, registry.clone(), self.overrides.table_options(), &log) {
            Ok(script) => script,
            Err(exit) => return exit,
        };
        let stem = self.file.file_stem().map_or_else(|| "job".into(), |s| s.to_string_lossy().into_owned());
        let name = script.session.pipeline_name().map_or(stem, str::to_owned);
        let options = RunOptions {
            registry,
            state_dir: state_root(&self.file, self.state.as_ref()).join(folder_name(&name)),
            fresh: self.fresh,
            allow_duplicates: self.allow_duplicates,
            memory_bytes: self.memory,
            fail_points: FailPoints::parse(&std::env::var("WIESEL_FAIL_POINT").unwrap_or_default()),
            totals: None,
        };
        run_script(script, &options, &log, self.log_format == LogFormat::Text && self.log_file.is_none())
    }
}

/// Shows and runs what a file's statements gave.
#[allow(clippy::print_stdout, reason = "SHOW, DESCRIBE and EXPLAIN give data")]
pub(crate) fn run_script(script: Script, options: &RunOptions, log: &Arc<Log>, with_status: bool) -> Exit {
    let stops = Stops::default();
    if let Err(e) = stops.listen(log) {
        log.error(&format!("cannot listen for signals: {e}"));
        return Exit::Failed;
    }
    let count = script.outcomes.iter().map(|o| if let Outcome::Jobs(jobs) = o { jobs.len() } else { 0 }).sum();
    let mut jobs = Jobs::new(options, log, stops.clone());
    for outcome in script.outcomes {
        match outcome {
            Outcome::Done => {}
            Outcome::Text(text) => println!("{text}"),
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
