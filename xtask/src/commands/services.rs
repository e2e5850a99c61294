//! `cargo xtask services up`: the test servers for a person, a debugger or another program, until Ctrl-C.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::services::process::{POLL_INTERVAL, catch_interrupts, interrupted};
use crate::services::{Service, Services};

/// Starts real servers on free loopback ports.
#[derive(Debug, clap::Args)]
pub(crate) struct ServicesCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Starts the servers, prints how to reach them as KEY=VALUE lines, and keeps them until Ctrl-C or SIGTERM.
    Up {
        /// Which servers; none named means all.
        #[arg(value_enum)]
        which: Vec<Choice>,
        /// Also writes the KEY=VALUE lines to this file, once all servers are ready; removed at the end.
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Choice {
    All,
    Kafka,
    Es7,
    Es8,
    Es9,
    #[value(name = "opensearch")]
    OpenSearch,
    Postgres,
    Mariadb,
}

impl ServicesCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        let Action::Up { which, write } = &self.action;
        // Before the first server starts: a Ctrl-C during the start must stop the ones that run already.
        catch_interrupts()?;
        let services = Services::start(&chosen(which))?;
        let environment = services.environment()?;
        print!("{environment}");
        if let Some(file) = write {
            let partial = file.with_extension("partial");
            fs::write(&partial, &environment).with_context(|| format!("write `{}`", partial.display()))?;
            fs::rename(&partial, file)?;
        }
        eprintln!("xtask: ready; Ctrl-C stops the servers");
        while !interrupted() {
            std::thread::sleep(POLL_INTERVAL);
        }
        eprintln!("xtask: stopping");
        drop(services);
        if let Some(file) = write {
            fs::remove_file(file)?;
        }
        Ok(())
    }
}

fn chosen(which: &[Choice]) -> BTreeSet<Service> {
    let mut chosen = BTreeSet::new();
    for choice in which {
        match choice {
            Choice::All => chosen.extend(Service::ALL),
            Choice::Kafka => chosen.extend([Service::Kafka]),
            Choice::Es7 => chosen.extend([Service::Es7]),
            Choice::Es8 => chosen.extend([Service::Es8]),
            Choice::Es9 => chosen.extend([Service::Es9]),
            Choice::OpenSearch => chosen.extend([Service::OpenSearch]),
            Choice::Postgres => chosen.extend([Service::Postgres]),
            Choice::Mariadb => chosen.extend([Service::MariaDb]),
        }
    }
    if chosen.is_empty() {
        chosen.extend(Service::ALL);
    }
    chosen
}
