//! `wiesel checkpoints FILE`.

use std::path::{Path, PathBuf};

use clap::Args;
use wiesel_core::env::wall_clock_ms;
use wiesel_engine::checkpoint::{self, CheckpointInfo};

use super::{Exit, state_root};
use crate::log::Log;
use crate::tableau::text_table;

/// List the checkpoints of a SQL file's jobs: time, size, duration, and which one a run would resume from
#[derive(Debug, Args)]
pub(crate) struct Checkpoints {
    /// The SQL file
    file: PathBuf,
    /// The folder given to `run --state`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Checkpoints {
    #[allow(clippy::print_stdout, reason = "the list is data")]
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let root = state_root(self.file.parent().unwrap_or_else(|| Path::new(".")), self.state.as_ref());
        let jobs = match job_folders(&root) {
            Ok(jobs) => jobs,
            Err(e) => {
                log.error(&format!("cannot read `{}`: {e}", root.display()));
                return Exit::Usage;
            }
        };
        let mut rows = Vec::new();
        for (name, folder) in jobs {
            match checkpoint::list(&folder) {
                Ok(infos) => rows.extend(infos.into_iter().map(|info| row(&name, &info))),
                Err(e) => {
                    log.error(&format!("{}: {e}", folder.display()));
                    return Exit::Failed;
                }
            }
        }
        let columns = ["job", "checkpoint", "taken", "kind", "state bytes", "written bytes", "duration ms", "resume"];
        print!("{}", text_table(&columns.map(str::to_owned), &rows));
        Exit::Done
    }
}

/// `<root>/<name>/<loop>` for every loop, sorted.
fn job_folders(root: &Path) -> wiesel_core::Result<Vec<(String, PathBuf)>> {
    let mut jobs = Vec::new();
    for name in checkpoint::folders(root)? {
        let job = root.join(&name);
        jobs.extend(checkpoint::folders(&job)?.into_iter().map(|part| (format!("{name}/{part}"), job.join(part))));
    }
    jobs.sort();
    Ok(jobs)
}

fn row(job: &str, info: &CheckpointInfo) -> Vec<Option<String>> {
    let taken = info.time_ms.map(|ms| format!("{} s ago", (wall_clock_ms() - ms).max(0) / 1000));
    vec![
        Some(job.to_owned()),
        Some(info.id.to_string()),
        taken,
        info.kind.map(|k| format!("{k:?}").to_lowercase()),
        Some(info.state_bytes.to_string()),
        Some(info.written_bytes.to_string()),
        Some(info.duration_ms.to_string()),
        Some(if info.would_resume { "yes".to_owned() } else { String::new() }),
    ]
}
