//! `cargo xtask`: everything around the program that is not the program, in plain Rust: servers for tests, the test runner, the
//! bench, and the checks that continuous integration runs. One file per command under `commands/`.

#![allow(clippy::print_stdout, reason = "a command-line tool for developers: stdout is its output")]
#![allow(
    clippy::disallowed_methods,
    reason = "clocks, threads and waiting are what a test harness is made of; the bans protect the engine"
)]

mod bench;
mod cargo;
mod commands;
mod deny;
mod dist;
mod docs;
mod e2e;
mod faults;
mod nexmark;
mod peers;
mod services;
mod systems;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "Servers, tests, bench and checks of this repository")]
enum Xtask {
    Bench(commands::bench::BenchCommand),
    Ci(commands::ci::CiCommand),
    Dist(commands::dist::DistCommand),
    Docs(commands::docs::DocsCommand),
    Faults(commands::faults::FaultsCommand),
    Fuzz(commands::fuzz::FuzzCommand),
    Nexmark(commands::nexmark::NexmarkCommand),
    Peers(commands::peers::PeersCommand),
    Services(commands::services::ServicesCommand),
    Systems(commands::systems::SystemsCommand),
    Test(commands::test::TestCommand),
    Tidy(commands::tidy::TidyCommand),
}

fn main() -> ExitCode {
    let result = match Xtask::parse() {
        Xtask::Bench(command) => command.run(),
        Xtask::Ci(command) => command.run(),
        Xtask::Dist(command) => command.run(),
        Xtask::Docs(command) => command.run(),
        Xtask::Faults(command) => command.run(),
        Xtask::Fuzz(command) => command.run(),
        Xtask::Nexmark(command) => command.run(),
        Xtask::Peers(command) => command.run(),
        Xtask::Services(command) => command.run(),
        Xtask::Systems(command) => command.run(),
        Xtask::Test(command) => command.run(),
        Xtask::Tidy(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
