//! `wiesel savepoint TARGET [DIR]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use wiesel_core::env::wall_clock_ms;
use wiesel_objects::ObjectUrl;

use super::{Exit, folder_name};
use crate::door::{self, Answer, Process, Request};
use crate::log::Log;

const ANSWER_WAIT: Duration = Duration::from_secs(330);

/// Take a savepoint of a running process: a whole checkpoint that is kept, and that `run --from-savepoint` begins with
#[derive(Debug, Args)]
pub(crate) struct Savepoint {
    /// Its process id, its name, or its SQL file
    target: String,
    /// The folder below which a new folder is made; when not given, `execution.checkpointing.savepoint-dir` of the file
    dir: Option<PathBuf>,
}

impl Savepoint {
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let asked = door::find(&self.target).and_then(|process| {
            let dir = match (&self.dir, &process.savepoint_dir) {
                (Some(dir), _) => dir.display().to_string(),
                (None, Some(dir)) => dir.clone(),
                (None, None) => {
                    return Err(
                        "no folder for the savepoint: give one, or SET 'execution.checkpointing.savepoint-dir' in \
                                the file"
                            .to_owned(),
                    );
                }
            };
            savepoint_folder(&dir, &process).map(|folder| (process, folder))
        });
        let (process, folder) = match asked {
            Ok(asked) => asked,
            Err(e) => {
                log.error(&e);
                return Exit::Usage;
            }
        };
        match door::ask(&process, &Request::Savepoint { folder: folder.clone() }, ANSWER_WAIT) {
            Ok((answer, _)) => report(&answer, Some(&folder), &log),
            Err(e) => {
                log.error(&format!("process {} does not answer: {e}", process.pid));
                Exit::Failed
            }
        }
    }
}

/// A new name below the folder: `savepoint-<name>-<time in ms>`.
pub(crate) fn savepoint_folder(dir: &str, process: &Process) -> Result<PathBuf, String> {
    let mut dir = folder(dir)?;
    if !ObjectUrl::is_path(&dir) {
        dir = std::path::absolute(&dir).map_err(|e| format!("`{}` is no folder: {e}", dir.display()))?;
    }
    Ok(dir.join(format!("savepoint-{}-{}", folder_name(&process.name), wall_clock_ms())))
}

/// A folder of this machine, written as a path or a `file://` URL, or a place in an object store.
fn folder(dir: &str) -> Result<PathBuf, String> {
    match dir.split_once("://") {
        Some(("file", path)) => Ok(PathBuf::from(path)),
        Some((scheme, _)) if !ObjectUrl::is_one(dir) => {
            Err(format!("`{dir}`: the file system `{scheme}` is not supported yet"))
        }
        _ => Ok(PathBuf::from(dir)),
    }
}

/// Prints the savepoint, or says why there is none.
#[allow(clippy::print_stdout, reason = "the place of the savepoint is data")]
pub(crate) fn report(answer: &Answer, folder: Option<&Path>, log: &Log) -> Exit {
    if let Some(error) = &answer.error {
        log.error(error);
        return Exit::Failed;
    }
    if let Some(folder) = folder {
        println!("{}", folder.display());
    }
    Exit::Done
}
