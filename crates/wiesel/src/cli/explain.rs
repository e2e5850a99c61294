//! `wiesel explain FILE`.

use std::path::PathBuf;

use clap::Args;
use wiesel_core::secret::redacted;
use wiesel_sql::session::Outcome;

use super::{Exit, Overrides};
use crate::log::Log;
use crate::script;

/// Print the plan of every job of a SQL file; nothing is connected or run
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The SQL file
    file: PathBuf,
    /// Add the kinds of change that flow between operators
    #[arg(long)]
    changelog_mode: bool,
    #[command(flatten)]
    overrides: Overrides,
}

impl Explain {
    #[allow(clippy::print_stdout, reason = "the plan is data")]
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let script = match script::load(&self.file, self.overrides.registry(), &self.overrides, &log) {
            Ok(script) => script,
            Err(exit) => return exit,
        };
        for outcome in &script.outcomes {
            match outcome {
                Outcome::Jobs(jobs) => {
                    for job in jobs {
                        println!("== {} ==", job.plan.job_name);
                        let text = wiesel_plan::explain::explain(&job.plan, self.changelog_mode);
                        println!("{}", redacted(&text));
                    }
                }
                Outcome::Text(text) => println!("{}", redacted(text)),
                Outcome::Rows { .. } | Outcome::Done => {}
            }
        }
        Exit::Done
    }
}
