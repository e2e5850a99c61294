//! The seeded random mode: one process with a loop per sink, and a list of actions drawn from a seed, in proportions that make faults
//! common and work still the most of it.
//!
//! Ingest 100, validate 10, kill 5, restart of a system 3, fault of the network 3. Two of three processes are started with a fail point
//! that ends them at a named step; any is killed from outside when the list says so. A kill counts only while rows flow: rows were
//! produced since the start before it. After the list faults stop, and everything must be there once.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::proxy::{Mode, Proxy};
use super::totals::{count, count_death, totals};
use super::world::{Sink, World};
use crate::e2e::context::Context;
use crate::e2e::program::Program;
use crate::services::elasticsearch::Line;

/// Actions of one list.
const ACTIONS: usize = 150;
/// Actions of a short list.
const ACTIONS_SHORT: usize = 50;
/// Rows of one ingest; a list stays below what one answer of Elasticsearch holds.
const ROWS_PER_INGEST: usize = 40;
/// Longest wait for the last, bounded run.
const FINISH_LIMIT_S: u64 = 240;
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

/// A process and what it was told to die at.
struct Run {
    program: Arc<Program>,
    point: Option<&'static str>,
    rows_at_start: usize,
}

/// Which step the next process dies at, so that all steps have their turn: a shuffled deck, dealt anew when it is empty.
struct Deck(Vec<(&'static str, usize)>);

impl Deck {
    fn deal(&mut self, world: &mut World<'_>) -> (&'static str, usize) {
        if self.0.is_empty() {
            self.0 = POINTS.to_vec();
            world.random().shuffle(&mut self.0);
        }
        let (name, most) = self.0.pop().expect("the deck was filled");
        (name, world.random().usize(1..=most))
    }
}

/// Starts a process, two of three with a step to die at, and produces rows for it.
fn start(world: &mut World<'_>, deck: &mut Deck) -> Result<Run> {
    let point = if world.random().u8(..3) > 0 { Some(deck.deal(world)) } else { None };
    let environment: Vec<(&str, String)> =
        point.iter().map(|(name, at)| ("WIESEL_FAIL_POINT", format!("{name}:{at}"))).collect();
    let program = world.start(&environment)?;
    let rows_at_start = world.produced();
    world.produce(ROWS_PER_INGEST)?;
    Ok(Run { program, point: point.map(|(name, _)| name), rows_at_start })
}

/// Counts a death at a step; an end of another kind is a failure.
fn died(world: &World<'_>, run: &Run) -> Result<bool> {
    let Some(status) = run.program.try_wait()? else { return Ok(false) };
    ensure!(
        status.code().is_none() && run.point.is_some(),
        "the job ended by itself ({status}): {}",
        run.program.stderr()
    );
    count_death(run.point, world.produced() > run.rows_at_start);
    Ok(true)
}

/// The next list of this run.
pub(super) fn list(context: &Context) -> Result<()> {
    list_of(context, super::seed_of(1_000_000 + totals().lists), ACTIONS)
}

/// A short one.
pub(super) fn short_list(context: &Context) -> Result<()> {
    list_of(context, super::seed_of(2_000_000 + totals().lists), ACTIONS_SHORT)
}

/// The list of one seed.
fn list_of(context: &Context, seed: u64, actions: usize) -> Result<()> {
    count(|totals| totals.lists += 1);
    let (server, advertised) = context.services().kafka()?.behind_proxy();
    let proxy = Proxy::start(&advertised, &server)?;
    let sinks = [Sink::Files, Sink::Kafka, Sink::Postgres, Sink::Elasticsearch];
    let mut world = World::new(context, &sinks, false, seed)?;
    proxy.address().clone_into(&mut world.addresses().kafka);
    let mut deck = Deck(Vec::new());
    let mut run = start(&mut world, &mut deck)?;
    for _ in 0..actions {
        if died(&world, &run)? {
            run = start(&mut world, &mut deck)?;
        }
        match world.random().u32(..121) {
            0..100 => world.produce(ROWS_PER_INGEST)?,
            100..110 => world.check_safety()?,
            110..115 => {
                if !died(&world, &run)? {
                    run.program.kill()?;
                    count_death(None, world.produced() > run.rows_at_start);
                }
                run = start(&mut world, &mut deck)?;
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
    if !died(&world, &run)? {
        run.program.kill()?;
        count_death(None, world.produced() > run.rows_at_start);
    }
    world.finish(FINISH_LIMIT_S)?;
    world.check_whole()?;
    world.check_no_leftovers()?;
    world.remove()
}
