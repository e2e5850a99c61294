//! The seeded random mode: one process with a loop per sink, and a list of actions drawn from a seed, in proportions that make faults
//! common and work still the most of it.
//!
//! Ingest 100, validate 10, kill 5, restart of a system 3, fault of the network 3. Half of the processes are started with a fail point
//! that ends them at a named step; the others are killed from outside whenever the list says so. A kill counts only while rows flow:
//! rows were produced since the start before it. After the list faults stop, and everything must be there once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};

use super::proxy::{Mode, Proxy};
use super::world::{Sink, World};
use crate::e2e::context::Context;
use crate::e2e::program::Program;
use crate::services::elasticsearch::Line;

/// Actions of one list.
const ACTIONS: usize = 150;
/// Rows of one ingest; a list stays below what one answer of Elasticsearch holds.
const ROWS_PER_INGEST: usize = 40;
/// The named steps at which a process may end itself, and how many times a step is reached before it does, at most.
const POINTS: &[(&str, usize)] = &[
    ("ckpt.begin", 12),
    ("op.snapshot", 24),
    ("state.write", 12),
    ("state.fsync", 12),
    ("state.ingest", 12),
    ("sink.prepare", 24),
    ("manifest.write", 12),
    ("manifest.fsync", 12),
    ("dir.fsync", 12),
    ("sink.commit", 12),
    ("commit.recorded", 12),
    ("src.offset_commit", 12),
    ("ckpt.gc", 12),
    ("restore.read", 1),
    ("restore.recommit", 1),
];

/// What all lists of this run did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) lists: u64,
    pub(crate) rows: u64,
    /// Kills from outside.
    pub(crate) kills: u64,
    /// Ends at a named step, by step.
    pub(crate) points: BTreeMap<&'static str, u64>,
    pub(crate) server_restarts: u64,
    pub(crate) network_faults: u64,
    /// Comparisons of a sink's content with the oracle.
    pub(crate) checks: u64,
}

static TOTALS: Mutex<Totals> = Mutex::new(Totals {
    lists: 0,
    rows: 0,
    kills: 0,
    points: BTreeMap::new(),
    server_restarts: 0,
    network_faults: 0,
    checks: 0,
});

/// What was done so far.
pub(crate) fn totals() -> Totals {
    TOTALS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn count(change: impl FnOnce(&mut Totals)) {
    change(&mut TOTALS.lock().unwrap_or_else(PoisonError::into_inner));
}

/// A process and what it was told to die at.
struct Run {
    program: Arc<Program>,
    point: Option<&'static str>,
    rows_at_start: usize,
}

fn start(world: &mut World<'_>) -> Result<Run> {
    let point = if world.random().bool() {
        let index = world.random().usize(..POINTS.len());
        let (name, most) = POINTS[index];
        Some((name, world.random().usize(1..=most)))
    } else {
        None
    };
    let environment: Vec<(&str, String)> =
        point.iter().map(|(name, at)| ("WIESEL_FAIL_POINT", format!("{name}:{at}"))).collect();
    let program = world.start(&environment)?;
    Ok(Run { program, point: point.map(|(name, _)| name), rows_at_start: world.produced() })
}

/// Counts a death at a step; an end of another kind is a failure.
fn died(run: &Run) -> Result<bool> {
    let Some(status) = run.program.try_wait()? else { return Ok(false) };
    ensure!(status.code().is_none(), "the job ended by itself ({status}): {}", run.program.stderr());
    if let Some(point) = run.point {
        count(|totals| *totals.points.entry(point).or_default() += 1);
    }
    Ok(true)
}

/// One list: the next seed of this run.
pub(super) fn list(context: &Context) -> Result<()> {
    let seed = super::seed_of(1_000_000 + totals().lists);
    count(|totals| totals.lists += 1);
    let (server, advertised) = context.services().kafka()?.behind_proxy();
    let proxy = Proxy::start(&advertised, &server)?;
    let sinks = [Sink::Files, Sink::Kafka, Sink::Postgres, Sink::Elasticsearch];
    let mut world = World::new(context, &sinks, false, seed)?;
    proxy.address().clone_into(&mut world.addresses().kafka);
    world.produce(ROWS_PER_INGEST)?;
    let mut run = start(&mut world)?;
    for _ in 0..ACTIONS {
        if died(&run)? {
            run = start(&mut world)?;
        }
        match world.random().u32(..121) {
            0..100 => world.produce(ROWS_PER_INGEST)?,
            100..110 => {
                world.check_safety()?;
                count(|totals| totals.checks += sinks.len() as u64);
            }
            110..115 => {
                run.program.kill()?;
                if world.produced() > run.rows_at_start {
                    count(|totals| totals.kills += 1);
                }
                run = start(&mut world)?;
            }
            115..118 => {
                let services = context.services();
                match world.random().u8(..3) {
                    0 => {
                        services.kafka()?.kill()?;
                        services.kafka()?.restart()?;
                    }
                    1 => {
                        services.postgres()?.kill()?;
                        services.postgres()?.restart()?;
                    }
                    _ => {
                        services.elasticsearch(Line::Seven)?.kill()?;
                        services.elasticsearch(Line::Seven)?.restart()?;
                    }
                }
                count(|totals| totals.server_restarts += 1);
            }
            _ => {
                let mode = match world.random().u8(..3) {
                    0 => Mode::Cut,
                    1 => Mode::Silent,
                    _ => Mode::CutAfter(2_000),
                };
                proxy.set(mode);
                world.produce(ROWS_PER_INGEST)?;
                proxy.set(Mode::Pass);
                count(|totals| totals.network_faults += 1);
            }
        }
    }
    proxy.set(Mode::Pass);
    run.program.kill()?;
    world.finish(180)?;
    world.check_whole()?;
    world.check_no_leftovers()?;
    count(|totals| {
        totals.checks += sinks.len() as u64;
        totals.rows += world.produced() as u64;
    });
    Ok(())
}
