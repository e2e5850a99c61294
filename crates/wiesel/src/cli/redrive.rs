//! `wiesel redrive TABLE --job FILE`.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Overrides, parse_memory};
use crate::log::Log;
use crate::redrive::{self, Request};

/// Send the rows of a table of dead letters again, once they are repaired
///
/// A record that did not decode goes to the topic again that it came from, where the job reads it; a row that a system refused goes to
/// its table. What is sent is noted, so the same command sends each letter once, also when it is stopped or killed and started again.
/// Letters that still do not decode stay where they are.
#[derive(Debug, Args)]
pub(crate) struct Redrive {
    /// The table of dead letters
    table: String,
    /// The SQL file whose letters they are
    #[arg(long, value_name = "FILE")]
    job: PathBuf,
    /// Keep what was sent below this folder instead of `.wiesel` beside the file
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Memory for everything wiesel holds
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = parse_memory)]
    memory: u64,
    #[command(flatten)]
    overrides: Overrides,
}

impl Redrive {
    pub(crate) fn run(self) -> Exit {
        let request = Request {
            table: &self.table,
            file: &self.job,
            state: self.state.as_ref(),
            memory_bytes: self.memory,
            overrides: &self.overrides,
        };
        redrive::run(&request, Log::stderr())
    }
}
