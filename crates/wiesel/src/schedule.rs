//! Savepoints on a schedule: `SET 'wiesel.savepoint.interval'` with `'execution.checkpointing.savepoint-dir'`.
//!
//! Looked at whenever the process looks at its jobs, about twice a second. One savepoint is under way at a time; the newest ones are
//! kept, older ones of the schedule are removed. Savepoints asked for by command are never removed.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use wiesel_core::env::{monotonic, wall_clock_ms};
use wiesel_engine::checkpoint;
use wiesel_engine::step::control::Control;

/// Scheduled savepoints that are kept.
const KEPT: usize = 3;

/// The savepoint of one job that is waited for.
type Asked = (String, Receiver<Result<PathBuf, String>>);

/// When the next savepoint is due, and the one under way.
pub(crate) struct Schedule {
    pub(crate) interval: Duration,
    dir: PathBuf,
    /// `scheduled-<name>-`, behind which the time follows.
    prefix: String,
    last: Instant,
    under_way: Option<(PathBuf, Vec<Asked>)>,
}

impl Schedule {
    /// The first one is due after the interval. The last part of the state folder is the name.
    pub(crate) fn new(interval: Duration, dir: &str, state_dir: &Path) -> Self {
        let name = state_dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Schedule {
            interval,
            dir: PathBuf::from(dir.strip_prefix("file://").unwrap_or(dir)),
            prefix: format!("scheduled-{name}-"),
            last: monotonic(),
            under_way: None,
        }
    }

    /// Asks for what is due, and says what became of what was asked for.
    pub(crate) fn look(&mut self, jobs: &[(String, Control)]) -> Option<String> {
        if let Some((folder, asked)) = &mut self.under_way {
            let mut failures = Vec::new();
            asked.retain(|(name, answered)| match answered.try_recv() {
                Err(TryRecvError::Empty) => true,
                Ok(Ok(_)) => false,
                Ok(Err(error)) => {
                    failures.push(format!("job `{name}`: {error}"));
                    false
                }
                Err(TryRecvError::Disconnected) => {
                    failures.push(format!("job `{name}` ended before"));
                    false
                }
            });
            if !failures.is_empty() {
                let text = format!("no scheduled savepoint: {}", failures.join("; "));
                drop(checkpoint::remove(folder));
                self.under_way = None;
                return Some(text);
            }
            if !asked.is_empty() {
                return None;
            }
            let text = format!("scheduled savepoint: {}", folder.display());
            self.under_way = None;
            self.sweep();
            return Some(text);
        }
        if monotonic().duration_since(self.last) < self.interval || jobs.is_empty() {
            return None;
        }
        self.last = monotonic();
        let folder = self.dir.join(format!("{}{}", self.prefix, wall_clock_ms()));
        let ask = |(name, control): &(String, Control)| (name.clone(), control.savepoint(folder.join(name)));
        let asked = jobs.iter().map(ask).collect();
        self.under_way = Some((folder, asked));
        None
    }

    fn sweep(&self) {
        let Ok(folders) = checkpoint::folders(&self.dir) else { return };
        let mut own: Vec<(i64, PathBuf)> = folders
            .iter()
            .filter_map(|name| Some((name.strip_prefix(&self.prefix)?.parse().ok()?, self.dir.join(name))))
            .collect();
        own.sort();
        for (_, path) in own.iter().rev().skip(KEPT) {
            // What cannot be removed now is tried again after the next one.
            drop(checkpoint::remove(path));
        }
    }
}
