//! `wiesel kibana load SYSTEM`, `wiesel kibana export SYSTEM`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use wiesel_core::diagnostic::nearest;
use wiesel_core::secret;

use super::Exit;
use crate::kibana::{Access, BOARDS, Board, Line, lines, load};
use crate::log::Log;

/// The dashboard of an example system in Kibana: index patterns, visualisations, one dashboard
#[derive(Debug, Args)]
pub(crate) struct Kibana {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Load(Load),
    Export(Export),
}

/// Load the dashboard into a running Kibana; what an earlier load brought is replaced
///
/// Waits until Kibana serves. Who asks is said by KIBANA_USERNAME and KIBANA_PASSWORD, or by KIBANA_API_KEY, in the environment.
#[derive(Debug, Args)]
struct Load {
    /// The system: the name of its folder under examples/
    system: String,
    /// Where Kibana is
    #[arg(long, default_value = "http://localhost:5601")]
    url: String,
    /// How many seconds to wait until it serves
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(..=3600))]
    wait: u64,
    /// The form of the objects; by Kibana's version otherwise
    #[arg(long, value_enum)]
    form: Option<Line>,
}

/// Print the saved objects, one JSON object per line, for Kibana's own import
#[derive(Debug, Args)]
struct Export {
    /// The system: the name of its folder under examples/
    system: String,
    /// The form of the objects
    #[arg(long, value_enum, default_value = "8.0")]
    form: Line,
}

impl Kibana {
    pub(crate) fn run(self) -> Exit {
        match self.action {
            Action::Load(load) => load.run(),
            Action::Export(export) => export.run(),
        }
    }
}

fn board(system: &str, log: &Log) -> Option<&'static Board> {
    let found = BOARDS.iter().find(|board| board.system == system);
    if found.is_none() {
        let names = BOARDS.iter().map(|board| board.system);
        let near = nearest(system, names.clone()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let names = names.collect::<Vec<_>>().join(", ");
        log.error(&format!("no dashboard for `{system}`{near}; systems that have one: {names}"));
    }
    found
}

impl Load {
    fn run(self) -> Exit {
        let log = Log::stderr();
        let Some(board) = board(&self.system, &log) else { return Exit::Usage };
        let access = Access {
            url: self.url.trim_end_matches('/').to_owned(),
            authorization: authorization(),
            wait: Duration::from_secs(self.wait),
        };
        match load(board, &access, self.form, &log) {
            Ok(loaded) => {
                let version =
                    if loaded.version.is_empty() { "Kibana".to_owned() } else { format!("Kibana {}", loaded.version) };
                log.info(&format!(
                    "{} objects are in {version}; the dashboard `{}` is at {}/app/dashboards#/view/wiesel-{}",
                    loaded.objects, board.title, access.url, board.system
                ));
                Exit::Done
            }
            Err(text) => {
                log.error(&text);
                Exit::Failed
            }
        }
    }
}

impl Export {
    #[allow(clippy::print_stdout, reason = "the objects are data")]
    fn run(self) -> Exit {
        let Some(board) = board(&self.system, &Log::stderr()) else { return Exit::Usage };
        print!("{}", lines(board, self.form));
        Exit::Done
    }
}

/// The header of the environment's user or key, kept out of everything that is said.
fn authorization() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(key) = variable("KIBANA_API_KEY") {
        secret::keep(&key);
        return Some(format!("ApiKey {key}"));
    }
    let (user, password) = (variable("KIBANA_USERNAME")?, variable("KIBANA_PASSWORD")?);
    secret::keep(&password);
    let credentials = STANDARD.encode(format!("{user}:{password}"));
    secret::keep(&credentials);
    Some(format!("Basic {credentials}"))
}
