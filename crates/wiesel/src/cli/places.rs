//! `wiesel places LIST FILE`.

use std::path::PathBuf;

use clap::Args;
use wiesel_expr::function::places_from_csv;

use super::Exit;
use crate::log::Log;

/// Make a file for GEOIP from a list of networks and their places
///
/// A line of the list is `network,country,country_code,city,region,latitude,longitude`; empty fields are left out, and `#` begins a remark.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// The list
    list: PathBuf,
    /// The file to write, in MaxMind's format
    file: PathBuf,
}

impl Places {
    pub(crate) fn run(self) -> Exit {
        let log = Log::stderr();
        let text = match std::fs::read_to_string(&self.list) {
            Ok(text) => text,
            Err(e) => {
                log.error(&format!("cannot read `{}`: {e}", self.list.display()));
                return Exit::Usage;
            }
        };
        let (bytes, count) = match places_from_csv(&text) {
            Ok(made) => made,
            Err(e) => {
                log.error(&format!("`{}`: {e}", self.list.display()));
                return Exit::Usage;
            }
        };
        if let Err(e) = std::fs::write(&self.file, &bytes) {
            log.error(&format!("cannot write `{}`: {e}", self.file.display()));
            return Exit::Failed;
        }
        log.info(&format!("{count} networks are in `{}` ({} bytes)", self.file.display(), bytes.len()));
        Exit::Done
    }
}
