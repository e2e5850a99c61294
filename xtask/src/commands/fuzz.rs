//! `cargo xtask fuzz TARGET`: feeds damaged text and bytes to one door for a while.

use anyhow::Result;

use crate::cargo;

/// Feeds damaged inputs to a target (sql, env, json, csv, manifest, checkpoint, state) until the time is up or one makes it panic or hang.
#[derive(Debug, clap::Args)]
pub(crate) struct FuzzCommand {
    /// What to feed; all targets one after the other when not given
    target: Option<String>,
    /// How long, each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The first seed; input n has seed S + n
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl FuzzCommand {
    /// Runs the command to its end.
    pub(crate) fn run(&self) -> Result<()> {
        let (seconds, seed) = (self.seconds.to_string(), self.seed.to_string());
        let mut arguments = vec!["test", "--quiet", "--package", "wiesel", "--test", "fuzz", "--"];
        arguments.extend(self.target.as_deref());
        arguments.extend(["--seconds", &seconds, "--seed", &seed]);
        cargo::run(&arguments, &[])
    }
}
