//! `wiesel init SYSTEM`: the files of an example system, which are part of the program.

use std::path::{Path, PathBuf};

use clap::Args;
use wiesel_core::diagnostic::nearest;

use super::Exit;
use crate::log::Log;

macro_rules! files {
    ($folder:literal: $($file:literal),+) => {
        ($folder, &[$(($file, include_bytes!(concat!("../../../../examples/", $folder, "/", $file)).as_slice())),+])
    };
}

/// A system: its name, and its files with what is in them.
type System = (&'static str, &'static [(&'static str, &'static [u8])]);

/// Every system, sorted by name.
const SYSTEMS: [System; 5] = [
    files!("logs-to-elasticsearch": "Makefile", "README.md", "compose.yaml", "edge_logs.py", "job.sql", "kibana-7.8.ndjson", "kibana-8.0.ndjson", "test.slt", "windowed.sql", "windowed.slt"),
    files!("logs-to-parquet": "Makefile", "README.md", "compose.yaml", "job.sql", "partitioned.sql", "partitioned.slt", "test.slt", "workflow.yaml"),
    files!("payments-to-elasticsearch": "Makefile", "README.md", "compose.yaml", "job.sql", "kibana-7.8.ndjson", "kibana-8.0.ndjson", "payment_msg_processing.py", "test.slt"),
    files!("web-traffic-to-postgresql": "Makefile", "README.md", "analysis.sql", "analysis.slt", "cities.sql", "cities.slt", "compose.yaml", "init.sql", "job.sql", "places.csv", "places.mmdb", "test.slt"),
    files!("windowed-amounts-to-elasticsearch": "Makefile", "README.md", "compose.yaml", "job.sql", "kibana-7.8.ndjson", "kibana-8.0.ndjson", "test.slt"),
];

/// Write a ready folder for one of the five systems: job, tests, compose file, Makefile
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The system; without it, the list of them
    system: Option<String>,
    /// The folder to write; the system's name by default
    folder: Option<PathBuf>,
}

impl Init {
    #[allow(clippy::print_stdout, reason = "the list is data")]
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let names = SYSTEMS.map(|(name, _)| name);
        let Some(wanted) = &self.system else {
            println!("{}", names.join("\n"));
            return Exit::Done;
        };
        let Some((name, files)) = SYSTEMS.iter().find(|(name, _)| name == wanted) else {
            let near = nearest(wanted, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            log.error(&format!("there is no system `{wanted}`{near}; systems: {}", names.join(", ")));
            return Exit::Usage;
        };
        let folder = self.folder.unwrap_or_else(|| PathBuf::from(name));
        if let Err(e) = write(&folder, files) {
            log.error(&e);
            return Exit::Usage;
        }
        log.info(&format!(
            "wrote {} files into `{}`; next: cd {} && wiesel check job.sql && wiesel test test.slt",
            files.len(),
            folder.display(),
            folder.display()
        ));
        Exit::Done
    }
}

/// Writes all files, or none: what is there already is never replaced.
fn write(folder: &Path, files: &[(&str, &[u8])]) -> Result<(), String> {
    if let Some((file, _)) = files.iter().find(|(file, _)| folder.join(file).exists()) {
        return Err(format!("`{}` is there already\nhint: give another folder", folder.join(file).display()));
    }
    std::fs::create_dir_all(folder).map_err(|e| format!("cannot make `{}`: {e}", folder.display()))?;
    for (file, bytes) in files {
        let path = folder.join(file);
        std::fs::write(&path, bytes).map_err(|e| format!("cannot write `{}`: {e}", path.display()))?;
    }
    Ok(())
}
