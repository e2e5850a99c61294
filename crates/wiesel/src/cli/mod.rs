//! The command line: one file per command, each a clap struct whose doc comments are the help, and a `run`.

mod check;
mod checkpoints;
mod dag;
mod demo;
mod doctor;
mod explain;
mod explain_error;
mod functions;
mod generate;
mod init;
mod kibana;
mod list;
#[cfg(feature = "kafka")]
mod peek;
mod pipeline;
mod places;
mod redrive;
mod run;
mod savepoint;
mod stop;
mod test;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use wiesel_connectors::registry::{ConnectorContext, Registry};
use wiesel_core::options::parse_memory_size;
use wiesel_sql::session::TableOption;

/// Runs Apache Flink SQL streaming jobs in one program, without a JVM.
#[derive(Debug, Parser)]
#[command(name = "wiesel", version, about, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Checkpoints(checkpoints::Checkpoints),
    Dag(dag::Dag),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    Explain(explain::Explain),
    ExplainError(explain_error::ExplainError),
    Functions(functions::Functions),
    Generate(generate::Generate),
    Init(init::Init),
    Kibana(kibana::Kibana),
    List(list::List),
    #[cfg(feature = "kafka")]
    Peek(peek::Peek),
    Pipeline(pipeline::Pipeline),
    Places(places::Places),
    Redrive(redrive::Redrive),
    Run(run::Run),
    Savepoint(savepoint::Savepoint),
    Stop(stop::Stop),
    Test(test::Test),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// A job failed.
    Failed = 1,
    /// The command line, the SQL or an option is wrong.
    Usage = 2,
    /// Another run has taken over what the job writes to.
    Superseded = 3,
}

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Exit {
    match cli.command {
        Command::Check(command) => command.run(),
        Command::Checkpoints(command) => command.run(),
        Command::Dag(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::ExplainError(command) => command.run(),
        Command::Functions(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Init(command) => command.run(),
        Command::Kibana(command) => command.run(),
        Command::List(command) => command.run(),
        #[cfg(feature = "kafka")]
        Command::Peek(command) => command.run(),
        Command::Pipeline(command) => command.run(),
        Command::Places(command) => command.run(),
        Command::Redrive(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Savepoint(command) => command.run(),
        Command::Stop(command) => command.run(),
        Command::Test(command) => command.run(),
    }
}

/// What changes a file from outside, so that one unchanged file runs in containers, on a laptop and in tests.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Overrides {
    /// Connect to TO wherever the file, or a broker's advertised address, says FROM; repeatable
    #[arg(long = "map", value_name = "FROM=TO", value_parser = parse_pair)]
    map: Vec<(String, String)>,
    /// Set an option of a table; repeatable
    #[arg(long = "table-option", value_name = "TABLE.KEY=VALUE", value_parser = parse_table_option)]
    table_option: Vec<TableOption>,
    /// Take `${NAME}` in WITH and SET values from this file of NAME=value lines, where the environment does not have it; repeatable, the
    /// first file that has a name wins. Without it `.env.dev` and `.env` beside the job are looked into
    #[arg(long = "env-file", value_name = "FILE")]
    env_file: Vec<PathBuf>,
}

impl Overrides {
    /// The connectors, with the address map.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::new(Registry::new(ConnectorContext { address_map: self.map.clone() }))
    }

    /// The files of variables asked for.
    pub(crate) fn env_files(&self) -> &[PathBuf] {
        &self.env_file
    }

    /// The table options.
    pub(crate) fn table_options(&self) -> Vec<TableOption> {
        self.table_option.clone()
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err("expected FROM=TO, for instance kafka:9092=127.0.0.1:19092".to_owned()),
    }
}

fn parse_table_option(text: &str) -> Result<TableOption, String> {
    let expected = || "expected TABLE.KEY=VALUE, for instance orders.scan.startup.mode=earliest-offset".to_owned();
    let (place, value) = text.split_once('=').ok_or_else(expected)?;
    let (table, key) = place.split_once('.').ok_or_else(expected)?;
    Ok(TableOption { table: table.to_owned(), key: key.to_owned(), value: value.to_owned() })
}

/// Reads `512MB`, `1gb`, `268435456`.
fn parse_memory(text: &str) -> Result<u64, String> {
    parse_memory_size(text)
        .filter(|bytes| *bytes >= MEMORY_MIN)
        .ok_or_else(|| "expected a size of at least 32MB, for instance 512MB or 1gb".to_owned())
}

/// Below this there is no room for a step, a fetch and a bulk request at once.
const MEMORY_MIN: u64 = 32 << 20;

/// Where checkpoints lie: `.wiesel` in the folder of the job, or the given folder.
pub(crate) fn state_root(folder: &Path, given: Option<&PathBuf>) -> PathBuf {
    given.cloned().unwrap_or_else(|| folder.join(".wiesel"))
}

/// A name as one folder: no separators, no leading dot.
pub(crate) fn folder_name(name: &str) -> String {
    let safe: String = name.chars().map(|c| if c == '/' || c == '\\' || c.is_control() { '_' } else { c }).collect();
    if safe.starts_with('.') { format!("_{safe}") } else { safe }
}
