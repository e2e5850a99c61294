//! The `wiesel` program: reads the command line, runs the command, turns its end into an exit code.
//!
//! stdout is data, stderr is talk. Exit codes: 0 done, 1 a job failed, 2 usage or SQL.

mod cli;
mod dag;
mod door;
mod folders;
mod generator;
#[cfg(feature = "kafka")]
mod guess;
mod jobs;
mod kibana;
mod log;
mod pipeline;
mod redrive;
mod report;
mod restart;
mod schedule;
mod script;
mod status;
mod tableau;
mod variables;

use std::process::ExitCode;

use clap::Parser;

/// Thread-local free lists matter here: batches are allocated on one worker and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wiesel_ffi::allocator::give_back_early();
    panic_without_secrets();
    let arguments = cli::Cli::parse();
    ExitCode::from(cli::run(arguments) as u8)
}

/// A panic is a bug, and its text may hold anything; it is told as any other line is, without the secrets of the file.
fn panic_without_secrets() {
    std::panic::set_hook(Box::new(|panic| {
        use std::io::Write;
        let thread = std::thread::current();
        let text = format!("thread `{}` panicked: {panic}\n", thread.name().unwrap_or("?"));
        // When nobody listens any more there is nobody to tell.
        _ = std::io::stderr().lock().write_all(wiesel_core::secret::redacted(&text).as_bytes());
    }));
}
