//! The rule by which a sink that keeps a record of epochs lets a run in, and knows its own commits again. Pure: the record itself lies in
//! the system (a row of PostgreSQL, the metadata of a group offset of Kafka).
//!
//! ```text
//! record: generation 7, written by 6 up to epoch 41
//!         |             '-- the last commit: it was made for checkpoint 41 of the run that had claimed generation 6
//!         '-- the run that may write; every start claims the next number, so an older run is refused from then on
//! ```
//! A checkpoint id alone does not say whether an epoch was committed, because two state folders count alike: with the generation that
//! staged the rows it does. A run may begin behind the record only when that is asked for, since its rows would come twice.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use wiesel_core::sink::{Claim, RefusedRow, RunStart};
use wiesel_core::{Error, Result};

use crate::refused::Refusals;
use crate::stage;

/// What the system holds for one sink of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The run that may write.
    pub(crate) generation: u64,
    /// The run that staged what was committed last; 0: nothing was.
    pub(crate) writer: u64,
    /// The checkpoint that it was committed for.
    pub(crate) epoch: u64,
    /// That checkpoint was the end of the run's input.
    pub(crate) is_last: bool,
}

impl Record {
    /// Whether the rows that `writer` staged for `epoch` are there already.
    pub(crate) fn has(&self, writer: u64, epoch: u64) -> bool {
        self.writer == writer && self.epoch >= epoch
    }

    /// The record after the commit of those rows.
    pub(crate) fn after(&self, pending: &Pending, epoch: u64) -> Record {
        Record { generation: self.generation, writer: pending.writer, epoch, is_last: pending.is_last }
    }
}

/// What a checkpoint keeps of a sink instance: by which generation it was taken, and up to which epoch refused rows were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) generation: u64,
    #[serde(default)]
    pub(crate) told: u64,
}

/// Work that a checkpoint hands over: a staging file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) writer: u64,
    pub(crate) is_last: bool,
    pub(crate) stage: stage::Staged,
}

/// Staged bytes of one sink that are not committed yet: with more the job waits for its commits.
const UNCONFIRMED_BYTES_MAX: u64 = 1 << 30;

/// What the factory of an exactly-once sink and its instances know of each other: the factory claims and commits, the instances stage and
/// count.
#[derive(Debug)]
pub(crate) struct Run {
    folder: PathBuf,
    prefix: String,
    /// Refused rows are handed over, and do not end the job.
    pub(crate) hands_over_refused: bool,
    /// What this run has claimed; 0: nothing yet.
    generation: AtomicU64,
    /// Changes of this run that are committed.
    delivered: AtomicU64,
    refused: AtomicU64,
    retried: AtomicU64,
    unconfirmed_bytes: AtomicU64,
    refusals: Mutex<Refusals>,
}

impl Run {
    /// The run of a sink whose files lie in `folder` and begin with `prefix`.
    pub(crate) fn new(folder: &str, prefix: String, hands_over_refused: bool) -> Run {
        let folder = PathBuf::from(folder);
        Run {
            refusals: Mutex::new(Refusals::new(&folder, &prefix)),
            folder,
            prefix,
            hands_over_refused,
            generation: AtomicU64::default(),
            delivered: AtomicU64::default(),
            refused: AtomicU64::default(),
            retried: AtomicU64::default(),
            unconfirmed_bytes: AtomicU64::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation that this run has claimed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// This run has claimed a generation.
    pub(crate) fn claimed(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// A transaction did not come through.
    pub(crate) fn tried_again(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// A file is sealed and waits for its commit.
    pub(crate) fn staged(&self, bytes: u64) {
        self.unconfirmed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether so much waits for its commit that nothing more may be staged.
    pub(crate) fn is_full(&self) -> bool {
        self.unconfirmed_bytes.load(Ordering::Relaxed) >= UNCONFIRMED_BYTES_MAX
    }

    /// Keeps the rows that the system refuses, before its own commit.
    pub(crate) fn keep_refused(&self, checkpoint: u64, rows: &[RefusedRow]) -> Result<()> {
        if self.hands_over_refused { self.refusals().keep(checkpoint, rows) } else { Ok(()) }
    }

    /// The rows are in the system: they are counted, and their staging files are no longer needed.
    pub(crate) fn committed(&self, checkpoint: u64, pending: &[Pending]) -> Result<()> {
        let refused = self.refusals().committed(checkpoint)?;
        // What an earlier run staged was counted by that run as received.
        let is_own = |part: &&Pending| part.writer == self.generation();
        if pending.iter().any(|part| is_own(&part)) {
            let changes: u64 = pending.iter().filter(is_own).map(|part| part.stage.changes).sum();
            let bytes: u64 = pending.iter().filter(is_own).map(|part| part.stage.bytes).sum();
            self.delivered.fetch_add(changes.saturating_sub(refused), Ordering::Relaxed);
            self.refused.fetch_add(refused, Ordering::Relaxed);
            self.unconfirmed_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        pending.iter().try_for_each(|part| stage::remove(&self.folder, &part.stage))
    }

    /// Everything that a checkpoint names is committed by now.
    pub(crate) fn recover(&self, restored: &[Vec<u8>]) -> Result<()> {
        stage::sweep(&self.folder, &self.prefix)?;
        if !self.hands_over_refused {
            return Ok(());
        }
        let mut told = None;
        for state in restored.iter().filter(|state| !state.is_empty()) {
            told = told.max(Some(decode::<Known>(state)?.told));
        }
        self.refusals().recover(told)
    }

    /// Delivered, refused and retried so far.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.delivered), count(&self.refused), count(&self.retried))
    }
}

/// Bytes for a checkpoint.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::internal(format!("a sink's state could not be written: {e}")))
}

/// The way back.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::data(format!("a sink's part of the checkpoint is damaged: {e}")))
}

/// The generation that a run claims, or why it must not begin.
pub(crate) fn claim(record: &Record, claim: &Claim<'_>, sink: &str) -> Result<u64> {
    let mut known = 0;
    for state in claim.restored.iter().filter(|state| !state.is_empty()) {
        known = known.max(decode::<Known>(state)?.generation);
    }
    let next = record.generation + 1;
    let written = format!("epoch {} of generation {}", record.epoch, record.writer);
    let refusal = match claim.start {
        RunStart::OnRequest => return Ok(next),
        RunStart::Fresh if record.writer == 0 || record.is_last => return Ok(next),
        RunStart::Fresh => format!(
            "sink `{sink}` has committed {written} of this job, and there is no checkpoint to go on from, so the run would \
             write rows again"
        ),
        RunStart::After(_) if record.writer < known || record.writer == 0 => return Ok(next),
        RunStart::After(checkpoint) if record.writer == known && record.epoch <= checkpoint => return Ok(next),
        RunStart::After(checkpoint) => {
            let positions = if claim.positions.is_empty() { String::new() } else { format!(" ({})", claim.positions) };
            format!(
                "sink `{sink}` has committed {written}, which is past checkpoint {checkpoint} of generation {known}{positions}: \
                 going on from there would write the rows behind these positions again"
            )
        }
    };
    Err(Error::config(refusal).hint(
        "go on from the newest checkpoint of the run that wrote last, or take rows twice: `--allow-duplicates`; \
         `--fresh` reads the sources from their configured start",
    ))
}

/// The end of a run whose sink another one has claimed.
pub(crate) fn superseded(sink: &str, mine: u64, record: &Record) -> Error {
    Error::superseded(format!(
        "superseded: generation {} has claimed sink `{sink}`, this run is generation {mine}",
        record.generation
    ))
    .hint(
        "the newer run goes on; start this one again only to take over from it. If that is another job whose file has the same name, give \
         each of them a name of its own: SET 'pipeline.name' = '...'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(generation: u64) -> Vec<Vec<u8>> {
        vec![encode(&Known { generation, told: 0 }).unwrap()]
    }

    fn record(generation: u64, writer: u64, epoch: u64, is_last: bool) -> Record {
        Record { generation, writer, epoch, is_last }
    }

    #[test]
    fn a_run_claims_the_next_generation_unless_it_would_begin_behind_the_record() {
        let (fresh, request, after) = (RunStart::Fresh, RunStart::OnRequest, RunStart::After);
        type Case = (&'static str, Record, RunStart, Vec<Vec<u8>>, Option<u64>);
        let cases: &[Case] = &[
            ("the first run", Record::default(), fresh, vec![], Some(1)),
            ("fresh, nothing committed yet", record(3, 0, 0, false), fresh, vec![], Some(4)),
            ("fresh after a finished run", record(3, 3, 9, true), fresh, vec![], Some(4)),
            ("fresh behind a run that goes on", record(3, 3, 9, false), fresh, vec![], None),
            ("fresh by request", record(3, 3, 9, false), request, vec![], Some(4)),
            ("resumed where it stopped", record(3, 3, 9, false), after(9), state(3), Some(4)),
            ("resumed before the commit of 9 was made", record(3, 3, 8, false), after(9), state(3), Some(4)),
            ("resumed after another claim without rows", record(5, 3, 9, false), after(9), state(3), Some(6)),
            ("its own run wrote nothing yet", record(3, 2, 40, false), after(9), state(3), Some(4)),
            ("an older checkpoint", record(3, 3, 9, false), after(8), state(3), None),
            ("another run wrote since", record(4, 4, 10, false), after(12), state(3), None),
            ("a checkpoint from before the setting", record(4, 4, 10, false), after(12), vec![vec![]], None),
            ("the setting is new", Record::default(), after(12), vec![vec![]], Some(1)),
        ];
        for (what, record, start, restored, expected) in cases {
            let found = claim(record, &Claim { start: *start, restored, positions: "t-0 at 5" }, "s");
            assert_eq!(found.as_ref().ok(), expected.as_ref(), "{what}: {found:?}");
        }
        let late = Claim { start: after(8), restored: &state(3), positions: "t-0 at 5" };
        let text = claim(&record(3, 3, 9, false), &late, "s").unwrap_err().to_string();
        for part in ["sink `s`", "epoch 9", "checkpoint 8", "t-0 at 5", "--allow-duplicates"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_epoch_is_known_again_by_who_staged_it() {
        let record = record(7, 6, 41, false);
        assert!(record.has(6, 41) && record.has(6, 40));
        assert!(!record.has(6, 42) && !record.has(5, 41) && !record.has(7, 1));
    }
}
