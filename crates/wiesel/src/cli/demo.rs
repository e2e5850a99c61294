//! `wiesel demo`: the main job on embedded defaults, no server needed.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use wiesel_engine::step::control::FailPoints;

use super::{Exit, Overrides, run};
use crate::jobs::{DemoTotals, RunOptions};
use crate::log::{Level, Log, LogFormat};
use crate::script;

/// The job, as it stands in the examples.
const JOB: &str = include_str!("../../../../examples/demo/job.sql");

/// Show wiesel at work without any server: payments from a generator, totals per branch here, sums per second in Parquet files
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Stop after this many payments instead of at Ctrl-C
    #[arg(long)]
    count: Option<u64>,
    /// Where the Parquet files go
    #[arg(long, default_value = "wiesel-demo", value_name = "DIR")]
    output: PathBuf,
}

impl Demo {
    pub(crate) fn run(self) -> Exit {
        let level = if std::io::stdout().is_terminal() { Level::Warn } else { Level::Info };
        let log = match Log::new(None, LogFormat::Text, level) {
            Ok(log) => Arc::new(log),
            Err(_) => return Exit::Failed,
        };
        let overrides = Overrides::default();
        let registry = overrides.registry();
        let mut options = vec![wiesel_sql::session::TableOption {
            table: "branch_sums".to_owned(),
            key: "path".to_owned(),
            value: self.output.display().to_string(),
        }];
        if let Some(count) = self.count {
            options.push(wiesel_sql::session::TableOption {
                table: "payments".to_owned(),
                key: "number-of-rows".to_owned(),
                value: count.to_string(),
            });
        }
        let script = match script::load_text("demo/job.sql", JOB.to_owned(), registry.clone(), options, &log) {
            Ok(script) => script,
            Err(exit) => return exit,
        };
        let options = RunOptions {
            registry,
            state_dir: self.output.join(".wiesel").join("demo"),
            fresh: true,
            allow_duplicates: false,
            memory_bytes: 256 << 20,
            fail_points: FailPoints::default(),
            allow_non_restored_state: false,
            savepoint: None,
            totals: Some(DemoTotals::default()),
        };
        let exit = run::run_script(script, &options, &log, false);
        let mut stdout = std::io::stdout();
        // A reader that is gone needs no farewell.
        _ = writeln!(
            stdout,
            "\nSums per second are in {}/part-*.\nNext: wiesel run examples/payments-to-elasticsearch/job.sql --map kafka:9092=127.0.0.1:9092 --map elasticsearch:9200=127.0.0.1:9200",
            self.output.display()
        );
        exit
    }
}
