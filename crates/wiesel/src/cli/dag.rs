//! `wiesel dag WORKFLOW`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Exit, folder_name, state_root};
use crate::dag::{Settings, Workflow, run};
use crate::log::Log;

/// Run a workflow of pipelines: a YAML file of steps and what they wait for
///
/// A step with bounded sources is done when it ends, an endless one when its first checkpoint is complete; its dependants then run beside
/// it. A failed step stops its dependants. Ctrl-C stops every step with a checkpoint; the same command does what is left.
#[derive(Debug, Args)]
pub(crate) struct Dag {
    /// The workflow file
    workflow: PathBuf,
    /// Do every step anew
    #[arg(long)]
    fresh: bool,
    /// Keep the state of all steps below this folder instead of `.wiesel`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Memory of each step
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Take values from this file where the environment does not have them; repeatable
    #[arg(long = "env-file", value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Connect to TO wherever a table, or a broker's advertised address, says FROM; repeatable
    #[arg(long = "map", value_name = "FROM=TO")]
    map: Vec<String>,
}

impl Dag {
    pub(crate) fn run(self) -> Exit {
        let log = Arc::new(Log::stderr());
        let workflow = match Workflow::read(&self.workflow, &self.env_file) {
            Ok(workflow) => workflow,
            Err(e) => {
                log.error(&e);
                return Exit::Usage;
            }
        };
        let stem = self.workflow.file_stem().map_or_else(|| "workflow".into(), |s| s.to_string_lossy().into_owned());
        let state = state_root(".".as_ref(), self.state.as_ref()).join(format!("{}.dag", folder_name(&stem)));
        run(&workflow, &Settings { state, fresh: self.fresh, arguments: self.arguments(), log: &log })
    }

    /// What every step gets.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        let mut push = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        for file in &self.env_file {
            push("--env-file", file.display().to_string());
        }
        for pair in &self.map {
            push("--map", pair.clone());
        }
        if let Some(memory) = &self.memory {
            push("--memory", memory.clone());
        }
        if self.fresh {
            arguments.push("--fresh".to_owned());
        }
        arguments
    }
}
