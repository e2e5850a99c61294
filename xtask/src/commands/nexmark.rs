//! `cargo xtask nexmark`: the Nexmark queries on wiesel and on Apache Flink, over the same events; writes `tests/nexmark/RESULTS.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::commands::test::{build_binary, repository};
use crate::e2e::postgres::PostgresClient;
use crate::nexmark::{Nexmark, Verdict};
use crate::services::flink::Release;
use crate::services::flink_gateway::FlinkGateway;
use crate::services::process::{catch_interrupts, interrupted};
use crate::services::{Service, Services};

/// Runs the Nexmark queries on wiesel and on Apache Flink 1.20 over the same events and compares the answers.
#[derive(Debug, clap::Args)]
pub(crate) struct NexmarkCommand {
    /// Runs only this query; the page is then printed, not written.
    query: Option<String>,
    /// How many events the source makes.
    #[arg(long, default_value_t = 20_000)]
    events: u64,
    /// A wiesel program instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

impl NexmarkCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        catch_interrupts()?;
        let root = repository()?;
        let binary = match &self.binary {
            Some(binary) => binary.canonicalize().with_context(|| format!("find `{}`", binary.display()))?,
            None => build_binary(&["--package", "wiesel"])?,
        };
        let folder = tempfile::Builder::new().prefix("wiesel-nexmark-").tempdir()?;
        let services = Services::start(&[Service::Postgres].into())?;
        let (postgres, url) = {
            let server = services.postgres()?;
            (server.address(), server.url())
        };
        let nexmark = Nexmark { root: &root, binary: &binary, folder: folder.path(), postgres };
        let mut queries = nexmark.queries()?;
        queries.retain(|query| self.query.as_ref().is_none_or(|wanted| wanted == query));
        ensure!(!queries.is_empty(), "there is no such query");
        nexmark.export(self.events)?;
        nexmark.fill_side_table(&mut PostgresClient::connect(&url)?)?;
        let release = Release::V1;
        let gateway = FlinkGateway::start(release, folder.path())?;
        let mut page = format!(
            "# Nexmark\n\nMade by `cargo xtask nexmark --events {}`: the queries of this folder on wiesel and on Apache Flink {}, over the same file of\n\
             events. The number is that of the rows in the end.\n\n| query | answer |\n|---|---|\n",
            self.events,
            release.version()
        );
        let mut different = 0;
        for query in &queries {
            ensure!(!interrupted(), "interrupted");
            let verdict = match nexmark.compare(&gateway, query) {
                Ok(verdict) => verdict,
                Err(error) => Verdict::Failed(format!("{error:#}")),
            };
            let text = match &verdict {
                Verdict::Equal(rows) => format!("equal, {rows} rows"),
                Verdict::Refused => "refused by both".to_owned(),
                Verdict::NotCompared => "runs on both; it depends on the clock".to_owned(),
                Verdict::Failed(why) => {
                    println!("{query}: {why}");
                    "not run".to_owned()
                }
                Verdict::Differ(lines) => {
                    println!("{query} differs\n  {}", lines.join("\n  "));
                    "differs".to_owned()
                }
            };
            different += usize::from(matches!(verdict, Verdict::Differ(_) | Verdict::Failed(_)));
            println!("{query}: {text}");
            writeln!(page, "| {query} | {text} |")?;
        }
        services.close();
        if self.query.is_none() {
            fs::write(root.join("tests/nexmark/RESULTS.md"), page)?;
        }
        ensure!(different == 0, "{different} queries differ or did not run");
        Ok(())
    }
}
