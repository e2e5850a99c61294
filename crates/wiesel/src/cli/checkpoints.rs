//! `wiesel checkpoints FILE`.

use std::path::PathBuf;

use clap::Args;
use wiesel_engine::checkpoint;

use super::{Exit, state_root};
use crate::log::Log;

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
        _ = &self.file;
        todo_list(&state_root(&self.file, self.state.as_ref()));
        Exit::Done
    }
}
