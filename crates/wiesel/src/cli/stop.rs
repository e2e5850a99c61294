//! `wiesel stop TARGET`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Exit;
use super::savepoint::{report, savepoint_folder};
use crate::door::{self, Request};
use crate::log::Log;

/// A job gives a stop up after some 10 s by itself, but a savepoint of much state takes longer.
const END_WAIT: Duration = Duration::from_secs(30);
const ANSWER_WAIT: Duration = Duration::from_secs(330);

/// Stop a running process with a checkpoint; the same `run` command resumes
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Its process id, its name, or its SQL file
    target: String,
    /// Take a savepoint in a new folder below this one before
    #[arg(long, value_name = "DIR")]
    savepoint: Option<PathBuf>,
}

impl Stop {
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let process = match door::find(&self.target) {
            Ok(process) => process,
            Err(e) => {
                log.error(&e);
                return Exit::Usage;
            }
        };
        let folder = match self.savepoint.map(|dir| savepoint_folder(&dir.display().to_string(), &process)).transpose()
        {
            Ok(folder) => folder,
            Err(e) => {
                log.error(&e);
                return Exit::Usage;
            }
        };
        match door::ask(&process, &Request::Stop { folder: folder.clone() }, ANSWER_WAIT) {
            Ok((answer, stream)) => {
                let exit = report(&answer, folder.as_deref(), &log);
                if !door::wait_for_end(stream, END_WAIT) {
                    log.error(&format!("process {} did not end within {} s", process.pid, END_WAIT.as_secs()));
                    return Exit::Failed;
                }
                log.info(&format!("`{}` (process {}) has stopped", process.name, process.pid));
                exit
            }
            Err(e) => {
                log.error(&format!("process {} does not answer: {e}", process.pid));
                Exit::Failed
            }
        }
    }
}
