//! `wiesel functions [NAME]`.

use clap::Args;
use wiesel_core::diagnostic::nearest;
use wiesel_expr::function::{ScalarFunction, all, lookup};

use super::Exit;
use crate::log::Log;

/// Say what a scalar function or operator does
#[derive(Debug, Args)]
pub(crate) struct Functions {
    /// The function, for instance LPAD; all are listed without it
    name: Option<String>,
}

impl Functions {
    #[allow(clippy::print_stdout, reason = "the answer is data")]
    pub(crate) fn run(self) -> Exit {
        let line = |function: &dyn ScalarFunction| println!("{}  {}", function.name(), function.doc());
        let Some(name) = self.name else {
            all().iter().for_each(|function| line(*function));
            return Exit::Done;
        };
        if let Some(function) = lookup(&name) {
            line(function);
            return Exit::Done;
        }
        let hint = nearest(&name.to_ascii_uppercase(), all().iter().map(|function| function.name()));
        let hint = hint.map_or_else(String::new, |name| format!("; did you mean {name}?"));
        Log::stderr().error(&format!("no scalar function `{name}`{hint}"));
        Exit::Usage
    }
}
