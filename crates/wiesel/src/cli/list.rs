//! `wiesel list`.

use clap::Args;
use wiesel_core::env::wall_clock_ms;

use super::Exit;
use crate::door;
use crate::log::Log;
use crate::tableau::text_table;

/// List the processes of this user that run jobs
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    #[allow(clippy::print_stdout, reason = "the list is data")]
    pub(crate) fn run(self) -> Exit {
        let processes = match door::processes() {
            Ok(processes) => processes,
            Err(e) => {
                Log::stderr().error(&format!("cannot list what runs: {e}"));
                return Exit::Failed;
            }
        };
        let rows: Vec<Vec<Option<String>>> = processes
            .iter()
            .map(|p| {
                vec![
                    Some(p.pid.to_string()),
                    Some(p.name.clone()),
                    Some(p.file.display().to_string()),
                    Some(format!("{} s", (wall_clock_ms() - p.started_ms).max(0) / 1000)),
                    Some(p.jobs.join(", ")),
                    Some(p.log.as_ref().map_or_else(|| "terminal".to_owned(), |log| log.display().to_string())),
                ]
            })
            .collect();
        print!("{}", text_table(&["pid", "name", "file", "runs for", "jobs", "log"].map(str::to_owned), &rows));
        Exit::Done
    }
}
