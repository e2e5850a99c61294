//! `wiesel explain-error CODE`.

use clap::Args;
use wiesel_core::diagnostic::{CODES, find_code, nearest};

use super::Exit;
use crate::log::Log;

/// Say what an error code means
#[derive(Debug, Args)]
pub(crate) struct ExplainError {
    /// The code, for instance W0301; all codes are listed without it
    code: Option<String>,
}

impl ExplainError {
    #[allow(clippy::print_stdout, reason = "the answer is data")]
    pub(crate) fn run(self) -> Exit {
        let Some(code) = self.code else {
            for (code, title, _) in CODES {
                println!("{code}  {title}");
            }
            return Exit::Done;
        };
        match find_code(&code) {
            Some((code, title, page)) => {
                println!("{code}: {title}\n\nSee docs/errors.md, section \"{page}\".");
                Exit::Done
            }
            None => {
                let hint = nearest(&code, CODES.iter().map(|(c, _, _)| *c));
                let hint = hint.map_or_else(String::new, |c| format!("; did you mean {c}?"));
                Log::stderr().error(&format!("no error code `{code}`{hint}"));
                Exit::Usage
            }
        }
    }
}
