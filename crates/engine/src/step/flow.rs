//! Event time between the phases of a step: what the sources brought becomes tasks, what the tasks found moves the watermarks.
//!
//! Only the loop thread comes here, while no worker runs, so nothing is shared. A source without watermark push-down is cut in front of
//! the first row that must see a newer watermark; the rows behind the cut are carried into the next step.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wiesel_core::Result;

use super::assemble::MEMORY_SHARE;
use super::exchange::Tag;
use super::graph::Graph;
use super::intake::{Budget, Intake};
use super::metrics::{Metrics, lock};
use super::worker::{Held, Released, Shared, StepInput, Task};
use crate::checkpoint::manifest::WatermarkEntry;
use crate::time::{EdgeTime, Generator};

/// A step that took longer makes the next ones smaller.
const STEP_LONG: Duration = Duration::from_millis(50);
/// A full step that was faster makes the next ones larger.
const STEP_SHORT: Duration = Duration::from_millis(10);
const STEP_ROWS_MIN: usize = 256;
const STEP_ROWS_START: usize = 8_192;
const STEP_ROWS_MAX: usize = 262_144;
const STEP_BYTES_MIN: usize = 256 << 10;
const STEP_BYTES_START: usize = 2 << 20;
const STEP_BYTES_MAX: usize = 8 << 20;

/// Sources and event time: what the loop thread decides with between the phases of a step.
pub(super) struct Flow {
    pub(super) intakes: Vec<Intake>,
    pub(super) generators: Vec<Generator>,
    /// By watermark node: its source, and the rows behind a cut.
    pub(super) generator_source: Vec<usize>,
    pub(super) carry: Vec<Vec<Held>>,
    /// By watermark node: what a manifest says of its splits, and how many of the source's splits were told.
    pub(super) restored: Vec<(Vec<(String, i64)>, usize)>,
    pub(super) is_finished: bool,
}
impl Flow {
    pub(super) fn has_carry(&self) -> bool {
        self.carry.iter().any(|c| !c.is_empty())
    }

    pub(super) fn has_rows(&self) -> bool {
        self.has_carry() || self.intakes.iter().any(Intake::has_pending)
    }

    pub(super) fn is_open(&self) -> bool {
        self.intakes.iter().all(|i| i.is_open)
    }

    /// Takes over what the sources brought; says whether there was anything.
    pub(super) fn drain(&mut self, now_ms: i64, metrics: &Metrics) -> Result<bool> {
        let mut is_news = false;
        for intake in &mut self.intakes {
            is_news |= intake.drain(now_ms, metrics.source_of(intake.node))?;
        }
        // Splits that a manifest knows go on with their watermarks as soon as the source has named them.
        for (index, (restored, told)) in self.restored.iter_mut().enumerate() {
            let splits = &self.intakes[self.generator_source[index]].splits;
            for (split, state) in splits.iter().enumerate().skip(*told) {
                if let Some((_, watermark)) = restored.iter().find(|(name, _)| *name == state.name) {
                    self.generators[index].fold(split, *watermark);
                }
            }
            *told = splits.len();
        }
        Ok(is_news)
    }

    pub(super) fn watermark_entries(&self, graph: &Graph, ids: &[String]) -> Vec<WatermarkEntry> {
        let entry = |(index, generator): (usize, &Generator)| {
            let splits = &self.intakes[self.generator_source[index]].splits;
            let per_split =
                splits.iter().enumerate().map(|(s, state)| (state.name.clone(), generator.split_maximum(s)));
            WatermarkEntry {
                operator: ids[graph.nodes[graph.watermarks[index]].plan_node].clone(),
                table: self.intakes[self.generator_source[index]].table.clone(),
                emitted: generator.emitted().watermark,
                splits: if generator.is_by_table() {
                    vec![(String::new(), generator.split_maximum(0))]
                } else {
                    per_split.collect()
                },
            }
        };
        self.generators.iter().enumerate().map(entry).collect()
    }

    pub(super) fn next_timer_ms(&self, now_ms: i64) -> Option<i64> {
        let timers = self.generators.iter().zip(&self.generator_source);
        timers.filter_map(|(g, &source)| g.next_timer_ms(now_ms, &self.intakes[source].split_times())).min()
    }

    /// Cuts a step's tasks; says whether the budget was what ended it.
    pub(super) fn take(&mut self, budget: Budget, workers: usize, tasks: &mut Vec<Task>) -> bool {
        let waits = |source: usize, carry: &[Vec<Held>], of: &[usize]| {
            of.iter().zip(carry).any(|(&s, held)| s == source && !held.is_empty())
        };
        let ready: Vec<usize> = (0..self.intakes.len())
            .filter(|&s| self.intakes[s].has_pending() && !waits(s, &self.carry, &self.generator_source))
            .collect();
        let parts = ready.len().max(1);
        let share = Budget { rows: budget.rows.div_ceil(parts), bytes: budget.bytes / parts };
        let mut is_full = false;
        for source in ready {
            let generator = self.generator_source.iter().position(|&s| s == source).map(|g| &self.generators[g]);
            let event_time = |split| generator.map(|g| g.split_maximum(split)).filter(|&t| t != i64::MIN);
            let taken = self.intakes[source].take(share, workers, event_time, tasks);
            is_full |= taken.rows >= share.rows || taken.bytes >= share.bytes;
        }
        is_full
    }

    /// Folds what the tasks found, cuts by-row sources where they must be cut, and moves the watermarks.
    pub(super) fn decide(&mut self, shared: &Shared, input: &StepInput) -> Result<()> {
        let mut released = Vec::new();
        for (index, generator) in self.generators.iter_mut().enumerate() {
            let mut gathered = lock(&shared.gathered[index]);
            for (split, maximum) in gathered.maxima.drain(..) {
                generator.fold(split, maximum);
            }
            gathered.held.sort_by_key(|held| held.tag);
            let carry = &mut self.carry[index];
            carry.append(&mut gathered.held);
            drop(gathered);
            let place = shared.graph.watermarks[index];
            if !input.is_firing {
                release(generator, carry, |batch| {
                    let tag = Tag::task(input.tasks.len() + released.len());
                    released.push(Released { place, tag, batch });
                });
            }
            let source = &self.intakes[self.generator_source[index]];
            let is_finished = source.is_finished() && carry.is_empty();
            let time = generator.step_end(input.now.steady_ms, &source.split_times(), is_finished);
            *lock(&shared.watermarks[index]) = time;
        }
        *lock(&shared.released) = Arc::new(released);
        for (intake, time) in self.intakes.iter().zip(&shared.source_times) {
            if intake.is_finished() {
                *lock(time) = EdgeTime { watermark: i64::MAX, is_idle: false };
            }
        }
        self.is_finished = self.intakes.iter().all(Intake::is_finished) && self.carry.iter().all(Vec::is_empty);
        let active = self.generators.iter().map(Generator::emitted).filter(|e| !e.is_idle);
        if let Some(lowest) = active.map(|e| e.watermark).min() {
            shared.metrics.watermark_ms.store(lowest, Relaxed);
        }
        Ok(())
    }
}

/// Lets rows go up to the first that must see a newer watermark; the others stay.
pub(super) fn release(
    generator: &mut Generator,
    held: &mut Vec<Held>,
    mut let_go: impl FnMut(wiesel_core::ChangeBatch),
) {
    let mut rest = Vec::new();
    for rows in held.drain(..) {
        if !rest.is_empty() {
            rest.push(rows);
            continue;
        }
        let count = generator.walk(&rows.times, &rows.watermarks);
        let all = rows.times.len();
        if count == all {
            let_go(rows.batch);
            continue;
        }
        if count > 0 {
            let_go(rows.batch.slice(0, count));
        }
        rest.push(Held {
            tag: rows.tag,
            batch: rows.batch.slice(count, all - count),
            times: rows.times[count..].to_vec(),
            watermarks: rows.watermarks[count..].to_vec(),
        });
    }
    *held = rest;
}

/// The size of the next step.
pub(super) struct StepSize {
    pub(super) budget: Budget,
    bytes_max: usize,
}

impl StepSize {
    pub(super) fn new(memory_bytes: u64) -> Self {
        let share = usize::try_from(memory_bytes / MEMORY_SHARE).unwrap_or(STEP_BYTES_MAX);
        let bytes_max = share.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        StepSize { budget: Budget { rows: STEP_ROWS_START, bytes: STEP_BYTES_START.min(bytes_max) }, bytes_max }
    }

    pub(super) fn adapt(&mut self, took: Duration, was_full: bool) {
        let Budget { rows, bytes } = self.budget;
        if took > STEP_LONG {
            self.budget = Budget { rows: (rows / 2).max(STEP_ROWS_MIN), bytes: (bytes / 2).max(STEP_BYTES_MIN) };
        } else if took < STEP_SHORT && was_full {
            self.budget = Budget { rows: (rows * 2).min(STEP_ROWS_MAX), bytes: (bytes * 2).min(self.bytes_max) };
        }
    }
}
