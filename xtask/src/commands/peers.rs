//! `cargo xtask peers`: the SQL data files on wiesel and on a real Apache Flink; writes `tests/sql/PEERS.md`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use wiesel_slt::record::find;

use crate::commands::test::{build_binary, repository};
use crate::peers::report::markdown;
use crate::peers::{compare_file, outputs};
use crate::services::flink::Release;
use crate::services::flink_gateway::FlinkGateway;
use crate::services::process::catch_interrupts;

/// Runs the SQL data files on wiesel and on Apache Flink 1.20, prints each difference, and writes tests/sql/PEERS.md.
#[derive(Debug, clap::Args)]
pub(crate) struct PeersCommand {
    /// Runs only the files whose name contains this text; the page is then printed, not written.
    filter: Option<String>,
    /// A wiesel program instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

impl PeersCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        catch_interrupts()?;
        let root = repository()?;
        let binary = match &self.binary {
            Some(binary) => binary.canonicalize().with_context(|| format!("find `{}`", binary.display()))?,
            None => build_binary(&["--package", "wiesel"])?,
        };
        let folder = root.join("tests/sql");
        let mut files = find(&folder)?;
        let name = |file: &Path| file.strip_prefix(&root).unwrap_or(file).display().to_string();
        files.retain(|file| self.filter.as_ref().is_none_or(|filter| name(file).contains(filter.as_str())));
        ensure!(!files.is_empty(), "no data file has a name like that");
        let ours = outputs(&binary, &files)?;
        let work = tempfile::Builder::new().prefix("wiesel-peers-").tempdir()?;
        let release = Release::V1;
        let gateway = FlinkGateway::start(release, work.path())?;
        let mut reports = Vec::new();
        for (number, (file, ours)) in files.iter().zip(&ours).enumerate() {
            let report = compare_file(&gateway, work.path(), number, file, ours)?;
            let unlike = report.unlike();
            match &report.skipped {
                Some(why) => println!("skipped  {}: {why}", name(file)),
                None if unlike.is_empty() => println!("agree    {}", name(file)),
                None => println!("differ   {}\n  {}", name(file), unlike.join("\n  ")),
            }
            reports.push((name(file), report));
        }
        drop(gateway);
        let page = markdown(release.version(), &reports);
        if self.filter.is_none() {
            fs::write(folder.join("PEERS.md"), page)?;
        } else {
            println!("\n{page}");
        }
        Ok(())
    }
}
