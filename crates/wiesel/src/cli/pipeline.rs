//! `wiesel pipeline NAME k=v ...`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Exit;
use super::run::{How, Work};
use crate::log::Log;
use crate::pipeline::{FOLDER, Pipeline as Template, Values};
use crate::script;
use crate::tableau::text_table;

/// Run a pipeline: a SQL template with declared parameters
///
/// Pipelines of your own are folders `pipelines/NAME` with a `pipeline.yaml` and a `job.sql`. Without a name, lists what there is.
#[derive(Debug, Args)]
pub(crate) struct Pipeline {
    /// Which one
    name: Option<String>,
    /// Values of its parameters
    #[arg(value_name = "PARAMETER=VALUE", value_parser = parse_value)]
    values: Vec<(String, String)>,
    /// Print every value and where it is from, secrets hidden, and run nothing
    #[arg(long)]
    show: bool,
    /// Take values from this Java properties file instead of the declared one
    #[arg(long, value_name = "FILE")]
    properties: Option<PathBuf>,
    /// What its state folder is called; two runs of one pipeline with different values need two names
    #[arg(long = "as", value_name = "NAME")]
    alias: Option<String>,
    #[command(flatten)]
    how: How,
}

fn parse_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected PARAMETER=VALUE, for instance topic=events".to_owned()),
    }
}

impl Pipeline {
    #[allow(clippy::print_stdout, reason = "the lists are data")]
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let Some(name) = &self.name else {
            return list(&log);
        };
        let template = match Template::find(name) {
            Ok(template) => template,
            Err(e) => {
                log.error(&e);
                return Exit::Usage;
            }
        };
        let resolved = template.resolve(&self.values, self.how.overrides().env_files(), self.properties.as_deref());
        let values = match resolved {
            Ok(values) => values,
            Err(problems) => {
                log.error(&problems.join("\n"));
                return Exit::Usage;
            }
        };
        if self.show {
            print!("{}", shown(&values));
            return Exit::Done;
        }
        let file = PathBuf::from(template.template_name());
        let work = Work { file: &file, folder: Path::new("."), name: self.alias.as_deref().unwrap_or(name) };
        self.how.run(&work, |how, registry, log| {
            let values_shown: Vec<String> = values
                .rows()
                .into_iter()
                .map(|row| row.into_iter().flatten().take(2).collect::<Vec<_>>().join("="))
                .collect();
            log.info(&format!("pipeline `{name}`: {}", values_shown.join(" ")));
            script::load_pipeline(&template, &values, registry, how.overrides(), log)
        })
    }
}

/// The values and their origins as a table.
pub(super) fn shown(values: &Values) -> String {
    text_table(&["parameter", "value", "from"].map(str::to_owned), &values.rows())
}

#[allow(clippy::print_stdout, reason = "the list is data")]
fn list(log: &Log) -> Exit {
    let mut worst = Exit::Done;
    for name in Template::names() {
        match Template::find(&name) {
            Ok(template) => print!("{}", template.describe()),
            Err(e) => {
                log.error(&e);
                worst = Exit::Usage;
            }
        }
    }
    println!("Pipelines of your own: folders below `{FOLDER}/` with a pipeline.yaml and a job.sql.");
    worst
}
