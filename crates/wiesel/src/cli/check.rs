//! `wiesel check FILE`.

use std::path::PathBuf;

use clap::Args;
use wiesel_core::table::ConnectorRegistry;
use wiesel_core::{Error, ErrorKind};
use wiesel_plan::explain::describe;
use wiesel_plan::state_size::{StateLife, state_owner, state_size};
use wiesel_plan::{Node, NodeKind, StreamPlan};
use wiesel_sql::session::Outcome;

use super::{Exit, Overrides};
use crate::log::Log;
use crate::script;

/// Check a SQL file: syntax, names, types, options, and whether its systems answer; all errors at once
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The SQL file
    file: PathBuf,
    /// Do not connect to anything
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    overrides: Overrides,
}

impl Check {
    #[allow(clippy::print_stdout, reason = "the verdict is data")]
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let registry = self.overrides.registry();
        let script = match script::load(&self.file, registry.clone(), &self.overrides, &log) {
            Ok(script) => script,
            Err(exit) => return exit,
        };
        let (sources, sinks) = tables_used(&script.outcomes);
        let mut exit = Exit::Done;
        if !self.offline {
            let probes = sources.iter().map(|t| (t, false)).chain(sinks.iter().map(|t| (t, true)));
            for (table, as_sink) in probes {
                match registry.probe(table, as_sink) {
                    Ok(()) => println!("ok      {} {}", if as_sink { "sink  " } else { "source" }, table.name),
                    Err(error) => {
                        println!("failed  {} {}", if as_sink { "sink  " } else { "source" }, table.name);
                        log.error(&format!("table `{}`: {error}", table.name));
                        exit = exit.max(exit_of(&error));
                    }
                }
            }
        }
        for outcome in &script.outcomes {
            let Outcome::Jobs(jobs) = outcome else { continue };
            for job in jobs {
                println!("job     {}", job.plan.job_name);
                warn_of_growth(&job.plan, &log);
                for sink in job.plan.sinks.iter().filter_map(|s| job.plan.nodes.get(*s)) {
                    if let NodeKind::Sink(sink) = &sink.kind {
                        println!("        {}: {}", sink.table.name, sink.info.delivery);
                    }
                }
            }
        }
        exit
    }
}

/// State that grows as long as the job runs is a choice that somebody should have made.
fn warn_of_growth(plan: &StreamPlan, log: &Log) {
    if !plan.is_endless() {
        return;
    }
    for (id, node) in plan.nodes.iter().enumerate() {
        let Some(size) = state_size(plan, id).filter(|size| size.life == StateLife::Forever) else { continue };
        let inputs: Vec<&Node> = node.inputs.iter().filter_map(|i| plan.nodes.get(*i)).collect();
        let advice = match &node.kind {
            NodeKind::MatchRecognize(_) => "WITHIN ends what takes too long",
            _ => "SET 'table.exec.state.ttl' = '1 d' before the INSERT drops what was idle for a day",
        };
        log.info(&format!("warning: {} keeps {size}: {}; {advice}", state_owner(node), describe(node, &inputs)));
    }
}

fn exit_of(error: &Error) -> Exit {
    if error.kind() == ErrorKind::Config { Exit::Usage } else { Exit::Failed }
}

type Tables = Vec<std::sync::Arc<wiesel_core::table::TableDescriptor>>;

fn tables_used(outcomes: &[Outcome]) -> (Tables, Tables) {
    let (mut sources, mut sinks): (Tables, Tables) = (Vec::new(), Vec::new());
    let jobs = outcomes.iter().filter_map(|o| if let Outcome::Jobs(jobs) = o { Some(jobs) } else { None });
    for node in jobs.flatten().flat_map(|job| &job.plan.nodes) {
        let (list, table) = match &node.kind {
            NodeKind::Source(source) => (&mut sources, &source.table),
            NodeKind::Sink(sink) => (&mut sinks, &sink.table),
            _ => continue,
        };
        if !list.iter().any(|t| t.path == table.path) {
            list.push(table.clone());
        }
    }
    (sources, sinks)
}
