//! The `wiesel` program: reads the command line, runs the command, turns its end into an exit code.
//!
//! stdout is data, stderr is talk. Exit codes: 0 done, 1 a job failed, 2 usage or SQL.

mod cli;
mod generator;
mod jobs;
mod log;
mod script;
mod status;
mod tableau;

use std::process::ExitCode;

use clap::Parser;

/// Thread-local free lists matter here: batches are allocated on one worker and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wiesel_ffi::allocator::give_back_early();
    let arguments = cli::Cli::parse();
    ExitCode::from(cli::run(arguments) as u8)
}
