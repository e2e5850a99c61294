//! The seeded random mode: one process with a loop per sink, and a list of actions drawn from a seed, in proportions that make faults
//! common and work still the most of it.
//!
//! Of 100 actions 66 ingest, 7 compare, 22 kill, 2 restart a system, 3 break the network. A kill is a row of up to five, each of a
//! process that has had some rows, because what a process finds that was killed soon after a kill is the hardest. Two of three
//! processes are started with a fail point that ends them at a named step, and are given rows until they reach it; the others are killed
//! from outside. A kill counts only while rows flow: rows were produced since the start before it. After the list faults stop, and
//! everything must be there once.

use std::sync::Arc;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::proxy::{Mode, Proxy};
use super::totals::{count, count_death, totals};
use super::world::{Sink, World};
use crate::e2e::context::Context;
use crate::e2e::program::Program;
use crate::services::elasticsearch::Line;

/// Actions of one list.
const ACTIONS: usize = 100;
/// Actions of a short list.
const ACTIONS_SHORT: usize = 20;
/// Rows of one ingest.
const ROWS_PER_INGEST: usize = 20;
/// Kills in a row, at most.
const KILLS_MAX: usize = 5;
/// Longest wait for a process to reach its step; then it is killed from outside.
const STEP_LIMIT: Duration = Duration::from_secs(15);
/// How long a process without such a step lives on when it is to be killed, at most.
const LIFE_MAX_MS: u64 = 2_500;
/// Rows between two looks at a process that is to die.
const ROWS_PER_LOOK: usize = 4;
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
];
/// The step that is reached only by a process after one that died with a durable checkpoint that was not committed, and the steps at
/// which such a one dies.
const RECOMMIT: &str = "restore.recommit";
const BEFORE_RECOMMIT: [&str; 3] = ["dir.fsync", "sink.commit", "commit.recorded"];
/// Rows for which there must be room, or the list ends: one answer of Elasticsearch must hold them all.
const ROWS_RESERVED: usize = 200;

/// A process and what it was told to die at.
struct Run {
    program: Arc<Program>,
    point: Option<&'static str>,
    rows_at_start: usize,
}

/// Which step the next process dies at, so that all steps have their turn: a shuffled deck, dealt anew when it is empty.
#[derive(Default)]
struct Deck {
    cards: Vec<(&'static str, usize)>,
    /// The step at which the process before died.
    last: Option<&'static str>,
}

impl Deck {
    fn deal(&mut self, world: &mut World<'_>) -> (&'static str, usize) {
        // Only now there is work to commit again: a turn for a step that most processes never come to.
        if self.last.take().is_some_and(|last| BEFORE_RECOMMIT.contains(&last)) && world.random().bool() {
            return (RECOMMIT, 1);
        }
        if self.cards.is_empty() {
            self.cards = POINTS.to_vec();
            world.random().shuffle(&mut self.cards);
        }
        let (name, most) = self.cards.pop().expect("the deck was filled");
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
fn died(world: &World<'_>, run: &Run, deck: &mut Deck) -> Result<bool> {
    let Some(status) = run.program.try_wait()? else { return Ok(false) };
    ensure!(
        status.code().is_none() && run.point.is_some(),
        "the job ended by itself ({status}): {}",
        run.program.stderr()
    );
    count_death(run.point, world.produced() > run.rows_at_start);
    deck.last = run.point;
    Ok(true)
}

/// Ends a process: at its step when it has one and comes there in time, else from outside, while rows flow.
fn kill(world: &mut World<'_>, run: &Run, deck: &mut Deck) -> Result<()> {
    let limit = match run.point {
        Some(_) => STEP_LIMIT,
        None => Duration::from_millis(world.random().u64(..=LIFE_MAX_MS)),
    };
    let start = Instant::now();
    while start.elapsed() < limit && world.has_room_for(ROWS_RESERVED) {
        if died(world, run, deck)? {
            return Ok(());
        }
        world.produce(ROWS_PER_LOOK)?;
    }
    if !died(world, run, deck)? {
        run.program.kill()?;
        count_death(None, world.produced() > run.rows_at_start);
        deck.last = None;
    }
    Ok(())
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
    let mut deck = Deck::default();
    let mut run = start(&mut world, &mut deck)?;
    for _ in 0..actions {
        if !world.has_room_for(ROWS_RESERVED) {
            break;
        }
        if died(&world, &run, &mut deck)? {
            run = start(&mut world, &mut deck)?;
        }
        match world.random().u32(..100) {
            0..66 => world.produce(ROWS_PER_INGEST)?,
            66..73 => world.check_safety()?,
            73..95 => {
                for _ in 0..world.random().usize(1..=KILLS_MAX) {
                    kill(&mut world, &run, &mut deck)?;
                    run = start(&mut world, &mut deck)?;
                }
            }
            95..97 => {
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
    kill(&mut world, &run, &mut deck)?;
    world.finish(FINISH_LIMIT_S)?;
    world.check_whole()?;
    world.check_no_leftovers()?;
    world.remove()
}
