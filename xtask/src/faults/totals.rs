//! What all cases of a run did together: deaths, comparisons, and what was found wrong, by sink.
//!
//! A death counts only while rows flow: rows were produced after the process that died had started.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What was compared in one kind of sink, and what was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OfSink {
    /// Comparisons of what it shows with the oracle.
    pub(crate) checks: u64,
    /// Comparisons that found rows that must not be there, or are there twice.
    pub(crate) doubled: u64,
    /// Comparisons that found rows missing.
    pub(crate) lost: u64,
    /// Temporary files or open transactions after a clean end.
    pub(crate) leftovers: u64,
}

/// The sums.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Random lists begun.
    pub(crate) lists: u64,
    /// Rows produced into topics.
    pub(crate) rows: u64,
    /// Kills from outside.
    pub(crate) kills: u64,
    /// Deaths at a named step, by step.
    pub(crate) points: BTreeMap<&'static str, u64>,
    /// Deaths while no row had been produced since the start.
    pub(crate) idle: u64,
    /// Servers that were killed and started again by random lists.
    pub(crate) server_restarts: u64,
    /// Faults of the network in random lists.
    pub(crate) network_faults: u64,
    /// By the word for the sink.
    pub(crate) sinks: BTreeMap<&'static str, OfSink>,
}

impl Totals {
    /// Deaths at a named step.
    pub(crate) fn at_points(&self) -> u64 {
        self.points.values().sum()
    }

    /// What was done, in one line.
    pub(crate) fn sentence(&self) -> String {
        let steps: Vec<String> = self.points.iter().map(|(name, count)| format!("{name} {count}")).collect();
        format!(
            "{} kills while rows flowed ({} from outside, {} at named steps: {}), {} comparisons",
            self.kills + self.at_points(),
            self.kills,
            self.at_points(),
            steps.join(", "),
            self.checks()
        )
    }

    /// Comparisons with the oracle.
    pub(crate) fn checks(&self) -> u64 {
        self.sinks.values().map(|sink| sink.checks).sum()
    }
}

static TOTALS: Mutex<Option<Totals>> = Mutex::new(None);

/// What was done so far.
pub(crate) fn totals() -> Totals {
    TOTALS.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
}

/// Changes the sums.
pub(super) fn count(change: impl FnOnce(&mut Totals)) {
    change(TOTALS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
}

/// Counts a death: at a named step, or from outside.
pub(super) fn count_death(point: Option<&'static str>, do_rows_flow: bool) {
    count(|totals| match point {
        _ if !do_rows_flow => totals.idle += 1,
        Some(point) => *totals.points.entry(point).or_default() += 1,
        None => totals.kills += 1,
    });
}

/// Changes the sums of a kind of sink.
pub(super) fn count_sink(sink: &'static str, change: impl FnOnce(&mut OfSink)) {
    count(|totals| change(totals.sinks.entry(sink).or_default()));
}
